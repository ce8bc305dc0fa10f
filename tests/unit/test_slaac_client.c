/* The host side of IPv6 on an uplink: soliciting (RFC 4861, 6.3.7; RFC 7559), addresses and their
 * proof (RFC 4862, 5.4; RFC 7217). */
#include "tests/unit/slaac_client_rig.h"

/* RFC 4862, 5.4.2; RFC 4861, 6.3.7 and 4.1. */
static void first_messages(void **unused)
{
	const struct packet *packet = NULL;
	const uint8_t *option;
	struct ip target;

	make();
	assert_int_equal(slaac_client_deadline(client), 5000);
	run_until(5000);
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 1);
	assert_ip(packet->source, "::");
	assert_ip(packet->destination, "ff02::1:ffaa:bbcc");
	assert_memory_equal(packet->to.bytes, "\x33\x33\xff\xaa\xbb\xcc", 6);
	target = ip_from_v6_bytes(packet->payload + 8);
	assert_ip(target, own_link_local);
	assert_null(nd_option_find(packet->payload + 24, packet->payload_length - 24,
				   ND_OPTION_SOURCE_LINK));
	assert_int_equal(count_sent(ND_ROUTER_SOLICITATION, &packet), 1);
	assert_ip(packet->source, "::");
	assert_ip(packet->destination, "ff02::2");
	assert_int_equal(packet->payload_length, 8);
	assert_false(slaac_client_state(client)->has_link_local);
	run_until(6000);
	assert_true(slaac_client_state(client)->has_link_local);
	/* From now on it has a source, and says whose. */
	run_until(10000);
	assert_int_equal(count_sent(ND_ROUTER_SOLICITATION, &packet), 1);
	assert_ip(packet->source, own_link_local);
	option =
	    nd_option_find(packet->payload + 8, packet->payload_length - 8, ND_OPTION_SOURCE_LINK);
	assert_memory_equal(option + 2, own.bytes, 6);
	assert_int_equal(configured + lost, 0);
}

/* RFC 7559, 2: twice as long each time, up to an hour, a tenth more or less; a router ends it, and
 * its end begins it. */
static void soliciting(void **unused)
{
	const struct packet *packet;
	uint64_t last, wait = 4000;

	make();
	run_until(5000);
	last = now;
	for (unsigned i = 0; i < 14; i++) {
		run_until(now + 1000);
		while (count_sent(ND_ROUTER_SOLICITATION, &packet) == 0)
			run_until(slaac_client_deadline(client));
		if (i == 0)
			assert_in_range(now - last, 3600, 4600);
		else
			assert_in_range(now - last, wait - wait / 10 - 1, wait + wait / 10 + 1);
		wait = (now - last) * 2 < HOUR ? (now - last) * 2 : HOUR;
		last = now;
	}
	assert_int_equal(wait, HOUR);
	ra_begin(1800, 0);
	ra_send();
	run_until(now + 1799000);
	assert_int_equal(count_sent(ND_ROUTER_SOLICITATION, &packet), 0);
	run_until(now + 2000);
	assert_int_equal(count_sent(ND_ROUTER_SOLICITATION, &packet), 1);
	assert_int_equal(lost, 1);
	/* One that says it is none does not count. */
	run_until(now + 30000);
	ra_begin(0, 0);
	ra_send();
	run_until(now + 60000);
	assert_true(count_sent(ND_ROUTER_SOLICITATION, &packet) >= 1);
}

