/* Bursts through the file of a tap (tap_queue.h). Each frame is a message of its own, its
 * virtio-net header before it. */
#include "vswitch/tap_queue.h"

#include "base/vnet_header.h"
#include "vswitch/gather.h"
#include "vswitch/io_batch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What follows the head of the longest frame, and a byte more: a longer one shows itself by it and
 * is not taken for whole. In lines of the cache an odd number, so that slots do not share sets. */
#define BULK_SLOT (1023u * 64u)
_Static_assert(BULK_SLOT > FRAME_LENGTH_MAX - FRAME_HEAD_MAX, "a longer frame shows itself");
_Static_assert(BURST_FRAMES <= BURST_BULK / BULK_SLOT, "each frame of a burst has a slot");
/* About so much of long frames at a time, so that what is read is still in the cache when it is
 * sent; more only where a batch of long frames follows short ones. */
#define READ_BYTES (512u * 1024u)

struct inbound {
	struct io_batch *io;
	uint32_t asked; /* reads of the next call */
	struct io_operation reads[IO_BATCH_MAX];
	struct iovec parts[IO_BATCH_MAX][2];
};

struct outbound {
	struct io_batch *io;
	struct io_operation writes[IO_BATCH_MAX];
	struct gather gather;
};

struct tap_queue {
	int fd;
	struct tap_end *end;
	struct inbound in;   /* receiving worker */
	struct outbound out; /* sending worker, under the queue's lock */
};

struct tap_queue *tap_queue_create(int fd, struct tap_end *end)
{
	struct tap_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->fd = fd;
	queue->end = end;
	queue->in.asked = 1;
	queue->in.io = io_batch_create(fd);
	queue->out.io = io_batch_create(fd);
	if (!queue->in.io || !queue->out.io) {
		tap_queue_destroy(queue);
		return NULL;
	}
	return queue;
}

void tap_queue_destroy(struct tap_queue *queue)
{
	if (!queue)
		return;
	io_batch_destroy(queue->in.io);
	io_batch_destroy(queue->out.io);
	free(queue);
}

bool tap_queue_is_batched(const struct tap_queue *queue)
{
	return io_batch_has_ring(queue->in.io) && io_batch_has_ring(queue->out.io);
}

