/* The vhost-user wire format: requests, payloads, feature bits
 * (https://qemu-project.gitlab.io/qemu/interop/vhost-user.html), and the table of what each request
 * asks for. Numbers are in the machine's byte order. Control thread. */
#ifndef WEFT_VHOST_USER_PROTOCOL_H
#define WEFT_VHOST_USER_PROTOCOL_H

#include "base/error.h"

#include <stdint.h>

struct vhost_device;

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_LOG_BASE = 6,
	VHOST_SET_LOG_FD = 7,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SEND_RARP = 19,
	VHOST_NET_SET_MTU = 20,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
	VHOST_REQUEST_LIMIT
};

/* Bits of vhost-user "protocol features". */
enum vhost_protocol_feature {
	VHOST_PROTOCOL_F_MQ = 0,
	VHOST_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_PROTOCOL_F_RARP = 2,
	VHOST_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_PROTOCOL_F_NET_MTU = 4,
	VHOST_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_PROTOCOL_F_STATUS = 16,
};

#define VHOST_HEADER_SIZE	12u
#define VHOST_FLAG_VERSION_MASK 0x3u
#define VHOST_FLAG_VERSION	0x1u
#define VHOST_FLAG_REPLY	0x4u
#define VHOST_FLAG_NEED_REPLY	0x8u

/* Payload of SET_VRING_KICK, _CALL, _ERR. */
#define VHOST_VRING_INDEX_MASK 0xffu
#define VHOST_VRING_NO_FD      0x100u

#define VHOST_VRING_FLAG_LOG 0x1u /* struct vhost_ring_address.flags */

#define VHOST_MESSAGE_FDS     8u
#define VHOST_MESSAGE_REGIONS 8u

struct vhost_header {
	uint32_t request; /* enum vhost_request */
	uint32_t flags;
	uint32_t size; /* of the payload; of it a message has what fits union vhost_payload */
};

struct vhost_ring_state {
	uint32_t index;
	uint32_t number;
};

/* Where a ring lies, in the frontend's address space. */
struct vhost_ring_address {
	uint32_t index;
	uint32_t flags;
	uint64_t descriptors;
	uint64_t used;
	uint64_t available;
	uint64_t log; /* of the used ring, guest physical */
};

struct vhost_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t mmap_offset;
};

struct vhost_memory_table {
	uint32_t count;
	uint32_t padding;
	struct vhost_region regions[VHOST_MESSAGE_REGIONS];
};

struct vhost_memory_slot {
	uint64_t padding;
	struct vhost_region region;
};

struct vhost_log_area {
	uint64_t size;
	uint64_t offset;
};

union vhost_payload {
	uint64_t number;
	uint8_t bytes[8];
	struct vhost_ring_state state;
	struct vhost_ring_address address;
	struct vhost_memory_table memory;
	struct vhost_memory_slot slot;
	struct vhost_log_area log;
};

/* A message with the file descriptors that came along. A handler that keeps one takes it out with
 * vhost_message_take_fd(); the rest are closed when the message is done. A handler of a request
 * that has a reply leaves the reply in payload and header.size. */
struct vhost_message {
	struct vhost_header header;
	union vhost_payload payload;
	uint32_t fd_count;
	int fds[VHOST_MESSAGE_FDS];
};

/* The fd becomes the caller's; -1 when there is none. */
int vhost_message_take_fd(struct vhost_message *message, uint32_t i);

/* Does what `message` asks: checks it against the table, makes quiet the queues it needs quiet,
 * calls the handler, starts what can run, and replies. 0, or -errno and the reason in *error when
 * the connection must be closed. */
int vhost_protocol_dispatch(struct vhost_device *device, struct vhost_message *message,
			    struct error *error);

/* "SET_VRING_NUM"; "unknown request" for a number that is not in the table. */
const char *vhost_request_name(uint32_t request);

/* Handlers, by subject: requests.c, requests_memory.c, requests_ring.c. */
#define VHOST_HANDLER(name)                                                                        \
	int vhost_handle_##name(struct vhost_device *device, struct vhost_message *message,        \
				struct error *error)
VHOST_HANDLER(get_features);
VHOST_HANDLER(set_features);
VHOST_HANDLER(get_protocol_features);
VHOST_HANDLER(set_protocol_features);
VHOST_HANDLER(set_owner);
VHOST_HANDLER(reset_owner);
VHOST_HANDLER(reset_device);
VHOST_HANDLER(get_queue_num);
VHOST_HANDLER(send_rarp);
VHOST_HANDLER(net_set_mtu);
VHOST_HANDLER(set_backend_req_fd);
VHOST_HANDLER(set_status);
VHOST_HANDLER(get_status);
VHOST_HANDLER(set_mem_table);
VHOST_HANDLER(get_max_mem_slots);
VHOST_HANDLER(add_mem_reg);
VHOST_HANDLER(rem_mem_reg);
VHOST_HANDLER(set_log_base);
VHOST_HANDLER(set_log_fd);
VHOST_HANDLER(set_vring_num);
VHOST_HANDLER(set_vring_addr);
VHOST_HANDLER(set_vring_base);
VHOST_HANDLER(get_vring_base);
VHOST_HANDLER(set_vring_kick);
VHOST_HANDLER(set_vring_call);
VHOST_HANDLER(set_vring_err);
VHOST_HANDLER(set_vring_enable);

#endif
