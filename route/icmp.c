/* ICMP and ICMPv6 of a gateway (icmp.h). Control thread; the packets are anybody's. */
#include "route/icmp.h"

#include "base/parse.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>

#define ICMP_LENGTH	    8u
#define IPV4_ERROR_MAX	    576u  /* RFC 1812, 4.3.2.3 */
#define IPV6_ERROR_MAX	    1280u /* RFC 4443, 2.4 c */
#define IPV4_INTERNET_CLASS 0xc0  /* precedence 6: RFC 1812, 4.3.2.5 */
#define IPV4_PLACE	    0x1fffu
#define IPV4_ECHO_REPLY	    0u
#define IPV4_UNREACHABLE    3u
#define IPV4_SOURCE_QUENCH  4u
#define IPV4_REDIRECT	    5u
#define IPV4_ECHO_REQUEST   8u
#define IPV4_TIME_EXCEEDED  11u
#define IPV4_PARAMETER	    12u
#define TOKEN		    1000u /* an error; the bucket fills by ICMP_ERROR_RATE each millisecond */

/* What stands in the header's second word. */
enum icmp_value {
	VALUE_NONE,
	VALUE_HIGH_BYTE, /* IPv4's pointer */
	VALUE_LOW_HALF,	 /* IPv4's MTU (RFC 1191, 4) */
	VALUE_WORD,	 /* IPv6's MTU and pointer */
};

struct icmp_kind {
	uint8_t type, code, value; /* enum icmp_value */
};

static const struct {
	struct icmp_kind ipv4, ipv6;
} kinds[ICMP_ERRORS] = {
	[ICMP_NET_UNREACHABLE] = { { 3, 0, VALUE_NONE }, { 1, 0, VALUE_NONE } },
	[ICMP_HOST_UNREACHABLE] = { { 3, 1, VALUE_NONE }, { 1, 3, VALUE_NONE } },
	[ICMP_PROTOCOL_UNREACHABLE] = { { 3, 2, VALUE_NONE }, { 4, 1, VALUE_WORD } },
	[ICMP_PORT_UNREACHABLE] = { { 3, 3, VALUE_NONE }, { 1, 4, VALUE_NONE } },
	[ICMP_TOO_BIG] = { { 3, 4, VALUE_LOW_HALF }, { 2, 0, VALUE_WORD } },
	[ICMP_PROHIBITED] = { { 3, 13, VALUE_NONE }, { 1, 1, VALUE_NONE } },
	[ICMP_SOURCE_ROUTE_FAILED] = { { 3, 5, VALUE_NONE }, { 4, 0, VALUE_WORD } },
	[ICMP_TTL_EXCEEDED] = { { 11, 0, VALUE_NONE }, { 3, 0, VALUE_NONE } },
	[ICMP_REASSEMBLY_TIME] = { { 11, 1, VALUE_NONE }, { 3, 1, VALUE_NONE } },
	[ICMP_PARAMETER_PROBLEM] = { { 12, 0, VALUE_HIGH_BYTE }, { 4, 0, VALUE_WORD } },
};

/* How many errors a leg may send: a token bucket. */
struct icmp_bucket {
	uint32_t tokens;
	bool begun;
	uint64_t at;
};

struct icmp {
	struct icmp_counters counters;
	uint16_t legs;
	struct icmp_bucket *buckets;
	uint8_t body[65536];
	uint8_t frame[PACKET_LENGTH_MAX];
};

struct icmp *icmp_create(uint16_t legs)
{
	struct icmp *icmp = calloc(1, sizeof(*icmp));

	if (icmp == NULL)
		return NULL;
	icmp->legs = legs;
	icmp->buckets = calloc(legs, sizeof(*icmp->buckets));
	if (icmp->buckets == NULL) {
		free(icmp);
		return NULL;
	}
	return icmp;
}

void icmp_destroy(struct icmp *icmp)
{
	if (icmp == NULL)
		return;
	free(icmp->buckets);
	free(icmp);
}

/* Whether an answer may go to the packet's source: one host, and not ourselves. */
static bool source_ok(const struct route_leg *leg, const struct packet *packet)
{
	return ip_is_host(&packet->source) && !route_leg_is_broadcast(leg, &packet->source) &&
	       !route_leg_owns(leg, &packet->source);
}

/* Answers an echo request (RFC 792; RFC 1122, 3.2.2.6; RFC 4443, 4.2). */
static bool echo(struct icmp *icmp, const struct route_leg *leg, const struct packet *packet)
{
	const uint8_t *ip = packet->network;
	struct packet_header header = { .from = leg->mac,
					.to = packet->from,
					.source = packet->destination,
					.destination = packet->source,
					.protocol = packet->protocol };
	size_t length;

	/* Groups are answered over IPv6 alone, from an address of ours. */
	if (ip_is_multicast(&header.source) &&
	    (packet->ip_version == 4 || !route_leg_source(leg, &packet->source, &header.source)))
		return false;
	if (route_leg_is_broadcast(leg, &header.source) || !source_ok(leg, packet))
		return false;
	header.tos = packet->ip_version == 4 ? ip[1] : (uint8_t)((ip[0] & 15) << 4 | ip[1] >> 4);
	memcpy(icmp->body, packet->payload, packet->payload_length);
	icmp->body[0] = packet->ip_version == 4 ? IPV4_ECHO_REPLY : ICMP6_ECHO_REPLY;
	length = packet_write_ip(&header, icmp->body, packet->payload_length, icmp->frame,
				 sizeof(icmp->frame));
	if (length == 0)
		return false;
	route_send(&leg->output, icmp->frame, length);
	return true;
}

