/* What workers leave to control: packets to the gateway itself, and those that need an answer, a
 * neighbour or patience (gateway_internal.h). Control thread.
 *
 * Every byte here comes from a guest or from the wire. */
#include "vswitch/gateway_internal.h"
#include "vswitch/gateway_services.h"

#include "base/log.h"
#include "base/parse.h"
#include "base/store.h"
#include "nat/nat.h"
#include "route/advertise.h"
#include "route/dhcp6_server.h"
#include "route/dhcp_client.h"
#include "route/dhcp_server.h"
#include "route/dns_tcp.h"
#include "route/fib.h"
#include "route/icmp.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "route/slaac_client.h"
#include "vswitch/port_gateway.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES_AT_ONCE 256u
#define DNS_PORT       53
#define DHCP_SERVER    67
#define DHCP_CLIENT    68
#define DHCP6_SERVER   547
#define ARP_LENGTH     28u

static struct port *arrival_port(const struct gateway *gateway, const struct gateway_note *note)
{
	return note->arrival < gateway->vswitch->port_limit ? gateway->vswitch->ports[note->arrival]
							    : NULL;
}

/* The number by which leases are bounded: guests share what comes in by one port. */
static uint16_t lease_port(const struct port *port)
{
	return port->config.uplink ? LEASE_PORT_NONE : port->index;
}

static bool is_guarded(const struct port *port)
{
	return atomic_load_explicit(&port->guard, memory_order_relaxed) != NULL;
}

/* Into the segment of the leg as if from outside it, so that workers route it: from our own MAC to
 * our own MAC. */
static void send_again(struct gateway_leg *leg, const uint8_t *frame, size_t length, uint16_t mtu)
{
	uint8_t *copy = malloc(length);

	if (copy == NULL)
		return;
	memcpy(copy, frame, length);
	memcpy(copy, leg->route.mac.bytes, MAC_LENGTH);
	memcpy(copy + MAC_LENGTH, leg->route.mac.bytes, MAC_LENGTH);
	gateway_leg_put(leg, copy, length, mtu);
	free(copy);
}

/* Addressed to the leg alone: no group or broadcast. */
static bool is_ours(const struct gateway_leg *leg, const struct packet *packet)
{
	return route_leg_answers(&leg->route, &packet->destination);
}

/* For whoever hears ICMP here: an address of the gateway's on any of its legs, or a group. What
 * comes from a link-local address is left to us whatever it is for. */
static bool is_for_gateway(const struct gateway *gateway, const struct ip *ip)
{
	return ip_is_multicast(ip) || route_leg_owns(&gateway->legs[GATEWAY_INNER].route, ip) ||
	       route_leg_owns(&gateway->legs[GATEWAY_OUTER].route, ip) ||
	       (gateway->nat != NULL && nat_is_address(gateway->nat, ip));
}

static void input_probe_answer(struct gateway *gateway, const struct packet *packet, uint64_t now)
{
	struct ip sender;

	if (packet->ethertype != ETHERTYPE_ARP || packet->network_length < ARP_LENGTH)
		return;
	sender = ip_from_v4_bytes(packet->network + 14);
	if (gateway->dhcp != NULL && !ip_is_unspecified(&sender))
		dhcp_server_probe_result(gateway->dhcp, &sender, &packet->from, now,
					 gateway_wall());
}

static void input_icmp6(struct gateway_leg *leg, struct port *arrival, const struct packet *packet,
			uint64_t now)
{
	struct gateway *gateway = leg->gateway;
	uint8_t type = packet->payload_length > 0 ? packet->payload[0] : 0;

	if (leg->route.index == GATEWAY_INNER) {
		if (type == ND_ROUTER_SOLICIT && gateway->advertise != NULL)
			advertise_input(gateway->advertise, packet, now);
		if (type == ND_NEIGHBOR_SOLICIT && arrival != NULL)
			gateway_guard_probe(gateway, arrival, packet);
	} else if (gateway->slaac_client != NULL) {
		slaac_client_input(gateway->slaac_client, packet, now);
	}
}

/* A service has taken it. */
static bool input_service(struct gateway_leg *leg, const struct port *arrival,
			  const struct packet *packet, uint64_t now)
{
	struct gateway *gateway = leg->gateway;
	uint16_t port = packet->destination_port;

	if (leg->route.index == GATEWAY_OUTER) {
		if (packet->data == NULL || port != DHCP_CLIENT || gateway->dhcp_client == NULL)
			return false;
		dhcp_client_input(gateway->dhcp_client, packet, now);
		return true;
	}
	if (packet->protocol == IPPROTO_TCP && port == DNS_PORT && gateway->dns_tcp != NULL &&
	    is_ours(leg, packet)) {
		dns_tcp_input(gateway->dns_tcp, packet->bytes, packet->length);
		return true;
	}
	if (packet->data == NULL)
		return false;
	if (port == DHCP_SERVER && gateway->dhcp != NULL) {
		struct dhcp_arrival by = { lease_port(arrival), !is_guarded(arrival) };

		dhcp_server_input(gateway->dhcp, packet, by, now, gateway_wall());
		return true;
	}
	if (port == DHCP6_SERVER && gateway->dhcp6 != NULL) {
		dhcp6_server_input(gateway->dhcp6, packet, lease_port(arrival), gateway_wall());
		return true;
	}
	if (port == DNS_PORT && gateway->dns != NULL && is_ours(leg, packet)) {
		gateway_dns_input(gateway, packet);
		return true;
	}
	return false;
}

