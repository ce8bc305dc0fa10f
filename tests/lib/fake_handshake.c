/* The requests of the fake guest (fake_guest.h) and the orders in which real frontends send them.
 * On the thread of the test. */
#include "tests/lib/fake_guest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TABLE_REGIONS_MAX 8u
#define STATUS_DRIVER_OK  15u
#define UML_PROTOCOL_FEATURES                                                                      \
	(FAKE_BIT(FAKE_PROTOCOL_REPLY_ACK) | FAKE_BIT(FAKE_PROTOCOL_BACKEND_REQ))

struct region_payload {
	uint64_t guest_address, size, user_address, offset;
};

int fake_guest_set_u64(struct fake_guest *guest, uint32_t request, uint64_t value)
{
	return fake_guest_request(guest, request, &value, sizeof(value), NULL, 0);
}

int fake_guest_get_u64(struct fake_guest *guest, uint32_t request, uint64_t *value)
{
	return fake_guest_query(guest, request, NULL, 0, value, sizeof(*value));
}

int fake_guest_get_features(struct fake_guest *guest)
{
	return fake_guest_get_u64(guest, FAKE_GET_FEATURES, &guest->offered);
}

/* GET_ and SET_PROTOCOL_FEATURES, and what the outcome lets us ask. */
int fake_guest_negotiate_protocol(struct fake_guest *guest, uint64_t wanted)
{
	uint64_t features;
	int rc;

	if ((guest->offered & FAKE_BIT(FAKE_F_PROTOCOL_FEATURES)) == 0)
		return 0;
	rc = fake_guest_get_u64(guest, FAKE_GET_PROTOCOL_FEATURES, &guest->protocol_offered);
	if (rc != 0)
		return rc;
	features = guest->protocol_offered & wanted;
	rc = fake_guest_set_u64(guest, FAKE_SET_PROTOCOL_FEATURES, features);
	if (rc != 0)
		return rc;
	guest->protocol_features = features;
	if ((features & FAKE_BIT(FAKE_PROTOCOL_MQ)) != 0)
		rc = fake_guest_get_u64(guest, FAKE_GET_QUEUE_NUM, &guest->max_queues);
	if (rc == 0 && (features & FAKE_BIT(FAKE_PROTOCOL_CONFIGURE_MEM_SLOTS)) != 0)
		rc = fake_guest_get_u64(guest, FAKE_GET_MAX_MEM_SLOTS, &guest->max_slots);
	return rc;
}

int fake_guest_set_owner(struct fake_guest *guest)
{
	return fake_guest_request(guest, FAKE_SET_OWNER, NULL, 0, NULL, 0);
}

int fake_guest_set_features(struct fake_guest *guest, uint64_t features)
{
	if (guest->options.packed)
		features |= guest->offered & FAKE_BIT(FAKE_F_RING_PACKED);
	if (guest->options.packed && (features & FAKE_BIT(FAKE_F_RING_PACKED)) == 0)
		return -EOPNOTSUPP;
	guest->features = features;
	guest->header_size =
	    (features & (FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_MRG_RXBUF))) != 0 ? 12 : 10;
	for (uint32_t i = 0; i < guest->queue_count; i++) {
		struct fake_ring *ring = &guest->queues[i].ring;

		ring->event_idx = (features & FAKE_BIT(FAKE_F_EVENT_IDX)) != 0;
		ring->in_order = (features & FAKE_BIT(FAKE_F_IN_ORDER)) != 0;
	}
	return fake_guest_set_u64(guest, FAKE_SET_FEATURES, features);
}

