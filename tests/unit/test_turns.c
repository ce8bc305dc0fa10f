/* Turns of queues (vswitch/turns.h): who is polled in which round, with queues that are numbers. */
#include "vswitch/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define QUEUES 100u
#define ROUNDS 10000u

struct queue {
	struct turn turn;
	uint32_t brings; /* whenever it is polled */
	bool gone;
	bool polled; /* in the last round */
	uint64_t frames;
	uint32_t waited, waited_most; /* rounds */
};

struct rig {
	struct turns turns;
	struct queue queues[QUEUES];
	uint32_t count;
};

static void rig_start(struct rig *rig, uint32_t count, uint32_t brings)
{
	memset(rig, 0, sizeof(*rig));
	rig->count = count;
	for (uint32_t i = 0; i < count; i++)
		rig->queues[i].brings = brings;
	turns_end_round(&rig->turns);
}

static void queue_round(struct rig *rig, struct queue *queue)
{
	queue->polled = turns_may_poll(&rig->turns, &queue->turn);
	if (queue->polled) {
		turns_took(&rig->turns, &queue->turn, queue->brings);
		queue->frames += queue->brings;
		queue->waited = 0;
	} else if (++queue->waited > queue->waited_most) {
		queue->waited_most = queue->waited;
	}
}

/* Returns how many of those that bring full bursts were polled. */
static uint32_t rig_round(struct rig *rig)
{
	uint32_t full = 0;

	for (uint32_t i = 0; i < rig->count; i++) {
		struct queue *queue = &rig->queues[i];

		if (queue->gone)
			continue;
		queue_round(rig, queue);
		full += queue->polled && queue->brings == BURST_FRAMES;
	}
	turns_end_round(&rig->turns);
	return full;
}

static void test_all_quiet(void **state)
{
	static struct rig rig;

	rig_start(&rig, 5, 1);
	for (uint32_t round = 0; round < ROUNDS; round++)
		rig_round(&rig);
	for (uint32_t i = 0; i < rig.count; i++)
		assert_int_equal(rig.queues[i].frames, ROUNDS);
}

static void test_one_full(void **state)
{
	static struct rig rig;

	rig_start(&rig, 3, 1);
	rig.queues[1].brings = BURST_FRAMES;
	for (uint32_t round = 0; round < ROUNDS; round++)
		assert_int_equal(rig_round(&rig), 1);
	for (uint32_t i = 0; i < rig.count; i++)
		assert_int_equal(rig.queues[i].waited_most, 0);
}

/* From the second round on: before, nobody knows that they are full. */
static void test_quiet_beside_full(void **state)
{
	static struct rig rig;

	rig_start(&rig, 8, BURST_FRAMES);
	rig.queues[3].brings = 5;
	rig_round(&rig);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		assert_int_equal(rig_round(&rig), 1);
		assert_true(rig.queues[3].polled);
	}
}

static void test_full_get_equal_shares(void **state)
{
	for (uint32_t count = 1; count <= QUEUES; count++) {
		static struct rig rig;
		uint64_t least = UINT64_MAX, most = 0;

		rig_start(&rig, count, BURST_FRAMES);
		for (uint32_t round = 0; round < ROUNDS; round++)
			rig_round(&rig);
		for (uint32_t i = 0; i < count; i++) {
			uint64_t frames = rig.queues[i].frames;

			least = frames < least ? frames : least;
			most = frames > most ? frames : most;
		}
		assert_true(most - least <= 2 * TURNS_LAP * BURST_FRAMES);
	}
}

/* A lap, or one burst of each. */
static void test_full_wait_for_a_lap(void **state)
{
	for (uint32_t count = 1; count <= QUEUES; count++) {
		static struct rig rig;

		rig_start(&rig, count, BURST_FRAMES);
		for (uint32_t round = 0; round < ROUNDS; round++)
			rig_round(&rig);
		for (uint32_t i = 0; i < count; i++)
			rig.queues[i].waited_most = 0;
		for (uint32_t round = 0; round < ROUNDS; round++)
			rig_round(&rig);
		for (uint32_t i = 0; i < count; i++)
			assert_true(rig.queues[i].waited_most <=
				    (count > TURNS_LAP ? count : TURNS_LAP));
	}
}

