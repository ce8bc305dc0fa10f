/* A bounded queue of copied frames between two threads, one that puts and one that takes, with an
 * eventfd to wake the taker: how frames leave the workers for control or a thread of a port, and
 * come back. Frames carry no offload state (checksums complete, not GSO), and a note of the
 * putter's own.
 *
 * Several putters, or takers, need a lock of their own around their side. */
#ifndef WEFT_BASE_FRAME_RING_H
#define WEFT_BASE_FRAME_RING_H

#include "base/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_RING_NOTE 64u /* bytes of a note, at most */

struct frame_ring;

struct frame_ring_entry {
	uint32_t length;
	uint32_t note_length;
	uint8_t note[FRAME_RING_NOTE];
	uint8_t bytes[]; /* contiguous */
};

/* Room for `bytes` of frames with their entries (a power of two is best; at least 256 KiB, so that
 * the longest frame fits). NULL when memory or descriptors are short. */
struct frame_ring *frame_ring_create(size_t bytes);
void frame_ring_destroy(struct frame_ring *ring);

/* Putter. Copies a frame, head and segments. False when there is no room, or the frame is longer
 * than FRAME_LENGTH_MAX or the note than FRAME_RING_NOTE: the frame is the caller's to drop.
 * Nothing is seen by the taker before frame_ring_flush(). */
bool frame_ring_put(struct frame_ring *ring, const struct frame *frame, const void *note,
		    uint32_t note_length);
/* The same from one piece of memory. */
bool frame_ring_put_bytes(struct frame_ring *ring, const uint8_t *bytes, uint32_t length,
			  const void *note, uint32_t note_length);
/* Bytes of the ring that a frame of this length takes, with its entry. */
size_t frame_ring_entry_size(uint32_t length);
/* Putter. Bytes that nothing stands in. One that does not fit before the ring's end leaves those
 * there empty, and takes them too. */
size_t frame_ring_room(const struct frame_ring *ring);
/* Putter. Publishes what was put, and wakes the taker if it sleeps. */
void frame_ring_flush(struct frame_ring *ring);

/* Taker. The oldest entry, valid until frame_ring_pop() of it; NULL when there is none. */
const struct frame_ring_entry *frame_ring_peek(struct frame_ring *ring);
/* Taker. Peeks further: the entry after `entry`, NULL at the end. For lending a burst out. */
const struct frame_ring_entry *frame_ring_next(struct frame_ring *ring,
					       const struct frame_ring_entry *entry);
/* Taker. Gives the room of the `count` oldest entries back. */
void frame_ring_pop(struct frame_ring *ring, uint32_t count);

/* Taker. The eventfd (non-blocking) that becomes readable, edge by edge, for what is published
 * after frame_ring_arm(); owned by the ring. Who waits for its level must call
 * frame_ring_disarm() when it has fired. It may fire for nothing. */
int frame_ring_fd(const struct frame_ring *ring);
/* Taker. Asks to be woken. False when something is there already: take that first. */
bool frame_ring_arm(struct frame_ring *ring);
/* Taker. Polls from now on; the eventfd is read empty. */
void frame_ring_disarm(struct frame_ring *ring);

#endif
