/* Translating frames (nat.h, workers): to a session, which is made where that is allowed, and from
 * there to new addresses and ports. Any number of workers; control for reassembled packets. */
#include "nat/lookup.h"
#include "nat/ports.h"

#include "base/parse.h"

#include <netinet/in.h>

#define IPV4_DONT_FRAGMENT 0x4000u

static bool outbound_session(struct nat *nat, const struct nat_rules *rules,
			     const struct nat_packet *packet, uint32_t now, struct nat_end *outside,
			     enum drop_reason *reason);
static enum nat_result inbound_session(struct nat *nat, const struct nat_rules *rules,
				       const struct nat_packet *packet, uint32_t now,
				       struct nat_end *inside, enum drop_reason *reason);
static bool is_wanted(struct nat *nat, const struct nat_rules *rules,
		      const struct nat_rules_address *address, const struct nat_packet *packet);
static const struct nat_rules *rules_of(struct nat *nat);

enum nat_result nat_outbound(struct nat *nat, struct frame *frame, uint32_t now,
			     enum drop_reason *reason)
{
	const struct nat_rules *rules = rules_of(nat);
	struct nat_change change = { 0 };
	struct nat_packet packet;
	struct nat_end outside;

	if (!nat_packet_from_frame(frame, &packet, reason))
		return NAT_DROP;
	if (packet.kind == NAT_KIND_ERROR)
		return nat_error_outbound(nat, rules, frame, &packet, now, reason);
	if (packet.kind == NAT_KIND_REPLY || packet.kind == NAT_KIND_STRAY) {
		*reason = DROP_NAT_ICMP;
		return NAT_DROP;
	}
	if (!outbound_session(nat, rules, &packet, now, &outside, reason))
		return NAT_DROP;
	nat_packet_set_source(&packet, &outside.ip, outside.port, &change);
	nat_packet_finish(&packet, &change);
	nat_identify(nat, frame, &packet);
	return NAT_TRANSLATED;
}

enum nat_result nat_inbound(struct nat *nat, struct frame *frame, uint32_t now,
			    enum drop_reason *reason)
{
	const struct nat_rules *rules = rules_of(nat);
	struct nat_change change = { 0 };
	struct nat_packet packet;
	struct nat_end inside;
	enum nat_result result;

	if (!nat_packet_from_frame(frame, &packet, reason))
		return NAT_DROP;
	if (packet.kind == NAT_KIND_ERROR)
		return nat_error_inbound(nat, rules, frame, &packet, now, reason);
	result = inbound_session(nat, rules, &packet, now, &inside, reason);
	if (result != NAT_TRANSLATED)
		return result;
	nat_packet_set_destination(&packet, &inside.ip, inside.port, &change);
	nat_packet_finish(&packet, &change);
	return NAT_TRANSLATED;
}

enum nat_result nat_hairpin(struct nat *nat, struct frame *frame, uint32_t now,
			    enum drop_reason *reason)
{
	const struct nat_rules *rules = rules_of(nat);
	const struct nat_rules_address *address;
	struct nat_change change = { 0 };
	struct nat_packet packet, seen;
	struct nat_end outside, inside;

	if (!nat_packet_from_frame(frame, &packet, reason))
		return NAT_DROP;
	if (packet.kind == NAT_KIND_ERROR)
		return nat_error_hairpin(nat, rules, frame, &packet, now, reason);
	address = nat_rules_find_address(rules, &packet.destination);
	if (packet.kind != NAT_KIND_PORTS || address == NULL ||
	    !is_wanted(nat, rules, address, &packet))
		return NAT_LOCAL;
	if (!outbound_session(nat, rules, &packet, now, &outside, reason))
		return NAT_DROP;
	seen = packet;
	seen.source = outside.ip;
	seen.source_port = outside.port;
	switch (inbound_session(nat, rules, &seen, now, &inside, reason)) {
	case NAT_LOCAL: /* it went since is_wanted() */
		*reason = DROP_NAT_FILTERED;
		return NAT_DROP;
	case NAT_DROP:
		return NAT_DROP;
	case NAT_TRANSLATED:
		break;
	}
	nat_packet_set_source(&packet, &outside.ip, outside.port, &change);
	nat_packet_set_destination(&packet, &inside.ip, inside.port, &change);
	nat_packet_finish(&packet, &change);
	nat_identify(nat, frame, &packet);
	return NAT_TRANSLATED;
}

