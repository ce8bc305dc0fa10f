/* The virtio-net header and the offload state of frames (base/vnet_header.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "base/segment.h"
#include "base/vnet_header.h"
#include "tests/unit/frame_check.h"

#define TAKEN DROP_COUNT

/* TAKEN, or why not. */
static enum drop_reason translate(struct packet *packet, uint32_t allowed)
{
	enum drop_reason reason = TAKEN;
	struct frame *frame = packet_frame(packet, 0);

	/* What an earlier burst left behind must not be seen. */
	memset(&frame->flags, 0x5a, offsetof(struct frame, tagged) - offsetof(struct frame, flags));
	return vnet_header_to_frame(&packet->header, frame, allowed, &reason) ? TAKEN : reason;
}

static void assert_drop(enum drop_reason got, enum drop_reason wanted)
{
	if (got != wanted)
		fail_msg("%s where %s should be", got == TAKEN ? "taken" : drop_table[got].name,
			 wanted == TAKEN ? "taken" : drop_table[wanted].name);
}

static void assert_no_offload(const struct frame *frame)
{
	static const struct frame none;
	size_t length = offsetof(struct frame, tagged) - offsetof(struct frame, flags);

	assert_memory_equal(&frame->flags, &none.flags, length);
}

static const struct packet_plan tcp4 = { .version = 4,
					 .protocol = IPPROTO_TCP,
					 .options = 12,
					 .payload = 4000,
					 .gso_type = VNET_GSO_TCPV4,
					 .gso_size = 1448 };
static const struct packet_plan tcp6 = { .version = 6,
					 .protocol = IPPROTO_TCP,
					 .tags = 1,
					 .options = 12,
					 .payload = 64000,
					 .gso_type = VNET_GSO_TCPV6,
					 .gso_size = 1428 };
static const struct packet_plan udp4 = { .version = 4,
					 .protocol = IPPROTO_UDP,
					 .payload = 4000,
					 .gso_type = VNET_GSO_UDP_L4,
					 .gso_size = 1200 };
static const struct packet_plan udp6 = { .version = 6,
					 .protocol = IPPROTO_UDP,
					 .tags = 2,
					 .payload = 4000,
					 .gso_type = VNET_GSO_UDP_L4,
					 .gso_size = 1200 };
static const struct packet_plan ufo4 = { .version = 4,
					 .protocol = IPPROTO_UDP,
					 .payload = 4000,
					 .gso_type = VNET_GSO_UDP,
					 .gso_size = 1480 };
static const struct packet_plan ufo6 = { .version = 6,
					 .protocol = IPPROTO_UDP,
					 .payload = 4000,
					 .gso_type = VNET_GSO_UDP,
					 .gso_size = 1448 };

/* Every kind of frame, and the offloads its sender must have. */
static const struct {
	const struct packet_plan *plan;
	uint32_t needs;
} kinds[] = {
	{ &tcp4, OFFLOAD_CSUM | OFFLOAD_TSO4 }, { &tcp6, OFFLOAD_CSUM | OFFLOAD_TSO6 },
	{ &udp4, OFFLOAD_CSUM | OFFLOAD_USO4 }, { &udp6, OFFLOAD_CSUM | OFFLOAD_USO6 },
	{ &ufo4, OFFLOAD_CSUM | OFFLOAD_UFO },	{ &ufo6, OFFLOAD_CSUM | OFFLOAD_UFO },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void test_zero_header(void **state)
{
	struct packet packet;

	packet_build(&packet, &tcp4);
	memset(&packet.header, 0, sizeof(packet.header));
	assert_drop(translate(&packet, 0), TAKEN);
	assert_no_offload(&packet.frame);
	/* Without flags and type the rest says nothing, nor do flags that are not ours. */
	packet.header = (struct vnet_header){ 0xfc, 0, 1, 2, 3, 4, 5 };
	assert_drop(translate(&packet, 0), TAKEN);
	assert_no_offload(&packet.frame);
	packet_free(&packet);
}

/* The two ways between which a header goes give it back as it was. */
static void test_every_kind_is_taken_and_given_back(void **state)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct vnet_header header;
		struct packet packet;
		struct frame *frame = &packet.frame;

		packet_build(&packet, kinds[i].plan);
		packet.header.hdr_len = 0xffff;
		packet.header.num_buffers = 77;
		assert_drop(translate(&packet, kinds[i].needs), TAKEN);
		assert_int_equal(frame->flags, FRAME_NEEDS_CSUM);
		assert_int_equal(frame->gso, kinds[i].plan->gso_type);
		assert_int_equal(frame->gso_size, kinds[i].plan->gso_size);
		assert_int_equal(frame->ip_version, kinds[i].plan->version);
		assert_int_equal(frame->l3_offset, packet.l3);
		assert_int_equal(frame->l4_offset, packet.l4);
		assert_int_equal(frame->l4_protocol, kinds[i].plan->protocol);
		assert_int_equal(frame->payload_offset, packet.data);
		vnet_header_from_frame(frame, &header);
		packet.header.hdr_len = (uint16_t)packet.data;
		packet.header.num_buffers = 1;
		assert_memory_equal(&header, &packet.header, sizeof(header));
		packet_free(&packet);
	}
}

