/* The region of guest memory used last, kept at hand: nearly every buffer of a burst lies in one
 * region, and then translation is a subtraction and a comparison. A window is opened for one burst
 * and thrown away; only the region's index outlives it, as a hint that is safe for any table.
 *
 * Worker thread. The door stays guest_memory.h: what the window does not hold is asked there. */
#ifndef WEFT_VHOST_USER_GUEST_WINDOW_H
#define WEFT_VHOST_USER_GUEST_WINDOW_H

#include "vhost-user/guest_memory.h"

#include <stddef.h>
#include <stdint.h>

/* A function that only prefetches has no effect that gcc knows of, and a call to it is left out
 * unless it is part of the caller before that is found out. */
#define GUEST_PREFETCH static inline __attribute__((always_inline))

struct guest_window {
	uint64_t address; /* guest physical */
	uint64_t size;	  /* 0: nothing held yet */
	uint8_t *host;	  /* of address */
	const struct guest_memory *memory;
	uint32_t index; /* of the region */
};

static inline void guest_window_set(struct guest_window *window, uint32_t index)
{
	const struct guest_memory_region *region = &window->memory->regions[index];

	window->address = region->guest_address;
	window->size = region->size;
	window->host = region->host_address;
	window->index = index;
}

static inline void guest_window_open(struct guest_window *window, const struct guest_memory *memory,
				     uint32_t hint)
{
	window->memory = memory;
	window->size = 0;
	window->address = 0;
	window->host = NULL;
	window->index = 0;
	if (hint < memory->region_count)
		guest_window_set(window, hint);
}

/* Moves the window to the region that holds `address`; false when there is none. */
static inline bool guest_window_move(struct guest_window *window, uint64_t address)
{
	const struct guest_memory_region *region = guest_memory_region_at(window->memory, address);

	if (region == NULL)
		return false;
	guest_window_set(window, (uint32_t)(region - window->memory->regions));
	return true;
}

/* Host address of guest physical `address`; *length is cut to what is contiguous. As
 * guest_memory_at(). */
static inline uint8_t *guest_window_at(struct guest_window *window, uint64_t address,
				       uint32_t *length)
{
	uint64_t offset = address - window->address;

	if (offset >= window->size) {
		if (!guest_window_move(window, address))
			return NULL;
		offset = address - window->address;
	}
	if (window->size - offset < *length)
		*length = (uint32_t)(window->size - offset);
	return window->host + offset;
}

/* Host address of all of [address, address + length) when one region holds it, else NULL. */
static inline uint8_t *guest_window_span(struct guest_window *window, uint64_t address,
					 uint32_t length)
{
	uint32_t contiguous = length;
	uint8_t *host = guest_window_at(window, address, &contiguous);

	return contiguous == length ? host : NULL;
}

/* Asks for the first lines of a buffer of `length` bytes that will be read soon, as many as a
 * frame's head may take. */
GUEST_PREFETCH void guest_window_prefetch_host(const uint8_t *host, uint32_t length)
{
	__builtin_prefetch(host);
	__builtin_prefetch(host + 64);
	if (length > 128) {
		__builtin_prefetch(host + 128);
		__builtin_prefetch(host + 192);
	}
}

/* The same for a guest's address; never more than a hint. */
GUEST_PREFETCH void guest_window_prefetch_head(const struct guest_window *window, uint64_t address,
					       uint32_t length)
{
	uint64_t offset = address - window->address;

	if (offset < window->size)
		guest_window_prefetch_host(window->host + offset, length);
}

#endif
