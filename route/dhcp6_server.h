/* The DHCPv6 server of one network (RFC 8415): options only (stateless) or addresses too
 * (stateful, IA_NA). It is the one server of its link.
 *
 * Control thread; time by parameter, no clock. It keeps nothing of a client before that asks for
 * its address with a REQUEST (or a SOLICIT with rapid commit): what an ADVERTISE offers is a hash
 * of the client, so askers cost no memory. Bindings are in the lease table, which outlives it. */
#ifndef WEFT_ROUTE_DHCP6_SERVER_H
#define WEFT_ROUTE_DHCP6_SERVER_H

#include "base/mac.h"
#include "base/packet.h"
#include "route/ipv6_config.h"
#include "route/output.h"

#include <stdint.h>

#define DHCP6_SERVER_PORT 547u
#define DHCP6_CLIENT_PORT 546u

struct lease_table;

struct dhcp6_settings {
	const struct dhcp6_config *config; /* read while the server lives */
	uint32_t host_count;
	const struct dhcp_host *hosts; /* reservations; read while the server lives */
	struct mac mac;		       /* the leg's; the server's DUID is made of it (DUID-LL) */
	uint32_t prefix_count;
	const struct ip_prefix *prefixes; /* gateway's addresses with lengths; copied; v4 ignored */
	bool serves_dns;     /* without config->dns the gateway's first address is the resolver */
	const char *domain;  /* names of guests are in it (option 39); "" or NULL: none. Copied */
	uint32_t port_limit; /* unreserved leases of one arrival port's guests; 0: any number */
};

/* By name as people see them. */
struct dhcp6_counters {
	uint64_t received;   /* messages to us */
	uint64_t answered;   /* ADVERTISE and REPLY */
	uint64_t malformed;  /* lie about lengths, or lack what RFC 8415, 16 demands */
	uint64_t ignored;    /* for another server, of a type that no server takes, or no change */
	uint64_t relayed;    /* RELAY-FORW: refused, we are on the link ourselves */
	uint64_t exhausted;  /* no free address in the ranges, or the lease table full */
	uint64_t over_limit; /* the arrival port holds its limit */
	uint64_t declined;   /* addresses that clients found in use */
};

struct dhcp6_server;

/* `leases` is the network's table and outlives the server; settings->config and hosts too. NULL
 * when memory is short. */
struct dhcp6_server *dhcp6_server_create(const struct dhcp6_settings *settings,
					 struct lease_table *leases,
					 const struct route_output *output);
void dhcp6_server_destroy(struct dhcp6_server *server);

/* Takes a packet that came to the leg by the segment's port `port` (any number that tells ports
 * apart). Anything but UDP to port 547 of ff02::1:2, of our link-local address or of one of the
 * prefixes' own is passed over. The caller has seen to UDP's checksum: it may be one that a guest
 * left to us. `wall`: seconds since 1970. The answer, if any, goes out before it returns, so the
 * caller brackets a batch with store_begin() and store_commit() and holds back what was sent. */
void dhcp6_server_input(struct dhcp6_server *server, const struct packet *packet, uint16_t port,
			uint64_t wall);

/* Leases whose time has come: the table's owner calls lease_expire(); there is no tick here. */

const struct dhcp6_counters *dhcp6_server_counters(const struct dhcp6_server *server);

#endif
