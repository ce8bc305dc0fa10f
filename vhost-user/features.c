/* Feature bits (feature_bits.h): one table for names and offers, one for offloads.
 * Control thread. */
#include "vhost-user/feature_bits.h"

#include "base/vnet_header.h"
#include "vhost-user/device.h"
#include "vhost-user/protocol.h"

#include <stddef.h>

/* When a bit is offered, beside always. */
enum condition {
	NEVER, /* only named */
	ALWAYS,
	TO_DEVICES, /* needs a control queue or configuration space: VHOST_FRONTEND_DEVICE */
	WITH_PAIRS, /* several queue pairs */
};

static const struct {
	const char *name;
	enum condition offered;
} features[64] = {
	[VHOST_F_CSUM] = { "csum", ALWAYS },
	[VHOST_F_GUEST_CSUM] = { "guest_csum", ALWAYS },
	[2] = { "ctrl_guest_offloads", NEVER },
	[VHOST_F_MTU] = { "mtu", TO_DEVICES },
	[5] = { "mac", NEVER },
	[VHOST_F_GSO] = { "gso", ALWAYS },
	[VHOST_F_GUEST_TSO4] = { "guest_tso4", ALWAYS },
	[VHOST_F_GUEST_TSO6] = { "guest_tso6", ALWAYS },
	[VHOST_F_GUEST_ECN] = { "guest_ecn", ALWAYS },
	[VHOST_F_GUEST_UFO] = { "guest_ufo", ALWAYS },
	[VHOST_F_HOST_TSO4] = { "host_tso4", ALWAYS },
	[VHOST_F_HOST_TSO6] = { "host_tso6", ALWAYS },
	[VHOST_F_HOST_ECN] = { "host_ecn", ALWAYS },
	[VHOST_F_HOST_UFO] = { "host_ufo", ALWAYS },
	[VHOST_F_MRG_RXBUF] = { "mrg_rxbuf", ALWAYS },
	[VHOST_F_STATUS] = { "status", TO_DEVICES },
	[VHOST_F_CTRL_VQ] = { "ctrl_vq", TO_DEVICES },
	[18] = { "ctrl_rx", NEVER },
	[19] = { "ctrl_vlan", NEVER },
	[VHOST_F_GUEST_ANNOUNCE] = { "guest_announce", TO_DEVICES },
	[VHOST_F_MQ] = { "mq", WITH_PAIRS },
	[23] = { "ctrl_mac_addr", NEVER },
	[24] = { "notify_on_empty", NEVER },
	[VHOST_F_LOG_ALL] = { "log_all", ALWAYS },
	[VHOST_F_ANY_LAYOUT] = { "any_layout", ALWAYS },
	[VHOST_F_INDIRECT_DESC] = { "indirect_desc", ALWAYS },
	[VHOST_F_EVENT_IDX] = { "event_idx", ALWAYS },
	[VHOST_F_PROTOCOL_FEATURES] = { "protocol_features", ALWAYS },
	[VHOST_F_VERSION_1] = { "version_1", ALWAYS },
	[33] = { "access_platform", NEVER },
	[VHOST_F_RING_PACKED] = { "ring_packed", ALWAYS },
	[VHOST_F_IN_ORDER] = { "in_order", ALWAYS },
	[36] = { "order_platform", NEVER },
	[38] = { "notification_data", NEVER },
	[40] = { "ring_reset", NEVER },
	[VHOST_F_GUEST_USO4] = { "guest_uso4", ALWAYS },
	[VHOST_F_GUEST_USO6] = { "guest_uso6", ALWAYS },
	[VHOST_F_HOST_USO] = { "host_uso", ALWAYS },
	[57] = { "hash_report", NEVER },
	[60] = { "rss", NEVER },
	[62] = { "standby", NEVER },
	[63] = { "speed_duplex", NEVER },
};

/* All of them are offered. */
static const char *const protocol_features[64] = {
	[VHOST_PROTOCOL_F_MQ] = "mq",
	[VHOST_PROTOCOL_F_LOG_SHMFD] = "log_shmfd",
	[VHOST_PROTOCOL_F_RARP] = "rarp",
	[VHOST_PROTOCOL_F_REPLY_ACK] = "reply_ack",
	[VHOST_PROTOCOL_F_NET_MTU] = "net_mtu",
	[VHOST_PROTOCOL_F_BACKEND_REQ] = "backend_req",
	[VHOST_PROTOCOL_F_RESET_DEVICE] = "reset_device",
	[VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS] = "configure_mem_slots",
	[VHOST_PROTOCOL_F_STATUS] = "status",
};

/* Virtio 1.2, 5.1.3.1: every segmentation bit of a direction needs that direction's checksum bit,
 * and ECN needs one of the two TSO bits. */
