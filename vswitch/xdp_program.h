/* The XDP program that shares an interface between its AF_XDP sockets and the kernel. Control. */
#ifndef WEFT_VSWITCH_XDP_PROGRAM_H
#define WEFT_VSWITCH_XDP_PROGRAM_H

#include "base/error.h"
#include "vswitch/netlink.h"

#include <stdbool.h>
#include <stdint.h>

struct xdp_program;

/* What the kernel leaves of a chunk, before what it receives (XDP_PACKET_HEADROOM). */
#define XDP_CHUNK   4096u
#define XDP_MTU_MAX (XDP_CHUNK - 256u - 18u)

/* Puts the program on the interface, in the driver where that is possible, else in the stack
 * (generic XDP), with room for sockets of `queues` queues. It sends to the socket of the queue what
 * came for one MAC, not the interface's own, and is no longer than its MTU allows; all else goes on
 * to the kernel, also while the queue has no socket. It is gone when it is closed or the process
 * ends, in whatever way. 0, or -errno with the error set and nothing left. */
int xdp_program_open(const struct netlink_link *link, uint16_t queues, struct xdp_program **out,
		     struct error *error);
void xdp_program_close(struct xdp_program *program); /* takes NULL */

/* The interface may have another MAC or MTU: goes by them from the next frame on. 0, or -errno with
 * the error set, and the program is to be closed. */
int xdp_program_follow(struct xdp_program *program, const struct netlink_link *link,
		       struct error *error);

/* The MTU it goes by. Any thread; one that has just changed may not be seen yet. */
uint32_t xdp_program_mtu(const struct xdp_program *program);

/* What comes by a queue goes to this AF_XDP socket from now on, until it is closed. 0 or -errno
 * with the error set. */
int xdp_program_add(struct xdp_program *program, uint32_t queue, int socket, struct error *error);

/* In the interface's driver, and not in the stack. */
bool xdp_program_is_native(const struct xdp_program *program);

/* Sets the error to what an errno of BPF or AF_XDP means to the user; returns -code. */
int xdp_error(struct error *error, const char *what, int code);

#endif
