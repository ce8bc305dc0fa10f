/* What differs between two configurations: the order of the list, and the keys of a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/config_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE                                                                                       \
	"networks: { a: { mode: bridge }, b: { mode: isolated } }\n"                               \
	"ports:\n"                                                                                 \
	"  p1: { network: a, vhost-user: /p1 }\n"                                                  \
	"  p2: { network: b, vhost-user: /p2, mac: 52:54:00:00:00:01, vlan: 5 }\n"

static void parse(const char *text, struct config *config)
{
	struct error error = { "" };

	if (config_parse("f", text, strlen(text), config, &error) < 0)
		fail_msg("%s", error.text);
}

/* Compares the list with lines such as "+port p3", "~port p2 vlan mac". */
static void check_diff(const char *from_text, const char *to_text, const char *expected)
{
	static const char *const kinds[] = { "network", "port", "workers", "api" };
	struct config_change *changes = NULL;
	struct config from, to;
	char *text = NULL;
	uint32_t count = 0;
	size_t size;
	FILE *out;

	parse(from_text, &from);
	parse(to_text, &to);
	assert_int_equal(config_diff(&from, &to, &changes, &count), 0);
	out = open_memstream(&text, &size);
	for (uint32_t i = 0; i < count; i++) {
		const struct config_change *c = &changes[i];

		fprintf(out, "%c%s %s", "+-~"[c->action], kinds[c->kind], c -> name);
		for (uint32_t k = 0; k < c->key_count; k++)
			fprintf(out, " %s", c->keys[k]);
		fprintf(out, "\n");
		if (c->kind == CONFIG_PORT) {
			assert_true((c->old_port == NULL) == (c->action == CONFIG_ADD));
			assert_true((c->new_port == NULL) == (c->action == CONFIG_REMOVE));
		}
		if (c->kind == CONFIG_NETWORK) {
			assert_true((c->old_network == NULL) == (c->action == CONFIG_ADD));
			assert_true((c->new_network == NULL) == (c->action == CONFIG_REMOVE));
		}
	}
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	free(changes);
	config_clear(&from);
	config_clear(&to);
}

static void test_equal_whatever_the_order_and_lines(void **state)
{
	check_diff(BASE, BASE, "");
	check_diff("", "", "");
	check_diff(BASE,
		   "ports:\n"
		   "  p2:\n    vlan: 5\n    mac: 52:54:00:00:00:01\n    network: b\n"
		   "    vhost-user: /p2\n"
		   "  p1: { vhost-user: /p1, network: a, queues: 1, role: server }\n"
		   "networks: { b: { mode: isolated, uplink: none }, a: { mode: bridge } }\n",
		   "");
}

static void test_ports_go_first_and_come_last(void **state)
{
	check_diff(BASE, "", "-port p1\n-port p2\n-network a\n-network b\n");
	check_diff("", BASE, "+network a\n+network b\n+port p1\n+port p2\n");
	check_diff(BASE,
		   "networks: { b: { mode: isolated }, c: { mode: bridge } }\n"
		   "ports:\n"
		   "  p2: { network: b, vhost-user: /p2, mac: 52:54:00:00:00:01, vlan: 5 }\n"
		   "  p3: { network: c, vhost-user: /p3 }\n",
		   "-port p1\n-network a\n+network c\n+port p3\n");
}

static void test_keys_of_a_port(void **state)
{
	check_diff(BASE,
		   "networks: { a: { mode: bridge }, b: { mode: isolated } }\n"
		   "ports:\n"
		   "  p1: { network: b, vhost-user: /p1x, role: client, queues: 2, mtu: 1500 }\n"
		   "  p2: { network: b, vhost-user: /p2, isolated: true, vlans: [5], native: 6 }\n",
		   "~port p1 network vhost-user role queues mtu\n"
		   "~port p2 vlan vlans native isolated mac\n");
	/* Another type: what its own keys say cannot be compared. */
	check_diff(BASE,
		   "networks: { a: { mode: bridge }, b: { mode: isolated } }\n"
		   "ports:\n"
		   "  p1: { network: a, null: {} }\n"
		   "  p2: { network: b, vhost-user: /p2, mac: 52:54:00:00:00:01, vlan: 5 }\n",
		   "~port p1 null\n");
}

static void test_keys_of_a_network(void **state)
{
	check_diff("networks: { a: { mode: bridge } }",
		   "networks: { a: { mode: isolated, transparent: true, macs: { limit: 9, quota: "
		   "8, age: 7 } } }",
		   "~network a mode transparent macs.limit macs.quota macs.age\n");
	/* An uplink is a port. */
	check_diff("networks: { a: { mode: bridge } }",
		   "networks: { a: { mode: bridge, uplink: { vhost-user: /u } } }",
		   "+port a.uplink\n");
	check_diff("networks: { a: { mode: bridge, uplink: { vhost-user: /u } } }",
		   "networks: { a: { mode: bridge, uplink: { vhost-user: /v } } }",
		   "~port a.uplink vhost-user\n");
}

static void test_workers_and_api(void **state)
{
	check_diff("", "workers: { count: 2, poll: busy }\napi: { socket: /s }\n",
		   "~workers workers count poll\n~api api socket\n");
	check_diff("workers: { cpus: [1] }", "workers: { cpus: [2] }", "~workers workers cpus\n");
	check_diff("", "workers: { cpus: [2] }", "~workers workers cpus\n");
	check_diff("workers: { cpus: [2, 3] }", "workers: { cpus: [3, 2], poll: adaptive }",
		   "~workers workers cpus\n");
	/* Nothing is said of them: they stay. */
	check_diff("workers: { count: 2, poll: busy }\napi: { socket: /s }\n", "", "");
}

static void test_json(void **state)
{
	struct config_change *changes = NULL;
	struct config from, to;
	uint32_t count = 0;
	json_t *json;
	char *text;

	parse(BASE, &from);
	parse("networks: { b: { mode: bridge }, c: { mode: bridge } }\n"
	      "ports: { p1: { network: b, vhost-user: /p1 } }\n",
	      &to);
	assert_int_equal(config_diff(&from, &to, &changes, &count), 0);
	json = config_diff_to_json(changes, count);
	text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(
	    text,
	    "[{\"action\":\"remove\",\"kind\":\"port\",\"name\":\"p2\",\"keys\":[]},"
	    "{\"action\":\"remove\",\"kind\":\"network\",\"name\":\"a\",\"keys\":[]},"
	    "{\"action\":\"change\",\"kind\":\"network\",\"name\":\"b\",\"keys\":[\"mode\"]},"
	    "{\"action\":\"add\",\"kind\":\"network\",\"name\":\"c\",\"keys\":[]},"
	    "{\"action\":\"change\",\"kind\":\"port\",\"name\":\"p1\",\"keys\":[\"network\"]}]");
	free(text);
	json_decref(json);
	free(changes);
	config_clear(&from);
	config_clear(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_whatever_the_order_and_lines),
		cmocka_unit_test(test_ports_go_first_and_come_last),
		cmocka_unit_test(test_keys_of_a_port),
		cmocka_unit_test(test_keys_of_a_network),
		cmocka_unit_test(test_workers_and_api),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
