/* Indices and notifications of the split ring: who is called and when, arming, resuming, flushing,
 * and the dirty log. */
#include "split_rig.h"

#include "vhost-user/dirty_log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

static void send_one(struct rig *rig)
{
	struct rig_buffer buffer = { RIG_DATA, 72 };

	rig_chain(rig, &buffer, 1, 0, false);
}

static uint16_t *used_event(struct rig *rig)
{
	return &rig->available[2 + rig->vq.size];
}

static uint16_t *avail_event(struct rig *rig)
{
	return &rig->used[2 + 4 * rig->vq.size];
}

static void calls_unless_told_not_to(void **state)
{
	struct rig *rig = rig_create(1, 8);

	for (uint16_t flag = 0; flag < 2; flag++) {
		rig->available[0] = flag;
		send_one(rig);
		send_one(rig);
		assert_int_equal(rig_from_guest(rig), 2);
		assert_int_equal(rig_calls(rig), 0);
		virtqueue_from_guest_done(&rig->vq);
		assert_int_equal(rig_calls(rig), flag ? 0 : 1);
		/* Nothing to return: nothing to tell. */
		virtqueue_from_guest_done(&rig->vq);
		assert_int_equal(rig_calls(rig), 0);
	}
	assert_int_equal(rig->vq.calls, 1);
	rig_destroy(rig);
}

/* 2.7.10, by its words rather than its formula: called when the entry at used_event is among those
 * that became used since the last decision. */
static void calls_when_the_event_is_passed(void **state)
{
	static const uint16_t starts[] = { 0, 1, 32760, 65530, 65535 };

	for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		struct rig *rig = rig_create(1, 16);
		uint16_t position = starts[s];

		rig->vq.event_idx = true;
		rig_start_at(rig, position);
		/* The first decision cannot know what came before. */
		*used_event(rig) = (uint16_t)(position + 100);
		send_one(rig);
		rig_from_guest(rig);
		virtqueue_from_guest_done(&rig->vq);
		assert_int_equal(rig_calls(rig), 1);
		position++;
		for (int i = 0; i < 3000; i++) {
			uint16_t count = (uint16_t)(1 + i % 16);
			uint16_t event = (uint16_t)(position + i * 7 % 41 - 20);
			bool passed = false;

			*used_event(rig) = event;
			for (uint16_t n = 0; n < count; n++) {
				passed |= (uint16_t)(position + n) == event;
				send_one(rig);
			}
			assert_int_equal(rig_from_guest(rig), count);
			virtqueue_from_guest_done(&rig->vq);
			assert_int_equal(rig_calls(rig), passed ? 1 : 0);
			position = (uint16_t)(position + count);
		}
		rig_destroy(rig);
	}
}

static void calls_for_received_frames(void **state)
{
	struct rig *rig = rig_create(0, 16);
	uint8_t head[FRAME_SLOT] = { 0 };
	struct frame frame = { .head = head + FRAME_HEADROOM, .length = 60, .head_length = 60 };
	struct frame *frames[] = { &frame, &frame, &frame };
	struct rig_buffer buffer = { RIG_DATA, 200 };

	rig->vq.event_idx = true;
	for (int i = 0; i < 9; i++)
		rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	*used_event(rig) = 1000;
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 3);
	assert_int_equal(rig_calls(rig), 1);
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 3);
	assert_int_equal(rig_calls(rig), 0);
	*used_event(rig) = 7;
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 3);
	assert_int_equal(rig_calls(rig), 1);
	/* No buffers, nothing used, no call. */
	*used_event(rig) = 9;
	assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 3, &rig->counters), 0);
	assert_int_equal(rig_calls(rig), 0);
	rig_destroy(rig);
}

/* Of a shallow frame the receiver sees the head that was checked, whatever its sender has written
 * there since, and not a byte more than the frame has. */
