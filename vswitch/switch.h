/* The switch as control sees it: networks, ports, workers, and the snapshot workers read.
 *
 * Control thread, for everything here. A change builds a new snapshot, publishes it, waits for a
 * grace period and frees the old one; ports that a change does not name are not touched. */
#ifndef WEFT_VSWITCH_SWITCH_H
#define WEFT_VSWITCH_SWITCH_H

#include "base/error.h"
#include "base/rcu.h"
#include "bridge/bridge.h"
#include "vswitch/config.h"
#include "vswitch/port.h"

#include <stdint.h>

struct event;
struct event_base;
struct worker;
struct snapshot;

struct network {
	struct network_config config;
	uint16_t slot; /* in the switch */
	struct mac_table *macs;
	uint64_t macs_saved;   /* changes of the table when it was last saved (mac_state.c) */
	uint32_t macs_records; /* records it takes in the store */
	struct mac_table *outer_macs; /* of the uplink's own segment; NULL when it has none */
	struct gateway *gateway;      /* NULL: none */
	uint32_t aged_at;	      /* clock_seconds() of the last ageing */
};

struct vswitch {
	struct event_base *loop;
	struct rcu *rcu;
	struct config config;  /* what runs */
	char *state_directory; /* for what ports leave to the next weftd; NULL: nowhere. Freed by
				* vswitch_destroy() */
	struct network *networks[CONFIG_PORTS_MAX]; /* NULL: free slot */
	struct port *ports[CONFIG_PORTS_MAX];
	uint16_t port_limit; /* slots in use are below this */
	uint16_t network_limit;
	struct worker **workers;
	uint32_t worker_count;
	uint32_t worker_queues[CONFIG_WORKERS_MAX]; /* receive queues assigned to each */
	uint64_t balanced_at;			    /* TSC; 0: never */
	uint64_t generation;			    /* of the last snapshot */
	uint64_t ports_opened;			    /* the last port's serial */
	_Atomic(struct snapshot *)
	    snapshot; /* control: release; workers: acquire, in worker_run() */
	struct event *age_timer;
	int fault_fd; /* eventfd of guest_memory_handle_faults() */
	struct event *fault_event;
	struct store *store;	       /* what survives a restart; NULL: nothing does */
	bool restored;		       /* what the last weftd left has been taken over */
	uint32_t saved_at;	       /* clock_seconds() of mac_state_save() */
	struct gateway *gone_gateways; /* to be freed after the next publication */
	struct retired *retired; /* to be freed after the next grace period (vswitch_retire()) */
	uint32_t retired_count;
};

/* Starts workers; no networks or ports yet. */
int vswitch_create(struct event_base *loop, const struct workers_config *workers,
		   struct vswitch **out, struct error *error);

/* Builds and publishes the snapshot of the switch as it is, and frees the old one after a grace
 * period. 0 or -ENOMEM (the old one stays). */
int vswitch_publish(struct vswitch *vswitch);

/* Frees memory once no worker reads it any more: with the next publication, or the next
 * housekeeping. Takes NULL. */
void vswitch_retire(struct vswitch *vswitch, void *memory);

/* Parts of a network or port that hang on nothing else: not published, no type opened. */
struct network *network_create(const struct network_config *config);
void network_free(struct network *network);
void port_free(struct port *port);

/* Closes all ports (rings handed back), ends the workers, frees all. Takes NULL. */
void vswitch_destroy(struct vswitch *vswitch);

/* Makes the running configuration equal to *wanted: what is the same stays untouched. Everything
 * that can be checked is checked first. When opening a port fails, what was added is taken out
 * again, what was removed or replaced is put back, and the error is returned. `workers` and `api`
 * cannot change while running
 * (-EBUSY with the reason) . */
int vswitch_apply(struct vswitch *vswitch, const char *file, const struct config *wanted,
		  struct error *error);

/* Open taps that were given (inherited, or passed over the API) belong to the running
 * configuration, which may open the port from them again; closes those of `from` that `to` (NULL:
 * empty) has no more. */
void vswitch_close_given(const struct config *from, const struct config *to);

/* What apply would do, one line each: "+ port vm1", "- network lab", "~ port vm2 (vlan)"; a JSON
 * array of objects {action: add|remove|change, kind, name, keys: [...]}. */
json_t *vswitch_diff(const struct vswitch *vswitch, const struct config *wanted);

/* Single changes, each a vswitch_apply of the running configuration with that change made. */
int vswitch_port_add(struct vswitch *vswitch, const struct port_config *port, struct error *error);
int vswitch_port_del(struct vswitch *vswitch, const char *name, struct error *error);
int vswitch_network_add(struct vswitch *vswitch, const struct network_config *network,
			const struct port_config *uplink, struct error *error);
/* Refused while ports (other than its uplink) use it. */
int vswitch_network_del(struct vswitch *vswitch, const char *name, struct error *error);

struct port *vswitch_find_port(const struct vswitch *vswitch, const char *name);
struct network *vswitch_find_network(const struct vswitch *vswitch, const char *name);

/* Sums of a port's counters over all workers: see struct port_counters. */
struct port_totals {
	uint64_t receive_packets, receive_bytes, transmit_packets, transmit_bytes;
	uint64_t drops[DROP_COUNT];
};
void port_get_totals(const struct port *port, uint32_t worker_count, struct port_totals *totals);

#endif
