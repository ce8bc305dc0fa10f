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

#endif
