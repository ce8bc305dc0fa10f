/* Which guest has which address, and so what it may send (route/guard.h): kept for each guarded
 * port by control, published for workers (gateway_internal.h). Control thread.
 *
 * A port's guest is known by its MAC: the one that the configuration names, else the first to be
 * seen since the link came up, unless another port of the network has it, or had it before weftd
 * was started again. Its addresses are its
 * leases, its reservations, the IPv6 addresses that follow from its MAC, and others that it chose
 * itself, link-local ones or in a prefix whose addresses no server gives, and was first to use (RFC
 * 6620). */
#include "vswitch/gateway_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "nat/nat.h"
#include "route/guard.h"
#include "route/lease.h"
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>

#define CLAIMS_MAX   16u   /* the oldest goes for a seventeenth: privacy addresses change daily */
#define CLAIMS_PAUSE 1000u /* ms: before the next one may, as it takes a look at all sessions */
#define ARP_SENDER   14u
#define ND_TARGET    8u
#define ND_LENGTH    24u
#define INTERFACE_ID 8u /* where it stands in an IPv6 address */

struct binding {
	char network[CONFIG_NAME_MAX + 1]; /* in another one it means nothing */
	bool has_mac;
	bool fixed; /* the MAC is the configuration's */
	struct mac mac;
	bool changed; /* since it was published */
	uint8_t claim_count;
	struct ip claims[CLAIMS_MAX]; /* the oldest first */
	uint64_t next_claim;	      /* when the oldest may go for another */
};

static bool is_in(const struct port *port, const struct gateway *gateway)
{
	return port != NULL && strcmp(port->config.network, gateway->network) == 0;
}

/* In a VLAN there is no gateway, and addresses are not ours to give. */
static bool is_guarded(const struct port *port, const struct gateway *gateway)
{
	return is_in(port, gateway) && !port->config.uplink && !gateway_is_leg(&port->config) &&
	       port->config.vlan.mode == VLAN_MODE_PLAIN && gateway->config->antispoof &&
	       !port->config.antispoof_off;
}

static void guard_add(struct guard *guard, const struct ip *ip)
{
	if (guard->count < GUARD_IPS_MAX && !guard_has(guard, ip))
		guard->ips[guard->count++] = *ip;
}

static bool add_lease(void *context, const struct lease *lease)
{
	struct guard *guard = context;

	if (lease->state == LEASE_BOUND)
		guard_add(guard, &lease->ip);
	return true;
}

static void guard_add_gateway(struct guard *guard, const struct gateway *gateway)
{
	const struct route_leg *leg = &gateway->legs[GATEWAY_INNER].route;
	struct ip_prefix link_local = { .length = 64 };

	link_local.ip = ip_link_local_of(leg->mac.bytes);
	guard->prefixes[guard->prefix_count++] = ip_prefix_network(&link_local);
	guard->gateway[guard->gateway_count++] = ip_link_local_of(leg->mac.bytes);
	for (unsigned i = 0; i < leg->address_count; i++) {
		const struct ip_prefix *address = &leg->addresses[i];

		guard->gateway[guard->gateway_count++] = address->ip;
		if (!(ip_is_v4(&address->ip) ? gateway->config->dhcp.enabled
					     : gateway->config->dhcp6.mode == DHCP6_STATEFUL))
			guard->prefixes[guard->prefix_count++] = *address;
	}
}

/* Whether guests choose their own addresses where this one is. */
static bool is_choosable(const struct guard *guard, const struct ip *ip)
{
	for (unsigned i = 0; i < guard->prefix_count; i++) {
		if (ip_prefix_contains(&guard->prefixes[i], ip))
			return true;
	}
	return false;
}

/* Whether the address ends in the interface identifier of a MAC (RFC 4291, appendix A). */
static bool is_of_mac(const struct ip *ip, struct mac mac)
{
	struct ip own = ip_link_local_of(mac.bytes);

	return memcmp(ip->bytes + INTERFACE_ID, own.bytes + INTERFACE_ID,
		      sizeof(ip->bytes) - INTERFACE_ID) == 0;
}

/* What the guest makes of its MAC and a prefix needs no claim: nobody else may have it. */
static void guard_add_own(struct guard *guard)
{
	for (unsigned i = 0; i < guard->prefix_count; i++) {
		struct ip ip = ip_link_local_of(guard->mac.bytes);

		memcpy(ip.bytes, guard->prefixes[i].ip.bytes, INTERFACE_ID);
		if (guard->prefixes[i].length == 64)
			guard_add(guard, &ip);
	}
}

