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
#include "vswitch/tap_uplink.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define IOV_LIMIT 1024u /* of the kernel */

struct tap {
	struct tap_device device;
	int gone_fd; /* eventfd: a worker found the interface gone */
	struct event *gone_event;
	struct event *retry_timer;   /* control: to make it again */
	struct tap_uplink *uplink;   /* control: what the host's side was made; NULL: left alone */
	struct netlink_watch *watch; /* control: of an uplink; else NULL */
	char fault[ERROR_TEXT_MAX];
	_Atomic bool gone; /* workers set (relaxed); they leave the files alone from then on */
	uint8_t *linear;   /* FRAME_LENGTH_MAX bytes a send queue, for frames of too many pieces */
};

static const struct tap_uplink no_uplink;

static bool is_gone(const struct tap *tap)
{
	return atomic_load_explicit(&tap->gone, memory_order_relaxed);
}

static void start_queues(struct port *port);

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

	if (tap_device_open(&port->config.options.tap, &tap->device, &error) != 0) {
		set_fault(port, error.text);
		retry_later(tap);
		return;
	}
	if (tap->uplink &&
	    tap_uplink_change(tap->device.name, &no_uplink, tap->uplink, &error) != 0) {
		tap_device_close(&tap->device);
		set_fault(port, error.text);
		retry_later(tap);
		return;
	}
	/* relaxed: no worker is in the queues. */
	atomic_store_explicit(&tap->gone, false, memory_order_relaxed);
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
	tap_device_close(&tap->device);
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
	if (is_gone(tap) || netlink_get_link(tap->device.name, &now, NULL) != 0 ||
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
	if (tap->gone_fd >= 0)
		close(tap->gone_fd);
	tap_device_close(&tap->device);
	free(tap->linear);
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
		int fd = tap->device.fds[i];

		port->receive_queues[i].handle = port->send_queues[i].handle = tap;
		port->receive_queues[i].fd = port->send_queues[i].fd = fd;
		port_queue_start(&port->send_queues[i], -1);
		port_queue_start(&port->receive_queues[i], fd);
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
	rc = is_gone(tap) ? 0
			  : tap_uplink_change(tap->device.name,
					      tap->uplink ? tap->uplink : &no_uplink, copy, error);
	free(tap->uplink);
	tap->uplink = rc == 0 ? copy : NULL;
	if (rc != 0)
		free(copy);
	return rc;
}

void tap_uplink_withdraw(struct port *port)
{
	struct tap *tap = port->private;

	if (tap->uplink && !is_gone(tap))
		tap_uplink_change(tap->device.name, tap->uplink, &no_uplink, NULL);
	free(tap->uplink);
	tap->uplink = NULL;
}

