/* The DHCPv4 client's state machine (dhcp_client.h; RFC 2131, figure 5 and 4.4). Control thread;
 * called by the glue of an uplink with packets and when the deadline has come. */
#include "route/dhcp_client.h"

#include "base/parse.h"
#include "route/dhcp_client_lease.h"
#include "route/dhcp_message.h"
#include "route/jitter.h"

#include <stdlib.h>

/* Milliseconds. */
#define RETRY_FIRST   4000u /* RFC 2131, 4.1 */
#define RETRY_MAX     64000u
#define RETRY_SPREAD  1000u
#define RENEW_RETRY   60000u /* at least, RFC 2131, 4.4.5 */
#define CONFLICT_WAIT 10000u /* RFC 2131, 3.1.5 */
#define REFUSED_WAIT  1000u  /* doubled with each NAK in a row */
#define REQUEST_TRIES 4u
#define REBOOT_TRIES  2u
#define SIZE_WE_TAKE  1472u /* option 57 */

struct dhcp_client {
	struct dhcp_client_settings settings;
	struct route_output output;
	struct dhcp_client_events events;
	struct jitter jitter;
	enum dhcp_client_phase phase;
	bool resting;
	uint32_t xid;
	uint32_t tries;	   /* of this phase */
	uint32_t refusals; /* in a row */
	uint64_t started, sent_at, next;
	struct ip wanted; /* asked for; unspecified: none */
	struct ip server; /* whose offer is asked for */
	struct mac server_mac;
	bool has_state;
	struct dhcp_client_state state;
	struct dhcp_client_counters counters;
};

static void begin(struct dhcp_client *client, enum dhcp_client_phase phase, uint64_t now);
static void send_again(struct dhcp_client *client, uint64_t now);
static void lose(struct dhcp_client *client);
static void start_over(struct dhcp_client *client, uint64_t at);
static bool is_expected(const struct dhcp_client *client, const struct dhcp_message *message);
static void take_offer(struct dhcp_client *client, const struct dhcp_message *message,
		       uint64_t now);
static void take_ack(struct dhcp_client *client, const struct dhcp_message *message,
		     const struct packet *packet);
static void take_nak(struct dhcp_client *client, uint64_t now);
static void send_message(struct dhcp_client *client, enum dhcp_type type, uint64_t now);

struct dhcp_client *dhcp_client_create(const struct dhcp_client_settings *settings,
				       const struct route_output *output,
				       const struct dhcp_client_events *events, uint64_t now)
{
	struct dhcp_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->settings = *settings;
	client->output = *output;
	client->events = *events;
	client->jitter.state = settings->seed;
	if (ip_is_v4(&settings->remembered) && ip_is_host(&settings->remembered))
		client->wanted = settings->remembered;
	start_over(client, now);
	return client;
}

void dhcp_client_destroy(struct dhcp_client *client)
{
	free(client);
}

void dhcp_client_input(struct dhcp_client *client, const struct packet *packet, uint64_t now)
{
	struct dhcp_message message;

	if (packet->ip_version != 4 || packet->data == NULL ||
	    packet->source_port != DHCP_SERVER_PORT || packet->destination_port != DHCP_CLIENT_PORT)
		return;
	if (dhcp_message_parse(packet->data, packet->data_length, &message) != 0) {
		client->counters.malformed++;
		return;
	}
	if (!is_expected(client, &message)) {
		client->counters.ignored++;
		return;
	}
	client->counters.received++;
	if (message.type == DHCP_OFFER)
		take_offer(client, &message, now);
	else if (message.type == DHCP_ACK)
		take_ack(client, &message, packet);
	else
		take_nak(client, now);
}

uint64_t dhcp_client_deadline(const struct dhcp_client *client)
{
	if (client->resting)
		return UINT64_MAX;
	return client->has_state && client->state.expires_at < client->next
		   ? client->state.expires_at
		   : client->next;
}

