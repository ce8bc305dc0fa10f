/* The slow road of transmission: what a frame needs, and what becomes of it for a receiver that
 * takes less, with a tag put on or taken off on the way. Checked by code that shares nothing with
 * base/. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/parse.h"
#include "tests/unit/frame_check.h"
#include "vswitch/offload.h"

#include <string.h>

#define ALL                                                                                        \
	(OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN | OFFLOAD_UFO |              \
	 OFFLOAD_USO4 | OFFLOAD_USO6)

struct rig {
	struct burst *out;
	struct packet packet;
	struct frame *frame;
};

/* The frame of a plan as it comes from a guest that may ask for everything, classified as
 * belonging to VLAN 9 with priority 5 (its own tag, if it has one, says VLAN 10, priority 3). */
static void rig_open(struct rig *rig, const struct packet_plan *plan)
{
	enum drop_reason reason;

	rig->out = burst_create();
	assert_non_null(rig->out);
	packet_build(&rig->packet, plan);
	rig->frame = packet_frame(&rig->packet, 1000);
	assert_true(vnet_header_to_frame(&rig->packet.header, rig->frame, ALL, &reason));
	rig->frame->vlan = 9;
	rig->frame->priority = 0xa000;
	rig->frame->tagged = plan->tags > 0;
}

static void rig_close(struct rig *rig)
{
	packet_free(&rig->packet);
	burst_destroy(rig->out);
}

static struct packet_plan plan_of(int version, uint8_t protocol, uint8_t gso_type, uint8_t tags)
{
	return (struct packet_plan){ .version = version,
				     .protocol = protocol,
				     .tcp_flags = 0x10,
				     .tags = tags,
				     .payload = gso_type == 0 ? 1400 : 9000,
				     .gso_type = gso_type,
				     .gso_size = gso_type == 0 ? 0 : 1448 };
}

static void test_needs(void **state)
{
	static const struct {
		int version;
		uint8_t protocol, gso_type;
		uint32_t needs;
	} rows[] = {
		{ 4, IPPROTO_TCP, 0, OFFLOAD_CSUM },
		{ 6, IPPROTO_UDP, 0, OFFLOAD_CSUM },
		{ 4, IPPROTO_TCP, VNET_GSO_TCPV4, OFFLOAD_CSUM | OFFLOAD_TSO4 },
		{ 6, IPPROTO_TCP, VNET_GSO_TCPV6, OFFLOAD_CSUM | OFFLOAD_TSO6 },
		{ 4, IPPROTO_TCP, VNET_GSO_TCPV4 | VNET_GSO_ECN,
		  OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO_ECN },
		{ 6, IPPROTO_TCP, VNET_GSO_TCPV6 | VNET_GSO_ECN,
		  OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN },
		{ 4, IPPROTO_UDP, VNET_GSO_UDP, OFFLOAD_CSUM | OFFLOAD_UFO },
		{ 6, IPPROTO_UDP, VNET_GSO_UDP, OFFLOAD_CSUM | OFFLOAD_UFO },
		{ 4, IPPROTO_UDP, VNET_GSO_UDP_L4, OFFLOAD_CSUM | OFFLOAD_USO4 },
		{ 6, IPPROTO_UDP, VNET_GSO_UDP_L4, OFFLOAD_CSUM | OFFLOAD_USO6 },
	};
	struct frame plain = { .length = 60 }, valid = { .flags = FRAME_CSUM_VALID };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet_plan plan =
		    plan_of(rows[i].version, rows[i].protocol, rows[i].gso_type, 0);
		struct rig rig;

		rig_open(&rig, &plan);
		assert_int_equal(offload_needs(rig.frame), rows[i].needs);
		rig_close(&rig);
	}
	assert_int_equal(offload_needs(&plain), 0);
	assert_int_equal(offload_needs(&valid), OFFLOAD_CSUM);
}

/* The bytes that a frame should have around its L3 packet after the edit. */
static uint32_t expect_ethernet(const struct packet *packet, enum vlan_edit edit, uint8_t *bytes)
{
	uint32_t length = packet->l3;

	memcpy(bytes, packet->bytes, length);
	if (edit == VLAN_PUSH) {
		memmove(bytes + 16, bytes + 12, length - 12);
		memcpy(bytes + 12, (uint8_t[]){ 0x81, 0x00, 0xa0, 9 }, 4);
		length += 4;
	} else if (edit == VLAN_POP) {
		memmove(bytes + 12, bytes + 16, length - 16);
		length -= 4;
	}
	return length;
}

