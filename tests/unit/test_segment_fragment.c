/* Cutting any IP packet in fragments (base/segment.c, FRAME_GSO_FRAGMENT): put together again they
 * must be the packet that went in, with its checksum complete (RFC 791, 3.2; RFC 8200, 4.5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "base/segment.h"
#include "tests/unit/frame_check.h"

static uint32_t ipv6_start(const uint8_t *ip, uint32_t l3)
{
	uint32_t at = l3 + 40;
	uint8_t type = ip[6];

	while (type != IPPROTO_FRAGMENT) {
		const uint8_t *p = ip + (at - l3);

		assert_true(type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING);
		type = p[0];
		at += (p[1] + 1u) * 8;
	}
	return at;
}

/* One fragment's place: puts its payload into `whole`, and returns where that ends. */
static uint32_t take_fragment(const struct frame *frame, const struct frame *fragment, uint32_t at,
			      uint32_t mtu, bool last, uint8_t *whole)
{
	uint8_t *bytes = check_flatten(fragment);
	const uint8_t *ip = bytes + frame->l3_offset;
	uint32_t base = 0, end_bit = 0, data, length;

	assert_in_range(fragment->length - frame->l3_offset, 1, mtu);
	assert_int_equal(fragment->flags, 0);
	assert_int_equal(fragment->gso, FRAME_GSO_NONE);
	if (frame->ip_version == 4) {
		const uint8_t *was = frame->head + frame->l3_offset;

		base = (check_be16(was + 6) & 0x1fff) * 8;
		end_bit = check_be16(was + 6) >> 13 & 1;
		assert_true(check_ipv4_sum(ip));
		assert_int_equal(check_be16(ip + 2), fragment->length - frame->l3_offset);
		assert_int_equal((check_be16(ip + 6) & 0x1fff) * 8, base + at);
		assert_int_equal(check_be16(ip + 6) >> 13, last ? end_bit : 1);
		data = frame->l3_offset + (ip[0] & 15u) * 4;
	} else {
		assert_int_equal(check_be16(ip + 4) + 40, fragment->length - frame->l3_offset);
		data = ipv6_start(ip, frame->l3_offset);
		assert_int_equal(check_be16(bytes + data + 2), at | (last ? 0 : 1));
		data += 8;
	}
	length = fragment->length - data;
	if (!last)
		assert_int_equal(length % 8, 0);
	memcpy(whole + at, bytes + data, length);
	free(bytes);
	return at + length;
}

/* Cuts and puts together; `whole` gets what follows the part that is in each fragment. Returns the
 * number of fragments. */
static uint32_t cut(const struct frame *frame, uint32_t mtu, uint32_t limit, uint8_t *whole,
		    uint32_t *length)
{
	struct burst *burst = burst_create();
	struct segment_state state = { 0 };
	uint32_t made = 0, at = 0, count = segment_count(frame);
	uint32_t id = 0;
	bool more;

	assert_non_null(burst);
	assert_true(count > 1);
	do {
		burst_reset(burst);
		burst->limit = limit;
		more = segment_next(frame, &state, burst);
		assert_in_range(burst->count, 1, limit);
		for (uint32_t i = 0; i < burst->count; i++) {
			struct frame *fragment = &burst->frames[i], parsed = *fragment;

			parse_frame(&parsed);
			assert_int_equal(parsed.ip_version, frame->ip_version);
			assert_int_equal(parsed.l4_offset, 0);
			assert_int_equal(fragment->l4_offset, 0);
			made++;
			at = take_fragment(frame, fragment, at, mtu, made == count, whole);
			if (frame->ip_version == 4) {
				uint32_t now = check_be16(fragment->head + fragment->l3_offset + 4);

				id = made == 1 ? now : id;
				assert_int_equal(now, id);
			}
		}
	} while (more);
	assert_int_equal(made, count);
	*length = at;
	burst_destroy(burst);
	return made;
}

/* `start` bytes of the packet are in each fragment. */
static void check_packet(const struct packet_plan *plan, uint32_t mtu, uint32_t start_from_l4)
{
	uint8_t *whole = malloc(PACKET_MAX);
	struct packet packet;
	struct frame *frame;
	uint32_t length, start, l4;

	assert_non_null(whole);
	packet_build(&packet, plan);
	frame = packet_frame(&packet, 700);
	frame->flags = FRAME_NEEDS_CSUM;
	frame->csum_start = packet.header.csum_start;
	frame->csum_offset = packet.header.csum_offset;
	parse_frame(frame);
	frame->gso = FRAME_GSO_FRAGMENT;
	frame->gso_size = segment_fragment_size(frame, mtu);
	assert_true(frame->gso_size != 0 && frame->gso_size % 8 == 0);
	start = packet.l4 - start_from_l4;
	cut(frame, mtu, 3, whole, &length);
	assert_int_equal(length, packet.length - start);
	l4 = packet.l4 - start;
	assert_true(check_l4_sum(packet.bytes + packet.l3, plan->protocol, whole + l4,
				 packet.length - packet.l4));
	/* But for the checksum it is what went in. */
	memcpy(whole + l4 + frame->csum_offset, packet.bytes + packet.l4 + frame->csum_offset, 2);
	assert_memory_equal(whole, packet.bytes + start, length);
	packet_free(&packet);
	free(whole);
}

