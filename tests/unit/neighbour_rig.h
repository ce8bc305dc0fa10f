/* A neighbour table with two legs whose frames are kept, and the messages that neighbours send. */
#ifndef WEFT_TESTS_NEIGHBOUR_RIG_H
#define WEFT_TESTS_NEIGHBOUR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/packet.h"
#include "base/parse.h"
#include "route/neighbour.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>

#define RIG_FRAMES 64u
#define RIG_LIMIT  8u /* entries of a leg */

struct rig_frame {
	uint16_t leg;
	size_t length;
	uint8_t bytes[2048];
};

struct rig {
	struct neighbour_table *table;
	struct route_leg legs[2];
	uint64_t now;
	/* Sent since rig_clear(); more than RIG_FRAMES are only counted. */
	uint32_t sent_count;
	struct rig_frame sent[RIG_FRAMES];
	uint32_t unreachable_count;
	struct rig_frame unreachable; /* the last */
	uint32_t conflict_count;
};

struct rig_leg_context {
	struct rig *rig;
	uint16_t leg;
};
static struct rig_leg_context rig_contexts[2];

static const struct mac rig_guest = { { 0x52, 0x54, 0, 0, 0, 0x11 } };
static const struct mac rig_other = { { 0x52, 0x54, 0, 0, 0, 0x22 } };
static const struct mac rig_broadcast = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static inline struct ip rig_ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static inline struct ip_prefix rig_prefix(const char *text)
{
	struct ip_prefix prefix;

	assert_int_equal(ip_prefix_from_text(text, &prefix), 0);
	return prefix;
}

static inline void rig_send(void *context, const uint8_t *frame, size_t length)
{
	struct rig_leg_context *from = context;
	struct rig *rig = from->rig;
	struct rig_frame *to;

	if (rig->sent_count++ >= RIG_FRAMES)
		return;
	to = &rig->sent[rig->sent_count - 1];
	to->leg = from->leg;
	to->length = length;
	memcpy(to->bytes, frame, length < sizeof(to->bytes) ? length : sizeof(to->bytes));
}

static inline void rig_unreachable(void *context, const struct route_leg *leg, const uint8_t *frame,
				   size_t length)
{
	struct rig *rig = context;

	rig->unreachable_count++;
	rig->unreachable.leg = leg->index;
	rig->unreachable.length = length;
	memcpy(rig->unreachable.bytes, frame,
	       length < sizeof(rig->unreachable.bytes) ? length : sizeof(rig->unreachable.bytes));
}

static inline void rig_conflict(void *context, const struct route_leg *leg, const struct ip *ip,
				const struct mac *mac)
{
	struct rig *rig = context;

	rig->conflict_count++;
}

static inline void rig_clear(struct rig *rig)
{
	rig->sent_count = 0;
	rig->unreachable_count = 0;
	rig->conflict_count = 0;
}

/* Leg 0 is 192.168.122.1/24 and fd00:122::1/64, leg 1 is 10.255.0.2/30; both are announced. */
static inline struct rig *rig_create(uint32_t limit)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct neighbour_events events = { .unreachable = rig_unreachable,
					   .conflict = rig_conflict };

	assert_non_null(rig);
	events.context = rig;
	rig->now = 1000000;
	rig->table = neighbour_create(2, limit, events);
	assert_non_null(rig->table);
	for (uint16_t i = 0; i < 2; i++) {
		rig_contexts[i] = (struct rig_leg_context){ rig, i };
		rig->legs[i] = (struct route_leg){ .index = i,
						   .mac = { { 2, 0, 0, 0, 0, (uint8_t)i } },
						   .mtu = 1500,
						   .output = { rig_send, &rig_contexts[i] } };
	}
	rig->legs[0].address_count = 2;
	rig->legs[0].addresses[0] = rig_prefix("192.168.122.1/24");
	rig->legs[0].addresses[1] = rig_prefix("fd00:122::1/64");
	rig->legs[1].address_count = 1;
	rig->legs[1].addresses[0] = rig_prefix("10.255.0.2/30");
	neighbour_set_leg(rig->table, &rig->legs[0], rig->now);
	neighbour_set_leg(rig->table, &rig->legs[1], rig->now);
	rig->now += 10000;
	neighbour_tick(rig->table, rig->now); /* the second announcement */
	rig_clear(rig);
	return rig;
}

