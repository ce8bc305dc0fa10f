/* A leg's addresses (route/leg.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/leg.h"

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static struct route_leg leg_of(const char *const *prefixes, uint8_t count)
{
	struct route_leg leg = { .mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } },
				 .address_count = count };

	for (uint8_t i = 0; i < count; i++)
		assert_int_equal(ip_prefix_from_text(prefixes[i], &leg.addresses[i]), 0);
	return leg;
}

static const char *const prefixes[] = { "192.168.122.1/24", "10.0.0.1/31",   "10.0.1.1/32",
					"fd00::1/64",	    "172.16.0.1/16", "fd00:1::1/64" };

/* RFC 1812, 4.2.3.1; RFC 3021: what is a host on the link, ours, or a broadcast. */
static void test_rfc1812_addresses(void **state)
{
	static const struct {
		const char *ip;
		bool owned, reached, broadcast;
	} rows[] = {
		{ "192.168.122.1", true, true, false },
		{ "192.168.122.2", false, true, false },
		{ "192.168.122.0", false, false, true },
		{ "192.168.122.255", false, false, true },
		{ "192.168.123.1", false, false, false },
		{ "10.0.0.0", false, true, false }, /* /31 has no broadcast */
		{ "10.0.0.1", true, true, false },
		{ "10.0.0.2", false, false, false },
		{ "10.0.1.1", true, true, false },
		{ "172.16.255.255", false, false, true },
		{ "172.16.1.255", false, true, false },
		{ "255.255.255.255", false, false, true },
		{ "0.0.0.0", false, false, false },
		{ "224.0.0.1", false, false, false },
		{ "169.254.1.1", false, false, false },
		{ "fd00::1", true, true, false },
		{ "fd00::", false, true, false },
		{ "fd00::ffff:ffff:ffff:ffff", false, true, false },
		{ "fd00:2::1", false, false, false },
		{ "fe80::5054:ff:fe12:3456", true, true, false },
		{ "fe80::1", false, true, false },
		{ "ff02::1", false, false, false },
		{ "::", false, false, false },
	};
	struct route_leg leg = leg_of(prefixes, 6);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip ip = ip_of(rows[i].ip);

		if (route_leg_owns(&leg, &ip) != rows[i].owned ||
		    route_leg_reaches(&leg, &ip) != rows[i].reached ||
		    route_leg_is_broadcast(&leg, &ip) != rows[i].broadcast)
			fail_msg("%s", rows[i].ip);
	}
}

/* RFC 1812, 4.3.2.4: from the prefix of the destination, else the first of its family. */
static void test_source(void **state)
{
	static const char *const rows[][2] = {
		{ "192.168.122.9", "192.168.122.1" }, { "172.16.3.3", "172.16.0.1" },
		{ "8.8.8.8", "192.168.122.1" },	      { "fd00:1::9", "fd00:1::1" },
		{ "2001:db8::1", "fd00::1" },	      { "fe80::9", "fe80::5054:ff:fe12:3456" },
	};
	struct route_leg leg = leg_of(prefixes, 6);
	struct ip ip, source, wanted;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ip = ip_of(rows[i][0]);
		wanted = ip_of(rows[i][1]);
		assert_true(route_leg_source(&leg, &ip, &source));
		if (!ip_equal(&source, &wanted))
			fail_msg("%s", rows[i][0]);
	}
	leg.address_count = 0;
	ip = ip_of("8.8.8.8");
	assert_false(route_leg_source(&leg, &ip, &source));
	ip = ip_of("2001:db8::1");
	wanted = ip_of("fe80::5054:ff:fe12:3456");
	assert_true(route_leg_source(&leg, &ip, &source));
	assert_true(ip_equal(&source, &wanted));
}

/* A leg in ::/0 does not reach IPv4, which lies within it in one address space. */
static void test_families_apart(void **state)
{
	static const char *const all[] = { "fd00::1/0" };
	struct route_leg leg = leg_of(all, 1);
	struct ip ip = ip_of("10.0.0.1"), source;

	assert_false(route_leg_reaches(&leg, &ip));
	assert_false(route_leg_source(&leg, &ip, &source));
	ip = ip_of("2001:db8::1");
	assert_true(route_leg_reaches(&leg, &ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1812_addresses),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_families_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
