/* One connection to a frontend: whole messages in, with their file descriptors; replies out.
 * Control thread, all of it. */
#ifndef WEFT_VHOST_USER_CONNECTION_H
#define WEFT_VHOST_USER_CONNECTION_H

#include "base/error.h"
#include "vhost-user/protocol.h"

struct connection;
struct event_base;

struct connection_callbacks {
	/* A whole message; its fds are closed afterwards unless taken out. The connection is over
	 * when this returns an error. The callee must not destroy the connection. */
	int (*message)(void *owner, struct vhost_message *message, struct error *error);
	/* The connection is over: -errno and why; 0 when the frontend just left. The callee
	 * destroys the connection. */
	void (*closed)(void *owner, int rc, const char *reason);
};

/* Takes fd, a connected, non-blocking stream socket, in every case. 0 or -errno. */
int connection_create(struct event_base *loop, int fd, const struct connection_callbacks *callbacks,
		      void *owner, struct connection **out);

/* Closes the socket and every fd that came with an unfinished message. Takes NULL. */
void connection_destroy(struct connection *connection);

/* Sends a message without file descriptors; -errno when the frontend does not take it: it waits for
 * this reply, so there is always room unless it does not read on purpose. */
int connection_send(struct connection *connection, const struct vhost_message *message);

#endif
