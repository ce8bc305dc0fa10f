/* What a hostile frontend can send over the vhost-user socket, and what becomes of it: refused,
 * noted, and nothing kept. docs/threat-model.md names each test here; memory and file descriptors
 * are in test_threats_memory.c, rings and frames in test_threats_rings.c and _frames.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"
#include "tests/lib/repeat.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static struct fixture fixture;

static const uint8_t known_requests[] = { FAKE_GET_FEATURES,
					  FAKE_SET_FEATURES,
					  FAKE_SET_OWNER,
					  FAKE_RESET_OWNER,
					  FAKE_SET_MEM_TABLE,
					  FAKE_SET_LOG_BASE,
					  FAKE_SET_LOG_FD,
					  FAKE_SET_VRING_NUM,
					  FAKE_SET_VRING_ADDR,
					  FAKE_SET_VRING_BASE,
					  FAKE_GET_VRING_BASE,
					  FAKE_SET_VRING_KICK,
					  FAKE_SET_VRING_CALL,
					  FAKE_SET_VRING_ERR,
					  FAKE_GET_PROTOCOL_FEATURES,
					  FAKE_SET_PROTOCOL_FEATURES,
					  FAKE_GET_QUEUE_NUM,
					  FAKE_SET_VRING_ENABLE,
					  FAKE_SEND_RARP,
					  FAKE_NET_SET_MTU,
					  FAKE_SET_BACKEND_REQ_FD,
					  FAKE_RESET_DEVICE,
					  FAKE_GET_MAX_MEM_SLOTS,
					  FAKE_ADD_MEM_REG,
					  FAKE_REM_MEM_REG,
					  FAKE_SET_STATUS,
					  FAKE_GET_STATUS };

/* After an attack a frontend that behaves is served. */
static void close_alive(void)
{
	assert_int_equal(fake_guest_reconnect(fixture.guest, FAKE_ORDER_QEMU), 0);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_cve_2019_14818_ring_sizes_set_again_and_again(void **state)
{
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		for (uint32_t queue = 0; queue < 2; queue++) {
			uint32_t size = 1u << ((repeat.done + queue) % 9);

			assert_int_equal(
			    fake_guest_set_state(fixture.guest, FAKE_SET_VRING_NUM, queue, size),
			    0);
		}
	}
	assert_int_equal(fixture.harness.started - fixture.harness.stopping,
			 fixture.harness.link ? 2 : 0);
	close_alive();
}

static void test_ring_size_not_allowed(void **state)
{
	static const uint32_t sizes[] = { 0, 3, 255, 257, 32767, 65536, 0x10001, 0xffffffff };
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint32_t payload[2] = { 1, sizes[repeat.done % 8] };

		fixture_expect_refused(&fixture, FAKE_SET_VRING_NUM, payload, sizeof(payload), NULL,
				       0);
	}
	close_alive();
}

static void test_cve_2020_10723_queue_number_out_of_range(void **state)
{
	static const uint32_t indices[] = { 2,	 127,	  128,	   255,	       256,
					    257, 0x10000, 0x10001, 0x80000001, 0xffffffff };
	static const uint8_t requests[] = { FAKE_SET_VRING_NUM, FAKE_SET_VRING_BASE,
					    FAKE_GET_VRING_BASE, FAKE_SET_VRING_ENABLE,
					    FAKE_SET_VRING_ADDR };
	struct repeat repeat = repeat_begin();
	unsigned stopping;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	stopping = fixture.harness.stopping;
	while (repeat_next(&repeat)) {
		uint32_t payload[10] = { indices[repeat.done % 10], 256 };
		uint8_t request = requests[repeat.done / 10 % 5];

		if (request == FAKE_GET_VRING_BASE)
			continue; /* has a reply of its own: the connection ends, below */
		fixture_expect_refused(&fixture, request, payload,
				       request == FAKE_SET_VRING_ADDR ? 40 : 8, NULL, 0);
	}
	assert_int_equal(fixture.harness.stopping, stopping);
	for (size_t i = 0; i < 10; i++) {
		uint32_t payload[2] = { indices[i], 0 };

		fixture_expect_refused(&fixture, FAKE_GET_VRING_BASE, payload, sizeof(payload),
				       NULL, 0);
	}
	close_alive();
}

