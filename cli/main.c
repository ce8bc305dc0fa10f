/* `weft`, the command people use to talk to weftd: global options, help, and finding the command in
 * the table (command.h). */
#include "cli/command.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int command_fail(int status, const char *format, ...)
{
	char text[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p != '\0'; p++)
		if (((unsigned char)*p < 0x20 && *p != '\n') || *p == 0x7f)
			*p = '?';
	fprintf(stderr, "weft: %s\n", text);
	return status;
}

static void print_usage(FILE *out, const struct command *command)
{
	fprintf(out, "usage: weft [--socket PATH] %s%s%s\n", command->name,
		command->arguments[0] != '\0' ? " " : "", command->arguments);
}

static void print_commands(FILE *out)
{
	int width = 0;

	fprintf(out, "usage: weft [--socket PATH] COMMAND [ARGUMENT]...\n\n");
	for (const struct command *c = commands; c->name != NULL; c++)
		if ((int)strlen(c->name) > width)
			width = (int)strlen(c->name);
	for (const struct command *c = commands; c->name != NULL; c++)
		fprintf(out, "  %-*s  %s\n", width, c->name, c->summary);
	fprintf(out, "\n  --socket PATH  weftd's API socket (or WEFT_SOCKET in the environment)\n"
		     "  --version      print the version\n"
		     "  help COMMAND   explain a command\n");
}

/* The command whose words stand at argv, and how many there are in *words. */
static const struct command *find_command(int argc, char **argv, int *words)
{
	for (const struct command *c = commands; c->name != NULL; c++) {
		const char *blank = strchr(c->name, ' ');
		size_t length = blank != NULL ? (size_t)(blank - c->name) : strlen(c->name);

		if (strlen(argv[0]) != length || strncmp(argv[0], c->name, length) != 0)
			continue;
		*words = blank != NULL ? 2 : 1;
		if (blank == NULL || (argc > 1 && strcmp(argv[1], blank + 1) == 0))
			return c;
	}
	return NULL;
}

/* "port" alone: the first command from `c` on that begins so, or NULL. */
static const struct command *find_group(const struct command *c, const char *word)
{
	size_t length = strlen(word);

	while (c->name != NULL && (strncmp(c->name, word, length) != 0 || c->name[length] != ' '))
		c++;
	return c->name != NULL ? c : NULL;
}

static int no_command(char **argv)
{
	const struct command *group = find_group(commands, argv[0]);

	if (group != NULL && argv[1] == NULL)
		command_fail(STATUS_USAGE, "'%s' is not all of a command", argv[0]);
	else
		command_fail(STATUS_USAGE, "there is no command '%s%s%s'", argv[0],
			     argv[1] != NULL ? " " : "", argv[1] != NULL ? argv[1] : "");
	if (group == NULL)
		print_commands(stderr);
	for (; group != NULL; group = find_group(group + 1, argv[0]))
		print_usage(stderr, group);
	return STATUS_USAGE;
}

static int print_help(int argc, char **argv)
{
	const struct command *command;
	int words;

	if (argc == 0) {
		print_commands(stdout);
		return STATUS_DONE;
	}
	command = find_command(argc, argv, &words);
	if (command == NULL)
		return no_command(argv);
	print_usage(stdout, command);
	printf("\n%s: %s.\n%s", command->name, command->summary, command->help);
	return STATUS_DONE;
}

static int run_command(const char *socket, int argc, char **argv)
{
	const struct command *command;
	int words, status;

	if (strcmp(argv[0], "help") == 0)
		return print_help(argc - 1, argv + 1);
	command = find_command(argc, argv, &words);
	if (command == NULL)
		return no_command(argv);
	for (int i = words; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return print_help(words, argv);
	status = command->run(socket, argc - words, argv + words);
	if (status == STATUS_USAGE)
		print_usage(stderr, command);
	return status;
}

/* Takes --socket PATH out of the arguments, wherever it stands; what it named last. False when the
 * path is missing. */
static bool take_socket(int *argc, char **argv, const char **socket)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strncmp(argv[i], "--socket=", 9) == 0) {
			*socket = argv[i] + 9;
		} else if (strcmp(argv[i], "--socket") == 0) {
			if (++i == *argc)
				return false;
			*socket = argv[i];
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	*argc = kept;
	return true;
}

int main(int argc, char **argv)
{
	const char *socket = NULL;
	int i = 1, status;

	if (!take_socket(&argc, argv, &socket)) {
		command_fail(STATUS_USAGE, "--socket needs a PATH");
		print_commands(stderr);
		return STATUS_USAGE;
	}
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_commands(stdout);
			return STATUS_DONE;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("weft %s\n", WEFT_VERSION);
			return STATUS_DONE;
		}
		command_fail(STATUS_USAGE, "unknown option '%s'", argv[i]);
		print_commands(stderr);
		return STATUS_USAGE;
	}
	if (i == argc) {
		print_commands(stderr);
		return STATUS_USAGE;
	}
	status = run_command(socket, argc - i, argv + i);
	if (fflush(stdout) != 0 || ferror(stdout))
		return command_fail(STATUS_FAILED, "cannot write the output");
	return status;
}
