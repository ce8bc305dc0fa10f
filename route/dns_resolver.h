/* Which resolvers are asked: those of the configuration, or the host's own. Control thread. */
#ifndef WEFT_ROUTE_DNS_RESOLVER_H
#define WEFT_ROUTE_DNS_RESOLVER_H

#include "route/dns.h"

struct dns_resolver {
	struct ip ip;
	uint32_t scope; /* interface index of a link-local address, else 0 */
	uint16_t port;
};

struct dns_resolvers;

/* `forwarders` are copied; when there are none, the file of `path` (it must outlive this) is read,
 * and again when it has changed: looked at once a second at most. NULL when memory is short. */
struct dns_resolvers *dns_resolvers_create(const struct ip_list *forwarders, const char *path,
					   uint16_t port);
void dns_resolvers_destroy(struct dns_resolvers *resolvers);

/* Addresses of our own: never given out as resolvers. 0 or -ENOMEM, then the former list stays. */
int dns_resolvers_set_own(struct dns_resolvers *resolvers, const struct ip *ips, uint32_t count);

/* How many there are to ask, at most DHCP_LIST_MAX; `now` is milliseconds. */
uint32_t dns_resolvers_count(struct dns_resolvers *resolvers, uint64_t now);

/* One of them: `index` is below what was counted last. */
const struct dns_resolver *dns_resolvers_get(const struct dns_resolvers *resolvers, uint32_t index);

#endif
