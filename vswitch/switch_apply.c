/* Making the running switch equal to a configuration (vswitch_apply of switch.h). Control thread.
 *
 * In order: check all that can be checked; close the ports that go or change what they are; open
 * those that come, which is what may fail; make and drop networks; edit in place the ports that
 * only change their membership; publish. When a port cannot be opened, those opened are closed,
 * those closed opened again, and nobody else has noticed anything. */
#include "vswitch/switch.h"

#include "base/log.h"
#include "vswitch/config_diff.h"
#include "vswitch/gateway.h"
#include "vswitch/mac_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A move from one configuration to another: what it works with, and what it leaves to be done after
 * its publication. */
struct move {
	const char *file; /* where `wanted` was written, NULL: nowhere */
	const struct config *wanted;
	const struct port_config **by_name;    /* wanted->ports, sorted */
	bool changed;			       /* there is something to publish */
	bool edited[CONFIG_PORTS_MAX];	       /* by port index */
	struct network *old[CONFIG_PORTS_MAX]; /* replaced or dropped; workers may be in them */
};

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct port_config *const *)a)->name,
		      (*(const struct port_config *const *)b)->name);
}

static struct move *move_create(const char *file, const struct config *wanted)
{
	struct move *move = calloc(1, sizeof(*move));

	if (move == NULL)
		return NULL;
	move->file = file;
	move->wanted = wanted;
	move->by_name = calloc(wanted->port_count + 1u, sizeof(const struct port_config *));
	if (move->by_name == NULL) {
		free(move);
		return NULL;
	}
	for (uint32_t i = 0; i < wanted->port_count; i++)
		move->by_name[i] = &wanted->ports[i];
	qsort(move->by_name, wanted->port_count, sizeof(const struct port_config *), compare_names);
	return move;
}

static void move_destroy(struct move *move)
{
	free(move->by_name);
	free(move);
}

/* What is wanted of this port; NULL: that it goes. */
static const struct port_config *move_find(const struct move *move, const struct port *port)
{
	const struct port_config *key = &port->config, *const * found;

	found = bsearch(&key, move->by_name, move->wanted->port_count,
			sizeof(const struct port_config *), compare_names);
	return found != NULL ? *found : NULL;
}

static struct port *port_create(struct vswitch *vswitch, const struct port_config *config)
{
	struct port *port = calloc(1, sizeof(*port));
	size_t size = vswitch->worker_count * sizeof(struct port_counters);

	if (port == NULL)
		return NULL;
	memcpy(port->name, config->name, sizeof(port->name));
	port->type = config->type;
	port->config = *config;
	port->vswitch = vswitch;
	port->serial = ++vswitch->ports_opened;
	port->counters = aligned_alloc(_Alignof(struct port_counters), size);
	if (port->counters == NULL) {
		free(port);
		return NULL;
	}
	memset(port->counters, 0, size);
	return port;
}

/* Opens a port and puts it in a free slot; workers see it with the next publication. */
static int port_open(struct vswitch *vswitch, const char *file, const struct port_config *config,
		     struct error *error)
{
	struct port *port;
	uint16_t index = 0;
	int result;

	while (index < vswitch->port_limit && vswitch->ports[index] != NULL)
		index++;
	if (index == CONFIG_PORTS_MAX)
		return error_set(error, ENOSPC,
				 "port '%s': there are %u ports already, no more can be",
				 config->name, CONFIG_PORTS_MAX);
	port = port_create(vswitch, config);
	if (port == NULL)
		return error_set(error, ENOMEM, "port '%s': out of memory", config->name);
	port->index = index;
	result = port->type->open(port, vswitch->loop, error);
	if (result != 0) {
		config_error_place(file, config, error);
		port_free_queues(port);
		port_free(port);
		return result;
	}
	vswitch->ports[index] = port;
	if (index >= vswitch->port_limit)
		vswitch->port_limit = (uint16_t)(index + 1);
	return 0;
}

/* A port stays open when what it is made of stays: the type and its options. */
static bool port_stays(const struct port *port, const struct port_config *wanted)
{
	return wanted != NULL && wanted->type == port->config.type &&
	       memcmp(&wanted->options, &port->config.options, sizeof(wanted->options)) == 0;
}

static void forget_macs(struct vswitch *vswitch, const struct port *port)
{
	struct network *network = vswitch_find_network(vswitch, port->config.network);

	if (network != NULL)
		mac_table_flush_port(network->macs, port->index);
}

/* Takes every port out that is not wanted as it is: first from the workers' sight, then
 * closes them. */
