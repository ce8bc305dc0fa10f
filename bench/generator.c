/* A traffic generator for vhost-user backends: guests with drivers of their own on one core,
 * frames that are checked one by one, and a JSON object with what came of it. Knows nothing of
 * weft; any backend will do. The main thread does everything. */
#include "bench/cycles.h"
#include "bench/traffic.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct idle_guests {
	struct fake_guest **guests;
	uint32_t count;
};

/* What is subtracted from the counters of the whole run. */
struct measurement {
	double seconds;
	uint64_t received, bytes, sent;
	uint64_t busy_cycles, rounds, busy_rounds, batches, batch_frames, kicks;
	double processor_seconds, watched_seconds;
	long preemptions;
};

static uint64_t deadline_after(double seconds)
{
	return clock_ns() + (uint64_t)(seconds * 1e9);
}

static void pin(int core)
{
	cpu_set_t set;

	if (core < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		perror("generator: sched_setaffinity");
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_idle_guest(const struct generator_options *options, uint32_t index,
			   struct fake_guest **out)
{
	char path[128];
	struct fake_guest_options guest = {
		.path = path,
		.role = options->listen ? FAKE_LISTENS : FAKE_CONNECTS,
		.ring_size = 256,
		.indirect_entries = 1,
		.features = FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_PROTOCOL_FEATURES) |
			    FAKE_BIT(FAKE_F_MRG_RXBUF),
	};
	int rc;

	snprintf(path, sizeof(path), "%s%u", options->idle_prefix, index);
	rc = fake_guest_create(&guest, out);
	if (rc == 0)
		rc = fake_guest_start(*out, FAKE_ORDER_VIRTIO_USER);
	if (rc == 0)
		rc = fake_guest_post(*out, 0, 256, 2048);
	if (rc != 0)
		fprintf(stderr, "generator: idle guest %s: %s\n", path, strerror(-rc));
	return rc;
}

static int open_idle_guests(const struct generator_options *options, struct idle_guests *idle)
{
	int rc = 0;

	idle->guests = calloc(options->idle_count + 1, sizeof(*idle->guests));
	if (idle->guests == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < options->idle_count; i++) {
		rc = open_idle_guest(options, i, &idle->guests[i]);
		idle->count++;
	}
	return rc;
}

static void close_idle_guests(struct idle_guests *idle)
{
	for (uint32_t i = 0; i < idle->count; i++)
		fake_guest_destroy(idle->guests[i]);
	free(idle->guests);
}

/* Processor time of another process, all its threads. */
static double watched_seconds(int pid)
{
	struct timespec used;
	clockid_t clock;

	if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* All queues of all guests, counted through. */
static const struct traffic_queue *queue_number(const struct traffic *traffic, uint32_t i)
{
	return &traffic->guests[i / traffic->queue_count].queues[i % traffic->queue_count];
}

static void read_counters(const struct traffic *traffic, struct measurement *to)
{
	struct rusage usage;

	for (uint32_t i = 0; i < traffic->guest_count * traffic->queue_count; i++) {
		const struct traffic_queue *queue = queue_number(traffic, i);

		to->received += queue->stream.counters.received;
		to->bytes += queue->stream.counters.received_bytes;
		to->sent += queue->stream.sequence;
		to->kicks += queue->send.kicks + queue->receive.kicks;
	}
	to->busy_cycles = traffic->busy_cycles;
	to->rounds = traffic->rounds;
	to->busy_rounds = traffic->busy_rounds;
	to->batches = traffic->batches;
	to->batch_frames = traffic->batch_frames;
	getrusage(RUSAGE_SELF, &usage);
	to->processor_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	to->preemptions = usage.ru_nivcsw;
	to->watched_seconds = watched_seconds(traffic->options->watch);
}

static void subtract(struct measurement *after, const struct measurement *before)
{
	after->received -= before->received;
	after->bytes -= before->bytes;
	after->sent -= before->sent;
	after->busy_cycles -= before->busy_cycles;
	after->rounds -= before->rounds;
	after->busy_rounds -= before->busy_rounds;
	after->batches -= before->batches;
	after->batch_frames -= before->batch_frames;
	after->kicks -= before->kicks;
	after->processor_seconds -= before->processor_seconds;
	after->preemptions -= before->preemptions;
	after->watched_seconds -= before->watched_seconds;
}

static int measure(struct traffic *traffic, struct measurement *result)
{
	const struct generator_options *options = traffic->options;
	struct measurement before = { 0 };

	traffic_run(traffic, options->warm_up);
	traffic->latency = calloc(1, sizeof(*traffic->latency));
	if (traffic->latency == NULL)
		return -ENOMEM;
	memset(result, 0, sizeof(*result));
	read_counters(traffic, &before);
	result->seconds = traffic_run(traffic, options->duration);
	read_counters(traffic, result);
	subtract(result, &before);
	traffic_drain(traffic);
	return 0;
}

/* Pairs of a latency and the frames that had it. */
static void print_histogram(const struct histogram *latency, double us)
{
	const char *separator = "";

	printf(",\n  \"histogram\": [");
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (latency->buckets[i] == 0)
			continue;
		printf("%s[%.3f, %lu]", separator, us * (double)histogram_bucket_middle(i),
		       latency->buckets[i]);
		separator = ", ";
	}
	printf("]");
}

static void print_latency(const struct traffic *traffic)
{
	static const struct {
		const char *name;
		double share;
	} rows[] = { { "p1", 0.01 },  { "p50", 0.5 },	 { "p90", 0.9 },
		     { "p99", 0.99 }, { "p999", 0.999 }, { "p9999", 0.9999 } };
	const struct histogram *latency = traffic->latency;
	double us = 1e6 / traffic->cycles_per_second;

	printf(" \"latency_us\": {\"count\": %lu", latency->count);
	if (latency->count > 0) {
		for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			printf(", \"%s\": %.3f", rows[i].name,
			       us * (double)histogram_percentile(latency, rows[i].share));
		printf(", \"mean\": %.3f, \"max\": %.3f",
		       us * (double)latency->sum / (double)latency->count,
		       us * (double)latency->max);
	}
	if (traffic->options->all_latencies)
		print_histogram(latency, us);
	printf("},\n");
}

/* Faults are of the whole run, warm-up included: none may hide there. */
static void print_faults(const struct traffic *traffic)
{
	struct stream_counters sum = { 0 };
	uint64_t lost = 0, sent = 0;

	for (uint32_t i = 0; i < traffic->guest_count * traffic->queue_count; i++) {
		const struct stream *stream = &queue_number(traffic, i)->stream;

		lost += stream_lost(stream);
		sent += stream->sequence;
		sum.late += stream->counters.late;
		sum.reordered += stream->counters.reordered;
		sum.duplicates += stream->counters.duplicates;
		sum.corrupted += stream->counters.corrupted;
		sum.foreign += stream->counters.foreign;
		sum.sampled += stream->counters.sampled;
	}
	printf(" \"sent\": %lu, \"lost\": %lu, \"late\": %lu, \"reordered\": %lu,"
	       " \"duplicates\": %lu,\n \"corrupted\": %lu, \"foreign\": %lu,"
	       " \"checked_whole\": %lu, \"broken\": %s,\n",
	       sent, lost, sum.late, sum.reordered, sum.duplicates, sum.corrupted, sum.foreign,
	       sum.sampled, traffic_broken(traffic) ? "true" : "false");
}

static double ratio(double a, double b)
{
	return b == 0 ? 0 : a / b;
}

static void print_result(const struct traffic *traffic, const struct measurement *result,
			 uint64_t first_ns)
{
	double frames = (double)result->received, cycles = traffic->cycles_per_second;

	printf("{\"mpps\": %.4f, \"gbps\": %.3f, \"seconds\": %.4f, \"received\": %lu,\n",
	       frames / result->seconds / 1e6, (double)result->bytes * 8 / result->seconds / 1e9,
	       result->seconds, result->received);
	printf(" \"cycles_per_second\": %.0f, \"cycles_per_frame\": %.1f,\n", cycles,
	       ratio(cycles * result->seconds, frames));
	print_faults(traffic);
	print_latency(traffic);
	printf(" \"generator\": {\"busy\": %.3f, \"cycles_per_frame\": %.1f,"
	       " \"frames_per_batch\": %.1f,\n  \"kicks\": %lu, \"on_core\": %.4f,"
	       " \"preemptions\": %ld},\n",
	       ratio((double)result->busy_cycles, cycles * result->seconds),
	       ratio((double)result->busy_cycles, frames),
	       ratio((double)result->batch_frames, (double)result->batches), result->kicks,
	       result->processor_seconds / result->seconds, result->preemptions);
	printf(" \"switch_processor\": %.5f,\n", result->watched_seconds / result->seconds);
	printf(" \"first_frame_ns\": %lu, \"features\": \"0x%lx\"}\n", first_ns,
	       traffic->guests[0].guest->features);
}

static int fail(const char *what, int rc)
{
	fprintf(stderr, "generator: %s: %s\n", what, strerror(-rc));
	return rc;
}

static int run(const struct generator_options *options, struct traffic *traffic)
{
	struct idle_guests idle = { 0 };
	struct measurement result;
	uint64_t first_ns;
	int rc = traffic_connect(traffic, deadline_after(options->timeout));

	if (rc != 0)
		return fail("connecting", rc);
	rc = traffic_probe(traffic, deadline_after(options->timeout), &first_ns);
	if (rc != 0)
		return fail("waiting for the first frame to arrive", rc);
	rc = open_idle_guests(options, &idle);
	if (rc != 0)
		goto out;
	rc = traffic_announce(traffic, deadline_after(options->timeout));
	if (rc != 0) {
		fail("showing the MAC addresses", rc);
		goto out;
	}
	rc = measure(traffic, &result);
	if (rc == 0)
		print_result(traffic, &result, first_ns);
out:
	close_idle_guests(&idle);
	return rc;
}

int main(int argc, char **argv)
{
	struct generator_options options;
	struct traffic *traffic;
	int rc = generator_options_parse(&options, argc, argv);

	if (rc != 0)
		return 2;
	pin(options.core);
	raise_file_limit();
	rc = traffic_create(&options, &traffic);
	if (rc != 0) {
		fail("creating the guests", rc);
		return 1;
	}
	rc = run(&options, traffic);
	traffic_destroy(traffic);
	return rc == 0 ? 0 : 1;
}
