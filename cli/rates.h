/* What happened between two answers of the API, a second. */
#ifndef WEFT_CLI_RATES_H
#define WEFT_CLI_RATES_H

#include <jansson.h>

/* The answers to `show workers` and `show ports` at about one moment. */
struct sample {
	json_t *workers;
	json_t *ports;
};

/* {seconds, workers, ports}: a new reference, never NULL. What is in `now` only counts from 0. The
 * time between the two is weftd's own: the difference of `clock` of its workers. */
json_t *rates_between(const struct sample *before, const struct sample *now);

#endif
