/* Frames through a packed ring, both ways: every layout, order, bounds, wraps. */
#include "packed_rig.h"

/* In a ring whose size is no power of two, so that chains lie over its end at every place. */
static void takes_any_layout(void **state)
{
	static const uint32_t cuts[] = { 1,  2,	 3,  5,	 7,   9,   10,	11,  12,  13,  14,  26,
					 63, 64, 65, 98, 191, 192, 193, 203, 204, 205, 333, 800 };
	static uint8_t bytes[12 + RIG_FRAME_BYTES];
	struct rig_buffer buffers[12 + RIG_FRAME_BYTES];
	struct prig *prig = prig_create(1, 719);

	for (uint32_t i = 0; i < 24 * 24 * 4; i++) {
		uint32_t first = cuts[i % 24], cut = cuts[i / 24 % 24];
		uint32_t header = i / 576 % 2 ? 10 : 12;
		bool indirect = i / 1152 != 0;
		uint16_t count, id;

		prig->rig->next_data = RIG_DATA;
		prig->vq->header_size = (uint16_t)header;
		prig->vq->indirect = indirect;
		memset(bytes, 0, header);
		rig_pattern(bytes + header, RIG_FRAME_BYTES, i);
		count = rig_cut(prig->rig, buffers, header + RIG_FRAME_BYTES, first, cut);
		rig_fill(prig->rig, buffers, count, bytes);
		id = prig_chain(prig, buffers, count, 0, indirect);
		assert_int_equal(rig_from_guest(prig->rig), 1);
		assert_int_equal(prig->rig->burst->count, 1);
		rig_expect_frame(&prig->rig->burst->frames[0], bytes + header, RIG_FRAME_BYTES);
		assert_int_equal(prig->rig->counters.receive_packets, i + 1);
		prig_expect_no_used(prig);
		virtqueue_from_guest_done(prig->vq);
		prig_expect_used(prig, id, 0);
		prig_expect_no_used(prig);
	}
	assert_int_equal(rig_drops(prig->rig), 0);
	prig_destroy(prig);
}

static void takes_tables_across_regions(void **state)
{
	static uint8_t bytes[12 + 1000];
	struct prig *prig = prig_create(1, 5);

	prig->vq->indirect = true;
	rig_pattern(bytes + 12, 1000, 5);
	for (uint32_t before = 1; before < 48; before++) {
		struct prig_slot table[] = { { RIG_HIGH, 500, 1, RIG_NEXT },
					     { RIG_DATA, 12, 2, RIG_INDIRECT },
					     { RIG_HIGH + 600, 500, 3, 0 } };
		uint16_t id = prig_id(prig, 1);

		rig_write(prig->rig, RIG_HIGH, bytes, 500);
		rig_write(prig->rig, RIG_DATA, bytes + 500, 12);
		rig_write(prig->rig, RIG_HIGH + 600, bytes + 512, 500);
		rig_write(prig->rig, RIG_BOUNDARY - before, table, sizeof(table));
		prig_put(prig, RIG_BOUNDARY - before, sizeof(table), RIG_INDIRECT | RIG_WRITE, id);
		assert_int_equal(rig_from_guest(prig->rig), 1);
		assert_int_equal(prig->rig->burst->count, 1);
		rig_expect_frame(&prig->rig->burst->frames[0], bytes + 12, 1000);
		virtqueue_from_guest_done(prig->vq);
		prig_expect_used(prig, id, 0);
	}
	prig_destroy(prig);
}

static void takes_the_longest_frame(void **state)
{
	static uint8_t bytes[12 + RIG_FRAME_LONGEST];
	static struct rig_buffer buffers[VIRTQUEUE_SIZE_MAX];
	static const uint32_t cuts[] = { 12 + RIG_FRAME_LONGEST, 4096, 1000, 3 };
	struct prig *prig = prig_create(1, VIRTQUEUE_SIZE_MAX);

	rig_pattern(bytes + 12, RIG_FRAME_LONGEST, 77);
	for (size_t i = 0; i < 4; i++) {
		uint16_t count, id;

		prig->rig->next_data = RIG_DATA;
		count = rig_cut(prig->rig, buffers, sizeof(bytes), 12, cuts[i]);
		rig_fill(prig->rig, buffers, count, bytes);
		id = prig_chain(prig, buffers, count, 0, false);
		assert_int_equal(rig_from_guest(prig->rig), 1);
		assert_int_equal(prig->rig->burst->count, 1);
		rig_expect_frame(&prig->rig->burst->frames[0], bytes + 12, RIG_FRAME_LONGEST);
		virtqueue_from_guest_done(prig->vq);
		prig_expect_used(prig, id, 0);
	}
	prig_destroy(prig);
}

