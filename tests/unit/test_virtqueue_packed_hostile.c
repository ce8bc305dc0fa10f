/* What hostile guests do with a packed ring: every bad chain and buffer, chains that change or
 * never end. */
#include "packed_rig.h"

/* Bad chains, and the reason. `entries`: an indirect table at TABLE. */
struct bad_chain {
	const char *name;
	enum drop_reason reason;
	uint16_t count;
	struct rig_descriptor ring[4]; /* `next` is not used */
	struct rig_descriptor entries[4];
	bool no_indirect;
};

#define BUFFER (RIG_DATA + 4096)
#define TABLE  RIG_DATA

static const struct bad_chain bad_chains[] = {
	{ "no region", DROP_CHAIN_ADDRESS, 1, { { 0x1000, 80, 0, 0 } } },
	{ "past the end", DROP_CHAIN_ADDRESS, 1, { { RIG_END - 79, 80, 0, 0 } } },
	{ "wraps", DROP_CHAIN_ADDRESS, 1, { { UINT64_MAX - 10, 80, 0, 0 } } },
	{ "highest", DROP_CHAIN_ADDRESS, 1, { { UINT64_MAX, 80, 0, 0 } } },
	{ "second bad",
	  DROP_CHAIN_ADDRESS,
	  3,
	  { { BUFFER, 80, RIG_NEXT, 0 }, { 0, 1, RIG_NEXT, 0 }, { BUFFER, 80, 0, 0 } } },
	{ "length", DROP_FRAME_LONG, 1, { { BUFFER, UINT32_MAX, 0, 0 } } },
	{ "lengths",
	  DROP_FRAME_LONG,
	  2,
	  { { BUFFER, 80, RIG_NEXT, 0 }, { BUFFER, UINT32_MAX, 0, 0 } } },
	{ "one too long", DROP_FRAME_LONG, 1, { { BUFFER, 12 + RIG_FRAME_LONGEST + 1, 0, 0 } } },
	{ "writable", DROP_CHAIN_WRITABLE, 1, { { BUFFER, 80, RIG_WRITE, 0 } } },
	{ "writable in between",
	  DROP_CHAIN_WRITABLE,
	  4,
	  { { BUFFER, 80, RIG_NEXT, 0 },
	    { BUFFER, 80, RIG_WRITE | RIG_NEXT, 0 },
	    { BUFFER, 80, RIG_NEXT, 0 },
	    { BUFFER, 80, 0, 0 } } },
	{ "empty", DROP_CHAIN_HEADER, 1, { { BUFFER, 0, 0, 0 } } },
	{ "half a header", DROP_CHAIN_HEADER, 1, { { BUFFER, 11, 0, 0 } } },
	{ "only a header", DROP_FRAME_SHORT, 1, { { BUFFER, 12, 0, 0 } } },
	{ "short in two",
	  DROP_FRAME_SHORT,
	  2,
	  { { BUFFER, 12, RIG_NEXT, 0 }, { BUFFER, 13, 0, 0 } } },
	{ "indirect unasked",
	  DROP_CHAIN_INDIRECT,
	  1,
	  { { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, 0, 0 } },
	  .no_indirect = true },
	{ "indirect and next",
	  DROP_CHAIN_INDIRECT,
	  2,
	  { { TABLE, 16, RIG_INDIRECT | RIG_NEXT, 0 }, { BUFFER, 80, 0, 0 } },
	  { { BUFFER, 80, 0, 0 } } },
	{ "indirect after direct",
	  DROP_CHAIN_INDIRECT,
	  2,
	  { { BUFFER, 80, RIG_NEXT, 0 }, { TABLE, 16, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, 0, 0 } } },
	{ "table of 0", DROP_CHAIN_INDIRECT, 1, { { TABLE, 0, RIG_INDIRECT, 0 } } },
	{ "table of 17", DROP_CHAIN_INDIRECT, 1, { { TABLE, 17, RIG_INDIRECT, 0 } } },
	{ "table too large", DROP_CHAIN_INDIRECT, 1, { { TABLE, 16 * 32769, RIG_INDIRECT, 0 } } },
	{ "table of 4 GiB", DROP_CHAIN_INDIRECT, 1, { { TABLE, 0xfffffff0, RIG_INDIRECT, 0 } } },
	{ "table nowhere", DROP_CHAIN_ADDRESS, 1, { { 0x1000, 16, RIG_INDIRECT, 0 } } },
	{ "table wraps", DROP_CHAIN_ADDRESS, 1, { { UINT64_MAX - 15, 32, RIG_INDIRECT, 0 } } },
	{ "table half there", DROP_CHAIN_ADDRESS, 1, { { RIG_END - 8, 16, RIG_INDIRECT, 0 } } },
	{ "writable in a table",
	  DROP_CHAIN_WRITABLE,
	  1,
	  { { TABLE, 32, RIG_INDIRECT, 0 } },
	  { { BUFFER, 80, 0, 0 }, { BUFFER, 80, 0, RIG_WRITE } } }, /* flags come last there */
};

