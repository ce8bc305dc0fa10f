/* The forwarding table (route/fib.c): against a search through all routes, and the cases by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/fib.h"

#include <stdlib.h>

#define ROUTES_MAX 64u

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static struct fib_route route_of(const char *prefix, enum fib_action action, uint16_t leg)
{
	struct fib_route route = { .next = { .action = (uint8_t)action, .leg = leg } };

	assert_int_equal(ip_prefix_from_text(prefix, &route.prefix), 0);
	return route;
}

/* The leg that `destination` goes out of; -1 without a route. */
static int leg_of(const struct fib *fib, const char *destination)
{
	struct ip ip = ip_of(destination);
	const struct fib_next *next = fib_lookup(fib, &ip);

	return next->action == FIB_NONE ? -1 : next->leg;
}

static void test_empty(void **state)
{
	struct fib *fib = fib_create(NULL, 0);

	assert_non_null(fib);
	assert_int_equal(leg_of(fib, "0.0.0.0"), -1);
	assert_int_equal(leg_of(fib, "255.255.255.255"), -1);
	assert_int_equal(leg_of(fib, "::"), -1);
	assert_int_equal(leg_of(fib, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), -1);
	fib_destroy(fib);
	fib_destroy(NULL);
}

/* RFC 1812, 5.2.4.3: the most specific route, whatever the order they were given in. */
static void test_rfc1812_longest_match(void **state)
{
	struct fib_route routes[] = {
		route_of("10.1.2.0/24", FIB_CONNECTED, 3),    route_of("0.0.0.0/0", FIB_VIA, 1),
		route_of("10.1.2.128/25", FIB_VIA, 4),	      route_of("10.0.0.0/8", FIB_VIA, 2),
		route_of("10.1.2.255/32", FIB_LOCAL, 5),      route_of("fd00::/8", FIB_VIA, 6),
		route_of("fd00::1/128", FIB_LOCAL, 7),	      route_of("10.1.2.1/32", FIB_LOCAL, 9),
		route_of("255.255.255.255/32", FIB_LOCAL, 8),
	};
	static const struct {
		const char *to;
		int leg;
	} rows[] = {
		{ "10.1.2.0", 3 },	  { "10.1.2.1", 9 },	   { "10.1.2.2", 3 },
		{ "10.1.2.127", 3 },	  { "10.1.2.128", 4 },	   { "10.1.2.254", 4 },
		{ "10.1.2.255", 5 },	  { "10.1.3.0", 2 },	   { "10.1.1.255", 2 },
		{ "10.0.0.0", 2 },	  { "10.255.255.255", 2 }, { "11.0.0.0", 1 },
		{ "9.255.0.1", 1 },	  { "0.0.0.0", 1 },	   { "255.255.255.254", 1 },
		{ "255.255.255.255", 8 }, { "fd00::", 6 },	   { "fd00::1", 7 },
		{ "fd00::2", 6 },	  { "fdff:ffff::1", 6 },   { "fe00::", -1 },
		{ "fcff::", -1 },	  { "2001:db8::1", -1 },   { "::", -1 },
	};
	struct fib *fib = fib_create(routes, sizeof(routes) / sizeof(routes[0]));

	assert_non_null(fib);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (leg_of(fib, rows[i].to) != rows[i].leg)
			fail_msg("%s: leg %d", rows[i].to, leg_of(fib, rows[i].to));
	}
	fib_destroy(fib);
}

/* An IPv6 default route is none for IPv4, whose addresses lie within ::/0 in one table. */
static void test_families_apart(void **state)
{
	struct fib_route routes[] = { route_of("::/0", FIB_VIA, 6) };
	struct fib *fib = fib_create(routes, 1);

	assert_int_equal(leg_of(fib, "2001:db8::1"), 6);
	assert_int_equal(leg_of(fib, "192.0.2.1"), -1);
	assert_int_equal(leg_of(fib, "0.0.0.0"), -1);
	assert_int_equal(leg_of(fib, "255.255.255.255"), -1);
	fib_destroy(fib);
}

