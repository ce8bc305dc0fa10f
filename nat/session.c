/* Sessions (session.h). Called by workers for each packet, by control to expire, list and restore.
 *
 * A session lies in one slot (64 bytes, in the file if there is one) and its links. It is found by
 * its key from inside. From outside, the port's owner is some session of the mapping, which has the
 * inside host and port; with the remote that is a key again. So one table serves both directions.
 * Sessions of forwards are found through the forward, and have no mapping. */
#include "nat/session.h"

#include "nat/accounts.h"
#include "nat/ports.h"

#define EXPIRE_WITH_EACH 2 /* sessions ended along with each new one */
#define EVICT_MAX	 2 /* one is enough, but another worker may take its place */
#define EVICT_TRIES	 4

static uint64_t session_hash(void *context, uint32_t item);
static uint32_t *session_next(void *context, uint32_t item);
static uint64_t mapping_hash(void *context, uint32_t item);
static uint32_t *mapping_next(void *context, uint32_t item);
static bool session_assign(struct nat *nat, struct nat_shard *shard, const struct nat_rules *rules,
			   const struct nat_request *request, uint32_t number, uint32_t now);
static void session_write(struct nat *nat, uint32_t number, const struct nat_request *request,
			  uint32_t now);
static void session_link(struct nat *nat, struct nat_shard *shard, uint32_t slot);
static void mapping_join(struct nat *nat, struct nat_shard *shard, uint32_t slot);
static void mapping_leave(struct nat *nat, struct nat_shard *shard, uint32_t slot);
static void list_append(struct nat *nat, struct nat_list *list, uint32_t slot);
static void list_remove(struct nat *nat, struct nat_list *list, uint32_t slot);

static const struct nat_table_items session_items = { session_hash, session_next };
static const struct nat_table_items mapping_items = { mapping_hash, mapping_next };

void nat_session_init(struct nat *nat)
{
	for (uint32_t i = 0; i < NAT_SHARDS; i++) {
		/* After the two tables of the accounts. */
		uint32_t *buckets = nat->buckets + (size_t)NAT_SESSIONS_MAX * (2 + 2 * i);

		nat_table_init(&nat->shards[i].sessions, &session_items, nat, buckets,
			       NAT_SESSIONS_MAX, 1);
		nat_table_init(&nat->shards[i].mappings, &mapping_items, nat,
			       buckets + NAT_SESSIONS_MAX, NAT_SESSIONS_MAX, 2);
	}
}

uint32_t nat_session_shard(const struct nat *nat, const struct ip *remote, uint16_t remote_port,
			   uint8_t protocol)
{
	return (uint32_t)(nat_hash_ip(nat, remote, (uint64_t)protocol << 16 | remote_port) >> 60) %
	       NAT_SHARDS;
}

static void slot_key(const struct nat_slot *slot, struct nat_key *key)
{
	key->inside = slot->inside;
	key->remote = slot->remote;
	key->inside_port = slot->inside_port;
	key->remote_port = slot->remote_port;
	key->protocol = slot->protocol;
}

uint32_t nat_session_find(struct nat *nat, struct nat_shard *shard, const struct nat_key *key,
			  uint32_t now)
{
	uint32_t item = nat_table_first(&shard->sessions, nat_hash_key(nat, key));

	for (; item != 0; item = nat->links[item].next_session) {
		const struct nat_slot *slot = &nat->slots[item];

		if (slot->inside_port == key->inside_port &&
		    slot->remote_port == key->remote_port && slot->protocol == key->protocol &&
		    ip_equal(&slot->remote, &key->remote) && ip_equal(&slot->inside, &key->inside))
			break;
	}
	if (item != 0 && nat_session_expired(&nat->slots[item], now)) {
		nat_session_end(nat, shard, item);
		shard->expired++;
		item = 0;
	}
	return item;
}

static uint64_t hash_of_mapping(const struct nat *nat, uint8_t protocol, const struct ip *inside,
				uint16_t port)
{
	return nat_hash_ip(nat, inside, 1ull << 40 | (uint64_t)protocol << 16 | port);
}

static uint64_t hash_of_remote(const struct nat *nat, uint8_t protocol, const struct ip *remote,
			       uint16_t address)
{
	return nat_hash_ip(nat, remote, 2ull << 40 | (uint64_t)protocol << 16 | address);
}

uint32_t nat_session_find_mapping(struct nat *nat, struct nat_shard *shard,
				  const struct nat_key *key)
{
	uint32_t item = nat_table_first(
	    &shard->mappings, hash_of_mapping(nat, key->protocol, &key->inside, key->inside_port));

	for (; item != 0; item = nat->links[item].next_mapping) {
		const struct nat_slot *slot = &nat->slots[item];

		if (slot->inside_port == key->inside_port && slot->protocol == key->protocol &&
		    ip_equal(&slot->inside, &key->inside))
			break;
	}
	return item;
}

