/* The stages between receive and send, each over the whole burst (pipeline.h). Worker thread. */
#include "vswitch/pipeline.h"

static struct port_counters *counters_of(const struct worker_context *context,
					 const struct port_view *view)
{
	return &view->port->counters[context->worker->id];
}

static void batch_add(struct worker_context *context, uint16_t port, struct frame *frame)
{
	struct transmit_batch *batch = context->batches[port];

	if (batch->count == 0)
		context->touched[context->touched_count++] = port;
	batch->frames[batch->count++] = frame;
}

/* A copy for each member that may have it and has a peer. Members that are down are no members (as
 * in IEEE 802.1D), so they count nothing; a frame that reaches nobody is dropped once, where it
 * came from. */
static void batch_flood(struct worker_context *context, const struct port_view *from,
			struct frame *frame)
{
	const struct bridge *bridge = from->bridge;
	bool sent = false;

	for (uint32_t i = 0; i < bridge->member_count; i++) {
		const struct bridge_member *to = &bridge->members[i];

		if (!atomic_load_explicit(&context->snapshot->ports[to->port].port->link,
					  memory_order_relaxed) ||
		    !bridge_floods_to(bridge, from->member, to, frame))
			continue;
		batch_add(context, to->port, frame);
		sent = true;
	}
	if (!sent)
		counter_drop(counters_of(context, from), DROP_NO_DESTINATION, 1);
}

static void batches_flush(struct worker_context *context)
{
	for (uint32_t i = 0; i < context->touched_count; i++) {
		uint16_t port = context->touched[i];
		struct transmit_batch *batch = context->batches[port];

		transmit_batch(context, &context->snapshot->ports[port], batch->frames,
			       batch->count);
		batch->count = 0;
	}
	context->touched_count = 0;
}

/* Frames into the batches of the ports they go to, the rest counted as dropped. */
static void burst_distribute(struct worker_context *context, const struct port_view *from,
			     struct burst *burst)
{
	struct bridge_verdict *verdicts = context->verdicts;

	bridge_decide(from->bridge, from->member, burst->frames, burst->count, context->now,
		      verdicts);
	for (uint32_t i = 0; i < burst->count; i++) {
		struct frame *frame = &burst->frames[i];

		switch (verdicts[i].action) {
		case BRIDGE_UNICAST:
			batch_add(context, verdicts[i].port, frame);
			break;
		case BRIDGE_FLOOD:
			batch_flood(context, from, frame);
			break;
		default:
			counter_drop(counters_of(context, from), verdicts[i].reason, 1);
			break;
		}
	}
}

void pipeline_run(struct worker_context *context, const struct port_view *from, struct burst *burst)
{
	if (burst->count == 0)
		return;
	if (from->bridge == NULL) {
		counter_drop(counters_of(context, from), DROP_NO_NETWORK, burst->count);
		return;
	}
	burst_distribute(context, from, burst);
	pipeline_stage_end(context, WORKER_BRIDGE);
	batches_flush(context);
	pipeline_stage_end(context, WORKER_TRANSMIT);
}
