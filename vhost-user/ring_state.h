/* Where the journals of a device's packed rings live (packed_journal.h): a file for each socket,
 * named after its path, in a directory of weftd's own; so they are there when weftd comes back,
 * however it went. Without a directory, or when the file cannot be had, memory of the process: then
 * only disconnects are survived. Control thread.
 *
 * Nothing in the file is trusted: it is taken only if it is a plain file, ours alone, and in no
 * other process's use; a journal in it counts only for the same socket, queue, ring and size. */
#ifndef WEFT_VHOST_USER_RING_STATE_H
#define WEFT_VHOST_USER_RING_STATE_H

#include "base/error.h"
#include "vhost-user/packed_journal.h"

#include <stdint.h>

struct ring_state;

/* `directory`: NULL, or where the file may be; its last part is made. `socket`: the device's path.
 * A file that cannot be had is logged, with the port's `name`. 0 or -ENOMEM. */
int ring_state_open(const char *directory, const char *socket, const char *name,
		    uint32_t ring_count, struct ring_state **out);

/* Removes the file if no journal in it is of use. Takes NULL. */
void ring_state_close(struct ring_state *state);

/* The journal of a ring, with room for `size` entries; valid until the next call for this ring, or
 * until close. NULL: out of memory. */
struct packed_journal *ring_state_journal(struct ring_state *state, uint32_t ring, uint16_t size);

#endif
