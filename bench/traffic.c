/* The generator's rounds (traffic.h): each sends a batch and receives a batch on the rings of all
 * guests. One thread, no system call but a kick that a device asks for. */
#include "bench/traffic.h"

#include "bench/cycles.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PREFETCH_AHEAD	16u
#define PATIENCE	64u /* rounds in which a ring with few entries is left alone */
#define DRAIN_NS	20000000ull
#define PROBE_PERIOD_NS 200000ull

#define PLAIN_FEATURES                                                                             \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) |                         \
	 FAKE_BIT(FAKE_F_MRG_RXBUF))
#define OFFLOAD_FEATURES                                                                           \
	(FAKE_BIT(FAKE_F_CSUM) | FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_HOST_TSO4) |        \
	 FAKE_BIT(FAKE_F_GUEST_TSO4))

static int create_guest(struct traffic *traffic, uint32_t index);
static int create_queue(struct traffic *traffic, uint32_t guest, uint32_t index);
static void destroy_guest(struct traffic *traffic, uint32_t index);

int traffic_create(const struct generator_options *options, struct traffic **out)
{
	struct traffic *traffic = calloc(1, sizeof(*traffic));
	int rc = 0;

	if (traffic == NULL)
		return -ENOMEM;
	traffic->options = options;
	traffic->guest_count = options->guest_count;
	traffic->queue_count = options->queue_pairs;
	traffic->cycles_per_second = cycles_per_second();
	traffic->latency_mask = options->all_latencies ? 0 : 15;
	for (uint32_t i = 0; rc == 0 && i < traffic->guest_count; i++)
		rc = create_guest(traffic, i);
	if (rc != 0) {
		traffic_destroy(traffic);
		return rc;
	}
	*out = traffic;
	return 0;
}

void traffic_destroy(struct traffic *traffic)
{
	if (traffic == NULL)
		return;
	for (uint32_t i = 0; i < traffic->guest_count; i++)
		destroy_guest(traffic, i);
	free(traffic->latency);
	free(traffic);
}

static int create_guest(struct traffic *traffic, uint32_t index)
{
	const struct generator_options *options = traffic->options;
	struct traffic_guest *guest = &traffic->guests[index];
	struct fake_guest_options wanted = {
		.path = options->sockets[index],
		.role = options->listen ? FAKE_LISTENS : FAKE_CONNECTS,
		.queue_pairs = (uint16_t)options->queue_pairs,
		.ring_size = (uint16_t)options->ring_size,
		.buffer_size = options->buffer_size,
		.indirect_entries = 1,
		.packed = options->packed,
		.features = PLAIN_FEATURES | (options->in_order ? FAKE_BIT(FAKE_F_IN_ORDER) : 0) |
			    (options->event_idx ? FAKE_BIT(FAKE_F_EVENT_IDX) : 0) |
			    (options->queue_pairs > 1 ? FAKE_BIT(FAKE_F_MQ) : 0) |
			    (options->stream.offload ? OFFLOAD_FEATURES : 0),
		.timeout_ms = (uint32_t)(options->timeout * 1000),
	};
	int rc = fake_guest_create(&wanted, &guest->guest);

	if (rc != 0)
		return rc;
	guest->previous =
	    &traffic->guests[(index + traffic->guest_count - 1) % traffic->guest_count];
	guest->sends = options->both || index % 2 == 0;
	guest->queues = aligned_alloc(64, traffic->queue_count * sizeof(*guest->queues));
	if (guest->queues == NULL)
		return -ENOMEM;
	memset(guest->queues, 0, traffic->queue_count * sizeof(*guest->queues));
	for (uint32_t i = 0; rc == 0 && i < traffic->queue_count; i++)
		rc = create_queue(traffic, index, i);
	return rc;
}

