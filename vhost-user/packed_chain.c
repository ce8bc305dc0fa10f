/* Indirect tables of a packed ring (packed_chain.h). Worker thread. */
#include "vhost-user/packed_chain.h"

/* The chain is a table (2.8.7). */
enum packed_status packed_chain_enter(struct packed_chain *chain)
{
	uint64_t address = chain->current->address;
	uint32_t length = chain->current->length;
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
	chain->entry = packed_entry_read(at);
	chain->current = &chain->entry;
	chain->table_next++;
	chain->steps++;
	return PACKED_BUFFER;
}
