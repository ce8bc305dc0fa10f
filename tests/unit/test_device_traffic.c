/* Frames through the vhost-user device, there and back, compared byte for byte, over split and over
 * packed rings: each layout of descriptors, header size and receive mode; ring sizes and index
 * wraps; memory that comes and goes; rings that resume; and all of it beside a worker thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/vnet_header.h"
#include "tests/lib/device_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODERN                                                                                     \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) |                         \
	 FAKE_BIT(FAKE_F_INDIRECT_DESC) | FAKE_BIT(FAKE_F_EVENT_IDX))
#define IN_ORDER FAKE_BIT(FAKE_F_IN_ORDER)
#define LEGACY	 (FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) | FAKE_BIT(FAKE_F_INDIRECT_DESC))

static struct fixture fixture;

static const struct fake_layout layouts[] = {
	{ .first = 0 },
	{ .first = 10 },
	{ .first = 12 },
	{ .first = 26 },
	{ .first = 5, .piece = 100, .gap = 8 },
	{ .piece = 7 },
	{ .piece = 1 },
	{ .first = 0, .table = FAKE_INDIRECT },
	{ .first = 12, .table = FAKE_INDIRECT },
	{ .first = 13, .piece = 64, .gap = 3, .table = FAKE_INDIRECT },
	{ .piece = 1, .table = FAKE_INDIRECT },
};
#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static uint32_t piece_count(const struct fake_layout *layout, uint32_t length)
{
	uint32_t rest = layout->first < length ? length - layout->first : 0;

	return 1 + (layout->piece == 0 ? 1 : rest / layout->piece + 1);
}

/* Echoes one frame with just the buffers that it needs. */
static void echo_exactly(uint32_t length, uint32_t buffer)
{
	uint32_t count = (length + fixture.guest->header_size + buffer - 1) / buffer;

	fixture_post_and_echo(&fixture, 0, length, count, buffer);
}

static void check_layouts(uint64_t features, uint32_t pieces_max)
{
	static const uint32_t lengths[] = { 14, 60, 191, 192, 193, 1514, 9014 };
	bool mergeable = (features & FAKE_BIT(FAKE_F_MRG_RXBUF)) != 0;

	for (size_t s = 0; s < LAYOUTS; s++) {
		for (size_t r = 0; r < LAYOUTS; r++) {
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				uint32_t length = lengths[l];
				uint32_t buffer = mergeable ? 700 : length + 12;
				uint32_t buffers = mergeable ? (length + 12) / 700 + 1 : 1;

				if (piece_count(&layouts[s], length + 12) > pieces_max ||
				    piece_count(&layouts[r], buffer) * buffers > pieces_max)
					continue;
				fixture.guest->options.send = layouts[s];
				fixture.guest->options.receive = layouts[r];
				echo_exactly(length, buffer);
			}
		}
	}
	assert_int_equal(harness_all_drops(&fixture.harness), 0);
}

static void test_every_layout(void **state)
{
	static const uint64_t features[] = {
		MODERN | FAKE_BIT(FAKE_F_MRG_RXBUF),
		MODERN,
		LEGACY | FAKE_BIT(FAKE_F_MRG_RXBUF),
		LEGACY,
		MODERN | FAKE_BIT(FAKE_F_MRG_RXBUF) | IN_ORDER,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		struct fake_guest_options options = {
			.ring_size = 2048,
			.buffer_size = 12000,
			.indirect_entries = 1600,
			.features = features[i],
		};

		fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
		assert_int_equal(fixture.guest->header_size, features[i] == LEGACY ? 10 : 12);
		check_layouts(features[i], 1600);
		fixture_close(&fixture);
	}
}

/* Regions of one page: every buffer of a jumbo frame lies in three or four files. */
static void test_chains_across_regions(void **state)
{
	struct fake_guest_options options = {
		.ring_size = 64,
		.buffer_size = 10000,
		.regions = 360,
		.region_size = 4096,
		.features = MODERN | FAKE_BIT(FAKE_F_MRG_RXBUF),
	};

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	assert_int_equal(harness_status(&fixture.harness).memory_regions, 360);
	check_layouts(options.features, 60);
	for (uint32_t length = 4000; length < 9000; length += 61) {
		fixture.guest->options.send = (struct fake_layout){ 0 };
		fixture.guest->options.receive = (struct fake_layout){ 0 };
		echo_exactly(length, 9100);
	}
	fixture_close(&fixture);
}

