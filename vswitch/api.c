/* The API server: accepts clients, takes their requests line by line, has api_methods.c carry them
 * out, and sends the answers (api.h). Control thread.
 *
 * A client is answered in order, one request at a time: while an answer is not all sent nothing
 * more is read, so what a client can make us hold is one request and one answer. A file descriptor
 * that comes with bytes belongs to the next request carried out; one nobody takes is closed. */
#include "vswitch/api.h"

#include "base/log.h"
#include "vswitch/api_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS_MAX    32u
#define REQUEST_MAX    ((size_t)8 << 20)
#define ANSWER_MAX     ((size_t)128 << 20)
#define READ_SIZE      65536u
#define REQUESTS_A_RUN 16u /* of one client, before others get their turn */
#define SEND_SECONDS   30  /* until a client that takes nothing of its answer is closed */
/* Room for descriptors of one message: for one too many, so that this is seen. */
#define FDS_MAX (CONFIG_TAP_QUEUES_MAX + 1)

struct client {
	struct api *api;
	int fd;
	struct api_fds passed;
	struct event *read_event;
	struct event *write_event;
	char *in;
	size_t in_length, in_size;
	size_t in_done;	   /* bytes of requests carried out */
	size_t in_scanned; /* bytes known to hold no further line end */
	char *out;
	size_t out_length, out_done;
	bool closing; /* when the answer is sent */
};

struct api {
	struct event_base *loop;
	struct vswitch *vswitch;
	struct event *accept_event;
	struct event *pause_event; /* accepts again, after a want of file descriptors */
	int fd;
	char path[CONFIG_SOCKET_MAX + 1];
	dev_t device; /* of our socket, to remove no other's */
	ino_t inode;
	struct client *clients[CLIENTS_MAX];
};

static void client_close(struct client *client);
static void on_accept(evutil_socket_t fd, short what, void *argument);
static void on_pause_end(evutil_socket_t fd, short what, void *argument);
static void on_readable(evutil_socket_t fd, short what, void *argument);
static void on_writable(evutil_socket_t fd, short what, void *argument);

int api_create(struct event_base *loop, struct vswitch *vswitch, const char *path, struct api **out,
	       struct error *error)
{
	struct api *api = calloc(1, sizeof(*api));
	struct stat st;
	int rc;

	if (api == NULL)
		return error_set(error, ENOMEM, "API socket: out of memory");
	api->loop = loop;
	api->vswitch = vswitch;
	api->fd = -1;
	rc = api_path_listen(path, &api->fd, error);
	if (rc < 0)
		goto fail;
	memcpy(api->path, path, strlen(path));
	if (lstat(path, &st) == 0) {
		api->device = st.st_dev;
		api->inode = st.st_ino;
	}
	api->accept_event = event_new(loop, api->fd, EV_READ | EV_PERSIST, on_accept, api);
	api->pause_event = evtimer_new(loop, on_pause_end, api);
	if (api->accept_event == NULL || api->pause_event == NULL ||
	    event_add(api->accept_event, NULL) < 0) {
		rc = error_set(error, ENOMEM, "API socket: out of memory");
		goto fail;
	}
	*out = api;
	return 0;
fail:
	api_destroy(api);
	return rc;
}

void api_destroy(struct api *api)
{
	struct stat st;

	if (api == NULL)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (api->clients[i] != NULL)
			client_close(api->clients[i]);
	if (api->accept_event != NULL)
		event_free(api->accept_event);
	if (api->pause_event != NULL)
		event_free(api->pause_event);
	if (api->fd >= 0) {
		close(api->fd);
		if (api->inode != 0 && lstat(api->path, &st) == 0 && st.st_dev == api->device &&
		    st.st_ino == api->inode)
			unlink(api->path);
	}
	free(api);
}

static void close_passed(struct api_fds *passed)
{
	for (uint32_t i = 0; i < passed->count; i++)
		close(passed->fds[i]);
	passed->count = 0;
	passed->lost = false;
}

