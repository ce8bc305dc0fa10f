/* Looking ahead in a split ring: the next chains' heads, descriptors and buffers are asked for
 * while the frames before them are worked on, across calls too, so that the memory the guest's core
 * wrote last is on its way long before it is needed. Worker that uses the queue.
 *
 *   last_available <= end <= asked <= available      (free-running)
 *
 * Up to `available` the driver has given chains away; up to `asked` their heads have been read and
 * the first descriptors asked for; up to `end` these have been read, and frames of the guest's
 * asked for. A driver may not change what it made available (virtio 1.2, 2.7.13), so reading early
 * reads the same, and so does reading again: whoever needs more than `chains` has reads the
 * descriptor once more and trusts only what it sees then. Where a buffer lies is looked up at once,
 * and stays so: memory changes only while the queue is stopped, and a start begins with nothing
 * read. */
#ifndef WEFT_VHOST_USER_SPLIT_AHEAD_H
#define WEFT_VHOST_USER_SPLIT_AHEAD_H

#include "vhost-user/net_plain.h"
#include "vhost-user/split_ring.h"

#define SPLIT_AHEAD_HEADS (4u * BURST_FRAMES)
#define SPLIT_NOT_SIMPLE  (SPLIT_DESCRIPTOR_NEXT | SPLIT_DESCRIPTOR_INDIRECT)

/* Shallow: from the guest, and no more is asked for of each frame than a shallow head takes. */
enum split_direction { SPLIT_FROM_GUEST, SPLIT_SHALLOW, SPLIT_TO_GUEST };

struct split_ahead {
	uint16_t available, asked, end;
	/* From last_available up to `asked`, at p % SPLIT_AHEAD_HEADS. */
	uint16_t heads[SPLIT_AHEAD_HEADS];
	struct net_ahead chains;
};

/* Of a chain before `asked`. */
static inline uint16_t split_ahead_head(const struct split_ahead *ahead, uint32_t position)
{
	return ahead->heads[position % SPLIT_AHEAD_HEADS];
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
	const uint32_t last = ahead->end - 1u, before = ahead->end - 2u;
	const uint64_t offset = 2 * (uintptr_t)net_ahead_host(&ahead->chains, last) -
				(uintptr_t)net_ahead_host(&ahead->chains, before) -
				(uintptr_t)window->host;

	__builtin_prefetch(split_descriptor_at(vq, (uint16_t)(split_ahead_head(ahead, last) + 1)));
	if (direction != SPLIT_TO_GUEST && offset < window->size)
		guest_window_prefetch_host(window->host + offset, 0);
}

/* Reads heads, and asks for their descriptors, up to `chains` from last_available on, as far as
 * there are some. */
static inline void split_ahead_ask(struct virtqueue *vq, const struct guest_window *window,
				   enum split_direction direction, uint32_t chains)
{
	struct split_ahead *ahead = vq->ahead;
	/* In variables: what a head is stored to might be these, for all the compiler knows. */
	const uint16_t waiting = (uint16_t)(ahead->available - vq->last_available);
	const uint32_t mask = vq->size - 1u;
	const uint8_t *table = vq->descriptors;
	const uint16_t *ring = split_field(vq->available, SPLIT_RING_OFFSET);
	uint16_t asked = ahead->asked, end;

	if (chains > SPLIT_AHEAD_HEADS)
		chains = SPLIT_AHEAD_HEADS;
	end = (uint16_t)(vq->last_available + (chains < waiting ? chains : waiting));
	if (ahead->end == asked && end != asked)
		split_ahead_guess(vq, window, direction);
	for (; (int16_t)(uint16_t)(end - asked) > 0; asked++) {
		/* Ordered by split_available_index(). */
		uint16_t head = __atomic_load_n(&ring[asked & mask], __ATOMIC_RELAXED);

		ahead->heads[asked % SPLIT_AHEAD_HEADS] = head;
		__builtin_prefetch(table + (size_t)head * sizeof(struct split_descriptor));
	}
	ahead->asked = asked;
}

/* What does not fit the short way: a chain of several buffers, a buffer in another region than the
 * one before it. Asks for what a chain from the guest refers to: its frame's first bytes, or where
 * to look next. Returns where the only buffer lies, if `plain`: it is the only one. */
static inline uint8_t *split_ahead_other(struct virtqueue *vq, struct guest_window *window,
					 enum split_direction direction, bool plain,
					 const struct split_descriptor *first)
{
	struct split_descriptor second;
	uint8_t *host = NULL;

	if (plain)
		host = guest_window_span(window, first->address, first->length);
	if (direction == SPLIT_TO_GUEST)
		return host;
	guest_window_prefetch_head(window, first->address, first->length);
	if (first->flags == SPLIT_DESCRIPTOR_NEXT && first->next < vq->size) {
		second = split_descriptor_read(split_descriptor_at(vq, first->next));
		guest_window_prefetch_head(window, second.address, second.length);
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
	struct net_ahead *chains = &ahead->chains;
	const uint8_t *table = vq->descriptors;
	const uint32_t size = vq->size;

	for (uint16_t position = ahead->end; position != end; position++) {
		const uint32_t at = position % NET_AHEAD;
		const uint32_t head = split_ahead_head(ahead, position);
		struct split_descriptor first;
		uint64_t offset;
		uint8_t *host;
		bool plain;

		if (__builtin_expect(head >= size, 0)) {
			chains->hosts[at] = NULL;
			continue;
		}
		first = split_descriptor_read(table + (size_t)head * sizeof(first));
		offset = first.address - window->address;
		plain = (first.flags & kind) == wanted;
		if (__builtin_expect(plain && offset < window->size &&
					 first.length <= window->size - offset,
				     1)) {
			host = window->host + offset;
			if (direction != SPLIT_TO_GUEST)
				guest_window_prefetch_host(
				    host, direction == SPLIT_SHALLOW ? 0 : first.length);
		} else {
			host = split_ahead_other(vq, window, direction, plain, &first);
		}
		chains->hosts[at] = host;
		chains->lengths[at] = first.length;
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

	if (chains > NET_AHEAD)
		chains = NET_AHEAD;
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
