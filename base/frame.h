/* A frame: one Ethernet frame for the time of one burst, in one worker (design decision 3).
 *
 * On arrival the first bytes (the head: up to FRAME_HEAD_MAX, so every header anybody looks at) are
 * copied once into memory of the worker's own; what was checked cannot change any more. The rest
 * stays where it is (guest memory, or the worker's bulk buffer) and is only ever read once, by the
 * copy into the receiver's buffers. The state of offloads travels with the frame, in the terms of
 * the virtio-net header (virtio 1.2, 5.1.6.2), checked on arrival.
 *
 * All of this belongs to one worker; nothing here is shared between threads. */
#ifndef WEFT_BASE_FRAME_H
#define WEFT_BASE_FRAME_H

#include "base/counters.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* Writable bytes before head: virtio-net header, VLAN tags. With the 12 bytes of that header before
 * it a head begins where a cache line does, as a guest's buffer mostly does too: so the copies in
 * and out move whole lines, and what follows the head begins with one. */
#define FRAME_HEADROOM (64u + 12u)
/* All of Ethernet, two tags, IPv6, extension headers and TCP. */
#define FRAME_HEAD_MAX (192u - 12u)
/* What of a shallow frame is in its head: with the header before it, one cache line. */
#define FRAME_HEAD_SHALLOW (64u - 12u)
/* From one head to the next: one line more than a head needs, so an odd number of them. The first
 * lines of a burst's heads, which are the busy ones, then lie in all sets of the cache. */
#define FRAME_SLOT	 (FRAME_HEADROOM + FRAME_HEAD_MAX + 64u)
#define FRAME_LENGTH_MIN 14u
#define FRAME_LENGTH_MAX 65553u /* Ethernet, one 802.1Q tag, and an IP packet of 65,535 bytes */

enum frame_gso {
	FRAME_GSO_NONE = 0,
	FRAME_GSO_TCP4 = 1,
	FRAME_GSO_FRAGMENT = 2, /* ours alone: one IP packet, to be cut in IP fragments; no port
				   takes it, and none brings it */
	FRAME_GSO_UDP4_FRAGMENT =
	    3, /* "UFO": one UDP datagram, to be cut in IP fragments; v4 and v6 */
	FRAME_GSO_TCP6 = 4,
	FRAME_GSO_UDP = 5, /* "USO": several datagrams, v4 and v6 (VIRTIO_NET_HDR_GSO_UDP_L4) */
};

enum frame_flag {
	FRAME_NEEDS_CSUM = 1 << 0, /* csum_start/csum_offset: field holds the pseudo-header sum */
	FRAME_CSUM_VALID = 1 << 1, /* the sender vouches for the L4 checksum */
	FRAME_GSO_ECN = 1 << 2,	   /* TCP segmentation must handle CWR (RFC 3168) */
};

struct frame_segment {
	const uint8_t *base;
	uint32_t length;
};

struct frame {
	uint8_t *head;			/* head_length bytes; FRAME_HEADROOM writable before */
	struct frame_segment *segments; /* what follows the head, in order; none empty */
	uint32_t length;		/* all bytes, head_length + the segments */
	/* min(length, FRAME_HEAD_MAX), or less by segmentation; FRAME_HEAD_SHALLOW when shallow */
	uint16_t head_length;
	uint16_t segment_count;

	/* One aligned word: see frame_kind(). Who brings a frame leaves tag and VLAN 0. */
	uint8_t flags;	   /* enum frame_flag */
	uint8_t gso;	   /* enum frame_gso */
	uint8_t tagged;	   /* 1 when an 802.1Q tag stands at head + 12, as the bridge saw */
	uint8_t shallow;   /* 1 when more belongs into the head: see frame_pull() */
	uint16_t vlan;	   /* VLAN it belongs to, by the bridge; 0 in a network without VLANs */
	uint16_t priority; /* PCP and DEI of the tag, in their places in the TCI */

	/* Offload state, valid after vnet_header_to_frame() or zero. */
	uint16_t gso_size; /* payload bytes per segment, > 0 when gso; FRAME_GSO_FRAGMENT: bytes
			      behind the IP header per fragment, a multiple of 8 */
	uint16_t csum_start;
	uint16_t
	    csum_offset; /* csum_start + csum_offset + 2 <= head_length when FRAME_NEEDS_CSUM */

	/* Parsed by parse_frame(), for frames whose offloads need it; else 0. Offsets from head. */
	uint16_t l4_offset;	 /* 0: no L4 header within the head */
	uint16_t payload_offset; /* after the L4 header, 0 when unknown */
	uint8_t l3_offset;
	uint8_t ip_version;  /* 4, 6, or 0 */
	uint8_t l4_protocol; /* IPPROTO_... when l4_offset */

