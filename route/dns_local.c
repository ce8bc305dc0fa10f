/* The names of a network itself. Called by the DNS server for each query, on the control thread.
 *
 * Hosts of the configuration and the gateway stand in an array sorted by name, and in another
 * sorted by address for the way back. Leases are asked of the owner of the lease table. */
#include "route/dns_local.h"
#include "route/dns_record.h"

#include <stdlib.h>

/* A name with an address. In a domain of ours each host has two: HOST.domain and HOST. */
struct row {
	struct dns_name name;
	struct ip ip;
	bool bare; /* HOST alone: not what its address is called, unless there is no domain */
};

struct dns_local {
	struct dns_name domain; /* the root: none */
	struct dns_names names;
	uint32_t network_count;
	struct ip_prefix *networks;
	uint32_t row_count;
	struct row *rows;	  /* by name, then address */
	const struct row **by_ip; /* by address, bare ones last */
};

static bool has_domain(const struct dns_local *local)
{
	return local->domain.length > 1;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *one = a, *other = b;
	int order = dns_name_compare(&one->name, &other->name);

	return order != 0 ? order : ip_compare(&one->ip, &other->ip);
}

static int compare_ips(const void *a, const void *b)
{
	const struct row *one = *(const struct row *const *)a;
	const struct row *other = *(const struct row *const *)b;
	int order = ip_compare(&one->ip, &other->ip);

	if (order == 0)
		order = one->bare - other->bare;
	return order != 0 ? order : dns_name_compare(&one->name, &other->name);
}

static void add_row(struct dns_local *local, const struct dns_name *name, const struct ip *ip,
		    bool bare)
{
	local->rows[local->row_count++] = (struct row){ *name, *ip, bare };
}

/* A name with a dot in it is whole; one without is a host in the domain. */
static void add_host(struct dns_local *local, const char *text, const struct ip *ip)
{
	static const struct dns_name root = { .length = 1 };
	struct dns_name name;

	if (strchr(text, '.') != NULL) {
		if (dns_name_from_text(text, &name) == 0)
			add_row(local, &name, ip, false);
		return;
	}
	if (dns_name_join(text, &root, &name) == 0)
		add_row(local, &name, ip, has_domain(local));
	if (has_domain(local) && dns_name_join(text, &local->domain, &name) == 0)
		add_row(local, &name, ip, false);
}

struct dns_local *dns_local_create(const struct dns_config *config, const struct dns_names *names,
				   const struct ip_prefix *networks, uint32_t network_count)
{
	struct dns_local *local = calloc(1, sizeof(*local));
	size_t most = 2 * ((size_t)config->host_count + network_count) + 1;

	if (local == NULL)
		return NULL;
	local->names = *names;
	if (dns_name_from_text(config->domain, &local->domain) < 0)
		local->domain.length = 1, local->domain.bytes[0] = 0;
	local->networks = calloc((size_t)network_count + 1, sizeof(*networks));
	local->rows = calloc(most, sizeof(*local->rows));
	local->by_ip = calloc(most, sizeof(*local->by_ip));
	if (local->networks == NULL || local->rows == NULL || local->by_ip == NULL) {
		dns_local_destroy(local);
		return NULL;
	}
	local->network_count = network_count;
	for (uint32_t i = 0; i < network_count; i++) {
		local->networks[i] = networks[i];
		add_host(local, DNS_GATEWAY_LABEL, &networks[i].ip);
	}
	for (uint32_t i = 0; i < config->host_count; i++)
		add_host(local, config->hosts[i].name, &config->hosts[i].ip);
	qsort(local->rows, local->row_count, sizeof(*local->rows), compare_rows);
	for (uint32_t i = 0; i < local->row_count; i++)
		local->by_ip[i] = &local->rows[i];
	qsort(local->by_ip, local->row_count, sizeof(*local->by_ip), compare_ips);
	return local;
}

void dns_local_destroy(struct dns_local *local)
{
	if (local == NULL)
		return;
	free(local->networks);
	free(local->rows);
	free(local->by_ip);
	free(local);
}

