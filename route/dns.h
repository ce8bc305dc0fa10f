/* The resolver that guests of one network ask: names of the network itself, and a caching forwarder
 * for all others (RFC 1034, 1035, 2308, 6891, 7766, 8482).
 *
 * Control thread. Messages come in without transport headers and answers leave by callback, so UDP
 * is the business of whoever owns the packets, and TCP that of route/dns_tcp.h. Questions to
 * resolvers go out of sockets of the host on the event loop; so does the server's one timer. */
#ifndef WEFT_ROUTE_DNS_H
#define WEFT_ROUTE_DNS_H

#include "base/ip.h"
#include "route/dns_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct dns_server;
struct dns_query;

#define DNS_MESSAGE_MAX	  65535u
#define DNS_UDP_SIZE	  1232u /* most that is sent by UDP: passes a link of 1280 bytes whole */
#define DNS_ADDRESSES_MAX 16u	/* of one lease's name in an answer */

enum dns_transport { DNS_UDP, DNS_TCP };

/* Names that come and go: leases, and reservations that may have no lease. Asked with each question
 * that could be about one, never kept. */
struct dns_names {
	/* Addresses of both families of `host`, one label in lower case without the domain. Returns
	 * how many were written, at most `max`. */
	size_t (*addresses)(void *context, const char *host, struct ip *ips, size_t max);
	/* Writes the host name of an address, one label without the domain; false: it has none. */
	bool (*name)(void *context, const struct ip *ip, char host[DHCP_NAME_MAX + 1]);
	void *context;
};

/* Time, so that a test can have its own. */
struct dns_clock {
	uint64_t (*now)(void *context); /* monotonic milliseconds; NULL: CLOCK_BOOTTIME */
	void *context;
};

/* The clock itself, or CLOCK_BOOTTIME when it has no function. */
struct dns_clock dns_clock_or_default(const struct dns_clock *clock);

/* What else a server is told. Zero means the default in brackets. */
struct dns_options {
	/* The network's prefixes, each with the gateway's own address in it: that is what
	 * gateway.DOMAIN has, and their reverse zones are ours. Copied. */
	const struct ip_prefix *networks;
	uint32_t network_count;
	uint16_t udp_size; /* most bytes in an answer by UDP, at least 512 [DNS_UDP_SIZE] */
	/* Where resolvers are read from when the configuration names none; must outlive the server.
	 * Read again when it changes ["/etc/resolv.conf"] */
	const char *resolv_conf;
	uint16_t port;	      /* of all resolvers [53] */
	uint32_t attempt_ms;  /* one resolver's time [1500] */
	uint32_t total_ms;    /* then the answer is SERVFAIL [4500] */
	uint32_t lookups_max; /* questions with resolvers, each has a socket [128] */
	uint32_t queries_max; /* of clients waiting for those [512] */
	uint32_t client_max;  /* of one client [100] */
	uint32_t cache_bytes; /* all that is cached, with its overhead [1 KiB an answer] */
	struct dns_clock clock;
};

/* Counters: member, and what it counts. */
#define DNS_COUNTERS(X)                                                                            \
	X(queries, "messages from clients")                                                        \
	X(own, "answered from names of the network")                                               \
	X(cached, "answered from the cache")                                                       \
	X(forwarded, "questions put to resolvers")                                                 \
	X(shared, "queries that joined a question already with a resolver")                        \
	X(ignored, "responses sent as queries, and what has no header")                            \
	X(malformed, "queries answered FORMERR")                                                   \
	X(unsupported, "queries of another opcode, EDNS version or meta type")                     \
	X(refused, "queries of another class, zone transfers, and what must not be forwarded")     \
	X(looped, "queries of a resolver that is being asked the same")                            \
	X(limit_total, "queries beyond what may be outstanding")                                   \
	X(limit_client, "queries beyond what one client may have outstanding")                     \
	X(truncated, "answers cut for UDP")                                                        \
	X(failed, "queries answered SERVFAIL after asking resolvers")                              \
	X(no_resolver, "questions without a resolver to put them to")                              \
	X(upstream_tcp, "questions put again over TCP")                                            \
	X(upstream_timeouts, "resolvers that did not answer in time")                              \
	X(upstream_errors, "resolvers that refused, failed or could not be reached")               \
	X(upstream_mismatched, "answers with another id or question")                              \
	X(upstream_malformed, "answers that could not be read")                                    \
	X(cache_evicted, "answers that made room in the cache")

struct dns_counters {
#define DNS_COUNTER_MEMBER(name, what) uint64_t name;
	DNS_COUNTERS(DNS_COUNTER_MEMBER)
#undef DNS_COUNTER_MEMBER
};

/* Who asks, and where the answer goes. */
struct dns_client {
	enum dns_transport transport;
	struct ip ip;
	/* Called exactly once for each query that is not cancelled: with a message that is valid
	 * during the call, or with NULL and 0 when nothing is to be sent (the message was no query,
	 * memory was short, or the server is being destroyed). It may start and cancel other
	 * queries; it must not destroy the server. */
	void (*answer)(void *context, const uint8_t *message, size_t length);
	void *context;
};

/* `config` and its arrays are copied; `names` too, and its context must outlive the server, as must
 * `base`. `options` may be NULL. NULL when memory is short. */
struct dns_server *dns_server_create(const struct dns_config *config, struct event_base *base,
				     const struct dns_names *names,
				     const struct dns_options *options);

/* Calls answer(NULL, 0) for all that is outstanding. */
void dns_server_destroy(struct dns_server *server);

/* A message from a client: not trusted in any way. Answers at once, then returns NULL, or later,
 * then returns a handle that is valid until `answer` is called. */
struct dns_query *dns_server_query(struct dns_server *server, const uint8_t *message, size_t length,
				   const struct dns_client *client);

/* The client has gone: `answer` is not called any more. Takes NULL. */
void dns_query_cancel(struct dns_query *query);

/* All addresses on which this process answers DNS, of every network: never asked as resolvers, so
 * that no question comes back. Copied; those of `options.networks` are known already. 0 or -ENOMEM,
 * then the former list stays. */
int dns_server_set_own(struct dns_server *server, const struct ip *ips, uint32_t count);

/* Does what the clock says is due; the server's own timer calls it. For tests with a clock of their
 * own. */
void dns_server_tick(struct dns_server *server);

/* Valid as long as the server. */
const struct dns_counters *dns_server_counters(const struct dns_server *server);

#endif
