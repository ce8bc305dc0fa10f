/* Port forwards, hairpinning (RFC 4787, REQ-9; RFC 5382, REQ-8), and changes at run time: forwards,
 * addresses, flushing. */
#include "tests/unit/nat_rig.h"

#include <errno.h>

#define A "10.0.0.2"
#define B "10.0.0.3"
#define X "198.51.100.1"
#define Y "198.51.100.2"

static struct nat_forward forward_of(uint8_t protocol, uint16_t first, uint16_t last,
				     const char *to, uint16_t to_first)
{
	struct nat_forward forward = { .protocol = protocol,
				       .listen_first = first,
				       .listen_last = last,
				       .to = ip_of(to),
				       .to_first = to_first };

	return forward;
}

static void rig_open_forwards(struct rig *rig, struct nat_forward *forwards, uint32_t count)
{
	rig_init(rig);
	rig->config.forwards = forwards;
	rig->config.forward_count = count;
	rig_open(rig);
}

static void test_forward(void **state)
{
	struct nat_forward forwards[] = {
		forward_of(NAT_FORWARD_TCP, 2222, 2222, A, 22),
		forward_of(NAT_FORWARD_BOTH, 3000, 3010, B, 4000),
		forward_of(NAT_FORWARD_UDP, 2222, 2222, B, 53),
	};
	struct rig rig;
	struct wire wire;

	rig_open_forwards(&rig, forwards, 3);
	wire_tcp(&wire, X, 1234, OUTSIDE, 2222, SYN);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, A, 22);
	assert_from(&wire, X, 1234);
	wire_tcp(&wire, A, 22, X, 1234, SYN | ACK);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, OUTSIDE, 2222);
	wire_tcp(&wire, X, 1234, OUTSIDE, 3007, SYN);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, B, 4007);
	wire_udp(&wire, X, 1234, OUTSIDE, 3010);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, B, 4010);
	wire_udp(&wire, X, 1234, OUTSIDE, 2222);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, B, 53);
	assert_dropped(&rig, rig_tcp_in(&rig, X, 1234, 3011, SYN), DROP_NAT_FILTERED);
	assert_dropped(&rig, rig_tcp_in(&rig, X, 1299, 2222, ACK), DROP_NAT_TCP_STATE);
	rig_close(&rig);
}

static void test_forward_listens_at_an_address(void **state)
{
	struct nat_forward forwards[] = {
		forward_of(NAT_FORWARD_UDP, 80, 80, A, 80),
		forward_of(NAT_FORWARD_UDP, 80, 80, B, 8080),
	};
	struct ip addresses[] = { ip_of(OUTSIDE), ip_of("192.0.2.2"), ip_of(OUTSIDE6) };
	struct rig rig;
	struct wire wire;

	forwards[1].has_address = true;
	forwards[1].address = ip_of("192.0.2.2");
	rig_open_forwards(&rig, forwards, 2);
	assert_int_equal(nat_set_addresses(rig.nat, addresses, 3), 0);
	nat_settle(rig.nat);
	wire_udp(&wire, X, 1, OUTSIDE, 80);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, A, 80);
	wire_udp(&wire, X, 1, "192.0.2.2", 80);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, B, 8080);
	wire_udp(&wire, B, 8080, X, 1);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, "192.0.2.2", 80);
	/* A session that the host begins from there looks the same. */
	wire_udp(&wire, B, 8080, X, 2);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, "192.0.2.2", 80);
	/* The forward to an IPv4 host listens on IPv4 alone. */
	wire_udp(&wire, "2001:db8:1::1", 1, OUTSIDE6, 80);
	assert_int_equal(rig_in(&rig, &wire), NAT_LOCAL);
	rig_close(&rig);
}

/* The host passes on what it heard at an address of its own. */
static void test_host_listens_for_forward(void **state)
{
	struct nat_forward forward = forward_of(NAT_FORWARD_TCP, 2222, 2222, A, 22);
	struct error error;
	struct rig rig;
	struct wire wire;

	forward.has_address = true;
	forward.address = ip_of("127.0.0.1");
	rig_open_forwards(&rig, &forward, 1);
	assert_dropped(&rig, rig_tcp_in(&rig, X, 1234, 2222, SYN), DROP_NAT_FILTERED);
	rig.config.host_listens = true;
	assert_int_equal(nat_update(rig.nat, &rig.config, &error), 0);
	nat_settle(rig.nat);
	wire_tcp(&wire, X, 1234, OUTSIDE, 2222, SYN);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, A, 22);
	rig_close(&rig);
}