void dhcp_client_tick(struct dhcp_client *client, uint64_t now)
{
	if (client->resting)
		return;
	if (client->has_state && now >= client->state.expires_at) {
		client->counters.lost++;
		lose(client);
		start_over(client, now);
	}
	if (now < client->next)
		return;
	switch (client->phase) {
	case DHCP_CLIENT_INIT:
		begin(client,
		      ip_is_unspecified(&client->wanted) ? DHCP_CLIENT_SELECTING
							 : DHCP_CLIENT_REBOOTING,
		      now);
		break;
	case DHCP_CLIENT_BOUND:
		begin(client,
		      now < client->state.rebind_at ? DHCP_CLIENT_RENEWING : DHCP_CLIENT_REBINDING,
		      now);
		break;
	case DHCP_CLIENT_RENEWING:
		if (now >= client->state.rebind_at)
			begin(client, DHCP_CLIENT_REBINDING, now);
		else
			send_again(client, now);
		break;
	case DHCP_CLIENT_REQUESTING:
		if (client->tries >= REQUEST_TRIES)
			begin(client, DHCP_CLIENT_SELECTING, now);
		else
			send_again(client, now);
		break;
	case DHCP_CLIENT_REBOOTING:
		if (client->tries < REBOOT_TRIES) {
			send_again(client, now);
		} else if (client->has_state) {
			/* Nobody said no (RFC 2131, 3.2). */
			client->phase = DHCP_CLIENT_BOUND;
			client->next = client->state.renew_at;
		} else {
			begin(client, DHCP_CLIENT_SELECTING, now);
		}
		break;
	case DHCP_CLIENT_SELECTING:
	case DHCP_CLIENT_REBINDING:
		send_again(client, now);
		break;
	}
}

void dhcp_client_conflict(struct dhcp_client *client, uint64_t now)
{
	if (!client->has_state)
		return;
	client->counters.conflicts++;
	client->xid = (uint32_t)jitter_next(&client->jitter);
	client->started = now;
	send_message(client, DHCP_DECLINE, now);
	lose(client);
	start_over(client, now + CONFLICT_WAIT);
}

void dhcp_client_restart(struct dhcp_client *client, uint64_t now)
{
	client->resting = false;
	client->refusals = 0;
	client->phase = DHCP_CLIENT_INIT;
	client->next = now;
}

void dhcp_client_release(struct dhcp_client *client, uint64_t now)
{
	client->resting = true;
	client->phase = DHCP_CLIENT_INIT;
	if (!client->has_state)
		return;
	client->xid = (uint32_t)jitter_next(&client->jitter);
	client->started = now;
	send_message(client, DHCP_RELEASE, now);
	lose(client);
}

enum dhcp_client_phase dhcp_client_phase(const struct dhcp_client *client)
{
	return client->phase;
}

const struct dhcp_client_state *dhcp_client_state(const struct dhcp_client *client)
{
	return client->has_state ? &client->state : NULL;
}

const struct dhcp_client_counters *dhcp_client_counters(const struct dhcp_client *client)
{
	return &client->counters;
}

/* Enters a phase in which something is asked for, and asks. An offer's transaction goes on in the
 * request for it (RFC 2131, 4.4.1). */
static void begin(struct dhcp_client *client, enum dhcp_client_phase phase, uint64_t now)
{
	if (phase != DHCP_CLIENT_REQUESTING) {
		client->xid = (uint32_t)jitter_next(&client->jitter);
		client->started = now;
	}
	client->phase = phase;
	client->tries = 0;
	send_again(client, now);
}

/* When to ask again: halfway to when the phase ends, but not within a minute (RFC 2131, 4.4.5). */
static uint64_t next_renewal(uint64_t now, uint64_t end)
{
	uint64_t wait = end == UINT64_MAX || end <= now ? RENEW_RETRY : (end - now) / 2;

	if (wait < RENEW_RETRY)
		wait = RENEW_RETRY;
	return end > now && now + wait > end ? end : now + wait;
}

