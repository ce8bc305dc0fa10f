/* What a network's DNS forwarder is told: plain values; arrays belong to the struct's owner. */
#ifndef WEFT_ROUTE_DNS_CONFIG_H
#define WEFT_ROUTE_DNS_CONFIG_H

#include "route/dhcp_config.h"

struct dns_host {
	char name[DHCP_DOMAIN_MAX + 1]; /* relative names are in `domain` */
	struct ip ip;			/* several rows for several addresses */
};

struct dns_config {
	bool enabled;
	char domain[DHCP_DOMAIN_MAX + 1]; /* leases are HOST.domain; "": names of leases alone */
	uint32_t host_count;
	struct dns_host *hosts;
	bool no_forward;	   /* answers its own names only (isolated networks) */
	struct ip_list forwarders; /* empty: those of the host's /etc/resolv.conf */
	uint32_t cache_size;	   /* answers kept */
};

#endif
