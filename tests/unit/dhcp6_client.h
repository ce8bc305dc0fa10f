/* DHCPv6 clients written by hand: messages for the server's tests and fuzzer. */
#ifndef WEFT_TESTS_DHCP6_CLIENT_H
#define WEFT_TESTS_DHCP6_CLIENT_H

#include "route/dhcp6_message.h"
#include "route/dhcp6_server.h"
#include "tests/unit/route_wire.h"

#include <stdio.h>

struct dhcp6_test_client {
	struct mac mac;
	uint8_t duid[DHCP6_DUID_MAX];
	uint16_t duid_length;
	uint32_t transaction;
};

/* DUID-LL of the MAC 52:54:00:00:00:NUMBER. */
static inline struct dhcp6_test_client dhcp6_test_client(uint8_t number)
{
	struct dhcp6_test_client client = { .mac = { { 0x52, 0x54, 0, 0, 0, number } },
					    .duid = { 0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, number },
					    .duid_length = 10,
					    .transaction = 0xabc000u + number };

	return client;
}

/* Begins a message with the client's identifier. */
static inline void dhcp6_test_begin(struct dhcp6_writer *writer, uint8_t *bytes, size_t size,
				    enum dhcp6_type type, const struct dhcp6_test_client *client)
{
	*writer = (struct dhcp6_writer){ .bytes = bytes, .size = size };
	dhcp6_write_header(writer, type, client->transaction);
	dhcp6_write_option(writer, DHCP6_CLIENT_ID, client->duid, client->duid_length);
}

/* The frame of the message, to all servers. */
static inline const struct packet *dhcp6_test_packet(struct wire *wire,
						     const struct dhcp6_test_client *client,
						     const void *message, size_t length)
{
	struct packet_header header = { .from = client->mac,
					.to = { { 0x33, 0x33, 0, 1, 0, 2 } },
					.source = ip_link_local_of(client->mac.bytes),
					.destination = wire_address("ff02::1:2"),
					.source_port = DHCP6_CLIENT_PORT,
					.destination_port = DHCP6_SERVER_PORT };

	return wire_udp(wire, &header, message, length);
}

#endif
