/* Forwarding one packet (route/forward.c), by the requirements of RFC 1812 and RFC 8200. Checksums
 * are checked by code of the tests' own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "base/segment.h"
#include "route/forward.h"
#include "tests/unit/frame_check.h"

static const uint8_t host4[] = { 10, 1, 2, 3 };
static const uint8_t host6[16] = { 0xfd, [15] = 9 };

static void fix_ipv4_sum(uint8_t *ip)
{
	uint32_t sum;

	ip[10] = ip[11] = 0;
	sum = ~check_sum(0, ip, (ip[0] & 15u) * 4u) & 0xffff;
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

/* A frame of `plan` with addresses that are no martians; edit packet->bytes and call again with
 * frame_of(). */
static void make(struct packet *packet, const struct packet_plan *plan)
{
	uint8_t *ip;

	packet_build(packet, plan);
	ip = packet->bytes + packet->l3;
	if (plan->version == 6) {
		memcpy(ip + 8, host6, 16);
		memcpy(ip + 24, host6, 16);
		ip[39] = 10;
	}
}

static struct frame *frame_of(struct packet *packet)
{
	if (packet->bytes[packet->l3] >> 4 == 4)
		fix_ipv4_sum(packet->bytes + packet->l3);
	return packet_frame(packet, 0);
}

/* The verdict, or the reason of the drop as a number above 100. */
static int check(struct packet *packet)
{
	enum drop_reason reason = DROP_COUNT;
	enum forward_check result = forward_check(frame_of(packet), &reason);

	return result == FORWARD_DROP ? 100 + (int)reason : (int)result;
}

static void test_rfc1812_5_2_2_header(void **state)
{
	struct packet_plan plan = { .version = 4, .protocol = IPPROTO_UDP, .payload = 100 };
	struct packet packet;
	enum drop_reason reason;
	struct frame *frame;
	uint8_t *ip;

	make(&packet, &plan);
	ip = packet.bytes + packet.l3;
	assert_int_equal(check(&packet), FORWARD_OK);
	ip[0] = 0x55;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[0] = 0x44;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[0] = 0x45;
	ip[3]++; /* longer than the frame */
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[3] = 19;
	ip[2] = 0;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[3] = 128;
	frame = frame_of(&packet);
	frame->head[packet.l3 + 10] ^= 1;
	assert_int_equal(forward_check(frame, &reason), FORWARD_DROP);
	assert_int_equal(reason, DROP_IP_CHECKSUM);
	frame = frame_of(&packet);
	frame->length = frame->head_length = (uint16_t)(packet.l3 + 19);
	assert_int_equal(forward_check(frame, &reason), FORWARD_DROP);
	assert_int_equal(reason, DROP_IP_HEADER);
	packet_free(&packet);
	/* Not IP at all. */
	plan.tags = 1;
	make(&packet, &plan);
	packet.bytes[packet.l3 - 1] = 6;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	packet_free(&packet);
}

static void test_rfc8200_header(void **state)
{
	static const uint8_t hop[8] = { IPPROTO_UDP, 0, 1, 4 };
	struct packet_plan plan = { .version = 6, .protocol = IPPROTO_UDP, .payload = 100 };
	struct packet packet;
	uint8_t *ip;

	make(&packet, &plan);
	ip = packet.bytes + packet.l3;
	assert_int_equal(check(&packet), FORWARD_OK);
	ip[5]++;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[5]--;
	ip[0] = 0x70;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	packet_free(&packet);
	/* A jumbogram (RFC 2675). */
	plan.before = hop;
	plan.before_length = 8;
	plan.before_type = IPPROTO_HOPOPTS;
	make(&packet, &plan);
	ip = packet.bytes + packet.l3;
	assert_int_equal(check(&packet), FORWARD_OK);
	ip[4] = ip[5] = 0;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	packet_free(&packet);
}

/* RFC 1812, 5.3.1: a packet with a TTL of 1 goes no further, yet may be for us. */
static void test_rfc1812_5_3_1_ttl(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_plan plan = { .version = version,
					    .protocol = IPPROTO_UDP,
					    .payload = 10 };
		struct packet packet;
		uint8_t *ttl;

		make(&packet, &plan);
		ttl = packet.bytes + packet.l3 + (version == 4 ? 8 : 7);
		*ttl = 2;
		assert_int_equal(check(&packet), FORWARD_OK);
		*ttl = 1;
		assert_int_equal(check(&packet), FORWARD_TTL);
		*ttl = 0;
		assert_int_equal(check(&packet), FORWARD_TTL);
		packet_free(&packet);
	}
}

