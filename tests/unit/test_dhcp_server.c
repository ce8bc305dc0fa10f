/* The DHCPv4 server and the life of a lease, by section of RFC 2131. */
#include "tests/unit/dhcp_rig.h"

static uint64_t expires(const struct rig *rig, struct ip ip)
{
	const struct lease *lease = lease_find_ip(rig->leases, &ip);

	assert_non_null(lease);
	return lease->expires;
}

static int state_of(const struct rig *rig, struct ip ip)
{
	const struct lease *lease = lease_find_ip(rig->leases, &ip);

	return lease == NULL ? -1 : lease->state;
}

/* 3.1: DISCOVER, OFFER, REQUEST, ACK; table 3 for what stands in them. */
static void test_allocation(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	uint32_t seconds;
	struct ip ip, server;
	const uint8_t *mask;
	size_t length;

	rig_start(rig, NULL);
	rig_begin(rig, 7);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_OFFER);
	ip = message.header.yiaddr;
	assert_true(ip_to_v4(&ip) >= 0x0a000064 && ip_to_v4(&ip) <= 0x0a00006d);
	assert_true(ip_is_unspecified(&message.header.ciaddr));
	assert_true(ip_is_unspecified(&message.header.siaddr));
	/* 4.1: without the broadcast flag to the new address by the hardware address. */
	assert_true(ip_equal(&packet.destination, &ip));
	assert_memory_equal(&packet.to, &rig->header.chaddr, sizeof(packet.to));
	assert_ip(&packet.source, "10.0.0.1");
	assert_true(dhcp_message_ip(&message, DHCP_OPTION_SERVER_ID, &server));
	assert_ip(&server, "10.0.0.1");
	assert_true(dhcp_message_u32(&message, DHCP_OPTION_LEASE_TIME, &seconds));
	assert_int_equal(seconds, 3600);
	assert_true(dhcp_message_u32(&message, DHCP_OPTION_T1, &seconds));
	assert_int_equal(seconds, 1800);
	assert_true(dhcp_message_u32(&message, DHCP_OPTION_T2, &seconds));
	assert_int_equal(seconds, 3150);
	mask = dhcp_message_option(&message, DHCP_OPTION_MASK, &length);
	assert_memory_equal(mask, "\xff\xff\xff\0", 4);
	assert_int_equal(state_of(rig, ip), LEASE_OFFERED);

	rig_select(rig, 7, ip);
	rig_expect(rig, DHCP_ACK, &message);
	assert_true(ip_equal(&message.header.yiaddr, &ip));
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	assert_int_equal(expires(rig, ip), rig->wall + 3600);
	assert_int_equal(rig_count(rig, DHCP_COUNT_DISCOVER), 1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_OFFER), 1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_REQUEST), 1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_ACK), 1);
	rig_free(rig);
}

/* 4.1. */
static void test_broadcast_flag(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;

	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig->header.flags = DHCP_FLAG_BROADCAST;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_ip(&packet.destination, "255.255.255.255");
	assert_memory_equal(&packet.to, "\xff\xff\xff\xff\xff\xff", 6);
	assert_int_equal(message.header.flags, DHCP_FLAG_BROADCAST);
	rig_free(rig);
}

/* 4.3.1: the same client gets the same address: offered, bound, and after its lease is gone. */
static void test_address_is_sticky(void **state)
{
	struct rig *rig = rig_new();
	struct ip ip, again;

	rig_start(rig, NULL);
	ip = rig_discover(rig, 3);
	again = rig_lease(rig, 3);
	assert_true(ip_equal(&again, &ip));
	again = rig_discover(rig, 3);
	assert_true(ip_equal(&again, &ip));
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	rig->wall += 3601;
	again = rig_discover(rig, 3);
	assert_true(ip_equal(&again, &ip));
	assert_int_equal(state_of(rig, ip), LEASE_OFFERED);
	assert_int_equal(lease_table_count(rig->leases), 1);
	rig_free(rig);
}

