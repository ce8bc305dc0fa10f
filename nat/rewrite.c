/* Taking packets apart and rewriting them (rewrite.h). Worker thread, each byte in a head of its
 * own. parse_frame() has found the headers and checked their lengths; what it does not look at (the
 * packet within an ICMP error, options) is checked here. */
#include "nat/rewrite.h"

#include "base/checksum.h"
#include "base/parse.h"

#include <netinet/in.h>

#define IPV4_FRAGMENT  0x3fffu
#define IPV4_OFFSET    0x1fffu
#define IPV4_DONT      0x4000u
#define OPTION_LSRR    131
#define OPTION_SSRR    137
#define ICMP_HEADER    8u
#define ROUTING_LEFT   3u /* "segments left" of a routing header */
#define FRAGMENT_BYTES 8u

static uint32_t packet_end(const struct frame *frame);
static bool is_fragment(const struct frame *frame);
static bool is_source_routed(const struct frame *frame);
static bool packet_read_l4(struct nat_packet *packet);
static bool error_sum_ok(const struct frame *frame, const struct nat_packet *error);
static bool inner_read_ip(struct nat_packet *packet, uint8_t *p, uint32_t room);
static void change_bytes(uint8_t *field, const void *bytes, uint32_t length, uint64_t *sum,
			 uint64_t *outer);
static void change_ip(struct nat_packet *packet, uint32_t offset4, uint32_t offset6,
		      const struct ip *ip, struct nat_change *change);
static void change_port(struct nat_packet *packet, uint32_t offset, uint16_t port,
			struct nat_change *change);
static uint16_t fold(uint64_t sum);

bool nat_packet_from_frame(const struct frame *frame, struct nat_packet *packet,
			   enum drop_reason *reason)
{
	uint8_t *ip = frame->head + frame->l3_offset;
	uint32_t end = packet_end(frame);

	*reason = DROP_NAT_MALFORMED;
	if (frame->ip_version == 0)
		return false;
	if (is_fragment(frame)) {
		*reason = DROP_NAT_FRAGMENT;
		return false;
	}
	if (frame->l4_offset == 0 || is_source_routed(frame))
		return false;
	packet->ip = ip;
	packet->version = frame->ip_version;
	packet->l4 = frame->head + frame->l4_offset;
	packet->protocol = frame->l4_protocol;
	packet->room = (end < frame->head_length ? end : frame->head_length) - frame->l4_offset;
	if (packet->version == 4) {
		packet->source = ip_from_v4_bytes(ip + 12);
		packet->destination = ip_from_v4_bytes(ip + 16);
	} else {
		packet->source = ip_from_v6_bytes(ip + 8);
		packet->destination = ip_from_v6_bytes(ip + 24);
	}
	if (!packet_read_l4(packet))
		return false;
	if (packet->kind == NAT_KIND_PORTS &&
	    (packet->source_port == 0 || packet->destination_port == 0))
		return false;
	packet->partial = (frame->flags & FRAME_NEEDS_CSUM) &&
			  frame->csum_start == frame->l4_offset &&
			  packet->checksum == frame->head + frame->csum_start + frame->csum_offset;
	return true;
}

bool nat_packet_from_error(const struct frame *frame, const struct nat_packet *error,
			   struct nat_packet *packet)
{
	if (error->room < ICMP_HEADER || !error_sum_ok(frame, error) ||
	    !inner_read_ip(packet, error->l4 + ICMP_HEADER, error->room - ICMP_HEADER) ||
	    packet->version != error->version || packet->room < 8 || !packet_read_l4(packet))
		return false;
	packet->partial = false;
	/* A TCP checksum that is there but not in the head could not be repaired. */
	if (packet->protocol == IPPROTO_TCP && packet->checksum == NULL &&
	    packet_end(frame) > frame->head_length)
		return false;
	return packet->kind != NAT_KIND_ERROR && packet->kind != NAT_KIND_STRAY;
}

void nat_packet_set_source(struct nat_packet *packet, const struct ip *ip, uint16_t port,
			   struct nat_change *change)
{
	change_ip(packet, 12, 8, ip, change);
	if (packet->kind == NAT_KIND_PORTS)
		change_port(packet, 0, port, change);
	else if (packet->kind == NAT_KIND_QUERY || packet->kind == NAT_KIND_REPLY)
		change_port(packet, 4, port, change);
	packet->source = *ip;
	packet->source_port = port;
}

void nat_packet_set_destination(struct nat_packet *packet, const struct ip *ip, uint16_t port,
				struct nat_change *change)
{
	change_ip(packet, 16, 24, ip, change);
	if (packet->kind == NAT_KIND_PORTS)
		change_port(packet, 2, port, change);
	else if (packet->kind == NAT_KIND_QUERY || packet->kind == NAT_KIND_REPLY)
		change_port(packet, 4, port, change);
	packet->destination = *ip;
	packet->destination_port = port;
}

