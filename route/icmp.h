/* ICMP and ICMPv6 of a gateway: answers to echo requests, and errors about packets that go no
 * further (RFC 792, 1122, 1812, 4443). Control thread; knows no neighbours: an answer goes back to
 * the MAC that its cause came from, out of the leg that it came in by. */
#ifndef WEFT_ROUTE_ICMP_H
#define WEFT_ROUTE_ICMP_H

#include "base/packet.h"
#include "route/leg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Errors a leg sends in a second, and at once after a silence (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
 */
#define ICMP_ERROR_RATE	 100u
#define ICMP_ERROR_BURST 50u

enum icmp_error {
	ICMP_NET_UNREACHABLE,	   /* no route */
	ICMP_HOST_UNREACHABLE,	   /* no neighbour */
	ICMP_PROTOCOL_UNREACHABLE, /* not served here; IPv6: parameter problem, value is the offset
				      of the next header field */
	ICMP_PORT_UNREACHABLE,
	ICMP_TOO_BIG,		  /* value: the MTU it must fit in */
	ICMP_PROHIBITED,	  /* refused on purpose */
	ICMP_SOURCE_ROUTE_FAILED, /* IPv6: parameter problem at value */
	ICMP_TTL_EXCEEDED,
	ICMP_REASSEMBLY_TIME,	/* fragments were missing for too long */
	ICMP_PARAMETER_PROBLEM, /* value: offset of the octet, from the IP header */
	ICMP_ERRORS,
};

#define ICMP_COUNTERS(ICMP_COUNTER)                                                                \
	ICMP_COUNTER(echo_answered, "echo requests answered")                                      \
	ICMP_COUNTER(errors_sent, "errors sent")                                                   \
	ICMP_COUNTER(errors_limited, "errors not sent: too many a second")                         \
	ICMP_COUNTER(errors_forbidden, "errors not sent: about an error, a group or a fragment")   \
	ICMP_COUNTER(checksum, "ICMP to us with a wrong checksum")                                 \
	ICMP_COUNTER(short_packet, "ICMP to us shorter than its header")                           \
	ICMP_COUNTER(ignored, "ICMP to us of a type that needs no answer")

struct icmp_counters {
#define ICMP_COUNTER(field, text) uint64_t field;
	ICMP_COUNTERS(ICMP_COUNTER)
#undef ICMP_COUNTER
};

struct icmp;

/* For legs of index [0, legs). NULL when memory is short. */
struct icmp *icmp_create(uint16_t legs);
void icmp_destroy(struct icmp *icmp);

/* An ICMP packet to the gateway itself (or to all nodes or all routers): an echo request is
 * answered, whatever its size (a frame longer than the leg's MTU may leave through its output).
 * False when it is no ICMP, or a fragment (to be put together first). Neighbour discovery is not
 * for here. */
bool icmp_input(struct icmp *icmp, const struct route_leg *leg, const struct packet *packet,
		uint64_t now);

/* Sends an error about a packet that arrived through `leg`, unless a rule forbids it (RFC 1122,
 * 3.2.2; RFC 1812, 4.3.2.7; RFC 4443, 2.4 e) or the leg has sent its share. */
bool icmp_error(struct icmp *icmp, const struct route_leg *leg, const struct packet *about,
		enum icmp_error error, uint32_t value, uint64_t now);

/* The same frame, only written to `out`; its length, or 0 when it must not be sent. 1,294 bytes are
 * always enough. */
#define ICMP_ERROR_LENGTH_MAX 1294u
size_t icmp_error_write(const struct route_leg *leg, const struct packet *about,
			enum icmp_error error, uint32_t value, uint8_t *out, size_t size);

const struct icmp_counters *icmp_counters(const struct icmp *icmp);

#endif
