/* A tap as the uplink of a network: the host is the next hop, and its side of the tap is made by
 * us. Control thread. */
#ifndef WEFT_VSWITCH_TAP_UPLINK_H
#define WEFT_VSWITCH_TAP_UPLINK_H

#include "base/error.h"
#include "base/ip.h"

#include <stdint.h>

#define TAP_UPLINK_HOSTS  16u
#define TAP_UPLINK_ROUTES 64u

struct port;

struct tap_route {
	struct ip_prefix to; /* host bits do not matter */
	struct ip via;	     /* an address of ours on the tap, of the same family */
};

/* What the host's side shall be. Plain values, compared one by one. */
struct tap_uplink {
	uint32_t host_count;
	struct ip_prefix hosts[TAP_UPLINK_HOSTS]; /* the host's addresses with the link's prefix:
						   * what is a network's gateway outside */
	uint32_t route_count;
	struct tap_route routes[TAP_UPLINK_ROUTES]; /* to the networks behind us */
	uint32_t mtu;				    /* 0: as it is */
};

/* Sets the host's side of an open tap port up: MTU, up, addresses, routes; what an earlier call set
 * and this one does not name is taken back, what is the same is not touched. It is done again when
 * the interface was deleted and the port has made it anew, and taken back when the port closes.
 * Nothing else of the host is changed. 0, or -errno with the error set and all taken back: -EEXIST
 * when the host has a route to a prefix already; -EINVAL for a tap given as an open file, whose
 * other side is the giver's. */
int tap_uplink_configure(struct port *port, const struct tap_uplink *uplink, struct error *error);

/* Takes back what was configured. */
void tap_uplink_withdraw(struct port *port);

/* For port_tap.c: makes an interface's side be `to`, which was `from`. */
int tap_uplink_change(const char *name, const struct tap_uplink *from, const struct tap_uplink *to,
		      struct error *error);

#endif