static void test_offloads_must_be_negotiated(void **state)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct packet packet;

		packet_build(&packet, kinds[i].plan);
		for (uint32_t bit = 1; bit < OFFLOAD_ALL; bit <<= 1)
			assert_drop(translate(&packet, OFFLOAD_ALL & ~bit),
				    kinds[i].needs & bit ? DROP_OFFLOAD_NOT_NEGOTIATED : TAKEN);
		packet_free(&packet);
	}
}

static void test_ecn(void **state)
{
	for (size_t i = 0; i < KINDS; i++) {
		bool tcp = kinds[i].plan->protocol == IPPROTO_TCP;
		struct vnet_header header;
		struct packet packet;

		packet_build(&packet, kinds[i].plan);
		packet.header.gso_type |= VNET_GSO_ECN;
		assert_drop(translate(&packet, OFFLOAD_ALL), tcp ? TAKEN : DROP_GSO_TYPE);
		if (tcp) {
			assert_int_equal(packet.frame.flags, FRAME_NEEDS_CSUM | FRAME_GSO_ECN);
			vnet_header_from_frame(&packet.frame, &header);
			assert_int_equal(header.gso_type, packet.header.gso_type);
			assert_drop(translate(&packet, OFFLOAD_ALL & ~(uint32_t)OFFLOAD_TSO_ECN),
				    DROP_OFFLOAD_NOT_NEGOTIATED);
		}
		packet_free(&packet);
	}
}

static void test_data_valid(void **state)
{
	struct vnet_header header;
	struct packet packet;

	packet_build(&packet, &udp4);
	packet.header = (struct vnet_header){ .flags = VNET_FLAG_DATA_VALID };
	assert_drop(translate(&packet, OFFLOAD_CSUM), TAKEN);
	assert_int_equal(packet.frame.flags, FRAME_CSUM_VALID);
	vnet_header_from_frame(&packet.frame, &header);
	assert_int_equal(header.flags, VNET_FLAG_DATA_VALID);
	assert_drop(translate(&packet, OFFLOAD_ALL & ~(uint32_t)OFFLOAD_CSUM), TAKEN);
	assert_no_offload(&packet.frame);
	/* It does not stand in for the checksum that GSO needs. */
	packet.header.gso_type = VNET_GSO_UDP_L4;
	packet.header.gso_size = 1000;
	assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
	packet_free(&packet);
}

