/* The host's side of a tap uplink (tap_uplink.h): the way from one set of addresses and routes to
 * another, over netlink. Control thread. */
#include "vswitch/tap_uplink.h"

#include "vswitch/netlink.h"

#include <errno.h>
#include <string.h>

static bool has_host(const struct tap_uplink *uplink, const struct ip_prefix *host)
{
	for (uint32_t i = 0; i < uplink->host_count; i++) {
		if (ip_prefix_equal(&uplink->hosts[i], host))
			return true;
	}
	return false;
}

static bool has_route(const struct tap_uplink *uplink, const struct tap_route *route)
{
	for (uint32_t i = 0; i < uplink->route_count; i++) {
		if (ip_prefix_equal(&uplink->routes[i].to, &route->to) &&
		    ip_equal(&uplink->routes[i].via, &route->via))
			return true;
	}
	return false;
}

/* Takes back what `to` does not have. What is gone already is no error: the interface, an address
 * or a route may have been removed by somebody else. */
static void take_back(int index, const struct tap_uplink *from, const struct tap_uplink *to)
{
	for (uint32_t i = 0; i < from->route_count; i++) {
		const struct tap_route *route = &from->routes[i];

		if (!has_route(to, route))
			netlink_remove_route(index, &route->to, &route->via, NULL);
	}
	for (uint32_t i = 0; i < from->host_count; i++) {
		if (!has_host(to, &from->hosts[i]))
			netlink_remove_address(index, &from->hosts[i], NULL);
	}
}

/* The route may be there from a weftd that was killed, on a tap that outlived it: then it is the
 * very same, and can be removed as such. */
static int add_route(int index, const struct tap_route *route, struct error *error)
{
	int rc = netlink_add_route(index, &route->to, &route->via, error);

	if (rc == -EEXIST && netlink_remove_route(index, &route->to, &route->via, NULL) == 0)
		rc = netlink_add_route(index, &route->to, &route->via, error);
	if (rc == -EEXIST)
		error_prefix(error, "the host has one already: ");
	return rc;
}

static int add(int index, const struct tap_uplink *from, const struct tap_uplink *to,
	       struct error *error)
{
	int rc = netlink_set_up(index, to->mtu, error);

	for (uint32_t i = 0; rc == 0 && i < to->host_count; i++) {
		if (has_host(from, &to->hosts[i]))
			continue;
		rc = netlink_add_address(index, &to->hosts[i], error);
		if (rc == -EEXIST)
			rc = 0; /* from a weftd that was killed */
	}
	for (uint32_t i = 0; rc == 0 && i < to->route_count; i++) {
		if (!has_route(from, &to->routes[i]))
			rc = add_route(index, &to->routes[i], error);
	}
	return rc;
}

int tap_uplink_change(const char *name, const struct tap_uplink *from, const struct tap_uplink *to,
		      struct error *error)
{
	static const struct tap_uplink nothing;
	struct netlink_link link;
	int rc = netlink_get_link(name, &link, error);

	if (rc != 0)
		return rc;
	take_back(link.index, from, to);
	rc = to->host_count + to->route_count + to->mtu > 0 ? add(link.index, from, to, error) : 0;
	if (rc != 0) {
		error_prefix(error, "interface '%s': ", name);
		take_back(link.index, from, &nothing);
		take_back(link.index, to, &nothing);
	}
	return rc;
}
