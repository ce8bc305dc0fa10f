/* What the host's kernel says of its interfaces, and what we ask it to change: links, addresses,
 * routes (rtnetlink(7), by libnl). In the network namespace of the process. Control thread. */
#ifndef WEFT_VSWITCH_NETLINK_H
#define WEFT_VSWITCH_NETLINK_H

#include "base/error.h"
#include "base/ip.h"
#include "base/mac.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;

struct netlink_link {
	char name[IFNAMSIZ];
	int index;
	bool ethernet;
	bool up;      /* set up by its administrator */
	bool carrier; /* up, and the cable is in */
	uint32_t mtu;
	struct mac mac;
};

/* The interface of that name. 0, -ENODEV, or another -errno with the error set. */
int netlink_get_link(const char *name, struct netlink_link *link, struct error *error);

/* Sets the interface up, and its MTU when that is not 0. */
int netlink_set_up(int index, uint32_t mtu, struct error *error);

/* The addresses of an interface, both families, at most `room`, into `addresses`; *count is how
 * many. 0 or -errno. */
int netlink_interface_addresses(int index, struct ip_prefix *addresses, uint32_t room,
				uint32_t *count, struct error *error);

/* An address of the host on an interface, to be used at once (no duplicate address detection). Add:
 * -EEXIST when it is there already; remove: -EADDRNOTAVAIL when it is not. */
int netlink_add_address(int index, const struct ip_prefix *address, struct error *error);
int netlink_remove_address(int index, const struct ip_prefix *address, struct error *error);

/* A route of the host's main table by a gateway on an interface. Add: -EEXIST when there is a route
 * to the prefix already, by whatever way; remove: -ESRCH when there is not this one. */
int netlink_add_route(int index, const struct ip_prefix *to, const struct ip *via,
		      struct error *error);
int netlink_remove_route(int index, const struct ip_prefix *to, const struct ip *via,
			 struct error *error);

/* Whether a default route of the main table, of either family, leaves by the interface: 1 or 0, or
 * -errno with the error set. */
int netlink_is_default_route(int index, struct error *error);

/* The interface by which the host's default route of a family (AF_INET, AF_INET6) leaves; of
 * several that with the lowest metric. 0, or -ENOENT when there is none, or -errno. */
int netlink_default_route(int family, char name[IFNAMSIZ], struct error *error);

/* Follows the interface of a name while it comes, changes, and goes: one socket serves all. The
 * handler runs on the event loop whenever the kernel speaks of it, with link NULL when there is
 * none (any more), and not before netlink_watch() has returned; it may add and end watches, its own
 * too. All watches are of one loop. 0 or -errno. */
struct netlink_watch;
typedef void (*netlink_handler)(void *context, const struct netlink_link *link);
int netlink_watch(struct event_base *loop, const char *name, netlink_handler handler, void *context,
		  struct netlink_watch **out, struct error *error);
void netlink_unwatch(struct netlink_watch *watch); /* takes NULL */

#endif
