/* The host side of IPv6 with its wire, and a router whose advertisements tests write by hand. */
#ifndef WEFT_TESTS_SLAAC_CLIENT_RIG_H
#define WEFT_TESTS_SLAAC_CLIENT_RIG_H

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

static inline void on_configured(void *context, const struct slaac_state *given)
{
	configured++;
	state = *given;
}

static inline void on_lost(void *context)
{
	lost++;
}

static inline void make(void)
{
	const struct slaac_client_events events = { on_configured, on_lost, NULL };
	struct route_output output = wire_output(&wire);

	client = slaac_client_create(&settings, &output, &events, now);
	assert_non_null(client);
}

static inline int set_up(void **unused)
{
	wire_clear(&wire);
	configured = lost = 0;
	now = 5000;
	settings = (struct slaac_client_settings){ .mac = own, .mtu = 1500, .seed = 3 };
	return 0;
}

static inline int tear_down(void **unused)
{
	slaac_client_destroy(client);
	client = NULL;
	return 0;
}

static inline void assert_ip(struct ip ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(&ip, text), expected);
}

/* Up to the moment, tick by tick, keeping what is sent. */
static inline void run_until(uint64_t end)
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
static inline unsigned count_sent(uint8_t type, const struct packet **last)
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

static inline void ra_begin(uint16_t lifetime, uint8_t flags)
{
	memset(ra, 0, sizeof(ra));
	ra[0] = ND_ROUTER_ADVERTISEMENT;
	ra[4] = 64;
	ra[5] = flags;
	write_be16(ra + 6, lifetime);
	ra_length = 16;
}

static inline void ra_prefix(const char *text, uint8_t flags, uint32_t valid, uint32_t preferred)
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

static inline void ra_mtu(uint32_t mtu)
{
	uint8_t *p = ra + ra_length;

	p[0] = ND_OPTION_MTU;
	p[1] = 1;
	write_be32(p + 4, mtu);
	ra_length += 8;
}

static inline void ra_resolver(const char *text, uint32_t lifetime)
{
	struct ip ip = wire_address(text);
	uint8_t *p = ra + ra_length;

	p[0] = ND_OPTION_RDNSS;
	p[1] = 3;
	write_be32(p + 4, lifetime);
	memcpy(p + 8, ip.bytes, 16);
	ra_length += 24;
}

static inline void deliver(const char *source, const char *destination, uint8_t hop_limit,
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

static inline void ra_send_from(const char *source)
{
	deliver(source, "ff02::1", 255, ra, ra_length);
}

static inline void ra_send(void)
{
	ra_send_from("fe80::1");
}

/* Somebody answers for the address, or probes it too. */
static inline void neighbour(uint8_t type, struct ip target, const char *source)
{
	uint8_t message[24] = { type };

	memcpy(message + 8, target.bytes, 16);
	deliver(source, "ff02::1", 255, message, sizeof(message));
}

/* With one router and one prefix. */
static inline void connect_router(void)
{
	make();
	run_until(now + 1500);
	ra_begin(1800, 0);
	ra_prefix("2001:db8:1::/64", 0xc0, 86400, 14400);
	ra_send();
	run_until(now + 3000);
	assert_true(state.prefixes[0].has_address);
}

#endif
