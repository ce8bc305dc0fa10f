/* Limits (RFC 6888, REQ-3, 4): of a guest, of all, of ports; what goes first; one guest against
 * another; a million sessions. */
#include "tests/unit/nat_rig.h"

#include <stdio.h>

#define A "10.0.0.2"
#define B "10.0.0.3"
#define X "198.51.100.1"

static enum nat_result udp_from(struct rig *rig, const struct ip *from, uint16_t port,
				const struct ip *to, uint16_t to_port)
{
	struct wire wire;

	wire_udp_ip(&wire, from, port, to, to_port);
	return nat_outbound(rig->nat, &wire.frame, rig->now, &rig->reason);
}

static enum nat_result syn_from(struct rig *rig, const struct ip *from, uint16_t port,
				const struct ip *to, uint16_t to_port)
{
	struct wire wire;

	wire_tcp_ip(&wire, from, port, to, to_port, SYN);
	return nat_outbound(rig->nat, &wire.frame, rig->now, &rig->reason);
}

static void test_guest_limit(void **state)
{
	struct nat_stats stats;
	struct rig rig;

	rig_init(&rig);
	rig.config.guest_session_limit = 100;
	rig_open(&rig);
	/* Answered ones stay. */
	for (uint16_t port = 1000; port < 1100; port++) {
		rig_udp_out(&rig, A, port, X, 53);
		assert_translated(rig_udp_in(&rig, X, 53, port));
	}
	for (int i = 0; i < 10; i++) {
		struct ip a = ip_of(A), x = ip_of(X);

		assert_dropped(&rig, udp_from(&rig, &a, 2000, &x, 53), DROP_NAT_GUEST_LIMIT);
	}
	assert_int_equal(rig_udp_out(&rig, B, 2000, X, 53), 2000);
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.refused_guest, 10);
	assert_int_equal(stats.sessions, 101);
	assert_int_equal(stats.guests, 2);
	rig_close(&rig);
}

/* Half-open sessions of the guest make room, the one that was used longest ago first, whatever
 * their shards. */
static void test_half_open_goes_first(void **state)
{
	struct rig_want want = { .inside_port = 1001 };
	struct ip a = ip_of(A), x = ip_of(X);
	struct nat_stats stats;
	struct rig rig;

	rig_init(&rig);
	rig.config.guest_session_limit = 20;
	rig_open(&rig);
	rig_udp_out(&rig, B, 3000, X, 53); /* somebody else's, older */
	for (uint16_t port = 1000; port < 1020; port++) {
		rig.now++;
		assert_translated(syn_from(&rig, &a, port, &x, 80));
	}
	/* 1000 is answered, 1001 sends again: the oldest are 1002, 1003. */
	rig.now++;
	assert_translated(rig_tcp_in(&rig, X, 80, 1000, SYN | ACK));
	assert_translated(rig_tcp_out(&rig, A, 1000, X, 80, ACK));
	assert_translated(syn_from(&rig, &a, 1001, &x, 80));
	for (uint16_t port = 2000; port < 2018; port++)
		assert_translated(syn_from(&rig, &a, port, &x, 80));
	nat_visit(rig.nat, rig.now, rig_visit, &want);
	assert_int_equal(want.count, 1);
	want = (struct rig_want){ .inside_port = 1019 };
	nat_visit(rig.nat, rig.now, rig_visit, &want);
	assert_int_equal(want.count, 0);
	assert_translated(syn_from(&rig, &a, 2018, &x, 80)); /* now 1001 */
	want = (struct rig_want){ .inside_port = 1001 };
	nat_visit(rig.nat, rig.now, rig_visit, &want);
	assert_int_equal(want.count, 0);
	rig_session(&rig, 1000);
	rig_session(&rig, 3000);
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.evicted, 19);
	assert_int_equal(stats.sessions, 21);
	rig_close(&rig);
}

/* At the limit of all sessions too a guest loses only its own, and no guest may have more than it
 * leaves for the others. */
static void test_session_limit(void **state)
{
	struct ip x = ip_of(X);
	struct rig rig;
	uint32_t made = 0;

	rig_init(&rig);
	rig.config.session_limit = 1000;
	rig_open(&rig);
	for (uint32_t guest = 0; guest < 4; guest++) {
		struct ip from = ip_from_v4(0x0a000002 + guest);
		uint32_t own = 0;
		char text[IP_TEXT_LENGTH];

		ip_to_text(&from, text);
		for (uint16_t port = 1024; port < 3000; port++) {
			struct wire wire;
			uint16_t outside;

			wire_udp_ip(&wire, &from, port, &x, 53);
			if (rig_out(&rig, &wire) == NAT_DROP) {
				assert_int_equal(rig.reason, DROP_NAT_SESSION_LIMIT);
				break;
			}
			outside = ends_of(&wire).from_port;
			assert_translated(rig_udp_in(&rig, X, 53, outside));
			own++;
		}
		made += own;
		/* Half of what is left each time, the odd one too. */
		assert_int_equal(own, (1000u - (made - own) + 1) / 2);
		assert_int_equal(rig_sessions(&rig), made);
	}
	rig_close(&rig);
}

/* One guest opens 100,000 sessions; another's all succeed meanwhile. Also by TCP, and with one
 * outside address for both. */