static void check_pieces(const struct packet_plan *plan, const struct packet *packet,
			 enum vlan_edit edit, uint32_t offloads, const struct burst *out,
			 uint32_t *payload_done)
{
	uint8_t ethernet[64];
	uint32_t l3 = expect_ethernet(packet, edit, ethernet);
	uint32_t l4 = l3 + packet->l4 - packet->l3, data = l3 + packet->data - packet->l3;

	for (uint32_t i = 0; i < out->count; i++) {
		const struct frame *frame = &out->frames[i];
		uint8_t *bytes = check_flatten(frame);
		uint32_t length = frame->length;

		assert_memory_equal(bytes, ethernet, l3);
		assert_int_equal(frame->tagged, packet->l3 + 4 == l3 || (plan->tags && l3 >= 18));
		assert_int_equal(length,
				 l3 + (plan->version == 4 ? check_be16(bytes + l3 + 2)
							  : 40 + check_be16(bytes + l3 + 4)));
		if (plan->version == 4)
			assert_true(check_ipv4_sum(bytes + l3));
		assert_int_equal(offload_needs(frame) & ~offloads, 0);
		if (frame->flags & FRAME_NEEDS_CSUM) {
			assert_int_equal(frame->csum_start, l4);
			assert_int_equal(check_be16(bytes + l4 + frame->csum_offset),
					 check_pseudo(bytes + l3, plan->protocol, length - l4));
		} else {
			assert_true(
			    check_l4_sum(bytes + l3, plan->protocol, bytes + l4, length - l4));
		}
		assert_true(*payload_done + (length - data) <= plan->payload);
		assert_memory_equal(bytes + data, packet->bytes + packet->data + *payload_done,
				    length - data);
		*payload_done += length - data;
		free(bytes);
	}
}

/* Runs a frame through, the burst resetting whenever it is full; `limit` frames fit it. */
static void run(const struct packet_plan *plan, uint32_t offloads, enum vlan_edit edit,
		uint32_t limit)
{
	struct segment_state segments = { 0 };
	enum offload_result result;
	uint32_t done = 0, rounds = 0, before;
	uint8_t *copy;
	struct rig rig;

	rig_open(&rig, plan);
	copy = check_flatten(rig.frame);
	do {
		burst_reset(rig.out);
		rig.out->limit = limit;
		before = done;
		result = offload_apply(rig.frame, offloads, edit, &segments, rig.out);
		assert_int_not_equal(result, OFFLOAD_FAILED);
		assert_in_range(rig.out->count, 1, limit);
		check_pieces(plan, &rig.packet, edit, offloads, rig.out, &done);
		assert_true(done > before);
		rounds++;
	} while (result == OFFLOAD_MORE);
	assert_int_equal(done, plan->payload);
	if (plan->gso_type != 0 && limit == 1 && !(offloads & OFFLOAD_TSO4))
		assert_int_equal(rounds, (plan->payload + 1447) / 1448);
	/* Others get the frame as it was. */
	assert_int_equal(rig.frame->length, rig.packet.length);
	assert_memory_equal(rig.frame->head, copy, rig.frame->head_length);
	free(copy);
	rig_close(&rig);
}

static void test_edits(void **state)
{
	static const uint32_t offloads[] = { 0, OFFLOAD_CSUM, ALL };
	static const uint32_t limits[] = { 1, 2, 5, BURST_FRAMES };
	static const struct {
		enum vlan_edit edit;
		uint8_t tags;
	} edits[] = { { VLAN_KEEP, 0 }, { VLAN_KEEP, 1 }, { VLAN_PUSH, 0 }, { VLAN_POP, 1 } };
	static const struct {
		int version;
		uint8_t protocol, gso_type;
	} kinds[] = {
		{ 4, IPPROTO_TCP, 0 },
		{ 6, IPPROTO_TCP, 0 },
		{ 4, IPPROTO_UDP, 0 },
		{ 6, IPPROTO_UDP, 0 },
		{ 4, IPPROTO_TCP, VNET_GSO_TCPV4 },
		{ 6, IPPROTO_TCP, VNET_GSO_TCPV6 },
		{ 4, IPPROTO_UDP, VNET_GSO_UDP_L4 },
		{ 6, IPPROTO_UDP, VNET_GSO_UDP_L4 },
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (size_t e = 0; e < sizeof(edits) / sizeof(edits[0]); e++)
			for (size_t o = 0; o < sizeof(offloads) / sizeof(offloads[0]); o++)
				for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
					struct packet_plan plan =
					    plan_of(kinds[k].version, kinds[k].protocol,
						    kinds[k].gso_type, edits[e].tags);

					run(&plan, offloads[o], edits[e].edit, limits[l]);
				}
}

