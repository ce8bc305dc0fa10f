/* A port of the switch, and the contract every type of port fulfils: open, close, receive a burst,
 * send a burst, wake, show. One file a type; port_types.c has the table. To add a type: write
 * port_NAME.c, declare its row below, put it in the table.
 *
 * Threads: open, close, show and everything named "control" run on the control thread; receive,
 * send, arm and disarm on a worker. */
#ifndef WEFT_VSWITCH_PORT_H
#define WEFT_VSWITCH_PORT_H

#include "base/counters.h"
#include "base/error.h"
#include "base/frame.h"
#include "base/vnet_header.h"
#include "vswitch/config.h"
#include "vswitch/config_node.h"
#include "vswitch/turns.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct binding;
struct event_base;
struct guard;
struct port;
struct vswitch;

#define PORT_QUEUES_MAX 64u /* of either direction */

/* One direction of one queue of a port. The type fills `handle` or `fd`; the rest is the switch's.
 */
struct port_queue {
	struct port *port;
	uint16_t index; /* among the port's queues of this direction */
	void *handle;	/* the type's own: a virtqueue, a file */
	int fd;		/* the type's own */
	/* Receive side: the fd that becomes readable (edge) when there is something to receive; -1:
	 * none, the queue has nothing to say or must be polled. Control writes, also while the
	 * worker may still be in the queue (port_queue_halt). */
	_Atomic int wake_fd;
	/* Control: set and cleared by the type's open/close or its callbacks
	 * (port_queue_start, port_queue_halt); worker: acquire. A queue that is not running is
	 * neither received from nor sent to. */
	_Atomic bool running;
	/* Receive: the worker that polls it. Control writes at attach, and moves the queue; a
	 * worker reads it when an event came late. */
	_Atomic uint16_t worker;
	/* Receive side: control sets (relaxed, then worker->rescan with release) when the queue was
	 * started; its worker swaps it to false and polls the queue. */
	_Atomic bool attention;
	/* Receive side, the worker's own. */
	bool active; /* polled; else asleep on wake_fd */
	struct turn turn;
	uint64_t active_until;	 /* goes quiet at this time (TSC) if nothing comes */
	_Atomic uint64_t cycles; /* TSC it took, estimated; control reads */
	uint64_t cycles_seen;	 /* control's: of these, at its last look */
	int node; /* receive side, control's: NUMA node of what it reads; or NUMA_NONE */
	/* Send side: taken around send() when there are several workers. */
	_Atomic uint32_t lock;
};

struct port {
	char name[CONFIG_NAME_MAX + 1];
	uint16_t index;	 /* slot in the switch, < CONFIG_PORTS_MAX */
	uint64_t serial; /* never that of another port, in this slot or any */
	const struct port_type *type;
	struct port_config config;
	struct vswitch *vswitch;
	void *private; /* the type's */
	uint16_t receive_count;
	uint16_t send_count;
	struct port_queue *receive_queues; /* allocated by the type's open with port_set_queues() */
	struct port_queue *send_queues;
	/* How many send queues, from 0, are running: workers spread flows over these (relaxed; a
	 * stopped queue met by chance just drops, PORT_DOWN). */
	_Atomic uint16_t send_running;
	_Atomic bool link; /* a peer is there */
	/* Frames that control has injected and that wait for the worker: control adds, the worker
	 * subtracts. */
	_Atomic uint32_t injected;
	const char *fault; /* why the port is down; NULL or "" when it is well. Control. */
	struct port_counters *counters; /* [workers] */
	/* What its guest may send; NULL: anything. Control: release; workers: acquire. */
	_Atomic(const struct guard *) guard;
	struct binding *binding; /* what control knows of its guest (gateway_guard.c) */
};

