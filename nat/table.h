/* A hash table of numbered items that grows one bucket at a time (linear hashing), so that no
 * insertion is ever slow and memory is touched only as the table fills. Items are chained through a
 * field of their own; 0 is no item. The caller locks. */
#ifndef WEFT_NAT_TABLE_H
#define WEFT_NAT_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* What the table must know of its items. */
struct nat_table_items {
	uint64_t (*hash)(void *context, uint32_t item);
	uint32_t *(*next)(void *context, uint32_t item); /* where the chain goes on */
};

struct nat_table {
	const struct nat_table_items *items;
	void *context;
	uint32_t *buckets; /* zeroed memory for `capacity` of them */
	uint32_t capacity;
	uint32_t size; /* buckets in use */
	uint32_t count;
	uint32_t load; /* items per bucket */
};

/* buckets: `capacity` zeroed words that the caller owns. */
void nat_table_init(struct nat_table *table, const struct nat_table_items *items, void *context,
		    uint32_t *buckets, uint32_t capacity, uint32_t load);
void nat_table_insert(struct nat_table *table, uint64_t hash, uint32_t item);
/* The item must be in the table. */
void nat_table_remove(struct nat_table *table, uint64_t hash, uint32_t item);

/* The bucket of a hash: its low bits, with one bit less for buckets that are not there yet. */
static inline uint32_t nat_table_bucket(const struct nat_table *table, uint64_t hash)
{
	uint32_t mask = UINT32_MAX >> __builtin_clz(table->size | 1);
	uint32_t bucket = (uint32_t)hash & mask;

	return bucket < table->size ? bucket : bucket & (mask >> 1);
}

/* The first item of the chain that holds those with this hash; the others follow by `next`. */
static inline uint32_t nat_table_first(const struct nat_table *table, uint64_t hash)
{
	return table->buckets[nat_table_bucket(table, hash)];
}

/* Zeroed memory of which only what is touched is taken; NULL when there is none.
 * nat_memory_free() takes NULL. */
void *nat_memory(size_t bytes);
void nat_memory_free(void *memory, size_t bytes);

#endif
