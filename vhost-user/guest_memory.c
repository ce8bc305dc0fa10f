/* The table of a guest's memory regions (guest_memory.h): checks what the frontend says of them,
 * maps their files, finds addresses. Control thread builds and releases tables; lookups are for
 * workers too. */
#include "vhost-user/guest_memory.h"

#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

struct guest_memory_mapping {
	uint8_t *address;
	size_t length;
	dev_t device; /* of the file, with inode and offset: to know it again */
	ino_t inode;
	uint64_t offset;
	uint32_t references; /* tables that hold it; control's */
	struct fault_range *range;
	_Atomic bool faulted; /* SIGBUS handler: release; guest_memory_faulted(): acquire */
};

/* Times one region may be added: once for each pair of queues is usual. */
#define ADDED_MAX 256u

static uint32_t find_region(const struct guest_memory *memory,
			    const struct guest_memory_region_request *request);
static bool is_same_file(const struct guest_memory_region *region,
			 const struct guest_memory_region_request *request, int fd);
static int check_request(const struct guest_memory_region_request *request, struct error *error);
static int check_overlaps(const struct guest_memory *memory,
			  const struct guest_memory_region_request *request, struct error *error);
static int map_region(const struct guest_memory_region_request *request, int fd,
		      struct guest_memory_region *region, struct error *error);
static void mapping_put(struct guest_memory_mapping *mapping);
static struct guest_memory *table_copy(const struct guest_memory *base, uint32_t capacity);
static int table_insert(struct guest_memory *memory,
			const struct guest_memory_region_request *request, int fd,
			struct error *error);

int guest_memory_create(const struct guest_memory_region_request *requests, const int *fds,
			uint32_t count, struct guest_memory **out, struct error *error)
{
	struct guest_memory *memory = NULL;
	int rc = 0;

	if (count > GUEST_MEMORY_REGIONS_MAX)
		rc = error_set(error, ENOSPC, "%u memory regions, at most %u are possible", count,
			       GUEST_MEMORY_REGIONS_MAX);
	else if ((memory = table_copy(NULL, count)) == NULL)
		rc = error_set(error, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		if (rc == 0)
			rc = table_insert(memory, &requests[i], fds[i], error);
		foreign_fd_close(fds[i]);
	}
	if (rc < 0) {
		guest_memory_release(memory);
		return rc;
	}
	*out = memory;
	return 0;
}

int guest_memory_add(const struct guest_memory *base,
		     const struct guest_memory_region_request *request, int fd,
		     struct guest_memory **out, struct error *error)
{
	uint32_t count = base != NULL ? base->region_count : 0;
	uint32_t at = find_region(base, request);
	bool again = at < count && is_same_file(&base->regions[at], request, fd);
	struct guest_memory *memory = NULL;
	int rc = 0;

	if (again ? base->regions[at].added >= ADDED_MAX : count >= GUEST_MEMORY_REGIONS_MAX)
		rc = again ? error_set(error, ENOSPC, "a memory region added %u times", ADDED_MAX)
			   : error_set(error, ENOSPC, "all %u memory slots are in use",
				       GUEST_MEMORY_REGIONS_MAX);
	else if ((memory = table_copy(base, count + 1)) == NULL)
		rc = error_set(error, ENOMEM, "out of memory");
	else if (again)
		memory->regions[at].added++;
	else
		rc = table_insert(memory, request, fd, error);
	foreign_fd_close(fd);
	if (rc < 0) {
		guest_memory_release(memory);
		return rc;
	}
	*out = memory;
	return 0;
}

int guest_memory_remove(const struct guest_memory *base,
			const struct guest_memory_region_request *request,
			struct guest_memory **out, struct error *error)
{
	uint32_t count = base != NULL ? base->region_count : 0;
	uint32_t at = find_region(base, request);
	struct guest_memory *memory;

	if (at == count)
		return error_set(error, ENOENT,
				 "there is no memory region at 0x%" PRIx64 " of 0x%" PRIx64
				 " bytes to remove",
				 request->guest_address, request->size);
	memory = table_copy(base, count);
	if (memory == NULL)
		return error_set(error, ENOMEM, "out of memory");
	*out = memory;
	if (--memory->regions[at].added > 0)
		return 0;
	mapping_put(memory->regions[at].mapping);
	memory->region_count--;
	memmove(&memory->regions[at], &memory->regions[at + 1],
		(memory->region_count - at) * sizeof(memory->regions[0]));
	return 0;
}

