/* Reads a network's DHCPv6 server and its router advertisements (config_gateway.h). Control thread,
 * weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define RANGES_MAX    64u
#define LEASE_MIN     10u
#define LEASE_MAX     (365u * 86400)
#define LEASE_DEFAULT (12u * 3600)
#define LIFETIME_MAX  (366u * 86400)
#define INTERVAL_MIN  4u /* RFC 4861, 6.2.1 */
#define INTERVAL_MAX  1800u
#define INTERVAL      600u
#define ROUTER_MAX    9000u /* RFC 4861, 6.2.1 */
#define PREFERRED     604800u
#define VALID	      2592000u
#define SLAAC_LENGTH  64u /* RFC 4862, 5.5.3: with the identifier's 64 bits that makes 128 */

static const char *const dhcp6_modes[] = {
	[DHCP6_OFF] = "false",
	[DHCP6_STATELESS] = "stateless",
	[DHCP6_STATEFUL] = "stateful",
	NULL,
};

static int read_mode(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	struct network_draft *draft = out;
	unsigned word;
	int rc = config_node_word(file, value, dhcp6_modes, &word, error);

	if (rc < 0)
		return rc;
	draft->gateway->dhcp6.mode = (enum dhcp6_mode)word;
	draft->dhcp6 = word == DHCP6_OFF ? CONFIG_OFF : CONFIG_ON;
	return 0;
}

static int read_range(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct dhcp6_config *dhcp6 = out;
	struct ip_range *range =
	    config_value_append(&dhcp6->ranges, &dhcp6->range_count, sizeof(*range), error);

	return range == NULL ? -ENOMEM : config_value_range(file, value, AF_INET6, range, error);
}

static int read_ranges(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each(file, value, "ranges", RANGES_MAX, read_range,
				 &draft->gateway->dhcp6, error);
}

static int read_lease(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_time(file, value, LEASE_MIN, LEASE_MAX,
				 &draft->gateway->dhcp6.lease_time, error);
}

static int read_dns(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_INET6, &draft->gateway->dhcp6.dns, error);
}

static int read_ntp(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_INET6, &draft->gateway->dhcp6.ntp, error);
}

static int read_search(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct dhcp6_config *dhcp6 = &((struct network_draft *)out)->gateway->dhcp6;
	struct config_search search = { &dhcp6->search, &dhcp6->search_count };

	return config_value_search(file, value, search, error);
}

int config_read_dhcp6(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	static const struct config_key keys[] = {
		{ "mode", read_mode, true, "stateless or stateful" },
		{ "range", read_ranges, false, "addresses to give, FIRST-LAST or a list" },
		{ "lease", read_lease, false, "time of a lease, such as 12h" },
		{ "hosts", config_read_dhcp_hosts, false, "reservations by name" },
		{ "dns", read_dns, false, "addresses of name servers" },
		{ "ntp", read_ntp, false, "addresses of time servers" },
		{ "search", read_search, false, "domains to search names in" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };

	if (value->kind != CONFIG_MAPPING)
		return read_mode(file, value, out, error);
	return config_node_read(file, value, "'dhcp6'", tables, 1, out, error);
}

/* ---- router advertisements ---- */

static int read_interval(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct network_draft *draft = out;

	return config_value_time(file, value, INTERVAL_MIN, INTERVAL_MAX,
				 &draft->gateway->advertise.interval, error);
}

static int read_lifetime(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct network_draft *draft = out;

	draft->lifetime_given = true;
	return config_value_time(file, value, 0, ROUTER_MAX,
				 &draft->gateway->advertise.router_lifetime, error);
}

static int read_preferred(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct network_draft *draft = out;

	return config_value_time(file, value, 1, LIFETIME_MAX,
				 &draft->gateway->advertise.preferred_lifetime, error);
}

static int read_valid(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_time(file, value, 1, LIFETIME_MAX,
				 &draft->gateway->advertise.valid_lifetime, error);
}

static int read_mtu(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u16(file, value, 1280, 65535, &draft->gateway->advertise.mtu, error);
}

static int read_rdnss(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_INET6, &draft->gateway->advertise.dns, error);
}

static int read_dnssl(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct advertise_config *advertise = &((struct network_draft *)out)->gateway->advertise;
	struct config_search search = { &advertise->search, &advertise->search_count };

	return config_value_search(file, value, search, error);
}

int config_read_advertise(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	static const struct config_key keys[] = {
		{ "interval", read_interval, false, "between two that nobody asked for" },
		{ "lifetime", read_lifetime, false, "as a default router; 0: it is none" },
		{ "preferred", read_preferred, false, "lifetime of addresses for new connections" },
		{ "valid", read_valid, false, "lifetime of addresses" },
		{ "mtu", read_mtu, false, "MTU for the guests" },
		{ "dns", read_rdnss, false, "addresses of name servers" },
		{ "search", read_dnssl, false, "domains to search names in" },
		{ NULL },
	};
	struct network_draft *draft = out;

	return config_read_service(file, value, "'ra'", keys, &draft->advertise, draft, error);
}

/* ---- afterwards ---- */

/* Names are searched in the network's own domain when nobody says where. */
static int default_search(const struct gateway_config *gateway, struct config_search search,
			  struct error *error)
{
	char(*name)[DHCP_DOMAIN_MAX + 1];