void nat_packet_set_identification(struct nat_packet *packet, uint16_t number)
{
	uint8_t bytes[2], *checksum = packet->ip + 10;
	uint64_t sum = 0, outer = 0;
	uint16_t word;

	write_be16(bytes, number);
	change_bytes(packet->ip + 4, bytes, sizeof(bytes), &sum, &outer);
	memcpy(&word, checksum, sizeof(word));
	word = (uint16_t)~fold(sum + (uint16_t)~word);
	memcpy(checksum, &word, sizeof(word));
}

void nat_packet_finish(struct nat_packet *packet, struct nat_change *change)
{
	uint64_t sum = packet->partial ? 0 : change->header;
	uint16_t old, word;

	if (packet->checksum == NULL)
		return;
	if (packet->protocol != IPPROTO_ICMP)
		sum += change->pseudo;
	memcpy(&old, packet->checksum, sizeof(old));
	if (packet->partial) {
		word = fold(sum + old);
	} else if (old == 0 && packet->protocol == IPPROTO_UDP) {
		return; /* the sender made none (RFC 768) */
	} else {
		word = (uint16_t)~fold(sum + (uint16_t)~old);
		/* Both are 0 in these sums, but only this one is right for an ICMP message of
		 * nothing but zeros, and for UDP (RFC 1624, 3; RFC 768). */
		if (word == 0)
			word = 0xffff;
	}
	memcpy(packet->checksum, &word, sizeof(word));
	change->outer += (uint16_t)~old + (uint64_t)word;
}

/* Where the IP packet ends in the frame; parse_frame() has checked that it does. */
static uint32_t packet_end(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;

	if (frame->ip_version == 4)
		return frame->l3_offset + read_be16(ip + 2);
	if (frame->ip_version == 6)
		return frame->l3_offset + PARSE_IPV6_LENGTH + read_be16(ip + 4);
	return 0;
}

static bool is_fragment(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;
	uint32_t offset = frame->l3_offset + PARSE_IPV6_LENGTH;
	uint8_t type = ip[6];

	if (frame->ip_version == 4)
		return (read_be16(ip + 6) & IPV4_FRAGMENT) != 0;
	while (type != IPPROTO_FRAGMENT) {
		uint32_t length =
		    parse_extension_length(type, frame->head + offset, frame->head_length - offset);

		if (length == 0)
			return false;
		type = frame->head[offset];
		offset += length;
	}
	return true;
}

/* Whether the destination is not the one that the packet finally goes to: then its checksum would
 * not be of the address that is changed. Such packets are refused (RFC 5095, RFC 6274). */
static bool is_source_routed(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;
	const uint8_t *p = ip + PARSE_IPV6_LENGTH, *end = frame->head + frame->l4_offset;
	uint8_t type = ip[6];

	if (frame->ip_version == 6) {
		for (uint32_t length; p < end; p += length) {
			length = parse_extension_length(type, p, (uint32_t)(end - p));
			if (length == 0)
				return false;
			if (type == IPPROTO_ROUTING && p[ROUTING_LEFT] != 0)
				return true;
			type = p[0];
		}
		return false;
	}
	for (p = ip + PARSE_IPV4_LENGTH; p < end && *p != 0;) {
		if (*p == OPTION_LSRR || *p == OPTION_SSRR)
			return true;
		if (*p == 1)
			p++;
		else if (p + 1 < end && p[1] >= 2)
			p += p[1];
		else
			return true; /* options that lie */
	}
	return false;
}

static uint8_t icmp_kind(const struct nat_packet *packet)
{
	uint8_t type = packet->l4[0];

	if (packet->protocol == IPPROTO_ICMPV6) {
		if (type == 128)
			return NAT_KIND_QUERY;
		if (type == 129)
			return NAT_KIND_REPLY;
		return type >= 1 && type <= 4 ? NAT_KIND_ERROR : NAT_KIND_STRAY;
	}
	switch (type) {
	case 8:	 /* echo */
	case 13: /* timestamp */
		return NAT_KIND_QUERY;
	case 0:
	case 14:
		return NAT_KIND_REPLY;
	case 3:	 /* unreachable */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		return NAT_KIND_ERROR;
	default:
		return NAT_KIND_STRAY;
	}
}

/* Reads what stands at l4, of which `room` bytes are there; false when they are too few. */
static bool packet_read_l4(struct nat_packet *packet)
{
	uint32_t field;

	packet->kind = NAT_KIND_OTHER;
	packet->checksum = NULL;
	packet->tcp_flags = 0;
	packet->source_port = 0;
	packet->destination_port = 0;
	switch (packet->protocol) {
	case IPPROTO_TCP:
		packet->kind = NAT_KIND_PORTS;
		field = 16;
		break;
	case IPPROTO_UDP:
		packet->kind = NAT_KIND_PORTS;
		field = 6;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* One family's in the other's packets means nothing. */
		if ((packet->protocol == IPPROTO_ICMP) != (packet->version == 4) ||
		    packet->room < ICMP_HEADER)
			return false;
		packet->kind = icmp_kind(packet);
		field = 2;
		break;
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		field = 6;
		break;
	default:
		return true;
	}
	if (packet->kind == NAT_KIND_QUERY || packet->kind == NAT_KIND_REPLY) {
		packet->source_port = read_be16(packet->l4 + 4);
		packet->destination_port = packet->source_port;
	}
	if (packet->kind == NAT_KIND_PORTS) {
		packet->source_port = read_be16(packet->l4);
		packet->destination_port = read_be16(packet->l4 + 2);
	}
	if (packet->protocol == IPPROTO_TCP && packet->room > 13)
		packet->tcp_flags = packet->l4[13];
	if (packet->room >= field + 2)
		packet->checksum = packet->l4 + field;
	else if (packet->kind == NAT_KIND_OTHER)
		return false;
	return true;
}

