/* The vhost-user device against a frontend of independent make: handshakes in the orders of QEMU,
 * User Mode Linux and DPDK's virtio-user, each request and its reply, and what starts and stops a
 * ring. Frames in every layout are in test_device_traffic.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/vnet_header.h"
#include "tests/lib/device_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture fixture;

static bool has_feature(uint64_t bits, unsigned bit)
{
	return (bits & FAKE_BIT(bit)) != 0;
}

static void check_order(enum fake_role role, enum fake_order order)
{
	uint16_t pairs = order == FAKE_ORDER_UML ? 1 : 2;
	struct fake_guest_options options = { .role = role, .queue_pairs = pairs };

	fixture_start(&fixture, NULL, &options, order);
	assert_int_equal(fixture.harness.started - fixture.harness.stopping, 2 * pairs);
	assert_true(fixture.harness.link);
	assert_int_equal(fixture.harness.link_changes, 1);
	fixture_post_and_echo(&fixture, 0, 60, 8, 2048);
	fixture_post_and_echo(&fixture, pairs - 1u, 1514, 8, 2048);
	fake_guest_disconnect(fixture.guest);
	fixture_pump_until(&fixture, &fixture.harness.link_changes, 2);
	assert_false(fixture.harness.link);
	assert_int_equal(fixture.harness.started, fixture.harness.stopping);
	fixture_close(&fixture);
}

static void test_orders_server(void **state)
{
	(void)state;
	check_order(FAKE_CONNECTS, FAKE_ORDER_QEMU);
	check_order(FAKE_CONNECTS, FAKE_ORDER_UML);
	check_order(FAKE_CONNECTS, FAKE_ORDER_VIRTIO_USER);
}

static void test_orders_client(void **state)
{
	(void)state;
	check_order(FAKE_LISTENS, FAKE_ORDER_QEMU);
	check_order(FAKE_LISTENS, FAKE_ORDER_UML);
	check_order(FAKE_LISTENS, FAKE_ORDER_VIRTIO_USER);
}

/* QEMU keeps the control queue and configuration space itself and only asks what the backend can
 * bear; a driver right behind the socket would look for both in vain. */
static void test_features_offered(void **state)
{
	static const uint8_t always[] = {
		FAKE_F_CSUM,	   FAKE_F_GUEST_CSUM,	 FAKE_F_GUEST_TSO4,
		FAKE_F_GUEST_TSO6, FAKE_F_GUEST_ECN,	 FAKE_F_GUEST_UFO,
		FAKE_F_HOST_TSO4,  FAKE_F_HOST_TSO6,	 FAKE_F_HOST_ECN,
		FAKE_F_HOST_UFO,   FAKE_F_MRG_RXBUF,	 FAKE_F_LOG_ALL,
		FAKE_F_EVENT_IDX,  FAKE_F_INDIRECT_DESC, FAKE_F_PROTOCOL_FEATURES,
		FAKE_F_VERSION_1,  FAKE_F_GUEST_USO4,	 FAKE_F_GUEST_USO6,
		FAKE_F_HOST_USO,
	};
	static const uint8_t to_devices[] = { FAKE_F_STATUS, FAKE_F_CTRL_VQ, FAKE_F_GUEST_ANNOUNCE,
					      FAKE_F_MTU };
	struct fake_guest *guest;

	(void)state;
	fixture_open(&fixture, HARNESS_SAME_THREAD, NULL, NULL);
	guest = fixture.guest;
	assert_int_equal(fake_guest_connect(guest), 0);
	assert_int_equal(fake_guest_get_features(guest), 0);
	for (size_t i = 0; i < sizeof(always); i++)
		assert_true(has_feature(guest->offered, always[i]));
	for (size_t i = 0; i < sizeof(to_devices); i++)
		assert_true(has_feature(guest->offered, to_devices[i]));
	assert_false(has_feature(guest->offered, FAKE_F_MQ));
	assert_int_equal(fake_guest_connect(guest), 0);
	assert_int_equal(fake_guest_set_owner(guest), 0);
	assert_int_equal(fake_guest_get_features(guest), 0);
	for (size_t i = 0; i < sizeof(always); i++)
		assert_true(has_feature(guest->offered, always[i]));
	for (size_t i = 0; i < sizeof(to_devices); i++)
		assert_false(has_feature(guest->offered, to_devices[i]));
	fixture_close(&fixture);
}

