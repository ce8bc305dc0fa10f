/* IP addresses and prefixes. Both families are one 16-byte value, IPv4 as ::ffff:a.b.c.d (RFC 4291,
 * 2.5.5.2), so that tables and comparisons have one code path. Any thread; plain values. */
#ifndef WEFT_BASE_IP_H
#define WEFT_BASE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define IP_TEXT_LENGTH	      46 /* INET6_ADDRSTRLEN, with the NUL */
#define IP_PREFIX_TEXT_LENGTH 50

struct ip {
	uint8_t bytes[16];
} __attribute__((aligned(8)));

/* An address and how many of its bits name the network. `length` counts all 128: an IPv4 /24 has
 * 120. The host bits stay: 192.168.122.1/24 is both an address and its network. */
struct ip_prefix {
	struct ip ip;
	uint8_t length;
};

#define IP_V4_LENGTH 96 /* bits before the IPv4 address in an IPv4 prefix */

static inline bool ip_is_v4(const struct ip *ip)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(ip->bytes, mapped, sizeof(mapped)) == 0;
}

static inline bool ip_equal(const struct ip *a, const struct ip *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Numeric order, as memcmp(); all IPv4 addresses stand together. */
static inline int ip_compare(const struct ip *a, const struct ip *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* From and to the bytes of a header: 4 for IPv4, 16 for IPv6. */
struct ip ip_from_v4_bytes(const uint8_t bytes[4]);
struct ip ip_from_v6_bytes(const uint8_t bytes[16]);
static inline const uint8_t *ip_v4_bytes(const struct ip *ip)
{
	return ip->bytes + 12;
}

/* From and to an IPv4 address as a number in host order. */
struct ip ip_from_v4(uint32_t number);
uint32_t ip_to_v4(const struct ip *ip);

/* Either family, nothing before or after it, no zone, and no IPv6 notation of an IPv4 address
 * (::ffff:10.0.0.1), which no packet has; 0 or -EINVAL. */
int ip_from_text(const char *text, struct ip *ip);
/* IPv4 dotted, IPv6 as RFC 5952 says; returns text. */
char *ip_to_text(const struct ip *ip, char text[IP_TEXT_LENGTH]);

bool ip_is_unspecified(const struct ip *ip); /* 0.0.0.0 or :: */
bool ip_is_multicast(const struct ip *ip);   /* 224.0.0.0/4, ff00::/8 */
bool ip_is_loopback(const struct ip *ip);    /* 127.0.0.0/8, ::1 */
bool ip_is_link_local(const struct ip *ip);  /* 169.254.0.0/16, fe80::/10 */
/* Neither multicast, unspecified, loopback nor limited broadcast, nor in 240.0.0.0/4: may stand as
 * the source or destination of a packet between hosts (RFC 1122, 3.2.1.3; RFC 4291, 2.5). */
bool ip_is_host(const struct ip *ip);

/* The all-routers or all-nodes group and the like are spelled with ip_from_text(); this one is
 * computed: ff02::1:ffXX:XXXX (RFC 4291, 2.7.1). */
struct ip ip_solicited_node(const struct ip *ip);

/* fe80::/64 with the interface identifier made of a MAC (RFC 4291, appendix A). */
struct ip ip_link_local_of(const uint8_t mac[6]);

/* "ADDRESS/LENGTH"; the length is that of the family (0 to 32, 0 to 128). 0 or -EINVAL. */
int ip_prefix_from_text(const char *text, struct ip_prefix *prefix);
/* With the family's own length; returns text. */
char *ip_prefix_to_text(const struct ip_prefix *prefix, char text[IP_PREFIX_TEXT_LENGTH]);

/* The prefix with its host bits cleared. */
struct ip_prefix ip_prefix_network(const struct ip_prefix *prefix);
/* The last address of the prefix; for IPv4 its directed broadcast. */
struct ip ip_prefix_last(const struct ip_prefix *prefix);
static inline bool ip_prefix_is_v4(const struct ip_prefix *prefix)
{
	return prefix->length >= IP_V4_LENGTH && ip_is_v4(&prefix->ip);
}

/* Never an address of the other family. */
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip);
/* Whether one holds the other, or they are the same. */
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);

#endif
