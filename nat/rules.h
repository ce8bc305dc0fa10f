/* What a translator is told, made ready for workers: addresses, port forwards, limits. Immutable;
 * made by control, read by workers under RCU. */
#ifndef WEFT_NAT_RULES_H
#define WEFT_NAT_RULES_H

#include "nat/internal.h"

/* A forward in one space. */
struct nat_rule {
	struct ip listen; /* 0.0.0.0 or ::: every address */
	uint16_t first, last;
	uint16_t to_first;
	bool has_source;
	struct ip to;
	struct ip_prefix source;
};

struct nat_rules_address {
	struct ip ip;
	uint16_t index; /* in nat->addresses */
};

struct nat_rules {
	struct nat_rules *next; /* of the retired ones */
	enum nat_filtering filtering;
	uint32_t session_limit, guest_limit;
	uint32_t address_count; /* sorted: IPv6 below ::ffff:0:0, IPv4, other IPv6 */
	struct nat_rules_address *addresses;
	uint32_t family_count[2];		  /* of IPv4 and IPv6 */
	uint16_t *family_index[2];		  /* their indices */
	uint64_t present[NAT_ADDRESSES_MAX / 64]; /* a bit for each index */
	/* TCP and UDP. */
	uint32_t rule_count[2];
	struct nat_rule *by_listen[2]; /* sorted by listen, first; ranges of one address apart */
	struct nat_rule *by_target[2]; /* sorted by to, to_first */
	struct nat_port_set targets[2];
	struct nat_port_set reserved[NAT_SPACES];	 /* never given to a mapping */
	uint16_t reserved_count[NAT_SPACES][NAT_SHARDS]; /* of those from 1024 on */
};

/* Builds rules from a configuration and addresses (with their indices). 0, -EINVAL with words for
 * forwards that clash, -ENOMEM. */
int nat_rules_create(const struct nat_config *config, const struct nat_rules_address *addresses,
		     uint32_t address_count, struct nat_rules **rules, struct error *error);
void nat_rules_destroy(struct nat_rules *rules);

/* The outside address, or NULL. */
const struct nat_rules_address *nat_rules_find_address(const struct nat_rules *rules,
						       const struct ip *ip);

static inline bool nat_rules_has_index(const struct nat_rules *rules, uint32_t index)
{
	return index < NAT_ADDRESSES_MAX && (rules->present[index / 64] >> index % 64 & 1);
}

/* The forward that listens at a port of an outside address, or NULL. */
const struct nat_rule *nat_rules_find_listen(const struct nat_rules *rules, enum nat_space space,
					     const struct ip *ip, uint16_t port);

/* Whether some forward leads to this port of an inside host. */
bool nat_rules_is_target(const struct nat_rules *rules, enum nat_space space, const struct ip *ip,
			 uint16_t port);

/* Where the host seems to be when it begins a session from such a port: the outside port in *port,
 * and in *listen the address that the forward asks for, unspecified for none. */
bool nat_rules_find_target(const struct nat_rules *rules, enum nat_space space, const struct ip *ip,
			   uint16_t from, uint16_t *port, struct ip *listen);

/* Whether what a session says about forwards agrees with the rules. */
bool nat_rules_fit(const struct nat *nat, const struct nat_rules *rules,
		   const struct nat_slot *slot);

#endif
