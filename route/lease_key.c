/* The keys by which leases are found (lease_key.h). Control thread. */
#include "route/lease_key.h"

#include "base/parse.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

int lease_family(const struct ip *ip)
{
	return ip_is_v4(ip) ? AF_INET : AF_INET6;
}

struct lease_key lease_key_ip(const struct ip *ip)
{
	struct lease_key key = { .length = sizeof(ip->bytes) };

	memcpy(key.bytes, ip->bytes, sizeof(ip->bytes));
	return key;
}

struct lease_key lease_key_client(int family, const uint8_t *client, uint8_t length, uint32_t iaid)
{
	struct lease_key key = { .bytes = { (uint8_t)family } };

	if (length == 0 || length > DHCP_CLIENT_MAX)
		return key;
	write_be32(key.bytes + 1, iaid);
	memcpy(key.bytes + 5, client, length);
	key.length = 5u + length;
	return key;
}

struct lease_key lease_key_mac(int family, struct mac mac)
{
	struct lease_key key = { .bytes = { (uint8_t)family } };

	if (mac_is_zero(mac.bytes))
		return key;
	memcpy(key.bytes + 1, mac.bytes, MAC_LENGTH);
	key.length = 1 + MAC_LENGTH;
	return key;
}

struct lease_key lease_key_host(int family, const char *host)
{
	struct lease_key key = { .bytes = { (uint8_t)family } };
	size_t length = strlen(host);

	if (length == 0 || length > DHCP_NAME_MAX)
		return key;
	for (size_t i = 0; i < length; i++)
		key.bytes[1 + i] = (uint8_t)tolower((unsigned char)host[i]);
	key.length = 1 + length;
	return key;
}

struct lease_key lease_key_port(uint16_t port)
{
	struct lease_key key = { .length = port == LEASE_PORT_NONE ? 0 : sizeof(port) };

	write_be16(key.bytes, port);
	return key;
}

struct lease_key lease_key_of(enum lease_index index, const struct lease *lease)
{
	int family = lease_family(&lease->ip);

	switch (index) {
	case LEASE_BY_CLIENT:
		return lease_key_client(family, lease->client, lease->client_length, lease->iaid);
	case LEASE_BY_MAC:
		return lease_key_mac(family, lease->mac);
	case LEASE_BY_HOST:
		return lease_key_host(family, lease->host);
	case LEASE_BY_PORT:
		return lease_key_port(lease->port);
	default:
		return lease_key_ip(&lease->ip);
	}
}
