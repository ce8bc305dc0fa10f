/* Packets through gateways that route (gateway_stage.c, gateway_input.c): fake guests on both legs,
 * every byte of what arrives checked. Translation is in test_gateway_nat.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/gateway_lab.h"
#include "tests/unit/frame_check.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define ROUTED	   "networks:\n" LAB_NETWORK("routed", ", antispoof: false", "") LAB_GUESTS
#define NARROW	   "networks:\n" LAB_NETWORK("routed", ", antispoof: false", ", mtu: 1300") LAB_GUESTS
#define PROHIBITED 13

static const struct datagram out4 = { .from = LAB_A4,
				      .to = LAB_FAR4,
				      .protocol = IPPROTO_UDP,
				      .from_port = 1000,
				      .to_port = 2000,
				      .payload = 500 };
static const struct datagram out6 = { .from = LAB_A6,
				      .to = LAB_FAR6,
				      .protocol = IPPROTO_TCP,
				      .from_port = 1001,
				      .to_port = 2001,
				      .flags = 0x10,
				      .payload = 1400 };

static void test_forwards_both_ways(void **state)
{
	const struct datagram *const packets[] = { &out4, &out6 };
	struct lab lab;

	lab_open(&lab, ROUTED);
	for (unsigned i = 0; i < 2; i++) {
		struct datagram sent = *packets[i], hop = lab_hop(sent), back = lab_back(sent),
				back_hop = lab_hop(back);

		/* Nobody knows anybody: neighbours are asked for, and the packet waits. */
		host_send(lab.a, &sent);
		host_expect(lab.router, &hop);
		host_send(lab.router, &back);
		host_expect(lab.a, &back_hop);
		/* Now workers know them. */
		host_send(lab.a, &sent);
		host_expect(lab.router, &hop);
		host_send(lab.router, &back);
		host_expect(lab.a, &back_hop);
	}
	assert_int_equal(lab.router->asked, 2);
	assert_int_equal(lab.a->asked, 2);
	host_expect_nothing(lab.b);
	lab_close(&lab);
}

/* Between guests by way of the gateway, as a guest with a wrong prefix does. */
static void test_forwards_back_into_its_segment(void **state)
{
	struct datagram sent = out4, hop;
	struct lab lab;

	lab_open(&lab, ROUTED);
	sent.to = LAB_B4;
	hop = lab_hop(sent);
	for (unsigned i = 0; i < 2; i++) {
		host_send(lab.a, &sent);
		host_expect(lab.b, &hop);
	}
	host_expect_nothing(lab.a);
	lab_close(&lab);
}

static uint64_t drops(struct lab *lab, const char *port, enum drop_reason reason)
{
	return switch_fixture_totals(&lab->fixture, port).drops[reason];
}

static void test_hop_limit_ends(void **state)
{
	struct datagram sent4 = out4, sent6 = out6, hop;
	struct lab lab;

	lab_open(&lab, ROUTED);
	sent4.hops = sent6.hops = 1;
	host_send(lab.a, &sent4);
	host_expect_error(lab.a, LAB_GATEWAY4, 11, 0, 0, &sent4);
	host_send(lab.a, &sent6);
	host_expect_error(lab.a, LAB_GATEWAY6, 3, 0, 0, &sent6);
	assert_int_equal(drops(&lab, "a", DROP_IP_TTL), 2);
	sent4.hops = 2;
	hop = lab_hop(sent4);
	host_send(lab.a, &sent4);
	host_expect(lab.router, &hop);
	/* To the gateway itself one hop is enough. */
	sent4.hops = 1;
	sent4.to = LAB_GATEWAY4;
	host_send(lab.a, &sent4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 3, 0, &sent4);
	lab_close(&lab);
}

