/* The DHCPv4 server's way in (dhcp_server.h): what a message is, and what each kind of it does to
 * the leases (RFC 2131, 4.3). Control thread. */
#include "route/dhcp_server.h"

#include "route/dhcp_server_parts.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRY_CHECK_MAX 60000u /* ms; the wall clock may be set */

const struct dhcp_counter_info dhcp_counter_table[DHCP_COUNTER_COUNT] = {
#define COUNTER(symbol, name, text) [DHCP_COUNT_##symbol] = { name, text },
	DHCP_COUNTER_TABLE(COUNTER)
#undef COUNTER
};

static void on_discover(struct dhcp_request *request);
static void on_request(struct dhcp_request *request);
static void on_decline(struct dhcp_request *request);
static void on_release(struct dhcp_request *request);
static void on_inform(struct dhcp_request *request);

/* Those that clients send; NULL rows are a server's. */
static const struct {
	void (*handle)(struct dhcp_request *request);
	enum dhcp_counter counter;
} handlers[] = {
	[DHCP_BOOTP] = { NULL, DHCP_COUNT_BOOTP },
	[DHCP_DISCOVER] = { on_discover, DHCP_COUNT_DISCOVER },
	[DHCP_OFFER] = { NULL, DHCP_COUNT_FOREIGN },
	[DHCP_REQUEST] = { on_request, DHCP_COUNT_REQUEST },
	[DHCP_DECLINE] = { on_decline, DHCP_COUNT_DECLINE },
	[DHCP_ACK] = { NULL, DHCP_COUNT_FOREIGN },
	[DHCP_NAK] = { NULL, DHCP_COUNT_FOREIGN },
	[DHCP_RELEASE] = { on_release, DHCP_COUNT_RELEASE },
	[DHCP_INFORM] = { on_inform, DHCP_COUNT_INFORM },
};

static bool is_for_server(const struct dhcp_server *server, const struct packet *packet);
static bool check(const struct dhcp_request *request);
static void bind_lease(struct dhcp_request *request, const struct ip *ip);
static void leave_other(struct dhcp_request *request, const struct ip *ip);
static bool names_us(const struct dhcp_request *request, bool *named);

struct dhcp_server *dhcp_server_create(const struct dhcp_config *config, const struct dhcp_leg *leg,
				       struct lease_table *leases,
				       const struct route_output *output,
				       const struct dhcp_probe *probe)
{
	struct dhcp_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->config = config;
	server->leg = *leg;
	server->leases = leases;
	server->output = *output;
	if (probe != NULL)
		server->probe = *probe;
	TAILQ_INIT(&server->pending);
	if (dhcp_address_prepare(server) != 0) {
		dhcp_server_destroy(server);
		return NULL;
	}
	return server;
}

void dhcp_server_destroy(struct dhcp_server *server)
{
	if (server == NULL)
		return;
	dhcp_probe_clear(server);
	free(server->spans);
	free(server->reserved);
	free(server);
}

void dhcp_server_input(struct dhcp_server *server, const struct packet *packet,
		       struct dhcp_arrival arrival, uint64_t now, uint64_t wall)
{
	struct dhcp_message message;
	struct dhcp_request request = {
		.server = server,
		.message = &message,
		.from = packet->from,
		.by = arrival,
		.now = now,
		.wall = wall,
	};

	if (!is_for_server(server, packet))
		return;
	server->seen_now = now;
	server->seen_wall = wall;
	lease_expire(server->leases, wall);
	if (dhcp_message_parse(packet->data, packet->data_length, &message) != 0) {
		dhcp_count(server, DHCP_COUNT_MALFORMED);
		return;
	}
	if (!check(&request))
		return;
	dhcp_count(server, handlers[message.type].counter);
	if (handlers[message.type].handle == NULL)
		return;
	dhcp_client_identify(&request);
	handlers[message.type].handle(&request);
}