int fake_guest_set_backend_fd(struct fake_guest *guest)
{
	int pair[2], rc;

	if ((guest->protocol_features & FAKE_BIT(FAKE_PROTOCOL_BACKEND_REQ)) == 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	if (guest->backend_fd >= 0)
		close(guest->backend_fd);
	guest->backend_fd = pair[0];
	rc = fake_guest_request(guest, FAKE_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	return rc;
}

int fake_guest_set_state(struct fake_guest *guest, uint32_t request, uint32_t queue, uint32_t value)
{
	uint32_t payload[2] = { queue, value };

	return fake_guest_request(guest, request, payload, sizeof(payload), NULL, 0);
}

int fake_guest_set_fd(struct fake_guest *guest, uint32_t request, uint32_t queue, int fd)
{
	uint64_t payload = queue | (fd < 0 ? FAKE_NO_FD : 0);

	return fake_guest_request(guest, request, &payload, sizeof(payload), &fd, fd < 0 ? 0 : 1);
}

int fake_guest_set_address(struct fake_guest *guest, uint32_t index)
{
	const struct fake_queue *queue = &guest->queues[index];
	struct {
		uint32_t index, flags;
		uint64_t descriptors, used, available, log;
	} payload = {
		.index = index,
		.flags = queue->address_flags,
		.descriptors = fake_memory_user(&guest->memory, queue->descriptors),
		.used = fake_memory_user(&guest->memory, queue->used),
		.available = fake_memory_user(&guest->memory, queue->available),
		.log = queue->log_address,
	};

	return fake_guest_request(guest, FAKE_SET_VRING_ADDR, &payload, sizeof(payload), NULL, 0);
}

int fake_guest_setup_queue(struct fake_guest *guest, uint32_t index, uint32_t base)
{
	struct fake_queue *queue = &guest->queues[index];
	int rc = fake_guest_set_state(guest, FAKE_SET_VRING_NUM, index, queue->ring.size);

	if (rc == 0)
		rc = fake_guest_set_state(guest, FAKE_SET_VRING_BASE, index, base);
	if (rc == 0)
		rc = fake_guest_set_address(guest, index);
	return rc;
}

int fake_guest_enable(struct fake_guest *guest, uint32_t queue, uint32_t enable)
{
	return fake_guest_set_state(guest, FAKE_SET_VRING_ENABLE, queue, enable);
}

int fake_guest_get_base(struct fake_guest *guest, uint32_t queue, uint32_t *base)
{
	uint32_t payload[2] = { queue, 0 }, reply[2];
	int rc = fake_guest_query(guest, FAKE_GET_VRING_BASE, payload, sizeof(payload), reply,
				  sizeof(reply));

	if (rc != 0)
		return rc;
	if (reply[0] != queue)
		return -EPROTO;
	/* Of a packed ring both halves: nothing is out any more. */
	if (guest->queues[queue].ring.is_packed ? reply[1] >> 16 != (reply[1] & UINT16_MAX)
						: reply[1] > UINT16_MAX)
		return -EPROTO;
	*base = reply[1];
	guest->queues[queue].base = reply[1];
	return 0;
}

static void describe_region(const struct fake_region *region, struct region_payload *payload)
{
	payload->guest_address = region->guest_address;
	payload->size = region->size;
	payload->user_address = region->user_address;
	payload->offset = region->file_offset;
}

int fake_guest_send_table(struct fake_guest *guest, uint32_t count)
{
	struct {
		uint32_t count, padding;
		struct region_payload regions[TABLE_REGIONS_MAX];
	} payload = { .count = count };
	int fds[TABLE_REGIONS_MAX];

	if (count > TABLE_REGIONS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < count; i++) {
		describe_region(&guest->memory.regions[i], &payload.regions[i]);
		fds[i] = guest->memory.regions[i].fd;
	}
	return fake_guest_request(guest, FAKE_SET_MEM_TABLE, &payload,
				  8 + count * sizeof(payload.regions[0]), fds, count);
}

int fake_guest_send_region(struct fake_guest *guest, uint32_t request, uint32_t region)
{
	struct {
		uint64_t padding;
		struct region_payload region;
	} payload = { 0 };
	const struct fake_region *from = &guest->memory.regions[region];

	describe_region(from, &payload.region);
	return fake_guest_request(guest, request, &payload, sizeof(payload), &from->fd,
				  from->fd < 0 ? 0 : 1);
}

int fake_guest_send_memory(struct fake_guest *guest)
{
	int rc = 0;

	if (guest->memory.region_count <= TABLE_REGIONS_MAX)
		return fake_guest_send_table(guest, guest->memory.region_count);
	for (uint32_t i = 0; rc == 0 && i < guest->memory.region_count; i++)
		rc = fake_guest_send_region(guest, FAKE_ADD_MEM_REG, i);
	return rc;
}

static int set_status(struct fake_guest *guest, uint8_t status)
{
	if ((guest->protocol_features & FAKE_BIT(FAKE_PROTOCOL_STATUS)) == 0)
		return 0;
	return fake_guest_set_u64(guest, FAKE_SET_STATUS, status);
}

static int set_all_fds(struct fake_guest *guest, uint32_t request)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++)
		rc =
		    fake_guest_set_fd(guest, request, i,
				      request == FAKE_SET_VRING_KICK   ? guest->queues[i].kick_fd
				      : request == FAKE_SET_VRING_CALL ? guest->queues[i].call_fd
								       : guest->queues[i].error_fd);
	return rc;
}

