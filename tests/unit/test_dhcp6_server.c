/* The DHCPv6 server's messages: each of RFC 8415, 18.3, and those that it does not take. */
#include "tests/unit/dhcp6_rig.h"

/* RFC 8415, 18.3.1: an offer, which nobody is bound by; 18.3.2: then the same for good. */
static void solicit_request(void **state)
{
	struct dhcp6_test_client client = dhcp6_test_client(1);
	const struct lease *lease;
	struct dhcp6_ia *ia = &reply.ias[0];
	struct ip offered;
	uint16_t length;

	make();
	begin(DHCP6_SOLICIT, &client);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_true(exchange(&client));
	assert_int_equal(reply.type, DHCP6_ADVERTISE);
	assert_int_equal(reply.ia_count, 1);
	assert_int_equal(ia->address_count, 1);
	offered = ia->addresses[0].ip;
	assert_true(ip_compare(&ranges[0].first, &offered) <= 0);
	assert_true(ip_compare(&offered, &ranges[0].last) <= 0);
	assert_int_equal(*raw_option(7, &length), 255);
	assert_int_equal(lease_table_count(leases), 0);
	assert_true(request(&client, NULL).bytes[15] == offered.bytes[15]);
	assert_int_equal(ia->addresses[0].valid, LEASE);
	assert_int_equal(ia->addresses[0].preferred, LEASE / 2);
	assert_int_equal(ia->t1, LEASE / 4);
	assert_int_equal(ia->t2, LEASE / 2 * 4 / 5);
	assert_int_equal(lease_table_count(leases), 1);
	lease = lease_find_ip(leases, &offered);
	assert_non_null(lease);
	assert_int_equal(lease->state, LEASE_BOUND);
	assert_int_equal(lease->expires, WALL + LEASE);
	assert_int_equal(lease->iaid, 1);
	assert_int_equal(lease->port, 1);
	assert_memory_equal(lease->mac.bytes, client.mac.bytes, 6);
	/* Asking again gives the same, also as an offer. */
	assert_memory_equal(request(&client, NULL).bytes, offered.bytes, 16);
	begin(DHCP6_SOLICIT, &client);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_true(exchange(&client));
	assert_memory_equal(ia->addresses[0].ip.bytes, offered.bytes, 16);
	assert_int_equal(lease_table_count(leases), 1);
	assert_int_equal(dhcp6_server_counters(server)->answered, 4);
}

/* RFC 8415, 18.3.1 with 21.14. */
static void rapid_commit(void **state)
{
	struct dhcp6_test_client client = dhcp6_test_client(1);

	make();
	begin(DHCP6_SOLICIT, &client);
	dhcp6_write_option(&writer, DHCP6_RAPID_COMMIT, NULL, 0);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_true(exchange(&client));
	assert_int_equal(reply.type, DHCP6_REPLY);
	assert_true(reply.rapid_commit);
	assert_int_equal(lease_table_count(leases), 1);
	assert_non_null(lease_find_ip(leases, &reply.ias[0].addresses[0].ip));
}

/* RFC 8415, 18.3.4 and 18.3.5. */
static void renew_rebind(void **state)
{
	static const enum dhcp6_type types[] = { DHCP6_RENEW, DHCP6_REBIND };
	struct dhcp6_test_client client = dhcp6_test_client(1);
	struct ip ip;

	make();
	ip = request(&client, "fd00:122::110");
	for (unsigned i = 0; i < 2; i++) {
		begin(types[i], &client);
		if (types[i] == DHCP6_RENEW)
			add_server();
		add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
		assert_true(exchange_at(&client, 1, WALL + 1000 * (i + 1)));
		assert_int_equal(reply.type, DHCP6_REPLY);
		assert_int_equal(reply.ias[0].address_count, 1);
		assert_memory_equal(reply.ias[0].addresses[0].ip.bytes, ip.bytes, 16);
		assert_int_equal(reply.ias[0].addresses[0].valid, LEASE);
		assert_int_equal(lease_find_ip(leases, &ip)->expires,
				 WALL + 1000 * (i + 1) + LEASE);
	}
	/* An address that is not his any more ends at once. */
	begin(DHCP6_RENEW, &client);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::99");
	assert_true(exchange(&client));
	assert_int_equal(reply.ias[0].address_count, 2);
	assert_memory_equal(reply.ias[0].addresses[0].ip.bytes, ip.bytes, 16);
	assert_ip(reply.ias[0].addresses[1].ip, "fd00:122::99");
	assert_int_equal(reply.ias[0].addresses[1].valid, 0);
	assert_int_equal(reply.ias[0].addresses[1].preferred, 0);
	/* Nothing to give instead. */
	config.range_count = 0;
	begin(DHCP6_RENEW, &client);
	add_server();
	add_ia(DHCP6_IA_NA, 9, "fd00:122::99");
	assert_true(exchange(&client));
	assert_int_equal(reply.ias[0].status, DHCP6_NO_BINDING);
}

