/* The gateway's part of a burst (pipeline.h): routing and translation of what the bridge has put in
 * the batch of the gateway's leg. Worker thread.
 *
 * What needs nothing but tables is done here and leaves by another port, 64 KiB frames whole. What
 * needs thought or patience (services, errors, missing neighbours, fragments) stays in the batch,
 * marked with the reason, and goes to control. */
#include "vswitch/pipeline.h"

#include "base/parse.h"
#include "nat/nat.h"
#include "route/fib.h"
#include "route/forward.h"
#include "route/neighbour.h"
#include "vswitch/port_gateway.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>

#define DHCP_SERVER  67
#define DHCP_CLIENT  68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

struct stage {
	struct worker_context *context;
	const struct port_view *from;
	const struct leg_view *leg; /* of the segment the frames came in by */
	struct transmit_batch *batch;
};

static void stage_drop(const struct stage *stage, enum drop_reason reason)
{
	counter_drop(&stage->from->port->counters[stage->context->worker->id], reason, 1);
}

/* Says why a frame goes to control, in one piece. */
static void note_punt(struct frame *frame, enum gateway_punt punt)
{
	if (frame->gso == FRAME_GSO_FRAGMENT)
		frame->gso = FRAME_GSO_NONE;
	frame->punt = (uint8_t)punt;
}

/* Leaves a frame to control. */
static void stage_punt(const struct stage *stage, struct frame *frame, enum gateway_punt punt)
{
	note_punt(frame, punt);
	stage->batch->frames[stage->batch->count++] = frame;
}

/* The packet ends here, and control tells its sender why (ICMP). */
static void stage_refuse(const struct stage *stage, struct frame *frame, enum gateway_punt punt)
{
	static const enum drop_reason reasons[] = {
		[GATEWAY_PUNT_HOP_LIMIT] = DROP_IP_TTL,
		[GATEWAY_PUNT_NO_ROUTE] = DROP_IP_NO_ROUTE,
		[GATEWAY_PUNT_PROHIBITED] = DROP_IP_PROHIBITED,
		[GATEWAY_PUNT_TOO_BIG] = DROP_IP_TOO_BIG,
	};

	stage_drop(stage, reasons[punt]);
	stage_punt(stage, frame, punt);
}

/* Whether control has a use for a frame to a group. The rest is between guests. */
static bool stage_wants(struct frame *frame)
{
	uint16_t ethertype, port = 0;
	const uint8_t *l4;

	if (parse_network_offset(frame, &ethertype) == 0)
		return false;
	if (ethertype == ETHERTYPE_ARP)
		return true;
	parse_frame(frame);
	if (frame->l4_offset == 0 || frame->l4_offset + 4u > frame->head_length)
		return false;
	l4 = frame->head + frame->l4_offset;
	if (frame->l4_protocol == IPPROTO_UDP)
		port = read_be16(l4 + 2);
	if (frame->ip_version == 4)
		return port == DHCP_SERVER || port == DHCP_CLIENT;
	if (frame->l4_protocol == IPPROTO_ICMPV6)
		return (l4[0] >= ND_ROUTER_SOLICIT && l4[0] <= ND_NEIGHBOR_ADVERT) ||
		       l4[0] == ICMP6_ECHO_REQUEST;
	return port == DHCP6_SERVER || port == DHCP6_CLIENT;
}

/* A part of a packet: ports are in the first one only, so it cannot be translated. */
static bool is_fragment(const struct frame *frame)
{
	const uint8_t *p = frame->head + frame->l3_offset;
	uint32_t at = PARSE_IPV6_LENGTH, room = frame->head_length - frame->l3_offset;
	uint8_t type;

	if (frame->ip_version == 4)
		return (read_be16(p + 6) & 0x3fff) != 0;
	if (frame->l4_offset != 0)
		return false;
	for (type = p[6]; type != IPPROTO_FRAGMENT;) {
		uint32_t length = at < room ? parse_extension_length(type, p + at, room - at) : 0;

		if (length == 0)
			return false;
		type = p[at];
		at += length;
	}
	return true;
}

/* Whether a packet may come from where it came (RFC 2827, RFC 3704): its source is routed there;
 * outside, it is at least not one of ours. */
static bool stage_source_fits(const struct stage *stage, const struct frame *frame)
{
	const struct leg_view *leg = stage->leg;
	struct ip source = forward_source(frame);
	const struct fib_next *back;

	if (stage->from->leg != NULL)
		return true; /* from control */
	back = fib_lookup(leg->fib, &source);
	if (back->action == FIB_LOCAL)
		return false;
	if (leg->side == GATEWAY_INNER)
		return (back->action == FIB_CONNECTED || back->action == FIB_VIA) &&
		       back->leg == leg->port;
	return (back->action != FIB_CONNECTED && back->action != FIB_VIA) || back->leg == leg->port;
}

