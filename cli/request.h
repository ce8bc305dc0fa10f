/* One request to weftd over its API socket (docs/api.md). */
#ifndef WEFT_CLI_REQUEST_H
#define WEFT_CLI_REQUEST_H

#include <jansson.h>

/* Calls `method` with `params` (reference taken) and returns the result as a new reference, or NULL
 * when it failed, which has been said on stderr. `socket` NULL: WEFT_SOCKET, else the default
 * place. `fd` is passed along; -1: none. */
json_t *request_call(const char *socket, const char *method, json_t *params, int fd);

#endif
