/* Starting and stopping the queues of a device: when a ring may run, where it lies in our memory,
 * and how workers leave it. Called by protocol.c around each message and by device.c. Control
 * thread. */
#include "vhost-user/ring.h"

#include "vhost-user/foreign_fd.h"
#include "vhost-user/notifier.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

static bool ring_can_run(const struct vhost_device *device, const struct ring *ring);
static void ring_start(struct vhost_device *device, struct ring *ring);
static bool ring_is_running(const struct ring *ring);

bool ring_locate(const struct vhost_device *device, const struct ring *ring,
		 struct ring_parts *parts)
{
	const struct vhost_ring_address *address = &ring->address;
	uint64_t size = ring->size;
	/* Virtio 1.2, 2.8: two event areas instead of rings. */
	bool packed = session_is_packed(&device->session);
	uint64_t align = packed ? 4 : 2;
	/* 2.7: both rings end with an event field when that is negotiated. */
	uint64_t event = (device->session.features & VHOST_BIT(VHOST_F_EVENT_IDX)) != 0 ? 2 : 0;

	parts->descriptors = guest_memory_at_user(device->memory, address->descriptors, 16 * size);
	parts->available = guest_memory_at_user(device->memory, address->available,
						packed ? 4 : 4 + 2 * size + event);
	parts->used =
	    guest_memory_at_user(device->memory, address->used, packed ? 4 : 4 + 8 * size + event);
	/* The frontend's addresses are aligned, but its file offsets may not be. */
	return parts->descriptors != NULL && parts->available != NULL && parts->used != NULL &&
	       (uintptr_t)parts->descriptors % 16 == 0 &&
	       (uintptr_t)parts->available % align == 0 && (uintptr_t)parts->used % 4 == 0;
}

void rings_stop(struct vhost_device *device, uint32_t first, uint32_t count)
{
	uint64_t stopped[(2 * VHOST_QUEUE_PAIRS_MAX + 63) / 64] = { 0 };
	bool any = false;

	for (uint32_t i = first; i < first + count; i++) {
		struct virtqueue *vq = &device->rings[i].vq;

		if (!ring_is_running(&device->rings[i]))
			continue;
		device->callbacks.queue_stopping(device->owner, vq);
		/* Partner: the workers' acquire load before they enter a queue. */
		atomic_store_explicit(&vq->running, false, memory_order_release);
		stopped[i / 64] |= 1ull << (i % 64);
		any = true;
	}
	if (!any)
		return;
	device->callbacks.grace_period(device->owner);
	for (uint32_t i = first; i < first + count; i++) {
		if ((stopped[i / 64] & (1ull << (i % 64))) != 0)
			virtqueue_flush(&device->rings[i].vq);
	}
}

void rings_settle(struct vhost_device *device)
{
	bool to_guest = false, from_guest = false;

	for (uint32_t i = 0; i < device->ring_count; i++) {
		struct ring *ring = &device->rings[i];

		if (!ring_is_running(ring) && ring_can_run(device, ring))
			ring_start(device, ring);
		if (ring_is_running(ring)) {
			to_guest |= i % 2 == 0;
			from_guest |= i % 2 == 1;
		}
	}
	if (device->link != (to_guest && from_guest)) {
		device->link = to_guest && from_guest;
		device->callbacks.link_changed(device->owner, device->link);
	}
}

void rings_reset(struct vhost_device *device)
{
	for (uint32_t i = 0; i < device->ring_count; i++) {
		struct ring *ring = &device->rings[i];

		ring->size = 0;
		ring->addressed = false;
		ring->kicked = false;
		ring->has_run = false;
		ring->enable = RING_ENABLE_UNSAID;
		ring->failure_reported = false;
		ring->vq.memory = NULL;
		ring->vq.log = NULL;
		ring->vq.last_available = 0;
		ring->vq.last_used = 0;
		ring->position = VIRTQUEUE_PACKED_START;
		ring_clear_fault(ring);
	}
}

void rings_close_fds(struct vhost_device *device)
{
	for (uint32_t i = 0; i < device->ring_count; i++) {
		struct virtqueue *vq = &device->rings[i].vq;

		foreign_fd_close(vq->kick_fd);
		vq->kick_fd = -1;
		/* The queue is stopped: no worker loads it. */
		foreign_fd_close(atomic_exchange_explicit(&vq->call_fd, -1, memory_order_relaxed));
		foreign_fd_close(vq->error_fd);
		vq->error_fd = -1;
	}
}

void ring_set_call_fd(struct vhost_device *device, struct ring *ring, int fd)
{
	/* Partner: the acquire load in virtqueue_call(). */
	int old = atomic_exchange_explicit(&ring->vq.call_fd, fd, memory_order_acq_rel);

	if (ring_is_running(ring)) {
		if (old >= 0)
			device->callbacks.grace_period(device->owner);
		/* A call that was due before the guest could be called. One too many is
		 * harmless. */
		virtqueue_call(&ring->vq);
	}
	foreign_fd_close(old);
}

void ring_clear_fault(struct ring *ring)
{
	/* The queue is stopped: workers see it after the release of `running`. */
	atomic_store_explicit(&ring->vq.fault, VIRTQUEUE_OK, memory_order_relaxed);
	ring->vq.fault_reported = false;
}

