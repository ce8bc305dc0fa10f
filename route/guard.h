/* What a guest may say it is: checked for each frame that comes in by a port whose addresses are
 * ours to give (design: anti-spoofing).
 *
 * A guard is immutable: control builds one for a port whenever a lease, a reservation or a claimed
 * address changes, and publishes it under RCU; workers check against it. A guest sends from its MAC
 * and its addresses only, and never what only the gateway may say: DHCP answers, router
 * advertisements, redirects, ARP or neighbour advertisements of addresses that are not its own
 * (RFC 7610, 6105, 6620 in spirit). */
#ifndef WEFT_ROUTE_GUARD_H
#define WEFT_ROUTE_GUARD_H

#include "base/frame.h"
#include "base/ip.h"
#include "base/mac.h"

#include <stdbool.h>
#include <stdint.h>

#define GUARD_IPS_MAX	   32u /* of one guest */
#define GUARD_GATEWAY_MAX  9u  /* addresses of the gateway, its link-local one among them */
#define GUARD_PREFIXES_MAX 9u  /* fe80::/64 among them */

struct guard {
	bool has_mac; /* false: none is bound yet; control sees the first frame and binds it */
	/* The MAC stays: it is configured, or has a lease or a reservation. Until then the guest
	 * may change its mind, as a tap does whose MAC is set after it has come up. */
	bool settled;
	struct mac mac;
	uint8_t count;
	struct ip ips[GUARD_IPS_MAX];
	uint8_t gateway_count;
	struct ip gateway[GUARD_GATEWAY_MAX]; /* no guest may have these */
	/* Prefixes in which guests choose their own addresses: the first to use one has it. */
	uint8_t prefix_count;
	struct ip_prefix prefixes[GUARD_PREFIXES_MAX];
};

enum guard_verdict {
	GUARD_PASS,
	GUARD_DROP,
	GUARD_ASK, /* the first MAC, or an address that may be claimed: control decides */
};

/* Worker. Parses the frame if that was not done. *reason is set with GUARD_DROP. */
enum guard_verdict guard_check(const struct guard *guard, struct frame *frame,
			       enum drop_reason *reason);

/* Control. Whether the address is among those the guest has. */
bool guard_has(const struct guard *guard, const struct ip *ip);

#endif
