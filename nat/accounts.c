/* Accounts of a translator (accounts.h). Called by workers and control. */
#include "nat/accounts.h"

#include "nat/file.h"

#define PRINT_SHIFT 24u
#define COUNT_MASK  0xffffffu

static uint64_t guest_hash(void *context, uint32_t item);
static uint32_t *guest_next(void *context, uint32_t item);
static uint64_t permit_hash(void *context, uint32_t item);
static uint32_t *permit_next(void *context, uint32_t item);
static uint32_t guest_find(struct nat *nat, const struct ip *ip, uint64_t hash);
static uint32_t guest_charge(struct nat *nat, const struct nat_rules *rules, const struct ip *ip,
			     enum drop_reason *reason);
static void guest_discharge(struct nat *nat, uint32_t guest);
static bool slot_take(struct nat *nat, uint32_t *slot);
static void half_append(struct nat *nat, uint32_t slot);
static void half_unlink(struct nat *nat, uint32_t slot);
static void permit_add(struct nat *nat, uint64_t hash);
static void permit_remove(struct nat *nat, uint64_t hash);

static const struct nat_table_items guest_items = { guest_hash, guest_next };
static const struct nat_table_items permit_items = { permit_hash, permit_next };

void nat_accounts_init(struct nat *nat)
{
	struct nat_accounts *accounts = &nat->accounts;

	nat_table_init(&accounts->guest_table, &guest_items, nat, nat->buckets, NAT_SESSIONS_MAX,
		       1);
	nat_table_init(&accounts->permit_table, &permit_items, nat, nat->buckets + NAT_SESSIONS_MAX,
		       NAT_SESSIONS_MAX, 2);
	accounts->guest_high = 1;
	accounts->permit_high = 1;
	atomic_store_explicit(&accounts->high, 1, memory_order_relaxed);
	accounts->allocated = 1;
}

bool nat_accounts_reserve(struct nat *nat, const struct nat_rules *rules, const struct ip *inside,
			  uint32_t *slot, enum drop_reason *reason)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t guest;

	nat_lock(&accounts->lock);
	guest = guest_charge(nat, rules, inside, reason);
	if (guest != 0 && !slot_take(nat, slot)) {
		guest_discharge(nat, guest);
		*reason = DROP_NAT_SESSION_LIMIT;
		guest = 0;
	}
	if (guest != 0) {
		nat->links[*slot].guest = guest;
		nat->links[*slot].half_older = NAT_UNLINKED;
	}
	nat_unlock(&accounts->lock);
	return guest != 0;
}

void nat_accounts_refused(struct nat *nat, enum drop_reason reason)
{
	nat_lock(&nat->accounts.lock);
	if (reason == DROP_NAT_GUEST_LIMIT)
		nat->accounts.refused_guest++;
	else
		nat->accounts.refused_limit++;
	nat_unlock(&nat->accounts.lock);
}

bool nat_accounts_restore(struct nat *nat, const struct nat_rules *rules, uint32_t slot)
{
	enum drop_reason reason;

	nat->links[slot].half_older = NAT_UNLINKED;
	nat->links[slot].guest = guest_charge(nat, rules, &nat->slots[slot].inside, &reason);
	if (nat->links[slot].guest == 0)
		return false;
	nat->accounts.restored++;
	return true;
}

void nat_accounts_release(struct nat *nat, uint32_t slot)
{
	struct nat_accounts *accounts = &nat->accounts;

	nat_lock(&accounts->lock);
	half_unlink(nat, slot);
	guest_discharge(nat, nat->links[slot].guest);
	nat->links[slot].newer = accounts->free_slot;
	accounts->free_slot = slot;
	nat_unlock(&accounts->lock);
}

void nat_accounts_half_open(struct nat *nat, uint32_t slot)
{
	nat_lock(&nat->accounts.lock);
	half_unlink(nat, slot);
	half_append(nat, slot);
	nat_unlock(&nat->accounts.lock);
}

void nat_accounts_opened(struct nat *nat, uint32_t slot)
{
	nat_lock(&nat->accounts.lock);
	half_unlink(nat, slot);
	nat_unlock(&nat->accounts.lock);
}

