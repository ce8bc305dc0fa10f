/* `weft show`: what the switch has and does, as tables for people or as JSON. */
#include "cli/command.h"
#include "cli/options.h"
#include "cli/request.h"
#include "cli/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT	  1000	  /* rows, where nobody says otherwise and they may be many */
#define LIMIT_MAX 999999l /* one more than that is asked for */

/* What a list can be cut down by, besides --all. */
enum filter {
	BY_NAME = 1, /* of what the rows are about */
	BY_NETWORK = 2,
	BY_GUEST = 4, /* and --limit */
	BY_PROTOCOL = 8,
};

struct list {
	const char *what; /* on the command line */
	const char *name; /* to the API */
	struct table_column columns[16];
	unsigned filters; /* enum filter */
};

static const struct list lists[] = {
	{ "networks",
	  "networks",
	  { { "NETWORK", "name" },
	    { "MODE", "mode" },
	    { "GATEWAY", "gateway.addresses" },
	    { "UPLINK", "uplink" },
	    { "LINK", "uplink_link" },
	    { "OUTSIDE", "outside.addresses" },
	    { "SESSIONS", "nat.sessions" },
	    { "LEASES", "gateway.leases" },
	    { "MACS", "macs.entries" },
	    { "PORTS", "ports" } },
	  BY_NAME },
	{ "ports",
	  "ports",
	  { { "PORT", "name" },
	    { "NETWORK", "network" },
	    { "TYPE", "type" },
	    { "LINK", "link" },
	    { "RECEIVED", "receive.packets" },
	    { "BYTES", "receive.bytes" },
	    { "ERRORS", "receive.errors" },
	    { "DROPS", "receive.drops" },
	    { "SENT", "transmit.packets" },
	    { "BYTES", "transmit.bytes" },
	    { "ERRORS", "transmit.errors" },
	    { "DROPS", "transmit.drops" },
	    { "FAULT", "fault" } },
	  BY_NAME },
	{ "macs",
	  "macs",
	  { { "NETWORK", "network" },
	    { "MAC", "mac" },
	    { "VLAN", "vlan" },
	    { "AGE", "age" },
	    { "PORT", "port" } },
	  BY_NETWORK },
	{ "neighbours",
	  "neighbours",
	  { { "NETWORK", "network" },
	    { "LEG", "leg" },
	    { "IP", "ip" },
	    { "MAC", "mac" },
	    { "STATE", "state" },
	    { "PORT", "port" } },
	  BY_NETWORK | BY_GUEST },
	{ "routes",
	  "routes",
	  { { "NETWORK", "network" },
	    { "TO", "to" },
	    { "VIA", "via" },
	    { "LEG", "leg" },
	    { "PEER", "peer" },
	    { "TYPE", "type" },
	    { "ORIGIN", "origin" } },
	  BY_NETWORK | BY_GUEST },
	{ "sessions",
	  "sessions",
	  { { "NETWORK", "network" },
	    { "PROTOCOL", "protocol" },
	    { "STATE", "state" },
	    { "DIRECTION", "direction" },
	    { "INSIDE", "inside.ip" },
	    { "PORT", "inside.port" },
	    { "OUTSIDE", "outside.ip" },
	    { "PORT", "outside.port" },
	    { "REMOTE", "remote.ip" },
	    { "PORT", "remote.port" },
	    { "OUT", "packets_out" },
	    { "IN", "packets_in" },
	    { "EXPIRES", "expires" } },
	  BY_NETWORK | BY_GUEST | BY_PROTOCOL },
	{ "leases",
	  "leases",
	  { { "NETWORK", "network" },
	    { "IP", "ip" },
	    { "MAC", "mac" },
	    { "HOST", "host" },
	    { "STATE", "state" },
	    { "RESERVED", "reserved" },
	    { "EXPIRES", "expires" },
	    { "PORT", "port" },
	    { "CLIENT", "client" } },
	  BY_NETWORK | BY_GUEST },
	{ "drops",
	  "drops",
	  { { "PORT", "port" },
	    { "DIRECTION", "direction" },
	    { "REASON", "reason" },
	    { "ERROR", "error" },
	    { "COUNT", "count" },
	    { "MEANING", "text" } },
	  BY_NAME },
	{ "drops --all",
	  "drop-reasons",
	  { { "DIRECTION", "direction" },
	    { "REASON", "reason" },
	    { "ERROR", "error" },
	    { "COUNT", "count" },
	    { "MEANING", "text" } } },
	{ "workers",
	  "workers",
	  { { "WORKER", "id" },
	    { "CPU", "cpu" },
	    { "POLL", "poll" },
	    { "QUEUES", "queues" },
	    { "BURSTS", "bursts" },
	    { "FRAMES", "frames" },
	    { "FRAMES/BURST", "frames_per_burst", TABLE_ROUNDED },
	    { "BUSY", "busy", TABLE_PERCENT },
	    { "RECEIVE", "cycles_per_frame.receive", TABLE_ROUNDED },
	    { "BRIDGE", "cycles_per_frame.bridge", TABLE_ROUNDED },
	    { "GATEWAY", "cycles_per_frame.gateway", TABLE_ROUNDED },
	    { "TRANSMIT", "cycles_per_frame.transmit", TABLE_ROUNDED },
	    { "DONE", "cycles_per_frame.done", TABLE_ROUNDED },
	    { "SLEEPS", "sleeps" },
	    { "WAKES", "wakes" } } },
};

