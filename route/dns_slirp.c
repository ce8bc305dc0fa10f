/* A libslirp instance that does nothing but TCP to one port. Called by dns_tcp.c, on the control
 * thread.
 *
 * The guest forward of its one server address is a Unix socket without a name: it is bound in a
 * private directory, opened by O_PATH, and unlinked; connect() then finds it through
 * /proc/self/fd. Each connection is accepted as soon as libslirp has made it. Only segments that
 * were written here go in, in IPv4 and with private addresses, so everything else that the library
 * can do stays out of reach. */
#include "route/dns_slirp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NETWORK	     0x0a000200u /* 10.0.2.0/24: nobody outside sees it */
#define NETWORK_MASK 0xffffff00u
#define HOST	     (NETWORK + 2)
#define NAME_SERVER  (NETWORK + 3)
#define CLIENT	     (NETWORK + 15)
#define SERVER	     (NETWORK + 53)
#define SERVER_PORT  53

struct dns_slirp {
	struct dns_slirp_setup setup;
	Slirp *slirp;
	int listener;
	int path_fd; /* the listener's inode */
	struct pollfd *polls;
	int poll_count;
	uint8_t frame[PACKET_LENGTH_MAX];
};

static const struct mac client_mac = { { 0x52, 0x54, 0, 0, 0, 15 } };
static const struct mac server_mac = { { 0x52, 0x55, 10, 0, 2, 53 } };

/* From libslirp to a client: anything but TCP is not meant for one. */
static ssize_t send_packet(const void *bytes, size_t length, void *context)
{
	struct dns_slirp *slirp = context;
	struct dns_segment segment;
	struct packet packet;

	if (packet_parse(bytes, length, &packet) && packet.ip_version == 4 &&
	    dns_segment_parse(&packet, &segment) && segment.from_port == SERVER_PORT)
		slirp->setup.send(slirp->setup.context, &segment);
	return (ssize_t)length;
}

static int64_t clock_ns(void *context)
{
	struct dns_slirp *slirp = context;

	return (int64_t)(slirp->setup.clock.now(slirp->setup.clock.context) * 1000000);
}

/* What guests do wrong is counted here, not logged there. */
static void guest_error(const char *text, void *context)
{
}

/* Timers are for router advertisements, which are off. */
static void *timer_new(SlirpTimerCb callback, void *callback_context, void *context)
{
	return context;
}

static void timer_free(void *timer, void *context)
{
}

static void timer_mod(void *timer, int64_t when, void *context)
{
}

/* All its descriptors are asked for again on each run. */
static void poll_fd(int fd, void *context)
{
}

static void notify(void *context)
{
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = poll_fd,
	.unregister_poll_fd = poll_fd,
	.notify = notify,
};

/* Binds the listener in a directory of its own below `directory`, of which nothing stays. */
static int open_listener(struct dns_slirp *slirp)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char directory[sizeof(address.sun_path) - 4];
	int error = 0, length;

	length = snprintf(directory, sizeof(directory), "%s/weft-XXXXXX", slirp->setup.directory);
	if (length >= (int)sizeof(directory))
		return -ENAMETOOLONG;
	slirp->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (slirp->listener < 0 || mkdtemp(directory) == NULL)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	if (bind(slirp->listener, (struct sockaddr *)&address, sizeof(address)) < 0) {
		error = -errno;
	} else {
		slirp->path_fd = open(address.sun_path, O_PATH | O_CLOEXEC);
		/* One connection is made at a time, but connect() must never wait. */
		if (slirp->path_fd < 0 || listen(slirp->listener, 8) < 0)
			error = -errno;
		unlink(address.sun_path);
	}
	rmdir(directory);
	return error;
}

static Slirp *open_slirp(struct dns_slirp *slirp)
{
	SlirpConfig config = {
		.version = 4,
		.restricted = 1,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(NETWORK),
		.vnetmask.s_addr = htonl(NETWORK_MASK),
		.vhost.s_addr = htonl(HOST),
		.vnameserver.s_addr = htonl(NAME_SERVER),
		.if_mtu = slirp->setup.mtu,
		.if_mru = slirp->setup.mru,
		.disable_host_loopback = true,
		.disable_dns = true,
		.disable_dhcp = true,
	};

	return slirp_new(&config, &callbacks, slirp);
}

/* Tells libslirp the one client's MAC (RFC 5227, 1.1: an announcement), so that it never asks. */
static void announce_client(struct dns_slirp *slirp)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	const uint8_t ip[4] = { CLIENT >> 24, CLIENT >> 16 & 255, CLIENT >> 8 & 255, CLIENT & 255 };
	uint8_t frame[42] = { 0 };

	memset(frame, 0xff, 6);
	memcpy(frame + 6, client_mac.bytes, 6);
	frame[12] = 8;
	frame[13] = 6;
	memcpy(frame + 14, head, sizeof(head));
	memcpy(frame + 22, client_mac.bytes, 6);
	memcpy(frame + 28, ip, 4);
	memcpy(frame + 38, ip, 4);
	slirp_input(slirp->slirp, frame, sizeof(frame));
}

