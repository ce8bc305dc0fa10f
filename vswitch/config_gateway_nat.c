/* Reads how a network translates addresses, its routes and its peers (config_gateway.h). Control
 * thread, weftd --check, fuzzer. */
#include "nat/nat.h"
#include "vswitch/config_gateway.h"
#include "vswitch/port.h"
#include "vswitch/port_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SESSIONS_DEFAULT       1000000u
#define GUEST_SESSIONS_DEFAULT 65536u
#define POOL_MAX	       256u
#define ROUTES_MAX	       1024u
#define PEERS_MAX	       256u

static int read_filtering(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;
	unsigned word;
	int rc = config_node_word(file, value, nat_filtering_names, &word, error);

	if (rc == 0)
		draft->gateway->nat.filtering = (enum nat_filtering)word;
	return rc;
}

static bool is_last(const struct ip_range *range)
{
	return ip_equal(&range->first, &range->last);
}

static void go_on(struct ip_range *range)
{
	for (int i = 15; i >= 0; i--)
		if (++range->first.bytes[i] != 0)
			break;
}

/* A network stands for all of its addresses: outside none of them is special. */
static int read_pool_range(const char *file, const struct config_node *value,
			   struct ip_range *range, struct error *error)
{
	struct ip_prefix network;
	int rc;

	if (value->scalar == NULL || strchr(value->scalar, '/') == NULL)
		return config_value_range(file, value, AF_UNSPEC, range, error);
	rc = config_value_network(file, value, &network, error);
	if (rc != 0)
		return rc;
	range->first = network.ip;
	range->last = ip_prefix_last(&network);
	if (!ip_is_host(&range->first) || !ip_is_host(&range->last))
		return config_error(file, value, error,
				    "'%.80s' has addresses that no host can have; allowed: a "
				    "network of hosts",
				    value->scalar);
	return 0;
}

static int read_pool_part(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct nat_config *nat = out;
	struct ip_range range;
	int rc = read_pool_range(file, value, &range, error);

	for (; rc == 0; go_on(&range)) {
		struct ip *ip;

		if (nat->pool_count == POOL_MAX)
			return config_error(file, value, error,
					    "has too many addresses; allowed: at most %u in all",
					    POOL_MAX);
		for (uint32_t i = 0; i < nat->pool_count; i++)
			if (ip_equal(&nat->pool[i], &range.first))
				return config_error(file, value, error,
						    "has an address that is in the list already; "
						    "allowed: each once");
		ip = config_value_append(&nat->pool, &nat->pool_count, sizeof(*ip), error);
		if (ip == NULL)
			return -ENOMEM;
		*ip = range.first;
		if (is_last(&range))
			break;
	}
	return rc;
}

static int read_pool(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each(file, value, "addresses, ranges or networks", POOL_MAX,
				 read_pool_part, &draft->gateway->nat, error);
}

static int read_sessions(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u32(file, value, 1, NAT_SESSIONS_MAX,
				&draft->gateway->nat.session_limit, error);
}

static int read_guest_sessions(const char *file, const struct config_node *value, void *out,
			       struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u32(file, value, 1, NAT_SESSIONS_MAX,
				&draft->gateway->nat.guest_session_limit, error);
}

