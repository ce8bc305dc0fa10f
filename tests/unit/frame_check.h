/* Frames for tests: a builder of packets, and checks of packets that share no code with base/ (byte
 * by byte, slow, and plain). The unit tests and the frame fuzzer use it. */
#ifndef WEFT_TESTS_FRAME_CHECK_H
#define WEFT_TESTS_FRAME_CHECK_H

#include "base/frame.h"
#include "base/vnet_header.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_MAX 70000u

static inline uint32_t check_be16(const uint8_t *p)
{
	return (uint32_t)p[0] * 256 + p[1];
}

static inline uint32_t check_be32(const uint8_t *p)
{
	return check_be16(p) * 65536 + check_be16(p + 2);
}

/* The sum of RFC 1071 in network order, not complemented, folded. */
static inline uint32_t check_sum(uint32_t sum, const uint8_t *p, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* The pseudo-header's sum for the packet whose IP header is at `ip`; no routing header. */
static inline uint32_t check_pseudo(const uint8_t *ip, uint8_t protocol, uint32_t length)
{
	uint32_t sum = check_sum(0, (uint8_t[]){ 0, protocol }, 2);

	sum = check_sum(sum,
			(uint8_t[]){ (uint8_t)(length >> 24), (uint8_t)(length >> 16),
				     (uint8_t)(length >> 8), (uint8_t)length },
			4);
	if (ip[0] >> 4 == 4)
		return check_sum(sum, ip + 12, 8);
	return check_sum(sum, ip + 8, 32);
}

/* Whether the L4 checksum of [l4, l4 + length) is right for the IP header at `ip`. */
static inline bool check_l4_sum(const uint8_t *ip, uint8_t protocol, const uint8_t *l4,
				uint32_t length)
{
	return check_sum(check_pseudo(ip, protocol, length), l4, length) == 0xffff;
}

static inline bool check_ipv4_sum(const uint8_t *ip)
{
	return check_sum(0, ip, (ip[0] & 15u) * 4u) == 0xffff;
}

/* The frame's bytes in a row, by its own fields: the caller owns (free) what is returned. */
static inline uint8_t *check_flatten(const struct frame *frame)
{
	uint8_t *bytes = malloc(frame->length + 1);
	uint32_t used = frame->head_length;

	if (bytes == NULL || used > frame->length)
		abort();
	memcpy(bytes, frame->head, used);
	for (uint32_t i = 0; i < frame->segment_count; i++) {
		const struct frame_segment *segment = &frame->segments[i];

		if (segment->length == 0 || segment->length > frame->length - used)
			abort();
		memcpy(bytes + used, segment->base, segment->length);
		used += segment->length;
	}
	if (used != frame->length)
		abort();
	return bytes;
}

/* A packet to be built. */
struct packet_plan {
	int version;
	uint8_t protocol; /* TCP or UDP */
	uint8_t tags;
	uint8_t tcp_flags;
	uint8_t options;       /* bytes of IPv4 or TCP options, a multiple of 4 */
	const uint8_t *before; /* IPv6: extension headers, with their own next header bytes */
	uint32_t before_length;
	uint8_t before_type; /* of the first of them */
	uint32_t payload;
	uint8_t gso_type; /* of the virtio-net header, with flags and offsets to fit; 0 none */
	uint16_t gso_size;
};

struct packet {
	uint8_t *bytes; /* PACKET_MAX */
	uint32_t length;
	uint32_t l3, l4, data;
	struct vnet_header header;
	uint8_t slot[FRAME_SLOT];
	struct frame_segment segments[256];
	struct frame frame;
};

static inline void packet_put(struct packet *packet, const void *bytes, uint32_t length)
{
	if (length != 0)
		memcpy(packet->bytes + packet->length, bytes, length);
	packet->length += length;
}

static inline void packet_put16(struct packet *packet, uint32_t value)
{
	packet_put(packet, (uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static inline void packet_put_ip(struct packet *packet, const struct packet_plan *plan,
				 uint32_t l4_length)
{
	packet->l3 = packet->length;
	if (plan->version == 4) {
		uint32_t header = 20u + plan->options;
		uint8_t *ip = packet->bytes + packet->l3;
		uint32_t sum;

		packet_put(packet, (uint8_t[]){ (uint8_t)(0x40 | header / 4), 0x02 }, 2);
		packet_put16(packet, header + l4_length);
		packet_put(packet, (uint8_t[]){ 0xff, 0xfe, 0, 0, 64, plan->protocol, 0, 0 }, 8);
		packet_put(packet, (uint8_t[]){ 10, 1, 2, 3, 10, 200, 201, 202 }, 8);
		/* Router alert is copied to fragments, record route is not. */
		if (plan->options >= 8)
			packet_put(packet, (uint8_t[]){ 148, 4, 0, 0, 7, 3, 4, 1 }, 8);
		for (uint32_t i = plan->options >= 8 ? 8 : 0; i < plan->options; i++)
			packet_put(packet, "\x01", 1);
		sum = ~check_sum(0, ip, header) & 0xffff;
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
		return;
	}
	packet_put(packet, (uint8_t[]){ 0x60, 0x21, 0x43, 0x65 }, 4);
	packet_put16(packet, l4_length + plan->before_length);
	packet_put(packet,
		   (uint8_t[]){ plan->before_length != 0 ? plan->before_type : plan->protocol, 63 },
		   2);
	for (uint8_t i = 0; i < 32; i++)
		packet_put(packet, (uint8_t[]){ i == 0 ? 0xfd : (uint8_t)(i * 7) }, 1);
	packet_put(packet, plan->before, plan->before_length);
}

/* The L4 header with its partial checksum, as a sender with NEEDS_CSUM leaves it. */
static inline void packet_put_l4(struct packet *packet, const struct packet_plan *plan,
				 uint32_t l4_length)
{
	uint32_t sum;

	packet->l4 = packet->length;
	sum = check_pseudo(packet->bytes + packet->l3, plan->protocol, l4_length);
	packet_put(packet, (uint8_t[]){ 0xc0, 0x01, 0x14, 0x51 }, 4);
	if (plan->protocol == IPPROTO_UDP) {
		packet_put16(packet, l4_length);
		packet_put16(packet, sum);
	} else {
		packet_put(packet, (uint8_t[]){ 0xff, 0xff, 0xf0, 0x00, 1, 2, 3, 4 }, 8);
		packet_put(packet,
			   (uint8_t[]){ (uint8_t)((20 + plan->options) / 4 << 4), plan->tcp_flags },
			   2);
		packet_put16(packet, 512);
		packet_put16(packet, sum);
		packet_put16(packet, 0);
		for (uint32_t i = 0; i < plan->options; i++)
			packet_put(packet, "\x01", 1);
	}
	packet->data = packet->length;
}

static inline void packet_build(struct packet *packet, const struct packet_plan *plan)
{
	uint32_t l4_length = plan->payload + (plan->protocol == IPPROTO_UDP ? 8u : 20u);

	memset(packet, 0, sizeof(*packet));
	packet->bytes = malloc(PACKET_MAX);
	if (packet->bytes == NULL)
		abort();
	packet_put(packet, "\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02", 12);
	for (uint8_t i = 0; i < plan->tags; i++) {
		packet_put16(packet, plan->tags == 2 && i == 0 ? 0x88a8 : 0x8100);
		packet_put16(packet, 0x600au + i);
	}
	packet_put16(packet, plan->version == 4 ? 0x0800 : 0x86dd);
	if (plan->protocol == IPPROTO_TCP)
		l4_length += plan->options;
	packet_put_ip(packet, plan, l4_length);
	packet_put_l4(packet, plan, l4_length);
	for (uint32_t i = 0; i < plan->payload; i++)
		packet->bytes[packet->length++] = (uint8_t)(i * 31 + (i >> 8) * 17 + 5);
	packet->header.flags = VNET_FLAG_NEEDS_CSUM;
	packet->header.gso_type = plan->gso_type;
	packet->header.gso_size = plan->gso_size;
	packet->header.csum_start = (uint16_t)packet->l4;
	packet->header.csum_offset = plan->protocol == IPPROTO_UDP ? 6 : 16;
}

static inline void packet_free(struct packet *packet)
{
	free(packet->bytes);
	packet->bytes = NULL;
}

/* Makes packet->frame: a head, and the rest in pieces of `piece` bytes (0: one piece). */
static inline struct frame *packet_frame(struct packet *packet, uint32_t piece)
{
	struct frame *frame = &packet->frame;
	uint32_t at;

	memset(frame, 0, sizeof(*frame));
	frame->head = packet->slot + FRAME_HEADROOM;
	frame->length = packet->length;
	frame->head_length =
	    (uint16_t)(packet->length < FRAME_HEAD_MAX ? packet->length : FRAME_HEAD_MAX);
	memcpy(frame->head, packet->bytes, frame->head_length);
	frame->segments = packet->segments;
	for (at = frame->head_length; at < packet->length;) {
		uint32_t length = packet->length - at;

		if (piece != 0 && length > piece && frame->segment_count < 255)
			length = piece;
		packet->segments[frame->segment_count].base = packet->bytes + at;
		packet->segments[frame->segment_count++].length = length;
		at += length;
	}
	return frame;
}

#endif
