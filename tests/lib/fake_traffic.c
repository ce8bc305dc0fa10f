/* Frames of the fake guest (fake_guest.h): cut into descriptors as asked, put back together on the
 * way in; and the fast path of a traffic generator. On the thread of the test. */
#include "tests/lib/fake_guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static struct fake_queue *queue_to_device(struct fake_guest *guest, uint32_t pair)
{
	return &guest->queues[2 * pair + 1];
}

static struct fake_queue *queue_from_device(struct fake_guest *guest, uint32_t pair)
{
	return &guest->queues[2 * pair];
}

/* Cuts `length` bytes at the slot into guest->pieces. Returns their number; 0 when they do not fit
 * the slot. */
static uint32_t cut(struct fake_guest *guest, uint64_t slot, const struct fake_layout *layout,
		    uint32_t length)
{
	uint32_t room = guest->options.buffer_size;
	uint32_t offset = 0, count = 0;
	uint32_t next = layout->first != 0 ? layout->first : layout->piece;

	while (length > 0) {
		uint32_t n = next == 0 ? length : min_u32(next, length);

		if (count == FAKE_RING_SIZE_MAX || offset > room || n > room - offset)
			return 0;
		guest->pieces[count].address = slot + offset;
		guest->pieces[count].length = n;
		count++;
		length -= n;
		offset += n + layout->gap;
		next = layout->piece;
	}
	return count;
}

static uint64_t slot_address(const struct fake_guest *guest, const struct fake_queue *queue,
			     uint32_t slot)
{
	return queue->slots + (uint64_t)slot * guest->options.buffer_size;
}

static uint32_t take_slot(struct fake_queue *queue)
{
	return queue->free_slot_count == 0 ? FAKE_NO_SLOT
					   : queue->free_slots[--queue->free_slot_count];
}

static void give_slot(struct fake_queue *queue, uint32_t slot)
{
	if (slot != FAKE_NO_SLOT)
		queue->free_slots[queue->free_slot_count++] = slot;
}

static int post_pieces(struct fake_guest *guest, struct fake_queue *queue, uint32_t slot,
		       const struct fake_layout *layout, uint32_t count, uint16_t flags)
{
	uint64_t table;
	uint32_t entries = guest->options.indirect_entries;

	if (layout->table == FAKE_DIRECT)
		return fake_ring_add(&queue->ring, guest->pieces, count, flags, slot);
	if (count > entries)
		return -ENOSPC;
	table = queue->tables + (uint64_t)slot * entries * sizeof(struct fake_descriptor);
	return fake_ring_add_indirect(&queue->ring, fake_memory_host(&guest->memory, table), table,
				      guest->pieces, count, flags, slot);
}

void fake_guest_kick(struct fake_guest *guest, uint32_t queue)
{
	uint64_t one = 1;

	guest->queues[queue].kicks++;
	if (write(guest->queues[queue].kick_fd, &one, sizeof(one)) != sizeof(one)) {
		/* A full eventfd is a kick that is still pending. */
	}
}

void fake_guest_publish(struct fake_guest *guest, uint32_t queue)
{
	if (fake_ring_publish(&guest->queues[queue].ring))
		fake_guest_kick(guest, queue);
}

int fake_guest_wait_call(struct fake_guest *guest, uint32_t queue)
{
	uint64_t count;
	int rc = fake_guest_wait_fd(guest, guest->queues[queue].call_fd, POLLIN);

	if (rc == 0 && read(guest->queues[queue].call_fd, &count, sizeof(count)) < 0)
		rc = -errno;
	return rc;
}

int fake_guest_reclaim(struct fake_guest *guest, uint32_t pair)
{
	struct fake_queue *queue = queue_to_device(guest, pair);
	uint32_t slot, length;
	int rc, count = 0;

	while ((rc = fake_ring_take(&queue->ring, &slot, &length)) > 0) {
		give_slot(queue, slot);
		count++;
	}
	return rc < 0 ? rc : count;
}

/* Copies between `bytes` and the first pieces of guest->pieces. */
static void scatter(struct fake_guest *guest, uint32_t *piece, uint32_t *at, const void *bytes,
		    uint32_t length)
{
	const uint8_t *from = bytes;

	while (length > 0) {
		const struct fake_buffer *buffer = &guest->pieces[*piece];
		uint32_t n = min_u32(length, buffer->length - *at);

		memcpy((uint8_t *)fake_memory_host(&guest->memory, buffer->address) + *at, from, n);
		from += n;
		length -= n;
		*at += n;
		if (*at == buffer->length) {
			(*piece)++;
			*at = 0;
		}
	}
}

