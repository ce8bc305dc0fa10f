/* Answers of resolvers: checked, and reduced to what was asked. Control thread, no state. */
#ifndef WEFT_ROUTE_DNS_ANSWER_H
#define WEFT_ROUTE_DNS_ANSWER_H

#include "route/dns_message.h"

/* Reads what came from a resolver. 0 and the packet (the caller's), -ENOENT when it is no answer to
 * this question with this id (RFC 5452, 9.1), or -EBADMSG. */
int dns_answer_read(const uint8_t *message, size_t length, const struct dns_question *question,
		    uint16_t id, ldns_pkt **packet);

/* A new packet with what of an answer belongs to the question: the records of its name, along the
 * chain of aliases to the type; without data the zone's SOA; with DO the proofs too. TTLs are
 * bounded. *ttl is how many seconds it may be kept, 0: not at all (RFC 2308, 5; RFC 2181, 8). NULL
 * when memory is short. */
ldns_pkt *dns_answer_filter(const ldns_pkt *packet, const struct dns_question *question,
			    uint32_t *ttl);

/* Takes `seconds` off all TTLs, down to 0. */
void dns_answer_age(ldns_pkt *packet, uint32_t seconds);

#endif
