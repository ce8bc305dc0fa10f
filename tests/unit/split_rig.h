/* A guest for the tests of the split ring, in bare memory: no socket, no frontend. Three regions
 * (two that touch in guest addresses but not here, one above 4 GiB), a virtqueue over the first,
 * and the driver's side of its ring, written from the specification and sharing no code with
 * weft's. */
#ifndef WEFT_TESTS_SPLIT_RIG_H
#define WEFT_TESTS_SPLIT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vhost-user/virtqueue.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RIG_NEXT     1
#define RIG_WRITE    2
#define RIG_INDIRECT 4

#define RIG_RINGS     0x100000u	   /* guest address of the ring, in region 0 */
#define RIG_DATA      0x200000u	   /* first byte for buffers, region 0 too */
#define RIG_BOUNDARY  0x400000u	   /* region 0 ends, region 1 begins */
#define RIG_END	      0x800000u	   /* region 1 ends */
#define RIG_HIGH      0x140000000u /* region 2, 1 MiB */
#define RIG_HIGH_SIZE 0x100000u
#define RIG_LOG_USED  0x7000000u /* where the used ring is logged: outside every region */

/* Frames of the tests: usual ones, and the longest there may be. */
#define RIG_FRAME_BYTES	  700u
#define RIG_FRAME_LONGEST 65553u

struct rig_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct rig_used {
	uint32_t id;
	uint32_t length;
};

struct rig {
	struct virtqueue vq;
	struct guest_memory *memory;
	struct burst *burst;
	struct port_counters counters;
	struct rig_descriptor *table;
	uint16_t *available; /* flags, index, ring, used_event */
	uint16_t *used;	     /* flags, index, ring of 8 bytes each, avail_event */
	uint16_t next_descriptor;
	uint16_t next_available;
	uint16_t next_used;
	uint64_t next_data;
	int call_fd;
};

static inline void *rig_at(struct rig *rig, uint64_t address, uint32_t length)
{
	uint32_t n = length;
	void *at = guest_memory_at(rig->memory, address, &n);

	assert_non_null(at);
	assert_int_equal(n, length);
	return at;
}

/* To or from guest memory, across regions. */
static inline void rig_write(struct rig *rig, uint64_t address, const void *from, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		*(uint8_t *)rig_at(rig, address + i, 1) = ((const uint8_t *)from)[i];
}

static inline void rig_read(struct rig *rig, uint64_t address, void *to, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = *(uint8_t *)rig_at(rig, address + i, 1);
}

static inline void rig_add_region(struct rig *rig, uint64_t address, uint64_t size)
{
	struct guest_memory_region *region = &rig->memory->regions[rig->memory->region_count++];

	*region = (struct guest_memory_region){ .guest_address = address, .size = size };
	region->host_address = calloc(1, size);
	assert_non_null(region->host_address);
}

/* Which of the variants the rings are compiled in is tested; a test's main() may go through all. */
static unsigned rig_variant;

static inline const struct virtqueue_ops *rig_ops(enum virtqueue_format format)
{
	return virtqueue_ops_variant(format, rig_variant);
}

/* `index`: odd for from_guest, even for to_guest. Set other fields of rig->vq before use. */
static inline struct rig *rig_create(uint16_t index, uint16_t size)
{
	struct rig *rig = aligned_alloc(64, (sizeof(struct rig) + 63) / 64 * 64);

	assert_non_null(rig);
	memset(rig, 0, sizeof(*rig));
	rig->memory = calloc(1, sizeof(struct guest_memory) + 3 * sizeof(rig->memory->regions[0]));
	rig->burst = burst_create();
	assert_non_null(rig->burst);
	rig_add_region(rig, RIG_RINGS, RIG_BOUNDARY - RIG_RINGS);
	rig_add_region(rig, RIG_BOUNDARY, RIG_END - RIG_BOUNDARY);
	rig_add_region(rig, RIG_HIGH, RIG_HIGH_SIZE);
	rig->table = rig_at(rig, RIG_RINGS, 16u * size);
	rig->available = (uint16_t *)(void *)(rig->table + size);
	rig->used = rig->available + 4 + size; /* stays 4-aligned */
	rig->next_data = RIG_DATA;
	rig->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(rig->call_fd >= 0);
	rig->vq.index = index;
	rig->vq.size = size;
	rig->vq.header_size = 12;
	rig->vq.ops = rig_ops(VIRTQUEUE_SPLIT);
	rig->vq.memory = rig->memory;
	rig->vq.descriptors = rig->table;
	rig->vq.available = rig->available;
	rig->vq.used = rig->used;
	rig->vq.kick_fd = -1;
	rig->vq.call_fd = rig->call_fd;
	rig->vq.error_fd = -1;
	assert_int_equal(virtqueue_prepare(&rig->vq), 0);
	virtqueue_split_resume(&rig->vq);
	return rig;
}

static inline void rig_destroy(struct rig *rig)
{
	virtqueue_release(&rig->vq);
	for (uint32_t i = 0; i < rig->memory->region_count; i++)
		free(rig->memory->regions[i].host_address);
	free(rig->memory);
	burst_destroy(rig->burst);
	close(rig->call_fd);
	free(rig);
}

/* Lets both sides go on from `position`, as after a long life of the ring. */
static inline void rig_start_at(struct rig *rig, uint16_t position)
{
	rig->available[1] = position;
	rig->used[1] = position;
	rig->next_available = position;
	rig->next_used = position;
	assert_int_equal(virtqueue_split_resume(&rig->vq), position);
}