/* The index next to a file descriptor has 8 bits, and bit 8 says that there is none. */
static void test_unmasked_ring_index(void **state)
{
	static const uint64_t payloads[] = { 2,		  0xff,	      0x200,	  0x201, 0x10000,
					     0x100000001, 1ull << 63, UINT64_MAX, 0x2ff };
	static const uint8_t requests[] = { FAKE_SET_VRING_KICK, FAKE_SET_VRING_CALL,
					    FAKE_SET_VRING_ERR };
	int fd = eventfd(0, EFD_CLOEXEC);
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint64_t payload = payloads[repeat.done % 9];
		uint32_t count = (payload & FAKE_NO_FD) != 0 ? 0 : 1;

		fixture_expect_refused(&fixture, requests[repeat.done / 9 % 3], &payload, 8, &fd,
				       count);
	}
	close(fd);
	close_alive();
}

/* Crypto sessions and in-flight buffers are where other backends trusted lengths, counts and
 * descriptors; here they are requests that do not exist. */
static void check_unknown(uint32_t request, uint32_t size, uint32_t fd_count)
{
	struct repeat repeat = repeat_begin();
	uint8_t payload[FAKE_MESSAGE_MAX];
	int fds[2] = { eventfd(0, EFD_CLOEXEC), memfd_create("inflight", MFD_CLOEXEC) };

	memset(payload, 0xff, sizeof(payload));
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat))
		fixture_expect_refused(&fixture, request, payload, size, fds, fd_count);
	close(fds[0]);
	close(fds[1]);
	close_alive();
}

static void test_cve_2020_10724_crypto_session(void **state)
{
	(void)state;
	check_unknown(26, 280, 0);
	check_unknown(27, 8, 0);
}

static void test_cve_2020_10726_get_inflight_again_and_again(void **state)
{
	(void)state;
	check_unknown(FAKE_GET_INFLIGHT_FD, 20, 0);
}

static void test_cve_2021_3839_inflight_queue_count(void **state)
{
	(void)state;
	check_unknown(FAKE_SET_INFLIGHT_FD, 20, 1);
}

static void test_wrong_sizes(void **state)
{
	static const uint32_t sizes[] = { 1, 7, 9, 15, 17, 39, 41, 263, 265, 500 };
	struct repeat repeat = repeat_begin();
	uint8_t payload[FAKE_MESSAGE_MAX] = { 0 };

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint8_t request = known_requests[repeat.done % sizeof(known_requests)];
		uint32_t size = sizes[repeat.done / sizeof(known_requests) % 10];

		/* This one may be longer than what it says (User Mode Linux). */
		if (request != FAKE_SET_MEM_TABLE || size < 8)
			fixture_expect_refused(&fixture, request, payload, size, NULL, 0);
	}
	close_alive();
}

/* Longer than any known request, whether known or not, and byte by byte: read, refused by a reply,
 * and the connection goes on. */
static void test_long_messages(void **state)
{
	static const uint32_t requests[] = { FAKE_SET_MEM_TABLE, FAKE_SET_FEATURES, 24, 26, 9999 };
	static const uint32_t sizes[] = { 265, 296, 777, 4095, 4096 };
	struct repeat repeat = repeat_begin();
	uint8_t payload[4096];

	(void)state;
	memset(payload, 0xff, sizeof(payload));
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint32_t request = requests[repeat.done % 5];
		uint32_t size = sizes[repeat.done / 5 % 5];
		struct fake_message reply;

		assert_int_equal(fake_guest_send_message(fixture.guest, request,
							 FAKE_VERSION | FAKE_NEED_REPLY, size,
							 payload, 1, NULL, 0),
				 0);
		fixture_settle(&fixture);
		assert_int_equal(fake_guest_send_bytes(fixture.guest, payload, size - 1, NULL, 0),
				 0);
		assert_int_equal(fake_guest_receive_message(fixture.guest, &reply), 0);
		assert_int_equal(reply.request, request);
		assert_int_equal(reply.size, 8);
		assert_int_not_equal(reply.payload[0], 0);
	}
	assert_int_equal(harness_status(&fixture.harness).connects, 1);
	close_alive();
}

