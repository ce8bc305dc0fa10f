/* The interface port: an interface of the host, whose segment it joins with MACs of its own; the
 * host goes on to use it as before. Frames pass by a driver (interface_driver.h), which has a queue
 * of its own for each of the port's. What the host itself sends or is sent does not come here, so
 * guests do not reach the host's own addresses by this interface, as with macvtap.
 *
 * Control opens, follows the interface over netlink, and closes; workers receive and send. When
 * the interface disappears the port is down; when one of that name comes back, it is opened anew.
 * Where another still holds what the driver needs, the port is down and tries again. */
#include "vswitch/port_interface.h"

#include "base/log.h"
#include "vswitch/interface_driver.h"
#include "vswitch/netlink.h"
#include "vswitch/options.h"
#include "vswitch/port.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_FIRST 10000 /* us, each time twice as long */
#define PAUSE_LAST  1000000

struct interface {
	struct netlink_watch *watch;
	struct netlink_link link; /* as last heard; index 0: gone */
	uint64_t lost;		  /* of sockets closed since */
	const struct driver *driver;
	uint16_t count;
	void **queues; /* the driver's; all NULL while the port is closed for the moment */
	struct event *retry_timer; /* pending while another holds what the driver needs */
	unsigned pause;		   /* us, until the next try */
	char fault[ERROR_TEXT_MAX];
	void (*changed)(void *context);
	void *context;
};

static const struct driver *const drivers[] = {
	[INTERFACE_DRIVER_PACKET] = &driver_packet,
	[INTERFACE_DRIVER_XDP] = &driver_xdp,
};

static void on_link(void *context, const struct netlink_link *link);
static void on_retry(evutil_socket_t fd, short what, void *context);
static void fail(struct port *port, struct interface *interface, const char *reason);
static void set_well(struct port *port, struct interface *interface);

static int check_link(const struct interface_options *options, const struct netlink_link *link,
		      struct error *error)
{
	int rc;

	if (!link->ethernet)
		return error_set(error, EINVAL, "interface '%s' is not an Ethernet interface",
				 options->name);
	if (options->allow_default_route)
		return 0;
	rc = netlink_is_default_route(link->index, error);
	if (rc > 0)
		return error_set(error, EPERM,
				 "interface '%s': the host's default route leaves by it, and "
				 "guests would share the host's own way out; say "
				 "`allow-default-route: true` if that is meant",
				 options->name);
	return rc;
}

/* It is there, of Ethernet, and not the one of the host's default route unless that is allowed;
 * open() looks at that too. */
static int interface_check(const struct port_config *config, struct error *error)
{
	const struct interface_options *options = &config->options.interface;
	struct netlink_link link;
	int rc = netlink_get_link(options->name, &link, error);

	return rc == 0 ? check_link(options, &link, error) : rc;
}

static bool is_open(const struct interface *interface)
{
	return interface->queues[0] != NULL;
}

static void close_queues(struct port *port, struct interface *interface)
{
	if (!is_open(interface))
		return;
	port_stop_queues(port);
	for (uint16_t i = 0; i < interface->count; i++)
		interface->lost += interface->driver->lost(interface->queues[i]);
	interface->driver->close(interface->queues, interface->count);
	memset(interface->queues, 0, interface->count * sizeof(*interface->queues));
}

static int open_queues(struct port *port, struct interface *interface, struct error *error)
{
	const struct driver *driver = interface->driver;
	int rc = driver->open(&interface->link, interface->queues, interface->count, error);

	for (uint16_t i = 0; rc == 0 && i < interface->count; i++) {
		void *queue = interface->queues[i];

		port->send_queues[i].handle = port->receive_queues[i].handle = queue;
		port_queue_start(&port->send_queues[i], -1);
		port_queue_start(&port->receive_queues[i], driver->fd(queue));
	}
	if (rc != 0)
		error_prefix(error, "interface '%s': ", interface->link.name);
	return rc;
}

static void interface_free(struct interface *interface)
{
	netlink_unwatch(interface->watch);
	if (interface->retry_timer)
		event_free(interface->retry_timer);
	free(interface->queues);
	free(interface);
}

static void interface_close(struct port *port)
{
	struct interface *interface = port->private;

	if (!interface)
		return;
	close_queues(port, interface);
	port_set_link(port, false);
	interface_free(interface);
	port->private = NULL;
}

static void begin_tries(struct interface *interface)
{
	event_del(interface->retry_timer);
	interface->pause = PAUSE_FIRST;
}

/* Opens the queues, now or, while another holds what they need, later. */
static int start(struct port *port, struct interface *interface, struct error *error)
{
	struct timeval pause = { interface->pause / 1000000, interface->pause % 1000000 };
	int rc = open_queues(port, interface, error);

	if (rc == -EAGAIN) {
		fail(port, interface, error->text);
		interface->pause =
		    interface->pause < PAUSE_LAST / 2 ? interface->pause * 2 : PAUSE_LAST;
		event_add(interface->retry_timer, &pause);
		return 0;
	}
	if (rc == 0)
		set_well(port, interface);
	return rc;
}

