/* What stands in the DHCPv4 server's answers: parameters, boot, sizes. */
#include "base/parse.h"
#include "tests/unit/dhcp_rig.h"

static char search[2][DHCP_DOMAIN_MAX + 1] = { "lab.internal", "example.org" };

/* A DISCOVER that asks for these parameters (NULL: without the list). */
static void discover(struct rig *rig, const char *parameters, size_t count, uint16_t size,
		     struct dhcp_message *offer)
{
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DISCOVER);
	if (parameters != NULL)
		dhcp_write_option(&rig->writer, DHCP_OPTION_PARAMETERS, parameters, count);
	if (size != 0)
		dhcp_write_u16(&rig->writer, DHCP_OPTION_MAX_SIZE, size);
	rig_expect(rig, DHCP_OFFER, offer);
}

static void assert_bytes(const struct dhcp_message *message, uint8_t code, const char *expected,
			 size_t expected_length)
{
	size_t length;
	const uint8_t *bytes = dhcp_message_option(message, code, &length);

	assert_non_null(bytes);
	assert_int_equal(length, expected_length);
	assert_memory_equal(bytes, expected, length);
}

#define ASSERT_OPTION(message, code, expected)                                                     \
	assert_bytes(message, code, expected, sizeof(expected) - 1)

static void add_list(struct ip_list *list, const char *ip)
{
	list->ips[list->count++] = rig_ip(ip);
}

/* All that can be configured. */
static void configure(struct rig *rig, struct dhcp_route *route, struct dhcp_option *options)
{
	struct dhcp_config *config = &rig->config;

	add_list(&config->routers, "10.0.0.2");
	add_list(&config->routers, "10.0.0.3");
	add_list(&config->dns, "10.0.0.53");
	add_list(&config->ntp, "10.0.0.123");
	add_list(&config->ntp, "10.0.0.124");
	strcpy(config->domain, "example.org");
	config->search_count = 2;
	config->search = search;
	config->mtu = 1400;
	assert_int_equal(ip_prefix_from_text("172.16.0.0/12", &route->to), 0);
	route->via = rig_ip("10.0.0.4");
	config->route_count = 1;
	config->routes = route;
	options[0] = (struct dhcp_option){ .code = 43, .length = 3, .bytes = { 1, 1, 9 } };
	options[1] = (struct dhcp_option){ .code = 224, .length = 4, .bytes = "text" };
	config->option_count = 2;
	config->options = options;
}

static void test_defaults(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;

	rig_start(rig, NULL);
	discover(rig, NULL, 0, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_MASK, "\xff\xff\xff\0");
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTER, "\x0a\0\0\1");
	ASSERT_OPTION(&message, DHCP_OPTION_DNS, "\x0a\0\0\1");
	ASSERT_OPTION(&message, DHCP_OPTION_BROADCAST, "\x0a\0\0\xff");
	ASSERT_OPTION(&message, DHCP_OPTION_DOMAIN, "lab.internal");
	assert_false(message.present[DHCP_OPTION_NTP]);
	assert_false(message.present[DHCP_OPTION_MTU]);
	assert_false(message.present[DHCP_OPTION_SEARCH]);
	assert_false(message.present[DHCP_OPTION_ROUTES]);
	assert_false(message.present[DHCP_OPTION_TFTP_SERVER]);
	assert_false(message.present[DHCP_OPTION_BOOT_FILE]);
	assert_false(message.present[DHCP_OPTION_HOST_NAME]);
	assert_false(message.present[DHCP_OPTION_FQDN]);
	/* Without a DNS server and a router of our own. */
	rig->leg.serves_dns = false;
	rig->leg.domain[0] = '\0';
	rig->config.no_router = true;
	rig_start(rig, NULL);
	discover(rig, NULL, 0, 0, &message);
	assert_false(message.present[DHCP_OPTION_ROUTER]);
	assert_false(message.present[DHCP_OPTION_DNS]);
	assert_false(message.present[DHCP_OPTION_DOMAIN]);
	rig_free(rig);
}

