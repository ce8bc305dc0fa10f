/* Walks one descriptor chain of a split ring (virtio 1.2, 2.7.5): direct descriptors, and at the
 * end perhaps an indirect table. Each descriptor is read once; the number of steps is bounded by
 * the length of the table they come from. Worker thread. */
#ifndef WEFT_VHOST_USER_SPLIT_CHAIN_H
#define WEFT_VHOST_USER_SPLIT_CHAIN_H

#include "vhost-user/guest_window.h"
#include "vhost-user/split_ring.h"

enum split_status {
	SPLIT_BUFFER,	/* chain->current is the next buffer */
	SPLIT_END,	/* there was none left */
	SPLIT_LOOP,	/* more descriptors than the table has */
	SPLIT_INDEX,	/* next is outside the table */
	SPLIT_ADDRESS,	/* the indirect table is outside the guest's memory */
	SPLIT_INDIRECT, /* nested, with NEXT, of a wrong size, or not negotiated */
	SPLIT_STATUS_COUNT
};

struct split_chain {
	struct split_descriptor current;
	const struct virtqueue *vq;
	struct guest_window *window;
	uint32_t steps;		/* descriptors read, the first one included */
	uint32_t left;		/* descriptors of the table that may still follow */
	uint32_t table_size;	/* entries */
	uint64_t table_address; /* of an indirect table ... */
	const uint8_t *table;	/* ... and where it is here; NULL: in more than one region */
	bool indirect;
};

/* Begins with descriptor `head`. */
enum split_status split_chain_begin(struct split_chain *chain, const struct virtqueue *vq,
				    struct guest_window *window, uint16_t head);

/* Goes on after SPLIT_BUFFER. */
enum split_status split_chain_next(struct split_chain *chain);

#endif
