/* The stages between receive and send, each over the whole burst (pipeline.h). Worker thread. */
#include "vswitch/pipeline.h"

#include "route/guard.h"
#include "vswitch/port_gateway.h"

static struct port_counters *counters_of(const struct worker_context *context,
					 const struct port_view *view)
{
	return &view->port->counters[context->worker->id];
}

/* Members that are down are no members (as in IEEE 802.1D), so they count nothing. */
void pipeline_flood(struct worker_context *context, const struct port_view *from,
		    const struct bridge *bridge, const struct bridge_member *member,
		    struct frame *frame)
{
	bool sent = false;

	for (uint32_t i = 0; i < bridge->member_count; i++) {
		const struct bridge_member *to = &bridge->members[i];

		if (!atomic_load_explicit(&context->snapshot->ports[to->port].port->link,
					  memory_order_relaxed) ||
		    !bridge_floods_to(bridge, member, to, frame))
			continue;
		pipeline_add(context, to->port, frame);
		sent = true;
	}
	if (!sent)
		counter_drop(counters_of(context, from), DROP_NO_DESTINATION, 1);
}

/* What most ports have no use for is written only for those that have. */
static void note_arrival(const struct port_view *from, struct transmit_batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++)
		batch->frames[i]->arrival = from->port->index;
}

static void batches_flush(struct worker_context *context, const struct port_view *from)
{
	for (uint32_t i = 0; i < context->touched_count; i++) {
		const struct port_view *to = &context->snapshot->ports[context->touched[i]];
		struct transmit_batch *batch = context->batches[context->touched[i]];

		if (batch->count > 0) {
			if (to->port->type->wants_arrival)
				note_arrival(from, batch);
			transmit_batch(context, to, batch->frames, batch->count);
		}
		batch->count = 0;
	}
	context->touched_count = 0;
}

/* Frames into the batches of the ports they go to, the rest counted as dropped. */
static void burst_distribute(struct worker_context *context, const struct port_view *from,
			     struct burst *burst)
{
	uint32_t count = bridge_decide(from->bridge, context->memo, from->member, burst->frames,
				       burst->count, context->now, context->verdicts);
	struct frame *frame = burst->frames;

	for (uint32_t i = 0; i < count; i++) {
		const struct bridge_verdict *verdict = &context->verdicts[i];

		switch (verdict->action) {
		case BRIDGE_UNICAST:
			pipeline_add_run(context, verdict->port, frame, verdict->count);
			break;
		case BRIDGE_FLOOD:
			for (uint32_t j = 0; j < verdict->count; j++)
				pipeline_flood(context, from, from->bridge, from->member,
					       &frame[j]);
			break;
		default:
			counter_drop(counters_of(context, from), verdict->reason, verdict->count);
			break;
		}
		frame += verdict->count;
	}
}

/* Takes out of the burst what its sender may not send, and for control what may be. */
static void burst_guard(struct worker_context *context, const struct port_view *from,
			const struct guard *guard, struct burst *burst)
{
	uint32_t kept = 0;

	context->asked_count = 0;
	for (uint32_t i = 0; i < burst->count; i++) {
		struct frame *frame = &burst->frames[i];
		enum drop_reason reason;

		frame_pull(frame);
		switch (guard_check(guard, frame, &reason)) {
		case GUARD_PASS:
			if (kept != i)
				burst->frames[kept] = *frame;
			kept++;
			break;
		case GUARD_ASK:
			context->asked[context->asked_count++] = *frame;
			break;
		case GUARD_DROP:
			counter_drop(counters_of(context, from), reason, 1);
			break;
		}
	}
	burst->count = kept;
}

/* What the guard was not sure of. */
static void asked_distribute(struct worker_context *context, const struct port_view *from)
{
	uint16_t gateway = from->bridge->gateway_port;

	for (uint32_t i = 0; i < context->asked_count; i++) {
		struct frame *frame = &context->asked[i];
		enum drop_reason reason = DROP_SPOOFED_ADDRESS;

		/* The gateway has no leg in a VLAN. */
		if (gateway == MAC_TABLE_NO_PORT ||
		    !vlan_classify(&from->member->vlan, frame, &reason) ||
		    frame->vlan != VLAN_NONE) {
			counter_drop(counters_of(context, from), reason, 1);
			continue;
		}
		frame->punt = GATEWAY_PUNT_UNBOUND;
		pipeline_add(context, gateway, frame);
	}
	context->asked_count = 0;
}

void pipeline_run(struct worker_context *context, const struct port_view *from, struct burst *burst)
{
	const struct guard *guard;
	uint16_t gateway;

	if (burst->count == 0)
		return;
	if (from->bridge == NULL) {
		counter_drop(counters_of(context, from), DROP_NO_NETWORK, burst->count);
		return;
	}
	/* acquire: pairs with the release in binding_publish(). */
	guard = atomic_load_explicit(&from->port->guard, memory_order_acquire);
	if (guard != NULL) {
		burst_guard(context, from, guard, burst);
		asked_distribute(context, from);
	}
	burst_distribute(context, from, burst);
	pipeline_stage_end(context, WORKER_BRIDGE);
	gateway = from->bridge->gateway_port;
	if (gateway != MAC_TABLE_NO_PORT && context->batches[gateway]->count > 0)
		gateway_stage(context, from, context->snapshot->ports[gateway].leg);
	pipeline_stage_end(context, WORKER_GATEWAY);
	batches_flush(context, from);
	pipeline_stage_end(context, WORKER_TRANSMIT);
}
