/* Router advertisements of one leg of a gateway: it tells the guests on its segment that it is
 * their router, which prefixes are on the link, where they get addresses and who resolves names
 * (RFC 4861, 6.2; RFC 4862; RFC 8106).
 *
 * Control thread. Time is monotonic milliseconds given by the caller; nothing here reads a clock.
 * At most ADVERTISE_PENDING askers are remembered, whatever is sent to us. */
#ifndef WEFT_ROUTE_ADVERTISE_H
#define WEFT_ROUTE_ADVERTISE_H

#include "base/mac.h"
#include "base/packet.h"
#include "route/ipv6_config.h"
#include "route/output.h"

#include <stdint.h>

#define ADVERTISE_PENDING 8u /* askers answered one by one; more get one answer for all */

/* What a leg advertises. */
struct advertise_settings {
	const struct advertise_config *config; /* read while the engine lives */
	enum dhcp6_mode dhcp6; /* M and O flags; DHCP6_STATEFUL leaves prefixes not autonomous */
	struct mac mac;	       /* the leg's; the source is the link-local address of it */
	uint16_t mtu;	       /* when config->mtu is 0; 0: no MTU option */
	uint32_t prefix_count; /* IPv6 ones; IPv4 is passed over */
	const struct ip_prefix *prefixes; /* the gateway's addresses with their lengths; copied */
	/* The gateway resolves names: without config->dns its first address of the prefixes (its
	 * link-local one when there are none) is the resolver. */
	bool serves_dns;
	uint64_t seed; /* of random delays */
};

struct advertise_counters {
	uint64_t solicited;  /* valid solicitations */
	uint64_t malformed;  /* solicitations that RFC 4861, 6.1.1 has us discard */
	uint64_t multicasts; /* advertisements to all nodes */
	uint64_t unicasts;   /* advertisements to one asker */
};

struct advertise;

/* Begins to advertise: the first goes out at the first tick, which is due at once. The settings'
 * config stays the caller's and must outlive the engine; `output` is copied. NULL when memory is
 * short. */
struct advertise *advertise_create(const struct advertise_settings *settings,
				   const struct route_output *output, uint64_t now);

/* Frees it, and sends nothing (advertise_end()). */
void advertise_destroy(struct advertise *advertise);

/* Takes a packet that came to the leg. Anything but a router solicitation (ICMPv6 133) is passed
 * over; those are checked as RFC 4861, 6.1.1 says (hop limit, checksum, options) and answered
 * within half a second by advertise_tick(): by unicast to an asker that has an address, to all
 * nodes when it has none or too many ask at once, and to all nodes at most every 3 s (6.2.6). */
void advertise_input(struct advertise *advertise, const struct packet *packet, uint64_t now);

/* Somebody's link has come up, who may have been told that this is no router any more and does not
 * ask, for his own link was never down: soon advertises to all nodes, at most every 3 s. */
void advertise_greet(struct advertise *advertise, uint64_t now);

/* When advertise_tick() is due; never UINT64_MAX before advertise_end(). */
uint64_t advertise_deadline(const struct advertise *advertise);
void advertise_tick(struct advertise *advertise, uint64_t now);

/* Tells all nodes that this is no router any more (router lifetime 0, RFC 4861, 6.2.5), before the
 * leg goes; afterwards nothing more is sent. */
void advertise_end(struct advertise *advertise);

const struct advertise_counters *advertise_counters(const struct advertise *advertise);

#endif
