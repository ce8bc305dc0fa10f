/* Life of a driver's ring (driver_ring.h). Called by the generator on its one thread. */
#include "bench/driver_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nobody is to call us, in either format. */
static void init_packed(struct driver_ring *ring, const struct fake_packed *from)
{
	ring->packed_descriptors = from->descriptors;
	ring->driver_event = from->driver_event;
	ring->device_event = from->device_event;
	/* The same 16 bytes, as far as prefetching goes. */
	ring->descriptors = (struct fake_descriptor *)(void *)from->descriptors;
	atomic_store_explicit(&ring->driver_event->flags, 1, memory_order_relaxed);
}

static void init_split(struct driver_ring *ring)
{
	/* Whoever gives buffer i the first time finds its id where it will look ever after. */
	for (uint16_t i = 0; i < ring->size; i++) {
		ring->used->ring[i].id = i;
		ring->available->ring[i] = i;
	}
	atomic_store_explicit(&ring->available->flags, 1, memory_order_relaxed);
	driver_ring_suppress_calls(ring);
}

int driver_ring_init(struct driver_ring *ring, struct fake_guest *guest, uint32_t queue,
		     uint16_t flags)
{
	struct fake_queue *from = &guest->queues[queue];
	uint32_t shift;

	memset(ring, 0, sizeof(*ring));
	ring->size = from->ring.size;
	ring->mask = (uint16_t)(ring->size - 1);
	ring->flags = flags;
	ring->event_idx = (guest->options.features & FAKE_BIT(FAKE_F_EVENT_IDX)) != 0;
	ring->packed = from->ring.is_packed;
	ring->in_order = (guest->options.features & FAKE_BIT(FAKE_F_IN_ORDER)) != 0;
	ring->descriptors = from->ring.descriptors;
	ring->available = from->ring.available;
	ring->used = from->ring.used;
	/* Pairs of cache lines travel together; of a slot the last line stays unused for that. */
	shift = (uint32_t)(-from->slots & (DRIVER_RING_ALIGN - 1));
	ring->slots_address = from->slots + shift;
	ring->slots = fake_guest_slot(guest, queue, 0) + shift;
	ring->stride = guest->options.buffer_size;
	ring->kick_fd = from->kick_fd;
	ring->lengths = calloc(ring->size, sizeof(*ring->lengths));
	if (ring->lengths == NULL)
		return -ENOMEM;
	for (uint16_t i = 0; i < ring->size; i++)
		ring->lengths[i] = ring->stride - DRIVER_RING_ALIGN;
	if (ring->packed)
		init_packed(ring, &from->ring.packed);
	else
		init_split(ring);
	return 0;
}

void driver_ring_release(struct driver_ring *ring)
{
	free(ring->lengths);
	ring->lengths = NULL;
}

void driver_ring_fill(struct driver_ring *ring)
{
	for (uint32_t i = 0; i < ring->size; i++)
		driver_ring_give(ring, i);
}

void driver_ring_kick(struct driver_ring *ring)
{
	uint64_t one = 1;

	ring->kicks++;
	if (write(ring->kick_fd, &one, sizeof(one)) != sizeof(one)) {
		/* A full eventfd is a kick that is still pending. */
	}
}
