/* The rows of the drop table as data (drop.h). */
#include "base/drop.h"

const struct drop_info drop_table[DROP_COUNT] = {
#define DROP(symbol, name, direction, error, text)                                                 \
	[DROP_##symbol] = { name, text, DROP_##direction, error },
	DROP_TABLE(DROP)
#undef DROP
};
