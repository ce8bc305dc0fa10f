/* Command line of the generator (options.h). */
#include "bench/options.h"

#include "bench/driver_ring.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define RING_SIZE_MAX 32768u

static const uint32_t imix[] = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64 };

struct option_row {
	const char *name;
	const char *value; /* NULL: takes none */
	const char *help;
	bool (*set)(struct generator_options *options, const char *value);
};

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *text != '-' && *value >= low &&
	       *value <= high;
}

static bool parse_u32(const char *text, uint32_t low, uint32_t high, uint32_t *value)
{
	uint64_t wide;

	if (!parse_number(text, low, high, &wide))
		return false;
	*value = (uint32_t)wide;
	return true;
}

static bool parse_real(const char *text, double low, double high, double *value)
{
	char *end;

	*value = strtod(text, &end);
	return end != text && *end == '\0' && *value >= low && *value <= high;
}

static bool set_socket(struct generator_options *options, const char *value)
{
	if (options->guest_count == GENERATOR_GUESTS_MAX)
		return false;
	options->sockets[options->guest_count++] = value;
	return true;
}

static bool set_listen(struct generator_options *options, const char *value)
{
	(void)value;
	options->listen = true;
	return true;
}

static bool set_idle(struct generator_options *options, const char *value)
{
	options->idle_prefix = value;
	return true;
}

static bool set_idle_count(struct generator_options *options, const char *value)
{
	return parse_u32(value, 0, 65535, &options->idle_count);
}

static bool set_size(struct generator_options *options, const char *value)
{
	struct stream_options *stream = &options->stream;

	if (strcmp(value, "imix") == 0) {
		stream->size_count = sizeof(imix) / sizeof(imix[0]);
		memcpy(stream->sizes, imix, sizeof(imix));
		return true;
	}
	stream->size_count = 1;
	return parse_u32(value, STREAM_FRAME_MIN, STREAM_FRAME_MAX, &stream->sizes[0]);
}

static bool set_flows(struct generator_options *options, const char *value)
{
	return parse_u32(value, 1, STREAM_FLOWS_MAX, &options->stream.flows);
}

static bool set_headers(struct generator_options *options, const char *value)
{
	(void)value;
	options->stream.headers = true;
	return true;
}

static bool set_macs(struct generator_options *options, const char *value)
{
	uint32_t macs;

	if (!parse_u32(value, 2, 2 * STREAM_MACS_MAX, &macs) || macs % 2 != 0)
		return false;
	options->stream.macs = macs / 2;
	return true;
}

static bool set_offload(struct generator_options *options, const char *value)
{
	(void)value;
	options->stream.offload = true;
	return true;
}

static bool set_both(struct generator_options *options, const char *value)
{
	(void)value;
	options->both = true;
	return true;
}

static bool set_queues(struct generator_options *options, const char *value)
{
	return parse_u32(value, 1, GENERATOR_QUEUES_MAX, &options->queue_pairs);
}

static bool set_ring(struct generator_options *options, const char *value)
{
	return parse_u32(value, 2, RING_SIZE_MAX, &options->ring_size) &&
	       (options->ring_size & (options->ring_size - 1)) == 0;
}

static bool set_buffer(struct generator_options *options, const char *value)
{
	return parse_u32(value, 256, 1u << 20, &options->buffer_size);
}

static bool set_receive(struct generator_options *options, const char *value)
{
	return parse_u32(value, 128, 1u << 20, &options->receive_size);
}

static bool set_batch(struct generator_options *options, const char *value)
{
	return parse_u32(value, 1, RING_SIZE_MAX, &options->batch);
}

static bool set_gather(struct generator_options *options, const char *value)
{
	return parse_u32(value, 1, RING_SIZE_MAX, &options->gather);
}

static bool set_rate(struct generator_options *options, const char *value)
{
	return parse_real(value, 0, 1e9, &options->rate);
}

static bool set_quiet(struct generator_options *options, const char *value)
{
	return parse_real(value, 0, 1e9, &options->quiet);
}

