/* Clients of UDP forwards on the host's loopback. libslirp shows them to the guest as the gateway,
 * whose address it answers to only with `host-loopback`. Here each such client is noted when a
 * datagram of its comes, and the guest's answers go to it alone: by its own address, which is no
 * alias to libslirp and is else never let through (user_filter.h). So libslirp's guard stays on.
 *
 * A client is noted by its address on the loopback, which the kernel lets nobody outside forge. So
 * libslirp must not have changed it to the gateway's, which somebody outside can send as well: see
 * user_loopback_opening().
 *
 * Plain memory, under the lock of user_stack.c. */
#ifndef WEFT_VSWITCH_USER_LOOPBACK_H
#define WEFT_VSWITCH_USER_LOOPBACK_H

#include "vswitch/port_user.h"
#include "vswitch/user_stack.h"

#include <stddef.h>
#include <stdint.h>

/* ms after a client's last datagram: as long as libslirp keeps a flow of UDP. */
#define USER_LOOPBACK_AGE 240000

struct user_loopback;

/* `open`: the gateway's address is the host's loopback to guests, what is not known passes. NULL
 * when memory is short. */
struct user_loopback *user_loopback_create(const struct port_user_addresses *addresses, bool open);
void user_loopback_destroy(struct user_loopback *loopback);

/* The forwards there are from now on; clients of no port of theirs are forgotten. */
void user_loopback_set_forwards(struct user_loopback *loopback, const struct user_forward *forwards,
				uint32_t count);

/* Writes the frame of the guest that a UDP forward begins with, before anything comes by it: its
 * time to live ends in libslirp, which has then seen the forward's flow go to the loopback and not
 * to the gateway, and leaves the addresses of clients as they are. The frame's length. */
size_t user_loopback_opening(const struct user_forward *forward, uint8_t *out, size_t size);

/* A frame from libslirp as the guest is to have it: `frame`, or a copy with the gateway as its
 * source, valid until the next call; NULL for what tells of the loopback and is for nobody. Frames
 * are Ethernet, of `length` bytes; `now` in ms. */
const uint8_t *user_loopback_to_guest(struct user_loopback *loopback, const uint8_t *frame,
				      uint32_t length, int64_t now);

/* A frame of the guest that passed user_filter(), as libslirp is to have it: `frame`, or a copy
 * with the client as its destination; NULL when a forward's guest answers to nobody there. */
const uint8_t *user_loopback_from_guest(struct user_loopback *loopback, const uint8_t *frame,
					uint32_t length, int64_t now);

#endif
