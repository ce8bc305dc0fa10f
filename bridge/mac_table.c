/* The MAC table: a hash table of cache-line buckets (mac_bucket.h) that is read without a lock.
 *
 * An address has two buckets it may stand in. It goes to its second only when its first is full,
 * and then the first one's overflow count says so: a reader looks at the second bucket only
 * where that count is not 0. When both are full, an entry of the first bucket that has room in its
 * own second bucket is moved there. Entries only ever move from first to second, and are written
 * there before they leave, so a reader (first bucket, then overflow count, then second) cannot miss
 * one that is on its way.
 *
 * Writers hold the lock, but for one store: last_seen is refreshed by compare-and-exchange.
 *
 * mac_table_lookup(), mac_table_learn() and mac_find.h: workers. The rest: control. */
#include "bridge/mac_table.h"

#include "bridge/mac_find.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUCKETS_MIN  16u
#define LOCK_SPINS   1024u
#define LOCK_BUCKETS 256u /* walked by control under one hold of the lock */

/* Which entries a walk removes. */
struct filter {
	bool (*takes)(const struct filter *filter, uint64_t value);
	uint16_t port;
	uint32_t now;
	uint32_t max_age;
};

static void refresh(struct entry *entry, uint64_t value, uint32_t now);
static bool refused(struct mac_table *table, uint16_t port, bool is_new);
static void insert(struct mac_table *table, const struct mac_place *place, uint64_t value);
static void remove_entry(struct mac_table *table, struct bucket *bucket, struct entry *entry);
static void lock(struct mac_table *table);
static void unlock(struct mac_table *table);