static void input_fragment(struct gateway_leg *leg, const struct gateway_note *note,
			   const struct packet *packet, uint64_t now)
{
	struct gateway *gateway = leg->gateway;
	/* Which leg it came by is needed when it is whole. */
	uint32_t owner = (uint32_t)leg->route.index << 16 | note->arrival;
	uint32_t pointer;

	if (reassembly_input(gateway->reassembly, owner, packet, now, &pointer) ==
	    REASSEMBLY_PARAMETER)
		icmp_error(gateway->icmp, &leg->route, packet, ICMP_PARAMETER_PROBLEM, pointer,
			   now);
}

/* For the gateway itself. */
static void input_local(struct gateway_leg *leg, const struct gateway_note *note,
			const struct packet *packet, uint64_t now)
{
	struct gateway *gateway = leg->gateway;
	struct port *arrival = arrival_port(gateway, note);

	input_probe_answer(gateway, packet, now);
	if (packet->ip_version != 0 && packet->fragment) {
		input_fragment(leg, note, packet, now);
		return;
	}
	if (packet->ip_version == 6 && packet->protocol == IPPROTO_ICMPV6)
		input_icmp6(leg, arrival, packet, now);
	if (neighbour_input(gateway->neighbours, leg->route.index, packet, now))
		return;
	if (packet->ip_version == 0) {
		gateway->counters.ignored++;
		return;
	}
	if (!packet_checksum_ok(packet)) {
		gateway->counters.malformed++;
		return;
	}
	if (input_service(leg, arrival, packet, now) ||
	    (is_for_gateway(gateway, &packet->destination) &&
	     icmp_input(gateway->icmp, &leg->route, packet, now)))
		return;
	gateway->counters.ignored++;
	if (!is_ours(leg, packet))
		return;
	/* Also for TCP, whose senders give up at once for it. */
	if (packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_TCP)
		icmp_error(gateway->icmp, &leg->route, packet, ICMP_PORT_UNREACHABLE, 0, now);
	else
		icmp_error(gateway->icmp, &leg->route, packet, ICMP_PROTOCOL_UNREACHABLE,
			   packet->ip_version == 6 ? 6 : 0, now);
}

/* The MTU of the link a packet would leave by. */
static uint16_t way_mtu(const struct gateway *gateway, const struct packet *packet)
{
	const struct fib_next *next = fib_lookup(gateway->fib, &packet->destination);
	const struct port *port =
	    next->leg < gateway->vswitch->port_limit ? gateway->vswitch->ports[next->leg] : NULL;
	const struct network *network;

	/* One that is translated on its way in leaves by the inner leg. */
	if (next->action == FIB_LOCAL || port == NULL)
		return gateway->legs[GATEWAY_INNER].route.mtu;
	network = vswitch_find_network(gateway->vswitch, port->config.network);
	if (network == NULL || network->gateway == NULL)
		return gateway->legs[GATEWAY_INNER].route.mtu;
	return network->gateway->legs[port->config.options.leg.side].route.mtu;
}

/* All done but for the next hop's MAC. */
static void input_neighbour(struct gateway_leg *leg, const struct packet *packet, uint64_t now)
{
	struct gateway *gateway = leg->gateway;
	const struct fib_next *next = fib_lookup(gateway->fib, &packet->destination);
	const struct ip *hop = next->action == FIB_VIA ? &next->via : &packet->destination;

	if (neighbour_resolve(gateway->neighbours, leg->route.index, hop, packet->bytes,
			      packet->length, now) == NEIGHBOUR_REFUSED)
		gateway->counters.neighbour_refused++;
}

