/* A worker: one thread that polls its share of the receive queues, decides, and transmits; and the
 * snapshot it reads. See worker.c for the loop and docs/design.md for a packet's walk. */
#ifndef WEFT_VSWITCH_WORKER_H
#define WEFT_VSWITCH_WORKER_H

#include "base/frame.h"
#include "base/rcu.h"
#include "bridge/bridge.h"
#include "vswitch/config.h"
#include "vswitch/gateway.h"
#include "vswitch/port.h"

#include <pthread.h>
#include <stdint.h>

/* What workers see of a port: immutable. */
struct port_view {
	struct port *port;
	const struct bridge *bridge; /* of its network; NULL when in none */
	const struct bridge_member *member;
	const struct leg_view *leg; /* NULL: no leg of a gateway */
};

/* The queues one worker polls: all of them, and room for that worker to keep the active ones in. */
struct worker_plan {
	uint32_t count;
	struct port_queue **queues;
	uint32_t active_count; /* the worker's own, from its adoption of the snapshot on */
	struct port_queue **active;
};

struct snapshot {
	uint64_t generation; /* tells a new snapshot from a freed one at the same address */
	uint16_t port_limit;
	struct port_view *ports; /* [port_limit], port NULL where free */
	uint32_t bridge_count;
	struct bridge **bridges; /* up to two a network: its segment, and its uplink's */
	struct leg_view *legs;	 /* [port_limit] at most, pointed to by ports[].leg */
	uint32_t worker_count;
	struct worker_plan *plans; /* [worker_count] */
};

/* The stages of a burst, in order; each ends where the next begins. */
enum worker_stage {
	WORKER_RECEIVE,	 /* the port's receive(): ring to frames */
	WORKER_BRIDGE,	 /* verdicts, and frames into the batches of the ports they go to */
	WORKER_GATEWAY,	 /* routing and translation of what is for a gateway */
	WORKER_TRANSMIT, /* edges and the ports' send() */
	WORKER_DONE,	 /* receive_done(): descriptors go back */
	WORKER_STAGES,
};

/* What a worker says of itself; written by the worker alone, read by control (relaxed). */
struct worker_counters {
	_Atomic uint64_t bursts; /* polls that brought something */
	_Atomic uint64_t frames;
	_Atomic uint64_t busy_cycles; /* TSC, in those polls */
	_Atomic uint64_t polls;
	_Atomic uint64_t sleeps;
	_Atomic uint64_t wakes; /* of quiet queues */
	/* Of the bursts that were measured (pipeline_measure): their frames, and TSC by stage. */
	_Atomic uint64_t measured_frames;
	_Atomic uint64_t stage_cycles[WORKER_STAGES];
};

/* A frame control wants sent as if it had come from `port`; on a list that control pushes to and
 * the worker takes as a whole and frees. */
struct worker_injection {
	struct worker_injection *next;
	uint16_t port;
	uint32_t length;
	uint64_t serial; /* of the port; another one may have its slot by now */
	uint8_t bytes[];
};

struct worker {
	uint32_t id;
	int cpu;  /* -1: not pinned */
	int node; /* NUMA node of that CPU, where the worker's memory is; or NUMA_NONE */
	enum config_poll poll;
	pthread_t thread;
	struct vswitch *vswitch;
	int epoll_fd;
	int wake_fd;		 /* eventfd: control wants attention */
	_Atomic bool stop;	 /* control: release */
	_Atomic uint32_t rescan; /* control sets to 1 (release) after a queue was started; the
				  * worker swaps it to 0 and makes all its queues active */
	_Atomic(struct worker_injection *) injections;
	struct worker_counters counters;
	uint64_t started;		/* cycles */
	struct worker_context *context; /* the thread's own */
};

/* Control. Builds the snapshot of the switch as it is now; NULL when memory is short. */
struct snapshot *snapshot_create(const struct vswitch *vswitch, uint64_t generation);
void snapshot_destroy(struct snapshot *snapshot);

int worker_create(struct vswitch *vswitch, uint32_t id, int cpu, enum config_poll poll,
		  struct worker **out, struct error *error);
/* Ends the thread and waits for it. Takes NULL. */
void worker_destroy(struct worker *worker);

/* Control: room for transmit batches to the ports of `snapshot`, before it is published; -ENOMEM.
 */
int worker_reserve(struct worker *worker, const struct snapshot *snapshot);

/* Control: hands over an injection (malloc'ed; the worker frees it) and wakes the worker. */
void worker_inject(struct worker *worker, struct worker_injection *injection);

/* What epoll tells the worker of a receive queue: a number, resolved in the current snapshot, so
 * that a late event never leads to freed memory. */
static inline uint64_t worker_queue_token(const struct port_queue *queue)
{
	return ((uint64_t)queue->port->index << 16) | queue->index;
}
#define WORKER_TOKEN_WAKE UINT64_MAX

/* Control: makes the worker look at its plan and queues now, asleep or not. */
void worker_wake(struct worker *worker);

#endif
