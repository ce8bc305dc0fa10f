/* Putting fragments together (reassembly.h). Control thread; the fragments are anybody's.
 *
 * A datagram is a row of pieces in order, none overlapping. One whose pieces did overlap stays,
 * empty, until its time is over, and swallows the rest of them (RFC 5722, section 4). */
#include "route/reassembly_internal.h"

#include "base/checksum.h"
#include "base/parse.h"

#include <netinet/in.h>
#include <stdlib.h>

#define FRAGMENT_LENGTH	  8u /* IPv6's header */
#define IPV4_PLACE	  0x1fffu
#define IPV4_MORE	  0x2000u
#define IPV6_NEXT	  6u
#define IPV6_LENGTH_FIELD 4u /* in the IPv6 header */
#define TCP_SECOND	  8u /* bytes: where RFC 1858's second fragment of TCP begins */
#define ECN_CE		  3u

/* A fragment as its headers say. */
struct fragment {
	uint32_t offset, length;
	bool more, congested;
	uint32_t head; /* bytes of the frame before the payload */
	uint32_t at;   /* IPv6: where its fragment header stands, from the IP header */
	uint8_t next;  /* protocol of the payload */
	uint32_t id;
	const uint8_t *payload;
};

/* The byte of an IPv6 packet that says "fragment", from its IP header. */
static uint32_t find_next_field(const uint8_t *ip, uint32_t fragment_at)
{
	uint32_t field = IPV6_NEXT, at = PARSE_IPV6_LENGTH;

	while (at < fragment_at) {
		field = at;
		at += (ip[at + 1] + 1u) * 8;
	}
	return field;
}

/* Sends up the packet that stands in `whole`: `head` bytes of headers (IPv6: without the fragment
 * header), then `length` of payload. */
static enum reassembly_result deliver(struct reassembly *r, uint32_t owner, uint32_t l3,
				      uint32_t head, uint32_t length, uint8_t next, uint16_t mtu)
{
	uint8_t *ip = r->whole + l3;
	uint16_t sum = 0;

	if (ip[0] >> 4 == 4) {
		write_be16(ip + 2, (uint16_t)(head - l3 + length));
		write_be16(ip + 6, 0);
		memcpy(ip + 10, &sum, sizeof(sum));
		sum = checksum_finish(checksum_add(0, ip, head - l3));
		memcpy(ip + 10, &sum, sizeof(sum));
	} else {
		write_be16(ip + 4, (uint16_t)(head - l3 - PARSE_IPV6_LENGTH + length));
		ip[find_next_field(ip, head - l3)] = next;
	}
	r->events.complete(r->events.context, owner, r->whole, head + length, mtu);
	return REASSEMBLY_COMPLETE;
}

/* What a router told one piece, the whole packet tells (RFC 3168, 5.3): if it can, ECN's two bits
 * not being zero. */
static void mark_congestion(uint8_t *ip)
{
	uint8_t mark = ip[0] >> 4 == 4 ? ECN_CE : ECN_CE << 4;

	if ((ip[1] & mark) != 0)
		ip[1] |= mark;
}

/* All pieces are there. */
static enum reassembly_result join(struct reassembly *r, struct datagram *datagram)
{
	struct piece *piece = TAILQ_FIRST(&datagram->pieces);
	bool v6 = datagram->key.version == 6;
	uint32_t head = piece->head - (v6 ? FRAGMENT_LENGTH : 0), at = head;
	uint32_t owner = datagram->key.owner, l3;
	enum reassembly_result result = REASSEMBLY_DROPPED;
	uint8_t next = v6 ? piece->bytes[head] : 0;

	l3 = read_be16(piece->bytes + 12) == ETHERTYPE_VLAN ? 18 : 14;
	/* The first piece's headers may be longer than those that were reckoned with before. */
	if (head - l3 + datagram->total > UINT16_MAX) {
		r->counters.too_long++;
	} else {
		memcpy(r->whole, piece->bytes, head);
		TAILQ_FOREACH(piece, &datagram->pieces, link)
		{
			memcpy(r->whole + at, piece->bytes + piece->head, piece->length);
			at += piece->length;
		}
		if (datagram->congested)
			mark_congestion(r->whole + l3);
		r->counters.complete++;
		result = deliver(r, owner, l3, head, datagram->total, next, datagram->mtu);
	}
	reassembly_free(r, datagram);
	return result;
}

/* Whether a first fragment lacks the headers that whoever filters would look at (RFC 1858, RFC
 * 7112), or a second one would bring them. */
