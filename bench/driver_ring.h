/* The fast path of a guest's virtqueue, split or packed, driver side: buffer i of a ring's own
 * memory is always described by descriptor i (in a packed ring: stands in slot i), and rings are
 * worked on in batches. What a real driver writes for each frame is written here too (descriptor,
 * and the available ring where it changed); nothing is read back but used entries. No system call
 * unless the device asks for a kick.
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
	bool packed;
	bool in_order; /* buffers come back in the order they were given, perhaps one for several */
	bool broken;   /* the device returned what it was not given */
	struct fake_descriptor *descriptors;
	struct fake_available *available;
	struct fake_used *used;
	struct fake_packed_descriptor *packed_descriptors;
	struct fake_event *driver_event, *device_event; /* packed */
	uint16_t first_flags; /* packed: of the first descriptor that is not published yet */
	uint16_t seen;	      /* packed: entries up to here are known to be used */
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

#define DRIVER_RING_AVAILABLE 0x80u
#define DRIVER_RING_USED      0x8000u
#define DRIVER_RING_SCAN      256u

/* Packed: the flags of a slot at free-running `index` that say it is used, or available. The size
 * is a power of two: its bit of the index tells even rounds from odd ones. */
static inline uint16_t driver_ring_used_flags(const struct driver_ring *ring, uint16_t index)
{
	return (index & ring->size) == 0 ? DRIVER_RING_AVAILABLE | DRIVER_RING_USED : 0;
}

static inline uint16_t driver_ring_available_flags(const struct driver_ring *ring, uint16_t index)
{
	return (index & ring->size) == 0 ? DRIVER_RING_AVAILABLE : DRIVER_RING_USED;
}

/* Packed: id and flags of a slot, as far as a used one is known by them. Acquire: the rest of the
 * slot and the buffer were written before. */
static inline uint32_t driver_ring_seal(const struct fake_packed_descriptor *at)
{
	return __atomic_load_n((const uint32_t *)(const void *)&at->id, __ATOMIC_ACQUIRE) &
	       ((DRIVER_RING_AVAILABLE | DRIVER_RING_USED) << 16 | 0xffff);
}

/* Packed: moves `seen` over what is used now, a bounded number at a time. */
static inline void driver_ring_scan(struct driver_ring *ring)
{
	const struct fake_packed_descriptor *descriptors = ring->packed_descriptors;
	const uint32_t size = ring->size, mask = ring->mask;
	const uint32_t out = (uint16_t)(ring->published - ring->seen);
	uint32_t n = 0;

	for (uint32_t i = 0; i < DRIVER_RING_SCAN && n < out; i++) {
		const uint16_t index = (uint16_t)(ring->seen + n);
		const uint32_t slot = index & mask;
		const uint32_t flags = (uint32_t)driver_ring_used_flags(ring, index) << 16;
		uint32_t run = out - n < size - slot ? out - n : size - slot, more = 0, seal, count;

		/* Mostly each slot has its own buffer back. */
		run = run < DRIVER_RING_SCAN - i ? run : DRIVER_RING_SCAN - i;
		while (more < run &&
		       driver_ring_seal(&descriptors[slot + more]) == (flags | (slot + more)))
			more++;
		if (more > 0) {
			n += more;
			i += more - 1;
			continue;
		}
		seal = driver_ring_seal(&descriptors[slot]);
		if ((seal & ~0xffffu) != flags)
			break;
		/* Just now its own, or in order, one that stands for all before it. */
		count = (((seal & 0xffff) - slot) & mask) + 1;
		if ((seal & 0xffff) >= size || (count > 1 && !ring->in_order) || count > out - n) {
			ring->broken = true;
			break;
		}
		n += count;
	}
	ring->seen = (uint16_t)(ring->seen + n);
}

/* Used entries that were not taken yet. Acquire: pairs with the device's release of used->index
 * after its writes to buffers and entries. */
static inline uint16_t driver_ring_used_count(struct driver_ring *ring)
{
	if (ring->packed) {
		if (ring->seen == ring->used_index)
			driver_ring_scan(ring);
		return (uint16_t)(ring->seen - ring->used_index);
	}
	return (uint16_t)(atomic_load_explicit(&ring->used->index, memory_order_acquire) -
			  ring->used_index);
}

