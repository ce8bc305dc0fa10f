/* The Internet checksum (RFC 1071, RFC 1624). Pure functions, any thread.
 * Partial sums are kept as a 64-bit number of 16-bit words in memory order and folded at the end.
 */
#ifndef WEFT_BASE_CHECKSUM_H
#define WEFT_BASE_CHECKSUM_H

#include "base/frame.h"

#include <stddef.h>
#include <stdint.h>

/* Adds `length` bytes to the running sum; all pieces but the last must be of even length. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t length);

/* The complemented 16-bit checksum, in memory order (store it with memcpy, no byte swap). */
uint16_t checksum_finish(uint64_t sum);

/* The sum over frame bytes [offset, length), through the head and the segments, any alignment. */
uint64_t checksum_frame(const struct frame *frame, uint32_t offset);

/* Pseudo-header sum (RFC 9293 3.1, RFC 8200 8.1) of the frame's addresses, `protocol`, and `length`
 * bytes of L4. The frame is parsed and ip_version is 4 or 6. */
uint64_t checksum_pseudo_header(const struct frame *frame, uint8_t protocol, uint32_t length);

/* Completes a frame with FRAME_NEEDS_CSUM: computes and stores the checksum in the head (which must
 * be the worker's own), and clears the flag. UDP's 0 becomes 0xffff (RFC 768). */
void checksum_complete(struct frame *frame);

#endif
