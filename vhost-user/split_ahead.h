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
	/* The first descriptors. For a head outside the table it is one that is not simple, so that
	 * the walk sees it, and refuses it. */
	struct net_ahead chains;
	/* Of a chain that has one behind its first; nobody else reads it then. */
	struct split_descriptor seconds[NET_AHEAD];
};

/* Of a chain before `asked`. */
static inline uint16_t split_ahead_head(const struct split_ahead *ahead, uint32_t position)
{
	return ahead->heads[position % SPLIT_AHEAD_HEADS];
}

/* Of a chain before `end`. */
static inline struct split_descriptor split_ahead_first(const struct split_ahead *ahead,
							uint32_t position)
{
	return split_descriptor_of(ahead->chains.addresses[position % NET_AHEAD],
				   ahead->chains.words[position % NET_AHEAD]);
}

/* Of a chain whose first descriptor has NEXT as its only flag. */
static inline struct split_descriptor *split_ahead_second(struct split_ahead *ahead,
							  uint32_t position)
{
	return &ahead->seconds[position % NET_AHEAD];
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

	__builtin_prefetch(split_descriptor_at(vq, (uint16_t)(split_ahead_head(ahead, last) + 1)));
	if (direction != SPLIT_TO_GUEST)
		guest_window_prefetch_head(window,
					   2 * split_ahead_first(ahead, last).address -
					       split_ahead_first(ahead, before).address,
					   0);
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
	struct net_ahead *chains = &ahead->chains;
	const uint8_t *table = vq->descriptors;
	const uint32_t size = vq->size;

	for (uint16_t position = ahead->end; position != end; position++) {
		const uint32_t at = position % NET_AHEAD;
		const uint32_t head = split_ahead_head(ahead, position);
		struct split_descriptor first;
		uint64_t offset;
		uint8_t *host;

		if (__builtin_expect(head >= size, 0)) {
			chains->hosts[at] = NULL;
			chains->addresses[at] = 0;
			chains->words[at] = split_descriptor_word(
			    &(struct split_descriptor){ .flags = SPLIT_NOT_SIMPLE });
			continue;
		}
		first = split_descriptor_read(table + (size_t)head * sizeof(first));
		offset = first.address - window->address;
		if (__builtin_expect((first.flags & kind) == wanted && offset < window->size &&
					 first.length <= window->size - offset,
				     1)) {
			host = window->host + offset;
			if (direction != SPLIT_TO_GUEST)
				guest_window_prefetch_host(
				    host, direction == SPLIT_SHALLOW ? 0 : first.length);
		} else {
			host = split_ahead_other(vq, window, direction, position, &first);
		}
		chains->hosts[at] = host;
		chains->addresses[at] = first.address;
		chains->words[at] = split_descriptor_word(&first);
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
