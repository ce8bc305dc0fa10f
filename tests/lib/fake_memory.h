/* The memory of a fake guest: regions that follow one another in guest physical addresses, each a
 * memfd of its own, so that a buffer may cross from one file to the next. The frontend's ("user")
 * addresses are made up, far apart and equal to no pointer, so that a device that mixes up the
 * address spaces is found out. */
#ifndef WEFT_TESTS_LIB_FAKE_MEMORY_H
#define WEFT_TESTS_LIB_FAKE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_MEMORY_REGIONS_MAX 512u
#define FAKE_MEMORY_PAGE	4096u
#define FAKE_MEMORY_FILE_OFFSET 8192u /* each region starts here in its file */
#define FAKE_MEMORY_BASE	0x1000000u

struct fake_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t file_offset;
	int fd; /* -1: unplugged */
};

struct fake_memory {
	uint32_t region_count;
	struct fake_region regions[FAKE_MEMORY_REGIONS_MAX];
	uint8_t *base; /* host address of FAKE_MEMORY_BASE */
	uint64_t reserved;
	uint64_t used; /* bytes given out by fake_memory_allocate() */
	uint64_t size; /* bytes of all regions */
};

/* Reserves address space for `room` bytes; no region yet. 0 or -errno. */
int fake_memory_init(struct fake_memory *memory, uint64_t room);
void fake_memory_release(struct fake_memory *memory);

/* A new region behind the last one; `size` is a multiple of the page. Its index or -errno. */
int fake_memory_plug(struct fake_memory *memory, uint64_t size);

/* Closes the file of a region; its addresses stay mapped for the guest. */
void fake_memory_unplug(struct fake_memory *memory, uint32_t region);

/* Gives out guest physical addresses, never taken back: 0 when there are no more.
 * allocate_whole: all in one region, as the parts of a ring must be. */
uint64_t fake_memory_allocate(struct fake_memory *memory, uint64_t bytes, uint64_t align);
uint64_t fake_memory_allocate_whole(struct fake_memory *memory, uint64_t bytes, uint64_t align);

/* Host and frontend addresses of a guest physical one. */
void *fake_memory_host(const struct fake_memory *memory, uint64_t guest_address);
uint64_t fake_memory_user(const struct fake_memory *memory, uint64_t guest_address);

#endif