int fake_guest_send(struct fake_guest *guest, uint32_t pair, const struct fake_header *header,
		    const void *frame, uint32_t length)
{
	struct fake_queue *queue = queue_to_device(guest, pair);
	uint32_t slot, count, piece = 0, at = 0;
	int rc = fake_guest_reclaim(guest, pair);

	if (rc < 0)
		return rc;
	slot = take_slot(queue);
	if (slot == FAKE_NO_SLOT)
		return -ENOSPC;
	count = cut(guest, slot_address(guest, queue, slot), &guest->options.send,
		    guest->header_size + length);
	if (count == 0) {
		give_slot(queue, slot);
		return -EMSGSIZE;
	}
	scatter(guest, &piece, &at, header, guest->header_size);
	scatter(guest, &piece, &at, frame, length);
	rc = post_pieces(guest, queue, slot, &guest->options.send, count, 0);
	if (rc < 0) {
		give_slot(queue, slot);
		return rc;
	}
	fake_guest_publish(guest, 2 * pair + 1);
	return 0;
}

static int post_slot(struct fake_guest *guest, struct fake_queue *queue, uint32_t slot,
		     uint32_t size)
{
	uint32_t count =
	    cut(guest, slot_address(guest, queue, slot), &guest->options.receive, size);

	if (count == 0)
		return -EMSGSIZE;
	queue->layouts[slot] = guest->options.receive;
	queue->lengths[slot] = size;
	return post_pieces(guest, queue, slot, &guest->options.receive, count,
			   FAKE_DESCRIPTOR_WRITE);
}

int fake_guest_post(struct fake_guest *guest, uint32_t pair, uint32_t count, uint32_t size)
{
	struct fake_queue *queue = queue_from_device(guest, pair);
	int rc = 0;

	for (uint32_t i = 0; i < count && rc >= 0; i++) {
		uint32_t slot = take_slot(queue);

		if (slot == FAKE_NO_SLOT) {
			rc = -ENOSPC;
			break;
		}
		rc = post_slot(guest, queue, slot, size);
		if (rc < 0)
			give_slot(queue, slot);
	}
	fake_guest_publish(guest, 2 * pair);
	return rc < 0 ? rc : 0;
}

int fake_guest_post_chain(struct fake_guest *guest, uint32_t queue,
			  const struct fake_buffer *buffers, uint32_t count, uint16_t flags)
{
	int rc = fake_ring_add(&guest->queues[queue].ring, buffers, count, flags, FAKE_NO_SLOT);

	if (rc < 0)
		return rc;
	fake_guest_publish(guest, queue);
	return 0;
}

/* Where a frame being received goes: first the header, then the frame. */
struct gather {
	struct fake_header *header;
	uint8_t *frame;
	uint32_t room, header_size;
	uint32_t done; /* bytes of header and frame */
};

static int gather_bytes(struct gather *to, const uint8_t *from, uint32_t length)
{
	if (to->done < to->header_size) {
		uint32_t n = min_u32(length, to->header_size - to->done);

		memcpy((uint8_t *)to->header + to->done, from, n);
		to->done += n;
		from += n;
		length -= n;
	}
	if (length == 0)
		return 0;
	if (length > to->room - (to->done - to->header_size))
		return -EMSGSIZE;
	memcpy(to->frame + (to->done - to->header_size), from, length);
	to->done += length;
	return 0;
}

/* Takes one used buffer into `to` and gives its slot back. */
static int gather_buffer(struct fake_guest *guest, struct fake_queue *queue, struct gather *to)
{
	uint32_t slot, written, count;
	int rc = fake_ring_take(&queue->ring, &slot, &written);

	if (rc <= 0)
		return rc == 0 ? -EAGAIN : rc;
	if (slot == FAKE_NO_SLOT)
		return -EPROTO;
	count = cut(guest, slot_address(guest, queue, slot), &queue->layouts[slot],
		    queue->lengths[slot]);
	rc = written > queue->lengths[slot] ? -EPROTO : 0;
	for (uint32_t i = 0; rc == 0 && written > 0 && i < count; i++) {
		uint32_t n = min_u32(written, guest->pieces[i].length);

		rc =
		    gather_bytes(to, fake_memory_host(&guest->memory, guest->pieces[i].address), n);
		written -= n;
	}
	give_slot(queue, slot);
	return rc;
}

