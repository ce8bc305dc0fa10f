/* Fuzzes the way of a frame from a peer: virtio-net header, parser, tags, checksum, segmentation.
 *
 * Input: offloads allowed, head split, piece size, limit of the out burst (1 byte each), 10 bytes
 * of virtio-net header, the frame. Each piece of it lies in an allocation of its own size, so that
 * a sanitizer sees each byte read beyond. What comes out is checked against sums and headers worked
 * out here, byte by byte. */
#include "base/checksum.h"
#include "base/flow_hash.h"
#include "base/segment.h"
#include "base/vnet_header.h"
#include "tests/unit/frame_check.h"

#define INPUT_HEAD 14u
#define PIECES_MAX 512u
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

struct input {
	const uint8_t *bytes; /* of the frame */
	uint32_t allowed;
	uint32_t limit;
	struct vnet_header header;
	uint8_t *slot;
	struct frame_segment pieces[PIECES_MAX];
	struct frame frame;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As a port would bring it in: a head, and the rest in pieces. */
static void input_make(struct input *input, const uint8_t *data, uint32_t size)
{
	struct frame *frame = &input->frame;
	uint32_t piece = data[2] == 0 ? UINT32_MAX : data[2] * 8u - 7u;

	memset(input, 0, sizeof(*input));
	input->bytes = data + INPUT_HEAD;
	input->allowed = data[0] == 0 ? OFFLOAD_ALL : data[0] & OFFLOAD_ALL;
	input->limit = 1u + data[3] % BURST_FRAMES;
	memcpy(&input->header, data + 4, VNET_HEADER_LEGACY);
	frame->length = size - INPUT_HEAD;
	frame->head_length = FRAME_HEAD_MAX - data[1] % 64u;
	if (frame->head_length > frame->length)
		frame->head_length = (uint16_t)frame->length;
	input->slot = malloc(FRAME_HEADROOM + (size_t)frame->head_length);
	CHECK(input->slot != NULL);
	frame->head = input->slot + FRAME_HEADROOM;
	memcpy(frame->head, input->bytes, frame->head_length);
	frame->segments = input->pieces;
	for (uint32_t at = frame->head_length; at < frame->length;) {
		uint32_t length = frame->length - at;
		uint8_t *copy;

		if (length > piece && frame->segment_count < PIECES_MAX - 1)
			length = piece;
		copy = malloc(length);
		CHECK(copy != NULL);
		memcpy(copy, input->bytes + at, length);
		input->pieces[frame->segment_count++] = (struct frame_segment){ copy, length };
		at += length;
	}
}

static void input_free(struct input *input)
{
	for (uint32_t i = 0; i < input->frame.segment_count; i++)
		free((void *)(uintptr_t)input->pieces[i].base);
	free(input->slot);
}

/* Whether a routing header lies between IPv6 and L4: then not every address of the sum is the IP
 * header's, which the unit tests look at. */
static bool is_routed(const uint8_t *ip, const uint8_t *l4)
{
	uint8_t type = ip[6];

	if (ip[0] >> 4 != 6)
		return false;
	for (const uint8_t *p = ip + 40; p < l4 && type != IPPROTO_FRAGMENT;
	     type = p[0], p += (p[1] + 1) * 8) {
		if (type == IPPROTO_ROUTING)
			return true;
	}
	return false;
}

static void check_ip(const uint8_t *ip, uint32_t length)
{
	if (ip[0] >> 4 == 4)
		CHECK(check_be16(ip + 2) == length && check_ipv4_sum(ip));
	else
		CHECK(check_be16(ip + 4) + 40 == length);
}

/* A segment with all its headers: TCP or one of USO's datagrams. Returns its payload's length. */
static uint32_t check_whole(const struct input *input, struct frame *segment, uint32_t at)
{
	const struct frame *frame = &input->frame;
	uint32_t l3 = frame->l3_offset, l4 = frame->l4_offset, data = frame->payload_offset;
	uint8_t *bytes;

	CHECK(segment->flags & FRAME_NEEDS_CSUM && !(segment->flags & FRAME_GSO_ECN));
	CHECK(segment->payload_offset == data && segment->length >= data);
	checksum_complete(segment);
	bytes = check_flatten(segment);
	check_ip(bytes + l3, segment->length - l3);
	CHECK(is_routed(bytes + l3, bytes + l4) ||
	      check_l4_sum(bytes + l3, frame->l4_protocol, bytes + l4, segment->length - l4));
	CHECK(memcmp(bytes + data, input->bytes + at, segment->length - data) == 0);
	if (frame->gso == FRAME_GSO_UDP)
		CHECK(check_be16(bytes + l4 + 4) == segment->length - l4);
	else
		CHECK(check_be32(bytes + l4 + 4) ==
		      check_be32(input->bytes + l4 + 4) + (at - data));
	free(bytes);
	return segment->length - data;
}

/* A fragment of UFO: what it carries goes to `whole` at the offset that it says. */
static uint32_t check_fragment(const struct input *input, struct frame *segment, uint32_t done,
			       uint8_t *whole)
{
	uint32_t l3 = input->frame.l3_offset, offset, start;
	uint8_t *bytes = check_flatten(segment);
	const uint8_t *ip = bytes + l3;

	CHECK(segment->flags == 0);
	check_ip(ip, segment->length - l3);
	if (ip[0] >> 4 == 4) {
		offset = (check_be16(ip + 6) & 0x1fff) * 8;
		start = l3 + (ip[0] & 15u) * 4;
	} else {
		const uint8_t *p = ip + 40;

		for (uint8_t type = ip[6]; type != IPPROTO_FRAGMENT;
		     type = p[0], p += (p[1] + 1) * 8)
			CHECK(type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING ||
			      type == IPPROTO_DSTOPTS);
		offset = check_be16(p + 2) & 0xfff8;
		start = (uint32_t)(p + 8 - bytes);
	}
	CHECK(offset == done);
	memcpy(whole + offset, bytes + start, segment->length - start);
	done += segment->length - start;
	free(bytes);
	return done;
}

/* The datagram put together again is the one that came, with its length and checksum right. */
static void check_datagram(const struct input *input, uint8_t *whole, uint32_t length)
{
	const struct frame *frame = &input->frame;
	uint32_t udp_length = frame->length - frame->l4_offset;
	const uint8_t *ip = input->bytes + frame->l3_offset;
	uint8_t *udp = whole + length - udp_length;

	CHECK(length >= udp_length);
	CHECK(check_be16(udp + 4) == udp_length);
	CHECK(is_routed(ip, input->bytes + frame->l4_offset) ||
	      check_l4_sum(ip, IPPROTO_UDP, udp, udp_length));
	memcpy(udp + 4, input->bytes + frame->l4_offset + 4, 4);
	CHECK(memcmp(whole, input->bytes + frame->length - length, length) == 0);
}

static void check_segments(struct input *input, struct burst *out)
{
	struct frame *frame = &input->frame;
	struct segment_state state = { 0 };
	uint32_t count = segment_count(frame), made = 0;
	uint32_t at = frame->payload_offset, done = 0;
	bool fragments = frame->gso == FRAME_GSO_UDP4_FRAGMENT && count > 1;
	uint8_t *whole = malloc(PACKET_MAX);
	bool more;

	CHECK(whole != NULL && count > 0 && count <= FRAME_SEGMENTS_MAX);
	do {
		burst_reset(out);
		out->limit = input->limit;
		more = segment_next(frame, &state, out);
		CHECK(out->count > 0 && out->count <= input->limit);
		CHECK(out->segment_count <= BURST_SEGMENTS);
		for (uint32_t i = 0; i < out->count; i++, made++) {
			struct frame *segment = &out->frames[i], parsed = *segment;

			CHECK(segment->gso == FRAME_GSO_NONE);
			parse_frame(&parsed);
			CHECK(parsed.l3_offset == segment->l3_offset);
			CHECK(parsed.l4_offset == segment->l4_offset);
			CHECK(parsed.payload_offset == segment->payload_offset);
			CHECK(parsed.l4_protocol == segment->l4_protocol);
			if (fragments) {
				done = check_fragment(input, segment, done, whole);
			} else if (frame->gso == FRAME_GSO_UDP4_FRAGMENT) {
				uint32_t skip = frame->l4_offset;

				frame_copy_out(segment, skip, segment->length - skip, whole);
				done = segment->length - skip;
			} else {
				at += check_whole(input, segment, at);
			}
		}
	} while (more);
	CHECK(made == count);
	if (frame->gso == FRAME_GSO_UDP4_FRAGMENT)
		check_datagram(input, whole, done);
	else
		CHECK(at == frame->length);
	free(whole);
}

/* What the header asked for, done by hand on a flat copy. */
static void check_completion(struct input *input)
{
	struct frame *frame = &input->frame;
	uint8_t *expected = malloc(frame->length + 1);
	uint32_t start = frame->csum_start, field = start + frame->csum_offset;
	uint8_t *bytes;
	uint32_t sum;

	CHECK(expected != NULL);
	memcpy(expected, input->bytes, frame->length);
	sum = check_sum(0, expected + start, frame->length - start) ^ 0xffff;
	if (sum == 0 && frame->csum_offset == 6)
		sum = 0xffff;
	expected[field] = (uint8_t)(sum >> 8);
	expected[field + 1] = (uint8_t)sum;
	checksum_complete(frame);
	CHECK(!(frame->flags & FRAME_NEEDS_CSUM));
	bytes = check_flatten(frame);
	CHECK(memcmp(bytes, expected, frame->length) == 0);
	free(bytes);
	free(expected);
}

/* Any IP packet, cut in fragments and put together: what it was, with its checksum complete. */
static void check_fragmentation(struct input *input, struct burst *out)
{
	struct frame *frame = &input->frame, before = *frame;
	struct segment_state state = { 0 };
	uint32_t field = (uint32_t)frame->csum_start + frame->csum_offset, made = 0, done = 0;
	uint32_t mtu = 68u + input->limit * 16u;
	uint8_t *whole = malloc(PACKET_MAX);
	const uint8_t *ip;
	bool more;

	CHECK(whole != NULL);
	parse_frame(frame);
	ip = input->bytes + frame->l3_offset;
	frame->gso_size = segment_fragment_size(frame, mtu);
	frame->gso = FRAME_GSO_FRAGMENT;
	/* Padding, and packets that are fragments already, are the unit tests'. */
	if (frame->gso_size == 0 || segment_count(frame) < 2 ||
	    (frame->ip_version == 4 ? check_be16(ip + 6) & 0x3fff ||
					  check_be16(ip + 2) != frame->length - frame->l3_offset
				    : check_be16(ip + 4) + 40 != frame->length - frame->l3_offset))
		goto end;
	do {
		burst_reset(out);
		out->limit = input->limit;
		more = segment_next(frame, &state, out);
		CHECK(out->count > 0 && out->count <= input->limit);
		for (uint32_t i = 0; i < out->count; i++, made++) {
			CHECK(out->frames[i].length - frame->l3_offset <= mtu);
			done = check_fragment(input, &out->frames[i], done, whole);
		}
	} while (more);
	CHECK(made == segment_count(frame));
	/* But for the checksum, whose place is the sender's choice. */
	for (uint32_t i = 0, at = frame->length - done; i < done; i++, at++)
		CHECK(whole[i] == input->bytes[at] ||
		      (frame->flags & FRAME_NEEDS_CSUM && (at == field || at == field + 1)));
end:
	*frame = before;
	free(whole);
}

/* A tag comes and goes, on the frame and on a clone, and leaves all else as it was. */
static void check_tags(struct input *input)
{
	struct frame *frame = &input->frame, before = *frame, clone;
	uint8_t *slot = malloc(FRAME_SLOT);
	uint8_t *bytes;

	CHECK(slot != NULL);
	frame_push_tag(frame, 0x7abc);
	frame_clone(&clone, slot + FRAME_HEADROOM, frame);
	bytes = check_flatten(&clone);
	CHECK(memcmp(bytes, input->bytes, 12) == 0);
	CHECK(memcmp(bytes + 12, "\x81\x00\x7a\xbc", 4) == 0);
	CHECK(memcmp(bytes + 16, input->bytes + 12, before.length - 12) == 0);
	free(bytes);
	frame_pop_tag(&clone);
	bytes = check_flatten(&clone);
	CHECK(memcmp(bytes, input->bytes, before.length) == 0);
	free(bytes);
	free(slot);
	frame_pop_tag(frame);
	CHECK(memcmp(frame, &before, sizeof(before)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct burst *out;
	struct vnet_header again;
	enum drop_reason reason = DROP_COUNT;
	struct input input;
	struct frame copy;
	uint32_t hash;

	if (out == NULL)
		out = burst_create();
	CHECK(out != NULL);
	if (size < INPUT_HEAD + FRAME_LENGTH_MIN || size > INPUT_HEAD + FRAME_LENGTH_MAX)
		return 0;
	input_make(&input, data, (uint32_t)size);
	copy = input.frame;
	if (!flow_hash_plain(&copy, &hash))
		flow_hash_parsed(&copy);
	if (!vnet_header_to_frame(&input.header, &input.frame, input.allowed, &reason)) {
		CHECK(reason < DROP_COUNT);
		input_free(&input);
		return 0;
	}
	check_tags(&input);
	/* What goes out would come in again just so. */
	vnet_header_from_frame(&input.frame, &again);
	copy = input.frame;
	CHECK(vnet_header_to_frame(&again, &copy, OFFLOAD_ALL, &reason));
	CHECK(memcmp(&copy, &input.frame, sizeof(copy)) == 0);
	if (input.frame.gso != FRAME_GSO_NONE)
		check_segments(&input, out);
	else
		check_fragmentation(&input, out);
	if (input.frame.gso == FRAME_GSO_NONE && input.frame.flags & FRAME_NEEDS_CSUM)
		check_completion(&input);
	input_free(&input);
	return 0;
}
