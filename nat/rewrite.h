/* Headers of a frame as the translator sees them, and changing them with their checksums (RFC 1624;
 * RFC 3022, 4.1). Worker, on a head of its own. */
#ifndef WEFT_NAT_REWRITE_H
#define WEFT_NAT_REWRITE_H

#include "base/drop.h"
#include "base/frame.h"
#include "base/ip.h"

#include <stdbool.h>
#include <stdint.h>

enum nat_kind {
	NAT_KIND_PORTS, /* TCP, UDP */
	NAT_KIND_QUERY, /* an ICMP query, with its identifier as both ports */
	NAT_KIND_REPLY, /* the answer to one */
	NAT_KIND_ERROR, /* an ICMP error: a packet is within */
	NAT_KIND_STRAY, /* any other ICMP message */
	NAT_KIND_OTHER, /* protocols without ports */
};

/* One IP packet with the beginning of what it carries: the frame's, or the one in an ICMP error. */
struct nat_packet {
	uint8_t *ip, *l4;
	uint8_t *checksum; /* of L4; NULL when there is none */
	uint8_t version;
	uint8_t protocol;
	uint8_t kind;	   /* enum nat_kind */
	uint8_t tcp_flags; /* when whole */
	bool partial;	   /* the checksum field holds the sum of the pseudo-header alone */
	uint32_t room;	   /* bytes at l4 that are the packet's and in the head */
	struct ip source, destination;
	uint16_t source_port, destination_port; /* or identifier, or 0 */
};

/* Takes a parsed frame apart; false with the reason when it cannot be translated. */
bool nat_packet_from_frame(const struct frame *frame, struct nat_packet *packet,
			   enum drop_reason *reason);

/* Takes the packet within an ICMP error apart, and checks the sums (RFC 5508, REQ-3); false when it
 * is cut off before its ports, lies, or is itself an error. */
bool nat_packet_from_error(const struct frame *frame, const struct nat_packet *error,
			   struct nat_packet *packet);

/* What changed in a packet, as sums for its checksum and that of what it is within. */
struct nat_change {
	uint64_t pseudo; /* addresses */
	uint64_t header; /* L4 */
	uint64_t outer;	 /* everything */
};

/* Replace an end of the packet: address, and the port where it has one. */
void nat_packet_set_source(struct nat_packet *packet, const struct ip *ip, uint16_t port,
			   struct nat_change *change);
void nat_packet_set_destination(struct nat_packet *packet, const struct ip *ip, uint16_t port,
				struct nat_change *change);

/* Gives an IPv4 packet that may be fragmented another identification. */
void nat_packet_set_identification(struct nat_packet *packet, uint16_t number);

/* Brings the checksum of L4 in line. For an error's inner packet `change` goes on to the error. */
void nat_packet_finish(struct nat_packet *packet, struct nat_change *change);

#endif
