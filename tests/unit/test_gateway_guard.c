/* Who may have which address behind a gateway (gateway_guard.c, the guard's place in pipeline.c):
 * the first MAC of a port, addresses that guests make, ports that move, VLANs, isolated ports. What
 * a guard says of a frame is in test_guard.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bridge/mac_table.h"
#include "bridge/vlan.h"
#include "route/guard.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "tests/lib/gateway_lab.h"
#include "vswitch/gateway_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* DHCP only so that addresses are ours to give; nobody speaks by himself. */
#define GUARDED(keys)                                                                              \
	"networks:\n"                                                                              \
	"  lab: { mode: isolated, ipv4: " LAB_GATEWAY4 "/24, ipv6: " LAB_GATEWAY6                  \
	"/64, mac: \"02:00:00:00:01:01\", dns: false, dhcp: { range: 10.1.0.100-10.1.0.120, "      \
	"hosts: { a: { mac: \"52:00:00:00:00:a1\", ip: " LAB_A4                                    \
	" }, b: { mac: \"52:00:00:00:00:b1\", ip: " LAB_B4 " } } }" keys " }\n"                    \
	"  other: { mode: isolated }\n"
#define GUESTS                                                                                     \
	"ports:\n"                                                                                 \
	"  a: { network: lab, vhost-user: @/a }\n"                                                 \
	"  b: { network: lab, vhost-user: @/b }\n"
#define LAB GUARDED(", dhcp6: stateless") GUESTS

