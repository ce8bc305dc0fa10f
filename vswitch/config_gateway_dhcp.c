/* Reads a network's DHCPv4 server, without its reservations (config_gateway.h). Control thread,
 * weftd --check, fuzzer. */
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LEASE_MIN     10u
#define LEASE_MAX     (365u * 86400)
#define LEASE_DEFAULT (12u * 3600)
#define RANGES_MAX    64u
#define ROUTES_MAX    16u /* option 121 has 255 bytes */

static int read_range(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct dhcp_config *dhcp = out;
	struct ip_range *range =
	    config_value_append(&dhcp->ranges, &dhcp->range_count, sizeof(*range), error);

	return range == NULL ? -ENOMEM : config_value_range(file, value, AF_INET, range, error);
}

static int read_ranges(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;

	return config_value_each(file, value, "ranges", RANGES_MAX, read_range,
				 &draft->gateway->dhcp, error);
}

static int read_lease(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct network_draft *draft = out;

	return config_value_time(file, value, LEASE_MIN, LEASE_MAX,
				 &draft->gateway->dhcp.lease_time, error);
}

static int read_router(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;
	struct dhcp_config *dhcp = &draft->gateway->dhcp;

	draft->router_given = true;
	dhcp->no_router = config_value_is(value, "none");
	return dhcp->no_router ? 0 : config_value_ips(file, value, AF_INET, &dhcp->routers, error);
}

static int read_dns(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_INET, &draft->gateway->dhcp.dns, error);
}

static int read_ntp(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_ips(file, value, AF_INET, &draft->gateway->dhcp.ntp, error);
}

static int read_domain(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct network_draft *draft = out;

	return config_value_domain(file, value, draft->gateway->dhcp.domain, error);
}

static int read_search(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct dhcp_config *dhcp = &((struct network_draft *)out)->gateway->dhcp;
	struct config_search search = { &dhcp->search, &dhcp->search_count };

	return config_value_search(file, value, search, error);
}

static int read_mtu(const char *file, const struct config_node *value, void *out,
		    struct error *error)
{
	struct network_draft *draft = out;

	return config_value_u16(file, value, 68, 65535, &draft->gateway->dhcp.mtu, error);
}

/* ---- routes ---- */

static int read_route_to(const char *file, const struct config_node *value, void *out,
			 struct error *error)
{
	struct dhcp_route *route = out;
	int rc = config_value_network(file, value, &route->to, error);

	if (rc == 0 && !ip_is_v4(&route->to.ip))
		rc = config_error(file, value, error, "is no IPv4 prefix; allowed: A.B.C.D/LENGTH");
	return rc;
}

static int read_route_via(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct dhcp_route *route = out;

	return config_value_ip(file, value, AF_INET, &route->via, error);
}

