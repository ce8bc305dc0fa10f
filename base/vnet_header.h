/* The virtio-net header (virtio 1.2, 5.1.6.1), as guests and taps (IFF_VNET_HDR) speak it, and its
 * translation to and from the offload state of a frame. Worker thread, pure functions. */
#ifndef WEFT_BASE_VNET_HEADER_H
#define WEFT_BASE_VNET_HEADER_H

#include "base/frame.h"

#include <stdint.h>

#define VNET_HEADER_LEGACY 10u /* without num_buffers */
#define VNET_HEADER_SIZE   12u

#define VNET_FLAG_NEEDS_CSUM 1u
#define VNET_FLAG_DATA_VALID 2u
#define VNET_GSO_NONE	     0u
#define VNET_GSO_TCPV4	     1u
#define VNET_GSO_UDP	     3u
#define VNET_GSO_TCPV6	     4u
#define VNET_GSO_UDP_L4	     5u
#define VNET_GSO_ECN	     0x80u

/* Little endian (we serve VERSION_1 and little-endian legacy guests on little-endian hosts). */
struct vnet_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

/* What a peer may do (on arrival), or can take (on the way out). */
enum offload {
	OFFLOAD_CSUM = 1 << 0,
	OFFLOAD_TSO4 = 1 << 1,
	OFFLOAD_TSO6 = 1 << 2,
	OFFLOAD_TSO_ECN = 1 << 3,
	OFFLOAD_UFO = 1 << 4,
	OFFLOAD_USO4 = 1 << 5, /* virtio has one bit per direction for both; taps have two */
	OFFLOAD_USO6 = 1 << 6,
	OFFLOAD_ALL = (1 << 7) - 1,
	OFFLOAD_NOBODY = 1 << 7, /* what a frame needs that no port takes as it is */
};

/* Checks the header that came with `frame` (head, length, head_length set) against `allowed` and
 * the frame's own bytes, and sets the frame's offload and parse state. A header of all zeros, the
 * usual case, touches nothing else. Returns true, or false with *reason why the frame must be
 * dropped: OFFLOAD_NOT_NEGOTIATED, CSUM_RANGE (within the tags, or beyond the head), GSO_TYPE (type
 * unknown or not what the frame's headers say, or GSO without NEEDS_CSUM), GSO_SIZE (0, or more
 * than FRAME_SEGMENTS_MAX segments). hdr_len is a hint and never trusted. */
bool vnet_header_to_frame(const struct vnet_header *header, struct frame *frame, uint32_t allowed,
			  enum drop_reason *reason);

/* Fills all of *header for the frame; num_buffers is 1. hdr_len is the length of all headers. */
void vnet_header_from_frame(const struct frame *frame, struct vnet_header *header);

#endif
