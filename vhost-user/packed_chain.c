/* What of a walk through a packed ring is no matter of a few instructions (packed_chain.h): reading
 * a batch of descriptors, and indirect tables. Worker thread. */
#include "vhost-user/packed_chain.h"

/* Shallow: from the guest, and no more is asked for of each frame than a shallow head takes. */
enum packed_direction { PACKED_FROM_GUEST, PACKED_SHALLOW, PACKED_TO_GUEST };

static uint32_t packed_cursor_read_run(struct packed_cursor *cursor, uint16_t position,
				       uint32_t count);

void packed_cursor_read(struct packed_cursor *cursor, uint32_t wanted)
{
	const struct virtqueue *vq = cursor->vq;
	uint32_t known = packed_cursor_count(cursor), n = 0, run;
	uint16_t position;

	if (wanted > NET_AHEAD)
		wanted = NET_AHEAD;
	if (wanted > cursor->left)
		wanted = cursor->left;
	if (wanted <= known)
		return;
	wanted -= known;
	position = packed_advance(cursor->position, known, vq->size);
	do {
		run = packed_cursor_read_run(cursor, position, wanted - n);
		position = packed_advance(position, run, vq->size);
		n += run;
	} while (run > 0 && n < wanted);
	/* Where there was enough there will be more. Not far on: what the driver has not written
	 * yet it would have to get back. */
	for (uint32_t i = 0; n == wanted && i < n && i < PACKED_ASKED; i += PACKED_LINE)
		__builtin_prefetch(packed_slot_at(vq, packed_advance(position, i, vq->size)));
}

/* The chain is a table (2.8.7). */
enum packed_status packed_chain_enter(struct packed_chain *chain)
{
	uint64_t address = chain->current.address;
	uint32_t length = chain->current.length;
	uint32_t entries = length / (uint32_t)sizeof(struct packed_descriptor);

	if (!chain->cursor->vq->indirect || (chain->flags & PACKED_DESCRIPTOR_NEXT) ||
	    length % sizeof(struct packed_descriptor) != 0 || entries == 0 ||
	    entries > VIRTQUEUE_SIZE_MAX)
		return PACKED_INDIRECT;
	if (address + (length - 1) < address)
		return PACKED_ADDRESS;
	chain->indirect = true;
	chain->table_next = 0;
	chain->table_size = entries;
	chain->table_address = address;
	chain->table = guest_window_span(chain->window, address, length);
	return packed_chain_entry(chain);
}

/* The table's next entry, read piece by piece when a region ends in it. Of its flags only WRITE has
 * a meaning (2.8.7), so tables do not nest. */
enum packed_status packed_chain_entry(struct packed_chain *chain)
{
	uint64_t offset = (uint64_t)chain->table_next * sizeof(struct packed_descriptor);
	uint64_t address = chain->table_address + offset;
	uint8_t copy[sizeof(struct packed_descriptor)];
	const uint8_t *at = chain->table != NULL ? chain->table + offset : copy;

	if (chain->table_next == chain->table_size)
		return PACKED_END;
	for (uint32_t done = 0; chain->table == NULL && done < sizeof(copy);) {
		uint32_t n = (uint32_t)sizeof(copy) - done;
		const uint8_t *from = guest_window_at(chain->window, address + done, &n);

		if (from == NULL)
			return PACKED_ADDRESS;
		memcpy(copy + done, from, n);
		done += n;
	}
	chain->current = packed_entry_read(at);
	chain->table_next++;
	chain->steps++;
	return PACKED_BUFFER;
}

/* Where a buffer or table lies that is in another region than the one before it; NULL: in none, or
 * not as a whole. */
static __attribute__((noinline)) uint8_t *packed_host_elsewhere(struct guest_window *window,
								uint64_t address, uint32_t length)
{
	return guest_window_span(window, address, length);
}

/* Reads up to `count` descriptors from `position` on, as long as they are available, as far as the
 * end of the ring and that of the batch; returns how many. Compiled for each direction; what the
 * loop needs is in variables, since stores to the batch might change it, for all the compiler
 * knows. */
static inline __attribute__((always_inline)) uint32_t
packed_read_run(struct packed_cursor *cursor, enum packed_direction direction, uint16_t position,
		uint32_t count)
{
	const uint32_t slot = packed_slot(position), place = cursor->end % NET_AHEAD;
	const uint32_t kind =
	    PACKED_DESCRIPTOR_NEXT | PACKED_DESCRIPTOR_WRITE | PACKED_DESCRIPTOR_INDIRECT;
	const uint32_t plain = direction == PACKED_TO_GUEST ? PACKED_DESCRIPTOR_WRITE : 0;
	const uint8_t *at = packed_slot_at(cursor->vq, position);
	struct guest_window window = *cursor->window;
	const uint16_t wrap = position & PACKED_WRAP;
	uint8_t **hosts = cursor->batch.hosts + place;
	uint32_t *lengths = cursor->batch.lengths + place;
	uint16_t *ids = cursor->ids + place;
	uint32_t i;

	if (count > cursor->vq->size - slot)
		count = cursor->vq->size - slot;
	if (count > NET_AHEAD - place)
		count = NET_AHEAD - place;
	for (i = 0; i < count; i++, at += sizeof(struct packed_descriptor)) {
		struct packed_descriptor descriptor;
		uint64_t offset;
		uint8_t *host;

		if (!packed_descriptor_read(at, wrap, &descriptor))
			break;
		offset = descriptor.address - window.address;
		if (__builtin_expect(
			offset < window.size && descriptor.length <= window.size - offset, 1))
			host = window.host + offset;
		else
			host =
			    packed_host_elsewhere(&window, descriptor.address, descriptor.length);
		if (host != NULL && direction != PACKED_TO_GUEST)
			guest_window_prefetch_host(
			    host, direction == PACKED_SHALLOW ? 0 : descriptor.length);
		hosts[i] = (descriptor.flags & kind) == plain ? host : NULL;
		lengths[i] = descriptor.length;
		ids[i] = descriptor.id;
	}
	*cursor->window = window;
	cursor->end = (uint16_t)(cursor->end + i);
	return i;
}

static uint32_t packed_cursor_read_run(struct packed_cursor *cursor, uint16_t position,
				       uint32_t count)
{
	if ((cursor->vq->index & 1) == 0)
		return packed_read_run(cursor, PACKED_TO_GUEST, position, count);
	return cursor->shallow ? packed_read_run(cursor, PACKED_SHALLOW, position, count)
			       : packed_read_run(cursor, PACKED_FROM_GUEST, position, count);
}
