/* A lease as bytes in the store (lease_stored.h). Key: the 16 bytes of the address. Value: version,
 * reserved, expiry (8), MAC, IAID (4), length and bytes of the client identifier, length and bytes
 * of the host name. Control thread. */
#include "route/lease_stored.h"

#include "base/parse.h"

#include <string.h>

#define VERSION 1u

size_t lease_stored_write(const struct lease *lease, uint8_t value[LEASE_STORED_MAX])
{
	size_t host = strlen(lease->host);
	uint8_t *p = value;

	*p++ = VERSION;
	*p++ = lease->reserved;
	write_be32(p, (uint32_t)(lease->expires >> 32));
	write_be32(p + 4, (uint32_t)lease->expires);
	memcpy(p + 8, lease->mac.bytes, MAC_LENGTH);
	write_be32(p + 8 + MAC_LENGTH, lease->iaid);
	p = value + LEASE_STORED_FIXED;
	*p++ = lease->client_length;
	memcpy(p, lease->client, lease->client_length);
	p += lease->client_length;
	*p++ = (uint8_t)host;
	memcpy(p, lease->host, host);
	return (size_t)(p - value) + host;
}

bool lease_stored_read(const uint8_t *key, size_t key_length, const uint8_t *value,
		       size_t value_length, struct lease *lease)
{
	const uint8_t *p = value + LEASE_STORED_FIXED, *end = value + value_length;
	uint8_t host;

	*lease = (struct lease){ .state = LEASE_BOUND, .port = LEASE_PORT_NONE };
	if (key_length != sizeof(lease->ip.bytes) || value_length < LEASE_STORED_FIXED + 2 ||
	    value[0] != VERSION)
		return false;
	memcpy(lease->ip.bytes, key, sizeof(lease->ip.bytes));
	lease->reserved = value[1] != 0;
	lease->expires = (uint64_t)read_be32(value + 2) << 32 | read_be32(value + 6);
	memcpy(lease->mac.bytes, value + 10, MAC_LENGTH);
	lease->iaid = read_be32(value + 10 + MAC_LENGTH);
	lease->client_length = *p++;
	if (lease->client_length > DHCP_CLIENT_MAX || end - p <= lease->client_length)
		return false;
	memcpy(lease->client, p, lease->client_length);
	p += lease->client_length;
	host = *p++;
	if (host > DHCP_NAME_MAX || end - p != host)
		return false;
	memcpy(lease->host, p, host);
	return true;
}
