/* A translator on a bench: crafted packets go in, and what comes out is looked at byte by byte with
 * sums of its own (frame_check.h). Addresses are text, inside 10.0.0.0/24 and fd00::/64, outside
 * 192.0.2.0/24 and 2001:db8::/64, unless a test says otherwise. */
#ifndef WEFT_TESTS_NAT_RIG_H
#define WEFT_TESTS_NAT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "nat/nat.h"
#include "tests/unit/frame_check.h"

#define OUTSIDE	 "192.0.2.1"
#define OUTSIDE6 "2001:db8::1"
#define FIN	 0x01
#define SYN	 0x02
#define RST	 0x04
#define ACK	 0x10

struct rig {
	struct nat_config config;
	struct nat *nat;
	uint32_t now;
	enum drop_reason reason; /* of the last drop */
};

/* A packet on its way: its bytes in a head, and what is longer in a segment. */
struct wire {
	uint8_t slot[FRAME_SLOT];
	uint8_t bytes[2048];
	struct frame_segment segment;
	struct frame frame;
};

static inline struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

/* A translator with limits that do not matter; the test changes config before rig_open(). */
static inline void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->config.enabled = true;
	rig->config.session_limit = 1000000;
	rig->config.guest_session_limit = 65536;
	rig->now = 1000;
}

static inline void rig_open_file(struct rig *rig, const char *path)
{
	struct ip addresses[] = { ip_of(OUTSIDE), ip_of(OUTSIDE6) };
	struct error error = { "" };

	if (nat_create(&rig->config, path, rig->now, &rig->nat, &error) != 0)
		fail_msg("%s", error.text);
	if (rig->config.pool_count == 0) {
		assert_int_equal(nat_set_addresses(rig->nat, addresses, 2), 0);
		nat_settle(rig->nat);
	}
}

static inline void rig_open(struct rig *rig)
{
	rig_open_file(rig, NULL);
}

static inline void rig_close(struct rig *rig)
{
	nat_destroy(rig->nat);
	rig->nat = NULL;
}

/* New configuration, and the grace that is owed. */
static inline void rig_update(struct rig *rig)
{
	assert_int_equal(nat_update(rig->nat, &rig->config, NULL), 0);
	nat_settle(rig->nat);
}

static inline uint64_t rig_sessions(struct rig *rig)
{
	struct nat_stats stats;

	nat_get_stats(rig->nat, &stats);
	return stats.sessions;
}

static inline void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Completes the sum of `length` bytes of L4 at l4, of which the field is at `field`. */
static inline void put_sum(const uint8_t *ip, uint8_t protocol, uint8_t *l4, uint32_t length,
			   uint32_t field)
{
	uint32_t sum = protocol == IPPROTO_ICMP ? 0 : check_pseudo(ip, protocol, length);

	put16(l4 + field, 0);
	sum = ~check_sum(sum, l4, length) & 0xffff;
	if (sum == 0 && protocol == IPPROTO_UDP)
		sum = 0xffff;
	put16(l4 + field, sum);
}

static inline uint32_t ip_length(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;
}

/* Writes an IP header for `length` bytes of L4; returns where that goes. */
static inline uint8_t *put_ip(uint8_t *ip, const struct ip *from, const struct ip *to,
			      uint8_t protocol, uint32_t length)
{
	if (ip_is_v4(from)) {
		memcpy(ip, (uint8_t[]){ 0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0 },
		       12);
		put16(ip + 2, 20 + length);
		memcpy(ip + 12, ip_v4_bytes(from), 4);
		memcpy(ip + 16, ip_v4_bytes(to), 4);
		put16(ip + 10, ~check_sum(0, ip, 20) & 0xffff);
		return ip + 20;
	}
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, length);
	ip[6] = protocol;
	ip[7] = 64;
	memcpy(ip + 8, from->bytes, 16);
	memcpy(ip + 24, to->bytes, 16);
	return ip + 40;
}

/* The frame of wire->bytes, which `length` of are used. */
static inline struct frame *wire_frame(struct wire *wire, uint32_t length)
{
	struct frame *frame = &wire->frame;

	memset(frame, 0, sizeof(*frame));
	frame->head = wire->slot + FRAME_HEADROOM;
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	memcpy(frame->head, wire->bytes, frame->head_length);
	wire->segment.base = wire->bytes + frame->head_length;
	wire->segment.length = length - frame->head_length;
	frame->segments = &wire->segment;
	frame->segment_count = wire->segment.length != 0;
	parse_frame(frame);
	return frame;
}

/* Ethernet and IP around `length` bytes of L4 that are written at what is returned. */
static inline uint8_t *wire_begin(struct wire *wire, const struct ip *from, const struct ip *to,
				  uint8_t protocol, uint32_t length)
{
	bool v4 = ip_is_v4(from);

	memcpy(wire->bytes, "\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02", 12);
	put16(wire->bytes + 12, v4 ? 0x0800 : 0x86dd);
	return put_ip(wire->bytes + 14, from, to, protocol, length);
}

