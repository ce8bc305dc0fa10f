/* The user port against sockets of a network namespace of its own: ARP, ping, UDP and TCP out,
 * forwards in, and what a hostile guest may not do. The test plays the guest 10.0.2.15 frame by
 * frame. */
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
#include "vswitch/offload.h"
#include "vswitch/port_user.h"
#include "vswitch/user_internal.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define PATIENCE 60000 /* milliseconds until a test gives up waiting for an event */

static const struct mac guest_mac = { { 0x52, 0x54, 0, 0, 0, 0x15 } };
static const uint8_t *const no_mac = (const uint8_t *)"\0\0\0\0\0\0";
static uint8_t frame_bytes[FRAME_LENGTH_MAX];
static struct port_user_addresses addresses;
static struct mac gateway_mac;
static uint32_t frame_next;   /* of the burst */
static uint16_t guest_number; /* who sends */

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_user);
	struct fixture *f = *state;

	f->port.config.options.user.host_loopback = true;
	port_user_addresses(&f->port.config, &addresses);
	frame_next = 0;
	guest_number = 0;
	return rc;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static void guest_send(struct fixture *f, const uint8_t *bytes, size_t length)
{
	static uint8_t head[FRAME_SLOT];
	struct frame_segment segment;
	struct frame frame = { .head = head + FRAME_HEADROOM,
			       .length = (uint32_t)length,
			       .arrival = guest_number };

	frame.head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	memcpy(frame.head, bytes, frame.head_length);
	if (length > FRAME_HEAD_MAX) {
		segment.base = bytes + frame.head_length;
		segment.length = (uint32_t)length - frame.head_length;
		frame.segments = &segment;
		frame.segment_count = 1;
	}
	/* The ring may be full of what a test has just sent. */
	while (fixture_send(f, &frame) != 1)
		sched_yield();
}

/* The next frame to the guest, copied out; false when none comes within `timeout`. */
static bool guest_receive(struct fixture *f, struct packet *packet, int timeout)
{
	struct port_queue *queue = &f->port.receive_queues[0];

	while (frame_next >= f->burst->count) {
		struct pollfd wait = { .fd = queue->wake_fd, .events = POLLIN };

		if (f->burst->count > 0)
			port_user.receive_done(queue);
		frame_next = 0;
		if (fixture_receive(f) > 0)
			continue;
		f->burst->count = 0;
		if (!port_user.arm(queue))
			continue;
		if (poll(&wait, 1, timeout) == 0)
			return false;
		port_user.disarm(queue);
	}
	frame_copy_out(&f->burst->frames[frame_next], 0, f->burst->frames[frame_next].length,
		       frame_bytes);
	assert_true(packet_parse(frame_bytes, f->burst->frames[frame_next++].length, packet));
	return true;
}

static void send_arp(struct fixture *f, uint16_t operation, const struct mac *to,
		     const struct ip *target)
{
	static const uint8_t start[] = { 8, 6, 0, 1, 8, 0, 6, 4 };
	uint8_t frame[60] = { 0 };

	memcpy(frame, to ? to->bytes : (const uint8_t *)"\xff\xff\xff\xff\xff\xff", 6);
	memcpy(frame + 6, guest_mac.bytes, 6);
	memcpy(frame + 12, start, sizeof(start));
	write_be16(frame + 20, operation);
	memcpy(frame + 22, guest_mac.bytes, 6);
	memcpy(frame + 28, ip_v4_bytes(&addresses.guest.ip), 4);
	memcpy(frame + 32, to ? to->bytes : no_mac, 6);
	memcpy(frame + 38, ip_v4_bytes(target), 4);
	guest_send(f, frame, sizeof(frame));
}

/* The next packet of this protocol; ARP requests for the guest are answered on the way. */
static void expect(struct fixture *f, uint8_t protocol, struct packet *packet)
{
	for (;;) {
		assert_true(guest_receive(f, packet, PATIENCE));
		if (packet->ip_version != 0 && packet->protocol == protocol)
			return;
		if (packet->ethertype == ETHERTYPE_ARP && packet->network[7] == 1)
			send_arp(f, 2, &packet->from, &addresses.gateway);
	}
}

/* Opens the port and makes each side know the other's MAC. */
static void open_port(struct fixture *f)
{
	struct packet packet;

	assert_int_equal(fixture_open(f), 0);
	send_arp(f, 1, NULL, &addresses.gateway);
	do {
		assert_true(guest_receive(f, &packet, PATIENCE));
	} while (packet.ethertype != ETHERTYPE_ARP || packet.network[7] != 2);
	assert_memory_equal(packet.network + 14, ip_v4_bytes(&addresses.gateway), 4);
	gateway_mac = packet.from;
}

