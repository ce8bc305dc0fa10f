/* Cutting GSO frames (segment.h): called by a worker where a receiver cannot take a frame whole,
 * and by vnet_header.c to learn into how many. What arrives here has passed
 * vnet_header_to_frame(): all headers lie within the head and tell the truth about the length.
 *
 * A frame is cut from `start` on in pieces of `step` bytes. For TCP and USO that is the payload,
 * and each piece gets a copy of all headers. For UFO and FRAME_GSO_FRAGMENT it is what IP
 * fragments, the L4 header included, which so stands in the first piece alone (RFC 791, RFC 8200
 * 4.5). */
#include "base/segment.h"

#include "base/checksum.h"
#include "base/parse.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TCP_FLAGS   13u
#define TCP_FIN	    0x01u
#define TCP_PSH	    0x08u
#define TCP_CWR	    0x80u
#define TCP_CSUM    16u
#define UDP_LENGTH  4u
#define UDP_CSUM    6u
#define IPV4_ID	    4u
#define IPV4_OFFSET 6u
#define IPV4_CSUM   10u
#define IPV4_MORE   0x2000u
#define IPV4_PLACE  0x1fffu /* the offset's bits, in units of 8 bytes */
#define IPV6_NEXT   6u

#define IPV6_FRAGMENT_LENGTH 8u
#define IPV6_MORE	     1u

struct cut {
	uint32_t start;	    /* first byte that is divided */
	uint32_t step;	    /* of them in each segment but the last */
	uint32_t total;	    /* of them in the frame */
	uint32_t count;	    /* segments */
	uint32_t first;	    /* fragments: how much of the first one's is copied, not borrowed */
	uint32_t next_ipv6; /* fragments over IPv6: the next header field to say "fragment" */
	uint16_t place;	    /* fragments over IPv4: offset field of a packet that is one already */
};

/* Where in the frame's segment list the payload has been borrowed up to. */
struct cursor {
	const struct frame *frame;
	uint32_t in_head; /* offset in the head, head_length when past it */
	uint32_t segment;
	uint32_t offset; /* in that segment */
};

static bool is_fragmented(const struct frame *frame);
static bool cut_plan(const struct frame *frame, struct cut *cut);
static uint32_t cut_identifier(const struct frame *frame, const struct cut *cut);
static void cursor_seek(struct cursor *cursor, const struct frame *frame, uint32_t offset);
static bool segment_append(const struct cut *cut, struct segment_state *state,
			   struct cursor *cursor, struct burst *out);

bool segment_next(const struct frame *frame, struct segment_state *state, struct burst *out)
{
	struct cursor cursor;
	struct cut cut;
	uint32_t offset;

	if (!cut_plan(frame, &cut))
		return false;
	if (state->index == 0 && state->identifier == 0)
		state->identifier = cut_identifier(frame, &cut);
	offset = cut.start + state->offset;
	if (offset < cut.first)
		offset = cut.first;
	cursor_seek(&cursor, frame, offset);
	while (state->index < cut.count) {
		if (out->count >= out->limit || out->count >= BURST_FRAMES ||
		    !segment_append(&cut, state, &cursor, out))
			return true;
	}
	return false;
}

uint32_t segment_count(const struct frame *frame)
{
	struct cut cut;

	return cut_plan(frame, &cut) ? cut.count : 0;
}

/* Whether what is cut is an IP packet, not what L4 sends. */
static bool is_fragmented(const struct frame *frame)
{
	return frame->gso == FRAME_GSO_UDP4_FRAGMENT || frame->gso == FRAME_GSO_FRAGMENT;
}

uint16_t segment_fragment_size(const struct frame *frame, uint32_t mtu)
{
	struct frame whole = *frame;
	struct cut cut;
	uint32_t fixed;

	whole.gso = FRAME_GSO_FRAGMENT;
	whole.gso_size = UINT16_MAX;
	if (!cut_plan(&whole, &cut))
		return 0;
	fixed = cut.start - frame->l3_offset + (cut.next_ipv6 != 0 ? IPV6_FRAGMENT_LENGTH : 0);
	if (mtu < fixed + 8)
		return 0;
	if (mtu - fixed < UINT16_MAX)
		whole.gso_size = (uint16_t)((mtu - fixed) & ~7u);
	return segment_count(&whole) != 0 ? whole.gso_size : 0;
}

/* Sets where fragmentation begins for IPv6: behind the headers that routers read, which are all up
 * to the last routing header, or else a hop-by-hop header (RFC 8200, 4.5). */
