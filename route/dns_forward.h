/* Questions that others have to answer: put to resolvers, one after the other until one answers,
 * shared by all who ask the same meanwhile, and kept in the cache. Control thread, on the event
 * loop. */
#ifndef WEFT_ROUTE_DNS_FORWARD_H
#define WEFT_ROUTE_DNS_FORWARD_H

#include "route/dns_cache.h"
#include "route/dns_resolver.h"

struct dns_forward;

/* All but the numbers are the server's and outlive the forwarder. */
struct dns_forward_setup {
	struct event_base *base;
	struct dns_resolvers *resolvers;
	struct dns_cache *cache;
	struct dns_replier *replier;
	struct dns_counters *counters;
	struct dns_clock clock;
	uint32_t attempt_ms, total_ms;
	uint32_t lookups_max, queries_max, client_max;
};

/* NULL when memory is short. */
struct dns_forward *dns_forward_create(const struct dns_forward_setup *setup);
/* All queries get no answer. */
void dns_forward_destroy(struct dns_forward *forward);

/* 0: *query waits for the answer, which goes to `client` (copied). Else the response code that it
 * deserves at once, counted, and *query is NULL. */
uint16_t dns_forward_ask(struct dns_forward *forward, const struct dns_question *question,
			 const struct dns_client *client, struct dns_query **query);

/* What its clock says is due; its own timer calls it. */
void dns_forward_tick(struct dns_forward *forward);

#endif
