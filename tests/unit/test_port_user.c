/* The user port against sockets of a network namespace of its own: ARP, ping, UDP and TCP out, and
 * what a hostile guest may not do. */
#include "tests/unit/user_guest.h"

static void test_opens_and_shows(void **state)
{
	struct fixture *f = *state;
	json_t *object = json_object();

	assert_int_equal(fixture_open(f), 0);
	assert_true(atomic_load(&f->port.link));
	port_user.show(&f->port, object);
	assert_string_equal(json_string_value(json_object_get(object, "subnet")), "10.0.2.0/24");
	assert_string_equal(json_string_value(json_object_get(object, "gateway")), "10.0.2.2");
	assert_string_equal(json_string_value(json_object_get(object, "gateway6")),
			    "fd00:10:0:2::2");
	assert_true(json_is_true(json_object_get(object, "host_loopback")));
	assert_int_equal(json_integer_value(json_object_get(object, "sockets")), 0);
	json_decref(object);
	fixture_close(f);
	/* And again, nothing is left of the first. */
	assert_int_equal(fixture_open(f), 0);
	fixture_close(f);
}

static void test_addresses(void **state)
{
	char text[IP_PREFIX_TEXT_LENGTH];

	assert_string_equal(ip_prefix_to_text(&addresses.guest, text), "10.0.2.15/24");
	assert_string_equal(ip_prefix_to_text(&addresses.guest6, text), "fd00:10:0:2::f/64");
	assert_string_equal(ip_to_text(&addresses.dns, text), "10.0.2.3");
	assert_string_equal(ip_to_text(&addresses.dns6, text), "fd00:10:0:2::3");
	assert_int_equal(addresses.mtu, 1500);
}

static void test_ping(void **state)
{
	struct fixture *f = *state;

	open_port(f);
	ping(f);
	fixture_close(f);
}

static void test_udp(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	struct packet packet;
	uint16_t port;
	char text[16];
	int fd = host_socket(SOCK_DGRAM, &port);

	f->files++;
	open_port(f);
	send_udp(f, &addresses.gateway, 1234, port, "hello");
	assert_int_equal(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &length), 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(sendto(fd, "there", 5, 0, (struct sockaddr *)&from, length), 5);
	expect(f, IPPROTO_UDP, &packet);
	assert_memory_equal(packet.to.bytes, guest_mac.bytes, 6);
	assert_true(ip_equal(&packet.source, &addresses.gateway));
	assert_true(ip_equal(&packet.destination, &addresses.guest.ip));
	assert_int_equal(packet.source_port, port);
	assert_int_equal(packet.destination_port, 1234);
	assert_int_equal(packet.data_length, 5);
	assert_memory_equal(packet.data, "there", 5);
	assert_true(packet_checksum_ok(&packet));
	assert_int_equal(shown(f, "sockets"), 1);
	fixture_close(f);
	close(fd);
}

static void send_echo(struct fixture *f, const struct ip *to)
{
	uint8_t echo[12] = { ip_is_v4(to) ? 8 : 128, 0, 0, 0, 1, 2, 0, 1 }, frame[100];
	struct packet_header header = header_to(to, ip_is_v4(to) ? IPPROTO_ICMP : IPPROTO_ICMPV6);

	guest_send(f, frame, packet_write_ip(&header, echo, sizeof(echo), frame, sizeof(frame)));
}

/* Neither by the gateway's address nor by the loopback's own, nor by those that libslirp or the
 * kernel take for one of them, does a guest reach the loopback. */
