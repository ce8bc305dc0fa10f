/* Fuzzes the DHCPv4 server with a few clients, ports and addresses: messages of any bytes, time and
 * conflict checks in between.
 *
 * Input: steps of two bytes and what follows them. First byte: a message (top bit clear: then its
 * length, 2 bytes, and its bytes) or an event. Second byte of a message: client, port, and with its
 * top bit clear the fields are set right that would stop the message early. Of an event: how much
 * time goes by.
 *
 * Checked after each step: nobody is bound to an address that another is bound to, none outside the
 * configuration, one client one lease, ports within their limit; answers parse, fit the link, and
 * tell a client of no address but its own. */
#include "route/dhcp_message.h"
#include "route/dhcp_server.h"

#include "base/log.h"
#include "base/parse.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST	 0x0a000002u /* 10.0.0.2 to 10.0.0.20; the last of them reserved */
#define LAST	 0x0a000014u
#define RESERVED LAST
#define CLIENTS	 8u
#define PORTS	 4u
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

struct world {
	struct dhcp_server *server;
	struct lease_table *leases;
	bool bound[LAST - FIRST + 1];
	struct ip asked; /* the last address whose use was asked for */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned place_of(const struct ip *ip)
{
	CHECK(ip_is_v4(ip) && ip_to_v4(ip) >= FIRST && ip_to_v4(ip) <= LAST);
	return ip_to_v4(ip) - FIRST;
}

static void on_bound(void *context, const struct lease *lease)
{
	struct world *world = context;

	CHECK(!world->bound[place_of(&lease->ip)]);
	world->bound[place_of(&lease->ip)] = true;
}

static void on_unbound(void *context, const struct lease *lease)
{
	struct world *world = context;

	CHECK(world->bound[place_of(&lease->ip)]);
	world->bound[place_of(&lease->ip)] = false;
}

static void on_ask(void *context, const struct ip *ip)
{
	struct world *world = context;

	place_of(ip);
	world->asked = *ip;
}

static void on_send(void *context, const uint8_t *frame, size_t length)
{
	struct world *world = context;
	struct dhcp_message message;
	const struct lease *lease;
	struct packet packet;

	CHECK(packet_parse(frame, length, &packet));
	CHECK(packet_checksum_ok(&packet) && packet.network_length <= 1500);
	CHECK(packet.source_port == DHCP_SERVER_PORT);
	CHECK(dhcp_message_parse(packet.data, packet.data_length, &message) == 0);
	CHECK(message.header.op == DHCP_BOOTREPLY);
	if (message.type == DHCP_NAK)
		return;
	CHECK(message.type == DHCP_OFFER || message.type == DHCP_ACK);
	if (ip_is_unspecified(&message.header.yiaddr))
		return; /* INFORM */
	lease = lease_find_ip(world->leases, &message.header.yiaddr);
	CHECK(lease != NULL);
	CHECK(lease->state == LEASE_BOUND ||
	      (lease->state == LEASE_OFFERED && message.type == DHCP_OFFER));
	if (message.type == DHCP_ACK)
		CHECK(memcmp(&lease->mac, &message.header.chaddr, sizeof(lease->mac)) == 0);
}

static bool check_lease(void *context, const struct lease *lease)
{
	struct world *world = context;
	unsigned place = place_of(&lease->ip);

	CHECK(world->bound[place] == (lease->state == LEASE_BOUND));
	CHECK(lease->reserved ? ip_to_v4(&lease->ip) == RESERVED : true);
	CHECK((lease->client_length == 0) == (lease->state == LEASE_DECLINED));
	if (lease->client_length != 0)
		CHECK(lease_find_client(world->leases, AF_INET, lease->client, lease->client_length,
					0) == lease);
	if (lease->host[0] != '\0')
		CHECK(lease_find_host(world->leases, AF_INET, lease->host) == lease);
	return true;
}

static void check_all(struct world *world)
{
	unsigned bound = 0;

	lease_visit(world->leases, check_lease, world);
	CHECK(lease_table_count(world->leases) <= LAST - FIRST + 1);
	for (uint16_t port = 1; port <= PORTS; port++)
		CHECK(lease_count_port(world->leases, AF_INET, port) <= DHCP_TRUSTED_LEASES);
	for (unsigned i = 0; i <= LAST - FIRST; i++) {
		struct ip ip = ip_from_v4(FIRST + i);

		bound += world->bound[i];
		CHECK(!world->bound[i] || lease_find_ip(world->leases, &ip) != NULL);
	}
	CHECK(bound <= lease_table_count(world->leases));
}

/* What would have the message refused before the server looks at it. */
static void put_right(uint8_t *bytes, size_t length, const struct mac *mac, bool relayed)
{
	if (length < 240)
		return;
	bytes[0] = DHCP_BOOTREQUEST;
	bytes[1] = 1;
	bytes[2] = MAC_LENGTH;
	if (!relayed)
		memset(bytes + 24, 0, 4);
	memcpy(bytes + 28, mac->bytes, MAC_LENGTH);
	write_be32(bytes + 236, 0x63825363);
}

static void give_message(struct world *world, uint8_t who, const uint8_t *data, size_t length,
			 uint64_t now, uint64_t wall)
{
	struct mac mac = { { 0x52, 0x54, 0, 0, 0, (uint8_t)(who % CLIENTS) } };
	uint16_t port = (who >> 3) % (PORTS + 1) == 0 ? LEASE_PORT_NONE : (who >> 3) % (PORTS + 1);
	struct packet_header header = {
		.from = mac,
		.source = ip_from_v4(0),
		.destination = ip_from_v4(UINT32_MAX),
		.source_port = DHCP_CLIENT_PORT,
		.destination_port = DHCP_SERVER_PORT,
	};
	uint8_t *bytes = malloc(length + 1), *frame = malloc(length + 64);
	struct packet packet;
	size_t total;

	CHECK(bytes != NULL && frame != NULL);
	memcpy(bytes, data, length);
	if (who < 0x80)
		put_right(bytes, length, &mac, (who & 0x40) != 0);
	total = packet_write_udp(&header, bytes, length, frame, length + 64);
	CHECK(total > 0 && packet_parse(frame, total, &packet));
	/* The options in an allocation of their own size. */
	bytes = realloc(bytes, length == 0 ? 1 : length);
	packet.data = bytes;
	dhcp_server_input(world->server, &packet, (struct dhcp_arrival){ port, true }, now, wall);
	free(bytes);
	free(frame);
}

static void run(struct world *world, const uint8_t *data, size_t size)
{
	uint64_t now = 1000, wall = 1000000;

	while (size >= 2) {
		uint8_t what = data[0], detail = data[1];
		size_t length = 0;

		data += 2;
		size -= 2;
		if (what < 0x80 && size >= 2) {
			length = (size_t)read_be16(data) & 0x7ff;
			data += 2;
			size -= 2;
			if (length > size)
				length = size;
			give_message(world, detail, data, length, now, wall);
		} else {
			const struct mac stranger = { { 2, 2, 2, 2, 2, 2 } };

			now += detail * 10u;
			wall += detail * 10u;
			if (what & 1)
				dhcp_server_probe_result(world->server, &world->asked,
							 what & 2 ? &stranger : NULL, now, wall);
			if (what & 4)
				lease_forget_port(world->leases, (uint16_t)(detail % PORTS + 1));
			if (dhcp_server_deadline(world->server) <= now || what & 8)
				dhcp_server_tick(world->server, now, wall);
		}
		check_all(world);
		data += length;
		size -= length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ip_range range = { ip_from_v4(FIRST), ip_from_v4(LAST - 1) };
	struct dhcp_host host = {
		.name = "reserved",
		.has_mac = true,
		.mac = { { 0x52, 0x54, 0, 0, 0, 1 } },
		.has_ip4 = true,
		.ip4 = ip_from_v4(RESERVED),
	};
	struct dhcp_option option = { .code = 224, .length = 250 };
	struct dhcp_config config = {
		.lease_time = 3600,
		.range_count = 1,
		.ranges = &range,
		.host_count = 1,
		.hosts = &host,
		.mtu = 1400,
		.domain = "lab.internal",
		.option_count = 1,
		.options = &option,
	};
	struct dhcp_leg leg = {
		.network = "fuzz",
		.mac = { { 2, 0, 0, 0, 0, 1 } },
		.prefix_count = 1,
		.prefixes = { { ip_from_v4(0x0a000001), IP_V4_LENGTH + 24 } },
		.serves_dns = true,
	};
	struct world world = { 0 };
	struct lease_events events = { on_bound, on_unbound, &world };
	struct route_output output = { on_send, &world };
	struct dhcp_probe probe = { on_ask, &world };

	if (size == 0)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	world.leases = lease_table_create(NULL, "fuzz", 100, &events);
	world.server =
	    dhcp_server_create(&config, &leg, world.leases, &output, data[0] & 1 ? &probe : NULL);
	CHECK(world.leases != NULL && world.server != NULL);
	run(&world, data + 1, size - 1);
	dhcp_server_destroy(world.server);
	lease_table_destroy(world.leases);
	return 0;
}
