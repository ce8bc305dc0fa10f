/* A network of host sockets: libslirp in a thread of its own, which plays the gateway 10.0.2.2 of a
 * small network and turns what its one guest sends into connections of the host. No privilege
 * needed. Frames come and go through two rings.
 *
 * Control thread for everything here. */
#ifndef WEFT_VSWITCH_USER_STACK_H
#define WEFT_VSWITCH_USER_STACK_H

#include "base/error.h"
#include "base/frame_ring.h"
#include "base/ip.h"
#include "vswitch/port_user.h"
#include "vswitch/user_queue.h"

#include <stdbool.h>
#include <stdint.h>

struct user_stack;

/* A listening socket of the host whose connections, or datagrams, go to the guest. */
struct user_forward {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	struct ip host;	  /* unspecified: every address of the family */
	uint16_t host_port;
	struct ip guest; /* of the same family */
	uint16_t guest_port;
};

struct user_status {
	uint32_t sockets;  /* of connections and flows, open now */
	uint64_t refused;  /* connections and flows of a guest that has its share */
	uint64_t filtered; /* frames of the guest that were not given to libslirp */
	uint64_t lost;	   /* frames to the guest for which the ring had no room */
	uint64_t mistakes; /* of the guest, as libslirp counts them */
};

/* Starts the thread. It takes from `from_guest` and puts into `to_guest`; both are the caller's and
 * stay until user_stack_stop(). 0, or -errno with the error set. */
int user_stack_start(const struct port_user_addresses *addresses, bool host_loopback,
		     struct user_queue *from_guest, struct frame_ring *to_guest,
		     struct user_stack **out, struct error *error);

/* Ends all connections and the thread. Takes NULL. */
void user_stack_stop(struct user_stack *stack);

/* 0; -EADDRINUSE, -EACCES and what else socket(), bind() and listen() say; -EINVAL for families
 * that differ; -ENOSPC for one too many. *error says it. */
int user_stack_add_forward(struct user_stack *stack, const struct user_forward *forward,
			   struct error *error);
/* By protocol, host and host port. Connections that are open go on. -ENOENT. */
int user_stack_remove_forward(struct user_stack *stack, const struct user_forward *forward,
			      struct error *error);

/* The forwards in the order they were added; valid until one is added or removed. */
const struct user_forward *user_stack_forwards(const struct user_stack *stack, uint32_t *count);

void user_stack_get_status(const struct user_stack *stack, struct user_status *status);

#endif
