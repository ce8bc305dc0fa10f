/* What a hostile guest can say in a frame's virtio-net header, and how it can change header and
 * descriptors while they are read. Rings are in test_threats_rings.c; docs/threat-model.md names
 * each test here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"
#include "tests/lib/repeat.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static struct fixture fixture;

static void close_alive(void)
{
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

/* A header in twelve buffers, empty buffers among them, and a whole frame byte by byte: taken as
 * they are, at the cost of their descriptors and nothing else. */
static void test_cve_2022_2132_header_over_many_descriptors(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_guest *guest;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	assert_int_equal(fake_guest_post(guest, 0, 1, 2048), 0);
	while (repeat_next(&repeat)) {
		struct fake_buffer buffers[200];
		struct fake_header header;
		uint8_t *memory = fixture_scratch_host(&fixture, 0);
		uint32_t count = 0, length = 14 + repeat.done % 80;

		memset(memory, 0, 12);
		fixture_fill(memory + 12, length, repeat.done);
		for (uint32_t i = 0; i < 12 + length; i++) {
			buffers[count++] = (struct fake_buffer){ fixture_scratch(&fixture, i), 1 };
			if (i % 7 == repeat.done % 7)
				buffers[count++] =
				    (struct fake_buffer){ fixture_scratch(&fixture, i), 0 };
		}
		assert_int_equal(fake_guest_post_chain(guest, 1, buffers, count, 0), 0);
		assert_int_equal(fake_guest_wait_receive(guest, 0, &header, fixture.received, 100),
				 length);
		assert_memory_equal(fixture.received, memory + 12, length);
		assert_true(fake_guest_reclaim(guest, 0) >= 0);
		assert_int_equal(fake_guest_post(guest, 0, 1, 2048), 0);
	}
	assert_int_equal(harness_all_drops(&fixture.harness), 0);
	close_alive();
}

static void send_with_header(const struct fake_header *header, uint32_t length,
			     enum drop_reason reason)
{
	uint64_t count = harness_drops(&fixture.harness, reason);

	assert_int_equal(fake_guest_send(fixture.guest, 0, header, fixture.sent, length), 0);
	fixture_expect_drop(&fixture, 1, reason, &count);
	/* fixture_expect_drop() has taken the slot; back to the guest with it. */
	fixture.guest->queues[1].free_slot_count++;
}

static void test_cve_2024_11614_checksum_past_the_frame(void **state)
{
	static const uint16_t places[][2] = { { 60, 0 },    { 59, 0 },	      { 0, 59 },
					      { 58, 2 },    { 65535, 65535 }, { 65535, 1 },
					      { 1, 65535 }, { 32768, 32768 }, { 34, 60 } };
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	fixture_fill(fixture.sent, 60, 1);
	while (repeat_next(&repeat)) {
		const uint16_t *place = places[repeat.done % 9];
		struct fake_header header = { .flags = 1,
					      .csum_start = place[0],
					      .csum_offset = place[1] };

		send_with_header(&header, 60, DROP_CSUM_RANGE);
	}
	close_alive();
}

static void fill_tcp(uint32_t length)
{
	uint8_t *frame = fixture.sent;

	fixture_fill(frame, length, 9);
	memset(frame + 12, 0, 42);
	frame[12] = 0x08;
	frame[14] = 0x45;
	frame[16] = (uint8_t)((length - 14) >> 8);
	frame[17] = (uint8_t)(length - 14);
	frame[22] = 64;
	frame[23] = 6;
	frame[46] = 0x50;
}

static void test_gso_size_zero(void **state)
{
	static const uint8_t types[] = { 1, 0x81 };
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	fill_tcp(1500);
	while (repeat_next(&repeat)) {
		struct fake_header header = { .flags = 1,
					      .gso_type = types[repeat.done % 2],
					      .csum_start = 34,
					      .csum_offset = 16 };

		send_with_header(&header, 1500, DROP_GSO_SIZE);
	}
	close_alive();
}

static void test_gso_type_unknown_or_wrong(void **state)
{
	static const uint8_t types[] = { 2, 6, 7, 0x7f, 4, 0x84 };
	struct repeat repeat = repeat_begin();
	uint64_t drops = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	fill_tcp(1500);
	while (repeat_next(&repeat)) {
		struct fake_header header = { .flags = 1,
					      .gso_type = types[repeat.done % 6],
					      .gso_size = 100,
					      .csum_start = 34,
					      .csum_offset = 16 };

		send_with_header(&header, 1500, DROP_GSO_TYPE);
		assert_int_equal(harness_all_drops(&fixture.harness), ++drops);
	}
	close_alive();
}

