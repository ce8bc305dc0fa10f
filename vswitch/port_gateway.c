/* The gateway's port type (port_gateway.h): two rings of copied frames. receive, send, arm and
 * disarm run on a worker, the rest on control.
 *
 * Control is slower than a worker by far, so what it is asked to do is bounded twice: by the ring,
 * and by a share for each port frames came from, so that no guest's flood keeps another's from
 * being heard. */
#include "vswitch/port_gateway.h"

#include "base/frame_ring.h"
#include "base/log.h"
#include "base/packet.h"
#include "route/forward.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES  (1u << 20)
#define DEFAULT_MTU 1500
/* Frames of one port that may wait for control at once. */
#define SHARE 64u

struct gateway_port {
	struct frame_ring *to_control;
	struct frame_ring *from_control;
	uint32_t lent;	      /* entries of from_control in the current burst; the worker's own */
	_Atomic uint16_t mtu; /* of the link; control writes */
	struct event_base *loop;
	struct event *event;
	void (*ready)(void *context);
	void *context;
	/* By arrival port: frames in to_control. The worker adds, control subtracts (relaxed: a
	 * bound, nothing hangs on it). */
	_Atomic uint16_t waiting[CONFIG_PORTS_MAX];
	/* Control's own: how many of these came by a port that is gone since. */
	uint16_t orphans[CONFIG_PORTS_MAX];
};

static void gateway_port_free(struct gateway_port *gateway)
{
	if (gateway == NULL)
		return;
	if (gateway->event != NULL)
		event_free(gateway->event);
	frame_ring_destroy(gateway->to_control);
	frame_ring_destroy(gateway->from_control);
	free(gateway);
}

static int gateway_port_open(struct port *port, struct event_base *loop, struct error *error)
{
	struct gateway_port *gateway = calloc(1, sizeof(*gateway));

	if (gateway != NULL) {
		gateway->loop = loop;
		atomic_init(&gateway->mtu, DEFAULT_MTU);
		gateway->to_control = frame_ring_create(RING_BYTES);
		gateway->from_control = frame_ring_create(RING_BYTES);
	}
	if (gateway == NULL || gateway->to_control == NULL || gateway->from_control == NULL ||
	    port_set_queues(port, 1, 1) != 0) {
		gateway_port_free(gateway);
		return error_set(error, ENOMEM, "out of memory");
	}
	port->private = gateway;
	port_set_link(port, true);
	port_queue_start(&port->send_queues[0], -1);
	port_queue_start(&port->receive_queues[0], frame_ring_fd(gateway->from_control));
	return 0;
}

static void gateway_port_close(struct port *port)
{
	struct gateway_port *gateway = port->private;

	if (gateway == NULL)
		return;
	port_stop_queues(port);
	port_set_link(port, false);
	gateway_port_free(gateway);
	port->private = NULL;
}

/* A packet of the gateway's own that is longer than the link leaves in fragments; one from our MAC
 * to our MAC is still to be routed, and only what it was put together of bounds it. */
static void fit(const struct gateway_port *gateway, struct frame *frame, uint32_t limit)
{
	enum drop_reason reason;
	/* relaxed: a number on its own. */
	uint32_t mtu = atomic_load_explicit(&gateway->mtu, memory_order_relaxed);

	if (memcmp(frame->head, frame->head + MAC_LENGTH, MAC_LENGTH) == 0)
		mtu = limit;
	else if (limit != 0 && limit < mtu)
		mtu = limit;
	if (mtu != 0 && frame->length > PACKET_ETHERNET_LENGTH + mtu &&
	    forward_check(frame, &reason) != FORWARD_DROP)
		forward_fits_own(frame, mtu);
}

/* Frames stand in the ring until receive_done(); only their heads are copied. */
static uint32_t gateway_port_receive(struct port_queue *queue, struct burst *burst,
				     struct port_counters *counters)
{
	struct gateway_port *gateway = queue->port->private;
	const struct frame_ring_entry *entry = frame_ring_peek(gateway->from_control);
	uint64_t bytes = 0;
	uint32_t taken = 0;

	while (entry != NULL && burst->count < burst->limit) {
		uint16_t limit;

		memcpy(&limit, entry->note, sizeof(limit));
		fit(gateway, burst_lend(burst, entry->bytes, entry->length), limit);
		bytes += entry->length;
		taken++;
		entry = frame_ring_next(gateway->from_control, entry);
	}
	gateway->lent = taken;
	counter_add(&counters->receive_packets, taken);
	counter_add(&counters->receive_bytes, bytes);
	return taken;
}

static void gateway_port_receive_done(struct port_queue *queue)
{
	struct gateway_port *gateway = queue->port->private;

	if (gateway->lent > 0)
		frame_ring_pop(gateway->from_control, gateway->lent);
	gateway->lent = 0;
}

static bool gateway_port_arm(struct port_queue *queue)
{
	return frame_ring_arm(((struct gateway_port *)queue->port->private)->from_control);
}

