/* Handlers of requests about one queue. Called through the table in protocol.c: the queue's index
 * is in range, and the queue is quiet unless the table says otherwise. Whatever a handler changes,
 * the queue is started afterwards if it can run (rings_settle). Control thread. */
#include "vhost-user/device_state.h"
#include "vhost-user/foreign_fd.h"
#include "vhost-user/notifier.h"
#include "vhost-user/ring.h"

#include <errno.h>

static struct ring *state_ring(struct vhost_device *device, const struct vhost_message *message)
{
	return &device->rings[message->payload.state.index];
}

static struct ring *fd_ring(struct vhost_device *device, const struct vhost_message *message)
{
	return &device->rings[message->payload.number & VHOST_VRING_INDEX_MASK];
}

/* A ring that has run is being set up anew: its old kick does not start it before the frontend is
 * done. */
static void ring_set_up(struct ring *ring)
{
	if (ring->has_run)
		ring->kicked = false;
}

/* Takes the message's fd out, one we shall signal; *fd is -1 when the message says there is none.
 */
static int take_notifier(struct vhost_message *message, int *fd, struct error *error)
{
	int rc;

	*fd = vhost_message_take_fd(message, 0);
	if (*fd < 0)
		return 0;
	rc = notifier_own(fd, error);
	if (rc < 0)
		foreign_fd_close(*fd);
	return rc;
}

/* The same for one that is only waited for, and never read or written. */
static int take_kick(struct vhost_message *message, int *fd, struct error *error)
{
	int rc;

	*fd = vhost_message_take_fd(message, 0);
	if (*fd < 0)
		return 0;
	rc = notifier_check(*fd, error);
	if (rc < 0)
		foreign_fd_close(*fd);
	return rc;
}

VHOST_HANDLER(set_vring_num)
{
	struct ring *ring = state_ring(device, message);
	uint32_t size = message->payload.state.number;

	/* Virtio 1.2, 2.7 and 2.8.10.1. */
	if (size == 0 || size > VIRTQUEUE_SIZE_MAX ||
	    (!session_is_packed(&device->session) && (size & (size - 1)) != 0))
		return error_set(error, EINVAL,
				 "queue %u: a size of %u, powers of two from 1 to %u are allowed "
				 "(of a packed ring, any number)",
				 ring->vq.index, size, VIRTQUEUE_SIZE_MAX);
	ring_set_up(ring);
	ring->size = size;
	return 0;
}

VHOST_HANDLER(set_vring_addr)
{
	const struct vhost_ring_address *address = &message->payload.address;
	struct ring *ring = &device->rings[address->index];
	uint64_t align = session_is_packed(&device->session) ? 4 : 2;
	struct ring_parts parts;

	ring->addressed = false;
	if (address->descriptors % 16 != 0 || address->available % align != 0 ||
	    address->used % 4 != 0)
		return error_set(error, EINVAL, "queue %u: misaligned", ring->vq.index);
	if ((address->flags & ~VHOST_VRING_FLAG_LOG) != 0)
		return error_set(error, EINVAL, "queue %u: unknown flags 0x%x", ring->vq.index,
				 address->flags);
	ring->address = *address;
	if (device->memory != NULL && ring->size != 0 && !ring_locate(device, ring, &parts))
		return error_set(error, EINVAL, "queue %u lies in no memory region",
				 ring->vq.index);
	ring->addressed = true;
	ring->failure_reported = false;
	return 0;
}

/* The position of a packed ring, with its wrap counter (vhost-user, "Vring state"). QEMU says it
 * twice, the upper half being of the used descriptors: what lies between was never returned, so
 * that is where to go on. DPDK's virtio-user says it once, User Mode Linux not at all. */
static uint16_t packed_position(const struct session *session, uint32_t base)
{
	if (base == 0 && session->frontend == VHOST_FRONTEND_DRIVER)
		return VIRTQUEUE_PACKED_START;
	return (uint16_t)(base > UINT16_MAX ? base >> 16 : base);
}

/* The position is the one before the ring first runs; then it comes from guest memory
 * (virtqueue_split_resume) or the journal (virtqueue_packed_resume). */
VHOST_HANDLER(set_vring_base)
{
	struct ring *ring = state_ring(device, message);
	uint32_t base = message->payload.state.number;

	ring->failure_reported = false;
	if (session_is_packed(&device->session))
		ring->position = base = packed_position(&device->session, base);
	if (base > UINT16_MAX)
		return error_set(error, EINVAL, "queue %u: a position of %u", ring->vq.index, base);
	ring_set_up(ring);
	ring->vq.last_available = (uint16_t)base;
	ring->vq.last_used = (uint16_t)base;
	return 0;
}

/* Stops the ring. From now on the frontend knows where it stands. */
VHOST_HANDLER(get_vring_base)
{
	struct ring *ring = state_ring(device, message);

	(void)error;
	ring->kicked = false;
	message->payload.state.number = ring->vq.last_available;
	message->header.size = sizeof(message->payload.state);
	if (session_is_packed(&device->session)) {
		message->payload.state.number |= (uint32_t)ring->vq.last_used << 16;
		ring->position = ring->vq.last_used;
		virtqueue_packed_forget(&ring->vq);
	}
	return 0;
}

/* Starts the ring. */
VHOST_HANDLER(set_vring_kick)
{
	struct ring *ring = fd_ring(device, message);
	int fd, rc;

	rc = take_kick(message, &fd, error);
	if (rc < 0)
		return rc;
	foreign_fd_close(ring->vq.kick_fd);
	ring->vq.kick_fd = fd;
	ring->kicked = true;
	ring->has_run = false;
	ring_clear_fault(ring);
	return 0;
}

/* At any time: the ring goes on meanwhile. */
VHOST_HANDLER(set_vring_call)
{
	int fd, rc;

	rc = take_notifier(message, &fd, error);
	if (rc < 0)
		return rc;
	ring_set_call_fd(device, fd_ring(device, message), fd);
	return 0;
}

/* Only control uses it. */
VHOST_HANDLER(set_vring_err)
{
	struct ring *ring = fd_ring(device, message);
	int fd, rc;

	rc = take_notifier(message, &fd, error);
	if (rc < 0)
		return rc;
	foreign_fd_close(ring->vq.error_fd);
	ring->vq.error_fd = fd;
	return 0;
}

/* May come before everything else (QEMU), and again while the ring runs: only a change stops it. */
VHOST_HANDLER(set_vring_enable)
{
	struct ring *ring = state_ring(device, message);
	uint32_t number = message->payload.state.number;

	if (number > 1)
		return error_set(error, EINVAL, "queue %u: neither on nor off: %u", ring->vq.index,
				 number);
	device->session.enable_used = true;
	ring->enable = number == 1 ? RING_ENABLED : RING_DISABLED;
	if (ring->enable == RING_DISABLED)
		rings_stop(device, ring->vq.index, 1);
	return 0;
}
