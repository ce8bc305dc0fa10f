/* What an uplink learns of advertisements, and for how long (RFC 4861, 6.3.4; RFC 4862, 5.5; RFC
 * 4191; RFC 8106). */
#include "tests/unit/slaac_client_rig.h"

/* RFC 4862, 5.5.3, e: nobody ends an address within two hours. */
static void two_hours(void **unused)
{
	static const struct {
		uint32_t valid;	   /* advertised, seconds */
		uint64_t expected; /* ms from then on */
	} cases[] = {
		{ 10000, 10000000 },	  /* above two hours */
		{ 60, 2 * HOUR },	  /* cut to two hours */
		{ 60, 2 * HOUR - 10000 }, /* and not below */
		{ 0, 2 * HOUR - 20000 },  /* nor ended */
		{ 7195, 7195000 },	  /* but made longer */
		{ UINT32_MAX, UINT64_MAX }, { 1, 2 * HOUR },
	};

	connect_router();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct slaac_prefix *prefix = &slaac_client_state(client)->prefixes[0];

		now += 10000;
		ra_begin(1800, 0);
		ra_prefix("2001:db8:1::/64", 0xc0, cases[i].valid, 0);
		ra_send();
		assert_true(prefix->has_address);
		assert_true(
		    prefix->valid_until ==
		    (cases[i].expected == UINT64_MAX ? UINT64_MAX : now + cases[i].expected));
		assert_true(prefix->deprecated);
	}
}

/* Deprecated, gone, and told of each. */
static void lifetimes(void **unused)
{
	make();
	run_until(6500);
	ra_begin(9000, 0);
	ra_prefix("2001:db8:1::/64", 0x40, 100, 50);
	ra_send();
	run_until(6500 + 49999);
	assert_int_equal(configured, 2);
	assert_false(state.prefixes[0].deprecated);
	assert_int_equal(state.prefixes[0].on_link_until, 0);
	run_until(6500 + 50000);
	assert_int_equal(configured, 3);
	assert_true(state.prefixes[0].has_address && state.prefixes[0].deprecated);
	run_until(6500 + 100000);
	assert_int_equal(configured, 4);
	assert_int_equal(state.prefix_count, 0);
	assert_int_equal(state.router_count, 1);
	run_until(6500 + 9000000);
	assert_int_equal(lost, 1);
	assert_int_equal(configured, 4);
}

/* Prefixes that give no address, or are none (RFC 4862, 5.5.3, a to d; RFC 4861, 6.3.4). */
static void prefixes(void **unused)
{
	make();
	run_until(6500);
	ra_begin(1800, 0);
	ra_prefix("fe80::/64", 0xc0, 86400, 14400);
	ra_prefix("ff02::/64", 0xc0, 86400, 14400);
	ra_prefix("2001:db8:1::/64", 0x40, 100, 200); /* preferred longer than valid */
	ra_prefix("2001:db8:2::/64", 0xc0, 0, 0);
	ra_prefix("2001:db8:3::/64", 0x00, 100, 100);
	ra_prefix("2001:db8:4::/56", 0xc0, 100, 100); /* on the link only */
	ra_prefix("2001:db8:5::/64", 0x80, UINT32_MAX, UINT32_MAX);
	ra_send();
	run_until(now + 3000);
	assert_int_equal(state.prefix_count, 2);
	assert_ip(state.prefixes[0].prefix.ip, "2001:db8:4::");
	assert_int_equal(state.prefixes[0].prefix.length, 56);
	assert_false(state.prefixes[0].has_address);
	assert_ip(state.prefixes[1].prefix.ip, "2001:db8:5::");
	assert_true(state.prefixes[1].on_link_until == UINT64_MAX);
	assert_false(state.prefixes[1].has_address);
	/* Taken off the link. */
	ra_begin(1800, 0);
	ra_prefix("2001:db8:5::/64", 0x80, 0, 0);
	ra_send();
	assert_int_equal(slaac_client_state(client)->prefix_count, 1);
}

