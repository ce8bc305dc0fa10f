/* The guest's memory as the frontend shared it: regions mapped into weftd, and the sole door to
 * them.
 *
 * A guest_memory is immutable once built; control builds a new one for each change (table set,
 * region added or removed), hands it to the queues while they are quiet, waits for a grace period
 * and releases the old one. Mappings are shared between generations by reference count, so hot-plug
 * does not remap the rest.
 *
 * The file behind a mapping belongs to the frontend, which may truncate it at any time: the SIGBUS
 * that follows is caught by guest_memory_handle_faults(), which puts zero pages in the place of the
 * whole region, marks it faulted and wakes control, which takes the port down. No fault ever
 * reaches another port. */
#ifndef WEFT_VHOST_USER_GUEST_MEMORY_H
#define WEFT_VHOST_USER_GUEST_MEMORY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define GUEST_MEMORY_REGIONS_MAX 509u

/* One region as the frontend describes it (vhost-user spec, "Memory region description"). */
struct guest_memory_region_request {
	uint64_t guest_address; /* guest physical */
	uint64_t size;
	uint64_t user_address; /* in the frontend's address space */
	uint64_t mmap_offset;
};

struct guest_memory_mapping; /* one mmap, reference counted */

struct guest_memory_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint8_t *host_address; /* of guest_address */
	struct guest_memory_mapping *mapping;
	uint32_t added; /* times the frontend added it, see guest_memory_add() */
};

/* Regions sorted by guest_address, none overlapping in guest addresses. */
struct guest_memory {
	uint32_t region_count;
	struct guest_memory_region regions[];
};

/* Control. Builds a table with the `count` requests, each with its fd (closed here in every case
 * once mapped or refused; mapping needs it no longer). Refuses: sizes 0 or overflowing, overlaps in
 * guest or user addresses, an offset or size beyond the file's end, a file that is not on
 * tmpfs/memfd, hugetlbfs or a plain local file system (a FUSE file may stall us for ever). -errno
 * and the reason in *error. */
int guest_memory_create(const struct guest_memory_region_request *requests, const int *fds,
			uint32_t count, struct guest_memory **out, struct error *error);

/* Control. A new table: `base` (NULL: empty) plus one region / minus the region that matches
 * guest_address, size and user_address. `base` stays valid and owned by the caller.
 *
 * A region that is there already, of the same file, may be added again, and is gone when it was
 * removed as often: QEMU 7.2 sends each of the two for every pair of queues. */
int guest_memory_add(const struct guest_memory *base,
		     const struct guest_memory_region_request *request, int fd,
		     struct guest_memory **out, struct error *error);
int guest_memory_remove(const struct guest_memory *base,
			const struct guest_memory_region_request *request,
			struct guest_memory **out, struct error *error);

/* Control, after a grace period. Takes NULL. */
void guest_memory_release(struct guest_memory *memory);

/* True once any region's file was truncated under us. Any thread. */
bool guest_memory_faulted(const struct guest_memory *memory);

/* THE door: the host address of guest physical `address`. *length: in, bytes wanted (> 0); out, how
 * many of them are contiguous here (<= wanted, > 0). NULL when the address is in no region. Worker
 * or control; no overflow for any input. A caller that reads a byte twice may see two values: copy
 * first, then check. */
static inline void *guest_memory_at(const struct guest_memory *memory, uint64_t address,
				    uint32_t *length);

/* The region that holds guest physical `address`, or NULL: the door's lookup, for guest_window.h,
 * which keeps the last answer. */
static inline const struct guest_memory_region *
guest_memory_region_at(const struct guest_memory *memory, uint64_t address);

/* Host address of `length` bytes at frontend (user) address, all in one region, or NULL. Ring
 * addresses are given this way. Control. */
void *guest_memory_at_user(const struct guest_memory *memory, uint64_t address, uint64_t length);

/* Guest physical address of a host address inside some region (for dirty logging); false if none.
 */
bool guest_memory_guest_address(const struct guest_memory *memory, const void *host,
				uint64_t *address);

/* Control, once, before the first mapping. Installs the SIGBUS handler for the process.
 * `notify_fd`: an eventfd the handler writes to after a fault, for control to look at
 * guest_memory_faulted(). A SIGBUS outside any shared mapping keeps its default action. */
int guest_memory_handle_faults(int notify_fd);

/* Registers another mapping of a frontend's file (the dirty log) with the fault handler, and takes
 * it out again. `faulted` is set to true by the handler. */
struct fault_range;
struct fault_range *fault_range_add(void *address, size_t length, _Atomic bool *faulted);
void fault_range_remove(struct fault_range *range);

static inline const struct guest_memory_region *
guest_memory_region_at(const struct guest_memory *memory, uint64_t address)
{
	uint32_t low = 0, high = memory->region_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		const struct guest_memory_region *region = &memory->regions[middle];

		if (address < region->guest_address)
			high = middle;
		else if (address - region->guest_address >= region->size)
			low = middle + 1;
		else
			return region;
	}
	return (void *)0;
}

static inline void *guest_memory_at(const struct guest_memory *memory, uint64_t address,
				    uint32_t *length)
{
	const struct guest_memory_region *region = guest_memory_region_at(memory, address);
	uint64_t left;

	if (region == (void *)0)
		return (void *)0;
	left = region->size - (address - region->guest_address);
	if (left < *length)
		*length = (uint32_t)left;
	return region->host_address + (address - region->guest_address);
}

#endif
