/* The Internet checksum (base/checksum.c), against sums made byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/parse.h"
#include "tests/unit/frame_check.h"

/* What checksum_finish() gives is in memory order. */
static uint32_t finish(uint64_t sum)
{
	uint16_t checksum = checksum_finish(sum);

	return check_be16((const uint8_t *)&checksum);
}

static void fill(uint8_t *p, uint32_t length)
{
	uint32_t x = 12345;

	for (uint32_t i = 0; i < length; i++) {
		x = x * 1103515245 + 12345;
		p[i] = (uint8_t)(x >> 16);
	}
}

static void test_rfc_example(void **state)
{
	/* RFC 1071, section 3. */
	static const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	assert_int_equal(finish(checksum_add(0, bytes, sizeof(bytes))), 0xddf2 ^ 0xffff);
	assert_int_equal(finish(0), 0xffff);
}

static void test_every_length_and_alignment(void **state)
{
	static uint8_t bytes[400];

	fill(bytes, sizeof(bytes));
	for (uint32_t at = 0; at < 9; at++) {
		for (uint32_t length = 0; length + at <= sizeof(bytes); length++)
			assert_int_equal(finish(checksum_add(0, bytes + at, length)),
					 check_sum(0, bytes + at, length) ^ 0xffff);
	}
}

static void test_long_run_does_not_overflow(void **state)
{
	uint8_t *bytes = malloc(65536);

	assert_non_null(bytes);
	memset(bytes, 0xff, 65536);
	bytes[65535] = 0xfe;
	assert_int_equal(finish(checksum_add(UINT32_MAX, bytes, 65536)), 1);
	free(bytes);
}

/* Any split of a frame into pieces, odd ones included, and any offset gives the same sum. */
static void test_frame_pieces(void **state)
{
	static uint8_t bytes[500], head[FRAME_SLOT];
	static const uint32_t cuts[][4] = { { 1, 1, 1, 1 }, { 3, 64, 7, 1 }, { 2, 67, 129, 5 } };

	fill(bytes, sizeof(bytes));
	for (size_t i = 0; i < 3; i++) {
		for (uint16_t head_length = 14; head_length <= FRAME_HEAD_MAX; head_length += 83) {
			struct frame_segment segments[128];
			struct frame frame = { .head = head + FRAME_HEADROOM,
					       .segments = segments,
					       .length = 300,
					       .head_length = head_length };

			memcpy(frame.head, bytes, head_length);
			for (uint32_t at = head_length, n = 0; at < 300; n++) {
				uint32_t length = cuts[i][n % 4];

				if (length > 300 - at || n == 127)
					length = 300 - at;
				segments[n].base = bytes + at;
				segments[n].length = length;
				frame.segment_count = (uint16_t)(n + 1);
				at += length;
			}
			for (uint32_t offset = 0; offset <= 300; offset++)
				assert_int_equal(finish(checksum_frame(&frame, offset)),
						 check_sum(0, bytes + offset, 300 - offset) ^
						     0xffff);
		}
	}
}

static void complete_and_check(const struct packet_plan *plan)
{
	struct packet packet;
	struct frame *frame;
	uint8_t *bytes;

	packet_build(&packet, plan);
	frame = packet_frame(&packet, 77);
	frame->flags = FRAME_NEEDS_CSUM | FRAME_GSO_ECN;
	frame->csum_start = packet.header.csum_start;
	frame->csum_offset = packet.header.csum_offset;
	checksum_complete(frame);
	assert_int_equal(frame->flags, FRAME_GSO_ECN);
	bytes = check_flatten(frame);
	assert_true(check_l4_sum(bytes + packet.l3, plan->protocol, bytes + packet.l4,
				 packet.length - packet.l4));
	assert_memory_equal(bytes, packet.bytes, packet.l4 + packet.header.csum_offset);
	free(bytes);
	packet_free(&packet);
}

static void test_complete(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		for (uint32_t payload = 0; payload < 700; payload += 111) {
			complete_and_check(&(struct packet_plan){
			    .version = version, .protocol = IPPROTO_TCP, .payload = payload });
			complete_and_check(&(struct packet_plan){ .version = version,
								  .protocol = IPPROTO_UDP,
								  .tags = 1,
								  .payload = payload });
		}
	}
}

/* A UDP datagram whose checksum comes out as 0 must say 0xffff (RFC 768); TCP says 0. */
static void test_complete_zero(void **state)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (size_t i = 0; i < 2; i++) {
		struct packet packet;
		struct frame *frame;
		uint32_t sum;
		const uint8_t *field;

		packet_build(&packet, &(struct packet_plan){
					  .version = 4, .protocol = protocols[i], .payload = 2 });
		memset(packet.bytes + packet.data, 0, 2);
		sum = check_sum(0, packet.bytes + packet.l4, packet.length - packet.l4) ^ 0xffff;
		packet.bytes[packet.data] = (uint8_t)(sum >> 8);
		packet.bytes[packet.data + 1] = (uint8_t)sum;
		frame = packet_frame(&packet, 0);
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = packet.header.csum_start;
		frame->csum_offset = packet.header.csum_offset;
		checksum_complete(frame);
		field = frame->head + frame->csum_start + frame->csum_offset;
		assert_int_equal(check_be16(field), protocols[i] == IPPROTO_UDP ? 0xffff : 0);
		packet_free(&packet);
	}
}

static void test_pseudo_header(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet packet;
		struct frame *frame;

		packet_build(&packet, &(struct packet_plan){ .version = version,
							     .protocol = IPPROTO_UDP,
							     .payload = 50 });
		frame = packet_frame(&packet, 0);
		parse_frame(frame);
		assert_int_equal(finish(checksum_pseudo_header(frame, IPPROTO_UDP, 66000)),
				 check_pseudo(packet.bytes + packet.l3, IPPROTO_UDP, 66000) ^
				     0xffff);
		packet_free(&packet);
	}
}

/* With segments left, the last address of the route is what the checksum covers (RFC 8200, 8.1). */
static void test_pseudo_header_of_route(void **state)
{
	static const struct {
		uint8_t type, left;
		uint32_t at; /* of the destination within the routing header; 0: IPv6's own */
	} cases[] = { { 0, 2, 24 }, { 0, 0, 0 }, { 2, 1, 24 }, { 4, 1, 8 }, { 3, 1, 0 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t route[40] = { IPPROTO_UDP, 4, cases[i].type, cases[i].left };
		struct packet packet;
		struct frame *frame;
		uint8_t ip[40];

		fill(route + 8, 32);
		packet_build(&packet, &(struct packet_plan){ .version = 6,
							     .protocol = IPPROTO_UDP,
							     .before = route,
							     .before_length = sizeof(route),
							     .before_type = IPPROTO_ROUTING,
							     .payload = 9 });
		frame = packet_frame(&packet, 0);
		parse_frame(frame);
		assert_int_equal(frame->l4_protocol, IPPROTO_UDP);
		memcpy(ip, packet.bytes + packet.l3, 40);
		if (cases[i].at != 0)
			memcpy(ip + 24, route + cases[i].at, 16);
		assert_int_equal(finish(checksum_pseudo_header(frame, IPPROTO_UDP, 17)),
				 check_pseudo(ip, IPPROTO_UDP, 17) ^ 0xffff);
		packet_free(&packet);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_example),
		cmocka_unit_test(test_every_length_and_alignment),
		cmocka_unit_test(test_long_run_does_not_overflow),
		cmocka_unit_test(test_frame_pieces),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_complete_zero),
		cmocka_unit_test(test_pseudo_header),
		cmocka_unit_test(test_pseudo_header_of_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