static inline uint64_t rig_alloc(struct rig *rig, uint32_t length)
{
	uint64_t address = rig->next_data;

	rig->next_data += length + 3; /* never contiguous, never aligned */
	assert_true(rig->next_data <= RIG_END);
	return address;
}

static inline void rig_set(struct rig *rig, uint16_t i, uint64_t address, uint32_t length,
			   int flags, uint16_t next)
{
	rig->table[i] = (struct rig_descriptor){ address, length, (uint16_t)flags, next };
}

static inline void rig_offer(struct rig *rig, uint16_t head)
{
	rig->available[2 + (rig->next_available++ & (rig->vq.size - 1))] = head;
	__atomic_store_n(&rig->available[1], rig->next_available, __ATOMIC_RELEASE);
}

/* One chain of `count` buffers, in the ring's table from next_descriptor on, or in a table of its
 * own; flags go into each descriptor. Returns its head. */
struct rig_buffer {
	uint64_t address;
	uint32_t length;
};

static inline uint16_t rig_chain(struct rig *rig, const struct rig_buffer *buffers, uint16_t count,
				 int flags, bool indirect)
{
	uint16_t head = rig->next_descriptor;
	uint64_t table = indirect ? rig_alloc(rig, 16u * count) : 0;
	uint16_t first = indirect ? 0 : head;

	for (uint16_t i = 0; i < count; i++) {
		bool last = i + 1 == count;
		struct rig_descriptor d = { buffers[i].address, buffers[i].length,
					    (uint16_t)(flags | (last ? 0 : RIG_NEXT)),
					    (uint16_t)(last ? 0xeeee : first + i + 1) };

		if (indirect)
			rig_write(rig, table + 16u * i, &d, 16);
		else
			rig->table[first + i] = d;
	}
	if (indirect)
		rig_set(rig, head, table, 16u * count, RIG_INDIRECT, 0xeeee);
	rig->next_descriptor = (uint16_t)((head + (indirect ? 1 : count)) % rig->vq.size);
	rig_offer(rig, head);
	return head;
}

/* `length` bytes of buffers of at most `cut` bytes each, the first of `first` bytes. */
static inline uint16_t rig_cut(struct rig *rig, struct rig_buffer *buffers, uint32_t length,
			       uint32_t first, uint32_t cut)
{
	uint16_t count = 0;

	for (uint32_t done = 0; done < length; count++) {
		uint32_t n = count == 0 ? first : cut;

		if (n > length - done)
			n = length - done;
		buffers[count] = (struct rig_buffer){ rig_alloc(rig, n), n };
		done += n;
	}
	return count;
}

static inline void rig_fill(struct rig *rig, const struct rig_buffer *buffers, uint16_t count,
			    const uint8_t *bytes)
{
	for (uint16_t i = 0; i < count; i++) {
		rig_write(rig, buffers[i].address, bytes, buffers[i].length);
		bytes += buffers[i].length;
	}
}

/* What the driver finds in the used ring next; false when nothing. */
static inline bool rig_take_used(struct rig *rig, struct rig_used *used)
{
	uint16_t index = __atomic_load_n(&rig->used[1], __ATOMIC_ACQUIRE);

	if (index == rig->next_used)
		return false;
	memcpy(used, &rig->used[2 + (rig->next_used++ & (rig->vq.size - 1)) * 4], sizeof(*used));
	return true;
}

static inline void rig_expect_used(struct rig *rig, uint32_t id, uint32_t length)
{
	struct rig_used used = { 0 };

	assert_true(rig_take_used(rig, &used));
	assert_int_equal(used.id, id);
	assert_int_equal(used.length, length);
}

static inline void rig_expect_no_used(struct rig *rig)
{
	struct rig_used used;

	assert_false(rig_take_used(rig, &used));
}

/* Calls since the last look. */
static inline uint64_t rig_calls(struct rig *rig)
{
	uint64_t n = 0;

	return read(rig->call_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static inline uint32_t rig_from_guest(struct rig *rig)
{
	burst_reset(rig->burst);
	return virtqueue_from_guest(&rig->vq, rig->burst, &rig->counters);
}

static inline uint64_t rig_drops(const struct rig *rig)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP_COUNT; i++)
		sum += rig->counters.drops[i];
	return sum;
}

/* A frame of bytes that tell their place. */
static inline void rig_pattern(uint8_t *bytes, uint32_t length, uint32_t seed)
{
	for (uint32_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 24);
}

/* The frame has exactly these bytes, and the head it should have. */
static inline void rig_expect_frame(const struct frame *frame, const uint8_t *bytes,
				    uint32_t length)
{
	uint8_t *copy = malloc(length);

	assert_int_equal(frame->length, length);
	assert_int_equal(frame->head_length, length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	frame_copy_out(frame, 0, length, copy);
	assert_memory_equal(copy, bytes, length);
	free(copy);
}

/* A chain with a zero header and `length` bytes of frame; returns its head. */
static inline uint16_t rig_send_frame(struct rig *rig, const uint8_t *bytes, uint32_t length)
{
	struct rig_buffer buffer = { rig_alloc(rig, 12 + length), 12 + length };
	const uint8_t header[12] = { 0 };

	rig_write(rig, buffer.address, header, 12);
	rig_write(rig, buffer.address + 12, bytes, length);
	return rig_chain(rig, &buffer, 1, 0, false);
}

#endif
