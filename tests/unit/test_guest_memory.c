/* vhost-user/guest_memory.c and fault.c: the region table, its lookups, what it refuses, and a file
 * that shrinks under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/guest_memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define MIB  (1024u * 1024u)

static int fault_fd;

static int memory_file(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static struct guest_memory_region_request region(uint64_t guest, uint64_t size, uint64_t user,
						 uint64_t offset)
{
	return (struct guest_memory_region_request){ guest, size, user, offset };
}

static uint32_t open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static uint32_t mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	uint32_t count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		count += strstr(line, "memfd:guest") != NULL;
	fclose(file);
	return count;
}

static void *at(const struct guest_memory *memory, uint64_t address, uint32_t wanted,
		uint32_t expected)
{
	uint32_t length = wanted;
	void *host = guest_memory_at(memory, address, &length);

	if (host != NULL)
		assert_int_equal(length, expected);
	return host;
}

static void test_lookup(void **state)
{
	/* Not in order, with a hole between, adjoining at 0x3000. */
	struct guest_memory_region_request requests[] = {
		region(0x3000, 0x2000, 0x903000, 0x1000),
		region(0x1000, 0x2000, 0x801000, 0),
		region(0x100000000, MIB, 0x7f0000000000, 0),
	};
	int fds[] = { memory_file(0x3000), memory_file(0x2000), memory_file(MIB) };
	int keep = dup(fds[0]);
	struct guest_memory *memory;
	uint64_t address;
	uint8_t byte = 0;
	uint8_t *host;

	(void)state;
	assert_int_equal(guest_memory_create(requests, fds, 3, &memory, NULL), 0);
	assert_int_equal(memory->region_count, 3);
	assert_int_equal(memory->regions[0].guest_address, 0x1000);
	assert_int_equal(memory->regions[2].guest_address, 0x100000000);

	assert_null(at(memory, 0, 1, 0));
	assert_null(at(memory, 0xfff, 1, 0));
	assert_non_null(at(memory, 0x1000, 1, 1));
	assert_non_null(at(memory, 0x2fff, 100, 1));
	assert_non_null(at(memory, 0x3000, PAGE, PAGE));
	assert_non_null(at(memory, 0x4fff, UINT32_MAX, 1));
	assert_null(at(memory, 0x5000, 1, 0));
	assert_non_null(at(memory, 0x100000000, UINT32_MAX, MIB));
	assert_null(at(memory, 0x100000000 + MIB, 1, 0));
	assert_null(at(memory, UINT64_MAX, UINT32_MAX, 0));

	/* The mapping starts at the region's offset in the file. */
	host = at(memory, 0x3000, 1, 1);
	*host = 0x5a;
	assert_int_equal(pread(keep, &byte, 1, 0x1000), 1);
	assert_int_equal(byte, 0x5a);

	assert_ptr_equal(guest_memory_at_user(memory, 0x903000, 0x2000), host);
	assert_null(guest_memory_at_user(memory, 0x903000, 0x2001));
	assert_null(guest_memory_at_user(memory, 0x903001, UINT64_MAX));
	assert_null(guest_memory_at_user(memory, 0x902fff, 1));
	assert_null(guest_memory_at_user(memory, 0x3000, 1));
	assert_null(guest_memory_at_user(NULL, 0x3000, 1));

	assert_true(guest_memory_guest_address(memory, host + 5, &address));
	assert_int_equal(address, 0x3005);
	assert_false(guest_memory_guest_address(memory, &byte, &address));
	assert_false(guest_memory_faulted(memory));
	assert_false(guest_memory_faulted(NULL));
	guest_memory_release(memory);
	guest_memory_release(NULL);
	close(keep);
}

static void test_offset_inside_a_page(void **state)
{
	struct guest_memory_region_request request = region(0, PAGE, 0, 0x1800);
	int fd = memory_file(3 * PAGE), keep = dup(fd);
	struct guest_memory *memory;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(guest_memory_create(&request, &fd, 1, &memory, NULL), 0);
	*(uint8_t *)at(memory, PAGE - 1, 1, 1) = 0xa5;
	assert_int_equal(pread(keep, &byte, 1, 0x1800 + PAGE - 1), 1);
	assert_int_equal(byte, 0xa5);
	guest_memory_release(memory);
	close(keep);
}