static void test_turn_lasts(void **state)
{
	static struct rig rig;
	uint32_t changes = 0;
	bool first = true;

	rig_start(&rig, 2, BURST_FRAMES);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		rig_round(&rig);
		changes += rig.queues[0].polled != first;
		first = rig.queues[0].polled;
	}
	assert_in_range(changes, ROUNDS / 17, ROUNDS / 15);
}

/* One that never fills a burst, to be polled in each round, gets no more than the full ones. */
static void test_nearly_full_gets_no_more(void **state)
{
	for (uint32_t count = 2; count <= QUEUES; count++) {
		static struct rig rig;

		rig_start(&rig, count, BURST_FRAMES);
		rig.queues[1].brings = BURST_FRAMES - 1;
		for (uint32_t round = 0; round < ROUNDS; round++)
			rig_round(&rig);
		assert_true(rig.queues[1].frames <=
			    rig.queues[0].frames + 2 * TURNS_LAP * BURST_FRAMES);
	}
}

static void test_holder_leaves(void **state)
{
	static struct rig rig;

	rig_start(&rig, 3, BURST_FRAMES);
	rig_round(&rig);
	rig_round(&rig);
	for (uint32_t i = 0; i < rig.count; i++) {
		if (!rig.queues[i].polled)
			continue;
		rig.queues[i].gone = true;
		turns_leave(&rig.turns, &rig.queues[i].turn);
	}
	rig_round(&rig);
	for (uint32_t round = 0; round < ROUNDS; round++)
		assert_int_equal(rig_round(&rig), 1);
}

static void test_holder_has_nothing_left(void **state)
{
	static struct rig rig;

	rig_start(&rig, 2, BURST_FRAMES);
	rig_round(&rig);
	rig_round(&rig);
	rig.queues[rig.queues[0].polled ? 0 : 1].brings = 0;
	rig_round(&rig);
	for (uint32_t round = 0; round < ROUNDS; round++)
		assert_int_equal(rig_round(&rig), 1);
}

/* A worker that gets a new snapshot again and again, each time in the middle of a turn. */
static void test_holder_forgotten(void **state)
{
	static struct rig rig;

	rig_start(&rig, 10, BURST_FRAMES);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		rig_round(&rig);
		if (round % 2 == 0)
			turns_forget_holder(&rig.turns);
	}
	for (uint32_t i = 1; i < rig.count; i++)
		assert_in_range(rig.queues[i].frames,
				rig.queues[0].frames - 2 * TURNS_LAP * BURST_FRAMES,
				rig.queues[0].frames + 2 * TURNS_LAP * BURST_FRAMES);
}

/* Many become full at once, beside one that was alone before: two rounds pass until it is known. */
static void test_many_become_full(void **state)
{
	for (uint32_t before = 1; before < 2 * TURNS_LAP; before++) {
		static struct rig rig;

		rig_start(&rig, QUEUES, 0);
		rig.queues[0].brings = BURST_FRAMES;
		for (uint32_t round = 0; round < before; round++)
			rig_round(&rig);
		for (uint32_t i = 1; i < QUEUES; i++)
			rig.queues[i].brings = BURST_FRAMES;
		for (uint32_t round = 0; round < 10 * QUEUES; round++)
			rig_round(&rig);
		for (uint32_t i = 0; i < QUEUES; i++)
			assert_true(rig.queues[i].waited_most <= QUEUES + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_quiet),
		cmocka_unit_test(test_one_full),
		cmocka_unit_test(test_quiet_beside_full),
		cmocka_unit_test(test_full_get_equal_shares),
		cmocka_unit_test(test_full_wait_for_a_lap),
		cmocka_unit_test(test_turn_lasts),
		cmocka_unit_test(test_nearly_full_gets_no_more),
		cmocka_unit_test(test_holder_leaves),
		cmocka_unit_test(test_holder_has_nothing_left),
		cmocka_unit_test(test_holder_forgotten),
		cmocka_unit_test(test_many_become_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