int fake_guest_receive(struct fake_guest *guest, uint32_t pair, struct fake_header *header,
		       void *frame, uint32_t room)
{
	struct fake_queue *queue = queue_from_device(guest, pair);
	struct gather to = {
		.header = header, .frame = frame, .room = room, .header_size = guest->header_size
	};
	bool mergeable = (guest->features & FAKE_BIT(FAKE_F_MRG_RXBUF)) != 0;
	int rc;

	header->num_buffers = 1;
	rc = gather_buffer(guest, queue, &to);
	if (rc != 0)
		return rc;
	if (to.done < guest->header_size)
		return -EPROTO;
	if (header->num_buffers == 0 || (!mergeable && header->num_buffers != 1))
		return -EPROTO;
	/* 5.1.6.4: all buffers of a frame become visible together. */
	for (uint32_t i = 1; i < header->num_buffers; i++) {
		rc = gather_buffer(guest, queue, &to);
		if (rc != 0)
			return rc == -EAGAIN ? -EPROTO : rc;
	}
	return (int)(to.done - guest->header_size);
}

int fake_guest_wait_receive(struct fake_guest *guest, uint32_t pair, struct fake_header *header,
			    void *frame, uint32_t room)
{
	struct fake_queue *queue = queue_from_device(guest, pair);
	int rc;

	while ((rc = fake_guest_receive(guest, pair, header, frame, room)) == -EAGAIN) {
		if (!fake_ring_arm(&queue->ring))
			continue;
		rc = fake_guest_wait_call(guest, 2 * pair);
		if (rc != 0)
			return rc;
	}
	return rc;
}

int fake_guest_wait_sent(struct fake_guest *guest, uint32_t pair)
{
	struct fake_queue *queue = queue_to_device(guest, pair);
	int rc;

	while ((rc = fake_guest_reclaim(guest, pair)) >= 0) {
		if (queue->ring.free_count == queue->ring.size)
			return 0;
		if (!fake_ring_arm(&queue->ring))
			continue;
		rc = fake_guest_wait_call(guest, 2 * pair + 1);
		if (rc != 0)
			return rc;
	}
	return rc;
}

uint8_t *fake_guest_slot(struct fake_guest *guest, uint32_t queue, uint32_t slot)
{
	return fake_memory_host(&guest->memory, slot_address(guest, &guest->queues[queue], slot));
}

static uint32_t post_burst(struct fake_guest *guest, uint32_t pair,
			   const struct fake_packet *packets, uint32_t count, uint32_t length)
{
	struct fake_queue *queue = queue_to_device(guest, pair);
	uint32_t done = 0;

	fake_ring_disarm(&queue->ring);
	fake_guest_reclaim(guest, pair);
	while (done < count) {
		uint32_t slot = take_slot(queue);
		struct fake_buffer buffer;

		if (slot == FAKE_NO_SLOT)
			break;
		buffer.address = slot_address(guest, queue, slot);
		buffer.length = packets != NULL ? packets[done].length : length;
		if (packets != NULL)
			memcpy(fake_memory_host(&guest->memory, buffer.address), packets[done].data,
			       buffer.length);
		if (fake_ring_add(&queue->ring, &buffer, 1, 0, slot) < 0) {
			give_slot(queue, slot);
			break;
		}
		done++;
	}
	fake_guest_publish(guest, 2 * pair + 1);
	return done;
}

uint32_t fake_guest_send_burst(struct fake_guest *guest, uint32_t pair,
			       const struct fake_packet *packets, uint32_t count)
{
	return post_burst(guest, pair, packets, count, 0);
}

uint32_t fake_guest_send_prepared(struct fake_guest *guest, uint32_t pair, uint32_t count,
				  uint32_t length)
{
	return post_burst(guest, pair, NULL, count, length);
}

uint32_t fake_guest_receive_burst(struct fake_guest *guest, uint32_t pair,
				  struct fake_packet *packets, uint32_t count)
{
	struct fake_queue *queue = queue_from_device(guest, pair);
	uint32_t done = 0;

	fake_ring_disarm(&queue->ring);
	while (done < count && queue->held_count < queue->ring.size) {
		uint32_t slot, length;

		if (fake_ring_take(&queue->ring, &slot, &length) <= 0)
			break;
		packets[done].data = fake_guest_slot(guest, 2 * pair, slot);
		packets[done].length = length;
		queue->held[queue->held_count++] = slot;
		done++;
	}
	return done;
}

void fake_guest_receive_done(struct fake_guest *guest, uint32_t pair)
{
	struct fake_queue *queue = queue_from_device(guest, pair);

	for (uint32_t i = 0; i < queue->held_count; i++) {
		struct fake_buffer buffer = {
			.address = slot_address(guest, queue, queue->held[i]),
			.length = queue->lengths[queue->held[i]],
		};

		if (fake_ring_add(&queue->ring, &buffer, 1, FAKE_DESCRIPTOR_WRITE, queue->held[i]) <
		    0)
			give_slot(queue, queue->held[i]);
	}
	queue->held_count = 0;
	fake_guest_publish(guest, 2 * pair);
}