static void test_rfc791_any_protocol(void **state)
{
	static const uint32_t mtus[] = { 68, 576, 1280, 1499, 1500, 9000 };
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (size_t m = 0; m < sizeof(mtus) / sizeof(mtus[0]); m++) {
		for (size_t p = 0; p < 2; p++) {
			for (uint8_t tags = 0; tags < 3; tags++)
				check_packet(&(struct packet_plan){ .version = 4,
								    .protocol = protocols[p],
								    .tags = tags,
								    .payload = 20001 },
					     mtus[m], 0);
		}
	}
	check_packet(
	    &(struct packet_plan){
		.version = 4, .protocol = IPPROTO_UDP, .options = 40, .payload = 3000 },
	    576, 0);
}

static void test_rfc8200_any_protocol(void **state)
{
	static const uint8_t headers[] = {
		IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, /* hop-by-hop: in each fragment */
		IPPROTO_UDP,	 0, 1, 4, 0, 0, 0, 0, /* destination options: fragmented */
	};
	struct packet_plan plan = { .version = 6, .protocol = IPPROTO_TCP, .payload = 30000 };

	check_packet(&plan, 1280, 0);
	check_packet(&plan, 9000, 0);
	plan.protocol = IPPROTO_UDP;
	plan.before = headers;
	plan.before_length = sizeof(headers);
	plan.before_type = IPPROTO_HOPOPTS;
	check_packet(&plan, 1280, 8);
}

/* A frame of bytes that are an IPv4 packet with `fields` as flags and offset; no L4 to be found. */
static struct frame *plain_frame(struct packet *packet, uint32_t payload, uint32_t fields,
				 uint32_t id, uint8_t options)
{
	struct packet_plan plan = {
		.version = 4, .protocol = 99, .payload = payload, .options = options
	};
	struct frame *frame;
	uint32_t sum;
	uint8_t *ip;

	packet_build(packet, &plan);
	/* The builder writes a TCP header: payload, as far as anybody knows. */
	ip = packet->bytes + packet->l3;
	ip[4] = (uint8_t)(id >> 8);
	ip[5] = (uint8_t)id;
	ip[6] = (uint8_t)(fields >> 8);
	ip[7] = (uint8_t)fields;
	ip[10] = ip[11] = 0;
	sum = ~check_sum(0, ip, (ip[0] & 15u) * 4u) & 0xffff;
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	frame = packet_frame(packet, 0);
	parse_frame(frame);
	frame->gso = FRAME_GSO_FRAGMENT;
	return frame;
}

/* RFC 791, 3.2: a fragment is cut again; the last piece says "more" when the fragment did. */
static void test_rfc791_fragment_of_fragment(void **state)
{
	static const uint32_t fields[] = { 0x2000, 0x2000 | 185, 370, 0x4000 };
	uint8_t *whole = malloc(PACKET_MAX);

	assert_non_null(whole);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct packet packet;
		struct frame *frame = plain_frame(&packet, 1460, fields[i], 0x1234, 0);
		uint32_t length;

		frame->gso_size = segment_fragment_size(frame, 600);
		assert_int_equal(frame->gso_size, 576);
		assert_int_equal(cut(frame, 600, BURST_FRAMES, whole, &length), 3);
		assert_memory_equal(whole, packet.bytes + packet.l3 + 20, length);
		packet_free(&packet);
	}
	free(whole);
}

/* RFC 791, 3.1: options without the copied flag stand in the first fragment of all, only. */
static void test_rfc791_options_of_first_fragment(void **state)
{
	for (uint32_t offset = 0; offset <= 8; offset += 8) {
		struct burst *burst = burst_create();
		struct segment_state at = { 0 };
		struct packet packet;
		struct frame *frame = plain_frame(&packet, 1000, 0x2000 | offset, 7, 8);

		assert_non_null(burst);
		burst_reset(burst);
		frame->gso_size = segment_fragment_size(frame, 576);
		assert_false(segment_next(frame, &at, burst));
		assert_int_equal(burst->count, 2);
		assert_memory_equal(burst->frames[0].head + packet.l3 + 20,
				    "\x94\x04\0\0\x07\x03\x04\x01", 8);
		assert_memory_equal(burst->frames[1].head + packet.l3 + 20,
				    offset == 0 ? "\x94\x04\0\0\x01\x01\x01\x01"
						: "\x94\x04\0\0\x07\x03\x04\x01",
				    8);
		burst_destroy(burst);
		packet_free(&packet);
	}
}

