/* Bringing gateways in step with the configuration (gateway.h): before a publication what can fail,
 * after it what workers need not wait for. Control thread. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "nat/nat.h"
#include "route/dns.h"
#include "route/fib.h"
#include "route/neighbour.h"
#include "vswitch/port_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The same name in another place must lead to the same file, whatever stands in it: names are
 * letters, digits, '-', '_' and '.', the first no dot. */
static void session_path(const struct gateway *gateway, char *path, size_t size)
{
	snprintf(path, size, "%s/%s.sessions", gateway->vswitch->state_directory, gateway->network);
}

static int start_nat(struct gateway *gateway, struct error *error)
{
	const struct nat_config *config = &gateway->config->nat;
	char path[CONFIG_PATH_MAX];
	int result;

	if (gateway->vswitch->state_directory == NULL)
		return nat_create(config, NULL, gateway_boottime(), &gateway->nat, error);
	mkdir(gateway->vswitch->state_directory, 0700);
	session_path(gateway, path, sizeof(path));
	result = nat_create(config, path, gateway_boottime(), &gateway->nat, error);
	if (result != -EBUSY)
		return result;
	log_warning("network %s: %s; sessions will not outlive weftd", gateway->network,
		    error->text);
	return nat_create(config, NULL, gateway_boottime(), &gateway->nat, error);
}

static struct port *find_part(const struct gateway *gateway, const char *suffix)
{
	char name[2 * CONFIG_NAME_MAX];

	snprintf(name, sizeof(name), "%s%s", gateway->network, suffix);
	return vswitch_find_port(gateway->vswitch, name);
}

static void take_ports(struct gateway *gateway)
{
	const struct mode_row *mode = &config_modes[gateway->mode];

	gateway->legs[GATEWAY_INNER].port = find_part(gateway, GATEWAY_INNER_SUFFIX);
	gateway->legs[GATEWAY_OUTER].port = find_part(gateway, GATEWAY_OUTER_SUFFIX);
	gateway->uplink = mode->uplink_in_segment ? NULL : find_part(gateway, CONFIG_UPLINK_SUFFIX);
	gateway_outer_watch(gateway);
}

/* What follows from the configuration for the legs. The MAC outside is that inside but for a bit,
 * unless one is given. */
static void set_legs(struct gateway *gateway)
{
	const struct gateway_config *config = gateway->config;
	struct route_leg *inner = &gateway->legs[GATEWAY_INNER].route;
	struct route_leg *outer = &gateway->legs[GATEWAY_OUTER].route;

	inner->mac = config->mac;
	inner->mtu = config->mtu;
	inner->address_count = config->address_count;
	memcpy(inner->addresses, config->addresses, sizeof(inner->addresses));
	outer->mac = gateway_outer_mac(gateway);
}

static int set_nat(struct gateway *gateway, struct error *error)
{
	if (!config_modes[gateway->mode].translates)
		return 0; /* gateway_update() makes a new gateway for another mode */
	if (gateway->nat == NULL)
		return start_nat(gateway, error);
	return nat_update(gateway->nat, &gateway->config->nat, error);
}

/* A key of the configuration that the services of the inner address do not depend on. */
static bool is_beside_services(const char *key)
{
	static const char *const keys[] = { "antispoof", "forward", "mss-clamp", "nat",
					    "peers",	 "routes",  "uplink" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i], key) == 0)
			return true;
	}
	return false;
}

static void note_difference(void *context, const char *key)
{
	bool *differ = context;

	*differ |= !is_beside_services(key);
}

static bool services_differ(const struct gateway_config *a, const struct gateway_config *b)
{
	bool differ = false;

	gateway_config_compare(a, b, note_difference, &differ);
	return differ;
}

/* Takes over a configuration that differs; services follow in gateway_settle(). */
static int set_config(struct gateway *gateway, const struct network_config *config,
		      struct error *error)
{
	bool same_uplink =
	    gateway->config != NULL && memcmp(&gateway->config->uplink, &config->gateway->uplink,
					      sizeof(config->gateway->uplink)) == 0;

	if (gateway->served != NULL && services_differ(gateway->served, config->gateway))
		gateway_services_stop(gateway);
	gateway->host_stale = true;
	if (!same_uplink)
		gateway_outer_stop(gateway);
	gateway_config_unref(gateway->config);
	gateway->config = gateway_config_ref(config->gateway);
	gateway->mode = config->mode;
	gateway->stale = true;
	gateway->unpublished = true;
	set_legs(gateway);
	return set_nat(gateway, error);
}

