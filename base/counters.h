/* What one worker counted for one port.
 *
 * Written by that worker alone, read by control at any time: so each counter is a relaxed atomic
 * that is loaded, added to and stored, with no locked instruction. Readers may see counters of one
 * struct at slightly different moments; totals are exact once the worker is quiet. */
#ifndef WEFT_BASE_COUNTERS_H
#define WEFT_BASE_COUNTERS_H

#include "base/drop.h"

#include <stdatomic.h>
#include <stdint.h>

struct port_counters {
	/* "receive" is from the port into weft, "transmit" from weft out to the port. Bytes count
	 * the frame from the Ethernet header on, without FCS; a GSO frame is one packet. */
	_Atomic uint64_t receive_packets;
	_Atomic uint64_t receive_bytes;
	_Atomic uint64_t transmit_packets;
	_Atomic uint64_t transmit_bytes;
	_Atomic uint64_t drops[DROP_COUNT];
} __attribute__((aligned(64)));

/* Owning worker only. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void counter_drop(struct port_counters *counters, enum drop_reason reason, uint64_t n)
{
	counter_add(&counters->drops[reason], n);
}

#endif
