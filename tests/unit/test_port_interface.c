/* The interface port on one end of a veth pair in a namespace of its own, the test at the other:
 * frames, tags and offloads both ways, what is the host's alone, and an interface that comes and
 * goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/namespace.h"
#include "tests/unit/port_fixture.h"

#include "base/checksum.h"
#include "base/packet.h"
#include "base/parse.h"
#include "vswitch/netlink.h"
#include "vswitch/port_interface.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ETHERTYPE_TEST 0x88b5 /* for local experiments: nobody else on the interface speaks it */
#define PATIENCE       60000  /* milliseconds until a test gives up waiting for an event */

static uint8_t bytes[FRAME_LENGTH_MAX];

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_interface);
	struct fixture *f = *state;

	strcpy(f->port.config.options.interface.name, "weft0");
	veth_add("weft0", "peer0");
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13 + i / 256);
	memcpy(bytes, "\x52\x54\0\0\0\1\x52\x54\0\0\0\2", 12);
	write_be16(bytes + 12, ETHERTYPE_TEST);
	return rc;
}

static int tear_down(void **state)
{
	if (if_nametoindex("weft0") != 0)
		link_delete("weft0");
	return fixture_tear_down(state);
}

static int open_peer(const char *name, uint16_t type)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htobe16(type) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	int on = 1, size = 4 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	assert_true(address.sll_ifindex > 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void wait_for(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&wait, 1, PATIENCE), 1);
}

/* *tci: of the tag the kernel took off, 0 if there was none. */
static uint32_t peer_receive(int peer, struct vnet_header *header, uint8_t *frame, uint16_t *tci)
{
	struct iovec parts[] = { { header, VNET_HEADER_LEGACY }, { frame, FRAME_LENGTH_MAX } };
	uint8_t control[256] __attribute__((aligned(16)));
	struct msghdr message = { .msg_iov = parts,
				  .msg_iovlen = 2,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct tpacket_auxdata aux;
	ssize_t n;

	wait_for(peer);
	n = recvmsg(peer, &message, 0);
	assert_true(n >= (ssize_t)VNET_HEADER_LEGACY);
	memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(aux));
	*tci = aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : 0;
	return (uint32_t)n - VNET_HEADER_LEGACY;
}

static void peer_send(int peer, const struct vnet_header *header, const uint8_t *frame,
		      uint32_t length)
{
	struct iovec parts[] = { { (void *)(uintptr_t)header, VNET_HEADER_LEGACY },
				 { (void *)(uintptr_t)frame, length } };

	assert_int_equal(writev(peer, parts, 2), VNET_HEADER_LEGACY + length);
}

/* Whether the i-th frame of the burst is one of the tests' own. */
static bool is_ours(const struct fixture *f, uint32_t i)
{
	return memcmp(f->burst->frames[i].head, bytes, 12) == 0;
}

/* The next frame of the test's; those the kernel itself sends are passed over. */
static struct frame *receive_frame(struct fixture *f, uint16_t queue_index)
{
	struct port_queue *queue = &f->port.receive_queues[queue_index];

	for (;;) {
		uint32_t n;

		burst_reset(f->burst);
		n = port_interface.receive(queue, f->burst, &f->counters);
		for (uint32_t i = 0; i < f->burst->count; i++) {
			if (is_ours(f, i))
				return &f->burst->frames[i];
		}
		if (n == 0 && port_interface.arm(queue))
			wait_for(queue->wake_fd);
	}
}

static void assert_frame(const struct frame *frame, const uint8_t *wanted, uint32_t length)
{
	static uint8_t copy[FRAME_LENGTH_MAX + 4];

	assert_int_equal(frame->length, length);
	frame_copy_out(frame, 0, length, copy);
	assert_memory_equal(copy, wanted, length);
}

/* In pieces of 50 bytes, more than a system call takes when the frame is long. */
static struct frame make_frame(uint32_t length, struct frame_segment *segments)
{
	struct frame frame = { .head = bytes, .length = length, .segments = segments };
	uint32_t at = length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;

	frame.head_length = (uint16_t)at;
	while (at < length) {
		uint32_t n = length - at < 50 ? length - at : 50;

		segments[frame.segment_count++] = (struct frame_segment){ bytes + at, n };
		at += n;
	}
	return frame;
}

/* Runs the loop until the kernel's news have made the link so. */
static void run_until_link(struct fixture *f, bool up)
{
	while (atomic_load(&f->port.link) != up)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
}

static void test_opens_and_shows(void **state)
{
	struct fixture *f = *state;
	json_t *object = json_object();

	assert_int_equal(port_interface_check(&f->port.config, &f->error), 0);
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
	assert_int_equal(port_interface_check(&f->port.config, &f->error), -EPERM);
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

#define TCP_LENGTH 40054u /* 40,000 bytes behind Ethernet, IPv4 and TCP */

/* A TSO frame in `bytes`, and the header that says so. */
static struct vnet_header make_tcp(void)
{
	static const uint8_t ip[] = { 0x45, 0, 0,  0, 0, 1, 0x40, 0, 64, 6,
				      0,    0, 10, 9, 8, 1, 10,	  9, 8,	 2 };
	struct vnet_header header = { .flags = VNET_FLAG_NEEDS_CSUM,
				      .gso_type = VNET_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = 1448,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct frame frame = { .head = bytes, .head_length = 192, .length = 192 };
	uint16_t sum;

	write_be16(bytes + 12, ETHERTYPE_IPV4);
	memcpy(bytes + 14, ip, sizeof(ip));
	write_be16(bytes + 16, TCP_LENGTH - 14);
	sum = checksum_finish(checksum_add(0, bytes + 14, 20));
	memcpy(bytes + 24, &sum, 2);
	memset(bytes + 34, 0, 20);
	bytes[35] = 80;
	bytes[37] = 81;
	bytes[46] = 0x50;
	bytes[47] = 0x10;
	parse_frame(&frame);
	sum = (uint16_t)~checksum_finish(
	    checksum_pseudo_header(&frame, IPPROTO_TCP, TCP_LENGTH - 34));
	memcpy(bytes + 50, &sum, 2);
	return header;
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
