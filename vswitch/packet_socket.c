/* AF_PACKET (packet_socket.h). Frames come and go in bursts, one system call for each: recvmmsg
 * into slots of the socket's own, which the burst points into, and sendmmsg straight from where the
 * frames lie. */
#include "vswitch/packet_socket.h"

#include "base/vnet_header.h"
#include "vswitch/gather.h"
#include "vswitch/interface_driver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Since Linux 5.11; the headers we build with may be older. */
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

#define BUFFER_BYTES (4 << 20) /* the kernel's, each direction */
#define TAG_LENGTH   4u
/* What follows the head of the longest frame without its tag, and a byte more: a longer one shows
 * itself by it and is not taken for whole. */
#define SLOT_BYTES    ((size_t)(FRAME_LENGTH_MAX - FRAME_HEAD_MAX + 1))
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct tpacket_auxdata)) /* a multiple of 8 */

struct packet_socket {
	int fd;
	uint64_t lost; /* control's */
	/* Receiving worker. */
	struct mmsghdr messages[BURST_FRAMES];
	struct iovec parts[BURST_FRAMES][3];
	struct vnet_header headers[BURST_FRAMES];
	uint8_t controls[BURST_FRAMES][CONTROL_BYTES] __attribute__((aligned(16)));
	uint8_t *slots; /* BURST_FRAMES of SLOT_BYTES; resident as far as they are used */
	/* Sending worker, under the queue's lock. */
	struct mmsghdr out[BURST_FRAMES];
	struct gather gather;
};

static int set_up(int fd, struct error *error);
static int start(struct packet_socket *const *sockets, uint16_t count, int ifindex,
		 struct error *error);

static struct packet_socket *socket_create(struct error *error)
{
	struct packet_socket *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(error, ENOMEM, "out of memory");
		return NULL;
	}
	s->slots = mmap(NULL, BURST_FRAMES * SLOT_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->slots == MAP_FAILED) {
		s->slots = NULL;
		s->fd = -1;
		error_set(error, ENOMEM, "out of memory");
		goto fail;
	}
	/* Of no protocol yet: it gets nothing before all is set up. */
	s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0) {
		error_set(error, errno,
			  errno == EPERM ? "a packet socket needs CAP_NET_RAW"
					 : "packet socket: %s",
			  strerror(errno));
		goto fail;
	}
	if (set_up(s->fd, error) == 0)
		return s;
fail:
	packet_socket_close(s);
	return NULL;
}

int packet_socket_open(int ifindex, struct packet_socket **sockets, uint16_t count,
		       struct error *error)
{
	int rc;

	memset(sockets, 0, count * sizeof(*sockets));
	for (uint16_t i = 0; i < count; i++) {
		sockets[i] = socket_create(error);
		if (!sockets[i]) {
			rc = -EIO;
			goto fail;
		}
	}
	rc = start(sockets, count, ifindex, error);
	if (rc == 0)
		return 0;
fail:
	for (uint16_t i = 0; i < count; i++)
		packet_socket_close(sockets[i]);
	memset(sockets, 0, count * sizeof(*sockets));
	return rc;
}

void packet_socket_close(struct packet_socket *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	if (s->slots)
		munmap(s->slots, BURST_FRAMES * SLOT_BYTES);
	free(s);
}

