/* Forwarding one IP packet (forward.h): checks, the rewrite, and whether it fits the next link.
 * Worker threads call these for each frame of a burst; all they read are bytes of the head, which
 * are the worker's own. */
#include "route/forward.h"

#include "base/checksum.h"
#include "base/parse.h"
#include "base/segment.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define IPV4_FLAGS     6u
#define IPV4_TTL       8u
#define IPV4_CSUM      10u
#define IPV4_DF	       0x4000u
#define IPV4_OFFSET    0x1fffu
#define IPV4_SOURCE    12u
#define IPV6_HOP_LIMIT 7u
#define IPV6_SOURCE    8u
#define OPTION_LSRR    131u
#define OPTION_SSRR    137u
#define TCP_CSUM       16u
#define TCP_FLAGS      13u
#define TCP_SYN	       0x02u
#define TCP_OPTION_MSS 2u

static enum forward_check refuse(enum drop_reason *reason, enum drop_reason why)
{
	*reason = why;
	return FORWARD_DROP;
}

static uint8_t *network_header(const struct frame *frame)
{
	return frame->head + frame->l3_offset;
}

/* Where the packet ends, as its IP header says: within the frame, parse_frame() made sure. */
static uint32_t network_end(const struct frame *frame)
{
	const uint8_t *ip = network_header(frame);

	if (frame->ip_version == 4)
		return frame->l3_offset + (uint32_t)read_be16(ip + 2);
	return frame->l3_offset + PARSE_IPV6_LENGTH + read_be16(ip + 4);
}

/* Padding ends here: it would make fragments of its own, and stand in checksums. */
static void cut_padding(struct frame *frame, uint32_t end)
{
	uint32_t excess = frame->length - end;

	frame->length = end;
	while (excess > 0 && frame->segment_count > 0) {
		/* The list is the burst's own; const for those who only read frames. */
		struct frame_segment *last =
		    (struct frame_segment *)(uintptr_t)&frame->segments[frame->segment_count - 1];

		if (last->length > excess) {
			last->length -= excess;
			return;
		}
		excess -= last->length;
		frame->segment_count--;
	}
	frame->head_length = (uint16_t)(frame->head_length - excess);
}

/* Options that are well-formed and do not route (RFC 791, 3.1). */
static bool options_ok(const uint8_t *ip)
{
	uint32_t end = (ip[0] & 15u) * 4u;

	for (uint32_t i = PARSE_IPV4_LENGTH; i < end;) {
		if (ip[i] == 0)
			return true;
		if (ip[i] == 1) {
			i++;
			continue;
		}
		if (ip[i] == OPTION_LSRR || ip[i] == OPTION_SSRR || i + 1 >= end || ip[i + 1] < 2 ||
		    i + ip[i + 1] > end)
			return false;
		i += ip[i + 1];
	}
	return true;
}

/* Whether a fragment ends within what a packet can be long: no "ping of death" goes through. */
static bool offset_ok(const uint8_t *ip)
{
	uint32_t offset = (read_be16(ip + IPV4_FLAGS) & IPV4_OFFSET) * 8u;

	return offset + read_be16(ip + 2) - (ip[0] & 15u) * 4u + PARSE_IPV4_LENGTH <= UINT16_MAX;
}

/* Whether the extension headers in the head have no type 0 routing header with hops left. */
static bool extensions_ok(const struct frame *frame)
{
	const uint8_t *ip = network_header(frame), *end = frame->head + frame->head_length;
	const uint8_t *p = ip + PARSE_IPV6_LENGTH;
	uint8_t type = ip[6];

	for (;;) {
		uint32_t length = parse_extension_length(type, p, (uint32_t)(end - p));

		if (length == 0)
			break;
		if (type == IPPROTO_ROUTING && p[2] == 0 && p[3] != 0)
			return false;
		type = p[0];
		p += length;
	}
	return true;
}

static bool is_host(const struct frame *frame, const struct ip *ip)
{
	/* An IPv6 header with an IPv4-mapped address would be taken for IPv4 from here on. */
	return ip_is_host(ip) && ip_is_v4(ip) == (frame->ip_version == 4);
}

enum forward_check forward_check(struct frame *frame, enum drop_reason *reason)
{
	const uint8_t *ip;
	struct ip source, destination;
	uint32_t end, header;