uint32_t nat_session_find_remote(struct nat *nat, struct nat_shard *shard, uint8_t protocol,
				 uint16_t address, const struct ip *remote, uint32_t now)
{
	uint32_t item =
	    nat_table_first(&shard->mappings, hash_of_remote(nat, protocol, remote, address));

	for (; item != 0; item = nat->links[item].next_mapping) {
		const struct nat_slot *slot = &nat->slots[item];

		if (slot->protocol == protocol && slot->address == address &&
		    ip_equal(&slot->remote, remote))
			break;
	}
	if (item != 0 && nat_session_expired(&nat->slots[item], now)) {
		nat_session_end(nat, shard, item);
		shard->expired++;
		item = 0;
	}
	return item;
}

uint32_t nat_session_open(struct nat *nat, const struct nat_rules *rules,
			  const struct nat_request *request, uint32_t now, enum drop_reason *reason)
{
	struct nat_shard *shard = &nat->shards[request->shard];
	uint32_t number, there, evicted = 0;

	while (!nat_accounts_reserve(nat, rules, &request->key.inside, &number, reason)) {
		if (evicted++ == EVICT_MAX || !nat_session_evict(nat, &request->key.inside)) {
			nat_accounts_refused(nat, *reason);
			return 0;
		}
	}
	nat_lock(&shard->lock);
	nat_session_expire(nat, shard, now, EXPIRE_WITH_EACH);
	there = nat_session_find(nat, shard, &request->key, now);
	if (there != 0) {
		nat_accounts_release(nat, number);
		return there;
	}
	if (!session_assign(nat, shard, rules, request, number, now)) {
		shard->refused_port++;
		nat_unlock(&shard->lock);
		nat_accounts_release(nat, number);
		*reason = DROP_NAT_NO_PORT;
		return 0;
	}
	session_write(nat, number, request, now);
	session_link(nat, shard, number);
	shard->created++;
	return number;
}

void nat_session_record(struct nat *nat, struct nat_shard *shard, uint32_t number,
			enum nat_direction direction, uint8_t tcp_flags, uint32_t now)
{
	struct nat_slot *slot = &nat->slots[number];
	enum nat_class was = nat_state_class(slot), is;
	bool half_open = nat_state_evictable(slot), evictable, renewed;

	if (slot->packets[direction] != UINT32_MAX)
		slot->packets[direction]++;
	nat_state_advance(slot, direction, tcp_flags);
	is = nat_state_class(slot);
	evictable = nat_state_evictable(slot);
	renewed = slot->last_seen != now && nat_state_renews(slot, direction, tcp_flags);
	if (is != was || renewed) {
		list_remove(nat, &shard->lists[was], number);
		slot->last_seen = now;
		list_append(nat, &shard->lists[is], number);
	}
	if (half_open && !evictable)
		nat_accounts_opened(nat, number);
	else if (evictable && (!half_open || renewed))
		nat_accounts_half_open(nat, number);
}

void nat_session_end(struct nat *nat, struct nat_shard *shard, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_key key;

	/* First: from here on a file has no session there. release: the fields that the check
	 * covers are not written before it is gone. */
	atomic_store_explicit(&slot->check, 0, memory_order_release);
	atomic_store_explicit(&slot->shard, 0, memory_order_relaxed);
	slot_key(slot, &key);
	nat_table_remove(&shard->sessions, nat_hash_key(nat, &key), number);
	if (!(slot->flags & NAT_SLOT_FORWARD))
		mapping_leave(nat, shard, number);
	list_remove(nat, &shard->lists[nat_state_class(slot)], number);
	nat_accounts_release(nat, number);
}

uint32_t nat_session_expire(struct nat *nat, struct nat_shard *shard, uint32_t now, uint32_t budget)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < NAT_CLASSES; i++) {
		uint32_t oldest = shard->lists[i].oldest;

		while (done < budget && oldest != 0 &&
		       nat_session_expired(&nat->slots[oldest], now)) {
			nat_session_end(nat, shard, oldest);
			oldest = shard->lists[i].oldest;
			done++;
		}
	}
	shard->expired += done;
	return done;
}

bool nat_session_expired(const struct nat_slot *slot, uint32_t now)
{
	return nat_elapsed(now, slot->last_seen) >= nat_class_timeout[nat_state_class(slot)];
}