static int create_queue(struct traffic *traffic, uint32_t guest, uint32_t index)
{
	const struct generator_options *options = traffic->options;
	struct traffic_guest *owner = &traffic->guests[guest];
	struct traffic_queue *queue = &owner->queues[index];
	int rc = driver_ring_init(&queue->receive, owner->guest, 2 * index, FAKE_DESCRIPTOR_WRITE);

	if (rc == 0)
		rc = driver_ring_init(&queue->send, owner->guest, 2 * index + 1, 0);
	if (rc == 0)
		rc = stream_init(&queue->stream, &options->stream, guest,
				 (guest + 1) % traffic->guest_count, index);
	for (uint32_t i = 0; rc == 0 && i < options->ring_size; i++) {
		queue->send.lengths[i] =
		    stream_lay_out(&queue->stream, driver_ring_slot(&queue->send, i), i);
		queue->receive.lengths[i] = options->receive_size;
		memset(driver_ring_slot(&queue->receive, i), 0, options->receive_size);
	}
	return rc;
}

static void destroy_guest(struct traffic *traffic, uint32_t index)
{
	struct traffic_guest *guest = &traffic->guests[index];

	for (uint32_t i = 0; guest->queues != NULL && i < traffic->queue_count; i++) {
		stream_release(&guest->queues[i].stream);
		driver_ring_release(&guest->queues[i].send);
		driver_ring_release(&guest->queues[i].receive);
	}
	free(guest->queues);
	fake_guest_destroy(guest->guest);
}

static int connect_guest(struct traffic *traffic, struct traffic_guest *guest, uint64_t deadline_ns)
{
	int rc;

	while ((rc = fake_guest_connect(guest->guest)) == -ENOENT || rc == -ECONNREFUSED) {
		if (clock_ns() > deadline_ns)
			return -ETIMEDOUT;
		usleep(200);
	}
	if (rc == 0)
		rc = fake_guest_handshake(guest->guest, FAKE_ORDER_VIRTIO_USER);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < traffic->queue_count; i++) {
		struct traffic_queue *queue = &guest->queues[i];

		queue->send.event_idx = queue->receive.event_idx =
		    (guest->guest->features & FAKE_BIT(FAKE_F_EVENT_IDX)) != 0;
		driver_ring_fill(&queue->receive);
		driver_ring_publish(&queue->receive);
		driver_ring_kick(&queue->receive);
		driver_ring_kick(&queue->send);
	}
	return 0;
}

int traffic_connect(struct traffic *traffic, uint64_t deadline_ns)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < traffic->guest_count; i++)
		rc = connect_guest(traffic, &traffic->guests[i], deadline_ns);
	return rc;
}

/* Only what is the driver's own by now: touching a buffer the device still works on would take its
 * cache lines away. Ids mostly follow one another; where they do not, this costs a little time. */
static inline void prefetch_to_send(const struct driver_ring *ring, uint32_t id, uint32_t first)
{
	uint8_t *slot = driver_ring_slot(ring, id & ring->mask);

	if (first == 0)
		__builtin_prefetch(slot, 1);
	__builtin_prefetch(slot + 64, 1);
	__builtin_prefetch(&ring->descriptors[id & ring->mask], 1);
}

static inline void prefetch_received(const struct driver_ring *ring, uint32_t id)
{
	const uint8_t *slot = driver_ring_slot(ring, id & ring->mask);

	__builtin_prefetch(slot);
	__builtin_prefetch(slot + 64);
	__builtin_prefetch(&ring->descriptors[id & ring->mask], 1);
}

