/* A vhost-user frontend on memfds: what a hypervisor and its guest's virtio-net driver do, in one
 * object that a test drives step by step, faults included. Messages and rings are written from the
 * specifications (https://qemu-project.gitlab.io/qemu/interop/vhost-user.html; virtio 1.2, 2.7 and
 * 5.1) and share nothing with the device under test.
 *
 * There are no threads inside. Whoever runs the device in the same thread gives a `pump` that lets
 * it work once without blocking; each wait calls it. A wait that sees nothing for `timeout_ms`
 * fails with -ETIMEDOUT: a bound on failure, not a means of synchronisation.
 *
 * The fields of struct fake_guest are open to tests: rings and memory may be corrupted at will.
 * Functions return 0 (or what they say) or -errno. */
#ifndef WEFT_TESTS_LIB_FAKE_GUEST_H
#define WEFT_TESTS_LIB_FAKE_GUEST_H

#include "tests/lib/fake_memory.h"
#include "tests/lib/fake_ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_QUEUES_MAX	 128u
#define FAKE_MESSAGE_MAX 512u
#define FAKE_FDS_MAX	 32u
#define FAKE_NO_SLOT	 UINT32_MAX /* cookie of a chain that is in no slot */

enum fake_request {
	FAKE_GET_FEATURES = 1,
	FAKE_SET_FEATURES = 2,
	FAKE_SET_OWNER = 3,
	FAKE_RESET_OWNER = 4,
	FAKE_SET_MEM_TABLE = 5,
	FAKE_SET_LOG_BASE = 6,
	FAKE_SET_LOG_FD = 7,
	FAKE_SET_VRING_NUM = 8,
	FAKE_SET_VRING_ADDR = 9,
	FAKE_SET_VRING_BASE = 10,
	FAKE_GET_VRING_BASE = 11,
	FAKE_SET_VRING_KICK = 12,
	FAKE_SET_VRING_CALL = 13,
	FAKE_SET_VRING_ERR = 14,
	FAKE_GET_PROTOCOL_FEATURES = 15,
	FAKE_SET_PROTOCOL_FEATURES = 16,
	FAKE_GET_QUEUE_NUM = 17,
	FAKE_SET_VRING_ENABLE = 18,
	FAKE_SEND_RARP = 19,
	FAKE_NET_SET_MTU = 20,
	FAKE_SET_BACKEND_REQ_FD = 21,
	FAKE_IOTLB_MSG = 22,
	FAKE_GET_INFLIGHT_FD = 31,
	FAKE_SET_INFLIGHT_FD = 32,
	FAKE_RESET_DEVICE = 34,
	FAKE_GET_MAX_MEM_SLOTS = 36,
	FAKE_ADD_MEM_REG = 37,
	FAKE_REM_MEM_REG = 38,
	FAKE_SET_STATUS = 39,
	FAKE_GET_STATUS = 40,
};

#define FAKE_VERSION	1u
#define FAKE_REPLY	4u
#define FAKE_NEED_REPLY 8u
#define FAKE_NO_FD	0x100u /* in the payload of SET_VRING_KICK, CALL and ERR */

/* Virtio feature bits, as numbers of bits. */
enum fake_feature {
	FAKE_F_CSUM = 0,
	FAKE_F_GUEST_CSUM = 1,
	FAKE_F_MTU = 3,
	FAKE_F_GUEST_TSO4 = 7,
	FAKE_F_GUEST_TSO6 = 8,
	FAKE_F_GUEST_ECN = 9,
	FAKE_F_GUEST_UFO = 10,
	FAKE_F_HOST_TSO4 = 11,
	FAKE_F_HOST_TSO6 = 12,
	FAKE_F_HOST_ECN = 13,
	FAKE_F_HOST_UFO = 14,
	FAKE_F_MRG_RXBUF = 15,
	FAKE_F_STATUS = 16,
	FAKE_F_CTRL_VQ = 17,
	FAKE_F_GUEST_ANNOUNCE = 21,
	FAKE_F_MQ = 22,
	FAKE_F_LOG_ALL = 26,
	FAKE_F_INDIRECT_DESC = 28,
	FAKE_F_EVENT_IDX = 29,
	FAKE_F_PROTOCOL_FEATURES = 30,
	FAKE_F_VERSION_1 = 32,
	FAKE_F_RING_PACKED = 34,
	FAKE_F_IN_ORDER = 35,
	FAKE_F_GUEST_USO4 = 54,
	FAKE_F_GUEST_USO6 = 55,
	FAKE_F_HOST_USO = 56,
};

