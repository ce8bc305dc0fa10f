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
#include "base/numa.h"
#include "vswitch/worker.h"

#include <errno.h>
#include <stdlib.h>

/* A worker with less to do than this share of its time is left alone, and so is a difference that
 * no move makes smaller by that share. */
#define BUSY_PERCENT 50u
#define GAIN_PERCENT 10u
/* A queue with less to do than this may be read from another node. */
#define AWAY_PERCENT 1u

#define ANY_NODE (NUMA_NONE - 1)

static int choose_home(const struct balance *balance, const uint64_t *busy, uint16_t *to);
static int choose_by_load(const struct balance *balance, const uint64_t *busy, uint16_t *to);
static uint32_t receive_queues(const struct vswitch *vswitch, struct port_queue **queues,
			       struct balance_load *loads);

int balance_choose(const struct balance *balance, uint16_t *to)
{
	uint64_t busy[CONFIG_WORKERS_MAX] = { 0 };
	int chosen;

	for (uint32_t i = 0; i < balance->count; i++)
		busy[balance->loads[i].worker] += balance->loads[i].cycles;
	chosen = choose_home(balance, busy, to);
	return chosen >= 0 ? chosen : choose_by_load(balance, busy, to);
}

/* The worker of `node` with the least to do, or -1. */
static int idlest(const struct balance *balance, const uint64_t *busy, int node)
{
	int best = -1;

	for (uint32_t w = 0; w < balance->workers; w++) {
		if ((node == ANY_NODE || balance->nodes[w] == node) &&
		    (best < 0 || busy[w] < busy[best]))
			best = (int)w;
	}
	return best;
}

/* Of the queues that are read from another node than their memory is on, the busiest that has room
 * at home: so much that its load will not drive it out again. */
static int choose_home(const struct balance *balance, const uint64_t *busy, uint16_t *to)
{
	uint64_t best = balance->total / 100 * AWAY_PERCENT;
	uint64_t room = balance->total / 100 * BUSY_PERCENT;
	int chosen = -1;

	for (uint32_t i = 0; i < balance->count; i++) {
		const struct balance_load *load = &balance->loads[i];
		int home;

		if (load->node == NUMA_NONE || load->node == balance->nodes[load->worker] ||
		    load->cycles <= best)
			continue;
		home = idlest(balance, busy, load->node);
		if (home < 0 || busy[home] + load->cycles >= room)
			continue;
		best = load->cycles;
		*to = (uint16_t)home;
		chosen = (int)i;
	}
	return chosen;
}

/* One of the busiest worker's queues to where it leaves the least to do on both; to a worker on the
 * node of its memory, if that helps. */
static int choose_by_load(const struct balance *balance, const uint64_t *busy, uint16_t *to)
{
	uint32_t from = 0;
	uint64_t limit;

	for (uint32_t w = 1; w < balance->workers; w++)
		from = busy[w] > busy[from] ? w : from;
	if (busy[from] < balance->total / 100 * BUSY_PERCENT)
		return -1;
	limit = busy[from] - balance->total / 100 * GAIN_PERCENT;
	for (int anywhere = 0; anywhere < 2; anywhere++) {
		uint64_t best = limit;
		int chosen = -1;

		for (uint32_t i = 0; i < balance->count; i++) {
			const struct balance_load *load = &balance->loads[i];
			int target = idlest(balance, busy, anywhere ? ANY_NODE : load->node);
			uint64_t left = busy[from] - load->cycles, right, after;

			if (load->worker != from || target < 0)
				continue;
			right = busy[target] + load->cycles;
			after = left > right ? left : right;
			if (after >= best)
				continue;
			best = after;
			*to = (uint16_t)target;
			chosen = (int)i;
		}
		if (chosen >= 0)
			return chosen;
	}
	return -1;
}

void vswitch_balance(struct vswitch *vswitch)
{
	uint64_t now = clock_cycles(), total = now - vswitch->balanced_at;
	int nodes[CONFIG_WORKERS_MAX], chosen;
	struct balance_load *loads;
	struct port_queue **queues;
	uint32_t count = 0;
	uint16_t to;

	if (vswitch->worker_count < 2)
		return;
	for (uint32_t w = 0; w < vswitch->worker_count; w++) {
		count += vswitch->worker_queues[w];
		nodes[w] = vswitch->workers[w]->node;
	}
	loads = calloc(count + 1, sizeof(*loads));
	queues = calloc(count + 1, sizeof(struct port_queue *));
	if (loads != NULL && queues != NULL) {
		struct balance balance = { .loads = loads,
					   .count = receive_queues(vswitch, queues, loads),
					   .nodes = nodes,
					   .workers = vswitch->worker_count,
					   .total = total };

		chosen = vswitch->balanced_at == 0 ? -1 : balance_choose(&balance, &to);
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
			loads[n++] = (struct balance_load){ .worker = queue->worker,
							    .cycles = cycles - queue->cycles_seen,
							    .node = queue->node };
			queue->cycles_seen = cycles;
		}
	}
	return n;
}
