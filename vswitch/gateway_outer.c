/* The leg of a gateway outside: its addresses, whether they are written down, given by DHCP or made
 * by SLAAC, or belong to a user port, and what follows from them (gateway_internal.h). Control
 * thread. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "base/siphash.h"
#include "base/store.h"
#include "nat/nat.h"
#include "route/dhcp_client.h"
#include "route/fib.h"
#include "route/neighbour.h"
#include "route/slaac_client.h"
#include "vswitch/port_gateway.h"
#include "vswitch/port_interface.h"
#include "vswitch/port_user.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ETHERNET_MTU 1500

static const char remembered_table[] = "uplink";

/* Of this machine: on one wire there may be two with networks of one name. */
static void read_machine(char id[64])
{
	FILE *file = fopen("/etc/machine-id", "re");

	if (file == NULL || fgets(id, 64, file) == NULL)
		snprintf(id, 64, "%08lx", (unsigned long)gethostid());
	if (file != NULL)
		fclose(file);
}

/* The configuration's, else one of our own that is the same at each start: no other host's on the
 * link, nor that of an interface below us, whose frames are the host's. */
struct mac gateway_outer_mac(const struct gateway *gateway)
{
	static const uint64_t key[2] = { 0x77656674, 0x6f757465 };
	char text[64 + CONFIG_NAME_MAX + 1];
	char id[64];
	struct mac mac;
	uint64_t hash;
	int n;

	if (gateway->config->uplink.has_mac)
		return gateway->config->uplink.mac;
	read_machine(id);
	n = snprintf(text, sizeof(text), "%.63s/%s", id, gateway->network);
	hash = siphash(key, text, (size_t)n);
	memcpy(mac.bytes, &hash, sizeof(mac.bytes));
	mac.bytes[0] = 0x02; /* unicast, locally administered */
	return mac;
}

static void add_address(struct gateway_outside *outside, const struct ip_prefix *address)
{
	struct ip_prefix *to = &outside->addresses[outside->address_count];

	if (outside->address_count >= GATEWAY_ADDRESSES_MAX)
		return;
	/* One by one: what lies between them would make a difference where there is none. */
	to->ip = address->ip;
	to->length = address->length;
	outside->address_count++;
}

static void set_gateway(struct gateway_outside *outside, const struct ip *ip)
{
	bool v4 = ip_is_v4(ip);

	if (ip_is_unspecified(ip) || (v4 ? outside->has_gateway4 : outside->has_gateway6))
		return;
	*(v4 ? &outside->has_gateway4 : &outside->has_gateway6) = true;
	*(v4 ? &outside->gateway4 : &outside->gateway6) = *ip;
}

static void add_dns(struct gateway_outside *outside, const struct ip *ip)
{
	if (!ip_is_unspecified(ip) && outside->dns.count < DHCP_LIST_MAX)
		outside->dns.ips[outside->dns.count++] = *ip;
}

static void lower_mtu(struct gateway_outside *outside, uint16_t mtu)
{
	if (mtu != 0 && mtu < outside->mtu)
		outside->mtu = mtu;
}

static void collect_user(const struct gateway *gateway, struct gateway_outside *outside)
{
	struct port_user_addresses user;

	port_user_addresses(&gateway->uplink->config, &user);
	add_address(outside, &user.guest);
	add_address(outside, &user.guest6);
	set_gateway(outside, &user.gateway);
	set_gateway(outside, &user.gateway6);
	add_dns(outside, &user.dns);
	lower_mtu(outside, user.mtu);
}

static void collect_dhcp(const struct gateway *gateway, struct gateway_outside *outside)
{
	const struct dhcp_client_state *state =
	    gateway->dhcp_client != NULL ? dhcp_client_state(gateway->dhcp_client) : NULL;

	if (state == NULL)
		return;
	add_address(outside, &state->address);
	if (state->routers.count > 0)
		set_gateway(outside, &state->routers.ips[0]);
	for (unsigned i = 0; i < state->dns.count; i++)
		add_dns(outside, &state->dns.ips[i]);
	lower_mtu(outside, state->mtu);
}

static void collect_slaac(const struct gateway *gateway, struct gateway_outside *outside)
{
	const struct slaac_state *state =
	    gateway->slaac_client != NULL ? slaac_client_state(gateway->slaac_client) : NULL;

	if (state == NULL)
		return;
	for (uint32_t i = 0; i < state->prefix_count; i++) {
		struct ip_prefix address = state->prefixes[i].prefix;

		if (!state->prefixes[i].has_address)
			continue;
		address.ip = state->prefixes[i].address;
		add_address(outside, &address);
	}
	if (state->router_count > 0)
		set_gateway(outside, &state->routers[0].ip);
	for (unsigned i = 0; i < state->dns.count; i++)
		add_dns(outside, &state->dns.ips[i]);
	lower_mtu(outside, state->mtu);
}

