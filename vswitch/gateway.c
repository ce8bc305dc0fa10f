/* The life of gateways (gateway.h): made and ended, woken by time and by their ports, seen by
 * workers. Control thread. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "base/store.h"
#include "nat/nat.h"
#include "route/advertise.h"
#include "route/fib.h"
#include "route/icmp.h"
#include "route/lease.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "vswitch/port_gateway.h"
#include "vswitch/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASES_MAX 65536u

void gateway_leg_put(struct gateway_leg *leg, const uint8_t *frame, size_t length, uint16_t mtu)
{
	if (leg->port == NULL)
		return;
	if (!port_gateway_put(leg->port, frame, length, mtu)) {
		leg->gateway->counters.full++;
		return;
	}
	/* An engine with sockets or timers of its own may have sent it: nobody else flushes. */
	if (!leg->unsent)
		gateway_finish_later(leg->gateway);
	leg->unsent = true;
}

/* The leg's output. */
static void leg_send(void *context, const uint8_t *frame, size_t length)
{
	gateway_leg_put(context, frame, length, 0);
}

static void set_timer(struct gateway *gateway, uint64_t next, uint64_t now)
{
	uint64_t ms = next > now ? next - now : 0;
	struct timeval delay;

	if (next == UINT64_MAX) {
		event_del(gateway->timer);
		return;
	}
	if (ms > 3600000)
		ms = 3600000;
	delay = (struct timeval){ .tv_sec = (time_t)(ms / 1000),
				  .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
	event_add(gateway->timer, &delay);
}

static void take_up_outside(struct gateway *gateway)
{
	gateway->outside_changed = false;
	if (!gateway_outer_collect(gateway))
		return;
	gateway_outer_apply(gateway);
	if (gateway_build_routes(gateway) != 0 || vswitch_publish(gateway->vswitch) != 0) {
		log_error("network %s: out of memory, its routes stay as they were",
			  gateway->network);
		return;
	}
	gateways_settle(gateway->vswitch);
	gateways_end_sessions(gateway->vswitch);
}

void gateway_finish(struct gateway *gateway)
{
	uint64_t now = gateway_now(), next = gateway_services_tick(gateway, now);

	if (gateway->outside_changed) {
		take_up_outside(gateway);
		next = gateway_services_tick(gateway, now);
	}
	gateway_guard_finish(gateway);
	for (unsigned i = 0; i < GATEWAY_SIDES; i++) {
		if (gateway->legs[i].unsent && gateway->legs[i].port != NULL)
			port_gateway_flush(gateway->legs[i].port);
		gateway->legs[i].unsent = false;
	}
	set_timer(gateway, next, now);
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
	gateway_finish(argument);
}

void gateway_finish_later(struct gateway *gateway)
{
	event_active(gateway->later, EV_TIMEOUT, 0);
}

static void lease_bound(void *context, const struct lease *lease)
{
	gateway_guard_lease(context, lease->mac);
}

static void init_leg(struct gateway *gateway, enum gateway_side side)
{
	struct gateway_leg *leg = &gateway->legs[side];

	leg->gateway = gateway;
	leg->route.index = (uint16_t)side;
	leg->route.output = (struct route_output){ leg_send, leg };
}

int gateway_create(struct vswitch *vswitch, const struct network *network, struct gateway **out)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	struct neighbour_events neighbours = { .unreachable = gateway_neighbour_unreachable,
					       .conflict = gateway_neighbour_conflict,
					       .context = gateway };
	struct reassembly_events reassembly = { gateway_reassembled, gateway_reassembly_expired,
						gateway };
	struct reassembly_limits limits = REASSEMBLY_LIMITS;
	struct lease_events leases = { lease_bound, lease_bound, gateway };

	if (gateway == NULL)
		return -ENOMEM;
	gateway->vswitch = vswitch;
	memcpy(gateway->network, network->config.name, sizeof(gateway->network));
	init_leg(gateway, GATEWAY_INNER);
	init_leg(gateway, GATEWAY_OUTER);
	gateway->legs[GATEWAY_OUTER].route.proxy =
	    (struct route_proxy){ gateway_outer_stands_for, gateway };
	gateway->neighbours = neighbour_create(GATEWAY_SIDES, NEIGHBOUR_LEG_LIMIT, neighbours);
	gateway->icmp = icmp_create(GATEWAY_SIDES);
	gateway->reassembly = reassembly_create(&limits, reassembly);
	gateway->leases = lease_table_create(vswitch->store, gateway->network, LEASES_MAX, &leases);
	gateway->timer = evtimer_new(vswitch->loop, on_time, gateway);
	gateway->later = event_new(vswitch->loop, -1, 0, on_time, gateway);
	if (gateway->neighbours == NULL || gateway->icmp == NULL || gateway->reassembly == NULL ||
	    gateway->leases == NULL || gateway->timer == NULL || gateway->later == NULL) {
		gateway_destroy(gateway);
		return -ENOMEM;
	}
	*out = gateway;
	return 0;
}

