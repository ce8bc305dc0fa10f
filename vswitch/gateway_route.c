/* The forwarding table of a gateway: what its configuration, its legs and its peers come to
 * (gateway_internal.h). Control thread. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "nat/nat.h"
#include "route/dhcp_client.h"
#include "route/fib.h"

#include <errno.h>
#include <stdlib.h>

struct table {
	struct fib_route *routes;
	uint32_t count;
	uint32_t room;
	bool failed;
};

static void table_add(struct table *table, const struct ip_prefix *prefix, enum fib_action action,
		      const struct port *leg, const struct ip *via)
{
	static const struct ip none;

	if (table->count == table->room) {
		uint32_t room = table->room > 0 ? 2 * table->room : 64;
		struct fib_route *routes = realloc(table->routes, room * sizeof(*routes));

		if (routes == NULL) {
			table->failed = true;
			return;
		}
		table->routes = routes;
		table->room = room;
	}
	table->routes[table->count++] = (struct fib_route){
		.prefix = ip_prefix_network(prefix),
		.next = { .action = (uint8_t)action,
			  .leg = leg != NULL ? leg->index : GATEWAY_NO_PORT,
			  .via = via != NULL ? *via : none },
	};
}

static void table_add_host(struct table *table, const struct ip *ip, enum fib_action action,
			   const struct port *leg)
{
	struct ip_prefix host = { *ip, 128 };

	table_add(table, &host, action, leg, NULL);
}

/* Whether a prefix of `leg` would take addresses away from the prefix of another, which stands in
 * the table already: DHCP and router advertisements outside may say what no configuration could,
 * and what is inside stays inside (RFC 4787, REQ-7). */
static bool hides_another(const struct table *table, const struct ip_prefix *prefix,
			  const struct port *leg)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct fib_route *route = &table->routes[i];

		if (route->next.action == FIB_CONNECTED && route->next.leg != leg->index &&
		    route->prefix.length <= prefix->length &&
		    ip_prefix_overlaps(&route->prefix, prefix))
			return true;
	}
	return false;
}

/* A leg's own addresses, the broadcasts of their prefixes (RFC 1812, 5.3.5.2), and the prefixes. */
static void table_add_leg(struct table *table, const struct gateway_leg *leg)
{
	for (unsigned i = 0; i < leg->route.address_count; i++) {
		const struct ip_prefix *address = &leg->route.addresses[i];

		table_add_host(table, &address->ip, FIB_LOCAL, leg->port);
		if (hides_another(table, address, leg->port))
			continue;
		/* A /31 has no broadcast (RFC 3021). */
		if (ip_is_v4(&address->ip) && address->length < 127) {
			struct ip_prefix network = ip_prefix_network(address);
			struct ip last = ip_prefix_last(address);

			table_add_host(table, &network.ip, FIB_LOCAL, leg->port);
			table_add_host(table, &last, FIB_LOCAL, leg->port);
		}
		table_add(table, address, FIB_CONNECTED, leg->port, NULL);
	}
}

static void table_add_default(struct table *table, const struct ip *via, const struct port *leg)
{
	struct ip_prefix all = { .length = ip_is_v4(via) ? IP_V4_LENGTH : 0 };

	if (ip_is_v4(via))
		all.ip = ip_from_v4(0);
	table_add(table, &all, FIB_VIA, leg, via);
}

/* The leg on whose link an address is. */
static const struct gateway_leg *find_leg(const struct gateway *gateway, const struct ip *ip)
{
	for (unsigned i = 0; i < GATEWAY_SIDES; i++) {
		if (gateway->legs[i].port != NULL && route_leg_reaches(&gateway->legs[i].route, ip))
			return &gateway->legs[i];
	}
	return NULL;
}

/* What has to be translated needs an address to leave from: without it there is no way, and guests
 * are told so. */
static bool can_leave(const struct gateway *gateway, bool v4)
{
	const struct gateway_outside *outside = &gateway->outside;
	const struct nat_config *nat = &gateway->config->nat;

	if (!config_modes[gateway->mode].translates)
		return true;
	for (unsigned i = 0; i < outside->address_count; i++) {
		if (ip_is_v4(&outside->addresses[i].ip) == v4)
			return true;
	}
	for (uint32_t i = 0; i < nat->pool_count; i++) {
		if (ip_is_v4(&nat->pool[i]) == v4)
			return true;
	}
	return false;
}