void guest_memory_release(struct guest_memory *memory)
{
	if (memory == NULL)
		return;
	for (uint32_t i = 0; i < memory->region_count; i++)
		mapping_put(memory->regions[i].mapping);
	free(memory);
}

bool guest_memory_faulted(const struct guest_memory *memory)
{
	if (memory == NULL)
		return false;
	for (uint32_t i = 0; i < memory->region_count; i++) {
		/* Partner: the release store of the SIGBUS handler. */
		if (atomic_load_explicit(&memory->regions[i].mapping->faulted,
					 memory_order_acquire))
			return true;
	}
	return false;
}

void *guest_memory_at_user(const struct guest_memory *memory, uint64_t address, uint64_t length)
{
	if (memory == NULL)
		return NULL;
	for (uint32_t i = 0; i < memory->region_count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];
		/* Wraps to a huge number when address is below the region. */
		uint64_t offset = address - region->user_address;

		if (offset < region->size && length <= region->size - offset)
			return region->host_address + offset;
	}
	return NULL;
}

bool guest_memory_guest_address(const struct guest_memory *memory, const void *host,
				uint64_t *address)
{
	for (uint32_t i = 0; i < memory->region_count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];
		uint64_t offset = (uintptr_t)host - (uintptr_t)region->host_address;

		if (offset < region->size) {
			*address = region->guest_address + offset;
			return true;
		}
	}
	return false;
}

/* The index of the region that matches in all but the offset; the count of regions if none does. */
static uint32_t find_region(const struct guest_memory *memory,
			    const struct guest_memory_region_request *request)
{
	uint32_t count = memory != NULL ? memory->region_count : 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];

		if (region->guest_address == request->guest_address &&
		    region->size == request->size && region->user_address == request->user_address)
			return i;
	}
	return count;
}

static bool is_same_file(const struct guest_memory_region *region,
			 const struct guest_memory_region_request *request, int fd)
{
	const struct guest_memory_mapping *mapping = region->mapping;
	struct stat status;

	/* Only of files that may be asked: fstat() of some could stall. */
	return foreign_fd_check_memory(fd, NULL) == 0 && fstat(fd, &status) == 0 &&
	       status.st_dev == mapping->device && status.st_ino == mapping->inode &&
	       request->mmap_offset == mapping->offset;
}

static int check_request(const struct guest_memory_region_request *request, struct error *error)
{
	uint64_t end, file_end;

	if (request->size == 0)
		return error_set(error, EINVAL, "a memory region of size 0");
	if (__builtin_add_overflow(request->guest_address, request->size - 1, &end) ||
	    __builtin_add_overflow(request->user_address, request->size - 1, &end))
		return error_set(error, EINVAL,
				 "a memory region of 0x%" PRIx64 " bytes reaches beyond the end of "
				 "the address space",
				 request->size);
	/* off_t is signed, and the end is rounded up to a huge page later. */
	if (__builtin_add_overflow(request->mmap_offset, request->size, &file_end) ||
	    file_end > (uint64_t)INT64_MAX / 2)
		return error_set(error, EINVAL,
				 "a memory region's offset 0x%" PRIx64 " and size 0x%" PRIx64
				 " are beyond any file",
				 request->mmap_offset, request->size);
	return 0;
}

/* Both sizes are > 0 and neither range wraps: check_request() came first. */
static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

static int check_overlaps(const struct guest_memory *memory,
			  const struct guest_memory_region_request *request, struct error *error)
{
	for (uint32_t i = 0; i < memory->region_count; i++) {
		const struct guest_memory_region *region = &memory->regions[i];

		if (ranges_overlap(region->guest_address, region->size, request->guest_address,
				   request->size) ||
		    ranges_overlap(region->user_address, region->size, request->user_address,
				   request->size))
			return error_set(error, EINVAL,
					 "the memory region at 0x%" PRIx64
					 " overlaps the one at 0x%" PRIx64,
					 request->guest_address, region->guest_address);
	}
	return 0;
}