static void send_again(struct dhcp_client *client, uint64_t now)
{
	uint64_t wait = RETRY_MAX;

	send_message(client, client->phase == DHCP_CLIENT_SELECTING ? DHCP_DISCOVER : DHCP_REQUEST,
		     now);
	client->sent_at = now;
	if (client->phase == DHCP_CLIENT_RENEWING) {
		client->next = next_renewal(now, client->state.rebind_at);
	} else if (client->phase == DHCP_CLIENT_REBINDING) {
		client->next = next_renewal(now, client->state.expires_at);
	} else {
		if (client->tries < 5)
			wait = (uint64_t)RETRY_FIRST << client->tries;
		if (wait > RETRY_MAX)
			wait = RETRY_MAX;
		client->next =
		    now + jitter_between(&client->jitter, wait - RETRY_SPREAD, wait + RETRY_SPREAD);
	}
	client->tries++;
}

static void lose(struct dhcp_client *client)
{
	if (!client->has_state)
		return;
	client->has_state = false;
	client->wanted = (struct ip){ 0 };
	client->events.lost(client->events.context);
}

static void start_over(struct dhcp_client *client, uint64_t at)
{
	client->phase = DHCP_CLIENT_INIT;
	client->next = at;
}

/* Whether a message belongs to our exchange: what RFC 2131, table 4 lets come in each state. */
static bool is_expected(const struct dhcp_client *client, const struct dhcp_message *message)
{
	const struct dhcp_header *header = &message->header;
	bool ends = message->type == DHCP_ACK || message->type == DHCP_NAK;
	struct ip server;

	if (client->resting || header->op != DHCP_BOOTREPLY || header->xid != client->xid ||
	    mac_to_u64(header->chaddr.bytes) != mac_to_u64(client->settings.mac.bytes) ||
	    !dhcp_message_ip(message, DHCP_OPTION_SERVER_ID, &server))
		return false;
	switch (client->phase) {
	case DHCP_CLIENT_SELECTING:
		return message->type == DHCP_OFFER;
	case DHCP_CLIENT_REQUESTING:
		return ends && ip_equal(&server, &client->server);
	case DHCP_CLIENT_RENEWING:
		return ends && ip_equal(&server, &client->state.server);
	case DHCP_CLIENT_REBOOTING:
	case DHCP_CLIENT_REBINDING:
		return ends;
	case DHCP_CLIENT_INIT:
	case DHCP_CLIENT_BOUND:
		break;
	}
	return false;
}

/* The first one that makes sense is taken. */
static void take_offer(struct dhcp_client *client, const struct dhcp_message *message, uint64_t now)
{
	struct dhcp_client_state offered;

	if (!dhcp_client_read(message, now, &offered)) {
		client->counters.malformed++;
		return;
	}
	client->wanted = offered.address.ip;
	client->server = offered.server;
	begin(client, DHCP_CLIENT_REQUESTING, now);
}

static void take_ack(struct dhcp_client *client, const struct dhcp_message *message,
		     const struct packet *packet)
{
	struct dhcp_client_state given;
	bool changed;

	/* Times run from when we asked (RFC 2131, 4.4.1). */
	if (!dhcp_client_read(message, client->sent_at, &given) ||
	    !ip_equal(&given.address.ip, &client->wanted)) {
		client->counters.malformed++;
		return;
	}
	changed = !client->has_state || !dhcp_client_same(&client->state, &given);
	client->state = given;
	client->has_state = true;
	client->server_mac = packet->from;
	client->refusals = 0;
	client->phase = DHCP_CLIENT_BOUND;
	client->next = given.renew_at;
	if (changed)
		client->events.configured(client->events.context, &client->state);
}

/* RFC 2131, 4.4.1, 4.4.5: all over again, after a while that grows. */
static void take_nak(struct dhcp_client *client, uint64_t now)
{
	uint64_t wait = (uint64_t)REFUSED_WAIT << (client->refusals < 6 ? client->refusals : 6);

	client->counters.refused++;
	client->refusals++;
	if (client->has_state)
		client->counters.lost++;
	lose(client);
	client->wanted = (struct ip){ 0 };
	start_over(client, now + jitter_between(&client->jitter, wait / 2, wait));
}

