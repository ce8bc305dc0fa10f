/* Clients of UDP forwards on the host's loopback (user_loopback.h): a table of bounded size, by
 * guest's end and client's port, in buckets of a few where the oldest goes first. Fragments of an
 * answer follow its first by the datagram's identification. Thread of user_stack.c and, for the
 * forwards, control, with its lock held. */
#include "vswitch/user_loopback.h"

#include "base/checksum.h"
#include "base/packet.h"
#include "base/parse.h"
#include "base/siphash.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS		 1024u
#define WAYS		 4u
#define DATAGRAMS	 16u   /* answers in fragments, at a time */
#define DATAGRAM_AGE	 30000 /* ms; libslirp waits as long for all of them */
#define ERROR_LENGTH	 8u    /* of an ICMP header before the packet it tells of */
#define ICMP_ERROR_FIRST 3u
#define ICMP6_INFO_FIRST 128u /* RFC 4443, 2.1: all below are errors */
#define FRAGMENT_MORE	 0x2000u
#define FRAGMENT_OFFSET	 0x1fffu
#define DISCARD		 9u /* RFC 863; nothing is ever sent there */

/* The addresses tell the family. */
struct client_key {
	struct ip guest;
	uint16_t guest_port, port;
};

struct client {
	struct client_key key;
	struct ip ip;  /* its own, of the loopback */
	int64_t until; /* ms; 0: none */
};

/* An IPv4 datagram of which the first fragment went to a client. */
struct datagram {
	struct ip guest, client;
	uint16_t id;
	int64_t until;
};

struct user_loopback {
	struct ip gateway, gateway6;
	bool open;
	uint8_t forwarded[2]
			 [8192]; /* bits: ports of guests that UDP forwards go to; IPv6's second */
	uint64_t key[2];
	struct client clients[BUCKETS][WAYS];
	struct datagram datagrams[DATAGRAMS];
	uint32_t datagram_next;
	uint8_t copy[FRAME_LENGTH_MAX];
};

/* Where in an IP frame things are. */
struct view {
	bool v6;
	uint8_t protocol;
	uint32_t source, destination, l4;
	struct ip from, to;
	uint16_t id, fragment; /* as in the header; 0: whole */
};

struct user_loopback *user_loopback_create(const struct port_user_addresses *addresses, bool open)
{
	struct user_loopback *loopback = calloc(1, sizeof(*loopback));

	if (!loopback)
		return NULL;
	loopback->gateway = addresses->gateway;
	loopback->gateway6 = addresses->gateway6;
	loopback->open = open;
	siphash_key(loopback->key);
	return loopback;
}

void user_loopback_destroy(struct user_loopback *loopback)
{
	free(loopback);
}

static bool is_forwarded(const struct user_loopback *loopback, bool v6, uint16_t port)
{
	return loopback->forwarded[v6][port / 8] & 1u << port % 8;
}

void user_loopback_set_forwards(struct user_loopback *loopback, const struct user_forward *forwards,
				uint32_t count)
{
	memset(loopback->forwarded, 0, sizeof(loopback->forwarded));
	for (uint32_t i = 0; i < count; i++) {
		uint16_t port = forwards[i].guest_port;

		if (forwards[i].protocol == IPPROTO_UDP)
			loopback->forwarded[!ip_is_v4(&forwards[i].guest)][port / 8] |=
			    (uint8_t)(1u << port % 8);
	}
	for (uint32_t i = 0; i < BUCKETS * WAYS; i++) {
		struct client *client = &loopback->clients[i / WAYS][i % WAYS];

		if (!is_forwarded(loopback, !ip_is_v4(&client->key.guest), client->key.guest_port))
			client->until = 0;
	}
}

size_t user_loopback_opening(const struct user_forward *forward, uint8_t *out, size_t size)
{
	static const uint8_t v4[4] = { 127, 0, 0, 1 };
	struct packet_header header = {
		.source = forward->guest,
		.destination = ip_is_v4(&forward->guest)
				   ? ip_from_v4_bytes(v4)
				   : ip_from_v6_bytes(in6addr_loopback.s6_addr),
		.protocol = IPPROTO_UDP,
		.hop_limit = 1,
		.source_port = forward->guest_port,
		.destination_port = DISCARD,
	};

	return packet_write_udp(&header, "", 0, out, size);
}

