/* THE table of vhost-user requests: what each may carry, what must be quiet before it is done, and
 * who does it. Called by the connection for each whole message (device.c joins the two). Control
 * thread. */
#include "vhost-user/protocol.h"

#include "vhost-user/device_state.h"
#include "vhost-user/ring.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum fd_rule {
	FDS_NONE,
	FDS_ONE,
	FDS_AT_MOST_ONE,
	FDS_RING, /* one, or none when the payload says so (VHOST_VRING_NO_FD) */
	FDS_PER_REGION,
};

/* Where the payload has a queue's index. */
enum index_rule {
	INDEX_NONE,
	INDEX_NUMBER, /* struct vhost_ring_state or _address: 32 bits */
	INDEX_BYTE,   /* with a fd: 8 bits */
};

enum quiet_rule {
	QUIET_NONE,
	QUIET_QUEUE, /* the queue of the index */
	QUIET_ALL,
};

enum reply_rule {
	REPLY_IF_ASKED, /* NEED_REPLY of REPLY_ACK */
	REPLY_STATUS,	/* always, with 0 */
	REPLY_OWN,	/* always; the handler leaves it in the message */
};

struct request_rule {
	const char *name;
	int (*handle)(struct vhost_device *device, struct vhost_message *message,
		      struct error *error);
	uint16_t size_min;
	uint16_t size_max;
	enum fd_rule fds;
	enum index_rule index;
	enum quiet_rule quiet;
	enum reply_rule reply;
	uint64_t needs; /* protocol features that must be negotiated */
};

