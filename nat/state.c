/* States of sessions (state.h). Called by whoever holds the shard's lock, for every packet. */
#include "nat/state.h"

#include <netinet/in.h>

const char *const nat_state_names[] = {
	[NAT_TCP_SYN] = "syn",
	[NAT_TCP_SYN_BOTH] = "syn-both",
	[NAT_TCP_ESTABLISHED] = "established",
	[NAT_TCP_FIN] = "half-closed",
	[NAT_TCP_CLOSED] = "closed",
	[NAT_TCP_RESET] = "reset",
	[NAT_ONE_WAY] = "one-way",
	[NAT_TWO_WAY] = "two-way",
	[NAT_STATE_COUNT] = NULL,
};

const uint32_t nat_class_timeout[NAT_CLASSES] = {
	[NAT_CLASS_TCP] = NAT_TIMEOUT_TCP,
	[NAT_CLASS_TCP_TRANSITORY] = NAT_TIMEOUT_TCP_TRANSITORY,
	[NAT_CLASS_UDP] = NAT_TIMEOUT_UDP,
	[NAT_CLASS_UDP_ONE_WAY] = NAT_TIMEOUT_UDP_ONE_WAY,
	[NAT_CLASS_ICMP] = NAT_TIMEOUT_ICMP,
	[NAT_CLASS_OTHER] = NAT_TIMEOUT_OTHER,
};

static void tcp_advance(struct nat_slot *slot, enum nat_direction direction, uint8_t flags);

enum nat_space nat_space_of(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return NAT_SPACE_TCP;
	case IPPROTO_UDP:
		return NAT_SPACE_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return NAT_SPACE_ICMP;
	default:
		return NAT_SPACES;
	}
}

enum nat_state nat_state_first(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? NAT_TCP_SYN : NAT_ONE_WAY;
}

void nat_state_advance(struct nat_slot *slot, enum nat_direction direction, uint8_t tcp_flags)
{
	slot->flags |= direction == NAT_OUT ? NAT_SLOT_SENT_OUT : NAT_SLOT_SENT_IN;
	if (slot->protocol == IPPROTO_TCP)
		tcp_advance(slot, direction, tcp_flags);
	else if ((slot->flags & NAT_SLOT_SENT_OUT) && (slot->flags & NAT_SLOT_SENT_IN))
		slot->state = NAT_TWO_WAY;
}

bool nat_state_renews(const struct nat_slot *slot, enum nat_direction direction, uint8_t tcp_flags)
{
	if (tcp_flags & NAT_RST)
		return false;
	return direction == NAT_OUT || (slot->flags & NAT_SLOT_SENT_OUT);
}

enum nat_class nat_state_class(const struct nat_slot *slot)
{
	switch (nat_space_of(slot->protocol)) {
	case NAT_SPACE_TCP:
		return slot->state == NAT_TCP_ESTABLISHED ? NAT_CLASS_TCP
							  : NAT_CLASS_TCP_TRANSITORY;
	case NAT_SPACE_UDP:
		return slot->state == NAT_TWO_WAY ? NAT_CLASS_UDP : NAT_CLASS_UDP_ONE_WAY;
	case NAT_SPACE_ICMP:
		return NAT_CLASS_ICMP;
	default:
		return NAT_CLASS_OTHER;
	}
}

bool nat_state_evictable(const struct nat_slot *slot)
{
	return slot->state != NAT_TCP_ESTABLISHED && slot->state != NAT_TCP_FIN &&
	       slot->state != NAT_TWO_WAY;
}

bool nat_state_valid(uint8_t protocol, uint8_t state)
{
	if (protocol == IPPROTO_TCP)
		return state <= NAT_TCP_RESET;
	return state == NAT_ONE_WAY || state == NAT_TWO_WAY;
}

/* A SYN: opens a connection, again after the last one has ended, or from the other side too, which
 * is either the answer or a simultaneous open (RFC 9293, 3.5). */
static void tcp_syn(struct nat_slot *slot, enum nat_direction direction, uint8_t flags)
{
	enum nat_direction first = slot->flags & NAT_SLOT_FROM_OUTSIDE ? NAT_IN : NAT_OUT;

	if (slot->state == NAT_TCP_SYN && direction != first) {
		slot->state = NAT_TCP_SYN_BOTH;
	} else if ((slot->state == NAT_TCP_CLOSED || slot->state == NAT_TCP_RESET) &&
		   !(flags & NAT_ACK)) {
		slot->state = NAT_TCP_SYN;
		slot->flags &= (uint8_t) ~(NAT_SLOT_FROM_OUTSIDE | NAT_SLOT_FIN_OUT |
					   NAT_SLOT_FIN_IN | NAT_SLOT_OPENED);
		if (direction == NAT_IN)
			slot->flags |= NAT_SLOT_FROM_OUTSIDE;
	}
}

static void tcp_advance(struct nat_slot *slot, enum nat_direction direction, uint8_t flags)
{
	enum nat_direction first = slot->flags & NAT_SLOT_FROM_OUTSIDE ? NAT_IN : NAT_OUT;
	uint8_t fins;

	if (flags & NAT_RST) {
		/* Both ends have closed: it answers a segment that came late, and ends nothing. */
		if (slot->state != NAT_TCP_CLOSED)
			slot->state = NAT_TCP_RESET;
		return;
	}
	if (flags & NAT_SYN) {
		tcp_syn(slot, direction, flags);
		return;
	}
	/* An RST that no end believed: the connection goes on. */
	if (slot->state == NAT_TCP_RESET)
		slot->state = slot->flags & NAT_SLOT_OPENED ? NAT_TCP_ESTABLISHED : NAT_TCP_SYN;
	/* Only the side that began can complete the handshake, so that SYNs from outside which a
	 * guest answers do not stay for hours. */
	if (slot->state == NAT_TCP_SYN_BOTH && (flags & NAT_ACK) && direction == first) {
		slot->state = NAT_TCP_ESTABLISHED;
		slot->flags |= NAT_SLOT_OPENED;
	}
	if (flags & NAT_FIN)
		slot->flags |= direction == NAT_OUT ? NAT_SLOT_FIN_OUT : NAT_SLOT_FIN_IN;
	fins = slot->flags & (NAT_SLOT_FIN_OUT | NAT_SLOT_FIN_IN);
	if (fins != 0 && (slot->flags & NAT_SLOT_OPENED))
		slot->state =
		    fins == (NAT_SLOT_FIN_OUT | NAT_SLOT_FIN_IN) ? NAT_TCP_CLOSED : NAT_TCP_FIN;
}
