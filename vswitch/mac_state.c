/* Keeping MAC tables in the store (mac_state.h): for each network some records of many addresses
 * each, all written anew when something was learned, moved or aged. Control thread. */
#include "vswitch/mac_state.h"

#include "base/clock.h"
#include "base/store.h"
#include "vswitch/switch.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_ROWS 1024u /* of one record: 40 KiB of the 64 that it may have */

static const char table[] = "mac";

/* As it stands in the store. */
struct row {
	uint8_t mac[MAC_LENGTH];
	uint16_t vlan;
	char port[CONFIG_NAME_MAX + 1];
};

/* A record's key: the network's name, a NUL, and its number. */
struct key {
	uint8_t bytes[CONFIG_NAME_MAX + 1 + sizeof(uint32_t)];
	size_t length;
};

static struct key make_key(const char *network, uint32_t number)
{
	struct key key = { .length = strlen(network) + 1 + sizeof(number) };

	memcpy(key.bytes, network, strlen(network) + 1);
	memcpy(key.bytes + strlen(network) + 1, &number, sizeof(number));
	return key;
}

static struct port *find_port(struct vswitch *vswitch, const struct network *network,
			      const char name[CONFIG_NAME_MAX + 1])
{
	char text[CONFIG_NAME_MAX + 1];
	struct port *port;

	memcpy(text, name, sizeof(text));
	text[CONFIG_NAME_MAX] = '\0';
	port = vswitch_find_port(vswitch, text);
	return port != NULL && strcmp(port->config.network, network->config.name) == 0 ? port
										       : NULL;
}

static int load(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
		size_t value_length)
{
	struct vswitch *vswitch = context;
	const struct network *network;
	struct row row;

	if (key_length == 0 || key_length > sizeof(((struct key *)0)->bytes) ||
	    memchr(key, '\0', key_length) == NULL)
		return 0;
	network = vswitch_find_network(vswitch, (const char *)key);
	for (size_t at = 0; network != NULL && at + sizeof(row) <= value_length;
	     at += sizeof(row)) {
		const struct port *port;

		memcpy(&row, value + at, sizeof(row));
		port = find_port(vswitch, network, row.port);
		/* The table refuses nothing but what is too much; a group was never in it. */
		if (port != NULL && !mac_is_multicast(row.mac) && !mac_is_zero(row.mac) &&
		    row.vlan <= VLAN_MAX)
			mac_table_learn(network->macs, mac_to_u64(row.mac), row.vlan, port->index,
					clock_seconds());
	}
	return 0;
}

void mac_state_load(struct vswitch *vswitch)
{
	if (vswitch->store != NULL)
		store_visit(vswitch->store, table, load, vswitch);
}

struct writing {
	const struct vswitch *vswitch;
	const struct network *network;
	struct row *rows; /* [RECORD_ROWS] */
	uint32_t count;
	uint32_t records;
};

static void flush(struct writing *writing)
{
	struct key key = make_key(writing->network->config.name, writing->records);

	if (writing->count == 0)
		return;
	store_put(writing->vswitch->store, table, key.bytes, key.length, writing->rows,
		  writing->count * sizeof(struct row));
	writing->records++;
	writing->count = 0;
}

static void add(void *context, const struct mac_table_entry *entry)
{
	struct writing *writing = context;
	const struct port *port = entry->port < writing->vswitch->port_limit
				      ? writing->vswitch->ports[entry->port]
				      : NULL;
	struct row *row;

	if (port == NULL)
		return;
	row = &writing->rows[writing->count++];
	memset(row, 0, sizeof(*row));
	memcpy(row->mac, entry->mac.bytes, MAC_LENGTH);
	row->vlan = entry->vlan;
	memcpy(row->port, port->name, strlen(port->name));
	if (writing->count == RECORD_ROWS)
		flush(writing);
}

static void save(struct vswitch *vswitch, struct network *network, struct row *rows)
{
	struct writing writing = { .vswitch = vswitch, .network = network, .rows = rows };

	mac_table_visit(network->macs, add, &writing);
	flush(&writing);
	/* Those of a larger table than now. */
	for (uint32_t i = writing.records; i < network->macs_records; i++) {
		struct key key = make_key(network->config.name, i);

		store_delete(vswitch->store, table, key.bytes, key.length);
	}
	network->macs_records = writing.records;
}

void mac_state_save(struct vswitch *vswitch)
{
	struct row *rows = NULL;

	for (uint16_t i = 0; i < vswitch->network_limit && vswitch->store != NULL; i++) {
		struct network *network = vswitch->networks[i];
		struct mac_table_stats stats;
		uint64_t changes;

		if (network == NULL)
			continue;
		mac_table_get_stats(network->macs, &stats);
		changes = stats.learned + stats.moved + stats.aged;
		if (changes == network->macs_saved)
			continue;
		if (rows == NULL) {
			rows = calloc(RECORD_ROWS, sizeof(*rows));
			if (rows == NULL)
				return;
			store_begin(vswitch->store);
		}
		network->macs_saved = changes;
		save(vswitch, network, rows);
	}
	if (rows != NULL)
		store_commit(vswitch->store);
	free(rows);
}
