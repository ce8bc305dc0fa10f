/* Control of a translator (nat.h): making it, telling it what changed, expiry, lists. Control
 * thread; workers run translate.c on the same struct meanwhile. */
#include "nat/nat.h"

#include "nat/accounts.h"
#include "nat/file.h"
#include "nat/session.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define BUCKETS	      ((size_t)NAT_SESSIONS_MAX * (2 + 2 * NAT_SHARDS))
#define EXPIRE_BUDGET 4096u /* of a shard, at each tick */
#define EXPIRE_PIECE  64u   /* while its lock is held */

static int nat_alloc(struct nat *nat);
static int config_copy(struct nat_config *to, const struct nat_config *from, struct error *error);
static void config_clear(struct nat_config *config);
static int rules_publish(struct nat *nat, const struct nat_config *config, const struct ip *uplink,
			 uint32_t uplink_count, struct error *error);
static uint32_t sessions_end(struct nat *nat,
			     bool (*choose)(struct nat *nat, const struct nat_slot *slot,
					    const void *context),
			     const void *context);
static bool session_unfit(struct nat *nat, const struct nat_slot *slot, const void *context);
static struct nat_rules *nat_rules_now(const struct nat *nat);

int nat_create(const struct nat_config *config, const char *state_path, uint32_t now,
	       struct nat **out, struct error *error)
{
	struct nat *nat = aligned_alloc(64, sizeof(*nat));
	int code;

	if (nat == NULL)
		return -ENOMEM;
	memset(nat, 0, sizeof(*nat));
	code = nat_file_open(nat, state_path, error);
	if (code == 0)
		code = nat_alloc(nat);
	if (code == 0)
		code = config_copy(&nat->config, config, error);
	if (code == 0)
		code = rules_publish(nat, &nat->config, NULL, 0, error);
	if (code == 0)
		code = nat_file_restore(nat, nat_rules_now(nat), now);
	if (code != 0) {
		if (code == -ENOMEM)
			error_set(error, ENOMEM, "out of memory");
		nat_destroy(nat);
		return code;
	}
	if (nat->config.pool_count != 0)
		nat_settle(nat);
	*out = nat;
	return 0;
}

void nat_destroy(struct nat *nat)
{
	struct nat_rules *next;

	if (nat == NULL)
		return;
	for (struct nat_rules *rules = nat->retired; rules != NULL; rules = next) {
		next = rules->next;
		nat_rules_destroy(rules);
	}
	nat_rules_destroy(nat_rules_now(nat));
	nat_file_close(nat);
	nat_memory_free(nat->links, (NAT_SESSIONS_MAX + 1) * sizeof(*nat->links));
	nat_memory_free(nat->guests, (NAT_SESSIONS_MAX + 1) * sizeof(*nat->guests));
	nat_memory_free(nat->permits, (NAT_SESSIONS_MAX + 1) * sizeof(*nat->permits));
	nat_memory_free(nat->buckets, BUCKETS * sizeof(*nat->buckets));
	config_clear(&nat->config);
	free(nat->uplink);
	free(nat);
}

int nat_set_addresses(struct nat *nat, const struct ip *addresses, uint32_t count)
{
	struct ip *copy;
	int code;

	if (count > NAT_ADDRESSES_MAX)
		return -EINVAL;
	if (nat->addresses_known && count == nat->uplink_count &&
	    (count == 0 || memcmp(addresses, nat->uplink, count * sizeof(*addresses)) == 0))
		return 0;
	copy = calloc(count + 1, sizeof(*copy));
	if (copy == NULL)
		return -ENOMEM;
	if (count != 0)
		memcpy(copy, addresses, count * sizeof(*addresses));
	code = rules_publish(nat, &nat->config, copy, count, NULL);
	if (code != 0) {
		free(copy);
		return code;
	}
	free(nat->uplink);
	nat->uplink = copy;
	nat->uplink_count = count;
	nat->addresses_known = true;
	return 0;
}

