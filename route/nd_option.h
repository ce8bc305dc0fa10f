/* Walks the options of a neighbour discovery message (RFC 4861, 4.6): type, length in units of
 * eight bytes, value. Pure functions on bytes that somebody else owns. */
#ifndef WEFT_ROUTE_ND_OPTION_H
#define WEFT_ROUTE_ND_OPTION_H

#include "base/packet.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nd_type {
	ND_ROUTER_SOLICITATION = 133,
	ND_ROUTER_ADVERTISEMENT = 134,
	ND_NEIGHBOUR_SOLICITATION = 135,
	ND_NEIGHBOUR_ADVERTISEMENT = 136,
};

enum nd_option_type {
	ND_OPTION_SOURCE_LINK = 1,
	ND_OPTION_TARGET_LINK = 2,
	ND_OPTION_PREFIX = 3,
	ND_OPTION_MTU = 5,
	ND_OPTION_NONCE = 14, /* RFC 3971, 5.3.2; RFC 7527 */
	ND_OPTION_RDNSS = 25,
	ND_OPTION_DNSSL = 31,
};

#define ND_HOP_LIMIT		255u
#define ND_SOLICITATION_LENGTH	8u  /* of a router solicitation without options */
#define ND_ADVERTISEMENT_LENGTH 16u /* of a router advertisement without options */
#define ND_NEIGHBOUR_LENGTH	24u /* of both neighbour messages without options */
#define ND_LINK_LENGTH		8u  /* of a link-layer address option for Ethernet */
#define ND_MTU_LENGTH		8u
#define ND_PREFIX_LENGTH	32u

/* The length of the option at p, or 0 when the `room` bytes there hold none. */
static inline size_t nd_option_length(const uint8_t *p, size_t room)
{
	size_t length = room >= 2 ? p[1] * (size_t)8 : 0;

	return length <= room ? length : 0;
}

/* Whether the options fill the bytes exactly and none has length 0. */
static inline bool nd_options_valid(const uint8_t *p, size_t room)
{
	while (room > 0) {
		size_t length = nd_option_length(p, room);

		if (length == 0)
			return false;
		p += length;
		room -= length;
	}
	return true;
}

/* The first option of a type in valid options; NULL without. */
static inline const uint8_t *nd_option_find(const uint8_t *p, size_t room, uint8_t type)
{
	while (room > 0) {
		size_t length = nd_option_length(p, room);

		if (p[0] == type)
			return p;
		p += length;
		room -= length;
	}
	return NULL;
}

/* Whether the packet is the ICMPv6 message, valid or not. */
static inline bool nd_is(const struct packet *packet, enum nd_type type)
{
	return packet->ip_version == 6 && !packet->fragment && packet->protocol == IPPROTO_ICMPV6 &&
	       packet->payload_length > 0 && packet->payload[0] == type;
}

/* What all messages have in common (RFC 4861, 6.1 and 7.1): the sender is on the link, code 0, the
 * checksum, at least `length` bytes, whole options. */
static inline bool nd_valid(const struct packet *packet, size_t length)
{
	return packet->hop_limit == ND_HOP_LIMIT && packet->payload_length >= length &&
	       packet->payload[1] == 0 && packet_checksum_ok(packet) &&
	       nd_options_valid(packet->payload + length, packet->payload_length - length);
}

#endif
