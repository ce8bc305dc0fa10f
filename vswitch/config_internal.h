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

/* The uplink's port. `keys` are those that stand beside the keys of the port's type:
 * config_port_keys in a bridge; those of a gateway's leg read into whatever *uplink is the first
 * member of. */
int config_read_uplink(const char *file, const struct config_node *node,
		       const struct network_config *network, const struct config_key *keys,
		       struct port_config *uplink, struct error *error);

/* Whether `text` can name a network or port; node is where it stands. */
int config_read_name(const char *file, const struct config_node *node, const char *text,
		     struct error *error);

/* Adds "FILE:LINE: WHAT.OWNER.KEY: TEXT" to *all; without FILE:LINE when there is none, without KEY
 * when it is NULL. */
void config_check_report(const char *file, unsigned line, const char *what, const char *owner,
			 const char *key, const char *text, struct error *all);

/* The part of config_check() that is about gateways; `sorted` are the networks by name. Adds what
 * is wrong to *all. 0 or -ENOMEM. */
int config_check_gateways(const char *file, const struct config *config,
			  const struct network_config *const *sorted, struct error *all);

/* The keys every port may have, whatever its type ("vlan", ...), and those of a port that is no
 * uplink ("network", ...); each ends with name NULL. */
extern const struct config_key config_port_keys[];
extern const struct config_key config_guest_port_keys[];

#endif
