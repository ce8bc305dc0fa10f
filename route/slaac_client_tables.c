/* What routers told an uplink (slaac_client_tables.h). Control thread. */
#include "route/slaac_client_tables.h"

#include "base/parse.h"
#include "route/nd_option.h"

#define TWO_HOURS	 7200000u /* ms; RFC 4862, 5.5.3 */
#define MTU_MIN		 1280u
#define IDENTIFIER_BITS	 64u
#define FLAG_MANAGED	 0x80
#define FLAG_OTHER	 0x40
#define FLAG_ON_LINK	 0x80
#define FLAG_AUTONOMOUS	 0x40
#define RDNSS_LENGTH_MIN 24u

static uint64_t time_after(uint64_t now, uint32_t seconds)
{
	return seconds == UINT32_MAX ? UINT64_MAX : now + seconds * 1000ull;
}

/* RFC 4191, 2.2; the reserved value counts as medium. */
static int8_t preference_of(uint8_t flags)
{
	static const int8_t preferences[] = { SLAAC_MEDIUM, SLAAC_HIGH, SLAAC_MEDIUM, SLAAC_LOW };

	return preferences[flags >> 3 & 3];
}

static void remove_router(struct slaac_tables *tables, uint32_t i)
{
	tables->router_count--;
	memmove(&tables->routers[i], &tables->routers[i + 1],
		(tables->router_count - i) * sizeof(tables->routers[0]));
}

/* Behind those that are as good. */
static void insert_router(struct slaac_tables *tables, const struct slaac_router *router)
{
	uint32_t i = tables->router_count;

	for (; i > 0 && tables->routers[i - 1].preference < router->preference; i--)
		tables->routers[i] = tables->routers[i - 1];
	tables->routers[i] = *router;
	tables->router_count++;
}

static void learn_router(struct slaac_tables *tables, const struct packet *packet, uint64_t now,
			 struct slaac_client_counters *counters)
{
	const uint8_t *p = packet->payload;
	const uint8_t *link =
	    nd_option_find(p + ND_ADVERTISEMENT_LENGTH,
			   packet->payload_length - ND_ADVERTISEMENT_LENGTH, ND_OPTION_SOURCE_LINK);
	struct slaac_router router = { .ip = packet->source,
				       .mac = packet->from,
				       .preference = preference_of(p[5]),
				       .until = time_after(now, read_be16(p + 6)) };
	uint32_t i = 0, last = tables->router_count - 1;

	if (link != NULL && nd_option_length(link, ND_LINK_LENGTH) == ND_LINK_LENGTH &&
	    !mac_is_multicast(link + 2))
		memcpy(router.mac.bytes, link + 2, MAC_LENGTH);
	while (i < tables->router_count && !ip_equal(&tables->routers[i].ip, &router.ip))
		i++;
	if (i < tables->router_count && router.until > now &&
	    tables->routers[i].preference == router.preference) {
		tables->routers[i] = router;
		return;
	}
	if (i < tables->router_count)
		remove_router(tables, i);
	if (router.until <= now)
		return;
	if (tables->router_count == SLAAC_ROUTERS_MAX) {
		counters->ignored++;
		if (tables->routers[last].preference >= router.preference)
			return;
		remove_router(tables, last);
	}
	insert_router(tables, &router);
}

static struct slaac_entry *find_entry(struct slaac_tables *tables, const struct ip_prefix *prefix)
{
	for (uint32_t i = 0; i < tables->entry_count; i++) {
		if (ip_prefix_equal(&tables->entries[i].prefix, prefix))
			return &tables->entries[i];
	}
	return NULL;
}

/* RFC 4862, 5.5.3, d and e: an advertisement, which nobody has signed, cannot end an address within
 * two hours. */
static void learn_address(struct slaac_entry *entry, uint32_t valid, uint32_t preferred,
			  uint64_t now)
{
	uint64_t until = time_after(now, valid);

	if (!entry->autonomous || until > now + TWO_HOURS || until > entry->valid_until)
		entry->valid_until = until;
	else if (entry->valid_until > now + TWO_HOURS)
		entry->valid_until = now + TWO_HOURS;
	entry->preferred_until = time_after(now, preferred);
	entry->autonomous = true;
}

