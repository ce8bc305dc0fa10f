/* The driver's side of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8), written from the
 * specification and sharing nothing with the device under test, so that one misreading cannot hide
 * in both.
 *
 * One thread uses a ring. What the driver must remember is kept in memory of its own, never read
 * back from the shared ring, so a test may corrupt the ring and the driver still knows what it
 * owns. */
#ifndef WEFT_TESTS_LIB_FAKE_RING_H
#define WEFT_TESTS_LIB_FAKE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_RING_SIZE_MAX 32768u

#define FAKE_DESCRIPTOR_NEXT	 1u
#define FAKE_DESCRIPTOR_WRITE	 2u
#define FAKE_DESCRIPTOR_INDIRECT 4u

/* The three shared parts, as the specification lays them out. */
struct fake_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct fake_available {
	_Atomic uint16_t flags; /* 1: no interrupt */
	_Atomic uint16_t index;
	uint16_t ring[]; /* size entries, then used_event */
};

struct fake_used_element {
	uint32_t id;
	uint32_t length;
};

struct fake_used {
	_Atomic uint16_t flags; /* 1: no notify */
	_Atomic uint16_t index;
	struct fake_used_element ring[]; /* size entries, then avail_event */
};

/* Those of a packed ring. */
struct fake_packed_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	_Atomic uint16_t flags;
};

struct fake_event {
	_Atomic uint16_t place; /* slot, and the wrap counter in bit 15 */
	_Atomic uint16_t flags; /* 0: always, 1: never, 2: when `place` is reached */
};

/* What the driver of a packed ring remembers; see fake_packed.c. */
struct fake_packed {
	struct fake_packed_descriptor *descriptors;
	struct fake_event *driver_event, *device_event;
	uint16_t next_slot, used_slot;
	bool next_wrap, used_wrap;
	uint16_t first_slot, first_flags; /* of what is to be published, and how much that is */
	uint32_t unpublished;
	uint16_t *free_ids; /* size: a stack */
	uint32_t free_id_count;
	uint16_t *order; /* size: ids in flight, in ring order */
	uint32_t order_first, order_count;
	uint32_t batch; /* in order: chains of the last used descriptor not taken yet */
	uint32_t batch_length;
};

struct fake_ring {
	uint16_t size;
	bool event_idx;
	bool is_packed;
	bool in_order;
	struct fake_packed packed;
	struct fake_descriptor *descriptors;
	struct fake_available *available;
	struct fake_used *used;
	uint16_t next_available; /* entries filled; published by fake_ring_publish() */
	uint16_t published;	 /* last value of available->index */
	uint16_t next_used;	 /* entries of the used ring taken */
	uint16_t free_head;
	uint16_t free_count;
	uint16_t *links;   /* size: the free list, and what follows in a chain */
	uint16_t *counts;  /* size: descriptors of the chain that starts here, 0: not in flight */
	uint32_t *cookies; /* size: the user's value for the chain that starts here */
};

/* One buffer of a chain: a guest physical address and a length. */
struct fake_buffer {
	uint64_t address;
	uint32_t length;
};

/* Bytes of the three parts for `size` entries. */
uint64_t fake_ring_descriptor_bytes(uint16_t size);
uint64_t fake_ring_available_bytes(uint16_t size);
uint64_t fake_ring_used_bytes(uint16_t size);

/* Clears the parts and takes all descriptors as free. A packed ring has its descriptors and two
 * event areas of 4 bytes. 0 or -ENOMEM. */
int fake_ring_init(struct fake_ring *ring, uint16_t size, void *descriptors, void *available,
		   void *used);
int fake_ring_init_packed(struct fake_ring *ring, uint16_t size, void *descriptors,
			  void *driver_event, void *device_event);
void fake_ring_release(struct fake_ring *ring);

/* Puts a chain of `count` buffers in the ring, all device-readable or all device-writable as
 * `flags` (0 or FAKE_DESCRIPTOR_WRITE) says. Not visible before fake_ring_publish(). Returns the
 * head's index, or -ENOSPC. */
int fake_ring_add(struct fake_ring *ring, const struct fake_buffer *buffers, uint32_t count,
		  uint16_t flags, uint32_t cookie);

/* The same through an indirect table of `count` entries at `table` / guest physical address. */
int fake_ring_add_indirect(struct fake_ring *ring, struct fake_descriptor *table,
			   uint64_t table_address, const struct fake_buffer *buffers,
			   uint32_t count, uint16_t flags, uint32_t cookie);

/* Makes what was added visible and says whether the device asked to be kicked for it. */
bool fake_ring_publish(struct fake_ring *ring);

/* Takes one used chain: 1 with its cookie and written length; 0 when there is none; -EPROTO when
 * the device returned a chain that it does not hold. */
int fake_ring_take(struct fake_ring *ring, uint32_t *cookie, uint32_t *length);

/* Number of used entries not taken yet. */
uint16_t fake_ring_used_count(const struct fake_ring *ring);

/* Asks for an interrupt after the next used entry / for none. arm returns true when the used ring
 * was still empty after asking, so waiting is safe. */
bool fake_ring_arm(struct fake_ring *ring);
void fake_ring_disarm(struct fake_ring *ring);

/* Split: the index the device should go on from after it lost its state: all that it returned. */
uint16_t fake_ring_used_index(const struct fake_ring *ring);

/* Where used_event and avail_event stand. */
static inline _Atomic uint16_t *fake_ring_used_event(const struct fake_ring *ring)
{
	return (_Atomic uint16_t *)&ring->available->ring[ring->size];
}

static inline _Atomic uint16_t *fake_ring_available_event(const struct fake_ring *ring)
{
	return (_Atomic uint16_t *)&ring->used->ring[ring->size];
}

/* The packed half of the functions above: fake_packed.c. */
int fake_packed_add(struct fake_ring *ring, const struct fake_buffer *buffers, uint32_t count,
		    uint16_t flags, uint32_t cookie);
bool fake_packed_publish(struct fake_ring *ring);
int fake_packed_take(struct fake_ring *ring, uint32_t *cookie, uint32_t *length);
uint16_t fake_packed_used_count(const struct fake_ring *ring);
bool fake_packed_arm(struct fake_ring *ring);
void fake_packed_disarm(struct fake_ring *ring);

#endif