static void report_gone(struct tap_end *end)
{
	uint64_t one = 1;

	if (atomic_exchange_explicit(&end->gone, true, memory_order_relaxed))
		return;
	while (write(end->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Where the next `count` frames shall go: each head to a place of the burst's, from `place` on, its
 * virtio-net header before it, what follows to a slot of the bulk buffer. */
static void prepare_reads(struct inbound *in, struct burst *burst, uint32_t place, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct iovec *parts = in->parts[i];

		parts[0] = (struct iovec){ burst_head(burst, place + i) - VNET_HEADER_SIZE,
					   VNET_HEADER_SIZE + FRAME_HEAD_MAX };
		parts[1] =
		    (struct iovec){ burst->bulk + burst->bulk_used + i * BULK_SLOT, BULK_SLOT };
		in->reads[i] = (struct io_operation){ .parts = parts, .part_count = 2 };
	}
}

/* Makes what was read next a frame of the burst, or drops it. */
static void accept_frame(struct inbound *in, uint32_t i, struct burst *burst,
			 struct port_counters *counters)
{
	struct frame *frame = &burst->frames[burst->count];
	struct frame_segment *segment = &burst->segments[burst->segment_count];
	const struct iovec *parts = in->parts[i];
	uint32_t length = (uint32_t)in->reads[i].result;
	struct vnet_header header;
	enum drop_reason reason;

	if (length < sizeof(header)) {
		counter_drop(counters, DROP_CHAIN_HEADER, 1);
		return;
	}
	memcpy(&header, parts[0].iov_base, sizeof(header));
	length -= (uint32_t)sizeof(header);
	if (length < FRAME_LENGTH_MIN || length > FRAME_LENGTH_MAX) {
		counter_drop(counters,
			     length < FRAME_LENGTH_MIN ? DROP_FRAME_SHORT : DROP_FRAME_LONG, 1);
		return;
	}
	memset(frame, 0, sizeof(*frame));
	frame->head = (uint8_t *)parts[0].iov_base + sizeof(header);
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	if (length > FRAME_HEAD_MAX) {
		*segment = (struct frame_segment){ parts[1].iov_base, length - FRAME_HEAD_MAX };
		frame->segments = segment;
		frame->segment_count = 1;
	}
	if (!vnet_header_to_frame(&header, frame, OFFLOAD_ALL, &reason)) {
		counter_drop(counters, reason, 1);
		return;
	}
	burst->segment_count += frame->segment_count;
	burst->count++;
	counter_add(&counters->receive_packets, 1);
	counter_add(&counters->receive_bytes, length);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* How many to ask for next, after a call for `asked` that brought `got`, the last of `taken` in
 * all. One more than there were costs a read in vain, which is cheap in a batch; when all brought
 * something there are more. */
static uint32_t next_asked(uint32_t asked, uint32_t got, uint32_t bytes, uint32_t taken)
{
	if (got < asked)
		return least(taken + 1, IO_BATCH_MAX);
	if (bytes >= READ_BYTES)
		return 1 + (uint32_t)(asked * (uint64_t)READ_BYTES / (bytes + 1ull));
	return least(asked * 2, IO_BATCH_MAX);
}

/* Reads with one call, `asked` of them. Returns how many brought something, and their bytes. */
static uint32_t read_batch(struct tap_queue *queue, struct burst *burst, uint32_t place,
			   uint32_t asked, uint32_t *bytes, struct port_counters *counters)
{
	struct inbound *in = &queue->in;
	uint32_t got = 0;

	*bytes = 0;
	prepare_reads(in, burst, place, asked);
	io_batch_read(in->io, in->reads, asked);
	for (uint32_t i = 0; i < asked; i++) {
		if (in->reads[i].result == -EBADFD)
			report_gone(queue->end);
		if (in->reads[i].result < 0)
			continue;
		got++;
		*bytes += (uint32_t)in->reads[i].result;
		accept_frame(in, i, burst, counters);
	}
	burst->bulk_used += asked * BULK_SLOT;
	return got;
}

uint32_t tap_queue_receive(struct tap_queue *queue, struct burst *burst,
			   struct port_counters *counters)
{
	const uint32_t first = burst->count;
	uint32_t taken = 0, total = 0, bytes, asked, got;

	/* A tap that has more is to bring a whole burst, like any full queue (turns.h). Frames that
	 * are dropped are none of the burst, but have used their places. */
	do {
		asked = least(queue->in.asked, BURST_FRAMES - first - taken);
		asked = least(asked, burst->limit - burst->count);
		asked = least(asked, BURST_SEGMENTS - burst->segment_count);
		asked = least(asked, (BURST_BULK - burst->bulk_used) / BULK_SLOT);
		if (asked == 0 || tap_end_is_gone(queue->end))
			break;
		got = read_batch(queue, burst, first + taken, asked, &bytes, counters);
		taken += got;
		total += bytes;
		queue->in.asked = next_asked(asked, got, bytes, taken);
	} while (got == asked && asked == IO_BATCH_MAX && total < READ_BYTES);
	return taken;
}

/* The file is watched by its edges, so what came before must be seen here. */
bool tap_queue_arm(const struct tap_queue *queue)
{
	struct pollfd look = { .fd = queue->fd, .events = POLLIN };

	return tap_end_is_gone(queue->end) || poll(&look, 1, 0) <= 0 || !(look.revents & POLLIN);
}

static enum drop_reason write_error(struct tap_end *end, int code)
{
	switch (code) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return DROP_NO_BUFFERS;
	case EBADFD:
		report_gone(end);
		return DROP_PORT_DOWN;
	case EIO: /* the interface is set down */
		return DROP_PORT_DOWN;
	case EMSGSIZE:
		return DROP_FRAME_TOO_LONG_FOR_PORT;
	default:
		return DROP_WRITE_FAILED;
	}
}

uint32_t tap_queue_send(struct tap_queue *queue, struct frame *const *frames, uint32_t count,
			struct port_counters *counters)
{
	struct outbound *out = &queue->out;
	uint64_t bytes = 0;
	uint32_t sent = 0, at = 0;

	while (at < count) {
		uint32_t made, most = count - at < IO_BATCH_MAX ? count - at : IO_BATCH_MAX;

		if (tap_end_is_gone(queue->end)) {
			counter_drop(counters, DROP_PORT_DOWN, count - at);
			break;
		}
		made = gather_frames(&out->gather, VNET_HEADER_SIZE, frames + at, most);
		for (uint32_t i = 0; i < made; i++)
			out->writes[i] = (struct io_operation){
				.parts = out->gather.messages[i].parts,
				.part_count = out->gather.messages[i].part_count,
			};
		io_batch_write(out->io, out->writes, made);
		for (uint32_t i = 0; i < made; i++) {
			int result = out->writes[i].result;

			if (result < 0) {
				counter_drop(counters, write_error(queue->end, -result), 1);
				continue;
			}
			bytes += frames[at + i]->length;
			sent++;
		}
		at += made;
	}
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}