/* A guest that changes the header between a check and a use: whatever the worker is handed must
 * be consistent in itself. */
static _Atomic bool flipping;

static void *flip_headers(void *argument)
{
	volatile struct fake_header *header = argument;

	while (atomic_load_explicit(&flipping, memory_order_relaxed)) {
		header->gso_size = 0;
		header->csum_start = 65000;
		header->gso_size = 700;
		header->csum_start = 34;
	}
	return NULL;
}

static void inspect_offloads(const struct frame *frame)
{
	if (frame->gso != FRAME_GSO_NONE)
		assert_true(frame->gso_size > 0);
	if (frame->flags & FRAME_NEEDS_CSUM)
		assert_true(frame->csum_start + frame->csum_offset + 2 <= frame->head_length);
}

static void test_double_fetch_of_the_net_header(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_buffer buffer = { .length = 12 + 1500 };
	struct fake_header header = {
		.flags = 1, .gso_type = 1, .gso_size = 700, .csum_start = 34, .csum_offset = 16
	};
	pthread_t thread;
	uint8_t *memory;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	fixture.harness.inspect = inspect_offloads;
	fill_tcp(1500);
	buffer.address = fixture_scratch(&fixture, 0);
	memory = fixture_scratch_host(&fixture, 0);
	memcpy(memory, &header, 12);
	memcpy(memory + 12, fixture.sent, 1500);
	atomic_store(&flipping, true);
	assert_int_equal(pthread_create(&thread, NULL, flip_headers, memory), 0);
	for (uint32_t i = 0; i < repeat.total; i++) {
		assert_int_equal(fake_guest_post_chain(fixture.guest, 1, &buffer, 1, 0), 0);
		assert_int_equal(fake_guest_wait_sent(fixture.guest, 0), 0);
	}
	atomic_store(&flipping, false);
	pthread_join(thread, NULL);
	/* Each was one or the other. */
	assert_int_equal(harness_received(&fixture.harness) +
			     harness_drops(&fixture.harness, DROP_GSO_SIZE) +
			     harness_drops(&fixture.harness, DROP_CSUM_RANGE),
			 repeat.total);
	close_alive();
}

/* The same with the descriptor itself. */
static void *flip_descriptors(void *argument)
{
	volatile struct fake_descriptor *descriptor = argument;
	uint64_t address = descriptor->address;

	while (atomic_load_explicit(&flipping, memory_order_relaxed)) {
		descriptor->address = UINT64_MAX - 20;
		descriptor->length = UINT32_MAX;
		descriptor->address = address;
		descriptor->length = 72;
	}
	return NULL;
}

static void test_double_fetch_of_a_descriptor(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_ring *ring;
	uint32_t cookie, length;
	pthread_t thread;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	ring = &fixture.guest->queues[1].ring;
	memset(fixture_scratch_host(&fixture, 0), 0, 72);
	/* Descriptor 0 is the head each time; only its entry in the ring is new. */
	ring->descriptors[0] =
	    (struct fake_descriptor){ .address = fixture_scratch(&fixture, 0), .length = 72 };
	atomic_store(&flipping, true);
	assert_int_equal(pthread_create(&thread, NULL, flip_descriptors, &ring->descriptors[0]), 0);
	for (uint32_t i = 0; i < repeat.total; i++) {
		ring->available->ring[ring->next_available++ & (ring->size - 1)] = 0;
		ring->counts[0] = 1;
		fake_guest_publish(fixture.guest, 1);
		for (uint32_t n = 0; n < 64 && fake_ring_used_count(ring) == 0; n++)
			harness_pump(&fixture.harness);
		assert_int_equal(fake_ring_take(ring, &cookie, &length), 1);
		ring->free_head = 0;
		ring->free_count = ring->size;
		ring->links[0] = 1;
	}
	atomic_store(&flipping, false);
	pthread_join(thread, NULL);
	assert_int_equal(harness_received(&fixture.harness) +
			     harness_drops(&fixture.harness, DROP_CHAIN_ADDRESS) +
			     harness_drops(&fixture.harness, DROP_FRAME_LONG),
			 repeat.total);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cve_2022_2132_header_over_many_descriptors),
		cmocka_unit_test(test_cve_2024_11614_checksum_past_the_frame),
		cmocka_unit_test(test_gso_size_zero),
		cmocka_unit_test(test_gso_type_unknown_or_wrong),
		cmocka_unit_test(test_double_fetch_of_the_net_header),
		cmocka_unit_test(test_double_fetch_of_a_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
