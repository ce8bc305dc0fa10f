/* Files of journals: there again after a close, taken from nobody else, and gone when useless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/ring_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], state_directory[96];

static int make(void **state)
{
	strcpy(directory, "/tmp/weft-test-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(state_directory, sizeof(state_directory), "%s/state", directory);
	return 0;
}

/* Name of the only file of the state; false when there is none. */
static bool only_file(char path[512])
{
	DIR *dir = opendir(state_directory);
	struct dirent *entry;
	uint32_t count = 0;

	if (dir == NULL)
		return false;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, 512, "%s/%s", state_directory, entry->d_name);
		count++;
	}
	closedir(dir);
	assert_true(count <= 1);
	return count == 1;
}

static int clean(void **state)
{
	char path[512];

	if (only_file(path))
		unlink(path);
	rmdir(state_directory);
	rmdir(directory);
	return 0;
}

static struct ring_state *open_state(const char *socket)
{
	struct ring_state *state;

	assert_int_equal(ring_state_open(state_directory, socket, "test", 4, &state), 0);
	return state;
}

static void keeps_journals(void **unused)
{
	struct ring_state *state = open_state("/run/a");
	struct packed_journal *journal;
	char path[512];

	for (uint32_t ring = 0; ring < 4; ring++) {
		journal = ring_state_journal(state, ring, 32768);
		assert_non_null(journal);
		assert_int_equal(journal->tag, 0);
		journal->tag = ring + 1;
		journal->entries[32767].length = ring;
	}
	assert_true(only_file(path));
	ring_state_close(state);
	state = open_state("/run/a");
	for (uint32_t ring = 0; ring < 4; ring++) {
		journal = ring_state_journal(state, ring, 32768);
		assert_int_equal(journal->tag, ring + 1);
		assert_int_equal(journal->entries[32767].length, ring);
		/* The same place at every size. */
		assert_int_equal(ring_state_journal(state, ring, 5)->tag, ring + 1);
		ring_state_journal(state, ring, 5)->tag = 0;
	}
	/* Nothing of use in it: nothing is left behind. */
	ring_state_close(state);
	assert_false(only_file(path));
}

/* A journal under the right name, but of another socket, tells of no ring. */
static void takes_no_other_sockets_journal(void **unused)
{
	struct ring_state *state = open_state("/run/a");
	char path[512], other[512];

	ring_state_journal(state, 0, 16)->tag = 7;
	assert_true(only_file(path));
	ring_state_close(state);
	state = open_state("/run/b");
	ring_state_journal(state, 0, 16);
	snprintf(other, sizeof(other), "%s", path);
	ring_state_journal(state, 0, 16)->tag = 9;
	assert_int_equal(unlink(path), 0);
	assert_true(only_file(other));
	ring_state_close(state);
	assert_int_equal(rename(other, path), 0);
	state = open_state("/run/a");
	assert_int_equal(ring_state_journal(state, 0, 16)->tag, 0);
	ring_state_close(state);
}

/* Whatever is in the way is left alone, and the rings work without a file. */
static void leaves_alone_what_is_not_ours(void **unused)
{
	for (int kind = 0; kind < 6; kind++) {
		struct ring_state *state = open_state("/run/a");
		struct stat before, after;
		char path[512], other[512];
		int fd;

		ring_state_journal(state, 0, 16)->tag = 7;
		assert_true(only_file(path));
		ring_state_close(state);
		snprintf(other, sizeof(other), "%s/other", directory);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		if (kind == 0)
			assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
		else if (kind == 1)
			assert_int_equal(link(path, other), 0);
		else if (kind == 2)
			assert_int_equal(chmod(path, 0622), 0);
		else if (kind == 3)
			assert_true(rename(path, other) == 0 && symlink(other, path) == 0);
		else if (kind == 4)
			assert_true(unlink(path) == 0 && mkfifo(path, 0600) == 0);
		else
			assert_true(unlink(path) == 0 && mkdir(path, 0700) == 0);
		assert_int_equal(lstat(path, &before), 0);
		state = open_state("/run/a");
		assert_int_equal(ring_state_journal(state, 0, 16)->tag, 0);
		ring_state_journal(state, 0, 16)->tag = 8;
		assert_int_equal(ring_state_journal(state, 0, 16)->tag, 8);
		ring_state_close(state);
		assert_int_equal(lstat(path, &after), 0);
		assert_int_equal(before.st_ino, after.st_ino);
		close(fd);
		unlink(other);
		assert_int_equal(kind == 5 ? rmdir(path) : unlink(path), 0);
	}
}

static void works_without_a_directory(void **unused)
{
	struct ring_state *state;

	assert_int_equal(ring_state_open(NULL, "/run/a", "test", 2, &state), 0);
	ring_state_journal(state, 1, 256)->tag = 1;
	assert_int_equal(ring_state_journal(state, 0, 256)->tag, 0);
	ring_state_close(state);
	assert_int_equal(ring_state_open("/nowhere/at/all", "/run/a", "test", 2, &state), 0);
	assert_int_equal(ring_state_journal(state, 1, 256)->tag, 0);
	ring_state_close(state);
	ring_state_close(NULL);
}

/* What stands in the file is anybody's: too short, too long, full of ones. */
static void takes_any_content(void **unused)
{
	static const size_t sizes[] = { 0, 1, 100, 100000, 3000000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring_state *state = open_state("/run/a");
		char path[512];
		uint8_t *ones = malloc(sizes[i] + 1);
		FILE *file;

		ring_state_journal(state, 0, 16)->tag = 7;
		assert_true(only_file(path));
		ring_state_close(state);
		file = fopen(path, "we");
		assert_non_null(file);
		memset(ones, 0xff, sizes[i] + 1);
		assert_int_equal(fwrite(ones, 1, sizes[i], file), sizes[i]);
		assert_int_equal(fclose(file), 0);
		free(ones);
		state = open_state("/run/a");
		for (uint32_t ring = 0; ring < 4; ring++)
			assert_int_equal(ring_state_journal(state, ring, 32768)->tag, 0);
		ring_state_close(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_journals, make, clean),
		cmocka_unit_test_setup_teardown(takes_no_other_sockets_journal, make, clean),
		cmocka_unit_test_setup_teardown(leaves_alone_what_is_not_ours, make, clean),
		cmocka_unit_test_setup_teardown(works_without_a_directory, make, clean),
		cmocka_unit_test_setup_teardown(takes_any_content, make, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
