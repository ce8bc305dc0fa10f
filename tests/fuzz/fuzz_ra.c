/* Fuzzes neighbour discovery as advertiser and uplink see it: solicitations for the one,
 * advertisements and neighbour messages for the other.
 *
 * Input: any number of records, each a byte for the source (bits 0 to 1: ::, link-local ones, a
 * global one), one for how much time passes before, one of length, and the ICMPv6 message, whose
 * checksum is made right. After each one: what is sent is whole, tables hold what they may, each
 * address is of its prefix, deadlines come to an end. */
#include "base/parse.h"
#include "route/advertise.h"
#include "route/nd_option.h"
#include "route/slaac_client.h"
#include "tests/unit/route_wire.h"

#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)
#define TICKS_MAX 200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire wire;

static void check_state(const struct slaac_state *state)
{
	CHECK(state->prefix_count <= SLAAC_PREFIXES_MAX);
	CHECK(state->router_count <= SLAAC_ROUTERS_MAX);
	CHECK(state->dns.count <= DHCP_LIST_MAX);
	CHECK(state->mtu == 0 || (state->mtu >= 1280 && state->mtu <= 1500));
	for (uint32_t i = 0; i < state->prefix_count; i++) {
		const struct slaac_prefix *prefix = &state->prefixes[i];

		CHECK(prefix->prefix.length <= 128);
		for (uint32_t j = 0; j < i; j++)
			CHECK(!ip_prefix_equal(&prefix->prefix, &state->prefixes[j].prefix));
		if (!prefix->has_address)
			continue;
		CHECK(prefix->prefix.length == 64);
		CHECK(ip_prefix_contains(&prefix->prefix, &prefix->address));
	}
	for (uint32_t i = 0; i < state->router_count; i++) {
		CHECK(ip_is_link_local(&state->routers[i].ip));
		CHECK(i == 0 || state->routers[i - 1].preference >= state->routers[i].preference);
	}
}

static void on_configured(void *context, const struct slaac_state *state)
{
	unsigned *told = context;

	check_state(state);
	++*told;
}

static void on_lost(void *context)
{
	unsigned *told = context;

	++*told;
}

static void check_sent(void)
{
	for (uint32_t i = 0; i < wire.count; i++) {
		CHECK(wire.packets[i].hop_limit == 255);
		CHECK(wire.packets[i].protocol == IPPROTO_ICMPV6);
		CHECK(wire.packets[i].network_length <= 1280);
	}
	wire_clear(&wire);
}

/* Both, up to the moment. */
static void tick(struct slaac_client *client, struct advertise *advertise, uint64_t now)
{
	for (unsigned i = 0; slaac_client_deadline(client) <= now; i++) {
		CHECK(i < TICKS_MAX);
		slaac_client_tick(client, now);
		check_sent();
	}
	for (unsigned i = 0; advertise_deadline(advertise) <= now; i++) {
		CHECK(i < TICKS_MAX);
		advertise_tick(advertise, now);
		check_sent();
	}
	check_state(slaac_client_state(client));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const sources[] = { "::", "fe80::1", "fe80::2", "2001:db8::1" };
	struct ip_prefix prefix = wire_prefix("fd00:122::1/64");
	struct route_output output = wire_output(&wire);
	unsigned told = 0;
	const struct slaac_client_events events = { on_configured, on_lost, &told };
	const struct mac own = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } };
	const struct slaac_client_settings host = { .mac = own, .mtu = 1500, .seed = size };
	const struct advertise_config config = { .interval = 600, .router_lifetime = 1800 };
	const struct advertise_settings router = {
		.config = &config, .mac = own, .prefix_count = 1, .prefixes = &prefix, .seed = size
	};
	struct slaac_client *client = slaac_client_create(&host, &output, &events, 0);
	struct advertise *advertise = advertise_create(&router, &output, 0);
	uint64_t now = 0;

	CHECK(client != NULL && advertise != NULL);
	wire_clear(&wire);
	while (size >= 3) {
		struct packet_header header = { .from = { { 0x52, 0x54, 0, 0, 0, data[0] } },
						.to = { { 0x33, 0x33, 0, 0, 0, 1 } },
						.source = wire_address(sources[data[0] & 3]),
						.destination = wire_address("ff02::1"),
						.protocol = IPPROTO_ICMPV6,
						.hop_limit = 255 };
		size_t length = data[2];
		const struct packet *packet;

		now += (uint64_t)data[1] * data[1] * 10;
		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		tick(client, advertise, now);
		packet = wire_ip(&wire, &header, data, length);
		slaac_client_input(client, packet, now);
		advertise_input(advertise, packet, now);
		check_sent();
		data += length;
		size -= length;
	}
	tick(client, advertise, now);
	/* Once a second at most. */
	CHECK(told <= 1 + now / 1000);
	advertise_end(advertise);
	check_sent();
	slaac_client_destroy(client);
	advertise_destroy(advertise);
	return 0;
}
