/* The fast path of a guest's split virtqueue, driver side: buffer i of a ring's own memory is
 * always described by descriptor i, and rings are worked on in batches. What a real driver writes
 * for each frame is written here too (descriptor, and the available ring where it changed); nothing
 * is read back but used entries. No system call unless the device asks for a kick.
 *
 * The fake guest of the tests makes memory and connection; this takes the rings over afterwards. */
#ifndef WEFT_BENCH_DRIVER_RING_H
#define WEFT_BENCH_DRIVER_RING_H

#include "tests/lib/fake_guest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DRIVER_RING_ALIGN 128u /* of buffers; the last so many bytes of each are not used */

struct driver_ring {
	uint16_t size, mask;
	uint16_t available_index; /* next entry to fill */
	uint16_t published;	  /* last value shown to the device */
	uint16_t used_index;	  /* next entry to take */
	uint16_t flags;		  /* of each descriptor */
	bool event_idx;
	bool broken; /* the device returned what it was not given */
	struct fake_descriptor *descriptors;
	struct fake_available *available;
	struct fake_used *used;
	uint8_t *slots;
	uint64_t slots_address; /* guest physical */
	uint32_t stride;
	uint32_t *lengths; /* by slot: bytes to send, or room */
	int kick_fd;
	uint64_t kicks;
	uint64_t batches, entries; /* of used entries taken */
};

/* Before the handshake; `flags` is 0 or FAKE_DESCRIPTOR_WRITE. 0 or -ENOMEM. */
int driver_ring_init(struct driver_ring *ring, struct fake_guest *guest, uint32_t queue,
		     uint16_t flags);
void driver_ring_release(struct driver_ring *ring);

/* Gives the device all buffers (receiving side). Publish afterwards. */
void driver_ring_fill(struct driver_ring *ring);

void driver_ring_kick(struct driver_ring *ring);

static inline uint8_t *driver_ring_slot(const struct driver_ring *ring, uint32_t id)
{
	return ring->slots + (size_t)id * ring->stride;
}

/* Used entries that were not taken yet. Acquire: pairs with the device's release of used->index
 * after its writes to buffers and entries. */
static inline uint16_t driver_ring_used_count(const struct driver_ring *ring)
{
	return (uint16_t)(atomic_load_explicit(&ring->used->index, memory_order_acquire) -
			  ring->used_index);
}

/* Buffers the driver owns. */
static inline uint16_t driver_ring_free_count(const struct driver_ring *ring)
{
	return (uint16_t)(ring->size - (uint16_t)(ring->available_index - ring->used_index));
}

/* Takes the id in the used entry at `index`; a wild one marks the ring broken. */
static inline uint32_t driver_ring_used_id(struct driver_ring *ring, uint16_t index)
{
	uint32_t id = ring->used->ring[index & ring->mask].id;

	if (__builtin_expect(id >= ring->size, 0)) {
		ring->broken = true;
		return 0;
	}
	return id;
}

/* Makes buffer `id` the next one for the device. */
static inline void driver_ring_give(struct driver_ring *ring, uint32_t id)
{
	struct fake_descriptor *descriptor = &ring->descriptors[id];
	uint16_t *entry = &ring->available->ring[ring->available_index & ring->mask];

	descriptor->address = ring->slots_address + (uint64_t)id * ring->stride;
	descriptor->length = ring->lengths[id];
	descriptor->flags = ring->flags;
	descriptor->next = 0;
	if (*entry != (uint16_t)id)
		*entry = (uint16_t)id;
	ring->available_index++;
}

static inline bool driver_ring_wants_kick(const struct driver_ring *ring, uint16_t old)
{
	uint16_t event;

	if (!ring->event_idx)
		return (atomic_load_explicit(&ring->used->flags, memory_order_relaxed) & 1) == 0;
	event = atomic_load_explicit((_Atomic uint16_t *)&ring->used->ring[ring->size],
				     memory_order_relaxed);
	return (uint16_t)(ring->available_index - event - 1) <
	       (uint16_t)(ring->available_index - old);
}

/* Shows the device what was given, and kicks it if it asks for that. */
static inline void driver_ring_publish(struct driver_ring *ring)
{
	uint16_t old = ring->published;

	if (old == ring->available_index)
		return;
	/* Release: pairs with the device's acquire before it reads entries and descriptors. */
	atomic_store_explicit(&ring->available->index, ring->available_index, memory_order_release);
	ring->published = ring->available_index;
	/* The index must be visible before the device's wish is read (virtio 1.2, 2.7.13.4.1). */
	atomic_thread_fence(memory_order_seq_cst);
	if (driver_ring_wants_kick(ring, old))
		driver_ring_kick(ring);
}

/* With event indices, "no interrupt" is an event half the number space away. */
static inline void driver_ring_suppress_calls(struct driver_ring *ring)
{
	if (ring->event_idx)
		atomic_store_explicit((_Atomic uint16_t *)&ring->available->ring[ring->size],
				      (uint16_t)(ring->used_index + 0x8000), memory_order_relaxed);
}

#endif