/* False for all but IP. */
static bool look(const uint8_t *frame, uint32_t length, struct view *view)
{
	const uint8_t *ip = frame + PACKET_ETHERNET_LENGTH;
	uint16_t type = length > PACKET_ETHERNET_LENGTH ? read_be16(frame + 12) : 0;

	*view = (struct view){ .v6 = type == ETHERTYPE_IPV6 };
	if (type == ETHERTYPE_IPV4 && length >= PACKET_ETHERNET_LENGTH + PARSE_IPV4_LENGTH) {
		view->protocol = ip[9];
		view->source = PACKET_ETHERNET_LENGTH + 12;
		view->destination = PACKET_ETHERNET_LENGTH + 16;
		view->l4 = PACKET_ETHERNET_LENGTH + (ip[0] & 15u) * 4u;
		view->from = ip_from_v4_bytes(ip + 12);
		view->to = ip_from_v4_bytes(ip + 16);
		view->id = read_be16(ip + 4);
		view->fragment = read_be16(ip + 6) & (FRAGMENT_MORE | FRAGMENT_OFFSET);
		return true;
	}
	if (type == ETHERTYPE_IPV6 && length >= PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH) {
		view->protocol = ip[6];
		view->source = PACKET_ETHERNET_LENGTH + 8;
		view->destination = PACKET_ETHERNET_LENGTH + 24;
		view->l4 = PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH;
		view->from = ip_from_v6_bytes(ip + 8);
		view->to = ip_from_v6_bytes(ip + 24);
		return true;
	}
	return false;
}

/* RFC 1624, 3: the field without the old bytes, and with the new. */
static void update_sum(uint8_t *field, const uint8_t *old, const uint8_t *new, uint32_t length)
{
	uint8_t inverse[16];
	uint16_t sum;

	for (uint32_t i = 0; i < length; i++)
		inverse[i] = (uint8_t)~old[i];
	memcpy(&sum, field, sizeof(sum));
	sum = checksum_finish(
	    checksum_add(checksum_add((uint16_t)~sum, inverse, length), new, length));
	memcpy(field, &sum, sizeof(sum));
}

/* The frame with another address at `at`; its sums are right if they were before. */
static const uint8_t *readdress(struct user_loopback *loopback, const uint8_t *frame,
				uint32_t length, const struct view *view, uint32_t at,
				const struct ip *ip)
{
	static const uint8_t none[2];
	const uint8_t *new = view->v6 ? ip->bytes : ip_v4_bytes(ip);
	uint32_t size = view->v6 ? 16 : 4;
	uint8_t *copy = loopback->copy, *sum = copy + view->l4 + 6;

	memcpy(copy, frame, length);
	if (!view->v6)
		update_sum(copy + PACKET_ETHERNET_LENGTH + 10, frame + at, new, size);
	/* 0 is none in IPv4; one that becomes 0 is written 0xffff (RFC 768). */
	if ((view->fragment & FRAGMENT_OFFSET) == 0 && memcmp(sum, none, sizeof(none)) != 0) {
		update_sum(sum, frame + at, new, size);
		if (memcmp(sum, none, sizeof(none)) == 0)
			memset(sum, 0xff, sizeof(none));
	}
	memcpy(copy + at, new, size);
	return copy;
}

static struct client *bucket_of(struct user_loopback *loopback, const struct client_key *key)
{
	uint8_t bytes[20];

	memcpy(bytes, key->guest.bytes, 16);
	memcpy(bytes + 16, &key->guest_port, 2);
	memcpy(bytes + 18, &key->port, 2);
	return loopback->clients[siphash(loopback->key, bytes, sizeof(bytes)) % BUCKETS];
}

/* NULL when there is none, or it is too old. */
static struct client *find_client(struct client *bucket, const struct client_key *key, int64_t now)
{
	for (uint32_t i = 0; i < WAYS; i++) {
		if (bucket[i].until > now && bucket[i].key.port == key->port &&
		    bucket[i].key.guest_port == key->guest_port &&
		    ip_equal(&bucket[i].key.guest, &key->guest))
			return &bucket[i];
	}
	return NULL;
}

static void note_client(struct user_loopback *loopback, const struct client_key *key,
			const struct ip *ip, int64_t now)
{
	struct client *bucket = bucket_of(loopback, key);
	struct client *client = find_client(bucket, key, now);

	if (!client) {
		client = bucket;
		for (uint32_t i = 1; i < WAYS; i++) {
			if (bucket[i].until < client->until)
				client = &bucket[i];
		}
	}
	*client = (struct client){ .key = *key, .ip = *ip, .until = now + USER_LOOPBACK_AGE };
}

