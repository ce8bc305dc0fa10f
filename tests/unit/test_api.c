/* The API server over its socket: methods, framing, bounds, passed descriptors. */
#include "tests/unit/api_fixture.h"

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
	       "natt }\"}}",
	       "{\"error\":\"x.yaml:3: networks.m.mode: 'natt' is not known; allowed: bridge, "
	       "nat, routed, isolated\"}");
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

#define FDS 100u /* more than a tap has queues */

/* Sends a request and `count` copies of a descriptor with it. */
static void send_with_fds(int socket, const char *text, int fd, unsigned count)
{
	char control[CMSG_SPACE(FDS * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec vector = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c = (struct cmsghdr *)control;

	assert_true(count <= FDS);
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), strlen(text));
}

#define ADD_TAP                                                                                    \
	"{\"method\": \"port_add\", \"params\": {\"name\": \"t\", \"config\": \"{network: lab, "   \
	"tap: given}\"}}\n"

static void test_descriptors_nobody_takes_are_closed(void **state)
{
	static const char *const requests[] = {
		"{\"method\": \"version\"}\n",
		("{\"method\": \"port_add\", \"params\": {\"name\": \"p\", \"config\": \"{network: "
		 "lab, 'null': {}}\"}}\n"),
		ADD_TAP,
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
			send_with_fds(client, requests[i], ends[1], 1 + round * 2);
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

/* Each must be a queue of a tap; an error counts them, as their numbers here are nobody's. */
static void test_several_descriptors(void **state)
{
	static const struct {
		unsigned count;
		const char *error;
	} cases[] = {
		{ 1, "descriptor 1 of those passed (--tap-fd): not an open file of a tap" },
		{ 64, "descriptor 1 of those passed (--tap-fd): not an open file of a tap" },
		{ 65, "port t: more file descriptors came than could be taken; allowed: 1 to 64" },
		{ FDS, "port t: more file descriptors came than could be taken; allowed: 1 to 64" },
	};
	struct fixture *f = *state;
	unsigned before;

	expect(f, ADD_NETWORK, "{\"result\":{}}");
	for (unsigned i = 0; i < 10; i++)
		turn(f); /* its client is gone */
	before = count_fds();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int client = connect_to(f->path);
		char *line;

		send_with_fds(client, ADD_TAP, client, cases[i].count);
		line = receive_line(f, client);
		assert_non_null(line);
		if (strstr(line, cases[i].error) == NULL)
			fail_msg("%s does not say \"%s\"", line, cases[i].error);
		free(line);
		close(client);
	}
	for (unsigned i = 0; i < 10; i++)
		turn(f);
	assert_int_equal(count_fds(), before);
}

/* "{fd: 0}" over the API would take one of the daemon's own files. */
static void test_descriptors_by_number_are_refused(void **state)
{
	struct fixture *f = *state;

	expect(f, ADD_NETWORK, "{\"result\":{}}");
	expect_error(f,
		     "{\"method\": \"port_add\", \"params\": {\"name\": \"t\", \"config\": "
		     "\"{network: lab, tap: {fd: 0}}\"}}",
		     "ports.t.tap: the number of a descriptor counts only in the file");
	expect_error(f,
		     "{\"method\": \"network_add\", \"params\": {\"name\": \"n\", \"config\": "
		     "\"{mode: bridge, uplink: {tap: {fd: 0}}}\"}}",
		     "networks.n.uplink.tap: the number of a descriptor counts only in the file");
	expect_error(
	    f,
	    "{\"method\": \"apply\", \"params\": {\"file\": \"f\", \"text\": "
	    "\"networks: { n: { mode: bridge, uplink: { tap: { fd: 0 } } } }\"}}",
	    "f:1: networks.n.uplink.tap: the number of a descriptor counts only in the file");
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
		TEST(test_several_descriptors),
		TEST(test_descriptors_by_number_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