static void client_close(struct client *client)
{
	struct api *api = client->api;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (api->clients[i] == client)
			api->clients[i] = NULL;
	if (client->read_event != NULL)
		event_free(client->read_event);
	if (client->write_event != NULL)
		event_free(client->write_event);
	close_passed(&client->passed);
	close(client->fd);
	free(client->in);
	free(client->out);
	free(client);
}

static void client_open(struct api *api, unsigned slot, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		close(fd);
		return;
	}
	client->api = api;
	client->fd = fd;
	client->read_event = event_new(api->loop, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->write_event = event_new(api->loop, fd, EV_WRITE, on_writable, client);
	api->clients[slot] = client;
	if (client->read_event == NULL || client->write_event == NULL ||
	    event_add(client->read_event, NULL) < 0)
		client_close(client);
}

static void on_accept(evutil_socket_t listening, short what, void *argument)
{
	static const char full[] = "{\"error\": \"too many clients; at most 32 at a time\"}\n";
	struct api *api = argument;
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* Out of descriptors or memory: the client stays in the queue, and would wake us
		 * again at once. */
		const struct timeval pause = { .tv_sec = 1 };

		log_warning("API: cannot accept a client: %s", strerror(errno));
		if (event_add(api->pause_event, &pause) == 0)
			event_del(api->accept_event);
	}
	if (fd < 0)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (api->clients[i] == NULL) {
			client_open(api, i, fd);
			return;
		}
	(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
	close(fd);
}

static void on_pause_end(evutil_socket_t fd, short what, void *argument)
{
	struct api *api = argument;

	event_add(api->accept_event, NULL);
}

/* Sends what it can. True when nothing is left; false when the client waits for the socket, or is
 * gone (then *gone). */
static bool client_flush(struct client *client, bool *gone)
{
	const struct timeval patience = { .tv_sec = SEND_SECONDS };

	*gone = false;
	while (client->out_done < client->out_length) {
		ssize_t n = send(client->fd, client->out + client->out_done,
				 client->out_length - client->out_done, MSG_NOSIGNAL);

		if (n >= 0) {
			client->out_done += (size_t)n;
		} else if (errno == EAGAIN) {
			event_del(client->read_event);
			if (event_add(client->write_event, &patience) == 0)
				return false;
			*gone = true;
			return false;
		} else if (errno != EINTR) {
			*gone = true;
			return false;
		}
	}
	free(client->out);
	client->out = NULL;
	client->out_length = client->out_done = 0;
	*gone = client->closing;
	return !*gone;
}

/* Makes `answer` (reference taken) the client's output. False when there is no memory for it. */
static bool client_answer(struct client *client, json_t *answer, json_t *id)
{
	size_t length = answer == NULL ? 0 : json_dumpb(answer, NULL, 0, JSON_COMPACT);

	if (length > ANSWER_MAX) {
		json_decref(answer);
		answer = api_methods_error("the answer would be larger than 128 MiB", id);
		length = answer == NULL ? 0 : json_dumpb(answer, NULL, 0, JSON_COMPACT);
	}
	if (length > 0)
		client->out = malloc(length + 1);
	if (client->out != NULL) {
		client->out_length = json_dumpb(answer, client->out, length, JSON_COMPACT);
		client->out[client->out_length++] = '\n';
		client->out_done = 0;
	}
	json_decref(answer);
	return client->out != NULL;
}

/* Carries out the request of `length` bytes at `line`. False when the client must go. */
static bool client_request(struct client *client, const char *line, size_t length)
{
	json_error_t why;
	json_t *request, *answer, *id = NULL;
	char text[256];
	bool good;

	request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(request)) {
		snprintf(text, sizeof(text), "not a request: %s; allowed: one JSON object a line",
			 request == NULL ? why.text : "no object");
		for (char *p = text; *p != '\0'; p++)
			if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
				*p = '?';
		answer = api_methods_error(text, NULL);
		client->closing = true; /* who knows where the next request starts */
	} else {
		id = json_object_get(request, "id");
		answer = api_methods_call(client->api->vswitch, request, &client->passed);
	}
	good = client_answer(client, answer, id);
	json_decref(request);
	close_passed(&client->passed);
	return good;
}

