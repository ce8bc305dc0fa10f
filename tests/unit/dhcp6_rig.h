/* A DHCPv6 server with its lease table, asked by clients that tests write by hand, and its last
 * answer. */
#ifndef WEFT_TESTS_DHCP6_RIG_H
#define WEFT_TESTS_DHCP6_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "route/lease.h"
#include "tests/unit/dhcp6_client.h"

#include <sys/socket.h>

#define WALL  1700000000u
#define LEASE 7200u

static const struct mac own = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } };
static const uint8_t server_duid[] = { 0, 3, 0, 1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };

static struct wire wire;
static struct dhcp6_config config;
static struct ip_range ranges[2];
static struct ip_prefix prefix;
static struct dhcp_host hosts[4];
static struct dhcp6_settings settings;
static struct lease_table *leases;
static struct dhcp6_server *server;
static struct dhcp6_message reply; /* the last one, leading into wire */
static uint8_t bytes[1500];
static struct dhcp6_writer writer;

static inline int set_up(void **state)
{
	const struct lease_events no_events = { 0 };

	wire_clear(&wire);
	memset(hosts, 0, sizeof(hosts));
	prefix = wire_prefix("fd00:122::1/64");
	ranges[0] =
	    (struct ip_range){ wire_address("fd00:122::100"), wire_address("fd00:122::1ff") };
	config = (struct dhcp6_config){
		.mode = DHCP6_STATEFUL, .lease_time = LEASE, .range_count = 1, .ranges = ranges
	};
	settings = (struct dhcp6_settings){ .config = &config,
					    .hosts = hosts,
					    .mac = own,
					    .prefix_count = 1,
					    .prefixes = &prefix,
					    .serves_dns = true,
					    .domain = "lab.internal" };
	leases = lease_table_create(NULL, "net", 1000, &no_events);
	assert_non_null(leases);
	return 0;
}

static inline int tear_down(void **state)
{
	dhcp6_server_destroy(server);
	server = NULL;
	lease_table_destroy(leases);
	return 0;
}

static inline void make(void)
{
	struct route_output output = wire_output(&wire);

	dhcp6_server_destroy(server);
	server = dhcp6_server_create(&settings, leases, &output);
	assert_non_null(server);
}

static inline void begin(enum dhcp6_type type, const struct dhcp6_test_client *client)
{
	dhcp6_test_begin(&writer, bytes, sizeof(bytes), type, client);
}

static inline void add_server(void)
{
	dhcp6_write_option(&writer, DHCP6_SERVER_ID, server_duid, sizeof(server_duid));
}

static inline void add_ia(uint16_t code, uint32_t iaid, const char *address)
{
	struct dhcp6_ia ia = { .code = code, .iaid = iaid, .status = DHCP6_NO_STATUS };

	if (address != NULL)
		ia.addresses[ia.address_count++].ip = wire_address(address);
	dhcp6_write_ia(&writer, &ia);
}

/* Sends what was written; true when there was an answer, which is checked for what all have. */
static inline bool exchange_at(const struct dhcp6_test_client *client, uint16_t port, uint64_t wall)
{
	struct ip source = ip_link_local_of(own.bytes);
	struct ip asker = ip_link_local_of(client->mac.bytes);
	const struct packet *packet;

	wire_clear(&wire);
	dhcp6_server_input(server, dhcp6_test_packet(&wire, client, bytes, writer.length), port,
			   wall);
	if (wire.count == 0)
		return false;
	assert_int_equal(wire.count, 1);
	packet = wire_last(&wire);
	assert_memory_equal(packet->from.bytes, own.bytes, 6);
	assert_memory_equal(packet->to.bytes, client->mac.bytes, 6);
	assert_true(ip_equal(&packet->source, &source));
	assert_true(ip_equal(&packet->destination, &asker));
	assert_int_equal(packet->source_port, 547);
	assert_int_equal(packet->destination_port, 546);
	assert_int_equal(dhcp6_message_parse(packet->data, packet->data_length, &reply), 0);
	assert_int_equal(reply.transaction, client->transaction);
	assert_int_equal(reply.server_length, sizeof(server_duid));
	assert_memory_equal(reply.server, server_duid, sizeof(server_duid));
	assert_int_equal(reply.client_length, client->duid_length);
	assert_memory_equal(reply.client, client->duid, client->duid_length);
	return true;
}

static inline bool exchange(const struct dhcp6_test_client *client)
{
	return exchange_at(client, 1, WALL);
}

/* A REQUEST for one address; the one that was given, or :: and the status in `reply`. */
static inline struct ip request_at(const struct dhcp6_test_client *client, uint16_t port,
				   uint32_t iaid, const char *hint, uint64_t wall)
{
	begin(DHCP6_REQUEST, client);
	add_server();
	add_ia(DHCP6_IA_NA, iaid, hint);
	assert_true(exchange_at(client, port, wall));
	assert_int_equal(reply.type, DHCP6_REPLY);
	assert_int_equal(reply.ia_count, 1);
	if (reply.ias[0].address_count == 0)
		return (struct ip){ 0 };
	assert_int_equal(reply.ias[0].status, DHCP6_NO_STATUS);
	return reply.ias[0].addresses[0].ip;
}

static inline struct ip request(const struct dhcp6_test_client *client, const char *hint)
{
	return request_at(client, 1, 1, hint, WALL);
}

static inline void assert_ip(struct ip ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(&ip, text), expected);
}

static inline const uint8_t *raw_option(uint16_t code, uint16_t *length)
{
	const struct packet *packet = wire_last(&wire);
	const uint8_t *p = packet->data + 4, *end = packet->data + packet->data_length;

	for (; p < end; p += 4 + read_be16(p + 2)) {
		*length = read_be16(p + 2);
		if (read_be16(p) == code)
			return p + 4;
	}
	return NULL;
}

#endif
