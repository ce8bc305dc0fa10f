/* DNS over TCP with the kernel as client, on a tap in a network namespace of the test's own; left
 * out where neither root nor a user namespace allows that. */
#include "tests/unit/dns_rig.h"

#include "route/dns_tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>

struct bench {
	struct rig rig;
	struct dns_tcp *tcp;
	int tap;
	struct event *tap_event;
	uint64_t frames;
};

static bool have_namespace;

static void set_flags(const char *name, short flags)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };

	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= flags;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* Usable at once: nobody else has an address here, so the kernel need not look for one. */
static void add_address(const char *interface, const char *text)
{
	struct nl_sock *socket = nl_socket_alloc();
	struct rtnl_addr *address = rtnl_addr_alloc();
	struct nl_addr *local;

	assert_int_equal(nl_connect(socket, NETLINK_ROUTE), 0);
	assert_int_equal(nl_addr_parse(text, AF_UNSPEC, &local), 0);
	rtnl_addr_set_ifindex(address, (int)if_nametoindex(interface));
	rtnl_addr_set_local(address, local);
	rtnl_addr_set_flags(address, IFA_F_NODAD);
	assert_int_equal(rtnl_addr_add(socket, address, 0), 0);
	nl_addr_put(local);
	rtnl_addr_put(address);
	nl_socket_free(socket);
}

/* Without ARP and ND the kernel sends all to its own MAC: nobody has to be asked for another. */
static int open_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	strcpy(request.ifr_name, "guest");
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		close(fd);
		return -1;
	}
	set_flags("lo", IFF_UP);
	set_flags("guest", IFF_UP | IFF_NOARP);
	add_address("guest", "10.9.0.50/24");
	add_address("guest", "fd00:9::50/64");
	return fd;
}

static void to_tap(void *context, const uint8_t *frame, size_t length)
{
	struct bench *bench = context;

	assert_int_equal(write(bench->tap, frame, length), length);
}

/* The kernel says other things too, like router solicitations: the gateway would take those. */
static void from_tap(evutil_socket_t fd, short what, void *context)
{
	struct bench *bench = context;
	uint8_t frame[65536];
	ssize_t length = read(fd, frame, sizeof(frame));

	if (length > 0 && bench->tcp != NULL)
		dns_tcp_input(bench->tcp, frame, (size_t)length);
}

static int enter_namespace(void)
{
	uid_t user = geteuid();
	FILE *map;

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return -1;
	map = fopen("/proc/self/uid_map", "w");
	if (map == NULL)
		return -1;
	fprintf(map, "0 %u 1", (unsigned)user);
	return fclose(map);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	*state = bench;
	bench->tap = -1;
	if (!have_namespace)
		return 0;
	bench->tap = open_tap();
	if (bench->tap < 0)
		return 0;
	rig_open(&bench->rig);
	bench->rig.options.clock = (struct dns_clock){ NULL, NULL };
	rig_start(&bench->rig);
	bench->tap_event =
	    event_new(bench->rig.base, bench->tap, EV_READ | EV_PERSIST, from_tap, bench);
	event_add(bench->tap_event, NULL);
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	if (bench->tap >= 0) {
		dns_tcp_destroy(bench->tcp);
		event_free(bench->tap_event);
		close(bench->tap);
		rig_close(&bench->rig);
	}
	free(bench);
	return 0;
}

static void start(struct bench *bench, const struct dns_tcp_options *options)
{
	struct route_output output = { to_tap, bench };

	if (bench->tap < 0)
		skip();
	assert_int_equal(
	    dns_tcp_create(bench->rig.server, bench->rig.base, &output, options, &bench->tcp), 0);
}

/* A connection to the gateway, under way. */
static int open_client(int family)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_port = htons(53),
				  .sin_addr.s_addr = htonl(0x0a090001) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(53) };
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET6, "fd00:9::1", &v6.sin6_addr), 1);
	if (family == AF_INET)
		assert_int_equal(connect(fd, (void *)&v4, sizeof(v4)), -1);
	else
		assert_int_equal(connect(fd, (void *)&v6, sizeof(v6)), -1);
	assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static void set_flag(evutil_socket_t fd, short what, void *context)
{
	*(bool *)context = true;
}

static void wait_for(struct bench *bench, int fd, short what)
{
	bool ready = false;

	event_base_once(bench->rig.base, fd, what, set_flag, &ready, NULL);
	while (!ready)
		event_base_loop(bench->rig.base, EVLOOP_ONCE);
}

static void send_all(struct bench *bench, int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent;

		wait_for(bench, fd, EV_WRITE);
		sent = send(fd, bytes, length, MSG_NOSIGNAL);
		assert_true(sent > 0);
		bytes += sent;
		length -= (size_t)sent;
	}
}

