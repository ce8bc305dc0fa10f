/* Which address a DHCP client may have, and which it gets (RFC 2131, 4.3.1). For the DHCPv4 server,
 * control thread.
 *
 * A new client's address is the first free one from a place that its key hashes to, so it gets the
 * same again as long as that is free, also after its lease is forgotten. */
#include "route/dhcp_server_parts.h"

#include "base/log.h"
#include "base/siphash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SEARCH_PAUSE   1000u  /* ms without a search after one in vain: it walks all addresses */
#define CONFLICT_PAUSE 60000u /* ms between log lines about conflicts */

static void add_spans(struct dhcp_server *server, const struct ip_range *range);
static const struct dhcp_host *reservation(const struct dhcp_server *server, const struct ip *ip);
static int compare_hosts(const void *a, const void *b);
static bool is_special(const struct dhcp_server *server, const struct ip *ip);
static bool search(struct dhcp_request *request, struct ip *ip);

int dhcp_address_prepare(struct dhcp_server *server)
{
	const struct dhcp_config *config = server->config;
	size_t spans = (size_t)config->range_count * server->leg.prefix_count;

	server->spans = calloc(spans + 1, sizeof(*server->spans));
	server->reserved = calloc((size_t)config->host_count + 1, sizeof(struct dhcp_host *));
	if (server->spans == NULL || server->reserved == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < config->range_count; i++)
		add_spans(server, &config->ranges[i]);
	for (uint32_t i = 0; i < config->host_count; i++)
		if (config->hosts[i].has_ip4)
			server->reserved[server->reserved_count++] = &config->hosts[i];
	qsort(server->reserved, server->reserved_count, sizeof(struct dhcp_host *), compare_hosts);
	return 0;
}

const struct ip_prefix *dhcp_address_prefix(const struct dhcp_server *server, const struct ip *ip)
{
	for (unsigned i = 0; i < server->leg.prefix_count; i++)
		if (ip_prefix_contains(&server->leg.prefixes[i], ip))
			return &server->leg.prefixes[i];
	return NULL;
}

bool dhcp_address_allowed(const struct dhcp_request *request, const struct ip *ip)
{
	const struct dhcp_server *server = request->server;
	const struct dhcp_host *host = reservation(server, ip);
	const struct ip *agent = &request->message->header.giaddr;
	uint32_t number = ip_to_v4(ip);

	if (!ip_is_v4(ip) || is_special(server, ip))
		return false;
	/* RFC 2131, 4.3.1: whom a relay agent speaks for is on the agent's own subnet. */
	if (!ip_is_unspecified(agent) &&
	    dhcp_address_prefix(server, agent) != dhcp_address_prefix(server, ip))
		return false;
	if (host != NULL)
		return host == request->host;
	for (uint32_t i = 0; i < server->span_count; i++)
		if (number >= server->spans[i].first && number <= server->spans[i].last)
			return true;
	return false;
}

bool dhcp_address_free(const struct dhcp_request *request, const struct ip *ip)
{
	const struct lease *lease = lease_find_ip(request->server->leases, ip);

	return lease == NULL || dhcp_client_owns(request, lease);
}

bool dhcp_address_superseded(const struct dhcp_request *request, const struct ip *ip)
{
	const struct dhcp_host *host = request->host;

	return host != NULL && host->has_ip4 && !ip_equal(ip, &host->ip4) &&
	       dhcp_address_allowed(request, &host->ip4) && dhcp_address_free(request, &host->ip4);
}

bool dhcp_address_is_reserved(const struct dhcp_request *request, const struct ip *ip)
{
	const struct dhcp_host *host = request->host;

	return host != NULL && host->has_ip4 && ip_equal(&host->ip4, ip);
}

/* How many leases the port may have. */
static uint64_t port_limit(const struct dhcp_request *request)
{
	uint64_t half = request->server->address_count / 2;

	if (request->by.trusted)
		return DHCP_TRUSTED_LEASES;
	if (half < DHCP_LEASES_LEAST)
		return DHCP_LEASES_LEAST;
	return half < DHCP_PORT_LEASES ? half : DHCP_PORT_LEASES;
}

bool dhcp_address_over_limit(const struct dhcp_request *request, const struct ip *ip)
{
	const struct lease *lease = request->lease;

	if (request->by.port == LEASE_PORT_NONE || dhcp_address_is_reserved(request, ip))
		return false;
	/* One that it has is counted already. */
	if (lease != NULL && lease->port == request->by.port && !lease->reserved)
		return false;
	return lease_count_port(request->server->leases, AF_INET, request->by.port) >=
	       port_limit(request);
}

