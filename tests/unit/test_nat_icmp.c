/* ICMP through the translator: queries, and errors with the packet they are about, both ways and
 * back inside (RFC 5508; RFC 4787, REQ-12). */
#include "tests/unit/nat_rig.h"

#define A  "10.0.0.2"
#define B  "10.0.0.3"
#define R  "10.0.0.9"	  /* a router inside */
#define H  "203.0.113.77" /* one on the way outside */
#define X  "198.51.100.1"
#define A6 "fd00::2"
#define X6 "2001:db8:1::1"
#define H6 "2001:db8:9::9"

static void test_queries(void **state)
{
	static const struct {
		const char *inside, *outside, *remote;
		uint8_t query, reply;
	} rows[] = {
		{ A, OUTSIDE, X, 8, 0 },
		{ A, OUTSIDE, X, 13, 14 },
		{ A6, OUTSIDE6, X6, 128, 129 },
	};
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 3; i++) {
		wire_icmp(&wire, rows[i].inside, rows[i].remote, rows[i].query, 77);
		assert_translated(rig_out(&rig, &wire));
		assert_from(&wire, rows[i].outside, 77);
		wire_icmp(&wire, rows[i].remote, rows[i].outside, rows[i].reply, 77);
		assert_translated(rig_in(&rig, &wire));
		assert_to(&wire, rows[i].inside, 77);
	}
	/* An answer from somebody who was not asked. */
	wire_icmp(&wire, H, OUTSIDE, 0, 77);
	assert_dropped(&rig, rig_in(&rig, &wire), DROP_NAT_FILTERED);
	wire_icmp(&wire, A, X, 0, 77);
	assert_dropped(&rig, rig_out(&rig, &wire), DROP_NAT_ICMP);
	rig_close(&rig);
}

static void test_query_identifier_is_host_independent(void **state)
{
	struct rig rig;
	struct wire wire;
	uint16_t identifier;

	rig_init(&rig);
	rig_open(&rig);
	wire_icmp(&wire, B, X, 8, 77);
	assert_translated(rig_out(&rig, &wire));
	wire_icmp(&wire, A, X, 8, 77);
	assert_translated(rig_out(&rig, &wire));
	identifier = ends_of(&wire).from_port;
	assert_int_not_equal(identifier, 77);
	wire_icmp(&wire, A, H, 8, 77);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, OUTSIDE, identifier);
	wire_icmp(&wire, X, OUTSIDE, 0, identifier);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, A, 77);
	rig_close(&rig);
}