	if (*search.count > 0 || gateway->dns.domain[0] == '\0')
		return 0;
	name = config_value_append(search.names, search.count, sizeof(*name), error);
	if (name == NULL)
		return -ENOMEM;
	memcpy(*name, gateway->dns.domain, sizeof(*name));
	return 0;
}

/* Some tens of thousands of the first IPv6 prefix, so that addresses stay short: X::1000 to
 * X::ffff, or all hosts where the prefix has fewer. */
static int default_range(struct gateway_config *gateway, struct error *error)
{
	const struct ip_prefix *prefix = gateway->addresses;
	struct ip first, last;

	while (ip_is_v4(&prefix->ip))
		prefix++;
	first = last = ip_prefix_network(prefix).ip;
	if (prefix->length <= 112) {
		first.bytes[14] = 0x10;
		last.bytes[14] = last.bytes[15] = 0xff;
	} else {
		last = ip_prefix_last(prefix);
		first.bytes[15] |= prefix->length < 127; /* the routers' anycast address */
	}
	return config_add_ranges(&gateway->dhcp6.ranges, &gateway->dhcp6.range_count, &first, &last,
				 &prefix->ip, error);
}

int config_finish_dhcp6(const char *file, struct network_draft *draft, struct error *error)
{
	struct gateway_config *gateway = draft->gateway;
	struct dhcp6_config *dhcp6 = &gateway->dhcp6;
	struct config_search search = { &dhcp6->search, &dhcp6->search_count };
	int rc;

	if (!gateway_config_has_ipv6(gateway)) {
		if (draft->dhcp6 == CONFIG_ON)
			return config_error(file, config_draft_node(draft, "dhcp6", NULL), error,
					    "the network has no IPv6 address; allowed: together "
					    "with 'ipv6'");
		return 0;
	}
	if (draft->dhcp6 == CONFIG_UNSAID)
		dhcp6->mode = DHCP6_STATELESS;
	if (dhcp6->mode == DHCP6_OFF)
		return 0;
	if (dhcp6->lease_time == 0)
		dhcp6->lease_time = LEASE_DEFAULT;
	rc = default_search(gateway, search, error);
	if (rc < 0)
		return rc;
	if (dhcp6->mode == DHCP6_STATELESS)
		return dhcp6->range_count == 0
			   ? 0
			   : config_error(file, config_draft_node(draft, "dhcp6", "range"), error,
					  "a stateless server gives no addresses; allowed: with "
					  "mode: stateful");
	if (dhcp6->range_count == 0)
		return default_range(gateway, error);
	return config_check_ranges(file, config_draft_node(draft, "dhcp6", "range"), gateway,
				   dhcp6->ranges, dhcp6->range_count, error);
}

/* SLAAC needs 64 bits for the guest's own part. */
static int check_prefixes(const char *file, const struct network_draft *draft, struct error *error)
{
	const struct gateway_config *gateway = draft->gateway;

	for (uint8_t i = 0; i < gateway->address_count; i++) {
		char text[IP_PREFIX_TEXT_LENGTH];
		const struct ip_prefix *prefix = &gateway->addresses[i];

		if (!ip_is_v4(&prefix->ip) && prefix->length != SLAAC_LENGTH)
			return config_error(file, config_draft_node(draft, "ipv6", NULL), error,
					    "guests cannot make themselves addresses in %s; "
					    "allowed: /64, or dhcp6: stateful, or ra: false",
					    ip_prefix_to_text(prefix, text));
	}
	return 0;
}

int config_finish_advertise(const char *file, struct network_draft *draft, struct error *error)
{
	struct gateway_config *gateway = draft->gateway;
	struct advertise_config *advertise = &gateway->advertise;
	struct config_search search = { &advertise->search, &advertise->search_count };
	int rc;

	if (!gateway_config_has_ipv6(gateway)) {
		if (draft->advertise == CONFIG_ON)
			return config_error(file, config_draft_node(draft, "ra", NULL), error,
					    "the network has no IPv6 address; allowed: together "
					    "with 'ipv6'");
		return 0;
	}
	advertise->enabled = draft->advertise != CONFIG_OFF;
	if (!advertise->enabled)
		return 0;
	if (advertise->interval == 0)
		advertise->interval = INTERVAL;
	if (!draft->lifetime_given)
		advertise->router_lifetime = draft->mode->routes ? 3 * advertise->interval : 0;
	if (advertise->valid_lifetime == 0)
		advertise->valid_lifetime = VALID;
	if (advertise->preferred_lifetime == 0)
		advertise->preferred_lifetime =
		    advertise->valid_lifetime < PREFERRED ? advertise->valid_lifetime : PREFERRED;
	if (advertise->mtu == 0 && gateway->mtu != 1500)
		advertise->mtu = gateway->mtu;
	if (advertise->router_lifetime != 0 && advertise->router_lifetime < advertise->interval)
		return config_error(file, config_draft_node(draft, "ra", "lifetime"), error,
				    "ends before the next advertisement; allowed: 0, or %u "
				    "(the interval) to %u seconds",
				    advertise->interval, ROUTER_MAX);
	if (advertise->preferred_lifetime > advertise->valid_lifetime)
		return config_error(file, config_draft_node(draft, "ra", "preferred"), error,
				    "is longer than 'valid'; allowed: at most %u seconds",
				    advertise->valid_lifetime);
	rc = default_search(gateway, search, error);
	if (rc == 0 && gateway->dhcp6.mode != DHCP6_STATEFUL)
		rc = check_prefixes(file, draft, error);
	return rc;
}
