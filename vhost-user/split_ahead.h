/* Looking ahead in a split ring: the next chains' heads, descriptors and buffers are asked for
 * while the frames before them are worked on, across calls too, so that the memory the guest's core
 * wrote last is on its way long before it is needed. Worker that uses the queue.
 *
 *   last_available <= end <= asked <= available      (free-running)
 *
 * Up to `available` the driver has given chains away; up to `asked` their heads have been read and
 * the first descriptors asked for; up to `end` these have been read, each once, and frames of the
 * guest's asked for. A driver may not change what it made available (virtio 1.2, 2.7.13), so
 * reading early reads the same. Where a buffer lies is looked up at once, and stays so: memory
 * changes only while the queue is stopped, and a start begins with nothing read. */
#ifndef WEFT_VHOST_USER_SPLIT_AHEAD_H
#define WEFT_VHOST_USER_SPLIT_AHEAD_H

#include "base/frame.h"
#include "vhost-user/guest_window.h"
#include "vhost-user/split_ring.h"

#define SPLIT_AHEAD_CHAINS (2u * BURST_FRAMES) /* a burst, and the next one */
#define SPLIT_AHEAD_HEADS  (4u * BURST_FRAMES)
#define SPLIT_NOT_SIMPLE   (SPLIT_DESCRIPTOR_NEXT | SPLIT_DESCRIPTOR_INDIRECT)

/* Shallow: from the guest, and no more is asked for of each frame than a shallow head takes. */
enum split_direction { SPLIT_FROM_GUEST, SPLIT_SHALLOW, SPLIT_TO_GUEST };

/* A chain that has been read. */
struct split_chain_ahead {
	uint8_t *host; /* when it is one buffer, the right way, in one region: where it lies */
	/* For a head outside the table it is one that is not simple, so that the walk sees it, and
	 * refuses it. */
	struct split_descriptor first;
	uint16_t head;
};

struct split_ahead {
	uint16_t available, asked, end;
	uint16_t heads[SPLIT_AHEAD_HEADS];
	struct split_chain_ahead chains[SPLIT_AHEAD_CHAINS];
	/* Of a chain that has one behind its first; nobody else reads it then. */
	struct split_descriptor seconds[SPLIT_AHEAD_CHAINS];
};

/* A chain before `end`. */
static inline struct split_chain_ahead *split_ahead_at(struct split_ahead *ahead, uint16_t position)
{
	return &ahead->chains[position % SPLIT_AHEAD_CHAINS];
}

/* Of a chain whose first descriptor has NEXT as its only flag. */
static inline struct split_descriptor *split_ahead_second(struct split_ahead *ahead,
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
	const struct split_chain_ahead *last, *before;

	last = split_ahead_at(vq->ahead, (uint16_t)(vq->ahead->end - 1));
	before = split_ahead_at(vq->ahead, (uint16_t)(vq->ahead->end - 2));
	__builtin_prefetch(split_descriptor_at(vq, (uint16_t)(last->head + 1)));
	if (direction != SPLIT_TO_GUEST)
		guest_window_prefetch_head(window, 2 * last->first.address - before->first.address,
					   0);
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

/* What does not fit the short way: a chain of several buffers, a buffer in another region than the
 * one before it. Asks for what a chain from the guest refers to: its frame's first bytes, or where
 * to look next. Returns where the only buffer lies, if it is the only one. */
static inline uint8_t *split_ahead_other(struct virtqueue *vq, struct guest_window *window,
					 enum split_direction direction, uint16_t position,
					 const struct split_descriptor *first)
{
	const uint16_t flags = first->flags & (SPLIT_NOT_SIMPLE | SPLIT_DESCRIPTOR_WRITE);
	struct split_descriptor *second;
	uint8_t *host = NULL;

	if (flags == (direction == SPLIT_TO_GUEST ? SPLIT_DESCRIPTOR_WRITE : 0))
		host = guest_window_span(window, first->address, first->length);
	if (direction == SPLIT_TO_GUEST)
		return host;
	guest_window_prefetch_head(window, first->address, first->length);
	if (first->flags == SPLIT_DESCRIPTOR_NEXT && first->next < vq->size) {
		second = split_ahead_second(vq->ahead, position);
		*second = split_descriptor_read(split_descriptor_at(vq, first->next));
		guest_window_prefetch_head(window, second->address, second->length);
	}
	return host;
}

/* Reads the first descriptors of the next chains, those asked for, up to `end`, and asks for the
 * frames of those that come from the guest. */
static inline void split_ahead_read(struct virtqueue *vq, struct guest_window *window,
				    enum split_direction direction, uint16_t end)
{
	const uint16_t kind = SPLIT_NOT_SIMPLE | SPLIT_DESCRIPTOR_WRITE;
	const uint16_t wanted = direction == SPLIT_TO_GUEST ? SPLIT_DESCRIPTOR_WRITE : 0;
	struct split_ahead *ahead = vq->ahead;
	const uint8_t *table = vq->descriptors;
	uint16_t size = vq->size;

	for (uint16_t position = ahead->end; position != end; position++) {
		struct split_chain_ahead *chain = split_ahead_at(ahead, position);
		uint16_t head = ahead->heads[position % SPLIT_AHEAD_HEADS];
		uint64_t offset;

		chain->head = head;
		chain->host = NULL;
		if (__builtin_expect(head >= size, 0)) {
			chain->first = (struct split_descriptor){ .flags = SPLIT_NOT_SIMPLE };
			continue;
		}
		split_descriptor_copy(&chain->first,
				      table + (size_t)head * sizeof(struct split_descriptor));
		offset = chain->first.address - window->address;
		if (__builtin_expect((chain->first.flags & kind) == wanted &&
					 offset < window->size &&
					 chain->first.length <= window->size - offset,
				     1)) {
			chain->host = window->host + offset;
			if (direction != SPLIT_TO_GUEST)
				guest_window_prefetch_host(chain->host, direction == SPLIT_SHALLOW
									    ? 0
									    : chain->first.length);
		} else {
			chain->host =
			    split_ahead_other(vq, window, direction, position, &chain->first);
		}
	}
	ahead->end = end;
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
static inline void split_ahead_fill(struct virtqueue *vq, struct guest_window *window,
				    enum split_direction direction, uint32_t chains)
{
	if ((uint16_t)(vq->ahead->end - vq->last_available) >= chains)
		return;
	split_ahead_ask(vq, window, direction, chains);
	split_ahead_read(vq, window, direction, split_ahead_limit(vq, chains));
}

/* Nothing was read: after last_available went back. */
static inline void split_ahead_forget(struct virtqueue *vq)
{
	vq->ahead->asked = vq->ahead->end = vq->last_available;
}

#endif
