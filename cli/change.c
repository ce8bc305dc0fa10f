/* The commands that change the running switch, or say what would change; and qemu-args. Each makes
 * one request. */
#include "cli/command.h"
#include "cli/options.h"
#include "cli/request.h"
#include "cli/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)4 << 20)

/* The text of a file ("-": standard input), or NULL, having said why. */
static json_t *read_text(const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = malloc(FILE_MAX + 1);
	json_t *string = NULL;
	size_t length = 0;

	if (file == NULL) {
		command_fail(STATUS_FAILED, "%s: cannot open: %s", path, strerror(errno));
		goto out;
	}
	if (text != NULL)
		length = fread(text, 1, FILE_MAX + 1, file);
	if (text == NULL || ferror(file)) {
		command_fail(STATUS_FAILED, "%s: cannot read: %s", path, strerror(errno));
		goto out;
	}
	if (length > FILE_MAX) {
		command_fail(STATUS_FAILED, "%s: too large; allowed: at most 4 MiB", path);
		goto out;
	}
	string = json_stringn(text, length);
	if (string == NULL || memchr(text, '\0', length) != NULL) {
		command_fail(STATUS_FAILED, "%s: is not UTF-8 text", path);
		json_decref(string);
		string = NULL;
	}
out:
	if (file != NULL && file != stdin)
		fclose(file);
	free(text);
	return string;
}

/* "+ port vm1", "~ port vm2 (vlan, queues)". */
static void print_change(const json_t *change)
{
	const char *action = json_string_value(json_object_get(change, "action"));
	const char *kind = json_string_value(json_object_get(change, "kind"));
	const char *name = json_string_value(json_object_get(change, "name"));
	const json_t *keys = json_object_get(change, "keys");
	const char *key;

	if (action == NULL || kind == NULL || name == NULL)
		return;
	printf("%s %s", action[0] == 'a' ? "+" : action[0] == 'r' ? "-" : "~", kind);
	if (strcmp(kind, name) != 0) /* "workers" and "api" are alone of their kind */
		printf(" %s", name);
	for (size_t i = 0; i < json_array_size(keys); i++) {
		key = json_string_value(json_array_get(keys, i));
		printf("%s%s", i == 0 ? " (" : ", ", key != NULL ? key : "");
	}
	printf("%s\n", json_array_size(keys) > 0 ? ")" : "");
}

static void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	printf("\n");
}

/* apply and diff: send a file, print the list of changes. */
static int send_file(const char *socket, const char *method, int argc, char **argv)
{
	const char *file = NULL;
	json_t *text, *changes;
	bool json = false;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (argv[i][0] == '-' && argv[i][1] != '\0')
			return command_fail(STATUS_USAGE, "unknown option '%s'", argv[i]);
		else if (file == NULL)
			file = argv[i];
		else
			return command_fail(STATUS_USAGE, "one argument too many: '%s'", argv[i]);
	}
	if (file == NULL)
		return command_fail(STATUS_USAGE, "%s needs one FILE", method);
	text = read_text(file);
	if (text == NULL)
		return STATUS_FAILED;
	changes = request_call(
	    socket, method,
	    json_pack("{s:s, s:o}", "file", strcmp(file, "-") == 0 ? "stdin" : file, "text", text),
	    NULL);
	if (changes == NULL)
		return STATUS_FAILED;
	if (json)
		print_json(changes);
	for (size_t i = 0; !json && i < json_array_size(changes); i++)
		print_change(json_array_get(changes, i));
	json_decref(changes);
	return STATUS_DONE;
}

int command_apply(const char *socket, int argc, char **argv)
{
	return send_file(socket, "apply", argc, argv);
}

int command_diff(const char *socket, int argc, char **argv)
{
	return send_file(socket, "diff", argc, argv);
}

