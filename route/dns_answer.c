/* Answers of resolvers: checked, and reduced to what was asked, so that nothing else can get to a
 * client or into the cache. Called by the forwarder and the cache, on the control thread. */
#include "route/dns_answer.h"

#include <errno.h>
#include <stdlib.h>

#define CHAIN_MAX	16u   /* aliases followed */
#define RECORDS_MAX	1024u /* in all of an answer: bounds the work on a hostile one */
#define TTL_MAX		86400u
#define TTL_MAX_NOTHING 10800u /* RFC 2308, 5 */

static uint32_t be16(const uint8_t *bytes)
{
	return (uint32_t)(bytes[0] << 8 | bytes[1]);
}

static bool same_question(const ldns_pkt *packet, const struct dns_question *question)
{
	const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
	struct dns_name name;

	if (rr == NULL || !dns_name_from_rdf(ldns_rr_owner(rr), &name))
		return false;
	dns_name_to_lower(&name);
	return dns_name_equal(&name, &question->lower) &&
	       (uint16_t)ldns_rr_get_type(rr) == question->type &&
	       ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN;
}

int dns_answer_read(const uint8_t *message, size_t length, const struct dns_question *question,
		    uint16_t id, ldns_pkt **packet)
{
	uint8_t *copy;
	int error = 0;

	*packet = NULL;
	if (length < DNS_HEADER_LENGTH || length > DNS_MESSAGE_MAX)
		return -EBADMSG;
	if ((message[2] & 0xf8) != 0x80 || be16(message) != id || be16(message + 4) != 1)
		return -ENOENT;
	if (be16(message + 6) + be16(message + 8) > RECORDS_MAX)
		return -EBADMSG;
	copy = malloc(length);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, message, length);
	/* Nothing in the additional section is used, OPT included: it is not even read. */
	copy[10] = copy[11] = 0;
	if (ldns_wire2pkt(packet, copy, length) != LDNS_STATUS_OK) {
		*packet = NULL;
		error = -EBADMSG;
	} else if (!same_question(*packet, question)) {
		ldns_pkt_free(*packet);
		*packet = NULL;
		error = -ENOENT;
	}
	free(copy);
	return error;
}

/* The state of reducing one answer. */
struct filter {
	const struct dns_question *question;
	ldns_pkt *out;
	struct dns_name name; /* where the chain has come to */
	bool found;	      /* data of the type */
	uint32_t ttl;	      /* least so far */
	struct dns_name seen[CHAIN_MAX];
	uint32_t seen_count;
};

static uint32_t ttl_bounded(const ldns_rr *rr)
{
	uint32_t ttl = ldns_rr_ttl(rr);

	if (ttl > INT32_MAX) /* RFC 2181, 8 */
		return 0;
	return ttl > TTL_MAX ? TTL_MAX : ttl;
}

static bool filter_keep(struct filter *filter, ldns_pkt_section section, const ldns_rr *rr)
{
	ldns_rr *copy = ldns_rr_clone(rr);
	uint32_t ttl = ttl_bounded(rr);

	if (copy == NULL || !ldns_pkt_push_rr(filter->out, section, copy)) {
		ldns_rr_free(copy);
		return false;
	}
	ldns_rr_set_ttl(copy, ttl);
	if (ttl < filter->ttl)
		filter->ttl = ttl;
	return true;
}

static uint16_t covered_type(const ldns_rr *rr)
{
	const ldns_rdf *covered = ldns_rr_rrsig_typecovered(rr);

	return covered == NULL ? 0 : (uint16_t)ldns_rdf2rr_type(covered);
}

/* Whether a record of the chain's present name belongs to the answer. */
static bool is_wanted(const struct filter *filter, const ldns_rr *rr, const struct dns_name *owner)
{
	const struct dns_question *question = filter->question;
	uint16_t type = (uint16_t)ldns_rr_get_type(rr);

	if (type == LDNS_RR_TYPE_RRSIG && question->type != LDNS_RR_TYPE_RRSIG) {
		if (!question->dnssec_ok)
			return false;
		type = covered_type(rr);
	}
	if (type == LDNS_RR_TYPE_DNAME && question->type != LDNS_RR_TYPE_DNAME)
		return dns_name_within(&filter->name, owner) &&
		       !dns_name_equal(&filter->name, owner);
	return dns_name_equal(&filter->name, owner) &&
	       (type == question->type || type == LDNS_RR_TYPE_CNAME);
}

