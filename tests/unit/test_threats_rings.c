/* What a hostile guest can write into its rings and frames, and what a frontend can do to the
 * memory below them. Each attack is refused, counted under its name, and leaves the queue, the
 * other queues and the other guests working. docs/threat-model.md names each test here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"
#include "tests/lib/repeat.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture other;

static void close_alive(void)
{
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

/* Buffers that start inside the memory and end outside, or whose end wraps around. */
static void test_cve_2018_1059_buffer_beyond_its_region(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_buffer buffers[7];
	uint64_t count = 0, end;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	end = FAKE_MEMORY_BASE + fixture.guest->memory.size;
	buffers[0] = (struct fake_buffer){ end - 64, 65 };
	buffers[1] = (struct fake_buffer){ end - 1, 1514 };
	buffers[2] = (struct fake_buffer){ end, 1514 };
	buffers[3] = (struct fake_buffer){ FAKE_MEMORY_BASE - 1, 1514 };
	buffers[4] = (struct fake_buffer){ UINT64_MAX - 100, 1514 };
	buffers[5] = (struct fake_buffer){ 0, 60000 };
	buffers[6] = (struct fake_buffer){ fixture.guest->memory.regions[0].user_address, 1514 };
	while (repeat_next(&repeat)) {
		assert_int_equal(
		    fake_guest_post_chain(fixture.guest, 1, &buffers[repeat.done % 7], 1, 0), 0);
		fixture_expect_drop(&fixture, 1, DROP_CHAIN_ADDRESS, &count);
	}
	close_alive();
}

/* The same on the way to the guest; the frame is dropped, and nothing is written. */
static void test_cve_2020_10725_receive_buffer_at_an_invalid_address(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_header header = { 0 };
	struct fake_buffer buffers[4];
	uint64_t count = 0, end;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	end = FAKE_MEMORY_BASE + fixture.guest->memory.size;
	buffers[0] = (struct fake_buffer){ end - 64, 2048 };
	buffers[1] = (struct fake_buffer){ 0, 2048 };
	buffers[2] = (struct fake_buffer){ UINT64_MAX - 100, 2048 };
	buffers[3] = (struct fake_buffer){ end, UINT32_MAX };
	while (repeat_next(&repeat)) {
		assert_int_equal(fake_guest_post_chain(fixture.guest, 0, &buffers[repeat.done % 4],
						       1, FAKE_DESCRIPTOR_WRITE),
				 0);
		assert_int_equal(fake_guest_send(fixture.guest, 0, &header, fixture.sent, 1000), 0);
		fixture_expect_drop(&fixture, 0, DROP_BUFFER_ADDRESS, &count);
		assert_int_equal(fake_guest_wait_sent(fixture.guest, 0), 0);
	}
	close_alive();
}

static void test_receive_chains(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_header header = { 0 };
	struct fake_guest *guest;
	uint64_t readonly = 0, chain = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	while (repeat_next(&repeat)) {
		struct fake_buffer buffers[2] = { { fixture_scratch(&fixture, 0), 4 },
						  { fixture_scratch(&fixture, 64), 4 } };
		struct fake_ring *ring = &guest->queues[0].ring;
		uint16_t kind = (uint16_t)(repeat.done % 3);
		int head =
		    fake_ring_add(ring, buffers, 2, kind == 0 ? 0 : FAKE_DESCRIPTOR_WRITE, 0);

		assert_true(head >= 0);
		if (kind == 1)
			ring->descriptors[ring->links[head]].flags |= FAKE_DESCRIPTOR_NEXT;
		if (kind == 1)
			ring->descriptors[ring->links[head]].next = (uint16_t)head;
		if (kind == 2)
			ring->descriptors[head].next = ring->size;
		fake_guest_publish(guest, 0);
		assert_int_equal(fake_guest_send(guest, 0, &header, fixture.sent, 1514), 0);
		if (kind == 0)
			fixture_expect_drop(&fixture, 0, DROP_BUFFER_READONLY, &readonly);
		else
			fixture_expect_drop(&fixture, 0, DROP_BUFFER_CHAIN, &chain);
		assert_int_equal(fake_guest_wait_sent(guest, 0), 0);
	}
	close_alive();
}