/* A frame of one head, as long as a head can be: the tag goes where the headroom is. */
static void test_long_head(void **state)
{
	struct packet_plan plan = plan_of(4, IPPROTO_UDP, 0, 0);

	for (plan.payload = FRAME_HEAD_MAX - 50; plan.payload < FRAME_HEAD_MAX - 30;
	     plan.payload++) {
		run(&plan, 0, VLAN_PUSH, 3);
		run(&plan, OFFLOAD_CSUM, VLAN_PUSH, 3);
	}
}

static void test_full(void **state)
{
	struct packet_plan plan = plan_of(4, IPPROTO_UDP, 0, 0);
	struct segment_state segments = { 0 };
	struct rig rig;

	rig_open(&rig, &plan);
	rig.out->limit = 1;
	assert_int_equal(offload_apply(rig.frame, 0, VLAN_PUSH, &segments, rig.out), OFFLOAD_DONE);
	assert_int_equal(offload_apply(rig.frame, 0, VLAN_PUSH, &segments, rig.out), OFFLOAD_MORE);
	assert_int_equal(rig.out->count, 1);
	burst_reset(rig.out);
	assert_int_equal(offload_apply(rig.frame, 0, VLAN_PUSH, &segments, rig.out), OFFLOAD_DONE);
	assert_int_equal(rig.out->count, 1);
	rig_close(&rig);
}

/* A frame whose headers do not allow to cut it: nothing is added. */
static void test_failed(void **state)
{
	struct packet_plan plan = plan_of(4, IPPROTO_TCP, VNET_GSO_TCPV4, 0);
	struct segment_state segments = { 0 };
	struct rig rig;

	rig_open(&rig, &plan);
	rig.frame->payload_offset = 0;
	assert_int_equal(offload_apply(rig.frame, OFFLOAD_CSUM, VLAN_KEEP, &segments, rig.out),
			 OFFLOAD_FAILED);
	assert_int_equal(rig.out->count, 0);
	/* A receiver that takes it whole has no need to cut it. */
	assert_int_equal(offload_apply(rig.frame, ALL, VLAN_KEEP, &segments, rig.out),
			 OFFLOAD_DONE);
	assert_int_equal(rig.out->count, 1);
	rig_close(&rig);
}

/* A sender's word that the checksum is right is for those who negotiated to hear it. */
static void test_valid_flag(void **state)
{
	struct packet_plan plan = plan_of(4, IPPROTO_UDP, 0, 0);
	struct segment_state segments = { 0 };
	struct rig rig;

	rig_open(&rig, &plan);
	rig.frame->flags = FRAME_CSUM_VALID;
	assert_int_equal(offload_apply(rig.frame, 0, VLAN_KEEP, &segments, rig.out), OFFLOAD_DONE);
	assert_int_equal(rig.out->frames[0].flags, 0);
	assert_int_equal(offload_apply(rig.frame, OFFLOAD_CSUM, VLAN_PUSH, &segments, rig.out),
			 OFFLOAD_DONE);
	assert_int_equal(rig.out->frames[1].flags, FRAME_CSUM_VALID);
	rig_close(&rig);
}

/* No receiver, whatever it offers, gets a packet whole that is to be cut in fragments. */
static void test_fragments_for_all(void **state)
{
	struct packet_plan plan = plan_of(4, IPPROTO_UDP, 0, 0);
	struct segment_state segments = { 0 };
	struct rig rig;

	rig_open(&rig, &plan);
	parse_frame(rig.frame);
	rig.frame->gso = FRAME_GSO_FRAGMENT;
	rig.frame->gso_size = segment_fragment_size(rig.frame, 576);
	assert_false(offload_fits(rig.frame, OFFLOAD_ALL));
	assert_int_equal(offload_apply(rig.frame, OFFLOAD_ALL, VLAN_KEEP, &segments, rig.out),
			 OFFLOAD_DONE);
	assert_int_equal(rig.out->count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_in_range(rig.out->frames[i].length, 1, 14 + 576);
		assert_true(offload_fits(&rig.out->frames[i], 0));
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_long_head),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_valid_flag),
		cmocka_unit_test(test_fragments_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
