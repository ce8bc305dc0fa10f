/* The DHCPv6 server's messages (dhcp6_server.h): which ones it takes, and what it answers. Who gets
 * which address is decided in dhcp6_server_pool.c. Control thread; called by the gateway's glue
 * with each packet for port 547. */
#include "route/dhcp6_server.h"

#include "base/parse.h"
#include "route/dhcp6_message.h"
#include "route/dhcp6_server_pool.h"
#include "route/dhcp_message.h"

#include <stdlib.h>

#define DUID_LENGTH	10u
#define ANSWER_MAX	1232u /* UDP in the least MTU of IPv6 */
#define NAME_WIRE_MAX	255u
#define REFRESH_MIN	600u /* seconds; RFC 8415, 7.6 */
#define REFRESH_DEFAULT 86400u
#define PREFERENCE	7u   /* option: 255 has the client wait for no other server */
#define FQDN_SERVER	0x01 /* flags of RFC 4704, 4.1: who keeps the name's AAAA record */
#define FQDN_OVERRIDE	0x02
#define NTP_ADDRESS	1u /* suboption of RFC 5908, 4.1 */

struct dhcp6_server {
	struct route_output output;
	struct mac mac;
	struct ip source; /* link-local */
	uint8_t duid[DUID_LENGTH];
	bool serves_dns;
	char domain[DHCP_DOMAIN_MAX + 1];
	struct dhcp6_pool pool;
	struct dhcp6_counters counters;
};

/* One message and its answer. */
struct exchange {
	const struct packet *packet;
	struct dhcp6_message message;
	struct dhcp6_client client;
	uint64_t wall;
	bool commit; /* what is given is bound, not only offered */
	struct dhcp6_writer writer;
	uint8_t bytes[ANSWER_MAX];
};

/* Writes what follows the identifiers of the answer; false when there is to be none. */
typedef bool answerer(struct dhcp6_server *server, struct exchange *exchange);

static answerer answer_assign, answer_confirm, answer_give_up, answer_information;

enum need { FORBIDDEN, OPTIONAL, NEEDED };

/* RFC 8415, 16 and 18.3: what a message must have and must not have, what a unicast one gets when
 * nobody allowed it. */
static const struct rule {
	uint8_t type;
	uint8_t client, server; /* enum need */
	bool unicast_refused;	/* with UseMulticast; else it is passed over */
	answerer *answer;
} rules[] = {
	{ DHCP6_SOLICIT, NEEDED, FORBIDDEN, false, answer_assign },
	{ DHCP6_REQUEST, NEEDED, NEEDED, true, answer_assign },
	{ DHCP6_CONFIRM, NEEDED, FORBIDDEN, false, answer_confirm },
	{ DHCP6_RENEW, NEEDED, NEEDED, true, answer_assign },
	{ DHCP6_REBIND, NEEDED, FORBIDDEN, false, answer_assign },
	{ DHCP6_RELEASE, NEEDED, NEEDED, true, answer_give_up },
	{ DHCP6_DECLINE, NEEDED, NEEDED, true, answer_give_up },
	{ DHCP6_INFORMATION_REQUEST, OPTIONAL, OPTIONAL, false, answer_information },
};

static const struct ip all_servers = { { 0xff, 0x02, [13] = 1, [15] = 2 } };

static bool is_for_us(const struct dhcp6_server *server, const struct packet *packet);
static const struct rule *check_message(struct dhcp6_server *server, struct exchange *exchange);
static void identify_client(struct dhcp6_server *server, struct exchange *exchange, uint16_t port);
static bool write_answer(struct dhcp6_server *server, struct exchange *exchange,
			 const struct rule *rule);
static void send_answer(struct dhcp6_server *server, const struct exchange *exchange);