static void sends_shallow_frames(void **state)
{
	static uint8_t sender[4096], expected[4096];
	uint8_t head[FRAME_SLOT];

	for (uint32_t length = FRAME_HEAD_SHALLOW + 1; length < 2500;
	     length += length < 300 ? 1 : 41) {
		struct rig *rig = rig_create(0, 16);
		struct frame_segment segment = { sender + 64, length - FRAME_HEAD_SHALLOW };
		struct frame frame = { .head = head + FRAME_HEADROOM,
				       .segments = &segment,
				       .length = length,
				       .head_length = FRAME_HEAD_SHALLOW,
				       .segment_count = 1,
				       .shallow = 1 };
		struct frame *frames[] = { &frame, &frame };
		struct rig_buffer buffers[] = { { RIG_DATA, 12 + length },
						{ RIG_DATA + 8192, 3000 } };

		rig_pattern(sender, sizeof(sender), length);
		rig_pattern(head, sizeof(head), length + 1);
		memset(expected, 0, 12);
		expected[10] = 1; /* num_buffers */
		memcpy(expected + 12, frame.head, FRAME_HEAD_SHALLOW);
		memcpy(expected + 64, sender + 64, length - FRAME_HEAD_SHALLOW);
		for (int i = 0; i < 2; i++) {
			memset(rig_at(rig, buffers[i].address, 4096), 0xee, 4096);
			rig_chain(rig, &buffers[i], 1, RIG_WRITE, false);
		}
		assert_int_equal(virtqueue_to_guest(&rig->vq, frames, 2, &rig->counters), 2);
		for (uint32_t i = 0; i < 2; i++) {
			uint8_t *got = rig_at(rig, buffers[i].address, 4096);

			rig_expect_used(rig, i, 12 + length);
			assert_memory_equal(got, expected, 12 + length);
			assert_int_equal(got[12 + length], 0xee);
		}
		rig_destroy(rig);
	}
}

static void arms_by_flags(void **state)
{
	struct rig *rig = rig_create(1, 8);

	assert_int_equal(rig->used[0], 1); /* a queue starts polled */
	assert_true(virtqueue_arm(&rig->vq));
	assert_int_equal(rig->used[0], 0);
	virtqueue_disarm(&rig->vq);
	assert_int_equal(rig->used[0], 1);
	/* The guest added an entry while it still saw "do not kick": arming must notice. */
	send_one(rig);
	assert_false(virtqueue_arm(&rig->vq));
	assert_int_equal(rig->used[0], 1);
	assert_int_equal(rig_from_guest(rig), 1);
	/* Taken is enough, it need not be returned. */
	assert_true(virtqueue_arm(&rig->vq));
	rig_destroy(rig);
}

static void arms_by_event_index(void **state)
{
	static const uint16_t starts[] = { 0, 65534, 65535, 32767 };

	for (size_t s = 0; s < 4; s++) {
		struct rig *rig = rig_create(1, 8);

		rig->vq.event_idx = true;
		rig_start_at(rig, starts[s]);
		/* Far behind: entries to come do not pass it. */
		assert_int_equal(*avail_event(rig), (uint16_t)(starts[s] - 1));
		assert_true(virtqueue_arm(&rig->vq));
		assert_int_equal(*avail_event(rig), starts[s]);
		send_one(rig);
		send_one(rig);
		assert_false(virtqueue_arm(&rig->vq));
		assert_int_equal(*avail_event(rig), (uint16_t)(starts[s] - 1));
		assert_int_equal(rig_from_guest(rig), 2);
		assert_true(virtqueue_arm(&rig->vq));
		assert_int_equal(*avail_event(rig), (uint16_t)(starts[s] + 2));
		rig_destroy(rig);
	}
}

/* A new process goes on where the used index is: what was taken and not returned comes again. */
static void resumes_at_the_used_index(void **state)
{
	struct rig *rig = rig_create(1, 8);

	rig_start_at(rig, 65533);
	for (int i = 0; i < 5; i++)
		send_one(rig);
	burst_reset(rig->burst);
	rig->burst->limit = 2;
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 2);
	virtqueue_from_guest_done(&rig->vq);
	assert_int_equal(virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters), 0);
	assert_int_equal(rig_from_guest(rig), 3);
	assert_int_equal(virtqueue_prepare(&rig->vq), 0);
	assert_int_equal(virtqueue_split_resume(&rig->vq), 65535);
	assert_int_equal(rig_from_guest(rig), 3);
	virtqueue_from_guest_done(&rig->vq);
	for (uint32_t i = 0; i < 5; i++)
		rig_expect_used(rig, i, 0);
	rig_expect_no_used(rig);
	assert_int_equal(rig->used[1], 2);
	rig_destroy(rig);
}