bool icmp_input(struct icmp *icmp, const struct route_leg *leg, const struct packet *packet,
		uint64_t now)
{
	bool v4 = packet->ip_version == 4 && packet->protocol == IPPROTO_ICMP;
	bool v6 = packet->ip_version == 6 && packet->protocol == IPPROTO_ICMPV6;

	if ((!v4 && !v6) || packet->fragment)
		return false;
	if (packet->payload_length < ICMP_LENGTH)
		icmp->counters.short_packet++;
	else if (!packet_checksum_ok(packet))
		icmp->counters.checksum++;
	else if (packet->payload[0] == (v4 ? IPV4_ECHO_REQUEST : ICMP6_ECHO_REQUEST) &&
		 packet->payload[1] == 0 && echo(icmp, leg, packet))
		icmp->counters.echo_answered++;
	else
		icmp->counters.ignored++;
	return true;
}

/* Whether the packet is an ICMP error itself, or a redirect, or so short that it might be. For what
 * is no first fragment, too. */
static bool is_error_or_part(const struct packet *about)
{
	const uint8_t *l4 = about->payload;
	size_t length = about->payload_length;
	uint8_t protocol = about->protocol;

	if (about->ip_version == 4) {
		if ((read_be16(about->network + 6) & IPV4_PLACE) != 0)
			return true;
		if (protocol != IPPROTO_ICMP)
			return false;
		return length == 0 || l4[0] == IPV4_UNREACHABLE || l4[0] == IPV4_SOURCE_QUENCH ||
		       l4[0] == IPV4_REDIRECT || l4[0] == IPV4_TIME_EXCEEDED ||
		       l4[0] == IPV4_PARAMETER;
	}
	if (protocol == IPPROTO_FRAGMENT) {
		if (length < 8 || (read_be16(l4 + 2) & 0xfff8) != 0)
			return true;
		protocol = l4[0];
		l4 += 8;
		length -= 8;
	}
	return protocol == IPPROTO_ICMPV6 &&
	       (length == 0 || !(l4[0] & ICMP6_INFOMSG_MASK) || l4[0] == ND_REDIRECT);
}

/* RFC 1122, 3.2.2; RFC 1812, 4.3.2.7; RFC 4443, 2.4 e. */
static bool error_allowed(const struct route_leg *leg, const struct packet *about,
			  enum icmp_error error)
{
	/* Path MTU discovery works for groups, too, over IPv6. */
	bool group_ok = about->ip_version == 6 && error == ICMP_TOO_BIG;

	if (about->ip_version == 0 || is_error_or_part(about) || !source_ok(leg, about))
		return false;
	if (route_leg_is_broadcast(leg, &about->destination))
		return false;
	return group_ok ||
	       (!ip_is_multicast(&about->destination) && !mac_is_multicast(about->to.bytes));
}

size_t icmp_error_write(const struct route_leg *leg, const struct packet *about,
			enum icmp_error error, uint32_t value, uint8_t *out, size_t size)
{
	bool v4 = about->ip_version == 4;
	const struct icmp_kind *kind = v4 ? &kinds[error].ipv4 : &kinds[error].ipv6;
	size_t room = v4 ? IPV4_ERROR_MAX - PARSE_IPV4_LENGTH : IPV6_ERROR_MAX - PARSE_IPV6_LENGTH;
	uint8_t body[IPV6_ERROR_MAX] = { kind->type, kind->code };
	size_t quoted = about->network_length;
	struct packet_header header = { .from = leg->mac,
					.to = about->from,
					.destination = about->source,
					.protocol = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
					.tos = v4 ? IPV4_INTERNET_CLASS : 0 };

	if (!error_allowed(leg, about, error) ||
	    !route_leg_source(leg, &about->source, &header.source))
		return 0;
	if (kind->value == VALUE_HIGH_BYTE)
		body[4] = (uint8_t)value;
	else if (kind->value == VALUE_LOW_HALF)
		write_be16(body + 6, (uint16_t)value);
	else if (kind->value == VALUE_WORD)
		write_be32(body + 4, value);
	if (quoted > room - ICMP_LENGTH)
		quoted = room - ICMP_LENGTH;
	memcpy(body + ICMP_LENGTH, about->network, quoted);
	return packet_write_ip(&header, body, ICMP_LENGTH + quoted, out, size);
}

/* Takes a token, if there is one. */
static bool bucket_take(struct icmp_bucket *bucket, uint64_t now)
{
	uint64_t tokens = ICMP_ERROR_BURST * TOKEN;

	if (bucket->begun && now - bucket->at < tokens / ICMP_ERROR_RATE)
		tokens = bucket->tokens + (now - bucket->at) * ICMP_ERROR_RATE;
	if (tokens > ICMP_ERROR_BURST * TOKEN)
		tokens = ICMP_ERROR_BURST * TOKEN;
	bucket->begun = true;
	bucket->at = now;
	bucket->tokens = (uint32_t)(tokens < TOKEN ? tokens : tokens - TOKEN);
	return tokens >= TOKEN;
}

bool icmp_error(struct icmp *icmp, const struct route_leg *leg, const struct packet *about,
		enum icmp_error error, uint32_t value, uint64_t now)
{
	size_t length =
	    icmp_error_write(leg, about, error, value, icmp->frame, sizeof(icmp->frame));

	if (length == 0) {
		icmp->counters.errors_forbidden++;
		return false;
	}
	if (leg->index >= icmp->legs || !bucket_take(&icmp->buckets[leg->index], now)) {
		icmp->counters.errors_limited++;
		return false;
	}
	icmp->counters.errors_sent++;
	route_send(&leg->output, icmp->frame, length);
	return true;
}

const struct icmp_counters *icmp_counters(const struct icmp *icmp)
{
	return &icmp->counters;
}