static void guard_open(struct lab *lab, const char *yaml)
{
	memset(lab, 0, sizeof(*lab));
	switch_fixture_open(&lab->fixture, yaml);
	lab->a = lab_guest(lab, "a", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	lab->b = lab_guest(lab, "b", LAB_GUEST_B, LAB_B4, LAB_B6, NULL);
}

static uint64_t drops(struct lab *lab, const char *port, enum drop_reason reason)
{
	return switch_fixture_totals(&lab->fixture, port).drops[reason];
}

static const struct gateway_counters *counters(struct lab *lab)
{
	return &vswitch_find_network(lab->fixture.vswitch, "lab")->gateway->counters;
}

/* Until control has taken all that workers left to it, and published what came of it. */
static void settle(struct lab *lab)
{
	while (counters(lab)->taken !=
	       switch_fixture_totals(&lab->fixture, "lab.gw").transmit_packets)
		switch_fixture_pump(&lab->fixture);
}

static const struct guard *guard_of(struct lab *lab, const char *port)
{
	return atomic_load(&vswitch_find_port(lab->fixture.vswitch, port)->guard);
}

static struct datagram ping_of(const char *from)
{
	bool v6 = strchr(from, ':') != NULL;

	return (struct datagram){ .from = from,
				  .to = v6 ? LAB_GATEWAY6 : LAB_GATEWAY4,
				  .protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
				  .type = v6 ? 128 : 8,
				  .from_port = 1,
				  .to_port = 2,
				  .payload = 10 };
}

static void check_answered(struct host *host, const char *from)
{
	struct datagram ping = ping_of(from), pong = ping;

	pong.from = ping.to;
	pong.to = ping.from;
	pong.type = ping.type == 8 ? 0 : 129;
	host_send(host, &ping);
	host_expect(host, &pong);
}

/* A packet from the guest, and why it is dropped. */
static void check_dropped(struct lab *lab, struct host *host, const char *port, const char *from,
			  enum drop_reason reason)
{
	struct datagram ping = ping_of(from);
	uint64_t before = drops(lab, port, reason);

	host_send(host, &ping);
	assert_int_equal(drops(lab, port, reason), before + 1);
}

static void test_first_mac_is_bound(void **state)
{
	struct lab lab;

	guard_open(&lab, LAB);
	assert_false(guard_of(&lab, "a")->has_mac);
	/* The very first packet is answered. */
	check_answered(lab.a, LAB_A4);
	assert_true(guard_of(&lab, "a")->has_mac);
	check_answered(lab.a, LAB_A4);
	check_dropped(&lab, lab.a, "a", LAB_B4, DROP_SPOOFED_ADDRESS);
	check_dropped(&lab, lab.a, "a", LAB_GATEWAY4, DROP_SPOOFED_SERVER);
	/* Its MAC has a reservation, so it stays. */
	lab.a->mac = LAB_ROUTER;
	check_dropped(&lab, lab.a, "a", LAB_A4, DROP_SPOOFED_MAC);
	lab.a->mac = LAB_GUEST_A;
	check_answered(lab.a, LAB_A4);
	lab_close(&lab);
}

static void test_macs_are_one_ports_own(void **state)
{
	struct lab lab;

	guard_open(&lab, LAB);
	check_answered(lab.a, LAB_A4);
	host_solicit(lab.b, LAB_GUEST_A);
	host_solicit(lab.b, LAB_INSIDE);
	settle(&lab);
	assert_int_equal(counters(&lab)->claims_refused, 2);
	assert_false(guard_of(&lab, "b")->has_mac);
	check_answered(lab.b, LAB_B4);
	lab_close(&lab);
}

/* What was learned before weftd was started again stands in the MAC table alone. */
static void test_mac_of_before_is_awaited(void **state)
{
	struct lab lab;
	struct network *network;

	guard_open(&lab, LAB);
	network = vswitch_find_network(lab.fixture.vswitch, "lab");
	mac_table_learn(network->macs, LAB_GUEST_A, VLAN_NONE,
			vswitch_find_port(lab.fixture.vswitch, "a")->index, clock_seconds());
	host_solicit(lab.b, LAB_GUEST_A);
	settle(&lab);
	assert_int_equal(counters(&lab)->claims_refused, 1);
	check_answered(lab.a, LAB_A4);
	check_answered(lab.b, LAB_B4);
	lab_close(&lab);
}

/* A guest without lease or reservation may change its mind, as one does whose MAC is set late. */
static void test_mac_changes_until_settled(void **state)
{
	struct lab lab;

	guard_open(&lab, LAB);
	host_solicit(lab.a, LAB_ROUTER);
	settle(&lab);
	assert_true(guard_of(&lab, "a")->has_mac);
	assert_false(guard_of(&lab, "a")->settled);
	check_answered(lab.a, LAB_A4);
	assert_true(guard_of(&lab, "a")->settled);
	lab_close(&lab);
}

static void test_ipv6_addresses_are_claimed(void **state)
{
	char text[32];
	struct lab lab;
	struct datagram ping;

	guard_open(&lab, LAB);
	check_answered(lab.a, LAB_A6);
	check_answered(lab.b, LAB_B6);
	assert_int_equal(counters(&lab)->claims, 2);
	/* First come, first served. */
	ping = ping_of(LAB_A6);
	host_send(lab.b, &ping);
	host_expect_nothing(lab.b);
	assert_int_equal(counters(&lab)->claims_refused, 1);
	check_dropped(&lab, lab.b, "b", LAB_GATEWAY6, DROP_SPOOFED_SERVER);
	check_dropped(&lab, lab.b, "b", "fd00:77::1", DROP_SPOOFED_ADDRESS);
	/* The seventeenth takes the place of the first, which is free then. */
	for (unsigned i = 0; i < 16; i++) {
		snprintf(text, sizeof(text), "fd00:1::1:%x", i);
		check_answered(lab.a, text);
	}
	settle(&lab);
	check_answered(lab.b, LAB_A6);
	lab_close(&lab);
}

/* What comes before the guard knows its guest is checked as well: a false ARP reply teaches the
 * gateway nothing. */
static void test_first_frame_is_checked(void **state)
{
	struct gateway *gateway;
	struct mac mac;
	struct ip ip;
	struct lab lab;

	guard_open(&lab, LAB);
	gateway = vswitch_find_network(lab.fixture.vswitch, "lab")->gateway;
	assert_return_code(ip_from_text(LAB_A4, &ip), 0);
	host_send_arp(lab.b, 2, LAB_GUEST_B, LAB_A4, LAB_GATEWAY4);
	host_send_arp(lab.b, 1, LAB_GUEST_B, LAB_A4, LAB_GATEWAY4);
	settle(&lab);
	assert_true(guard_of(&lab, "b")->has_mac);
	assert_false(neighbour_lookup(gateway->neighbours, GATEWAY_INNER, &ip, &mac));
	host_send_arp(lab.a, 1, LAB_GUEST_A, LAB_A4, LAB_GATEWAY4);
	settle(&lab);
	assert_true(neighbour_lookup(gateway->neighbours, GATEWAY_INNER, &ip, &mac));
	lab_close(&lab);
}

static void test_lease_opens_the_guard(void **state)
{
	struct lease lease = { .mac = { { 0x52, 0, 0, 0, 0, 0xa1 } },
			       .client_length = 1,
			       .expires = LEASE_FOREVER,
			       .state = LEASE_BOUND,
			       .port = LEASE_PORT_NONE };
	struct gateway *gateway;
	struct lab lab;

	guard_open(&lab, LAB);
	gateway = vswitch_find_network(lab.fixture.vswitch, "lab")->gateway;
	check_answered(lab.a, LAB_A4);
	check_dropped(&lab, lab.a, "a", "10.1.0.100", DROP_SPOOFED_ADDRESS);
	assert_return_code(ip_from_text("10.1.0.100", &lease.ip), 0);
	assert_return_code(lease_put(gateway->leases, &lease), 0);
	gateway_finish(gateway);
	check_answered(lab.a, "10.1.0.100");
	lease_remove(gateway->leases, &lease.ip);
	gateway_finish(gateway);
	check_dropped(&lab, lab.a, "a", "10.1.0.100", DROP_SPOOFED_ADDRESS);
	lab_close(&lab);
}

static void test_guest_leaves(void **state)
{
	struct lab lab;

	guard_open(&lab, LAB);
	check_answered(lab.a, LAB_A4);
	host_destroy(lab.a);
	while (guard_of(&lab, "a")->has_mac)
		switch_fixture_pump(&lab.fixture);
	lab.a = lab_guest(&lab, "a", LAB_GUEST_B, LAB_B4, LAB_B6, NULL);
	check_answered(lab.a, LAB_B4);
	lab_close(&lab);
}

static void apply(struct lab *lab, const char *yaml)
{
	struct error error;

	if (switch_fixture_apply(&lab->fixture, yaml, &error) != 0)
		fail_msg("%s", error.text);
}

/* A port takes no guard along into a network without one, and comes back without claims; a network
 * that gives no addresses any more guards nobody. */
static void test_guard_stays_behind(void **state)
{
	struct datagram ping = ping_of("10.9.9.9");
	struct lab lab;

	guard_open(&lab, LAB);
	check_answered(lab.a, LAB_A6);
	apply(&lab, GUARDED(", dhcp6: stateless") "ports:\n"
						  "  a: { network: other, vhost-user: @/a }\n"
						  "  b: { network: lab, vhost-user: @/b }\n");
	assert_null(guard_of(&lab, "a"));
	assert_null(vswitch_find_port(lab.fixture.vswitch, "a")->binding);
	check_dropped(&lab, lab.a, "a", "10.9.9.9", DROP_NO_DESTINATION);
	check_answered(lab.b, LAB_A6);
	apply(&lab, LAB);
	assert_false(guard_of(&lab, "a")->has_mac);
	apply(&lab, "networks:\n  lab: { mode: isolated }\n  other: { mode: isolated }\n" GUESTS);
	assert_null(guard_of(&lab, "a"));
	assert_null(guard_of(&lab, "b"));
	/* To a MAC that nobody has: flooded to b. */
	host_send(lab.a, &ping);
	free(host_receive(lab.b));
	lab_close(&lab);
}

/* VLANs are beside the gateway: their guests are neither guarded nor heard nor served. */
static void test_vlans_are_beside(void **state)
{
	static const char yaml[] = GUARDED(", dhcp6: stateless") "ports:\n"
								 "  a: { network: lab, vhost-user: "
								 "@/a, vlan: 10 }\n"
								 "  b: { network: lab, vhost-user: "
								 "@/b, vlans: [10], native: 10 }\n";
	struct datagram ping = ping_of(LAB_A4);
	struct lab lab;

	guard_open(&lab, yaml);
	assert_null(guard_of(&lab, "a"));
	assert_null(guard_of(&lab, "b"));
	check_dropped(&lab, lab.a, "a", LAB_A4, DROP_VLAN_EGRESS);
	check_dropped(&lab, lab.b, "b", "10.200.0.1", DROP_VLAN_EGRESS);
	host_send_arp(lab.a, 1, LAB_GUEST_A, LAB_A4, LAB_GATEWAY4);
	lab.a->gateway_mac = LAB_GUEST_B;
	host_send(lab.a, &ping);
	free(host_receive(lab.b));
	assert_int_equal(counters(&lab)->taken, 0);
	assert_int_equal(switch_fixture_totals(&lab.fixture, "lab.gw").transmit_packets, 0);
	lab_close(&lab);
}

/* A tagged frame of a plain port is in a VLAN as well. */
static void test_tagged_first_frame(void **state)
{
	uint8_t frame[60] = { [0] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0,    0,
			      0,	  0,	0xa1, 0x81, 0,	  0,	10,   0x08, 0x06,
			      0,	  1,	8,    0,    6,	  4,	0,    1 };
	struct lab lab;

	guard_open(&lab, LAB);
	host_send_frame(lab.a, NULL, frame, sizeof(frame));
	assert_int_equal(drops(&lab, "a", DROP_SPOOFED_ADDRESS), 1);
	assert_false(guard_of(&lab, "a")->has_mac);
	lab_close(&lab);
}

static void test_isolated_ports(void **state)
{
	static const char yaml[] = GUARDED(
	    ", dhcp6: stateless") "ports:\n"
				  "  a: { network: lab, vhost-user: @/a, isolated: true }\n"
				  "  b: { network: lab, vhost-user: @/b, isolated: true }\n"
				  "  c: { network: lab, vhost-user: @/c, antispoof: false }\n";
	struct datagram sent = {
		.from = LAB_A4, .to = LAB_B4, .protocol = IPPROTO_UDP, .from_port = 1, .to_port = 2
	};
	struct datagram hop, other = sent;
	struct host *c;
	struct lab lab;

	guard_open(&lab, yaml);
	c = lab_guest(&lab, "c", 0x5200000000c1, "10.1.0.12", NULL, NULL);
	check_answered(lab.a, LAB_A4);
	check_answered(lab.b, LAB_B4);
	/* The gateway knows b, and a asks it for help. */
	host_send_arp(lab.b, 1, LAB_GUEST_B, LAB_B4, LAB_GATEWAY4);
	settle(&lab);
	host_send(lab.a, &sent);
	assert_int_equal(drops(&lab, "a", DROP_ISOLATED), 1);
	host_expect_nothing(lab.b);
	/* To one that is not isolated it does. */
	other.to = "10.1.0.12";
	hop = lab_hop(other);
	host_send(lab.a, &other);
	host_expect(c, &hop);
	host_destroy(c);
	lab_close(&lab);
}

static void yield_only(void *context)
{
	sched_yield();
}

/* What a guest has said before its port went is not taken for a word of the port that comes after
 * it, with its number. */
static void test_number_comes_again(void **state)
{
	void (*pump)(void *context);
	uint16_t index;
	struct lab lab;

	guard_open(&lab, LAB);
	index = vswitch_find_port(lab.fixture.vswitch, "a")->index;
	settle(&lab);
	pump = lab.a->guest->options.pump;
	lab.a->guest->options.pump = yield_only;
	for (unsigned i = 0; i < 5; i++)
		host_solicit(lab.a, LAB_GUEST_A);
	lab.a->guest->options.pump = pump;
	apply(&lab, GUARDED(", dhcp6: stateless") "ports:\n"
						  "  z: { network: lab, vhost-user: @/z }\n"
						  "  b: { network: lab, vhost-user: @/b }\n");
	assert_int_equal(vswitch_find_port(lab.fixture.vswitch, "z")->index, index);
	settle(&lab);
	assert_int_equal(counters(&lab)->ignored, 5);
	assert_false(guard_of(&lab, "z")->has_mac);
	/* And is heard itself. */
	host_destroy(lab.a);
	lab.a = lab_guest(&lab, "z", LAB_GUEST_A, LAB_A4, LAB_A6, NULL);
	check_answered(lab.a, LAB_A4);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_mac_is_bound),
		cmocka_unit_test(test_macs_are_one_ports_own),
		cmocka_unit_test(test_mac_of_before_is_awaited),
		cmocka_unit_test(test_mac_changes_until_settled),
		cmocka_unit_test(test_ipv6_addresses_are_claimed),
		cmocka_unit_test(test_first_frame_is_checked),
		cmocka_unit_test(test_lease_opens_the_guard),
		cmocka_unit_test(test_guest_leaves),
		cmocka_unit_test(test_guard_stays_behind),
		cmocka_unit_test(test_vlans_are_beside),
		cmocka_unit_test(test_tagged_first_frame),
		cmocka_unit_test(test_isolated_ports),
		cmocka_unit_test(test_number_comes_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
