/* Router advertisements: what stands in them and when they come, by section of RFC 4861 (6.1.1,
 * 6.2), RFC 4862 and RFC 8106. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "route/advertise.h"
#include "route/nd_option.h"
#include "tests/unit/route_wire.h"

#include <stdio.h>

static const struct mac own = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } };
static const struct mac guest = { { 0x52, 0x54, 0, 0, 0, 1 } };

static struct wire wire;
static struct advertise_config config;
static struct ip_prefix prefixes[3];
static struct advertise_settings settings;

static int set_up(void **state)
{
	wire_clear(&wire);
	prefixes[0] = wire_prefix("fd00:122::1/64");
	config = (struct advertise_config){ .enabled = true,
					    .interval = 600,
					    .router_lifetime = 1800,
					    .preferred_lifetime = 14400,
					    .valid_lifetime = 86400 };
	settings = (struct advertise_settings){ .config = &config,
						.dhcp6 = DHCP6_STATELESS,
						.mac = own,
						.mtu = 1500,
						.prefix_count = 1,
						.prefixes = prefixes,
						.serves_dns = true,
						.seed = 7 };
	return 0;
}

static struct advertise *make(void)
{
	struct route_output output = wire_output(&wire);
	struct advertise *advertise = advertise_create(&settings, &output, 1000);

	assert_non_null(advertise);
	return advertise;
}

/* The last advertisement, checked for what all have in common. */
static const struct packet *last(void)
{
	const struct packet *packet = wire_last(&wire);
	struct ip source = ip_link_local_of(own.bytes);

	assert_non_null(packet);
	assert_true(nd_is(packet, ND_ROUTER_ADVERTISEMENT));
	assert_true(nd_valid(packet, ND_ADVERTISEMENT_LENGTH));
	assert_true(ip_equal(&packet->source, &source));
	assert_memory_equal(packet->from.bytes, own.bytes, 6);
	return packet;
}

static const uint8_t *option(const struct packet *packet, uint8_t type)
{
	return nd_option_find(packet->payload + ND_ADVERTISEMENT_LENGTH,
			      packet->payload_length - ND_ADVERTISEMENT_LENGTH, type);
}

static const struct packet *solicitation(const char *source, uint8_t hop_limit,
					 const uint8_t *message, size_t length)
{
	struct packet_header header = { .from = guest,
					.to = { { 0x33, 0x33, 0, 0, 0, 2 } },
					.source = wire_address(source),
					.destination = wire_address("ff02::2"),
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = hop_limit };

	return wire_ip(&wire, &header, message, length);
}

static void solicit(struct advertise *advertise, const char *source, uint64_t now)
{
	static const uint8_t message[8] = { ND_ROUTER_SOLICITATION };

	advertise_input(advertise, solicitation(source, 255, message, 8), now);
}

/* RFC 4861, 4.2 and 4.6; RFC 8106, 5.1. */
static void content(void **state)
{
	struct advertise *advertise = make();
	const struct packet *packet;
	const uint8_t *p;
	struct ip ip;

	advertise_tick(advertise, 1000);
	packet = last();
	ip = wire_address("ff02::1");
	assert_true(ip_equal(&packet->destination, &ip));
	assert_memory_equal(packet->to.bytes, "\x33\x33\0\0\0\1", 6);
	assert_int_equal(packet->payload[4], 64);
	assert_int_equal(packet->payload[5], 0x40);
	assert_int_equal(read_be16(packet->payload + 6), 1800);
	assert_int_equal(read_be32(packet->payload + 8), 0);
	p = option(packet, ND_OPTION_SOURCE_LINK);
	assert_memory_equal(p + 2, own.bytes, 6);
	assert_int_equal(read_be32(option(packet, ND_OPTION_MTU) + 4), 1500);
	p = option(packet, ND_OPTION_PREFIX);
	assert_int_equal(p[1], 4);
	assert_int_equal(p[2], 64);
	assert_int_equal(p[3], 0xc0);
	assert_int_equal(read_be32(p + 4), 86400);
	assert_int_equal(read_be32(p + 8), 14400);
	ip = wire_address("fd00:122::");
	assert_memory_equal(p + 16, ip.bytes, 16);
	p = option(packet, ND_OPTION_RDNSS);
	assert_int_equal(p[1], 3);
	assert_int_equal(read_be32(p + 4), 1800);
	assert_memory_equal(p + 8, prefixes[0].ip.bytes, 16);
	assert_null(option(packet, ND_OPTION_DNSSL));
	advertise_destroy(advertise);
}

