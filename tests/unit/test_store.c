/* The store: what it keeps over closing, killing, damage and a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[128], broken[160];

static int set_up(void **state)
{
	strcpy(directory, "/tmp/weft-store-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/state.db", directory);
	snprintf(broken, sizeof(broken), "%s.broken", path);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "state.db", "state.db-wal", "state.db-journal",
					     "state.db.broken", "state.db.broken-wal" };
	char name[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", directory, names[i]);
		unlink(name);
	}
	return rmdir(directory);
}

static struct store *open_store(void)
{
	struct store *store = NULL;
	struct error e = { 0 };

	if (store_open(path, &store, &e) != 0)
		fail_msg("%s", e.text);
	return store;
}

struct seen {
	unsigned count;
	char text[256];
	unsigned stop_after;
};

static int see(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
	       size_t value_length)
{
	struct seen *seen = context;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "%.*s=%.*s;", (int)key_length, key,
		 (int)value_length, value);
	seen->count++;
	return seen->count == seen->stop_after ? 7 : 0;
}

static void assert_content(struct store *store, const char *table, const char *expected)
{
	struct seen seen = { 0 };

	assert_int_equal(store_visit(store, table, see, &seen), 0);
	assert_string_equal(seen.text, expected);
}

static void put(struct store *store, const char *table, const char *key, const char *value)
{
	assert_int_equal(store_put(store, table, key, strlen(key), value, strlen(value)), 0);
}

static bool exists(const char *name)
{
	return access(name, F_OK) == 0;
}

static void test_put_replace_delete_visit(void **state)
{
	struct store *store = open_store();
	struct seen seen = { .stop_after = 1 };

	assert_content(store, "a", "");
	put(store, "a", "y", "1");
	put(store, "a", "x", "2");
	put(store, "b", "x", "other");
	put(store, "a", "y", "3");
	assert_content(store, "a", "x=2;y=3;");
	assert_content(store, "b", "x=other;");
	assert_int_equal(store_visit(store, "a", see, &seen), 7);
	assert_int_equal(seen.count, 1);
	assert_int_equal(store_delete(store, "a", "x", 1), 0);
	assert_int_equal(store_delete(store, "a", "x", 1), 0);
	assert_content(store, "a", "y=3;");
	put(store, "a", "", "");
	assert_content(store, "a", "=;y=3;");
	store_close(store);
}

static void test_limits(void **state)
{
	static uint8_t big[STORE_VALUE_MAX + 1];
	struct store *store = open_store();

	assert_int_equal(store_put(store, "a", big, STORE_KEY_MAX, big, STORE_VALUE_MAX), 0);
	assert_int_equal(store_put(store, "a", big, STORE_KEY_MAX + 1, big, 1), -EMSGSIZE);
	assert_int_equal(store_put(store, "a", big, 1, big, sizeof(big)), -EMSGSIZE);
	assert_int_equal(store_delete(store, "a", big, STORE_KEY_MAX + 1), -EMSGSIZE);
	store_close(store);
}

static void test_survives_closing(void **state)
{
	struct store *store = open_store();
	struct stat status;

	put(store, "a", "k", "v");
	store_close(store);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	store = open_store();
	assert_content(store, "a", "k=v;");
	store_close(store);
	assert_false(exists(broken));
}

/* Runs `work` in a child that dies of SIGKILL as soon as it is done. */
static void killed_after(void (*work)(struct store *store))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store = NULL;

		if (store_open(path, &store, NULL) != 0)
			_exit(1);
		work(store);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void commit_one_of_two(struct store *store)
{
	store_begin(store);
	store_put(store, "a", "1", 1, "kept", 4);
	store_put(store, "a", "2", 1, "too", 3);
	store_commit(store);
	store_put(store, "a", "3", 1, "alone", 5);
	store_begin(store);
	store_put(store, "a", "4", 1, "lost", 4);
	store_delete(store, "a", "1", 1);
}

static void test_survives_sigkill(void **state)
{
	struct store *store;

	killed_after(commit_one_of_two);
	store = open_store();
	assert_content(store, "a", "1=kept;2=too;3=alone;");
	store_close(store);
	assert_false(exists(broken));
}

static void test_close_commits_a_batch(void **state)
{
	struct store *store = open_store();

	assert_int_equal(store_begin(store), 0);
	put(store, "a", "k", "v");
	store_close(store);
	store = open_store();
	assert_content(store, "a", "k=v;");
	assert_int_equal(store_begin(store), 0);
	assert_int_equal(store_commit(store), 0);
	store_close(store);
}