/* Into the segment of a leg, to the MAC that is written in the frame. */
static void stage_send(const struct stage *stage, const struct leg_view *leg, struct frame *frame)
{
	const struct port_view *view = &stage->context->snapshot->ports[leg->port];
	const struct bridge *bridge = view->bridge;
	/* Within its segment a frame stays its sender's: two isolated ports do not reach each other
	 * through the gateway either. */
	const struct bridge_member *from =
	    stage->from->bridge == bridge ? stage->from->member : view->member;
	const struct bridge_member *to;
	uint16_t port;

	frame->vlan = VLAN_NONE;
	port = mac_table_lookup(bridge->macs, mac_to_u64(frame->head), VLAN_NONE);
	to = port < bridge->port_limit ? bridge->by_port[port] : NULL;
	if (to == NULL)
		pipeline_flood(stage->context, stage->from, bridge, from, frame);
	else if (from->isolated && to->isolated)
		stage_drop(stage, DROP_ISOLATED);
	else if (!vlan_allows(&to->vlan, VLAN_NONE))
		stage_drop(stage, DROP_VLAN_EGRESS);
	else
		pipeline_add(stage->context, port, frame);
}

/* The last steps: the next hop's MAC, one hop less, and out of `leg`. */
static void stage_forward(const struct stage *stage, const struct leg_view *leg,
			  const struct ip *hop, struct frame *frame)
{
	static const struct mac nobody;
	struct mac to;

	if (neighbour_lookup(leg->neighbours, leg->side, hop, &to)) {
		forward_rewrite(frame, &leg->mac, &to);
		stage_send(stage, leg, frame);
		return;
	}
	/* Control asks for the neighbour, and sends the frame from this leg. */
	forward_rewrite(frame, &leg->mac, &nobody);
	if (leg->port == stage->leg->port) {
		stage_punt(stage, frame, GATEWAY_PUNT_NEIGHBOUR);
		return;
	}
	note_punt(frame, GATEWAY_PUNT_NEIGHBOUR);
	pipeline_add(stage->context, leg->port, frame);
}

/* For an address of the gateway's own: perhaps one that stands for a guest. True when it has been
 * translated and goes on to *next; else it is done with. */
static bool stage_local(const struct stage *stage, struct frame *frame,
			const struct fib_next **next)
{
	const struct leg_view *leg = stage->leg;
	const struct leg_view *inner;
	enum drop_reason reason;
	enum nat_result result;
	struct frame probe = *frame;
	struct ip destination;

	/* A guest's way to the inner address is not translated; to the outer one it is (RFC 4787,
	 * 6). */
	if (leg->nat == NULL || (leg->side == GATEWAY_INNER && (*next)->leg == leg->port)) {
		stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
		return false;
	}
	if (is_fragment(frame)) {
		stage_punt(stage, frame, GATEWAY_PUNT_FRAGMENT);
		return false;
	}
	inner = stage->context->snapshot->ports[leg->inner_port].leg;
	/* Before translation, so that an error shows the sender its own packet. */
	if (stage->from->leg == NULL && forward_fits(&probe, inner->mtu) == FORWARD_TOO_BIG) {
		stage_refuse(stage, frame, GATEWAY_PUNT_TOO_BIG);
		return false;
	}
	result = leg->side == GATEWAY_OUTER
		     ? nat_inbound(leg->nat, frame, stage->context->boottime, &reason)
		     : nat_hairpin(leg->nat, frame, stage->context->boottime, &reason);
	if (result == NAT_DROP)
		stage_drop(stage, reason);
	else if (result == NAT_LOCAL)
		stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
	if (result != NAT_TRANSLATED)
		return false;
	destination = forward_destination(frame);
	*next = fib_lookup(leg->fib, &destination);
	return true;
}

