/* Receive queues on workers by load: what each worker is busy with is looked at once a second, and
 * where one has much more to do than another, a queue moves. So does one that is read across NUMA
 * nodes, when a worker at home has room for it. Control thread. */
#ifndef WEFT_VSWITCH_BALANCE_H
#define WEFT_VSWITCH_BALANCE_H

#include "vswitch/switch.h"

#include <stdint.h>

/* A receive queue as the choice sees it. */
struct balance_load {
	uint16_t worker;
	uint64_t cycles; /* it took since the last look */
	int node;	 /* where its memory is, or NUMA_NONE */
};

/* What a choice is made from. */
struct balance {
	const struct balance_load *loads;
	uint32_t count;
	const int *nodes; /* of the workers, each a NUMA node or NUMA_NONE */
	uint32_t workers; /* up to CONFIG_WORKERS_MAX */
	uint64_t total;	  /* cycles that have passed since the last look */
};

/* The queue (index into loads) whose move helps most, and where to, in *to; -1: all may stay.
 * Pure. */
int balance_choose(const struct balance *balance, uint16_t *to);

/* Once a second: moves one queue at most. */
void vswitch_balance(struct vswitch *vswitch);

/* Moves a receive queue to another worker, while traffic flows: frames wait in the queue meanwhile,
 * none is lost, and no frame overtakes another of the same queue. 0, or -ENOMEM: it stays. */
int vswitch_move_queue(struct vswitch *vswitch, struct port_queue *queue, uint16_t worker);

#endif
