/* A YAML document as a tree with line numbers, and the table-driven reading of mappings.
 *
 * A mapping is read by a table of keys, and every error in it is found, not only the first; an
 * unknown key, a key given twice, a missing one, a wrong kind and a value out of range are refused
 * with file, line, key and what is allowed. Port types bring tables of their own (port.h). Control
 * thread, weftd --check, fuzzer. */
#ifndef WEFT_VSWITCH_CONFIG_NODE_H
#define WEFT_VSWITCH_CONFIG_NODE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_node_kind { CONFIG_SCALAR, CONFIG_MAPPING, CONFIG_SEQUENCE };

struct config_node {
	enum config_node_kind kind;
	unsigned line; /* from 1 */
	char *key;     /* in a mapping; NULL elsewhere */
	char *scalar;  /* NUL-terminated, no NUL inside */
	uint32_t count;
	struct config_node *children;	  /* entries of a mapping (with key) or a sequence */
	const struct config_node *parent; /* NULL at the root */
};

/* Parses one document (libyaml; anchors, aliases and tags are refused, depth and size bounded).
 * The caller frees with config_node_free(). 0, -EINVAL, -ENOMEM. */
int config_node_parse(const char *file, const char *text, size_t length, struct config_node **out,
		      struct error *error);
void config_node_free(struct config_node *node);

/* The child with this key, or NULL. */
const struct config_node *config_node_get(const struct config_node *mapping, const char *key);

/* "lab:" with nothing behind it, which may stand for an empty mapping. */
static inline bool config_node_is_empty(const struct config_node *node)
{
	return node->count == 0 && (node->scalar == NULL || node->scalar[0] == '\0');
}

struct config_key {
	const char *name;
	/* Reads the value into the struct at `out` (the same for all keys of a table). Returns 0 or
	 * config_error(). */
	int (*read)(const char *file, const struct config_node *value, void *out,
		    struct error *error);
	bool required;
	const char *help; /* "path of the Unix socket" */
	/* Where the value lies in `out`, so that two structs can be compared key by key; size 0:
	 * the key has no bytes of its own to compare. */
	size_t offset;
	size_t size;
	/* What the value names, when that can be had once only ("socket"): no two ports may give
	 * the same text, which is then `size` characters at `offset`. Else NULL. */
	const char *unique;
};

/* Reads every entry of `mapping` by one of the `table_count` tables (each ends in a row with name
 * NULL); `what` names the thing in errors ("port 'vm1'"). */
int config_node_read(const char *file, const struct config_node *mapping, const char *what,
		     const struct config_key *const *tables, uint32_t table_count, void *out,
		     struct error *error);

/* Sets "FILE:LINE: KEY: ..." and returns -EINVAL; KEY is the whole way to the node
 * ("ports.vm1.vlan"). With file NULL (text from the command line) it is "KEY: ...". */
int config_error(const char *file, const struct config_node *node, struct error *error,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Adds the lines of *one to *all, after a line break. When they do not fit, says that there are
 * more. */
void config_error_join(struct error *all, const struct error *one);

/* Scalars; each sets the error itself. Booleans: true|false. Words: NULL-terminated list, result
 * the index. Text that does not fit (size counts the NUL) is refused, never cut. */
int config_node_text(const char *file, const struct config_node *node, char *out, size_t size,
		     struct error *error);
int config_node_number(const char *file, const struct config_node *node, uint64_t low,
		       uint64_t high, uint64_t *out, struct error *error);
int config_node_bool(const char *file, const struct config_node *node, bool *out,
		     struct error *error);
int config_node_word(const char *file, const struct config_node *node, const char *const *words,
		     unsigned *out, struct error *error);

#endif