static void test_optional_features(void **state)
{
	struct fake_guest_options options = { .queue_pairs = 3 };

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	assert_true(has_feature(fixture.guest->offered, FAKE_F_MQ));
	assert_int_equal(fixture.guest->max_queues, 3);
	assert_int_equal(fixture.guest->max_slots, 509);
	assert_int_equal(fixture.guest->protocol_features, fixture.guest->protocol_offered);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (has_feature(fixture.guest->offered, bit))
			assert_non_null(vhost_feature_name(bit));
		if (has_feature(fixture.guest->protocol_offered, bit))
			assert_non_null(vhost_protocol_feature_name(bit));
	}
	fixture_close(&fixture);
}

static void test_status_shows_what_was_negotiated(void **state)
{
	struct fake_guest_options options = { .regions = 3 };
	struct vhost_device_status status;

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	status = harness_status(&fixture.harness);
	assert_true(status.connected);
	assert_int_equal(status.features, fixture.guest->features);
	assert_int_equal(status.protocol_features, fixture.guest->protocol_features);
	assert_int_equal(status.memory_regions, 3);
	assert_int_equal(status.memory_size, fixture.guest->memory.size);
	assert_int_equal(status.device_status, 15);
	assert_int_equal(status.connects, 1);
	assert_int_equal(status.message_errors, 0);
	assert_false(status.logging);
	assert_string_equal(status.last_error, "");
	fixture_close(&fixture);
}

static void test_device_status(void **state)
{
	uint64_t value = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_set_u64(fixture.guest, FAKE_SET_STATUS, 7), 0);
	assert_int_equal(fake_guest_get_u64(fixture.guest, FAKE_GET_STATUS, &value), 0);
	assert_int_equal(value, 7);
	fixture_close(&fixture);
}

/* QEMU stops a device with SET_STATUS 0 and only then asks where the rings stand. */
static void test_status_zero_keeps_indices(void **state)
{
	uint32_t base = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_post(fixture.guest, 0, 16, 2048), 0);
	for (int i = 0; i < 5; i++)
		fixture_echo(&fixture, 0, 100);
	assert_int_equal(fake_guest_set_u64(fixture.guest, FAKE_SET_STATUS, 0), 0);
	assert_int_equal(fake_guest_get_base(fixture.guest, 1, &base), 0);
	assert_int_equal(base, 5);
	assert_int_equal(fake_guest_get_base(fixture.guest, 0, &base), 0);
	assert_int_equal(base, 5);
	fixture_close(&fixture);
}

/* A ring stops at GET_VRING_BASE and goes on from the value that it gave. */
static void test_base_stops_and_resumes(void **state)
{
	uint32_t base[2] = { 0 };
	struct fake_header header = { 0 };

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_post(fixture.guest, 0, 16, 2048), 0);
	for (int i = 0; i < 3; i++)
		fixture_echo(&fixture, 0, 64);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(fake_guest_get_base(fixture.guest, i, &base[i]), 0);
	assert_int_equal(fixture.harness.stopping, 2);
	assert_false(fixture.harness.link);
	assert_int_equal(base[1], 3);
	/* Sent into a stopped ring: waits there. */
	fixture_fill(fixture.sent, 64, 77);
	assert_int_equal(fake_guest_send(fixture.guest, 0, &header, fixture.sent, 64), 0);
	fixture_settle(&fixture);
	assert_int_equal(harness_received(&fixture.harness), 3);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(fake_guest_setup_queue(fixture.guest, i, base[i]), 0);
		assert_int_equal(fake_guest_set_fd(fixture.guest, FAKE_SET_VRING_KICK, i,
						   fixture.guest->queues[i].kick_fd),
				 0);
	}
	assert_int_equal(fake_guest_wait_receive(fixture.guest, 0, &header, fixture.received, 64),
			 64);
	assert_memory_equal(fixture.sent, fixture.received, 64);
	assert_int_equal(harness_received(&fixture.harness), 4);
	fixture_close(&fixture);
}

static void test_rings_wait_for_enable(void **state)
{
	struct fake_guest *guest;

	(void)state;
	fixture_open(&fixture, HARNESS_SAME_THREAD, NULL, NULL);
	guest = fixture.guest;
	/* Asks for features first, so it is taken for a virtual machine monitor, which will enable
	 * its rings; then all of virtio-user's handshake but the two enables and the status. */
	assert_int_equal(fake_guest_connect(guest), 0);
	assert_int_equal(fake_guest_get_features(guest), 0);
	guest->message_limit = 19;
	assert_int_equal(fake_guest_handshake(guest, FAKE_ORDER_VIRTIO_USER), -ECANCELED);
	guest->message_limit = 0;
	assert_int_equal(fixture.harness.started, 0);
	assert_int_equal(fake_guest_enable(guest, 1, 1), 0);
	assert_int_equal(fixture.harness.started, 1);
	assert_false(fixture.harness.link);
	assert_int_equal(fake_guest_enable(guest, 0, 1), 0);
	assert_int_equal(fixture.harness.started, 2);
	assert_true(fixture.harness.link);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	assert_int_equal(fake_guest_enable(guest, 0, 0), 0);
	assert_false(fixture.harness.link);
	assert_int_equal(fixture.harness.stopping, 1);
	assert_int_equal(fake_guest_enable(guest, 0, 1), 0);
	assert_true(fixture.harness.link);
	fixture_echo(&fixture, 0, 60);
	fixture_close(&fixture);
}

