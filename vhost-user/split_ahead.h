/* Looking ahead in a split ring: the next chains' heads, descriptors and buffers are asked for
 * while the frames before them are worked on, across calls too, so that the memory the guest's core
 * wrote last is on its way long before it is needed. Worker that uses the queue.
 *
 *   last_available <= end <= asked <= available      (free-running)
 *
 * Up to `available` the driver has given chains away; up to `asked` their heads have been read and
 * the first descriptors asked for; up to `end` these have been read, each once, and the buffers
 * asked for. A driver may not change what it made available (virtio 1.2, 2.7.13), so reading early
 * reads the same; addresses are looked up in guest memory only when they are used. */
#ifndef WEFT_VHOST_USER_SPLIT_AHEAD_H
#define WEFT_VHOST_USER_SPLIT_AHEAD_H

#include "base/frame.h"
#include "vhost-user/guest_window.h"
#include "vhost-user/split_ring.h"

#define SPLIT_AHEAD_CHAINS (2u * BURST_FRAMES) /* a burst, and the next one */
#define SPLIT_AHEAD_HEADS  (4u * BURST_FRAMES)
#define SPLIT_NOT_SIMPLE   (SPLIT_DESCRIPTOR_NEXT | SPLIT_DESCRIPTOR_INDIRECT)

enum split_direction { SPLIT_FROM_GUEST, SPLIT_TO_GUEST };

struct split_ahead {
	uint16_t available, asked, end;
	uint16_t heads[SPLIT_AHEAD_HEADS];
	struct split_descriptor descriptors[SPLIT_AHEAD_CHAINS];
	/* Of a chain that has one behind its first; nobody else reads it then. */
	struct split_descriptor seconds[SPLIT_AHEAD_CHAINS];
};

static inline uint16_t split_ahead_head(const struct split_ahead *ahead, uint16_t position)
{
	return ahead->heads[position % SPLIT_AHEAD_HEADS];
}

/* Of a chain before `end`. For a head outside the table it is one that is not simple, so that the
 * walk sees it, and refuses it. */
static inline const struct split_descriptor *split_ahead_first(const struct split_ahead *ahead,
							       uint16_t position)
{
	return &ahead->descriptors[position % SPLIT_AHEAD_CHAINS];
}

/* Of a chain whose first descriptor has NEXT as its only flag. */
static inline const struct split_descriptor *split_ahead_second(const struct split_ahead *ahead,
								uint16_t position)
{
	return &ahead->seconds[position % SPLIT_AHEAD_CHAINS];
}

/* Number of chains waiting, of which the caller wants `wanted`: as many as known, and if these are
 * too few, as the driver's index says. False when the queue is or now becomes broken. */
static inline bool split_ahead_look(struct virtqueue *vq, uint32_t wanted, uint16_t *waiting)
{
	struct split_ahead *ahead = vq->ahead;
	uint16_t known = (uint16_t)(ahead->available - vq->last_available);

	if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
		return false;
	*waiting = known;
	if (known >= wanted)
		return true;
	*waiting = (uint16_t)(split_available_index(vq) - vq->last_available);
	if (*waiting <= vq->size && *waiting >= known) {
		ahead->available = (uint16_t)(vq->last_available + *waiting);
		return true;
	}
	/* Relaxed: control only looks at it; it takes the queue over by way of `running`. */
	atomic_store_explicit(&vq->fault, VIRTQUEUE_FAULT_INDEX, memory_order_relaxed);
	return false;
}

/* Where few chains come at a time, head, descriptor and buffer would be waited for one after the
 * other. So before the first is known the others are asked for where they most likely are: heads
 * mostly follow one another, and buffers lie equally far apart. */
static inline void split_ahead_guess(struct virtqueue *vq, const struct guest_window *window,
				     enum split_direction direction)
{
	const struct split_ahead *ahead = vq->ahead;
	uint16_t last = (uint16_t)(ahead->end - 1);
	uint64_t address = split_ahead_first(ahead, last)->address;
	uint64_t before = split_ahead_first(ahead, (uint16_t)(last - 1))->address;

