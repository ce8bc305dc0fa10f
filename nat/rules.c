/* Rules of a translator (rules.h). Made on control at each change; searched by workers. */
#include "nat/rules.h"

#include <errno.h>
#include <stdlib.h>

/* UDP ports that the gateway's own DHCP clients hear on. */
static const uint16_t ports_of_gateway[] = { 67, 68, 546, 547 };

static int rules_set_addresses(struct nat_rules *rules, const struct nat_rules_address *addresses,
			       uint32_t count);
static int rules_set_forwards(struct nat_rules *rules, const struct nat_config *config,
			      enum nat_space space, struct error *error);
static void rules_reserve(struct nat_rules *rules, enum nat_space space, uint16_t port);
static bool range_is_target(const struct nat_rules *rules, enum nat_space space,
			    const struct ip *ip, uint16_t port, const struct nat_rule **found);

int nat_rules_create(const struct nat_config *config, const struct nat_rules_address *addresses,
		     uint32_t address_count, struct nat_rules **out, struct error *error)
{
	struct nat_rules *rules = calloc(1, sizeof(*rules));
	int code = -ENOMEM;

	if (rules == NULL)
		return -ENOMEM;
	rules->filtering = config->filtering;
	rules->session_limit = config->session_limit;
	rules->guest_limit = config->guest_session_limit;
	code = rules_set_addresses(rules, addresses, address_count);
	for (enum nat_space space = NAT_SPACE_TCP; space <= NAT_SPACE_UDP && code == 0; space++) {
		rules_reserve(rules, space, 0);
		code = rules_set_forwards(rules, config, space, error);
	}
	if (code != 0) {
		nat_rules_destroy(rules);
		return code;
	}
	for (uint32_t i = 0; i < sizeof(ports_of_gateway) / sizeof(*ports_of_gateway); i++)
		rules_reserve(rules, NAT_SPACE_UDP, ports_of_gateway[i]);
	*out = rules;
	return 0;
}

void nat_rules_destroy(struct nat_rules *rules)
{
	if (rules == NULL)
		return;
	for (int i = 0; i < 2; i++) {
		free(rules->family_index[i]);
		free(rules->by_listen[i]);
		free(rules->by_target[i]);
	}
	free(rules->addresses);
	free(rules);
}

