/* The driver's side of a split virtqueue, and the way to that of a packed one (fake_ring.h). Called
 * by the fake guest, on the thread of the test. */
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

static int remember(struct fake_ring *ring, uint16_t size)
{
	memset(ring, 0, sizeof(*ring));
	ring->links = calloc(size, sizeof(*ring->links));
	ring->counts = calloc(size, sizeof(*ring->counts));
	ring->cookies = calloc(size, sizeof(*ring->cookies));
	ring->packed.free_ids = calloc(size, sizeof(*ring->packed.free_ids));
	ring->packed.order = calloc(size, sizeof(*ring->packed.order));
	if (ring->links == NULL || ring->counts == NULL || ring->cookies == NULL ||
	    ring->packed.free_ids == NULL || ring->packed.order == NULL) {
		fake_ring_release(ring);
		return -ENOMEM;
	}
	ring->size = size;
	ring->free_count = size;
	return 0;
}

int fake_ring_init(struct fake_ring *ring, uint16_t size, void *descriptors, void *available,
		   void *used)
{
	int rc = remember(ring, size);

	if (rc != 0)
		return rc;
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

int fake_ring_init_packed(struct fake_ring *ring, uint16_t size, void *descriptors,
			  void *driver_event, void *device_event)
{
	int rc = remember(ring, size);

	if (rc != 0)
		return rc;
	ring->is_packed = true;
	ring->packed.descriptors = descriptors;
	ring->packed.driver_event = driver_event;
	ring->packed.device_event = device_event;
	memset(descriptors, 0, fake_ring_descriptor_bytes(size));
	memset(driver_event, 0, sizeof(struct fake_event));
	memset(device_event, 0, sizeof(struct fake_event));
	ring->packed.next_wrap = true;
	ring->packed.used_wrap = true;
	/* A device may not take an id for a slot. */
	for (uint32_t i = 0; i < size; i++)
		ring->packed.free_ids[i] = (uint16_t)((i * 7 + 3) % size);
	ring->packed.free_id_count = size;
	for (uint32_t i = 0; size % 7 == 0 && i < size; i++)
		ring->packed.free_ids[i] = (uint16_t)i;
	return 0;
}

void fake_ring_release(struct fake_ring *ring)
{
	free(ring->packed.free_ids);
	free(ring->packed.order);
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

	if (ring->is_packed)
		return fake_packed_add(ring, buffers, count, flags, cookie);
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
	if (ring->is_packed) {
		struct fake_packed_descriptor *entries = (struct fake_packed_descriptor *)table;
		struct fake_buffer whole = { table_address, count * (uint32_t)sizeof(*table) };

		/* 2.8.7: all flags but WRITE, and the id, are ignored. */
		for (uint32_t i = 0; i < count; i++) {
			entries[i].address = buffers[i].address;
			entries[i].length = buffers[i].length;
			entries[i].id = 0xffff;
			entries[i].flags = (uint16_t)(flags | 0x40);
		}
		return fake_packed_add(ring, &whole, 1, FAKE_DESCRIPTOR_INDIRECT, cookie);
	}
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

	if (ring->is_packed)
		return fake_packed_publish(ring);
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
	if (ring->is_packed)
		return fake_packed_used_count(ring);
	return (uint16_t)(fake_ring_used_index(ring) - ring->next_used);
}

static void put_back(struct fake_ring *ring, uint16_t head)
{
	uint16_t last = head;

	for (uint16_t i = 1; i < ring->counts[head]; i++)
		last = ring->links[last];
	ring->links[last] = ring->free_head;
	ring->free_head = head;
	ring->free_count = (uint16_t)(ring->free_count + ring->counts[head]);
	ring->counts[head] = 0;
	ring->next_used++;
}

/* 2.7.9: chains come back in the order of the available ring, and a used entry may stand for
 * several: it names the last one, of which its length is. */
static int take_in_order(struct fake_ring *ring, uint32_t *cookie, uint32_t *length)
{
	uint16_t slot = ring->next_used & (ring->size - 1), head = ring->available->ring[slot];
	struct fake_packed *state = &ring->packed;

	if (state->batch == 0) {
		struct fake_used_element element = ring->used->ring[slot];
		uint16_t count = fake_ring_used_count(ring), at = ring->next_used;

		do {
			if (state->batch == count)
				return -EPROTO;
			state->batch++;
		} while (ring->available->ring[at++ & (ring->size - 1)] != element.id);
		state->batch_length = element.length;
	}
	if (ring->counts[head] == 0)
		return -EPROTO;
	state->batch--;
	*length = state->batch == 0 ? state->batch_length : 0;
	*cookie = ring->cookies[head];
	put_back(ring, head);
	return 1;
}

int fake_ring_take(struct fake_ring *ring, uint32_t *cookie, uint32_t *length)
{
	struct fake_used_element element;
	uint16_t head;

	if (ring->is_packed)
		return fake_packed_take(ring, cookie, length);
	if (fake_ring_used_count(ring) == 0)
		return 0;
	if (ring->in_order)
		return take_in_order(ring, cookie, length);
	element = ring->used->ring[ring->next_used & (ring->size - 1)];
	if (element.id >= ring->size || ring->counts[element.id] == 0)
		return -EPROTO;
	head = (uint16_t)element.id;
	put_back(ring, head);
	*cookie = ring->cookies[head];
	*length = element.length;
	return 1;
}

bool fake_ring_arm(struct fake_ring *ring)
{
	if (ring->is_packed)
		return fake_packed_arm(ring);
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
	if (ring->is_packed) {
		fake_packed_disarm(ring);
		return;
	}
	/* With event indices, one just behind is the one furthest away. */
	if (ring->event_idx)
		atomic_store_explicit(fake_ring_used_event(ring), (uint16_t)(ring->next_used - 1),
				      memory_order_relaxed);
	else
		atomic_store_explicit(&ring->available->flags, NO_INTERRUPT, memory_order_relaxed);
}