static void table_add_outside(struct table *table, const struct gateway *gateway)
{
	const struct gateway_leg *leg = &gateway->legs[GATEWAY_OUTER];
	const struct gateway_outside *outside = &gateway->outside;

	if (leg->port == NULL)
		return;
	for (uint32_t i = 0; i < gateway->config->nat.pool_count; i++)
		table_add_host(table, &gateway->config->nat.pool[i], FIB_LOCAL, leg->port);
	/* Its own addresses are its own whatever the link does; the way out is there only with it.
	 */
	for (unsigned i = 0; i < outside->address_count && !outside->link; i++)
		table_add_host(table, &outside->addresses[i].ip, FIB_LOCAL, leg->port);
	if (!outside->link)
		return;
	table_add_leg(table, leg);
	if (gateway->dhcp_client != NULL) {
		const struct dhcp_client_state *state = dhcp_client_state(gateway->dhcp_client);

		for (uint32_t i = 0; state != NULL && i < state->route_count; i++) {
			bool on_link = ip_is_unspecified(&state->routes[i].via);

			if (hides_another(table, &state->routes[i].to, leg->port))
				continue;
			table_add(table, &state->routes[i].to, on_link ? FIB_CONNECTED : FIB_VIA,
				  leg->port, &state->routes[i].via);
		}
	}
	if (outside->has_gateway4 && can_leave(gateway, true))
		table_add_default(table, &outside->gateway4, leg->port);
	if (outside->has_gateway6 && can_leave(gateway, false))
		table_add_default(table, &outside->gateway6, leg->port);
}

static bool is_peer(const struct gateway_config *config, const char *name)
{
	for (uint32_t i = 0; i < config->peer_count; i++) {
		if (strcmp(config->peers[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The segments of peers: the way is there in both directions when either names the other, as one
 * without its way back is of no use. */
static void table_add_peers(struct table *table, const struct gateway *gateway)
{
	const struct vswitch *vswitch = gateway->vswitch;

	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		const struct network *network = vswitch->networks[i];
		const struct gateway *peer = network != NULL ? network->gateway : NULL;
		const struct gateway_leg *leg;

		if (peer == NULL || peer == gateway || !config_modes[peer->mode].routes ||
		    (!is_peer(gateway->config, peer->network) &&
		     !is_peer(peer->config, gateway->network)))
			continue;
		leg = &peer->legs[GATEWAY_INNER];
		for (unsigned a = 0; leg->port != NULL && a < leg->route.address_count; a++)
			table_add(table, &leg->route.addresses[a], FIB_CONNECTED, leg->port, NULL);
	}
}

static void table_fill(struct table *table, const struct gateway *gateway)
{
	const struct gateway_leg *inner = &gateway->legs[GATEWAY_INNER];
	const struct gateway_config *config = gateway->config;

	if (inner->port != NULL)
		table_add_leg(table, inner);
	if (!config_modes[gateway->mode].routes) {
		struct ip_prefix all = { .length = 0 }, all4 = { ip_from_v4(0), IP_V4_LENGTH };

		/* An isolated segment has no way out, and says so. */
		table_add(table, &all, FIB_UNREACHABLE, NULL, NULL);
		table_add(table, &all4, FIB_UNREACHABLE, NULL, NULL);
		return;
	}
	for (uint32_t i = 0; i < config->route_count; i++) {
		const struct gateway_leg *leg = find_leg(gateway, &config->routes[i].via);

		if (leg != NULL && (leg == inner || gateway->outside.link))
			table_add(table, &config->routes[i].to, FIB_VIA, leg->port,
				  &config->routes[i].via);
	}
	table_add_peers(table, gateway);
	table_add_outside(table, gateway);
}

static bool same_route(const struct fib_route *a, const struct fib_route *b)
{
	return ip_prefix_equal(&a->prefix, &b->prefix) && a->next.action == b->next.action &&
	       a->next.leg == b->next.leg && ip_equal(&a->next.via, &b->next.via);
}

static bool same_table(const struct gateway *gateway, const struct table *table)
{
	if (gateway->fib == NULL || gateway->route_count != table->count)
		return false;
	for (uint32_t i = 0; i < table->count; i++) {
		if (!same_route(&gateway->routes[i], &table->routes[i]))
			return false;
	}
	return true;
}

int gateway_build_routes(struct gateway *gateway)
{
	struct table table = { 0 };
	struct fib *fib = NULL;

	table_fill(&table, gateway);
	if (!table.failed && same_table(gateway, &table)) {
		free(table.routes);
		return 0;
	}
	if (!table.failed)
		fib = fib_create(table.routes, table.count);
	if (fib == NULL) {
		free(table.routes);
		return -ENOMEM;
	}
	free(gateway->routes);
	gateway->routes = table.routes;
	gateway->route_count = table.count;
	/* Two changes without a publication between them: the first was never seen. */
	if (gateway->old_fib == NULL)
		gateway->old_fib = gateway->fib;
	else
		fib_destroy(gateway->fib);
	gateway->fib = fib;
	gateway->unpublished = true;
	return 0;
}
