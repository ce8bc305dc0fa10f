/* Frames of the generator (stream.h): laying them out, and the checks that are not needed for each
 * of them. Called by the generator's driver side on its one thread. */
#include "bench/stream.h"

#include <errno.h>
#include <stdlib.h>

#define ETHERNET_HEADER 14u
#define ETHERTYPE_IPV4	0x0800
#define IPV4_HEADER	20u
#define UDP_HEADER	8u
#define TCP_HEADER	20u
#define TCP_CHECKSUM	16u /* in the header */
#define GSO_SIZE	1448u
#define VNET_NEEDS_CSUM 1u
#define VNET_GSO_TCPV4	1u

static const uint8_t mac_prefix[2] = { 0x02, 0x57 };

int stream_init(struct stream *stream, const struct stream_options *options, uint32_t sender,
		uint32_t receiver, uint32_t queue)
{
	memset(stream, 0, sizeof(*stream));
	stream->options = options;
	stream->sender = sender;
	stream->receiver = receiver;
	stream->queue = queue;
	stream->first_flow = queue * options->flows;
	stream->stamp_offset = STREAM_VNET_HEADER + ETHERNET_HEADER + IPV4_HEADER +
			       (options->offload ? TCP_HEADER : UDP_HEADER);
	stream->missing = calloc(STREAM_WINDOW / 64, sizeof(uint64_t));
	return stream->missing == NULL ? -ENOMEM : 0;
}

void stream_release(struct stream *stream)
{
	free(stream->missing);
	stream->missing = NULL;
}

static uint64_t pattern_word(uint32_t seed, uint32_t word)
{
	return ((uint64_t)seed << 32 | word) * 0x9e3779b97f4a7c15ull;
}

/* The sum of big endian words, an odd byte at the end counting as the upper half of one. */
static uint32_t add_words(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return length % 2 == 0 ? sum : sum + ((uint32_t)bytes[length - 1] << 8);
}

/* The pseudo header's sum for `length` bytes behind the IPv4 header (RFC 768, RFC 9293 3.1). */
static uint32_t add_pseudo_header(const uint8_t *ip, uint32_t length)
{
	return add_words(ip + 12, 8) + ip[9] + length;
}

static void lay_out_ipv4(const struct stream *stream, uint8_t *ip, uint32_t length)
{
	memset(ip, 0, IPV4_HEADER);
	ip[0] = 0x45;
	stream_write_be16(ip + 2, (uint16_t)length);
	ip[6] = 0x40; /* don't fragment */
	ip[8] = 64;
	ip[9] = stream->options->offload ? 6 : 17;
	ip[12] = 10;
	ip[13] = (uint8_t)stream->sender;
	ip[16] = 10;
	ip[17] = (uint8_t)stream->receiver;
	ip[18] = ip[19] = 0xff; /* flow 0 */
	stream_write_be16(ip + 10, (uint16_t)~stream_fold(add_words(ip, IPV4_HEADER)));
}

static void lay_out_udp(uint8_t *udp, uint32_t length)
{
	stream_write_be16(udp, 1024);
	stream_write_be16(udp + 2, 9);
	stream_write_be16(udp + 4, (uint16_t)length);
	stream_write_be16(udp + 6, 0);
}

/* Once all else is there but what changes, which is all zeros or balanced. */
static void fill_in_checksum(uint8_t *ip, uint32_t length)
{
	uint8_t *udp = ip + IPV4_HEADER;
	uint16_t sum;

	sum = (uint16_t)~stream_fold(add_pseudo_header(ip, length) + add_words(udp, length));
	/* 0 means that there is none. */
	stream_write_be16(udp + 6, sum == 0 ? 0xffff : sum);
}

/* TCP as a driver hands it over: the checksum holds the pseudo header's sum only. */
static void lay_out_tcp(uint8_t *slot, uint32_t length)
{
	uint8_t *ip = slot + STREAM_VNET_HEADER + ETHERNET_HEADER, *tcp = ip + IPV4_HEADER;
	uint16_t fields[4] = { ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER, GSO_SIZE,
			       ETHERNET_HEADER + IPV4_HEADER, TCP_CHECKSUM };

	memset(tcp, 0, TCP_HEADER);
	stream_write_be16(tcp, 1024);
	stream_write_be16(tcp + 2, 9);
	tcp[12] = TCP_HEADER / 4 << 4;
	tcp[13] = 0x10; /* ACK */
	stream_write_be16(tcp + TCP_CHECKSUM, stream_fold(add_pseudo_header(ip, length)));
	slot[0] = VNET_NEEDS_CSUM;
	slot[1] = length > TCP_HEADER + GSO_SIZE ? VNET_GSO_TCPV4 : 0;
	memcpy(slot + 2, fields, sizeof(fields));
	if (slot[1] == 0)
		memset(slot + 2, 0, 4);
}

