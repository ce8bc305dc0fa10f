/* Fuzzes the DHCPv6 server with guests that send what they like.
 *
 * Input: any number of records, each a byte that says who sends it (1: bits 0 to 2 the MAC, 3 and 4
 * the port, 5 moves time on by an hour, 6 by unicast), two of length, and the message. After each
 * one: an answer parses and goes back to whoever asked; each address that was given for good is the
 * asker's lease, in the ranges or reserved for him; no port holds more than its limit. */
#include "base/parse.h"
#include "route/lease.h"
#include "tests/unit/dhcp6_client.h"

#include <stdlib.h>
#include <sys/socket.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)
#define MESSAGE_MAX 1400u
#define LEASES	    24u
#define PORT_LIMIT  5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire wire;
static struct dhcp6_config config;
static struct ip_range range;
static struct dhcp_host hosts[2];
static struct ip_prefix prefix;

static void check_given(const struct lease_table *leases, const struct dhcp6_message *reply,
			const struct dhcp6_ia *ia, struct mac mac)
{
	for (uint32_t i = 0; i < ia->address_count; i++) {
		const struct dhcp6_address *address = &ia->addresses[i];
		const struct lease *lease = lease_find_ip(leases, &address->ip);

		CHECK(address->preferred <= address->valid);
		if (address->valid == 0 || reply->type != DHCP6_REPLY)
			continue;
		CHECK(i == 0 && lease != NULL && lease->state == LEASE_BOUND);
		CHECK(memcmp(lease->mac.bytes, mac.bytes, MAC_LENGTH) == 0);
		CHECK(lease->iaid == ia->iaid);
		CHECK(lease->client_length == reply->client_length);
		CHECK(memcmp(lease->client, reply->client, reply->client_length) == 0);
	}
}

static void check_answer(const struct lease_table *leases, struct mac mac)
{
	const struct packet *packet = wire_last(&wire);
	struct dhcp6_message reply;

	CHECK(wire.count <= 1);
	if (packet == NULL)
		return;
	CHECK(packet->source_port == 547 && packet->destination_port == 546);
	CHECK(memcmp(packet->to.bytes, mac.bytes, MAC_LENGTH) == 0);
	CHECK(packet->network_length <= 1280);
	CHECK(dhcp6_message_parse(packet->data, packet->data_length, &reply) == 0);
	CHECK(reply.type == DHCP6_REPLY || reply.type == DHCP6_ADVERTISE);
	CHECK(reply.server != NULL);
	for (uint32_t i = 0; i < reply.ia_count; i++)
		check_given(leases, &reply, &reply.ias[i], mac);
}

/* An association has one address. */
static bool check_lease(void *context, const struct lease *lease)
{
	const struct lease_table *leases = context;
	bool reserved = ip_equal(&lease->ip, &hosts[0].ip6) || ip_equal(&lease->ip, &hosts[1].ip6);
	bool ranged =
	    ip_compare(&range.first, &lease->ip) <= 0 && ip_compare(&lease->ip, &range.last) <= 0;

	CHECK(lease->reserved ? reserved : ranged && !reserved);
	CHECK(lease->state == LEASE_BOUND || lease->state == LEASE_DECLINED);
	CHECK(lease_count_port(leases, AF_INET6, lease->port) <= PORT_LIMIT);
	return true;
}

static struct dhcp6_server *make(struct lease_table *leases)
{
	struct route_output output = wire_output(&wire);
	struct dhcp6_settings settings = { .config = &config,
					   .host_count = 2,
					   .hosts = hosts,
					   .mac = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } },
					   .prefix_count = 1,
					   .prefixes = &prefix,
					   .serves_dns = true,
					   .domain = "lab.internal",
					   .port_limit = PORT_LIMIT };

	prefix = wire_prefix("fd00:122::1/64");
	range = (struct ip_range){ wire_address("fd00:122::"), wire_address("fd00:122::f") };
	config = (struct dhcp6_config){
		.mode = DHCP6_STATEFUL, .lease_time = 7200, .range_count = 1, .ranges = &range
	};
	hosts[0] = (struct dhcp_host){ .name = "one",
				       .has_mac = true,
				       .mac = { { 0x52, 0x54, 0, 0, 0, 1 } },
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::a") };
	hosts[1] = (struct dhcp_host){ .name = "web",
				       .has_ip6 = true,
				       .ip6 = wire_address("fd00:122::99") };
	return dhcp6_server_create(&settings, leases, &output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lease_events events = { 0 };
	struct lease_table *leases = lease_table_create(NULL, "net", LEASES, &events);
	struct dhcp6_server *server = make(leases);
	uint64_t wall = 1700000000;

	CHECK(leases != NULL && server != NULL);
	while (size >= 3) {
		struct dhcp6_test_client client = dhcp6_test_client(data[0] & 7);
		struct packet_header header = {
			.from = client.mac,
			.source = ip_link_local_of(client.mac.bytes),
			.destination = wire_address(data[0] & 64 ? "fd00:122::1" : "ff02::1:2"),
			.source_port = 546,
			.destination_port = 547,
		};
		size_t length = read_be16(data + 1);
		uint16_t port = data[0] >> 3 & 3;

		wall += data[0] & 32 ? 3600 : 1;
		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		if (length > MESSAGE_MAX)
			break;
		lease_expire(leases, wall);
		wire_clear(&wire);
		dhcp6_server_input(server, wire_udp(&wire, &header, data, length), port, wall);
		check_answer(leases, client.mac);
		CHECK(lease_table_count(leases) <= LEASES);
		lease_visit(leases, check_lease, leases);
		data += length;
		size -= length;
	}
	dhcp6_server_destroy(server);
	lease_table_destroy(leases);
	return 0;
}
