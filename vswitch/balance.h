/* Receive queues on workers by load: what each worker is busy with is looked at once a second, and
 * where one has much more to do than another, a queue moves. Control thread. */
#ifndef WEFT_VSWITCH_BALANCE_H
#define WEFT_VSWITCH_BALANCE_H

#include "vswitch/switch.h"

#include <stdint.h>

/* A receive queue as the choice sees it. */
struct balance_load {
	uint16_t worker;
	uint64_t cycles; /* it took since the last look */
};

/* The queue (index into loads) whose move helps most, and where to, in *to; -1: all may stay.
 * `total` is how many cycles have passed since the last look. Pure. */
int balance_choose(const struct balance_load *loads, uint32_t count, uint32_t workers,
		   uint64_t total, uint16_t *to);

/* Once a second: moves one queue at most. */
void vswitch_balance(struct vswitch *vswitch);

/* Moves a receive queue to another worker, while traffic flows: frames wait in the queue meanwhile,
 * none is lost, and no frame overtakes another of the same queue. 0, or -ENOMEM: it stays. */
int vswitch_move_queue(struct vswitch *vswitch, struct port_queue *queue, uint16_t worker);

#endif
