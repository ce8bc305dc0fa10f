/* Making the running switch equal to a configuration (vswitch_apply of switch.h). Control thread.
 *
 * In order: check all that can be checked; close the ports that go or change what they are; open
 * those that come, which is what may fail; make and drop networks; edit in place the ports that
 * only change their membership; publish. When a port cannot be opened, those opened are closed,
 * those closed opened again, and nobody else has noticed anything. */
#include "vswitch/switch.h"

#include "base/log.h"
#include "vswitch/config_diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a move from one configuration to another leaves to be done after its publication. */
struct move {
	bool changed;			       /* there is something to publish */
	bool edited[CONFIG_PORTS_MAX];	       /* by port index */
	struct network *old[CONFIG_PORTS_MAX]; /* replaced or dropped; workers may be in them */
};

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
static int port_open(struct vswitch *vswitch, const struct port_config *config, struct error *error)
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
		error_prefix(error, "port '%s': ", config->name);
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

/* Takes every port out that `wanted` does not keep as it is: first from the workers' sight, then
 * closes them. */
static int close_ports(struct vswitch *vswitch, const struct config *wanted)
{
	struct port **gone = calloc(vswitch->port_limit + 1u, sizeof(*gone));
	uint32_t count = 0;
	int result;

	if (gone == NULL)
		return -ENOMEM;
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (port == NULL || port_stays(port, config_find_port(wanted, port->name)))
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
		gone[i]->type->close(gone[i]);
		forget_macs(vswitch, gone[i]);
		port_free_queues(gone[i]);
		port_free(gone[i]);
	}
	free(gone);
	return result;
}

static int open_ports(struct vswitch *vswitch, const struct config *wanted, struct move *move,
		      struct error *error)
{
	for (uint32_t i = 0; i < wanted->port_count; i++) {
		int result;

		if (vswitch_find_port(vswitch, wanted->ports[i].name) != NULL)
			continue;
		result = port_open(vswitch, &wanted->ports[i], error);
		if (result != 0)
			return result;
		move->changed = true;
	}
	return 0;
}

static bool same_table(const struct network_config *a, const struct network_config *b)
{
	return a->mac_limit == b->mac_limit && a->mac_quota == b->mac_quota;
}

/* Makes missing networks, and fresh ones in place of those whose MAC table changes its size. */
static int make_networks(struct vswitch *vswitch, const struct config *wanted, struct move *move,
			 struct error *error)
{
	for (uint32_t i = 0; i < wanted->network_count; i++) {
		const struct network_config *config = &wanted->networks[i];
		struct network *network = vswitch_find_network(vswitch, config->name);
		struct network *fresh;
		uint16_t slot = 0;

		if (network != NULL && network_config_equal(&network->config, config))
			continue;
		move->changed = true;
		if (network != NULL && same_table(&network->config, config)) {
			network->config = *config;
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
		move->old[slot] = network;
		vswitch->networks[slot] = fresh;
		if (slot >= vswitch->network_limit)
			vswitch->network_limit = (uint16_t)(slot + 1);
	}
	return 0;
}

/* Takes networks out of the table that nobody wants any more. */
static void drop_networks(struct vswitch *vswitch, const struct config *wanted, struct move *move)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct network *network = vswitch->networks[i];

		if (network == NULL || config_find_network(wanted, network->config.name) != NULL)
			continue;
		move->old[i] = network;
		move->changed = true;
		vswitch->networks[i] = NULL;
	}
}

/* Ports that stay open take over what changed around them. */
static void edit_ports(struct vswitch *vswitch, const struct config *wanted, struct move *move)
{
	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];
		const struct port_config *config =
		    port != NULL ? config_find_port(wanted, port->name) : NULL;

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
static int move_to(struct vswitch *vswitch, const struct config *wanted, struct error *error)
{
	struct move *move = calloc(1, sizeof(*move));
	int result;

	if (move == NULL)
		return error_set(error, ENOMEM, "out of memory");
	result = close_ports(vswitch, wanted);
	if (result != 0)
		error_set(error, -result, "out of memory");
	else
		result = open_ports(vswitch, wanted, move, error);
	if (result == 0)
		result = make_networks(vswitch, wanted, move, error);
	if (result == 0) {
		drop_networks(vswitch, wanted, move);
		edit_ports(vswitch, wanted, move);
	}
	/* On error too: the workers must leave what is about to be freed. */
	if (move->changed && vswitch_publish(vswitch) != 0) {
		log_error("out of memory while publishing; replaced networks are kept");
		free(move);
		return result != 0 ? result : error_set(error, ENOMEM, "out of memory");
	}
	forget_edited(vswitch, move);
	for (uint32_t i = 0; i < CONFIG_PORTS_MAX; i++)
		network_free(move->old[i]);
	free(move);
	return result;
}

static bool has_given(const struct config *config, int fd)
{
	for (uint32_t i = 0; i < config->port_count; i++) {
		if (config->ports[i].type == &port_tap && config->ports[i].options.tap.fd == fd)
			return true;
	}
	return false;
}

void vswitch_close_given(const struct config *from, const struct config *to)
{
	for (uint32_t i = 0; i < from->port_count; i++) {
		const struct port_config *port = &from->ports[i];

		if (port->type == &port_tap && port->options.tap.fd >= 0 &&
		    (to == NULL || !has_given(to, port->options.tap.fd)))
			close(port->options.tap.fd);
	}
}