/* A size that no message has, an unknown version, and a reply nobody waits for end the connection
 * at the header. */
static void test_wrong_headers(void **state)
{
	static const struct {
		uint32_t flags, size;
	} headers[] = {
		{ FAKE_VERSION, 0xffffffff },
		{ FAKE_VERSION, 0x80000000 },
		{ FAKE_VERSION, 4097 },
		{ 0, 0 },
		{ 2, 0 },
		{ 3, 0 },
		{ FAKE_VERSION | FAKE_REPLY, 0 },
	};
	struct repeat repeat = repeat_begin();

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint32_t n = repeat.done % 7;

		assert_int_equal(fake_guest_send_message(fixture.guest, FAKE_GET_FEATURES,
							 headers[n].flags, headers[n].size, NULL, 0,
							 NULL, 0),
				 0);
		assert_int_equal(fake_guest_wait_hangup(fixture.guest), 0);
		fixture_connect_anew(&fixture);
	}
	close_alive();
}

/* The frontend leaves after any number of bytes of a message whose descriptors are already here. */
static void test_close_in_the_middle_of_a_message(void **state)
{
	struct repeat repeat = repeat_begin();
	uint8_t bytes[12 + 40] = { FAKE_SET_MEM_TABLE, 0, 0, 0, FAKE_VERSION, 0, 0, 0, 40 };
	int fds[2] = { memfd_create("region", MFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	(void)state;
	bytes[12] = 1;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint64_t errors = harness_status(&fixture.harness).message_errors;

		assert_int_equal(fake_guest_send_bytes(fixture.guest, bytes,
						       1 + repeat.done % (sizeof(bytes) - 1), fds,
						       2),
				 0);
		fake_guest_disconnect(fixture.guest);
		fixture_settle(&fixture);
		assert_int_equal(harness_status(&fixture.harness).message_errors, errors + 1);
		fixture_connect_anew(&fixture);
	}
	close(fds[0]);
	close(fds[1]);
	close_alive();
}

/* A frontend that asks and never reads: its socket fills, and that is its own end. */
static void test_replies_never_read(void **state)
{
	int rc = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	for (uint32_t i = 0; i < 1000000 && rc == 0; i++) {
		rc = fake_guest_send_message(fixture.guest, FAKE_GET_FEATURES, FAKE_VERSION, 0,
					     NULL, 0, NULL, 0);
		harness_pump(&fixture.harness);
	}
	assert_int_equal(rc, -EPIPE);
	assert_false(harness_status(&fixture.harness).connected);
	close_alive();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cve_2019_14818_ring_sizes_set_again_and_again),
		cmocka_unit_test(test_ring_size_not_allowed),
		cmocka_unit_test(test_cve_2020_10723_queue_number_out_of_range),
		cmocka_unit_test(test_unmasked_ring_index),
		cmocka_unit_test(test_cve_2020_10724_crypto_session),
		cmocka_unit_test(test_cve_2020_10726_get_inflight_again_and_again),
		cmocka_unit_test(test_cve_2021_3839_inflight_queue_count),
		cmocka_unit_test(test_wrong_sizes),
		cmocka_unit_test(test_long_messages),
		cmocka_unit_test(test_wrong_headers),
		cmocka_unit_test(test_close_in_the_middle_of_a_message),
		cmocka_unit_test(test_replies_never_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
