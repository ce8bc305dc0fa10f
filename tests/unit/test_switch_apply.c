/* Changes to the running switch: what a change does not name is not touched, what cannot be done is
 * refused or undone as a whole, and packets flow meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/switch_traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A TRAFFIC_MAC(1)
#define B TRAFFIC_MAC(2)
#define C TRAFFIC_MAC(3)

#define NETWORKS                                                                                   \
	"networks: { lab: { mode: isolated }, other: { mode: isolated } }\n"                       \
	"ports:\n"
#define PORT_A "  a: { network: lab, vhost-user: @/a }\n"
#define PORT_B "  b: { network: lab, vhost-user: @/b }\n"

struct two {
	struct switch_fixture fixture;
	struct fake_guest *a, *b;
};

static void two_open(struct two *two, const char *yaml)
{
	switch_fixture_open(&two->fixture, yaml);
	two->a = switch_fixture_guest(&two->fixture, "a", NULL, 128);
	two->b = switch_fixture_guest(&two->fixture, "b", NULL, 128);
}

static void two_close(struct two *two)
{
	fake_guest_destroy(two->a);
	fake_guest_destroy(two->b);
	switch_fixture_close(&two->fixture);
}

static void apply(struct two *two, const char *yaml)
{
	struct error error;

	if (switch_fixture_apply(&two->fixture, yaml, &error) != 0)
		fail_msg("%s", error.text);
}

/* How often a frontend has connected to the port. */
static json_int_t connects(struct two *two, const char *name)
{
	struct port *port = vswitch_find_port(two->fixture.vswitch, name);
	json_t *object = json_object();
	json_int_t count;

	assert_non_null(port);
	port->type->show(port, object);
	count = json_integer_value(json_object_get(object, "connects"));
	json_decref(object);
	return count;
}

static uint64_t dropped_at_a(struct two *two, enum drop_reason reason)
{
	return reason == DROP_COUNT ? 0 : switch_fixture_totals(&two->fixture, "a").drops[reason];
}

/* One frame from a to b: does b get it (DROP_COUNT), or why not? */
static void check_reaches(struct two *two, enum drop_reason reason, uint32_t number)
{
	struct traffic_frame frame = traffic_build(B, A, TRAFFIC_NO_TAG, number, 100);
	uint64_t dropped = dropped_at_a(two, reason);

	traffic_send(two->a, &frame);
	traffic_settle(two->a);
	if (reason == DROP_COUNT)
		traffic_expect(two->b, &frame);
	else
		assert_int_equal(dropped_at_a(two, reason), dropped + 1);
	traffic_expect_nothing(two->b);
}

static void introduce(struct two *two)
{
	struct traffic_frame hello = traffic_build(TRAFFIC_BROADCAST, B, TRAFFIC_NO_TAG, 0, 60);

	traffic_send(two->b, &hello);
	traffic_settle(two->b);
	traffic_expect(two->a, &hello);
}

static void test_in_place(void **state)
{
	static const struct {
		const char *b;
		enum drop_reason reason; /* DROP_COUNT: reaches */
	} steps[] = {
		{ "{ network: lab, vhost-user: @/b, vlan: 10 }", DROP_NO_DESTINATION },
		{ "{ network: lab, vhost-user: @/b }", DROP_COUNT },
		{ "{ network: lab, vhost-user: @/b, isolated: true }", DROP_COUNT },
		{ "{ network: other, vhost-user: @/b }", DROP_NO_DESTINATION },
		{ "{ network: lab, vhost-user: @/b, vlans: [5], native: 6 }", DROP_NO_DESTINATION },
		{ "{ network: lab, vhost-user: @/b, mac: '52:54:00:00:00:01' }", DROP_COUNT },
	};
	struct two two;

	two_open(&two, NETWORKS PORT_A PORT_B);
	for (uint32_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t serial = vswitch_find_port(two.fixture.vswitch, "b")->serial;
		char yaml[512];

		snprintf(yaml, sizeof(yaml), NETWORKS PORT_A "  b: %s\n", steps[i].b);
		apply(&two, yaml);
		check_reaches(&two, steps[i].reason, i);
		assert_int_equal(vswitch_find_port(two.fixture.vswitch, "b")->serial, serial);
		assert_int_equal(connects(&two, "a"), 1);
		assert_int_equal(connects(&two, "b"), 1);
	}
	two_close(&two);
}

/* An address learned behind a port before its membership changed is not looked for there. */
static void test_change_forgets_macs(void **state)
{
	struct network *lab;
	struct two two;

	two_open(&two, NETWORKS PORT_A PORT_B);
	introduce(&two);
	lab = vswitch_find_network(two.fixture.vswitch, "lab");
	assert_int_not_equal(mac_table_lookup(lab->macs, B, 0), MAC_TABLE_NO_PORT);
	apply(&two, NETWORKS PORT_A "  b: { network: other, vhost-user: @/b }\n");
	assert_ptr_equal(vswitch_find_network(two.fixture.vswitch, "lab"), lab);
	assert_int_equal(mac_table_lookup(lab->macs, B, 0), MAC_TABLE_NO_PORT);
	two_close(&two);
}