static void lay_out_pattern(uint8_t *to, uint32_t length, uint32_t seed)
{
	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t word = pattern_word(seed, i / 8);

		memcpy(to + i, &word, length - i < 8 ? length - i : 8);
	}
}

/* Sizes come without an order: one that repeats after twelve frames is learned by the branch
 * predictors of some runs and not of others. The same in each run. */
static uint32_t size_of(const struct stream_options *options, uint32_t index)
{
	uint64_t mixed = (index + 1) * 0x9e3779b97f4a7c15ull;

	mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ull;
	return options->sizes[(mixed >> 33) % options->size_count];
}

uint32_t stream_lay_out(const struct stream *stream, uint8_t *slot, uint32_t index)
{
	const struct stream_options *options = stream->options;
	uint32_t size = size_of(options, index);
	uint8_t *frame = slot + STREAM_VNET_HEADER;
	struct stream_stamp stamp = {
		.magic = (uint16_t)(STREAM_DATA | stream->sender),
		.length = (uint16_t)size,
		.seed = (uint16_t)index,
		.queue = (uint16_t)stream->queue,
	};
	uint32_t stamp_end = stream->stamp_offset + sizeof(stamp);
	uint32_t ip_length = size - ETHERNET_HEADER;

	memset(slot, 0, STREAM_VNET_HEADER);
	memcpy(frame, mac_prefix, sizeof(mac_prefix));
	memcpy(frame + 6, mac_prefix, sizeof(mac_prefix));
	stream_write_be16(frame + 12, ETHERTYPE_IPV4);
	lay_out_ipv4(stream, frame + ETHERNET_HEADER, ip_length);
	if (options->offload)
		lay_out_tcp(slot, ip_length - IPV4_HEADER);
	else
		lay_out_udp(frame + ETHERNET_HEADER + IPV4_HEADER, ip_length - IPV4_HEADER);
	stream_write_flow(stream, frame, 0, 0, 0);
	stream_write_stamp(stream, &stamp, 0, 0);
	memcpy(slot + stream->stamp_offset, &stamp, sizeof(stamp));
	lay_out_pattern(slot + stamp_end, size + STREAM_VNET_HEADER - stamp_end, stamp.seed);
	if (!options->offload)
		fill_in_checksum(frame + ETHERNET_HEADER, ip_length - IPV4_HEADER);
	return size + STREAM_VNET_HEADER;
}

void stream_mark(const struct stream *stream, uint8_t *slot, enum stream_kind kind, uint32_t mac)
{
	uint8_t *frame = slot + STREAM_VNET_HEADER;
	struct stream_stamp *stamp = (struct stream_stamp *)(slot + stream->stamp_offset);

	stamp->magic = (uint16_t)(kind | stream->sender);
	if (!stream->options->offload)
		stream_write_be16(frame + ETHERNET_HEADER + IPV4_HEADER + 6, 0); /* none */
	if (kind == STREAM_PROBE)
		memset(frame, 0xff, 6);
	stream_write_be32(frame + 8, stream->sender << 24 | mac);
}

uint64_t stream_lost(const struct stream *stream)
{
	uint64_t unique = stream->counters.received - stream->counters.duplicates;

	return stream->sequence - unique;
}

static bool is_missing(const struct stream *stream, uint64_t sequence)
{
	uint32_t bit = sequence % STREAM_WINDOW;

	return (stream->missing[bit / 64] >> bit % 64 & 1) != 0;
}

/* A frame that overtook: those between are missing until they come. */
static void overtake(struct stream *stream, uint64_t sequence)
{
	while (stream->expected < sequence) {
		uint32_t bit = stream->expected % STREAM_WINDOW;

		stream->missing[bit / 64] |= 1ull << bit % 64;
		if ((++stream->expected & (STREAM_WINDOW / 2 - 1)) == 0)
			stream_clear_window(stream);
	}
	if ((++stream->expected & (STREAM_WINDOW / 2 - 1)) == 0)
		stream_clear_window(stream);
}

void stream_check_unexpected(struct stream *stream, uint64_t sequence)
{
	struct stream_counters *counters = &stream->counters;
	uint32_t bit = sequence % STREAM_WINDOW;

	/* A sequence number never sent is no loss but damage. */
	if (sequence >= stream->sequence) {
		counters->received--;
		counters->corrupted++;
		return;
	}
	if (sequence > stream->expected) {
		overtake(stream, sequence);
		return;
	}
	if (stream->expected - sequence > STREAM_WINDOW / 2 || !is_missing(stream, sequence)) {
		counters->duplicates++;
		return;
	}
	stream->missing[bit / 64] &= ~(1ull << bit % 64);
	counters->late++;
	/* Frames take the flows in turn. */
	for (uint64_t next = sequence + stream->options->flows; next < stream->expected;
	     next += stream->options->flows) {
		if (!is_missing(stream, next)) {
			counters->reordered++;
			return;
		}
	}
}