/* An IPv4 TCP frame with an MSS, as a guest with TSO sends it. */
static void fill_tcp(uint8_t *frame, uint32_t length, struct fake_header *header)
{
	uint32_t ip = length - 14;

	fixture_fill(frame, length, 4711);
	memset(frame + 12, 0, 2 + 20 + 20);
	frame[12] = 0x08;
	frame[14] = 0x45;
	frame[16] = (uint8_t)(ip >> 8);
	frame[17] = (uint8_t)ip;
	frame[22] = 64;
	frame[23] = 6;
	frame[26] = frame[30] = 10;
	frame[29] = 1;
	frame[33] = 2;
	frame[46] = 0x50;
	frame[47] = 0x10;
	*header = (struct fake_header){
		.flags = 1,
		.gso_type = 1,
		.hdr_len = 54,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
	};
}

static void check_large(uint64_t features, uint32_t buffer)
{
	struct fake_guest_options options = {
		.ring_size = 256,
		.buffer_size = 65700,
		.features = features,
		.send = { .first = 66, .piece = 4096 },
	};
	struct fake_header sent, received;
	uint32_t length = 65549;

	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	fill_tcp(fixture.sent, length, &sent);
	assert_int_equal(fake_guest_post(fixture.guest, 0, 65600 / buffer + 1, buffer), 0);
	assert_int_equal(fake_guest_send(fixture.guest, 0, &sent, fixture.sent, length), 0);
	assert_int_equal(fake_guest_wait_receive(fixture.guest, 0, &received, fixture.received,
						 sizeof(fixture.received)),
			 length);
	assert_memory_equal(fixture.sent, fixture.received, length);
	assert_int_equal(received.flags, 1);
	assert_int_equal(received.gso_type, 1);
	assert_int_equal(received.gso_size, 1448);
	assert_int_equal(received.csum_start, 34);
	assert_int_equal(received.csum_offset, 16);
	assert_int_equal(received.num_buffers, (length + 12 + buffer - 1) / buffer);
	fixture_close(&fixture);
}

static void test_64k_frames(void **state)
{
	const uint64_t offloads = FAKE_BIT(FAKE_F_CSUM) | FAKE_BIT(FAKE_F_GUEST_CSUM) |
				  FAKE_BIT(FAKE_F_HOST_TSO4) | FAKE_BIT(FAKE_F_GUEST_TSO4);

	(void)state;
	check_large(MODERN | offloads | FAKE_BIT(FAKE_F_MRG_RXBUF), 1536);
	check_large(MODERN | offloads | FAKE_BIT(FAKE_F_MRG_RXBUF), 4096);
	check_large(MODERN | offloads, 65600);
}

/* Bursts over rings of every size, until the 16-bit indices have wrapped twice. Each packet must
 * come back once, in order, whole. */
static void check_bursts(uint16_t ring_size, uint64_t features, uint32_t packets)
{
	struct fake_guest_options options = { .ring_size = ring_size,
					      .buffer_size = 256,
					      .indirect_entries = 1,
					      .features = features };
	uint32_t sent = 0, received = 0;
	struct fake_guest *guest;
	uint8_t packet[12 + 60] = { 0 };

	fixture_start(&fixture, NULL, &options, FAKE_ORDER_VIRTIO_USER);
	guest = fixture.guest;
	assert_int_equal(fake_guest_post(guest, 0, ring_size, 256), 0);
	fixture_fill(packet + 12, 60, ring_size);
	while (received < packets) {
		struct fake_packet out[32];
		uint32_t n;

		while (sent < packets && sent - received < ring_size) {
			struct fake_packet in = { packet, sizeof(packet) };

			memcpy(packet + 12 + 30, &sent, sizeof(sent));
			if (fake_guest_send_burst(guest, 0, &in, 1) == 0)
				break;
			sent++;
		}
		n = fake_guest_receive_burst(guest, 0, out, 32);
		for (uint32_t i = 0; i < n; i++, received++) {
			memcpy(packet + 12 + 30, &received, sizeof(received));
			assert_int_equal(out[i].length, sizeof(packet));
			assert_memory_equal((uint8_t *)out[i].data + 12, packet + 12, 60);
		}
		fake_guest_receive_done(guest, 0);
		if (n == 0 && fake_ring_arm(&guest->queues[0].ring))
			assert_int_equal(fake_guest_wait_call(guest, 0), 0);
	}
	assert_int_equal(harness_all_drops(&fixture.harness), 0);
	fixture_close(&fixture);
}

static void test_ring_sizes(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 8, 256, 1024, 32768 };
	static const uint16_t odd[] = { 3, 7, 100, 1000, 32767 }; /* of a packed ring */

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_bursts(sizes[i], MODERN, 4000);
		check_bursts(sizes[i], LEGACY | FAKE_BIT(FAKE_F_MRG_RXBUF), 4000);
		check_bursts(sizes[i], MODERN | IN_ORDER, 4000);
	}
	for (size_t i = 0; fixture_packed && i < sizeof(odd) / sizeof(odd[0]); i++) {
		check_bursts(odd[i], MODERN, 4000);
		check_bursts(odd[i], MODERN | IN_ORDER, 4000);
	}
}

