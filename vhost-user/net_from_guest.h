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
	uint32_t header_size;
	uint32_t offloads; /* enum offload the guest may ask for */
	uint64_t bytes;	   /* of the frames made */
};

/* A chain on its way to becoming frames[burst->count]; zero it to begin. */
struct net_chain {
	struct vnet_header header;
	uint32_t header_length; /* bytes of the header so far */
	uint32_t length;	/* bytes of the frame so far */
	uint32_t segment_count;
};

/* Takes the next buffer of the chain: NET_TAKEN, NET_NO_ROOM, or a reason. `length` may be 0, and
 * no address or length does harm. */
uint32_t net_from_guest_add(struct net_from_guest *net, struct net_chain *chain, uint64_t address,
			    uint32_t length);

/* The chain is over: NET_TAKEN (the frame is in the burst) or a reason. */
uint32_t net_from_guest_finish(struct net_from_guest *net, const struct net_chain *chain);

/* Puts the frame whose head and segments are in place into the burst. */
static inline uint32_t net_from_guest_commit(struct net_from_guest *net,
					     const struct vnet_header *header, uint32_t length,
					     uint32_t segment_count)
{
	struct burst *burst = net->burst;
	struct frame *frame = &burst->frames[burst->count];

	*frame = (struct frame){
		.head = burst_head(burst, burst->count),
		.segments = burst->segments + burst->segment_count,
		.length = length,
		.head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX),
		.segment_count = (uint16_t)segment_count,
	};
	/* Neither flags nor a GSO type: nothing in the header has a meaning (5.1.6.2). */
	if ((header->flags | header->gso_type) != 0) {
		enum drop_reason reason;

		if (!vnet_header_to_frame(header, frame, net->offloads, &reason))
			return reason;
	}
	burst->count++;
	burst->segment_count += segment_count;
	net->bytes += length;
	return NET_TAKEN;
}

/* The short way: a frame of `length` bytes at `host`, its header at `header`. False when it is none
 * (a header that is refused, no room): then the burst is as it was. */
static inline bool net_from_guest_here(struct net_from_guest *net, const uint8_t *header_at,
				       const uint8_t *host, uint32_t length)
{
	struct burst *burst = net->burst;
	struct vnet_header header;
	uint32_t rest = 0;

	memcpy(&header, header_at, VNET_HEADER_LEGACY); /* num_buffers says nothing this way */
	if (length > FRAME_HEAD_MAX) {
		if (burst->segment_count == BURST_SEGMENTS)
			return false;
		rest = 1;
		burst->segments[burst->segment_count].base = host + FRAME_HEAD_MAX;
		burst->segments[burst->segment_count].length = length - FRAME_HEAD_MAX;
		memcpy(burst_head(burst, burst->count), host, FRAME_HEAD_MAX);
	} else {
		net_copy(burst_head(burst, burst->count), host, length);
	}
	return net_from_guest_commit(net, &header, length, rest) == NET_TAKEN;
}

/* One comparison for too short and too long. */
static inline bool net_from_guest_fits(uint32_t length)
{
	return length - FRAME_LENGTH_MIN <= FRAME_LENGTH_MAX - FRAME_LENGTH_MIN;
}

/* For a chain that is one buffer, header and frame in one region: as add and finish. False for all
 * else, bad chains too: then the burst is as it was. */
static inline bool net_from_guest_single(struct net_from_guest *net, uint64_t address,
					 uint32_t length)
{
	uint32_t frame_length = length - net->header_size;
	const uint8_t *host;

	if (!net_from_guest_fits(frame_length))
		return false;
	host = guest_window_span(&net->window, address, length);
	return host != NULL &&
	       net_from_guest_here(net, host, host + net->header_size, frame_length);
}

/* The same for a chain that is two buffers: the header alone, then the frame. */
static inline bool net_from_guest_pair(struct net_from_guest *net, uint64_t header_address,
				       uint32_t header_length, uint64_t address, uint32_t length)
{
	const uint8_t *header, *host;

	if (header_length != net->header_size || !net_from_guest_fits(length))
		return false;
	header = guest_window_span(&net->window, header_address, header_length);
	host = guest_window_span(&net->window, address, length);
	return header != NULL && host != NULL && net_from_guest_here(net, header, host, length);
}

#endif