static int watch_for_end(struct port *port, struct event_base *loop, struct tap *tap,
			 struct error *error)
{
	tap->gone_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (tap->gone_fd < 0)
		return error_set(error, errno, "no eventfd: %s", strerror(errno));
	tap->gone_event = event_new(loop, tap->gone_fd, EV_READ | EV_PERSIST, on_gone, port);
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
	tap->gone_fd = -1;
	rc = tap_device_open(&port->config.options.tap, &tap->device, error);
	if (rc != 0)
		goto fail;
	rc = watch_for_end(port, loop, tap, error);
	if (rc == 0 && port->config.uplink)
		rc = netlink_watch(loop, tap->device.name, on_link, port, &tap->watch, error);
	if (rc != 0)
		goto fail;
	queues = tap->device.queues;
	tap->linear = malloc((size_t)queues * FRAME_LENGTH_MAX);
	rc = tap->linear ? port_set_queues(port, queues, queues) : -ENOMEM;
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

/* Worker: tells control, once. */
static void report_gone(struct tap *tap)
{
	uint64_t one = 1;

	if (atomic_exchange_explicit(&tap->gone, true, memory_order_relaxed))
		return;
	while (write(tap->gone_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Makes a frame of `length` bytes that were read to its place in the burst, or drops it. */
static void accept_frame(struct burst *burst, const struct vnet_header *header, uint32_t length,
			 struct port_counters *counters)
{
	struct frame *frame = &burst->frames[burst->count];
	enum drop_reason reason;

	if (length < FRAME_LENGTH_MIN || length > FRAME_LENGTH_MAX) {
		counter_drop(counters,
			     length < FRAME_LENGTH_MIN ? DROP_FRAME_SHORT : DROP_FRAME_LONG, 1);
		return;
	}
	memset(frame, 0, sizeof(*frame));
	frame->head = burst_head(burst, burst->count);
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	if (length > FRAME_HEAD_MAX) {
		struct frame_segment *segment = &burst->segments[burst->segment_count];

		segment->base = burst->bulk + burst->bulk_used;
		segment->length = length - FRAME_HEAD_MAX;
		frame->segments = segment;
		frame->segment_count = 1;
	}
	if (!vnet_header_to_frame(header, frame, OFFLOAD_ALL, &reason)) {
		counter_drop(counters, reason, 1);
		return;
	}
	if (length > FRAME_HEAD_MAX) {
		burst->segment_count++;
		burst->bulk_used += length - FRAME_HEAD_MAX;
	}
	burst->count++;
	counter_add(&counters->receive_packets, 1);
	counter_add(&counters->receive_bytes, length);
}

static uint32_t tap_receive(struct port_queue *queue, struct burst *burst,
			    struct port_counters *counters)
{
	struct tap *tap = queue->handle;
	uint32_t taken = 0;

	if (is_gone(tap))
		return 0;
	/* Frames that are dropped fill no burst, so both are counted. */
	while (taken < BURST_FRAMES && burst->count < burst->limit &&
	       burst->segment_count < BURST_SEGMENTS &&
	       BURST_BULK - burst->bulk_used >= FRAME_LENGTH_MAX) {
		struct vnet_header header;
		struct iovec parts[] = {
			{ &header, sizeof(header) },
			{ burst_head(burst, burst->count), FRAME_HEAD_MAX },
			/* One byte more than the longest frame has left, so that a longer one shows
			 * itself and is not taken for whole. */
			{ burst->bulk + burst->bulk_used, FRAME_LENGTH_MAX - FRAME_HEAD_MAX + 1 },
		};
		ssize_t n = readv(queue->fd, parts, 3);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno == EBADFD)
				report_gone(tap);
			break;
		}
		taken++;
		if ((size_t)n < sizeof(header)) {
			counter_drop(counters, DROP_CHAIN_HEADER, 1);
			continue;
		}
		accept_frame(burst, &header, (uint32_t)n - (uint32_t)sizeof(header), counters);
	}
	return taken;
}

/* Goes quiet. The file is watched by its edges, so what came before must be seen here. */
static bool tap_arm(struct port_queue *queue)
{
	struct pollfd look = { .fd = queue->fd, .events = POLLIN };

	return is_gone(queue->handle) || poll(&look, 1, 0) <= 0 || !(look.revents & POLLIN);
}

static enum drop_reason write_error(struct tap *tap, int code)
{
	switch (code) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return DROP_NO_BUFFERS;
	case EBADFD:
		report_gone(tap);
		return DROP_PORT_DOWN;
	case EIO: /* the interface is set down */
		return DROP_PORT_DOWN;
	case EMSGSIZE:
		return DROP_FRAME_TOO_LONG_FOR_PORT;
	default:
		return DROP_WRITE_FAILED;
	}
}

/* One frame out. 0 or -errno. */
static int write_frame(struct port_queue *queue, const struct frame *frame)
{
	struct tap *tap = queue->handle;
	struct vnet_header header;
	struct iovec parts[IOV_LIMIT];
	int count = 0;
	ssize_t n;

	vnet_header_from_frame(frame, &header);
	parts[count++] = (struct iovec){ &header, sizeof(header) };
	if (2u + frame->segment_count > IOV_LIMIT) {
		uint8_t *linear = tap->linear + (size_t)queue->index * FRAME_LENGTH_MAX;

		if (frame->length > FRAME_LENGTH_MAX)
			return -EMSGSIZE;
		frame_copy_out(frame, 0, frame->length, linear);
		parts[count++] = (struct iovec){ linear, frame->length };
	} else {
		parts[count++] = (struct iovec){ frame->head, frame->head_length };
		for (uint32_t i = 0; i < frame->segment_count; i++)
			parts[count++] = (struct iovec){ (void *)(uintptr_t)frame->segments[i].base,
							 frame->segments[i].length };
	}
	do {
		n = writev(queue->fd, parts, count);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static uint32_t tap_send(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			 struct port_counters *counters)
{
	struct tap *tap = queue->handle;
	uint64_t bytes = 0;
	uint32_t sent = 0;

	for (uint32_t i = 0; i < count; i++) {
		int rc = is_gone(tap) ? -EBADFD : write_frame(queue, frames[i]);

		if (rc != 0) {
			counter_drop(counters, write_error(tap, -rc), 1);
			continue;
		}
		bytes += frames[i]->length;
		sent++;
	}
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

static uint32_t tap_offloads(const struct port_queue *queue)
{
	return ((struct tap *)queue->handle)->device.offloads;
}

static void tap_show(const struct port *port, json_t *object)
{
	const struct tap *tap = port->private;

	tap_device_show(&tap->device, object);
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
