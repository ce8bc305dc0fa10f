/* The wire of an engine of route/ under test: what it sends is kept and taken apart, what it is to
 * get is written by hand. */
#ifndef WEFT_TESTS_ROUTE_WIRE_H
#define WEFT_TESTS_ROUTE_WIRE_H

#include "base/packet.h"
#include "route/output.h"

#include <assert.h>
#include <string.h>

#define WIRE_FRAMES 64u
#define WIRE_LENGTH 2048u

struct wire {
	uint32_t count; /* since wire_clear() */
	struct packet packets[WIRE_FRAMES];
	uint8_t bytes[WIRE_FRAMES][WIRE_LENGTH];
	uint8_t in[WIRE_LENGTH]; /* what was written last for the engine */
	struct packet packet;
};

static inline void wire_send(void *context, const uint8_t *frame, size_t length)
{
	struct wire *wire = context;
	uint32_t i = wire->count++;

	assert(i < WIRE_FRAMES && length <= WIRE_LENGTH);
	memcpy(wire->bytes[i], frame, length);
	assert(packet_parse(wire->bytes[i], length, &wire->packets[i]));
	assert(packet_checksum_ok(&wire->packets[i]));
}

static inline struct route_output wire_output(struct wire *wire)
{
	return (struct route_output){ wire_send, wire };
}

static inline void wire_clear(struct wire *wire)
{
	wire->count = 0;
}

/* The frame that was sent last, or NULL. */
static inline const struct packet *wire_last(const struct wire *wire)
{
	return wire->count > 0 ? &wire->packets[wire->count - 1] : NULL;
}

static inline const struct packet *wire_ip(struct wire *wire, const struct packet_header *header,
					   const void *payload, size_t length)
{
	size_t all = packet_write_ip(header, payload, length, wire->in, sizeof(wire->in));

	assert(all > 0 && packet_parse(wire->in, all, &wire->packet));
	return &wire->packet;
}

static inline const struct packet *wire_udp(struct wire *wire, const struct packet_header *header,
					    const void *data, size_t length)
{
	size_t all = packet_write_udp(header, data, length, wire->in, sizeof(wire->in));

	assert(all > 0 && packet_parse(wire->in, all, &wire->packet));
	return &wire->packet;
}

static inline struct ip wire_address(const char *text)
{
	struct ip ip;

	assert(ip_from_text(text, &ip) == 0);
	return ip;
}

static inline struct ip_prefix wire_prefix(const char *text)
{
	struct ip_prefix prefix;

	assert(ip_prefix_from_text(text, &prefix) == 0);
	return prefix;
}

#endif
