/* Error texts (error.h). Any thread: works on the caller's struct alone. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *format, ...)
{
	if (e != NULL) {
		va_list args;

		va_start(args, format);
		vsnprintf(e->text, sizeof(e->text), format, args);
		va_end(args);
	}
	return -code;
}

void error_prefix(struct error *e, const char *format, ...)
{
	char rest[ERROR_TEXT_MAX];
	va_list args;
	int used;

	if (e == NULL)
		return;
	memcpy(rest, e->text, sizeof(rest));
	va_start(args, format);
	used = vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < sizeof(e->text))
		snprintf(e->text + used, sizeof(e->text) - (size_t)used, "%s", rest);
}
