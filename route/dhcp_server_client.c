/* Who a DHCP client is: the key of its lease, its reservation, its name. For the DHCPv4 server,
 * control thread. */
#include "route/dhcp_server_parts.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define CLIENT_ID_MIN  2u   /* RFC 2132, 9.14 */
#define CLIENT_ID_MAC  1u   /* RFC 2132, 9.14: then the hardware address */
#define CLIENT_ID_NODE 255u /* RFC 4361, 6.1: then 4 bytes of IAID and a DUID */
#define NODE_DUID_AT   5u

#define FQDN_HEAD 3u /* flags and two codes, before the name */
#define FQDN_E	  0x04u
#define FQDN_N	  0x08u

/* Names that clients ask for of themselves and trust: no guest may become one of them. */
static const char *const refused_names[] = { "localhost", "wpad", "isatap" };

static bool is_own_id(const struct dhcp_request *request, const uint8_t *id, size_t length);
static void key_by_mac(struct dhcp_request *request);
static const struct lease *find_lease(const struct dhcp_request *request);
static const struct dhcp_host *find_host(const struct dhcp_request *request);
static void read_name(struct dhcp_request *request);
static void read_fqdn(struct dhcp_request *request);

void dhcp_client_identify(struct dhcp_request *request)
{
	size_t length;
	const uint8_t *id = dhcp_message_option(request->message, DHCP_OPTION_CLIENT_ID, &length);

	read_name(request);
	read_fqdn(request);
	request->host = find_host(request);
	if (request->host != NULL)
		memcpy(request->name, request->host->name, sizeof(request->name));
	for (char *c = request->name; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (id != NULL && is_own_id(request, id, length)) {
		request->client_length = (uint8_t)length;
		memcpy(request->client, id, length);
	} else {
		key_by_mac(request);
	}
	request->lease = find_lease(request);
	if (request->lease != NULL && dhcp_client_is_elsewhere(request, request->lease)) {
		key_by_mac(request);
		request->lease = find_lease(request);
	}
}

bool dhcp_client_is_elsewhere(const struct dhcp_request *request, const struct lease *lease)
{
	const struct dhcp_host *host = request->host;

	if (lease->port == request->by.port ||
	    memcmp(&lease->mac, &request->message->header.chaddr, sizeof(lease->mac)) == 0)
		return false;
	/* With its port the machine has gone; the reservation, which is not for one, is left. */
	return lease->port != LEASE_PORT_NONE || host == NULL || host->has_mac || !host->has_ip4 ||
	       !ip_equal(&host->ip4, &lease->ip);
}

bool dhcp_client_owns(const struct dhcp_request *request, const struct lease *lease)
{
	const struct dhcp_host *host = request->host;

	if (lease->state == LEASE_DECLINED || dhcp_client_is_elsewhere(request, lease))
		return false;
	if (lease->client_length == request->client_length &&
	    memcmp(lease->client, request->client, lease->client_length) == 0)
		return true;
	return host != NULL && host->has_mac && host->has_ip4 && ip_equal(&host->ip4, &lease->ip) &&
	       memcmp(&lease->mac, &host->mac, sizeof(lease->mac)) == 0;
}

const char *dhcp_client_name(const struct dhcp_request *request, const struct ip *ip)
{
	const struct dhcp_server *server = request->server;
	const struct lease *other;

	/* A renewal need not repeat the name; one that asks for none is obeyed. */
	if (request->fqdn != DHCP_FQDN_NONE && (request->fqdn_flags & FQDN_N) != 0 &&
	    request->host == NULL)
		return "";
	if (request->name[0] == '\0')
		return request->lease != NULL ? request->lease->host : "";
	for (size_t i = 0; i < sizeof(refused_names) / sizeof(refused_names[0]); i++)
		if (strcmp(request->name, refused_names[i]) == 0)
			goto conflict;
	for (uint32_t i = 0; i < server->config->host_count; i++) {
		const struct dhcp_host *host = &server->config->hosts[i];

		if (host != request->host && strcasecmp(host->name, request->name) == 0)
			goto conflict;
	}
	other = lease_find_host(server->leases, AF_INET, request->name);
	if (other != NULL && !ip_equal(&other->ip, ip) && !dhcp_client_owns(request, other))
		goto conflict;
	other = lease_find_host(server->leases, AF_INET6, request->name);
	if (other != NULL && !mac_is_zero(other->mac.bytes) &&
	    memcmp(&other->mac, &request->message->header.chaddr, sizeof(other->mac)) != 0)
		goto conflict;
	return request->name;
conflict:
	dhcp_count(request->server, DHCP_COUNT_NAME_CONFLICT);
	return "";
}

/* One longer than our keys does not tell clients apart, and another's hardware address must not: it
 * would be taken by whoever names it first. */
static bool is_own_id(const struct dhcp_request *request, const uint8_t *id, size_t length)
{
	if (length == 1 + MAC_LENGTH && id[0] == CLIENT_ID_MAC)
		return memcmp(id + 1, request->message->header.chaddr.bytes, MAC_LENGTH) == 0;
	return length >= CLIENT_ID_MIN && length <= DHCP_CLIENT_MAX;
}

/* Like an identifier of that type, which most clients that send one send. */
static void key_by_mac(struct dhcp_request *request)
{
	request->client_length = 1 + MAC_LENGTH;
	request->client[0] = CLIENT_ID_MAC;
	memcpy(request->client + 1, request->message->header.chaddr.bytes, MAC_LENGTH);
}

static const struct lease *find_lease(const struct dhcp_request *request)
{
	return lease_find_client(request->server->leases, AF_INET, request->client,
				 request->client_length, 0);
}

/* Whether option 61 is the identifier of a reservation, or holds it as its DUID. */
static bool has_client_id(const struct dhcp_request *request, const struct dhcp_host *host)
{
	size_t length;
	const uint8_t *id = dhcp_message_option(request->message, DHCP_OPTION_CLIENT_ID, &length);

	if (id == NULL)
		return false;
	if (length == host->client_length && memcmp(id, host->client, length) == 0)
		return true;
	return length == NODE_DUID_AT + host->client_length && id[0] == CLIENT_ID_NODE &&
	       memcmp(id + NODE_DUID_AT, host->client, host->client_length) == 0;
}

static const struct dhcp_host *find_host(const struct dhcp_request *request)
{
	const struct dhcp_config *config = request->server->config;
	const struct mac *mac = &request->message->header.chaddr;

	for (uint32_t i = 0; i < config->host_count; i++) {
		const struct dhcp_host *host = &config->hosts[i];

		if (host->has_mac) {
			if (memcmp(&host->mac, mac, sizeof(*mac)) == 0)
				return host;
		} else if (host->client_length > 0) {
			if (has_client_id(request, host))
				return host;
		} else if (strcasecmp(host->name, request->name) == 0) {
			return host;
		}
	}
	return NULL;
}

/* The first label of a name as one for DNS (RFC 952, RFC 1123, 2.1): letters, digits and inner
 * hyphens; spaces and underscores become hyphens. Any other byte, and there is no name. */
static void set_name(struct dhcp_request *request, const char *text, size_t length)
{
	char *name = request->name;

	name[0] = '\0';
	if (length == 0 || length > DHCP_NAME_MAX)
		return;
	for (size_t i = 0; i < length; i++) {
		char c = text[i] == '_' || text[i] == ' ' ? '-' : text[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool inner = i > 0 && i + 1 < length;

		if (!letter && !(c >= '0' && c <= '9') && !(c == '-' && inner)) {
			name[0] = '\0';
			return;
		}
		name[i] = c;
		name[i + 1] = '\0';
	}
}

static void read_name(struct dhcp_request *request)
{
	char text[256];

	request->name[0] = '\0';
	if (dhcp_message_text(request->message, DHCP_OPTION_HOST_NAME, text, sizeof(text)))
		set_name(request, text, strcspn(text, "."));
}

/* RFC 4702: goes before option 12. */
static void read_fqdn(struct dhcp_request *request)
{
	size_t length;
	const uint8_t *bytes = dhcp_message_option(request->message, DHCP_OPTION_FQDN, &length);
	const char *name;
	size_t label;

	request->fqdn = DHCP_FQDN_NONE;
	if (bytes == NULL || length < FQDN_HEAD)
		return;
	request->fqdn_flags = bytes[0];
	request->fqdn = bytes[0] & FQDN_E ? DHCP_FQDN_WIRE : DHCP_FQDN_ASCII;
	name = (const char *)bytes + FQDN_HEAD;
	length -= FQDN_HEAD;
	if (length == 0 || name[0] == '\0')
		return;
	if (request->fqdn == DHCP_FQDN_WIRE) {
		label = (uint8_t)name[0];
		name++;
		if (label > length - 1)
			return;
	} else {
		for (label = 0; label < length && name[label] != '.' && name[label] != '\0';)
			label++;
	}
	set_name(request, name, label);
}
