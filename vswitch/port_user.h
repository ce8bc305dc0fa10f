/* What a network asks of its uplink when that is a user port (port_user.c): the addresses on its
 * little network, and forwards from the host. Control thread. */
#ifndef WEFT_VSWITCH_PORT_USER_H
#define WEFT_VSWITCH_PORT_USER_H

#include "base/error.h"
#include "base/ip.h"
#include "vswitch/config.h"

#include <stdint.h>

#define PORT_USER_MTU 1500u

struct port;
struct user_forward; /* user_stack.h */

/* The network behind a user port. Its one host, to which forwards go, is `guest` (a gateway's outer
 * leg has this address, nothing gives it to it); `gateway` is its way out, `dns` the host's
 * resolver. libslirp learns the guest's MAC by ARP and ND. */
struct port_user_addresses {
	struct ip_prefix guest, guest6; /* address with the network's length */
	struct ip gateway, gateway6;
	struct ip dns, dns6;
	uint16_t mtu;
};

/* Follows from the configuration alone; the port need not be open. */
void port_user_addresses(const struct port_config *config, struct port_user_addresses *addresses);

/* Listens on the host and passes what comes to guest:guest_port. protocol is IPPROTO_TCP or
 * IPPROTO_UDP; an unspecified host is every address of the family; both addresses have one family.
 * The port is open. They are gone when the port closes. 0, or -errno with the error set:
 * -EADDRINUSE (somebody listens there already), -EACCES (a port below 1024), -EADDRNOTAVAIL (not an
 * address of the host), -EINVAL, -ENOSPC (too many). */
int port_user_add_forward(struct port *port, uint8_t protocol, const struct ip *host,
			  uint16_t host_port, const struct ip *guest, uint16_t guest_port,
			  struct error *error);
/* Stops listening; what is connected goes on. -ENOENT when there is no such forward. */
int port_user_remove_forward(struct port *port, uint8_t protocol, const struct ip *host,
			     uint16_t host_port, struct error *error);
/* Those there are, in the order they were added; valid until one is added or removed. */
const struct user_forward *port_user_forwards(const struct port *port, uint32_t *count);

#endif