struct dhcp6_server *dhcp6_server_create(const struct dhcp6_settings *settings,
					 struct lease_table *leases,
					 const struct route_output *output)
{
	struct dhcp6_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	if (dhcp6_pool_init(&server->pool, settings, leases, &server->counters) != 0) {
		free(server);
		return NULL;
	}
	server->output = *output;
	server->mac = settings->mac;
	server->source = ip_link_local_of(settings->mac.bytes);
	server->serves_dns = settings->serves_dns;
	if (settings->domain != NULL)
		strncpy(server->domain, settings->domain, DHCP_DOMAIN_MAX);
	/* RFC 8415, 11.4: DUID-LL, hardware type Ethernet. */
	write_be16(server->duid, 3);
	write_be16(server->duid + 2, 1);
	memcpy(server->duid + 4, settings->mac.bytes, MAC_LENGTH);
	return server;
}

void dhcp6_server_destroy(struct dhcp6_server *server)
{
	if (server == NULL)
		return;
	dhcp6_pool_finish(&server->pool);
	free(server);
}

void dhcp6_server_input(struct dhcp6_server *server, const struct packet *packet, uint16_t port,
			uint64_t wall)
{
	struct exchange exchange;
	const struct rule *rule;

	if (!is_for_us(server, packet))
		return;
	server->counters.received++;
	exchange.packet = packet;
	exchange.wall = wall;
	rule = check_message(server, &exchange);
	if (rule == NULL)
		return;
	identify_client(server, &exchange, port);
	if (!write_answer(server, &exchange, rule)) {
		server->counters.ignored++;
		return;
	}
	send_answer(server, &exchange);
}

const struct dhcp6_counters *dhcp6_server_counters(const struct dhcp6_server *server)
{
	return &server->counters;
}

static bool is_for_us(const struct dhcp6_server *server, const struct packet *packet)
{
	if (packet->ip_version != 6 || packet->data == NULL ||
	    packet->destination_port != DHCP6_SERVER_PORT)
		return false;
	if (ip_equal(&packet->destination, &all_servers) ||
	    ip_equal(&packet->destination, &server->source))
		return true;
	for (uint32_t i = 0; i < server->pool.prefix_count; i++) {
		if (ip_equal(&packet->destination, &server->pool.prefixes[i].ip))
			return true;
	}
	return false;
}

static bool need_met(uint8_t need, const uint8_t *option)
{
	return need == OPTIONAL || (need == NEEDED) == (option != NULL);
}

/* The rule of a message that is to be answered; NULL after counting why it is not. */
static const struct rule *check_message(struct dhcp6_server *server, struct exchange *exchange)
{
	const struct packet *packet = exchange->packet;
	struct dhcp6_message *message = &exchange->message;
	const struct rule *rule = NULL;

	if (mac_is_multicast(packet->from.bytes) || !ip_is_host(&packet->source) ||
	    (ip_is_multicast(&packet->destination) && !ip_is_link_local(&packet->source)) ||
	    dhcp6_message_parse(packet->data, packet->data_length, message) != 0) {
		server->counters.malformed++;
		return NULL;
	}
	if (message->type == DHCP6_RELAY_FORW || message->type == DHCP6_RELAY_REPL) {
		server->counters.relayed++;
		return NULL;
	}
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].type == message->type)
			rule = &rules[i];
	}
	if (rule == NULL) {
		server->counters.ignored++;
		return NULL;
	}
	if (!need_met(rule->client, message->client) || !need_met(rule->server, message->server) ||
	    (message->type == DHCP6_INFORMATION_REQUEST && message->ia_count > 0)) {
		server->counters.malformed++;
		return NULL;
	}
	if ((message->server != NULL &&
	     (message->server_length != DUID_LENGTH ||
	      memcmp(message->server, server->duid, DUID_LENGTH) != 0)) ||
	    (!ip_is_multicast(&packet->destination) && !rule->unicast_refused)) {
		server->counters.ignored++;
		return NULL;
	}
	return rule;
}

static void identify_client(struct dhcp6_server *server, struct exchange *exchange, uint16_t port)
{
	const struct dhcp6_message *message = &exchange->message;
	struct dhcp6_client *client = &exchange->client;
	char label[DHCP6_LABEL_SIZE];

	*client = (struct dhcp6_client){ .mac = exchange->packet->from, .port = port };
	if (message->client == NULL)
		return;
	client->duid = message->client;
	client->duid_length = (uint8_t)message->client_length;
	dhcp6_message_label(message, label);
	dhcp6_pool_identify(&server->pool, client, label);
}