/* One step of the chain: keeps the records of the present name; *more when it is an alias. */
static bool filter_step(struct filter *filter, const ldns_rr_list *answer, bool *more)
{
	struct dns_name owner, next = filter->name;

	*more = false;
	for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(answer, i);
		uint16_t type = (uint16_t)ldns_rr_get_type(rr);

		if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
		    !dns_name_from_rdf(ldns_rr_owner(rr), &owner))
			continue;
		dns_name_to_lower(&owner);
		if (!is_wanted(filter, rr, &owner))
			continue;
		if (!filter_keep(filter, LDNS_SECTION_ANSWER, rr))
			return false;
		if (type == filter->question->type)
			filter->found = true;
		else if (type == LDNS_RR_TYPE_CNAME && dns_name_from_rdf(ldns_rr_rdf(rr, 0), &next))
			*more = true;
	}
	filter->seen[filter->seen_count++] = filter->name;
	filter->name = next;
	dns_name_to_lower(&filter->name);
	for (uint32_t i = 0; i < filter->seen_count; i++) {
		if (dns_name_equal(&filter->seen[i], &filter->name))
			*more = false;
	}
	return true;
}

/* Keeps the SOA that makes it a negative answer, and what proves it. Returns the SOA's own limit
 * for that (RFC 2308, 5), 0 without one; -1 when memory is short. */
static int64_t filter_authority(struct filter *filter, const ldns_rr_list *authority)
{
	const struct dns_question *question = filter->question;
	struct dns_name owner;
	int64_t limit = 0;

	for (size_t i = 0; i < ldns_rr_list_rr_count(authority); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(authority, i);
		uint16_t type = (uint16_t)ldns_rr_get_type(rr);
		bool proof = false;

		if (type == LDNS_RR_TYPE_RRSIG)
			type = covered_type(rr);
		proof = question->dnssec_ok &&
			(type == LDNS_RR_TYPE_NSEC || type == LDNS_RR_TYPE_NSEC3);
		if ((type != LDNS_RR_TYPE_SOA || filter->found) && !proof)
			continue;
		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_RRSIG && !question->dnssec_ok)
			continue;
		if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
		    !dns_name_from_rdf(ldns_rr_owner(rr), &owner))
			continue;
		dns_name_to_lower(&owner);
		if (!proof && !dns_name_within(&filter->name, &owner))
			continue;
		if (!filter_keep(filter, LDNS_SECTION_AUTHORITY, rr))
			return -1;
		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7)
			limit = ldns_rdf2native_int32(ldns_rr_rdf(rr, 6));
	}
	return limit > TTL_MAX_NOTHING ? TTL_MAX_NOTHING : limit;
}

ldns_pkt *dns_answer_filter(const ldns_pkt *packet, const struct dns_question *question,
			    uint32_t *ttl)
{
	struct filter filter = { .question = question, .out = ldns_pkt_new(), .ttl = TTL_MAX };
	bool more = true;
	int64_t limit;

	*ttl = 0;
	if (filter.out == NULL)
		return NULL;
	filter.name = question->lower;
	ldns_pkt_set_rcode(filter.out, ldns_pkt_get_rcode(packet));
	while (more && filter.seen_count < CHAIN_MAX) {
		if (!filter_step(&filter, ldns_pkt_answer(packet), &more))
			goto fail;
	}
	limit = filter_authority(&filter, ldns_pkt_authority(packet));
	if (limit < 0)
		goto fail;
	if (!filter.found && filter.ttl > limit)
		filter.ttl = (uint32_t)limit;
	if (ldns_pkt_get_rcode(packet) == LDNS_RCODE_NOERROR ||
	    ldns_pkt_get_rcode(packet) == LDNS_RCODE_NXDOMAIN)
		*ttl = filter.ttl;
	return filter.out;
fail:
	ldns_pkt_free(filter.out);
	return NULL;
}

static void list_age(const ldns_rr_list *list, uint32_t seconds)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		ldns_rr *rr = ldns_rr_list_rr(list, i);
		uint32_t ttl = ldns_rr_ttl(rr);

		ldns_rr_set_ttl(rr, ttl > seconds ? ttl - seconds : 0);
	}
}

void dns_answer_age(ldns_pkt *packet, uint32_t seconds)
{
	list_age(ldns_pkt_answer(packet), seconds);
	list_age(ldns_pkt_authority(packet), seconds);
}