/* RFC 7126, 4.3 and 4.4: source routes are refused; 4.*: other options pass, if they are whole. */
static void test_rfc7126_options(void **state)
{
	static const struct {
		uint8_t bytes[8];
		int verdict;
	} rows[] = {
		{ { 1, 1, 1, 1, 1, 1, 1, 1 }, FORWARD_OK },
		{ { 0, 131, 255, 0 }, FORWARD_OK }, /* behind the end of options nothing counts */
		{ { 148, 4, 0, 0, 0 }, FORWARD_OK },
		{ { 7, 7, 4, 1, 2, 3, 4, 0 }, FORWARD_OK },
		{ { 131, 7, 4, 1, 2, 3, 4, 0 }, 100 + DROP_IP_OPTIONS },
		{ { 1, 137, 7, 4, 1, 2, 3, 4 }, 100 + DROP_IP_OPTIONS },
		{ { 7, 0, 0, 0 }, 100 + DROP_IP_OPTIONS },
		{ { 7, 1, 0, 0 }, 100 + DROP_IP_OPTIONS },
		{ { 7, 9, 0, 0 }, 100 + DROP_IP_OPTIONS },
		{ { 1, 1, 1, 1, 1, 1, 1, 7 }, 100 + DROP_IP_OPTIONS },
	};
	struct packet_plan plan = {
		.version = 4, .protocol = IPPROTO_UDP, .payload = 10, .options = 8
	};
	struct packet packet;

	make(&packet, &plan);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(packet.bytes + packet.l3 + 20, rows[i].bytes, 8);
		if (check(&packet) != rows[i].verdict)
			fail_msg("options %zu: %d", i, check(&packet));
	}
	packet_free(&packet);
}

/* RFC 5095: type 0 routing headers with segments left, wherever they stand. */
static void test_rfc5095_routing_header(void **state)
{
	uint8_t headers[32] = { IPPROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0,
				IPPROTO_UDP,	 2, 0, 1, 0, 0, 0, 0 };
	struct packet_plan plan = { .version = 6,
				    .protocol = IPPROTO_UDP,
				    .payload = 10,
				    .before = headers,
				    .before_length = sizeof(headers),
				    .before_type = IPPROTO_HOPOPTS };
	struct packet packet;

	make(&packet, &plan);
	assert_int_equal(check(&packet), 100 + DROP_IP_OPTIONS);
	packet.bytes[packet.l3 + 40 + 11] = 0; /* none left */
	assert_int_equal(check(&packet), FORWARD_OK);
	packet.bytes[packet.l3 + 40 + 10] = 4; /* a segment routing header */
	packet.bytes[packet.l3 + 40 + 11] = 1;
	assert_int_equal(check(&packet), FORWARD_OK);
	packet_free(&packet);
}

/* RFC 1812, 5.3.7; RFC 4291, 2.5; RFC 3927, 2.7: as source, and as destination. */
static void test_rfc1812_5_3_7_martians(void **state)
{
	static const struct {
		const char *ip;
		int verdict;
	} rows[] = {
		{ "0.0.0.0", 100 + DROP_IP_MARTIAN },
		{ "0.1.2.3", 100 + DROP_IP_MARTIAN },
		{ "127.0.0.1", 100 + DROP_IP_MARTIAN },
		{ "127.255.0.1", 100 + DROP_IP_MARTIAN },
		{ "224.0.0.1", 100 + DROP_IP_MARTIAN },
		{ "239.1.2.3", 100 + DROP_IP_MARTIAN },
		{ "240.0.0.1", 100 + DROP_IP_MARTIAN },
		{ "255.255.255.255", 100 + DROP_IP_MARTIAN },
		{ "169.254.7.7", FORWARD_LINK_LOCAL },
		{ "223.255.255.255", FORWARD_OK },
		{ "1.0.0.1", FORWARD_OK },
		{ "::", 100 + DROP_IP_MARTIAN },
		{ "::1", 100 + DROP_IP_MARTIAN },
		{ "ff02::1", 100 + DROP_IP_MARTIAN },
		{ "::ffff:10.1.2.3", 100 + DROP_IP_MARTIAN },
		{ "fe80::1", FORWARD_LINK_LOCAL },
		{ "febf::1", FORWARD_LINK_LOCAL },
		{ "2001:db8::1", FORWARD_OK },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool v6 = strchr(rows[i].ip, ':') != NULL;
		struct packet_plan plan = { .version = v6 ? 6 : 4, .protocol = IPPROTO_UDP };
		uint32_t length = v6 ? 16 : 4, at = v6 ? 8 : 12;
		struct packet packet;
		struct ip ip;

		ip_from_text(rows[i].ip, &ip); /* refuses the mapped one, but reads it */
		for (uint32_t place = 0; place < 2; place++) {
			make(&packet, &plan);
			memcpy(packet.bytes + packet.l3 + at + place * length,
			       ip.bytes + 16 - length, length);
			if (check(&packet) != rows[i].verdict)
				fail_msg("%s at %u: %d", rows[i].ip, place, check(&packet));
			packet_free(&packet);
		}
	}
}