/* Rings that begin inside a region and end outside. */
static void test_cve_2018_1059_ring_beyond_its_region(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_region *region;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	region = &fixture.guest->memory.regions[0];
	while (repeat_next(&repeat)) {
		uint64_t bad[4] = { region->user_address + region->size - 16, UINT64_MAX - 15, 0,
				    region->guest_address };
		uint64_t payload[5] = { 0, region->user_address, region->user_address + 8192,
					region->user_address + 16384, 0 };

		payload[1 + repeat.done % 3] = bad[repeat.done / 3 % 4];
		assert_int_equal(fake_guest_request(fixture.guest, FAKE_SET_VRING_ADDR, payload,
						    sizeof(payload), NULL, 0),
				 -EREMOTEIO);
		assert_false(fixture.harness.link);
	}
	assert_int_equal(fake_guest_reconnect(fixture.guest, FAKE_ORDER_QEMU), 0);
	close_alive();
}

/* One bad transmit chain of each kind. Each row edits descriptors that are fine before. */
enum bad_chain {
	BAD_LOOP,
	BAD_SELF,
	BAD_NEXT,
	BAD_WRITABLE,
	BAD_NO_HEADER,
	BAD_SHORT,
	BAD_LONG,
	BAD_TABLE_EMPTY,
	BAD_TABLE_ODD,
	BAD_TABLE_NESTED,
	BAD_TABLE_AND_NEXT,
	BAD_TABLE_ADDRESS,
	BAD_TABLE_INDEX,
	BAD_TABLE_LOOP,
	BAD_CHAINS,
};

static const enum drop_reason bad_chain_reasons[BAD_CHAINS] = {
	[BAD_LOOP] = DROP_CHAIN_LOOP,
	[BAD_SELF] = DROP_CHAIN_LOOP,
	[BAD_NEXT] = DROP_CHAIN_INDEX,
	[BAD_WRITABLE] = DROP_CHAIN_WRITABLE,
	[BAD_NO_HEADER] = DROP_CHAIN_HEADER,
	[BAD_SHORT] = DROP_FRAME_SHORT,
	[BAD_LONG] = DROP_FRAME_LONG,
	[BAD_TABLE_EMPTY] = DROP_CHAIN_INDIRECT,
	[BAD_TABLE_ODD] = DROP_CHAIN_INDIRECT,
	[BAD_TABLE_NESTED] = DROP_CHAIN_INDIRECT,
	[BAD_TABLE_AND_NEXT] = DROP_CHAIN_INDIRECT,
	[BAD_TABLE_ADDRESS] = DROP_CHAIN_ADDRESS,
	[BAD_TABLE_INDEX] = DROP_CHAIN_INDEX,
	[BAD_TABLE_LOOP] = DROP_CHAIN_LOOP,
};

static void spoil_direct(enum bad_chain kind, struct fake_ring *ring, uint16_t head)
{
	struct fake_descriptor *first = &ring->descriptors[head];
	struct fake_descriptor *second = &ring->descriptors[first->next];

	switch (kind) {
	case BAD_LOOP:
		second->flags = FAKE_DESCRIPTOR_NEXT;
		second->next = head;
		break;
	case BAD_SELF:
		first->next = head;
		break;
	case BAD_NEXT:
		first->next = (uint16_t)(ring->size + head);
		break;
	case BAD_WRITABLE:
		second->flags |= FAKE_DESCRIPTOR_WRITE;
		break;
	case BAD_NO_HEADER:
		first->length = 5;
		second->length = 6;
		break;
	case BAD_SHORT:
		second->length = 13;
		break;
	default: /* BAD_LONG: 32 bits would overflow */
		first->length = 65553 + 12 - 100;
		second->length = UINT32_MAX;
		break;
	}
}

