/* A DHCPv4 client with its wire, and a server whose answers tests write by hand. */
#ifndef WEFT_TESTS_DHCP_CLIENT_RIG_H
#define WEFT_TESTS_DHCP_CLIENT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "route/dhcp_client.h"
#include "route/dhcp_message.h"
#include "tests/unit/route_wire.h"

static const struct mac own = { { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc } };
static const struct mac server_mac = { { 0x52, 0x54, 0, 0, 0, 0xfe } };

static struct wire wire;
static struct dhcp_client_settings settings;
static struct dhcp_client *client;
static struct dhcp_message sent; /* the last one of the client */
static unsigned configured, lost;
static struct dhcp_client_state state;
static uint64_t now;

/* An answer to be written; tests change it. */
static struct answer {
	uint8_t type, op;
	uint32_t xid;
	const char *server, *address;
	struct mac chaddr;
	uint32_t mask, lease, t1, t2;
	const uint8_t *options; /* raw: code, length, bytes */
	size_t options_length;
} answer;

static inline void on_configured(void *context, const struct dhcp_client_state *given)
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
	const struct dhcp_client_events events = { on_configured, on_lost, NULL };
	struct route_output output = wire_output(&wire);

	client = dhcp_client_create(&settings, &output, &events, now);
	assert_non_null(client);
}

static inline int set_up(void **unused)
{
	wire_clear(&wire);
	configured = lost = 0;
	now = 5000;
	settings = (struct dhcp_client_settings){ .mac = own, .host_name = "weft", .seed = 3 };
	return 0;
}

static inline int tear_down(void **unused)
{
	dhcp_client_destroy(client);
	client = NULL;
	return 0;
}

static inline void read_sent(void)
{
	const struct packet *packet = wire_last(&wire);

	assert_non_null(packet);
	assert_int_equal(packet->source_port, 68);
	assert_int_equal(packet->destination_port, 67);
	assert_memory_equal(packet->from.bytes, own.bytes, 6);
	assert_int_equal(dhcp_message_parse(packet->data, packet->data_length, &sent), 0);
	assert_int_equal(sent.header.op, DHCP_BOOTREQUEST);
	assert_memory_equal(sent.header.chaddr.bytes, own.bytes, 6);
}

/* Goes on to the deadline, at which one message is sent. */
static inline void next_message(enum dhcp_type type)
{
	now = dhcp_client_deadline(client);
	wire_clear(&wire);
	dhcp_client_tick(client, now);
	assert_int_equal(wire.count, 1);
	read_sent();
	assert_int_equal(sent.type, type);
}

static inline bool sent_to_all(void)
{
	struct ip all = ip_from_v4(UINT32_MAX);

	return ip_equal(&wire_last(&wire)->destination, &all) &&
	       memcmp(wire_last(&wire)->to.bytes, "\xff\xff\xff\xff\xff\xff", 6) == 0;
}

static inline void assert_ip(struct ip ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(&ip, text), expected);
}

static inline void assert_option_ip(uint8_t code, const char *expected)
{
	struct ip ip;

	if (expected == NULL) {
		assert_false(dhcp_message_ip(&sent, code, &ip));
		return;
	}
	assert_true(dhcp_message_ip(&sent, code, &ip));
	assert_ip(ip, expected);
}

static inline void prepare(enum dhcp_type type)
{
	answer = (struct answer){ .type = (uint8_t)type,
				  .op = DHCP_BOOTREPLY,
				  .xid = sent.header.xid,
				  .server = "192.0.2.1",
				  .address = "192.0.2.77",
				  .chaddr = own,
				  .mask = 0xffffff00,
				  .lease = 3600 };
}

static inline void deliver(void)
{
	struct packet_header to = { .from = server_mac,
				    .to = own,
				    .source = wire_address("192.0.2.1"),
				    .destination = ip_from_v4(UINT32_MAX),
				    .source_port = 67,
				    .destination_port = 68 };
	struct ip none = ip_from_v4(0), server;
	struct dhcp_header header = { .op = answer.op,
				      .xid = answer.xid,
				      .ciaddr = none,
				      .yiaddr = none,
				      .siaddr = none,
				      .giaddr = none,
				      .chaddr = answer.chaddr };
	struct dhcp_writer writer;

	if (answer.type != DHCP_NAK)
		header.yiaddr = wire_address(answer.address);
	dhcp_write_start(&writer, &header, answer.type, 1400);
	if (answer.server != NULL) {
		server = wire_address(answer.server);
		dhcp_write_ip(&writer, DHCP_OPTION_SERVER_ID, &server);
	}
	if (answer.mask != 0)
		dhcp_write_u32(&writer, DHCP_OPTION_MASK, answer.mask);
	if (answer.lease != 0)
		dhcp_write_u32(&writer, DHCP_OPTION_LEASE_TIME, answer.lease);
	if (answer.t1 != 0)
		dhcp_write_u32(&writer, DHCP_OPTION_T1, answer.t1);
	if (answer.t2 != 0)
		dhcp_write_u32(&writer, DHCP_OPTION_T2, answer.t2);
	for (size_t i = 0; i < answer.options_length; i += 2u + answer.options[i + 1])
		dhcp_write_option(&writer, answer.options[i], answer.options + i + 2,
				  answer.options[i + 1]);
	wire_clear(&wire);
	dhcp_client_input(client, wire_udp(&wire, &to, writer.bytes, dhcp_write_finish(&writer)),
			  now);
}

static inline void offer(void)
{
	prepare(DHCP_OFFER);
	deliver();
	read_sent();
}

/* To the state BOUND. */
static inline void bind(void)
{
	next_message(DHCP_DISCOVER);
	offer();
	prepare(DHCP_ACK);
	deliver();
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_BOUND);
}

#endif
