/* The table of sessions: finding, making, ending them; their lists by time; mappings. All but
 * nat_session_open() and nat_session_evict() are called with the shard's lock held. */
#ifndef WEFT_NAT_SESSION_H
#define WEFT_NAT_SESSION_H

#include "nat/rules.h"
#include "nat/state.h"

/* A session to be made. */
struct nat_request {
	struct nat_key key;
	uint32_t shard;
	bool forward;	       /* outside_port is a forward's */
	uint16_t address;      /* index; NAT_ADDRESSES_MAX: the one that the guest is paired with */
	uint16_t outside_port; /* of a forward */
	enum nat_direction direction; /* which side begins */
};

/* Control, once: tables and lists, empty. */
void nat_session_init(struct nat *nat);

/* The shard of a session whose inside host is the target of a forward: such have no port of the
 * pool, and many of them the same port. And of one of a protocol without ports. */
uint32_t nat_session_shard(const struct nat *nat, const struct ip *remote, uint16_t remote_port,
			   uint8_t protocol);

/* A live session, or 0; ends it when it has expired. */
uint32_t nat_session_find(struct nat *nat, struct nat_shard *shard, const struct nat_key *key,
			  uint32_t now);

/* A session of the mapping of an inside port, or 0. */
uint32_t nat_session_find_mapping(struct nat *nat, struct nat_shard *shard,
				  const struct nat_key *key);

/* The session of a protocol without ports with this remote through this outside address, or 0. */
uint32_t nat_session_find_remote(struct nat *nat, struct nat_shard *shard, uint8_t protocol,
				 uint16_t address, const struct ip *remote, uint32_t now);

/* Makes a session, unless there is one meanwhile, and leaves the shard locked; 0, nothing locked,
 * and the reason when limits or ports forbid it. Called without a lock. At a limit the guest's
 * least recently used half-open session goes first. */
uint32_t nat_session_open(struct nat *nat, const struct nat_rules *rules,
			  const struct nat_request *request, uint32_t now,
			  enum drop_reason *reason);

/* Counts a packet of the session, brings its state up to date, renews it where it must. */
void nat_session_record(struct nat *nat, struct nat_shard *shard, uint32_t slot,
			enum nat_direction direction, uint8_t tcp_flags, uint32_t now);

void nat_session_end(struct nat *nat, struct nat_shard *shard, uint32_t slot);

/* Ends up to `budget` sessions that have expired; returns how many. */
uint32_t nat_session_expire(struct nat *nat, struct nat_shard *shard, uint32_t now,
			    uint32_t budget);

bool nat_session_expired(const struct nat_slot *slot, uint32_t now);

/* Ends the half-open session that the guest used least recently; false when it has none. */
bool nat_session_evict(struct nat *nat, const struct ip *inside);

/* Links a session that the file holds, newest last; false, and the slot is free, when it cannot be.
 */
bool nat_session_restore(struct nat *nat, const struct nat_rules *rules, uint32_t slot);

/* The word that makes a slot a session, never 0: over all that does not change, and the outside
 * address itself. */
uint32_t nat_session_check(const struct nat *nat, const struct nat_slot *slot);

/* Where a session belongs by its contents. */
uint32_t nat_session_home(const struct nat *nat, const struct nat_slot *slot);

#endif