/* `packed`: what the frontend says of a packed ring. */
static uint32_t ring_base(const struct fake_guest *guest, uint32_t queue, uint32_t packed)
{
	const struct fake_ring *ring = &guest->queues[queue].ring;

	if (ring->is_packed)
		return packed;
	return guest->options.base == FAKE_BASE_ZERO ? 0 : fake_ring_used_index(ring);
}

static int set_up_all(struct fake_guest *guest, uint32_t packed)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++)
		rc = fake_guest_setup_queue(guest, i, ring_base(guest, i, packed));
	return rc;
}

static int enable_all(struct fake_guest *guest)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++)
		rc = fake_guest_enable(guest, i, 1);
	return rc;
}

/* hw/virtio in QEMU: protocol first; call fds and the enabling of the first pair while the guest's
 * firmware runs; the rest when the driver is ready; each ring's fds right behind its addresses. */
static int handshake_qemu(struct fake_guest *guest)
{
	int rc = fake_guest_get_features(guest);

	if (rc == 0)
		rc = fake_guest_negotiate_protocol(guest, guest->options.protocol_features);
	if (rc == 0)
		rc = fake_guest_set_backend_fd(guest);
	if (rc == 0)
		rc = fake_guest_set_owner(guest);
	if (rc == 0)
		rc = fake_guest_get_features(guest);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_CALL);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_ERR);
	if (rc == 0)
		rc = enable_all(guest);
	if (rc == 0)
		rc = fake_guest_set_features(guest, guest->offered & guest->options.features);
	if (rc == 0)
		rc = fake_guest_send_memory(guest);
	for (uint32_t i = 0; rc == 0 && i < guest->queue_count; i++) {
		rc = fake_guest_setup_queue(guest, i, ring_base(guest, i, guest->queues[i].base));
		if (rc == 0)
			rc = fake_guest_set_fd(guest, FAKE_SET_VRING_KICK, i,
					       guest->queues[i].kick_fd);
		if (rc == 0)
			rc = fake_guest_set_fd(guest, FAKE_SET_VRING_CALL, i,
					       guest->queues[i].call_fd);
	}
	if (rc == 0)
		rc = set_status(guest, STATUS_DRIVER_OK);
	return rc;
}

/* arch/um/drivers/virtio_uml.c: acknowledges PROTOCOL_FEATURES like every other bit, so by the
 * letter its rings start disabled, and yet never enables one. Of the protocol features it knows
 * these two only. */
static int handshake_uml(struct fake_guest *guest)
{
	int rc = fake_guest_set_owner(guest);

	if (rc == 0)
		rc = fake_guest_get_features(guest);
	if (rc == 0)
		rc = fake_guest_negotiate_protocol(guest, guest->options.protocol_features &
							      UML_PROTOCOL_FEATURES);
	if (rc == 0)
		rc = fake_guest_set_backend_fd(guest);
	if (rc == 0)
		rc = fake_guest_set_features(guest, guest->offered & guest->options.features);
	if (rc == 0)
		rc = fake_guest_send_memory(guest);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_CALL);
	if (rc == 0)
		rc = set_up_all(guest, 0);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_KICK);
	return rc;
}

/* drivers/net/virtio/virtio_user in DPDK. */
static int handshake_virtio_user(struct fake_guest *guest)
{
	int rc = fake_guest_set_owner(guest);

	if (rc == 0)
		rc = fake_guest_get_features(guest);
	if (rc == 0)
		rc = fake_guest_negotiate_protocol(guest, guest->options.protocol_features);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_CALL);
	if (rc == 0)
		rc = fake_guest_set_features(guest, guest->offered & guest->options.features);
	if (rc == 0)
		rc = fake_guest_send_memory(guest);
	if (rc == 0)
		rc = set_up_all(guest, 0x8000);
	if (rc == 0)
		rc = set_all_fds(guest, FAKE_SET_VRING_KICK);
	if (rc == 0)
		rc = enable_all(guest);
	if (rc == 0)
		rc = set_status(guest, STATUS_DRIVER_OK);
	return rc;
}

int fake_guest_handshake(struct fake_guest *guest, enum fake_order order)
{
	switch (order) {
	case FAKE_ORDER_QEMU:
		return handshake_qemu(guest);
	case FAKE_ORDER_UML:
		return handshake_uml(guest);
	case FAKE_ORDER_VIRTIO_USER:
		return handshake_virtio_user(guest);
	}
	return -EINVAL;
}
