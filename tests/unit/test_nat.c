/* UDP and the rest through the translator: mapping, ports, filtering, refresh (RFC 4787), other
 * protocols, offloads, and what is refused. */
#include "tests/unit/nat_rig.h"

#include <stdio.h>

#define A "10.0.0.2"
#define B "10.0.0.3"
#define X "198.51.100.1"
#define Y "198.51.100.2"

static void test_mapping_is_endpoint_independent(void **state)
{
	struct rig rig;
	uint16_t port;

	rig_init(&rig);
	rig_open(&rig);
	/* B has taken the number first, so A's is another, and stays the same for all remotes. */
	assert_int_equal(rig_udp_out(&rig, B, 5000, X, 53), 5000);
	port = rig_udp_out(&rig, A, 5000, X, 53);
	assert_int_not_equal(port, 5000);
	assert_int_equal(rig_udp_out(&rig, A, 5000, X, 54), port);
	assert_int_equal(rig_udp_out(&rig, A, 5000, Y, 53), port);
	assert_int_equal(rig_sessions(&rig), 4);
	rig_close(&rig);
}

static void test_answer_comes_back(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	rig_udp_out(&rig, A, 5000, X, 53);
	wire_udp(&wire, X, 53, OUTSIDE, 5000);
	assert_translated(rig_in(&rig, &wire));
	assert_from(&wire, X, 53);
	assert_to(&wire, A, 5000);
	assert_int_equal(rig_session(&rig, -1).state, NAT_TWO_WAY);
	assert_int_equal(rig_session(&rig, -1).packets_in, 1);
	rig_close(&rig);
}

static void test_both_families(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	wire_udp(&wire, "fd00::5", 5000, "2001:db8:1::1", 53);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, OUTSIDE6, 5000);
	wire_udp(&wire, "2001:db8:1::1", 53, OUTSIDE6, 5000);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, "fd00::5", 5000);
	/* The same number of the other family is another port. */
	assert_int_equal(rig_udp_out(&rig, A, 5000, X, 53), 5000);
	rig_close(&rig);
}

static void test_address_pairing(void **state)
{
	struct ip pool[] = { ip_of("192.0.2.10"), ip_of("192.0.2.11"), ip_of("192.0.2.12") };
	uint32_t seen = 0;
	struct rig rig;

	rig_init(&rig);
	rig.config.pool = pool;
	rig.config.pool_count = 3;
	rig_open(&rig);
	for (int guest = 2; guest < 40; guest++) {
		uint32_t first = 0;
		char from[32];

		snprintf(from, sizeof(from), "10.0.0.%d", guest);
		for (uint16_t port = 1000; port < 1020; port++) {
			struct wire wire;
			struct ip ip;

			wire_udp(&wire, from, port, X, port);
			assert_translated(rig_out(&rig, &wire));
			ip = ends_of(&wire).from;
			if (first == 0)
				first = ip_to_v4(&ip);
			assert_int_equal(ip_to_v4(&ip), first);
		}
		seen |= 1u << (first & 31);
	}
	assert_int_equal(__builtin_popcount(seen), 3); /* all are used */
	rig_close(&rig);
}

static void test_port_is_never_shared(void **state)
{
	static bool used[65536];
	struct rig rig;

	memset(used, 0, sizeof(used));
	rig_init(&rig);
	rig_open(&rig);
	for (int guest = 2; guest < 200; guest++) {
		char from[32];

		snprintf(from, sizeof(from), "10.0.0.%d", guest);
		for (uint16_t port = 4000; port < 4008; port++) {
			uint16_t outside = rig_udp_out(&rig, from, port, X, 53);

			assert_false(used[outside]);
			used[outside] = true;
		}
	}
	rig_close(&rig);
}