/* RFC 6864, 4.1: packets of our own are written with identification 0; cut, they need another. */
static void test_rfc6864_identification(void **state)
{
	uint32_t ids[8], different = 0;

	for (uint32_t i = 0; i < 8; i++) {
		struct burst *burst = burst_create();
		struct segment_state at = { 0 };
		struct packet packet;
		struct frame *frame = plain_frame(&packet, 2000, 0, 0, 0);

		assert_non_null(burst);
		burst_reset(burst);
		frame->gso_size = segment_fragment_size(frame, 1500);
		assert_false(segment_next(frame, &at, burst));
		assert_int_equal(burst->count, 2);
		ids[i] = check_be16(burst->frames[0].head + packet.l3 + 4);
		assert_int_equal(check_be16(burst->frames[1].head + packet.l3 + 4), ids[i]);
		different += i > 0 && ids[i] != ids[0];
		burst_destroy(burst);
		packet_free(&packet);
	}
	assert_true(different > 0);
}

/* One that fits stays whole, and is complete. */
static void test_one_that_fits(void **state)
{
	struct packet_plan plan = { .version = 6, .protocol = IPPROTO_TCP, .payload = 100 };
	struct burst *burst = burst_create();
	struct segment_state at = { 0 };
	struct packet packet;
	struct frame *frame;
	uint8_t *bytes;

	assert_non_null(burst);
	burst_reset(burst);
	packet_build(&packet, &plan);
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	frame->flags = FRAME_NEEDS_CSUM;
	frame->csum_start = packet.header.csum_start;
	frame->csum_offset = packet.header.csum_offset;
	frame->gso = FRAME_GSO_FRAGMENT;
	frame->gso_size = segment_fragment_size(frame, 1500);
	assert_int_equal(segment_count(frame), 1);
	assert_false(segment_next(frame, &at, burst));
	assert_int_equal(burst->count, 1);
	assert_int_equal(burst->frames[0].length, packet.length);
	bytes = check_flatten(&burst->frames[0]);
	assert_true(check_l4_sum(bytes + packet.l3, IPPROTO_TCP, bytes + packet.l4,
				 packet.length - packet.l4));
	free(bytes);
	burst_destroy(burst);
	packet_free(&packet);
}

static void test_what_cannot_be_fragmented(void **state)
{
	struct packet_plan plan = { .version = 6, .protocol = IPPROTO_TCP, .payload = 2000 };
	struct packet packet;
	struct frame *frame;

	packet_build(&packet, &plan);
	frame = packet_frame(&packet, 0);
	/* Not parsed. */
	assert_int_equal(segment_fragment_size(frame, 1500), 0);
	parse_frame(frame);
	assert_int_equal(segment_fragment_size(frame, 1500), 1448);
	/* RFC 7112: the first one must hold all headers, and the checksum that we complete. */
	assert_int_equal(segment_fragment_size(frame, 48 + 24), 24);
	assert_int_equal(segment_fragment_size(frame, 48 + 16), 0);
	assert_int_equal(segment_fragment_size(frame, 0), 0);
	frame->flags = FRAME_NEEDS_CSUM;
	frame->csum_start = (uint16_t)packet.l4;
	frame->csum_offset = 100;
	assert_int_equal(segment_fragment_size(frame, 48 + 96), 0);
	assert_int_equal(segment_fragment_size(frame, 48 + 104), 104);
	/* A checksum over the IP header itself, which each fragment has another of. */
	frame->csum_start = (uint16_t)packet.l3;
	assert_int_equal(segment_fragment_size(frame, 1500), 0);
	/* Headers unknown. */
	frame->flags = 0;
	frame->l4_offset = 0;
	assert_int_equal(segment_fragment_size(frame, 1500), 0);
	packet_free(&packet);
	/* Its end would lie beyond what an offset can say. */
	frame = plain_frame(&packet, 2000, 8000, 1, 0);
	assert_int_equal(segment_fragment_size(frame, 1500), 0);
	frame->gso_size = 1480;
	assert_int_equal(segment_count(frame), 0);
	packet_free(&packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc791_any_protocol),
		cmocka_unit_test(test_rfc8200_any_protocol),
		cmocka_unit_test(test_rfc791_fragment_of_fragment),
		cmocka_unit_test(test_rfc791_options_of_first_fragment),
		cmocka_unit_test(test_rfc6864_identification),
		cmocka_unit_test(test_one_that_fits),
		cmocka_unit_test(test_what_cannot_be_fragmented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
