/* What guests send through a split ring: every layout, order and bounds. */
#include "split_rig.h"
#include "vhost-user/net_copy.h"

static void takes_any_layout(void **state)
{
	static const uint32_t cuts[] = { 1,  2,	 3,  5,	 7,   9,   10,	11,  12,  13,  14,  26,
					 63, 64, 65, 98, 179, 180, 181, 191, 192, 193, 333, 800 };
	static uint8_t bytes[12 + RIG_FRAME_BYTES];
	struct rig_buffer buffers[12 + RIG_FRAME_BYTES];

	for (uint32_t i = 0; i < 24 * 24 * 4; i++) {
		uint32_t first = cuts[i % 24], cut = cuts[i / 24 % 24];
		uint32_t header = i / 576 % 2 ? 10 : 12;
		bool indirect = i / 1152 != 0;
		struct rig *rig = rig_create(1, 1024);
		uint16_t count, head;

		rig->vq.header_size = (uint16_t)header;
		rig->vq.indirect = indirect;
		memset(bytes, 0, header);
		rig_pattern(bytes + header, RIG_FRAME_BYTES, i);
		count = rig_cut(rig, buffers, header + RIG_FRAME_BYTES, first, cut);
		rig_fill(rig, buffers, count, bytes);
		head = rig_chain(rig, buffers, count, 0, indirect);
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(rig->burst->count, 1);
		rig_expect_frame(&rig->burst->frames[0], bytes + header, RIG_FRAME_BYTES);
		assert_int_equal(rig->burst->frames[0].flags | rig->burst->frames[0].gso, 0);
		assert_int_equal(rig->counters.receive_packets, 1);
		assert_int_equal(rig->counters.receive_bytes, RIG_FRAME_BYTES);
		assert_int_equal(rig_drops(rig), 0);
		rig_expect_no_used(rig);
		virtqueue_from_guest_done(&rig->vq);
		rig_expect_used(rig, head, 0);
		rig_expect_no_used(rig);
		rig_destroy(rig);
	}
}

static void takes_every_length(void **state)
{
	struct rig *rig = rig_create(1, 256);
	static uint8_t bytes[400];

	for (uint32_t length = 14; length < sizeof(bytes); length++) {
		rig->next_data = RIG_DATA;
		rig_pattern(bytes, length, length);
		rig_send_frame(rig, bytes, length);
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(rig->burst->count, 1);
		rig_expect_frame(&rig->burst->frames[0], bytes, length);
		assert_int_equal(rig->burst->frames[0].segment_count, length > FRAME_HEAD_MAX);
		virtqueue_from_guest_done(&rig->vq);
	}
	rig_destroy(rig);
}

static void takes_direct_then_indirect(void **state)
{
	struct rig *rig = rig_create(1, 16);
	uint8_t bytes[12 + 300] = { 0 };
	uint64_t head = rig_alloc(rig, 50), middle = rig_alloc(rig, 100), end = rig_alloc(rig, 162);
	uint64_t table = rig_alloc(rig, 32) | 1; /* alignment is not asked of a table */
	struct rig_descriptor entries[] = { { end, 0, RIG_NEXT, 1 }, { end, 162, 0, 0 } };

	rig->vq.indirect = true;
	rig_pattern(bytes + 12, 300, 1);
	rig_write(rig, head, bytes, 50);
	rig_write(rig, middle, bytes + 50, 100);
	rig_write(rig, end, bytes + 150, 162);
	rig_write(rig, table, entries, 32);
	rig_set(rig, 7, head, 50, RIG_NEXT, 3);
	rig_set(rig, 3, 0, 0, RIG_NEXT, 9); /* empty: its address means nothing */
	rig_set(rig, 9, middle, 100, RIG_NEXT, 4);
	rig_set(rig, 4, table, 32, RIG_INDIRECT | RIG_WRITE, 0); /* 2.7.5.3.2: WRITE ignored */
	rig_offer(rig, 7);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 1);
	rig_expect_frame(&rig->burst->frames[0], bytes + 12, 300);
	virtqueue_from_guest_done(&rig->vq);
	rig_expect_used(rig, 7, 0);
	rig_destroy(rig);
}

