/* Connects to weftd, sends one request as a line of JSON, and reads the answer (request.h). */
#include "cli/request.h"

#include "cli/command.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX	 ((size_t)256 << 20)
#define PATIENCE_SECONDS 60
#define ROOT_SOCKET	 "/run/weft/weftd.sock"

/* Where weftd listens when nobody says otherwise; false when it is nowhere to trust. */
static bool default_path(char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	int n;

	if (geteuid() == 0) {
		n = snprintf(path, size, ROOT_SOCKET);
	} else if (runtime != NULL && runtime[0] == '/') {
		n = snprintf(path, size, "%s/weft/weftd.sock", runtime);
	} else {
		/* Anybody can make a directory in /tmp and wait there for us. */
		snprintf(path, size, "/tmp/weft-%u", (unsigned)geteuid());
		if (lstat(path, &st) == 0 &&
		    (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0))
			return false;
		n = snprintf(path, size, "/tmp/weft-%u/weftd.sock", (unsigned)geteuid());
	}
	return n > 0 && (size_t)n < size;
}

/* What may help whom nobody answered. */
static const char *hint(const char *path, int code)
{
	if (code == EACCES)
		return "; who may write to that socket may use weft: try sudo";
	if (code != ENOENT && code != ECONNREFUSED)
		return "";
	if (strcmp(path, ROOT_SOCKET) != 0 && access(ROOT_SOCKET, F_OK) == 0)
		return "; root's weftd is at " ROOT_SOCKET ": try sudo, or --socket";
	return "; is it running?";
}

static int connect_weftd(const char *path)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (path == NULL || path[0] == '\0')
		path = getenv("WEFT_SOCKET");
	if (path == NULL || path[0] == '\0') {
		if (!default_path(address.sun_path, sizeof(address.sun_path))) {
			command_fail(STATUS_FAILED,
				     "no safe place for weftd's socket; name it with --socket");
			return -1;
		}
	} else if (strlen(path) >= sizeof(address.sun_path)) {
		command_fail(STATUS_FAILED, "%s: too long for the path of a socket", path);
		return -1;
	} else {
		memcpy(address.sun_path, path, strlen(path));
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno;

		command_fail(STATUS_FAILED, "cannot reach weftd at %s: %s%s", address.sun_path,
			     strerror(code), hint(address.sun_path, code));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Sends all of text; the descriptors go with the first byte. */
static int send_all(int fd, char *text, size_t length, const struct request_fds *fds)
{
	char control[CMSG_SPACE(sizeof(fds->fds))] __attribute__((aligned(8))) = { 0 };
	size_t size = fds == NULL ? 0 : fds->count * sizeof(fds->fds[0]);
	size_t done = 0;

	while (done < length) {
		struct iovec vector = { text + done, length - done };
		struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
		ssize_t n;

		if (size > 0 && done == 0) {
			struct cmsghdr *c;

			message.msg_control = control;
			message.msg_controllen = CMSG_SPACE(size);
			c = CMSG_FIRSTHDR(&message);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(size);
			memcpy(CMSG_DATA(c), fds->fds, size);
		}
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

/* Reads up to the line end; memory for the caller to free, or NULL with *code set. */
static char *receive_line(int fd, size_t *out_length, int *code)
{
	size_t length = 0, size = 65536;
	char *text = malloc(size);

	*code = ENOMEM;
	while (text != NULL) {
		ssize_t n = recv(fd, text + length, size - length, 0);
		char *larger;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*code = n == 0 ? ECONNRESET : errno == EAGAIN ? ETIMEDOUT : errno;
			break;
		}
		length += (size_t)n;
		if (text[length - 1] == '\n') {
			*out_length = length;
			return text;
		}
		if (length < size)
			continue;
		*code = EMSGSIZE;
		if (size >= ANSWER_MAX)
			break;
		size *= 2;
		larger = realloc(text, size);
		*code = ENOMEM;
		if (larger == NULL)
			break;
		text = larger;
	}
	free(text);
	return NULL;
}

/* The result within an answer, or NULL, having said why. */
static json_t *take_result(const char *text, size_t length)
{
	json_t *answer, *result = NULL;
	const char *error;

	answer = json_loadb(text, length, 0, NULL);
	error = json_string_value(json_object_get(answer, "error"));
	if (error != NULL)
		command_fail(STATUS_FAILED, "%s", error);
	else
		result = json_incref(json_object_get(answer, "result"));
	if (error == NULL && result == NULL)
		command_fail(STATUS_FAILED, "weftd's answer makes no sense");
	json_decref(answer);
	return result;
}

json_t *request_call(const char *socket, const char *method, json_t *params,
		     const struct request_fds *fds)
{
	json_t *request = json_pack("{s:s, s:o}", "method", method, "params", params);
	char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
	int connection = -1, rc, code = 0;
	json_t *result = NULL;
	char *answer = NULL;
	size_t length;

	json_decref(request);
	if (text == NULL) {
		command_fail(STATUS_FAILED, "out of memory, or text that is not UTF-8");
		return NULL;
	}
	connection = connect_weftd(socket);
	if (connection < 0)
		goto out;
	length = strlen(text);
	text[length] = '\n'; /* in place of the NUL */
	rc = send_all(connection, text, length + 1, fds);
	/* A server that refuses to read on may have said why. */
	if (rc == 0 || rc == -EPIPE || rc == -ECONNRESET)
		answer = receive_line(connection, &length, &code);
	if (answer != NULL)
		result = take_result(answer, length);
	else
		command_fail(STATUS_FAILED, "weftd did not answer: %s",
			     strerror(rc < 0 ? -rc : code));
out:
	if (connection >= 0)
		close(connection);
	free(answer);
	free(text);
	return result;
}
