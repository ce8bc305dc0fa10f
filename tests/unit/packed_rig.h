/* The guest of split_rig.h with a packed ring instead: the same memory and buffers, and the
 * driver's side of the ring written from the specification (virtio 1.2, 2.8), sharing no code with
 * weft's. */
#ifndef WEFT_TESTS_PACKED_RIG_H
#define WEFT_TESTS_PACKED_RIG_H

#include "split_rig.h"

#include "vhost-user/packed_journal.h"

#define PRIG_AVAIL 0x80
#define PRIG_USED  0x8000

struct prig_slot {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

struct prig {
	struct rig *rig;
	struct virtqueue *vq;
	struct prig_slot *ring;
	uint16_t *driver_event; /* offset and wrap; flags */
	uint16_t *device_event;
	uint16_t next, used; /* slots */
	bool next_wrap, used_wrap;
	uint16_t next_id;
	uint32_t free;
	uint16_t counts[65536]; /* by id */
};

static inline struct prig *prig_create(uint16_t index, uint16_t size)
{
	struct prig *prig = calloc(1, sizeof(*prig));

	assert_non_null(prig);
	/* Room for two rings: any size here, a power of two there. */
	prig->rig = rig_create(index, 4);
	prig->vq = &prig->rig->vq;
	prig->ring = rig_at(prig->rig, RIG_RINGS, 16u * size);
	prig->driver_event = rig_at(prig->rig, RIG_RINGS + 16u * size, 4);
	prig->device_event = prig->driver_event + 2;
	prig->next_wrap = prig->used_wrap = true;
	prig->free = size;
	memset(prig->ring, 0, 16u * size + 8);
	prig->vq->size = size;
	prig->vq->ops = rig_ops(VIRTQUEUE_PACKED);
	prig->vq->descriptors = prig->ring;
	prig->vq->available = prig->driver_event;
	prig->vq->used = prig->device_event;
	prig->vq->log_descriptors_address = RIG_RINGS;
	prig->vq->journal = calloc(1, packed_journal_bytes(size));
	assert_non_null(prig->vq->journal);
	assert_int_equal(virtqueue_prepare(prig->vq), 0);
	assert_int_equal(virtqueue_packed_resume(prig->vq, 1, VIRTQUEUE_PACKED_START),
			 VIRTQUEUE_PACKED_START);
	return prig;
}

static inline void prig_destroy(struct prig *prig)
{
	free(prig->vq->journal);
	rig_destroy(prig->rig);
	free(prig);
}

static inline void prig_step(const struct prig *prig, uint16_t *slot, bool *wrap, uint32_t count)
{
	while (count-- > 0) {
		if (++*slot == prig->vq->size) {
			*slot = 0;
			*wrap = !*wrap;
		}
	}
}

static inline uint16_t prig_position(uint16_t slot, bool wrap)
{
	return (uint16_t)(slot | (wrap ? 0x8000 : 0));
}

/* Writes a descriptor into the next slot, available; `flags` besides. */
static inline void prig_put(struct prig *prig, uint64_t address, uint32_t length, int flags,
			    uint16_t id)
{
	flags |= prig->next_wrap ? PRIG_AVAIL : PRIG_USED;
	prig->ring[prig->next] = (struct prig_slot){ address, length, id, (uint16_t)flags };
	prig_step(prig, &prig->next, &prig->next_wrap, 1);
	prig->free--;
}

/* An id that is no slot's number. */
static inline uint16_t prig_id(struct prig *prig, uint16_t count)
{
	uint16_t id = (uint16_t)(prig->next_id++ * 77u + 5u);

	prig->counts[id] = count;
	return id;
}

/* A chain of `count` buffers, in the ring or in a table. Returns its id. */
static inline uint16_t prig_chain(struct prig *prig, const struct rig_buffer *buffers,
				  uint16_t count, int flags, bool indirect)
{
	uint16_t id = prig_id(prig, indirect ? 1 : count);

	if (indirect) {
		uint64_t table = rig_alloc(prig->rig, 16u * count);

		for (uint16_t i = 0; i < count; i++) {
			struct prig_slot entry = { buffers[i].address, buffers[i].length, 0xdead,
						   (uint16_t)(flags | 0x10) };

			rig_write(prig->rig, table + 16u * i, &entry, 16);
		}
		prig_put(prig, table, 16u * count, RIG_INDIRECT, id);
		return id;
	}
	for (uint16_t i = 0; i < count; i++)
		prig_put(prig, buffers[i].address, buffers[i].length,
			 flags | (i + 1 < count ? RIG_NEXT : 0),
			 i + 1 < count ? (uint16_t)~id : id);
	return id;
}

static inline bool prig_is_used(const struct prig *prig)
{
	int flags = prig->ring[prig->used].flags & (PRIG_AVAIL | PRIG_USED);

	return flags == (prig->used_wrap ? PRIG_AVAIL | PRIG_USED : 0);
}

/* The next used descriptor stands for the chain `id`, and for `skipped` descriptors before it. */
static inline void prig_expect_used_batch(struct prig *prig, uint16_t id, uint32_t length,
					  uint32_t skipped)
{
	const struct prig_slot *slot = &prig->ring[prig->used];

	assert_true(prig_is_used(prig));
	assert_int_equal(slot->id, id);
	assert_int_equal(slot->flags & RIG_WRITE, length > 0 ? RIG_WRITE : 0);
	if (length > 0)
		assert_int_equal(slot->length, length);
	prig_step(prig, &prig->used, &prig->used_wrap, skipped + prig->counts[id]);
	prig->free += skipped + prig->counts[id];
}

static inline void prig_expect_used(struct prig *prig, uint16_t id, uint32_t length)
{
	prig_expect_used_batch(prig, id, length, 0);
}

static inline void prig_expect_no_used(const struct prig *prig)
{
	assert_true(prig->free == prig->vq->size || !prig_is_used(prig));
}

/* A chain with a zero header and `length` bytes of frame; returns its id. */
static inline uint16_t prig_send_frame(struct prig *prig, const uint8_t *bytes, uint32_t length)
{
	struct rig_buffer buffer = { rig_alloc(prig->rig, 12 + length), 12 + length };
	const uint8_t header[12] = { 0 };

	rig_write(prig->rig, buffer.address, header, 12);
	rig_write(prig->rig, buffer.address + 12, bytes, length);
	return prig_chain(prig, &buffer, 1, 0, false);
}

/* A frame for the guest: `length` bytes of a pattern, which stay until the next one. */
static inline void prig_fill_frame(struct prig *prig, struct frame *frame,
				   struct frame_segment *segment, uint32_t length, uint32_t seed)
{
	static uint8_t bytes[RIG_FRAME_LONGEST];

	rig_pattern(bytes, length, seed);
	*frame = (struct frame){ .head = (uint8_t *)rig_at(prig->rig, RIG_HIGH, FRAME_SLOT) +
					 FRAME_HEADROOM,
				 .length = length };
	memcpy(frame->head, bytes, FRAME_HEAD_MAX);
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	frame->segments = segment;
	segment->base = bytes + frame->head_length;
	segment->length = length - frame->head_length;
	frame->segment_count = segment->length > 0;
}

#endif