uint64_t dhcp_server_deadline(const struct dhcp_server *server)
{
	uint64_t expiry = lease_next_expiry(server->leases), due = UINT64_MAX;
	uint64_t offer = dhcp_probe_deadline(server);

	if (expiry != UINT64_MAX) {
		uint64_t left = expiry > server->seen_wall ? expiry - server->seen_wall : 0;

		due = server->seen_now +
		      (left < EXPIRY_CHECK_MAX / 1000 ? left * 1000 : EXPIRY_CHECK_MAX);
	}
	return offer < due ? offer : due;
}

void dhcp_server_tick(struct dhcp_server *server, uint64_t now, uint64_t wall)
{
	server->seen_now = now;
	server->seen_wall = wall;
	lease_expire(server->leases, wall);
	dhcp_probe_tick(server, now, wall);
}

const uint64_t *dhcp_server_counters(const struct dhcp_server *server)
{
	return server->counters;
}

static bool is_for_server(const struct dhcp_server *server, const struct packet *packet)
{
	const struct ip everybody = ip_from_v4(INADDR_BROADCAST);

	if (packet->ip_version != 4 || packet->protocol != IPPROTO_UDP ||
	    packet->destination_port != DHCP_SERVER_PORT || packet->data == NULL)
		return false;
	if (ip_equal(&packet->destination, &everybody))
		return true;
	for (unsigned i = 0; i < server->leg.prefix_count; i++) {
		struct ip last = ip_prefix_last(&server->leg.prefixes[i]);

		if (ip_equal(&packet->destination, &server->leg.prefixes[i].ip) ||
		    ip_equal(&packet->destination, &last))
			return true;
	}
	return false;
}

/* Whether it was passed on by a relay agent of this link's, to which the answer goes. */
static bool is_good_relay(const struct dhcp_server *server, const struct ip *agent)
{
	const struct ip_prefix *prefix = dhcp_address_prefix(server, agent);

	return prefix != NULL && !ip_equal(&prefix->ip, agent);
}

/* Whether a well-formed message is one from a client on this link; else it is counted. */
static bool check(const struct dhcp_request *request)
{
	struct dhcp_server *server = request->server;
	const struct dhcp_header *header = &request->message->header;
	const struct mac *mac = &header->chaddr;
	bool relayed = !ip_is_unspecified(&header->giaddr);

	if (header->op != DHCP_BOOTREQUEST)
		dhcp_count(server, DHCP_COUNT_FOREIGN);
	else if (relayed && !(request->by.trusted && is_good_relay(server, &header->giaddr)))
		dhcp_count(server, DHCP_COUNT_RELAYED);
	else if (mac_is_zero(mac->bytes) || mac_is_multicast(mac->bytes))
		dhcp_count(server, DHCP_COUNT_MALFORMED);
	else if (!relayed && memcmp(mac, &request->from, sizeof(*mac)) != 0)
		dhcp_count(server, DHCP_COUNT_SPOOFED);
	else
		return true;
	return false;
}

static void on_discover(struct dhcp_request *request)
{
	dhcp_server_discover(request, 0);
}

/* RFC 2131, 4.3.1. */
void dhcp_server_discover(struct dhcp_request *request, unsigned tries)
{
	struct dhcp_server *server = request->server;
	const struct lease *held;
	struct lease lease;
	struct ip ip;

	if (!dhcp_address_choose(request, &ip) || dhcp_probe_waits(server, &ip, request))
		return;
	held = lease_find_ip(server->leases, &ip);
	if (held != NULL && held->state == LEASE_BOUND && held == request->lease) {
		dhcp_reply_lease(request, DHCP_OFFER, &ip, held->host);
		return;
	}
	lease = (struct lease){
		.ip = ip,
		.mac = request->message->header.chaddr,
		.client_length = request->client_length,
		.expires = request->wall + DHCP_OFFER_TIME,
		.state = LEASE_OFFERED,
		.port = request->by.port,
		.reserved = dhcp_address_is_reserved(request, &ip),
	};
	memcpy(lease.client, request->client, request->client_length);
	leave_other(request, &ip);
	if (lease_put(server->leases, &lease) != 0) {
		dhcp_count(server, DHCP_COUNT_EXHAUSTED);
		return;
	}
	request->lease = lease_find_ip(server->leases, &ip);
	/* What was offered to it already has been checked, and whose it was is known. */
	if (held != NULL || server->probe.ask == NULL)
		dhcp_server_offer(request, &ip);
	else if (dhcp_probe_start(request, &ip, tries) != 0) {
		dhcp_count(server, DHCP_COUNT_BUSY);
		lease_remove(server->leases, &ip);
	}
}

