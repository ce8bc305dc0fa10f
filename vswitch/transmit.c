/* The last stage: a batch of frames goes out of one port (pipeline.h). Worker thread.
 *
 * Frames that the port takes as they are, nearly all, go straight to its send(). The others pass
 * offload_apply(), in their places in the order, which holds within a flow. */
#include "vswitch/offload.h"
#include "vswitch/pipeline.h"
#include "vswitch/switch.h"

#include "base/flow_hash.h"

#include <sched.h>

/* Longer than any send takes, unless the worker that sends is not running. */
#define LOCK_SPINS 10000u

static void queue_lock(struct port_queue *queue)
{
	uint32_t free = 0, spins = 0;

	/* acquire: pairs with the release in queue_unlock() of the worker before us. */
	while (!atomic_compare_exchange_weak_explicit(&queue->lock, &free, 1, memory_order_acquire,
						      memory_order_relaxed)) {
		free = 0;
		if (++spins < LOCK_SPINS)
			__builtin_ia32_pause();
		else
			sched_yield();
	}
}

static void queue_unlock(struct port_queue *queue)
{
	atomic_store_explicit(&queue->lock, 0, memory_order_release);
}

/* One queue's share of a batch on its way out. */
struct transmission {
	struct worker_context *context;
	struct port_queue *queue;
	struct port_counters *counters;
	uint32_t count;
	struct frame *frames[BURST_FRAMES];
};

/* Frames that the queue takes as they are, a batch at most. */
static void queue_send(const struct worker_context *context, struct port_queue *queue,
		       struct frame *const *frames, uint32_t count, struct port_counters *counters)
{
	const struct port_type *type = queue->port->type;

	if (context->worker->vswitch->worker_count > 1) {
		queue_lock(queue);
		type->send(queue, frames, count, counters);
		queue_unlock(queue);
	} else {
		type->send(queue, frames, count, counters);
	}
}

static void transmission_flush(struct transmission *t)
{
	if (t->count > 0)
		queue_send(t->context, t->queue, t->frames, t->count, t->counters);
	t->count = 0;
}

/* Makes a frame fit and adds what it becomes; flushes whenever the edge burst or the list is full.
 */
static void transmission_add_edited(struct transmission *t, const struct frame *frame,
				    uint32_t offloads, enum vlan_edit edit)
{
	struct burst *edge = t->context->edge;
	struct segment_state state = { 0 };
	enum offload_result result;

	do {
		uint32_t before;

		if (edge->count == edge->limit || t->count == BURST_FRAMES) {
			transmission_flush(t);
			burst_reset(edge);
		}
		before = edge->count;
		/* No more than the list has room for. */
		edge->limit = before + (BURST_FRAMES - t->count);
		if (edge->limit > BURST_FRAMES)
			edge->limit = BURST_FRAMES;
		result = offload_apply(frame, offloads, edit, &state, edge);
		for (uint32_t i = before; i < edge->count; i++)
			t->frames[t->count++] = &edge->frames[i];
		if (result == OFFLOAD_MORE && edge->count == before) {
			/* Out of segments, not of frames. */
			transmission_flush(t);
			burst_reset(edge);
		}
		edge->limit = BURST_FRAMES;
	} while (result == OFFLOAD_MORE);
	if (result == OFFLOAD_FAILED)
		counter_drop(t->counters, DROP_SEGMENT_FAILED, 1);
}

static inline bool takes_as_is(const struct port_view *to, const struct frame *frame,
			       uint32_t offloads)
{
	return vlan_egress_edit(&to->member->vlan, frame) == VLAN_KEEP &&
	       offload_fits(frame, offloads);
}

