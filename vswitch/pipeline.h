/* The way of a burst through one worker: bridge verdicts, transmit batches by port, edges. Worker
 * thread; a context belongs to one worker. docs/design.md walks through it. */
#ifndef WEFT_VSWITCH_PIPELINE_H
#define WEFT_VSWITCH_PIPELINE_H

#include "base/frame.h"
#include "bridge/bridge.h"
#include "vswitch/worker.h"

/* Frames on their way to one port, in order of arrival. */
struct transmit_batch {
	uint32_t count;
	struct frame *frames[BURST_FRAMES];
};

struct worker_context {
	struct worker *worker;
	struct snapshot *snapshot;
	uint64_t generation; /* of snapshot; 0: none */
	struct worker_plan *plan;
	struct burst *in;   /* what arrived */
	struct burst *edge; /* what edges made of it */
	uint32_t now;	    /* seconds, once a loop */
	struct bridge_verdict verdicts[BURST_FRAMES];
	/* By port index; control allocates (worker_reserve) before a snapshot with that port is
	 * published. */
	struct transmit_batch *batches[CONFIG_PORTS_MAX];
	uint32_t touched_count;
	uint16_t touched[CONFIG_PORTS_MAX]; /* ports with frames in their batch */
};

/* Decides and transmits all frames of `burst`, which came from the port of `from`. When it returns
 * no frame is referenced any more. */
void pipeline_run(struct worker_context *context, const struct port_view *from,
		  struct burst *burst);

/* Sends a batch out of one port: picks queues, makes each frame fit what the port takes (offloads,
 * tag), counts what is dropped. frames[] may be overwritten. */
void transmit_batch(struct worker_context *context, const struct port_view *to,
		    struct frame **frames, uint32_t count);

#endif
