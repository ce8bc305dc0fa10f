/* What all port types share (port.h): the queue arrays, starting and stopping queues, link state,
 * totals. Control thread. A queue's receive side belongs to one worker, until balance.c moves it.
 */
#include "vswitch/port.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/numa.h"
#include "vswitch/gateway.h"
#include "vswitch/switch.h"
#include "vswitch/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* Of one port, on their way to the worker. */
#define INJECTED_MAX 16u
#define RARP_LENGTH  60u

static struct port_queue *queues_create(struct port *port, uint16_t count)
{
	struct port_queue *queues = calloc(count > 0 ? count : 1, sizeof(*queues));

	for (uint16_t i = 0; queues != NULL && i < count; i++) {
		queues[i].port = port;
		queues[i].index = i;
		queues[i].fd = -1;
		queues[i].node = NUMA_NONE;
		atomic_init(&queues[i].wake_fd, -1);
	}
	return queues;
}

/* The worker with the fewest receive queues, so that a port's queues spread. */
static uint16_t least_loaded_worker(struct vswitch *vswitch)
{
	uint16_t best = 0;

	for (uint16_t i = 1; i < vswitch->worker_count; i++) {
		if (vswitch->worker_queues[i] < vswitch->worker_queues[best])
			best = i;
	}
	return best;
}

int port_set_queues(struct port *port, uint16_t receive_count, uint16_t send_count)
{
	assert(receive_count <= PORT_QUEUES_MAX && send_count <= PORT_QUEUES_MAX);
	port->receive_queues = queues_create(port, receive_count);
	port->send_queues = queues_create(port, send_count);
	if (port->receive_queues == NULL || port->send_queues == NULL) {
		free(port->receive_queues);
		free(port->send_queues);
		port->receive_queues = port->send_queues = NULL;
		return -ENOMEM;
	}
	port->receive_count = receive_count;
	port->send_count = send_count;
	for (uint16_t i = 0; i < receive_count; i++) {
		uint16_t worker = least_loaded_worker(port->vswitch);

		port->receive_queues[i].worker = worker;
		port->vswitch->worker_queues[worker]++;
	}
	return 0;
}

void port_free_queues(struct port *port)
{
	for (uint16_t i = 0; i < port->receive_count; i++)
		port->vswitch->worker_queues[port->receive_queues[i].worker]--;
	free(port->receive_queues);
	free(port->send_queues);
	port->receive_queues = port->send_queues = NULL;
	port->receive_count = port->send_count = 0;
}

static bool queue_is_receive(const struct port_queue *queue)
{
	const struct port *port = queue->port;

	return queue >= port->receive_queues && queue < port->receive_queues + port->receive_count;
}

/* Workers spread over the first queues that run without a gap. */
static void port_count_send_queues(struct port *port)
{
	uint16_t n = 0;

	while (n < port->send_count &&
	       atomic_load_explicit(&port->send_queues[n].running, memory_order_relaxed))
		n++;
	atomic_store_explicit(&port->send_running, n, memory_order_relaxed);
}

void port_queue_start(struct port_queue *queue, int wake_fd)
{
	struct port *port = queue->port;
	struct worker *worker;

	if (!queue_is_receive(queue)) {
		/* release: pairs with the acquire in transmit.c; what the type set up is visible.
		 */
		atomic_store_explicit(&queue->running, true, memory_order_release);
		port_count_send_queues(port);
		return;
	}
	worker = port->vswitch->workers[queue->worker];
	if (wake_fd >= 0) {
		struct epoll_event event = { .events = EPOLLIN | EPOLLET,
					     .data.u64 = worker_queue_token(queue) };

		if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0) {
			log_warning("port %s: queue %u: its wake-up descriptor cannot be waited "
				    "for (%s), so it is polled",
				    port->name, queue->index, strerror(errno));
			wake_fd = -1;
		}
	}
	/* relaxed: `running` publishes it. */
	atomic_store_explicit(&queue->wake_fd, wake_fd, memory_order_relaxed);
	atomic_store_explicit(&queue->running, true, memory_order_release);
	/* An event before this is lost, but the worker looks now. relaxed: rescan's release in
	 * worker_wake() publishes it. */
	atomic_store_explicit(&queue->attention, true, memory_order_relaxed);
	worker_wake(worker);
}