static void test_all_parameters(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_option options[2];
	struct dhcp_message message;
	struct dhcp_route route;

	configure(rig, &route, options);
	rig_start(rig, NULL);
	discover(rig, NULL, 0, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTER, "\x0a\0\0\2\x0a\0\0\3");
	ASSERT_OPTION(&message, DHCP_OPTION_DNS, "\x0a\0\0\x35");
	ASSERT_OPTION(&message, DHCP_OPTION_NTP, "\x0a\0\0\x7b\x0a\0\0\x7c");
	ASSERT_OPTION(&message, DHCP_OPTION_DOMAIN, "example.org");
	ASSERT_OPTION(&message, DHCP_OPTION_SEARCH, "\3lab\x08internal\0\7example\3org\0");
	ASSERT_OPTION(&message, DHCP_OPTION_MTU, "\5\x78");
	/* RFC 3442: the default route stands there too. */
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTES, "\x0c\xac\x10\x0a\0\0\4\0\x0a\0\0\2");
	ASSERT_OPTION(&message, DHCP_OPTION_VENDOR, "\1\1\x09");
	ASSERT_OPTION(&message, 224, "text");
	/* A configured default route is not doubled, nor one made up when there is no router. */
	assert_int_equal(ip_prefix_from_text("0.0.0.0/0", &route.to), 0);
	rig_start(rig, NULL);
	discover(rig, NULL, 0, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTES, "\0\x0a\0\0\4");
	assert_int_equal(ip_prefix_from_text("11.0.0.0/8", &route.to), 0);
	rig->config.no_router = true;
	rig_start(rig, NULL);
	discover(rig, NULL, 0, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTES, "\x08\x0b\x0a\0\0\4");
	rig_free(rig);
}

/* RFC 2132, 9.8: what is asked for, each once, in that order. */
static void test_parameter_request_list(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_option options[2];
	struct dhcp_message message;
	struct dhcp_route route;
	struct packet packet;
	const uint8_t *p;

	configure(rig, &route, options);
	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DISCOVER);
	/* With some that are the protocol's own, and one that nobody knows. */
	dhcp_write_option(&rig->writer, DHCP_OPTION_PARAMETERS,
			  "\x06\xe0\x03\x06\x33\x35\x00\xff\xc8", 9);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	ASSERT_OPTION(&message, DHCP_OPTION_DNS, "\x0a\0\0\x35");
	ASSERT_OPTION(&message, 224, "text");
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTER, "\x0a\0\0\2\x0a\0\0\3");
	assert_true(message.present[DHCP_OPTION_MASK]);
	assert_false(message.present[DHCP_OPTION_NTP]);
	assert_false(message.present[DHCP_OPTION_VENDOR]);
	assert_false(message.present[200]);
	/* type, server, time, T1, T2, mask: then in the list's order. */
	p = packet.data + 240 + 3 + 6 + 6 + 6 + 6 + 6;
	assert_int_equal(p[0], DHCP_OPTION_DNS);
	assert_int_equal(p[6], 224);
	assert_int_equal(p[12], DHCP_OPTION_ROUTER);
	assert_int_equal(p[22], DHCP_OPTION_END);
	rig_free(rig);
}

/* What is given by number goes first, but never over the protocol's own options. */
static void test_options_by_number(void **state)
{
	struct dhcp_option options[] = {
		{ .code = DHCP_OPTION_ROUTER, .length = 4, .bytes = { 10, 0, 0, 9 } },
		{ .code = DHCP_OPTION_LEASE_TIME, .length = 4, .bytes = { 0 } },
		{ .code = DHCP_OPTION_TYPE, .length = 1, .bytes = { DHCP_NAK } },
		{ .code = 80, .length = 0 },
	};
	struct rig *rig = rig_new();
	struct dhcp_message message;

	rig->config.option_count = 4;
	rig->config.options = options;
	rig_start(rig, NULL);
	discover(rig, "\x03\x33\x35\x50", 4, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTER, "\x0a\0\0\x09");
	ASSERT_OPTION(&message, DHCP_OPTION_LEASE_TIME, "\0\0\x0e\x10");
	ASSERT_OPTION(&message, 80, "");
	discover(rig, NULL, 0, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_ROUTER, "\x0a\0\0\x09");
	rig_free(rig);
}

/* siaddr, sname and file, and options 66 and 67 for a client that asks. */
static void test_network_boot(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip;

	rig->config.has_next_server = true;
	rig->config.next_server = rig_ip("10.0.0.69");
	strcpy(rig->config.boot_file, "pxelinux.0");
	rig_start(rig, NULL);
	discover(rig, "\x01\x42\x43", 3, 0, &message);
	assert_ip(&message.header.siaddr, "10.0.0.69");
	assert_string_equal(message.header.file, "pxelinux.0");
	assert_string_equal(message.header.sname, "");
	ASSERT_OPTION(&message, DHCP_OPTION_TFTP_SERVER, "10.0.0.69");
	ASSERT_OPTION(&message, DHCP_OPTION_BOOT_FILE, "pxelinux.0");
	ip = message.header.yiaddr;
	strcpy(rig->config.server_name, "boot.lab.internal");
	rig_select(rig, 1, ip);
	rig_expect(rig, DHCP_ACK, &message);
	assert_string_equal(message.header.sname, "boot.lab.internal");
	assert_ip(&message.header.siaddr, "10.0.0.69");
	ASSERT_OPTION(&message, DHCP_OPTION_TFTP_SERVER, "boot.lab.internal");
	/* Not in a NAK (RFC 2131, table 3). */
	rig_renew(rig, 1, rig_ip("10.9.9.9"));
	rig_expect(rig, DHCP_NAK, &message);
	assert_ip(&message.header.siaddr, "0.0.0.0");
	assert_string_equal(message.header.file, "");
	rig_free(rig);
}

