/* The limit line: the least work with which a backend can carry frames from one guest to another,
 * and so the most that any backend could reach with this generator on these cores. One thread moves
 * frames between the rings of two guests with one copy, in bursts, prefetching; nothing is checked,
 * learned or counted, and a guest that breaks a rule breaks this program.
 *
 * Each guest's frames go to the next guest, those of the last to the first. Adaptive, it sleeps in
 * poll() after a while without frames, like a switch that costs nothing when idle: that is the
 * limit of how soon anything can wake.
 *
 * On SIGUSR1 it prints how many frames it has moved and how many cycles that took: where the
 * generator is the bottleneck, that is still its own.
 *
 * It speaks only the part of vhost-user that brings up a split ring in one memory region. Main
 * thread: messages of the sockets first, then the rings until a signal or the guests are gone. */
#include "bench/cycles.h"

#include <errno.h>
#include <immintrin.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
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

#define BURST 256u
/* Frames between prefetch and copy: as many as have so many lines. */
#define AHEAD_LINES	   100u
#define AHEAD_MIN	   4u
#define AHEAD_MAX	   32u
#define PREFETCH_BYTES	   2048u
#define QUEUES		   2u
#define FDS_MAX		   8u
#define GUESTS_MAX	   16u
#define LOOK_AT_SOCKETS	   65536u /* rounds between two looks at the sockets */
#define LOOK_AT_SIGNAL	   256u	  /* rounds between two looks for a signal */
#define AWAKE_NS	   50000u /* after the last frame, when adaptive */
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
	int kick_fd; /* 0: none */
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
	for (unsigned i = 0; i < QUEUES; i++)
		if (guest->rings[i].kick_fd > 0)
			close(guest->rings[i].kick_fd);
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
	case 12: /* SET_VRING_KICK */
		ring->kick_fd = dup(fd);
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