	uint8_t punt;	  /* why it goes to control, when it does; else 0 */
	uint16_t arrival; /* index of the port it came from, for ports that want it */
};

/* Flags, GSO type, tag and VLAN as one number: what hangs on nothing else needs to be found out
 * once for frames of one kind that follow one another. */
static inline uint64_t frame_kind(const struct frame *frame)
{
	uint64_t kind;

	_Static_assert(offsetof(struct frame, flags) % sizeof(kind) == 0 &&
			   offsetof(struct frame, gso_size) ==
			       offsetof(struct frame, flags) + sizeof(kind),
		       "the fields fill a word");
	memcpy(&kind, (const uint8_t *)frame + offsetof(struct frame, flags), sizeof(kind));
	return kind;
}

/* Room for the frames of one burst: array, heads, segment list, and a bulk buffer for payload that
 * has no home of its own (taps, files). One for arrival and one for what edges make of frames
 * (clones with another tag, segments of a GSO frame); each reset at the start of its use. */
#define BURST_FRAMES 256u
/* One chain of the longest ring, and 16 for each other frame. */
#define BURST_SEGMENTS (32768u + 16u * BURST_FRAMES)
#define BURST_BULK     (BURST_FRAMES * 65536u)

struct burst {
	uint32_t count;			/* frames[0..count) are valid */
	uint32_t segment_count;		/* segments in use */
	uint32_t bulk_used;		/* bytes of bulk in use */
	uint32_t limit;			/* receive stops at this count, <= BURST_FRAMES */
	bool shallow;			/* frames may be; who receives sets it before, or not */
	struct frame_segment *segments; /* BURST_SEGMENTS */
	uint8_t *bulk;			/* BURST_BULK bytes */
	struct frame frames[BURST_FRAMES];
	uint8_t heads[BURST_FRAMES][FRAME_SLOT] __attribute__((aligned(64)));
};

/* Allocates a burst (memory is touched only as used); NULL when there is none. Owner frees with
 * burst_destroy(), which takes NULL. */
struct burst *burst_create(void);
void burst_destroy(struct burst *burst);

static inline void burst_reset(struct burst *burst)
{
	burst->count = 0;
	burst->segment_count = 0;
	burst->bulk_used = 0;
	burst->limit = BURST_FRAMES;
}

/* Where the head of frame `i` goes: FRAME_HEAD_MAX bytes with FRAME_HEADROOM before them. */
static inline uint8_t *burst_head(struct burst *burst, uint32_t i)
{
	return burst->heads[i] + FRAME_HEADROOM;
}

/* Puts a frame into the burst whose bytes lie in one piece at `bytes` and stay there until the
 * burst is done; only its head is copied. The burst has room (count < limit, a segment), and
 * `length` is FRAME_LENGTH_MIN to FRAME_LENGTH_MAX. Returns the frame. */
struct frame *burst_lend(struct burst *burst, const uint8_t *bytes, uint32_t length);

/* A shallow frame is one whose head holds no more than a bridge looks at. One segment follows,
 * whose base has the FRAME_HEAD_SHALLOW bytes of the head and the net header's 12 before it, in one
 * piece. This brings into the head what else belongs there, and must come before anything looks
 * further, and before the frame is cloned; of others it changes nothing. */
void frame_pull(struct frame *frame);

/* Copies `length` bytes from `offset` of the frame to `to`; the caller has checked that
 * offset + length <= frame->length. */
void frame_copy_out(const struct frame *frame, uint32_t offset, uint32_t length, void *to);

/* Points `parts`, where there is room for `room`, at the frame's pieces in their order. Returns how
 * many they are, or 0 when there are more than that. */
uint32_t frame_parts(const struct frame *frame, struct iovec *parts, uint32_t room);

/* Makes *to the same frame as *from, which is not shallow, but with a head of its own at `head`
 * (FRAME_HEADROOM before it, FRAME_HEAD_MAX behind), which the caller may edit; segments stay
 * shared. A head longer than FRAME_HEAD_MAX (after frame_push_tag) begins in the headroom, so use
 * to->head. */
void frame_clone(struct frame *to, uint8_t *head, const struct frame *from);

/* Tag edits on a head of the worker's own; offsets of checksum and headers move along.
 * push: tci in host order; needs frame->tagged == 0. pop: needs frame->tagged == 1 and
 * head_length >= 18. */
void frame_push_tag(struct frame *frame, uint16_t tci);
void frame_pop_tag(struct frame *frame);

#endif
