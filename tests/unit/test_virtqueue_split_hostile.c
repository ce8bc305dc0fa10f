/* What hostile guests send through a split ring: every bad chain, chains that change, work without
 * end. */
#include "split_rig.h"

/* Bad chains: descriptors 0.. of the ring's table, an indirect table at RIG_DATA when there are
 * `entries`, and the reason. Ring of 8, 12-byte header, head 0 unless told. */
struct bad_chain {
	const char *name;
	enum drop_reason reason;
	struct rig_descriptor ring[8];
	struct rig_descriptor entries[4];
	uint16_t head;
	bool no_indirect;
};

#define BUFFER (RIG_DATA + 4096)
#define TABLE  RIG_DATA

static const struct bad_chain bad_chains[] = {
	{ "itself", DROP_CHAIN_LOOP, { { BUFFER, 20, RIG_NEXT, 0 } } },
	{ "ring of two",
	  DROP_CHAIN_LOOP,
	  { { BUFFER, 0, RIG_NEXT, 1 }, { BUFFER, 0, RIG_NEXT, 0 } } },
	{ "head outside", DROP_CHAIN_INDEX, .head = 8 },
	{ "head far outside", DROP_CHAIN_INDEX, .head = 0xffff },
	{ "next outside", DROP_CHAIN_INDEX, { { BUFFER, 80, RIG_NEXT, 8 } } },
	{ "no region", DROP_CHAIN_ADDRESS, { { 0x1000, 80, 0, 0 } } },
	{ "past the end", DROP_CHAIN_ADDRESS, { { RIG_END - 79, 80, 0, 0 } } },
	{ "just past", DROP_CHAIN_ADDRESS, { { RIG_END, 80, 0, 0 } } },
	{ "wraps", DROP_CHAIN_ADDRESS, { { UINT64_MAX - 10, 80, 0, 0 } } },
	{ "highest", DROP_CHAIN_ADDRESS, { { UINT64_MAX, 80, 0, 0 } } },
	{ "second bad", DROP_CHAIN_ADDRESS, { { BUFFER, 80, RIG_NEXT, 1 }, { 0, 1, 0, 0 } } },
	{ "length", DROP_FRAME_LONG, { { BUFFER, UINT32_MAX, 0, 0 } } },
	{ "lengths",
	  DROP_FRAME_LONG,
	  { { BUFFER, 80, RIG_NEXT, 1 }, { BUFFER, UINT32_MAX, 0, 0 } } },
	{ "one too long", DROP_FRAME_LONG, { { BUFFER, 12 + RIG_FRAME_LONGEST + 1, 0, 0 } } },
	{ "writable", DROP_CHAIN_WRITABLE, { { BUFFER, 80, RIG_WRITE, 0 } } },
	{ "later writable",
	  DROP_CHAIN_WRITABLE,
	  { { BUFFER, 80, RIG_NEXT, 1 }, { BUFFER, 80, RIG_WRITE, 0 } } },
	{ "empty", DROP_CHAIN_HEADER, { { BUFFER, 0, 0, 0 } } },
	{ "half a header", DROP_CHAIN_HEADER, { { BUFFER, 11, 0, 0 } } },
	{ "only a header", DROP_FRAME_SHORT, { { BUFFER, 12, 0, 0 } } },
	{ "short", DROP_FRAME_SHORT, { { BUFFER, 12 + 13, 0, 0 } } },
	{ "short in two", DROP_FRAME_SHORT, { { BUFFER, 12, RIG_NEXT, 1 }, { BUFFER, 13, 0, 0 } } },
	{ "indirect unasked",
	  DROP_CHAIN_INDIRECT,
	  { { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, 0, 0 } },
	  .no_indirect = true },
	{ "nested",
	  DROP_CHAIN_INDIRECT,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, RIG_NEXT, 1 }, { TABLE, 16, RIG_INDIRECT, 0 } } },
	{ "nested at once",
	  DROP_CHAIN_INDIRECT,
	  { { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { TABLE, 16, RIG_INDIRECT, 0 } } },
	{ "indirect and next",
	  DROP_CHAIN_INDIRECT,
	  { { TABLE, 16, RIG_INDIRECT | RIG_NEXT, 1 }, { BUFFER, 80, 0, 0 } },
	  { { BUFFER, 80, 0, 0 } } },
	{ "table of 0", DROP_CHAIN_INDIRECT, { { TABLE, 0, RIG_INDIRECT, 0 } } },
	{ "table of 8", DROP_CHAIN_INDIRECT, { { TABLE, 8, RIG_INDIRECT, 0 } } },
	{ "table of 17", DROP_CHAIN_INDIRECT, { { TABLE, 17, RIG_INDIRECT, 0 } } },
	{ "table too large", DROP_CHAIN_INDIRECT, { { TABLE, 16 * 32769, RIG_INDIRECT, 0 } } },
	{ "table of 4 GiB", DROP_CHAIN_INDIRECT, { { TABLE, 0xfffffff0, RIG_INDIRECT, 0 } } },
	{ "table nowhere", DROP_CHAIN_ADDRESS, { { 0x1000, 16, RIG_INDIRECT, 0 } } },
	{ "table wraps", DROP_CHAIN_ADDRESS, { { UINT64_MAX - 15, 32, RIG_INDIRECT, 0 } } },
	{ "table half there", DROP_CHAIN_ADDRESS, { { RIG_END - 8, 16, RIG_INDIRECT, 0 } } },
	{ "loop in a table",
	  DROP_CHAIN_LOOP,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 1, RIG_NEXT, 1 }, { BUFFER, 1, RIG_NEXT, 0 } } },
	{ "next outside a table",
	  DROP_CHAIN_INDEX,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 1, RIG_NEXT, 2 } } },
	{ "buffer of a table nowhere",
	  DROP_CHAIN_ADDRESS,
	  { { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { RIG_HIGH + RIG_HIGH_SIZE, 80, 0, 0 } } },
};

