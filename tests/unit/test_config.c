/* Whole configurations: every file of tests/data/good is taken, every one of tests/data/bad refused
 * with the words beside it; and what good ones become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/config.h"
#include "vswitch/port.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void find_files(const char *pattern, glob_t *files)
{
	const char *data = getenv("WEFT_TEST_DATA");
	char path[4096];

	assert_non_null(data);
	snprintf(path, sizeof(path), "%s/%s", data, pattern);
	assert_int_equal(glob(path, 0, NULL, files), 0);
}

static void test_good_files_are_taken(void **state)
{
	glob_t files;

	find_files("good/*.yaml", &files);
	assert_true(files.gl_pathc >= 8);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct error error = { "" };
		struct config config;

		if (config_load(files.gl_pathv[i], &config, &error) < 0)
			fail_msg("%s", error.text);
		config_clear(&config);
	}
	globfree(&files);
}

/* Each line of `got` is "FILE:" and one of `wanted`, which may stop before the end of the line. */
static void compare_lines(const char *file, const char *got, const char *wanted)
{
	const char *g = got, *w = wanted;

	while (*w != '\0') {
		size_t length = strcspn(w, "\n");

		if (strncmp(g, file, strlen(file)) != 0 || g[strlen(file)] != ':' ||
		    strncmp(g + strlen(file) + 1, w, length) != 0)
			fail_msg("%s\ngot:\n%s\nwanted:\n%s", file, got, wanted);
		g += strcspn(g, "\n");
		g += *g == '\n';
		w += length;
		w += *w == '\n';
	}
	if (*g != '\0')
		fail_msg("%s\ngot more than wanted:\n%s", file, got);
}

static void test_bad_files_are_refused_with_file_line_key_and_reason(void **state)
{
	glob_t files;

	find_files("bad/*.yaml", &files);
	assert_true(files.gl_pathc >= 60);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *path = files.gl_pathv[i];
		char expect[4096], wanted[4096];
		struct error error = { "" };
		struct config config;
		FILE *file;
		size_t n;

		snprintf(expect, sizeof(expect), "%.*s.expect", (int)(strlen(path) - 5), path);
		file = fopen(expect, "re");
		if (file == NULL)
			fail_msg("%s is missing", expect);
		n = fread(wanted, 1, sizeof(wanted) - 1, file);
		fclose(file);
		wanted[n] = '\0';
		assert_true(n > 0);
		if (config_load(path, &config, &error) != -EINVAL)
			fail_msg("%s was taken", path);
		assert_null(config.networks);
		assert_null(config.ports);
		compare_lines(path, error.text, wanted);
	}
	globfree(&files);
}

static void parse(const char *text, struct config *config)
{
	struct error error = { "" };

	if (config_parse("f", text, strlen(text), config, &error) < 0)
		fail_msg("%s", error.text);
}

static void test_defaults(void **state)
{
	struct config config;

	parse("networks: { lab: { mode: isolated } }\n"
	      "ports: { p: { network: lab, vhost-user: /a } }\n",
	      &config);
	assert_int_equal(config.workers.count, 1);
	assert_int_equal(config.workers.cpus[0], -1);
	assert_int_equal(config.workers.poll, CONFIG_POLL_ADAPTIVE);
	assert_string_equal(config.api_socket, "");
	assert_int_equal(config.networks[0].mac_limit, 65536);
	assert_int_equal(config.networks[0].mac_quota, 8192);
	assert_int_equal(config.networks[0].mac_age, 300);
	assert_false(config.networks[0].transparent);
	assert_int_equal(config.ports[0].options.vhost_user.role, VHOST_ROLE_SERVER);
	assert_int_equal(config.ports[0].options.vhost_user.queues, 1);
	assert_int_equal(config.ports[0].options.vhost_user.mtu, 0);
	assert_int_equal(config.ports[0].vlan.mode, VLAN_MODE_PLAIN);
	assert_false(config.ports[0].has_mac);
	assert_false(config.ports[0].isolated);
	config_clear(&config);
}

