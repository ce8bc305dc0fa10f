/* The tap port: a network interface of the kernel whose other end is a file of ours. Made by us,
 * attached to (a persistent one), or given as an open file; one file a queue, each both a receive
 * and a send queue. Frames carry the virtio-net header (IFF_VNET_HDR), so offloads pass both ways.
 *
 * Control opens, closes and shows; workers read and write. A worker that finds the interface gone
 * says so once through an eventfd, and control stops the queues; one that was made here is made
 * again after a second, as often as it takes. As an uplink the host's side is set up too
 * (tap_uplink.h), and the port is down while the host has set it down. */
#include "vswitch/port.h"

#include "base/log.h"
#include "vswitch/netlink.h"
#include "vswitch/options.h"
#include "vswitch/tap_device.h"
#include "vswitch/tap_queue.h"
#include "vswitch/tap_uplink.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct tap {
	struct tap_device device;
	struct tap_queue *queues[CONFIG_TAP_QUEUES_MAX]; /* of the device's files */
	struct tap_end end;
	struct event *gone_event;
	struct event *retry_timer;   /* control: to make it again */
	struct tap_uplink *uplink;   /* control: what the host's side was made; NULL: left alone */
	struct netlink_watch *watch; /* control: of an uplink; else NULL */
	char fault[ERROR_TEXT_MAX];
};

static const struct tap_uplink no_uplink;

static void start_queues(struct port *port);

static void close_device(struct tap *tap)
{
	for (uint16_t i = 0; i < tap->device.queues; i++) {
		tap_queue_destroy(tap->queues[i]);
		tap->queues[i] = NULL;
	}
	tap_device_close(&tap->device);
}

/* The interface, and a queue for each of its files. 0, or -errno with the error set and nothing
 * left. */
static int open_device(struct port *port, struct tap *tap, struct error *error)
{
	int rc = tap_device_open(&port->config.options.tap, &tap->device, error);

	for (uint16_t i = 0; rc == 0 && i < tap->device.queues; i++) {
		tap->queues[i] = tap_queue_create(tap->device.fds[i], &tap->end);
		if (!tap->queues[i])
			rc = error_set(error, ENOMEM, "out of memory");
	}
	if (rc != 0)
		close_device(tap);
	return rc;
}

static void retry_later(struct tap *tap)
{
	static const struct timeval second = { .tv_sec = 1 };

	event_add(tap->retry_timer, &second);
}

static void set_fault(struct port *port, const char *reason)
{
	struct tap *tap = port->private;

	if (strcmp(tap->fault, reason) != 0)
		log_warning("port %s: %s", port->name, reason);
	snprintf(tap->fault, sizeof(tap->fault), "%s", reason);
	port->fault = tap->fault;
}

/* Control: makes the interface again. */
static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct port *port = context;
	struct tap *tap = port->private;
	struct error error;

	if (open_device(port, tap, &error) != 0) {
		set_fault(port, error.text);
		retry_later(tap);
		return;
	}
	if (tap->uplink &&
	    tap_uplink_change(tap->device.name, &no_uplink, tap->uplink, &error) != 0) {
		close_device(tap);
		set_fault(port, error.text);
		retry_later(tap);
		return;
	}
	/* relaxed: no worker is in the queues. */
	atomic_store_explicit(&tap->end.gone, false, memory_order_relaxed);
	log_info("port %s: interface %s is back", port->name, tap->device.name);
	tap->fault[0] = '\0';
	port->fault = NULL;
	port_set_link(port, true);
	start_queues(port);
}

/* Control: a worker has met the end of the interface. */
static void on_gone(evutil_socket_t fd, short what, void *context)
{
	struct port *port = context;
	struct tap *tap = port->private;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	port_stop_queues(port);
	set_fault(port, "interface gone");
	port_set_link(port, false);
	if (tap->device.given || port->config.options.tap.existing)
		return; /* whoever made it may make another, and say so */
	close_device(tap);
	retry_later(tap);
}

/* Control: of an uplink, as a guest's tap may be in a namespace of the guest's. With the interface
 * the kernel forgets routes and IPv6 addresses, which are made again. */
static void on_link(void *context, const struct netlink_link *link)
{
	struct port *port = context;
	struct tap *tap = port->private;
	struct netlink_link now;
	struct error error;

	/* Messages may be older than what we have made of it since; of its end a worker tells. */
	if (tap_end_is_gone(&tap->end) || netlink_get_link(tap->device.name, &now, NULL) != 0 ||
	    now.up == atomic_load_explicit(&port->link, memory_order_relaxed))
		return;
	if (now.up && tap->uplink &&
	    tap_uplink_change(tap->device.name, &no_uplink, tap->uplink, &error) != 0) {
		set_fault(port, error.text);
		return;
	}
	tap->fault[0] = '\0';
	port->fault = NULL;
	port_set_link(port, now.up);
}

static void tap_free(struct tap *tap)
{
	netlink_unwatch(tap->watch);
	if (tap->retry_timer)
		event_free(tap->retry_timer);
	if (tap->gone_event)
		event_free(tap->gone_event);
	if (tap->end.event_fd >= 0)
		close(tap->end.event_fd);
	close_device(tap);
	free(tap->uplink);
	free(tap);
}

