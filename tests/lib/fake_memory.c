/* Memory of a fake guest (fake_memory.h). Called by the fake guest, on the thread of the test. */
#include "tests/lib/fake_memory.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define USER_BASE 0x200000000000ull
#define USER_STEP 0x200000000ull /* between regions: 8 GiB */

int fake_memory_init(struct fake_memory *memory, uint64_t room)
{
	void *base;

	memset(memory, 0, sizeof(*memory));
	base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	memory->base = base;
	memory->reserved = room;
	return 0;
}

void fake_memory_release(struct fake_memory *memory)
{
	for (uint32_t i = 0; i < memory->region_count; i++)
		fake_memory_unplug(memory, i);
	if (memory->base != NULL)
		munmap(memory->base, memory->reserved);
	memset(memory, 0, sizeof(*memory));
}

int fake_memory_plug(struct fake_memory *memory, uint64_t size)
{
	struct fake_region *region = &memory->regions[memory->region_count];
	int fd, rc;

	if (memory->region_count == FAKE_MEMORY_REGIONS_MAX ||
	    size > memory->reserved - memory->size || size % FAKE_MEMORY_PAGE != 0)
		return -ENOSPC;
	fd = memfd_create("fake-guest", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(FAKE_MEMORY_FILE_OFFSET + size)) != 0 ||
	    mmap(memory->base + memory->size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 fd, FAKE_MEMORY_FILE_OFFSET) == MAP_FAILED) {
		rc = -errno;
		close(fd);
		return rc;
	}
	region->guest_address = FAKE_MEMORY_BASE + memory->size;
	region->size = size;
	region->user_address = USER_BASE + memory->region_count * USER_STEP;
	region->file_offset = FAKE_MEMORY_FILE_OFFSET;
	region->fd = fd;
	memory->size += size;
	return (int)memory->region_count++;
}

void fake_memory_unplug(struct fake_memory *memory, uint32_t region)
{
	if (memory->regions[region].fd >= 0)
		close(memory->regions[region].fd);
	memory->regions[region].fd = -1;
}

uint64_t fake_memory_allocate(struct fake_memory *memory, uint64_t bytes, uint64_t align)
{
	uint64_t start = (memory->used + align - 1) / align * align;

	if (start > memory->size || bytes > memory->size - start)
		return 0;
	memory->used = start + bytes;
	return FAKE_MEMORY_BASE + start;
}

uint64_t fake_memory_allocate_whole(struct fake_memory *memory, uint64_t bytes, uint64_t align)
{
	for (uint32_t i = 0; i < memory->region_count; i++) {
		uint64_t begin = memory->regions[i].guest_address - FAKE_MEMORY_BASE;
		uint64_t end = begin + memory->regions[i].size;
		uint64_t start = memory->used > begin ? memory->used : begin;

		start = (start + align - 1) / align * align;
		if (start <= end && bytes <= end - start) {
			memory->used = start + bytes;
			return FAKE_MEMORY_BASE + start;
		}
	}
	return 0;
}

void *fake_memory_host(const struct fake_memory *memory, uint64_t guest_address)
{
	return memory->base + (guest_address - FAKE_MEMORY_BASE);
}

uint64_t fake_memory_user(const struct fake_memory *memory, uint64_t guest_address)
{
	for (uint32_t i = 0; i < memory->region_count; i++) {
		const struct fake_region *region = &memory->regions[i];

		if (guest_address >= region->guest_address &&
		    guest_address - region->guest_address < region->size)
			return region->user_address + (guest_address - region->guest_address);
	}
	return 0;
}
