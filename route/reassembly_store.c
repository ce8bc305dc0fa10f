/* The memory of reassembly (reassembly.h): datagrams in lists by key and by age, and the accounts
 * of owners and source addresses, whose bounds are kept here. Control thread. */
#include "route/reassembly_internal.h"

#include <stdlib.h>
#include <sys/random.h>

static uint64_t hash_ip(uint64_t hash, const struct ip *ip)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t word;

		memcpy(&word, ip->bytes + 8 * i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return hash;
}

static struct account *account_get(struct account_list *list, uint32_t owner,
				   const struct ip *source)
{
	struct account *account;

	LIST_FOREACH(account, list, link)
	{
		if (account->owner == owner && ip_equal(&account->source, source))
			return account;
	}
	account = calloc(1, sizeof(*account));
	if (account == NULL)
		return NULL;
	account->owner = owner;
	account->source = *source;
	TAILQ_INIT(&account->datagrams);
	LIST_INSERT_HEAD(list, account, link);
	return account;
}

static void account_put(struct account *account)
{
	if (account == NULL || account->count != 0)
		return;
	LIST_REMOVE(account, link);
	free(account);
}

void reassembly_charge(struct reassembly *r, struct datagram *datagram, uint32_t bytes)
{
	datagram->bytes += bytes;
	datagram->owner->bytes += bytes;
	datagram->source->bytes += bytes;
	r->bytes += bytes;
}

void reassembly_free_pieces(struct reassembly *r, struct datagram *datagram)
{
	uint32_t bytes = datagram->bytes - (uint32_t)sizeof(*datagram);
	struct piece *piece;

	while ((piece = TAILQ_FIRST(&datagram->pieces)) != NULL) {
		TAILQ_REMOVE(&datagram->pieces, piece, link);
		free(piece);
	}
	datagram->bytes -= bytes;
	datagram->owner->bytes -= bytes;
	datagram->source->bytes -= bytes;
	r->bytes -= bytes;
}

void reassembly_free(struct reassembly *r, struct datagram *datagram)
{
	reassembly_free_pieces(r, datagram);
	LIST_REMOVE(datagram, bucket);
	TAILQ_REMOVE(&r->ages[datagram->key.version == 6], datagram, of_age);
	TAILQ_REMOVE(&datagram->owner->datagrams, datagram, of_owner);
	TAILQ_REMOVE(&datagram->source->datagrams, datagram, of_source);
	datagram->owner->bytes -= datagram->bytes;
	datagram->source->bytes -= datagram->bytes;
	r->bytes -= datagram->bytes;
	datagram->owner->count--;
	datagram->source->count--;
	r->count--;
	account_put(datagram->owner);
	account_put(datagram->source);
	free(datagram);
}

static struct datagram_bucket *bucket_of(struct reassembly *r, const struct datagram_key *key)
{
	uint64_t hash = hash_ip(hash_ip(r->seed ^ key->id, &key->source), &key->destination);

	return &r->buckets[(hash ^ key->owner) % REASSEMBLY_BUCKETS];
}

struct datagram *reassembly_find(struct reassembly *r, const struct datagram_key *key)
{
	struct datagram *datagram;

	LIST_FOREACH(datagram, bucket_of(r, key), bucket)
	{
		const struct datagram_key *its = &datagram->key;

		if (its->id == key->id && its->owner == key->owner &&
		    its->version == key->version && its->protocol == key->protocol &&
		    ip_equal(&its->source, &key->source) &&
		    ip_equal(&its->destination, &key->destination))
			return datagram;
	}
	return NULL;
}

struct datagram *reassembly_new(struct reassembly *r, const struct datagram_key *key, uint64_t now)
{
	static const struct ip none;
	struct datagram *datagram = calloc(1, sizeof(*datagram));
	struct account_list *sources =
	    &r->sources[hash_ip(r->seed ^ key->owner, &key->source) % REASSEMBLY_BUCKETS];