static void test_query_timer(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	assert_true(NAT_TIMEOUT_ICMP >= 60);
	wire_icmp(&wire, A, X, 8, 77);
	assert_translated(rig_out(&rig, &wire));
	rig.now += NAT_TIMEOUT_ICMP - 1;
	nat_tick(rig.nat, rig.now);
	wire_icmp(&wire, X, OUTSIDE, 0, 77);
	assert_translated(rig_in(&rig, &wire));
	rig.now += NAT_TIMEOUT_ICMP;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

/* Sends a packet of some kind out from A (port 5000), which gets outside port *port. */
static void send_about(struct rig *rig, struct wire *about, int kind, bool v6)
{
	const char *from = v6 ? A6 : A, *to = v6 ? X6 : X;

	if (kind == 0)
		wire_udp(about, from, 5000, to, 53);
	else if (kind == 1)
		wire_tcp(about, from, 5000, to, 53, SYN);
	else if (kind == 2)
		wire_icmp(about, from, to, v6 ? 128 : 8, 5000);
	else
		wire_other(about, from, to, 47);
	assert_translated(rig_out(rig, about));
}

/* The packet within an error, which must be the one that was sent, checksums included. */
static void assert_inner(const struct wire *error, const struct wire *sent)
{
	const uint8_t *ip = error->frame.head + 14, *inner = ip + ip_length(ip) + 8;
	uint32_t length = error->frame.length - (uint32_t)(inner - error->frame.head);

	assert_memory_equal(inner, sent->bytes + 14, length);
}

static void test_error_from_outside(void **state)
{
	static const uint32_t keep[] = { 28, 2000 };

	for (int row = 0; row < 16; row++) {
		int kind = row % 4;
		bool v6 = row / 4 % 2;
		struct wire about, sent, error;
		struct rig rig;

		rig_init(&rig);
		rig_open(&rig);
		/* B has the number already, so that A's port is translated too. */
		if (kind == 0)
			rig_udp_out(&rig, v6 ? "fd00::3" : B, 5000, v6 ? X6 : X, 53);
		send_about(&rig, &about, kind, v6);
		sent = about;
		/* As much as eight bytes of L4, or all. */
		wire_error(&error, v6 ? H6 : H, v6 ? OUTSIDE6 : OUTSIDE, v6 ? 1 : 3, 1, &about,
			   keep[row / 8] + (v6 && row / 8 == 0 ? 20 : 0));
		assert_translated(rig_in(&rig, &error));
		assert_from(&error, v6 ? H6 : H, 0);
		assert_end(ends_of(&error).to, 0, v6 ? A6 : A, 0);
		assert_int_equal(error.frame.head[14 + (v6 ? 40 : 20)], v6 ? 1 : 3);
		assert_int_equal(error.frame.head[14 + (v6 ? 40 : 20) + 1], 1);
		assert_inner(&error, &sent);
		rig_close(&rig);
	}
}

static void test_error_from_inside(void **state)
{
	for (int row = 0; row < 4; row++) {
		bool v6 = row % 2;
		const char *from = v6 ? A6 : A, *to = v6 ? X6 : X, *out = v6 ? OUTSIDE6 : OUTSIDE;
		struct wire about, sent, error;
		struct rig rig;
		uint16_t port;

		rig_init(&rig);
		rig_open(&rig);
		rig_udp_out(&rig, v6 ? "fd00::3" : B, 5000, to, 53);
		port = rig_udp_out(&rig, from, 5000, to, 53);
		wire_udp(&about, to, 53, out, port);
		sent = about;
		assert_translated(rig_in(&rig, &about));
		/* From the host itself, or a router before it. */
		wire_error(&error, row / 2 ? (v6 ? "fd00::99" : R) : from, to, v6 ? 1 : 3,
			   v6 ? 4 : 3, &about, 2000);
		assert_translated(rig_out(&rig, &error));
		assert_end(ends_of(&error).from, 0, out, 0);
		assert_end(ends_of(&error).to, 0, to, 0);
		assert_inner(&error, &sent);
		rig_close(&rig);
	}
}

/* Another inside host's error about a packet that came through the hairpin. */
static void test_hairpinned_error(void **state)
{
	struct wire about, sent, error;
	struct rig rig;

	rig_init(&rig);
	rig.config.filtering = NAT_FILTER_ENDPOINT_INDEPENDENT;
	rig_open(&rig);
	rig_udp_out(&rig, "10.0.0.4", 6000, X, 53);
	rig_udp_out(&rig, B, 7000, X, 53);
	wire_udp(&about, A, 6000, OUTSIDE, 7000);
	sent = about;
	assert_translated(rig_hairpin(&rig, &about));
	assert_to(&about, B, 7000);
	wire_error(&error, B, OUTSIDE, 3, 3, &about, 2000);
	assert_translated(rig_hairpin(&rig, &error));
	assert_end(ends_of(&error).from, 0, OUTSIDE, 0);
	assert_end(ends_of(&error).to, 0, A, 0);
	assert_inner(&error, &sent);
	rig_close(&rig);
}

static void test_error_checks(void **state)
{
	struct wire about, error;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	send_about(&rig, &about, 0, false);
	/* Its own sum. */
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	error.frame.head[36] ^= 1;
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	/* That of the IP header within. */
	about.frame.head[14 + 10] ^= 1;
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	about.frame.head[14 + 10] ^= 1;
	/* That of its transport is nobody's business. */
	about.frame.head[14 + 20 + 8] ^= 1;
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	assert_translated(rig_in(&rig, &error));
	about.frame.head[14 + 20 + 8] ^= 1;
	/* Cut off before eight bytes of it. */
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 27);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 19);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 0);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	/* Not from us. */
	wire_udp(&about, "192.0.2.200", 5000, X, 53);
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	/* Of no session, and an error about an error. */
	wire_udp(&about, OUTSIDE, 5000, X, 54);
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_ICMP);
	wire_error(&about, OUTSIDE, H, 3, 1, &error, 2000);
	wire_error(&error, H, OUTSIDE, 3, 1, &about, 2000);
	assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
	wire_udp(&about, X, 99, A, 5000);
	wire_error(&error, A, X, 3, 3, &about, 2000);
	assert_dropped(&rig, rig_out(&rig, &error), DROP_NAT_ICMP);
	rig_close(&rig);
}

