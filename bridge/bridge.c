/* The forwarding verdict of one network: VLAN, learning, lookup, and the rules of who may talk to
 * whom. The pipeline calls it for a whole burst of one port, on a worker.
 *
 * A burst is walked once. Frames with the addresses of the one before them are a run and share its
 * verdict; where the memo knows the addresses, that is all. The others are classified, and the MAC
 * table's buckets they need asked for; afterwards, with these on their way, they are learned from
 * and looked up. */
#include "bridge/bridge.h"

#include "base/parse.h"
#include "bridge/mac_find.h"
#include "bridge/memo.h"

#define TAG_TCI	   14u
#define LINK_LOCAL 0x0180c2000000ULL /* 802.1D 7.12.6, the last four bits free */
#define GROUP	   0x010000000000ULL /* of an address as a number */
#define ADMITTED   ((uint32_t)DROP_COUNT)

/* Of a candidate: a verdict that is still to be made. */
#define TO_GATEWAY (BRIDGE_FLOOD + 1)

/* What the walk finds out about a run of frames that the memo does not know. */
struct candidate {
	struct mac_place source, destination;
	const uint8_t *addresses; /* of the first frame */
	uint32_t verdict;	  /* its place among the verdicts */
	uint8_t action; /* enum bridge_action; UNICAST: the destination is to be looked up;
			 * TO_GATEWAY */
	uint8_t reason;
	bool tagged;
	uint16_t vlan;
};

static void candidate_set(struct candidate *candidate, const struct bridge *bridge,
			  const struct bridge_member *from, struct frame *frame);
static uint32_t classify(const struct bridge_member *from, struct frame *frame);
static struct bridge_verdict forward(const struct bridge *bridge, const struct bridge_member *from,
				     const struct mac_place *destination, uint16_t vlan);

static struct bridge_verdict forward_to_gateway(const struct bridge *bridge, uint16_t vlan);

static struct bridge_verdict drop(enum drop_reason reason)
{
	return (struct bridge_verdict){ .action = BRIDGE_DROP, .reason = (uint8_t)reason };
}

static inline uint64_t read_be64(const uint8_t *p)
{
	return __builtin_bswap64(read_u64(p));
}

/* The VLAN of a frame without a tag; what of a trunk without one is dropped is in no memo. */
static uint16_t untagged_vlan(const struct vlan_membership *membership)
{
	if (membership->mode == VLAN_MODE_ACCESS)
		return membership->access;
	return membership->mode == VLAN_MODE_TRUNK ? membership->native : VLAN_NONE;
}

/* How many of frames[0 .. count) have the addresses and the type of the first, and gives them its
 * VLAN. What is tagged may have different tags. */
static uint32_t run_length(struct frame *frames, uint32_t count)
{
	const struct frame *first = &frames[0];
	uint64_t destination = read_u64(first->head), source = read_u64(first->head + 6);
	uint32_t n;

	if (memo_tagged(first))
		return 1;
	for (n = 1; n < count; n++) {
		struct frame *frame = &frames[n];

		if (read_u64(frame->head) != destination || read_u64(frame->head + 6) != source)
			break;
		frame->vlan = first->vlan;
	}
	return n;
}

static struct bridge_verdict verdict_on(const struct bridge *bridge, struct bridge_memo *memo,
					const struct bridge_member *from,
					const struct candidate *candidate, uint32_t now,
					uint32_t epoch)
{
	struct bridge_verdict verdict;
	bool known;

	if (candidate->action == BRIDGE_DROP)
		return drop(candidate->reason);
	known = mac_find_learn(bridge->macs, &candidate->source, from->port, now);
	if (candidate->action == TO_GATEWAY)
		return forward_to_gateway(bridge, candidate->vlan);
	if (candidate->action != BRIDGE_UNICAST)
		return (struct bridge_verdict){ .action = BRIDGE_FLOOD };
	verdict = forward(bridge, from, &candidate->destination, candidate->vlan);
	if (known && verdict.action == BRIDGE_UNICAST && !candidate->tagged)
		memo_put(memo, candidate->addresses, epoch, verdict.port);
	return verdict;
}

