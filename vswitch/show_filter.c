/* Which rows of a list somebody wants to see (show.h). Control thread. */
#include "vswitch/show.h"

#include "route/guard.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "vswitch/gateway_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 100000u

void show_filter_init(struct show_filter *filter)
{
	memset(filter, 0, sizeof(*filter));
	filter->protocol = -1;
	filter->limit = LIMIT;
}

static void add_ip(struct show_filter *filter, const struct ip *ip)
{
	if (filter->ip_count < SHOW_GUEST_MAX)
		filter->ips[filter->ip_count++] = *ip;
}

static bool has_mac(const struct show_filter *filter, struct mac mac)
{
	for (uint32_t i = 0; i < filter->mac_count; i++) {
		if (memcmp(filter->macs[i].bytes, mac.bytes, MAC_LENGTH) == 0)
			return true;
	}
	return false;
}

static void add_mac(struct show_filter *filter, struct mac mac)
{
	if (filter->mac_count < SHOW_GUEST_MAX && !has_mac(filter, mac))
		filter->macs[filter->mac_count++] = mac;
}

static bool add_leased(void *context, const struct lease *lease)
{
	add_ip(context, &lease->ip);
	return true;
}

static void add_known(void *context, const struct neighbour *neighbour)
{
	struct show_filter *filter = context;

	if (has_mac(filter, neighbour->mac))
		add_ip(filter, &neighbour->ip);
}

/* Addresses of the filter's MACs. */
static void add_addresses(const struct vswitch *vswitch, struct show_filter *filter)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		const struct network *network = vswitch->networks[i];

		if (network == NULL || network->gateway == NULL ||
		    (filter->network != NULL && strcmp(filter->network, network->config.name) != 0))
			continue;
		for (uint32_t m = 0; m < filter->mac_count; m++)
			lease_visit_mac(network->gateway->leases, filter->macs[m], add_leased,
					filter);
		neighbour_visit(network->gateway->neighbours, add_known, filter);
	}
}

struct behind {
	struct show_filter *filter;
	uint16_t port;
};

static void add_behind(void *context, const struct mac_table_entry *entry)
{
	struct behind *behind = context;

	if (entry->port == behind->port)
		add_mac(behind->filter, entry->mac);
}

/* What it may send from: one that floods may never have told anybody its address. */
static void add_guarded(struct show_filter *filter, const struct port *port)
{
	/* relaxed: only control writes it. */
	const struct guard *guard = atomic_load_explicit(&port->guard, memory_order_relaxed);

	for (unsigned i = 0; guard != NULL && i < guard->count; i++)
		add_ip(filter, &guard->ips[i]);
}

int show_filter_guest(const struct vswitch *vswitch, struct show_filter *filter, const char *text,
		      struct error *error)
{
	struct behind behind = { .filter = filter };
	const struct network *network;
	const struct port *port;
	struct mac mac;
	struct ip ip;

	filter->has_guest = true;
	if (ip_from_text(text, &ip) == 0) {
		add_ip(filter, &ip);
		return 0;
	}
	if (mac_from_text(text, &mac) == 0) {
		add_mac(filter, mac);
		add_addresses(vswitch, filter);
		return 0;
	}
	port = vswitch_find_port(vswitch, text);
	if (port == NULL)
		return error_set(error, ENOENT,
				 "'%.80s' is no guest; allowed: an IP address, a MAC address, or "
				 "the name of a port",
				 text);
	network = vswitch_find_network(vswitch, port->config.network);
	/* It is in no other. */
	if (filter->network == NULL)
		filter->network = port->config.network;
	behind.port = port->index;
	if (port->config.has_mac)
		add_mac(filter, port->config.mac);
	if (network != NULL)
		mac_table_visit(network->macs, add_behind, &behind);
	add_addresses(vswitch, filter);
	add_guarded(filter, port);
	return 0;
}

int show_filter_protocol(struct show_filter *filter, const char *text, struct error *error)
{
	static const struct {
		const char *name;
		int number;
	} names[] = { { "tcp", IPPROTO_TCP },
		      { "udp", IPPROTO_UDP },
		      { "icmp", IPPROTO_ICMP },
		      { "icmpv6", IPPROTO_ICMPV6 } };
	unsigned long number;
	char *end;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].name, text) != 0)
			continue;
		filter->protocol = names[i].number;
		return 0;
	}
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || number > 255)
		return error_set(error, EINVAL,
				 "'%.80s' is no protocol; allowed: tcp, udp, icmp, icmpv6, or a "
				 "number from 0 to 255",
				 text);
	filter->protocol = (int)number;
	return 0;
}
