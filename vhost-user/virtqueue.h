/* One virtqueue of a guest, behind one interface for split and packed rings: virtio 1.2, 2.7 and
 * 2.8.
 *
 * Life: control fills the struct while the queue is stopped, sets `running`, and from then on
 * exactly one worker at a time uses it (from-guest queues: the worker that polls it; to-guest
 * queues: whoever holds `lock`). To stop: control clears `running`, waits for a grace period, and
 * owns the queue again. Nothing here allocates, logs or blocks; system calls only for
 * notifications.
 *
 * "from_guest" queues carry what the guest sends (virtio-net transmitq, odd indices), "to_guest"
 * what it receives (receiveq, even indices). */
#ifndef WEFT_VHOST_USER_VIRTQUEUE_H
#define WEFT_VHOST_USER_VIRTQUEUE_H

#include "base/counters.h"
#include "base/frame.h"
#include "vhost-user/dirty_log.h"
#include "vhost-user/guest_memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VIRTQUEUE_SIZE_MAX     32768u
#define VIRTQUEUE_PACKED_START 0x8000u /* a new packed ring: slot 0, wrap counter 1 (bit 15) */

/* A broken ring stops its queue; the reason is shown and reported through the error fd. */
enum virtqueue_fault {
	VIRTQUEUE_OK = 0,
	VIRTQUEUE_FAULT_INDEX,	/* more new entries than the ring has */
	VIRTQUEUE_FAULT_CHAIN,	/* a chain without an end (packed) */
	VIRTQUEUE_FAULT_MEMORY, /* memory taken away under us */
};

struct virtqueue;
struct packed_journal;
struct split_ahead;
struct packed_cursor;

enum virtqueue_format { VIRTQUEUE_SPLIT, VIRTQUEUE_PACKED, VIRTQUEUE_FORMAT_COUNT };

/* The ring format's part. */
struct virtqueue_ops {
	enum virtqueue_format format;
	uint32_t (*from_guest)(struct virtqueue *vq, struct burst *burst,
			       struct port_counters *counters);
	void (*from_guest_done)(struct virtqueue *vq);
	uint32_t (*to_guest)(struct virtqueue *vq, struct frame *const *frames, uint32_t count,
			     struct port_counters *counters);
	bool (*arm)(struct virtqueue *vq);
	void (*disarm)(struct virtqueue *vq);
	void (*flush)(struct virtqueue *vq);
};

/* Both formats are compiled once for each width of vectors, from the same files (meson.build). Any
 * thread: the ops for this processor's widest; or of a given variant, from 0 on, NULL when this
 * processor cannot run it or there is none. */
const struct virtqueue_ops *virtqueue_ops_best(enum virtqueue_format format);
const struct virtqueue_ops *virtqueue_ops_variant(enum virtqueue_format format, unsigned variant);

struct virtqueue {
	/* Control writes while stopped; worker reads. */
	_Atomic bool running;  /* control: release; worker: acquire, pairs with all fields below */
	_Atomic uint32_t lock; /* to_guest: one worker at a time, only taken with several workers */
	uint16_t index;	       /* in the device: even to_guest, odd from_guest */
	uint16_t size;	       /* entries; a power of two for split */
	uint16_t header_size;  /* VNET_HEADER_LEGACY or VNET_HEADER_SIZE */
	bool event_idx;
	bool indirect;
	bool in_order;		      /* IN_ORDER: a batch may be returned by its last chain */
	bool mergeable;		      /* MRG_RXBUF */
	uint32_t offloads_from_guest; /* enum offload the guest may ask for (CSUM, HOST_*) */
	uint32_t offloads_to_guest;   /* enum offload it can take (GUEST_*) */
	const struct virtqueue_ops *ops;
	const struct guest_memory *memory;
	struct dirty_log *log; /* NULL: off */
	bool log_used;	       /* VHOST_VRING_F_LOG: used ring too */
	uint64_t
	    log_used_address; /* guest physical, for the log only; may lie outside every region */
	uint64_t log_descriptors_address; /* packed: guest physical address of the ring */
	void *descriptors;		  /* host addresses of the three parts */
	void *available;
	void *used;
	int kick_fd;	     /* guest -> us; -1: none (poll) */
	_Atomic int call_fd; /* us -> guest; -1: none. Control may swap it at any time and closes
			      * the old one after a grace period */
	int error_fd;