/* The same again: other lines, other order, comments. */
static void test_same_touches_nothing(void **state)
{
	struct port *a, *b;
	struct network *lab;
	struct two two;
	uint64_t generation;

	two_open(&two, NETWORKS PORT_A PORT_B);
	introduce(&two);
	a = vswitch_find_port(two.fixture.vswitch, "a");
	b = vswitch_find_port(two.fixture.vswitch, "b");
	lab = vswitch_find_network(two.fixture.vswitch, "lab");
	generation = two.fixture.vswitch->generation;
	apply(&two, "# as before\n\n"
		    "networks: { other: { mode: isolated }, lab: { mode: isolated } }\n\n"
		    "ports:\n" PORT_B "\n" PORT_A);
	assert_ptr_equal(vswitch_find_port(two.fixture.vswitch, "a"), a);
	assert_ptr_equal(vswitch_find_port(two.fixture.vswitch, "b"), b);
	assert_ptr_equal(vswitch_find_network(two.fixture.vswitch, "lab"), lab);
	assert_int_equal(mac_table_lookup(lab->macs, B, 0), b->index);
	assert_int_equal(connects(&two, "a"), 1);
	assert_int_equal(connects(&two, "b"), 1);
	assert_int_equal(two.fixture.vswitch->generation, generation);
	two_close(&two);
}

/* What runs, as text that compares. */
static char *running(struct two *two)
{
	const struct config *config = &two->fixture.vswitch->config;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t i = 0; i < config->network_count; i++)
		fprintf(out, "%s %u %u\n", config->networks[i].name,
			config->networks[i].transparent, config->networks[i].mac_limit);
	for (uint32_t i = 0; i < config->port_count; i++)
		fprintf(out, "%s %s %u %u %u\n", config->ports[i].name, config->ports[i].network,
			config->ports[i].vlan.mode, config->ports[i].isolated,
			config->ports[i].options.vhost_user.queues);
	fclose(out);
	return text;
}

static void make_plain_file(struct two *two, const char *name, char path[96])
{
	int fd;

	snprintf(path, 96, "%s/%s", two->fixture.directory, name);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	assert_return_code(fd, errno);
	close(fd);
}

/* Everything of the change is undone: what came, what went, and what changed. */
static void test_failed_open_is_undone(void **state)
{
	struct two two;
	struct network *lab;
	struct error error;
	char path[96], *before, *after;
	uint64_t serial;

	two_open(&two, NETWORKS PORT_A PORT_B "  c: { network: lab, vhost-user: @/c }\n"
					      "  d: { network: lab, vhost-user: @/d }\n");
	introduce(&two);
	make_plain_file(&two, "taken", path);
	before = running(&two);
	serial = vswitch_find_port(two.fixture.vswitch, "b")->serial;
	lab = vswitch_find_network(two.fixture.vswitch, "lab");
	assert_int_equal(
	    switch_fixture_apply(&two.fixture,
				 "networks: { lab: { mode: isolated, transparent: true },\n"
				 "            new: { mode: isolated } }\n"
				 "ports:\n" PORT_A
				 "  b: { network: new, vhost-user: @/b, isolated: true }\n"
				 "  d: { network: lab, vhost-user: @/d, queues: 2 }\n"
				 "  e: { network: new, vhost-user: @/e }\n"
				 "  f: { network: new, vhost-user: @/taken }\n",
				 &error),
	    -EEXIST);
	assert_non_null(strstr(error.text, "port 'f'"));
	after = running(&two);
	assert_string_equal(after, before);
	free(before);
	free(after);
	assert_null(vswitch_find_port(two.fixture.vswitch, "e"));
	assert_null(vswitch_find_port(two.fixture.vswitch, "f"));
	assert_null(vswitch_find_network(two.fixture.vswitch, "new"));
	assert_non_null(vswitch_find_network(two.fixture.vswitch, "other"));
	assert_false(vswitch_find_network(two.fixture.vswitch, "lab")->config.transparent);
	assert_non_null(vswitch_find_port(two.fixture.vswitch, "c"));
	assert_int_equal(vswitch_find_port(two.fixture.vswitch, "d")->receive_count, 1);
	/* b was to change only in place: it has noticed nothing, nor have the workers. */
	assert_int_equal(vswitch_find_port(two.fixture.vswitch, "b")->serial, serial);
	assert_int_equal(connects(&two, "b"), 1);
	assert_int_equal(mac_table_lookup(lab->macs, B, 0),
			 vswitch_find_port(two.fixture.vswitch, "b")->index);
	check_reaches(&two, DROP_COUNT, 9);
	assert_int_equal(access(path, F_OK), 0);
	assert_return_code(unlink(path), errno);
	two_close(&two);
}

