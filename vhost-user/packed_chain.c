/* The walk through a chain of a packed ring, for chains of any layout (virtqueue_packed.c takes the
 * chain of one direct descriptor itself). Worker thread. */
#include "vhost-user/packed_chain.h"

static bool packed_chain_step(struct packed_chain *chain);
static enum packed_status packed_chain_enter(struct packed_chain *chain);
static enum packed_status packed_chain_entry(struct packed_chain *chain);

enum packed_status packed_chain_begin(struct packed_chain *chain, struct packed_cursor *cursor,
				      struct guest_window *window)
{
	chain->cursor = cursor;
	chain->window = window;
	chain->count = 0;
	chain->steps = 0;
	chain->indirect = false;
	if (!packed_chain_step(chain))
		return PACKED_BROKEN;
	if (chain->ring.flags & PACKED_DESCRIPTOR_INDIRECT)
		return packed_chain_enter(chain);
	return PACKED_BUFFER;
}

enum packed_status packed_chain_next(struct packed_chain *chain)
{
	if (chain->indirect)
		return packed_chain_entry(chain);
	if (!(chain->ring.flags & PACKED_DESCRIPTOR_NEXT))
		return PACKED_END;
	if (!packed_chain_step(chain))
		return PACKED_BROKEN;
	/* 2.8.19: no table in a chain of several. */
	return chain->ring.flags & PACKED_DESCRIPTOR_INDIRECT ? PACKED_INDIRECT : PACKED_BUFFER;
}

bool packed_chain_close(struct packed_chain *chain)
{
	while (chain->ring.flags & PACKED_DESCRIPTOR_NEXT) {
		if (!packed_chain_step(chain))
			return false;
	}
	return true;
}

/* Takes the next descriptor of the ring. The driver makes all of a chain available before its first
 * one, so what is not there now never will be. */
static bool packed_chain_step(struct packed_chain *chain)
{
	struct packed_cursor *cursor = chain->cursor;

	if (packed_cursor_fill(cursor, PACKED_BATCH) == 0)
		return false;
	chain->ring = cursor->batch[cursor->place];
	chain->current = chain->ring;
	packed_cursor_pass(cursor, 1);
	chain->count++;
	chain->steps++;
	return true;
}

/* The chain is a table (2.8.7). */
static enum packed_status packed_chain_enter(struct packed_chain *chain)
{
	uint64_t address = chain->ring.address;
	uint32_t length = chain->ring.length;
	uint32_t entries = length / (uint32_t)sizeof(struct packed_descriptor);

	if (!chain->cursor->vq->indirect || (chain->ring.flags & PACKED_DESCRIPTOR_NEXT) ||
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
static enum packed_status packed_chain_entry(struct packed_chain *chain)
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
