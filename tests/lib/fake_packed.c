/* The driver's side of a packed virtqueue (fake_ring.h; virtio 1.2, 2.8). Called through
 * fake_ring.c, on the thread of the test. */
#include "tests/lib/fake_ring.h"

#include <errno.h>

#define AVAIL	0x80u
#define USED	0x8000u
#define ALWAYS	0u
#define NEVER	1u
#define REACHED 2u

/* Slots from `slot` on; toggles the counter at the end of the ring. */
static void step(const struct fake_ring *ring, uint16_t *slot, bool *wrap, uint32_t count)
{
	uint32_t next = *slot + count;

	if (next >= ring->size) {
		next -= ring->size;
		*wrap = !*wrap;
	}
	*slot = (uint16_t)next;
}

static uint16_t available_flags(const struct fake_packed *packed)
{
	return packed->next_wrap ? AVAIL : USED;
}

int fake_packed_add(struct fake_ring *ring, const struct fake_buffer *buffers, uint32_t count,
		    uint16_t flags, uint32_t cookie)
{
	struct fake_packed *packed = &ring->packed;
	uint16_t id;

	if (count == 0 || count > ring->free_count)
		return -ENOSPC;
	id = packed->free_ids[--packed->free_id_count];
	for (uint32_t i = 0; i < count; i++) {
		struct fake_packed_descriptor *descriptor = &packed->descriptors[packed->next_slot];
		uint16_t all = (uint16_t)(flags | available_flags(packed));

		if (i + 1 < count)
			all |= FAKE_DESCRIPTOR_NEXT;
		descriptor->address = buffers[i].address;
		descriptor->length = buffers[i].length;
		/* Only that of the last has a meaning. */
		descriptor->id = i + 1 < count ? (uint16_t)~id : id;
		/* The very first of what is to be published comes last. */
		if (packed->unpublished == 0) {
			packed->first_slot = packed->next_slot;
			packed->first_flags = all;
		} else {
			atomic_store_explicit(&descriptor->flags, all, memory_order_release);
		}
		packed->unpublished++;
		step(ring, &packed->next_slot, &packed->next_wrap, 1);
	}
	ring->free_count = (uint16_t)(ring->free_count - count);
	ring->counts[id] = (uint16_t)count;
	ring->cookies[id] = cookie;
	packed->order[(packed->order_first + packed->order_count++) % ring->size] = id;
	return id;
}

/* 2.8.10: was `event` among the `count` slots before `next`? */
static bool reached(const struct fake_ring *ring, uint16_t event, uint32_t count)
{
	const struct fake_packed *packed = &ring->packed;
	int32_t place = event & 0x7fff, end = packed->next_slot;

	/* In the round before this one. */
	if ((event >> 15 != 0) != packed->next_wrap)
		place -= ring->size;
	return place < end && place >= end - (int32_t)count;
}

