/* Queries from clients taken apart, and the answers to them put together, with libldns (RFC 1035,
 * 4; RFC 6891). Control thread; no state but counters. */
#ifndef WEFT_ROUTE_DNS_MESSAGE_H
#define WEFT_ROUTE_DNS_MESSAGE_H

#include "route/dns.h"
#include "route/dns_name.h"

#define DNS_HEADER_LENGTH 12u

/* What a client asks; the class is IN. */
struct dns_question {
	uint16_t id;
	uint16_t type;
	bool valid;		/* name and type are there: an answer repeats them */
	struct dns_name name;	/* in the client's case */
	struct dns_name lower;	/* the same in lower case */
	bool recursion_desired; /* RD */
	bool checking_disabled; /* CD */
	bool edns;
	bool dnssec_ok;	   /* DO */
	uint16_t udp_size; /* that the client takes, at least 512 */
	uint8_t opcode;
};

/* Takes a message apart. Returns 0, the response code that it deserves, or -1 when it is to be
 * ignored: too short for a header, or itself a response. */
int dns_question_parse(const uint8_t *message, size_t length, struct dns_question *question);

/* What tells one question to resolvers and in the cache from another: name, type, and the flags
 * that change the answer. */
struct dns_key {
	uint16_t length;
	uint8_t bytes[DNS_NAME_MAX + 3];
};

void dns_key_make(const struct dns_question *question, struct dns_key *key);
int dns_key_compare(const void *a, const void *b); /* of struct dns_key, for trees */

/* How all answers of a server look. */
struct dns_replier {
	bool recursion;	     /* RA */
	uint16_t udp_size;   /* most that is sent by UDP */
	uint64_t *truncated; /* counts answers cut */
};

/* Answers `client`: with the sections, response code and AA bit of `body`, or with `rcode` alone
 * when it is NULL. The body's other header fields and its question are overwritten; it stays the
 * caller's. What does not fit becomes TC without any section (RFC 2181, 9). */
void dns_reply(struct dns_replier *replier, const struct dns_question *question,
	       const struct dns_client *client, ldns_pkt *body, uint16_t rcode);

/* The same question for a resolver. `edns` says whether it gets an OPT record. *wire is the
 * caller's, to be freed with free(); NULL when memory is short. */
enum dns_ask { DNS_ASK_EDNS, DNS_ASK_PLAIN };
uint8_t *dns_question_write(const struct dns_question *question, uint16_t id, enum dns_ask ask,
			    size_t *length);

#endif