static void test_indices_wrap(void **state)
{
	(void)state;
	check_bursts(256, MODERN, 140000);
	check_bursts(32768, LEGACY | FAKE_BIT(FAKE_F_MRG_RXBUF), 140000);
	check_bursts(256, MODERN | IN_ORDER, 140000);
}

/* Sends a frame that lies in the given region, and waits for its echo. */
static void echo_from_region(uint32_t region)
{
	struct fake_guest *guest = fixture.guest;
	uint64_t address = guest->memory.regions[region].guest_address;
	struct fake_buffer buffer = { address, 12 + 1000 };
	uint8_t *memory = fake_memory_host(&guest->memory, address);
	struct fake_header header;
	int rc;

	memset(memory, 0, 12);
	fixture_fill(memory + 12, 1000, region);
	assert_int_equal(fake_guest_post_chain(guest, 1, &buffer, 1, 0), 0);
	rc = fake_guest_wait_receive(guest, 0, &header, fixture.received, 1000);
	assert_int_equal(rc, 1000);
	assert_memory_equal(memory + 12, fixture.received, 1000);
	assert_true(fake_guest_reclaim(guest, 0) >= 0);
}

/* A frame that was on its way while the memory changed has come back, or was counted as dropped
 * because its port was down for that moment. */
static void expect_echo_or_drop(uint64_t *down)
{
	struct fake_header header;
	int rc;

	assert_int_equal(fake_guest_wait_sent(fixture.guest, 0), 0);
	rc = fake_guest_receive(fixture.guest, 0, &header, fixture.received, 60);
	if (rc == -EAGAIN) {
		assert_int_equal(harness_drops(&fixture.harness, DROP_PORT_DOWN), ++*down);
		return;
	}
	assert_int_equal(rc, 60);
	assert_memory_equal(fixture.sent, fixture.received, 60);
}

/* 509 slots, one after the other while frames pass, and back again. */
static void check_hot_plug(enum harness_mode mode)
{
	struct fake_guest_options options = { .plug_room = 510 * 4096 };
	struct fake_guest *guest;
	uint64_t down = 0;
	int region;

	fixture_open(&fixture, mode, NULL, &options);
	guest = fixture.guest;
	assert_int_equal(fake_guest_start(guest, FAKE_ORDER_QEMU), 0);
	for (int i = 1; i < 509; i++) {
		if (guest->queues[0].free_slot_count >= 3)
			assert_int_equal(fake_guest_post(guest, 0, 3, 1200), 0);
		fixture_fill(fixture.sent, 60, (uint32_t)i);
		assert_int_equal(
		    fake_guest_send(guest, 0, &(struct fake_header){ 0 }, fixture.sent, 60), 0);
		region = fake_guest_plug(guest, 4096);
		assert_int_equal(region, i);
		expect_echo_or_drop(&down);
		echo_from_region((uint32_t)region);
		fixture_echo(&fixture, 0, 60);
	}
	assert_int_equal(harness_status(&fixture.harness).memory_regions, 509);
	assert_int_equal(fake_guest_plug(guest, 4096), -EREMOTEIO);
	for (uint32_t i = 1; i < 509; i++) {
		assert_int_equal(fake_guest_unplug(guest, i), 0);
		fixture_post_and_echo(&fixture, 0, 60, 1, 1200);
	}
	assert_int_equal(harness_status(&fixture.harness).memory_regions, 1);
	assert_int_equal(harness_all_drops(&fixture.harness), down);
	fixture_close(&fixture);
}

static void test_memory_hot_plug(void **state)
{
	(void)state;
	check_hot_plug(HARNESS_SAME_THREAD);
}

static void test_memory_hot_plug_beside_worker(void **state)
{
	(void)state;
	check_hot_plug(HARNESS_WORKER_THREAD);
}

/* A region goes while a chain in the ring still points to it: the chain is refused, counted and
 * given back, and the ring lives on. */
static void test_unplug_under_a_pending_chain(void **state)
{
	struct fake_guest_options options = { .plug_room = 8192 };
	struct fake_buffer buffer = { .length = 200 };
	int region;

	(void)state;
	fixture_start(&fixture, NULL, &options, FAKE_ORDER_QEMU);
	region = fake_guest_plug(fixture.guest, 4096);
	assert_int_equal(region, 1);
	buffer.address = fixture.guest->memory.regions[1].guest_address;
	assert_int_equal(fake_guest_post_chain(fixture.guest, 1, &buffer, 1, 0), 0);
	assert_int_equal(fake_guest_unplug(fixture.guest, 1), 0);
	assert_int_equal(fake_guest_wait_sent(fixture.guest, 0), 0);
	assert_int_equal(harness_drops(&fixture.harness, DROP_CHAIN_ADDRESS), 1);
	fixture_post_and_echo(&fixture, 0, 60, 1, 1200);
	fixture_close(&fixture);
}