static struct guard *guard_build(const struct gateway *gateway, const struct binding *binding)
{
	const struct dhcp_config *config = &gateway->config->dhcp;
	struct guard *guard = calloc(1, sizeof(*guard));

	if (guard == NULL)
		return NULL;
	guard->has_mac = binding->has_mac;
	guard->mac = binding->mac;
	guard_add_gateway(guard, gateway);
	if (!binding->has_mac)
		return guard;
	for (uint32_t i = 0; i < config->host_count; i++) {
		const struct dhcp_host *host = &config->hosts[i];

		if (!host->has_mac || memcmp(host->mac.bytes, guard->mac.bytes, MAC_LENGTH) != 0)
			continue;
		if (host->has_ip4)
			guard_add(guard, &host->ip4);
		if (host->has_ip6)
			guard_add(guard, &host->ip6);
	}
	lease_visit_mac(gateway->leases, guard->mac, add_lease, guard);
	guard->settled = binding->fixed || guard->count > 0;
	guard_add_own(guard);
	/* Those from before a change of the configuration may be out of place. */
	for (unsigned i = 0; i < binding->claim_count; i++) {
		if (is_choosable(guard, &binding->claims[i]))
			guard_add(guard, &binding->claims[i]);
	}
	return guard;
}

static int binding_publish(const struct gateway *gateway, struct port *port)
{
	struct guard *guard = guard_build(gateway, port->binding);

	if (guard == NULL)
		return -ENOMEM;
	port->binding->changed = false;
	/* release: pairs with the acquire in pipeline_run(). */
	vswitch_retire(gateway->vswitch,
		       (void *)atomic_exchange_explicit(&port->guard, guard, memory_order_acq_rel));
	return 0;
}

static void changed(struct gateway *gateway, struct binding *binding)
{
	binding->changed = true;
	gateway->guards_changed = true;
}

void gateway_guard_remove(struct vswitch *vswitch, struct port *port)
{
	vswitch_retire(vswitch,
		       (void *)atomic_exchange_explicit(&port->guard, NULL, memory_order_acq_rel));
	free(port->binding);
	port->binding = NULL;
}

static void binding_bind(struct binding *binding, struct mac mac)
{
	/* What another has claimed was another's. */
	if (!binding->has_mac || memcmp(binding->mac.bytes, mac.bytes, MAC_LENGTH) != 0)
		binding->claim_count = 0;
	binding->has_mac = true;
	binding->mac = mac;
}

/* The port's binding, an empty one where it has none in this network; NULL: memory is short. */
static struct binding *binding_take(struct port *port, const struct gateway *gateway)
{
	if (port->binding == NULL)
		port->binding = calloc(1, sizeof(*port->binding));
	if (port->binding == NULL || strcmp(port->binding->network, gateway->network) == 0)
		return port->binding;
	memset(port->binding, 0, sizeof(*port->binding));
	memcpy(port->binding->network, gateway->network, sizeof(port->binding->network));
	return port->binding;
}

int gateway_guard_update(struct gateway *gateway)
{
	struct vswitch *vswitch = gateway->vswitch;

	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (!is_guarded(port, gateway))
			continue;
		if (binding_take(port, gateway) == NULL)
			return -ENOMEM;
		if (port->config.has_mac)
			binding_bind(port->binding, port->config.mac);
		port->binding->fixed = port->config.has_mac;
		if (binding_publish(gateway, port) != 0)
			return -ENOMEM;
	}
	return 0;
}

void gateway_guard_settle(struct vswitch *vswitch)
{
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];
		const struct network *network;

		if (port == NULL || port->binding == NULL)
			continue;
		network = vswitch_find_network(vswitch, port->config.network);
		if (network == NULL || network->gateway == NULL ||
		    !is_guarded(port, network->gateway))
			gateway_guard_remove(vswitch, port);
	}
}

void gateway_guard_finish(struct gateway *gateway)
{
	struct vswitch *vswitch = gateway->vswitch;

	if (!gateway->guards_changed)
		return;
	gateway->guards_changed = false;
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (!is_in(port, gateway) || port->binding == NULL || !port->binding->changed)
			continue;
		if (binding_publish(gateway, port) != 0) {
			log_error("port %s: out of memory, its guard stays as it was", port->name);
			gateway->guards_changed = true;
		}
	}
}