static void test_port_range_and_parity(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (int guest = 2; guest < 30; guest++) {
		char from[32];
		uint16_t low, high, odd;

		snprintf(from, sizeof(from), "10.0.0.%d", guest);
		low = rig_udp_out(&rig, from, 500, X, 53);
		high = rig_udp_out(&rig, from, 5000, X, 53);
		odd = rig_udp_out(&rig, from, 5001, X, 53);
		assert_true(low < 1024 && low != 0);
		assert_true(high >= 1024 && odd >= 1024);
		assert_int_equal(low % 2, 0);
		assert_int_equal(high % 2, 0);
		assert_int_equal(odd % 2, 1);
	}
	rig_close(&rig);
}

static void test_low_ports_overflow_upward(void **state)
{
	int low = 0, high = 0;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	/* 64 ports below 1024 can stand for 500; the others go above. */
	for (int guest = 2; guest < 102; guest++) {
		char from[32];

		snprintf(from, sizeof(from), "10.0.0.%d", guest);
		if (rig_udp_out(&rig, from, 500, X, 53) < 1024)
			low++;
		else
			high++;
	}
	assert_int_equal(low, 64);
	assert_int_equal(high, 36);
	rig_close(&rig);
}

static void test_udp_timers(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	rig_udp_out(&rig, A, 5000, X, 53);
	rig.now += NAT_TIMEOUT_UDP_ONE_WAY - 1;
	nat_tick(rig.nat, rig.now);
	assert_translated(rig_udp_in(&rig, X, 53, 5000));
	rig.now += NAT_TIMEOUT_UDP - 1;
	nat_tick(rig.nat, rig.now);
	assert_translated(rig_udp_in(&rig, X, 53, 5000));
	rig.now += NAT_TIMEOUT_UDP;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 0);
	assert_int_equal(rig_udp_in(&rig, X, 53, 5000), NAT_LOCAL);
	assert_true(NAT_TIMEOUT_UDP_ONE_WAY >= 120 && NAT_TIMEOUT_UDP >= 300);
	/* Without a tick it has expired all the same. */
	rig_udp_out(&rig, A, 5000, X, 53);
	rig.now += NAT_TIMEOUT_UDP_ONE_WAY;
	assert_dropped(&rig, rig_udp_in(&rig, X, 53, 5000), DROP_NAT_FILTERED);
	rig_close(&rig);
}

static void test_refresh_direction(void **state)
{
	struct nat_forward forward = { .protocol = NAT_FORWARD_UDP,
				       .listen_first = 80,
				       .listen_last = 80,
				       .to = ip_of(A),
				       .to_first = 80 };
	struct rig rig;

	rig_init(&rig);
	rig.config.forwards = &forward;
	rig.config.forward_count = 1;
	rig_open(&rig);
	/* What the inside sends renews. */
	rig_udp_out(&rig, B, 5000, X, 53);
	rig.now += 100;
	rig_udp_out(&rig, B, 5000, X, 53);
	assert_int_equal(rig_session(&rig, -1).left, NAT_TIMEOUT_UDP_ONE_WAY);
	/* What the outside sends renews too, now that the inside has. */
	assert_translated(rig_udp_in(&rig, X, 53, 5000));
	rig.now += 100;
	assert_translated(rig_udp_in(&rig, X, 53, 5000));
	assert_int_equal(rig_session(&rig, -1).left, NAT_TIMEOUT_UDP);
	nat_flush(rig.nat, NULL);
	/* But not a session that the inside never sent in. */
	assert_translated(rig_udp_in(&rig, X, 53, 80));
	rig.now += 100;
	assert_translated(rig_udp_in(&rig, X, 53, 80));
	assert_int_equal(rig_session(&rig, -1).left, NAT_TIMEOUT_UDP_ONE_WAY - 100);
	rig_close(&rig);
}

