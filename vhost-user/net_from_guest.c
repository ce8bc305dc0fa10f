/* Frames from chains of any layout: header and frame may be cut anywhere, into buffers of any size,
 * across regions. The ring code calls this for each buffer of a chain. Worker thread. */
#include "vhost-user/net_from_guest.h"

static uint32_t net_chain_append(struct net_from_guest *net, struct net_chain *chain,
				 const uint8_t *from, uint32_t length);
static uint32_t net_chain_borrow(struct net_from_guest *net, struct net_chain *chain,
				 const uint8_t *from, uint32_t length);

uint32_t net_from_guest_add(struct net_from_guest *net, struct net_chain *chain, uint64_t address,
			    uint32_t length)
{
	/* The sum so far never passes the limit, so the subtraction does not wrap. */
	if (length > FRAME_LENGTH_MAX + net->header_size - (chain->header_length + chain->length))
		return DROP_FRAME_LONG;
	if (length > 0 && address + (length - 1) < address)
		return DROP_CHAIN_ADDRESS;
	while (length > 0) {
		uint32_t n = length;
		const uint8_t *from = guest_window_at(&net->window, address, &n);
		uint32_t result;

		if (from == NULL)
			return DROP_CHAIN_ADDRESS;
		result = net_chain_append(net, chain, from, n);
		if (result != NET_TAKEN)
			return result;
		address += n;
		length -= n;
	}
	return NET_TAKEN;
}

uint32_t net_from_guest_finish(struct net_from_guest *net, const struct net_chain *chain)
{
	if (chain->header_length < net->header_size)
		return DROP_CHAIN_HEADER;
	if (chain->length < FRAME_LENGTH_MIN)
		return DROP_FRAME_SHORT;
	return net_from_guest_commit(net, &chain->header, chain->length, chain->segment_count);
}

/* `length` bytes at `from`, contiguous here: to the header, then to the head, then borrowed. */
static uint32_t net_chain_append(struct net_from_guest *net, struct net_chain *chain,
				 const uint8_t *from, uint32_t length)
{
	if (chain->header_length < net->header_size) {
		uint32_t n = net->header_size - chain->header_length;

		if (n > length)
			n = length;
		memcpy((uint8_t *)&chain->header + chain->header_length, from, n);
		chain->header_length += n;
		from += n;
		length -= n;
	}
	if (length > 0 && chain->length < FRAME_HEAD_MAX) {
		uint32_t n = FRAME_HEAD_MAX - chain->length;

		if (n > length)
			n = length;
		net_copy(burst_head(net->burst, net->count) + chain->length, from, n);
		chain->length += n;
		from += n;
		length -= n;
	}
	return length > 0 ? net_chain_borrow(net, chain, from, length) : NET_TAKEN;
}

static uint32_t net_chain_borrow(struct net_from_guest *net, struct net_chain *chain,
				 const uint8_t *from, uint32_t length)
{
	uint32_t used = net->segment_count + chain->segment_count;
	struct frame_segment *next = net->burst->segments + used;

	if (chain->segment_count > 0 && next[-1].base + next[-1].length == from) {
		next[-1].length += length;
	} else {
		if (used == BURST_SEGMENTS)
			return NET_NO_ROOM;
		next->base = from;
		next->length = length;
		chain->segment_count++;
	}
	chain->length += length;
	return NET_TAKEN;
}
