/* Adding and removing one port or network of the running switch (vswitch_port_add() and its like of
 * switch.h): the running configuration is copied, edited, and applied like a file. API server,
 * control thread. */
#include "vswitch/gateway.h"
#include "vswitch/switch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	if (gateway_is_leg(port))
		return error_set(error, EBUSY, "port '%s': is the gateway of network '%s'", name,
				 port->network);
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
	network_config_copy(&next.networks[next.network_count++], network);
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

		if (!port->uplink && !gateway_is_leg(port) && strcmp(port->network, name) == 0)
			return error_set(error, EBUSY, "network '%s': port '%s' is still in it",
					 name, port->name);
	}
	at = (uint32_t)(network - vswitch->config.networks);
	if (config_edit_begin(vswitch, &next) != 0)
		return error_set(error, ENOMEM, "out of memory");
	network_config_clear(&next.networks[at]);
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
