/* Changes to networks with gateways while packets flow (gateway.c, switch_apply.c): what a change
 * does not name goes on, what fails is taken back whole, and nothing is left behind. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/gateway_lab.h"
#include "tests/lib/switch_traffic.h"
#include "vswitch/gateway_internal.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define C TRAFFIC_MAC(3)
#define D TRAFFIC_MAC(4)

#define QUIET ", antispoof: false"
/* A network that no change names. */
#define STILL "  still: { mode: isolated }\n"
#define PORTS                                                                                      \
	LAB_GUESTS                                                                                 \
	"  c: { network: still, vhost-user: @/c }\n"                                               \
	"  d: { network: still, vhost-user: @/d }\n"
#define NAT    "networks:\n" STILL LAB_NETWORK("nat", QUIET, "") PORTS
#define ROUTED "networks:\n" STILL LAB_NETWORK("routed", QUIET, "") PORTS
#define FORWARDS                                                                                   \
	"networks:\n" STILL LAB_NETWORK("nat",                                                     \
					QUIET                                                      \
					", forward: [ {proto: udp, listen: 99, to: "               \
					"\"10.1.0.11:9\"}, {proto: tcp, listen: 100-200, to: "     \
					"\"10.1.0.11:100\"} ]",                                    \
					"") PORTS
#define POOL                                                                                       \
	"networks:\n" STILL LAB_NETWORK("nat", QUIET ", nat: { pool: 192.0.2.9, sessions: 5000 }", \
					"") PORTS
#define UPLINK "networks:\n" STILL LAB_NETWORK("nat", QUIET, ", dns: 192.0.2.53") PORTS
#define PEER                                                                                       \
	"networks:\n" STILL                                                                        \
	"  far: { mode: routed, ipv4: 10.7.0.1/24, peers: [lab] }\n" LAB_NETWORK("routed", QUIET,  \
										 "") PORTS
#define SERVICES                                                                                   \
	"networks:\n" STILL "  lab: { mode: nat, ipv4: " LAB_GATEWAY4 "/24, ipv6: " LAB_GATEWAY6   \
	"/64, mac: \"02:00:00:00:01:01\", dhcp: { range: 10.1.0.100-10.1.0.120 }, dhcp6: "         \
	"stateful, antispoof: false, uplink: { vhost-user: @/up, address: [" LAB_OUTER4            \
	"/24, " LAB_OUTER6 "/64], gateway: [" LAB_ROUTER4 ", " LAB_ROUTER6                         \
	"], mac: \"02:00:00:00:01:02\" } }\n" PORTS
#define ISOLATED                                                                                   \
	"networks:\n" STILL                                                                        \
	"  lab: { mode: isolated, ipv4: 10.1.0.1/24, ipv6: fd00:1::1/64, mac: "                    \
	"\"02:00:00:00:01:01\", " LAB_QUIET QUIET " }\n" PORTS
#define BARE "networks:\n" STILL "  lab: { mode: isolated }\n" PORTS

enum way { OUT_ROUTED, OUT_TRANSLATED, NO_WAY, NO_GATEWAY };

static const struct {
	const char *yaml;
	enum way way;
	const char *source;
} changes[] = {
	{ NAT, OUT_TRANSLATED, LAB_OUTER4 },
	{ FORWARDS, OUT_TRANSLATED, LAB_OUTER4 },
	{ POOL, OUT_TRANSLATED, "192.0.2.9" },
	{ UPLINK, OUT_TRANSLATED, LAB_OUTER4 },
	{ ROUTED, OUT_ROUTED, LAB_A4 },
	{ PEER, OUT_ROUTED, LAB_A4 },
	{ SERVICES, OUT_TRANSLATED, LAB_OUTER4 },
	{ ISOLATED, NO_WAY, NULL },
	{ BARE, NO_GATEWAY, NULL },
	{ FORWARDS, OUT_TRANSLATED, LAB_OUTER4 },
};