static uint32_t send_batch(struct traffic_queue *queue, uint32_t count, uint64_t now)
{
	struct driver_ring *ring = &queue->send;
	uint32_t free_count = driver_ring_reclaim(ring);
	/* The line that changes: the second, or with headers the first as well. */
	uint32_t data = !queue->stream.options->headers && !queue->stream.options->offload;

	count = free_count < count ? free_count : count;
	for (uint32_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
		prefetch_to_send(ring, ring->available_index + i, data);
	for (uint32_t i = 0; i < count; i++) {
		/* The buffer given a lap ago came back in the same place of the used ring. */
		uint32_t id = driver_ring_used_id(ring, ring->available_index);
		uint8_t *slot = driver_ring_slot(ring, id);

		if (i + PREFETCH_AHEAD < count)
			prefetch_to_send(ring, id + PREFETCH_AHEAD, data);
		stream_stamp_next(&queue->stream, slot, now);
		driver_ring_give(ring, id);
	}
	driver_ring_suppress_calls(ring);
	driver_ring_publish(ring);
	return count;
}

/* A frame in several buffers: its length, and how many further ones it takes. Only the first
 * buffer's part is looked at beyond that. */
static uint32_t merged_length(struct driver_ring *ring, uint32_t length, uint32_t further)
{
	for (uint32_t i = 1; i <= further; i++)
		length += driver_ring_used_length(ring, (uint16_t)(ring->used_index + i));
	return length;
}

static void count_latency(struct traffic *traffic, const struct stream *stream,
			  const struct stream_stamp *stamp, uint64_t now)
{
	if (traffic->options->quiet > 0 && stream->sender != 0)
		return;
	if (traffic->latency != NULL && (stamp->sequence & traffic->latency_mask) == 0)
		histogram_add(traffic->latency, (uint32_t)now - stamp->time);
}

/* The stream that a frame at `slot` says it belongs to. */
static inline struct stream *stream_of(const struct traffic *traffic,
				       const struct traffic_guest *guest, const uint8_t *slot)
{
	struct traffic_queue *queues = guest->previous->queues;
	const struct stream_stamp *stamp =
	    (const struct stream_stamp *)(slot + queues->stream.stamp_offset);
	uint32_t queue = traffic->queue_count > 1 ? stamp->queue : 0;

	return &queues[queue < traffic->queue_count ? queue : 0].stream;
}

/* The frame in `buffers` used entries from the next on, as one piece. */
static uint8_t *gather(struct traffic *traffic, struct driver_ring *ring, uint32_t buffers)
{
	uint32_t length = 0;

	for (uint32_t i = 0; i < buffers; i++) {
		uint16_t index = (uint16_t)(ring->used_index + i);
		uint32_t part = driver_ring_used_length(ring, index);

		if (part > sizeof(traffic->whole) - length)
			break;
		memcpy(traffic->whole + length,
		       driver_ring_slot(ring, driver_ring_used_id(ring, index)), part);
		length += part;
	}
	return traffic->whole;
}

/* The next used entry's frame, the first part of which is at `slot`. */
static void check_frame(struct traffic *traffic, struct stream *stream, struct driver_ring *ring,
			uint8_t *slot, uint32_t length, uint32_t buffers, uint64_t now)
{
	const struct stream_stamp *stamp;

	/* In pieces: header and stamp stand in the first, the rest counts by length, unless all of
	 * it is to be looked at. */
	if (buffers == 1)
		stamp = stream_check(stream, slot, length);
	else if (stream_is_sample(stream, slot))
		stamp = stream_check(stream, gather(traffic, ring, buffers), length);
	else
		stamp = stream_check_pieces(stream, slot, length);
	if (stamp != NULL)
		count_latency(traffic, stream, stamp, now);
}

static uint32_t receive_batch(struct traffic *traffic, const struct traffic_guest *guest,
			      struct driver_ring *ring, uint64_t now)
{
	uint32_t waiting = driver_ring_used_count(ring), count = traffic->options->batch, done = 0;

	waiting = waiting < count ? waiting : count;
	for (uint32_t i = 0; i < waiting && i < PREFETCH_AHEAD; i++)
		prefetch_received(ring, ring->used_index + i);
	while (done < waiting) {
		uint32_t id = driver_ring_used_id(ring, ring->used_index);
		uint32_t length = driver_ring_used_length(ring, ring->used_index);
		uint8_t *slot = driver_ring_slot(ring, id);
		uint16_t buffers;

		if (done + PREFETCH_AHEAD < waiting)
			prefetch_received(ring, id + PREFETCH_AHEAD);
		memcpy(&buffers, slot + 10, sizeof(buffers));
		if (__builtin_expect(buffers != 1, 0)) {
			/* The device shows all buffers of a frame at once. */
			if (buffers == 0 || !driver_ring_has_used(ring, buffers)) {
				ring->broken = true;
				return done;
			}
			length = merged_length(ring, length, buffers - 1u);
		}
		check_frame(traffic, stream_of(traffic, guest, slot), ring, slot, length, buffers,
			    now);
		for (uint32_t i = 0; i < buffers; i++)
			driver_ring_give(ring, driver_ring_used_id(ring, ring->used_index++));
		done += buffers;
	}
	driver_ring_suppress_calls(ring);
	driver_ring_publish(ring);
	return done;
}

/* A ring is left alone for some rounds until enough waits in it: looking at it often takes its
 * cache lines away from the device. */
static bool worth_it(const struct traffic *traffic, uint32_t waiting, uint32_t *patience)
{
	if (waiting >= traffic->options->gather || (waiting > 0 && ++*patience >= PATIENCE)) {
		*patience = 0;
		return true;
	}
	return false;
}

static uint32_t allowed(const struct traffic *traffic, const struct traffic_pace *pace,
			uint64_t now)
{
	uint32_t batch = traffic->options->batch;
	uint64_t due;

	if (pace->per_cycle == 0)
		return batch;
	due = (uint64_t)((double)(now - pace->start) * pace->per_cycle) + 1;
	if (due <= pace->sent)
		return 0;
	return due - pace->sent < batch ? (uint32_t)(due - pace->sent) : batch;
}

static uint32_t send_round(struct traffic *traffic, struct traffic_queue *queue, uint64_t now)
{
	uint32_t count = allowed(traffic, &queue->pace, now);

	if (count == 0)
		return 0;
	if (queue->pace.per_cycle == 0 &&
	    !worth_it(traffic, driver_ring_reclaim(&queue->send), &queue->send_patience))
		return 0;
	count = send_batch(queue, count, now);
	queue->pace.sent += count;
	return count;
}

static uint32_t send_all(struct traffic *traffic, uint64_t now)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < traffic->guest_count; i++) {
		if (!traffic->guests[i].sends)
			continue;
		for (uint32_t j = 0; j < traffic->queue_count; j++)
			done += send_round(traffic, &traffic->guests[i].queues[j], now);
	}
	return done;
}

