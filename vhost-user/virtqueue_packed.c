/* Frames through a packed ring (virtio 1.2, 2.8), both directions. Called through
 * its virtqueue_ops by the worker that uses the queue.
 *
 * As in virtqueue_split.c, a batch of descriptors is read at once, and a chain of one direct
 * descriptor takes the short way; any other is walked by packed_chain.c. What is done goes to the
 * journal first, and from there to the ring (packed_journal.h). */
#include "vhost-user/packed_chain.h"
#include "vhost-user/virtqueue_variant.h"

#define PACKED_NOT_SIMPLE (PACKED_DESCRIPTOR_NEXT | PACKED_DESCRIPTOR_INDIRECT)

/* Descriptors one call may walk, as SPLIT_STEPS_MAX. */
#define PACKED_STEPS_MAX (2u * VIRTQUEUE_SIZE_MAX)

/* One call of to_guest. */
struct packed_send {
	struct virtqueue *vq;
	struct net_to_guest net;
	struct packed_cursor *cursor;
	uint32_t used;	 /* entries of the journal */
	uint32_t frames; /* still to send, the current one included */
	uint32_t steps;	 /* descriptors walked */
};

static uint32_t packed_from_guest(struct virtqueue *vq, struct burst *burst,
				  struct port_counters *counters);
static void packed_from_guest_done(struct virtqueue *vq);
static uint32_t packed_to_guest(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
				struct port_counters *counters);

static void packed_break(struct virtqueue *vq);
static uint32_t packed_take(struct virtqueue *vq, struct net_from_guest *net,
			    struct packed_cursor *cursor, uint32_t room,
			    struct port_counters *counters);
static uint32_t packed_take_simple(struct virtqueue *vq, struct net_from_guest *net,
				   struct packed_cursor *cursor, uint32_t room);
static uint32_t packed_take_plain(struct net_from_guest *net, const struct packed_cursor *cursor,
				  uint32_t room, struct packed_used *used);
static uint32_t packed_take_short(const struct virtqueue *vq, struct net_from_guest *net,
				  struct packed_cursor *cursor, uint32_t room,
				  struct packed_used *used);
static uint32_t packed_take_few(const struct virtqueue *vq, struct net_from_guest *net,
				const struct packed_cursor *cursor, uint32_t place);
static uint32_t packed_take_chain(struct virtqueue *vq, struct net_from_guest *net,
				  struct packed_cursor *cursor, uint32_t *steps);
static uint32_t packed_send_simple(struct packed_send *send, struct frame *const *frames,
				   uint64_t *bytes);
static void packed_send_done(struct packed_send *send, struct frame *const *frames, uint32_t count,
			     uint64_t *bytes);
static uint32_t packed_send_generic(struct packed_send *send, const struct frame *frame);
static uint32_t packed_fill_chain(struct packed_send *send, struct packed_chain *chain);

const struct virtqueue_ops VIRTQUEUE_OPS(packed) = {
	.format = VIRTQUEUE_PACKED,
	.from_guest = packed_from_guest,
	.from_guest_done = packed_from_guest_done,
	.to_guest = packed_to_guest,
	.arm = packed_arm,
	.disarm = packed_disarm,
	.flush = packed_flush,
};

static const enum drop_reason packed_from_guest_reasons[PACKED_STATUS_COUNT] = {
	[PACKED_BROKEN] = DROP_CHAIN_INDEX,
	[PACKED_ADDRESS] = DROP_CHAIN_ADDRESS,
	[PACKED_INDIRECT] = DROP_CHAIN_INDIRECT,
};

static const enum drop_reason packed_to_guest_reasons[PACKED_STATUS_COUNT] = {
	[PACKED_BROKEN] = DROP_BUFFER_CHAIN,
	[PACKED_ADDRESS] = DROP_BUFFER_ADDRESS,
	[PACKED_INDIRECT] = DROP_BUFFER_CHAIN,
};

