/* Finding headers (base/parse.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "tests/unit/frame_check.h"

static void assert_parsed(const struct packet_plan *plan)
{
	struct packet packet;
	struct frame *frame;

	packet_build(&packet, plan);
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	assert_int_equal(frame->ip_version, plan->version);
	assert_int_equal(frame->l3_offset, packet.l3);
	assert_int_equal(frame->l4_offset, packet.l4);
	assert_int_equal(frame->l4_protocol, plan->protocol);
	assert_int_equal(frame->payload_offset, packet.data);
	packet_free(&packet);
}

static void test_headers_are_found(void **state)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t i = 0; i < 2; i++) {
		for (uint8_t tags = 0; tags <= 2; tags++) {
			for (uint8_t options = 0; options <= 40; options += 20) {
				assert_parsed(&(struct packet_plan){ .version = 4,
								     .protocol = protocols[i],
								     .tags = tags,
								     .options = options,
								     .payload = 1000 });
				assert_parsed(&(struct packet_plan){ .version = 6,
								     .protocol = protocols[i],
								     .tags = tags,
								     .options = options,
								     .payload = options });
			}
		}
	}
}

static void test_extension_headers(void **state)
{
	static const uint8_t headers[] = {
		IPPROTO_DSTOPTS,
		0,
		1,
		4,
		0,
		0,
		0,
		0, /* hop-by-hop */
		IPPROTO_ROUTING,
		0,
		1,
		4,
		0,
		0,
		0,
		0, /* destination options */
		IPPROTO_TCP,
		2,
		0,
		0,
		0,
		0,
		0,
		0, /* routing, one address */
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0, /**/
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
	};

	assert_parsed(&(struct packet_plan){ .version = 6,
					     .protocol = IPPROTO_TCP,
					     .before = headers,
					     .before_length = sizeof(headers),
					     .before_type = IPPROTO_HOPOPTS,
					     .payload = 300 });
}

/* One change to a good packet, and what is still found then. */
struct lie {
	int version;
	uint8_t protocol;
	uint32_t at; /* from L3, or L4 with from_l4 */
	int from_l4;
	uint8_t value;
	int l3_found;
	int l4_found;
};

static void test_lies_are_not_believed(void **state)
{
	static const struct lie lies[] = {
		{ 4, IPPROTO_TCP, 0, 0, 0x55, 0, 0 }, /* version */
		{ 4, IPPROTO_TCP, 0, 0, 0x44, 0, 0 }, /* header of 16 bytes */
		{ 4, IPPROTO_TCP, 2, 0, 0xff, 0, 0 }, /* longer than the frame */
		{ 4, IPPROTO_TCP, 3, 0, 19, 0, 0 },   /* shorter than its header */
		{ 4, IPPROTO_TCP, 3, 0, 39, 1, 0 },   /* no room for TCP */
		{ 4, IPPROTO_TCP, 3, 0, 40, 1, 1 },   /* padding behind: fine */
		{ 4, IPPROTO_TCP, 6, 0, 0x20, 1, 0 }, /* more fragments */
		{ 4, IPPROTO_TCP, 7, 0, 0x01, 1, 0 }, /* a later fragment */
		{ 4, IPPROTO_TCP, 6, 0, 0x40, 1, 1 }, /* don't fragment: fine */
		{ 4, IPPROTO_TCP, 12, 1, 0x40, 1, 0 },
		{ 4, IPPROTO_TCP, 12, 1, 0xf0, 1, 0 }, /* 60 bytes where 30 are */
		{ 4, IPPROTO_UDP, 4, 1, 0x01, 1, 0 },  /* longer than IP says */
		{ 4, IPPROTO_UDP, 5, 1, 7, 1, 0 },     /* shorter than its header */
		{ 4, IPPROTO_UDP, 5, 1, 8, 1, 1 },
		{ 6, IPPROTO_TCP, 0, 0, 0x40, 0, 0 },
		{ 6, IPPROTO_TCP, 4, 0, 0x01, 0, 0 }, /* longer than the frame */
		{ 6, IPPROTO_TCP, 5, 0, 19, 1, 0 },
		{ 6, IPPROTO_TCP, 5, 0, 20, 1, 1 },
		{ 6, IPPROTO_TCP, 6, 0, IPPROTO_FRAGMENT, 1, 0 },
		{ 6, IPPROTO_TCP, 6, 0, IPPROTO_NONE, 1, 0 },
		{ 6, IPPROTO_UDP, 5, 1, 7, 1, 0 },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const struct lie *lie = &lies[i];
		struct packet packet;
		struct frame *frame;

		packet_build(&packet, &(struct packet_plan){ .version = lie->version,
							     .protocol = lie->protocol,
							     .tags = 1,
							     .payload = 10 });
		packet.bytes[(lie->from_l4 ? packet.l4 : packet.l3) + lie->at] = lie->value;
		frame = packet_frame(&packet, 0);
		parse_frame(frame);
		if ((frame->l3_offset != 0) != lie->l3_found ||
		    (frame->ip_version != 0) != lie->l3_found ||
		    (frame->l4_offset != 0) != lie->l4_found ||
		    (frame->payload_offset != 0) != lie->l4_found ||
		    (frame->l4_protocol != 0) != lie->l4_found)
			fail_msg("case %zu: l3 %u l4 %u payload %u", i, frame->l3_offset,
				 frame->l4_offset, frame->payload_offset);
		packet_free(&packet);
	}
}

