/* Reads a port from its YAML mapping: finds its type by its key, and reads the keys that all ports
 * have beside those of the type (config.h, port.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_internal.h"
#include "vswitch/gateway.h"
#include "vswitch/port.h"

#include <stdio.h>
#include <string.h>

static bool is_name(const char *text, size_t max)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strlen(text);

	return length >= 1 && length <= max && strspn(text, letters) == length &&
	       strchr("-_.", text[0]) == NULL;
}

int config_read_name(const char *file, const struct config_node *node, const char *text,
		     struct error *error)
{
	if (is_name(text, CONFIG_NAME_MAX))
		return 0;
	return config_error(file, node, error,
			    "'%.80s' is not a name; allowed: 1 to %u letters, digits, '-', '_' and "
			    "'.', the first a letter or digit",
			    text, CONFIG_NAME_MAX);
}

static int read_network_name(const char *file, const struct config_node *value, void *out,
			     struct error *error)
{
	struct port_config *port = out;

	port->lines.network = value->line;
	return config_node_text(file, value, port->network, sizeof(port->network), error);
}

static int read_vlan(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct port_config *port = out;
	uint64_t id;
	int rc = config_node_number(file, value, 1, VLAN_MAX, &id, error);

	if (rc < 0)
		return rc;
	if (config_node_get(value->parent, "vlans") != NULL)
		return config_error(file, value, error,
				    "given together with 'vlans'; allowed: 'vlan' (access port) or "
				    "'vlans' (trunk)");
	port->vlan.mode = VLAN_MODE_ACCESS;
	port->vlan.access = (uint16_t)id;
	return 0;
}

static int read_vlans(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct port_config *port = out;

	if (value->kind != CONFIG_SEQUENCE || value->count == 0)
		return config_error(file, value, error,
				    "is no list of VLANs; allowed: [N, ...] with 1 to %u",
				    VLAN_MAX);
	port->vlan.mode = VLAN_MODE_TRUNK;
	for (uint32_t i = 0; i < value->count; i++) {
		uint64_t id;
		int rc = config_node_number(file, &value->children[i], 1, VLAN_MAX, &id, error);

		if (rc < 0)
			return rc;
		if (port->vlan.allowed[id / 64] & (UINT64_C(1) << id % 64))
			return config_error(file, &value->children[i], error,
					    "VLAN %u is in the list twice; allowed: each once",
					    (unsigned)id);
		port->vlan.allowed[id / 64] |= UINT64_C(1) << id % 64;
	}
	return 0;
}

static int read_native(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct port_config *port = out;
	uint64_t id;
	int rc = config_node_number(file, value, 1, VLAN_MAX, &id, error);

	if (rc < 0)
		return rc;
	if (config_node_get(value->parent, "vlans") == NULL)
		return config_error(file, value, error,
				    "given without 'vlans'; allowed: on a trunk (vlans: [...])");
	port->vlan.native = (uint16_t)id;
	return 0;
}

static int read_isolated(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct port_config *port = out;

	return config_node_bool(file, value, &port->isolated, error);
}

static int read_mac(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct port_config *port = out;

	if (value->kind != CONFIG_SCALAR || mac_from_text(value->scalar, &port->mac) < 0 ||
	    mac_is_multicast(port->mac.bytes) || mac_is_zero(port->mac.bytes))
		return config_error(file, value, error,
				    "is no address of a guest; allowed: a unicast MAC as "
				    "52:54:00:00:00:01");
	port->has_mac = true;
	port->lines.mac = value->line;
	return 0;
}

static int read_antispoof(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct port_config *port = out;
	bool on;
	int rc = config_node_bool(file, value, &on, error);

	if (rc == 0)
		port->antispoof_off = !on;
	return rc;
}

#define FIELD(member)                                                                              \
	.offset = offsetof(struct port_config, member),                                            \
	.size = sizeof(((struct port_config *)0)->member)

const struct config_key config_guest_port_keys[] = {
	{ "network", read_network_name, true, "the network it is in", FIELD(network) },
	{ "antispoof", read_antispoof, false, "false: the guest may send from any address",
	  FIELD(antispoof_off) },
	{ NULL },
};

const struct config_key config_port_keys[] = {
	{ "vlan", read_vlan, false, "VLAN of an access port, 1 to 4094", FIELD(vlan.access) },
	{ "vlans", read_vlans, false, "VLANs of a trunk, [N, ...]", FIELD(vlan.allowed) },
	{ "native", read_native, false, "VLAN of a trunk's untagged frames", FIELD(vlan.native) },
	{ "isolated", read_isolated, false, "true: reaches only ports that are not",
	  FIELD(isolated) },
	{ "mac", read_mac, false, "the guest's MAC address", FIELD(mac) },
	{ NULL },
};

#undef FIELD

static void type_names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (const struct port_type *const *type = port_types; *type != NULL; type++) {
		int n =
		    snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", (*type)->name);

		if (n < 0 || (size_t)n >= size - used)
			return;
		used += (size_t)n;
	}
}

static bool is_key_of(const struct config_key *keys, const char *name)
{
	while (keys != NULL && keys->name != NULL && strcmp(keys->name, name) != 0)
		keys++;
	return keys != NULL && keys->name != NULL;
}

/* The first key that ports of no type have: a type's name misspelt, most likely. */
static const struct config_node *find_unknown(const struct config_node *node,
					      const struct config_key *first,
					      const struct config_key *last)
{
	for (uint32_t i = 0; i < node->count; i++) {
		const char *name = node->children[i].key;
		bool known = is_key_of(first, name) || is_key_of(last, name);

		for (const struct port_type *const *type = port_types; *type != NULL; type++)
			known = known || is_key_of((*type)->keys, name);
		if (!known)
			return &node->children[i];
	}
	return NULL;
}

