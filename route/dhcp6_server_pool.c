/* Addresses of the DHCPv6 server (dhcp6_server_pool.h): reservations, ranges, limits. Control
 * thread. */
#include "route/dhcp6_server_pool.h"

#include "base/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#define DECLINED_TIME 3600u /* seconds */
#define FULL_TIME     2u
#define JUMPS	      16u /* places looked at before neighbours are */

__extension__ typedef unsigned __int128 number; /* an address as one */

static number number_of(const struct ip *ip)
{
	number n = 0;

	for (unsigned i = 0; i < sizeof(ip->bytes); i++)
		n = n << 8 | ip->bytes[i];
	return n;
}

static struct ip ip_of(number n)
{
	struct ip ip;

	for (unsigned i = sizeof(ip.bytes); i-- > 0; n >>= 8)
		ip.bytes[i] = (uint8_t)n;
	return ip;
}

static int compare_reserved(const void *a, const void *b)
{
	return ip_compare(*(const struct ip *const *)a, *(const struct ip *const *)b);
}

int dhcp6_pool_init(struct dhcp6_pool *pool, const struct dhcp6_settings *settings,
		    struct lease_table *leases, struct dhcp6_counters *counters)
{
	*pool = (struct dhcp6_pool){
		.config = settings->config,
		.hosts = settings->hosts,
		.host_count = settings->host_count,
		.port_limit = settings->port_limit,
		.leases = leases,
		.counters = counters,
	};
	for (uint32_t i = 0; i < settings->prefix_count; i++) {
		if (!ip_is_v4(&settings->prefixes[i].ip) && pool->prefix_count < DHCP6_PREFIXES_MAX)
			pool->prefixes[pool->prefix_count++] = settings->prefixes[i];
	}
	pool->reserved = calloc(settings->host_count + 1u, sizeof(const struct ip *));
	if (pool->reserved == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < settings->host_count; i++) {
		if (settings->hosts[i].has_ip6)
			pool->reserved[pool->reserved_count++] = &settings->hosts[i].ip6;
	}
	qsort(pool->reserved, pool->reserved_count, sizeof(const struct ip *), compare_reserved);
	return 0;
}

void dhcp6_pool_finish(struct dhcp6_pool *pool)
{
	free(pool->reserved);
	pool->reserved = NULL;
}

bool dhcp6_pool_on_link(const struct dhcp6_pool *pool, const struct ip *ip)
{
	for (uint32_t i = 0; i < pool->prefix_count; i++) {
		if (ip_prefix_contains(&pool->prefixes[i], ip))
			return true;
	}
	return false;
}

/* The MAC in a DUID of type LLT or LL for Ethernet (RFC 8415, 11.2, 11.4). */
static bool duid_holds(const struct dhcp6_client *client, struct mac mac)
{
	uint16_t type = read_be16(client->duid);
	uint8_t at = type == 1 ? 8 : 4;

	return (type == 1 || type == 3) && client->duid_length == at + MAC_LENGTH &&
	       read_be16(client->duid + 2) == 1 &&
	       memcmp(client->duid + at, mac.bytes, MAC_LENGTH) == 0;
}

static bool mac_equal(struct mac a, struct mac b)
{
	return mac_to_u64(a.bytes) == mac_to_u64(b.bytes);
}

/* How well the host fits: 0 not, 1 by what the guest says of itself, 2 by its own MAC. */
static int host_fits(const struct dhcp_host *host, const struct dhcp6_client *client,
		     const char *label)
{
	if (host->has_mac)
		return mac_equal(host->mac, client->mac) ? 2 : duid_holds(client, host->mac);
	if (host->client_length > 0)
		return host->client_length == client->duid_length &&
		       memcmp(host->client, client->duid, client->duid_length) == 0;
	return label[0] != '\0' && strcasecmp(host->name, label) == 0;
}

/* Whether a guest may be called so: no reservation's name, nor that of another guest. */
static bool name_is_free(const struct dhcp6_pool *pool, const struct dhcp6_client *client,
			 const char *label)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (uint32_t i = 0; i < pool->host_count; i++) {
		if (strcasecmp(pool->hosts[i].name, label) == 0)
			return false;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct lease *lease = lease_find_host(pool->leases, families[i], label);

		if (lease != NULL && !mac_equal(lease->mac, client->mac))
			return false;
	}
	return true;
}

void dhcp6_pool_identify(const struct dhcp6_pool *pool, struct dhcp6_client *client,
			 const char *label)
{
	int best = 0;

	client->reservation = NULL;
	client->host[0] = '\0';
	for (uint32_t i = 0; i < pool->host_count && best < 2; i++) {
		int fits = host_fits(&pool->hosts[i], client, label);

		if (fits > best) {
			best = fits;
			client->reservation = &pool->hosts[i];
		}
	}
	if (client->reservation != NULL)
		memcpy(client->host, client->reservation->name, sizeof(client->host));
	else if (label[0] != '\0' && name_is_free(pool, client, label))
		memcpy(client->host, label, strlen(label) + 1);
}