static int interface_open(struct port *port, struct event_base *loop, struct error *error)
{
	const struct interface_options *options = &port->config.options.interface;
	struct interface *interface = calloc(1, sizeof(*interface));
	int rc;

	if (!interface)
		return error_set(error, ENOMEM, "out of memory");
	interface->driver = drivers[options->driver];
	interface->count = options->queues;
	interface->queues = calloc(options->queues, sizeof(*interface->queues));
	interface->retry_timer = evtimer_new(loop, on_retry, port);
	if (!interface->queues || !interface->retry_timer) {
		rc = error_set(error, ENOMEM, "out of memory");
		goto fail;
	}
	/* Watched before it is looked at, so that no change is missed between the two. */
	rc = netlink_watch(loop, options->name, on_link, port, &interface->watch, error);
	if (rc == 0)
		rc = netlink_get_link(options->name, &interface->link, error);
	if (rc == 0)
		rc = check_link(options, &interface->link, error);
	if (rc != 0)
		goto fail;
	rc = port_set_queues(port, options->queues, options->queues);
	if (rc != 0) {
		error_set(error, -rc, "out of memory");
		goto fail;
	}
	port->private = interface; /* the queues' workers look there from their start */
	begin_tries(interface);
	rc = start(port, interface, error);
	if (rc == 0)
		return 0;
	port->private = NULL;
fail:
	interface_free(interface);
	return rc;
}

/* Down with a reason, which is logged when it is a new one. */
static void fail(struct port *port, struct interface *interface, const char *reason)
{
	close_queues(port, interface);
	if (strcmp(interface->fault, reason) != 0)
		log_warning("port %s: %s", port->name, reason);
	snprintf(interface->fault, sizeof(interface->fault), "%s", reason);
	port->fault = interface->fault;
	port_set_link(port, false);
}

static void set_well(struct port *port, struct interface *interface)
{
	interface->fault[0] = '\0';
	port->fault = NULL;
	port_set_link(port, interface->link.carrier);
}

static void reopen(struct port *port, struct interface *interface)
{
	struct error error;

	if (check_link(&port->config.options.interface, &interface->link, &error) != 0 ||
	    start(port, interface, &error) != 0)
		fail(port, interface, error.text);
	else if (is_open(interface))
		log_info("port %s: interface %s is open", port->name, interface->link.name);
}

static void tell_listener(const struct interface *interface)
{
	if (interface->changed)
		interface->changed(interface->context);
}

/* Control: what the driver needs may be free now. */
static void on_retry(evutil_socket_t fd, short what, void *context)
{
	struct port *port = context;
	struct interface *interface = port->private;

	reopen(port, interface);
	tell_listener(interface);
}

/* One of that name is there: the one we have, or another. */
static void follow(struct port *port, struct interface *interface, const struct netlink_link *link)
{
	struct error error;

	if (link->index != interface->link.index) {
		close_queues(port, interface);
		begin_tries(interface);
	}
	interface->link = *link;
	if (event_pending(interface->retry_timer, EV_TIMEOUT, NULL))
		return;
	if (is_open(interface)) {
		if (interface->driver->follow &&
		    interface->driver->follow(interface->queues, link, &error) != 0) {
			error_prefix(&error, "interface '%s': ", link->name);
			fail(port, interface, error.text);
			return;
		}
		set_well(port, interface);
	} else {
		reopen(port, interface);
	}
}

/* Control: the kernel has spoken of the interface. */
static void on_link(void *context, const struct netlink_link *link)
{
	struct port *port = context;
	struct interface *interface = port->private;

	if (link) {
		follow(port, interface, link);
	} else {
		memset(&interface->link, 0, sizeof(interface->link));
		event_del(interface->retry_timer);
		fail(port, interface, "interface gone");
	}
	tell_listener(interface);
}

uint32_t port_interface_mtu(const struct port *port)
{
	return ((const struct interface *)port->private)->link.mtu;
}

void port_interface_listen(struct port *port, void (*changed)(void *context), void *context)
{
	struct interface *interface = port->private;

	interface->changed = changed;
	interface->context = context;
}

static const struct driver *driver_of(const struct port_queue *queue)
{
	return ((const struct interface *)queue->port->private)->driver;
}

static uint32_t interface_receive(struct port_queue *queue, struct burst *burst,
				  struct port_counters *counters)
{
	return driver_of(queue)->receive(queue->handle, burst, counters);
}

static uint32_t interface_send(struct port_queue *queue, struct frame *const *frames,
			       uint32_t count, struct port_counters *counters)
{
	return driver_of(queue)->send(queue->handle, frames, count, counters);
}

/* The queue's fd is watched by its edges, so what came before must be seen here. */
static bool interface_arm(struct port_queue *queue)
{
	return driver_of(queue)->is_empty(queue->handle);
}

static uint32_t interface_offloads(const struct port_queue *queue)
{
	return driver_of(queue)->offloads(queue->handle);
}

static void interface_show(const struct port *port, json_t *object)
{
	const struct interface *interface = port->private;
	char mac[MAC_TEXT_LENGTH];
	uint64_t lost = interface->lost;

	for (uint16_t i = 0; is_open(interface) && i < interface->count; i++)
		lost += interface->driver->lost(interface->queues[i]);
	json_object_set_new(object, "interface", json_string(port->config.options.interface.name));
	json_object_set_new(object, "driver", json_string(interface->driver->name));
	json_object_set_new(object, "queues", json_integer(interface->count));
	json_object_set_new(object, "kernel_drops", json_integer((json_int_t)lost));
	if (is_open(interface) && interface->driver->show)
		interface->driver->show(interface->queues, object);
	if (interface->link.index == 0)
		return;
	json_object_set_new(object, "ifindex", json_integer(interface->link.index));
	json_object_set_new(object, "mtu", json_integer(interface->link.mtu));
	json_object_set_new(object, "interface_mac",
			    json_string(mac_to_text(interface->link.mac, mac)));
	json_object_set_new(object, "carrier", json_boolean(interface->link.carrier));
}

const struct port_type port_interface = {
	.name = "interface",
	.keys = port_interface_keys,
	.defaults = port_interface_defaults,
	.check = interface_check,
	.open = interface_open,
	.close = interface_close,
	.receive = interface_receive,
	.send = interface_send,
	.arm = interface_arm,
	.offloads = interface_offloads,
	.show = interface_show,
};
