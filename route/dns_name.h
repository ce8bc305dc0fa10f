/* Domain names as they stand on the wire, uncompressed: labels with their lengths and the root's
 * zero (RFC 1035, 3.1). Plain values, any thread. Functions that compare names want both in lower
 * case, which is how they are made here unless said otherwise. */
#ifndef WEFT_ROUTE_DNS_NAME_H
#define WEFT_ROUTE_DNS_NAME_H

#include "base/ip.h"

#include <ldns/ldns.h>
#include <stdbool.h>
#include <stdint.h>

#define DNS_NAME_MAX  255u
#define DNS_LABEL_MAX 63u

struct dns_name {
	uint8_t length; /* of bytes, 1 for the root */
	uint8_t bytes[DNS_NAME_MAX];
};

/* "a.b" or "a.b."; "" and "." are the root. No escapes. 0 or -EINVAL. */
int dns_name_from_text(const char *text, struct dns_name *name);

/* `label` before `suffix`; 0, or -EINVAL when the label is empty or anything is too long. */
int dns_name_join(const char *label, const struct dns_name *suffix, struct dns_name *name);

/* The first label when it is made of letters, digits, hyphens and underscores alone. */
bool dns_name_first_label(const struct dns_name *name, char label[DNS_LABEL_MAX + 1]);

/* Without its first `count` labels, of which it has as many. */
void dns_name_chop(const struct dns_name *name, uint32_t count, struct dns_name *out);

void dns_name_to_lower(struct dns_name *name);
uint32_t dns_name_label_count(const struct dns_name *name);		  /* 0 for the root */
int dns_name_compare(const struct dns_name *a, const struct dns_name *b); /* some total order */
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);
/* The zone's own name or one below it. */
bool dns_name_within(const struct dns_name *name, const struct dns_name *zone);

/* From and to libldns; its case stays. From: false when it is no name. To: NULL when memory is
 * short; the caller's. */
bool dns_name_from_rdf(const ldns_rdf *rdf, struct dns_name *name);
ldns_rdf *dns_name_to_rdf(const struct dns_name *name);

/* A name below in-addr.arpa or ip6.arpa (RFC 1035, 3.5; RFC 3596, 2.5): the address bits that it
 * spells. Labels before those, or ones that are no numbers, make it inexact. False for names
 * elsewhere. */
struct dns_reverse {
	struct ip_prefix prefix;
	bool inexact;
};
bool dns_name_to_reverse(const struct dns_name *name, struct dns_reverse *reverse);

#endif
