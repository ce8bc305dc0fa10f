/* What the DHCPv4 client takes of an answer: options, addresses, times (RFC 2132, RFC 3442). */
#include "tests/unit/dhcp_client_rig.h"

/* Renews with these options beside the usual ones. */
static void renew_with(const uint8_t *options, size_t length)
{
	next_message(DHCP_REQUEST);
	prepare(DHCP_ACK);
	answer.options = options;
	answer.options_length = length;
	deliver();
}

/* RFC 2132: a router among what cannot be one, two resolvers, time, MTU, domain, T1 and T2. */
static void options(void **unused)
{
	static const uint8_t given[] = {
		3,  8, 192, 0, 2, 1,   224, 0, 0, 1, 6,	 8, 8,	 8,   8,   8,	192, 0,	  2, 53,
		42, 4, 192, 0, 2, 123, 26,  2, 5, 0, 15, 7, 'l', 'a', 'b', '.', 'x', 'y', 0,
	};

	make();
	next_message(DHCP_DISCOVER);
	offer();
	prepare(DHCP_ACK);
	answer.options = given;
	answer.options_length = sizeof(given);
	answer.t1 = 100;
	answer.t2 = 200;
	deliver();
	assert_int_equal(state.routers.count, 1);
	assert_ip(state.routers.ips[0], "192.0.2.1");
	assert_int_equal(state.dns.count, 2);
	assert_ip(state.dns.ips[1], "192.0.2.53");
	assert_int_equal(state.ntp.count, 1);
	assert_int_equal(state.mtu, 1280);
	assert_string_equal(state.domain, "lab.xy");
	assert_int_equal(state.renew_at, now + 100000);
	assert_int_equal(state.rebind_at, now + 200000);
}

/* RFC 3442: in their order and in the router's stead, a default one and one on the link; nothing of
 * a list that is cut short. */
static void classless_routes(void **unused)
{
	static const uint8_t whole[] = { 3, 4, 192, 0,	2, 1, 121, 13, 0, 192, 0,
					 2, 9, 24,  10, 1, 2, 0,   0,  0, 0 };
	static const uint8_t cut[] = { 3, 4, 192, 0,  2, 1, 121, 14, 0, 192, 0,
				       2, 9, 24,  10, 1, 2, 0,	 0,  0, 0,   16 };

	make();
	bind();
	renew_with(whole, sizeof(whole));
	assert_int_equal(configured, 2);
	assert_int_equal(state.route_count, 2);
	assert_int_equal(state.routes[0].to.length, 96);
	assert_ip(state.routes[0].via, "192.0.2.9");
	assert_ip(state.routes[1].to.ip, "10.1.2.0");
	assert_ip(state.routes[1].via, "0.0.0.0");
	assert_int_equal(state.routers.count, 0);
	renew_with(cut, sizeof(cut));
	assert_int_equal(configured, 3);
	assert_int_equal(state.route_count, 0);
	assert_int_equal(state.routers.count, 1);
}

/* What makes no sense is left out, and the rest holds: a router 0.0.0.0, resolvers of three bytes,
 * an MTU of 9, a domain with a line feed, half a route. */
static void senseless_options(void **unused)
{
	static const uint8_t good[] = { 3, 4, 192, 0, 2, 1, 26, 2, 5, 0 };
	static const uint8_t bad[] = { 3, 4, 0, 0,  0, 0,   6,	3,   8,	  8, 8,	 26,
				       2, 0, 9, 15, 3, 'a', 10, 'b', 121, 2, 24, 1 };

	make();
	bind();
	renew_with(good, sizeof(good));
	assert_int_equal(configured, 2);
	renew_with(bad, sizeof(bad));
	assert_int_equal(configured, 3);
	assert_int_equal(state.routers.count + state.dns.count + state.route_count, 0);
	assert_int_equal(state.mtu, 0);
	assert_string_equal(state.domain, "");
	assert_ip(state.address.ip, "192.0.2.77");
}

/* Addresses, masks and times that cannot be; without a mask, that of the class. */
static void impossible(void **unused)
{
	static const struct {
		const char *address;
		uint32_t mask, lease;
		uint8_t length; /* 0: refused */
	} cases[] = {
		{ "192.0.2.255", 0xffffff00, 3600, 0 }, { "192.0.2.0", 0xffffff00, 3600, 0 },
		{ "0.0.0.5", 0xffffff00, 3600, 0 },	{ "224.0.0.1", 0xffffff00, 3600, 0 },
		{ "127.0.0.1", 0xff000000, 3600, 0 },	{ "255.255.255.255", 0, 3600, 0 },
		{ "192.0.2.5", 0xff00ff00, 3600, 0 },	{ "192.0.2.5", 0xffffff00, 0, 0 },
		{ "192.0.2.5", 0xffffff00, 9, 0 },	{ "192.0.2.5", 0xfffffffe, 3600, 31 },
		{ "192.0.2.5", 0xffffffff, 3600, 32 },	{ "10.0.0.5", 0, 3600, 8 },
		{ "172.16.0.5", 0, 3600, 16 },		{ "192.0.2.5", 0, 3600, 24 },
	};
	uint64_t malformed = 0;

	make();
	next_message(DHCP_DISCOVER);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare(DHCP_OFFER);
		answer.address = cases[i].address;
		answer.mask = cases[i].mask;
		answer.lease = cases[i].lease;
		deliver();
		malformed += cases[i].length == 0;
		assert_int_equal(dhcp_client_counters(client)->malformed, malformed);
		assert_int_equal(wire.count, cases[i].length != 0);
		if (cases[i].length == 0)
			continue;
		read_sent();
		answer.type = DHCP_ACK;
		answer.xid = sent.header.xid;
		deliver();
		assert_int_equal(state.address.length, 96 + cases[i].length);
		dhcp_client_release(client, now);
		dhcp_client_restart(client, now);
		next_message(DHCP_DISCOVER);
	}
}

/* RFC 2131, 4.4.5: T1 and T2 out of order are ours to choose; a lease may have no end. */
static void times(void **unused)
{
	make();
	next_message(DHCP_DISCOVER);
	offer();
	prepare(DHCP_ACK);
	answer.t1 = 3000;
	answer.t2 = 2000;
	deliver();
	assert_int_equal(state.renew_at, now + 1800000);
	assert_int_equal(state.rebind_at, now + 3150000);
	next_message(DHCP_REQUEST);
	prepare(DHCP_ACK);
	answer.lease = UINT32_MAX;
	deliver();
	assert_true(dhcp_client_deadline(client) == UINT64_MAX);
	assert_true(dhcp_client_state(client)->expires_at == UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(options), TEST(classless_routes), TEST(senseless_options), TEST(impossible),
		TEST(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