/* 4.3.1: option 51 asked for, within what the configuration allows. */
static void test_lease_time(void **state)
{
	static const struct {
		uint32_t limit, asked, given;
	} cases[] = {
		{ 3600, 600, 600 },
		{ 3600, 7200, 3600 },
		{ 3600, UINT32_MAX, 3600 },
		{ 3600, 1, DHCP_LEASE_MIN },
		{ 3600, 0, DHCP_LEASE_MIN },
		{ 20, 1, 20 },
		{ UINT32_MAX, UINT32_MAX, UINT32_MAX },
		{ UINT32_MAX, 100, 100 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_new();
		struct dhcp_message message;
		uint32_t seconds, half;
		struct ip ip;

		rig->config.lease_time = cases[i].limit;
		rig_start(rig, NULL);
		ip = rig_discover(rig, 1);
		rig_select(rig, 1, ip);
		dhcp_write_u32(&rig->writer, DHCP_OPTION_LEASE_TIME, cases[i].asked);
		rig_expect(rig, DHCP_ACK, &message);
		assert_true(dhcp_message_u32(&message, DHCP_OPTION_LEASE_TIME, &seconds));
		assert_int_equal(seconds, cases[i].given);
		assert_int_equal(dhcp_message_u32(&message, DHCP_OPTION_T1, &half),
				 seconds != UINT32_MAX);
		assert_true(expires(rig, ip) ==
			    (seconds == UINT32_MAX ? LEASE_FOREVER : rig->wall + seconds));
		rig_free(rig);
	}
}

/* 4.3.2, SELECTING. */
static void test_selecting(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	struct ip ip, other = rig_ip("10.0.0.2");

	rig_start(rig, NULL);
	/* Without an offer; a NAK is broadcast and gives nothing away (table 3). */
	rig_select(rig, 1, rig_ip("10.0.0.100"));
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_NAK);
	assert_ip(&packet.destination, "255.255.255.255");
	assert_memory_equal(&packet.to, "\xff\xff\xff\xff\xff\xff", 6);
	assert_ip(&message.header.yiaddr, "0.0.0.0");
	assert_false(message.present[DHCP_OPTION_LEASE_TIME]);
	assert_false(message.present[DHCP_OPTION_MASK]);
	assert_true(message.present[DHCP_OPTION_MESSAGE]);
	/* Another address than the one offered. */
	ip = rig_discover(rig, 1);
	rig_select(rig, 1, rig_ip(ip_to_v4(&ip) == 0x0a000064 ? "10.0.0.101" : "10.0.0.100"));
	rig_expect(rig, DHCP_NAK, &message);
	/* Another client's. */
	rig_select(rig, 2, ip);
	rig_expect(rig, DHCP_NAK, &message);
	/* The client takes another server's offer: ours is free again. */
	rig_begin(rig, 1);
	rig_write(rig, DHCP_REQUEST);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &other);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(state_of(rig, ip), -1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_OTHER_SERVER), 1);
	/* Asking again keeps an offer. */
	ip = rig_discover(rig, 1);
	rig->wall += DHCP_OFFER_TIME - 1;
	rig_discover(rig, 1);
	rig->wall += DHCP_OFFER_TIME - 1;
	rig_select(rig, 1, ip);
	rig_expect(rig, DHCP_ACK, &message);
	rig_give_up(rig, 1, DHCP_RELEASE, ip);
	rig_send(rig);
	/* It does not hold for ever. */
	ip = rig_discover(rig, 1);
	rig->wall += DHCP_OFFER_TIME;
	rig_select(rig, 1, ip);
	rig_expect(rig, DHCP_NAK, &message);
	rig_free(rig);
}

/* 4.3.2, INIT-REBOOT. */
static void test_init_reboot(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip;

	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	rig->wall += 100;
	rig_reboot(rig, 1, ip);
	rig_expect(rig, DHCP_ACK, &message);
	assert_true(ip_equal(&message.header.yiaddr, &ip));
	assert_int_equal(expires(rig, ip), rig->wall + 3600);
	/* Not its address, on the wrong network, another's. */
	rig_reboot(rig, 1, rig_ip(ip_to_v4(&ip) == 0x0a000064 ? "10.0.0.101" : "10.0.0.100"));
	rig_expect(rig, DHCP_NAK, &message);
	rig_reboot(rig, 1, rig_ip("192.168.1.100"));
	rig_expect(rig, DHCP_NAK, &message);
	rig_reboot(rig, 2, ip);
	rig_expect(rig, DHCP_NAK, &message);
	/* Of a free address we know nothing, and must not answer. */
	rig_reboot(rig, 2, rig_ip(ip_to_v4(&ip) == 0x0a000064 ? "10.0.0.101" : "10.0.0.100"));
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_UNKNOWN), 1);
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	rig_free(rig);
}

