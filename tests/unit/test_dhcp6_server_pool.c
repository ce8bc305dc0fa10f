/* The DHCPv6 server's addresses: who gets which, and what hostile clients do not get. */
#include "tests/unit/dhcp6_rig.h"

/* Several associations in one message are given several addresses; other kinds none (RFC 8415,
 * 18.3.1). */
static void associations(void **state)
{
	struct dhcp6_test_client client = dhcp6_test_client(1);
	static const enum dhcp6_type types[] = { DHCP6_SOLICIT, DHCP6_REQUEST };

	make();
	for (unsigned i = 0; i < 2; i++) {
		begin(types[i], &client);
		if (types[i] == DHCP6_REQUEST)
			add_server();
		add_ia(DHCP6_IA_NA, 1, "fd00:122::123");
		add_ia(DHCP6_IA_NA, 2, "fd00:122::123");
		add_ia(DHCP6_IA_TA, 1, NULL);
		add_ia(DHCP6_IA_PD, 1, NULL);
		assert_true(exchange(&client));
		assert_int_equal(reply.ia_count, 4);
		assert_ip(reply.ias[0].addresses[0].ip, "fd00:122::123");
		assert_int_equal(reply.ias[1].address_count, 1);
		assert_false(
		    ip_equal(&reply.ias[0].addresses[0].ip, &reply.ias[1].addresses[0].ip));
		assert_int_equal(reply.ias[2].code, DHCP6_IA_TA);
		assert_int_equal(reply.ias[2].status, DHCP6_NO_ADDRS_AVAIL);
		assert_int_equal(reply.ias[3].code, DHCP6_IA_PD);
		assert_int_equal(reply.ias[3].status, DHCP6_NO_PREFIX_AVAIL);
	}
	assert_int_equal(lease_table_count(leases), 2);
}

/* An address asked for is given when it is of the range and free. */
static void hints(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2);
	struct ip ip;

	make();
	assert_ip(request(&a, "fd00:122::180"), "fd00:122::180");
	ip = request(&b, "fd00:122::180");
	assert_int_equal(ip.bytes[14], 1);
	assert_int_not_equal(ip.bytes[15], 0x80);
	/* Out of the range, but on the link. */
	ip = request(&b, "fd00:122::2");
	assert_int_equal(ip.bytes[14], 1);
	/* RFC 8415, 18.3.2: of another link. */
	assert_true(ip_is_unspecified((struct ip[]){ request(&b, "fd00:9::1") }));
	assert_int_equal(reply.ias[0].status, DHCP6_NOT_ON_LINK);
}