static bool same_client(const struct lease *lease, const struct dhcp6_client *client)
{
	return lease->client_length == client->duid_length &&
	       memcmp(lease->client, client->duid, client->duid_length) == 0;
}

static bool is_ours(const struct lease *lease, const struct dhcp6_client *client, uint32_t iaid)
{
	return lease->state != LEASE_DECLINED && lease->iaid == iaid &&
	       mac_equal(lease->mac, client->mac) && same_client(lease, client);
}

const struct lease *dhcp6_pool_find(const struct dhcp6_pool *pool,
				    const struct dhcp6_client *client, uint32_t iaid,
				    const struct ip *ip)
{
	const struct lease *lease = lease_find_ip(pool->leases, ip);

	return lease != NULL && is_ours(lease, client, iaid) ? lease : NULL;
}

static bool is_taken(const struct dhcp6_client *client, const struct ip *ip)
{
	for (uint32_t i = 0; i < client->taken_count; i++) {
		if (ip_equal(&client->taken[i], ip))
			return true;
	}
	return false;
}

/* Nobody else holds it. */
static bool is_free(const struct dhcp6_pool *pool, const struct dhcp6_client *client, uint32_t iaid,
		    const struct ip *ip, uint64_t wall)
{
	const struct lease *lease = lease_find_ip(pool->leases, ip);

	return !is_taken(client, ip) &&
	       (lease == NULL || lease->expires <= wall || is_ours(lease, client, iaid));
}

/* A reservation by MAC is won back from whoever has it by its owner: a guest that said it was him,
 * or himself before he was installed anew. */
static bool may_have_reserved(const struct dhcp6_pool *pool, const struct dhcp6_client *client,
			      uint32_t iaid, uint64_t wall)
{
	const struct dhcp_host *host = client->reservation;
	const struct lease *lease;

	if (host == NULL || !host->has_ip6)
		return false;
	if (is_free(pool, client, iaid, &host->ip6, wall))
		return true;
	lease = lease_find_ip(pool->leases, &host->ip6);
	return lease != NULL && lease->state != LEASE_DECLINED && !is_taken(client, &host->ip6) &&
	       host->has_mac && mac_equal(host->mac, client->mac) &&
	       !(mac_equal(lease->mac, client->mac) && same_client(lease, client));
}

/* Whether the ranges give it out: nobody's reservation, not the gateway's, not the address of all
 * routers of the prefix (RFC 4291, 2.6.1). */
static bool is_ranged(const struct dhcp6_pool *pool, const struct ip *ip)
{
	bool inside = false;

	for (uint32_t i = 0; i < pool->config->range_count && !inside; i++)
		inside = ip_compare(&pool->config->ranges[i].first, ip) <= 0 &&
			 ip_compare(ip, &pool->config->ranges[i].last) <= 0;
	if (!inside || bsearch(&ip, pool->reserved, pool->reserved_count, sizeof(const struct ip *),
			       compare_reserved) != NULL)
		return false;
	for (uint32_t i = 0; i < pool->prefix_count; i++) {
		struct ip_prefix network = ip_prefix_network(&pool->prefixes[i]);

		if (ip_equal(ip, &pool->prefixes[i].ip) || ip_equal(ip, &network.ip))
			return false;
	}
	return true;
}

/* FNV-1a, mixed at the end; only spreads clients over the ranges. */
static uint64_t hash_client(const struct dhcp6_client *client, uint32_t iaid)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (uint8_t i = 0; i < client->duid_length; i++)
		hash = (hash ^ client->duid[i]) * 0x100000001b3u;
	hash = (hash ^ mac_to_u64(client->mac.bytes)) * 0x100000001b3u;
	return (hash ^ iaid) * 0x100000001b3u;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

/* The n-th address of all ranges. */
static struct ip ranged_address(const struct dhcp6_config *config, number n)
{
	for (uint32_t i = 0;; i++) {
		number first = number_of(&config->ranges[i].first);
		number size = number_of(&config->ranges[i].last) - first + 1;

		if (n < size || i + 1 == config->range_count)
			return ip_of(first + n);
		n -= size;
	}
}

/* Jumps first, which find one in a large range at once; then one after the other, so that the last
 * of a small range is found. What is not free is leased, reserved or the gateway's, and there are
 * only so many of those. */
