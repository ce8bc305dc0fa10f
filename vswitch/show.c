/* The state of the switch as JSON (show.h). Called by the API's `show`. Control thread: reads what
 * workers count (relaxed), and changes nothing. */
#include "vswitch/show.h"

#include "base/clock.h"
#include "base/numa.h"
#include "bridge/mac_table.h"
#include "vswitch/switch.h"
#include "vswitch/worker.h"

#include <stdlib.h>
#include <string.h>

static json_t *show_vlan(const struct vlan_membership *vlan)
{
	json_t *allowed;

	switch ((enum vlan_mode)vlan->mode) {
	case VLAN_MODE_ACCESS:
		return json_pack("{s:s, s:i}", "mode", "access", "access", (int)vlan->access);
	case VLAN_MODE_TRUNK:
		allowed = json_array();
		for (unsigned id = 1; id <= VLAN_MAX; id++)
			if (vlan->allowed[id / 64] & (UINT64_C(1) << id % 64))
				json_array_append_new(allowed, json_integer((json_int_t)id));
		return json_pack("{s:s, s:o, s:o}", "mode", "trunk", "allowed", allowed, "native",
				 vlan->native == VLAN_NONE ? json_null()
							   : json_integer(vlan->native));
	case VLAN_MODE_PLAIN:
		break;
	}
	return json_pack("{s:s}", "mode", "plain");
}

/* One direction: errors are the drops for which the peer is to blame. */
static json_t *show_direction(const struct port_totals *totals, enum drop_direction direction)
{
	uint64_t drops = 0, errors = 0;
	json_t *by_reason = json_object();
	bool receive = direction == DROP_RECEIVE;

	for (unsigned i = 0; i < DROP_COUNT; i++) {
		uint64_t n = totals->drops[i];

		if (n == 0 || drop_table[i].direction != direction)
			continue;
		drops += n;
		if (drop_table[i].error)
			errors += n;
		json_object_set_new(by_reason, drop_table[i].name, json_integer((json_int_t)n));
	}
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:o}", "packets",
	    (json_int_t)(receive ? totals->receive_packets : totals->transmit_packets), "bytes",
	    (json_int_t)(receive ? totals->receive_bytes : totals->transmit_bytes), "errors",
	    (json_int_t)errors, "drops", (json_int_t)drops, "drops_by_reason", by_reason);
}

static json_t *show_port(const struct vswitch *vswitch, const struct port *port)
{
	const struct port_config *config = &port->config;
	char mac[MAC_TEXT_LENGTH];
	struct port_totals totals;
	json_t *object = json_object();

	port_get_totals(port, vswitch->worker_count, &totals);
	json_object_set_new(object, "name", json_string(port->name));
	json_object_set_new(object, "network", json_string(config->network));
	json_object_set_new(object, "type", json_string(port->type->name));
	json_object_set_new(object, "index", json_integer(port->index));
	json_object_set_new(
	    object, "link",
	    json_string(atomic_load_explicit(&port->link, memory_order_relaxed) ? "up" : "down"));
	json_object_set_new(object, "fault",
			    port->fault != NULL && port->fault[0] != '\0' ? json_string(port->fault)
									  : json_null());
	json_object_set_new(object, "uplink", json_boolean(config->uplink));
	json_object_set_new(object, "vlan", show_vlan(&config->vlan));
	json_object_set_new(object, "isolated", json_boolean(config->isolated));
	json_object_set_new(object, "mac",
			    config->has_mac ? json_string(mac_to_text(config->mac, mac))
					    : json_null());
	json_object_set_new(object, "receive", show_direction(&totals, DROP_RECEIVE));
	json_object_set_new(object, "transmit", show_direction(&totals, DROP_TRANSMIT));
	if (port->type->show != NULL)
		port->type->show(port, object);
	return object;
}

json_t *show_ports(const struct vswitch *vswitch)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < vswitch->port_limit; i++)
		if (vswitch->ports[i] != NULL)
			json_array_append_new(array, show_port(vswitch, vswitch->ports[i]));
	return array;
}

