/* What the configuration says of a network's gateway: everything beyond the segment itself.
 *
 * An immutable object with references, because it owns arrays: a network's configuration is copied
 * by value and holds a pointer to it (network_config_copy(), network_config_clear()). Who needs
 * another one makes a copy, edits that before anybody else has it, and puts it in the old one's
 * place. Control thread; workers never see it. */
#ifndef WEFT_VSWITCH_GATEWAY_CONFIG_H
#define WEFT_VSWITCH_GATEWAY_CONFIG_H

#include "base/ip.h"
#include "base/mac.h"
#include "nat/config.h"
#include "route/dhcp_config.h"
#include "route/dns_config.h"
#include "route/ipv6_config.h"
#include "vswitch/config.h"

#include <stdbool.h>
#include <stdint.h>

#define GATEWAY_ADDRESSES_MAX 8u

struct gateway_route {
	struct ip_prefix to;
	struct ip via;
};

struct gateway_peer {
	char name[CONFIG_NAME_MAX + 1];
};

/* The gateway's leg outside: where its addresses there come from. With none of dhcp, slaac and
 * addresses the port's type knows them itself (user). */
struct uplink_config {
	bool present;			 /* there is a port "NETWORK.uplink" */
	bool dhcp;			 /* an IPv4 address by DHCP */
	bool slaac;			 /* IPv6 addresses by router advertisements */
	bool has_mac;			 /* else whoever makes the leg chooses one */
	bool has_gateway4, has_gateway6; /* given, else by DHCP and router advertisements */
	uint8_t address_count;
	uint16_t mtu; /* 0: the link's own */
	struct mac mac;
	struct ip_prefix addresses[GATEWAY_ADDRESSES_MAX]; /* static ones, both families */
	struct ip gateway4, gateway6;
	struct ip_list dns; /* empty: by DHCP and router advertisements */
};

/* Where things were written, 0: not in a file. Not compared. */
struct gateway_lines {
	unsigned ipv4, ipv6, mac, uplink, peers;
};

struct gateway_config {
	uint32_t references; /* gateway_config_ref() */
	struct gateway_lines lines;
	uint8_t address_count;
	struct ip_prefix addresses[GATEWAY_ADDRESSES_MAX]; /* host bits are the gateway's own;
							    * IPv4 ones first */
	struct mac mac; /* of the inside leg: given, or made from the network's name */
	uint16_t mtu;	/* of the inside leg */
	bool antispoof; /* ports may say otherwise (struct port_config) */
	bool mss_clamp;
	struct dhcp_config dhcp; /* the hosts of DHCPv6 too */
	struct dhcp6_config dhcp6;
	struct advertise_config advertise;
	struct dns_config dns;
	struct nat_config nat; /* enabled in modes that translate */
	uint32_t route_count;
	struct gateway_route *routes;
	uint32_t peer_count;
	struct gateway_peer *peers; /* sorted by name */
	struct uplink_config uplink;
};

/* An empty one with one reference, every byte 0, to be filled by its maker: byte by byte, as two of
 * them are compared with their padding. NULL when memory is short. */
struct gateway_config *gateway_config_create(void);

/* One more reference; returns its argument. Both take NULL. */
struct gateway_config *gateway_config_ref(struct gateway_config *gateway);
void gateway_config_unref(struct gateway_config *gateway);

/* A deep copy with one reference, for editing. NULL when memory is short. */
struct gateway_config *gateway_config_copy(const struct gateway_config *gateway);

/* Deep, without the lines things were written on. Two NULLs are equal. */
bool gateway_config_equal(const struct gateway_config *a, const struct gateway_config *b);

/* Calls `found` with each key of the configuration file whose value differs; static texts. One side
 * may be NULL. */
void gateway_config_compare(const struct gateway_config *a, const struct gateway_config *b,
			    void (*found)(void *context, const char *key), void *context);

/* The first of the gateway's prefixes that holds `ip`, or NULL. */
const struct ip_prefix *gateway_config_find_prefix(const struct gateway_config *gateway,
						   const struct ip *ip);

/* Whether it has an address of the family. */
bool gateway_config_has_ipv4(const struct gateway_config *gateway);
bool gateway_config_has_ipv6(const struct gateway_config *gateway);

#endif