void nat_identify(struct nat *nat, const struct frame *frame, struct nat_packet *packet)
{
	uint32_t count = 1, which;

	if (packet->version != 4 || (read_be16(packet->ip + 6) & IPV4_DONT_FRAGMENT))
		return;
	/* A GSO frame becomes several packets, numbered from this one on, but for fragments. */
	if (frame->gso != FRAME_GSO_NONE && frame->gso != FRAME_GSO_UDP4_FRAGMENT &&
	    frame->gso != FRAME_GSO_FRAGMENT && frame->gso_size != 0)
		count = (frame->length + frame->gso_size - 1) / frame->gso_size;
	which = (uint8_t)(nat_hash_ip(nat, &packet->destination, packet->protocol) >> 56);
	/* relaxed: the numbers need not come in any order, only not twice soon. */
	nat_packet_set_identification(
	    packet, atomic_fetch_add_explicit(&nat->identifications[which], (uint16_t)count,
					      memory_order_relaxed));
}

/* Whether a packet may begin a session: any but TCP's, of which only a SYN. */
static bool may_open(const struct nat_packet *packet)
{
	return packet->protocol != IPPROTO_TCP ||
	       (packet->tcp_flags & (NAT_SYN | NAT_ACK | NAT_RST | NAT_FIN)) == NAT_SYN;
}

/* Asks for a session that the inside begins. From a port that a forward leads to it is seen outside
 * as the forward's port, so that the host has one face (RFC 4787, REQ-1). */
static bool outbound_open(struct nat *nat, const struct nat_rules *rules,
			  const struct nat_packet *packet, struct nat_found *found, uint32_t now,
			  enum drop_reason *reason)
{
	struct nat_request request = {
		.key = found->key,
		.shard = (uint32_t)(found->shard - nat->shards),
		.address = NAT_ADDRESSES_MAX,
		.direction = NAT_OUT,
	};
	struct ip listen;

	*reason = DROP_NAT_TCP_STATE;
	if (!may_open(packet))
		return false;
	*reason = DROP_NAT_MALFORMED;
	if (!ip_is_host(&packet->source) || !ip_is_host(&packet->destination))
		return false;
	*reason = DROP_NAT_NO_ADDRESS;
	if (rules->family_count[packet->version == 4 ? 0 : 1] == 0)
		return false;
	if (nat_rules_find_target(rules, nat_space_of(packet->protocol), &packet->source,
				  packet->source_port, &request.outside_port, &listen)) {
		request.forward = true;
		if (!ip_is_unspecified(&listen)) {
			const struct nat_rules_address *address =
			    nat_rules_find_address(rules, &listen);

			if (address == NULL)
				return false;
			request.address = address->index;
		}
	}
	found->slot = nat_session_open(nat, rules, &request, now, reason);
	return found->slot != 0;
}

/* Where outside the packet's source is seen; counts the packet. */
static bool outbound_session(struct nat *nat, const struct nat_rules *rules,
			     const struct nat_packet *packet, uint32_t now, struct nat_end *outside,
			     enum drop_reason *reason)
{
	struct nat_end inside = { packet->source, packet->source_port };
	struct nat_end remote = { packet->destination, packet->destination_port };
	struct nat_found found;

	nat_find_outbound(nat, rules, packet->protocol, &inside, &remote, now, &found);
	if (found.slot == 0) {
		nat_unlock(&found.shard->lock);
		if (!outbound_open(nat, rules, packet, &found, now, reason))
			return false;
	}
	nat_session_record(nat, found.shard, found.slot, NAT_OUT, packet->tcp_flags, now);
	outside->ip = nat->addresses[nat->slots[found.slot].address].ip;
	outside->port = nat->slots[found.slot].outside_port;
	nat_unlock(&found.shard->lock);
	return true;
}

/* Whether the outside may begin a session (RFC 4787, 5): always at a forward, if it comes from
 * where that allows; else as the filtering says. Queries and protocols without ports begin inside.
 */
