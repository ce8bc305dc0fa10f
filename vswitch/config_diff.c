/* Compares two configurations (config_diff.h). vswitch_apply() follows the list, vswitch_diff()
 * shows it. Both sides are sorted by name and merged. Control thread. */
#include "vswitch/config_diff.h"

#include "vswitch/config_internal.h"
#include "vswitch/gateway_config.h"
#include "vswitch/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The growing list; room for all is allocated at the start. */
struct changes {
	struct config_change *rows;
	uint32_t count;
};

static void add_key(struct config_change *change, const char *key)
{
	if (change->key_count < CONFIG_CHANGE_KEYS_MAX)
		change->keys[change->key_count++] = key;
}

static void add_gateway_key(void *context, const char *key)
{
	add_key(context, key);
}

static void find_network_keys(struct config_change *change)
{
	const struct network_config *a = change->old_network, *b = change->new_network;

	if (a->mode != b->mode)
		add_key(change, "mode");
	if (a->transparent != b->transparent)
		add_key(change, "transparent");
	if (a->mac_limit != b->mac_limit)
		add_key(change, "macs.limit");
	if (a->mac_quota != b->mac_quota)
		add_key(change, "macs.quota");
	if (a->mac_age != b->mac_age)
		add_key(change, "macs.age");
	gateway_config_compare(a->gateway, b->gateway, add_gateway_key, change);
}

static void compare_by_table(struct config_change *change, const struct config_key *keys)
{
	for (const struct config_key *key = keys; key->name != NULL; key++)
		if (key->size > 0 &&
		    memcmp((const char *)change->old_port + key->offset,
			   (const char *)change->new_port + key->offset, key->size) != 0)
			add_key(change, key->name);
}

static void find_port_keys(struct config_change *change)
{
	const struct port_config *a = change->old_port, *b = change->new_port;

	compare_by_table(change, config_guest_port_keys);
	if (a->type == b->type)
		compare_by_table(change, b->type->keys);
	compare_by_table(change, config_port_keys);
	/* Another type, or options that no key of the table accounts for. */
	if (a->type != b->type || change->key_count == 0)
		add_key(change, b->type->name);
}

