/* From a descriptor chain to a frame (virtio 1.2, 5.1.6.2), whatever the ring's format: the ring
 * code walks its descriptors and hands each buffer over as guest address and length; what comes out
 * is a frame in the burst, or the reason why not. Worker thread.
 *
 * Each byte of guest memory is read once: the header into a local copy, the first bytes of the
 * frame into its head; the rest is borrowed as segments. */
#ifndef WEFT_VHOST_USER_NET_FROM_GUEST_H
#define WEFT_VHOST_USER_NET_FROM_GUEST_H

#include "base/vnet_header.h"
#include "vhost-user/guest_window.h"
#include "vhost-user/net_copy.h"

/* Results: an enum drop_reason, or one of these. */
#define NET_TAKEN   ((uint32_t)DROP_COUNT)     /* done, or go on */
#define NET_NO_ROOM ((uint32_t)DROP_COUNT + 1) /* the burst's segment list is full */

/* One queue's visit to one burst. */
struct net_from_guest {
	struct guest_window window;
	struct burst *burst;
	uint32_t count;		/* burst->count, and */
	uint32_t segment_count; /* burst->segment_count, which net_from_guest_close() sets */
	uint32_t header_size;
	uint32_t offloads; /* enum offload the guest may ask for */
	uint64_t bytes;	   /* of the frames made */
};

/* A chain on its way to becoming the next frame; zero it to begin. */
struct net_chain {
	struct vnet_header header;
	uint32_t header_length; /* bytes of the header so far */
	uint32_t length;	/* bytes of the frame so far */
	uint32_t segment_count;
};

/* Begins a visit; net->window is open. */
static inline void net_from_guest_open(struct net_from_guest *net, struct burst *burst,
				       uint32_t header_size, uint32_t offloads)
{
	net->burst = burst;
	net->count = burst->count;
	net->segment_count = burst->segment_count;
	net->header_size = header_size;
	net->offloads = offloads;
	net->bytes = 0;
}

/* Ends it: the frames are in the burst. Returns how many. */
static inline uint32_t net_from_guest_close(struct net_from_guest *net)
{
	uint32_t made = net->count - net->burst->count;

	net->burst->count = net->count;
	net->burst->segment_count = net->segment_count;
	return made;
}

/* Takes the next buffer of the chain: NET_TAKEN, NET_NO_ROOM, or a reason. `length` may be 0, and
 * no address or length does harm. */
uint32_t net_from_guest_add(struct net_from_guest *net, struct net_chain *chain, uint64_t address,
			    uint32_t length);

/* The chain is over: NET_TAKEN (the frame is in the burst) or a reason. */
uint32_t net_from_guest_finish(struct net_from_guest *net, const struct net_chain *chain);

/* Puts the frame whose head and segments are in place into the burst; `header` is ours, too. */
static inline uint32_t net_from_guest_commit(struct net_from_guest *net, const void *header,
					     uint32_t length, uint32_t segment_count)
{
	const struct vnet_header *fields = header;
	struct burst *burst = net->burst;
	struct frame *frame = &burst->frames[net->count];

	*frame = (struct frame){
		.head = burst_head(burst, net->count),
		.segments = burst->segments + net->segment_count,
		.length = length,
		.head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX),
		.segment_count = (uint16_t)segment_count,
	};
	/* Neither flags nor a GSO type: nothing in the header has a meaning (5.1.6.2). */
	if ((fields->flags | fields->gso_type) != 0) {
		enum drop_reason reason;

		if (!vnet_header_to_frame(fields, frame, net->offloads, &reason))
			return reason;
	}
	net->count++;
	net->segment_count += segment_count;
	net->bytes += length;
	return NET_TAKEN;
}

/* What of a frame of `length` bytes at `host` is not in its head, as a segment; false: no room. */
static inline bool net_from_guest_rest(struct net_from_guest *net, const uint8_t *host,
				       uint32_t length, uint32_t *segments)
{
	struct frame_segment *rest = &net->burst->segments[net->segment_count];

	*segments = length > FRAME_HEAD_MAX;
	if (*segments == 0)
		return true;
	if (net->segment_count == BURST_SEGMENTS)
		return false;
	rest->base = host + FRAME_HEAD_MAX;
	rest->length = length - FRAME_HEAD_MAX;
	return true;
}

static inline uint32_t net_from_guest_head(uint32_t length)
{
	return length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;
}

/* One comparison for too short and too long. */
static inline bool net_from_guest_fits(uint32_t length)
{
	return length - FRAME_LENGTH_MIN <= FRAME_LENGTH_MAX - FRAME_LENGTH_MIN;
}

/* For a chain that is one buffer, header and frame, which lies at `host` as a whole: as add and
 * finish. False for all else, bad chains too: then the burst is as it was. Header and head are
 * copied in one go, the header into the headroom, where it is looked at. */
static inline bool net_from_guest_single(struct net_from_guest *net, const uint8_t *host,
					 uint32_t length)
{
	uint32_t frame_length = length - net->header_size, segments;
	uint8_t *header = burst_head(net->burst, net->count) - net->header_size;

	if (!net_from_guest_fits(frame_length) ||
	    !net_from_guest_rest(net, host + net->header_size, frame_length, &segments))
		return false;
	net_copy(header, host, net->header_size + net_from_guest_head(frame_length));
	return net_from_guest_commit(net, header, frame_length, segments) == NET_TAKEN;
}

/* The same for a chain that is two buffers: the header alone, then the frame. */
static inline bool net_from_guest_pair(struct net_from_guest *net, uint64_t header_address,
				       uint32_t header_length, uint64_t address, uint32_t length)
{
	uint8_t *head = burst_head(net->burst, net->count);
	const uint8_t *header, *host;
	uint32_t segments;

	if (header_length != net->header_size || !net_from_guest_fits(length))
		return false;
	header = guest_window_span(&net->window, header_address, header_length);
	host = guest_window_span(&net->window, address, length);
	if (header == NULL || host == NULL || !net_from_guest_rest(net, host, length, &segments))
		return false;
	/* num_buffers says nothing this way. */
	memcpy(head - net->header_size, header, VNET_HEADER_LEGACY);
	net_copy(head, host, net_from_guest_head(length));
	return net_from_guest_commit(net, head - net->header_size, length, segments) == NET_TAKEN;
}

#endif
