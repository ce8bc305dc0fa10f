/* Whole packets in one piece of memory, as the control thread reads and writes them: ARP, DHCP,
 * DNS, ICMP and the like. Workers never use this; they have struct frame. Any thread, no state. */
#ifndef WEFT_BASE_PACKET_H
#define WEFT_BASE_PACKET_H

#include "base/ip.h"
#include "base/mac.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_ETHERNET_LENGTH 14u
#define PACKET_LENGTH_MAX      65549u /* Ethernet and an IP packet of 65,535 bytes */

/* An Ethernet frame taken apart. Pointers lead into the caller's bytes. */
struct packet {
	const uint8_t *bytes;
	size_t length; /* of all, padding cut off where IP says how long it is */
	struct mac from, to;
	uint16_t ethertype;	/* after at most one 802.1Q tag */
	const uint8_t *network; /* the header after Ethernet */
	size_t network_length;	/* from there to the end */
	/* When ip_version is 4 or 6; the headers' lengths and IPv4's checksum have been checked. */
	uint8_t ip_version;
	uint8_t protocol; /* of what follows the IP header and its extension headers */
	uint8_t hop_limit;
	bool fragment; /* a part of a packet: payload is no L4 header */
	struct ip source, destination;
	const uint8_t *payload; /* L4 header */
	size_t payload_length;
	/* When protocol is UDP or TCP, not a fragment, and the header is whole; else 0. */
	uint16_t source_port, destination_port;
	const uint8_t *data; /* after the UDP header; NULL when it is not UDP, or lies */
	size_t data_length;
};

/* Takes a frame apart. Returns false when it is no frame at all, or says it is IP and its header is
 * truncated or lies (version, lengths, IPv4 header checksum, IPv6 addresses that are mapped IPv4).
 * L4 checksums are not checked: a guest may leave them to us (packet_checksum_ok()). */
bool packet_parse(const uint8_t *bytes, size_t length, struct packet *packet);

/* Whether the checksum of UDP, TCP, ICMP or ICMPv6 is right (RFC 768's "none" is, over IPv4); true
 * for other protocols. Not for fragments. */
bool packet_checksum_ok(const struct packet *packet);

/* What stands in the headers of a packet to be written. */
struct packet_header {
	struct mac from, to;
	struct ip source, destination; /* both of one family */
	uint8_t protocol;
	uint8_t hop_limit; /* 0: 64 */
	uint8_t tos;
	uint16_t source_port, destination_port; /* for packet_write_udp() */
};

/* Writes Ethernet and IP headers and copies `length` bytes of L4 after them; completes the checksum
 * of TCP, UDP, ICMP and ICMPv6. Returns the frame's length, or 0 when it would not fit in `size`.
 */
size_t packet_write_ip(const struct packet_header *header, const void *payload, size_t length,
		       uint8_t *out, size_t size);

/* The same with a UDP header before `data`. */
size_t packet_write_udp(const struct packet_header *header, const void *data, size_t length,
			uint8_t *out, size_t size);

#endif