static json_t *show_network(const struct vswitch *vswitch, const struct network *network)
{
	const struct network_config *config = &network->config;
	json_t *ports = json_array(), *uplink = NULL, *link = NULL, *object;
	struct mac_table_stats macs;

	for (unsigned i = 0; i < vswitch->port_limit; i++) {
		const struct port *port = vswitch->ports[i];

		if (port == NULL || strcmp(port->config.network, config->name) != 0)
			continue;
		json_array_append_new(ports, json_string(port->name));
		if (!port->config.uplink)
			continue;
		uplink = json_string(port->name);
		link = json_string(
		    atomic_load_explicit(&port->link, memory_order_relaxed) ? "up" : "down");
	}
	mac_table_get_stats(network->macs, &macs);
	object = json_pack(
	    "{s:s, s:s, s:b, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
	    "name", config->name, "mode", config_mode_name(config->mode), "transparent",
	    (int)config->transparent, "ports", ports, "uplink",
	    uplink != NULL ? uplink : json_null(), "macs", "entries", (json_int_t)macs.entries,
	    "limit", (json_int_t)macs.limit, "quota", (json_int_t)config->mac_quota, "age",
	    (json_int_t)config->mac_age, "learned", (json_int_t)macs.learned, "moved",
	    (json_int_t)macs.moved, "aged", (json_int_t)macs.aged, "refused_limit",
	    (json_int_t)macs.refused_limit, "refused_quota", (json_int_t)macs.refused_quota,
	    "bytes", (json_int_t)macs.bytes);
	json_object_set_new(object, "uplink_link", link != NULL ? link : json_null());
	show_gateway(network, object);
	return object;
}

json_t *show_networks(const struct vswitch *vswitch)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < vswitch->network_limit; i++)
		if (vswitch->networks[i] != NULL)
			json_array_append_new(array, show_network(vswitch, vswitch->networks[i]));
	return array;
}

struct mac_list {
	const struct vswitch *vswitch;
	const struct network *network;
	json_t *array;
	uint32_t now;
};

static void show_mac(void *context, const struct mac_table_entry *entry)
{
	const struct mac_list *list = context;
	const struct port *port =
	    entry->port < list->vswitch->port_limit ? list->vswitch->ports[entry->port] : NULL;
	char mac[MAC_TEXT_LENGTH];

	if (port == NULL) /* removed; the table forgets it in a moment */
		return;
	json_array_append_new(
	    list->array,
	    json_pack(
		"{s:s, s:s, s:i, s:s, s:I}", "network", list->network->config.name, "mac",
		mac_to_text(entry->mac, mac), "vlan", (int)entry->vlan, "port", port->name, "age",
		(json_int_t)(list->now > entry->last_seen ? list->now - entry->last_seen : 0)));
}

json_t *show_macs(const struct vswitch *vswitch)
{
	struct mac_list list = { .vswitch = vswitch,
				 .array = json_array(),
				 .now = clock_seconds() }; /* the clock workers learn by */

	for (unsigned i = 0; i < vswitch->network_limit; i++) {
		list.network = vswitch->networks[i];
		if (list.network != NULL)
			mac_table_visit(list.network->macs, show_mac, &list);
	}
	return list.array;
}

static const char *direction_name(enum drop_direction direction)
{
	return direction == DROP_RECEIVE ? "receive" : "transmit";
}

json_t *show_drops(const struct vswitch *vswitch)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < vswitch->port_limit; i++) {
		struct port_totals totals;

		if (vswitch->ports[i] == NULL)
			continue;
		port_get_totals(vswitch->ports[i], vswitch->worker_count, &totals);
		for (unsigned reason = 0; reason < DROP_COUNT; reason++) {
			const struct drop_info *info = &drop_table[reason];

			if (totals.drops[reason] == 0)
				continue;
			json_array_append_new(
			    array, json_pack("{s:s, s:s, s:s, s:b, s:I, s:s}", "port",
					     vswitch->ports[i]->name, "direction",
					     direction_name(info->direction), "reason", info->name,
					     "error", (int)info->error, "count",
					     (json_int_t)totals.drops[reason], "text", info->text));
		}
	}
	return array;
}

