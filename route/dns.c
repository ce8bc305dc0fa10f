/* The resolver that guests of one network ask: what becomes of a query. Called by the owner of the
 * packets, on the control thread. */
#include "route/dns.h"
#include "route/dns_cache.h"
#include "route/dns_forward.h"
#include "route/dns_local.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define CACHE_BYTES_PER_ANSWER 1024u
/* Three resolvers may be dead; and a client that waits for 5 s, as most do, hears of failure. */
#define ATTEMPT_MS 1500u
#define TOTAL_MS   4500u

struct dns_server {
	bool no_forward;
	struct dns_replier replier;
	struct dns_counters counters;
	struct dns_clock clock;
	struct dns_local *local;
	struct dns_cache *cache;
	struct dns_resolvers *resolvers;
	struct dns_forward *forward;
	uint32_t gateway_count; /* addresses in the network's prefixes, always our own */
	struct ip *gateways;
};

static uint64_t boottime_ms(void *context)
{
	struct timespec time;

	clock_gettime(CLOCK_BOOTTIME, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

struct dns_clock dns_clock_or_default(const struct dns_clock *clock)
{
	if (clock->now != NULL)
		return *clock;
	return (struct dns_clock){ boottime_ms, NULL };
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
	return value != 0 ? value : standard;
}

static struct dns_forward *create_forward(struct dns_server *server, struct event_base *base,
					  const struct dns_options *options)
{
	struct dns_forward_setup setup = {
		.base = base,
		.resolvers = server->resolvers,
		.cache = server->cache,
		.replier = &server->replier,
		.counters = &server->counters,
		.clock = server->clock,
		.attempt_ms = or_default(options->attempt_ms, ATTEMPT_MS),
		.total_ms = or_default(options->total_ms, TOTAL_MS),
		.lookups_max = or_default(options->lookups_max, 128),
		.queries_max = or_default(options->queries_max, 512),
		.client_max = or_default(options->client_max, 100),
	};

	return dns_forward_create(&setup);
}

struct dns_server *dns_server_create(const struct dns_config *config, struct event_base *base,
				     const struct dns_names *names,
				     const struct dns_options *options)
{
	static const struct dns_options standard;
	struct dns_server *server = calloc(1, sizeof(*server));
	const char *path;
	size_t bytes;

	if (server == NULL)
		return NULL;
	if (options == NULL)
		options = &standard;
	path = options->resolv_conf != NULL ? options->resolv_conf : "/etc/resolv.conf";
	bytes = options->cache_bytes != 0 ? options->cache_bytes
					  : (size_t)config->cache_size * CACHE_BYTES_PER_ANSWER;
	server->no_forward = config->no_forward;
	server->clock = dns_clock_or_default(&options->clock);
	server->replier.truncated = &server->counters.truncated;
	server->replier.recursion = !config->no_forward;
	server->replier.udp_size = (uint16_t)or_default(options->udp_size, DNS_UDP_SIZE);
	server->local = dns_local_create(config, names, options->networks, options->network_count);
	server->cache =
	    dns_cache_create(config->cache_size, bytes, &server->counters.cache_evicted);
	server->resolvers = dns_resolvers_create(&config->forwarders, path,
						 (uint16_t)or_default(options->port, 53));
	server->gateways = calloc((size_t)options->network_count + 1, sizeof(*server->gateways));
	if (server->local == NULL || server->cache == NULL || server->resolvers == NULL ||
	    server->gateways == NULL)
		goto fail;
	for (uint32_t i = 0; i < options->network_count; i++)
		server->gateways[server->gateway_count++] = options->networks[i].ip;
	server->forward = create_forward(server, base, options);
	if (server->forward == NULL || dns_server_set_own(server, NULL, 0) < 0)
		goto fail;
	return server;
fail:
	dns_server_destroy(server);
	return NULL;
}

void dns_server_destroy(struct dns_server *server)
{
	if (server == NULL)
		return;
	dns_forward_destroy(server->forward);
	dns_resolvers_destroy(server->resolvers);
	dns_cache_destroy(server->cache);
	dns_local_destroy(server->local);
	free(server->gateways);
	free(server);
}

int dns_server_set_own(struct dns_server *server, const struct ip *ips, uint32_t count)
{
	uint32_t total = server->gateway_count + count;
	struct ip *all = calloc((size_t)total + 1, sizeof(*all));
	int error;

	if (all == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < total; i++)
		all[i] = i < server->gateway_count ? server->gateways[i]
						   : ips[i - server->gateway_count];
	error = dns_resolvers_set_own(server->resolvers, all, total);
	free(all);
	return error;
}

/* Counts what is wrong with a query and answers it, if at all. */
static void answer_bad(struct dns_server *server, const struct dns_question *question,
		       const struct dns_client *client, int verdict)
{
	if (verdict < 0) {
		server->counters.ignored++;
		client->answer(client->context, NULL, 0);
		return;
	}
	if (verdict == LDNS_RCODE_FORMERR)
		server->counters.malformed++;
	else if (verdict == LDNS_RCODE_REFUSED)
		server->counters.refused++;
	else
		server->counters.unsupported++;
	dns_reply(&server->replier, question, client, NULL, (uint16_t)verdict);
}

/* From what we have ourselves; false when others would have to be asked. */
static bool answer_at_once(struct dns_server *server, const struct dns_question *question,
			   const struct dns_client *client)
{
	ldns_pkt *packet = NULL;
	enum dns_local_verdict verdict = dns_local_answer(server->local, question, &packet);
	struct dns_key key;

	if (verdict == DNS_LOCAL_FOREIGN && !server->no_forward) {
		dns_key_make(question, &key);
		packet =
		    dns_cache_get(server->cache, &key, server->clock.now(server->clock.context));
	}
	if (packet == NULL && verdict != DNS_LOCAL_FAILED)
		return false;
	if (verdict == DNS_LOCAL_FOREIGN)
		server->counters.cached++;
	else
		server->counters.own++;
	dns_reply(&server->replier, question, client, packet, LDNS_RCODE_SERVFAIL);
	ldns_pkt_free(packet);
	return true;
}

struct dns_query *dns_server_query(struct dns_server *server, const uint8_t *message, size_t length,
				   const struct dns_client *client)
{
	struct dns_query *query = NULL;
	struct dns_question question;
	int verdict;
	uint16_t rcode;

	server->counters.queries++;
	verdict = dns_question_parse(message, length, &question);
	if (verdict != LDNS_RCODE_NOERROR) {
		answer_bad(server, &question, client, verdict);
		return NULL;
	}
	if (answer_at_once(server, &question, client))
		return NULL;
	/* Without RD only what is here is wanted, and that is nothing. */
	if (server->no_forward || !question.recursion_desired) {
		answer_bad(server, &question, client, LDNS_RCODE_REFUSED);
		return NULL;
	}
	rcode = dns_forward_ask(server->forward, &question, client, &query);
	if (query == NULL)
		dns_reply(&server->replier, &question, client, NULL, rcode);
	return query;
}

void dns_server_tick(struct dns_server *server)
{
	dns_forward_tick(server->forward);
}

const struct dns_counters *dns_server_counters(const struct dns_server *server)
{
	return &server->counters;
}
