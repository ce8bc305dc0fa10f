/* Frames through a split ring (virtio 1.2, 2.7), both directions. Called through
 * virtqueue_split_ops by the worker that uses the queue.
 *
 * A batch goes through the ring in small steps (heads, descriptors, frames) rather than chain by
 * chain, so that the memory of one chain is on its way while another is looked at. A chain of one
 * direct descriptor takes the short way; any other is walked by split_chain.c. */
#include "vhost-user/net_from_guest.h"
#include "vhost-user/net_to_guest.h"
#include "vhost-user/split_chain.h"

#define SPLIT_BATCH	 BURST_FRAMES
#define SPLIT_NOT_SIMPLE (SPLIT_DESCRIPTOR_NEXT | SPLIT_DESCRIPTOR_INDIRECT)

/* Descriptors one call may walk: empty ones are legal and cost the guest nothing, and 64 chains of
 * 32,768 of them would keep the worker from everybody else. */
#define SPLIT_STEPS_MAX (2u * VIRTQUEUE_SIZE_MAX)

/* Heads and first descriptors of the chains at free-running positions [first, first + count). */
struct split_batch {
	uint16_t first;
	uint16_t count;
	uint16_t heads[SPLIT_BATCH];
	struct split_descriptor descriptors[SPLIT_BATCH];
};

/* One call of to_guest. */
struct split_send {
	struct virtqueue *vq;
	struct net_to_guest net;
	struct split_batch batch;
	uint16_t position;  /* next chain in the available ring */
	uint16_t available; /* its end */
	uint16_t used;	    /* next used entry */
	uint32_t frames;    /* still to send, the current one included */
	uint32_t steps;	    /* descriptors walked */
};

static uint32_t split_from_guest(struct virtqueue *vq, struct burst *burst,
				 struct port_counters *counters);
static void split_from_guest_done(struct virtqueue *vq);
static uint32_t split_to_guest(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
			       struct port_counters *counters);

static bool split_waiting(struct virtqueue *vq, uint16_t *waiting);
static void split_batch_read(struct split_batch *batch, const struct virtqueue *vq,
			     const struct guest_window *window, uint16_t first, uint32_t count);
static uint16_t split_take_batch(struct virtqueue *vq, struct net_from_guest *net,
				 const struct split_batch *batch, struct port_counters *counters);
static uint32_t split_take_simple(struct net_from_guest *net, const struct split_batch *batch,
				  uint32_t i);
static uint32_t split_take_chain(struct virtqueue *vq, struct net_from_guest *net, uint16_t head,
				 const struct split_descriptor *first, uint32_t *steps);
static uint32_t split_send_simple(struct split_send *send, struct frame *const *frames,
				  uint64_t *bytes);
static uint32_t split_send_generic(struct split_send *send, const struct frame *frame);
static uint32_t split_send_chain(struct split_send *send, uint32_t wanted);
static uint32_t split_fill_chain(struct split_send *send, uint16_t head,
				 const struct split_descriptor *first);

