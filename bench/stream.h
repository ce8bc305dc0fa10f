/* A stream: the frames that one queue of a guest sends to the next guest, and what that one
 * expects. Frames are laid out once in the sender's buffers; for each frame sent only its stamp is
 * written (and with `headers` addresses and ports), and for each frame received the stamp is checked:
 * magic, sequence and length, and for one in 64 every byte and both checksums.
 *
 * A frame is IPv4 with a UDP header (or TCP with offload fields, for frames to be segmented), the
 * stamp, and a pattern that depends on the buffer it was sent from. What changes from one frame to
 * the next is balanced in the stamp, so that the UDP checksum is right and never changes. All on
 * one thread. */
#ifndef WEFT_BENCH_STREAM_H
#define WEFT_BENCH_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STREAM_VNET_HEADER 12u
#define STREAM_FRAME_MIN   64u
#define STREAM_FRAME_MAX   65535u
#define STREAM_SIZES_MAX   16u
#define STREAM_FLOWS_MAX   (1u << 24)
#define STREAM_MACS_MAX	   (1u << 20)
#define STREAM_SAMPLE	   64u /* every so many frames are checked whole */
#define STREAM_WINDOW	   (1u << 20)
#define STREAM_SENDERS_MAX 16u /* magics tell so many apart */
#define STREAM_SENDER_MASK (STREAM_SENDERS_MAX - 1)
#define STREAM_SEQUENCE	   ((1ull << 48) - 1)

/* Far from one another, so that no single bit makes one of another. */
enum stream_kind {
	STREAM_DATA = 0x5700,
	STREAM_PROBE = 0xa9c0,	  /* sent until the peer has seen one */
	STREAM_ANNOUNCE = 0x3a60, /* shows a MAC address to the switch */
};

/* 22 bytes: with the headers before it, 64. In a UDP frame what changes each time begins at a cache
 * line (12 + 42 + 10), so that one frame of one flow dirties one line. */
struct __attribute__((packed)) stream_stamp {
	uint16_t magic; /* kind and sender */
	uint16_t length;
	uint16_t seed; /* of the pattern behind it */
	uint16_t queue;
	uint16_t reserved;
	uint64_t sequence; /* lower 48 bits; above them what balances the checksum */
	uint32_t time;	   /* cycles, lower half: latencies of a second at most */
};

struct stream_options {
	uint32_t sizes[STREAM_SIZES_MAX]; /* frames of these sizes in turn */
	uint32_t size_count;
	uint32_t flows; /* of each stream */
	uint32_t macs;	/* of each guest */
	bool headers; /* addresses and ports are written into each frame; where there are several */
	bool offload; /* TCP, to be segmented at gso_size */
};

struct stream_counters {
	uint64_t received;
	uint64_t received_bytes;
	uint64_t late;	    /* came after a later frame */
	uint64_t reordered; /* of these: after a later one of the same flow */
	uint64_t duplicates;
	uint64_t corrupted;
	uint64_t foreign; /* not ours, or not for this guest */
	uint64_t sampled; /* checked whole */
};

struct stream {
	const struct stream_options *options;
	uint32_t sender, receiver; /* guests */
	uint32_t queue;		   /* of the sender */
	uint32_t first_flow;	   /* flows of a sender's streams have numbers of their own */
	uint32_t stamp_offset;
	/* Sending. */
	uint64_t sequence;
	uint32_t flow, source_mac, target_mac;
	/* Receiving. */
	uint64_t expected;
	uint64_t probes;
	struct stream_counters counters;
	uint64_t *missing; /* a bit for each of the last sequence numbers */
};

/* From guest to guest, sent on `queue`. 0 or -ENOMEM. `options` stays the caller's and must outlive
 * the stream. */
int stream_init(struct stream *stream, const struct stream_options *options, uint32_t sender,
		uint32_t receiver, uint32_t queue);
void stream_release(struct stream *stream);

/* Lays out frame number `index` of the sender's buffers at `slot`, behind its vnet header. Returns
 * the bytes of both. */
uint32_t stream_lay_out(const struct stream *stream, uint8_t *slot, uint32_t index);

/* Makes the frame at `slot` one of another kind: from MAC address `mac`, to everybody. */
void stream_mark(const struct stream *stream, uint8_t *slot, enum stream_kind kind, uint32_t mac);

/* Numbers of frames sent of which nothing came. */
uint64_t stream_lost(const struct stream *stream);

/* Like stream_check() for a frame in several buffers, of which only the first is at `slot`. */
const struct stream_stamp *stream_check_pieces(struct stream *stream, const uint8_t *slot,
					       uint32_t length);