static void test_flood_by_one_guest(void **state)
{
	struct ip a = ip_of(A), b = ip_of(B), x = ip_of(X);
	struct nat_stats stats;
	struct rig rig;
	uint32_t refused = 0;

	rig_init(&rig);
	rig.config.guest_session_limit = 100000; /* more than there are ports */
	rig_open(&rig);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip to = ip_from_v4(0xc6336400 + i / 64000);
		uint16_t port = (uint16_t)(1024 + i % 64000);

		if (syn_from(&rig, &a, port, &to, 80) != NAT_TRANSLATED) {
			assert_int_equal(rig.reason, DROP_NAT_NO_PORT);
			refused++;
		}
		if (i % 100 == 0) {
			assert_translated(
			    rig_tcp_out(&rig, B, (uint16_t)(20000 + i / 100), X, 443, SYN));
			assert_translated(udp_from(&rig, &b, (uint16_t)(20000 + i / 100), &x, 443));
		}
	}
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.refused_port, refused);
	assert_true(refused > 0);
	rig_close(&rig);
	/* With the usual limit it turns over its own half-open ones. */
	rig_init(&rig);
	rig.config.guest_session_limit = 1000;
	rig_open(&rig);
	for (uint32_t i = 0; i < 100000; i++) {
		assert_translated(syn_from(&rig, &a, (uint16_t)(1024 + i % 64000), &x, 80));
		if (i % 100 == 0)
			assert_translated(
			    rig_tcp_out(&rig, B, (uint16_t)(20000 + i / 100), X, 443, SYN));
	}
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.sessions, 2000);
	rig_close(&rig);
}

/* All ports of one shard, which a guest can aim at: another still gets some. */
static void test_ports_of_one_shard(void **state)
{
	struct ip a = ip_of(A), b = ip_of(B), x = ip_of(X);
	uint32_t made = 0;
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (uint32_t port = 1024; port < 65536; port += 32) {
		made += syn_from(&rig, &a, (uint16_t)port, &x, 80) == NAT_TRANSLATED;
		made += syn_from(&rig, &a, (uint16_t)(port + 1), &x, 80) == NAT_TRANSLATED;
	}
	assert_int_equal(made, 2016); /* half of them */
	for (uint32_t port = 1024; port < 2048; port += 32)
		assert_translated(syn_from(&rig, &b, (uint16_t)port, &x, 80));
	rig_close(&rig);
}

static void test_lower_limit_ends_nothing(void **state)
{
	struct ip a = ip_of(A), x = ip_of(X);
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (uint16_t port = 2000; port < 2100; port++) {
		rig_udp_out(&rig, A, port, X, 53);
		assert_translated(rig_udp_in(&rig, X, 53, port));
	}
	rig.config.guest_session_limit = 50;
	rig_update(&rig);
	assert_int_equal(rig_sessions(&rig), 100);
	assert_dropped(&rig, udp_from(&rig, &a, 3000, &x, 53), DROP_NAT_GUEST_LIMIT);
	assert_translated(udp_from(&rig, &a, 2000, &x, 53));
	rig_close(&rig);
}

/* Bytes of memory that the process has been given. */
static uint64_t resident(void)
{
	unsigned long pages = 0, total;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &total, &pages), 2);
	fclose(file);
	return (uint64_t)pages * 4096;
}

static void test_a_million_sessions(void **state)
{
	struct ip pool[32], x = ip_of(X);
	uint64_t before, after;
	struct nat_stats stats;
	struct rig rig;
	bool more;

	for (uint32_t i = 0; i < 32; i++)
		pool[i] = ip_from_v4(0xc0000200 + i);
	rig_init(&rig);
	rig.config.session_limit = 1100000;
	rig.config.pool = pool;
	rig.config.pool_count = 32;
	rig_open(&rig);
	before = resident();
	for (uint32_t i = 0; i < 1000000; i++) {
		struct ip from = ip_from_v4(0x0a000000 + i % 1000 + 1);
		struct wire wire;

		wire_udp_ip(&wire, &from, (uint16_t)(1024 + i / 1000), &x, 53);
		assert_int_equal(nat_outbound(rig.nat, &wire.frame, rig.now, &rig.reason),
				 NAT_TRANSLATED);
	}
	after = resident();
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.sessions, 1000000);
	assert_true(stats.bytes_per_session <= 128);
#ifndef __SANITIZE_ADDRESS__
	assert_true(after - before <= 128 * 1000000ull);
#else
	(void)before;
	(void)after;
#endif
	/* All are found again, none made anew. */
	for (uint32_t i = 0; i < 1000000; i += 7) {
		struct ip from = ip_from_v4(0x0a000000 + i % 1000 + 1);

		assert_translated(udp_from(&rig, &from, (uint16_t)(1024 + i / 1000), &x, 53));
	}
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.created, 1000000);
	rig.now += NAT_TIMEOUT_UDP_ONE_WAY;
	for (int ticks = 0;; ticks++) {
		more = nat_tick(rig.nat, rig.now);
		assert_true(ticks < 100);
		if (!more)
			break;
	}
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_limit),
		cmocka_unit_test(test_half_open_goes_first),
		cmocka_unit_test(test_session_limit),
		cmocka_unit_test(test_flood_by_one_guest),
		cmocka_unit_test(test_ports_of_one_shard),
		cmocka_unit_test(test_lower_limit_ends_nothing),
		cmocka_unit_test(test_a_million_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