static bool search_ranges(struct dhcp6_pool *pool, const struct dhcp6_client *client, uint32_t iaid,
			  uint64_t wall, struct ip *ip)
{
	const struct dhcp6_config *config = pool->config;
	uint64_t hash = hash_client(client, iaid);
	uint64_t tries = (uint64_t)lease_table_count(pool->leases) + pool->reserved_count +
			 2u * pool->prefix_count + client->taken_count + 1;
	number total = 0;

	for (uint32_t i = 0; i < config->range_count; i++)
		total +=
		    number_of(&config->ranges[i].last) - number_of(&config->ranges[i].first) + 1;
	if (total == 0 || (wall < pool->full_until && pool->full_until <= wall + FULL_TIME))
		return false;
	if (tries > total)
		tries = (uint64_t)total;
	for (uint64_t i = 0; i < JUMPS + tries; i++) {
		number at = i < JUMPS ? mix(hash + i) : (number)mix(hash) + i - JUMPS;

		*ip = ranged_address(config, at % total);
		if (is_ranged(pool, ip) && is_free(pool, client, iaid, ip, wall))
			return true;
	}
	pool->full_until = wall + FULL_TIME;
	return false;
}

/* Whether the client goes on with a lease of its own, which may come by another port than before.
 */
static bool may_keep(const struct dhcp6_pool *pool, const struct dhcp6_client *client,
		     uint32_t iaid, const struct lease *lease, bool port_full)
{
	return lease != NULL && is_ours(lease, client, iaid) && is_ranged(pool, &lease->ip) &&
	       !is_taken(client, &lease->ip) && (!port_full || lease->port == client->port);
}

static bool choose_address(struct dhcp6_pool *pool, struct dhcp6_client *client,
			   const struct dhcp6_ia *ia, uint64_t wall, struct ip *ip)
{
	const struct lease *old =
	    lease_find_client(pool->leases, AF_INET6, client->duid, client->duid_length, ia->iaid);
	bool port_full = pool->port_limit != 0 &&
			 lease_count_port(pool->leases, AF_INET6, client->port) >= pool->port_limit;

	/* A clone's lease the table finds by its address only. */
	for (uint32_t i = 0; i <= ia->address_count; i++) {
		if (may_keep(pool, client, ia->iaid, old, port_full)) {
			*ip = old->ip;
			return true;
		}
		if (i < ia->address_count)
			old = lease_find_ip(pool->leases, &ia->addresses[i].ip);
	}
	if (port_full) {
		pool->counters->over_limit++;
		return false;
	}
	for (uint32_t i = 0; i < ia->address_count; i++) {
		*ip = ia->addresses[i].ip;
		if (is_ranged(pool, ip) && is_free(pool, client, ia->iaid, ip, wall))
			return true;
	}
	if (search_ranges(pool, client, ia->iaid, wall, ip))
		return true;
	pool->counters->exhausted++;
	return false;
}

bool dhcp6_pool_choose(struct dhcp6_pool *pool, struct dhcp6_client *client,
		       const struct dhcp6_ia *ia, uint64_t wall, struct lease *lease)
{
	uint32_t time = pool->config->lease_time;

	if (pool->config->mode != DHCP6_STATEFUL)
		return false;
	*lease = (struct lease){
		.mac = client->mac,
		.client_length = client->duid_length,
		.iaid = ia->iaid,
		.expires = time == DHCP6_FOREVER ? LEASE_FOREVER : wall + time,
		.state = LEASE_BOUND,
		.port = client->port,
	};
	memcpy(lease->client, client->duid, client->duid_length);
	memcpy(lease->host, client->host, sizeof(lease->host));
	if (may_have_reserved(pool, client, ia->iaid, wall)) {
		lease->ip = client->reservation->ip6;
		lease->reserved = true;
	} else if (!choose_address(pool, client, ia, wall, &lease->ip)) {
		return false;
	}
	client->taken[client->taken_count++] = lease->ip;
	return true;
}

bool dhcp6_pool_bind(struct dhcp6_pool *pool, const struct dhcp6_client *client,
		     const struct lease *lease)
{
	const struct lease *old = lease_find_client(pool->leases, AF_INET6, client->duid,
						    client->duid_length, lease->iaid);

	/* Another address than before: an association has one. */
	if (old != NULL && is_ours(old, client, lease->iaid) && !ip_equal(&old->ip, &lease->ip))
		lease_remove(pool->leases, &old->ip);
	if (lease_put(pool->leases, lease) == 0)
		return true;
	pool->counters->exhausted++;
	return false;
}

void dhcp6_pool_decline(struct dhcp6_pool *pool, const struct lease *lease, uint64_t wall)
{
	/* Whose it was is forgotten, but not by which port it came: its limit counts this too. */
	struct lease declined = {
		.ip = lease->ip,
		.expires = wall + DECLINED_TIME,
		.state = LEASE_DECLINED,
		.reserved = lease->reserved,
		.port = lease->port,
	};

	pool->counters->declined++;
	/* Replaces one that is there: cannot be refused for room. */
	if (lease_put(pool->leases, &declined) != 0)
		lease_remove(pool->leases, &lease->ip);
}
