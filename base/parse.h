/* Finds the headers of a frame within its head: Ethernet, up to two tags, IPv4 or IPv6 with
 * extension headers, TCP/UDP. Worker thread; works on the worker's own copy, so each byte is
 * stable. */
#ifndef WEFT_BASE_PARSE_H
#define WEFT_BASE_PARSE_H

#include "base/frame.h"

#include <string.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERTYPE_IPV6 0x86dd

#define PARSE_IPV4_LENGTH 20u /* without options */
#define PARSE_IPV6_LENGTH 40u
#define PARSE_TCP_LENGTH  20u /* without options */
#define PARSE_UDP_LENGTH  8u

/* Brings the whole head in (frame_pull()), and sets ip_version, l3_offset, l4_offset, l4_protocol
 * and payload_offset. A header that is truncated, lies about its length, or lies beyond the head
 * leaves its fields 0; an IP fragment (RFC 791, RFC 8200) has no L4. Never fails: an unknown frame
 * is simply one with ip_version 0. */
void parse_frame(struct frame *frame);

/* Where the network header begins, after Ethernet and up to two tags, with the type that is said to
 * stand there in *ethertype; 0 when the head ends before. */
uint32_t parse_network_offset(const struct frame *frame, uint16_t *ethertype);

/* The length of the IPv6 extension header at p if `type` is one that carries the same L4 header on
 * (hop-by-hop, routing, destination options: RFC 8200, 4.3, 4.4, 4.6), or 0 when it is not, or is
 * longer than the `room` bytes at p. */
uint32_t parse_extension_length(uint8_t type, const uint8_t *p, uint32_t room);

/* As they stand there; for comparisons and hashes. */
static inline uint64_t read_u64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline uint32_t read_u32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline uint16_t read_be16(const uint8_t *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t read_be32(const uint8_t *p)
{
	return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline void write_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void write_be32(uint8_t *p, uint32_t v)
{
	write_be16(p, (uint16_t)(v >> 16));
	write_be16(p + 2, (uint16_t)v);
}

#endif
