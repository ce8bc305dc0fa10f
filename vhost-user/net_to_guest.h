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
void net_to_guest_copy_segments(const struct frame *frame, uint8_t *to);

/* Frames between the prefetch of a frame and its copy, and bytes of it that are asked for: a longer
 * copy runs ahead of itself by then. */
#define NET_AHEAD	   8u
#define NET_PREFETCH_BYTES 2048u

/* Asks for what the copy of `frame` to the buffer at `address` will touch beside the head and the
 * first two lines, which were asked for before. */
static inline void net_to_guest_prefetch(const struct net_to_guest *net, const struct frame *frame,
					 uint64_t address)
{
	uint64_t offset = address - net->window.address;
	uint32_t length = frame->length < NET_PREFETCH_BYTES ? frame->length : NET_PREFETCH_BYTES;

	for (uint32_t i = 128; i < length && offset < net->window.size; i += 64)
		__builtin_prefetch(net->window.host + offset + i, 1);
	if (frame->segment_count == 0)
		return;
	for (uint32_t i = 0; i < length - frame->head_length; i += 64)
		__builtin_prefetch(frame->segments->base + i);
}

/* The short way for a frame that fits into one buffer of one region, all done: begin, put, and
 * num_buffers 1. False when it does not (or is not one): then nothing was written. */
static inline bool net_to_guest_single(struct net_to_guest *net, const struct frame *frame,
				       uint64_t address, uint32_t length)
{
	uint32_t wanted = net->header_size + frame->length;
	uint8_t *host;

	if (length < wanted)
		return false;
	host = guest_window_span(&net->window, address, wanted);
	if (host == NULL)
		return false;
	if ((frame->flags | frame->gso) != 0) {
		struct vnet_header header;

		vnet_header_from_frame(frame, &header);
		memcpy(host, &header, net->header_size);
	} else {
		/* All zero but for num_buffers: two stores of constants. */
		const uint64_t first = 0;
		const uint32_t last = 1u << 16;

		memcpy(host, &first, sizeof(first));
		if (net->header_size == VNET_HEADER_SIZE)
			memcpy(host + sizeof(first), &last, sizeof(last));
		else
			memcpy(host + sizeof(first), &last, VNET_HEADER_LEGACY - sizeof(first));
	}
	host += net->header_size;
	net_copy(host, frame->head, frame->head_length);
	if (frame->segment_count > 0)
		net_to_guest_copy_segments(frame, host + frame->head_length);
	if (net->log != NULL)
		dirty_log_mark(net->log, address, wanted);
	return true;
}

#endif