/* 4.3.2, RENEWING (unicast) and REBINDING (broadcast). */
static void test_renewing_and_rebinding(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	struct ip ip, wrong;

	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	for (unsigned i = 0; i < 2; i++) {
		rig->wall += 1800;
		rig_renew(rig, 1, ip);
		if (i == 1)
			rig->destination = ip_from_v4(UINT32_MAX);
		rig_send(rig);
		rig_reply(rig, &message, &packet);
		assert_int_equal(message.type, DHCP_ACK);
		assert_true(ip_equal(&message.header.yiaddr, &ip));
		assert_true(ip_equal(&message.header.ciaddr, &ip));
		assert_true(ip_equal(&packet.destination, &ip));
		assert_memory_equal(&packet.to, &rig->header.chaddr, sizeof(packet.to));
		assert_int_equal(expires(rig, ip), rig->wall + 3600);
	}
	/* Another's, one outside the ranges, of another network. A NAK is broadcast all the same.
	 */
	rig_renew(rig, 2, ip);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_NAK);
	assert_ip(&packet.destination, "255.255.255.255");
	rig_renew(rig, 1, rig_ip("10.0.0.20"));
	rig_expect(rig, DHCP_NAK, &message);
	rig_renew(rig, 1, rig_ip("192.168.0.20"));
	rig_expect(rig, DHCP_NAK, &message);
	wrong = rig_ip(ip_to_v4(&ip) == 0x0a000064 ? "10.0.0.101" : "10.0.0.100");
	rig_renew(rig, 1, wrong);
	rig_expect(rig, DHCP_NAK, &message);
	assert_int_equal(expires(rig, ip), rig->wall + 3600);
	/* A client that we have forgotten keeps what is free. */
	rig_renew(rig, 5, wrong);
	rig_expect(rig, DHCP_ACK, &message);
	assert_int_equal(state_of(rig, wrong), LEASE_BOUND);
	/* So does one that was offered another just now. */
	ip = rig_discover(rig, 6);
	wrong = rig_ip(ip_to_v4(&ip) == 0x0a00006d ? "10.0.0.108" : "10.0.0.109");
	assert_int_equal(state_of(rig, wrong), -1);
	rig_renew(rig, 6, wrong);
	rig_expect(rig, DHCP_ACK, &message);
	assert_int_equal(state_of(rig, ip), -1);
	rig_free(rig);
}

/* 4.3.2, table 4: what no client sends. */
static void test_contradictory_requests(void **state)
{
	struct rig *rig = rig_new();
	struct ip ip = rig_ip("10.0.0.100");

	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_REQUEST);
	rig_send(rig); /* nothing said at all */
	rig_renew(rig, 1, ip);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	rig_send(rig); /* rebooted and using it */
	rig_renew(rig, 1, ip);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[0].ip);
	rig_send(rig); /* selecting nothing */
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 3);
	assert_int_equal(lease_table_count(rig->leases), 0);
	rig_free(rig);
}

/* 4.3.3. */
static void test_decline(void **state)
{
	struct rig *rig = rig_new();
	struct ip ip, other, server = rig_ip("10.0.0.9");

	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	/* Another client's word, another server's client, and half a message count for nothing. */
	rig_give_up(rig, 2, DHCP_DECLINE, ip);
	rig_send(rig);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DECLINE);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &server);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	rig_send(rig);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DECLINE);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[0].ip);
	rig_send(rig);
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	assert_int_equal(rig_count(rig, DHCP_COUNT_UNKNOWN), 1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_OTHER_SERVER), 1);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 1);

	rig_give_up(rig, 1, DHCP_DECLINE, ip);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(state_of(rig, ip), LEASE_DECLINED);
	other = rig_lease(rig, 1);
	assert_false(ip_equal(&other, &ip));
	rig->wall += DHCP_DECLINE_TIME;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	assert_int_equal(state_of(rig, ip), -1);
	rig_free(rig);
}

