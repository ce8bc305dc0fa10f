/* The limit line: the least work with which a backend can carry frames from one guest to another,
 * and so the most that any backend could reach with this generator on these cores. One thread moves
 * frames between the rings of two guests with one copy, in bursts, prefetching; nothing is checked,
 * learned or counted, and a guest that breaks a rule breaks this program.
 *
 * It speaks only the part of vhost-user that brings up a split ring in one memory region. Main
 * thread: messages of both sockets first, then the rings until a signal or the guests are gone. */
#include <errno.h>
#include <immintrin.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BURST		   64u
#define QUEUES		   2u
#define FDS_MAX		   8u
#define LOOK_AT_SOCKETS	   65536u /* rounds between two looks at the sockets */
#define F_MRG_RXBUF	   15
#define F_PROTOCOL	   30
#define F_VERSION_1	   32
#define NO_NOTIFY	   1u
#define REPLY_FLAGS	   5u
#define NUM_BUFFERS_OFFSET 10u

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct available {
	uint16_t flags;
	_Atomic uint16_t index;
	uint16_t ring[];
};

struct used {
	uint16_t flags;
	_Atomic uint16_t index;
	struct {
		uint32_t id, length;
	} ring[];
};

struct ring {
	struct descriptor *descriptors;
	struct available *available;
	struct used *used;
	uint16_t mask;
	uint16_t next;
	bool enabled;
};

struct guest {
	int listen_fd, fd;
	uint8_t *base; /* host address of the region's start */
	size_t mapped;
	uint64_t guest_address, user_address;
	struct ring rings[QUEUES]; /* 0: to the guest, 1: from it */
};

struct __attribute__((packed)) message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, value;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t descriptors, used, available, log;
		} address;
		struct {
			uint32_t count, padding;
			uint64_t guest_address, size, user_address, offset;
		} memory;
		uint8_t bytes[512];
	};
};

#define HEADER_SIZE offsetof(struct message, u64)

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_socket(struct guest *guest, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	must(strlen(path) < sizeof(address.sun_path), "path too long");
	strcpy(address.sun_path, path);
	unlink(path);
	guest->fd = -1;
	guest->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(guest->listen_fd >= 0 &&
		 bind(guest->listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		 listen(guest->listen_fd, 1) == 0,
	     path);
}

static void forget(struct guest *guest)
{
	if (guest->base != NULL)
		munmap(guest->base, guest->mapped);
	guest->base = NULL;
	memset(guest->rings, 0, sizeof(guest->rings));
}

static void hang_up(struct guest *guest)
{
	close(guest->fd);
	guest->fd = -1;
	forget(guest);
}

/* Keeps the first descriptor of a memory message and closes all others. */
static bool receive(struct guest *guest, struct message *message, int *kept)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	struct iovec iov = { .iov_base = message, .iov_len = HEADER_SIZE };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *cmsg;

	*kept = -1;
	if (recvmsg(guest->fd, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL) != (ssize_t)HEADER_SIZE)
		return false;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg != NULL && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(kept, CMSG_DATA(cmsg), sizeof(*kept));
	if (message->size > sizeof(message->bytes))
		return false;
	return message->size == 0 || recv(guest->fd, message->bytes, message->size, MSG_WAITALL) ==
					 (ssize_t)message->size;
}

static void reply(struct guest *guest, struct message *message, uint32_t size)
{
	message->flags = REPLY_FLAGS;
	message->size = size;
	must(send(guest->fd, message, HEADER_SIZE + size, MSG_NOSIGNAL) > 0, "send");
}

static void map_memory(struct guest *guest, const struct message *message, int fd)
{
	must(message->memory.count == 1 && fd >= 0, "one memory region is all this can do");
	forget(guest);
	guest->mapped = message->memory.size;
	guest->base = mmap(NULL, guest->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			   fd, (off_t)message->memory.offset);
	must(guest->base != MAP_FAILED, "mmap");
	guest->guest_address = message->memory.guest_address;
	guest->user_address = message->memory.user_address;
}

static void set_address(struct guest *guest, const struct message *message)
{
	struct ring *ring = &guest->rings[message->address.index % QUEUES];
	uint8_t *base = guest->base - guest->user_address;

	ring->descriptors = (struct descriptor *)(base + message->address.descriptors);
	ring->available = (struct available *)(base + message->address.available);
	ring->used = (struct used *)(base + message->address.used);
	ring->used->flags = NO_NOTIFY;
}

/* Request numbers are those of the vhost-user specification. */
static void handle(struct guest *guest, struct message *message, int fd)
{
	struct ring *ring = &guest->rings[message->state.index % QUEUES];

	switch (message->request) {
	case 1: /* GET_FEATURES */
		message->u64 = 1ull << F_MRG_RXBUF | 1ull << F_PROTOCOL | 1ull << F_VERSION_1;
		reply(guest, message, sizeof(message->u64));
		break;
	case 5: /* SET_MEM_TABLE */
		map_memory(guest, message, fd);
		break;
	case 8: /* SET_VRING_NUM */
		ring->mask = (uint16_t)(message->state.value - 1);
		break;
	case 9: /* SET_VRING_ADDR */
		set_address(guest, message);
		break;
	case 10: /* SET_VRING_BASE */
		ring->next = (uint16_t)message->state.value;
		break;
	case 11: /* GET_VRING_BASE */
		ring->enabled = false;
		message->state.value = ring->next;
		reply(guest, message, sizeof(message->state));
		break;
	case 15: /* GET_PROTOCOL_FEATURES */
		message->u64 = 0;
		reply(guest, message, sizeof(message->u64));
		break;
	case 18: /* SET_VRING_ENABLE */
		ring->enabled = message->state.value != 0;
		break;
	default:
		break;
	}
}