static void log_addresses(const struct gateway *gateway)
{
	const struct gateway_outside *outside = &gateway->outside;
	char text[GATEWAY_ADDRESSES_MAX * (IP_PREFIX_TEXT_LENGTH + 2)] = "";
	char one[IP_PREFIX_TEXT_LENGTH];
	size_t used = 0;

	for (unsigned i = 0; i < outside->address_count; i++)
		used +=
		    (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? ", " : "",
				     ip_prefix_to_text(&outside->addresses[i], one));
	log_info("network %s: outside %s%s", gateway->network, used > 0 ? text : "no address",
		 outside->link ? "" : ", link down");
	for (unsigned i = 0; i < outside->address_count * gateway->config->address_count; i++) {
		const struct ip_prefix *outer = &outside->addresses[i % outside->address_count];
		const struct ip_prefix *inner =
		    &gateway->config->addresses[i / outside->address_count];

		if (ip_prefix_overlaps(outer, inner))
			log_warning("network %s: %s, given outside, overlaps with the network's "
				    "own prefix; hosts there cannot be reached",
				    gateway->network, ip_prefix_to_text(outer, one));
	}
}

/* Configured, else the interface's own, else Ethernet's. Workers hold no packet beyond 65,535. */
static uint16_t link_mtu(const struct gateway *gateway)
{
	uint32_t mtu = gateway->config->uplink.mtu;

	if (mtu == 0 && gateway->uplink != NULL && gateway->uplink->type == &port_interface)
		mtu = port_interface_mtu(gateway->uplink);
	if (mtu == 0)
		return ETHERNET_MTU;
	return mtu < UINT16_MAX ? (uint16_t)mtu : UINT16_MAX;
}

static void link_changed(void *context)
{
	struct gateway *gateway = context;

	gateway->outside_changed = true;
	gateway_finish_later(gateway);
}

void gateway_outer_watch(struct gateway *gateway)
{
	if (gateway->uplink != NULL && gateway->uplink->type == &port_interface)
		port_interface_listen(gateway->uplink, link_changed, gateway);
}

void gateway_outer_unwatch(struct gateway *gateway)
{
	if (gateway->uplink != NULL && gateway->uplink->type == &port_interface)
		port_interface_listen(gateway->uplink, NULL, NULL);
}

bool gateway_outer_collect(struct gateway *gateway)
{
	const struct uplink_config *config = &gateway->config->uplink;
	struct gateway_outside now;

	memset(&now, 0, sizeof(now)); /* with its padding: it is compared as bytes */
	now.mtu = link_mtu(gateway);
	if (config->has_gateway4)
		set_gateway(&now, &config->gateway4);
	if (config->has_gateway6)
		set_gateway(&now, &config->gateway6);
	for (unsigned i = 0; i < config->dns.count; i++)
		add_dns(&now, &config->dns.ips[i]);
	for (unsigned i = 0; i < config->address_count; i++)
		add_address(&now, &config->addresses[i]);
	if (gateway->uplink != NULL) {
		now.link = atomic_load_explicit(&gateway->uplink->link, memory_order_relaxed);
		if (gateway->uplink->type == &port_user && config->address_count == 0)
			collect_user(gateway, &now);
	}
	collect_dhcp(gateway, &now);
	collect_slaac(gateway, &now);
	if (memcmp(&now, &gateway->outside, sizeof(now)) == 0)
		return false;
	gateway->outside = now;
	if (config->present)
		log_addresses(gateway);
	return true;
}

static bool has_slaac_address(const struct gateway *gateway)
{
	const struct slaac_state *state =
	    gateway->slaac_client != NULL ? slaac_client_state(gateway->slaac_client) : NULL;

	for (uint32_t i = 0; state != NULL && i < state->prefix_count; i++) {
		if (state->prefixes[i].has_address)
			return true;
	}
	return false;
}

/* The families (enum nat_family) of which DHCP or SLAAC has not given an address yet. */
static unsigned awaited(const struct gateway *gateway)
{
	const struct uplink_config *config = &gateway->config->uplink;
	bool leased =
	    gateway->dhcp_client != NULL && dhcp_client_state(gateway->dhcp_client) != NULL;

	return (config->dhcp && !leased ? NAT_IPV4 : 0u) |
	       (config->slaac && !has_slaac_address(gateway) ? NAT_IPV6 : 0u);
}

void gateway_outer_apply(struct gateway *gateway)
{
	struct gateway_leg *leg = &gateway->legs[GATEWAY_OUTER];
	const struct gateway_outside *outside = &gateway->outside;
	struct ip addresses[GATEWAY_ADDRESSES_MAX];

	if (!gateway->config->uplink.present)
		return;
	gateway->unpublished = true;
	leg->route.mtu = outside->mtu;
	if (leg->port != NULL)
		port_gateway_set_mtu(leg->port, outside->mtu);
	leg->route.address_count = outside->address_count;
	memcpy(leg->route.addresses, outside->addresses, sizeof(leg->route.addresses));
	for (uint32_t i = 0;
	     i < gateway->config->nat.pool_count && leg->route.address_count < ROUTE_LEG_ADDRESSES;
	     i++)
		leg->route.addresses[leg->route.address_count++] =
		    (struct ip_prefix){ gateway->config->nat.pool[i], 128 };
	if (outside->link && leg->port != NULL)
		neighbour_set_leg(gateway->neighbours, &leg->route, gateway_now());
	else
		neighbour_clear_leg(gateway->neighbours, GATEWAY_OUTER, gateway_now());
	if (gateway->nat == NULL)
		return;
	/* Until then sessions on those of before the restart are kept. */
	nat_await_addresses(gateway->nat, awaited(gateway));
	if (outside->address_count == 0)
		return;
	for (unsigned i = 0; i < outside->address_count; i++)
		addresses[i] = outside->addresses[i].ip;
	if (nat_set_addresses(gateway->nat, addresses, outside->address_count) != 0)
		log_error("network %s: out of memory, its addresses outside stay as they were",
			  gateway->network);
}

