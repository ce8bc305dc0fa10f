/* Port pools (ports.h): a bitmap for each address, protocol, shard and parity. Called while a
 * mapping is made or ends, with the shard's lock held. */
#include "nat/ports.h"

#define RANKS	   (NAT_SHARD_PORTS / 2)
#define RANKS_LOW  32u /* ports below 1024, in each shard and parity */
#define PORTS_HIGH ((RANKS - RANKS_LOW) * 2)

static uint64_t random_next(struct nat_shard *shard);
static bool port_search(const uint64_t used[NAT_WORDS], const uint64_t reserved[NAT_WORDS],
			uint32_t begin, uint32_t end, uint64_t number, uint32_t *rank);
static void port_set_used(struct nat_ports *ports, struct nat_guest *guest, enum nat_space space,
			  uint16_t port);

bool nat_ports_take(struct nat *nat, struct nat_shard *shard, const struct nat_rules *rules,
		    uint16_t address, enum nat_space space, struct nat_guest *guest,
		    uint16_t inside_port, uint16_t *outside_port)
{
	/* Range and parity, best first; a host's port from 1024 on never gets one below. */
	const struct {
		uint32_t begin, end, parity;
	} choices[] = {
		{ 0, RANKS_LOW, inside_port & 1u },
		{ 0, RANKS_LOW, ~inside_port & 1u },
		{ RANKS_LOW, RANKS, inside_port & 1u },
		{ RANKS_LOW, RANKS, ~inside_port & 1u },
	};
	struct nat_ports *ports = &nat->addresses[address].ports[space];
	uint32_t number = (uint32_t)(shard - nat->shards);
	const struct nat_port_set *reserved = &rules->reserved[space];
	uint32_t gone = (uint32_t)ports->taken[number] + rules->reserved_count[space][number];

	if (guest->ports[space][number] + gone >= PORTS_HIGH)
		return false;
	*outside_port = inside_port;
	if (!nat_port_set_has(&ports->used, inside_port) &&
	    !nat_port_set_has(reserved, inside_port)) {
		port_set_used(ports, guest, space, inside_port);
		return true;
	}
	for (uint32_t i = inside_port < 1024 ? 0 : 2; i < 4; i++) {
		uint32_t parity = choices[i].parity, rank;

		if (!port_search(ports->used.words[number][parity], reserved->words[number][parity],
				 choices[i].begin, choices[i].end, random_next(shard), &rank))
			continue;
		*outside_port = nat_port_at(number, parity, rank);
		port_set_used(ports, guest, space, *outside_port);
		return true;
	}
	return false;
}

bool nat_ports_restore(struct nat *nat, uint16_t address, enum nat_space space,
		       struct nat_guest *guest, uint16_t outside_port)
{
	struct nat_ports *ports = &nat->addresses[address].ports[space];

	if (nat_port_set_has(&ports->used, outside_port))
		return false;
	port_set_used(ports, guest, space, outside_port);
	return true;
}

void nat_ports_release(struct nat *nat, uint16_t address, enum nat_space space,
		       struct nat_guest *guest, uint16_t outside_port)
{
	struct nat_ports *ports = &nat->addresses[address].ports[space];
	uint32_t number = nat_port_shard(outside_port), rank = nat_port_rank(outside_port);

	ports->used.words[number][outside_port & 1][rank / 64] &= ~(1ull << rank % 64);
	ports->owner[number][outside_port & 1][rank] = 0;
	if (outside_port >= 1024) {
		ports->taken[number]--;
		guest->ports[space][number]--;
	}
}

/* Marsaglia's xorshift, multiplied; seeded from the system at the start (RFC 6056). */
static uint64_t random_next(struct nat_shard *shard)
{
	shard->random ^= shard->random >> 12;
	shard->random ^= shard->random << 25;
	shard->random ^= shard->random >> 27;
	return shard->random * 0x2545f4914f6cdd1du;
}

/* The first free rank of [begin, end) from a random one on, round to it again. */
static bool port_search(const uint64_t used[NAT_WORDS], const uint64_t reserved[NAT_WORDS],
			uint32_t begin, uint32_t end, uint64_t number, uint32_t *rank)
{
	uint32_t start = begin + (uint32_t)((number >> 32) % (end - begin));

	for (uint32_t i = 0; i <= NAT_WORDS; i++) {
		uint32_t word = (start / 64 + i) % NAT_WORDS;
		uint64_t free = ~(used[word] | reserved[word]);

		if (word == 0)
			free &= begin == 0 ? (1ull << RANKS_LOW) - 1 : ~((1ull << RANKS_LOW) - 1);
		else if (begin == 0)
			continue;
		if (i == 0)
			free &= ~0ull << start % 64;
		if (free != 0) {
			*rank = word * 64 + (uint32_t)__builtin_ctzll(free);
			return true;
		}
	}
	return false;
}

static void port_set_used(struct nat_ports *ports, struct nat_guest *guest, enum nat_space space,
			  uint16_t port)
{
	uint32_t number = nat_port_shard(port), rank = nat_port_rank(port);

	ports->used.words[number][port & 1][rank / 64] |= 1ull << rank % 64;
	if (port >= 1024) {
		ports->taken[number]++;
		guest->ports[space][number]++;
	}
}
