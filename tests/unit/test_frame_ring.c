/* The ring of copied frames: order, bytes, room, waking, and two threads that use it at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/frame_ring.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE 60000 /* milliseconds until a test gives up waiting for an event */

static uint8_t bytes[FRAME_LENGTH_MAX + 1];

static int set_up(void **state)
{
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	*state = frame_ring_create(1);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	frame_ring_destroy(*state);
	return 0;
}

static bool fires(struct frame_ring *ring, int timeout)
{
	struct pollfd wait = { .fd = frame_ring_fd(ring), .events = POLLIN };

	return poll(&wait, 1, timeout) == 1;
}

static void assert_entry(const struct frame_ring_entry *entry, uint32_t length, uint32_t number)
{
	assert_non_null(entry);
	assert_int_equal(entry->length, length);
	assert_memory_equal(entry->bytes, bytes, length);
	assert_int_equal(entry->note_length, sizeof(number));
	assert_memory_equal(entry->note, &number, sizeof(number));
}

static void test_nothing_before_flush(void **state)
{
	struct frame_ring *ring = *state;
	uint32_t note = 1;

	assert_null(frame_ring_peek(ring));
	frame_ring_pop(ring, 3);
	assert_true(frame_ring_put_bytes(ring, bytes, 60, &note, sizeof(note)));
	assert_null(frame_ring_peek(ring));
	frame_ring_flush(ring);
	assert_entry(frame_ring_peek(ring), 60, 1);
	assert_null(frame_ring_next(ring, frame_ring_peek(ring)));
	frame_ring_pop(ring, 1);
	assert_null(frame_ring_peek(ring));
	/* A note may be none, and a frame empty. */
	assert_true(frame_ring_put_bytes(ring, NULL, 0, NULL, 0));
	frame_ring_flush(ring);
	assert_int_equal(frame_ring_peek(ring)->length, 0);
	assert_int_equal(frame_ring_peek(ring)->note_length, 0);
}

static void test_pieces_become_one(void **state)
{
	struct frame_ring *ring = *state;
	struct frame_segment segments[] = { { bytes + 192, 8 },
					    { bytes + 200, 1000 },
					    { bytes + 1200, FRAME_LENGTH_MAX - 1200 } };
	struct frame frame = { .head = bytes,
			       .head_length = 192,
			       .length = FRAME_LENGTH_MAX,
			       .segments = segments,
			       .segment_count = 3 };
	uint8_t note[FRAME_RING_NOTE];

	memset(note, 'n', sizeof(note));
	assert_true(frame_ring_put(ring, &frame, note, sizeof(note)));
	frame_ring_flush(ring);
	assert_int_equal(frame_ring_peek(ring)->length, FRAME_LENGTH_MAX);
	assert_memory_equal(frame_ring_peek(ring)->bytes, bytes, FRAME_LENGTH_MAX);
	assert_int_equal(frame_ring_peek(ring)->note_length, FRAME_RING_NOTE);
	assert_memory_equal(frame_ring_peek(ring)->note, note, FRAME_RING_NOTE);
}

static void test_refuses_what_is_too_long(void **state)
{
	struct frame_ring *ring = *state;
	struct frame frame = { .head = bytes, .head_length = 192, .length = FRAME_LENGTH_MAX + 1 };
	uint8_t note[FRAME_RING_NOTE + 1] = { 0 };

	assert_false(frame_ring_put(ring, &frame, NULL, 0));
	assert_false(frame_ring_put_bytes(ring, bytes, UINT32_MAX, NULL, 0));
	assert_false(frame_ring_put_bytes(ring, bytes, 60, note, sizeof(note)));
	frame_ring_flush(ring);
	assert_null(frame_ring_peek(ring));
}

/* Full with frames of any length at any place: nothing is overwritten, nothing lost. */
static void test_full_at_every_place(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 65553, 1514, 33, 9014, 40000, 191 };
	struct frame_ring *ring = *state;
	uint32_t put = 0, taken = 0;

	for (unsigned round = 0; round < 300; round++) {
		const struct frame_ring_entry *entry;
		uint32_t count = 0, lent = 0;

		while (frame_ring_put_bytes(ring, bytes, lengths[put % 8], &put, sizeof(put)))
			put++;
		frame_ring_flush(ring);
		for (entry = frame_ring_peek(ring); entry; entry = frame_ring_next(ring, entry)) {
			assert_entry(entry, lengths[(taken + count) % 8], taken + count);
			count++;
		}
		assert_int_equal(count, put - taken);
		assert_true(count >= 3);
		lent = 1 + round % count;
		frame_ring_pop(ring, lent);
		taken += lent;
	}
	frame_ring_pop(ring, UINT32_MAX);
	assert_null(frame_ring_peek(ring));
}