static void fill(struct dhcp_option *option, uint8_t code, uint8_t length)
{
	option->code = code;
	option->length = length;
	memset(option->bytes, code, length);
}

/* RFC 2131, 4.1 and RFC 2132, 9.3, 9.10: no longer than the client and the link take; `file` and
 * `sname` are used before anything is left out. */
static void test_message_size(void **state)
{
	struct dhcp_option options[4];
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	uint8_t overload;

	fill(&options[0], 224, 240);
	fill(&options[1], 225, 100);
	fill(&options[2], 226, 50);
	fill(&options[3], 227, 200);
	rig->config.option_count = 4;
	rig->config.options = options;
	rig_start(rig, NULL);
	for (unsigned i = 0; i < 3; i++) {
		static const uint16_t sizes[] = { 0, 100, 576 }; /* none, too small, the least */

		rig_begin(rig, 1);
		rig_write(rig, DHCP_DISCOVER);
		dhcp_write_option(&rig->writer, DHCP_OPTION_PARAMETERS, "\xe0\xe1\xe2\xe3", 4);
		if (sizes[i] != 0)
			dhcp_write_u16(&rig->writer, DHCP_OPTION_MAX_SIZE, sizes[i]);
		rig_send(rig);
		rig_reply(rig, &message, &packet);
		assert_true(packet.network_length <= 576);
		assert_true(dhcp_message_u8(&message, DHCP_OPTION_OVERLOAD, &overload));
		assert_int_equal(overload, 3);
		assert_true(message.present[224] && message.present[225] && message.present[226]);
		assert_false(message.present[227]);
		assert_int_equal(rig_count(rig, DHCP_COUNT_OPTION_LEFT_OUT), i + 1);
	}
	/* Room for all. */
	discover(rig, "\xe0\xe1\xe2\xe3", 4, 1500, &message);
	assert_true(message.present[224] && message.present[227]);
	assert_false(message.present[DHCP_OPTION_OVERLOAD]);
	assert_int_equal(rig_count(rig, DHCP_COUNT_OPTION_LEFT_OUT), 3);
	/* But not on this link. */
	rig->leg.mtu = 800;
	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DISCOVER);
	dhcp_write_u16(&rig->writer, DHCP_OPTION_MAX_SIZE, UINT16_MAX);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_true(packet.network_length <= 800);
	/* With a boot file in its place, only `sname` is left. */
	strcpy(rig->config.boot_file, "f");
	discover(rig, "\xe0\xe1\xe2\xe3", 4, 0, &message);
	assert_string_equal(message.header.file, "f");
	assert_true(dhcp_message_u8(&message, DHCP_OPTION_OVERLOAD, &overload));
	assert_int_equal(overload, 2);
	assert_false(message.present[225]);
	rig_free(rig);
}

/* RFC 3397, 3396: a long list of domains goes in pieces. */
static void test_long_search_list(void **state)
{
	static char many[20][DHCP_DOMAIN_MAX + 1];
	struct rig *rig = rig_new();
	struct dhcp_message message;
	const uint8_t *bytes;
	size_t length;

	for (unsigned i = 0; i < 20; i++)
		snprintf(many[i], sizeof(many[i]), "department%02u.example.org", i);
	rig->config.search = many;
	rig->config.search_count = 20;
	rig_start(rig, NULL);
	discover(rig, "\x77", 1, 1500, &message);
	bytes = dhcp_message_option(&message, DHCP_OPTION_SEARCH, &length);
	assert_int_equal(length, 20 * 26);
	assert_memory_equal(bytes + 19 * 26,
			    "\x0c"
			    "department19\7example\3org\0",
			    26);
	rig_free(rig);
}

/* A reserved client is told its name. */
static void test_host_name_is_told(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;

	rig->hosts[0] = (struct dhcp_host){ .name = "web", .has_mac = true, .mac = rig_mac(1) };
	rig->config.host_count = 1;
	rig_start(rig, NULL);
	discover(rig, "\x0c", 1, 0, &message);
	ASSERT_OPTION(&message, DHCP_OPTION_HOST_NAME, "web");
	rig_free(rig);
}

