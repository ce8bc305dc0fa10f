/* The DHCPv4 server of one network's gateway (RFC 2131, 2132, 3396, 3397, 3442, 4702, 6842).
 *
 * An engine: packets in, frames out through `output`, no clock, thread or I/O of its own. Control
 * thread. `now` is monotonic milliseconds, `wall` seconds of wall-clock time. Leases are in the
 * table it is given, which outlives it; when they are stored, the caller brackets a batch of input
 * with store_begin() and store_commit() and lets frames out after the commit, so that no guest is
 * told of a lease that a killed weftd forgets (RFC 2131, 4.3.1).
 *
 * Guests are hostile. A client must send from the hardware address it gives, unless a relay agent
 * behind a trusted port sends for it. A lease belongs to the machine that got it, known by its port
 * or its hardware address: another one's client identifier counts for nothing, and who comes with
 * it is known by the hardware address alone. One port gets at most DHCP_PORT_LEASES addresses, and
 * not more than half of all; a trusted one, with many hosts behind it, DHCP_TRUSTED_LEASES. Those
 * set aside on its word are counted, reserved ones not. BOOTP is ignored, and so are relay agents
 * of other networks: the server is for its own link. */
#ifndef WEFT_ROUTE_DHCP_SERVER_H
#define WEFT_ROUTE_DHCP_SERVER_H

#include "base/packet.h"
#include "route/dhcp_config.h"
#include "route/lease.h"
#include "route/output.h"

#include <stdint.h>

#define DHCP_PORT_LEASES    16u	 /* by one port, but LEASE_PORT_NONE */
#define DHCP_TRUSTED_LEASES 64u	 /* by one that is trusted */
#define DHCP_LEASES_LEAST   4u	 /* though half are fewer: firmware and system are two clients */
#define DHCP_PROBE_WAIT	    500u /* ms that an offer waits for the conflict check */
#define DHCP_PROBE_MAX	    512u /* offers that wait at a time */
#define DHCP_PROBE_TRIES    3u	 /* addresses checked for one DISCOVER */
#define DHCP_OFFER_TIME	    30u	 /* seconds that an offered address is kept */
#define DHCP_DECLINE_TIME   600u /* seconds that an address in conflict is set aside */
#define DHCP_LEASE_MIN	    60u	 /* seconds; a client gets no shorter lease by asking */

/* By which port a packet came. */
struct dhcp_arrival {
	/* Its number; LEASE_PORT_NONE for ports with many hosts behind them, which have no limit
	 * of leases and no leases of their own. */
	uint16_t port;
	bool trusted; /* who is behind it may speak for others */
};

/* What the server knows of the gateway's leg. Copied. */
struct dhcp_leg {
	const char *network; /* for the log; the caller's, outlives the server */
	struct mac mac;
	uint16_t mtu; /* 0: 1500 */
	/* The gateway's own IPv4 addresses with their prefixes, at least one: each is router, DNS
	 * server and server identifier to the clients in its prefix. */
	uint8_t prefix_count;
	struct ip_prefix prefixes[DHCP_LIST_MAX];
	bool serves_dns;
	char domain[DHCP_DOMAIN_MAX + 1]; /* option 15 when the configuration has none; "" none */
};

/* How the server finds out whether somebody uses an address (RFC 2131, 4.4.1; RFC 5227, 2.1.1):
 * `ask` begins that and returns; the answer is dhcp_server_probe_result(). NULL: no check. */
struct dhcp_probe {
	void (*ask)(void *context, const struct ip *ip);
	void *context;
};

/* COUNTER(symbol, name, text) */
#define DHCP_COUNTER_TABLE(COUNTER)                                                                \
	COUNTER(DISCOVER, "discover", "DISCOVER received")                                         \
	COUNTER(REQUEST, "request", "REQUEST received")                                            \
	COUNTER(DECLINE, "decline", "DECLINE received")                                            \
	COUNTER(RELEASE, "release", "RELEASE received")                                            \
	COUNTER(INFORM, "inform", "INFORM received")                                               \
	COUNTER(OFFER, "offer", "OFFER sent")                                                      \
	COUNTER(ACK, "ack", "ACK sent")                                                            \
	COUNTER(NAK, "nak", "NAK sent")                                                            \
	COUNTER(MALFORMED, "malformed", "message truncated, contradictory, or no DHCP")            \
	COUNTER(BOOTP, "bootp", "BOOTP request without a DHCP message type")                       \
	COUNTER(FOREIGN, "foreign", "message that only a server sends, sent by a guest")           \
	COUNTER(RELAYED, "relayed", "relay agent not trusted, or of another network")              \
	COUNTER(SPOOFED, "spoofed", "hardware address is not the frame's source")                  \
	COUNTER(OTHER_SERVER, "other_server", "message for another server")                        \
	COUNTER(UNKNOWN, "unknown", "no such lease; left unanswered (RFC 2131, 4.3.2)")            \
	COUNTER(EXHAUSTED, "exhausted", "no free address")                                         \
	COUNTER(PORT_LIMIT, "port_limit", "the port has as many leases as it may have")            \
	COUNTER(BUSY, "busy", "too many offers wait for their conflict check")                     \
	COUNTER(CONFLICT, "conflict", "address found in use before it was offered")                \
	COUNTER(NAME_CONFLICT, "name_conflict", "host name is another's; not registered")          \
	COUNTER(OPTION_LEFT_OUT, "option_left_out", "option without room in the client's size")

enum dhcp_counter {
#define COUNTER(symbol, name, text) DHCP_COUNT_##symbol,
	DHCP_COUNTER_TABLE(COUNTER)
#undef COUNTER
	    DHCP_COUNTER_COUNT
};

struct dhcp_counter_info {
	const char *name, *text;
};
extern const struct dhcp_counter_info dhcp_counter_table[DHCP_COUNTER_COUNT];

struct dhcp_server;

/* `config` and `leases` are the caller's and outlive the server. NULL when memory is short. */
struct dhcp_server *dhcp_server_create(const struct dhcp_config *config, const struct dhcp_leg *leg,
				       struct lease_table *leases,
				       const struct route_output *output,
				       const struct dhcp_probe *probe);
void dhcp_server_destroy(struct dhcp_server *server);

/* Any packet of the leg; what is not UDP to port 67 of the server or of all is left alone.
 * Checksums are the caller's to check. */
void dhcp_server_input(struct dhcp_server *server, const struct packet *packet,
		       struct dhcp_arrival arrival, uint64_t now, uint64_t wall);

/* What a probe found: who has the address, NULL for nobody. Without a call the server takes it
 * after DHCP_PROBE_WAIT that nobody has. Addresses that were not asked for are ignored. */
void dhcp_server_probe_result(struct dhcp_server *server, const struct ip *ip,
			      const struct mac *holder, uint64_t now, uint64_t wall);

/* When dhcp_server_tick() is due next; UINT64_MAX: not until something else happens. */
uint64_t dhcp_server_deadline(const struct dhcp_server *server);
/* Sends offers that have waited enough; removes expired leases, of both families. */
void dhcp_server_tick(struct dhcp_server *server, uint64_t now, uint64_t wall);

/* DHCP_COUNTER_COUNT of them, by enum dhcp_counter; valid as long as the server. */
const uint64_t *dhcp_server_counters(const struct dhcp_server *server);

#endif
