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

/* Whether frames of `vlan` may leave by this port. */
bool vlan_allows(const struct vlan_membership *membership, uint16_t vlan);

/* How the frame must look on that port. KEEP is the usual case. */
enum vlan_edit { VLAN_KEEP, VLAN_PUSH, VLAN_POP };
enum vlan_edit vlan_egress_edit(const struct vlan_membership *membership,
				const struct frame *frame);

#endif
