/* The forwarding table of one gateway: the longest prefix that holds a destination (RFC 1812,
 * 5.2.4.3; RFC 4291), for both families in one table.
 *
 * Immutable: control builds a new one for every change and publishes it with the snapshot; workers
 * look up without a lock. The prefixes are flattened into ranges that do not overlap, so a lookup
 * is one binary search, whatever the lengths. */
#ifndef WEFT_ROUTE_FIB_H
#define WEFT_ROUTE_FIB_H

#include "base/ip.h"

#include <stdint.h>

enum fib_action {
	FIB_NONE,	 /* no route: destination unreachable */
	FIB_LOCAL,	 /* an address of the gateway itself, or a broadcast of its prefixes */
	FIB_CONNECTED,	 /* on the link of `leg`: the destination is its own next hop */
	FIB_VIA,	 /* through the router `via` on the link of `leg` */
	FIB_UNREACHABLE, /* refused on purpose: administratively prohibited */
};

struct fib_next {
	uint8_t action; /* enum fib_action */
	uint16_t leg;	/* index, for FIB_CONNECTED and FIB_VIA */
	struct ip via;
};

struct fib_route {
	struct ip_prefix prefix; /* host bits are ignored */
	struct fib_next next;
};

struct fib;

/* Control. Of routes to the same prefix the first wins. NULL when memory is short. */
struct fib *fib_create(const struct fib_route *routes, uint32_t count);
void fib_destroy(struct fib *fib);

/* Worker. Never NULL: without a route it says FIB_NONE. Valid as long as the table. */
const struct fib_next *fib_lookup(const struct fib *fib, const struct ip *destination);

#endif
