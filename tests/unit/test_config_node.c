/* The tree of a YAML text, its bounds, and the reading of scalars and mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/config_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config_node *parse(const char *text)
{
	struct config_node *node = NULL;
	struct error error = { "" };

	if (config_node_parse("f", text, strlen(text), &node, &error) < 0)
		fail_msg("%s", error.text);
	return node;
}

static void refuse(const char *text, size_t length, const char *expected)
{
	struct config_node *node = NULL;
	struct error error = { "" };

	assert_int_equal(config_node_parse("f", text, length, &node, &error), -EINVAL);
	assert_null(node);
	if (strncmp(error.text, expected, strlen(expected)) != 0)
		fail_msg("%s: got: %s", expected, error.text);
}

static void test_tree_keeps_keys_lines_and_parents(void **state)
{
	struct config_node *root = parse("a: 1\nb:\n  - x\n  - {c: d}\n");
	const struct config_node *b = config_node_get(root, "b");

	assert_int_equal(root->kind, CONFIG_MAPPING);
	assert_int_equal(root->count, 2);
	assert_string_equal(root->children[0].key, "a");
	assert_string_equal(root->children[0].scalar, "1");
	assert_int_equal(b->kind, CONFIG_SEQUENCE);
	assert_int_equal(b->line, 2);
	assert_int_equal(b->children[1].line, 4);
	assert_string_equal(config_node_get(&b->children[1], "c")->scalar, "d");
	assert_ptr_equal(b->children[1].children[0].parent, &b->children[1]);
	assert_ptr_equal(b->parent, root);
	assert_null(config_node_get(root, "z"));
	config_node_free(root);
	config_node_free(NULL);
}

static void test_nothing_is_an_empty_mapping(void **state)
{
	static const char *const texts[] = { "", "# only this\n", "---\n", "\n\n", "{}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_node *root = parse(texts[i]);

		assert_int_equal(root->kind, CONFIG_MAPPING);
		assert_int_equal(root->count, 0);
		config_node_free(root);
	}
}

static void test_refuses_what_yaml_can_do_and_we_do_not_want(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "a: &x 1\n", "f:1: a YAML anchor" },
		{ "b: 1\na: *x\n", "f:2: a YAML alias" },
		{ "a: !!str 1\n", "f:1: a YAML tag" },
		{ "? [a]\n: 1\n", "f:1: a key must be a word" },
		{ "a: 1\n---\nb: 2\n", "f:2: a second document" },
		{ "a: 1\na: 2\n",
		  "f:2: a: given twice; the first is on line 1; allowed: each once" },
		{ "a:\n  b: 1\n  c: 1\n  b: 1\n",
		  "f:4: a.b: given twice; the first is on line 2; allowed: each once" },
		{ "a: [1\n", "f:2: not YAML" },
		{ "a: \"\\0b\"\n", "f:1: a NUL character" },
		{ "\"\": 1\n", "f:1: a key must be a word" },
		{ "[[[[[[[[[[[[[1]]]]]]]]]]]]]", "f:1: nested too deeply" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refuse(cases[i].text, strlen(cases[i].text), cases[i].expected);
	refuse("a: \xff\n", 5, "f:1: not YAML text");
	refuse("a\0b: 1\n", 7, "f:1: not YAML text");
}

static void test_bounds_nodes_and_keys(void **state)
{
	size_t count = 262145, length = 0;
	char *text = malloc(2 * count + 3);

	assert_non_null(text);
	text[length++] = '[';
	for (size_t i = 0; i < count; i++) {
		text[length++] = '1';
		text[length++] = ',';
	}
	text[length++] = ']';
	refuse(text, length, "f:1: too many values");
	memset(text, 'k', 129);
	memcpy(text + 129, ": 1", 3);
	refuse(text, 132, "f:1: a key is too long");
	free(text);
}

/* Reads the one value of a mapping as a number, and compares the error. */
static void check_number(const char *text, int expected_rc, uint64_t expected,
			 const char *expected_error)
{
	struct config_node *root = parse(text);
	struct error error = { "" };
	uint64_t n = 0;

	assert_int_equal(config_node_number("f", &root->children[0], 1, 100, &n, &error),
			 expected_rc);
	if (expected_rc == 0)
		assert_int_equal(n, expected);
	else
		assert_string_equal(error.text, expected_error);
	config_node_free(root);
}

static void test_numbers(void **state)
{
	check_number("n: 1", 0, 1, NULL);
	check_number("n: 100", 0, 100, NULL);
	check_number("n: 0", -EINVAL, 0, "f:1: n: 0 is out of range; allowed: 1 to 100");
	check_number("n: 101", -EINVAL, 0, "f:1: n: 101 is out of range; allowed: 1 to 100");
	check_number("n: -1", -EINVAL, 0, "f:1: n: '-1' is not a number; allowed: 1 to 100");
	check_number("n: 5x", -EINVAL, 0, "f:1: n: '5x' is not a number; allowed: 1 to 100");
	check_number("n: ''", -EINVAL, 0, "f:1: n: '' is not a number; allowed: 1 to 100");
	check_number("n: [1]", -EINVAL, 0, "f:1: n: is a list; allowed: a number");
	/* 2^64 + 1 */
	check_number("n: 18446744073709551617", -EINVAL, 0,
		     "f:1: n: 18446744073709551617 is out of range; allowed: 1 to 100");
}