/* The port whose guest has this MAC. */
static struct port *find_mac(const struct gateway *gateway, struct mac mac)
{
	const struct vswitch *vswitch = gateway->vswitch;

	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (is_in(port, gateway) && port->binding != NULL && port->binding->has_mac &&
		    memcmp(port->binding->mac.bytes, mac.bytes, MAC_LENGTH) == 0)
			return port;
	}
	return NULL;
}

void gateway_guard_lease(struct gateway *gateway, struct mac mac)
{
	struct port *port = find_mac(gateway, mac);

	if (port != NULL)
		changed(gateway, port->binding);
}

/* Whether the address is reserved for another guest. */
static bool is_reserved(const struct gateway *gateway, const struct port *by, const struct ip *ip)
{
	const struct dhcp_config *config = &gateway->config->dhcp;

	for (uint32_t i = 0; i < config->host_count; i++) {
		const struct dhcp_host *host = &config->hosts[i];

		if ((host->has_ip4 && ip_equal(&host->ip4, ip)) ||
		    (host->has_ip6 && ip_equal(&host->ip6, ip)))
			return !host->has_mac ||
			       memcmp(host->mac.bytes, by->binding->mac.bytes, MAC_LENGTH) != 0;
	}
	return false;
}

/* Whether some other port has the address, or its guest may have it by lease or reservation. */
static bool is_taken(const struct gateway *gateway, const struct port *by, const struct ip *ip)
{
	const struct vswitch *vswitch = gateway->vswitch;
	const struct lease *lease = lease_find_ip(gateway->leases, ip);

	if (lease != NULL && memcmp(lease->mac.bytes, by->binding->mac.bytes, MAC_LENGTH) != 0)
		return true;
	if (is_reserved(gateway, by, ip))
		return true;
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		const struct port *port = vswitch->ports[i];

		if (port == by || !is_in(port, gateway) || port->binding == NULL)
			continue;
		if (port->binding->has_mac && is_of_mac(ip, port->binding->mac))
			return true;
		for (unsigned c = 0; c < port->binding->claim_count; c++) {
			if (ip_equal(&port->binding->claims[c], ip))
				return true;
		}
	}
	return false;
}

/* The oldest claim goes, with what was translated for it: else a guest would have as many sessions
 * as it can make addresses. False when it is too soon for that. */
static bool make_room(struct gateway *gateway, struct binding *binding)
{
	uint64_t now = gateway_now();

	if (now < binding->next_claim)
		return false;
	binding->next_claim = now + CLAIMS_PAUSE;
	if (gateway->nat != NULL)
		nat_flush(gateway->nat, &binding->claims[0]);
	memmove(&binding->claims[0], &binding->claims[1],
		(CLAIMS_MAX - 1) * sizeof(binding->claims[0]));
	binding->claim_count--;
	return true;
}

static bool claim(struct gateway *gateway, struct port *port, const struct ip *ip)
{
	struct binding *binding = port->binding;
	const struct guard *guard = atomic_load_explicit(&port->guard, memory_order_relaxed);

	if (guard == NULL || !is_choosable(guard, ip) || !ip_is_host(ip) ||
	    (ip_is_v4(ip) && config_guest_fault(gateway->config, ip)[0] != '\0'))
		return false;
	if (guard_has(guard, ip))
		return true;
	for (unsigned i = 0; i < binding->claim_count; i++) {
		if (ip_equal(&binding->claims[i], ip))
			return true; /* asked before the guard was published */
	}
	if (route_leg_owns(&gateway->legs[GATEWAY_INNER].route, ip) ||
	    is_taken(gateway, port, ip) ||
	    (binding->claim_count == CLAIMS_MAX && !make_room(gateway, binding))) {
		gateway->counters.claims_refused++;
		return false;
	}
	binding->claims[binding->claim_count++] = *ip;
	gateway->counters.claims++;
	changed(gateway, binding);
	return true;
}

/* Whether a guard that has the binding's MAC says so. */
static bool is_settled(const struct port *port)
{
	const struct guard *guard = atomic_load_explicit(&port->guard, memory_order_relaxed);

	return port->binding->changed || guard == NULL || guard->settled;
}

