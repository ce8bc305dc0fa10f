/* Which address a DHCP client gets: choice, exhaustion, limits, conflict checks. */
#include "tests/unit/dhcp_rig.h"

static int state_of(const struct rig *rig, struct ip ip)
{
	const struct lease *lease = lease_find_ip(rig->leases, &ip);

	return lease == NULL ? -1 : lease->state;
}

/* 4.3.1: the address that the client asks for, if it may have it. */
static void test_requested_address(void **state)
{
	static const struct {
		const char *asked;
		bool given;
	} cases[] = {
		{ "10.0.0.105", true }, { "10.0.0.99", false }, { "10.0.0.1", false },
		{ "10.0.0.0", false },	{ "10.0.1.5", false },	{ "255.255.255.255", false },
		{ "0.0.0.0", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_new();
		struct dhcp_message message;
		struct ip ip = rig_ip(cases[i].asked);

		rig_start(rig, NULL);
		rig_begin(rig, 1);
		rig_write(rig, DHCP_DISCOVER);
		dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
		rig_expect(rig, DHCP_OFFER, &message);
		assert_int_equal(ip_equal(&message.header.yiaddr, &ip), cases[i].given);
		assert_true(ip_to_v4(&message.header.yiaddr) >= 0x0a000064);
		/* Another client asks for what is offered. */
		ip = message.header.yiaddr;
		rig_begin(rig, 2);
		rig_write(rig, DHCP_DISCOVER);
		dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
		rig_expect(rig, DHCP_OFFER, &message);
		assert_false(ip_equal(&message.header.yiaddr, &ip));
		rig_free(rig);
	}
}

/* Each address once, over several ranges; none that is a network's, a broadcast or the gateway's.
 */
static void test_all_addresses_are_given(void **state)
{
	struct rig *rig = rig_new();
	bool seen[256] = { false };

	rig->ranges[0] = (struct ip_range){ rig_ip("9.255.255.0"), rig_ip("10.0.0.3") };
	rig->ranges[1] = (struct ip_range){ rig_ip("10.0.0.250"), rig_ip("10.0.7.0") };
	rig->config.range_count = 2;
	rig_start(rig, NULL);
	for (unsigned n = 1; n <= 7; n++) {
		struct ip ip = rig_lease(rig, n);

		assert_false(seen[ip_to_v4(&ip) & 0xff]);
		seen[ip_to_v4(&ip) & 0xff] = true;
	}
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(seen[i], i == 2 || i == 3 || (i >= 250 && i < 255));
	rig_begin(rig, 8);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_EXHAUSTED), 1);
	rig_free(rig);
}

/* Two prefixes on the leg: each client's server is the gateway in its own. */
static void test_several_prefixes(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	struct ip ip = rig_ip("10.0.5.3"), router;

	rig->ranges[0] = (struct ip_range){ rig_ip("10.0.5.2"), rig_ip("10.0.5.6") };
	rig->leg.prefix_count = 2;
	assert_int_equal(ip_prefix_from_text("10.0.5.1/29", &rig->leg.prefixes[1]), 0);
	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_DISCOVER);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_true(ip_equal(&message.header.yiaddr, &ip));
	assert_ip(&packet.source, "10.0.5.1");
	assert_true(dhcp_message_ip(&message, DHCP_OPTION_ROUTER, &router));
	assert_ip(&router, "10.0.5.1");
	assert_true(dhcp_message_ip(&message, DHCP_OPTION_MASK, &router));
	assert_ip(&router, "255.255.255.248");
	rig_begin(rig, 1);
	rig_write(rig, DHCP_REQUEST);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[1].ip);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
	rig_expect(rig, DHCP_ACK, &message);
	rig_free(rig);
}

/* Logged once, counted each time; no search again within a second; over when an address is free. */
static void test_exhaustion(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip = { 0 };

	rig_start(rig, NULL);
	for (unsigned n = 1; n <= 10; n++)
		ip = rig_lease(rig, n);
	for (unsigned i = 0; i < 3; i++) {
		rig_begin(rig, 11);
		rig_write(rig, DHCP_DISCOVER);
		rig_send(rig);
		rig_silent(rig);
	}
	assert_int_equal(rig_count(rig, DHCP_COUNT_EXHAUSTED), 3);
	rig_select(rig, 11, ip);
	rig_expect(rig, DHCP_NAK, &message);
	rig_give_up(rig, 10, DHCP_RELEASE, ip);
	rig_send(rig);
	rig->now += 1000;
	ip = rig_lease(rig, 11);
	rig_free(rig);
}

