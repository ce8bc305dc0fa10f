/* Finding headers (parse.h), for offloads, flow hashes and whoever looks at more than MACs. Worker
 * thread, on the worker's own copy of the first bytes. Every offset is checked against the head
 * before the byte is read, and every length that a header claims against the frame. */
#include "base/parse.h"

#include <netinet/in.h>

#define ETHERNET_LENGTH	     14u
#define TAG_LENGTH	     4u
#define TAGS_MAX	     2
#define IPV4_MORE_AND_OFFSET 0x3fffu /* of the flags and fragment offset */

/* What an IP header tells about the datagram: its L4 part is head[l4, end). */
struct datagram {
	uint32_t l4;
	uint32_t end;	  /* may lie beyond the head, never beyond the frame */
	uint8_t protocol; /* of what stands at l4 */
};

static int parse_ipv4(const struct frame *frame, uint32_t l3, struct datagram *datagram);
static int parse_ipv6(const struct frame *frame, uint32_t l3, struct datagram *datagram);
static void parse_l4(struct frame *frame, const struct datagram *datagram);

void parse_frame(struct frame *frame)
{
	struct datagram datagram;
	uint16_t ethertype;
	uint32_t l3;
	int version = 0;

	frame_pull(frame);
	l3 = parse_network_offset(frame, &ethertype);
	frame->ip_version = 0;
	frame->l3_offset = 0;
	frame->l4_offset = 0;
	frame->l4_protocol = 0;
	frame->payload_offset = 0;
	if (l3 == 0)
		return;
	if (ethertype == ETHERTYPE_IPV4)
		version = parse_ipv4(frame, l3, &datagram);
	else if (ethertype == ETHERTYPE_IPV6)
		version = parse_ipv6(frame, l3, &datagram);
	if (version == 0)
		return;
	frame->ip_version = (uint8_t)version;
	frame->l3_offset = (uint8_t)l3;
	if (datagram.l4 != 0)
		parse_l4(frame, &datagram);
}

uint32_t parse_network_offset(const struct frame *frame, uint16_t *ethertype)
{
	uint32_t offset = ETHERNET_LENGTH;

	for (int tags = 0; offset <= frame->head_length; tags++, offset += TAG_LENGTH) {
		*ethertype = read_be16(frame->head + offset - 2);
		if ((*ethertype != ETHERTYPE_VLAN && *ethertype != ETHERTYPE_QINQ) ||
		    tags == TAGS_MAX)
			return offset;
	}
	return 0;
}

uint32_t parse_extension_length(uint8_t type, const uint8_t *p, uint32_t room)
{
	uint32_t length;

	if (type != IPPROTO_HOPOPTS && type != IPPROTO_ROUTING && type != IPPROTO_DSTOPTS)
		return 0;
	if (room < 8)
		return 0;
	length = ((uint32_t)p[1] + 1) * 8;
	return length <= room ? length : 0;
}

/* Returns the version, or 0 when there is no sound IPv4 header at l3. */
static int parse_ipv4(const struct frame *frame, uint32_t l3, struct datagram *datagram)
{
	const uint8_t *ip = frame->head + l3;
	uint32_t header, total;

	if (l3 + PARSE_IPV4_LENGTH > frame->head_length || ip[0] >> 4 != 4)
		return 0;
	header = (ip[0] & 15u) * 4;
	total = read_be16(ip + 2);
	if (header < PARSE_IPV4_LENGTH || total < header || l3 + header > frame->head_length ||
	    l3 + total > frame->length)
		return 0;
	datagram->protocol = ip[9];
	datagram->end = l3 + total;
	datagram->l4 = (read_be16(ip + 6) & IPV4_MORE_AND_OFFSET) != 0 ? 0 : l3 + header;
	return 4;
}

/* The same for IPv6, with its extension headers. */
static int parse_ipv6(const struct frame *frame, uint32_t l3, struct datagram *datagram)
{
	const uint8_t *ip = frame->head + l3;
	uint32_t limit, offset = l3 + PARSE_IPV6_LENGTH;
	uint8_t type;

	if (offset > frame->head_length || ip[0] >> 4 != 6)
		return 0;
	datagram->end = offset + read_be16(ip + 4);
	if (datagram->end > frame->length)
		return 0;
	limit = datagram->end < frame->head_length ? datagram->end : frame->head_length;
	for (type = ip[6];;) {
		const uint8_t *p = frame->head + offset;
		uint32_t length = parse_extension_length(type, p, limit - offset);

		if (length == 0)
			break;
		type = p[0];
		offset += length;
	}
	datagram->protocol = type;
	datagram->l4 = offset;
	/* Still an extension header: one that is cut off or too long. A fragment, even a lone one
	 * (RFC 6946), stays what it is. */
	if (type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS ||
	    type == IPPROTO_FRAGMENT || type == IPPROTO_NONE)
		datagram->l4 = 0;
	return 6;
}

static void parse_l4(struct frame *frame, const struct datagram *datagram)
{
	uint32_t l4 = datagram->l4;
	uint32_t room = datagram->end - l4; /* what IP says there is */
	const uint8_t *p = frame->head + l4;
	uint32_t header = 0;

	if (l4 >= frame->head_length || room == 0)
		return;
	if (datagram->protocol == IPPROTO_TCP) {
		if (l4 + PARSE_TCP_LENGTH > frame->head_length)
			return;
		header = (p[12] >> 4) * 4u;
		if (header < PARSE_TCP_LENGTH || header > room || l4 + header > frame->head_length)
			return;
	} else if (datagram->protocol == IPPROTO_UDP) {
		header = PARSE_UDP_LENGTH;
		if (l4 + header > frame->head_length || read_be16(p + 4) < header ||
		    read_be16(p + 4) > room)
			return;
	}
	frame->l4_offset = (uint16_t)l4;
	frame->l4_protocol = datagram->protocol;
	if (header != 0)
		frame->payload_offset = (uint16_t)(l4 + header);
}