static void test_csum_range(void **state)
{
	static const struct {
		uint16_t start, offset;
		enum drop_reason result;
	} cases[] = {
		{ 34, 16, TAKEN },
		{ 14, 0, TAKEN },
		{ 13, 16, DROP_CSUM_RANGE },
		{ 0, 0, DROP_CSUM_RANGE },
		{ FRAME_HEAD_MAX - 2, 0, TAKEN },
		{ FRAME_HEAD_MAX - 1, 0, DROP_CSUM_RANGE },
		{ 14, FRAME_HEAD_MAX - 16, TAKEN },
		{ 14, FRAME_HEAD_MAX - 15, DROP_CSUM_RANGE },
		{ 34, 0xffff, DROP_CSUM_RANGE },
		{ 0xffff, 0xffff, DROP_CSUM_RANGE },
		{ 0xffff, 3, DROP_CSUM_RANGE },
	};
	struct packet packet;

	packet_build(&packet, &tcp4);
	packet.header.gso_type = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		packet.header.csum_start = cases[i].start;
		packet.header.csum_offset = cases[i].offset;
		assert_drop(translate(&packet, OFFLOAD_CSUM), cases[i].result);
		if (cases[i].result == TAKEN) {
			assert_int_equal(packet.frame.csum_start, cases[i].start);
			assert_int_equal(packet.frame.csum_offset, cases[i].offset);
		}
	}
	packet_free(&packet);
}

/* A guest may not have its VLAN tag rewritten by way of a checksum. */
static void test_csum_keeps_off_the_tags(void **state)
{
	for (uint8_t tags = 0; tags <= 2; tags++) {
		struct packet packet;

		packet_build(&packet, &(struct packet_plan){ .version = 4,
							     .protocol = IPPROTO_UDP,
							     .tags = tags,
							     .payload = 50 });
		for (uint16_t start = 0; start < 30; start++) {
			packet.header.csum_start = start;
			packet.header.csum_offset = 0;
			assert_drop(translate(&packet, OFFLOAD_CSUM),
				    start < packet.l3 ? DROP_CSUM_RANGE : TAKEN);
		}
		packet_free(&packet);
	}
}

/* Short frames: the field must lie in what is there. */
static void test_csum_of_short_frames(void **state)
{
	struct packet packet;

	packet_build(&packet,
		     &(struct packet_plan){ .version = 4, .protocol = IPPROTO_UDP, .payload = 0 });
	for (uint32_t length = FRAME_LENGTH_MIN; length <= 42; length++) {
		packet.length = length;
		assert_drop(translate(&packet, OFFLOAD_CSUM),
			    length < 42 ? DROP_CSUM_RANGE : TAKEN);
	}
	packet_free(&packet);
}

/* An overlay's inner header: the checksum may stand anywhere in the head. */
static void test_csum_of_inner_header(void **state)
{
	struct packet packet;

	packet_build(&packet, &udp6);
	packet.header.gso_type = 0;
	packet.header.csum_start = (uint16_t)(packet.data + 8 + 14 + 20);
	packet.header.csum_offset = 16;
	assert_drop(translate(&packet, OFFLOAD_CSUM), TAKEN);
	assert_int_equal(packet.frame.csum_start, packet.header.csum_start);
	packet_free(&packet);
}

static void test_gso_types_that_do_not_fit(void **state)
{
	static const uint8_t types[] = { 1, 2, 3, 4, 5, 6, 0x7f, 0x80, 0x82, 0xff, 0x20, 0x40 };

	for (size_t i = 0; i < KINDS; i++) {
		struct packet packet;

		packet_build(&packet, kinds[i].plan);
		for (size_t j = 0; j < sizeof(types); j++) {
			bool udp = kinds[i].plan->protocol == IPPROTO_UDP;
			bool fits = types[j] == kinds[i].plan->gso_type ||
				    (udp && (types[j] == 3 || types[j] == 5));

			packet.header.gso_type = types[j];
			assert_drop(translate(&packet, OFFLOAD_ALL), fits ? TAKEN : DROP_GSO_TYPE);
		}
		packet.header.gso_type = kinds[i].plan->gso_type;
		packet.header.flags = 0;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		packet.header.flags = VNET_FLAG_NEEDS_CSUM;
		packet.header.csum_start += 2;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		packet.header.csum_start -= 2;
		packet.header.csum_offset += 2;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		packet_free(&packet);
	}
}

