/* The names of a network itself: its leases, the hosts of the configuration, the gateway, and the
 * reverse zones of its prefixes. Control thread. */
#ifndef WEFT_ROUTE_DNS_LOCAL_H
#define WEFT_ROUTE_DNS_LOCAL_H

#include "route/dns_message.h"

struct dns_local;

enum dns_local_verdict {
	DNS_LOCAL_OURS,	   /* the packet has the answer */
	DNS_LOCAL_FOREIGN, /* not for us to know */
	DNS_LOCAL_FAILED,  /* memory is short */
};

/* Everything is copied but the context of `names`. NULL when memory is short. */
struct dns_local *dns_local_create(const struct dns_config *config, const struct dns_names *names,
				   const struct ip_prefix *networks, uint32_t network_count);
void dns_local_destroy(struct dns_local *local);

/* With DNS_LOCAL_OURS *packet is the caller's: sections, response code and AA. What is in our
 * domain or in a reverse zone of ours is never foreign. ANY has the answer of RFC 8482, 4.2. */
enum dns_local_verdict dns_local_answer(const struct dns_local *local,
					const struct dns_question *question, ldns_pkt **packet);

#endif