int dns_slirp_create(const struct dns_slirp_setup *setup, struct dns_slirp **slirp)
{
	struct dns_slirp *made = calloc(1, sizeof(*made));
	struct in_addr server = { .s_addr = htonl(SERVER) };
	char path[32];
	int error = -ENOMEM;

	*slirp = NULL;
	if (made == NULL)
		return error;
	made->setup = *setup;
	made->listener = made->path_fd = -1;
	made->polls = calloc(setup->sockets_max, sizeof(*made->polls));
	if (made->polls == NULL)
		goto fail;
	error = open_listener(made);
	if (error < 0)
		goto fail;
	error = -ENOMEM;
	made->slirp = open_slirp(made);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", made->path_fd);
	if (made->slirp == NULL || slirp_add_unix(made->slirp, path, &server, SERVER_PORT) < 0)
		goto fail;
	announce_client(made);
	*slirp = made;
	return 0;
fail:
	dns_slirp_destroy(made);
	return error;
}

void dns_slirp_destroy(struct dns_slirp *slirp)
{
	if (slirp == NULL)
		return;
	if (slirp->slirp != NULL)
		slirp_cleanup(slirp->slirp);
	if (slirp->listener >= 0)
		close(slirp->listener);
	if (slirp->path_fd >= 0)
		close(slirp->path_fd);
	free(slirp->polls);
	free(slirp);
}

void dns_slirp_input(struct dns_slirp *slirp, const struct dns_segment *segment)
{
	struct packet_header header = {
		.from = client_mac,
		.to = server_mac,
		.source = ip_from_v4(CLIENT),
		.destination = ip_from_v4(SERVER),
	};
	struct dns_segment inner = *segment;
	size_t length;

	inner.to_port = SERVER_PORT;
	length = dns_segment_write(&header, &inner, slirp->frame, sizeof(slirp->frame));
	if (length > 0)
		slirp_input(slirp->slirp, slirp->frame, (int)length);
}

bool dns_slirp_has_room(const struct dns_slirp *slirp)
{
	/* One for each end. Asked beforehand, because libslirp logs each failure. */
	int one = fcntl(slirp->listener, F_DUPFD_CLOEXEC, 0);
	int other = fcntl(slirp->listener, F_DUPFD_CLOEXEC, 0);
	bool room = one >= 0 && other >= 0;

	if (one >= 0)
		close(one);
	if (other >= 0)
		close(other);
	return room;
}

int dns_slirp_accept(struct dns_slirp *slirp)
{
	int fd = accept4(slirp->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (fd < 0)
		return -1;
	/* Another process of this user could find the socket in /proc. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid != getpid()) {
		close(fd);
		return -1;
	}
	return fd;
}

static int add_poll(int fd, int events, void *context)
{
	struct dns_slirp *slirp = context;
	short wanted = 0;

	if (slirp->poll_count == (int)slirp->setup.sockets_max)
		return -1;
	if (events & SLIRP_POLL_IN)
		wanted |= POLLIN;
	if (events & SLIRP_POLL_OUT)
		wanted |= POLLOUT;
	slirp->polls[slirp->poll_count] = (struct pollfd){ .fd = fd, .events = wanted };
	return slirp->poll_count++;
}

static int poll_events(int index, void *context)
{
	struct dns_slirp *slirp = context;
	short found = slirp->polls[index].revents, wanted = slirp->polls[index].events;
	int events = 0;

	if (found & (POLLIN | POLLHUP | POLLERR) && wanted & POLLIN)
		events |= SLIRP_POLL_IN;
	if (found & (POLLOUT | POLLERR) && wanted & POLLOUT)
		events |= SLIRP_POLL_OUT;
	return events;
}

bool dns_slirp_run(struct dns_slirp *slirp, uint32_t *wait)
{
	bool moved = false;

	*wait = UINT32_MAX;
	slirp->poll_count = 0;
	slirp_pollfds_fill(slirp->slirp, wait, add_poll, slirp);
	if (poll(slirp->polls, (nfds_t)slirp->poll_count, 0) < 0)
		slirp->poll_count = 0;
	for (int i = 0; i < slirp->poll_count; i++)
		moved |= poll_events(i, slirp) != 0;
	slirp_pollfds_poll(slirp->slirp, slirp->poll_count == 0, poll_events, slirp);
	return moved;
}