static void takes_chains_across_regions(void **state)
{
	static uint8_t bytes[12 + 1000];
	uint32_t length = sizeof(bytes);

	rig_pattern(bytes + 12, 1000, 5);
	/* Each place of the border within header, head and payload. */
	for (uint32_t before = 1; before < length; before += before < 230 ? 1 : 97) {
		struct rig *rig = rig_create(1, 16);
		struct rig_buffer buffer = { RIG_BOUNDARY - before, length };

		rig_write(rig, buffer.address, bytes, length);
		rig_chain(rig, &buffer, 1, 0, false);
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(rig->burst->count, 1);
		rig_expect_frame(&rig->burst->frames[0], bytes + 12, 1000);
		rig_destroy(rig);
	}
	/* An indirect table over the border, at each byte of an entry; buffers in two regions. */
	for (uint32_t before = 1; before < 48; before++) {
		struct rig *rig = rig_create(1, 16);
		struct rig_descriptor table[] = { { RIG_HIGH, 500, RIG_NEXT, 2 },
						  { RIG_HIGH + 600, 500, 0, 0 },
						  { RIG_DATA, 12, RIG_NEXT, 1 } };

		rig->vq.indirect = true;
		rig_write(rig, RIG_HIGH, bytes, 500);
		rig_write(rig, RIG_DATA, bytes + 500, 12);
		rig_write(rig, RIG_HIGH + 600, bytes + 512, 500);
		rig_write(rig, RIG_BOUNDARY - before, table, sizeof(table));
		rig_set(rig, 0, RIG_BOUNDARY - before, sizeof(table), RIG_INDIRECT, 0);
		rig_offer(rig, 0);
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(rig->burst->count, 1);
		rig_expect_frame(&rig->burst->frames[0], bytes + 12, 1000);
		rig_destroy(rig);
	}
}

static void merges_contiguous_buffers(void **state)
{
	struct rig *rig = rig_create(1, 16);
	struct rig_buffer buffers[] = { { RIG_DATA, 412 },
					{ RIG_DATA + 412, 100 },
					{ RIG_DATA + 512, 1 },
					{ RIG_DATA + 600, 100 },
					{ RIG_DATA + 700, 100 } };

	rig_chain(rig, buffers, 5, 0, false);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->frames[0].length, 701);
	assert_int_equal(rig->burst->frames[0].segment_count, 2);
	assert_int_equal(rig->burst->frames[0].segments[0].length, 412 - 12 - FRAME_HEAD_MAX + 101);
	assert_int_equal(rig->burst->frames[0].segments[1].length, 200);
	rig_destroy(rig);
}

static void header_becomes_offload_state(void **state)
{
	struct rig *rig = rig_create(1, 16);
	/* UDP over IPv4, checksum wanted at 34 + 6. */
	uint8_t bytes[12 + 60] = { 1, 0, 0, 0, 0, 0, 34, 0, 6, 0 };
	struct rig_buffer buffer = { RIG_DATA, sizeof(bytes) };

	bytes[12 + 12] = 0x08;
	bytes[12 + 14] = 0x45;
	bytes[12 + 23] = 17;
	rig_write(rig, RIG_DATA, bytes, sizeof(bytes));
	rig_chain(rig, &buffer, 1, 0, false);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 0);
	assert_int_equal(rig->counters.drops[DROP_OFFLOAD_NOT_NEGOTIATED], 1);
	assert_int_equal(rig->counters.receive_packets, 0);
	rig->vq.offloads_from_guest = 1; /* OFFLOAD_CSUM */
	rig_chain(rig, &buffer, 1, 0, false);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 1);
	assert_int_equal(rig->burst->frames[0].flags, FRAME_NEEDS_CSUM);
	assert_int_equal(rig->burst->frames[0].csum_start, 34);
	assert_int_equal(rig->burst->frames[0].csum_offset, 6);
	virtqueue_from_guest_done(&rig->vq);
	rig_expect_used(rig, 0, 0);
	rig_expect_used(rig, 1, 0);
	rig_destroy(rig);
}

