/* What the files of reassembly share: datagrams, their pieces, and who pays for them. Control
 * thread. Nobody else includes this. */
#ifndef WEFT_ROUTE_REASSEMBLY_INTERNAL_H
#define WEFT_ROUTE_REASSEMBLY_INTERNAL_H

#include "route/reassembly.h"

#include <sys/queue.h>

#define REASSEMBLY_BUCKETS 1024u

struct piece {
	TAILQ_ENTRY(piece) link;
	uint32_t offset, length; /* of the payload */
	uint32_t head;		 /* bytes before it, of the first one alone */
	uint8_t bytes[];
};
TAILQ_HEAD(piece_list, piece);

struct datagram;
TAILQ_HEAD(datagram_list, datagram);

/* What one owner holds, or one of its source addresses. */
struct account {
	LIST_ENTRY(account) link;
	uint32_t owner;
	struct ip source; /* zero in the owner's own */
	uint32_t bytes, count;
	struct datagram_list datagrams; /* oldest first */
};
LIST_HEAD(account_list, account);

struct datagram_key {
	struct ip source, destination;
	uint32_t owner, id;
	uint8_t version, protocol; /* IPv6: 0 */
};

/* In four lists: of its key's bucket, of its age, and of the two accounts that pay for it. */
struct datagram {
	LIST_ENTRY(datagram) bucket;
	TAILQ_ENTRY(datagram) of_age, of_owner, of_source;
	struct account *owner, *source;
	struct datagram_key key;
	uint64_t expires;
	uint32_t bytes; /* what it costs */
	uint32_t have;	/* payload bytes that are there */
	uint32_t total; /* and how many it takes; 0: not known yet */
	uint16_t count;
	uint16_t mtu;	/* bytes of the longest fragment, from its IP header */
	bool dead;	/* overlapped */
	bool congested; /* a piece had ECN's CE (RFC 3168, 5.3) */
	struct piece_list pieces;
};
LIST_HEAD(datagram_bucket, datagram);

struct reassembly {
	struct reassembly_limits limits;
	struct reassembly_events events;
	struct reassembly_counters counters;
	uint64_t seed;
	uint32_t bytes, count;
	struct datagram_bucket buckets[REASSEMBLY_BUCKETS];
	struct datagram_list ages[2]; /* IPv4, IPv6: each waits equally long */
	struct account_list owners;
	struct account_list sources[REASSEMBLY_BUCKETS];
	uint8_t whole[PACKET_LENGTH_MAX + 64];
};

/* reassembly_store.c. NULL when there is none; new: when memory is short. */
struct datagram *reassembly_find(struct reassembly *r, const struct datagram_key *key);
struct datagram *reassembly_new(struct reassembly *r, const struct datagram_key *key, uint64_t now);
void reassembly_free(struct reassembly *r, struct datagram *datagram);
void reassembly_free_pieces(struct reassembly *r, struct datagram *datagram);
/* Adds to what the datagram costs. */
void reassembly_charge(struct reassembly *r, struct datagram *datagram, uint32_t bytes);
/* Drops others until the datagram may cost `more`. False when it had to go itself. */
bool reassembly_make_room(struct reassembly *r, const struct datagram *datagram, uint32_t more);

#endif
