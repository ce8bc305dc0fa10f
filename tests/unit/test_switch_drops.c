/* Every reason for a drop that guests can provoke through the switch is counted once, at the right
 * port, and nothing else is; and all that was received is accounted for. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/switch_traffic.h"
#include "tests/unit/frame_check.h"

#include <stdio.h>
#include <string.h>

#define A      TRAFFIC_MAC(1)
#define B      TRAFFIC_MAC(2)
#define NO_TAG TRAFFIC_NO_TAG

#define RECEIVE 0u /* the queue on which a guest gets frames */
#define SEND	1u

/* Sender a, receiver b. */
struct rig {
	struct switch_fixture fixture;
	struct fake_guest *a, *b;
};

static void send_frame(struct rig *rig, uint64_t destination, uint64_t source, uint32_t tci,
		       uint32_t length)
{
	struct traffic_frame frame = traffic_build(destination, source, tci, 1, length);

	traffic_send(rig->a, &frame);
	traffic_settle(rig->a);
}

static void send_header(struct rig *rig, const struct fake_header *header)
{
	struct traffic_frame frame = traffic_build(B, A, NO_TAG, 1, 200);

	assert_return_code(fake_guest_send(rig->a, 0, header, frame.bytes, frame.length), 0);
	traffic_settle(rig->a);
}

/* A chain that a posts on its sending queue. */
static void send_chain(struct rig *rig, const struct fake_buffer *buffers, uint32_t count,
		       uint16_t flags)
{
	assert_return_code(fake_guest_post_chain(rig->a, SEND, buffers, count, flags), 0);
	traffic_settle(rig->a);
}

/* b offers a chain to receive into, and a sends to b. */
static void offer_chain(struct rig *rig, const struct fake_buffer *buffers, uint32_t count,
			uint16_t flags)
{
	assert_return_code(fake_guest_post_chain(rig->b, RECEIVE, buffers, count, flags), 0);
	send_frame(rig, B, A, NO_TAG, 100);
}

static void to_unicast(struct rig *rig)
{
	send_frame(rig, B, A, NO_TAG, 1000);
}

static void to_nobody(struct rig *rig)
{
	fake_guest_disconnect(rig->b);
	while (atomic_load(&vswitch_find_port(rig->fixture.vswitch, "b")->link))
		switch_fixture_pump(&rig->fixture);
	send_frame(rig, TRAFFIC_BROADCAST, A, NO_TAG, 60);
}

static void to_itself(struct rig *rig)
{
	send_frame(rig, A, A, NO_TAG, 60);
}

static void from_multicast(struct rig *rig)
{
	send_frame(rig, B, UINT64_C(0x01005e000001), NO_TAG, 60);
}

static void to_link_local(struct rig *rig)
{
	send_frame(rig, UINT64_C(0x0180c2000000), A, NO_TAG, 60);
}

static void with_tag_30(struct rig *rig)
{
	send_frame(rig, B, A, 30, 60);
}

static void to_stopped_queue(struct rig *rig)
{
	/* The other pair runs, so the link is up. */
	assert_return_code(fake_guest_enable(rig->b, RECEIVE, 0), 0);
	send_frame(rig, B, A, NO_TAG, 60);
}

static void into_nowhere(struct rig *rig)
{
	struct fake_buffer buffer = { .address = UINT64_C(1) << 40, .length = 2048 };

	offer_chain(rig, &buffer, 1, FAKE_DESCRIPTOR_WRITE);
}

static void into_readonly(struct rig *rig)
{
	struct fake_buffer buffer = { .address = FAKE_MEMORY_BASE, .length = 2048 };

	offer_chain(rig, &buffer, 1, 0);
}

static void into_loop(struct rig *rig)
{
	struct fake_buffer buffers[2] = {
		{ .address = rig->b->queues[RECEIVE].slots, .length = 16 },
		{ .address = rig->b->queues[RECEIVE].slots, .length = 16 },
	};
	struct fake_ring *ring = &rig->b->queues[RECEIVE].ring;
	uint16_t head = ring->free_head;

	/* The second goes back to the first; the guest's own list is not in the shared table. */
	assert_return_code(fake_ring_add(ring, buffers, 2, FAKE_DESCRIPTOR_WRITE, UINT32_MAX), 0);
	ring->descriptors[ring->links[head]].flags |= FAKE_DESCRIPTOR_NEXT;
	ring->descriptors[ring->links[head]].next = head;
	ring->descriptors[head].length = ring->descriptors[ring->links[head]].length = 0;
	fake_guest_publish(rig->b, RECEIVE);
	send_frame(rig, B, A, NO_TAG, 100);
}