/* Whether the checksum of an ICMP error is right, as far as it is there and nobody vouches. */
static bool error_sum_ok(const struct frame *frame, const struct nat_packet *error)
{
	uint32_t end = packet_end(frame), length = end - frame->l4_offset;
	uint64_t sum = 0;

	if (frame->flags & (FRAME_NEEDS_CSUM | FRAME_CSUM_VALID))
		return true;
	if (error->version == 6)
		sum = checksum_pseudo_header(frame, IPPROTO_ICMPV6, length);
	if (end <= frame->head_length)
		sum = checksum_add(sum, error->l4, length);
	else if (end == frame->length)
		sum += checksum_frame(frame, frame->l4_offset);
	else
		return false; /* something follows the packet, far behind: no error is made so */
	return checksum_finish(sum) == 0;
}

static bool inner_read_ipv6(struct nat_packet *packet, uint8_t *p, uint32_t room)
{
	uint32_t offset = PARSE_IPV6_LENGTH;
	uint8_t type;

	if (room < PARSE_IPV6_LENGTH)
		return false;
	packet->source = ip_from_v6_bytes(p + 8);
	packet->destination = ip_from_v6_bytes(p + 24);
	for (type = p[6];;) {
		uint32_t length = parse_extension_length(type, p + offset, room - offset);

		if (type == IPPROTO_ROUTING && length != 0 && p[offset + ROUTING_LEFT] != 0)
			return false;
		if (type == IPPROTO_FRAGMENT && room - offset >= FRAGMENT_BYTES) {
			if ((read_be16(p + offset + 2) & 0xfff8) != 0)
				return false;
			length = FRAGMENT_BYTES;
		}
		if (length == 0)
			break;
		type = p[offset];
		offset += length;
	}
	packet->protocol = type;
	packet->l4 = p + offset;
	packet->room = room - offset;
	return true;
}

/* The IP header at p of a packet that was cut off after `room` bytes, or sooner. */
static bool inner_read_ip(struct nat_packet *packet, uint8_t *p, uint32_t room)
{
	uint32_t header;

	if (room == 0)
		return false;
	packet->ip = p;
	packet->version = p[0] >> 4;
	if (packet->version == 6)
		return inner_read_ipv6(packet, p, room);
	if (packet->version != 4 || room < PARSE_IPV4_LENGTH)
		return false;
	header = (p[0] & 15u) * 4;
	if (header < PARSE_IPV4_LENGTH || header > room || read_be16(p + 2) < header ||
	    (read_be16(p + 6) & IPV4_OFFSET) != 0 ||
	    checksum_finish(checksum_add(0, p, header)) != 0)
		return false;
	packet->source = ip_from_v4_bytes(p + 12);
	packet->destination = ip_from_v4_bytes(p + 16);
	packet->protocol = p[9];
	packet->l4 = p + header;
	packet->room = room - header;
	return true;
}

/* Writes `length` bytes (even, at an even place) and adds to the sums what has changed: the
 * complement of the old words, and the new ones. */
static void change_bytes(uint8_t *field, const void *bytes, uint32_t length, uint64_t *sum,
			 uint64_t *outer)
{
	uint64_t change = 0;

	for (uint32_t i = 0; i < length; i += 2) {
		uint16_t old, new;

		memcpy(&old, field + i, sizeof(old));
		memcpy(&new, (const uint8_t *)bytes + i, sizeof(new));
		change += (uint16_t)~old + (uint64_t) new;
	}
	memcpy(field, bytes, length);
	*sum += change;
	*outer += change;
}

static void change_ip(struct nat_packet *packet, uint32_t offset4, uint32_t offset6,
		      const struct ip *ip, struct nat_change *change)
{
	uint8_t *checksum = packet->ip + 10;
	uint64_t sum = 0;
	uint16_t old, word;

	if (packet->version == 6) {
		change_bytes(packet->ip + offset6, ip->bytes, 16, &change->pseudo, &change->outer);
		return;
	}
	change_bytes(packet->ip + offset4, ip_v4_bytes(ip), 4, &sum, &change->outer);
	change->pseudo += sum;
	memcpy(&old, checksum, sizeof(old));
	word = (uint16_t)~fold(sum + (uint16_t)~old);
	memcpy(checksum, &word, sizeof(word));
	change->outer += (uint16_t)~old + (uint64_t)word;
}

static void change_port(struct nat_packet *packet, uint32_t offset, uint16_t port,
			struct nat_change *change)
{
	uint8_t bytes[2];

	write_be16(bytes, port);
	change_bytes(packet->l4 + offset, bytes, sizeof(bytes), &change->header, &change->outer);
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}