/* Each is refused with a reason, and leaves no fd and no mapping. */
static void test_refused(void **state)
{
	static const struct {
		struct guest_memory_region_request first, second;
		uint64_t file_size;
		int rc;
		const char *reason;
	} cases[] = {
		{ { 0, PAGE, 0, 0 }, { PAGE, 0, PAGE, 0 }, PAGE, -EINVAL, "size 0" },
		{ { 0, PAGE, 0, 0 }, { UINT64_MAX, 2, PAGE, 0 }, PAGE, -EINVAL, "address space" },
		{ { 0, PAGE, 0, 0 }, { PAGE, 2, UINT64_MAX, 0 }, PAGE, -EINVAL, "address space" },
		{ { 0, PAGE, 0, 0 }, { PAGE, PAGE, PAGE, UINT64_MAX }, PAGE, -EINVAL, "any file" },
		{ { 0, PAGE, 0, 0 },
		  { PAGE, PAGE, PAGE, INT64_MAX - PAGE },
		  PAGE,
		  -EINVAL,
		  "any file" },
		{ { 0, PAGE, 0, 0 }, { PAGE, PAGE, PAGE, 1 }, PAGE, -EINVAL, "ends at 0x1001" },
		{ { 0, PAGE, 0, 0 }, { PAGE, PAGE + 1, PAGE, 0 }, PAGE, -EINVAL, "ends at" },
		{ { 0, PAGE, 0, 0 }, { PAGE - 1, PAGE, PAGE, 0 }, PAGE, -EINVAL, "overlaps" },
		{ { PAGE, PAGE, 0, 0 }, { 0, PAGE + 1, PAGE, 0 }, 2 * PAGE, -EINVAL, "overlaps" },
		{ { 0, PAGE, 0, 0 }, { PAGE, PAGE, PAGE - 1, 0 }, PAGE, -EINVAL, "overlaps" },
		{ { PAGE, PAGE, PAGE, 0 }, { PAGE, PAGE, PAGE, 0 }, PAGE, -EINVAL, "overlaps" },
	};
	uint32_t fds_before = open_fds();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest_memory_region_request requests[] = { cases[i].first, cases[i].second };
		int fds[] = { memory_file(cases[i].file_size), memory_file(cases[i].file_size) };
		struct guest_memory *memory = NULL, *base;
		struct error error = { "" };
		int one;

		assert_int_equal(guest_memory_create(requests, fds, 2, &memory, &error),
				 cases[i].rc);
		assert_non_null(strstr(error.text, cases[i].reason));
		assert_null(memory);

		/* The same, one by one. */
		one = memory_file(cases[i].file_size);
		assert_int_equal(guest_memory_add(NULL, &requests[0], one, &base, &error), 0);
		one = memory_file(cases[i].file_size);
		assert_int_equal(guest_memory_add(base, &requests[1], one, &memory, &error),
				 cases[i].rc);
		assert_non_null(strstr(error.text, cases[i].reason));
		guest_memory_release(base);
	}
	assert_int_equal(mappings(), 0);
	assert_int_equal(open_fds(), fds_before);
}

/* What may wait is closed by a thread of its own. */
static void wait_until_closed(int fd)
{
	while (fcntl(fd, F_GETFD) >= 0)
		sched_yield();
}

