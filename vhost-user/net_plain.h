/* The way that nearly all frames take, in and out, the same for both ring formats: header and frame
 * are one buffer of one chain, and the header asks for nothing. Loops over chains that were read
 * ahead, which hold what they need in registers and call nobody; what is to be done for a chain
 * besides (its head, its used entry) the ring code does afterwards, for all of them.
 *
 * Most loops are two of one source: for shallow frames, and for others. Compiled for each width of
 * vectors, so all is inline. Worker thread. */
#ifndef WEFT_VHOST_USER_NET_PLAIN_H
#define WEFT_VHOST_USER_NET_PLAIN_H

#include "vhost-user/net_from_guest.h"
#include "vhost-user/net_to_guest.h"

#define NET_AHEAD (2u * BURST_FRAMES) /* chains: a burst, and the next one */

#define NET_PLAIN_LOOP	   static inline __attribute__((always_inline))
#define NET_PLAIN_FUNCTION static __attribute__((noinline, unused)) /* registers of its own */

/* What is known of the chains or descriptors read ahead, of the one at free-running place p at
 * p % NET_AHEAD. No more than what plain frames need: several rings at work share the first level
 * of the cache with all that the frames take. For anything else the descriptor is read again. */
struct net_ahead {
	/* Of one buffer, in the queue's direction, in one region: where it lies; else NULL. */
	uint8_t *hosts[NET_AHEAD];
	uint32_t lengths[NET_AHEAD];
};

static inline uint8_t *net_ahead_host(const struct net_ahead *ahead, uint32_t place)
{
	return ahead->hosts[place % NET_AHEAD];
}

static inline uint32_t net_ahead_length(const struct net_ahead *ahead, uint32_t place)
{
	return ahead->lengths[place % NET_AHEAD];
}

/* Where the next frames go. */
struct net_plain {
	struct frame *frame;
	uint8_t *head;
	struct frame_segment *segment;
	uint64_t bytes;
};

/* As net_from_guest_single() for the next frame. False: it takes another way, nothing is changed.
 */
NET_PLAIN_LOOP bool net_plain_take_one(struct net_plain *plain, const uint8_t *host,
				       uint32_t length, bool shallow)
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

NET_PLAIN_LOOP uint32_t net_plain_take_each(struct net_plain *plain, const struct net_ahead *ahead,
					    uint32_t place, uint32_t count, bool shallow)
{
	uint32_t i;

	for (i = 0; i < count; i++, place++) {
		const uint8_t *host = net_ahead_host(ahead, place);

		if (host == NULL ||
		    !net_plain_take_one(plain, host, net_ahead_length(ahead, place), shallow))
			break;
	}
	return i;
}

/* Takes `count` chains from `place` on, from the guest, as long as they go this way and there is
 * room; returns how many. */
NET_PLAIN_FUNCTION uint32_t net_plain_take(struct net_from_guest *net,
					   const struct net_ahead *ahead, uint32_t place,
					   uint32_t count)
{
	struct net_plain plain = {
		.frame = &net->burst->frames[net->count],
		.head = burst_head(net->burst, net->count),
		.segment = &net->burst->segments[net->segment_count],
		.bytes = net->bytes,
	};
	uint32_t taken;

	if (net->header_size != VNET_HEADER_SIZE)
		return 0;
	if (count > BURST_SEGMENTS - net->segment_count)
		count = BURST_SEGMENTS - net->segment_count;
	taken = net->burst->shallow ? net_plain_take_each(&plain, ahead, place, count, true)
				    : net_plain_take_each(&plain, ahead, place, count, false);
	net->count = (uint32_t)(plain.frame - net->burst->frames);
	net->segment_count = (uint32_t)(plain.segment - net->burst->segments);
	net->bytes = plain.bytes;
	return taken;
}

/* Frames between the prefetch of one and its copy, by the size of those sent last: what has to be
 * on its way at a time, for lines to be there when the copy comes to them, is a number of lines.
 * Not more: the guest, whose processor reads on beyond the frames it has, would take the lines away
 * again. */
#define NET_DISTANCE_LINES 100u
#define NET_DISTANCE_MIN   4u
#define NET_DISTANCE_MAX   32u

static inline uint16_t net_plain_distance(uint32_t frames, uint64_t bytes)
{
	uint64_t distance = (uint64_t)NET_DISTANCE_LINES * frames / (frames + bytes / 64);

	if (distance < NET_DISTANCE_MIN)
		return NET_DISTANCE_MIN;
	return (uint16_t)(distance < NET_DISTANCE_MAX ? distance : NET_DISTANCE_MAX);
}

/* Bytes of a frame that are asked for before it is copied: a longer copy runs ahead of itself. */
#define NET_PREFETCH_BYTES 2048u

/* Asks for what the copy of `frame` to `host` will touch beside the head, if it is shallow; of
 * others, which a loop for shallow ones leaves to another, for where it begins. */
GUEST_PREFETCH void net_plain_ask_shallow(const struct frame *frame, const uint8_t *host)
{
	const uint8_t *rest;
	uint32_t length;

	__builtin_prefetch(host, 1);
	if (!frame->shallow)
		return;
	rest = frame->segments->base;
	length = frame->segments->length;
	for (size_t i = 0; i < length; i += 64) {
		__builtin_prefetch(host + 64 + i, 1);
		__builtin_prefetch(rest + i);
	}
}

