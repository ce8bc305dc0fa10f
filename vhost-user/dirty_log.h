/* The dirty log of live migration (vhost-user spec, "Migration"): one bit for each 4 KiB page of
 * guest physical memory that weft wrote. Worker sets bits (atomic or, shared with the frontend);
 * control maps and unmaps it while queues are quiet. A queue without a log has a NULL pointer and
 * pays one test per batch. */
#ifndef WEFT_VHOST_USER_DIRTY_LOG_H
#define WEFT_VHOST_USER_DIRTY_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define DIRTY_LOG_PAGE 4096u

struct dirty_log {
	_Atomic uint8_t *bits;
	uint64_t size; /* bytes: pages / 8 */
};

/* Control. Maps `size` bytes of fd at `offset`; fd is closed in every case. */
int dirty_log_open(int fd, uint64_t size, uint64_t offset, struct dirty_log **out,
		   struct error *error);
void dirty_log_close(struct dirty_log *log);

/* True once the log's file was truncated under us. Any thread. Takes NULL: false. */
bool dirty_log_faulted(const struct dirty_log *log);

/* Worker. Marks the pages of [address, address + length); what lies beyond the log's size is
 * ignored (never written out of bounds). */
void dirty_log_mark(struct dirty_log *log, uint64_t address, uint64_t length);

#endif