static void send_unseen(uint32_t count, uint32_t seed)
{
	for (uint32_t i = 0; i < count; i++) {
		fixture_fill(fixture.sent, 400, seed + i);
		assert_int_equal(fake_guest_send(fixture.guest, 0, &(struct fake_header){ 0 },
						 fixture.sent, 400),
				 0);
	}
}

static void expect_once_in_order(uint32_t count, uint32_t seed)
{
	struct fake_header header;

	for (uint32_t i = 0; i < count; i++) {
		int rc = fake_guest_wait_receive(fixture.guest, 0, &header, fixture.received, 400);

		assert_int_equal(rc, 400);
		fixture_fill(fixture.sent, 400, seed + i);
		assert_memory_equal(fixture.sent, fixture.received, 400);
	}
	fixture_settle(&fixture);
	assert_int_equal(fake_guest_receive(fixture.guest, 0, &header, fixture.received, 400),
			 -EAGAIN);
}

/* The frontend leaves with frames in the ring and comes again; then weft itself does. Each frame
 * passes once. */
static void test_rings_resume(void **state)
{
	static const struct {
		enum fake_order order;
		enum fake_base base;
	} cases[] = {
		{ FAKE_ORDER_QEMU, FAKE_BASE_USED },
		{ FAKE_ORDER_VIRTIO_USER, FAKE_BASE_USED },
		{ FAKE_ORDER_QEMU, FAKE_BASE_ZERO },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct fake_guest_options options = { .base = cases[i].base };
		enum fake_order order = cases[i].order;

		fixture_start(&fixture, NULL, &options, order);
		assert_int_equal(fake_guest_post(fixture.guest, 0, 64, 2048), 0);
		for (int n = 0; n < 7; n++)
			fixture_echo(&fixture, 0, 64);
		send_unseen(5, 100);
		assert_int_equal(fake_guest_reconnect(fixture.guest, order), 0);
		expect_once_in_order(5, 100);
		/* A device that begins at 0 would serve the old entries again, unseen. */
		assert_int_equal(harness_received(&fixture.harness), 7 + 5);
		send_unseen(9, 200);
		assert_int_equal(harness_restart(&fixture.harness, &fixture.config), 0);
		assert_int_equal(fake_guest_reconnect(fixture.guest, order), 0);
		expect_once_in_order(9, 200);
		assert_int_equal(harness_received(&fixture.harness), 7 + 5 + 9);
		assert_int_equal(fake_guest_wait_sent(fixture.guest, 0), 0);
		fixture_close(&fixture);
	}
}

/* Echoes beside a worker thread while rings stop, go on, are enabled and disabled, and while the
 * connection is made anew. */
static void test_rings_change_beside_worker(void **state)
{
	struct fake_guest *guest;
	uint32_t base;

	(void)state;
	fixture_open(&fixture, HARNESS_WORKER_THREAD, NULL, NULL);
	guest = fixture.guest;
	assert_int_equal(fake_guest_start(guest, FAKE_ORDER_QEMU), 0);
	assert_int_equal(fake_guest_post(guest, 0, 200, 2048), 0);
	for (uint32_t round = 0; round < 30; round++) {
		fixture_echo(&fixture, 0, 500);
		assert_int_equal(fake_guest_post(guest, 0, 1, 2048), 0);
		assert_int_equal(
		    fake_guest_set_fd(guest, FAKE_SET_VRING_CALL, 0, guest->queues[0].call_fd), 0);
		for (uint32_t q = 0; q < 2; q++) {
			assert_int_equal(fake_guest_get_base(guest, q, &base), 0);
			assert_int_equal(fake_guest_setup_queue(guest, q, base), 0);
			assert_int_equal(fake_guest_set_fd(guest, FAKE_SET_VRING_KICK, q,
							   guest->queues[q].kick_fd),
					 0);
		}
		fixture_echo(&fixture, 0, 500);
		assert_int_equal(fake_guest_post(guest, 0, 1, 2048), 0);
		if (round % 10 == 9)
			assert_int_equal(fake_guest_reconnect(guest, FAKE_ORDER_QEMU), 0);
	}
	assert_int_equal(harness_all_drops(&fixture.harness), 0);
	fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_layout),
		cmocka_unit_test(test_chains_across_regions),
		cmocka_unit_test(test_64k_frames),
		cmocka_unit_test(test_ring_sizes),
		cmocka_unit_test(test_indices_wrap),
		cmocka_unit_test(test_memory_hot_plug),
		cmocka_unit_test(test_memory_hot_plug_beside_worker),
		cmocka_unit_test(test_unplug_under_a_pending_chain),
		cmocka_unit_test(test_rings_resume),
		cmocka_unit_test(test_rings_change_beside_worker),
	};

	int failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);

	fixture_packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
