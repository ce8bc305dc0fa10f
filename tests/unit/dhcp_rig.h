/* A DHCPv4 server with its lease table, and clients that are bytes: for the tests of the server.
 * Includes cmocka's needs. Frames go through the parser both ways. */
#ifndef WEFT_TESTS_DHCP_RIG_H
#define WEFT_TESTS_DHCP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/dhcp_message.h"
#include "route/dhcp_server.h"

#include "base/parse.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RIG_SENT_MAX  64u
#define RIG_FRAME_MAX 2048u

struct rig {
	struct dhcp_config config;
	struct ip_range ranges[2];
	struct dhcp_host hosts[4];
	struct dhcp_leg leg;
	struct lease_table *leases;
	struct dhcp_server *server;
	uint64_t now, wall;
	unsigned sent_count;
	size_t sent_length[RIG_SENT_MAX];
	uint8_t sent[RIG_SENT_MAX][RIG_FRAME_MAX];
	unsigned asked_count;
	struct ip asked;
	/* The message being written, and how it will travel; rig_begin() sets the usual. */
	struct dhcp_writer writer;
	struct dhcp_header header;
	uint16_t port;
	bool trusted;
	struct mac from;
	struct ip source, destination;
};

static inline struct ip rig_ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static inline struct mac rig_mac(unsigned n)
{
	return (struct mac){ { 0x52, 0x54, 0, 0, (uint8_t)(n >> 8), (uint8_t)n } };
}

static inline void rig_keep_frame(void *context, const uint8_t *frame, size_t length)
{
	struct rig *rig = context;

	assert_true(rig->sent_count < RIG_SENT_MAX);
	assert_true(length <= RIG_FRAME_MAX);
	memcpy(rig->sent[rig->sent_count], frame, length);
	rig->sent_length[rig->sent_count++] = length;
}

static inline void rig_ask(void *context, const struct ip *ip)
{
	struct rig *rig = context;

	rig->asked = *ip;
	rig->asked_count++;
}

/* 10.0.0.1/24 serves 10.0.0.100 to 10.0.0.109 for an hour. */
static inline struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->ranges[0] = (struct ip_range){ rig_ip("10.0.0.100"), rig_ip("10.0.0.109") };
	rig->config = (struct dhcp_config){
		.enabled = true,
		.lease_time = 3600,
		.range_count = 1,
		.ranges = rig->ranges,
		.hosts = rig->hosts,
	};
	rig->leg = (struct dhcp_leg){
		.network = "test",
		.mac = { { 0x02, 0, 0, 0, 0, 1 } },
		.prefix_count = 1,
		.serves_dns = true,
	};
	strcpy(rig->leg.domain, "lab.internal");
	assert_int_equal(ip_prefix_from_text("10.0.0.1/24", &rig->leg.prefixes[0]), 0);
	rig->now = 5000;
	rig->wall = 1000000;
	return rig;
}

/* Starts the server, again if it ran, on the leases that are there. `ask` may be NULL. */
static inline void rig_start(struct rig *rig, void (*ask)(void *, const struct ip *))
{
	struct route_output output = { rig_keep_frame, rig };
	struct dhcp_probe probe = { ask, rig };

	if (rig->leases == NULL)
		rig->leases = lease_table_create(NULL, "test", 1000, NULL);
	dhcp_server_destroy(rig->server);
	rig->server = dhcp_server_create(&rig->config, &rig->leg, rig->leases, &output, &probe);
	assert_non_null(rig->server);
}

static inline void rig_free(struct rig *rig)
{
	dhcp_server_destroy(rig->server);
	lease_table_destroy(rig->leases);
	free(rig);
}

static inline uint64_t rig_count(const struct rig *rig, enum dhcp_counter counter)
{
	return dhcp_server_counters(rig->server)[counter];
}

/* The header of client `n`: change rig->header, then rig_write(). */
static inline void rig_begin(struct rig *rig, unsigned n)
{
	rig->header = (struct dhcp_header){
		.op = DHCP_BOOTREQUEST,
		.xid = 0x1000 + n,
		.chaddr = rig_mac(n),
	};
	rig->port = (uint16_t)n;
	rig->trusted = false;
	rig->from = rig_mac(n);
	rig->source = ip_from_v4(0);
	rig->destination = ip_from_v4(UINT32_MAX);
}

static inline void rig_write(struct rig *rig, enum dhcp_type type)
{
	dhcp_write_start(&rig->writer, &rig->header, type, 1400);
}

