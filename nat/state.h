/* How a session goes on with each packet: TCP's states (RFC 6146, 3.5.2, in NAT44's terms), one-way
 * and two-way for all else; and how long it lives in each. Pure functions on a slot; the shard's
 * lock is held. */
#ifndef WEFT_NAT_STATE_H
#define WEFT_NAT_STATE_H

#include "nat/internal.h"

#define NAT_FIN 0x01u
#define NAT_SYN 0x02u
#define NAT_RST 0x04u
#define NAT_ACK 0x10u

/* The state of a session that begins with a packet of this protocol. */
enum nat_state nat_state_first(uint8_t protocol);

/* Brings state and flags of the slot up to date with a packet. tcp_flags: 0 for other protocols. */
void nat_state_advance(struct nat_slot *slot, enum nat_direction direction, uint8_t tcp_flags);

/* Whether a packet renews the session: those from inside do, those from outside once the inside has
 * sent (RFC 4787, REQ-6); RST never does (RFC 7857, 7). */
bool nat_state_renews(const struct nat_slot *slot, enum nat_direction direction, uint8_t tcp_flags);

enum nat_class nat_state_class(const struct nat_slot *slot);

/* Whether it may be ended to make room for a newer session of the same guest: half-open, or closed
 * by both sides. */
bool nat_state_evictable(const struct nat_slot *slot);

/* Whether this state is one of the protocol's. */
bool nat_state_valid(uint8_t protocol, uint8_t state);

#endif