static uint16_t put_bad(struct prig *prig, const struct bad_chain *bad)
{
	uint16_t id = prig_id(prig, bad->count);

	for (uint16_t i = 0; i < bad->count; i++)
		prig_put(prig, bad->ring[i].address, bad->ring[i].length, bad->ring[i].flags, id);
	memcpy(rig_at(prig->rig, TABLE, sizeof(bad->entries)), bad->entries, sizeof(bad->entries));
	return id;
}

/* Each between two good ones, which must come out whole. */
static void counts_and_returns_bad_chains(void **state)
{
	struct prig *prig = prig_create(1, 7);

	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]); i++) {
		const struct bad_chain *bad = &bad_chains[i];
		uint64_t before = prig->rig->counters.drops[bad->reason];
		uint16_t ids[3];
		uint8_t bytes[100];

		prig->vq->indirect = !bad->no_indirect;
		prig->rig->next_data = RIG_DATA + 0x100000;
		rig_pattern(bytes, sizeof(bytes), 9);
		ids[0] = prig_send_frame(prig, bytes, sizeof(bytes));
		ids[1] = put_bad(prig, bad);
		ids[2] = prig_send_frame(prig, bytes, sizeof(bytes));
		assert_int_equal(rig_from_guest(prig->rig), 3);
		if (prig->rig->counters.drops[bad->reason] != before + 1)
			fail_msg("%s: not counted as %s", bad->name, drop_table[bad->reason].name);
		assert_int_equal(rig_drops(prig->rig), i + 1);
		assert_int_equal(prig->rig->burst->count, 2);
		rig_expect_frame(&prig->rig->burst->frames[0], bytes, sizeof(bytes));
		rig_expect_frame(&prig->rig->burst->frames[1], bytes, sizeof(bytes));
		virtqueue_from_guest_done(prig->vq);
		for (int n = 0; n < 3; n++)
			prig_expect_used(prig, ids[n], 0);
		prig_expect_no_used(prig);
		assert_int_equal(prig->vq->fault, VIRTQUEUE_OK);
	}
	prig_destroy(prig);
}

/* A chain that was a good one when it was read ahead, and is a bad one when its turn comes: judged
 * by what it is then, or if it was one buffer, by what it was; never by some of both. */
