/* Frames through a split ring (virtio 1.2, 2.7), both directions. Called through
 * its virtqueue_ops by the worker that uses the queue.
 *
 * A batch goes through the ring in small steps (heads, descriptors, frames) rather than chain by
 * chain, so that the memory of one chain is on its way while another is looked at. A chain of one
 * direct descriptor takes the short way; any other is walked by split_chain.c. */
#include "vhost-user/split_ahead.h"
#include "vhost-user/split_chain.h"
#include "vhost-user/virtqueue_variant.h"

/* Descriptors one call may walk: empty ones are legal and cost the guest nothing, and 64 chains of
 * 32,768 of them would keep the worker from everybody else. */
#define SPLIT_STEPS_MAX (2u * VIRTQUEUE_SIZE_MAX)

/* One call of to_guest. */
struct split_send {
	struct virtqueue *vq;
	struct net_to_guest net;
	uint16_t used;	 /* next used entry */
	uint32_t frames; /* still to send, the current one included */
	uint32_t steps;	 /* descriptors walked */
};

static uint32_t split_from_guest(struct virtqueue *vq, struct burst *burst,
				 struct port_counters *counters);
static void split_from_guest_done(struct virtqueue *vq);
static uint32_t split_to_guest(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
			       struct port_counters *counters);

static uint32_t split_take(struct virtqueue *vq, struct net_from_guest *net, uint32_t count,
			   struct port_counters *counters);
static uint32_t split_take_simple(struct virtqueue *vq, struct net_from_guest *net, uint32_t i,
				  uint32_t count);
static void split_read_sources(struct virtqueue *vq, struct guest_window *window, uint32_t count,
			       bool shallow);
static void split_read_targets(struct virtqueue *vq, struct guest_window *window, uint32_t count);
static uint32_t split_take_short(struct virtqueue *vq, struct net_from_guest *net,
				 uint32_t position, uint32_t count);
static void split_hold(struct virtqueue *vq, uint32_t count);
static bool split_take_pair(const struct virtqueue *vq, struct net_from_guest *net,
			    uint32_t position);
static uint32_t split_take_chain(struct virtqueue *vq, struct net_from_guest *net,
				 uint32_t position, uint32_t *steps);
static uint32_t split_send_simple(struct split_send *send, struct frame *const *frames,
				  uint64_t *bytes);
static void split_send_done(struct split_send *send, struct frame *const *frames, uint32_t position,
			    uint32_t count, uint64_t *bytes);
static uint32_t split_send_short(struct split_send *send, struct frame *const *frames,
				 uint16_t position, uint32_t count, uint64_t *bytes);
static uint32_t split_send_generic(struct split_send *send, const struct frame *frame);
static bool split_send_look(struct split_send *send, uint32_t wanted);
static uint32_t split_fill_chain(struct split_send *send);

/* Asks for the used entries of `count` chains from `position` on: the guest has read what stood in
 * these lines before, and stores behind the first one would wait for each in turn. */
GUEST_PREFETCH void split_used_ask(const struct virtqueue *vq, uint16_t position, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += 64 / SPLIT_USED_ENTRY)
		__builtin_prefetch(split_used_at(vq, (uint16_t)(position + i)), 1);
}

const struct virtqueue_ops VIRTQUEUE_OPS(split) = {
	.format = VIRTQUEUE_SPLIT,
	.from_guest = split_from_guest,
	.from_guest_done = split_from_guest_done,
	.to_guest = split_to_guest,
	.arm = split_arm,
	.disarm = split_disarm,
	.flush = split_flush,
};

static const enum drop_reason split_from_guest_reasons[SPLIT_STATUS_COUNT] = {
	[SPLIT_LOOP] = DROP_CHAIN_LOOP,
	[SPLIT_INDEX] = DROP_CHAIN_INDEX,
	[SPLIT_ADDRESS] = DROP_CHAIN_ADDRESS,
	[SPLIT_INDIRECT] = DROP_CHAIN_INDIRECT,
};

static const enum drop_reason split_to_guest_reasons[SPLIT_STATUS_COUNT] = {
	[SPLIT_LOOP] = DROP_BUFFER_CHAIN,
	[SPLIT_INDEX] = DROP_BUFFER_CHAIN,
	[SPLIT_ADDRESS] = DROP_BUFFER_ADDRESS,
	[SPLIT_INDIRECT] = DROP_BUFFER_CHAIN,
};