static void cut_plan_ipv6(const struct frame *frame, struct cut *cut)
{
	uint32_t offset = frame->l3_offset + PARSE_IPV6_LENGTH;
	uint32_t next = frame->l3_offset + IPV6_NEXT;

	cut->start = offset;
	cut->next_ipv6 = next;
	while (offset < frame->l4_offset) {
		uint8_t type = frame->head[next];
		uint32_t length =
		    parse_extension_length(type, frame->head + offset, frame->l4_offset - offset);

		if (length == 0)
			return;
		next = offset;
		offset += length;
		if (type != IPPROTO_DSTOPTS) {
			cut->start = offset;
			cut->next_ipv6 = next;
		}
	}
}

/* Where what may be divided begins, for fragments; IPv6 needs all headers known (l4_offset). */
static void cut_plan_start(const struct frame *frame, struct cut *cut)
{
	const uint8_t *ip = frame->head + frame->l3_offset;

	if (frame->ip_version == 6) {
		cut_plan_ipv6(frame, cut);
		return;
	}
	cut->start = frame->l3_offset + (ip[0] & 15u) * 4u;
	cut->place = read_be16(ip + IPV4_OFFSET) & (IPV4_MORE | IPV4_PLACE);
}

/* Any packet may be fragmented whose checksum is complete, or can be completed in its first
 * fragment's head. */
static bool cut_plan_fragment(const struct frame *frame, struct cut *cut)
{
	if (frame->ip_version == 0 || (frame->ip_version == 6 && frame->l4_offset == 0))
		return false;
	cut_plan_start(frame, cut);
	cut->first = cut->start;
	if (frame->flags & FRAME_NEEDS_CSUM) {
		cut->first = (uint32_t)frame->csum_start + frame->csum_offset + 2;
		if (frame->csum_start < cut->start)
			return false;
	}
	return cut->start <= frame->length &&
	       (cut->place & IPV4_PLACE) * 8u + (frame->length - cut->start) <= UINT16_MAX;
}

static bool cut_plan(const struct frame *frame, struct cut *cut)
{
	uint32_t headers = frame->payload_offset;

	*cut = (struct cut){ .start = headers, .step = frame->gso_size, .first = headers };
	if (frame->gso == FRAME_GSO_NONE || frame->gso_size == 0)
		return false;
	if (frame->gso == FRAME_GSO_FRAGMENT) {
		if (!cut_plan_fragment(frame, cut))
			return false;
		if (headers < cut->first)
			headers = cut->first;
	} else if (frame->l4_offset == 0 || headers == 0 || headers > frame->length) {
		return false;
	} else if (frame->gso == FRAME_GSO_UDP4_FRAGMENT) {
		cut_plan_start(frame, cut);
	}
	if (is_fragmented(frame))
		cut->step &= ~7u; /* fragment offsets count in eights */
	cut->total = frame->length - cut->start;
	/* The first fragment holds all headers (RFC 7112). */
	if (cut->step == 0 || cut->step < headers - cut->start)
		return false;
	cut->count = cut->total <= cut->step ? 1 : (cut->total + cut->step - 1) / cut->step;
	return true;
}

/* An identification hard to guess (RFC 7739, 5.3): half of the output of a generator (Marsaglia's
 * xorshift, multiplied) of the worker's own. Its seed costs the first such frame a system call. */
static uint32_t random_identifier(void)
{
	static _Thread_local uint64_t number;

	while (number == 0) {
		struct timespec now;

		if (getrandom(&number, sizeof(number), GRND_NONBLOCK) == sizeof(number))
			continue;
		clock_gettime(CLOCK_MONOTONIC, &now);
		number = (uint64_t)now.tv_nsec ^ (uintptr_t)&number;
	}
	number ^= number >> 12;
	number ^= number << 25;
	number ^= number >> 27;
	return (uint32_t)((number * 0x2545f4914f6cdd1du) >> 32);
}

/* What the fragments are known by, where the packet does not say it: over IPv6, and over IPv4 with
 * 0, as packets of our own have it (RFC 6864, 4.1: one that is cut needs a number). */
static uint32_t cut_identifier(const struct frame *frame, const struct cut *cut)
{
	uint16_t id = read_be16(frame->head + frame->l3_offset + IPV4_ID);

	if (cut->count == 1 || !is_fragmented(frame))
		return 0;
	if (frame->ip_version == 4 && (id != 0 || cut->place != 0))
		return id;
	return random_identifier();
}

static void cursor_seek(struct cursor *cursor, const struct frame *frame, uint32_t offset)
{
	cursor->frame = frame;
	cursor->in_head = offset < frame->head_length ? offset : frame->head_length;
	cursor->segment = 0;
	cursor->offset = offset - cursor->in_head;
	while (cursor->segment < frame->segment_count &&
	       cursor->offset >= frame->segments[cursor->segment].length)
		cursor->offset -= frame->segments[cursor->segment++].length;
}

/* Lends `length` bytes from the cursor on to `out`'s segment list. False when the list is full: the
 * cursor is then of no use any more, and the list is as it was. */
