/* The API server over its socket: methods, framing, bounds, passed descriptors, and taking the
 * path.
 *
 * Server and client share the thread: the client never blocks, and runs the loop until its answer
 * is there. */
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

static int setup(void **state)
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

static int teardown(void **state)
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

static void turn(struct fixture *f)
{
	event_base_loop(f->loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	sched_yield();
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends all, with the loop's help. False when the server has closed. */
static bool send_text(struct fixture *f, int fd, const char *text, size_t length)
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
static char *receive_line(struct fixture *f, int fd)
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
static json_t *ask(struct fixture *f, const char *request)
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

static void expect(struct fixture *f, const char *request, const char *expected)
{
	json_t *answer = ask(f, request);
	char *text = json_dumps(answer, JSON_COMPACT);

	assert_string_equal(text, expected);
	free(text);
	json_decref(answer);
}

/* The error's text holds `part`. */
static void expect_error(struct fixture *f, const char *request, const char *part)
{
	json_t *answer = ask(f, request);
	const char *text = json_string_value(json_object_get(answer, "error"));

	assert_non_null(text);
	if (strstr(text, part) == NULL)
		fail_msg("%s: %s", request, text);
	assert_null(json_object_get(answer, "result"));
	json_decref(answer);
}

static void test_requests_and_their_errors(void **state)
{
	struct fixture *f = *state;

	expect(f, "{\"method\": \"version\", \"id\": \"x\"}",
	       "{\"result\":{\"name\":\"weftd\",\"version\":\"" WEFT_VERSION "\"},\"id\":\"x\"}");
	expect(f, "{\"method\": \"none\", \"id\": 7}",
	       "{\"error\":\"there is no method 'none'; docs/api.md has the list\",\"id\":7}");
	expect_error(f, "{\"method\": 1}", "not a request: ");
	expect_error(f, "{\"method\": \"version\", \"more\": 1}", "not a request: ");
	expect_error(f, "{\"method\": \"version\", \"params\": {\"a\": 1}}", "wrong parameters: ");
	expect_error(f, "{\"method\": \"version\", \"params\": 3}", "wrong parameters: ");
	expect_error(f, "{\"method\": \"version\", \"method\": \"version\"}", "duplicate");
	expect_error(f, "[1]", "not a request: no object");
	expect_error(f, "", "not a request: ");
	expect_error(f, "{\"method\": \"show\"}", "what");
	expect_error(f, "{\"method\": \"show\", \"params\": {\"what\": \"cats\"}}",
		     "'cats' cannot be shown; allowed: networks, ports, macs");
	expect_error(f, "{\"method\": \"show\", \"params\": {\"what\": \"macs\", \"name\": \"x\"}}",
		     "there is no network 'x'");
	expect_error(f,
		     "{\"method\": \"show\", \"params\": {\"what\": \"workers\", \"name\": \"x\"}}",
		     "workers have no names");
	expect_error(f,
		     "{\"method\": \"show\", \"params\": {\"what\": \"ports\", \"name\": \"x\"}}",
		     "there is no port 'x'");
	expect_error(f, "{\"method\": \"port_del\", \"params\": {\"name\": \"x\"}}", "'x'");
	expect_error(f, "{\"method\": \"network_del\", \"params\": {\"name\": \"x\"}}", "'x'");
	expect_error(f, "{\"method\": \"qemu_args\", \"params\": {\"ports\": []}}",
		     "'ports' must be a list");
	expect_error(f, "{\"method\": \"qemu_args\", \"params\": {\"ports\": [1]}}",
		     "there is no port ''");
}

#define ADD_NETWORK                                                                                \
	"{\"method\": \"network_add\", \"params\": {\"name\": \"lab\", \"config\": \"{mode: "      \
	"isolated}\"}}"
#define ADD_PORT                                                                                   \
	"{\"method\": \"port_add\", \"params\": {\"name\": \"p1\", \"config\": \"{network: lab, "  \
	"'null': {}, vlans: [10, 20], native: 10, mac: '52:54:00:00:00:01'}\"}}"

static void test_add_show_and_remove(void **state)
{
	struct fixture *f = *state;
	json_t *answer, *port;
	char *text;

	expect_error(f, ADD_PORT, "there is no network 'lab'");
	expect(f, ADD_NETWORK, "{\"result\":{}}");
	expect_error(f, ADD_NETWORK, "lab");
	expect(f, ADD_PORT, "{\"result\":{}}");
	expect_error(f, ADD_PORT, "p1");
	answer = ask(f, "{\"method\": \"show\", \"params\": {\"what\": \"ports\"}}");
	port = json_array_get(json_object_get(answer, "result"), 0);
	assert_int_equal(json_array_size(json_object_get(answer, "result")), 1);
	assert_string_equal(json_string_value(json_object_get(port, "name")), "p1");
	assert_string_equal(json_string_value(json_object_get(port, "network")), "lab");
	assert_string_equal(json_string_value(json_object_get(port, "type")), "null");
	assert_string_equal(json_string_value(json_object_get(port, "mac")), "52:54:00:00:00:01");
	assert_true(json_is_null(json_object_get(port, "fault")));
	assert_true(json_is_false(json_object_get(port, "uplink")));
	text = json_dumps(json_object_get(port, "vlan"), JSON_COMPACT);
	assert_string_equal(text, "{\"mode\":\"trunk\",\"allowed\":[10,20],\"native\":10}");
	free(text);
	assert_true(
	    json_is_object(json_object_get(json_object_get(port, "receive"), "drops_by_reason")));
	json_decref(answer);
	answer = ask(f, "{\"method\": \"show\", \"params\": {\"what\": \"networks\", \"name\": "
			"\"lab\"}}");
	port = json_object_get(json_array_get(json_object_get(answer, "result"), 0), "ports");
	assert_string_equal(json_string_value(json_array_get(port, 0)), "p1");
	json_decref(answer);
	expect_error(f, "{\"method\": \"network_del\", \"params\": {\"name\": \"lab\"}}", "p1");
	expect(f, "{\"method\": \"port_del\", \"params\": {\"name\": \"p1\"}}", "{\"result\":{}}");
	expect(f, "{\"method\": \"network_del\", \"params\": {\"name\": \"lab\"}}",
	       "{\"result\":{}}");
	expect(f, "{\"method\": \"show\", \"params\": {\"what\": \"ports\"}}", "{\"result\":[]}");
	expect(f, "{\"method\": \"show\", \"params\": {\"what\": \"networks\"}}",
	       "{\"result\":[]}");
	expect(f, "{\"method\": \"show\", \"params\": {\"what\": \"macs\"}}", "{\"result\":[]}");
}

static void test_every_drop_reason_is_listed(void **state)
{
	struct fixture *f = *state;
	json_t *answer = ask(f, "{\"method\": \"show\", \"params\": {\"what\": \"drop-reasons\"}}");

	assert_int_equal(json_array_size(json_object_get(answer, "result")), DROP_COUNT);
	json_decref(answer);
}

static void test_apply_and_diff(void **state)
{
	static const char add[] =
	    "{\"result\":["
	    "{\"action\":\"add\",\"kind\":\"network\",\"name\":\"n\",\"keys\":[]},"
	    "{\"action\":\"add\",\"kind\":\"port\",\"name\":\"p\",\"keys\":[]}]}";
	struct fixture *f = *state;

#define TEXT "\"params\": {\"file\": \"x.yaml\", \"text\": "
#define GOOD "\"networks: { n: { mode: bridge } }\\nports: { p: { network: n, null: {} } }\"}}"
	expect(f, "{\"method\": \"diff\", " TEXT GOOD, add);
	expect(f, "{\"method\": \"diff\", " TEXT GOOD, add);
	expect(f, "{\"method\": \"apply\", " TEXT GOOD, add);
	expect(f, "{\"method\": \"apply\", " TEXT GOOD, "{\"result\":[]}");
	expect(f,
	       "{\"method\": \"apply\", " TEXT "\"networks:\\n  n: { mode: bridge }\\n  m: { mode: "
	       "nat }\"}}",
	       "{\"error\":\"x.yaml:3: networks.m.mode: 'nat' is not known; allowed: bridge, "
	       "isolated\"}");
	/* Refused as a whole: what ran still runs. */
	expect(f, "{\"method\": \"diff\", " TEXT GOOD, "{\"result\":[]}");
	expect(f, "{\"method\": \"apply\", " TEXT "\"\"}}",
	       "{\"result\":[{\"action\":\"remove\",\"kind\":\"port\",\"name\":\"p\",\"keys\":[]},"
	       "{\"action\":\"remove\",\"kind\":\"network\",\"name\":\"n\",\"keys\":[]}]}");
}

static void test_qemu_arguments(void **state)
{
	struct fixture *f = *state;
	char request[512], expected[1024];

	expect(f, ADD_NETWORK, "{\"result\":{}}");
	snprintf(request, sizeof(request),
		 "{\"method\": \"port_add\", \"params\": {\"name\": \"vm1\", \"config\": "
		 "\"{network: lab, vhost-user: '%s/a,b', queues: 2, mtu: 1400}\"}}",
		 f->directory);
	expect(f, request, "{\"result\":{}}");
	snprintf(expected, sizeof(expected),
		 "{\"result\":[\"-m\",\"1G\",\"-object\","
		 "\"memory-backend-memfd,id=weft-memory,size=1G,share=on\",\"-machine\","
		 "\"memory-backend=weft-memory\",\"-chardev\","
		 "\"socket,id=weft-chardev-vm1,path=%s/a,,b,reconnect=1\",\"-netdev\","
		 "\"vhost-user,id=weft-net-vm1,chardev=weft-chardev-vm1,queues=2\",\"-device\","
		 "\"virtio-net-pci,netdev=weft-net-vm1,mac=",
		 f->directory);
	for (unsigned i = 0; i < 2; i++) { /* the MAC it makes up stays the same */
		json_t *answer = ask(f, "{\"method\": \"qemu_args\", \"params\": {\"ports\": "
					"[\"vm1\"], \"memory\": \"1G\"}}");
		char *text = json_dumps(answer, JSON_COMPACT);

		assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
		if (i == 0)
			strcpy(expected, text);
		assert_non_null(strstr(text, "mac=52:54:00:"));
		assert_non_null(strstr(text, ",mq=on,vectors=6,host_mtu=1400\"]}"));
		free(text);
		json_decref(answer);
	}
	expect_error(f,
		     "{\"method\": \"qemu_args\", \"params\": {\"ports\": [\"vm1\"], \"memory\": "
		     "\"1G,x=y\"}}",
		     "is no size");
	expect(f, ADD_PORT, "{\"result\":{}}");
	expect_error(f, "{\"method\": \"qemu_args\", \"params\": {\"ports\": [\"p1\"]}}",
		     "port p1 is a null port; allowed: vhost-user ports");
}

static void test_lines_in_pieces_and_in_crowds(void **state)
{
	static const char request[] = "{\"method\": \"none\", \"id\": 1}\n";
	struct fixture *f = *state;
	int fd = connect_to(f->path);
	char *all, *line;
	size_t used = 0;

	for (size_t i = 0; i + 1 < sizeof(request); i++)
		assert_true(send_text(f, fd, request + i, 1));
	line = receive_line(f, fd);
	assert_non_null(line);
	free(line);
	/* More than are carried out in one go, and more answers than a socket holds. */
	all = malloc(5000 * sizeof(request) + 20000);
	for (unsigned i = 0; i < 5000; i++)
		used += (size_t)sprintf(all + used, "{\"method\": \"none\", \"id\": %u}\n", i);
	assert_true(send_text(f, fd, all, used));
	for (unsigned i = 0; i < 5000; i++) {
		char id[32];

		line = receive_line(f, fd);
		assert_non_null(line);
		snprintf(id, sizeof(id), "\"id\":%u}", i);
		assert_non_null(strstr(line, id));
		free(line);
	}
	free(all);
	close(fd);
}

static void test_garbage_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f->path);
	char *line;

	assert_true(send_text(f, fd, "GET / HTTP/1.1\r\n", 16));
	line = receive_line(f, fd);
	assert_non_null(line);
	assert_non_null(strstr(line, "not a request: "));
	free(line);
	assert_null(receive_line(f, fd));
	close(fd);
}