void dhcp_server_offer(struct dhcp_request *request, const struct ip *ip)
{
	dhcp_reply_lease(request, DHCP_OFFER, ip, dhcp_client_name(request, ip));
}

/* SELECTING: the client took an offer, ours or another server's. */
static void on_selecting(struct dhcp_request *request, const struct ip *ip)
{
	const struct lease *lease = request->lease;

	if (lease == NULL || !ip_equal(&lease->ip, ip) ||
	    dhcp_probe_waits(request->server, ip, NULL))
		dhcp_reply_nak(request, "address was not offered");
	else if (!dhcp_address_allowed(request, ip) || dhcp_address_superseded(request, ip))
		dhcp_reply_nak(request, "address is no longer available");
	else
		bind_lease(request, ip);
}

/* INIT-REBOOT: the client asks for the address it had. About one that we know nothing of we are
 * silent, unless it can be nobody's or is another's. */
static void on_reboot(struct dhcp_request *request, const struct ip *ip)
{
	const struct lease *lease = request->lease;

	if (!dhcp_address_allowed(request, ip) || !dhcp_address_free(request, ip) ||
	    dhcp_address_superseded(request, ip))
		dhcp_reply_nak(request, "address is not available");
	else if (lease == NULL || dhcp_probe_waits(request->server, &lease->ip, NULL))
		dhcp_count(request->server, DHCP_COUNT_UNKNOWN);
	else if (!ip_equal(&lease->ip, ip))
		dhcp_reply_nak(request, "address is not yours");
	else
		bind_lease(request, ip);
}

/* RENEWING and REBINDING: the client uses the address. When we have forgotten its lease and it is
 * free, it keeps it. */
static void on_renew(struct dhcp_request *request)
{
	const struct ip *ip = &request->message->header.ciaddr;
	const struct lease *lease = request->lease;

	if (!dhcp_address_allowed(request, ip) || !dhcp_address_free(request, ip) ||
	    dhcp_address_superseded(request, ip) ||
	    (lease != NULL && lease->state == LEASE_BOUND && !ip_equal(&lease->ip, ip)))
		dhcp_reply_nak(request, "address is not yours");
	else
		bind_lease(request, ip);
}

/* RFC 2131, 4.3.2 and table 4. */
static void on_request(struct dhcp_request *request)
{
	const struct dhcp_message *message = request->message;
	bool named, ours = names_us(request, &named);
	bool asks, uses = !ip_is_unspecified(&message->header.ciaddr);
	struct ip ip;

	asks = dhcp_message_ip(message, DHCP_OPTION_REQUESTED_IP, &ip);
	if (named && !ours) {
		dhcp_count(request->server, DHCP_COUNT_OTHER_SERVER);
		if (request->lease != NULL && request->lease->state == LEASE_OFFERED)
			leave_other(request, NULL);
	} else if (named && asks) {
		on_selecting(request, &ip);
	} else if (!named && asks && !uses) {
		on_reboot(request, &ip);
	} else if (!named && !asks && uses) {
		on_renew(request);
	} else {
		dhcp_count(request->server, DHCP_COUNT_MALFORMED);
	}
}

