/* Neighbour discovery of the neighbour table (RFC 4861, sections 4.3, 4.4, 7.1 and 7.2). Control
 * thread; bytes of anybody. */
#include "route/neighbour_internal.h"

#include "base/parse.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>

#define ND_LENGTH	 24u /* header and target */
#define ND_TARGET	 8u
#define ND_FLAGS	 4u
#define ND_HOP_LIMIT	 255u
#define ND_FLAG_ROUTER	 0x80u
#define ND_FLAG_SOLICIT	 0x40u
#define ND_FLAG_OVERRIDE 0x20u
#define OPTION_LENGTH	 8u /* of a link-layer address of 6 bytes */
#define FRAME_MAX	 128u

static const struct ip all_nodes = { .bytes = { 0xff, 0x02, [15] = 1 } };

/* A message taken apart. */
struct nd_message {
	uint8_t type, flags;
	struct ip target;
	bool has_mac; /* option of the kind that belongs to the type */
	struct mac mac;
};

static struct mac group_mac(const struct ip *group)
{
	struct mac mac = { { 0x33, 0x33 } };

	memcpy(mac.bytes + 2, group->bytes + 12, 4);
	return mac;
}

static void nd_send(const struct neighbour_leg *leg, const struct packet_header *header,
		    uint8_t type, uint8_t flags, const struct ip *target)
{
	uint8_t nd[ND_LENGTH + OPTION_LENGTH] = { type };
	uint8_t frame[FRAME_MAX];
	/* A probe comes from nowhere (RFC 4861, 4.3). */
	size_t length = ip_is_unspecified(&header->source) ? ND_LENGTH : sizeof(nd);

	nd[ND_FLAGS] = flags;
	memcpy(nd + ND_TARGET, target->bytes, 16);
	nd[ND_LENGTH] =
	    type == ND_NEIGHBOR_SOLICIT ? ND_OPT_SOURCE_LINKADDR : ND_OPT_TARGET_LINKADDR;
	nd[ND_LENGTH + 1] = 1; /* in eights */
	memcpy(nd + ND_LENGTH + 2, leg->leg.mac.bytes, MAC_LENGTH);
	length = packet_write_ip(header, nd, length, frame, sizeof(frame));
	route_send(&leg->leg.output, frame, length);
}

void neighbour_nd_probe(struct neighbour_leg *leg, const struct ip *ip)
{
	struct packet_header header = { .from = leg->leg.mac,
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = ND_HOP_LIMIT,
					.destination = ip_solicited_node(ip) };

	header.to = group_mac(&header.destination);
	nd_send(leg, &header, ND_NEIGHBOR_SOLICIT, 0, ip);
}

void neighbour_nd_solicit(struct neighbour_leg *leg, const struct ip *ip, const struct mac *mac)
{
	struct packet_header header = { .from = leg->leg.mac,
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = ND_HOP_LIMIT,
					.destination = *ip };

	if (!route_leg_source(&leg->leg, ip, &header.source))
		return;
	if (mac == NULL)
		header.destination = ip_solicited_node(ip);
	header.to = mac != NULL ? *mac : group_mac(&header.destination);
	nd_send(leg, &header, ND_NEIGHBOR_SOLICIT, 0, ip);
}

/* An advertisement of `ip`, which is ours, to `to` or (unspecified) to all nodes. */
static void nd_advertise(const struct neighbour_leg *leg, const struct ip *ip, const struct ip *to,
			 const struct mac *to_mac)
{
	struct packet_header header = { .from = leg->leg.mac,
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = ND_HOP_LIMIT,
					.source = *ip,
					.destination = all_nodes };
	uint8_t flags = ND_FLAG_ROUTER | ND_FLAG_OVERRIDE;

	header.to = group_mac(&all_nodes);
	if (to != NULL && !ip_is_unspecified(to)) {
		header.destination = *to;
		header.to = *to_mac;
		flags |= ND_FLAG_SOLICIT;
	}
	nd_send(leg, &header, ND_NEIGHBOR_ADVERT, flags, ip);
}

void neighbour_nd_announce(struct neighbour_leg *leg, const struct ip *ip)
{
	nd_advertise(leg, ip, NULL, NULL);
}

/* Finds the link-layer address option; false when an option is broken (RFC 4861, 4.6). */
static bool read_options(const struct packet *packet, struct nd_message *message)
{
	uint8_t wanted =
	    message->type == ND_NEIGHBOR_SOLICIT ? ND_OPT_SOURCE_LINKADDR : ND_OPT_TARGET_LINKADDR;
	size_t at = ND_LENGTH;

	while (at < packet->payload_length) {
		const uint8_t *option = packet->payload + at;
		size_t room = packet->payload_length - at;

		if (room < 8 || option[1] == 0 || (size_t)option[1] * 8 > room)
			return false;
		if (option[0] == wanted && !message->has_mac) {
			if (option[1] != 1)
				return false;
			message->has_mac = true;
			memcpy(message->mac.bytes, option + 2, MAC_LENGTH);
		}
		at += (size_t)option[1] * 8;
	}
	return true;
}