static void test_filtering(void **state)
{
	static const struct {
		enum nat_filtering filtering;
		bool other_port, other_address;
	} rows[] = {
		{ NAT_FILTER_ADDRESS_AND_PORT, false, false },
		{ NAT_FILTER_ADDRESS, true, false },
		{ NAT_FILTER_ENDPOINT_INDEPENDENT, true, true },
	};

	for (int i = 0; i < 3; i++) {
		struct rig rig;

		rig_init(&rig);
		rig.config.filtering = rows[i].filtering;
		rig_open(&rig);
		rig_udp_out(&rig, A, 5000, X, 53);
		assert_translated(rig_udp_in(&rig, X, 53, 5000));
		assert_int_equal(rig_udp_in(&rig, X, 54, 5000) == NAT_TRANSLATED,
				 rows[i].other_port);
		assert_int_equal(rig_udp_in(&rig, Y, 53, 5000) == NAT_TRANSLATED,
				 rows[i].other_address);
		assert_int_equal(rig_udp_in(&rig, X, 53, 5001), NAT_LOCAL);
		rig_close(&rig);
	}
}

static void test_filtering_changes_at_run_time(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	rig_udp_out(&rig, A, 5000, X, 53);
	assert_dropped(&rig, rig_udp_in(&rig, X, 54, 5000), DROP_NAT_FILTERED);
	rig.config.filtering = NAT_FILTER_ADDRESS;
	rig_update(&rig);
	assert_translated(rig_udp_in(&rig, X, 54, 5000));
	assert_dropped(&rig, rig_udp_in(&rig, Y, 54, 5000), DROP_NAT_FILTERED);
	/* The permit goes with the last session to that address. */
	rig.config.guest_session_limit = 10;
	rig_update(&rig);
	rig_udp_out(&rig, A, 5000, Y, 1);
	rig.now += NAT_TIMEOUT_UDP;
	rig_udp_out(&rig, A, 5000, Y, 1);
	nat_tick(rig.nat, rig.now);
	assert_dropped(&rig, rig_udp_in(&rig, X, 54, 5000), DROP_NAT_FILTERED);
	assert_translated(rig_udp_in(&rig, Y, 2, 5000));
	rig_close(&rig);
}

static void test_other_protocols(void **state)
{
	static const uint8_t protocols[] = { 47 /* GRE */, 50 /* ESP */, 132 /* SCTP */ };
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 3; i++) {
		wire_other(&wire, A, X, protocols[i]);
		assert_translated(rig_out(&rig, &wire));
		assert_from(&wire, OUTSIDE, 0);
		wire_other(&wire, X, OUTSIDE, protocols[i]);
		assert_translated(rig_in(&rig, &wire));
		assert_to(&wire, A, 0);
		/* One inside host for each protocol and remote. */
		wire_other(&wire, B, X, protocols[i]);
		assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_NO_PORT);
		wire_other(&wire, B, Y, protocols[i]);
		assert_translated(rig_out(&rig, &wire));
		wire_other(&wire, "198.51.100.9", OUTSIDE, protocols[i]);
		assert_int_equal(rig_in(&rig, &wire), NAT_LOCAL);
	}
	rig_close(&rig);
}

/* UDP-Lite and DCCP have a sum over the addresses, and no ports that are changed. */
static void test_other_checksums(void **state)
{
	struct ip from = ip_of(A), to = ip_of(X);
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 2; i++) {
		uint8_t protocol = i == 0 ? IPPROTO_DCCP : IPPROTO_UDPLITE;
		uint8_t *l4 = wire_begin(&wire, &from, &to, protocol, 16);

		memset(l4, 7, 16);
		put_sum(wire.bytes + 14, protocol, l4, 16, 6);
		wire_end(&wire, l4, 16);
		assert_translated(rig_out(&rig, &wire));
		assert_true(check_l4_sum(wire.frame.head + 14, protocol, wire.frame.head + 34, 16));
	}
	rig_close(&rig);
}

static void test_udp_without_checksum(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	wire_udp(&wire, A, 5000, X, 53);
	put16(wire.frame.head + 40, 0);
	assert_int_equal(nat_outbound(rig.nat, &wire.frame, rig.now, &rig.reason), NAT_TRANSLATED);
	assert_int_equal(check_be16(wire.frame.head + 40), 0);
	assert_from(&wire, OUTSIDE, 5000);
	rig_close(&rig);
}