static uint32_t packed_from_guest(struct virtqueue *vq, struct burst *burst,
				  struct port_counters *counters)
{
	struct net_from_guest net;
	struct packed_cursor *cursor;
	uint32_t room = burst->limit - burst->count, taken, made;

	if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
		return 0;
	guest_window_open(&net.window, vq->memory, vq->region_hint);
	cursor = packed_cursor_open(vq, &net.window);
	cursor->shallow = burst->shallow;
	/* This burst, if the call before did not read it, and the next one. */
	packed_cursor_read(cursor, room + BURST_FRAMES);
	if (packed_cursor_count(cursor) == 0)
		return 0;
	net_from_guest_open(&net, burst, vq->header_size, vq->offloads_from_guest);
	taken = packed_take(vq, &net, cursor, room, counters);
	vq->last_available = cursor->position;
	vq->region_hint = net.window.index;
	made = net_from_guest_close(&net);
	if (made > 0) {
		counter_add(&counters->receive_packets, made);
		counter_add(&counters->receive_bytes, net.bytes);
	}
	return taken;
}

static void packed_from_guest_done(struct virtqueue *vq)
{
	uint32_t count = vq->pending;

	if (count == 0)
		return;
	vq->pending = 0;
	/* 2.8.8: one used descriptor, with the id of the last buffer, for all of them. */
	if (vq->in_order && count > 1) {
		packed_used_put(
		    vq->journal->entries, vq->journal->entries[count - 1].id,
		    (uint16_t)packed_distance(vq->last_used, vq->last_available, vq->size), 0);
		count = 1;
	}
	packed_used_publish(vq, count, vq->last_available);
}

static uint32_t packed_to_guest(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
				struct port_counters *counters)
{
	struct packed_send send; /* not zeroed: it is large */
	uint32_t sent = 0, i;
	uint64_t bytes = 0;

	send.vq = vq;
	send.used = 0;
	send.steps = 0;
	send.net.log = vq->log;
	send.net.header_size = vq->header_size;
	guest_window_open(&send.net.window, vq->memory, vq->region_hint);
	send.cursor = packed_cursor_open(vq, &send.net.window);
	for (i = 0; i < count; i++) {
		uint32_t result, simple;

		if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
			break;
		send.frames = count - i;
		simple = packed_send_simple(&send, frames + i, &bytes);
		sent += simple;
		i += simple;
		if (i == count)
			break;
		send.frames = count - i;
		result = packed_send_generic(&send, frames[i]);
		if (result == NET_TAKEN) {
			sent++;
			bytes += frames[i]->length;
		} else {
			counter_drop(counters, (enum drop_reason)result, 1);
		}
	}
	if (i < count)
		counter_drop(counters, DROP_PORT_DOWN, count - i);
	vq->last_available = send.cursor->position;
	vq->region_hint = send.net.window.index;
	if (send.used > 0)
		packed_used_publish(vq, send.used, send.cursor->position);
	if (sent > 0) {
		vq->distance = net_plain_distance(sent, bytes);
		counter_add(&counters->transmit_packets, sent);
		counter_add(&counters->transmit_bytes, bytes);
	}
	return sent;
}

/* Relaxed: control only looks at it; it takes the queue over by way of `running`. */
static void packed_break(struct virtqueue *vq)
{
	atomic_store_explicit(&vq->fault, VIRTQUEUE_FAULT_CHAIN, memory_order_relaxed);
}

/* Up to `room` chains, in order, until the burst is full; returns how many were taken, and leaves
 * the cursor behind them. */
static uint32_t packed_take(struct virtqueue *vq, struct net_from_guest *net,
			    struct packed_cursor *cursor, uint32_t room,
			    struct port_counters *counters)
{
	uint32_t steps = 0, taken = 0;