const struct nat_rules_address *nat_rules_find_address(const struct nat_rules *rules,
						       const struct ip *ip)
{
	uint32_t low = 0, high = rules->address_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int order = ip_compare(ip, &rules->addresses[middle].ip);

		if (order == 0)
			return &rules->addresses[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The forward of exactly this listen address that has the port. */
static const struct nat_rule *find_listen(const struct nat_rules *rules, enum nat_space space,
					  const struct ip *ip, uint16_t port)
{
	uint32_t low = 0, high = rules->rule_count[space];
	const struct nat_rule *rule;

	/* The last that begins at or before it. */
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int order;

		rule = &rules->by_listen[space][middle];
		order = ip_compare(&rule->listen, ip);
		if (order < 0 || (order == 0 && rule->first <= port))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	rule = &rules->by_listen[space][low - 1];
	return ip_equal(&rule->listen, ip) && port <= rule->last ? rule : NULL;
}

const struct nat_rule *nat_rules_find_listen(const struct nat_rules *rules, enum nat_space space,
					     const struct ip *ip, uint16_t port)
{
	const struct nat_rule *rule;
	struct ip any = { 0 };

	if (space > NAT_SPACE_UDP || rules->rule_count[space] == 0 ||
	    !nat_port_set_has(&rules->reserved[space], port))
		return NULL;
	rule = find_listen(rules, space, ip, port);
	if (rule != NULL)
		return rule;
	if (ip_is_v4(ip))
		any = ip_from_v4(0);
	return find_listen(rules, space, &any, port);
}

bool nat_rules_is_target(const struct nat_rules *rules, enum nat_space space, const struct ip *ip,
			 uint16_t port)
{
	const struct nat_rule *rule;

	return range_is_target(rules, space, ip, port, &rule);
}

bool nat_rules_find_target(const struct nat_rules *rules, enum nat_space space, const struct ip *ip,
			   uint16_t from, uint16_t *port, struct ip *listen)
{
	const struct nat_rule *rule;

	if (!range_is_target(rules, space, ip, from, &rule))
		return false;
	*port = (uint16_t)(rule->first + (from - rule->to_first));
	*listen = rule->listen;
	return true;
}

bool nat_rules_fit(const struct nat *nat, const struct nat_rules *rules,
		   const struct nat_slot *slot)
{
	enum nat_space space = nat_space_of(slot->protocol);
	const struct nat_rule *rule;

	if (space > NAT_SPACE_UDP)
		return true;
	rule = nat_rules_find_listen(rules, space, &nat->addresses[slot->address].ip,
				     slot->outside_port);
	if (slot->flags & NAT_SLOT_FORWARD)
		return rule != NULL && ip_equal(&rule->to, &slot->inside) &&
		       rule->to_first + (slot->outside_port - rule->first) == slot->inside_port;
	return rule == NULL && !nat_rules_is_target(rules, space, &slot->inside, slot->inside_port);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct nat_rules_address *first = a, *second = b;

	return ip_compare(&first->ip, &second->ip);
}

static int rules_set_addresses(struct nat_rules *rules, const struct nat_rules_address *addresses,
			       uint32_t count)
{
	size_t room = count + 1; /* not 0 */

	rules->addresses = calloc(room, sizeof(*rules->addresses));
	rules->family_index[0] = calloc(room, sizeof(uint16_t));
	rules->family_index[1] = calloc(room, sizeof(uint16_t));
	if (rules->addresses == NULL || rules->family_index[0] == NULL ||
	    rules->family_index[1] == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		int family = ip_is_v4(&addresses[i].ip) ? 0 : 1;

		rules->addresses[i] = addresses[i];
		rules->present[addresses[i].index / 64] |= 1ull << addresses[i].index % 64;
		rules->family_index[family][rules->family_count[family]++] = addresses[i].index;
	}
	rules->address_count = count;
	qsort(rules->addresses, count, sizeof(*rules->addresses), compare_addresses);
	return 0;
}

static int compare_listen(const void *a, const void *b)
{
	const struct nat_rule *first = a, *second = b;
	int order = ip_compare(&first->listen, &second->listen);

	return order != 0 ? order : (int)first->first - (int)second->first;
}

static int compare_target(const void *a, const void *b)
{
	const struct nat_rule *first = a, *second = b;
	int order = ip_compare(&first->to, &second->to);

	return order != 0 ? order : (int)first->to_first - (int)second->to_first;
}

static int forward_check(const struct nat_forward *forward, struct error *error)
{
	uint32_t more = (uint32_t)forward->listen_last - forward->listen_first;
	bool v4 = ip_is_v4(&forward->to);

	if (forward->listen_first == 0 || forward->listen_last < forward->listen_first ||
	    forward->to_first == 0 || forward->to_first + more > 65535)
		return error_set(error, EINVAL, "forward of port %u: ports are 1 to 65535",
				 forward->listen_first);
	if (!ip_is_host(&forward->to) ||
	    (forward->has_address && ip_is_v4(&forward->address) != v4) ||
	    (forward->has_source && ip_is_v4(&forward->source.ip) != v4))
		return error_set(error, EINVAL,
				 "forward of port %u: its addresses are not of one family",
				 forward->listen_first);
	return 0;
}

static void rule_from_forward(struct nat_rule *rule, const struct nat_forward *forward,
			      const struct nat_config *config)
{
	rule->listen = forward->has_address && !config->host_listens ? forward->address
		       : ip_is_v4(&forward->to)			     ? ip_from_v4(0)
								     : (struct ip){ 0 };
	rule->first = forward->listen_first;
	rule->last = forward->listen_last;
	rule->to = forward->to;
	rule->to_first = forward->to_first;
	rule->has_source = forward->has_source;
	rule->source = forward->source;
}

static int rules_set_forwards(struct nat_rules *rules, const struct nat_config *config,
			      enum nat_space space, struct error *error)
{
	uint32_t wanted = space == NAT_SPACE_TCP ? NAT_FORWARD_TCP : NAT_FORWARD_UDP, count = 0;
	struct nat_rule *list = calloc(config->forward_count + 1, sizeof(*list));

	rules->by_listen[space] = list;
	rules->by_target[space] = calloc(config->forward_count + 1, sizeof(*list));
	if (list == NULL || rules->by_target[space] == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < config->forward_count; i++) {
		const struct nat_forward *forward = &config->forwards[i];
		uint32_t ports = (uint32_t)forward->listen_last - forward->listen_first + 1;
		int code;

		if ((forward->protocol & wanted) == 0)
			continue;
		code = forward_check(forward, error);
		if (code != 0)
			return code;
		rule_from_forward(&list[count++], forward, config);
		for (uint32_t j = 0; j < ports; j++) {
			uint16_t to = (uint16_t)(forward->to_first + j);

			rules_reserve(rules, space, (uint16_t)(forward->listen_first + j));
			rules->targets[space]
			    .words[nat_port_shard(to)][to & 1][nat_port_rank(to) / 64] |=
			    1ull << nat_port_rank(to) % 64;
		}
	}
	rules->rule_count[space] = count;
	qsort(list, count, sizeof(*list), compare_listen);
	for (uint32_t i = 1; i < count; i++) {
		if (ip_equal(&list[i].listen, &list[i - 1].listen) &&
		    list[i].first <= list[i - 1].last)
			return error_set(error, EINVAL, "port %u is forwarded twice",
					 list[i].first);
	}
	memcpy(rules->by_target[space], list, count * sizeof(*list));
	qsort(rules->by_target[space], count, sizeof(*list), compare_target);
	return 0;
}

static void rules_reserve(struct nat_rules *rules, enum nat_space space, uint16_t port)
{
	uint32_t shard = nat_port_shard(port), rank = nat_port_rank(port);

	if (nat_port_set_has(&rules->reserved[space], port))
		return;
	rules->reserved[space].words[shard][port & 1][rank / 64] |= 1ull << rank % 64;
	if (port >= 1024)
		rules->reserved_count[space][shard]++;
}

/* Ranges that lead to one host may lie over each other, so all of the host's that begin at or
 * before the port are looked at, but only for a port that some forward leads to. */
static bool range_is_target(const struct nat_rules *rules, enum nat_space space,
			    const struct ip *ip, uint16_t port, const struct nat_rule **found)
{
	uint32_t low = 0, high;

	if (space > NAT_SPACE_UDP || rules->rule_count[space] == 0 ||
	    !nat_port_set_has(&rules->targets[space], port))
		return false;
	for (high = rules->rule_count[space]; low < high;) {
		uint32_t middle = (low + high) / 2;

		if (ip_compare(&rules->by_target[space][middle].to, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < rules->rule_count[space]; low++) {
		const struct nat_rule *rule = &rules->by_target[space][low];

		if (!ip_equal(&rule->to, ip) || rule->to_first > port)
			return false;
		if (port - rule->to_first <= rule->last - rule->first) {
			*found = rule;
			return true;
		}
	}
	return false;
}
