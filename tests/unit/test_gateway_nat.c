/* Translation in the gateway's place in the switch (gateway_stage.c, gateway_input.c): out and in,
 * forwards, hairpins, fragments, errors about translated packets. The translator's own rules are in
 * test_nat*.c. */
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

#define FORWARD                                                                                    \
	", antispoof: false, forward: [ {proto: udp, listen: 99, to: \"10.1.0.11:9\"}, {proto: "   \
	"tcp, listen: \"[fd00:f::2]:80\", to: \"[fd00:1::11]:80\"} ]"
#define NAT    "networks:\n" LAB_NETWORK("nat", FORWARD, "") LAB_GUESTS
#define NARROW "networks:\n" LAB_NETWORK("nat", ", antispoof: false, mtu: 1400", "") LAB_GUESTS

static const struct datagram out4 = { .from = LAB_A4,
				      .to = LAB_FAR4,
				      .protocol = IPPROTO_UDP,
				      .from_port = 4000,
				      .to_port = 53,
				      .payload = 700 };
static const struct datagram out6 = { .from = LAB_A6,
				      .to = LAB_FAR6,
				      .protocol = IPPROTO_TCP,
				      .from_port = 4001,
				      .to_port = 443,
				      .flags = 2,
				      .payload = 0 };

/* As it is outside. */
static struct datagram translated(struct datagram datagram)
{
	datagram = lab_hop(datagram);
	datagram.from = strchr(datagram.from, ':') != NULL ? LAB_OUTER6 : LAB_OUTER4;
	return datagram;
}

static uint64_t drops(struct lab *lab, const char *port, enum drop_reason reason)
{
	return switch_fixture_totals(&lab->fixture, port).drops[reason];
}

static void test_out_and_in(void **state)
{
	const struct datagram *const packets[] = { &out4, &out6 };
	struct lab lab;

	lab_open(&lab, NAT);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned n = 0; n < 2; n++) {
			struct datagram outside = translated(*packets[i]);
			struct datagram answer = lab_back(outside);
			struct datagram inside = lab_hop(lab_back(*packets[i]));

			if (answer.protocol == IPPROTO_TCP)
				answer.flags = 0x12;
			host_send(lab.a, packets[i]);
			host_expect(lab.router, &outside);
			host_send(lab.router, &answer);
			host_expect(lab.a, &inside);
		}
	}
	lab_close(&lab);
}

static void test_echo_is_translated(void **state)
{
	struct datagram ping = { .from = LAB_A4,
				 .to = LAB_FAR4,
				 .protocol = IPPROTO_ICMP,
				 .type = 8,
				 .from_port = 77,
				 .to_port = 1,
				 .payload = 56 };
	struct datagram outside = translated(ping), pong = outside, inside = ping;
	struct lab lab;

	lab_open(&lab, NAT);
	host_send(lab.a, &ping);
	host_expect(lab.router, &outside);
	pong.from = outside.to, pong.to = outside.from, pong.type = 0, pong.hops = 50;
	host_send(lab.router, &pong);
	inside.from = ping.to, inside.to = ping.from, inside.type = 0, inside.hops = 49;
	host_expect(lab.a, &inside);
	lab_close(&lab);
}