	while (taken < room && steps < PACKED_STEPS_MAX) {
		uint32_t result, simple;
		uint16_t position;

		if (packed_cursor_fill(cursor, room - taken) == 0)
			break;
		simple = packed_take_simple(vq, net, cursor, room - taken);
		taken += simple;
		if (simple > 0)
			continue;
		position = cursor->position;
		result = packed_take_chain(vq, net, cursor, &steps);
		/* In more pieces than the longest table has entries: it never fits. */
		if (result == NET_NO_ROOM && net->segment_count == 0)
			result = DROP_CHAIN_LOOP;
		if (result == NET_NO_ROOM || result == DROP_CHAIN_INDEX) {
			vq->pending -= result == NET_NO_ROOM;
			packed_cursor_seek(cursor, position);
			break;
		}
		if (result != NET_TAKEN)
			counter_drop(counters, (enum drop_reason)result, 1);
		taken++;
	}
	return taken;
}

/* Takes the chains at hand that go the short way, up to `room`; returns how many. */
static uint32_t packed_take_simple(struct virtqueue *vq, struct net_from_guest *net,
				   struct packed_cursor *cursor, uint32_t room)
{
	struct packed_used *used = vq->journal->entries + vq->pending;
	uint32_t n = packed_take_plain(net, cursor, room, used);

	packed_cursor_pass(cursor, n);
	if (n < room)
		n += packed_take_short(vq, net, cursor, room - n, used + n);
	vq->pending = (uint16_t)(vq->pending + n);
	return n;
}

/* Used entries of the first `count` descriptors at hand, each a chain. */
static void packed_hold(const struct packed_cursor *cursor, uint32_t count,
			struct packed_used *used)
{
	for (uint32_t done = 0, n; done < count; done += n) {
		const uint32_t place = (cursor->place + done) % NET_AHEAD;
		const uint16_t *ids = cursor->ids + place;

		/* No end of the array in between, so that vectors can. */
		n = count - done < NET_AHEAD - place ? count - done : NET_AHEAD - place;
		for (uint32_t i = 0; i < n; i++)
			packed_used_put(used + done + i, ids[i], 1, 0);
	}
}

/* The first of them, as long as each is one descriptor, and plain. */
static uint32_t packed_take_plain(struct net_from_guest *net, const struct packed_cursor *cursor,
				  uint32_t room, struct packed_used *used)
{
	uint32_t count = packed_cursor_count(cursor), taken;

	taken = net_plain_take(net, &cursor->batch, cursor->place, count < room ? count : room);
	packed_hold(cursor, taken, used);
	return taken;
}

/* The same for chains of one buffer or two, whatever their headers ask for; the cursor goes on
 * behind them. */
static __attribute__((noinline)) uint32_t packed_take_short(const struct virtqueue *vq,
							    struct net_from_guest *net,
							    struct packed_cursor *cursor,
							    uint32_t room, struct packed_used *used)
{
	const uint32_t known = packed_cursor_count(cursor);
	struct net_from_guest local = *net;
	uint32_t passed = 0, i;

	for (i = 0; i < room && passed < known; i++) {
		uint32_t count = packed_take_few(vq, &local, cursor, passed);

		if (count == 0)
			break;
		passed += count;
		packed_used_put(used + i, packed_cursor_id(cursor, passed - 1), (uint16_t)count, 0);
	}
	*net = local;
	packed_cursor_pass(cursor, passed);
	return i;
}

/* The chain that begins with the i-th descriptor at hand: when it is one buffer, or a header and a
 * frame, in the ring or in an indirect table. Number of descriptors; 0: it is something else. */