static const struct {
	uint8_t host;  /* feature for frames from the guest */
	uint8_t guest; /* and to it */
	uint32_t offload;
} offloads[] = {
	{ VHOST_F_HOST_TSO4, VHOST_F_GUEST_TSO4, OFFLOAD_TSO4 },
	{ VHOST_F_HOST_TSO6, VHOST_F_GUEST_TSO6, OFFLOAD_TSO6 },
	{ VHOST_F_HOST_ECN, VHOST_F_GUEST_ECN, OFFLOAD_TSO_ECN },
	{ VHOST_F_HOST_UFO, VHOST_F_GUEST_UFO, OFFLOAD_UFO },
	{ VHOST_F_HOST_USO, VHOST_F_GUEST_USO4, OFFLOAD_USO4 },
	{ VHOST_F_HOST_USO, VHOST_F_GUEST_USO6, OFFLOAD_USO6 },
};

static uint32_t offloads_from_guest(uint64_t negotiated);
static uint32_t offloads_to_guest(uint64_t negotiated);

const char *vhost_feature_name(unsigned bit)
{
	return bit < 64 ? features[bit].name : NULL;
}

const char *vhost_protocol_feature_name(unsigned bit)
{
	return bit < 64 ? protocol_features[bit] : NULL;
}

uint64_t vhost_supported_features(void)
{
	return vhost_features_offered(VHOST_FRONTEND_DEVICE, VHOST_QUEUE_PAIRS_MAX);
}

uint64_t vhost_features_offered(enum vhost_frontend frontend, uint16_t queue_pairs)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 64; i++) {
		switch (features[i].offered) {
		case NEVER:
			continue;
		case ALWAYS:
			break;
		case TO_DEVICES:
			if (frontend != VHOST_FRONTEND_DEVICE)
				continue;
			break;
		case WITH_PAIRS:
			if (queue_pairs < 2)
				continue;
			break;
		}
		bits |= VHOST_BIT(i);
	}
	return bits;
}

uint64_t vhost_protocol_features_offered(void)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 64; i++) {
		if (protocol_features[i] != NULL)
			bits |= VHOST_BIT(i);
	}
	return bits;
}

void vhost_features_apply(uint64_t negotiated, struct virtqueue *vq)
{
	vq->mergeable = (negotiated & VHOST_BIT(VHOST_F_MRG_RXBUF)) != 0;
	vq->indirect = (negotiated & VHOST_BIT(VHOST_F_INDIRECT_DESC)) != 0;
	vq->event_idx = (negotiated & VHOST_BIT(VHOST_F_EVENT_IDX)) != 0;
	vq->in_order = (negotiated & VHOST_BIT(VHOST_F_IN_ORDER)) != 0;
	vq->ops = virtqueue_ops_best((negotiated & VHOST_BIT(VHOST_F_RING_PACKED)) != 0
					 ? VIRTQUEUE_PACKED
					 : VIRTQUEUE_SPLIT);
	/* Virtio 1.2, 5.1.6.1: legacy drivers have num_buffers only with mergeable buffers. */
	vq->header_size = VNET_HEADER_LEGACY;
	if (vq->mergeable || (negotiated & VHOST_BIT(VHOST_F_VERSION_1)) != 0)
		vq->header_size = VNET_HEADER_SIZE;
	vq->offloads_from_guest = offloads_from_guest(negotiated);
	vq->offloads_to_guest = offloads_to_guest(negotiated);
}

static uint32_t offloads_from_guest(uint64_t negotiated)
{
	/* The legacy GSO bit stood for all that existed then. */
	const uint32_t legacy = OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN | OFFLOAD_UFO;
	uint32_t result = OFFLOAD_CSUM;

	if ((negotiated & VHOST_BIT(VHOST_F_CSUM)) == 0)
		return 0;
	if ((negotiated & VHOST_BIT(VHOST_F_GSO)) != 0)
		result |= legacy;
	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
		if ((negotiated & VHOST_BIT(offloads[i].host)) != 0)
			result |= offloads[i].offload;
	}
	if ((result & (OFFLOAD_TSO4 | OFFLOAD_TSO6)) == 0)
		result &= ~(uint32_t)OFFLOAD_TSO_ECN;
	return result;
}

static uint32_t offloads_to_guest(uint64_t negotiated)
{
	uint32_t result = OFFLOAD_CSUM;

	if ((negotiated & VHOST_BIT(VHOST_F_GUEST_CSUM)) == 0)
		return 0;
	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
		if ((negotiated & VHOST_BIT(offloads[i].guest)) != 0)
			result |= offloads[i].offload;
	}
	if ((result & (OFFLOAD_TSO4 | OFFLOAD_TSO6)) == 0)
		result &= ~(uint32_t)OFFLOAD_TSO_ECN;
	return result;
}
