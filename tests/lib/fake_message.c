/* Socket and messages of the fake guest (fake_guest.h): one vhost-user message out or in, with
 * file descriptors, well-formed or not. On the thread of the test. */
#include "tests/lib/fake_guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEADER_SIZE 12u

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int fake_guest_wait_fd(struct fake_guest *guest, int fd, short events)
{
	uint64_t deadline = now_ms() + guest->options.timeout_ms;
	struct pollfd pollfd = { .fd = fd, .events = events };

	for (uint32_t round = 0;; round++) {
		/* With a pump, look again at once while it makes progress, then more slowly: the
		 * device may be waiting for a timer. */
		int slice = guest->options.pump == NULL ? 100 : round < 16 ? 0 : 1;
		int rc = poll(&pollfd, 1, slice);

		if (rc > 0)
			return 0;
		if (rc < 0 && errno != EINTR)
			return -errno;
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		if (guest->options.pump != NULL)
			guest->options.pump(guest->options.pump_context);
	}
}

static int socket_address(const char *path, struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static int open_connection(struct fake_guest *guest)
{
	struct sockaddr_un address;
	int rc = socket_address(guest->options.path, &address);
	int fd;

	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int fake_guest_connect(struct fake_guest *guest)
{
	int fd;

	fake_guest_disconnect(guest);
	if (guest->options.role == FAKE_CONNECTS) {
		fd = open_connection(guest);
	} else {
		int rc = fake_guest_wait_fd(guest, guest->listen_fd, POLLIN);

		if (rc != 0)
			return rc;
		fd = accept4(guest->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0)
		return fd;
	guest->fd = fd;
	guest->messages = 0;
	return 0;
}

void fake_guest_disconnect(struct fake_guest *guest)
{
	if (guest->fd >= 0)
		close(guest->fd);
	if (guest->backend_fd >= 0)
		close(guest->backend_fd);
	guest->fd = -1;
	guest->backend_fd = -1;
	guest->protocol_features = 0;
}

int fake_guest_send_bytes(struct fake_guest *guest, const void *bytes, size_t size, const int *fds,
			  uint32_t fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * FAKE_FDS_MAX)];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (guest->fd < 0)
		return -ENOTCONN;
	if (guest->message_limit != 0 && guest->messages == guest->message_limit)
		return -ECANCELED;
	guest->messages++;
	if (fd_count > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * fd_count);
	}
	sent = sendmsg(guest->fd, &message, MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	return (size_t)sent == size ? 0 : -EIO;
}

int fake_guest_send_message(struct fake_guest *guest, uint32_t request, uint32_t flags,
			    uint32_t claimed, const void *payload, size_t size, const int *fds,
			    uint32_t fd_count)
{
	uint8_t bytes[HEADER_SIZE + 4096];

	if (size > sizeof(bytes) - HEADER_SIZE || fd_count > FAKE_FDS_MAX)
		return -EINVAL;
	memcpy(bytes, &request, sizeof(request));
	memcpy(bytes + 4, &flags, sizeof(flags));
	memcpy(bytes + 8, &claimed, sizeof(claimed));
	if (size > 0)
		memcpy(bytes + HEADER_SIZE, payload, size);
	return fake_guest_send_bytes(guest, bytes, HEADER_SIZE + size, fds, fd_count);
}

static int read_exactly(struct fake_guest *guest, void *to, size_t size)
{
	uint8_t *out = to;

	while (size > 0) {
		int rc = fake_guest_wait_fd(guest, guest->fd, POLLIN);
		ssize_t n;

		if (rc != 0)
			return rc;
		n = recv(guest->fd, out, size, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0)
			return -errno;
		out += n;
		size -= (size_t)n;
	}
	return 0;
}

int fake_guest_receive_message(struct fake_guest *guest, struct fake_message *message)
{
	int rc;

	if (guest->fd < 0)
		return -ENOTCONN;
	rc = read_exactly(guest, message, HEADER_SIZE);
	if (rc != 0)
		return rc;
	if (message->size > sizeof(message->payload))
		return -EMSGSIZE;
	return read_exactly(guest, message->payload, message->size);
}

static int expect_reply(struct fake_guest *guest, uint32_t request, void *reply, size_t size)
{
	struct fake_message message;
	int rc = fake_guest_receive_message(guest, &message);

	if (rc != 0)
		return rc;
	if (message.request != request || message.flags != (FAKE_VERSION | FAKE_REPLY) ||
	    message.size != size)
		return -EPROTO;
	memcpy(reply, message.payload, size);
	return 0;
}

int fake_guest_request(struct fake_guest *guest, uint32_t request, const void *payload, size_t size,
		       const int *fds, uint32_t fd_count)
{
	bool ack = (guest->protocol_features & FAKE_BIT(FAKE_PROTOCOL_REPLY_ACK)) != 0;
	uint64_t result = 0;
	int rc;

	rc = fake_guest_send_message(guest, request, FAKE_VERSION | (ack ? FAKE_NEED_REPLY : 0),
				     (uint32_t)size, payload, size, fds, fd_count);
	if (rc == 0 && ack)
		rc = expect_reply(guest, request, &result, sizeof(result));
	if (rc == 0 && result != 0)
		rc = -EREMOTEIO;
	return rc;
}

int fake_guest_query(struct fake_guest *guest, uint32_t request, const void *payload, size_t size,
		     void *reply, size_t reply_size)
{
	int rc = fake_guest_send_message(guest, request, FAKE_VERSION, (uint32_t)size, payload,
					 size, NULL, 0);

	return rc != 0 ? rc : expect_reply(guest, request, reply, reply_size);
}

int fake_guest_wait_hangup(struct fake_guest *guest)
{
	struct fake_message message;
	int rc;

	do
		rc = fake_guest_receive_message(guest, &message);
	while (rc == 0);
	return rc == -ECONNRESET || rc == -EPIPE ? 0 : rc;
}

int fake_guest_sync(struct fake_guest *guest)
{
	uint64_t features;

	return fake_guest_query(guest, FAKE_GET_FEATURES, NULL, 0, &features, sizeof(features));
}
