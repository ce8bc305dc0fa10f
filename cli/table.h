/* JSON as text for people: aligned tables of rows, and single objects. Prints to stdout; control
 * characters in texts are made harmless. */
#ifndef WEFT_CLI_TABLE_H
#define WEFT_CLI_TABLE_H

#include <jansson.h>

struct table_column {
	const char *title;
	const char *path; /* "receive.packets" */
};

/* The rows of `array`; columns end with a title NULL. Numbers stand to the right. */
void table_print(const json_t *array, const struct table_column *columns);

/* All of an object, nested ones and lists included. */
void table_print_object(json_t *object);

#endif
