/* The lease table (lease.h): hash chains over one struct a lease, loaded from the store at the
 * start and written through to it. Control thread.
 *
 * All indexes have the same number of buckets and grow together. The hash is keyed, for the keys
 * are what guests send. */
#include "route/lease.h"

#include "base/log.h"
#include "base/siphash.h"
#include "route/lease_key.h"
#include "route/lease_stored.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BUCKETS_MIN 64u

struct entry {
	struct lease lease;
	/* A chain each; back is NULL where the lease has no such key. */
	struct entry *next[LEASE_INDEX_COUNT];
	struct entry **back[LEASE_INDEX_COUNT];
	uint64_t hash[LEASE_INDEX_COUNT];
};

struct lease_table {
	struct store *store;
	char *stored_as; /* the store's name for this table */
	uint32_t limit, count, bucket_count;
	uint32_t unread;      /* records of the store that are not understood */
	uint64_t next_expiry; /* never too late, perhaps too early */
	uint64_t secret[2];
	struct lease_events events;
	struct entry **buckets[LEASE_INDEX_COUNT];
};

static int load(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
		size_t value_length);
static void stored_write(struct lease_table *table, const struct lease *lease);
static int grow(struct lease_table *table);
static struct entry *find(const struct lease_table *table, enum lease_index index,
			  const struct lease_key *key);
static struct entry *find_from(struct entry *entry, enum lease_index index,
			       const struct lease_key *key, uint64_t hash);
static void link_entry(struct lease_table *table, struct entry *entry);
static void unlink_entry(struct entry *entry);
static void remove_entry(struct lease_table *table, struct entry *entry);
static bool identity_equal(const struct lease *a, const struct lease *b);

struct lease_table *lease_table_create(struct store *store, const char *network, uint32_t limit,
				       const struct lease_events *events)
{
	struct lease_table *table = calloc(1, sizeof(*table));
	int status = 0;

	if (table == NULL)
		return NULL;
	table->limit = limit;
	table->next_expiry = UINT64_MAX;
	if (events != NULL)
		table->events = *events;
	siphash_key(table->secret);
	if (asprintf(&table->stored_as, "lease %s", network) < 0) {
		table->stored_as = NULL;
		goto failed;
	}
	if (grow(table) != 0)
		goto failed;
	if (store != NULL)
		status = store_visit(store, table->stored_as, load, table);
	if (status == -ENOMEM)
		goto failed;
	if (status == -ENOSPC)
		log_warning("network %s: more stored leases than the limit of %u", network, limit);
	if (table->unread > 0)
		log_warning("network %s: %u stored leases are not understood", network,
			    table->unread);
	table->store = store; /* only now: what was loaded need not be written again */
	return table;
failed:
	lease_table_destroy(table);
	return NULL;
}

void lease_table_destroy(struct lease_table *table)
{
	if (table == NULL)
		return;
	for (uint32_t i = 0; i < table->bucket_count; i++) {
		struct entry *entry = table->buckets[LEASE_BY_IP][i], *next;

		for (; entry != NULL; entry = next) {
			next = entry->next[LEASE_BY_IP];
			free(entry);
		}
	}
	for (int index = 0; index < LEASE_INDEX_COUNT; index++)
		free(table->buckets[index]);
	free(table->stored_as);
	free(table);
}

uint32_t lease_table_count(const struct lease_table *table)
{
	return table->count;
}

static const struct lease *lease_of(const struct entry *entry)
{
	return entry == NULL ? NULL : &entry->lease;
}

const struct lease *lease_find_ip(const struct lease_table *table, const struct ip *ip)
{
	struct lease_key key = lease_key_ip(ip);

	return lease_of(find(table, LEASE_BY_IP, &key));
}

const struct lease *lease_find_client(const struct lease_table *table, int family,
				      const uint8_t *client, uint8_t length, uint32_t iaid)
{
	struct lease_key key = lease_key_client(family, client, length, iaid);

	return lease_of(find(table, LEASE_BY_CLIENT, &key));
}

const struct lease *lease_find_mac(const struct lease_table *table, int family, struct mac mac)
{
	struct lease_key key = lease_key_mac(family, mac);

	return lease_of(find(table, LEASE_BY_MAC, &key));
}

const struct lease *lease_find_host(const struct lease_table *table, int family, const char *host)
{
	struct lease_key key = lease_key_host(family, host);

	return lease_of(find(table, LEASE_BY_HOST, &key));
}

static struct entry *bucket_first(const struct lease_table *table, enum lease_index index,
				  uint64_t hash)
{
	return table->buckets[index][hash & (table->bucket_count - 1)];
}