/* A fragment whose end lies beyond 65,535. */
static void test_rfc791_offset_beyond_the_end(void **state)
{
	struct packet_plan plan = { .version = 4, .protocol = IPPROTO_UDP, .payload = 1000 };
	struct packet packet;
	uint8_t *ip;

	make(&packet, &plan);
	ip = packet.bytes + packet.l3;
	ip[6] = 0x1f;
	ip[7] = 0xff;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	ip[6] = (uint8_t)((65535 - 20 - 1008) / 8 >> 8);
	ip[7] = (uint8_t)((65535 - 20 - 1008) / 8);
	assert_int_equal(check(&packet), FORWARD_OK);
	ip[7]++;
	assert_int_equal(check(&packet), 100 + DROP_IP_HEADER);
	packet_free(&packet);
}

/* What stands behind the packet is no part of it, wherever the frame's bytes lie. */
static void test_padding_is_cut(void **state)
{
	static const uint32_t payloads[] = { 0, 100, 160, 500, 1000 };
	static const uint32_t paddings[] = { 1, 18, 200, 900 };

	for (size_t i = 0; i < 5 * 4; i++) {
		struct packet_plan plan = { .version = i % 2 != 0 ? 6 : 4,
					    .protocol = IPPROTO_UDP,
					    .payload = payloads[i / 4] };
		uint32_t length;
		struct packet packet;
		struct frame *frame;
		enum drop_reason reason;
		uint8_t *bytes;

		make(&packet, &plan);
		frame_of(&packet);
		length = packet.length;
		packet.length += paddings[i % 4];
		frame = packet_frame(&packet, 64);
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = (uint16_t)packet.l4;
		frame->csum_offset = 6;
		assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
		assert_int_equal(frame->length, length);
		bytes = check_flatten(frame);
		assert_memory_equal(bytes, packet.bytes, length);
		free(bytes);
		frame = packet_frame(&packet, 64);
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = (uint16_t)packet.l4;
		frame->csum_offset = (uint16_t)(length - packet.l4 - 1);
		assert_int_equal(forward_check(frame, &reason), FORWARD_DROP);
		assert_int_equal(reason, DROP_IP_HEADER);
		packet_free(&packet);
	}
}

/* RFC 1624: the incremental checksum, for each TTL and many sums. */
static void test_rfc1624_rewrite(void **state)
{
	struct packet_plan plan = { .version = 4, .protocol = IPPROTO_UDP, .payload = 10 };
	const struct mac from = { { 2, 0, 0, 0, 0, 1 } }, to = { { 2, 0, 0, 0, 0, 2 } };
	struct packet packet;

	make(&packet, &plan);
	for (uint32_t i = 0; i < 65536; i++) {
		uint8_t *ip = packet.bytes + packet.l3;
		enum drop_reason reason;
		struct frame *frame;

		ip[4] = (uint8_t)(i >> 8); /* so that the sum takes each value */
		ip[5] = (uint8_t)i;
		ip[8] = (uint8_t)(2 + i % 254);
		frame = frame_of(&packet);
		assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
		forward_rewrite(frame, &from, &to);
		assert_int_equal(frame->head[packet.l3 + 8], 1 + i % 254);
		assert_true(check_ipv4_sum(frame->head + packet.l3));
		assert_memory_equal(frame->head, &to, 6);
		assert_memory_equal(frame->head + 6, &from, 6);
	}
	packet_free(&packet);
}

