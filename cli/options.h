/* Options with a value on the command line: "--network lab", "--network=lab". */
#ifndef WEFT_CLI_OPTIONS_H
#define WEFT_CLI_OPTIONS_H

struct option_row {
	const char *name;   /* "--network"; NULL ends the table */
	const char **value; /* set to the argument's own text */
};

/* How many arguments the option at argv[0] took (1 or 2); 0 when it is none of the table's, and -1
 * when its value is missing, which has been said on stderr. */
int options_take(int argc, char **argv, const struct option_row *table);

#endif