static const struct list *find_list(const char *what)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (strcmp(lists[i].what, what) == 0)
			return &lists[i];
	return NULL;
}

struct wish {
	const char *what;
	const char *name;
	const char *network, *guest, *protocol, *limit;
	bool json;
	bool all;
};

static int read_words(int argc, char **argv, struct wish *wish)
{
	const struct option_row options[] = {
		{ "--network", &wish->network },
		{ "--guest", &wish->guest },
		{ "--protocol", &wish->protocol },
		{ "--limit", &wish->limit },
		{ NULL },
	};

	for (int i = 0, taken; i < argc; i += taken) {
		taken = options_take(argc - i, argv + i, options);
		if (taken < 0)
			return STATUS_USAGE;
		if (taken > 0)
			continue;
		taken = 1;
		if (strcmp(argv[i], "--json") == 0)
			wish->json = true;
		else if (strcmp(argv[i], "--all") == 0)
			wish->all = true;
		else if (argv[i][0] == '-')
			return command_fail(STATUS_USAGE, "unknown option '%s'", argv[i]);
		else if (wish->what == NULL)
			wish->what = argv[i];
		else if (wish->name == NULL)
			wish->name = argv[i];
		else
			return command_fail(STATUS_USAGE, "one argument too many: '%s'", argv[i]);
	}
	return STATUS_DONE;
}

/* Whether the list can be cut down as wished. */
static int check_wish(struct wish *wish, const struct list *list)
{
	const struct {
		const char *option, *value;
		unsigned needs;
	} filters[] = {
		{ "--network", wish->network, BY_NETWORK },
		{ "--guest", wish->guest, BY_GUEST },
		{ "--protocol", wish->protocol, BY_PROTOCOL },
		{ "--limit", wish->limit, BY_GUEST },
	};

	if (wish->all && strcmp(wish->what, "drops") != 0)
		return command_fail(STATUS_USAGE, "--all goes with drops");
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		if (filters[i].value != NULL && (list->filters & filters[i].needs) == 0)
			return command_fail(STATUS_USAGE, "%s does not go with %s",
					    filters[i].option, wish->what);
	if (wish->name != NULL && (list->filters & (BY_NAME | BY_NETWORK)) == 0)
		return command_fail(STATUS_USAGE, "'%s': there are no names in this list",
				    wish->name);
	if (wish->name != NULL && wish->network != NULL)
		return command_fail(STATUS_USAGE, "two networks: '%s' and '%s'", wish->name,
				    wish->network);
	if (wish->name == NULL)
		wish->name = wish->network;
	return STATUS_DONE;
}

/* *limit: at most so many rows; 0: as many as there are. */
static int read_limit(const struct wish *wish, const struct list *list, size_t *limit)
{
	char *end;
	long n;

	*limit = (list->filters & BY_GUEST) != 0 && !wish->json ? LIMIT : 0;
	if (wish->limit == NULL)
		return STATUS_DONE;
	errno = 0;
	n = strtol(wish->limit, &end, 10);
	if (errno != 0 || end == wish->limit || *end != '\0' || n < 1 || n > LIMIT_MAX)
		return command_fail(STATUS_USAGE,
				    "--limit: '%s' is no number of rows; allowed: 1 "
				    "to %ld",
				    wish->limit, LIMIT_MAX);
	*limit = (size_t)n;
	return STATUS_DONE;
}

static json_t *ask(const char *socket, const struct wish *wish, const struct list *list,
		   size_t limit)
{
	json_t *params = json_pack("{s:s}", "what", list->name);

	if (wish->name != NULL)
		json_object_set_new(params, "name", json_string(wish->name));
	if (wish->guest != NULL)
		json_object_set_new(params, "guest", json_string(wish->guest));
	if (wish->protocol != NULL)
		json_object_set_new(params, "protocol", json_string(wish->protocol));
	if (limit > 0) /* one more tells whether there are more */
		json_object_set_new(params, "limit", json_integer((json_int_t)limit + 1));
	return request_call(socket, "show", params, NULL);
}

int command_show(const char *socket, int argc, char **argv)
{
	struct wish wish = { 0 };
	const struct list *list;
	bool more = false;
	size_t limit;
	json_t *rows;
	int status = read_words(argc, argv, &wish);

	if (status != STATUS_DONE)
		return status;
	list =
	    wish.what != NULL
		? find_list(wish.all && strcmp(wish.what, "drops") == 0 ? "drops --all" : wish.what)
		: NULL;
	if (list == NULL)
		return command_fail(STATUS_USAGE, "what to show is missing or unknown%s%s",
				    wish.what != NULL ? ": " : "",
				    wish.what != NULL ? wish.what : "");
	status = check_wish(&wish, list);
	if (status == STATUS_DONE)
		status = read_limit(&wish, list, &limit);
	if (status != STATUS_DONE)
		return status;
	rows = ask(socket, &wish, list, limit);
	if (rows == NULL)
		return STATUS_FAILED;
	while (limit > 0 && json_array_size(rows) > limit) {
		json_array_remove(rows, json_array_size(rows) - 1);
		more = true;
	}
	if (wish.json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		printf("\n");
	} else if (wish.name != NULL && strcmp(list->columns[0].path, "name") == 0) {
		table_print_object(json_array_get(rows, 0));
	} else {
		table_print(rows, list->columns, SIZE_MAX);
	}
	if (more)
		fprintf(stderr, "weft: there are more; --limit N shows up to N rows\n");
	json_decref(rows);
	return STATUS_DONE;
}
