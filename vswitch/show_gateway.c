/* What gateways know, as JSON (show.h, docs/api.md): neighbours, routes, sessions, leases, and the
 * gateway's part of a network. Control thread. */
#include "vswitch/show.h"

#include "nat/nat.h"
#include "route/advertise.h"
#include "route/dhcp6_server.h"
#include "route/dhcp_client.h"
#include "route/dhcp_server.h"
#include "route/dns.h"
#include "route/dns_tcp.h"
#include "route/fib.h"
#include "route/icmp.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "route/slaac_client.h"
#include "vswitch/config_forward.h"
#include "vswitch/gateway_internal.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* One list on its way. */
struct listing {
	const struct show_filter *filter;
	const struct gateway *gateway;
	json_t *array;
};

static bool is_full(const struct listing *listing)
{
	return json_array_size(listing->array) >= listing->filter->limit;
}

static const char *side_name(unsigned side)
{
	return side == GATEWAY_INNER ? "inside" : "outside";
}

static json_t *show_ip(const struct ip *ip)
{
	char text[IP_TEXT_LENGTH];

	return json_string(ip_to_text(ip, text));
}

static json_t *show_prefix(const struct ip_prefix *prefix)
{
	char text[IP_PREFIX_TEXT_LENGTH];

	return json_string(ip_prefix_to_text(prefix, text));
}

static json_t *show_mac(struct mac mac)
{
	char text[MAC_TEXT_LENGTH];

	return mac_is_zero(mac.bytes) ? json_null() : json_string(mac_to_text(mac, text));
}

/* Behind which port of the segment a MAC is. */
static json_t *show_place(const struct gateway *gateway, unsigned side, struct mac mac)
{
	const struct vswitch *vswitch = gateway->vswitch;
	const struct network *network = vswitch_find_network(vswitch, gateway->network);
	const struct mac_table *macs = side == GATEWAY_INNER ? network->macs : network->outer_macs;
	uint16_t port;

	if (mac_is_zero(mac.bytes) || macs == NULL)
		return json_null();
	port = mac_table_lookup(macs, mac_to_u64(mac.bytes), VLAN_NONE);
	if (port >= vswitch->port_limit || vswitch->ports[port] == NULL)
		return json_null();
	return json_string(vswitch->ports[port]->name);
}

static bool filter_ip(const struct show_filter *filter, const struct ip *ip)
{
	for (uint32_t i = 0; i < filter->ip_count; i++) {
		if (ip_equal(&filter->ips[i], ip))
			return true;
	}
	return !filter->has_guest;
}

static bool filter_guest(const struct show_filter *filter, const struct ip *ip, struct mac mac)
{
	for (uint32_t i = 0; i < filter->mac_count; i++) {
		if (memcmp(filter->macs[i].bytes, mac.bytes, MAC_LENGTH) == 0)
			return true;
	}
	return filter_ip(filter, ip);
}

static void add_neighbour(void *context, const struct neighbour *neighbour)
{
	struct listing *listing = context;

	if (is_full(listing) || !filter_guest(listing->filter, &neighbour->ip, neighbour->mac))
		return;
	json_array_append_new(
	    listing->array,
	    json_pack("{s:s, s:s, s:o, s:o, s:s, s:o}", "network", listing->gateway->network, "leg",
		      side_name(neighbour->leg), "ip", show_ip(&neighbour->ip), "mac",
		      show_mac(neighbour->mac), "state", neighbour_state_name(neighbour->state),
		      "port", show_place(listing->gateway, neighbour->leg, neighbour->mac)));
}

static void list_neighbours(struct listing *listing)
{
	neighbour_visit(listing->gateway->neighbours, add_neighbour, listing);
}

/* The gateway a leg's port belongs to, when that is not this one. */
static const char *peer_name(const struct gateway *gateway, uint16_t leg)
{
	const struct vswitch *vswitch = gateway->vswitch;
	const struct port *port = leg < vswitch->port_limit ? vswitch->ports[leg] : NULL;

	if (port == NULL || strcmp(port->config.network, gateway->network) == 0)
		return NULL;
	return port->config.network;
}

