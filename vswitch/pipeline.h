/* The way of a burst through one worker: bridge verdicts, transmit batches by port, edges. Worker
 * thread; a context belongs to one worker. docs/design.md walks through it. */
#ifndef WEFT_VSWITCH_PIPELINE_H
#define WEFT_VSWITCH_PIPELINE_H

#include "base/clock.h"
#include "base/counters.h"
#include "base/frame.h"
#include "bridge/bridge.h"
#include "vswitch/worker.h"

/* Frames on their way to one port or queue, in order of arrival. */
struct transmit_batch {
	uint32_t count;
	struct frame *frames[BURST_FRAMES];
};

_Static_assert(CONFIG_PORTS_MAX <= BRIDGE_PORTS_MAX, "port indices are those of the bridge, too");

struct worker_context {
	struct worker *worker;
	struct snapshot *snapshot;
	uint64_t generation; /* of snapshot; 0: none */
	struct worker_plan *plan;
	struct turns turns; /* of the plan's active queues */
	struct burst *in;   /* what arrived */
	struct burst *edge; /* what edges made of it */
	uint32_t now;	    /* seconds, of clock_seconds() */
	uint32_t boottime;  /* seconds of CLOCK_BOOTTIME, what sessions are timed by */
	/* Measuring stages, see pipeline_measure(). */
	bool measuring;	      /* this burst */
	uint32_t unmeasured;  /* bursts still to come before the next one measured */
	uint64_t stage_start; /* TSC */
	uint64_t burst_start;
	uint32_t represents; /* bursts for which the measured one stands */
	struct bridge_memo *memo;
	struct bridge_verdict verdicts[BURST_FRAMES];
	/* By port index; control allocates (worker_reserve) before a snapshot with that port is
	 * published. */
	struct transmit_batch *batches[CONFIG_PORTS_MAX];
	/* What of a batch goes to each queue of its port; empty but in transmit_batch(). */
	struct transmit_batch spread[PORT_QUEUES_MAX];
	uint32_t touched_count;
	uint16_t touched[CONFIG_PORTS_MAX]; /* ports with frames in their batch */
	/* Frames of addresses that control must decide about, taken out of the burst. */
	uint32_t asked_count;
	struct frame asked[BURST_FRAMES];
};

/* Around a burst: pipeline_measure() before receive(), pipeline_stage_end() as each stage ends,
 * pipeline_measured() when all is done.
 *
 * Of the bursts that bring something one in 8 to 23 is measured; not at a fixed distance, which
 * might always hit the same one of several queues. Five reads of the TSC with their counters were
 * measured at 127 cycles: 8 a burst on average, 0.3 % of a burst of 64 frames at 50 cycles each,
 * where measuring every burst would cost 4 %, and a burst of one frame a third of its time. Nothing
 * is scaled: the frames of measured bursts are counted apart. The TSC is read without a fence, so
 * a stage's last instructions may count for the next. */
#define PIPELINE_UNMEASURED_MIN 7

static inline void pipeline_measure(struct worker_context *context)
{
	context->measuring = context->unmeasured == 0;
	if (context->measuring)
		context->burst_start = context->stage_start = clock_cycles();
}

static inline void pipeline_stage_end(struct worker_context *context, enum worker_stage stage)
{
	uint64_t now;

	if (!context->measuring)
		return;
	now = clock_cycles();
	counter_add(&context->worker->counters.stage_cycles[stage], now - context->stage_start);
	context->stage_start = now;
}

/* Returns how long this burst took, and about how long those before it that were not measured; 0
 * when this one was not, either. */
static inline uint64_t pipeline_measured(struct worker_context *context, uint32_t frames)
{
	uint64_t cycles;

	if (!context->measuring) {
		context->unmeasured--;
		return 0;
	}
	cycles = (context->stage_start - context->burst_start) * (context->represents + 1);
	context->measuring = false;
	counter_add(&context->worker->counters.measured_frames, frames);
	/* Some middle bits of the time are random enough; the lowest stand still on some CPUs. */
	context->unmeasured = PIPELINE_UNMEASURED_MIN + (context->stage_start >> 6 & 15);
	context->represents = context->unmeasured;
	return cycles;
}

/* Whether nobody looks beyond the addresses of what comes from this port, nearly always. */
static inline bool pipeline_is_shallow(const struct port_view *from)
{
	/* relaxed: only speed hangs on it. */
	return from->bridge != NULL && from->bridge->gateway_port == MAC_TABLE_NO_PORT &&
	       atomic_load_explicit(&from->port->guard, memory_order_relaxed) == NULL;
}

/* Decides and transmits all frames of `burst`, which came from the port of `from`. When it returns
 * no frame is referenced any more. */
void pipeline_run(struct worker_context *context, const struct port_view *from,
		  struct burst *burst);

/* Puts `count` frames that follow one another into the batch of the port they go to; each frame at
 * most once for each port. */
static inline void pipeline_add_run(struct worker_context *context, uint16_t port,
				    struct frame *frames, uint32_t count)
{
	struct transmit_batch *batch = context->batches[port];
	struct frame **to = batch->frames + batch->count;

	if (batch->count == 0)
		context->touched[context->touched_count++] = port;
	for (uint32_t i = 0; i < count; i++)
		to[i] = &frames[i];
	batch->count += count;
}

static inline void pipeline_add(struct worker_context *context, uint16_t port, struct frame *frame)
{
	pipeline_add_run(context, port, frame, 1);
}

/* A copy for each member of a segment that may have it; nobody may: counted at the port of `from`.
 */
void pipeline_flood(struct worker_context *context, const struct port_view *from,
		    const struct bridge *bridge, const struct bridge_member *member,
		    struct frame *frame);

/* The gateway's share of what the bridge has put in the batch of its leg (gateway_stage.c): what
 * can be forwarded leaves it for the batches of other ports, the rest stays, for control.
 * `from` is where the frames came in. */
void gateway_stage(struct worker_context *context, const struct port_view *from,
		   const struct leg_view *leg);

/* Sends a batch out of one port: picks queues, makes each frame fit what the port takes (offloads,
 * tag), counts what is dropped. frames[] may be overwritten. */
void transmit_batch(struct worker_context *context, const struct port_view *to,
		    struct frame **frames, uint32_t count);

#endif
