/* What an interface port may say in the configuration: its table of keys, used by port_interface.c
 * through the port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/options.h"

#include <string.h>

#define QUEUES_MAX 16u

static const char *const driver_names[] = {
	[INTERFACE_DRIVER_PACKET] = "packet",
	NULL,
};

/* As the kernel sees it (dev_valid_name). */
static int read_interface(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct interface_options *interface = &((struct port_config *)out)->options.interface;
	const char *name = value->kind == CONFIG_SCALAR ? value->scalar : "";
	size_t length = strlen(name);
	bool good = length > 0 && length < sizeof(interface->name) && strcmp(name, ".") != 0 &&
		    strcmp(name, "..") != 0;

	for (size_t i = 0; i < length; i++)
		good = good && name[i] > ' ' && name[i] < 0x7f && !strchr("/:", name[i]);
	if (!good)
		return config_error(file, value, error,
				    "not the name of an interface; allowed: 1 to %zu characters "
				    "without space, '/' and ':'",
				    sizeof(interface->name) - 1);
	memcpy(interface->name, name, length + 1);
	return 0;
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
	uint64_t n;
	int rc = config_node_number(file, value, 1, QUEUES_MAX, &n, error);

	if (rc == 0)
		port->options.interface.queues = (uint16_t)n;
	return rc;
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
	{ .name = "driver", .read = read_driver, .help = "packet", FIELD(driver) },
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
