/* The forwarding verdict of one network: VLAN, learning, lookup, and the rules of who may talk to
 * whom. The pipeline calls it for a whole burst of one port, on a worker.
 *
 * A burst is walked twice: first every frame is classified and the MAC table's buckets it needs are
 * asked for; then, with them on their way, each frame is learned from and looked up. */
#include "bridge/bridge.h"

#include "base/parse.h"

#define DESTINATION 0u
#define SOURCE	    6u
#define TAG_TCI	    14u
#define LINK_LOCAL  0x0180c2000000ULL /* 802.1D 7.12.6, the last four bits free */

/* Between the two walks: a verdict that is still to be made. */
#define TO_GATEWAY (BRIDGE_FLOOD + 1)

static bool admit(const struct bridge *bridge, const struct bridge_member *from,
		  struct frame *frame, enum drop_reason *reason);
static struct bridge_verdict forward(const struct bridge *bridge, const struct bridge_member *from,
				     const struct mac_place *destination, uint16_t vlan);

static struct bridge_verdict forward_to_gateway(const struct bridge *bridge, uint16_t vlan);

static struct bridge_verdict drop(enum drop_reason reason)
{
	return (struct bridge_verdict){ .action = BRIDGE_DROP, .reason = (uint8_t)reason };
}

/* At most BURST_FRAMES frames: see bridge_decide(). */
static void decide_some(const struct bridge *bridge, const struct bridge_member *from,
			struct frame *frames, uint32_t count, uint32_t now,
			struct bridge_verdict *verdicts)
{
	struct mac_place sources[BURST_FRAMES], destinations[BURST_FRAMES];

	for (uint32_t i = 0; i < count; i++) {
		struct frame *frame = &frames[i];
		enum drop_reason reason;
		uint64_t destination;

		if (!admit(bridge, from, frame, &reason)) {
			verdicts[i] = drop(reason);
			continue;
		}
		verdicts[i].action = BRIDGE_FLOOD;
		sources[i] =
		    mac_table_place(bridge->macs, mac_to_u64(frame->head + SOURCE), frame->vlan);
		if (mac_is_multicast(frame->head + DESTINATION))
			continue;
		destination = mac_to_u64(frame->head + DESTINATION);
		if (destination == bridge->gateway_mac) {
			verdicts[i].action = TO_GATEWAY;
			continue;
		}
		verdicts[i].action = BRIDGE_UNICAST;
		destinations[i] = mac_table_place(bridge->macs, destination, frame->vlan);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (verdicts[i].action == BRIDGE_DROP)
			continue;
		mac_table_learn_at(bridge->macs, &sources[i], from->port, now);
		if (verdicts[i].action == BRIDGE_UNICAST)
			verdicts[i] = forward(bridge, from, &destinations[i], frames[i].vlan);
		else if (verdicts[i].action == TO_GATEWAY)
			verdicts[i] = forward_to_gateway(bridge, frames[i].vlan);
	}
}

void bridge_decide(const struct bridge *bridge, const struct bridge_member *from,
		   struct frame *frames, uint32_t count, uint32_t now,
		   struct bridge_verdict *verdicts)
{
	for (uint32_t done = 0; done < count; done += BURST_FRAMES) {
		uint32_t some = count - done < BURST_FRAMES ? count - done : BURST_FRAMES;

		decide_some(bridge, from, frames + done, some, now, verdicts + done);
	}
}

bool bridge_floods_to(const struct bridge *bridge, const struct bridge_member *from,
		      const struct bridge_member *to, const struct frame *frame)
{
	if (to->port == bridge->gateway_port &&
	    (!mac_is_multicast(frame->head + DESTINATION) || frame->vlan != VLAN_NONE))
		return false;
	return from->port != to->port && !(from->isolated && to->isolated) &&
	       vlan_allows(&to->vlan, frame->vlan);
}

/* Whether the frame may enter the network at all. One that may not teaches nothing. */
static bool admit(const struct bridge *bridge, const struct bridge_member *from,
		  struct frame *frame, enum drop_reason *reason)
{
	const uint8_t *source = frame->head + SOURCE;

	if (mac_is_multicast(source) || mac_is_zero(source)) {
		*reason = DROP_SOURCE_MULTICAST;
		return false;
	}
	if ((mac_to_u64(frame->head + DESTINATION) & ~0xfULL) == LINK_LOCAL &&
	    !bridge->transparent) {
		*reason = DROP_LINK_LOCAL;
		return false;
	}
	if (mac_to_u64(source) == bridge->gateway_mac && from->port != bridge->gateway_port) {
		*reason = DROP_SPOOFED_MAC;
		return false;
	}
	if (!vlan_classify(&from->vlan, frame, reason))
		return false;
	/* A priority tag of a frame that belongs to a VLAN (access port, native of a trunk) gets
	 * that VLAN's number, so that from here on a tag always says what frame->vlan says. */
	if (frame->tagged && frame->vlan != VLAN_NONE)
		write_be16(frame->head + TAG_TCI, frame->priority | frame->vlan);
	return true;
}

/* What control sends from the gateway to itself takes the gateway's way, too. It has no leg in a
 * VLAN. */
static struct bridge_verdict forward_to_gateway(const struct bridge *bridge, uint16_t vlan)
{
	if (vlan != VLAN_NONE)
		return drop(DROP_VLAN_EGRESS);
	return (struct bridge_verdict){ .action = BRIDGE_UNICAST, .port = bridge->gateway_port };
}

/* Of a frame to one address. */
static struct bridge_verdict forward(const struct bridge *bridge, const struct bridge_member *from,
				     const struct mac_place *destination, uint16_t vlan)
{
	struct bridge_verdict flood = { .action = BRIDGE_FLOOD };
	const struct bridge_member *to;
	uint16_t port;

	port = mac_table_lookup_at(bridge->macs, destination);
	if (port == from->port)
		return drop(DROP_HAIRPIN);
	/* The table may still name a port that has left the network. */
	to = port < bridge->port_limit ? bridge->by_port[port] : NULL;
	if (!to)
		return flood;
	if (from->isolated && to->isolated)
		return drop(DROP_ISOLATED);
	if (!vlan_allows(&to->vlan, vlan))
		return drop(DROP_VLAN_EGRESS);
	return (struct bridge_verdict){ .action = BRIDGE_UNICAST, .port = port };
}
