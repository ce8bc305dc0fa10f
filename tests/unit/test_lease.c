/* The lease table: its indexes, events, bounds, and what comes back from the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/lease.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[128], told[4096];

static void tell(const char *what, const struct lease *lease)
{
	char text[IP_TEXT_LENGTH];
	size_t used = strlen(told);

	snprintf(told + used, sizeof(told) - used, "%s %s %s;", what, ip_to_text(&lease->ip, text),
		 lease->host);
}

static void on_bound(void *context, const struct lease *lease)
{
	assert_int_equal(lease->state, LEASE_BOUND);
	tell("+", lease);
}

static void on_unbound(void *context, const struct lease *lease)
{
	assert_int_equal(lease->state, LEASE_BOUND);
	tell("-", lease);
}

static const struct lease_events events = { .bound = on_bound, .unbound = on_unbound };

static void assert_told(const char *expected)
{
	assert_string_equal(told, expected);
	told[0] = '\0';
}

static int set_up(void **state)
{
	strcpy(directory, "/tmp/weft-lease-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/state.db", directory);
	told[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	char name[160];

	unlink(path);
	snprintf(name, sizeof(name), "%s-wal", path);
	unlink(name);
	return rmdir(directory);
}

static struct store *open_store(void)
{
	struct store *store = NULL;

	assert_int_equal(store_open(path, &store, NULL), 0);
	return store;
}

static struct lease_table *make(struct store *store, uint32_t limit)
{
	struct lease_table *table = lease_table_create(store, "net", limit, &events);

	assert_non_null(table);
	return table;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

/* A lease of guest `n`. */
static struct lease guest(const char *ip, uint8_t n, const char *host)
{
	struct lease lease = {
		.ip = ip_of(ip),
		.mac = { { 0x52, 0x54, 0, 0, 0, n } },
		.client_length = 7,
		.client = { 1, 0x52, 0x54, 0, 0, 0, n },
		.expires = 1000,
		.state = LEASE_BOUND,
		.port = n,
	};

	strcpy(lease.host, host);
	return lease;
}

static void put(struct lease_table *table, struct lease lease)
{
	assert_int_equal(lease_put(table, &lease), 0);
}

static void assert_ip(const struct lease *lease, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_non_null(lease);
	assert_string_equal(ip_to_text(&lease->ip, text), expected);
}

static void test_found_by_each_key(void **state)
{
	struct lease_table *table = make(NULL, 10);
	struct lease six = guest("fd00::9", 9, "Six");
	struct ip ip = ip_of("10.0.0.1");

	six.iaid = 77;
	put(table, guest("10.0.0.1", 1, "One"));
	put(table, guest("10.0.0.9", 9, "nine"));
	put(table, six);
	assert_int_equal(lease_table_count(table), 3);
	assert_ip(lease_find_ip(table, &ip), "10.0.0.1");
	assert_string_equal(lease_find_ip(table, &ip)->host, "one");
	assert_ip(lease_find_client(table, AF_INET, six.client, 7, 0), "10.0.0.9");
	assert_ip(lease_find_client(table, AF_INET6, six.client, 7, 77), "fd00::9");
	assert_null(lease_find_client(table, AF_INET6, six.client, 7, 76));
	assert_null(lease_find_client(table, AF_INET, six.client, 6, 0));
	assert_null(lease_find_client(table, AF_INET, six.client, 0, 0));
	assert_ip(lease_find_mac(table, AF_INET, six.mac), "10.0.0.9");
	assert_ip(lease_find_mac(table, AF_INET6, six.mac), "fd00::9");
	assert_ip(lease_find_host(table, AF_INET, "ONE"), "10.0.0.1");
	assert_ip(lease_find_host(table, AF_INET6, "six"), "fd00::9");
	assert_null(lease_find_host(table, AF_INET6, "one"));
	assert_null(lease_find_host(table, AF_INET, ""));
	lease_table_destroy(table);
}

