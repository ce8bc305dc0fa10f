/* JSON as text for people: aligned tables of rows, and single objects. Prints to stdout; control
 * characters in texts are made harmless. */
#ifndef WEFT_CLI_TABLE_H
#define WEFT_CLI_TABLE_H

#include <jansson.h>

/* How a column prints its numbers. */
enum table_format {
	TABLE_PLAIN,   /* whole ones as they are, others with three decimals */
	TABLE_ROUNDED, /* one decimal */
	TABLE_PERCENT, /* of 1 */
	TABLE_SCALED,  /* from 10,000 on in k, M, G, T */
};

struct table_column {
	const char *title;
	const char *path; /* "receive.packets" */
	enum table_format format;
};

/* The rows of `array`; columns end with a title NULL. Numbers stand to the right. */
void table_print(const json_t *array, const struct table_column *columns);

/* All of an object, nested ones and lists included. */
void table_print_object(json_t *object);

#endif
