/* The DHCPv4 server's answers (RFC 2131, 4.1, 4.3.1, table 3). Control thread.
 *
 * An answer carries what the protocol asks for, then what the client's parameter request list names
 * and the configuration has, in the list's order; without a list, everything. What the
 * configuration gives by number goes before what the server would say itself. */
#include "route/dhcp_server_parts.h"

#include <stdio.h>
#include <string.h>

#define SIZE_MIN    576u /* RFC 2132, 9.10 */
#define HEADERS	    28u	 /* IP and UDP, which option 57 counts */
#define CHECKSUM_AT 26u	 /* UDP's, in those */
#define MTU_DEFAULT 1500u

/* RFC 4702, 2.1. */
#define FQDN_S	  0x01u
#define FQDN_O	  0x02u
#define FQDN_E	  0x04u
#define FQDN_N	  0x08u
#define FQDN_DONE 255u /* both of its result codes */

struct reply {
	const struct dhcp_request *request;
	const struct ip_prefix *prefix; /* that the client is in */
	const char *name;		/* of the lease; "" none */
	struct dhcp_writer writer;
};

static void start(struct reply *reply, const struct dhcp_request *request, enum dhcp_type type,
		  const struct ip *yiaddr);
static void write_asked(struct reply *reply);
static void write_fqdn(struct reply *reply);
static void count_left_out(struct reply *reply, bool written);
static void send_reply(struct reply *reply, enum dhcp_type type, const struct ip *yiaddr);

uint32_t dhcp_reply_lease_time(const struct dhcp_request *request)
{
	uint32_t limit = request->server->config->lease_time, least, asked;

	if (!dhcp_message_u32(request->message, DHCP_OPTION_LEASE_TIME, &asked) || asked > limit)
		return limit;
	least = limit < DHCP_LEASE_MIN ? limit : DHCP_LEASE_MIN;
	return asked < least ? least : asked;
}

void dhcp_reply_lease(const struct dhcp_request *request, enum dhcp_type type, const struct ip *ip,
		      const char *name)
{
	uint32_t seconds = dhcp_reply_lease_time(request);
	struct reply reply = { .name = name };

	start(&reply, request, type, ip);
	dhcp_write_u32(&reply.writer, DHCP_OPTION_LEASE_TIME, seconds);
	if (seconds != UINT32_MAX) {
		dhcp_write_u32(&reply.writer, DHCP_OPTION_T1, seconds / 2);
		dhcp_write_u32(&reply.writer, DHCP_OPTION_T2, seconds - seconds / 8);
	}
	write_fqdn(&reply);
	write_asked(&reply);
	dhcp_count(request->server, type == DHCP_OFFER ? DHCP_COUNT_OFFER : DHCP_COUNT_ACK);
	send_reply(&reply, type, ip);
}

void dhcp_reply_inform(const struct dhcp_request *request)
{
	struct reply reply = { .name = "" };

	start(&reply, request, DHCP_ACK, NULL);
	write_asked(&reply);
	dhcp_count(request->server, DHCP_COUNT_ACK);
	send_reply(&reply, DHCP_ACK, NULL);
}

void dhcp_reply_nak(const struct dhcp_request *request, const char *why)
{
	struct reply reply = { .name = "" };

	start(&reply, request, DHCP_NAK, NULL);
	dhcp_write_text(&reply.writer, DHCP_OPTION_MESSAGE, why);
	dhcp_count(request->server, DHCP_COUNT_NAK);
	send_reply(&reply, DHCP_NAK, NULL);
}

/* How long an answer may be: what the client takes, but no more than the link does. */
static size_t limit_of(const struct dhcp_request *request)
{
	uint16_t size, mtu = request->server->leg.mtu;

	if (!dhcp_message_u16(request->message, DHCP_OPTION_MAX_SIZE, &size) || size < SIZE_MIN)
		size = SIZE_MIN;
	if (mtu == 0)
		mtu = MTU_DEFAULT;
	return (size < mtu ? size : mtu) - HEADERS;
}

