/* The dirty log of live migration (dirty_log.h): a bitmap shared with the frontend. Control opens
 * and closes it, workers set bits. */
#include "vhost-user/dirty_log.h"

#include "vhost-user/foreign_fd.h"
#include "vhost-user/guest_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What workers see, and how it is mapped. */
struct shared_log {
	struct dirty_log log;
	uint8_t *address;
	size_t length;
	struct fault_range *range;
	_Atomic bool faulted; /* SIGBUS handler: release; dirty_log_faulted(): acquire */
};

static int map_log(struct shared_log *shared, int fd, uint64_t size, uint64_t offset,
		   struct error *error);

int dirty_log_open(int fd, uint64_t size, uint64_t offset, struct dirty_log **out,
		   struct error *error)
{
	struct shared_log *shared = calloc(1, sizeof(*shared));
	int rc;

	if (shared == NULL)
		rc = error_set(error, ENOMEM, "out of memory");
	else
		rc = map_log(shared, fd, size, offset, error);
	foreign_fd_close(fd);
	if (rc < 0) {
		free(shared);
		return rc;
	}
	*out = &shared->log;
	return 0;
}

void dirty_log_close(struct dirty_log *log)
{
	struct shared_log *shared = (struct shared_log *)log;

	if (log == NULL)
		return;
	fault_range_remove(shared->range);
	munmap(shared->address, shared->length);
	free(shared);
}

bool dirty_log_faulted(const struct dirty_log *log)
{
	const struct shared_log *shared = (const struct shared_log *)log;

	/* Partner: the release store of the SIGBUS handler. */
	return log != NULL && atomic_load_explicit(&shared->faulted, memory_order_acquire);
}

void dirty_log_mark(struct dirty_log *log, uint64_t address, uint64_t length)
{
	uint64_t pages = log->size * 8; /* no overflow: size was mapped */
	uint64_t page, last;

	if (length == 0)
		return;
	page = address / DIRTY_LOG_PAGE;
	if (__builtin_add_overflow(address, length - 1, &last))
		last = UINT64_MAX;
	last /= DIRTY_LOG_PAGE;
	if (last >= pages)
		last = pages - 1;
	for (; page <= last && page < pages; page++) {
		uint8_t bit = (uint8_t)(1u << (page % 8));

		/* Release: whoever reads the bit and then the page sees what we wrote before.
		 * Partner: the frontend, which fetches and clears the word atomically. A look
		 * before the write would miss a bit that is being cleared. */
		atomic_fetch_or_explicit(&log->bits[page / 8], bit, memory_order_release);
	}
}

static int map_log(struct shared_log *shared, int fd, uint64_t size, uint64_t offset,
		   struct error *error)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start, end;
	struct stat status;
	int rc;

	/* More than a page bit for each byte of a 64-bit address space is no log; and off_t is
	 * signed. */
	if (size == 0 || __builtin_add_overflow(offset, size, &end) ||
	    end > (uint64_t)INT64_MAX / 8)
		return error_set(error, EINVAL,
				 "a dirty log of 0x%" PRIx64 " bytes at offset 0x%" PRIx64, size,
				 offset);
	rc = foreign_fd_check_memory(fd, error);
	if (rc < 0)
		return rc;
	if (fstat(fd, &status) < 0)
		return error_set(error, errno, "the dirty log's fd: %s", strerror(errno));
	if (status.st_size < 0 || (uint64_t)status.st_size < end)
		return error_set(error, EINVAL,
				 "the dirty log ends at 0x%" PRIx64 " of a file of 0x%" PRIx64
				 " bytes",
				 end, (uint64_t)status.st_size);
	start = offset / page * page;
	shared->length = end - start;
	shared->address =
	    mmap(NULL, shared->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (shared->address == MAP_FAILED)
		return error_set(error, errno, "cannot map the dirty log: %s", strerror(errno));
	shared->range = fault_range_add(shared->address, shared->length, &shared->faulted);
	if (shared->range == NULL) {
		munmap(shared->address, shared->length);
		return error_set(error, ENOMEM, "out of memory");
	}
	shared->log.bits = (_Atomic uint8_t *)(shared->address + (offset - start));
	shared->log.size = size;
	return 0;
}
