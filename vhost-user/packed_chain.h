/* Walks the available descriptors of a packed ring (virtio 1.2, 2.8.6): a cursor that reads them in
 * batches, each once, and a chain on top of it: descriptors one after the other in the ring, or a
 * single one that refers to an indirect table (2.8.7). Worker thread. */
#ifndef WEFT_VHOST_USER_PACKED_CHAIN_H
#define WEFT_VHOST_USER_PACKED_CHAIN_H

#include "base/frame.h"
#include "vhost-user/guest_window.h"
#include "vhost-user/packed_ring.h"

#define PACKED_BATCH BURST_FRAMES

struct packed_cursor {
	const struct virtqueue *vq;
	const struct guest_window *window;
	uint16_t position; /* of the next descriptor */
	uint16_t place;	   /* of it in the batch */
	uint16_t count;	   /* of the batch */
	uint32_t left;	   /* descriptors the ring can still hold: a round, less what is out */
	struct packed_descriptor batch[PACKED_BATCH];
};

enum packed_status {
	PACKED_BUFFER,	 /* chain->current is the next buffer */
	PACKED_END,	 /* there was none left */
	PACKED_BROKEN,	 /* the chain goes on where nothing is available: its end is nowhere */
	PACKED_ADDRESS,	 /* the indirect table is outside the guest's memory */
	PACKED_INDIRECT, /* with NEXT, of a wrong size, or not negotiated */
	PACKED_STATUS_COUNT
};

struct packed_chain {
	struct packed_descriptor current; /* a buffer */
	struct packed_descriptor ring;	  /* the last descriptor taken from the ring */
	struct packed_cursor *cursor;
	struct guest_window *window;
	uint16_t count; /* descriptors of the ring */
	uint32_t steps; /* all descriptors read */
	bool indirect;
	uint32_t table_next;	/* entry */
	uint32_t table_size;	/* entries */
	uint64_t table_address; /* of an indirect table ... */
	const uint8_t *table;	/* ... and where it is here; NULL: in more than one region */
};

/* To `position`, up to a round ahead of vq->last_used. */
static inline void packed_cursor_seek(struct packed_cursor *cursor, uint16_t position)
{
	const struct virtqueue *vq = cursor->vq;

	cursor->position = position;
	cursor->place = 0;
	cursor->count = 0;
	cursor->left = vq->size - packed_distance(vq->last_used, position, vq->size);
}

static inline void packed_cursor_open(struct packed_cursor *cursor, const struct virtqueue *vq,
				      const struct guest_window *window, uint16_t position)
{
	cursor->vq = vq;
	cursor->window = window;
	packed_cursor_seek(cursor, position);
}

/* Reads up to `wanted` available descriptors from the cursor on. */
static inline void packed_cursor_read(struct packed_cursor *cursor, uint32_t wanted)
{
	uint16_t position = cursor->position;
	uint32_t n;

	if (wanted > PACKED_BATCH)
		wanted = PACKED_BATCH;
	if (wanted > cursor->left)
		wanted = cursor->left;
	for (n = 0; n < wanted; n++) {
		if (!packed_descriptor_read(cursor->vq, position, &cursor->batch[n]))
			break;
		guest_window_prefetch(cursor->window, cursor->batch[n].address);
		position = packed_advance(position, 1, cursor->vq->size);
	}
	cursor->place = 0;
	cursor->count = (uint16_t)n;
}

/* How many descriptors are at hand; looks for up to `wanted` when there is none. 0: the ring has no
 * more. */
static inline uint32_t packed_cursor_fill(struct packed_cursor *cursor, uint32_t wanted)
{
	if (cursor->place == cursor->count)
		packed_cursor_read(cursor, wanted);
	return (uint32_t)cursor->count - cursor->place;
}

/* Leaves `count` of those at hand behind. */
static inline void packed_cursor_pass(struct packed_cursor *cursor, uint32_t count)
{
	cursor->position = packed_advance(cursor->position, count, cursor->vq->size);
	cursor->place = (uint16_t)(cursor->place + count);
	cursor->left -= count;
}

/* Begins with the descriptor at the cursor, which is at hand. */
enum packed_status packed_chain_begin(struct packed_chain *chain, struct packed_cursor *cursor,
				      struct guest_window *window);

/* Goes on after PACKED_BUFFER. */
enum packed_status packed_chain_next(struct packed_chain *chain);

/* Moves the cursor behind the chain, wherever the walk ended; from then on chain->count is the
 * number of its descriptors, and chain->ring.id its id (2.8.6). False when it has no end. */
bool packed_chain_close(struct packed_chain *chain);

#endif
