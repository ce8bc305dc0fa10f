/* Reads a network, and the uplink that may come with it, from its YAML mapping (config.h). Control
 * thread, weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"
#include "vswitch/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAC_LIMIT_MAX (1u << 20)
#define MAC_AGE_MAX   1000000u

const struct mode_row config_modes[CONFIG_MODE_COUNT] = {
	[CONFIG_MODE_BRIDGE] = { .name = "bridge",
				 .may_have_uplink = true,
				 .uplink_in_segment = true,
				 .gateway = GATEWAY_NEVER },
	[CONFIG_MODE_NAT] = { .name = "nat",
			      .may_have_uplink = true,
			      .gateway = GATEWAY_ALWAYS,
			      .routes = true,
			      .translates = true },
	[CONFIG_MODE_ROUTED] = { .name = "routed",
				 .may_have_uplink = true,
				 .gateway = GATEWAY_ALWAYS,
				 .routes = true,
				 .peers = true },
	[CONFIG_MODE_ISOLATED] = { .name = "isolated", .gateway = GATEWAY_IF_ADDRESSED },
};

const char *config_mode_name(enum config_mode mode)
{
	return config_modes[mode].name;
}

static int read_mode(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	const char *names[CONFIG_MODE_COUNT + 1] = { NULL };
	struct network_draft *draft = out;
	unsigned word;
	int rc;

	for (unsigned i = 0; i < CONFIG_MODE_COUNT; i++)
		names[i] = config_modes[i].name;
	rc = config_node_word(file, value, names, &word, error);
	if (rc < 0)
		return rc;
	draft->network.mode = (enum config_mode)word;
	draft->mode = &config_modes[word];
	return 0;
}

static int read_transparent(const char *file, const struct config_node *value, void *out,
			    struct error *error)
{
	struct network_draft *draft = out;

	return config_node_bool(file, value, &draft->network.transparent, error);
}

static int read_uplink(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;
	int rc;

	if (config_value_is(value, "none"))
		return 0;
	if (value->kind != CONFIG_MAPPING)
		return config_error(file, value, error,
				    "is no uplink; allowed: none, or the mapping of a port such as "
				    "{tap: NAME}");
	if (draft->mode == NULL) /* wrong or missing, which is said elsewhere */
		return 0;
	if (draft->mode->may_have_uplink && !draft->mode->uplink_in_segment)
		return config_read_gateway_uplink(file, value, draft, error);
	rc = config_read_uplink(file, value, &draft->network, config_port_keys, &draft->uplink,
				error);
	draft->has_uplink = rc == 0;
	return rc;
}

static int read_mac_limit(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u32(file, value, 1, MAC_LIMIT_MAX, &draft->network.mac_limit, error);
}

static int read_mac_quota(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;

	draft->quota_given = true;
	return config_value_u32(file, value, 1, MAC_LIMIT_MAX, &draft->network.mac_quota, error);
}

static int read_mac_age(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u32(file, value, 1, MAC_AGE_MAX, &draft->network.mac_age, error);
}

static int read_macs(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const struct config_key keys[] = {
		{ "limit", read_mac_limit, false, "addresses in all" },
		{ "quota", read_mac_quota, false, "addresses of one port" },
		{ "age", read_mac_age, false, "seconds until a silent one is forgotten" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct network_draft *draft = out;
	int rc = config_node_read(file, value, "'macs'", tables, 1, draft, error);

	if (rc < 0)
		return rc;
	if (draft->network.mac_quota > draft->network.mac_limit) {
		if (draft->quota_given)
			return config_error(file, value, error,
					    "the quota of one port, %u, is more than the limit of "
					    "all; allowed: 1 to %u",
					    draft->network.mac_quota, draft->network.mac_limit);
		draft->network.mac_quota = draft->network.mac_limit;
	}
	return 0;
}

static const struct config_key network_keys[] = {
	{ "mode", read_mode, true, "bridge, nat, routed or isolated" },
	{ "transparent", read_transparent, false, "true: pass link-local control frames" },
	{ "uplink", read_uplink, false, "none, or the keys of a port" },
	{ "macs", read_macs, false, "bounds of the MAC table" },
	{ NULL },
};

/* Both steps (config_gateway.h); the gateway is the caller's to drop. */
static int read_draft(const char *file, const struct config_node *node, struct network_draft *draft,
		      struct error *error)
{
	static const struct config_key *const tables[] = { network_keys, config_gateway_keys };
	const struct config_node *mode =
	    node->kind == CONFIG_MAPPING ? config_node_get(node, "mode") : NULL;
	char what[64];
	int rc;

	/* Other keys depend on it, wherever it stands; what is wrong with it is said in its turn.
	 */
	if (mode != NULL)
		read_mode(file, mode, draft, NULL);
	snprintf(what, sizeof(what), "network '%s'", draft->network.name);
	rc = config_node_read(file, node, what, tables, 2, draft, error);
	if (rc == 0)
		rc = config_gateway_finish(file, draft, error);
	return rc;
}

int config_read_network(const char *file, const struct config_node *node, const char *name,
			struct network_config *network, struct port_config *uplink,
			bool *has_uplink, struct error *error)
{
	struct network_draft draft = {
		.network = { .mac_limit = 65536, .mac_quota = 8192, .mac_age = 300 },
		.node = node,
	};
	int rc;

	*has_uplink = false;
	rc = config_read_name(file, node, name, error);
	if (rc < 0)
		return rc;
	snprintf(draft.network.name, sizeof(draft.network.name), "%s", name);
	draft.network.line = node->line;
	draft.gateway = gateway_config_create();
	if (draft.gateway == NULL)
		return error_set(error, ENOMEM, "out of memory");
	rc = read_draft(file, node, &draft, error);
	/* The longer of a leg's names; an uplink's is longer still, and was checked. */
	if (rc == 0 && draft.network.gateway != NULL &&
	    strlen(name) > CONFIG_NAME_MAX - strlen(GATEWAY_INNER_SUFFIX)) {
		network_config_clear(&draft.network);
		rc = config_error(file, node, error,
				  "the name '%s' is too long for a network with a gateway; "
				  "allowed: at most %zu characters",
				  name, CONFIG_NAME_MAX - strlen(GATEWAY_INNER_SUFFIX));
	}
	gateway_config_unref(draft.gateway); /* where it has not become the network's */
	if (rc < 0)
		return rc;
	*network = draft.network;
	*uplink = draft.uplink;
	*has_uplink = draft.has_uplink;
	return 0;
}