static struct packet_header header_to(const struct ip *to, uint8_t protocol)
{
	return (struct packet_header){ .from = guest_mac,
				       .to = gateway_mac,
				       .source = addresses.guest.ip,
				       .destination = *to,
				       .protocol = protocol };
}

static void send_udp(struct fixture *f, const struct ip *to, uint16_t from_port, uint16_t port,
		     const char *text)
{
	struct packet_header header = header_to(to, IPPROTO_UDP);
	uint8_t frame[2000];

	header.source_port = from_port;
	header.destination_port = port;
	guest_send(f, frame, packet_write_udp(&header, text, strlen(text), frame, sizeof(frame)));
}

static size_t make_tcp(const struct ip *to, uint16_t from_port, uint16_t port, uint8_t flags,
		       uint32_t sequence, uint32_t acknowledged, const void *data, size_t length,
		       uint8_t *frame, size_t size)
{
	static uint8_t segment[65000];
	struct packet_header header = header_to(to, IPPROTO_TCP);

	memset(segment, 0, 20);
	write_be16(segment, from_port);
	write_be16(segment + 2, port);
	write_be32(segment + 4, sequence);
	write_be32(segment + 8, acknowledged);
	segment[12] = 0x50;
	segment[13] = flags;
	write_be16(segment + 14, 65535);
	if (length > 0)
		memcpy(segment + 20, data, length);
	return packet_write_ip(&header, segment, 20 + length, frame, size);
}

static void send_tcp(struct fixture *f, const struct ip *to, uint16_t from_port, uint16_t port,
		     uint8_t flags, uint32_t sequence, uint32_t acknowledged)
{
	uint8_t frame[100];

	guest_send(f, frame,
		   make_tcp(to, from_port, port, flags, sequence, acknowledged, NULL, 0, frame,
			    sizeof(frame)));
}

/* A socket on the namespace's loopback, and its port. */
static int host_socket(int type, uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 5), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static int host_connect(int type, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static json_int_t shown(struct fixture *f, const char *name)
{
	json_t *object = json_object();
	json_int_t value;

	port_user.show(&f->port, object);
	value = json_integer_value(json_object_get(object, name));
	json_decref(object);
	return value;
}

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

static void ping(struct fixture *f)
{
	static const uint8_t echo[] = { 8, 0, 0, 0, 0x12, 0x34, 0, 1, 'p', 'i', 'n', 'g' };
	struct packet_header header = header_to(&addresses.gateway, IPPROTO_ICMP);
	struct packet packet;
	uint8_t frame[100];

	guest_send(f, frame, packet_write_ip(&header, echo, sizeof(echo), frame, sizeof(frame)));
	do
		expect(f, IPPROTO_ICMP, &packet);
	while (packet.payload[0] != 0 || read_be16(packet.payload + 4) != 0x1234);
	assert_memory_equal(packet.payload + 4, echo + 4, 8);
	assert_true(packet_checksum_ok(&packet));
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

static int bind_socket(int type, const char *text, uint16_t port)
{
	struct ip ip = ip_of(text);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(ip_is_v4(&ip) ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(&v4.sin_addr, ip_v4_bytes(&ip), sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, ip.bytes, sizeof(v6.sin6_addr));
	if (ip_is_v4(&ip))
		assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), 0);
	else
		assert_int_equal(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), 0);
	return fd;
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

static int add_forward(struct fixture *f, uint8_t protocol, const char *host, uint16_t host_port,
		       const char *guest, uint16_t guest_port)
{
	struct ip host_ip = ip_of(host), guest_ip = ip_of(guest);

	f->error.text[0] = '\0';
	return port_user_add_forward(&f->port, protocol, &host_ip, host_port, &guest_ip, guest_port,
				     &f->error);
}

static int remove_forward(struct fixture *f, uint8_t protocol, const char *host, uint16_t host_port)
{
	struct ip host_ip = ip_of(host);

	return port_user_remove_forward(&f->port, protocol, &host_ip, host_port, &f->error);
}

/* A port of the host that nobody has. */
static uint16_t free_port(int type)
{
	uint16_t port;

	close(host_socket(type, &port));
	return port;
}

static void test_forwards(void **state)
{
	struct fixture *f = *state;
	uint16_t port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM);
	struct packet packet;
	int fd, udp;

	open_port(f);
	assert_int_equal(add_forward(f, IPPROTO_TCP, "127.0.0.1", port, "10.0.2.15", 22), 0);
	assert_int_equal(add_forward(f, IPPROTO_UDP, "0.0.0.0", udp_port, "10.0.2.15", 53), 0);
	fd = host_connect(SOCK_STREAM, port);
	assert_true(fd >= 0);
	expect(f, IPPROTO_TCP, &packet);
	assert_int_equal(packet.payload[13], 0x02);
	assert_int_equal(packet.destination_port, 22);
	assert_true(ip_equal(&packet.destination, &addresses.guest.ip));
	assert_true(ip_equal(&packet.source, &addresses.gateway));

	udp = host_connect(SOCK_DGRAM, udp_port);
	assert_true(udp >= 0);
	assert_int_equal(send(udp, "query", 5, 0), 5);
	expect(f, IPPROTO_UDP, &packet);
	assert_int_equal(packet.destination_port, 53);
	assert_memory_equal(packet.data, "query", 5);

	assert_int_equal(remove_forward(f, IPPROTO_TCP, "127.0.0.1", port), 0);
	assert_int_equal(remove_forward(f, IPPROTO_TCP, "127.0.0.1", port), -ENOENT);
	assert_int_equal(host_connect(SOCK_STREAM, port), -ECONNREFUSED);
	/* It can be had again, and closing the port closes it. */
	assert_int_equal(add_forward(f, IPPROTO_TCP, "127.0.0.1", port, "10.0.2.15", 22), 0);
	close(fd);
	close(udp);
	fixture_close(f);
	assert_int_equal(host_connect(SOCK_STREAM, port), -ECONNREFUSED);
}