static void judges_by_one_reading(void **state)
{
	for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]); i++) {
		const struct bad_chain *bad = &bad_chains[i];
		const bool buffer = bad->count == 1;
		struct prig *prig = prig_create(1, 7);
		uint8_t bytes[188];
		uint16_t ids[2];

		prig->vq->indirect = !bad->no_indirect;
		prig->rig->next_data = RIG_DATA + 0x100000;
		rig_pattern(bytes, sizeof(bytes), 9);
		rig_write(prig->rig, BUFFER + 12, bytes, sizeof(bytes));
		ids[0] = prig_send_frame(prig, bytes, sizeof(bytes));
		ids[1] = prig_id(prig, bad->count);
		for (uint16_t n = 0; n < bad->count; n++)
			prig_put(prig, BUFFER, 200, n + 1 < bad->count ? RIG_NEXT : 0, ids[1]);
		burst_reset(prig->rig->burst);
		prig->rig->burst->limit = 1;
		assert_int_equal(
		    virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 1);
		for (uint16_t n = 0; n < bad->count; n++) {
			struct prig_slot *slot = &prig->ring[1 + n];

			slot->address = bad->ring[n].address;
			slot->length = bad->ring[n].length;
			slot->flags = (slot->flags & 0x8080) | bad->ring[n].flags;
		}
		rig_write(prig->rig, TABLE, bad->entries, sizeof(bad->entries));
		assert_int_equal(rig_from_guest(prig->rig), 1);
		if (rig_drops(prig->rig) != !buffer ||
		    prig->rig->counters.drops[bad->reason] != !buffer)
			fail_msg("%s: not counted as %s alone", bad->name,
				 drop_table[bad->reason].name);
		assert_int_equal(prig->rig->burst->count, buffer);
		if (buffer)
			rig_expect_frame(&prig->rig->burst->frames[0], bytes, sizeof(bytes));
		virtqueue_from_guest_done(prig->vq);
		prig_expect_used(prig, ids[0], 0);
		prig_expect_used(prig, ids[1], 0);
		prig_expect_no_used(prig);
		prig_destroy(prig);
	}
}

/* Long chains of nothing keep a worker busy only so long. */
static void bounds_the_work_of_one_call(void **state)
{
	struct prig *prig = prig_create(1, 64);
	uint32_t calls = 0, taken = 0;

	prig->vq->indirect = true;
	for (uint16_t i = 0; i < 64; i++)
		prig_put(prig, RIG_DATA, 16 * VIRTQUEUE_SIZE_MAX, RIG_INDIRECT, prig_id(prig, 1));
	for (uint32_t n; (n = rig_from_guest(prig->rig)) > 0; calls++) {
		assert_true(n <= 2);
		taken += n;
		virtqueue_from_guest_done(prig->vq);
	}
	assert_int_equal(taken, 64);
	assert_int_equal(prig->rig->counters.drops[DROP_CHAIN_HEADER], 64);
	prig_destroy(prig);
}

/* A chain that goes on where nothing is, or round and round, ends the queue: what follows it cannot
 * be known. What came before goes back. */
static void endless_chain_breaks_the_queue(void **state)
{
	for (int round = 0; round < 4; round++) {
		struct prig *prig = prig_create(round < 2 ? 1 : 0, 8);
		struct frame frame = { .head = (uint8_t *)rig_at(prig->rig, RIG_HIGH, FRAME_SLOT) +
					       FRAME_HEADROOM,
				       .head_length = 60,
				       .length = 60 };
		struct frame *frames[] = { &frame, &frame };
		int flags = round < 2 ? 0 : RIG_WRITE;
		struct rig_buffer buffer = { RIG_DATA, 1000 };
		uint16_t id = prig_chain(prig, &buffer, 1, flags, false);

		memset(rig_at(prig->rig, RIG_DATA, 1000), 0, 1000);
		for (int i = 0; i < (round % 2 == 0 ? 3 : 7); i++)
			prig_put(prig, RIG_DATA, 10, flags | RIG_NEXT, 1);
		if (round < 2) {
			assert_int_equal(rig_from_guest(prig->rig), 1);
			assert_int_equal(prig->vq->fault, VIRTQUEUE_FAULT_CHAIN);
			virtqueue_from_guest_done(prig->vq);
			assert_int_equal(rig_from_guest(prig->rig), 0);
		} else {
			assert_int_equal(
			    virtqueue_to_guest(prig->vq, frames, 2, &prig->rig->counters), 1);
			assert_int_equal(prig->vq->fault, VIRTQUEUE_FAULT_CHAIN);
			assert_int_equal(
			    virtqueue_to_guest(prig->vq, frames, 2, &prig->rig->counters), 0);
			assert_int_equal(prig->rig->counters.drops[DROP_PORT_DOWN], 2);
			assert_int_equal(prig->rig->counters.drops[DROP_BUFFER_CHAIN], 1);
		}
		prig_expect_used(prig, id, round < 2 ? 0 : 72);
		prig_expect_no_used(prig);
		assert_true(virtqueue_arm(prig->vq));
		prig_destroy(prig);
	}
}

