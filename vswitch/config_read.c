/* Reads the tree of a configuration: mappings by their tables of keys, scalars by what they must
 * be, with errors that name file, line, key and what is allowed (config_node.h). Called by config.c
 * and, through their tables, by the port types. Control thread, weftd --check, fuzzer. */
#include "vswitch/config_node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a value that somebody else wrote an error repeats. */
#define SHOWN 80

/* A text that grows in a buffer of fixed size; what does not fit is left out. */
struct line {
	char *text;
	size_t size;
	size_t used;
};

static void line_add(struct line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line_add(struct line *line, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line->text + line->used, line->size - line->used, format, args);
	va_end(args);
	if (n > 0)
		line->used += (size_t)n;
	if (line->used >= line->size)
		line->used = line->size - 1;
}

/* "ports.vm1.vlans[2]"; depth is bounded by the parser. */
static void add_way(struct line *line, const struct config_node *node)
{
	if (node->parent == NULL)
		return;
	add_way(line, node->parent);
	if (node->key != NULL)
		line_add(line, "%s%.*s", line->used > 0 ? "." : "", SHOWN, node->key);
	else
		line_add(line, "[%td]", node - node->parent->children);
}

/* What others wrote goes to terminals and logs: no control characters in it. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int config_error(const char *file, const struct config_node *node, struct error *error,
		 const char *format, ...)
{
	char way[512] = "", what[ERROR_TEXT_MAX];
	struct line line = { way, sizeof(way), 0 };
	va_list args;

	add_way(&line, node);
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	make_printable(way);
	make_printable(what);
	if (line.used == 0)
		line_add(&line, "configuration");
	if (file == NULL)
		return error_set(error, EINVAL, "%s: %s", way, what);
	return error_set(error, EINVAL, "%s:%u: %s: %s", file, node->line, way, what);
}

void config_error_join(struct error *all, const struct error *one)
{
	static const char more[] = "\n(and more errors)";
	size_t used;

	if (all == NULL || one->text[0] == '\0')
		return;
	used = strlen(all->text);
	if (used == 0) {
		memcpy(all->text, one->text, sizeof(all->text));
		return;
	}
	if (used >= sizeof(more) - 1 && strcmp(all->text + used - (sizeof(more) - 1), more) == 0)
		return;
	if (used + 1 + strlen(one->text) + sizeof(more) <= sizeof(all->text)) {
		all->text[used] = '\n';
		strcpy(all->text + used + 1, one->text);
	} else if (used + sizeof(more) <= sizeof(all->text)) {
		strcpy(all->text + used, more);
	}
}

static const char *kind_name(enum config_node_kind kind)
{
	static const char *const names[] = {
		[CONFIG_SCALAR] = "a single value",
		[CONFIG_MAPPING] = "a mapping",
		[CONFIG_SEQUENCE] = "a list",
	};

	return names[kind];
}

static const struct config_key *find_key(const struct config_key *const *tables,
					 uint32_t table_count, const char *name)
{
	for (uint32_t t = 0; t < table_count; t++)
		for (const struct config_key *key = tables[t]; key->name != NULL; key++)
			if (strcmp(key->name, name) == 0)
				return key;
	return NULL;
}

static int unknown_key(const char *file, const struct config_node *node, const char *what,
		       const struct config_key *const *tables, uint32_t table_count,
		       struct error *error)
{
	char names[512] = "";
	struct line line = { names, sizeof(names), 0 };

	for (uint32_t t = 0; t < table_count; t++)
		for (const struct config_key *key = tables[t]; key->name != NULL; key++)
			line_add(&line, "%s%s", line.used > 0 ? ", " : "", key->name);
	return config_error(file, node, error, "unknown key of %s; allowed: %s", what, names);
}

int config_node_read(const char *file, const struct config_node *mapping, const char *what,
		     const struct config_key *const *tables, uint32_t table_count, void *out,
		     struct error *error)
{
	struct error all = { "" };
	int result = 0;

	if (mapping->kind != CONFIG_MAPPING && !config_node_is_empty(mapping))
		return config_error(file, mapping, error, "%s is %s; allowed: a mapping of keys",
				    what, kind_name(mapping->kind));
	for (uint32_t i = 0; i < mapping->count && result != -ENOMEM; i++) {
		const struct config_node *value = &mapping->children[i];
		const struct config_key *key = find_key(tables, table_count, value->key);
		struct error one = { "" };
		int rc;

		if (key == NULL)
			rc = unknown_key(file, value, what, tables, table_count, &one);
		else
			rc = key->read(file, value, out, &one);
		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	for (uint32_t t = 0; t < table_count; t++)
		for (const struct config_key *key = tables[t]; key->name != NULL; key++) {
			struct error one;

			if (!key->required || config_node_get(mapping, key->name) != NULL)
				continue;
			result = config_error(file, mapping, &one, "%s needs the key '%s' (%s)",
					      what, key->name, key->help);
			config_error_join(&all, &one);
		}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}

static int need_scalar(const char *file, const struct config_node *node, const char *allowed,
		       struct error *error)
{
	if (node->kind == CONFIG_SCALAR)
		return 0;
	return config_error(file, node, error, "is %s; allowed: %s", kind_name(node->kind),
			    allowed);
}

int config_node_text(const char *file, const struct config_node *node, char *out, size_t size,
		     struct error *error)
{
	int rc = need_scalar(file, node, "a text", error);
	size_t length;

	if (rc < 0)
		return rc;
	length = strlen(node->scalar);
	if (length == 0)
		return config_error(file, node, error, "is empty; allowed: 1 to %zu characters",
				    size - 1);
	if (length >= size)
		return config_error(file, node, error,
				    "is too long (%zu characters); allowed: at most %zu", length,
				    size - 1);
	memset(out, 0, size); /* configs are compared byte by byte */
	memcpy(out, node->scalar, length);
	return 0;
}