static void from_nowhere(struct rig *rig)
{
	struct fake_buffer buffer = { .address = UINT64_C(1) << 40, .length = 100 };

	send_chain(rig, &buffer, 1, 0);
}

static void from_writable(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 100 };

	send_chain(rig, &buffer, 1, FAKE_DESCRIPTOR_WRITE);
}

static void without_header(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 11 };

	send_chain(rig, &buffer, 1, 0);
}

static void too_short(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 12 + 13 };

	send_chain(rig, &buffer, 1, 0);
}

static void too_long(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 66000 };

	send_chain(rig, &buffer, 1, 0);
}

static void from_loop(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 0 };
	struct fake_ring *ring = &rig->a->queues[SEND].ring;
	uint16_t head = ring->free_head;

	assert_return_code(fake_ring_add(ring, &buffer, 1, 0, UINT32_MAX), 0);
	ring->descriptors[head].flags |= FAKE_DESCRIPTOR_NEXT;
	ring->descriptors[head].next = head;
	fake_guest_publish(rig->a, SEND);
	traffic_settle(rig->a);
}

static void from_wild_next(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 20 };
	struct fake_ring *ring = &rig->a->queues[SEND].ring;
	uint16_t head = ring->free_head;

	assert_return_code(fake_ring_add(ring, &buffer, 1, 0, UINT32_MAX), 0);
	ring->descriptors[head].flags |= FAKE_DESCRIPTOR_NEXT;
	ring->descriptors[head].next = ring->size;
	fake_guest_publish(rig->a, SEND);
	traffic_settle(rig->a);
}

static void from_odd_table(struct rig *rig)
{
	struct fake_buffer buffer = { .address = rig->a->queues[SEND].slots, .length = 17 };

	send_chain(rig, &buffer, 1, FAKE_DESCRIPTOR_INDIRECT);
}

static void with_unknown_gso(struct rig *rig)
{
	send_header(
	    rig,
	    &(struct fake_header){
		.flags = 1, .gso_type = 9, .gso_size = 100, .csum_start = 34, .csum_offset = 6 });
}

static void with_wild_checksum(struct rig *rig)
{
	send_header(rig, &(struct fake_header){ .flags = 1, .csum_start = 199, .csum_offset = 6 });
}

static void with_no_gso_size(struct rig *rig)
{
	struct packet_plan plan = {
		.version = 4, .protocol = IPPROTO_TCP, .payload = 1000, .gso_type = VNET_GSO_TCPV4
	};
	struct fake_header header = { 0 };
	struct packet packet;

	packet_build(&packet, &plan);
	memcpy(&header, &packet.header, sizeof(header));
	assert_return_code(fake_guest_send(rig->a, 0, &header, packet.bytes, packet.length), 0);
	traffic_settle(rig->a);
	packet_free(&packet);
}

static void with_ufo(struct rig *rig)
{
	send_header(
	    rig,
	    &(struct fake_header){
		.flags = 1, .gso_type = 3, .gso_size = 100, .csum_start = 34, .csum_offset = 6 });
}