static uint32_t split_from_guest(struct virtqueue *vq, struct burst *burst,
				 struct port_counters *counters)
{
	struct net_from_guest net;
	uint32_t room = burst->limit - burst->count, taken, made;
	uint16_t waiting;

	/* A guest that offers more before the chains we hold were returned. */
	if (room > (uint32_t)vq->size - vq->pending)
		room = (uint32_t)vq->size - vq->pending;
	if (!split_ahead_look(vq, room, &waiting) || waiting == 0)
		return 0;
	if (waiting < room)
		room = waiting;
	guest_window_open(&net.window, vq->memory, vq->region_hint);
	net_from_guest_open(&net, burst, vq->header_size, vq->offloads_from_guest);
	if (!vq->in_order)
		split_used_ask(vq, (uint16_t)(vq->last_used + vq->pending), room);
	split_read_sources(vq, &net.window, room, burst->shallow);
	taken = split_take(vq, &net, room, counters);
	vq->last_available = (uint16_t)(vq->last_available + taken);
	vq->region_hint = net.window.index;
	split_ahead_ask(vq, &net.window, SPLIT_FROM_GUEST, NET_AHEAD + BURST_FRAMES);
	made = net_from_guest_close(&net);
	if (made > 0) {
		counter_add(&counters->receive_packets, made);
		counter_add(&counters->receive_bytes, net.bytes);
	}
	return taken;
}

static void split_from_guest_done(struct virtqueue *vq)
{
	uint16_t position = vq->last_used;

	if (vq->pending == 0)
		return;
	/* 2.7.9: the batch's first entry, with the head of the last chain, stands for all. */
	if (vq->in_order)
		split_used_put(vq, position, vq->pending_heads[vq->pending - 1], 0);
	else
		split_used_put_heads(vq, position, vq->pending_heads, vq->pending);
	position = (uint16_t)(position + vq->pending);
	vq->pending = 0;
	split_used_publish(vq, position);
}

static uint32_t split_to_guest(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
			       struct port_counters *counters)
{
	struct split_send send;
	uint32_t sent = 0;
	uint64_t bytes = 0;
	uint16_t waiting;

	if (!split_ahead_look(vq, count, &waiting)) {
		counter_drop(counters, DROP_PORT_DOWN, count);
		return 0;
	}
	send.vq = vq;
	send.used = vq->last_used;
	send.steps = 0;
	send.net.log = vq->log;
	send.net.header_size = vq->header_size;
	guest_window_open(&send.net.window, vq->memory, vq->region_hint);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t result, simple;

		send.frames = count - i;
		simple = split_send_simple(&send, frames + i, &bytes);
		sent += simple;
		i += simple;
		if (i == count)
			break;
		send.frames = count - i;
		result = split_send_generic(&send, frames[i]);
		if (result == NET_TAKEN) {
			sent++;
			bytes += frames[i]->length;
		} else {
			counter_drop(counters, (enum drop_reason)result, 1);
		}
	}
	vq->region_hint = send.net.window.index;
	split_ahead_ask(vq, &send.net.window, SPLIT_TO_GUEST, 2 * count);
	if (send.used != vq->last_used)
		split_used_publish(vq, send.used);
	if (sent > 0) {
		vq->distance = net_plain_distance(sent, bytes);
		counter_add(&counters->transmit_packets, sent);
		counter_add(&counters->transmit_bytes, bytes);
	}
	return sent;
}

/* The next `count` chains, in order, until the burst is full; returns how many were taken. */
static uint32_t split_take(struct virtqueue *vq, struct net_from_guest *net, uint32_t count,
			   struct port_counters *counters)
{
	uint32_t steps = 0, i;

	for (i = split_take_simple(vq, net, 0, count); i < count && steps < SPLIT_STEPS_MAX;
	     i = split_take_simple(vq, net, i + 1, count)) {
		uint32_t result = split_take_chain(vq, net, vq->last_available + i, &steps);

		if (result == NET_NO_ROOM) {
			if (net->segment_count > 0)
				break;
			/* In more pieces than the longest table has entries. */
			result = DROP_CHAIN_LOOP;
		}
		if (result != NET_TAKEN)
			counter_drop(counters, (enum drop_reason)result, 1);
	}
	split_hold(vq, i);
	return i;
}

