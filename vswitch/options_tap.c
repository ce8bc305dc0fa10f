/* What a tap port may say in the configuration: its table of keys, used by port_tap.c through the
 * port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/config_values.h"
#include "vswitch/options.h"

#include <string.h>

/* No pattern ("tap%d"): the name is known before. */
static int read_name(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct port_config *port = out;

	return config_value_interface(file, value, "%", port->options.tap.name, error);
}

static int read_existing(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct port_config *port = out;

	return config_node_bool(file, value, &port->options.tap.existing, error);
}

static int read_fd(const char *file, const struct config_node *value, void *out,
		   struct error *error)
{
	struct tap_options *tap = &((struct port_config *)out)->options.tap;
	uint64_t n;
	int rc = config_node_number(file, value, 0, INT32_MAX, &n, error);

	if (rc != 0)
		return rc;
	for (uint16_t i = 0; i < tap->fd_count; i++)
		if (tap->fds[i] == (int)n)
			return config_error(file, value, error,
					    "is in the list twice; allowed: each once");
	tap->fds[tap->fd_count++] = (int)n;
	return 0;
}

static int read_fds(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	return config_value_each(file, value, "numbers of open files", CONFIG_TAP_QUEUES_MAX,
				 read_fd, out, error);
}

static const struct config_key inner_keys[] = {
	{ .name = "name", .read = read_name, .help = "interface" },
	{ .name = "existing",
	  .read = read_existing,
	  .help = "true: attach to a tap that is there" },
	{ .name = "fd", .read = read_fds, .help = "number of an open file of a tap, or a list" },
	{ 0 },
};

static int read_tap(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	static const struct config_key *const tables[] = { inner_keys };
	struct tap_options *tap = &((struct port_config *)out)->options.tap;
	int rc;

	if (value->kind == CONFIG_SCALAR)
		return read_name(file, value, out, error);
	rc = config_node_read(file, value, "tap", tables, 1, out, error);
	if (rc != 0)
		return rc;
	if ((tap->name[0] != '\0') == (tap->fd_count > 0))
		return config_error(file, value, error,
				    "needs either a name or an fd; allowed: one of the two");
	if (tap->existing && tap->fd_count > 0)
		return config_error(file, value, error,
				    "'existing' goes with a name; a tap given as fd is there");
	return 0;
}

static int read_queues(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct port_config *port = out;

	return config_value_u16(file, value, 1, CONFIG_TAP_QUEUES_MAX, &port->options.tap.queues,
				error);
}

const struct config_key port_tap_keys[] = {
	/* Compared from name to fds; `name` opens the struct. */
	{ .name = "tap",
	  .read = read_tap,
	  .required = true,
	  .help = "NAME, {name: NAME, existing: true} or {fd: N} or {fd: [N, ...]}",
	  .offset = offsetof(struct port_config, options.tap),
	  .size = offsetof(struct tap_options, queues),
	  .unique = "tap" },
	{ .name = "queues",
	  .read = read_queues,
	  .help = "queues, 1 to 64",
	  .offset = offsetof(struct port_config, options.tap.queues),
	  .size = sizeof(uint16_t) },
	{ 0 },
};

void port_tap_defaults(struct port_config *config)
{
	config->options.tap.queues = 1;
}
