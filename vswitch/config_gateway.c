/* Reads the gateway of a network: its own addresses and switches, and the order in which the parts
 * are put together (config_gateway.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MTU_MIN	    68u	  /* RFC 791 */
#define MTU_MIN_V6  1280u /* RFC 8200, 5 */
#define MTU_MAX	    65535u
#define MTU_DEFAULT 1500u

int config_read_service(const char *file, const struct config_node *value, const char *what,
			const struct config_key *keys, enum config_switch *state,
			struct network_draft *draft, struct error *error)
{
	const struct config_key *const tables[] = { keys };

	if (config_value_is(value, "false")) {
		*state = CONFIG_OFF;
		return 0;
	}
	*state = CONFIG_ON;
	if (config_value_is(value, "true"))
		return 0;
	if (value->kind != CONFIG_MAPPING)
		return config_error(file, value, error,
				    "must be a mapping or a word; allowed: true, false, or "
				    "{KEY: VALUE, ...}");
	return config_node_read(file, value, what, tables, 1, draft, error);
}

const struct config_node *config_draft_node(const struct network_draft *draft, const char *key,
					    const char *inner)
{
	const struct config_node *outer = config_node_get(draft->node, key), *node = NULL;

	if (outer == NULL)
		return draft->node;
	if (inner != NULL && outer->kind == CONFIG_MAPPING)
		node = config_node_get(outer, inner);
	return node != NULL ? node : outer;
}

const struct config_node *config_draft_value(const struct config_node *node, uint32_t i)
{
	return node->kind == CONFIG_SEQUENCE && i < node->count ? &node->children[i] : node;
}

const char *config_guest_fault(const struct gateway_config *gateway, const struct ip *ip)
{
	const struct ip_prefix *prefix = gateway_config_find_prefix(gateway, ip);
	struct ip_prefix network;
	struct ip last;

	if (prefix == NULL)
		return "is in none of the network's prefixes";
	network = ip_prefix_network(prefix);
	last = ip_prefix_last(prefix);
	for (uint8_t i = 0; i < gateway->address_count; i++)
		if (ip_equal(&gateway->addresses[i].ip, ip))
			return "is the gateway's own address";
	if (prefix->length < 127 && ip_equal(&network.ip, ip))
		return "is the address of the network itself";
	if (prefix->length < 127 && ip_is_v4(ip) && ip_equal(&last, ip))
		return "is the broadcast address";
	return "";
}

/* ---- keys ---- */

struct address_context {
	struct gateway_config *gateway;
	int family;
};

static int read_address(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	const struct address_context *context = out;
	struct gateway_config *gateway = context->gateway;
	struct ip_prefix *prefix = &gateway->addresses[gateway->address_count];
	bool v4 = context->family == AF_INET;
	unsigned low = v4 ? 8 : 16, high = v4 ? 31 : 127, length;
	int rc;

	if (gateway->address_count == GATEWAY_ADDRESSES_MAX)
		return config_error(file, value, error,
				    "the gateway has too many addresses; allowed: at most %u, of "
				    "both families together",
				    GATEWAY_ADDRESSES_MAX);
	rc = config_value_address(file, value, context->family, prefix, error);
	if (rc < 0)
		return rc;
	length = v4 ? prefix->length - IP_V4_LENGTH : prefix->length;
	if (length < low || length > high || ip_is_link_local(&prefix->ip)) {
		memset(prefix, 0, sizeof(*prefix));
		return config_error(file, value, error,
				    "'%.60s' is no network for guests; allowed: lengths of %u to "
				    "%u, not link-local",
				    value->scalar, low, high);
	}
	gateway->address_count++;
	return 0;
}

static int read_ipv4(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct network_draft *draft = out;
	struct address_context context = { draft->gateway, AF_INET };

	draft->gateway->lines.ipv4 = value->line;
	return config_value_each(file, value, "addresses", GATEWAY_ADDRESSES_MAX, read_address,
				 &context, error);
}

