/* What `show` says of a running switch with guests: names, states and numbers that agree with what
 * the guests themselves know. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/switch_traffic.h"
#include "vswitch/show.h"

#include <stdio.h>
#include <string.h>

#define A TRAFFIC_MAC(1)
#define B TRAFFIC_MAC(2)

static const char yaml[] =
    "workers: { count: 2 }\n"
    "networks: { lab: { mode: isolated, macs: { limit: 100, age: 60 } },\n"
    "            other: { mode: isolated, transparent: true } }\n"
    "ports:\n"
    "  a: { network: lab, vhost-user: @/a, queues: 2, mtu: 1400, mac: '52:00:00:00:00:01' }\n"
    "  b: { network: lab, vhost-user: @/b, vlans: [7, 9], native: 7 }\n"
    "  c: { network: other, vhost-user: @/c, role: client, vlan: 9, isolated: true }\n";

struct rig {
	struct switch_fixture fixture;
	struct fake_guest *a, *b;
};

static void rig_open(struct rig *rig)
{
	struct fake_guest_options options = { .queue_pairs = 2, .ring_size = 128 };

	switch_fixture_open(&rig->fixture, yaml);
	rig->a = switch_fixture_guest(&rig->fixture, "a", &options, 100);
	rig->b = switch_fixture_guest(&rig->fixture, "b", NULL, 10);
}

static void rig_close(struct rig *rig)
{
	fake_guest_destroy(rig->a);
	fake_guest_destroy(rig->b);
	switch_fixture_close(&rig->fixture);
}

/* The object of `array` whose "name" (or other key) is `name`; borrowed. */
static json_t *find(json_t *array, const char *key, const char *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(array, i, object) {
		const char *text = json_string_value(json_object_get(object, key));

		if (text != NULL && strcmp(text, name) == 0)
			return object;
	}
	fail_msg("nothing with %s %s", key, name);
	return NULL;
}

static bool has_text(json_t *array, const char *text)
{
	json_t *value;
	size_t i;

	assert_true(json_is_array(array));
	json_array_foreach(array, i, value) {
		if (strcmp(json_string_value(value), text) == 0)
			return true;
	}
	return false;
}

/* "a.b.c" within an object. */
static json_t *at(json_t *object, const char *path)
{
	char part[64];

	while (object != NULL && *path != '\0') {
		size_t n = strcspn(path, ".");

		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		object = json_object_get(object, part);
		path += n + (path[n] == '.');
	}
	if (object == NULL)
		fail_msg("no %s", part);
	return object;
}

static void expect_number(json_t *object, const char *path, json_int_t value)
{
	json_t *number = at(object, path);

	assert_true(json_is_integer(number));
	if (json_integer_value(number) != value)
		fail_msg("%s: %lld, not %lld", path, (long long)json_integer_value(number),
			 (long long)value);
}

static void expect_text(json_t *object, const char *path, const char *value)
{
	assert_true(json_is_string(at(object, path)));
	assert_string_equal(json_string_value(at(object, path)), value);
}

static void test_port(void **state)
{
	struct traffic_frame frame = traffic_build(TRAFFIC_BROADCAST, A, 7, 1, 104);
	struct traffic_frame untagged = traffic_build(TRAFFIC_BROADCAST, A, TRAFFIC_NO_TAG, 1, 100);
	json_t *ports, *a, *queues, *queue;
	struct rig rig;
	size_t i;

	rig_open(&rig);
	for (int n = 0; n < 3; n++) {
		traffic_send(rig.a, &frame);
		traffic_settle(rig.a);
		traffic_expect(rig.b, &untagged);
	}
	frame = traffic_build(A, A, 7, 2, 64);
	traffic_send(rig.a, &frame);
	traffic_settle(rig.a);
	ports = show_ports(rig.fixture.vswitch);
	assert_int_equal(json_array_size(ports), 3);
	a = find(ports, "name", "a");
	expect_text(a, "network", "lab");
	expect_text(a, "type", "vhost-user");
	expect_text(a, "link", "up");
	expect_text(a, "role", "server");
	expect_text(a, "mac", "52:00:00:00:00:01");
	expect_text(a, "vlan.mode", "plain");
	assert_true(json_is_null(at(a, "fault")));
	assert_true(json_is_null(at(a, "last_error")));
	assert_true(json_is_true(at(a, "connected")));
	assert_true(json_is_false(at(a, "isolated")));
	expect_number(a, "connects", 1);
	expect_number(a, "disconnects", 0);
	expect_number(a, "message_errors", 0);
	expect_number(a, "memory_regions", 1);
	expect_number(a, "memory_size", (json_int_t)rig.a->memory.size);
	expect_number(a, "device_status", 15);
	expect_number(a, "receive.packets", 4);
	expect_number(a, "receive.bytes", 3 * 104 + 64);
	expect_number(a, "receive.drops", 1);
	expect_number(a, "receive.errors", 0);
	expect_number(a, "receive.drops_by_reason.hairpin", 1);
	expect_number(a, "transmit.packets", 0);
	assert_true(has_text(at(a, "features"), "mrg_rxbuf"));
	assert_true(has_text(at(a, "features"), "version_1"));
	assert_true(has_text(at(a, "features"), "mq"));
	assert_true(has_text(at(a, "features"), "mtu"));
	assert_false(has_text(at(a, "features"), "guest_ufo"));
	assert_true(has_text(at(a, "protocol_features"), "reply_ack"));
	queues = at(a, "queues");
	assert_int_equal(json_array_size(queues), 4);
	json_array_foreach(queues, i, queue) {
		json_int_t position = i == 1 ? 4 : 0;
		json_int_t posted = i % 2 == 0 ? 100 : position;

		expect_number(queue, "index", (json_int_t)i);
		expect_text(queue, "direction", i % 2 == 0 ? "to_guest" : "from_guest");
		expect_text(queue, "state", "running");
		expect_number(queue, "size", 128);
		expect_number(queue, "available", posted);
		expect_number(queue, "last_available", position);
		expect_number(queue, "used", position);
		expect_number(queue, "last_used", position);
	}
	expect_number(find(ports, "name", "b"), "transmit.packets", 3);
	expect_number(find(ports, "name", "b"), "transmit.bytes", 300);
	expect_text(find(ports, "name", "b"), "vlan.mode", "trunk");
	expect_number(find(ports, "name", "b"), "vlan.native", 7);
	assert_int_equal(json_array_size(at(find(ports, "name", "b"), "vlan.allowed")), 2);
	json_decref(ports);
	rig_close(&rig);
}

