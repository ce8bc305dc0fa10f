/* The null port: takes all, says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/port_fixture.h"

static void test_null(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[60] = { 0 };
	struct frame frame = { .head = bytes, .head_length = 60, .length = 60 };
	struct frame *frames[] = { &frame, &frame, &frame };

	assert_int_equal(fixture_open(f), 0);
	assert_true(atomic_load(&f->port.link));
	assert_int_equal(f->port.receive_count, 0);
	assert_int_equal(f->port.send_count, 1);
	assert_true(atomic_load(&f->port.send_queues[0].running));
	assert_int_equal(port_null.offloads(&f->port.send_queues[0]), OFFLOAD_ALL);
	assert_int_equal(port_null.send(&f->port.send_queues[0], frames, 3, &f->counters), 3);
	assert_int_equal(atomic_load(&f->counters.transmit_packets), 3);
	assert_int_equal(atomic_load(&f->counters.transmit_bytes), 180);
	fixture_close(f);
}

static int set_up(void **state)
{
	return fixture_set_up(state, &port_null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_null, set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