static void apply(struct lab *lab, const char *yaml)
{
	struct error error;

	if (switch_fixture_apply(&lab->fixture, yaml, &error) != 0)
		fail_msg("%s", error.text);
}

/* Where the uplink was taken away the router has lost its connection. */
static void follow_uplink(struct lab *lab, bool there)
{
	if (!there) {
		host_destroy(lab->router);
		lab->router = NULL;
	} else if (lab->router == NULL) {
		lab->router = lab_router(lab, NULL);
		host_barrier(lab->router);
	}
}

static void check_way(struct lab *lab, enum way way, const char *source)
{
	struct datagram sent = { .from = LAB_A4,
				 .to = LAB_FAR4,
				 .protocol = IPPROTO_UDP,
				 .from_port = 4000,
				 .to_port = 53,
				 .payload = 100 };
	struct datagram hop = lab_hop(sent);
	uint64_t before;

	switch (way) {
	case OUT_ROUTED:
	case OUT_TRANSLATED:
		hop.from = source;
		host_send(lab->a, &sent);
		host_expect(lab->router, &hop);
		break;
	case NO_WAY:
		host_send(lab->a, &sent);
		host_expect_error(lab->a, LAB_GATEWAY4, 3, 13, 0, &sent);
		break;
	case NO_GATEWAY:
		before = switch_fixture_totals(&lab->fixture, "a").receive_packets;
		host_send(lab->a, &sent);
		assert_int_equal(switch_fixture_totals(&lab->fixture, "a").receive_packets,
				 before + 1);
		break;
	}
}

static void test_changes_under_traffic(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct stream stream = { .from_mac = C, .to_mac = D, .flows = 4 };
	uint64_t serials[4];
	struct lab lab;

	lab_open(&lab, NAT);
	stream.from = switch_fixture_guest(&lab.fixture, "c", NULL, 128);
	stream.to = switch_fixture_guest(&lab.fixture, "d", NULL, 128);
	for (unsigned i = 0; i < 4; i++)
		serials[i] = vswitch_find_port(lab.fixture.vswitch, names[i])->serial;
	stream_start(&stream);
	for (unsigned i = 0; i < 200; i++) {
		unsigned now = i % (sizeof(changes) / sizeof(changes[0]));

		apply(&lab, changes[now].yaml);
		follow_uplink(&lab, changes[now].source != NULL);
		check_way(&lab, changes[now].way, changes[now].source);
		stream_wait(&stream, &lab.fixture, 1);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vswitch_find_port(lab.fixture.vswitch, names[i])->serial,
				 serials[i]);
	stream_wait(&stream, &lab.fixture, 100);
	stream_finish(&stream);
	fake_guest_destroy(stream.from);
	fake_guest_destroy(stream.to);
	lab_close(&lab);
}

/* The same file again: nothing is published, and what workers read is not freed. */
static void test_same_touches_nothing(void **state)
{
	struct lab lab;
	uint64_t generation;

	lab_open(&lab, SERVICES);
	check_way(&lab, OUT_TRANSLATED, LAB_OUTER4);
	host_barrier(lab.router);
	generation = lab.fixture.vswitch->generation;
	for (unsigned i = 0; i < 5; i++) {
		apply(&lab, SERVICES);
		check_way(&lab, OUT_TRANSLATED, LAB_OUTER4);
	}
	assert_int_equal(lab.fixture.vswitch->generation, generation);
	lab_close(&lab);
}

/* One port of another network goes, and nothing else changes. */
static void test_a_port_goes(void **state)
{
	struct lab lab;

	lab_open(&lab, PEER "  e: { network: far, vhost-user: @/e }\n");
	check_way(&lab, OUT_ROUTED, LAB_A4);
	apply(&lab, PEER);
	check_way(&lab, OUT_ROUTED, LAB_A4);
	lab_close(&lab);
}

static void check_diff_empty(struct lab *lab, const char *yaml)
{
	json_t *diff = switch_fixture_diff(&lab->fixture, yaml);

	assert_non_null(diff);
	assert_int_equal(json_array_size(diff), 0);
	json_decref(diff);
}

