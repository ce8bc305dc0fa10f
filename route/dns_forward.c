/* Questions that others have to answer. Called by the DNS server, and by the event loop when a
 * resolver answers or its time is up; on the control thread.
 *
 * A lookup is one question with its clients. It goes to the resolver that answered last, then to
 * the others in turn; each has attempt_ms. What a resolver says that is no answer (SERVFAIL,
 * REFUSED) sends the lookup to the next one; when all have failed, or total_ms are over, the
 * clients get SERVFAIL. No callback to a client is made while a lookup is still in the tree. */
#include "route/dns_forward.h"
#include "route/dns_answer.h"
#include "route/dns_exchange.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>

/* One client's. */
struct dns_query {
	TAILQ_ENTRY(dns_query) of_lookup, of_all;
	struct dns_lookup *lookup;
	struct dns_question question;
	struct dns_client client;
};

TAILQ_HEAD(query_list, dns_query);

struct dns_lookup {
	ldns_rbnode_t node; /* first: the tree gives it back as such */
	struct dns_forward *forward;
	struct dns_key key;
	struct dns_question question; /* the first client's */
	struct query_list queries;
	struct dns_exchange *exchange; /* NULL: none has been reached */
	struct ip asked;	       /* the resolver of the exchange */
	uint32_t turn, failures;       /* resolvers gone through, and without success at once */
	enum dns_transport transport;
	enum dns_ask ask;
	uint16_t id;
	uint64_t attempt_ends, ends; /* ms */
};

struct dns_forward {
	struct dns_forward_setup setup;
	ldns_rbtree_t lookups; /* by key */
	struct query_list queries;
	uint32_t lookup_count, query_count;
	uint32_t first; /* the resolver that answered last */
	struct event *timer;
	uint64_t wakes; /* when the timer fires, ms; UINT64_MAX: it does not */
};

static void timer_fired(evutil_socket_t fd, short what, void *context)
{
	struct dns_forward *forward = context;

	forward->wakes = UINT64_MAX;
	dns_forward_tick(forward);
}

static uint64_t now_ms(const struct dns_forward *forward)
{
	return forward->setup.clock.now(forward->setup.clock.context);
}

struct dns_forward *dns_forward_create(const struct dns_forward_setup *setup)
{
	struct dns_forward *forward = calloc(1, sizeof(*forward));

	if (forward == NULL)
		return NULL;
	forward->setup = *setup;
	ldns_rbtree_init(&forward->lookups, dns_key_compare);
	TAILQ_INIT(&forward->queries);
	forward->wakes = UINT64_MAX;
	forward->timer = evtimer_new(setup->base, timer_fired, forward);
	if (forward->timer == NULL) {
		free(forward);
		return NULL;
	}
	return forward;
}

/* Out of the tree, its socket closed; its queries stay. */
static void lookup_detach(struct dns_lookup *lookup)
{
	struct dns_forward *forward = lookup->forward;

	ldns_rbtree_delete(&forward->lookups, &lookup->key);
	forward->lookup_count--;
	dns_exchange_destroy(lookup->exchange);
	lookup->exchange = NULL;
}

static void query_free(struct dns_forward *forward, struct dns_query *query)
{
	TAILQ_REMOVE(&query->lookup->queries, query, of_lookup);
	TAILQ_REMOVE(&forward->queries, query, of_all);
	forward->query_count--;
	free(query);
}

/* The end of a lookup: everyone gets the answer, or SERVFAIL when it is NULL. */
static void lookup_finish(struct dns_lookup *lookup, ldns_pkt *answer)
{
	struct dns_forward *forward = lookup->forward;
	struct dns_query *query;

	lookup_detach(lookup);
	/* A client's callback may cancel other queries: only the first is looked at each time. */
	while ((query = TAILQ_FIRST(&lookup->queries)) != NULL) {
		struct dns_question question = query->question;
		struct dns_client client = query->client;

		query_free(forward, query);
		if (answer == NULL)
			forward->setup.counters->failed++;
		dns_reply(forward->setup.replier, &question, &client, answer, LDNS_RCODE_SERVFAIL);
	}
	free(lookup);
}

void dns_forward_destroy(struct dns_forward *forward)
{
	struct dns_query *query;

	if (forward == NULL)
		return;
	while ((query = TAILQ_FIRST(&forward->queries)) != NULL) {
		struct dns_client client = query->client;

		dns_query_cancel(query);
		client.answer(client.context, NULL, 0);
	}
	event_free(forward->timer);
	free(forward);
}

/* Sees to it that the timer fires at `when` or before. */
static void wake_at(struct dns_forward *forward, uint64_t when)
{
	uint64_t now = now_ms(forward), wait = when > now ? when - now : 0;
	struct timeval time = { (time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000) };

	if (when >= forward->wakes)
		return;
	forward->wakes = when;
	evtimer_add(forward->timer, &time);
}

static void exchange_received(void *context, const uint8_t *message, size_t length);
static void exchange_failed(void *context, int error);

