/* 802.1Q: each kind of port against each kind of frame, in and out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "bridge/vlan.h"

#include <string.h>

#define NO_TAG -1
#define PASS   DROP_COUNT

struct test_frame {
	uint8_t bytes[64];
	struct frame frame;
};

static void make_frame(struct test_frame *test, uint16_t type, int tci, uint16_t length)
{
	memset(test, 0, sizeof(*test));
	write_be16(test->bytes + 12, type);
	write_be16(test->bytes + 14, (uint16_t)tci);
	test->frame.head = test->bytes;
	test->frame.head_length = length;
	test->frame.length = length;
	/* What an earlier use of the slot left must not matter. */
	test->frame.tagged = 7;
	test->frame.vlan = 4000;
	test->frame.priority = 0xffff;
}

static const struct vlan_membership plain = { .mode = VLAN_MODE_PLAIN };
static const struct vlan_membership access10 = { .mode = VLAN_MODE_ACCESS, .access = 10 };
/* VLANs 10, 20 and 4094 (bits 62 of word 63). */
static const struct vlan_membership trunk = {
	.mode = VLAN_MODE_TRUNK,
	.allowed = { [0] = 1ULL << 10 | 1ULL << 20, [63] = 1ULL << 62 },
};
static const struct vlan_membership trunk_native20 = {
	.mode = VLAN_MODE_TRUNK,
	.native = 20,
	.allowed = { [0] = 1ULL << 10 },
};

static void test_classify(void **state)
{
	static const struct {
		const struct vlan_membership *membership;
		int tci; /* NO_TAG, or priority and VLAN */
		int verdict;
		uint16_t vlan;
		uint16_t priority;
	} rows[] = {
		{ &plain, NO_TAG, PASS, 0, 0 },
		{ &plain, 0xe000, PASS, 0, 0xe000 },
		{ &plain, 0x3000 | 33, PASS, 33, 0x3000 },
		{ &plain, 4094, PASS, 4094, 0 },
		{ &plain, 4095, DROP_VLAN_NOT_ALLOWED, 0, 0 },
		{ &access10, NO_TAG, PASS, 10, 0 },
		{ &access10, 0xa000, PASS, 10, 0xa000 },
		{ &access10, 10, PASS, 10, 0 },
		{ &access10, 11, DROP_VLAN_NOT_ALLOWED, 0, 0 },
		{ &trunk, NO_TAG, DROP_VLAN_UNTAGGED, 0, 0 },
		{ &trunk, 0x2000, DROP_VLAN_UNTAGGED, 0, 0 },
		{ &trunk, 10, PASS, 10, 0 },
		{ &trunk, 0xf000 | 4094, PASS, 4094, 0xf000 },
		{ &trunk, 11, DROP_VLAN_NOT_ALLOWED, 0, 0 },
		{ &trunk, 4095, DROP_VLAN_NOT_ALLOWED, 0, 0 },
		{ &trunk_native20, NO_TAG, PASS, 20, 0 },
		{ &trunk_native20, 0x6000, PASS, 20, 0x6000 },
		{ &trunk_native20, 20, PASS, 20, 0 },
		{ &trunk_native20, 10, PASS, 10, 0 },
		{ &trunk_native20, 21, DROP_VLAN_NOT_ALLOWED, 0, 0 },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool tagged = rows[i].tci != NO_TAG;
		enum drop_reason reason = PASS;
		struct test_frame test;
		bool passed;

		make_frame(&test, tagged ? ETHERTYPE_VLAN : ETHERTYPE_IPV4, rows[i].tci, 60);
		passed = vlan_classify(rows[i].membership, &test.frame, &reason);
		if (passed != (rows[i].verdict == PASS) || (int)reason != rows[i].verdict)
			fail_msg("row %u: passed %d, reason %d", i, passed, reason);
		assert_int_equal(test.frame.tagged, tagged);
		if (!passed)
			continue;
		assert_int_equal(test.frame.vlan, rows[i].vlan);
		assert_int_equal(test.frame.priority, rows[i].priority);
		assert_int_equal(read_be16(test.bytes + 14), (uint16_t)rows[i].tci);
	}
}

static void test_classify_odd_frames(void **state)
{
	enum drop_reason reason;
	struct test_frame test;

	/* A tag that is cut off. */
	make_frame(&test, ETHERTYPE_VLAN, 10, 17);
	assert_false(vlan_classify(&plain, &test.frame, &reason));
	assert_int_equal(reason, DROP_FRAME_SHORT);
	make_frame(&test, ETHERTYPE_VLAN, 10, 18);
	assert_true(vlan_classify(&plain, &test.frame, &reason));
	/* The shortest frame there is. */
	make_frame(&test, ETHERTYPE_IPV4, 0, 14);
	assert_true(vlan_classify(&access10, &test.frame, &reason));
	/* A service tag is not ours to read. */
	make_frame(&test, ETHERTYPE_QINQ, 11, 60);
	assert_true(vlan_classify(&access10, &test.frame, &reason));
	assert_int_equal(test.frame.vlan, 10);
	assert_int_equal(test.frame.tagged, 0);
}

static void test_allows(void **state)
{
	for (uint32_t vlan = 0; vlan <= 4095; vlan++) {
		assert_int_equal(vlan_allows(&plain, vlan), vlan <= 4094);
		assert_int_equal(vlan_allows(&access10, vlan), vlan == 10);
		assert_int_equal(vlan_allows(&trunk, vlan),
				 vlan == 10 || vlan == 20 || vlan == 4094);
		assert_int_equal(vlan_allows(&trunk_native20, vlan), vlan == 10 || vlan == 20);
	}
	/* Beyond the ids there are. */
	assert_false(vlan_allows(&trunk, UINT16_MAX));
}

static void test_egress_edit(void **state)
{
	static const struct {
		const struct vlan_membership *membership;
		uint16_t vlan;
		uint8_t tagged;
		enum vlan_edit edit;
	} rows[] = {
		{ &plain, 0, 0, VLAN_KEEP },	       { &plain, 0, 1, VLAN_KEEP },
		{ &plain, 10, 0, VLAN_PUSH },	       { &plain, 10, 1, VLAN_KEEP },
		{ &access10, 10, 0, VLAN_KEEP },       { &access10, 10, 1, VLAN_POP },
		{ &trunk, 10, 0, VLAN_PUSH },	       { &trunk, 10, 1, VLAN_KEEP },
		{ &trunk_native20, 20, 0, VLAN_KEEP }, { &trunk_native20, 20, 1, VLAN_POP },
		{ &trunk_native20, 10, 0, VLAN_PUSH }, { &trunk_native20, 10, 1, VLAN_KEEP },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct frame frame = { .vlan = rows[i].vlan, .tagged = rows[i].tagged };

		if (vlan_egress_edit(rows[i].membership, &frame) != rows[i].edit)
			fail_msg("row %u", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classify),
		cmocka_unit_test(test_classify_odd_frames),
		cmocka_unit_test(test_allows),
		cmocka_unit_test(test_egress_edit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