static void tap_close(struct port *port)
{
	struct tap *tap = port->private;

	if (!tap)
		return;
	port_stop_queues(port);
	port_set_link(port, false);
	tap_uplink_withdraw(port);
	tap_free(tap);
	port->private = NULL;
}

static void start_queues(struct port *port)
{
	struct tap *tap = port->private;

	for (uint16_t i = 0; i < tap->device.queues; i++) {
		port->receive_queues[i].handle = port->send_queues[i].handle = tap->queues[i];
		port_queue_start(&port->send_queues[i], -1);
		port_queue_start(&port->receive_queues[i], tap->device.fds[i]);
	}
}

int tap_uplink_configure(struct port *port, const struct tap_uplink *uplink, struct error *error)
{
	struct tap *tap = port->private;
	struct tap_uplink *copy;
	int rc;

	if (tap->device.given)
		return error_set(error, EINVAL,
				 "a tap given as an open file: its other side is for the giver to "
				 "set up");
	if (uplink->host_count > TAP_UPLINK_HOSTS || uplink->route_count > TAP_UPLINK_ROUTES)
		return error_set(error, EINVAL, "too many addresses or routes; allowed: %u and %u",
				 TAP_UPLINK_HOSTS, TAP_UPLINK_ROUTES);
	copy = malloc(sizeof(*copy));
	if (!copy)
		return error_set(error, ENOMEM, "out of memory");
	*copy = *uplink;
	/* While it is gone there is nothing to do; on_retry() will. */
	rc = tap_end_is_gone(&tap->end)
		 ? 0
		 : tap_uplink_change(tap->device.name, tap->uplink ? tap->uplink : &no_uplink, copy,
				     error);
	free(tap->uplink);
	tap->uplink = rc == 0 ? copy : NULL;
	if (rc != 0)
		free(copy);
	return rc;
}

void tap_uplink_withdraw(struct port *port)
{
	struct tap *tap = port->private;

	if (tap->uplink && !tap_end_is_gone(&tap->end))
		tap_uplink_change(tap->device.name, tap->uplink, &no_uplink, NULL);
	free(tap->uplink);
	tap->uplink = NULL;
}

static int watch_for_end(struct port *port, struct event_base *loop, struct tap *tap,
			 struct error *error)
{
	tap->end.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (tap->end.event_fd < 0)
		return error_set(error, errno, "no eventfd: %s", strerror(errno));
	tap->gone_event = event_new(loop, tap->end.event_fd, EV_READ | EV_PERSIST, on_gone, port);
	tap->retry_timer = evtimer_new(loop, on_retry, port);
	if (!tap->gone_event || !tap->retry_timer || event_add(tap->gone_event, NULL) != 0)
		return error_set(error, ENOMEM, "out of memory");
	return 0;
}

static int tap_open(struct port *port, struct event_base *loop, struct error *error)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	uint16_t queues;
	int rc;

	if (!tap)
		return error_set(error, ENOMEM, "out of memory");
	tap->end.event_fd = -1;
	rc = open_device(port, tap, error);
	if (rc != 0)
		goto fail;
	rc = watch_for_end(port, loop, tap, error);
	if (rc == 0 && port->config.uplink)
		rc = netlink_watch(loop, tap->device.name, on_link, port, &tap->watch, error);
	if (rc != 0)
		goto fail;
	queues = tap->device.queues;
	rc = port_set_queues(port, queues, queues);
	if (rc != 0) {
		error_set(error, -rc, "out of memory");
		goto fail;
	}
	port->private = tap;
	port->fault = NULL;
	port_set_link(port, true);
	start_queues(port);
	return 0;
fail:
	tap_free(tap);
	return rc;
}

static uint32_t tap_receive(struct port_queue *queue, struct burst *burst,
			    struct port_counters *counters)
{
	return tap_queue_receive(queue->handle, burst, counters);
}

static uint32_t tap_send(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			 struct port_counters *counters)
{
	return tap_queue_send(queue->handle, frames, count, counters);
}

static bool tap_arm(struct port_queue *queue)
{
	return tap_queue_arm(queue->handle);
}

static uint32_t tap_offloads(const struct port_queue *queue)
{
	return ((struct tap *)queue->port->private)->device.offloads;
}

static bool is_batched(const struct tap *tap)
{
	for (uint16_t i = 0; i < tap->device.queues; i++) {
		if (!tap_queue_is_batched(tap->queues[i]))
			return false;
	}
	return tap->device.queues > 0;
}

static void tap_show(const struct port *port, json_t *object)
{
	const struct tap *tap = port->private;

	tap_device_show(&tap->device, object);
	json_object_set_new(object, "io_uring", json_boolean(is_batched(tap)));
}

const struct port_type port_tap = {
	.name = "tap",
	.keys = port_tap_keys,
	.defaults = port_tap_defaults,
	.open = tap_open,
	.close = tap_close,
	.receive = tap_receive,
	.send = tap_send,
	.arm = tap_arm,
	.offloads = tap_offloads,
	.show = tap_show,
};