static void test_text_is_never_cut(void **state)
{
	struct config_node *root = parse("{t: abcd, e: ''}");
	struct error error = { "" };
	char out[8] = "zzzzzzz";

	assert_int_equal(config_node_text("f", &root->children[0], out, 4, &error), -EINVAL);
	assert_string_equal(error.text, "f:1: t: is too long (4 characters); allowed: at most 3");
	assert_string_equal(out, "zzzzzzz");
	assert_int_equal(config_node_text("f", &root->children[0], out, 8, &error), 0);
	assert_memory_equal(out, "abcd\0\0\0", 8);
	assert_int_equal(config_node_text("f", &root->children[1], out, 8, &error), -EINVAL);
	config_node_free(root);
}

static void test_words_list_what_is_allowed(void **state)
{
	static const char *const words[] = { "one", "two", NULL };
	struct config_node *root = parse("{a: two, b: three, c: {}, d: true, e: yes}");
	struct error error = { "" };
	unsigned word = 9;
	bool flag = false;

	assert_int_equal(config_node_word("f", &root->children[0], words, &word, &error), 0);
	assert_int_equal(word, 1);
	assert_int_equal(config_node_word("f", &root->children[1], words, &word, &error), -EINVAL);
	assert_string_equal(error.text, "f:1: b: 'three' is not known; allowed: one, two");
	assert_int_equal(config_node_word(NULL, &root->children[2], words, &word, &error), -EINVAL);
	assert_string_equal(error.text, "c: is a mapping; allowed: one, two");
	assert_int_equal(config_node_bool("f", &root->children[3], &flag, &error), 0);
	assert_true(flag);
	assert_int_equal(config_node_bool("f", &root->children[4], &flag, &error), -EINVAL);
	assert_string_equal(error.text, "f:1: e: 'yes' is not known; allowed: false, true");
	config_node_free(root);
}

static int read_n(const char *file, const struct config_node *value, void *out, struct error *error)
{
	return config_node_number(file, value, 0, 9, out, error);
}

static void test_mapping_reports_every_error(void **state)
{
	static const struct config_key first[] = { { "a", read_n, true, "the first" }, { NULL } };
	static const struct config_key second[] = { { "b", read_n, false, "more" }, { NULL } };
	static const struct config_key *const tables[] = { first, second };
	struct config_node *root = parse("b: 10\nc: 1\n");
	struct error error = { "" };
	uint64_t n = 77;

	assert_int_equal(config_node_read("f", root, "thing", tables, 2, &n, &error), -EINVAL);
	assert_string_equal(error.text, "f:1: b: 10 is out of range; allowed: 0 to 9\n"
					"f:2: c: unknown key of thing; allowed: a, b\n"
					"f:1: configuration: thing needs the key 'a' (the first)");
	config_node_free(root);
	root = parse("a: 3");
	assert_int_equal(config_node_read("f", root, "thing", tables, 2, &n, &error), 0);
	assert_int_equal(n, 3);
	config_node_free(root);
	root = parse("[a]");
	assert_int_equal(config_node_read("f", root, "thing", tables, 2, &n, NULL), -EINVAL);
	config_node_free(root);
}

static void test_joined_errors_end_at_a_line(void **state)
{
	struct error all = { "" }, one;

	for (unsigned i = 0; i < 100; i++) {
		error_set(&one, EINVAL, "error number %u", i);
		config_error_join(&all, &one);
	}
	assert_true(strlen(all.text) < sizeof(all.text));
	assert_non_null(strstr(all.text, "error number 0\nerror number 1\n"));
	assert_string_equal(strrchr(all.text, '\n'), "\n(and more errors)");
	config_error_join(NULL, &one);
}

static void test_control_characters_do_not_reach_the_terminal(void **state)
{
	static const char *const words[] = { "one", NULL };
	struct config_node *root = parse("a: \"x\\e[2J\\ny\"");
	struct error error = { "" };
	unsigned word;

	assert_int_equal(config_node_word("f", &root->children[0], words, &word, &error), -EINVAL);
	assert_string_equal(error.text, "f:1: a: 'x?[2J?y' is not known; allowed: one");
	config_node_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_keeps_keys_lines_and_parents),
		cmocka_unit_test(test_nothing_is_an_empty_mapping),
		cmocka_unit_test(test_refuses_what_yaml_can_do_and_we_do_not_want),
		cmocka_unit_test(test_bounds_nodes_and_keys),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_text_is_never_cut),
		cmocka_unit_test(test_words_list_what_is_allowed),
		cmocka_unit_test(test_mapping_reports_every_error),
		cmocka_unit_test(test_joined_errors_end_at_a_line),
		cmocka_unit_test(test_control_characters_do_not_reach_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
