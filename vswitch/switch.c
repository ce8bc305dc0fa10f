/* The switch: its tables of networks and ports, and how a configuration becomes them (switch.h).
 * Control thread.
 *
 * Every change goes the same way: close what goes, open what comes, publish a new snapshot, wait
 * until no worker reads the old one, free. Ports that a change does not name keep their sockets,
 * rings and counters. */
#include "vswitch/switch.h"

#include "base/clock.h"
#include "base/log.h"
#include "vhost-user/guest_memory.h"
#include "vswitch/balance.h"
#include "vswitch/gateway.h"
#include "vswitch/mac_state.h"
#include "vswitch/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define HOUSEKEEPING_SECONDS 1
#define SAVE_SECONDS	     5u	   /* between writings of MAC tables */
#define OUTER_MACS	     1024u /* on the link of an uplink that is no member of the segment */

#define RETIRED_MAX 1024u /* pieces of memory that wait for a grace period */

struct retired {
	struct retired *next;
	void *memory;
};

/* After a grace period. */
static void free_retired(struct vswitch *vswitch)
{
	while (vswitch->retired != NULL) {
		struct retired *retired = vswitch->retired;

		vswitch->retired = retired->next;
		free(retired->memory);
		free(retired);
	}
	vswitch->retired_count = 0;
}

void vswitch_retire(struct vswitch *vswitch, void *memory)
{
	struct retired *retired;

	if (memory == NULL)
		return;
	retired = malloc(sizeof(*retired));
	if (retired == NULL) {
		rcu_wait(vswitch->rcu);
		free(memory);
		return;
	}
	retired->memory = memory;
	retired->next = vswitch->retired;
	vswitch->retired = retired;
	/* Guests decide how often their guards change. */
	if (++vswitch->retired_count < RETIRED_MAX)
		return;
	rcu_wait(vswitch->rcu);
	free_retired(vswitch);
}

int vswitch_publish(struct vswitch *vswitch)
{
	struct snapshot *old =
	    atomic_load_explicit(&vswitch->snapshot, memory_order_relaxed); /* only we write */
	struct snapshot *snapshot = snapshot_create(vswitch, vswitch->generation + 1);

	if (snapshot == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < vswitch->worker_count; i++) {
		if (vswitch->workers[i] != NULL &&
		    worker_reserve(vswitch->workers[i], snapshot) != 0) {
			snapshot_destroy(snapshot);
			return -ENOMEM;
		}
	}
	vswitch->generation++;
	/* release: pairs with the acquire in context_adopt(). */
	atomic_store_explicit(&vswitch->snapshot, snapshot, memory_order_release);
	for (uint32_t i = 0; i < vswitch->worker_count; i++) {
		if (vswitch->workers[i] != NULL)
			worker_wake(vswitch->workers[i]);
	}
	rcu_wait(vswitch->rcu);
	snapshot_destroy(old);
	free_retired(vswitch);
	return 0;
}

/* Once a second: forgets old MACs, and asks ports for faults that no event told of. */
static void housekeeping(evutil_socket_t fd, short what, void *argument)
{
	struct vswitch *vswitch = argument;
	uint32_t now = clock_seconds();

	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		/* A tenth of the age is exact enough, and keeps the scan of a large table rare. */
		if (network == NULL || now - network->aged_at < (network->config.mac_age + 9) / 10)
			continue;
		network->aged_at = now;
		mac_table_age(network->macs, now, network->config.mac_age);
		if (network->outer_macs != NULL)
			mac_table_age(network->outer_macs, now, network->config.mac_age);
	}
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (port != NULL && port->type->check_faults != NULL)
			port->type->check_faults(port);
	}
	gateways_housekeeping(vswitch);
	vswitch_balance(vswitch);
	if (now - vswitch->saved_at >= SAVE_SECONDS) {
		vswitch->saved_at = now;
		mac_state_save(vswitch);
	}
	if (vswitch->retired != NULL) {
		rcu_wait(vswitch->rcu);
		free_retired(vswitch);
	}
}

static void memory_fault(evutil_socket_t fd, short what, void *argument)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		housekeeping(-1, 0, argument);
}

static int vswitch_start_events(struct vswitch *vswitch, struct error *error)
{
	struct timeval period = { .tv_sec = HOUSEKEEPING_SECONDS };
	int result;

	vswitch->fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vswitch->fault_fd < 0)
		return error_set(error, errno, "eventfd: %s", strerror(errno));
	result = guest_memory_handle_faults(vswitch->fault_fd);
	if (result != 0)
		return error_set(error, -result, "SIGBUS handler: %s", strerror(-result));
	vswitch->age_timer = event_new(vswitch->loop, -1, EV_PERSIST, housekeeping, vswitch);
	vswitch->fault_event = event_new(vswitch->loop, vswitch->fault_fd, EV_READ | EV_PERSIST,
					 memory_fault, vswitch);
	if (vswitch->age_timer == NULL || vswitch->fault_event == NULL ||
	    event_add(vswitch->age_timer, &period) != 0 ||
	    event_add(vswitch->fault_event, NULL) != 0)
		return error_set(error, ENOMEM, "event loop: out of memory");
	return 0;
}