/* Whatever the head ends in: no field lies beyond it, and all is found once all is there. */
static void test_heads_cut_anywhere(void **state)
{
	static const uint8_t hop[] = { IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0 };
	static const struct packet_plan plans[] = {
		{ .version = 4, .protocol = IPPROTO_TCP, .tags = 2, .options = 12, .payload = 9 },
		{ .version = 4, .protocol = IPPROTO_UDP, .payload = 9 },
		{ .version = 6,
		  .protocol = IPPROTO_TCP,
		  .tags = 1,
		  .before = hop,
		  .before_length = 8,
		  .before_type = IPPROTO_HOPOPTS,
		  .payload = 9 },
	};

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		struct packet packet;

		packet_build(&packet, &plans[i]);
		for (uint32_t length = 0; length <= packet.length; length++) {
			struct frame_segment rest = { packet.bytes + length,
						      packet.length - length };
			struct frame frame = { .head = malloc(length + 1),
					       .segments = &rest,
					       .length = packet.length,
					       .head_length = (uint16_t)length,
					       .segment_count = 1 };

			assert_non_null(frame.head);
			memcpy(frame.head, packet.bytes, length);
			parse_frame(&frame);
			assert_true(frame.l4_offset <= length && frame.payload_offset <= length);
			assert_int_equal(frame.l4_offset != 0, length >= packet.data);
			free(frame.head);
		}
		packet_free(&packet);
	}
}

static void test_other_protocols(void **state)
{
	struct packet packet;
	struct frame *frame;

	packet_build(&packet,
		     &(struct packet_plan){ .version = 4, .protocol = IPPROTO_UDP, .payload = 9 });
	packet.bytes[packet.l3 + 9] = IPPROTO_ICMP;
	frame = packet_frame(&packet, 0);
	parse_frame(frame);
	assert_int_equal(frame->l4_offset, packet.l4);
	assert_int_equal(frame->l4_protocol, IPPROTO_ICMP);
	assert_int_equal(frame->payload_offset, 0);
	/* A frame that was IP once, and is none now: nothing stays. */
	frame->head[12] = 0x08;
	frame->head[13] = 0x06;
	parse_frame(frame);
	assert_int_equal(frame->ip_version, 0);
	assert_int_equal(frame->l3_offset, 0);
	assert_int_equal(frame->l4_offset, 0);
	assert_int_equal(frame->l4_protocol, 0);
	packet_free(&packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers_are_found),
		cmocka_unit_test(test_extension_headers),
		cmocka_unit_test(test_lies_are_not_believed),
		cmocka_unit_test(test_heads_cut_anywhere),
		cmocka_unit_test(test_other_protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
