/* The state of the switch as JSON, for `weft show`; every key is documented in docs/api.md. Control
 * thread. Each returns a new reference: an array of objects. */
#ifndef WEFT_VSWITCH_SHOW_H
#define WEFT_VSWITCH_SHOW_H

#include "base/error.h"
#include "base/ip.h"
#include "base/mac.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct gateway;
struct network;
struct vswitch;

json_t *show_networks(const struct vswitch *vswitch);
json_t *show_ports(const struct vswitch *vswitch);
json_t *show_macs(const struct vswitch *vswitch);
json_t *show_drops(const struct vswitch *vswitch);
json_t *show_workers(const struct vswitch *vswitch);

/* Which rows of the lists of gateways are wanted. */
#define SHOW_GUEST_MAX 256u

struct show_filter {
	const char *network; /* NULL: of all */
	bool has_guest;	     /* only about these addresses */
	uint32_t ip_count, mac_count;
	struct ip ips[SHOW_GUEST_MAX];
	struct mac macs[SHOW_GUEST_MAX];
	int protocol; /* -1: any */
	size_t limit;
};

/* Any row, up to the usual limit. */
void show_filter_init(struct show_filter *filter);
/* A guest by address, MAC or port: the addresses it has now, as far as the gateways of the filter's
 * network know. 0 or -EINVAL, -ENOENT. */
int show_filter_guest(const struct vswitch *vswitch, struct show_filter *filter, const char *text,
		      struct error *error);
/* tcp, udp, icmp, icmpv6, or a number. 0 or -EINVAL. */
int show_filter_protocol(struct show_filter *filter, const char *text, struct error *error);

json_t *show_neighbours(const struct vswitch *vswitch, const struct show_filter *filter);
json_t *show_routes(const struct vswitch *vswitch, const struct show_filter *filter);
json_t *show_sessions(const struct vswitch *vswitch, const struct show_filter *filter);
json_t *show_leases(const struct vswitch *vswitch, const struct show_filter *filter);

/* Adds what a network's gateway is and does to the network's object. */
void show_gateway(const struct network *network, json_t *object);

/* All that its parts count: an object of objects. */
json_t *show_gateway_counters(const struct gateway *gateway);

/* Every reason there is, counted or not. */
json_t *show_drop_reasons(const struct vswitch *vswitch);

#endif