/* What the ports are, beside network and socket, and what b is. */
static const struct {
	enum drop_reason reason;
	char at; /* the port where it is counted */
	const char *a, *b;
	void (*provoke)(struct rig *rig);
	uint32_t buffers;     /* b posts */
	uint32_t buffer_size; /* 0: 2048 */
	bool not_mergeable;
} rows[] = {
	{ DROP_CHAIN_LOOP, 'a', "", "", from_loop, 8, 0, false },
	{ DROP_CHAIN_INDEX, 'a', "", "", from_wild_next, 8, 0, false },
	{ DROP_CHAIN_ADDRESS, 'a', "", "", from_nowhere, 8, 0, false },
	{ DROP_CHAIN_WRITABLE, 'a', "", "", from_writable, 8, 0, false },
	{ DROP_CHAIN_INDIRECT, 'a', "", "", from_odd_table, 8, 0, false },
	{ DROP_CHAIN_HEADER, 'a', "", "", without_header, 8, 0, false },
	{ DROP_FRAME_SHORT, 'a', "", "", too_short, 8, 0, false },
	{ DROP_FRAME_LONG, 'a', "", "", too_long, 8, 0, false },
	{ DROP_OFFLOAD_NOT_NEGOTIATED, 'a', "", "", with_ufo, 8, 0, false },
	{ DROP_CSUM_RANGE, 'a', "", "", with_wild_checksum, 8, 0, false },
	{ DROP_GSO_TYPE, 'a', "", "", with_unknown_gso, 8, 0, false },
	{ DROP_GSO_SIZE, 'a', "", "", with_no_gso_size, 8, 0, false },
	{ DROP_SOURCE_MULTICAST, 'a', "", "", from_multicast, 8, 0, false },
	{ DROP_VLAN_NOT_ALLOWED, 'a', ", vlan: 10", "", with_tag_30, 8, 0, false },
	{ DROP_VLAN_UNTAGGED, 'a', ", vlans: [10]", "", to_unicast, 8, 0, false },
	{ DROP_LINK_LOCAL, 'a', "", "", to_link_local, 8, 0, false },
	{ DROP_HAIRPIN, 'a', "", "", to_itself, 8, 0, false },
	{ DROP_ISOLATED, 'a', ", isolated: true", ", isolated: true", to_unicast, 8, 0, false },
	{ DROP_NO_DESTINATION, 'a', "", "", to_nobody, 8, 0, false },
	{ DROP_PORT_DOWN, 'b', "", "", to_stopped_queue, 8, 0, false },
	{ DROP_NO_BUFFERS, 'b', "", "", to_unicast, 0, 0, false },
	{ DROP_BUFFER_ADDRESS, 'b', "", "", into_nowhere, 0, 0, false },
	{ DROP_BUFFER_READONLY, 'b', "", "", into_readonly, 0, 0, false },
	{ DROP_BUFFER_CHAIN, 'b', "", "", into_loop, 0, 0, false },
	{ DROP_BUFFER_SMALL, 'b', "", "", to_unicast, 8, 600, true },
};

#define FEATURES                                                                                   \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) |                         \
	 FAKE_BIT(FAKE_F_INDIRECT_DESC) | FAKE_BIT(FAKE_F_MQ) | FAKE_BIT(FAKE_F_CSUM) |            \
	 FAKE_BIT(FAKE_F_HOST_TSO4))

static void rig_open(struct rig *rig, size_t i)
{
	struct fake_guest_options of_a = { .features = FEATURES, .queue_pairs = 2 };
	struct fake_guest_options of_b = { .features = FEATURES, .queue_pairs = 2 };
	struct traffic_frame hello = traffic_build(B, B, NO_TAG, 0, 60);
	char yaml[512];

	of_b.buffer_size = rows[i].buffer_size;
	if (!rows[i].not_mergeable)
		of_b.features |= FAKE_BIT(FAKE_F_MRG_RXBUF);
	snprintf(yaml, sizeof(yaml),
		 "networks: { lab: { mode: isolated } }\n"
		 "ports:\n"
		 "  a: { network: lab, vhost-user: @/a, queues: 2%s }\n"
		 "  b: { network: lab, vhost-user: @/b, queues: 2%s }\n",
		 rows[i].a, rows[i].b);
	switch_fixture_open(&rig->fixture, yaml);
	rig->a = switch_fixture_guest(&rig->fixture, "a", &of_a, 8);
	rig->b = switch_fixture_guest(&rig->fixture, "b", &of_b, rows[i].buffers);
	if (rows[i].buffers == 0) /* all flows on the first queue */
		assert_return_code(fake_guest_enable(rig->b, 2, 0), 0);
	/* b is known, from a frame to itself. */
	traffic_send(rig->b, &hello);
	traffic_settle(rig->b);
}