/* The next datagram to the guest; neighbours are found on the way, in both families. */
static void expect_datagram(struct fixture *f, struct packet *packet)
{
	for (;;) {
		assert_true(guest_receive(f, packet, PATIENCE));
		if (packet->ip_version != 0 && packet->protocol == IPPROTO_UDP)
			return;
		if (packet->ethertype == ETHERTYPE_ARP && packet->network[7] == 1)
			send_arp(f, 2, &packet->from, &addresses.gateway);
		if (packet->protocol == IPPROTO_ICMPV6 && packet->payload[0] == 135) {
			struct packet_header header = header_to(&packet->source, IPPROTO_ICMPV6);
			uint8_t answer[32] = { 136, 0, 0, 0, 0x60 }, frame[100];

			header.source = addresses.guest6.ip;
			header.hop_limit = 255;
			memcpy(answer + 8, addresses.guest6.ip.bytes, 16);
			answer[24] = 2;
			answer[25] = 1;
			memcpy(answer + 26, guest_mac.bytes, 6);
			guest_send(
			    f, frame,
			    packet_write_ip(&header, answer, sizeof(answer), frame, sizeof(frame)));
		}
	}
}

static void send_from_host(int fd, const char *to, uint16_t port)
{
	struct ip ip = ip_of(to);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memcpy(&v4.sin_addr, ip_v4_bytes(&ip), sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, ip.bytes, sizeof(v6.sin6_addr));
	assert_int_equal(ip_is_v4(&ip)
			     ? sendto(fd, "query", 5, 0, (struct sockaddr *)&v4, sizeof(v4))
			     : sendto(fd, "query", 5, 0, (struct sockaddr *)&v6, sizeof(v6)),
			 5);
}

/* A client on the loopback is answered, by the port it came by, and nothing else there is reached:
 * not by one who has the gateway's address outside. */