/* At most BURST_FRAMES frames: see bridge_decide(). */
static uint32_t decide_some(const struct bridge *bridge, struct bridge_memo *memo,
			    const struct bridge_member *from, struct frame *frames, uint32_t count,
			    uint32_t now, struct bridge_verdict *verdicts)
{
	const uint32_t epoch = memo_epoch(memo, bridge, from->port, now);
	const uint16_t vlan = untagged_vlan(&from->vlan);
	struct candidate candidates[BURST_FRAMES];
	uint32_t made = 0, unknown = 0;

	for (uint32_t i = 0; i < count; i += verdicts[made++].count) {
		struct bridge_verdict *verdict = &verdicts[made];

		*verdict = (struct bridge_verdict){ .action = BRIDGE_UNICAST };
		verdict->count =
		    memo->run(memo, epoch, vlan, &frames[i], count - i, &verdict->port);
		if (verdict->count > 0)
			continue;
		candidate_set(&candidates[unknown], bridge, from, &frames[i]);
		candidates[unknown++].verdict = made;
		verdict->count = run_length(&frames[i], count - i);
	}
	for (uint32_t i = 0; i < unknown; i++) {
		struct bridge_verdict *verdict = &verdicts[candidates[i].verdict];
		uint32_t frames_of_it = verdict->count;

		*verdict = verdict_on(bridge, memo, from, &candidates[i], now, epoch);
		verdict->count = frames_of_it;
	}
	return made;
}

uint32_t bridge_decide(const struct bridge *bridge, struct bridge_memo *memo,
		       const struct bridge_member *from, struct frame *frames, uint32_t count,
		       uint32_t now, struct bridge_verdict *verdicts)
{
	uint32_t made = 0;

	for (uint32_t done = 0; done < count; done += BURST_FRAMES) {
		uint32_t some = count - done < BURST_FRAMES ? count - done : BURST_FRAMES;

		made += decide_some(bridge, memo, from, frames + done, some, now, verdicts + made);
	}
	return made;
}

bool bridge_floods_to(const struct bridge *bridge, const struct bridge_member *from,
		      const struct bridge_member *to, const struct frame *frame)
{
	if (to->port == bridge->gateway_port &&
	    (!mac_is_multicast(frame->head) || frame->vlan != VLAN_NONE))
		return false;
	return from->port != to->port && !(from->isolated && to->isolated) &&
	       vlan_allows(&to->vlan, frame->vlan);
}

/* Whether the frame may enter the network at all, and if so, where its addresses may be found. One
 * that may not teaches nothing. */
static inline void candidate_set(struct candidate *candidate, const struct bridge *bridge,
				 const struct bridge_member *from, struct frame *frame)
{
	/* Two words that overlap: the head holds FRAME_LENGTH_MIN bytes at least. */
	uint64_t destination = read_be64(frame->head) >> 16, end = read_be64(frame->head + 6);
	uint64_t source = end >> 16;
	uint32_t reason = ADMITTED;

	candidate->addresses = frame->head;
	candidate->tagged = memo_tagged(frame);
	candidate->action = BRIDGE_DROP;
	if ((source & GROUP) != 0 || source == 0)
		reason = DROP_SOURCE_MULTICAST;
	else if ((destination & ~0xfULL) == LINK_LOCAL && !bridge->transparent)
		reason = DROP_LINK_LOCAL;
	else if (source == bridge->gateway_mac && from->port != bridge->gateway_port)
		reason = DROP_SPOOFED_MAC;
	else if ((uint16_t)end == ETHERTYPE_VLAN || from->vlan.mode != VLAN_MODE_PLAIN)
		reason = classify(from, frame);
	else
		frame->tagged = 0, frame->priority = 0, frame->vlan = VLAN_NONE;
	if (reason != ADMITTED) {
		candidate->reason = (uint8_t)reason;
		return;
	}
	candidate->vlan = frame->vlan;
	candidate->source = mac_find_begin(bridge->macs, source, frame->vlan);
	candidate->action = BRIDGE_FLOOD;
	if ((destination & GROUP) != 0)
		return;
	if (destination == bridge->gateway_mac) {
		candidate->action = TO_GATEWAY;
		return;
	}
	candidate->destination = mac_find_begin(bridge->macs, destination, frame->vlan);
	candidate->action = BRIDGE_UNICAST;
}

/* Sets the frame's VLAN; ADMITTED or the reason why it may not come in. */
static uint32_t classify(const struct bridge_member *from, struct frame *frame)
{
	enum drop_reason reason;

	if (!vlan_classify(&from->vlan, frame, &reason))
		return reason;
	/* A priority tag of a frame that belongs to a VLAN (access port, native of a trunk) gets
	 * that VLAN's number, so that from here on a tag always says what frame->vlan says. */
	if (frame->tagged && frame->vlan != VLAN_NONE)
		write_be16(frame->head + TAG_TCI, frame->priority | frame->vlan);
	return ADMITTED;
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
static inline struct bridge_verdict forward(const struct bridge *bridge,
					    const struct bridge_member *from,
					    const struct mac_place *destination, uint16_t vlan)
{
	struct bridge_verdict flood = { .action = BRIDGE_FLOOD };
	const struct bridge_member *to;
	uint16_t port;

	port = mac_find_port(bridge->macs, destination);
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
