/* The generator's rounds (traffic.h): each sends a batch and receives a batch on the rings of both
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

static int create_side(struct traffic *traffic, uint32_t index)
{
	const struct generator_options *options = traffic->options;
	struct traffic_side *side = &traffic->sides[index];
	struct fake_guest_options guest = {
		.path = options->sockets[index],
		.role = options->listen ? FAKE_LISTENS : FAKE_CONNECTS,
		.ring_size = (uint16_t)options->ring_size,
		.buffer_size = options->buffer_size,
		.indirect_entries = 1,
		.packed = options->packed,
		.features = PLAIN_FEATURES | (options->in_order ? FAKE_BIT(FAKE_F_IN_ORDER) : 0) |
			    (options->event_idx ? FAKE_BIT(FAKE_F_EVENT_IDX) : 0) |
			    (options->stream.offload ? OFFLOAD_FEATURES : 0),
		.timeout_ms = (uint32_t)(options->timeout * 1000),
	};
	int rc = fake_guest_create(&guest, &side->guest);

	if (rc == 0)
		rc = driver_ring_init(&side->receive, side->guest, 0, FAKE_DESCRIPTOR_WRITE);
	if (rc == 0)
		rc = driver_ring_init(&side->send, side->guest, 1, 0);
	if (rc == 0)
		rc = stream_init(&side->stream, &options->stream, index);
	for (uint32_t i = 0; rc == 0 && i < options->ring_size; i++) {
		uint8_t *slot = driver_ring_slot(&side->send, i);

		side->send.lengths[i] = stream_lay_out(&side->stream, slot, i);
		side->receive.lengths[i] = options->receive_size;
		memset(driver_ring_slot(&side->receive, i), 0, options->receive_size);
	}
	return rc;
}

int traffic_create(const struct generator_options *options, struct traffic **out)
{
	struct traffic *traffic = calloc(1, sizeof(*traffic));
	int rc;

	if (traffic == NULL)
		return -ENOMEM;
	traffic->options = options;
	traffic->cycles_per_second = cycles_per_second();
	traffic->latency_mask = options->all_latencies ? 0 : 15;
	rc = create_side(traffic, 0);
	if (rc == 0)
		rc = create_side(traffic, 1);
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
	for (uint32_t i = 0; i < 2; i++) {
		struct traffic_side *side = &traffic->sides[i];

		stream_release(&side->stream);
		driver_ring_release(&side->send);
		driver_ring_release(&side->receive);
		fake_guest_destroy(side->guest);
	}
	free(traffic->latency);
	free(traffic);
}

static int connect_side(struct traffic_side *side, uint64_t deadline_ns)
{
	int rc;

	while ((rc = fake_guest_connect(side->guest)) == -ENOENT || rc == -ECONNREFUSED) {
		if (clock_ns() > deadline_ns)
			return -ETIMEDOUT;
		usleep(200);
	}
	if (rc == 0)
		rc = fake_guest_handshake(side->guest, FAKE_ORDER_VIRTIO_USER);
	if (rc != 0)
		return rc;
	side->send.event_idx = side->receive.event_idx =
	    (side->guest->features & FAKE_BIT(FAKE_F_EVENT_IDX)) != 0;
	driver_ring_fill(&side->receive);
	driver_ring_publish(&side->receive);
	driver_ring_kick(&side->receive);
	driver_ring_kick(&side->send);
	return 0;
}

int traffic_connect(struct traffic *traffic, uint64_t deadline_ns)
{
	int rc = connect_side(&traffic->sides[0], deadline_ns);

	return rc != 0 ? rc : connect_side(&traffic->sides[1], deadline_ns);
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

static uint32_t send_batch(struct traffic_side *side, uint32_t count, uint64_t now)
{
	struct driver_ring *ring = &side->send;
	uint32_t free_count = driver_ring_reclaim(ring);
	/* The line that changes: the second, or with several flows the first as well. */
	uint32_t data = side->stream.options->flows == 1 && !side->stream.options->offload;

	count = free_count < count ? free_count : count;
	for (uint32_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
		prefetch_to_send(ring, ring->available_index + i, data);
	for (uint32_t i = 0; i < count; i++) {
		/* The buffer given a lap ago came back in the same place of the used ring. */
		uint32_t id = driver_ring_used_id(ring, ring->available_index);
		uint8_t *slot = driver_ring_slot(ring, id);

		if (i + PREFETCH_AHEAD < count)
			prefetch_to_send(ring, id + PREFETCH_AHEAD, data);
		stream_stamp_next(&side->stream, slot, now);
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

static void count_latency(struct traffic *traffic, const struct stream_stamp *stamp, uint64_t now)
{
	if (traffic->latency != NULL && (stamp->sequence & traffic->latency_mask) == 0)
		histogram_add(traffic->latency, (uint32_t)now - stamp->time);
}

static void check_frame(struct traffic *traffic, struct stream *stream, uint8_t *slot,
			uint32_t length, uint32_t buffers, uint64_t now)
{
	const struct stream_stamp *stamp;

	if (buffers == 1) {
		stamp = stream_check(stream, slot, length);
	} else {
		/* In pieces: header and stamp stand in the first, the rest counts by length. */
		stamp = stream_check_pieces(stream, slot, length);
	}
	if (stamp != NULL)
		count_latency(traffic, stamp, now);
}

static uint32_t receive_batch(struct traffic *traffic, struct traffic_side *side,
			      struct stream *stream, uint32_t count, uint64_t now)
{
	struct driver_ring *ring = &side->receive;
	uint32_t waiting = driver_ring_used_count(ring), done = 0;

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
			if (buffers == 0 || buffers > driver_ring_used_count(ring)) {
				ring->broken = true;
				return done;
			}
			length = merged_length(ring, length, buffers - 1u);
		}
		check_frame(traffic, stream, slot, length, buffers, now);
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

struct pace {
	uint64_t start;
	double per_cycle; /* frames */
	uint64_t sent;
};

static uint32_t allowed(const struct traffic *traffic, const struct pace *pace, uint64_t now)
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

static uint32_t send_round(struct traffic *traffic, uint32_t from, struct pace *pace,
			   uint32_t *patience, uint64_t now)
{
	struct traffic_side *side = &traffic->sides[from];
	uint32_t count = allowed(traffic, pace, now);

	if (count == 0)
		return 0;
	if (pace->per_cycle == 0 && !worth_it(traffic, driver_ring_reclaim(&side->send), patience))
		return 0;
	count = send_batch(side, count, now);
	pace->sent += count;
	return count;
}

static uint32_t receive_round(struct traffic *traffic, uint32_t to, uint32_t *patience)
{
	struct traffic_side *side = &traffic->sides[to];
	uint32_t count = driver_ring_used_count(&side->receive);

	if (count == 0 || !worth_it(traffic, count, patience))
		return 0;
	/* The time is taken now, after the index was seen to have moved. */
	count = receive_batch(traffic, side, &traffic->sides[to ^ 1].stream,
			      traffic->options->batch, cycles_now());
	traffic->batches++;
	traffic->batch_frames += count;
	return count;
}

double traffic_run(struct traffic *traffic, double seconds)
{
	const struct generator_options *options = traffic->options;
	uint64_t start = cycles_now(), now = start;
	uint64_t end = start + (uint64_t)(seconds * traffic->cycles_per_second);
	struct pace paces[2] = { 0 };
	uint32_t patience[4] = { 0 };
	uint32_t senders = options->both ? 2 : 1;

	for (uint32_t i = 0; i < 2; i++) {
		paces[i].start = start;
		paces[i].per_cycle = options->rate / traffic->cycles_per_second;
	}
	while (now < end) {
		uint32_t done = 0;
		uint64_t before = now;

		for (uint32_t i = 0; i < senders; i++)
			done += send_round(traffic, i, &paces[i], &patience[i], now);
		now = cycles_now();
		for (uint32_t i = 0; i < senders; i++)
			done += receive_round(traffic, i ^ 1, &patience[2 + i]);
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
	uint32_t impatient = PATIENCE, also = PATIENCE;

	while (now - last < DRAIN_NS) {
		now = clock_ns();
		impatient = also = PATIENCE;
		if (receive_round(traffic, 0, &impatient) + receive_round(traffic, 1, &also) > 0)
			last = now;
	}
}

bool traffic_broken(const struct traffic *traffic)
{
	for (uint32_t i = 0; i < 2; i++)
		if (traffic->sides[i].send.broken || traffic->sides[i].receive.broken)
			return true;
	return false;
}

/* Sends one frame of another kind through the next buffer and lays that out anew once it is back,
 * so only while the ring is otherwise empty. */
static bool send_marked(struct traffic_side *side, enum stream_kind kind, uint32_t mac)
{
	struct driver_ring *ring = &side->send;
	uint32_t id;
	uint8_t *slot;

	if (driver_ring_reclaim(ring) == 0)
		return false;
	id = driver_ring_used_id(ring, ring->available_index);
	slot = driver_ring_slot(ring, id);
	stream_lay_out(&side->stream, slot, id);
	stream_mark(&side->stream, slot, kind, mac);
	driver_ring_give(ring, id);
	driver_ring_publish(ring);
	return true;
}

/* After marked frames: all buffers as data again. */
static int restore(struct traffic *traffic, uint64_t deadline_ns)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct traffic_side *side = &traffic->sides[i];

		while (driver_ring_reclaim(&side->send) < side->send.size)
			if (clock_ns() > deadline_ns)
				return -ETIMEDOUT;
		for (uint32_t j = 0; j < side->send.size; j++)
			stream_lay_out(&side->stream, driver_ring_slot(&side->send, j), j);
	}
	traffic_drain(traffic);
	return 0;
}

int traffic_probe(struct traffic *traffic, uint64_t deadline_ns, uint64_t *first_ns)
{
	uint64_t probes[2] = { 0, 0 }, next = 0, now;
	uint32_t patience = PATIENCE;

	*first_ns = 0;
	do {
		now = clock_ns();
		if (now > deadline_ns)
			return -ETIMEDOUT;
		for (uint32_t i = 0; i < 2; i++) {
			if (now >= next)
				send_marked(&traffic->sides[i], STREAM_PROBE, 0);
			patience = PATIENCE;
			receive_round(traffic, i ^ 1, &patience);
			probes[i] = traffic->sides[i].stream.probes;
		}
		if (now >= next)
			next = now + PROBE_PERIOD_NS;
		if (*first_ns == 0 && probes[0] + probes[1] > 0)
			*first_ns = clock_ns();
	} while (probes[0] == 0 || probes[1] == 0);
	return restore(traffic, deadline_ns);
}

int traffic_announce(struct traffic *traffic, uint64_t deadline_ns)
{
	uint32_t patience, macs = traffic->options->stream.macs, next[2] = { 0, 0 };

	/* Twice: what was lost to a full ring the first time is seen the second. */
	while (next[0] < 2 * macs || next[1] < 2 * macs) {
		if (clock_ns() > deadline_ns)
			return -ETIMEDOUT;
		for (uint32_t i = 0; i < 2; i++) {
			if (next[i] < 2 * macs &&
			    send_marked(&traffic->sides[i], STREAM_ANNOUNCE, next[i] % macs))
				next[i]++;
			patience = PATIENCE;
			receive_round(traffic, i ^ 1, &patience);
		}
	}
	return restore(traffic, deadline_ns);
}
