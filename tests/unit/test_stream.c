/* The generator's frames and their checks: what a switch does right passes, and each thing it must
 * not do is seen and counted by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/stream.h"

#define SLOT 4096u
#define IPV4 (STREAM_VNET_HEADER + 14u)
#define UDP  (IPV4 + 20u)

static struct stream_options options_of(uint32_t size, uint32_t flows)
{
	return (struct stream_options){
		.sizes = { size }, .size_count = 1, .flows = flows, .macs = 1, .headers = flows > 1
	};
}

/* The next frame of the stream at `slot`: its length. */
static uint32_t send_next(struct stream *stream, uint8_t *slot)
{
	uint32_t length = stream_lay_out(stream, slot, 7);

	stream_stamp_next(stream, slot, 0x123456789abcull);
	return length;
}

static uint32_t ones_sum(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < length; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	return sum;
}

/* As RFC 768 has it, worked out apart from the generator. */
static void assert_udp_checksum(const uint8_t *slot, uint32_t length)
{
	uint32_t udp_length = length - UDP;
	uint32_t sum =
	    ones_sum(slot + IPV4 + 12, 8) + 17 + udp_length + ones_sum(slot + UDP, udp_length);

	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

static void test_sound(void **state)
{
	static const uint32_t sizes[] = { 64, 65, 300, 1518 };
	static const uint32_t flows[] = { 1, 3, 200000 };
	static uint8_t slot[SLOT];

	for (uint32_t i = 0; i < 12; i++) {
		struct stream_options options = options_of(sizes[i % 4], flows[i / 4]);
		struct stream stream;

		assert_int_equal(stream_init(&stream, &options, 3, 4, 2), 0);
		stream.flow = options.flows - 1; /* of numbers that need more than a port's bits */
		for (uint32_t n = 0; n < 200; n++) {
			uint32_t length = send_next(&stream, slot);

			assert_udp_checksum(slot, length);
			/* Which flow is which is known from the start. */
			if (options.flows == 1)
				assert_non_null(stream_check(&stream, slot, length));
		}
		assert_int_equal(stream.counters.corrupted, 0);
		assert_int_equal(stream.counters.sampled, options.flows == 1 ? 4 : 0);
		stream_release(&stream);
	}
}

/* Every byte of a frame that is looked at whole counts. */
static void test_corrupted(void **state)
{
	static uint8_t slot[SLOT];
	struct stream_options options = options_of(200, 2);
	struct stream stream;
	uint32_t length;

	assert_int_equal(stream_init(&stream, &options, 0, 1, 0), 0);
	length = send_next(&stream, slot);
	for (uint32_t i = STREAM_VNET_HEADER; i < length; i++) {
		uint64_t before = stream.counters.corrupted + stream.counters.foreign;

		slot[i] ^= 0x10;
		stream_check(&stream, slot, length);
		assert_int_equal(stream.counters.corrupted + stream.counters.foreign, before + 1);
		slot[i] ^= 0x10;
	}
	assert_null(stream_check(&stream, slot, length - 1));
	assert_int_equal(stream.counters.received, 0);
	assert_non_null(stream_check(&stream, slot, length));
	stream_release(&stream);
}

/* Sequence numbers as they arrive, in two flows: even and odd ones. */
static void check_order(const uint8_t *order, uint32_t count, struct stream_counters *counters,
			uint64_t *lost)
{
	static uint8_t slots[8][SLOT];
	struct stream_options options = options_of(64, 2);
	struct stream stream;
	uint32_t length = 0;

	assert_int_equal(stream_init(&stream, &options, 1, 0, 0), 0);
	for (uint32_t i = 0; i < 8; i++)
		length = send_next(&stream, slots[i]);
	for (uint32_t i = 0; i < count; i++)
		stream_check(&stream, slots[order[i]], length);
	*counters = stream.counters;
	*lost = stream_lost(&stream);
	stream_release(&stream);
}

static void test_order(void **state)
{
	static const struct {
		uint8_t order[8];
		uint32_t count, late, reordered, duplicates, lost;
	} rows[] = {
		{ { 0, 1, 2, 3, 4, 5, 6, 7 }, 8, 0, 0, 0, 0 },
		{ { 0, 1, 3, 4, 5, 6 }, 6, 0, 0, 0, 2 },
		{ { 1, 0, 3, 2, 5, 4, 7, 6 }, 8, 4, 0, 0, 0 }, /* each flow in order */
		{ { 0, 1, 4, 3, 2, 5, 6, 7 }, 8, 2, 1, 0, 0 },
		{ { 0, 1, 1, 2, 0, 7, 7 }, 7, 0, 0, 3, 4 },
	};

	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stream_counters counters;
		uint64_t lost;

		check_order(rows[i].order, rows[i].count, &counters, &lost);
		assert_int_equal(counters.late, rows[i].late);
		assert_int_equal(counters.reordered, rows[i].reordered);
		assert_int_equal(counters.duplicates, rows[i].duplicates);
		assert_int_equal(lost, rows[i].lost);
		assert_int_equal(counters.corrupted, 0);
	}
}

/* What was sent to another guest, and what is no frame of ours. */
static void test_foreign(void **state)
{
	static uint8_t slot[SLOT];
	struct stream_options options = options_of(64, 1);
	struct stream ours, other;
	uint32_t length;

	assert_int_equal(stream_init(&ours, &options, 0, 1, 0), 0);
	assert_int_equal(stream_init(&other, &options, 2, 3, 0), 0);
	length = send_next(&other, slot);
	assert_null(stream_check(&ours, slot, length));
	assert_int_equal(ours.counters.foreign, 1);
	stream_mark(&other, slot, STREAM_PROBE, 0);
	assert_null(stream_check(&ours, slot, length));
	assert_int_equal(ours.probes, 0);
	assert_null(stream_check(&other, slot, length));
	assert_int_equal(other.probes, 1);
	memset(slot, 0x55, sizeof(slot));
	assert_null(stream_check(&ours, slot, length));
	assert_int_equal(ours.counters.foreign, 2);
	assert_int_equal(ours.counters.corrupted, 0);
	stream_release(&ours);
	stream_release(&other);
}

/* TCP whose checksum is still to be made, or was completed by the switch. */
static void test_offload(void **state)
{
	static uint8_t slot[SLOT];
	struct stream_options options = options_of(1000, 1);
	struct stream stream;
	uint32_t length, sum;

	options.offload = true;
	assert_int_equal(stream_init(&stream, &options, 0, 1, 0), 0);
	length = send_next(&stream, slot);
	assert_non_null(stream_check(&stream, slot, length));
	stream.expected = 0;
	slot[0] = 0;
	assert_null(stream_check(&stream, slot, length));
	sum = ones_sum(slot + UDP, length - UDP);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	stream_write_be16(slot + UDP + 16, (uint16_t)~sum);
	assert_non_null(stream_check(&stream, slot, length));
	assert_int_equal(stream.counters.corrupted, 1);
	stream_release(&stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound),	cmocka_unit_test(test_corrupted),
		cmocka_unit_test(test_order),	cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_offload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
