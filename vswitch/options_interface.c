/* What an interface port may say in the configuration: its table of keys, used by port_interface.c
 * through the port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/config_values.h"
#include "vswitch/options.h"

#include <string.h>

#define QUEUES_MAX 16u

static const char *const driver_names[] = {
	[INTERFACE_DRIVER_PACKET] = "packet",
	[INTERFACE_DRIVER_XDP] = "xdp",
	NULL,
};

static int read_interface(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct port_config *port = out;

	return config_value_interface(file, value, "", port->options.interface.name, error);
}

static int read_driver(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct port_config *port = out;
	unsigned word;
	int rc = config_node_word(file, value, driver_names, &word, error);

	if (rc == 0)
		port->options.interface.driver = (enum interface_driver)word;
	return rc;
}

static int read_queues(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct port_config *port = out;

	return config_value_u16(file, value, 1, QUEUES_MAX, &port->options.interface.queues, error);
}

static int read_allow(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct port_config *port = out;

	return config_node_bool(file, value, &port->options.interface.allow_default_route, error);
}

#define FIELD(member)                                                                              \
	.offset = offsetof(struct port_config, options.interface.member),                          \
	.size = sizeof(((struct port_config *)0)->options.interface.member)

const struct config_key port_interface_keys[] = {
	{ .name = "interface",
	  .read = read_interface,
	  .required = true,
	  .help = "name of an interface of the host",
	  FIELD(name),
	  .unique = "interface" },
	{ .name = "driver", .read = read_driver, .help = "packet or xdp", FIELD(driver) },
	{ .name = "queues", .read = read_queues, .help = "queues, 1 to 16", FIELD(queues) },
	{ .name = "allow-default-route",
	  .read = read_allow,
	  .help = "true: also if the host's default route leaves by it",
	  FIELD(allow_default_route) },
	{ 0 },
};

#undef FIELD

void port_interface_defaults(struct port_config *config)
{
	config->options.interface.queues = 1;
}