/* What a running weftd cannot change: refused when it is given and differs. */
static int check_fixed(const struct vswitch *vswitch, const char *file, const struct config *wanted,
		       struct error *error)
{
	const char *key = NULL;

	if (wanted->workers_line != 0 &&
	    memcmp(&wanted->workers, &vswitch->config.workers, sizeof(wanted->workers)) != 0)
		key = "workers";
	else if (wanted->api_socket[0] != '\0' &&
		 strcmp(wanted->api_socket, vswitch->config.api_socket) != 0)
		key = "api";
	if (key == NULL)
		return 0;
	return error_set(error, EBUSY,
			 "%s%s%s: cannot change while weftd runs; restart it for this",
			 file != NULL ? file : "", file != NULL ? ": " : "", key);
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
	result = move_to(vswitch, &next, error);
	if (result != 0) {
		struct error back;

		if (move_to(vswitch, &vswitch->config, &back) != 0)
			log_error("could not go back to the configuration before: %s", back.text);
		config_clear(&next);
		return result;
	}
	vswitch_close_given(&vswitch->config, &next);
	config_clear(&vswitch->config);
	vswitch->config = next;
	return 0;
}

json_t *vswitch_diff(const struct vswitch *vswitch, const struct config *wanted)
{
	struct config_change *changes;
	uint32_t count;
	json_t *json;

	if (config_diff(&vswitch->config, wanted, &changes, &count) != 0)
		return NULL;
	json = config_diff_to_json(changes, count);
	free(changes);
	return json;
}

/* A copy of the running configuration with room for one more port and network. */
static int config_edit_begin(const struct vswitch *vswitch, struct config *next)
{
	struct port_config *ports;
	struct network_config *networks;

	if (config_copy(next, &vswitch->config) != 0)
		return -ENOMEM;
	ports = realloc(next->ports, (next->port_count + 1) * sizeof(*ports));
	if (ports != NULL)
		next->ports = ports;
	networks = realloc(next->networks, (next->network_count + 1) * sizeof(*networks));
	if (networks != NULL)
		next->networks = networks;
	if (ports == NULL || networks == NULL) {
		config_clear(next);
		return -ENOMEM;
	}
	return 0;
}

static void config_remove_port(struct config *config, uint32_t i)
{
	memmove(&config->ports[i], &config->ports[i + 1],
		(config->port_count - i - 1) * sizeof(config->ports[0]));
	config->port_count--;
}

int vswitch_port_add(struct vswitch *vswitch, const struct port_config *port, struct error *error)
{
	struct config next;
	int result;

	if (config_find_port(&vswitch->config, port->name) != NULL)
		return error_set(error, EEXIST, "port '%s': there is one of this name", port->name);
	if (config_edit_begin(vswitch, &next) != 0)
		return error_set(error, ENOMEM, "out of memory");
	next.ports[next.port_count++] = *port;
	result = vswitch_apply(vswitch, NULL, &next, error);
	config_clear(&next);
	return result;
}

int vswitch_port_del(struct vswitch *vswitch, const char *name, struct error *error)
{
	const struct port_config *port = config_find_port(&vswitch->config, name);
	struct config next;
	int result;

	if (port == NULL)
		return error_set(error, ENOENT, "port '%s': there is none of this name", name);
	if (port->uplink)
		return error_set(error, EBUSY, "port '%s': is the uplink of network '%s'", name,
				 port->network);
	if (config_edit_begin(vswitch, &next) != 0)
		return error_set(error, ENOMEM, "out of memory");
	config_remove_port(&next, (uint32_t)(port - vswitch->config.ports));
	result = vswitch_apply(vswitch, NULL, &next, error);
	config_clear(&next);
	return result;
}

int vswitch_network_add(struct vswitch *vswitch, const struct network_config *network,
			const struct port_config *uplink, struct error *error)
{
	struct config next;
	int result;

	if (config_find_network(&vswitch->config, network->name) != NULL)
		return error_set(error, EEXIST, "network '%s': there is one of this name",
				 network->name);
	if (config_edit_begin(vswitch, &next) != 0)
		return error_set(error, ENOMEM, "out of memory");
	next.networks[next.network_count++] = *network;
	if (uplink != NULL)
		next.ports[next.port_count++] = *uplink;
	result = vswitch_apply(vswitch, NULL, &next, error);
	config_clear(&next);
	return result;
}

int vswitch_network_del(struct vswitch *vswitch, const char *name, struct error *error)
{
	const struct network_config *network = config_find_network(&vswitch->config, name);
	struct config next;
	uint32_t at;
	int result;

	if (network == NULL)
		return error_set(error, ENOENT, "network '%s': there is none of this name", name);
	for (uint32_t i = 0; i < vswitch->config.port_count; i++) {
		const struct port_config *port = &vswitch->config.ports[i];

		if (!port->uplink && strcmp(port->network, name) == 0)
			return error_set(error, EBUSY, "network '%s': port '%s' is still in it",
					 name, port->name);
	}
	at = (uint32_t)(network - vswitch->config.networks);
	if (config_edit_begin(vswitch, &next) != 0)
		return error_set(error, ENOMEM, "out of memory");
	memmove(&next.networks[at], &next.networks[at + 1],
		(next.network_count - at - 1) * sizeof(next.networks[0]));
	next.network_count--;
	for (uint32_t i = next.port_count; i-- > 0;) {
		if (strcmp(next.ports[i].network, name) == 0)
			config_remove_port(&next, i);
	}
	result = vswitch_apply(vswitch, NULL, &next, error);
	config_clear(&next);
	return result;
}
