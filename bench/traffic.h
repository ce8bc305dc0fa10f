/* Guests on one core: their rings and the rounds of sending and receiving. Each guest that sends
 * does so to the next one, the last to the first. */
#ifndef WEFT_BENCH_TRAFFIC_H
#define WEFT_BENCH_TRAFFIC_H

#include "bench/driver_ring.h"
#include "bench/histogram.h"
#include "bench/options.h"

/* When a stream may send. */
struct traffic_pace {
	uint64_t start;
	double per_cycle; /* frames; 0: all that the ring takes */
	uint64_t sent;
};

/* A queue pair of a guest. */
struct traffic_queue {
	struct driver_ring send, receive;
	struct stream stream; /* sent here; received by the next guest, on any of its queues */
	struct traffic_pace pace;
	uint32_t send_patience, receive_patience; /* rounds a ring has been left alone */
};

struct traffic_guest {
	struct fake_guest *guest;
	struct traffic_queue *queues;
	struct traffic_guest *previous; /* whose streams arrive here */
	bool sends;
};

struct traffic {
	const struct generator_options *options;
	struct traffic_guest guests[GENERATOR_GUESTS_MAX];
	uint32_t guest_count, queue_count; /* queue pairs of each */
	double cycles_per_second;
	struct histogram *latency; /* NULL while warming up */
	uint64_t latency_mask;
	uint64_t busy_cycles;
	uint64_t rounds, busy_rounds;
	uint64_t batches, batch_frames; /* of receiving */
	/* A frame that came in pieces, put together. */
	uint8_t whole[STREAM_VNET_HEADER + STREAM_FRAME_MAX];
};

/* Creates all guests; nothing is connected yet. 0 or -errno. */
int traffic_create(const struct generator_options *options, struct traffic **out);
void traffic_destroy(struct traffic *traffic);

/* Connects all, waiting for the backend until `deadline_ns`. 0 or -errno. */
int traffic_connect(struct traffic *traffic, uint64_t deadline_ns);

/* probe: sends probes until each guest has seen one of the guest before it: 0 and the time of the
 * first arrival, or -ETIMEDOUT. announce: each guest shows all its MAC addresses. */
int traffic_probe(struct traffic *traffic, uint64_t deadline_ns, uint64_t *first_ns);
int traffic_announce(struct traffic *traffic, uint64_t deadline_ns);

/* Sends and receives for so many seconds; returns the seconds it took. */
double traffic_run(struct traffic *traffic, double seconds);

/* Receives what is under way, until nothing came for 20 ms. */
void traffic_drain(struct traffic *traffic);

/* True when a device returned a buffer that it cannot have. */
bool traffic_broken(const struct traffic *traffic);

#endif
