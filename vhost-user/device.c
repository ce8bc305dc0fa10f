/* The life of a vhost-user device (device.h): made with its port, connected and disconnected any
 * number of times, destroyed with its port. Joins socket.c (how a connection comes), connection.c
 * (messages), protocol.c (what they do) and ring.c (queues). Control thread. */
#include "vhost-user/device.h"

#include "base/log.h"
#include "vhost-user/device_state.h"
#include "vhost-user/foreign_fd.h"
#include "vhost-user/ring.h"

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A frontend that misbehaves, or comes and goes, in a loop must not fill the log. */
#define LOG_SECONDS 10
#define LOG_LINES   20u

static void device_on_connected(void *owner, int fd);
static int device_on_message(void *owner, struct vhost_message *message, struct error *error);
static void device_on_closed(void *owner, int rc, const char *reason);
static void device_disconnect(struct vhost_device *device);
static bool device_may_log(struct vhost_device *device);

static const struct connection_callbacks connection_callbacks = {
	.message = device_on_message,
	.closed = device_on_closed,
};

int vhost_device_create(struct event_base *loop, const struct vhost_device_config *config,
			const struct vhost_device_callbacks *callbacks, void *owner,
			struct vhost_device **out, struct error *error)
{
	struct vhost_device *device;
	int rc;

	if (config->queue_pairs == 0 || config->queue_pairs > VHOST_QUEUE_PAIRS_MAX)
		return error_set(error, EINVAL, "%u queues, 1 to %u are allowed",
				 config->queue_pairs, VHOST_QUEUE_PAIRS_MAX);
	device = calloc(1, sizeof(*device));
	if (device == NULL)
		return error_set(error, ENOMEM, "out of memory");
	device->loop = loop;
	device->callbacks = *callbacks;
	device->owner = owner;
	device->queue_pairs = config->queue_pairs;
	device->log_fd = -1;
	device->backend_fd = -1;
	device->name = strdup(config->name);
	device->path = strdup(config->path);
	if (config->state_directory != NULL)
		device->state_directory = strdup(config->state_directory);
	device->rings = calloc(2u * config->queue_pairs, sizeof(device->rings[0]));
	if (device->name == NULL || device->path == NULL || device->rings == NULL ||
	    (config->state_directory != NULL && device->state_directory == NULL)) {
		rc = error_set(error, ENOMEM, "out of memory");
		goto fail;
	}
	device->ring_count = 2u * config->queue_pairs;
	for (uint32_t i = 0; i < device->ring_count; i++) {
		struct virtqueue *vq = &device->rings[i].vq;

		vq->index = (uint16_t)i;
		device->rings[i].position = VIRTQUEUE_PACKED_START;
		vq->ops = virtqueue_ops_best(VIRTQUEUE_SPLIT);
		vq->kick_fd = -1;
		vq->error_fd = -1;
		atomic_init(&vq->call_fd, -1);
	}
	rc = vhost_socket_create(loop, device->name, config, device_on_connected, device,
				 &device->socket, error);
	if (rc < 0)
		goto fail;
	*out = device;
	return 0;

fail:
	vhost_device_destroy(device);
	return rc;
}

void vhost_device_destroy(struct vhost_device *device)
{
	if (device == NULL)
		return;
	if (device->connection != NULL)
		device_disconnect(device);
	vhost_socket_destroy(device->socket);
	for (uint32_t i = 0; i < device->ring_count; i++)
		virtqueue_release(&device->rings[i].vq);
	ring_state_close(device->ring_state);
	free(device->rings);
	free(device->state_directory);
	free(device->path);
	free(device->name);
	free(device);
}

struct virtqueue *vhost_device_queue(struct vhost_device *device, uint32_t index)
{
	return &device->rings[index].vq;
}

uint32_t vhost_device_queue_count(const struct vhost_device *device)
{
	return device->ring_count;
}

