/* Finding sessions from either side (lookup.h). Worker, and control for reassembled packets. */
#include "nat/lookup.h"

#include "nat/accounts.h"
#include "nat/ports.h"

static struct nat_shard *shard_of(struct nat *nat, const struct nat_rules *rules,
				  const struct nat_key *key)
{
	enum nat_space space = nat_space_of(key->protocol);
	uint32_t number;

	if (space == NAT_SPACES ||
	    nat_rules_is_target(rules, space, &key->inside, key->inside_port))
		number = nat_session_shard(nat, &key->remote, key->remote_port, key->protocol);
	else
		number = nat_port_shard(key->inside_port);
	return &nat->shards[number];
}

static void key_set(struct nat_key *key, uint8_t protocol, const struct nat_end *inside,
		    const struct nat_end *remote)
{
	key->inside = inside->ip;
	key->inside_port = inside->port;
	key->remote = remote->ip;
	key->remote_port = nat_space_of(protocol) <= NAT_SPACE_UDP ? remote->port : 0;
	key->protocol = protocol;
}

void nat_find_outbound(struct nat *nat, const struct nat_rules *rules, uint8_t protocol,
		       const struct nat_end *inside, const struct nat_end *remote, uint32_t now,
		       struct nat_found *found)
{
	memset(found, 0, sizeof(*found));
	key_set(&found->key, protocol, inside, remote);
	found->mapped = true;
	found->shard = shard_of(nat, rules, &found->key);
	nat_lock(&found->shard->lock);
	found->slot = nat_session_find(nat, found->shard, &found->key, now);
}

static void find_by_remote(struct nat *nat, uint8_t protocol, uint16_t address,
			   const struct nat_end *remote, uint32_t now, struct nat_found *found)
{
	found->shard = &nat->shards[nat_session_shard(nat, &remote->ip, 0, protocol)];
	nat_lock(&found->shard->lock);
	found->slot =
	    nat_session_find_remote(nat, found->shard, protocol, address, &remote->ip, now);
}

/* Whether some session of a mapping, of which `owner` is one, is with this address. */
static bool mapping_has_remote(struct nat *nat, uint32_t owner, const struct ip *remote)
{
	const struct nat_slot *slot = &nat->slots[owner];
	struct nat_slot wanted = { .inside = slot->inside,
				   .inside_port = slot->inside_port,
				   .remote = *remote,
				   .protocol = slot->protocol };

	if (nat->links[owner].next == owner)
		return ip_equal(&slot->remote, remote);
	return nat_accounts_permitted(nat, &wanted);
}

/* The forward has the inside end, so the shard is known before it is locked; else the port's owner
 * has it, in the shard of the port. */
void nat_find_inbound(struct nat *nat, const struct nat_rules *rules, uint8_t protocol,
		      uint16_t address, const struct nat_end *outside, const struct nat_end *remote,
		      uint32_t now, struct nat_found *found)
{
	enum nat_space space = nat_space_of(protocol);
	const struct nat_slot *slot;
	struct nat_end inside;
	uint32_t owner = 0;

	memset(found, 0, sizeof(*found));
	if (space == NAT_SPACES) {
		find_by_remote(nat, protocol, address, remote, now, found);
		return;
	}
	found->rule = nat_rules_find_listen(rules, space, &outside->ip, outside->port);
	if (found->rule != NULL) {
		inside.ip = found->rule->to;
		inside.port =
		    (uint16_t)(found->rule->to_first + (outside->port - found->rule->first));
		key_set(&found->key, protocol, &inside, remote);
		found->shard = shard_of(nat, rules, &found->key);
		nat_lock(&found->shard->lock);
	} else {
		found->shard = &nat->shards[nat_port_shard(outside->port)];
		nat_lock(&found->shard->lock);
		owner = *nat_ports_owner(nat, address, space, outside->port);
		if (owner == 0)
			return;
		inside.ip = nat->slots[owner].inside;
		inside.port = nat->slots[owner].inside_port;
		key_set(&found->key, protocol, &inside, remote);
	}
	found->mapped = true;
	found->slot = nat_session_find(nat, found->shard, &found->key, now);
	if (found->slot == 0) {
		found->asked = owner != 0 && rules->filtering == NAT_FILTER_ADDRESS &&
			       mapping_has_remote(nat, owner, &remote->ip);
		return;
	}
	slot = &nat->slots[found->slot];
	if (slot->address != address || slot->outside_port != outside->port) {
		found->slot = 0;
		found->conflict = true;
	}
}