/* How many of the frames, from the first on, the port takes as they are. */
static uint32_t fitting(const struct port_view *to, struct frame *const *frames, uint32_t count,
			uint32_t offloads)
{
	uint64_t taken = ~frame_kind(frames[0]);
	uint32_t n;

	for (n = 0; n < count; n++) {
		const struct frame *frame = frames[n];

		if (frame_kind(frame) == taken)
			continue;
		if (!takes_as_is(to, frame, offloads))
			break;
		/* Of these it hangs on the version of IP, too. */
		if (frame->gso != FRAME_GSO_UDP)
			taken = frame_kind(frame);
	}
	return n;
}

/* Some of the frames need to be edited. */
static void transmit_edited(struct transmission *t, const struct port_view *to, uint32_t offloads,
			    struct frame **frames, uint32_t count)
{
	t->count = 0;
	burst_reset(t->context->edge);
	for (uint32_t i = 0; i < count; i++) {
		if (!takes_as_is(to, frames[i], offloads)) {
			frame_pull(frames[i]);
			transmission_add_edited(t, frames[i], offloads,
						vlan_egress_edit(&to->member->vlan, frames[i]));
			continue;
		}
		if (t->count == BURST_FRAMES)
			transmission_flush(t);
		t->frames[t->count++] = frames[i];
	}
	transmission_flush(t);
}

static void transmit_to_queue(struct worker_context *context, const struct port_view *to,
			      uint32_t queue_index, struct frame **frames, uint32_t count)
{
	struct port_queue *queue = &to->port->send_queues[queue_index];
	struct port_counters *counters = &to->port->counters[context->worker->id];
	uint32_t offloads, fit;
	struct transmission t;

	/* acquire: pairs with the release in port_queue_start(). */
	if (!atomic_load_explicit(&queue->running, memory_order_acquire)) {
		counter_drop(counters, DROP_PORT_DOWN, count);
		return;
	}
	offloads = to->port->type->offloads(queue);
	fit = fitting(to, frames, count, offloads);
	if (fit == count) {
		queue_send(context, queue, frames, count, counters);
		return;
	}
	t.context = context;
	t.queue = queue;
	t.counters = counters;
	transmit_edited(&t, to, offloads, frames, count);
}

/* Adds a frame to the batch of the queue its flow takes. */
static inline void spread(struct transmit_batch *batches, uint32_t queues, uint32_t hash,
			  struct frame *frame)
{
	struct transmit_batch *batch = &batches[((uint64_t)hash * queues) >> 32];

	batch->frames[batch->count++] = frame;
}

/* Spreads frames as long as they are of the usual kind; returns how many. A function of its own,
 * which calls nobody: what the loop needs stays in registers. */
static __attribute__((noinline)) uint32_t spread_plain(struct transmit_batch *batches,
						       uint32_t queues, struct frame *const *frames,
						       uint32_t count)
{
	uint32_t i, hash;

	for (i = 0; i < count && flow_hash_plain(frames[i], &hash); i++)
		spread(batches, queues, hash, frames[i]);
	return i;
}

/* To the queues of a port that has several, a flow to always the same, in order. */
static void transmit_spread(struct worker_context *context, const struct port_view *to,
			    uint32_t queues, struct frame **frames, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		i += spread_plain(context->spread, queues, frames + i, count - i);
		if (i < count)
			spread(context->spread, queues, flow_hash_parsed(frames[i]), frames[i]);
	}
	for (uint32_t q = 0; q < queues; q++) {
		struct transmit_batch *batch = &context->spread[q];

		if (batch->count > 0)
			transmit_to_queue(context, to, q, batch->frames, batch->count);
		batch->count = 0;
	}
}

void transmit_batch(struct worker_context *context, const struct port_view *to,
		    struct frame **frames, uint32_t count)
{
	/* relaxed: a hint only, the queue's own flag decides. */
	uint32_t queues = atomic_load_explicit(&to->port->send_running, memory_order_relaxed);

	if (queues > 1)
		transmit_spread(context, to, queues, frames, count);
	else if (to->port->send_count > 0)
		transmit_to_queue(context, to, 0, frames, count);
	else
		counter_drop(&to->port->counters[context->worker->id], DROP_PORT_DOWN, count);
}
