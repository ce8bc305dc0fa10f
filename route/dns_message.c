/* Queries from clients taken apart, and answers to them put together. Called by the DNS server and
 * its forwarder, on the control thread. */
#include "route/dns_message.h"

#include <stdlib.h>

#define UDP_SIZE_LEAST 512u /* RFC 1035, 4.2.1 */
#define RCODE_BADVERS  16   /* RFC 6891, 9; not in libldns */

static uint16_t be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Types that are no data but ask for something to be done. */
static int type_verdict(uint16_t type)
{
	switch (type) {
	case LDNS_RR_TYPE_AXFR:
	case LDNS_RR_TYPE_IXFR:
		return LDNS_RCODE_REFUSED;
	case 0:
	case LDNS_RR_TYPE_OPT:
	case LDNS_RR_TYPE_TKEY:
	case LDNS_RR_TYPE_TSIG:
	case LDNS_RR_TYPE_MAILA:
	case LDNS_RR_TYPE_MAILB:
		return LDNS_RCODE_NOTIMPL;
	default:
		return LDNS_RCODE_NOERROR;
	}
}

static int question_take(const ldns_pkt *packet, struct dns_question *question)
{
	const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(packet), 0);

	if (rr == NULL || !dns_name_from_rdf(ldns_rr_owner(rr), &question->name))
		return LDNS_RCODE_FORMERR;
	question->type = (uint16_t)ldns_rr_get_type(rr);
	question->lower = question->name;
	dns_name_to_lower(&question->lower);
	question->edns = ldns_pkt_edns(packet);
	question->udp_size = ldns_pkt_edns_udp_size(packet);
	if (question->udp_size < UDP_SIZE_LEAST)
		question->udp_size = UDP_SIZE_LEAST;
	question->dnssec_ok = ldns_pkt_edns_do(packet);
	if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN)
		return LDNS_RCODE_REFUSED;
	question->valid = true;
	if (question->edns && ldns_pkt_edns_version(packet) != 0)
		return RCODE_BADVERS;
	return type_verdict(question->type);
}

int dns_question_parse(const uint8_t *message, size_t length, struct dns_question *question)
{
	ldns_pkt *packet = NULL;
	int verdict;

	memset(question, 0, sizeof(*question));
	if (length < DNS_HEADER_LENGTH || (message[2] & 0x80) != 0)
		return -1;
	question->id = be16(message);
	question->opcode = message[2] >> 3 & 15;
	question->recursion_desired = (message[2] & 1) != 0;
	question->checking_disabled = (message[3] & 0x10) != 0;
	question->udp_size = UDP_SIZE_LEAST;
	if (question->opcode != LDNS_PACKET_QUERY)
		return LDNS_RCODE_NOTIMPL;
	/* One question and perhaps OPT, nothing else: so the work is bounded, whatever the length.
	 * (IXFR brings a record along, but is not for us either.) */
	if (be16(message + 4) != 1 || be16(message + 6) != 0 || be16(message + 8) != 0 ||
	    be16(message + 10) > 1)
		return LDNS_RCODE_FORMERR;
	if (ldns_wire2pkt(&packet, message, length) != LDNS_STATUS_OK)
		return LDNS_RCODE_FORMERR;
	verdict = question_take(packet, question);
	ldns_pkt_free(packet);
	return verdict;
}

void dns_key_make(const struct dns_question *question, struct dns_key *key)
{
	uint16_t at = question->lower.length;

	memcpy(key->bytes, question->lower.bytes, at);
	key->bytes[at++] = (uint8_t)(question->type >> 8);
	key->bytes[at++] = (uint8_t)question->type;
	key->bytes[at++] = (uint8_t)(question->dnssec_ok | question->checking_disabled << 1);
	key->length = at;
}

int dns_key_compare(const void *a, const void *b)
{
	const struct dns_key *one = a, *other = b;

	if (one->length != other->length)
		return one->length < other->length ? -1 : 1;
	return memcmp(one->bytes, other->bytes, one->length);
}

