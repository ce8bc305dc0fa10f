/* The gateway of a network: routing, translation and the services of its address, over the engines
 * in route/ and nat/.
 *
 * Workers forward what needs no thought (gateway_stage.c); everything else comes to control through
 * the legs' ports (port_gateway.h) and is handled here. All of this header is control thread, but
 * for struct leg_view, which is part of the snapshot. */
#ifndef WEFT_VSWITCH_GATEWAY_H
#define WEFT_VSWITCH_GATEWAY_H

#include "base/error.h"
#include "base/ip.h"
#include "base/mac.h"
#include "vswitch/config.h"
#include "vswitch/gateway_config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct fib;
struct gateway;
struct nat;
struct neighbour_table;
struct network;
struct port;
struct vswitch;

/* A leg's index, in engines that number them. */
enum gateway_side { GATEWAY_INNER, GATEWAY_OUTER, GATEWAY_SIDES };

/* What workers see of a leg. Immutable; what it points to lives at least as long. */
struct leg_view {
	uint16_t port; /* index of its own port */
	uint8_t side;  /* enum gateway_side */
	struct mac mac;
	uint16_t mtu;
	bool clamp_mss;
	const struct fib *fib; /* legs in it are indices of ports */
	struct neighbour_table *neighbours;
	struct nat *nat;     /* NULL: nothing is translated */
	uint16_t inner_port; /* the gateway's other legs; GATEWAY_NO_PORT when there is none */
	uint16_t outer_port;
};

#define GATEWAY_NO_PORT UINT16_MAX

#define GATEWAY_INNER_SUFFIX ".gw"
#define GATEWAY_OUTER_SUFFIX ".out"

/* The ports a network with a gateway has beside those that are written down: "NETWORK.gw" in its
 * segment, and "NETWORK.out" beside its uplink when that is no member of the segment. Adds
 * them to *config, or takes away those that are not needed any more. Idempotent. 0 or -ENOMEM. */
int gateway_complete_config(struct config *config);

/* Whether a port is one of those. */
bool gateway_is_leg(const struct port_config *port);

/* Brings the gateways of all networks in step with the switch's tables of networks and ports, which
 * have just changed and are about to be published. On error some are not, and the caller goes back
 * to what was. `file` names the source in errors, NULL: none. 0 or -errno. */
int gateways_update(struct vswitch *vswitch, const char *file, struct error *error);

/* Whether there is something to publish since gateways_settle(). */
bool gateways_unpublished(const struct vswitch *vswitch);

/* After publication: what the update replaced is freed, services start. */
void gateways_settle(struct vswitch *vswitch);

/* After publication of a change that succeeded: sessions that do not fit it any more end. Those of
 * a change that failed and is about to be undone go on. */
void gateways_end_sessions(struct vswitch *vswitch);

/* Before `port` is closed: nothing refers to it afterwards. */
void gateways_forget_port(struct vswitch *vswitch, struct port *port);

/* The link of a port, an uplink perhaps, has come or gone. */
void gateways_link_changed(struct vswitch *vswitch, const struct port *port);

/* The network is dropped: so is its gateway, with the next publication. */
void gateways_drop(struct vswitch *vswitch, struct network *network);

/* Everything is about to end: services say farewell. */
void gateways_stop(struct vswitch *vswitch);

/* Takes NULL. The network's ports are closed, workers see it no more. */
void gateway_destroy(struct gateway *gateway);

/* The view of a leg for the snapshot; false when the port is no leg of a gateway that works. */
bool gateway_view(const struct gateway *gateway, const struct port *port, struct leg_view *view);

/* Opens what must survive a restart. Without it (a warning says why) nothing is kept. */
void gateways_open_store(struct vswitch *vswitch, const char *directory);
void gateways_close_store(struct vswitch *vswitch);

/* Once a second. */
void gateways_housekeeping(struct vswitch *vswitch);

#endif
