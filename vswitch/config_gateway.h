/* How a network is read, shared by the files that read its gateway (config_gateway*.c) and
 * config_network.c, and by nobody else.
 *
 * A network is read in two steps. First each key by itself, in the order of the file, into a draft:
 * the readers know nothing of other keys. Then the finishers, in the order of what depends on what:
 * they fill in defaults, which depend on the mode and on other keys, and check what must go
 * together. All errors of the first step are found, then all of the second. Control thread, weftd
 * --check, fuzzer. */
#ifndef WEFT_VSWITCH_CONFIG_GATEWAY_H
#define WEFT_VSWITCH_CONFIG_GATEWAY_H

#include "vswitch/config_internal.h"
#include "vswitch/config_values.h"
#include "vswitch/gateway_config.h"

/* What the file says of a service. */
enum config_switch { CONFIG_UNSAID, CONFIG_OFF, CONFIG_ON };

struct network_draft {
	struct network_config network;
	const struct mode_row *mode;
	const struct config_node *node; /* the network's mapping */
	bool quota_given;
	struct gateway_config *gateway; /* also where it turns out that there is none */
	bool router_given;		/* dhcp.router */
	bool lifetime_given;		/* ra.lifetime */
	bool dns_forward;		/* dns.forward */
	enum config_switch dhcp, dhcp6, advertise, dns, antispoof;
	struct port_config uplink;
	bool has_uplink;
};

/* The keys of a network that are about its gateway; `out` is the draft. Ends with name NULL. */
extern const struct config_key config_gateway_keys[];

/* The second step, when the first found no error. Where the mode has no gateway, there is none in
 * the network afterwards; else network.gateway is the draft's. */
int config_gateway_finish(const char *file, struct network_draft *draft, struct error *error);

/* Readers of parts, for the table of keys. */
int config_read_dhcp(const char *file, const struct config_node *value, void *draft,
		     struct error *error);
int config_read_dhcp_hosts(const char *file, const struct config_node *value, void *draft,
			   struct error *error);
int config_read_dhcp_options(const char *file, const struct config_node *value, void *draft,
			     struct error *error);
int config_read_dhcp6(const char *file, const struct config_node *value, void *draft,
		      struct error *error);
int config_read_advertise(const char *file, const struct config_node *value, void *draft,
			  struct error *error);
int config_read_dns(const char *file, const struct config_node *value, void *draft,
		    struct error *error);
int config_read_nat(const char *file, const struct config_node *value, void *draft,
		    struct error *error);
int config_read_forwards(const char *file, const struct config_node *value, void *draft,
			 struct error *error);
int config_read_routes(const char *file, const struct config_node *value, void *draft,
		       struct error *error);
int config_read_peers(const char *file, const struct config_node *value, void *draft,
		      struct error *error);

/* The uplink of a network whose uplink is its gateway's other leg. */
int config_read_gateway_uplink(const char *file, const struct config_node *value,
			       struct network_draft *draft, struct error *error);

/* Finishers, in their order. */
int config_finish_uplink(const char *file, struct network_draft *draft, struct error *error);
int config_finish_dns(const char *file, struct network_draft *draft, struct error *error);
int config_finish_dhcp(const char *file, struct network_draft *draft, struct error *error);
int config_finish_dhcp_hosts(const char *file, struct network_draft *draft, struct error *error);
int config_finish_dhcp6(const char *file, struct network_draft *draft, struct error *error);
int config_finish_advertise(const char *file, struct network_draft *draft, struct error *error);
int config_finish_nat(const char *file, struct network_draft *draft, struct error *error);
int config_finish_routes(const char *file, struct network_draft *draft, struct error *error);

/* "false" and "true" switch a service; anything else is a mapping of `keys`, which switches it on.
 * `out` of the keys is the draft. */
int config_read_service(const char *file, const struct config_node *value, const char *what,
			const struct config_key *keys, enum config_switch *state,
			struct network_draft *draft, struct error *error);

/* The node of a key within keys of the network ("dhcp", "range"), the nearest one there is. */
const struct config_node *config_draft_node(const struct network_draft *draft, const char *key,
					    const char *inner);
/* The i-th value of what config_value_each() has read. */
const struct config_node *config_draft_value(const struct config_node *node, uint32_t i);

/* Appends [first, last], cut in two around `without`. */
int config_add_ranges(struct ip_range **ranges, uint32_t *count, const struct ip *first,
		      const struct ip *last, const struct ip *without, struct error *error);

/* Ranges of a DHCP server lie among the hosts of one of the gateway's prefixes, leave the gateway
 * out, and do not overlap. */
int config_check_ranges(const char *file, const struct config_node *node,
			const struct gateway_config *gateway, const struct ip_range *ranges,
			uint32_t count, struct error *error);

/* Whether `ip` can be a guest's: within one of the gateway's prefixes, not the gateway itself, nor
 * the network's or broadcast address; "" or what is wrong with it, static. */
const char *config_guest_fault(const struct gateway_config *gateway, const struct ip *ip);

#endif