static bool set_warm_up(struct generator_options *options, const char *value)
{
	return parse_real(value, 0, 3600, &options->warm_up);
}

static bool set_duration(struct generator_options *options, const char *value)
{
	return parse_real(value, 0, 3600, &options->duration);
}

static bool set_timeout(struct generator_options *options, const char *value)
{
	return parse_real(value, 0.1, 3600, &options->timeout);
}

static bool set_core(struct generator_options *options, const char *value)
{
	uint32_t core;

	if (!parse_u32(value, 0, 1023, &core))
		return false;
	options->core = (int)core;
	return true;
}

static bool set_event_idx(struct generator_options *options, const char *value)
{
	(void)value;
	options->event_idx = true;
	return true;
}

static bool set_packed(struct generator_options *options, const char *value)
{
	(void)value;
	options->packed = true;
	return true;
}

static bool set_in_order(struct generator_options *options, const char *value)
{
	(void)value;
	options->in_order = true;
	return true;
}

static bool set_latency(struct generator_options *options, const char *value)
{
	(void)value;
	options->all_latencies = true;
	return true;
}

static bool set_watch(struct generator_options *options, const char *value)
{
	uint32_t pid;

	if (!parse_u32(value, 1, INT32_MAX, &pid))
		return false;
	options->watch = (int)pid;
	return true;
}

