/* What a vhost-user port may say in the configuration: its table of keys, used by port_vhost_user.c
 * through the port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/config_values.h"
#include "vswitch/options.h"

#include <string.h>

#define MTU_MIN 68u /* RFC 791: what every IPv4 link carries */
#define MTU_MAX 65535u

static int read_path(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct port_config *port = out;

	return config_node_text(file, value, port->options.vhost_user.path,
				sizeof(port->options.vhost_user.path), error);
}

static int read_role(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const char *const words[] = {
		[VHOST_ROLE_SERVER] = "server",
		[VHOST_ROLE_CLIENT] = "client",
		NULL,
	};
	struct port_config *port = out;
	unsigned word;
	int rc = config_node_word(file, value, words, &word, error);

	if (rc == 0)
		port->options.vhost_user.role = (enum vhost_role)word;
	return rc;
}

static int read_queues(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct port_config *port = out;

	return config_value_u16(file, value, 1, VHOST_QUEUE_PAIRS_MAX,
				&port->options.vhost_user.queues, error);
}

static int read_mtu(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct port_config *port = out;

	return config_value_u16(file, value, MTU_MIN, MTU_MAX, &port->options.vhost_user.mtu,
				error);
}

/* Of a client's socket the frontend decides. */
static int check_server(const char *file, const struct config_node *value, struct error *error)
{
	const struct config_node *role = config_node_get(value->parent, "role");

	if (role == NULL || role->kind != CONFIG_SCALAR || strcmp(role->scalar, "client") != 0)
		return 0;
	return config_error(file, value, error,
			    "a client makes no socket; allowed: with role: server");
}

/* As chmod(1) has it: octal, of the nine permissions. */
static int read_mode(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct port_config *port = out;
	const char *text = value->kind == CONFIG_SCALAR ? value->scalar : "";
	size_t digits = strspn(text, "01234567");
	unsigned mode = 0;

	for (size_t i = 0; i < digits && mode <= 0777; i++)
		mode = mode * 8 + (unsigned)(text[i] - '0');
	if (digits == 0 || text[digits] != '\0' || mode == 0 || mode > 0777)
		return config_error(file, value, error,
				    "'%.80s' is no mode of a file; allowed: octal, 1 to 777, such "
				    "as 660",
				    text);
	port->options.vhost_user.mode = (uint16_t)mode;
	return check_server(file, value, error);
}

static int read_group(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct port_config *port = out;
	int rc = config_node_text(file, value, port->options.vhost_user.group,
				  sizeof(port->options.vhost_user.group), error);

	return rc < 0 ? rc : check_server(file, value, error);
}

#define FIELD(member)                                                                              \
	.offset = offsetof(struct port_config, options.vhost_user.member),                         \
	.size = sizeof(((struct port_config *)0)->options.vhost_user.member)

const struct config_key port_vhost_user_keys[] = {
	{ "vhost-user", read_path, true, "path of the Unix socket", FIELD(path),
	  .unique = "socket" },
	{ "role", read_role, false, "server (weftd listens) or client (it connects)", FIELD(role) },
	{ "mode", read_mode, false, "permissions of a server's socket, such as 660", FIELD(mode) },
	{ "group", read_group, false, "group of a server's socket", FIELD(group) },
	{ "queues", read_queues, false, "queue pairs, 1 to 64", FIELD(queues) },
	{ "mtu", read_mtu, false, "MTU given to the guest, 68 to 65535", FIELD(mtu) },
	{ NULL },
};

void port_vhost_user_defaults(struct port_config *config)
{
	config->options.vhost_user.role = VHOST_ROLE_SERVER;
	config->options.vhost_user.queues = 1;
}
