/* What a receiver cannot take is done here, at the edge: a checksum completed, a GSO frame cut, a
 * tag put on or taken off, on a copy of the frame's head. Worker thread. */
#ifndef WEFT_VSWITCH_OFFLOAD_H
#define WEFT_VSWITCH_OFFLOAD_H

#include "base/frame.h"
#include "base/segment.h"
#include "base/vnet_header.h"
#include "bridge/vlan.h"

#include <stdbool.h>

/* The enum offload bits a frame needs of its receiver as it is. */
uint32_t offload_needs(const struct frame *frame);

/* Whether a receiver with `offloads` takes the frame as it is: nearly always, and then by one
 * comparison. */
static inline bool offload_fits(const struct frame *frame, uint32_t offloads)
{
	return (frame->flags | frame->gso) == 0 || (offload_needs(frame) & ~offloads) == 0;
}

enum offload_result {
	OFFLOAD_DONE,	/* the frame has become frames at the end of `out` */
	OFFLOAD_MORE,	/* `out` is full: send its frames, reset it, and call again with the same
			   state */
	OFFLOAD_FAILED, /* it cannot be made to fit; nothing was added */
};

/* Appends what `frame` becomes for a receiver with `offloads` and a tag edit (VLAN_PUSH uses
 * `frame->vlan`). `state` is zero at the first call for a frame. */
enum offload_result offload_apply(const struct frame *frame, uint32_t offloads, enum vlan_edit edit,
				  struct segment_state *state, struct burst *out);

#endif