static int filter(int fd, struct sock_filter *code, uint16_t length)
{
	struct sock_fprog program = { .len = length, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int set_up(int fd, struct error *error)
{
	struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	int on = 1, size = BUFFER_BYTES;

	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0 ||
	    filter(fd, nothing, 1) != 0)
		return error_set(error, errno, "packet socket: %s", strerror(errno));
	/* More than the usual bound takes CAP_NET_ADMIN; without it the usual must do. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

/* Makes the sockets one group. The first finds a number that is free, the others join by it. */
static int join(struct packet_socket *const *sockets, uint16_t count)
{
	uint32_t flags =
	    (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_IGNORE_OUTGOING | PACKET_FANOUT_FLAG_UNIQUEID);
	uint32_t group = flags << 16;
	socklen_t length = sizeof(group);

	for (uint16_t i = 0; i < count; i++) {
		if (setsockopt(sockets[i]->fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) !=
		    0)
			return -errno;
		if (i > 0)
			continue;
		if (getsockopt(sockets[0]->fd, SOL_PACKET, PACKET_FANOUT, &group, &length) != 0)
			return -errno;
		group = (group & 0xffff) | (flags & ~(uint32_t)PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	}
	return 0;
}

/* Until the last step a filter lets nothing in, as a socket that is bound gets everything, and not
 * its share, before it is of the group. */
static int start(struct packet_socket *const *sockets, uint16_t count, int ifindex,
		 struct error *error)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_ALL),
				       .sll_ifindex = ifindex };
	struct packet_mreq all = { .mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC };
	/* What is for the interface's own MAC is the host's, and nobody's behind us. */
	struct sock_filter foreign[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	int rc = 0;

	for (uint16_t i = 0; rc == 0 && i < count; i++) {
		if (bind(sockets[i]->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
			rc = -errno;
	}
	if (rc == 0 &&
	    setsockopt(sockets[0]->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) != 0)
		rc = -errno;
	if (rc == 0 && count > 1)
		rc = join(sockets, count);
	for (uint16_t i = 0; rc == 0 && i < count; i++) {
		if (filter(sockets[i]->fd, foreign, sizeof(foreign) / sizeof(foreign[0])) != 0)
			rc = -errno;
	}
	return rc == 0 ? 0 : error_set(error, -rc, "packet socket: %s", strerror(-rc));
}

int packet_socket_fd(const struct packet_socket *s)
{
	return s->fd;
}

bool packet_socket_is_empty(const struct packet_socket *s)
{
	struct pollfd look = { .fd = s->fd, .events = POLLIN };

	return poll(&look, 1, 0) <= 0 || !(look.revents & POLLIN);
}

uint64_t packet_socket_lost(struct packet_socket *s)
{
	struct tpacket_stats stats;
	socklen_t length = sizeof(stats);

	/* Reading it sets it back. */
	if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0)
		s->lost += stats.tp_drops;
	return s->lost;
}

/* Where the next `room` frames shall go. */
static void prepare(struct packet_socket *s, struct burst *burst, uint32_t room)
{
	for (uint32_t i = 0; i < room; i++) {
		struct iovec *parts = s->parts[i];

		parts[0] = (struct iovec){ &s->headers[i], VNET_HEADER_LEGACY };
		parts[1] = (struct iovec){ burst_head(burst, burst->count + i), FRAME_HEAD_MAX };
		parts[2] = (struct iovec){ s->slots + i * SLOT_BYTES, SLOT_BYTES };
		s->messages[i].msg_hdr =
		    (struct msghdr){ .msg_iov = parts,
				     .msg_iovlen = 3,
				     .msg_control = s->controls[i],
				     .msg_controllen = sizeof(s->controls[i]) };
	}
}

/* The kernel takes a frame's outer tag off and says what it was; puts it back. */
static void restore_tag(struct frame *frame, struct msghdr *message)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(message);
	struct tpacket_auxdata aux;
	uint16_t type;

	if (!part || part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA ||
	    part->cmsg_len < CMSG_LEN(sizeof(aux)))
		return;
	memcpy(&aux, CMSG_DATA(part), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return;
	type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
	frame_push_tag(frame, aux.tp_vlan_tci);
	frame->head[12] = (uint8_t)(type >> 8);
	frame->head[13] = (uint8_t)type;
	frame->tagged = 0; /* the bridge will see */
}

/* Makes what the i-th message brought the next frame of the burst, or drops it. `first` is what the
 * burst's count was when the message's head got its place. */
static void accept_frame(struct packet_socket *s, uint32_t i, struct burst *burst, uint32_t first,
			 struct port_counters *counters)
{
	struct frame *frame = &burst->frames[burst->count];
	struct frame_segment *segment = &burst->segments[burst->segment_count];
	uint32_t length = s->messages[i].msg_len;
	enum drop_reason reason;

	if (length < VNET_HEADER_LEGACY + FRAME_LENGTH_MIN) {
		counter_drop(counters, DROP_FRAME_SHORT, 1);
		return;
	}
	length -= VNET_HEADER_LEGACY;
	/* Less a tag that may be put back. */
	if (length > FRAME_LENGTH_MAX - TAG_LENGTH) {
		counter_drop(counters, DROP_FRAME_LONG, 1);
		return;
	}
	memset(frame, 0, sizeof(*frame));
	frame->head = burst_head(burst, first + i);
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	if (length > FRAME_HEAD_MAX) {
		*segment =
		    (struct frame_segment){ s->slots + i * SLOT_BYTES, length - FRAME_HEAD_MAX };
		frame->segments = segment;
		frame->segment_count = 1;
	}
	if (!vnet_header_to_frame(&s->headers[i], frame, OFFLOAD_ALL, &reason)) {
		counter_drop(counters, reason, 1);
		return;
	}
	restore_tag(frame, &s->messages[i].msg_hdr);
	burst->segment_count += frame->segment_count;
	burst->count++;
	counter_add(&counters->receive_packets, 1);
	counter_add(&counters->receive_bytes, frame->length);
}

uint32_t packet_socket_receive(struct packet_socket *s, struct burst *burst,
			       struct port_counters *counters)
{
	uint32_t first = burst->count, room = burst->limit - burst->count;
	int n;

	if (room > BURST_SEGMENTS - burst->segment_count)
		room = BURST_SEGMENTS - burst->segment_count;
	prepare(s, burst, room);
	do
		n = recvmmsg(s->fd, s->messages, room, MSG_DONTWAIT, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		/* A frame whose offload the header has no words for is consumed, and this is all
		 * that is heard of it; there may be more behind. */
		if (errno != EINVAL)
			return 0;
		counter_drop(counters, DROP_GSO_TYPE, 1);
		return 1;
	}
	for (int i = 0; i < n; i++)
		accept_frame(s, (uint32_t)i, burst, first, counters);
	return (uint32_t)n;
}

/* Makes messages of as many frames as there is room for, at least one; how many. */
static uint32_t make_messages(struct packet_socket *s, struct frame *const *frames, uint32_t count)
{
	uint32_t made = gather_frames(&s->gather, VNET_HEADER_LEGACY, frames,
				      count < BURST_FRAMES ? count : BURST_FRAMES);

	for (uint32_t i = 0; i < made; i++)
		s->out[i].msg_hdr =
		    (struct msghdr){ .msg_iov = s->gather.messages[i].parts,
				     .msg_iovlen = s->gather.messages[i].part_count };
	return made;
}

static enum drop_reason send_error(int code)
{
	switch (code) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return DROP_NO_BUFFERS;
	case ENETDOWN:
	case ENXIO:
	case ENODEV:
		return DROP_PORT_DOWN;
	case EMSGSIZE:
		return DROP_FRAME_TOO_LONG_FOR_PORT;
	default:
		return DROP_WRITE_FAILED;
	}
}

uint32_t packet_socket_send(struct packet_socket *s, struct frame *const *frames, uint32_t count,
			    struct port_counters *counters)
{
	uint64_t bytes = 0;
	uint32_t sent = 0, at = 0;

	while (at < count) {
		uint32_t made = make_messages(s, frames + at, count - at), done = 0;

		while (done < made) {
			int n = sendmmsg(s->fd, s->out + done, made - done, MSG_DONTWAIT);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				/* The first of them is to blame. */
				counter_drop(counters, send_error(errno), 1);
				done++;
				continue;
			}
			for (int i = 0; i < n; i++)
				bytes += frames[at + done + (uint32_t)i]->length;
			sent += (uint32_t)n;
			done += (uint32_t)n;
		}
		at += made;
	}
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

static int driver_open(const struct netlink_link *link, void **queues, uint16_t count,
		       struct error *error)
{
	return packet_socket_open(link->index, (struct packet_socket **)queues, count, error);
}

static void driver_close(void **queues, uint16_t count)
{
	for (uint16_t i = 0; i < count; i++)
		packet_socket_close(queues[i]);
}

static int driver_fd(const void *queue)
{
	return packet_socket_fd(queue);
}

static uint64_t driver_lost(void *queue)
{
	return packet_socket_lost(queue);
}

static uint32_t driver_receive(void *queue, struct burst *burst, struct port_counters *counters)
{
	return packet_socket_receive(queue, burst, counters);
}

static uint32_t driver_send(void *queue, struct frame *const *frames, uint32_t count,
			    struct port_counters *counters)
{
	return packet_socket_send(queue, frames, count, counters);
}

static uint32_t driver_offloads(const void *queue)
{
	/* Not UFO and USO: the kernel takes them, but a packet socket on the other end of a veth
	 * pair, which may be another weft's, cannot say them, and drops. */
	return OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN;
}

static bool driver_is_empty(void *queue)
{
	return packet_socket_is_empty(queue);
}

const struct driver driver_packet = {
	.name = "packet",
	.open = driver_open,
	.close = driver_close,
	.fd = driver_fd,
	.lost = driver_lost,
	.receive = driver_receive,
	.send = driver_send,
	.offloads = driver_offloads,
	.is_empty = driver_is_empty,
};
