/* What a vhost-user device knows; shared by the files that make it up: device.c (life cycle),
 * ring.c (starting and stopping queues), protocol.c and requests*.c (messages). Control thread. */
#ifndef WEFT_VHOST_USER_DEVICE_STATE_H
#define WEFT_VHOST_USER_DEVICE_STATE_H

#include "vhost-user/connection.h"
#include "vhost-user/device.h"
#include "vhost-user/feature_bits.h"
#include "vhost-user/protocol.h"
#include "vhost-user/ring_state.h"
#include "vhost-user/socket.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum ring_enable {
	RING_ENABLE_UNSAID, /* no SET_VRING_ENABLE so far */
	RING_DISABLED,
	RING_ENABLED,
};

/* A queue, and what the frontend said of it. `vq` holds what is in force while it runs. */
struct ring {
	struct virtqueue vq;
	uint32_t size; /* SET_VRING_NUM; 0: unknown */
	bool addressed;
	struct vhost_ring_address address; /* SET_VRING_ADDR, as given */
	uint16_t position;		   /* packed: where to start unless the journal knows */
	bool kicked;			   /* started by SET_VRING_KICK */
	bool has_run;			   /* since then */
	enum ring_enable enable;
	bool failure_reported; /* why it does not start */
};

/* What was negotiated on this connection. */
struct session {
	bool owned;	     /* SET_OWNER was seen */
	bool features_asked; /* GET_FEATURES was seen */
	bool features_set;   /* SET_FEATURES was seen */
	bool enable_used;    /* any SET_VRING_ENABLE was seen */
	enum vhost_frontend frontend;
	uint64_t features;
	uint64_t protocol_features;
	uint8_t status;
};

struct vhost_device {
	char *name;
	char *path;	       /* of the socket */
	char *state_directory; /* NULL: none */
	uint16_t queue_pairs;
	struct event_base *loop;
	struct vhost_device_callbacks callbacks;
	void *owner;

	struct vhost_socket *socket;
	struct connection *connection;
	struct session session;
	struct guest_memory *memory;
	struct dirty_log *log;
	int log_fd;
	int backend_fd;
	uint32_t ring_count;
	struct ring *rings;
	struct ring_state *ring_state; /* NULL before the first packed ring */
	bool link;

	uint16_t mtu; /* NET_SET_MTU */
	uint64_t connects;
	uint64_t disconnects;
	uint64_t message_errors;
	char last_error[256];
	/* Log lines about misbehaviour: at most LOG_LINES in LOG_SECONDS. */
	time_t log_window;
	uint32_t log_lines;
};

static inline bool session_has(const struct session *session, enum vhost_protocol_feature feature)
{
	return (session->protocol_features & VHOST_BIT(feature)) != 0;
}

static inline bool session_is_packed(const struct session *session)
{
	return (session->features & VHOST_BIT(VHOST_F_RING_PACKED)) != 0;
}

/* Notes an error of the frontend's or the guest's: for `show`, and a log line with the port's name
 * unless there were too many of late. */
void device_note_error(struct vhost_device *device, const char *text);

#endif
