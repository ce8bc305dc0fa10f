/* NUMA nodes from sysfs, memory's from the kernel (numa.h). Called by control; no thread of its
 * own. The system calls are made by number: they are two, and libnuma would be one more to depend
 * on. */
#include "base/numa.h"

#include <limits.h>
#include <linux/mempolicy.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODES	  "/sys/devices/system/node/"
#define NODES_MAX 1024
#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

/* Nodes are numbered, with holes where one is offline: the machines that have those do without. */
static bool several(void)
{
	static _Atomic int count; /* 0: not known yet; relaxed, as all find the same */
	int known = atomic_load_explicit(&count, memory_order_relaxed);

	if (known == 0) {
		known = access(NODES "node1", F_OK) == 0 ? 2 : 1;
		atomic_store_explicit(&count, known, memory_order_relaxed);
	}
	return known > 1;
}

int numa_node_of_cpu(int cpu)
{
	char path[96];

	if (cpu < 0 || !several())
		return NUMA_NONE;
	for (int node = 0; node < NODES_MAX; node++) {
		snprintf(path, sizeof(path), NODES "node%d/cpu%d", node, cpu);
		if (access(path, F_OK) == 0)
			return node;
	}
	return NUMA_NONE;
}

int numa_node_of_memory(const void *address)
{
	int node = NUMA_NONE;

	if (!several() ||
	    syscall(SYS_get_mempolicy, &node, NULL, 0UL, address, MPOL_F_NODE | MPOL_F_ADDR) != 0)
		return NUMA_NONE;
	return node;
}

void numa_prefer(int node)
{
	unsigned long nodes[NODES_MAX / WORD_BITS] = { 0 };

	if (node >= NODES_MAX || !several())
		return;
	if (node >= 0)
		nodes[(unsigned)node / WORD_BITS] = 1UL << (unsigned)node % WORD_BITS;
	/* Where it may not be asked for, memory comes from where it did before. */
	syscall(SYS_set_mempolicy, node >= 0 ? MPOL_PREFERRED : MPOL_DEFAULT,
		node >= 0 ? nodes : NULL, node >= 0 ? (unsigned long)NODES_MAX : 0UL);
}
