/* Shared by the files that read a configuration (config*.c), and by nobody else. Each function
 * reads one node into a plain value; on error *error has file, line and key. 0, -EINVAL, -ENOMEM.
 */
#ifndef WEFT_VSWITCH_CONFIG_INTERNAL_H
#define WEFT_VSWITCH_CONFIG_INTERNAL_H

#include "vswitch/config.h"
#include "vswitch/config_node.h"

/* The root of a file. *config is as config_init() left it; on error too it may hold parts, which
 * the caller clears. */
int config_read(const char *file, const struct config_node *root, struct config *config,
		struct error *error);

/* One port from its mapping; names that belong to uplinks are refused. */
int config_read_port(const char *file, const struct config_node *node, const char *name,
		     struct port_config *port, struct error *error);

/* One network from its mapping, and its uplink when it has one. */
int config_read_network(const char *file, const struct config_node *node, const char *name,
			struct network_config *network, struct port_config *uplink,
			bool *has_uplink, struct error *error);
int config_read_uplink(const char *file, const struct config_node *node,
		       const struct network_config *network, struct port_config *uplink,
		       struct error *error);

/* Whether `text` can name a network or port; node is where it stands. */
int config_read_name(const char *file, const struct config_node *node, const char *text,
		     struct error *error);

/* The keys every port may have, whatever its type ("network", "vlan", ...); ends with name NULL. */
extern const struct config_key config_port_keys[];

#endif
