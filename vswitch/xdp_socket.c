/* The interface port's driver "xdp": AF_XDP sockets, one for each of the first queues of the
 * interface (Linux: Documentation/networking/af_xdp.rst). Opened and closed by control; a queue is
 * used by one worker a direction. A program on the interface (xdp_program.c) redirects frames of
 * single other MACs to the socket of their queue. What it leaves to the kernel (for several
 * receivers, of other queues, coalesced by the kernel) still comes: by a packet socket beside,
 * whose filter leaves the host its own, as it does without XDP. That one also makes the interface
 * promiscuous.
 *
 * Each socket has a UMEM of its own: half of the chunks are for receiving and stand in the fill
 * ring or in the burst, half are for sending and stand in the transmit ring or in our list. The two
 * halves share nothing, as their workers are not the same. */
#include "base/checksum.h"
#include "base/parse.h"
#include "vswitch/interface_driver.h"
#include "vswitch/packet_socket.h"
#include "vswitch/xdp_program.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#define RING	     2048u /* of each of the four rings, and chunks of each direction */
#define UMEM_BYTES   ((size_t)2 * RING * XDP_CHUNK)
#define TAG_LENGTH   4u
#define KERNEL_BATCH 32u /* what one call sends without a driver of its own (TX_BATCH_SIZE) */
#define SEND_BYTES   (16 << 20) /* of the kernel, under way */
#define BESIDE_EVERY 16u	/* bursts; while there are bursts all the time */

struct xdp_socket {
	struct xdp_program *program; /* of the interface, for all its sockets */
	struct packet_socket *beside;
	int wake; /* epoll: of both sockets */
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	uint8_t *memory; /* UMEM_BYTES */
	/* Receiving worker. */
	struct xsk_ring_prod fill;
	struct xsk_ring_cons received;
	uint64_t lent[BURST_FRAMES]; /* chunks the burst points into */
	uint32_t lent_count;
	uint32_t turns; /* since `beside` was asked */
	/* Sending worker, under the queue's lock. */
	struct xsk_ring_prod transmit;
	struct xsk_ring_cons completed;
	uint64_t idle[RING]; /* chunks */
	uint32_t idle_count;
};

static int socket_set_up(struct xdp_socket *s, const char *interface, uint32_t queue,
			 struct error *error);

/* NULL: no memory. */
static struct xdp_socket *socket_create(struct xdp_program *program)
{
	struct xdp_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->program = program;
	s->wake = -1;
	s->memory =
	    mmap(NULL, UMEM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->memory == MAP_FAILED) {
		free(s);
		return NULL;
	}
	return s;
}

static void socket_destroy(struct xdp_socket *s)
{
	if (!s)
		return;
	if (s->wake >= 0)
		close(s->wake);
	packet_socket_close(s->beside);
	xsk_socket__delete(s->socket);
	if (s->umem)
		xsk_umem__delete(s->umem);
	munmap(s->memory, UMEM_BYTES);
	free(s);
}

static int open_beside(struct xdp_socket *const *sockets, uint16_t count, int ifindex,
		       struct error *error)
{
	struct packet_socket **beside = calloc(count, sizeof(struct packet_socket *));
	int rc;

	if (!beside)
		return error_set(error, ENOMEM, "out of memory");
	rc = packet_socket_open(ifindex, beside, count, error);
	for (uint16_t i = 0; rc == 0 && i < count; i++)
		sockets[i]->beside = beside[i];
	free(beside);
	return rc;
}

/* The program comes first, as the sockets are bound as it is attached; before it knows them it
 * sends them nothing. */
static int xdp_open(const struct netlink_link *link, void **queues, uint16_t count,
		    struct error *error)
{
	struct xdp_socket **sockets = (struct xdp_socket **)queues;
	struct xdp_program *program = NULL;
	int rc;

