/* Records of the network's own names, pushed into a packet (RFC 1035, 3.3). All return false when
 * memory is short. Control thread, no state. */
#ifndef WEFT_ROUTE_DNS_RECORD_H
#define WEFT_ROUTE_DNS_RECORD_H

#include "route/dns_name.h"

#define DNS_GATEWAY_LABEL "gateway"
#define DNS_OWN_TTL	  30u /* seconds: leases and reservations change */

/* A or AAAA, into the answer section. */
bool dns_record_add_ip(ldns_pkt *packet, const struct dns_name *owner, const struct ip *ip);
bool dns_record_add_ptr(ldns_pkt *packet, const struct dns_name *owner,
			const struct dns_name *target);
/* The zone's own: the name server is the gateway. */
bool dns_record_add_ns(ldns_pkt *packet, const struct dns_name *zone);
bool dns_record_add_soa(ldns_pkt *packet, ldns_pkt_section section, const struct dns_name *zone);
/* What is said to ANY (RFC 8482, 4.2). */
bool dns_record_add_any(ldns_pkt *packet, const struct dns_name *owner);

#endif
