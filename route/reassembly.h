/* Puts the fragments of IPv4 and IPv6 packets together (RFC 791, 3.2; RFC 8200, 4.5), for who must
 * see whole packets: translation and the gateway's own services. Control thread.
 *
 * Memory and datagrams are bounded in total, for each owner (whoever brought the fragment, as the
 * caller numbers them: a guest's port) and for each source address of an owner; what pushes against
 * a bound pushes out its own oldest first, then the oldest of the owner that holds most. */
#ifndef WEFT_ROUTE_REASSEMBLY_H
#define WEFT_ROUTE_REASSEMBLY_H

#include "base/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REASSEMBLY_IPV4_MS 30000u
#define REASSEMBLY_IPV6_MS 60000u
#define REASSEMBLY_PIECES  256u /* fragments of one datagram */

struct reassembly_limits {
	/* Bytes count what is kept for them, too. */
	uint32_t bytes, owner_bytes, source_bytes;
	uint32_t datagrams, owner_datagrams, source_datagrams;
};

#define REASSEMBLY_LIMITS                                                                          \
	((struct reassembly_limits){ .bytes = 8u << 20,                                            \
				     .owner_bytes = 2u << 20,                                      \
				     .source_bytes = 512u << 10,                                   \
				     .datagrams = 4096,                                            \
				     .owner_datagrams = 512,                                       \
				     .source_datagrams = 64 })

struct reassembly_events {
	/* A whole packet, as an Ethernet frame with the first fragment's headers; valid during the
	 * call, which may not call back. `mtu` is the length of its longest fragment: who cuts it
	 * again keeps to that, as its sender may know of a narrow link further on that will not be
	 * told of twice. */
	void (*complete)(void *context, uint32_t owner, const uint8_t *frame, size_t length,
			 uint16_t mtu);
	/* Time is over, and the first fragment was there: `frame` is it, for ICMP time exceeded
	 * (RFC 1122, 3.3.2; RFC 8200, 4.5). May be NULL. */
	void (*expired)(void *context, uint32_t owner, const uint8_t *frame, size_t length);
	void *context;
};

enum reassembly_result {
	REASSEMBLY_WAITING,   /* kept */
	REASSEMBLY_COMPLETE,  /* `complete` has been called */
	REASSEMBLY_DROPPED,   /* counted */
	REASSEMBLY_PARAMETER, /* dropped, and an ICMPv6 parameter problem is due (RFC 8200, 4.5) */
};

#define REASSEMBLY_COUNTERS(REASSEMBLY_COUNTER)                                                    \
	REASSEMBLY_COUNTER(fragments, "fragments taken")                                           \
	REASSEMBLY_COUNTER(complete, "packets put together")                                       \
	REASSEMBLY_COUNTER(atomic, "packets of one fragment (RFC 6946)")                           \
	REASSEMBLY_COUNTER(duplicate, "fragments that were there already")                         \
	REASSEMBLY_COUNTER(overlap, "packets dropped: fragments overlap (RFC 5722)")               \
	REASSEMBLY_COUNTER(after_overlap, "fragments of packets that were dropped")                \
	REASSEMBLY_COUNTER(tiny, "first fragments without a whole L4 header (RFC 1858, 7112)")     \
	REASSEMBLY_COUNTER(length, "fragments not a multiple of 8 bytes, or empty")                \
	REASSEMBLY_COUNTER(too_long, "fragments that reach beyond 65,535 bytes")                   \
	REASSEMBLY_COUNTER(pieces, "packets dropped: too many fragments")                          \
	REASSEMBLY_COUNTER(timeout, "packets dropped: fragments missing for too long")             \
	REASSEMBLY_COUNTER(evicted, "packets dropped: no room")                                    \
	REASSEMBLY_COUNTER(memory, "fragments dropped: memory is short")

struct reassembly_counters {
#define REASSEMBLY_COUNTER(field, text) uint64_t field;
	REASSEMBLY_COUNTERS(REASSEMBLY_COUNTER)
#undef REASSEMBLY_COUNTER
};

struct reassembly;

/* NULL when memory is short. */
struct reassembly *reassembly_create(const struct reassembly_limits *limits,
				     struct reassembly_events events);
void reassembly_destroy(struct reassembly *reassembly);

/* Takes a packet with packet->fragment set. *pointer is set with REASSEMBLY_PARAMETER: where in the
 * IPv6 packet the fault is. */
enum reassembly_result reassembly_input(struct reassembly *reassembly, uint32_t owner,
					const struct packet *packet, uint64_t now,
					uint32_t *pointer);

/* The owner is gone: so are its fragments. */
void reassembly_forget(struct reassembly *reassembly, uint32_t owner);

uint64_t reassembly_deadline(const struct reassembly *reassembly);
void reassembly_tick(struct reassembly *reassembly, uint64_t now);
const struct reassembly_counters *reassembly_counters(const struct reassembly *reassembly);

/* What is kept now, for display and tests. */
void reassembly_usage(const struct reassembly *reassembly, uint32_t *datagrams, uint32_t *bytes);

#endif