	memset(sockets, 0, count * sizeof(struct xdp_socket *));
	libxdp_set_print(NULL); /* it writes to standard error; what matters is in the errno */
	rc = xdp_program_open(link, count, &program, error);
	if (rc != 0)
		return rc;
	for (uint16_t i = 0; rc == 0 && i < count; i++) {
		sockets[i] = socket_create(program);
		if (!sockets[i])
			rc = error_set(error, ENOMEM, "out of memory");
	}
	if (rc == 0)
		rc = open_beside(sockets, count, link->index, error);
	for (uint16_t i = 0; rc == 0 && i < count; i++)
		rc = socket_set_up(sockets[i], link->name, i, error);
	if (rc == 0)
		return 0;
	for (uint16_t i = 0; i < count; i++) {
		socket_destroy(sockets[i]);
		sockets[i] = NULL;
	}
	xdp_program_close(program);
	return rc;
}

static void xdp_close(void **queues, uint16_t count)
{
	xdp_program_close(((struct xdp_socket *)queues[0])->program);
	for (uint16_t i = 0; i < count; i++)
		socket_destroy(queues[i]);
}

static int xdp_follow(void **queues, const struct netlink_link *link, struct error *error)
{
	return xdp_program_follow(((struct xdp_socket *)queues[0])->program, link, error);
}

/* The kernel gives a queue free a while after its last socket was closed, by us or by the weftd
 * before us: until then it is busy, and looks as if another had it. */
static int make_rings(struct xdp_socket *s, const char *interface, uint32_t queue,
		      struct error *error)
{
	const struct xsk_umem_config umem = { .fill_size = RING,
					      .comp_size = RING,
					      .frame_size = XDP_CHUNK };
	const struct xsk_socket_config socket = {
		.rx_size = RING,
		.tx_size = RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		/* With the program in the stack a driver must not bypass it; else it may do
		 * without copies if it can. */
		.bind_flags = xdp_program_is_native(s->program) ? XDP_USE_NEED_WAKEUP
								: XDP_USE_NEED_WAKEUP | XDP_COPY,
	};
	int rc = xsk_umem__create(&s->umem, s->memory, UMEM_BYTES, &s->fill, &s->completed, &umem);

	if (rc != 0) {
		s->umem = NULL;
		return xdp_error(error, "AF_XDP memory", -rc);
	}
	rc = xsk_socket__create(&s->socket, interface, queue, s->umem, &s->received, &s->transmit,
				&socket);
	if (rc == 0)
		return 0;
	s->socket = NULL;
	if (rc == -EINVAL)
		return error_set(error, EINVAL, "AF_XDP socket: the interface has no queue %u",
				 queue);
	if (rc == -EBUSY)
		return error_set(error, EAGAIN,
				 "AF_XDP socket: queue %u is another's, or was until now; "
				 "tried again until it is free",
				 queue);
	return xdp_error(error, "AF_XDP socket", -rc);
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int socket_set_up(struct xdp_socket *s, const char *interface, uint32_t queue,
			 struct error *error)
{
	int rc = make_rings(s, interface, queue, error), fd, size = SEND_BYTES;
	uint32_t at = 0;