/* The checks of 7.1.1 and 7.1.2; counts what fails. */
static bool read_message(struct neighbour_counters *counters, const struct packet *packet,
			 struct nd_message *message)
{
	const uint8_t *nd = packet->payload;
	uint64_t *fault = NULL;

	*message = (struct nd_message){ .type = nd[0] };
	if (packet->hop_limit != ND_HOP_LIMIT)
		fault = &counters->nd_hop_limit;
	else if (packet->payload_length < ND_LENGTH)
		fault = &counters->nd_length;
	else if (!packet_checksum_ok(packet))
		fault = &counters->nd_checksum;
	else if (nd[1] != 0)
		fault = &counters->nd_code;
	if (fault == NULL) {
		message->flags = nd[ND_FLAGS];
		message->target = ip_from_v6_bytes(nd + ND_TARGET);
		if (!ip_is_host(&message->target) || ip_is_v4(&message->target))
			fault = &counters->nd_target;
		else if (!read_options(packet, message))
			fault = &counters->nd_option;
	}
	if (fault != NULL)
		(*fault)++;
	return fault == NULL;
}

static void solicitation(struct neighbour_table *table, struct neighbour_leg *leg,
			 const struct packet *packet, const struct nd_message *message,
			 uint64_t now)
{
	struct ip group = ip_solicited_node(&message->target);
	bool nobody = ip_is_unspecified(&packet->source); /* duplicate address detection */
	const struct mac *to = &packet->from;
	uint32_t index;
	struct mac known;

	if (nobody && (message->has_mac || !ip_equal(&packet->destination, &group))) {
		table->counters.nd_source++;
		return;
	}
	if (message->has_mac && !neighbour_mac_ok(leg, &message->mac)) {
		table->counters.mac_invalid++;
		return;
	}
	if (!nobody && route_leg_owns(&leg->leg, &packet->source)) {
		neighbour_conflict(table, leg, &packet->source, &packet->from, now);
		return;
	}
	if (!nobody && !route_leg_reaches(&leg->leg, &packet->source)) {
		table->counters.address_foreign++;
		return;
	}
	if (!route_leg_answers(&leg->leg, &message->target))
		return;
	if (message->has_mac) {
		neighbour_learn_asker(table, leg, &packet->source, &message->mac, now);
		to = &message->mac;
	} else if (!nobody) {
		index = neighbour_find(table, leg->leg.index, &packet->source);
		if (index != NEIGHBOUR_NONE &&
		    table->entries[index].state != NEIGHBOUR_INCOMPLETE) {
			known = neighbour_mac(table, index);
			to = &known;
		}
	}
	table->counters.answered++;
	nd_advertise(leg, &message->target, &packet->source, to);
}

/* RFC 4861, 7.2.5, for an entry that is known. */
static void advertisement_update(struct neighbour_table *table, uint32_t index,
				 const struct nd_message *message, uint64_t now)
{
	struct mac known = neighbour_mac(table, index);
	struct mac mac = message->has_mac ? message->mac : known;
	bool same = memcmp(&known, &mac, sizeof(mac)) == 0;

	if (!same && !(message->flags & ND_FLAG_OVERRIDE)) {
		/* Not to be believed, nor is what we have any more. */
		if (table->entries[index].state == NEIGHBOUR_REACHABLE) {
			table->entries[index].used_at = now;
			neighbour_set_state(table, index, NEIGHBOUR_STALE, now);
		}
		return;
	}
	neighbour_learn(table, index, &mac,
			message->flags & ND_FLAG_SOLICIT ? NEIGHBOUR_PROVEN : NEIGHBOUR_UNPROVEN,
			now);
}

static void advertisement(struct neighbour_table *table, struct neighbour_leg *leg,
			  const struct packet *packet, const struct nd_message *message,
			  uint64_t now)
{
	uint32_t index;

	if (ip_is_multicast(&packet->destination) && message->flags & ND_FLAG_SOLICIT) {
		table->counters.nd_solicited++;
		return;
	}
	if (message->has_mac && !neighbour_mac_ok(leg, &message->mac)) {
		table->counters.mac_invalid++;
		return;
	}
	if (route_leg_owns(&leg->leg, &message->target)) {
		neighbour_conflict(table, leg, &message->target,
				   message->has_mac ? &message->mac : &packet->from, now);
		return;
	}
	index = neighbour_find(table, leg->leg.index, &message->target);
	if (index == NEIGHBOUR_NONE) {
		table->counters.unknown++;
		return;
	}
	if (table->entries[index].state != NEIGHBOUR_INCOMPLETE)
		advertisement_update(table, index, message, now);
	else if (message->has_mac)
		neighbour_learn(
		    table, index, &message->mac,
		    message->flags & ND_FLAG_SOLICIT ? NEIGHBOUR_PROVEN : NEIGHBOUR_UNPROVEN, now);
}

void neighbour_nd_input(struct neighbour_table *table, struct neighbour_leg *leg,
			const struct packet *packet, uint64_t now)
{
	struct nd_message message;

	if (!read_message(&table->counters, packet, &message))
		return;
	if (message.type == ND_NEIGHBOR_SOLICIT)
		solicitation(table, leg, packet, &message, now);
	else
		advertisement(table, leg, packet, &message, now);
}