/* The half of the window that comes next starts clean. */
void stream_clear_window(struct stream *stream)
{
	uint32_t half = stream->expected % STREAM_WINDOW / 64;

	memset(&stream->missing[half], 0, STREAM_WINDOW / 2 / 8);
}

static bool same_headers(const struct stream *stream, const uint8_t *frame, uint64_t sequence)
{
	const struct stream_options *options = stream->options;
	uint32_t flow = (uint32_t)(sequence % options->flows);
	uint32_t mac = flow % options->macs;
	uint8_t wanted[36];

	memcpy(wanted, frame, sizeof(wanted));
	memcpy(wanted, mac_prefix, sizeof(mac_prefix));
	memcpy(wanted + 6, mac_prefix, sizeof(mac_prefix));
	stream_write_be16(wanted + 12, ETHERTYPE_IPV4);
	stream_write_flow(stream, wanted, flow, mac, mac);
	return memcmp(wanted, frame, sizeof(wanted)) == 0 &&
	       stream_fold(add_words(frame + ETHERNET_HEADER, IPV4_HEADER)) == 0xffff;
}

/* Of UDP or TCP: right, or still to be filled in by us, as the virtio-net header then says. */
static bool right_checksum(const struct stream *stream, const uint8_t *slot, uint32_t length)
{
	const uint8_t *ip = slot + STREAM_VNET_HEADER + ETHERNET_HEADER, *l4 = ip + IPV4_HEADER;
	uint32_t l4_length = length - STREAM_VNET_HEADER - ETHERNET_HEADER - IPV4_HEADER;
	uint32_t sum = add_pseudo_header(ip, l4_length);
	uint16_t start, offset;

	if ((slot[0] & VNET_NEEDS_CSUM) == 0)
		return stream_fold(sum + add_words(l4, l4_length)) == 0xffff;
	memcpy(&start, slot + 6, sizeof(start));
	memcpy(&offset, slot + 8, sizeof(offset));
	return stream->options->offload && start == ETHERNET_HEADER + IPV4_HEADER &&
	       offset == TCP_CHECKSUM && add_words(l4 + TCP_CHECKSUM, 2) == stream_fold(sum);
}

static bool same_pattern(const struct stream *stream, const uint8_t *slot, uint32_t length)
{
	struct stream_stamp stamp;
	uint32_t start = stream->stamp_offset + sizeof(stamp);

	memcpy(&stamp, slot + stream->stamp_offset, sizeof(stamp));
	if (!same_headers(stream, slot + STREAM_VNET_HEADER, stamp.sequence & STREAM_SEQUENCE))
		return false;
	for (uint32_t i = start; i < length; i += 8) {
		uint64_t word = pattern_word(stamp.seed, (i - start) / 8);

		if (memcmp(slot + i, &word, length - i < 8 ? length - i : 8) != 0)
			return false;
	}
	return true;
}

bool stream_check_whole(struct stream *stream, const uint8_t *slot, uint32_t length)
{
	stream->counters.sampled++;
	if (same_pattern(stream, slot, length) && right_checksum(stream, slot, length))
		return true;
	stream->counters.corrupted++;
	return false;
}

const struct stream_stamp *stream_check_pieces(struct stream *stream, const uint8_t *slot,
					       uint32_t length)
{
	const struct stream_stamp *stamp =
	    (const struct stream_stamp *)(slot + stream->stamp_offset);

	if (stamp->magic != (STREAM_DATA | stream->sender) ||
	    stamp->length != length - STREAM_VNET_HEADER) {
		stream_check_other(stream, slot, length);
		return NULL;
	}
	stream_count(stream, stamp->sequence & STREAM_SEQUENCE, length);
	return stamp;
}

void stream_check_other(struct stream *stream, const uint8_t *slot, uint32_t length)
{
	struct stream_stamp stamp;
	uint32_t kind;

	if (length < STREAM_VNET_HEADER + STREAM_FRAME_MIN ||
	    memcmp(slot + STREAM_VNET_HEADER + 6, mac_prefix, sizeof(mac_prefix)) != 0) {
		stream->counters.foreign++;
		return;
	}
	memcpy(&stamp, slot + stream->stamp_offset, sizeof(stamp));
	kind = stamp.magic & ~STREAM_SENDER_MASK;
	if (kind == STREAM_PROBE || kind == STREAM_ANNOUNCE) {
		/* They come from other guests, too. */
		if (stamp.magic == (STREAM_PROBE | stream->sender))
			stream->probes++;
	} else if (kind == STREAM_DATA && (stamp.magic & STREAM_SENDER_MASK) != stream->sender) {
		stream->counters.foreign++;
	} else {
		stream->counters.corrupted++;
	}
}
