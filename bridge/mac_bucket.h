/* One bucket of the MAC table: a cache line of four entries of two words, and how it is read
 * without a lock while a writer changes it. Part of the MAC table (mac_find.h, mac_table.c), and of
 * nothing else.
 *
 *   key    bit 63 in use | 62..60 overflow (first entry only) | 59..48 VLAN | 47..0 address
 *   value  63..48 port | 47..32 tag | 31..0 last seen
 *
 * A reader loads key, value and key again. An entry whose key is the same both times may still have
 * been removed, given to another address and given back in between, so the value carries a tag (a
 * hash of its address), which the reader compares too. */
#ifndef WEFT_BRIDGE_MAC_BUCKET_H
#define WEFT_BRIDGE_MAC_BUCKET_H

#include "bridge/mac_table.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BUCKET_ENTRIES 4u

#define KEY_USED	   (1ULL << 63)
#define KEY_OVERFLOW_SHIFT 60
#define KEY_OVERFLOW_MAX   7ULL /* stays there: it is not known any more when it reaches 0 */
#define KEY_OVERFLOW	   (KEY_OVERFLOW_MAX << KEY_OVERFLOW_SHIFT)

#define relaxed_load(at)   atomic_load_explicit(at, memory_order_relaxed)
#define relaxed_add(at, n) atomic_fetch_add_explicit(at, n, memory_order_relaxed)

struct entry {
	_Atomic uint64_t key;
	_Atomic uint64_t value;
};

struct bucket {
	struct entry entries[BUCKET_ENTRIES];
} __attribute__((aligned(64)));

static inline uint64_t key_of(uint64_t mac, uint16_t vlan)
{
	return KEY_USED | ((uint64_t)(vlan & 0xfffu) << 48) | (mac & 0xffffffffffffULL);
}

static inline uint64_t value_of(uint16_t port, uint16_t tag, uint32_t seen)
{
	return ((uint64_t)port << 48) | ((uint64_t)tag << 32) | seen;
}

static inline uint16_t value_port(uint64_t value)
{
	return (uint16_t)(value >> 48);
}

static inline uint16_t value_tag(uint64_t value)
{
	return (uint16_t)(value >> 32);
}

static inline uint32_t value_seen(uint64_t value)
{
	return (uint32_t)value;
}

/* Where in this bucket `key` stands, or BUCKET_ENTRIES. Where that is is anybody's guess, so all
 * four are compared at once, without a branch that could be guessed wrongly. Whoever goes there
 * looks again; what is read afterwards is read after this, as with an acquire: pairs with the
 * release of a key in put() (its value is there) and in take_out() (an entry that left went to its
 * second bucket before). */
static inline unsigned find_key(const struct bucket *bucket, uint64_t key)
{
/* The thread sanitizer would not know these for atomic loads; x86 reads aligned words whole, and in
 * order. */
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
	const __m128i *entries = (const __m128i *)(const void *)bucket->entries;
	__m128i wanted = _mm_set1_epi64x((int64_t)key);
	__m128i overflow = _mm_set1_epi64x((int64_t)KEY_OVERFLOW);
	__m128i low = _mm_unpacklo_epi64(_mm_load_si128(entries), _mm_load_si128(entries + 1));
	__m128i high = _mm_unpacklo_epi64(_mm_load_si128(entries + 2), _mm_load_si128(entries + 3));
	unsigned same; /* four bits an entry, two for each half of its key */

	low = _mm_cmpeq_epi32(_mm_andnot_si128(overflow, low), wanted);
	high = _mm_cmpeq_epi32(_mm_andnot_si128(overflow, high), wanted);
	same = (unsigned)_mm_movemask_epi8(_mm_packs_epi32(low, high));
	atomic_signal_fence(memory_order_acquire);
	same &= same >> 2 & 0x1111;
	return same != 0 ? (unsigned)__builtin_ctz(same) / 4 : BUCKET_ENTRIES;
#else
	for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
		uint64_t there =
		    atomic_load_explicit(&bucket->entries[i].key, memory_order_acquire);

		if ((there & ~KEY_OVERFLOW) == key)
			return i;
	}
	return BUCKET_ENTRIES;
#endif
}

/* Any thread. The entry of `key` in this bucket, and its value, which carries `tag`; or NULL. */
static inline struct entry *find_in(struct bucket *bucket, uint64_t key, uint16_t tag,
				    uint64_t *value)
{
	unsigned place = find_key(bucket, key);
	struct entry *entry = &bucket->entries[place];
	uint64_t there;

	if (place == BUCKET_ENTRIES)
		return NULL;
	/* Acquire: pairs with the release of a later owner's value in put(), whose key
	 * then shows in the load below. */
	*value = atomic_load_explicit(&entry->value, memory_order_acquire);
	there = relaxed_load(&entry->key);
	return (there & ~KEY_OVERFLOW) == key && value_tag(*value) == tag ? entry : NULL;
}

/* The rest: under the table's lock. */

static inline struct entry *find_free(struct bucket *bucket)
{
	for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
		struct entry *entry = &bucket->entries[i];

		if (!(relaxed_load(&entry->key) & KEY_USED))
			return entry;
	}
	return NULL;
}

static inline void add_overflow(struct bucket *bucket, int change)
{
	_Atomic uint64_t *key = &bucket->entries[0].key;
	uint64_t old = relaxed_load(key);
	uint64_t count = (old & KEY_OVERFLOW) >> KEY_OVERFLOW_SHIFT;

	if (count == KEY_OVERFLOW_MAX)
		return;
	count = change > 0 ? count + 1 : count - 1;
	/* Release: pairs with the load in find(), which then sees the entry in its second
	 * bucket. */
	atomic_store_explicit(key, (old & ~KEY_OVERFLOW) | (count << KEY_OVERFLOW_SHIFT),
			      memory_order_release);
}

static inline void put(struct entry *entry, uint64_t key, uint64_t value)
{
	uint64_t overflow = relaxed_load(&entry->key) & KEY_OVERFLOW;

	atomic_store_explicit(&entry->value, value, memory_order_release);
	atomic_store_explicit(&entry->key, key | overflow, memory_order_release);
}

static inline void take_out(struct entry *entry)
{
	uint64_t overflow = relaxed_load(&entry->key) & KEY_OVERFLOW;

	atomic_store_explicit(&entry->key, overflow, memory_order_release);
}

#endif
