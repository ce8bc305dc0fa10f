/* IP addresses and prefixes (ip.h). Text goes through the C library's inet_pton and inet_ntop; the
 * rest is arithmetic on 16 bytes. Any thread. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct ip ip_from_v4_bytes(const uint8_t bytes[4])
{
	struct ip ip = { .bytes = { [10] = 0xff, [11] = 0xff } };

	memcpy(ip.bytes + 12, bytes, 4);
	return ip;
}

struct ip ip_from_v6_bytes(const uint8_t bytes[16])
{
	struct ip ip;

	memcpy(ip.bytes, bytes, sizeof(ip.bytes));
	return ip;
}

struct ip ip_from_v4(uint32_t number)
{
	uint8_t bytes[4] = { (uint8_t)(number >> 24), (uint8_t)(number >> 16),
			     (uint8_t)(number >> 8), (uint8_t)number };

	return ip_from_v4_bytes(bytes);
}

uint32_t ip_to_v4(const struct ip *ip)
{
	const uint8_t *b = ip_v4_bytes(ip);

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

int ip_from_text(const char *text, struct ip *ip)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*ip = ip_from_v4_bytes(bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*ip = ip_from_v6_bytes(bytes);
	else
		return -EINVAL;
	return strchr(text, ':') != NULL && ip_is_v4(ip) ? -EINVAL : 0;
}

char *ip_to_text(const struct ip *ip, char text[IP_TEXT_LENGTH])
{
	if (ip_is_v4(ip))
		inet_ntop(AF_INET, ip_v4_bytes(ip), text, IP_TEXT_LENGTH);
	else
		inet_ntop(AF_INET6, ip->bytes, text, IP_TEXT_LENGTH);
	return text;
}

bool ip_is_unspecified(const struct ip *ip)
{
	static const struct ip none;

	return ip_is_v4(ip) ? ip_to_v4(ip) == 0 : ip_equal(ip, &none);
}

bool ip_is_multicast(const struct ip *ip)
{
	return ip_is_v4(ip) ? ip_v4_bytes(ip)[0] >> 4 == 0xe : ip->bytes[0] == 0xff;
}

bool ip_is_loopback(const struct ip *ip)
{
	static const struct ip loopback = { .bytes = { [15] = 1 } };

	return ip_is_v4(ip) ? ip_v4_bytes(ip)[0] == 127 : ip_equal(ip, &loopback);
}

bool ip_is_link_local(const struct ip *ip)
{
	if (ip_is_v4(ip))
		return ip_to_v4(ip) >> 16 == 0xa9fe;
	return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

bool ip_is_host(const struct ip *ip)
{
	if (ip_is_multicast(ip) || ip_is_unspecified(ip) || ip_is_loopback(ip))
		return false;
	return !ip_is_v4(ip) || (ip_v4_bytes(ip)[0] != 0 && ip_v4_bytes(ip)[0] < 240);
}

struct ip ip_solicited_node(const struct ip *ip)
{
	struct ip group = {
		.bytes = { 0xff, 0x02, [11] = 0x01, [12] = 0xff },
	};

	memcpy(group.bytes + 13, ip->bytes + 13, 3);
	return group;
}

struct ip ip_link_local_of(const uint8_t mac[6])
{
	struct ip ip = {
		.bytes = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 0x02, mac[1], mac[2], 0xff, 0xfe,
			   mac[3], mac[4], mac[5] },
	};

	return ip;
}

int ip_prefix_from_text(const char *text, struct ip_prefix *prefix)
{
	const char *slash = strchr(text, '/');
	char address[IP_TEXT_LENGTH];
	unsigned long length, limit;
	struct ip_prefix result;
	char *end;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(address) || slash[1] < '0' ||
	    slash[1] > '9')
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (ip_from_text(address, &result.ip) != 0)
		return -EINVAL;
	length = strtoul(slash + 1, &end, 10);
	limit = strchr(address, ':') == NULL ? 32 : 128;
	if (*end != '\0' || length > limit)
		return -EINVAL;
	result.length = (uint8_t)(length + (limit == 32 ? IP_V4_LENGTH : 0));
	*prefix = result;
	return 0;
}

char *ip_prefix_to_text(const struct ip_prefix *prefix, char text[IP_PREFIX_TEXT_LENGTH])
{
	bool v4 = ip_prefix_is_v4(prefix);
	size_t used = strlen(ip_to_text(&prefix->ip, text));

	snprintf(text + used, IP_PREFIX_TEXT_LENGTH - used, "/%u",
		 (unsigned)(v4 ? prefix->length - IP_V4_LENGTH : prefix->length) & 0xff);
	return text;
}

/* The bits of byte `i` that belong to the network. */
static uint8_t mask_byte(uint8_t length, unsigned i)
{
	if (length >= 8 * (i + 1))
		return 0xff;
	return length > 8 * i ? (uint8_t)(0xff00 >> (length - 8 * i)) : 0;
}

struct ip_prefix ip_prefix_network(const struct ip_prefix *prefix)
{
	struct ip_prefix network = *prefix;

	for (unsigned i = 0; i < 16; i++)
		network.ip.bytes[i] &= mask_byte(prefix->length, i);
	return network;
}

struct ip ip_prefix_last(const struct ip_prefix *prefix)
{
	struct ip last = prefix->ip;

	for (unsigned i = 0; i < 16; i++)
		last.bytes[i] |= (uint8_t)~mask_byte(prefix->length, i);
	return last;
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip)
{
	unsigned whole = prefix->length / 8;

	/* All IPv4 addresses lie within ::/0, but do not belong to it. */
	if (ip_prefix_is_v4(prefix) != ip_is_v4(ip) ||
	    memcmp(prefix->ip.bytes, ip->bytes, whole) != 0)
		return false;
	return prefix->length % 8 == 0 || ((prefix->ip.bytes[whole] ^ ip->bytes[whole]) &
					   mask_byte(prefix->length, whole)) == 0;
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length <= b->length ? ip_prefix_contains(a, &b->ip)
				      : ip_prefix_contains(b, &a->ip);
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length == b->length && ip_equal(&a->ip, &b->ip);
}