uint32_t lease_count_port(const struct lease_table *table, int family, uint16_t port)
{
	struct lease_key key = lease_key_port(port);
	const struct entry *entry;
	uint32_t count = 0;

	if (key.length == 0)
		return 0;
	entry = bucket_first(table, LEASE_BY_PORT, siphash(table->secret, key.bytes, key.length));
	for (; entry != NULL; entry = entry->next[LEASE_BY_PORT])
		count += entry->lease.port == port && !entry->lease.reserved &&
			 lease_family(&entry->lease.ip) == family;
	return count;
}

static void tell_changed(const struct lease_table *table, const struct lease *old,
			 const struct lease *new)
{
	const struct lease_events *events = &table->events;
	bool was = old != NULL && old->state == LEASE_BOUND;
	bool is = new != NULL &&new->state == LEASE_BOUND;

	if (was && is && identity_equal(old, new))
		return;
	if (was && events->unbound != NULL)
		events->unbound(events->context, old);
	if (is && events->bound != NULL)
		events->bound(events->context, new);
}

int lease_put(struct lease_table *table, const struct lease *given)
{
	struct lease lease = *given, old;
	struct lease_key key = lease_key_ip(&lease.ip);
	struct entry *entry = find(table, LEASE_BY_IP, &key);
	bool replaced = entry != NULL;

	for (char *c = lease.host; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (replaced) {
		old = entry->lease;
		unlink_entry(entry);
	} else {
		if (table->count >= table->limit)
			return -ENOSPC;
		if (table->count >= table->bucket_count && grow(table) != 0)
			return -ENOMEM;
		entry = calloc(1, sizeof(*entry));
		if (entry == NULL)
			return -ENOMEM;
		table->count++;
	}
	entry->lease = lease;
	link_entry(table, entry);
	if (lease.expires < table->next_expiry)
		table->next_expiry = lease.expires;
	if (lease.state == LEASE_BOUND)
		stored_write(table, &lease);
	else if (replaced && old.state == LEASE_BOUND && table->store != NULL)
		store_delete(table->store, table->stored_as, lease.ip.bytes,
			     sizeof(lease.ip.bytes));
	tell_changed(table, replaced ? &old : NULL, &lease);
	return 0;
}

int lease_remove(struct lease_table *table, const struct ip *ip)
{
	struct lease_key key = lease_key_ip(ip);
	struct entry *entry = find(table, LEASE_BY_IP, &key);

	if (entry != NULL)
		remove_entry(table, entry);
	return entry != NULL ? 0 : -ENOENT;
}

void lease_forget_port(struct lease_table *table, uint16_t port)
{
	struct lease_key key = lease_key_port(port);
	struct entry *entry, *next;

	if (key.length == 0)
		return;
	entry = bucket_first(table, LEASE_BY_PORT, siphash(table->secret, key.bytes, key.length));
	for (; entry != NULL; entry = next) {
		next = entry->next[LEASE_BY_PORT];
		if (entry->lease.port != port)
			continue;
		unlink_entry(entry);
		entry->lease.port = LEASE_PORT_NONE;
		link_entry(table, entry);
	}
}

void lease_expire(struct lease_table *table, uint64_t wall)
{
	uint64_t soonest = UINT64_MAX;

	if (wall < table->next_expiry)
		return;
	for (uint32_t i = 0; i < table->bucket_count; i++) {
		struct entry *entry = table->buckets[LEASE_BY_IP][i], *next;

		for (; entry != NULL; entry = next) {
			next = entry->next[LEASE_BY_IP];
			if (entry->lease.expires != LEASE_FOREVER && entry->lease.expires <= wall)
				remove_entry(table, entry);
			else if (entry->lease.expires < soonest)
				soonest = entry->lease.expires;
		}
	}
	table->next_expiry = soonest;
}

uint64_t lease_next_expiry(const struct lease_table *table)
{
	return table->next_expiry;
}

void lease_visit_mac(const struct lease_table *table, struct mac mac,
		     bool (*visit)(void *context, const struct lease *lease), void *context)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		struct lease_key key = lease_key_mac(families[f], mac);
		uint64_t hash;
		struct entry *entry;

		if (key.length == 0)
			continue;
		hash = siphash(table->secret, key.bytes, key.length);
		entry =
		    find_from(bucket_first(table, LEASE_BY_MAC, hash), LEASE_BY_MAC, &key, hash);
		for (; entry != NULL;
		     entry = find_from(entry->next[LEASE_BY_MAC], LEASE_BY_MAC, &key, hash)) {
			if (!visit(context, &entry->lease))
				return;
		}
	}
}

void lease_visit(const struct lease_table *table,
		 bool (*visit)(void *context, const struct lease *lease), void *context)
{
	for (uint32_t i = 0; i < table->bucket_count; i++)
		for (const struct entry *entry = table->buckets[LEASE_BY_IP][i]; entry != NULL;
		     entry = entry->next[LEASE_BY_IP])
			if (!visit(context, &entry->lease))
				return;
}