static int read_route(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	static const struct config_key keys[] = {
		{ "to", read_route_to, true, "A.B.C.D/LENGTH" },
		{ "via", read_route_via, true, "address of a router on the network" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };
	struct network_draft *draft = out;
	struct gateway_config *gateway = draft->gateway;
	struct dhcp_route *route = config_value_append(
	    &gateway->dhcp.routes, &gateway->dhcp.route_count, sizeof(*route), error);

	if (route == NULL)
		return -ENOMEM;
	return config_node_read(file, value, "a route", tables, 1, route, error);
}

static int read_routes(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	if (value->kind != CONFIG_SEQUENCE)
		return config_error(file, value, error,
				    "is no list of routes; allowed: [{to: PREFIX, via: ADDRESS}]");
	return config_value_each(file, value, "routes", ROUTES_MAX, read_route, out, error);
}

/* ---- boot ---- */

static int read_boot_server(const char *file, const struct config_node *value, void *out,
			    struct error *error)
{
	struct network_draft *draft = out;
	struct dhcp_config *dhcp = &draft->gateway->dhcp;

	dhcp->has_next_server = true;
	return config_value_ip(file, value, AF_INET, &dhcp->next_server, error);
}

static int read_boot_file(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct dhcp_config *dhcp = &((struct network_draft *)out)->gateway->dhcp;

	return config_node_text(file, value, dhcp->boot_file, sizeof(dhcp->boot_file), error);
}

static int read_boot_name(const char *file, const struct config_node *value, void *out,
			  struct error *error)
{
	struct dhcp_config *dhcp = &((struct network_draft *)out)->gateway->dhcp;

	return config_node_text(file, value, dhcp->server_name, sizeof(dhcp->server_name), error);
}

static int read_boot(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const struct config_key keys[] = {
		{ "server", read_boot_server, false, "address of the TFTP server" },
		{ "file", read_boot_file, false, "what to load from it" },
		{ "name", read_boot_name, false, "the server's name" },
		{ NULL },
	};
	static const struct config_key *const tables[] = { keys };

	return config_node_read(file, value, "'boot'", tables, 1, out, error);
}

int config_read_dhcp(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const struct config_key keys[] = {
		{ "range", read_ranges, false, "addresses to give, FIRST-LAST or a list" },
		{ "lease", read_lease, false, "time of a lease, such as 12h" },
		{ "hosts", config_read_dhcp_hosts, false, "reservations by name" },
		{ "router", read_router, false, "none, or addresses" },
		{ "dns", read_dns, false, "addresses of name servers" },
		{ "domain", read_domain, false, "the guests' domain" },
		{ "search", read_search, false, "domains to search names in" },
		{ "mtu", read_mtu, false, "MTU for the guests" },
		{ "ntp", read_ntp, false, "addresses of time servers" },
		{ "routes", read_routes, false, "[{to: PREFIX, via: ADDRESS}]" },
		{ "boot", read_boot, false, "{server: ADDRESS, file: TEXT, name: TEXT}" },
		{ "options", config_read_dhcp_options, false, "other options, {CODE: VALUE}" },
		{ NULL },
	};
	struct network_draft *draft = out;

	return config_read_service(file, value, "'dhcp'", keys, &draft->dhcp, draft, error);
}

/* ---- afterwards ---- */

/* The address behind it (1) or before it (0xff: -1 in every byte), of the same family. */
static struct ip step(struct ip ip, uint8_t by)
{
	for (int i = 15; i >= 0; i--) {
		uint8_t carry = by == 1 ? ip.bytes[i] == 0xff : ip.bytes[i] == 0;

		ip.bytes[i] = (uint8_t)(ip.bytes[i] + by);
		if (!carry)
			break;
	}
	return ip;
}

static int add_range(struct ip_range **ranges, uint32_t *count, struct ip first, struct ip last,
		     struct error *error)
{
	struct ip_range *range;

	if (ip_compare(&first, &last) > 0)
		return 0;
	range = config_value_append(ranges, count, sizeof(*range), error);
	if (range == NULL)
		return -ENOMEM;
	range->first = first;
	range->last = last;
	return 0;
}

int config_add_ranges(struct ip_range **ranges, uint32_t *count, const struct ip *first,
		      const struct ip *last, const struct ip *without, struct error *error)
{
	int rc;

	if (ip_compare(without, first) < 0 || ip_compare(last, without) < 0)
		return add_range(ranges, count, *first, *last, error);
	rc = add_range(ranges, count, *first, step(*without, 0xff), error);
	return rc < 0 ? rc : add_range(ranges, count, step(*without, 1), *last, error);
}

/* All hosts of the first prefix but the gateway. */
static int default_ranges(struct gateway_config *gateway, struct error *error)
{
	const struct ip_prefix *prefix = &gateway->addresses[0];
	struct ip first = ip_prefix_network(prefix).ip, last = ip_prefix_last(prefix);

	if (prefix->length < 127) {
		first = step(first, 1);
		last = step(last, 0xff);
	}
	return config_add_ranges(&gateway->dhcp.ranges, &gateway->dhcp.range_count, &first, &last,
				 &prefix->ip, error);
}

/* What is wrong with the range behind its ends, both of which are hosts; "" if nothing. */
static const char *range_fault(const struct gateway_config *gateway, const struct ip_range *ranges,
			       uint32_t i)
{
	const struct ip_range *range = &ranges[i];

	if (gateway_config_find_prefix(gateway, &range->first) !=
	    gateway_config_find_prefix(gateway, &range->last))
		return "begins in one of the network's prefixes and ends in another";
	for (uint8_t a = 0; a < gateway->address_count; a++)
		if (ip_compare(&range->first, &gateway->addresses[a].ip) <= 0 &&
		    ip_compare(&gateway->addresses[a].ip, &range->last) <= 0)
			return "has the gateway's own address in it";
	for (uint32_t j = 0; j < i; j++)
		if (ip_compare(&range->first, &ranges[j].last) <= 0 &&
		    ip_compare(&ranges[j].first, &range->last) <= 0)
			return "overlaps with another range of the list";
	return "";
}

int config_check_ranges(const char *file, const struct config_node *node,
			const struct gateway_config *gateway, const struct ip_range *ranges,
			uint32_t count, struct error *error)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct config_node *value = config_draft_value(node, i);
		const struct ip *end = &ranges[i].first;
		const char *fault = config_guest_fault(gateway, end);
		char text[IP_TEXT_LENGTH];

		if (fault[0] == '\0') {
			end = &ranges[i].last;
			fault = config_guest_fault(gateway, end);
		}
		if (fault[0] != '\0')
			return config_error(file, value, error,
					    "%s %s; allowed: hosts of the network, without its "
					    "gateway",
					    ip_to_text(end, text), fault);
		fault = range_fault(gateway, ranges, i);
		if (fault[0] != '\0')
			return config_error(file, value, error,
					    "the range %s; allowed: hosts of the network, without "
					    "its gateway",
					    fault);
	}
	return 0;
}

