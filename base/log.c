/* Log lines (log.h): formatted into one buffer and written by one write(2), so lines of several
 * processes on one terminal do not mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

/* Written at start-up by main, read by all; relaxed: no other data hangs on it. */
static _Atomic int current_level = LOG_LEVEL_INFO;

static void line_escape(char *text, size_t length);

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

int log_level_from_name(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[2048];
	va_list args;
	int prefix, body;
	size_t length;

	if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed))
		return;
	if (getenv("JOURNAL_STREAM") != NULL)
		prefix = snprintf(line, sizeof(line), "<%d>", levels[level].priority);
	else
		prefix = snprintf(line, sizeof(line), "weftd: %s: ", levels[level].name);
	va_start(args, format);
	body = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	length = strlen(line);
	line_escape(line + prefix, length - (size_t)prefix);
	line[length++] = '\n';
	/* Nobody is left to tell when standard error cannot be written. */
	if (write(STDERR_FILENO, line, length) < 0)
		return;
}

/* Control characters become '?': those of ASCII, and the second set from 0x80 to 0x9f, which a
 * terminal obeys as the byte itself or in its UTF-8 form (0xc2 before it). Other UTF-8 stays. */
static void line_escape(char *text, size_t length)
{
	unsigned char before = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f ||
		    (c >= 0x80 && c < 0xa0 && (before < 0x80 || before == 0xc2)))
			text[i] = '?';
		before = c;
	}
}
