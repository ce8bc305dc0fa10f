/* What the files of the translator share: sessions, shards, accounts, ports. Nothing outside nat/
 * includes this.
 *
 * Locks. A shard's lock covers its sessions (slots, links but the half-open ones), its tables and
 * lists, and its part of every address's ports. The accounts' lock covers guests, permits, free
 * slots and the half-open lists. Order: shard, then accounts; never two shards. */
#ifndef WEFT_NAT_INTERNAL_H
#define WEFT_NAT_INTERNAL_H

#include "nat/nat.h"
#include "nat/table.h"

#include <sched.h>
#include <stdatomic.h>

/* Both ports of a session, inside and outside, are of one shard: bits 1 to 4 choose it. */
#define NAT_SHARDS	16u
#define NAT_SHARD_PORTS (65536u / NAT_SHARDS)
#define NAT_WORDS	(NAT_SHARD_PORTS / 2 / 64) /* of a bitmap of one parity in one shard */

#define NAT_UNLINKED UINT32_MAX

static inline uint32_t nat_port_shard(uint16_t port)
{
	return (port >> 1) & (NAT_SHARDS - 1);
}

/* Its number among those of its shard and parity; the first 32 are ports 0 to 1023. */
static inline uint32_t nat_port_rank(uint16_t port)
{
	return port >> 5;
}

static inline uint16_t nat_port_at(uint32_t shard, uint32_t parity, uint32_t rank)
{
	return (uint16_t)(rank << 5 | shard << 1 | parity);
}

/* A bit for every port, ordered so that a shard's are together. */
struct nat_port_set {
	uint64_t words[NAT_SHARDS][2][NAT_WORDS];
};

static inline bool nat_port_set_has(const struct nat_port_set *set, uint16_t port)
{
	uint32_t rank = nat_port_rank(port);

	return set->words[nat_port_shard(port)][port & 1][rank / 64] >> rank % 64 & 1;
}

/* Protocols whose ports (or identifiers) are translated, as an index; NAT_SPACES for the others. */
enum nat_space { NAT_SPACE_TCP, NAT_SPACE_UDP, NAT_SPACE_ICMP, NAT_SPACES };

enum nat_space nat_space_of(uint8_t protocol);

/* The ports of one outside address in one space. The owner of a port is one of the sessions of its
 * mapping, or 0. */
struct nat_ports {
	struct nat_port_set used;
	uint16_t taken[NAT_SHARDS]; /* of those from 1024 on */
	uint32_t owner[NAT_SHARDS][2][NAT_SHARD_PORTS / 2];
};

struct nat_address {
	struct ip ip;
	bool used;
	struct nat_ports *ports; /* NAT_SPACES of them, when used */
};

enum nat_slot_flag {
	NAT_SLOT_FORWARD = 1,	   /* its outside port is a forward's, not of the pool */
	NAT_SLOT_FROM_OUTSIDE = 2, /* the remote began it */
	NAT_SLOT_SENT_OUT = 4,	   /* the inside has sent */
	NAT_SLOT_SENT_IN = 8,
	NAT_SLOT_FIN_OUT = 16,
	NAT_SLOT_FIN_IN = 32,
	NAT_SLOT_OPENED = 64, /* was established once */
};

/* A session as the file keeps it. `check` is 0 while it is none; it covers what never changes. */
struct nat_slot {
	struct ip inside, remote;
	uint16_t inside_port, outside_port, remote_port;
	uint16_t address; /* index of the outside address */
	uint8_t protocol;
	uint8_t state; /* enum nat_state */
	uint8_t flags; /* enum nat_slot_flag */
	/* 1 + number of the shard that it is linked in, else 0. Written with that shard's lock
	 * held; without it good only as a hint. */
	_Atomic uint8_t shard;
	uint32_t last_seen, created; /* seconds */
	uint32_t packets[2];	     /* by enum nat_direction */
	_Atomic uint32_t check;
};

_Static_assert(sizeof(struct nat_slot) == 64, "a cache line; and the format of the file");

/* The rest of a session, made anew at every start. */
struct nat_links {
	uint32_t older, newer;		 /* list of its time-out; free slots: newer */
	uint32_t half_older, half_newer; /* list of its guest's that may be evicted */
	uint32_t next_session;		 /* in the table of sessions */
	uint32_t next_mapping;		 /* in the table of mappings, for the mapping's head */
	uint32_t previous, next;	 /* ring of the sessions of one mapping */
	uint32_t guest;
};

enum nat_direction { NAT_OUT, NAT_IN };

/* Who may use outside: sessions are found by this. */
struct nat_key {
	struct ip inside, remote;
	uint16_t inside_port, remote_port;
	uint8_t protocol;
};

enum nat_class {
	NAT_CLASS_TCP,
	NAT_CLASS_TCP_TRANSITORY,
	NAT_CLASS_UDP,
	NAT_CLASS_UDP_ONE_WAY,
	NAT_CLASS_ICMP,
	NAT_CLASS_OTHER,
	NAT_CLASSES
};

