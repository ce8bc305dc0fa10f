/* Takes options with values from the command line (options.h). */
#include "cli/options.h"

#include "cli/command.h"

#include <string.h>

int options_take(int argc, char **argv, const struct option_row *table)
{
	for (const struct option_row *row = table; row->name != NULL; row++) {
		size_t length = strlen(row->name);

		if (strncmp(argv[0], row->name, length) != 0)
			continue;
		if (argv[0][length] == '=') {
			*row->value = argv[0] + length + 1;
			return 1;
		}
		if (argv[0][length] != '\0')
			continue;
		if (argc < 2) {
			command_fail(STATUS_USAGE, "%s needs a value", row->name);
			return -1;
		}
		*row->value = argv[1];
		return 2;
	}
	return 0;
}
