/* One question on its way to one resolver: a socket of its own, so that the source port is a fresh
 * random one (RFC 5452, 9.2). Control thread, on the event loop. Time is the caller's: who waits
 * too long destroys it. */
#ifndef WEFT_ROUTE_DNS_EXCHANGE_H
#define WEFT_ROUTE_DNS_EXCHANGE_H

#include "route/dns_resolver.h"

struct dns_exchange;

/* Both may destroy the exchange, and `failed` should. */
struct dns_exchange_events {
	/* A message from the resolver's address; over UDP there may be others. */
	void (*received)(void *context, const uint8_t *message, size_t length);
	/* It cannot be reached, or has hung up: -errno. */
	void (*failed)(void *context, int error);
	void *context;
};

/* Sends `query`, which is copied, and waits. *exchange is the caller's. 0 or -errno, then nothing
 * is called. */
int dns_exchange_start(struct event_base *base, const struct dns_resolver *resolver,
		       enum dns_transport transport, const uint8_t *query, size_t length,
		       const struct dns_exchange_events *events, struct dns_exchange **exchange);
void dns_exchange_destroy(struct dns_exchange *exchange);

#endif
