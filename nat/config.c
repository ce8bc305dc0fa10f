/* Names of what a translator is told (config.h), for the configuration file and for people. Any
 * thread. */
#include "nat/config.h"

#include <stddef.h>

const char *const nat_filtering_names[] = {
	[NAT_FILTER_ADDRESS_AND_PORT] = "address-and-port-dependent",
	[NAT_FILTER_ADDRESS] = "address-dependent",
	[NAT_FILTER_ENDPOINT_INDEPENDENT] = "endpoint-independent",
	NULL,
};