/* The length of the next line in the buffer without its end, or -1 when there is none yet. */
static ssize_t next_line(struct client *client)
{
	const char *end;

	if (client->in_scanned == client->in_length)
		return -1;
	end = memchr(client->in + client->in_scanned, '\n', client->in_length - client->in_scanned);

	if (end == NULL) {
		client->in_scanned = client->in_length;
		return -1;
	}
	return end - (client->in + client->in_done);
}

/* Carries out what is in the buffer, as far as the answers get away. */
static void client_run(struct client *client)
{
	for (unsigned i = 0; client->out == NULL; i++) {
		ssize_t length = next_line(client);
		const char *line = client->in + client->in_done;
		bool gone;

		if (length < 0)
			break;
		if (i == REQUESTS_A_RUN) {
			event_active(client->read_event, EV_TIMEOUT, 0);
			return;
		}
		client->in_done += (size_t)length + 1;
		client->in_scanned = client->in_done;
		if (!client_request(client, line, (size_t)length)) {
			client_close(client);
			return;
		}
		if (!client_flush(client, &gone)) {
			if (gone)
				client_close(client);
			return;
		}
	}
	if (client->in == NULL)
		return;
	/* Only the start of a request is left: moves to the front, in a buffer of its size. */
	client->in_length -= client->in_done;
	client->in_scanned -= client->in_done;
	memmove(client->in, client->in + client->in_done, client->in_length);
	client->in_done = 0;
	if (client->in_length == 0) {
		free(client->in);
		client->in = NULL;
		client->in_size = 0;
	}
}

/* Keeps the descriptors that came as long as there is room, and closes all others. */
static void take_fds(struct api_fds *passed, struct msghdr *message)
{
	if (message->msg_flags & MSG_CTRUNC)
		passed->lost = true;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (passed->count < CONFIG_TAP_QUEUES_MAX) {
				passed->fds[passed->count++] = fd;
			} else {
				passed->lost = true;
				close(fd);
			}
		}
	}
}

static bool client_reserve(struct client *client)
{
	size_t size = client->in_size;
	char *in;

	if (size - client->in_length >= READ_SIZE)
		return true;
	size = size == 0 ? READ_SIZE : size * 2;
	in = realloc(client->in, size);
	if (in == NULL)
		return false;
	client->in = in;
	client->in_size = size;
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
	struct client *client = argument;
	struct iovec vector;
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	bool gone;
	ssize_t n;

	if (what & EV_TIMEOUT) { /* client_run() has asked for another turn */
		client_run(client);
		return;
	}
	if (!client_reserve(client)) {
		client_close(client);
		return;
	}
	vector.iov_base = client->in + client->in_length;
	vector.iov_len = READ_SIZE;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		take_fds(&client->passed, &message);
	if (n <= 0) {
		client_close(client);
		return;
	}
	client->in_length += (size_t)n;
	if (client->in_length - client->in_done > REQUEST_MAX && next_line(client) < 0) {
		client->closing = true;
		if (!client_answer(
			client,
			api_methods_error("the request is larger than 8 MiB; the connection ends",
					  NULL),
			NULL) ||
		    (!client_flush(client, &gone) && gone))
			client_close(client);
		return;
	}
	client_run(client);
}

static void on_writable(evutil_socket_t fd, short what, void *argument)
{
	struct client *client = argument;
	bool gone;

	if (what & EV_TIMEOUT) {
		client_close(client);
		return;
	}
	if (!client_flush(client, &gone)) {
		if (gone)
			client_close(client);
		return;
	}
	if (event_add(client->read_event, NULL) < 0)
		client_close(client);
	else
		client_run(client);
}
