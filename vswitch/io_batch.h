/* Several reads or writes of one file with one system call (io_uring), or with a call each where
 * the kernel has it not for this file, or where it is denied. For files that take and give whole
 * messages and do not block, as a tap does. Create and destroy: control; the rest: one thread at a
 * time. */
#ifndef WEFT_VSWITCH_IO_BATCH_H
#define WEFT_VSWITCH_IO_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define IO_BATCH_MAX 128u

struct io_operation {
	struct iovec *parts; /* stay the caller's */
	uint32_t part_count; /* at most 1,024, the kernel's limit */
	int result;	     /* bytes, or -errno */
};

struct io_batch;

/* For a file open for both, with O_NONBLOCK; it stays the caller's. NULL: out of memory. The owner
 * frees with io_batch_destroy(), which takes NULL. */
struct io_batch *io_batch_create(int fd);
void io_batch_destroy(struct io_batch *batch);

/* Whether one system call is enough; no more, once the ring has failed (the kernel had no memory,
 * say). Any thread. */
bool io_batch_has_ring(const struct io_batch *batch);

/* `count` operations, IO_BATCH_MAX at most, in their order; each has its result afterwards. Behind
 * a read that found nothing others may still find a message that came meanwhile. */
void io_batch_read(struct io_batch *batch, struct io_operation *operations, uint32_t count);
void io_batch_write(struct io_batch *batch, struct io_operation *operations, uint32_t count);

#endif
