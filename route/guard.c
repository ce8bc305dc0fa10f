/* Anti-spoofing (guard.h): one check for each frame, on a worker, against an immutable list. */
#include "route/guard.h"

#include "base/parse.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>

#define ARP_LENGTH	28u
#define DHCP_SERVER	67
#define DHCP_CLIENT	68
#define DHCP6_CLIENT	546
#define ND_TARGET	8u /* where the target stands in a solicitation or advertisement */
#define ND_LENGTH	24u
#define MLD2_REPORT	143
#define EXTENSIONS_MAX	8u
#define FRAGMENT_LENGTH 8u
#define PORTS_LENGTH	4u

/* What stands in a frame, as far as this file cares. */
struct claim {
	struct ip source, destination;
	uint8_t protocol;
	bool fragment;
	const uint8_t *l4; /* NULL: not within the head */
	uint32_t l4_length;
};

static bool is_gateway(const struct guard *guard, const struct ip *ip)
{
	for (unsigned i = 0; i < guard->gateway_count; i++) {
		if (ip_equal(&guard->gateway[i], ip))
			return true;
	}
	return false;
}

bool guard_has(const struct guard *guard, const struct ip *ip)
{
	for (unsigned i = 0; i < guard->count; i++) {
		if (ip_equal(&guard->ips[i], ip))
			return true;
	}
	return false;
}

static enum guard_verdict drop(enum drop_reason why, enum drop_reason *reason)
{
	*reason = why;
	return GUARD_DROP;
}

/* About an address that the guest does not have. */
static enum guard_verdict check_new(const struct guard *guard, const struct ip *ip,
				    enum drop_reason *reason)
{
	if (is_gateway(guard, ip))
		return drop(DROP_SPOOFED_SERVER, reason);
	for (unsigned i = 0; i < guard->prefix_count; i++) {
		if (ip_prefix_contains(&guard->prefixes[i], ip))
			return GUARD_ASK;
	}
	return drop(DROP_SPOOFED_ADDRESS, reason);
}

static enum guard_verdict check_arp(const struct guard *guard, const uint8_t *source,
				    const uint8_t *arp, uint32_t length, enum drop_reason *reason)
{
	struct ip sender;

	/* Ethernet and IPv4 only (RFC 826); nothing else is spoken here. */
	if (length < ARP_LENGTH || read_be16(arp) != 1 || read_be16(arp + 2) != ETHERTYPE_IPV4 ||
	    arp[4] != MAC_LENGTH || arp[5] != 4)
		return drop(DROP_SPOOFED_ADDRESS, reason);
	if (memcmp(arp + 8, source, MAC_LENGTH) != 0)
		return drop(DROP_SPOOFED_MAC, reason);
	sender = ip_from_v4_bytes(arp + 14);
	/* A probe claims nothing (RFC 5227, 2.1.1). */
	if (ip_is_unspecified(&sender) || guard_has(guard, &sender))
		return GUARD_PASS;
	return check_new(guard, &sender, reason);
}

/* Whether it is a datagram to this port. */
static bool goes_to(const struct claim *claim, uint16_t port)
{
	return claim->protocol == IPPROTO_UDP && claim->l4 != NULL &&
	       claim->l4_length >= PORTS_LENGTH && read_be16(claim->l4 + 2) == port;
}

static enum guard_verdict check_ipv4(const struct guard *guard, const struct claim *claim,
				     enum drop_reason *reason)
{
	/* Clients take an answer from whatever port it comes. */
	if (goes_to(claim, DHCP_CLIENT))
		return drop(DROP_SPOOFED_SERVER, reason);
	if (guard_has(guard, &claim->source))
		return GUARD_PASS;
	/* Who has no address yet may ask for one. */
	if (ip_is_unspecified(&claim->source) && goes_to(claim, DHCP_SERVER) &&
	    read_be16(claim->l4) == DHCP_CLIENT)
		return GUARD_PASS;
	return check_new(guard, &claim->source, reason);
}

/* What only a router may say, or what claims another's address (RFC 6105; RFC 4861, 4.4). */
static enum guard_verdict check_icmp6(const struct guard *guard, const struct claim *claim,
				      enum drop_reason *reason)
{
	uint8_t type;
	struct ip target;

	/* A guest that hides its message from us sends none (RFC 6980, RFC 7113). */
	if (claim->fragment || claim->l4 == NULL || claim->l4_length < 4)
		return ip_is_multicast(&claim->destination) || ip_is_link_local(&claim->destination)
			   ? drop(DROP_SPOOFED_SERVER, reason)
			   : GUARD_PASS;
	type = claim->l4[0];
	if (type == ND_ROUTER_ADVERT || type == ND_REDIRECT)
		return drop(DROP_SPOOFED_SERVER, reason);
	if (type != ND_NEIGHBOR_SOLICIT && type != ND_NEIGHBOR_ADVERT)
		return GUARD_PASS;
	if (claim->l4_length < ND_LENGTH)
		return drop(DROP_SPOOFED_ADDRESS, reason);
	target = ip_from_v6_bytes(claim->l4 + ND_TARGET);
	/* A solicitation from nowhere asks whether an address is free, to take it. */
	if (type == ND_NEIGHBOR_SOLICIT && !ip_is_unspecified(&claim->source))
		return GUARD_PASS;
	if (is_gateway(guard, &target))
		return drop(DROP_SPOOFED_SERVER, reason);
	/* Sent from the target itself it stands or falls with its source: the first word of a guest
	 * that made itself an address without probing it may be the answer to another's question.
	 */
	if (type == ND_NEIGHBOR_ADVERT && !guard_has(guard, &target) &&
	    !ip_equal(&target, &claim->source))
		return drop(DROP_SPOOFED_ADDRESS, reason);
	return GUARD_PASS;
}

