/* The host side of IPv6 on an uplink: soliciting (RFC 4861, 6.3.7; RFC 7559), what is learnt of
 * advertisements (RFC 4861, 6.3.4; RFC 4191; RFC 8106), addresses and their proof (RFC 4862, 5.4
 * and 5.5; RFC 7217). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "route/nd_option.h"
#include "route/slaac_client.h"
#include "tests/unit/route_wire.h"

#include <stdio.h>

#define HOUR 3600000ull

static const struct mac own = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } };
static const struct mac router_mac = { { 0x52, 0x54, 0, 0, 0, 0xfe } };
static const char own_link_local[] = "fe80::5054:ff:feaa:bbcc";

static struct wire wire;
static struct slaac_client_settings settings;
static struct slaac_client *client;
static unsigned configured, lost;
static struct slaac_state state;
static uint64_t now;
static uint8_t ra[512]; /* being written */
static size_t ra_length;

static void on_configured(void *context, const struct slaac_state *given)
{
	configured++;
	state = *given;
}

static void on_lost(void *context)
{
	lost++;
}

static void make(void)
{
	const struct slaac_client_events events = { on_configured, on_lost, NULL };
	struct route_output output = wire_output(&wire);

	client = slaac_client_create(&settings, &output, &events, now);
	assert_non_null(client);
}

static int set_up(void **unused)
{
	wire_clear(&wire);
	configured = lost = 0;
	now = 5000;
	settings = (struct slaac_client_settings){ .mac = own, .mtu = 1500, .seed = 3 };
	return 0;
}

static int tear_down(void **unused)
{
	slaac_client_destroy(client);
	client = NULL;
	return 0;
}

static void assert_ip(struct ip ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(&ip, text), expected);
}

/* Up to the moment, tick by tick, keeping what is sent. */
static void run_until(uint64_t end)
{
	wire_clear(&wire);
	while (slaac_client_deadline(client) <= end) {
		if (slaac_client_deadline(client) > now)
			now = slaac_client_deadline(client);
		slaac_client_tick(client, now);
	}
	now = end;
}

/* Packets of a type among what was sent. */
static unsigned count_sent(uint8_t type, const struct packet **last)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < wire.count; i++) {
		assert_int_equal(wire.packets[i].hop_limit, 255);
		if (!nd_is(&wire.packets[i], type))
			continue;
		count++;
		*last = &wire.packets[i];
	}
	return count;
}

static void ra_begin(uint16_t lifetime, uint8_t flags)
{
	memset(ra, 0, sizeof(ra));
	ra[0] = ND_ROUTER_ADVERTISEMENT;
	ra[4] = 64;
	ra[5] = flags;
	write_be16(ra + 6, lifetime);
	ra_length = 16;
}

static void ra_prefix(const char *text, uint8_t flags, uint32_t valid, uint32_t preferred)
{
	struct ip_prefix prefix = wire_prefix(text);
	uint8_t *p = ra + ra_length;

	p[0] = ND_OPTION_PREFIX;
	p[1] = 4;
	p[2] = prefix.length;
	p[3] = flags;
	write_be32(p + 4, valid);
	write_be32(p + 8, preferred);
	memcpy(p + 16, prefix.ip.bytes, 16);
	ra_length += 32;
}

static void ra_mtu(uint32_t mtu)
{
	uint8_t *p = ra + ra_length;

	p[0] = ND_OPTION_MTU;
	p[1] = 1;
	write_be32(p + 4, mtu);
	ra_length += 8;
}

static void ra_resolver(const char *text, uint32_t lifetime)
{
	struct ip ip = wire_address(text);
	uint8_t *p = ra + ra_length;

	p[0] = ND_OPTION_RDNSS;
	p[1] = 3;
	write_be32(p + 4, lifetime);
	memcpy(p + 8, ip.bytes, 16);
	ra_length += 24;
}

static void deliver(const char *source, const char *destination, uint8_t hop_limit,
		    const uint8_t *message, size_t length)
{
	struct packet_header header = { .from = router_mac,
					.to = { { 0x33, 0x33, 0, 0, 0, 1 } },
					.source = wire_address(source),
					.destination = wire_address(destination),
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = hop_limit };

	slaac_client_input(client, wire_ip(&wire, &header, message, length), now);
}

static void ra_send_from(const char *source)
{
	deliver(source, "ff02::1", 255, ra, ra_length);
}

