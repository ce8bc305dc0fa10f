/* The life of neighbours (neighbour.h): asked for, known, doubted, asked again, forgotten (RFC
 * 4861, 7.3, which serves ARP as well). Control thread. What a message of ARP or neighbour
 * discovery says is read in neighbour_arp.c and neighbour_nd.c, and means something here. */
#include "route/neighbour_internal.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

#include "base/parse.h"

const char *neighbour_state_name(enum neighbour_state state)
{
	static const char *const names[] = {
		[NEIGHBOUR_INCOMPLETE] = "incomplete", [NEIGHBOUR_REACHABLE] = "reachable",
		[NEIGHBOUR_STALE] = "stale",	       [NEIGHBOUR_PROBE] = "probe",
		[NEIGHBOUR_STATIC] = "static",
	};

	return names[state];
}

bool neighbour_input(struct neighbour_table *table, uint16_t leg_index, const struct packet *packet,
		     uint64_t now)
{
	struct neighbour_leg *leg = neighbour_leg_at(table, leg_index);
	bool nd =
	    packet->ip_version == 6 && packet->protocol == IPPROTO_ICMPV6 && !packet->fragment &&
	    packet->payload_length > 0 &&
	    (packet->payload[0] == ND_NEIGHBOR_SOLICIT || packet->payload[0] == ND_NEIGHBOR_ADVERT);

	if (!nd && packet->ethertype != ETHERTYPE_ARP)
		return false;
	if (leg == NULL)
		return true;
	if (nd)
		neighbour_nd_input(table, leg, packet, now);
	else
		neighbour_arp_input(table, leg, packet, now);
	return true;
}

/* Asks once more: all who may know while nothing is known, else the neighbour itself. */
static void solicit(struct neighbour_table *table, uint32_t index, uint64_t now)
{
	struct neighbour_entry *entry = &table->entries[index];
	struct neighbour_leg *leg = neighbour_leg_of(table, index);
	struct mac mac = neighbour_mac(table, index);
	struct ip ip = neighbour_ip(table, index);
	const struct mac *to = entry->state == NEIGHBOUR_INCOMPLETE ? NULL : &mac;

	neighbour_set_state(table, index, (enum neighbour_state)entry->state, now);
	entry->tries++;
	table->counters.solicited++;
	if (ip_is_v4(&ip))
		neighbour_arp_solicit(leg, &ip, to);
	else
		neighbour_nd_solicit(leg, &ip, to);
}

enum neighbour_resolve neighbour_resolve(struct neighbour_table *table, uint16_t leg_index,
					 const struct ip *ip, const uint8_t *frame, size_t length,
					 uint64_t now)
{
	struct neighbour_leg *leg = neighbour_leg_at(table, leg_index);
	uint32_t index;
	struct mac mac;
	struct ip source;

	if (leg == NULL || length > NEIGHBOUR_FRAME_MAX || length < PACKET_ETHERNET_LENGTH ||
	    !route_leg_reaches(&leg->leg, ip) || route_leg_owns(&leg->leg, ip) ||
	    !route_leg_source(&leg->leg, ip, &source))
		return NEIGHBOUR_REFUSED;
	if (neighbour_lookup(table, leg_index, ip, &mac)) {
		neighbour_ready(table, leg, &mac, frame, length);
		return NEIGHBOUR_READY;
	}
	index = neighbour_find(table, leg_index, ip);
	if (index == NEIGHBOUR_NONE) {
		index = neighbour_new(table, leg, ip, now);
		if (index == NEIGHBOUR_NONE)
			return NEIGHBOUR_REFUSED;
		solicit(table, index, now);
	}
	neighbour_pend(table, index, frame, length);
	return NEIGHBOUR_WAITING;
}

void neighbour_learn(struct neighbour_table *table, uint32_t index, const struct mac *mac,
		     enum neighbour_proof proof, uint64_t now)
{
	struct neighbour_entry *entry = &table->entries[index];
	struct mac before = neighbour_mac(table, index);
	bool same = memcmp(&before, mac, sizeof(before)) == 0;

	if (entry->state == NEIGHBOUR_STATIC) {
		table->counters.refused_static += !same;
		return;
	}
	if (entry->state == NEIGHBOUR_INCOMPLETE)
		table->counters.learned++;
	else
		table->counters.moved += !same;
	neighbour_set_mac(table, index, mac);
	if (proof == NEIGHBOUR_PROVEN) {
		atomic_store_explicit(&entry->used, 0, memory_order_relaxed);
		neighbour_set_state(table, index, NEIGHBOUR_REACHABLE, now);
	} else if (!same) {
		entry->used_at = now;
		neighbour_set_state(table, index, NEIGHBOUR_STALE, now);
	}
	neighbour_release(table, index);
}

void neighbour_learn_asker(struct neighbour_table *table, struct neighbour_leg *leg,
			   const struct ip *ip, const struct mac *mac, uint64_t now)
{
	uint32_t index = neighbour_find(table, leg->leg.index, ip);

	if (index == NEIGHBOUR_NONE)
		index = neighbour_new(table, leg, ip, now);
	if (index != NEIGHBOUR_NONE)
		neighbour_learn(table, index, mac, NEIGHBOUR_UNPROVEN, now);
}

