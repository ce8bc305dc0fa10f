/* The steps of forwarding an IP packet that need no table (RFC 1812, 5.2 and 5.3; RFC 8200). Worker
 * threads, on the worker's own copy of the headers; pure functions. */
#ifndef WEFT_ROUTE_FORWARD_H
#define WEFT_ROUTE_FORWARD_H

#include "base/drop.h"
#include "base/frame.h"
#include "base/ip.h"
#include "base/mac.h"

#include <stdint.h>

enum forward_check {
	FORWARD_OK,
	FORWARD_TTL,	    /* goes no further, but may be for us: control decides; time exceeded */
	FORWARD_LINK_LOCAL, /* source or destination is link-local: for us, or for nobody */
	FORWARD_DROP,	    /* *reason says why */
};

/* Checks a frame that is said to be IP: version, lengths against the frame, IPv4 header checksum
 * and options, addresses. Parses it when that was not done; bytes behind the packet's end (padding)
 * are cut off. Reasons: IP_HEADER, IP_CHECKSUM, IP_OPTIONS (source routing, RFC 7126 4.3 and 4.4;
 * type 0 routing headers, RFC 5095), IP_MARTIAN (RFC 1812, 5.3.7; RFC 4291, 2.5). */
enum forward_check forward_check(struct frame *frame, enum drop_reason *reason);

/* The addresses of a frame that has passed. */
struct ip forward_source(const struct frame *frame);
struct ip forward_destination(const struct frame *frame);

/* The frame's new MACs, and one hop less (RFC 1141, RFC 1624); the TTL was at least 2. */
void forward_rewrite(struct frame *frame, const struct mac *from, const struct mac *to);

enum forward_fit {
	FORWARD_FITS,	  /* as it is, or its segments do */
	FORWARD_FRAGMENT, /* does now: the frame has become FRAME_GSO_FRAGMENT */
	FORWARD_TOO_BIG,  /* ICMP fragmentation needed, or packet too big, with the MTU */
};

/* Whether a checked frame goes through a link of `mtu` bytes. IPv4 without DF is marked to be cut
 * in fragments, TCP in smaller segments; IPv6 and DF are too big (RFC 1191; RFC 8200, 5), and so
 * are the datagrams of FRAME_GSO_UDP. */
enum forward_fit forward_fits(struct frame *frame, uint32_t mtu);

/* The same for a packet of the gateway's own, or one that was reassembled here: its source is us,
 * so that IPv6 may be fragmented, and DF does not hold. */
enum forward_fit forward_fits_own(struct frame *frame, uint32_t mtu);

/* Lowers the MSS option of a TCP SYN to what fits in `mtu`; never raises it. */
void forward_clamp_mss(struct frame *frame, uint32_t mtu);

#endif
