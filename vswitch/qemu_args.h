/* The QEMU arguments that plug a guest into vhost-user ports. Control thread. */
#ifndef WEFT_VSWITCH_QEMU_ARGS_H
#define WEFT_VSWITCH_QEMU_ARGS_H

#include "base/error.h"
#include "vswitch/config.h"

#include <jansson.h>

/* A new array of strings, one an argument: memory of `memory` (QEMU's words: "512M") that weftd can
 * share, and a network device for each of the `count` ports. NULL with *error when a port is no
 * vhost-user port or `memory` is no size. */
json_t *qemu_args(const struct port_config *const *ports, uint32_t count, const char *memory,
		  struct error *error);

/* The MAC of a port's guest: the configured one, or one made from the port's name (52:54:00 and a
 * hash, so that it stays the same). */
struct mac qemu_args_mac(const struct port_config *port);

#endif