/* A reservation by MAC, by DUID, by name. */
static void reservations(void **state)
{
	static const uint8_t name[] = { 1, 3, 'W', 'e', 'b', 3, 'l', 'a', 'b', 0 };
	static const uint8_t codes[] = { 0, 39 };
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2),
				 c = dhcp6_test_client(3), d = dhcp6_test_client(4);
	const struct lease *lease;
	struct ip ip;
	uint16_t length;

	hosts[0] = (struct dhcp_host){ .name = "mac",
				       .has_mac = true,
				       .mac = a.mac,
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::a") };
	hosts[1] = (struct dhcp_host){ .name = "duid",
				       .client_length = 14,
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::b") };
	memcpy(hosts[1].client, "\0\2\0\0\0\1somebody", 14);
	hosts[2] = (struct dhcp_host){ .name = "web",
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::110") };
	settings.host_count = 3;
	make();
	/* By the frame's source, whatever the DUID; other addresses are not his. */
	memcpy(a.duid, "\0\4abcdefghijklmnop", 18);
	a.duid_length = 18;
	assert_ip(request(&a, "fd00:122::150"), "fd00:122::a");
	lease = lease_find_ip(leases, &hosts[0].ip6);
	assert_true(lease->reserved);
	assert_string_equal(lease->host, "mac");
	/* A second association of his gets one of the range. */
	ip = request_at(&a, 1, 2, NULL, WALL);
	assert_int_equal(ip.bytes[14], 1);
	memcpy(b.duid, hosts[1].client, 14);
	b.duid_length = 14;
	assert_ip(request(&b, NULL), "fd00:122::b");
	/* By name; the address is in the range, but nobody else gets it. */
	ip = request(&d, "fd00:122::110");
	assert_int_not_equal(ip.bytes[15], 0x10);
	begin(DHCP6_REQUEST, &c);
	add_server();
	add_ia(DHCP6_IA_NA, 1, NULL);
	dhcp6_write_option(&writer, DHCP6_CLIENT_FQDN, name, sizeof(name));
	dhcp6_write_option(&writer, DHCP6_OPTION_REQUEST, codes, sizeof(codes));
	assert_true(exchange(&c));
	assert_ip(reply.ias[0].addresses[0].ip, "fd00:122::110");
	assert_int_equal(reply.name_flags, 1);
	assert_int_equal(reply.name_length, 18);
	assert_memory_equal(reply.name, "\3web\3lab\10internal", 18);
	assert_null(raw_option(DHCP6_DNS_SERVERS, &length));
}

/* The owner of a MAC wins his reservation back from one who had its MAC in his DUID, and from
 * himself before he was installed anew. */
static void reservation_won_back(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), thief = dhcp6_test_client(1);
	const struct lease *lease;
	struct ip ip;

	hosts[0] = (struct dhcp_host){ .name = "a",
				       .has_mac = true,
				       .mac = a.mac,
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::a") };
	settings.host_count = 1;
	make();
	thief.mac.bytes[5] = 9;
	assert_ip(request_at(&thief, 9, 1, NULL, WALL), "fd00:122::a");
	assert_ip(request(&a, NULL), "fd00:122::a");
	lease = lease_find_ip(leases, &hosts[0].ip6);
	assert_memory_equal(lease->mac.bytes, a.mac.bytes, 6);
	begin(DHCP6_RENEW, &thief);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::a");
	assert_true(exchange_at(&thief, 9, WALL));
	ip = reply.ias[0].addresses[0].ip;
	assert_int_equal(ip.bytes[14], 1);
	assert_int_equal(reply.ias[0].addresses[1].valid, 0);
	a.duid[2] = 7; /* no Ethernet: another DUID */
	assert_ip(request(&a, NULL), "fd00:122::a");
	assert_int_equal(lease_table_count(leases), 2);
}

/* A reservation made after the lease: the next renewal moves the guest. */
static void reservation_moves(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1);

	make();
	request(&a, "fd00:122::110");
	hosts[0] = (struct dhcp_host){ .name = "a",
				       .has_mac = true,
				       .mac = a.mac,
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::a") };
	settings.host_count = 1;
	make();
	begin(DHCP6_RENEW, &a);
	add_server();
	add_ia(DHCP6_IA_NA, 1, "fd00:122::110");
	assert_true(exchange(&a));
	assert_int_equal(reply.ias[0].address_count, 2);
	assert_ip(reply.ias[0].addresses[0].ip, "fd00:122::a");
	assert_ip(reply.ias[0].addresses[1].ip, "fd00:122::110");
	assert_int_equal(reply.ias[0].addresses[1].valid, 0);
	assert_int_equal(lease_table_count(leases), 1);
}

static void send_name(const struct dhcp6_test_client *client, const char *label)
{
	uint8_t name[65] = { 0, (uint8_t)strlen(label) };

	memcpy(name + 2, label, strlen(label));
	begin(DHCP6_REQUEST, client);
	add_server();
	add_ia(DHCP6_IA_NA, 1, NULL);
	dhcp6_write_option(&writer, DHCP6_CLIENT_FQDN, name, 2 + strlen(label));
	assert_true(exchange(client));
}

static const char *name_of(const struct dhcp6_test_client *client)
{
	return lease_find_client(leases, AF_INET6, client->duid, (uint8_t)client->duid_length, 1)
	    ->host;
}

/* Names are those of one guest: neither a reservation's nor another's can be had. */
static void guest_names(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2);

	hosts[0] = (struct dhcp_host){ .name = "web", .has_mac = true };
	settings.host_count = 1;
	make();
	send_name(&a, "Alpha");
	assert_string_equal(name_of(&a), "alpha");
	send_name(&b, "alpha");
	assert_string_equal(name_of(&b), "");
	send_name(&b, "WEB");
	assert_string_equal(name_of(&b), "");
	send_name(&b, "-x");
	assert_string_equal(name_of(&b), "");
	send_name(&b, "b c");
	assert_string_equal(name_of(&b), "");
	send_name(&a, "beta");
	assert_string_equal(name_of(&a), "beta");
	send_name(&b, "alpha");
	assert_string_equal(name_of(&b), "alpha");
}

/* A clone, or a liar, with another's DUID and IAID: has an address of its own, keeps it, and takes
 * nothing away. */
static void same_identifiers(void **state)
{
	struct dhcp6_test_client a = dhcp6_test_client(1), clone = dhcp6_test_client(1);
	char text[IP_TEXT_LENGTH];
	struct ip ip, other;

	make();
	clone.mac.bytes[5] = 9;
	ip = request(&a, NULL);
	other = request(&clone, ip_to_text(&ip, text));
	assert_false(ip_equal(&ip, &other));
	for (unsigned i = 0; i < 3; i++) {
		struct ip again = request(&clone, ip_to_text(&other, text));

		assert_true(ip_equal(&again, &other));
		again = request(&a, ip_to_text(&ip, text));
		assert_true(ip_equal(&again, &ip));
	}
	assert_int_equal(lease_table_count(leases), 2);
	begin(DHCP6_RELEASE, &clone);
	add_server();
	add_ia(DHCP6_IA_NA, 1, ip_to_text(&ip, text));
	assert_true(exchange(&clone));
	assert_non_null(lease_find_ip(leases, &ip));
}

/* Every address of a range is given out once, across two ranges, but reserved ones and the
 * gateway's; then none, and each refusal is counted. */
static void exhaustion(void **state)
{
	struct dhcp6_test_client client;
	bool seen[256] = { false };
	unsigned i;

	ranges[0] = (struct ip_range){ wire_address("fd00:122::"), wire_address("fd00:122::f") };
	ranges[1] = (struct ip_range){ wire_address("fd00:122::20"), wire_address("fd00:122::2f") };
	config.range_count = 2;
	hosts[0] = (struct dhcp_host){
		.name = "a", .has_mac = true, .has_ip6 = true, .ip6 = wire_address("fd00:122::22")
	};
	settings.host_count = 1;
	make();
	for (i = 0; i < 32 - 3; i++) {
		struct ip ip;

		client = dhcp6_test_client((uint8_t)(i + 1));
		ip = request(&client, NULL);
		assert_false(ip_is_unspecified(&ip));
		assert_false(seen[ip.bytes[15]]);
		seen[ip.bytes[15]] = true;
	}
	assert_false(seen[0] || seen[1] || seen[0x22]);
	client = dhcp6_test_client(200);
	assert_true(ip_is_unspecified((struct ip[]){ request(&client, NULL) }));
	assert_int_equal(reply.ias[0].status, DHCP6_NO_ADDRS_AVAIL);
	request(&client, NULL);
	assert_int_equal(dhcp6_server_counters(server)->exhausted, 2);
	/* Those who have one keep it; when one ends it is given to the next. */
	client = dhcp6_test_client(1);
	assert_false(ip_is_unspecified((struct ip[]){ request(&client, NULL) }));
	client = dhcp6_test_client(200);
	assert_false(
	    ip_is_unspecified((struct ip[]){ request_at(&client, 1, 1, NULL, WALL + LEASE + 1) }));
}

/* One guest that invents clients holds its limit, and offers cost nothing. */
static void port_limit(void **state)
{
	struct dhcp6_test_client client, other = dhcp6_test_client(255);

	settings.port_limit = 4;
	make();
	for (unsigned i = 1; i <= 100; i++) {
		struct ip ip;

		client = dhcp6_test_client((uint8_t)i);
		begin(DHCP6_SOLICIT, &client);
		add_ia(DHCP6_IA_NA, 1, NULL);
		assert_true(exchange_at(&client, 5, WALL));
		ip = request_at(&client, 5, 1, NULL, WALL);
		assert_int_equal(ip_is_unspecified(&ip), i > 4);
	}
	assert_int_equal(lease_table_count(leases), 4);
	assert_int_equal(dhcp6_server_counters(server)->over_limit, 2 * 96);
	client = dhcp6_test_client(4);
	assert_false(ip_is_unspecified((struct ip[]){ request_at(&client, 5, 1, NULL, WALL) }));
	/* Nor by moving those of another port here. */
	assert_false(ip_is_unspecified((struct ip[]){ request_at(&other, 6, 7, NULL, WALL) }));
	assert_true(ip_is_unspecified((struct ip[]){ request_at(&other, 5, 7, NULL, WALL) }));
	assert_int_equal(lease_count_port(leases, AF_INET6, 5), 4);
	assert_false(ip_is_unspecified((struct ip[]){ request_at(&other, 6, 1, NULL, WALL) }));
}

/* A lease without end, and a table that is full. */
static void limits(void **state)
{
	const struct lease_events no_events = { 0 };
	struct dhcp6_test_client a = dhcp6_test_client(1), b = dhcp6_test_client(2);
	struct ip ip;

	lease_table_destroy(leases);
	leases = lease_table_create(NULL, "net", 1, &no_events);
	config.lease_time = UINT32_MAX;
	make();
	ip = request(&a, NULL);
	assert_int_equal(reply.ias[0].addresses[0].valid, UINT32_MAX);
	assert_int_equal(reply.ias[0].addresses[0].preferred, UINT32_MAX);
	assert_int_equal(reply.ias[0].t1, UINT32_MAX);
	assert_true(lease_find_ip(leases, &ip)->expires == LEASE_FOREVER);
	assert_true(ip_is_unspecified((struct ip[]){ request(&b, NULL) }));
	assert_int_equal(reply.ias[0].status, DHCP6_NO_ADDRS_AVAIL);
	assert_int_equal(dhcp6_server_counters(server)->exhausted, 1);
	dhcp6_server_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(associations),	 TEST(hints),
		TEST(reservations),	 TEST(reservation_won_back),
		TEST(reservation_moves), TEST(guest_names),
		TEST(same_identifiers),	 TEST(exhaustion),
		TEST(port_limit),	 TEST(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
