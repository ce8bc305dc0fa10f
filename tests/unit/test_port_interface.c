/* The interface port on one end of a veth pair in a namespace of its own, the test at the other:
 * frames, tags and offloads both ways, what is the host's alone, and an interface that comes and
 * goes. */
#include "tests/unit/interface_rig.h"

static void test_opens_and_shows(void **state)
{
	struct fixture *f = *state;
	json_t *object = json_object();

	assert_int_equal(port_interface.check(&f->port.config, &f->error), 0);
	assert_int_equal(fixture_open(f), 0);
	assert_true(atomic_load(&f->port.link));
	port_interface.show(&f->port, object);
	assert_string_equal(json_string_value(json_object_get(object, "interface")), "weft0");
	assert_string_equal(json_string_value(json_object_get(object, "driver")), "packet");
	assert_int_equal(json_integer_value(json_object_get(object, "mtu")), 1500);
	assert_int_equal(json_integer_value(json_object_get(object, "kernel_drops")), 0);
	assert_true(json_is_true(json_object_get(object, "carrier")));
	json_decref(object);
	fixture_close(f);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct interface_options *options = &f->port.config.options.interface;

	strcpy(options->name, "absent");
	fixture_refused(f, ENODEV, "interface 'absent' is not there");
	strcpy(options->name, "lo");
	fixture_refused(f, EINVAL, "not an Ethernet interface");
	strcpy(options->name, "weft0");
	default_route_add("weft0", AF_INET6);
	fixture_refused(f, EPERM, "say `allow-default-route: true`");
	assert_int_equal(port_interface.check(&f->port.config, &f->error), -EPERM);
	options->allow_default_route = true;
	assert_int_equal(fixture_open(f), 0);
	fixture_close(f);
}

static void test_receives(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 191, 192, 193, 1514, 9014, 65535 };
	static const struct vnet_header none;
	struct fixture *f = *state;
	int peer;

	link_set("weft0", 1, 65521);
	link_set("peer0", 1, 65521);
	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		peer_send(peer, &none, bytes, lengths[i]);
		assert_frame(receive_frame(f, 0), bytes, lengths[i]);
	}
	/* Several at once, long and short. */
	for (unsigned i = 0; i < 40; i++)
		peer_send(peer, &none, bytes, 60 + i * 1000);
	for (unsigned i = 0; i < 40;) {
		receive_frame(f, 0);
		for (uint32_t j = 0; j < f->burst->count; j++) {
			if (is_ours(f, j))
				assert_frame(&f->burst->frames[j], bytes, 60 + i++ * 1000);
		}
	}
	burst_reset(f->burst);
	f->burst->limit = 2;
	for (unsigned i = 0; i < 3; i++)
		peer_send(peer, &none, bytes, 60);
	port_interface.receive(&f->port.receive_queues[0], f->burst, &f->counters);
	assert_int_equal(f->burst->count, 2);
	assert_false(port_interface.arm(&f->port.receive_queues[0]));
	close(peer);
	fixture_close(f);
}

static void test_sends(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 192, 193, 1514, 9014, 60000 };
	struct fixture *f = *state;
	static struct frame_segment segments[2000];
	static uint8_t copy[FRAME_LENGTH_MAX];
	struct vnet_header header;
	struct frame frame;
	uint16_t tci;
	int peer;

	link_set("weft0", 1, 65521);
	link_set("peer0", 1, 65521);
	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		frame = make_frame(lengths[i], segments);
		assert_int_equal(fixture_send(f, &frame), 1);
		assert_int_equal(peer_receive(peer, &header, copy, &tci), lengths[i]);
		assert_memory_equal(copy, bytes, lengths[i]);
	}
	assert_int_equal(atomic_load(&f->counters.transmit_packets), 7);
	/* One that is too long does not hold up the others. */
	link_set("weft0", 1, 1500);
	{
		struct frame big = make_frame(9014, segments), small = make_frame(60, NULL);
		struct frame *frames[] = { &small, &big, &small };

		assert_int_equal(
		    port_interface.send(&f->port.send_queues[0], frames, 3, &f->counters), 2);
		assert_int_equal(fixture_drops(f, DROP_FRAME_TOO_LONG_FOR_PORT), 1);
		assert_int_equal(peer_receive(peer, &header, copy, &tci), 60);
		assert_int_equal(peer_receive(peer, &header, copy, &tci), 60);
	}
	link_set("weft0", 0, 0);
	frame = make_frame(60, NULL);
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_PORT_DOWN), 1);
	close(peer);
	fixture_close(f);
}

