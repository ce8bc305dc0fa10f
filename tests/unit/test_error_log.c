/* Error texts, log lines, the drop table and grace periods (base/error.c, log.c, drop.c, rcu.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/drop.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rcu.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_error_text(void **state)
{
	struct error error;

	assert_int_equal(error_set(&error, EINVAL, "port '%s'", "a"), -EINVAL);
	assert_string_equal(error.text, "port 'a'");
	error_prefix(&error, "line %d: ", 7);
	assert_string_equal(error.text, "line 7: port 'a'");
	assert_int_equal(error_set(NULL, ENOMEM, "x"), -ENOMEM);
	error_prefix(NULL, "x");
}

static void test_error_text_is_cut(void **state)
{
	char text[2 * ERROR_TEXT_MAX];
	struct error error;

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(error_set(&error, EIO, "%s", text), -EIO);
	assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
	error_prefix(&error, "here: ");
	assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
	assert_memory_equal(error.text, "here: aaa", 9);
	error_prefix(&error, "%s", text);
	assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
}

/* Standard error goes to a pipe while a line is logged. */
static const char *logged(enum log_level level, const char *text)
{
	static char line[4096];
	int saved = dup(STDERR_FILENO);
	int ends[2];
	ssize_t length;

	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	log_line(level, "%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	length = read(ends[0], line, sizeof(line) - 1);
	close(ends[0]);
	assert_true(length >= 0);
	line[length] = '\0';
	return line;
}

static void test_log_lines(void **state)
{
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(logged(LOG_LEVEL_ERROR, "x"), "weftd: error: x\n");
	assert_string_equal(logged(LOG_LEVEL_INFO, "x"), "weftd: info: x\n");
	assert_string_equal(logged(LOG_LEVEL_DEBUG, "x"), "");
	log_set_level(LOG_LEVEL_DEBUG);
	assert_string_equal(logged(LOG_LEVEL_DEBUG, "x"), "weftd: debug: x\n");
	log_set_level(LOG_LEVEL_ERROR);
	assert_string_equal(logged(LOG_LEVEL_WARNING, "x"), "");
	log_set_level(LOG_LEVEL_INFO);
	setenv("JOURNAL_STREAM", "8:1", 1);
	assert_string_equal(logged(LOG_LEVEL_WARNING, "x"), "<4>x\n");
	unsetenv("JOURNAL_STREAM");
}

/* One call is one line without terminal sequences, whatever a frontend calls itself. */
static void test_log_cannot_be_forged(void **state)
{
	char text[5000];
	const char *line;

	assert_string_equal(logged(LOG_LEVEL_INFO, "a\nweftd: error: b\r\x1b[2J\x7f\t"),
			    "weftd: info: a?weftd: error: b??[2J??\n");
	assert_string_equal(logged(LOG_LEVEL_INFO, "z\x9b"
						   "2J"),
			    "weftd: info: z?2J\n");
	assert_string_equal(logged(LOG_LEVEL_INFO, "z\xc2\x9b"
						   "2J"),
			    "weftd: info: z\xc2?2J\n");
	assert_string_equal(logged(LOG_LEVEL_INFO, "J\xc3\x9crg \xe2\x82\xac"),
			    "weftd: info: J\xc3\x9crg \xe2\x82\xac\n");
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	line = logged(LOG_LEVEL_INFO, text);
	assert_int_equal(strlen(line), 2047);
	assert_ptr_equal(strchr(line, '\n'), line + 2046);
}

static void test_log_levels_by_name(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;

	assert_int_equal(log_level_from_name("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_from_name("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_from_name("errors", &level), -EINVAL);
	assert_int_equal(log_level_from_name("", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_ERROR);
}

/* Names are keys of JSON and metrics: present, lower case, and no two alike. */
static void test_drop_table(void **state)
{
	for (int i = 0; i < DROP_COUNT; i++) {
		const char *name = drop_table[i].name;

		assert_non_null(name);
		assert_true(drop_table[i].text != NULL && drop_table[i].text[0] != '\0');
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name, drop_table[j].name);
	}
	assert_string_equal(drop_table[DROP_GSO_SIZE].name, "gso_size");
	assert_int_equal(drop_table[DROP_NO_BUFFERS].direction, DROP_TRANSMIT);
}

struct reader {
	struct rcu *rcu;
	int *_Atomic current;
	_Atomic int reading;
	_Atomic int stop;
};

/* Reads what is published until told to stop; a sanitizer sees a read of what was freed. */
static void *reader_run(void *argument)
{
	struct reader *reader = argument;
	long sum = 0;

	rcu_register(reader->rcu, 1);
	rcu_online(reader->rcu, 1);
	while (!atomic_load_explicit(&reader->stop, memory_order_acquire)) {
		sum += *atomic_load_explicit(&reader->current, memory_order_acquire);
		atomic_store_explicit(&reader->reading, 1, memory_order_release);
		rcu_quiescent(reader->rcu, 1);
	}
	rcu_offline(reader->rcu, 1);
	rcu_unregister(reader->rcu, 1);
	return (void *)sum;
}

static void test_rcu_waits_for_readers(void **state)
{
	struct reader reader = { .rcu = rcu_create(2) };
	int *first = malloc(sizeof(*first));
	pthread_t thread;
	void *sum;

	assert_non_null(reader.rcu);
	assert_non_null(first);
	*first = 1;
	reader.current = first;
	rcu_wait(reader.rcu); /* nobody is there */
	assert_int_equal(pthread_create(&thread, NULL, reader_run, &reader), 0);
	while (!atomic_load_explicit(&reader.reading, memory_order_acquire))
		sched_yield();
	for (int i = 0; i < 200; i++) {
		int *next = malloc(sizeof(*next));
		int *old;

		assert_non_null(next);
		*next = 1;
		old = atomic_exchange_explicit(&reader.current, next, memory_order_acq_rel);
		rcu_wait(reader.rcu);
		*old = INT32_MIN / 2; /* a late reader would make the sum negative */
		free(old);
	}
	atomic_store_explicit(&reader.stop, 1, memory_order_release);
	pthread_join(thread, &sum);
	assert_true((long)sum > 0);
	rcu_wait(reader.rcu);
	free(reader.current);
	rcu_destroy(reader.rcu);
	rcu_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_text),
		cmocka_unit_test(test_error_text_is_cut),
		cmocka_unit_test(test_log_lines),
		cmocka_unit_test(test_log_cannot_be_forged),
		cmocka_unit_test(test_log_levels_by_name),
		cmocka_unit_test(test_drop_table),
		cmocka_unit_test(test_rcu_waits_for_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