json_t *show_drop_reasons(const struct vswitch *vswitch)
{
	json_t *array = json_array();
	uint64_t counts[DROP_COUNT] = { 0 };

	for (unsigned p = 0; p < vswitch->port_limit; p++) {
		struct port_totals totals;

		if (vswitch->ports[p] == NULL)
			continue;
		port_get_totals(vswitch->ports[p], vswitch->worker_count, &totals);
		for (unsigned i = 0; i < DROP_COUNT; i++)
			counts[i] += totals.drops[i];
	}
	for (unsigned i = 0; i < DROP_COUNT; i++) {
		const struct drop_info *info = &drop_table[i];

		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:b, s:I, s:s}", "direction",
						direction_name(info->direction), "reason",
						info->name, "error", (int)info->error, "count",
						(json_int_t)counts[i], "text", info->text));
	}
	return array;
}

static json_int_t read_counter(const _Atomic uint64_t *counter)
{
	return (json_int_t)atomic_load_explicit(counter, memory_order_relaxed);
}

/* Receive queues that worker `id` polls. */
static unsigned count_queues(const struct vswitch *vswitch, uint32_t id)
{
	unsigned count = 0;

	for (unsigned i = 0; i < vswitch->port_limit; i++) {
		const struct port *port = vswitch->ports[i];

		for (unsigned q = 0; port != NULL && q < port->receive_count; q++)
			if (port->receive_queues[q].worker == id)
				count++;
	}
	return count;
}

static const char *const stage_names[WORKER_STAGES] = {
	[WORKER_RECEIVE] = "receive",	[WORKER_BRIDGE] = "bridge", [WORKER_GATEWAY] = "gateway",
	[WORKER_TRANSMIT] = "transmit", [WORKER_DONE] = "done",
};

/* Null for 0 of 0. */
static json_t *show_quotient(json_int_t dividend, json_int_t divisor)
{
	return divisor > 0 ? json_real((double)dividend / (double)divisor) : json_null();
}

/* Where the time of a burst goes: counted, and as a mean. */
static void show_stages(const struct worker_counters *counters, json_t *object)
{
	json_int_t frames = read_counter(&counters->measured_frames);
	json_t *cycles = json_pack("{s:I}", "frames", frames), *per_frame = json_object();

	for (unsigned i = 0; i < WORKER_STAGES; i++) {
		json_int_t n = read_counter(&counters->stage_cycles[i]);

		json_object_set_new(cycles, stage_names[i], json_integer(n));
		json_object_set_new(per_frame, stage_names[i], show_quotient(n, frames));
	}
	json_object_set_new(object, "cycles", cycles);
	json_object_set_new(object, "cycles_per_frame", per_frame);
}

static json_t *show_worker(const struct vswitch *vswitch, const struct worker *worker)
{
	const struct worker_counters *counters = &worker->counters;
	json_int_t bursts = read_counter(&counters->bursts);
	json_int_t frames = read_counter(&counters->frames);
	json_int_t busy_cycles = read_counter(&counters->busy_cycles);
	uint64_t now = clock_cycles();
	double age = now > worker->started ? (double)(now - worker->started) : 1;
	double busy = (double)busy_cycles / age;
	json_t *object = json_pack(
	    "{s:I, s:o, s:o, s:s, s:i, s:I, s:I, s:o, s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "id",
	    (json_int_t)worker->id, "cpu",
	    worker->cpu >= 0 ? json_integer(worker->cpu) : json_null(), "node",
	    worker->node != NUMA_NONE ? json_integer(worker->node) : json_null(), "poll",
	    config_poll_name(worker->poll), "queues", (int)count_queues(vswitch, worker->id),
	    "bursts", bursts, "frames", frames, "frames_per_burst", show_quotient(frames, bursts),
	    "polls", read_counter(&counters->polls), "busy", busy > 1 ? 1.0 : busy, "busy_cycles",
	    busy_cycles, "clock", (json_int_t)now, "clock_hz", (json_int_t)clock_hz(), "sleeps",
	    read_counter(&counters->sleeps), "wakes", read_counter(&counters->wakes));

	show_stages(counters, object);
	return object;
}

json_t *show_workers(const struct vswitch *vswitch)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < vswitch->worker_count; i++)
		json_array_append_new(array, show_worker(vswitch, vswitch->workers[i]));
	return array;
}
