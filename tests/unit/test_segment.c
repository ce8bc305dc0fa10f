/* Cutting GSO frames (base/segment.c): each segment is put in a row of bytes and checked by code of
 * its own, down to the sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/parse.h"
#include "base/segment.h"
#include "tests/unit/frame_check.h"

#define SEGMENTS_MAX 1500

/* A GSO frame cut in full: segments as bytes in a row, in order. */
struct cut_result {
	struct packet packet;
	struct burst *burst;
	uint32_t count;
	uint32_t length[SEGMENTS_MAX];
	uint8_t *bytes[SEGMENTS_MAX];
	struct frame frames[SEGMENTS_MAX]; /* fields only: heads and lists are gone */
};

/* The header of `packet` must be taken, whatever the sender wrote as hdr_len. */
static struct frame *take_packet(struct packet *packet, uint32_t piece)
{
	struct frame *frame = packet_frame(packet, piece);
	enum drop_reason reason;

	if (!vnet_header_to_frame(&packet->header, frame, OFFLOAD_ALL, &reason))
		fail_msg("refused: %s", drop_table[reason].name);
	return frame;
}

/* The segment as the receiver gets it: parse fields right, checksum completed where it is left. */
static void take_segment(struct cut_result *result, struct frame *segment)
{
	struct frame parsed = *segment;
	ptrdiff_t slot = segment - result->burst->frames;
	uint32_t i = result->count++;

	/* Its head lies in its own slot, with room for a vnet header and a tag before it. */
	assert_true(segment->head >= result->burst->heads[slot] + 16);
	assert_true(segment->head + segment->head_length <=
		    result->burst->heads[slot] + FRAME_SLOT);
	assert_true(segment->segment_count == 0 || segment->segments >= result->burst->segments);
	assert_int_equal(segment->gso, FRAME_GSO_NONE);
	assert_int_equal(segment->gso_size, 0);
	assert_int_equal(segment->vlan, 10);
	assert_int_equal(segment->priority, 0x6000);
	assert_int_equal(segment->tagged, 1);
	parse_frame(&parsed);
	assert_int_equal(parsed.ip_version, segment->ip_version);
	assert_int_equal(parsed.l3_offset, segment->l3_offset);
	assert_int_equal(parsed.l4_offset, segment->l4_offset);
	assert_int_equal(parsed.l4_protocol, segment->l4_protocol);
	assert_int_equal(parsed.payload_offset, segment->payload_offset);
	result->frames[i] = *segment;
	if (segment->flags & FRAME_NEEDS_CSUM) {
		/* Partial: the field holds the sum of the pseudo-header. */
		const uint8_t *field = segment->head + segment->csum_start + segment->csum_offset;

		assert_int_equal(check_be16(field),
				 check_pseudo(segment->head + segment->l3_offset,
					      segment->l4_protocol,
					      segment->length - segment->l4_offset));
		checksum_complete(segment);
	}
	result->length[i] = segment->length;
	result->bytes[i] = check_flatten(segment);
}

static struct cut_result *cut(const struct packet_plan *plan, uint32_t piece, uint32_t limit)
{
	struct cut_result *result = calloc(1, sizeof(*result));
	struct segment_state state = { 0 };
	struct frame *frame;
	bool more;

	assert_non_null(result);
	result->burst = burst_create();
	assert_non_null(result->burst);
	packet_build(&result->packet, plan);
	frame = take_packet(&result->packet, piece);
	frame->vlan = 10;
	frame->priority = 0x6000;
	frame->tagged = 1;
	do {
		burst_reset(result->burst);
		result->burst->limit = limit;
		more = segment_next(frame, &state, result->burst);
		assert_in_range(result->burst->count, 1, limit);
		for (uint32_t i = 0; i < result->burst->count; i++)
			take_segment(result, &result->burst->frames[i]);
	} while (more);
	assert_int_equal(result->count, segment_count(frame));
	assert_int_equal(result->count, state.index);
	/* Done is done. */
	burst_reset(result->burst);
	assert_false(segment_next(frame, &state, result->burst));
	assert_int_equal(result->burst->count, 0);
	return result;
}

