/* `weft show`: what the switch has and does, as tables for people or as JSON. */
#include "cli/command.h"
#include "cli/request.h"
#include "cli/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct list {
	const char *what; /* on the command line */
	const char *name; /* to the API */
	struct table_column columns[16];
};

static const struct list lists[] = {
	{ "networks",
	  "networks",
	  { { "NETWORK", "name" },
	    { "MODE", "mode" },
	    { "UPLINK", "uplink" },
	    { "MACS", "macs.entries" },
	    { "LIMIT", "macs.limit" },
	    { "REFUSED", "macs.refused_limit" },
	    { "OVER-QUOTA", "macs.refused_quota" },
	    { "PORTS", "ports" } } },
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
	    { "FAULT", "fault" } } },
	{ "macs",
	  "macs",
	  { { "NETWORK", "network" },
	    { "MAC", "mac" },
	    { "VLAN", "vlan" },
	    { "AGE", "age" },
	    { "PORT", "port" } } },
	{ "drops",
	  "drops",
	  { { "PORT", "port" },
	    { "DIRECTION", "direction" },
	    { "REASON", "reason" },
	    { "ERROR", "error" },
	    { "COUNT", "count" },
	    { "MEANING", "text" } } },
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
	bool json;
	bool all;
};

static int read_wish(int argc, char **argv, struct wish *wish)
{
	for (int i = 0; i < argc; i++) {
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
	if (wish->what == NULL || find_list(wish->what) == NULL)
		return command_fail(STATUS_USAGE, "what to show is missing or unknown%s%s",
				    wish->what != NULL ? ": " : "",
				    wish->what != NULL ? wish->what : "");
	if (wish->all && strcmp(wish->what, "drops") != 0)
		return command_fail(STATUS_USAGE, "--all goes with drops");
	if (wish->name != NULL && (wish->all || strcmp(wish->what, "workers") == 0))
		return command_fail(STATUS_USAGE, "'%s': there are no names in this list",
				    wish->name);
	return STATUS_DONE;
}

int command_show(const char *socket, int argc, char **argv)
{
	struct wish wish = { 0 };
	const struct list *list;
	json_t *params, *rows;
	int status = read_wish(argc, argv, &wish);

	if (status != STATUS_DONE)
		return status;
	list = find_list(wish.all ? "drops --all" : wish.what);
	params = json_pack("{s:s}", "what", list->name);
	if (wish.name != NULL)
		json_object_set_new(params, "name", json_string(wish.name));
	rows = request_call(socket, "show", params, -1);
	if (rows == NULL)
		return STATUS_FAILED;
	if (wish.json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		printf("\n");
	} else if (wish.name != NULL && strcmp(list->columns[0].path, "name") == 0) {
		table_print_object(json_array_get(rows, 0));
	} else {
		table_print(rows, list->columns);
	}
	json_decref(rows);
	return STATUS_DONE;
}
