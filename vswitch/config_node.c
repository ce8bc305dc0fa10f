/* YAML text as a tree with line numbers (config_node.h), built from libyaml's events.
 *
 * The text may come from anybody who can reach the API socket: its size, depth and number of nodes
 * are bounded, and what makes YAML expand (anchors, aliases, tags) is refused. Control thread,
 * weftd --check, fuzzer. Reading the tree is config_read.c's part. */
#include "vswitch/config_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 12u
#define NODES_MAX 262144u
#define KEY_MAX	  128u

/* One run of the parser over one text. */
struct builder {
	const char *file;
	yaml_parser_t parser;
	uint32_t nodes;
	struct error *error;
};

static int build_node(struct builder *b, const yaml_event_t *event, struct config_node *node,
		      unsigned depth);

static void node_clear(struct config_node *node)
{
	for (uint32_t i = 0; i < node->count; i++)
		node_clear(&node->children[i]);
	free(node->children);
	free(node->key);
	free(node->scalar);
}

void config_node_free(struct config_node *node)
{
	if (node == NULL)
		return;
	node_clear(node);
	free(node);
}

const struct config_node *config_node_get(const struct config_node *mapping, const char *key)
{
	for (uint32_t i = 0; i < mapping->count; i++) {
		const struct config_node *child = &mapping->children[i];

		if (child->key != NULL && strcmp(child->key, key) == 0)
			return child;
	}
	return NULL;
}

static int error_at(const struct builder *b, size_t line, const char *text)
{
	if (b->file == NULL)
		return error_set(b->error, EINVAL, "%s", text);
	return error_set(b->error, EINVAL, "%s:%zu: %s", b->file, line + 1, text);
}

static int next_event(struct builder *b, yaml_event_t *event)
{
	const yaml_parser_t *p = &b->parser;
	char text[256];

	if (yaml_parser_parse(&b->parser, event))
		return 0;
	if (p->error == YAML_MEMORY_ERROR)
		return error_set(b->error, ENOMEM, "out of memory");
	if (p->error == YAML_READER_ERROR) {
		/* The reader knows no line, and the scanner's may be one it has not reached. */
		snprintf(text, sizeof(text), "not YAML text: %s (byte %zu)",
			 p->problem != NULL ? p->problem : "unreadable", p->problem_offset);
		return error_at(b, p->mark.line, text);
	}
	snprintf(text, sizeof(text), "not YAML: %s%s%s%s",
		 p->problem != NULL ? p->problem : "syntax error", p->context != NULL ? " (" : "",
		 p->context != NULL ? p->context : "", p->context != NULL ? ")" : "");
	return error_at(b, p->problem_mark.line, text);
}

/* Anchors and tags: what configuration never needs and what makes small files large. */
static int check_plain(const struct builder *b, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	case YAML_ALIAS_EVENT:
		return error_at(b, event->start_mark.line,
				"a YAML alias (*NAME); allowed: plain values, written out");
	default:
		return error_at(b, event->start_mark.line, "not YAML: unexpected end");
	}
	if (anchor != NULL)
		return error_at(b, event->start_mark.line,
				"a YAML anchor (&NAME); allowed: plain values, written out");
	if (tag != NULL)
		return error_at(b, event->start_mark.line,
				"a YAML tag (!NAME); allowed: plain values");
	return 0;
}

/* The scalar of an event as a string of our own; refuses a NUL inside, which would cut it. */
static int take_scalar(const struct builder *b, const yaml_event_t *event, char **out)
{
	const char *value = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	if (memchr(value, '\0', length) != NULL)
		return error_at(b, event->start_mark.line, "a NUL character inside a text");
	*out = strndup(value, length);
	return *out == NULL ? error_set(b->error, ENOMEM, "out of memory") : 0;
}

static int take_key(const struct builder *b, const yaml_event_t *event, char **out)
{
	int rc = check_plain(b, event);

	if (rc < 0)
		return rc;
	if (event->type != YAML_SCALAR_EVENT || event->data.scalar.length == 0)
		return error_at(b, event->start_mark.line, "a key must be a word");
	if (event->data.scalar.length > KEY_MAX)
		return error_at(b, event->start_mark.line,
				"a key is too long; allowed: at most 128 characters");
	return take_scalar(b, event, out);
}

static struct config_node *add_child(struct config_node *node)
{
	/* Capacity doubles when count reaches a power of two. */
	if ((node->count & (node->count - 1)) == 0) {
		uint32_t capacity = node->count == 0 ? 1 : node->count * 2;
		struct config_node *children =
		    reallocarray(node->children, capacity, sizeof(*children));

		if (children == NULL)
			return NULL;
		node->children = children;
	}
	memset(&node->children[node->count], 0, sizeof(*node));
	return &node->children[node->count++];
}