/* The same for any frame. */
GUEST_PREFETCH void net_plain_ask_any(const struct frame *frame, const uint8_t *host)
{
	const uint8_t *rest;
	uint32_t length;

	net_plain_ask_shallow(frame, host);
	if (frame->shallow)
		return;
	__builtin_prefetch(host + 64, 1);
	if (frame->head_length > 128 - VNET_HEADER_SIZE)
		__builtin_prefetch(host + 128, 1);
	if (frame->segment_count == 0)
		return;
	/* Where the frame was not cut by us these begin with a line, both. */
	host += VNET_HEADER_SIZE + frame->head_length;
	rest = frame->segments->base;
	length = frame->segments->length;
	if (length > NET_PREFETCH_BYTES)
		length = NET_PREFETCH_BYTES;
	for (size_t i = 0; i < length; i += 64) {
		__builtin_prefetch(host + i, 1);
		__builtin_prefetch(rest + i);
	}
}

GUEST_PREFETCH void net_plain_ask(const struct net_ahead *ahead, uint32_t place,
				  const struct frame *frame, bool shallow)
{
	const uint8_t *host = net_ahead_host(ahead, place);

	if (host == NULL)
		return;
	if (shallow)
		net_plain_ask_shallow(frame, host);
	else
		net_plain_ask_any(frame, host);
}

/* A shallow frame with its header. The last line is a whole one, too, and takes with it what stands
 * before the segment; the head comes over that afterwards. */
NET_PLAIN_LOOP void net_plain_copy_shallow(const struct frame *frame, uint8_t *host)
{
	const uint8_t *from = frame->segments->base;
	int64_t last = (int64_t)frame->segments->length - 64;
	uint8_t *to = host + 64;

	for (int64_t i = 0; i < last; i += 64)
		net_copy_line(to + i, from + i);
	net_copy_line(to + last, from + last);
	net_copy_line(host, frame->head - VNET_HEADER_SIZE);
}

/* As net_to_guest_single() for a frame of which nothing is asked, of at most two pieces and a usual
 * length, with a header of VNET_HEADER_SIZE bytes. False when it is not one: then nothing was
 * written. */
NET_PLAIN_LOOP bool net_plain_send_one(const struct frame *frame, uint8_t *host, uint32_t length,
				       bool shallow)
{
	/* All zero but for num_buffers, which is 1. */
	const uint64_t start = 0;
	const uint32_t buffers = 1u << 16;
	uint32_t first = VNET_HEADER_SIZE + frame->head_length;

	if (length < VNET_HEADER_SIZE + frame->length || frame->shallow != shallow ||
	    (!shallow && ((frame->flags | frame->gso) != 0 || frame->segment_count > 1 ||
			  frame->length > NET_COPY_INLINE)))
		return false;
	/* With what stands before the head, for whole lines; then the header over that. */
	if (shallow) {
		net_plain_copy_shallow(frame, host);
	} else {
		net_copy_short(host, frame->head - VNET_HEADER_SIZE, first);
		if (frame->segment_count > 0)
			net_copy_short(host + first, frame->segments->base,
				       frame->segments->length);
	}
	memcpy(host, &start, sizeof(start));
	memcpy(host + sizeof(start), &buffers, sizeof(buffers));
	return true;
}

NET_PLAIN_LOOP uint32_t net_plain_send_each(const struct net_ahead *ahead, uint32_t place,
					    struct frame *const *frames, uint32_t count,
					    uint32_t distance, bool shallow)
{
	struct frame *const *end = frames + count, *const * at;

	for (at = frames; at != end; at++, place++) {
		uint8_t *host = net_ahead_host(ahead, place);

		if (at + distance < end)
			net_plain_ask(ahead, place + distance, at[distance], shallow);
		if (host == NULL ||
		    !net_plain_send_one(*at, host, net_ahead_length(ahead, place), shallow))
			break;
	}
	return (uint32_t)(at - frames);
}

NET_PLAIN_FUNCTION uint32_t net_plain_send_shallow(const struct net_ahead *ahead, uint32_t place,
						   struct frame *const *frames, uint32_t count,
						   uint32_t distance)
{
	return net_plain_send_each(ahead, place, frames, count, distance, true);
}

NET_PLAIN_FUNCTION uint32_t net_plain_send_deep(const struct net_ahead *ahead, uint32_t place,
						struct frame *const *frames, uint32_t count,
						uint32_t distance)
{
	return net_plain_send_each(ahead, place, frames, count, distance, false);
}

/* Writes `count` frames to the chains from `place` on, to the guest, as long as they go this way;
 * returns how many. Of the first `distance` ones the buffers have been asked for. */
static inline uint32_t net_plain_send(const struct net_ahead *ahead, uint32_t place,
				      struct frame *const *frames, uint32_t count,
				      uint32_t distance)
{
	uint32_t sent = net_plain_send_shallow(ahead, place, frames, count, distance);

	if (sent < count)
		sent +=
		    net_plain_send_deep(ahead, place + sent, frames + sent, count - sent, distance);
	return sent;
}

#endif
