/* The Internet checksum (checksum.h): worker threads, for frames that a receiver wants completed.
 *
 * A sum of 16-bit words modulo 65,535 may be taken over wider words, as 2^16 is 1 there: so the
 * inner loop adds 32-bit halves into 64-bit lanes, which cannot overflow in a frame's length, and
 * nothing is folded before the end. */
#include "base/checksum.h"

#include "base/parse.h"

#include <netinet/in.h>
#include <string.h>

#define UDP_CHECKSUM_OFFSET 6u

/* Two lanes: what every x86-64 and arm64 has; wider ones are not faster than memory. */
typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

static uint16_t sum_fold(uint64_t sum);
static uint64_t sum_add_at(uint64_t sum, uint32_t position, const void *data, size_t length);
static const uint8_t *ipv6_destination(const struct frame *frame);

uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
	const lanes low = { 0xffffffff, 0xffffffff };
	const uint8_t *p = data;
	lanes even = { 0, 0 }, odd = { 0, 0 };
	uint16_t word = 0;

	for (; length >= 64; length -= 64, p += 64) {
		const lanes *w = (const lanes *)p;

		even += (w[0] & low) + (w[1] & low) + (w[2] & low) + (w[3] & low);
		odd += (w[0] >> 32) + (w[1] >> 32) + (w[2] >> 32) + (w[3] >> 32);
	}
	sum += even[0] + even[1] + odd[0] + odd[1];
	for (; length >= 4; length -= 4, p += 4) {
		uint32_t words;

		memcpy(&words, p, 4);
		sum += words;
	}
	if (length >= 2) {
		memcpy(&word, p, 2);
		sum += word;
		p += 2;
		word = 0;
	}
	if (length & 1) {
		memcpy(&word, p, 1); /* as if a zero byte followed */
		sum += word;
	}
	return sum;
}

uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~sum_fold(sum);
}

uint64_t checksum_frame(const struct frame *frame, uint32_t offset)
{
	uint64_t sum = 0;
	uint32_t position = 0;
	uint32_t skip = offset;

	if (skip < frame->head_length) {
		position = frame->head_length - skip;
		sum = checksum_add(0, frame->head + skip, position);
		skip = 0;
	} else {
		skip -= frame->head_length;
	}
	for (uint32_t i = 0; i < frame->segment_count; i++) {
		const struct frame_segment *segment = &frame->segments[i];

		if (skip >= segment->length) {
			skip -= segment->length;
			continue;
		}
		sum = sum_add_at(sum, position, segment->base + skip, segment->length - skip);
		position += segment->length - skip;
		skip = 0;
	}
	return sum;
}

uint64_t checksum_pseudo_header(const struct frame *frame, uint8_t protocol, uint32_t length)
{
	const uint8_t *ip = frame->head + frame->l3_offset;
	uint8_t words[8] = { 0 };
	uint64_t sum;

	write_be32(words, length);
	words[7] = protocol;
	sum = checksum_add(0, words, sizeof(words));
	if (frame->ip_version == 4)
		return checksum_add(sum, ip + 12, 8);
	sum = checksum_add(sum, ip + 8, 16);
	return checksum_add(sum, ipv6_destination(frame), 16);
}

void checksum_complete(struct frame *frame)
{
	/* The field holds the sum of the pseudo-header, and so adds it. Summed is all that follows
	 * csum_start, to the end of the frame (virtio 1.2, 5.1.6.2). */
	uint16_t checksum = checksum_finish(checksum_frame(frame, frame->csum_start));

	/* DCCP's field is at 6 as well; there 0xffff and 0 say the same. */
	if (checksum == 0 && frame->csum_offset == UDP_CHECKSUM_OFFSET)
		checksum = 0xffff;
	memcpy(frame->head + frame->csum_start + frame->csum_offset, &checksum, sizeof(checksum));
	frame->flags &= (uint8_t)~FRAME_NEEDS_CSUM;
}

static uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Adds a piece that stands `position` bytes into what is summed: at an odd position its bytes have
 * changed places in the 16-bit words, and so have those of its sum (RFC 1071, section 2 B). */
static uint64_t sum_add_at(uint64_t sum, uint32_t position, const void *data, size_t length)
{
	if ((position & 1) == 0)
		return checksum_add(sum, data, length);
	return sum + __builtin_bswap16(sum_fold(checksum_add(0, data, length)));
}

/* Where the datagram finally goes stands in the routing header, as long as that has segments left
 * (RFC 8200, 8.1): last in the list of the types 0 and 2, first in the segment routing header's
 * (RFC 8754), which is kept in reverse. */
static const uint8_t *ipv6_destination(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;
	const uint8_t *p = ip + PARSE_IPV6_LENGTH;
	const uint8_t *end = frame->head + frame->l4_offset;
	uint8_t type = ip[6];

	while (p < end) {
		uint32_t length = parse_extension_length(type, p, (uint32_t)(end - p));

		if (length == 0)
			break;
		if (type == IPPROTO_ROUTING && p[3] != 0 && length >= 24) {
			if (p[2] == 0 || p[2] == 2)
				return p + 8 + (length - 24) / 16 * 16;
			if (p[2] == 4)
				return p + 8;
		}
		type = p[0];
		p += length;
	}
	return ip + 24;
}