/* The place of an address of ours in what is kept by address. */
static unsigned address_place(const struct route_leg *leg, const struct ip *ip)
{
	unsigned i = 0;

	while (i < leg->address_count && !ip_equal(&leg->addresses[i].ip, ip))
		i++;
	return i < leg->address_count ? i : ROUTE_LEG_ADDRESSES;
}

static void announce_address(struct neighbour_table *table, struct neighbour_leg *leg,
			     const struct ip *ip)
{
	table->counters.announced++;
	if (ip_is_v4(ip))
		neighbour_arp_announce(leg, ip);
	else
		neighbour_nd_announce(leg, ip);
}

static void probe_address(struct neighbour_table *table, struct neighbour_leg *leg,
			  const struct ip *ip)
{
	table->counters.probed++;
	if (ip_is_v4(ip))
		neighbour_arp_probe(leg, ip);
	else
		neighbour_nd_probe(leg, ip);
}

/* All addresses of a leg, its link-local one behind the others. */
static void each_address(struct neighbour_table *table, struct neighbour_leg *leg,
			 void (*visit)(struct neighbour_table *table, struct neighbour_leg *leg,
				       const struct ip *ip))
{
	struct ip link_local = ip_link_local_of(leg->leg.mac.bytes);
	bool v6 = false;

	for (unsigned i = 0; i < leg->leg.address_count; i++) {
		visit(table, leg, &leg->leg.addresses[i].ip);
		v6 |= !ip_is_v4(&leg->leg.addresses[i].ip);
	}
	if (v6)
		visit(table, leg, &link_local);
}

/* Whoever has an address of ours is asked to say so, as he would stay silent at the announcement.
 * Nobody waits for the answer: a gateway that came back is needed at once, and a conflict is found
 * either way. */
static void introduce(struct neighbour_table *table, struct neighbour_leg *leg)
{
	each_address(table, leg, probe_address);
	each_address(table, leg, announce_address);
}

void neighbour_conflict(struct neighbour_table *table, struct neighbour_leg *leg,
			const struct ip *ip, const struct mac *mac, uint64_t now)
{
	unsigned place = address_place(&leg->leg, ip);
	uint64_t *defended = &leg->defended_at[place], *conflict = &leg->conflict_at[place];

	table->counters.conflict++;
	if ((*conflict == 0 || now + 1 - *conflict >= NEIGHBOUR_CONFLICT_MS) &&
	    table->events.conflict != NULL)
		table->events.conflict(table->events.context, &leg->leg, ip, mac);
	*conflict = now + 1;
	/* RFC 5227, 2.4 (c): a gateway keeps its address, and says so, though not in a storm. */
	if (*defended != 0 && now + 1 - *defended < NEIGHBOUR_DEFEND_MS)
		return;
	*defended = now + 1;
	table->counters.defended++;
	announce_address(table, leg, ip);
}

void neighbour_announce(struct neighbour_table *table, uint16_t leg_index)
{
	struct neighbour_leg *leg = neighbour_leg_at(table, leg_index);

	if (leg != NULL)
		each_address(table, leg, announce_address);
}

/* An entry's time has come. */
static void entry_tick(struct neighbour_table *table, uint32_t index, uint64_t now)
{
	struct neighbour_entry *entry = &table->entries[index];

	switch ((enum neighbour_state)entry->state) {
	case NEIGHBOUR_REACHABLE:
		atomic_store_explicit(&entry->used, 0, memory_order_relaxed);
		entry->used_at = now;
		neighbour_set_state(table, index, NEIGHBOUR_STALE, now);
		return;
	case NEIGHBOUR_STALE:
		if (atomic_exchange_explicit(&entry->used, 0, memory_order_relaxed) != 0) {
			entry->used_at = now;
			neighbour_set_state(table, index, NEIGHBOUR_PROBE, now);
			solicit(table, index, now);
		} else if (now - entry->used_at >= NEIGHBOUR_UNUSED_MS) {
			neighbour_free(table, index);
		} else {
			neighbour_set_state(table, index, NEIGHBOUR_STALE, now);
		}
		return;
	default:
		if (entry->tries < NEIGHBOUR_SOLICITS) {
			solicit(table, index, now);
			return;
		}
		table->counters.unreachable++;
		neighbour_free(table, index);
	}
}

void neighbour_tick(struct neighbour_table *table, uint64_t now)
{
	for (uint32_t i = 0; i < table->leg_count; i++) {
		struct neighbour_leg *leg = &table->legs[i];

		if (leg->announce_due <= now) {
			leg->announce_due = UINT64_MAX;
			introduce(table, leg);
		}
		for (unsigned state = 0; state < NEIGHBOUR_STATES; state++) {
			struct neighbour_control *first;

			/* Each that is due becomes due later, or goes. */
			while ((first = TAILQ_FIRST(&leg->states[state])) != NULL &&
			       table->entries[first - table->control].due <= now)
				entry_tick(table, (uint32_t)(first - table->control), now);
		}
	}
}

