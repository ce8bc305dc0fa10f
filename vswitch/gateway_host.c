/* What the host does for a gateway's uplink (gateway_internal.h): a tap's other side, with its
 * address and the routes to the network, and the ports that a user uplink listens on. Control
 * thread. Everything is taken back when the uplink goes. */
#include "vswitch/gateway_internal.h"

#include "vswitch/port_user.h"
#include "vswitch/tap_uplink.h"
#include "vswitch/user_stack.h"

#include <netinet/in.h>

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

static uint8_t protocol_bit(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? NAT_FORWARD_TCP : NAT_FORWARD_UDP;
}

static bool is_wanted(const struct gateway *gateway, const struct user_forward *open)
{
	const struct nat_config *nat = &gateway->config->nat;

	for (uint32_t i = 0; i < nat->forward_count; i++) {
		const struct nat_forward *forward = &nat->forwards[i];
		struct ip host;

		forward_address(forward, &host);
		if ((forward->protocol & protocol_bit(open->protocol)) != 0 &&
		    open->host_port >= forward->listen_first &&
		    open->host_port <= forward->listen_last && ip_equal(&host, &open->host))
			return true;
	}
	return false;
}

static void close_ports(struct gateway *gateway, bool (*stays)(const struct gateway *gateway,
							       const struct user_forward *open))
{
	struct error error;
	uint32_t left, count;

	port_user_forwards(gateway->uplink, &left);
	while (left-- > 0) {
		struct user_forward one = port_user_forwards(gateway->uplink, &count)[left];

		if (stays == NULL || !stays(gateway, &one))
			port_user_remove_forward(gateway->uplink, one.protocol, &one.host,
						 one.host_port, &error);
	}
}

static bool is_open(const struct gateway *gateway, uint8_t protocol, const struct ip *host,
		    uint16_t port)
{
	uint32_t count;
	const struct user_forward *open = port_user_forwards(gateway->uplink, &count);

	for (uint32_t i = 0; i < count; i++) {
		if (open[i].protocol == protocol && open[i].host_port == port &&
		    ip_equal(&open[i].host, host))
			return true;
	}
	return false;
}

static int open_port(struct gateway *gateway, const struct nat_forward *forward, uint8_t protocol,
		     uint16_t port, struct error *error)
{
	const struct ip *guest = outer_address(gateway, ip_is_v4(&forward->to));
	struct ip host;
	int result;

	forward_address(forward, &host);
	if (guest == NULL || (forward->protocol & protocol_bit(protocol)) == 0 ||
	    is_open(gateway, protocol, &host, port))
		return 0;
	result = port_user_add_forward(gateway->uplink, protocol, &host, port, guest, port, error);
	if (result != 0)
		error_prefix(error, "networks.%s.forward: port %u: ", gateway->network, port);
	return result;
}

/* What listens already and is still wanted is not touched: datagrams flow through the same socket.
 * After an error the configuration of before comes again. */
static int start_forwards(struct gateway *gateway, struct error *error)
{
	const struct nat_config *nat = &gateway->config->nat;
	int result = 0;

	close_ports(gateway, is_wanted);
	for (uint32_t i = 0; i < nat->forward_count; i++) {
		const struct nat_forward *forward = &nat->forwards[i];

		for (uint32_t port = forward->listen_first;
		     port <= forward->listen_last && result == 0; port++) {
			result = open_port(gateway, forward, IPPROTO_TCP, (uint16_t)port, error);
			if (result == 0)
				result =
				    open_port(gateway, forward, IPPROTO_UDP, (uint16_t)port, error);
		}
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
	if (gateway->uplink->config.options.tap.fd_count > 0)
		return 0;
	if (side.host_count == 0) {
		tap_uplink_withdraw(gateway->uplink);
		return 0;
	}
	result = tap_uplink_configure(gateway->uplink, &side, error);
	if (result != 0)
		error_prefix(error, "networks.%s.uplink: the host's side: ", gateway->network);
	return result;
}

int gateway_host_start(struct gateway *gateway, struct error *error)
{
	int result = 0;

	if (gateway->uplink == NULL || (gateway->host_side && !gateway->host_stale))
		return 0;
	gateway->host_side = true;
	if (gateway->uplink->type == &port_user)
		result = start_forwards(gateway, error);
	if (gateway->uplink->type == &port_tap)
		result = start_tap(gateway, error);
	gateway->host_stale = result != 0;
	return result;
}

void gateway_host_stop(struct gateway *gateway)
{
	if (gateway->uplink != NULL && gateway->host_side) {
		if (gateway->uplink->type == &port_user)
			close_ports(gateway, NULL);
		if (gateway->uplink->type == &port_tap)
			tap_uplink_withdraw(gateway->uplink);
	}
	gateway->host_side = false;
}