static void test_refused(void **state)
{
	struct port_config port;
	struct network_config network;
	struct port_config uplink;
	struct error error;
	struct two two;
	char text[128];
	bool has_uplink;

	two_open(&two, "workers: { count: 2 }\n" NETWORKS PORT_A PORT_B);
	assert_int_equal(switch_fixture_apply(&two.fixture,
					      "workers: { count: 1 }\n" NETWORKS PORT_A PORT_B,
					      &error),
			 -EBUSY);
	assert_non_null(strstr(error.text, "workers"));
	assert_int_equal(
	    switch_fixture_apply(
		&two.fixture, "workers: { count: 2, poll: busy }\n" NETWORKS PORT_A PORT_B, &error),
	    -EBUSY);
	apply(&two, "workers: { count: 2 }\n" NETWORKS PORT_A PORT_B);
	assert_int_equal(switch_fixture_apply(
			     &two.fixture, NETWORKS PORT_A PORT_B "api: { socket: @/x }\n", &error),
			 -EBUSY);
	assert_int_equal(vswitch_network_del(two.fixture.vswitch, "lab", &error), -EBUSY);
	assert_non_null(strstr(error.text, "'a'"));
	assert_int_equal(vswitch_network_del(two.fixture.vswitch, "nowhere", &error), -ENOENT);
	assert_int_equal(vswitch_port_del(two.fixture.vswitch, "nobody", &error), -ENOENT);
	snprintf(text, sizeof(text), "{ network: lab, vhost-user: %s/z }", two.fixture.directory);
	assert_return_code(config_parse_port("a", text, &port, &error), 0);
	assert_int_equal(vswitch_port_add(two.fixture.vswitch, &port, &error), -EEXIST);
	snprintf(text, sizeof(text), "{ network: nowhere, vhost-user: %s/z }",
		 two.fixture.directory);
	assert_return_code(config_parse_port("z", text, &port, &error), 0);
	assert_int_equal(vswitch_port_add(two.fixture.vswitch, &port, &error), -EINVAL);
	snprintf(text, sizeof(text), "{ network: lab, vhost-user: %s/b }", two.fixture.directory);
	assert_return_code(config_parse_port("z", text, &port, &error), 0);
	assert_int_equal(vswitch_port_add(two.fixture.vswitch, &port, &error), -EINVAL);
	assert_return_code(config_parse_network("lab", "{ mode: isolated }", &network, &uplink,
						&has_uplink, &error),
			   0);
	assert_int_equal(vswitch_network_add(two.fixture.vswitch, &network, NULL, &error), -EEXIST);
	assert_return_code(vswitch_network_del(two.fixture.vswitch, "other", &error), 0);
	assert_int_equal(connects(&two, "a"), 1);
	assert_int_equal(connects(&two, "b"), 1);
	check_reaches(&two, DROP_COUNT, 1);
	two_close(&two);
}

static void test_limits(void **state)
{
	struct port_config *ports = calloc(CONFIG_PORTS_MAX + 1, sizeof(*ports));
	struct config wanted;
	struct error error;
	struct two two;

	assert_non_null(ports);
	two_open(&two, NETWORKS PORT_A PORT_B);
	assert_return_code(config_copy(&wanted, &two.fixture.vswitch->config), 0);
	for (uint32_t i = 0; i <= CONFIG_PORTS_MAX; i++) {
		ports[i] = wanted.ports[0];
		snprintf(ports[i].name, sizeof(ports[i].name), "p%u", i);
		snprintf(ports[i].options.vhost_user.path, sizeof(ports[i].options.vhost_user.path),
			 "%s/p%u", two.fixture.directory, i);
	}
	free(wanted.ports);
	wanted.ports = ports;
	wanted.port_count = CONFIG_PORTS_MAX + 1;
	assert_int_equal(vswitch_apply(two.fixture.vswitch, NULL, &wanted, &error), -EINVAL);
	assert_non_null(strstr(error.text, "at most 4096"));
	config_clear(&wanted);
	check_reaches(&two, DROP_COUNT, 1);
	two_close(&two);
}