static void forward_from_loopback(struct fixture *f, const char *any, const char *loopback,
				  const char *gateway)
{
	enum { CLIENT = 5000, OTHER = 5001, FORGED = 5002, LISTEN = 6000, GUEST = 53 };
	int client = bind_socket(SOCK_DGRAM, loopback, CLIENT);
	int other = bind_socket(SOCK_DGRAM, loopback, OTHER);
	int hidden = bind_socket(SOCK_DGRAM, loopback, FORGED);
	int forger = bind_socket(SOCK_DGRAM, gateway, FORGED);
	struct ip v4_guest = addresses.guest.ip, guest, to = ip_of(gateway);
	char text[IP_TEXT_LENGTH];
	struct packet packet;

	f->files += 4;
	guest = ip_is_v4(&to) ? v4_guest : addresses.guest6.ip;
	assert_int_equal(add_forward(f, IPPROTO_UDP, any, LISTEN, ip_to_text(&guest, text), GUEST),
			 0);
	addresses.guest.ip = guest; /* who sends */
	for (unsigned i = 0; i < 2; i++) {
		send_from_host(client, loopback, LISTEN);
		addresses.guest.ip = v4_guest;
		expect_datagram(f, &packet);
		addresses.guest.ip = guest;
		assert_true(ip_equal(&packet.source, &to));
		assert_true(packet_checksum_ok(&packet));
		assert_int_equal(packet.source_port, CLIENT);
		send_udp(f, &to, GUEST, CLIENT, "answer");
		assert_int_equal(recv(client, text, sizeof(text), 0), 6);
	}
	send_udp(f, &to, GUEST, OTHER, "hidden");
	send_udp(f, &to, GUEST + 1, CLIENT, "hidden");
	send_from_host(forger, loopback, LISTEN);
	addresses.guest.ip = v4_guest;
	do
		expect_datagram(f, &packet);
	while (packet.source_port != FORGED);
	addresses.guest.ip = guest;
	send_udp(f, &to, GUEST, FORGED, "hidden");
	addresses.guest.ip = v4_guest;
	ping(f); /* all before it have been looked at */
	addresses.guest.ip = guest;
	assert_int_equal(remove_forward(f, IPPROTO_UDP, any, LISTEN), 0);
	send_udp(f, &to, GUEST, CLIENT, "hidden");
	addresses.guest.ip = v4_guest;
	ping(f);
	assert_int_equal(recv(client, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(recv(other, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(recv(hidden, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(recv(forger, text, sizeof(text), MSG_DONTWAIT), -1);
	close(client);
	close(other);
	close(hidden);
	close(forger);
	f->files -= 4;
}

static void test_forwards_from_loopback(void **state)
{
	struct fixture *f = *state;

	f->port.config.options.user.host_loopback = false;
	open_port(f);
	forward_from_loopback(f, "0.0.0.0", "127.0.0.1", "10.0.2.2");
	assert_int_equal(shown(f, "frames_filtered"), 2);
	forward_from_loopback(f, "::", "::1", "fd00:10:0:2::2");
	assert_int_equal(shown(f, "frames_filtered"), 4);
	fixture_close(f);
}

static void test_forwards_refused(void **state)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };
	struct fixture *f = *state;
	uint16_t port;

	open_port(f);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t protocol = protocols[i];
		int taken = host_socket(protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, &port);

		assert_int_equal(add_forward(f, protocol, "127.0.0.1", port, "10.0.2.15", 22),
				 -EADDRINUSE);
		assert_non_null(strstr(f->error.text, "the port is taken on the host"));
		assert_int_equal(add_forward(f, protocol, "0.0.0.0", port, "10.0.2.15", 22),
				 -EADDRINUSE);
		close(taken);
		assert_int_equal(add_forward(f, protocol, "127.0.0.1", port, "10.0.2.15", 22), 0);
		assert_int_equal(add_forward(f, protocol, "127.0.0.1", port, "10.0.2.15", 23),
				 -EADDRINUSE);
		/* The other family is another socket. */
		assert_int_equal(add_forward(f, protocol, "::", port, "fd00:10:0:2::f", 22), 0);
		assert_int_equal(remove_forward(f, protocol, "::", port), 0);
	}
	assert_int_equal(add_forward(f, IPPROTO_TCP, "192.0.2.1", port, "10.0.2.15", 22),
			 -EADDRNOTAVAIL);
	assert_int_equal(add_forward(f, IPPROTO_TCP, "::", port, "10.0.2.15", 22), -EINVAL);
	assert_int_equal(add_forward(f, IPPROTO_TCP, "0.0.0.0", 0, "10.0.2.15", 22), -EINVAL);
	assert_int_equal(add_forward(f, IPPROTO_ICMP, "0.0.0.0", port, "10.0.2.15", 22), -EINVAL);
	fixture_close(f);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opens_and_shows),
		TEST(test_addresses),
		TEST(test_ping),
		TEST(test_udp),
		TEST(test_tcp),
		TEST(test_host_loopback_closed),
		TEST(test_forwards),
		TEST(test_forwards_from_loopback),
		TEST(test_forwards_refused),
		TEST(test_flood),
		TEST(test_share_of_the_queue),
		TEST(test_hostile_frames),
	};

	int rc = namespace_enter();

	if (rc != 0) {
		printf("skipped: no network namespace (%s)\n", strerror(-rc));
		return 77; /* meson: skipped */
	}
	link_set("lo", 1, 0);
	address_add("lo", "10.0.2.2/32");
	address_add("lo", "fd00:10:0:2::2/128");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