bool fake_packed_publish(struct fake_ring *ring)
{
	struct fake_packed *packed = &ring->packed;
	uint32_t count = packed->unpublished;
	uint16_t flags;

	if (count == 0)
		return false;
	packed->unpublished = 0;
	/* Release: the rest before it. The fence orders it before the read of the device's wish,
	 * and pairs with the device's own between its wish and its last look at the slot. */
	atomic_store_explicit(&packed->descriptors[packed->first_slot].flags, packed->first_flags,
			      memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	/* The flags first: the device writes both at once, or the flags last. */
	flags = atomic_load_explicit(&packed->device_event->flags, memory_order_acquire);
	if (flags == REACHED && ring->event_idx)
		return reached(
		    ring, atomic_load_explicit(&packed->device_event->place, memory_order_relaxed),
		    count);
	return flags != NEVER;
}

static bool is_used(const struct fake_ring *ring, uint16_t slot, bool wrap)
{
	uint16_t flags =
	    atomic_load_explicit(&ring->packed.descriptors[slot].flags, memory_order_acquire);

	return (flags & AVAIL) == (wrap ? AVAIL : 0) && (flags & USED) == (wrap ? USED : 0);
}

/* How many chains, from the one in flight longest on, end with `id`; 0: it is not in flight. */
static uint32_t chains_to(const struct fake_ring *ring, uint16_t id)
{
	const struct fake_packed *packed = &ring->packed;

	for (uint32_t i = 0; i < packed->order_count; i++) {
		if (packed->order[(packed->order_first + i) % ring->size] == id)
			return i + 1;
	}
	return 0;
}

/* Gives up the oldest chain in flight. */
static void pop(struct fake_ring *ring, uint32_t *cookie)
{
	struct fake_packed *packed = &ring->packed;
	uint16_t id = packed->order[packed->order_first];

	packed->order_first = (packed->order_first + 1) % ring->size;
	packed->order_count--;
	step(ring, &packed->used_slot, &packed->used_wrap, ring->counts[id]);
	ring->free_count = (uint16_t)(ring->free_count + ring->counts[id]);
	ring->counts[id] = 0;
	packed->free_ids[packed->free_id_count++] = id;
	*cookie = ring->cookies[id];
}

/* The device under test promises to return chains in order; a used descriptor that stands for
 * several is allowed with IN_ORDER only (2.8.8). */
int fake_packed_take(struct fake_ring *ring, uint32_t *cookie, uint32_t *length)
{
	struct fake_packed *packed = &ring->packed;

	if (packed->batch == 0) {
		const struct fake_packed_descriptor *used = &packed->descriptors[packed->used_slot];
		uint32_t chains;

		if (!is_used(ring, packed->used_slot, packed->used_wrap) ||
		    packed->order_count == 0)
			return 0;
		chains = chains_to(ring, used->id);
		if (chains == 0 || (chains > 1 && !ring->in_order))
			return -EPROTO;
		packed->batch = chains;
		packed->batch_length = (atomic_load_explicit(&used->flags, memory_order_relaxed) &
					FAKE_DESCRIPTOR_WRITE) != 0
					   ? used->length
					   : 0;
	}
	packed->batch--;
	*length = packed->batch == 0 ? packed->batch_length : 0;
	pop(ring, cookie);
	return 1;
}

uint16_t fake_packed_used_count(const struct fake_ring *ring)
{
	const struct fake_packed *packed = &ring->packed;
	uint16_t slot = packed->used_slot;
	bool wrap = packed->used_wrap;
	uint32_t seen = packed->batch;

	for (uint32_t i = 0; i < seen; i++)
		step(ring, &slot, &wrap,
		     ring->counts[packed->order[(packed->order_first + i) % ring->size]]);
	while (seen < packed->order_count && is_used(ring, slot, wrap)) {
		uint32_t chains = chains_to(ring, packed->descriptors[slot].id);

		/* Not one that is there: take() will say so. */
		if (chains <= seen)
			return (uint16_t)(seen + 1);
		for (; seen < chains; seen++)
			step(
			    ring, &slot, &wrap,
			    ring->counts[packed->order[(packed->order_first + seen) % ring->size]]);
	}
	return (uint16_t)seen;
}

bool fake_packed_arm(struct fake_ring *ring)
{
	struct fake_packed *packed = &ring->packed;

	if (ring->event_idx) {
		atomic_store_explicit(&packed->driver_event->place,
				      packed->used_slot | (packed->used_wrap ? 0x8000u : 0),
				      memory_order_relaxed);
		atomic_store_explicit(&packed->driver_event->flags, REACHED, memory_order_release);
	} else {
		atomic_store_explicit(&packed->driver_event->flags, ALWAYS, memory_order_relaxed);
	}
	/* The wish before the last look; pairs with the device's fence between a used slot and its
	 * look at the wish. */
	atomic_thread_fence(memory_order_seq_cst);
	return packed->batch == 0 &&
	       (packed->order_count == 0 || !is_used(ring, packed->used_slot, packed->used_wrap));
}

void fake_packed_disarm(struct fake_ring *ring)
{
	atomic_store_explicit(&ring->packed.driver_event->flags, NEVER, memory_order_relaxed);
}
