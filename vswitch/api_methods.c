/* The methods of the API, one row each (api.h, docs/api.md): reads a request's parameters, has the
 * switch carry it out, and makes the answer. Called by api.c. Control thread. */
#include "vswitch/api_internal.h"
#include "vswitch/port.h"
#include "vswitch/qemu_args.h"
#include "vswitch/show.h"
#include "vswitch/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QEMU_PORTS_MAX 32u
#define QEMU_MEMORY    "512M"

struct method {
	const char *name;
	/* Returns a new reference, or NULL with *error set. */
	json_t *(*call)(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			struct error *error);
};

/* Reads all parameters by a format of jansson's; what is not in it is refused. */
#define READ_PARAMS(params, error, ...)                                                            \
	read_result(json_unpack_ex(params, &why, JSON_STRICT, __VA_ARGS__), &why, error)

static bool read_result(int rc, const json_error_t *why, struct error *error)
{
	if (rc == 0)
		return true;
	error_set(error, EINVAL, "wrong parameters: %s", why->text);
	return false;
}

static json_t *call_version(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			    struct error *error)
{
	json_error_t why;

	if (!READ_PARAMS(params, error, "{}"))
		return NULL;
	return json_pack("{s:s, s:s}", "name", "weftd", "version", WEFT_VERSION);
}

struct list {
	const char *name;
	json_t *(*show)(const struct vswitch *vswitch);
	const char *key; /* of a row, which a request's `name` selects; NULL: nothing does */
	enum { LIST_NETWORKS, LIST_PORTS } by; /* what bears that name */
};

static const struct list lists[] = {
	{ "networks", show_networks, "name", LIST_NETWORKS },
	{ "ports", show_ports, "name", LIST_PORTS },
	{ "macs", show_macs, "network", LIST_NETWORKS },
	{ "drops", show_drops, "port", LIST_PORTS },
	{ "drop-reasons", show_drop_reasons, NULL, 0 },
	{ "workers", show_workers, NULL, 0 },
};

/* The rows of the list that are about one network or port; NULL and *error when there is none. */
static json_t *show_some(const struct vswitch *vswitch, const struct list *list, const char *name,
			 struct error *error)
{
	bool there = list->by == LIST_NETWORKS ? vswitch_find_network(vswitch, name) != NULL
					       : vswitch_find_port(vswitch, name) != NULL;
	json_t *rows, *row, *some;
	size_t i;

	if (!there) {
		error_set(error, ENOENT, "there is no %s '%.80s'",
			  list->by == LIST_NETWORKS ? "network" : "port", name);
		return NULL;
	}
	rows = list->show(vswitch);
	some = json_array();
	json_array_foreach(rows, i, row) {
		const char *text = json_string_value(json_object_get(row, list->key));

		if (text != NULL && strcmp(text, name) == 0)
			json_array_append(some, row);
	}
	json_decref(rows);
	return some;
}

static json_t *call_show(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			 struct error *error)
{
	const char *what = json_string_value(json_object_get(params, "what")), *name = NULL;
	json_error_t why;

	if (what != NULL && api_gateway_has(what))
		return api_gateway_show(vswitch, what, params, error);
	if (!READ_PARAMS(params, error, "{s:s, s?s}", "what", &what, "name", &name))
		return NULL;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (strcmp(lists[i].name, what) != 0)
			continue;
		if (name == NULL)
			return lists[i].show(vswitch);
		if (lists[i].key != NULL)
			return show_some(vswitch, &lists[i], name, error);
		error_set(error, EINVAL, "%s have no names to choose one by", what);
		return NULL;
	}
	error_set(error, EINVAL,
		  "'%.80s' cannot be shown; allowed: networks, ports, macs, drops, drop-reasons, "
		  "workers, neighbours, routes, sessions, leases",
		  what);
	return NULL;
}

/* A descriptor's number in a text of somebody else's names one of weftd's own files: only the file
 * weftd started with may have it, and what runs already may stay. */
