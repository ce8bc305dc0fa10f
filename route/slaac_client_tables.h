/* What routers told an uplink: prefixes, routers, resolvers, each until its time is over (RFC 4861,
 * 6.3.4; RFC 4862, 5.5.3; RFC 4191; RFC 8106). Part of slaac_client.c, control thread. */
#ifndef WEFT_ROUTE_SLAAC_CLIENT_TABLES_H
#define WEFT_ROUTE_SLAAC_CLIENT_TABLES_H

#include "route/slaac_client.h"

/* Showing that an address is ours alone (RFC 4862, 5.4). */
enum slaac_proof_phase {
	SLAAC_PROOF_NONE,
	SLAAC_PROOF_WAITING, /* until `at`, then the probe goes out */
	SLAAC_PROOF_PROBING, /* until `at`, then it is ours unless somebody spoke up */
	SLAAC_PROOF_FAILED,  /* until `at`, then all over again */
};

struct slaac_proof {
	enum slaac_proof_phase phase;
	uint64_t at;
	struct ip ip;
	uint8_t counter; /* of identifiers that were tried */
	uint8_t nonce[6];
	bool done; /* it was shown once, and nothing speaks against it */
};

struct slaac_entry {
	struct ip_prefix prefix;
	uint64_t on_link_until; /* 0: not */
	bool autonomous;	/* has an address, or will */
	bool deprecated;	/* preferred_until is past */
	uint64_t preferred_until, valid_until;
	struct slaac_proof proof;
};

struct slaac_resolver {
	struct ip ip;
	uint64_t until;
};

struct slaac_tables {
	uint32_t entry_count, router_count, resolver_count;
	struct slaac_entry entries[SLAAC_PREFIXES_MAX];
	struct slaac_router routers[SLAAC_ROUTERS_MAX]; /* the best first */
	struct slaac_resolver resolvers[DHCP_LIST_MAX];
	uint16_t mtu;
	uint8_t hop_limit;
	bool managed, other;
};

/* Takes in a valid advertisement. `mtu_max`: the leg's own (0: any). Entries that are to have an
 * address and have no proof yet are the caller's to start. */
void slaac_tables_learn(struct slaac_tables *tables, const struct packet *packet, uint16_t mtu_max,
			uint64_t now, struct slaac_client_counters *counters);

/* Forgets what is over. */
void slaac_tables_expire(struct slaac_tables *tables, uint64_t now);

/* When slaac_tables_expire() has something to do. */
uint64_t slaac_tables_deadline(const struct slaac_tables *tables);

/* What is to be told. */
void slaac_tables_state(const struct slaac_tables *tables, bool has_link_local,
			struct slaac_state *state);

/* Whether two states differ in nothing but times. */
bool slaac_state_same(const struct slaac_state *a, const struct slaac_state *b);

#endif