static void test_host_loopback_closed(void **state)
{
	static const struct {
		const char *ip;
		unsigned filtered; /* of a datagram, a SYN and an echo request */
	} ways[] = {
		{ "127.0.0.1", 3 },
		{ "127.9.9.9", 3 },
		{ "0.0.0.0", 3 },
		{ "10.0.2.2", 0 },
		{ "10.0.2.3", 0 },
		{ "255.255.255.255", 0 },
		{ "::1", 3 },
		{ "::", 3 },
		{ "::127.0.0.1", 3 },
		{ "fd00:10:0:2::2", 0 },
		{ "fd00:10:0:2::3", 0 },
		{ "fe80::2", 0 },
		{ "fd00:10:0:2::1234", 1 },
		{ "ff02::1", 1 },
	};
	enum { PORT = 4000, TFTP = 69 };
	struct fixture *f = *state;
	json_int_t filtered = 0;
	int fds[6];
	char text[16];

	for (unsigned i = 0; i < 2; i++) {
		const char *ip = i == 0 ? "127.0.0.1" : "::1";

		fds[i * 3] = bind_socket(SOCK_DGRAM, ip, PORT);
		fds[i * 3 + 1] = bind_socket(SOCK_DGRAM, ip, TFTP);
		fds[i * 3 + 2] = bind_socket(SOCK_STREAM | SOCK_NONBLOCK, ip, PORT);
		assert_int_equal(listen(fds[i * 3 + 2], 5), 0);
	}
	f->files += 6;
	f->port.config.options.user.host_loopback = false;
	open_port(f);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct ip ip = ip_of(ways[i].ip), outer = addresses.guest.ip;

		if (!ip_is_v4(&ip))
			addresses.guest.ip = addresses.guest6.ip;
		send_udp(f, &ip, 1234, PORT, "hidden");
		send_tcp(f, &ip, (uint16_t)(2000 + i), PORT, 0x02, 1000, 0);
		send_echo(f, &ip);
		filtered += ways[i].filtered;
		send_udp(f, &ip, 1235, TFTP, "\0\1secret\0octet");
		filtered += ways[i].filtered == 3;
		addresses.guest.ip = outer;
	}
	ping(f); /* all before it have been looked at */
	assert_int_equal(shown(f, "frames_filtered"), filtered);
	for (unsigned i = 0; i < 6; i++) {
		if (i % 3 == 2)
			assert_int_equal(accept(fds[i], NULL, NULL), -1);
		else
			assert_int_equal(recv(fds[i], text, sizeof(text), MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
	}
	fixture_close(f);
	for (unsigned i = 0; i < 6; i++)
		close(fds[i]);
}

/* Connects the guest to the port; returns the host's end, and what the guest sends next. */
static int connect_out(struct fixture *f, int listener, uint16_t port, uint32_t *sequence,
		       uint32_t *acknowledged)
{
	struct packet packet;
	int fd;

	send_tcp(f, &addresses.gateway, 4321, port, 0x02, 1000, 0);
	expect(f, IPPROTO_TCP, &packet);
	assert_int_equal(packet.payload[13] & 0x17, 0x12);
	assert_int_equal(read_be32(packet.payload + 8), 1001);
	assert_true(packet_checksum_ok(&packet));
	*sequence = 1001;
	*acknowledged = read_be32(packet.payload + 4) + 1;
	send_tcp(f, &addresses.gateway, 4321, port, 0x10, *sequence, *acknowledged);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	f->files++;
	return fd;
}

#define DATA_LENGTH 40000u

/* A TSO frame with a partial checksum goes to libslirp whole. */
static void test_tcp(void **state)
{
	static uint8_t data[DATA_LENGTH], got[DATA_LENGTH], head[FRAME_SLOT], frame[65600];
	struct vnet_header vnet = { .flags = VNET_FLAG_NEEDS_CSUM,
				    .gso_type = VNET_GSO_TCPV4,
				    .hdr_len = 54,
				    .gso_size = 1460,
				    .csum_start = 34,
				    .csum_offset = 16 };
	struct fixture *f = *state;
	struct frame_segment segment = { frame + FRAME_HEAD_MAX, 0 };
	struct frame big = { .head = head + FRAME_HEADROOM, .head_length = FRAME_HEAD_MAX };
	enum drop_reason reason;
	uint32_t sequence, acknowledged;
	struct packet packet;
	uint16_t port;
	int listener = host_socket(SOCK_STREAM, &port), fd;

	f->files++;
	for (uint32_t i = 0; i < DATA_LENGTH; i++)
		data[i] = (uint8_t)(i * 5 + i / 256);
	open_port(f);
	fd = connect_out(f, listener, port, &sequence, &acknowledged);
	big.length = (uint32_t)make_tcp(&addresses.gateway, 4321, port, 0x18, sequence,
					acknowledged, data, DATA_LENGTH, frame, sizeof(frame));
	segment.length = big.length - FRAME_HEAD_MAX;
	big.segments = &segment;
	big.segment_count = 1;
	memcpy(big.head, frame, FRAME_HEAD_MAX);
	/* Of the checksum there is nothing yet, not even the pseudo-header. */
	memset(big.head + 50, 0, 2);
	assert_true(vnet_header_to_frame(&vnet, &big, OFFLOAD_ALL, &reason));
	assert_int_equal(offload_needs(&big) & ~port_user.offloads(&f->port.send_queues[0]), 0);
	assert_int_equal(fixture_send(f, &big), 1);
	assert_int_equal(recv(fd, got, DATA_LENGTH, MSG_WAITALL), DATA_LENGTH);
	assert_memory_equal(got, data, DATA_LENGTH);
	/* The frame itself is untouched: others may get it too. */
	assert_true(big.flags & FRAME_NEEDS_CSUM);
	assert_int_equal(read_be16(big.head + 50), 0);

	assert_int_equal(send(fd, "answer", 6, 0), 6);
	do
		expect(f, IPPROTO_TCP, &packet);
	while (packet.payload_length == 20);
	assert_int_equal(read_be32(packet.payload + 8), sequence + DATA_LENGTH);
	assert_memory_equal(packet.payload + 20, "answer", 6);
	assert_true(packet_checksum_ok(&packet));
	fixture_close(f);
	/* The port's end was closed with it. */
	assert_true(recv(fd, got, sizeof(got), 0) <= 0);
	close(fd);
	close(listener);
}

/* A guest that opens flow after flow has a bound, what is open stays, and others open theirs. */
static void test_flood(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, low;
	struct packet packet;
	uint32_t sequence, acknowledged;
	uint16_t port, datagram_port;
	int listener = host_socket(SOCK_STREAM, &port), fd;
	int datagrams = host_socket(SOCK_DGRAM, &datagram_port);
	char byte;

	f->files += 2;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = 80;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	open_port(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	fd = connect_out(f, listener, port, &sequence, &acknowledged);
	send_udp(f, &addresses.gateway, 9999, datagram_port, "1");
	for (uint16_t i = 0; i < 500; i++)
		send_udp(f, &addresses.gateway, (uint16_t)(10000 + i), 9, "x");
	for (uint16_t i = 0; i < 500; i++)
		send_tcp(f, &addresses.gateway, (uint16_t)(10000 + i), port, 0x02, 1, 0);
	send_udp(f, &addresses.gateway, 9999, datagram_port, "2");
	guest_number = 1;
	send_udp(f, &addresses.gateway, 9998, datagram_port, "3");
	guest_number = 0;
	for (char wanted = '1'; wanted <= '3'; wanted++) {
		assert_int_equal(recv(datagrams, &byte, 1, 0), 1);
		assert_int_equal(byte, wanted);
	}
	send_tcp(f, &addresses.gateway, 4321, port, 0x11, sequence, acknowledged);
	/* The end of the first connection is heard of, after all the others were looked at. */
	assert_int_equal(recv(fd, &port, 1, 0), 0);
	assert_true(shown(f, "sockets") <= 11);
	assert_true(shown(f, "sockets_refused") >= 900);
	do
		expect(f, IPPROTO_TCP, &packet);
	while (packet.destination_port != 4321);
	fixture_close(f);
	close(fd);
	close(datagrams);
	close(listener);
}

/* Who sends more than libslirp takes loses frames of his own, and no neighbour's. */
static void test_share_of_the_queue(void **state)
{
	enum { NEIGHBOURS = 5, EACH = 20 };
	struct fixture *f = *state;
	struct packet_header header;
	static uint8_t bytes[1514];
	struct frame_segment segment = { bytes + FRAME_HEAD_MAX, 0 };
	struct frame frame = { .head = bytes, .head_length = FRAME_HEAD_MAX };
	uint32_t sent = 0;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	f->files++;
	open_port(f);
	header = header_to(&addresses.gateway, IPPROTO_UDP);
	header.source_port = 1000;
	header.destination_port = 9;
	frame.length = (uint32_t)packet_write_udp(&header, frame_bytes, 1472, bytes, sizeof(bytes));
	segment.length = frame.length - FRAME_HEAD_MAX;
	frame.segments = &segment;
	frame.segment_count = 1;
	/* The thread waits meanwhile. */
	pthread_mutex_lock(&user_slirp_lock);
	while (fixture_send(f, &frame) == 1)
		sent++;
	assert_int_equal(fixture_drops(f, DROP_UPLINK_SHARE), 1);
	assert_in_range(sent, 600, 700); /* half of two megabytes */
	for (guest_number = 1; guest_number <= NEIGHBOURS; guest_number++) {
		for (unsigned i = 0; i < EACH; i++)
			send_udp(f, &addresses.gateway, (uint16_t)(2000 + guest_number), port, "1");
	}
	guest_number = 0;
	assert_int_equal(fixture_drops(f, DROP_UPLINK_SHARE), 1);
	pthread_mutex_unlock(&user_slirp_lock);
	for (unsigned i = 0; i < NEIGHBOURS * EACH; i++)
		assert_int_equal(recv(fd, bytes, 1, 0), 1);
	assert_int_equal(fixture_send(f, &frame), 1);
	assert_int_equal(fixture_drops(f, DROP_NO_BUFFERS), 0);
	fixture_close(f);
	close(fd);
}

/* Bytes of no sense, and packets of none: the thread is there afterwards. */
static void test_hostile_frames(void **state)
{
	static const uint16_t types[] = { ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP, 0x88f8,
					  ETHERTYPE_VLAN };
	struct fixture *f = *state;
	static uint8_t frame[65553];
	uint32_t random = 1;

	open_port(f);
	for (unsigned i = 0; i < 20000; i++) {
		size_t length;

		for (unsigned j = 0; j < 120; j++) {
			random = random * 1664525 + 1013904223;
			frame[j] = (uint8_t)(random >> 24);
		}
		length = i % 50 == 0 ? sizeof(frame) : 14 + (random >> 8) % 106;
		memcpy(frame, gateway_mac.bytes, 6);
		write_be16(frame + 12, types[i % 5]);
		if (i % 4 == 0)
			frame[14] = i % 5 == 1 ? 0x60 : 0x45;
		/* To the gateway, so that nothing is even tried outside. */
		memcpy(frame + (i % 5 == 1 ? 38 : 30),
		       i % 5 == 1 ? addresses.gateway6.bytes : ip_v4_bytes(&addresses.gateway),
		       i % 5 == 1 ? 16 : 4);
		f->burst->count = frame_next = 0;
		if (fixture_receive(f) > 0)
			port_user.receive_done(&f->port.receive_queues[0]);
		f->burst->count = 0;
		{
			struct frame whole = { .head = frame, .length = (uint32_t)length };
			struct frame_segment rest = { frame + FRAME_HEAD_MAX,
						      (uint32_t)length - FRAME_HEAD_MAX };

			whole.head_length =
			    (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
			whole.segments = &rest;
			whole.segment_count = length > FRAME_HEAD_MAX;
			fixture_send(f, &whole);
		}
	}
	send_arp(f, 1, NULL, &addresses.gateway);
	ping(f);
	fixture_close(f);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opens_and_shows),
		TEST(test_addresses),
		TEST(test_ping),
		TEST(test_udp),
		TEST(test_tcp),
		TEST(test_host_loopback_closed),
		TEST(test_flood),
		TEST(test_share_of_the_queue),
		TEST(test_hostile_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	return in_namespace(run);
}
