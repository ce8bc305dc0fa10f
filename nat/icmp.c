/* ICMP errors through the translator (RFC 5508, 4; RFC 4787, REQ-12): the packet within belongs to
 * a session, and both it and the error's own addresses are translated as that says. They neither
 * renew nor end the session. Worker. */
#include "nat/lookup.h"

static bool error_read(const struct frame *frame, const struct nat_packet *error,
		       struct nat_packet *inner, enum drop_reason *reason);
static bool inside_of(struct nat *nat, const struct nat_rules *rules,
		      const struct nat_packet *inner, uint32_t now, struct nat_end *inside);
static bool outside_of(struct nat *nat, const struct nat_rules *rules,
		       const struct nat_packet *inner, uint32_t now, struct nat_end *outside);
static void error_finish(struct nat_packet *error, struct nat_packet *inner,
			 struct nat_change *within, struct nat_change *change);

enum nat_result nat_error_inbound(struct nat *nat, const struct nat_rules *rules,
				  struct frame *frame, struct nat_packet *error, uint32_t now,
				  enum drop_reason *reason)
{
	struct nat_change within = { 0 }, change = { 0 };
	struct nat_packet inner;
	struct nat_end inside;

	if (!error_read(frame, error, &inner, reason))
		return NAT_DROP;
	if (!inside_of(nat, rules, &inner, now, &inside)) {
		*reason = DROP_NAT_ICMP;
		return NAT_DROP;
	}
	nat_packet_set_source(&inner, &inside.ip, inside.port, &within);
	nat_packet_set_destination(error, &inside.ip, 0, &change);
	error_finish(error, &inner, &within, &change);
	return NAT_TRANSLATED;
}

enum nat_result nat_error_outbound(struct nat *nat, const struct nat_rules *rules,
				   struct frame *frame, struct nat_packet *error, uint32_t now,
				   enum drop_reason *reason)
{
	struct nat_change within = { 0 }, change = { 0 };
	struct nat_packet inner;
	struct nat_end outside;

	if (!error_read(frame, error, &inner, reason))
		return NAT_DROP;
	if (!outside_of(nat, rules, &inner, now, &outside)) {
		*reason = DROP_NAT_ICMP;
		return NAT_DROP;
	}
	nat_packet_set_destination(&inner, &outside.ip, outside.port, &within);
	nat_packet_set_source(error, &outside.ip, 0, &change);
	error_finish(error, &inner, &within, &change);
	nat_identify(nat, frame, error);
	return NAT_TRANSLATED;
}

/* An inside host tells another about a packet that went through nat_hairpin(): out, as seen by the
 * session of the one, and in again by that of the other. */
enum nat_result nat_error_hairpin(struct nat *nat, const struct nat_rules *rules,
				  struct frame *frame, struct nat_packet *error, uint32_t now,
				  enum drop_reason *reason)
{
	struct nat_change within = { 0 }, change = { 0 };
	struct nat_packet inner, seen;
	struct nat_end outside, inside;

	if (!error_read(frame, error, &inner, reason))
		return NAT_DROP;
	*reason = DROP_NAT_ICMP;
	if (!outside_of(nat, rules, &inner, now, &outside))
		return NAT_DROP;
	seen = inner;
	seen.destination = outside.ip;
	seen.destination_port = outside.port;
	if (!inside_of(nat, rules, &seen, now, &inside))
		return NAT_DROP;
	nat_packet_set_destination(&inner, &outside.ip, outside.port, &within);
	nat_packet_set_source(&inner, &inside.ip, inside.port, &within);
	nat_packet_set_source(error, &outside.ip, 0, &change);
	nat_packet_set_destination(error, &inside.ip, 0, &change);
	error_finish(error, &inner, &within, &change);
	nat_identify(nat, frame, error);
	return NAT_TRANSLATED;
}

/* Errors go to whom the packet came from, nobody else (RFC 1122, 3.2.2). */
static bool error_read(const struct frame *frame, const struct nat_packet *error,
		       struct nat_packet *inner, enum drop_reason *reason)
{
	if (nat_packet_from_error(frame, error, inner) &&
	    ip_equal(&inner->source, &error->destination))
		return true;
	*reason = DROP_NAT_EMBEDDED;
	return false;
}

/* Who inside sent the inner packet, which is as it left. */
static bool inside_of(struct nat *nat, const struct nat_rules *rules,
		      const struct nat_packet *inner, uint32_t now, struct nat_end *inside)
{
	const struct nat_rules_address *address = nat_rules_find_address(rules, &inner->source);
	struct nat_end outside = { inner->source, inner->source_port };
	struct nat_end remote = { inner->destination, inner->destination_port };
	struct nat_found found;
	bool ok;

	if (address == NULL)
		return false;
	nat_find_inbound(nat, rules, inner->protocol, address->index, &outside, &remote, now,
			 &found);
	ok = found.slot != 0;
	if (ok) {
		inside->ip = nat->slots[found.slot].inside;
		inside->port = nat->slots[found.slot].inside_port;
	}
	nat_unlock(&found.shard->lock);
	return ok;
}

/* Where outside the inner packet came to, which is as it arrived inside. */
static bool outside_of(struct nat *nat, const struct nat_rules *rules,
		       const struct nat_packet *inner, uint32_t now, struct nat_end *outside)
{
	struct nat_end inside = { inner->destination, inner->destination_port };
	struct nat_end remote = { inner->source, inner->source_port };
	struct nat_found found;
	bool ok;

	nat_find_outbound(nat, rules, inner->protocol, &inside, &remote, now, &found);
	ok = found.slot != 0;
	if (ok) {
		outside->ip = nat->addresses[nat->slots[found.slot].address].ip;
		outside->port = nat->slots[found.slot].outside_port;
	}
	nat_unlock(&found.shard->lock);
	return ok;
}

/* What changed within is part of what the error's own checksum is over. */
static void error_finish(struct nat_packet *error, struct nat_packet *inner,
			 struct nat_change *within, struct nat_change *change)
{
	nat_packet_finish(inner, within);
	change->header += within->outer;
	nat_packet_finish(error, change);
}
