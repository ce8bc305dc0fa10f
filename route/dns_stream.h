/* A client's connection, as a stream of bytes: queries with their lengths before them, several at
 * once, answered as answers come (RFC 1035, 4.2.2; RFC 7766, 6.2.1.1). Control thread; the owner
 * says when there may be something to do. */
#ifndef WEFT_ROUTE_DNS_STREAM_H
#define WEFT_ROUTE_DNS_STREAM_H

#include "route/dns.h"

struct dns_stream;

struct dns_stream_setup {
	struct dns_server *server;
	struct ip client;
	uint64_t *queries; /* counts them */
	/* An answer has come: dns_stream_run() has something to do. Not called during that. */
	void (*wake)(void *context);
	void *context;
};

/* Takes over the descriptor, a stream socket that does not block, also when memory is short; then
 * it is NULL. `now` is milliseconds. */
struct dns_stream *dns_stream_create(int fd, const struct dns_stream_setup *setup, uint64_t now);
/* Closes it; its queries are cancelled. */
void dns_stream_destroy(struct dns_stream *stream);

enum dns_stream_state {
	DNS_STREAM_QUIET, /* nothing to do now */
	DNS_STREAM_MOVED, /* bytes were moved: there may be more */
	DNS_STREAM_OVER,  /* the client has ended it and has all answers, or broke the protocol */
};

enum dns_stream_state dns_stream_run(struct dns_stream *stream, uint64_t now);

/* When the last query came or the last answer left; UINT64_MAX while one is being answered. */
uint64_t dns_stream_quiet_since(const struct dns_stream *stream);

#endif