/* A binding that we forgot is made anew when nobody else has the address. */
static void renew_unknown(void **state)
{
	struct dhcp6_test_client client = dhcp6_test_client(1);

	make();
	begin(DHCP6_REBIND, &client);
	add_ia(DHCP6_IA_NA, 1, "fd00:122::1aa");
	assert_true(exchange(&client));
	assert_int_equal(reply.ias[0].address_count, 1);
	assert_ip(reply.ias[0].addresses[0].ip, "fd00:122::1aa");
	assert_int_equal(lease_table_count(leases), 1);
}

/* RFC 8415, 18.3.3. */
static void confirm(void **state)
{
	struct dhcp6_test_client client = dhcp6_test_client(1);

	make();
	begin(DHCP6_CONFIRM, &client);
	add_ia(DHCP6_IA_NA, 1, "fd00:122::5");
	assert_true(exchange(&client));
	assert_int_equal(reply.type, DHCP6_REPLY);
	assert_int_equal(reply.status, DHCP6_SUCCESS);
	add_ia(DHCP6_IA_NA, 2, "fd00:123::5");
	assert_true(exchange(&client));
	assert_int_equal(reply.status, DHCP6_NOT_ON_LINK);
	begin(DHCP6_CONFIRM, &client);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_false(exchange(&client));
	assert_int_equal(dhcp6_server_counters(server)->ignored, 1);
}

/* RFC 8415, 18.3.7. */
static void release(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2);
	struct ip ip;

	make();
	ip = request(&a, "fd00:122::110");
	begin(DHCP6_RELEASE, &b);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
	assert_true(exchange(&b));
	assert_int_equal(reply.status, DHCP6_SUCCESS);
	assert_int_equal(reply.ias[0].status, DHCP6_NO_BINDING);
	assert_non_null(lease_find_ip(leases, &ip));
	begin(DHCP6_RELEASE, &a);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
	assert_true(exchange(&a));
	assert_int_equal(reply.status, DHCP6_SUCCESS);
	assert_int_equal(reply.ia_count, 0);
	assert_null(lease_find_ip(leases, &ip));
	assert_ip(request(&b, "fd00:122::110"), "fd00:122::110");
}

/* RFC 8415, 18.3.8: nobody is given it for an hour. */
static void decline(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2);
	struct ip ip, other;

	make();
	ip = request(&a, "fd00:122::110");
	begin(DHCP6_DECLINE, &a);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
	assert_true(exchange(&a));
	assert_int_equal(reply.status, DHCP6_SUCCESS);
	assert_int_equal(lease_find_ip(leases, &ip)->state, LEASE_DECLINED);
	assert_int_equal(dhcp6_server_counters(server)->declined, 1);
	other = request(&a, "fd00:122::110");
	assert_false(ip_equal(&ip, &other));
	other = request(&b, "fd00:122::110");
	assert_false(ip_equal(&ip, &other));
	other = request_at(&a, 1, 5, "fd00:122::110", WALL + 3601);
	assert_true(ip_equal(&ip, &other));
}