static void ra_send(void)
{
	ra_send_from("fe80::1");
}

/* Somebody answers for the address, or probes it too. */
static void neighbour(uint8_t type, struct ip target, const char *source)
{
	uint8_t message[24] = { type };

	memcpy(message + 8, target.bytes, 16);
	deliver(source, "ff02::1", 255, message, sizeof(message));
}

/* With one router and one prefix. */
static void connect_router(void)
{
	make();
	run_until(now + 1500);
	ra_begin(1800, 0);
	ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
	ra_send();
	run_until(now + 3000);
	assert_true(state.prefixes[0].has_address);
}

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

/* RFC 4862, 5.5.3, e: nobody ends an address within two hours. */
static void two_hours(void **unused)
{
	static const struct {
		uint32_t valid;	   /* advertised, seconds */
		uint64_t expected; /* ms from then on */
	} cases[] = {
		{ 10000, 10000000 },	  /* above two hours */
		{ 60, 2 * HOUR },	  /* cut to two hours */
		{ 60, 2 * HOUR - 10000 }, /* and not below */
		{ 0, 2 * HOUR - 20000 },  /* nor ended */
		{ 7195, 7195000 },	  /* but made longer */
		{ UINT32_MAX, UINT64_MAX }, { 1, 2 * HOUR },
	};

	connect_router();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct slaac_prefix *prefix = &slaac_client_state(client)->prefixes[0];

		now += 10000;
		ra_begin(1800, 0);
		ra_prefix("2001:db8:1::/64", 0xc0, cases[i].valid, 0);
		ra_send();
		assert_true(prefix->has_address);
		assert_true(
		    prefix->valid_until ==
		    (cases[i].expected == UINT64_MAX ? UINT64_MAX : now + cases[i].expected));
		assert_true(prefix->deprecated);
	}
}

/* Deprecated, gone, and told of each. */
static void lifetimes(void **unused)
{
	make();
	run_until(6500);
	ra_begin(9000, 0);
	ra_prefix("2001:db8:1::/64", 0x40, 100, 50);
	ra_send();
	run_until(6500 + 49999);
	assert_int_equal(configured, 2);
	assert_false(state.prefixes[0].deprecated);
	assert_int_equal(state.prefixes[0].on_link_until, 0);
	run_until(6500 + 50000);
	assert_int_equal(configured, 3);
	assert_true(state.prefixes[0].has_address && state.prefixes[0].deprecated);
	run_until(6500 + 100000);
	assert_int_equal(configured, 4);
	assert_int_equal(state.prefix_count, 0);
	assert_int_equal(state.router_count, 1);
	run_until(6500 + 9000000);
	assert_int_equal(lost, 1);
	assert_int_equal(configured, 4);
}

/* Prefixes that give no address, or are none (RFC 4862, 5.5.3, a to d; RFC 4861, 6.3.4). */
static void prefixes(void **unused)
{
	make();
	run_until(6500);
	ra_begin(1800, 0);
	ra_prefix("fe80::/64", 0xc0, 86400, 14400);
	ra_prefix("ff02::/64", 0xc0, 86400, 14400);
	ra_prefix("2001:db8:1::/64", 0x40, 100, 200); /* preferred longer than valid */
	ra_prefix("2001:db8:2::/64", 0xc0, 0, 0);
	ra_prefix("2001:db8:3::/64", 0x00, 100, 100);
	ra_prefix("2001:db8:4::/56", 0xc0, 100, 100); /* on the link only */
	ra_prefix("2001:db8:5::/64", 0x80, UINT32_MAX, UINT32_MAX);
	ra_send();
	run_until(now + 3000);
	assert_int_equal(state.prefix_count, 2);
	assert_ip(state.prefixes[0].prefix.ip, "2001:db8:4::");
	assert_int_equal(state.prefixes[0].prefix.length, 56);
	assert_false(state.prefixes[0].has_address);
	assert_ip(state.prefixes[1].prefix.ip, "2001:db8:5::");
	assert_true(state.prefixes[1].on_link_until == UINT64_MAX);
	assert_false(state.prefixes[1].has_address);
	/* Taken off the link. */
	ra_begin(1800, 0);
	ra_prefix("2001:db8:5::/64", 0x80, 0, 0);
	ra_send();
	assert_int_equal(slaac_client_state(client)->prefix_count, 1);
}