/* The guest makes all of the ring available again and again behind our back. */
static void takes_no_more_than_a_round(void **state)
{
	struct prig *prig = prig_create(1, 8);
	uint8_t bytes[60] = { 0 };

	for (int i = 0; i < 8; i++)
		prig_send_frame(prig, bytes, sizeof(bytes));
	assert_int_equal(rig_from_guest(prig->rig), 8);
	for (int i = 0; i < 8; i++)
		prig->ring[i].flags = PRIG_USED;
	burst_reset(prig->rig->burst);
	assert_int_equal(virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters), 0);
	virtqueue_from_guest_done(prig->vq);
	for (int i = 0; i < 8; i++)
		prig->ring[i].flags = PRIG_USED;
	assert_int_equal(rig_from_guest(prig->rig), 8);
	virtqueue_from_guest_done(prig->vq);
	prig_destroy(prig);
}

static void returns_bad_buffers_empty(void **state)
{
	static const struct {
		enum drop_reason reason;
		struct rig_descriptor parts[2];
	} bad[] = {
		{ DROP_BUFFER_READONLY, { { BUFFER, 8, RIG_WRITE, 0 }, { BUFFER, 900, 0, 0 } } },
		{ DROP_BUFFER_ADDRESS, { { BUFFER, 8, RIG_WRITE, 0 }, { 1, 900, RIG_WRITE, 0 } } },
		{ DROP_BUFFER_CHAIN,
		  { { BUFFER, 8, RIG_WRITE, 0 }, { TABLE, 16, RIG_INDIRECT, 0 } } },
	};
	struct prig *prig = prig_create(0, 5);

	prig->vq->indirect = true;
	for (size_t i = 0; i < 3 * sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig_buffer good = { BUFFER, 2000 };
		struct frame_segment segment;
		struct frame frame, *frames[] = { &frame, &frame };
		uint16_t ids[2];

		prig_fill_frame(prig, &frame, &segment, 500, 1);
		ids[0] = prig_id(prig, 2);
		for (int n = 0; n < 2; n++)
			prig_put(prig, bad[i % 3].parts[n].address, bad[i % 3].parts[n].length,
				 bad[i % 3].parts[n].flags | (n == 0 ? RIG_NEXT : 0), ids[0]);
		ids[1] = prig_chain(prig, &good, 1, RIG_WRITE, false);
		assert_int_equal(virtqueue_to_guest(prig->vq, frames, 2, &prig->rig->counters), 1);
		assert_int_equal(prig->rig->counters.drops[bad[i % 3].reason], i / 3 + 1);
		prig_expect_used(prig, ids[0], 0);
		prig_expect_used(prig, ids[1], 512);
		prig_expect_no_used(prig);
	}
	prig_destroy(prig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_and_returns_bad_chains),
		cmocka_unit_test(judges_by_one_reading),
		cmocka_unit_test(bounds_the_work_of_one_call),
		cmocka_unit_test(endless_chain_breaks_the_queue),
		cmocka_unit_test(takes_no_more_than_a_round),
		cmocka_unit_test(returns_bad_buffers_empty),
	};

	int failed = 0;

	for (; rig_ops(VIRTQUEUE_PACKED) != NULL; rig_variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