/* IP options within are stepped over, a first fragment is read, a later one cannot be. */
static void test_error_about_odd_packets(void **state)
{
	struct wire error;
	struct ip from = ip_of(H), to = ip_of(OUTSIDE), source = ip_of(OUTSIDE), x = ip_of(X);
	struct rig rig;
	uint8_t *l4, *ip;

	rig_init(&rig);
	rig_open(&rig);
	rig_udp_out(&rig, B, 5000, X, 53);
	for (int row = 0; row < 3; row++) {
		uint32_t options = row == 0 ? 8 : 0;

		l4 = wire_begin(&error, &from, &to, IPPROTO_ICMP, 36 + options);
		memset(l4, 0, 36 + options);
		l4[0] = 11;
		ip = l4 + 8;
		put_ip(ip, &source, &x, IPPROTO_UDP, 100);
		ip[0] = (uint8_t)(0x45 + options / 4);
		memset(ip + 20, 1, options);
		put16(ip + 6, row == 0 ? 0 : row == 1 ? 0x2000 : 0x2001);
		put16(ip + 10, 0);
		put16(ip + 10, ~check_sum(0, ip, 20 + options) & 0xffff);
		put16(ip + 20 + options, 5000);
		put16(ip + 22 + options, 53);
		put_sum(error.bytes + 14, IPPROTO_ICMP, l4, 36 + options, 2);
		wire_end(&error, l4, 36 + options);
		if (row == 2) {
			assert_dropped(&rig, rig_in(&rig, &error), DROP_NAT_EMBEDDED);
			continue;
		}
		assert_translated(rig_in(&rig, &error));
		ip = error.frame.head + 42;
		assert_true(check_ipv4_sum(ip));
		assert_memory_equal(ip + 12, ((uint8_t[]){ 10, 0, 0, 3 }), 4);
		assert_int_equal(check_be16(ip + 20 + options), 5000);
		assert_int_equal(check_be16(ip + 26 + options), 0); /* no checksum: still none */
	}
	rig_close(&rig);
}

/* Errors end nothing and renew nothing. */
static void test_error_changes_no_session(void **state)
{
	static const uint8_t types[] = { 3, 11, 12 };
	struct wire about, error;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (int kind = 0; kind < 3; kind++) {
		struct nat_session before, after;

		send_about(&rig, &about, kind, false);
		rig.now += 10;
		before = rig_session(&rig, 5000);
		for (int i = 0; i < 3; i++) {
			wire_error(&error, H, OUTSIDE, types[i], 1, &about, 2000);
			assert_translated(rig_in(&rig, &error));
		}
		after = rig_session(&rig, 5000);
		assert_int_equal(after.left, before.left);
		assert_int_equal(after.state, before.state);
		assert_int_equal(after.packets_in, before.packets_in);
		nat_flush(rig.nat, NULL);
	}
	rig_close(&rig);
}

/* A sum that is left to others is of the pseudo-header alone, so only addresses change it. */
static void test_partial_sums(void **state)
{
	struct wire about, error;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame *frame;
		const uint8_t *ip;

		send_about(&rig, &about, 0, v6);
		wire_error(&error, v6 ? H6 : H, v6 ? OUTSIDE6 : OUTSIDE, v6 ? 1 : 3, 1, &about,
			   2000);
		frame = &error.frame;
		ip = frame->head + 14;
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = frame->l4_offset;
		frame->csum_offset = 2;
		put16(frame->head + frame->l4_offset + 2,
		      v6 ? check_pseudo(ip, IPPROTO_ICMPV6, frame->length - frame->l4_offset) : 0);
		assert_int_equal(nat_inbound(rig.nat, frame, rig.now, &rig.reason), NAT_TRANSLATED);
		assert_int_equal(
		    check_be16(frame->head + frame->l4_offset + 2) % 0xffff,
		    v6 ? check_pseudo(ip, IPPROTO_ICMPV6, frame->length - frame->l4_offset) % 0xffff
		       : 0);
	}
	rig_close(&rig);
}

/* A ping of the translator's own address from inside is the gateway's to answer. */
static void test_hairpinned_query_is_local(void **state)
{
	struct wire wire;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	wire_icmp(&wire, B, X, 8, 77);
	assert_translated(rig_out(&rig, &wire));
	wire_icmp(&wire, A, OUTSIDE, 8, 77);
	assert_int_equal(rig_hairpin(&rig, &wire), NAT_LOCAL);
	assert_memory_equal(wire.frame.head, wire.bytes, wire.frame.length);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_query_identifier_is_host_independent),
		cmocka_unit_test(test_query_timer),
		cmocka_unit_test(test_error_from_outside),
		cmocka_unit_test(test_error_from_inside),
		cmocka_unit_test(test_hairpinned_error),
		cmocka_unit_test(test_error_checks),
		cmocka_unit_test(test_error_about_odd_packets),
		cmocka_unit_test(test_error_changes_no_session),
		cmocka_unit_test(test_partial_sums),
		cmocka_unit_test(test_hairpinned_query_is_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
