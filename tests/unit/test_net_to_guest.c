/* Frames into the guest's buffers, through a split ring: every layout, mergeable or not, and what
 * becomes of frames and chains when the buffers are bad. */
#include "split_rig.h"

#include "base/vnet_header.h"

#define LONGEST 65553u

/* A frame in memory of its own: head, and the rest in segments of `piece` bytes. */
struct sample {
	uint8_t slot[FRAME_SLOT];
	uint8_t bytes[LONGEST];
	struct frame_segment segments[LONGEST];
	struct frame frame;
};

static struct sample sample;

static struct frame *sample_frame(uint32_t length, uint32_t piece, uint32_t seed)
{
	struct frame *frame = &sample.frame;

	rig_pattern(sample.bytes, length, seed);
	memset(frame, 0, sizeof(*frame));
	frame->head = sample.slot + FRAME_HEADROOM;
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	frame->segments = sample.segments;
	memcpy(frame->head, sample.bytes, frame->head_length);
	for (uint32_t done = frame->head_length; done < length;) {
		uint32_t n = piece < length - done ? piece : length - done;

		sample.segments[frame->segment_count++] =
		    (struct frame_segment){ sample.bytes + done, n };
		done += n;
	}
	return frame;
}

static uint32_t send(struct rig *rig, struct frame *frame)
{
	return virtqueue_to_guest(&rig->vq, &frame, 1, &rig->counters);
}

/* Reads `length` bytes through the buffers of a chain. */
static void collect(struct rig *rig, const struct rig_buffer *buffers, uint8_t *to, uint32_t length)
{
	for (; length > 0; buffers++) {
		uint32_t n = buffers->length < length ? buffers->length : length;

		rig_read(rig, buffers->address, to, n);
		to += n;
		length -= n;
	}
}

static void fills_any_layout(void **state)
{
	static const uint32_t cuts[] = {
		1, 2, 9, 10, 11, 12, 13, 63, 191, 192, 193, 204, 333, 900
	};
	static struct rig_buffer buffers[800];
	static uint8_t got[800];

	for (uint32_t i = 0; i < 14 * 14 * 4; i++) {
		uint32_t header = i / 196 % 2 ? 10 : 12;
		bool indirect = i / 392 != 0;
		struct rig *rig = rig_create(0, 1024);
		struct frame *frame = sample_frame(700, 1 + i % 300, i);
		const uint8_t expected[12] = { [10] = 1 };
		uint16_t count, head;

		rig->vq.header_size = (uint16_t)header;
		rig->vq.indirect = indirect;
		count = rig_cut(rig, buffers, header + 700 + 5, cuts[i % 14], cuts[i / 14 % 14]);
		head = rig_chain(rig, buffers, count, RIG_WRITE, indirect);
		assert_int_equal(send(rig, frame), 1);
		rig_expect_used(rig, head, header + 700);
		rig_expect_no_used(rig);
		collect(rig, buffers, got, header + 700 + 5);
		assert_memory_equal(got, expected, header);
		assert_memory_equal(got + header, sample.bytes, 700);
		assert_memory_equal(got + header + 700, "\0\0\0\0\0", 5);
		assert_int_equal(rig->counters.transmit_packets, 1);
		assert_int_equal(rig->counters.transmit_bytes, 700);
		assert_int_equal(rig_drops(rig), 0);
		rig_destroy(rig);
	}
}

static void fills_every_length(void **state)
{
	struct rig *rig = rig_create(0, 256);
	uint8_t got[420];

	for (uint32_t length = 14; length < 400; length++) {
		struct rig_buffer buffer = { RIG_BOUNDARY, 12 + length };

		memset(rig_at(rig, RIG_BOUNDARY, 420), 0xaa, 420);
		rig_chain(rig, &buffer, 1, RIG_WRITE, false);
		assert_int_equal(send(rig, sample_frame(length, 1000, length)), 1);
		rig_read(rig, RIG_BOUNDARY, got, 420);
		assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0\1\0", 12);
		assert_memory_equal(got + 12, sample.bytes, length);
		assert_int_equal(got[12 + length], 0xaa);
	}
	rig_destroy(rig);
}

