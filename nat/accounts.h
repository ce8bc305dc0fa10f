/* Who has how many sessions: guests and their limits, free slots, the sessions of a guest that may
 * be evicted, permits for address-dependent filtering. One lock, taken here, for a moment, when a
 * session begins, ends or stops being half-open. */
#ifndef WEFT_NAT_ACCOUNTS_H
#define WEFT_NAT_ACCOUNTS_H

#include "nat/rules.h"

/* Control, once. */
void nat_accounts_init(struct nat *nat);

/* A slot for a session of `inside`, charged to it; the guest it belongs to is in its links. False
 * with the reason when a limit forbids it: the guest's, that of all sessions, or that a guest may
 * have no more of them than it leaves for the others. No shard's lock is held. */
bool nat_accounts_reserve(struct nat *nat, const struct nat_rules *rules, const struct ip *inside,
			  uint32_t *slot, enum drop_reason *reason);

/* Counts a session that was refused in the end. */
void nat_accounts_refused(struct nat *nat, enum drop_reason reason);

/* Charges a session of the file to its guest; false when a limit forbids it. */
bool nat_accounts_restore(struct nat *nat, const struct nat_rules *rules, uint32_t slot);

/* Gives a slot back. */
void nat_accounts_release(struct nat *nat, uint32_t slot);

/* The session may be evicted, and was used last of all its guest's; or may not any more. */
void nat_accounts_half_open(struct nat *nat, uint32_t slot);
void nat_accounts_opened(struct nat *nat, uint32_t slot);

/* The session that a guest would lose first, or 0. Good as a hint until its shard is locked. */
uint32_t nat_accounts_victim(struct nat *nat, const struct ip *inside);

/* Permits say with which remote addresses an inside port has sessions. They are kept for mappings
 * of two or more; of a single session the remote is plain to see. The session's mapping's shard is
 * locked. */
void nat_accounts_permit(struct nat *nat, const struct nat_slot *slot);
void nat_accounts_forbid(struct nat *nat, const struct nat_slot *slot);
bool nat_accounts_permitted(struct nat *nat, const struct nat_slot *slot);

/* Puts slots that no session is in onto the free list, up to what the file has memory for. */
void nat_accounts_free_slot(struct nat *nat, uint32_t slot);

#endif
