/* From a packet's ends to its session, in either direction. Worker. */
#ifndef WEFT_NAT_LOOKUP_H
#define WEFT_NAT_LOOKUP_H

#include "nat/rewrite.h"
#include "nat/session.h"

/* One end of a session. */
struct nat_end {
	struct ip ip;
	uint16_t port;
};

/* What was found; the shard is locked, and whoever looked unlocks it. */
struct nat_found {
	struct nat_shard *shard;
	uint32_t slot;		     /* the session, or 0 */
	struct nat_key key;	     /* by which it was looked for, when its inside is known */
	const struct nat_rule *rule; /* the forward at the outside port, or NULL */
	bool mapped;		     /* key is set: the outside port has a mapping or a forward */
	bool conflict; /* the inside has such a session through another outside port */
	bool asked;    /* it has one with another port of the remote, by its mapping */
};

/* A session of which `inside` and `remote` are the ends, as the inside sees them. */
void nat_find_outbound(struct nat *nat, const struct nat_rules *rules, uint8_t protocol,
		       const struct nat_end *inside, const struct nat_end *remote, uint32_t now,
		       struct nat_found *found);

/* A session of which `outside` (its address has the index) and `remote` are the ends, as the
 * remote sees them. */
void nat_find_inbound(struct nat *nat, const struct nat_rules *rules, uint8_t protocol,
		      uint16_t address, const struct nat_end *outside, const struct nat_end *remote,
		      uint32_t now, struct nat_found *found);

/* The other half of translate.c: a packet that is an ICMP error. Results and reasons as of the
 * public functions, but never NAT_LOCAL. */
enum nat_result nat_error_outbound(struct nat *nat, const struct nat_rules *rules,
				   struct frame *frame, struct nat_packet *error, uint32_t now,
				   enum drop_reason *reason);
enum nat_result nat_error_inbound(struct nat *nat, const struct nat_rules *rules,
				  struct frame *frame, struct nat_packet *error, uint32_t now,
				  enum drop_reason *reason);
enum nat_result nat_error_hairpin(struct nat *nat, const struct nat_rules *rules,
				  struct frame *frame, struct nat_packet *error, uint32_t now,
				  enum drop_reason *reason);

/* Gives a packet that leaves for `remote` an identification of its own, when it may be fragmented
 * on the way and so be taken for another inside host's (RFC 6864, 5.3.1). */
void nat_identify(struct nat *nat, const struct frame *frame, struct nat_packet *packet);

#endif