static inline struct frame *wire_end(struct wire *wire, uint8_t *l4, uint32_t length)
{
	return wire_frame(wire, (uint32_t)(l4 - wire->bytes) + length);
}

static inline struct frame *wire_udp_ip(struct wire *wire, const struct ip *from, uint16_t port,
					const struct ip *to, uint16_t to_port)
{
	uint8_t *l4 = wire_begin(wire, from, to, IPPROTO_UDP, 12);

	put16(l4, port);
	put16(l4 + 2, to_port);
	put16(l4 + 4, 12);
	memcpy(l4 + 8, "data", 4);
	put_sum(wire->bytes + 14, IPPROTO_UDP, l4, 12, 6);
	return wire_end(wire, l4, 12);
}

static inline struct frame *wire_udp(struct wire *wire, const char *from, uint16_t port,
				     const char *to, uint16_t to_port)
{
	struct ip source = ip_of(from), destination = ip_of(to);

	return wire_udp_ip(wire, &source, port, &destination, to_port);
}

static inline struct frame *wire_tcp_ip(struct wire *wire, const struct ip *from, uint16_t port,
					const struct ip *to, uint16_t to_port, uint8_t flags)
{
	uint8_t *l4 = wire_begin(wire, from, to, IPPROTO_TCP, 20);

	memset(l4, 0, 20);
	put16(l4, port);
	put16(l4 + 2, to_port);
	l4[7] = 9;
	l4[12] = 5 << 4;
	l4[13] = flags;
	put16(l4 + 14, 1000);
	put_sum(wire->bytes + 14, IPPROTO_TCP, l4, 20, 16);
	return wire_end(wire, l4, 20);
}

static inline struct frame *wire_tcp(struct wire *wire, const char *from, uint16_t port,
				     const char *to, uint16_t to_port, uint8_t flags)
{
	struct ip source = ip_of(from), destination = ip_of(to);

	return wire_tcp_ip(wire, &source, port, &destination, to_port, flags);
}

/* An ICMP message of 16 bytes: type, identifier. */
static inline struct frame *wire_icmp(struct wire *wire, const char *from, const char *to,
				      uint8_t type, uint16_t identifier)
{
	struct ip source = ip_of(from), destination = ip_of(to);
	uint8_t protocol = ip_is_v4(&source) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	uint8_t *l4 = wire_begin(wire, &source, &destination, protocol, 16);

	memset(l4, 0, 16);
	l4[0] = type;
	put16(l4 + 4, identifier);
	l4[7] = 1;
	put_sum(wire->bytes + 14, protocol, l4, 16, 2);
	return wire_end(wire, l4, 16);
}

/* Any other protocol, with 16 bytes in it. */
static inline struct frame *wire_other(struct wire *wire, const char *from, const char *to,
				       uint8_t protocol)
{
	struct ip source = ip_of(from), destination = ip_of(to);
	uint8_t *l4 = wire_begin(wire, &source, &destination, protocol, 16);

	for (uint8_t i = 0; i < 16; i++)
		l4[i] = (uint8_t)(i * 17);
	return wire_end(wire, l4, 16);
}

/* An ICMP error about the packet as it now stands in `about`, of which at most `keep` bytes are
 * sent along. */
static inline struct frame *wire_error(struct wire *wire, const char *from, const char *to,
				       uint8_t type, uint8_t code, const struct wire *about,
				       uint32_t keep)
{
	struct ip source = ip_of(from), destination = ip_of(to);
	uint8_t protocol = ip_is_v4(&source) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	uint8_t *all = check_flatten(&about->frame);
	uint32_t length = about->frame.length - 14;
	uint8_t *l4;

	if (length > keep)
		length = keep;
	l4 = wire_begin(wire, &source, &destination, protocol, 8 + length);
	memset(l4, 0, 8);
	l4[0] = type;
	l4[1] = code;
	memcpy(l4 + 8, all + 14, length);
	put_sum(wire->bytes + 14, protocol, l4, 8 + length, 2);
	free(all);
	return wire_end(wire, l4, 8 + length);
}

/* The ends of the IP packet at `ip`; ports are 0 for what has none, the identifier for ICMP. */
struct ends {
	struct ip from, to;
	uint16_t from_port, to_port;
};

static inline struct ends ends_at(const uint8_t *ip)
{
	bool v4 = ip[0] >> 4 == 4;
	uint8_t protocol = v4 ? ip[9] : ip[6];
	const uint8_t *l4 = ip + ip_length(ip);
	struct ends ends = { 0 };

	ends.from = v4 ? ip_from_v4_bytes(ip + 12) : ip_from_v6_bytes(ip + 8);
	ends.to = v4 ? ip_from_v4_bytes(ip + 16) : ip_from_v6_bytes(ip + 24);
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		ends.from_port = (uint16_t)check_be16(l4);
		ends.to_port = (uint16_t)check_be16(l4 + 2);
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		ends.from_port = ends.to_port = (uint16_t)check_be16(l4 + 4);
	}
	return ends;
}

