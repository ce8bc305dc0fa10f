/* The memory of the neighbour table (neighbour.h): a hash table of entries that never move.
 *
 * Workers read while control writes. An entry that becomes another one has an odd sequence number
 * meanwhile, and a changed one after, so a reader that saw it half knows. One that strays into
 * another bucket, as its entry moved there, finds nothing and asks control: no harm. Its way is
 * bounded by LOOKUP_STEPS. Everything but neighbour_lookup() runs on control. */
#include "route/neighbour_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define LOOKUP_STEPS   64u
#define EVICT_STEPS    8u
#define MAC_BITS       48
#define MAC_MASK       ((1ull << MAC_BITS) - 1)
#define STALE_GRID     NEIGHBOUR_DELAY_MS
#define REACHABLE_GRID 1000u

static uint64_t ip_word(const struct ip *ip, unsigned i)
{
	uint64_t word;

	memcpy(&word, ip->bytes + 8 * i, sizeof(word));
	return word;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ (hash >> 32);
}

static uint32_t bucket_of(const struct neighbour_table *table, uint16_t leg, const struct ip *ip)
{
	uint64_t hash = mix(mix(mix(table->seed, ip_word(ip, 0)), ip_word(ip, 1)), leg);

	return (uint32_t)(hash ^ (hash >> 29)) & table->bucket_mask;
}

bool neighbour_lookup(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
		      struct mac *mac)
{
	uint64_t high = ip_word(ip, 0), low = ip_word(ip, 1);
	/* acquire: pairs with the release in neighbour_new(), as does each of `next`. */
	uint32_t at =
	    atomic_load_explicit(&table->buckets[bucket_of(table, leg, ip)], memory_order_acquire);

	for (uint32_t steps = 0; at != 0 && steps < LOOKUP_STEPS; steps++) {
		struct neighbour_entry *entry = &table->entries[at - 1];
		/* acquire: pairs with the last release of entry_write(). */
		uint32_t before = atomic_load_explicit(&entry->sequence, memory_order_acquire);
		/* acquire: pairs with entry_write(), so that with a new value comes its odd
		 * sequence number. */
		bool same = atomic_load_explicit(&entry->ip[0], memory_order_acquire) == high &&
			    atomic_load_explicit(&entry->ip[1], memory_order_acquire) == low;
		uint64_t link = atomic_load_explicit(&entry->link, memory_order_acquire);

		at = atomic_load_explicit(&entry->next, memory_order_acquire);
		if (!same || link >> MAC_BITS != leg)
			continue;
		/* relaxed: the acquires before keep it behind them. */
		if ((before & 1) != 0 ||
		    atomic_load_explicit(&entry->sequence, memory_order_relaxed) != before ||
		    (link & MAC_MASK) == 0)
			return false;
		*mac = mac_from_u64(link & MAC_MASK);
		/* relaxed: a hint for control; written once, so that the line stays shared. */
		if (atomic_load_explicit(&entry->used, memory_order_relaxed) == 0)
			atomic_store_explicit(&entry->used, 1, memory_order_relaxed);
		return true;
	}
	return false;
}

/* The entry becomes that of `ip` on `leg`, without a MAC. */
static void entry_write(struct neighbour_entry *entry, uint16_t leg, const struct ip *ip)
{
	uint32_t sequence = atomic_load_explicit(&entry->sequence, memory_order_relaxed);

	/* release, each: who sees the value sees the odd number, too (neighbour_lookup()). */
	atomic_store_explicit(&entry->sequence, sequence + 1, memory_order_relaxed);
	atomic_store_explicit(&entry->ip[0], ip_word(ip, 0), memory_order_release);
	atomic_store_explicit(&entry->ip[1], ip_word(ip, 1), memory_order_release);
	atomic_store_explicit(&entry->link, (uint64_t)leg << MAC_BITS, memory_order_release);
	atomic_store_explicit(&entry->sequence, sequence + 2, memory_order_release);
}

uint32_t neighbour_find(const struct neighbour_table *table, uint16_t leg, const struct ip *ip)
{
	uint32_t at =
	    atomic_load_explicit(&table->buckets[bucket_of(table, leg, ip)], memory_order_relaxed);

	while (at != 0) {
		struct neighbour_entry *entry = &table->entries[at - 1];
		struct ip its = neighbour_ip(table, at - 1);

		if (ip_equal(&its, ip) && (at - 1) / table->leg_limit == leg)
			return at - 1;
		at = atomic_load_explicit(&entry->next, memory_order_relaxed);
	}
	return NEIGHBOUR_NONE;
}

struct ip neighbour_ip(const struct neighbour_table *table, uint32_t index)
{
	struct ip ip;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t word =
		    atomic_load_explicit(&table->entries[index].ip[i], memory_order_relaxed);

		memcpy(ip.bytes + 8 * i, &word, sizeof(word));
	}
	return ip;
}