#define NUMBER	sizeof(uint64_t), sizeof(uint64_t)
#define STATE	sizeof(struct vhost_ring_state), sizeof(struct vhost_ring_state)
#define ADDRESS sizeof(struct vhost_ring_address), sizeof(struct vhost_ring_address)
#define SLOT	sizeof(struct vhost_memory_slot), sizeof(struct vhost_memory_slot)
#define LOG	sizeof(struct vhost_log_area), sizeof(struct vhost_log_area)
#define TABLE	offsetof(struct vhost_memory_table, regions), sizeof(struct vhost_memory_table)
#define NOTHING 0, 0
#define SLOTS	VHOST_BIT(VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
#define STATUS	VHOST_BIT(VHOST_PROTOCOL_F_STATUS)
#define SHMFD	VHOST_BIT(VHOST_PROTOCOL_F_LOG_SHMFD)
/* clang-format off */
static const struct request_rule rules[VHOST_REQUEST_LIMIT] = {
#define R(symbol, handler, size, fds, index, quiet, reply, needs) \
	[VHOST_##symbol] = { #symbol, vhost_handle_##handler, size, FDS_##fds, INDEX_##index, \
			     QUIET_##quiet, REPLY_##reply, needs }
/*	request               handler                size     fds          index   quiet  reply     needs */
	R(GET_FEATURES,          get_features,          NOTHING, NONE,        NONE,   NONE,  OWN,      0),
	R(SET_FEATURES,          set_features,          NUMBER,  NONE,        NONE,   ALL,   IF_ASKED, 0),
	R(SET_OWNER,             set_owner,             NOTHING, NONE,        NONE,   NONE,  IF_ASKED, 0),
	R(RESET_OWNER,           reset_owner,           NOTHING, NONE,        NONE,   ALL,   IF_ASKED, 0),
	R(SET_MEM_TABLE,         set_mem_table,         TABLE,   PER_REGION,  NONE,   ALL,   IF_ASKED, 0),
	R(SET_LOG_BASE,          set_log_base,          LOG,     ONE,         NONE,   ALL,   STATUS,   SHMFD),
	R(SET_LOG_FD,            set_log_fd,            NOTHING, ONE,         NONE,   NONE,  IF_ASKED, 0),
	R(SET_VRING_NUM,         set_vring_num,         STATE,   NONE,        NUMBER, QUEUE, IF_ASKED, 0),
	R(SET_VRING_ADDR,        set_vring_addr,        ADDRESS, NONE,        NUMBER, QUEUE, IF_ASKED, 0),
	R(SET_VRING_BASE,        set_vring_base,        STATE,   NONE,        NUMBER, QUEUE, IF_ASKED, 0),
	R(GET_VRING_BASE,        get_vring_base,        STATE,   NONE,        NUMBER, QUEUE, OWN,      0),
	R(SET_VRING_KICK,        set_vring_kick,        NUMBER,  RING,        BYTE,   QUEUE, IF_ASKED, 0),
	R(SET_VRING_CALL,        set_vring_call,        NUMBER,  RING,        BYTE,   NONE,  IF_ASKED, 0),
	R(SET_VRING_ERR,         set_vring_err,         NUMBER,  RING,        BYTE,   NONE,  IF_ASKED, 0),
	R(GET_PROTOCOL_FEATURES, get_protocol_features, NOTHING, NONE,        NONE,   NONE,  OWN,      0),
	R(SET_PROTOCOL_FEATURES, set_protocol_features, NUMBER,  NONE,        NONE,   NONE,  IF_ASKED, 0),
	R(GET_QUEUE_NUM,         get_queue_num,         NOTHING, NONE,        NONE,   NONE,  OWN,      0),
	R(SET_VRING_ENABLE,      set_vring_enable,      STATE,   NONE,        NUMBER, NONE,  IF_ASKED, 0),
	R(SEND_RARP,             send_rarp,             NUMBER,  NONE,        NONE,   NONE,  IF_ASKED, 0),
	R(NET_SET_MTU,           net_set_mtu,           NUMBER,  NONE,        NONE,   NONE,  IF_ASKED, 0),
	R(SET_BACKEND_REQ_FD,    set_backend_req_fd,    NOTHING, ONE,         NONE,   NONE,  IF_ASKED, 0),
	R(RESET_DEVICE,          reset_device,          NOTHING, NONE,        NONE,   ALL,   IF_ASKED, 0),
	R(GET_MAX_MEM_SLOTS,     get_max_mem_slots,     NOTHING, NONE,        NONE,   NONE,  OWN,      SLOTS),
	R(ADD_MEM_REG,           add_mem_reg,           SLOT,    ONE,         NONE,   ALL,   IF_ASKED, SLOTS),
	R(REM_MEM_REG,           rem_mem_reg,           SLOT,    AT_MOST_ONE, NONE,   ALL,   IF_ASKED, SLOTS),
	R(SET_STATUS,            set_status,            NUMBER,  NONE,        NONE,   NONE,  IF_ASKED, STATUS),
	R(GET_STATUS,            get_status,            NOTHING, NONE,        NONE,   NONE,  OWN,      STATUS),
#undef R
};
/* clang-format on */

static const struct request_rule *rule_find(uint32_t request);
static int check_message(const struct vhost_device *device, const struct request_rule *rule,
			 const struct vhost_message *message, uint32_t *queue, struct error *error);
static int answer(struct vhost_device *device, const struct request_rule *rule,
		  struct vhost_message *message, int rc, struct error *error);

int vhost_protocol_dispatch(struct vhost_device *device, struct vhost_message *message,
			    struct error *error)
{
	const struct request_rule *rule = rule_find(message->header.request);
	uint32_t queue = 0;
	int rc;

	if (rule == NULL) {
		rc = error_set(error, ENOSYS, "unknown request %u", message->header.request);
		return answer(device, rule, message, rc, error);
	}
	rc = check_message(device, rule, message, &queue, error);
	if (rc == 0) {
		if (rule->quiet == QUIET_ALL)
			rings_stop(device, 0, device->ring_count);
		else if (rule->quiet == QUIET_QUEUE)
			rings_stop(device, queue, 1);
		rc = rule->handle(device, message, error);
		rings_settle(device);
	}
	if (rc < 0)
		error_prefix(error, "%s: ", rule->name);
	return answer(device, rule, message, rc, error);
}

const char *vhost_request_name(uint32_t request)
{
	const struct request_rule *rule = rule_find(request);

	return rule != NULL ? rule->name : "unknown request";
}

static const struct request_rule *rule_find(uint32_t request)
{
	if (request >= VHOST_REQUEST_LIMIT || rules[request].handle == NULL)
		return NULL;
	return &rules[request];
}

/* How many fds the message must have, at least and at most. */
static void fds_allowed(enum fd_rule rule, const struct vhost_message *message, uint32_t *minimum,
			uint32_t *maximum)
{
	*minimum = 0;
	*maximum = 0;
	switch (rule) {
	case FDS_NONE:
		return;
	case FDS_ONE:
		*minimum = 1;
		*maximum = 1;
		return;
	case FDS_AT_MOST_ONE:
		*maximum = 1;
		return;
	case FDS_RING:
		*minimum = (message->payload.number & VHOST_VRING_NO_FD) != 0 ? 0 : 1;
		*maximum = *minimum;
		return;
	case FDS_PER_REGION:
		*minimum = message->payload.memory.count;
		*maximum = *minimum;
		return;
	}
}

static int check_message(const struct vhost_device *device, const struct request_rule *rule,
			 const struct vhost_message *message, uint32_t *queue, struct error *error)
{
	uint32_t size = message->header.size, minimum, maximum;

	if (size < rule->size_min || size > rule->size_max)
		return error_set(error, EINVAL, "a payload of %u bytes", size);
	if ((device->session.protocol_features & rule->needs) != rule->needs)
		return error_set(error, EINVAL, "its protocol feature was not negotiated");
	fds_allowed(rule->fds, message, &minimum, &maximum);
	if (message->fd_count < minimum || message->fd_count > maximum)
		return error_set(error, EINVAL, "%u file descriptors instead of %u",
				 message->fd_count, maximum);
	if (rule->index == INDEX_NONE)
		return 0;
	if (rule->index == INDEX_NUMBER) {
		*queue = message->payload.state.index;
	} else {
		if ((message->payload.number &
		     ~(uint64_t)(VHOST_VRING_INDEX_MASK | VHOST_VRING_NO_FD)) != 0)
			return error_set(error, EINVAL, "reserved bits in the payload");
		*queue = (uint32_t)(message->payload.number & VHOST_VRING_INDEX_MASK);
	}
	if (*queue >= device->ring_count)
		return error_set(error, EINVAL, "queue %u, this port has %u", *queue,
				 device->ring_count);
	return 0;
}

/* Sends the reply if there is to be one. An error that is reported in a reply does not end the
 * connection. */
static int answer(struct vhost_device *device, const struct request_rule *rule,
		  struct vhost_message *message, int rc, struct error *error)
{
	enum reply_rule reply = rule != NULL ? rule->reply : REPLY_IF_ASKED;
	/* After the handler: a frontend may ask for a reply to the very message that negotiates
	 * replies. */
	bool asked = session_has(&device->session, VHOST_PROTOCOL_F_REPLY_ACK) &&
		     (message->header.flags & VHOST_FLAG_NEED_REPLY) != 0;
	int sent;

	if (reply == REPLY_OWN) {
		if (rc < 0)
			return rc;
	} else {
		if (!asked && (rc < 0 || reply == REPLY_IF_ASKED))
			return rc;
		message->payload.number = rc < 0 ? 1 : 0;
		message->header.size = sizeof(message->payload.number);
	}
	message->header.flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY;
	sent = connection_send(device->connection, message);
	if (sent < 0)
		return error_set(error, -sent, "%s: the frontend does not take the reply: %s",
				 vhost_request_name(message->header.request), strerror(-sent));
	if (rc < 0)
		device_note_error(device, error->text);
	return 0;
}
