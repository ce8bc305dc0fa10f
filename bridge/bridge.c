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

static bool admit(const struct bridge *bridge, const struct bridge_member *from,
		  struct frame *frame, enum drop_reason *reason);
static struct bridge_verdict forward(const struct bridge *bridge, const struct bridge_member *from,
				     const struct frame *frame);

static struct bridge_verdict drop(enum drop_reason reason)
{
	return (struct bridge_verdict){ .action = BRIDGE_DROP, .reason = (uint8_t)reason };
}

void bridge_decide(const struct bridge *bridge, const struct bridge_member *from,
		   struct frame *frames, uint32_t count, uint32_t now,
		   struct bridge_verdict *verdicts)
{
	for (uint32_t i = 0; i < count; i++) {
		struct frame *frame = &frames[i];
		enum drop_reason reason;

		if (!admit(bridge, from, frame, &reason)) {
			verdicts[i] = drop(reason);
			continue;
		}
		verdicts[i].action = BRIDGE_FLOOD;
		mac_table_prefetch(bridge->macs, mac_to_u64(frame->head + SOURCE), frame->vlan);
		if (!mac_is_multicast(frame->head + DESTINATION))
			mac_table_prefetch(bridge->macs, mac_to_u64(frame->head + DESTINATION),
					   frame->vlan);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (verdicts[i].action == BRIDGE_DROP)
			continue;
		mac_table_learn(bridge->macs, mac_to_u64(frames[i].head + SOURCE), frames[i].vlan,
				from->port, now);
		verdicts[i] = forward(bridge, from, &frames[i]);
	}
}

bool bridge_floods_to(const struct bridge_member *from, const struct bridge_member *to,
		      const struct frame *frame)
{
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
	if (!vlan_classify(&from->vlan, frame, reason))
		return false;
	/* A priority tag of a frame that belongs to a VLAN (access port, native of a trunk) gets
	 * that VLAN's number, so that from here on a tag always says what frame->vlan says. */
	if (frame->tagged && frame->vlan != VLAN_NONE)
		write_be16(frame->head + TAG_TCI, frame->priority | frame->vlan);
	return true;
}

static struct bridge_verdict forward(const struct bridge *bridge, const struct bridge_member *from,
				     const struct frame *frame)
{
	struct bridge_verdict flood = { .action = BRIDGE_FLOOD };
	const struct bridge_member *to;
	uint16_t port;

	if (mac_is_multicast(frame->head + DESTINATION))
		return flood;
	port = mac_table_lookup(bridge->macs, mac_to_u64(frame->head + DESTINATION), frame->vlan);
	if (port == from->port)
		return drop(DROP_HAIRPIN);
	/* The table may still name a port that has left the network. */
	to = port < bridge->port_limit ? bridge->by_port[port] : NULL;
	if (!to)
		return flood;
	if (from->isolated && to->isolated)
		return drop(DROP_ISOLATED);
	if (!vlan_allows(&to->vlan, frame->vlan))
		return drop(DROP_VLAN_EGRESS);
	return (struct bridge_verdict){ .action = BRIDGE_UNICAST, .port = port };
}