static void test_rfc8200_rewrite(void **state)
{
	struct packet_plan plan = {
		.version = 6, .protocol = IPPROTO_UDP, .payload = 10, .tags = 1
	};
	const struct mac from = { { 2, 0, 0, 0, 0, 1 } }, to = { { 2, 0, 0, 0, 0, 2 } };
	struct packet packet;
	enum drop_reason reason;
	struct frame *frame;
	struct ip ip;

	make(&packet, &plan);
	frame = frame_of(&packet);
	assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
	forward_rewrite(frame, &from, &to);
	assert_int_equal(frame->head[packet.l3 + 7], 62);
	assert_memory_equal(frame->head + 12, packet.bytes + 12, packet.l3 + 7 - 12);
	assert_memory_equal(frame->head + packet.l3 + 8, packet.bytes + packet.l3 + 8,
			    packet.length - packet.l3 - 8);
	ip = forward_source(frame);
	assert_memory_equal(ip.bytes, host6, 16);
	ip = forward_destination(frame);
	assert_int_equal(ip.bytes[15], 10);
	packet_free(&packet);
	plan.version = 4;
	make(&packet, &plan);
	frame = frame_of(&packet);
	assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
	ip = forward_source(frame);
	assert_memory_equal(ip_v4_bytes(&ip), host4, 4);
	packet_free(&packet);
}

/* A frame that has passed, with GSO. */
static struct frame *gso_frame(struct packet *packet, int version, uint8_t gso, uint32_t payload,
			       uint16_t size, uint8_t flags)
{
	bool tcp = gso == FRAME_GSO_TCP4 || gso == FRAME_GSO_TCP6;
	struct packet_plan plan = { .version = version,
				    .protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP,
				    .payload = payload };
	enum drop_reason reason;
	struct frame *frame;

	make(packet, &plan);
	if (version == 4)
		packet->bytes[packet->l3 + 6] = flags;
	frame = frame_of(packet);
	assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
	frame->gso = gso;
	frame->gso_size = size;
	if (gso != FRAME_GSO_NONE) {
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = frame->l4_offset;
		frame->csum_offset = tcp ? 16 : 6;
	}
	return frame;
}

/* RFC 1191, 4; RFC 8200, 5; RFC 791: what passes a link, what becomes of the rest. */
static const struct {
	uint8_t version, gso, flags; /* flags: the byte of IPv4's */
	uint32_t payload;
	uint16_t size;
	uint32_t mtu;
	enum forward_fit forwarded, own;
	uint8_t gso_after;
	uint16_t size_after;
} fit_rows[] = {
	/* UDP: headers are 28 and 48. */
	{ 4, 0, 0, 1472, 0, 1500, FORWARD_FITS, FORWARD_FITS, 0, 0 },
	{ 4, 0, 0, 1473, 0, 1500, FORWARD_FRAGMENT, FORWARD_FRAGMENT, FRAME_GSO_FRAGMENT, 1480 },
	{ 4, 0, 0x40, 1473, 0, 1500, FORWARD_TOO_BIG, FORWARD_FRAGMENT, FRAME_GSO_FRAGMENT, 1480 },
	{ 4, 0, 0x40, 1472, 0, 1500, FORWARD_FITS, FORWARD_FITS, 0, 0 },
	{ 6, 0, 0, 1452, 0, 1500, FORWARD_FITS, FORWARD_FITS, 0, 0 },
	{ 6, 0, 0, 1453, 0, 1500, FORWARD_TOO_BIG, FORWARD_FRAGMENT, FRAME_GSO_FRAGMENT, 1448 },
	/* TCP: headers are 40 and 60. */
	{ 4, FRAME_GSO_TCP4, 0x40, 60000, 1460, 1500, FORWARD_FITS, FORWARD_FITS, FRAME_GSO_TCP4,
	  1460 },
	{ 4, FRAME_GSO_TCP4, 0x40, 60000, 1461, 1500, FORWARD_TOO_BIG, FORWARD_FITS, FRAME_GSO_TCP4,
	  1460 },
	{ 4, FRAME_GSO_TCP4, 0, 60000, 1461, 1500, FORWARD_FITS, FORWARD_FITS, FRAME_GSO_TCP4,
	  1460 },
	{ 4, FRAME_GSO_TCP4, 0, 60000, 1461, 41, FORWARD_TOO_BIG, FORWARD_TOO_BIG, FRAME_GSO_TCP4,
	  1461 },
	{ 4, FRAME_GSO_TCP4, 0, 60000, 1461, 40, FORWARD_TOO_BIG, FORWARD_TOO_BIG, FRAME_GSO_TCP4,
	  1461 },
	{ 6, FRAME_GSO_TCP6, 0, 60000, 1440, 1500, FORWARD_FITS, FORWARD_FITS, FRAME_GSO_TCP6,
	  1440 },
	{ 6, FRAME_GSO_TCP6, 0, 60000, 1441, 1500, FORWARD_TOO_BIG, FORWARD_FITS, FRAME_GSO_TCP6,
	  1440 },
	/* One segment after all. */
	{ 6, FRAME_GSO_TCP6, 0, 100, 1441, 1500, FORWARD_FITS, FORWARD_FITS, FRAME_GSO_TCP6, 1441 },
	/* USO */
	{ 4, FRAME_GSO_UDP, 0, 60000, 1472, 1500, FORWARD_FITS, FORWARD_FITS, FRAME_GSO_UDP, 1472 },
	{ 4, FRAME_GSO_UDP, 0, 60000, 1473, 1500, FORWARD_TOO_BIG, FORWARD_TOO_BIG, FRAME_GSO_UDP,
	  1473 },
	/* UFO, whose fragments may be smaller; over IPv6 only the sender's own. */
	{ 4, FRAME_GSO_UDP4_FRAGMENT, 0, 60000, 1483, 1500, FORWARD_FITS, FORWARD_FITS,
	  FRAME_GSO_UDP4_FRAGMENT, 1483 },
	{ 4, FRAME_GSO_UDP4_FRAGMENT, 0, 60000, 1488, 1500, FORWARD_FRAGMENT, FORWARD_FRAGMENT,
	  FRAME_GSO_UDP4_FRAGMENT, 1480 },
	{ 6, FRAME_GSO_UDP4_FRAGMENT, 0, 60000, 1448, 1500, FORWARD_FITS, FORWARD_FITS,
	  FRAME_GSO_UDP4_FRAGMENT, 1448 },
	{ 6, FRAME_GSO_UDP4_FRAGMENT, 0, 60000, 1456, 1500, FORWARD_TOO_BIG, FORWARD_FRAGMENT,
	  FRAME_GSO_UDP4_FRAGMENT, 1448 },
};