/* libslirp takes everybody to be on its own link. */
bool gateway_outer_stands_for(void *context, const struct ip *ip)
{
	const struct gateway *gateway = context;
	const struct port *outer = gateway->legs[GATEWAY_OUTER].port;
	const struct fib_next *next;

	if (gateway->nat != NULL)
		return nat_is_address(gateway->nat, ip);
	if (gateway->uplink == NULL || gateway->uplink->type != &port_user || outer == NULL ||
	    gateway->fib == NULL)
		return false;
	next = fib_lookup(gateway->fib, ip);
	return (next->action == FIB_CONNECTED || next->action == FIB_VIA) &&
	       next->leg != outer->index;
}

static void configured4(void *context, const struct dhcp_client_state *state)
{
	struct gateway *gateway = context;

	gateway->outside_changed = true;
	if (gateway->vswitch->store != NULL)
		store_put(gateway->vswitch->store, remembered_table, gateway->network,
			  strlen(gateway->network), &state->address.ip, sizeof(state->address.ip));
	gateway_finish_later(gateway);
}

static void configured6(void *context, const struct slaac_state *state)
{
	struct gateway *gateway = context;

	gateway->outside_changed = true;
	gateway_finish_later(gateway);
}

static void lost(void *context)
{
	struct gateway *gateway = context;

	gateway->outside_changed = true;
	gateway_finish_later(gateway);
}

struct remembered {
	const char *network;
	struct ip ip;
};

static int find_remembered(void *context, const uint8_t *key, size_t key_length,
			   const uint8_t *value, size_t value_length)
{
	struct remembered *remembered = context;

	if (key_length == strlen(remembered->network) && value_length == sizeof(struct ip) &&
	    memcmp(key, remembered->network, key_length) == 0)
		memcpy(&remembered->ip, value, sizeof(remembered->ip));
	return 0;
}

static int start_dhcp(struct gateway *gateway, uint64_t seed)
{
	struct gateway_leg *leg = &gateway->legs[GATEWAY_OUTER];
	struct dhcp_client_events events = { configured4, lost, gateway };
	struct remembered remembered = { gateway->network, { { 0 } } };
	struct dhcp_client_settings settings = { .mac = leg->route.mac, .seed = seed };

	if (gateway->vswitch->store != NULL)
		store_visit(gateway->vswitch->store, remembered_table, find_remembered,
			    &remembered);
	settings.remembered = remembered.ip;
	gateway->dhcp_client =
	    dhcp_client_create(&settings, &leg->route.output, &events, gateway_now());
	return gateway->dhcp_client != NULL ? 0 : -ENOMEM;
}

static int start_slaac(struct gateway *gateway, uint64_t seed)
{
	struct gateway_leg *leg = &gateway->legs[GATEWAY_OUTER];
	struct slaac_client_events events = { configured6, lost, gateway };
	struct slaac_client_settings settings = { .mac = leg->route.mac,
						  .mtu = leg->route.mtu,
						  .seed = seed };

	gateway->slaac_client =
	    slaac_client_create(&settings, &leg->route.output, &events, gateway_now());
	return gateway->slaac_client != NULL ? 0 : -ENOMEM;
}

int gateway_outer_start(struct gateway *gateway)
{
	const struct uplink_config *config = &gateway->config->uplink;
	uint64_t seed = 0;
	int result = 0;

	if (!config->present || gateway->legs[GATEWAY_OUTER].port == NULL)
		return 0;
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = gateway_now();
	if (config->dhcp && gateway->dhcp_client == NULL)
		result = start_dhcp(gateway, seed);
	if (result == 0 && config->slaac && gateway->slaac_client == NULL)
		result = start_slaac(gateway, seed);
	return result;
}

void gateway_outer_stop(struct gateway *gateway)
{
	dhcp_client_destroy(gateway->dhcp_client);
	slaac_client_destroy(gateway->slaac_client);
	gateway->dhcp_client = NULL;
	gateway->slaac_client = NULL;
}

void gateway_outer_restart(struct gateway *gateway)
{
	if (gateway->dhcp_client != NULL)
		dhcp_client_restart(gateway->dhcp_client, gateway_now());
	if (gateway->slaac_client != NULL)
		slaac_client_restart(gateway->slaac_client, gateway_now());
}
