/* Bursts through the file of a tap, which is a script here in place of io_batch.c: what it brings,
 * in which calls it is asked, and what it says of writes. test_port_tap.c has the kernel's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/vnet_header.h"
#include "vswitch/io_batch.h"
#include "vswitch/tap_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MESSAGES     2000u
#define CALLS	     100u
#define FRAME_SAMPLE 64u

struct message {
	int error; /* instead of bytes; all that follow have it, too */
	uint32_t length;
	uint8_t gso_type;
};

struct io_batch {
	char unused;
};

/* What happens at the file, for tests to set and to look at. */
static struct {
	struct message messages[MESSAGES];
	uint32_t count, next;
	uint32_t asked[CALLS], reads; /* how many each call asked for */
	int results[MESSAGES];	      /* of writes; 0: all of it is written */
	uint8_t written[MESSAGES][FRAME_SAMPLE];
	uint32_t lengths[MESSAGES];   /* of what was written */
	uint32_t writes, write_count; /* calls, messages */
} file;

struct io_batch *io_batch_create(int fd)
{
	return calloc(1, sizeof(struct io_batch));
}

void io_batch_destroy(struct io_batch *batch)
{
	free(batch);
}

bool io_batch_has_ring(const struct io_batch *batch)
{
	return true;
}

/* Byte `at` of message `number`, net header included. */
static uint8_t byte_of(uint32_t number, uint32_t at)
{
	if (at < VNET_HEADER_SIZE)
		return at == offsetof(struct vnet_header, gso_type) ? file.messages[number].gso_type
								    : 0;
	return (uint8_t)(number * 31 + at);
}

/* As a tap does: what finds no room is lost. */
static int read_message(const struct io_operation *operation)
{
	const struct message *message = &file.messages[file.next];
	uint32_t at = 0;

	if (file.next == file.count)
		return -EAGAIN;
	if (message->error != 0)
		return -message->error;
	for (uint32_t part = 0; part < operation->part_count; part++) {
		uint8_t *to = operation->parts[part].iov_base;

		for (size_t i = 0; i < operation->parts[part].iov_len && at < message->length; i++)
			to[i] = byte_of(file.next, at++);
	}
	file.next++;
	return (int)at;
}

void io_batch_read(struct io_batch *batch, struct io_operation *operations, uint32_t count)
{
	assert_in_range(count, 1, IO_BATCH_MAX);
	assert_true(file.reads < CALLS);
	file.asked[file.reads++] = count;
	for (uint32_t i = 0; i < count; i++)
		operations[i].result = read_message(&operations[i]);
}

static int write_message(const struct io_operation *operation)
{
	const uint32_t number = file.write_count++;
	uint8_t *sample = file.written[number];
	uint32_t length = 0;

	for (uint32_t part = 0; part < operation->part_count; part++) {
		const uint8_t *from = operation->parts[part].iov_base;

		for (size_t i = 0; i < operation->parts[part].iov_len; i++, length++)
			if (length < FRAME_SAMPLE)
				sample[length] = from[i];
	}
	file.lengths[number] = length;
	return file.results[number] == 0 ? (int)length : -file.results[number];
}

void io_batch_write(struct io_batch *batch, struct io_operation *operations, uint32_t count)
{
	assert_in_range(count, 1, IO_BATCH_MAX);
	assert_true(file.write_count + count <= MESSAGES);
	file.writes++;
	for (uint32_t i = 0; i < count; i++)
		operations[i].result = write_message(&operations[i]);
}

struct rig {
	struct tap_end end;
	struct tap_queue *queue;
	struct burst *burst;
	struct port_counters counters;
};

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	memset(&file, 0, sizeof(file));
	rig->end.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(rig->end.event_fd >= 0);
	rig->queue = tap_queue_create(rig->end.event_fd, &rig->end);
	rig->burst = burst_create();
	assert_non_null(rig->queue);
	assert_non_null(rig->burst);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	tap_queue_destroy(rig->queue);
	burst_destroy(rig->burst);
	close(rig->end.event_fd);
	free(rig);
	return 0;
}

static uint64_t drops(struct rig *rig, enum drop_reason reason)
{
	return atomic_load(&rig->counters.drops[reason]);
}

/* Frames of so many bytes come next, their net header not counted. */
static void arrive(uint32_t count, uint32_t length)
{
	assert_true(file.count + count <= MESSAGES);
	for (uint32_t i = 0; i < count; i++)
		file.messages[file.count++].length = VNET_HEADER_SIZE + length;
}

static bool is_good(const struct message *message)
{
	uint32_t length = message->length - VNET_HEADER_SIZE;

	return message->error == 0 && message->gso_type == VNET_GSO_NONE &&
	       message->length >= VNET_HEADER_SIZE && length >= FRAME_LENGTH_MIN &&
	       length <= FRAME_LENGTH_MAX;
}

/* Receives, and sees that the burst has the good ones of the messages that were read, in their
 * order, byte for byte. Returns what receive() did. */