static uint32_t receive_round(struct traffic *traffic, struct traffic_guest *guest,
			      struct traffic_queue *queue)
{
	uint32_t count = driver_ring_used_count(&queue->receive);

	if (count == 0 || !worth_it(traffic, count, &queue->receive_patience))
		return 0;
	/* The time is taken now, after the index was seen to have moved. */
	count = receive_batch(traffic, guest, &queue->receive, cycles_now());
	traffic->batches++;
	traffic->batch_frames += count;
	return count;
}

static uint32_t receive_all(struct traffic *traffic)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < traffic->guest_count; i++) {
		struct traffic_guest *guest = &traffic->guests[i];

		if (!guest->previous->sends)
			continue;
		for (uint32_t j = 0; j < traffic->queue_count; j++) {
			uint32_t count = receive_round(traffic, guest, &guest->queues[j]);

			/* Of several queues one has more than its share at times: a batch a round
			 * would not be all that is sent in one. */
			if (traffic->queue_count > 1 && count >= traffic->options->batch)
				count += receive_round(traffic, guest, &guest->queues[j]);
			done += count;
		}
	}
	return done;
}

/* All that has come, also to guests to which nothing but probes is sent. */
static uint32_t receive_impatiently(struct traffic *traffic)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < traffic->guest_count; i++) {
		struct traffic_guest *guest = &traffic->guests[i];

		for (uint32_t j = 0; j < traffic->queue_count; j++) {
			guest->queues[j].receive_patience = PATIENCE;
			done += receive_round(traffic, guest, &guest->queues[j]);
		}
	}
	return done;
}

static void start_paces(struct traffic *traffic, uint64_t now)
{
	double scale = 1 / (traffic->cycles_per_second * traffic->queue_count);
	double rate = traffic->options->rate * scale, quiet = traffic->options->quiet * scale;

	for (uint32_t i = 0; i < traffic->guest_count; i++)
		for (uint32_t j = 0; j < traffic->queue_count; j++)
			traffic->guests[i].queues[j].pace = (struct traffic_pace){
				.start = now, .per_cycle = i == 0 && quiet > 0 ? quiet : rate
			};
}

