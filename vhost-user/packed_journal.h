/* What must survive us of a packed ring. A split ring has the used index in guest memory; a packed
 * ring has nothing of the kind: where the device stands cannot be read off it, since of a chain
 * that was used only the first slot says so (virtio 1.2, 2.8.6).
 *
 * So the used entries of a batch are first written here, then where the batch begins and ends, and
 * only then to the ring, whose first slot makes all of them visible in one store. Whoever finds a
 * journal, after a kill at any moment, sees from that slot whether the last batch became visible,
 * and if not, writes it (again). The memory is a file's, shared, so it outlives the process
 * (ring_state.h); plain stores are enough, for the kernel keeps them.
 *
 * A driver may have set its ring up anew meanwhile, in the very same place, and the frontend's word
 * does not tell: QEMU repeats the position it started us with, whether that ring lives or a new one
 * begins. So the ring is asked for traces of the last batch: in the first slot the tag, in place of
 * the address, which means nothing in a used descriptor (2.8.4); or if the driver has filled that
 * slot again, flags that a new ring cannot have.
 *
 * Written by the worker that uses the queue, and by control while it is stopped. */
#ifndef WEFT_VHOST_USER_PACKED_JOURNAL_H
#define WEFT_VHOST_USER_PACKED_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

/* A chain that is done: `count` descriptors of the ring. */
struct packed_used {
	uint16_t id;
	uint16_t count;
	uint32_t length; /* bytes written */
};

struct packed_journal {
	/* Whose ring this is. */
	uint64_t owner;	  /* of the socket's path */
	uint64_t address; /* of the descriptors, as the frontend gave it */
	uint64_t tag;	  /* this journal's; 0: it tells of no ring */
	uint16_t size;
	uint16_t base; /* where the frontend said to begin */
	/* The last batch: where it begins, where it ends, how many entries, and where the one
	 * before it began (the same place: there was none); 16 bits each from the lowest on. */
	_Atomic uint64_t batch;
	struct packed_used entries[];
};

static inline size_t packed_journal_bytes(uint16_t size)
{
	return sizeof(struct packed_journal) + size * sizeof(struct packed_used);
}

#endif