static bool write_answer(struct dhcp6_server *server, struct exchange *exchange,
			 const struct rule *rule)
{
	const struct dhcp6_message *message = &exchange->message;
	struct dhcp6_writer *writer = &exchange->writer;

	*writer = (struct dhcp6_writer){ .bytes = exchange->bytes, .size = ANSWER_MAX };
	exchange->commit = message->type != DHCP6_SOLICIT || message->rapid_commit;
	dhcp6_write_header(writer, exchange->commit ? DHCP6_REPLY : DHCP6_ADVERTISE,
			   message->transaction);
	dhcp6_write_option(writer, DHCP6_SERVER_ID, server->duid, DUID_LENGTH);
	if (message->client != NULL)
		dhcp6_write_option(writer, DHCP6_CLIENT_ID, message->client,
				   message->client_length);
	if (!ip_is_multicast(&exchange->packet->destination)) {
		dhcp6_write_status(writer, DHCP6_USE_MULTICAST, "");
		return true;
	}
	return rule->answer(server, exchange);
}

static void send_answer(struct dhcp6_server *server, const struct exchange *exchange)
{
	struct packet_header header = {
		.from = server->mac,
		.to = exchange->packet->from,
		.source = server->source,
		.destination = exchange->packet->source,
		.source_port = DHCP6_SERVER_PORT,
		.destination_port = DHCP6_CLIENT_PORT,
	};
	uint8_t frame[PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH + PARSE_UDP_LENGTH + ANSWER_MAX];
	size_t length = packet_write_udp(&header, exchange->bytes, exchange->writer.length, frame,
					 sizeof(frame));

	server->counters.answered++;
	route_send(&server->output, frame, length);
}

static bool wants(const struct exchange *exchange, uint16_t code)
{
	return exchange->message.requested == NULL ||
	       dhcp6_message_requests(&exchange->message, code);
}

static void write_resolvers(const struct dhcp6_server *server, struct dhcp6_writer *writer)
{
	const struct ip_list *list = &server->pool.config->dns;
	uint8_t bytes[DHCP_LIST_MAX * 16];
	size_t length = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		if (ip_is_v4(&list->ips[i]))
			continue;
		memcpy(bytes + length, list->ips[i].bytes, 16);
		length += 16;
	}
	if (list->count == 0 && server->serves_dns) {
		const struct ip *own =
		    server->pool.prefix_count > 0 ? &server->pool.prefixes[0].ip : &server->source;

		memcpy(bytes, own->bytes, 16);
		length = 16;
	}
	if (length > 0)
		dhcp6_write_option(writer, DHCP6_DNS_SERVERS, bytes, length);
}

static void write_search(const struct dhcp6_config *config, struct dhcp6_writer *writer)
{
	uint8_t bytes[ANSWER_MAX];
	size_t length = 0;

	/* Names that do not fit beside all else are left out, the first ones stay. */
	for (uint32_t i = 0; i < config->search_count; i++)
		length +=
		    dhcp_name_encode(config->search[i], bytes + length, ANSWER_MAX / 2 - length);
	if (length > 0)
		dhcp6_write_option(writer, DHCP6_DOMAIN_LIST, bytes, length);
}

/* RFC 5908, 4. */
static void write_ntp(const struct dhcp6_config *config, struct dhcp6_writer *writer)
{
	uint8_t bytes[DHCP_LIST_MAX * 20];
	size_t length = 0;

	for (uint32_t i = 0; i < config->ntp.count; i++) {
		if (ip_is_v4(&config->ntp.ips[i]))
			continue;
		write_be16(bytes + length, NTP_ADDRESS);
		write_be16(bytes + length + 2, 16);
		memcpy(bytes + length + 4, config->ntp.ips[i].bytes, 16);
		length += 20;
	}
	if (length > 0)
		dhcp6_write_option(writer, DHCP6_NTP_SERVER, bytes, length);
}

/* RFC 4704, 6: the name that the client is given, whole when there is a domain. We keep its AAAA
 * record, whether it wanted that or not. */