/* Puts the question into a packet in place of the one that is there. */
static bool packet_set_question(ldns_pkt *packet, const struct dns_name *name, uint16_t type)
{
	ldns_rr_list *list = ldns_rr_list_new();
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *owner = dns_name_to_rdf(name);

	if (list == NULL || rr == NULL || owner == NULL) {
		ldns_rr_list_free(list);
		ldns_rr_free(rr);
		ldns_rdf_deep_free(owner);
		return false;
	}
	ldns_rr_set_question(rr, true);
	ldns_rr_set_owner(rr, owner);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	if (!ldns_rr_list_push_rr(list, rr)) {
		ldns_rr_free(rr);
		ldns_rr_list_free(list);
		return false;
	}
	ldns_rr_list_deep_free(ldns_pkt_question(packet));
	ldns_pkt_set_question(packet, list);
	ldns_pkt_set_qdcount(packet, 1);
	return true;
}

/* Completes the header and the question; *wire has the whole message. */
static bool reply_write(const struct dns_replier *replier, const struct dns_question *question,
			ldns_pkt *body, uint8_t **wire, size_t *length)
{
	if (question->valid && !packet_set_question(body, &question->name, question->type))
		return false;
	ldns_pkt_set_id(body, question->id);
	ldns_pkt_set_qr(body, true);
	ldns_pkt_set_opcode(body, question->opcode);
	ldns_pkt_set_rd(body, question->recursion_desired);
	ldns_pkt_set_cd(body, question->checking_disabled);
	ldns_pkt_set_ra(body, replier->recursion);
	/* We have not validated anything, and the way from the resolver is not a secure one. */
	ldns_pkt_set_ad(body, false);
	ldns_pkt_set_edns_udp_size(body, question->edns ? DNS_UDP_SIZE : 0);
	ldns_pkt_set_edns_z(body, question->edns && question->dnssec_ok ? 0x8000 : 0);
	return ldns_pkt2wire(wire, body, length) == LDNS_STATUS_OK;
}

/* An answer without sections. */
static ldns_pkt *body_empty(const struct dns_question *question, uint16_t rcode)
{
	ldns_pkt *body = ldns_pkt_new();

	if (body == NULL)
		return NULL;
	ldns_pkt_set_rcode(body, rcode & 15);
	if (question->edns)
		ldns_pkt_set_edns_extended_rcode(body, (uint8_t)(rcode >> 4));
	return body;
}

void dns_reply(struct dns_replier *replier, const struct dns_question *question,
	       const struct dns_client *client, ldns_pkt *body, uint16_t rcode)
{
	ldns_pkt *empty = body == NULL ? body_empty(question, rcode) : NULL;
	size_t length = 0, limit = DNS_MESSAGE_MAX;
	uint8_t *wire = NULL;
	bool done;

	if (client->transport == DNS_UDP)
		limit =
		    question->udp_size < replier->udp_size ? question->udp_size : replier->udp_size;
	if (body == NULL)
		body = empty;
	done = body != NULL && reply_write(replier, question, body, &wire, &length);
	if (done && (length > limit || (ldns_pkt_tc(body) && empty == NULL))) {
		++*replier->truncated;
		free(wire);
		wire = NULL;
		empty = body_empty(question, ldns_pkt_get_rcode(body));
		if (empty != NULL) {
			ldns_pkt_set_aa(empty, ldns_pkt_aa(body));
			ldns_pkt_set_tc(empty, true);
		}
		done = empty != NULL && reply_write(replier, question, empty, &wire, &length);
	}
	if (done)
		client->answer(client->context, wire, length);
	else
		client->answer(client->context, NULL, 0);
	free(wire);
	ldns_pkt_free(empty);
}

uint8_t *dns_question_write(const struct dns_question *question, uint16_t id, enum dns_ask ask,
			    size_t *length)
{
	ldns_pkt *packet = ldns_pkt_new();
	uint8_t *wire = NULL;

	if (packet == NULL)
		return NULL;
	ldns_pkt_set_id(packet, id);
	ldns_pkt_set_rd(packet, true);
	ldns_pkt_set_cd(packet, question->checking_disabled);
	if (ask == DNS_ASK_EDNS) {
		ldns_pkt_set_edns_udp_size(packet, DNS_UDP_SIZE);
		ldns_pkt_set_edns_do(packet, question->dnssec_ok);
	}
	if (!packet_set_question(packet, &question->lower, question->type) ||
	    ldns_pkt2wire(&wire, packet, length) != LDNS_STATUS_OK)
		wire = NULL;
	ldns_pkt_free(packet);
	return wire;
}