static void look_at_sockets(struct guest *guests, int timeout_ms)
{
	struct pollfd fds[2];

	for (int i = 0; i < 2; i++) {
		fds[i].fd = guests[i].fd >= 0 ? guests[i].fd : guests[i].listen_fd;
		fds[i].events = POLLIN;
	}
	if (poll(fds, 2, timeout_ms) <= 0)
		return;
	for (int i = 0; i < 2; i++) {
		struct message message;
		int fd;

		if (fds[i].revents == 0)
			continue;
		if (guests[i].fd < 0) {
			guests[i].fd = accept4(guests[i].listen_fd, NULL, NULL, SOCK_CLOEXEC);
			continue;
		}
		if (receive(&guests[i], &message, &fd))
			handle(&guests[i], &message, fd);
		else
			hang_up(&guests[i]);
		if (fd >= 0)
			close(fd);
	}
}

/* Whole vectors, the last of which overlaps the one before: exact, and without a loop of bytes. */
static inline void copy(uint8_t *to, const uint8_t *from, uint32_t length)
{
	uint32_t i = 0;

	if (length < 64 || length > 2048) {
		memcpy(to, from, length);
		return;
	}
	for (; i + 64 <= length; i += 64)
		__builtin_memcpy(to + i, from + i, 64);
	__builtin_memcpy(to + length - 64, from + length - 64, 64);
}

struct pair {
	uint8_t *from, *to;
	uint32_t length;
};

static inline void prefetch(const struct pair *pair)
{
	for (uint32_t i = 0; i < pair->length; i += 64) {
		__builtin_prefetch(pair->from + i);
		if (i < 256)
			__builtin_prefetch(pair->to + i, 1);
	}
}

static uint16_t waiting(const struct ring *ring)
{
	/* Acquire: pairs with the driver's release after it filled descriptors and entries. */
	return (uint16_t)(atomic_load_explicit(&ring->available->index, memory_order_acquire) -
			  ring->next);
}

static inline struct pair next_pair(struct guest *from, struct ring *source, struct guest *to,
				    struct ring *target, uint16_t i)
{
	uint16_t source_at = (uint16_t)(source->next + i) & source->mask;
	uint16_t target_at = (uint16_t)(target->next + i) & target->mask;
	uint16_t source_id = source->available->ring[source_at];
	uint16_t target_id = target->available->ring[target_at];
	const struct descriptor *descriptor = &source->descriptors[source_id];
	struct pair pair = {
		.from = from->base + (descriptor->address - from->guest_address),
		.to = to->base + (target->descriptors[target_id].address - to->guest_address),
		.length = descriptor->length,
	};

	source->used->ring[source_at].id = source_id;
	target->used->ring[target_at].id = target_id;
	target->used->ring[target_at].length = pair.length;
	return pair;
}

static void move(struct guest *from, struct guest *to)
{
	struct ring *source = &from->rings[1], *target = &to->rings[0];
	struct pair pairs[BURST];
	uint16_t count, room;

	if (!source->enabled || !target->enabled)
		return;
	count = waiting(source);
	if (count == 0)
		return;
	room = waiting(target);
	count = count < room ? count : room;
	count = count < BURST ? count : BURST;
	for (uint16_t i = 0; i < count; i++) {
		pairs[i] = next_pair(from, source, to, target, i);
		prefetch(&pairs[i]);
	}
	for (uint16_t i = 0; i < count; i++) {
		uint16_t one = 1;

		copy(pairs[i].to, pairs[i].from, pairs[i].length);
		memcpy(pairs[i].to + NUM_BUFFERS_OFFSET, &one, sizeof(one));
	}
	source->next = (uint16_t)(source->next + count);
	target->next = (uint16_t)(target->next + count);
	/* Release: the driver's acquire of the index sees buffers and entries. */
	atomic_store_explicit(&target->used->index, target->next, memory_order_release);
	atomic_store_explicit(&source->used->index, source->next, memory_order_release);
}

int main(int argc, char **argv)
{
	static struct guest guests[2];
	cpu_set_t set;

	if (argc != 4) {
		fprintf(stderr, "Usage: limit SOCKET SOCKET CORE\n");
		return 2;
	}
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[3]), &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
	open_socket(&guests[0], argv[1]);
	open_socket(&guests[1], argv[2]);
	for (;;) {
		bool up = guests[0].rings[0].enabled && guests[1].rings[0].enabled;

		look_at_sockets(guests, up ? 0 : 100);
		for (unsigned i = 0; i < LOOK_AT_SOCKETS && up; i++) {
			move(&guests[0], &guests[1]);
			move(&guests[1], &guests[0]);
		}
	}
}