/* Whether those who were told of one know all about the other. */
static bool identity_equal(const struct lease *a, const struct lease *b)
{
	return memcmp(&a->mac, &b->mac, sizeof(a->mac)) == 0 &&
	       a->client_length == b->client_length &&
	       memcmp(a->client, b->client, a->client_length) == 0 && a->iaid == b->iaid &&
	       strcmp(a->host, b->host) == 0;
}

static struct entry *find(const struct lease_table *table, enum lease_index index,
			  const struct lease_key *key)
{
	uint64_t hash;

	if (key->length == 0)
		return NULL;
	hash = siphash(table->secret, key->bytes, key->length);
	return find_from(bucket_first(table, index, hash), index, key, hash);
}

/* The first that fits from `entry` on in its bucket. */
static struct entry *find_from(struct entry *entry, enum lease_index index,
			       const struct lease_key *key, uint64_t hash)
{
	for (; entry != NULL; entry = entry->next[index]) {
		struct lease_key other;

		if (entry->hash[index] != hash)
			continue;
		other = lease_key_of(index, &entry->lease);
		if (other.length == key->length &&
		    memcmp(other.bytes, key->bytes, key->length) == 0)
			return entry;
	}
	return NULL;
}

static void chain(struct lease_table *table, struct entry *entry, enum lease_index index)
{
	struct entry **head =
	    &table->buckets[index][entry->hash[index] & (table->bucket_count - 1)];

	entry->next[index] = *head;
	if (*head != NULL)
		(*head)->back[index] = &entry->next[index];
	*head = entry;
	entry->back[index] = head;
}

static void link_entry(struct lease_table *table, struct entry *entry)
{
	for (int index = 0; index < LEASE_INDEX_COUNT; index++) {
		struct lease_key key = lease_key_of(index, &entry->lease);

		entry->back[index] = NULL;
		if (key.length == 0)
			continue;
		entry->hash[index] = siphash(table->secret, key.bytes, key.length);
		chain(table, entry, index);
	}
}

static void unlink_entry(struct entry *entry)
{
	for (int index = 0; index < LEASE_INDEX_COUNT; index++) {
		if (entry->back[index] == NULL)
			continue;
		*entry->back[index] = entry->next[index];
		if (entry->next[index] != NULL)
			entry->next[index]->back[index] = entry->back[index];
		entry->back[index] = NULL;
	}
}

static void remove_entry(struct lease_table *table, struct entry *entry)
{
	struct lease old = entry->lease;

	unlink_entry(entry);
	free(entry);
	table->count--;
	if (old.state == LEASE_BOUND && table->store != NULL)
		store_delete(table->store, table->stored_as, old.ip.bytes, sizeof(old.ip.bytes));
	tell_changed(table, &old, NULL);
}

/* Twice the buckets, or the first ones. -ENOMEM leaves the table as it was. */
static int grow(struct lease_table *table)
{
	uint32_t old_count = table->bucket_count;
	uint32_t count = old_count == 0 ? BUCKETS_MIN : old_count * 2;
	struct entry **old[LEASE_INDEX_COUNT], **fresh[LEASE_INDEX_COUNT] = { NULL };

	for (int index = 0; index < LEASE_INDEX_COUNT; index++) {
		fresh[index] = calloc(count, sizeof(*fresh[index]));
		if (fresh[index] == NULL)
			goto failed;
	}
	memcpy(old, table->buckets, sizeof(old));
	memcpy(table->buckets, fresh, sizeof(fresh));
	table->bucket_count = count;
	for (int index = 0; index < LEASE_INDEX_COUNT; index++) {
		for (uint32_t i = 0; i < old_count; i++) {
			struct entry *entry = old[index][i], *next;

			for (; entry != NULL; entry = next) {
				next = entry->next[index];
				chain(table, entry, index);
			}
		}
		free(old[index]);
	}
	return 0;
failed:
	for (int index = 0; index < LEASE_INDEX_COUNT; index++)
		free(fresh[index]);
	return -ENOMEM;
}

static void stored_write(struct lease_table *table, const struct lease *lease)
{
	uint8_t value[LEASE_STORED_MAX];

	/* The store has logged it if it fails, and the lease holds all the same. */
	if (table->store != NULL)
		store_put(table->store, table->stored_as, lease->ip.bytes, sizeof(lease->ip.bytes),
			  value, lease_stored_write(lease, value));
}

/* One record of the store. One that is not understood stays there unused. */
static int load(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
		size_t value_length)
{
	struct lease_table *table = context;
	struct lease lease;

	if (!lease_stored_read(key, key_length, value, value_length, &lease)) {
		table->unread++;
		return 0;
	}
	return lease_put(table, &lease);
}
