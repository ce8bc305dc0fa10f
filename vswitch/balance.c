/* Placing receive queues by load, and moving them while they are in use (balance.h). Control
 * thread, called from the switch's housekeeping.
 *
 * A frame is done with when its burst is: worker by worker, nothing waits between. So a queue is
 * moved by stopping it like one that goes away, waiting until its worker has let go of it, and
 * starting it like a new one on the other. What comes meanwhile waits in the guest's ring or the
 * tap's queue, and what went before has been sent. */
#include "vswitch/balance.h"

#include "base/clock.h"
#include "base/log.h"
#include "vswitch/worker.h"

#include <errno.h>
#include <stdlib.h>

/* A worker with less to do than this share of its time is left alone, and so is a difference that
 * no move makes smaller by that share. */
#define BUSY_PERCENT 50u
#define GAIN_PERCENT 10u

static uint32_t receive_queues(const struct vswitch *vswitch, struct port_queue **queues,
			       struct balance_load *loads);

int balance_choose(const struct balance_load *loads, uint32_t count, uint32_t workers,
		   uint64_t total, uint16_t *to)
{
	uint64_t busy[CONFIG_WORKERS_MAX] = { 0 }, best;
	uint16_t from = 0, idle = 0;
	int chosen = -1;

	for (uint32_t i = 0; i < count; i++)
		busy[loads[i].worker] += loads[i].cycles;
	for (uint16_t w = 1; w < workers; w++) {
		if (busy[w] > busy[from])
			from = w;
		if (busy[w] < busy[idle])
			idle = w;
	}
	if (busy[from] < total / 100 * BUSY_PERCENT)
		return -1;
	best = busy[from] - total / 100 * GAIN_PERCENT;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t left = busy[from] - loads[i].cycles, right = busy[idle] + loads[i].cycles;
		uint64_t after = left > right ? left : right;

		if (loads[i].worker != from || after >= best)
			continue;
		best = after;
		chosen = (int)i;
	}
	*to = idle;
	return chosen;
}

void vswitch_balance(struct vswitch *vswitch)
{
	uint64_t now = clock_cycles(), total = now - vswitch->balanced_at;
	struct balance_load *loads;
	struct port_queue **queues;
	uint32_t count = 0;
	uint16_t to;
	int chosen;

	if (vswitch->worker_count < 2)
		return;
	for (uint32_t w = 0; w < vswitch->worker_count; w++)
		count += vswitch->worker_queues[w];
	loads = calloc(count + 1, sizeof(*loads));
	queues = calloc(count + 1, sizeof(struct port_queue *));
	if (loads != NULL && queues != NULL) {
		count = receive_queues(vswitch, queues, loads);
		chosen = vswitch->balanced_at == 0
			     ? -1
			     : balance_choose(loads, count, vswitch->worker_count, total, &to);
		vswitch->balanced_at = now;
		if (chosen >= 0)
			vswitch_move_queue(vswitch, queues[chosen], to);
	}
	free(loads);
	free(queues);
}

int vswitch_move_queue(struct vswitch *vswitch, struct port_queue *queue, uint16_t worker)
{
	uint16_t before = queue->worker;
	bool running = atomic_load_explicit(&queue->running, memory_order_relaxed);
	int wake_fd = atomic_load_explicit(&queue->wake_fd, memory_order_relaxed), rc;

	if (worker == before)
		return 0;
	port_queue_halt(queue);
	/* After the first the worker sees that the queue does not run; after the second it has
	 * been through a whole round that way, and the queue is in no list of its. */
	rcu_wait(vswitch->rcu);
	rcu_wait(vswitch->rcu);
	vswitch->worker_queues[before]--;
	vswitch->worker_queues[worker]++;
	queue->worker = worker;
	rc = vswitch_publish(vswitch);
	if (rc != 0) {
		vswitch->worker_queues[worker]--;
		vswitch->worker_queues[before]++;
		queue->worker = before;
	} else {
		log_info("port %s: queue %u moves from worker %u to %u", queue->port->name,
			 queue->index, before, worker);
	}
	if (running)
		port_queue_start(queue, wake_fd);
	return rc;
}

/* All receive queues, with what each took since the last time. Returns their number. */
static uint32_t receive_queues(const struct vswitch *vswitch, struct port_queue **queues,
			       struct balance_load *loads)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		for (uint16_t q = 0; port != NULL && q < port->receive_count; q++) {
			struct port_queue *queue = &port->receive_queues[q];
			/* relaxed: a count, nothing hangs on it. */
			uint64_t cycles =
			    atomic_load_explicit(&queue->cycles, memory_order_relaxed);

			queues[n] = queue;
			loads[n++] =
			    (struct balance_load){ queue->worker, cycles - queue->cycles_seen };
			queue->cycles_seen = cycles;
		}
	}
	return n;
}