/* Notes the heads of the next `count` chains, which are taken, until they are returned. */
static void split_hold(struct virtqueue *vq, uint32_t count)
{
	const uint16_t *heads = vq->ahead->heads;
	uint16_t *held = vq->pending_heads + vq->pending;
	uint32_t first = vq->last_available % SPLIT_AHEAD_HEADS;
	uint32_t before_wrap = SPLIT_AHEAD_HEADS - first;

	if (before_wrap > count)
		before_wrap = count;
	memcpy(held, heads + first, before_wrap * sizeof(*heads));
	memcpy(held + before_wrap, heads, (count - before_wrap) * sizeof(*heads));
	vq->pending = (uint16_t)(vq->pending + count);
}

/* Takes the chains from the i-th on that go the short way; returns the number of the first one that
 * does not. */
static uint32_t split_take_simple(struct virtqueue *vq, struct net_from_guest *net, uint32_t i,
				  uint32_t count)
{
	const uint32_t start = vq->last_available;

	if (i < count)
		i += net_plain_take(net, &vq->ahead->chains, start + i, count - i);
	if (i < count)
		i += split_take_short(vq, net, start + i, count - i);
	return i;
}

/* The loops that follow are functions of their own for speed: what each needs stays in registers.
 */

/* Reads `count` chains, if that was not done by the call before, and as many for the next call. */
static inline __attribute__((always_inline)) void split_read_ahead(struct virtqueue *vq,
								   struct guest_window *window,
								   enum split_direction direction,
								   uint32_t count)
{
	struct guest_window local = *window;

	split_ahead_fill(vq, &local, direction, count);
	split_ahead_read(vq, &local, direction, split_ahead_limit(vq, NET_AHEAD));
	*window = local;
}

static __attribute__((noinline)) void
split_read_sources(struct virtqueue *vq, struct guest_window *window, uint32_t count, bool shallow)
{
	/* Two loops of one source. */
	if (shallow)
		split_read_ahead(vq, window, SPLIT_SHALLOW, count);
	else
		split_read_ahead(vq, window, SPLIT_FROM_GUEST, count);
}

static __attribute__((noinline)) void
split_read_targets(struct virtqueue *vq, struct guest_window *window, uint32_t count)
{
	struct guest_window local = *window;

	split_ahead_read(vq, &local, SPLIT_TO_GUEST, split_ahead_limit(vq, count));
	*window = local;
}

/* Takes `count` chains from `position` on as long as they are one buffer or two, whatever their
 * headers ask for. */
static __attribute__((noinline)) uint32_t split_take_short(struct virtqueue *vq,
							   struct net_from_guest *net,
							   uint32_t position, uint32_t count)
{
	struct net_from_guest local = *net;
	uint32_t i;

	for (i = 0; i < count; i++, position++) {
		const uint8_t *host = net_ahead_host(&vq->ahead->chains, position);

		if (host != NULL ? !net_from_guest_single(
				       &local, host, net_ahead_length(&vq->ahead->chains, position))
				 : !split_take_pair(vq, &local, position))
			break;
	}
	*net = local;
	return i;
}

/* The chain at `position`, of which more than one simple descriptor is to be expected, when it is a
 * header and a frame, in the table or in an indirect one; false when it is something else. */
static bool split_take_pair(const struct virtqueue *vq, struct net_from_guest *net,
			    uint32_t position)
{
	const uint16_t head = split_ahead_head(vq->ahead, position);
	struct split_descriptor first, header, data;

	if (head >= vq->size)
		return false;
	first = header = split_descriptor_read(split_descriptor_at(vq, head));
	if (first.flags == SPLIT_DESCRIPTOR_INDIRECT) {
		const uint8_t *table;

		if (!vq->indirect || first.length != 2 * sizeof(data))
			return false;
		table = guest_window_span(&net->window, first.address, first.length);
		if (table == NULL)
			return false;
		header = split_descriptor_read(table);
		data = split_descriptor_read(table + sizeof(header));
		if (header.flags != SPLIT_DESCRIPTOR_NEXT || header.next != 1)
			return false;
	} else if (first.flags == SPLIT_DESCRIPTOR_NEXT && first.next < vq->size) {
		data = split_descriptor_read(split_descriptor_at(vq, first.next));
	} else {
		return false;
	}
	return data.flags == 0 &&
	       net_from_guest_pair(net, header.address, header.length, data.address, data.length);
}