static void test_offloads_pass_both_ways(void **state)
{
	struct fixture *f = *state;
	struct vnet_header header = make_tcp();
	static struct frame_segment segments[2000];
	static uint8_t copy[FRAME_LENGTH_MAX];
	struct frame frame, *received;
	enum drop_reason reason;
	uint16_t tci;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(port_interface.offloads(&f->port.send_queues[0]),
			 OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN);
	peer = open_peer("peer0", ETHERTYPE_IPV4);
	peer_send(peer, &header, bytes, TCP_LENGTH);
	received = receive_frame(f, 0);
	assert_frame(received, bytes, TCP_LENGTH);
	assert_int_equal(received->gso, FRAME_GSO_TCP4);
	assert_int_equal(received->gso_size, 1448);
	assert_true(received->flags & FRAME_NEEDS_CSUM);
	assert_int_equal(received->csum_start, 34);
	assert_int_equal(received->csum_offset, 16);

	frame = make_frame(TCP_LENGTH, segments);
	assert_true(vnet_header_to_frame(&header, &frame, OFFLOAD_ALL, &reason));
	assert_int_equal(fixture_send(f, &frame), 1);
	memset(&header, 0, sizeof(header));
	assert_int_equal(peer_receive(peer, &header, copy, &tci), TCP_LENGTH);
	assert_memory_equal(copy, bytes, TCP_LENGTH);
	assert_int_equal(header.gso_type, VNET_GSO_TCPV4);
	assert_int_equal(header.gso_size, 1448);
	assert_true(header.flags & VNET_FLAG_NEEDS_CSUM);
	close(peer);
	fixture_close(f);
}

/* The kernel takes tags off on the way in; they are there again, also on a GSO frame. */
static void test_tags(void **state)
{
	static const uint8_t tag[] = { 0x81, 0, 0x60, 7 };
	static uint8_t tagged[FRAME_LENGTH_MAX], copy[FRAME_LENGTH_MAX];
	static struct frame_segment segments[2000];
	struct fixture *f = *state;
	struct vnet_header header = make_tcp(), back;
	struct frame *received, frame;
	uint32_t length = TCP_LENGTH + 4;
	uint16_t tci;
	int peer;

	memcpy(tagged, bytes, 12);
	memcpy(tagged + 12, tag, 4);
	memcpy(tagged + 16, bytes + 12, TCP_LENGTH - 12);
	header.csum_start += 4;
	header.hdr_len += 4;
	assert_int_equal(fixture_open(f), 0);
	/* Of all types: the kernel shall find out by itself that it is tagged. */
	peer = open_peer("peer0", ETH_P_ALL);
	peer_send(peer, &header, tagged, length);
	received = receive_frame(f, 0);
	assert_frame(received, tagged, length);
	assert_int_equal(received->gso, FRAME_GSO_TCP4);
	assert_int_equal(received->csum_start, 38);
	assert_int_equal(received->l4_offset, 38);
	assert_int_equal(received->tagged, 0);

	memcpy(bytes, tagged, length);
	frame = make_frame(length, segments);
	assert_int_equal(fixture_send(f, &frame), 0); /* too long without the header's words */
	parse_frame(&frame);
	frame.gso = FRAME_GSO_TCP4;
	frame.gso_size = 1448;
	frame.flags = FRAME_NEEDS_CSUM;
	frame.csum_start = 38;
	frame.csum_offset = 16;
	assert_int_equal(fixture_send(f, &frame), 1);
	do
		length = peer_receive(peer, &back, copy, &tci);
	while (memcmp(copy, bytes, 12) != 0);
	assert_int_equal(length, TCP_LENGTH);
	assert_int_equal(tci, 0x6007);
	assert_int_equal(back.gso_type, VNET_GSO_TCPV4);
	close(peer);
	fixture_close(f);
}