/* By the letter of the spec: without PROTOCOL_FEATURES acknowledged, rings need no enable, whoever
 * the frontend is. */
static void test_rings_without_protocol_features(void **state)
{
	struct fake_guest_options options = {
		.features = FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_MRG_RXBUF),
		.protocol_features = FAKE_BIT(FAKE_PROTOCOL_MQ),
	};
	struct fake_guest *guest;

	(void)state;
	fixture_open(&fixture, HARNESS_SAME_THREAD, NULL, &options);
	guest = fixture.guest;
	assert_int_equal(fake_guest_connect(guest), 0);
	assert_int_equal(fake_guest_get_features(guest), 0);
	assert_int_equal(fake_guest_handshake(guest, FAKE_ORDER_UML), 0);
	assert_int_equal(fake_guest_sync(guest), 0);
	assert_true(fixture.harness.link);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_kick_without_fd_means_polling(void **state)
{
	uint32_t base = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_get_base(fixture.guest, 1, &base), 0);
	assert_int_equal(fake_guest_setup_queue(fixture.guest, 1, base), 0);
	assert_int_equal(fake_guest_set_fd(fixture.guest, FAKE_SET_VRING_KICK, 1, -1), 0);
	assert_int_equal(vhost_device_queue(fixture.harness.device, 1)->kick_fd, -1);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_call_fd_replaced_while_running(void **state)
{
	struct fake_queue *queue;
	int ends[2];
	uint64_t count;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	queue = &fixture.guest->queues[0];
	fixture_post_and_echo(&fixture, 0, 60, 16, 2048);
	close(queue->call_fd);
	queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(fake_guest_set_fd(fixture.guest, FAKE_SET_VRING_CALL, 0, queue->call_fd),
			 0);
	fixture_echo(&fixture, 0, 60);
	/* A socket serves, too (User Mode Linux), and a full one must not stop the worker. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	while (send(ends[1], &count, sizeof(count), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(fake_guest_set_fd(fixture.guest, FAKE_SET_VRING_CALL, 0, ends[1]), 0);
	close(queue->call_fd);
	queue->call_fd = ends[0];
	fixture_echo(&fixture, 0, 60);
	fixture_echo(&fixture, 0, 60);
	close(ends[1]);
	/* And none at all. */
	assert_int_equal(fake_guest_set_fd(fixture.guest, FAKE_SET_VRING_CALL, 0, -1), 0);
	assert_int_equal(fixture.harness.stopping, 0);
	fixture_close(&fixture);
}

