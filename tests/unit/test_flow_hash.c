/* Flow hashes (base/flow_hash.h): what makes a flow, and how flows spread over queues. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/flow_hash.h"
#include "tests/unit/frame_check.h"

static uint32_t flow_hash(struct frame *frame)
{
	uint32_t hash;

	return flow_hash_plain(frame, &hash) ? hash : flow_hash_parsed(frame);
}

/* The same on the usual way and on the other, and whether the frame was parsed before or not. */
static uint32_t hash_of(struct packet *packet)
{
	uint32_t hash = flow_hash(packet_frame(packet, 0));
	struct frame *frame = packet_frame(packet, 0);

	assert_int_equal(flow_hash_parsed(frame), hash);
	parse_frame(frame);
	assert_int_equal(flow_hash_parsed(frame), hash);
	assert_int_equal(flow_hash(frame), hash);
	return hash;
}

static void test_what_makes_a_flow(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet packet, longer;
		uint32_t last = version == 4 ? 19 : 39; /* of the destination address */
		uint32_t hash;

		packet_build(&packet, &(struct packet_plan){ .version = version,
							     .protocol = IPPROTO_TCP,
							     .payload = 9 });
		packet_build(&longer, &(struct packet_plan){ .version = version,
							     .protocol = IPPROTO_TCP,
							     .tags = 1,
							     .payload = 999 });
		hash = hash_of(&packet);
		assert_int_equal(hash, hash_of(&longer));
		packet.bytes[packet.l4 + 3] ^= 1;
		assert_int_not_equal(hash, hash_of(&packet));
		packet.bytes[packet.l4 + 3] ^= 1;
		packet.bytes[packet.l3 + last] ^= 1;
		assert_int_not_equal(hash, hash_of(&packet));
		packet.bytes[packet.l3 + last] ^= 1;
		packet.bytes[packet.l3 + (version == 4 ? 12u : 8u)] ^= 1;
		assert_int_not_equal(hash, hash_of(&packet));
		packet_free(&packet);
		packet_free(&longer);
	}
}

static void test_fragments(void **state)
{
	struct packet packet;
	uint32_t first;

	packet_build(&packet,
		     &(struct packet_plan){ .version = 4, .protocol = IPPROTO_UDP, .payload = 99 });
	packet.bytes[packet.l3 + 6] = 0x20;
	first = hash_of(&packet);
	packet.bytes[packet.l3 + 6] = 0x00;
	packet.bytes[packet.l3 + 7] = 0x09;
	packet.bytes[packet.l4] ^= 0x55;
	assert_int_equal(first, hash_of(&packet));
	packet_free(&packet);
}

static void test_other_frames(void **state)
{
	uint8_t bytes[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06 };
	struct frame frame = { .head = bytes, .length = 60, .head_length = 60 };
	uint32_t hash = flow_hash(&frame);

	bytes[20] = 1;
	assert_int_equal(flow_hash(&frame), hash);
	bytes[5] = 3;
	assert_int_not_equal(flow_hash(&frame), hash);
	bytes[5] = 1;
	bytes[11] = 3;
	assert_int_not_equal(flow_hash(&frame), hash);
}

/* Frames whose heads end anywhere: nothing beyond them is read (sanitizers look), and what lacks a
 * part of the usual headers is hashed all the same. */
static void test_heads_cut_anywhere(void **state)
{
	struct packet packet;

	packet_build(&packet,
		     &(struct packet_plan){ .version = 4, .protocol = IPPROTO_TCP, .payload = 9 });
	for (uint32_t length = 0; length <= packet.length; length++) {
		struct frame_segment rest = { packet.bytes + length, packet.length - length };
		struct frame frame = { .head = malloc(length + 1),
				       .segments = &rest,
				       .length = packet.length,
				       .head_length = (uint16_t)length,
				       .segment_count = 1 };
		uint32_t hash;

		assert_non_null(frame.head);
		memcpy(frame.head, packet.bytes, length);
		assert_int_equal(flow_hash_plain(&frame, &hash),
				 length >= packet.l4 + PARSE_UDP_LENGTH);
		hash = flow_hash(&frame);
		assert_int_equal(flow_hash(&frame), hash);
		free(frame.head);
	}
	packet_free(&packet);
}

/* Flows that differ in the two bytes at `offset` alone, by a step, spread evenly over any number of
 * queues. */
static void assert_spreads(struct packet *packet, uint32_t offset, uint32_t step)
{
	for (uint32_t queues = 2; queues <= 8; queues++) {
		uint32_t counts[8] = { 0 };

		for (uint32_t i = 0; i < 800 * queues; i++) {
			packet->bytes[offset] = (uint8_t)(i * step >> 8);
			packet->bytes[offset + 1] = (uint8_t)(i * step);
			counts[(uint64_t)hash_of(packet) * queues >> 32]++;
		}
		for (uint32_t q = 0; q < queues; q++)
			assert_in_range(counts[q], 700, 900);
	}
}

static void test_spreads(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet packet;
		/* The last two bytes of both addresses, and both ports. */
		uint32_t places[4] = { version == 4 ? 14 : 22, version == 4 ? 18 : 38 };

		packet_build(&packet, &(struct packet_plan){ .version = version,
							     .protocol = IPPROTO_TCP,
							     .payload = 9 });
		places[0] += packet.l3;
		places[1] += packet.l3;
		places[2] = packet.l4;
		places[3] = packet.l4 + 2;
		for (uint32_t i = 0; i < 4; i++) {
			assert_spreads(&packet, places[i], 1);
			assert_spreads(&packet, places[i], 7);
		}
		packet_free(&packet);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_makes_a_flow), cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_other_frames),	  cmocka_unit_test(test_heads_cut_anywhere),
		cmocka_unit_test(test_spreads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
