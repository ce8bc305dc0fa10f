/* Getting hold of a tap interface: /dev/net/tun, its flags and offloads, and what netlink says of
 * it. Control thread; port_tap.c is the only user. */
#ifndef WEFT_VSWITCH_TAP_DEVICE_H
#define WEFT_VSWITCH_TAP_DEVICE_H

#include "base/error.h"
#include "vswitch/config.h"

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct tap_device {
	char name[IFNAMSIZ];
	int fds[CONFIG_TAP_QUEUES_MAX]; /* non-blocking; one a queue */
	uint16_t queues;
	uint32_t offloads; /* enum offload the kernel takes from us */
	bool given;	   /* as open files: may live in another network namespace */
};

/* Makes the tap, attaches to it, or takes duplicates of the files given, as the options say. One
 * that was made here is brought up, and goes away with the last file. 0, or -errno with the error
 * set and nothing left behind. */
int tap_device_open(const struct tap_options *options, struct tap_device *device,
		    struct error *error);

/* Takes a device of zeros too. */
void tap_device_close(struct tap_device *device);

/* Adds interface, ifindex, mtu and offloads to the object. */
void tap_device_show(const struct tap_device *device, json_t *object);

#endif
