/* A network namespace of a test's own, and what is in it: links, addresses, routes, by libnl alone.
 * Include it in one file of a program, after cmocka. */
#ifndef WEFT_TESTS_NAMESPACE_H
#define WEFT_TESTS_NAMESPACE_H

#include <errno.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A namespace of our own; without root in a user namespace too, as its root. 0, or -errno when that
 * is not allowed here: then the test has nothing to do. */
static int namespace_enter(void)
{
	uid_t user = geteuid();
	FILE *map;

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return -errno;
	map = fopen("/proc/self/uid_map", "w");
	if (!map)
		return -errno;
	fprintf(map, "0 %u 1", (unsigned)user);
	return fclose(map) == 0 ? 0 : -errno;
}

static inline struct nl_sock *namespace_socket(void)
{
	struct nl_sock *socket = nl_socket_alloc();

	assert_non_null(socket);
	assert_int_equal(nl_connect(socket, NETLINK_ROUTE), 0);
	return socket;
}

static inline void link_set(const char *name, unsigned up, unsigned mtu)
{
	struct nl_sock *socket = namespace_socket();
	struct rtnl_link *change = rtnl_link_alloc(), *link;

	assert_int_equal(rtnl_link_get_kernel(socket, 0, name, &link), 0);
	if (up)
		rtnl_link_set_flags(change, IFF_UP);
	else
		rtnl_link_unset_flags(change, IFF_UP);
	if (mtu > 0)
		rtnl_link_set_mtu(change, mtu);
	assert_int_equal(rtnl_link_change(socket, link, change, 0), 0);
	rtnl_link_put(change);
	rtnl_link_put(link);
	nl_socket_free(socket);
}

/* Both ends are up. */
static inline void veth_add(const char *name, const char *peer)
{
	struct nl_sock *socket = namespace_socket();

	assert_int_equal(rtnl_link_veth_add(socket, name, peer, getpid()), 0);
	nl_socket_free(socket);
	link_set(name, 1, 0);
	link_set(peer, 1, 0);
}

static inline void link_delete(const char *name)
{
	struct nl_sock *socket = namespace_socket();
	struct rtnl_link *link = rtnl_link_alloc();

	rtnl_link_set_name(link, name);
	assert_int_equal(rtnl_link_delete(socket, link), 0);
	rtnl_link_put(link);
	nl_socket_free(socket);
}

static inline void address_add(const char *name, const char *text)
{
	struct nl_sock *socket = namespace_socket();
	struct rtnl_addr *address = rtnl_addr_alloc();
	struct nl_addr *local;

	assert_int_equal(nl_addr_parse(text, AF_UNSPEC, &local), 0);
	rtnl_addr_set_ifindex(address, (int)if_nametoindex(name));
	assert_int_equal(rtnl_addr_set_local(address, local), 0);
	if (nl_addr_get_family(local) == AF_INET6)
		rtnl_addr_set_flags(address, IFA_F_NODAD);
	assert_int_equal(rtnl_addr_add(socket, address, 0), 0);
	nl_addr_put(local);
	rtnl_addr_put(address);
	nl_socket_free(socket);
}

/* A default route out of the interface. */
static inline void default_route_add(const char *name, int family)
{
	struct nl_sock *socket = namespace_socket();
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *to;

	assert_int_equal(nl_addr_parse("default", family, &to), 0);
	rtnl_route_set_family(route, (uint8_t)family);
	rtnl_route_set_scope(route, RT_SCOPE_LINK);
	rtnl_route_set_dst(route, to);
	rtnl_route_nh_set_ifindex(hop, (int)if_nametoindex(name));
	rtnl_route_add_nexthop(route, hop);
	assert_int_equal(rtnl_route_add(socket, route, 0), 0);
	nl_addr_put(to);
	rtnl_route_put(route);
	nl_socket_free(socket);
}

#endif
