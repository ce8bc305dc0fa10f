/* The walk through a descriptor chain, for chains of any layout (virtqueue_split.c takes the chain
 * of one direct descriptor itself). Worker thread. */
#include "vhost-user/split_chain.h"

static enum split_status split_chain_enter(struct split_chain *chain);
static bool split_chain_read(struct split_chain *chain, uint32_t index);

enum split_status split_chain_begin(struct split_chain *chain, const struct virtqueue *vq,
				    struct guest_window *window, uint16_t head)
{
	chain->vq = vq;
	chain->window = window;
	chain->steps = 1;
	chain->left = vq->size - 1u;
	chain->table_size = vq->size;
	chain->indirect = false;
	if (head >= vq->size)
		return SPLIT_INDEX;
	chain->current = split_descriptor_read(split_descriptor_at(vq, head));
	if (chain->current.flags & SPLIT_DESCRIPTOR_INDIRECT)
		return split_chain_enter(chain);
	return SPLIT_BUFFER;
}

enum split_status split_chain_next(struct split_chain *chain)
{
	uint16_t next = chain->current.next;

	if (!(chain->current.flags & SPLIT_DESCRIPTOR_NEXT))
		return SPLIT_END;
	if (next >= chain->table_size)
		return SPLIT_INDEX;
	if (chain->left == 0)
		return SPLIT_LOOP;
	chain->left--;
	chain->steps++;
	if (!chain->indirect)
		chain->current = split_descriptor_read(split_descriptor_at(chain->vq, next));
	else if (!split_chain_read(chain, next))
		return SPLIT_ADDRESS;
	if (chain->current.flags & SPLIT_DESCRIPTOR_INDIRECT)
		return split_chain_enter(chain);
	return SPLIT_BUFFER;
}

/* The current descriptor refers to a table (2.7.5.3; its WRITE flag means nothing). */
static enum split_status split_chain_enter(struct split_chain *chain)
{
	uint64_t address = chain->current.address;
	uint32_t length = chain->current.length;
	uint32_t entries = length / (uint32_t)sizeof(struct split_descriptor);

	if (!chain->vq->indirect || chain->indirect ||
	    (chain->current.flags & SPLIT_DESCRIPTOR_NEXT) ||
	    length % sizeof(struct split_descriptor) != 0 || entries == 0 ||
	    entries > VIRTQUEUE_SIZE_MAX)
		return SPLIT_INDIRECT;
	if (address + (length - 1) < address)
		return SPLIT_ADDRESS;
	chain->indirect = true;
	chain->table_address = address;
	chain->table = guest_window_span(chain->window, address, length);
	chain->table_size = entries;
	chain->left = entries - 1;
	chain->steps++;
	if (!split_chain_read(chain, 0))
		return SPLIT_ADDRESS;
	return chain->current.flags & SPLIT_DESCRIPTOR_INDIRECT ? SPLIT_INDIRECT : SPLIT_BUFFER;
}

/* Reads entry `index` of the indirect table, piece by piece when a region ends in it. */
static bool split_chain_read(struct split_chain *chain, uint32_t index)
{
	uint64_t offset = (uint64_t)index * sizeof(struct split_descriptor);
	uint64_t address = chain->table_address + offset;
	uint8_t copy[sizeof(struct split_descriptor)];
	uint32_t done = 0;

	if (chain->table != NULL) {
		chain->current = split_descriptor_read(chain->table + offset);
		return true;
	}
	while (done < sizeof(copy)) {
		uint32_t n = (uint32_t)sizeof(copy) - done;
		const uint8_t *from = guest_window_at(chain->window, address + done, &n);

		if (from == NULL)
			return false;
		memcpy(copy + done, from, n);
		done += n;
	}
	chain->current = split_descriptor_read(copy);
	return true;
}