/* RFC 4861, 6.3.4; RFC 4862, 5.5.3. */
static void learn_prefix(struct slaac_tables *tables, const uint8_t *p, uint64_t now,
			 struct slaac_client_counters *counters)
{
	struct ip_prefix prefix = { ip_from_v6_bytes(p + 16), p[2] };
	uint32_t valid = read_be32(p + 4), preferred = read_be32(p + 8);
	bool on_link = (p[3] & FLAG_ON_LINK) != 0;
	bool autonomous =
	    (p[3] & FLAG_AUTONOMOUS) != 0 && p[2] == IDENTIFIER_BITS && preferred <= valid;
	struct slaac_entry *entry;

	if (prefix.length > 128 || ip_is_link_local(&prefix.ip) || ip_is_multicast(&prefix.ip) ||
	    (!on_link && !autonomous))
		return;
	prefix = ip_prefix_network(&prefix);
	entry = find_entry(tables, &prefix);
	if (entry == NULL) {
		if (valid == 0)
			return;
		if (tables->entry_count == SLAAC_PREFIXES_MAX) {
			counters->ignored++;
			return;
		}
		entry = &tables->entries[tables->entry_count++];
		*entry = (struct slaac_entry){ .prefix = prefix };
	}
	if (on_link)
		entry->on_link_until = time_after(now, valid);
	if (autonomous && (entry->autonomous || valid > 0))
		learn_address(entry, valid, preferred, now);
}

/* RFC 8106, 5.1. */
static void learn_resolvers(struct slaac_tables *tables, const uint8_t *p, size_t length,
			    uint64_t now, struct slaac_client_counters *counters)
{
	uint64_t until = time_after(now, read_be32(p + 4));

	for (size_t at = 8; at + 16 <= length; at += 16) {
		struct ip ip = ip_from_v6_bytes(p + at);
		uint32_t i = 0;

		if (!ip_is_host(&ip))
			continue;
		while (i < tables->resolver_count && !ip_equal(&tables->resolvers[i].ip, &ip))
			i++;
		if (i == tables->resolver_count && until <= now)
			continue;
		if (i == DHCP_LIST_MAX) {
			counters->ignored++;
			continue;
		}
		if (i == tables->resolver_count)
			tables->resolver_count++;
		tables->resolvers[i] = (struct slaac_resolver){ ip, until };
	}
}

void slaac_tables_learn(struct slaac_tables *tables, const struct packet *packet, uint16_t mtu_max,
			uint64_t now, struct slaac_client_counters *counters)
{
	const uint8_t *p = packet->payload;
	size_t left = packet->payload_length - ND_ADVERTISEMENT_LENGTH, length;

	if (p[4] != 0)
		tables->hop_limit = p[4];
	tables->managed = (p[5] & FLAG_MANAGED) != 0;
	tables->other = (p[5] & FLAG_OTHER) != 0;
	learn_router(tables, packet, now, counters);
	for (p += ND_ADVERTISEMENT_LENGTH; left > 0; p += length, left -= length) {
		length = nd_option_length(p, left);
		if (p[0] == ND_OPTION_PREFIX && length == ND_PREFIX_LENGTH) {
			learn_prefix(tables, p, now, counters);
		} else if (p[0] == ND_OPTION_MTU && length == ND_MTU_LENGTH) {
			uint32_t mtu = read_be32(p + 4);

			if (mtu >= MTU_MIN && mtu <= (mtu_max != 0 ? mtu_max : UINT16_MAX))
				tables->mtu = (uint16_t)mtu;
		} else if (p[0] == ND_OPTION_RDNSS && length >= RDNSS_LENGTH_MIN) {
			learn_resolvers(tables, p, length, now, counters);
		}
	}
	slaac_tables_expire(tables, now);
}

