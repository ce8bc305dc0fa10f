/* vhost-user/foreign_fd.c: which descriptors of a frontend are taken for what, and that each is
 * closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void expect_notifier(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(foreign_fd_prepare_notifier(fd, NULL), 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	foreign_fd_close(fd);
	/* These never wait: closed at once. */
	assert_false(is_open(fd));
}

static void expect_no_notifier(int fd)
{
	struct error error = { "" };

	assert_true(fd >= 0);
	assert_int_equal(foreign_fd_prepare_notifier(fd, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no eventfd, pipe or socket"));
	assert_true(is_open(fd));
	foreign_fd_close(fd);
	while (is_open(fd))
		sched_yield();
}

static void test_notifiers(void **state)
{
	int fds[2];

	(void)state;
	expect_notifier(eventfd(0, EFD_CLOEXEC));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	expect_notifier(fds[0]);
	expect_notifier(fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	expect_notifier(fds[0]);
	expect_notifier(fds[1]);

	expect_no_notifier(memfd_create("x", MFD_CLOEXEC));
	expect_no_notifier(open("/dev/null", O_RDWR | O_CLOEXEC));
	expect_no_notifier(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	expect_no_notifier(epoll_create1(EPOLL_CLOEXEC));
	expect_no_notifier(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	assert_int_equal(foreign_fd_prepare_notifier(-1, NULL), -EINVAL);
}

static void test_memory(void **state)
{
	struct error error = { "" };
	int fd;

	(void)state;
	fd = memfd_create("x", MFD_CLOEXEC);
	assert_int_equal(foreign_fd_check_memory(fd, &error), 0);
	foreign_fd_close(fd);
	assert_false(is_open(fd));
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(foreign_fd_check_memory(fd, &error), -EINVAL);
	foreign_fd_close(fd);
	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	assert_int_equal(foreign_fd_check_memory(fd, &error), -EINVAL);
	assert_non_null(strstr(error.text, "proc file system"));
	foreign_fd_close(fd);
	assert_int_equal(foreign_fd_check_memory(-1, &error), -EINVAL);
	foreign_fd_close(-1);
}

static void test_signal(void **state)
{
	uint64_t count = 0;
	int fds[2], fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	foreign_fd_signal(fd);
	foreign_fd_signal(fd);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	close(fd);
	foreign_fd_signal(-1);

	/* A pipe whose reader is gone: no SIGPIPE, now or pending. */
	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	close(fds[0]);
	foreign_fd_signal(fds[1]);
	close(fds[1]);
	/* A full pipe does not hold us up. */
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(fds[1], &count, sizeof(count)) > 0)
		continue;
	foreign_fd_signal(fds[1]);
	close(fds[0]);
	close(fds[1]);
}

/* Many that might wait, faster than they can be closed. */
static void test_close_many(void **state)
{
	int fds[500];

	(void)state;
	for (int i = 0; i < 500; i++) {
		fds[i] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
	for (int i = 0; i < 500; i++)
		foreign_fd_close(fds[i]);
	for (int i = 0; i < 500; i++) {
		while (is_open(fds[i]))
			sched_yield();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notifiers),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_close_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