void rings_check_faults(struct vhost_device *device)
{
	static const char *const texts[] = {
		[VIRTQUEUE_FAULT_INDEX] = "the guest offers more entries than the ring has",
		[VIRTQUEUE_FAULT_CHAIN] = "the guest offers a chain without an end",
		[VIRTQUEUE_FAULT_MEMORY] = "its memory is gone",
	};

	for (uint32_t i = 0; i < device->ring_count; i++) {
		struct virtqueue *vq = &device->rings[i].vq;
		/* Partner: the worker's relaxed store when it gives the ring up. */
		uint32_t fault = atomic_load_explicit(&vq->fault, memory_order_relaxed);
		char text[128];

		if (fault == VIRTQUEUE_OK || vq->fault_reported)
			continue;
		vq->fault_reported = true;
		rings_stop(device, i, 1);
		snprintf(text, sizeof(text), "queue %u is broken: %s", i,
			 fault < sizeof(texts) / sizeof(texts[0]) ? texts[fault] : "?");
		device_note_error(device, text);
		if (vq->error_fd >= 0)
			(void)notifier_signal(vq->error_fd);
	}
	rings_settle(device);
}

static bool ring_is_running(const struct ring *ring)
{
	/* Control is the only writer. */
	return atomic_load_explicit(&ring->vq.running, memory_order_relaxed);
}

/* Vhost-user, "Ring states": a ring starts disabled where VHOST_USER_F_PROTOCOL_FEATURES was
 * acknowledged. User Mode Linux acknowledges it and yet enables no ring; it is a driver right
 * behind the socket, and knows nothing of the protocol feature MQ, without which network backends
 * have always taken rings as enabled ("Multiple queue support"). */
static bool ring_is_enabled(const struct vhost_device *device, const struct ring *ring)
{
	const struct session *session = &device->session;

	if (ring->enable != RING_ENABLE_UNSAID)
		return ring->enable == RING_ENABLED;
	if ((session->features & VHOST_BIT(VHOST_F_PROTOCOL_FEATURES)) == 0)
		return true;
	return session->frontend == VHOST_FRONTEND_DRIVER && !session->enable_used &&
	       !session_has(session, VHOST_PROTOCOL_F_MQ);
}

static bool ring_can_run(const struct vhost_device *device, const struct ring *ring)
{
	return device->connection != NULL && device->memory != NULL &&
	       device->session.features_set && ring->kicked && ring->size != 0 && ring->addressed &&
	       ring_is_enabled(device, ring) &&
	       atomic_load_explicit(&ring->vq.fault, memory_order_relaxed) == VIRTQUEUE_OK;
}

/* Finds the ring and the memory it needs; the reason when it cannot start as it is. */
static const char *ring_prepare(struct vhost_device *device, struct ring *ring,
				struct ring_parts *parts)
{
	bool packed = session_is_packed(&device->session);
	struct virtqueue *vq = &ring->vq;

	vq->size = (uint16_t)ring->size;
	vhost_features_apply(device->session.features, vq);
	if (!packed && (ring->size & (ring->size - 1)) != 0)
		return "has a size that is no power of two";
	if (packed && (ring->position & (uint16_t)~VIRTQUEUE_PACKED_START) >= ring->size)
		return "starts outside the ring";
	if (!ring_locate(device, ring, parts))
		return "lies in no memory region";
	if (packed) {
		if (device->ring_state == NULL &&
		    ring_state_open(device->state_directory, device->path, device->name,
				    device->ring_count, &device->ring_state) != 0)
			return "has no memory";
		vq->journal = ring_state_journal(device->ring_state, vq->index, vq->size);
		if (vq->journal == NULL)
			return "has no memory";
	}
	return virtqueue_prepare(vq) != 0 ? "has no memory" : NULL;
}

static void ring_start(struct vhost_device *device, struct ring *ring)
{
	uint64_t features = device->session.features;
	struct virtqueue *vq = &ring->vq;
	struct ring_parts parts;
	const char *failure = ring_prepare(device, ring, &parts);
	char text[96];

	if (failure != NULL) {
		/* It starts when what is missing comes. */
		if (!ring->failure_reported) {
			snprintf(text, sizeof(text), "queue %u %s", vq->index, failure);
			device_note_error(device, text);
		}
		ring->failure_reported = true;
		return;
	}
	ring->failure_reported = false;
	vq->memory = device->memory;
	vq->log = (features & VHOST_BIT(VHOST_F_LOG_ALL)) != 0 ? device->log : NULL;
	vq->log_used = (ring->address.flags & VHOST_VRING_FLAG_LOG) != 0;
	vq->log_used_address = ring->address.log;
	vq->descriptors = parts.descriptors;
	vq->available = parts.available;
	vq->used = parts.used;
	if (session_is_packed(&device->session)) {
		/* It lies in a region: ring_locate() found it. */
		guest_memory_guest_address(vq->memory, vq->descriptors,
					   &vq->log_descriptors_address);
		virtqueue_packed_resume(vq, ring->address.descriptors, ring->position);
	} else {
		virtqueue_split_resume(vq);
	}
	ring->has_run = true;
	/* An interrupt may have been lost with whoever served this ring before. */
	virtqueue_call(vq);
	/* Partner: the workers' acquire load; everything above is theirs from here. */
	atomic_store_explicit(&vq->running, true, memory_order_release);
	device->callbacks.queue_started(device->owner, vq);
}