static void fills_across_regions(void **state)
{
	for (uint32_t before = 1; before < 712; before++) {
		struct rig *rig = rig_create(0, 8);
		struct rig_buffer buffer = { RIG_BOUNDARY - before, 712 };
		uint8_t got[712];

		rig_chain(rig, &buffer, 1, RIG_WRITE, false);
		assert_int_equal(send(rig, sample_frame(700, 100, before)), 1);
		rig_expect_used(rig, 0, 712);
		rig_read(rig, buffer.address, got, 712);
		assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0\1\0", 12);
		assert_memory_equal(got + 12, sample.bytes, 700);
		rig_destroy(rig);
	}
}

/* Chains of `size` bytes each, in buffers of `cut`: all full but the last, num_buffers right even
 * where its two bytes lie in two buffers. */
static void merges_chains(void **state)
{
	static const uint32_t sizes[] = { 12, 13, 20, 64, 100, 711, 712 };
	static const uint32_t cuts[] = { 1, 2, 5, 10, 11, 12, 800 };
	static struct rig_buffer buffers[100][712];

	for (uint32_t i = 0; i < 7 * 7 * 2; i++) {
		uint32_t size = sizes[i % 7], cut = cuts[i / 7 % 7], left = 712;
		uint32_t chains = (712 + size - 1) / size;
		struct rig *rig = rig_create(0, 4096);
		uint8_t got[1424];

		rig->vq.mergeable = true;
		rig->vq.indirect = i >= 49;
		for (uint32_t c = 0; c < chains + 1; c++) {
			uint16_t n = rig_cut(rig, buffers[c], size, cut, cut);

			rig_chain(rig, buffers[c], n, RIG_WRITE, rig->vq.indirect);
		}
		assert_int_equal(send(rig, sample_frame(700, 77, i)), 1);
		for (uint32_t c = 0; c < chains; c++) {
			struct rig_used used;
			uint32_t n = left < size ? left : size;

			assert_true(rig_take_used(rig, &used));
			assert_int_equal(used.length, n);
			collect(rig, buffers[c], got + (712 - left), n);
			left -= n;
		}
		rig_expect_no_used(rig);
		assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0", 10);
		assert_int_equal(got[10] | got[11] << 8, chains);
		assert_memory_equal(got + 12, sample.bytes, 700);
		rig_destroy(rig);
	}
}

static void merges_the_longest_frame(void **state)
{
	static const uint32_t sizes[] = { 1536, 13, 65600 };
	static uint8_t got[12 + LONGEST];

	for (int i = 0; i < 3; i++) {
		struct rig *rig = rig_create(0, 8192);
		uint32_t chains = (12 + LONGEST + sizes[i] - 1) / sizes[i];
		struct rig_buffer *buffers = calloc(chains, sizeof(*buffers));

		rig->vq.mergeable = i < 2;
		for (uint32_t c = 0; c < chains; c++) {
			rig_cut(rig, &buffers[c], sizes[i], sizes[i], sizes[i]);
			rig_chain(rig, &buffers[c], 1, RIG_WRITE, false);
		}
		assert_int_equal(send(rig, sample_frame(LONGEST, 4096, 8)), 1);
		collect(rig, buffers, got, sizeof(got));
		assert_int_equal(got[10] | got[11] << 8, chains);
		assert_memory_equal(got + 12, sample.bytes, LONGEST);
		assert_int_equal(rig->used[1], chains);
		free(buffers);
		rig_destroy(rig);
	}
}

static void writes_offload_state(void **state)
{
	struct rig *rig = rig_create(0, 8);
	struct frame *frame = sample_frame(100, 100, 0);
	struct rig_buffer buffers[] = { { RIG_DATA, 7 }, { RIG_DATA + 100, 700 } };
	struct vnet_header header, expected = { .flags = VNET_FLAG_NEEDS_CSUM,
						.gso_type = VNET_GSO_TCPV4 | VNET_GSO_ECN,
						.hdr_len = 54,
						.gso_size = 1400,
						.csum_start = 34,
						.csum_offset = 16,
						.num_buffers = 1 };

	frame->flags = FRAME_NEEDS_CSUM | FRAME_GSO_ECN;
	frame->gso = FRAME_GSO_TCP4;
	frame->gso_size = 1400;
	frame->csum_start = 34;
	frame->csum_offset = 16;
	frame->payload_offset = 54;
	rig_chain(rig, &buffers[1], 1, RIG_WRITE, false);
	assert_int_equal(send(rig, frame), 1);
	rig_read(rig, RIG_DATA + 100, &header, 12);
	assert_memory_equal(&header, &expected, 12);
	rig_chain(rig, buffers, 2, RIG_WRITE, false);
	assert_int_equal(send(rig, frame), 1);
	collect(rig, buffers, (uint8_t *)&header, 12);
	assert_memory_equal(&header, &expected, 12);
	rig_destroy(rig);
}

