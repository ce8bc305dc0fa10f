/* JSON as text for people: aligned tables of rows, and single objects. Prints to stdout; control
 * characters in texts are made harmless. */
#ifndef WEFT_CLI_TABLE_H
#define WEFT_CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

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

/* The rows of `array`; columns end with a title NULL. Numbers stand to the right. What does not fit
 * in lines of `width` is left out by whole columns, the last ones. */
void table_print(const json_t *array, const struct table_column *columns, size_t width);

/* All of an object, nested ones and lists included. */
void table_print_object(json_t *object);

#endif