static uint32_t receive(struct rig *rig)
{
	uint32_t before = file.next, n, at = 0;

	burst_reset(rig->burst);
	n = tap_queue_receive(rig->queue, rig->burst, &rig->counters);
	assert_int_equal(n, file.next - before);
	for (uint32_t number = before; number < file.next; number++) {
		static uint8_t bytes[FRAME_LENGTH_MAX];
		const struct frame *frame = &rig->burst->frames[at];

		if (!is_good(&file.messages[number]))
			continue;
		at++;
		assert_true(at <= rig->burst->count);
		assert_int_equal(frame->length, file.messages[number].length - VNET_HEADER_SIZE);
		frame_copy_out(frame, 0, frame->length, bytes);
		for (uint32_t i = 0; i < frame->length; i++)
			assert_int_equal(bytes[i], byte_of(number, VNET_HEADER_SIZE + i));
	}
	assert_int_equal(at, rig->burst->count);
	return n;
}

/* Frames of `length` bytes until calls ask for as much as they ever do. */
static void warm_up(struct rig *rig, uint32_t length)
{
	arrive(2 * IO_BATCH_MAX - 1, length);
	for (uint32_t n = 1; n <= IO_BATCH_MAX; n *= 2)
		assert_int_equal(receive(rig), n);
	file.reads = 0;
}

static void test_asks_for_as_much_as_comes(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(receive(rig), 0);
	warm_up(rig, 60);
	/* A full burst, in as few calls as can be. */
	arrive(BURST_FRAMES, 60);
	assert_int_equal(receive(rig), BURST_FRAMES);
	assert_int_equal(file.reads, BURST_FRAMES / IO_BATCH_MAX);
	/* A batch and no more: as many may come again. */
	for (unsigned i = 0; i < 2; i++) {
		arrive(IO_BATCH_MAX, 60);
		assert_int_equal(receive(rig), IO_BATCH_MAX);
		assert_int_equal(file.asked[file.reads - 2], IO_BATCH_MAX);
	}
	/* Few come, so few are asked for next. */
	arrive(7, 60);
	assert_int_equal(receive(rig), 7);
	arrive(2, 60);
	assert_int_equal(receive(rig), 2);
	assert_int_equal(file.asked[file.reads - 1], 8);
	assert_int_equal(receive(rig), 0);
	assert_int_equal(file.asked[file.reads - 1], 3);
	assert_int_equal(receive(rig), 0);
	assert_int_equal(file.asked[file.reads - 1], 1);
	assert_int_equal(atomic_load(&rig->counters.receive_packets), file.count);
	assert_int_equal(atomic_load(&rig->counters.receive_bytes), 60 * file.count);
}

static void test_long_frames_in_small_batches(void **state)
{
	struct rig *rig = *state;
	uint32_t n;

	/* Many were asked for when the first long ones come: all have room. */
	warm_up(rig, 60);
	arrive(700, 65535);
	assert_int_equal(receive(rig), IO_BATCH_MAX);
	while (file.next < file.count - 20) {
		n = receive(rig);
		assert_in_range(n, 6, 10); /* half a MiB */
	}
}

static void test_keeps_to_the_limit(void **state)
{
	struct rig *rig = *state;

	warm_up(rig, 60);
	arrive(300, 60);
	burst_reset(rig->burst);
	rig->burst->limit = 5;
	assert_int_equal(tap_queue_receive(rig->queue, rig->burst, &rig->counters), 5);
	assert_int_equal(rig->burst->count, 5);
	rig->burst->limit = 9; /* what is there stays */
	assert_int_equal(tap_queue_receive(rig->queue, rig->burst, &rig->counters), 4);
	assert_int_equal(rig->burst->count, 9);
	for (uint32_t i = 0; i < 9; i++)
		assert_int_equal(rig->burst->frames[i].head[0],
				 byte_of(2 * IO_BATCH_MAX - 1 + i, VNET_HEADER_SIZE));
}

/* Among good ones, and before the next batch of the same burst: no place is used twice. */
static void test_drops_what_is_no_frame(void **state)
{
	struct rig *rig = *state;
	const uint32_t groups = 2 * BURST_FRAMES / 8;
	struct message *first;

	warm_up(rig, 1000);
	first = &file.messages[file.count];
	arrive(8 * groups, 1000);
	for (uint32_t i = 0; i < 8 * groups; i += 8) {
		first[i].gso_type = 77;
		first[i + 1].length = VNET_HEADER_SIZE + FRAME_LENGTH_MIN - 1;
		first[i + 2].length = VNET_HEADER_SIZE - 1;
	}
	first[8 * groups - 1].length = VNET_HEADER_SIZE + FRAME_LENGTH_MAX + 1;
	first[8 * groups - 2].length = 70000;
	assert_int_equal(receive(rig), BURST_FRAMES);
	assert_int_equal(receive(rig), BURST_FRAMES);
	assert_int_equal(drops(rig, DROP_GSO_TYPE), groups);
	assert_int_equal(drops(rig, DROP_FRAME_SHORT), groups);
	assert_int_equal(drops(rig, DROP_CHAIN_HEADER), groups);
	assert_int_equal(drops(rig, DROP_FRAME_LONG), 2);
	assert_int_equal(atomic_load(&rig->counters.receive_packets), file.count - 3 * groups - 2);
}