static void spoil_table(enum bad_chain kind, struct fake_descriptor *descriptor,
			struct fake_descriptor *table)
{
	switch (kind) {
	case BAD_TABLE_EMPTY:
		descriptor->length = 0;
		break;
	case BAD_TABLE_ODD:
		descriptor->length = 33;
		break;
	case BAD_TABLE_NESTED: /* in itself */
		table[1] = *descriptor;
		break;
	case BAD_TABLE_AND_NEXT:
		descriptor->flags |= FAKE_DESCRIPTOR_NEXT;
		break;
	case BAD_TABLE_ADDRESS:
		descriptor->address = UINT64_MAX - 15;
		break;
	case BAD_TABLE_INDEX:
		table[0].next = 2;
		break;
	default: /* BAD_TABLE_LOOP */
		table[1].flags = FAKE_DESCRIPTOR_NEXT;
		table[1].next = 0;
		break;
	}
}

static void test_bad_chains(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_ring *ring;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	ring = &fixture.guest->queues[1].ring;
	while (repeat_next(&repeat)) {
		enum bad_chain kind = (enum bad_chain)(repeat.done % BAD_CHAINS);
		uint64_t count = harness_drops(&fixture.harness, bad_chain_reasons[kind]);
		struct fake_buffer buffers[2] = { { fixture_scratch(&fixture, 0), 12 },
						  { fixture_scratch(&fixture, 12), 60 } };
		int head;

		memset(fixture_scratch_host(&fixture, 0), 0, 128);
		if (kind < BAD_TABLE_EMPTY) {
			/* A loop of empty buffers would end only at the length of the table. */
			buffers[1].length = kind == BAD_LOOP ? 0 : 60;
			buffers[0].length = kind == BAD_SELF || kind == BAD_LOOP ? 0 : 12;
			head = fake_ring_add(ring, buffers, 2, 0, FAKE_NO_SLOT);
			spoil_direct(kind, ring, (uint16_t)head);
		} else {
			buffers[0].length = kind == BAD_TABLE_LOOP ? 0 : 12;
			head = fake_ring_add_indirect(ring, fixture_scratch_host(&fixture, 4096),
						      fixture_scratch(&fixture, 4096), buffers, 2,
						      0, FAKE_NO_SLOT);
			spoil_table(kind, &ring->descriptors[head],
				    fixture_scratch_host(&fixture, 4096));
		}
		fake_guest_publish(fixture.guest, 1);
		fixture_expect_drop(&fixture, 1, bad_chain_reasons[kind], &count);
	}
	close_alive();
}

/* Indirect tables that were never negotiated. */
static void test_indirect_not_negotiated(void **state)
{
	struct fake_guest_options options = { .features = FAKE_BIT(FAKE_F_VERSION_1) };
	struct repeat repeat = repeat_begin();
	uint64_t count = 0;

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_UML);
	while (repeat_next(&repeat)) {
		struct fake_buffer buffer = { fixture_scratch(&fixture, 0), 72 };

		fake_ring_add_indirect(
		    &fixture.guest->queues[1].ring, fixture_scratch_host(&fixture, 4096),
		    fixture_scratch(&fixture, 4096), &buffer, 1, 0, FAKE_NO_SLOT);
		fake_guest_publish(fixture.guest, 1);
		fixture_expect_drop(&fixture, 1, DROP_CHAIN_INDIRECT, &count);
	}
	close_alive();
}

/* A head outside the descriptor table: there is no chain to give back, but its entry is. */
static void test_wild_head(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_ring *ring;
	uint64_t count = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	ring = &fixture.guest->queues[1].ring;
	while (repeat_next(&repeat)) {
		struct fake_buffer buffer = { fixture_scratch(&fixture, 0), 72 };
		uint16_t slot = ring->next_available & (ring->size - 1);
		uint16_t head = (uint16_t)fake_ring_add(ring, &buffer, 1, 0, FAKE_NO_SLOT);
		uint16_t wild = (uint16_t)(ring->size + repeat.done % (65536u - ring->size));

		ring->available->ring[slot] = wild;
		fake_guest_publish(fixture.guest, 1);
		for (uint32_t i = 0; i < 64 && fake_ring_used_count(ring) == 0; i++)
			harness_pump(&fixture.harness);
		assert_int_equal(harness_drops(&fixture.harness, DROP_CHAIN_INDEX), ++count);
		assert_int_equal(fake_ring_used_count(ring), 1);
		ring->used->ring[ring->next_used & (ring->size - 1)].id = head;
		assert_int_equal(fake_guest_reclaim(fixture.guest, 0), 1);
	}
	close_alive();
}