/* The unit in which the file can be mapped. */
static uint64_t file_page_size(int fd)
{
	struct statfs status;

	if (fstatfs(fd, &status) == 0 && status.f_type == HUGETLBFS_MAGIC && status.f_bsize > 0)
		return (uint64_t)status.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int map_region(const struct guest_memory_region_request *request, int fd,
		      struct guest_memory_region *region, struct error *error)
{
	struct guest_memory_mapping *mapping;
	uint64_t page, start, length;
	struct stat status;
	int rc;

	rc = foreign_fd_check_memory(fd, error);
	if (rc < 0)
		return rc;
	if (fstat(fd, &status) < 0)
		return error_set(error, errno, "a memory fd: %s", strerror(errno));
	if (status.st_size < 0 || (uint64_t)status.st_size < request->mmap_offset + request->size)
		return error_set(error, EINVAL,
				 "a memory region ends at 0x%" PRIx64 " of a file of 0x%" PRIx64
				 " bytes",
				 request->mmap_offset + request->size, (uint64_t)status.st_size);
	mapping = calloc(1, sizeof(*mapping));
	if (mapping == NULL)
		return error_set(error, ENOMEM, "out of memory");
	page = file_page_size(fd);
	start = request->mmap_offset / page * page;
	length = (request->mmap_offset + request->size - start + page - 1) / page * page;
	mapping->length = length;
	mapping->device = status.st_dev;
	mapping->inode = status.st_ino;
	mapping->offset = request->mmap_offset;
	mapping->address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
				fd, (off_t)start);
	if (mapping->address == MAP_FAILED) {
		rc =
		    error_set(error, errno, "cannot map a memory region of 0x%" PRIx64 " bytes: %s",
			      request->size, strerror(errno));
		goto fail_mapping;
	}
	/* A core dump of ours is no place for guests' memory. Best effort. */
	(void)madvise(mapping->address, length, MADV_DONTDUMP);
	mapping->range = fault_range_add(mapping->address, length, &mapping->faulted);
	if (mapping->range == NULL) {
		rc = error_set(error, ENOMEM, "out of memory");
		goto fail_range;
	}
	mapping->references = 1;
	region->guest_address = request->guest_address;
	region->size = request->size;
	region->user_address = request->user_address;
	region->host_address = mapping->address + (request->mmap_offset - start);
	region->mapping = mapping;
	region->added = 1;
	return 0;

fail_range:
	munmap(mapping->address, length);
fail_mapping:
	free(mapping);
	return rc;
}

static void mapping_put(struct guest_memory_mapping *mapping)
{
	if (--mapping->references > 0)
		return;
	fault_range_remove(mapping->range);
	munmap(mapping->address, mapping->length);
	free(mapping);
}

/* `capacity` >= the regions of base, which may be NULL. */
static struct guest_memory *table_copy(const struct guest_memory *base, uint32_t capacity)
{
	struct guest_memory *memory;

	memory = calloc(1, sizeof(*memory) + capacity * sizeof(memory->regions[0]));
	if (memory == NULL || base == NULL)
		return memory;
	memory->region_count = base->region_count;
	for (uint32_t i = 0; i < base->region_count; i++) {
		memory->regions[i] = base->regions[i];
		memory->regions[i].mapping->references++;
	}
	return memory;
}

/* The table has room. fd stays the caller's. */
static int table_insert(struct guest_memory *memory,
			const struct guest_memory_region_request *request, int fd,
			struct error *error)
{
	struct guest_memory_region region;
	uint32_t at = 0;
	int rc;

	rc = check_request(request, error);
	if (rc == 0)
		rc = check_overlaps(memory, request, error);
	if (rc == 0)
		rc = map_region(request, fd, &region, error);
	if (rc < 0)
		return rc;
	while (at < memory->region_count &&
	       memory->regions[at].guest_address < region.guest_address)
		at++;
	memmove(&memory->regions[at + 1], &memory->regions[at],
		(memory->region_count - at) * sizeof(memory->regions[0]));
	memory->regions[at] = region;
	memory->region_count++;
	return 0;
}
