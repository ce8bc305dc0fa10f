/* `weft top`: asks the API again and again, and shows what happened in between, for people as long
 * as they like to look, or for scripts. */
#include "cli/command.h"
#include "cli/rates.h"
#include "cli/request.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0
#define COUNT_MAX    1000000000

static const struct table_column worker_columns[] = {
	{ "WORKER", "id" },
	{ "CPU", "cpu" },
	{ "BUSY", "busy", TABLE_PERCENT },
	{ "FRAMES/s", "frames_per_second", TABLE_SCALED },
	{ "FRAMES/BURST", "frames_per_burst", TABLE_ROUNDED },
	{ "RECEIVE", "cycles_per_frame.receive", TABLE_ROUNDED },
	{ "BRIDGE", "cycles_per_frame.bridge", TABLE_ROUNDED },
	{ "GATEWAY", "cycles_per_frame.gateway", TABLE_ROUNDED },
	{ "TRANSMIT", "cycles_per_frame.transmit", TABLE_ROUNDED },
	{ "DONE", "cycles_per_frame.done", TABLE_ROUNDED },
	{ "SLEEPS/s", "sleeps_per_second", TABLE_SCALED },
	{ "WAKES/s", "wakes_per_second", TABLE_SCALED },
	{ NULL },
};

static const struct table_column port_columns[] = {
	{ "PORT", "name" },
	{ "NETWORK", "network" },
	{ "LINK", "link" },
	{ "RECEIVED/s", "receive.packets_per_second", TABLE_SCALED },
	{ "BITS/s", "receive.bits_per_second", TABLE_SCALED },
	{ "DROPS/s", "receive.drops_per_second", TABLE_SCALED },
	{ "SENT/s", "transmit.packets_per_second", TABLE_SCALED },
	{ "BITS/s", "transmit.bits_per_second", TABLE_SCALED },
	{ "DROPS/s", "transmit.drops_per_second", TABLE_SCALED },
	{ NULL },
};

struct wish {
	double interval;
	long count; /* 0: for ever */
	bool json;
};

static bool read_interval(const char *text, struct wish *wish)
{
	char *end;

	wish->interval = strtod(text, &end);
	/* What is no number at all is in no range either. */
	return end != text && *end == '\0' && wish->interval >= INTERVAL_MIN &&
	       wish->interval <= INTERVAL_MAX;
}

static bool read_count(const char *text, struct wish *wish)
{
	char *end;

	wish->count = strtol(text, &end, 10);
	return end != text && *end == '\0' && wish->count >= 1 && wish->count <= COUNT_MAX;
}

static int read_wish(int argc, char **argv, struct wish *wish)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			wish->json = true;
		} else if (strcmp(argv[i], "--once") == 0) {
			wish->count = 1;
		} else if (strcmp(argv[i], "-n") == 0) {
			if (++i == argc || !read_interval(argv[i], wish))
				return command_fail(STATUS_USAGE,
						    "-n needs SECONDS; allowed: 0.1 to 3600");
		} else if (strcmp(argv[i], "--count") == 0) {
			if (++i == argc || !read_count(argv[i], wish))
				return command_fail(STATUS_USAGE,
						    "--count needs N; allowed: 1 to %d", COUNT_MAX);
		} else {
			return command_fail(STATUS_USAGE, "unknown argument '%s'", argv[i]);
		}
	}
	return STATUS_DONE;
}

static void sample_clear(struct sample *sample)
{
	json_decref(sample->workers);
	json_decref(sample->ports);
	*sample = (struct sample){ NULL };
}

/* False when weftd did not say, about which the user was told. */
static bool sample_take(const char *socket, struct sample *sample)
{
	sample->workers = request_call(socket, "show", json_pack("{s:s}", "what", "workers"), NULL);
	if (sample->workers == NULL)
		return false;
	sample->ports = request_call(socket, "show", json_pack("{s:s}", "what", "ports"), NULL);
	return sample->ports != NULL;
}

struct activity {
	double packets;
	size_t place;
};

static double activity_of(const json_t *port)
{
	static const char *const keys[] = { "packets_per_second", "drops_per_second" };
	static const char *const directions[] = { "receive", "transmit" };
	double sum = 0;

	for (unsigned d = 0; d < 2; d++)
		for (unsigned k = 0; k < 2; k++)
			sum += json_number_value(
			    json_object_get(json_object_get(port, directions[d]), keys[k]));
	return sum;
}

static int compare_activity(const void *a, const void *b)
{
	const struct activity *x = a, *y = b;

	if (x->packets != y->packets)
		return x->packets > y->packets ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

/* At most `room` of the ports, the busiest first; new reference. */
static json_t *busiest(const json_t *ports, size_t room)
{
	size_t count = json_array_size(ports);
	struct activity *order = calloc(count + 1, sizeof(*order));
	json_t *result = json_array();

	if (order == NULL)
		return result;
	for (size_t i = 0; i < count; i++)
		order[i] = (struct activity){ activity_of(json_array_get(ports, i)), i };
	qsort(order, count, sizeof(*order), compare_activity);
	for (size_t i = 0; i < count && i < room; i++)
		json_array_append(result, json_array_get(ports, order[i].place));
	free(order);
	return result;
}

/* The first `room` of them; new reference. */
static json_t *first(const json_t *array, size_t room)
{
	json_t *result = json_array();

	for (size_t i = 0; i < json_array_size(array) && i < room; i++)
		json_array_append(result, json_array_get(array, i));
	return result;
}

/* Workers, a blank line, ports, and how many have no room. Workers get at most half the page. */
static void print_page(const json_t *rates)
{
	size_t room = terminal_begin_page();
	const json_t *ports = json_object_get(rates, "ports");
	json_t *workers = first(json_object_get(rates, "workers"), room / 2 > 2 ? room / 2 - 2 : 1);
	size_t used = json_array_size(workers) + 3; /* with two titles and the blank line */
	json_t *shown;

	room = room > used ? room - used : 0;
	if (json_array_size(ports) > room && room > 0)
		room--; /* for the last line */
	shown = busiest(ports, room);
	table_print(workers, worker_columns, terminal_width());
	printf("\n");
	table_print(shown, port_columns, terminal_width());
	if (json_array_size(shown) < json_array_size(ports))
		printf("and %zu more\n", json_array_size(ports) - json_array_size(shown));
	terminal_end_page();
	json_decref(workers);
	json_decref(shown);
}

static void print_line(const json_t *rates)
{
	json_dumpf(rates, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	printf("\n");
	fflush(stdout);
}

/* True when it went well to the end. */
static bool watch(const char *socket, const struct wish *wish)
{
	struct sample before = { NULL }, now = { NULL };
	bool good = sample_take(socket, &before);

	for (long i = 0; good && (wish->count == 0 || i < wish->count); i++) {
		json_t *rates;

		if (terminal_wait(wish->interval))
			break;
		good = sample_take(socket, &now) && !ferror(stdout);
		if (!good)
			break;
		rates = rates_between(&before, &now);
		if (wish->json)
			print_line(rates);
		else
			print_page(rates);
		json_decref(rates);
		sample_clear(&before);
		before = now;
		now = (struct sample){ NULL };
	}
	sample_clear(&before);
	sample_clear(&now);
	return good;
}

int command_top(const char *socket, int argc, char **argv)
{
	struct wish wish = { .interval = 1 };
	int status = read_wish(argc, argv, &wish);
	bool good;

	if (status != STATUS_DONE)
		return status;
	if (!wish.json)
		terminal_open();
	good = watch(socket, &wish);
	terminal_close();
	return good ? STATUS_DONE : STATUS_FAILED;
}
