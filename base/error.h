/* An error on its way to a person: what went wrong, where, and what would be allowed.
 *
 * Any thread; the caller owns the struct. Functions that take a `struct error *` accept NULL when
 * the caller does not want the words. The text is set once, where the failure is understood, and
 * only prefixed (error_prefix) on its way up. */
#ifndef WEFT_BASE_ERROR_H
#define WEFT_BASE_ERROR_H

#include <stddef.h>

#define ERROR_TEXT_MAX 1024

struct error {
	char text[ERROR_TEXT_MAX];
};

/* Sets the text and returns -code, so that `return error_set(e, EINVAL, "...")` reads well.
 * code is a positive errno value. Too long a text is cut. */
int error_set(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "FORMAT..." before the text that is there. */
void error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