static void test_values_arrive(void **state)
{
	const struct port_config *port;
	struct config config;

	parse("networks:\n"
	      "  n: { mode: bridge, transparent: true, macs: { limit: 50, age: 7 },\n"
	      "       uplink: { vhost-user: /up, vlans: [10, 64], native: 99 } }\n"
	      "ports:\n"
	      "  p: { network: n, vhost-user: /p, role: client, queues: 3, mtu: 1400, vlan: 12,\n"
	      "       isolated: true, mac: 52:54:00:AA:bb:01 }\n"
	      "workers: { cpus: [5, 1], poll: busy }\n"
	      "api: { socket: /api }\n",
	      &config);
	assert_true(config.networks[0].transparent);
	assert_int_equal(config.networks[0].mac_limit, 50);
	assert_int_equal(config.networks[0].mac_quota, 50);
	assert_int_equal(config.networks[0].mac_age, 7);
	port = config_find_port(&config, "n.uplink");
	assert_non_null(port);
	assert_true(port->uplink);
	assert_string_equal(port->network, "n");
	assert_int_equal(port->vlan.mode, VLAN_MODE_TRUNK);
	assert_int_equal(port->vlan.native, 99);
	assert_true(port->vlan.allowed[0] == UINT64_C(1) << 10);
	assert_true(port->vlan.allowed[1] == (1 | UINT64_C(1) << 35)); /* 64, and the native 99 */
	port = config_find_port(&config, "p");
	assert_string_equal(port->options.vhost_user.path, "/p");
	assert_int_equal(port->options.vhost_user.role, VHOST_ROLE_CLIENT);
	assert_int_equal(port->options.vhost_user.queues, 3);
	assert_int_equal(port->options.vhost_user.mtu, 1400);
	assert_int_equal(port->vlan.access, 12);
	assert_true(port->isolated);
	assert_true(port->has_mac);
	assert_int_equal(port->mac.bytes[3], 0xaa);
	assert_int_equal(port->line, 5);
	assert_int_equal(config.workers.count, 2);
	assert_int_equal(config.workers.cpus[0], 5);
	assert_int_equal(config.workers.cpus[1], 1);
	assert_int_equal(config.workers.poll, CONFIG_POLL_BUSY);
	assert_string_equal(config.api_socket, "/api");
	config_clear(&config);
}

static void test_one_port_from_a_command(void **state)
{
	struct port_config port;
	struct error error = { "" };

	assert_int_equal(
	    config_parse_port("p", "{\"network\": \"n\", \"vhost-user\": \"/a\"}", &port, &error),
	    0);
	assert_string_equal(port.name, "p");
	assert_string_equal(port.network, "n");
	assert_string_equal(port.type->name, "vhost-user");
	assert_int_equal(port.line, 0);
	assert_int_equal(
	    config_parse_port("p", "{network: n, vhost-user: /a, vlan: 0}", &port, &error),
	    -EINVAL);
	assert_string_equal(error.text, "port p: vlan: 0 is out of range; allowed: 1 to 4094");
	assert_int_equal(config_parse_port("p", "{network: n, vhost-user: /a, vlan: 0, queues: 65}",
					   &port, &error),
			 -EINVAL);
	assert_string_equal(error.text, "port p: vlan: 0 is out of range; allowed: 1 to 4094\n"
					"port p: queues: 65 is out of range; allowed: 1 to 64");
	assert_int_equal(config_parse_port("p", "[", &port, &error), -EINVAL);
	assert_int_equal(config_parse_port("-p", "{network: n, vhost-user: /a}", &port, &error),
			 -EINVAL);
	assert_int_equal(config_parse_port("", "{network: n, vhost-user: /a}", &port, NULL),
			 -EINVAL);
}

static void test_one_network_from_a_command(void **state)
{
	struct network_config network;
	struct port_config uplink;
	struct error error = { "" };
	bool has_uplink = true;

	assert_int_equal(
	    config_parse_network("n", "{mode: isolated}", &network, &uplink, &has_uplink, &error),
	    0);
	assert_false(has_uplink);
	assert_int_equal(network.mode, CONFIG_MODE_ISOLATED);
	assert_int_equal(config_parse_network("n", "{mode: bridge, uplink: {vhost-user: /u}}",
					      &network, &uplink, &has_uplink, &error),
			 0);
	assert_true(has_uplink);
	assert_string_equal(uplink.name, "n.uplink");
	assert_int_equal(
	    config_parse_network("n", "{mode: x}", &network, &uplink, &has_uplink, &error),
	    -EINVAL);
	assert_string_equal(
	    error.text,
	    "network n: mode: 'x' is not known; allowed: bridge, nat, routed, isolated");
}