static void test_forward_restricts_source(void **state)
{
	struct nat_forward forward = forward_of(NAT_FORWARD_UDP, 53, 53, A, 53);
	struct rig rig;

	forward.has_source = true;
	assert_int_equal(ip_prefix_from_text("198.51.100.1/32", &forward.source), 0);
	rig_open_forwards(&rig, &forward, 1);
	assert_translated(rig_udp_in(&rig, X, 1000, 53));
	assert_dropped(&rig, rig_udp_in(&rig, Y, 1000, 53), DROP_NAT_FILTERED);
	/* But whom the host asks may answer. */
	assert_int_equal(rig_udp_out(&rig, A, 53, Y, 1000), 53);
	assert_translated(rig_udp_in(&rig, Y, 1000, 53));
	rig_close(&rig);
}

static void test_forward_reserves_its_port(void **state)
{
	struct nat_forward forward = forward_of(NAT_FORWARD_BOTH, 5000, 5000, A, 80);
	struct rig rig;

	rig_open_forwards(&rig, &forward, 1);
	assert_int_not_equal(rig_udp_out(&rig, B, 5000, X, 53), 5000);
	assert_int_equal(rig_udp_out(&rig, A, 80, X, 53), 5000);
	rig_close(&rig);
}

/* Two forwards to one port of a guest: sessions through both that would look the same to it. */
static void test_conflict(void **state)
{
	struct nat_forward forwards[] = {
		forward_of(NAT_FORWARD_TCP, 22, 22, A, 22),
		forward_of(NAT_FORWARD_TCP, 2222, 2222, A, 22),
	};
	struct rig rig;

	rig_open_forwards(&rig, forwards, 2);
	assert_translated(rig_tcp_in(&rig, X, 1234, 22, SYN));
	assert_translated(rig_tcp_in(&rig, X, 1235, 2222, SYN));
	assert_dropped(&rig, rig_tcp_in(&rig, X, 1234, 2222, SYN), DROP_NAT_CONFLICT);
	rig_close(&rig);
}

static void test_clashes_are_refused(void **state)
{
	struct nat_forward forwards[] = {
		forward_of(NAT_FORWARD_TCP, 100, 200, A, 100),
		forward_of(NAT_FORWARD_BOTH, 200, 210, B, 100),
	};
	struct rig rig;
	struct error error;

	rig_init(&rig);
	rig.config.forwards = forwards;
	rig.config.forward_count = 2;
	assert_int_equal(nat_create(&rig.config, NULL, 0, &rig.nat, &error), -EINVAL);
	assert_non_null(strstr(error.text, "port 200"));
	forwards[1].listen_first = 201;
	rig_open(&rig);
	forwards[1].listen_first = 150;
	assert_int_equal(nat_update(rig.nat, &rig.config, &error), -EINVAL);
	nat_settle(rig.nat);
	assert_translated(rig_tcp_in(&rig, X, 1, 201, SYN)); /* nothing has changed */
	forwards[1] = forward_of(NAT_FORWARD_TCP, 60000, 60010, B, 65530);
	assert_int_equal(nat_update(rig.nat, &rig.config, &error), -EINVAL);
	rig.config.forward_count = 0;
	rig.config.session_limit = NAT_SESSIONS_MAX + 1;
	assert_int_equal(nat_update(rig.nat, &rig.config, &error), -EINVAL);
	rig_close(&rig);
}

static void test_update_ends_what_does_not_fit(void **state)
{
	struct nat_forward forward = forward_of(NAT_FORWARD_TCP, 2222, 2222, A, 22);
	struct rig rig;

	rig_open_forwards(&rig, &forward, 1);
	assert_translated(rig_tcp_in(&rig, X, 1234, 2222, SYN));
	rig_udp_out(&rig, B, 5000, X, 53);
	assert_translated(rig_tcp_out(&rig, B, 6000, X, 80, SYN));
	assert_translated(rig_tcp_out(&rig, B, 7000, X, 80, SYN));
	rig_update(&rig); /* the same again */
	assert_int_equal(rig_sessions(&rig), 4);
	/* Another forward: the old one's session ends, that on its port, and that of its target. */
	forward = forward_of(NAT_FORWARD_TCP, 6000, 6000, B, 7000);
	rig_update(&rig);
	assert_int_equal(rig_sessions(&rig), 1);
	assert_int_equal(rig_session(&rig, -1).inside_port, 5000);
	assert_dropped(&rig, rig_tcp_in(&rig, X, 1234, 2222, ACK), DROP_NAT_FILTERED);
	assert_translated(rig_tcp_in(&rig, X, 1234, 6000, SYN));
	rig_close(&rig);
}