static void test_nobody_asked(void **state)
{
	struct datagram syn = { .from = LAB_FAR4,
				.to = LAB_OUTER4,
				.protocol = IPPROTO_TCP,
				.from_port = 1,
				.to_port = 22,
				.flags = 2 };
	struct datagram through = { .from = LAB_FAR4,
				    .to = LAB_A4,
				    .protocol = IPPROTO_UDP,
				    .from_port = 1,
				    .to_port = 2 };
	struct datagram wrong = lab_back(translated(out4));
	struct lab lab;

	lab_open(&lab, NAT);
	host_send(lab.router, &through);
	assert_int_equal(drops(&lab, "lab.uplink", DROP_NOT_FORWARDED), 1);
	host_send(lab.router, &syn);
	host_send(lab.a, &out4);
	host_barrier(lab.a);
	free(host_receive(lab.router));
	/* The right port, but another sender's. */
	wrong.from_port = 54;
	host_send(lab.router, &wrong);
	assert_int_equal(drops(&lab, "lab.uplink", DROP_NAT_FILTERED), 2);
	host_expect_nothing(lab.a);
	host_expect_nothing(lab.b);
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

static void test_forwards(void **state)
{
	struct datagram in4 = { .from = LAB_FAR4,
				.to = LAB_OUTER4,
				.protocol = IPPROTO_UDP,
				.from_port = 1234,
				.to_port = 99,
				.payload = 20 };
	struct datagram in6 = { .from = LAB_FAR6,
				.to = LAB_OUTER6,
				.protocol = IPPROTO_TCP,
				.from_port = 1235,
				.to_port = 80,
				.flags = 2 };
	struct datagram inside, back, outside;
	struct lab lab;

	lab_open(&lab, NAT);
	host_send(lab.router, &in4);
	inside = lab_hop(in4);
	inside.to = LAB_B4, inside.to_port = 9;
	host_expect(lab.b, &inside);
	back = lab_back(inside);
	host_send(lab.b, &back);
	outside = lab_hop(lab_back(in4));
	host_expect(lab.router, &outside);
	host_send(lab.router, &in6);
	inside = lab_hop(in6);
	inside.to = LAB_B6;
	host_expect(lab.b, &inside);
	lab_close(&lab);
}

/* A guest uses the forward to another by the address outside (RFC 4787, 6). */
static void test_hairpin(void **state)
{
	struct datagram sent = { .from = LAB_A4,
				 .to = LAB_OUTER4,
				 .protocol = IPPROTO_UDP,
				 .from_port = 5000,
				 .to_port = 99,
				 .payload = 30 };
	struct datagram there = lab_hop(sent), back, home;
	struct lab lab;

	lab_open(&lab, NAT);
	there.from = LAB_OUTER4;
	there.to = LAB_B4;
	there.to_port = 9;
	for (unsigned i = 0; i < 2; i++) {
		host_send(lab.a, &sent);
		host_expect(lab.b, &there);
		back = lab_back(there);
		home = lab_hop(lab_back(sent));
		host_send(lab.b, &back);
		host_expect(lab.a, &home);
	}
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

/* Fragments are put together before they are translated, and cut again on their way out. */
static void test_fragments(void **state)
{
	struct datagram sent = out4, outside, answer, inside;
	struct arrival *part;
	struct lab lab;

	lab_open(&lab, NAT);
	host_send_fragments(lab.a, &sent, 400);
	outside = translated(sent);
	host_expect(lab.router, &outside);
	answer = lab_back(outside);
	inside = lab_hop(lab_back(sent));
	host_send_fragments(lab.router, &answer, 8);
	host_expect(lab.a, &inside);
	sent.payload = 2000;
	host_send_fragments(lab.a, &sent, 1480);
	for (unsigned i = 0; i < 2; i++) {
		part = host_receive(lab.router);
		assert_true(part->fragment);
		assert_true(part->length <= 1514);
		assert_true(check_ipv4_sum(part->bytes + part->l3));
		assert_memory_equal(part->bytes + part->l3 + 12, "\xc0\x00\x02\x02", 4);
		if (i == 0)
			assert_int_equal(check_be16(part->bytes + part->l4), 4000);
		free(part);
	}
	/* In pieces no longer than they were: who cut them may know of a narrow link. */
	host_send_fragments(lab.a, &sent, 1200);
	for (unsigned i = 0; i < 2; i++) {
		part = host_receive(lab.router);
		assert_true(part->fragment);
		assert_int_equal(part->length, 14 + 20 + (i == 0 ? 1200 : 808));
		free(part);
	}
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

/* Whom an error concerns sees its own packet in it, not the translated one. */
static void test_errors_are_translated(void **state)
{
	struct datagram about = out4, other = out6;
	struct lab lab;

	lab_open(&lab, NAT);
	lab.router->silent = true;
	host_send(lab.a, &about);
	while (lab.router->asked < 3) {
		host_poll(lab.router);
		sched_yield();
	}
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 1, 0, &about);
	lab.router->asked = 0;
	host_send(lab.a, &other);
	while (lab.router->asked < 3) {
		host_poll(lab.router);
		sched_yield();
	}
	host_expect_error(lab.a, LAB_GATEWAY6, 1, 3, 0, &other);
	host_expect_nothing(lab.a);
	lab_close(&lab);
}

/* The other way: the inner leg is the narrow one, and who sent from outside is told. */
static void test_too_big_for_inside(void **state)
{
	struct datagram outside = translated(out4), answer = lab_back(outside);
	struct lab lab;

	lab_open(&lab, NARROW);
	host_send(lab.a, &out4);
	host_expect(lab.router, &outside);
	answer.payload = 1450;
	answer.whole = true;
	host_send(lab.router, &answer);
	host_expect_error(lab.router, LAB_OUTER4, 3, 4, 1400, &answer);
	assert_int_equal(drops(&lab, "lab.uplink", DROP_IP_TOO_BIG), 1);
	/* One that just fits. */
	answer.payload = 1400 - 28;
	host_send(lab.router, &answer);
	answer = lab_hop(answer);
	answer.to = LAB_A4;
	host_expect(lab.a, &answer);
	host_expect_nothing(lab.router);
	lab_close(&lab);
}

static void test_spoofed_outside(void **state)
{
	struct datagram sent = { .from = LAB_A4,
				 .to = LAB_OUTER4,
				 .protocol = IPPROTO_UDP,
				 .from_port = 1,
				 .to_port = 99 };
	struct lab lab;

	lab_open(&lab, NAT);
	host_send(lab.router, &sent);
	sent.from = LAB_OUTER4;
	host_send(lab.router, &sent);
	assert_int_equal(drops(&lab, "lab.uplink", DROP_SPOOFED_ADDRESS), 2);
	host_expect_nothing(lab.b);
	lab_close(&lab);
}

/* The link goes: guests are told; what comes back finds its session. */
static void test_session_outlives_the_link(void **state)
{
	struct datagram outside = translated(out4), answer = lab_back(outside);
	struct datagram inside = lab_hop(lab_back(out4));
	struct lab lab;

	lab_open(&lab, NAT);
	host_send(lab.a, &out4);
	host_expect(lab.router, &outside);
	fake_guest_disconnect(lab.router->guest);
	while (atomic_load(&vswitch_find_port(lab.fixture.vswitch, "lab.uplink")->link))
		switch_fixture_pump(&lab.fixture);
	host_barrier(lab.a);
	host_send(lab.a, &out4);
	host_expect_error(lab.a, LAB_GATEWAY4, 3, 0, 0, &out4);
	host_destroy(lab.router);
	lab.router = lab_router(&lab, NULL);
	host_barrier(lab.router);
	host_send(lab.router, &answer);
	host_expect(lab.a, &inside);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_and_in),
		cmocka_unit_test(test_echo_is_translated),
		cmocka_unit_test(test_nobody_asked),
		cmocka_unit_test(test_forwards),
		cmocka_unit_test(test_hairpin),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_errors_are_translated),
		cmocka_unit_test(test_too_big_for_inside),
		cmocka_unit_test(test_spoofed_outside),
		cmocka_unit_test(test_session_outlives_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