static void input_frame(void *context, const struct gateway_note *note, const uint8_t *frame,
			size_t length)
{
	static const enum icmp_error errors[] = {
		[GATEWAY_PUNT_HOP_LIMIT] = ICMP_TTL_EXCEEDED,
		[GATEWAY_PUNT_NO_ROUTE] = ICMP_NET_UNREACHABLE,
		[GATEWAY_PUNT_PROHIBITED] = ICMP_PROHIBITED,
		[GATEWAY_PUNT_TOO_BIG] = ICMP_TOO_BIG,
	};
	struct gateway_leg *leg = context;
	struct gateway *gateway = leg->gateway;
	uint64_t now = gateway_now();
	struct port *arrival = arrival_port(gateway, note);
	struct packet packet;

	gateway->counters.taken++;
	if (arrival == NULL) {
		gateway->counters.ignored++;
		return;
	}
	if (!packet_parse(frame, length, &packet)) {
		gateway->counters.malformed++;
		return;
	}
	switch ((enum gateway_punt)note->punt) {
	case GATEWAY_PUNT_UNBOUND:
		if (!gateway_guard_ask(gateway, arrival, &packet))
			return;
		/* The first that a guest says may well be for somebody else: after a restart. */
		if (packet.ip_version != 0 && !is_for_gateway(gateway, &packet.destination))
			port_inject(arrival, frame, (uint32_t)length);
		else
			input_local(leg, note, &packet, now);
		return;
	case GATEWAY_PUNT_LOCAL:
		input_local(leg, note, &packet, now);
		return;
	case GATEWAY_PUNT_FRAGMENT:
		if (packet.fragment)
			input_fragment(leg, note, &packet, now);
		return;
	case GATEWAY_PUNT_NEIGHBOUR:
		input_neighbour(leg, &packet, now);
		return;
	case GATEWAY_PUNT_HOP_LIMIT:
	case GATEWAY_PUNT_NO_ROUTE:
	case GATEWAY_PUNT_PROHIBITED:
	case GATEWAY_PUNT_TOO_BIG:
		icmp_error(gateway->icmp, &leg->route, &packet, errors[note->punt],
			   note->punt == GATEWAY_PUNT_TOO_BIG ? way_mtu(gateway, &packet) : 0, now);
		return;
	}
}

void gateway_leg_ready(void *context)
{
	struct gateway_leg *leg = context;
	struct store *store = leg->gateway->vswitch->store;

	/* One transaction for all leases of a batch; their answers leave behind it. */
	if (store != NULL)
		store_begin(store);
	port_gateway_take(leg->port, FRAMES_AT_ONCE, input_frame, leg);
	if (store != NULL)
		store_commit(store);
	gateway_finish(leg->gateway);
}

void gateway_reassembled(void *context, uint32_t owner, const uint8_t *frame, size_t length,
			 uint16_t mtu)
{
	struct gateway *gateway = context;
	struct gateway_leg *leg = &gateway->legs[owner >> 16 == GATEWAY_OUTER];

	if (leg->port != NULL)
		send_again(leg, frame, length, mtu);
}

void gateway_reassembly_expired(void *context, uint32_t owner, const uint8_t *frame, size_t length)
{
	struct gateway *gateway = context;
	struct gateway_leg *leg = &gateway->legs[owner >> 16 == GATEWAY_OUTER];
	struct packet packet;

	if (leg->port != NULL && packet_parse(frame, length, &packet))
		icmp_error(gateway->icmp, &leg->route, &packet, ICMP_REASSEMBLY_TIME, 0,
			   gateway_now());
}

/* The packet is as it was to leave by the leg, translated perhaps; so the error goes back into that
 * leg as if from the link, and is routed and translated like any other. */
void gateway_neighbour_unreachable(void *context, const struct route_leg *route,
				   const uint8_t *frame, size_t length)
{
	struct gateway *gateway = context;
	struct gateway_leg *leg = &gateway->legs[route->index];
	const struct route_leg *sender = &leg->route;
	uint8_t error[ICMP_ERROR_LENGTH_MAX];
	struct packet packet;
	size_t size;

	if (leg->port == NULL || !packet_parse(frame, length, &packet))
		return;
	/* One that was translated seems to be our own, and nobody writes an error to himself: the
	 * guest hears of it from the address inside. */
	if (route_leg_answers(sender, &packet.source))
		sender = &gateway->legs[GATEWAY_INNER].route;
	size = icmp_error_write(sender, &packet, ICMP_HOST_UNREACHABLE, 0, error, sizeof(error));
	if (size > 0)
		send_again(leg, error, size, 0);
}

/* Somebody on a link uses an address of ours: said, and of an address by DHCP given back. */
void gateway_neighbour_conflict(void *context, const struct route_leg *route, const struct ip *ip,
				const struct mac *mac)
{
	struct gateway *gateway = context;
	char text[IP_TEXT_LENGTH], who[MAC_TEXT_LENGTH];
	const struct dhcp_client_state *state;

	log_warning("network %s: %s is used by %s as well", gateway->network, ip_to_text(ip, text),
		    mac_to_text(*mac, who));
	if (route->index != GATEWAY_OUTER || gateway->dhcp_client == NULL)
		return;
	state = dhcp_client_state(gateway->dhcp_client);
	if (state != NULL && ip_equal(&state->address.ip, ip))
		dhcp_client_conflict(gateway->dhcp_client, gateway_now());
}