/* RFC 8415, 18.3.6: options for whoever asks, named or not; nothing about addresses. */
static void information(void **state)
{
	static const uint8_t codes[] = { 0, 23, 0, 24, 0, 32, 0, 56 };
	static const uint8_t ntp[] = { 0, 1, 0, 16, 0xfd, 0 };
	static char search[1][DHCP_DOMAIN_MAX + 1] = { "lab.internal" };
	struct dhcp6_test_client client = dhcp6_test_client(1);
	uint16_t length;

	config.mode = DHCP6_STATELESS;
	config.search = search;
	config.search_count = 1;
	config.ntp = (struct ip_list){ 1, { wire_address("fd00::7b") } };
	make();
	begin(DHCP6_INFORMATION_REQUEST, &client);
	dhcp6_write_option(&writer, DHCP6_OPTION_REQUEST, codes, sizeof(codes));
	assert_true(exchange(&client));
	assert_int_equal(reply.type, DHCP6_REPLY);
	assert_memory_equal(raw_option(DHCP6_DNS_SERVERS, &length), prefix.ip.bytes, 16);
	assert_int_equal(length, 16);
	assert_memory_equal(raw_option(DHCP6_DOMAIN_LIST, &length), "\3lab\10internal", 14);
	assert_int_equal(length, 14);
	assert_int_equal(read_be32(raw_option(DHCP6_INFORMATION_REFRESH, &length)), LEASE);
	assert_memory_equal(raw_option(DHCP6_NTP_SERVER, &length), ntp, sizeof(ntp));
	assert_int_equal(length, 20);
	/* Only what was asked for. */
	begin(DHCP6_INFORMATION_REQUEST, &client);
	dhcp6_write_option(&writer, DHCP6_OPTION_REQUEST, codes, 2);
	assert_true(exchange(&client));
	assert_non_null(raw_option(DHCP6_DNS_SERVERS, &length));
	assert_null(raw_option(DHCP6_DOMAIN_LIST, &length));
	assert_null(raw_option(DHCP6_NTP_SERVER, &length));
	/* Without a client identifier; resolvers of the configuration. */
	config.dns = (struct ip_list){ 2, { wire_address("fd00::53"), wire_address("10.0.0.1") } };
	writer.length = 4;
	wire_clear(&wire);
	dhcp6_server_input(server, dhcp6_test_packet(&wire, &client, bytes, 4), 1, WALL);
	assert_int_equal(wire.count, 1);
	assert_int_equal(raw_option(DHCP6_DNS_SERVERS, &length)[15], 0x53);
	assert_int_equal(length, 16);
	assert_null(raw_option(DHCP6_CLIENT_ID, &length));
	/* Addresses are not ours to give, or to be asked for like this. */
	begin(DHCP6_SOLICIT, &client);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_true(exchange(&client));
	assert_int_equal(reply.ias[0].status, DHCP6_NO_ADDRS_AVAIL);
	begin(DHCP6_INFORMATION_REQUEST, &client);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_false(exchange(&client));
	assert_int_equal(dhcp6_server_counters(server)->malformed, 1);
}

