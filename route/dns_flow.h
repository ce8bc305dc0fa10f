/* The connections of guests that DNS over TCP knows, as a table: who it is, and how far it has
 * come. Control thread; dns_tcp.c decides what happens to them. */
#ifndef WEFT_ROUTE_DNS_FLOW_H
#define WEFT_ROUTE_DNS_FLOW_H

#include "route/dns_segment.h"
#include "route/dns_stream.h"

enum dns_flow_state {
	DNS_FLOW_FREE,
	DNS_FLOW_HANDSHAKE,
	DNS_FLOW_OPEN,
	DNS_FLOW_CLOSING, /* our side is closed: libslirp says goodbye */
};

struct dns_flow {
	enum dns_flow_state state;
	struct packet_header header; /* of replies to it */
	uint16_t port;
	uint16_t private_port;
	uint32_t next;		   /* sequence number whose turn it is */
	uint32_t shift;		   /* added to libslirp's own, which can be guessed (RFC 6528) */
	struct dns_segment hello;  /* its SYN, as it went out; flags 0: none yet */
	bool heard;		   /* libslirp has answered the segment that it was given */
	bool reset;		   /* by libslirp */
	uint64_t ends;		   /* ms; when a handshake is given up or a closed flow forgotten */
	struct dns_stream *stream; /* DNS_FLOW_OPEN */
};

/* So few that they are looked through one by one. */
struct dns_flows {
	struct dns_flow *rows; /* the owner's, zeroed at first */
	uint32_t count;
	uint16_t last_port; /* taken last */
};

/* NULL when there is none. */
struct dns_flow *dns_flow_find(const struct dns_flows *flows, const struct packet *packet,
			       const struct dns_segment *segment);
struct dns_flow *dns_flow_find_private(const struct dns_flows *flows, uint16_t port);
/* The one in a state that ends first. */
struct dns_flow *dns_flow_oldest(const struct dns_flows *flows, enum dns_flow_state state);

/* How many are not closing: of one client, or of all (NULL). */
uint32_t dns_flow_count(const struct dns_flows *flows, const struct ip *client);

/* The next private port that no flow has: there are far more ports than flows. */
uint16_t dns_flow_take_port(struct dns_flows *flows);

#endif
