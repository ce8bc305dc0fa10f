/* Shared by the files of the gateway (gateway*.c) and nobody else. Control thread.
 *
 *   gateway.c           life cycle
 *   gateway_apply.c     in step with the configuration
 *   gateway_outer.c     the leg outside: its addresses, from whoever gives them
 *   gateway_route.c     the forwarding table
 *   gateway_services.c  DHCP, DHCPv6, advertisements, DNS, and their time
 *   gateway_input.c     what workers leave to control
 *   gateway_host.c      what the host does for an uplink: a tap's other side, forwards
 *   gateway_state.c     what is kept for the next weftd, beside leases and sessions
 *   gateway_guard.c     which guest has which address (anti-spoofing)
 *   gateway_stage.c     the workers' part */
#ifndef WEFT_VSWITCH_GATEWAY_INTERNAL_H
#define WEFT_VSWITCH_GATEWAY_INTERNAL_H

#include "base/packet.h"
#include "route/leg.h"
#include "vswitch/gateway.h"
#include "vswitch/switch.h"

struct advertise;
struct dhcp6_server;
struct dhcp_client;
struct dhcp_server;
struct dns_server;
struct dns_tcp;
struct event;
struct fib_route;
struct icmp;
struct lease_table;
struct reassembly;
struct slaac_client;

struct gateway_leg {
	struct gateway *gateway;
	struct route_leg route;
	struct port *port; /* NULL: the leg does not work (yet, or any more) */
	bool unsent;	   /* frames were put that are to be flushed */
	bool listening;
};

/* What the leg outside has, whoever gave it. */
struct gateway_outside {
	uint8_t address_count;
	struct ip_prefix addresses[GATEWAY_ADDRESSES_MAX];
	bool has_gateway4, has_gateway6;
	struct ip gateway4, gateway6;
	struct ip_list dns;
	uint16_t mtu;
	bool link; /* the uplink's */
};

#define GATEWAY_COUNTERS(X)                                                                        \
	X(taken, "frames that workers left to control")                                            \
	X(malformed, "of these, not well-formed")                                                  \
	X(ignored, "of these, of no use to the gateway")                                           \
	X(neighbour_refused, "packets for a neighbour that cannot be asked for")                   \
	X(full, "frames that found no room on their way out")                                      \
	X(claims, "IPv6 addresses that guests made and were given")                                \
	X(claims_refused, "addresses claimed that another port has, or one too many")

struct gateway_counters {
#define GATEWAY_COUNTER(name, text) uint64_t name;
	GATEWAY_COUNTERS(GATEWAY_COUNTER)
#undef GATEWAY_COUNTER
};

struct gateway {
	struct vswitch *vswitch;
	char network[CONFIG_NAME_MAX + 1];
	enum config_mode mode;
	struct gateway_config *config; /* a reference */
	bool loaded;		       /* what the last weftd left has been taken over */
	bool stale;	  /* services run by an older configuration, or do not run yet */
	bool unpublished; /* something changed that workers have not seen yet */
	struct gateway_leg legs[GATEWAY_SIDES];
	struct port *uplink; /* NULL: none, or closed */

	struct fib *fib;
	struct fib *old_fib;	  /* workers may still be in it */
	struct fib_route *routes; /* what fib was made of, for show */
	uint32_t route_count;
	struct neighbour_table *neighbours;
	uint64_t neighbours_saved; /* neighbour_changes() at the last save */
	struct icmp *icmp;
	struct reassembly *reassembly;
	struct nat *nat; /* NULL: translates nothing */

	struct gateway_outside outside;
	bool outside_changed;
	struct dhcp_client *dhcp_client;
	struct slaac_client *slaac_client;

	struct lease_table *leases;
	struct dhcp_server *dhcp;
	struct dhcp6_server *dhcp6;
	struct gateway_config *served; /* a reference: what the services run by; NULL: none do */
	struct advertise *advertise;
	struct dns_server *dns;
	struct dns_tcp *dns_tcp;
	bool host_side;	 /* the host's side of the uplink has been made */
	bool host_stale; /* by an older configuration */

	bool guards_changed;
	struct event *timer;
	struct event *later;
	struct gateway *next_gone;
	struct gateway_counters counters;
};

/* gateway_services.c: milliseconds and seconds of CLOCK_BOOTTIME, seconds since 1970. */
uint64_t gateway_now(void);
uint32_t gateway_boottime(void);
uint64_t gateway_wall(void);

/* After anything that may have put frames or moved a deadline: sends them, takes up what changed
 * outside, and sets the timer. Every entry from the event loop ends with it. */
