/* What a network's DHCPv4 server is told (RFC 2131, 2132): plain values, made by whoever reads the
 * configuration and never changed afterwards. Arrays belong to the struct's owner. */
#ifndef WEFT_ROUTE_DHCP_CONFIG_H
#define WEFT_ROUTE_DHCP_CONFIG_H

#include "base/ip.h"
#include "base/mac.h"

#include <stdbool.h>
#include <stdint.h>

#define DHCP_NAME_MAX	63u  /* one DNS label; host names */
#define DHCP_DOMAIN_MAX 253u /* a whole DNS name */
#define DHCP_CLIENT_MAX 130u /* bytes of a client identifier; DUIDs end there */
#define DHCP_LIST_MAX	8u   /* addresses in one option */
#define DHCP_FILE_MAX	127u /* BOOTP's file field with its NUL is 128 */
#define DHCP_SERVER_MAX 63u  /* BOOTP's sname */

struct ip_range {
	struct ip first, last; /* both included, one family */
};

/* A reservation. A guest is known by its MAC, else its client identifier, else the host name it
 * sends (option 12): the first that is given here must fit. */
struct dhcp_host {
	char name[DHCP_NAME_MAX + 1]; /* unique; also its name in DNS */
	bool has_mac;
	struct mac mac;
	uint8_t client_length; /* 0: not known by client identifier (option 61; DUID in DHCPv6) */
	uint8_t client[DHCP_CLIENT_MAX];
	bool has_ip4, has_ip6;
	struct ip ip4, ip6;
};

struct dhcp_route {
	struct ip_prefix to;
	struct ip via;
};

/* Any other option, given by number and its bytes on the wire. */
struct dhcp_option {
	uint8_t code;
	uint8_t length;
	uint8_t bytes[255];
};

struct ip_list {
	uint8_t count;
	struct ip ips[DHCP_LIST_MAX];
};

struct dhcp_config {
	bool enabled;
	uint32_t lease_time; /* seconds */
	uint32_t range_count;
	struct ip_range *ranges; /* within the network's prefix, without its gateway */
	uint32_t host_count;
	struct dhcp_host *hosts; /* both families, both servers */
	bool no_router;		 /* leave out option 3 */
	struct ip_list routers;	 /* empty: the gateway itself */
	struct ip_list dns;	 /* empty: the gateway when it serves DNS, else none */
	struct ip_list ntp;
	char domain[DHCP_DOMAIN_MAX + 1]; /* option 15; "" none */
	uint32_t search_count;		  /* option 119 */
	char (*search)[DHCP_DOMAIN_MAX + 1];
	uint16_t mtu; /* option 26; 0: not sent */
	uint32_t route_count;
	struct dhcp_route *routes; /* option 121 */
	struct ip next_server;	   /* siaddr and option 66 when specified */
	bool has_next_server;
	char boot_file[DHCP_FILE_MAX + 1];
	char server_name[DHCP_SERVER_MAX + 1];
	uint32_t option_count;
	struct dhcp_option *options; /* vendor options and the like */
};

#endif
