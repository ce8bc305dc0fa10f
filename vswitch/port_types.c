/* The table of port types. A new type is one file and one row here. */
#include "vswitch/port.h"

#include <string.h>

const struct port_type *const port_types[] = {
	&port_vhost_user, &port_tap, &port_interface, &port_user, &port_pcap, &port_null, NULL,
};

const struct port_type *port_type_find(const char *name)
{
	for (const struct port_type *const *type = port_types; *type != NULL; type++) {
		if (strcmp((*type)->name, name) == 0)
			return *type;
	}
	return NULL;
}
