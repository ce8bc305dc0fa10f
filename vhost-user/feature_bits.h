/* Virtio-net and transport feature bits: which weft offers, and what they mean for a queue. Control
 * thread, pure functions. The names are in device.h. (Not called features.h: that is a header of
 * the C library's own, which our include path would hide.) */
#ifndef WEFT_VHOST_USER_FEATURE_BITS_H
#define WEFT_VHOST_USER_FEATURE_BITS_H

#include "vhost-user/virtqueue.h"

#include <stdint.h>

/* virtio 1.2, 5.1.3 (net), 6 (reserved); vhost-user for 26 and 30. */
enum vhost_feature {
	VHOST_F_CSUM = 0,
	VHOST_F_GUEST_CSUM = 1,
	VHOST_F_MTU = 3,
	VHOST_F_GSO = 6, /* legacy: any GSO type towards us */
	VHOST_F_GUEST_TSO4 = 7,
	VHOST_F_GUEST_TSO6 = 8,
	VHOST_F_GUEST_ECN = 9,
	VHOST_F_GUEST_UFO = 10,
	VHOST_F_HOST_TSO4 = 11,
	VHOST_F_HOST_TSO6 = 12,
	VHOST_F_HOST_ECN = 13,
	VHOST_F_HOST_UFO = 14,
	VHOST_F_MRG_RXBUF = 15,
	VHOST_F_STATUS = 16,
	VHOST_F_CTRL_VQ = 17,
	VHOST_F_GUEST_ANNOUNCE = 21,
	VHOST_F_MQ = 22,
	VHOST_F_LOG_ALL = 26,
	VHOST_F_ANY_LAYOUT = 27,
	VHOST_F_INDIRECT_DESC = 28,
	VHOST_F_EVENT_IDX = 29,
	VHOST_F_PROTOCOL_FEATURES = 30,
	VHOST_F_VERSION_1 = 32,
	VHOST_F_RING_PACKED = 34,
	VHOST_F_IN_ORDER = 35,
	VHOST_F_GUEST_USO4 = 54,
	VHOST_F_GUEST_USO6 = 55,
	VHOST_F_HOST_USO = 56,
};

#define VHOST_BIT(bit) (1ull << (bit))

/* Who is at the other end of the socket. */
enum vhost_frontend {
	/* A virtual machine monitor with a virtio-net device of its own (QEMU): it answers the
	 * control queue and the configuration space, and only wants to know if we mind. */
	VHOST_FRONTEND_DEVICE,
	/* A virtio driver behind the very socket (User Mode Linux, DPDK virtio-user): it takes what
	 * we offer at its word and would look for the control queue and the configuration space at
	 * our end, where they are not. Known by SET_OWNER before the first GET_FEATURES. */
	VHOST_FRONTEND_DRIVER,
};

/* Features offered to one frontend by a device of that many queue pairs. */
uint64_t vhost_features_offered(enum vhost_frontend frontend, uint16_t queue_pairs);

uint64_t vhost_protocol_features_offered(void);

/* Sets what the negotiated features decide in a stopped queue: header size, ring options, offloads.
 */
void vhost_features_apply(uint64_t features, struct virtqueue *vq);

#endif
