/* The queue of all guests' frames to libslirp's thread (vswitch/user_queue.c): shares, and two
 * threads that use it at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/user_queue.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define BYTES (256u * 1024u)
#define LAST  (CONFIG_PORTS_MAX - 1)

static uint8_t bytes[FRAME_LENGTH_MAX + 1];
static enum drop_reason reason;

static int set_up(void **state)
{
	*state = user_queue_create(BYTES);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	user_queue_destroy(*state);
	return 0;
}

static bool put(struct user_queue *queue, uint16_t guest, uint32_t length)
{
	struct frame_segment segment = { bytes, 0 };
	struct frame frame = { .head = bytes, .length = length, .arrival = guest };

	frame.head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	segment.length = length - frame.head_length;
	frame.segments = &segment;
	frame.segment_count = length > FRAME_HEAD_MAX;
	return user_queue_put(queue, &frame, &reason);
}

static uint16_t oldest(struct user_queue *queue)
{
	const struct frame_ring_entry *entry = frame_ring_peek(queue->ring);
	uint16_t guest;

	assert_non_null(entry);
	assert_int_equal(entry->note_length, sizeof(guest));
	memcpy(&guest, entry->note, sizeof(guest));
	return guest;
}

/* Puts frames of a guest until it has its share; how many. */
static uint32_t flood(struct user_queue *queue, uint16_t guest, uint32_t length)
{
	uint32_t count = 0;

	while (put(queue, guest, length))
		count++;
	assert_int_equal(reason, DROP_UPLINK_SHARE);
	frame_ring_flush(queue->ring);
	return count;
}

/* Each has half of what there is when he comes, and the next finds something. */
static void test_shares(void **state)
{
	struct user_queue *queue = *state;
	uint32_t size = (uint32_t)frame_ring_entry_size(60), first, second;

	first = flood(queue, 7, 60);
	assert_int_equal(first, BYTES / 2 / size);
	second = flood(queue, LAST, 60);
	assert_int_equal(second, (BYTES - first * size) / 2 / size);
	assert_int_equal(flood(queue, 0, 60), (BYTES - (first + second) * size) / 2 / size);
	assert_true(put(queue, 9, 1514));
	/* Who has his share waits until something of his own has left. */
	for (uint32_t i = 0; i < first; i++) {
		assert_int_equal(oldest(queue), 7);
		user_queue_pop(queue);
	}
	assert_true(put(queue, 7, 60));
	assert_int_equal(oldest(queue), LAST);
}

/* What is taken leaves nothing behind, neither in the ring nor in the accounts. */
static void test_all_is_given_back(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 65553, 1514, 33, 9014, 40000, 191 };
	struct user_queue *queue = *state;

	user_queue_pop(queue); /* of nothing */
	for (uint32_t i = 0; i < 2000; i++) {
		assert_true(put(queue, (uint16_t)(i % 3), lengths[i % 8]));
		frame_ring_flush(queue->ring);
		assert_int_equal(oldest(queue), i % 3);
		user_queue_pop(queue);
		assert_null(frame_ring_peek(queue->ring));
	}
	for (uint16_t guest = 0; guest < 3; guest++)
		assert_int_equal(atomic_load(&queue->waiting[guest]), 0);
	assert_int_equal(frame_ring_room(queue->ring), BYTES);
}

static void test_too_long(void **state)
{
	struct user_queue *queue = *state;

	assert_false(put(queue, 1, FRAME_LENGTH_MAX + 1));
	assert_int_equal(reason, DROP_FRAME_TOO_LONG_FOR_PORT);
	assert_int_equal(atomic_load(&queue->waiting[1]), 0);
	assert_true(put(queue, 1, FRAME_LENGTH_MAX));
}

#define ASKED 20000u

/* Takes until it has seen all frames of guest 1. */
static void *take(void *argument)
{
	struct user_queue *queue = argument;
	uint32_t seen = 0;

	while (seen < ASKED) {
		if (!frame_ring_peek(queue->ring)) {
			sched_yield();
			continue;
		}
		seen += oldest(queue) == 1;
		user_queue_pop(queue);
	}
	return NULL;
}

/* However fast the other end is, a guest that has little to say is never refused beside one that
 * fills the queue. */
static void test_beside_a_flood(void **state)
{
	struct user_queue *queue = *state;
	pthread_t taker;

	assert_int_equal(pthread_create(&taker, NULL, take, queue), 0);
	for (uint32_t i = 0; i < ASKED; i++) {
		flood(queue, 0, 1514);
		/* One waits at most. */
		while (atomic_load(&queue->waiting[1]) > 0)
			sched_yield();
		assert_true(put(queue, 1, 1514));
		frame_ring_flush(queue->ring);
	}
	pthread_join(taker, NULL);
	while (frame_ring_peek(queue->ring))
		user_queue_pop(queue);
	assert_int_equal(atomic_load(&queue->waiting[0]), 0);
	assert_int_equal(frame_ring_room(queue->ring), BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_shares),
		TEST(test_all_is_given_back),
		TEST(test_too_long),
		TEST(test_beside_a_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