static void test_copy_and_equal(void **state)
{
	struct config config, copy;

	parse("networks: { n: { mode: bridge } }\nports: { p: { network: n, vhost-user: /a } }\n",
	      &config);
	assert_int_equal(config_copy(&copy, &config), 0);
	assert_true(copy.ports != config.ports && copy.networks != config.networks);
	copy.ports[0].line = 9;
	copy.networks[0].line = 9;
	assert_true(port_config_equal(&config.ports[0], &copy.ports[0]));
	assert_true(network_config_equal(&config.networks[0], &copy.networks[0]));
	copy.ports[0].options.vhost_user.queues = 2;
	copy.networks[0].mac_age = 1;
	assert_false(port_config_equal(&config.ports[0], &copy.ports[0]));
	assert_false(network_config_equal(&config.networks[0], &copy.networks[0]));
	config_clear(&copy);
	config_clear(&config);
	assert_null(config_find_port(&config, "p"));
	assert_null(config_find_network(&config, "n"));
}

/* What `port add` has config_check() look for: parts that come from no file. */
static void test_check_of_parts_without_lines(void **state)
{
	struct error error = { "" };
	struct config config;

	parse("networks: { n: { mode: bridge } }\n"
	      "ports: { a: { network: n, vhost-user: /a }, b: { network: n, vhost-user: /b } }\n",
	      &config);
	assert_int_equal(config_check(NULL, &config, &error), 0);
	config.ports[0].line = config.ports[1].line = 0;
	strcpy(config.ports[1].options.vhost_user.path, "/a");
	assert_int_equal(config_check(NULL, &config, &error), -EINVAL);
	assert_non_null(strstr(error.text, "vhost-user: socket /a is used twice; port '"));
	assert_null(strstr(error.text, "line"));
	strcpy(config.ports[1].options.vhost_user.path, "/b");
	strcpy(config.ports[1].name, "a");
	assert_int_equal(config_check(NULL, &config, &error), -EINVAL);
	assert_string_equal(
	    error.text,
	    "ports.a: the name is given twice; the first is there already; allowed: each once");
	config_clear(&config);
}

static void test_thousands_of_ports(void **state)
{
	struct error error = { "" };
	struct config config;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fprintf(out, "networks: { n: { mode: bridge } }\nports:\n");
	for (unsigned i = 0; i < CONFIG_PORTS_MAX; i++)
		fprintf(out, "  p%u: { network: n, vhost-user: /run/%u }\n", i, i);
	fclose(out);
	assert_int_equal(config_parse("f", text, size, &config, &error), 0);
	assert_int_equal(config.port_count, CONFIG_PORTS_MAX);
	config_clear(&config);
	text = realloc(text, size + 64);
	assert_non_null(text);
	strcpy(text + size, "  last: { network: n, vhost-user: /z }\n");
	assert_int_equal(config_parse("f", text, strlen(text), &config, &error), -EINVAL);
	assert_string_equal(error.text, "f:2: ports: too many ports; allowed: at most 4096");
	free(text);
}

static void test_files_that_cannot_be_read(void **state)
{
	struct error error = { "" };
	struct config config;

	assert_int_equal(config_load("/nonexistent/weft.yaml", &config, &error), -ENOENT);
	assert_string_equal(error.text,
			    "/nonexistent/weft.yaml: cannot open: No such file or directory");
	assert_int_equal(config_load("/", &config, &error), -EISDIR);
	assert_int_equal(config_load("/dev/zero", &config, &error), -EINVAL);
	assert_string_equal(error.text, "/dev/zero: too large; allowed: at most 4 MiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_files_are_taken),
		cmocka_unit_test(test_bad_files_are_refused_with_file_line_key_and_reason),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values_arrive),
		cmocka_unit_test(test_one_port_from_a_command),
		cmocka_unit_test(test_one_network_from_a_command),
		cmocka_unit_test(test_copy_and_equal),
		cmocka_unit_test(test_check_of_parts_without_lines),
		cmocka_unit_test(test_thousands_of_ports),
		cmocka_unit_test(test_files_that_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
