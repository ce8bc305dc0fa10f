/* The commands about what gateways do: forwards, leases, sessions. Each makes one request. */
#include "cli/command.h"
#include "cli/options.h"
#include "cli/request.h"
#include "cli/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes the request and takes what it answers under `key`; NULL key: nothing is of interest. */
static int change(const char *socket, const char *method, json_t *params, const char *key,
		  json_int_t *count)
{
	json_t *result = request_call(socket, method, params, NULL);

	if (result == NULL)
		return STATUS_FAILED;
	if (key != NULL)
		*count = json_integer_value(json_object_get(result, key));
	json_decref(result);
	return STATUS_DONE;
}

/* Takes the network out of the arguments: --network NETWORK wherever it stands, or the first one
 * when others follow. NULL: there is none. */
static const char *take_network(int *argc, char **argv)
{
	const char *network = NULL;
	const struct option_row options[] = { { "--network", &network }, { NULL } };
	int at = 0, taken = 0;

	for (; at < *argc && taken == 0; at += taken == 0)
		taken = options_take(*argc - at, argv + at, options);
	if (taken == 0 && *argc > 1 && argv[0][0] != '-' && argv[0][0] != '{') {
		network = argv[0];
		at = 0;
		taken = 1;
	}
	if (taken <= 0)
		return NULL;
	*argc -= taken;
	memmove(argv + at, argv + at + taken, (size_t)(*argc - at) * sizeof(*argv));
	return network;
}

int command_forward_add(const char *socket, int argc, char **argv)
{
	const char *network = take_network(&argc, argv), *config;
	struct request_fds none;
	char *settings = NULL;
	int status;

	if (network == NULL || argc < 1)
		return command_fail(STATUS_USAGE, "a NETWORK and a forward are needed");
	if (argv[0][0] == '{') {
		if (argc > 1)
			return command_fail(STATUS_USAGE, "one argument too many: '%s'", argv[1]);
		config = argv[0];
	} else {
		config = settings = settings_to_yaml(argc, argv, NULL, &none);
		if (settings == NULL)
			return STATUS_USAGE;
	}
	status = change(socket, "forward_add",
			json_pack("{s:s, s:s}", "name", network, "config", config), NULL, NULL);
	free(settings);
	return status;
}

int command_forward_del(const char *socket, int argc, char **argv)
{
	const char *network = take_network(&argc, argv), *slash;
	json_t *params;

	if (network == NULL || argc != 1 || argv[0][0] == '-')
		return command_fail(STATUS_USAGE, "a NETWORK and where the forward listens are "
						  "needed");
	slash = strrchr(argv[0], '/');
	params = json_pack("{s:s, s:s%}", "name", network, "listen", argv[0],
			   slash != NULL ? (size_t)(slash - argv[0]) : strlen(argv[0]));
	if (slash != NULL)
		json_object_set_new(params, "protocol", json_string(slash + 1));
	return change(socket, "forward_del", params, NULL, NULL);
}

int command_lease_release(const char *socket, int argc, char **argv)
{
	const char *network = take_network(&argc, argv);
	json_t *params;

	if (argc != 1 || argv[0][0] == '-')
		return command_fail(STATUS_USAGE, "an IP address is needed");
	params = json_pack("{s:s}", "ip", argv[0]);
	if (network != NULL)
		json_object_set_new(params, "name", json_string(network));
	return change(socket, "lease_release", params, NULL, NULL);
}

int command_sessions_flush(const char *socket, int argc, char **argv)
{
	const char *network = NULL, *guest = NULL;
	const struct option_row options[] = {
		{ "--network", &network },
		{ "--guest", &guest },
		{ NULL },
	};
	json_int_t flushed = 0;
	json_t *params;
	int status;

	for (int i = 0, taken; i < argc; i += taken) {
		taken = options_take(argc - i, argv + i, options);
		if (taken < 0)
			return STATUS_USAGE;
		if (taken > 0)
			continue;
		taken = 1;
		if (argv[i][0] == '-' || network != NULL)
			return command_fail(STATUS_USAGE, "unknown argument '%s'", argv[i]);
		network = argv[i];
	}
	params = json_object();
	if (network != NULL)
		json_object_set_new(params, "name", json_string(network));
	if (guest != NULL)
		json_object_set_new(params, "guest", json_string(guest));
	status = change(socket, "sessions_flush", params, "flushed", &flushed);
	if (status == STATUS_DONE)
		printf("%" JSON_INTEGER_FORMAT " session%s ended\n", flushed,
		       flushed == 1 ? "" : "s");
	return status;
}
