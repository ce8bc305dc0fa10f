/* The API socket's place in the file system: the default one, and taking a path for listening
 * without pushing out somebody who still uses it (api.h). Control thread, at start. */
#include "vswitch/api_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/* A directory in /tmp can be anybody's: it must be one, ours, and closed to others. */
static int make_private_directory(const char *path, struct error *error)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(error, errno, "%s: cannot make it: %s", path, strerror(errno));
	if (lstat(path, &st) < 0)
		return error_set(error, errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return error_set(error, EPERM,
				 "%s: is no directory of ours alone; remove it, or set "
				 "XDG_RUNTIME_DIR or the API socket's path",
				 path);
	return 0;
}

/* Where files live that go with the machine's or the session's run. */
static int runtime_directory(char path[CONFIG_SOCKET_MAX + 1], struct error *error)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0) {
		n = snprintf(path, CONFIG_SOCKET_MAX + 1, "/run/weft");
	} else if (runtime != NULL && runtime[0] == '/') {
		n = snprintf(path, CONFIG_SOCKET_MAX + 1, "%s/weft", runtime);
	} else {
		snprintf(path, CONFIG_SOCKET_MAX + 1, "/tmp/weft-%u", (unsigned)geteuid());
		return make_private_directory(path, error);
	}
	if (n < 0 || (unsigned)n > CONFIG_SOCKET_MAX)
		return error_set(error, ENAMETOOLONG,
				 "XDG_RUNTIME_DIR is too long for the path of a socket");
	return 0;
}

int api_default_path(char path[CONFIG_SOCKET_MAX + 1], struct error *error)
{
	char directory[CONFIG_SOCKET_MAX + 1];
	int n, rc = runtime_directory(directory, error);

	if (rc < 0)
		return rc;
	n = snprintf(path, CONFIG_SOCKET_MAX + 1, "%s/weftd.sock", directory);
	if (n < 0 || (unsigned)n > CONFIG_SOCKET_MAX)
		return error_set(error, ENAMETOOLONG,
				 "XDG_RUNTIME_DIR is too long for the path of a socket");
	return 0;
}

/* Beside a socket whose path was given: that is a weftd of its own. */
static char *directory_beside(const char *socket)
{
	const char *slash = strrchr(socket, '/');
	char *path;

	if (slash == NULL)
		return strdup("state");
	return asprintf(&path, "%.*s/state", (int)(slash - socket), socket) < 0 ? NULL : path;
}

char *api_state_directory(const char *socket)
{
	char directory[CONFIG_SOCKET_MAX + 1];
	struct error error;
	char *path;

	if (socket[0] != '\0')
		return directory_beside(socket);
	if (runtime_directory(directory, &error) < 0) {
		log_warning("%s; packed rings and sessions will not outlive weftd", error.text);
		return NULL;
	}
	/* If it cannot be made, whoever needs a file there says so. */
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		log_debug("%s: cannot make it: %s", directory, strerror(errno));
	return asprintf(&path, "%s/state", directory) < 0 ? NULL : path;
}

/* Where a user's programs keep what outlives the session (XDG base directories). */
static char *user_store(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = -1;

	if (state != NULL && state[0] == '/')
		n = asprintf(&path, "%s/weft", state);
	else if (home != NULL && home[0] == '/')
		n = asprintf(&path, "%s/.local/state/weft", home);
	return n < 0 ? NULL : path;
}

/* Makes a directory with what is missing above it. */
static void make_path(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	/* If it cannot be made, whoever needs a file there says so. */
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		log_debug("%s: cannot make it: %s", path, strerror(errno));
}

char *api_store_directory(const char *socket)
{
	const char *given = getenv("STATE_DIRECTORY"); /* systemd.exec(5) */
	char *path;

	if (socket[0] != '\0')
		path = directory_beside(socket);
	else if (given != NULL && given[0] == '/')
		path = strndup(given, strcspn(given, ":"));
	else
		path = geteuid() == 0 ? strdup("/var/lib/weft") : user_store();
	if (path != NULL)
		make_path(path);
	return path;
}

/* Makes the last directory of the path, if only that is missing. */
static int make_directory(const char *path, struct error *error)
{
	char directory[CONFIG_SOCKET_MAX + 1];
	char *slash;

	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (slash == NULL || slash == directory)
		return 0;
	*slash = '\0';
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return error_set(error, errno, "API socket %s: cannot make %s: %s", path, directory,
				 strerror(errno));
	return 0;
}

/* Somebody's name stands at the path already. Removes a socket that nobody listens on. */
static int remove_stale(const struct sockaddr_un *address, struct error *error)
{
	const char *path = address->sun_path;
	struct stat st;
	int fd, code;

	if (lstat(path, &st) < 0)
		return errno == ENOENT
			   ? 0
			   : error_set(error, errno, "API socket %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return error_set(error, EEXIST,
				 "API socket %s: there is a file that is no socket; remove it or "
				 "choose another path",
				 path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(error, errno, "API socket %s: %s", path, strerror(errno));
	code = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
	close(fd);
	if (code != ECONNREFUSED)
		return error_set(error, EADDRINUSE,
				 "API socket %s: in use; is another weftd running?", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(error, errno, "API socket %s: cannot remove the stale one: %s",
				 path, strerror(errno));
	return 0;
}

/* bind() with the mode 0660 from the first moment on. */
static int bind_group(int fd, const struct sockaddr_un *address)
{
	mode_t before = umask(0117);
	int rc = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

	umask(before);
	return rc;
}

int api_path_listen(const char *path, int *out, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, rc;

	if (path[0] == '\0' || strlen(path) > CONFIG_SOCKET_MAX)
		return error_set(error, ENAMETOOLONG,
				 "API socket: the path has %zu characters; allowed: 1 to %u",
				 strlen(path), CONFIG_SOCKET_MAX);
	memcpy(address.sun_path, path, strlen(path));
	rc = make_directory(path, error);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(error, errno, "API socket %s: %s", path, strerror(errno));
	rc = bind_group(fd, &address);
	if (rc == -EADDRINUSE) {
		rc = remove_stale(&address, error);
		if (rc < 0)
			goto fail;
		rc = bind_group(fd, &address);
	}
	if (rc == 0 && listen(fd, BACKLOG) < 0)
		rc = -errno;
	if (rc < 0) {
		error_set(error, -rc, "API socket %s: cannot listen: %s", path, strerror(-rc));
		goto fail;
	}
	*out = fd;
	return 0;
fail:
	close(fd);
	return rc;
}