static bool cursor_borrow(struct cursor *cursor, uint32_t length, struct frame *to,
			  struct burst *out)
{
	const struct frame *frame = cursor->frame;
	uint32_t used = out->segment_count;

	to->segments = out->segments + used;
	while (length > 0) {
		struct frame_segment piece;

		if (used == BURST_SEGMENTS)
			return false;
		if (cursor->in_head < frame->head_length) {
			piece.base = frame->head + cursor->in_head;
			piece.length = frame->head_length - cursor->in_head;
			if (piece.length > length)
				piece.length = length;
			cursor->in_head += piece.length;
		} else {
			const struct frame_segment *from = &frame->segments[cursor->segment];

			piece.base = from->base + cursor->offset;
			piece.length = from->length - cursor->offset;
			cursor->offset += piece.length;
			if (piece.length > length) {
				cursor->offset -= piece.length - length;
				piece.length = length;
			} else {
				cursor->segment++;
				cursor->offset = 0;
			}
		}
		out->segments[used++] = piece;
		length -= piece.length;
	}
	to->segment_count = (uint16_t)(used - out->segment_count);
	out->segment_count = used;
	return true;
}

/* Room for a head of `length` bytes; one that a tag or a fragment header has made longer than
 * FRAME_HEAD_MAX takes the difference from the headroom. */
static void segment_place_head(struct frame *to, uint32_t length, struct burst *out)
{
	to->head = burst_head(out, out->count);
	if (length > FRAME_HEAD_MAX)
		to->head -= length - FRAME_HEAD_MAX;
	to->head_length = (uint16_t)length;
}

/* Brings the IP header in line with the segment's length; its IPv4 identification is `id`. */
static void segment_finish_ip(struct frame *to, uint16_t id)
{
	uint8_t *ip = to->head + to->l3_offset;
	uint32_t length = to->length - to->l3_offset;
	uint16_t checksum = 0;

	if (to->ip_version == 6) {
		write_be16(ip + 4, (uint16_t)(length - PARSE_IPV6_LENGTH));
		return;
	}
	write_be16(ip + 2, (uint16_t)length);
	write_be16(ip + IPV4_ID, id);
	memcpy(ip + IPV4_CSUM, &checksum, sizeof(checksum));
	checksum = checksum_finish(checksum_add(0, ip, (ip[0] & 15u) * 4u));
	memcpy(ip + IPV4_CSUM, &checksum, sizeof(checksum));
}

/* The sum of the pseudo-header, as a frame with FRAME_NEEDS_CSUM has it in its checksum field. */
static void segment_write_pseudo(const struct frame *to, uint32_t field)
{
	uint64_t sum =
	    checksum_pseudo_header(to, to->l4_protocol, to->length - (uint32_t)to->l4_offset);
	uint16_t partial = (uint16_t)~checksum_finish(sum);

	memcpy(to->head + to->l4_offset + field, &partial, sizeof(partial));
}

/* A segment of its own with all headers: TCP, or a datagram of USO. */
static void segment_write_l4(const struct frame *frame, const struct cut *cut,
			     const struct segment_state *state, struct frame *to)
{
	uint8_t *l4;
	uint16_t id = read_be16(frame->head + frame->l3_offset + IPV4_ID);

	memcpy(to->head, frame->head, frame->payload_offset);
	l4 = to->head + to->l4_offset;
	to->flags &= (uint8_t)~FRAME_GSO_ECN;
	segment_finish_ip(to, (uint16_t)(id + state->index));
	if (frame->gso == FRAME_GSO_UDP) {
		write_be16(l4 + UDP_LENGTH, (uint16_t)(to->length - to->l4_offset));
		segment_write_pseudo(to, UDP_CSUM);
		return;
	}
	write_be32(l4 + 4, read_be32(l4 + 4) + state->offset);
	/* What ends something is said at the end; CWR answers once (RFC 3168, 6.1.2). */
	if (state->index + 1 < cut->count)
		l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (state->index > 0)
		l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	segment_write_pseudo(to, TCP_CSUM);
}

/* Options not meant for every fragment (RFC 791, 3.1: the copied flag) become "no operation", so
 * that the header keeps its length. */
static void ipv4_drop_options(uint8_t *ip)
{
	uint32_t end = (ip[0] & 15u) * 4u;

	for (uint32_t i = PARSE_IPV4_LENGTH; i < end;) {
		uint32_t length;

		if (ip[i] == 0)
			return;
		length = ip[i] == 1 ? 1 : (i + 1 < end ? ip[i + 1] : 0);
		if ((ip[i] != 1 && length < 2) || i + length > end)
			return;
		if (!(ip[i] & 0x80))
			memset(ip + i, 1, length);
		i += length;
	}
}

/* The UDP header at `l4` (in a fragment's head) for the whole datagram, checksum included: no
 * receiver could complete that from a fragment. */
