/* Whose the sockets of a user port are: connections and flows that libslirp has opened for guests,
 * and for the host. Each guest has at most as many as are left for all others, so that who opens
 * them by the thousand keeps nobody else from the next one.
 *
 * Plain memory, under the lock of user_stack.c. */
#ifndef WEFT_VSWITCH_USER_FLOWS_H
#define WEFT_VSWITCH_USER_FLOWS_H

#include "base/ip.h"

#include <stdbool.h>
#include <stdint.h>

/* The opener of what no guest has asked for: connections that came by a forward. */
#define USER_FLOWS_HOST UINT16_MAX

/* A guest's end of a UDP flow, by which libslirp finds its socket. Port 0: none. */
struct user_end {
	struct ip ip;
	uint16_t port;
};

struct user_flows;

/* For at most `limit` sockets. NULL when memory is short. */
struct user_flows *user_flows_create(uint32_t limit);
void user_flows_destroy(struct user_flows *flows);

/* Sockets that are opened from now on are this guest's, by the number of its port, and of this end.
 * `end` may be NULL. */
void user_flows_set_opener(struct user_flows *flows, uint16_t guest, const struct user_end *end);
void user_flows_opened(struct user_flows *flows, int fd);
/* What is not open is passed over. */
void user_flows_closed(struct user_flows *flows, int fd);

/* Whether the guest may open another one. */
bool user_flows_has_room(const struct user_flows *flows, uint16_t guest);
/* Whether a socket of this end is open, and no other is needed. */
bool user_flows_knows(const struct user_flows *flows, const struct user_end *end);
uint32_t user_flows_count(const struct user_flows *flows);

#endif
