/* Checks of gateways between networks and within what commands can change: prefixes that overlap,
 * peers, port forwards. Called by config_check() (config.h). Control thread, weftd --check, fuzzer.
 */
#include "vswitch/config_forward.h"
#include "vswitch/config_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A prefix that somebody has on a leg. */
struct claim {
	struct ip_prefix prefix; /* without host bits */
	const struct network_config *network;
	uint32_t place; /* in the configuration */
	const char *key;
	unsigned line;
	bool inside;
};

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = ip_compare(&x->prefix.ip, &y->prefix.ip);

	if (order == 0)
		order = (int)x->prefix.length - (int)y->prefix.length;
	if (order == 0)
		order = (x->place > y->place) - (x->place < y->place);
	return order != 0 ? order : (int)y->inside - (int)x->inside;
}

static uint32_t claim_prefixes(const struct network_config *network, uint32_t place,
			       struct claim *claims)
{
	const struct gateway_config *gateway = network->gateway;
	uint32_t n = 0;

	if (gateway == NULL)
		return 0;
	for (uint8_t i = 0; i < gateway->address_count; i++) {
		bool v4 = ip_is_v4(&gateway->addresses[i].ip);

		claims[n++] = (struct claim){
			.prefix = ip_prefix_network(&gateway->addresses[i]),
			.network = network,
			.place = place,
			.key = v4 ? "ipv4" : "ipv6",
			.line = v4 ? gateway->lines.ipv4 : gateway->lines.ipv6,
			.inside = true,
		};
	}
	for (uint8_t i = 0; i < gateway->uplink.address_count; i++)
		claims[n++] = (struct claim){
			.prefix = ip_prefix_network(&gateway->uplink.addresses[i]),
			.network = network,
			.place = place,
			.key = "uplink.address",
			.line = gateway->lines.uplink,
		};
	return n;
}

/* The later of the two is to blame. */
static void report_overlap(const char *file, const struct claim *a, const struct claim *b,
			   struct error *all)
{
	char mine[IP_PREFIX_TEXT_LENGTH], other[IP_PREFIX_TEXT_LENGTH], line[32] = "", words[256];
	bool swap = file != NULL && a->line != b->line ? a->line > b->line : a->place > b->place;
	const struct claim *first = swap ? b : a, *second = swap ? a : b;

	if (file != NULL && first->line != 0)
		snprintf(line, sizeof(line), " on line %u", first->line);
	snprintf(words, sizeof(words),
		 "%s overlaps with %s, '%s' of network '%s'%s; allowed: prefixes that nobody else "
		 "has",
		 ip_prefix_to_text(&second->prefix, mine), ip_prefix_to_text(&first->prefix, other),
		 first->key, first->network->name, line);
	config_check_report(file, second->line, "networks", second->network->name, second->key,
			    words, all);
}

/* Of two prefixes one holds the other or they are apart, so that one pass over the sorted ones,
 * with the widest so far, finds every one that lies in another. Two uplinks may be on one link. */
static int check_prefixes(const char *file, const struct config *config, struct error *all)
{
	const struct claim *widest = NULL;
	struct claim *claims =
	    calloc((size_t)config->network_count * 2 * GATEWAY_ADDRESSES_MAX + 1, sizeof(*claims));
	uint32_t count = 0;

	if (claims == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < config->network_count; i++)
		count += claim_prefixes(&config->networks[i], i, &claims[count]);
	qsort(claims, count, sizeof(*claims), compare_claims);
	for (uint32_t i = 0; i < count; i++) {
		if (widest == NULL || !ip_prefix_overlaps(&widest->prefix, &claims[i].prefix)) {
			widest = &claims[i];
			continue;
		}
		if (widest->inside || claims[i].inside)
			report_overlap(file, widest, &claims[i], all);
		/* Among equals the inside one is what others must not overlap. */
		if (claims[i].inside && ip_prefix_equal(&widest->prefix, &claims[i].prefix))
			widest = &claims[i];
	}
	free(claims);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct network_config *const *)a)->name,
		      (*(const struct network_config *const *)b)->name);
}

static void check_peers(const char *file, const struct network_config *const *sorted,
			uint32_t count, const struct network_config *network, struct error *all)
{
	const struct gateway_config *gateway = network->gateway;

	for (uint32_t i = 0; i < gateway->peer_count; i++) {
		struct network_config wanted;
		const struct network_config *key = &wanted, *const * found;
		char words[192] = "";

		memcpy(wanted.name, gateway->peers[i].name, sizeof(wanted.name));
		found = bsearch(&key, sorted, count, sizeof(*sorted), compare_names);
		if (found == NULL)
			snprintf(words, sizeof(words),
				 "there is no network '%.40s'; allowed: other networks of mode "
				 "routed",
				 wanted.name);
		else if (!config_modes[(*found)->mode].peers)
			snprintf(words, sizeof(words),
				 "network '%.40s' is of mode %s; allowed: other networks of mode "
				 "routed",
				 wanted.name, config_mode_name((*found)->mode));
		if (words[0] != '\0')
			config_check_report(file, gateway->lines.peers, "networks", network->name,
					    "peers", words, all);
	}
}

/* Whether a packet could be meant for both. What the host passes on does not say which of its
 * addresses it came to. */
static bool collide(const struct nat_config *nat, const struct nat_forward *a,
		    const struct nat_forward *b)
{
	return (a->protocol & b->protocol) != 0 && a->listen_first <= b->listen_last &&
	       b->listen_first <= a->listen_last && ip_is_v4(&a->to) == ip_is_v4(&b->to) &&
	       (nat->host_listens || !a->has_address || !b->has_address ||
		ip_equal(&a->address, &b->address));
}

