/* Ports of type vhost-user: the glue between the switch's queues (port.h) and the vhost-user
 * device, its virtqueues and its callbacks. Control thread, but for receive, send, arm and disarm.
 */
#include "vswitch/port.h"

#include "base/log.h"
#include "base/numa.h"
#include "vhost-user/device.h"
#include "vhost-user/socket.h"
#include "vswitch/options.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>

static struct port_queue *queue_of(struct port *port, const struct virtqueue *vq)
{
	uint16_t pair = vq->index / 2;

	return (vq->index & 1) ? &port->receive_queues[pair] : &port->send_queues[pair];
}

/* Why the port is down, for people, or NULL when it is well or nothing ever happened. */
static void refresh_fault(struct port *port)
{
	struct vhost_device_status status;

	vhost_device_get_status(port->private, &status);
	port->fault =
	    !atomic_load_explicit(&port->link, memory_order_relaxed) && status.last_error[0] != '\0'
		? status.last_error
		: NULL;
}

static void on_grace_period(void *owner)
{
	port_grace_period(owner);
}

static void on_queue_started(void *owner, struct virtqueue *vq)
{
	struct port_queue *queue = queue_of(owner, vq);

	queue->handle = vq;
	queue->node = numa_node_of_memory(vq->descriptors);
	port_queue_start(queue, (vq->index & 1) ? vq->kick_fd : -1);
}

static void on_queue_stopping(void *owner, struct virtqueue *vq)
{
	port_queue_halt(queue_of(owner, vq));
}

static void on_link_changed(void *owner, bool up)
{
	struct port *port = owner;

	port_set_link(port, up);
	if (port->private != NULL)
		refresh_fault(port);
}

static void on_announce(void *owner, struct mac mac)
{
	port_announce(owner, mac);
}

/* A group by its name, or by its number. */
static int find_group(const struct vhost_user_options *options, struct vhost_device_config *config,
		      struct error *error)
{
	const struct group *group;
	char *end;
	unsigned long number;

	if (options->group[0] == '\0')
		return 0;
	config->has_socket_group = true;
	group = getgrnam(options->group);
	if (group != NULL) {
		config->socket_group = group->gr_gid;
		return 0;
	}
	errno = 0;
	number = strtoul(options->group, &end, 10);
	if (options->group[0] < '0' || options->group[0] > '9' || *end != '\0' || errno != 0 ||
	    number >= UINT32_MAX)
		return error_set(error, ENOENT,
				 "there is no group '%s'; allowed: one of this machine, or a "
				 "number",
				 options->group);
	config->socket_group = (gid_t)number;
	return 0;
}

static int vhost_user_check(const struct port_config *config, struct error *error)
{
	const struct vhost_user_options *options = &config->options.vhost_user;
	struct vhost_device_config device = { 0 };
	int rc = find_group(options, &device, error);

	if (rc == 0 && options->role == VHOST_ROLE_SERVER)
		rc = vhost_socket_check_path(options->path, error);
	return rc;
}

static int vhost_user_open(struct port *port, struct event_base *loop, struct error *error)
{
	static const struct vhost_device_callbacks callbacks = {
		.grace_period = on_grace_period,
		.queue_started = on_queue_started,
		.queue_stopping = on_queue_stopping,
		.link_changed = on_link_changed,
		.announce = on_announce,
	};
	const struct vhost_user_options *options = &port->config.options.vhost_user;
	struct vhost_device_config config = {
		.name = port->name,
		.path = options->path,
		.role = options->role,
		.socket_mode = options->mode,
		.queue_pairs = options->queues,
		.state_directory = port_state_directory(port),
	};
	struct vhost_device *device;
	int result = find_group(options, &config, error);

	if (result != 0)
		return result;
	result = port_set_queues(port, options->queues, options->queues);
	if (result != 0)
		return error_set(error, -result, "out of memory");
	result = vhost_device_create(loop, &config, &callbacks, port, &device, error);
	if (result == 0)
		port->private = device;
	return result;
}

static void vhost_user_close(struct port *port)
{
	struct vhost_device *device = port->private;

	port->private = NULL;
	vhost_device_destroy(device);
}

static uint32_t vhost_user_receive(struct port_queue *queue, struct burst *burst,
				   struct port_counters *counters)
{
	return virtqueue_from_guest(queue->handle, burst, counters);
}

static void vhost_user_receive_done(struct port_queue *queue)
{
	virtqueue_from_guest_done(queue->handle);
}

static uint32_t vhost_user_send(struct port_queue *queue, struct frame *const *frames,
				uint32_t count, struct port_counters *counters)
{
	return virtqueue_to_guest(queue->handle, frames, count, counters);
}

static bool vhost_user_arm(struct port_queue *queue)
{
	return virtqueue_arm(queue->handle);
}

static void vhost_user_disarm(struct port_queue *queue)
{
	virtqueue_disarm(queue->handle);
}

static uint32_t vhost_user_offloads(const struct port_queue *queue)
{
	return ((const struct virtqueue *)queue->handle)->offloads_to_guest;
}

static void vhost_user_check_faults(struct port *port)
{
	vhost_device_check_faults(port->private);
	refresh_fault(port);
}

static json_t *feature_names(uint64_t bits, const char *(*name)(unsigned bit))
{
	json_t *array = json_array();

	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(bits & (UINT64_C(1) << bit)))
			continue;
		if (name(bit) != NULL)
			json_array_append_new(array, json_string(name(bit)));
		else
			json_array_append_new(array, json_sprintf("bit_%u", bit));
	}
	return array;
}

