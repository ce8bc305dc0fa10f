/* The user port's forwards: ports of the host that lead to the guest. */
#include "tests/unit/user_guest.h"

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

static int run(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_forwards),
		TEST(test_forwards_from_loopback),
		TEST(test_forwards_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	return in_namespace(run);
}