/* RFC 8415, 16: messages without what they must have, or with what they must not. */
static void validation(void **state)
{
	static const struct {
		enum dhcp6_type type;
		bool with_server, answered;
	} cases[] = {
		{ DHCP6_SOLICIT, true, false },
		{ DHCP6_REQUEST, false, false },
		{ DHCP6_CONFIRM, true, false },
		{ DHCP6_RENEW, false, false },
		{ DHCP6_REBIND, true, false },
		{ DHCP6_RELEASE, false, false },
		{ DHCP6_DECLINE, false, false },
		{ DHCP6_ADVERTISE, true, false },
		{ DHCP6_REPLY, true, false },
		{ DHCP6_RECONFIGURE, true, false },
		{ DHCP6_RELAY_REPL, true, false },
		{ (enum dhcp6_type)99, false, false },
		{ DHCP6_INFORMATION_REQUEST, true, true },
	};
	struct dhcp6_test_client client = dhcp6_test_client(1);
	const struct dhcp6_counters *counters;
	uint64_t malformed;

	make();
	counters = dhcp6_server_counters(server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(cases[i].type, &client);
		if (cases[i].with_server)
			add_server();
		if (cases[i].type != DHCP6_INFORMATION_REQUEST)
			add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
		assert_int_equal(exchange(&client), cases[i].answered);
	}
	assert_int_equal(counters->malformed, 7);
	assert_int_equal(counters->ignored, 4);
	assert_int_equal(counters->relayed, 1);
	malformed = counters->malformed;
	/* No client identifier; half an option; nothing at all. */
	for (size_t length = 0; length < 8; length++) {
		begin(DHCP6_SOLICIT, &client);
		writer.length = length;
		assert_false(exchange(&client));
	}
	assert_int_equal(counters->malformed, malformed + 8);
	/* Another server's. */
	begin(DHCP6_REQUEST, &client);
	dhcp6_write_option(&writer, DHCP6_SERVER_ID, client.duid, client.duid_length);
	add_ia(DHCP6_IA_NA, 1, NULL);
	assert_false(exchange(&client));
	assert_int_equal(counters->ignored, 5);
	assert_int_equal(lease_table_count(leases), 0);
	assert_int_equal(counters->received, 13 + 8 + 1);
}

/* RFC 8415, 16 and 18.4: by unicast, which nobody allowed; from or to the wrong place. */
static void wrong_addresses(void **state)
{
	static const struct {
		enum dhcp6_type type;
		const char *source, *destination;
		uint16_t port;
		bool answered;
		uint8_t malformed, ignored;
	} cases[] = {
		{ DHCP6_RENEW, "fd00:122::110", "fd00:122::1", 547, true, 0, 0 },
		{ DHCP6_SOLICIT, "fe80::9", "fe80::5054:ff:feaa:bbcc", 547, false, 0, 1 },
		{ DHCP6_SOLICIT, "fd00:122::110", "ff02::1:2", 547, false, 1, 1 },
		{ DHCP6_SOLICIT, "::", "ff02::1:2", 547, false, 2, 1 },
		{ DHCP6_SOLICIT, "ff02::1", "ff02::1:2", 547, false, 3, 1 },
		{ DHCP6_SOLICIT, "fe80::9", "ff05::1:3", 547, false, 3, 1 },
		{ DHCP6_SOLICIT, "fe80::9", "fd00:122::2", 547, false, 3, 1 },
		{ DHCP6_SOLICIT, "fe80::9", "ff02::1:2", 546, false, 3, 1 },
	};
	struct dhcp6_test_client client = dhcp6_test_client(1);

	make();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct packet_header header = { .from = client.mac,
						.to = own,
						.source = wire_address(cases[i].source),
						.destination = wire_address(cases[i].destination),
						.source_port = 546,
						.destination_port = cases[i].port };

		begin(cases[i].type, &client);
		if (cases[i].type == DHCP6_RENEW)
			add_server();
		add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
		wire_clear(&wire);
		dhcp6_server_input(server, wire_udp(&wire, &header, bytes, writer.length), 1, WALL);
		assert_int_equal(wire.count, cases[i].answered);
		assert_int_equal(dhcp6_server_counters(server)->malformed, cases[i].malformed);
		assert_int_equal(dhcp6_server_counters(server)->ignored, cases[i].ignored);
		if (!cases[i].answered)
			continue;
		assert_int_equal(
		    dhcp6_message_parse(wire.packets[0].data, wire.packets[0].data_length, &reply),
		    0);
		assert_int_equal(reply.status, DHCP6_USE_MULTICAST);
		assert_int_equal(reply.ia_count, 0);
	}
	assert_int_equal(lease_table_count(leases), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(solicit_request), TEST(rapid_commit), TEST(renew_rebind),
		TEST(renew_unknown),   TEST(confirm),	   TEST(release),
		TEST(decline),	       TEST(information),  TEST(validation),
		TEST(wrong_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
