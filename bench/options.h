/* What the generator was asked to do; one table makes parser and help. Main thread. */
#ifndef WEFT_BENCH_OPTIONS_H
#define WEFT_BENCH_OPTIONS_H

#include "bench/stream.h"

#define GENERATOR_GUESTS_MAX STREAM_SENDERS_MAX
#define GENERATOR_QUEUES_MAX 32u

struct generator_options {
	const char *sockets[GENERATOR_GUESTS_MAX];
	uint32_t guest_count;
	uint32_t queue_pairs; /* of each guest */
	bool listen;	      /* the backends connect to us */
	const char *idle_prefix;
	uint32_t idle_count;
	struct stream_options stream;
	bool both; /* every guest sends, not every second one */
	uint32_t ring_size;
	uint32_t buffer_size;  /* 0: what the largest frame needs */
	uint32_t receive_size; /* 0: the whole buffer */
	uint32_t batch;
	uint32_t gather;
	double rate; /* frames a second of each guest that sends; 0: all that the rings take */
	/* Of the first guest instead, whose frames alone count for latency then; 0: no matter. */
	double quiet;
	double warm_up, duration;
	double timeout;
	int core;
	bool event_idx;
	bool packed, in_order;
	bool all_latencies;
	int watch; /* process id; 0: none */
};

/* Fills *options from the command line; on failure says why on stderr and returns -EINVAL. Prints
 * the help and exits for --help. */
int generator_options_parse(struct generator_options *options, int argc, char **argv);

#endif