static void cut_free(struct cut_result *result)
{
	for (uint32_t i = 0; i < result->count; i++)
		free(result->bytes[i]);
	packet_free(&result->packet);
	burst_destroy(result->burst);
	free(result);
}

/* What holds of any IP packet: lengths and header checksum. */
static void check_ip(const struct cut_result *result, uint32_t i)
{
	const uint8_t *ip = result->bytes[i] + result->packet.l3;
	uint32_t length = result->length[i] - result->packet.l3;

	if (ip[0] >> 4 == 4) {
		assert_int_equal(check_be16(ip + 2), length);
		assert_true(check_ipv4_sum(ip));
	} else {
		assert_int_equal(check_be16(ip + 4), length - 40);
	}
}

static void check_tcp(const struct packet_plan *plan, uint32_t piece, uint32_t limit)
{
	struct cut_result *result = cut(plan, piece, limit);
	const struct packet *packet = &result->packet;
	uint32_t at = 0;

	assert_int_equal(result->count,
			 plan->payload == 0 ? 1 : (plan->payload - 1) / plan->gso_size + 1);
	for (uint32_t i = 0; i < result->count; i++) {
		const uint8_t *l4 = result->bytes[i] + packet->l4;
		uint32_t payload = result->length[i] - packet->data;
		uint8_t flags = plan->tcp_flags;

		check_ip(result, i);
		assert_true(check_l4_sum(result->bytes[i] + packet->l3, IPPROTO_TCP, l4,
					 result->length[i] - packet->l4));
		assert_int_equal(check_be32(l4 + 4), (uint32_t)(0xfffff000u + at));
		if (plan->version == 4)
			assert_int_equal(check_be16(result->bytes[i] + packet->l3 + 4),
					 (0xfffe + i) & 0xffff);
		if (i + 1 < result->count) {
			assert_int_equal(payload, plan->gso_size);
			flags &= 0xf6; /* without FIN and PSH */
		}
		if (i > 0)
			flags &= 0x7f; /* without CWR */
		assert_int_equal(l4[13], flags);
		assert_int_equal(result->frames[i].flags, FRAME_NEEDS_CSUM);
		assert_memory_equal(result->bytes[i] + packet->data,
				    packet->bytes + packet->data + at, payload);
		at += payload;
	}
	assert_int_equal(at, plan->payload);
	cut_free(result);
}

static void test_tcp(void **state)
{
	static const uint32_t payloads[] = { 0, 1, 100, 1447, 1448, 1449, 1448 * 3, 20000, 65000 };

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		struct packet_plan plan = { .version = 4,
					    .protocol = IPPROTO_TCP,
					    .tags = 1,
					    .tcp_flags = 0x99, /* CWR ACK PSH FIN */
					    .options = 12,
					    .payload = payloads[i],
					    .gso_type = VNET_GSO_TCPV4 | VNET_GSO_ECN,
					    .gso_size = 1448 };

		check_tcp(&plan, 0, BURST_FRAMES);
		plan.version = 6;
		plan.gso_type = VNET_GSO_TCPV6;
		check_tcp(&plan, 1000, 3);
		check_tcp(&plan, 4096, 1);
	}
}