void vhost_device_check_faults(struct vhost_device *device)
{
	const char *reason = NULL;

	if (device->connection == NULL)
		return;
	if (guest_memory_faulted(device->memory))
		reason = "guest memory truncated by the frontend";
	else if (dirty_log_faulted(device->log))
		reason = "dirty log truncated by the frontend";
	if (reason == NULL) {
		rings_check_faults(device);
		return;
	}
	device_on_closed(device, -EFAULT, reason);
}

void vhost_device_get_status(const struct vhost_device *device, struct vhost_device_status *status)
{
	const struct guest_memory *memory = device->memory;

	*status = (struct vhost_device_status){
		.connected = device->connection != NULL,
		.features = device->session.features,
		.protocol_features = device->session.protocol_features,
		.memory_regions = memory != NULL ? memory->region_count : 0,
		.device_status = device->session.status,
		.mtu = device->mtu,
		.logging = device->log != NULL &&
			   (device->session.features & VHOST_BIT(VHOST_F_LOG_ALL)) != 0,
		.connects = device->connects,
		.disconnects = device->disconnects,
		.message_errors = device->message_errors,
		.last_error = device->last_error,
	};
	for (uint32_t i = 0; i < status->memory_regions; i++)
		status->memory_size += memory->regions[i].size;
}

void device_note_error(struct vhost_device *device, const char *text)
{
	snprintf(device->last_error, sizeof(device->last_error), "%s", text);
	device->message_errors++;
	if (device_may_log(device))
		log_warning("port %s: %s", device->name, text);
}

static void device_on_connected(void *owner, int fd)
{
	struct vhost_device *device = owner;
	int rc;

	rc =
	    connection_create(device->loop, fd, &connection_callbacks, device, &device->connection);
	if (rc < 0) {
		device_note_error(device, "out of memory for a connection");
		vhost_socket_resume(device->socket);
		return;
	}
	/* What went wrong before is no fault of this frontend's. */
	device->last_error[0] = '\0';
	device->connects++;
	if (device_may_log(device))
		log_info("port %s: frontend connected", device->name);
}

static int device_on_message(void *owner, struct vhost_message *message, struct error *error)
{
	/* Whatever they are for: they would have to be closed some day. */
	if (message->fd_count > 0 && foreign_fd_overloaded())
		return error_set(error, EMFILE,
				 "too many descriptors that frontends sent wait to be closed");
	return vhost_protocol_dispatch(owner, message, error);
}

static void device_on_closed(void *owner, int rc, const char *reason)
{
	struct vhost_device *device = owner;

	if (rc < 0)
		device_note_error(device, reason);
	device_disconnect(device);
	if (device_may_log(device))
		log_info("port %s: %s", device->name,
			 rc < 0 ? "connection closed" : "frontend disconnected");
	vhost_socket_resume(device->socket);
}

/* Back to the state before the connection. The guest finds everything that was taken from it
 * returned. */
static void device_disconnect(struct vhost_device *device)
{
	rings_stop(device, 0, device->ring_count);
	connection_destroy(device->connection);
	device->connection = NULL;
	rings_settle(device);
	rings_reset(device);
	rings_close_fds(device);
	foreign_fd_close(device->backend_fd);
	device->backend_fd = -1;
	dirty_log_close(device->log);
	device->log = NULL;
	foreign_fd_close(device->log_fd);
	device->log_fd = -1;
	guest_memory_release(device->memory);
	device->memory = NULL;
	device->session = (struct session){ .frontend = VHOST_FRONTEND_DEVICE };
	device->mtu = 0;
	device->disconnects++;
}

static bool device_may_log(struct vhost_device *device)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (device->log_lines == 0 || now.tv_sec - device->log_window >= LOG_SECONDS) {
		device->log_window = now.tv_sec;
		device->log_lines = 0;
	}
	if (device->log_lines > LOG_LINES)
		return false;
	if (device->log_lines++ < LOG_LINES)
		return true;
	log_warning("port %s: more of this is not logged for %d seconds", device->name,
		    LOG_SECONDS);
	return false;
}
