/* Prints JSON for people (table.h). */
#include "cli/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX    256
#define COLUMNS_MAX 24
#define WIDTH	    80
#define DEPTH_MAX   8

static const json_t *look_up(const json_t *object, const char *path)
{
	char key[64];

	while (object != NULL) {
		size_t length = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)length, path);
		object = json_object_get(object, key);
		if (path[length] == '\0')
			break;
		path += length + 1;
	}
	return object;
}

static void print_number(const json_t *value, enum table_format format, char *cell)
{
	static const char *const units[] = { "", "k", "M", "G", "T" };
	double number = json_number_value(value);
	unsigned unit = 0;

	switch (format) {
	case TABLE_PLAIN:
		if (json_is_integer(value))
			snprintf(cell, CELL_MAX, "%" JSON_INTEGER_FORMAT,
				 json_integer_value(value));
		else
			snprintf(cell, CELL_MAX, "%.3f", number);
		break;
	case TABLE_ROUNDED:
		snprintf(cell, CELL_MAX, "%.1f", number);
		break;
	case TABLE_PERCENT:
		snprintf(cell, CELL_MAX, "%.1f%%", 100 * number);
		break;
	case TABLE_SCALED:
		for (; number >= 9999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
			number /= 1000;
		snprintf(cell, CELL_MAX, unit > 0 && number < 100 ? "%.1f%s" : "%.0f%s", number,
			 units[unit]);
		break;
	}
}

/* A scalar as text; a list as its texts, or how many there are. */
static void print_cell(const json_t *value, enum table_format format, char *cell)
{
	size_t used = 0;

	cell[0] = '\0';
	if (value == NULL || json_is_null(value)) {
		snprintf(cell, CELL_MAX, "-");
	} else if (json_is_string(value)) {
		snprintf(cell, CELL_MAX, "%s", json_string_value(value));
	} else if (json_is_number(value)) {
		print_number(value, format, cell);
	} else if (json_is_boolean(value)) {
		snprintf(cell, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			char item[CELL_MAX];
			size_t length;

			print_cell(json_array_get(value, i), TABLE_PLAIN, item);
			length = strlen(item);
			if (used + length + 2 > CELL_MAX) { /* not all: rather say how many */
				snprintf(cell, CELL_MAX, "(%zu)", json_array_size(value));
				break;
			}
			if (i > 0)
				cell[used++] = ',';
			memcpy(cell + used, item, length + 1);
			used += length;
		}
		if (used == 0)
			snprintf(cell, CELL_MAX, "-");
	}
	for (char *p = cell; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

/* Columns that have no room in `width` are left out, from the right. */
static void print_rows(const json_t *array, const struct table_column *columns, const char *indent,
		       size_t width)
{
	int widths[COLUMNS_MAX] = { 0 };
	bool right[COLUMNS_MAX] = { false };
	char cell[CELL_MAX];
	unsigned count = 0;
	size_t used = strlen(indent);

	for (; count < COLUMNS_MAX && columns[count].title != NULL; count++)
		widths[count] = (int)strlen(columns[count].title);
	for (size_t r = 0; r < json_array_size(array); r++) {
		for (unsigned c = 0; c < count; c++) {
			const json_t *value = look_up(json_array_get(array, r), columns[c].path);

			print_cell(value, columns[c].format, cell);
			if ((int)strlen(cell) > widths[c])
				widths[c] = (int)strlen(cell);
			right[c] = right[c] || json_is_number(value);
		}
	}
	for (unsigned c = 0; c < count; c++) {
		used += (size_t)widths[c] + (c > 0 ? 2 : 0);
		if (used > width && c > 0)
			count = c;
	}
	printf("%s", indent);
	for (unsigned c = 0; c < count; c++)
		printf("%s%*s", c > 0 ? "  " : "",
		       right[c]	       ? widths[c]
		       : c + 1 < count ? -widths[c]
				       : 0,
		       columns[c].title);
	printf("\n");
	for (size_t r = 0; r < json_array_size(array); r++) {
		printf("%s", indent);
		for (unsigned c = 0; c < count; c++) {
			print_cell(look_up(json_array_get(array, r), columns[c].path),
				   columns[c].format, cell);
			printf("%s%*s", c > 0 ? "  " : "",
			       right[c]	       ? widths[c]
			       : c + 1 < count ? -widths[c]
					       : 0,
			       cell);
		}
		printf("\n");
	}
}

void table_print(const json_t *array, const struct table_column *columns, size_t width)
{
	print_rows(array, columns, "", width);
}

/* Words one after the other, broken before they pass the width. */
static void print_words(const json_t *array, int column)
{
	int used = column;
	char cell[CELL_MAX];

	for (size_t i = 0; i < json_array_size(array); i++) {
		print_cell(json_array_get(array, i), TABLE_PLAIN, cell);
		if (i > 0 && used + 1 + (int)strlen(cell) > WIDTH) {
			printf("\n%*s", column, "");
			used = column;
		} else if (i > 0) {
			printf(" ");
			used++;
		}
		printf("%s", cell);
		used += (int)strlen(cell);
	}
	printf("%s\n", json_array_size(array) == 0 ? "-" : "");
}

/* A list of objects of one shape: the first one's keys are the columns. */
static void print_objects(const json_t *array, const char *indent)
{
	struct table_column columns[COLUMNS_MAX + 1] = { { NULL } };
	json_t *first = json_array_get(array, 0);
	unsigned count = 0;
	const char *key;
	json_t *value;

	json_object_foreach(first, key, value) {
		if (count < COLUMNS_MAX)
			columns[count++] = (struct table_column){ .title = key, .path = key };
	}
	print_rows(array, columns, indent, SIZE_MAX);
}

static bool is_list_of_objects(const json_t *value)
{
	return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

static bool is_flat(json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		if (is_list_of_objects(value) ||
		    (json_is_object(value) && json_object_size(value) > 0))
			return false;
	}
	return true;
}

/* One line "packets 10, bytes 900" for an object of scalars. */
static void print_flat(json_t *object)
{
	char cell[CELL_MAX];
	const char *key;
	json_t *value;
	bool first = true;

	json_object_foreach(object, key, value) {
		if (json_is_object(value)) /* empty */
			continue;
		print_cell(value, TABLE_PLAIN, cell);
		printf("%s%s %s", first ? "" : ", ", key, cell);
		first = false;
	}
	printf("%s\n", first ? "-" : "");
}

static void print_indented(json_t *object, int depth)
{
	char indent[32], cell[CELL_MAX];
	int width = 0;
	const char *key;
	json_t *value;

	snprintf(indent, sizeof(indent), "%*s", 2 * (depth + 1), "");
	json_object_foreach(object, key, value) {
		if ((int)strlen(key) > width)
			width = (int)strlen(key);
	}
	json_object_foreach(object, key, value) {
		if (is_list_of_objects(value)) {
			printf("%*s%s:\n", 2 * depth, "", key);
			print_objects(value, indent);
			continue;
		}
		if (json_is_object(value) && !is_flat(value) && depth < DEPTH_MAX) {
			printf("%*s%s:\n", 2 * depth, "", key);
			print_indented(value, depth + 1);
			continue;
		}
		printf("%*s%s:%*s", 2 * depth, "", key, width - (int)strlen(key) + 1, "");
		if (json_is_array(value)) {
			print_words(value, 2 * depth + width + 2);
		} else if (json_is_object(value)) {
			print_flat(value);
		} else {
			print_cell(value, TABLE_PLAIN, cell);
			printf("%s\n", cell);
		}
	}
}

void table_print_object(json_t *object)
{
	print_indented(object, 0);
}