	if (frame->ip_version == 0)
		parse_frame(frame);
	if (frame->ip_version == 0)
		return refuse(reason, DROP_IP_HEADER);
	ip = network_header(frame);
	end = network_end(frame);
	header = frame->ip_version == 4 ? (ip[0] & 15u) * 4u : PARSE_IPV6_LENGTH;
	/* A hop-by-hop header alone may explain a length of 0 (RFC 2675): we take no jumbograms. */
	if (frame->ip_version == 6 && read_be16(ip + 4) == 0 && ip[6] == IPPROTO_HOPOPTS)
		return refuse(reason, DROP_IP_HEADER);
	if (frame->ip_version == 4 && checksum_finish(checksum_add(0, ip, header)) != 0)
		return refuse(reason, DROP_IP_CHECKSUM);
	if (frame->ip_version == 4 && !offset_ok(ip))
		return refuse(reason, DROP_IP_HEADER);
	if (frame->ip_version == 4 && header > PARSE_IPV4_LENGTH && !options_ok(ip))
		return refuse(reason, DROP_IP_OPTIONS);
	if (end < frame->length) {
		if (frame->flags & FRAME_NEEDS_CSUM &&
		    (uint32_t)frame->csum_start + frame->csum_offset + 2 > end)
			return refuse(reason, DROP_IP_HEADER);
		cut_padding(frame, end);
	}
	if (frame->ip_version == 6 && !extensions_ok(frame))
		return refuse(reason, DROP_IP_OPTIONS);
	source = forward_source(frame);
	destination = forward_destination(frame);
	if (!is_host(frame, &source) || !is_host(frame, &destination))
		return refuse(reason, DROP_IP_MARTIAN);
	if (ip_is_link_local(&source) || ip_is_link_local(&destination))
		return FORWARD_LINK_LOCAL;
	return ip[frame->ip_version == 4 ? IPV4_TTL : IPV6_HOP_LIMIT] <= 1 ? FORWARD_TTL
									   : FORWARD_OK;
}

struct ip forward_source(const struct frame *frame)
{
	const uint8_t *ip = network_header(frame);

	return frame->ip_version == 4 ? ip_from_v4_bytes(ip + IPV4_SOURCE)
				      : ip_from_v6_bytes(ip + IPV6_SOURCE);
}

struct ip forward_destination(const struct frame *frame)
{
	const uint8_t *ip = network_header(frame);

	return frame->ip_version == 4 ? ip_from_v4_bytes(ip + IPV4_SOURCE + 4)
				      : ip_from_v6_bytes(ip + IPV6_SOURCE + 16);
}

/* The checksum at `field` after one of the words that it covers has changed: HC' = ~(~HC + ~m + m')
 * (RFC 1624, section 3). All in memory order. */