/* A sum that the sender leaves to others holds the pseudo-header's, before and after. */
static void test_partial_checksum(void **state)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (int version = 4; version <= 6; version += 2) {
		for (int i = 0; i < 2; i++) {
			struct packet_plan plan = { .version = version,
						    .protocol = protocols[i],
						    .tcp_flags = SYN,
						    .payload = 3000 };
			struct packet packet;
			struct frame *frame;
			uint8_t *bytes;
			struct rig rig;

			rig_init(&rig);
			rig_open(&rig);
			packet_build(&packet, &plan);
			/* The builder's IPv6 addresses are no hosts' everywhere. */
			frame = packet_frame(&packet, 1000);
			frame->flags = FRAME_NEEDS_CSUM;
			frame->csum_start = packet.header.csum_start;
			frame->csum_offset = packet.header.csum_offset;
			frame->gso = protocols[i] == IPPROTO_UDP ? FRAME_GSO_UDP
				     : version == 4		 ? FRAME_GSO_TCP4
								 : FRAME_GSO_TCP6;
			frame->gso_size = 1000;
			parse_frame(frame);
			assert_int_equal(nat_outbound(rig.nat, frame, rig.now, &rig.reason),
					 NAT_TRANSLATED);
			bytes = check_flatten(frame);
			assert_int_equal(check_be16(bytes + packet.l4 + packet.header.csum_offset) %
					     0xffff,
					 check_pseudo(bytes + packet.l3, protocols[i],
						      packet.length - packet.l4) %
					     0xffff);
			assert_int_equal(frame->length, packet.length);
			assert_memory_equal(bytes + packet.data, packet.bytes + packet.data,
					    plan.payload);
			if (version == 4)
				assert_true(check_ipv4_sum(bytes + packet.l3));
			free(bytes);
			packet_free(&packet);
			rig_close(&rig);
		}
	}
}

/* RFC 6864: what may be fragmented gets numbers of ours, so that two hosts' do not meet. */
static void test_identification(void **state)
{
	static bool seen[65536];
	struct rig rig;
	struct wire wire;

	memset(seen, 0, sizeof(seen));
	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 1000; i++) {
		uint32_t number;

		wire_udp(&wire, i % 2 ? A : B, 5000, X, 53);
		wire.frame.head[14 + 6] = 0; /* DF off */
		put16(wire.frame.head + 24, 0);
		put16(wire.frame.head + 24, ~check_sum(0, wire.frame.head + 14, 20) & 0xffff);
		assert_translated(rig_out(&rig, &wire));
		number = check_be16(wire.frame.head + 18);
		assert_false(seen[number]);
		seen[number] = true;
	}
	wire_udp(&wire, A, 5000, X, 53);
	assert_translated(rig_out(&rig, &wire));
	assert_int_equal(check_be16(wire.frame.head + 18), 0x1234); /* DF: stays */
	rig_close(&rig);
}

static void test_fragments_are_refused(void **state)
{
	static const uint8_t fragment6[] = { IPPROTO_UDP, 0, 0, 1, 1, 2, 3, 4 };
	struct packet_plan plan = { .version = 6,
				    .protocol = IPPROTO_UDP,
				    .before = fragment6,
				    .before_length = 8,
				    .before_type = IPPROTO_FRAGMENT,
				    .payload = 20 };
	struct packet packet;
	struct frame *frame;
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	wire_udp(&wire, A, 5000, X, 53);
	wire.bytes[14 + 6] = 0x20;
	wire_frame(&wire, wire.frame.length);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_FRAGMENT);
	packet_build(&packet, &plan);
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	assert_dropped(&rig, nat_inbound(rig.nat, frame, rig.now, &rig.reason), DROP_NAT_FRAGMENT);
	packet_free(&packet);
	rig_close(&rig);
}

