/* Batches of reads and writes on a pair of sockets that keep messages apart, and what becomes of a
 * batch that the kernel takes in part, or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/io_batch.h"

#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The library's own, with faults: in the first call after it is set, an entry that the kernel
 * refuses, behind which it takes no more; in those after that, an error. */
static bool fails;
static unsigned calls, refused;

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
	static int (*submit)(struct io_uring *, unsigned);

	if (submit == NULL)
		*(void **)&submit = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
	calls++;
	if (refused != 0)
		ring->sq.sqes[(ring->sq.sqe_head + refused) & *ring->sq.kring_mask].opcode = 255;
	else if (fails)
		return -ENOMEM;
	refused = 0;
	return submit(ring, wait_nr);
}

struct rig {
	struct io_batch *batch;
	int ends[2]; /* ours, the peer's */
	struct io_operation operations[IO_BATCH_MAX];
	struct iovec parts[IO_BATCH_MAX];
	uint8_t bytes[IO_BATCH_MAX][16];
};

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	uint8_t byte;

	assert_non_null(rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, rig->ends), 0);
	rig->batch = io_batch_create(rig->ends[0]);
	assert_non_null(rig->batch);
	while (recv(rig->ends[1], &byte, 1, 0) >= 0)
		; /* it has tried whether it works */
	fails = false;
	refused = calls = 0;
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	io_batch_destroy(rig->batch);
	close(rig->ends[0]);
	close(rig->ends[1]);
	free(rig);
	return 0;
}

/* Operation i has i + 1 bytes, the first is i. */
static void prepare(struct rig *rig, bool whole)
{
	for (uint32_t i = 0; i < IO_BATCH_MAX; i++) {
		rig->bytes[i][0] = (uint8_t)i;
		rig->parts[i] = (struct iovec){ rig->bytes[i], whole ? 16 : 1 + i % 16 };
		rig->operations[i] =
		    (struct io_operation){ .parts = &rig->parts[i], .part_count = 1 };
	}
}

/* All writes but that of `lost` have come to the peer, in their order. */
static void assert_written(struct rig *rig, uint32_t lost)
{
	uint8_t bytes[16];

	for (uint32_t i = 0; i < IO_BATCH_MAX; i++) {
		if (i == lost) {
			assert_true(rig->operations[i].result < 0);
			continue;
		}
		assert_int_equal(rig->operations[i].result, 1 + i % 16);
		assert_int_equal(recv(rig->ends[1], bytes, sizeof(bytes), 0), 1 + i % 16);
		assert_int_equal(bytes[0], i);
	}
	assert_int_equal(recv(rig->ends[1], bytes, sizeof(bytes), 0), -1);
}

static void send_numbered(struct rig *rig, uint32_t count)
{
	for (uint8_t i = 0; i < count; i++)
		assert_int_equal(send(rig->ends[1], &i, 1, 0), 1);
}

/* The first `count` reads have got what was sent, the others nothing. */
static void assert_read(struct rig *rig, uint32_t count)
{
	for (uint32_t i = 0; i < IO_BATCH_MAX; i++) {
		assert_int_equal(rig->operations[i].result, i < count ? 1 : -EAGAIN);
		if (i < count)
			assert_int_equal(rig->bytes[i][0], i);
	}
}

static void test_writes(void **state)
{
	struct rig *rig = *state;

	prepare(rig, false);
	io_batch_write(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_written(rig, IO_BATCH_MAX);
	assert_int_equal(calls, io_batch_has_ring(rig->batch) ? 1 : 0);
	/* One alone, which needs no ring. */
	io_batch_write(rig->batch, rig->operations, 1);
	assert_int_equal(rig->operations[0].result, 1);
	assert_int_equal(recv(rig->ends[1], rig->bytes[0], 16, 0), 1);
	assert_int_equal(calls, io_batch_has_ring(rig->batch) ? 1 : 0);
}

static void test_write_of_bad_memory(void **state)
{
	struct rig *rig = *state;

	prepare(rig, false);
	rig->parts[5].iov_base = NULL;
	io_batch_write(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_int_equal(rig->operations[5].result, -EFAULT);
	assert_written(rig, 5);
}

static void test_reads(void **state)
{
	static const uint32_t counts[] = { 0, 1, 7, IO_BATCH_MAX };
	struct rig *rig = *state;

	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		send_numbered(rig, counts[i]);
		prepare(rig, true);
		io_batch_read(rig->batch, rig->operations, IO_BATCH_MAX);
		assert_read(rig, counts[i]);
	}
}

/* The kernel stops in the middle: what is left goes with the next call. */
static void test_taken_in_part(void **state)
{
	struct rig *rig = *state;

	if (!io_batch_has_ring(rig->batch))
		skip();
	prepare(rig, false);
	refused = 9;
	io_batch_write(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_int_equal(rig->operations[9].result, -EINVAL);
	assert_written(rig, 9);
	assert_int_equal(calls, 2);
	assert_true(io_batch_has_ring(rig->batch));
}

/* And takes no more then: the rest is done without the ring, once and in order. */
static void test_fails_in_the_middle(void **state)
{
	struct rig *rig = *state;

	if (!io_batch_has_ring(rig->batch))
		skip();
	prepare(rig, false);
	refused = 9;
	fails = true;
	io_batch_write(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_written(rig, 9);
	assert_false(io_batch_has_ring(rig->batch));
	/* From then on without. */
	calls = 0;
	send_numbered(rig, 5);
	prepare(rig, true);
	io_batch_read(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_read(rig, 5);
	assert_int_equal(calls, 0);
}

static void test_read_fails(void **state)
{
	struct rig *rig = *state;

	fails = true;
	send_numbered(rig, 5);
	prepare(rig, true);
	io_batch_read(rig->batch, rig->operations, IO_BATCH_MAX);
	assert_read(rig, 5);
	assert_false(io_batch_has_ring(rig->batch));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_writes),	  TEST(test_write_of_bad_memory), TEST(test_reads),
		TEST(test_taken_in_part), TEST(test_fails_in_the_middle), TEST(test_read_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