static int gateway_update(struct vswitch *vswitch, struct network *network, struct error *error)
{
	const struct network_config *config = &network->config;
	struct gateway *gateway = network->gateway;

	/* Another mode is another gateway, with nothing of the old one's. */
	if (gateway != NULL && (config->gateway == NULL || gateway->mode != config->mode)) {
		gateways_drop(vswitch, network);
		gateway = NULL;
	}
	if (config->gateway == NULL)
		return 0;
	if (gateway == NULL && gateway_create(vswitch, network, &gateway) != 0)
		return error_set(error, ENOMEM, "network '%s': out of memory", config->name);
	network->gateway = gateway;
	if (!gateway_config_equal(gateway->config, config->gateway)) {
		int result = set_config(gateway, config, error);

		if (result != 0)
			return result;
	}
	take_ports(gateway);
	if (gateway->legs[GATEWAY_INNER].port != NULL)
		port_gateway_set_mtu(gateway->legs[GATEWAY_INNER].port, config->gateway->mtu);
	gateway->outside_changed |= gateway_outer_collect(gateway) || gateway->stale;
	if (gateway_guard_update(gateway) != 0)
		return error_set(error, ENOMEM, "network '%s': out of memory", config->name);
	return gateway_host_start(gateway, error);
}

int gateways_update(struct vswitch *vswitch, const char *file, struct error *error)
{
	int result = 0;

	for (uint16_t i = 0; i < vswitch->network_limit && result == 0; i++) {
		struct network *network = vswitch->networks[i];

		if (network == NULL)
			continue;
		result = gateway_update(vswitch, network, error);
		if (result != 0 && file != NULL)
			error_prefix(error, "%s:%u: ", file, network->config.line);
	}
	/* Each may lead into the others. */
	for (uint16_t i = 0; i < vswitch->network_limit && result == 0; i++) {
		struct network *network = vswitch->networks[i];

		if (network == NULL || network->gateway == NULL)
			continue;
		if (network->gateway->outside_changed)
			gateway_outer_apply(network->gateway);
		network->gateway->outside_changed = false;
		if (gateway_build_routes(network->gateway) != 0)
			result = error_set(error, ENOMEM, "network '%s': out of memory",
					   network->config.name);
	}
	return result;
}

bool gateways_unpublished(const struct vswitch *vswitch)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		const struct network *network = vswitch->networks[i];

		if (network != NULL && network->gateway != NULL && network->gateway->unpublished)
			return true;
	}
	return vswitch->gone_gateways != NULL;
}

static void settle(struct gateway *gateway)
{
	struct gateway_leg *inner = &gateway->legs[GATEWAY_INNER];

	gateway->unpublished = false;
	fib_destroy(gateway->old_fib);
	gateway->old_fib = NULL;
	for (unsigned i = 0; i < GATEWAY_SIDES; i++) {
		struct gateway_leg *leg = &gateway->legs[i];

		if (leg->port == NULL || leg->listening)
			continue;
		if (port_gateway_listen(leg->port, gateway_leg_ready, leg) != 0)
			log_error("network %s: out of memory, its gateway is deaf",
				  gateway->network);
		leg->listening = true;
	}
	/* Without its leg, halfway through a change that failed, it stays so. */
	if (!gateway->stale || inner->port == NULL)
		return;
	gateway->stale = false;
	neighbour_set_leg(gateway->neighbours, &inner->route, gateway_now());
	if (!gateway->loaded)
		gateway_state_load(gateway);
	gateway->loaded = true;
	if (gateway->served == NULL)
		gateway_services_start(gateway);
	if (gateway_outer_start(gateway) != 0)
		log_error("network %s: out of memory, no address outside", gateway->network);
	gateway_finish_later(gateway);
}

/* The addresses that this process answers DNS on, so that no question comes back to it. */
static void tell_dns_own(struct vswitch *vswitch)
{
	uint32_t count = 0, room = (uint32_t)vswitch->network_limit * GATEWAY_ADDRESSES_MAX;
	struct ip *ips = calloc(room + 1u, sizeof(*ips));

	for (uint16_t i = 0; ips != NULL && i < vswitch->network_limit; i++) {
		const struct gateway *gateway =
		    vswitch->networks[i] != NULL ? vswitch->networks[i]->gateway : NULL;

		for (unsigned n = 0; gateway != NULL && n < gateway->config->address_count; n++)
			ips[count++] = gateway->config->addresses[n].ip;
	}
	for (uint16_t i = 0; ips != NULL && i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network != NULL && network->gateway != NULL && network->gateway->dns != NULL)
			dns_server_set_own(network->gateway->dns, ips, count);
	}
	free(ips);
}

void gateways_settle(struct vswitch *vswitch)
{
	while (vswitch->gone_gateways != NULL) {
		struct gateway *gateway = vswitch->gone_gateways;

		vswitch->gone_gateways = gateway->next_gone;
		gateway_destroy(gateway);
	}
	gateway_guard_settle(vswitch);
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		if (vswitch->networks[i] != NULL && vswitch->networks[i]->gateway != NULL)
			settle(vswitch->networks[i]->gateway);
	}
	tell_dns_own(vswitch);
}

void gateways_end_sessions(struct vswitch *vswitch)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network != NULL && network->gateway != NULL && network->gateway->nat != NULL)
			nat_settle(network->gateway->nat);
	}
}