/* More new entries than the ring has: that queue stops, its guest is told; the other pair goes on,
 * and setting the queue up again heals it. */
static void test_wild_available_index(void **state)
{
	static const uint16_t jumps[] = { 257, 300, 32768, 65535 };
	struct fake_guest_options options = { .queue_pairs = 2 };
	struct repeat repeat = repeat_begin();
	struct fake_guest *guest;
	struct virtqueue *vq;
	uint64_t count;

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	vq = vhost_device_queue(fixture.harness.device, 1);
	while (repeat_next(&repeat)) {
		struct fake_ring *ring = &guest->queues[1].ring;

		atomic_store(&ring->available->index,
			     (uint16_t)(ring->published + jumps[repeat.done % 4]));
		fake_guest_kick(guest, 1);
		fixture_settle(&fixture);
		assert_int_equal(atomic_load(&vq->fault), VIRTQUEUE_FAULT_INDEX);
		vhost_device_check_faults(fixture.harness.device);
		assert_int_equal(read(guest->queues[1].error_fd, &count, sizeof(count)), 8);
		assert_false(atomic_load(&vq->running));
		fixture_post_and_echo(&fixture, 1, 60, 1, 2048);
		atomic_store(&ring->available->index, ring->published);
		assert_int_equal(fake_guest_setup_queue(guest, 1, fake_ring_used_index(ring)), 0);
		assert_int_equal(
		    fake_guest_set_fd(guest, FAKE_SET_VRING_KICK, 1, guest->queues[1].kick_fd), 0);
		fixture_post_and_echo(&fixture, 0, 60, 1, 2048);
	}
	fixture_close(&fixture);
}

/* The frontend cuts its memory file short while the worker reads from it and writes to it. Its
 * port goes down with that reason; the guest next to it loses nothing. */
static void check_truncation(uint32_t region)
{
	struct fake_guest_options options = { .plug_room = 8192 };
	struct fake_header header = { 0 };
	struct fake_buffer buffer = { .length = 1000 };

	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	fixture_start(&other, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_plug(fixture.guest, 8192), 1);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_post_and_echo(&other, 0, 60, 4, 2048);
	buffer.address = fixture.guest->memory.regions[1].guest_address + 4096;
	assert_int_equal(fake_guest_post_chain(fixture.guest, 1, &buffer, 1, 0), 0);
	assert_int_equal(fake_guest_send(other.guest, 0, &header, other.sent, 60), 0);
	assert_int_equal(fake_guest_truncate(fixture.guest, region, 0), 0);
	fixture_settle(&fixture);
	assert_false(harness_status(&fixture.harness).connected);
	assert_false(fixture.harness.link);
	assert_non_null(strstr(harness_status(&fixture.harness).last_error, "truncated"));
	assert_int_equal(fake_guest_wait_receive(other.guest, 0, &header, other.received, 60), 60);
	fixture_echo(&other, 0, 1000);
	assert_int_equal(harness_all_drops(&other.harness), 0);
	fixture_close(&other);
	fixture_close(&fixture);
}

static void test_memory_file_truncated(void **state)
{
	/* Only what the device does is of interest, and a guest takes longer to make. */
	struct repeat repeat = repeat_begin();

	(void)state;
	repeat.total = REPEAT_WARM_UP + (repeat.total - REPEAT_WARM_UP) / 20;
	while (repeat_next(&repeat))
		check_truncation(repeat.done % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cve_2018_1059_buffer_beyond_its_region),
		cmocka_unit_test(test_cve_2018_1059_ring_beyond_its_region),
		cmocka_unit_test(test_cve_2020_10725_receive_buffer_at_an_invalid_address),
		cmocka_unit_test(test_receive_chains),
		cmocka_unit_test(test_bad_chains),
		cmocka_unit_test(test_indirect_not_negotiated),
		cmocka_unit_test(test_wild_head),
		cmocka_unit_test(test_wild_available_index),
		cmocka_unit_test(test_memory_file_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