/* A port without a guest, and one whose guest has broken a queue. */
static void test_port_down(void **state)
{
	json_t *ports, *port;
	struct rig rig;

	rig_open(&rig);
	ports = show_ports(rig.fixture.vswitch);
	port = find(ports, "name", "c");
	expect_text(port, "link", "down");
	expect_text(port, "role", "client");
	expect_text(port, "vlan.mode", "access");
	expect_number(port, "vlan.access", 9);
	assert_true(json_is_true(at(port, "isolated")));
	assert_true(json_is_false(at(port, "connected")));
	assert_true(json_is_null(at(port, "mac")));
	assert_int_equal(json_array_size(at(port, "features")), 0);
	expect_text(json_array_get(at(port, "queues"), 0), "state", "stopped");
	assert_true(json_is_null(at(json_array_get(at(port, "queues"), 0), "available")));
	json_decref(ports);

	atomic_store(&rig.b->queues[1].ring.available->index, 5000);
	fake_guest_kick(rig.b, 1);
	while (atomic_load(&vswitch_find_port(rig.fixture.vswitch, "b")->link))
		switch_fixture_pump(&rig.fixture);
	ports = show_ports(rig.fixture.vswitch);
	port = find(ports, "name", "b");
	expect_text(port, "link", "down");
	assert_non_null(strstr(json_string_value(at(port, "fault")), "queue 1 is broken"));
	assert_true(json_is_true(at(port, "connected")));
	expect_text(json_array_get(at(port, "queues"), 0), "state", "running");
	json_decref(ports);
	rig_close(&rig);
}

static void test_networks_and_macs(void **state)
{
	struct traffic_frame frame = traffic_build(TRAFFIC_BROADCAST, B, TRAFFIC_NO_TAG, 1, 60);
	json_t *array, *object;
	struct rig rig;

	rig_open(&rig);
	traffic_send(rig.b, &frame);
	traffic_settle(rig.b);
	frame = traffic_build(TRAFFIC_BROADCAST, A, TRAFFIC_NO_TAG, 1, 60);
	traffic_send(rig.a, &frame);
	traffic_settle(rig.a);
	array = show_networks(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), 2);
	object = find(array, "name", "lab");
	expect_text(object, "mode", "isolated");
	assert_int_equal(json_array_size(at(object, "ports")), 2);
	assert_true(has_text(at(object, "ports"), "a"));
	assert_true(json_is_null(at(object, "uplink")));
	expect_number(object, "macs.entries", 2);
	expect_number(object, "macs.learned", 2);
	expect_number(object, "macs.limit", 100);
	expect_number(object, "macs.age", 60);
	assert_true(json_is_true(at(find(array, "name", "other"), "transparent")));
	json_decref(array);
	array = show_macs(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), 2);
	object = find(array, "mac", "52:00:00:00:00:01");
	expect_text(object, "port", "a");
	expect_text(object, "network", "lab");
	expect_number(object, "vlan", 0);
	/* Learned a moment ago, by the workers' own clock. */
	assert_in_range(json_integer_value(at(object, "age")), 0, 10);
	object = find(array, "mac", "52:00:00:00:00:02");
	expect_text(object, "port", "b");
	expect_number(object, "vlan", 7);
	json_decref(array);
	rig_close(&rig);
}

static void test_drops_and_workers(void **state)
{
	struct traffic_frame frame = traffic_build(A, A, TRAFFIC_NO_TAG, 1, 60);
	json_t *array, *object;
	json_int_t queues = 0;
	struct rig rig;
	size_t i;

	rig_open(&rig);
	array = show_drops(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), 0);
	json_decref(array);
	traffic_send(rig.a, &frame);
	traffic_send(rig.a, &frame);
	traffic_settle(rig.a);
	array = show_drops(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), 1);
	object = json_array_get(array, 0);
	expect_text(object, "port", "a");
	expect_text(object, "reason", "hairpin");
	expect_text(object, "direction", "receive");
	expect_number(object, "count", 2);
	json_decref(array);
	array = show_drop_reasons(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), DROP_COUNT);
	expect_number(find(array, "reason", "hairpin"), "count", 2);
	expect_number(find(array, "reason", "no_buffers"), "count", 0);
	json_decref(array);
	array = show_workers(rig.fixture.vswitch);
	assert_int_equal(json_array_size(array), 2);
	json_array_foreach(array, i, object) {
		double busy = json_real_value(at(object, "busy"));

		expect_number(object, "id", (json_int_t)i);
		expect_text(object, "poll", "adaptive");
		assert_true(json_is_null(at(object, "cpu")));
		assert_true(busy >= 0 && busy <= 1);
		queues += json_integer_value(at(object, "queues"));
	}
	assert_int_equal(queues, 2 + 1 + 1); /* spread evenly */
	expect_number(json_array_get(array, 0), "queues", 2);
	json_decref(array);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_port_down),
		cmocka_unit_test(test_networks_and_macs),
		cmocka_unit_test(test_drops_and_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