int vswitch_create(struct event_base *loop, const struct workers_config *workers,
		   struct vswitch **out, struct error *error)
{
	struct vswitch *vswitch = calloc(1, sizeof(*vswitch));
	int result;

	if (vswitch == NULL)
		return error_set(error, ENOMEM, "out of memory");
	vswitch->loop = loop;
	vswitch->fault_fd = -1;
	config_init(&vswitch->config);
	vswitch->config.workers = *workers;
	vswitch->rcu = rcu_create(workers->count);
	vswitch->workers = calloc(workers->count, sizeof(struct worker *));
	vswitch->worker_count = vswitch->workers != NULL ? workers->count : 0;
	/* Workers find a snapshot with a plan for each of them from their first round on. */
	if (vswitch->rcu == NULL || vswitch->workers == NULL || vswitch_publish(vswitch) != 0) {
		result = error_set(error, ENOMEM, "out of memory");
		goto fail;
	}
	result = vswitch_start_events(vswitch, error);
	if (result != 0)
		goto fail;
	for (uint32_t i = 0; i < workers->count; i++) {
		result = worker_create(vswitch, i, workers->cpus[i], workers->poll,
				       &vswitch->workers[i], error);
		if (result != 0)
			goto fail;
	}
	*out = vswitch;
	return 0;
fail:
	vswitch_destroy(vswitch);
	return result;
}

void vswitch_destroy(struct vswitch *vswitch)
{
	if (vswitch == NULL)
		return;
	gateways_stop(vswitch);
	mac_state_save(vswitch);
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (vswitch->ports[i] == NULL)
			continue;
		gateways_forget_port(vswitch, vswitch->ports[i]);
		vswitch->ports[i]->type->close(vswitch->ports[i]);
	}
	for (uint32_t i = 0; i < vswitch->worker_count; i++)
		worker_destroy(vswitch->workers[i]);
	free_retired(vswitch);
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (vswitch->ports[i] != NULL) {
			port_free_queues(vswitch->ports[i]);
			port_free(vswitch->ports[i]);
		}
	}
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		if (vswitch->networks[i] != NULL)
			gateway_destroy(vswitch->networks[i]->gateway);
		network_free(vswitch->networks[i]);
	}
	gateways_close_store(vswitch);
	snapshot_destroy(atomic_load_explicit(&vswitch->snapshot, memory_order_relaxed));
	if (vswitch->age_timer != NULL)
		event_free(vswitch->age_timer);
	if (vswitch->fault_event != NULL)
		event_free(vswitch->fault_event);
	if (vswitch->fault_fd >= 0)
		close(vswitch->fault_fd);
	vswitch_close_given(&vswitch->config, NULL);
	config_clear(&vswitch->config);
	rcu_destroy(vswitch->rcu);
	free(vswitch->workers);
	free(vswitch->state_directory);
	free(vswitch);
}

struct port *vswitch_find_port(const struct vswitch *vswitch, const char *name)
{
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (vswitch->ports[i] != NULL && strcmp(vswitch->ports[i]->name, name) == 0)
			return vswitch->ports[i];
	}
	return NULL;
}

struct network *vswitch_find_network(const struct vswitch *vswitch, const char *name)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		if (vswitch->networks[i] != NULL &&
		    strcmp(vswitch->networks[i]->config.name, name) == 0)
			return vswitch->networks[i];
	}
	return NULL;
}

static struct mac_table *create_macs(uint32_t limit, uint32_t quota)
{
	struct mac_table_config table = { .limit = limit,
					  .port_quota = quota,
					  .port_count = CONFIG_PORTS_MAX };

	if (getrandom(&table.seed, sizeof(table.seed), 0) != (ssize_t)sizeof(table.seed))
		return NULL;
	return mac_table_create(&table);
}

struct network *network_create(const struct network_config *config)
{
	const struct mode_row *mode = &config_modes[config->mode];
	bool has_outside = mode->may_have_uplink && !mode->uplink_in_segment;
	struct network *network = calloc(1, sizeof(*network));

	if (network == NULL)
		return NULL;
	network->macs = create_macs(config->mac_limit, config->mac_quota);
	if (has_outside)
		network->outer_macs = create_macs(OUTER_MACS, OUTER_MACS);
	if (network->macs == NULL || (has_outside && network->outer_macs == NULL)) {
		network_free(network);
		return NULL;
	}
	network_config_copy(&network->config, config);
	return network;
}

void network_free(struct network *network)
{
	if (network == NULL)
		return;
	mac_table_destroy(network->macs);
	if (network->outer_macs != NULL)
		mac_table_destroy(network->outer_macs);
	network_config_clear(&network->config);
	free(network);
}

void port_free(struct port *port)
{
	if (port == NULL)
		return;
	free(port->counters);
	free(port);
}
