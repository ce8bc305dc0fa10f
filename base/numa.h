/* NUMA nodes, where a machine has more than one; everywhere else all of this says "none" and does
 * nothing. Any thread. */
#ifndef WEFT_BASE_NUMA_H
#define WEFT_BASE_NUMA_H

#define NUMA_NONE (-1)

/* The node a CPU belongs to; NUMA_NONE where there is only one, or for a CPU below 0. */
int numa_node_of_cpu(int cpu);

/* The node that the page at `address` is on, which is brought in if it is not yet; NUMA_NONE where
 * there is only one node, or no such page. */
int numa_node_of_memory(const void *address);

/* New pages that this thread touches come from `node` while there are any; NUMA_NONE: from where
 * the thread runs, as at first (set_mempolicy(2)). */
void numa_prefer(int node);

#endif