static void test_refused_files(void **state)
{
	struct guest_memory_region_request request = region(0, PAGE, 0, 0);
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct guest_memory *memory;
	struct error error;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(guest_memory_add(NULL, &request, pipes[0], &memory, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no regular file"));
	assert_int_equal(fcntl(pipes[0], F_GETFD), -1);
	close(pipes[1]);
	assert_int_equal(guest_memory_add(NULL, &request, zero, &memory, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no regular file"));
	wait_until_closed(zero);
	/* A file of a file system that is no storage. */
	assert_int_equal(guest_memory_add(NULL, &request, maps, &memory, &error), -EINVAL);
	assert_non_null(strstr(error.text, "proc file system"));
	wait_until_closed(maps);
	assert_int_equal(guest_memory_add(NULL, &request, -1, &memory, &error), -EINVAL);
}

static void test_ordinary_file(void **state)
{
	struct guest_memory_region_request request = region(0, PAGE, 0, 0);
	const char *directory = getenv("TMPDIR");
	struct guest_memory *memory;
	struct error error = { "" };
	char path[256];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/weft-guest-XXXXXX", directory ? directory : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	if (guest_memory_add(NULL, &request, fd, &memory, &error) < 0) {
		print_message("%s\n", error.text);
		fail();
	}
	guest_memory_release(memory);
}

static void test_add_and_remove(void **state)
{
	struct guest_memory *memory = NULL, *next;
	struct guest_memory_region_request request;
	struct error error;
	uint32_t fds_before = open_fds();

	(void)state;
	for (uint32_t i = 0; i < GUEST_MEMORY_REGIONS_MAX; i++) {
		/* Backwards, with holes. */
		uint64_t address = (uint64_t)(GUEST_MEMORY_REGIONS_MAX - i) * 2 * PAGE;

		request = region(address, PAGE, address, 0);
		assert_int_equal(
		    guest_memory_add(memory, &request, memory_file(PAGE), &next, &error), 0);
		guest_memory_release(memory);
		memory = next;
		*(uint32_t *)at(memory, address, 4, 4) = i;
	}
	assert_int_equal(memory->region_count, GUEST_MEMORY_REGIONS_MAX);
	assert_int_equal(mappings(), GUEST_MEMORY_REGIONS_MAX);
	assert_int_equal(open_fds(), fds_before);
	request = region(1ull << 40, PAGE, 1ull << 40, 0);
	assert_int_equal(guest_memory_add(memory, &request, memory_file(PAGE), &next, &error),
			 -ENOSPC);
	/* Each kept its contents through all the tables. */
	for (uint32_t i = 0; i < GUEST_MEMORY_REGIONS_MAX; i++) {
		uint64_t address = (uint64_t)(GUEST_MEMORY_REGIONS_MAX - i) * 2 * PAGE;

		assert_int_equal(*(uint32_t *)at(memory, address, 4, 4), i);
	}

	/* Address, size and user address must all match; the offset does not count. */
	request = region(4 * PAGE, PAGE, 4 * PAGE + 1, 0);
	assert_int_equal(guest_memory_remove(memory, &request, &next, &error), -ENOENT);
	request = region(4 * PAGE, PAGE + 1, 4 * PAGE, 0);
	assert_int_equal(guest_memory_remove(memory, &request, &next, &error), -ENOENT);
	request = region(4 * PAGE, PAGE, 4 * PAGE, 77);
	assert_int_equal(guest_memory_remove(memory, &request, &next, &error), 0);
	assert_null(at(next, 4 * PAGE, 1, 0));
	/* The old table still holds it. */
	assert_non_null(at(memory, 4 * PAGE, 1, 1));
	assert_int_equal(mappings(), GUEST_MEMORY_REGIONS_MAX);
	guest_memory_release(memory);
	assert_int_equal(mappings(), GUEST_MEMORY_REGIONS_MAX - 1);
	assert_non_null(at(next, 2 * PAGE, 1, 1));
	assert_non_null(at(next, 6 * PAGE, 1, 1));
	assert_int_equal(guest_memory_remove(next, &request, &memory, &error), -ENOENT);
	assert_int_equal(guest_memory_remove(NULL, &request, &memory, &error), -ENOENT);
	guest_memory_release(next);
	assert_int_equal(mappings(), 0);
	assert_int_equal(open_fds(), fds_before);
}

/* As QEMU does for each pair of queues. */
static void test_add_again(void **state)
{
	struct guest_memory_region_request request = region(0, PAGE, 0, 0);
	struct guest_memory *one, *two, *next;
	struct error error;
	uint32_t fds_before = open_fds();
	int fd = memory_file(PAGE);

	(void)state;
	assert_int_equal(guest_memory_add(NULL, &request, dup(fd), &one, &error), 0);
	assert_int_equal(guest_memory_add(one, &request, dup(fd), &two, &error), 0);
	assert_int_equal(two->region_count, 1);
	assert_int_equal(mappings(), 1);
	/* Another file is another region, and overlaps. */
	assert_int_equal(guest_memory_add(two, &request, memory_file(PAGE), &next, &error),
			 -EINVAL);
	guest_memory_release(one);

	assert_int_equal(guest_memory_remove(two, &request, &one, &error), 0);
	assert_non_null(at(one, 0, 1, 1));
	assert_int_equal(guest_memory_remove(one, &request, &next, &error), 0);
	assert_int_equal(next->region_count, 0);
	guest_memory_release(next);
	guest_memory_release(one);

	/* There is an end to it. */
	for (uint32_t i = 0; guest_memory_add(two, &request, dup(fd), &next, &error) == 0; i++) {
		assert_true(i < 1000);
		guest_memory_release(two);
		two = next;
	}
	assert_non_null(strstr(error.text, "added 256 times"));
	guest_memory_release(two);
	assert_int_equal(mappings(), 0);
	close(fd);
	assert_int_equal(open_fds(), fds_before);
}

/* cmocka puts a handler of its own in place before each test. A second call changes nothing. */
static void catch_faults(void)
{
	assert_int_equal(guest_memory_handle_faults(fault_fd), 0);
	assert_int_equal(guest_memory_handle_faults(fault_fd), 0);
}

/* The frontend truncates one of two files: reads give zeros, writes are lost, the other file is as
 * it was, and control is told. */
static void test_truncated(void **state)
{
	struct guest_memory_region_request requests[] = { region(0, MIB, 0, 0),
							  region(MIB, MIB, MIB, 0) };
	int fds[] = { memory_file(MIB), memory_file(MIB) };
	int keep = dup(fds[0]);
	struct guest_memory *memory;
	uint8_t *first, *second;
	uint64_t events;

	(void)state;
	catch_faults();
	assert_int_equal(guest_memory_create(requests, fds, 2, &memory, NULL), 0);
	first = at(memory, 0, MIB, MIB);
	second = at(memory, MIB, MIB, MIB);
	memset(first, 1, MIB);
	memset(second, 2, MIB);
	assert_int_equal(ftruncate(keep, PAGE), 0);
	assert_false(guest_memory_faulted(memory));
	assert_int_equal(read(fault_fd, &events, sizeof(events)), -1);

	assert_int_equal(*(volatile uint8_t *)(first + MIB - 1), 0);
	assert_true(guest_memory_faulted(memory));
	assert_int_equal(read(fault_fd, &events, sizeof(events)), sizeof(events));
	assert_int_equal(events, 1);
	/* The whole region was replaced: one fault is all. */
	memset(first, 3, MIB);
	assert_int_equal(first[0], 3);
	assert_int_equal(read(fault_fd, &events, sizeof(events)), -1);
	assert_int_equal(second[0], 2);
	assert_int_equal(second[MIB - 1], 2);
	guest_memory_release(memory);
	close(keep);
}

static void test_truncated_again_and_again(void **state)
{
	(void)state;
	catch_faults();
	for (int i = 0; i < 1000; i++) {
		struct guest_memory_region_request request = region(0, 2 * PAGE, 0, 0);
		int fd = memory_file(2 * PAGE), keep = dup(fd);
		struct guest_memory *memory;
		uint64_t events;

		assert_int_equal(guest_memory_create(&request, &fd, 1, &memory, NULL), 0);
		assert_int_equal(ftruncate(keep, 0), 0);
		*(volatile uint8_t *)at(memory, PAGE, 1, 1) = 1;
		assert_true(guest_memory_faulted(memory));
		assert_int_equal(read(fault_fd, &events, sizeof(events)), sizeof(events));
		guest_memory_release(memory);
		close(keep);
	}
	assert_int_equal(mappings(), 0);
}

/* A SIGBUS that is not about a frontend's file ends the process as ever. */
static void test_foreign_fault(void **state)
{
	int status;
	pid_t child;

	(void)state;
	/* Not cmocka's handler. */
	signal(SIGBUS, SIG_DFL);
	assert_int_equal(guest_memory_handle_faults(fault_fd), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = memfd_create("own", MFD_CLOEXEC);
		volatile uint8_t *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

		/* No report of a sanitizer's on the terminal. */
		if (dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO) < 0)
			_exit(0);
		_exit(page[0]);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);

	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO) < 0)
			_exit(0);
		kill(getpid(), SIGBUS);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static int set_up(void **state)
{
	(void)state;
	fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fault_fd < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_offset_inside_a_page),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_files),
		cmocka_unit_test(test_ordinary_file),
		cmocka_unit_test(test_add_and_remove),
		cmocka_unit_test(test_add_again),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_truncated_again_and_again),
		cmocka_unit_test(test_foreign_fault),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