/* Heads as large as they come, segments that lie in the head alone, odd sizes. */
static void test_tcp_odd_shapes(void **state)
{
	static const uint8_t options[] = { IPPROTO_TCP, 5, 1, 44, [47] = 0 };

	check_tcp(&(struct packet_plan){ .version = 4,
					 .protocol = IPPROTO_TCP,
					 .tags = 2,
					 .options = 40,
					 .payload = 2001,
					 .gso_type = VNET_GSO_TCPV4,
					 .gso_size = 7 },
		  333, BURST_FRAMES);
	check_tcp(&(struct packet_plan){ .version = 6,
					 .protocol = IPPROTO_TCP,
					 .tags = 1,
					 .before = options,
					 .before_length = 48,
					 .before_type = IPPROTO_DSTOPTS,
					 .options = 40,
					 .payload = 999,
					 .gso_type = VNET_GSO_TCPV6,
					 .gso_size = 13 },
		  17, 5);
	check_tcp(&(struct packet_plan){ .version = 4,
					 .protocol = IPPROTO_TCP,
					 .payload = 110,
					 .tcp_flags = 0x18,
					 .gso_type = VNET_GSO_TCPV4,
					 .gso_size = 50 },
		  0, BURST_FRAMES);
}

static void test_uso(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_plan plan = { .version = version,
					    .protocol = IPPROTO_UDP,
					    .tags = 1,
					    .payload = 5000,
					    .gso_type = VNET_GSO_UDP_L4,
					    .gso_size = 1200 };
		struct cut_result *result = cut(&plan, 777, 2);
		const struct packet *packet = &result->packet;

		assert_int_equal(result->count, 5);
		for (uint32_t i = 0; i < result->count; i++) {
			const uint8_t *l4 = result->bytes[i] + packet->l4;
			uint32_t payload = i < 4 ? 1200 : 200;

			assert_int_equal(result->length[i], packet->data + payload);
			check_ip(result, i);
			assert_int_equal(check_be16(l4 + 4), payload + 8);
			assert_true(check_l4_sum(result->bytes[i] + packet->l3, IPPROTO_UDP, l4,
						 payload + 8));
			assert_memory_equal(result->bytes[i] + packet->data,
					    packet->bytes + packet->data + i * 1200, payload);
		}
		cut_free(result);
	}
}

/* Puts UFO's fragments together again and compares with the datagram that went in. `start`: what
 * comes before is in each fragment. */
static void check_fragments(struct cut_result *result, uint32_t start, uint32_t gso_size)
{
	const struct packet *packet = &result->packet;
	uint32_t step = gso_size / 8 * 8, at = 0;
	uint32_t udp = packet->l4 - start, udp_length = packet->length - packet->l4;
	uint8_t *whole = malloc(PACKET_MAX);
	uint32_t id = 0;

	assert_non_null(whole);
	for (uint32_t i = 0; i < result->count; i++) {
		const uint8_t *ip = result->bytes[i] + packet->l3;
		uint32_t data = start, offset, more;

		check_ip(result, i);
		if (ip[0] >> 4 == 4) {
			offset = (check_be16(ip + 6) & 0x1fff) * 8;
			more = check_be16(ip + 6) >> 13;
			assert_int_equal(check_be16(ip + 4), 0xfffe);
		} else {
			const uint8_t *fragment = result->bytes[i] + start;

			data += 8;
			offset = check_be16(fragment + 2) & 0xfff8;
			more = check_be16(fragment + 2) & 7;
			if (i == 0)
				id = check_be32(fragment + 4);
			assert_int_equal(check_be32(fragment + 4), id);
			assert_int_not_equal(id, 0);
		}
		assert_int_equal(offset, at);
		assert_int_equal(more, i + 1 < result->count);
		assert_int_equal(result->frames[i].flags, 0);
		if (more)
			assert_int_equal(result->length[i] - data, step);
		memcpy(whole + at, result->bytes[i] + data, result->length[i] - data);
		at += result->length[i] - data;
	}
	assert_int_equal(at, packet->length - start);
	assert_true(check_l4_sum(packet->bytes + packet->l3, IPPROTO_UDP, whole + udp, udp_length));
	memcpy(whole + udp + 6, packet->bytes + packet->l4 + 6, 2); /* now the rest is as it was */
	assert_memory_equal(whole, packet->bytes + start, at);
	free(whole);
}