static void test_reset_device(void **state)
{
	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_request(fixture.guest, FAKE_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture.harness.stopping, 2);
	assert_false(fixture.harness.link);
	assert_int_equal(fake_guest_handshake(fixture.guest, FAKE_ORDER_QEMU), 0);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_reset_owner_stops_rings(void **state)
{
	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_request(fixture.guest, FAKE_RESET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture.harness.stopping, 2);
	assert_int_equal(fake_guest_handshake(fixture.guest, FAKE_ORDER_QEMU), 0);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_announce(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	uint64_t payload = 0;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	memcpy(&payload, mac, sizeof(mac));
	assert_int_equal(fake_guest_set_u64(fixture.guest, FAKE_SEND_RARP, payload), 0);
	assert_int_equal(fixture.harness.announces, 1);
	assert_memory_equal(&fixture.harness.announced, mac, sizeof(mac));
	fixture_close(&fixture);
}

static void test_mtu(void **state)
{
	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	assert_int_equal(fake_guest_set_u64(fixture.guest, FAKE_NET_SET_MTU, 9000), 0);
	assert_int_equal(harness_status(&fixture.harness).mtu, 9000);
	assert_int_equal(fake_guest_set_u64(fixture.guest, FAKE_NET_SET_MTU, 67), -EREMOTEIO);
	assert_int_equal(harness_status(&fixture.harness).mtu, 9000);
	fixture_close(&fixture);
}

static bool page_marked(const uint8_t *log, uint64_t address)
{
	uint64_t page = address / 4096;

	return (log[page / 8] & (1u << (page % 8))) != 0;
}

/* What we write is marked: the buffer a frame went to, and the used ring under the address that the
 * frontend gave for it, which is in no region here. */
static void test_dirty_log(void **state)
{
	const uint64_t used_page = 0x800000;
	struct fake_guest *guest;
	struct fake_message message;
	uint64_t log[2] = { 1 << 16, 4096 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	uint8_t *bits;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	assert_int_equal(ftruncate(fd, (off_t)(log[0] + log[1])), 0);
	bits = mmap(NULL, log[0] + log[1], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	bits += log[1];
	assert_int_equal(fake_guest_send_message(guest, FAKE_SET_LOG_BASE, FAKE_VERSION,
						 sizeof(log), log, sizeof(log), &fd, 1),
			 0);
	assert_int_equal(fake_guest_receive_message(guest, &message), 0);
	assert_int_equal(message.request, FAKE_SET_LOG_BASE);
	assert_int_equal(fake_guest_set_features(guest, guest->features | FAKE_BIT(FAKE_F_LOG_ALL)),
			 0);
	for (uint32_t i = 0; i < 2; i++) {
		guest->queues[i].address_flags = 1;
		guest->queues[i].log_address = used_page + i * 4096;
		assert_int_equal(fake_guest_set_address(guest, i), 0);
	}
	assert_true(harness_status(&fixture.harness).logging);
	fixture_post_and_echo(&fixture, 0, 1514, 4, 2048);
	assert_true(page_marked(bits, guest->queues[0].slots));
	assert_true(page_marked(bits, used_page));
	assert_true(page_marked(bits, used_page + 4096));
	assert_false(page_marked(bits, guest->queues[1].slots));
	assert_int_equal(
	    fake_guest_set_features(guest, guest->features & ~FAKE_BIT(FAKE_F_LOG_ALL)), 0);
	memset(bits, 0, log[0]);
	fixture_echo(&fixture, 0, 1514);
	for (uint64_t i = 0; i < log[0]; i++)
		assert_int_equal(bits[i], 0);
	munmap(bits - log[1], log[0] + log[1]);
	close(fd);
	fixture_close(&fixture);
}

/* Whatever the moment, a frontend that leaves costs nothing and the next one is served. */
static void test_disconnect_at_any_point(void **state)
{
	static const enum fake_order orders[] = { FAKE_ORDER_QEMU, FAKE_ORDER_UML,
						  FAKE_ORDER_VIRTIO_USER };
	struct footprint before, after;

	(void)state;
	for (size_t o = 0; o < 3; o++) {
		fixture_start(&fixture, NULL, NULL, orders[o]);
		fake_guest_disconnect(fixture.guest);
		fixture_settle(&fixture);
		before = footprint_take();
		for (uint32_t limit = 1;; limit++) {
			int rc;

			fixture.guest->message_limit = limit;
			rc = fake_guest_start(fixture.guest, orders[o]);
			fake_guest_disconnect(fixture.guest);
			fixture_settle(&fixture);
			if (rc == 0)
				break;
			assert_int_equal(rc, -ECANCELED);
		}
		after = footprint_take_settled(before.fds);
		assert_true(after.fds <= before.fds);
		assert_true(after.mappings <= before.mappings);
		fixture.guest->message_limit = 0;
		assert_int_equal(fake_guest_start(fixture.guest, orders[o]), 0);
		fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
		fixture_close(&fixture);
	}
}

/* One frontend at a time: a second one does not disturb the first. */
static void test_second_connection(void **state)
{
	struct fake_guest_options options = { .pump = harness_pump,
					      .pump_context = &fixture.harness };
	struct fake_guest *second;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	options.path = fixture.harness.path;
	assert_int_equal(fake_guest_create(&options, &second), 0);
	assert_int_equal(fake_guest_connect(second), 0);
	fixture_settle(&fixture);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fake_guest_destroy(second);
	fixture_echo(&fixture, 0, 60);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders_server),
		cmocka_unit_test(test_orders_client),
		cmocka_unit_test(test_features_offered),
		cmocka_unit_test(test_optional_features),
		cmocka_unit_test(test_status_shows_what_was_negotiated),
		cmocka_unit_test(test_device_status),
		cmocka_unit_test(test_status_zero_keeps_indices),
		cmocka_unit_test(test_base_stops_and_resumes),
		cmocka_unit_test(test_rings_wait_for_enable),
		cmocka_unit_test(test_rings_without_protocol_features),
		cmocka_unit_test(test_kick_without_fd_means_polling),
		cmocka_unit_test(test_call_fd_replaced_while_running),
		cmocka_unit_test(test_reset_device),
		cmocka_unit_test(test_reset_owner_stops_rings),
		cmocka_unit_test(test_announce),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_disconnect_at_any_point),
		cmocka_unit_test(test_second_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