static void test_an_endless_request_is_refused(void **state)
{
	size_t length = ((size_t)8 << 20) + (1 << 18);
	struct fixture *f = *state;
	int fd = connect_to(f->path);
	char *text = malloc(length), *line;

	assert_non_null(text);
	memset(text, ' ', length);
	send_text(f, fd, text, length); /* the server may close before it has all */
	line = receive_line(f, fd);
	assert_non_null(line);
	assert_non_null(strstr(line, "larger than 8 MiB"));
	free(line);
	free(text);
	assert_null(receive_line(f, fd));
	close(fd);
}

static void test_deep_json_is_refused(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f->path);
	char text[100001], *line;

	memset(text, '[', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	assert_true(send_text(f, fd, text, sizeof(text)));
	line = receive_line(f, fd);
	assert_non_null(line);
	assert_non_null(strstr(line, "not a request: "));
	free(line);
	close(fd);
}

static void test_clients_are_bounded(void **state)
{
	struct fixture *f = *state;
	int fds[33];
	char *line;

	for (unsigned i = 0; i < 32; i++) {
		fds[i] = connect_to(f->path);
		assert_true(send_text(f, fds[i], "{\"method\": \"version\"}\n", 22));
		line = receive_line(f, fds[i]);
		assert_non_null(line);
		free(line);
	}
	fds[32] = connect_to(f->path);
	line = receive_line(f, fds[32]);
	assert_non_null(line);
	assert_non_null(strstr(line, "too many clients"));
	free(line);
	assert_null(receive_line(f, fds[32]));
	for (unsigned i = 0; i < 33; i++)
		close(fds[i]);
	/* The places are free again; the server sees that on its next turns. */
	for (unsigned i = 0; i < 100; i++)
		turn(f);
	expect_error(f, "{\"method\": \"none\"}", "there is no method");
}

static unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

/* Sends a request and `count` copies of a descriptor with it. */
static void send_with_fds(int socket, const char *text, int fd, unsigned count)
{
	char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec vector = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c = (struct cmsghdr *)control;

	assert_true(count <= 16);
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), strlen(text));
}

static void test_descriptors_nobody_takes_are_closed(void **state)
{
	static const char *const requests[] = {
		"{\"method\": \"version\"}\n",
		("{\"method\": \"port_add\", \"params\": {\"name\": \"p\", \"config\": \"{network: "
		 "lab, 'null': {}}\"}}\n"),
		"{\"method\": \"port_add\", \"params\": {\"name\": \"p\", \"config\": \"{\"}}\n",
		"garbage\n",
		"{\"method\"", /* never a whole request */
	};
	struct fixture *f = *state;
	unsigned before = count_fds();

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
			int client = connect_to(f->path), ends[2];
			char *line = NULL, byte;

			assert_int_equal(pipe(ends), 0);
			send_with_fds(client, requests[i], ends[1], 1 + round % 16);
			close(ends[1]);
			if (strchr(requests[i], '\n') != NULL) {
				line = receive_line(f, client);
				assert_non_null(line);
			}
			free(line);
			close(client);
			for (unsigned j = 0; j < 10; j++)
				turn(f);
			/* All copies of the write end are gone. */
			assert_int_equal(read(ends[0], &byte, 1), 0);
			close(ends[0]);
		}
	}
	assert_int_equal(count_fds(), before);
}

