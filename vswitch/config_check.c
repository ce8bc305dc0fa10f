/* Checks between the parts of a configuration: what each part says may be right, and still not go
 * together (config.h). Works on sorted lists, so that thousands of ports cost no square of them.
 * Control thread, weftd --check, fuzzer. */
#include "vswitch/config_internal.h"
#include "vswitch/gateway_config.h"
#include "vswitch/port.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Something that only one owner may have. */
struct claim {
	const char *kind; /* "socket", "MAC address", "port", ... */
	const char *text; /* in the config, or in `mac` */
	const char *owner;
	const char *key;
	unsigned line;
	bool of_network; /* an uplink is part of its network */
	bool of_gateway;
	char mac[MAC_TEXT_LENGTH];
};

struct claims {
	struct claim *rows;
	uint32_t count;
};

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = strcmp(x->kind, y->kind);

	if (order == 0)
		order = strcmp(x->text[0] != '\0' ? x->text : x->mac,
			       y->text[0] != '\0' ? y->text : y->mac);
	if (order == 0)
		order = (x->line > y->line) - (x->line < y->line);
	return order;
}

void config_check_report(const char *file, unsigned line, const char *what, const char *owner,
			 const char *key, const char *text, struct error *all)
{
	struct error one;
	char way[96];

	snprintf(way, sizeof(way), "%s.%s%s%s", what, owner, key != NULL ? "." : "",
		 key != NULL ? key : "");
	if (file != NULL && line != 0)
		error_set(&one, EINVAL, "%s:%u: %s: %s", file, line, way, text);
	else
		error_set(&one, EINVAL, "%s: %s", way, text);
	config_error_join(all, &one);
}

/* Of two that claim the same, the later is to blame: by the line of its file, or without a file
 * by its place in the list, where a newcomer is the last. */
static void order_claims(struct claims *claims, const char *file)
{
	for (uint32_t i = 0; file == NULL && i < claims->count; i++)
		claims->rows[i].line = i + 1;
}

static void claim_text(struct claims *claims, const struct port_config *port, const char *kind,
		       const char *key, unsigned line, const char *text)
{
	claims->rows[claims->count++] = (struct claim){
		.kind = kind,
		.text = text,
		.owner = port->name,
		.key = key,
		.line = line,
		.of_network = port->uplink,
	};
}

/* How many things one port can claim at most: its name, its MAC, and its type's. */
static uint32_t claims_per_port(void)
{
	uint32_t most = 0;

	for (const struct port_type *const *type = port_types; *type != NULL; type++) {
		uint32_t n = 0;

		for (const struct config_key *key = (*type)->keys; key->name != NULL; key++)
			n += key->unique != NULL;
		if (n > most)
			most = n;
	}
	return most + 2;
}

static void claim_port(struct claims *claims, const struct port_config *port)
{
	claim_text(claims, port, "name", NULL, port->line, port->name);
	if (port->has_mac) {
		claim_text(claims, port, "MAC address", "mac", port->lines.mac, "");
		mac_to_text(port->mac, claims->rows[claims->count - 1].mac);
	}
	for (const struct config_key *key = port->type->keys; key->name != NULL; key++) {
		const char *text = (const char *)port + key->offset;

		if (key->unique != NULL && text[0] != '\0')
			claim_text(claims, port, key->unique, key->name, port->lines.type, text);
	}
}

static void claim_gateway_mac(struct claims *claims, const struct network_config *network,
			      const char *key, unsigned line, struct mac mac)
{
	struct claim *claim = &claims->rows[claims->count++];

	*claim = (struct claim){
		.kind = "MAC address",
		.text = "",
		.owner = network->name,
		.key = key,
		.line = line != 0 ? line : network->line,
		.of_network = true,
		.of_gateway = true,
	};
	mac_to_text(mac, claim->mac);
}

/* A gateway's legs are hosts among those of its links. */
static void claim_gateway(struct claims *claims, const struct network_config *network)
{
	const struct gateway_config *gateway = network->gateway;

	if (gateway == NULL)
		return;
	claim_gateway_mac(claims, network, "mac", gateway->lines.mac, gateway->mac);
	if (gateway->uplink.has_mac)
		claim_gateway_mac(claims, network, "uplink.mac", gateway->lines.uplink,
				  gateway->uplink.mac);
}