static void check_forward(const char *file, const struct network_config *network, uint32_t i,
			  struct error *all)
{
	const struct nat_config *nat = &network->gateway->nat;
	const struct nat_forward *forward = &nat->forwards[i];
	const char *fault = config_guest_fault(network->gateway, &forward->to);
	char words[384], text[CONFIG_LISTEN_TEXT_LENGTH], line[32] = "";

	if (fault[0] != '\0') {
		char to[IP_TEXT_LENGTH];

		snprintf(words, sizeof(words),
			 "leads to no guest: %s %s; allowed: an address a guest can have",
			 ip_to_text(&forward->to, to), fault);
		config_check_report(file, forward->line, "networks", network->name, "forward",
				    words, all);
	}
	if (forward->has_address && ip_is_loopback(&forward->address) && !nat->host_listens) {
		snprintf(words, sizeof(words),
			 "listens on %s, which is the host's loopback; allowed: that only with an "
			 "uplink of type user",
			 config_forward_listen(forward, text));
		config_check_report(file, forward->line, "networks", network->name, "forward",
				    words, all);
	}
	for (uint32_t j = 0; j < i; j++) {
		const struct nat_forward *other = &nat->forwards[j];

		if (!collide(nat, forward, other))
			continue;
		if (file != NULL && other->line != 0)
			snprintf(line, sizeof(line), " on line %u", other->line);
		snprintf(words, sizeof(words),
			 "listens on %s, where another forward listens already (%s/%s%s); allowed: "
			 "other ports, or another protocol%s",
			 config_forward_listen(forward, text), config_forward_protocol(other),
			 config_forward_to(other, (char[CONFIG_LISTEN_TEXT_LENGTH]){ 0 }), line,
			 nat->host_listens ? "" : " or address");
		config_check_report(file, forward->line, "networks", network->name, "forward",
				    words, all);
		return;
	}
}

/* A forward for which the host listens, of whichever network. */
struct listener {
	const struct network_config *network;
	const struct nat_forward *forward;
	uint32_t place; /* in the configuration */
};

static int compare_listeners(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;
	int order = (int)x->forward->listen_first - (int)y->forward->listen_first;

	return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

/* Whether the host could not listen for both. */
static bool exclude(const struct nat_forward *a, const struct nat_forward *b)
{
	return (a->protocol & b->protocol) != 0 && ip_is_v4(&a->to) == ip_is_v4(&b->to) &&
	       (!a->has_address || !b->has_address || ip_equal(&a->address, &b->address));
}

/* The later of the two is to blame. */
static void report_listeners(const char *file, const struct listener *a, const struct listener *b,
			     struct error *all)
{
	const struct listener *first = a->place < b->place ? a : b, *second = first == a ? b : a;
	char words[384], text[CONFIG_LISTEN_TEXT_LENGTH], line[32] = "";

	if (file != NULL && first->forward->line != 0)
		snprintf(line, sizeof(line), " on line %u", first->forward->line);
	snprintf(
	    words, sizeof(words),
	    "listens on %s of the host, where network '%s' listens already (%s/%s%s); allowed: "
	    "other ports, or another protocol or address",
	    config_forward_listen(second->forward, text), first->network->name,
	    config_forward_protocol(first->forward),
	    config_forward_to(first->forward, (char[CONFIG_LISTEN_TEXT_LENGTH]){ 0 }), line);
	config_check_report(file, second->forward->line, "networks", second->network->name,
			    "forward", words, all);
}

static uint32_t list_listeners(const struct config *config, struct listener *listeners)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < config->network_count; i++) {
		const struct network_config *network = &config->networks[i];

		if (network->gateway == NULL || !network->gateway->nat.host_listens)
			continue;
		for (uint32_t f = 0; f < network->gateway->nat.forward_count; f++, count++)
			if (listeners != NULL)
				listeners[count] =
				    (struct listener){ network, &network->gateway->nat.forwards[f],
						       count };
	}
	return count;
}

/* User uplinks share the host's ports. Those of one network were looked at by themselves. */
static int check_listeners(const char *file, const struct config *config, struct error *all)
{
	uint32_t count = list_listeners(config, NULL);
	struct listener *listeners = calloc((size_t)count + 1, sizeof(*listeners));

	if (listeners == NULL)
		return -ENOMEM;
	list_listeners(config, listeners);
	qsort(listeners, count, sizeof(*listeners), compare_listeners);
	for (uint32_t i = 0; i < count; i++) {
		const struct listener *a = &listeners[i];

		for (uint32_t j = i + 1; j < count; j++) {
			const struct listener *b = &listeners[j];

			if (b->forward->listen_first > a->forward->listen_last)
				break;
			if (a->network == b->network || !exclude(a->forward, b->forward))
				continue;
			report_listeners(file, a, b, all);
			break;
		}
	}
	free(listeners);
	return 0;
}

int config_check_gateways(const char *file, const struct config *config,
			  const struct network_config *const *sorted, struct error *all)
{
	for (uint32_t i = 0; i < config->network_count; i++) {
		const struct network_config *network = &config->networks[i];

		if (network->gateway == NULL)
			continue;
		check_peers(file, sorted, config->network_count, network, all);
		for (uint32_t f = 0; f < network->gateway->nat.forward_count; f++)
			check_forward(file, network, f, all);
	}
	if (check_listeners(file, config, all) < 0)
		return -ENOMEM;
	return check_prefixes(file, config, all);
}