static void test_a_descriptor_goes_only_to_a_tap(void **state)
{
	struct fixture *f = *state;
	int client = connect_to(f->path);
	char *line;

	expect(f, ADD_NETWORK, "{\"result\":{}}");
	send_with_fds(client,
		      "{\"method\": \"port_add\", \"params\": {\"name\": \"p\", \"config\": "
		      "\"{network: lab, 'null': {}}\"}}\n",
		      client, 1);
	line = receive_line(f, client);
	assert_non_null(line);
	assert_non_null(strstr(line, "a file descriptor came with a null port"));
	free(line);
	close(client);
	expect(f, "{\"method\": \"show\", \"params\": {\"what\": \"ports\"}}", "{\"result\":[]}");
}

/* "{fd: 0}" over the API would take one of the daemon's own files. */
static void test_descriptors_by_number_are_refused(void **state)
{
	struct fixture *f = *state;

	expect(f, ADD_NETWORK, "{\"result\":{}}");
	expect_error(f,
		     "{\"method\": \"port_add\", \"params\": {\"name\": \"t\", \"config\": "
		     "\"{network: lab, tap: {fd: 0}}\"}}",
		     "port t: the number of a descriptor counts only in the file");
	expect_error(f,
		     "{\"method\": \"network_add\", \"params\": {\"name\": \"n\", \"config\": "
		     "\"{mode: bridge, uplink: {tap: {fd: 0}}}\"}}",
		     "port n.uplink: the number of a descriptor counts only in the file");
	expect_error(f,
		     "{\"method\": \"apply\", \"params\": {\"file\": \"f\", \"text\": "
		     "\"networks: { n: { mode: bridge, uplink: { tap: { fd: 0 } } } }\"}}",
		     "port n.uplink: the number of a descriptor counts only in the file");
}

