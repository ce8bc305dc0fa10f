/* Bursts and edits of frames (base/burst.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/frame.h"
#include "tests/unit/frame_check.h"

static const struct packet_plan plan = { .version = 4,
					 .protocol = IPPROTO_TCP,
					 .options = 12,
					 .payload = 900,
					 .gso_type = VNET_GSO_TCPV4,
					 .gso_size = 100 };

static struct frame *make_frame(struct packet *packet, uint8_t tags)
{
	struct packet_plan tagged = plan;
	enum drop_reason reason;
	struct frame *frame;

	tagged.tags = tags;
	packet_build(packet, &tagged);
	frame = packet_frame(packet, 99);
	assert_true(vnet_header_to_frame(&packet->header, frame, OFFLOAD_ALL, &reason));
	frame->tagged = tags;
	return frame;
}

static void assert_bytes(const struct frame *frame, const struct packet *packet)
{
	uint8_t *bytes = check_flatten(frame);

	assert_int_equal(frame->length, packet->length);
	assert_memory_equal(bytes, packet->bytes, packet->length);
	free(bytes);
}

static void assert_offsets(const struct frame *frame, const struct packet *packet)
{
	assert_int_equal(frame->l3_offset, packet->l3);
	assert_int_equal(frame->l4_offset, packet->l4);
	assert_int_equal(frame->payload_offset, packet->data);
	assert_int_equal(frame->csum_start, packet->l4);
	assert_int_equal(frame->csum_offset, 16);
}

static void test_burst_memory(void **state)
{
	struct burst *burst = burst_create();

	assert_non_null(burst);
	burst_destroy(NULL);
	assert_int_equal(burst->count, 0);
	assert_int_equal(burst->limit, BURST_FRAMES);
	/* Each part is there in full and overlaps no other. */
	memset(burst->heads, 1, sizeof(burst->heads));
	memset(burst->frames, 2, sizeof(burst->frames));
	memset(burst->segments, 3, BURST_SEGMENTS * sizeof(burst->segments[0]));
	memset(burst->bulk, 4, BURST_BULK);
	for (uint32_t i = 0; i < BURST_FRAMES; i++) {
		assert_int_equal(burst_head(burst, i)[-(int)FRAME_HEADROOM], 1);
		assert_int_equal(burst_head(burst, i)[FRAME_HEAD_MAX - 1], 1);
	}
	assert_int_equal(*(uint8_t *)&burst->frames[BURST_FRAMES - 1], 2);
	assert_int_equal(*(uint8_t *)&burst->segments[BURST_SEGMENTS - 1], 3);
	burst->count = 7;
	burst->segment_count = 8;
	burst->bulk_used = 9;
	burst->limit = 1;
	burst_reset(burst);
	assert_int_equal(burst->count + burst->segment_count + burst->bulk_used, 0);
	assert_int_equal(burst->limit, BURST_FRAMES);
	burst_destroy(burst);
}

static void test_copy_out(void **state)
{
	struct packet packet;
	struct frame *frame = make_frame(&packet, 0);
	uint8_t copy[1000];

	for (uint32_t offset = 0; offset <= packet.length; offset += 7) {
		for (uint32_t length = 0; offset + length <= packet.length; length += 61) {
			memset(copy, 0xee, sizeof(copy));
			frame_copy_out(frame, offset, length, copy);
			assert_memory_equal(copy, packet.bytes + offset, length);
			assert_int_equal(copy[length], 0xee);
		}
	}
	frame_copy_out(frame, 0, packet.length, copy);
	assert_memory_equal(copy, packet.bytes, packet.length);
	packet_free(&packet);
}

static void test_parts(void **state)
{
	struct packet packet;
	struct frame *frame = make_frame(&packet, 0);
	struct iovec parts[64];
	uint32_t count = 1u + frame->segment_count, at = 0;

	assert_in_range(count, 2, 64);
	assert_int_equal(frame_parts(frame, parts, count - 1), 0);
	assert_int_equal(frame_parts(frame, parts, count), count);
	for (uint32_t i = 0; i < count; i++) {
		assert_memory_equal(parts[i].iov_base, packet.bytes + at, parts[i].iov_len);
		at += (uint32_t)parts[i].iov_len;
	}
	assert_int_equal(at, packet.length);
	packet_free(&packet);
}

/* A frame of each length that a guest may send shallow, its bytes in one piece with the net header
 * before them. */