static uint64_t next_secret(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

struct mac_table *mac_table_create(const struct mac_table_config *config)
{
	size_t counters = config->port_count * sizeof(uint32_t);
	size_t size = (sizeof(struct mac_table) + counters + 63) & ~(size_t)63;
	uint64_t state = config->seed;
	struct mac_table *table = aligned_alloc(64, size);

	if (!table)
		return NULL;
	memset(table, 0, size);
	table->limit = config->limit;
	table->port_quota = config->port_quota;
	table->port_count = config->port_count;
	for (unsigned i = 0; i < 3; i++)
		table->secrets[i] = next_secret(&state);
	table->secrets[1] |= 1;
	table->secrets[2] |= 1;
	/* Half full at the limit: 32 bytes an entry. */
	table->bucket_count = (config->limit + 1) / 2;
	if (table->bucket_count < BUCKETS_MIN)
		table->bucket_count = BUCKETS_MIN;
	table->bytes = table->bucket_count * sizeof(struct bucket);
	/* Fresh pages: what no address has hashed to takes no memory. */
	table->buckets = mmap(NULL, table->bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (table->buckets == MAP_FAILED) {
		free(table);
		return NULL;
	}
	return table;
}

void mac_table_destroy(struct mac_table *table)
{
	if (!table)
		return;
	munmap(table->buckets, table->bytes);
	free(table);
}

uint16_t mac_table_lookup(const struct mac_table *table, uint64_t mac, uint16_t vlan)
{
	struct mac_place place = mac_place_of(table, key_of(mac, vlan));

	return mac_find_port(table, &place);
}

void mac_table_learn(struct mac_table *table, uint64_t mac, uint16_t vlan, uint16_t port,
		     uint32_t now)
{
	struct mac_place place = mac_place_of(table, key_of(mac, vlan));

	mac_find_learn(table, &place, port, now);
}

/* After the change: see mac_table_changes(). */
static void note_change(struct mac_table *table)
{
	atomic_fetch_add_explicit(&table->changes, 1, memory_order_release);
}

void mac_table_note(struct mac_table *table, const struct mac_place *place, uint16_t port,
		    uint32_t now)
{
	uint64_t value;
	struct entry *entry = mac_find(table, place, &value);

	if (port >= table->port_count)
		return;
	if (entry && value_port(value) == port) {
		refresh(entry, value, now);
		return;
	}
	if (refused(table, port, !entry))
		return;
	lock(table);
	/* Another worker may have been here since; from now on nobody else can. */
	entry = mac_find(table, place, &value);
	if (entry && value_port(value) == port) {
		refresh(entry, value, now);
	} else if (!refused(table, port, !entry)) {
		uint64_t wanted = value_of(port, place_tag(place), now);

		if (entry) {
			relaxed_add(&table->port_entries[value_port(value)], -1);
			relaxed_add(&table->port_entries[port], 1);
			/* A refresh that loses to this store fails its compare: the port differs.
			 */
			atomic_store_explicit(&entry->value, wanted, memory_order_release);
			relaxed_add(&table->moved, 1);
			note_change(table);
		} else {
			insert(table, place, wanted);
		}
	}
	unlock(table);
}

static uint32_t sweep_bucket(struct mac_table *table, uint32_t at, const struct filter *filter)
{
	uint32_t removed = 0;

	for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
		struct entry *entry = &table->buckets[at].entries[i];
		uint64_t value = relaxed_load(&entry->value);

		if (!(relaxed_load(&entry->key) & KEY_USED) || !filter->takes(filter, value))
			continue;
		remove_entry(table, &table->buckets[at], entry);
		removed++;
	}
	if (removed > 0)
		note_change(table);
	return removed;
}

/* Removes what the filter takes, a stretch of buckets at a time so that learning never waits
 * long. */
static uint32_t sweep(struct mac_table *table, const struct filter *filter)
{
	uint32_t removed = 0;

	if (relaxed_load(&table->entries) == 0)
		return 0;
	for (uint32_t at = 0; at < table->bucket_count;) {
		uint32_t left = table->bucket_count - at;

		lock(table);
		for (uint32_t n = left < LOCK_BUCKETS ? left : LOCK_BUCKETS; n > 0; n--)
			removed += sweep_bucket(table, at++, filter);
		unlock(table);
	}
	return removed;
}

static bool is_behind(const struct filter *filter, uint64_t value)
{
	return value_port(value) == filter->port;
}

static bool is_any(const struct filter *filter, uint64_t value)
{
	return true;
}

static bool is_old(const struct filter *filter, uint64_t value)
{
	/* A worker's clock may be a moment ahead of control's. */
	int32_t unseen = (int32_t)(filter->now - value_seen(value));

	return unseen > 0 && (uint32_t)unseen > filter->max_age;
}

/* While a walk goes on, learning may move an entry it has not come to into a bucket it has passed.
 * That happens to an entry once (to its second bucket), so a second walk finds it. */
static void sweep_all(struct mac_table *table, const struct filter *filter)
{
	sweep(table, filter);
	sweep(table, filter);
}

void mac_table_flush_port(struct mac_table *table, uint16_t port)
{
	if (port >= table->port_count || relaxed_load(&table->port_entries[port]) == 0)
		return;
	sweep_all(table, &(struct filter){ .takes = is_behind, .port = port });
}

void mac_table_flush(struct mac_table *table)
{
	sweep_all(table, &(struct filter){ .takes = is_any });
}

void mac_table_age(struct mac_table *table, uint32_t now, uint32_t max_age)
{
	struct filter filter = { .takes = is_old, .now = now, .max_age = max_age };

	relaxed_add(&table->aged, sweep(table, &filter));
}

void mac_table_get_stats(const struct mac_table *table, struct mac_table_stats *stats)
{
	stats->entries = relaxed_load(&table->entries);
	stats->limit = table->limit;
	stats->learned = relaxed_load(&table->learned);
	stats->moved = relaxed_load(&table->moved);
	stats->aged = relaxed_load(&table->aged);
	stats->refused_limit = relaxed_load(&table->refused_limit);
	stats->refused_quota = relaxed_load(&table->refused_quota);
	stats->bytes = table->bytes;
}

/* Loads an entry in use; false when it is free, or changed while it was read. */
static bool read_entry(const struct mac_table *table, const struct entry *entry,
		       struct mac_table_entry *out)
{
	uint64_t key = atomic_load_explicit(&entry->key, memory_order_acquire);
	uint64_t value = atomic_load_explicit(&entry->value, memory_order_acquire);
	uint64_t bare = key & ~KEY_OVERFLOW;

	struct mac_place place = mac_place_of(table, bare);

	if (!(key & KEY_USED) || place_tag(&place) != value_tag(value))
		return false;
	out->mac = mac_from_u64(key & 0xffffffffffffULL);
	out->vlan = (key >> 48) & 0xfffu;
	out->port = value_port(value);
	out->last_seen = value_seen(value);
	return true;
}

void mac_table_visit(const struct mac_table *table,
		     void (*visit)(void *context, const struct mac_table_entry *entry),
		     void *context)
{
	struct mac_table_entry entry;

	if (relaxed_load(&table->entries) == 0)
		return;
	for (uint32_t i = 0; i < table->bucket_count; i++) {
		for (unsigned j = 0; j < BUCKET_ENTRIES; j++) {
			if (read_entry(table, &table->buckets[i].entries[j], &entry))
				visit(context, &entry);
		}
	}
}

/* Notes that the entry was seen, unless somebody else changes it first. */
static void refresh(struct entry *entry, uint64_t value, uint32_t now)
{
	if ((int32_t)(now - value_seen(value)) <= 0)
		return;
	/* Relaxed: nothing hangs on the time. The entry may have been given to another address
	 * since: then the tag differs, and if by chance it does not, only a time was refreshed. */
	atomic_compare_exchange_strong_explicit(&entry->value, &value,
						value_of(value_port(value), value_tag(value), now),
						memory_order_relaxed, memory_order_relaxed);
}

/* Whether the port may not have one more entry, which is counted. Without the lock a guess that is
 * a moment old, with it exact. */
static bool refused(struct mac_table *table, uint16_t port, bool is_new)
{
	if (relaxed_load(&table->port_entries[port]) >= table->port_quota) {
		relaxed_add(&table->refused_quota, 1);
		return true;
	}
	if (is_new && relaxed_load(&table->entries) >= table->limit) {
		relaxed_add(&table->refused_limit, 1);
		return true;
	}
	return false;
}

/* Lock held, for what follows. */

/* Moves an entry of `bucket` to its second one. The free entry, or NULL when none can go. */
static struct entry *make_room(struct mac_table *table, struct bucket *bucket)
{
	for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
		struct entry *entry = &bucket->entries[i];
		uint64_t key = relaxed_load(&entry->key);
		struct mac_place place = mac_place_of(table, key & ~KEY_OVERFLOW);
		struct entry *to;

		if (place.first != bucket)
			continue;
		to = find_free(place_second(table, &place));
		if (!to)
			continue;
		put(to, place.key, relaxed_load(&entry->value));
		add_overflow(bucket, 1);
		take_out(entry);
		return entry;
	}
	return NULL;
}