bool dhcp_address_choose(struct dhcp_request *request, struct ip *ip)
{
	struct dhcp_server *server = request->server;
	const struct dhcp_host *host = request->host;
	const struct lease *lease = request->lease;

	if (host != NULL && host->has_ip4 && dhcp_address_allowed(request, &host->ip4) &&
	    dhcp_address_free(request, &host->ip4)) {
		*ip = host->ip4;
		return true;
	}
	if (lease != NULL && dhcp_address_allowed(request, &lease->ip)) {
		*ip = lease->ip;
	} else if (!dhcp_message_ip(request->message, DHCP_OPTION_REQUESTED_IP, ip) ||
		   !dhcp_address_allowed(request, ip) || !dhcp_address_free(request, ip)) {
		if (!search(request, ip))
			return false;
	}
	if (dhcp_address_over_limit(request, ip)) {
		dhcp_count(server, DHCP_COUNT_PORT_LIMIT);
		return false;
	}
	return true;
}

void dhcp_address_set_aside(struct dhcp_server *server, const struct ip *ip, uint16_t port,
			    uint64_t now, uint64_t wall)
{
	struct lease lease = {
		.ip = *ip,
		.state = LEASE_DECLINED,
		.expires = wall + DHCP_DECLINE_TIME,
		.port = port,
	};
	char text[IP_TEXT_LENGTH];

	lease_put(server->leases, &lease);
	if (now < server->conflict_log_due)
		return;
	server->conflict_log_due = now + CONFLICT_PAUSE;
	log_warning("network %s: %s is in use although DHCP did not give it out; set aside",
		    server->leg.network, ip_to_text(ip, text));
}

static void add_spans(struct dhcp_server *server, const struct ip_range *range)
{
	if (!ip_is_v4(&range->first) || !ip_is_v4(&range->last))
		return;
	for (unsigned i = 0; i < server->leg.prefix_count; i++) {
		const struct ip_prefix *prefix = &server->leg.prefixes[i];
		struct ip_prefix network = ip_prefix_network(prefix);
		struct ip last = ip_prefix_last(prefix);
		struct dhcp_span span = { ip_to_v4(&range->first), ip_to_v4(&range->last) };

		if (span.first < ip_to_v4(&network.ip))
			span.first = ip_to_v4(&network.ip);
		if (span.last > ip_to_v4(&last))
			span.last = ip_to_v4(&last);
		if (span.first > span.last)
			continue;
		server->spans[server->span_count++] = span;
		server->address_count += (uint64_t)span.last - span.first + 1;
	}
}

static int compare_hosts(const void *a, const void *b)
{
	const struct dhcp_host *const *left = a, *const *right = b;

	return ip_compare(&(*left)->ip4, &(*right)->ip4);
}

static const struct dhcp_host *reservation(const struct dhcp_server *server, const struct ip *ip)
{
	struct dhcp_host wanted = { .ip4 = *ip };
	const struct dhcp_host *key = &wanted, *const * found;

	found = bsearch(&key, server->reserved, server->reserved_count, sizeof(key), compare_hosts);
	return found == NULL ? NULL : *found;
}

/* Outside the leg's prefixes, the gateway itself, or a prefix's network or broadcast address. */
static bool is_special(const struct dhcp_server *server, const struct ip *ip)
{
	bool inside = false;

	for (unsigned i = 0; i < server->leg.prefix_count; i++) {
		const struct ip_prefix *prefix = &server->leg.prefixes[i];
		struct ip_prefix network = ip_prefix_network(prefix);
		struct ip last = ip_prefix_last(prefix);

		if (!ip_prefix_contains(prefix, ip))
			continue;
		inside = true;
		if (ip_equal(ip, &prefix->ip))
			return true;
		/* RFC 3021: a /31 has neither. */
		if (prefix->length < 127 && (ip_equal(ip, &network.ip) || ip_equal(ip, &last)))
			return true;
	}
	return !inside;
}

/* The address at a place in all spans. */
static struct ip address_at(const struct dhcp_server *server, uint64_t place)
{
	const struct dhcp_span *span = server->spans;

	for (; place > (uint64_t)span->last - span->first; span++)
		place -= (uint64_t)span->last - span->first + 1;
	return ip_from_v4(span->first + (uint32_t)place);
}

/* Each step but the last meets a lease, a reservation or a special address, all of them bounded. */
static bool walk(const struct dhcp_request *request, struct ip *ip)
{
	static const uint64_t key[2] = { 0 }; /* the same after a restart; nothing secret */
	const struct dhcp_server *server = request->server;
	uint64_t start;

	if (server->address_count == 0)
		return false;
	start = siphash(key, request->client, request->client_length) % server->address_count;
	for (uint64_t i = 0; i < server->address_count; i++) {
		*ip = address_at(server, (start + i) % server->address_count);
		if (lease_find_ip(server->leases, ip) == NULL && dhcp_address_allowed(request, ip))
			return true;
	}
	return false;
}

/* A free address; else it is counted, and logged when that begins. */
static bool search(struct dhcp_request *request, struct ip *ip)
{
	struct dhcp_server *server = request->server;

	if (request->now >= server->search_due) {
		if (walk(request, ip)) {
			server->exhausted = false;
			return true;
		}
		server->search_due = request->now + SEARCH_PAUSE;
	}
	dhcp_count(server, DHCP_COUNT_EXHAUSTED);
	if (!server->exhausted)
		log_warning("network %s: no free address left for DHCP", server->leg.network);
	server->exhausted = true;
	return false;
}