/* Writes a message of client `n` as an agent on the link passes it on. */
static void relay(struct rig *rig, unsigned n, enum dhcp_type type, const char *agent)
{
	rig_begin(rig, n);
	rig->header.giaddr = rig->source = rig_ip(agent);
	rig->header.hops = 1;
	rig->from = rig_mac(99);
	rig->port = 9;
	rig->trusted = true;
	rig_write(rig, type);
	dhcp_write_option(&rig->writer, DHCP_OPTION_RELAY, "\1\4port", 6);
}

static void check_relayed(struct rig *rig, enum dhcp_type type, const char *agent,
			  struct dhcp_message *message)
{
	const struct mac mac = rig_mac(99);
	struct packet packet;

	rig_send(rig);
	rig_reply(rig, message, &packet);
	assert_int_equal(message->type, type);
	assert_ip(&packet.destination, agent);
	assert_memory_equal(&packet.to, &mac, sizeof(mac));
	assert_ip(&message->header.giaddr, agent);
	ASSERT_OPTION(message, DHCP_OPTION_RELAY, "\1\4port");
}

/* RFC 2131, 4.1 and 4.3.2; RFC 3046, 2.2. */
static void test_relay_agent(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	const struct lease *lease;
	const uint8_t *bytes;
	struct ip ip;
	size_t length;

	assert_int_equal(ip_prefix_from_text("10.1.0.1/24", &rig->leg.prefixes[1]), 0);
	rig->leg.prefix_count = 2;
	rig->ranges[1] = (struct ip_range){ rig_ip("10.1.0.100"), rig_ip("10.1.0.101") };
	rig->config.range_count = 2;
	rig_start(rig, NULL);
	for (unsigned n = 1; n <= 2; n++) {
		relay(rig, n, DHCP_DISCOVER, "10.1.0.9");
		check_relayed(rig, DHCP_OFFER, "10.1.0.9", &message);
		ip = message.header.yiaddr;
		assert_true(ip_prefix_contains(&rig->leg.prefixes[1], &ip));
		relay(rig, n, DHCP_REQUEST, "10.1.0.9");
		dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[1].ip);
		dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
		check_relayed(rig, DHCP_ACK, "10.1.0.9", &message);
		bytes = dhcp_message_option(&message, DHCP_OPTION_ROUTER, &length);
		assert_memory_equal(bytes, ip_v4_bytes(&rig->leg.prefixes[1].ip), 4);
		lease = lease_find_ip(rig->leases, &ip);
		assert_int_equal(lease->state, LEASE_BOUND);
		assert_int_equal(lease->port, 9);
		assert_int_equal(lease->mac.bytes[5], n);
	}
	/* Its subnet has no more, though the other one has. */
	relay(rig, 3, DHCP_DISCOVER, "10.1.0.9");
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_EXHAUSTED), 1);
	relay(rig, 1, DHCP_REQUEST, "10.0.0.9");
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	check_relayed(rig, DHCP_NAK, "10.0.0.9", &message);
	assert_true(message.header.flags & DHCP_FLAG_BROADCAST);
	/* One of another link, one that says it is us, one behind a port that is guarded. */
	relay(rig, 4, DHCP_DISCOVER, "10.9.0.1");
	rig_send(rig);
	relay(rig, 4, DHCP_DISCOVER, "10.0.0.1");
	rig_send(rig);
	relay(rig, 4, DHCP_DISCOVER, "10.0.0.9");
	rig->trusted = false;
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_RELAYED), 3);
	rig_free(rig);
}

/* BusyBox's udhcpc drops a UDP checksum of 0xffff: whatever it asks with, it gets another. */
static void test_checksum_that_busybox_takes(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	size_t usual = 0, padded = 0;

	rig_start(rig, NULL);
	for (uint32_t xid = 0; xid <= UINT16_MAX; xid++) {
		rig_begin(rig, 1);
		rig->header.xid = xid;
		rig_write(rig, DHCP_DISCOVER);
		rig_send(rig);
		rig_reply(rig, &message, &packet);
		assert_int_not_equal(read_be16(packet.payload + 6), 0xffff);
		if (xid == 0)
			usual = packet.data_length;
		padded += packet.data_length == usual + 1;
	}
	assert_in_range(padded, 1, 2);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay_agent),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all_parameters),
		cmocka_unit_test(test_parameter_request_list),
		cmocka_unit_test(test_options_by_number),
		cmocka_unit_test(test_network_boot),
		cmocka_unit_test(test_message_size),
		cmocka_unit_test(test_long_search_list),
		cmocka_unit_test(test_host_name_is_told),
		cmocka_unit_test(test_checksum_that_busybox_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
