/* Attacks are repeated, and leave file descriptors, mappings and memory where they were. For cmocka
 * tests; WEFT_REPEAT in the environment sets the number of repeats (100,000 for the nightly run).
 */
#ifndef WEFT_TESTS_LIB_REPEAT_H
#define WEFT_TESTS_LIB_REPEAT_H

#include "tests/lib/device_harness.h"

#include <stdlib.h>

#define REPEAT_DEFAULT 2000u
#define REPEAT_WARM_UP 64u
#define REPEAT_SLACK   65536u /* bytes of heap; one leaked byte a repeat would be more at 100,000 */

struct repeat {
	uint32_t done, total;
	struct footprint before;
};

static inline struct repeat repeat_begin(void)
{
	const char *text = getenv("WEFT_REPEAT");
	struct repeat repeat = { .total = text != NULL ? (uint32_t)atoi(text) : REPEAT_DEFAULT };

	repeat.total += REPEAT_WARM_UP;
	return repeat;
}

/* True while there is a repeat to do; at the end, checks what must be flat. */
static inline bool repeat_next(struct repeat *repeat)
{
	struct footprint after;

	if (repeat->done == REPEAT_WARM_UP)
		repeat->before = footprint_take();
	if (repeat->done++ < repeat->total)
		return true;
	after = footprint_take_settled(repeat->before.fds);
	assert_true(after.fds <= repeat->before.fds);
	assert_true(after.mappings <= repeat->before.mappings);
	assert_true(after.heap <= repeat->before.heap + REPEAT_SLACK);
	return false;
}

#endif
