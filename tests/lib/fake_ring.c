/* The driver's side of a split virtqueue (fake_ring.h). Called by the fake guest, on the thread
 * of the test. */
#include "tests/lib/fake_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_INTERRUPT 1u
#define NO_NOTIFY    1u

uint64_t fake_ring_descriptor_bytes(uint16_t size)
{
	return sizeof(struct fake_descriptor) * (uint64_t)size;
}

uint64_t fake_ring_available_bytes(uint16_t size)
{
	return sizeof(struct fake_available) + sizeof(uint16_t) * ((uint64_t)size + 1);
}

uint64_t fake_ring_used_bytes(uint16_t size)
{
	return sizeof(struct fake_used) + sizeof(struct fake_used_element) * (uint64_t)size +
	       sizeof(uint16_t);
}

int fake_ring_init(struct fake_ring *ring, uint16_t size, void *descriptors, void *available,
		   void *used)
{
	memset(ring, 0, sizeof(*ring));
	ring->links = calloc(size, sizeof(*ring->links));
	ring->counts = calloc(size, sizeof(*ring->counts));
	ring->cookies = calloc(size, sizeof(*ring->cookies));
	if (ring->links == NULL || ring->counts == NULL || ring->cookies == NULL) {
		fake_ring_release(ring);
		return -ENOMEM;
	}
	ring->size = size;
	ring->free_count = size;
	for (uint32_t i = 0; i < size; i++)
		ring->links[i] = (uint16_t)(i + 1);
	ring->descriptors = descriptors;
	ring->available = available;
	ring->used = used;
	memset(descriptors, 0, fake_ring_descriptor_bytes(size));
	memset(available, 0, fake_ring_available_bytes(size));
	memset(used, 0, fake_ring_used_bytes(size));
	return 0;
}

void fake_ring_release(struct fake_ring *ring)
{
	free(ring->links);
	free(ring->counts);
	free(ring->cookies);
	memset(ring, 0, sizeof(*ring));
}

static void put_available(struct fake_ring *ring, uint16_t head)
{
	ring->available->ring[ring->next_available & (ring->size - 1)] = head;
	ring->next_available++;
}

/* Takes `count` descriptors off the free list as one chain. */
static uint16_t claim(struct fake_ring *ring, uint16_t count, uint32_t cookie)
{
	uint16_t head = ring->free_head;
	uint16_t last = head;

	for (uint16_t i = 1; i < count; i++)
		last = ring->links[last];
	ring->free_head = ring->links[last];
	ring->free_count = (uint16_t)(ring->free_count - count);
	ring->counts[head] = count;
	ring->cookies[head] = cookie;
	return head;
}

int fake_ring_add(struct fake_ring *ring, const struct fake_buffer *buffers, uint32_t count,
		  uint16_t flags, uint32_t cookie)
{
	uint16_t head, at;

	if (count == 0 || count > ring->free_count)
		return -ENOSPC;
	head = claim(ring, (uint16_t)count, cookie);
	at = head;
	for (uint32_t i = 0; i < count; i++) {
		struct fake_descriptor *descriptor = &ring->descriptors[at];

		descriptor->address = buffers[i].address;
		descriptor->length = buffers[i].length;
		descriptor->flags = flags;
		descriptor->next = 0;
		if (i + 1 < count) {
			descriptor->flags |= FAKE_DESCRIPTOR_NEXT;
			descriptor->next = ring->links[at];
			at = ring->links[at];
		}
	}
	put_available(ring, head);
	return head;
}

int fake_ring_add_indirect(struct fake_ring *ring, struct fake_descriptor *table,
			   uint64_t table_address, const struct fake_buffer *buffers,
			   uint32_t count, uint16_t flags, uint32_t cookie)
{
	struct fake_descriptor *descriptor;
	uint16_t head;

	if (count == 0 || ring->free_count == 0)
		return -ENOSPC;
	for (uint32_t i = 0; i < count; i++) {
		table[i].address = buffers[i].address;
		table[i].length = buffers[i].length;
		table[i].flags = flags;
		table[i].next = 0;
		if (i + 1 < count) {
			table[i].flags |= FAKE_DESCRIPTOR_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
	}
	head = claim(ring, 1, cookie);
	descriptor = &ring->descriptors[head];
	descriptor->address = table_address;
	descriptor->length = count * (uint32_t)sizeof(*table);
	descriptor->flags = FAKE_DESCRIPTOR_INDIRECT;
	descriptor->next = 0;
	put_available(ring, head);
	return head;
}

bool fake_ring_publish(struct fake_ring *ring)
{
	uint16_t old = ring->published;

	if (old == ring->next_available)
		return false;
	/* Release: entries before the index. The fence then orders the index before the read of
	 * the device's wish, which pairs with the device's own fence between its wish and its
	 * last look at the index. */
	atomic_store_explicit(&ring->available->index, ring->next_available, memory_order_release);
	ring->published = ring->next_available;
	atomic_thread_fence(memory_order_seq_cst);
	if (ring->event_idx) {
		uint16_t event =
		    atomic_load_explicit(fake_ring_available_event(ring), memory_order_relaxed);

		/* 2.7.10: was the entry with number `event` among those just published? */
		return (uint16_t)(ring->published - event - 1) < (uint16_t)(ring->published - old);
	}
	return (atomic_load_explicit(&ring->used->flags, memory_order_relaxed) & NO_NOTIFY) == 0;
}

uint16_t fake_ring_used_index(const struct fake_ring *ring)
{
	return atomic_load_explicit(&ring->used->index, memory_order_acquire);
}

uint16_t fake_ring_used_count(const struct fake_ring *ring)
{
	return (uint16_t)(fake_ring_used_index(ring) - ring->next_used);
}

int fake_ring_take(struct fake_ring *ring, uint32_t *cookie, uint32_t *length)
{
	struct fake_used_element element;
	uint16_t head, last;

	if (fake_ring_used_count(ring) == 0)
		return 0;
	element = ring->used->ring[ring->next_used & (ring->size - 1)];
	if (element.id >= ring->size || ring->counts[element.id] == 0)
		return -EPROTO;
	head = (uint16_t)element.id;
	last = head;
	for (uint16_t i = 1; i < ring->counts[head]; i++)
		last = ring->links[last];
	ring->links[last] = ring->free_head;
	ring->free_head = head;
	ring->free_count = (uint16_t)(ring->free_count + ring->counts[head]);
	ring->counts[head] = 0;
	ring->next_used++;
	*cookie = ring->cookies[head];
	*length = element.length;
	return 1;
}

bool fake_ring_arm(struct fake_ring *ring)
{
	if (ring->event_idx)
		atomic_store_explicit(fake_ring_used_event(ring), ring->next_used,
				      memory_order_relaxed);
	else
		atomic_store_explicit(&ring->available->flags, 0, memory_order_relaxed);
	/* The wish before the last look; pairs with the device's fence between its used index
	 * and its look at the wish. */
	atomic_thread_fence(memory_order_seq_cst);
	return fake_ring_used_count(ring) == 0;
}

void fake_ring_disarm(struct fake_ring *ring)
{
	/* With event indices, one just behind is the one furthest away. */
	if (ring->event_idx)
		atomic_store_explicit(fake_ring_used_event(ring), (uint16_t)(ring->next_used - 1),
				      memory_order_relaxed);
	else
		atomic_store_explicit(&ring->available->flags, NO_INTERRUPT, memory_order_relaxed);
}