/* The slow paths of stream_check(). */
void stream_check_unexpected(struct stream *stream, uint64_t sequence);
bool stream_check_whole(struct stream *stream, const uint8_t *slot, uint32_t length);
void stream_check_other(struct stream *stream, const uint8_t *slot, uint32_t length);
void stream_clear_window(struct stream *stream);

static inline void stream_write_be32(uint8_t *to, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(to, &value, sizeof(value));
}

static inline void stream_write_be16(uint8_t *to, uint16_t value)
{
	value = __builtin_bswap16(value);
	memcpy(to, &value, sizeof(value));
}

static inline uint16_t stream_source_port(uint32_t flow)
{
	return (uint16_t)(1024 + (flow >> 16));
}

/* Number `flow` of this stream. The IPv4 addresses of a flow change by opposite amounts, so that
 * their checksum stays. */
static inline void stream_write_flow(const struct stream *stream, uint8_t *frame, uint32_t flow,
				     uint32_t source_mac, uint32_t target_mac)
{
	flow += stream->first_flow;
	stream_write_be32(frame + 2, stream->receiver << 24 | target_mac);
	stream_write_be32(frame + 8, stream->sender << 24 | source_mac);
	stream_write_be16(frame + 28, (uint16_t)flow);
	stream_write_be16(frame + 32, (uint16_t)~flow);
	stream_write_be16(frame + 34, stream_source_port(flow));
}

/* The sum of a number's 16-bit words in ones' complement (RFC 1071). */
static inline uint16_t stream_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* The stamp's changing part; with it, all that changes adds up to nothing. */
static inline void stream_write_stamp(const struct stream *stream, struct stream_stamp *stamp,
				      uint32_t flow, uint64_t now)
{
	uint64_t sequence = stream->sequence & STREAM_SEQUENCE;
	uint16_t port = __builtin_bswap16(stream_source_port(stream->first_flow + flow));
	uint64_t balance = (uint16_t)~stream_fold(sequence + (uint32_t)now + port);

	stamp->sequence = sequence | balance << 48;
	stamp->time = (uint32_t)now;
}

/* Fast path of the sender: makes the frame at `slot` the next one. */
static inline void stream_stamp_next(struct stream *stream, uint8_t *slot, uint64_t now)
{
	struct stream_stamp *stamp = (struct stream_stamp *)(slot + stream->stamp_offset);
	const struct stream_options *options = stream->options;

	stream_write_stamp(stream, stamp, stream->flow, now);
	stream->sequence++;
	if (!options->headers)
		return;
	stream_write_flow(stream, slot + STREAM_VNET_HEADER, stream->flow, stream->source_mac,
			  stream->target_mac);
	if (++stream->source_mac == options->macs)
		stream->source_mac = 0;
	stream->target_mac = stream->source_mac;
	if (++stream->flow == options->flows)
		stream->flow = stream->source_mac = stream->target_mac = 0;
}

/* Counts a sound frame of `length` bytes. */
static inline void stream_count(struct stream *stream, uint64_t sequence, uint32_t length)
{
	stream->counters.received++;
	stream->counters.received_bytes += length - STREAM_VNET_HEADER;
	if (__builtin_expect(sequence != stream->expected, 0))
		stream_check_unexpected(stream, sequence);
	else if (__builtin_expect((++stream->expected & (STREAM_WINDOW / 2 - 1)) == 0, 0))
		stream_clear_window(stream);
}

/* Whether the frame whose first bytes are at `slot` is one of those that are checked whole. */
static inline bool stream_is_sample(const struct stream *stream, const uint8_t *slot)
{
	const struct stream_stamp *stamp =
	    (const struct stream_stamp *)(slot + stream->stamp_offset);

	return stamp->sequence % STREAM_SAMPLE == 0;
}

/* Fast path of the receiver: `length` bytes of vnet header and frame at `slot`. Returns the stamp
 * of a frame that is ours and new, else NULL; counted either way. */
static inline const struct stream_stamp *stream_check(struct stream *stream, const uint8_t *slot,
						      uint32_t length)
{
	const struct stream_stamp *stamp =
	    (const struct stream_stamp *)(slot + stream->stamp_offset);

	if (__builtin_expect(length < STREAM_VNET_HEADER + STREAM_FRAME_MIN ||
				 stamp->magic != (STREAM_DATA | stream->sender) ||
				 stamp->length != length - STREAM_VNET_HEADER,
			     0)) {
		stream_check_other(stream, slot, length);
		return NULL;
	}
	if (__builtin_expect(stream_is_sample(stream, slot), 0) &&
	    !stream_check_whole(stream, slot, length))
		return NULL;
	stream_count(stream, stamp->sequence & STREAM_SEQUENCE, length);
	return stamp;
}

#endif
