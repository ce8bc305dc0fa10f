/* What the lease table's indexes look at: a lease has one key in each, or none. Control thread. */
#ifndef WEFT_ROUTE_LEASE_KEY_H
#define WEFT_ROUTE_LEASE_KEY_H

#include "route/lease.h"

#include <stddef.h>
#include <stdint.h>

enum lease_index {
	LEASE_BY_IP,
	LEASE_BY_CLIENT,
	LEASE_BY_MAC,
	LEASE_BY_HOST,
	LEASE_BY_PORT,
	LEASE_INDEX_COUNT,
};

struct lease_key {
	uint8_t bytes[8 + DHCP_CLIENT_MAX]; /* all of it fits */
	size_t length;			    /* 0: not in this index */
};

/* AF_INET or AF_INET6. */
int lease_family(const struct ip *ip);

struct lease_key lease_key_ip(const struct ip *ip);
struct lease_key lease_key_client(int family, const uint8_t *client, uint8_t length, uint32_t iaid);
struct lease_key lease_key_mac(int family, struct mac mac);
/* Without regard to case. */
struct lease_key lease_key_host(int family, const char *host);
struct lease_key lease_key_port(uint16_t port);

/* The lease's own in an index. */
struct lease_key lease_key_of(enum lease_index index, const struct lease *lease);

#endif
