/* Building the snapshot that workers read (worker.h): control thread. A snapshot is built whole
 * from the switch's own tables each time something changes; with a few thousand ports that is well
 * under a millisecond and leaves no incremental state to get wrong. */
#include "vswitch/worker.h"

#include "vswitch/switch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A network's own segment, and its uplink's when that is not a member of it. */
enum { INSIDE, OUTSIDE, SEGMENTS };

/* Where the ports of a snapshot belong, while it is built. */
struct draft {
	const struct vswitch *vswitch;
	const struct network **by_name; /* sorted */
	uint32_t network_count;
	uint16_t *members;	 /* [network_limit * SEGMENTS] */
	struct bridge **bridges; /* the same, NULL where no port is */
	uint32_t *segment_of;	 /* [port_limit]: index of those, or NO_SEGMENT */
};

#define NO_SEGMENT UINT32_MAX

static int compare_networks(const void *a, const void *b)
{
	return strcmp((*(const struct network *const *)a)->config.name,
		      (*(const struct network *const *)b)->config.name);
}

static int compare_name_to_network(const void *name, const void *network)
{
	return strcmp(name, (*(const struct network *const *)network)->config.name);
}

static void draft_free(struct draft *draft)
{
	free(draft->by_name);
	free(draft->members);
	free(draft->bridges);
	free(draft->segment_of);
}

static bool is_outside(const struct network *network, const struct port_config *config)
{
	if (gateway_is_leg(config))
		return config->options.leg.side == GATEWAY_OUTER;
	return config->uplink && !config_modes[network->config.mode].uplink_in_segment;
}

/* The network that a port names, and which of its segments. */
static uint32_t find_segment(const struct draft *draft, const struct port *port)
{
	const struct network **found;

	if (port == NULL)
		return NO_SEGMENT;
	found = bsearch(port->config.network, draft->by_name, draft->network_count,
			sizeof(*draft->by_name), compare_name_to_network);
	if (found == NULL)
		return NO_SEGMENT;
	return (uint32_t)(*found)->slot * SEGMENTS +
	       (is_outside(*found, &port->config) ? OUTSIDE : INSIDE);
}

static int draft_make(struct draft *draft, const struct vswitch *vswitch)
{
	uint32_t segments = vswitch->network_limit * SEGMENTS;

	draft->vswitch = vswitch;
	draft->by_name = calloc(vswitch->network_limit + 1u, sizeof(*draft->by_name));
	draft->members = calloc(segments + 1u, sizeof(*draft->members));
	draft->bridges = calloc(segments + 1u, sizeof(struct bridge *));
	draft->segment_of = calloc(vswitch->port_limit + 1u, sizeof(*draft->segment_of));
	if (draft->by_name == NULL || draft->members == NULL || draft->bridges == NULL ||
	    draft->segment_of == NULL)
		return -1;
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		if (vswitch->networks[i] != NULL)
			draft->by_name[draft->network_count++] = vswitch->networks[i];
	}
	qsort(draft->by_name, draft->network_count, sizeof(*draft->by_name), compare_networks);
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		draft->segment_of[i] = find_segment(draft, vswitch->ports[i]);
		if (draft->segment_of[i] != NO_SEGMENT)
			draft->members[draft->segment_of[i]]++;
	}
	return 0;
}

static struct bridge *bridge_build(const struct network *network, unsigned segment,
				   uint16_t members, uint16_t port_limit)
{
	const struct bridge_member **by_port = calloc(port_limit, sizeof(struct bridge_member *));
	struct bridge *bridge = calloc(1, sizeof(*bridge) + members * sizeof(bridge->members[0]));

	if (bridge == NULL || by_port == NULL) {
		free(bridge);
		free(by_port);
		return NULL;
	}
	bridge->macs = segment == OUTSIDE ? network->outer_macs : network->macs;
	bridge->transparent = network->config.transparent;
	bridge->port_limit = port_limit;
	bridge->gateway_mac = BRIDGE_NO_GATEWAY;
	bridge->gateway_port = MAC_TABLE_NO_PORT;
	bridge->by_port = by_port;
	return bridge;
}

/* Puts a port into its bridge, and says in its view what workers need to know of both. */
static void bridge_add(struct snapshot *snapshot, const struct draft *draft, uint16_t index)
{
	const struct port *port = draft->vswitch->ports[index];
	uint32_t segment = draft->segment_of[index];
	const struct network *network = draft->vswitch->networks[segment / SEGMENTS];
	struct bridge *bridge = draft->bridges[segment];
	struct bridge_member *member = &bridge->members[bridge->member_count++];
	struct port_view *view = &snapshot->ports[index];
	struct leg_view *leg = &snapshot->legs[index];

	*member = (struct bridge_member){
		.port = index,
		.isolated = port->config.isolated,
		.vlan = port->config.vlan,
	};
	((const struct bridge_member **)bridge->by_port)[index] = member;
	view->bridge = bridge;
	view->member = member;
	if (!gateway_is_leg(&port->config) || !gateway_view(network->gateway, port, leg))
		return;
	view->leg = leg;
	bridge->gateway_mac = mac_to_u64(leg->mac.bytes);
	bridge->gateway_port = index;
}

static int snapshot_build_bridges(struct snapshot *snapshot, const struct vswitch *vswitch)
{
	struct draft draft = { 0 };
	int result = -1;

	snapshot->bridges =
	    calloc((size_t)vswitch->network_limit * SEGMENTS + 1, sizeof(struct bridge *));
	snapshot->legs = calloc(vswitch->port_limit + 1u, sizeof(*snapshot->legs));
	if (snapshot->bridges == NULL || snapshot->legs == NULL || draft_make(&draft, vswitch) != 0)
		goto out;
	for (uint32_t i = 0; i < vswitch->network_limit * (uint32_t)SEGMENTS; i++) {
		if (draft.members[i] == 0)
			continue;
		draft.bridges[i] = bridge_build(vswitch->networks[i / SEGMENTS], i % SEGMENTS,
						draft.members[i], vswitch->port_limit);
		if (draft.bridges[i] == NULL)
			goto out;
		draft.bridges[i]->generation = snapshot->generation;
		snapshot->bridges[snapshot->bridge_count++] = draft.bridges[i];
	}
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (draft.segment_of[i] != NO_SEGMENT)
			bridge_add(snapshot, &draft, i);
	}
	result = 0;
out:
	draft_free(&draft);
	return result;
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
	free(snapshot->legs);
	free(snapshot->ports);
	free(snapshot);
}