/* Whether a packet from "::" is one of those that may be (RFC 4862, 5.4.2; RFC 3590). */
static bool may_come_from_nowhere(const struct claim *claim)
{
	uint8_t type;

	if (claim->protocol != IPPROTO_ICMPV6 || claim->l4 == NULL || claim->fragment ||
	    claim->l4_length < 1)
		return false;
	type = claim->l4[0];
	return type == ND_NEIGHBOR_SOLICIT || type == ND_ROUTER_SOLICIT || type == MLD2_REPORT ||
	       type == MLD_LISTENER_REPORT || type == MLD_LISTENER_REDUCTION;
}

static enum guard_verdict check_ipv6(const struct guard *guard, const struct claim *claim,
				     enum drop_reason *reason)
{
	enum guard_verdict verdict;

	/* An IPv4 address in an IPv6 header is nobody's (RFC 4291, 2.5.5.2). */
	if (ip_is_v4(&claim->source))
		return drop(DROP_SPOOFED_ADDRESS, reason);
	if (goes_to(claim, DHCP6_CLIENT))
		return drop(DROP_SPOOFED_SERVER, reason);
	if (claim->protocol == IPPROTO_ICMPV6) {
		verdict = check_icmp6(guard, claim, reason);
		if (verdict != GUARD_PASS)
			return verdict;
	}
	if (guard_has(guard, &claim->source))
		return GUARD_PASS;
	if (ip_is_unspecified(&claim->source))
		return may_come_from_nowhere(claim) ? GUARD_PASS
						    : drop(DROP_SPOOFED_ADDRESS, reason);
	return check_new(guard, &claim->source, reason);
}

static bool read_ipv4(const uint8_t *p, uint32_t room, struct claim *claim)
{
	uint32_t header;

	if (room < PARSE_IPV4_LENGTH || p[0] >> 4 != 4)
		return false;
	header = (p[0] & 15u) * 4u;
	if (header < PARSE_IPV4_LENGTH)
		return false;
	claim->source = ip_from_v4_bytes(p + 12);
	claim->destination = ip_from_v4_bytes(p + 16);
	claim->protocol = p[9];
	claim->fragment = (read_be16(p + 6) & 0x3fff) != 0;
	/* The first fragment shows its ports, the others have none. */
	if ((read_be16(p + 6) & 0x1fff) == 0 && header < room) {
		claim->l4 = p + header;
		claim->l4_length = room - header;
	}
	return true;
}

static bool read_ipv6(const uint8_t *p, uint32_t room, struct claim *claim)
{
	uint32_t at = PARSE_IPV6_LENGTH;
	bool later = false; /* a fragment without the start of what follows */

	if (room < PARSE_IPV6_LENGTH || p[0] >> 4 != 6)
		return false;
	claim->source = ip_from_v6_bytes(p + 8);
	claim->destination = ip_from_v6_bytes(p + 24);
	claim->protocol = p[6];
	for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
		uint32_t length = parse_extension_length(claim->protocol, p + at, room - at);

		if (length == 0)
			break;
		claim->protocol = p[at];
		at += length;
	}
	if (claim->protocol == IPPROTO_FRAGMENT) {
		claim->fragment = true;
		later = at + FRAGMENT_LENGTH > room || (read_be16(p + at + 2) & 0xfff8) != 0;
		claim->protocol = at + FRAGMENT_LENGTH <= room ? p[at] : IPPROTO_ICMPV6;
		at += FRAGMENT_LENGTH;
	}
	/* Too deep, or too many, to be seen through: the worst is assumed. */
	if (claim->protocol == IPPROTO_HOPOPTS || claim->protocol == IPPROTO_ROUTING ||
	    claim->protocol == IPPROTO_DSTOPTS ||
	    (claim->protocol == IPPROTO_UDP && !later && at + PORTS_LENGTH > room)) {
		claim->protocol = IPPROTO_ICMPV6;
		return true;
	}
	if (!later && at < room) {
		claim->l4 = p + at;
		claim->l4_length = room - at;
	}
	return true;
}

enum guard_verdict guard_check(const struct guard *guard, struct frame *frame,
			       enum drop_reason *reason)
{
	const uint8_t *source = frame->head + MAC_LENGTH;
	struct claim claim = { 0 };
	uint16_t ethertype;
	uint32_t at, room;

	if (!guard->has_mac)
		return GUARD_ASK;
	if (memcmp(source, guard->mac.bytes, MAC_LENGTH) != 0)
		return guard->settled ? drop(DROP_SPOOFED_MAC, reason) : GUARD_ASK;
	at = parse_network_offset(frame, &ethertype);
	if (at == 0)
		return drop(DROP_SPOOFED_ADDRESS, reason);
	room = frame->head_length - at;
	switch (ethertype) {
	case ETHERTYPE_ARP:
		return check_arp(guard, source, frame->head + at, room, reason);
	case ETHERTYPE_IPV4:
		if (!read_ipv4(frame->head + at, room, &claim))
			return drop(DROP_SPOOFED_ADDRESS, reason);
		return check_ipv4(guard, &claim, reason);
	case ETHERTYPE_IPV6:
		if (!read_ipv6(frame->head + at, room, &claim))
			return drop(DROP_SPOOFED_ADDRESS, reason);
		return check_ipv6(guard, &claim, reason);
	default:
		/* Nothing that has an address of ours. More tags would hide it. */
		return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
			   ? drop(DROP_SPOOFED_ADDRESS, reason)
			   : GUARD_PASS;
	}
}