void gateway_destroy(struct gateway *gateway)
{
	if (gateway == NULL)
		return;
	gateway_host_stop(gateway);
	gateway_services_stop(gateway);
	gateway_outer_stop(gateway);
	if (gateway->timer != NULL)
		event_free(gateway->timer);
	if (gateway->later != NULL)
		event_free(gateway->later);
	nat_destroy(gateway->nat);
	lease_table_destroy(gateway->leases);
	reassembly_destroy(gateway->reassembly);
	icmp_destroy(gateway->icmp);
	neighbour_destroy(gateway->neighbours);
	fib_destroy(gateway->fib);
	fib_destroy(gateway->old_fib);
	free(gateway->routes);
	gateway_config_unref(gateway->config);
	free(gateway);
}

bool gateway_view(const struct gateway *gateway, const struct port *port, struct leg_view *view)
{
	const struct gateway_leg *leg;
	const struct gateway_leg *legs;

	if (gateway == NULL || gateway->fib == NULL)
		return false;
	legs = gateway->legs;
	leg = &legs[port->config.options.leg.side];
	if (leg->port != port)
		return false;
	*view = (struct leg_view){
		.port = port->index,
		.side = port->config.options.leg.side,
		.mac = leg->route.mac,
		.mtu = leg->route.mtu,
		.clamp_mss = gateway->config->mss_clamp,
		.fib = gateway->fib,
		.neighbours = gateway->neighbours,
		.nat = gateway->nat,
		.inner_port = legs[GATEWAY_INNER].port != NULL ? legs[GATEWAY_INNER].port->index
							       : GATEWAY_NO_PORT,
		.outer_port = legs[GATEWAY_OUTER].port != NULL ? legs[GATEWAY_OUTER].port->index
							       : GATEWAY_NO_PORT,
	};
	return true;
}

void gateways_drop(struct vswitch *vswitch, struct network *network)
{
	struct gateway *gateway = network->gateway;

	if (gateway == NULL)
		return;
	network->gateway = NULL;
	gateway_state_save(gateway);
	gateway_services_farewell(gateway);
	gateway_host_stop(gateway);
	gateway_outer_stop(gateway);
	gateway_outer_unwatch(gateway);
	/* Should it have to wait for its publication, nothing wakes it any more. */
	event_del(gateway->timer);
	event_del(gateway->later);
	for (unsigned i = 0; i < GATEWAY_SIDES; i++) {
		if (gateway->legs[i].port == NULL)
			continue;
		port_gateway_flush(gateway->legs[i].port);
		port_gateway_deafen(gateway->legs[i].port);
		gateway->legs[i].port = NULL;
	}
	gateway->next_gone = vswitch->gone_gateways;
	vswitch->gone_gateways = gateway;
}

void gateways_stop(struct vswitch *vswitch)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct gateway *gateway =
		    vswitch->networks[i] != NULL ? vswitch->networks[i]->gateway : NULL;

		if (gateway == NULL)
			continue;
		gateway_state_save(gateway);
		gateway_services_farewell(gateway);
		gateway_host_stop(gateway);
	}
}

static struct gateway *gateway_of(const struct vswitch *vswitch, const struct port *port)
{
	struct network *network = vswitch_find_network(vswitch, port->config.network);

	return network != NULL ? network->gateway : NULL;
}

void gateways_forget_port(struct vswitch *vswitch, struct port *port)
{
	struct gateway *gateway = gateway_of(vswitch, port);

	gateway_guard_remove(vswitch, port);
	/* Its frames may be in the legs of peers, too. */
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (vswitch->ports[i] != NULL && gateway_is_leg(&vswitch->ports[i]->config) &&
		    vswitch->ports[i]->private != NULL)
			port_gateway_orphan(vswitch->ports[i], port->index);
	}
	if (gateway == NULL)
		return;
	lease_forget_port(gateway->leases, port->index);
	for (uint32_t i = 0; i < GATEWAY_SIDES; i++) {
		struct gateway_leg *leg = &gateway->legs[i];

		reassembly_forget(gateway->reassembly, i << 16 | port->index);
		if (leg->port != port)
			continue;
		port_gateway_deafen(port);
		leg->port = NULL;
		leg->listening = false;
		gateway->stale = true;
	}
	if (gateway->uplink == port) {
		gateway_host_stop(gateway);
		gateway_outer_stop(gateway);
		gateway_outer_unwatch(gateway);
		/* Whatever comes in its place has others at its end, or the same ones with new
		 * MACs. */
		neighbour_clear_leg(gateway->neighbours, GATEWAY_OUTER, gateway_now());
		gateway->uplink = NULL;
		gateway->outside_changed = true;
		gateway->stale = true;
	}
}

void gateways_link_changed(struct vswitch *vswitch, const struct port *port)
{
	struct gateway *gateway = gateway_of(vswitch, port);
	bool up = atomic_load_explicit(&port->link, memory_order_relaxed);

	if (gateway == NULL)
		return;
	if (gateway->uplink == port) {
		if (up)
			gateway_outer_restart(gateway);
		gateway->outside_changed = true;
	} else if (gateway_is_leg(&port->config)) {
		return;
	} else if (!up && port->binding != NULL) {
		gateway_guard_leave(gateway, vswitch->ports[port->index]);
	} else if (up && gateway->advertise != NULL) {
		advertise_greet(gateway->advertise, gateway_now());
	}
	gateway_finish_later(gateway);
}
