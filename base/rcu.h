/* Grace periods between control and the workers: DPDK's quiescent-state RCU (rte_rcu_qsbr), which
 * needs no EAL. A worker is a reader from rcu_online() or rcu_quiescent() to the next
 * rcu_quiescent() or rcu_offline(); it holds no pointer from a snapshot beyond that. */
#ifndef WEFT_BASE_RCU_H
#define WEFT_BASE_RCU_H

#include <stdint.h>

struct rcu;

/* Control. For readers with ids [0, readers). NULL when memory is short. */
struct rcu *rcu_create(uint32_t readers);
void rcu_destroy(struct rcu *rcu);

/* Reader `id`, its own thread. Registered readers start offline. */
void rcu_register(struct rcu *rcu, uint32_t id);
void rcu_unregister(struct rcu *rcu, uint32_t id);
void rcu_online(struct rcu *rcu, uint32_t id);
void rcu_offline(struct rcu *rcu, uint32_t id);
void rcu_quiescent(struct rcu *rcu, uint32_t id);

/* Control. Returns when every reader that was online at the call has passed a quiescent state: what
 * was unlinked before the call may then be freed. Yields while it waits. */
void rcu_wait(struct rcu *rcu);

#endif