#define DEFINE_SIDE(type)                                                                          \
	static int compare_##type(const void *a, const void *b)                                    \
	{                                                                                          \
		return strcmp((*(const struct type *const *)a)->name,                              \
			      (*(const struct type *const *)b)->name);                             \
	}                                                                                          \
	static const struct type **sort_##type(const struct type *rows, uint32_t count)            \
	{                                                                                          \
		const struct type **sorted = calloc(count + 1, sizeof(const struct type *));       \
                                                                                                   \
		if (sorted == NULL)                                                                \
			return NULL;                                                               \
		for (uint32_t i = 0; i < count; i++)                                               \
			sorted[i] = &rows[i];                                                      \
		qsort(sorted, count, sizeof(const struct type *), compare_##type);                 \
		return sorted; /* NULL at the end */                                               \
	}

DEFINE_SIDE(network_config)
DEFINE_SIDE(port_config)

/* Which of two sorted sides comes first: < 0 only the left has the name, > 0 only the right. */
static int merge_order(const char *left, const char *right)
{
	if (left == NULL)
		return 1;
	if (right == NULL)
		return -1;
	return strcmp(left, right);
}

static void merge_networks(struct changes *list, enum config_action wanted,
			   const struct network_config **old, const struct network_config **new)
{
	while (*old != NULL || *new != NULL) {
		int order = merge_order(*old ? (*old)->name : NULL, *new ? (*new)->name : NULL);
		struct config_change change = { .kind = CONFIG_NETWORK };

		change.old_network = order <= 0 ? *old++ : NULL;
		change.new_network = order >= 0 ? *new ++ : NULL;
		change.name = order <= 0 ? change.old_network->name : change.new_network->name;
		change.action = order < 0 ? CONFIG_REMOVE : order > 0 ? CONFIG_ADD : CONFIG_CHANGE;
		if ((change.action == CONFIG_REMOVE) != (wanted == CONFIG_REMOVE))
			continue;
		if (order == 0) {
			if (network_config_equal(change.old_network, change.new_network))
				continue;
			find_network_keys(&change);
		}
		list->rows[list->count++] = change;
	}
}

static void merge_ports(struct changes *list, enum config_action wanted,
			const struct port_config **old, const struct port_config **new)
{
	while (*old != NULL || *new != NULL) {
		int order = merge_order(*old ? (*old)->name : NULL, *new ? (*new)->name : NULL);
		struct config_change change = { .kind = CONFIG_PORT };

		change.old_port = order <= 0 ? *old++ : NULL;
		change.new_port = order >= 0 ? *new ++ : NULL;
		change.name = order <= 0 ? change.old_port->name : change.new_port->name;
		change.action = order < 0 ? CONFIG_REMOVE : order > 0 ? CONFIG_ADD : CONFIG_CHANGE;
		if ((change.action == CONFIG_REMOVE) != (wanted == CONFIG_REMOVE))
			continue;
		if (order == 0) {
			if (port_config_equal(change.old_port, change.new_port))
				continue;
			find_port_keys(&change);
		}
		list->rows[list->count++] = change;
	}
}

static void compare_rest(struct changes *list, const struct config *from, const struct config *to)
{
	const struct workers_config *a = &from->workers, *b = &to->workers;
	struct config_change workers = { CONFIG_CHANGE, CONFIG_WORKERS, "workers" };
	struct config_change api = { CONFIG_CHANGE, CONFIG_API, "api" };

	/* They cannot change while weftd runs, so a file that does not speak of them leaves them.
	 */
	if (to->workers_line != 0) {
		if (a->count != b->count)
			add_key(&workers, b->cpus[0] >= 0 ? "cpus" : "count");
		else if (memcmp(a->cpus, b->cpus, a->count * sizeof(a->cpus[0])) != 0)
			add_key(&workers, "cpus");
		if (a->poll != b->poll)
			add_key(&workers, "poll");
	}
	if (workers.key_count > 0)
		list->rows[list->count++] = workers;
	if (to->api_socket[0] != '\0' && strcmp(from->api_socket, to->api_socket) != 0) {
		add_key(&api, "socket");
		list->rows[list->count++] = api;
	}
}

int config_diff(const struct config *from, const struct config *to, struct config_change **out,
		uint32_t *count)
{
	const struct network_config **old_networks =
	    sort_network_config(from->networks, from->network_count);
	const struct network_config **new_networks =
	    sort_network_config(to->networks, to->network_count);
	const struct port_config **old_ports = sort_port_config(from->ports, from->port_count);
	const struct port_config **new_ports = sort_port_config(to->ports, to->port_count);
	struct changes list = { NULL, 0 };
	int rc = -ENOMEM;

	list.rows = calloc((size_t)from->network_count + to->network_count + from->port_count +
			       to->port_count + 2,
			   sizeof(*list.rows));
	if (old_networks != NULL && new_networks != NULL && old_ports != NULL &&
	    new_ports != NULL && list.rows != NULL) {
		merge_ports(&list, CONFIG_REMOVE, old_ports, new_ports);
		merge_networks(&list, CONFIG_REMOVE, old_networks, new_networks);
		merge_networks(&list, CONFIG_ADD, old_networks, new_networks);
		merge_ports(&list, CONFIG_ADD, old_ports, new_ports);
		compare_rest(&list, from, to);
		*out = list.rows;
		*count = list.count;
		list.rows = NULL;
		rc = 0;
	}
	free(list.rows);
	free(new_ports);
	free(old_ports);
	free(new_networks);
	free(old_networks);
	return rc;
}

json_t *config_diff_to_json(const struct config_change *changes, uint32_t count)
{
	static const char *const actions[] = { "add", "remove", "change" };
	static const char *const kinds[] = { "network", "port", "workers", "api" };
	json_t *array = json_array();

	for (uint32_t i = 0; i < count && array != NULL; i++) {
		const struct config_change *change = &changes[i];
		json_t *keys = json_array();

		for (uint32_t k = 0; k < change->key_count; k++)
			json_array_append_new(keys, json_string(change->keys[k]));
		if (json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:o}", "action",
							   actions[change->action], "kind",
							   kinds[change->kind], "name",
							   change->name, "keys", keys)) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}
