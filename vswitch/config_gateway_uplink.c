/* Reads the uplink of a network whose gateway has a leg on it: keys of the gateway's leg beside
 * those of the port (config_gateway.h). Control thread, weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"
#include "vswitch/port.h"
#include "vswitch/port_user.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MTU_MIN	   68u
#define MTU_MIN_V6 1280u
#define MTU_MAX	   65535u

/* What `out` is for these keys; those of the port's type see the port alone. */
struct uplink_draft {
	struct port_config port; /* first */
	struct uplink_config *uplink;
};

/* Where addresses come from when nobody says. */
static const struct addressing {
	const char *type;
	bool dhcp, slaac;
	bool own; /* the type gives the leg its addresses, and there can be no others */
} addressings[] = {
	{ .type = "interface", .dhcp = true, .slaac = true },
	{ .type = "vhost-user", .dhcp = true, .slaac = true },
	{ .type = "user", .own = true },
	{ 0 }, /* any other: must be given */
};

static const struct addressing *find_addressing(const struct port_type *type)
{
	const struct addressing *row = addressings;

	while (row->type != NULL && strcmp(row->type, type->name) != 0)
		row++;
	return row;
}

static int read_address(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	struct uplink_config *uplink = out;
	struct ip_prefix *prefix = &uplink->addresses[uplink->address_count];
	int rc;

	if (config_value_is(value, "dhcp") || config_value_is(value, "auto")) {
		bool *kind = config_value_is(value, "dhcp") ? &uplink->dhcp : &uplink->slaac;

		if (*kind)
			return config_error(file, value, error,
					    "is in the list twice; allowed: each once");
		*kind = true;
		return 0;
	}
	if (uplink->address_count == GATEWAY_ADDRESSES_MAX)
		return config_error(file, value, error, "too many addresses; allowed: at most %u",
				    GATEWAY_ADDRESSES_MAX);
	if (value->kind != CONFIG_SCALAR || strpbrk(value->scalar, ".:/") == NULL)
		return config_error(file, value, error,
				    "is no address; allowed: dhcp, auto, or ADDRESS/LENGTH");
	rc = config_value_address(file, value, AF_UNSPEC, prefix, error);
	if (rc < 0)
		return rc;
	for (uint8_t i = 0; i < uplink->address_count; i++)
		if (ip_equal(&uplink->addresses[i].ip, &prefix->ip)) {
			memset(prefix, 0, sizeof(*prefix));
			return config_error(file, value, error,
					    "is in the list twice; allowed: each once");
		}
	uplink->address_count++;
	return 0;
}

static int read_addresses(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct uplink_draft *draft = out;

	return config_value_each(file, value, "of dhcp, auto and ADDRESS/LENGTH",
				 GATEWAY_ADDRESSES_MAX + 2, read_address, draft->uplink, error);
}

static int read_gateway(const char *file, const struct config_node *value, void *out,
			struct error *error)
{
	struct uplink_config *uplink = out;
	struct ip ip;
	bool *has;
	int rc = config_value_ip(file, value, AF_UNSPEC, &ip, error);

	if (rc < 0)
		return rc;
	has = ip_is_v4(&ip) ? &uplink->has_gateway4 : &uplink->has_gateway6;
	if (*has)
		return config_error(file, value, error,
				    "is the second of its family; allowed: one of IPv4 and one of "
				    "IPv6");
	*has = true;
	*(ip_is_v4(&ip) ? &uplink->gateway4 : &uplink->gateway6) = ip;
	return 0;
}

static int read_gateways(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct uplink_draft *draft = out;

	return config_value_each(file, value, "addresses", 2, read_gateway, draft->uplink, error);
}

static int read_mac(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct uplink_draft *draft = out;

	draft->uplink->has_mac = true;
	return config_value_mac(file, value, &draft->uplink->mac, error);
}

/* Also what the type's own `mtu` is told, where it has one: both are ends of one link. */
static int read_mtu(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct uplink_draft *draft = out;
	int rc = config_value_u16(file, value, MTU_MIN, MTU_MAX, &draft->uplink->mtu, error);

	for (const struct config_key *key = draft->port.type->keys; rc == 0 && key->name != NULL;
	     key++)
		if (strcmp(key->name, "mtu") == 0)
			rc = key->read(file, value, &draft->port, error);
	return rc;
}

static int read_dns(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct uplink_draft *draft = out;

	return config_value_ips(file, value, AF_UNSPEC, &draft->uplink->dns, error);
}

static const struct config_key leg_keys[] = {
	{ .name = "address", .read = read_addresses, .help = "dhcp, auto, ADDRESS/LENGTH" },
	{ .name = "gateway", .read = read_gateways, .help = "the next router" },
	{ .name = "mac", .read = read_mac, .help = "the gateway's MAC address there" },
	{ .name = "mtu", .read = read_mtu, .help = "of the link" },
	{ .name = "dns", .read = read_dns, .help = "addresses of resolvers" },
	{ 0 },
};

int config_read_gateway_uplink(const char *file, const struct config_node *value,
			       struct network_draft *draft, struct error *error)
{
	struct uplink_draft uplink = { .uplink = &draft->gateway->uplink };
	int rc;

	draft->gateway->lines.uplink = value->line;
	rc = config_read_uplink(file, value, &draft->network, leg_keys, &uplink.port, error);
	if (rc < 0)
		return rc;
	draft->uplink = uplink.port;
	draft->has_uplink = true;
	draft->gateway->uplink.present = true;
	return 0;
}

/* ---- afterwards ---- */