void nat_await_addresses(struct nat *nat, unsigned families)
{
	nat->unsettled |= nat->awaited != families;
	nat->awaited = families;
}

int nat_update(struct nat *nat, const struct nat_config *config, struct error *error)
{
	struct nat_config copy = { 0 };
	int code = config_copy(&copy, config, error);

	if (code == 0)
		code = rules_publish(nat, &copy, nat->uplink, nat->uplink_count, error);
	if (code != 0) {
		config_clear(&copy);
		return code;
	}
	config_clear(&nat->config);
	nat->config = copy;
	return 0;
}

/* Whether an outside address is none any more, nor perhaps again soon. */
static bool address_gone(const struct nat *nat, const struct nat_rules *rules, uint16_t index)
{
	unsigned family = ip_is_v4(&nat->addresses[index].ip) ? NAT_IPV4 : NAT_IPV6;

	if (nat_rules_has_index(rules, index))
		return false;
	return nat->config.pool_count != 0 || (nat->addresses_known && !(nat->awaited & family));
}

void nat_settle(struct nat *nat)
{
	struct nat_rules *rules = nat_rules_now(nat);

	if (nat->retired == NULL && !nat->unsettled)
		return;
	sessions_end(nat, session_unfit, rules);
	for (uint16_t i = 0; i < NAT_ADDRESSES_MAX; i++) {
		if (nat->addresses[i].used && address_gone(nat, rules, i))
			nat_address_close(nat, i);
	}
	while (nat->retired != NULL) {
		struct nat_rules *next = nat->retired->next;

		nat_rules_destroy(nat->retired);
		nat->retired = next;
	}
	nat->unsettled = false;
}

bool nat_tick(struct nat *nat, uint32_t now)
{
	bool more = false;

	for (uint32_t i = 0; i < NAT_SHARDS; i++) {
		struct nat_shard *shard = &nat->shards[i];
		uint32_t done = 0, got;

		do {
			nat_lock(&shard->lock);
			got = nat_session_expire(nat, shard, now, EXPIRE_PIECE);
			nat_unlock(&shard->lock);
			done += got;
		} while (got == EXPIRE_PIECE && done < EXPIRE_BUDGET);
		more |= got == EXPIRE_PIECE;
	}
	return more;
}

static void session_show(const struct nat *nat, const struct nat_slot *slot, uint32_t now,
			 struct nat_session *session)
{
	uint32_t timeout = nat_class_timeout[nat_state_class(slot)];
	uint32_t idle = nat_elapsed(now, slot->last_seen);

	session->inside = slot->inside;
	session->outside = nat->addresses[slot->address].ip;
	session->remote = slot->remote;
	session->inside_port = slot->inside_port;
	session->outside_port = slot->outside_port;
	session->remote_port = slot->remote_port;
	session->protocol = slot->protocol;
	session->state = slot->state;
	session->from_outside = slot->flags & NAT_SLOT_FROM_OUTSIDE;
	session->forward = slot->flags & NAT_SLOT_FORWARD;
	session->age = nat_elapsed(now, slot->created);
	session->left = idle < timeout ? timeout - idle : 0;
	session->packets_out = slot->packets[NAT_OUT];
	session->packets_in = slot->packets[NAT_IN];
}

/* Locks the shard of the session in a slot; NULL, and nothing locked, when there is none. */
static struct nat_shard *session_lock(struct nat *nat, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	/* relaxed: a hint; what counts is read again with the lock held. */
	uint8_t home = atomic_load_explicit(&slot->shard, memory_order_relaxed);

	if (home == 0)
		return NULL;
	nat_lock(&nat->shards[home - 1].lock);
	if (atomic_load_explicit(&slot->shard, memory_order_relaxed) == home)
		return &nat->shards[home - 1];
	nat_unlock(&nat->shards[home - 1].lock);
	return NULL;
}

