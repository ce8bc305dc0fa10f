/* The ports of gateways, which nobody writes down: added to a configuration before it is applied or
 * compared (gateway.h). Control thread. */
#include "vswitch/gateway.h"
#include "vswitch/port_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gateway_is_leg(const struct port_config *port)
{
	return port->type == &port_gateway;
}

static bool wants_leg(const struct network_config *network, enum gateway_side side)
{
	const struct mode_row *mode = &config_modes[network->mode];

	if (network->gateway == NULL)
		return false;
	return side == GATEWAY_INNER ||
	       (network->gateway->uplink.present && !mode->uplink_in_segment);
}

static void make_leg(struct port_config *port, const struct network_config *network,
		     enum gateway_side side)
{
	const char *suffix = side == GATEWAY_INNER ? GATEWAY_INNER_SUFFIX : GATEWAY_OUTER_SUFFIX;

	memset(port, 0, sizeof(*port));
	/* Checked when the configuration was read: it fits. */
	snprintf(port->name, sizeof(port->name), "%.*s%s", (int)(CONFIG_NAME_MAX - strlen(suffix)),
		 network->name, suffix);
	memcpy(port->network, network->name, sizeof(port->network));
	port->type = &port_gateway;
	port->line = network->line;
	port->options.leg.side = (uint8_t)side;
}

int gateway_complete_config(struct config *config)
{
	struct port_config *ports =
	    calloc(config->port_count + 2ul * config->network_count + 1, sizeof(*ports));
	uint32_t count = 0;

	if (ports == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < config->port_count; i++) {
		if (!gateway_is_leg(&config->ports[i]))
			ports[count++] = config->ports[i];
	}
	for (uint32_t i = 0; i < config->network_count; i++) {
		for (unsigned side = 0; side < GATEWAY_SIDES; side++) {
			if (wants_leg(&config->networks[i], (enum gateway_side)side))
				make_leg(&ports[count++], &config->networks[i],
					 (enum gateway_side)side);
		}
	}
	free(config->ports);
	config->ports = ports;
	config->port_count = count;
	return 0;
}