/* A chain of any layout: NET_TAKEN, NET_NO_ROOM or a drop reason. */
static uint32_t split_take_chain(struct virtqueue *vq, struct net_from_guest *net,
				 uint32_t position, uint32_t *steps)
{
	struct net_chain chain = { .length = 0 };
	struct split_chain walk;
	enum split_status status =
	    split_chain_begin(&walk, vq, &net->window, split_ahead_head(vq->ahead, position));
	uint32_t result = NET_TAKEN;

	while (status == SPLIT_BUFFER) {
		if (walk.current.flags & SPLIT_DESCRIPTOR_WRITE)
			result = DROP_CHAIN_WRITABLE;
		else
			result = net_from_guest_add(net, &chain, walk.current.address,
						    walk.current.length);
		if (result != NET_TAKEN)
			break;
		status = split_chain_next(&walk);
	}
	*steps += walk.steps;
	if (result != NET_TAKEN)
		return result;
	if (status != SPLIT_END)
		return split_from_guest_reasons[status];
	return net_from_guest_finish(net, &chain);
}

/* Sends frames as long as each goes the short way into one chain; returns how many, and adds their
 * lengths to *bytes. */
static uint32_t split_send_simple(struct split_send *send, struct frame *const *frames,
				  uint64_t *bytes)
{
	struct virtqueue *vq = send->vq;
	uint16_t position = vq->last_available;
	uint32_t count, sent = 0;

	split_ahead_fill(vq, &send->net.window, SPLIT_TO_GUEST, send->frames);
	count = (uint16_t)(vq->ahead->end - position);
	if (count > send->frames)
		count = send->frames;
	split_used_ask(vq, send->used, count);
	for (uint32_t i = 0; i < vq->distance && i < count; i++)
		net_plain_ask(&vq->ahead->chains, position + i, frames[i], false);
	/* For the next call, which may well have as many frames; meanwhile the first lines come. */
	split_read_targets(vq, &send->net.window, 2 * send->frames);
	/* What is to be marked as written goes the second way, and where headers are shorter. */
	if (send->net.log == NULL && send->net.header_size == VNET_HEADER_SIZE) {
		sent = net_plain_send(&vq->ahead->chains, position, frames, count, vq->distance);
		split_send_done(send, frames, position, sent, bytes);
	}
	if (sent < count)
		sent += split_send_short(send, frames + sent, (uint16_t)(position + sent),
					 count - sent, bytes);
	vq->last_available = (uint16_t)(position + sent);
	return sent;
}

/* The used entries of the first `count` frames, which are in the chains from `position` on. */
static __attribute__((noinline)) void split_send_done(struct split_send *send,
						      struct frame *const *frames,
						      uint32_t position, uint32_t count,
						      uint64_t *bytes)
{
	struct split_used *ring = split_used_at(send->vq, 0);
	const struct split_ahead *ahead = send->vq->ahead;
	const uint32_t mask = send->vq->size - 1u;
	uint32_t used = send->used;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++, used++) {
		uint64_t length = frames[i]->length;
		uint64_t entry =
		    (VNET_HEADER_SIZE + length) << 32 | split_ahead_head(ahead, position + i);

		memcpy(&ring[used & mask], &entry, sizeof(entry));
		sum += length;
	}
	send->used = (uint16_t)used;
	*bytes += sum;
}

