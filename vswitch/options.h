/* The keys of port types whose options are read apart from the port itself. Immutable. */
#ifndef WEFT_VSWITCH_OPTIONS_H
#define WEFT_VSWITCH_OPTIONS_H

#include "vswitch/config.h"
#include "vswitch/config_node.h"

/* Each type's `keys` and `defaults` (struct port_type). */
extern const struct config_key port_vhost_user_keys[];
void port_vhost_user_defaults(struct port_config *config);

extern const struct config_key port_tap_keys[];
void port_tap_defaults(struct port_config *config);

extern const struct config_key port_pcap_keys[];
void port_pcap_defaults(struct port_config *config);

extern const struct config_key port_user_keys[];
void port_user_defaults(struct port_config *config);

extern const struct config_key port_interface_keys[];
void port_interface_defaults(struct port_config *config);

#endif