/* RFC 4861, 4.2: M and O; RFC 4862, 5.5.3: what is not a /64, or leased, is not autonomous. */
static void flags(void **state)
{
	static const struct {
		enum dhcp6_mode mode;
		const char *prefix;
		uint8_t flags, prefix_flags;
	} cases[] = {
		{ DHCP6_OFF, "fd00::1/64", 0, 0xc0 },
		{ DHCP6_STATELESS, "fd00::1/64", 0x40, 0xc0 },
		{ DHCP6_STATEFUL, "fd00::1/64", 0xc0, 0x80 },
		{ DHCP6_OFF, "fd00::1/80", 0, 0x80 },
		{ DHCP6_STATELESS, "fd00::1/56", 0x40, 0x80 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct advertise *advertise;

		settings.dhcp6 = cases[i].mode;
		prefixes[0] = wire_prefix(cases[i].prefix);
		advertise = make();
		advertise_tick(advertise, 1000);
		assert_int_equal(last()->payload[5], cases[i].flags);
		assert_int_equal(option(last(), ND_OPTION_PREFIX)[2], prefixes[0].length);
		assert_int_equal(option(last(), ND_OPTION_PREFIX)[3], cases[i].prefix_flags);
		advertise_destroy(advertise);
	}
}

/* Prefixes: all IPv6 ones but link-local; a preferred lifetime never beyond the valid one. */
static void prefixes_of_leg(void **state)
{
	struct advertise *advertise;
	const uint8_t *p;

	prefixes[0] = wire_prefix("10.0.0.1/24");
	prefixes[1] = wire_prefix("fe80::1/64");
	prefixes[2] = wire_prefix("fd00:5::1/64");
	settings.prefix_count = 3;
	config.preferred_lifetime = UINT32_MAX;
	advertise = make();
	advertise_tick(advertise, 1000);
	p = option(last(), ND_OPTION_PREFIX);
	assert_memory_equal(p + 16, "\xfd\0\0\5", 4);
	assert_int_equal(read_be32(p + 8), 86400);
	p += 32;
	assert_int_not_equal(p[0], ND_OPTION_PREFIX);
	advertise_destroy(advertise);
}

/* RFC 8106, 5.1 and 5.2: resolvers of our own choice, and names to search. */
static void names(void **state)
{
	static const char expected[] = "\3lab\10internal\0\1b\0";
	static char search[3][DHCP_DOMAIN_MAX + 1] = { "lab.internal", "bad..name", "b" };
	struct advertise *advertise;
	const uint8_t *p;

	config.dns = (struct ip_list){
		3, { wire_address("fd00::53"), wire_address("10.0.0.1"), wire_address("fd00::54") }
	};
	config.search = search;
	config.search_count = 3;
	config.interval = 30;
	advertise = make();
	advertise_tick(advertise, 1000);
	p = option(last(), ND_OPTION_RDNSS);
	assert_int_equal(p[1], 5);
	assert_int_equal(read_be32(p + 4), 90);
	assert_int_equal(p[8 + 15], 0x53);
	assert_int_equal(p[24 + 15], 0x54);
	p = option(last(), ND_OPTION_DNSSL);
	assert_int_equal(p[1], 4);
	assert_int_equal(read_be32(p + 4), 90);
	assert_memory_equal(p + 8, expected, sizeof(expected));
	advertise_destroy(advertise);
}

/* More names than fit: the message stays within the least MTU, what is there is whole. */
static void many_names(void **state)
{
	static char search[40][DHCP_DOMAIN_MAX + 1];
	struct advertise *advertise;

	for (unsigned i = 0; i < 40; i++)
		memset(search[i], 'a', 60);
	config.search = search;
	config.search_count = 40;
	advertise = make();
	advertise_tick(advertise, 1000);
	assert_true(last()->network_length <= 1280);
	assert_true(option(last(), ND_OPTION_DNSSL)[1] > 60);
	advertise_destroy(advertise);
}

/* Without a resolver of any kind there is no option; without a prefix ours is link-local. */
static void resolver_of_gateway(void **state)
{
	struct ip link_local = ip_link_local_of(own.bytes);
	struct advertise *advertise;

	settings.prefix_count = 0;
	advertise = make();
	advertise_tick(advertise, 1000);
	assert_memory_equal(option(last(), ND_OPTION_RDNSS) + 8, link_local.bytes, 16);
	advertise_destroy(advertise);
	settings.serves_dns = false;
	advertise = make();
	advertise_tick(advertise, 1000);
	assert_null(option(last(), ND_OPTION_RDNSS));
	advertise_destroy(advertise);
}

/* RFC 4861, 6.2.4: three close together, then at random within the interval. */
static void unsolicited(void **state)
{
	struct advertise *advertise = make();
	uint64_t now = 1000, least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < 50; i++) {
		uint64_t next;

		assert_int_equal(advertise_deadline(advertise), now);
		advertise_tick(advertise, now);
		assert_int_equal(wire.count, 1);
		wire_clear(&wire);
		advertise_tick(advertise, now);
		assert_int_equal(wire.count, 0);
		next = advertise_deadline(advertise);
		if (i < 3)
			assert_int_equal(next - now, 16000);
		else
			assert_in_range(next - now, 200000, 600000);
		if (i >= 3 && next - now < least)
			least = next - now;
		if (i >= 3 && next - now > most)
			most = next - now;
		now = next;
	}
	assert_true(most - least > 100000);
	assert_int_equal(advertise_counters(advertise)->multicasts, 50);
	advertise_destroy(advertise);
}

