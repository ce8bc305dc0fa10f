/* What of a hostile guest's frames is given to libslirp, and what not. Pure function, any thread.
 */
#ifndef WEFT_VSWITCH_USER_FILTER_H
#define WEFT_VSWITCH_USER_FILTER_H

#include "vswitch/port_user.h"
#include "vswitch/user_flows.h"

#include <stdint.h>

enum user_verdict {
	USER_PASS,
	USER_OPENS, /* like USER_PASS, but may make libslirp open a socket */
	USER_DROP,
};

/* Dropped: what is neither ARP nor IP or lies about it; destinations that mean the host itself to
 * its sockets (127.0.0.0/8 and 0.0.0.0/8, RFC 1122, 3.2.1.3; ::, ::1 and IPv4 in disguise, RFC
 * 4291, 2.5), which would go around `host-loopback`; and ICMPv6 echo requests for hosts outside,
 * for each of which libslirp 4.7 would write a line to standard error.
 *
 * *end is the sender's of what may open a flow of UDP; else its port is 0. */
enum user_verdict user_filter(const struct port_user_addresses *addresses, const uint8_t *frame,
			      uint32_t length, struct user_end *end);

#endif