static void write_name(const struct dhcp6_server *server, const struct exchange *exchange,
		       struct dhcp6_writer *writer)
{
	char name[DHCP_NAME_MAX + 1 + DHCP_DOMAIN_MAX + 1];
	uint8_t bytes[1 + NAME_WIRE_MAX];
	size_t length;

	if (exchange->message.name == NULL || exchange->client.host[0] == '\0' ||
	    !dhcp6_message_requests(&exchange->message, DHCP6_CLIENT_FQDN))
		return;
	strcpy(name, exchange->client.host);
	if (server->domain[0] != '\0') {
		strcat(name, ".");
		strcat(name, server->domain);
	}
	length = dhcp_name_encode(name, bytes + 1, NAME_WIRE_MAX);
	if (length == 0)
		return;
	if (server->domain[0] == '\0')
		length--; /* a part of a name has no root at its end */
	bytes[0] = FQDN_SERVER;
	if (!(exchange->message.name_flags & FQDN_SERVER))
		bytes[0] |= FQDN_OVERRIDE;
	dhcp6_write_option(writer, DHCP6_CLIENT_FQDN, bytes, 1 + length);
}

static void write_options(const struct dhcp6_server *server, struct exchange *exchange)
{
	struct dhcp6_writer *writer = &exchange->writer;

	if (wants(exchange, DHCP6_DNS_SERVERS))
		write_resolvers(server, writer);
	write_name(server, exchange, writer);
	if (wants(exchange, DHCP6_NTP_SERVER))
		write_ntp(server->pool.config, writer);
	if (wants(exchange, DHCP6_DOMAIN_LIST))
		write_search(server->pool.config, writer);
}

static void set_lifetimes(const struct dhcp6_config *config, struct dhcp6_ia *ia)
{
	uint32_t valid = config->lease_time, preferred = valid / 2;
	bool forever = valid == DHCP6_FOREVER;

	ia->addresses[0].valid = valid;
	ia->addresses[0].preferred = forever ? DHCP6_FOREVER : preferred;
	ia->t1 = forever ? DHCP6_FOREVER : preferred / 2;
	ia->t2 = forever ? DHCP6_FOREVER : preferred - preferred / 5;
}

/* RFC 8415, 18.3.2: a REQUEST for an address of elsewhere. */
static bool asks_elsewhere(const struct dhcp6_server *server, const struct exchange *exchange,
			   const struct dhcp6_ia *ia)
{
	if (exchange->message.type != DHCP6_REQUEST)
		return false;
	for (uint32_t i = 0; i < ia->address_count; i++) {
		if (!dhcp6_pool_on_link(&server->pool, &ia->addresses[i].ip))
			return true;
	}
	return false;
}

/* One association of SOLICIT, REQUEST, RENEW or REBIND (RFC 8415, 18.3.1, 2, 4, 5). One that asks
 * to go on with a binding that we do not know gets a new one: we are the link's only server. */
static void assign(struct dhcp6_server *server, struct exchange *exchange,
		   const struct dhcp6_ia *ia)
{
	uint8_t type = exchange->message.type;
	bool renews = type == DHCP6_RENEW || type == DHCP6_REBIND;
	struct dhcp6_ia given = { .code = ia->code, .iaid = ia->iaid, .status = DHCP6_NO_STATUS };
	struct lease lease;

	if (ia->code == DHCP6_IA_PD) {
		given.status = DHCP6_NO_PREFIX_AVAIL;
	} else if (ia->code == DHCP6_IA_TA) {
		given.status = DHCP6_NO_ADDRS_AVAIL;
	} else if (asks_elsewhere(server, exchange, ia)) {
		given.status = DHCP6_NOT_ON_LINK;
	} else if (dhcp6_pool_choose(&server->pool, &exchange->client, ia, exchange->wall,
				     &lease) &&
		   (!exchange->commit ||
		    dhcp6_pool_bind(&server->pool, &exchange->client, &lease))) {
		given.addresses[given.address_count++].ip = lease.ip;
		set_lifetimes(server->pool.config, &given);
	} else {
		given.status = renews ? DHCP6_NO_BINDING : DHCP6_NO_ADDRS_AVAIL;
	}
	/* Its other addresses are not good any more. */
	for (uint32_t i = 0; renews && given.address_count > 0 && i < ia->address_count; i++) {
		if (!ip_equal(&ia->addresses[i].ip, &lease.ip) &&
		    given.address_count < DHCP6_ADDRESSES_MAX)
			given.addresses[given.address_count++] =
			    (struct dhcp6_address){ .ip = ia->addresses[i].ip };
	}
	dhcp6_write_ia(&exchange->writer, &given);
}

