/* The configuration as data: what a YAML file says, checked, with the line each thing came from.
 *
 * Control thread, weftd --check, and the fuzzer. Everything here is a plain value with no pointers
 * into the running switch: a config is parsed, compared (config_diff.h) and applied, or refused as
 * a whole.
 *
 * Every error reads "FILE:LINE: KEY: what is wrong; what is allowed"; a text with several errors
 * gets a line for each. With file NULL (a change that comes from no file) it starts with KEY. */
#ifndef WEFT_VSWITCH_CONFIG_H
#define WEFT_VSWITCH_CONFIG_H

#include "base/error.h"
#include "base/ip.h"
#include "base/mac.h"
#include "bridge/vlan.h"
#include "vhost-user/device.h"

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_NAME_MAX	   31u /* letters, digits, '-', '_' and '.'; of networks and ports */
#define CONFIG_PATH_MAX	   4096u
#define CONFIG_SOCKET_MAX  107u /* sockaddr_un */
#define CONFIG_FILE_MAX	   511u /* capture files: every port's configuration has room for two */
#define CONFIG_GROUP_MAX   32u	/* as useradd(8) has it */
#define CONFIG_PORTS_MAX   4096u
#define CONFIG_WORKERS_MAX 64u

enum config_mode {
	CONFIG_MODE_BRIDGE,
	CONFIG_MODE_NAT,
	CONFIG_MODE_ROUTED,
	CONFIG_MODE_ISOLATED,
	CONFIG_MODE_COUNT,
};

enum gateway_presence { GATEWAY_NEVER, GATEWAY_IF_ADDRESSED, GATEWAY_ALWAYS };

/* What a mode is made of; whoever wants to know looks here and not at the mode's name. */
struct mode_row {
	const char *name;
	bool may_have_uplink;
	bool uplink_in_segment; /* else the uplink is the gateway's other leg */
	enum gateway_presence gateway;
	bool routes;	 /* the gateway forwards between its legs, and to peers */
	bool translates; /* what leaves by the uplink */
	bool peers;	 /* may reach other networks of modes with this flag */
};

extern const struct mode_row config_modes[CONFIG_MODE_COUNT]; /* by enum config_mode */

struct gateway_config;
struct port_type;

struct vhost_user_options {
	char path[CONFIG_SOCKET_MAX + 1];
	enum vhost_role role;
	uint16_t mode;			  /* of the socket's file; 0: what the umask leaves */
	char group[CONFIG_GROUP_MAX + 1]; /* of the socket's file; "": weftd's own */
	uint16_t queues;		  /* pairs */
	uint16_t mtu;
};

#define CONFIG_TAP_QUEUES_MAX 64u

struct tap_options {
	char name[IFNAMSIZ]; /* empty with fds */
	bool existing; /* attach to a persistent tap that somebody made; else it must not exist */
	/* Open files that were given (inherited, or passed over the API socket), one a queue. */
	uint16_t fd_count;
	int fds[CONFIG_TAP_QUEUES_MAX];
	uint16_t queues; /* 1 with fds, or their number */
	bool passed;	 /* the fds over the API: its client does not know their numbers */
};

enum pcap_speed { PCAP_SPEED_FULL, PCAP_SPEED_RECORDED };

struct pcap_options {
	char record[CONFIG_FILE_MAX + 1]; /* "": what arrives is counted and let go */
	char replay[CONFIG_FILE_MAX + 1]; /* "": nothing is sent into the network */
	enum pcap_speed speed;
	uint32_t loops; /* times the file is replayed; 0: for ever */
};

/* Not written down: made for networks that have a gateway. */
struct leg_options {
	uint8_t side; /* enum gateway_side */
};

struct user_options {
	struct ip_prefix subnet, subnet6; /* networks, host bits clear */
	bool host_loopback; /* the gateway's address reaches services on the host's loopback */
	uint16_t mtu;	    /* what it sends: no larger than the network behind a gateway takes */
};

enum interface_driver { INTERFACE_DRIVER_PACKET, INTERFACE_DRIVER_XDP };

struct interface_options {
	char name[IFNAMSIZ];
	enum interface_driver driver;
	uint16_t queues;
	bool allow_default_route; /* may be the one of the host's default route */
};

