/* Cuts a GSO frame for a receiver that cannot take it whole: TCP by sequence number (v4, v6, ECN),
 * UDP by datagram (USO), UDP or any IP packet by IP fragment (UFO, FRAME_GSO_FRAGMENT). Worker
 * thread. */
#ifndef WEFT_BASE_SEGMENT_H
#define WEFT_BASE_SEGMENT_H

#include "base/frame.h"

/* A GSO frame that would become more segments is refused on arrival (DROP_GSO_SIZE): Linux'
 * smallest MSS is 48, 64 KiB of it make 1,365. */
#define FRAME_SEGMENTS_MAX 1400u

/* Where a segmentation stands; zero it to begin. */
struct segment_state {
	uint32_t offset;     /* payload bytes done */
	uint32_t index;	     /* segments made */
	uint32_t identifier; /* of IP fragments */
};

/* Appends the next segments of `frame` (parsed, gso set) to `out` until its limit or segment list
 * is full or the frame is done. Each segment is a frame of its own: headers in its own head,
 * payload borrowed from the original. Checksums: left partial (FRAME_NEEDS_CSUM, right
 * pseudo-header sum) for the receiver that takes them; the caller completes them otherwise; IPv4
 * header checksums are always right. Fragments come with the checksum complete. Returns
 * true when more are left. */
bool segment_next(const struct frame *frame, struct segment_state *state, struct burst *out);

/* The gso_size that FRAME_GSO_FRAGMENT (or UFO) needs to send the parsed packet through a link of
 * `mtu` bytes; 0 when it cannot be fragmented: IPv6 headers unknown or a fragment already, or no
 * room for the headers in the first one (RFC 7112). Padding has been cut off. */
uint16_t segment_fragment_size(const struct frame *frame, uint32_t mtu);

/* Number of frames `frame` will become; 0 when its headers do not allow it. */
uint32_t segment_count(const struct frame *frame);

#endif