static const char *route_type(const struct fib_route *route, const char *peer)
{
	switch ((enum fib_action)route->next.action) {
	case FIB_LOCAL:
		return "local";
	case FIB_CONNECTED:
		return peer != NULL ? "peer" : "connected";
	case FIB_VIA:
		return "via";
	case FIB_NONE:
	case FIB_UNREACHABLE:
		break;
	}
	return "unreachable";
}

static const char *route_origin(const struct gateway *gateway, const struct fib_route *route)
{
	const struct gateway_config *config = gateway->config;
	bool v4 = ip_is_v4(&route->next.via);

	if (route->next.action != FIB_VIA)
		return route->next.action == FIB_UNREACHABLE ? "configured" : "address";
	for (uint32_t i = 0; i < config->route_count; i++) {
		if (ip_prefix_equal(&config->routes[i].to, &route->prefix))
			return "configured";
	}
	if (v4 ? config->uplink.has_gateway4 : config->uplink.has_gateway6)
		return "configured";
	if (v4 && config->uplink.dhcp)
		return "dhcp";
	return !v4 && config->uplink.slaac ? "ra" : "address";
}

static void list_routes(struct listing *listing)
{
	const struct gateway *gateway = listing->gateway;

	for (uint32_t i = 0; i < gateway->route_count && !is_full(listing); i++) {
		const struct fib_route *route = &gateway->routes[i];
		const char *peer = peer_name(gateway, route->next.leg);
		const char *type = route_type(route, peer);
		bool on_leg = route->next.action == FIB_VIA ||
			      (route->next.action == FIB_CONNECTED && peer == NULL);
		const struct port *outer = gateway->legs[GATEWAY_OUTER].port;
		bool outside = outer != NULL && route->next.leg == outer->index;
		bool match = !listing->filter->has_guest;

		for (uint32_t n = 0; n < listing->filter->ip_count; n++)
			match |= ip_prefix_contains(&route->prefix, &listing->filter->ips[n]);
		if (!match)
			continue;
		json_array_append_new(
		    listing->array,
		    json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:s}", "network", gateway->network,
			      "to", show_prefix(&route->prefix), "via",
			      route->next.action == FIB_VIA ? show_ip(&route->next.via)
							    : json_null(),
			      "leg", on_leg ? json_string(side_name(outside)) : json_null(), "peer",
			      peer != NULL ? json_string(peer) : json_null(), "type", type,
			      "origin", route_origin(gateway, route)));
	}
}

static json_t *show_end(const struct ip *ip, uint16_t number, bool has_port)
{
	return json_pack("{s:o, s:o}", "ip", show_ip(ip), "port",
			 has_port ? json_integer(number) : json_null());
}

static json_t *show_protocol(uint8_t protocol)
{
	char text[8];

	switch (protocol) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	case IPPROTO_ICMPV6:
		return json_string("icmpv6");
	default:
		snprintf(text, sizeof(text), "%u", protocol);
		return json_string(text);
	}
}

static bool add_session(void *context, const struct nat_session *session)
{
	struct listing *listing = context;
	uint8_t p = session->protocol;
	bool ports = p == IPPROTO_TCP || p == IPPROTO_UDP;
	bool numbers = ports || p == IPPROTO_ICMP || p == IPPROTO_ICMPV6;

	if (!filter_ip(listing->filter, &session->inside) ||
	    (listing->filter->protocol >= 0 && listing->filter->protocol != p))
		return true;
	json_array_append_new(
	    listing->array,
	    json_pack("{s:s, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "network",
		      listing->gateway->network, "protocol", show_protocol(p), "state",
		      nat_state_names[session->state], "direction",
		      session->from_outside ? "in" : "out", "forward", (int)session->forward,
		      "inside", show_end(&session->inside, session->inside_port, numbers),
		      "outside", show_end(&session->outside, session->outside_port, numbers),
		      "remote", show_end(&session->remote, session->remote_port, ports), "expires",
		      (json_int_t)session->left, "age", (json_int_t)session->age, "packets_out",
		      (json_int_t)session->packets_out, "packets_in",
		      (json_int_t)session->packets_in));
	return !is_full(listing);
}

static void list_sessions(struct listing *listing)
{
	if (listing->gateway->nat != NULL && !is_full(listing))
		nat_visit(listing->gateway->nat, gateway_boottime(), add_session, listing);
}

