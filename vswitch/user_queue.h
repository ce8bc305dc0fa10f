/* The frames that wait for libslirp's thread: one ring for those of all guests, and a share of it
 * for each port they came from. The bytes of a port that wait are never more than are left for all
 * others, so who floods the ring loses frames of his own, and everybody else finds room. */
#ifndef WEFT_VSWITCH_USER_QUEUE_H
#define WEFT_VSWITCH_USER_QUEUE_H

#include "base/drop.h"
#include "base/frame_ring.h"
#include "vswitch/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct user_queue {
	/* With the number of the port a frame came from as its note (uint16_t). Putter: the worker
	 * that holds the port's send queue; taker: the thread. */
	struct frame_ring *ring;
	/* By that number: bytes in the ring. The putter adds, the taker subtracts (relaxed: a
	 * bound, nothing hangs on it). */
	_Atomic uint32_t waiting[CONFIG_PORTS_MAX];
};

/* A ring of `bytes`, as frame_ring_create() has it. NULL when memory or descriptors are short. */
struct user_queue *user_queue_create(size_t bytes);
void user_queue_destroy(struct user_queue *queue);

/* Putter. Copies a frame without offload state. False with the reason when its port has its share,
 * the ring no room, or it is longer than FRAME_LENGTH_MAX: the frame is the caller's to drop. Seen
 * after frame_ring_flush(). */
bool user_queue_put(struct user_queue *queue, const struct frame *frame, enum drop_reason *reason);

/* Taker. Gives the room of the oldest frame back, to the ring and to its port. */
void user_queue_pop(struct user_queue *queue);

#endif
