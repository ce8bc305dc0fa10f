/* What the files of the DHCPv4 server share; nobody else includes this. dhcp_server.c takes
 * messages in, _client.c says who a client is, _address.c which address it may have, _probe.c keeps
 * offers that wait, _reply.c writes answers. Control thread. */
#ifndef WEFT_ROUTE_DHCP_SERVER_PARTS_H
#define WEFT_ROUTE_DHCP_SERVER_PARTS_H

#include "route/dhcp_message.h"
#include "route/dhcp_server.h"

#include <sys/queue.h>

struct dhcp_pending;
TAILQ_HEAD(dhcp_pending_list, dhcp_pending);

/* A configured range, cut to a prefix of the leg; host order. */
struct dhcp_span {
	uint32_t first, last;
};

struct dhcp_server {
	const struct dhcp_config *config;
	struct dhcp_leg leg;
	struct lease_table *leases;
	struct route_output output;
	struct dhcp_probe probe;
	uint32_t span_count;
	struct dhcp_span *spans;
	uint64_t address_count; /* in all spans */
	uint32_t reserved_count;
	const struct dhcp_host **reserved; /* those with an IPv4 address, in its order */
	struct dhcp_pending_list pending;  /* oldest first */
	uint32_t pending_count;
	bool exhausted;		      /* since the last log line about it */
	uint64_t search_due;	      /* no search for a free address before */
	uint64_t conflict_log_due;    /* no log line about a conflict before */
	uint64_t seen_now, seen_wall; /* the last times we were given */
	uint64_t counters[DHCP_COUNTER_COUNT];
};

/* What becomes of the name that a client sends in option 81 (RFC 4702). */
enum dhcp_fqdn { DHCP_FQDN_NONE, DHCP_FQDN_ASCII, DHCP_FQDN_WIRE };

/* A client's message, and who the client is. */
struct dhcp_request {
	struct dhcp_server *server;
	const struct dhcp_message *message;
	struct mac from; /* of the frame: a relay agent's, or the client's */
	struct dhcp_arrival by;
	uint64_t now, wall;
	uint8_t client_length; /* how its lease is keyed */
	uint8_t client[DHCP_CLIENT_MAX];
	const struct dhcp_host *host; /* its reservation, or NULL */
	const struct lease *lease;    /* its lease, offered or bound, or NULL */
	char name[DHCP_NAME_MAX + 1]; /* that it wants or is given; "" none */
	uint8_t fqdn;		      /* enum dhcp_fqdn */
	uint8_t fqdn_flags;
};

static inline void dhcp_count(struct dhcp_server *server, enum dhcp_counter counter)
{
	server->counters[counter]++;
}

/* Fills all but server, message, from, by and times. */
void dhcp_client_identify(struct dhcp_request *request);
/* Whether a lease was got by another machine: neither its port nor its hardware address is that of
 * the request. */
bool dhcp_client_is_elsewhere(const struct dhcp_request *request, const struct lease *lease);
/* Whether a lease is the client's, or a former one of the machine that its address is reserved for
 * by MAC. */
bool dhcp_client_owns(const struct dhcp_request *request, const struct lease *lease);
/* The name to register for a lease on `ip`: "" when it has none, or somebody else has it (counted).
 */
const char *dhcp_client_name(const struct dhcp_request *request, const struct ip *ip);

/* 0 or -ENOMEM. */
int dhcp_address_prepare(struct dhcp_server *server);
/* The leg's prefix that holds the address, or NULL. */
const struct ip_prefix *dhcp_address_prefix(const struct dhcp_server *server, const struct ip *ip);
/* Whether the client may have the address at all, as configured. */
bool dhcp_address_allowed(const struct dhcp_request *request, const struct ip *ip);
/* Whether nobody else has it now. */
bool dhcp_address_free(const struct dhcp_request *request, const struct ip *ip);
/* Whether the client should have its reserved address instead, and could. */
bool dhcp_address_superseded(const struct dhcp_request *request, const struct ip *ip);
/* Whether it is reserved for this client. */
bool dhcp_address_is_reserved(const struct dhcp_request *request, const struct ip *ip);
/* Whether a lease on the address would be one more than its port may have. */
bool dhcp_address_over_limit(const struct dhcp_request *request, const struct ip *ip);
/* The address to offer (RFC 2131, 4.3.1); false, counted, when there is none. */
bool dhcp_address_choose(struct dhcp_request *request, struct ip *ip);
/* Takes the address out of use for DHCP_DECLINE_TIME. `port` answers for it. */
void dhcp_address_set_aside(struct dhcp_server *server, const struct ip *ip, uint16_t port,
			    uint64_t now, uint64_t wall);

/* Keeps the message to answer it when the probe is done. 0; -ENOBUFS, -ENOMEM. */
int dhcp_probe_start(const struct dhcp_request *request, const struct ip *ip, unsigned tries);
/* Whether an offer of the address waits; then the request, if given, replaces the one that waits.
 */
bool dhcp_probe_waits(struct dhcp_server *server, const struct ip *ip,
		      const struct dhcp_request *request);
void dhcp_probe_cancel(struct dhcp_server *server, const struct ip *ip);
void dhcp_probe_clear(struct dhcp_server *server);
/* UINT64_MAX: none waits. */
uint64_t dhcp_probe_deadline(const struct dhcp_server *server);
void dhcp_probe_tick(struct dhcp_server *server, uint64_t now, uint64_t wall);

/* Answers a DISCOVER: `tries` addresses were found in use before. */
void dhcp_server_discover(struct dhcp_request *request, unsigned tries);
void dhcp_server_offer(struct dhcp_request *request, const struct ip *ip);

/* Seconds of lease for this client. UINT32_MAX is for ever. */
uint32_t dhcp_reply_lease_time(const struct dhcp_request *request);
/* OFFER, or ACK of a REQUEST, of a lease on `ip`, with the name that is registered. */
void dhcp_reply_lease(const struct dhcp_request *request, enum dhcp_type type, const struct ip *ip,
		      const char *name);
/* ACK of an INFORM. */
void dhcp_reply_inform(const struct dhcp_request *request);
void dhcp_reply_nak(const struct dhcp_request *request, const char *why);

#endif
