/* The DHCPv4 client of an uplink leg (RFC 2131, 4.4): gets, keeps and gives up one address.
 *
 * Control thread; time by parameter (monotonic milliseconds), no clock. It holds one exchange at a
 * time and remembers one server, so no flood of answers grows it. */
#ifndef WEFT_ROUTE_DHCP_CLIENT_H
#define WEFT_ROUTE_DHCP_CLIENT_H

#include "base/ip.h"
#include "base/mac.h"
#include "base/packet.h"
#include "route/dhcp_config.h"
#include "route/output.h"

#include <stdint.h>

#define DHCP_CLIENT_ROUTES_MAX 32u

/* What the server gave us. */
struct dhcp_client_state {
	struct ip_prefix address; /* ours, with the mask's length */
	struct ip server;	  /* its identifier */
	struct ip_list routers;	  /* on the link; empty when option 121 came (RFC 3442) */
	struct ip_list dns;
	struct ip_list ntp;
	char domain[DHCP_DOMAIN_MAX + 1]; /* of letters, digits, '-', '.' and '_'; "" none */
	uint16_t mtu;			  /* 0: not told; else 576 to 65,535 */
	uint32_t route_count;
	/* Classless routes in the server's order; via 0.0.0.0 means on the link. */
	struct dhcp_route routes[DHCP_CLIENT_ROUTES_MAX];
	uint32_t lease_time;			  /* seconds; UINT32_MAX: for ever */
	uint64_t renew_at, rebind_at, expires_at; /* monotonic ms; UINT64_MAX never */
};

/* Called from within input, tick, conflict and release; must not destroy the client. */
struct dhcp_client_events {
	/* An address was given, or what came with it changed; `state` is the client's and valid
	 * until it is called again. A renewal that changes nothing but times calls it not. */
	void (*configured)(void *context, const struct dhcp_client_state *state);
	/* The address must not be used any more. */
	void (*lost)(void *context);
	void *context;
};

struct dhcp_client_settings {
	struct mac mac;			   /* the leg's */
	char host_name[DHCP_NAME_MAX + 1]; /* option 12; "" none */
	struct ip remembered; /* the address of last time, asked for first (INIT-REBOOT); or :: */
	uint64_t seed;	      /* of transaction numbers and delays */
};

struct dhcp_client_counters {
	uint64_t sent;
	uint64_t received;  /* answers to our transaction */
	uint64_t ignored;   /* not ours: other transaction, hardware address, server or state */
	uint64_t malformed; /* lying lengths, no server identifier, an impossible address or time */
	uint64_t refused;   /* DHCPNAK */
	uint64_t conflicts; /* addresses that somebody else had */
	uint64_t lost;	    /* addresses that ran out or were refused */
};

/* RFC 2131, figure 5; DHCP_CLIENT_INIT waits before it begins. */
enum dhcp_client_phase {
	DHCP_CLIENT_INIT,
	DHCP_CLIENT_SELECTING,
	DHCP_CLIENT_REQUESTING,
	DHCP_CLIENT_REBOOTING,
	DHCP_CLIENT_BOUND,
	DHCP_CLIENT_RENEWING,
	DHCP_CLIENT_REBINDING,
};

struct dhcp_client;

/* Begins; the first message goes out at the first tick, which is due at once. `events` and `output`
 * are copied. NULL when memory is short. */
struct dhcp_client *dhcp_client_create(const struct dhcp_client_settings *settings,
				       const struct route_output *output,
				       const struct dhcp_client_events *events, uint64_t now);

/* Frees it and says nothing to the server: the lease stays ours for the next start. */
void dhcp_client_destroy(struct dhcp_client *client);

/* Takes a packet that came to the leg; anything but UDP from port 67 to 68 is passed over. The
 * caller has seen to UDP's checksum. Answers before the address is ours come as broadcasts (we ask
 * for that), renewals to our address. */
void dhcp_client_input(struct dhcp_client *client, const struct packet *packet, uint64_t now);

uint64_t dhcp_client_deadline(const struct dhcp_client *client);
void dhcp_client_tick(struct dhcp_client *client, uint64_t now);

/* Somebody else answered the ARP probe for our address (RFC 5227, 2.1.1; RFC 2131, 3.1.5): tells
 * the server (DHCPDECLINE), calls lost and begins again after ten seconds. Without an address it
 * does nothing. */
void dhcp_client_conflict(struct dhcp_client *client, uint64_t now);

/* The link came back, perhaps to another network: asks whether our address still holds
 * (INIT-REBOOT), or begins anew when there is none. The address stays in use until it is refused
 * or runs out. */
void dhcp_client_restart(struct dhcp_client *client, uint64_t now);

/* Gives the address back (DHCPRELEASE, RFC 2131, 4.4.6), calls lost, and rests until
 * dhcp_client_restart(). For an uplink that is taken away. */
void dhcp_client_release(struct dhcp_client *client, uint64_t now);

enum dhcp_client_phase dhcp_client_phase(const struct dhcp_client *client);
/* NULL without an address. */
const struct dhcp_client_state *dhcp_client_state(const struct dhcp_client *client);
const struct dhcp_client_counters *dhcp_client_counters(const struct dhcp_client *client);

#endif