struct mac neighbour_mac(const struct neighbour_table *table, uint32_t index)
{
	return mac_from_u64(
	    atomic_load_explicit(&table->entries[index].link, memory_order_relaxed) & MAC_MASK);
}

void neighbour_set_mac(struct neighbour_table *table, uint32_t index, const struct mac *mac)
{
	uint64_t link = (uint64_t)(index / table->leg_limit) << MAC_BITS | mac_to_u64(mac->bytes);
	struct neighbour_entry *entry = &table->entries[index];

	if (atomic_load_explicit(&entry->link, memory_order_relaxed) == link)
		return;
	/* release: pairs with neighbour_lookup(); one store, so no sequence is needed. */
	atomic_store_explicit(&entry->link, link, memory_order_release);
	table->changes++;
}

struct neighbour_leg *neighbour_leg_of(const struct neighbour_table *table, uint32_t index)
{
	return &table->legs[index / table->leg_limit];
}

struct neighbour_leg *neighbour_leg_at(const struct neighbour_table *table, uint16_t leg)
{
	return leg < table->leg_count && table->legs[leg].set ? &table->legs[leg] : NULL;
}

bool neighbour_mac_ok(const struct neighbour_leg *leg, const struct mac *mac)
{
	return !mac_is_multicast(mac->bytes) && !mac_is_zero(mac->bytes) &&
	       memcmp(mac, &leg->leg.mac, sizeof(*mac)) != 0;
}

/* When an entry that enters `state` now is looked at again. Grids let many share one timer. */
static uint64_t due_of(enum neighbour_state state, uint64_t now)
{
	switch (state) {
	case NEIGHBOUR_REACHABLE:
		return (now + NEIGHBOUR_REACHABLE_MS + REACHABLE_GRID - 1) / REACHABLE_GRID *
		       REACHABLE_GRID;
	case NEIGHBOUR_STALE:
		return (now / STALE_GRID + 1) * STALE_GRID;
	case NEIGHBOUR_STATIC:
		return UINT64_MAX;
	default:
		return now + NEIGHBOUR_RETRANSMIT_MS;
	}
}

void neighbour_set_state(struct neighbour_table *table, uint32_t index, enum neighbour_state state,
			 uint64_t now)
{
	struct neighbour_entry *entry = &table->entries[index];
	struct neighbour_leg *leg = neighbour_leg_of(table, index);

	TAILQ_REMOVE(&leg->states[entry->state], &table->control[index], link);
	TAILQ_INSERT_TAIL(&leg->states[state], &table->control[index], link);
	if (entry->state != state)
		entry->tries = 0;
	entry->state = (uint8_t)state;
	entry->due = due_of(state, now);
}

/* Where the way to the entry begins: its bucket, or the entry before it. */
static _Atomic uint32_t *link_to(struct neighbour_table *table, uint32_t index)
{
	struct ip ip = neighbour_ip(table, index);
	_Atomic uint32_t *at =
	    &table->buckets[bucket_of(table, (uint16_t)(index / table->leg_limit), &ip)];
	uint32_t next;

	while ((next = atomic_load_explicit(at, memory_order_relaxed)) != index + 1)
		at = &table->entries[next - 1].next;
	return at;
}

void neighbour_free(struct neighbour_table *table, uint32_t index)
{
	static const struct ip none;
	struct neighbour_entry *entry = &table->entries[index];
	struct neighbour_leg *leg = neighbour_leg_of(table, index);

	neighbour_abandon(table, index);
	/* release: as in neighbour_new(). */
	atomic_store_explicit(link_to(table, index),
			      atomic_load_explicit(&entry->next, memory_order_relaxed),
			      memory_order_release);
	if (entry->state != NEIGHBOUR_INCOMPLETE)
		table->changes++;
	entry_write(entry, 0, &none);
	TAILQ_REMOVE(&leg->states[entry->state], &table->control[index], link);
	TAILQ_INSERT_HEAD(&leg->free, &table->control[index], link);
}

/* Frees the entry of a full leg that is missed least: one that never answered, else a stale one
 * that nobody uses. Those found in use are asked, as they would be soon. */
static bool make_room(struct neighbour_table *table, struct neighbour_leg *leg, uint64_t now)
{
	struct neighbour_control *victim = TAILQ_FIRST(&leg->states[NEIGHBOUR_INCOMPLETE]);

	for (uint32_t i = 0; victim == NULL && i < EVICT_STEPS; i++) {
		struct neighbour_control *stale = TAILQ_FIRST(&leg->states[NEIGHBOUR_STALE]);
		struct neighbour_entry *entry;

		if (stale == NULL)
			break;
		entry = &table->entries[stale - table->control];
		if (atomic_exchange_explicit(&entry->used, 0, memory_order_relaxed) == 0) {
			victim = stale;
			break;
		}
		entry->used_at = now;
		neighbour_set_state(table, (uint32_t)(stale - table->control), NEIGHBOUR_PROBE,
				    now);
	}
	if (victim == NULL)
		return false;
	table->counters.evicted++;
	neighbour_free(table, (uint32_t)(victim - table->control));
	return true;
}