/* A checked packet whose next hop is known to be on another link, or on the same one. */
static void stage_leave(const struct stage *stage, struct frame *frame, const struct fib_next *next,
			bool translated)
{
	const struct leg_view *leg = stage->leg;
	const struct leg_view *out = stage->context->snapshot->ports[next->leg].leg;
	bool own = stage->from->leg != NULL;
	enum drop_reason reason;
	struct ip hop;

	if (out == NULL) {
		stage_refuse(stage, frame, GATEWAY_PUNT_NO_ROUTE);
		return;
	}
	if ((own ? forward_fits_own(frame, out->mtu) : forward_fits(frame, out->mtu)) ==
	    FORWARD_TOO_BIG) {
		stage_refuse(stage, frame, GATEWAY_PUNT_TOO_BIG);
		return;
	}
	if (leg->clamp_mss || out->clamp_mss)
		forward_clamp_mss(frame, out->mtu < leg->mtu ? out->mtu : leg->mtu);
	if (leg->nat != NULL && !translated && leg->side == GATEWAY_INNER &&
	    next->leg == leg->outer_port) {
		if (is_fragment(frame)) {
			stage_punt(stage, frame, GATEWAY_PUNT_FRAGMENT);
			return;
		}
		if (nat_outbound(leg->nat, frame, stage->context->boottime, &reason) !=
		    NAT_TRANSLATED) {
			stage_drop(stage, reason);
			/* It is as it was, so its sender can be told (RFC 5508, REQ-8). */
			if (reason == DROP_NAT_SESSION_LIMIT || reason == DROP_NAT_GUEST_LIMIT ||
			    reason == DROP_NAT_NO_PORT)
				stage_punt(stage, frame, GATEWAY_PUNT_PROHIBITED);
			return;
		}
	}
	hop = next->action == FIB_VIA ? next->via : forward_destination(frame);
	stage_forward(stage, out, &hop, frame);
}

static void stage_route(const struct stage *stage, struct frame *frame, bool expired)
{
	const struct leg_view *leg = stage->leg;
	struct ip destination = forward_destination(frame);
	const struct fib_next *next = fib_lookup(leg->fib, &destination);
	bool translated = false;

	if (!stage_source_fits(stage, frame)) {
		stage_drop(stage, DROP_SPOOFED_ADDRESS);
		return;
	}
	if (expired) {
		if (next->action == FIB_LOCAL)
			stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
		else
			stage_refuse(stage, frame, GATEWAY_PUNT_HOP_LIMIT);
		return;
	}
	if (next->action == FIB_LOCAL) {
		if (!stage_local(stage, frame, &next))
			return;
		translated = true;
	} else if (leg->nat != NULL && leg->side == GATEWAY_OUTER) {
		stage_drop(stage, DROP_NOT_FORWARDED);
		return;
	}
	switch ((enum fib_action)next->action) {
	case FIB_NONE:
		stage_refuse(stage, frame, GATEWAY_PUNT_NO_ROUTE);
		return;
	case FIB_LOCAL:
	case FIB_UNREACHABLE:
		stage_refuse(stage, frame, GATEWAY_PUNT_PROHIBITED);
		return;
	case FIB_CONNECTED:
	case FIB_VIA:
		stage_leave(stage, frame, next, translated);
		return;
	}
}

static void stage_frame(const struct stage *stage, struct frame *frame)
{
	enum drop_reason reason;
	uint16_t ethertype;

	if (frame->punt == GATEWAY_PUNT_UNBOUND) {
		stage_punt(stage, frame, GATEWAY_PUNT_UNBOUND);
		return;
	}
	if (mac_is_multicast(frame->head)) {
		/* Others may have the same frame in their batches: it is not edited here. */
		if (stage_wants(frame))
			stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
		return;
	}
	if (frame->tagged)
		frame_pop_tag(frame);
	ethertype = read_be16(frame->head + 12);
	if (ethertype == ETHERTYPE_ARP) {
		stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
		return;
	}
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6) {
		stage_drop(stage, DROP_NOT_FOR_GATEWAY);
		return;
	}
	switch (forward_check(frame, &reason)) {
	case FORWARD_OK:
		stage_route(stage, frame, false);
		return;
	case FORWARD_TTL:
		stage_route(stage, frame, true);
		return;
	case FORWARD_LINK_LOCAL:
		stage_punt(stage, frame, GATEWAY_PUNT_LOCAL);
		return;
	case FORWARD_DROP:
		stage_drop(stage, reason);
		return;
	}
}

void gateway_stage(struct worker_context *context, const struct port_view *from,
		   const struct leg_view *leg)
{
	uint16_t port = from->bridge->gateway_port;
	struct stage stage = { context, from, leg, context->batches[port] };
	struct frame *frames[BURST_FRAMES];
	uint32_t count = stage.batch->count;

	memcpy(frames, stage.batch->frames, count * sizeof(frames[0]));
	/* It stays among the touched ones, so what is added now is flushed with the others. */
	stage.batch->count = 0;
	for (uint32_t i = 0; i < count; i++)
		stage_frame(&stage, frames[i]);
}
