/* Handlers of requests about memory: the guest's regions, the dirty log. Called through the table
 * in protocol.c with all queues quiet (a grace period has passed): what is replaced here is used by
 * nobody, and every ring is located again when it starts. Control thread. */
#include "vhost-user/device_state.h"
#include "vhost-user/foreign_fd.h"
#include "vhost-user/notifier.h"

#include <errno.h>
#include <stddef.h>

static struct guest_memory_region_request region_request(const struct vhost_region *region)
{
	return (struct guest_memory_region_request){
		.guest_address = region->guest_address,
		.size = region->size,
		.user_address = region->user_address,
		.mmap_offset = region->mmap_offset,
	};
}

static void memory_replace(struct vhost_device *device, struct guest_memory *memory)
{
	guest_memory_release(device->memory);
	device->memory = memory;
	for (uint32_t i = 0; i < device->ring_count; i++)
		device->rings[i].vq.memory = NULL;
}

VHOST_HANDLER(set_mem_table)
{
	const struct vhost_memory_table *table = &message->payload.memory;
	struct guest_memory_region_request requests[VHOST_MESSAGE_REGIONS];
	int fds[VHOST_MESSAGE_REGIONS];
	struct guest_memory *memory;
	int rc;

	/* The number of fds equals the count, so it is no more than the message can hold. Frontends
	 * may send room for more regions than they fill (User Mode Linux). */
	if (table->count > VHOST_MESSAGE_REGIONS ||
	    message->header.size < offsetof(struct vhost_memory_table, regions) +
				       table->count * sizeof(table->regions[0]))
		return error_set(error, EINVAL, "%u regions in %u bytes", table->count,
				 message->header.size);
	for (uint32_t i = 0; i < table->count; i++) {
		requests[i] = region_request(&table->regions[i]);
		fds[i] = vhost_message_take_fd(message, i);
	}
	rc = guest_memory_create(requests, fds, table->count, &memory, error);
	if (rc < 0)
		return rc;
	memory_replace(device, memory);
	return 0;
}

VHOST_HANDLER(get_max_mem_slots)
{
	(void)device;
	(void)error;
	message->payload.number = GUEST_MEMORY_REGIONS_MAX;
	message->header.size = sizeof(message->payload.number);
	return 0;
}

VHOST_HANDLER(add_mem_reg)
{
	struct guest_memory_region_request request = region_request(&message->payload.slot.region);
	struct guest_memory *memory;
	int rc;

	rc = guest_memory_add(device->memory, &request, vhost_message_take_fd(message, 0), &memory,
			      error);
	if (rc < 0)
		return rc;
	memory_replace(device, memory);
	return 0;
}

/* Some frontends send the region's fd once more: it is closed with the message. */
VHOST_HANDLER(rem_mem_reg)
{
	struct guest_memory_region_request request = region_request(&message->payload.slot.region);
	struct guest_memory *memory;
	int rc;

	rc = guest_memory_remove(device->memory, &request, &memory, error);
	if (rc < 0)
		return rc;
	memory_replace(device, memory);
	return 0;
}

VHOST_HANDLER(set_log_base)
{
	const struct vhost_log_area *area = &message->payload.log;
	struct dirty_log *log;
	int rc;

	rc = dirty_log_open(vhost_message_take_fd(message, 0), area->size, area->offset, &log,
			    error);
	if (rc < 0)
		return rc;
	dirty_log_close(device->log);
	device->log = log;
	return 0;
}

/* An eventfd the backend may use to say that the log has changed. The log itself says so: the fd is
 * kept for the frontend's sake and not written. */
VHOST_HANDLER(set_log_fd)
{
	int fd = vhost_message_take_fd(message, 0);
	int rc = notifier_check(fd, error);

	if (rc < 0) {
		foreign_fd_close(fd);
		return rc;
	}
	foreign_fd_close(device->log_fd);
	device->log_fd = fd;
	return 0;
}
