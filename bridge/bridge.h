/* The learning bridge of one network (IEEE 802.1D/Q): a burst in, verdicts out.
 *
 * A bridge and its members are an immutable view that control builds and publishes; only the MAC
 * table behind it changes. Worker thread, but for building. */
#ifndef WEFT_BRIDGE_BRIDGE_H
#define WEFT_BRIDGE_BRIDGE_H

#include "base/counters.h"
#include "base/frame.h"
#include "bridge/mac_table.h"
#include "bridge/vlan.h"

#include <stdbool.h>
#include <stdint.h>

struct bridge_member {
	uint16_t port; /* index */
	bool isolated; /* reaches only members that are not */
	struct vlan_membership vlan;
};

/* No address: it has more than 48 bits. */
#define BRIDGE_NO_GATEWAY UINT64_MAX

struct bridge {
	struct mac_table *macs;
	bool transparent; /* pass 01:80:c2:00:00:0x */
	/* The gateway's leg in this segment: frames to its address go there without a lookup,
	 * nobody else may use it, and unknown ones are not flooded there. It is outside all VLANs.
	 */
	uint64_t gateway_mac;  /* BRIDGE_NO_GATEWAY when there is none */
	uint16_t gateway_port; /* MAC_TABLE_NO_PORT when there is none */
	uint16_t member_count;
	/* Indexed by port index (port_limit entries), NULL where no member: O(1) check of a
	 * destination. */
	const struct bridge_member *const *by_port;
	uint16_t port_limit;
	struct bridge_member members[]; /* dense, for flooding */
};

enum bridge_action { BRIDGE_DROP, BRIDGE_UNICAST, BRIDGE_FLOOD };

struct bridge_verdict {
	uint8_t action; /* enum bridge_action */
	uint8_t reason; /* enum drop_reason when BRIDGE_DROP */
	uint16_t port;	/* when BRIDGE_UNICAST */
	uint32_t count; /* of the frames it is for, which follow one another */
};

/* Decides for each frame of frames[0..count), which came from `from` at `now` (seconds): classifies
 * its VLAN (sets frame->vlan, tagged, priority), learns its source, looks up its destination. One
 * verdict may be for several frames; returns how many verdicts there are, `count` at most, and
 * together they are for all frames, in order. */
uint32_t bridge_decide(const struct bridge *bridge, const struct bridge_member *from,
		       struct frame *frames, uint32_t count, uint32_t now,
		       struct bridge_verdict *verdicts);

/* Whether a flooded frame from `from` goes to `to`: not itself, isolation, VLAN; the gateway gets
 * none that is for one address, since that is not its own. */
bool bridge_floods_to(const struct bridge *bridge, const struct bridge_member *from,
		      const struct bridge_member *to, const struct frame *frame);

#endif