static int read_ipv6(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct network_draft *draft = out;
	struct address_context context = { draft->gateway, AF_INET6 };

	draft->gateway->lines.ipv6 = value->line;
	return config_value_each(file, value, "addresses", GATEWAY_ADDRESSES_MAX, read_address,
				 &context, error);
}

static int read_mac(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	draft->gateway->lines.mac = value->line;
	return config_value_mac(file, value, &draft->gateway->mac, error);
}

static int read_mtu(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u16(file, value, MTU_MIN, MTU_MAX, &draft->gateway->mtu, error);
}

static int read_antispoof(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;
	bool on;
	int rc = config_node_bool(file, value, &on, error);

	if (rc == 0)
		draft->antispoof = on ? CONFIG_ON : CONFIG_OFF;
	return rc;
}

static int read_mss_clamp(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;

	return config_node_bool(file, value, &draft->gateway->mss_clamp, error);
}

const struct config_key config_gateway_keys[] = {
	{ .name = "ipv4", .read = read_ipv4, .help = "the gateway's ADDRESS/LENGTH" },
	{ .name = "ipv6", .read = read_ipv6, .help = "the gateway's ADDRESS/LENGTH" },
	{ .name = "mac", .read = read_mac, .help = "the gateway's MAC address" },
	{ .name = "mtu", .read = read_mtu, .help = "of the gateway's inside, 68 to 65535" },
	{ .name = "dhcp", .read = config_read_dhcp, .help = "DHCP server" },
	{ .name = "dhcp6", .read = config_read_dhcp6, .help = "DHCPv6 server" },
	{ .name = "ra", .read = config_read_advertise, .help = "router advertisements" },
	{ .name = "dns", .read = config_read_dns, .help = "DNS server" },
	{ .name = "forward", .read = config_read_forwards, .help = "ports passed to guests" },
	{ .name = "routes", .read = config_read_routes, .help = "static routes" },
	{ .name = "peers", .read = config_read_peers, .help = "networks reached without uplink" },
	{ .name = "nat", .read = config_read_nat, .help = "how addresses are translated" },
	{ .name = "antispoof",
	  .read = read_antispoof,
	  .help = "true: guests send from their own addresses alone" },
	{ .name = "mss-clamp",
	  .read = read_mss_clamp,
	  .help = "true: TCP's segment size fits the uplink" },
	{ 0 },
};

/* ---- the whole ---- */

/* IPv4 addresses first, each family in the order of the file. */
static void sort_addresses(struct gateway_config *gateway)
{
	struct ip_prefix sorted[GATEWAY_ADDRESSES_MAX];
	uint8_t n = 0;

	memset(sorted, 0, sizeof(sorted));
	for (int v4 = 1; v4 >= 0; v4--)
		for (uint8_t i = 0; i < gateway->address_count; i++)
			if (ip_is_v4(&gateway->addresses[i].ip) == v4)
				memcpy(&sorted[n++], &gateway->addresses[i], sizeof(sorted[0]));
	memcpy(gateway->addresses, sorted, sizeof(sorted));
}

/* Locally administered, and always the same for a network's name, so that a guest that lives on
 * while weftd starts again finds its gateway where it was. */
static void make_mac(struct network_draft *draft)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
	struct mac *mac = &draft->gateway->mac;

	if (!mac_is_zero(mac->bytes))
		return;
	for (const char *p = draft->network.name; *p != '\0'; p++)
		hash = (hash ^ (uint8_t)*p) * UINT64_C(1099511628211);
	hash ^= hash >> 40;
	mac->bytes[0] = 0x02;
	for (unsigned i = 1; i < 6; i++)
		mac->bytes[i] = (uint8_t)(hash >> (40 - 8 * i));
}