static void checksum_adjust(uint8_t *field, uint16_t before, uint16_t after)
{
	uint16_t checksum;

	memcpy(&checksum, field, sizeof(checksum));
	checksum = checksum_finish((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
	memcpy(field, &checksum, sizeof(checksum));
}

void forward_rewrite(struct frame *frame, const struct mac *from, const struct mac *to)
{
	uint8_t *ip = network_header(frame);

	memcpy(frame->head, to->bytes, MAC_LENGTH);
	memcpy(frame->head + MAC_LENGTH, from->bytes, MAC_LENGTH);
	if (frame->ip_version == 6) {
		ip[IPV6_HOP_LIMIT]--;
	} else {
		uint16_t before, after;

		memcpy(&before, ip + IPV4_TTL, sizeof(before));
		ip[IPV4_TTL]--;
		memcpy(&after, ip + IPV4_TTL, sizeof(after));
		checksum_adjust(ip + IPV4_CSUM, before, after);
	}
}

/* The packet will be cut in fragments when it is sent. */
static enum forward_fit fragment(struct frame *frame, uint32_t mtu)
{
	uint16_t size = segment_fragment_size(frame, mtu);

	if (size == 0)
		return FORWARD_TOO_BIG;
	frame->gso_size = size;
	/* UFO is cut so anyway, and may meet a receiver that takes it whole. */
	frame->gso = frame->gso == FRAME_GSO_NONE ? (uint8_t)FRAME_GSO_FRAGMENT : frame->gso;
	return FORWARD_FRAGMENT;
}

/* TCP does not care where its stream is cut: smaller segments, instead of fragments of them. */
static enum forward_fit resegment(struct frame *frame, uint32_t headers, uint32_t mtu)
{
	uint16_t size = frame->gso_size;

	if (headers >= mtu)
		return FORWARD_TOO_BIG;
	frame->gso_size = (uint16_t)(mtu - headers);
	if (segment_count(frame) <= FRAME_SEGMENTS_MAX)
		return FORWARD_FITS;
	frame->gso_size = size;
	return FORWARD_TOO_BIG;
}

/* What becomes of a checked frame where fragmentation is allowed or not. */
static enum forward_fit fit(struct frame *frame, uint32_t mtu, enum forward_fit when_too_long)
{
	uint32_t length = frame->length - frame->l3_offset;
	uint32_t headers = (uint32_t)frame->payload_offset - frame->l3_offset;

	if (length <= mtu)
		return FORWARD_FITS;
	switch (frame->gso) {
	case FRAME_GSO_TCP4:
	case FRAME_GSO_TCP6:
		if (headers + frame->gso_size <= mtu)
			return FORWARD_FITS;
		return when_too_long == FORWARD_FRAGMENT ? resegment(frame, headers, mtu)
							 : FORWARD_TOO_BIG;
	case FRAME_GSO_UDP:
		/* Datagrams that are cut twice, by L4 and by IP, nobody makes. */
		return headers + frame->gso_size <= mtu ? FORWARD_FITS : FORWARD_TOO_BIG;
	case FRAME_GSO_UDP4_FRAGMENT:
	case FRAME_GSO_FRAGMENT:
		if ((frame->gso_size & ~7u) <= segment_fragment_size(frame, mtu))
			return FORWARD_FITS;
		break;
	default:
		break;
	}
	return when_too_long == FORWARD_FRAGMENT ? fragment(frame, mtu) : FORWARD_TOO_BIG;
}

enum forward_fit forward_fits(struct frame *frame, uint32_t mtu)
{
	bool may =
	    frame->ip_version == 4 && !(read_be16(network_header(frame) + IPV4_FLAGS) & IPV4_DF);

	return fit(frame, mtu, may ? FORWARD_FRAGMENT : FORWARD_TOO_BIG);
}

enum forward_fit forward_fits_own(struct frame *frame, uint32_t mtu)
{
	return fit(frame, mtu, FORWARD_FRAGMENT);
}

/* Writes a new MSS at `offset` of the TCP header, where its option has the value. */
static void write_mss(struct frame *frame, uint32_t offset, uint16_t mss)
{
	uint8_t *tcp = frame->head + frame->l4_offset;
	uint16_t before, after = htons(mss);

	memcpy(&before, tcp + offset, sizeof(before));
	memcpy(tcp + offset, &after, sizeof(after));
	/* A sum that is still to be made (FRAME_NEEDS_CSUM) will be made of the new value. */
	if (frame->flags & FRAME_NEEDS_CSUM)
		return;
	if (offset & 1) {
		/* Its bytes stand in two words, each in the other's place. */
		before = __builtin_bswap16(before);
		after = __builtin_bswap16(after);
	}
	checksum_adjust(tcp + TCP_CSUM, before, after);
}

void forward_clamp_mss(struct frame *frame, uint32_t mtu)
{
	uint32_t fixed =
	    (frame->ip_version == 4 ? PARSE_IPV4_LENGTH : PARSE_IPV6_LENGTH) + PARSE_TCP_LENGTH;
	const uint8_t *tcp = frame->head + frame->l4_offset;
	uint32_t end;

	if (frame->l4_protocol != IPPROTO_TCP || frame->payload_offset == 0 ||
	    !(tcp[TCP_FLAGS] & TCP_SYN) || mtu <= fixed)
		return;
	end = (uint32_t)frame->payload_offset - frame->l4_offset;
	for (uint32_t i = PARSE_TCP_LENGTH; i < end && tcp[i] != 0;) {
		uint32_t length = tcp[i] == 1 ? 1 : (i + 1 < end ? tcp[i + 1] : 0);

		if (length == 0 || (tcp[i] != 1 && length < 2) || i + length > end)
			return;
		if (tcp[i] == TCP_OPTION_MSS && length == 4 && read_be16(tcp + i + 2) > mtu - fixed)
			write_mss(frame, i + 2, (uint16_t)(mtu - fixed));
		i += length;
	}
}