/* One guest that invents clients gets DHCP_PORT_LEASES addresses, another guest its own. */
static void test_port_limit(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip = { 0 };

	rig->ranges[0].last = rig_ip("10.0.0.200");
	rig_start(rig, NULL);
	for (unsigned n = 1; n <= DHCP_PORT_LEASES + 10; n++) {
		rig_begin(rig, n);
		rig->port = 5;
		rig_write(rig, DHCP_DISCOVER);
		if (n <= DHCP_PORT_LEASES) {
			rig_expect(rig, DHCP_OFFER, &message);
			ip = message.header.yiaddr;
		} else {
			rig_send(rig);
			rig_silent(rig);
		}
	}
	assert_int_equal(rig_count(rig, DHCP_COUNT_PORT_LIMIT), 10);
	/* An address that is in nobody's name, by renewing it: refused as well. */
	rig_renew(rig, 99, rig_ip("10.0.0.100"));
	rig->port = 5;
	if (state_of(rig, rig_ip("10.0.0.100")) != -1)
		rig->header.ciaddr = rig->source = rig_ip("10.0.0.101");
	rig_write(rig, DHCP_REQUEST);
	rig_expect(rig, DHCP_NAK, &message);
	/* Declining does not help it. */
	rig_give_up(rig, DHCP_PORT_LEASES, DHCP_DECLINE, ip);
	rig->port = 5;
	rig_send(rig);
	assert_int_equal(state_of(rig, ip), LEASE_DECLINED);
	rig_begin(rig, 50);
	rig->port = 5;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_silent(rig);
	rig_lease(rig, 60);
	/* A reserved address is not counted. */
	rig->config.host_count = 1;
	rig->hosts[0] = (struct dhcp_host){ .name = "r",
					    .has_mac = true,
					    .mac = rig_mac(70),
					    .has_ip4 = true,
					    .ip4 = rig_ip("10.0.0.5") };
	rig_start(rig, NULL);
	rig_begin(rig, 70);
	rig->port = 5;
	rig_write(rig, DHCP_DISCOVER);
	rig_expect(rig, DHCP_OFFER, &message);
	assert_ip(&message.header.yiaddr, "10.0.0.5");
	/* It is counted when it is reserved no more. */
	rig_select(rig, 70, message.header.yiaddr);
	rig->port = 5;
	rig_expect(rig, DHCP_ACK, &message);
	rig->config.host_count = 0;
	rig->ranges[0].first = rig_ip("10.0.0.2");
	rig_start(rig, NULL);
	rig_renew(rig, 70, rig_ip("10.0.0.5"));
	rig->port = 5;
	rig_expect(rig, DHCP_NAK, &message);
	/* A port with many hosts behind it has no limit. */
	for (unsigned n = 100; n < 100 + 2 * DHCP_PORT_LEASES; n++) {
		rig_begin(rig, n);
		rig->port = LEASE_PORT_NONE;
		rig_write(rig, DHCP_DISCOVER);
		rig_expect(rig, DHCP_OFFER, &message);
	}
	rig_free(rig);
}