static void test_one_process_at_a_time(void **state)
{
	struct store *store = open_store();
	int status;
	pid_t pid;

	put(store, "a", "k", "v");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *second;

		_exit(store_open(path, &second, NULL) == -EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_false(exists(broken));
	assert_content(store, "a", "k=v;");
	store_close(store);
}

static void test_missing_directory(void **state)
{
	struct store *store = NULL;
	struct error e = { 0 };
	char wrong[160];

	snprintf(wrong, sizeof(wrong), "%s/no/state.db", directory);
	assert_int_equal(store_open(wrong, &store, &e), -ENOENT);
	assert_null(store);
	assert_non_null(strstr(e.text, "No such file or directory"));
	assert_non_null(strstr(e.text, wrong));
}

static void write_file(const char *bytes, size_t length)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void assert_begins_anew(void)
{
	struct store *store = open_store();

	assert_true(exists(broken));
	assert_content(store, "a", "");
	put(store, "a", "new", "1");
	store_close(store);
	store = open_store();
	assert_content(store, "a", "new=1;");
	store_close(store);
}

static void test_foreign_file_is_moved_aside(void **state)
{
	static const char text[] = "this is a letter to my aunt, not a database\n";
	char back[sizeof(text)] = { 0 };
	int fd;

	write_file(text, sizeof(text) - 1);
	assert_begins_anew();
	fd = open(broken, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, back, sizeof(back)), sizeof(text) - 1);
	close(fd);
	assert_string_equal(back, text);
}

static void run_sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_foreign_database_is_moved_aside(void **state)
{
	run_sql("CREATE TABLE recipes (name)");
	assert_begins_anew();
}

static void test_newer_format_is_moved_aside(void **state)
{
	store_close(open_store());
	run_sql("PRAGMA user_version = 99");
	assert_begins_anew();
}

static void test_missing_table_is_moved_aside(void **state)
{
	store_close(open_store());
	run_sql("ALTER TABLE record RENAME COLUMN key TO other");
	assert_begins_anew();
}

static void test_damaged_file_is_moved_aside(void **state)
{
	struct store *store = open_store();
	char value[1000], key[16];
	struct stat status;
	int fd;

	memset(value, 'x', sizeof(value));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(store_put(store, "a", key, strlen(key), value, sizeof(value)), 0);
	}
	store_close(store);
	assert_int_equal(stat(path, &status), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	memset(value, 0xa5, sizeof(value));
	for (off_t at = 4096; at < status.st_size; at += 4096)
		assert_int_equal(pwrite(fd, value, sizeof(value), at), sizeof(value));
	close(fd);
	assert_begins_anew();
}

static void test_truncated_file_is_moved_aside(void **state)
{
	test_put_replace_delete_visit(state);
	assert_int_equal(truncate(path, 4096 + 100), 0);
	assert_begins_anew();
}

static void test_empty_file_is_a_new_one(void **state)
{
	struct store *store;

	write_file("", 0);
	store = open_store();
	assert_false(exists(broken));
	store_close(store);
}

/* In a child, for the limit on the size of files goes with the process: what SQLite cannot write is
 * refused, the batch is gone as a whole, and later writing works again. */
static void test_full_disk(void **state)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		static uint8_t big[60000];
		struct rlimit limit = { .rlim_cur = 65536, .rlim_max = RLIM_INFINITY };
		struct store *store = NULL;
		bool good;

		signal(SIGXFSZ, SIG_IGN);
		good = store_open(path, &store, NULL) == 0 &&
		       store_put(store, "a", "before", 6, "1", 1) == 0;
		good = good && setrlimit(RLIMIT_FSIZE, &limit) == 0;
		good = good && store_begin(store) == 0 &&
		       store_put(store, "a", "in", 2, "batch", 5) == 0 &&
		       store_put(store, "a", "big", 3, big, sizeof(big)) == 0;
		good = good && store_commit(store) < 0;
		limit.rlim_cur = RLIM_INFINITY;
		good = good && setrlimit(RLIMIT_FSIZE, &limit) == 0;
		good = good && store_put(store, "a", "then", 4, "2", 1) == 0;
		store_close(store);
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	struct store *store = open_store();
	assert_content(store, "a", "before=1;then=2;");
	store_close(store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_put_replace_delete_visit),
		TEST(test_limits),
		TEST(test_survives_closing),
		TEST(test_survives_sigkill),
		TEST(test_close_commits_a_batch),
		TEST(test_one_process_at_a_time),
		TEST(test_missing_directory),
		TEST(test_foreign_file_is_moved_aside),
		TEST(test_foreign_database_is_moved_aside),
		TEST(test_newer_format_is_moved_aside),
		TEST(test_missing_table_is_moved_aside),
		TEST(test_damaged_file_is_moved_aside),
		TEST(test_truncated_file_is_moved_aside),
		TEST(test_empty_file_is_a_new_one),
		TEST(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
