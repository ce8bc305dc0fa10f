/* What a network's router advertisements (RFC 4861, 8106) and its DHCPv6 server (RFC 8415) are
 * told: plain values; arrays belong to the struct's owner. Reservations stand in dhcp_config.h. */
#ifndef WEFT_ROUTE_IPV6_CONFIG_H
#define WEFT_ROUTE_IPV6_CONFIG_H

#include "base/ip.h"
#include "route/dhcp_config.h"

enum dhcp6_mode {
	DHCP6_OFF,	 /* neither flag in advertisements */
	DHCP6_STATELESS, /* O flag: addresses by SLAAC, options from us */
	DHCP6_STATEFUL,	 /* M and O flags: addresses from us; the prefix is not autonomous */
};

struct advertise_config {
	bool enabled;
	uint32_t interval;	  /* seconds between unsolicited ones, at most: 4 to 1800 */
	uint32_t router_lifetime; /* seconds; 0: no default router */
	uint32_t preferred_lifetime, valid_lifetime; /* of the prefix, seconds */
	uint16_t mtu;				     /* 0: not sent */
	struct ip_list dns;    /* RDNSS; empty: the gateway when it serves DNS */
	uint32_t search_count; /* DNSSL */
	char (*search)[DHCP_DOMAIN_MAX + 1];
};

struct dhcp6_config {
	enum dhcp6_mode mode;
	uint32_t lease_time; /* valid lifetime, seconds; preferred is half of it */
	uint32_t range_count;
	struct ip_range *ranges;
	struct ip_list dns; /* empty: the gateway when it serves DNS */
	struct ip_list ntp;
	uint32_t search_count;
	char (*search)[DHCP_DOMAIN_MAX + 1];
};

#endif