static void check_claims(const char *file, struct claims *claims, struct error *all)
{
	order_claims(claims, file);
	qsort(claims->rows, claims->count, sizeof(*claims->rows), compare_claims);
	for (uint32_t i = 1; i < claims->count; i++) {
		const struct claim *a = &claims->rows[i - 1], *b = &claims->rows[i];
		const char *text = b->text[0] != '\0' ? b->text : b->mac;
		const char *what = b->of_network ? "networks" : "ports";
		char line[64] = "", words[512];

		if (strcmp(a->kind, b->kind) != 0 ||
		    strcmp(a->text[0] != '\0' ? a->text : a->mac, text) != 0)
			continue;
		if (file != NULL && a->line != 0)
			snprintf(line, sizeof(line), " on line %u", a->line);
		if (b->key == NULL)
			snprintf(words, sizeof(words),
				 "the name is given twice; the first is%s; allowed: each once",
				 line[0] != '\0' ? line : " there already");
		else
			snprintf(words, sizeof(words),
				 "%s %.200s is used twice; %s '%s'%s has it; allowed: each once",
				 b->kind, text, a->of_gateway ? "the gateway of network" : "port",
				 a->owner, line);
		config_check_report(file, b->line, what, b->owner, b->key, words, all);
	}
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct network_config *const *)a)->name,
		      (*(const struct network_config *const *)b)->name);
}

static void check_port_network(const char *file, const struct network_config *const *sorted,
			       uint32_t count, const struct port_config *port, struct error *all)
{
	struct network_config wanted;
	const struct network_config *key = &wanted, *const * found;
	char words[128];

	memcpy(wanted.name, port->network, sizeof(wanted.name));
	found = count == 0 ? NULL : bsearch(&key, sorted, count, sizeof(*sorted), compare_names);
	if (found == NULL) {
		snprintf(words, sizeof(words),
			 "there is no network '%s'; allowed: one of 'networks'", port->network);
		config_check_report(file, port->lines.network, port->uplink ? "networks" : "ports",
				    port->name, "network", words, all);
	} else if (port->uplink && !config_modes[(*found)->mode].may_have_uplink) {
		config_check_report(file, port->line, "networks", port->network, "uplink",
				    "an isolated network has no uplink; allowed: none", all);
	}
}

/* Networks claim their names apart from ports: the two may be the same. */
static void claim_networks(struct claims *claims, const struct config *config,
			   const struct network_config **sorted)
{
	for (uint32_t i = 0; i < config->network_count; i++) {
		const struct network_config *network = &config->networks[i];

		sorted[i] = network;
		claims->rows[claims->count++] = (struct claim){
			.kind = "network",
			.text = network->name,
			.owner = network->name,
			.line = network->line,
			.of_network = true,
		};
		claim_gateway(claims, network);
	}
}

int config_check(const char *file, const struct config *config, struct error *error)
{
	struct error all = { "" };
	struct claims claims = { NULL, 0 };
	const struct network_config **sorted;
	int rc = 0;

	if (config->port_count > CONFIG_PORTS_MAX || config->network_count > CONFIG_PORTS_MAX)
		return error_set(error, EINVAL,
				 "%s%stoo many ports or networks; allowed: at most %u of each, "
				 "uplinks included",
				 file != NULL ? file : "", file != NULL ? ": " : "",
				 CONFIG_PORTS_MAX);
	sorted = calloc(config->network_count + 1, sizeof(const struct network_config *));
	claims.rows = calloc((size_t)config->port_count * claims_per_port() +
				 (size_t)config->network_count * 3 + 1,
			     sizeof(*claims.rows));
	if (sorted == NULL || claims.rows == NULL) {
		rc = error_set(error, ENOMEM, "out of memory");
		goto out;
	}
	claim_networks(&claims, config, sorted);
	qsort(sorted, config->network_count, sizeof(const struct network_config *), compare_names);
	for (uint32_t i = 0; i < config->port_count; i++) {
		claim_port(&claims, &config->ports[i]);
		check_port_network(file, sorted, config->network_count, &config->ports[i], &all);
	}
	check_claims(file, &claims, &all);
	if (config_check_gateways(file, config, sorted, &all) < 0) {
		rc = error_set(error, ENOMEM, "out of memory");
		goto out;
	}
	if (all.text[0] != '\0') {
		rc = -EINVAL;
		if (error != NULL)
			*error = all;
	}
out:
	free(claims.rows);
	free(sorted);
	return rc;
}

void config_error_place(const char *file, const struct port_config *port, struct error *error)
{
	const char *what = port->uplink ? "networks" : "ports";

	if (file != NULL && port->lines.type != 0)
		error_prefix(error, "%s:%u: %s.%s.%s: ", file, port->lines.type, what, port->name,
			     port->type->name);
	else
		error_prefix(error, "%s.%s.%s: ", what, port->name, port->type->name);
}
