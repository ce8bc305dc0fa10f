/* What the kernel says of interfaces, addresses and routes of a namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/namespace.h"

#include "vswitch/netlink.h"

#include <event2/event.h>
#include <stdlib.h>

static struct error error;

static int set_up(void **state)
{
	veth_add("v0", "v1");
	error.text[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	if (if_nametoindex("v0") != 0)
		link_delete("v0");
	return 0;
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix prefix;

	assert_int_equal(ip_prefix_from_text(text, &prefix), 0);
	return prefix;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static int index_of(const char *name)
{
	return (int)if_nametoindex(name);
}

static void test_links(void **state)
{
	struct netlink_link link;

	assert_int_equal(netlink_get_link("v0", &link, &error), 0);
	assert_string_equal(link.name, "v0");
	assert_int_equal(link.index, index_of("v0"));
	assert_int_equal(link.mtu, 1500);
	assert_true(link.ethernet && link.up && link.carrier);
	assert_false(mac_is_zero(link.mac.bytes));
	link_set("v1", 0, 0);
	assert_int_equal(netlink_get_link("v0", &link, &error), 0);
	assert_true(link.up);
	assert_false(link.carrier);
	link_set("v0", 0, 0);
	assert_int_equal(netlink_set_up(index_of("v0"), 9000, &error), 0);
	assert_int_equal(netlink_get_link("v0", &link, &error), 0);
	assert_true(link.up);
	assert_int_equal(link.mtu, 9000);
	assert_int_equal(netlink_get_link("lo", &link, &error), 0);
	assert_false(link.ethernet);
	assert_int_equal(netlink_get_link("absent", &link, &error), -ENODEV);
	assert_string_equal(error.text, "interface 'absent' is not there; allowed: one of this host");
	assert_true(netlink_set_up(12345, 0, &error) < 0);
}

static void test_addresses(void **state)
{
	struct ip_prefix v4 = prefix("10.9.8.1/30"), v6 = prefix("fd00:9::1/64"), found[8];
	uint32_t count, seen = 0;
	int index = index_of("v0");

	assert_int_equal(netlink_add_address(index, &v4, &error), 0);
	assert_int_equal(netlink_add_address(index, &v4, &error), -EEXIST);
	assert_int_equal(netlink_add_address(index, &v6, &error), 0);
	assert_int_equal(netlink_interface_addresses(index, found, 8, &count, &error), 0);
	for (uint32_t i = 0; i < count; i++)
		seen += ip_prefix_equal(&found[i], &v4) || ip_prefix_equal(&found[i], &v6);
	assert_int_equal(seen, 2);
	assert_int_equal(netlink_interface_addresses(index, found, 1, &count, &error), 0);
	assert_int_equal(count, 1);
	assert_int_equal(netlink_remove_address(index, &v4, &error), 0);
	assert_int_equal(netlink_remove_address(index, &v4, &error), -EADDRNOTAVAIL);
	assert_non_null(strstr(error.text, "10.9.8.1/30"));
	assert_int_equal(netlink_remove_address(index, &v6, &error), 0);
}

static void test_routes(void **state)
{
	struct ip_prefix v4 = prefix("10.9.8.1/30"), v6 = prefix("fd00:9::1/64");
	struct ip_prefix to4 = prefix("192.168.7.1/24"), to6 = prefix("fd00:7::1/64");
	struct ip via4 = ip("10.9.8.2"), via6 = ip("fd00:9::2"), nowhere = ip("10.1.1.1");
	int index = index_of("v0");

	assert_int_equal(netlink_add_address(index, &v4, &error), 0);
	assert_int_equal(netlink_add_address(index, &v6, &error), 0);
	assert_int_equal(netlink_add_route(index, &to4, &via4, &error), 0);
	assert_int_equal(netlink_add_route(index, &to4, &via4, &error), -EEXIST);
	assert_non_null(strstr(error.text, "route to 192.168.7.0/24"));
	assert_int_equal(netlink_add_route(index, &to6, &via6, &error), 0);
	assert_true(netlink_add_route(index, &v4, &nowhere, &error) < 0);
	assert_int_equal(netlink_remove_route(index, &to4, &via6, &error) < 0, 1);
	assert_int_equal(netlink_remove_route(index, &to4, &via4, &error), 0);
	assert_int_equal(netlink_remove_route(index, &to4, &via4, &error), -ESRCH);
	assert_int_equal(netlink_remove_route(index, &to6, &via6, &error), 0);
}

static void test_default_routes(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };
	char name[IFNAMSIZ];

	assert_int_equal(netlink_is_default_route(index_of("v0"), &error), 0);
	assert_int_equal(netlink_default_route(AF_INET, name, &error), -ENOENT);
	for (unsigned i = 0; i < 2; i++) {
		tear_down(state);
		set_up(state);
		default_route_add("v0", families[i]);
		assert_int_equal(netlink_is_default_route(index_of("v0"), &error), 1);
		assert_int_equal(netlink_is_default_route(index_of("v1"), &error), 0);
		assert_int_equal(netlink_default_route(families[i], name, &error), 0);
		assert_string_equal(name, "v0");
		assert_int_equal(netlink_default_route(families[1 - i], name, &error), -ENOENT);
	}
}

struct seen {
	uint32_t told;
	bool there;
	struct netlink_link link;
	struct netlink_watch **ends; /* ended by the handler */
};

static void on_change(void *context, const struct netlink_link *link)
{
	struct seen *seen = context;

	seen->told++;
	seen->there = link != NULL;
	if (link)
		seen->link = *link;
	if (seen->ends) {
		netlink_unwatch(*seen->ends);
		*seen->ends = NULL;
	}
}

static void test_watches(void **state)
{
	struct event_base *loop = event_base_new();
	struct netlink_watch *first, *second, *third;
	struct seen v0 = { 0 }, later = { 0 }, ender = { .ends = &second };

	assert_int_equal(netlink_watch(loop, "v0", on_change, &v0, &first, &error), 0);
	assert_int_equal(netlink_watch(loop, "later", on_change, &later, &second, &error), 0);
	link_set("v1", 0, 0);
	while (v0.told == 0 || v0.link.carrier)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	assert_int_equal(later.told, 0);
	link_set("v0", 1, 4000);
	while (v0.link.mtu != 4000)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	link_delete("v0");
	while (v0.there)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	/* Another of the same name. */
	veth_add("v0", "later");
	while (!v0.there || !later.there)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	assert_int_equal(v0.link.index, index_of("v0"));
	/* A handler ends another watch, and itself. */
	assert_int_equal(netlink_watch(loop, "v0", on_change, &ender, &third, &error), 0);
	link_set("v0", 0, 0);
	while (ender.told == 0)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	assert_null(second);
	ender.ends = &third;
	link_set("v0", 1, 0);
	while (third)
		assert_int_equal(event_base_loop(loop, EVLOOP_ONCE), 0);
	netlink_unwatch(first);
	netlink_unwatch(NULL);
	/* Nobody watches: nothing waits any more. */
	assert_int_equal(event_base_loop(loop, EVLOOP_NONBLOCK), 1);
	event_base_free(loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_links),	   TEST(test_addresses), TEST(test_routes),
		TEST(test_default_routes), TEST(test_watches),
	};
	int rc = namespace_enter();

	if (rc != 0) {
		printf("skipped: no network namespace (%s)\n", strerror(-rc));
		return 77; /* meson: skipped */
	}
	link_set("lo", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