	if (rc != 0)
		return rc;
	fd = xsk_socket__fd(s->socket);
	/* So that only the ring bounds what is under way. CAP_NET_ADMIN, which we have. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	s->wake = epoll_create1(EPOLL_CLOEXEC);
	if (s->wake < 0 || watch(s->wake, fd) != 0 ||
	    watch(s->wake, packet_socket_fd(s->beside)) != 0)
		return error_set(error, errno, "epoll: %s", strerror(errno));
	xsk_ring_prod__reserve(&s->fill, RING, &at);
	for (uint32_t i = 0; i < RING; i++) {
		*xsk_ring_prod__fill_addr(&s->fill, at + i) = (uint64_t)i * XDP_CHUNK;
		s->idle[i] = (uint64_t)(RING + i) * XDP_CHUNK;
	}
	s->idle_count = RING;
	xsk_ring_prod__submit(&s->fill, RING);
	return xdp_program_add(s->program, queue, fd, error);
}

static int xdp_fd(const void *queue)
{
	return ((const struct xdp_socket *)queue)->wake;
}

/* The chunks of the last burst may be filled again. */
static void fill_back(struct xdp_socket *s)
{
	uint32_t at;

	/* The ring has room for all there are. */
	if (s->lent_count > 0 && xsk_ring_prod__reserve(&s->fill, s->lent_count, &at) > 0) {
		for (uint32_t i = 0; i < s->lent_count; i++)
			*xsk_ring_prod__fill_addr(&s->fill, at + i) = s->lent[i];
		xsk_ring_prod__submit(&s->fill, s->lent_count);
		s->lent_count = 0;
	}
	if (xsk_ring_prod__needs_wakeup(&s->fill))
		recvfrom(xsk_socket__fd(s->socket), NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* Bytes of L4 that the IP header speaks of; 0 when others follow or some are missing. */
static uint32_t l4_length(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;
	uint32_t length =
	    frame->ip_version == 4 ? read_be16(ip + 2) : PARSE_IPV6_LENGTH + read_be16(ip + 4);

	return frame->l3_offset + length == frame->length ? frame->length - frame->l4_offset : 0;
}

/* A neighbour on the same machine (veth, virtio) leaves checksums half done, and XDP has no word
 * for it. Then the field holds the sum of the pseudo-header, and the frame is marked to be
 * completed. That is right too for a frame whose whole checksum is by chance that number: to
 * complete it gives the same number again. */
static void find_half_checksum(struct frame *frame)
{
	uint16_t offset, field, half;
	uint32_t length;

	parse_frame(frame);
	if (frame->l4_offset == 0)
		return;
	if (frame->l4_protocol == IPPROTO_TCP)
		offset = 16;
	else if (frame->l4_protocol == IPPROTO_UDP)
		offset = 6;
	else
		return;
	length = l4_length(frame);
	if (length == 0 || frame->l4_offset + offset + 2u > frame->head_length)
		return;
	memcpy(&field, frame->head + frame->l4_offset + offset, 2);
	half =
	    (uint16_t)~checksum_finish(checksum_pseudo_header(frame, frame->l4_protocol, length));
	/* 0 in UDP: none. */
	if (field == 0 || field != half)
		return;
	frame->flags |= FRAME_NEEDS_CSUM;
	frame->csum_start = frame->l4_offset;
	frame->csum_offset = offset;
}

static void accept_frame(struct xdp_socket *s, const struct xdp_desc *desc, struct burst *burst,
			 struct port_counters *counters)
{
	/* What the kernel has written is as long as a chunk at most. */
	s->lent[s->lent_count++] = desc->addr & ~(uint64_t)(XDP_CHUNK - 1);
	if (desc->len < FRAME_LENGTH_MIN) {
		counter_drop(counters, DROP_FRAME_SHORT, 1);
		return;
	}
	find_half_checksum(burst_lend(burst, s->memory + desc->addr, desc->len));
	counter_add(&counters->receive_packets, 1);
	counter_add(&counters->receive_bytes, desc->len);
}

static uint32_t xdp_receive(void *queue, struct burst *burst, struct port_counters *counters)
{
	struct xdp_socket *s = queue;
	uint32_t room = burst->limit - burst->count, at, n;

	if (room > BURST_SEGMENTS - burst->segment_count)
		room = BURST_SEGMENTS - burst->segment_count;
	fill_back(s);
	n = xsk_ring_cons__peek(&s->received, room, &at);
	for (uint32_t i = 0; i < n; i++)
		accept_frame(s, xsk_ring_cons__rx_desc(&s->received, at + i), burst, counters);
	if (n > 0)
		xsk_ring_cons__release(&s->received, n);
	/* A system call, so not for each burst while there is enough to do. */
	if (n == 0 || ++s->turns >= BESIDE_EVERY) {
		s->turns = 0;
		if (n < room)
			n += packet_socket_receive(s->beside, burst, counters);
	}
	return n;
}

/* Whether something is in the transmit ring. Any worker. */
static bool is_sending(const struct xdp_socket *s)
{
	return __atomic_load_n(s->transmit.producer, __ATOMIC_RELAXED) !=
	       __atomic_load_n(s->transmit.consumer, __ATOMIC_RELAXED);
}

/* Makes the kernel send what is in the transmit ring. True when it could not take it all now but
 * would a little later. Any worker. */
static bool push(const struct xdp_socket *s)
{
	uint32_t calls = 0;

	while (is_sending(s) && xsk_ring_prod__needs_wakeup(&s->transmit)) {
		if (sendto(xsk_socket__fd(s->socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
		    errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			return false; /* it is down: they go when it is up */
		/* What the driver does by itself from here it does in its own time. */
		if (++calls > RING / KERNEL_BATCH)
			return is_sending(s);
	}
	return false;
}

static bool xdp_is_empty(void *queue)
{
	struct xdp_socket *s = queue;

	return !push(s) && xsk_cons_nb_avail(&s->received, 1) == 0 &&
	       packet_socket_is_empty(s->beside);
}

static void reclaim(struct xdp_socket *s)
{
	uint32_t at, n = xsk_ring_cons__peek(&s->completed, RING - s->idle_count, &at);

	for (uint32_t i = 0; i < n; i++)
		s->idle[s->idle_count++] = *xsk_ring_cons__comp_addr(&s->completed, at + i);
	if (n > 0)
		xsk_ring_cons__release(&s->completed, n);
}

/* As the kernel has it for other sockets: a tag comes on top. */
static bool is_too_long(const struct xdp_socket *s, const struct frame *frame)
{
	uint32_t longest = xdp_program_mtu(s->program) + FRAME_LENGTH_MIN;
	uint16_t type = read_be16(frame->head + 12);

	if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ)
		longest += TAG_LENGTH;
	return frame->length > longest;
}

static uint32_t xdp_send(void *queue, struct frame *const *frames, uint32_t count,
			 struct port_counters *counters)
{
	struct xdp_socket *s = queue;
	uint64_t bytes = 0;
	uint32_t sent = 0, at;

	reclaim(s);
	for (uint32_t i = 0; i < count; i++) {
		const struct frame *frame = frames[i];
		struct xdp_desc *desc;

		if (is_too_long(s, frame)) {
			counter_drop(counters, DROP_FRAME_TOO_LONG_FOR_PORT, 1);
			continue;
		}
		/* The ring has room for as many as there are chunks. */
		if (s->idle_count == 0 || xsk_ring_prod__reserve(&s->transmit, 1, &at) == 0) {
			counter_drop(counters, DROP_NO_BUFFERS, 1);
			continue;
		}
		desc = xsk_ring_prod__tx_desc(&s->transmit, at);
		*desc = (struct xdp_desc){ .addr = s->idle[--s->idle_count], .len = frame->length };
		frame_copy_out(frame, 0, frame->length, s->memory + desc->addr);
		bytes += frame->length;
		sent++;
	}
	if (sent > 0)
		xsk_ring_prod__submit(&s->transmit, sent);
	push(s);
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

/* The frame stands alone in its chunk: nothing says what is still to be done to it. */
static uint32_t xdp_offloads(const void *queue)
{
	return 0;
}

static uint64_t xdp_lost(void *queue)
{
	struct xdp_socket *s = queue;
	struct xdp_statistics stats = { 0 };
	socklen_t length = sizeof(stats);

	getsockopt(xsk_socket__fd(s->socket), SOL_XDP, XDP_STATISTICS, &stats, &length);
	return packet_socket_lost(s->beside) + stats.rx_dropped + stats.rx_ring_full;
}

static void xdp_show(void **queues, json_t *object)
{
	const struct xdp_socket *s = queues[0];
	struct xdp_options options = { 0 };
	socklen_t length = sizeof(options);
	bool native = xdp_program_is_native(s->program);

	getsockopt(xsk_socket__fd(s->socket), SOL_XDP, XDP_OPTIONS, &options, &length);
	json_object_set_new(object, "xdp_mode", json_string(native ? "native" : "generic"));
	json_object_set_new(object, "zero_copy",
			    json_boolean(options.flags & XDP_OPTIONS_ZEROCOPY));
}

const struct driver driver_xdp = {
	.name = "xdp",
	.open = xdp_open,
	.close = xdp_close,
	.follow = xdp_follow,
	.fd = xdp_fd,
	.lost = xdp_lost,
	.show = xdp_show,
	.receive = xdp_receive,
	.send = xdp_send,
	.offloads = xdp_offloads,
	.is_empty = xdp_is_empty,
};
