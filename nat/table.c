/* Linear hashing (table.h): when the table is fuller than its load allows, the next bucket in turn
 * is split in two. Called with the lock held of whatever owns the table. */
#include "nat/table.h"

#include <sys/mman.h>

static void table_split(struct nat_table *table);

void nat_table_init(struct nat_table *table, const struct nat_table_items *items, void *context,
		    uint32_t *buckets, uint32_t capacity, uint32_t load)
{
	table->items = items;
	table->context = context;
	table->buckets = buckets;
	table->capacity = capacity;
	table->size = 1;
	table->count = 0;
	table->load = load;
}

void nat_table_insert(struct nat_table *table, uint64_t hash, uint32_t item)
{
	uint32_t *bucket = &table->buckets[nat_table_bucket(table, hash)];

	*table->items->next(table->context, item) = *bucket;
	*bucket = item;
	table->count++;
	if (table->count / table->load > table->size && table->size < table->capacity)
		table_split(table);
}

void nat_table_remove(struct nat_table *table, uint64_t hash, uint32_t item)
{
	uint32_t *at = &table->buckets[nat_table_bucket(table, hash)];

	while (*at != item)
		at = table->items->next(table->context, *at);
	*at = *table->items->next(table->context, item);
	table->count--;
}

void *nat_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void nat_memory_free(void *memory, size_t bytes)
{
	if (memory != NULL)
		munmap(memory, bytes);
}

/* Bucket `size` comes into use: it gets, from the one that stood in for it, what is its own. */
static void table_split(struct nat_table *table)
{
	uint32_t made = table->size++;
	uint32_t *from = &table->buckets[made & ~(1u << (31 - __builtin_clz(made)))];
	uint32_t *to = &table->buckets[made];

	*to = 0;
	while (*from != 0) {
		uint32_t item = *from;
		uint32_t *next = table->items->next(table->context, item);

		if (nat_table_bucket(table, table->items->hash(table->context, item)) != made) {
			from = next;
			continue;
		}
		*from = *next;
		*next = *to;
		*to = item;
	}
}
