/* What netlink.c and netlink_watch.c share. */
#ifndef WEFT_VSWITCH_NETLINK_INTERNAL_H
#define WEFT_VSWITCH_NETLINK_INTERNAL_H

#include "vswitch/netlink.h"

#include <stdbool.h>

struct nlmsghdr;

/* Takes a message about an interface (RTM_NEWLINK, RTM_DELLINK) apart. False: not about the
 * interface itself, or malformed. */
bool netlink_parse_link(struct nlmsghdr *message, struct netlink_link *link);

#endif