static void test_rfc1191_fits(void **state)
{
	for (size_t i = 0; i < sizeof(fit_rows) / sizeof(fit_rows[0]); i++) {
		struct packet packet;
		struct frame *frame =
		    gso_frame(&packet, fit_rows[i].version, fit_rows[i].gso, fit_rows[i].payload,
			      fit_rows[i].size, fit_rows[i].flags);
		struct frame own = *frame;
		enum forward_fit fit = forward_fits(frame, fit_rows[i].mtu);

		if (fit != fit_rows[i].forwarded)
			fail_msg("row %zu: %d", i, fit);
		if (fit == FORWARD_TOO_BIG) {
			assert_int_equal(frame->gso, fit_rows[i].gso);
			assert_int_equal(frame->gso_size, fit_rows[i].size);
		}
		fit = forward_fits_own(&own, fit_rows[i].mtu);
		if (fit != fit_rows[i].own || own.gso != fit_rows[i].gso_after ||
		    own.gso_size != fit_rows[i].size_after)
			fail_msg("row %zu, own: %d, %d, %d", i, fit, own.gso, own.gso_size);
		if (own.gso != FRAME_GSO_NONE)
			assert_in_range(segment_count(&own), 1, FRAME_SEGMENTS_MAX);
		/* Twice changes nothing. */
		if (fit != FORWARD_TOO_BIG) {
			assert_int_equal(forward_fits_own(&own, fit_rows[i].mtu), FORWARD_FITS);
			assert_int_equal(own.gso_size, fit_rows[i].size_after);
		}
		packet_free(&packet);
	}
}

