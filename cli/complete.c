/* `weft completion`: a bash script that completes commands, from the table of commands. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

/* "show|apply|port|...": each first word once. */
static void print_first_words(void)
{
	for (const struct command *c = commands; c->name != NULL; c++) {
		size_t length = strcspn(c->name, " ");

		if (c > commands && strncmp(c[-1].name, c->name, length) == 0 &&
		    (c[-1].name[length] == ' ' || c[-1].name[length] == '\0'))
			continue;
		printf(" %.*s", (int)length, c->name);
	}
}

int command_completion(const char *socket, int argc, char **argv)
{
	if (argc != 0)
		return command_fail(STATUS_USAGE, "completion takes no arguments");
	printf("# bash completion for weft: eval \"$(weft completion)\"\n"
	       "_weft()\n{\n"
	       "\tlocal word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"\n"
	       "\tcase \"${COMP_WORDS[*]:1:COMP_CWORD-1}\" in\n"
	       "\t\"\") words=\"--socket --help --version help");
	print_first_words();
	printf("\" ;;\n");
	for (const struct command *c = commands; c->name != NULL; c++) {
		const char *blank = strchr(c->name, ' ');

		if (blank != NULL) {
			int length = (int)(blank - c->name);

			if (c == commands ||
			    strncmp(c[-1].name, c->name, (size_t)length + 1) != 0) {
				printf("\t\"%.*s\") words=\"", length, c->name);
				for (const struct command *d = c; d->name != NULL; d++)
					if (strncmp(d->name, c->name, (size_t)length + 1) == 0)
						printf("%s ", d->name + length + 1);
				printf("\" ;;\n");
			}
		}
		printf("\t\"%s\"*) words=\"%s\" ;;\n", c->name, c->words);
	}
	printf("\tesac\n"
	       "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
	       "}\ncomplete -o default -F _weft weft\n");
	return STATUS_DONE;
}
