/* The addresses that one network's guests hold, of both families: what the DHCP servers gave out,
 * kept over restarts in base/store.h.
 *
 * Control thread. A table is bounded (`limit`), indexed by address, client, MAC, host name and
 * arrival port; each look-up is constant time whatever keys guests choose. Pointers to leases stay
 * valid until that lease is removed or expires. Time is given: wall-clock seconds, as leases
 * outlive the process. */
#ifndef WEFT_ROUTE_LEASE_H
#define WEFT_ROUTE_LEASE_H

#include "base/ip.h"
#include "base/mac.h"
#include "base/store.h"
#include "route/dhcp_config.h"

#include <stdbool.h>
#include <stdint.h>

#define LEASE_FOREVER	UINT64_MAX /* `expires` of a lease without end */
#define LEASE_PORT_NONE UINT16_MAX

enum lease_state {
	LEASE_OFFERED,	/* promised for a short time; not stored */
	LEASE_BOUND,	/* in use; stored */
	LEASE_DECLINED, /* somebody else was found to use it: set aside; not stored */
};

struct lease {
	struct ip ip;
	struct mac mac; /* zero when not known */
	uint8_t client_length;
	uint8_t client[DHCP_CLIENT_MAX]; /* client identifier; DUID in DHCPv6 */
	uint32_t iaid;			 /* DHCPv6; else 0 */
	char host[DHCP_NAME_MAX + 1];	 /* lower-case DNS label; "" none */
	uint64_t expires;		 /* wall-clock seconds */
	uint8_t state;			 /* enum lease_state */
	bool reserved;
	/* The number of the port that the client was last heard on; LEASE_PORT_NONE when not known,
	 * as after a restart. Not stored. */
	uint16_t port;
};

/* Told of bound leases, each of them optional. `bound` is called for each that the store had, when
 * a lease becomes bound, and when client, MAC or host name of a bound one changed (after `unbound`
 * with the old values); not for a mere renewal. `unbound` gets the lease as it was. They must not
 * change the table. */
struct lease_events {
	void (*bound)(void *context, const struct lease *lease);
	void (*unbound)(void *context, const struct lease *lease);
	void *context;
};

struct lease_table;

/* Loads what the store has for `network` (NULL: leases are not kept), up to `limit`, expired ones
 * too: lease_expire() is for them. The store is the caller's and outlives the table. NULL when
 * memory is short. */
struct lease_table *lease_table_create(struct store *store, const char *network, uint32_t limit,
				       const struct lease_events *events);
/* What is stored stays stored; no events. */
void lease_table_destroy(struct lease_table *table);

uint32_t lease_table_count(const struct lease_table *table);

/* NULL when there is none. `family` is AF_INET or AF_INET6. An expired lease is found until
 * lease_expire() takes it. Where several fit, any of them. lease_find_host() ignores case. */
const struct lease *lease_find_ip(const struct lease_table *table, const struct ip *ip);
const struct lease *lease_find_client(const struct lease_table *table, int family,
				      const uint8_t *client, uint8_t length, uint32_t iaid);
const struct lease *lease_find_mac(const struct lease_table *table, int family, struct mac mac);
const struct lease *lease_find_host(const struct lease_table *table, int family, const char *host);

/* How many leases of the family, in any state but not reserved, were last heard on the port. */
uint32_t lease_count_port(const struct lease_table *table, int family, uint16_t port);

/* Inserts a copy, or replaces the lease of the same address (`lease` may be that one). The host
 * name is put in lower case. -ENOSPC: the table is full; -ENOMEM; both leave it as it was. A store
 * that fails does not make this fail: the lease holds as long as the process. */
int lease_put(struct lease_table *table, const struct lease *lease);

/* -ENOENT when there is none. */
int lease_remove(struct lease_table *table, const struct ip *ip);

/* Forgets which leases were heard on a port: it is gone, and its number may come again. */
void lease_forget_port(struct lease_table *table, uint16_t port);

/* Removes what has expired at `wall`. Cheap when nothing has. */
void lease_expire(struct lease_table *table, uint64_t wall);
/* Nothing expires before this; UINT64_MAX: nothing ever. */
uint64_t lease_next_expiry(const struct lease_table *table);

/* Calls visit for each lease, in no order, until it returns false. It must not change the table. */
void lease_visit(const struct lease_table *table,
		 bool (*visit)(void *context, const struct lease *lease), void *context);

/* The same for the leases of a MAC, of both families; costs only what it visits. */
void lease_visit_mac(const struct lease_table *table, struct mac mac,
		     bool (*visit)(void *context, const struct lease *lease), void *context);

#endif