void nat_visit(struct nat *nat, uint32_t now,
	       bool (*visit)(void *context, const struct nat_session *session), void *context)
{
	uint32_t high = atomic_load_explicit(&nat->accounts.high, memory_order_relaxed);

	for (uint32_t i = 1; i < high; i++) {
		struct nat_shard *shard = session_lock(nat, i);
		struct nat_session session;

		if (shard == NULL)
			continue;
		session_show(nat, &nat->slots[i], now, &session);
		nat_unlock(&shard->lock);
		if (!visit(context, &session))
			return;
	}
}

static bool session_of_guest(struct nat *nat, const struct nat_slot *slot, const void *context)
{
	return context == NULL || ip_equal(&slot->inside, context);
}

uint32_t nat_flush(struct nat *nat, const struct ip *guest)
{
	return sessions_end(nat, session_of_guest, guest);
}

bool nat_is_address(const struct nat *nat, const struct ip *ip)
{
	return nat_rules_find_address(nat_rules_now(nat), ip) != NULL;
}

void nat_get_stats(struct nat *nat, struct nat_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	for (uint32_t i = 0; i < NAT_SHARDS; i++) {
		struct nat_shard *shard = &nat->shards[i];

		nat_lock(&shard->lock);
		stats->created += shard->created;
		stats->expired += shard->expired;
		stats->evicted += shard->evicted;
		stats->refused_port += shard->refused_port;
		nat_unlock(&shard->lock);
	}
	stats->limit = nat_rules_now(nat)->session_limit;
	nat_lock(&nat->accounts.lock);
	stats->sessions = nat->accounts.sessions;
	stats->guests = nat->accounts.guest_count;
	stats->refused_limit = nat->accounts.refused_limit;
	stats->refused_guest = nat->accounts.refused_guest;
	stats->restored = nat->accounts.restored;
	nat_unlock(&nat->accounts.lock);
	/* A bucket of the table of sessions. Then, when the mapping is its own: half a bucket of
	 * that of mappings, a port's owner and bits; when it shares one: a permit and half a
	 * bucket for that. */
	stats->bytes_per_session = sizeof(struct nat_slot) + sizeof(struct nat_links) +
				   sizeof(uint32_t) + sizeof(struct nat_permit) +
				   sizeof(uint32_t) / 2;
}

static int nat_alloc(struct nat *nat)
{
	uint64_t seeds[NAT_SHARDS];

	nat->links = nat_memory((NAT_SESSIONS_MAX + 1) * sizeof(*nat->links));
	nat->guests = nat_memory((NAT_SESSIONS_MAX + 1) * sizeof(*nat->guests));
	nat->permits = nat_memory((NAT_SESSIONS_MAX + 1) * sizeof(*nat->permits));
	nat->buckets = nat_memory(BUCKETS * sizeof(*nat->buckets));
	if (nat->links == NULL || nat->guests == NULL || nat->permits == NULL ||
	    nat->buckets == NULL || getrandom(seeds, sizeof(seeds), 0) != sizeof(seeds))
		return -ENOMEM;
	for (uint32_t i = 0; i < NAT_SHARDS; i++)
		nat->shards[i].random = seeds[i] | 1;
	for (uint32_t i = 0; i < sizeof(nat->identifications) / sizeof(*nat->identifications); i++)
		atomic_init(&nat->identifications[i],
			    (uint16_t)nat_mix(seeds[i % NAT_SHARDS] ^ i, nat->key[0]));
	nat_accounts_init(nat);
	nat_session_init(nat);
	return 0;
}

static int config_copy(struct nat_config *to, const struct nat_config *from, struct error *error)
{
	if (from->session_limit == 0 || from->session_limit > NAT_SESSIONS_MAX ||
	    from->guest_session_limit == 0)
		return error_set(error, EINVAL, "limits of sessions are 1 to %u", NAT_SESSIONS_MAX);
	if (from->pool_count > NAT_ADDRESSES_MAX)
		return error_set(error, EINVAL, "a pool has at most %u addresses",
				 NAT_ADDRESSES_MAX);
	*to = *from;
	to->pool = calloc(from->pool_count + 1, sizeof(*to->pool));
	to->forwards = calloc(from->forward_count + 1, sizeof(*to->forwards));
	if (to->pool == NULL || to->forwards == NULL) {
		config_clear(to);
		return -ENOMEM;
	}
	if (from->pool_count != 0)
		memcpy(to->pool, from->pool, from->pool_count * sizeof(*to->pool));
	if (from->forward_count != 0)
		memcpy(to->forwards, from->forwards, from->forward_count * sizeof(*to->forwards));
	return 0;
}