/* What is for the interface's own MAC, and what the host sends, does not come in. */
static void test_the_hosts_own(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct netlink_link link;
	uint8_t frame[60];
	int peer, host;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(netlink_get_link("weft0", &link, &f->error), 0);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	host = open_peer("weft0", ETHERTYPE_TEST);
	memcpy(frame, bytes, sizeof(frame));
	memcpy(frame, link.mac.bytes, 6);
	peer_send(peer, &none, frame, sizeof(frame)); /* for the host */
	peer_send(host, &none, bytes, 100);	      /* by the host */
	peer_send(peer, &none, bytes, 61);	      /* for a guest */
	assert_frame(receive_frame(f, 0), bytes, 61);
	/* The host still has what is its own. */
	assert_int_equal(recv(host, frame, sizeof(frame), 0), sizeof(frame));
	assert_memory_equal(frame + 10, link.mac.bytes, 6);
	close(host);
	close(peer);
	fixture_close(f);
}

static void test_queues(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct packet_header header = { .source = ip_from_v4(0x0a000001),
					.destination = ip_from_v4(0x0a000002),
					.source_port = 1,
					.destination_port = 9 };
	uint8_t frame[200];
	uint32_t seen[4] = { 0 }, total = 0;
	int peer;

	f->port.config.options.interface.queues = 4;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->port.receive_count, 4);
	peer = open_peer("peer0", ETHERTYPE_IPV4);
	memcpy(header.to.bytes, bytes, 6);
	memcpy(header.from.bytes, bytes + 6, 6);
	for (uint16_t i = 0; i < 200; i++) {
		size_t length;

		header.source_port = (uint16_t)(1000 + i);
		length = packet_write_udp(&header, "x", 1, frame, sizeof(frame));
		peer_send(peer, &none, frame, (uint32_t)length);
	}
	/* Each frame once, and no queue goes without. */
	while (total < 200) {
		for (uint16_t q = 0; q < 4; q++) {
			burst_reset(f->burst);
			port_interface.receive(&f->port.receive_queues[q], f->burst, &f->counters);
			for (uint32_t i = 0; i < f->burst->count; i++) {
				seen[q] += is_ours(f, i);
				total += is_ours(f, i);
			}
		}
	}
	assert_int_equal(total, 200);
	for (uint16_t q = 0; q < 4; q++)
		assert_true(seen[q] > 0);
	close(peer);
	fixture_close(f);
}

static uint32_t changes;

static void on_changed(void *context)
{
	changes++;
}

static void test_follows_the_interface(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);
	int peer;

	assert_int_equal(fixture_open(f), 0);
	port_interface_listen(&f->port, on_changed, NULL);
	link_set("peer0", 0, 0);
	run_until_link(f, false);
	assert_true(changes > 0);
	link_set("peer0", 1, 0);
	run_until_link(f, true);
	link_set("weft0", 1, 1400);
	while (port_interface_mtu(&f->port) != 1400)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	/* Down for a moment: it goes on by itself. */
	link_set("weft0", 0, 0);
	run_until_link(f, false);
	link_set("weft0", 1, 0);
	run_until_link(f, true);
	peer = open_peer("peer0", ETHERTYPE_TEST);
	peer_send(peer, &none, bytes, 70);
	assert_frame(receive_frame(f, 0), bytes, 70);
	close(peer);

	link_delete("weft0");
	while (!f->port.fault || strcmp(f->port.fault, "interface gone") != 0)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_false(atomic_load(&f->port.link));
	assert_false(atomic_load(&f->port.send_queues[0].running));
	assert_int_equal(port_interface_mtu(&f->port), 0);
	veth_add("weft0", "peer0");
	run_until_link(f, true);
	assert_true(!f->port.fault || f->port.fault[0] == '\0');
	peer = open_peer("peer0", ETHERTYPE_TEST);
	peer_send(peer, &none, bytes, 80);
	assert_frame(receive_frame(f, 0), bytes, 80);
	assert_int_equal(fixture_send(f, &frame), 1);
	close(peer);

	/* Another name is another interface; the default route's is not taken when it comes. */
	link_delete("weft0");
	while (atomic_load(&f->port.link))
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	fixture_close(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opens_and_shows), TEST(test_refused), TEST(test_receives),
		TEST(test_sends),	    TEST(test_tags),	TEST(test_offloads_pass_both_ways),
		TEST(test_the_hosts_own),   TEST(test_queues),	TEST(test_follows_the_interface),
	};
	int rc = namespace_enter();

	if (rc != 0) {
		printf("skipped: no network namespace (%s)\n", strerror(-rc));
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