static int check_number(const struct vswitch *vswitch, const char *file,
			const struct port_config *port, struct error *error)
{
	const struct port *running;

	if (strcmp(port->type->name, "tap") != 0 || port->options.tap.fd_count == 0)
		return 0;
	running = vswitch_find_port(vswitch, port->name);
	if (running != NULL && running->type == port->type &&
	    memcmp(&running->config.options.tap, &port->options.tap, sizeof(port->options.tap)) ==
		0)
		return 0;
	error_set(
	    error, EINVAL,
	    "the number of a descriptor counts only in the file weftd starts with; allowed: to "
	    "pass the descriptor (weft port add --tap-fd N)");
	config_error_place(file, port, error);
	return -EINVAL;
}

/* The configuration that came as text (the caller clears it, on error too), and what it would
 * change. */
static json_t *read_wanted(struct vswitch *vswitch, json_t *params, const char **file,
			   struct config *wanted, struct error *error)
{
	const char *text;
	json_error_t why;
	size_t length;

	config_init(wanted);
	if (!READ_PARAMS(params, error, "{s:s, s:s%}", "file", file, "text", &text, &length))
		return NULL;
	if (config_parse(*file, text, length, wanted, error) < 0)
		return NULL;
	for (uint32_t i = 0; i < wanted->port_count; i++)
		if (check_number(vswitch, *file, &wanted->ports[i], error) < 0)
			return NULL;
	return vswitch_diff(vswitch, wanted);
}

static json_t *call_diff(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			 struct error *error)
{
	struct config wanted;
	const char *file;
	json_t *changes = read_wanted(vswitch, params, &file, &wanted, error);

	config_clear(&wanted);
	return changes;
}

static json_t *call_apply(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			  struct error *error)
{
	struct config wanted;
	const char *file;
	json_t *changes = read_wanted(vswitch, params, &file, &wanted, error);

	if (changes != NULL && vswitch_apply(vswitch, file, &wanted, error) < 0) {
		json_decref(changes);
		changes = NULL;
	}
	config_clear(&wanted);
	return changes;
}

static void close_fds(const struct tap_options *tap)
{
	for (uint16_t i = 0; i < tap->fd_count; i++)
		close(tap->fds[i]);
}

/* Gives the port copies of what was passed, so that it can be opened again from its configuration;
 * what was passed is closed with the request. */
static int keep_fds(const struct api_fds *passed, struct port_config *port, struct error *error)
{
	struct tap_options *tap = &port->options.tap;

	if (strcmp(port->type->name, "tap") != 0)
		return error_set(error, EINVAL,
				 "port %s: a file descriptor came with a %s port; allowed: with "
				 "a tap",
				 port->name, port->type->name);
	if (passed->lost)
		return error_set(error, EINVAL,
				 "port %s: more file descriptors came than could be taken; "
				 "allowed: 1 to %u",
				 port->name, CONFIG_TAP_QUEUES_MAX);
	/* They say which tap it is; the name was to select the type. */
	memset(tap->name, 0, sizeof(tap->name));
	tap->passed = true;
	for (uint32_t i = 0; i < passed->count; i++) {
		int fd = fcntl(passed->fds[i], F_DUPFD_CLOEXEC, 3), code = errno;

		if (fd < 0) {
			close_fds(tap);
			return error_set(error, code, "port %s: %s", port->name, strerror(code));
		}
		tap->fds[tap->fd_count++] = fd;
	}
	return 0;
}

static json_t *call_port_add(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			     struct error *error)
{
	const char *name, *text;
	struct port_config port;
	json_error_t why;

	if (!READ_PARAMS(params, error, "{s:s, s:s}", "name", &name, "config", &text))
		return NULL;
	if (config_parse_port(name, text, &port, error) < 0 ||
	    check_number(vswitch, NULL, &port, error) < 0)
		return NULL;
	if ((passed->count > 0 || passed->lost) && keep_fds(passed, &port, error) < 0)
		return NULL;
	if (vswitch_port_add(vswitch, &port, error) == 0)
		return json_object();
	if (passed->count > 0)
		close_fds(&port.options.tap);
	return NULL;
}

/* Methods with the one parameter "name". */
static json_t *call_by_name(struct vswitch *vswitch, json_t *params,
			    int (*change)(struct vswitch *vswitch, const char *name,
					  struct error *error),
			    struct error *error)
{
	const char *name;
	json_error_t why;

	if (!READ_PARAMS(params, error, "{s:s}", "name", &name))
		return NULL;
	return change(vswitch, name, error) < 0 ? NULL : json_object();
}