bool nat_session_evict(struct nat *nat, const struct ip *inside)
{
	for (int i = 0; i < EVICT_TRIES; i++) {
		uint32_t victim = nat_accounts_victim(nat, inside);
		uint8_t home;

		if (victim == 0)
			return false;
		/* relaxed: only a hint which lock to take. */
		home = atomic_load_explicit(&nat->slots[victim].shard, memory_order_relaxed);
		if (home == 0)
			continue; /* on its way in or out */
		nat_lock(&nat->shards[home - 1].lock);
		/* While its shard is locked it cannot end, nor become another's. */
		if (nat_accounts_victim(nat, inside) == victim &&
		    atomic_load_explicit(&nat->slots[victim].shard, memory_order_relaxed) == home) {
			nat_session_end(nat, &nat->shards[home - 1], victim);
			nat->shards[home - 1].evicted++;
			nat_unlock(&nat->shards[home - 1].lock);
			return true;
		}
		nat_unlock(&nat->shards[home - 1].lock);
	}
	return false;
}

bool nat_session_restore(struct nat *nat, const struct nat_rules *rules, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_shard *shard = &nat->shards[nat_session_home(nat, slot)];
	enum nat_space space = nat_space_of(slot->protocol);
	uint32_t mapping = 0;
	struct nat_key key;

	slot_key(slot, &key);
	if (nat_session_find(nat, shard, &key, slot->last_seen) != 0)
		return false;
	if (!(slot->flags & NAT_SLOT_FORWARD)) {
		mapping = space == NAT_SPACES
			      ? nat_session_find_remote(nat, shard, slot->protocol, slot->address,
							&slot->remote, slot->last_seen)
			      : nat_session_find_mapping(nat, shard, &key);
		if (mapping != 0 &&
		    (space == NAT_SPACES || nat->slots[mapping].address != slot->address ||
		     nat->slots[mapping].outside_port != slot->outside_port))
			return false;
	}
	if (!nat_accounts_restore(nat, rules, number))
		return false;
	if (!(slot->flags & NAT_SLOT_FORWARD) && space != NAT_SPACES && mapping == 0 &&
	    !nat_ports_restore(nat, slot->address, space, &nat->guests[nat->links[number].guest],
			       slot->outside_port)) {
		nat_accounts_release(nat, number);
		return false;
	}
	session_link(nat, shard, number);
	return true;
}

uint32_t nat_session_check(const struct nat *nat, const struct nat_slot *slot)
{
	struct nat_key key;
	uint64_t rest =
	    (uint64_t)slot->outside_port << 48 | (uint64_t)slot->address << 32 | slot->created;

	slot_key(slot, &key);
	rest ^= slot->flags & NAT_SLOT_FORWARD ? nat->key[1] : 0;
	return (uint32_t)nat_mix(nat_hash_ip(nat, &nat->addresses[slot->address].ip, rest),
				 nat_hash_key(nat, &key) ^ nat->key[0]) |
	       1;
}

uint32_t nat_session_home(const struct nat *nat, const struct nat_slot *slot)
{
	if ((slot->flags & NAT_SLOT_FORWARD) || nat_space_of(slot->protocol) == NAT_SPACES)
		return nat_session_shard(nat, &slot->remote, slot->remote_port, slot->protocol);
	return nat_port_shard(slot->inside_port);
}

static uint64_t session_hash(void *context, uint32_t item)
{
	struct nat *nat = context;
	struct nat_key key;

	slot_key(&nat->slots[item], &key);
	return nat_hash_key(nat, &key);
}

static uint32_t *session_next(void *context, uint32_t item)
{
	struct nat *nat = context;

	return &nat->links[item].next_session;
}

static uint64_t mapping_hash(void *context, uint32_t item)
{
	struct nat *nat = context;
	const struct nat_slot *slot = &nat->slots[item];

	if (nat_space_of(slot->protocol) == NAT_SPACES)
		return hash_of_remote(nat, slot->protocol, &slot->remote, slot->address);
	return hash_of_mapping(nat, slot->protocol, &slot->inside, slot->inside_port);
}

static uint32_t *mapping_next(void *context, uint32_t item)
{
	struct nat *nat = context;

	return &nat->links[item].next_mapping;
}

/* Decides where the session is seen outside: through a forward, as the other sessions of its inside
 * port (RFC 4787, REQ-1), or with a port of its own. */
static bool session_assign(struct nat *nat, struct nat_shard *shard, const struct nat_rules *rules,
			   const struct nat_request *request, uint32_t number, uint32_t now)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_guest *guest = &nat->guests[nat->links[number].guest];
	enum nat_space space = nat_space_of(request->key.protocol);
	uint32_t mapping;

	slot->address = request->address;
	if (slot->address == NAT_ADDRESSES_MAX)
		slot->address = atomic_load_explicit(&guest->address, memory_order_relaxed);
	slot->outside_port = request->outside_port;
	if (slot->address == NAT_ADDRESSES_MAX)
		return false;
	if (request->forward)
		return true;
	if (space == NAT_SPACES)
		return nat_session_find_remote(nat, shard, request->key.protocol, slot->address,
					       &request->key.remote, now) == 0;
	mapping = nat_session_find_mapping(nat, shard, &request->key);
	if (mapping != 0) {
		slot->address = nat->slots[mapping].address;
		slot->outside_port = nat->slots[mapping].outside_port;
		return true;
	}
	/* What enters from outside needs a mapping that is there. */
	if (request->direction == NAT_IN)
		return false;
	return nat_ports_take(nat, shard, rules, slot->address, space, guest,
			      request->key.inside_port, &slot->outside_port);
}