static inline struct ends ends_of(const struct wire *wire)
{
	return ends_at(wire->frame.head + 14);
}

/* Whether every checksum of the packet is right, worked out from all its bytes. */
static inline bool wire_sums_ok(const struct wire *wire)
{
	uint8_t *all = check_flatten(&wire->frame), *ip = all + 14, *l4 = ip + ip_length(ip);
	uint8_t protocol = ip[0] >> 4 == 4 ? ip[9] : ip[6];
	uint32_t length = wire->frame.length - (uint32_t)(l4 - all);
	bool ok = ip[0] >> 4 == 6 || check_ipv4_sum(ip);

	if (protocol == IPPROTO_ICMP)
		ok = ok && check_sum(0, l4, length) == 0xffff;
	else if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMPV6)
		ok = ok && check_l4_sum(ip, protocol, l4, length);
	free(all);
	return ok;
}

#define assert_end(ip_, port_, text, number)                                                       \
	do {                                                                                       \
		char text_[IP_TEXT_LENGTH];                                                        \
		struct ip end_ = (ip_);                                                            \
		assert_string_equal(ip_to_text(&end_, text_), text);                               \
		assert_int_equal(port_, number);                                                   \
	} while (0)

/* The packet, as it has become. */
#define assert_from(wire, text, number)                                                            \
	assert_end(ends_of(wire).from, ends_of(wire).from_port, text, number)
#define assert_to(wire, text, number)                                                              \
	assert_end(ends_of(wire).to, ends_of(wire).to_port, text, number)

static inline enum nat_result rig_out(struct rig *rig, struct wire *wire)
{
	enum nat_result result = nat_outbound(rig->nat, &wire->frame, rig->now, &rig->reason);

	if (result == NAT_TRANSLATED)
		assert_true(wire_sums_ok(wire));
	return result;
}

static inline enum nat_result rig_in(struct rig *rig, struct wire *wire)
{
	enum nat_result result = nat_inbound(rig->nat, &wire->frame, rig->now, &rig->reason);

	if (result == NAT_TRANSLATED)
		assert_true(wire_sums_ok(wire));
	return result;
}

static inline enum nat_result rig_hairpin(struct rig *rig, struct wire *wire)
{
	enum nat_result result = nat_hairpin(rig->nat, &wire->frame, rig->now, &rig->reason);

	if (result == NAT_TRANSLATED)
		assert_true(wire_sums_ok(wire));
	return result;
}

#define assert_translated(result) assert_int_equal(result, NAT_TRANSLATED)
#define assert_dropped(rig, result, why)                                                           \
	do {                                                                                       \
		assert_int_equal(result, NAT_DROP);                                                \
		assert_int_equal((rig)->reason, why);                                              \
	} while (0)

/* A UDP packet from inside; returns the outside port it got. */
static inline uint16_t rig_udp_out(struct rig *rig, const char *from, uint16_t port, const char *to,
				   uint16_t to_port)
{
	struct wire wire;

	wire_udp(&wire, from, port, to, to_port);
	assert_translated(rig_out(rig, &wire));
	return ends_of(&wire).from_port;
}

/* A UDP packet from outside to the outside address of its family. */
static inline enum nat_result rig_udp_in(struct rig *rig, const char *from, uint16_t port,
					 uint16_t to_port)
{
	struct wire wire;
	bool v4 = strchr(from, ':') == NULL;

	wire_udp(&wire, from, port, v4 ? OUTSIDE : OUTSIDE6, to_port);
	return rig_in(rig, &wire);
}

static inline enum nat_result rig_tcp_out(struct rig *rig, const char *from, uint16_t port,
					  const char *to, uint16_t to_port, uint8_t flags)
{
	struct wire wire;

	wire_tcp(&wire, from, port, to, to_port, flags);
	return rig_out(rig, &wire);
}

static inline enum nat_result rig_tcp_in(struct rig *rig, const char *from, uint16_t port,
					 uint16_t to_port, uint8_t flags)
{
	struct wire wire;

	wire_tcp(&wire, from, port, OUTSIDE, to_port, flags);
	return rig_in(rig, &wire);
}

/* The one session there is, or that of an inside port. */
struct rig_want {
	int inside_port; /* -1: any */
	uint32_t count;
	struct nat_session session;
};

static inline bool rig_visit(void *context, const struct nat_session *session)
{
	struct rig_want *want = context;

	if (want->inside_port < 0 || want->inside_port == session->inside_port) {
		want->session = *session;
		want->count++;
	}
	return true;
}

static inline struct nat_session rig_session(struct rig *rig, int inside_port)
{
	struct rig_want want = { .inside_port = inside_port };

	nat_visit(rig->nat, rig->now, rig_visit, &want);
	assert_int_equal(want.count, 1);
	return want.session;
}

#endif