/* RFC 4861, 6.2.1: the least interval there is. */
static void shortest_interval(void **state)
{
	struct advertise *advertise;

	config.interval = 0;
	advertise = make();
	for (unsigned i = 0; i < 20; i++) {
		uint64_t now = advertise_deadline(advertise);

		advertise_tick(advertise, now);
		assert_in_range(advertise_deadline(advertise) - now, 3000, 4000);
	}
	advertise_destroy(advertise);
}

/* RFC 4861, 6.2.6: within half a second, to the asker, once however often he asked. */
static void solicited_by_unicast(void **state)
{
	struct advertise *advertise = make();
	struct ip asker = wire_address("fe80::9");

	advertise_tick(advertise, 1000);
	wire_clear(&wire);
	solicit(advertise, "fe80::9", 2000);
	solicit(advertise, "fe80::9", 2001);
	assert_int_equal(wire.count, 0);
	assert_in_range(advertise_deadline(advertise), 2000, 2500);
	advertise_tick(advertise, 2500);
	assert_int_equal(wire.count, 1);
	assert_true(ip_equal(&last()->destination, &asker));
	assert_memory_equal(last()->to.bytes, guest.bytes, 6);
	assert_int_equal(advertise_deadline(advertise), 17000);
	solicit(advertise, "fe80::9", 3000);
	advertise_tick(advertise, 3500);
	assert_int_equal(wire.count, 2);
	assert_int_equal(advertise_counters(advertise)->solicited, 3);
	assert_int_equal(advertise_counters(advertise)->unicasts, 2);
	advertise_destroy(advertise);
}

/* Who was told goodbye and does not ask. */
static void greeted(void **state)
{
	struct advertise *advertise = make();

	advertise_tick(advertise, 1000);
	advertise_greet(advertise, 1500);
	advertise_greet(advertise, 1600);
	assert_in_range(advertise_deadline(advertise), 4000, 4500);
	advertise_tick(advertise, 4500);
	assert_int_equal(advertise_counters(advertise)->multicasts, 2);
	advertise_greet(advertise, 9000);
	assert_in_range(advertise_deadline(advertise), 9000, 9500);
	advertise_end(advertise);
	advertise_greet(advertise, 20000);
	assert_true(advertise_deadline(advertise) == UINT64_MAX);
	advertise_destroy(advertise);
}

/* The same for askers without an address: to all nodes, three seconds apart. */
static void solicited_by_multicast(void **state)
{
	struct advertise *advertise = make();
	uint64_t now = 1000, sent = 0, last_sent = 0;

	advertise_tick(advertise, now);
	last_sent = now;
	for (; now < 61000; now += 10) {
		wire_clear(&wire);
		solicit(advertise, "::", now);
		if (advertise_deadline(advertise) > now)
			continue;
		advertise_tick(advertise, now);
		assert_int_equal(wire.count, 1);
		assert_true(ip_is_multicast(&last()->destination));
		assert_true(now - last_sent >= 3000 && now - last_sent <= 3520);
		last_sent = now;
		sent++;
	}
	assert_in_range(sent, 17, 20);
	advertise_destroy(advertise);
}

