/* What the host does for a gateway's uplink (gateway_internal.h): a tap's other side, with its
 * address and the routes to the network, and the ports that a user uplink listens on. Control
 * thread. Everything is taken back when the uplink goes. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "vswitch/port_user.h"
#include "vswitch/tap_uplink.h"

#include <netinet/in.h>
#include <stdlib.h>

/* The address of the outer leg that a forward's host side leads to. */
static const struct ip *outer_address(const struct gateway *gateway, bool v4)
{
	for (unsigned i = 0; i < gateway->outside.address_count; i++) {
		const struct ip *ip = &gateway->outside.addresses[i].ip;

		if (ip_is_v4(ip) == v4)
			return ip;
	}
	return NULL;
}

static void forward_address(const struct nat_forward *forward, struct ip *host)
{
	static const struct ip all6;

	if (forward->has_address)
		*host = forward->address;
	else
		*host = ip_is_v4(&forward->to) ? ip_from_v4(0) : all6;
}

/* Calls change() for each port and protocol of a forward. */
static void for_each_port(struct gateway *gateway, const struct nat_forward *forward,
			  void (*change)(struct gateway *gateway, const struct nat_forward *forward,
					 uint8_t protocol, uint16_t port))
{
	for (uint32_t port = forward->listen_first; port <= forward->listen_last; port++) {
		if (forward->protocol & NAT_FORWARD_TCP)
			change(gateway, forward, IPPROTO_TCP, (uint16_t)port);
		if (forward->protocol & NAT_FORWARD_UDP)
			change(gateway, forward, IPPROTO_UDP, (uint16_t)port);
	}
}

static void listen_port(struct gateway *gateway, const struct nat_forward *forward,
			uint8_t protocol, uint16_t port)
{
	const struct ip *guest = outer_address(gateway, ip_is_v4(&forward->to));
	struct error error;
	struct ip host;

	forward_address(forward, &host);
	if (guest == NULL)
		return;
	if (port_user_add_forward(gateway->uplink, protocol, &host, port, guest, port, &error) != 0)
		log_error("network %s: forward of port %u: %s", gateway->network, port, error.text);
}

static void close_port(struct gateway *gateway, const struct nat_forward *forward, uint8_t protocol,
		       uint16_t port)
{
	struct error error;
	struct ip host;

	forward_address(forward, &host);
	/* One that could not be opened is not there; that was said then. */
	port_user_remove_forward(gateway->uplink, protocol, &host, port, &error);
}

static void start_forwards(struct gateway *gateway)
{
	const struct nat_config *nat = &gateway->config->nat;

	if (gateway->forwards != NULL || nat->forward_count == 0)
		return;
	gateway->forwards = calloc(nat->forward_count, sizeof(*gateway->forwards));
	if (gateway->forwards == NULL) {
		log_error("network %s: out of memory, no forwards", gateway->network);
		return;
	}
	gateway->forward_count = nat->forward_count;
	for (uint32_t i = 0; i < nat->forward_count; i++) {
		gateway->forwards[i] = nat->forwards[i];
		for_each_port(gateway, &gateway->forwards[i], listen_port);
	}
}

/* The host is the next hop: it has that address on the tap. What is not translated needs its way
 * back as well. */
static void start_tap(struct gateway *gateway)
{
	const struct uplink_config *config = &gateway->config->uplink;
	struct tap_uplink side = { .mtu = gateway->outside.mtu };
	struct error error;

	for (unsigned i = 0; i < config->address_count; i++) {
		struct ip_prefix host = config->addresses[i];
		bool v4 = ip_is_v4(&host.ip);

		if (!(v4 ? config->has_gateway4 : config->has_gateway6))
			continue;
		host.ip = v4 ? config->gateway4 : config->gateway6;
		if (ip_prefix_contains(&config->addresses[i], &host.ip))
			side.hosts[side.host_count++] = host;
		for (unsigned n = 0;
		     n < gateway->config->address_count && !config_modes[gateway->mode].translates;
		     n++) {
			if (ip_is_v4(&gateway->config->addresses[n].ip) == v4 &&
			    side.route_count < TAP_UPLINK_ROUTES)
				side.routes[side.route_count++] = (struct tap_route){
					ip_prefix_network(&gateway->config->addresses[n]),
					config->addresses[i].ip
				};
		}
	}
	if (side.host_count == 0)
		return;
	if (tap_uplink_configure(gateway->uplink, &side, &error) != 0)
		log_error("network %s: the host's side of its uplink: %s", gateway->network,
			  error.text);
	else
		gateway->host_side = true;
}

void gateway_host_start(struct gateway *gateway)
{
	if (gateway->uplink == NULL)
		return;
	if (gateway->uplink->type == &port_user)
		start_forwards(gateway);
	if (gateway->uplink->type == &port_tap)
		start_tap(gateway);
}

void gateway_host_stop(struct gateway *gateway)
{
	for (uint32_t i = 0; gateway->uplink != NULL && i < gateway->forward_count; i++)
		for_each_port(gateway, &gateway->forwards[i], close_port);
	free(gateway->forwards);
	gateway->forwards = NULL;
	gateway->forward_count = 0;
	if (gateway->host_side && gateway->uplink != NULL)
		tap_uplink_withdraw(gateway->uplink);
	gateway->host_side = false;
}
