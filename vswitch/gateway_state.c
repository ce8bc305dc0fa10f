/* What a gateway leaves to the next weftd beside leases and sessions: the neighbours of its legs
 * (gateway_internal.h). Saved at most once a second and only when something changed, so that
 * SIGKILL costs a second of learning. Control thread. */
#include "vswitch/gateway_internal.h"

#include "base/log.h"
#include "base/store.h"
#include "nat/nat.h"
#include "route/neighbour.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAT_TICKS 16u /* a second, for a translator with much to expire */

static const char table[] = "neighbour";

/* A record: the network's name, a NUL, the leg, the address; and the MAC. */
struct row {
	uint8_t key[STORE_KEY_MAX];
	size_t length;
};

static void row_make(struct row *row, const struct gateway *gateway, uint16_t leg,
		     const struct ip *ip)
{
	size_t name = strlen(gateway->network) + 1;

	memcpy(row->key, gateway->network, name);
	row->key[name] = (uint8_t)leg;
	memcpy(row->key + name + 1, ip->bytes, sizeof(ip->bytes));
	row->length = name + 1 + sizeof(ip->bytes);
}

struct loading {
	struct gateway *gateway;
	uint64_t now;
	uint32_t count;
	struct row *stale; /* rows of ours, to be deleted by save_all() */
};

static int load(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
		size_t value_length)
{
	struct loading *loading = context;
	struct gateway *gateway = loading->gateway;
	size_t name = strlen(gateway->network) + 1;
	struct mac mac;
	struct ip ip;

	if (key_length != name + 1 + sizeof(ip.bytes) || value_length != MAC_LENGTH ||
	    memcmp(key, gateway->network, name) != 0 || key[name] >= GATEWAY_SIDES)
		return 0;
	memcpy(ip.bytes, key + name + 1, sizeof(ip.bytes));
	memcpy(mac.bytes, value, MAC_LENGTH);
	/* One that does not fit any more is left out. */
	neighbour_load(gateway->neighbours, key[name], &ip, &mac, loading->now);
	return 0;
}

void gateway_state_load(struct gateway *gateway)
{
	struct loading loading = { .gateway = gateway, .now = gateway_now() };

	if (gateway->vswitch->store == NULL)
		return;
	store_visit(gateway->vswitch->store, table, load, &loading);
	gateway->neighbours_saved = neighbour_changes(gateway->neighbours);
}

static int collect(void *context, const uint8_t *key, size_t key_length, const uint8_t *value,
		   size_t value_length)
{
	struct loading *loading = context;
	size_t name = strlen(loading->gateway->network) + 1;

	if (key_length <= name || key_length > STORE_KEY_MAX ||
	    memcmp(key, loading->gateway->network, name) != 0)
		return 0;
	if (loading->stale != NULL) {
		memcpy(loading->stale[loading->count].key, key, key_length);
		loading->stale[loading->count].length = key_length;
	}
	loading->count++;
	return 0;
}

/* The network's rows go, before those of now come. */
static void delete_rows(struct gateway *gateway)
{
	struct store *store = gateway->vswitch->store;
	struct loading loading = { .gateway = gateway };

	store_visit(store, table, collect, &loading);
	if (loading.count == 0)
		return;
	loading.stale = calloc(loading.count, sizeof(*loading.stale));
	if (loading.stale == NULL)
		return;
	loading.count = 0;
	store_visit(store, table, collect, &loading);
	for (uint32_t i = 0; i < loading.count; i++)
		store_delete(store, table, loading.stale[i].key, loading.stale[i].length);
	free(loading.stale);
}

static void save(void *context, const struct neighbour *neighbour)
{
	struct gateway *gateway = context;
	struct row row;

	if (neighbour->state == NEIGHBOUR_INCOMPLETE || neighbour->state == NEIGHBOUR_STATIC)
		return;
	row_make(&row, gateway, neighbour->leg, &neighbour->ip);
	store_put(gateway->vswitch->store, table, row.key, row.length, neighbour->mac.bytes,
		  MAC_LENGTH);
}

void gateway_state_save(struct gateway *gateway)
{
	struct store *store = gateway->vswitch->store;
	uint64_t changes = neighbour_changes(gateway->neighbours);

	if (store == NULL || changes == gateway->neighbours_saved)
		return;
	gateway->neighbours_saved = changes;
	store_begin(store);
	delete_rows(gateway);
	neighbour_visit(gateway->neighbours, save, gateway);
	store_commit(store);
}

void gateways_housekeeping(struct vswitch *vswitch)
{
	uint32_t now = gateway_boottime();

	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network == NULL || network->gateway == NULL)
			continue;
		/* What a tick leaves over is left to the next second after a while. */
		for (unsigned n = 0; n < NAT_TICKS && network->gateway->nat != NULL; n++) {
			if (!nat_tick(network->gateway->nat, now))
				break;
		}
		gateway_state_save(network->gateway);
	}
}

void gateways_open_store(struct vswitch *vswitch, const char *directory)
{
	char path[CONFIG_PATH_MAX];
	struct error error;

	snprintf(path, sizeof(path), "%s/weft.db", directory);
	if (store_open(path, &vswitch->store, &error) == 0)
		return;
	vswitch->store = NULL;
	log_warning("%s; leases and neighbours will not outlive weftd", error.text);
}

void gateways_close_store(struct vswitch *vswitch)
{
	if (vswitch->store != NULL)
		store_close(vswitch->store);
	vswitch->store = NULL;
}
