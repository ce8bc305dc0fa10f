/* ARP of the neighbour table (RFC 826, RFC 5227). Control thread; bytes of anybody. */
#include "route/neighbour_internal.h"

#include "base/parse.h"

#define ARP_LENGTH     28u
#define ARP_OPERATION  6u
#define ARP_SENDER_MAC 8u
#define ARP_SENDER_IP  14u
#define ARP_TARGET_MAC 18u
#define ARP_TARGET_IP  24u
#define ARP_REQUEST    1u
#define ARP_REPLY      2u
/* A frame is padded to what Ethernet asks for. */
#define ARP_FRAME_LENGTH 60u

static const struct mac broadcast = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

/* Ethernet, IPv4 over it, and the lengths of their addresses. */
static const uint8_t fixed[] = { 0, 1, 0x08, 0x00, 6, 4 };

static void arp_send(const struct neighbour_leg *leg, uint16_t operation, const struct mac *to,
		     const struct ip *sender, const struct mac *target_mac, const struct ip *target)
{
	uint8_t frame[ARP_FRAME_LENGTH] = { 0 };
	uint8_t *arp = frame + PACKET_ETHERNET_LENGTH;

	memcpy(frame, to->bytes, MAC_LENGTH);
	memcpy(frame + MAC_LENGTH, leg->leg.mac.bytes, MAC_LENGTH);
	write_be16(frame + 12, ETHERTYPE_ARP);
	memcpy(arp, fixed, sizeof(fixed));
	write_be16(arp + ARP_OPERATION, operation);
	memcpy(arp + ARP_SENDER_MAC, leg->leg.mac.bytes, MAC_LENGTH);
	memcpy(arp + ARP_SENDER_IP, ip_v4_bytes(sender), 4);
	if (target_mac != NULL)
		memcpy(arp + ARP_TARGET_MAC, target_mac->bytes, MAC_LENGTH);
	memcpy(arp + ARP_TARGET_IP, ip_v4_bytes(target), 4);
	route_send(&leg->leg.output, frame, sizeof(frame));
}

void neighbour_arp_solicit(struct neighbour_leg *leg, const struct ip *ip, const struct mac *mac)
{
	struct ip source;

	if (route_leg_source(&leg->leg, ip, &source))
		arp_send(leg, ARP_REQUEST, mac != NULL ? mac : &broadcast, &source, NULL, ip);
}

void neighbour_arp_probe(struct neighbour_leg *leg, const struct ip *ip)
{
	struct ip nobody = ip_from_v4(0);

	arp_send(leg, ARP_REQUEST, &broadcast, &nobody, NULL, ip);
}

void neighbour_arp_announce(struct neighbour_leg *leg, const struct ip *ip)
{
	arp_send(leg, ARP_REQUEST, &broadcast, ip, NULL, ip);
}

/* What the sender says about itself. */
static void arp_learn(struct neighbour_table *table, struct neighbour_leg *leg, uint16_t operation,
		      const struct ip *sender, const struct mac *mac,
		      enum neighbour_proof to_us_alone, uint64_t now)
{
	uint32_t index = neighbour_find(table, leg->leg.index, sender);
	enum neighbour_proof proof = NEIGHBOUR_UNPROVEN;
	enum neighbour_state state;

	if (index == NEIGHBOUR_NONE) {
		table->counters.unknown += operation == ARP_REPLY;
		return;
	}
	state = (enum neighbour_state)table->entries[index].state;
	/* An answer is one only to a question that is open. */
	if (operation == ARP_REPLY && (state == NEIGHBOUR_INCOMPLETE || state == NEIGHBOUR_PROBE))
		proof = to_us_alone;
	neighbour_learn(table, index, mac, proof, now);
}

void neighbour_arp_input(struct neighbour_table *table, struct neighbour_leg *leg,
			 const struct packet *packet, uint64_t now)
{
	const uint8_t *arp = packet->network;
	struct ip sender, target;
	uint16_t operation;
	struct mac mac;
	bool for_us;

	if (packet->network_length < ARP_LENGTH || memcmp(arp, fixed, sizeof(fixed)) != 0) {
		table->counters.arp_malformed++;
		return;
	}
	operation = read_be16(arp + ARP_OPERATION);
	if (operation != ARP_REQUEST && operation != ARP_REPLY) {
		table->counters.arp_operation++;
		return;
	}
	memcpy(mac.bytes, arp + ARP_SENDER_MAC, MAC_LENGTH);
	sender = ip_from_v4_bytes(arp + ARP_SENDER_IP);
	target = ip_from_v4_bytes(arp + ARP_TARGET_IP);
	for_us = route_leg_answers(&leg->leg, &target);
	if (!neighbour_mac_ok(leg, &mac)) {
		table->counters.mac_invalid++;
		return;
	}
	if (route_leg_owns(&leg->leg, &sender)) {
		neighbour_conflict(table, leg, &sender, &mac, now);
		return;
	}
	/* A probe (RFC 5227, 2.1.1) comes from nowhere, and teaches nothing. */
	if (!ip_is_unspecified(&sender)) {
		if (!route_leg_reaches(&leg->leg, &sender)) {
			table->counters.address_foreign++;
			return;
		}
		if (operation == ARP_REQUEST && for_us)
			neighbour_learn_asker(table, leg, &sender, &mac, now);
		else
			arp_learn(table, leg, operation, &sender, &mac,
				  for_us && !mac_is_multicast(packet->to.bytes)
				      ? NEIGHBOUR_PROVEN
				      : NEIGHBOUR_UNPROVEN,
				  now);
	}
	if (operation == ARP_REQUEST && for_us) {
		table->counters.answered++;
		arp_send(leg, ARP_REPLY, &mac, &target, &mac, &sender);
	}
}