static void test_replacing_moves_the_keys(void **state)
{
	struct lease_table *table = make(NULL, 10);
	struct lease first = guest("10.0.0.1", 1, "one"), second = guest("10.0.0.1", 2, "two");

	put(table, first);
	put(table, second);
	assert_int_equal(lease_table_count(table), 1);
	assert_null(lease_find_client(table, AF_INET, first.client, 7, 0));
	assert_null(lease_find_mac(table, AF_INET, first.mac));
	assert_null(lease_find_host(table, AF_INET, "one"));
	assert_ip(lease_find_host(table, AF_INET, "two"), "10.0.0.1");
	assert_int_equal(lease_count_port(table, AF_INET, 1), 0);
	assert_int_equal(lease_count_port(table, AF_INET, 2), 1);
	/* With the table's own struct. */
	assert_int_equal(lease_put(table, lease_find_host(table, AF_INET, "two")), 0);
	assert_int_equal(lease_remove(table, &second.ip), 0);
	assert_int_equal(lease_remove(table, &second.ip), -ENOENT);
	assert_null(lease_find_host(table, AF_INET, "two"));
	assert_int_equal(lease_table_count(table), 0);
	lease_table_destroy(table);
}

static void test_events(void **state)
{
	struct lease_table *table = make(NULL, 10);
	struct lease lease = guest("10.0.0.1", 1, "one");

	lease.state = LEASE_OFFERED;
	put(table, lease);
	assert_told("");
	lease.state = LEASE_BOUND;
	put(table, lease);
	assert_told("+ 10.0.0.1 one;");
	lease.expires += 100;
	lease.port = 7;
	put(table, lease);
	assert_told("");
	strcpy(lease.host, "uno");
	put(table, lease);
	assert_told("- 10.0.0.1 one;+ 10.0.0.1 uno;");
	lease.mac.bytes[5] = 9;
	put(table, lease);
	assert_told("- 10.0.0.1 uno;+ 10.0.0.1 uno;");
	lease.state = LEASE_DECLINED;
	put(table, lease);
	assert_told("- 10.0.0.1 uno;");
	assert_int_equal(lease_remove(table, &lease.ip), 0);
	assert_told("");
	put(table, guest("10.0.0.2", 2, ""));
	assert_told("+ 10.0.0.2 ;");
	lease_expire(table, 1000);
	assert_told("- 10.0.0.2 ;");
	put(table, guest("10.0.0.2", 2, ""));
	lease_table_destroy(table);
	assert_told("+ 10.0.0.2 ;");
}

static void test_limit(void **state)
{
	struct lease_table *table = make(NULL, 2);
	struct lease third = guest("10.0.0.3", 3, "");

	put(table, guest("10.0.0.1", 1, ""));
	put(table, guest("10.0.0.2", 2, ""));
	assert_int_equal(lease_put(table, &third), -ENOSPC);
	assert_null(lease_find_ip(table, &third.ip));
	put(table, guest("10.0.0.2", 3, ""));
	lease_table_destroy(table);
}

static void test_expiry(void **state)
{
	struct lease_table *table = make(NULL, 10);
	struct lease lease = guest("10.0.0.1", 1, "");

	assert_int_equal(lease_next_expiry(table), UINT64_MAX);
	lease.expires = LEASE_FOREVER;
	put(table, lease);
	assert_int_equal(lease_next_expiry(table), UINT64_MAX);
	lease = guest("10.0.0.2", 2, "");
	put(table, lease);
	lease = guest("10.0.0.3", 3, "");
	lease.expires = 500;
	put(table, lease);
	assert_int_equal(lease_next_expiry(table), 500);
	lease_expire(table, 499);
	assert_int_equal(lease_table_count(table), 3);
	lease_expire(table, 500);
	assert_int_equal(lease_table_count(table), 2);
	assert_int_equal(lease_next_expiry(table), 1000);
	lease_expire(table, UINT64_MAX - 1);
	assert_int_equal(lease_table_count(table), 1);
	assert_int_equal(lease_next_expiry(table), UINT64_MAX);
	lease_table_destroy(table);
}