static int check_routers(const char *file, const struct network_draft *draft, struct error *error)
{
	const struct ip_list *routers = &draft->gateway->dhcp.routers;
	const struct config_node *node = config_draft_node(draft, "dhcp", "router");
	char text[IP_TEXT_LENGTH];

	for (uint8_t i = 0; i < routers->count; i++)
		if (gateway_config_find_prefix(draft->gateway, &routers->ips[i]) == NULL)
			return config_error(file, config_draft_value(node, i), error,
					    "%s is in none of the network's prefixes; allowed: the "
					    "gateway, or another router the guests reach",
					    ip_to_text(&routers->ips[i], text));
	return 0;
}

static int check_routes(const char *file, const struct network_draft *draft, struct error *error)
{
	const struct dhcp_config *dhcp = &draft->gateway->dhcp;
	const struct config_node *node = config_draft_node(draft, "dhcp", "routes");

	for (uint32_t i = 0; i < dhcp->route_count; i++)
		if (gateway_config_find_prefix(draft->gateway, &dhcp->routes[i].via) == NULL)
			return config_error(file, config_draft_value(node, i), error,
					    "'via' is in none of the network's prefixes; allowed: "
					    "a router the guests reach without a router");
	return 0;
}

int config_finish_dhcp(const char *file, struct network_draft *draft, struct error *error)
{
	struct gateway_config *gateway = draft->gateway;
	struct dhcp_config *dhcp = &gateway->dhcp;
	int rc;

	if (!gateway_config_has_ipv4(gateway)) {
		if (draft->dhcp == CONFIG_ON)
			return config_error(file, config_draft_node(draft, "dhcp", NULL), error,
					    "the network has no IPv4 address; allowed: together "
					    "with 'ipv4'");
		return 0;
	}
	dhcp->enabled = draft->dhcp != CONFIG_OFF;
	if (!dhcp->enabled)
		return 0;
	if (dhcp->lease_time == 0)
		dhcp->lease_time = LEASE_DEFAULT;
	if (!draft->router_given)
		dhcp->no_router = !draft->mode->routes;
	if (dhcp->domain[0] == '\0')
		memcpy(dhcp->domain, gateway->dns.domain, sizeof(dhcp->domain));
	if (dhcp->mtu == 0 && gateway->mtu != 1500)
		dhcp->mtu = gateway->mtu;
	if (dhcp->range_count == 0)
		rc = default_ranges(gateway, error);
	else
		rc = config_check_ranges(file, config_draft_node(draft, "dhcp", "range"), gateway,
					 dhcp->ranges, dhcp->range_count, error);
	if (rc == 0)
		rc = check_routers(file, draft, error);
	return rc < 0 ? rc : check_routes(file, draft, error);
}
