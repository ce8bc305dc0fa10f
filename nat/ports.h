/* Outside ports: which are in use, and which a new mapping gets. The shard's lock is held. */
#ifndef WEFT_NAT_PORTS_H
#define WEFT_NAT_PORTS_H

#include "nat/rules.h"

/* Takes a port for a mapping of `inside_port`, of the same shard: the same number if it is free
 * (RFC 4787, 4.2.1), else a random one of its range (0 to 1023 or above, REQ-3) and parity (REQ-4),
 * else of its range; ports below 1024 give way to those above when they are used up. A guest never
 * gets more ports than it leaves for all others. False when there is none for it. */
bool nat_ports_take(struct nat *nat, struct nat_shard *shard, const struct nat_rules *rules,
		    uint16_t address, enum nat_space space, struct nat_guest *guest,
		    uint16_t inside_port, uint16_t *outside_port);

/* Takes exactly this port, for a session of the file; false when it is not free. */
bool nat_ports_restore(struct nat *nat, uint16_t address, enum nat_space space,
		       struct nat_guest *guest, uint16_t outside_port);

void nat_ports_release(struct nat *nat, uint16_t address, enum nat_space space,
		       struct nat_guest *guest, uint16_t outside_port);

/* Where the session stands that answers for the port. */
static inline uint32_t *nat_ports_owner(struct nat *nat, uint16_t address, enum nat_space space,
					uint16_t port)
{
	return &nat->addresses[address].ports[space].owner[nat_port_shard(port)][port & 1]
							  [nat_port_rank(port)];
}

#endif