/* Whether at least `count` used entries were not taken yet, also beyond what was scanned at once.
 */
static inline bool driver_ring_has_used(struct driver_ring *ring, uint16_t count)
{
	if (driver_ring_used_count(ring) >= count)
		return true;
	if (!ring->packed)
		return false;
	driver_ring_scan(ring);
	return (uint16_t)(ring->seen - ring->used_index) >= count;
}

/* Buffers the driver owns. */
static inline uint16_t driver_ring_free_count(const struct driver_ring *ring)
{
	return (uint16_t)(ring->size - (uint16_t)(ring->available_index - ring->used_index));
}

/* Takes back all that is used (sending side); buffers the driver owns then. */
static inline uint16_t driver_ring_reclaim(struct driver_ring *ring)
{
	if (ring->packed) {
		driver_ring_scan(ring);
		ring->used_index = ring->seen;
	} else {
		/* Acquire: the device has read those buffers. */
		ring->used_index = atomic_load_explicit(&ring->used->index, memory_order_acquire);
	}
	return driver_ring_free_count(ring);
}

/* Takes the id in the used entry at `index`; a wild one marks the ring broken. */
static inline uint32_t driver_ring_used_id(struct driver_ring *ring, uint16_t index)
{
	uint32_t id;

	if (ring->packed || ring->in_order)
		return index & ring->mask;
	id = ring->used->ring[index & ring->mask].id;
	if (__builtin_expect(id >= ring->size, 0)) {
		ring->broken = true;
		return 0;
	}
	return id;
}

/* The bytes written, of the used entry at `index`. */
static inline uint32_t driver_ring_used_length(const struct driver_ring *ring, uint16_t index)
{
	return ring->packed ? ring->packed_descriptors[index & ring->mask].length
			    : ring->used->ring[index & ring->mask].length;
}

static inline void driver_ring_give_packed(struct driver_ring *ring, uint32_t id)
{
	struct fake_packed_descriptor *descriptor =
	    &ring->packed_descriptors[ring->available_index & ring->mask];
	uint16_t flags =
	    (uint16_t)(ring->flags | driver_ring_available_flags(ring, ring->available_index));

	descriptor->address = ring->slots_address + (uint64_t)id * ring->stride;
	/* The first of what is published at once comes last. */
	if (ring->available_index == ring->published) {
		ring->first_flags = flags;
		flags = atomic_load_explicit(&descriptor->flags, memory_order_relaxed);
	}
	/* Length, id and flags in one store. */
	__atomic_store_n((uint64_t *)(void *)&descriptor->length,
			 ring->lengths[id] | (uint64_t)id << 32 | (uint64_t)flags << 48,
			 __ATOMIC_RELAXED);
	ring->available_index++;
}

/* Makes buffer `id` the next one for the device. */
static inline void driver_ring_give(struct driver_ring *ring, uint32_t id)
{
	struct fake_descriptor *descriptor = &ring->descriptors[id];
	uint16_t *entry;

	if (ring->packed) {
		driver_ring_give_packed(ring, id);
		return;
	}
	entry = &ring->available->ring[ring->available_index & ring->mask];
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

	/* Where it is to be told of a certain slot, it is told too often. */
	if (ring->packed)
		return atomic_load_explicit(&ring->device_event->flags, memory_order_relaxed) != 1;
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
	if (ring->packed)
		atomic_store_explicit(&ring->packed_descriptors[old & ring->mask].flags,
				      ring->first_flags, memory_order_release);
	else
		atomic_store_explicit(&ring->available->index, ring->available_index,
				      memory_order_release);
	ring->published = ring->available_index;
	/* The index must be visible before the device's wish is read (virtio 1.2, 2.7.13.4.1). */
	atomic_thread_fence(memory_order_seq_cst);
	if (driver_ring_wants_kick(ring, old))
		driver_ring_kick(ring);
}

/* With event indices, "no interrupt" is an event half the number space away. */
static inline void driver_ring_suppress_calls(struct driver_ring *ring)
{
	if (ring->event_idx && !ring->packed)
		atomic_store_explicit((_Atomic uint16_t *)&ring->available->ring[ring->size],
				      (uint16_t)(ring->used_index + 0x8000), memory_order_relaxed);
}

#endif