static void flush_returns_all_and_calls_once(void **state)
{
	struct rig *rig = rig_create(1, 8);
	struct virtqueue never_started = { .ops = virtqueue_ops_best(VIRTQUEUE_SPLIT),
					   .call_fd = -1 };

	rig->available[0] = 1; /* even a guest that polls is called */
	send_one(rig);
	send_one(rig);
	assert_int_equal(rig_from_guest(rig), 2);
	virtqueue_flush(&rig->vq);
	rig_expect_used(rig, 0, 0);
	rig_expect_used(rig, 1, 0);
	assert_int_equal(rig_calls(rig), 1);
	rig->available[0] = 0;
	send_one(rig);
	assert_int_equal(rig_from_guest(rig), 1);
	virtqueue_flush(&rig->vq);
	assert_int_equal(rig_calls(rig), 1);
	virtqueue_flush(&never_started);
	virtqueue_release(&never_started);
	rig_destroy(rig);
}

static void call_takes_sockets_and_broken_fds(void **state)
{
	struct rig *rig = rig_create(1, 8);
	uint64_t word;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	rig->vq.call_fd = ends[1];
	virtqueue_call(&rig->vq);
	assert_int_equal(read(ends[0], &word, sizeof(word)), sizeof(word));
	assert_int_equal(rig->vq.call_failures, 0);
	while (send(ends[1], &word, sizeof(word), MSG_DONTWAIT) == sizeof(word))
		;
	virtqueue_call(&rig->vq);
	assert_int_equal(rig->vq.call_failures, 1);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	virtqueue_call(&rig->vq);
	assert_int_equal(rig->vq.call_failures, 2);
	rig->vq.call_fd = -1;
	virtqueue_call(&rig->vq);
	assert_int_equal(rig->vq.call_failures, 2);
	assert_int_equal(rig->vq.calls, 3);
	close(ends[1]);
	rig_destroy(rig);
}

/* The log: exactly the pages in `pages`, which are then cleared. */
static void expect_dirty(struct dirty_log *log, const uint64_t *pages, size_t count)
{
	for (uint64_t page = 0; page < log->size * 8; page++) {
		bool dirty = (log->bits[page / 8] >> (page % 8) & 1) != 0, expected = false;

		for (size_t i = 0; i < count; i++)
			expected |= pages[i] == page;
		if (dirty != expected)
			fail_msg("page %#lx: %d", (unsigned long)page, dirty);
	}
	for (uint64_t i = 0; i < log->size; i++)
		log->bits[i] = 0;
}

#define PAGE(address) ((address) / DIRTY_LOG_PAGE)

