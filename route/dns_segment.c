/* TCP segments of guests, reduced and written again. Called by dns_tcp.c, on the control thread. */
#include "route/dns_segment.h"

#include <netinet/in.h>
#include <stdlib.h>

#define HEADER_LENGTH 20u
#define OPTION_END    0
#define OPTION_NONE   1
#define OPTION_MSS    2
#define MSS_LEAST     536u

static uint16_t be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t be32(const uint8_t *bytes)
{
	return (uint32_t)be16(bytes) << 16 | be16(bytes + 2);
}

static void put_be16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void put_be32(uint8_t *bytes, uint32_t value)
{
	put_be16(bytes, (uint16_t)(value >> 16));
	put_be16(bytes + 2, (uint16_t)value);
}

static uint16_t find_mss(const uint8_t *options, uint32_t length)
{
	uint32_t at = 0;

	while (at < length && options[at] != OPTION_END) {
		if (options[at] == OPTION_NONE) {
			at++;
			continue;
		}
		if (length - at < 2 || options[at + 1] < 2 || options[at + 1] > length - at)
			break;
		if (options[at] == OPTION_MSS && options[at + 1] == 4) {
			uint16_t mss = be16(options + at + 2);

			return mss < MSS_LEAST ? MSS_LEAST : mss;
		}
		at += options[at + 1];
	}
	return MSS_LEAST;
}

bool dns_segment_parse(const struct packet *packet, struct dns_segment *segment)
{
	const uint8_t *tcp = packet->payload;
	uint32_t header;

	if (packet->protocol != IPPROTO_TCP || packet->fragment ||
	    packet->payload_length < HEADER_LENGTH)
		return false;
	header = (tcp[12] >> 4) * 4u;
	if (header < HEADER_LENGTH || header > packet->payload_length)
		return false;
	*segment = (struct dns_segment){
		.from_port = be16(tcp),
		.to_port = be16(tcp + 2),
		.sequence = be32(tcp + 4),
		.acknowledged = be32(tcp + 8),
		.flags = tcp[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK),
		.window = be16(tcp + 14),
		.mss = find_mss(tcp + HEADER_LENGTH, header - HEADER_LENGTH),
		.data = tcp + header,
		.length = (uint32_t)(packet->payload_length - header),
	};
	return true;
}

size_t dns_segment_write(const struct packet_header *header, const struct dns_segment *segment,
			 uint8_t *out, size_t size)
{
	struct packet_header ip = *header;
	uint32_t options = segment->flags & TCP_SYN ? 4 : 0;
	uint8_t *tcp = malloc(HEADER_LENGTH + options + segment->length);
	size_t length;

	if (tcp == NULL)
		return 0;
	memset(tcp, 0, HEADER_LENGTH + options);
	put_be16(tcp, segment->from_port);
	put_be16(tcp + 2, segment->to_port);
	put_be32(tcp + 4, segment->sequence);
	put_be32(tcp + 8, segment->acknowledged);
	tcp[12] = (uint8_t)((HEADER_LENGTH + options) / 4 << 4);
	tcp[13] = segment->flags;
	put_be16(tcp + 14, segment->window);
	if (options > 0) {
		tcp[HEADER_LENGTH] = OPTION_MSS;
		tcp[HEADER_LENGTH + 1] = 4;
		put_be16(tcp + HEADER_LENGTH + 2, segment->mss);
	}
	if (segment->length > 0)
		memcpy(tcp + HEADER_LENGTH + options, segment->data, segment->length);
	ip.protocol = IPPROTO_TCP;
	length = packet_write_ip(&ip, tcp, HEADER_LENGTH + options + segment->length, out, size);
	free(tcp);
	return length;
}

void dns_segment_reset(const struct dns_segment *segment, struct dns_segment *reset)
{
	*reset = (struct dns_segment){ .from_port = segment->to_port,
				       .to_port = segment->from_port,
				       .flags = TCP_RST };
	if (segment->flags & TCP_ACK) {
		reset->sequence = segment->acknowledged;
		return;
	}
	reset->flags |= TCP_ACK;
	reset->acknowledged = segment->sequence + segment->length +
			      ((segment->flags & TCP_SYN) != 0) + ((segment->flags & TCP_FIN) != 0);
}