static bool answer_assign(struct dhcp6_server *server, struct exchange *exchange)
{
	const struct dhcp6_message *message = &exchange->message;
	const uint8_t preference = 255;

	if (!exchange->commit)
		dhcp6_write_option(&exchange->writer, PREFERENCE, &preference, 1);
	else if (message->type == DHCP6_SOLICIT)
		dhcp6_write_option(&exchange->writer, DHCP6_RAPID_COMMIT, NULL, 0);
	for (uint32_t i = 0; i < message->ia_count; i++)
		assign(server, exchange, &message->ias[i]);
	write_options(server, exchange);
	return true;
}

/* RFC 8415, 18.3.3: whether the client is still where its addresses are. */
static bool answer_confirm(struct dhcp6_server *server, struct exchange *exchange)
{
	const struct dhcp6_message *message = &exchange->message;
	enum dhcp6_status status = DHCP6_SUCCESS;
	uint32_t addresses = 0;

	for (uint32_t i = 0; i < message->ia_count; i++) {
		const struct dhcp6_ia *ia = &message->ias[i];

		for (uint32_t j = 0; j < ia->address_count; j++, addresses++) {
			if (!dhcp6_pool_on_link(&server->pool, &ia->addresses[j].ip))
				status = DHCP6_NOT_ON_LINK;
		}
	}
	if (addresses == 0)
		return false;
	dhcp6_write_status(&exchange->writer, status, "");
	if (status == DHCP6_SUCCESS)
		write_options(server, exchange);
	return true;
}

/* RFC 8415, 18.3.7 and 18.3.8: gives back or sets aside what is the client's; an association that
 * has nothing of its own is named in the answer. */
static bool answer_give_up(struct dhcp6_server *server, struct exchange *exchange)
{
	const struct dhcp6_message *message = &exchange->message;
	struct dhcp6_pool *pool = &server->pool;

	for (uint32_t i = 0; i < message->ia_count; i++) {
		const struct dhcp6_ia *ia = &message->ias[i];
		struct dhcp6_ia unknown = { .code = ia->code,
					    .iaid = ia->iaid,
					    .status = DHCP6_NO_BINDING };
		uint32_t found = 0;

		for (uint32_t j = 0; ia->code == DHCP6_IA_NA && j < ia->address_count; j++) {
			const struct lease *lease = dhcp6_pool_find(pool, &exchange->client,
								    ia->iaid, &ia->addresses[j].ip);

			if (lease == NULL)
				continue;
			found++;
			if (message->type == DHCP6_DECLINE)
				dhcp6_pool_decline(pool, lease, exchange->wall);
			else
				lease_remove(pool->leases, &ia->addresses[j].ip);
		}
		if (found == 0)
			dhcp6_write_ia(&exchange->writer, &unknown);
	}
	dhcp6_write_status(&exchange->writer, DHCP6_SUCCESS, "");
	return true;
}

/* RFC 8415, 18.3.6. */
static bool answer_information(struct dhcp6_server *server, struct exchange *exchange)
{
	uint32_t refresh = server->pool.config->lease_time;

	if (refresh == 0)
		refresh = REFRESH_DEFAULT;
	if (refresh < REFRESH_MIN)
		refresh = REFRESH_MIN;
	if (dhcp6_message_requests(&exchange->message, DHCP6_INFORMATION_REFRESH))
		dhcp6_write_option_u32(&exchange->writer, DHCP6_INFORMATION_REFRESH, refresh);
	write_options(server, exchange);
	return true;
}