/* RFC 4191: the best first, those that are as good in the order they came; the end of one. */
static void routers(void **unused)
{
	static const struct {
		const char *ip;
		uint8_t flags;
	} rows[] = { { "fe80::1", 0x18 /* low */ },
		     { "fe80::2", 0x00 },
		     { "fe80::3", 0x10 /* reserved: medium */ },
		     { "fe80::4", 0x08 /* high */ } };
	static const char *const order[] = { "fe80::4", "fe80::2", "fe80::3", "fe80::1" };

	make();
	run_until(6500);
	for (unsigned i = 0; i < 4; i++) {
		ra_begin(1800, rows[i].flags);
		ra_send_from(rows[i].ip);
	}
	run_until(now + 2000);
	assert_int_equal(state.router_count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_ip(state.routers[i].ip, order[i]);
	/* A fifth pushes out the worst, if it is better. */
	ra_begin(1800, 0x18);
	ra_send_from("fe80::5");
	assert_int_equal(slaac_client_counters(client)->ignored, 1);
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::1");
	ra_begin(1800, 0x08);
	ra_send_from("fe80::6");
	assert_ip(slaac_client_state(client)->routers[1].ip, "fe80::6");
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::3");
	/* One changes its mind; one resigns. */
	ra_begin(1800, 0x18);
	ra_send_from("fe80::4");
	assert_ip(slaac_client_state(client)->routers[0].ip, "fe80::6");
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::4");
	ra_begin(0, 0x08);
	ra_send_from("fe80::6");
	assert_int_equal(slaac_client_state(client)->router_count, 3);
	assert_ip(slaac_client_state(client)->routers[0].ip, "fe80::2");
}

/* RFC 8106, 5.3.1; MTUs that cannot be (RFC 4861, 6.3.4). */
static void resolvers_and_mtu(void **unused)
{
	connect_router();
	ra_begin(1800, 0);
	ra_resolver("2001:db8::53", 600);
	ra_resolver("fe80::53", 20);
	ra_resolver("ff02::53", 600);
	ra_mtu(1279);
	ra_mtu(1501);
	ra_send();
	assert_int_equal(slaac_client_state(client)->dns.count, 2);
	assert_int_equal(slaac_client_state(client)->mtu, 0);
	ra_mtu(1280);
	ra_send();
	assert_int_equal(slaac_client_state(client)->mtu, 1280);
	run_until(now + 20000);
	assert_int_equal(state.dns.count, 1);
	assert_ip(state.dns.ips[0], "2001:db8::53");
	ra_begin(1800, 0);
	ra_resolver("2001:db8::53", 0);
	ra_send();
	assert_int_equal(slaac_client_state(client)->dns.count, 0);
}

/* More of everything than the tables hold: bounded, counted, and told once a second. */
static void flood(void **unused)
{
	unsigned before;

	connect_router();
	before = configured;
	for (unsigned i = 0; i < 2000; i++) {
		char text[64];

		ra_begin((uint16_t)(1 + i), (uint8_t)(i % 4 << 3));
		snprintf(text, sizeof(text), "2001:db8:%x::/64", 16 + i);
		ra_prefix(text, 0xc0, 86400, 14400);
		snprintf(text, sizeof(text), "2001:db8::%x", 16 + i);
		ra_resolver(text, 600);
		snprintf(text, sizeof(text), "fe80::%x", 16 + i);
		ra_send_from(text);
		now++;
	}
	assert_in_range(configured - before, 1, 3);
	assert_int_equal(slaac_client_state(client)->prefix_count, SLAAC_PREFIXES_MAX);
	assert_int_equal(slaac_client_state(client)->router_count, SLAAC_ROUTERS_MAX);
	assert_int_equal(slaac_client_state(client)->dns.count, DHCP_LIST_MAX);
	assert_true(slaac_client_counters(client)->ignored > 5000);
	run_until(now + 1000);
	assert_in_range(configured - before, 2, 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(two_hours), TEST(lifetimes),	  TEST(prefixes),
		TEST(routers),	 TEST(resolvers_and_mtu), TEST(flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
