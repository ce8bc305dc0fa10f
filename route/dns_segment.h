/* TCP segments of guests (RFC 9293, 3.1), reduced to what the stack behind them has to see, and
 * written again. Any thread, no state. */
#ifndef WEFT_ROUTE_DNS_SEGMENT_H
#define WEFT_ROUTE_DNS_SEGMENT_H

#include "base/packet.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

#define DNS_SEGMENT_HEADER_MAX 24u

struct dns_segment {
	uint16_t from_port, to_port;
	uint32_t sequence, acknowledged;
	uint8_t flags; /* of those above; urgent data is ordinary data */
	uint16_t window;
	uint16_t mss; /* of a SYN; at least 536 (RFC 9293, 3.7.1) */
	const uint8_t *data;
	uint32_t length;
};

/* Of a TCP packet whose headers are whole; false when its data offset lies. Options but MSS are
 * left out. Points into the packet. */
bool dns_segment_parse(const struct packet *packet, struct dns_segment *segment);

/* Writes a whole frame; `header` needs addresses only. Returns its length, 0 when it does not fit.
 */
size_t dns_segment_write(const struct packet_header *header, const struct dns_segment *segment,
			 uint8_t *out, size_t size);

/* The reset that answers a segment of no connection (RFC 9293, 3.10.7.1). */
void dns_segment_reset(const struct dns_segment *segment, struct dns_segment *reset);

#endif
