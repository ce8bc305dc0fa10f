/* Listening and connecting sockets of devices (socket.h). Control thread. */
#include "vhost-user/socket.h"

#include "base/log.h"
#include "vhost-user/foreign_fd.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MILLISECONDS_MIN 100
#define RETRY_MILLISECONDS_MAX 1000

struct vhost_socket {
	const char *name;
	enum vhost_role role;
	struct sockaddr_un address;
	vhost_socket_connected *connected;
	void *owner;
	int fd;			/* server: listening; client: -1 */
	struct event *readable; /* server */
	struct event *timer;	/* client: time to try; server: time to accept again */
	dev_t device;		/* server: the path as we made it */
	ino_t inode;
	int retry_milliseconds;
	bool failure_logged; /* one line for a peer that is not there */
};

static int server_open(struct vhost_socket *s, const struct vhost_device_config *config,
		       struct event_base *loop, struct error *error);
static int client_open(struct vhost_socket *s, struct event_base *loop, struct error *error);
static void schedule(struct vhost_socket *s, int milliseconds);

int vhost_socket_create(struct event_base *loop, const char *name,
			const struct vhost_device_config *config, vhost_socket_connected *connected,
			void *owner, struct vhost_socket **out, struct error *error)
{
	const char *path = config->path;
	struct vhost_socket *s;
	int rc;

	if (path[0] == '\0')
		return error_set(error, EINVAL, "the socket's path is empty");
	if (strlen(path) >= sizeof(s->address.sun_path))
		return error_set(error, ENAMETOOLONG,
				 "the socket's path %s has %zu characters, at most %zu are allowed",
				 path, strlen(path), sizeof(s->address.sun_path) - 1);
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return error_set(error, ENOMEM, "out of memory");
	s->name = name;
	s->role = config->role;
	s->address.sun_family = AF_UNIX;
	strcpy(s->address.sun_path, path);
	s->connected = connected;
	s->owner = owner;
	s->fd = -1;
	s->retry_milliseconds = RETRY_MILLISECONDS_MIN;
	if (s->role == VHOST_ROLE_SERVER)
		rc = server_open(s, config, loop, error);
	else
		rc = client_open(s, loop, error);
	if (rc < 0) {
		vhost_socket_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

int vhost_socket_check_path(const char *path, struct error *error)
{
	struct stat status;

	if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
		return error_set(error, EEXIST, "%s exists and is no socket", path);
	return 0;
}

void vhost_socket_resume(struct vhost_socket *s)
{
	if (s->role == VHOST_ROLE_SERVER) {
		if (event_add(s->readable, NULL) < 0)
			log_error("port %s: out of memory, no frontend can connect any more",
				  s->name);
		return;
	}
	schedule(s, s->retry_milliseconds);
	s->retry_milliseconds *= 2;
	if (s->retry_milliseconds > RETRY_MILLISECONDS_MAX)
		s->retry_milliseconds = RETRY_MILLISECONDS_MAX;
}

void vhost_socket_settled(struct vhost_socket *s)
{
	s->retry_milliseconds = RETRY_MILLISECONDS_MIN;
	s->failure_logged = false;
}

void vhost_socket_destroy(struct vhost_socket *s)
{
	struct stat status;

	if (s == NULL)
		return;
	if (s->readable != NULL)
		event_free(s->readable);
	if (s->timer != NULL)
		event_free(s->timer);
	if (s->fd >= 0) {
		/* Whoever waits to be accepted may have sent descriptors already. */
		shutdown(s->fd, SHUT_RDWR);
		foreign_fd_close(s->fd);
	}
	/* Somebody may have put another socket there since. */
	if (s->inode != 0 && lstat(s->address.sun_path, &status) == 0 &&
	    status.st_dev == s->device && status.st_ino == s->inode)
		unlink(s->address.sun_path);
	free(s);
}

static void schedule(struct vhost_socket *s, int milliseconds)
{
	struct timeval delay = { milliseconds / 1000, milliseconds % 1000 * 1000 };

	if (event_add(s->timer, &delay) < 0)
		log_error("port %s: out of memory, no frontend can connect any more", s->name);
}

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* Removes a socket that nobody listens on; refuses whatever else is there. */
static int server_clear_path(const struct vhost_socket *s, struct error *error)
{
	const char *path = s->address.sun_path;
	struct stat status;
	int fd, rc;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0
				       : error_set(error, errno, "%s: %s", path, strerror(errno));
	rc = vhost_socket_check_path(path, error);
	if (rc < 0)
		return rc;
	fd = unix_socket();
	if (fd < 0)
		return error_set(error, -fd, "cannot make a socket: %s", strerror(-fd));
	rc = connect(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) < 0 ? errno : 0;
	close(fd);
	/* EAGAIN: somebody listens, and the backlog is full. */
	if (rc == 0 || rc == EAGAIN)
		return error_set(error, EADDRINUSE, "another program listens on %s", path);
	if (rc != ECONNREFUSED)
		return error_set(error, rc, "%s: %s", path, strerror(rc));
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(error, errno, "cannot remove the stale socket %s: %s", path,
				 strerror(errno));
	return 0;
}

static void server_on_readable(int fd, short what, void *argument)
{
	struct vhost_socket *s = argument;
	int accepted = -1;

	(void)what;
	errno = EMFILE;
	if (!foreign_fd_overloaded())
		accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (accepted < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		/* Out of descriptors, most likely: said once, and tried again after a pause. */
		if (!s->failure_logged)
			log_error("port %s: cannot accept a frontend: %s", s->name,
				  strerror(errno));
		s->failure_logged = true;
		event_del(s->readable);
		schedule(s, RETRY_MILLISECONDS_MAX);
		return;
	}
	event_del(s->readable);
	s->connected(s->owner, accepted);
}

static void server_on_time(int unused, short what, void *argument)
{
	(void)unused;
	(void)what;
	vhost_socket_resume(argument);
}

/* Group, then permissions: nobody may have them before the group is right. By a handle of the file
 * itself, as the path can be somebody else's a moment later. */
static int server_give_away(const struct vhost_socket *s, const struct vhost_device_config *config,
			    struct error *error)
{
	const char *path = s->address.sun_path;
	char handle[32];
	int fd, rc = 0;

	if (!config->has_socket_group && config->socket_mode == 0)
		return 0;
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(error, errno, "%s: %s", path, strerror(errno));
	snprintf(handle, sizeof(handle), "/proc/self/fd/%d", fd);
	if (config->has_socket_group &&
	    fchownat(fd, "", (uid_t)-1, config->socket_group, AT_EMPTY_PATH) < 0)
		rc = error_set(error, errno, "cannot give %s to group %u: %s", path,
			       (unsigned)config->socket_group, strerror(errno));
	if (rc == 0 && config->socket_mode != 0 && chmod(handle, config->socket_mode) < 0)
		rc = error_set(error, errno, "cannot set the permissions of %s: %s", path,
			       strerror(errno));
	close(fd);
	return rc;
}

/* Binding says only ENOENT or ENOTDIR. */
static int server_bind(const struct vhost_socket *s, struct error *error)
{
	const char *path = s->address.sun_path, *slash = strrchr(path, '/');
	int code;

	if (bind(s->fd, (const struct sockaddr *)&s->address, sizeof(s->address)) == 0)
		return 0;
	code = errno;
	if (code == ENOENT && slash != NULL)
		return error_set(error, code,
				 "cannot listen on %s: there is no directory %.*s; make it first",
				 path, (int)(slash - path), path);
	return error_set(error, code, "cannot listen on %s: %s", path, strerror(code));
}

static int server_open(struct vhost_socket *s, const struct vhost_device_config *config,
		       struct event_base *loop, struct error *error)
{
	struct stat status;
	int rc = server_clear_path(s, error);

	if (rc < 0)
		return rc;
	s->fd = unix_socket();
	if (s->fd < 0)
		return error_set(error, -s->fd, "cannot make a socket: %s", strerror(-s->fd));
	/* Until it is as it shall be, nobody else can connect: bind() takes this mode along. */
	if (config->socket_mode != 0 && fchmod(s->fd, 0600) < 0)
		return error_set(error, errno, "cannot make a socket: %s", strerror(errno));
	rc = server_bind(s, error);
	if (rc < 0)
		return rc;
	if (lstat(s->address.sun_path, &status) == 0) {
		s->device = status.st_dev;
		s->inode = status.st_ino;
	}
	rc = server_give_away(s, config, error);
	if (rc < 0)
		return rc;
	if (listen(s->fd, 8) < 0)
		return error_set(error, errno, "cannot listen on %s: %s", s->address.sun_path,
				 strerror(errno));
	s->timer = event_new(loop, -1, 0, server_on_time, s);
	s->readable = event_new(loop, s->fd, EV_READ | EV_PERSIST, server_on_readable, s);
	if (s->timer == NULL || s->readable == NULL || event_add(s->readable, NULL) < 0)
		return error_set(error, ENOMEM, "out of memory");
	return 0;
}

static void client_on_time(int unused, short what, void *argument)
{
	struct vhost_socket *s = argument;
	int fd = foreign_fd_overloaded() ? -EMFILE : unix_socket(), rc;

	(void)unused;
	(void)what;
	if (fd < 0) {
		rc = -fd;
	} else {
		rc = connect(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) < 0
			 ? errno
			 : 0;
	}
	if (rc == 0) {
		s->connected(s->owner, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (!s->failure_logged)
		log_info("port %s: cannot connect to %s yet: %s; trying on", s->name,
			 s->address.sun_path, strerror(rc));
	s->failure_logged = true;
	vhost_socket_resume(s);
}

static int client_open(struct vhost_socket *s, struct event_base *loop, struct error *error)
{
	s->timer = event_new(loop, -1, 0, client_on_time, s);
	if (s->timer == NULL)
		return error_set(error, ENOMEM, "out of memory");
	/* From the loop, not from here: the owner is not complete yet. */
	schedule(s, 0);
	return 0;
}
