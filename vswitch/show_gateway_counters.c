/* What the parts of a gateway count, as JSON (show.h, docs/api.md): for `weft show networks`.
 * Control thread. */
#include "vswitch/show.h"

#include "nat/nat.h"
#include "route/advertise.h"
#include "route/dhcp6_server.h"
#include "route/dhcp_server.h"
#include "route/dns.h"
#include "route/dns_tcp.h"
#include "route/icmp.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "vswitch/gateway_internal.h"

/* A table of counters of the form X(name, text) as an object, by name. */
#define SET(name, text) json_object_set_new(object, #name, json_integer((json_int_t)c->name));

static json_t *count_gateway(const struct gateway *gateway)
{
	const struct gateway_counters *c = &gateway->counters;
	json_t *object = json_object();

	GATEWAY_COUNTERS(SET)
	return object;
}

static json_t *count_neighbours(const struct gateway *gateway)
{
	const struct neighbour_counters *c = neighbour_counters(gateway->neighbours);
	json_t *object = json_object();

	NEIGHBOUR_COUNTERS(SET)
	return object;
}

static json_t *count_icmp(const struct gateway *gateway)
{
	const struct icmp_counters *c = icmp_counters(gateway->icmp);
	json_t *object = json_object();

	ICMP_COUNTERS(SET)
	return object;
}

static json_t *count_reassembly(const struct gateway *gateway)
{
	const struct reassembly_counters *c = reassembly_counters(gateway->reassembly);
	json_t *object = json_object();

	REASSEMBLY_COUNTERS(SET)
	return object;
}

static json_t *count_dhcp(const struct gateway *gateway)
{
	const uint64_t *counters;
	json_t *object;

	if (gateway->dhcp == NULL)
		return NULL;
	counters = dhcp_server_counters(gateway->dhcp);
	object = json_object();
	for (unsigned i = 0; i < DHCP_COUNTER_COUNT; i++)
		json_object_set_new(object, dhcp_counter_table[i].name,
				    json_integer((json_int_t)counters[i]));
	return object;
}

static json_t *count_dhcp6(const struct gateway *gateway)
{
	const struct dhcp6_counters *c;

	if (gateway->dhcp6 == NULL)
		return NULL;
	c = dhcp6_server_counters(gateway->dhcp6);
#define PAIR(name) #name, (json_int_t)c->name
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", PAIR(received), PAIR(answered),
			 PAIR(malformed), PAIR(ignored), PAIR(relayed), PAIR(exhausted),
			 PAIR(over_limit), PAIR(declined));
}

static json_t *count_advertise(const struct gateway *gateway)
{
	const struct advertise_counters *c;

	if (gateway->advertise == NULL)
		return NULL;
	c = advertise_counters(gateway->advertise);
	return json_pack("{s:I, s:I, s:I, s:I}", PAIR(solicited), PAIR(malformed), PAIR(multicasts),
			 PAIR(unicasts));
#undef PAIR
}

static json_t *count_dns(const struct gateway *gateway)
{
	const struct dns_counters *c;
	json_t *object;

	if (gateway->dns == NULL)
		return NULL;
	c = dns_server_counters(gateway->dns);
	object = json_object();
	DNS_COUNTERS(SET)
	return object;
}

static json_t *count_dns_tcp(const struct gateway *gateway)
{
	const struct dns_tcp_counters *c;
	json_t *object;

	if (gateway->dns_tcp == NULL)
		return NULL;
	c = dns_tcp_counters(gateway->dns_tcp);
	object = json_object();
	DNS_TCP_COUNTERS(SET)
	return object;
}

static json_t *count_nat(const struct gateway *gateway)
{
	struct nat_stats stats, *c = &stats;

	if (gateway->nat == NULL)
		return NULL;
	nat_get_stats(gateway->nat, &stats);
#define PAIR(name) #name, (json_int_t)c->name
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", PAIR(sessions),
			 PAIR(guests), PAIR(created), PAIR(expired), PAIR(evicted),
			 PAIR(refused_limit), PAIR(refused_guest), PAIR(refused_port),
			 PAIR(restored), PAIR(bytes_per_session));
#undef PAIR
}

json_t *show_gateway_counters(const struct gateway *gateway)
{
	static const struct {
		const char *name;
		json_t *(*count)(const struct gateway *gateway); /* NULL: the part is not there */
	} parts[] = {
		{ "gateway", count_gateway }, { "neighbours", count_neighbours },
		{ "icmp", count_icmp },	      { "reassembly", count_reassembly },
		{ "dhcp", count_dhcp },	      { "dhcp6", count_dhcp6 },
		{ "ra", count_advertise },    { "dns", count_dns },
		{ "dns_tcp", count_dns_tcp }, { "nat", count_nat },
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		json_t *counters = parts[i].count(gateway);

		if (counters != NULL)
			json_object_set_new(object, parts[i].name, counters);
	}
	return object;
}