/* 4.3.4. */
static void test_release(void **state)
{
	struct rig *rig = rig_new();
	struct ip ip, server = rig_ip("10.0.0.9");

	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	rig_give_up(rig, 2, DHCP_RELEASE, ip);
	rig_send(rig);
	rig_give_up(rig, 1, DHCP_RELEASE, rig_ip("10.0.0.55"));
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_UNKNOWN), 2);
	rig_renew(rig, 1, ip);
	rig_write(rig, DHCP_RELEASE);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 1);
	dhcp_write_start(&rig->writer, &rig->header, DHCP_RELEASE, 0);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &server);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_OTHER_SERVER), 1);
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	rig_give_up(rig, 1, DHCP_RELEASE, ip);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(state_of(rig, ip), -1);
	rig_free(rig);
}

/* 4.3.5: an ACK without an address or times, to where the client says it is. */
static void test_inform(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;

	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig->header.ciaddr = rig->source = rig_ip("10.0.0.77");
	rig_write(rig, DHCP_INFORM);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_ACK);
	assert_ip(&packet.destination, "10.0.0.77");
	assert_memory_equal(&packet.to, &rig->header.chaddr, sizeof(packet.to));
	assert_ip(&message.header.yiaddr, "0.0.0.0");
	assert_ip(&message.header.ciaddr, "10.0.0.77");
	assert_false(message.present[DHCP_OPTION_LEASE_TIME]);
	assert_false(message.present[DHCP_OPTION_T1]);
	assert_true(message.present[DHCP_OPTION_DNS]);
	assert_int_equal(lease_table_count(rig->leases), 0);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_INFORM);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 1);
	rig_free(rig);
}

/* 4.4.5: expiry, as the deadline says. */
static void test_expiry(void **state)
{
	struct rig *rig = rig_new();
	struct ip ip;

	rig_start(rig, NULL);
	assert_true(dhcp_server_deadline(rig->server) == UINT64_MAX);
	ip = rig_lease(rig, 1);
	rig->now += 30000;
	rig->wall += 30;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	/* Looked at each minute, as the wall clock may be set. */
	assert_int_equal(dhcp_server_deadline(rig->server), rig->now + 60000);
	rig->now += 3560000;
	rig->wall += 3560;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	assert_int_equal(dhcp_server_deadline(rig->server), rig->now + 10000);
	rig->now += 10000;
	rig->wall += 10;
	assert_int_equal(state_of(rig, ip), LEASE_BOUND);
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	assert_int_equal(state_of(rig, ip), -1);
	assert_true(dhcp_server_deadline(rig->server) == UINT64_MAX);
	rig_free(rig);
}

/* A server made anew, as after a change of the configuration, knows the leases. */
static void test_leases_outlive_the_server(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip;

	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	rig_start(rig, NULL);
	rig_renew(rig, 1, ip);
	rig_expect(rig, DHCP_ACK, &message);
	/* The ranges moved: the client must ask anew. */
	rig->ranges[0] = (struct ip_range){ rig_ip("10.0.0.200"), rig_ip("10.0.0.209") };
	rig_start(rig, NULL);
	rig_renew(rig, 1, ip);
	rig_expect(rig, DHCP_NAK, &message);
	rig_reboot(rig, 1, ip);
	rig_expect(rig, DHCP_NAK, &message);
	ip = rig_lease(rig, 1);
	assert_true(ip_to_v4(&ip) >= 0x0a0000c8);
	assert_int_equal(lease_table_count(rig->leases), 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocation),
		cmocka_unit_test(test_broadcast_flag),
		cmocka_unit_test(test_address_is_sticky),
		cmocka_unit_test(test_lease_time),
		cmocka_unit_test(test_selecting),
		cmocka_unit_test(test_init_reboot),
		cmocka_unit_test(test_renewing_and_rebinding),
		cmocka_unit_test(test_contradictory_requests),
		cmocka_unit_test(test_decline),
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_inform),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_leases_outlive_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
