/* The MAC table of one network: which port an address in a VLAN is behind.
 *
 * Shared by all workers: reading takes no lock and touches one cache line in the usual case;
 * learning writes only when something changed (new, moved, or a second has passed since the entry
 * was last seen), under one short lock. Control ages, flushes and lists.
 *
 * Bounded twice: the table's limit and a quota for each port. At either, new addresses of that port
 * are not learned (frames to them flood) and counted; nothing is ever evicted to make room, so no
 * port can push out another's entries. The hash is keyed with a random seed, so no guest can aim at
 * a bucket. */
#ifndef WEFT_BRIDGE_MAC_TABLE_H
#define WEFT_BRIDGE_MAC_TABLE_H

#include "base/mac.h"

#include <stdbool.h>
#include <stdint.h>

#define MAC_TABLE_NO_PORT UINT16_MAX

struct mac_table;

struct mac_table_config {
	uint32_t limit;	     /* entries in all, 1 .. 1 << 20 */
	uint32_t port_quota; /* entries of one port, 1 .. limit */
	uint32_t port_count; /* port indices are below this */
	uint64_t seed;
};

struct mac_table_stats {
	uint32_t entries;
	uint32_t limit;
	uint64_t learned;
	uint64_t moved;
	uint64_t aged;
	uint64_t refused_limit; /* table full, or no free slot in the buckets */
	uint64_t refused_quota; /* port's quota used up */
	uint64_t bytes;		/* memory the table's entries take (allocated) */
};

/* Control. NULL when memory is short. */
struct mac_table *mac_table_create(const struct mac_table_config *config);
void mac_table_destroy(struct mac_table *table);

/* Worker, for single addresses; mac_find.h has the same for bursts. Port index, or
 * MAC_TABLE_NO_PORT; mac is mac_to_u64(). */
uint16_t mac_table_lookup(const struct mac_table *table, uint64_t mac, uint16_t vlan);

/* Worker. Notes that the address was seen behind `port` at `now` (seconds, any epoch, monotonic).
 */
void mac_table_learn(struct mac_table *table, uint64_t mac, uint16_t vlan, uint16_t port,
		     uint32_t now);

/* Control. What was learned before the call is gone after it; age removes what was not seen for
 * more than max_age seconds. */
void mac_table_flush_port(struct mac_table *table, uint16_t port);
void mac_table_flush(struct mac_table *table);
void mac_table_age(struct mac_table *table, uint32_t now, uint32_t max_age);
void mac_table_get_stats(const struct mac_table *table, struct mac_table_stats *stats);

struct mac_table_entry {
	struct mac mac;
	uint16_t vlan;
	uint16_t port;
	uint32_t last_seen;
};

/* Control. Calls visit() for each entry; order is not defined. Workers go on learning meanwhile, so
 * an entry they move within the table may come twice or not at all. */
void mac_table_visit(const struct mac_table *table,
		     void (*visit)(void *context, const struct mac_table_entry *entry),
		     void *context);

#endif