/* Whether the guest, whose MAC is known by now, may say this: the worker that asked had perhaps no
 * guard yet to check it by. */
static bool may_say(struct gateway *gateway, struct port *port, const struct packet *packet)
{
	const struct guard *guard = atomic_load_explicit(&port->guard, memory_order_relaxed);
	uint8_t head[FRAME_SLOT];
	struct frame frame = { .head = head + FRAME_HEADROOM, .length = (uint32_t)packet->length };
	struct ip sender = packet->source;
	enum drop_reason reason;

	if (guard == NULL || !guard->has_mac ||
	    memcmp(guard->mac.bytes, port->binding->mac.bytes, MAC_LENGTH) != 0) {
		if (binding_publish(gateway, port) != 0)
			return false;
		guard = atomic_load_explicit(&port->guard, memory_order_relaxed);
	}
	frame.head_length =
	    (uint16_t)(packet->length < FRAME_HEAD_MAX ? packet->length : FRAME_HEAD_MAX);
	memcpy(frame.head, packet->bytes, frame.head_length);
	switch (guard_check(guard, &frame, &reason)) {
	case GUARD_PASS:
		return true;
	case GUARD_ASK:
		/* An ARP packet as long as the guard has made sure. */
		if (packet->ethertype == ETHERTYPE_ARP)
			sender = ip_from_v4_bytes(packet->network + ARP_SENDER);
		return claim(gateway, port, &sender);
	case GUARD_DROP:
		break;
	}
	gateway->counters.claims_refused++;
	return false;
}

/* Whether the MAC was another port's before weftd was started again (mac_state.h), whose guest has
 * not said anything since: the first to name it may be somebody else. It is forgotten there when
 * that link goes down, or with the table's age. */
static bool is_awaited(const struct gateway *gateway, const struct port *by, struct mac mac)
{
	const struct vswitch *vswitch = gateway->vswitch;
	const struct network *network = vswitch_find_network(vswitch, gateway->network);
	uint16_t place = mac_table_lookup(network->macs, mac_to_u64(mac.bytes), VLAN_NONE);
	const struct port *port = place < vswitch->port_limit ? vswitch->ports[place] : NULL;

	return port != by && is_in(port, gateway) && port->binding != NULL &&
	       !port->binding->has_mac;
}

bool gateway_guard_ask(struct gateway *gateway, struct port *port, const struct packet *packet)
{
	struct binding *binding = port->binding;

	if (binding == NULL || !is_in(port, gateway))
		return false;
	if (binding->has_mac && memcmp(packet->from.bytes, binding->mac.bytes, MAC_LENGTH) == 0)
		return may_say(gateway, port, packet);
	/* The worker may not have seen yet that it has one now. */
	if (binding->has_mac && is_settled(port))
		return false;
	if (mac_is_multicast(packet->from.bytes) || mac_is_zero(packet->from.bytes) ||
	    memcmp(packet->from.bytes, gateway->legs[GATEWAY_INNER].route.mac.bytes, MAC_LENGTH) ==
		0 ||
	    find_mac(gateway, packet->from) != NULL || is_awaited(gateway, port, packet->from)) {
		gateway->counters.claims_refused++;
		return false;
	}
	binding_bind(binding, packet->from);
	changed(gateway, binding);
	/* The bridge has not seen the frame, and would flood our answer to everybody. */
	mac_table_learn(vswitch_find_network(gateway->vswitch, gateway->network)->macs,
			mac_to_u64(packet->from.bytes), VLAN_NONE, port->index, clock_seconds());
	return may_say(gateway, port, packet);
}

void gateway_guard_probe(struct gateway *gateway, struct port *port, const struct packet *packet)
{
	struct ip target;

	if (port->binding == NULL || !port->binding->has_mac || !is_in(port, gateway) ||
	    !ip_is_unspecified(&packet->source) || packet->payload_length < ND_LENGTH ||
	    packet->hop_limit != 255)
		return;
	target = ip_from_v6_bytes(packet->payload + ND_TARGET);
	claim(gateway, port, &target);
}

void gateway_guard_leave(struct gateway *gateway, struct port *port)
{
	struct binding *binding = port->binding;

	if (binding == NULL)
		return;
	binding->claim_count = 0;
	binding->has_mac = port->config.has_mac;
	changed(gateway, binding);
}