/* RFC 4191: the best first, those that are as good in the order they came; the end of one. */
static void routers(void **unused)
{
	static const struct {
		const char *ip;
		uint8_t flags;
	} rows[] = { { "fe80::1", 0x18 /* low */ },
		     { "fe80::2", 0x00 },
		     { "fe80::3", 0x10 /* reserved: medium */ },
		     { "fe80::4", 0x08 /* high */ } };
	static const char *const order[] = { "fe80::4", "fe80::2", "fe80::3", "fe80::1" };

	make();
	run_until(6500);
	for (unsigned i = 0; i < 4; i++) {
		ra_begin(1800, rows[i].flags);
		ra_send_from(rows[i].ip);
	}
	run_until(now + 2000);
	assert_int_equal(state.router_count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_ip(state.routers[i].ip, order[i]);
	/* A fifth pushes out the worst, if it is better. */
	ra_begin(1800, 0x18);
	ra_send_from("fe80::5");
	assert_int_equal(slaac_client_counters(client)->ignored, 1);
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::1");
	ra_begin(1800, 0x08);
	ra_send_from("fe80::6");
	assert_ip(slaac_client_state(client)->routers[1].ip, "fe80::6");
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::3");
	/* One changes its mind; one resigns. */
	ra_begin(1800, 0x18);
	ra_send_from("fe80::4");
	assert_ip(slaac_client_state(client)->routers[0].ip, "fe80::6");
	assert_ip(slaac_client_state(client)->routers[3].ip, "fe80::4");
	ra_begin(0, 0x08);
	ra_send_from("fe80::6");
	assert_int_equal(slaac_client_state(client)->router_count, 3);
	assert_ip(slaac_client_state(client)->routers[0].ip, "fe80::2");
}

/* RFC 8106, 5.3.1; MTUs that cannot be (RFC 4861, 6.3.4). */
static void resolvers_and_mtu(void **unused)
{
	connect_router();
	ra_begin(1800, 0);
	ra_resolver("2001:db8::53", 600);
	ra_resolver("fe80::53", 20);
	ra_resolver("ff02::53", 600);
	ra_mtu(1279);
	ra_mtu(1501);
	ra_send();
	assert_int_equal(slaac_client_state(client)->dns.count, 2);
	assert_int_equal(slaac_client_state(client)->mtu, 0);
	ra_mtu(1280);
	ra_send();
	assert_int_equal(slaac_client_state(client)->mtu, 1280);
	run_until(now + 20000);
	assert_int_equal(state.dns.count, 1);
	assert_ip(state.dns.ips[0], "2001:db8::53");
	ra_begin(1800, 0);
	ra_resolver("2001:db8::53", 0);
	ra_send();
	assert_int_equal(slaac_client_state(client)->dns.count, 0);
}

/* More of everything than the tables hold: bounded, counted, and told once a second. */
static void flood(void **unused)
{
	unsigned before;

	connect_router();
	before = configured;
	for (unsigned i = 0; i < 2000; i++) {
		char text[64];

		ra_begin((uint16_t)(1 + i), (uint8_t)(i % 4 << 3));
		snprintf(text, sizeof(text), "2001:db8:%x::/64", 16 + i);
		ra_prefix(text, 0xc0, 86400, 14400);
		snprintf(text, sizeof(text), "2001:db8::%x", 16 + i);
		ra_resolver(text, 600);
		snprintf(text, sizeof(text), "fe80::%x", 16 + i);
		ra_send_from(text);
		now++;
	}
	assert_in_range(configured - before, 1, 3);
	assert_int_equal(slaac_client_state(client)->prefix_count, SLAAC_PREFIXES_MAX);
	assert_int_equal(slaac_client_state(client)->router_count, SLAAC_ROUTERS_MAX);
	assert_int_equal(slaac_client_state(client)->dns.count, DHCP_LIST_MAX);
	assert_true(slaac_client_counters(client)->ignored > 5000);
	run_until(now + 1000);
	assert_in_range(configured - before, 2, 5);
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
		TEST(first_messages),
		TEST(soliciting),
		TEST(address),
		TEST(opaque_identifiers),
		TEST(duplicates),
		TEST(no_duplicates),
		TEST(duplicate_link_local),
		TEST(two_hours),
		TEST(lifetimes),
		TEST(prefixes),
		TEST(routers),
		TEST(resolvers_and_mtu),
		TEST(flood),
		TEST(malformed),
		TEST(link_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
