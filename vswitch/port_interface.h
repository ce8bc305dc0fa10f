/* What a network asks about its uplink when that is an interface of the host (port_interface.c).
 * Control thread. */
#ifndef WEFT_VSWITCH_PORT_INTERFACE_H
#define WEFT_VSWITCH_PORT_INTERFACE_H

#include "base/error.h"
#include "vswitch/config.h"

#include <stdint.h>

struct port;

/* The MTU of the interface as last heard from the kernel; 0 while it is gone. */
uint32_t port_interface_mtu(const struct port *port);

/* Calls `changed` on the event loop after the interface's link, MTU or presence changed (NULL: not
 * any more). One listener a port. */
void port_interface_listen(struct port *port, void (*changed)(void *context), void *context);

#endif
