/* What a user port may say in the configuration: its table of keys, used by port_user.c through the
 * port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/options.h"
#include "vswitch/port_user.h"

#include <string.h>

/* `user: true`, `user: {}`, or nothing behind it. */
static int read_user(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	if (config_node_is_empty(value) ||
	    (value->kind == CONFIG_SCALAR && strcmp(value->scalar, "true") == 0))
		return 0;
	return config_error(file, value, error,
			    "its options stand beside it, not in it; allowed: true");
}

static int read_prefix(const char *file, const struct config_node *value, struct ip_prefix *prefix,
		       struct error *error)
{
	char text[IP_PREFIX_TEXT_LENGTH];
	struct ip_prefix given;
	int rc = config_node_text(file, value, text, sizeof(text), error);

	if (rc != 0)
		return rc;
	if (ip_prefix_from_text(text, &given) != 0)
		return config_error(file, value, error,
				    "'%s' is no prefix; allowed: ADDRESS/LENGTH", text);
	/* By its members: two configurations are compared byte by byte. */
	prefix->ip = ip_prefix_network(&given).ip;
	prefix->length = given.length;
	if (!ip_is_host(&prefix->ip) || ip_is_link_local(&prefix->ip))
		return config_error(file, value, error,
				    "'%s' is no network of hosts; allowed: one of unicast "
				    "addresses, not link-local",
				    text);
	return 0;
}

/* Hosts 2, 3 and 15 of it have addresses of their own. */
static int read_subnet(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct ip_prefix *subnet = &((struct port_config *)out)->options.user.subnet;
	int rc = read_prefix(file, value, subnet, error);

	if (rc == 0 && (!ip_is_v4(&subnet->ip) || subnet->length < IP_V4_LENGTH + 8 ||
			subnet->length > IP_V4_LENGTH + 27))
		rc = config_error(file, value, error,
				  "not an IPv4 network of the right size; allowed: A.B.C.D/8 to "
				  "A.B.C.D/27");
	return rc;
}

static int read_subnet6(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	struct ip_prefix *subnet = &((struct port_config *)out)->options.user.subnet6;
	int rc = read_prefix(file, value, subnet, error);

	if (rc == 0 && (ip_is_v4(&subnet->ip) || subnet->length != 64))
		rc = config_error(file, value, error,
				  "not an IPv6 network of the right size; allowed: ADDRESS/64");
	return rc;
}

static int read_host_loopback(const char *file, const struct config_node *value, void *out,
			      struct error *error)
{
	struct port_config *port = out;

	return config_node_bool(file, value, &port->options.user.host_loopback, error);
}

#define FIELD(member)                                                                              \
	.offset = offsetof(struct port_config, options.user.member),                               \
	.size = sizeof(((struct port_config *)0)->options.user.member)

const struct config_key port_user_keys[] = {
	{ .name = "user", .read = read_user, .required = true, .help = "true" },
	{ .name = "subnet",
	  .read = read_subnet,
	  .help = "its IPv4 network, 10.0.2.0/24 if not given",
	  FIELD(subnet) },
	{ .name = "subnet6",
	  .read = read_subnet6,
	  .help = "its IPv6 network, fd00:10:0:2::/64 if not given",
	  FIELD(subnet6) },
	{ .name = "host-loopback",
	  .read = read_host_loopback,
	  .help = "true: its gateway's address reaches what listens on the host's loopback",
	  FIELD(host_loopback) },
	{ 0 },
};

#undef FIELD

void port_user_defaults(struct port_config *config)
{
	static const uint8_t prefix6[16] = { 0xfd, 0, 0, 0x10, 0, 0, 0, 2 };
	struct user_options *user = &config->options.user;

	user->subnet.ip = ip_from_v4(0x0a000200);
	user->subnet.length = IP_V4_LENGTH + 24;
	user->subnet6.ip = ip_from_v6_bytes(prefix6);
	user->subnet6.length = 64;
	user->mtu = PORT_USER_MTU;
}
