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

/* Where the next frames go, for the loop that nearly all of them take: one buffer, nothing asked
 * for in the header, no call, and all that is needed in registers. */
struct net_plain {
	struct frame *frame;
	uint8_t *head;
	struct frame_segment *segment;
	bool shallow; /* these are to be */
	uint64_t bytes;
};

/* Begins where *net is; *count is cut to what there is room for, or to 0 where headers are shorter.
 */
static inline void net_plain_open(struct net_plain *plain, const struct net_from_guest *net,
				  uint32_t *count)
{
	plain->frame = &net->burst->frames[net->count];
	plain->head = burst_head(net->burst, net->count);
	plain->segment = &net->burst->segments[net->segment_count];
	plain->shallow = net->burst->shallow;
	plain->bytes = net->bytes;
	if (net->header_size != VNET_HEADER_SIZE)
		*count = 0;
	else if (*count > BURST_SEGMENTS - net->segment_count)
		*count = BURST_SEGMENTS - net->segment_count;
}

static inline void net_plain_close(const struct net_plain *plain, struct net_from_guest *net)
{
	net->count = (uint32_t)(plain->frame - net->burst->frames);
	net->segment_count = (uint32_t)(plain->segment - net->burst->segments);
	net->bytes = plain->bytes;
}

/* As net_from_guest_single() for the next frame. False: it takes another way, nothing is changed.
 * `shallow` is plain->shallow, which a loop may know beforehand. */
static inline __attribute__((always_inline)) bool
net_plain_take(struct net_plain *plain, const uint8_t *host, uint32_t length, bool shallow)
{
	uint8_t *header = plain->head - VNET_HEADER_SIZE;
	struct frame *frame = plain->frame;
	uint32_t frame_length = length - VNET_HEADER_SIZE;
	uint32_t head_length = shallow ? FRAME_HEAD_SHALLOW : FRAME_HEAD_MAX, segments = 1;
	uint16_t asked;

	/* One comparison: a shallow frame has more than its head, and is of a usual length. */
	if (shallow ? frame_length - head_length - 1 >= NET_COPY_INLINE - head_length
		    : !net_from_guest_fits(frame_length))
		return false;
	if (shallow || frame_length > head_length) {
		net_copy_lines(header, host, VNET_HEADER_SIZE + head_length);
		plain->segment->base = host + VNET_HEADER_SIZE + head_length;
		plain->segment->length = frame_length - head_length;
	} else {
		net_copy_short(header, host, length);
		head_length = frame_length;
		segments = 0;
	}
	/* Flags and GSO type. */
	memcpy(&asked, header, sizeof(asked));
	if (asked != 0)
		return false;
	*frame = (struct frame){
		.head = plain->head,
		.segments = plain->segment,
		.length = frame_length,
		.head_length = (uint16_t)head_length,
		.segment_count = (uint16_t)segments,
		.shallow = shallow,
	};
	plain->frame++;
	plain->head += FRAME_SLOT;
	plain->segment += segments;
	plain->bytes += frame_length;
	return true;
}

#endif
