/* IP addresses and prefixes (base/ip.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ip.h"

#include <errno.h>

static struct ip ip_of(const char *text)
{
	struct ip ip;

	if (ip_from_text(text, &ip) != 0)
		fail_msg("%s", text);
	return ip;
}

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix prefix;

	if (ip_prefix_from_text(text, &prefix) != 0)
		fail_msg("%s", text);
	return prefix;
}

/* RFC 5952: one way to write each address. */
static void test_rfc5952_text(void **state)
{
	static const char *const rows[][2] = {
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "192.168.122.1", "192.168.122.1" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "2001:DB8:0:0:0:0:0:1", "2001:db8::1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip ip = ip_of(rows[i][0]);
		char text[IP_TEXT_LENGTH];

		assert_string_equal(ip_to_text(&ip, text), rows[i][1]);
		assert_int_equal(ip_is_v4(&ip), strchr(rows[i][0], ':') == NULL);
	}
}

static void test_text_refused(void **state)
{
	static const char *const addresses[] = {
		"",	    " ",	"1.2.3",    "1.2.3.4.5",       "1.2.3.256",
		"1.2.3.4 ", " 1.2.3.4", "01.2.3.4", "fe80::1%eth0",    "1::2::3",
		":::",	    "12345::",	"::g",	    "::ffff:10.0.0.1", "::ffff:a00:1",
	};
	static const char *const prefixes[] = {
		"10.0.0.0",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/+8",
		"10.0.0.0/8 ",
		"/8",
		"10.0.0.0/ 8",
		"::/129",
		"10.0.0.0/8/8",
		"10.0.0/8",
		"10.0.0.0/4294967304",
		"::ffff:0:0/96",
		"10.0.0.0/99999999999999999999",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/1",
	};
	struct ip_prefix prefix;
	struct ip ip;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		if (ip_from_text(addresses[i], &ip) != -EINVAL)
			fail_msg("%s", addresses[i]);
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (ip_prefix_from_text(prefixes[i], &prefix) != -EINVAL)
			fail_msg("%s", prefixes[i]);
	}
}

static void test_bytes_and_numbers(void **state)
{
	static const uint8_t bytes4[] = { 10, 1, 2, 3 };
	uint8_t bytes6[16];
	struct ip ip = ip_from_v4_bytes(bytes4), other = ip_of("10.1.2.3");

	assert_true(ip_equal(&ip, &other));
	assert_int_equal(ip_to_v4(&ip), 0x0a010203);
	assert_memory_equal(ip_v4_bytes(&ip), bytes4, 4);
	other = ip_from_v4(0x0a010204);
	assert_true(ip_compare(&ip, &other) < 0 && ip_compare(&other, &ip) > 0);
	assert_int_equal(ip_compare(&ip, &ip), 0);
	for (uint8_t i = 0; i < 16; i++)
		bytes6[i] = (uint8_t)(i + 1);
	ip = ip_from_v6_bytes(bytes6);
	assert_memory_equal(ip.bytes, bytes6, 16);
	assert_false(ip_is_v4(&ip));
}