uint32_t nat_accounts_victim(struct nat *nat, const struct ip *inside)
{
	uint32_t guest, victim = 0;

	nat_lock(&nat->accounts.lock);
	guest = guest_find(nat, inside, nat_hash_ip(nat, inside, 0));
	if (guest != 0)
		victim = nat->guests[guest].half_oldest;
	nat_unlock(&nat->accounts.lock);
	return victim;
}

static uint32_t permit_find(struct nat *nat, uint64_t hash)
{
	uint32_t item = nat_table_first(&nat->accounts.permit_table, hash);

	while (item != 0 && (nat->permits[item].print != (uint32_t)hash ||
			     nat->permits[item].count >> PRINT_SHIFT != (hash >> 32 & 0xff)))
		item = nat->permits[item].next;
	return item;
}

static uint64_t permit_hash_of(const struct nat *nat, const struct nat_slot *slot)
{
	uint64_t end = 3ull << 40 | (uint64_t)slot->protocol << 16 | slot->inside_port;

	return nat_hash_ip(nat, &slot->remote, nat_hash_ip(nat, &slot->inside, end));
}

void nat_accounts_permit(struct nat *nat, const struct nat_slot *slot)
{
	uint64_t hash = permit_hash_of(nat, slot);

	nat_lock(&nat->accounts.lock);
	permit_add(nat, hash);
	nat_unlock(&nat->accounts.lock);
}

void nat_accounts_forbid(struct nat *nat, const struct nat_slot *slot)
{
	uint64_t hash = permit_hash_of(nat, slot);

	nat_lock(&nat->accounts.lock);
	permit_remove(nat, hash);
	nat_unlock(&nat->accounts.lock);
}

bool nat_accounts_permitted(struct nat *nat, const struct nat_slot *slot)
{
	uint64_t hash = permit_hash_of(nat, slot);
	bool found;

	nat_lock(&nat->accounts.lock);
	found = permit_find(nat, hash) != 0;
	nat_unlock(&nat->accounts.lock);
	return found;
}

void nat_accounts_free_slot(struct nat *nat, uint32_t slot)
{
	nat->links[slot].newer = nat->accounts.free_slot;
	nat->accounts.free_slot = slot;
}

static uint64_t guest_hash(void *context, uint32_t item)
{
	struct nat *nat = context;

	return nat_hash_ip(nat, &nat->guests[item].ip, 0);
}

static uint32_t *guest_next(void *context, uint32_t item)
{
	struct nat *nat = context;

	return &nat->guests[item].next;
}

static uint64_t permit_hash(void *context, uint32_t item)
{
	struct nat *nat = context;

	return nat->permits[item].print;
}

static uint32_t *permit_next(void *context, uint32_t item)
{
	struct nat *nat = context;

	return &nat->permits[item].next;
}

static uint32_t guest_find(struct nat *nat, const struct ip *ip, uint64_t hash)
{
	uint32_t item = nat_table_first(&nat->accounts.guest_table, hash);

	while (item != 0 && !ip_equal(&nat->guests[item].ip, ip))
		item = nat->guests[item].next;
	return item;
}

/* Pairs a guest with one of the addresses of its family (RFC 4787, REQ-2), as long as it has
 * sessions; with the same again when it comes back, if the addresses are the same. */
static void guest_pair(struct nat_guest *guest, const struct nat_rules *rules, uint64_t hash)
{
	int family = ip_is_v4(&guest->ip) ? 0 : 1;
	uint16_t address = NAT_ADDRESSES_MAX;

	if (rules->family_count[family] != 0)
		address = rules->family_index[family][(hash >> 32) % rules->family_count[family]];
	atomic_store_explicit(&guest->address, address, memory_order_relaxed);
}

static uint32_t guest_create(struct nat *nat, const struct ip *ip, uint64_t hash)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t item = accounts->free_guest;
	struct nat_guest *guest;

	if (item != 0)
		accounts->free_guest = nat->guests[item].next;
	else
		item = accounts->guest_high++; /* never more of them than sessions */
	guest = &nat->guests[item];
	/* Its ports are all back: each was given back before the session that held it. */
	guest->ip = *ip;
	guest->sessions = 0;
	guest->half_oldest = 0;
	guest->half_newest = 0;
	nat_table_insert(&accounts->guest_table, hash, item);
	accounts->guest_count++;
	return item;
}

