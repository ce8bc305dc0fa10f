/* The host side of IPv6 on an uplink leg: finds routers (RFC 4861, 6.3; RFC 7559), makes addresses
 * of their prefixes and sees that nobody else has them (RFC 4862), and tells who routes, who
 * resolves names and which MTU holds (RFC 4191, RFC 8106).
 *
 * Control thread; time by parameter (monotonic milliseconds), no clock. All tables are of fixed
 * size: a wire full of advertisements costs no memory, and calls back at most once a second. */
#ifndef WEFT_ROUTE_SLAAC_CLIENT_H
#define WEFT_ROUTE_SLAAC_CLIENT_H

#include "base/ip.h"
#include "base/mac.h"
#include "base/packet.h"
#include "route/dhcp_config.h"
#include "route/output.h"

#include <stdbool.h>
#include <stdint.h>

#define SLAAC_PREFIXES_MAX  8u
#define SLAAC_ROUTERS_MAX   4u
#define SLAAC_SECRET_LENGTH 16u

/* A prefix that routers advertise. Times are monotonic ms, UINT64_MAX for ever, 0 or past: not. */
struct slaac_prefix {
	struct ip_prefix prefix; /* host bits 0 */
	uint64_t on_link_until;	 /* neighbours of this prefix are on the link */
	bool has_address;	 /* ours; proven unique */
	struct ip address;
	bool deprecated; /* valid, but not preferred: not for new connections */
	uint64_t preferred_until;
	uint64_t valid_until;
};

enum slaac_preference { SLAAC_LOW = -1, SLAAC_MEDIUM = 0, SLAAC_HIGH = 1 }; /* RFC 4191, 2.1 */

struct slaac_router {
	struct ip ip; /* link-local */
	struct mac mac;
	int8_t preference; /* enum slaac_preference */
	uint64_t until;
};

struct slaac_state {
	bool has_link_local; /* fe80:: of the leg's MAC, proven unique */
	uint32_t prefix_count;
	struct slaac_prefix prefixes[SLAAC_PREFIXES_MAX];
	uint32_t router_count;
	struct slaac_router routers[SLAAC_ROUTERS_MAX]; /* the best first */
	struct ip_list dns;
	uint16_t mtu;	     /* 0: not told; else 1280 to the leg's own */
	uint8_t hop_limit;   /* 0: not told */
	bool managed, other; /* DHCPv6 has addresses, or options */
};

/* Called from within input and tick; must not destroy the client. */
struct slaac_client_events {
	/* An address is ready, deprecated or gone, or a prefix, router, resolver or the MTU
	 * changed, not only its times. There is at least one address or router. `state` is the
	 * client's. */
	void (*configured)(void *context, const struct slaac_state *state);
	/* The last address and the last router are gone. */
	void (*lost)(void *context);
	void *context;
};

struct slaac_client_settings {
	struct mac mac; /* the leg's */
	uint16_t mtu;	/* the leg's; advertised ones above it are ignored */
	uint64_t seed;	/* of delays */
	/* Interface identifiers: EUI-64 of the MAC (RFC 4291, appendix A), or opaque ones that stay
	 * the same on one network and differ between networks (RFC 7217). */
	bool has_secret;
	uint8_t secret[SLAAC_SECRET_LENGTH];
};

struct slaac_client_counters {
	uint64_t solicitations; /* sent */
	uint64_t probes;	/* neighbour solicitations sent for our own addresses */
	uint64_t advertised;	/* valid router advertisements */
	uint64_t malformed;	/* discarded by RFC 4861, 6.1.2 or 7.1 */
	uint64_t ignored;	/* prefixes, routers and resolvers beyond what the tables hold */
	uint64_t duplicates;	/* addresses that somebody else had */
};

struct slaac_client;

/* Begins; the first messages go out at the first tick, which is due at once. `events` and `output`
 * are copied. NULL when memory is short. */
struct slaac_client *slaac_client_create(const struct slaac_client_settings *settings,
					 const struct route_output *output,
					 const struct slaac_client_events *events, uint64_t now);
void slaac_client_destroy(struct slaac_client *client);

/* Takes a packet that came to the leg: router advertisements (ICMPv6 134), and neighbour
 * solicitations and advertisements (135, 136), which show whether an address of ours that is not
 * proven yet is taken. Anything else is passed over. Until an address is in the state, nobody may
 * answer for it (RFC 4862, 5.4). */
void slaac_client_input(struct slaac_client *client, const struct packet *packet, uint64_t now);

uint64_t slaac_client_deadline(const struct slaac_client *client);
void slaac_client_tick(struct slaac_client *client, uint64_t now);

/* The link came back, perhaps to another network: solicits again and proves addresses anew; what is
 * known stays until it runs out or a proof fails. */
void slaac_client_restart(struct slaac_client *client, uint64_t now);

/* Also while it has nothing. */
const struct slaac_state *slaac_client_state(const struct slaac_client *client);
const struct slaac_client_counters *slaac_client_counters(const struct slaac_client *client);

#endif
