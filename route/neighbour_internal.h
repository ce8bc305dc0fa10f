/* What the files of the neighbour table share: entries, queues, and the steps between states.
 * Control thread, but for what is marked. Nobody else includes this. */
#ifndef WEFT_ROUTE_NEIGHBOUR_INTERNAL_H
#define WEFT_ROUTE_NEIGHBOUR_INTERNAL_H

#include "route/neighbour.h"

#include <stdatomic.h>
#include <sys/queue.h>

#define NEIGHBOUR_NONE	 UINT32_MAX
#define NEIGHBOUR_STATES (NEIGHBOUR_STATIC + 1)

/* What workers read: a cache line. Control writes all but `used`. */
struct neighbour_entry {
	_Atomic uint32_t sequence; /* odd while the entry is becoming another one */
	_Atomic uint32_t next;	   /* in its bucket: index + 1, 0 at the end */
	_Atomic uint64_t ip[2];
	_Atomic uint64_t link; /* leg << 48 | MAC; the MAC is 0 while it is not known */
	_Atomic uint8_t used;  /* set by workers, cleared by control */
	uint8_t state;	       /* enum neighbour_state; control's own from here */
	uint8_t tries;	       /* solicitations sent in this state */
	uint8_t pending_count; /* frames that wait */
	uint64_t due;	       /* when its state is looked at again */
	uint64_t used_at;      /* when it was last seen to be used, or made */
} __attribute__((aligned(64)));

/* A frame that waits for its neighbour. */
struct neighbour_pending {
	TAILQ_ENTRY(neighbour_pending) of_leg;	 /* oldest first */
	TAILQ_ENTRY(neighbour_pending) of_entry; /* oldest first */
	uint32_t entry;
	uint32_t length;
	uint8_t bytes[];
};
TAILQ_HEAD(neighbour_pending_list, neighbour_pending);

struct neighbour_control {
	TAILQ_ENTRY(neighbour_control) link; /* of its leg's list for its state, or the free list */
	struct neighbour_pending_list pending;
};
TAILQ_HEAD(neighbour_list, neighbour_control);

struct neighbour_leg {
	struct route_leg leg;
	bool set;
	/* As all entries of a state wait equally long, each list is in the order of `due`. */
	struct neighbour_list states[NEIGHBOUR_STATES];
	struct neighbour_list free;
	struct neighbour_pending_list pending;
	uint32_t pending_bytes;
	uint64_t announce_due; /* the second announcement; UINT64_MAX: made */
	/* By address, the last is the link-local one: when, and 1 ms more. 0: never. */
	uint64_t defended_at[ROUTE_LEG_ADDRESSES + 1];
	uint64_t conflict_at[ROUTE_LEG_ADDRESSES + 1];
};

struct neighbour_table {
	/* Read by workers, never written after neighbour_create(). */
	struct neighbour_entry *entries; /* those of a leg stand together */
	_Atomic uint32_t *buckets;	 /* first index + 1; 0: empty */
	uint32_t bucket_mask;
	uint64_t seed;
	/* Control's own. */
	struct neighbour_control *control; /* beside the entries */
	struct neighbour_leg *legs;
	uint32_t leg_count, leg_limit;
	struct neighbour_events events;
	struct neighbour_counters counters;
	uint64_t changes;
	uint8_t *frame; /* NEIGHBOUR_FRAME_MAX bytes, for frames to be written */
};

/* neighbour_table.c: entries. An index, or NEIGHBOUR_NONE. */
uint32_t neighbour_find(const struct neighbour_table *table, uint16_t leg, const struct ip *ip);
/* A new entry for an address that has none, NEIGHBOUR_INCOMPLETE and not asked for yet; a full leg
 * makes room (counted as evicted), or is full. */
uint32_t neighbour_new(struct neighbour_table *table, struct neighbour_leg *leg,
		       const struct ip *ip, uint64_t now);
/* Frees it; what waits for it is unreachable. */
void neighbour_free(struct neighbour_table *table, uint32_t index);
void neighbour_set_state(struct neighbour_table *table, uint32_t index, enum neighbour_state state,
			 uint64_t now);
void neighbour_set_mac(struct neighbour_table *table, uint32_t index, const struct mac *mac);
struct mac neighbour_mac(const struct neighbour_table *table, uint32_t index);
struct ip neighbour_ip(const struct neighbour_table *table, uint32_t index);
struct neighbour_leg *neighbour_leg_of(const struct neighbour_table *table, uint32_t index);
/* The leg, or NULL when it is not set. */
struct neighbour_leg *neighbour_leg_at(const struct neighbour_table *table, uint16_t leg);
/* No group, not zero, and not the leg's own, which would send frames in a circle. */
bool neighbour_mac_ok(const struct neighbour_leg *leg, const struct mac *mac);

/* neighbour_pending.c: frames that wait. */
void neighbour_pend(struct neighbour_table *table, uint32_t index, const uint8_t *frame,
		    size_t length);
/* Hands one frame on to `to`. */
void neighbour_ready(struct neighbour_table *table, const struct neighbour_leg *leg,
		     const struct mac *to, const uint8_t *frame, size_t length);
/* The MAC is known: everything that waits goes out. */
void neighbour_release(struct neighbour_table *table, uint32_t index);
void neighbour_abandon(struct neighbour_table *table, uint32_t index);

/* neighbour.c: what a message means for an entry. The MAC has been checked. */
enum neighbour_proof {
	NEIGHBOUR_UNPROVEN, /* it says so itself */
	NEIGHBOUR_PROVEN,   /* it answered our question */
};
void neighbour_learn(struct neighbour_table *table, uint32_t index, const struct mac *mac,
		     enum neighbour_proof proof, uint64_t now);
/* Somebody asks for us: it is worth an entry. */
void neighbour_learn_asker(struct neighbour_table *table, struct neighbour_leg *leg,
			   const struct ip *ip, const struct mac *mac, uint64_t now);
/* `mac` says that it has an address of ours: defended, at most every NEIGHBOUR_DEFEND_MS. */
void neighbour_conflict(struct neighbour_table *table, struct neighbour_leg *leg,
			const struct ip *ip, const struct mac *mac, uint64_t now);

/* neighbour_arp.c and neighbour_nd.c: one for each family. */
void neighbour_arp_input(struct neighbour_table *table, struct neighbour_leg *leg,
			 const struct packet *packet, uint64_t now);
void neighbour_nd_input(struct neighbour_table *table, struct neighbour_leg *leg,
			const struct packet *packet, uint64_t now);
/* Asks for `ip`: everybody, or `mac` alone. */
void neighbour_arp_solicit(struct neighbour_leg *leg, const struct ip *ip, const struct mac *mac);
void neighbour_nd_solicit(struct neighbour_leg *leg, const struct ip *ip, const struct mac *mac);
/* Asks whether somebody has `ip`, which is to be ours. */
void neighbour_arp_probe(struct neighbour_leg *leg, const struct ip *ip);
void neighbour_nd_probe(struct neighbour_leg *leg, const struct ip *ip);
/* Tells everybody that `ip` is ours. */
void neighbour_arp_announce(struct neighbour_leg *leg, const struct ip *ip);
void neighbour_nd_announce(struct neighbour_leg *leg, const struct ip *ip);

#endif
