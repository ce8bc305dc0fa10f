/* A libslirp instance that does nothing but TCP to one port, whose connections end in a Unix socket
 * of ours. Control thread; nothing of it is on the event loop: it works when it is called, as all
 * that it could wait for is done by the same thread. */
#ifndef WEFT_ROUTE_DNS_SLIRP_H
#define WEFT_ROUTE_DNS_SLIRP_H

#include "route/dns.h"
#include "route/dns_segment.h"

struct dns_slirp;

struct dns_slirp_setup {
	uint16_t mtu;	       /* largest IPv4 packet it makes; at least 576 */
	uint16_t mru;	       /* largest that clients are told to send */
	const char *directory; /* has a socket in it for a moment */
	uint32_t sockets_max;  /* connections it is given */
	struct dns_clock clock;
	/* A segment for the client that was given `to_port` as its port. */
	void (*send)(void *context, const struct dns_segment *segment);
	void *context;
};

/* 0, or -errno and *slirp is NULL. */
int dns_slirp_create(const struct dns_slirp_setup *setup, struct dns_slirp **slirp);
/* Closes all connections on its side. */
void dns_slirp_destroy(struct dns_slirp *slirp);

/* A segment from a client, known by `from_port`. `send` may be called. */
void dns_slirp_input(struct dns_slirp *slirp, const struct dns_segment *segment);

/* Whether there are descriptors for one more connection. */
bool dns_slirp_has_room(const struct dns_slirp *slirp);

/* The connection that the last segment completed, a socket that does not block; or -1. */
int dns_slirp_accept(struct dns_slirp *slirp);

/* Moves bytes between the sockets and the connections, and does what its timers say. True when
 * bytes were moved; *wait is in how many ms it wants to be called again. */
bool dns_slirp_run(struct dns_slirp *slirp, uint32_t *wait);

#endif