/* The worker's own positions, read while it may be writing them: each is one aligned 16-bit word,
 * and a person looks at it. */
__attribute__((no_sanitize("thread"))) static uint16_t peek(const uint16_t *word)
{
	return *(const volatile uint16_t *)word;
}

static const char *queue_state(const struct virtqueue *vq)
{
	static const char *const faults[] = {
		[VIRTQUEUE_OK] = "running",
		[VIRTQUEUE_FAULT_INDEX] = "broken: available index out of range",
		[VIRTQUEUE_FAULT_CHAIN] = "broken: chain without an end",
		[VIRTQUEUE_FAULT_MEMORY] = "broken: guest memory gone",
	};

	if (!atomic_load_explicit(&vq->running, memory_order_relaxed))
		return "stopped";
	return faults[atomic_load_explicit(&vq->fault, memory_order_relaxed)];
}

/* A position for people: of a packed ring without its wrap counter (virtio 1.2, 2.8.1), which they
 * see apart. */
static json_t *show_position(const struct virtqueue *vq, uint16_t position)
{
	return json_integer(vq->ops->format == VIRTQUEUE_PACKED ? position & 0x7fff : position);
}

static json_t *show_queue(const struct virtqueue *vq)
{
	bool running = atomic_load_explicit(&vq->running, memory_order_relaxed);
	bool packed = vq->ops->format == VIRTQUEUE_PACKED;
	uint16_t available = peek(&vq->last_available);
	json_t *object = json_object();

	json_object_set_new(object, "index", json_integer(vq->index));
	json_object_set_new(object, "direction",
			    json_string((vq->index & 1) ? "from_guest" : "to_guest"));
	json_object_set_new(object, "state", json_string(queue_state(vq)));
	json_object_set_new(object, "format", json_string(packed ? "packed" : "split"));
	json_object_set_new(object, "size", json_integer(vq->size));
	json_object_set_new(object, "last_available", show_position(vq, available));
	json_object_set_new(object, "last_used", show_position(vq, peek(&vq->last_used)));
	json_object_set_new(object, "wrap", packed ? json_integer(available >> 15) : json_null());
	/* The guest's own words: index fields at offset 2 of both rings (virtio 1.2, 2.7.6, 2.7.8).
	 * A packed ring has none. */
	json_object_set_new(object, "available",
			    running && !packed
				? json_integer(peek((const uint16_t *)vq->available + 1))
				: json_null());
	json_object_set_new(object, "used",
			    running && !packed ? json_integer(peek((const uint16_t *)vq->used + 1))
					       : json_null());
#define NUMBER(field)                                                                              \
	json_object_set_new(                                                                       \
	    object, #field,                                                                        \
	    json_integer((json_int_t)atomic_load_explicit(&vq->field, memory_order_relaxed)))
	NUMBER(kicks);
	NUMBER(calls);
	NUMBER(call_failures);
#undef NUMBER
	return object;
}

static void vhost_user_show(const struct port *port, json_t *object)
{
	struct vhost_device *device = port->private;
	struct vhost_device_status status;
	json_t *queues = json_array();

	vhost_device_get_status(device, &status);
	json_object_set_new(object, "socket", json_string(port->config.options.vhost_user.path));
	json_object_set_new(object, "role",
			    json_string(port->config.options.vhost_user.role == VHOST_ROLE_SERVER
					    ? "server"
					    : "client"));
	json_object_set_new(object, "connected", json_boolean(status.connected));
	json_object_set_new(object, "features", feature_names(status.features, vhost_feature_name));
	json_object_set_new(object, "protocol_features",
			    feature_names(status.protocol_features, vhost_protocol_feature_name));
	json_object_set_new(object, "memory_regions", json_integer(status.memory_regions));
	json_object_set_new(object, "memory_size", json_integer((json_int_t)status.memory_size));
	json_object_set_new(object, "device_status", json_integer(status.device_status));
	json_object_set_new(object, "mtu", json_integer(status.mtu));
	json_object_set_new(object, "migration_logging", json_boolean(status.logging));
	json_object_set_new(object, "connects", json_integer((json_int_t)status.connects));
	json_object_set_new(object, "disconnects", json_integer((json_int_t)status.disconnects));
	json_object_set_new(object, "message_errors",
			    json_integer((json_int_t)status.message_errors));
	json_object_set_new(object, "last_error",
			    status.last_error[0] != '\0' ? json_string(status.last_error)
							 : json_null());
	for (uint32_t i = 0; i < vhost_device_queue_count(device); i++)
		json_array_append_new(queues, show_queue(vhost_device_queue(device, i)));
	json_object_set_new(object, "queues", queues);
}

const struct port_type port_vhost_user = {
	.name = "vhost-user",
	.keys = port_vhost_user_keys,
	.defaults = port_vhost_user_defaults,
	.check = vhost_user_check,
	.open = vhost_user_open,
	.close = vhost_user_close,
	.receive = vhost_user_receive,
	.receive_done = vhost_user_receive_done,
	.send = vhost_user_send,
	.arm = vhost_user_arm,
	.disarm = vhost_user_disarm,
	.offloads = vhost_user_offloads,
	.show = vhost_user_show,
	.check_faults = vhost_user_check_faults,
};
