/* Turns settings into YAML (settings.h): every value as a quoted text, so that nothing in it can be
 * taken for anything else; lists and mappings as they were written. What the keys are, weftd
 * knows. */
#include "cli/settings.h"

#include "cli/command.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keys whose values are lists: "10,20" is short for "[10,20]". */
static const char *const list_keys[] = { "vlans", "ipv4", "ipv6", "peers", NULL };

/* Keys whose values are never lists, though they may begin like one: "[fd00::1]:22". */
static const char *const text_keys[] = { "listen", "to", NULL };

/* Keys that may stand alone ("--isolated"), and what they mean then. */
static const struct {
	const char *key, *value;
} flags[] = { { "isolated", "true" }, { "transparent", "true" }, { "null", "{}" } };

/* One setting of one or two arguments; the texts are the arguments' own. */
struct setting {
	const char *key;
	size_t key_length;
	const char *value;
};

/* What the option means without a value of its own; NULL: it needs one. */
static const char *flag_value(int argc, char **argv)
{
	bool alone = argc < 2 || strncmp(argv[1], "--", 2) == 0 ||
		     (argv[1][0] != '{' && strchr(argv[1], '=') != NULL);

	for (size_t i = 0; alone && i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(argv[0] + 2, flags[i].key) == 0)
			return flags[i].value;
	return NULL;
}

/* How many arguments the setting at argv took, 0 when it is none. */
static int take_setting(int argc, char **argv, struct setting *setting)
{
	bool option = strncmp(argv[0], "--", 2) == 0;
	const char *text = argv[0] + (option ? 2 : 0);
	const char *equals = strchr(text, '=');

	setting->key = text;
	setting->key_length = equals != NULL ? (size_t)(equals - text) : strlen(text);
	if (setting->key_length == 0 || text[0] == '-' || (!option && equals == NULL)) {
		command_fail(STATUS_USAGE, "'%s' is no setting; allowed: --KEY VALUE or KEY=VALUE",
			     argv[0]);
		return 0;
	}
	if (equals != NULL) {
		setting->value = equals + 1;
		return 1;
	}
	setting->value = flag_value(argc, argv);
	if (setting->value != NULL)
		return 1;
	if (argc < 2) {
		command_fail(STATUS_USAGE, "%s needs a value", argv[0]);
		return 0;
	}
	setting->value = argv[1];
	return 2;
}

/* A JSON string is a YAML text too. False when it is not UTF-8. */
static bool print_quoted(FILE *out, const char *text, size_t length)
{
	json_t *string = json_stringn(text, length);
	bool good = string != NULL && json_dumpf(string, out, JSON_ENCODE_ANY) == 0;

	json_decref(string);
	if (!good)
		command_fail(STATUS_USAGE, "'%s' is not UTF-8 text", text);
	return good;
}

static bool is_among(const char *const *keys, const struct setting *setting)
{
	for (unsigned i = 0; keys[i] != NULL; i++)
		if (strlen(keys[i]) == setting->key_length &&
		    strncmp(keys[i], setting->key, setting->key_length) == 0)
			return true;
	return false;
}

static bool print_setting(FILE *out, const struct setting *setting)
{
	const char *value = setting->value;

	if (!print_quoted(out, setting->key, setting->key_length))
		return false;
	fputs(": ", out);
	if ((value[0] == '[' || value[0] == '{') && !is_among(text_keys, setting)) {
		fputs(value, out);
		return true;
	}
	if (!is_among(list_keys, setting))
		return print_quoted(out, value, strlen(value));
	for (const char *p = value;; p++) {
		size_t length = strcspn(p, ",");

		fputs(p == value ? "[" : ", ", out);
		if (!print_quoted(out, p, length))
			return false;
		p += length;
		if (*p == '\0')
			break;
	}
	fputs("]", out);
	return true;
}

static bool add_fd(const char *key, const char *text, struct request_fds *fds)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 0 || n > INT_MAX) {
		command_fail(STATUS_USAGE, "--%s: '%s' is no file descriptor's number", key, text);
		return false;
	}
	for (unsigned i = 0; i < fds->count; i++) {
		if (fds->fds[i] == (int)n) {
			command_fail(STATUS_USAGE, "--%s: %s is there twice", key, text);
			return false;
		}
	}
	if (fds->count == REQUEST_FDS_MAX) {
		command_fail(STATUS_USAGE, "too many --%s; allowed: at most %u", key,
			     REQUEST_FDS_MAX);
		return false;
	}
	fds->fds[fds->count++] = (int)n;
	return true;
}

char *settings_to_yaml(int argc, char **argv, const char *fd_key, struct request_fds *fds)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool good = out != NULL, first = true;

	fds->count = 0;
	if (out == NULL)
		command_fail(STATUS_FAILED, "out of memory");
	else
		fputs("{", out);
	for (int i = 0, taken; good && i < argc; i += taken) {
		struct setting setting;

		taken = take_setting(argc - i, argv + i, &setting);
		good = taken > 0;
		if (good && fd_key != NULL && setting.key_length == strlen(fd_key) &&
		    strncmp(setting.key, fd_key, setting.key_length) == 0) {
			good = add_fd(fd_key, setting.value, fds);
			if (fds->count > 1)
				continue;
			/* The key that selects the type; weftd asks the descriptor for the name. */
			setting = (struct setting){ "tap", 3, "given" };
		}
		if (good) {
			fputs(first ? "" : ", ", out);
			good = print_setting(out, &setting);
			first = false;
		}
	}
	if (out != NULL) {
		fputs("}", out);
		if (fclose(out) != 0)
			good = false;
	}
	if (!good) {
		free(text);
		text = NULL;
	}
	return text;
}