/* Makes a request whose result says nothing but that it is done. */
static int send_change(const char *socket, const char *method, json_t *params,
		       const struct request_fds *fds)
{
	json_t *result = request_call(socket, method, params, fds);

	json_decref(result);
	return result != NULL ? STATUS_DONE : STATUS_FAILED;
}

static int add(const char *socket, const char *method, const char *fd_key, int argc, char **argv)
{
	struct request_fds fds;
	char *config;
	int status;

	if (argc < 1 || argv[0][0] == '-')
		return command_fail(STATUS_USAGE, "a NAME is missing");
	config = settings_to_yaml(argc - 1, argv + 1, fd_key, &fds);
	if (config == NULL)
		return STATUS_USAGE;
	for (unsigned i = 0; i < fds.count; i++) {
		if (fcntl(fds.fds[i], F_GETFD) >= 0)
			continue;
		free(config);
		return command_fail(STATUS_FAILED, "--%s %d: %s", fd_key, fds.fds[i],
				    strerror(errno));
	}
	status = send_change(socket, method,
			     json_pack("{s:s, s:s}", "name", argv[0], "config", config), &fds);
	free(config);
	return status;
}

static int del(const char *socket, const char *method, int argc, char **argv)
{
	if (argc != 1 || argv[0][0] == '-')
		return command_fail(STATUS_USAGE, "one NAME is needed");
	return send_change(socket, method, json_pack("{s:s}", "name", argv[0]), NULL);
}

int command_port_add(const char *socket, int argc, char **argv)
{
	return add(socket, "port_add", "tap-fd", argc, argv);
}

int command_port_del(const char *socket, int argc, char **argv)
{
	return del(socket, "port_del", argc, argv);
}

int command_network_add(const char *socket, int argc, char **argv)
{
	return add(socket, "network_add", NULL, argc, argv);
}

int command_network_del(const char *socket, int argc, char **argv)
{
	return del(socket, "network_del", argc, argv);
}

/* All in one line for "$(weft qemu-args vm1)", where the shell splits at blanks and expands
 * wildcards: an argument with one of these would come out as something else. */
static int print_line(const json_t *args)
{
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *arg = json_string_value(json_array_get(args, i));

		if (arg == NULL || arg[0] == '\0' || strpbrk(arg, " \t\r\n*?[\\") != NULL)
			return command_fail(
			    STATUS_FAILED,
			    "'%s' cannot stand in a shell's $(...); choose a socket "
			    "path without blanks and wildcards, or use --json",
			    arg != NULL ? arg : "");
	}
	for (size_t i = 0; i < json_array_size(args); i++)
		printf("%s%s", i > 0 ? " " : "", json_string_value(json_array_get(args, i)));
	printf("\n");
	return STATUS_DONE;
}

int command_qemu_args(const char *socket, int argc, char **argv)
{
	json_t *params = json_pack("{s:[]}", "ports");
	json_t *ports = json_object_get(params, "ports"), *args;
	const char *memory = NULL;
	const struct option_row options[] = { { "--memory", &memory }, { NULL } };
	bool json = false;
	int status = STATUS_DONE;

	for (int i = 0, taken; i < argc; i += taken) {
		taken = options_take(argc - i, argv + i, options);
		if (taken < 0) {
			json_decref(params);
			return STATUS_USAGE;
		}
		if (taken > 0)
			continue;
		taken = 1;
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (argv[i][0] == '-') {
			json_decref(params);
			return command_fail(STATUS_USAGE, "unknown option '%s'", argv[i]);
		} else {
			json_array_append_new(ports, json_string(argv[i]));
		}
	}
	if (memory != NULL)
		json_object_set_new(params, "memory", json_string(memory));
	if (json_array_size(ports) == 0) {
		json_decref(params);
		return command_fail(STATUS_USAGE, "a PORT is missing");
	}
	args = request_call(socket, "qemu_args", params, NULL);
	if (args == NULL)
		return STATUS_FAILED;
	if (json)
		print_json(args);
	else
		status = print_line(args);
	json_decref(args);
	return status;
}
