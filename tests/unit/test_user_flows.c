/* The accounts of a user port's sockets (vswitch/user_flows.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/user_flows.h"

#define LIMIT 64u

static struct user_end end_of(const char *text, uint16_t port)
{
	struct user_end end = { .port = port };

	assert_int_equal(ip_from_text(text, &end.ip), 0);
	return end;
}

/* Opens sockets for a guest from this descriptor on, until it has its share; returns how many. */
static uint32_t fill(struct user_flows *flows, uint16_t guest, int fd)
{
	uint32_t opened = 0;

	user_flows_set_opener(flows, guest, NULL);
	while (user_flows_has_room(flows, guest)) {
		user_flows_opened(flows, fd++);
		opened++;
	}
	return opened;
}

/* Each has half of what there is when he comes, and the next finds something. */
static void test_shares(void **state)
{
	struct user_flows *flows = user_flows_create(LIMIT);

	assert_non_null(flows);
	assert_int_equal(fill(flows, 7, 100), LIMIT / 2);
	assert_int_equal(fill(flows, 8, 200), LIMIT / 4);
	assert_int_equal(fill(flows, USER_FLOWS_HOST, 300), LIMIT / 8);
	assert_int_equal(user_flows_count(flows), LIMIT / 2 + LIMIT / 4 + LIMIT / 8);
	assert_true(user_flows_has_room(flows, 9));
	/* What is closed is there again. */
	for (int fd = 100; fd < 132; fd++)
		user_flows_closed(flows, fd);
	assert_true(user_flows_has_room(flows, 7));
	assert_true(user_flows_has_room(flows, 8));
	user_flows_destroy(flows);
}

/* libslirp says of some that they are closed who were never open, and of some twice. */
static void test_told_twice(void **state)
{
	struct user_flows *flows = user_flows_create(LIMIT);

	user_flows_closed(flows, -1);
	user_flows_closed(flows, 5000);
	user_flows_opened(flows, -1);
	for (int i = 0; i < 2; i++)
		user_flows_opened(flows, 10);
	assert_int_equal(user_flows_count(flows), 1);
	for (int i = 0; i < 2; i++)
		user_flows_closed(flows, 10);
	user_flows_closed(flows, 11);
	assert_int_equal(user_flows_count(flows), 0);
	user_flows_destroy(flows);
	user_flows_destroy(NULL);
}

/* A flow is known by its guest's end as long as its socket is open, among thousands of others. */
static void test_ends(void **state)
{
	struct user_flows *flows = user_flows_create(100000);
	struct user_end end, none = end_of("10.0.2.15", 0);

	for (uint32_t i = 1; i < 20000; i++) {
		end = end_of(i % 2 ? "10.0.2.15" : "fd00::f", (uint16_t)i);
		assert_false(user_flows_knows(flows, &end));
		user_flows_set_opener(flows, 3, &end);
		user_flows_opened(flows, (int)i);
	}
	user_flows_set_opener(flows, 3, &none);
	user_flows_opened(flows, 30000);
	assert_false(user_flows_knows(flows, &none));
	for (uint32_t i = 1; i < 20000; i += 3)
		user_flows_closed(flows, (int)i);
	for (uint32_t i = 1; i < 20000; i++) {
		end = end_of(i % 2 ? "10.0.2.15" : "fd00::f", (uint16_t)i);
		assert_int_equal(user_flows_knows(flows, &end), i % 3 != 1);
		end = end_of(i % 2 ? "fd00::f" : "10.0.2.15", (uint16_t)i);
		assert_false(user_flows_knows(flows, &end));
	}
	user_flows_destroy(flows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_told_twice),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