/* What one port may have of few addresses, and what it may have when it is trusted. */
static void test_port_share(void **state)
{
	static const struct {
		const char *last;
		bool trusted;
		unsigned share;
	} cases[] = {
		{ "10.0.0.103", false, 4 }, { "10.0.0.105", false, 4 },	 { "10.0.0.111", false, 6 },
		{ "10.0.0.109", true, 10 }, { "10.0.0.250", false, 16 }, { "10.0.0.250", true, 64 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_new();
		unsigned n = 0;

		rig->ranges[0].last = rig_ip(cases[i].last);
		rig_start(rig, NULL);
		do {
			rig->sent_count = 0;
			rig_begin(rig, ++n);
			rig->port = 5;
			rig->trusted = cases[i].trusted;
			rig_write(rig, DHCP_DISCOVER);
			rig_send(rig);
		} while (rig->sent_count > 0);
		assert_int_equal(n, cases[i].share + 1);
		rig_free(rig);
	}
}

/* Leases whose port is not known, as after a restart, are no way around the limit. */
static void test_port_limit_on_renewal(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ips[DHCP_PORT_LEASES + 1];

	rig->ranges[0].last = rig_ip("10.0.0.200");
	rig_start(rig, NULL);
	for (unsigned i = 0; i <= DHCP_PORT_LEASES; i++) {
		ips[i] = rig_lease(rig, i + 1);
		lease_forget_port(rig->leases, (uint16_t)(i + 1));
	}
	for (unsigned again = 0; again < 2; again++) {
		for (unsigned i = 0; i <= DHCP_PORT_LEASES; i++) {
			rig_renew(rig, i + 1, ips[i]);
			rig->port = 5;
			rig_expect(rig, i < DHCP_PORT_LEASES ? DHCP_ACK : DHCP_NAK, &message);
		}
	}
	assert_int_equal(rig_count(rig, DHCP_COUNT_PORT_LIMIT), 2);
	assert_int_equal(lease_count_port(rig->leases, AF_INET, 5), DHCP_PORT_LEASES);
	rig_free(rig);
}

static void test_table_limit(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;

	rig->leases = lease_table_create(NULL, "test", 2, NULL);
	rig_start(rig, NULL);
	rig_lease(rig, 1);
	rig_lease(rig, 2);
	rig_begin(rig, 3);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_EXHAUSTED), 1);
	for (unsigned i = 100; i < 103; i++) { /* one of three is free */
		rig_renew(rig, 3, ip_from_v4(0x0a000000 + i));
		rig_expect(rig, DHCP_NAK, &message);
	}
	assert_int_equal(lease_table_count(rig->leases), 2);
	rig_free(rig);
}

static void discover(struct rig *rig, unsigned n)
{
	rig_begin(rig, n);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
}

/* 4.4.1: the offer waits for the answer, or for its time. */
static void test_offer_waits_for_the_probe(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	struct ip ip, other = rig_ip("10.0.0.5");

	rig_start(rig, rig_ask);
	discover(rig, 1);
	rig_silent(rig);
	assert_int_equal(rig->asked_count, 1);
	ip = rig->asked;
	assert_int_equal(dhcp_server_deadline(rig->server), rig->now + DHCP_PROBE_WAIT);
	/* The client cannot take what it was not offered, nor is it asked twice. */
	rig_select(rig, 1, ip);
	rig_expect(rig, DHCP_NAK, &message);
	rig_begin(rig, 1);
	rig->header.xid = 0xabcdef01;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig->asked_count, 1);
	rig_silent(rig);
	dhcp_server_probe_result(rig->server, &other, NULL, rig->now, rig->wall);
	rig_silent(rig);
	dhcp_server_probe_result(rig->server, &ip, NULL, rig->now + 100, rig->wall);
	rig_reply(rig, &message, &packet); /* to the newer transaction */
	assert_int_equal(message.type, DHCP_OFFER);
	assert_true(ip_equal(&message.header.yiaddr, &ip));
	dhcp_server_probe_result(rig->server, &ip, NULL, rig->now + 100, rig->wall);
	rig_silent(rig);
	/* What is offered has been checked. */
	discover(rig, 1);
	rig_reply(rig, &message, &packet);
	assert_int_equal(rig->asked_count, 1);
	/* Nobody answers about another client's. */
	discover(rig, 2);
	assert_int_equal(rig->asked_count, 2);
	rig->now += DHCP_PROBE_WAIT - 1;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	rig_silent(rig);
	rig->now++;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_OFFER);
	/* Nor is a lease of its own checked again. */
	rig_select(rig, 2, message.header.yiaddr);
	rig_expect(rig, DHCP_ACK, &message);
	rig_discover(rig, 2);
	assert_int_equal(rig->asked_count, 2);
	rig_free(rig);
}