static void run_row(size_t i)
{
	struct port_totals totals[2];
	struct rig rig;

	rig_open(&rig, i);
	rows[i].provoke(&rig);
	totals[0] = switch_fixture_totals(&rig.fixture, "a");
	totals[1] = switch_fixture_totals(&rig.fixture, "b");
	/* The greeting of b. */
	assert_int_equal(totals[1].drops[DROP_HAIRPIN], 1);
	totals[1].drops[DROP_HAIRPIN] = 0;
	for (int port = 0; port < 2; port++) {
		for (int reason = 0; reason < DROP_COUNT; reason++) {
			bool here = 'a' + port == rows[i].at && reason == (int)rows[i].reason;

			if (totals[port].drops[reason] != here)
				fail_msg("%s: %lu of %s at %c", drop_table[rows[i].reason].name,
					 (unsigned long)totals[port].drops[reason],
					 drop_table[reason].name, 'a' + port);
		}
	}
	/* The table says on which side it is counted. */
	assert_int_equal(drop_table[rows[i].reason].direction,
			 rows[i].at == 'a' ? DROP_RECEIVE : DROP_TRANSMIT);
	fake_guest_destroy(rig.a);
	fake_guest_destroy(rig.b);
	switch_fixture_close(&rig.fixture);
}

static void test_reasons(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(i);
}

/* Fates of a frame that was received: drops before that are the guest's bad chains. */
static uint64_t fates(const struct port_totals *totals)
{
	uint64_t sum = totals->transmit_packets;

	for (int reason = DROP_NO_NETWORK; reason < DROP_COUNT; reason++)
		sum += totals->drops[reason];
	return sum;
}

/* Frames of all kinds between two ports, so that each has exactly one fate. */
static void test_conservation(void **state)
{
	static const uint64_t addresses[] = {
		A,
		B,
		TRAFFIC_BROADCAST,
		TRAFFIC_MAC(9),
		UINT64_C(0x0180c2000001),
		UINT64_C(0x01005e000001),
	};
	static const uint32_t tags[] = { NO_TAG, 0x2000, 10, 20, 30, 4095 };
	struct fake_guest_options few = { .ring_size = 32 };
	struct port_totals a, b;
	struct switch_fixture fixture;
	struct fake_guest *guests[2];
	uint32_t random = 1;

	switch_fixture_open(&fixture,
			    "workers: { count: 2 }\n"
			    "networks: { lab: { mode: isolated } }\n"
			    "ports:\n"
			    "  a: { network: lab, vhost-user: @/a, vlans: [10, 20], native: 10 }\n"
			    "  b: { network: lab, vhost-user: @/b, vlans: [10, 30] }\n");
	guests[0] = switch_fixture_guest(&fixture, "a", NULL, 256);
	guests[1] = switch_fixture_guest(&fixture, "b", &few, 32);
	for (uint32_t i = 0; i < 4000; i++) {
		struct traffic_frame frame;
		struct fake_header header;
		uint8_t bytes[TRAFFIC_FRAME_MAX];

		random = random * 1103515245 + 12345;
		frame =
		    traffic_build(addresses[random / 65536 % 6], addresses[random / 4096 % 3 / 2],
				  tags[random / 32768 % 6], i, 60 + i % 1000);
		traffic_send(guests[i % 2], &frame);
		/* b is slow, and often without buffers. */
		if (i % 3 == 0 &&
		    fake_guest_receive(guests[i / 3 % 2], 0, &header, bytes, sizeof(bytes)) > 0)
			fake_guest_post(guests[i / 8 % 2], 0, header.num_buffers, 2048);
	}
	traffic_settle(guests[0]);
	traffic_settle(guests[1]);
	a = switch_fixture_totals(&fixture, "a");
	b = switch_fixture_totals(&fixture, "b");
	assert_int_equal(a.receive_packets + b.receive_packets, 4000);
	assert_int_equal(fates(&a) + fates(&b), 4000);
	assert_true(b.drops[DROP_NO_BUFFERS] > 0 && b.transmit_packets > 0);
	assert_true(a.drops[DROP_HAIRPIN] > 0 && a.drops[DROP_VLAN_NOT_ALLOWED] > 0);
	fake_guest_destroy(guests[0]);
	fake_guest_destroy(guests[1]);
	switch_fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_conservation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
