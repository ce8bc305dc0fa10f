/* Domain names on the wire: made of text, compared, taken apart. Called by the parts of the DNS
 * server, on the control thread. */
#include "route/dns_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint8_t lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

int dns_name_from_text(const char *text, struct dns_name *name)
{
	uint32_t at = 0;

	if (strcmp(text, ".") == 0)
		text = "";
	while (*text != '\0') {
		size_t length = strcspn(text, ".");

		if (length == 0 || length > DNS_LABEL_MAX || at + length + 2 > DNS_NAME_MAX)
			return -EINVAL;
		name->bytes[at++] = (uint8_t)length;
		memcpy(name->bytes + at, text, length);
		at += (uint32_t)length;
		text += length;
		if (*text == '.')
			text++;
	}
	name->bytes[at++] = 0;
	name->length = (uint8_t)at;
	dns_name_to_lower(name);
	return 0;
}

int dns_name_join(const char *label, const struct dns_name *suffix, struct dns_name *name)
{
	size_t length = strlen(label);

	if (length == 0 || length > DNS_LABEL_MAX || length + 1 + suffix->length > DNS_NAME_MAX)
		return -EINVAL;
	name->length = (uint8_t)(length + 1 + suffix->length);
	name->bytes[0] = (uint8_t)length;
	memcpy(name->bytes + 1, label, length);
	memcpy(name->bytes + 1 + length, suffix->bytes, suffix->length);
	dns_name_to_lower(name);
	return 0;
}

bool dns_name_first_label(const struct dns_name *name, char label[DNS_LABEL_MAX + 1])
{
	uint32_t length = name->bytes[0];

	for (uint32_t i = 0; i < length; i++) {
		char c = (char)name->bytes[1 + i];

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_')
			return false;
		label[i] = c;
	}
	label[length] = '\0';
	return length > 0;
}

void dns_name_chop(const struct dns_name *name, uint32_t count, struct dns_name *out)
{
	uint32_t at = 0;

	while (count-- > 0 && name->bytes[at] != 0)
		at += 1u + name->bytes[at];
	out->length = (uint8_t)(name->length - at);
	memmove(out->bytes, name->bytes + at, out->length);
}

void dns_name_to_lower(struct dns_name *name)
{
	/* Lengths are below 'A', so they may be treated like text. */
	for (uint32_t i = 0; i < name->length; i++)
		name->bytes[i] = lower(name->bytes[i]);
}

uint32_t dns_name_label_count(const struct dns_name *name)
{
	uint32_t count = 0;

	for (uint32_t at = 0; name->bytes[at] != 0; at += 1u + name->bytes[at])
		count++;
	return count;
}

int dns_name_compare(const struct dns_name *a, const struct dns_name *b)
{
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return memcmp(a->bytes, b->bytes, a->length);
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	return dns_name_compare(a, b) == 0;
}

bool dns_name_within(const struct dns_name *name, const struct dns_name *zone)
{
	uint32_t at = 0;

	while (name->length - at > zone->length)
		at += 1u + name->bytes[at];
	return name->length - at == zone->length &&
	       memcmp(name->bytes + at, zone->bytes, zone->length) == 0;
}

bool dns_name_from_rdf(const ldns_rdf *rdf, struct dns_name *name)
{
	if (rdf == NULL || ldns_rdf_get_type(rdf) != LDNS_RDF_TYPE_DNAME ||
	    ldns_rdf_size(rdf) == 0 || ldns_rdf_size(rdf) > DNS_NAME_MAX)
		return false;
	name->length = (uint8_t)ldns_rdf_size(rdf);
	memcpy(name->bytes, ldns_rdf_data(rdf), name->length);
	return true;
}

ldns_rdf *dns_name_to_rdf(const struct dns_name *name)
{
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name->length, name->bytes);
}

/* A label that is a number in the one form a reverse name has: no zeros in front. */
static bool label_number(const uint8_t *label, uint32_t base, uint32_t *number)
{
	char text[4];

	if (label[0] == 0 || label[0] > (base == 10 ? 3 : 1))
		return false;
	*number = 0;
	for (uint32_t i = 1; i <= label[0]; i++) {
		uint8_t c = label[i];

		if (c >= '0' && c <= '9')
			*number = *number * base + (uint32_t)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			*number = *number * base + (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	snprintf(text, sizeof(text), "%u", *number % 1000);
	return base == 16 || (*number <= 255 && strlen(text) == label[0]);
}

bool dns_name_to_reverse(const struct dns_name *name, struct dns_reverse *reverse)
{
	static const struct dns_name zone4 = { 14, "\7in-addr\4arpa" };
	static const struct dns_name zone6 = { 10, "\3ip6\4arpa" };
	bool v4 = dns_name_within(name, &zone4);
	uint32_t bits = v4 ? 8 : 4, most = v4 ? 4 : 32, count = 0, number;
	uint8_t starts[DNS_NAME_MAX / 2 + 1];
	uint8_t *bytes = reverse->prefix.ip.bytes;

	if (!v4 && !dns_name_within(name, &zone6))
		return false;
	for (uint32_t at = 0; name->length - at > (v4 ? zone4.length : zone6.length);
	     at += 1u + name->bytes[at])
		starts[count++] = (uint8_t)at;
	memset(reverse, 0, sizeof(*reverse));
	if (v4)
		reverse->prefix = (struct ip_prefix){ ip_from_v4(0), IP_V4_LENGTH };
	for (uint32_t used = 0; used < count; used++) {
		uint32_t shift = v4 || used % 2 != 0 ? 0 : 4;

		if (used == most ||
		    !label_number(name->bytes + starts[count - 1 - used], v4 ? 10 : 16, &number)) {
			reverse->inexact = true;
			break;
		}
		bytes[v4 ? 12 + used : used / 2] |= (uint8_t)(number << shift);
		reverse->prefix.length = (uint8_t)(reverse->prefix.length + bits);
	}
	return true;
}
