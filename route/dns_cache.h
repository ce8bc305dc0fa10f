/* Answers of resolvers, kept as long as their TTLs allow (RFC 1035, 7.4; RFC 2308, 5). Whole
 * answers by question, so that no question can leave anything behind for another. Bounded by count
 * and bytes: the least recently used goes first. Control thread; time is the caller's. */
#ifndef WEFT_ROUTE_DNS_CACHE_H
#define WEFT_ROUTE_DNS_CACHE_H

#include "route/dns_message.h"

struct dns_cache;

/* At most `entries` answers (0: none) and `bytes` with all that they need. *evicted counts what had
 * to go before its time. NULL when memory is short. */
struct dns_cache *dns_cache_create(uint32_t entries, size_t bytes, uint64_t *evicted);
void dns_cache_destroy(struct dns_cache *cache);

/* Copies an answer for `ttl` seconds (0: not at all); replaces the one that was there. Short of
 * memory it is not kept. `now` is milliseconds. */
void dns_cache_put(struct dns_cache *cache, const struct dns_key *key, ldns_pkt *answer,
		   uint32_t ttl, uint64_t now);

/* The answer, the caller's, with its TTLs counted down; NULL when it is not there. */
ldns_pkt *dns_cache_get(struct dns_cache *cache, const struct dns_key *key, uint64_t now);

uint32_t dns_cache_count(const struct dns_cache *cache);
size_t dns_cache_bytes(const struct dns_cache *cache);

#endif