static inline void rig_destroy(struct rig *rig)
{
	neighbour_destroy(rig->table);
	free(rig);
}

/* Lets `ms` pass, tick by tick. */
static inline void rig_wait(struct rig *rig, uint64_t ms)
{
	uint64_t end = rig->now + ms;

	while (neighbour_deadline(rig->table) <= end) {
		assert_true(neighbour_deadline(rig->table) > rig->now);
		rig->now = neighbour_deadline(rig->table);
		neighbour_tick(rig->table, rig->now);
	}
	rig->now = end;
}

static inline bool rig_input(struct rig *rig, uint16_t leg, const uint8_t *frame, size_t length)
{
	struct packet packet;
	uint8_t *exact = malloc(length); /* so that a sanitizer sees what is read beyond */
	bool taken;

	assert_non_null(exact);
	memcpy(exact, frame, length);
	assert_true(packet_parse(exact, length, &packet));
	taken = neighbour_input(rig->table, leg, &packet, rig->now);
	free(exact);
	return taken;
}

static inline void rig_arp_frame(uint8_t frame[42], uint16_t operation, const struct mac *to,
				 const struct mac *from, const char *sender, const char *target)
{
	struct ip ip = rig_ip(sender);

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	memcpy(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00", 9);
	frame[21] = (uint8_t)operation;
	memcpy(frame + 22, from, 6);
	memcpy(frame + 28, ip_v4_bytes(&ip), 4);
	memset(frame + 32, 0, 6);
	ip = rig_ip(target);
	memcpy(frame + 38, ip_v4_bytes(&ip), 4);
}

static inline void rig_arp(struct rig *rig, uint16_t leg, uint16_t operation, const struct mac *to,
			   const struct mac *from, const char *sender, const char *target)
{
	uint8_t frame[42];

	rig_arp_frame(frame, operation, to, from, sender, target);
	assert_true(rig_input(rig, leg, frame, sizeof(frame)));
}

/* A message of neighbour discovery; `edit` is what a test changes in it. */
struct rig_nd {
	uint8_t type, flags, code;
	const char *source, *destination, *target;
	const struct mac *mac; /* NULL: no option */
	uint8_t hop_limit;     /* 0: 255 */
	const uint8_t *more;   /* options behind */
	size_t more_length;
	size_t cut;	   /* bytes off the end */
	bool bad_checksum; /* 1 more than it is */
};

static inline void rig_nd(struct rig *rig, uint16_t leg, const struct rig_nd *message)
{
	struct packet_header header = { .from = rig_guest,
					.to = rig->legs[leg].mac,
					.source = rig_ip(message->source),
					.destination = rig_ip(message->destination),
					.protocol = IPPROTO_ICMPV6,
					.hop_limit =
					    message->hop_limit ? message->hop_limit : 255 };
	struct ip target = rig_ip(message->target);
	uint8_t nd[256] = { message->type, message->code }, frame[512];
	size_t length = 24;

	nd[4] = message->flags;
	memcpy(nd + 8, target.bytes, 16);
	if (message->mac != NULL) {
		nd[24] = message->type == ND_NEIGHBOR_SOLICIT ? 1 : 2;
		nd[25] = 1;
		memcpy(nd + 26, message->mac, 6);
		length += 8;
	}
	if (message->more != NULL)
		memcpy(nd + length, message->more, message->more_length);
	length += message->more_length;
	length = packet_write_ip(&header, nd, length - message->cut, frame, sizeof(frame));
	assert_true(length != 0);
	if (message->bad_checksum)
		frame[14 + 40 + 3]++;
	assert_true(rig_input(rig, leg, frame, length));
}

/* The state of an entry, or -1. */
struct rig_search {
	struct ip ip;
	uint16_t leg;
	int state;
	struct mac mac;
	uint32_t count;
};

static inline void rig_visit(void *context, const struct neighbour *neighbour)
{
	struct rig_search *search = context;

	search->count++;
	if (neighbour->leg != search->leg || !ip_equal(&neighbour->ip, &search->ip))
		return;
	search->state = (int)neighbour->state;
	search->mac = neighbour->mac;
}

static inline int rig_state(struct rig *rig, uint16_t leg, const char *ip)
{
	struct rig_search search = { .ip = rig_ip(ip), .leg = leg, .state = -1 };

	neighbour_visit(rig->table, rig_visit, &search);
	return search.state;
}

static inline uint32_t rig_count(struct rig *rig)
{
	struct rig_search search = { 0 };

	neighbour_visit(rig->table, rig_visit, &search);
	return search.count;
}

/* Whether a worker finds `ip`, and there. */
static inline bool rig_knows(struct rig *rig, uint16_t leg, const char *ip, const struct mac *mac)
{
	struct ip address = rig_ip(ip);
	struct mac found;

	if (!neighbour_lookup(rig->table, leg, &address, &found))
		return false;
	assert_memory_equal(&found, mac, sizeof(found));
	return true;
}

/* Sends a frame of `length` bytes, all of them `fill`. */
static inline enum neighbour_resolve rig_resolve(struct rig *rig, uint16_t leg, const char *ip,
						 uint8_t fill, size_t length)
{
	struct ip address = rig_ip(ip);
	uint8_t *frame = malloc(length);
	enum neighbour_resolve result;

	assert_non_null(frame);
	memset(frame, fill, length);
	result = neighbour_resolve(rig->table, leg, &address, frame, length, rig->now);
	free(frame);
	return result;
}

/* The frame `i` that was sent is ARP with these in it. */
static inline void rig_check_arp(struct rig *rig, uint32_t i, uint16_t leg, uint16_t operation,
				 const struct mac *to, const char *sender, const char *target)
{
	const uint8_t *frame = rig->sent[i].bytes;
	struct ip ip = rig_ip(sender);

	assert_true(i < rig->sent_count);
	assert_int_equal(rig->sent[i].leg, leg);
	assert_int_equal(rig->sent[i].length, 60);
	assert_memory_equal(frame, to, 6);
	assert_memory_equal(frame + 6, &rig->legs[leg].mac, 6);
	assert_memory_equal(frame + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00", 9);
	assert_int_equal(frame[21], operation);
	assert_memory_equal(frame + 22, &rig->legs[leg].mac, 6);
	assert_memory_equal(frame + 28, ip_v4_bytes(&ip), 4);
	ip = rig_ip(target);
	assert_memory_equal(frame + 38, ip_v4_bytes(&ip), 4);
}

/* The frame `i` that was sent is a message of neighbour discovery with these in it. */
static inline void rig_check_nd(struct rig *rig, uint32_t i, uint8_t type, uint8_t flags,
				const struct mac *to, const char *source, const char *destination,
				const char *target)
{
	struct ip source_ip = rig_ip(source), destination_ip = rig_ip(destination),
		  target_ip = rig_ip(target);
	struct packet packet;

	assert_true(i < rig->sent_count);
	assert_true(packet_parse(rig->sent[i].bytes, rig->sent[i].length, &packet));
	assert_memory_equal(&packet.to, to, 6);
	assert_memory_equal(&packet.from, &rig->legs[rig->sent[i].leg].mac, 6);
	assert_int_equal(packet.protocol, IPPROTO_ICMPV6);
	assert_int_equal(packet.hop_limit, 255);
	assert_true(packet_checksum_ok(&packet));
	assert_true(ip_equal(&packet.source, &source_ip));
	assert_true(ip_equal(&packet.destination, &destination_ip));
	assert_int_equal(packet.payload_length, 32);
	assert_int_equal(packet.payload[0], type);
	assert_int_equal(packet.payload[1], 0);
	assert_int_equal(packet.payload[4], flags);
	assert_memory_equal(packet.payload + 8, target_ip.bytes, 16);
	assert_int_equal(packet.payload[24], type == ND_NEIGHBOR_SOLICIT ? 1 : 2);
	assert_int_equal(packet.payload[25], 1);
	assert_memory_equal(packet.payload + 26, &rig->legs[rig->sent[i].leg].mac, 6);
}

#endif