enum fake_protocol_feature {
	FAKE_PROTOCOL_MQ = 0,
	FAKE_PROTOCOL_LOG_SHMFD = 1,
	FAKE_PROTOCOL_RARP = 2,
	FAKE_PROTOCOL_REPLY_ACK = 3,
	FAKE_PROTOCOL_NET_MTU = 4,
	FAKE_PROTOCOL_BACKEND_REQ = 5,
	FAKE_PROTOCOL_RESET_DEVICE = 13,
	FAKE_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
	FAKE_PROTOCOL_STATUS = 16,
};

#define FAKE_BIT(n) (1ull << (n))

enum fake_role {
	FAKE_CONNECTS, /* the device listens */
	FAKE_LISTENS,  /* the device connects */
};

enum fake_order {
	FAKE_ORDER_QEMU,	/* enables before features and memory; base, then addresses */
	FAKE_ORDER_UML,		/* owner first, asks for every ack, never enables */
	FAKE_ORDER_VIRTIO_USER, /* call fds first, then features, memory, rings, enable */
};

/* How a frame and its header are cut into descriptors. */
struct fake_layout {
	uint32_t first; /* bytes of the first buffer; 0: no cut there */
	uint32_t piece; /* bytes of each further one; 0: all the rest in one */
	uint32_t gap;	/* bytes left unused in memory between two buffers */
	enum { FAKE_DIRECT, FAKE_INDIRECT } table;
};

/* virtio 1.2, 5.1.6.1; 10 bytes without num_buffers for a legacy driver without MRG_RXBUF. */
struct fake_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

/* The position sent with SET_VRING_BASE when a ring is taken up again. */
enum fake_base {
	FAKE_BASE_USED, /* the used index: QEMU, when it could not ask a backend that is gone */
	FAKE_BASE_ZERO, /* always 0: a frontend that knows nothing of before */
};

struct fake_guest_options {
	const char *path; /* of the socket */
	enum fake_role role;
	uint16_t queue_pairs;	    /* 0: 1 */
	uint16_t ring_size;	    /* 1..32768, a power of two unless packed; 0: 256 */
	bool packed;		    /* RING_PACKED is acknowledged, too, and must be offered */
	uint32_t regions;	    /* 1..509; 0: 1 */
	uint64_t region_size;	    /* bytes, whole pages; 0: as much as is needed */
	uint64_t plug_room;	    /* bytes of address space kept for regions plugged later */
	uint32_t buffer_size;	    /* bytes of a frame's slot, header included; 0: 2048 */
	uint32_t indirect_entries;  /* of a slot's indirect table; 0: 64 */
	uint64_t features;	    /* to acknowledge, of those offered; 0: a modern driver's */
	uint64_t protocol_features; /* likewise; 0: all that this fake guest speaks */
	struct fake_layout send;
	struct fake_layout receive;
	enum fake_base base;
	uint32_t timeout_ms; /* 0: 10,000 */
	void (*pump)(void *context);
	void *pump_context;
};

struct fake_queue {
	struct fake_ring ring;
	uint32_t base; /* packed: for SET_VRING_BASE of a frontend like QEMU */
	uint64_t descriptors, available, used; /* guest physical */
	uint64_t log_address;		       /* for SET_VRING_ADDR */
	uint32_t address_flags;		       /* 1: log the used ring */
	int kick_fd, call_fd, error_fd;
	uint64_t slots;	 /* guest physical; ring.size of buffer_size bytes */
	uint64_t tables; /* guest physical; ring.size indirect tables */
	uint32_t *free_slots;
	uint32_t free_slot_count;
	struct fake_layout *layouts; /* by slot: how it was posted */
	uint32_t *lengths;	     /* by slot: bytes posted */
	uint32_t *held;		     /* slots handed out by fake_guest_receive_burst() */
	uint32_t held_count;
	uint64_t kicks;
};