static void session_write(struct nat *nat, uint32_t number, const struct nat_request *request,
			  uint32_t now)
{
	struct nat_slot *slot = &nat->slots[number];

	slot->inside = request->key.inside;
	slot->remote = request->key.remote;
	slot->inside_port = request->key.inside_port;
	slot->remote_port = request->key.remote_port;
	slot->protocol = request->key.protocol;
	slot->state = (uint8_t)nat_state_first(slot->protocol);
	slot->flags = (uint8_t)((request->forward ? NAT_SLOT_FORWARD : 0) |
				(request->direction == NAT_IN ? NAT_SLOT_FROM_OUTSIDE : 0));
	slot->last_seen = now;
	slot->created = now;
	slot->packets[NAT_OUT] = 0;
	slot->packets[NAT_IN] = 0;
	/* release: whoever finds the check in the file, this process's successor, finds all the
	 * rest too. */
	atomic_store_explicit(&slot->check, nat_session_check(nat, slot), memory_order_release);
}

static void session_link(struct nat *nat, struct nat_shard *shard, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_key key;

	slot_key(slot, &key);
	nat_table_insert(&shard->sessions, nat_hash_key(nat, &key), number);
	if (!(slot->flags & NAT_SLOT_FORWARD))
		mapping_join(nat, shard, number);
	list_append(nat, &shard->lists[nat_state_class(slot)], number);
	/* relaxed: read with the lock held, or as a hint. */
	atomic_store_explicit(&slot->shard, (uint8_t)(shard - nat->shards + 1),
			      memory_order_relaxed);
	if (nat_state_evictable(slot))
		nat_accounts_half_open(nat, number);
}

static void mapping_join(struct nat *nat, struct nat_shard *shard, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_links *links = &nat->links[number];
	enum nat_space space = nat_space_of(slot->protocol);
	uint32_t *owner = NULL, head = 0;

	if (space != NAT_SPACES) {
		owner = nat_ports_owner(nat, slot->address, space, slot->outside_port);
		head = *owner;
	}
	if (head != 0) {
		if (nat->links[head].next == head)
			nat_accounts_permit(nat, &nat->slots[head]);
		nat_accounts_permit(nat, slot);
		links->previous = head;
		links->next = nat->links[head].next;
		nat->links[links->next].previous = number;
		nat->links[head].next = number;
		return;
	}
	links->previous = number;
	links->next = number;
	nat_table_insert(&shard->mappings, mapping_hash(nat, number), number);
	if (owner != NULL)
		*owner = number;
}

static void mapping_leave(struct nat *nat, struct nat_shard *shard, uint32_t number)
{
	struct nat_slot *slot = &nat->slots[number];
	struct nat_links *links = &nat->links[number];
	enum nat_space space = nat_space_of(slot->protocol);
	uint64_t hash = mapping_hash(nat, number);

	if (links->next == number) {
		nat_table_remove(&shard->mappings, hash, number);
		if (space != NAT_SPACES)
			nat_ports_release(nat, slot->address, space, &nat->guests[links->guest],
					  slot->outside_port);
		return;
	}
	nat->links[links->previous].next = links->next;
	nat->links[links->next].previous = links->previous;
	nat_accounts_forbid(nat, slot);
	if (links->next == links->previous)
		nat_accounts_forbid(nat, &nat->slots[links->next]);
	if (*nat_ports_owner(nat, slot->address, space, slot->outside_port) == number) {
		nat_table_remove(&shard->mappings, hash, number);
		nat_table_insert(&shard->mappings, hash, links->next);
		*nat_ports_owner(nat, slot->address, space, slot->outside_port) = links->next;
	}
}

static void list_append(struct nat *nat, struct nat_list *list, uint32_t slot)
{
	nat->links[slot].older = list->newest;
	nat->links[slot].newer = 0;
	if (list->newest != 0)
		nat->links[list->newest].newer = slot;
	else
		list->oldest = slot;
	list->newest = slot;
}

static void list_remove(struct nat *nat, struct nat_list *list, uint32_t slot)
{
	struct nat_links *links = &nat->links[slot];

	if (links->older != 0)
		nat->links[links->older].newer = links->newer;
	else
		list->oldest = links->newer;
	if (links->newer != 0)
		nat->links[links->newer].older = links->older;
	else
		list->newest = links->older;
}