static inline uint32_t packed_take_few(const struct virtqueue *vq, struct net_from_guest *net,
				       const struct packed_cursor *cursor, uint32_t i)
{
	const uint8_t *host = net_ahead_host(&cursor->batch, cursor->place + i);
	struct packed_descriptor at, header, data;
	uint32_t count = 1, kind;

	if (host != NULL)
		return net_from_guest_single(net, host,
					     net_ahead_length(&cursor->batch, cursor->place + i));
	at = header = packed_cursor_at(cursor, i);
	kind = at.flags & (PACKED_NOT_SIMPLE | PACKED_DESCRIPTOR_WRITE);
	if (kind == PACKED_DESCRIPTOR_NEXT && i + 1 < packed_cursor_count(cursor)) {
		data = packed_cursor_at(cursor, i + 1);
		if (data.flags & PACKED_DESCRIPTOR_NEXT)
			return 0;
		count = 2;
	} else if (kind == PACKED_DESCRIPTOR_INDIRECT && vq->indirect &&
		   at.length == 2 * sizeof(data)) {
		const uint8_t *table = guest_window_span(&net->window, at.address, at.length);

		if (table == NULL)
			return 0;
		header = packed_entry_read(table);
		data = packed_entry_read(table + sizeof(header));
	} else {
		return 0;
	}
	if ((header.flags | data.flags) & (PACKED_DESCRIPTOR_WRITE | PACKED_DESCRIPTOR_INDIRECT))
		return 0;
	/* One call for both, so that there is none. */
	return net_from_guest_pair(net, header.address, header.length, data.address, data.length)
		   ? count
		   : 0;
}

/* A chain of any layout: NET_TAKEN, NET_NO_ROOM or a drop reason; it is pending then, unless the
 * ring is broken. */
static uint32_t packed_take_chain(struct virtqueue *vq, struct net_from_guest *net,
				  struct packed_cursor *cursor, uint32_t *steps)
{
	struct net_chain chain = { .length = 0 };
	struct packed_chain walk;
	enum packed_status status = packed_chain_begin(&walk, cursor, &net->window);
	uint32_t result = NET_TAKEN;

	while (status == PACKED_BUFFER && result == NET_TAKEN) {
		if (walk.current.flags & PACKED_DESCRIPTOR_WRITE)
			result = DROP_CHAIN_WRITABLE;
		else
			result = net_from_guest_add(net, &chain, walk.current.address,
						    walk.current.length);
		if (result == NET_TAKEN)
			status = packed_chain_next(&walk);
	}
	if (status == PACKED_BROKEN || !packed_chain_close(&walk)) {
		packed_break(vq);
		return packed_from_guest_reasons[PACKED_BROKEN];
	}
	*steps += walk.steps;
	packed_used_put(&vq->journal->entries[vq->pending++], walk.id, walk.count, 0);
	if (result != NET_TAKEN)
		return result;
	if (status != PACKED_END)
		return packed_from_guest_reasons[status];
	return net_from_guest_finish(net, &chain);
}

/* Sends frames as long as each goes the short way into one chain; returns how many, and adds their
 * lengths to *bytes. */
static uint32_t packed_send_simple(struct packed_send *send, struct frame *const *frames,
				   uint64_t *bytes)
{
	struct packed_cursor *cursor = send->cursor;
	uint32_t count, sent = 0;

	packed_cursor_read(cursor, send->frames);
	count = packed_cursor_count(cursor);
	if (count > send->frames)
		count = send->frames;
	for (uint32_t i = 0; i < send->vq->distance && i < count; i++)
		net_plain_ask(&cursor->batch, cursor->place + i, frames[i], false);
	/* For the next call, which may well have as many frames; meanwhile the first lines come. */
	packed_cursor_read(cursor, 2 * send->frames);
	/* What is to be marked as written goes the second way, and where headers are shorter. */
	if (send->net.log == NULL && send->net.header_size == VNET_HEADER_SIZE) {
		sent = net_plain_send(&cursor->batch, cursor->place, frames, count,
				      send->vq->distance);
		packed_send_done(send, frames, sent, bytes);
	}
	for (; sent < count; sent++) {
		struct packed_descriptor at;
		uint8_t *host;

		if (net_ahead_host(&cursor->batch, cursor->place + sent) == NULL)
			break;
		at = packed_cursor_at(cursor, sent);
		if ((at.flags & (PACKED_NOT_SIMPLE | PACKED_DESCRIPTOR_WRITE)) !=
		    PACKED_DESCRIPTOR_WRITE)
			break;
		host = guest_window_span(&send->net.window, at.address, at.length);
		if (host == NULL ||
		    !net_to_guest_single(&send->net, frames[sent], host, at.address, at.length))
			break;
		packed_used_put(&send->vq->journal->entries[send->used++], at.id, 1,
				send->net.header_size + frames[sent]->length);
		*bytes += frames[sent]->length;
	}
	packed_cursor_pass(cursor, sent);
	return sent;
}

