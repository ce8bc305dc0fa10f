/* For the tests of reassembly: packets of every make, fragments made of them, and what came out. */
#ifndef WEFT_TESTS_REASSEMBLY_RIG_H
#define WEFT_TESTS_REASSEMBLY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/parse.h"
#include "route/reassembly.h"

#include <netinet/in.h>
#include <stdlib.h>

struct rig {
	struct reassembly *r;
	uint64_t now;
	uint32_t complete, expired;
	uint32_t owner;
	size_t length;
	uint16_t mtu;
	uint8_t frame[PACKET_LENGTH_MAX + 64];
	uint32_t pointer;
};

static inline void on_complete(void *context, uint32_t owner, const uint8_t *frame, size_t length,
			       uint16_t mtu)
{
	struct rig *rig = context;

	rig->complete++;
	rig->mtu = mtu;
	rig->owner = owner;
	rig->length = length;
	memcpy(rig->frame, frame, length);
}

static inline void on_expired(void *context, uint32_t owner, const uint8_t *frame, size_t length)
{
	struct rig *rig = context;

	rig->expired++;
	rig->owner = owner;
	rig->length = length;
	memcpy(rig->frame, frame, length);
}

static inline struct rig *rig_create(const struct reassembly_limits *limits)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct reassembly_events events = { on_complete, on_expired, rig };

	assert_non_null(rig);
	rig->r = reassembly_create(limits != NULL ? limits : &REASSEMBLY_LIMITS, events);
	assert_non_null(rig->r);
	rig->now = 1000;
	return rig;
}

static inline void rig_destroy(struct rig *rig)
{
	reassembly_destroy(rig->r);
	free(rig);
}

static inline const struct reassembly_counters *counters(const struct rig *rig)
{
	return reassembly_counters(rig->r);
}

/* A packet to be sent in fragments. */
struct whole {
	int version;
	uint8_t protocol;
	uint32_t id;
	uint32_t owner;
	uint8_t source;	 /* last byte of its address */
	uint8_t traffic; /* TOS, traffic class */
	uint8_t tag;	 /* 1: tagged */
	uint8_t before;	 /* bytes of options, or of a hop-by-hop header */
	uint32_t length; /* of the payload */
	uint8_t *payload;
};

static inline struct whole whole_of(int version, uint32_t length)
{
	struct whole whole = { .version = version,
			       .protocol = IPPROTO_UDP,
			       .id = 0x1234,
			       .source = 7,
			       .length = length,
			       .payload = malloc(length + 8) };

	assert_non_null(whole.payload);
	for (uint32_t i = 0; i < length + 8; i++)
		whole.payload[i] = (uint8_t)(i * 13 + (i >> 8));
	return whole;
}

static inline size_t put_headers(const struct whole *whole, uint8_t *out, uint32_t payload,
				 bool fragment, uint16_t field)
{
	uint8_t *ip = out + 14 + whole->tag * 4;
	uint32_t header = (whole->version == 4 ? 20u : 40u) + whole->before;
	uint16_t sum;

	memset(out, 0, 14 + 4 + 40 + 64);
	memset(out, 0x52, 12);
	if (whole->tag)
		memcpy(out + 12, "\x81\x00\x60\x05", 4);
	write_be16(ip - 2, whole->version == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	if (whole->version == 4) {
		ip[0] = (uint8_t)(0x40 | header / 4);
		ip[1] = whole->traffic;
		write_be16(ip + 2, (uint16_t)(header + payload));
		write_be16(ip + 4, (uint16_t)whole->id);
		write_be16(ip + 6, field);
		ip[8] = 64;
		ip[9] = whole->protocol;
		memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, whole->source, 10, 0, 0, 1 }, 8);
		memset(ip + 20, 1, whole->before);
		sum = checksum_finish(checksum_add(0, ip, header));
		memcpy(ip + 10, &sum, 2);
		return (size_t)(ip - out) + header;
	}
	write_be32(ip, 6u << 28 | (uint32_t)whole->traffic << 20);
	write_be16(ip + 4, (uint16_t)(payload + whole->before + (fragment ? 8 : 0)));
	ip[6] = whole->before ? IPPROTO_HOPOPTS : fragment ? IPPROTO_FRAGMENT : whole->protocol;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = whole->source;
	ip[39] = 1;
	if (whole->before) {
		ip[40] = fragment ? IPPROTO_FRAGMENT : whole->protocol;
		ip[41] = (uint8_t)(whole->before / 8 - 1);
	}
	ip += header;
	if (fragment) {
		ip[0] = whole->protocol;
		ip[1] = 0;
		write_be16(ip + 2, field);
		write_be32(ip + 4, whole->id);
		ip += 8;
	}
	return (size_t)(ip - out);
}

/* Feeds the bytes [offset, offset + length) of the packet; `more` as the flag says. */
static inline enum reassembly_result feed(struct rig *rig, const struct whole *whole,
					  uint32_t offset, uint32_t length, bool more)
{
	uint8_t *frame = malloc(256 + length), *exact;
	enum reassembly_result result;
	struct packet packet;
	uint16_t field = (uint16_t)(whole->version == 4 ? offset / 8 | (more ? 0x2000 : 0)
							: offset | (more ? 1 : 0));
	size_t head;

	assert_non_null(frame);
	head = put_headers(whole, frame, length, true, field);
	for (uint32_t i = 0; i < length; i++) /* also beyond the packet's end */
		frame[head + i] = whole->payload[(offset + i) % (whole->length + 8)];
	exact = malloc(head + length);
	assert_non_null(exact);
	memcpy(exact, frame, head + length);
	free(frame);
	assert_true(packet_parse(exact, head + length, &packet));
	assert_true(packet.fragment);
	result = reassembly_input(rig->r, whole->owner, &packet, rig->now, &rig->pointer);
	free(exact);
	return result;
}

/* What came out is the packet, with headers that are right. */
static inline void check_whole(const struct rig *rig, const struct whole *whole)
{
	uint8_t headers[256];
	struct packet packet;
	size_t head = put_headers(whole, headers, whole->length, false, 0);

	assert_int_equal(rig->length, head + whole->length);
	assert_memory_equal(rig->frame, headers, head);
	assert_memory_equal(rig->frame + head, whole->payload, whole->length);
	assert_int_equal(rig->owner, whole->owner);
	assert_true(packet_parse(rig->frame, rig->length, &packet));
	assert_false(packet.fragment);
}

static inline void check_empty(const struct rig *rig)
{
	uint32_t datagrams, bytes;

	reassembly_usage(rig->r, &datagrams, &bytes);
	assert_int_equal(datagrams, 0);
	assert_int_equal(bytes, 0);
}

#endif
