/* The API server: a Unix stream socket (mode 0660) that speaks JSON, one object a line.
 *
 *   request   {"method": "show", "params": {"what": "ports"}, "id": 1}
 *   answer    {"result": ..., "id": 1}    or    {"error": "text", "id": 1}
 *
 * docs/api.md has the methods; api_methods.c is their table. Control thread. Clients are bounded in
 * number, in the size of a request and in unread answers; a client that breaks a rule is told so
 * and closed. */
#ifndef WEFT_VSWITCH_API_H
#define WEFT_VSWITCH_API_H

#include "base/error.h"
#include "vswitch/config.h"

struct api;
struct event_base;
struct vswitch;

/* Where weftd listens when nobody says: /run/weft/weftd.sock as root, else
 * $XDG_RUNTIME_DIR/weft/weftd.sock, else /tmp/weft-UID/weftd.sock, whose directory is made (0700)
 * and must be ours. The command `weft` finds the same place by itself. 0 or -errno. */
int api_default_path(char path[CONFIG_SOCKET_MAX + 1], struct error *error);

/* Where ports and translators keep what the next weftd of the same boot should find: "state" beside
 * the API socket (its directory is made when that is the default one, `socket` ""). The caller's to
 * free; NULL when there is no such place. */
char *api_state_directory(const char *socket);

/* Where leases are kept, which outlive the machine's run: systemd's $STATE_DIRECTORY, /var/lib/weft
 * as root, else $XDG_STATE_HOME/weft or ~/.local/state/weft; with an API socket of its own path,
 * "state" beside that. Made when it is missing. The caller's to free; NULL when there is none. */
char *api_store_directory(const char *socket);

/* Listens on `path` (its directory is made, 0755, if only the last part is missing); a stale socket
 * is replaced, a live one or a plain file refused. */
int api_create(struct event_base *loop, struct vswitch *vswitch, const char *path, struct api **out,
	       struct error *error);
void api_destroy(struct api *api);

#endif
