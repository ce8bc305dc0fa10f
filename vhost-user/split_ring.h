/* The split ring in guest memory (virtio 1.2, 2.7): its three parts, and how each field is read and
 * written. The guest may change any byte at any time, so each field is read once, into a value of
 * our own. Worker that uses the queue, or control while it is stopped.
 *
 * The parts are aligned as 2.7 asks (16, 2, 4); whoever sets the addresses checks that. */
#ifndef WEFT_VHOST_USER_SPLIT_RING_H
#define WEFT_VHOST_USER_SPLIT_RING_H

#include "vhost-user/virtqueue.h"

#include <stddef.h>
#include <string.h>

#define SPLIT_DESCRIPTOR_NEXT	  1u
#define SPLIT_DESCRIPTOR_WRITE	  2u
#define SPLIT_DESCRIPTOR_INDIRECT 4u
#define SPLIT_AVAILABLE_NO_CALL	  1u /* VIRTQ_AVAIL_F_NO_INTERRUPT */
#define SPLIT_USED_NO_KICK	  1u /* VIRTQ_USED_F_NO_NOTIFY */

#define SPLIT_INDEX_OFFSET    2u /* in the available and in the used ring */
#define SPLIT_RING_OFFSET     4u
#define SPLIT_AVAILABLE_ENTRY 2u
#define SPLIT_USED_ENTRY      8u

struct split_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct split_used {
	uint32_t id;
	uint32_t length;
};

/* A word at any address: an indirect table need not be aligned. */
struct split_word {
	uint64_t value;
} __attribute__((packed));

/* From the two words of a descriptor. */
static inline struct split_descriptor split_descriptor_of(uint64_t address, uint64_t word)
{
	return (struct split_descriptor){
		.address = address,
		.length = (uint32_t)word,
		.flags = (uint16_t)(word >> 32),
		.next = (uint16_t)(word >> 48),
	};
}

/* One descriptor, each byte read once: volatile keeps the compiler from going back for more. */
static inline struct split_descriptor split_descriptor_read(const void *at)
{
	const volatile struct split_word *words = at;
	uint64_t address = words[0].value;

	return split_descriptor_of(address, words[1].value);
}

static inline const void *split_descriptor_at(const struct virtqueue *vq, uint16_t index)
{
	return (const uint8_t *)vq->descriptors + (size_t)index * sizeof(struct split_descriptor);
}

static inline uint16_t *split_field(void *ring, size_t offset)
{
	return (uint16_t *)(void *)((uint8_t *)ring + offset);
}

/* Acquire: pairs with the driver's barrier between filling entries and moving the index. */
static inline uint16_t split_available_index(const struct virtqueue *vq)
{
	return __atomic_load_n(split_field(vq->available, SPLIT_INDEX_OFFSET), __ATOMIC_ACQUIRE);
}

/* The used entry at free-running `position`. */
static inline struct split_used *split_used_at(const struct virtqueue *vq, uint16_t position)
{
	size_t slot = position & (vq->size - 1u);

	return (struct split_used *)(void *)((uint8_t *)vq->used + SPLIT_RING_OFFSET +
					     slot * SPLIT_USED_ENTRY);
}

/* Fills the used entry at free-running `position`; the guest looks at it only after
 * split_used_publish(). */
static inline void split_used_put(struct virtqueue *vq, uint16_t position, uint16_t head,
				  uint32_t length)
{
	*split_used_at(vq, position) = (struct split_used){ .id = head, .length = length };
}

/* The same for `count` chains at most the ring's size, of length 0: without a step between entries
 * that a vector could not take. */
static inline void split_used_put_heads(struct virtqueue *vq, uint16_t position,
					const uint16_t *heads, uint32_t count)
{
	uint32_t before_wrap = vq->size - (position & (vq->size - 1u));
	uint32_t n = count < before_wrap ? count : before_wrap;

	for (uint32_t done = 0; done < count; done += n, n = count - done) {
		struct split_used *entries = split_used_at(vq, (uint16_t)(position + done));
		const uint16_t *from = heads + done;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t entry = from[i];

			memcpy(&entries[i], &entry, sizeof(entry));
		}
	}
}

/* Sets the length of an entry that was put to 0. */
static inline void split_used_clear(struct virtqueue *vq, uint16_t position)
{
	split_used_at(vq, position)->length = 0;
}

/* Makes the used entries [vq->last_used, position) visible, moves last_used there, and calls the
 * guest if it wants to be (2.7.7.2, 2.7.10). */
void split_used_publish(struct virtqueue *vq, uint16_t position);

/* The rows of a split ring's virtqueue_ops that do not move frames. */
bool split_arm(struct virtqueue *vq);
void split_disarm(struct virtqueue *vq);
void split_flush(struct virtqueue *vq);

#endif