/* An error about a packet to the loopback, or the end of user_loopback_opening(). */
static bool is_error_of_loopback(const uint8_t *frame, uint32_t length, const struct view *view)
{
	const uint8_t *embedded = frame + view->l4 + ERROR_LENGTH;
	struct ip to;

	if (length < view->l4 + ERROR_LENGTH + (view->v6 ? PARSE_IPV6_LENGTH : PARSE_IPV4_LENGTH) ||
	    (view->v6 ? view->protocol != IPPROTO_ICMPV6 || frame[view->l4] >= ICMP6_INFO_FIRST
		      : view->protocol != IPPROTO_ICMP || frame[view->l4] < ICMP_ERROR_FIRST))
		return false;
	to = view->v6 ? ip_from_v6_bytes(embedded + 24) : ip_from_v4_bytes(embedded + 16);
	return ip_is_loopback(&to);
}

const uint8_t *user_loopback_to_guest(struct user_loopback *loopback, const uint8_t *frame,
				      uint32_t length, int64_t now)
{
	struct view view;

	if (length > FRAME_LENGTH_MAX || !look(frame, length, &view))
		return frame;
	if (is_error_of_loopback(frame, length, &view))
		return NULL;
	if (view.protocol != IPPROTO_UDP || !ip_is_loopback(&view.from) ||
	    length < view.l4 + PARSE_UDP_LENGTH)
		return frame;
	if ((view.fragment & FRAGMENT_OFFSET) == 0) {
		struct client_key key = { .guest = view.to,
					  .guest_port = read_be16(frame + view.l4 + 2),
					  .port = read_be16(frame + view.l4) };

		if (is_forwarded(loopback, view.v6, key.guest_port))
			note_client(loopback, &key, &view.from, now);
	}
	return readdress(loopback, frame, length, &view, view.source,
			 view.v6 ? &loopback->gateway6 : &loopback->gateway);
}

/* The client that a later fragment's first went to, by the newest; NULL when there is none. */
static const struct ip *client_of_fragment(const struct user_loopback *loopback,
					   const struct view *view, int64_t now)
{
	const struct datagram *found = NULL;

	for (uint32_t i = 0; i < DATAGRAMS; i++) {
		const struct datagram *datagram = &loopback->datagrams[i];

		if (datagram->until > now && datagram->id == view->id &&
		    ip_equal(&datagram->guest, &view->from) &&
		    (!found || datagram->until >= found->until))
			found = datagram;
	}
	return found ? &found->client : NULL;
}

static void note_datagram(struct user_loopback *loopback, const struct view *view,
			  const struct ip *client, int64_t now)
{
	loopback->datagrams[loopback->datagram_next++ % DATAGRAMS] = (struct datagram){
		.guest = view->from, .client = *client, .id = view->id, .until = now + DATAGRAM_AGE
	};
}

const uint8_t *user_loopback_from_guest(struct user_loopback *loopback, const uint8_t *frame,
					uint32_t length, int64_t now)
{
	const struct ip *to;
	struct client_key key;
	const struct client *client;
	struct view view;

	if (!look(frame, length, &view) || view.protocol != IPPROTO_UDP ||
	    !ip_equal(&view.to, view.v6 ? &loopback->gateway6 : &loopback->gateway))
		return frame;
	if ((view.fragment & FRAGMENT_OFFSET) != 0) {
		to = client_of_fragment(loopback, &view, now);
		return to ? readdress(loopback, frame, length, &view, view.destination, to) : frame;
	}
	/* A header in pieces could become any. */
	if (length < view.l4 + PARSE_UDP_LENGTH)
		return NULL;
	key = (struct client_key){ .guest = view.from,
				   .guest_port = read_be16(frame + view.l4),
				   .port = read_be16(frame + view.l4 + 2) };
	client = find_client(bucket_of(loopback, &key), &key, now);
	if (client) {
		if (view.fragment != 0)
			note_datagram(loopback, &view, &client->ip, now);
		return readdress(loopback, frame, length, &view, view.destination, &client->ip);
	}
	/* libslirp would refuse it, and take the next client for the gateway. */
	return !loopback->open && is_forwarded(loopback, view.v6, key.guest_port) ? NULL : frame;
}