/* Each between two good ones, which must come out whole. */
static void counts_and_returns_bad_chains(void **state)
{
	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]); i++) {
		const struct bad_chain *bad = &bad_chains[i];
		struct rig *rig = rig_create(1, 8);
		uint8_t bytes[100];

		rig->vq.indirect = !bad->no_indirect;
		rig->next_data = RIG_HIGH;
		memcpy(rig->table, bad->ring, sizeof(bad->ring));
		memcpy(rig_at(rig, TABLE, sizeof(bad->entries)), bad->entries,
		       sizeof(bad->entries));
		rig_pattern(bytes, sizeof(bytes), 9);
		rig->next_descriptor = 6;
		rig->next_data = RIG_DATA + 0x100000;
		rig_send_frame(rig, bytes, sizeof(bytes));
		rig_offer(rig, bad->head);
		rig_send_frame(rig, bytes, sizeof(bytes));
		assert_int_equal(rig_from_guest(rig), 3);
		if (rig->counters.drops[bad->reason] != 1)
			fail_msg("%s: not counted as %s", bad->name, drop_table[bad->reason].name);
		assert_int_equal(rig_drops(rig), 1);
		assert_int_equal(rig->burst->count, 2);
		assert_int_equal(rig->counters.receive_packets, 2);
		rig_expect_frame(&rig->burst->frames[0], bytes, sizeof(bytes));
		rig_expect_frame(&rig->burst->frames[1], bytes, sizeof(bytes));
		virtqueue_from_guest_done(&rig->vq);
		rig_expect_used(rig, 6, 0);
		rig_expect_used(rig, bad->head, 0);
		rig_expect_used(rig, 7, 0);
		rig_expect_no_used(rig);
		assert_int_equal(rig->vq.fault, VIRTQUEUE_OK);
		rig_destroy(rig);
	}
}

/* A chain that was a good one when it was read ahead, and is a bad one when its turn comes: judged
 * by what it is then, or if it was one buffer, by what it was; never by some of both. */
static void judges_by_one_reading(void **state)
{
	static const struct rig_descriptor was[][2] = {
		{ { BUFFER, 112, 0, 0 } },
		{ { BUFFER, 12, RIG_NEXT, 1 }, { BUFFER + 12, 100, 0, 0 } },
		{ { TABLE, 16, RIG_INDIRECT, 0 } },
	};
	static const struct rig_descriptor entry = { BUFFER, 112, 0, 0 };

	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]) * 3; i++) {
		const struct bad_chain *bad = &bad_chains[i / 3];
		const bool buffer = i % 3 == 0;
		struct rig *rig = rig_create(1, 8);
		uint8_t bytes[100];

		if (bad->head != 0) {
			rig_destroy(rig);
			continue;
		}
		rig->vq.indirect = !bad->no_indirect;
		rig_pattern(bytes, sizeof(bytes), 9);
		rig_write(rig, BUFFER + 12, bytes, sizeof(bytes));
		memcpy(rig->table, was[i % 3], sizeof(was[0]));
		rig_write(rig, TABLE, &entry, sizeof(entry));
		rig->next_descriptor = 6;
		rig->next_data = RIG_DATA + 0x100000;
		rig_send_frame(rig, bytes, sizeof(bytes));
		rig_send_frame(rig, bytes, sizeof(bytes));
		rig_offer(rig, 0);
		/* Heads are looked up one call ahead, descriptors the next. */
		burst_reset(rig->burst);
		for (rig->burst->limit = 1; rig->burst->limit <= 2; rig->burst->limit++)
			assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters),
					 1);
		memcpy(rig->table, bad->ring, sizeof(bad->ring[0]) * 6);
		rig_write(rig, TABLE, bad->entries, sizeof(bad->entries));
		assert_int_equal(rig_from_guest(rig), 1);
		if (rig_drops(rig) != !buffer || rig->counters.drops[bad->reason] != !buffer)
			fail_msg("%s, was %zu: not counted as %s alone", bad->name, i % 3,
				 drop_table[bad->reason].name);
		assert_int_equal(rig->burst->count, buffer);
		if (buffer)
			rig_expect_frame(&rig->burst->frames[0], bytes, sizeof(bytes));
		virtqueue_from_guest_done(&rig->vq);
		rig_expect_used(rig, 6, 0);
		rig_expect_used(rig, 7, 0);
		rig_expect_used(rig, 0, 0);
		rig_expect_no_used(rig);
		rig_destroy(rig);
	}
}