/* The used entries of the first `count` frames, which are in the descriptors at hand. */
static __attribute__((noinline)) void packed_send_done(struct packed_send *send,
						       struct frame *const *frames, uint32_t count,
						       uint64_t *bytes)
{
	struct packed_used *used = send->vq->journal->entries + send->used;
	const struct packed_cursor *cursor = send->cursor;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = frames[i]->length;

		packed_used_put(used + i, packed_cursor_id(cursor, i), 1,
				VNET_HEADER_SIZE + length);
		sum += length;
	}
	send->used += count;
	*bytes += sum;
}

/* Writes a frame to one chain of any layout, or to as many as it takes where they are mergeable. A
 * lack of buffers consumes nothing: the chains stay for the next frame. A bad chain costs the
 * frame, and goes back with length 0, and those before it too, or it would be in the way for ever.
 */
static uint32_t packed_send_generic(struct packed_send *send, const struct frame *frame)
{
	struct net_to_guest *net = &send->net;
	const uint16_t position = send->cursor->position;
	const uint32_t used = send->used;
	uint32_t result = NET_TAKEN;

	net_to_guest_begin(net, frame);
	while (result == NET_TAKEN && net->left > 0) {
		uint32_t before = net->left;
		struct packed_chain chain;

		if (send->steps >= PACKED_STEPS_MAX ||
		    packed_cursor_fill(send->cursor, send->frames + net->left / 1024) == 0) {
			result = DROP_NO_BUFFERS;
			break;
		}
		result = packed_fill_chain(send, &chain);
		if (atomic_load_explicit(&send->vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
			break;
		packed_used_put(&send->vq->journal->entries[send->used++], chain.id, chain.count,
				before - net->left);
		/* The header belongs into the first chain, and without MRG_RXBUF all does. */
		if (result == NET_TAKEN && net->left > 0 &&
		    (!send->vq->mergeable || net->left > frame->length))
			result = DROP_BUFFER_SMALL;
	}
	if (result == NET_TAKEN) {
		net_to_guest_set_buffers(net, (uint16_t)(send->used - used));
	} else if (result == DROP_NO_BUFFERS || result == DROP_BUFFER_SMALL ||
		   atomic_load_explicit(&send->vq->fault, memory_order_relaxed) != VIRTQUEUE_OK) {
		packed_cursor_seek(send->cursor, position);
		send->used = used;
	} else {
		for (uint32_t i = used; i < send->used; i++)
			send->vq->journal->entries[i].length = 0;
	}
	return result;
}

/* Writes what is left of the frame to one chain. NET_TAKEN, with net.left > 0 when the chain was
 * too short for all of it; or the drop reason when the chain is bad. Breaks the queue when it has
 * no end. */
static uint32_t packed_fill_chain(struct packed_send *send, struct packed_chain *chain)
{
	struct net_to_guest *net = &send->net;
	enum packed_status status = packed_chain_begin(chain, send->cursor, &net->window);
	uint32_t result = NET_TAKEN;

	while (status == PACKED_BUFFER && net->left > 0) {
		if (!(chain->current.flags & PACKED_DESCRIPTOR_WRITE))
			result = DROP_BUFFER_READONLY;
		else if (!net_to_guest_put(net, chain->current.address, chain->current.length))
			result = DROP_BUFFER_ADDRESS;
		if (result != NET_TAKEN || net->left == 0)
			break;
		status = packed_chain_next(chain);
	}
	if (status == PACKED_BROKEN || !packed_chain_close(chain)) {
		packed_break(send->vq);
		return packed_to_guest_reasons[PACKED_BROKEN];
	}
	send->steps += chain->steps;
	if (result == NET_TAKEN && status != PACKED_BUFFER && status != PACKED_END)
		result = packed_to_guest_reasons[status];
	return result;
}
