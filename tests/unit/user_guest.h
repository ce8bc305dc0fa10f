/* What tests of the user port share: the guest 10.0.2.15, played frame by frame against sockets of
 * a network namespace of the test's own. */
#ifndef WEFT_TESTS_UNIT_USER_GUEST_H
#define WEFT_TESTS_UNIT_USER_GUEST_H

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

static inline int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_user);
	struct fixture *f = *state;

	f->port.config.options.user.host_loopback = true;
	port_user_addresses(&f->port.config, &addresses);
	frame_next = 0;
	guest_number = 0;
	return rc;
}

static inline struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static inline void guest_send(struct fixture *f, const uint8_t *bytes, size_t length)
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
static inline bool guest_receive(struct fixture *f, struct packet *packet, int timeout)
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

static inline void send_arp(struct fixture *f, uint16_t operation, const struct mac *to,
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
static inline void expect(struct fixture *f, uint8_t protocol, struct packet *packet)
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
static inline void open_port(struct fixture *f)
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

static inline struct packet_header header_to(const struct ip *to, uint8_t protocol)
{
	return (struct packet_header){ .from = guest_mac,
				       .to = gateway_mac,
				       .source = addresses.guest.ip,
				       .destination = *to,
				       .protocol = protocol };
}

static inline void send_udp(struct fixture *f, const struct ip *to, uint16_t from_port,
			    uint16_t port, const char *text)
{
	struct packet_header header = header_to(to, IPPROTO_UDP);
	uint8_t frame[2000];

	header.source_port = from_port;
	header.destination_port = port;
	guest_send(f, frame, packet_write_udp(&header, text, strlen(text), frame, sizeof(frame)));
}

static inline size_t make_tcp(const struct ip *to, uint16_t from_port, uint16_t port, uint8_t flags,
			      uint32_t sequence, uint32_t acknowledged, const void *data,
			      size_t length, uint8_t *frame, size_t size)
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

static inline void send_tcp(struct fixture *f, const struct ip *to, uint16_t from_port,
			    uint16_t port, uint8_t flags, uint32_t sequence, uint32_t acknowledged)
{
	uint8_t frame[100];

	guest_send(f, frame,
		   make_tcp(to, from_port, port, flags, sequence, acknowledged, NULL, 0, frame,
			    sizeof(frame)));
}

/* A socket on the namespace's loopback, and its port. */
static inline int host_socket(int type, uint16_t *port)
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

static inline int host_connect(int type, uint16_t port)
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

static inline json_int_t shown(struct fixture *f, const char *name)
{
	json_t *object = json_object();
	json_int_t value;

	port_user.show(&f->port, object);
	value = json_integer_value(json_object_get(object, name));
	json_decref(object);
	return value;
}

static inline void ping(struct fixture *f)
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

static inline int bind_socket(int type, const char *text, uint16_t port)
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

/* In a network namespace of the process's own, with the gateway's addresses on its loopback. What
 * main() returns; 77, skipped, where there can be no namespace. */
static inline int in_namespace(int (*run)(void))
{
	int rc = namespace_enter();

	if (rc != 0) {
		printf("skipped: no network namespace (%s)\n", strerror(-rc));
		return 77;
	}
	link_set("lo", 1, 0);
	address_add("lo", "10.0.2.2/32");
	address_add("lo", "fd00:10:0:2::2/128");
	return run();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

#endif