/* Puts the question to one resolver. */
static int lookup_send(struct dns_lookup *lookup, const struct dns_resolver *resolver)
{
	struct dns_forward *forward = lookup->forward;
	struct dns_exchange_events events = { exchange_received, exchange_failed, lookup };
	uint64_t now = now_ms(forward);
	uint8_t *wire;
	size_t length;
	int error;

	dns_exchange_destroy(lookup->exchange);
	lookup->exchange = NULL;
	if (getrandom(&lookup->id, sizeof(lookup->id), GRND_NONBLOCK) != sizeof(lookup->id))
		return -EAGAIN;
	wire = dns_question_write(&lookup->question, lookup->id, lookup->ask, &length);
	if (wire == NULL)
		return -ENOMEM;
	error = dns_exchange_start(forward->setup.base, resolver, lookup->transport, wire, length,
				   &events, &lookup->exchange);
	free(wire);
	if (error < 0)
		return error;
	lookup->asked = resolver->ip;
	lookup->attempt_ends = now + forward->setup.attempt_ms;
	if (lookup->attempt_ends > lookup->ends)
		lookup->attempt_ends = lookup->ends;
	wake_at(forward, lookup->attempt_ends);
	return 0;
}

/* Asks the resolver whose turn it is, or the next that can be reached. False when none can. */
static bool lookup_try(struct dns_lookup *lookup)
{
	struct dns_forward *forward = lookup->forward;
	uint32_t count = dns_resolvers_count(forward->setup.resolvers, now_ms(forward));

	for (; lookup->failures < count; lookup->failures++, lookup->turn++) {
		uint32_t index = (forward->first + lookup->turn) % count;

		if (lookup_send(lookup, dns_resolvers_get(forward->setup.resolvers, index)) == 0)
			return true;
		forward->setup.counters->upstream_errors++;
	}
	return false;
}

/* The present resolver is of no use: on to the next. */
static void lookup_next(struct dns_lookup *lookup)
{
	lookup->turn++;
	lookup->transport = DNS_UDP;
	lookup->ask = DNS_ASK_EDNS;
	if (!lookup_try(lookup))
		lookup_finish(lookup, NULL);
}

static void lookup_fail(struct dns_lookup *lookup)
{
	lookup->forward->setup.counters->upstream_errors++;
	lookup->failures++;
	lookup_next(lookup);
}

/* The same resolver once more, in another way. */
static void lookup_again(struct dns_lookup *lookup)
{
	if (!lookup_try(lookup))
		lookup_finish(lookup, NULL);
}

static bool has_tcp_client(const struct dns_lookup *lookup)
{
	const struct dns_query *query;

	TAILQ_FOREACH(query, &lookup->queries, of_lookup)
	{
		if (query->client.transport == DNS_TCP)
			return true;
	}
	return false;
}

/* A whole answer: kept, and given to all. */
static void lookup_answer(struct dns_lookup *lookup, const ldns_pkt *packet)
{
	struct dns_forward *forward = lookup->forward;
	uint32_t count = dns_resolvers_count(forward->setup.resolvers, now_ms(forward));
	uint32_t ttl;
	ldns_pkt *answer = dns_answer_filter(packet, &lookup->question, &ttl);

	if (count > 0)
		forward->first = (forward->first + lookup->turn) % count;
	if (answer != NULL && ldns_pkt_tc(packet))
		ldns_pkt_set_tc(answer, true);
	else if (answer != NULL)
		dns_cache_put(forward->setup.cache, &lookup->key, answer, ttl, now_ms(forward));
	lookup_finish(lookup, answer);
	ldns_pkt_free(answer);
}

static void exchange_received(void *context, const uint8_t *message, size_t length)
{
	struct dns_lookup *lookup = context;
	struct dns_counters *counters = lookup->forward->setup.counters;
	ldns_pkt *packet;
	int error = dns_answer_read(message, length, &lookup->question, lookup->id, &packet);

	if (error == -ENOENT) {
		/* Over UDP anybody may have sent that: the right one may still come. */
		counters->upstream_mismatched++;
		if (lookup->transport == DNS_TCP)
			lookup_fail(lookup);
		return;
	}
	if (error < 0) {
		counters->upstream_malformed++;
		lookup_fail(lookup);
		return;
	}
	switch (ldns_pkt_get_rcode(packet)) {
	case LDNS_RCODE_NOERROR:
	case LDNS_RCODE_NXDOMAIN:
		if (ldns_pkt_tc(packet) && lookup->transport == DNS_UDP && has_tcp_client(lookup)) {
			counters->upstream_tcp++;
			lookup->transport = DNS_TCP;
			lookup_again(lookup);
		} else {
			lookup_answer(lookup, packet);
		}
		break;
	case LDNS_RCODE_FORMERR:
	case LDNS_RCODE_NOTIMPL:
		if (lookup->ask == DNS_ASK_EDNS) { /* RFC 6891, 6.2.2 */
			lookup->ask = DNS_ASK_PLAIN;
			lookup_again(lookup);
			break;
		}
		/* fall through */
	default:
		lookup_fail(lookup);
	}
	ldns_pkt_free(packet);
}

static void exchange_failed(void *context, int error)
{
	lookup_fail(context);
}