static void test_addresses_change(void **state)
{
	struct ip addresses[] = { ip_of("192.0.2.9"), ip_of(OUTSIDE6) };
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	rig_udp_out(&rig, A, 5000, X, 53);
	wire_udp(&wire, "fd00::5", 5000, "2001:db8:1::1", 53);
	assert_translated(rig_out(&rig, &wire));
	assert_false(nat_is_address(rig.nat, &addresses[0]));
	assert_int_equal(nat_set_addresses(rig.nat, addresses, 2), 0);
	nat_settle(rig.nat);
	assert_true(nat_is_address(rig.nat, &addresses[0]));
	assert_int_equal(rig_sessions(&rig), 1); /* IPv6 has stayed */
	assert_int_equal(rig_udp_in(&rig, X, 53, 5000), NAT_LOCAL);
	wire_udp(&wire, A, 5000, X, 53);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, "192.0.2.9", 5000);
	/* A guest that has sessions moves on with the others of its family. */
	addresses[0] = ip_of("192.0.2.10");
	assert_int_equal(nat_set_addresses(rig.nat, addresses, 2), 0);
	wire_udp(&wire, A, 5001, X, 53);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, "192.0.2.10", 5001);
	nat_settle(rig.nat);
	assert_int_equal(rig_sessions(&rig), 2);
	assert_int_equal(nat_set_addresses(rig.nat, NULL, 0), 0);
	nat_settle(rig.nat);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

static void test_flush(void **state)
{
	struct ip a = ip_of(A);
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (uint16_t port = 1000; port < 1100; port++) {
		rig_udp_out(&rig, A, port, X, 53);
		rig_udp_out(&rig, B, port, X, 53);
	}
	assert_int_equal(nat_flush(rig.nat, &a), 100);
	assert_int_equal(rig_sessions(&rig), 100);
	assert_int_equal(nat_flush(rig.nat, NULL), 100);
	assert_int_equal(rig_sessions(&rig), 0);
	assert_int_equal(rig_udp_out(&rig, A, 1000, X, 53), 1000); /* its port is free */
	rig_close(&rig);
}

static void test_hairpin(void **state)
{
	struct nat_forward forward = forward_of(NAT_FORWARD_BOTH, 80, 80, B, 8080);
	struct rig rig;
	struct wire wire;

	rig_open_forwards(&rig, &forward, 1);
	/* A opens a connection to B's forward; each sees the other outside. */
	wire_tcp(&wire, A, 5000, OUTSIDE, 80, SYN);
	assert_translated(rig_hairpin(&rig, &wire));
	assert_from(&wire, OUTSIDE, 5000);
	assert_to(&wire, B, 8080);
	wire_tcp(&wire, B, 8080, OUTSIDE, 5000, SYN | ACK);
	assert_translated(rig_hairpin(&rig, &wire));
	assert_from(&wire, OUTSIDE, 80);
	assert_to(&wire, A, 5000);
	wire_tcp(&wire, A, 5000, OUTSIDE, 80, ACK);
	assert_translated(rig_hairpin(&rig, &wire));
	assert_int_equal(rig_session(&rig, 5000).state, NAT_TCP_ESTABLISHED);
	assert_int_equal(rig_session(&rig, 8080).state, NAT_TCP_ESTABLISHED);
	/* UDP between mappings, under the same filtering as from outside. */
	rig_udp_out(&rig, A, 6000, X, 53);
	rig_udp_out(&rig, B, 7000, X, 53);
	wire_udp(&wire, A, 6000, OUTSIDE, 7000);
	assert_dropped(&rig, rig_hairpin(&rig, &wire), DROP_NAT_FILTERED);
	wire_udp(&wire, B, 7000, OUTSIDE, 6000);
	assert_translated(rig_hairpin(&rig, &wire));
	wire_udp(&wire, A, 6000, OUTSIDE, 7000);
	assert_translated(rig_hairpin(&rig, &wire));
	assert_from(&wire, OUTSIDE, 6000);
	assert_to(&wire, B, 7000);
	/* Where nobody is, the gateway is meant, and no session is made. */
	wire_udp(&wire, A, 6001, OUTSIDE, 7001);
	assert_int_equal(rig_hairpin(&rig, &wire), NAT_LOCAL);
	assert_memory_equal(wire.frame.head, wire.bytes, wire.frame.length);
	assert_int_equal(rig_sessions(&rig), 6);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward),
		cmocka_unit_test(test_forward_listens_at_an_address),
		cmocka_unit_test(test_host_listens_for_forward),
		cmocka_unit_test(test_forward_restricts_source),
		cmocka_unit_test(test_forward_reserves_its_port),
		cmocka_unit_test(test_conflict),
		cmocka_unit_test(test_clashes_are_refused),
		cmocka_unit_test(test_update_ends_what_does_not_fit),
		cmocka_unit_test(test_addresses_change),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_hairpin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
