/* From a frame to the guest's buffers (virtio 1.2, 5.1.6.3), whatever the ring's format: the ring
 * code offers buffer after buffer as guest address and length, and the header and the frame are
 * written as they come. Worker thread.
 *
 * Nothing needs to be known beforehand about the buffers: what is written into a chain that then
 * turns out too short stays invisible, since the chain is not marked used. num_buffers of the
 * header is put right afterwards. Written guest pages are marked in the dirty log. */
#ifndef WEFT_VHOST_USER_NET_TO_GUEST_H
#define WEFT_VHOST_USER_NET_TO_GUEST_H

#include "base/vnet_header.h"
#include "vhost-user/dirty_log.h"
#include "vhost-user/guest_window.h"
#include "vhost-user/net_copy.h"

/* One queue's batch of frames, and the frame that is being written. */
struct net_to_guest {
	struct guest_window window;
	struct dirty_log *log; /* NULL: off */
	uint32_t header_size;

	const struct frame *frame;
	uint32_t left;		 /* bytes of header and frame still to write */
	const uint8_t *source;	 /* next byte to write ... */
	uint32_t source_left;	 /* ... and how many are there */
	uint32_t sources_opened; /* 1: the header, 2: the head, then segments */
	struct vnet_header header;
	uint64_t count_addresses[2]; /* where the two bytes of num_buffers went */
	uint8_t *count_bytes[2];
};

/* Begins with `frame`. */
void net_to_guest_begin(struct net_to_guest *net, const struct frame *frame);

/* Writes what is left, as much as [address, address + length) takes, into it. False when part of
 * that lies outside the guest's memory. */
bool net_to_guest_put(struct net_to_guest *net, uint64_t address, uint32_t length);

/* After the last put: says in the header how many chains the frame took. */
void net_to_guest_set_buffers(struct net_to_guest *net, uint16_t buffers);

/* The segments of a frame, one after another, to contiguous memory. */
static inline void net_to_guest_copy_segments(const struct frame *frame, uint8_t *to)
{
	for (uint32_t i = 0; i < frame->segment_count; i++) {
		net_copy(to, frame->segments[i].base, frame->segments[i].length);
		to += frame->segments[i].length;
	}
}

/* Bytes of a frame that are asked for before it is copied: a longer copy runs ahead of itself. */
#define NET_PREFETCH_BYTES 2048u

/* Frames between the prefetch of one and its copy, by the size of those sent last: what has to be
 * on its way at a time, for lines to be there when the copy comes to them, is a number of lines.
 * Not more: the guest, whose processor reads on beyond the frames it has, would take the lines away
 * again. */
#define NET_AHEAD_LINES 100u
#define NET_AHEAD_MIN	4u
#define NET_AHEAD_MAX	32u

static inline uint16_t net_to_guest_ahead(uint32_t frames, uint64_t bytes)
{
	uint64_t ahead = (uint64_t)NET_AHEAD_LINES * frames / (frames + bytes / 64);

	if (ahead < NET_AHEAD_MIN)
		return NET_AHEAD_MIN;
	return (uint16_t)(ahead < NET_AHEAD_MAX ? ahead : NET_AHEAD_MAX);
}

/* Asks for what the copy of `frame` to `host` will touch beside the head, if it is shallow; of
 * others, which a loop for shallow ones leaves to another, for where it begins. */
GUEST_PREFETCH void net_to_guest_prefetch_shallow(const struct frame *frame, const uint8_t *host)
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
GUEST_PREFETCH void net_to_guest_prefetch(const struct frame *frame, const uint8_t *host)
{
	const uint8_t *rest;
	uint32_t length;

	net_to_guest_prefetch_shallow(frame, host);
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

/* The short way for a frame that fits into one buffer of `length` bytes, which lies at `host` as a
 * whole: begin, put, and num_buffers 1. False when it does not fit: then nothing was written.
 * `address` is the guest's, for the dirty log. */
static inline bool net_to_guest_single(const struct net_to_guest *net, const struct frame *frame,
				       uint8_t *host, uint64_t address, uint32_t length)
{
	uint32_t wanted = net->header_size + frame->length;
	struct vnet_header header;

	if (length < wanted)
		return false;
	vnet_header_from_frame(frame, &header);
	memcpy(host, &header, net->header_size);
	net_copy(host + net->header_size, frame->head, frame->head_length);
	net_to_guest_copy_segments(frame, host + net->header_size + frame->head_length);
	if (net->log != NULL)
		dirty_log_mark(net->log, address, wanted);
	return true;
}

/* A shallow frame with its header. The last line is a whole one, too, and takes with it what stands
 * before the segment; the head comes over that afterwards. */
static inline __attribute__((always_inline)) void net_to_guest_shallow(const struct frame *frame,
								       uint8_t *host)
{
	const uint8_t *from = frame->segments->base;
	int64_t last = (int64_t)frame->segments->length - 64;
	uint8_t *to = host + 64;

	for (int64_t i = 0; i < last; i += 64)
		net_copy_line(to + i, from + i);
	net_copy_line(to + last, from + last);
	net_copy_line(host, frame->head - VNET_HEADER_SIZE);
}

/* The same for a frame of which nothing is asked, of at most two pieces and a usual length, with a
 * header of VNET_HEADER_SIZE bytes: what nearly all are, without a call. False when it is not one:
 * then nothing was written. `shallow`: only for shallow frames, as a loop may know beforehand that
 * there will be no others. */
static inline __attribute__((always_inline)) bool
net_to_guest_plain(const struct frame *frame, uint8_t *host, uint32_t length, bool shallow)
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
		net_to_guest_shallow(frame, host);
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

#endif