static uint32_t queries_of(const struct dns_forward *forward, const struct ip *client)
{
	const struct dns_query *query;
	uint32_t count = 0;

	TAILQ_FOREACH(query, &forward->queries, of_all)
	count += ip_equal(&query->client.ip, client);
	return count;
}

/* A new lookup, already with a resolver; NULL: *rcode says why not. */
static struct dns_lookup *lookup_start(struct dns_forward *forward,
				       const struct dns_question *question,
				       const struct dns_key *key, const struct ip *client,
				       uint16_t *rcode)
{
	struct dns_counters *counters = forward->setup.counters;
	uint64_t now = now_ms(forward);
	uint32_t count = dns_resolvers_count(forward->setup.resolvers, now);
	struct dns_lookup *lookup;

	*rcode = LDNS_RCODE_SERVFAIL;
	if (count == 0) {
		counters->no_resolver++;
		return NULL;
	}
	/* It would be asked its own question. */
	if (ip_equal(&dns_resolvers_get(forward->setup.resolvers, forward->first % count)->ip,
		     client)) {
		*rcode = LDNS_RCODE_REFUSED;
		counters->looped++;
		return NULL;
	}
	if (forward->lookup_count >= forward->setup.lookups_max) {
		counters->limit_total++;
		return NULL;
	}
	lookup = calloc(1, sizeof(*lookup));
	if (lookup == NULL)
		return NULL;
	lookup->forward = forward;
	lookup->question = *question;
	lookup->key = *key;
	lookup->node.key = &lookup->key;
	TAILQ_INIT(&lookup->queries);
	lookup->transport = DNS_UDP;
	lookup->ask = DNS_ASK_EDNS;
	lookup->ends = now + forward->setup.total_ms;
	if (!lookup_try(lookup)) {
		counters->failed++;
		free(lookup);
		return NULL;
	}
	ldns_rbtree_insert(&forward->lookups, &lookup->node);
	forward->lookup_count++;
	counters->forwarded++;
	return lookup;
}

uint16_t dns_forward_ask(struct dns_forward *forward, const struct dns_question *question,
			 const struct dns_client *client, struct dns_query **query)
{
	struct dns_counters *counters = forward->setup.counters;
	uint16_t rcode = LDNS_RCODE_SERVFAIL;
	struct dns_lookup *lookup;
	struct dns_query *made;
	struct dns_key key;

	*query = NULL;
	if (forward->query_count >= forward->setup.queries_max) {
		counters->limit_total++;
		return rcode;
	}
	if (queries_of(forward, &client->ip) >= forward->setup.client_max) {
		counters->limit_client++;
		return rcode;
	}
	dns_key_make(question, &key);
	lookup = (struct dns_lookup *)ldns_rbtree_search(&forward->lookups, &key);
	if (lookup != NULL && ip_equal(&lookup->asked, &client->ip)) {
		counters->looped++;
		return LDNS_RCODE_REFUSED;
	}
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return rcode;
	if (lookup != NULL)
		counters->shared++;
	else
		lookup = lookup_start(forward, question, &key, &client->ip, &rcode);
	if (lookup == NULL) {
		free(made);
		return rcode;
	}
	made->lookup = lookup;
	made->question = *question;
	made->client = *client;
	TAILQ_INSERT_TAIL(&lookup->queries, made, of_lookup);
	TAILQ_INSERT_TAIL(&forward->queries, made, of_all);
	forward->query_count++;
	*query = made;
	return 0;
}

void dns_query_cancel(struct dns_query *query)
{
	struct dns_lookup *lookup;
	struct dns_forward *forward;

	if (query == NULL)
		return;
	lookup = query->lookup;
	forward = lookup->forward;
	query_free(forward, query);
	/* Without an exchange it is being finished, and freed there. */
	if (TAILQ_EMPTY(&lookup->queries) && lookup->exchange != NULL) {
		lookup_detach(lookup);
		free(lookup);
	}
}

/* The next lookup, in the tree's order, whose time is up. */
static struct dns_lookup *find_due(const struct dns_forward *forward, uint64_t now)
{
	struct dns_lookup *lookup;

	LDNS_RBTREE_FOR(lookup, struct dns_lookup *, &forward->lookups)
	{
		if (now >= lookup->attempt_ends)
			return lookup;
	}
	return NULL;
}

void dns_forward_tick(struct dns_forward *forward)
{
	uint64_t now = now_ms(forward), next = UINT64_MAX;
	struct dns_lookup *lookup;

	/* Each round ends one attempt or one lookup; a new attempt ends later than now. What
	 * clients do meanwhile may change the tree, so it is looked through from the start again.
	 */
	for (uint32_t i = forward->lookup_count; i > 0; i--) {
		lookup = find_due(forward, now);
		if (lookup == NULL)
			break;
		forward->setup.counters->upstream_timeouts++;
		if (now >= lookup->ends)
			lookup_finish(lookup, NULL);
		else
			lookup_next(lookup);
	}
	LDNS_RBTREE_FOR(lookup, struct dns_lookup *, &forward->lookups)
	{
		if (lookup->attempt_ends < next)
			next = lookup->attempt_ends;
	}
	if (next != UINT64_MAX)
		wake_at(forward, next);
}