uint32_t neighbour_new(struct neighbour_table *table, struct neighbour_leg *leg,
		       const struct ip *ip, uint64_t now)
{
	_Atomic uint32_t *bucket = &table->buckets[bucket_of(table, leg->leg.index, ip)];
	struct neighbour_control *control;
	struct neighbour_entry *entry;
	uint32_t index;

	if (TAILQ_EMPTY(&leg->free) && !make_room(table, leg, now)) {
		table->counters.full++;
		return NEIGHBOUR_NONE;
	}
	control = TAILQ_FIRST(&leg->free);
	index = (uint32_t)(control - table->control);
	entry = &table->entries[index];
	TAILQ_REMOVE(&leg->free, control, link);
	TAILQ_INSERT_TAIL(&leg->states[NEIGHBOUR_INCOMPLETE], control, link);
	entry->state = NEIGHBOUR_INCOMPLETE;
	entry->tries = 0;
	entry->due = due_of(NEIGHBOUR_INCOMPLETE, now);
	entry->used_at = now;
	atomic_store_explicit(&entry->used, 0, memory_order_relaxed);
	entry_write(entry, leg->leg.index, ip);
	/* release: what a worker reaches has been written. */
	atomic_store_explicit(&entry->next, atomic_load_explicit(bucket, memory_order_relaxed),
			      memory_order_release);
	atomic_store_explicit(bucket, index + 1, memory_order_release);
	return index;
}

static void leg_init(struct neighbour_table *table, uint16_t number)
{
	struct neighbour_leg *leg = &table->legs[number];

	for (unsigned state = 0; state < NEIGHBOUR_STATES; state++)
		TAILQ_INIT(&leg->states[state]);
	TAILQ_INIT(&leg->free);
	TAILQ_INIT(&leg->pending);
	leg->announce_due = UINT64_MAX;
	for (uint32_t i = 0; i < table->leg_limit; i++) {
		struct neighbour_control *control = &table->control[number * table->leg_limit + i];

		TAILQ_INIT(&control->pending);
		TAILQ_INSERT_TAIL(&leg->free, control, link);
	}
}

struct neighbour_table *neighbour_create(uint16_t legs, uint32_t leg_limit,
					 struct neighbour_events events)
{
	struct neighbour_table *table = calloc(1, sizeof(*table));
	size_t count = (size_t)legs * leg_limit, buckets = 1;

	if (table == NULL || legs == 0 || leg_limit == 0 || count > UINT32_MAX / 2)
		goto fail;
	while (buckets < count)
		buckets *= 2;
	table->events = events;
	table->leg_count = legs;
	table->leg_limit = leg_limit;
	table->bucket_mask = (uint32_t)buckets - 1;
	if (getrandom(&table->seed, sizeof(table->seed), 0) != sizeof(table->seed))
		goto fail;
	table->entries = aligned_alloc(64, count * sizeof(*table->entries));
	table->buckets = calloc(buckets, sizeof(*table->buckets));
	table->control = calloc(count, sizeof(*table->control));
	table->legs = calloc(legs, sizeof(*table->legs));
	table->frame = malloc(NEIGHBOUR_FRAME_MAX);
	if (table->entries == NULL || table->buckets == NULL || table->control == NULL ||
	    table->legs == NULL || table->frame == NULL)
		goto fail;
	memset(table->entries, 0, count * sizeof(*table->entries));
	for (uint16_t i = 0; i < legs; i++)
		leg_init(table, i);
	return table;
fail:
	neighbour_destroy(table);
	return NULL;
}

void neighbour_destroy(struct neighbour_table *table)
{
	if (table == NULL)
		return;
	for (uint32_t i = 0; table->legs != NULL && i < table->leg_count; i++) {
		struct neighbour_pending *pending;

		while ((pending = TAILQ_FIRST(&table->legs[i].pending)) != NULL) {
			TAILQ_REMOVE(&table->legs[i].pending, pending, of_leg);
			free(pending);
		}
	}
	free(table->entries);
	free(table->buckets);
	free(table->control);
	free(table->legs);
	free(table->frame);
	free(table);
}

void neighbour_visit(const struct neighbour_table *table,
		     void (*visit)(void *context, const struct neighbour *neighbour), void *context)
{
	for (uint32_t leg = 0; leg < table->leg_count; leg++) {
		for (unsigned state = 0; state < NEIGHBOUR_STATES; state++) {
			struct neighbour_control *control;

			TAILQ_FOREACH(control, &table->legs[leg].states[state], link)
			{
				uint32_t index = (uint32_t)(control - table->control);
				struct neighbour neighbour = {
					.leg = (uint16_t)leg,
					.ip = neighbour_ip(table, index),
					.mac = neighbour_mac(table, index),
					.state = (enum neighbour_state)state,
				};

				visit(context, &neighbour);
			}
		}
	}
}