	/* The user's while running; control's while stopped. */
	/* Split: free-running indices. Packed: slot, and the wrap counter in bit 15. */
	uint16_t last_available; /* next entry of the available ring we will look at */
	uint16_t last_used;	 /* next entry of the used ring we will fill */
	uint16_t signalled_used; /* used index at the last call (event index) */
	bool signalled_valid;
	uint16_t pending;     /* from_guest: chains handed out and not yet returned */
	uint16_t distance;    /* to_guest: as net_plain_distance() has it */
	uint32_t region_hint; /* index of the memory region used last; any value is safe */
	_Atomic uint32_t
	    fault; /* enum virtqueue_fault; worker sets once, then leaves the ring alone */
	_Atomic uint64_t kicks; /* statistics: wake-ups by the guest, and calls we made */
	_Atomic uint64_t calls;
	_Atomic uint64_t call_failures; /* call fd full or broken */
	uint16_t *pending_heads;   /* split; size entries: heads of the pending chains, in order */
	struct split_ahead *ahead; /* split; chains read before they are used */
	struct packed_cursor *cursor;	/* packed; the same */
	struct packed_journal *journal; /* packed; of size entries; the owner's, not the queue's */
	bool fault_reported;		/* control's */
};

/* Appends frames from the guest to *burst (up to burst->limit frames and its segment room); each
 * chain is read once, validated, its virtio-net header checked and turned into offload state, its
 * first bytes copied to the frame's head, and its payload left in place. Bad chains are counted in
 * counters->drops[] and returned to the guest with the rest. Counts receive_packets/bytes of good
 * frames. Returns the number of chains taken from the ring (good and bad): 0 means the ring was
 * empty. Worker, running queue. */
static inline uint32_t virtqueue_from_guest(struct virtqueue *vq, struct burst *burst,
					    struct port_counters *counters)
{
	return vq->ops->from_guest(vq, burst, counters);
}

/* Returns every chain handed out since the last call, in order, and notifies the guest if it asked
 * to be. To be called when no frame of the burst is used any more. */
static inline void virtqueue_from_guest_done(struct virtqueue *vq)
{
	vq->ops->from_guest_done(vq);
}

/* Writes frames into the guest's buffers, in order, and notifies it once. Frames carry only offload
 * state this queue takes (offloads_to_guest). Each frame is sent or counted in counters->drops[]:
 * NO_BUFFERS, BUFFER_*. Counts transmit_packets/bytes. Returns the number of frames written.
 * Worker, lock held if there are several workers. */
static inline uint32_t virtqueue_to_guest(struct virtqueue *vq, struct frame *const *frames,
					  uint32_t count, struct port_counters *counters)
{
	return vq->ops->to_guest(vq, frames, count, counters);
}

/* From-guest queue goes quiet: asks the guest to kick, then looks once more. Returns true when the
 * queue is empty and armed; false when entries are waiting (and stays disarmed). disarm: asks it
 * not to kick. */
static inline bool virtqueue_arm(struct virtqueue *vq)
{
	return vq->ops->arm(vq);
}

static inline void virtqueue_disarm(struct virtqueue *vq)
{
	vq->ops->disarm(vq);
}

/* Control, queue stopped: every used entry visible to the guest, which is called once. */
static inline void virtqueue_flush(struct virtqueue *vq)
{
	vq->ops->flush(vq);
}

/* Control, queue stopped, ops set, before `running` is set: allocates what a queue of vq->size
 * entries needs while it runs (pending_heads, ahead, cursor); what an earlier start left is freed
 * first. 0 or -ENOMEM. A packed queue's journal must be set. */
int virtqueue_prepare(struct virtqueue *vq);

/* Control, queue stopped and flushed: frees it. Harmless on a queue never prepared. */
void virtqueue_release(struct virtqueue *vq);

/* Control, queue stopped: sets up last_available/last_used for a split ring. The position is the
 * used index in guest memory (every chain taken was returned before the last stop, so it is exact
 * after a crash of ours too). Forgets an earlier fault, and tells the guest not to kick: a queue
 * starts polled. Ring addresses, size, event_idx and log are set. Returns the index. */
uint16_t virtqueue_split_resume(struct virtqueue *vq);

/* The same for a packed ring, whose position is in its journal when that tells of this very ring
 * (`address`: what the frontend calls its descriptors); a batch that had not become visible to the
 * guest then does. Else the journal begins anew at `base`, whose slot is in the ring. Returns the
 * position. */
uint16_t virtqueue_packed_resume(struct virtqueue *vq, uint64_t address, uint16_t base);

/* Control, packed queue stopped: from now on somebody else knows its position; the next start is at
 * its base. */
void virtqueue_packed_forget(struct virtqueue *vq);

/* Signals call_fd once, without ever waiting. Worker or control. */
void virtqueue_call(struct virtqueue *vq);

#endif