static uint32_t guest_charge(struct nat *nat, const struct nat_rules *rules, const struct ip *ip,
			     enum drop_reason *reason)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint64_t hash = nat_hash_ip(nat, ip, 0);
	uint32_t item = guest_find(nat, ip, hash);
	uint32_t has = item != 0 ? nat->guests[item].sessions : 0;

	if (has >= rules->guest_limit) {
		*reason = DROP_NAT_GUEST_LIMIT;
		return 0;
	}
	if (accounts->sessions >= rules->session_limit ||
	    has >= rules->session_limit - accounts->sessions) {
		*reason = DROP_NAT_SESSION_LIMIT;
		return 0;
	}
	if (item == 0)
		item = guest_create(nat, ip, hash);
	if (has == 0 || !nat_rules_has_index(rules, nat->guests[item].address))
		guest_pair(&nat->guests[item], rules, hash);
	nat->guests[item].sessions++;
	accounts->sessions++;
	return item;
}

static void guest_discharge(struct nat *nat, uint32_t item)
{
	struct nat_accounts *accounts = &nat->accounts;
	struct nat_guest *guest = &nat->guests[item];

	accounts->sessions--;
	if (--guest->sessions != 0)
		return;
	nat_table_remove(&accounts->guest_table, nat_hash_ip(nat, &guest->ip, 0), item);
	guest->next = accounts->free_guest;
	accounts->free_guest = item;
	accounts->guest_count--;
}

static bool slot_take(struct nat *nat, uint32_t *slot)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t high = atomic_load_explicit(&accounts->high, memory_order_relaxed);

	*slot = accounts->free_slot;
	if (*slot != 0) {
		accounts->free_slot = nat->links[*slot].newer;
		return true;
	}
	if (high == accounts->allocated && !nat_file_extend(nat))
		return false;
	*slot = high;
	/* relaxed: who walks over the slots looks at each one's `shard` under a lock. */
	atomic_store_explicit(&accounts->high, high + 1, memory_order_relaxed);
	return true;
}

static void half_append(struct nat *nat, uint32_t slot)
{
	struct nat_links *links = &nat->links[slot];
	struct nat_guest *guest = &nat->guests[links->guest];

	links->half_older = guest->half_newest;
	links->half_newer = 0;
	if (guest->half_newest != 0)
		nat->links[guest->half_newest].half_newer = slot;
	else
		guest->half_oldest = slot;
	guest->half_newest = slot;
}

static void half_unlink(struct nat *nat, uint32_t slot)
{
	struct nat_links *links = &nat->links[slot];
	struct nat_guest *guest = &nat->guests[links->guest];

	if (links->half_older == NAT_UNLINKED)
		return;
	if (links->half_older != 0)
		nat->links[links->half_older].half_newer = links->half_newer;
	else
		guest->half_oldest = links->half_newer;
	if (links->half_newer != 0)
		nat->links[links->half_newer].half_older = links->half_older;
	else
		guest->half_newest = links->half_older;
	links->half_older = NAT_UNLINKED;
}

static void permit_add(struct nat *nat, uint64_t hash)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t item = permit_find(nat, hash);

	if (item == 0) {
		item = accounts->free_permit;
		if (item != 0)
			accounts->free_permit = nat->permits[item].next;
		else
			item = accounts->permit_high++;
		nat->permits[item].print = (uint32_t)hash;
		nat->permits[item].count = (uint32_t)(hash >> 32 & 0xff) << PRINT_SHIFT;
		nat_table_insert(&accounts->permit_table, (uint32_t)hash, item);
	}
	nat->permits[item].count++;
}

static void permit_remove(struct nat *nat, uint64_t hash)
{
	struct nat_accounts *accounts = &nat->accounts;
	uint32_t item = permit_find(nat, hash);

	if ((--nat->permits[item].count & COUNT_MASK) != 0)
		return;
	nat_table_remove(&accounts->permit_table, (uint32_t)hash, item);
	nat->permits[item].next = accounts->free_permit;
	accounts->free_permit = item;
}