extern const uint32_t nat_class_timeout[NAT_CLASSES];

struct nat_lock {
	_Atomic uint32_t held;
};

/* A list by time: the oldest expires first. */
struct nat_list {
	uint32_t oldest, newest;
};

struct nat_shard {
	struct nat_lock lock;
	struct nat_table sessions; /* by nat_key */
	struct nat_table mappings; /* heads, by inside and port; other protocols by remote */
	struct nat_list lists[NAT_CLASSES];
	uint64_t random; /* state of the generator of ports */
	uint64_t created, expired, evicted, refused_port;
} __attribute__((aligned(64)));

/* An inside address that has sessions. */
struct nat_guest {
	struct ip ip;
	uint32_t next; /* in the table; free ones: list */
	uint32_t sessions;
	uint32_t half_oldest, half_newest;
	/* Index of the outside address that it is paired with, NAT_ADDRESSES_MAX for none. Written
	 * with the accounts' lock, read without: either value will do. */
	_Atomic uint16_t address;
	uint16_t ports[NAT_SPACES][NAT_SHARDS]; /* with that shard's lock */
};

/* That an inside port has sessions with some remote address, whatever the port there: for
 * address-dependent filtering. 40 bits of a keyed hash stand for the three. */
struct nat_permit {
	uint32_t print;
	uint32_t count; /* sessions, and 8 more bits of the print on top */
	uint32_t next;
};

struct nat_accounts {
	struct nat_lock lock;
	uint32_t sessions;
	_Atomic uint32_t high; /* slots [1, high) have been in use */
	uint32_t allocated;    /* slots that have memory */
	uint32_t free_slot;
	struct nat_table guest_table;
	uint32_t guest_count, guest_high, free_guest;
	struct nat_table permit_table;
	uint32_t permit_high, free_permit;
	uint64_t refused_limit, refused_guest, restored;
} __attribute__((aligned(64)));

struct nat_rules;
struct nat_file_header;

struct nat {
	_Atomic(struct nat_rules *) rules; /* control publishes (release), workers load (acquire) */
	struct nat_rules *retired;	   /* control: replaced, until nat_settle() */
	uint64_t key[2];		   /* of all hashes */
	struct nat_slot *slots;
	struct nat_links *links;
	struct nat_guest *guests;
	struct nat_permit *permits;
	uint32_t *buckets; /* of all tables */
	struct nat_address addresses[NAT_ADDRESSES_MAX];
	_Atomic uint16_t identifications[256]; /* IPv4, by remote address */
	struct nat_accounts accounts;
	struct nat_shard shards[NAT_SHARDS];
	/* control */
	struct nat_config config; /* a copy */
	struct ip *uplink;
	uint32_t uplink_count;
	bool addresses_known;
	unsigned awaited; /* enum nat_family: of these not all are known yet */
	bool unsettled; /* nat_settle() has something to do */
	int fd;		/* of the file, or -1 */
	struct nat_file_header *header;
};

static inline void nat_pause(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static inline void nat_lock(struct nat_lock *lock)
{
	/* acquire: pairs with the release of nat_unlock(). */
	for (uint32_t i = 1; atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) != 0;
	     i++) {
		while (atomic_load_explicit(&lock->held, memory_order_relaxed) != 0) {
			nat_pause();
			/* The holder may have lost its processor. */
			if (i++ % 128 == 0)
				sched_yield();
		}
	}
}

static inline void nat_unlock(struct nat_lock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

/* Half of the 128-bit product on the other half: each bit of both numbers counts. */
static inline uint64_t nat_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t nat_word(const void *bytes, uint32_t index)
{
	uint64_t word;

	memcpy(&word, (const uint8_t *)bytes + 8 * (size_t)index, sizeof(word));
	return word;
}

/* A hash under the translator's key, which nobody outside can guess collisions of. */
static inline uint64_t nat_hash_ip(const struct nat *nat, const struct ip *ip, uint64_t more)
{
	uint64_t hash = nat_mix(nat_word(ip, 0) ^ nat->key[0], nat_word(ip, 1) ^ nat->key[1]);

	return nat_mix(hash ^ nat->key[1], more ^ nat->key[0] ^ 0x9e3779b97f4a7c15u);
}

static inline uint64_t nat_hash_key(const struct nat *nat, const struct nat_key *key)
{
	uint64_t ports =
	    (uint64_t)key->protocol << 32 | (uint32_t)key->inside_port << 16 | key->remote_port;

	return nat_hash_ip(nat, &key->remote, nat_hash_ip(nat, &key->inside, ports));
}

/* How far apart two moments are; never negative, since the clocks of workers differ a little. */
static inline uint32_t nat_elapsed(uint32_t now, uint32_t then)
{
	return (int32_t)(now - then) > 0 ? now - then : 0;
}

#endif
