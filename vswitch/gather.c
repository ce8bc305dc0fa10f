/* Frames as messages of system calls (gather.h). */
#include "vswitch/gather.h"

#include <assert.h>

#define IOV_LIMIT 1024u /* of the kernel, for one message */

/* The frame's pieces behind its header, or the copy; how many, 0 when it waits for a call in which
 * there is more room, or for the copy. */
static uint32_t add_frame(struct gather *gather, const struct frame *frame, struct iovec *parts,
			  uint32_t room, bool *linear_used)
{
	uint32_t count = frame_parts(frame, parts, (room < IOV_LIMIT ? room : IOV_LIMIT) - 1);

	if (count > 0)
		return count;
	if (frame->segment_count + 2u <= IOV_LIMIT || *linear_used)
		return 0;
	*linear_used = true;
	assert(frame->length <= sizeof(gather->linear));
	frame_copy_out(frame, 0, frame->length, gather->linear);
	parts[0] = (struct iovec){ gather->linear, frame->length };
	return 1;
}

uint32_t gather_frames(struct gather *gather, uint32_t header_size, struct frame *const *frames,
		       uint32_t count)
{
	bool linear_used = false;
	uint32_t used = 0, i;

	for (i = 0; i < count && used + 2 <= GATHER_PARTS; i++) {
		struct iovec *parts = &gather->parts[used];
		uint32_t n =
		    add_frame(gather, frames[i], parts + 1, GATHER_PARTS - used, &linear_used);

		if (n == 0)
			break;
		vnet_header_from_frame(frames[i], &gather->headers[i]);
		parts[0] = (struct iovec){ &gather->headers[i], header_size };
		gather->messages[i].parts = parts;
		gather->messages[i].part_count = n + 1;
		used += n + 1;
	}
	return i;
}
