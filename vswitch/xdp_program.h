/* The XDP program that shares an interface between its AF_XDP sockets and the kernel. Control. */
#ifndef WEFT_VSWITCH_XDP_PROGRAM_H
#define WEFT_VSWITCH_XDP_PROGRAM_H

#include "base/error.h"
#include "base/mac.h"

#include <stdbool.h>
#include <stdint.h>

struct xdp_program;

/* Puts the program on the interface, in the driver where that is possible, else in the stack
 * (generic XDP), with room for sockets of `queues` queues. It sends to the socket of the queue what
 * came for one MAC, not `own`, and is no longer than `mtu` allows; all else goes on to the kernel,
 * also while the queue has no socket. It is gone when it is closed or the process ends, in whatever
 * way. 0, or -errno with the error set and nothing left. */
int xdp_program_open(int ifindex, struct mac own, uint32_t mtu, uint16_t queues,
		     struct xdp_program **out, struct error *error);
void xdp_program_close(struct xdp_program *program); /* takes NULL */

/* Another MAC or MTU, from the next frame on. 0, or -errno with the error set and the old ones
 * standing. */
int xdp_program_change(struct xdp_program *program, struct mac own, uint32_t mtu,
		       struct error *error);

/* What comes by a queue goes to this AF_XDP socket from now on, until it is closed. 0 or -errno
 * with the error set. */
int xdp_program_add(struct xdp_program *program, uint32_t queue, int socket, struct error *error);

/* In the interface's driver, and not in the stack. */
bool xdp_program_is_native(const struct xdp_program *program);

/* Sets the error to what an errno of BPF or AF_XDP means to the user; returns -code. */
int xdp_error(struct error *error, const char *what, int code);

#endif