static bool may_enter(const struct nat_rules *rules, const struct nat_packet *packet,
		      const struct nat_found *found)
{
	if (packet->kind != NAT_KIND_PORTS || !ip_is_host(&packet->source))
		return false;
	if (found->rule != NULL)
		return !found->rule->has_source ||
		       ip_prefix_contains(&found->rule->source, &packet->source);
	switch (rules->filtering) {
	case NAT_FILTER_ENDPOINT_INDEPENDENT:
		return true;
	case NAT_FILTER_ADDRESS:
		return found->asked;
	case NAT_FILTER_ADDRESS_AND_PORT:
		break;
	}
	return false;
}

static bool inbound_open(struct nat *nat, const struct nat_rules *rules,
			 const struct nat_packet *packet, uint16_t address, struct nat_found *found,
			 uint32_t now, enum drop_reason *reason)
{
	struct nat_request request = {
		.key = found->key,
		.shard = (uint32_t)(found->shard - nat->shards),
		.forward = found->rule != NULL,
		.address = address,
		.outside_port = packet->destination_port,
		.direction = NAT_IN,
	};

	*reason = DROP_NAT_CONFLICT;
	if (found->conflict)
		return false;
	*reason = DROP_NAT_FILTERED;
	if (!may_enter(rules, packet, found))
		return false;
	*reason = DROP_NAT_TCP_STATE;
	if (!may_open(packet))
		return false;
	found->slot = nat_session_open(nat, rules, &request, now, reason);
	if (found->slot == 0)
		return false;
	/* The mapping may have gone since, or another session have come first. */
	if (nat->slots[found->slot].address == address &&
	    nat->slots[found->slot].outside_port == packet->destination_port)
		return true;
	nat_unlock(&found->shard->lock);
	*reason = DROP_NAT_CONFLICT;
	return false;
}

/* Who inside is meant by the packet's destination; counts the packet. */
static enum nat_result inbound_session(struct nat *nat, const struct nat_rules *rules,
				       const struct nat_packet *packet, uint32_t now,
				       struct nat_end *inside, enum drop_reason *reason)
{
	const struct nat_rules_address *address =
	    nat_rules_find_address(rules, &packet->destination);
	struct nat_end outside = { packet->destination, packet->destination_port };
	struct nat_end remote = { packet->source, packet->source_port };
	struct nat_found found;

	if (address == NULL || packet->kind == NAT_KIND_QUERY || packet->kind == NAT_KIND_STRAY)
		return NAT_LOCAL;
	nat_find_inbound(nat, rules, packet->protocol, address->index, &outside, &remote, now,
			 &found);
	if (found.slot == 0) {
		nat_unlock(&found.shard->lock);
		*reason = DROP_NAT_FILTERED;
		if (!found.mapped)
			return packet->protocol == IPPROTO_TCP ? NAT_DROP : NAT_LOCAL;
		if (!inbound_open(nat, rules, packet, address->index, &found, now, reason))
			return NAT_DROP;
	}
	nat_session_record(nat, found.shard, found.slot, NAT_IN, packet->tcp_flags, now);
	inside->ip = nat->slots[found.slot].inside;
	inside->port = nat->slots[found.slot].inside_port;
	nat_unlock(&found.shard->lock);
	return NAT_TRANSLATED;
}

/* Whether something inside is behind a port of an outside address. */
static bool is_wanted(struct nat *nat, const struct nat_rules *rules,
		      const struct nat_rules_address *address, const struct nat_packet *packet)
{
	enum nat_space space = nat_space_of(packet->protocol);
	struct nat_shard *shard = &nat->shards[nat_port_shard(packet->destination_port)];
	bool owned;

	if (nat_rules_find_listen(rules, space, &address->ip, packet->destination_port) != NULL)
		return true;
	nat_lock(&shard->lock);
	owned = *nat_ports_owner(nat, address->index, space, packet->destination_port) != 0;
	nat_unlock(&shard->lock);
	return owned;
}

static const struct nat_rules *rules_of(struct nat *nat)
{
	/* acquire: pairs with the release of rules_publish(). */
	return atomic_load_explicit(&nat->rules, memory_order_acquire);
}
