/* The pieces of a burst's frames, each with its virtio-net header before it, as system calls take
 * them. One worker at a time. */
#ifndef WEFT_VSWITCH_GATHER_H
#define WEFT_VSWITCH_GATHER_H

#include "base/frame.h"
#include "base/vnet_header.h"

#include <stdint.h>
#include <sys/uio.h>

#define GATHER_PARTS 4096u

struct gather {
	struct {
		struct iovec *parts; /* header first */
		uint32_t part_count; /* at most 1,024, the kernel's limit for a message */
	} messages[BURST_FRAMES];
	struct vnet_header headers[BURST_FRAMES];
	struct iovec parts[GATHER_PARTS];
	/* For a frame of too many pieces; on its way it has been given one tag at most. */
	uint8_t linear[FRAME_LENGTH_MAX + 4u];
};

/* Makes messages of the first frames, as many as there is room for and at least one, with
 * `header_size` bytes of header. Returns how many; they are good until the next call, as long as
 * the frames are. `count` is 1 to BURST_FRAMES. */
uint32_t gather_frames(struct gather *gather, uint32_t header_size, struct frame *const *frames,
		       uint32_t count);

#endif
