/* A vhost-user backend device: one socket, one frontend at a time, its memory and its queues
 * (https://qemu-project.gitlab.io/qemu/interop/vhost-user.html). Control thread, for all of it, but
 * for the virtqueues, which belong to workers while running.
 *
 * The owner (a port of the switch) is told what happens through callbacks. */
#ifndef WEFT_VHOST_USER_DEVICE_H
#define WEFT_VHOST_USER_DEVICE_H

#include "base/error.h"
#include "base/mac.h"
#include "vhost-user/virtqueue.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VHOST_QUEUE_PAIRS_MAX 64u

struct event_base;
struct vhost_device;

enum vhost_role {
	VHOST_ROLE_SERVER, /* we listen; frontends come and go */
	VHOST_ROLE_CLIENT, /* the frontend listens; we connect and retry for ever */
};

struct vhost_device_config {
	const char *name; /* the port's, for log lines; copied */
	const char *path; /* of the socket; copied; must fit sockaddr_un */
	enum vhost_role role;
	uint16_t socket_mode; /* permissions of a server's socket; 0: what the umask leaves */
	bool has_socket_group;
	gid_t socket_group;   /* group of a server's socket */
	uint16_t queue_pairs; /* 1..VHOST_QUEUE_PAIRS_MAX; VIRTIO_NET_F_MQ is offered when > 1 */
	/* Where packed rings leave their position for the next weftd (ring_state.h); NULL: nowhere.
	 * Copied. */
	const char *state_directory;
};

struct vhost_device_callbacks {
	/* Returns when no worker is inside a queue that was not running at the call (rcu_wait). */
	void (*grace_period)(void *owner);
	/* Just after vq->running became true: workers must look at it now (there may be entries
	 * without a kick) and from then on wake by vq->kick_fd. */
	void (*queue_started)(void *owner, struct virtqueue *vq);
	/* Just before vq->running becomes false, and before its kick fd is closed or replaced. */
	void (*queue_stopping)(void *owner, struct virtqueue *vq);
	/* Up: at least one pair of queues runs and the frontend is connected. */
	void (*link_changed)(void *owner, bool up);
	/* SEND_RARP: the guest has arrived here (live migration); announce its MAC to the network.
	 */
	void (*announce)(void *owner, struct mac mac);
};

/* Opens the device: listens, or starts to connect. A server's path: a stale socket nobody listens
 * on is replaced; a live one (EADDRINUSE), a file that is no socket (EEXIST) and a path too long
 * (ENAMETOOLONG) are refused with the reason in *error, and so are a directory that is not there
 * (ENOENT) and a group that may not be given (EPERM). */
int vhost_device_create(struct event_base *loop, const struct vhost_device_config *config,
			const struct vhost_device_callbacks *callbacks, void *owner,
			struct vhost_device **out, struct error *error);

/* Stops all queues (used entries flushed, guest called), closes the connection and the socket,
 * removes the path of a server. Takes NULL. */
void vhost_device_destroy(struct vhost_device *device);

/* The queues, by index 0 .. 2 * queue_pairs - 1. They live as long as the device. */
struct virtqueue *vhost_device_queue(struct vhost_device *device, uint32_t index);
uint32_t vhost_device_queue_count(const struct vhost_device *device);

/* Looks for truncated guest memory and dirty logs after the fault eventfd fired: takes the
 * connection down with the reason "guest memory truncated by the frontend". Looks for rings that
 * workers found broken, too: stops each, notes why, and tells the frontend through the error fd;
 * workers cannot say so themselves, so this wants to be called about once a second. */
void vhost_device_check_faults(struct vhost_device *device);

/* For `show`: a snapshot of the device's state. Strings are static or owned by the device. */
struct vhost_device_status {
	bool connected;
	uint64_t features;	    /* negotiated virtio features */
	uint64_t protocol_features; /* negotiated */
	uint32_t memory_regions;
	uint64_t memory_size;
	uint8_t device_status; /* virtio status byte, SET_STATUS */
	uint16_t mtu;	       /* NET_SET_MTU, 0 when never set */
	bool logging;	       /* dirty log on */
	uint64_t connects;
	uint64_t disconnects;
	uint64_t message_errors;
	/* Why the last connection ended or a message was refused; "" if none, and from the next
	 * connection on. */
	const char *last_error;
};
void vhost_device_get_status(const struct vhost_device *device, struct vhost_device_status *status);

/* Name of a virtio-net or transport feature bit ("mrg_rxbuf"), or of a vhost-user protocol feature
 * ("reply_ack"); NULL for one without a name. */
const char *vhost_feature_name(unsigned bit);
const char *vhost_protocol_feature_name(unsigned bit);

/* Feature bits weft can offer. */
uint64_t vhost_supported_features(void);

#endif