/* Full rings of many sizes, several times round, with IN_ORDER and without. */
static void goes_round(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 3, 63, 64, 65, 100, 1000, VIRTQUEUE_SIZE_MAX };
	static uint16_t ids[VIRTQUEUE_SIZE_MAX];
	uint8_t bytes[60];

	for (size_t s = 0; s < 2 * sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint16_t size = sizes[s / 2];
		struct prig *prig = prig_create(1, size);

		prig->vq->in_order = s % 2 == 1;
		for (uint32_t round = 0; round < 5; round++) {
			uint32_t taken = 0;

			for (uint32_t i = 0; i < size; i++) {
				if (i % 1024 == 0)
					prig->rig->next_data = RIG_DATA;
				rig_pattern(bytes, sizeof(bytes), i + round);
				ids[i] = prig_send_frame(prig, bytes, sizeof(bytes));
			}
			for (uint32_t n; (n = rig_from_guest(prig->rig)) > 0; taken += n) {
				assert_int_equal(n, size - taken < BURST_FRAMES ? size - taken
										: BURST_FRAMES);
				assert_int_equal(prig->rig->burst->count, n);
				/* All of the ring is out or available: there is no more. */
				assert_true(taken + n < size || rig_from_guest(prig->rig) == 0);
				virtqueue_from_guest_done(prig->vq);
				for (uint32_t i = 0; i < n && s % 2 == 0; i++)
					prig_expect_used(prig, ids[taken + i], 0);
				if (s % 2 == 1)
					prig_expect_used_batch(prig, ids[taken + n - 1], 0, n - 1);
				assert_true(taken + n == size || !prig_is_used(prig));
			}
			assert_int_equal(taken, size);
		}
		assert_int_equal(prig->rig->counters.receive_packets, 5u * size);
		assert_int_equal(rig_drops(prig->rig), 0);
		prig_destroy(prig);
	}
}

static void respects_the_limit_of_the_burst(void **state)
{
	struct prig *prig = prig_create(1, 256);
	uint8_t bytes[60] = { 0 };
	uint16_t ids[10];

	for (int i = 0; i < 10; i++)
		ids[i] = prig_send_frame(prig, bytes, sizeof(bytes));
	burst_reset(prig->rig->burst);
	prig->rig->burst->limit = 4;
	assert_int_equal(virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 4);
	assert_int_equal(virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 0);
	prig->rig->burst->limit = 64;
	assert_int_equal(virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 6);
	prig_expect_no_used(prig);
	virtqueue_from_guest_done(prig->vq);
	for (uint32_t i = 0; i < 10; i++)
		prig_expect_used(prig, ids[i], 0);
	prig_expect_no_used(prig);
	prig_destroy(prig);
}

/* What was read ahead is not read again, whatever the guest writes there; and counts as not taken:
 * a start after a stop reads it anew. */
static void reads_ahead_once(void **state)
{
	struct prig *prig = prig_create(1, 256);
	uint8_t bytes[60], other[60];

	for (int i = 0; i < 3; i++) {
		rig_pattern(bytes, sizeof(bytes), 7);
		prig_send_frame(prig, bytes, sizeof(bytes));
	}
	rig_pattern(other, sizeof(other), 8);
	for (uint16_t i = 0; i < 3; i++) {
		uint64_t address = rig_alloc(prig->rig, 12 + sizeof(other));
		const uint8_t header[12] = { 0 };

		burst_reset(prig->rig->burst);
		prig->rig->burst->limit = 1;
		assert_int_equal(
		    virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 1);
		rig_expect_frame(&prig->rig->burst->frames[0], i < 2 ? bytes : other,
				 sizeof(bytes));
		assert_int_equal(prig->vq->last_available, VIRTQUEUE_PACKED_START | (i + 1));
		virtqueue_from_guest_done(prig->vq);
		rig_write(prig->rig, address, header, 12);
		rig_write(prig->rig, address + 12, other, sizeof(other));
		for (uint16_t j = i + 1; j < 3; j++)
			prig->ring[j].address = address;
		if (i == 1)
			assert_int_equal(
			    virtqueue_packed_resume(prig->vq, 1, VIRTQUEUE_PACKED_START),
			    VIRTQUEUE_PACKED_START | 2);
	}
	assert_int_equal(rig_drops(prig->rig), 0);
	prig_destroy(prig);
}

/* A chain that would not fit into the segment list waits for the next burst. */
static void leaves_what_has_no_room(void **state)
{
	static struct rig_buffer buffers[20000];
	struct prig *prig = prig_create(1, VIRTQUEUE_SIZE_MAX);
	uint16_t ids[2];

	prig->vq->indirect = true;
	for (int chain = 0; chain < 2; chain++) {
		prig->rig->next_data = RIG_DATA;
		rig_cut(prig->rig, buffers, 20000, 1, 1);
		prig->rig->next_data = RIG_BOUNDARY + (uint64_t)chain * 0x100000;
		ids[chain] = prig_chain(prig, buffers, 20000, 0, true);
	}
	for (int chain = 0; chain < 2; chain++) {
		assert_int_equal(rig_from_guest(prig->rig), 1);
		assert_int_equal(prig->rig->burst->count, 1);
		assert_int_equal(
		    virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 0);
		virtqueue_from_guest_done(prig->vq);
		prig_expect_used(prig, ids[chain], 0);
		prig_expect_no_used(prig);
	}
	assert_int_equal(rig_drops(prig->rig), 0);
	/* Never, when each of very many pieces lies over the border of two regions. */
	for (uint32_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++)
		prig_put(prig, RIG_BOUNDARY - 1, 2, i + 1 < VIRTQUEUE_SIZE_MAX ? RIG_NEXT : 0, 9);
	prig->counts[9] = VIRTQUEUE_SIZE_MAX;
	assert_int_equal(rig_from_guest(prig->rig), 1);
	assert_int_equal(prig->rig->burst->count, 0);
	assert_int_equal(prig->rig->burst->segment_count, 0);
	assert_int_equal(prig->rig->counters.drops[DROP_CHAIN_LOOP], 1);
	virtqueue_from_guest_done(prig->vq);
	prig_expect_used(prig, 9, 0);
	prig_destroy(prig);
}