double traffic_run(struct traffic *traffic, double seconds)
{
	uint64_t start = cycles_now(), now = start;
	uint64_t end = start + (uint64_t)(seconds * traffic->cycles_per_second);

	start_paces(traffic, start);
	while (now < end) {
		uint64_t before = now;
		uint32_t done = send_all(traffic, now);

		done += receive_all(traffic);
		now = cycles_now();
		traffic->rounds++;
		if (done > 0) {
			traffic->busy_rounds++;
			traffic->busy_cycles += now - before;
		}
	}
	return (double)(now - start) / traffic->cycles_per_second;
}

void traffic_drain(struct traffic *traffic)
{
	uint64_t last = clock_ns(), now = last;

	while (now - last < DRAIN_NS) {
		now = clock_ns();
		if (receive_impatiently(traffic) > 0)
			last = now;
	}
}

bool traffic_broken(const struct traffic *traffic)
{
	for (uint32_t i = 0; i < traffic->guest_count; i++)
		for (uint32_t j = 0; j < traffic->queue_count; j++)
			if (traffic->guests[i].queues[j].send.broken ||
			    traffic->guests[i].queues[j].receive.broken)
				return true;
	return false;
}

/* Sends one frame of another kind through the next buffer and lays that out anew once it is back,
 * so only while the ring is otherwise empty. */
static bool send_marked(struct traffic_guest *guest, enum stream_kind kind, uint32_t mac)
{
	struct traffic_queue *queue = &guest->queues[0];
	struct driver_ring *ring = &queue->send;
	uint32_t id;
	uint8_t *slot;

	if (driver_ring_reclaim(ring) == 0)
		return false;
	id = driver_ring_used_id(ring, ring->available_index);
	slot = driver_ring_slot(ring, id);
	stream_lay_out(&queue->stream, slot, id);
	stream_mark(&queue->stream, slot, kind, mac);
	driver_ring_give(ring, id);
	driver_ring_publish(ring);
	return true;
}

/* After marked frames: all buffers as data again. */
static int restore(struct traffic *traffic, uint64_t deadline_ns)
{
	for (uint32_t i = 0; i < traffic->guest_count; i++) {
		struct traffic_queue *queue = &traffic->guests[i].queues[0];

		while (driver_ring_reclaim(&queue->send) < queue->send.size) {
			if (clock_ns() > deadline_ns)
				return -ETIMEDOUT;
			receive_impatiently(traffic);
		}
		for (uint32_t j = 0; j < queue->send.size; j++)
			stream_lay_out(&queue->stream, driver_ring_slot(&queue->send, j), j);
	}
	traffic_drain(traffic);
	return 0;
}

/* Guests that have seen a probe of the guest before them. */
static uint32_t guests_probed(const struct traffic *traffic)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < traffic->guest_count; i++)
		count += traffic->guests[i].queues[0].stream.probes > 0;
	return count;
}

int traffic_probe(struct traffic *traffic, uint64_t deadline_ns, uint64_t *first_ns)
{
	uint64_t next = 0, now;
	uint32_t seen;

	*first_ns = 0;
	do {
		now = clock_ns();
		if (now > deadline_ns)
			return -ETIMEDOUT;
		if (now >= next) {
			for (uint32_t i = 0; i < traffic->guest_count; i++)
				send_marked(&traffic->guests[i], STREAM_PROBE, 0);
			next = now + PROBE_PERIOD_NS;
		}
		receive_impatiently(traffic);
		seen = guests_probed(traffic);
		if (*first_ns == 0 && seen > 0)
			*first_ns = clock_ns();
	} while (seen < traffic->guest_count);
	return restore(traffic, deadline_ns);
}

/* Twice: what was lost to a full ring the first time is seen the second. */
static int announce_guest(struct traffic *traffic, struct traffic_guest *guest,
			  uint64_t deadline_ns)
{
	uint32_t macs = traffic->options->stream.macs, next = 0;

	while (next < 2 * macs) {
		if (clock_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (send_marked(guest, STREAM_ANNOUNCE, next % macs))
			next++;
		receive_impatiently(traffic);
	}
	return 0;
}

int traffic_announce(struct traffic *traffic, uint64_t deadline_ns)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < traffic->guest_count; i++)
		rc = announce_guest(traffic, &traffic->guests[i], deadline_ns);
	return rc != 0 ? rc : restore(traffic, deadline_ns);
}
