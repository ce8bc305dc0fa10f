/* Who is on the links of one gateway: (leg, IP address) to MAC address, learned by ARP (RFC 826,
 * 5227) and neighbour discovery (RFC 4861).
 *
 * Control writes, workers look up without a lock while it does (each entry has a sequence number,
 * no memory is ever freed before the table): only neighbour_destroy() needs a grace period. Each
 * leg has room of its own, so that what happens on one never pushes out another's entries. All but
 * neighbour_lookup() belongs to the control thread. */
#ifndef WEFT_ROUTE_NEIGHBOUR_H
#define WEFT_ROUTE_NEIGHBOUR_H

#include "base/ip.h"
#include "base/mac.h"
#include "base/packet.h"
#include "route/leg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEIGHBOUR_LEG_LIMIT	2048u /* a usual number of entries for a leg */
#define NEIGHBOUR_PENDING	64u   /* frames that wait for one neighbour: a datagram's fragments */
#define NEIGHBOUR_PENDING_BYTES (512u << 10) /* that wait on one leg; the newest win */

#define NEIGHBOUR_RETRANSMIT_MS 1000u /* between solicitations */
#define NEIGHBOUR_SOLICITS	3u
#define NEIGHBOUR_REACHABLE_MS	30000u
#define NEIGHBOUR_DELAY_MS	5000u	/* how often stale entries are looked at for use */
#define NEIGHBOUR_UNUSED_MS	600000u /* stale and unused that long: removed */
#define NEIGHBOUR_DEFEND_MS	10000u	/* between defences of an address (RFC 5227, 2.4) */
#define NEIGHBOUR_CONFLICT_MS	60000u	/* without one: the next is told as a new one */
#define NEIGHBOUR_ANNOUNCE_MS	2000u	/* between the two announcements (RFC 5227, 2.3) */
#define NEIGHBOUR_FRAME_MAX	65664u	/* bytes of a frame that waits; longer ones are refused */

enum neighbour_state {
	NEIGHBOUR_INCOMPLETE, /* asked for; no MAC yet */
	NEIGHBOUR_REACHABLE,  /* it answered within the last 30 s */
	NEIGHBOUR_STALE,      /* its MAC is known, and is not asked for before it is used */
	NEIGHBOUR_PROBE,      /* known, used, and being asked */
	NEIGHBOUR_STATIC,     /* configured: never asked for, never learned over */
};

/* As people see it, in lower case; never NULL for a state of the enum. */
const char *neighbour_state_name(enum neighbour_state state);

struct neighbour {
	uint16_t leg;
	struct ip ip;
	struct mac mac; /* zero while incomplete */
	enum neighbour_state state;
};

/* Called from within input, resolve and tick; must not call the table back but for lookup. `frame`
 * is what neighbour_resolve() was given, byte for byte, and is freed after the call. */
struct neighbour_events {
	/* A frame's neighbour has been found. NULL: the frame is an Ethernet frame; its MACs are
	 * written and it leaves through the leg's output. */
	void (*ready)(void *context, const struct route_leg *leg, const struct mac *to,
		      const uint8_t *frame, size_t length);
	/* A frame's neighbour does not answer: ICMP host unreachable is due (RFC 1122, 2.3.2.2; RFC
	 * 4861, 7.2.2). May be NULL. */
	void (*unreachable)(void *context, const struct route_leg *leg, const uint8_t *frame,
			    size_t length);
	/* Somebody else uses an address of ours: at most once a minute for each. May be NULL. */
	void (*conflict)(void *context, const struct route_leg *leg, const struct ip *ip,
			 const struct mac *mac);
	void *context;
};

/* Counted since the table was made: NEIGHBOUR_COUNTER(field, text). The field is its name. */
#define NEIGHBOUR_COUNTERS(NEIGHBOUR_COUNTER)                                                      \
	NEIGHBOUR_COUNTER(answered, "requests and solicitations answered")                         \
	NEIGHBOUR_COUNTER(learned, "entries made from what neighbours sent")                       \
	NEIGHBOUR_COUNTER(moved, "known neighbours that came with another MAC")                    \
	NEIGHBOUR_COUNTER(solicited, "requests and solicitations sent")                            \
	NEIGHBOUR_COUNTER(unreachable, "neighbours that did not answer")                           \
	NEIGHBOUR_COUNTER(probed, "questions whether somebody has an own address")                 \
	NEIGHBOUR_COUNTER(announced, "announcements of own addresses sent")                        \
	NEIGHBOUR_COUNTER(conflict, "others that use an address of ours")                          \
	NEIGHBOUR_COUNTER(defended, "defences of an address of ours")                              \
	NEIGHBOUR_COUNTER(evicted, "incomplete or stale entries pushed out of a full leg")         \
	NEIGHBOUR_COUNTER(full, "entries not made: the leg is full of better ones")                \
	NEIGHBOUR_COUNTER(pending_dropped, "waiting frames pushed out by newer ones")              \
	NEIGHBOUR_COUNTER(arp_malformed, "ARP of wrong length, hardware or protocol type")         \
	NEIGHBOUR_COUNTER(arp_operation, "ARP neither request nor reply")                          \
	NEIGHBOUR_COUNTER(nd_hop_limit, "neighbour discovery from beyond the link")                \
	NEIGHBOUR_COUNTER(nd_checksum, "neighbour discovery with a wrong checksum")                \
	NEIGHBOUR_COUNTER(nd_code, "neighbour discovery with a code")                              \
	NEIGHBOUR_COUNTER(nd_length, "neighbour discovery too short")                              \
	NEIGHBOUR_COUNTER(nd_option, "neighbour discovery with a broken option")                   \
	NEIGHBOUR_COUNTER(nd_target, "neighbour discovery with a target that is no host")          \
	NEIGHBOUR_COUNTER(nd_source, "solicitation whose source, destination and option disagree") \
	NEIGHBOUR_COUNTER(nd_solicited, "advertisement to a group, said to be solicited")          \
	NEIGHBOUR_COUNTER(address_foreign, "sender's address not on this link")                    \
	NEIGHBOUR_COUNTER(mac_invalid, "MAC that is a group, zero or our own")                     \
	NEIGHBOUR_COUNTER(unknown, "advertisement or reply of somebody not asked for")             \
	NEIGHBOUR_COUNTER(refused_static, "change of a configured entry refused")