/* A port that changes what it is made of is another port. */
static void test_replaced(void **state)
{
	struct fake_guest_options options = { .queue_pairs = 2 };
	struct two two;
	uint64_t serial;

	two_open(&two, NETWORKS PORT_A PORT_B);
	introduce(&two);
	serial = vswitch_find_port(two.fixture.vswitch, "b")->serial;
	apply(&two, NETWORKS PORT_A "  b: { network: lab, vhost-user: @/b, queues: 2 }\n");
	assert_int_not_equal(vswitch_find_port(two.fixture.vswitch, "b")->serial, serial);
	assert_int_equal(switch_fixture_totals(&two.fixture, "b").receive_packets, 0);
	assert_return_code(fake_guest_wait_hangup(two.b), 0);
	assert_int_equal(
	    mac_table_lookup(vswitch_find_network(two.fixture.vswitch, "lab")->macs, B, 0),
	    MAC_TABLE_NO_PORT);
	fake_guest_destroy(two.b);
	two.b = switch_fixture_guest(&two.fixture, "b", &options, 128);
	check_reaches(&two, DROP_COUNT, 1);
	assert_int_equal(connects(&two, "a"), 1);
	two_close(&two);
}

/* A network's MAC table is made anew when its size changes; the ports stay. */
static void test_table_size(void **state)
{
	struct two two;

	two_open(&two, NETWORKS PORT_A PORT_B);
	introduce(&two);
	apply(&two, "networks: { lab: { mode: isolated, macs: { limit: 10 } },\n"
		    "            other: { mode: isolated } }\n"
		    "ports:\n" PORT_A PORT_B);
	assert_int_equal(
	    mac_table_lookup(vswitch_find_network(two.fixture.vswitch, "lab")->macs, B, 0),
	    MAC_TABLE_NO_PORT);
	check_reaches(&two, DROP_COUNT, 1);
	assert_int_equal(connects(&two, "b"), 1);
	two_close(&two);
}

static void add_port(struct two *two, const char *name, const char *network)
{
	struct port_config port;
	struct error error;
	char text[128];

	snprintf(text, sizeof(text), "{ network: %s, vhost-user: %s/%s }", network,
		 two->fixture.directory, name);
	if (config_parse_port(name, text, &port, &error) != 0 ||
	    vswitch_port_add(two->fixture.vswitch, &port, &error) != 0)
		fail_msg("%s", error.text);
}

static void check_stream_lost_nothing(struct two *two)
{
	struct port_totals a = switch_fixture_totals(&two->fixture, "a");
	struct port_totals b = switch_fixture_totals(&two->fixture, "b");

	for (int i = 0; i < DROP_COUNT; i++) {
		assert_int_equal(a.drops[i], 0);
		assert_int_equal(b.drops[i], 0);
	}
}

/* 200 ports and some networks come and go, some with guests, while a talks to b. */
static void test_churn(void **state)
{
	struct stream stream = { .from_mac = A, .to_mac = B, .flows = 16 };
	struct network_config network;
	struct port_config uplink;
	struct error error;
	struct two two;
	bool has_uplink;
	char name[16];

	two_open(&two, "workers: { count: 3 }\n" NETWORKS PORT_A PORT_B);
	introduce(&two);
	stream.from = two.a;
	stream.to = two.b;
	stream_start(&stream);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		add_port(&two, name, i % 2 == 0 ? "lab" : "other");
		if (i % 20 == 0) {
			/* In the other network: a flood would reach b, and so the stream. */
			struct fake_guest *guest;
			struct traffic_frame frame =
			    traffic_build(TRAFFIC_BROADCAST, C, TRAFFIC_NO_TAG, 1, 60);

			snprintf(name, sizeof(name), "q%d", i);
			add_port(&two, name, "other");
			guest = switch_fixture_guest(&two.fixture, name, NULL, 16);
			traffic_send(guest, &frame);
			traffic_settle(guest);
			fake_guest_destroy(guest);
		}
		if (i % 10 == 0) {
			snprintf(name, sizeof(name), "n%d", i);
			assert_return_code(config_parse_network(name, "{ mode: isolated }",
								&network, &uplink, &has_uplink,
								&error),
					   0);
			assert_return_code(
			    vswitch_network_add(two.fixture.vswitch, &network, NULL, &error), 0);
		}
	}
	stream_wait(&stream, &two.fixture, 200);
	for (int i = 0; i < 200; i += 2) {
		snprintf(name, sizeof(name), "p%d", i);
		assert_return_code(vswitch_port_del(two.fixture.vswitch, name, &error), 0);
	}
	apply(&two, NETWORKS PORT_A PORT_B); /* all others at once */
	assert_int_equal(two.fixture.vswitch->config.port_count, 2);
	stream_wait(&stream, &two.fixture, 200);
	stream_finish(&stream);
	check_stream_lost_nothing(&two);
	assert_int_equal(connects(&two, "a"), 1);
	assert_int_equal(connects(&two, "b"), 1);
	two_close(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_change_forgets_macs),
		cmocka_unit_test(test_same_touches_nothing),
		cmocka_unit_test(test_failed_open_is_undone),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_table_size),
		cmocka_unit_test(test_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