struct port_config {
	char name[CONFIG_NAME_MAX + 1];
	char network[CONFIG_NAME_MAX + 1];
	const struct port_type *type;
	struct vlan_membership vlan;
	bool isolated;
	bool antispoof_off; /* the guest may send from any address, whatever the network says */
	bool has_mac;	    /* the guest's, for qemu-args; two ports never share one */
	struct mac mac;
	union {
		struct vhost_user_options vhost_user;
		struct tap_options tap;
		struct pcap_options pcap;
		struct leg_options leg;
		struct user_options user;
		struct interface_options interface;
	} options;
	/* Of the port and of its keys, as far as what they say is only found wrong beside others'
	 * or when the port is opened; 0: from no file, or without that key. */
	unsigned line;
	struct {
		unsigned network, mac, type;
	} lines;
	bool uplink; /* made from a network's `uplink:` (named "NETWORK.uplink"), not from `ports:`
		      */
};

struct network_config {
	char name[CONFIG_NAME_MAX + 1];
	enum config_mode mode;
	bool transparent;
	uint32_t mac_limit;
	uint32_t mac_quota;
	uint32_t mac_age; /* seconds */
	unsigned line;
	struct gateway_config *gateway; /* NULL: the network has none. A reference */
};

enum config_poll { CONFIG_POLL_ADAPTIVE, CONFIG_POLL_BUSY };

struct workers_config {
	uint32_t count;		      /* >= 1 */
	int cpus[CONFIG_WORKERS_MAX]; /* -1: not pinned */
	enum config_poll poll;
};

struct config {
	struct network_config *networks;
	uint32_t network_count;
	struct port_config *ports; /* uplinks included */
	uint32_t port_count;
	struct workers_config workers;
	unsigned workers_line;			/* 0: not given, the default */
	char api_socket[CONFIG_SOCKET_MAX + 1]; /* "" : the default place */
	unsigned api_line;
};

/* An empty configuration: no networks, no ports, one adaptive worker that is not pinned. */
void config_init(struct config *config);
void config_clear(struct config *config);

/* Reads a whole configuration from `text` (`length` bytes; `file` is its name for errors). On
 * success *config is filled and owned by the caller (config_clear); on error it is left empty, and
 * *error has every detail. 0, -EINVAL for what is wrong with the text, -ENOMEM. */
int config_parse(const char *file, const char *text, size_t length, struct config *config,
		 struct error *error);

/* The same from a file; also -errno of opening and reading it. At most 4 MiB. */
int config_load(const char *file, struct config *config, struct error *error);

/* One port / one network from the text of its YAML mapping ("{network: lab, vhost-user:
 * /run/a.sock}"), for `port add` and `network add`. Checks names and values; whether they fit the
 * running configuration (network exists, name and path are free) is config_check()'s business. A
 * network's uplink becomes a port in *uplink, and *has_uplink; the caller clears the network with
 * network_config_clear(). */
int config_parse_port(const char *name, const char *text, struct port_config *port,
		      struct error *error);
int config_parse_network(const char *name, const char *text, struct network_config *network,
			 struct port_config *uplink, bool *has_uplink, struct error *error);

/* Checks between the parts: duplicate names, unknown networks, sockets, taps, record files or MACs
 * used twice, an isolated network's uplink, too many ports. `file` names the source in errors.
 * config_parse() has done this; a caller that makes a config from parts does it. */
int config_check(const char *file, const struct config *config, struct error *error);

/* Puts before an error's text where the port was written: "FILE:LINE: ports.NAME.TYPE: ", without
 * FILE:LINE when file is NULL. */
void config_error_place(const char *file, const struct port_config *port, struct error *error);

/* Deep copy, but for gateways, which are immutable and shared. 0 or -ENOMEM. */
int config_copy(struct config *to, const struct config *from);

const struct network_config *config_find_network(const struct config *config, const char *name);
const struct port_config *config_find_port(const struct config *config, const char *name);

/* A network's configuration by itself: a copy takes a reference, which is dropped by clearing it. A
 * plain assignment does neither. */
void network_config_copy(struct network_config *to, const struct network_config *from);
void network_config_clear(struct network_config *network);

/* Equal but for the line numbers. */
bool network_config_equal(const struct network_config *a, const struct network_config *b);
bool port_config_equal(const struct port_config *a, const struct port_config *b);

const char *config_mode_name(enum config_mode mode);
const char *config_poll_name(enum config_poll poll);

/* A network's uplink is the port "NETWORK.uplink"; no other port's name may end so. */
#define CONFIG_UPLINK_SUFFIX ".uplink"

#endif