/* Long chains of nothing keep a worker busy only so long. */
static void bounds_the_work_of_one_call(void **state)
{
	static struct rig_descriptor table[VIRTQUEUE_SIZE_MAX];
	struct rig *rig = rig_create(1, 64);
	uint32_t taken = 0;

	rig->vq.indirect = true;
	for (uint32_t i = 0; i < VIRTQUEUE_SIZE_MAX; i++)
		table[i] = (struct rig_descriptor){ 0, 0, RIG_NEXT, (uint16_t)(i + 1) };
	table[VIRTQUEUE_SIZE_MAX - 1].flags = 0;
	memcpy(rig_at(rig, RIG_DATA, sizeof(table)), table, sizeof(table));
	for (uint16_t i = 0; i < 64; i++) {
		rig_set(rig, i, RIG_DATA, sizeof(table), RIG_INDIRECT, 0);
		rig_offer(rig, i);
	}
	for (uint32_t n; (n = rig_from_guest(rig)) > 0;) {
		assert_true(n <= 2);
		taken += n;
		virtqueue_from_guest_done(&rig->vq);
	}
	assert_int_equal(taken, 64);
	assert_int_equal(rig->counters.drops[DROP_CHAIN_HEADER], 64);
	rig_destroy(rig);
}

static void wild_index_breaks_the_queue(void **state)
{
	struct rig *rig = rig_create(1, 8);
	uint8_t bytes[60] = { 0 };

	rig_send_frame(rig, bytes, sizeof(bytes));
	assert_int_equal(rig_from_guest(rig), 1);
	rig->available[1] = (uint16_t)(1 + 9);
	burst_reset(rig->burst);
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 0);
	assert_int_equal(rig->vq.fault, VIRTQUEUE_FAULT_INDEX);
	/* What we hold goes back all the same; then the ring is left alone. */
	virtqueue_from_guest_done(&rig->vq);
	rig_expect_used(rig, 0, 0);
	rig->available[1] = 2;
	assert_int_equal(rig_from_guest(rig), 0);
	assert_true(virtqueue_arm(&rig->vq));
	/* A full ring is not wild; a new start forgets the fault. */
	rig_start_at(rig, 65530);
	for (int i = 0; i < 8; i++)
		rig_send_frame(rig, bytes, sizeof(bytes));
	assert_int_equal(rig_from_guest(rig), 8);
	assert_int_equal(rig->vq.fault, VIRTQUEUE_OK);
	/* More while we hold all of them: nothing is taken beyond what can be held. */
	for (int i = 0; i < 8; i++)
		rig_send_frame(rig, bytes, sizeof(bytes));
	assert_int_equal(rig_from_guest(rig), 0);
	virtqueue_from_guest_done(&rig->vq);
	assert_int_equal(rig_from_guest(rig), 8);
	rig_destroy(rig);
}

static void no_memory_is_no_address(void **state)
{
	struct rig *rig = rig_create(1, 8);
	struct guest_memory empty = { .region_count = 0 };
	uint8_t bytes[60] = { 0 };

	rig_send_frame(rig, bytes, sizeof(bytes));
	rig->vq.region_hint = 77;
	rig->vq.memory = &empty;
	assert_int_equal(rig_from_guest(rig), 1);
	assert_int_equal(rig->counters.drops[DROP_CHAIN_ADDRESS], 1);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_and_returns_bad_chains),
		cmocka_unit_test(judges_by_one_reading),
		cmocka_unit_test(bounds_the_work_of_one_call),
		cmocka_unit_test(wild_index_breaks_the_queue),
		cmocka_unit_test(no_memory_is_no_address),
	};

	int failed = 0;

	for (; rig_ops(VIRTQUEUE_SPLIT) != NULL; rig_variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