/* The first row of a name; row_count when it has none. */
static uint32_t find_rows(const struct dns_local *local, const struct dns_name *name)
{
	uint32_t low = 0, high = local->row_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (dns_name_compare(&local->rows[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < local->row_count && dns_name_equal(&local->rows[low].name, name))
		return low;
	return local->row_count;
}

static const struct row *find_ip(const struct dns_local *local, const struct ip *ip)
{
	uint32_t low = 0, high = local->row_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (ip_compare(&local->by_ip[middle]->ip, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < local->row_count && ip_equal(&local->by_ip[low]->ip, ip))
		return local->by_ip[low];
	return NULL;
}

/* Names that a guest must not take by calling itself so: clients give them a meaning. */
static size_t find_lease(const struct dns_local *local, const struct dns_name *name, struct ip *ips)
{
	static const char *const reserved[] = { "localhost", "wpad", "isatap", DNS_GATEWAY_LABEL };
	char host[DNS_LABEL_MAX + 1];

	if (!dns_name_first_label(name, host))
		return 0;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(host, reserved[i]) == 0)
			return 0;
	}
	return local->names.addresses(local->names.context, host, ips, DNS_ADDRESSES_MAX);
}

/* A name that exists and its addresses: those of the type, or the zone's SOA. */
static bool answer_addresses(ldns_pkt *packet, const struct dns_question *question,
			     const struct dns_name *zone, const struct ip *ips, size_t count)
{
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		bool v4 = ip_is_v4(&ips[i]);

		if (question->type != (v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
			continue;
		if (!dns_record_add_ip(packet, &question->name, &ips[i]))
			return false;
		any = true;
	}
	return any || dns_record_add_soa(packet, LDNS_SECTION_AUTHORITY, zone);
}

/* Rows from `first` on that have the same name. */
static bool answer_rows(const struct dns_local *local, uint32_t first, ldns_pkt *packet,
			const struct dns_question *question, const struct dns_name *zone)
{
	struct ip ips[DNS_ADDRESSES_MAX];
	size_t count = 0;

	for (uint32_t i = first; i < local->row_count && count < DNS_ADDRESSES_MAX &&
				 dns_name_equal(&local->rows[i].name, &question->lower);
	     i++) {
		bool v4 = ip_is_v4(&local->rows[i].ip);

		if (question->type == (v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
			ips[count++] = local->rows[i].ip;
	}
	return answer_addresses(packet, question, zone, ips, count);
}

/* The name of a zone itself. */
static bool answer_apex(ldns_pkt *packet, const struct dns_question *question,
			const struct dns_name *zone)
{
	if (question->type == LDNS_RR_TYPE_SOA)
		return dns_record_add_soa(packet, LDNS_SECTION_ANSWER, zone);
	if (question->type == LDNS_RR_TYPE_NS)
		return dns_record_add_ns(packet, zone);
	return dns_record_add_soa(packet, LDNS_SECTION_AUTHORITY, zone);
}

static bool answer_nothing(ldns_pkt *packet, const struct dns_name *zone, ldns_pkt_rcode rcode)
{
	ldns_pkt_set_rcode(packet, rcode);
	return dns_record_add_soa(packet, LDNS_SECTION_AUTHORITY, zone);
}

/* Whether a configured name lies below this one, which then exists without records (RFC 8020). */
static bool has_names_below(const struct dns_local *local, const struct dns_name *name)
{
	for (uint32_t i = 0; i < local->row_count; i++) {
		if (dns_name_within(&local->rows[i].name, name))
			return true;
	}
	return false;
}

/* A name in our domain that no row has. */
static bool answer_domain(const struct dns_local *local, ldns_pkt *packet,
			  const struct dns_question *question)
{
	uint32_t below =
	    dns_name_label_count(&question->lower) - dns_name_label_count(&local->domain);
	struct ip ips[DNS_ADDRESSES_MAX];
	size_t count = 0;

	if (below == 0)
		return answer_apex(packet, question, &local->domain);
	if (below == 1)
		count = find_lease(local, &question->lower, ips);
	if (count > 0)
		return answer_addresses(packet, question, &local->domain, ips, count);
	return answer_nothing(packet, &local->domain,
			      has_names_below(local, &question->lower) ? LDNS_RCODE_NOERROR
								       : LDNS_RCODE_NXDOMAIN);
}

/* localhost and what is below it (RFC 6761, 6.3). */
static bool answer_localhost(ldns_pkt *packet, const struct dns_question *question,
			     const struct dns_name *zone)
{
	struct ip ips[2] = { ip_from_v4(0x7f000001), { .bytes = { [15] = 1 } } };

	return answer_addresses(packet, question, zone, ips, 2);
}

/* What an address is called; false when it has no name. */
static bool name_of(const struct dns_local *local, const struct ip *ip, struct dns_name *name)
{
	const struct row *row = find_ip(local, ip);
	char host[DHCP_NAME_MAX + 1];

	if (row != NULL) {
		*name = row->name;
		return true;
	}
	return local->names.name(local->names.context, ip, host) && strchr(host, '.') == NULL &&
	       dns_name_join(host, &local->domain, name) == 0;
}

static const struct ip_prefix *network_of(const struct dns_local *local,
					  const struct ip_prefix *prefix)
{
	for (uint32_t i = 0; i < local->network_count; i++) {
		if (prefix->length >= local->networks[i].length &&
		    ip_prefix_contains(&local->networks[i], &prefix->ip))
			return &local->networks[i];
	}
	return NULL;
}

/* A name in a reverse zone of ours. The zone ends at the label that covers the prefix's last bit:
 * a prefix between two labels is several zones, each wholly ours. */
static bool answer_reverse(const struct dns_local *local, ldns_pkt *packet,
			   const struct dns_question *question, const struct dns_reverse *reverse,
			   const struct ip_prefix *network)
{
	bool v4 = ip_is_v4(&network->ip);
	uint32_t zone_labels =
	    v4 ? (network->length - IP_V4_LENGTH + 7u) / 8u + 2u : (network->length + 3u) / 4u + 2u;
	uint32_t labels = dns_name_label_count(&question->lower);
	struct dns_name zone, name;

	dns_name_chop(&question->lower, labels > zone_labels ? labels - zone_labels : 0, &zone);
	if (!reverse->inexact && reverse->prefix.length == 128 &&
	    name_of(local, &reverse->prefix.ip, &name)) {
		if (question->type == LDNS_RR_TYPE_PTR)
			return dns_record_add_ptr(packet, &question->name, &name);
		return answer_nothing(packet, &zone, LDNS_RCODE_NOERROR);
	}
	if (dns_name_equal(&zone, &question->lower) && reverse->prefix.length < 128)
		return answer_apex(packet, question, &zone);
	return answer_nothing(packet, &zone,
			      reverse->inexact || reverse->prefix.length == 128
				  ? LDNS_RCODE_NXDOMAIN
				  : LDNS_RCODE_NOERROR);
}

/* A host by its bare name: addresses only, so that top-level domains stay what they are. */
static bool is_bare(const struct dns_question *question)
{
	return dns_name_label_count(&question->lower) == 1 &&
	       (question->type == LDNS_RR_TYPE_A || question->type == LDNS_RR_TYPE_AAAA);
}

/* Fills the packet when the name is ours; else *foreign. False when memory is short. */
static bool answer_name(const struct dns_local *local, ldns_pkt *packet,
			const struct dns_question *question, bool *foreign)
{
	static const struct dns_name localhost = { 11, "\11localhost" };
	const struct dns_name *name = &question->lower;
	uint32_t row = find_rows(local, name);
	const struct ip_prefix *network;
	struct ip ips[DNS_ADDRESSES_MAX];
	struct dns_reverse reverse;
	size_t count;

	if (dns_name_within(name, &localhost))
		return answer_localhost(packet, question, &localhost);
	if (row < local->row_count && (!local->rows[row].bare || is_bare(question))) {
		bool inside = has_domain(local) && dns_name_within(name, &local->domain);

		return answer_rows(local, row, packet, question, inside ? &local->domain : name);
	}
	if (has_domain(local) && dns_name_within(name, &local->domain))
		return answer_domain(local, packet, question);
	if (is_bare(question) && (count = find_lease(local, name, ips)) > 0)
		return answer_addresses(packet, question, name, ips, count);
	if (dns_name_to_reverse(name, &reverse) &&
	    (network = network_of(local, &reverse.prefix)) != NULL)
		return answer_reverse(local, packet, question, &reverse, network);
	*foreign = true;
	return true;
}

enum dns_local_verdict dns_local_answer(const struct dns_local *local,
					const struct dns_question *question, ldns_pkt **packet)
{
	ldns_pkt *made = ldns_pkt_new();
	bool foreign = false, done;

	*packet = NULL;
	if (made == NULL)
		return DNS_LOCAL_FAILED;
	if (question->type == LDNS_RR_TYPE_ANY)
		done = dns_record_add_any(made, &question->name);
	else
		done = answer_name(local, made, question, &foreign);
	if (!done || foreign) {
		ldns_pkt_free(made);
		return foreign ? DNS_LOCAL_FOREIGN : DNS_LOCAL_FAILED;
	}
	ldns_pkt_set_aa(made, question->type != LDNS_RR_TYPE_ANY);
	*packet = made;
	return DNS_LOCAL_OURS;
}
