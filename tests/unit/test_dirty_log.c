/* vhost-user/dirty_log.c: which bits a write sets, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/dirty_log.h"
#include "vhost-user/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_OFFSET 100u /* not on a page */
#define LOG_SIZE   64u	/* 512 pages */
#define LOG_PAGES  (LOG_SIZE * 8)

struct shared {
	struct dirty_log *log;
	int fd;
};

static int log_file(uint64_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void open_log(struct shared *shared)
{
	int fd = log_file(4096);

	shared->fd = dup(fd);
	assert_int_equal(dirty_log_open(fd, LOG_SIZE, LOG_OFFSET, &shared->log, NULL), 0);
}

static void close_log(struct shared *shared)
{
	dirty_log_close(shared->log);
	close(shared->fd);
}

/* Reads the log as the frontend does; checks that pages [first, first + count) and no others are
 * dirty, bytes around the log included, and cleans it. */
static void expect_dirty(const struct shared *shared, uint64_t first, uint64_t count)
{
	uint8_t expected[4096] = { 0 }, bytes[4096];

	for (uint64_t page = first; page < first + count; page++)
		expected[LOG_OFFSET + page / 8] |= (uint8_t)(1u << (page % 8));
	assert_int_equal(pread(shared->fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(pwrite(shared->fd, bytes, sizeof(bytes), 0), sizeof(bytes));
}

static void test_mark(void **state)
{
	struct shared shared;

	(void)state;
	open_log(&shared);
	dirty_log_mark(shared.log, 0, 1);
	expect_dirty(&shared, 0, 1);
	dirty_log_mark(shared.log, 4095, 1);
	expect_dirty(&shared, 0, 1);
	dirty_log_mark(shared.log, 4095, 2);
	expect_dirty(&shared, 0, 2);
	dirty_log_mark(shared.log, 7 * 4096, 4096);
	expect_dirty(&shared, 7, 1);
	dirty_log_mark(shared.log, 7 * 4096 + 1, 4096);
	expect_dirty(&shared, 7, 2);
	dirty_log_mark(shared.log, 5 * 4096, 65536);
	expect_dirty(&shared, 5, 16);
	dirty_log_mark(shared.log, 4096, 0);
	expect_dirty(&shared, 0, 0);
	/* Bits add up. */
	dirty_log_mark(shared.log, 8 * 4096, 1);
	dirty_log_mark(shared.log, 9 * 4096, 1);
	dirty_log_mark(shared.log, 8 * 4096, 1);
	expect_dirty(&shared, 8, 2);
	close_log(&shared);
}

static void test_beyond_the_log(void **state)
{
	struct shared shared;

	(void)state;
	open_log(&shared);
	dirty_log_mark(shared.log, (LOG_PAGES - 1) * 4096ull, 4096);
	expect_dirty(&shared, LOG_PAGES - 1, 1);
	dirty_log_mark(shared.log, (LOG_PAGES - 1) * 4096ull, 1u << 30);
	expect_dirty(&shared, LOG_PAGES - 1, 1);
	dirty_log_mark(shared.log, LOG_PAGES * 4096ull, 4096);
	expect_dirty(&shared, 0, 0);
	dirty_log_mark(shared.log, UINT64_MAX, 1);
	expect_dirty(&shared, 0, 0);
	/* The end wraps past 0: page 0 was not written. */
	dirty_log_mark(shared.log, UINT64_MAX, 4096);
	expect_dirty(&shared, 0, 0);
	dirty_log_mark(shared.log, 0, UINT64_MAX);
	expect_dirty(&shared, 0, LOG_PAGES);
	close_log(&shared);
}

static void test_refused(void **state)
{
	struct dirty_log *log = NULL;
	struct error error;
	int pipes[2];

	(void)state;
	assert_int_equal(dirty_log_open(log_file(4096), 0, 0, &log, &error), -EINVAL);
	assert_int_equal(dirty_log_open(log_file(4096), 4097, 0, &log, &error), -EINVAL);
	assert_non_null(strstr(error.text, "ends at 0x1001"));
	assert_int_equal(dirty_log_open(log_file(4096), 4096, 1, &log, &error), -EINVAL);
	assert_int_equal(dirty_log_open(log_file(4096), 2, UINT64_MAX, &log, &error), -EINVAL);
	assert_int_equal(dirty_log_open(log_file(4096), UINT64_MAX, 0, &log, &error), -EINVAL);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(dirty_log_open(pipes[0], 4096, 0, &log, &error), -EINVAL);
	/* Closed all the same: nobody reads that pipe any more. */
	while (fcntl(pipes[0], F_GETFD) >= 0)
		sched_yield();
	close(pipes[1]);
	assert_null(log);
	dirty_log_close(NULL);
}

static void test_truncated(void **state)
{
	int events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct shared shared;

	(void)state;
	assert_int_equal(guest_memory_handle_faults(events), 0);
	open_log(&shared);
	assert_false(dirty_log_faulted(shared.log));
	assert_int_equal(ftruncate(shared.fd, 0), 0);
	dirty_log_mark(shared.log, 0, 4096);
	assert_true(dirty_log_faulted(shared.log));
	assert_false(dirty_log_faulted(NULL));
	close_log(&shared);
	assert_int_equal(guest_memory_handle_faults(-1), 0);
	close(events);
}

struct marker {
	struct dirty_log *log;
	uint64_t parity;
};

static void *mark_every_other(void *argument)
{
	const struct marker *marker = argument;

	for (uint64_t page = marker->parity; page < LOG_PAGES; page += 2)
		dirty_log_mark(marker->log, page * 4096, 1);
	return NULL;
}

/* Two workers that share every byte of the log lose no bit of each other's. */
static void test_two_workers(void **state)
{
	struct shared shared;

	(void)state;
	open_log(&shared);
	for (int i = 0; i < 200; i++) {
		struct marker markers[2] = { { shared.log, 0 }, { shared.log, 1 } };
		pthread_t threads[2];

		for (int t = 0; t < 2; t++)
			assert_int_equal(
			    pthread_create(&threads[t], NULL, mark_every_other, &markers[t]), 0);
		for (int t = 0; t < 2; t++)
			pthread_join(threads[t], NULL);
		expect_dirty(&shared, 0, LOG_PAGES);
	}
	close_log(&shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mark),	    cmocka_unit_test(test_beyond_the_log),
		cmocka_unit_test(test_refused),	    cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_two_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
