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
