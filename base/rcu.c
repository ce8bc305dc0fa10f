/* rcu.h over rte_rcu_qsbr. The waiting loop is ours so that it yields: with fewer cores than
 * threads the worker waited for may need the very core that control would spin on. */
#include "base/rcu.h"

#include <rte_rcu_qsbr.h>
#include <sched.h>
#include <stdlib.h>

struct rcu {
	struct rte_rcu_qsbr *qsbr;
};

struct rcu *rcu_create(uint32_t readers)
{
	size_t size = rte_rcu_qsbr_get_memsize(readers);
	struct rcu *rcu = calloc(1, sizeof(*rcu));

	if (rcu == NULL)
		return NULL;
	rcu->qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, (size + RTE_CACHE_LINE_SIZE - 1) &
							   ~(size_t)(RTE_CACHE_LINE_SIZE - 1));
	if (rcu->qsbr == NULL || rte_rcu_qsbr_init(rcu->qsbr, readers) != 0) {
		rcu_destroy(rcu);
		return NULL;
	}
	return rcu;
}

void rcu_destroy(struct rcu *rcu)
{
	if (rcu == NULL)
		return;
	free(rcu->qsbr);
	free(rcu);
}

void rcu_register(struct rcu *rcu, uint32_t id)
{
	rte_rcu_qsbr_thread_register(rcu->qsbr, id);
}

void rcu_unregister(struct rcu *rcu, uint32_t id)
{
	rte_rcu_qsbr_thread_unregister(rcu->qsbr, id);
}

void rcu_online(struct rcu *rcu, uint32_t id)
{
	rte_rcu_qsbr_thread_online(rcu->qsbr, id);
}

void rcu_offline(struct rcu *rcu, uint32_t id)
{
	rte_rcu_qsbr_thread_offline(rcu->qsbr, id);
}

void rcu_quiescent(struct rcu *rcu, uint32_t id)
{
	rte_rcu_qsbr_quiescent(rcu->qsbr, id);
}

void rcu_wait(struct rcu *rcu)
{
	uint64_t token = rte_rcu_qsbr_start(rcu->qsbr);

	while (rte_rcu_qsbr_check(rcu->qsbr, token, false) != 1)
		sched_yield();
}