/* RFC 4862, 5.5.3 and RFC 4291, appendix A. */
static void address(void **unused)
{
	const struct packet *packet = NULL;

	make();
	run_until(6500);
	ra_begin(1800, 0xc0);
	ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
	ra_mtu(1400);
	ra_resolver("2001:db8::53", 600);
	ra_send();
	assert_int_equal(configured, 1); /* a router at least */
	assert_int_equal(state.router_count, 1);
	assert_ip(state.routers[0].ip, "fe80::1");
	assert_memory_equal(state.routers[0].mac.bytes, router_mac.bytes, 6);
	assert_int_equal(state.routers[0].until, now + 1800000);
	assert_int_equal(state.mtu, 1400);
	assert_int_equal(state.hop_limit, 64);
	assert_true(state.managed && state.other);
	assert_int_equal(state.dns.count, 1);
	assert_ip(state.dns.ips[0], "2001:db8::53");
	assert_int_equal(state.prefix_count, 1);
	assert_false(state.prefixes[0].has_address);
	assert_int_equal(state.prefixes[0].on_link_until, now + 86400000);
	run_until(now + 1000); /* the delay; then a second of waiting */
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 1);
	assert_ip(ip_from_v6_bytes(packet->payload + 8), "2001:db8:1:0:5054:ff:feaa:bbcc");
	run_until(now + 1000);
	assert_int_equal(configured, 2);
	assert_true(state.prefixes[0].has_address);
	assert_ip(state.prefixes[0].address, "2001:db8:1:0:5054:ff:feaa:bbcc");
	assert_int_equal(state.prefixes[0].valid_until, 6500 + 86400000);
	assert_int_equal(state.prefixes[0].preferred_until, 6500 + 14400000);
	/* The same again is nothing new, but its times are. */
	now += 100000;
	ra_send();
	run_until(now + 5000);
	assert_int_equal(configured, 2);
	assert_int_equal(slaac_client_state(client)->prefixes[0].valid_until,
			 now - 5000 + 86400000);
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 0);
}

/* RFC 7217: the same on one prefix, another on the next, none of it the MAC. */
static void opaque_identifiers(void **unused)
{
	struct ip first[2];

	settings.has_secret = true;
	memcpy(settings.secret, "0123456789abcdef", 16);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 2)
			settings.secret[0] = 'x';
		make();
		run_until(now + 1500);
		ra_begin(1800, 0);
		ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
		ra_prefix("2001:db8:2::/64", 0xc0, 86400, 14400);
		ra_send();
		run_until(now + 3000);
		assert_true(state.prefixes[0].has_address && state.prefixes[1].has_address);
		assert_memory_not_equal(state.prefixes[0].address.bytes + 8,
					state.prefixes[1].address.bytes + 8, 8);
		assert_memory_not_equal(state.prefixes[0].address.bytes + 8,
					"\x50\x54\x00\xff\xfe\xaa\xbb\xcc", 8);
		if (i == 0) {
			first[0] = state.prefixes[0].address;
			first[1] = state.prefixes[1].address;
		} else {
			assert_int_equal(ip_equal(&state.prefixes[0].address, &first[0]), i == 1);
			assert_int_equal(ip_equal(&state.prefixes[1].address, &first[1]), i == 1);
		}
		slaac_client_destroy(client);
		client = NULL;
	}
}

/* RFC 4862, 5.4: taken addresses are passed over for the next, by an answer or another's probe. */
static void duplicates(void **unused)
{
	static const uint8_t types[] = { ND_NEIGHBOUR_ADVERTISEMENT, ND_NEIGHBOUR_SOLICITATION };
	const struct packet *packet = NULL;
	struct ip seen[5];

	make();
	run_until(6500);
	ra_begin(1800, 0);
	ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
	ra_send();
	for (unsigned i = 0; i < 4; i++) {
		run_until(now + 1000);
		assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 1);
		seen[i] = ip_from_v6_bytes(packet->payload + 8);
		for (unsigned j = 0; j < i; j++)
			assert_false(ip_equal(&seen[i], &seen[j]));
		neighbour(types[i % 2], seen[i], i % 2 == 0 ? "fe80::2" : "::");
	}
	assert_int_equal(slaac_client_counters(client)->duplicates, 4);
	run_until(now + 59000);
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 0);
	assert_false(slaac_client_state(client)->prefixes[0].has_address);
	/* After a minute from the first again, which is free now. */
	run_until(now + 3000);
	assert_true(slaac_client_state(client)->prefixes[0].has_address);
	assert_true(ip_equal(&slaac_client_state(client)->prefixes[0].address, &seen[0]));
}

/* What does not speak against an address: our own probe come back (RFC 7527), somebody who asks for
 * it, other targets. */