int config_node_number(const char *file, const struct config_node *node, uint64_t low,
		       uint64_t high, uint64_t *out, struct error *error)
{
	uint64_t n = 0;
	const char *p;
	int rc = need_scalar(file, node, "a number", error);

	if (rc < 0)
		return rc;
	for (p = node->scalar; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) {
			n = UINT64_MAX;
			break;
		}
	}
	if (p == node->scalar || (*p != '\0' && n != UINT64_MAX))
		return config_error(file, node, error,
				    "'%.*s' is not a number; allowed: %" PRIu64 " to %" PRIu64,
				    SHOWN, node->scalar, low, high);
	if (n < low || n > high)
		return config_error(file, node, error,
				    "%.*s is out of range; allowed: %" PRIu64 " to %" PRIu64, SHOWN,
				    node->scalar, low, high);
	*out = n;
	return 0;
}

int config_node_bool(const char *file, const struct config_node *node, bool *out,
		     struct error *error)
{
	static const char *const words[] = { "false", "true", NULL };
	unsigned word;
	int rc = config_node_word(file, node, words, &word, error);

	if (rc == 0)
		*out = word == 1;
	return rc;
}

int config_node_word(const char *file, const struct config_node *node, const char *const *words,
		     unsigned *out, struct error *error)
{
	char names[256] = "";
	struct line line = { names, sizeof(names), 0 };

	for (unsigned i = 0; words[i] != NULL; i++) {
		if (node->kind == CONFIG_SCALAR && strcmp(node->scalar, words[i]) == 0) {
			*out = i;
			return 0;
		}
		line_add(&line, "%s%s", i > 0 ? ", " : "", words[i]);
	}
	if (node->kind != CONFIG_SCALAR)
		return need_scalar(file, node, names, error);
	return config_error(file, node, error, "'%.*s' is not known; allowed: %s", SHOWN,
			    node->scalar, names);
}
