/* What a network's translator is told: plain values; arrays belong to the struct's owner. */
#ifndef WEFT_NAT_CONFIG_H
#define WEFT_NAT_CONFIG_H

#include "base/ip.h"

#include <stdbool.h>
#include <stdint.h>

/* RFC 4787, 5. */
enum nat_filtering {
	NAT_FILTER_ADDRESS_AND_PORT,
	NAT_FILTER_ADDRESS,
	NAT_FILTER_ENDPOINT_INDEPENDENT,
};

/* RFC 4787's words for them, by value; ends with NULL. */
extern const char *const nat_filtering_names[];

enum nat_forward_protocol { NAT_FORWARD_TCP = 1, NAT_FORWARD_UDP = 2, NAT_FORWARD_BOTH = 3 };

/* An explicit forward: [listen_first, listen_last] on an address outside goes to the same number of
 * ports of a guest. */
struct nat_forward {
	uint8_t protocol;  /* enum nat_forward_protocol */
	bool has_address;  /* else every address of the outside */
	struct ip address; /* listened on */
	uint16_t listen_first, listen_last;
	struct ip to;
	uint16_t to_first;
	bool has_source; /* who may use it; else anybody */
	struct ip_prefix source;
	unsigned line; /* of the configuration file, 0: added by command */
};

struct nat_config {
	bool enabled;
	enum nat_filtering filtering;
	uint32_t pool_count;	/* addresses outside; 0: the uplink's own */
	struct ip *pool;	/* single addresses, either family */
	uint32_t session_limit; /* in all */
	uint32_t guest_session_limit;
	/* The host listens for the forwards and passes on what it hears: which of its addresses
	 * that came to, the translator never sees. */
	bool host_listens;
	uint32_t forward_count;
	struct nat_forward *forwards;
};

#endif