static bool is_tiny(const struct packet *packet, const struct fragment *fragment)
{
	uint32_t length = fragment->length, needed = 1;
	const uint8_t *p = fragment->payload;
	uint8_t type = fragment->next;

	if (fragment->offset == TCP_SECOND && packet->ip_version == 4 && type == IPPROTO_TCP)
		return true;
	if (fragment->offset != 0)
		return false;
	while (packet->ip_version == 6 &&
	       (type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS)) {
		uint32_t skip = parse_extension_length(type, p, length);

		if (skip == 0)
			return true;
		type = p[0];
		p += skip;
		length -= skip;
	}
	if (type == IPPROTO_TCP)
		needed = PARSE_TCP_LENGTH;
	else if (type == IPPROTO_UDP || type == IPPROTO_ICMP || type == IPPROTO_ICMPV6)
		needed = 8;
	return length < needed || (packet->ip_version == 6 && type == IPPROTO_FRAGMENT);
}

/* Reads the fragment; false when there is no whole fragment header. */
static bool read_fragment(const struct packet *packet, struct fragment *fragment)
{
	const uint8_t *ip = packet->network, *p = packet->payload;
	uint32_t l2 = (uint32_t)(ip - packet->bytes);

	fragment->length = (uint32_t)packet->payload_length;
	fragment->at = (uint32_t)(p - ip);
	if (packet->ip_version == 4) {
		fragment->offset = (read_be16(ip + 6) & IPV4_PLACE) * 8u;
		fragment->more = (read_be16(ip + 6) & IPV4_MORE) != 0;
		fragment->congested = (ip[1] & ECN_CE) == ECN_CE;
		fragment->id = read_be16(ip + 4);
		fragment->next = packet->protocol;
	} else {
		if (fragment->length < FRAGMENT_LENGTH)
			return false;
		fragment->offset = read_be16(p + 2) & 0xfff8;
		fragment->more = (p[3] & 1) != 0;
		fragment->congested = (ip[1] >> 4 & ECN_CE) == ECN_CE;
		fragment->id = read_be32(p + 4);
		fragment->next = p[0];
		fragment->length -= FRAGMENT_LENGTH;
		p += FRAGMENT_LENGTH;
	}
	fragment->payload = p;
	fragment->head = l2 + (uint32_t)(p - ip);
	return true;
}

/* Drops and, over IPv6, says where the fault is. */
static enum reassembly_result refuse(const struct packet *packet, uint64_t *counter, uint32_t at,
				     uint32_t *pointer)
{
	(*counter)++;
	*pointer = at;
	return packet->ip_version == 6 ? REASSEMBLY_PARAMETER : REASSEMBLY_DROPPED;
}

/* Checks what one fragment alone can be wrong in. REASSEMBLY_WAITING: nothing. */
static enum reassembly_result check_fragment(struct reassembly *r, const struct packet *packet,
					     const struct fragment *fragment, uint32_t *pointer)
{
	/* What stands before the payload in the packet that it becomes. IPv6 counts without its
	 * header, but no frame is longer. */
	uint32_t before = packet->ip_version == 4 ? PARSE_IPV4_LENGTH : fragment->at;

	if (fragment->more && fragment->length % 8 != 0)
		return refuse(packet, &r->counters.length, IPV6_LENGTH_FIELD, pointer);
	if (before + fragment->offset + fragment->length > UINT16_MAX)
		return refuse(packet, &r->counters.too_long, fragment->at + 2, pointer);
	if (fragment->length == 0) {
		r->counters.length++;
		return REASSEMBLY_DROPPED;
	}
	if (is_tiny(packet, fragment)) {
		r->counters.tiny++;
		return REASSEMBLY_DROPPED;
	}
	return REASSEMBLY_WAITING;
}

/* The datagram is dropped, with all that still comes of it. */
static enum reassembly_result condemn(struct reassembly *r, struct datagram *datagram,
				      uint64_t *counter)
{
	(*counter)++;
	reassembly_free_pieces(r, datagram);
	datagram->dead = true;
	return REASSEMBLY_DROPPED;
}

/* Finds the piece that the fragment belongs behind (NULL: it is the first); `same` when it is there
 * already, byte for byte. False when it overlaps others or disagrees on the datagram's end. */
static bool find_place(const struct datagram *datagram, const struct fragment *fragment,
		       struct piece **before, bool *same)
{
	uint32_t end = fragment->offset + fragment->length;
	struct piece *piece, *last = TAILQ_LAST(&datagram->pieces, piece_list);

	*before = NULL;
	*same = false;
	TAILQ_FOREACH_REVERSE(piece, &datagram->pieces, piece_list, link)
	{
		if (piece->offset <= fragment->offset) {
			*before = piece;
			break;
		}
		if (piece->offset < end)
			return false;
	}
	if (!fragment->more && (last != NULL && last->offset + last->length > end))
		return false;
	if (datagram->total != 0 &&
	    (fragment->more ? end >= datagram->total : end != datagram->total))
		return false;
	piece = *before;
	if (piece == NULL || piece->offset + piece->length <= fragment->offset)
		return true;
	*same = piece->offset == fragment->offset && piece->length == fragment->length &&
		fragment->more == (end != datagram->total) &&
		memcmp(piece->bytes + piece->head, fragment->payload, fragment->length) == 0;
	return *same;
}

