/* DNS over TCP for guests (RFC 7766): ends the guests' connections to port 53 of the gateway.
 *
 * Control thread. Frames of both families come in; what is no clean segment of a known connection
 * is dropped or reset here. The rest has its headers replaced by a pair of private IPv4 addresses
 * and goes through a libslirp instance that can reach nothing but a Unix socket of ours, on which
 * each connection arrives with its bytes in order. Replies have their headers put back. */
#ifndef WEFT_ROUTE_DNS_TCP_H
#define WEFT_ROUTE_DNS_TCP_H

#include "route/dns.h"
#include "route/output.h"

struct dns_tcp;

/* Zero means the default in brackets. */
struct dns_tcp_options {
	uint16_t mtu;		  /* of the network [1500] */
	const char *directory;	  /* writable; has a socket in it during create ["/tmp"] */
	uint32_t connections_max; /* [64] */
	uint32_t client_max;	  /* of one client's address [8] */
	uint32_t idle_ms;	  /* without a query or an answer [10000] */
	struct dns_clock clock;
};

/* Counters: member, and what it counts. */
#define DNS_TCP_COUNTERS(X)                                                                        \
	X(frames, "frames from guests")                                                            \
	X(malformed, "frames that are no whole TCP segment to port 53 of a host")                  \
	X(unknown, "segments of no connection, answered with a reset")                             \
	X(out_of_order, "segments that came before their turn; they are sent again")               \
	X(connections, "connections opened")                                                       \
	X(limit_total, "connections refused beyond what may be open")                              \
	X(limit_client, "connections refused beyond what one client may have open")                \
	X(handshakes, "connections given up before they were established")                         \
	X(idle, "connections closed because nothing was asked")                                    \
	X(queries, "queries over TCP")

struct dns_tcp_counters {
#define DNS_TCP_COUNTER_MEMBER(name, what) uint64_t name;
	DNS_TCP_COUNTERS(DNS_TCP_COUNTER_MEMBER)
#undef DNS_TCP_COUNTER_MEMBER
};

/* Queries go to `server`, replies out of `output` (copied; its context must outlive this). Both
 * `server` and `base` must outlive it, and the process ignores SIGPIPE, which libslirp does not
 * keep away. `options` may be NULL. On failure *tcp is NULL and -errno is returned: without memory,
 * descriptors or a writable directory. */
int dns_tcp_create(struct dns_server *server, struct event_base *base,
		   const struct route_output *output, const struct dns_tcp_options *options,
		   struct dns_tcp **tcp);

/* Connections end without a word; their queries are cancelled. */
void dns_tcp_destroy(struct dns_tcp *tcp);

/* An Ethernet frame that a guest sent to the gateway: its MAC, an address of its own, TCP port 53.
 * That the destination is the gateway's, and that the TCP checksum is right or was left to us by
 * the guest's driver, is for the caller to see to; all else is checked here. `output` may be called
 * during the call. */
void dns_tcp_input(struct dns_tcp *tcp, const uint8_t *frame, size_t length);

/* Does what the clock says is due; its own timer calls it. For tests with a clock of their own. */
void dns_tcp_tick(struct dns_tcp *tcp);

/* Connections that are open now. */
uint32_t dns_tcp_connection_count(const struct dns_tcp *tcp);

/* Valid as long as tcp. */
const struct dns_tcp_counters *dns_tcp_counters(const struct dns_tcp *tcp);

#endif