static void marks_written_pages(void **state)
{
	static _Atomic uint8_t bits[0x8000];
	struct dirty_log log = { .bits = bits, .size = sizeof(bits) };
	struct rig *rig = rig_create(0, 1024);
	uint8_t head[FRAME_SLOT] = { 0 };
	static uint8_t payload[12000];
	struct frame_segment segment = { payload, 9000 };
	struct frame small = { .head = head + FRAME_HEADROOM, .length = 60, .head_length = 60 };
	struct frame large = { .head = head + FRAME_HEADROOM,
			       .length = FRAME_HEAD_MAX + 9000,
			       .head_length = FRAME_HEAD_MAX,
			       .segments = &segment,
			       .segment_count = 1 };
	struct frame *frame = &small;
	struct rig_buffer buffer = { RIG_DATA + 4096 - 20, 200 };
	struct rig_buffer parts[] = { { RIG_DATA + 0x3000 - 11, 11 }, { RIG_DATA + 0x9000, 4085 } };
	uint64_t ring = PAGE(RIG_LOG_USED);

	rig->vq.log = &log;
	/* The guest's pages only. */
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	assert_int_equal(virtqueue_to_guest(&rig->vq, &frame, 1, &rig->counters), 1);
	expect_dirty(&log, (uint64_t[]){ PAGE(RIG_DATA), PAGE(RIG_DATA) + 1 }, 2);
	/* The used ring too: 1,024 entries from RIG_LOG_USED + 4 on, index at + 2. */
	rig->vq.log_used = true;
	rig->vq.log_used_address = RIG_LOG_USED;
	buffer.address = RIG_DATA;
	rig_chain(rig, &buffer, 1, RIG_WRITE, false);
	assert_int_equal(virtqueue_to_guest(&rig->vq, &frame, 1, &rig->counters), 1);
	expect_dirty(&log, (uint64_t[]){ PAGE(RIG_DATA), ring }, 2);
	/* Entries in the middle, and over the end. */
	rig_start_at(rig, 1000);
	expect_dirty(&log, &ring, 1);
	for (int i = 0; i < 23; i++) {
		rig_chain(rig, &buffer, 1, RIG_WRITE, false);
		assert_int_equal(virtqueue_to_guest(&rig->vq, &frame, 1, &rig->counters), 1);
	}
	expect_dirty(&log, (uint64_t[]){ PAGE(RIG_DATA), ring, ring + 1 }, 3);
	/* Mergeable, in three chains of two buffers: first the header is cut after 11 bytes. */
	rig->vq.mergeable = true;
	frame = &large;
	for (int i = 0; i < 3; i++)
		rig_chain(rig, parts, 2, RIG_WRITE, false);
	assert_int_equal(virtqueue_to_guest(&rig->vq, &frame, 1, &rig->counters), 1);
	expect_dirty(
	    &log, (uint64_t[]){ PAGE(RIG_DATA) + 2, PAGE(RIG_DATA) + 9, ring, ring + 1, ring + 2 },
	    5);
	rig_destroy(rig);
}

static void marks_returned_chains(void **state)
{
	static _Atomic uint8_t bits[0x8000];
	struct dirty_log log = { .bits = bits, .size = sizeof(bits) };
	struct rig *rig = rig_create(1, 1024);
	uint64_t ring = PAGE(RIG_LOG_USED + 4096 - 8);

	rig->vq.log = &log;
	rig->vq.log_used = true;
	rig->vq.log_used_address = RIG_LOG_USED + 4096 - 8; /* flags, index, half an entry */
	rig->vq.event_idx = true;
	send_one(rig);
	rig_from_guest(rig);
	expect_dirty(&log, NULL, 0);
	virtqueue_from_guest_done(&rig->vq);
	expect_dirty(&log, (uint64_t[]){ ring, ring + 1 }, 2);
	virtqueue_arm(&rig->vq); /* avail_event, behind all entries */
	expect_dirty(&log, (uint64_t[]){ PAGE(RIG_LOG_USED + 4096 - 8 + 4 + 8 * 1024) }, 1);
	/* A log too small for these addresses stays unharmed. */
	log.size = 16;
	send_one(rig);
	rig_from_guest(rig);
	virtqueue_from_guest_done(&rig->vq);
	log.size = sizeof(bits);
	expect_dirty(&log, NULL, 0);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_unless_told_not_to),
		cmocka_unit_test(calls_when_the_event_is_passed),
		cmocka_unit_test(calls_for_received_frames),
		cmocka_unit_test(sends_shallow_frames),
		cmocka_unit_test(arms_by_flags),
		cmocka_unit_test(arms_by_event_index),
		cmocka_unit_test(resumes_at_the_used_index),
		cmocka_unit_test(flush_returns_all_and_calls_once),
		cmocka_unit_test(call_takes_sockets_and_broken_fds),
		cmocka_unit_test(marks_written_pages),
		cmocka_unit_test(marks_returned_chains),
	};

	int failed = 0;

	for (; rig_ops(VIRTQUEUE_SPLIT) != NULL; rig_variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
