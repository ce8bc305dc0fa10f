/* One request to weftd over its API socket (docs/api.md). */
#ifndef WEFT_CLI_REQUEST_H
#define WEFT_CLI_REQUEST_H

#include <jansson.h>

/* Open files to go with a request, in this order. */
#define REQUEST_FDS_MAX 64u /* what weftd has use for */
struct request_fds {
	unsigned count;
	int fds[REQUEST_FDS_MAX];
};

/* Calls `method` with `params` (reference taken) and returns the result as a new reference, or NULL
 * when it failed, which has been said on stderr. `socket` NULL: WEFT_SOCKET, else the default
 * place. `fds` are passed along; NULL: none. */
json_t *request_call(const char *socket, const char *method, json_t *params,
		     const struct request_fds *fds);

#endif
