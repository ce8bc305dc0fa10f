/* `weft check`: has the weftd that belongs to this weft read the files. What a configuration may
 * say is weftd's knowledge, and the check needs no running one. */
#include "cli/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where weftd is, seen from the directory of weft: installed or in the build tree. */
static const char *const places[] = { "weftd", "../sbin/weftd", "../vswitch/weftd", NULL };

/* Returns only when it is in none of the places, nor in PATH. */
static void run_weftd(char **arguments)
{
	char directory[PATH_MAX], path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
	char *slash;

	if (n > 0) {
		directory[n] = '\0';
		slash = strrchr(directory, '/');
		if (slash != NULL)
			*slash = '\0';
		for (unsigned i = 0; places[i] != NULL; i++) {
			snprintf(path, sizeof(path), "%s/%s", directory, places[i]);
			execv(path, arguments);
		}
	}
	execvp("weftd", arguments);
}

int command_check(const char *socket, int argc, char **argv)
{
	char **arguments;
	int n = 0;

	if (argc < 1)
		return command_fail(STATUS_USAGE, "check needs at least one FILE");
	arguments = calloc((size_t)argc + 3, sizeof(*arguments));
	if (arguments == NULL)
		return command_fail(STATUS_FAILED, "out of memory");
	arguments[n++] = strdup("weftd");
	arguments[n++] = strdup("--check");
	for (int i = 0; i < argc; i++) {
		/* A file is never taken for an option. */
		if (asprintf(&arguments[n++], "%s%s", argv[i][0] == '-' ? "./" : "", argv[i]) < 0)
			return command_fail(STATUS_FAILED, "out of memory");
	}
	run_weftd(arguments);
	return command_fail(STATUS_FAILED, "cannot run weftd: %s", strerror(errno));
}
