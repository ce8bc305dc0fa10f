/* Building the snapshot that workers read (worker.h): control thread. A snapshot is built whole
 * from the switch's own tables each time something changes; with a few thousand ports that is well
 * under a millisecond and leaves no incremental state to get wrong. */
#include "vswitch/worker.h"

#include "vswitch/switch.h"

#include <stdlib.h>
#include <string.h>

static struct bridge *bridge_build(const struct vswitch *vswitch, const struct network *network)
{
	uint16_t members = 0, limit = vswitch->port_limit;
	const struct bridge_member **by_port;
	struct bridge *bridge;

	for (uint16_t i = 0; i < limit; i++) {
		const struct port *port = vswitch->ports[i];

		members += port != NULL && strcmp(port->config.network, network->config.name) == 0;
	}
	bridge = calloc(1, sizeof(*bridge) + members * sizeof(bridge->members[0]));
	by_port = calloc(limit > 0 ? limit : 1, sizeof(struct bridge_member *));
	if (bridge == NULL || by_port == NULL) {
		free(bridge);
		free(by_port);
		return NULL;
	}
	bridge->macs = network->macs;
	bridge->transparent = network->config.transparent;
	bridge->port_limit = limit;
	bridge->gateway_mac = BRIDGE_NO_GATEWAY;
	bridge->gateway_port = MAC_TABLE_NO_PORT;
	for (uint16_t i = 0; i < limit; i++) {
		const struct port *port = vswitch->ports[i];
		struct bridge_member *member;

		if (port == NULL || strcmp(port->config.network, network->config.name) != 0)
			continue;
		member = &bridge->members[bridge->member_count++];
		member->port = i;
		member->isolated = port->config.isolated;
		member->vlan = port->config.vlan;
		by_port[i] = member;
	}
	bridge->by_port = by_port;
	return bridge;
}

static int snapshot_build_bridges(struct snapshot *snapshot, const struct vswitch *vswitch)
{
	snapshot->bridges = calloc(vswitch->network_limit + 1u, sizeof(struct bridge *));
	if (snapshot->bridges == NULL)
		return -1;
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct bridge *bridge;

		if (vswitch->networks[i] == NULL)
			continue;
		bridge = bridge_build(vswitch, vswitch->networks[i]);
		if (bridge == NULL)
			return -1;
		snapshot->bridges[snapshot->bridge_count++] = bridge;
		for (uint16_t m = 0; m < bridge->member_count; m++) {
			struct port_view *view = &snapshot->ports[bridge->members[m].port];

			view->bridge = bridge;
			view->member = &bridge->members[m];
		}
	}
	return 0;
}

static int snapshot_build_plans(struct snapshot *snapshot, const struct vswitch *vswitch)
{
	snapshot->worker_count = vswitch->worker_count;
	snapshot->plans = calloc(vswitch->worker_count, sizeof(struct worker_plan));
	if (snapshot->plans == NULL)
		return -1;
	for (uint32_t w = 0; w < vswitch->worker_count; w++) {
		uint32_t room = vswitch->worker_queues[w] + 1u;

		snapshot->plans[w].queues = calloc(room, sizeof(struct port_queue *));
		snapshot->plans[w].active = calloc(room, sizeof(struct port_queue *));
		if (snapshot->plans[w].queues == NULL || snapshot->plans[w].active == NULL)
			return -1;
	}
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		for (uint16_t q = 0; port != NULL && q < port->receive_count; q++) {
			struct port_queue *queue = &port->receive_queues[q];
			struct worker_plan *plan = &snapshot->plans[queue->worker];

			plan->queues[plan->count++] = queue;
		}
	}
	return 0;
}

struct snapshot *snapshot_create(const struct vswitch *vswitch, uint64_t generation)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (snapshot == NULL)
		return NULL;
	snapshot->generation = generation;
	snapshot->port_limit = vswitch->port_limit;
	snapshot->ports = calloc(vswitch->port_limit + 1u, sizeof(struct port_view));
	if (snapshot->ports == NULL)
		goto fail;
	for (uint16_t i = 0; i < vswitch->port_limit; i++)
		snapshot->ports[i].port = vswitch->ports[i];
	if (snapshot_build_bridges(snapshot, vswitch) != 0 ||
	    snapshot_build_plans(snapshot, vswitch) != 0)
		goto fail;
	return snapshot;
fail:
	snapshot_destroy(snapshot);
	return NULL;
}

void snapshot_destroy(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	for (uint32_t i = 0; i < snapshot->bridge_count; i++) {
		free((void *)snapshot->bridges[i]->by_port);
		free(snapshot->bridges[i]);
	}
	for (uint32_t w = 0; snapshot->plans != NULL && w < snapshot->worker_count; w++) {
		free(snapshot->plans[w].queues);
		free(snapshot->plans[w].active);
	}
	free(snapshot->plans);
	free(snapshot->bridges);
	free(snapshot->ports);
	free(snapshot);
}