/* The fixed fields, and the options that each answer has. */
static void start(struct reply *reply, const struct dhcp_request *request, enum dhcp_type type,
		  const struct ip *yiaddr)
{
	const struct dhcp_header *asked = &request->message->header;
	const struct dhcp_server *server = request->server;
	const struct dhcp_config *config = server->config;
	struct dhcp_header header = {
		.op = DHCP_BOOTREPLY,
		.xid = asked->xid,
		.flags = asked->flags,
		.giaddr = asked->giaddr,
		.chaddr = asked->chaddr,
	};
	const uint8_t *id;
	size_t length;

	reply->request = request;
	reply->prefix = dhcp_address_prefix(server, yiaddr != NULL ? yiaddr : &asked->ciaddr);
	if (reply->prefix == NULL)
		reply->prefix = &server->leg.prefixes[0];
	if (yiaddr != NULL)
		header.yiaddr = *yiaddr;
	if (type == DHCP_ACK)
		header.ciaddr = asked->ciaddr;
	/* The agent must not send it to an address that is none of the client's. */
	if (type == DHCP_NAK && !ip_is_unspecified(&asked->giaddr))
		header.flags |= DHCP_FLAG_BROADCAST;
	if (type != DHCP_NAK) {
		if (config->has_next_server)
			header.siaddr = config->next_server;
		memcpy(header.sname, config->server_name, sizeof(header.sname));
		memcpy(header.file, config->boot_file, sizeof(header.file));
	}
	dhcp_write_start(&reply->writer, &header, type, limit_of(request));
	dhcp_write_ip(&reply->writer, DHCP_OPTION_SERVER_ID, &reply->prefix->ip);
	/* RFC 6842: what the client calls itself stands in every answer. */
	id = dhcp_message_option(request->message, DHCP_OPTION_CLIENT_ID, &length);
	if (id != NULL)
		count_left_out(
		    reply, dhcp_write_option(&reply->writer, DHCP_OPTION_CLIENT_ID, id, length));
}

static void count_left_out(struct reply *reply, bool written)
{
	if (!written)
		dhcp_count(reply->request->server, DHCP_COUNT_OPTION_LEFT_OUT);
}

static bool write_mask(struct reply *reply)
{
	struct ip_prefix everything = { .length = reply->prefix->length };
	struct ip mask;

	memset(everything.ip.bytes, 0xff, sizeof(everything.ip.bytes));
	mask = ip_prefix_network(&everything).ip;
	return dhcp_write_option(&reply->writer, DHCP_OPTION_MASK, ip_v4_bytes(&mask), 4);
}

static bool write_broadcast(struct reply *reply)
{
	struct ip last = ip_prefix_last(reply->prefix);

	/* RFC 3021: two hosts have no address for all. */
	return reply->prefix->length >= 127 ||
	       dhcp_write_ip(&reply->writer, DHCP_OPTION_BROADCAST, &last);
}

/* The configured addresses, or the gateway's own. */
static bool write_gateway_or(struct reply *reply, uint8_t code, const struct ip_list *list)
{
	return list->count > 0 ? dhcp_write_ips(&reply->writer, code, list)
			       : dhcp_write_ip(&reply->writer, code, &reply->prefix->ip);
}

static bool write_router(struct reply *reply)
{
	const struct dhcp_config *config = reply->request->server->config;

	return config->no_router || write_gateway_or(reply, DHCP_OPTION_ROUTER, &config->routers);
}

static bool write_dns(struct reply *reply)
{
	const struct dhcp_server *server = reply->request->server;

	if (server->config->dns.count == 0 && !server->leg.serves_dns)
		return true;
	return write_gateway_or(reply, DHCP_OPTION_DNS, &server->config->dns);
}

static bool write_ntp(struct reply *reply)
{
	return dhcp_write_ips(&reply->writer, DHCP_OPTION_NTP,
			      &reply->request->server->config->ntp);
}

static const char *domain_of(const struct dhcp_server *server)
{
	return server->config->domain[0] != '\0' ? server->config->domain : server->leg.domain;
}

static bool write_text(struct reply *reply, uint8_t code, const char *text)
{
	return text[0] == '\0' || dhcp_write_text(&reply->writer, code, text);
}

static bool write_domain(struct reply *reply)
{
	return write_text(reply, DHCP_OPTION_DOMAIN, domain_of(reply->request->server));
}

static bool write_host_name(struct reply *reply)
{
	return write_text(reply, DHCP_OPTION_HOST_NAME, reply->name);
}

