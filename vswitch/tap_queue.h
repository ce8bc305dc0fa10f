/* One queue of a tap: its file, and how bursts of frames pass through it. port_tap.c is the only
 * user. Create and destroy: control; each direction: one worker at a time. */
#ifndef WEFT_VSWITCH_TAP_QUEUE_H
#define WEFT_VSWITCH_TAP_QUEUE_H

#include "base/counters.h"
#include "base/frame.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The end of the interface, of all its queues: a worker that meets it tells control, once. */
struct tap_end {
	_Atomic bool gone; /* workers set (relaxed); they leave the files alone from then on */
	int event_fd;	   /* eventfd, becomes readable */
};

static inline bool tap_end_is_gone(const struct tap_end *end)
{
	return atomic_load_explicit(&end->gone, memory_order_relaxed);
}

struct tap_queue;

/* `fd` is non-blocking; file and end stay the caller's and outlive the queue. NULL: out of memory.
 * The owner frees with tap_queue_destroy(), which takes NULL. */
struct tap_queue *tap_queue_create(int fd, struct tap_end *end);
void tap_queue_destroy(struct tap_queue *queue);

/* Whether a burst takes one system call. Any thread. */
bool tap_queue_is_batched(const struct tap_queue *queue);

/* As receive, send and arm of struct port_type. */
uint32_t tap_queue_receive(struct tap_queue *queue, struct burst *burst,
			   struct port_counters *counters);
uint32_t tap_queue_send(struct tap_queue *queue, struct frame *const *frames, uint32_t count,
			struct port_counters *counters);
bool tap_queue_arm(const struct tap_queue *queue);

#endif
