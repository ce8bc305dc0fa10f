/* vhost-user/notifier.c: what can be signalled, and that it is, whatever the frontend does to it.
 * What would wait does so for ever, so each test ends or does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void expect_no_notifier(int fd)
{
	struct error error = { "" };

	assert_true(fd >= 0);
	assert_int_equal(notifier_check(fd, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no eventfd or UNIX socket"));
	assert_int_not_equal(notifier_signal(fd), 0);
	close(fd);
}

static void test_check(void **state)
{
	int ends[2], fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(notifier_check(fd, NULL), 0);
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(notifier_check(ends[0], NULL), 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	expect_no_notifier(ends[1]);
	expect_no_notifier(ends[0]);
	expect_no_notifier(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	expect_no_notifier(memfd_create("x", MFD_CLOEXEC));
	expect_no_notifier(open("/dev/null", O_RDWR | O_CLOEXEC));
	expect_no_notifier(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	expect_no_notifier(epoll_create1(EPOLL_CLOEXEC));
	expect_no_notifier(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	assert_int_equal(notifier_check(-1, NULL), -EINVAL);
	assert_int_not_equal(notifier_signal(-1), 0);
}

/* Also when it is full and its owner has let it block. */
static void test_eventfd(void **state)
{
	uint64_t count = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(notifier_signal(fd), 0);
	assert_int_equal(notifier_signal(fd), 0);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	count = UINT64_MAX - 1;
	assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count));
	for (int i = 0; i < 3; i++)
		assert_int_equal(notifier_signal(fd), 0);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(count >= UINT64_MAX - 1);
	assert_int_equal(notifier_signal(fd), 0);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	close(fd);
}

/* No SIGPIPE when the reader is gone: that would end the test. */
static void test_socket(void **state)
{
	uint64_t count = 0;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(notifier_signal(ends[1]), 0);
	assert_int_equal(read(ends[0], &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	while (send(ends[1], &count, sizeof(count), MSG_DONTWAIT) > 0)
		continue;
	assert_int_equal(notifier_signal(ends[1]), -EAGAIN);
	close(ends[0]);
	assert_int_equal(notifier_signal(ends[1]), -EPIPE);
	close(ends[1]);
}

#define SIGNALS 100000u

static void *signal_often(void *argument)
{
	uint32_t *failures = argument;
	uint64_t count = 0;
	int fd = eventfd(0, EFD_CLOEXEC);

	for (uint32_t i = 0; i < SIGNALS; i++)
		*failures += notifier_signal(fd) != 0;
	if (read(fd, &count, sizeof(count)) != sizeof(count) || count != SIGNALS)
		*failures += 1;
	close(fd);
	return NULL;
}

/* None is lost, though the places of the completions are shared. */
static void test_threads(void **state)
{
	pthread_t threads[4];
	uint32_t failures[4] = { 0 };

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, signal_often, &failures[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(failures[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_eventfd),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