static void lack_of_buffers_consumes_nothing(void **state)
{
	struct rig *rig = rig_create(0, 8);
	struct rig_buffer buffer = { RIG_DATA, 100 };

	assert_int_equal(send(rig, sample_frame(60, 60, 0)), 0);
	assert_int_equal(rig->counters.drops[DROP_NO_BUFFERS], 1);
	/* One chain must hold all without MRG_RXBUF. */
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	assert_int_equal(send(rig, sample_frame(89, 60, 0)), 0);
	assert_int_equal(rig->counters.drops[DROP_BUFFER_SMALL], 1);
	rig_expect_no_used(rig);
	assert_int_equal(rig_calls(rig), 0);
	/* Three are needed, two are there. */
	rig->vq.mergeable = true;
	assert_int_equal(send(rig, sample_frame(200, 60, 0)), 0);
	assert_int_equal(rig->counters.drops[DROP_NO_BUFFERS], 2);
	rig_expect_no_used(rig);
	/* And the next, smaller one takes the first of them. */
	assert_int_equal(send(rig, sample_frame(88, 60, 0)), 1);
	rig_expect_used(rig, 0, 100);
	assert_int_equal(send(rig, sample_frame(60, 60, 0)), 1);
	rig_expect_used(rig, 1, 72);
	rig_expect_no_used(rig);
	/* A header in two chains is not one. */
	buffer.length = 11;
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	assert_int_equal(send(rig, sample_frame(14, 14, 0)), 0);
	assert_int_equal(rig->counters.drops[DROP_BUFFER_SMALL], 2);
	assert_int_equal(rig_drops(rig), 4);
	rig_destroy(rig);
}

#define BUFFER (RIG_DATA + 4096)
#define TABLE  RIG_DATA

static const struct bad_chain {
	const char *name;
	enum drop_reason reason;
	struct rig_descriptor ring[8];
	struct rig_descriptor entries[2];
	uint16_t head;
	bool no_indirect;
} bad_chains[] = {
	{ "readonly", DROP_BUFFER_READONLY, { { BUFFER, 800, 0, 0 } } },
	{ "later readonly",
	  DROP_BUFFER_READONLY,
	  { { BUFFER, 300, RIG_WRITE | RIG_NEXT, 1 }, { BUFFER, 800, 0, 0 } } },
	{ "nowhere", DROP_BUFFER_ADDRESS, { { 0x1000, 800, RIG_WRITE, 0 } } },
	{ "past the end", DROP_BUFFER_ADDRESS, { { RIG_END - 699, 800, RIG_WRITE, 0 } } },
	{ "wraps", DROP_BUFFER_ADDRESS, { { UINT64_MAX - 3, UINT32_MAX, RIG_WRITE, 0 } } },
	{ "later nowhere",
	  DROP_BUFFER_ADDRESS,
	  { { BUFFER, 699, RIG_WRITE | RIG_NEXT, 1 }, { 0, 1, RIG_WRITE, 0 } } },
	{ "loop", DROP_BUFFER_CHAIN, { { BUFFER, 1, RIG_WRITE | RIG_NEXT, 0 } } },
	{ "empty loop", DROP_BUFFER_CHAIN, { { BUFFER, 0, RIG_WRITE | RIG_NEXT, 0 } } },
	{ "head outside", DROP_BUFFER_CHAIN, .head = 8 },
	{ "head far outside", DROP_BUFFER_CHAIN, .head = 0xffff },
	{ "next outside", DROP_BUFFER_CHAIN, { { BUFFER, 1, RIG_WRITE | RIG_NEXT, 8 } } },
	{ "indirect unasked",
	  DROP_BUFFER_CHAIN,
	  { { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { BUFFER, 800, RIG_WRITE, 0 } },
	  .no_indirect = true },
	{ "nested",
	  DROP_BUFFER_CHAIN,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, RIG_NEXT | RIG_WRITE, 1 }, { TABLE, 16, RIG_INDIRECT, 0 } } },
	{ "table of 17", DROP_BUFFER_CHAIN, { { TABLE, 17, RIG_INDIRECT, 0 } } },
	{ "table nowhere", DROP_BUFFER_ADDRESS, { { 0x1000, 16, RIG_INDIRECT, 0 } } },
	{ "loop in a table",
	  DROP_BUFFER_CHAIN,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 1, RIG_WRITE | RIG_NEXT, 1 }, { BUFFER, 1, RIG_WRITE | RIG_NEXT, 0 } } },
};