static json_t *show_client(const struct lease *lease)
{
	char text[3 * DHCP_CLIENT_MAX + 1];

	if (lease->client_length == 0)
		return json_null();
	for (unsigned i = 0; i < lease->client_length; i++)
		snprintf(text + 3ul * i, sizeof(text) - 3ul * i, "%02x:", lease->client[i]);
	text[3 * lease->client_length - 1] = '\0';
	return json_string(text);
}

static bool add_lease(void *context, const struct lease *lease)
{
	static const char *const states[] = {
		[LEASE_OFFERED] = "offered",
		[LEASE_BOUND] = "bound",
		[LEASE_DECLINED] = "declined",
	};
	struct listing *listing = context;
	uint64_t wall = gateway_wall();

	if (!filter_guest(listing->filter, &lease->ip, lease->mac))
		return true;
	json_array_append_new(
	    listing->array,
	    json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o, s:o}", "network",
		listing->gateway->network, "ip", show_ip(&lease->ip), "mac", show_mac(lease->mac),
		"client", show_client(lease), "iaid",
		ip_is_v4(&lease->ip) ? json_null() : json_integer(lease->iaid), "host",
		lease->host[0] != '\0' ? json_string(lease->host) : json_null(), "state",
		states[lease->state], "reserved", (int)lease->reserved, "expires",
		lease->expires == LEASE_FOREVER
		    ? json_null()
		    : json_integer(lease->expires > wall ? (json_int_t)(lease->expires - wall) : 0),
		"port", show_place(listing->gateway, GATEWAY_INNER, lease->mac)));
	return !is_full(listing);
}

static void list_leases(struct listing *listing)
{
	if (!is_full(listing))
		lease_visit(listing->gateway->leases, add_lease, listing);
}

static json_t *list(const struct vswitch *vswitch, const struct show_filter *filter,
		    void (*add)(struct listing *listing))
{
	struct listing listing = { .filter = filter, .array = json_array() };

	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		const struct network *network = vswitch->networks[i];

		if (network == NULL || network->gateway == NULL ||
		    (filter->network != NULL && strcmp(filter->network, network->config.name) != 0))
			continue;
		listing.gateway = network->gateway;
		add(&listing);
	}
	return listing.array;
}

json_t *show_neighbours(const struct vswitch *vswitch, const struct show_filter *filter)
{
	return list(vswitch, filter, list_neighbours);
}

json_t *show_routes(const struct vswitch *vswitch, const struct show_filter *filter)
{
	return list(vswitch, filter, list_routes);
}

json_t *show_sessions(const struct vswitch *vswitch, const struct show_filter *filter)
{
	return list(vswitch, filter, list_sessions);
}

json_t *show_leases(const struct vswitch *vswitch, const struct show_filter *filter)
{
	return list(vswitch, filter, list_leases);
}

static json_t *show_prefixes(const struct ip_prefix *prefixes, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, show_prefix(&prefixes[i]));
	return array;
}

static json_t *show_inside(const struct gateway *gateway)
{
	static const char *const dhcp6[] = {
		[DHCP6_OFF] = "off", [DHCP6_STATELESS] = "stateless", [DHCP6_STATEFUL] = "stateful"
	};
	const struct gateway_config *config = gateway->config;
	json_t *peers = json_array();
	struct ip link_local = ip_link_local_of(config->mac.bytes);

	for (uint32_t i = 0; i < config->peer_count; i++)
		json_array_append_new(peers, json_string(config->peers[i].name));
	return json_pack("{s:o, s:i, s:o, s:o, s:b, s:s, s:b, s:b, s:b, s:b, s:o, s:I}", "mac",
			 show_mac(config->mac), "mtu", (int)config->mtu, "addresses",
			 show_prefixes(config->addresses, config->address_count), "link_local",
			 gateway_config_has_ipv6(config) ? show_ip(&link_local) : json_null(),
			 "dhcp", (int)(gateway->dhcp != NULL), "dhcp6",
			 dhcp6[gateway->dhcp6 != NULL ? config->dhcp6.mode : DHCP6_OFF], "ra",
			 (int)(gateway->advertise != NULL), "dns", (int)(gateway->dns != NULL),
			 "antispoof", (int)config->antispoof, "mss_clamp", (int)config->mss_clamp,
			 "peers", peers, "leases", (json_int_t)lease_table_count(gateway->leases));
}