/* A SYN with `options` and its checksum complete; what the MSS option has become, at `at`. */
static void check_mss(int version, const uint8_t options[12], uint32_t mtu, uint32_t at,
		      uint32_t wanted, uint8_t tcp_flags, uint8_t frame_flags)
{
	struct packet_plan plan = {
		.version = version, .protocol = IPPROTO_TCP, .options = 12, .tcp_flags = tcp_flags
	};
	enum drop_reason reason;
	struct packet packet;
	struct frame *frame;
	uint8_t *tcp, *ip;
	uint32_t sum;

	make(&packet, &plan);
	ip = packet.bytes + packet.l3;
	if (version == 4) { /* the builder gives the options to both headers */
		memmove(ip + 20, ip + 32, packet.length - packet.l3 - 32);
		ip[0] = 0x45;
		ip[3] = 52;
		packet.length -= 12;
		packet.l4 -= 12;
	}
	tcp = packet.bytes + packet.l4;
	memcpy(tcp + 20, options, 12);
	tcp[16] = tcp[17] = 0;
	sum = check_pseudo(ip, IPPROTO_TCP, 32);
	if (frame_flags == 0)
		sum = check_sum(sum, tcp, 32) ^ 0xffff;
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
	frame = frame_of(&packet);
	assert_int_equal(forward_check(frame, &reason), FORWARD_OK);
	frame->flags = frame_flags;
	forward_clamp_mss(frame, mtu);
	tcp = frame->head + packet.l4;
	if (check_be16(tcp + at) != wanted)
		fail_msg("MSS %u", check_be16(tcp + at));
	if (frame_flags == 0)
		assert_true(check_l4_sum(frame->head + packet.l3, IPPROTO_TCP, tcp, 32));
	else
		assert_int_equal(check_be16(tcp + 16), sum);
	packet_free(&packet);
}

/* RFC 9293, 3.7.1: the MSS counts no headers. */
static void test_rfc9293_mss_clamp(void **state)
{
	static const uint8_t plain[12] = { 2, 4, 0x05, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1 };
	static const uint8_t odd[12] = { 1, 3, 3, 7, 1, 2, 4, 0x05, 0xb4, 0, 0, 0 };
	static const uint8_t large[12] = { 1, 2, 4, 0xff, 0xff, 4, 2, 0, 0, 0, 0, 0 };
	static const uint8_t zero_length[12] = { 3, 0, 2, 4, 0x05, 0xb4 };
	static const uint8_t cut_off[12] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 0x05 };
	static const uint8_t ended[12] = { 0, 2, 4, 0x05, 0xb4 };
	static const uint8_t wrong_length[12] = { 2, 3, 0x05, 2, 4, 0x05, 0xb4 };

	check_mss(4, plain, 1400, 22, 1360, 0x02, 0);
	check_mss(4, plain, 1400, 22, 1360, 0x12, 0);
	check_mss(4, plain, 1400, 22, 1360, 0x02, FRAME_NEEDS_CSUM);
	check_mss(6, plain, 1400, 22, 1340, 0x02, 0);
	check_mss(6, odd, 1400, 27, 1340, 0x12, 0);
	check_mss(4, odd, 1280, 27, 1240, 0x02, 0);
	check_mss(4, large, 1500, 23, 1460, 0x02, 0);
	check_mss(6, large, 65535, 23, 65475, 0x02, 0);
	/* Never raised, and only in SYNs. */
	check_mss(4, plain, 1500, 22, 1460, 0x02, 0);
	check_mss(4, plain, 9000, 22, 1460, 0x02, 0);
	check_mss(4, plain, 1400, 22, 1460, 0x10, 0);
	/* No MTU of this world. */
	check_mss(4, plain, 40, 22, 1460, 0x02, 0);
	check_mss(6, plain, 60, 22, 1460, 0x02, 0);
	/* Broken options are left alone. */
	check_mss(4, zero_length, 1400, 24, 0x05b4, 0x02, 0);
	check_mss(4, cut_off, 1400, 30, 0x0405, 0x02, 0);
	check_mss(4, ended, 1400, 23, 0x05b4, 0x02, 0);
	check_mss(4, wrong_length, 1400, 25, 1360, 0x02, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1812_5_2_2_header),
		cmocka_unit_test(test_rfc8200_header),
		cmocka_unit_test(test_rfc1812_5_3_1_ttl),
		cmocka_unit_test(test_rfc7126_options),
		cmocka_unit_test(test_rfc5095_routing_header),
		cmocka_unit_test(test_rfc1812_5_3_7_martians),
		cmocka_unit_test(test_rfc791_offset_beyond_the_end),
		cmocka_unit_test(test_padding_is_cut),
		cmocka_unit_test(test_rfc1624_rewrite),
		cmocka_unit_test(test_rfc8200_rewrite),
		cmocka_unit_test(test_rfc1191_fits),
		cmocka_unit_test(test_rfc9293_mss_clamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
