/* vhost-user/foreign_fd.c: which descriptors of a frontend are taken for what, and that each is
 * closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/stuck.h"
#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void close_and_wait(int fd)
{
	foreign_fd_close(fd);
	while (is_open(fd))
		sched_yield();
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

/* Others are closed though one is not, and the number of those that wait has a bound. */
static void test_close_stuck(void **state)
{
	struct stuck stuck[20];
	int fds[2048], count = 0, first = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	time_t second = time(NULL);

	(void)state;
	for (int i = 0; i < 20; i++)
		stuck[i] = stuck_open();
	close_and_wait(stuck[0].fd);
	foreign_fd_close(first);
	for (int nudges = 0; is_open(first); sched_yield()) {
		if (time(NULL) == second)
			continue;
		second = time(NULL);
		assert_true(++nudges < 30);
		foreign_fd_close(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	}
	assert_false(foreign_fd_overloaded());
	for (int i = 1; i < 20; i++)
		foreign_fd_close(stuck[i].fd);
	while (!foreign_fd_overloaded()) {
		assert_true(count < 2048);
		fds[count] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		assert_true(fds[count] >= 0);
		foreign_fd_close(fds[count++]);
	}
	for (int i = 0; i < 20; i++)
		close(stuck[i].peer);
	for (int i = 0; i < count; i++) {
		while (is_open(fds[i]))
			sched_yield();
	}
	assert_false(foreign_fd_overloaded());
}

int main(void)
{
	struct rlimit files;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_close_many),
		cmocka_unit_test(test_close_stuck),
	};

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 1;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