static void insert(struct mac_table *table, const struct mac_place *place, uint64_t value)
{
	struct entry *entry = find_free(place->first);

	if (!entry)
		entry = make_room(table, place->first);
	if (!entry) {
		struct bucket *second = place_second(table, place);

		entry = find_free(second);
		if (!entry)
			entry = make_room(table, second);
		if (!entry) {
			relaxed_add(&table->refused_limit, 1);
			return;
		}
		/* Before the entry is there: readers only go and look in vain. */
		add_overflow(place->first, 1);
	}
	put(entry, place->key, value);
	relaxed_add(&table->entries, 1);
	relaxed_add(&table->port_entries[value_port(value)], 1);
	relaxed_add(&table->learned, 1);
}

static void remove_entry(struct mac_table *table, struct bucket *bucket, struct entry *entry)
{
	uint64_t key = relaxed_load(&entry->key) & ~KEY_OVERFLOW;
	uint64_t value = relaxed_load(&entry->value);
	struct mac_place place = mac_place_of(table, key);

	take_out(entry);
	if (place.first != bucket)
		add_overflow(place.first, -1);
	relaxed_add(&table->entries, -1);
	relaxed_add(&table->port_entries[value_port(value)], -1);
}

static void lock(struct mac_table *table)
{
	unsigned spins = 0;

	/* Acquire pairs with the release in unlock(). */
	while (atomic_exchange_explicit(&table->lock, true, memory_order_acquire)) {
		while (relaxed_load(&table->lock)) {
			if (++spins < LOCK_SPINS)
				__builtin_ia32_pause();
			else
				sched_yield();
		}
	}
}

static void unlock(struct mac_table *table)
{
	atomic_store_explicit(&table->lock, false, memory_order_release);
}