void slaac_tables_expire(struct slaac_tables *tables, uint64_t now)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < tables->entry_count; i++) {
		struct slaac_entry *entry = &tables->entries[i];

		if (entry->autonomous && entry->valid_until <= now) {
			entry->autonomous = false;
			entry->proof = (struct slaac_proof){ 0 };
		}
		entry->deprecated = entry->preferred_until <= now;
		if (entry->on_link_until <= now)
			entry->on_link_until = 0;
		if (entry->autonomous || entry->on_link_until != 0)
			tables->entries[kept++] = *entry;
	}
	tables->entry_count = kept;
	for (uint32_t i = tables->router_count; i-- > 0;) {
		if (tables->routers[i].until <= now)
			remove_router(tables, i);
	}
	kept = 0;
	for (uint32_t i = 0; i < tables->resolver_count; i++) {
		if (tables->resolvers[i].until > now)
			tables->resolvers[kept++] = tables->resolvers[i];
	}
	tables->resolver_count = kept;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t slaac_tables_deadline(const struct slaac_tables *tables)
{
	uint64_t deadline = UINT64_MAX;

	for (uint32_t i = 0; i < tables->entry_count; i++) {
		const struct slaac_entry *entry = &tables->entries[i];

		if (entry->on_link_until != 0)
			deadline = sooner(deadline, entry->on_link_until);
		if (entry->autonomous)
			deadline = sooner(deadline, entry->valid_until);
		if (entry->autonomous && !entry->deprecated)
			deadline = sooner(deadline, entry->preferred_until);
	}
	for (uint32_t i = 0; i < tables->router_count; i++)
		deadline = sooner(deadline, tables->routers[i].until);
	for (uint32_t i = 0; i < tables->resolver_count; i++)
		deadline = sooner(deadline, tables->resolvers[i].until);
	return deadline;
}

void slaac_tables_state(const struct slaac_tables *tables, bool has_link_local,
			struct slaac_state *state)
{
	*state = (struct slaac_state){ .has_link_local = has_link_local,
				       .prefix_count = tables->entry_count,
				       .router_count = tables->router_count,
				       .mtu = tables->mtu,
				       .hop_limit = tables->hop_limit,
				       .managed = tables->managed,
				       .other = tables->other };
	for (uint32_t i = 0; i < tables->entry_count; i++) {
		const struct slaac_entry *entry = &tables->entries[i];
		struct slaac_prefix *prefix = &state->prefixes[i];

		prefix->prefix = entry->prefix;
		prefix->on_link_until = entry->on_link_until;
		prefix->has_address = entry->autonomous && entry->proof.done;
		if (!prefix->has_address)
			continue;
		prefix->address = entry->proof.ip;
		prefix->deprecated = entry->deprecated;
		prefix->preferred_until = entry->preferred_until;
		prefix->valid_until = entry->valid_until;
	}
	memcpy(state->routers, tables->routers, sizeof(state->routers));
	for (uint32_t i = 0; i < tables->resolver_count; i++)
		state->dns.ips[state->dns.count++] = tables->resolvers[i].ip;
}

static bool same_prefix(const struct slaac_prefix *a, const struct slaac_prefix *b)
{
	return ip_prefix_equal(&a->prefix, &b->prefix) &&
	       (a->on_link_until == 0) == (b->on_link_until == 0) &&
	       a->has_address == b->has_address && ip_equal(&a->address, &b->address) &&
	       a->deprecated == b->deprecated;
}

static bool same_router(const struct slaac_router *a, const struct slaac_router *b)
{
	return ip_equal(&a->ip, &b->ip) && mac_to_u64(a->mac.bytes) == mac_to_u64(b->mac.bytes) &&
	       a->preference == b->preference;
}

bool slaac_state_same(const struct slaac_state *a, const struct slaac_state *b)
{
	if (a->has_link_local != b->has_link_local || a->prefix_count != b->prefix_count ||
	    a->router_count != b->router_count || a->dns.count != b->dns.count ||
	    a->mtu != b->mtu || a->hop_limit != b->hop_limit || a->managed != b->managed ||
	    a->other != b->other)
		return false;
	for (uint32_t i = 0; i < a->prefix_count; i++) {
		if (!same_prefix(&a->prefixes[i], &b->prefixes[i]))
			return false;
	}
	for (uint32_t i = 0; i < a->router_count; i++) {
		if (!same_router(&a->routers[i], &b->routers[i]))
			return false;
	}
	return memcmp(a->dns.ips, b->dns.ips, a->dns.count * sizeof(a->dns.ips[0])) == 0;
}
