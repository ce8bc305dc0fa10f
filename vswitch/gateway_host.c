/* What the host does for a gateway's uplink (gateway_internal.h): a tap's other side, with its
 * address and the routes to the network, and the ports that a user uplink listens on. Control
 * thread. Everything is taken back when the uplink goes. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "vswitch/port_user.h"
#include "vswitch/tap_uplink.h"

#include <errno.h>
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

/* Calls change() for each port and protocol of a forward, until it fails. */
static int for_each_port(struct gateway *gateway, const struct nat_forward *forward,
			 int (*change)(struct gateway *gateway, const struct nat_forward *forward,
				       uint8_t protocol, uint16_t port, struct error *error),
			 struct error *error)
{
	int result = 0;

	for (uint32_t port = forward->listen_first; port <= forward->listen_last && result == 0;
	     port++) {
		if (forward->protocol & NAT_FORWARD_TCP)
			result = change(gateway, forward, IPPROTO_TCP, (uint16_t)port, error);
		if (result == 0 && forward->protocol & NAT_FORWARD_UDP)
			result = change(gateway, forward, IPPROTO_UDP, (uint16_t)port, error);
	}
	return result;
}

static int listen_port(struct gateway *gateway, const struct nat_forward *forward, uint8_t protocol,
		       uint16_t port, struct error *error)
{
	const struct ip *guest = outer_address(gateway, ip_is_v4(&forward->to));
	struct ip host;
	int result;

	forward_address(forward, &host);
	if (guest == NULL)
		return 0;
	result = port_user_add_forward(gateway->uplink, protocol, &host, port, guest, port, error);
	if (result != 0)
		error_prefix(error, "networks.%s.forward: port %u: ", gateway->network, port);
	return result;
}

static int close_port(struct gateway *gateway, const struct nat_forward *forward, uint8_t protocol,
		      uint16_t port, struct error *error)
{
	struct ip host;

	forward_address(forward, &host);
	/* Of a forward that failed some are not there. */
	port_user_remove_forward(gateway->uplink, protocol, &host, port, error);
	return 0;
}

static int start_forwards(struct gateway *gateway, struct error *error)
{
	const struct nat_config *nat = &gateway->config->nat;
	int result = 0;

	if (nat->forward_count == 0)
		return 0;
	gateway->forwards = calloc(nat->forward_count, sizeof(*gateway->forwards));
	if (gateway->forwards == NULL)
		return error_set(error, ENOMEM, "network '%s': out of memory", gateway->network);
	for (uint32_t i = 0; i < nat->forward_count && result == 0; i++) {
		gateway->forwards[i] = nat->forwards[i];
		gateway->forward_count++;
		result = for_each_port(gateway, &gateway->forwards[i], listen_port, error);
	}
	return result;
}

/* The host is the next hop: it has that address on the tap. What is not translated needs its way
 * back as well. */
static int start_tap(struct gateway *gateway, struct error *error)
{
	const struct uplink_config *config = &gateway->config->uplink;
	struct tap_uplink side = { .mtu = gateway->outside.mtu };
	int result;

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
	/* Of an open file the other side is its giver's. */
	if (side.host_count == 0 || gateway->uplink->config.options.tap.fd >= 0)
		return 0;
	result = tap_uplink_configure(gateway->uplink, &side, error);
	if (result != 0)
		error_prefix(error, "networks.%s.uplink: the host's side: ", gateway->network);
	return result;
}

int gateway_host_start(struct gateway *gateway, struct error *error)
{
	int result = 0;

	if (gateway->uplink == NULL || gateway->host_side)
		return 0;
	if (gateway->uplink->type == &port_user)
		result = start_forwards(gateway, error);
	if (gateway->uplink->type == &port_tap)
		result = start_tap(gateway, error);
	gateway->host_side = true;
	if (result != 0)
		gateway_host_stop(gateway);
	return result;
}

void gateway_host_stop(struct gateway *gateway)
{
	struct error error;

	if (gateway->uplink != NULL && gateway->host_side) {
		for (uint32_t i = 0; i < gateway->forward_count; i++)
			for_each_port(gateway, &gateway->forwards[i], close_port, &error);
		if (gateway->uplink->type == &port_tap)
			tap_uplink_withdraw(gateway->uplink);
	}
	free(gateway->forwards);
	gateway->forwards = NULL;
	gateway->forward_count = 0;
	gateway->host_side = false;
}
