/* The keys that tap, interface, user, pcap and null ports may have in a configuration (options_*.c,
 * port_null.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/port.h"

#include <errno.h>
#include <string.h>

/* Reads a port's type keys alone, as the configuration does. */
static int read_keys(const struct port_type *type, const char *text, struct port_config *config,
		     struct error *error)
{
	const struct config_key *tables[] = { type->keys };
	struct config_node *node;
	int rc;

	memset(config, 0, sizeof(*config));
	error->text[0] = '\0';
	if (type->defaults)
		type->defaults(config);
	assert_int_equal(config_node_parse("c", text, strlen(text), &node, error), 0);
	rc = config_node_read("c", node, "port 'p1'", tables, 1, config, error);
	config_node_free(node);
	return rc;
}

static void test_good_keys(void **state)
{
	struct port_config config;
	struct error error;

	assert_int_equal(read_keys(&port_tap, "tap: t0", &config, &error), 0);
	assert_string_equal(config.options.tap.name, "t0");
	assert_false(config.options.tap.existing);
	assert_int_equal(config.options.tap.fd_count, 0);
	assert_int_equal(config.options.tap.queues, 1);
	assert_int_equal(read_keys(&port_tap,
				   "tap: {name: abcdefghijklmno, existing: true}\n"
				   "queues: 64",
				   &config, &error),
			 0);
	assert_string_equal(config.options.tap.name, "abcdefghijklmno");
	assert_true(config.options.tap.existing);
	assert_int_equal(config.options.tap.queues, 64);
	assert_int_equal(read_keys(&port_tap, "tap: {fd: 5}", &config, &error), 0);
	assert_int_equal(config.options.tap.fd_count, 1);
	assert_int_equal(config.options.tap.fds[0], 5);
	assert_string_equal(config.options.tap.name, "");
	assert_int_equal(read_keys(&port_tap, "tap: {fd: [7, 5]}", &config, &error), 0);
	assert_int_equal(config.options.tap.fd_count, 2);
	assert_int_equal(config.options.tap.fds[0], 7);

	assert_int_equal(read_keys(&port_pcap, "pcap: {replay: a.pcap}", &config, &error), 0);
	assert_string_equal(config.options.pcap.replay, "a.pcap");
	assert_string_equal(config.options.pcap.record, "");
	assert_int_equal(config.options.pcap.speed, PCAP_SPEED_FULL);
	assert_int_equal(config.options.pcap.loops, 1);
	assert_int_equal(read_keys(&port_pcap,
				   "pcap: {replay: a, record: b, speed: recorded, loops: 0}",
				   &config, &error),
			 0);
	assert_string_equal(config.options.pcap.record, "b");
	assert_int_equal(config.options.pcap.speed, PCAP_SPEED_RECORDED);
	assert_int_equal(config.options.pcap.loops, 0);

	assert_int_equal(
	    read_keys(&port_vhost_user, "vhost-user: /a\nmode: 0660\ngroup: kvm", &config, &error),
	    0);
	assert_int_equal(config.options.vhost_user.mode, 0660);
	assert_string_equal(config.options.vhost_user.group, "kvm");
	assert_int_equal(read_keys(&port_interface, "interface: eth1", &config, &error), 0);
	assert_string_equal(config.options.interface.name, "eth1");
	assert_int_equal(config.options.interface.queues, 1);
	assert_false(config.options.interface.allow_default_route);
	assert_int_equal(read_keys(&port_interface,
				   "interface: eth1.7\ndriver: packet\nqueues: 16\n"
				   "allow-default-route: true",
				   &config, &error),
			 0);
	assert_int_equal(config.options.interface.driver, INTERFACE_DRIVER_PACKET);
	assert_int_equal(config.options.interface.queues, 16);
	assert_true(config.options.interface.allow_default_route);

	assert_int_equal(read_keys(&port_user, "user: true", &config, &error), 0);
	assert_false(config.options.user.host_loopback);
	assert_int_equal(config.options.user.subnet.length, IP_V4_LENGTH + 24);
	assert_int_equal(read_keys(&port_user,
				   "user:\nsubnet: 192.168.9.7/27\n"
				   "subnet6: 2001:db8::9/64\nhost-loopback: true",
				   &config, &error),
			 0);
	assert_true(config.options.user.host_loopback);
	assert_int_equal(ip_to_v4(&config.options.user.subnet.ip), 0xc0a80900);
	assert_int_equal(config.options.user.subnet6.ip.bytes[15], 0);

	assert_int_equal(read_keys(&port_null, "null: {}", &config, &error), 0);
	assert_int_equal(read_keys(&port_null, "null: true", &config, &error), 0);
	assert_int_equal(read_keys(&port_null, "null:", &config, &error), 0);
}

