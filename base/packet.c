/* Reading and writing whole packets for the control thread (packet.h). */
#include "base/packet.h"

#include "base/checksum.h"
#include "base/parse.h"

#include <netinet/in.h>

#define HOP_LIMIT 64

/* The sum of what RFC 9293, 3.1 and RFC 8200, 8.1 put before the L4 header. */
static uint64_t pseudo_sum(const struct ip *source, const struct ip *destination, uint8_t protocol,
			   size_t length)
{
	uint8_t tail[8];
	uint64_t sum;

	write_be32(tail, (uint32_t)length);
	write_be32(tail + 4, protocol);
	sum = checksum_add(0, tail, sizeof(tail));
	if (ip_is_v4(source)) {
		sum = checksum_add(sum, ip_v4_bytes(source), 4);
		return checksum_add(sum, ip_v4_bytes(destination), 4);
	}
	sum = checksum_add(sum, source->bytes, sizeof(source->bytes));
	return checksum_add(sum, destination->bytes, sizeof(destination->bytes));
}

/* Where the checksum stands in an L4 header, and whether it covers the addresses. */
static bool checksum_place(uint8_t protocol, size_t *offset, bool *pseudo)
{
	*pseudo = protocol != IPPROTO_ICMP;
	switch (protocol) {
	case IPPROTO_UDP:
		*offset = 6;
		return true;
	case IPPROTO_TCP:
		*offset = 16;
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		*offset = 2;
		return true;
	default:
		return false;
	}
}

static bool parse_ipv4(struct packet *packet)
{
	const uint8_t *p = packet->network;
	size_t header, total;

	if (packet->network_length < PARSE_IPV4_LENGTH || p[0] >> 4 != 4)
		return false;
	header = (size_t)(p[0] & 15) * 4;
	total = read_be16(p + 2);
	if (header < PARSE_IPV4_LENGTH || total < header || total > packet->network_length ||
	    checksum_finish(checksum_add(0, p, header)) != 0)
		return false;
	packet->length -= packet->network_length - total;
	packet->network_length = total;
	packet->ip_version = 4;
	packet->protocol = p[9];
	packet->hop_limit = p[8];
	packet->fragment = (read_be16(p + 6) & 0x3fff) != 0;
	packet->source = ip_from_v4_bytes(p + 12);
	packet->destination = ip_from_v4_bytes(p + 16);
	packet->payload = p + header;
	packet->payload_length = total - header;
	return true;
}

static bool parse_ipv6(struct packet *packet)
{
	const uint8_t *p = packet->network, *end;
	size_t total;

	if (packet->network_length < PARSE_IPV6_LENGTH || p[0] >> 4 != 6)
		return false;
	total = PARSE_IPV6_LENGTH + (size_t)read_be16(p + 4);
	if (total > packet->network_length)
		return false;
	packet->length -= packet->network_length - total;
	packet->network_length = total;
	packet->ip_version = 6;
	packet->protocol = p[6];
	packet->hop_limit = p[7];
	packet->source = ip_from_v6_bytes(p + 8);
	packet->destination = ip_from_v6_bytes(p + 24);
	end = p + total;
	p += PARSE_IPV6_LENGTH;
	for (;;) {
		uint32_t skip = parse_extension_length(packet->protocol, p, (uint32_t)(end - p));

		if (skip == 0)
			break;
		packet->protocol = p[0];
		p += skip;
	}
	packet->fragment = packet->protocol == IPPROTO_FRAGMENT;
	packet->payload = p;
	packet->payload_length = (size_t)(end - p);
	/* An extension header that is cut off; or addresses that would pass for IPv4 from here on,
	 * and that no packet may have (RFC 4291, 2.5.5.2). */
	return packet->protocol != IPPROTO_HOPOPTS && packet->protocol != IPPROTO_ROUTING &&
	       packet->protocol != IPPROTO_DSTOPTS && !ip_is_v4(&packet->source) &&
	       !ip_is_v4(&packet->destination);
}

static void parse_ports(struct packet *packet)
{
	bool udp = packet->protocol == IPPROTO_UDP;
	const uint8_t *p = packet->payload;
	size_t length;

	if (packet->fragment || (!udp && packet->protocol != IPPROTO_TCP) ||
	    packet->payload_length < (udp ? PARSE_UDP_LENGTH : PARSE_TCP_LENGTH))
		return;
	packet->source_port = read_be16(p);
	packet->destination_port = read_be16(p + 2);
	length = read_be16(p + 4);
	if (!udp || length < PARSE_UDP_LENGTH || length > packet->payload_length)
		return;
	packet->data = p + PARSE_UDP_LENGTH;
	packet->data_length = length - PARSE_UDP_LENGTH;
}

bool packet_parse(const uint8_t *bytes, size_t length, struct packet *packet)
{
	*packet = (struct packet){ .bytes = bytes, .length = length };
	if (length < PACKET_ETHERNET_LENGTH)
		return false;
	memcpy(packet->to.bytes, bytes, MAC_LENGTH);
	memcpy(packet->from.bytes, bytes + MAC_LENGTH, MAC_LENGTH);
	packet->ethertype = read_be16(bytes + 12);
	packet->network = bytes + PACKET_ETHERNET_LENGTH;
	if (packet->ethertype == ETHERTYPE_VLAN) {
		if (length < PACKET_ETHERNET_LENGTH + 4)
			return false;
		packet->ethertype = read_be16(bytes + 16);
		packet->network += 4;
	}
	packet->network_length = (size_t)(bytes + length - packet->network);
	if (packet->ethertype == ETHERTYPE_IPV4) {
		if (!parse_ipv4(packet))
			return false;
	} else if (packet->ethertype == ETHERTYPE_IPV6) {
		if (!parse_ipv6(packet))
			return false;
	} else {
		return true;
	}
	parse_ports(packet);
	return true;
}

