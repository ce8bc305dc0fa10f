/* How a device comes by its connection: listening on a path, or connecting to one and trying again.
 * Control thread. */
#ifndef WEFT_VHOST_USER_SOCKET_H
#define WEFT_VHOST_USER_SOCKET_H

#include "base/error.h"
#include "vhost-user/device.h"

struct event_base;
struct vhost_socket;

/* Called with a connected, non-blocking fd that the callee owns. No other follows until
 * vhost_socket_resume(): one frontend at a time, later ones wait in the backlog. */
typedef void vhost_socket_connected(void *owner, int fd);

/* Listens or starts to connect, as the configuration says of path, role and socket; see
 * vhost_device_create() for what is refused. `name` is the port's, for log lines, and must live as
 * long as the socket; nothing of the configuration has to. */
int vhost_socket_create(struct event_base *loop, const char *name,
			const struct vhost_device_config *config, vhost_socket_connected *connected,
			void *owner, struct vhost_socket **out, struct error *error);

/* -EEXIST when what is in the place of a server's socket is none. Changes nothing. */
int vhost_socket_check_path(const char *path, struct error *error);

/* The last connection is over: waits for the next, or connects again after a pause, which grows
 * (to a second) until vhost_socket_settled() is called. */
void vhost_socket_resume(struct vhost_socket *vhost_socket);

/* The connection proved good. */
void vhost_socket_settled(struct vhost_socket *vhost_socket);

/* Closes it and removes a server's path if the socket there is still ours. Takes NULL. */
void vhost_socket_destroy(struct vhost_socket *vhost_socket);

#endif