/* Everything up to the end of a mapping or sequence whose start was the last event. */
static int build_children(struct builder *b, struct config_node *node, unsigned depth)
{
	for (;;) {
		struct config_node *child;
		yaml_event_t event;
		char *key = NULL;
		int rc = next_event(b, &event);

		if (rc < 0)
			return rc;
		if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		}
		if (node->kind == CONFIG_MAPPING) {
			unsigned line = (unsigned)event.start_mark.line + 1;

			rc = take_key(b, &event, &key);
			yaml_event_delete(&event);
			if (rc == 0)
				rc = next_event(b, &event);
			if (rc < 0) {
				free(key);
				return rc;
			}
			event.start_mark.line = line - 1; /* a value's line is its key's */
		}
		child = add_child(node);
		if (child == NULL) {
			free(key);
			rc = error_set(b->error, ENOMEM, "out of memory");
		} else {
			child->key = key;
			rc = build_node(b, &event, child, depth + 1);
		}
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
	}
}

static int build_node(struct builder *b, const yaml_event_t *event, struct config_node *node,
		      unsigned depth)
{
	int rc = check_plain(b, event);

	if (rc < 0)
		return rc;
	node->line = (unsigned)event->start_mark.line + 1;
	if (++b->nodes > NODES_MAX)
		return error_at(b, event->start_mark.line,
				"too many values; allowed: at most 262144 in a file");
	if (event->type == YAML_SCALAR_EVENT) {
		node->kind = CONFIG_SCALAR;
		return take_scalar(b, event, &node->scalar);
	}
	if (depth >= DEPTH_MAX)
		return error_at(b, event->start_mark.line,
				"nested too deeply; allowed: at most 12 levels");
	node->kind = event->type == YAML_MAPPING_START_EVENT ? CONFIG_MAPPING : CONFIG_SEQUENCE;
	return build_children(b, node, depth);
}

static int compare_keys(const void *a, const void *b)
{
	const struct config_node *x = *(const struct config_node *const *)a;
	const struct config_node *y = *(const struct config_node *const *)b;
	int order = strcmp(x->key, y->key);

	return order != 0 ? order : (x > y) - (x < y);
}

/* Refuses a key given twice. Sorted, so that a mapping of many keys costs no square of them. */
static int check_duplicates(const struct builder *b, const struct config_node *mapping)
{
	const struct config_node **sorted;
	int rc = 0;

	if (mapping->count < 2)
		return 0;
	sorted = calloc(mapping->count, sizeof(const struct config_node *));
	if (sorted == NULL)
		return error_set(b->error, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < mapping->count; i++)
		sorted[i] = &mapping->children[i];
	qsort(sorted, mapping->count, sizeof(const struct config_node *), compare_keys);
	for (uint32_t i = 1; i < mapping->count && rc == 0; i++) {
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			rc =
			    config_error(b->file, sorted[i], b->error,
					 "given twice; the first is on line %u; allowed: each once",
					 sorted[i - 1]->line);
	}
	free(sorted);
	return rc;
}

/* The children's places are final now: links them to their parents and looks for double keys. */
static int finish_tree(const struct builder *b, struct config_node *node)
{
	int rc;

	for (uint32_t i = 0; i < node->count; i++)
		node->children[i].parent = node;
	rc = node->kind == CONFIG_MAPPING ? check_duplicates(b, node) : 0;
	for (uint32_t i = 0; i < node->count && rc == 0; i++)
		rc = finish_tree(b, &node->children[i]);
	return rc;
}

/* From the start of the stream to the root node. *empty: no document, or one with nothing in it. */
static int build_document(struct builder *b, struct config_node *root)
{
	yaml_event_t event;
	int rc;

	for (;;) {
		rc = next_event(b, &event);
		if (rc < 0)
			return rc;
		if (event.type != YAML_STREAM_START_EVENT &&
		    event.type != YAML_DOCUMENT_START_EVENT)
			break;
		yaml_event_delete(&event);
	}
	if (event.type == YAML_STREAM_END_EVENT) {
		/* An empty file is an empty mapping. */
		root->kind = CONFIG_MAPPING;
		root->line = 1;
		yaml_event_delete(&event);
		return 0;
	}
	rc = build_node(b, &event, root, 0);
	yaml_event_delete(&event);
	if (rc == 0 && root->kind == CONFIG_SCALAR && root->scalar[0] == '\0')
		root->kind = CONFIG_MAPPING;
	while (rc == 0) {
		yaml_event_type_t type;
		size_t line;

		rc = next_event(b, &event);
		if (rc < 0)
			return rc;
		type = event.type;
		line = event.start_mark.line;
		yaml_event_delete(&event);
		if (type == YAML_STREAM_END_EVENT)
			return 0;
		if (type != YAML_DOCUMENT_END_EVENT)
			return error_at(b, line, "a second document; allowed: one in a file");
	}
	return rc;
}

int config_node_parse(const char *file, const char *text, size_t length, struct config_node **out,
		      struct error *error)
{
	struct builder b = { .file = file, .error = error };
	struct config_node *root;
	int rc;

	root = calloc(1, sizeof(*root));
	if (root == NULL)
		return error_set(error, ENOMEM, "out of memory");
	if (!yaml_parser_initialize(&b.parser)) {
		free(root);
		return error_set(error, ENOMEM, "out of memory");
	}
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, length);
	rc = build_document(&b, root);
	yaml_parser_delete(&b.parser);
	if (rc == 0)
		rc = finish_tree(&b, root);
	if (rc < 0) {
		config_node_free(root);
		return rc;
	}
	*out = root;
	return 0;
}
