/* vhost-user/features.c: what is offered to whom, and what negotiated bits make of a queue. Bit
 * numbers are written out from virtio 1.2, 5.1.3 and 6, not taken from the code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/vnet_header.h"
#include "vhost-user/device.h"
#include "vhost-user/feature_bits.h"

#include <string.h>

#define B(bit) (1ull << (bit))

/* CSUM GUEST_CSUM GSO, all GUEST_ and HOST_ segmentation, MRG_RXBUF, LOG_ALL, ANY_LAYOUT,
 * INDIRECT_DESC, EVENT_IDX, PROTOCOL_FEATURES, VERSION_1, RING_PACKED, IN_ORDER, USO. */
#define EVERYBODY                                                                                  \
	(B(0) | B(1) | B(6) | B(7) | B(8) | B(9) | B(10) | B(11) | B(12) | B(13) | B(14) | B(15) | \
	 B(26) | B(27) | B(28) | B(29) | B(30) | B(32) | B(34) | B(35) | B(54) | B(55) | B(56))
/* MTU, STATUS, CTRL_VQ, GUEST_ANNOUNCE. */
#define TO_DEVICES (B(3) | B(16) | B(17) | B(21))

static void test_offered(void **state)
{
	(void)state;
	assert_int_equal(vhost_features_offered(VHOST_FRONTEND_DRIVER, 1), EVERYBODY);
	assert_int_equal(vhost_features_offered(VHOST_FRONTEND_DRIVER, 2), EVERYBODY | B(22));
	assert_int_equal(vhost_features_offered(VHOST_FRONTEND_DEVICE, 1), EVERYBODY | TO_DEVICES);
	assert_int_equal(vhost_features_offered(VHOST_FRONTEND_DEVICE, 64),
			 EVERYBODY | TO_DEVICES | B(22));
	assert_int_equal(vhost_supported_features(), EVERYBODY | TO_DEVICES | B(22));
	assert_int_equal(vhost_protocol_features_offered(),
			 B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(13) | B(15) | B(16));
}

static void test_names(void **state)
{
	uint64_t offered = vhost_supported_features();

	(void)state;
	assert_string_equal(vhost_feature_name(15), "mrg_rxbuf");
	assert_string_equal(vhost_feature_name(32), "version_1");
	assert_string_equal(vhost_feature_name(56), "host_uso");
	assert_string_equal(vhost_protocol_feature_name(3), "reply_ack");
	assert_null(vhost_feature_name(4));
	assert_null(vhost_feature_name(64));
	assert_null(vhost_feature_name(UINT32_MAX));
	assert_null(vhost_protocol_feature_name(6));
	assert_null(vhost_protocol_feature_name(64));
	/* Whatever can be negotiated can be shown, and no name stands for two bits. */
	for (unsigned i = 0; i < 64; i++) {
		if ((offered & B(i)) != 0)
			assert_non_null(vhost_feature_name(i));
		for (unsigned j = 0; j < i && vhost_feature_name(i) != NULL; j++) {
			if (vhost_feature_name(j) != NULL)
				assert_string_not_equal(vhost_feature_name(i),
							vhost_feature_name(j));
		}
	}
}

static void test_apply(void **state)
{
	static const struct {
		uint64_t features;
		uint16_t header_size;
		uint32_t from_guest, to_guest;
	} cases[] = {
		{ 0, 10, 0, 0 },
		{ B(15), 12, 0, 0 },
		{ B(32), 12, 0, 0 },
		{ B(28) | B(29), 10, 0, 0 },
		{ B(0), 10, OFFLOAD_CSUM, 0 },
		{ B(1), 10, 0, OFFLOAD_CSUM },
		/* Nothing without its checksum bit. */
		{ B(11) | B(12) | B(14) | B(56), 10, 0, 0 },
		{ B(7) | B(8) | B(10) | B(54) | B(55), 10, 0, 0 },
		{ B(0) | B(11), 10, OFFLOAD_CSUM | OFFLOAD_TSO4, 0 },
		{ B(0) | B(12) | B(13), 10, OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN, 0 },
		{ B(0) | B(13), 10, OFFLOAD_CSUM, 0 },
		{ B(0) | B(14), 10, OFFLOAD_CSUM | OFFLOAD_UFO, 0 },
		{ B(0) | B(56), 10, OFFLOAD_CSUM | OFFLOAD_USO4 | OFFLOAD_USO6, 0 },
		{ B(0) | B(6), 10,
		  OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN | OFFLOAD_UFO, 0 },
		{ B(1) | B(7), 10, 0, OFFLOAD_CSUM | OFFLOAD_TSO4 },
		{ B(1) | B(8), 10, 0, OFFLOAD_CSUM | OFFLOAD_TSO6 },
		{ B(1) | B(9), 10, 0, OFFLOAD_CSUM },
		{ B(1) | B(10), 10, 0, OFFLOAD_CSUM | OFFLOAD_UFO },
		{ B(1) | B(54), 10, 0, OFFLOAD_CSUM | OFFLOAD_USO4 },
		{ B(1) | B(55), 10, 0, OFFLOAD_CSUM | OFFLOAD_USO6 },
		{ B(34), 10, 0, 0 },
		{ B(32) | B(34) | B(35), 12, 0, 0 },
		{ ~0ull, 12, OFFLOAD_ALL, OFFLOAD_ALL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtqueue vq;

		/* What was there before does not shine through. */
		memset(&vq, 0xff, sizeof(vq));
		vhost_features_apply(cases[i].features, &vq);
		assert_int_equal(vq.header_size, cases[i].header_size);
		assert_int_equal(vq.offloads_from_guest, cases[i].from_guest);
		assert_int_equal(vq.offloads_to_guest, cases[i].to_guest);
		assert_int_equal(vq.mergeable, (cases[i].features & B(15)) != 0);
		assert_int_equal(vq.indirect, (cases[i].features & B(28)) != 0);
		assert_int_equal(vq.event_idx, (cases[i].features & B(29)) != 0);
		assert_int_equal(vq.in_order, (cases[i].features & B(35)) != 0);
		assert_int_equal(vq.ops->format, (cases[i].features & B(34)) != 0
						     ? VIRTQUEUE_PACKED
						     : VIRTQUEUE_SPLIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_apply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