static void gateway_port_disarm(struct port_queue *queue)
{
	frame_ring_disarm(((struct gateway_port *)queue->port->private)->from_control);
}

static uint32_t gateway_port_send(struct port_queue *queue, struct frame *const *frames,
				  uint32_t count, struct port_counters *counters)
{
	struct gateway_port *gateway = queue->port->private;
	uint64_t bytes = 0;
	uint32_t sent = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct gateway_note note = { frames[i]->arrival, frames[i]->punt };
		_Atomic uint16_t *waiting = &gateway->waiting[note.arrival];

		if (atomic_load_explicit(waiting, memory_order_relaxed) >= SHARE) {
			counter_drop(counters, DROP_GATEWAY_SHARE, 1);
			continue;
		}
		if (!frame_ring_put(gateway->to_control, frames[i], &note, sizeof(note))) {
			counter_drop(counters, DROP_NO_BUFFERS, 1);
			continue;
		}
		atomic_fetch_add_explicit(waiting, 1, memory_order_relaxed);
		bytes += frames[i]->length;
		sent++;
	}
	if (sent > 0)
		frame_ring_flush(gateway->to_control);
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

/* Control reads whole packets with their checksums. */
static uint32_t gateway_port_offloads(const struct port_queue *queue)
{
	return 0;
}

uint32_t port_gateway_take(struct port *port, uint32_t limit, gateway_handler handler,
			   void *context)
{
	struct gateway_port *gateway = port->private;
	const struct frame_ring_entry *entry;
	uint32_t taken = 0;

	while (taken < limit && (entry = frame_ring_peek(gateway->to_control)) != NULL) {
		struct gateway_note note;

		memcpy(&note, entry->note, sizeof(note));
		atomic_fetch_sub_explicit(&gateway->waiting[note.arrival], 1, memory_order_relaxed);
		if (gateway->orphans[note.arrival] > 0) {
			gateway->orphans[note.arrival]--;
			note.arrival = GATEWAY_NO_ARRIVAL;
		}
		handler(context, &note, entry->bytes, entry->length);
		frame_ring_pop(gateway->to_control, 1);
		taken++;
	}
	return taken;
}

void port_gateway_orphan(struct port *port, uint16_t arrival)
{
	struct gateway_port *gateway = port->private;

	gateway->orphans[arrival] =
	    atomic_load_explicit(&gateway->waiting[arrival], memory_order_relaxed);
}

static void gateway_port_ready(evutil_socket_t fd, short what, void *argument)
{
	struct gateway_port *gateway = argument;

	frame_ring_disarm(gateway->to_control);
	gateway->ready(gateway->context);
	/* What is left, or came meanwhile, has its turn after the other events of the loop. */
	if (!frame_ring_arm(gateway->to_control))
		event_active(gateway->event, EV_READ, 0);
}

int port_gateway_listen(struct port *port, void (*ready)(void *context), void *context)
{
	struct gateway_port *gateway = port->private;

	gateway->ready = ready;
	gateway->context = context;
	if (gateway->event == NULL)
		gateway->event =
		    event_new(gateway->loop, frame_ring_fd(gateway->to_control),
			      EV_READ | EV_PERSIST | EV_ET, gateway_port_ready, gateway);
	if (gateway->event == NULL || event_add(gateway->event, NULL) != 0)
		return -ENOMEM;
	if (!frame_ring_arm(gateway->to_control))
		event_active(gateway->event, EV_READ, 0);
	return 0;
}

void port_gateway_deafen(struct port *port)
{
	struct gateway_port *gateway = port->private;

	if (gateway != NULL && gateway->event != NULL)
		event_del(gateway->event);
}

void port_gateway_set_mtu(struct port *port, uint16_t mtu)
{
	struct gateway_port *gateway = port->private;

	atomic_store_explicit(&gateway->mtu, mtu, memory_order_relaxed);
}

bool port_gateway_put(struct port *port, const uint8_t *frame, size_t length, uint16_t mtu)
{
	struct gateway_port *gateway = port->private;

	return length >= FRAME_LENGTH_MIN && length <= FRAME_LENGTH_MAX &&
	       frame_ring_put_bytes(gateway->from_control, frame, (uint32_t)length, &mtu,
				    sizeof(mtu));
}

void port_gateway_flush(struct port *port)
{
	frame_ring_flush(((struct gateway_port *)port->private)->from_control);
}

/* Nobody writes them down: see gateway_config_ports(). */
static const struct config_key keys[] = { { 0 } };

const struct port_type port_gateway = {
	.name = "gateway",
	.keys = keys,
	.open = gateway_port_open,
	.close = gateway_port_close,
	.receive = gateway_port_receive,
	.receive_done = gateway_port_receive_done,
	.send = gateway_port_send,
	.arm = gateway_port_arm,
	.disarm = gateway_port_disarm,
	.offloads = gateway_port_offloads,
	.wants_arrival = true,
};