/* A bad chain costs one frame and goes back empty; mergeable ones before it too. The next frame
 * goes to the next chain. */
static void returns_bad_chains_empty(void **state)
{
	struct rig_buffer good = { BUFFER + 8192, 712 }, small = { BUFFER + 8192, 12 };

	for (size_t i = 0; i < 2 * sizeof(bad_chains) / sizeof(bad_chains[0]); i++) {
		const struct bad_chain *bad = &bad_chains[i / 2];
		struct rig *rig = rig_create(0, 8);
		struct frame *frames[2];
		uint8_t got[712];

		rig->vq.indirect = !bad->no_indirect;
		rig->vq.mergeable = i % 2 != 0;
		memcpy(rig->table, bad->ring, sizeof(bad->ring));
		memcpy(rig_at(rig, TABLE, sizeof(bad->entries)), bad->entries,
		       sizeof(bad->entries));
		rig->next_descriptor = 6;
		if (rig->vq.mergeable)
			rig_chain(rig, &small, 1, RIG_WRITE, false);
		rig_offer(rig, bad->head);
		rig->next_descriptor = 7;
		rig_chain(rig, &good, 1, RIG_WRITE, false);
		frames[0] = frames[1] = sample_frame(700, 100, (uint32_t)i);
		assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 2, &rig->counters), 1);
		if (rig->counters.drops[bad->reason] != 1)
			fail_msg("%s: not counted as %s", bad->name, drop_table[bad->reason].name);
		assert_int_equal(rig_drops(rig), 1);
		if (rig->vq.mergeable)
			rig_expect_used(rig, 6, 0);
		rig_expect_used(rig, bad->head, 0);
		rig_expect_used(rig, 7, 712);
		rig_expect_no_used(rig);
		rig_read(rig, good.address, got, 712);
		assert_memory_equal(got + 12, sample.bytes, 700);
		assert_int_equal(rig_calls(rig), 1);
		rig_destroy(rig);
	}
}

/* A chain that was a good one when it was read ahead and is a bad one when its turn comes is judged
 * by what it is then: a frame in several pieces takes no way that needs one reading only. */
static void judges_by_the_last_reading(void **state)
{
	static const struct rig_descriptor was[][2] = {
		{ { BUFFER, 800, RIG_WRITE, 0 } },
		{ { BUFFER, 300, RIG_WRITE | RIG_NEXT, 1 }, { BUFFER + 300, 500, RIG_WRITE, 0 } },
		{ { TABLE, 16, RIG_INDIRECT, 0 } },
	};
	static const struct rig_descriptor entry = { BUFFER, 800, RIG_WRITE, 0 };
	struct rig_buffer good = { BUFFER + 8192, 712 };

	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]) * 3; i++) {
		const struct bad_chain *bad = &bad_chains[i / 3];
		struct frame *frame = sample_frame(700, 100, (uint32_t)i);
		struct rig *rig = rig_create(0, 8);

		if (bad->head != 0) {
			rig_destroy(rig);
			continue;
		}
		rig->vq.indirect = !bad->no_indirect;
		memcpy(rig->table, was[i % 3], sizeof(was[0]));
		rig_write(rig, TABLE, &entry, sizeof(entry));
		for (rig->next_descriptor = 6; rig->next_descriptor != 0;)
			rig_chain(rig, &good, 1, RIG_WRITE, false);
		rig_offer(rig, 0);
		/* Heads are looked up one call ahead, descriptors the next. */
		assert_int_equal(send(rig, frame), 1);
		assert_int_equal(send(rig, frame), 1);
		memcpy(rig->table, bad->ring, sizeof(bad->ring[0]) * 6);
		rig_write(rig, TABLE, bad->entries, sizeof(bad->entries));
		assert_int_equal(send(rig, frame), 0);
		if (rig_drops(rig) != 1 || rig->counters.drops[bad->reason] != 1)
			fail_msg("%s, was %zu: not counted as %s alone", bad->name, i % 3,
				 drop_table[bad->reason].name);
		rig_expect_used(rig, 6, 712);
		rig_expect_used(rig, 7, 712);
		rig_expect_used(rig, 0, 0);
		rig_expect_no_used(rig);
		rig_destroy(rig);
	}
}

