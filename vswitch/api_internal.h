/* Shared by the files of the API server (api*.c) and nobody else. Control thread. */
#ifndef WEFT_VSWITCH_API_INTERNAL_H
#define WEFT_VSWITCH_API_INTERNAL_H

#include "vswitch/api.h"
#include "vswitch/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Listens on a Unix socket, mode 0660, non-blocking, and puts its fd in *out. A stale socket is
 * replaced; a live one (-EADDRINUSE) or a file (-EEXIST) is refused. 0 or -errno. */
int api_path_listen(const char *path, int *out, struct error *error);

/* File descriptors that came with a request, in their order. */
struct api_fds {
	uint32_t count;
	bool lost; /* more came than are here */
	int fds[CONFIG_TAP_QUEUES_MAX];
};

/* Carries out one request and returns the whole answer as a new reference (NULL: no memory).
 * The descriptors stay the caller's. */
json_t *api_methods_call(struct vswitch *vswitch, json_t *request, const struct api_fds *passed);

/* Of api_gateway.c: methods as in the table of api_methods.c, and the lists that take filters. */
bool api_gateway_has(const char *what);
json_t *api_gateway_show(const struct vswitch *vswitch, const char *what, json_t *params,
			 struct error *error);
json_t *api_forward_add(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			struct error *error);
json_t *api_forward_del(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			struct error *error);
json_t *api_lease_release(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			  struct error *error);
json_t *api_sessions_flush(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			   struct error *error);

/* The answer to what is no request at all; `id` is borrowed and may be NULL. */
json_t *api_methods_error(const char *text, json_t *id);

#endif
