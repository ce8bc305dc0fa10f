/* An API server of an empty switch, and a client in the same thread: the client never blocks, and
 * runs the loop until its answer is there. */
#ifndef WEFT_TESTS_API_FIXTURE_H
#define WEFT_TESTS_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/api.h"
#include "vswitch/switch.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE 2000000u /* turns of the loop until a test gives up */

struct fixture {
	char directory[64];
	char path[96];
	struct event_base *loop;
	struct vswitch *vswitch;
	struct api *api;
};

static inline int setup(void **state)
{
	const struct workers_config workers = { .count = 1, .cpus = { -1 } };
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error = { "" };

	assert_non_null(f);
	strcpy(f->directory, "/tmp/weft-test-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/run/api.sock", f->directory);
	f->loop = event_base_new();
	assert_non_null(f->loop);
	if (vswitch_create(f->loop, &workers, &f->vswitch, &error) < 0 ||
	    api_create(f->loop, f->vswitch, f->path, &f->api, &error) < 0)
		fail_msg("%s", error.text);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	char run[80];

	api_destroy(f->api);
	vswitch_destroy(f->vswitch);
	event_base_free(f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	snprintf(run, sizeof(run), "%s/run", f->directory);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	return 0;
}

static inline void turn(struct fixture *f)
{
	event_base_loop(f->loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	sched_yield();
}

static inline int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends all, with the loop's help. False when the server has closed. */
static inline bool send_text(struct fixture *f, int fd, const char *text, size_t length)
{
	for (unsigned i = 0; length > 0; i++) {
		ssize_t n = send(fd, text, length, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
		turn(f);
		assert_true(i < PATIENCE);
	}
	return true;
}

/* One line, to be freed; NULL when the server has closed instead. */
static inline char *receive_line(struct fixture *f, int fd)
{
	size_t length = 0, size = 1 << 16;
	char *line = malloc(size);

	for (unsigned i = 0; i < PATIENCE; i++) {
		ssize_t n = recv(fd, line + length, 1, 0);

		if (n == 1 && line[length] == '\n') {
			line[length] = '\0';
			return line;
		}
		if (n == 1) {
			if (++length == size) {
				size *= 2;
				line = realloc(line, size);
			}
			i = 0;
			continue;
		}
		if (n == 0 || errno != EAGAIN) {
			free(line);
			return NULL;
		}
		turn(f);
	}
	fail_msg("no answer came");
	return NULL;
}

/* Sends a request of its own connection; returns the whole answer. */
static inline json_t *ask(struct fixture *f, const char *request)
{
	int fd = connect_to(f->path);
	json_t *answer;
	char *line;

	assert_true(send_text(f, fd, request, strlen(request)));
	assert_true(send_text(f, fd, "\n", 1));
	line = receive_line(f, fd);
	assert_non_null(line);
	answer = json_loads(line, 0, NULL);
	assert_non_null(answer);
	free(line);
	close(fd);
	return answer;
}

static inline void expect(struct fixture *f, const char *request, const char *expected)
{
	json_t *answer = ask(f, request);
	char *text = json_dumps(answer, JSON_COMPACT);

	assert_string_equal(text, expected);
	free(text);
	json_decref(answer);
}

/* The error's text holds `part`. */
static inline void expect_error(struct fixture *f, const char *request, const char *part)
{
	json_t *answer = ask(f, request);
	const char *text = json_string_value(json_object_get(answer, "error"));

	assert_non_null(text);
	if (strstr(text, part) == NULL)
		fail_msg("%s: %s", request, text);
	assert_null(json_object_get(answer, "result"));
	json_decref(answer);
}

#endif
