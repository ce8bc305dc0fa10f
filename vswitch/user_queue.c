/* The queue of frames to libslirp's thread (user_queue.h): port_user.c's workers put, user_stack.c
 * takes. */
#include "vswitch/user_queue.h"

#include <stdlib.h>
#include <string.h>

struct user_queue *user_queue_create(size_t bytes)
{
	struct user_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->ring = frame_ring_create(bytes);
	if (!queue->ring) {
		free(queue);
		return NULL;
	}
	return queue;
}

void user_queue_destroy(struct user_queue *queue)
{
	if (!queue)
		return;
	frame_ring_destroy(queue->ring);
	free(queue);
}

bool user_queue_put(struct user_queue *queue, const struct frame *frame, enum drop_reason *reason)
{
	_Atomic uint32_t *waiting = &queue->waiting[frame->arrival];
	size_t size = frame_ring_entry_size(frame->length);

	if (frame->length > FRAME_LENGTH_MAX) {
		*reason = DROP_FRAME_TOO_LONG_FOR_PORT;
		return false;
	}
	/* relaxed: see struct user_queue. */
	if (atomic_load_explicit(waiting, memory_order_relaxed) + 2 * size >
	    frame_ring_room(queue->ring)) {
		*reason = DROP_UPLINK_SHARE;
		return false;
	}
	if (!frame_ring_put(queue->ring, frame, &frame->arrival, sizeof(frame->arrival))) {
		*reason = DROP_NO_BUFFERS;
		return false;
	}
	atomic_fetch_add_explicit(waiting, (uint32_t)size, memory_order_relaxed);
	return true;
}

void user_queue_pop(struct user_queue *queue)
{
	const struct frame_ring_entry *entry = frame_ring_peek(queue->ring);
	uint16_t from;

	if (!entry)
		return;
	memcpy(&from, entry->note, sizeof(from));
	atomic_fetch_sub_explicit(&queue->waiting[from],
				  (uint32_t)frame_ring_entry_size(entry->length),
				  memory_order_relaxed);
	frame_ring_pop(queue->ring, 1);
}