/* A static router stands in a static prefix, unless the addresses are not known yet. */
static const char *gateway_fault(const struct uplink_config *uplink, const struct ip *ip)
{
	const struct ip_prefix *found = NULL;
	struct ip_prefix network;
	struct ip last;

	for (uint8_t i = 0; i < uplink->address_count && found == NULL; i++)
		if (ip_prefix_contains(&uplink->addresses[i], ip))
			found = &uplink->addresses[i];
	if (found == NULL) {
		bool open = ip_is_v4(ip) ? uplink->dhcp : uplink->slaac || ip_is_link_local(ip);

		return open ? "" : "is in none of the uplink's prefixes";
	}
	if (ip_equal(&found->ip, ip))
		return "is the uplink's own address";
	network = ip_prefix_network(found);
	last = ip_prefix_last(found);
	if (found->length < 127 && ip_is_v4(ip) &&
	    (ip_equal(&network.ip, ip) || ip_equal(&last, ip)))
		return "is the network's or the broadcast address";
	return "";
}

static int check_gateway(const char *file, const struct network_draft *draft, const struct ip *ip,
			 struct error *error)
{
	const char *fault = gateway_fault(&draft->gateway->uplink, ip);
	char text[IP_TEXT_LENGTH];

	if (fault[0] == '\0')
		return 0;
	return config_error(file, config_draft_node(draft, "uplink", "gateway"), error,
			    "%s %s; allowed: another host of the uplink's", ip_to_text(ip, text),
			    fault);
}

/* What addresses there are, by what was said and by the type. */
static int check_addresses(const char *file, struct network_draft *draft, struct error *error)
{
	const struct addressing *row = find_addressing(draft->uplink.type);
	const struct config_node *node = config_draft_node(draft, "uplink", "address");
	struct uplink_config *uplink = &draft->gateway->uplink;
	bool given = uplink->dhcp || uplink->slaac || uplink->address_count > 0;

	if (row->own && (given || uplink->has_gateway4 || uplink->has_gateway6))
		return config_error(
		    file, config_draft_node(draft, "uplink", given ? "address" : "gateway"), error,
		    "an uplink of type %s has addresses and routers of its own; "
		    "allowed: neither 'address' nor 'gateway'",
		    row->type);
	if (!given && row->type == NULL)
		return config_error(file, node, error,
				    "an uplink of type %s needs an address of the gateway there; "
				    "allowed: address: ADDRESS/LENGTH, dhcp, auto, or a list",
				    draft->uplink.type->name);
	if (!given) {
		uplink->dhcp = row->dhcp;
		uplink->slaac = row->slaac;
	}
	for (uint8_t i = 0; i < uplink->address_count; i++)
		if (uplink->dhcp && ip_is_v4(&uplink->addresses[i].ip))
			return config_error(file, node, error,
					    "has an IPv4 address and dhcp; allowed: one of the "
					    "two");
	return 0;
}

/* The little network behind a user port is a link like any other, but for libslirp, which does not
 * listen to who has a smaller MTU, not even in the SYN of a connection. */
static int finish_own_network(const char *file, struct network_draft *draft, struct error *error)
{
	const struct gateway_config *gateway = draft->gateway;
	struct port_user_addresses own;

	if (draft->uplink.type != &port_user)
		return 0;
	if (gateway->mtu < draft->uplink.options.user.mtu)
		draft->uplink.options.user.mtu = gateway->mtu;
	port_user_addresses(&draft->uplink, &own);
	for (uint8_t i = 0; i < gateway->address_count; i++) {
		const struct ip_prefix *inside = &gateway->addresses[i];
		bool v4 = ip_is_v4(&inside->ip);
		const char *key = v4 ? "subnet" : "subnet6";
		struct ip_prefix outside = ip_prefix_network(v4 ? &own.guest : &own.guest6);
		char texts[2][IP_PREFIX_TEXT_LENGTH];

		if (ip_prefix_overlaps(inside, &outside))
			return config_error(file, config_draft_node(draft, "uplink", key), error,
					    "%s behind the uplink overlaps with the network's own "
					    "%s; allowed: '%s' with another prefix",
					    ip_prefix_to_text(&outside, texts[0]),
					    ip_prefix_to_text(inside, texts[1]), key);
	}
	return 0;
}

static int check_mtu(const char *file, const struct network_draft *draft, struct error *error)
{
	const struct uplink_config *uplink = &draft->gateway->uplink;
	bool v6 = uplink->slaac;

	for (uint8_t i = 0; i < uplink->address_count; i++)
		v6 = v6 || !ip_is_v4(&uplink->addresses[i].ip);
	if (uplink->mtu == 0 || !v6 || uplink->mtu >= MTU_MIN_V6)
		return 0;
	return config_error(file, config_draft_node(draft, "uplink", "mtu"), error,
			    "%u is too small for IPv6; allowed: %u to %u", uplink->mtu, MTU_MIN_V6,
			    MTU_MAX);
}

int config_finish_uplink(const char *file, struct network_draft *draft, struct error *error)
{
	const struct uplink_config *uplink = &draft->gateway->uplink;
	int rc;

	if (!uplink->present)
		return 0;
	rc = check_addresses(file, draft, error);
	if (rc == 0)
		rc = finish_own_network(file, draft, error);
	if (rc == 0)
		rc = check_mtu(file, draft, error);
	if (rc == 0 && uplink->has_gateway4)
		rc = check_gateway(file, draft, &uplink->gateway4, error);
	if (rc == 0 && uplink->has_gateway6)
		rc = check_gateway(file, draft, &uplink->gateway6, error);
	return rc;
}
