/* One ring of a device: where it lies, and its small changes. Control thread. */
#ifndef WEFT_VHOST_USER_RING_H
#define WEFT_VHOST_USER_RING_H

#include "vhost-user/device_state.h"

/* Host addresses; of a packed ring: the descriptors, the driver's event area, the device's. */
struct ring_parts {
	void *descriptors;
	void *available;
	void *used;
};

/* Translates the addresses of SET_VRING_ADDR; the size must be known. False when a part is not, or
 * not wholly, inside one region, or ends up misaligned. */
bool ring_locate(const struct vhost_device *device, const struct ring *ring,
		 struct ring_parts *parts);

/* A ring's new fd for calls (-1: none), now the ring's; the ring may run meanwhile. */
void ring_set_call_fd(struct vhost_device *device, struct ring *ring, int fd);

/* A broken ring gets a new chance; stopped. */
void ring_clear_fault(struct ring *ring);

/* Stops those of the rings [first, first + count) that run: one grace period for all, used entries
 * flushed, guests called. Says nothing about the link: rings_settle() does. */
void rings_stop(struct vhost_device *device, uint32_t first, uint32_t count);

/* Starts every ring that can run and does not, and reports a change of the link. */
void rings_settle(struct vhost_device *device);

/* Stopped rings: forget everything the frontend said, but its file descriptors. */
void rings_reset(struct vhost_device *device);

/* Stopped rings: close their file descriptors. */
void rings_close_fds(struct vhost_device *device);

/* Stops rings that a worker found broken, and tells the frontend through the error fd. */
void rings_check_faults(struct vhost_device *device);

#endif