static int close_ports(struct vswitch *vswitch, const struct move *move)
{
	struct port **gone = calloc(vswitch->port_limit + 1u, sizeof(*gone));
	uint32_t count = 0;
	int result;

	if (gone == NULL)
		return -ENOMEM;
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (port == NULL || port_stays(port, move_find(move, port)))
			continue;
		gone[count++] = port;
		vswitch->ports[i] = NULL;
	}
	result = count > 0 ? vswitch_publish(vswitch) : 0;
	for (uint32_t i = 0; i < count; i++) {
		if (result != 0) { /* still in the workers' sight */
			vswitch->ports[gone[i]->index] = gone[i];
			continue;
		}
		gateways_forget_port(vswitch, gone[i]);
		gone[i]->type->close(gone[i]);
		forget_macs(vswitch, gone[i]);
		port_free_queues(gone[i]);
		port_free(gone[i]);
	}
	free(gone);
	return result;
}

static int open_ports(struct vswitch *vswitch, struct move *move, struct error *error)
{
	const struct config *wanted = move->wanted;
	bool *there = calloc(wanted->port_count + 1u, sizeof(*there));
	int result = 0;

	if (there == NULL)
		return error_set(error, ENOMEM, "out of memory");
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (vswitch->ports[i] != NULL)
			there[move_find(move, vswitch->ports[i]) - wanted->ports] = true;
	}
	for (uint32_t i = 0; i < wanted->port_count && result == 0; i++) {
		if (there[i])
			continue;
		result = port_open(vswitch, move->file, &wanted->ports[i], error);
		move->changed |= result == 0;
	}
	free(there);
	return result;
}

static bool same_table(const struct network_config *a, const struct network_config *b)
{
	return a->mode == b->mode && a->mac_limit == b->mac_limit && a->mac_quota == b->mac_quota;
}

/* Makes missing networks, and fresh ones in place of those whose MAC table changes its size. */
static int make_networks(struct vswitch *vswitch, struct move *move, struct error *error)
{
	const struct config *wanted = move->wanted;

	for (uint32_t i = 0; i < wanted->network_count; i++) {
		const struct network_config *config = &wanted->networks[i];
		struct network *network = vswitch_find_network(vswitch, config->name);
		struct network *fresh;
		uint16_t slot = 0;

		if (network != NULL && network_config_equal(&network->config, config))
			continue;
		move->changed = true;
		if (network != NULL && same_table(&network->config, config)) {
			network_config_clear(&network->config);
			network_config_copy(&network->config, config);
			continue;
		}
		fresh = network_create(config);
		if (fresh == NULL)
			return error_set(error, ENOMEM, "network '%s': out of memory",
					 config->name);
		/* Its own slot, or the first free one. */
		while (slot < CONFIG_PORTS_MAX && vswitch->networks[slot] != network)
			slot++;
		if (slot == CONFIG_PORTS_MAX) {
			network_free(fresh);
			return error_set(
			    error, ENOSPC,
			    "network '%s': there are %u networks already, no more can be",
			    config->name, CONFIG_PORTS_MAX);
		}
		if (network != NULL) {
			fresh->gateway = network->gateway;
			network->gateway = NULL;
		}
		move->old[slot] = network;
		fresh->slot = slot;
		vswitch->networks[slot] = fresh;
		if (slot >= vswitch->network_limit)
			vswitch->network_limit = (uint16_t)(slot + 1);
	}
	return 0;
}

/* Takes networks out of the table that nobody wants any more. */
static void drop_networks(struct vswitch *vswitch, struct move *move)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network == NULL ||
		    config_find_network(move->wanted, network->config.name) != NULL)
			continue;
		gateways_drop(vswitch, network);
		move->old[i] = network;
		move->changed = true;
		vswitch->networks[i] = NULL;
	}
}

/* Ports that stay open take over what changed around them. */
static void edit_ports(struct vswitch *vswitch, struct move *move)
{
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];
		const struct port_config *config = port != NULL ? move_find(move, port) : NULL;

		if (config == NULL || port_config_equal(config, &port->config))
			continue;
		port->config = *config;
		move->edited[i] = true;
		move->changed = true;
	}
}

/* Once no worker learns by the old memberships: what was learned by them, in whichever network, or
 * a later port in the same slot would be taken for the one that was there. */
static void forget_edited(struct vswitch *vswitch, const struct move *move)
{
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		if (!move->edited[i])
			continue;
		for (uint16_t n = 0; n < vswitch->network_limit; n++) {
			if (vswitch->networks[n] != NULL)
				mac_table_flush_port(vswitch->networks[n]->macs, i);
		}
	}
}

/* Brings the tables to `wanted`. On error they are in between, and the caller goes back. */
static int move_to(struct vswitch *vswitch, const char *file, const struct config *wanted,
		   struct error *error)
{
	struct move *move = move_create(file, wanted);
	int result;