/* RFC 1122, 3.2.1.3; RFC 4291, 2.4 to 2.7. */
static void test_rfc4291_kinds(void **state)
{
	static const struct {
		const char *ip;
		bool unspecified, multicast, loopback, link_local, host;
	} rows[] = {
		{ "0.0.0.0", true, false, false, false, false },
		{ "0.0.0.1", false, false, false, false, false },
		{ "1.0.0.0", false, false, false, false, true },
		{ "126.255.255.255", false, false, false, false, true },
		{ "127.0.0.0", false, false, true, false, false },
		{ "127.255.255.255", false, false, true, false, false },
		{ "128.0.0.0", false, false, false, false, true },
		{ "169.253.255.255", false, false, false, false, true },
		{ "169.254.0.0", false, false, false, true, true },
		{ "169.254.255.255", false, false, false, true, true },
		{ "169.255.0.0", false, false, false, false, true },
		{ "223.255.255.255", false, false, false, false, true },
		{ "224.0.0.0", false, true, false, false, false },
		{ "239.255.255.255", false, true, false, false, false },
		{ "240.0.0.0", false, false, false, false, false },
		{ "255.255.255.255", false, false, false, false, false },
		{ "::", true, false, false, false, false },
		{ "::1", false, false, true, false, false },
		{ "::2", false, false, false, false, true },
		{ "fe7f::1", false, false, false, false, true },
		{ "fe80::", false, false, false, true, true },
		{ "febf::1", false, false, false, true, true },
		{ "fec0::1", false, false, false, false, true },
		{ "ff00::", false, true, false, false, false },
		{ "fd00::1", false, false, false, false, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip ip = ip_of(rows[i].ip);

		if (ip_is_unspecified(&ip) != rows[i].unspecified ||
		    ip_is_multicast(&ip) != rows[i].multicast ||
		    ip_is_loopback(&ip) != rows[i].loopback ||
		    ip_is_link_local(&ip) != rows[i].link_local || ip_is_host(&ip) != rows[i].host)
			fail_msg("%s", rows[i].ip);
	}
}

/* RFC 4291, 2.7.1 and appendix A. */
static void test_rfc4291_derived(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef };
	struct ip link_local = ip_link_local_of(mac), wanted = ip_of("fe80::5054:ff:feab:cdef");
	struct ip group = ip_solicited_node(&link_local);

	assert_true(ip_equal(&link_local, &wanted));
	wanted = ip_of("ff02::1:ffab:cdef");
	assert_true(ip_equal(&group, &wanted));
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *prefix, *network, *last;
	} rows[] = {
		{ "192.168.122.1/24", "192.168.122.0/24", "192.168.122.255" },
		{ "10.1.2.3/0", "0.0.0.0/0", "255.255.255.255" },
		{ "10.1.2.3/1", "0.0.0.0/1", "127.255.255.255" },
		{ "10.1.2.3/31", "10.1.2.2/31", "10.1.2.3" },
		{ "10.1.2.3/32", "10.1.2.3/32", "10.1.2.3" },
		{ "10.255.255.255/9", "10.128.0.0/9", "10.255.255.255" },
		{ "fd00:122::1/64", "fd00:122::/64", "fd00:122::ffff:ffff:ffff:ffff" },
		{ "fd00::1/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "fd00::1/127", "fd00::/127", "fd00::1" },
		{ "2001:db8:ffff::/33", "2001:db8:8000::/33",
		  "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_prefix prefix = prefix_of(rows[i].prefix);
		struct ip_prefix network = ip_prefix_network(&prefix);
		struct ip_prefix wanted = prefix_of(rows[i].network);
		struct ip last = ip_prefix_last(&prefix);
		char text[IP_PREFIX_TEXT_LENGTH];

		assert_string_equal(ip_prefix_to_text(&prefix, text), rows[i].prefix);
		assert_string_equal(ip_prefix_to_text(&network, text), rows[i].network);
		assert_true(ip_prefix_equal(&network, &wanted));
		assert_string_equal(ip_to_text(&last, text), rows[i].last);
		assert_true(ip_prefix_contains(&prefix, &last));
		assert_true(ip_prefix_contains(&prefix, &network.ip));
		assert_int_equal(ip_prefix_is_v4(&prefix), strchr(rows[i].prefix, ':') == NULL);
	}
}

/* Each family for itself, though all IPv4 lies within ::/0 as bytes go. */
static void test_contains_and_overlaps(void **state)
{
	static const struct {
		const char *a, *b;
		bool contains_ip, overlaps; /* a contains b's address; a and b overlap */
	} rows[] = {
		{ "10.0.0.0/8", "10.1.0.0/16", true, true },
		{ "10.1.0.0/16", "10.0.0.0/8", false, true },
		{ "10.0.0.0/8", "11.0.0.0/8", false, false },
		{ "10.0.0.5/30", "10.0.0.7/30", true, true },
		{ "10.0.0.5/30", "10.0.0.8/30", false, false },
		{ "0.0.0.0/0", "255.255.255.255/32", true, true },
		{ "::/0", "10.0.0.0/8", false, false },
		{ "0.0.0.0/0", "fd00::/8", false, false },
		{ "::/0", "fd00::/8", true, true },
		{ "::/80", "10.0.0.0/8", false, false },
		{ "fd00::/64", "fd00:0:0:1::/64", false, false },
		{ "fd00::/63", "fd00:0:0:1::/64", true, true },
		{ "fd00::1/128", "fd00::1/128", true, true },
		{ "fd00::1/128", "fd00::2/128", false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_prefix a = prefix_of(rows[i].a), b = prefix_of(rows[i].b);

		if (ip_prefix_contains(&a, &b.ip) != rows[i].contains_ip ||
		    ip_prefix_overlaps(&a, &b) != rows[i].overlaps ||
		    ip_prefix_overlaps(&b, &a) != rows[i].overlaps)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5952_text),	      cmocka_unit_test(test_text_refused),
		cmocka_unit_test(test_bytes_and_numbers),     cmocka_unit_test(test_rfc4291_kinds),
		cmocka_unit_test(test_rfc4291_derived),	      cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_contains_and_overlaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
