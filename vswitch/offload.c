/* Completing a frame for a receiver that takes less than the sender offered (offload.h). Worker
 * thread; the slow road of transmit_batch(): frames that fit as they are never come here. */
#include "vswitch/offload.h"

#include "base/checksum.h"

uint32_t offload_needs(const struct frame *frame)
{
	static const uint8_t of_gso[] = {
		[FRAME_GSO_TCP4] = OFFLOAD_TSO4,	 [FRAME_GSO_FRAGMENT] = OFFLOAD_NOBODY,
		[FRAME_GSO_UDP4_FRAGMENT] = OFFLOAD_UFO, [FRAME_GSO_TCP6] = OFFLOAD_TSO6,
		[FRAME_GSO_UDP] = OFFLOAD_USO4,
	};
	uint32_t needs = 0;

	/* DATA_VALID, too, is a flag that only a receiver with checksum offload may see
	 * (virtio 1.2, 5.1.6.4.1). */
	if (frame->flags & (FRAME_NEEDS_CSUM | FRAME_CSUM_VALID))
		needs |= OFFLOAD_CSUM;
	if (frame->gso != FRAME_GSO_NONE) {
		needs |= of_gso[frame->gso];
		if (frame->gso == FRAME_GSO_UDP && frame->ip_version == 6)
			needs ^= OFFLOAD_USO4 | OFFLOAD_USO6;
		if (frame->flags & FRAME_GSO_ECN)
			needs |= OFFLOAD_TSO_ECN;
	}
	return needs;
}

static void edit_frame(struct frame *frame, uint32_t offloads, enum vlan_edit edit)
{
	if (!(offloads & OFFLOAD_CSUM)) {
		if (frame->flags & FRAME_NEEDS_CSUM)
			checksum_complete(frame);
		frame->flags &= (uint8_t)~FRAME_CSUM_VALID;
	}
	if (edit == VLAN_PUSH)
		frame_push_tag(frame, (uint16_t)(frame->vlan | frame->priority));
	else if (edit == VLAN_POP)
		frame_pop_tag(frame);
}

enum offload_result offload_apply(const struct frame *frame, uint32_t offloads, enum vlan_edit edit,
				  struct segment_state *state, struct burst *out)
{
	uint32_t first = out->count;
	bool more = false;

	if (out->count >= out->limit)
		return OFFLOAD_MORE;
	if (frame->gso != FRAME_GSO_NONE && (offload_needs(frame) & ~offloads)) {
		if (segment_count(frame) == 0)
			return OFFLOAD_FAILED;
		more = segment_next(frame, state, out);
	} else {
		frame_clone(&out->frames[out->count], burst_head(out, out->count), frame);
		out->count++;
	}
	for (uint32_t i = first; i < out->count; i++)
		edit_frame(&out->frames[i], offloads, edit);
	return more ? OFFLOAD_MORE : OFFLOAD_DONE;
}