/* Sends frames of any kind, each to a chain of one buffer. */
static __attribute__((noinline)) uint32_t split_send_short(struct split_send *send,
							   struct frame *const *frames,
							   uint16_t position, uint32_t count,
							   uint64_t *bytes)
{
	const struct virtqueue *vq = send->vq;
	uint32_t i;

	for (i = 0; i < count; i++, position++) {
		const uint16_t head = split_ahead_head(vq->ahead, position);
		struct split_descriptor first;
		uint8_t *host;

		if (net_ahead_host(&vq->ahead->chains, position) == NULL)
			break;
		first = split_descriptor_read(split_descriptor_at(vq, head));
		if ((first.flags & (SPLIT_NOT_SIMPLE | SPLIT_DESCRIPTOR_WRITE)) !=
		    SPLIT_DESCRIPTOR_WRITE)
			break;
		host = guest_window_span(&send->net.window, first.address, first.length);
		if (host == NULL ||
		    !net_to_guest_single(&send->net, frames[i], host, first.address, first.length))
			break;
		split_used_put(send->vq, send->used++, head,
			       send->net.header_size + frames[i]->length);
		*bytes += frames[i]->length;
	}
	return i;
}

/* Writes a frame to one chain of any layout, or to as many as it takes where they are mergeable. A
 * lack of buffers consumes nothing: the chains stay for the next frame. A bad chain costs the
 * frame, and goes back with length 0, and those before it too, or it would be in the way for ever.
 */
static uint32_t split_send_generic(struct split_send *send, const struct frame *frame)
{
	struct net_to_guest *net = &send->net;
	struct virtqueue *vq = send->vq;
	const uint16_t position = vq->last_available, used = send->used;
	uint32_t result = NET_TAKEN;

	net_to_guest_begin(net, frame);
	while (result == NET_TAKEN && net->left > 0) {
		uint32_t before = net->left;

		if (send->steps >= SPLIT_STEPS_MAX ||
		    !split_send_look(send, send->frames + net->left / 1024)) {
			result = DROP_NO_BUFFERS;
			break;
		}
		result = split_fill_chain(send);
		split_used_put(vq, send->used++, split_ahead_head(vq->ahead, vq->last_available),
			       before - net->left);
		vq->last_available++;
		/* The header belongs into the first chain, and without MRG_RXBUF all does. */
		if (result == NET_TAKEN && net->left > 0 &&
		    (!vq->mergeable || net->left > frame->length))
			result = DROP_BUFFER_SMALL;
	}
	if (result == NET_TAKEN) {
		net_to_guest_set_buffers(net, (uint16_t)(send->used - used));
	} else if (result == DROP_NO_BUFFERS || result == DROP_BUFFER_SMALL) {
		vq->last_available = position;
		send->used = used;
		split_ahead_forget(vq);
	} else {
		for (uint16_t i = used; i != send->used; i++)
			split_used_clear(vq, i);
	}
	return result;
}

/* Whether there is a chain, which is read then; up to `wanted` are, when none was yet. */
static bool split_send_look(struct split_send *send, uint32_t wanted)
{
	struct virtqueue *vq = send->vq;
	uint16_t waiting;

	if (vq->ahead->end != vq->last_available)
		return true;
	if (!split_ahead_look(vq, wanted, &waiting) || waiting == 0)
		return false;
	split_ahead_fill(vq, &send->net.window, SPLIT_TO_GUEST, wanted);
	return true;
}

/* Writes what is left of the frame to the next chain. NET_TAKEN, with net.left > 0 when the chain
 * was too short for all of it; or the drop reason when the chain is bad. */
static uint32_t split_fill_chain(struct split_send *send)
{
	struct net_to_guest *net = &send->net;
	struct virtqueue *vq = send->vq;
	uint32_t result = NET_TAKEN;
	struct split_chain walk;
	enum split_status status = split_chain_begin(
	    &walk, vq, &net->window, split_ahead_head(vq->ahead, vq->last_available));

	while (status == SPLIT_BUFFER && net->left > 0) {
		if (!(walk.current.flags & SPLIT_DESCRIPTOR_WRITE))
			result = DROP_BUFFER_READONLY;
		else if (!net_to_guest_put(net, walk.current.address, walk.current.length))
			result = DROP_BUFFER_ADDRESS;
		if (result != NET_TAKEN || net->left == 0)
			break;
		status = split_chain_next(&walk);
	}
	send->steps += walk.steps;
	if (result == NET_TAKEN && status != SPLIT_BUFFER && status != SPLIT_END)
		result = split_to_guest_reasons[status];
	return result;
}