static void config_clear(struct nat_config *config)
{
	free(config->pool);
	free(config->forwards);
	memset(config, 0, sizeof(*config));
}

/* The index of an outside address, a new one if it has none. 0, -ENOSPC or -ENOMEM. */
static int address_index(struct nat *nat, const struct ip *ip, uint16_t *index)
{
	uint32_t unused = NAT_ADDRESSES_MAX;

	for (uint16_t i = 0; i < NAT_ADDRESSES_MAX; i++) {
		if (!nat->addresses[i].used) {
			if (unused == NAT_ADDRESSES_MAX)
				unused = i;
		} else if (ip_equal(&nat->addresses[i].ip, ip)) {
			*index = i;
			return 0;
		}
	}
	if (unused == NAT_ADDRESSES_MAX)
		return -ENOSPC;
	*index = (uint16_t)unused;
	return nat_address_open(nat, *index, ip);
}

static int rules_publish(struct nat *nat, const struct nat_config *config, const struct ip *uplink,
			 uint32_t uplink_count, struct error *error)
{
	const struct ip *list = config->pool_count != 0 ? config->pool : uplink;
	uint32_t count = config->pool_count != 0 ? config->pool_count : uplink_count, used = 0;
	struct nat_rules_address *addresses = calloc(count + 1, sizeof(*addresses));
	struct nat_rules *rules, *old = nat_rules_now(nat);
	uint64_t seen[NAT_ADDRESSES_MAX / 64] = { 0 };
	int code = addresses == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < count && code == 0; i++) {
		uint16_t index = 0;

		if (!ip_is_host(&list[i]))
			code = error_set(error, EINVAL, "an address to translate to is no host's");
		else
			code = address_index(nat, &list[i], &index);
		if (code != 0 || (seen[index / 64] >> index % 64 & 1))
			continue;
		seen[index / 64] |= 1ull << index % 64;
		addresses[used++] = (struct nat_rules_address){ list[i], index };
	}
	if (code == 0)
		code = nat_rules_create(config, addresses, used, &rules, error);
	free(addresses);
	nat->unsettled = true; /* even after a failure there may be an address too many */
	if (code != 0)
		return code;
	/* release: workers that load it (acquire) see all that it points to. */
	atomic_store_explicit(&nat->rules, rules, memory_order_release);
	if (old != NULL) {
		old->next = nat->retired;
		nat->retired = old;
	}
	return 0;
}

static uint32_t sessions_end(struct nat *nat,
			     bool (*choose)(struct nat *nat, const struct nat_slot *slot,
					    const void *context),
			     const void *context)
{
	uint32_t high = atomic_load_explicit(&nat->accounts.high, memory_order_relaxed);
	uint32_t ended = 0;

	for (uint32_t i = 1; i < high; i++) {
		struct nat_shard *shard = session_lock(nat, i);

		if (shard == NULL)
			continue;
		if (choose(nat, &nat->slots[i], context)) {
			nat_session_end(nat, shard, i);
			ended++;
		}
		nat_unlock(&shard->lock);
	}
	return ended;
}

static bool session_unfit(struct nat *nat, const struct nat_slot *slot, const void *context)
{
	const struct nat_rules *rules = context;

	return address_gone(nat, rules, slot->address) || !nat_rules_fit(nat, rules, slot);
}

/* Control's view: nobody else writes it. */
static struct nat_rules *nat_rules_now(const struct nat *nat)
{
	return atomic_load_explicit(&nat->rules, memory_order_relaxed);
}