/* To the guest: layouts, mergeable chains and lacks, over the end of the ring. */
static void fills_any_layout(void **state)
{
	static const uint32_t cuts[] = { 1, 3, 11, 12, 13, 100, 191, 205, 333, 5000 };
	struct prig *prig = prig_create(0, 719);
	struct rig_buffer buffers[12 + RIG_FRAME_BYTES];
	uint8_t got[12 + RIG_FRAME_BYTES], wanted[RIG_FRAME_BYTES];

	for (uint32_t i = 0; i < 10 * 10 * 2; i++) {
		struct frame_segment segment;
		struct frame frame, *frames[] = { &frame };
		uint8_t *at = got;
		uint16_t count, id;

		prig->rig->next_data = RIG_DATA;
		prig->vq->indirect = i / 100 == 1;
		prig_fill_frame(prig, &frame, &segment, RIG_FRAME_BYTES, i);
		count = rig_cut(prig->rig, buffers, sizeof(got), cuts[i % 10], cuts[i / 10 % 10]);
		id = prig_chain(prig, buffers, count, RIG_WRITE, i / 100 == 1);
		assert_int_equal(virtqueue_to_guest(prig->vq, frames, 1, &prig->rig->counters), 1);
		prig_expect_used(prig, id, sizeof(got));
		prig_expect_no_used(prig);
		for (uint16_t n = 0; n < count; at += buffers[n++].length)
			rig_read(prig->rig, buffers[n].address, at, buffers[n].length);
		rig_pattern(wanted, RIG_FRAME_BYTES, i);
		assert_memory_equal(got + 12, wanted, RIG_FRAME_BYTES);
		assert_int_equal(got[10], 1);
	}
	assert_int_equal(rig_drops(prig->rig), 0);
	prig_destroy(prig);
}

static void merges_chains_or_leaves_them(void **state)
{
	struct prig *prig = prig_create(0, 11);
	uint8_t wanted[3000], got[3012];

	prig->vq->mergeable = true;
	for (uint32_t i = 0; i < 50; i++) {
		struct frame_segment segment;
		struct frame frame, *frames[] = { &frame };
		uint16_t ids[4];

		prig->rig->next_data = RIG_DATA;
		prig_fill_frame(prig, &frame, &segment, 3000, i);
		for (uint32_t n = 0; n < 4; n++) {
			struct rig_buffer parts[] = { { RIG_DATA + n * 1000, 400 },
						      { RIG_DATA + n * 1000 + 400, 600 } };

			/* One too few: nothing is consumed, nothing is seen. */
			assert_int_equal(
			    virtqueue_to_guest(prig->vq, frames, 1, &prig->rig->counters), 0);
			prig_expect_no_used(prig);
			ids[n] = prig_chain(prig, parts, 2, RIG_WRITE, false);
		}
		assert_int_equal(prig->rig->counters.drops[DROP_NO_BUFFERS], 4 * (i + 1));
		assert_int_equal(virtqueue_to_guest(prig->vq, frames, 1, &prig->rig->counters), 1);
		for (uint32_t n = 0; n < 4; n++)
			prig_expect_used(prig, ids[n], n < 3 ? 1000 : 12);
		prig_expect_no_used(prig);
		rig_read(prig->rig, RIG_DATA, got, sizeof(got));
		rig_pattern(wanted, 3000, i);
		assert_memory_equal(got + 12, wanted, 3000);
		assert_int_equal(got[10], 4);
	}
	prig_destroy(prig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_any_layout),
		cmocka_unit_test(takes_tables_across_regions),
		cmocka_unit_test(takes_the_longest_frame),
		cmocka_unit_test(goes_round),
		cmocka_unit_test(respects_the_limit_of_the_burst),
		cmocka_unit_test(reads_ahead_once),
		cmocka_unit_test(leaves_what_has_no_room),
		cmocka_unit_test(fills_any_layout),
		cmocka_unit_test(merges_chains_or_leaves_them),
	};

	int failed = 0;

	for (; rig_ops(VIRTQUEUE_PACKED) != NULL; rig_variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
