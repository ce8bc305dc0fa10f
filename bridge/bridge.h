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

/* Port indices are below it. */
#define BRIDGE_PORTS_MAX 4096u

/* No address: it has more than 48 bits. */
#define BRIDGE_NO_GATEWAY UINT64_MAX

struct bridge {
	struct mac_table *macs;
	uint64_t generation; /* never that of another view in which a port has this index */
	bool transparent;    /* pass 01:80:c2:00:00:0x */
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

/* What a worker remembers of its verdicts (memo.h), for all bridges. Control. NULL when memory is
 * short; destroy takes NULL. */
struct bridge_memo;
struct bridge_memo *bridge_memo_create(void);
void bridge_memo_destroy(struct bridge_memo *memo);

/* Decides for each frame of frames[0..count), which came from `from` at `now` (seconds): classifies
 * its VLAN (sets frame->vlan, tagged, priority), learns its source, looks up its destination. One
 * verdict may be for several frames; returns how many verdicts there are, `count` at most, and
 * together they are for all frames, in order. `memo` is the calling worker's. An address that moves
 * counts for all frames of the next burst, and in this one for those the memo does not know. */
uint32_t bridge_decide(const struct bridge *bridge, struct bridge_memo *memo,
		       const struct bridge_member *from, struct frame *frames, uint32_t count,
		       uint32_t now, struct bridge_verdict *verdicts);

/* Whether a flooded frame from `from` goes to `to`: not itself, isolation, VLAN; the gateway gets
 * none that is for one address, since that is not its own. */
bool bridge_floods_to(const struct bridge *bridge, const struct bridge_member *from,
		      const struct bridge_member *to, const struct frame *frame);

#endif