static void test_ports(void **state)
{
	struct lease_table *table = make(NULL, 10);
	struct lease lease = guest("10.0.0.1", 1, "");

	lease.port = 5;
	put(table, lease);
	lease.ip = ip_of("10.0.0.2");
	put(table, lease);
	lease.ip = ip_of("fd00::2");
	put(table, lease);
	lease.ip = ip_of("10.0.0.3");
	lease.reserved = true;
	put(table, lease);
	lease.ip = ip_of("10.0.0.4");
	lease.reserved = false;
	lease.port = LEASE_PORT_NONE;
	put(table, lease);
	assert_int_equal(lease_count_port(table, AF_INET, 5), 2);
	assert_int_equal(lease_count_port(table, AF_INET6, 5), 1);
	assert_int_equal(lease_count_port(table, AF_INET, LEASE_PORT_NONE), 0);
	lease_forget_port(table, LEASE_PORT_NONE);
	lease_forget_port(table, 5);
	assert_int_equal(lease_count_port(table, AF_INET, 5), 0);
	assert_int_equal(lease_count_port(table, AF_INET6, 5), 0);
	assert_int_equal(lease_table_count(table), 5);
	lease_table_destroy(table);
}

static bool count_to_three(void *context, const struct lease *lease)
{
	return ++*(unsigned *)context < 3;
}

static void test_many(void **state)
{
	struct lease_table *table = make(NULL, 20000);
	unsigned visited = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		struct lease lease = { .ip = ip_from_v4(0x0a000000 + i), .port = (uint16_t)i };

		lease.client_length = 4;
		memcpy(lease.client, &i, 4);
		snprintf(lease.host, sizeof(lease.host), "h%u", i);
		put(table, lease);
	}
	for (uint32_t i = 0; i < 20000; i += 2) {
		struct ip ip = ip_from_v4(0x0a000000 + i);

		assert_int_equal(lease_remove(table, &ip), 0);
	}
	assert_int_equal(lease_table_count(table), 10000);
	for (uint32_t i = 0; i < 20000; i++) {
		const struct lease *lease =
		    lease_find_client(table, AF_INET, (uint8_t *)&i, sizeof(i), 0);
		char host[16];

		snprintf(host, sizeof(host), "h%u", i);
		assert_ptr_equal(lease, lease_find_host(table, AF_INET, host));
		assert_true((lease != NULL) == (i % 2 != 0));
		assert_int_equal(lease_count_port(table, AF_INET, (uint16_t)i), i % 2);
	}
	lease_visit(table, count_to_three, &visited);
	assert_int_equal(visited, 3);
	lease_table_destroy(table);
}

struct seen {
	uint32_t count;
	struct mac mac;
};

static bool see(void *context, const struct lease *lease)
{
	struct seen *seen = context;

	assert_memory_equal(lease->mac.bytes, seen->mac.bytes, sizeof(seen->mac.bytes));
	seen->count++;
	return true;
}

/* All leases of one guest, of both families, among many others. */
static void test_visit_mac(void **state)
{
	struct lease_table *table = make(NULL, 1000);
	struct lease first = guest("10.0.0.200", 200, "one"), second = guest("10.0.0.201", 201, "");
	struct lease six = guest("fd00::200", 202, "");
	struct seen seen = { .mac = first.mac };
	char text[IP_TEXT_LENGTH];

	for (unsigned i = 1; i < 100; i++) {
		struct lease other;

		snprintf(text, sizeof(text), "10.0.0.%u", i);
		other = guest(text, (uint8_t)i, "");
		assert_int_equal(lease_put(table, &other), 0);
	}
	lease_visit_mac(table, first.mac, see, &seen);
	assert_int_equal(seen.count, 0);
	second.mac = six.mac = first.mac;
	assert_int_equal(lease_put(table, &first), 0);
	assert_int_equal(lease_put(table, &second), 0);
	assert_int_equal(lease_put(table, &six), 0);
	lease_visit_mac(table, first.mac, see, &seen);
	assert_int_equal(seen.count, 3);
	assert_int_equal(lease_remove(table, &second.ip), 0);
	seen.count = 0;
	lease_visit_mac(table, first.mac, see, &seen);
	assert_int_equal(seen.count, 2);
	lease_table_destroy(table);
}