/* What the head is checked by cannot change any more when the guest writes on. */
static void head_is_a_copy(void **state)
{
	struct rig *rig = rig_create(1, 16);
	uint8_t bytes[60];

	rig_pattern(bytes, 60, 3);
	rig_send_frame(rig, bytes, 60);
	assert_int_equal(rig_from_guest(rig), 1);
	memset(rig_at(rig, RIG_DATA, 72), 0xff, 72);
	rig_expect_frame(&rig->burst->frames[0], bytes, 60);
	rig_destroy(rig);
}

/* Where nobody looks further than the addresses: the frame has all its bytes before it is pulled
 * and after, and the head is what it was when it was taken. */
static void takes_shallow_frames(void **state)
{
	static uint8_t bytes[3000], flat[3000];

	for (uint32_t length = FRAME_LENGTH_MIN; length < 2300;
	     length += length < 200 || length - 2040 < 20 ? 1 : 97) {
		struct rig *rig = rig_create(1, 16);
		struct frame *frame = &rig->burst->frames[0];

		rig_pattern(bytes, length, length);
		rig_send_frame(rig, bytes, length);
		rig->burst->shallow = true;
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(frame->shallow,
				 length > FRAME_HEAD_SHALLOW && length <= NET_COPY_INLINE);
		memset(rig_at(rig, RIG_DATA, 12 + FRAME_LENGTH_MIN), 0xff, 12 + FRAME_LENGTH_MIN);
		frame_copy_out(frame, 0, length, flat);
		assert_memory_equal(flat, bytes, length);
		frame_pull(frame);
		rig_expect_frame(frame, bytes, length);
		virtqueue_from_guest_done(&rig->vq);
		rig_expect_used(rig, 0, 0);
		rig_destroy(rig);
	}
}

static void takes_the_longest_frame(void **state)
{
	static uint8_t bytes[12 + RIG_FRAME_LONGEST];
	static struct rig_buffer buffers[VIRTQUEUE_SIZE_MAX];
	static const uint32_t cuts[] = { 12 + RIG_FRAME_LONGEST, 4096, 1000, 3 };

	rig_pattern(bytes + 12, RIG_FRAME_LONGEST, 77);
	for (size_t i = 0; i < 4; i++) {
		struct rig *rig = rig_create(1, VIRTQUEUE_SIZE_MAX);
		uint16_t count = rig_cut(rig, buffers, sizeof(bytes), 12, cuts[i]);

		rig_fill(rig, buffers, count, bytes);
		rig_chain(rig, buffers, count, 0, false);
		assert_int_equal(rig_from_guest(rig), 1);
		assert_int_equal(rig->burst->count, 1);
		rig_expect_frame(&rig->burst->frames[0], bytes + 12, RIG_FRAME_LONGEST);
		rig_destroy(rig);
	}
}