static const struct option_row rows[] = {
	{ "socket", "PATH", "socket of a port; given for each of 2 to 16 guests", set_socket },
	{ "listen", NULL, "listen on the sockets: the backend is the client", set_listen },
	{ "idle", "PREFIX", "connect further, quiet guests to PREFIX0, PREFIX1, ...", set_idle },
	{ "idle-count", "N", "this many of them", set_idle_count },
	{ "size", "BYTES|imix", "frame size without FCS, 64 to 65535 (64)", set_size },
	{ "flows", "N", "flows of each guest, spread over its queues (1)", set_flows },
	{ "headers", NULL, "write the headers of each frame, as for several flows", set_headers },
	{ "macs", "N", "MAC addresses, half of them at each guest of two (2)", set_macs },
	{ "offload", NULL, "TCP frames to be segmented, checksum left to the device", set_offload },
	{ "both", NULL, "both ways at once: each guest sends to the next, the last to the first",
	  set_both },
	{ "queues", "N", "queue pairs of each guest (1)", set_queues },
	{ "ring", "N", "entries of a ring, a power of two (1024)", set_ring },
	{ "buffer", "BYTES", "distance of buffers (what the largest frame needs)", set_buffer },
	{ "receive", "BYTES", "room in a receive buffer (all of it)", set_receive },
	{ "batch", "N", "frames worked on at once (128)", set_batch },
	{ "gather", "N", "leave a ring alone until so many entries wait (1)", set_gather },
	{ "rate", "PPS", "frames a second of each guest (0: all that the rings take)", set_rate },
	{ "quiet", "PPS", "frames a second of the first guest, of which alone latency is taken",
	  set_quiet },
	{ "warm-up", "SECONDS", "traffic before measuring (0.2)", set_warm_up },
	{ "duration", "SECONDS", "of the measurement (1)", set_duration },
	{ "timeout", "SECONDS", "for the backend to appear and to forward (10)", set_timeout },
	{ "core", "N", "run there", set_core },
	{ "event-idx", NULL, "negotiate event indices", set_event_idx },
	{ "packed", NULL, "packed rings", set_packed },
	{ "in-order", NULL, "negotiate IN_ORDER", set_in_order },
	{ "watch", "PID", "tell the processor time this process takes meanwhile", set_watch },
	{ "latency", NULL, "take the time of each frame, not of one in 16", set_latency },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static void print_help(void)
{
	printf(
	    "Usage: generator --socket PATH --socket PATH [OPTION...]\n"
	    "Guests of a vhost-user backend on one core; prints a JSON object. Every second one\n"
	    "sends, to the guest named after it.\n\n");
	for (uint32_t i = 0; i < ROW_COUNT; i++) {
		int width = printf("  --%s%s%s", rows[i].name, rows[i].value ? " " : "",
				   rows[i].value ? rows[i].value : "");

		printf("%*s%s\n", width < 26 ? 26 - width : 1, "", rows[i].help);
	}
}

static void set_defaults(struct generator_options *options)
{
	*options = (struct generator_options){
		.stream = { .sizes = { 64 }, .size_count = 1, .flows = 1, .macs = 1 },
		.queue_pairs = 1,
		.ring_size = 1024,
		.batch = 128,
		.gather = 1,
		.warm_up = 0.2,
		.duration = 1,
		.timeout = 10,
		.core = -1,
	};
}

/* Buffers lie an odd number of cache line pairs apart, as an allocator with cache colouring puts
 * them: a power of two would use few sets of the caches. */
static uint32_t buffer_for(const struct stream_options *stream)
{
	uint32_t largest = 0;

	for (uint32_t i = 0; i < stream->size_count; i++)
		largest = stream->sizes[i] > largest ? stream->sizes[i] : largest;
	return largest + STREAM_VNET_HEADER <= 2176 - DRIVER_RING_ALIGN
		   ? 2176
		   : STREAM_FRAME_MAX + 1 + DRIVER_RING_ALIGN * 2;
}

static int check_sizes(const struct generator_options *options)
{
	const struct stream_options *stream = &options->stream;

	for (uint32_t i = 0; i < stream->size_count; i++) {
		if (stream->sizes[i] + STREAM_VNET_HEADER + DRIVER_RING_ALIGN >
		    options->buffer_size) {
			fprintf(stderr, "generator: a frame of %u bytes needs a larger --buffer\n",
				stream->sizes[i]);
			return -EINVAL;
		}
		if (stream->offload && stream->sizes[i] < STREAM_FRAME_MIN + 12) {
			fprintf(stderr, "generator: --offload needs frames of 76 bytes or more\n");
			return -EINVAL;
		}
	}
	return 0;
}

static int check(struct generator_options *options)
{
	struct stream_options *stream = &options->stream;
	uint32_t room, queues = options->queue_pairs;

	if (options->guest_count < 2) {
		fprintf(stderr, "generator: --socket must be given for two guests or more\n");
		return -EINVAL;
	}
	if (options->guest_count % 2 != 0 && !options->both) {
		fprintf(stderr, "generator: an odd number of guests needs --both\n");
		return -EINVAL;
	}
	/* Of each stream; one for each address at least. */
	stream->flows = (stream->flows + queues - 1) / queues;
	if (stream->flows < stream->macs)
		stream->flows = stream->macs;
	if (stream->flows > 1)
		stream->headers = true;
	if (options->buffer_size == 0)
		options->buffer_size = buffer_for(stream);
	room = options->buffer_size - DRIVER_RING_ALIGN;
	if (options->receive_size == 0 || options->receive_size > room)
		options->receive_size = room;
	return check_sizes(options);
}

int generator_options_parse(struct generator_options *options, int argc, char **argv)
{
	struct option table[ROW_COUNT + 2] = { 0 };
	int index, c;

	for (uint32_t i = 0; i < ROW_COUNT; i++)
		table[i] =
		    (struct option){ rows[i].name, rows[i].value ? required_argument : no_argument,
				     NULL, 0 };
	table[ROW_COUNT] = (struct option){ "help", no_argument, NULL, 'h' };
	set_defaults(options);
	while ((c = getopt_long(argc, argv, "h", table, &index)) != -1) {
		if (c == 'h') {
			print_help();
			exit(0);
		}
		if (c != 0)
			return -EINVAL;
		if (!rows[index].set(options, optarg)) {
			fprintf(stderr, "generator: --%s %s is not possible: %s\n",
				rows[index].name, optarg, rows[index].help);
			return -EINVAL;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "generator: %s means nothing here\n", argv[optind]);
		return -EINVAL;
	}
	return check(options);
}