struct fake_guest {
	struct fake_guest_options options;
	int listen_fd;
	int fd;
	int backend_fd; /* our end of the backend's request channel */
	struct fake_memory memory;
	uint32_t queue_count;
	struct fake_queue *queues;
	uint64_t offered, features;
	uint64_t protocol_offered, protocol_features;
	uint64_t max_slots, max_queues;
	uint32_t header_size;
	uint32_t messages;	    /* sent on this connection */
	uint32_t message_limit;	    /* 0: none; else sending more fails with -ECANCELED */
	struct fake_buffer *pieces; /* scratch: one chain */
};

struct fake_packet {
	void *data; /* header and frame */
	uint32_t length;
};

/* Life. create makes memory and rings and, when the device connects, the listening socket; it does
 * not connect. */
int fake_guest_create(const struct fake_guest_options *options, struct fake_guest **out);
void fake_guest_destroy(struct fake_guest *guest);

/* Connects (or accepts) and shakes hands in the given order: afterwards all rings run. */
int fake_guest_start(struct fake_guest *guest, enum fake_order order);
int fake_guest_connect(struct fake_guest *guest);
void fake_guest_disconnect(struct fake_guest *guest);
int fake_guest_handshake(struct fake_guest *guest, enum fake_order order);

/* Disconnects, connects again and takes the rings up as QEMU does when its backend was started
 * anew: where the used index stands; packed ones, of which it knows nothing better, where they last
 * started. */
int fake_guest_reconnect(struct fake_guest *guest, enum fake_order order);

/* Raw messages. send: `claimed` is the header's size, of which `size` bytes really follow.
 * receive: one whole message within the time-out. request: send with what the negotiated
 * REPLY_ACK asks for, and check the ack: -EREMOTEIO when it is not 0. query: send and read the
 * reply's payload, of exactly `reply_size` bytes. */
struct fake_message {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	uint8_t payload[FAKE_MESSAGE_MAX];
};
int fake_guest_send_message(struct fake_guest *guest, uint32_t request, uint32_t flags,
			    uint32_t claimed, const void *payload, size_t size, const int *fds,
			    uint32_t fd_count);
int fake_guest_send_bytes(struct fake_guest *guest, const void *bytes, size_t size, const int *fds,
			  uint32_t fd_count);
int fake_guest_receive_message(struct fake_guest *guest, struct fake_message *message);
int fake_guest_request(struct fake_guest *guest, uint32_t request, const void *payload, size_t size,
		       const int *fds, uint32_t fd_count);
int fake_guest_query(struct fake_guest *guest, uint32_t request, const void *payload, size_t size,
		     void *reply, size_t reply_size);

/* 0 once the device has closed the connection (replies before that are read and thrown away). */
int fake_guest_wait_hangup(struct fake_guest *guest);

/* Waits until everything sent so far was handled: a GET_FEATURES and its reply. */
int fake_guest_sync(struct fake_guest *guest);

/* The steps of a handshake, one message each but for the first two. */
int fake_guest_get_features(struct fake_guest *guest);
int fake_guest_negotiate_protocol(struct fake_guest *guest, uint64_t wanted);
int fake_guest_set_owner(struct fake_guest *guest);
int fake_guest_set_features(struct fake_guest *guest, uint64_t features);
int fake_guest_set_u64(struct fake_guest *guest, uint32_t request, uint64_t value);
int fake_guest_get_u64(struct fake_guest *guest, uint32_t request, uint64_t *value);
int fake_guest_set_backend_fd(struct fake_guest *guest);
int fake_guest_set_state(struct fake_guest *guest, uint32_t request, uint32_t queue,
			 uint32_t value);