	__builtin_prefetch(split_descriptor_at(vq, (uint16_t)(split_ahead_head(ahead, last) + 1)));
	/* A receiver's buffer has been asked for long ago. */
	if (direction == SPLIT_FROM_GUEST)
		guest_window_prefetch_head(window, address + (address - before), 0);
}

/* Reads heads, and asks for their descriptors, up to `chains` from last_available on, as far as
 * there are some. */
static inline void split_ahead_ask(struct virtqueue *vq, const struct guest_window *window,
				   enum split_direction direction, uint32_t chains)
{
	struct split_ahead *ahead = vq->ahead;
	uint16_t waiting = (uint16_t)(ahead->available - vq->last_available);
	uint16_t end;

	if (chains > SPLIT_AHEAD_HEADS)
		chains = SPLIT_AHEAD_HEADS;
	end = (uint16_t)(vq->last_available + (chains < waiting ? chains : waiting));
	if (ahead->end == ahead->asked && end != ahead->end)
		split_ahead_guess(vq, window, direction);
	for (; (int16_t)(uint16_t)(end - ahead->asked) > 0; ahead->asked++) {
		uint16_t head = split_available_head(vq, ahead->asked);

		ahead->heads[ahead->asked % SPLIT_AHEAD_HEADS] = head;
		__builtin_prefetch(split_descriptor_at(vq, head));
	}
}

/* Asks for what a chain from the guest refers to: its frame's first bytes, or where to look next.
 */
static inline void split_ahead_ask_source(struct virtqueue *vq, const struct guest_window *window,
					  const struct split_descriptor *first)
{
	struct split_descriptor *second = &vq->ahead->seconds[vq->ahead->end % SPLIT_AHEAD_CHAINS];

	guest_window_prefetch_head(window, first->address, first->length);
	if (first->flags != SPLIT_DESCRIPTOR_NEXT || first->next >= vq->size)
		return;
	*second = split_descriptor_read(split_descriptor_at(vq, first->next));
	guest_window_prefetch_head(window, second->address, second->length);
}

/* Reads the first descriptor of the next chain, one of those asked for, and asks for its buffer; a
 * receiver's to be written. */
static inline void split_ahead_read(struct virtqueue *vq, const struct guest_window *window,
				    enum split_direction direction)
{
	struct split_ahead *ahead = vq->ahead;
	uint16_t head = split_ahead_head(ahead, ahead->end);
	struct split_descriptor read = { .flags = SPLIT_NOT_SIMPLE };

	if (head < vq->size) {
		read = split_descriptor_read(split_descriptor_at(vq, head));
		if (direction == SPLIT_TO_GUEST)
			guest_window_prefetch_write(window, read.address);
		else
			split_ahead_ask_source(vq, window, &read);
	}
	ahead->descriptors[ahead->end % SPLIT_AHEAD_CHAINS] = read;
	ahead->end++;
}

/* Where reading ends when `chains` chains from last_available on are wanted: as far as these have
 * been asked for, and never before `end`. */
static inline uint16_t split_ahead_limit(const struct virtqueue *vq, uint32_t chains)
{
	const struct split_ahead *ahead = vq->ahead;
	uint16_t asked = (uint16_t)(ahead->asked - vq->last_available);
	uint16_t read = (uint16_t)(ahead->end - vq->last_available);

	if (chains > SPLIT_AHEAD_CHAINS)
		chains = SPLIT_AHEAD_CHAINS;
	if (chains > asked)
		chains = asked;
	return (uint16_t)(vq->last_available + (chains > read ? chains : read));
}

/* Reads up to `chains` chains from last_available on, as far as that has not been done and there
 * are some. */
static inline void split_ahead_fill(struct virtqueue *vq, const struct guest_window *window,
				    enum split_direction direction, uint32_t chains)
{
	struct split_ahead *ahead = vq->ahead;
	uint16_t limit;

	if ((uint16_t)(ahead->end - vq->last_available) >= chains)
		return;
	split_ahead_ask(vq, window, direction, chains);
	limit = split_ahead_limit(vq, chains);
	while (ahead->end != limit)
		split_ahead_read(vq, window, direction);
}

/* Nothing was read: after last_available went back. */
static inline void split_ahead_forget(struct virtqueue *vq)
{
	vq->ahead->asked = vq->ahead->end = vq->last_available;
}

#endif