static void test_a_live_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct error error = { "" };
	struct api *second = NULL;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(api_create(f->loop, f->vswitch, f->path, &second, &error), -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(error.text, "another weftd"));
	expect_error(f, "{\"method\": \"none\"}", "there is no method");
}

static void test_stale_sockets_and_files(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct fixture *f = *state;
	struct error error = { "" };
	struct api *api = NULL, *next = NULL;
	char path[96], long_path[200];
	int fd;

	/* A stale one is replaced. */
	snprintf(path, sizeof(path), "%s/stale", f->directory);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &api, &error), 0);
	/* When somebody has taken our place since, theirs stays. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &next, &error), 0);
	api_destroy(api);
	assert_int_equal(access(path, F_OK), 0);
	api_destroy(next);
	assert_int_equal(access(path, F_OK), -1);
	/* A file is not. */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(api_create(f->loop, f->vswitch, path, &api, &error), -EEXIST);
	assert_non_null(strstr(error.text, "no socket"));
	assert_int_equal(unlink(path), 0);
	/* Too long, and in no directory. */
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(api_create(f->loop, f->vswitch, long_path, &api, &error), -ENAMETOOLONG);
	assert_non_null(strstr(error.text, "199 characters; allowed: 1 to 107"));
	assert_int_equal(api_create(f->loop, f->vswitch, "/nonexistent/a/b", &api, &error),
			 -ENOENT);
	api_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_requests_and_their_errors),
		TEST(test_add_show_and_remove),
		TEST(test_every_drop_reason_is_listed),
		TEST(test_apply_and_diff),
		TEST(test_qemu_arguments),
		TEST(test_lines_in_pieces_and_in_crowds),
		TEST(test_garbage_ends_the_connection),
		TEST(test_an_endless_request_is_refused),
		TEST(test_deep_json_is_refused),
		TEST(test_clients_are_bounded),
		TEST(test_descriptors_nobody_takes_are_closed),
		TEST(test_a_descriptor_goes_only_to_a_tap),
		TEST(test_descriptors_by_number_are_refused),
		TEST(test_a_live_socket_is_left_alone),
		TEST(test_stale_sockets_and_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