	if (datagram == NULL)
		return NULL;
	datagram->owner = account_get(&r->owners, key->owner, &none);
	datagram->source = account_get(sources, key->owner, &key->source);
	if (datagram->owner == NULL || datagram->source == NULL) {
		account_put(datagram->owner);
		account_put(datagram->source);
		free(datagram);
		return NULL;
	}
	datagram->key = *key;
	datagram->expires = now + (key->version == 6 ? REASSEMBLY_IPV6_MS : REASSEMBLY_IPV4_MS);
	TAILQ_INIT(&datagram->pieces);
	LIST_INSERT_HEAD(bucket_of(r, key), datagram, bucket);
	TAILQ_INSERT_TAIL(&r->ages[key->version == 6], datagram, of_age);
	TAILQ_INSERT_TAIL(&datagram->owner->datagrams, datagram, of_owner);
	TAILQ_INSERT_TAIL(&datagram->source->datagrams, datagram, of_source);
	datagram->owner->count++;
	datagram->source->count++;
	r->count++;
	reassembly_charge(r, datagram, sizeof(*datagram));
	return datagram;
}

/* Who must go so that the datagram may cost `more`; NULL when nobody must. */
static struct datagram *victim_of(struct reassembly *r, const struct datagram *datagram,
				  uint32_t more)
{
	struct account *owner = datagram->owner, *source = datagram->source, *most, *other;

	if (source->bytes + more > r->limits.source_bytes ||
	    source->count > r->limits.source_datagrams)
		return TAILQ_FIRST(&source->datagrams);
	if (owner->bytes + more > r->limits.owner_bytes || owner->count > r->limits.owner_datagrams)
		return TAILQ_FIRST(&owner->datagrams);
	if (r->bytes + more <= r->limits.bytes && r->count <= r->limits.datagrams)
		return NULL;
	most = owner;
	LIST_FOREACH(other, &r->owners, link)
	{
		if (other->bytes > most->bytes)
			most = other;
	}
	return TAILQ_FIRST(&most->datagrams);
}

/* False when the datagram itself had to go. */
bool reassembly_make_room(struct reassembly *r, const struct datagram *datagram, uint32_t more)
{
	struct datagram *victim;

	while ((victim = victim_of(r, datagram, more)) != NULL) {
		bool itself = victim == datagram;

		r->counters.evicted++;
		reassembly_free(r, victim);
		if (itself)
			return false;
	}
	return true;
}

struct reassembly *reassembly_create(const struct reassembly_limits *limits,
				     struct reassembly_events events)
{
	struct reassembly *r = calloc(1, sizeof(*r));

	if (r == NULL || getrandom(&r->seed, sizeof(r->seed), 0) != sizeof(r->seed)) {
		free(r);
		return NULL;
	}
	r->limits = *limits;
	r->events = events;
	for (unsigned i = 0; i < 2; i++)
		TAILQ_INIT(&r->ages[i]);
	return r;
}

void reassembly_destroy(struct reassembly *r)
{
	if (r == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		while (!TAILQ_EMPTY(&r->ages[i]))
			reassembly_free(r, TAILQ_FIRST(&r->ages[i]));
	}
	free(r);
}

void reassembly_forget(struct reassembly *r, uint32_t owner)
{
	for (unsigned i = 0; i < 2; i++) {
		struct datagram *datagram = TAILQ_FIRST(&r->ages[i]);

		while (datagram != NULL) {
			struct datagram *next = TAILQ_NEXT(datagram, of_age);

			if (datagram->key.owner == owner)
				reassembly_free(r, datagram);
			datagram = next;
		}
	}
}

const struct reassembly_counters *reassembly_counters(const struct reassembly *r)
{
	return &r->counters;
}

void reassembly_usage(const struct reassembly *r, uint32_t *datagrams, uint32_t *bytes)
{
	*datagrams = r->count;
	*bytes = r->bytes;
}