static json_t *show_dhcp_client(const struct gateway *gateway)
{
	const struct dhcp_client_state *state;
	uint64_t now = gateway_now();

	if (gateway->dhcp_client == NULL)
		return json_null();
	state = dhcp_client_state(gateway->dhcp_client);
	if (state == NULL)
		return json_pack("{s:s, s:n, s:n}", "state", "searching", "server", "expires");
	return json_pack("{s:s, s:o, s:o}", "state", "bound", "server", show_ip(&state->server),
			 "expires",
			 state->expires_at == UINT64_MAX || state->expires_at < now
			     ? json_null()
			     : json_integer((json_int_t)((state->expires_at - now) / 1000)));
}

static json_t *show_slaac_client(const struct gateway *gateway)
{
	const struct slaac_state *state;

	if (gateway->slaac_client == NULL)
		return json_null();
	state = slaac_client_state(gateway->slaac_client);
	if (state->router_count == 0)
		return json_pack("{s:s, s:n, s:n}", "state", "searching", "server", "expires");
	return json_pack("{s:s, s:o, s:n}", "state", "bound", "server",
			 show_ip(&state->routers[0].ip), "expires");
}

static json_t *show_outside(const struct gateway *gateway)
{
	const struct gateway_outside *outside = &gateway->outside;
	json_t *gateways, *dns;

	if (gateway->legs[GATEWAY_OUTER].port == NULL)
		return json_null();
	gateways = json_array();
	dns = json_array();
	if (outside->has_gateway4)
		json_array_append_new(gateways, show_ip(&outside->gateway4));
	if (outside->has_gateway6)
		json_array_append_new(gateways, show_ip(&outside->gateway6));
	for (unsigned i = 0; i < outside->dns.count; i++)
		json_array_append_new(dns, show_ip(&outside->dns.ips[i]));
	return json_pack("{s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "mac",
			 show_mac(gateway->legs[GATEWAY_OUTER].route.mac), "mtu",
			 (int)gateway->legs[GATEWAY_OUTER].route.mtu, "addresses",
			 show_prefixes(outside->addresses, outside->address_count), "gateways",
			 gateways, "dns", dns, "dhcp", show_dhcp_client(gateway), "slaac",
			 show_slaac_client(gateway));
}

static json_t *show_nat(const struct gateway *gateway)
{
	const struct nat_config *config = &gateway->config->nat;
	json_t *forwards;
	struct nat_stats stats;

	if (gateway->nat == NULL)
		return json_null();
	forwards = json_array();
	for (uint32_t i = 0; i < config->forward_count; i++) {
		const struct nat_forward *forward = &config->forwards[i];
		char listen[CONFIG_LISTEN_TEXT_LENGTH], to[CONFIG_LISTEN_TEXT_LENGTH];

		json_array_append_new(
		    forwards,
		    json_pack("{s:s, s:s, s:s, s:o}", "protocol", config_forward_protocol(forward),
			      "listen", config_forward_listen(forward, listen), "to",
			      config_forward_to(forward, to), "source",
			      forward->has_source ? show_prefix(&forward->source) : json_null()));
	}
	nat_get_stats(gateway->nat, &stats);
	return json_pack("{s:I, s:I, s:i, s:o}", "sessions", (json_int_t)stats.sessions, "limit",
			 (json_int_t)stats.limit, "guest_limit", (int)config->guest_session_limit,
			 "forwards", forwards);
}

void show_gateway(const struct network *network, json_t *object)
{
	const struct gateway *gateway = network->gateway;
	bool there = gateway != NULL;

	json_object_set_new(object, "gateway", there ? show_inside(gateway) : json_null());
	json_object_set_new(object, "outside", there ? show_outside(gateway) : json_null());
	json_object_set_new(object, "nat", there ? show_nat(gateway) : json_null());
	json_object_set_new(object, "counters",
			    there ? show_gateway_counters(gateway) : json_null());
}