/* The IP length must be the frame's: shorter would cut what IP does not own. */
static void test_gso_with_lying_lengths(void **state)
{
	for (size_t i = 0; i < KINDS; i++) {
		struct packet packet;
		uint8_t *low;

		packet_build(&packet, kinds[i].plan);
		low = packet.bytes + packet.l3 + (kinds[i].plan->version == 4 ? 3 : 5);
		*low -= 1;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		*low += 2;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		*low -= 1;
		packet.bytes[packet.length++] = 0; /* padding */
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
		packet.header.gso_type = 0;
		assert_drop(translate(&packet, OFFLOAD_ALL), TAKEN);
		packet_free(&packet);
	}
}

static void test_gso_of_fragments(void **state)
{
	static const uint8_t fragment[] = { IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 9 };
	struct packet_plan plan = udp6;
	struct packet packet;

	packet_build(&packet, &tcp4);
	packet.bytes[packet.l3 + 6] = 0x20;
	assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
	packet_free(&packet);
	plan.before = fragment;
	plan.before_length = sizeof(fragment);
	plan.before_type = IPPROTO_FRAGMENT;
	packet_build(&packet, &plan);
	assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
	packet_free(&packet);
}

static void test_gso_headers_must_be_in_the_head(void **state)
{
	uint8_t options[88] = { IPPROTO_TCP, 10 };
	struct packet_plan plan = tcp6;
	struct packet packet;

	plan.tags = 2;
	plan.options = 0;
	plan.payload = 2000;
	plan.before = options;
	plan.before_length = sizeof(options);
	plan.before_type = IPPROTO_DSTOPTS;
	packet_build(&packet, &plan); /* 22 + 40 + 88 + 20 = 170 bytes */
	assert_drop(translate(&packet, OFFLOAD_ALL), TAKEN);
	packet_free(&packet);
	plan.options = 24; /* 194, of which the checksum is the head's */
	packet_build(&packet, &plan);
	assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_TYPE);
	packet_free(&packet);
}

static void test_gso_size(void **state)
{
	struct packet packet;

	for (size_t i = 0; i < KINDS; i++) {
		packet_build(&packet, kinds[i].plan);
		packet.header.gso_size = 0;
		assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_SIZE);
		packet.header.gso_size = 0xffff; /* one segment, as a receiver may have it */
		assert_drop(translate(&packet, OFFLOAD_ALL), TAKEN);
		assert_int_equal(segment_count(&packet.frame), 1);
		packet_free(&packet);
	}
	packet_build(&packet, &ufo4);
	packet.header.gso_size = 7;
	assert_drop(translate(&packet, OFFLOAD_ALL), DROP_GSO_SIZE);
	packet_free(&packet);
	/* The smallest segments that are allowed, and one byte more. */
	for (uint32_t more = 0; more < 2; more++) {
		packet_build(&packet,
			     &(struct packet_plan){ .version = 4,
						    .protocol = IPPROTO_UDP,
						    .payload = 3 * FRAME_SEGMENTS_MAX + more,
						    .gso_type = VNET_GSO_UDP_L4,
						    .gso_size = 3 });
		assert_drop(translate(&packet, OFFLOAD_ALL), more ? DROP_GSO_SIZE : TAKEN);
		packet_free(&packet);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zero_header),
		cmocka_unit_test(test_every_kind_is_taken_and_given_back),
		cmocka_unit_test(test_offloads_must_be_negotiated),
		cmocka_unit_test(test_ecn),
		cmocka_unit_test(test_data_valid),
		cmocka_unit_test(test_csum_range),
		cmocka_unit_test(test_csum_keeps_off_the_tags),
		cmocka_unit_test(test_csum_of_short_frames),
		cmocka_unit_test(test_csum_of_inner_header),
		cmocka_unit_test(test_gso_types_that_do_not_fit),
		cmocka_unit_test(test_gso_with_lying_lengths),
		cmocka_unit_test(test_gso_of_fragments),
		cmocka_unit_test(test_gso_headers_must_be_in_the_head),
		cmocka_unit_test(test_gso_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
