/* The socket side of a vhost-user connection (connection.h): puts messages together from a stream
 * that may come byte by byte, and owns the file descriptors in it. Control thread. */
#include "vhost-user/connection.h"

#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Other ports get their turn after so many messages of one. */
#define MESSAGES_PER_TURN 32
/* The longest payload that is read, if only to refuse it by a reply: no request there is has a
 * longer one. */
#define PAYLOAD_MAX 4096u

struct connection {
	int fd;
	struct event *readable;
	struct connection_callbacks callbacks;
	void *owner;
	/* The message in the making. */
	struct vhost_message message;
	size_t received; /* bytes of header and payload */
};

static void connection_on_readable(int fd, short what, void *argument);

int connection_create(struct event_base *loop, int fd, const struct connection_callbacks *callbacks,
		      void *owner, struct connection **out)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (connection == NULL) {
		foreign_fd_close(fd);
		return -ENOMEM;
	}
	connection->fd = fd;
	connection->callbacks = *callbacks;
	connection->owner = owner;
	connection->readable =
	    event_new(loop, fd, EV_READ | EV_PERSIST, connection_on_readable, connection);
	if (connection->readable == NULL || event_add(connection->readable, NULL) < 0) {
		connection_destroy(connection);
		return -ENOMEM;
	}
	*out = connection;
	return 0;
}

static void message_clear(struct connection *connection)
{
	struct vhost_message *message = &connection->message;

	for (uint32_t i = 0; i < message->fd_count; i++)
		foreign_fd_close(message->fds[i]);
	message->fd_count = 0;
	connection->received = 0;
}

void connection_destroy(struct connection *connection)
{
	if (connection == NULL)
		return;
	message_clear(connection);
	if (connection->readable != NULL)
		event_free(connection->readable);
	/* Messages nobody read may hold descriptors that do not let themselves be closed; the
	 * frontend is to know at once that nobody will. */
	shutdown(connection->fd, SHUT_RDWR);
	foreign_fd_close(connection->fd);
	free(connection);
}

int connection_send(struct connection *connection, const struct vhost_message *message)
{
	struct iovec parts[2] = {
		{ (void *)(uintptr_t)&message->header, VHOST_HEADER_SIZE },
		{ (void *)(uintptr_t)&message->payload, message->header.size },
	};
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent;

	do {
		sent = sendmsg(connection->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == VHOST_HEADER_SIZE + message->header.size ? 0 : -EAGAIN;
}

int vhost_message_take_fd(struct vhost_message *message, uint32_t i)
{
	int fd = -1;

	if (i < message->fd_count) {
		fd = message->fds[i];
		message->fds[i] = -1;
	}
	return fd;
}

/* Takes the fds out of the control data; those that are too many are closed. */
static int collect_fds(struct vhost_message *message, struct msghdr *msg)
{
	int rc = 0;

	for (struct cmsghdr *control = CMSG_FIRSTHDR(msg); control != NULL;
	     control = CMSG_NXTHDR(msg, control)) {
		size_t count;

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(fd));
			if (message->fd_count < VHOST_MESSAGE_FDS) {
				message->fds[message->fd_count++] = fd;
			} else {
				foreign_fd_close(fd);
				rc = -EMSGSIZE;
			}
		}
	}
	return rc;
}

/* Reads up to `length` bytes: their number, 0 at the end of the stream, -EAGAIN when there is
 * nothing now, another -errno (with the reason) for an error. */
static ssize_t receive_bytes(struct connection *connection, void *to, size_t length,
			     struct error *error)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(VHOST_MESSAGE_FDS * sizeof(int))];
	} control;
	struct iovec part = { to, length };
	struct msghdr msg = { .msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t received;
	int rc;

	do {
		received = recvmsg(connection->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (received < 0 && errno == EINTR);
	if (received < 0) {
		if (errno == EAGAIN)
			return -EAGAIN;
		/* Killed with something of ours unread: the end all the same. */
		if (errno == ECONNRESET)
			return 0;
		return error_set(error, errno, "%s", strerror(errno));
	}
	rc = collect_fds(&connection->message, &msg);
	if (rc < 0 || (msg.msg_flags & MSG_CTRUNC) != 0)
		return error_set(error, EMSGSIZE, "a message with too many file descriptors");
	return received;
}

/* The next bytes of the payload; what is beyond all that a handler could use is thrown away. */
static ssize_t receive_payload(struct connection *connection, size_t done, struct error *error)
{
	struct vhost_message *message = &connection->message;
	size_t left = message->header.size - done;
	size_t room = sizeof(message->payload);
	uint8_t unused[512];

	if (done < room)
		return receive_bytes(connection, (uint8_t *)&message->payload + done,
				     left < room - done ? left : room - done, error);
	return receive_bytes(connection, unused, left < sizeof(unused) ? left : sizeof(unused),
			     error);
}

static int check_header(const struct vhost_header *header, struct error *error)
{
	if ((header->flags & VHOST_FLAG_VERSION_MASK) != VHOST_FLAG_VERSION)
		return error_set(error, EPROTO, "a message of protocol version %u",
				 header->flags & VHOST_FLAG_VERSION_MASK);
	if ((header->flags & VHOST_FLAG_REPLY) != 0)
		return error_set(error, EPROTO, "a reply to nothing");
	if (header->size > PAYLOAD_MAX)
		return error_set(error, EMSGSIZE, "%s: a payload of %u bytes",
				 vhost_request_name(header->request), header->size);
	return 0;
}

/* 1: the message is whole; 0: the stream has ended; -EAGAIN, or another -errno with the reason. */
static int receive_message(struct connection *connection, struct error *error)
{
	struct vhost_message *message = &connection->message;

	for (;;) {
		size_t at = connection->received;
		ssize_t received;

		if (at < VHOST_HEADER_SIZE) {
			received = receive_bytes(connection, (uint8_t *)&message->header + at,
						 VHOST_HEADER_SIZE - at, error);
		} else {
			size_t done = at - VHOST_HEADER_SIZE;

			if (at == VHOST_HEADER_SIZE) {
				int rc = check_header(&message->header, error);

				if (rc < 0)
					return rc;
			}
			if (done == message->header.size)
				return 1;
			received = receive_payload(connection, done, error);
		}
		if (received < 0)
			return (int)received;
		if (received == 0 && at == 0)
			return 0;
		if (received == 0)
			return error_set(error, EPIPE,
					 "the frontend left in the middle of a message");
		connection->received += (size_t)received;
	}
}

static void connection_on_readable(int fd, short what, void *argument)
{
	struct connection *connection = argument;
	struct error error = { "" };
	int rc;

	(void)fd;
	(void)what;
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		rc = receive_message(connection, &error);
		if (rc == -EAGAIN)
			return;
		if (rc == 1)
			rc = connection->callbacks.message(connection->owner, &connection->message,
							   &error);
		else if (rc == 0)
			goto closed;
		if (rc < 0)
			goto closed;
		message_clear(connection);
	}
	return;

closed:
	connection->callbacks.closed(connection->owner, rc, error.text);
}