struct port_type {
	const char *name; /* the key in a port's configuration that selects the type */
	const struct config_key
	    *keys; /* what a port of this type may say, beside the common keys; `out` is the
		    * struct port_config, zeroed and then given to defaults() */
	void (*defaults)(struct port_config *config);
	/* Control, and weftd --check, which has no switch: whether the port could be opened as the
	 * machine is now, as far as that can be told without changing anything. 0, or -errno with
	 * the error set. May be NULL. */
	int (*check)(const struct port_config *config, struct error *error);
	/* Control. Opens the device or socket, allocates queues, starts those that can run. On
	 * error nothing is left behind and *error says why. */
	int (*open)(struct port *port, struct event_base *loop, struct error *error);
	/* Control. Stops all queues (grace period included), releases everything. */
	void (*close)(struct port *port);
	/* Worker. Appends frames to *burst, as virtqueue_from_guest() does: returns how many things
	 * were taken (0: empty), counts packets, bytes and drops itself. */
	uint32_t (*receive)(struct port_queue *queue, struct burst *burst,
			    struct port_counters *counters);
	/* Worker. The frames of the last receive are not used any more. May be NULL. */
	void (*receive_done)(struct port_queue *queue);
	/* Worker. Sends frames in order, each needing only offloads in offloads(). Each is sent or
	 * counted as dropped here. Returns how many were sent. */
	uint32_t (*send)(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			 struct port_counters *counters);
	/* Worker. Goes quiet: wake_fd shall fire for anything that comes from now on. Returns false
	 * when something is there already. May be NULL (wake_fd always fires). */
	bool (*arm)(struct port_queue *queue);
	void (*disarm)(struct port_queue *queue);	      /* polled again; may be NULL */
	uint32_t (*offloads)(const struct port_queue *queue); /* enum offload a send can take now */
	bool wants_arrival; /* send() asks where a frame came from (frame->arrival) */
	/* Control. Adds the type's own fields to the port's JSON object. May be NULL. */
	void (*show)(const struct port *port, json_t *object);
	/* Control. SIGBUS in some mapping: look for it. May be NULL. */
	void (*check_faults)(struct port *port);
};

extern const struct port_type port_vhost_user, port_tap, port_interface, port_user, port_pcap,
    port_null;

/* All types, NULL at the end. */
extern const struct port_type *const port_types[];
const struct port_type *port_type_find(const char *name);

/* For types, control thread. Allocates the queue arrays (all stopped, wake_fd -1, fd -1); freed by
 * the switch after close(). 0 or -ENOMEM. */
int port_set_queues(struct port *port, uint16_t receive_count, uint16_t send_count);

/* Frees what port_set_queues() made. The switch calls it after close(). */
void port_free_queues(struct port *port);

/* Receive queue: starts it with the fd that wakes it (not owned; -1: always polled while it runs)
 * and makes its worker look at it at once. Send queue: wake_fd is -1. */
void port_queue_start(struct port_queue *queue, int wake_fd);

/* Stops a queue without waiting: workers begin no new use of it, wake_fd is out of every epoll set.
 * What it uses may be freed only after port_grace_period(). */
void port_queue_halt(struct port_queue *queue);

/* Stops all queues of the port with one wait: no worker uses them any more, and no wake_fd is in an
 * epoll set. */
void port_stop_queues(struct port *port);

/* Notes the link state, logs the change, and forgets the MACs learned behind a port that went down.
 */
void port_set_link(struct port *port, bool up);

/* Control. A frame of `length` bytes, FRAME_LENGTH_MIN or more, takes the way of one that the port
 * has just received, on the worker that polls it; copied. Bounded for each port, beyond that lost.
 */
void port_inject(struct port *port, const uint8_t *frame, uint32_t length);

/* A guest's MAC has arrived behind this port (RARP of live migration): learns it and sends the RARP
 * announcement into the network. */
void port_announce(struct port *port, struct mac mac);

/* Where it may keep what the next weftd should find; NULL: nowhere. */
const char *port_state_directory(const struct port *port);

/* Waits until no worker uses what was unpublished before the call. */
void port_grace_period(struct port *port);

#endif