static json_t *call_port_del(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			     struct error *error)
{
	return call_by_name(vswitch, params, vswitch_port_del, error);
}

static json_t *call_network_del(struct vswitch *vswitch, json_t *params,
				const struct api_fds *passed, struct error *error)
{
	return call_by_name(vswitch, params, vswitch_network_del, error);
}

static json_t *call_network_add(struct vswitch *vswitch, json_t *params,
				const struct api_fds *passed, struct error *error)
{
	const char *name, *text;
	struct network_config network;
	struct port_config uplink;
	bool has_uplink, good;
	json_error_t why;

	if (!READ_PARAMS(params, error, "{s:s, s:s}", "name", &name, "config", &text))
		return NULL;
	if (config_parse_network(name, text, &network, &uplink, &has_uplink, error) < 0)
		return NULL;
	good = (!has_uplink || check_number(vswitch, NULL, &uplink, error) == 0) &&
	       vswitch_network_add(vswitch, &network, has_uplink ? &uplink : NULL, error) == 0;
	network_config_clear(&network);
	return good ? json_object() : NULL;
}

static json_t *call_qemu_args(struct vswitch *vswitch, json_t *params, const struct api_fds *passed,
			      struct error *error)
{
	const struct port_config *ports[QEMU_PORTS_MAX];
	const char *memory = QEMU_MEMORY;
	json_t *names, *name;
	json_error_t why;
	size_t i;

	if (!READ_PARAMS(params, error, "{s:o, s?s}", "ports", &names, "memory", &memory))
		return NULL;
	if (json_array_size(names) == 0 || json_array_size(names) > QEMU_PORTS_MAX) {
		error_set(error, EINVAL, "'ports' must be a list of 1 to %u names", QEMU_PORTS_MAX);
		return NULL;
	}
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);
		const struct port *port = text == NULL ? NULL : vswitch_find_port(vswitch, text);

		if (port == NULL) {
			error_set(error, ENOENT, "there is no port '%.80s'",
				  text == NULL ? "" : text);
			return NULL;
		}
		ports[i] = &port->config;
	}
	return qemu_args(ports, (uint32_t)i, memory, error);
}

static const struct method methods[] = {
	{ "version", call_version },
	{ "show", call_show },
	{ "apply", call_apply },
	{ "diff", call_diff },
	{ "port_add", call_port_add },
	{ "port_del", call_port_del },
	{ "network_add", call_network_add },
	{ "network_del", call_network_del },
	{ "forward_add", api_forward_add },
	{ "forward_del", api_forward_del },
	{ "lease_release", api_lease_release },
	{ "sessions_flush", api_sessions_flush },
	{ "qemu_args", call_qemu_args },
};

static json_t *with_id(json_t *answer, json_t *id)
{
	if (answer != NULL && id != NULL)
		json_object_set(answer, "id", id);
	return answer;
}

json_t *api_methods_error(const char *text, json_t *id)
{
	char plain[ERROR_TEXT_MAX];
	json_t *words = json_string(text);

	if (words == NULL) {
		/* A text that repeats what was asked may have been cut within a character. */
		snprintf(plain, sizeof(plain), "%s", text);
		for (char *p = plain; *p != '\0'; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		words = json_string(plain);
	}
	return with_id(json_pack("{s:o}", "error", words), id);
}

json_t *api_methods_call(struct vswitch *vswitch, json_t *request, const struct api_fds *passed)
{
	json_t *id = NULL, *params = NULL, *result, *empty;
	struct error error = { "out of memory" };
	const char *name;
	json_error_t why;

	if (json_unpack_ex(request, &why, JSON_STRICT, "{s:s, s?o, s?o}", "method", &name, "params",
			   &params, "id", &id) < 0) {
		error_set(&error, EINVAL, "not a request: %s", why.text);
		return api_methods_error(error.text, json_object_get(request, "id"));
	}
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, name) != 0)
			continue;
		empty = params == NULL ? json_object() : NULL;
		result = methods[i].call(vswitch, params != NULL ? params : empty, passed, &error);
		json_decref(empty);
		if (result == NULL)
			return api_methods_error(error.text, id);
		return with_id(json_pack("{s:o}", "result", result), id);
	}
	error_set(&error, EINVAL, "there is no method '%.80s'; docs/api.md has the list", name);
	return api_methods_error(error.text, id);
}