static void test_legs_are_invisible(void **state)
{
	json_t *diff;
	struct lab lab;

	lab_open(&lab, NAT);
	check_diff_empty(&lab, NAT);
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		apply(&lab, changes[i].yaml);
		check_diff_empty(&lab, changes[i].yaml);
	}
	apply(&lab, ROUTED);
	diff = switch_fixture_diff(&lab.fixture, NAT);
	assert_int_equal(json_array_size(diff), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(diff, 0), "name")),
			    "lab");
	json_decref(diff);
	lab_close(&lab);
}

static const struct gateway *gateway_of_lab(struct lab *lab)
{
	return vswitch_find_network(lab->fixture.vswitch, "lab")->gateway;
}

/* A change whose last port cannot be opened: everything is as before, services too. */
static void test_what_fails_is_taken_back(void **state)
{
	static const char broken[] = "  z: { network: lab, vhost-user: @/nowhere/z }\n";
	const char *const texts[] = { NAT,
				      ISOLATED,
				      BARE,
				      PEER,
				      UPLINK,
				      SERVICES,
				      "networks: { lab: { mode: isolated } }\nports:\n" };
	char yaml[4096];
	struct lab lab;

	lab_open(&lab, SERVICES);
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct error error;

		snprintf(yaml, sizeof(yaml), "%s%s", texts[i], broken);
		assert_int_not_equal(switch_fixture_apply(&lab.fixture, yaml, &error), 0);
		assert_non_null(strstr(error.text, "ports.z"));
		check_diff_empty(&lab, SERVICES);
		assert_non_null(gateway_of_lab(&lab)->dhcp);
		assert_non_null(gateway_of_lab(&lab)->dhcp6);
		assert_non_null(gateway_of_lab(&lab)->advertise);
		assert_non_null(gateway_of_lab(&lab)->dns);
		assert_false(gateway_of_lab(&lab)->stale);
		/* Where ports were closed their guests have to connect again. */
		lab_reconnect(&lab);
		check_way(&lab, OUT_TRANSLATED, LAB_OUTER4);
		host_barrier(lab.a);
	}
	lab_close(&lab);
}

/* The uplink becomes another port, and services run on as they are. */
static void test_uplink_is_exchanged(void **state)
{
	static const char other[] =
	    "networks:\n" STILL "  lab: { mode: nat, ipv4: " LAB_GATEWAY4 "/24, ipv6: " LAB_GATEWAY6
	    "/64, mac: \"02:00:00:00:01:01\", dhcp: { range: 10.1.0.100-10.1.0.120 }, dhcp6: "
	    "stateful, antispoof: false, uplink: { vhost-user: @/up2, address: [" LAB_OUTER4
	    "/24, " LAB_OUTER6 "/64], gateway: [" LAB_ROUTER4 ", " LAB_ROUTER6
	    "], mac: \"02:00:00:00:01:02\" } }\n" PORTS;
	struct lab lab;

	lab_open(&lab, SERVICES);
	for (unsigned i = 0; i < 4; i++) {
		const struct dhcp_server *dhcp = gateway_of_lab(&lab)->dhcp;

		check_way(&lab, OUT_TRANSLATED, LAB_OUTER4);
		apply(&lab, i % 2 == 0 ? other : SERVICES);
		assert_ptr_equal(gateway_of_lab(&lab)->dhcp, dhcp);
		host_destroy(lab.router);
		lab.router = host_create(&lab.fixture, i % 2 == 0 ? "up2" : "up", LAB_ROUTER,
					 LAB_OUTSIDE, NULL);
		lab.router->ip4 = LAB_ROUTER4;
		lab.router->gateway4 = LAB_OUTER4;
		host_barrier(lab.router);
	}
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes_under_traffic),
		cmocka_unit_test(test_same_touches_nothing),
		cmocka_unit_test(test_a_port_goes),
		cmocka_unit_test(test_legs_are_invisible),
		cmocka_unit_test(test_what_fails_is_taken_back),
		cmocka_unit_test(test_uplink_is_exchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