static void test_ufo_ipv4(void **state)
{
	static const uint32_t payloads[] = { 1473, 1480, 2960, 9001, 65000 };

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		struct packet_plan plan = { .version = 4,
					    .protocol = IPPROTO_UDP,
					    .tags = 1,
					    .payload = payloads[i],
					    .gso_type = VNET_GSO_UDP,
					    .gso_size = 1483 };
		struct cut_result *result = cut(&plan, 512, 7);

		check_fragments(result, result->packet.l4, 1483);
		cut_free(result);
	}
}

/* Of the options only those marked so are copied to later fragments. */
static void test_ufo_ipv4_options(void **state)
{
	struct packet_plan plan = { .version = 4,
				    .protocol = IPPROTO_UDP,
				    .options = 12,
				    .payload = 3000,
				    .gso_type = VNET_GSO_UDP,
				    .gso_size = 1000 };
	struct cut_result *result = cut(&plan, 0, BURST_FRAMES);

	assert_int_equal(result->count, 4);
	check_fragments(result, result->packet.l4, 1000);
	for (uint32_t i = 0; i < result->count; i++)
		assert_memory_equal(result->bytes[i] + result->packet.l3 + 20,
				    i == 0 ? "\x94\x04\0\0\x07\x03\x04\x01\x01\x01\x01\x01"
					   : "\x94\x04\0\0\x01\x01\x01\x01\x01\x01\x01\x01",
				    12);
	cut_free(result);
}

static void test_ufo_ipv6(void **state)
{
	static const uint8_t headers[] = {
		IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0, /* hop-by-hop: in each fragment */
		IPPROTO_UDP,	 0, 1, 4, 0, 0, 0, 0, /* destination options: fragmented */
	};
	struct packet_plan plan = { .version = 6,
				    .protocol = IPPROTO_UDP,
				    .payload = 4000,
				    .gso_type = VNET_GSO_UDP,
				    .gso_size = 1448 };
	struct cut_result *result = cut(&plan, 100, BURST_FRAMES);
	uint32_t start = result->packet.l4;
	uint32_t id;

	assert_int_equal(result->count, 3);
	check_fragments(result, start, 1448);
	assert_int_equal(result->bytes[2][result->packet.l3 + 6], IPPROTO_FRAGMENT);
	assert_int_equal(result->bytes[2][start], IPPROTO_UDP);
	id = check_be32(result->bytes[0] + start + 4);
	cut_free(result);

	plan.before = headers;
	plan.before_length = sizeof(headers);
	plan.before_type = IPPROTO_HOPOPTS;
	result = cut(&plan, 100, 2);
	start = result->packet.l4 - 8;
	check_fragments(result, start, 1448);
	assert_int_equal(result->bytes[1][result->packet.l3 + 6], IPPROTO_HOPOPTS);
	assert_int_equal(result->bytes[1][result->packet.l3 + 40], IPPROTO_FRAGMENT);
	assert_int_equal(result->bytes[1][start], IPPROTO_DSTOPTS);
	assert_int_not_equal(check_be32(result->bytes[0] + start + 4), id);
	cut_free(result);
}

/* The longest head of all: what came in nearly fills FRAME_HEAD_MAX, and a fragment header
 * is added. */
static void test_ufo_longest_head(void **state)
{
	uint8_t options[104] = { IPPROTO_UDP, 12, 1, 100 };
	struct packet_plan plan = { .version = 6,
				    .protocol = IPPROTO_UDP,
				    .tags = 2,
				    .before = options,
				    .before_length = sizeof(options),
				    .before_type = IPPROTO_DSTOPTS,
				    .payload = 1000,
				    .gso_type = VNET_GSO_UDP,
				    .gso_size = 128 };
	struct cut_result *result = cut(&plan, 0, BURST_FRAMES);

	assert_int_equal(result->frames[0].head_length, 14 + 8 + 40 + 104 + 8 + 8);
	check_fragments(result, result->packet.l4 - sizeof(options), 128);
	cut_free(result);
}