static void no_duplicates(void **unused)
{
	const struct packet *packet = NULL;
	struct ip target;
	uint8_t message[32];

	make();
	run_until(6500);
	ra_begin(1800, 0);
	ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
	ra_send();
	run_until(now + 1000);
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 1);
	target = ip_from_v6_bytes(packet->payload + 8);
	memcpy(message, packet->payload, 32);
	deliver("::", "ff02::1:ffaa:bbcc", 255, message, 32);
	neighbour(ND_NEIGHBOUR_SOLICITATION, target, "fe80::2");
	target.bytes[15] ^= 1;
	neighbour(ND_NEIGHBOUR_ADVERTISEMENT, target, "fe80::2");
	run_until(now + 1000);
	assert_true(state.prefixes[0].has_address);
	assert_int_equal(slaac_client_counters(client)->duplicates, 0);
	/* The same probe with another's nonce while ours is out. */
	slaac_client_restart(client, now);
	run_until(now);
	message[28] ^= 1;
	deliver("::", "ff02::1:ffaa:bbcc", 255, message, 32);
	assert_int_equal(slaac_client_counters(client)->duplicates, 1);
}

/* RFC 4862, 5.4.5: a link-local address that is taken leaves nothing; it is tried again. */
static void duplicate_link_local(void **unused)
{
	const struct packet *packet;

	connect_router();
	slaac_client_restart(client, now);
	run_until(now);
	assert_true(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet) == 2);
	now += 100;
	neighbour(ND_NEIGHBOUR_ADVERTISEMENT, wire_address(own_link_local), own_link_local);
	run_until(now + 1000);
	assert_int_equal(lost, 1);
	assert_int_equal(slaac_client_state(client)->prefix_count, 0);
	ra_send();
	run_until(now + 50000);
	assert_int_equal(wire.count, 0);
	assert_int_equal(slaac_client_state(client)->prefix_count, 0);
	run_until(now + 10000);
	assert_true(count_sent(ND_ROUTER_SOLICITATION, &packet) > 0);
	ra_send();
	run_until(now + 3000);
	assert_true(state.prefixes[0].has_address);
}

/* RFC 4861, 6.1.2 and 7.1. */
static void malformed(void **unused)
{
	const struct slaac_client_counters *counters;
	uint8_t message[24] = { ND_NEIGHBOUR_ADVERTISEMENT, [8] = 0xff };

	make();
	run_until(6500);
	counters = slaac_client_counters(client);
	ra_begin(1800, 0);
	ra_send_from("2001:db8::1");
	deliver("fe80::1", "ff02::1", 254, ra, ra_length);
	deliver("fe80::1", "ff02::1", 255, ra, 15);
	ra[1] = 1;
	ra_send();
	ra_begin(1800, 0);
	ra[16] = 5;
	ra_length = 24; /* an option of length 0 */
	ra_send();
	ra[17] = 2; /* and one beyond the end */
	ra_send();
	assert_int_equal(counters->malformed, 6);
	deliver("fe80::1", "ff02::1", 255, message, 24);
	deliver("fe80::1", "ff02::1", 255, message, 23);
	message[8] = 0xfe;
	deliver("fe80::1", "ff02::1", 254, message, 24);
	assert_int_equal(counters->malformed, 9);
	assert_int_equal(counters->advertised, 0);
	assert_int_equal(slaac_client_state(client)->router_count, 0);
	slaac_client_destroy(NULL);
}

/* The link comes back: all is asked and shown again, and stays in use meanwhile. */
static void link_returns(void **unused)
{
	const struct packet *packet;
	unsigned before;

	connect_router();
	before = configured;
	now += 10000;
	slaac_client_restart(client, now);
	run_until(now + 1500);
	assert_int_equal(count_sent(ND_NEIGHBOUR_SOLICITATION, &packet), 2);
	assert_int_equal(count_sent(ND_ROUTER_SOLICITATION, &packet), 1);
	assert_true(slaac_client_state(client)->prefixes[0].has_address);
	assert_int_equal(configured, before);
	assert_int_equal(lost, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(first_messages),	    TEST(soliciting), TEST(address),
		TEST(opaque_identifiers),   TEST(duplicates), TEST(no_duplicates),
		TEST(duplicate_link_local), TEST(malformed),  TEST(link_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