static void assert_gone(struct rig *rig)
{
	uint64_t told;

	assert_true(tap_end_is_gone(&rig->end));
	assert_int_equal(read(rig->end.event_fd, &told, sizeof(told)), sizeof(told));
	assert_int_equal(told, 1);
}

static void test_deleted_while_reading(void **state)
{
	struct rig *rig = *state;
	uint32_t reads;

	warm_up(rig, 60);
	arrive(BURST_FRAMES, 60);
	file.messages[file.count - BURST_FRAMES + 100].error = EBADFD;
	assert_int_equal(receive(rig), 100);
	assert_gone(rig);
	reads = file.reads;
	assert_int_equal(receive(rig), 0);
	assert_int_equal(file.reads, reads);
	assert_true(tap_queue_arm(rig->queue));
}

/* Numbered frames of 60 bytes; or of 200, which have a segment. */
static void make_frames(uint32_t count, struct frame **frames)
{
	static struct frame all[BURST_FRAMES];
	static struct frame_segment segments[BURST_FRAMES];
	static uint8_t bytes[BURST_FRAMES][200];

	for (uint32_t i = 0; i < count; i++) {
		all[i] = (struct frame){ .head = bytes[i], .length = 60, .head_length = 60 };
		if (i % 3 == 1) {
			segments[i] = (struct frame_segment){ bytes[i] + 150, 50 };
			all[i] = (struct frame){ .head = bytes[i],
						 .segments = &segments[i],
						 .length = 200,
						 .head_length = 150,
						 .segment_count = 1 };
		}
		bytes[i][20] = (uint8_t)i;
		frames[i] = &all[i];
	}
}

static uint32_t send_all(struct rig *rig, uint32_t count)
{
	struct frame *frames[BURST_FRAMES];

	make_frames(count, frames);
	return tap_queue_send(rig->queue, frames, count, &rig->counters);
}

static void test_sends_in_few_calls(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(send_all(rig, BURST_FRAMES), BURST_FRAMES);
	assert_int_equal(file.writes, BURST_FRAMES / IO_BATCH_MAX);
	assert_int_equal(file.write_count, BURST_FRAMES);
	for (uint32_t i = 0; i < BURST_FRAMES; i++) {
		assert_int_equal(file.written[i][VNET_HEADER_SIZE + 20], (uint8_t)i);
		assert_int_equal(file.lengths[i], VNET_HEADER_SIZE + (i % 3 == 1 ? 200 : 60));
	}
	assert_int_equal(atomic_load(&rig->counters.transmit_packets), BURST_FRAMES);
	assert_int_equal(atomic_load(&rig->counters.transmit_bytes),
			 60 * BURST_FRAMES + 140 * (BURST_FRAMES / 3));
}

/* Each error among good ones, counted by its name; the others go out. */
static void test_write_errors(void **state)
{
	static const struct {
		int code;
		enum drop_reason reason;
	} errors[] = {
		{ EAGAIN, DROP_NO_BUFFERS },   { ENOBUFS, DROP_NO_BUFFERS },
		{ ENOMEM, DROP_NO_BUFFERS },   { EIO, DROP_PORT_DOWN },
		{ EINVAL, DROP_WRITE_FAILED }, { EMSGSIZE, DROP_FRAME_TOO_LONG_FOR_PORT },
	};
	const uint32_t count = sizeof(errors) / sizeof(errors[0]);
	struct rig *rig = *state;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t before = drops(rig, errors[i].reason);

		file.results[file.write_count + 3] = errors[i].code;
		assert_int_equal(send_all(rig, 10), 9);
		assert_int_equal(drops(rig, errors[i].reason), before + 1);
	}
	assert_int_equal(atomic_load(&rig->counters.transmit_packets), 9 * count);
	assert_false(tap_end_is_gone(&rig->end));
}

static void test_deleted_while_writing(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 50; i < MESSAGES; i++)
		file.results[i] = EBADFD;
	assert_int_equal(send_all(rig, BURST_FRAMES), 50);
	assert_int_equal(file.writes, 1);
	assert_int_equal(drops(rig, DROP_PORT_DOWN), BURST_FRAMES - 50);
	assert_gone(rig);
	assert_int_equal(send_all(rig, 10), 0);
	assert_int_equal(file.writes, 1);
	assert_int_equal(drops(rig, DROP_PORT_DOWN), BURST_FRAMES - 50 + 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_asks_for_as_much_as_comes),
		TEST(test_long_frames_in_small_batches),
		TEST(test_keeps_to_the_limit),
		TEST(test_drops_what_is_no_frame),
		TEST(test_deleted_while_reading),
		TEST(test_sends_in_few_calls),
		TEST(test_write_errors),
		TEST(test_deleted_while_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