int config_read_nat(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	static const struct config_key keys[] = {
		{ "filtering", read_filtering, false, "who outside may answer a guest" },
		{ "pool", read_pool, false, "addresses guests have outside" },
		{ "sessions", read_sessions, false, "at most, in all" },
		{ "guest-sessions", read_guest_sessions, false, "at most, of one guest" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };

	return config_node_read(file, value, "'nat'", tables, 1, out, error);
}

/* ---- routes and peers ---- */

static int read_to(const char *file, const struct config_node *value, void *out,
		   struct error *error)
{
	struct gateway_route *route = out;

	return config_value_network(file, value, &route->to, error);
}

static int read_via(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct gateway_route *route = out;

	return config_value_ip(file, value, AF_UNSPEC, &route->via, error);
}

static int read_route(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	static const struct config_key keys[] = {
		{ "to", read_to, true, "ADDRESS/LENGTH" },
		{ "via", read_via, true, "address of a router" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct gateway_config *gateway = out;
	struct gateway_route *route =
	    config_value_append(&gateway->routes, &gateway->route_count, sizeof(*route), error);

	if (route == NULL)
		return -ENOMEM;
	return config_node_read(file, value, "a route", tables, 1, route, error);
}

int config_read_routes(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;

	if (value->kind != CONFIG_SEQUENCE)
		return config_error(file, value, error,
				    "is no list of routes; allowed: [{to: PREFIX, via: ADDRESS}]");
	return config_value_each(file, value, "routes", ROUTES_MAX, read_route, draft->gateway,
				 error);
}

static int read_peer(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct network_draft *draft = out;
	struct gateway_config *gateway = draft->gateway;
	struct gateway_peer *peer =
	    config_value_append(&gateway->peers, &gateway->peer_count, sizeof(*peer), error);
	int rc;

	if (peer == NULL)
		return -ENOMEM;
	rc = config_node_text(file, value, peer->name, sizeof(peer->name), error);
	if (rc < 0)
		return rc;
	if (strcmp(peer->name, draft->network.name) == 0)
		return config_error(file, value, error,
				    "is the network itself; allowed: other networks of mode "
				    "routed");
	for (uint32_t i = 0; i + 1 < gateway->peer_count; i++)
		if (strcmp(gateway->peers[i].name, peer->name) == 0)
			return config_error(file, value, error,
					    "is in the list twice; allowed: each once");
	return 0;
}

static int compare_peers(const void *a, const void *b)
{
	return strcmp(((const struct gateway_peer *)a)->name,
		      ((const struct gateway_peer *)b)->name);
}

int config_read_peers(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;
	struct gateway_config *gateway = draft->gateway;
	int rc =
	    config_value_each(file, value, "names of networks", PEERS_MAX, read_peer, draft, error);

	gateway->lines.peers = value->line;
	if (rc == 0)
		qsort(gateway->peers, gateway->peer_count, sizeof(gateway->peers[0]),
		      compare_peers);
	return rc;
}

/* ---- afterwards ---- */

int config_finish_nat(const char *file, struct network_draft *draft, struct error *error)
{
	struct gateway_config *gateway = draft->gateway;
	struct nat_config *nat = &gateway->nat;

	nat->enabled = draft->mode->translates;
	if (!nat->enabled)
		return 0;
	nat->host_listens = gateway->uplink.present && draft->uplink.type == &port_user;
	if (nat->session_limit == 0)
		nat->session_limit = SESSIONS_DEFAULT;
	if (nat->guest_session_limit == 0)
		nat->guest_session_limit = nat->session_limit < GUEST_SESSIONS_DEFAULT
					       ? nat->session_limit
					       : GUEST_SESSIONS_DEFAULT;
	if (nat->guest_session_limit > nat->session_limit)
		return config_error(file, config_draft_node(draft, "nat", "guest-sessions"), error,
				    "is more than all guests together can have; allowed: 1 to %u",
				    nat->session_limit);
	for (uint32_t i = 0; i < nat->pool_count; i++) {
		char text[IP_TEXT_LENGTH];

		if (gateway_config_find_prefix(gateway, &nat->pool[i]) != NULL)
			return config_error(file, config_draft_node(draft, "nat", "pool"), error,
					    "%s is an address of the network's inside; allowed: "
					    "addresses outside",
					    ip_to_text(&nat->pool[i], text));
	}
	return 0;
}

/* Whether the uplink can have a prefix with `ip` in it: what is static is known, the rest not. */
static bool may_be_outside(const struct uplink_config *uplink, const struct ip *ip)
{
	bool v4 = ip_is_v4(ip);

	if (!uplink->present)
		return false;
	for (uint8_t i = 0; i < uplink->address_count; i++)
		if (ip_prefix_contains(&uplink->addresses[i], ip))
			return !ip_equal(&uplink->addresses[i].ip, ip);
	if (!uplink->dhcp && !uplink->slaac && uplink->address_count == 0)
		return true; /* the type knows */
	return v4 ? uplink->dhcp : uplink->slaac || ip_is_link_local(ip);
}

static int check_route(const char *file, const struct config_node *node,
		       const struct gateway_config *gateway, uint32_t i, struct error *error)
{
	const struct gateway_route *route = &gateway->routes[i];
	char text[IP_TEXT_LENGTH];

	if (ip_is_v4(&route->to.ip) != ip_is_v4(&route->via))
		return config_error(file, node, error,
				    "'to' and 'via' are of two families; allowed: both IPv4 or "
				    "both IPv6");
	if (config_guest_fault(gateway, &route->via)[0] != '\0' &&
	    (gateway_config_find_prefix(gateway, &route->via) != NULL ||
	     !may_be_outside(&gateway->uplink, &route->via)))
		return config_error(file, node, error,
				    "no router can be at %s; allowed: another host of the "
				    "network, or of the uplink's",
				    ip_to_text(&route->via, text));
	for (uint32_t j = 0; j < i; j++)
		if (ip_prefix_equal(&gateway->routes[j].to, &route->to))
			return config_error(
			    file, node, error,
			    "there is a route to this prefix already; allowed: one for each");
	return 0;
}

int config_finish_routes(const char *file, struct network_draft *draft, struct error *error)
{
	const struct config_node *node = config_draft_node(draft, "routes", NULL);
	struct error all = { "" };
	int result = 0;

	for (uint32_t i = 0; i < draft->gateway->route_count; i++) {
		struct error one = { "" };
		int rc = check_route(file, config_draft_value(node, i), draft->gateway, i, &one);

		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}