/* More frames than one batch, more than the buffers, over the end of the indices. */
static void sends_in_order(void **state)
{
	struct rig *rig = rig_create(0, 256);
	struct frame *frames[300];
	struct frame store[300];
	uint8_t heads[300][FRAME_SLOT];

	rig_start_at(rig, 65400);
	for (uint32_t i = 0; i < 300; i++) {
		store[i] = *sample_frame(60 + i % 50, 1000, i);
		store[i].head = heads[i] + FRAME_HEADROOM;
		memcpy(store[i].head, sample.bytes, store[i].length);
		frames[i] = &store[i];
	}
	for (int round = 0; round < 400; round++) {
		rig->next_data = RIG_DATA;
		rig->next_descriptor = 0;
		for (uint32_t i = 0; i < 256; i++) {
			struct rig_buffer buffer = { rig_alloc(rig, 200), 200 };

			rig_chain(rig, &buffer, 1, RIG_WRITE, false);
		}
		assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 300, &rig->counters), 256);
		for (uint32_t i = 0; i < 256; i++) {
			rig_expect_used(rig, i, 12 + store[i].length);
			assert_memory_equal((uint8_t *)rig_at(rig, rig->table[i].address, 200) + 12,
					    store[i].head, store[i].length);
		}
		rig_expect_no_used(rig);
	}
	assert_int_equal(rig->counters.transmit_packets, 256 * 400);
	assert_int_equal(rig->counters.drops[DROP_NO_BUFFERS], 44 * 400);
	rig_destroy(rig);
}

static void wild_index_breaks_the_queue(void **state)
{
	struct rig *rig = rig_create(0, 8);
	struct frame *frames[3];

	frames[0] = frames[1] = frames[2] = sample_frame(60, 60, 0);
	rig->available[1] = 9;
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 0);
	assert_int_equal(rig->vq.fault, VIRTQUEUE_FAULT_INDEX);
	assert_int_equal(rig->counters.drops[DROP_PORT_DOWN], 3);
	rig->available[1] = 1;
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 0);
	assert_int_equal(rig->counters.drops[DROP_PORT_DOWN], 6);
	rig_expect_no_used(rig);
	rig_destroy(rig);
}

static void bounds_the_work_of_one_call(void **state)
{
	struct rig *rig = rig_create(0, 64);
	struct rig_descriptor *table = rig_at(rig, RIG_DATA, 16 * VIRTQUEUE_SIZE_MAX);
	struct frame *frames[64];

	rig->vq.indirect = true;
	for (uint32_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++)
		table[i] = (struct rig_descriptor){ 0, 0, RIG_NEXT | RIG_WRITE, (uint16_t)(i + 1) };
	for (uint16_t i = 0; i < 64; i++) {
		rig_set(rig, i, RIG_DATA, 16 * VIRTQUEUE_SIZE_MAX, RIG_INDIRECT, 0);
		rig_offer(rig, i);
		frames[i] = sample_frame(60, 60, 0);
	}
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 64, &rig->counters), 0);
	assert_int_equal(rig->counters.drops[DROP_BUFFER_CHAIN], 2);
	assert_int_equal(rig->counters.drops[DROP_NO_BUFFERS], 62);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_any_layout),
		cmocka_unit_test(fills_every_length),
		cmocka_unit_test(fills_across_regions),
		cmocka_unit_test(merges_chains),
		cmocka_unit_test(merges_the_longest_frame),
		cmocka_unit_test(writes_offload_state),
		cmocka_unit_test(lack_of_buffers_consumes_nothing),
		cmocka_unit_test(returns_bad_chains_empty),
		cmocka_unit_test(judges_by_the_last_reading),
		cmocka_unit_test(sends_in_order),
		cmocka_unit_test(wild_index_breaks_the_queue),
		cmocka_unit_test(bounds_the_work_of_one_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