static void look_at_socket(struct guest *guest)
{
	struct message message;
	int fd;

	if (guest->fd < 0) {
		guest->fd = accept4(guest->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		return;
	}
	if (receive(guest, &message, &fd))
		handle(guest, &message, fd);
	else
		hang_up(guest);
	if (fd >= 0)
		close(fd);
}

/* Waits for messages, and kicks. */
static void look_at_fds(struct guest *guests, unsigned count, int timeout_ms)
{
	struct pollfd fds[2 * GUESTS_MAX];
	uint64_t kicks;

	for (unsigned i = 0; i < count; i++) {
		const struct ring *ring = &guests[i].rings[1];

		fds[i].fd = guests[i].fd >= 0 ? guests[i].fd : guests[i].listen_fd;
		fds[count + i].fd = ring->kick_fd > 0 ? ring->kick_fd : -1;
		fds[i].events = fds[count + i].events = POLLIN;
	}
	if (poll(fds, 2 * count, timeout_ms) <= 0)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (fds[count + i].revents != 0 &&
		    read(fds[count + i].fd, &kicks, sizeof(kicks)) < 0)
			continue;
		if (fds[i].revents != 0)
			look_at_socket(&guests[i]);
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

/* The first lines; a longer copy runs ahead of itself by then. */
static inline void prefetch(const struct pair *pair)
{
	for (uint32_t i = 0; i < pair->length && i < PREFETCH_BYTES; i += 64) {
		__builtin_prefetch(pair->from + i);
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

/* All that was moved, and how long that took. */
static uint64_t moved_frames, moved_cycles;
static volatile sig_atomic_t asked;

static void ask(int signal)
{
	(void)signal;
	asked = 1;
}

static void answer(void)
{
	if (!asked)
		return;
	asked = 0;
	printf("{\"frames\": %llu, \"move\": %llu}\n", (unsigned long long)moved_frames,
	       (unsigned long long)moved_cycles);
	fflush(stdout);
}

/* One burst. Returns the frames. */
static unsigned move(struct guest *from, struct guest *to)
{
	struct ring *source = &from->rings[1], *target = &to->rings[0];
	static unsigned ahead = AHEAD_MIN;
	uint64_t start = cycles_now();
	struct pair pairs[BURST];
	uint16_t count, room;
	uint32_t lines = 0;

	if (!source->enabled || !target->enabled)
		return 0;
	count = waiting(source);
	room = waiting(target);
	count = count < room ? count : room;
	if (count == 0)
		return 0;
	count = count < BURST ? count : BURST;
	for (uint16_t i = 0; i < count; i++) {
		pairs[i] = next_pair(from, source, to, target, i);
		lines += 1 + pairs[i].length / 64;
	}
	for (uint16_t i = 0; i < count && i < ahead; i++)
		prefetch(&pairs[i]);
	for (uint16_t i = 0; i < count; i++) {
		uint16_t one = 1;

		if (i + ahead < count)
			prefetch(&pairs[i + ahead]);
		copy(pairs[i].to, pairs[i].from, pairs[i].length);
		memcpy(pairs[i].to + NUM_BUFFERS_OFFSET, &one, sizeof(one));
	}
	ahead = AHEAD_LINES * count / lines;
	ahead = ahead < AHEAD_MIN ? AHEAD_MIN : ahead > AHEAD_MAX ? AHEAD_MAX : ahead;
	source->next = (uint16_t)(source->next + count);
	target->next = (uint16_t)(target->next + count);
	/* Release: the driver's acquire of the index sees buffers and entries. */
	atomic_store_explicit(&target->used->index, target->next, memory_order_release);
	atomic_store_explicit(&source->used->index, source->next, memory_order_release);
	moved_frames += count;
	moved_cycles += cycles_now() - start;
	return count;
}

static void ask_for_kicks(struct guest *guests, unsigned count, uint16_t flags)
{
	for (unsigned i = 0; i < count; i++)
		if (guests[i].rings[1].used != NULL)
			*(volatile uint16_t *)&guests[i].rings[1].used->flags = flags;
	/* The wish is seen before the index is looked at once more (virtio 1.2, 2.7.10). */
	atomic_thread_fence(memory_order_seq_cst);
}

static unsigned move_all(struct guest *guests, unsigned count)
{
	unsigned moved = 0;

	for (unsigned i = 0; i < count; i++)
		moved += move(&guests[i], &guests[(i + 1) % count]);
	return moved;
}

/* Until it is time to look at the sockets, or nothing came for a while. */
static void move_for_a_while(struct guest *guests, unsigned count, bool adaptive)
{
	uint64_t last = clock_ns();

	for (unsigned i = 0; i < LOOK_AT_SOCKETS; i++) {
		if (move_all(guests, count) > 0 && adaptive)
			last = clock_ns();
		if (i % LOOK_AT_SIGNAL == 0)
			answer();
		if (!adaptive || clock_ns() - last < AWAKE_NS)
			continue;
		ask_for_kicks(guests, count, 0);
		if (move_all(guests, count) == 0)
			look_at_fds(guests, count, -1);
		ask_for_kicks(guests, count, NO_NOTIFY);
		return;
	}
}

int main(int argc, char **argv)
{
	static struct guest guests[GUESTS_MAX];
	unsigned count = (unsigned)argc - 3;
	cpu_set_t set;

	if (argc < 5 || count > GUESTS_MAX) {
		fprintf(stderr, "Usage: limit CORE busy|adaptive SOCKET SOCKET...\n");
		return 2;
	}
	must(signal(SIGUSR1, ask) != SIG_ERR, "signal");
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[1]), &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
	for (unsigned i = 0; i < count; i++)
		open_socket(&guests[i], argv[3 + i]);
	for (;;) {
		bool up = true;

		for (unsigned i = 0; i < count; i++)
			up = up && guests[i].rings[0].enabled;
		look_at_fds(guests, count, up ? 0 : 100);
		answer();
		if (up)
			move_for_a_while(guests, count, strcmp(argv[2], "adaptive") == 0);
	}
}
