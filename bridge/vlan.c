/* 802.1Q on the way in and out of a port: which VLAN a frame belongs to, where it may go, and what
 * must happen to its tag. The bridge and the transmit stage call it, on a worker; it keeps nothing.
 *
 * Only a tag of type 0x8100 counts. An outer 802.1ad tag (0x88a8) is payload like any other. */
#include "bridge/vlan.h"

#include "base/parse.h"

#define TAG_OFFSET   12u
#define TAG_END	     18u /* of the tag and the type that follows it */
#define TCI_VLAN     0x0fffu
#define TCI_PRIORITY 0xf000u /* PCP and DEI */

static bool is_in(const struct vlan_membership *membership, uint16_t vlan)
{
	return vlan <= VLAN_MAX && (membership->allowed[vlan / 64] >> (vlan % 64) & 1) != 0;
}

bool vlan_classify(const struct vlan_membership *membership, struct frame *frame,
		   enum drop_reason *reason)
{
	uint16_t tci = 0;
	uint16_t vlan;

	frame->tagged = read_be16(frame->head + TAG_OFFSET) == ETHERTYPE_VLAN;
	if (frame->tagged) {
		if (frame->head_length < TAG_END) {
			*reason = DROP_FRAME_SHORT;
			return false;
		}
		tci = read_be16(frame->head + TAG_OFFSET + 2);
	}
	frame->priority = tci & TCI_PRIORITY;
	vlan = tci & TCI_VLAN;
	if (vlan == VLAN_NONE && membership->mode == VLAN_MODE_ACCESS) {
		vlan = membership->access;
	} else if (vlan == VLAN_NONE && membership->mode == VLAN_MODE_TRUNK) {
		vlan = membership->native;
		if (vlan == VLAN_NONE) {
			*reason = DROP_VLAN_UNTAGGED;
			return false;
		}
	}
	frame->vlan = vlan;
	if (!vlan_allows(membership, vlan)) {
		*reason = DROP_VLAN_NOT_ALLOWED;
		return false;
	}
	return true;
}

bool vlan_allows(const struct vlan_membership *membership, uint16_t vlan)
{
	switch (membership->mode) {
	case VLAN_MODE_ACCESS:
		return vlan == membership->access;
	case VLAN_MODE_TRUNK:
		return vlan != VLAN_NONE && (vlan == membership->native || is_in(membership, vlan));
	default:
		return vlan <= VLAN_MAX; /* 4095 is reserved */
	}
}

enum vlan_edit vlan_egress_edit(const struct vlan_membership *membership, const struct frame *frame)
{
	bool plain_segment = frame->vlan == VLAN_NONE;
	bool untagged = membership->mode == VLAN_MODE_ACCESS ||
			(membership->mode == VLAN_MODE_TRUNK && frame->vlan == membership->native);

	if (untagged)
		return frame->tagged ? VLAN_POP : VLAN_KEEP;
	/* A priority tag of VLAN 0 stays as it is. */
	return frame->tagged || plain_segment ? VLAN_KEEP : VLAN_PUSH;
}