int fake_guest_set_fd(struct fake_guest *guest, uint32_t request, uint32_t queue, int fd);
int fake_guest_set_address(struct fake_guest *guest, uint32_t queue);
int fake_guest_setup_queue(struct fake_guest *guest, uint32_t queue, uint32_t base);
int fake_guest_enable(struct fake_guest *guest, uint32_t queue, uint32_t enable);
int fake_guest_get_base(struct fake_guest *guest, uint32_t queue, uint32_t *base);

/* Tells the device of all regions: SET_MEM_TABLE for up to 8 of them, else ADD_MEM_REG each. */
int fake_guest_send_memory(struct fake_guest *guest);
int fake_guest_send_table(struct fake_guest *guest, uint32_t count);

/* Memory hot-plug. plug: a new region's index. */
int fake_guest_plug(struct fake_guest *guest, uint64_t size);
int fake_guest_unplug(struct fake_guest *guest, uint32_t region);
int fake_guest_send_region(struct fake_guest *guest, uint32_t request, uint32_t region);

/* Cuts the file of a region to `size` bytes. The guest itself must not touch what is gone. */
int fake_guest_truncate(struct fake_guest *guest, uint32_t region, uint64_t size);

/* Traffic. `pair` counts queue pairs; the guest sends on queue 2 * pair + 1.
 * send: one frame behind its header in the layout options.send; -ENOSPC when the ring is full.
 * reclaim: takes back what the device has returned; the number, or -EPROTO.
 * post: gives `count` receive buffers of `size` bytes (header included) in options.receive.
 * receive: the next frame: its length, -EAGAIN when there is none, -EPROTO when the device broke
 * a rule, -EMSGSIZE when it is longer than `room`. wait_receive: the same, waiting on the call
 * fd. wait_sent: until all that was sent has been returned. */
int fake_guest_send(struct fake_guest *guest, uint32_t pair, const struct fake_header *header,
		    const void *frame, uint32_t length);
int fake_guest_reclaim(struct fake_guest *guest, uint32_t pair);
int fake_guest_post(struct fake_guest *guest, uint32_t pair, uint32_t count, uint32_t size);
int fake_guest_receive(struct fake_guest *guest, uint32_t pair, struct fake_header *header,
		       void *frame, uint32_t room);
int fake_guest_wait_receive(struct fake_guest *guest, uint32_t pair, struct fake_header *header,
			    void *frame, uint32_t room);
int fake_guest_wait_sent(struct fake_guest *guest, uint32_t pair);

/* Posts a chain of the caller's own buffers on any queue and tells the device. Its cookie is
 * FAKE_NO_SLOT. */
int fake_guest_post_chain(struct fake_guest *guest, uint32_t queue,
			  const struct fake_buffer *buffers, uint32_t count, uint16_t flags);

/* Writes the kick fd / waits for the call fd to become readable and empties it / publishes and
 * kicks when asked to. */
void fake_guest_kick(struct fake_guest *guest, uint32_t queue);
int fake_guest_wait_call(struct fake_guest *guest, uint32_t queue);
void fake_guest_publish(struct fake_guest *guest, uint32_t queue);

/* Fast path of a traffic generator: single buffers, no system call but a kick or call the device
 * asks for. send_burst copies `count` packets (header and frame each) in; send_prepared posts
 * `count` slots of `length` bytes as they are (fill them once through fake_guest_slot()). Both
 * reclaim first and return how many were taken. receive_burst hands out what has arrived, in place
 * and each in a single buffer; receive_done gives all that back to the ring. */
uint8_t *fake_guest_slot(struct fake_guest *guest, uint32_t queue, uint32_t slot);
uint32_t fake_guest_send_burst(struct fake_guest *guest, uint32_t pair,
			       const struct fake_packet *packets, uint32_t count);
uint32_t fake_guest_send_prepared(struct fake_guest *guest, uint32_t pair, uint32_t count,
				  uint32_t length);
uint32_t fake_guest_receive_burst(struct fake_guest *guest, uint32_t pair,
				  struct fake_packet *packets, uint32_t count);
void fake_guest_receive_done(struct fake_guest *guest, uint32_t pair);

/* Inside the library: waits for `events` of poll(2) on fd, pumping. */
int fake_guest_wait_fd(struct fake_guest *guest, int fd, short events);

#endif