/* Where a message goes: to all, from nobody, until the address is ours. */
static struct packet_header address_message(const struct dhcp_client *client, enum dhcp_type type)
{
	bool renews = type == DHCP_REQUEST && client->phase == DHCP_CLIENT_RENEWING;
	bool rebinds = type == DHCP_REQUEST && client->phase == DHCP_CLIENT_REBINDING;
	bool ours = renews || rebinds || type == DHCP_RELEASE;
	struct packet_header header = {
		.from = client->settings.mac,
		.to = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
		.source = ours ? client->state.address.ip : ip_from_v4(0),
		.destination = ip_from_v4(UINT32_MAX),
		.source_port = DHCP_CLIENT_PORT,
		.destination_port = DHCP_SERVER_PORT,
	};

	if (renews || type == DHCP_RELEASE) {
		header.to = client->server_mac;
		header.destination = client->state.server;
	}
	return header;
}

/* RFC 2131, table 5. The address stands in ciaddr while it is ours, else in option 50. */
static void send_message(struct dhcp_client *client, enum dhcp_type type, uint64_t now)
{
	struct packet_header to = address_message(client, type);
	uint64_t seconds = (now - client->started) / 1000;
	struct ip none = ip_from_v4(0);
	struct dhcp_header header = {
		.op = DHCP_BOOTREQUEST,
		.xid = client->xid,
		.seconds = seconds < 0xffff ? (uint16_t)seconds : 0xffff,
		.ciaddr = type == DHCP_DECLINE ? none : to.source,
		.yiaddr = none,
		.siaddr = none,
		.giaddr = none,
		.chaddr = client->settings.mac,
	};
	bool ours = !ip_is_unspecified(&header.ciaddr);
	uint8_t id[1 + MAC_LENGTH] = { 1 }, frame[1024];
	struct dhcp_writer writer;
	size_t length;

	/* What comes to an address that is not ours yet would not reach us. */
	if (!ours && type != DHCP_DECLINE)
		header.flags = DHCP_FLAG_BROADCAST;
	dhcp_write_start(&writer, &header, type, DHCP_LIMIT_MIN);
	memcpy(id + 1, client->settings.mac.bytes, MAC_LENGTH);
	dhcp_write_option(&writer, DHCP_OPTION_CLIENT_ID, id, sizeof(id));
	if (type == DHCP_DECLINE)
		dhcp_write_ip(&writer, DHCP_OPTION_REQUESTED_IP, &client->state.address.ip);
	else if (!ours && !ip_is_unspecified(&client->wanted))
		dhcp_write_ip(&writer, DHCP_OPTION_REQUESTED_IP, &client->wanted);
	if (type == DHCP_DECLINE || type == DHCP_RELEASE)
		dhcp_write_ip(&writer, DHCP_OPTION_SERVER_ID, &client->state.server);
	else if (client->phase == DHCP_CLIENT_REQUESTING)
		dhcp_write_ip(&writer, DHCP_OPTION_SERVER_ID, &client->server);
	if (type == DHCP_DISCOVER || type == DHCP_REQUEST) {
		dhcp_write_u16(&writer, DHCP_OPTION_MAX_SIZE, SIZE_WE_TAKE);
		dhcp_write_option(&writer, DHCP_OPTION_PARAMETERS, dhcp_client_parameters,
				  dhcp_client_parameter_count);
		if (client->settings.host_name[0] != '\0')
			dhcp_write_text(&writer, DHCP_OPTION_HOST_NAME, client->settings.host_name);
	}
	length = dhcp_write_finish(&writer);
	length = packet_write_udp(&to, writer.bytes, length, frame, sizeof(frame));
	client->counters.sent++;
	route_send(&client->output, frame, length);
}