static void test_pull_completes_the_head(void **state)
{
	uint8_t bytes[12 + 300], slot[FRAME_SLOT];

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (uint32_t length = FRAME_HEAD_SHALLOW + 1; length <= 300; length++) {
		struct frame_segment segment = { bytes + 64, length - FRAME_HEAD_SHALLOW };
		struct frame frame = { .head = slot + FRAME_HEADROOM,
				       .segments = &segment,
				       .length = length,
				       .head_length = FRAME_HEAD_SHALLOW,
				       .segment_count = 1,
				       .shallow = 1 };
		uint32_t head = length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;

		memset(slot, 0xee, sizeof(slot));
		memcpy(frame.head, bytes + 12, FRAME_HEAD_SHALLOW);
		/* Once is enough. */
		for (int i = 0; i < 2; i++) {
			uint8_t *flat;

			frame_pull(&frame);
			flat = check_flatten(&frame);
			assert_int_equal(frame.length, length);
			assert_int_equal(frame.head_length, head);
			assert_int_equal(frame.segment_count, length > head);
			assert_memory_equal(flat, bytes + 12, length);
			free(flat);
		}
		assert_int_equal(slot[FRAME_HEADROOM + head], 0xee);
	}
}

static void test_pull_leaves_others_alone(void **state)
{
	struct packet packet;
	struct frame *frame = make_frame(&packet, 0), before = *frame;

	frame_pull(frame);
	assert_memory_equal(frame, &before, sizeof(before));
	packet_free(&packet);
}

static void test_clone_has_its_own_head(void **state)
{
	struct packet packet;
	struct frame *frame = make_frame(&packet, 0);
	uint8_t slot[FRAME_SLOT];
	struct frame clone;

	frame_clone(&clone, slot + FRAME_HEADROOM, frame);
	assert_ptr_equal(clone.head, slot + FRAME_HEADROOM);
	assert_bytes(&clone, &packet);
	assert_offsets(&clone, &packet);
	memset(clone.head, 0, clone.head_length);
	assert_bytes(frame, &packet);
	packet_free(&packet);
}

/* The head of a frame with a pushed tag is longer than a slot's share behind the headroom. */
static void test_clone_of_longest_head_stays_in_its_slot(void **state)
{
	struct packet packet;
	struct frame *frame = make_frame(&packet, 0);
	uint8_t slot[FRAME_SLOT + 16];
	struct frame clone;

	memset(slot, 0xee, sizeof(slot));
	frame_push_tag(frame, 10);
	assert_int_equal(frame->head_length, FRAME_HEAD_MAX + 4);
	frame_clone(&clone, slot + FRAME_HEADROOM, frame);
	for (uint32_t i = FRAME_SLOT; i < sizeof(slot); i++)
		assert_int_equal(slot[i], 0xee);
	assert_memory_equal(clone.head, frame->head, frame->head_length);
	frame_pop_tag(&clone);
	assert_bytes(&clone, &packet);
	packet_free(&packet);
}

static void test_push_and_pop(void **state)
{
	struct packet plain, tagged;
	struct frame *frame = make_frame(&plain, 0);

	make_frame(&tagged, 1);
	frame_push_tag(frame, 0x600a);
	assert_int_equal(frame->tagged, 1);
	assert_bytes(frame, &tagged);
	assert_offsets(frame, &tagged);
	frame_pop_tag(frame);
	assert_int_equal(frame->tagged, 0);
	assert_bytes(frame, &plain);
	assert_offsets(frame, &plain);
	/* And the other way round. */
	frame_pop_tag(&tagged.frame);
	assert_bytes(&tagged.frame, &plain);
	assert_offsets(&tagged.frame, &plain);
	frame_push_tag(&tagged.frame, 0x600a);
	assert_bytes(&tagged.frame, &tagged);
	packet_free(&plain);
	packet_free(&tagged);
}

/* What was never parsed stays unparsed. */
static void test_push_leaves_zero_offsets(void **state)
{
	struct packet packet;
	struct frame *frame;

	packet_build(&packet, &plan);
	frame = packet_frame(&packet, 0);
	frame_push_tag(frame, 1);
	assert_int_equal(frame->l3_offset + frame->l4_offset + frame->payload_offset, 0);
	assert_int_equal(frame->csum_start, 0);
	frame_pop_tag(frame);
	assert_int_equal(frame->l3_offset + frame->l4_offset + frame->payload_offset, 0);
	assert_bytes(frame, &packet);
	packet_free(&packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_memory),
		cmocka_unit_test(test_copy_out),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_pull_completes_the_head),
		cmocka_unit_test(test_pull_leaves_others_alone),
		cmocka_unit_test(test_clone_has_its_own_head),
		cmocka_unit_test(test_clone_of_longest_head_stays_in_its_slot),
		cmocka_unit_test(test_push_and_pop),
		cmocka_unit_test(test_push_leaves_zero_offsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