/* Gives UDP data to the server as the travelling details say. */
static inline void rig_deliver(struct rig *rig, const uint8_t *data, size_t length)
{
	struct packet_header header = {
		.from = rig->from,
		.to = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
		.source = rig->source,
		.destination = rig->destination,
		.source_port = DHCP_CLIENT_PORT,
		.destination_port = DHCP_SERVER_PORT,
	};
	uint8_t frame[DHCP_MESSAGE_MAX + 200];
	struct packet packet;

	length = packet_write_udp(&header, data, length, frame, sizeof(frame));
	assert_true(length > 0);
	assert_true(packet_parse(frame, length, &packet));
	dhcp_server_input(rig->server, &packet, (struct dhcp_arrival){ rig->port, rig->trusted },
			  rig->now, rig->wall);
}

/* Ends the message and gives it to the server. */
static inline void rig_send(struct rig *rig)
{
	size_t length = dhcp_write_finish(&rig->writer);

	rig_deliver(rig, rig->writer.bytes, length);
}

/* The only frame that was sent since the last look. */
static inline void rig_reply(struct rig *rig, struct dhcp_message *message, struct packet *packet)
{
	assert_int_equal(rig->sent_count, 1);
	rig->sent_count = 0;
	assert_true(packet_parse(rig->sent[0], rig->sent_length[0], packet));
	assert_true(packet_checksum_ok(packet));
	assert_int_equal(packet->source_port, DHCP_SERVER_PORT);
	assert_int_equal(packet->destination_port, ip_is_unspecified(&rig->header.giaddr)
						       ? DHCP_CLIENT_PORT
						       : DHCP_SERVER_PORT);
	assert_memory_equal(&packet->from, &rig->leg.mac, sizeof(packet->from));
	assert_int_equal(dhcp_message_parse(packet->data, packet->data_length, message), 0);
	assert_int_equal(message->header.op, DHCP_BOOTREPLY);
	assert_int_equal(message->header.xid, rig->header.xid);
	assert_memory_equal(&message->header.chaddr, &rig->header.chaddr, sizeof(struct mac));
}

static inline void rig_silent(struct rig *rig)
{
	assert_int_equal(rig->sent_count, 0);
}

static inline void assert_ip(const struct ip *ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(ip, text), expected);
}

/* DISCOVER of client `n`; returns the address offered. */
static inline struct ip rig_discover(struct rig *rig, unsigned n)
{
	struct dhcp_message message;
	struct packet packet;

	rig_begin(rig, n);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_reply(rig, &message, &packet);
	assert_int_equal(message.type, DHCP_OFFER);
	return message.header.yiaddr;
}

/* Writes the REQUEST of a client that took our offer. */
static inline void rig_select(struct rig *rig, unsigned n, struct ip ip)
{
	rig_begin(rig, n);
	rig_write(rig, DHCP_REQUEST);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[0].ip);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
}

/* Sends what is written and expects an answer of that type. */
static inline void rig_expect(struct rig *rig, enum dhcp_type type, struct dhcp_message *message)
{
	struct packet packet;

	rig_send(rig);
	rig_reply(rig, message, &packet);
	assert_int_equal(message->type, type);
}

/* DISCOVER and REQUEST; returns the address leased. */
static inline struct ip rig_lease(struct rig *rig, unsigned n)
{
	struct dhcp_message message;
	struct ip ip = rig_discover(rig, n);

	rig_select(rig, n, ip);
	rig_expect(rig, DHCP_ACK, &message);
	assert_true(ip_equal(&message.header.yiaddr, &ip));
	return ip;
}

/* Writes the REQUEST of a client that uses the address. */
static inline void rig_renew(struct rig *rig, unsigned n, struct ip ip)
{
	rig_begin(rig, n);
	rig->header.ciaddr = rig->source = ip;
	rig->destination = rig->leg.prefixes[0].ip;
	rig_write(rig, DHCP_REQUEST);
}

/* Writes the REQUEST of a client that rebooted. */
static inline void rig_reboot(struct rig *rig, unsigned n, struct ip ip)
{
	rig_begin(rig, n);
	rig_write(rig, DHCP_REQUEST);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
}

/* Writes a DECLINE or, with the address in its place, a RELEASE. */
static inline void rig_give_up(struct rig *rig, unsigned n, enum dhcp_type type, struct ip ip)
{
	rig_begin(rig, n);
	if (type == DHCP_RELEASE) {
		rig->header.ciaddr = rig->source = ip;
		rig->destination = rig->leg.prefixes[0].ip;
	}
	rig_write(rig, type);
	dhcp_write_ip(&rig->writer, DHCP_OPTION_SERVER_ID, &rig->leg.prefixes[0].ip);
	if (type == DHCP_DECLINE)
		dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &ip);
}

#endif