/* The one type whose key is there; `first` and `last` as in read_port(). */
static int find_type(const char *file, const struct config_node *node, const char *what,
		     const struct config_key *first, const struct config_key *last,
		     const struct port_type **out, struct error *error)
{
	const struct port_type *found = NULL;
	char names[256];

	type_names(names, sizeof(names));
	for (const struct port_type *const *type = port_types; *type != NULL; type++) {
		const struct config_node *key = config_node_get(node, (*type)->name);

		if (key == NULL)
			continue;
		if (found != NULL)
			return config_error(file, key, error,
					    "%s has two types, '%s' and '%s'; allowed: one of %s",
					    what, found->name, (*type)->name, names);
		found = *type;
	}
	if (found == NULL) {
		const struct config_node *unknown = find_unknown(node, first, last);

		return config_error(file, unknown != NULL ? unknown : node, error,
				    "%s%s has no type; allowed: one of %s",
				    unknown != NULL ? "unknown key, and " : "", what, names);
	}
	*out = found;
	return 0;
}

/* The port's name and line are set; `first` and `last` are the keys beside those of its type. */
static int read_port(const char *file, const struct config_node *node,
		     const struct config_key *first, const struct config_key *last,
		     struct port_config *port, struct error *error)
{
	const struct config_key *tables[3];
	uint32_t table_count = 0;
	char what[64];
	int rc;

	snprintf(what, sizeof(what), "%s '%s'", port->uplink ? "uplink" : "port", port->name);
	if (node->kind != CONFIG_MAPPING && !config_node_is_empty(node))
		return config_error(file, node, error,
				    "%s is no mapping; allowed: {KEY: VALUE, ...}", what);
	rc = find_type(file, node, what, first, last, &port->type, error);
	if (rc < 0)
		return rc;
	port->lines.type = config_node_get(node, port->type->name)->line;
	if (port->type->defaults != NULL)
		port->type->defaults(port);
	if (first != NULL)
		tables[table_count++] = first;
	tables[table_count++] = port->type->keys;
	if (last != NULL)
		tables[table_count++] = last;
	rc = config_node_read(file, node, what, tables, table_count, port, error);
	if (rc < 0)
		return rc;
	/* A trunk carries its native VLAN, listed or not. */
	port->vlan.allowed[port->vlan.native / 64] |=
	    port->vlan.native != VLAN_NONE ? UINT64_C(1) << port->vlan.native % 64 : 0;
	return 0;
}

int config_read_port(const char *file, const struct config_node *node, const char *name,
		     struct port_config *port, struct error *error)
{
	static const char *const suffixes[] = { CONFIG_UPLINK_SUFFIX, GATEWAY_INNER_SUFFIX,
						GATEWAY_OUTER_SUFFIX };
	size_t length = strlen(name);
	int rc;

	memset(port, 0, sizeof(*port));
	rc = config_read_name(file, node, name, error);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t end = strlen(suffixes[i]);

		if (length > end && strcmp(name + length - end, suffixes[i]) == 0)
			return config_error(
			    file, node, error,
			    "names that end in '%s' belong to networks; allowed: any other",
			    suffixes[i]);
	}
	memcpy(port->name, name, length);
	port->line = node->line;
	return read_port(file, node, config_guest_port_keys, config_port_keys, port, error);
}

int config_read_uplink(const char *file, const struct config_node *node,
		       const struct network_config *network, const struct config_key *keys,
		       struct port_config *uplink, struct error *error)
{
	const struct mode_row *mode = &config_modes[network->mode];
	int n;

	if (!mode->may_have_uplink)
		return config_error(file, node, error,
				    "an isolated network has no uplink; allowed: none");
	memset(uplink, 0, sizeof(*uplink));
	n = snprintf(uplink->name, sizeof(uplink->name), "%s" CONFIG_UPLINK_SUFFIX, network->name);
	if (n < 0 || (size_t)n >= sizeof(uplink->name))
		return config_error(file, node, error,
				    "the name '%s' is too long for a network with an uplink; "
				    "allowed: at most %zu characters",
				    network->name,
				    CONFIG_NAME_MAX - (sizeof(CONFIG_UPLINK_SUFFIX) - 1));
	memcpy(uplink->network, network->name, sizeof(uplink->network));
	uplink->uplink = true;
	uplink->line = node->line;
	/* A leg's `mac` and `mtu` go before those of the type. */
	return mode->uplink_in_segment ? read_port(file, node, NULL, keys, uplink, error)
				       : read_port(file, node, keys, NULL, uplink, error);
}