/* A datagram that needs no fragments stays one, with its checksum complete. */
static void test_ufo_of_one(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_plan plan = { .version = version,
					    .protocol = IPPROTO_UDP,
					    .payload = 1000,
					    .gso_type = VNET_GSO_UDP,
					    .gso_size = 1448 };
		struct cut_result *result = cut(&plan, 0, BURST_FRAMES);
		const struct packet *packet = &result->packet;

		assert_int_equal(result->count, 1);
		assert_int_equal(result->length[0], packet->length);
		check_ip(result, 0);
		assert_true(check_l4_sum(result->bytes[0] + packet->l3, IPPROTO_UDP,
					 result->bytes[0] + packet->l4, 1008));
		assert_memory_equal(result->bytes[0] + packet->data, packet->bytes + packet->data,
				    1000);
		cut_free(result);
	}
}

/* The segment list runs out before the frames do: nothing is lost, and all is said to be left. */
static void test_segment_list_runs_out(void **state)
{
	struct packet_plan plan = { .version = 4,
				    .protocol = IPPROTO_TCP,
				    .payload = 3000,
				    .gso_type = VNET_GSO_TCPV4,
				    .gso_size = 500 };
	struct burst *burst = burst_create();
	struct segment_state at = { 0 };
	struct packet packet;
	struct frame *frame;

	assert_non_null(burst);
	packet_build(&packet, &plan);
	frame = take_packet(&packet, 100);
	burst_reset(burst);
	burst->segment_count = BURST_SEGMENTS - 8; /* one segment takes 6 or 5 */
	assert_true(segment_next(frame, &at, burst));
	assert_int_equal(burst->count, 1);
	assert_int_equal(at.index, 1);
	assert_in_range(burst->segment_count, BURST_SEGMENTS - 8, BURST_SEGMENTS);
	assert_true(segment_next(frame, &at, burst));
	assert_int_equal(burst->count, 1);
	burst_reset(burst);
	assert_false(segment_next(frame, &at, burst));
	assert_int_equal(burst->count, 5);
	assert_int_equal(at.index, 6);
	assert_int_equal(at.offset, 3000);
	burst_destroy(burst);
	packet_free(&packet);
}

static void test_frames_that_cannot_be_cut(void **state)
{
	struct packet_plan plan = { .version = 4,
				    .protocol = IPPROTO_UDP,
				    .payload = 3000,
				    .gso_type = VNET_GSO_UDP,
				    .gso_size = 8 };
	struct burst *burst = burst_create();
	struct segment_state at = { 0 };
	struct packet packet;
	struct frame *frame;

	assert_non_null(burst);
	packet_build(&packet, &plan);
	frame = take_packet(&packet, 0);
	assert_int_equal(segment_count(frame), 376);
	frame->gso_size = 7;
	assert_int_equal(segment_count(frame), 0);
	frame->gso_size = 0;
	assert_int_equal(segment_count(frame), 0);
	frame->gso_size = 8;
	frame->payload_offset += 8; /* the first fragment could not hold all headers */
	assert_int_equal(segment_count(frame), 0);
	frame->payload_offset = 0;
	assert_int_equal(segment_count(frame), 0);
	assert_false(segment_next(frame, &at, burst));
	assert_int_equal(burst->count, 0);
	frame = take_packet(&packet, 0);
	frame->gso = FRAME_GSO_NONE;
	assert_int_equal(segment_count(frame), 0);
	burst_destroy(burst);
	packet_free(&packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp_odd_shapes),
		cmocka_unit_test(test_uso),
		cmocka_unit_test(test_ufo_ipv4),
		cmocka_unit_test(test_ufo_ipv4_options),
		cmocka_unit_test(test_ufo_ipv6),
		cmocka_unit_test(test_ufo_longest_head),
		cmocka_unit_test(test_ufo_of_one),
		cmocka_unit_test(test_segment_list_runs_out),
		cmocka_unit_test(test_frames_that_cannot_be_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