static void test_first_of_equal_wins(void **state)
{
	struct fib_route routes[] = {
		route_of("10.0.0.1/24", FIB_CONNECTED, 1),
		route_of("10.0.0.0/24", FIB_VIA, 2),
		route_of("10.0.0.77/24", FIB_VIA, 3),
	};
	struct fib *fib = fib_create(routes, 3);

	assert_int_equal(leg_of(fib, "10.0.0.9"), 1);
	fib_destroy(fib);
}

/* 100,000 routes, each twice, are no matter; quadratic work would be. */
static void test_many(void **state)
{
	uint32_t count = 200000;
	struct fib_route *routes = calloc(count, sizeof(*routes));
	struct fib *fib;

	assert_non_null(routes);
	for (uint32_t i = 0; i < count; i++) {
		routes[i].prefix.ip = ip_from_v4(0x0a000000u + (i % 100000) * 16);
		routes[i].prefix.length = IP_V4_LENGTH + 28;
		routes[i].next.action = FIB_VIA;
		routes[i].next.leg = (uint16_t)(i < 100000 ? i % 50000 : 60000);
	}
	fib = fib_create(routes, count);
	assert_non_null(fib);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip ip = ip_from_v4(0x0a000000u + i * 16 + i % 16);

		assert_int_equal(fib_lookup(fib, &ip)->leg, i % 50000);
	}
	fib_destroy(fib);
	free(routes);
}

/* Addresses that share their first bits, so that prefixes nest. */
static struct ip random_ip(uint64_t *seed)
{
	struct ip ip = { 0 };
	uint64_t bits;

	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	bits = *seed >> 33;
	if (bits & 1) {
		ip = ip_from_v4((uint32_t)(bits >> 1 & 7) << 29 | (uint32_t)(bits >> 4 & 15));
	} else {
		ip.bytes[0] = (uint8_t)(bits >> 1 & 7) << 5;
		ip.bytes[8] = (uint8_t)(bits >> 4 & 3);
		ip.bytes[15] = (uint8_t)(bits >> 6 & 15);
	}
	return ip;
}

static const struct fib_route *search(const struct fib_route *routes, uint32_t count,
				      const struct ip *ip)
{
	const struct fib_route *best = NULL;

	for (uint32_t i = 0; i < count; i++) {
		bool v4 = routes[i].prefix.length >= IP_V4_LENGTH && ip_is_v4(&routes[i].prefix.ip);

		if (v4 == ip_is_v4(ip) && ip_prefix_contains(&routes[i].prefix, ip) &&
		    (best == NULL || routes[i].prefix.length > best->prefix.length))
			best = &routes[i];
	}
	return best;
}

static void test_against_search(void **state)
{
	struct fib_route routes[ROUTES_MAX];
	uint64_t seed = 1;

	for (uint32_t round = 0; round < 300; round++) {
		uint32_t count = round % ROUTES_MAX;
		struct fib *fib;

		for (uint32_t i = 0; i < count; i++) {
			struct ip ip = random_ip(&seed);
			bool v4 = ip_is_v4(&ip);

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			routes[i] = (struct fib_route){
				{ ip, (uint8_t)((v4 ? IP_V4_LENGTH : 0) +
						(seed >> 40) % (v4 ? 33 : 129)) },
				{ .action = FIB_VIA, .leg = (uint16_t)i },
			};
		}
		fib = fib_create(routes, count);
		assert_non_null(fib);
		for (uint32_t i = 0; i < 400; i++) {
			struct ip ip = random_ip(&seed);
			const struct fib_route *best = search(routes, count, &ip);
			const struct fib_next *next = fib_lookup(fib, &ip);

			assert_int_equal(next->action, best == NULL ? FIB_NONE : FIB_VIA);
			if (best != NULL)
				assert_int_equal(next->leg, best->next.leg);
		}
		fib_destroy(fib);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),	       cmocka_unit_test(test_rfc1812_longest_match),
		cmocka_unit_test(test_families_apart), cmocka_unit_test(test_first_of_equal_wins),
		cmocka_unit_test(test_many),	       cmocka_unit_test(test_against_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
