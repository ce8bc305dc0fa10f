/* What a frontend can do to make us wait for ever: full notifiers that it has let block, and
 * descriptors that do not let themselves be closed. docs/threat-model.md names each test here. The
 * device runs in the test's own thread: an attack that works does not return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"
#include "tests/lib/repeat.h"
#include "tests/lib/stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct fixture fixture;

static void make_full(int fd)
{
	uint64_t count;

	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
	(void)!read(fd, &count, sizeof(count));
	count = UINT64_MAX - 1;
	assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* The worker calls the guest through it, and so does control when the queue starts and stops. */
static void test_call_fd_full_and_blocking(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_guest *guest;
	uint32_t base;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	while (repeat_next(&repeat)) {
		make_full(guest->queues[0].call_fd);
		make_full(guest->queues[1].call_fd);
		fixture_post_and_echo(&fixture, 0, 60, 1, 2048);
		make_full(guest->queues[1].call_fd);
		assert_int_equal(fake_guest_get_base(guest, 1, &base), 0);
		assert_int_equal(fake_guest_setup_queue(guest, 1, base), 0);
		make_full(guest->queues[1].call_fd);
		assert_int_equal(
		    fake_guest_set_fd(guest, FAKE_SET_VRING_KICK, 1, guest->queues[1].kick_fd), 0);
	}
	fixture_post_and_echo(&fixture, 0, 60, 1, 2048);
	fixture_close(&fixture);
}

static void test_error_fd_full_and_blocking(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_guest *guest;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	while (repeat_next(&repeat)) {
		struct fake_ring *ring = &guest->queues[1].ring;

		make_full(guest->queues[1].error_fd);
		atomic_store(&ring->available->index, (uint16_t)(ring->published + 300));
		fake_guest_kick(guest, 1);
		fixture_settle(&fixture);
		vhost_device_check_faults(fixture.harness.device);
		assert_false(atomic_load(&vhost_device_queue(fixture.harness.device, 1)->running));
		atomic_store(&ring->available->index, ring->published);
		assert_int_equal(fake_guest_setup_queue(guest, 1, fake_ring_used_index(ring)), 0);
		assert_int_equal(
		    fake_guest_set_fd(guest, FAKE_SET_VRING_KICK, 1, guest->queues[1].kick_fd), 0);
	}
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

/* A reader of it would wait: nothing ever comes, and it blocks. */
static void test_backend_channel(void **state)
{
	struct repeat repeat = repeat_begin();
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		fixture_expect_refused(&fixture, FAKE_SET_BACKEND_REQ_FD, NULL, 0, &fd, 1);
		assert_int_equal(fake_guest_set_backend_fd(fixture.guest), 0);
		/* Whatever comes is not for us. */
		assert_int_equal(send(fixture.guest->backend_fd, "x", 1, MSG_NOSIGNAL), 1);
		fixture_settle(&fixture);
	}
	close(fd);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

/* Closing a connection closes the messages in it that nobody has read, and their descriptors. */
static void test_unread_fd_that_cannot_be_closed(void **state)
{
	static const uint8_t bad_header[12] = { 0xff };
	struct stuck stuck;
	const uint64_t queue = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	stuck = stuck_open();
	assert_int_equal(
	    fake_guest_send_bytes(fixture.guest, bad_header, sizeof(bad_header), NULL, 0), 0);
	assert_int_equal(fake_guest_send_message(fixture.guest, FAKE_SET_VRING_CALL, FAKE_VERSION,
						 8, &queue, 8, &stuck.fd, 1),
			 0);
	close(stuck.fd);
	assert_int_equal(fake_guest_wait_hangup(fixture.guest), 0);
	assert_int_equal(fake_guest_reconnect(fixture.guest, FAKE_ORDER_QEMU), 0);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	close(stuck.peer);
	fixture_close(&fixture);
}

/* What the last frontend did is not held against the next. */
static void test_error_forgotten(void **state)
{
	static const uint8_t bad_header[12] = { 0xff };

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(
	    fake_guest_send_bytes(fixture.guest, bad_header, sizeof(bad_header), NULL, 0), 0);
	assert_int_equal(fake_guest_wait_hangup(fixture.guest), 0);
	assert_string_not_equal(harness_status(&fixture.harness).last_error, "");
	fixture_connect_anew(&fixture);
	assert_string_equal(harness_status(&fixture.harness).last_error, "");
	fake_guest_disconnect(fixture.guest);
	fixture_settle(&fixture);
	assert_false(harness_status(&fixture.harness).connected);
	assert_string_equal(harness_status(&fixture.harness).last_error, "");
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_fd_full_and_blocking),
		cmocka_unit_test(test_error_fd_full_and_blocking),
		cmocka_unit_test(test_backend_channel),
		cmocka_unit_test(test_unread_fd_that_cannot_be_closed),
		cmocka_unit_test(test_error_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