uint64_t neighbour_deadline(const struct neighbour_table *table)
{
	uint64_t deadline = UINT64_MAX;

	for (uint32_t i = 0; i < table->leg_count; i++) {
		const struct neighbour_leg *leg = &table->legs[i];

		if (leg->announce_due < deadline)
			deadline = leg->announce_due;
		for (unsigned state = 0; state < NEIGHBOUR_STATES; state++) {
			struct neighbour_control *first = TAILQ_FIRST(&leg->states[state]);

			if (first != NULL && table->entries[first - table->control].due < deadline)
				deadline = table->entries[first - table->control].due;
		}
	}
	return deadline;
}

/* Frees a leg's entries that `keep` (NULL: no) leg would not have on its link. */
static void forget(struct neighbour_table *table, struct neighbour_leg *leg,
		   const struct route_leg *keep)
{
	for (unsigned state = 0; state < NEIGHBOUR_STATES; state++) {
		struct neighbour_control *at = TAILQ_FIRST(&leg->states[state]);

		while (at != NULL) {
			struct neighbour_control *next = TAILQ_NEXT(at, link);
			uint32_t index = (uint32_t)(at - table->control);
			struct ip ip = neighbour_ip(table, index);

			if (keep == NULL || !route_leg_reaches(keep, &ip) ||
			    route_leg_owns(keep, &ip))
				neighbour_free(table, index);
			at = next;
		}
	}
}

void neighbour_set_leg(struct neighbour_table *table, const struct route_leg *leg, uint64_t now)
{
	struct neighbour_leg *to = &table->legs[leg->index];
	bool same = to->set && memcmp(&to->leg.mac, &leg->mac, sizeof(leg->mac)) == 0 &&
		    to->leg.address_count == leg->address_count;

	for (unsigned i = 0; same && i < leg->address_count; i++)
		same = ip_prefix_equal(&to->leg.addresses[i], &leg->addresses[i]);
	if (!same)
		forget(table, to, leg);
	to->leg = *leg;
	to->set = true;
	if (same)
		return;
	memset(to->defended_at, 0, sizeof(to->defended_at));
	memset(to->conflict_at, 0, sizeof(to->conflict_at));
	introduce(table, to);
	to->announce_due = now + NEIGHBOUR_ANNOUNCE_MS;
}

void neighbour_clear_leg(struct neighbour_table *table, uint16_t leg, uint64_t now)
{
	struct neighbour_leg *to = neighbour_leg_at(table, leg);

	if (to == NULL)
		return;
	forget(table, to, NULL);
	to->announce_due = UINT64_MAX;
	to->set = false;
}

/* Finds or makes the entry of an address that somebody of trust gives us. */
static int entry_given(struct neighbour_table *table, uint16_t leg_index, const struct ip *ip,
		       const struct mac *mac, uint64_t now, uint32_t *index)
{
	struct neighbour_leg *leg = neighbour_leg_at(table, leg_index);

	if (leg == NULL || !route_leg_reaches(&leg->leg, ip) || route_leg_owns(&leg->leg, ip) ||
	    !neighbour_mac_ok(leg, mac))
		return -EINVAL;
	*index = neighbour_find(table, leg_index, ip);
	if (*index == NEIGHBOUR_NONE)
		*index = neighbour_new(table, leg, ip, now);
	return *index == NEIGHBOUR_NONE ? -ENOSPC : 0;
}

int neighbour_add_static(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
			 const struct mac *mac, uint64_t now)
{
	uint32_t index;
	int error = entry_given(table, leg, ip, mac, now, &index);

	if (error != 0)
		return error;
	neighbour_set_mac(table, index, mac);
	neighbour_set_state(table, index, NEIGHBOUR_STATIC, now);
	neighbour_release(table, index);
	return 0;
}

int neighbour_load(struct neighbour_table *table, uint16_t leg, const struct ip *ip,
		   const struct mac *mac, uint64_t now)
{
	uint32_t index;
	int error = entry_given(table, leg, ip, mac, now, &index);

	if (error != 0 || table->entries[index].state != NEIGHBOUR_INCOMPLETE)
		return error;
	neighbour_set_mac(table, index, mac);
	neighbour_set_state(table, index, NEIGHBOUR_STALE, now);
	neighbour_release(table, index);
	return 0;
}

int neighbour_remove(struct neighbour_table *table, uint16_t leg, const struct ip *ip)
{
	uint32_t index = leg < table->leg_count ? neighbour_find(table, leg, ip) : NEIGHBOUR_NONE;

	if (index == NEIGHBOUR_NONE)
		return -ENOENT;
	neighbour_free(table, index);
	return 0;
}

uint64_t neighbour_changes(const struct neighbour_table *table)
{
	return table->changes;
}

const struct neighbour_counters *neighbour_counters(const struct neighbour_table *table)
{
	return &table->counters;
}