/* Room is what is free, to the byte; what stands empty before the end is not. */
static void test_room(void **state)
{
	struct frame_ring *ring = *state;
	size_t all = frame_ring_room(ring), left = all;

	assert_true(frame_ring_entry_size(60) >= sizeof(struct frame_ring_entry) + 60);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(frame_ring_put_bytes(ring, bytes, 60000, NULL, 0));
		left -= frame_ring_entry_size(60000);
		assert_int_equal(frame_ring_room(ring), left);
	}
	frame_ring_flush(ring);
	assert_true(left < frame_ring_entry_size(60000));
	frame_ring_pop(ring, 1);
	assert_int_equal(frame_ring_room(ring), left + frame_ring_entry_size(60000));
	assert_true(frame_ring_put_bytes(ring, bytes, 60000, NULL, 0));
	assert_int_equal(frame_ring_room(ring), 0);
	frame_ring_flush(ring);
	frame_ring_pop(ring, 4);
	assert_int_equal(frame_ring_room(ring), all);
}

static void test_wakes_who_is_armed(void **state)
{
	struct frame_ring *ring = *state;

	/* Nobody sleeps: nobody is woken. */
	assert_true(frame_ring_put_bytes(ring, bytes, 60, NULL, 0));
	frame_ring_flush(ring);
	assert_false(fires(ring, 0));
	assert_false(frame_ring_arm(ring));
	frame_ring_pop(ring, 1);
	assert_true(frame_ring_arm(ring));
	frame_ring_flush(ring);
	assert_false(fires(ring, 0));
	assert_true(frame_ring_put_bytes(ring, bytes, 60, NULL, 0));
	assert_false(fires(ring, 0));
	frame_ring_flush(ring);
	assert_true(fires(ring, 0));
	frame_ring_disarm(ring);
	assert_false(fires(ring, 0));
	/* Once only, until it is armed again. */
	assert_true(frame_ring_put_bytes(ring, bytes, 60, NULL, 0));
	frame_ring_flush(ring);
	assert_false(fires(ring, 0));
}

#define THREAD_FRAMES 200000u

static uint32_t length_of(uint32_t number)
{
	return 14 + (number * 2654435761u >> 18) % (number % 64 == 0 ? 60000 : 1600);
}

static void *put_all(void *argument)
{
	struct frame_ring *ring = argument;

	for (uint32_t i = 0; i < THREAD_FRAMES;) {
		uint32_t burst = 1 + i % 7;

		while (burst-- > 0 && i < THREAD_FRAMES &&
		       frame_ring_put_bytes(ring, bytes, length_of(i), &i, sizeof(i)))
			i++;
		frame_ring_flush(ring);
	}
	return NULL;
}

/* The taker sleeps whenever there is nothing: a wake-up that was lost would leave it asleep. */
static void test_two_threads(void **state)
{
	struct frame_ring *ring = *state;
	pthread_t putter;
	uint32_t taken = 0;

	assert_int_equal(pthread_create(&putter, NULL, put_all, ring), 0);
	while (taken < THREAD_FRAMES) {
		const struct frame_ring_entry *entry = frame_ring_peek(ring);
		uint32_t count = 0;

		if (!entry && frame_ring_arm(ring)) {
			assert_true(fires(ring, PATIENCE));
			frame_ring_disarm(ring);
		}
		for (; entry && count < 32; entry = frame_ring_next(ring, entry)) {
			if (entry->length != length_of(taken + count) ||
			    memcmp(entry->bytes, bytes, entry->length) != 0)
				fail_msg("frame %u is not what was put", taken + count);
			count++;
		}
		frame_ring_pop(ring, count);
		taken += count;
	}
	pthread_join(putter, NULL);
	assert_null(frame_ring_peek(ring));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_before_flush),
		TEST(test_pieces_become_one),
		TEST(test_refuses_what_is_too_long),
		TEST(test_full_at_every_place),
		TEST(test_room),
		TEST(test_wakes_who_is_armed),
		TEST(test_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