	if (move == NULL)
		return error_set(error, ENOMEM, "out of memory");
	result = close_ports(vswitch, move);
	if (result != 0)
		error_set(error, -result, "out of memory");
	else
		result = open_ports(vswitch, move, error);
	if (result == 0)
		result = make_networks(vswitch, move, error);
	if (result == 0) {
		drop_networks(vswitch, move);
		edit_ports(vswitch, move);
		result = gateways_update(vswitch, move->file, error);
		move->changed |= gateways_unpublished(vswitch);
	}
	/* On error too: the workers must leave what is about to be freed. */
	if (move->changed && vswitch_publish(vswitch) != 0) {
		log_error("out of memory while publishing; replaced networks are kept");
		move_destroy(move);
		return result != 0 ? result : error_set(error, ENOMEM, "out of memory");
	}
	gateways_settle(vswitch);
	if (result == 0)
		gateways_end_sessions(vswitch);
	forget_edited(vswitch, move);
	for (uint32_t i = 0; i < CONFIG_PORTS_MAX; i++)
		network_free(move->old[i]);
	move_destroy(move);
	return result;
}

static bool has_given(const struct config *config, int fd)
{
	for (uint32_t i = 0; i < config->port_count; i++) {
		const struct port_config *port = &config->ports[i];

		if (port->type != &port_tap)
			continue;
		for (uint16_t j = 0; j < port->options.tap.fd_count; j++)
			if (port->options.tap.fds[j] == fd)
				return true;
	}
	return false;
}

void vswitch_close_given(const struct config *from, const struct config *to)
{
	for (uint32_t i = 0; i < from->port_count; i++) {
		const struct port_config *port = &from->ports[i];

		if (port->type != &port_tap)
			continue;
		for (uint16_t j = 0; j < port->options.tap.fd_count; j++)
			if (to == NULL || !has_given(to, port->options.tap.fds[j]))
				close(port->options.tap.fds[j]);
	}
}

/* What a running weftd cannot change: refused when it is given and differs. */
static int check_fixed(const struct vswitch *vswitch, const char *file, const struct config *wanted,
		       struct error *error)
{
	const char *key = NULL;
	unsigned line = wanted->workers_line;

	if (wanted->workers_line != 0 &&
	    memcmp(&wanted->workers, &vswitch->config.workers, sizeof(wanted->workers)) != 0)
		key = "workers";
	else if (wanted->api_socket[0] != '\0' &&
		 strcmp(wanted->api_socket, vswitch->config.api_socket) != 0) {
		key = "api.socket";
		line = wanted->api_line;
	}
	if (key == NULL)
		return 0;
	error_set(error, EBUSY, "%s: cannot change while weftd runs; restart it for this", key);
	if (file != NULL)
		error_prefix(error, "%s:%u: ", file, line);
	return -EBUSY;
}

int vswitch_apply(struct vswitch *vswitch, const char *file, const struct config *wanted,
		  struct error *error)
{
	struct config next;
	int result = config_check(file, wanted, error);

	if (result != 0)
		return result;
	result = check_fixed(vswitch, file, wanted, error);
	if (result != 0)
		return result;
	if (config_copy(&next, wanted) != 0)
		return error_set(error, ENOMEM, "out of memory");
	next.workers = vswitch->config.workers;
	memcpy(next.api_socket, vswitch->config.api_socket, sizeof(next.api_socket));
	if (gateway_complete_config(&next) != 0) {
		config_clear(&next);
		return error_set(error, ENOMEM, "out of memory");
	}
	result = move_to(vswitch, file, &next, error);
	if (result != 0) {
		struct error back;

		if (move_to(vswitch, NULL, &vswitch->config, &back) != 0)
			log_error("could not go back to the configuration before: %s", back.text);
		config_clear(&next);
		return result;
	}
	vswitch_close_given(&vswitch->config, &next);
	config_clear(&vswitch->config);
	vswitch->config = next;
	if (!vswitch->restored)
		mac_state_load(vswitch);
	vswitch->restored = true;
	return 0;
}

json_t *vswitch_diff(const struct vswitch *vswitch, const struct config *wanted)
{
	struct config_change *changes = NULL;
	struct config next;
	uint32_t count;
	json_t *json = NULL;

	if (config_copy(&next, wanted) != 0)
		return NULL;
	if (gateway_complete_config(&next) == 0 &&
	    config_diff(&vswitch->config, &next, &changes, &count) == 0)
		json = config_diff_to_json(changes, count);
	free(changes);
	config_clear(&next);
	return json;
}