/* RFC 2131, 4.3.3: somebody else uses the address. */
static void on_decline(struct dhcp_request *request)
{
	const struct lease *lease = request->lease;
	bool named, ours = names_us(request, &named);
	struct ip ip;

	if (!named || !dhcp_message_ip(request->message, DHCP_OPTION_REQUESTED_IP, &ip))
		dhcp_count(request->server, DHCP_COUNT_MALFORMED);
	else if (!ours)
		dhcp_count(request->server, DHCP_COUNT_OTHER_SERVER);
	else if (lease == NULL || !ip_equal(&lease->ip, &ip))
		dhcp_count(request->server, DHCP_COUNT_UNKNOWN);
	else {
		dhcp_probe_cancel(request->server, &ip);
		dhcp_address_set_aside(request->server, &ip, request->by.port, request->now,
				       request->wall);
	}
}

/* RFC 2131, 4.3.4. */
static void on_release(struct dhcp_request *request)
{
	const struct lease *lease = request->lease;
	bool named, ours = names_us(request, &named);

	if (!named || ip_is_unspecified(&request->message->header.ciaddr))
		dhcp_count(request->server, DHCP_COUNT_MALFORMED);
	else if (!ours)
		dhcp_count(request->server, DHCP_COUNT_OTHER_SERVER);
	else if (lease == NULL || lease->state != LEASE_BOUND ||
		 !ip_equal(&lease->ip, &request->message->header.ciaddr))
		dhcp_count(request->server, DHCP_COUNT_UNKNOWN);
	else
		lease_remove(request->server->leases, &lease->ip);
}

/* RFC 2131, 4.3.5. */
static void on_inform(struct dhcp_request *request)
{
	if (ip_is_host(&request->message->header.ciaddr))
		dhcp_reply_inform(request);
	else
		dhcp_count(request->server, DHCP_COUNT_MALFORMED);
}

/* Whether the message names a server (option 54) and whether that is us. */
static bool names_us(const struct dhcp_request *request, bool *named)
{
	struct ip ip;

	*named = dhcp_message_ip(request->message, DHCP_OPTION_SERVER_ID, &ip);
	for (unsigned i = 0; *named && i < request->server->leg.prefix_count; i++)
		if (ip_equal(&ip, &request->server->leg.prefixes[i].ip))
			return true;
	return false;
}

/* A client has one lease: drops what it has on another address than `ip` (NULL: on any). */
static void leave_other(struct dhcp_request *request, const struct ip *ip)
{
	struct dhcp_server *server = request->server;
	struct ip other;

	if (request->lease == NULL || (ip != NULL && ip_equal(&request->lease->ip, ip)))
		return;
	other = request->lease->ip;
	request->lease = NULL;
	dhcp_probe_cancel(server, &other);
	lease_remove(server->leases, &other);
}

static void bind_lease(struct dhcp_request *request, const struct ip *ip)
{
	struct dhcp_server *server = request->server;
	uint32_t seconds = dhcp_reply_lease_time(request);
	struct lease lease = {
		.ip = *ip,
		.mac = request->message->header.chaddr,
		.client_length = request->client_length,
		.expires = seconds == UINT32_MAX ? LEASE_FOREVER : request->wall + seconds,
		.state = LEASE_BOUND,
		.port = request->by.port,
		.reserved = dhcp_address_is_reserved(request, ip),
	};

	if (dhcp_address_over_limit(request, ip)) {
		dhcp_count(server, DHCP_COUNT_PORT_LIMIT);
		dhcp_reply_nak(request, "too many leases");
		return;
	}
	memcpy(lease.client, request->client, request->client_length);
	snprintf(lease.host, sizeof(lease.host), "%s", dhcp_client_name(request, ip));
	leave_other(request, ip);
	dhcp_probe_cancel(server, ip);
	if (lease_put(server->leases, &lease) != 0) {
		dhcp_count(server, DHCP_COUNT_EXHAUSTED);
		dhcp_reply_nak(request, "no room for another lease");
		return;
	}
	request->lease = lease_find_ip(server->leases, ip);
	dhcp_reply_lease(request, DHCP_ACK, ip, request->lease->host);
}
