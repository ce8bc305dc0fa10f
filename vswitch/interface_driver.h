/* How an interface port's frames pass: one row for each `driver` it may have, used by
 * port_interface.c. A queue is the driver's own, opened and closed by control and used by one
 * worker a direction. */
#ifndef WEFT_VSWITCH_INTERFACE_DRIVER_H
#define WEFT_VSWITCH_INTERFACE_DRIVER_H

#include "base/error.h"
#include "base/frame.h"
#include "vswitch/netlink.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct driver {
	const char *name;
	/* Control. Opens and starts all `count` queues. 0, or -errno with the error set and nothing
	 * left; -EAGAIN when another still holds what is needed, so that it may work later. */
	int (*open)(const struct netlink_link *link, void **queues, uint16_t count,
		    struct error *error);
	/* Control. No worker uses them any more. */
	void (*close)(void **queues, uint16_t count);
	/* Control. The link has changed and has the same index. 0, or -errno with the error set:
	 * then the queues are to be closed. May be NULL. */
	int (*follow)(void **queues, const struct netlink_link *link, struct error *error);
	int (*fd)(const void *queue); /* readable: something is there, or it failed */
	/* Control. Frames the kernel had no room for, since the queue was opened. */
	uint64_t (*lost)(void *queue);
	/* Control. Adds what only this driver has to the port's JSON object. May be NULL. */
	void (*show)(void **queues, json_t *object);
	/* Worker. As those of struct port_type; frames of a burst stay until the next receive. */
	uint32_t (*receive)(void *queue, struct burst *burst, struct port_counters *counters);
	uint32_t (*send)(void *queue, struct frame *const *frames, uint32_t count,
			 struct port_counters *counters);
	uint32_t (*offloads)(const void *queue);
	/* Worker. Nothing is there to be received. */
	bool (*is_empty)(void *queue);
};

/* packet_socket.c, xdp_socket.c */
extern const struct driver driver_packet, driver_xdp;

#endif
