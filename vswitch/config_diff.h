/* What differs between two configurations: the steps of an apply, and the answer of `weft diff`.
 * Control thread; plain values. */
#ifndef WEFT_VSWITCH_CONFIG_DIFF_H
#define WEFT_VSWITCH_CONFIG_DIFF_H

#include "vswitch/config.h"

#include <jansson.h>

#define CONFIG_CHANGE_KEYS_MAX 24u

enum config_action { CONFIG_ADD, CONFIG_REMOVE, CONFIG_CHANGE };
enum config_kind { CONFIG_NETWORK, CONFIG_PORT, CONFIG_WORKERS, CONFIG_API };

struct config_change {
	enum config_action action;
	enum config_kind kind;
	const char *name; /* in one of the two configs, or static */
	/* The sides of a network or a port, in the two configs; NULL where it is not there. */
	const struct network_config *old_network, *new_network;
	const struct port_config *old_port, *new_port;
	/* CONFIG_CHANGE: the keys whose values differ; static. */
	uint32_t key_count;
	const char *keys[CONFIG_CHANGE_KEYS_MAX];
};

/* Compares two checked configurations. *out (caller frees with free()) has first what goes (ports,
 * then networks), then what comes or changes (networks, then ports), then workers and api (when *to
 * speaks of them); in each of these by name. Empty when they are equal. 0 or -ENOMEM. */
int config_diff(const struct config *from, const struct config *to, struct config_change **out,
		uint32_t *count);

/* [{"action": "change", "kind": "port", "name": "vm1", "keys": ["vlan"]}, ...]; new reference, NULL
 * when memory is short. */
json_t *config_diff_to_json(const struct config_change *changes, uint32_t count);

#endif