/* Which keys a network without a gateway, or one that does not translate, must not have. */
static int check_key(const char *file, const struct network_draft *draft,
		     const struct config_node *key, struct error *error)
{
	bool translating = strcmp(key->key, "forward") == 0 || strcmp(key->key, "nat") == 0;
	bool known = false;

	for (const struct config_key *row = config_gateway_keys; row->name != NULL && !known; row++)
		known = strcmp(row->name, key->key) == 0;
	if (!known)
		return 0;
	if (draft->mode->gateway == GATEWAY_NEVER)
		return config_error(file, key, error,
				    "a network of mode %s has no gateway; allowed: in modes nat, "
				    "routed and isolated",
				    draft->mode->name);
	if (draft->gateway->address_count == 0)
		return config_error(file, key, error,
				    "the network has no gateway without an address; allowed: "
				    "together with 'ipv4' or 'ipv6'");
	if (translating && !draft->mode->translates)
		return config_error(file, key, error,
				    "a network of mode %s does not translate addresses; allowed: "
				    "in mode nat",
				    draft->mode->name);
	if (strcmp(key->key, "peers") == 0 && !draft->mode->peers)
		return config_error(file, key, error,
				    "a network of mode %s has no peers; allowed: in mode routed",
				    draft->mode->name);
	return 0;
}

static int finish_basics(const char *file, struct network_draft *draft, struct error *error)
{
	struct gateway_config *gateway = draft->gateway;
	uint16_t low = gateway_config_has_ipv6(gateway) ? MTU_MIN_V6 : MTU_MIN;

	sort_addresses(gateway);
	make_mac(draft);
	if (gateway->mtu == 0)
		gateway->mtu = MTU_DEFAULT;
	low = gateway_config_has_ipv6(gateway) ? MTU_MIN_V6 : MTU_MIN;
	if (gateway->mtu < low)
		return config_error(file, config_draft_node(draft, "mtu", NULL), error,
				    "%u is too small for IPv6; allowed: %u to %u", gateway->mtu,
				    low, MTU_MAX);
	return 0;
}

static int finish_antispoof(const char *file, struct network_draft *draft, struct error *error)
{
	const struct gateway_config *gateway = draft->gateway;

	draft->gateway->antispoof = draft->antispoof == CONFIG_ON ||
				    (draft->antispoof == CONFIG_UNSAID &&
				     (gateway->dhcp.enabled || gateway->advertise.enabled ||
				      gateway->dhcp6.mode == DHCP6_STATEFUL));
	return 0;
}

/* Whether the mode can do with the keys that are there. */
static int check_keys(const char *file, const struct network_draft *draft, struct error *error)
{
	struct error all = { "" };
	int result = 0;

	if (draft->mode->gateway == GATEWAY_ALWAYS && draft->gateway->address_count == 0)
		return config_error(file, draft->node, error,
				    "a network of mode %s needs an address of its gateway; "
				    "allowed: 'ipv4' or 'ipv6', such as ipv4: 192.168.122.1/24",
				    draft->mode->name);
	for (uint32_t i = 0; i < draft->node->count; i++) {
		struct error one = { "" };
		int rc = check_key(file, draft, &draft->node->children[i], &one);

		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	return result;
}

int config_gateway_finish(const char *file, struct network_draft *draft, struct error *error)
{
	static int (*const finishers[])(const char *file, struct network_draft *draft,
					struct error *error) = {
		finish_basics,	    config_finish_uplink,     config_finish_dns,
		config_finish_dhcp, config_finish_dhcp_hosts, config_finish_dhcp6,
		config_finish_nat,  config_finish_advertise,  config_finish_routes,
		finish_antispoof,
	};
	struct error all = { "" };
	int result = check_keys(file, draft, error);

	if (result < 0 || draft->gateway->address_count == 0)
		return result;
	for (size_t i = 0; i < sizeof(finishers) / sizeof(finishers[0]) && result != -ENOMEM; i++) {
		struct error one = { "" };
		int rc = finishers[i](file, draft, &one);

		if (rc < 0) {
			config_error_join(&all, &one);
			result = rc;
		}
	}
	if (result < 0 && error != NULL)
		*error = all;
	if (result == 0) {
		draft->network.gateway = draft->gateway;
		draft->gateway = NULL;
	}
	return result;
}
