/* Records of the network's own names. Called by dns_local.c, on the control thread. */
#include "route/dns_record.h"

#define ANY_TTL 3600u

static ldns_rr *record_new(const struct dns_name *owner, ldns_rr_type type)
{
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *name = dns_name_to_rdf(owner);

	if (rr == NULL || name == NULL) {
		ldns_rr_free(rr);
		ldns_rdf_deep_free(name);
		return NULL;
	}
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, DNS_OWN_TTL);
	return rr;
}

/* Takes the field over in any case; either may be NULL. */
static bool record_push(ldns_rr *rr, ldns_rdf *field)
{
	if (rr != NULL && field != NULL && ldns_rr_push_rdf(rr, field))
		return true;
	ldns_rdf_deep_free(field);
	return false;
}

/* Takes the record over in any case. */
static bool packet_push(ldns_pkt *packet, ldns_pkt_section section, ldns_rr *rr, bool whole)
{
	if (whole && rr != NULL && ldns_pkt_push_rr(packet, section, rr))
		return true;
	ldns_rr_free(rr);
	return false;
}

bool dns_record_add_ip(ldns_pkt *packet, const struct dns_name *owner, const struct ip *ip)
{
	bool v4 = ip_is_v4(ip);
	ldns_rr *rr = record_new(owner, v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA);
	bool whole = record_push(
	    rr, v4 ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, ip_v4_bytes(ip))
		   : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, sizeof(ip->bytes), ip->bytes));

	return packet_push(packet, LDNS_SECTION_ANSWER, rr, whole);
}

bool dns_record_add_ptr(ldns_pkt *packet, const struct dns_name *owner,
			const struct dns_name *target)
{
	ldns_rr *rr = record_new(owner, LDNS_RR_TYPE_PTR);
	bool whole = record_push(rr, dns_name_to_rdf(target));

	return packet_push(packet, LDNS_SECTION_ANSWER, rr, whole);
}

/* A name below the zone, or the zone's own when there is no room for it. */
static ldns_rdf *name_below(const char *label, const struct dns_name *zone)
{
	struct dns_name name;

	return dns_name_to_rdf(dns_name_join(label, zone, &name) == 0 ? &name : zone);
}

bool dns_record_add_ns(ldns_pkt *packet, const struct dns_name *zone)
{
	ldns_rr *rr = record_new(zone, LDNS_RR_TYPE_NS);
	bool whole = record_push(rr, name_below(DNS_GATEWAY_LABEL, zone));

	return packet_push(packet, LDNS_SECTION_ANSWER, rr, whole);
}

bool dns_record_add_soa(ldns_pkt *packet, ldns_pkt_section section, const struct dns_name *zone)
{
	/* Serial, refresh, retry, expire, and how long a negative answer lasts: nobody transfers
	 * these zones, and a lease may give a name any moment. */
	static const uint32_t numbers[] = { 1, 3600, 600, 86400, 10 };
	ldns_rr *rr = record_new(zone, LDNS_RR_TYPE_SOA);
	bool whole = record_push(rr, name_below(DNS_GATEWAY_LABEL, zone)) &&
		     record_push(rr, name_below("hostmaster", zone));

	for (size_t i = 0; whole && i < sizeof(numbers) / sizeof(numbers[0]); i++)
		whole = record_push(rr, ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, numbers[i]));
	return packet_push(packet, section, rr, whole);
}

bool dns_record_add_any(ldns_pkt *packet, const struct dns_name *owner)
{
	static const uint8_t cpu[] = "\7RFC8482", os[] = "";
	ldns_rr *rr = record_new(owner, LDNS_RR_TYPE_HINFO);
	bool whole =
	    record_push(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, sizeof(cpu) - 1, cpu)) &&
	    record_push(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, sizeof(os), os));

	if (rr != NULL)
		ldns_rr_set_ttl(rr, ANY_TTL);
	return packet_push(packet, LDNS_SECTION_ANSWER, rr, whole);
}
