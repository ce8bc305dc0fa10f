/* The host's side of a tap that is a network's uplink, in a namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/namespace.h"
#include "tests/unit/port_fixture.h"

#include "vswitch/netlink.h"
#include "vswitch/tap_uplink.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_tap);
	struct fixture *f = *state;

	strcpy(f->port.config.options.tap.name, "weft0");
	return rc;
}

static int open_tap(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix prefix;

	assert_int_equal(ip_prefix_from_text(text, &prefix), 0);
	return prefix;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

/* The host is 10.255.0.1 and fd00:ff::1, and reaches two networks by us. */
static struct tap_uplink make_uplink(void)
{
	return (struct tap_uplink){
		.host_count = 2,
		.hosts = { prefix_of("10.255.0.1/30"), prefix_of("fd00:ff::1/64") },
		.route_count = 2,
		.routes = { { prefix_of("192.168.122.1/24"), ip_of("10.255.0.2") },
			    { prefix_of("fd00:122::1/64"), ip_of("fd00:ff::2") } },
		.mtu = 1400,
	};
}

static bool has_address(const char *name, const char *text)
{
	struct ip_prefix wanted = prefix_of(text), found[32];
	uint32_t count;

	assert_int_equal(
	    netlink_interface_addresses((int)if_nametoindex(name), found, 32, &count, NULL), 0);
	for (uint32_t i = 0; i < count; i++) {
		if (ip_prefix_equal(&found[i], &wanted))
			return true;
	}
	return false;
}

/* By trying to add it; a route that was not there is taken away again. */
static bool has_uplink_route(const char *name, const struct tap_route *route)
{
	int index = (int)if_nametoindex(name);

	if (netlink_add_route(index, &route->to, &route->via, NULL) == -EEXIST)
		return true;
	netlink_remove_route(index, &route->to, &route->via, NULL);
	return false;
}

static void assert_configured(const struct tap_uplink *uplink)
{
	struct netlink_link link;

	assert_int_equal(netlink_get_link("weft0", &link, NULL), 0);
	assert_int_equal(link.mtu, 1400);
	assert_true(link.up);
	assert_true(has_address("weft0", "10.255.0.1/30"));
	assert_true(has_address("weft0", "fd00:ff::1/64"));
	assert_true(has_uplink_route("weft0", &uplink->routes[0]));
	assert_true(has_uplink_route("weft0", &uplink->routes[1]));
}

static void test_uplink(void **state)
{
	struct fixture *f = *state;
	struct tap_uplink uplink = make_uplink(), fewer = make_uplink();
	int index;

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), 0);
	assert_configured(&uplink);
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), 0);
	assert_configured(&uplink);
	/* What is not named any more goes, the rest stays. */
	fewer.host_count = fewer.route_count = 1;
	assert_int_equal(tap_uplink_configure(&f->port, &fewer, &f->error), 0);
	assert_true(has_address("weft0", "10.255.0.1/30"));
	assert_false(has_address("weft0", "fd00:ff::1/64"));
	assert_true(has_uplink_route("weft0", &uplink.routes[0]));
	assert_false(has_uplink_route("weft0", &uplink.routes[1]));
	tap_uplink_withdraw(&f->port);
	assert_false(has_address("weft0", "10.255.0.1/30"));

	/* A route that the host has by another way is the host's: all or nothing. */
	index = (int)if_nametoindex("weft0");
	assert_int_equal(netlink_add_address(index, &uplink.hosts[0], NULL), 0);
	uplink.routes[1].via = ip_of("10.255.0.2");
	uplink.routes[1].to = prefix_of("10.9.0.0/16");
	{
		struct ip other = ip_of("10.255.0.9");
		struct ip_prefix wide = prefix_of("10.255.0.1/24");

		assert_int_equal(netlink_add_address(index, &wide, NULL), 0);
		assert_int_equal(netlink_add_route(index, &uplink.routes[1].to, &other, NULL), 0);
	}
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), -EEXIST);
	assert_non_null(strstr(f->error.text, "the host has one already: route to 10.9.0.0/16"));
	assert_false(has_address("weft0", "fd00:ff::1/64"));
	assert_false(has_uplink_route("weft0", &uplink.routes[0]));
	fixture_close(f);
}

/* On a tap that outlives us all is taken back at the end, and a predecessor's remains are ours. */
static void test_uplink_of_an_existing_tap(void **state)
{
	struct fixture *f = *state;
	struct tap_uplink uplink = make_uplink();
	int fd = open_tap("weft0"), index;

	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	index = (int)if_nametoindex("weft0");
	link_set("weft0", 1, 0);
	f->port.config.options.tap.existing = true;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(netlink_add_address(index, &uplink.hosts[0], NULL), 0);
	assert_int_equal(
	    netlink_add_route(index, &uplink.routes[0].to, &uplink.routes[0].via, NULL), 0);
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), 0);
	assert_configured(&uplink);
	fixture_close(f);
	assert_false(has_address("weft0", "10.255.0.1/30"));
	assert_false(has_address("weft0", "fd00:ff::1/64"));
	link_delete("weft0");
}

/* Somebody deletes the interface: it is made again, and its host's side too. */
static void test_comes_back(void **state)
{
	struct fixture *f = *state;
	struct tap_uplink uplink = make_uplink();

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), 0);
	link_delete("weft0");
	/* The worker's part: it finds out, whatever of the kernel's own frames came before. */
	while (fixture_receive(f) > 0)
		;
	while (!f->port.fault)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	while (f->port.fault)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_configured(&uplink);
	fixture_close(f);
}

static void test_given_tap_is_refused(void **state)
{
	struct fixture *f = *state;
	struct tap_uplink uplink = make_uplink();
	int fd = open_tap("weft0");

	f->files++;
	f->port.config.options.tap.name[0] = '\0';
	f->port.config.options.tap.fds[0] = fd;
	f->port.config.options.tap.fd_count = 1;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(tap_uplink_configure(&f->port, &uplink, &f->error), -EINVAL);
	assert_non_null(strstr(f->error.text, "given as an open file"));
	tap_uplink_withdraw(&f->port);
	fixture_close(f);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_uplink),
		TEST(test_uplink_of_an_existing_tap),
		TEST(test_comes_back),
		TEST(test_given_tap_is_refused),
	};
	int rc = namespace_enter();

	if (rc != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
		printf("skipped: no network namespace (%s) or no /dev/net/tun for this user\n",
		       strerror(-rc));
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
