/* Two guests on one core: their rings and the rounds of sending and receiving. */
#ifndef WEFT_BENCH_TRAFFIC_H
#define WEFT_BENCH_TRAFFIC_H

#include "bench/driver_ring.h"
#include "bench/histogram.h"
#include "bench/options.h"

struct traffic_side {
	struct fake_guest *guest;
	struct driver_ring send;
	struct driver_ring receive;
	struct stream stream; /* that this side sends */
};

struct traffic {
	const struct generator_options *options;
	struct traffic_side sides[2];
	double cycles_per_second;
	struct histogram *latency; /* NULL while warming up */
	uint64_t latency_mask;
	uint64_t busy_cycles;
	uint64_t rounds, busy_rounds;
	uint64_t batches, batch_frames; /* of receiving */
};

/* Creates both guests; nothing is connected yet. 0 or -errno. */
int traffic_create(const struct generator_options *options, struct traffic **out);
void traffic_destroy(struct traffic *traffic);

/* Connects both, waiting for the backend until `deadline_ns`. 0 or -errno. */
int traffic_connect(struct traffic *traffic, uint64_t deadline_ns);

/* Sends probes until each side has seen one of the other: 0 and the time of the first arrival, or
 * -ETIMEDOUT. Afterwards each side has shown all its MAC addresses. */
int traffic_probe(struct traffic *traffic, uint64_t deadline_ns, uint64_t *first_ns);
int traffic_announce(struct traffic *traffic, uint64_t deadline_ns);

/* Sends and receives for so many seconds; returns the seconds it took. */
double traffic_run(struct traffic *traffic, double seconds);

/* Receives what is under way, until nothing came for 20 ms. */
void traffic_drain(struct traffic *traffic);

/* True when a device returned a buffer that it cannot have. */
bool traffic_broken(const struct traffic *traffic);

#endif
