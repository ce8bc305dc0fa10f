/* Walks the available descriptors of a packed ring (virtio 1.2, 2.8.6): a cursor that reads them in
 * batches, and a chain on top of it: descriptors one after the other in the ring, or a single one
 * that refers to an indirect table (2.8.7). Worker thread. */
#ifndef WEFT_VHOST_USER_PACKED_CHAIN_H
#define WEFT_VHOST_USER_PACKED_CHAIN_H

#include "vhost-user/net_plain.h"
#include "vhost-user/packed_ring.h"

#define PACKED_LINE  4u	 /* descriptors of a cache line */
#define PACKED_ASKED 64u /* descriptors asked for beyond those read */

/* Lives as long as its queue: what is at hand at the end of a call was read ahead for the next one,
 * and its buffers asked for. A driver may not change what it made available, so reading early reads
 * the same, and so does reading again: whoever needs more than the batch has reads the slot once
 * more and trusts only what it sees then. Where a buffer lies is looked up at once, and stays so:
 * memory changes only while the queue is stopped, and a start begins with nothing read. */
struct packed_cursor {
	const struct virtqueue *vq;
	struct guest_window *window;
	uint16_t position; /* of the next descriptor in the ring, */
	uint16_t place;	   /* of it in the batch, and of the first one that is not read: */
	uint16_t end;	   /* both free-running */
	bool shallow;	   /* no more is asked for of a guest's frame than a shallow head takes */
	uint32_t left;	   /* descriptors the ring can still hold: a round, less what is out */
	struct net_ahead batch;
	uint16_t ids[NET_AHEAD]; /* of the same descriptors */
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
	uint16_t id;			  /* of the last descriptor taken from the ring */
	uint16_t flags;			  /* its flags */
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
	cursor->end = cursor->place;
	cursor->left = vq->size - packed_distance(vq->last_used, position, vq->size);
}

/* At the queue's last_available, with what is at hand there. */
static inline struct packed_cursor *packed_cursor_open(struct virtqueue *vq,
						       struct guest_window *window)
{
	struct packed_cursor *cursor = vq->cursor;

	cursor->vq = vq;
	cursor->window = window;
	cursor->left = vq->size - packed_distance(vq->last_used, vq->last_available, vq->size);
	return cursor;
}

/* Reads available descriptors until `wanted` are at hand, as far as there are so many; asks for the
 * buffers that come from the guest, and for as many slots again. */
void packed_cursor_read(struct packed_cursor *cursor, uint32_t wanted);

/* How many descriptors are at hand. */
static inline uint32_t packed_cursor_count(const struct packed_cursor *cursor)
{
	return (uint16_t)(cursor->end - cursor->place);
}

/* The i-th of them, from the ring. */
static inline struct packed_descriptor packed_cursor_at(const struct packed_cursor *cursor,
							uint32_t i)
{
	const struct virtqueue *vq = cursor->vq;

	return packed_entry_read(packed_slot_at(vq, packed_advance(cursor->position, i, vq->size)));
}

/* Its id, as it was read first. */
static inline uint16_t packed_cursor_id(const struct packed_cursor *cursor, uint32_t i)
{
	return cursor->ids[(cursor->place + i) % NET_AHEAD];
}

/* How many are at hand; looks for up to `wanted` when there is none. 0: the ring has no more. */
static inline uint32_t packed_cursor_fill(struct packed_cursor *cursor, uint32_t wanted)
{
	if (cursor->place == cursor->end)
		packed_cursor_read(cursor, wanted);
	return packed_cursor_count(cursor);
}

/* Leaves `count` of those at hand behind. */
static inline void packed_cursor_pass(struct packed_cursor *cursor, uint32_t count)
{
	cursor->position = packed_advance(cursor->position, count, cursor->vq->size);
	cursor->place = (uint16_t)(cursor->place + count);
	cursor->left -= count;
}

/* The first buffer of a chain that is an indirect table (2.8.7), and the next of it. */
enum packed_status packed_chain_enter(struct packed_chain *chain);
enum packed_status packed_chain_entry(struct packed_chain *chain);

/* Takes the next descriptor of the ring. The driver makes all of a chain available before its first
 * one, so what is not there now never will be. */
static inline bool packed_chain_step(struct packed_chain *chain)
{
	struct packed_cursor *cursor = chain->cursor;

	if (packed_cursor_fill(cursor, BURST_FRAMES) == 0)
		return false;
	chain->current = packed_cursor_at(cursor, 0);
	chain->id = chain->current.id;
	chain->flags = chain->current.flags;
	packed_cursor_pass(cursor, 1);
	chain->count++;
	chain->steps++;
	return true;
}

/* Begins with the descriptor at the cursor, which is at hand. */
static inline enum packed_status packed_chain_begin(struct packed_chain *chain,
						    struct packed_cursor *cursor,
						    struct guest_window *window)
{
	chain->cursor = cursor;
	chain->window = window;
	chain->count = 0;
	chain->steps = 0;
	chain->indirect = false;
	if (!packed_chain_step(chain))
		return PACKED_BROKEN;
	return chain->flags & PACKED_DESCRIPTOR_INDIRECT ? packed_chain_enter(chain)
							 : PACKED_BUFFER;
}

/* Goes on after PACKED_BUFFER. */
static inline enum packed_status packed_chain_next(struct packed_chain *chain)
{
	if (chain->indirect)
		return packed_chain_entry(chain);
	if (!(chain->flags & PACKED_DESCRIPTOR_NEXT))
		return PACKED_END;
	if (!packed_chain_step(chain))
		return PACKED_BROKEN;
	/* 2.8.19: no table in a chain of several. */
	return chain->flags & PACKED_DESCRIPTOR_INDIRECT ? PACKED_INDIRECT : PACKED_BUFFER;
}

/* Moves the cursor behind the chain, wherever the walk ended; from then on chain->count is the
 * number of its descriptors, and chain->id its id (2.8.6). False when it has no end. */
static inline bool packed_chain_close(struct packed_chain *chain)
{
	while (chain->flags & PACKED_DESCRIPTOR_NEXT) {
		if (!packed_chain_step(chain))
			return false;
	}
	return true;
}

#endif