/* All until the gateway ends the connection in good order. */
static size_t receive_all(struct bench *bench, int fd, uint8_t *bytes, size_t size)
{
	size_t length = 0;

	for (;;) {
		ssize_t got;

		wait_for(bench, fd, EV_READ);
		got = recv(fd, bytes + length, size - length, 0);
		assert_true(got >= 0);
		if (got == 0)
			return length;
		length += (size_t)got;
	}
}

static size_t make_query(uint8_t *out, const char *name, uint16_t id)
{
	ldns_pkt *packet = rig_packet(name, LDNS_RR_TYPE_A);
	uint8_t *wire;
	size_t length;

	ldns_pkt_set_id(packet, id);
	assert_int_equal(ldns_pkt2wire(&wire, packet, &length), LDNS_STATUS_OK);
	out[0] = (uint8_t)(length >> 8);
	out[1] = (uint8_t)length;
	memcpy(out + 2, wire, length);
	free(wire);
	ldns_pkt_free(packet);
	return length + 2;
}

/* How many answers each id got, in a stream that holds nothing else. */
static void count_answers(const uint8_t *bytes, size_t length, uint16_t *counts, uint16_t ids)
{
	memset(counts, 0, ids * sizeof(*counts));
	while (length > 0) {
		size_t size = (size_t)bytes[0] << 8 | bytes[1];
		ldns_pkt *packet;

		assert_true(size + 2 <= length);
		assert_int_equal(ldns_wire2pkt(&packet, bytes + 2, size), LDNS_STATUS_OK);
		assert_in_range(ldns_pkt_id(packet), 0, ids - 1);
		counts[ldns_pkt_id(packet)] += ldns_pkt_ancount(packet);
		ldns_pkt_free(packet);
		bytes += size + 2;
		length -= size + 2;
	}
}

static void check_queries(struct bench *bench, int family)
{
	static uint8_t bytes[1 << 20];
	uint16_t counts[40];
	size_t length = 0;
	int fd = open_client(family);

	for (uint16_t id = 0; id < 40; id++)
		length += make_query(bytes + length,
				     id % 2 == 0 ? "web.lab.internal" : "example.com", id);
	send_all(bench, fd, bytes, length);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	length = receive_all(bench, fd, bytes, sizeof(bytes));
	count_answers(bytes, length, counts, 40);
	for (uint16_t id = 0; id < 40; id++)
		assert_int_equal(counts[id], id % 2 == 0 ? 1 : 1001);
	close(fd);
	assert_int_equal(dns_tcp_connection_count(bench->tcp), 0);
}

/* 40 queries at once; half of the answers are large: 320 KB, more than all buffers on the way. */
static void test_queries(void **state)
{
	struct bench *bench = *state;

	start(bench, NULL);
	bench->rig.resolvers[0].script.truncated = true;
	bench->rig.resolvers[0].script.many = 1000;
	check_queries(bench, AF_INET);
	check_queries(bench, AF_INET6);
	assert_int_equal(bench->rig.resolvers[0].asked_tcp, 1);
	assert_int_equal(dns_tcp_counters(bench->tcp)->connections, 2);
	assert_int_equal(dns_tcp_counters(bench->tcp)->queries, 80);
	assert_int_equal(dns_tcp_counters(bench->tcp)->unknown, 0);
}

static void test_small_mtu(void **state)
{
	struct dns_tcp_options options = { .mtu = 1280 };
	struct bench *bench = *state;

	start(bench, &options);
	bench->rig.resolvers[0].script.truncated = true;
	bench->rig.resolvers[0].script.many = 1000;
	check_queries(bench, AF_INET6);
}

/* Nothing is asked: the gateway hangs up, in good order. */
static void test_idle(void **state)
{
	struct dns_tcp_options options = { .idle_ms = 1 };
	struct bench *bench = *state;
	uint8_t byte;
	int fd;

	start(bench, &options);
	fd = open_client(AF_INET);
	assert_int_equal(receive_all(bench, fd, &byte, 1), 0);
	assert_int_equal(dns_tcp_counters(bench->tcp)->idle, 1);
	close(fd);
}

static void test_refused(void **state)
{
	struct dns_tcp_options options = { .connections_max = 8, .client_max = 1 };
	struct bench *bench = *state;
	int first, second, error = 0;
	socklen_t length = sizeof(error);

	start(bench, &options);
	first = open_client(AF_INET6);
	wait_for(bench, first, EV_WRITE);
	second = open_client(AF_INET6);
	wait_for(bench, second, EV_WRITE);
	assert_int_equal(getsockopt(second, SOL_SOCKET, SO_ERROR, &error, &length), 0);
	assert_int_equal(error, ECONNREFUSED);
	assert_int_equal(dns_tcp_counters(bench->tcp)->limit_client, 1);
	close(first);
	close(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_queries),
		TEST(test_small_mtu),
		TEST(test_idle),
		TEST(test_refused),
	};

	signal(SIGPIPE, SIG_IGN); /* as the process does */
	have_namespace = enter_namespace() == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