static void fragment_write_udp(const struct frame *frame, uint8_t *l4)
{
	uint32_t length = frame->length - frame->l4_offset;
	uint64_t sum = checksum_pseudo_header(frame, IPPROTO_UDP, length);
	uint16_t checksum = 0;

	write_be16(l4 + UDP_LENGTH, (uint16_t)length);
	memcpy(l4 + UDP_CSUM, &checksum, sizeof(checksum));
	sum = checksum_add(sum, l4, PARSE_UDP_LENGTH);
	checksum = checksum_finish(sum + checksum_frame(frame, frame->payload_offset));
	if (checksum == 0)
		checksum = 0xffff;
	memcpy(l4 + UDP_CSUM, &checksum, sizeof(checksum));
}

/* The checksum that was left to the receiver, into the first fragment's head: no receiver could
 * complete it from a fragment. */
static void fragment_write_checksum(const struct frame *frame, uint8_t *field)
{
	uint16_t checksum = checksum_finish(checksum_frame(frame, frame->csum_start));

	if (checksum == 0 && frame->csum_offset == UDP_CSUM)
		checksum = 0xffff;
	memcpy(field, &checksum, sizeof(checksum));
}

/* What follows the IP header in the first fragment's head, from `l4` on. */
static void fragment_write_first(const struct frame *frame, const struct cut *cut, uint8_t *l4)
{
	memcpy(l4, frame->head + cut->start, cut->first - cut->start);
	if (frame->gso == FRAME_GSO_UDP4_FRAGMENT)
		fragment_write_udp(frame, l4 + (frame->l4_offset - cut->start));
	else if (frame->flags & FRAME_NEEDS_CSUM)
		fragment_write_checksum(frame,
					l4 + (frame->csum_start + frame->csum_offset - cut->start));
}

/* An IP fragment; a packet that fits in one stays what it was. */
static void segment_write_fragment(const struct frame *frame, const struct cut *cut,
				   const struct segment_state *state, struct frame *to)
{
	bool more = state->index + 1 < cut->count;
	uint32_t shift = cut->count > 1 && cut->next_ipv6 != 0 ? IPV6_FRAGMENT_LENGTH : 0;
	uint8_t *ip = to->head + to->l3_offset;

	memcpy(to->head, frame->head, cut->start);
	if (shift != 0) {
		uint8_t *fragment = to->head + cut->start;

		fragment[0] = to->head[cut->next_ipv6];
		fragment[1] = 0;
		write_be16(fragment + 2, (uint16_t)(state->offset | (more ? IPV6_MORE : 0)));
		write_be32(fragment + 4, state->identifier);
		to->head[cut->next_ipv6] = IPPROTO_FRAGMENT;
	} else if (cut->count > 1) {
		/* The last one of a fragment goes on as that did. */
		write_be16(ip + IPV4_OFFSET,
			   (uint16_t)((cut->place + state->offset / 8) | (more ? IPV4_MORE : 0)));
		if (state->index > 0 && (cut->place & IPV4_PLACE) == 0)
			ipv4_drop_options(ip);
	}
	if (state->index == 0)
		fragment_write_first(frame, cut, to->head + cut->start + shift);
	segment_finish_ip(to, cut->count > 1 ? (uint16_t)state->identifier
					     : read_be16(frame->head + frame->l3_offset + IPV4_ID));
	to->flags = 0;
	to->csum_start = 0;
	to->csum_offset = 0;
	if (cut->count > 1) {
		/* As parse_frame() has it. */
		to->l4_offset = 0;
		to->l4_protocol = 0;
		to->payload_offset = 0;
	}
}

/* Makes the next segment; false when `out` has no room for it. */
static bool segment_append(const struct cut *cut, struct segment_state *state,
			   struct cursor *cursor, struct burst *out)
{
	const struct frame *frame = cursor->frame;
	bool fragments = is_fragmented(frame);
	uint32_t left = cut->total - state->offset;
	uint32_t take = left < cut->step ? left : cut->step;
	uint32_t head = cut->start, borrow = take;
	struct frame *to = &out->frames[out->count];

	if (fragments && state->index == 0) {
		head = cut->first;
		borrow -= cut->first - cut->start;
	}
	if (fragments && cut->next_ipv6 != 0 && cut->count > 1)
		head += IPV6_FRAGMENT_LENGTH;
	*to = *frame;
	if (!cursor_borrow(cursor, borrow, to, out))
		return false;
	segment_place_head(to, head, out);
	to->length = head + borrow;
	to->gso = FRAME_GSO_NONE;
	to->gso_size = 0;
	if (fragments)
		segment_write_fragment(frame, cut, state, to);
	else
		segment_write_l4(frame, cut, state, to);
	out->count++;
	state->offset += take;
	state->index++;
	return true;
}
