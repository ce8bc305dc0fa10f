/* Which address a DHCPv6 client gets: its reservation, the one it has, the one it asks for, or one
 * of the ranges (RFC 8415, 13.1). Part of dhcp6_server.c, control thread. */
#ifndef WEFT_ROUTE_DHCP6_SERVER_POOL_H
#define WEFT_ROUTE_DHCP6_SERVER_POOL_H

#include "route/dhcp6_message.h"
#include "route/dhcp6_server.h"
#include "route/lease.h"

#define DHCP6_PREFIXES_MAX 16u

/* Who asks. A client is the same when DUID, IAID and MAC are: a guest that sends another's DUID
 * gets an address of its own and leaves the other's alone. */
struct dhcp6_client {
	const uint8_t *duid;
	uint8_t duid_length;
	struct mac mac;		      /* of the frame */
	uint16_t port;		      /* it came by */
	char host[DHCP_NAME_MAX + 1]; /* it may be called so; "" none */
	const struct dhcp_host *reservation;
	uint32_t taken_count; /* by other associations of the same message */
	struct ip taken[DHCP6_IAS_MAX];
};

struct dhcp6_pool {
	const struct dhcp6_config *config;
	const struct dhcp_host *hosts;
	uint32_t host_count;
	const struct ip **reserved; /* addresses of the hosts, ascending */
	uint32_t reserved_count;
	uint32_t prefix_count;
	struct ip_prefix prefixes[DHCP6_PREFIXES_MAX]; /* the gateway's own addresses */
	uint32_t port_limit;
	struct lease_table *leases;
	uint64_t full_until; /* the ranges were found full; not searched again before this second */
	struct dhcp6_counters *counters;
};

/* 0 or -ENOMEM. */
int dhcp6_pool_init(struct dhcp6_pool *pool, const struct dhcp6_settings *settings,
		    struct lease_table *leases, struct dhcp6_counters *counters);
void dhcp6_pool_finish(struct dhcp6_pool *pool);

bool dhcp6_pool_on_link(const struct dhcp6_pool *pool, const struct ip *ip);

/* Finds reservation and name; `label` is the name that the client sent, "" none. */
void dhcp6_pool_identify(const struct dhcp6_pool *pool, struct dhcp6_client *client,
			 const char *label);

/* Puts in *lease what the client would be given for the association, and when it would end. False
 * when there is nothing for it, which is counted. Nothing changes but client->taken. */
bool dhcp6_pool_choose(struct dhcp6_pool *pool, struct dhcp6_client *client,
		       const struct dhcp6_ia *ia, uint64_t wall, struct lease *lease);

/* Makes the chosen lease hold. False when the table is full, which is counted. */
bool dhcp6_pool_bind(struct dhcp6_pool *pool, const struct dhcp6_client *client,
		     const struct lease *lease);

/* The client's lease of the address, or NULL. */
const struct lease *dhcp6_pool_find(const struct dhcp6_pool *pool,
				    const struct dhcp6_client *client, uint32_t iaid,
				    const struct ip *ip);

/* Sets the client's lease aside for an hour: somebody else uses the address. */
void dhcp6_pool_decline(struct dhcp6_pool *pool, const struct lease *lease, uint64_t wall);

#endif
