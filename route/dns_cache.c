/* Answers of resolvers, kept as long as their TTLs allow. Called by the DNS server and its
 * forwarder, on the control thread. A tree finds them: no name that a guest makes up can turn it
 * into a list, as it could a hash table. */
#include "route/dns_cache.h"
#include "route/dns_answer.h"

#include <stdlib.h>
#include <sys/queue.h>

struct entry {
	ldns_rbnode_t node; /* first: the tree gives it back as such */
	TAILQ_ENTRY(entry) by_use;
	struct dns_key key;
	uint64_t stored, expires; /* milliseconds */
	size_t length;
	uint8_t wire[];
};

struct dns_cache {
	ldns_rbtree_t tree;
	TAILQ_HEAD(, entry) by_use; /* the one longest unused first */
	uint32_t count, entries;
	size_t used, bytes;
	uint64_t *evicted;
};

struct dns_cache *dns_cache_create(uint32_t entries, size_t bytes, uint64_t *evicted)
{
	struct dns_cache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	ldns_rbtree_init(&cache->tree, dns_key_compare);
	TAILQ_INIT(&cache->by_use);
	cache->entries = entries;
	cache->bytes = bytes;
	cache->evicted = evicted;
	return cache;
}

static size_t entry_size(const struct entry *entry)
{
	return sizeof(*entry) + entry->length;
}

static void entry_remove(struct dns_cache *cache, struct entry *entry)
{
	ldns_rbtree_delete(&cache->tree, &entry->key);
	TAILQ_REMOVE(&cache->by_use, entry, by_use);
	cache->count--;
	cache->used -= entry_size(entry);
	free(entry);
}

void dns_cache_destroy(struct dns_cache *cache)
{
	if (cache == NULL)
		return;
	while (!TAILQ_EMPTY(&cache->by_use))
		entry_remove(cache, TAILQ_FIRST(&cache->by_use));
	free(cache);
}

static struct entry *find(struct dns_cache *cache, const struct dns_key *key)
{
	return (struct entry *)ldns_rbtree_search(&cache->tree, key);
}

static struct entry *entry_new(const struct dns_key *key, const uint8_t *wire, size_t length,
			       uint32_t ttl, uint64_t now)
{
	struct entry *entry = malloc(sizeof(*entry) + length);

	if (entry == NULL)
		return NULL;
	entry->key = *key;
	entry->node.key = &entry->key;
	entry->node.data = NULL;
	entry->stored = now;
	entry->expires = now + ttl * UINT64_C(1000);
	entry->length = length;
	memcpy(entry->wire, wire, length);
	return entry;
}

void dns_cache_put(struct dns_cache *cache, const struct dns_key *key, ldns_pkt *answer,
		   uint32_t ttl, uint64_t now)
{
	struct entry *entry = find(cache, key);
	uint8_t *wire = NULL;
	size_t length = 0;

	if (entry != NULL)
		entry_remove(cache, entry);
	if (ttl == 0 || cache->entries == 0 ||
	    ldns_pkt2wire(&wire, answer, &length) != LDNS_STATUS_OK)
		return;
	if (sizeof(*entry) + length <= cache->bytes)
		entry = entry_new(key, wire, length, ttl, now);
	else
		entry = NULL;
	free(wire);
	if (entry == NULL)
		return;
	while (cache->count >= cache->entries || cache->used + entry_size(entry) > cache->bytes) {
		entry_remove(cache, TAILQ_FIRST(&cache->by_use));
		++*cache->evicted;
	}
	ldns_rbtree_insert(&cache->tree, &entry->node);
	TAILQ_INSERT_TAIL(&cache->by_use, entry, by_use);
	cache->count++;
	cache->used += entry_size(entry);
}

ldns_pkt *dns_cache_get(struct dns_cache *cache, const struct dns_key *key, uint64_t now)
{
	struct entry *entry = find(cache, key);
	ldns_pkt *packet = NULL;

	if (entry == NULL)
		return NULL;
	if (now >= entry->expires) {
		entry_remove(cache, entry);
		return NULL;
	}
	TAILQ_REMOVE(&cache->by_use, entry, by_use);
	TAILQ_INSERT_TAIL(&cache->by_use, entry, by_use);
	if (ldns_wire2pkt(&packet, entry->wire, entry->length) != LDNS_STATUS_OK)
		return NULL;
	dns_answer_age(packet, (uint32_t)((now - entry->stored) / 1000));
	return packet;
}

uint32_t dns_cache_count(const struct dns_cache *cache)
{
	return cache->count;
}

size_t dns_cache_bytes(const struct dns_cache *cache)
{
	return cache->used;
}