const struct virtqueue_ops virtqueue_split_ops = {
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
	struct split_batch batch;
	uint32_t before = burst->count;
	uint32_t room = burst->limit - burst->count;
	uint16_t waiting, taken;

	if (!split_waiting(vq, &waiting) || waiting == 0)
		return 0;
	if (waiting < room)
		room = waiting;
	/* A guest that offers more before the chains we hold were returned. */
	if (room > (uint32_t)vq->size - vq->pending)
		room = (uint32_t)vq->size - vq->pending;
	guest_window_open(&net.window, vq->memory, vq->region_hint);
	net.burst = burst;
	net.header_size = vq->header_size;
	net.offloads = vq->offloads_from_guest;
	net.bytes = 0;
	split_batch_read(&batch, vq, &net.window, vq->last_available, room);
	taken = split_take_batch(vq, &net, &batch, counters);
	vq->last_available = (uint16_t)(vq->last_available + taken);
	vq->region_hint = net.window.index;
	if (burst->count > before) {
		counter_add(&counters->receive_packets, burst->count - before);
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
	for (uint32_t i = 0; i < vq->pending && !vq->in_order; i++)
		split_used_put(vq, (uint16_t)(position + i), vq->pending_heads[i], 0);
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

	if (!split_waiting(vq, &waiting)) {
		counter_drop(counters, DROP_PORT_DOWN, count);
		return 0;
	}
	send.vq = vq;
	send.position = vq->last_available;
	send.available = (uint16_t)(vq->last_available + waiting);
	send.used = vq->last_used;
	send.steps = 0;
	send.batch.count = 0;
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
	vq->last_available = send.position;
	vq->region_hint = send.net.window.index;
	if (send.used != vq->last_used)
		split_used_publish(vq, send.used);
	if (sent > 0) {
		counter_add(&counters->transmit_packets, sent);
		counter_add(&counters->transmit_bytes, bytes);
	}
	return sent;
}

/* Number of chains waiting in the ring; false when the queue is or now becomes broken. */
static bool split_waiting(struct virtqueue *vq, uint16_t *waiting)
{
	if (atomic_load_explicit(&vq->fault, memory_order_relaxed) != VIRTQUEUE_OK)
		return false;
	*waiting = (uint16_t)(split_available_index(vq) - vq->last_available);
	if (*waiting <= vq->size)
		return true;
	/* Relaxed: control only looks at it; it takes the queue over by way of `running`. */
	atomic_store_explicit(&vq->fault, VIRTQUEUE_FAULT_INDEX, memory_order_relaxed);
	return false;
}

/* Reads `count` heads from `first` on, and the first descriptor of each. For a head outside the
 * table it is one that is not simple, so that the walk sees it, and refuses it. */
static void split_batch_read(struct split_batch *batch, const struct virtqueue *vq,
			     const struct guest_window *window, uint16_t first, uint32_t count)
{
	if (count > SPLIT_BATCH)
		count = SPLIT_BATCH;
	batch->first = first;
	batch->count = (uint16_t)count;
	for (uint32_t i = 0; i < count; i++) {
		batch->heads[i] = split_available_head(vq, (uint16_t)(first + i));
		__builtin_prefetch(split_descriptor_at(vq, batch->heads[i]));
	}
	for (uint32_t i = 0; i < count; i++) {
		if (batch->heads[i] >= vq->size) {
			batch->descriptors[i] =
			    (struct split_descriptor){ .flags = SPLIT_NOT_SIMPLE };
			continue;
		}
		batch->descriptors[i] =
		    split_descriptor_read(split_descriptor_at(vq, batch->heads[i]));
		if (batch->descriptors[i].flags & SPLIT_DESCRIPTOR_WRITE)
			guest_window_prefetch_write(window, batch->descriptors[i].address);
		else
			guest_window_prefetch(window, batch->descriptors[i].address);
	}
}

/* The chains of the batch, in order, until the burst is full; returns how many were taken. */
static uint16_t split_take_batch(struct virtqueue *vq, struct net_from_guest *net,
				 const struct split_batch *batch, struct port_counters *counters)
{
	uint32_t steps = 0, i;

	for (i = split_take_simple(net, batch, 0); i < batch->count && steps < SPLIT_STEPS_MAX;
	     i = split_take_simple(net, batch, i + 1)) {
		uint32_t result =
		    split_take_chain(vq, net, batch->heads[i], &batch->descriptors[i], &steps);

		if (result == NET_NO_ROOM) {
			if (net->burst->segment_count > 0)
				break;
			/* In more pieces than the longest table has entries. */
			result = DROP_CHAIN_LOOP;
		}
		if (result != NET_TAKEN)
			counter_drop(counters, (enum drop_reason)result, 1);
	}
	memcpy(vq->pending_heads + vq->pending, batch->heads, i * sizeof(batch->heads[0]));
	vq->pending = (uint16_t)(vq->pending + i);
	return (uint16_t)i;
}

/* Takes the chains from place `i` on that go the short way; returns the place of the first one that
 * does not. The copy of *net is for speed: its fields live in registers. */
static uint32_t split_take_simple(struct net_from_guest *net, const struct split_batch *batch,
				  uint32_t i)
{
	struct net_from_guest local = *net;

	for (; i < batch->count; i++) {
		const struct split_descriptor *first = &batch->descriptors[i];

		if ((first->flags & (SPLIT_NOT_SIMPLE | SPLIT_DESCRIPTOR_WRITE)) != 0 ||
		    !net_from_guest_single(&local, first->address, first->length))
			break;
	}
	*net = local;
	return i;
}

/* A chain of any layout: NET_TAKEN, NET_NO_ROOM or a drop reason. */
static uint32_t split_take_chain(struct virtqueue *vq, struct net_from_guest *net, uint16_t head,
				 const struct split_descriptor *first, uint32_t *steps)
{
	struct net_chain chain = { .length = 0 };
	struct split_chain walk;
	enum split_status status = split_chain_begin(&walk, vq, &net->window, head, first);
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
 * lengths to *bytes. The copies are for speed, as in split_take_simple(). */
static uint32_t split_send_simple(struct split_send *send, struct frame *const *frames,
				  uint64_t *bytes)
{
	uint32_t place = split_send_chain(send, send->frames);
	uint32_t count = send->batch.count - place, sent;
	const struct split_descriptor *first = &send->batch.descriptors[place];
	const uint16_t *heads = &send->batch.heads[place];
	struct net_to_guest local = send->net;
	struct virtqueue *vq = send->vq;
	uint16_t used = send->used;

	if (count > send->frames)
		count = send->frames;
	for (sent = 0; sent < count; sent++) {
		const struct frame *frame = frames[sent];

		if ((first[sent].flags & (SPLIT_NOT_SIMPLE | SPLIT_DESCRIPTOR_WRITE)) !=
			SPLIT_DESCRIPTOR_WRITE ||
		    !net_to_guest_single(&local, frame, first[sent].address, first[sent].length))
			break;
		split_used_put(vq, used++, heads[sent], local.header_size + frame->length);
		*bytes += frame->length;
	}
	send->net.window = local.window;
	send->used = used;
	send->position = (uint16_t)(send->position + sent);
	return sent;
}

/* Writes a frame to one chain of any layout, or to as many as it takes where they are mergeable. A
 * lack of buffers consumes nothing: the chains stay for the next frame. A bad chain costs the
 * frame, and goes back with length 0, and those before it too, or it would be in the way for ever.
 */
static uint32_t split_send_generic(struct split_send *send, const struct frame *frame)
{
	struct net_to_guest *net = &send->net;
	const uint16_t position = send->position, used = send->used;
	uint32_t result = NET_TAKEN;

	net_to_guest_begin(net, frame);
	while (result == NET_TAKEN && net->left > 0) {
		uint32_t before = net->left, place;

		if (send->position == send->available || send->steps >= SPLIT_STEPS_MAX) {
			result = DROP_NO_BUFFERS;
			break;
		}
		place = split_send_chain(send, send->frames + net->left / 1024);
		result = split_fill_chain(send, send->batch.heads[place],
					  &send->batch.descriptors[place]);
		split_used_put(send->vq, send->used++, send->batch.heads[place],
			       before - net->left);
		send->position++;
		/* The header belongs into the first chain, and without MRG_RXBUF all does. */
		if (result == NET_TAKEN && net->left > 0 &&
		    (!send->vq->mergeable || net->left > frame->length))
			result = DROP_BUFFER_SMALL;
	}
	if (result == NET_TAKEN) {
		net_to_guest_set_buffers(net, (uint16_t)(send->used - used));
	} else if (result == DROP_NO_BUFFERS || result == DROP_BUFFER_SMALL) {
		send->position = position;
		send->used = used;
	} else {
		for (uint16_t i = used; i != send->used; i++)
			split_used_clear(send->vq, i);
	}
	return result;
}

/* The place in the batch of the chain at send->position; reads up to `wanted` chains from there on
 * when they are not in it. At the end of the available ring the batch is empty. */
static inline uint32_t split_send_chain(struct split_send *send, uint32_t wanted)
{
	uint16_t place = (uint16_t)(send->position - send->batch.first);
	uint16_t waiting = (uint16_t)(send->available - send->position);

	if (place < send->batch.count)
		return place;
	split_batch_read(&send->batch, send->vq, &send->net.window, send->position,
			 wanted < waiting ? wanted : waiting);
	return 0;
}

/* Writes what is left of the frame to one chain. NET_TAKEN, with net.left > 0 when the chain was
 * too short for all of it; or the drop reason when the chain is bad. */
static uint32_t split_fill_chain(struct split_send *send, uint16_t head,
				 const struct split_descriptor *first)
{
	struct net_to_guest *net = &send->net;
	struct split_chain walk;
	enum split_status status = split_chain_begin(&walk, send->vq, &net->window, head, first);
	uint32_t result = NET_TAKEN;

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