void gateway_finish(struct gateway *gateway);

/* Calls gateway_finish() from the event loop, soon: for callbacks in the midst of something. */
void gateway_finish_later(struct gateway *gateway);

/* Queues a frame into the leg's segment, cut so that it fits `mtu`; 0: its link. */
void gateway_leg_put(struct gateway_leg *leg, const uint8_t *frame, size_t length, uint16_t mtu);

/* A gateway for the network's, without configuration or ports. 0 or -ENOMEM. */
int gateway_create(struct vswitch *vswitch, const struct network *network, struct gateway **out);

/* gateway_route.c: builds gateway->fib anew where routes have changed; the old one waits in old_fib
 * for a publication. 0 or -ENOMEM (the old one stays). */
int gateway_build_routes(struct gateway *gateway);

/* gateway_outer.c */
struct mac gateway_outer_mac(const struct gateway *gateway);
int gateway_outer_start(struct gateway *gateway);
void gateway_outer_stop(struct gateway *gateway);
/* Follows the MTU of an uplink that is an interface of the host, and ceases to. */
void gateway_outer_watch(struct gateway *gateway);
void gateway_outer_unwatch(struct gateway *gateway);
/* Whether the leg outside answers for an address that it may not have itself (struct route_proxy):
 * one of a translator's pool; or, where the other end knows no routes, any that is behind it. */
bool gateway_outer_stands_for(void *gateway, const struct ip *ip);
/* The uplink's link has come back, perhaps to another network. */
void gateway_outer_restart(struct gateway *gateway);
/* Collects what the leg outside has now; true when that differs from gateway->outside. */
bool gateway_outer_collect(struct gateway *gateway);
/* Puts gateway->outside into force: leg, neighbours, translator. Routes and publication follow. */
void gateway_outer_apply(struct gateway *gateway);
/* The host's own part: a tap's host side, a user uplink's forwards. What is the same as before is
 * not touched. After an error what is there is neither, until a configuration that works. */
int gateway_host_start(struct gateway *gateway, struct error *error);
void gateway_host_stop(struct gateway *gateway);

/* gateway_state.c: neighbours and MAC addresses, from the last weftd to the next. */
void gateway_state_load(struct gateway *gateway);
void gateway_state_save(struct gateway *gateway);

/* gateway_services.c */
void gateway_services_start(struct gateway *gateway);
void gateway_services_stop(struct gateway *gateway);
/* The same for good: guests are told that their router goes. */
void gateway_services_farewell(struct gateway *gateway);
/* Does what is due; returns the next moment something is, UINT64_MAX: nothing. */
uint64_t gateway_services_tick(struct gateway *gateway, uint64_t now);

/* gateway_input.c: takes what a leg's port has for control. */
void gateway_leg_ready(void *leg);
/* Events of the engines. */
void gateway_reassembled(void *gateway, uint32_t owner, const uint8_t *frame, size_t length,
			 uint16_t mtu);
void gateway_reassembly_expired(void *gateway, uint32_t owner, const uint8_t *frame, size_t length);
void gateway_neighbour_unreachable(void *gateway, const struct route_leg *leg, const uint8_t *frame,
				   size_t length);
void gateway_neighbour_conflict(void *gateway, const struct route_leg *leg, const struct ip *ip,
				const struct mac *mac);

/* gateway_guard.c: which guest has which address. A port is guarded from its first frame on, so
 * this comes before publication. 0 or -ENOMEM. */
int gateway_guard_update(struct gateway *gateway);
/* After publication: ports that are to be guarded no more are free; before, workers might still
 * have taken them for members of the network they were in. */
void gateway_guard_settle(struct vswitch *vswitch);
/* An address was given to this MAC, or taken from it. */
void gateway_guard_lease(struct gateway *gateway, struct mac mac);
/* A frame whose source is new on its port; true when it is the guest's now. */
bool gateway_guard_ask(struct gateway *gateway, struct port *port, const struct packet *packet);
/* A guest probes an IPv6 address, to take it (RFC 4862, 5.4). */
void gateway_guard_probe(struct gateway *gateway, struct port *port, const struct packet *packet);
/* The guest has gone; another may come. */
void gateway_guard_leave(struct gateway *gateway, struct port *port);
/* Publishes what has changed. */
void gateway_guard_finish(struct gateway *gateway);
/* The port has no guard any more, and no binding. */
void gateway_guard_remove(struct vswitch *vswitch, struct port *port);

#endif