/* Adds a piece behind `before`. */
static enum reassembly_result add_piece(struct reassembly *r, struct datagram *datagram,
					const struct packet *packet,
					const struct fragment *fragment, struct piece *before)
{
	uint32_t head = fragment->offset == 0 ? fragment->head : 0;
	uint32_t cost = (uint32_t)sizeof(struct piece) + head + fragment->length;
	struct piece *piece;

	if (datagram->count == REASSEMBLY_PIECES)
		return condemn(r, datagram, &r->counters.pieces);
	if (!reassembly_make_room(r, datagram, cost))
		return REASSEMBLY_DROPPED;
	piece = malloc(sizeof(*piece) + head + fragment->length);
	if (piece == NULL) {
		r->counters.memory++;
		return REASSEMBLY_DROPPED;
	}
	piece->offset = fragment->offset;
	piece->length = fragment->length;
	piece->head = head;
	memcpy(piece->bytes, packet->bytes, head);
	memcpy(piece->bytes + head, fragment->payload, fragment->length);
	if (before == NULL)
		TAILQ_INSERT_HEAD(&datagram->pieces, piece, link);
	else
		TAILQ_INSERT_AFTER(&datagram->pieces, before, piece, link);
	reassembly_charge(r, datagram, cost);
	datagram->count++;
	datagram->have += fragment->length;
	datagram->congested |= fragment->congested;
	if (packet->network_length > datagram->mtu)
		datagram->mtu = (uint16_t)packet->network_length;
	if (!fragment->more)
		datagram->total = fragment->offset + fragment->length;
	r->counters.fragments++;
	return datagram->have == datagram->total ? join(r, datagram) : REASSEMBLY_WAITING;
}

/* RFC 6946: a fragment that is the whole packet concerns no other. */
static enum reassembly_result take_atomic(struct reassembly *r, uint32_t owner,
					  const struct packet *packet,
					  const struct fragment *fragment)
{
	uint32_t head = fragment->head - FRAGMENT_LENGTH;

	memcpy(r->whole, packet->bytes, head);
	memcpy(r->whole + head, fragment->payload, fragment->length);
	r->counters.atomic++;
	return deliver(r, owner, (uint32_t)(packet->network - packet->bytes), head,
		       fragment->length, fragment->next, (uint16_t)packet->network_length);
}

enum reassembly_result reassembly_input(struct reassembly *r, uint32_t owner,
					const struct packet *packet, uint64_t now,
					uint32_t *pointer)
{
	struct datagram_key key = {
		packet->source, packet->destination, owner, 0, packet->ip_version, 0
	};
	struct fragment fragment;
	struct datagram *datagram;
	enum reassembly_result result;
	struct piece *before;
	bool same;

	if (!packet->fragment || !read_fragment(packet, &fragment)) {
		r->counters.length++;
		return REASSEMBLY_DROPPED;
	}
	result = check_fragment(r, packet, &fragment, pointer);
	if (result != REASSEMBLY_WAITING)
		return result;
	if (packet->ip_version == 6 && fragment.offset == 0 && !fragment.more)
		return take_atomic(r, owner, packet, &fragment);
	key.id = fragment.id;
	key.protocol = packet->ip_version == 4 ? packet->protocol : 0;
	datagram = reassembly_find(r, &key);
	if (datagram == NULL)
		datagram = reassembly_new(r, &key, now);
	if (datagram == NULL) {
		r->counters.memory++;
		return REASSEMBLY_DROPPED;
	}
	if (datagram->dead) {
		r->counters.after_overlap++;
		return REASSEMBLY_DROPPED;
	}
	if (!find_place(datagram, &fragment, &before, &same))
		return condemn(r, datagram, &r->counters.overlap);
	if (same) {
		r->counters.duplicate++;
		return REASSEMBLY_WAITING;
	}
	return add_piece(r, datagram, packet, &fragment, before);
}

uint64_t reassembly_deadline(const struct reassembly *r)
{
	uint64_t deadline = UINT64_MAX;

	for (unsigned i = 0; i < 2; i++) {
		const struct datagram *first = TAILQ_FIRST(&r->ages[i]);

		if (first != NULL && first->expires < deadline)
			deadline = first->expires;
	}
	return deadline;
}

static void expire(struct reassembly *r, struct datagram *datagram)
{
	struct piece *first = TAILQ_FIRST(&datagram->pieces);

	r->counters.timeout += !datagram->dead;
	if (first != NULL && first->offset == 0 && r->events.expired != NULL)
		r->events.expired(r->events.context, datagram->key.owner, first->bytes,
				  first->head + first->length);
	reassembly_free(r, datagram);
}

void reassembly_tick(struct reassembly *r, uint64_t now)
{
	for (unsigned i = 0; i < 2; i++) {
		struct datagram *first;

		while ((first = TAILQ_FIRST(&r->ages[i])) != NULL && first->expires <= now)
			expire(r, first);
	}
}