static void test_survives_a_restart(void **state)
{
	struct store *store = open_store();
	struct lease_table *table = make(store, 10);
	struct lease six = guest("fd00::9", 9, "six"), offered = guest("10.0.0.3", 3, "");
	const struct lease *lease;

	six.iaid = 0xfffefdfc;
	six.reserved = true;
	six.expires = LEASE_FOREVER;
	six.client_length = DHCP_CLIENT_MAX;
	memset(six.client, 0xee, sizeof(six.client));
	memset(six.host, 'n', DHCP_NAME_MAX);
	put(table, six);
	put(table, guest("10.0.0.1", 1, "one"));
	put(table, guest("10.0.0.2", 2, "two"));
	put(table, guest("10.0.0.4", 4, "four"));
	put(table, guest("10.0.0.5", 5, "five"));
	assert_int_equal(lease_remove(table, &offered.ip), -ENOENT);
	offered.ip = ip_of("10.0.0.2");
	assert_int_equal(lease_remove(table, &offered.ip), 0);
	offered = guest("10.0.0.3", 3, "");
	offered.state = LEASE_OFFERED;
	put(table, offered);
	offered = guest("10.0.0.5", 5, "five");
	offered.state = LEASE_DECLINED;
	put(table, offered);
	lease_table_destroy(table);
	store_close(store);

	store = open_store();
	told[0] = '\0';
	table = make(store, 10);
	assert_int_equal(lease_table_count(table), 3);
	assert_non_null(strstr(told, "+ 10.0.0.1 one;"));
	assert_non_null(strstr(told, "+ 10.0.0.4 four;"));
	assert_non_null(strstr(told, "+ fd00::9 nnnn"));
	lease = lease_find_host(table, AF_INET, "one");
	assert_ip(lease, "10.0.0.1");
	assert_int_equal(lease->expires, 1000);
	assert_int_equal(lease->state, LEASE_BOUND);
	assert_int_equal(lease->port, LEASE_PORT_NONE);
	assert_false(lease->reserved);
	lease = lease_find_client(table, AF_INET6, six.client, DHCP_CLIENT_MAX, six.iaid);
	assert_ip(lease, "fd00::9");
	assert_true(lease->reserved);
	assert_int_equal(lease->expires, LEASE_FOREVER);
	assert_string_equal(lease->host, six.host);
	assert_memory_equal(&lease->mac, &six.mac, sizeof(six.mac));
	/* Another network's leases are its own. */
	lease_table_destroy(table);
	table = lease_table_create(store, "net2", 10, NULL);
	assert_int_equal(lease_table_count(table), 0);
	lease_table_destroy(table);
	store_close(store);
}

static void test_survives_sigkill(void **state)
{
	struct lease_table *table;
	struct store *store;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct lease lost = guest("10.0.0.2", 2, "two");

		if (store_open(path, &store, NULL) != 0)
			_exit(1);
		table = lease_table_create(store, "net", 10, NULL);
		store_begin(store);
		put(table, guest("10.0.0.1", 1, "one"));
		store_commit(store);
		store_begin(store);
		put(table, lost);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	store = open_store();
	table = make(store, 10);
	assert_told("+ 10.0.0.1 one;");
	lease_table_destroy(table);
	store_close(store);
}

static void test_strange_records_are_left_alone(void **state)
{
	struct store *store = open_store();
	struct lease_table *table = make(store, 10);
	uint8_t key[16] = { 0xfd }, value[200] = { 1 };

	put(table, guest("10.0.0.1", 1, "one"));
	lease_table_destroy(table);
	for (size_t length = 0; length < sizeof(value); length++) {
		key[1] = (uint8_t)length;
		/* The client identifier reaches one byte too far. */
		value[20] = (uint8_t)(length - 20);
		assert_int_equal(store_put(store, "lease net", key, 16, value, length), 0);
	}
	assert_int_equal(store_put(store, "lease net", key, 15, value, 22), 0);
	table = make(store, 10);
	assert_int_equal(lease_table_count(table), 1);
	lease_table_destroy(table);
	/* More of them than the limit says. */
	table = lease_table_create(store, "net", 0, NULL);
	assert_int_equal(lease_table_count(table), 0);
	lease_table_destroy(table);
	store_close(store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_found_by_each_key),
		TEST(test_replacing_moves_the_keys),
		TEST(test_events),
		TEST(test_limit),
		TEST(test_expiry),
		TEST(test_ports),
		TEST(test_many),
		TEST(test_visit_mac),
		TEST(test_survives_a_restart),
		TEST(test_survives_sigkill),
		TEST(test_strange_records_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