static void test_no_route(void **state)
{
	static const char yaml[] =
	    "networks:\n"
	    "  lab: { mode: routed, ipv4: 10.1.0.1/24, ipv6: fd00:1::1/64, "
	    "mac: \"02:00:00:00:01:01\", antispoof: false, " LAB_QUIET " }\n" LAB_GUESTS;
	struct lab lab = { 0 };

	switch_fixture_open(&lab.fixture, yaml);
	lab.a = lab_guest(&lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	host_send(lab.a, &out4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 0, 0, &out4);
	host_send(lab.a, &out6);
	host_expect_error(lab.a, LAB_GATEWAY6, 1, 0, 0, &out6);
	assert_int_equal(drops(&lab, "a", DROP_IP_NO_ROUTE), 2);
	lab_close(&lab);
}

static void test_isolated_prohibits(void **state)
{
	static const char yaml[] =
	    "networks:\n"
	    "  lab: { mode: isolated, ipv4: 10.1.0.1/24, ipv6: "
	    "fd00:1::1/64, mac: \"02:00:00:00:01:01\", antispoof: false, " LAB_QUIET
	    " }\n" LAB_GUESTS;
	struct datagram ping = { .from = LAB_A4,
				 .to = LAB_GATEWAY4,
				 .protocol = IPPROTO_ICMP,
				 .type = 8,
				 .from_port = 5,
				 .to_port = 6,
				 .payload = 100 };
	struct datagram pong = ping;
	struct lab lab = { 0 };

	switch_fixture_open(&lab.fixture, yaml);
	lab.a = lab_guest(&lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	host_send(lab.a, &out4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, PROHIBITED, 0, &out4);
	host_send(lab.a, &out6);
	host_expect_error(lab.a, LAB_GATEWAY6, 1, 1, 0, &out6);
	assert_int_equal(drops(&lab, "a", DROP_IP_PROHIBITED), 2);
	host_send(lab.a, &ping);
	pong.from = LAB_GATEWAY4;
	pong.to = LAB_A4;
	pong.type = 0;
	host_expect(lab.a, &pong);
	lab_close(&lab);
}

/* The fragments of one packet, put together; the caller frees it. */
static uint8_t *collect_fragments(struct host *host, uint32_t mtu, uint32_t whole)
{
	uint8_t *data = calloc(1, whole);
	uint32_t got = 0;

	assert_non_null(data);
	while (got < whole) {
		struct arrival *arrival = host_receive(host);
		const uint8_t *ip = arrival->bytes + arrival->l3;
		uint32_t word = check_be16(ip + 6), size = arrival->length - arrival->l4;

		assert_int_equal(arrival->version, 4);
		assert_true(check_ipv4_sum(ip));
		assert_true(arrival->length - arrival->l3 <= mtu);
		assert_int_equal((word & 0x1fff) * 8, got);
		assert_true(got + size <= whole);
		memcpy(data + got, arrival->bytes + arrival->l4, size);
		got += size;
		assert_int_equal((word & 0x2000) == 0, got == whole);
		free(arrival);
	}
	return data;
}

static void test_larger_than_the_way(void **state)
{
	static uint8_t frame[HOST_FRAME_MAX];
	struct datagram sent4 = out4, sent6 = out6;
	struct fake_header header;
	uint32_t length;
	uint8_t *data;
	struct lab lab;

	lab_open(&lab, NARROW);
	sent4.payload = 1450;
	for (unsigned i = 0; i < 2; i++) {
		host_send(lab.a, &sent4);
		data = collect_fragments(lab.router, 1300, 1458);
		length = host_build(lab.a, &sent4, frame, &header);
		assert_memory_equal(data, frame + length - 1458, 1458);
		free(data);
	}
	sent4.whole = true;
	host_send(lab.a, &sent4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 4, 1300, &sent4);
	host_send(lab.a, &sent6);
	host_expect_error(lab.a, LAB_GATEWAY6, 2, 0, 1300, &sent6);
	assert_int_equal(drops(&lab, "a", DROP_IP_TOO_BIG), 2);
	/* Just right. */
	sent4.payload = 1300 - 28;
	sent6.payload = 1300 - 60;
	host_send(lab.a, &sent4);
	sent4 = lab_hop(sent4);
	host_expect(lab.router, &sent4);
	host_send(lab.a, &sent6);
	sent6 = lab_hop(sent6);
	host_expect(lab.router, &sent6);
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

/* An answer of the gateway's own that is larger than the link's MTU. */
static void test_own_answers_fit(void **state)
{
	static uint8_t frame[HOST_FRAME_MAX];
	struct datagram ping = { .from = LAB_A4,
				 .to = LAB_GATEWAY4,
				 .protocol = IPPROTO_ICMP,
				 .type = 8,
				 .from_port = 5,
				 .to_port = 6,
				 .payload = 2500 };
	struct fake_header header;
	struct lab lab;
	uint8_t *data;
	uint32_t length;

	lab_open(&lab, ROUTED);
	host_send_fragments(lab.a, &ping, 1480);
	data = collect_fragments(lab.a, 1500, 2508);
	ping.from = LAB_GATEWAY4;
	ping.to = LAB_A4;
	ping.type = 0;
	length = host_build(lab.a, &ping, frame, &header);
	assert_memory_equal(data, frame + length - 2508, 2508);
	free(data);
	host_expect_nothing(lab.a);
	lab_close(&lab);
}

static void wait_unreachable(struct lab *lab, uint64_t before)
{
	while (lab->router->asked < before + 3) {
		host_poll(lab->router);
		sched_yield();
	}
}

/* A neighbour that does not answer: asked three times, then the sender is told. */
static void test_silent_neighbour(void **state)
{
	struct datagram sent = out4, other = out4;
	struct lab lab;

	lab_open(&lab, ROUTED);
	lab.router->silent = true;
	host_send(lab.a, &sent);
	other.from_port = 7;
	host_send(lab.a, &other);
	wait_unreachable(&lab, 0);
	host_expect_error(lab.a, LAB_OUTER4, 3, 1, 0, &sent);
	host_expect_error(lab.a, LAB_OUTER4, 3, 1, 0, &other);
	host_expect_nothing(lab.a);
	lab_close(&lab);
}

static void test_spoofed_and_martian(void **state)
{
	static const struct {
		const char *from, *to;
		bool outside;
		enum drop_reason reason;
	} rows[] = {
		{ "10.9.0.1", LAB_FAR4, false, DROP_SPOOFED_ADDRESS },
		{ LAB_OUTER4, LAB_FAR4, false, DROP_SPOOFED_ADDRESS },
		{ LAB_GATEWAY4, LAB_FAR4, false, DROP_SPOOFED_ADDRESS },
		{ LAB_ROUTER4, LAB_FAR4, false, DROP_SPOOFED_ADDRESS },
		{ "fd00:f::77", LAB_FAR6, false, DROP_SPOOFED_ADDRESS },
		{ LAB_A4, LAB_B4, true, DROP_SPOOFED_ADDRESS },
		{ LAB_A6, LAB_B6, true, DROP_SPOOFED_ADDRESS },
		{ LAB_GATEWAY6, LAB_B6, true, DROP_SPOOFED_ADDRESS },
		{ "127.0.0.1", LAB_FAR4, false, DROP_IP_MARTIAN },
		{ LAB_A4, "127.0.0.1", false, DROP_IP_MARTIAN },
		{ "224.0.0.1", LAB_FAR4, false, DROP_IP_MARTIAN },
		{ "255.255.255.255", LAB_FAR4, false, DROP_IP_MARTIAN },
		{ "::1", LAB_FAR6, false, DROP_IP_MARTIAN },
		{ LAB_A6, "::1", false, DROP_IP_MARTIAN },
		{ "127.0.0.1", LAB_A4, true, DROP_IP_MARTIAN },
	};
	struct lab lab;

	lab_open(&lab, ROUTED);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct datagram sent = { .from = rows[i].from,
					 .to = rows[i].to,
					 .protocol = IPPROTO_UDP,
					 .from_port = 1,
					 .to_port = 2 };
		const char *port = rows[i].outside ? "lab.uplink" : "a";
		uint64_t before = drops(&lab, port, rows[i].reason);

		host_send(rows[i].outside ? lab.router : lab.a, &sent);
		if (drops(&lab, port, rows[i].reason) != before + 1)
			fail_msg("row %zu is not counted", i);
	}
	host_expect_nothing(lab.router);
	host_expect_nothing(lab.a);
	host_expect_nothing(lab.b);
	lab_close(&lab);
}

/* The uplink goes: no way out, and guests are told. It comes back by itself. */
static void test_uplink_link(void **state)
{
	struct datagram hop = lab_hop(out4);
	struct lab lab;

	lab_open(&lab, ROUTED);
	host_send(lab.a, &out4);
	host_expect(lab.router, &hop);
	fake_guest_disconnect(lab.router->guest);
	while (atomic_load(&vswitch_find_port(lab.fixture.vswitch, "lab.uplink")->link))
		switch_fixture_pump(&lab.fixture);
	host_barrier(lab.a);
	host_send(lab.a, &out4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 0, 0, &out4);
	host_send(lab.a, &out6);
	host_expect_error(lab.a, LAB_GATEWAY6, 1, 0, 0, &out6);
	host_destroy(lab.router);
	lab.router = lab_router(&lab, NULL);
	host_barrier(lab.router);
	host_send(lab.a, &out4);
	host_expect(lab.router, &hop);
	lab_close(&lab);
}

static void test_peers(void **state)
{
	static const char yaml[] =
	    "networks:\n"
	    "  one: { mode: routed, ipv4: 10.1.0.1/24, mac: \"02:00:00:00:01:01\", antispoof: "
	    "false, " LAB_QUIET ", peers: [two] }\n"
	    "  two: { mode: routed, ipv4: 10.2.0.1/24, mac: \"02:00:00:00:02:01\", antispoof: "
	    "false, " LAB_QUIET " }\n"
	    "  three: { mode: routed, ipv4: 10.3.0.1/24, mac: \"02:00:00:00:03:01\", antispoof: "
	    "false, " LAB_QUIET ", peers: [one] }\n"
	    "ports:\n"
	    "  a: { network: one, vhost-user: @/a }\n"
	    "  b: { network: two, vhost-user: @/b }\n"
	    "  c: { network: three, vhost-user: @/c }\n";
	struct datagram there = { .from = "10.1.0.10",
				  .to = "10.2.0.10",
				  .protocol = IPPROTO_UDP,
				  .from_port = 1,
				  .to_port = 2,
				  .payload = 33 };
	struct datagram sent, hop;
	struct switch_fixture fixture;
	struct host *a, *b, *c;

	switch_fixture_open(&fixture, yaml);
	a = host_create(&fixture, "a", LAB_GUEST_A, 0x020000000101, NULL);
	b = host_create(&fixture, "b", LAB_GUEST_B, 0x020000000201, NULL);
	c = host_create(&fixture, "c", LAB_ROUTER, 0x020000000301, NULL);
	a->ip4 = "10.1.0.10", a->gateway4 = "10.1.0.1";
	b->ip4 = "10.2.0.10", b->gateway4 = "10.2.0.1";
	c->ip4 = "10.3.0.10", c->gateway4 = "10.3.0.1";
	for (unsigned i = 0; i < 2; i++) {
		hop = lab_hop(there);
		host_send(a, &there);
		host_expect(b, &hop);
		sent = lab_back(there);
		hop = lab_hop(sent);
		host_send(b, &sent);
		host_expect(a, &hop);
	}
	/* Named by either is enough, and by none is not. */
	sent = there, sent.to = "10.3.0.10", hop = lab_hop(sent);
	host_send(a, &sent);
	host_expect(c, &hop);
	sent.from = "10.2.0.10";
	host_send(b, &sent);
	host_expect_error(b, "10.2.0.1", 3, 0, 0, &sent);
	host_expect_nothing(c);
	host_destroy(a);
	host_destroy(b);
	host_destroy(c);
	switch_fixture_close(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forwards_both_ways),
		cmocka_unit_test(test_forwards_back_into_its_segment),
		cmocka_unit_test(test_hop_limit_ends),
		cmocka_unit_test(test_no_route),
		cmocka_unit_test(test_isolated_prohibits),
		cmocka_unit_test(test_larger_than_the_way),
		cmocka_unit_test(test_own_answers_fit),
		cmocka_unit_test(test_silent_neighbour),
		cmocka_unit_test(test_spoofed_and_martian),
		cmocka_unit_test(test_uplink_link),
		cmocka_unit_test(test_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