void port_queue_halt(struct port_queue *queue)
{
	struct port *port = queue->port;
	int wake_fd;

	/* relaxed: the grace period that follows orders it for the workers. */
	atomic_store_explicit(&queue->running, false, memory_order_relaxed);
	if (!queue_is_receive(queue)) {
		port_count_send_queues(port);
		return;
	}
	/* A worker that sees it gone polls on until it sees that the queue runs no more. */
	wake_fd = atomic_exchange_explicit(&queue->wake_fd, -1, memory_order_relaxed);
	if (wake_fd >= 0)
		epoll_ctl(port->vswitch->workers[queue->worker]->epoll_fd, EPOLL_CTL_DEL, wake_fd,
			  NULL);
}

void port_stop_queues(struct port *port)
{
	for (uint16_t i = 0; i < port->receive_count; i++)
		port_queue_halt(&port->receive_queues[i]);
	for (uint16_t i = 0; i < port->send_count; i++)
		port_queue_halt(&port->send_queues[i]);
	port_grace_period(port);
}

void port_grace_period(struct port *port)
{
	rcu_wait(port->vswitch->rcu);
}

void port_set_link(struct port *port, bool up)
{
	struct network *network;

	if (atomic_load_explicit(&port->link, memory_order_relaxed) == up)
		return;
	atomic_store_explicit(&port->link, up, memory_order_relaxed);
	log_info("port %s: link %s", port->name, up ? "up" : "down");
	gateways_link_changed(port->vswitch, port);
	if (up)
		return;
	network = vswitch_find_network(port->vswitch, port->config.network);
	if (network != NULL)
		mac_table_flush_port(network->macs, port->index);
}

/* A RARP reverse request (RFC 903) from the guest's MAC, as QEMU itself sends it after migration:
 * other switches on the segment learn from it too. */
static void write_rarp(struct mac mac, uint8_t frame[RARP_LENGTH])
{
	static const uint8_t body[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };

	memset(frame, 0, RARP_LENGTH);
	memset(frame, 0xff, MAC_LENGTH);
	memcpy(frame + 6, mac.bytes, MAC_LENGTH);
	memcpy(frame + 12, body, sizeof(body));
	memcpy(frame + 22, mac.bytes, MAC_LENGTH);
	memcpy(frame + 32, mac.bytes, MAC_LENGTH);
}

void port_inject(struct port *port, const uint8_t *frame, uint32_t length)
{
	uint16_t worker = port->receive_count > 0 ? port->receive_queues[0].worker : 0;
	struct worker_injection *injection;

	/* Who makes control do this faster than the worker takes it must not fill our memory. */
	if (atomic_load_explicit(&port->injected, memory_order_relaxed) >= INJECTED_MAX)
		return;
	injection = malloc(sizeof(*injection) + length);
	if (injection == NULL)
		return;
	atomic_fetch_add_explicit(&port->injected, 1, memory_order_relaxed);
	injection->port = port->index;
	injection->serial = port->serial;
	injection->length = length;
	memcpy(injection->bytes, frame, length);
	worker_inject(port->vswitch->workers[worker], injection);
}

void port_announce(struct port *port, struct mac mac)
{
	uint8_t frame[RARP_LENGTH];

	write_rarp(mac, frame);
	port_inject(port, frame, sizeof(frame));
}

void port_get_totals(const struct port *port, uint32_t worker_count, struct port_totals *totals)
{
	memset(totals, 0, sizeof(*totals));
	for (uint32_t i = 0; i < worker_count; i++) {
		const struct port_counters *c = &port->counters[i];

#define SUM(field) totals->field += atomic_load_explicit(&c->field, memory_order_relaxed)
		SUM(receive_packets);
		SUM(receive_bytes);
		SUM(transmit_packets);
		SUM(transmit_bytes);
		for (uint32_t reason = 0; reason < DROP_COUNT; reason++)
			SUM(drops[reason]);
#undef SUM
	}
}

const char *port_state_directory(const struct port *port)
{
	return port->vswitch->state_directory;
}