static bool write_mtu(struct reply *reply)
{
	uint16_t mtu = reply->request->server->config->mtu;

	return mtu == 0 || dhcp_write_u16(&reply->writer, DHCP_OPTION_MTU, mtu);
}

static bool write_tftp_server(struct reply *reply)
{
	const struct dhcp_config *config = reply->request->server->config;
	char text[IP_TEXT_LENGTH];

	if (config->server_name[0] != '\0')
		return write_text(reply, DHCP_OPTION_TFTP_SERVER, config->server_name);
	return !config->has_next_server ||
	       write_text(reply, DHCP_OPTION_TFTP_SERVER, ip_to_text(&config->next_server, text));
}

static bool write_boot_file(struct reply *reply)
{
	return write_text(reply, DHCP_OPTION_BOOT_FILE, reply->request->server->config->boot_file);
}

static bool write_search(struct reply *reply)
{
	const struct dhcp_config *config = reply->request->server->config;

	return dhcp_write_search(&reply->writer, config->search_count, config->search);
}

/* A client that gets this option takes no notice of the router's (RFC 3442), so the default route
 * is in it too. */
static bool write_routes(struct reply *reply)
{
	const struct dhcp_config *config = reply->request->server->config;
	struct dhcp_route route = { .to = { ip_from_v4(0), IP_V4_LENGTH } };
	bool add = !config->no_router;

	if (config->route_count == 0)
		return true;
	for (uint32_t i = 0; i < config->route_count; i++)
		add = add && config->routes[i].to.length > IP_V4_LENGTH;
	route.via = config->routers.count > 0 ? config->routers.ips[0] : reply->prefix->ip;
	return dhcp_write_routes(&reply->writer, config->route_count, config->routes, add, &route);
}

/* What a client may ask for by number, in the order for one that asks for nothing. */
static const struct {
	uint8_t code;
	bool (*write)(struct reply *reply); /* true too when there is nothing to say */
} parameters[] = {
	{ DHCP_OPTION_MASK, write_mask },
	{ DHCP_OPTION_ROUTES, write_routes },
	{ DHCP_OPTION_ROUTER, write_router },
	{ DHCP_OPTION_DNS, write_dns },
	{ DHCP_OPTION_DOMAIN, write_domain },
	{ DHCP_OPTION_HOST_NAME, write_host_name },
	{ DHCP_OPTION_SEARCH, write_search },
	{ DHCP_OPTION_MTU, write_mtu },
	{ DHCP_OPTION_BROADCAST, write_broadcast },
	{ DHCP_OPTION_NTP, write_ntp },
	{ DHCP_OPTION_TFTP_SERVER, write_tftp_server },
	{ DHCP_OPTION_BOOT_FILE, write_boot_file },
};
#define PARAMETER_COUNT (sizeof(parameters) / sizeof(parameters[0]))

/* The protocol's own options are no parameters, whatever the configuration says. */
static bool is_protocol(uint8_t code)
{
	return code == DHCP_OPTION_PAD || code == DHCP_OPTION_END || code == DHCP_OPTION_FQDN ||
	       code == DHCP_OPTION_CLIENT_ID ||
	       (code >= DHCP_OPTION_REQUESTED_IP && code <= DHCP_OPTION_T2);
}

static bool write_parameter(struct reply *reply, uint8_t code)
{
	const struct dhcp_config *config = reply->request->server->config;

	if (is_protocol(code))
		return true;
	for (uint32_t i = 0; i < config->option_count; i++)
		if (config->options[i].code == code)
			return dhcp_write_option(&reply->writer, code, config->options[i].bytes,
						 config->options[i].length);
	for (size_t i = 0; i < PARAMETER_COUNT; i++)
		if (parameters[i].code == code)
			return parameters[i].write(reply);
	return true;
}

static void write_once(struct reply *reply, uint8_t code, bool done[256])
{
	if (!done[code])
		count_left_out(reply, write_parameter(reply, code));
	done[code] = true;
}

static void write_asked(struct reply *reply)
{
	const struct dhcp_request *request = reply->request;
	const struct dhcp_config *config = request->server->config;
	size_t length;
	const uint8_t *list =
	    dhcp_message_option(request->message, DHCP_OPTION_PARAMETERS, &length);
	bool done[256] = { false };

	write_once(reply, DHCP_OPTION_MASK, done);
	if (list != NULL) {
		for (size_t i = 0; i < length; i++)
			write_once(reply, list[i], done);
		return;
	}
	for (size_t i = 0; i < PARAMETER_COUNT; i++)
		write_once(reply, parameters[i].code, done);
	for (uint32_t i = 0; i < config->option_count; i++)
		write_once(reply, config->options[i].code, done);
}

