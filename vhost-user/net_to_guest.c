/* Frames into buffers of any layout. The ring code offers the buffers of a chain (or of several,
 * when they are mergeable) in order. Worker thread. */
#include "vhost-user/net_to_guest.h"

#include <assert.h>

static void net_source_open(struct net_to_guest *net);
static void net_source_copy(struct net_to_guest *net, uint64_t address, uint8_t *to,
			    uint32_t length);
static void net_header_note(struct net_to_guest *net, uint64_t address, uint8_t *to, uint32_t n);

void net_to_guest_begin(struct net_to_guest *net, const struct frame *frame)
{
	net->frame = frame;
	net->left = net->header_size + frame->length;
	net->sources_opened = 1;
	net->source = (const uint8_t *)&net->header;
	net->source_left = net->header_size;
	vnet_header_from_frame(frame, &net->header);
}

bool net_to_guest_put(struct net_to_guest *net, uint64_t address, uint32_t length)
{
	if (length > net->left)
		length = net->left;
	if (length > 0 && address + (length - 1) < address)
		return false;
	while (length > 0) {
		uint32_t n = length;
		uint8_t *to = guest_window_at(&net->window, address, &n);

		if (to == NULL)
			return false;
		net_source_copy(net, address, to, n);
		if (net->log != NULL)
			dirty_log_mark(net->log, address, n);
		address += n;
		length -= n;
	}
	return true;
}

void net_to_guest_set_buffers(struct net_to_guest *net, uint16_t buffers)
{
	if (buffers == 1 || net->header_size < VNET_HEADER_SIZE)
		return;
	for (uint32_t i = 0; i < 2; i++) {
		*net->count_bytes[i] = (uint8_t)(buffers >> (8 * i));
		if (net->log != NULL)
			dirty_log_mark(net->log, net->count_addresses[i], 1);
	}
}

/* Copies `length` <= net->left bytes to host memory `to`, which is guest address `address`. */
static void net_source_copy(struct net_to_guest *net, uint64_t address, uint8_t *to,
			    uint32_t length)
{
	while (length > 0) {
		uint32_t n = length < net->source_left ? length : net->source_left;

		if (net->sources_opened == 1)
			net_header_note(net, address, to, n);
		net_copy(to, net->source, n);
		net->source += n;
		net->source_left -= n;
		net->left -= n;
		address += n;
		to += n;
		length -= n;
		if (net->source_left == 0 && net->left > 0)
			net_source_open(net);
	}
}

static void net_source_open(struct net_to_guest *net)
{
	const struct frame *frame = net->frame;

	if (net->sources_opened == 1) {
		net->source = frame->head;
		net->source_left = frame->head_length;
	} else {
		const struct frame_segment *segment = &frame->segments[net->sources_opened - 2];

		/* frame->length is the sum of its parts, so the segments cannot end early. */
		assert(net->sources_opened - 2 < frame->segment_count);
		net->source = segment->base;
		net->source_left = segment->length;
	}
	net->sources_opened++;
}

/* The next `n` bytes of the header go to `to`: are the bytes of num_buffers among them? */
static void net_header_note(struct net_to_guest *net, uint64_t address, uint8_t *to, uint32_t n)
{
	uint32_t done = net->header_size - net->source_left;

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t offset = VNET_HEADER_LEGACY + i;

		if (offset >= done && offset < done + n) {
			net->count_bytes[i] = to + (offset - done);
			net->count_addresses[i] = address + (offset - done);
		}
	}
}
