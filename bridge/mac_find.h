/* Finding addresses in the MAC table, inline for bridge.c, which does it twice for each frame of a
 * burst: first the places of all, so that their buckets are on their way, then what stands there.
 * mac_table.c tells how the table works and has everything else; nobody but these two sees inside.
 *
 * Worker, or any thread that may use the table. */
#ifndef WEFT_BRIDGE_MAC_FIND_H
#define WEFT_BRIDGE_MAC_FIND_H

#include "bridge/mac_bucket.h"

struct mac_table {
	struct bucket *buckets;
	uint32_t bucket_count;
	uint32_t limit;
	uint32_t port_quota;
	uint32_t port_count;
	uint64_t secrets[3];
	size_t bytes;
	_Atomic uint32_t changes; /* see mac_table_changes() */
	_Atomic bool lock __attribute__((aligned(64)));
	/* Written under the lock; a worker's early refusal and control's statistics read them
	 * relaxed. */
	_Atomic uint32_t entries;
	_Atomic uint64_t learned;
	_Atomic uint64_t moved;
	_Atomic uint64_t aged;
	/* Counted without the lock, so that a flood of new addresses does not hold up others. */
	_Atomic uint64_t refused_limit __attribute__((aligned(64)));
	_Atomic uint64_t refused_quota;
	_Atomic uint32_t port_entries[]; /* as `entries` */
};

/* Where an address in a VLAN may stand in the table. */
struct mac_place {
	uint64_t key;
	uint64_t hash;
	struct bucket *first;
};

/* Worker. The long way of mac_find_learn(): whatever was found, the table is to say that the
 * address was seen behind `port` at `now`. */
void mac_table_note(struct mac_table *table, const struct mac_place *place, uint16_t port,
		    uint32_t now);

/* Multiplies to 128 bits and folds: each bit of the result depends on all of both. */
static inline uint64_t place_mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline struct mac_place mac_place_of(const struct mac_table *table, uint64_t key)
{
	uint64_t hash =
	    place_mix(place_mix(key ^ table->secrets[0], table->secrets[1]), table->secrets[2]);

	return (struct mac_place){
		.key = key,
		.hash = hash,
		.first = &table->buckets[((hash >> 32) * table->bucket_count) >> 32],
	};
}

static inline struct bucket *place_second(const struct mac_table *table,
					  const struct mac_place *place)
{
	struct bucket *second =
	    &table->buckets[((place->hash & 0xffffffffu) * table->bucket_count) >> 32];

	if (second != place->first)
		return second;
	return ++second < table->buckets + table->bucket_count ? second : table->buckets;
}

/* The low bits, which have least to say in the two above. */
static inline uint16_t place_tag(const struct mac_place *place)
{
	return (uint16_t)place->hash;
}

/* The same as mac_place_of(), and the memory that the calls below read is on its way. */
static inline struct mac_place mac_find_begin(const struct mac_table *table, uint64_t mac,
					      uint16_t vlan)
{
	struct mac_place place = mac_place_of(table, key_of(mac, vlan));

	__builtin_prefetch(place.first);
	return place;
}

/* The entry of place->key, and its value as it was when key and value belonged together; or
 * NULL. */
static inline struct entry *mac_find(const struct mac_table *table, const struct mac_place *place,
				     uint64_t *value)
{
	uint16_t tag = place_tag(place);
	struct entry *entry = find_in(place->first, place->key, tag, value);

	if (entry != NULL)
		return entry;
	/* After the bucket was searched: the count is raised before an entry leaves it. */
	if (!(atomic_load_explicit(&place->first->entries[0].key, memory_order_acquire) &
	      KEY_OVERFLOW))
		return NULL;
	return find_in(place_second(table, place), place->key, tag, value);
}

/* Port index, or MAC_TABLE_NO_PORT. */
static inline uint16_t mac_find_port(const struct mac_table *table, const struct mac_place *place)
{
	uint64_t value;

	return mac_find(table, place, &value) != NULL ? value_port(value) : MAC_TABLE_NO_PORT;
}

/* How often an entry was moved to another port, or removed: what was found before stands as long as
 * this is the same. Acquire: pairs with the release in mac_table.c, which comes after the change.
 */
static inline uint32_t mac_table_changes(const struct mac_table *table)
{
	return atomic_load_explicit(&table->changes, memory_order_acquire);
}

/* Notes that the address was seen behind `port` at `now`; writes only when that is news. True when
 * the table said so before, but for the time. */
static inline bool mac_find_learn(struct mac_table *table, const struct mac_place *place,
				  uint16_t port, uint32_t now)
{
	uint64_t value;
	bool known = mac_find(table, place, &value) != NULL && value_port(value) == port;

	if (!known || (int32_t)(now - value_seen(value)) > 0)
		mac_table_note(table, place, port, now);
	return known;
}

#endif