bool packet_checksum_ok(const struct packet *packet)
{
	size_t offset, length = packet->payload_length;
	uint64_t sum = 0;
	bool pseudo;

	if (packet->ip_version == 0 || !checksum_place(packet->protocol, &offset, &pseudo))
		return true;
	if (length < offset + 2)
		return false;
	if (packet->protocol == IPPROTO_UDP) {
		if (packet->data == NULL)
			return false;
		length = packet->data_length + PARSE_UDP_LENGTH;
		/* No checksum: allowed over IPv4, never over IPv6 (RFC 8200, 8.1). */
		if (read_be16(packet->payload + offset) == 0)
			return packet->ip_version == 4;
	}
	if (pseudo)
		sum = pseudo_sum(&packet->source, &packet->destination, packet->protocol, length);
	return checksum_finish(checksum_add(sum, packet->payload, length)) == 0;
}

static void write_ipv4(uint8_t *p, const struct packet_header *header, size_t length)
{
	uint16_t sum;

	memset(p, 0, PARSE_IPV4_LENGTH);
	p[0] = 0x45;
	p[1] = header->tos;
	write_be16(p + 2, (uint16_t)(PARSE_IPV4_LENGTH + length));
	p[8] = header->hop_limit != 0 ? header->hop_limit : HOP_LIMIT;
	p[9] = header->protocol;
	memcpy(p + 12, ip_v4_bytes(&header->source), 4);
	memcpy(p + 16, ip_v4_bytes(&header->destination), 4);
	sum = checksum_finish(checksum_add(0, p, PARSE_IPV4_LENGTH));
	memcpy(p + 10, &sum, sizeof(sum));
}

static void write_ipv6(uint8_t *p, const struct packet_header *header, size_t length)
{
	write_be32(p, 6u << 28 | (uint32_t)header->tos << 20);
	write_be16(p + 4, (uint16_t)length);
	p[6] = header->protocol;
	p[7] = header->hop_limit != 0 ? header->hop_limit : HOP_LIMIT;
	memcpy(p + 8, header->source.bytes, 16);
	memcpy(p + 24, header->destination.bytes, 16);
}

/* Ethernet and IP headers for `length` bytes of L4; returns where that goes, NULL without room. */
static uint8_t *write_headers(const struct packet_header *header, size_t length, uint8_t *out,
			      size_t size)
{
	bool v4 = ip_is_v4(&header->source);
	size_t ip = v4 ? PARSE_IPV4_LENGTH : PARSE_IPV6_LENGTH;

	if (length > (v4 ? 65535u - PARSE_IPV4_LENGTH : 65535u) ||
	    PACKET_ETHERNET_LENGTH + ip + length > size)
		return NULL;
	memcpy(out, header->to.bytes, MAC_LENGTH);
	memcpy(out + MAC_LENGTH, header->from.bytes, MAC_LENGTH);
	write_be16(out + 12, v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	if (v4)
		write_ipv4(out + PACKET_ETHERNET_LENGTH, header, length);
	else
		write_ipv6(out + PACKET_ETHERNET_LENGTH, header, length);
	return out + PACKET_ETHERNET_LENGTH + ip;
}

static void write_checksum(const struct packet_header *header, uint8_t *l4, size_t length)
{
	uint64_t sum = 0;
	uint16_t value = 0;
	size_t offset;
	bool pseudo;

	if (!checksum_place(header->protocol, &offset, &pseudo) || length < offset + 2)
		return;
	memcpy(l4 + offset, &value, sizeof(value));
	if (pseudo)
		sum = pseudo_sum(&header->source, &header->destination, header->protocol, length);
	value = checksum_finish(checksum_add(sum, l4, length));
	if (value == 0 && header->protocol == IPPROTO_UDP)
		value = 0xffff;
	memcpy(l4 + offset, &value, sizeof(value));
}

size_t packet_write_ip(const struct packet_header *header, const void *payload, size_t length,
		       uint8_t *out, size_t size)
{
	uint8_t *l4 = write_headers(header, length, out, size);

	if (l4 == NULL)
		return 0;
	memcpy(l4, payload, length);
	write_checksum(header, l4, length);
	return (size_t)(l4 - out) + length;
}

size_t packet_write_udp(const struct packet_header *header, const void *data, size_t length,
			uint8_t *out, size_t size)
{
	struct packet_header udp = *header;
	uint8_t *l4;

	udp.protocol = IPPROTO_UDP;
	if (length > 65535u - PARSE_UDP_LENGTH)
		return 0;
	l4 = write_headers(&udp, PARSE_UDP_LENGTH + length, out, size);
	if (l4 == NULL)
		return 0;
	write_be16(l4, udp.source_port);
	write_be16(l4 + 2, udp.destination_port);
	write_be16(l4 + 4, (uint16_t)(PARSE_UDP_LENGTH + length));
	memcpy(l4 + PARSE_UDP_LENGTH, data, length);
	write_checksum(&udp, l4, PARSE_UDP_LENGTH + length);
	return (size_t)(l4 - out) + PARSE_UDP_LENGTH + length;
}
