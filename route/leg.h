/* A leg of a gateway: where it stands in a segment, with which addresses. Plain values, made by
 * control for each running configuration; engines keep a copy. */
#ifndef WEFT_ROUTE_LEG_H
#define WEFT_ROUTE_LEG_H

#include "base/ip.h"
#include "base/mac.h"
#include "route/output.h"

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_LEG_ADDRESSES 8u

/* Addresses that a leg stands for without having them: whoever asks for one on the link is told the
 * leg's MAC (RFC 1027; RFC 4861, 7.2.8). Neither announced nor defended. */
struct route_proxy {
	bool (*has)(void *context, const struct ip *ip); /* NULL: none */
	void *context;
};

struct route_leg {
	uint16_t index; /* among the gateway's legs, from 0 */
	struct mac mac;
	uint16_t mtu;
	uint8_t address_count;
	/* With their host bits. The IPv6 link-local address made of `mac` is a leg's always, and
	 * does not stand here. */
	struct ip_prefix addresses[ROUTE_LEG_ADDRESSES];
	struct route_output output;
	struct route_proxy proxy;
};

/* Whether `ip` is an address of the leg itself, its link-local one included. */
bool route_leg_owns(const struct route_leg *leg, const struct ip *ip);

/* Whether who asks for `ip` on the leg's link is answered: an address of the leg's own, or one that
 * it stands for. */
bool route_leg_answers(const struct route_leg *leg, const struct ip *ip);

/* Whether `ip` is one host's address on the leg's link: within one of its prefixes, or IPv6
 * link-local; neither a prefix's broadcast (RFC 1812, 4.2.3.1) nor a group. True for its own. */
bool route_leg_reaches(const struct route_leg *leg, const struct ip *ip);

/* Whether `ip` is the limited broadcast or that of one of the leg's prefixes, in its forms of all
 * ones and all zeros (RFC 1812, 5.3.5); IPv6 has none. */
bool route_leg_is_broadcast(const struct route_leg *leg, const struct ip *ip);

/* Puts the address to send to `ip` from in *source: the one of the same prefix, else the first of
 * its family (RFC 1812, 4.3.2.4; RFC 4443, 2.2), else the link-local one. False when the leg has
 * none of that family. */
bool route_leg_source(const struct route_leg *leg, const struct ip *ip, struct ip *source);

#endif