static void test_bad_keys(void **state)
{
	static const struct {
		const struct port_type *type;
		const char *text;
		const char *says;
	} rows[] = {
		{ &port_tap, "tap: abcdefghijklmnop", "not the name of an interface" },
		{ &port_tap, "tap: ''", "not the name of an interface" },
		{ &port_interface, "interface: abcdefghijklmnop", "not the name of an" },
		{ &port_interface, "interface: ..", "not the name of an interface" },
		{ &port_interface, "interface: [eth0]", "not the name of an interface" },
		{ &port_interface, "interface: eth0\ndriver: netmap", "packet" },
		{ &port_interface, "interface: eth0\nqueues: 17", "1 to 16" },
		{ &port_interface, "interface: eth0\nallow-default-route: 2", "true" },
		{ &port_user, "user: false", "allowed: true" },
		{ &port_user, "user: {mtu: 9000}", "stand beside it" },
		{ &port_user, "user: true\nsubnet: 10.0.2.0", "is no prefix" },
		{ &port_user, "user: true\nsubnet: 10.0.2.0/28", "of the right size" },
		{ &port_user, "user: true\nsubnet: 127.0.0.0/8", "no network of hosts" },
		{ &port_user, "user: true\nsubnet: fd00::/64", "not an IPv4 network" },
		{ &port_user, "user: true\nsubnet6: fd00::/63", "not an IPv6 network" },
		{ &port_user, "user: true\nsubnet6: fe80::/64", "no network of hosts" },
		{ &port_user, "user: true\nhost-loopback: maybe", "host-loopback" },
		{ &port_tap, "tap: a/b", "not the name of an interface" },
		{ &port_tap, "tap: 'a b'", "not the name of an interface" },
		{ &port_tap, "tap: a%d", "not the name of an interface" },
		{ &port_tap, "tap: ..", "not the name of an interface" },
		{ &port_tap, "tap: {name: [t0]}", "not the name of an interface" },
		{ &port_tap, "tap: {}", "either a name or an fd" },
		{ &port_tap, "tap: {existing: true}", "either a name or an fd" },
		{ &port_tap, "tap: {name: t0, fd: 5}", "either a name or an fd" },
		{ &port_tap, "tap: {fd: 5, existing: true}", "'existing' goes with a name" },
		{ &port_tap, "tap: {fd: -1}", "fd" },
		{ &port_tap, "tap: {fd: 4294967295}", "fd" },
		{ &port_tap, "tap: {nam: t0}", "nam" },
		{ &port_tap, "tap: [t0]", "tap" },
		{ &port_tap, "tap: t0\nqueues: 0", "queues" },
		{ &port_tap, "tap: t0\nqueues: 65", "queues" },
		{ &port_tap, "queues: 1", "tap" },
		{ &port_pcap, "pcap: {}", "neither replays nor records" },
		{ &port_pcap, "pcap: {loops: 3}", "neither replays nor records" },
		{ &port_pcap, "pcap: a.pcap", "pcap" },
		{ &port_pcap, "pcap: {replay: a, speed: fast}", "speed" },
		{ &port_pcap, "pcap: {replay: a, loops: 4294967296}", "loops" },
		{ &port_pcap, "pcap: {replay: a, loops: x}", "loops" },
		{ &port_vhost_user, "vhost-user: /a\nmode: 0", "mode: '0' is no mode" },
		{ &port_vhost_user, "vhost-user: /a\nmode: 668", "mode: '668' is no mode" },
		{ &port_vhost_user, "vhost-user: /a\nmode: 1777", "mode: '1777' is no mode" },
		{ &port_vhost_user, "vhost-user: /a\nmode: rw", "mode: 'rw' is no mode" },
		{ &port_vhost_user, "mode: 660\nvhost-user: /a\nrole: client",
		  "a client makes no socket" },
		{ &port_vhost_user, "vhost-user: /a\ngroup: kvm\nrole: client",
		  "a client makes no socket" },
		{ &port_vhost_user, "vhost-user: /a\ngroup: ''", "group: is empty" },
		{ &port_null, "null: false", "has no options" },
		{ &port_null, "null: {a: b}", "has no options" },
		{ &port_null, "null: [a]", "has no options" },
	};
	struct port_config config;
	struct error error;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = read_keys(rows[i].type, rows[i].text, &config, &error);

		if (rc != -EINVAL || !strstr(error.text, rows[i].says) ||
		    (strncmp(error.text, "c:1: ", 5) != 0 && strncmp(error.text, "c:2: ", 5) != 0))
			fail_msg("\"%s\": %d, \"%s\"", rows[i].text, rc, error.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_keys),
		cmocka_unit_test(test_bad_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
