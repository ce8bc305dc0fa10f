/* 802.1Q membership of a port, and what happens to a tag on the way in and out. Pure functions. */
#ifndef WEFT_BRIDGE_VLAN_H
#define WEFT_BRIDGE_VLAN_H

#include "base/frame.h"

#include <stdbool.h>
#include <stdint.h>

#define VLAN_NONE                                                                                  \
	0u /* the segment without a tag; also VLAN of all frames where ports have no VLAN config   \
	    */
#define VLAN_MAX 4094u

enum vlan_mode {
	VLAN_MODE_PLAIN,  /* no vlan key: untagged (and priority-tagged) frames are VLAN 0; tagged
			   * frames keep their tag, to plain ports and trunks that allow it */
	VLAN_MODE_ACCESS, /* `vlan: 10`: untagged outside, VLAN 10 inside; a frame tagged with 10 is
			     taken too */
	VLAN_MODE_TRUNK,  /* `vlans: [..]`, `native: N` */
};

struct vlan_membership {
	uint8_t mode;	      /* enum vlan_mode */
	uint16_t access;      /* VLAN of an access port */
	uint16_t native;      /* VLAN of untagged frames on a trunk; VLAN_NONE: they are dropped */
	uint64_t allowed[64]; /* trunk: bit per VLAN id */
};

/* Looks at the tag of a frame that came in and sets frame->vlan, tagged and priority. Returns true,
 * or false with *reason (VLAN_NOT_ALLOWED, VLAN_UNTAGGED). Does not change the frame's bytes. */
bool vlan_classify(const struct vlan_membership *membership, struct frame *frame,
		   enum drop_reason *reason);

static inline bool vlan_is_in(const struct vlan_membership *membership, uint16_t vlan)
{
	return vlan <= VLAN_MAX && (membership->allowed[vlan / 64] >> (vlan % 64) & 1) != 0;
}

/* Whether frames of `vlan` may leave by this port. */
static inline bool vlan_allows(const struct vlan_membership *membership, uint16_t vlan)
{
	switch (membership->mode) {
	case VLAN_MODE_ACCESS:
		return vlan == membership->access;
	case VLAN_MODE_TRUNK:
		return vlan != VLAN_NONE &&
		       (vlan == membership->native || vlan_is_in(membership, vlan));
	default:
		return vlan <= VLAN_MAX; /* 4095 is reserved */
	}
}

/* How the frame must look on that port. KEEP is the usual case. */
enum vlan_edit { VLAN_KEEP, VLAN_PUSH, VLAN_POP };
static inline enum vlan_edit vlan_egress_edit(const struct vlan_membership *membership,
					      const struct frame *frame)
{
	bool plain_segment = frame->vlan == VLAN_NONE;
	bool untagged = membership->mode == VLAN_MODE_ACCESS ||
			(membership->mode == VLAN_MODE_TRUNK && frame->vlan == membership->native);

	if (untagged)
		return frame->tagged ? VLAN_POP : VLAN_KEEP;
	/* A priority tag of VLAN 0 stays as it is. */
	return frame->tagged || plain_segment ? VLAN_KEEP : VLAN_PUSH;
}

#endif