static void test_malformed_is_refused(void **state)
{
	static const uint8_t route[] = { IPPROTO_UDP, 2, 0, 1, 0, 0, 0, 0, 0xfd, [23] = 9 };
	struct packet_plan plan = { .version = 6,
				    .protocol = IPPROTO_UDP,
				    .before = route,
				    .before_length = 24,
				    .before_type = IPPROTO_ROUTING,
				    .payload = 20 };
	struct packet packet;
	struct frame *frame;
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	wire_udp(&wire, A, 5000, X, 53);
	put16(wire.bytes + 38, 4); /* UDP shorter than its header */
	wire_frame(&wire, wire.frame.length);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_MALFORMED);
	wire_udp(&wire, A, 0, X, 53);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_MALFORMED);
	wire_udp(&wire, A, 5000, "224.0.0.5", 53);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_MALFORMED);
	wire_udp(&wire, "127.0.0.1", 5000, X, 53);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_MALFORMED);
	/* Source routes: the sum is of another destination. */
	packet_build(&packet, &plan);
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	assert_dropped(&rig, nat_outbound(rig.nat, frame, rig.now, &rig.reason),
		       DROP_NAT_MALFORMED);
	packet_free(&packet);
	plan = (struct packet_plan){ .version = 4, .protocol = IPPROTO_UDP, .options = 8 };
	packet_build(&packet, &plan);
	packet.bytes[14 + 20] = 131; /* loose source route */
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	assert_dropped(&rig, nat_outbound(rig.nat, frame, rig.now, &rig.reason),
		       DROP_NAT_MALFORMED);
	packet_free(&packet);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

static void test_family_without_address(void **state)
{
	struct ip only = ip_of(OUTSIDE);
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(nat_set_addresses(rig.nat, &only, 1), 0);
	nat_settle(rig.nat);
	wire_udp(&wire, "fd00::5", 5000, "2001:db8:1::1", 53);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_NO_ADDRESS);
	assert_int_equal(rig_udp_out(&rig, A, 5000, X, 53), 5000);
	rig_close(&rig);
}

/* What is not for a session comes back as it was. */
static void test_local_is_unchanged(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	wire_udp(&wire, X, 67, OUTSIDE, 68);
	assert_int_equal(rig_in(&rig, &wire), NAT_LOCAL);
	assert_memory_equal(wire.frame.head, wire.bytes, wire.frame.length);
	wire_icmp(&wire, X, OUTSIDE, 8, 77);
	assert_int_equal(rig_in(&rig, &wire), NAT_LOCAL);
	assert_memory_equal(wire.frame.head, wire.bytes, wire.frame.length);
	wire_udp(&wire, X, 53, "192.0.2.77", 5000); /* not an address of ours */
	assert_int_equal(rig_in(&rig, &wire), NAT_LOCAL);
	/* No guest gets the ports of the gateway's DHCP client. */
	assert_int_not_equal(rig_udp_out(&rig, A, 68, X, 67), 68);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mapping_is_endpoint_independent),
		cmocka_unit_test(test_answer_comes_back),
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_address_pairing),
		cmocka_unit_test(test_port_is_never_shared),
		cmocka_unit_test(test_port_range_and_parity),
		cmocka_unit_test(test_low_ports_overflow_upward),
		cmocka_unit_test(test_udp_timers),
		cmocka_unit_test(test_refresh_direction),
		cmocka_unit_test(test_filtering),
		cmocka_unit_test(test_filtering_changes_at_run_time),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_other_checksums),
		cmocka_unit_test(test_udp_without_checksum),
		cmocka_unit_test(test_partial_checksum),
		cmocka_unit_test(test_identification),
		cmocka_unit_test(test_fragments_are_refused),
		cmocka_unit_test(test_malformed_is_refused),
		cmocka_unit_test(test_family_without_address),
		cmocka_unit_test(test_local_is_unchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
