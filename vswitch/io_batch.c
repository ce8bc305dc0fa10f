/* Reads and writes of a file, several at a time (io_batch.h).
 *
 * What is submitted is also done within the call, in its order: the file does not block, and
 * RWF_NOWAIT keeps the kernel from waiting in our stead. So nothing is ever in flight between two
 * calls, and no thread of the kernel takes part. */
#include "vswitch/io_batch.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>

#define NOT_DONE INT32_MIN

struct io_batch {
	int fd;
	_Atomic bool has_ring; /* relaxed: control may ask */
	struct io_uring ring;
};

/* Reading or writing, by a call and by an entry of the ring. */
struct direction {
	ssize_t (*call)(int fd, const struct iovec *parts, int count);
	void (*prepare)(struct io_uring_sqe *entry, int fd, const struct iovec *parts,
			unsigned count, __u64 offset);
	int last; /* after this result the others of a call would have the same */
};

static const struct direction reading = { readv, io_uring_prep_readv, -EAGAIN };
static const struct direction writing = { writev, io_uring_prep_writev, NOT_DONE };

bool io_batch_has_ring(const struct io_batch *batch)
{
	return atomic_load_explicit(&batch->has_ring, memory_order_relaxed);
}

static void set_has_ring(struct io_batch *batch, bool has)
{
	atomic_store_explicit(&batch->has_ring, has, memory_order_relaxed);
}

static void close_ring(struct io_batch *batch)
{
	if (io_batch_has_ring(batch))
		io_uring_queue_exit(&batch->ring);
	set_has_ring(batch, false);
}

/* One after the other: those not done yet. */
static void run_plain(struct io_batch *batch, const struct direction *direction,
		      struct io_operation *operations, uint32_t count)
{
	int before = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct io_operation *operation = &operations[i];
		ssize_t n = -1;

		if (operation->result != NOT_DONE)
			continue;
		if (before == direction->last) {
			operation->result = before;
			continue;
		}
		do
			n = direction->call(batch->fd, operation->parts,
					    (int)operation->part_count);
		while (n < 0 && errno == EINTR);
		before = operation->result = n < 0 ? -errno : (int)n;
	}
}

/* Takes the results that are there; how many. */
static uint32_t reap(struct io_batch *batch, struct io_operation *operations, uint32_t count)
{
	struct io_uring_cqe *entry;
	uint32_t n = 0;
	unsigned head;

	io_uring_for_each_cqe(&batch->ring, head, entry)
	{
		uint64_t i = io_uring_cqe_get_data64(entry);

		if (i < count)
			operations[i].result = entry->res;
		n++;
	}
	io_uring_cq_advance(&batch->ring, n);
	return n;
}

/* What it leaves NOT_DONE has not been done. */
static void run_ring(struct io_batch *batch, const struct direction *direction,
		     struct io_operation *operations, uint32_t count)
{
	uint32_t prepared = 0, done = 0;
	struct io_uring_sqe *entry;

	while (prepared < count && (entry = io_uring_get_sqe(&batch->ring)) != NULL) {
		direction->prepare(entry, batch->fd, operations[prepared].parts,
				   operations[prepared].part_count, 0);
		entry->rw_flags = RWF_NOWAIT;
		io_uring_sqe_set_data64(entry, prepared++);
	}
	while (done < prepared) {
		int rc = io_uring_submit_and_wait(&batch->ring, prepared - done);
		uint32_t n = reap(batch, operations, count);

		done += n;
		/* Out of memory, say. What waits in the ring must not be done later. */
		if (rc <= 0 && rc != -EINTR && n == 0) {
			close_ring(batch);
			return;
		}
	}
}

static void run(struct io_batch *batch, const struct direction *direction,
		struct io_operation *operations, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		operations[i].result = NOT_DONE;
	/* For one alone the ring would be a way round. */
	if (io_batch_has_ring(batch) && count > 1)
		run_ring(batch, direction, operations, count);
	run_plain(batch, direction, operations, count);
}

void io_batch_read(struct io_batch *batch, struct io_operation *operations, uint32_t count)
{
	run(batch, &reading, operations, count);
}

void io_batch_write(struct io_batch *batch, struct io_operation *operations, uint32_t count)
{
	run(batch, &writing, operations, count);
}

/* Whether the kernel can do this file's operations within the call: -EOPNOTSUPP where the driver
 * does not know RWF_NOWAIT, as that of taps before Linux 6.4. Tried with nothing to write, which a
 * tap refuses. */
static bool works(struct io_batch *batch)
{
	struct io_operation nothing[2] = { 0 };

	nothing[0].result = nothing[1].result = NOT_DONE;
	run_ring(batch, &writing, nothing, 2);
	return nothing[0].result != NOT_DONE && nothing[0].result != -EOPNOTSUPP &&
	       nothing[0].result != -EAGAIN;
}

struct io_batch *io_batch_create(int fd)
{
	struct io_batch *batch = calloc(1, sizeof(*batch));

	if (batch == NULL)
		return NULL;
	batch->fd = fd;
	if (io_uring_queue_init(IO_BATCH_MAX, &batch->ring, 0) != 0)
		return batch;
	set_has_ring(batch, true);
	if (!works(batch))
		close_ring(batch);
	return batch;
}

void io_batch_destroy(struct io_batch *batch)
{
	if (batch == NULL)
		return;
	close_ring(batch);
	free(batch);
}
