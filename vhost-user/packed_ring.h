/* The packed ring in guest memory (virtio 1.2, 2.8): its descriptors, its two event areas, and how
 * each is read and written. The guest may change any byte at any time, so each is read once, into a
 * value of our own. Worker that uses the queue, or control while it is stopped.
 *
 * A position in the ring is 16 bits: the slot, and in bit 15 the wrap counter, 1 at first (2.8.1);
 * so SET_VRING_BASE and the event areas have it, too. struct virtqueue keeps last_available and
 * last_used this way, and calls the driver's event area `available`, the device's `used`, as
 * SET_VRING_ADDR does. */
#ifndef WEFT_VHOST_USER_PACKED_RING_H
#define WEFT_VHOST_USER_PACKED_RING_H

#include "vhost-user/packed_journal.h"
#include "vhost-user/virtqueue.h"

#include <string.h>

#define PACKED_DESCRIPTOR_NEXT	    0x1u
#define PACKED_DESCRIPTOR_WRITE	    0x2u
#define PACKED_DESCRIPTOR_INDIRECT  0x4u
#define PACKED_DESCRIPTOR_AVAILABLE 0x80u
#define PACKED_DESCRIPTOR_USED	    0x8000u

#define PACKED_WRAP 0x8000u /* in a position */

/* Flags of an event area; its upper half. The lower half is a position. */
#define PACKED_EVENT_ENABLE	0u
#define PACKED_EVENT_DISABLE	1u
#define PACKED_EVENT_DESCRIPTOR 2u
#define PACKED_EVENT_AREA	4u /* bytes */

struct packed_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

/* A word at any address: an indirect table need not be aligned. */
struct packed_word {
	uint64_t value;
} __attribute__((packed));

static inline uint16_t packed_slot(uint16_t position)
{
	return position & (uint16_t)~PACKED_WRAP;
}

/* `count` <= size descriptors on. */
static inline uint16_t packed_advance(uint16_t position, uint32_t count, uint16_t size)
{
	uint32_t slot = packed_slot(position) + count;
	uint32_t wrap = position & PACKED_WRAP;

	if (slot >= size) {
		slot -= size;
		wrap ^= PACKED_WRAP;
	}
	return (uint16_t)(wrap | slot);
}

/* Descriptors from `from` to `to`, which is at most one round ahead: 0 .. size. */
static inline uint32_t packed_distance(uint16_t from, uint16_t to, uint16_t size)
{
	return packed_slot(to) + (((from ^ to) & PACKED_WRAP) != 0 ? size : 0u) - packed_slot(from);
}

static inline uint8_t *packed_slot_at(const struct virtqueue *vq, uint16_t position)
{
	return (uint8_t *)vq->descriptors +
	       (size_t)packed_slot(position) * sizeof(struct packed_descriptor);
}

static inline struct packed_descriptor packed_descriptor_make(uint64_t first, uint64_t second)
{
	return (struct packed_descriptor){
		.address = first,
		.length = (uint32_t)second,
		.id = (uint16_t)(second >> 32),
		.flags = (uint16_t)(second >> 48),
	};
}

/* Reads the descriptor in the slot at `at`; false when the driver has not made it available in the
 * round of `wrap` (PACKED_WRAP or 0; 2.8.1). Acquire: pairs with the driver's barrier before it
 * writes the flags. */
static inline bool packed_descriptor_read(const uint8_t *at, uint16_t wrap,
					  struct packed_descriptor *out)
{
	uint64_t second =
	    __atomic_load_n((const uint64_t *)(const void *)(at + 8), __ATOMIC_ACQUIRE);
	uint32_t wanted = wrap != 0 ? PACKED_DESCRIPTOR_AVAILABLE : PACKED_DESCRIPTOR_USED;

	if (((second >> 48) & (PACKED_DESCRIPTOR_AVAILABLE | PACKED_DESCRIPTOR_USED)) != wanted)
		return false;
	*out = packed_descriptor_make(*(const volatile uint64_t *)(const void *)at, second);
	return true;
}

/* An entry of an indirect table, or a slot found available before, each byte read once. */
static inline struct packed_descriptor packed_entry_read(const void *at)
{
	const volatile struct packed_word *words = at;
	uint64_t second = words[1].value;

	return packed_descriptor_make(words[0].value, second);
}

/* Writes to an entry of the journal that a chain is done; one store. */
static inline void packed_used_put(struct packed_used *entry, uint16_t id, uint16_t count,
				   uint32_t length)
{
	((struct packed_word *)(void *)entry)->value =
	    id | (uint64_t)count << 16 | (uint64_t)length << 32;
}

/* Makes the first `count` entries of the journal visible to the guest as used, which moves
 * last_used to `position`, and calls it if it wants to be (2.8.6, 2.8.9, 2.8.10). */
void packed_used_publish(struct virtqueue *vq, uint32_t count, uint16_t position);

/* The rows of a packed ring's virtqueue_ops that do not move frames. */
bool packed_arm(struct virtqueue *vq);
void packed_disarm(struct virtqueue *vq);
void packed_flush(struct virtqueue *vq);

#endif