/* A flood of askers: no more than the table is remembered, one message to all serves the rest. */
static void flood(void **state)
{
	struct advertise *advertise = make();

	advertise_tick(advertise, 1000);
	wire_clear(&wire);
	for (unsigned i = 0; i < 5000; i++) {
		char text[32];

		snprintf(text, sizeof(text), "fe80::%x", i + 1);
		solicit(advertise, text, 10000);
	}
	advertise_tick(advertise, 10500);
	assert_int_equal(wire.count, ADVERTISE_PENDING + 1);
	assert_int_equal(advertise_counters(advertise)->unicasts, ADVERTISE_PENDING);
	assert_int_equal(advertise_counters(advertise)->multicasts, 2);
	advertise_destroy(advertise);
}

/* RFC 4861, 6.1.1. */
static void bad_solicitations(void **state)
{
	static const struct {
		const char *source;
		uint8_t hop_limit;
		uint8_t length;
		uint8_t message[24];
	} cases[] = {
		{ "fe80::9", 254, 8, { 133 } },
		{ "fe80::9", 255, 7, { 133 } },
		{ "fe80::9", 255, 8, { 133, 1 } },
		{ "fe80::9", 255, 16, { 133, [8] = 1, [9] = 0 } },
		{ "fe80::9", 255, 16, { 133, [8] = 1, [9] = 2 } },
		{ "fe80::9", 255, 9, { 133, [8] = 1 } },
		{ "::", 255, 16, { 133, [8] = 1, [9] = 1 } },
		{ "ff02::5", 255, 8, { 133 } },
		{ "::1", 255, 8, { 133 } },
	};
	struct advertise *advertise = make();
	const struct packet *packet;

	advertise_tick(advertise, 1000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		packet = solicitation(cases[i].source, cases[i].hop_limit, cases[i].message,
				      cases[i].length);
		advertise_input(advertise, packet, 2000);
		assert_int_equal(advertise_counters(advertise)->malformed, i + 1);
	}
	packet = solicitation("fe80::9", 255, cases[0].message, 8);
	wire.in[14 + 40 + 2] ^= 1; /* checksum */
	advertise_input(advertise, packet, 2000);
	assert_int_equal(advertise_counters(advertise)->malformed,
			 sizeof(cases) / sizeof(cases[0]) + 1);
	assert_int_equal(advertise_counters(advertise)->solicited, 0);
	assert_int_equal(advertise_deadline(advertise), 17000);
	advertise_destroy(advertise);
}

/* RFC 4861, 6.2.5: nobody's router any more, but the prefix is still on the link. */
static void end(void **state)
{
	struct advertise *advertise = make();

	advertise_tick(advertise, 1000);
	wire_clear(&wire);
	advertise_end(advertise);
	assert_int_equal(wire.count, 1);
	assert_int_equal(read_be16(last()->payload + 6), 0);
	assert_int_equal(read_be32(option(last(), ND_OPTION_PREFIX) + 4), 86400);
	assert_int_equal(read_be32(option(last(), ND_OPTION_RDNSS) + 4), 0);
	assert_true(advertise_deadline(advertise) == UINT64_MAX);
	advertise_end(advertise);
	solicit(advertise, "fe80::9", 2000);
	advertise_tick(advertise, 1000000);
	assert_int_equal(wire.count, 1);
	advertise_destroy(advertise);
	advertise_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(content, set_up),
		cmocka_unit_test_setup(flags, set_up),
		cmocka_unit_test_setup(prefixes_of_leg, set_up),
		cmocka_unit_test_setup(names, set_up),
		cmocka_unit_test_setup(many_names, set_up),
		cmocka_unit_test_setup(resolver_of_gateway, set_up),
		cmocka_unit_test_setup(unsolicited, set_up),
		cmocka_unit_test_setup(shortest_interval, set_up),
		cmocka_unit_test_setup(solicited_by_unicast, set_up),
		cmocka_unit_test_setup(solicited_by_multicast, set_up),
		cmocka_unit_test_setup(greeted, set_up),
		cmocka_unit_test_setup(flood, set_up),
		cmocka_unit_test_setup(bad_solicitations, set_up),
		cmocka_unit_test_setup(end, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