/* A full ring of the largest size, over the end of the 16-bit indices, several times. */
static void goes_round_the_largest_ring(void **state)
{
	struct rig *rig = rig_create(1, VIRTQUEUE_SIZE_MAX);
	uint8_t bytes[60];
	uint32_t taken = 0;

	rig_start_at(rig, 65000);
	for (uint32_t round = 0; round < 3; round++) {
		struct rig_used used;
		uint32_t first = taken;

		rig->next_data = RIG_DATA;
		for (uint32_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++) {
			rig_pattern(bytes, sizeof(bytes), i + round);
			if (i % 1024 == 0)
				rig->next_data = RIG_DATA;
			rig_send_frame(rig, bytes, sizeof(bytes));
		}
		for (uint32_t n; (n = rig_from_guest(rig)) > 0; taken += n) {
			assert_int_equal(n, BURST_FRAMES);
			assert_int_equal(rig->burst->count, BURST_FRAMES);
			virtqueue_from_guest_done(&rig->vq);
		}
		assert_int_equal(taken - first, VIRTQUEUE_SIZE_MAX);
		for (uint32_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++) {
			assert_true(rig_take_used(rig, &used));
			assert_int_equal(used.id, i);
		}
		rig_expect_no_used(rig);
	}
	assert_int_equal(rig->counters.receive_packets, 3 * VIRTQUEUE_SIZE_MAX);
	assert_int_equal(rig_drops(rig), 0);
	rig_destroy(rig);
}

static void respects_the_limit_of_the_burst(void **state)
{
	struct rig *rig = rig_create(1, 256);
	uint8_t bytes[60] = { 0 };

	for (int i = 0; i < 10; i++)
		rig_send_frame(rig, bytes, sizeof(bytes));
	burst_reset(rig->burst);
	rig->burst->limit = 4;
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 4);
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 0);
	rig->burst->limit = 64;
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 6);
	assert_int_equal(rig->burst->count, 10);
	rig_expect_no_used(rig);
	virtqueue_from_guest_done(&rig->vq);
	for (uint32_t i = 0; i < 10; i++)
		rig_expect_used(rig, i, 0);
	rig_expect_no_used(rig);
	rig_destroy(rig);
}

/* A chain that would not fit into the segment list waits for the next burst. */
static void leaves_what_has_no_room(void **state)
{
	static struct rig_buffer buffers[20000];
	struct rig *rig = rig_create(1, VIRTQUEUE_SIZE_MAX);
	struct rig_descriptor *entry;

	rig->vq.indirect = true;
	for (int chain = 0; chain < 2; chain++) {
		rig->next_data = RIG_DATA;
		rig_cut(rig, buffers, 20000, 1, 1);
		rig->next_data = RIG_BOUNDARY + (uint64_t)chain * 0x100000;
		rig_chain(rig, buffers, 20000, 0, true);
	}
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 1);
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 0);
	virtqueue_from_guest_done(&rig->vq);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 1);
	assert_int_equal(rig->burst->frames[0].length, 20000 - 12);
	virtqueue_from_guest_done(&rig->vq);
	assert_int_equal(rig_drops(rig), 0);
	/* 32,768 buffers of two bytes, each over the border of two regions, fit into none. */
	rig->next_descriptor = 0;
	for (uint16_t i = 0; i < 32768; i++)
		rig_set(rig, i, RIG_BOUNDARY - 1, 2, RIG_NEXT, (uint16_t)(i + 1));
	entry = &rig->table[32767];
	entry->flags = 0;
	rig_offer(rig, 0);
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->burst->count, 0);
	assert_int_equal(rig->burst->segment_count, 0);
	assert_int_equal(rig->counters.drops[DROP_CHAIN_LOOP], 1);
	virtqueue_from_guest_done(&rig->vq);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_any_layout),
		cmocka_unit_test(takes_every_length),
		cmocka_unit_test(takes_direct_then_indirect),
		cmocka_unit_test(takes_chains_across_regions),
		cmocka_unit_test(merges_contiguous_buffers),
		cmocka_unit_test(header_becomes_offload_state),
		cmocka_unit_test(head_is_a_copy),
		cmocka_unit_test(takes_shallow_frames),
		cmocka_unit_test(takes_the_longest_frame),
		cmocka_unit_test(goes_round_the_largest_ring),
		cmocka_unit_test(respects_the_limit_of_the_burst),
		cmocka_unit_test(leaves_what_has_no_room),
	};

	int failed = 0;

	for (; rig_ops(VIRTQUEUE_SPLIT) != NULL; rig_variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