static void test_address_in_use_is_passed_over(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct packet packet;
	struct mac holder = rig_mac(99), client = rig_mac(1);
	struct ip first;

	rig_start(rig, rig_ask);
	discover(rig, 1);
	first = rig->asked;
	dhcp_server_probe_result(rig->server, &first, &holder, rig->now, rig->wall);
	rig_silent(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_CONFLICT), 1);
	assert_int_equal(state_of(rig, first), LEASE_DECLINED);
	assert_int_equal(rig->asked_count, 2);
	assert_false(ip_equal(&rig->asked, &first));
	/* Found with the client itself: no conflict. */
	dhcp_server_probe_result(rig->server, &rig->asked, &client, rig->now, rig->wall);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_OFFER);
	assert_true(ip_equal(&message.header.yiaddr, &rig->asked));
	assert_int_equal(rig_count(rig, DHCP_COUNT_CONFLICT), 1);
	/* Not without end for one DISCOVER. */
	discover(rig, 2);
	for (unsigned i = 0; i < DHCP_PROBE_TRIES; i++)
		dhcp_server_probe_result(rig->server, &rig->asked, &holder, rig->now, rig->wall);
	assert_int_equal(rig->asked_count, 2 + DHCP_PROBE_TRIES);
	rig_silent(rig);
	assert_true(dhcp_server_deadline(rig->server) > rig->now + DHCP_PROBE_WAIT);
	rig_free(rig);
}

static void test_probes_are_bounded(void **state)
{
	struct rig *rig = rig_new();

	rig->ranges[0].first = rig_ip("10.0.0.2");
	rig->ranges[0].last = rig_ip("10.0.7.255");
	assert_int_equal(ip_prefix_from_text("10.0.0.1/16", &rig->leg.prefixes[0]), 0);
	rig_start(rig, rig_ask);
	for (unsigned n = 1; n <= DHCP_PROBE_MAX + 5; n++)
		discover(rig, n);
	assert_int_equal(rig->asked_count, DHCP_PROBE_MAX);
	assert_int_equal(rig_count(rig, DHCP_COUNT_BUSY), 5);
	assert_int_equal(lease_table_count(rig->leases), DHCP_PROBE_MAX);
	rig_silent(rig);
	rig_free(rig); /* with all of them waiting */
}

/* A client that goes away while its offer waits. */
static void test_waiting_offer_is_cancelled(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip, server = rig_ip("10.0.0.9");

	rig_start(rig, rig_ask);
	discover(rig, 1);
	ip = rig->asked;
	rig_begin(rig, 1);
	rig_write(rig, DHCP_REQUEST);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &server);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &server);
	rig_send(rig);
	assert_int_equal(state_of(rig, ip), -1);
	rig->now += DHCP_PROBE_WAIT;
	dhcp_server_tick(rig->server, rig->now, rig->wall);
	dhcp_server_probe_result(rig->server, &ip, NULL, rig->now, rig->wall);
	rig_silent(rig);
	/* It uses the address already: what is left to answer? */
	discover(rig, 1);
	ip = rig->asked;
	rig_renew(rig, 1, ip);
	rig_expect(rig, DHCP_ACK, &message);
	dhcp_server_probe_result(rig->server, &ip, NULL, rig->now, rig->wall);
	rig_silent(rig);
	rig_give_up(rig, 1, DHCP_RELEASE, ip);
	rig_send(rig);
	/* Its lease was taken away by hand. */
	discover(rig, 1);
	assert_int_equal(lease_remove(rig->leases, &rig->asked), 0);
	dhcp_server_probe_result(rig->server, &rig->asked, NULL, rig->now, rig->wall);
	rig_silent(rig);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requested_address),
		cmocka_unit_test(test_all_addresses_are_given),
		cmocka_unit_test(test_several_prefixes),
		cmocka_unit_test(test_exhaustion),
		cmocka_unit_test(test_port_limit),
		cmocka_unit_test(test_port_share),
		cmocka_unit_test(test_port_limit_on_renewal),
		cmocka_unit_test(test_table_limit),
		cmocka_unit_test(test_offer_waits_for_the_probe),
		cmocka_unit_test(test_address_in_use_is_passed_over),
		cmocka_unit_test(test_probes_are_bounded),
		cmocka_unit_test(test_waiting_offer_is_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