/* RFC 4702, 4: names are ours to register, or nobody's. */
static void write_fqdn(struct reply *reply)
{
	const struct dhcp_request *request = reply->request;
	const char *domain = domain_of(request->server);
	char text[DHCP_NAME_MAX + 1 + DHCP_DOMAIN_MAX + 1] = "";
	uint8_t bytes[3 + sizeof(text) + 2] = { 0, FQDN_DONE, FQDN_DONE };
	size_t length = 3;

	if (request->fqdn == DHCP_FQDN_NONE)
		return;
	if (reply->name[0] != '\0') {
		snprintf(text, sizeof(text), "%s%s%s", reply->name, domain[0] != '\0' ? "." : "",
			 domain);
		bytes[0] = request->fqdn_flags & FQDN_S ? FQDN_S : FQDN_S | FQDN_O;
	} else {
		bytes[0] = FQDN_N;
	}
	if (request->fqdn == DHCP_FQDN_WIRE) {
		bytes[0] |= FQDN_E;
		length += dhcp_name_encode(text, bytes + length, sizeof(bytes) - length);
	} else {
		memcpy(bytes + length, text, strlen(text));
		length += strlen(text);
	}
	count_left_out(reply, length <= 255 && dhcp_write_option(&reply->writer, DHCP_OPTION_FQDN,
								 bytes, length));
}

/* What the agent has added goes back to it (RFC 3046, 2.2). */
static void write_relay(struct reply *reply)
{
	size_t length;
	const uint8_t *bytes =
	    dhcp_message_option(reply->request->message, DHCP_OPTION_RELAY, &length);

	if (bytes != NULL)
		count_left_out(reply,
			       dhcp_write_option(&reply->writer, DHCP_OPTION_RELAY, bytes, length));
}

static size_t write_frame(const struct reply *reply, const struct packet_header *header,
			  uint8_t *frame, size_t size)
{
	return packet_write_udp(header, reply->writer.bytes, reply->writer.used, frame, size);
}

/* To whom (RFC 2131, 4.1): the client hears Ethernet unicast before it has its address. */
static void send_reply(struct reply *reply, enum dhcp_type type, const struct ip *yiaddr)
{
	static const struct mac everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	const struct dhcp_server *server = reply->request->server;
	const struct dhcp_header *asked = &reply->request->message->header;
	struct packet_header header = {
		.from = server->leg.mac,
		.to = asked->chaddr,
		.source = reply->prefix->ip,
		.source_port = DHCP_SERVER_PORT,
		.destination_port = DHCP_CLIENT_PORT,
	};
	uint8_t frame[PACKET_ETHERNET_LENGTH + HEADERS + DHCP_MESSAGE_MAX];
	uint16_t checksum;
	size_t length;

	if (!ip_is_unspecified(&asked->giaddr)) {
		write_relay(reply);
		header.to = reply->request->from;
		header.destination = asked->giaddr;
		header.destination_port = DHCP_SERVER_PORT;
	} else if (type != DHCP_NAK && ip_is_host(&asked->ciaddr)) {
		header.destination = asked->ciaddr;
	} else if (type == DHCP_NAK || yiaddr == NULL || asked->flags & DHCP_FLAG_BROADCAST) {
		header.to = everybody;
		header.destination = ip_from_v4(UINT32_MAX);
	} else {
		header.destination = *yiaddr;
	}
	dhcp_write_finish(&reply->writer);
	length = write_frame(reply, &header, frame, sizeof(frame));
	/* BusyBox's udhcpc drops a checksum of 0xffff, which stands for zero (RFC 768), and would
	 * get the same answer each time it asks. */
	memcpy(&checksum, frame + PACKET_ETHERNET_LENGTH + CHECKSUM_AT, sizeof(checksum));
	if (checksum == 0xffff && dhcp_write_pad(&reply->writer))
		length = write_frame(reply, &header, frame, sizeof(frame));
	route_send(&server->output, frame, length);
}