struct neighbour_counters {
#define NEIGHBOUR_COUNTER(field, text) uint64_t field;
	NEIGHBOUR_COUNTERS(NEIGHBOUR_COUNTER)
#undef NEIGHBOUR_COUNTER
};

struct neighbour_table;

/* For legs of index [0, legs), each with at most `leg_limit` entries. NULL when memory is short. */
struct neighbour_table *neighbour_create(uint16_t legs, uint32_t leg_limit,
					 struct neighbour_events events);
/* No worker may look up any more: after the snapshot without it, and rcu_wait(). Waiting frames
 * are dropped. Takes NULL. */
void neighbour_destroy(struct neighbour_table *table);

/* The leg's MAC and addresses from now on, copied. Entries that are no longer on its link go, own
 * addresses are probed and announced twice (RFC 5227, 2.1.1 and 2.3; RFC 4862, 5.4; RFC 4861,
 * 7.2.6). Nothing happens on a leg before. */
void neighbour_set_leg(struct neighbour_table *table, const struct route_leg *leg, uint64_t now);
/* The leg is gone, or its link is down: all its entries go, configured ones too, and waiting frames
 * are unreachable. */
void neighbour_clear_leg(struct neighbour_table *table, uint16_t leg, uint64_t now);

/* Any worker. The MAC of `ip` on the link of `leg`, and a mark that it is used; false when it is
 * not known (yet): the frame belongs to control then, for neighbour_resolve(). */
bool neighbour_lookup(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
		      struct mac *mac);

/* Takes what is ARP, a neighbour solicitation or a neighbour advertisement: learns, answers for the
 * leg's addresses and those that it stands for, watches for others that use its own. False when the
 * packet is none of these. Any bytes may be in it; it must have passed packet_parse(), and must not
 * have been put together of fragments (RFC 6980, 5). */
bool neighbour_input(struct neighbour_table *table, uint16_t leg, const struct packet *packet,
		     uint64_t now);

enum neighbour_resolve {
	NEIGHBOUR_READY,   /* known: `ready` has been called with the frame */
	NEIGHBOUR_WAITING, /* copied, to wait; `ready` or `unreachable` follows, or newer ones push
			      it out */
	NEIGHBOUR_REFUSED, /* no address on this link, or no room: the frame is the caller's to drop
			    */
};

/* Sends a frame to `ip`, which is asked for first when it is not known. */
enum neighbour_resolve neighbour_resolve(struct neighbour_table *table, uint16_t leg,
					 const struct ip *ip, const uint8_t *frame, size_t length,
					 uint64_t now);

/* -ENOSPC when the leg is full, -EINVAL when `ip` is not on its link or `mac` no host's. */
int neighbour_add_static(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
			 const struct mac *mac, uint64_t now);
/* An entry of neighbour_visit() from before a restart, as stale; what is known better stays.
 * Errors as above. */
int neighbour_load(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
		   const struct mac *mac, uint64_t now);
/* 0 or -ENOENT. */
int neighbour_remove(struct neighbour_table *table, uint16_t leg, const struct ip *ip);

/* Every entry, in no order. */
void neighbour_visit(const struct neighbour_table *table,
		     void (*visit)(void *context, const struct neighbour *neighbour),
		     void *context);
/* A number that changes whenever a MAC is learned, changes or goes: nothing to save otherwise. */
uint64_t neighbour_changes(const struct neighbour_table *table);

/* Gratuitous ARP and unsolicited advertisements for all addresses of the leg, now. */
void neighbour_announce(struct neighbour_table *table, uint16_t leg);

uint64_t neighbour_deadline(const struct neighbour_table *table);
void neighbour_tick(struct neighbour_table *table, uint64_t now);
const struct neighbour_counters *neighbour_counters(const struct neighbour_table *table);

#endif
