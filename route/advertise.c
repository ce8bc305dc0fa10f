/* Router advertisements of one leg (advertise.h): when they go out, and what stands in them.
 * Control thread; called by the gateway's glue with packets and when the deadline has come. */
#include "route/advertise.h"

#include "base/parse.h"
#include "route/dhcp_message.h"
#include "route/jitter.h"
#include "route/nd_option.h"

#include <stdlib.h>
#include <string.h>

/* RFC 4861, 10: milliseconds. */
#define INITIAL_INTERVAL 16000u
#define INITIAL_COUNT	 3u
#define MIN_DELAY	 3000u /* between two to all nodes */
#define MAX_DELAY	 500u  /* of an answer */

#define INTERVAL_MIN 4u /* seconds; RFC 4861, 6.2.1 */
#define INTERVAL_MAX 1800u
#define LENGTH_MAX   1240u /* of the message, so that it fits the least MTU of IPv6 */
#define PREFIXES_MAX 16u
#define HOP_LIMIT    64u

#define FLAG_MANAGED	0x80
#define FLAG_OTHER	0x40
#define FLAG_ON_LINK	0x80
#define FLAG_AUTONOMOUS 0x40

struct asker {
	struct ip ip;
	struct mac mac;
	uint64_t at;
};

struct advertise {
	struct advertise_settings settings; /* without the caller's prefixes */
	struct route_output output;
	struct ip source;
	uint32_t prefix_count;
	struct ip_prefix prefixes[PREFIXES_MAX];
	struct jitter jitter;
	uint64_t next; /* to all nodes */
	uint64_t last; /* was sent to all nodes */
	bool sent, ended;
	uint32_t initial; /* of those that come close together at the start, still to come */
	uint32_t asker_count;
	struct asker askers[ADVERTISE_PENDING];
	struct advertise_counters counters;
};

/* A message being written; an option that does not fit is left out whole. */
struct message {
	size_t length;
	uint8_t bytes[LENGTH_MAX];
};

static void send_to_all(struct advertise *advertise, uint64_t now);
static void send_to(struct advertise *advertise, const struct asker *asker);
static void send_message(const struct advertise *advertise, const struct ip *to,
			 const struct mac *mac);
static void multicast_soon(struct advertise *advertise, uint64_t now);

struct advertise *advertise_create(const struct advertise_settings *settings,
				   const struct route_output *output, uint64_t now)
{
	struct advertise *advertise = calloc(1, sizeof(*advertise));

	if (advertise == NULL)
		return NULL;
	advertise->settings = *settings;
	advertise->settings.prefixes = NULL;
	advertise->output = *output;
	advertise->source = ip_link_local_of(settings->mac.bytes);
	for (uint32_t i = 0; i < settings->prefix_count; i++) {
		const struct ip *ip = &settings->prefixes[i].ip;

		if (!ip_is_v4(ip) && !ip_is_link_local(ip) &&
		    advertise->prefix_count < PREFIXES_MAX)
			advertise->prefixes[advertise->prefix_count++] = settings->prefixes[i];
	}
	advertise->jitter.state = settings->seed;
	advertise->initial = INITIAL_COUNT;
	advertise->next = now;
	return advertise;
}

void advertise_destroy(struct advertise *advertise)
{
	free(advertise);
}

/* RFC 4861, 6.1.1. */
static bool solicitation_valid(const struct packet *packet)
{
	return nd_valid(packet, ND_SOLICITATION_LENGTH) && !mac_is_multicast(packet->from.bytes) &&
	       (ip_is_unspecified(&packet->source)
		    ? nd_option_find(packet->payload + ND_SOLICITATION_LENGTH,
				     packet->payload_length - ND_SOLICITATION_LENGTH,
				     ND_OPTION_SOURCE_LINK) == NULL
		    : ip_is_host(&packet->source));
}

void advertise_input(struct advertise *advertise, const struct packet *packet, uint64_t now)
{
	struct asker *asker;

	if (advertise->ended || !nd_is(packet, ND_ROUTER_SOLICITATION))
		return;
	if (!solicitation_valid(packet)) {
		advertise->counters.malformed++;
		return;
	}
	advertise->counters.solicited++;
	for (uint32_t i = 0; i < advertise->asker_count; i++) {
		if (ip_equal(&advertise->askers[i].ip, &packet->source))
			return;
	}
	if (ip_is_unspecified(&packet->source) || advertise->asker_count == ADVERTISE_PENDING) {
		multicast_soon(advertise, now);
		return;
	}
	/* The frame's own source, not the option's: nobody is sent what he did not ask for. */
	asker = &advertise->askers[advertise->asker_count++];
	asker->ip = packet->source;
	asker->mac = packet->from;
	asker->at = now + jitter_between(&advertise->jitter, 0, MAX_DELAY);
}

void advertise_greet(struct advertise *advertise, uint64_t now)
{
	if (!advertise->ended)
		multicast_soon(advertise, now);
}

uint64_t advertise_deadline(const struct advertise *advertise)
{
	uint64_t deadline = advertise->next;

	if (advertise->ended)
		return UINT64_MAX;
	for (uint32_t i = 0; i < advertise->asker_count; i++) {
		if (advertise->askers[i].at < deadline)
			deadline = advertise->askers[i].at;
	}
	return deadline;
}

void advertise_tick(struct advertise *advertise, uint64_t now)
{
	if (advertise->ended)
		return;
	if (now >= advertise->next)
		send_to_all(advertise, now);
	for (uint32_t i = 0; i < advertise->asker_count;) {
		struct asker asker = advertise->askers[i];

		if (now < asker.at) {
			i++;
			continue;
		}
		advertise->askers[i] = advertise->askers[--advertise->asker_count];
		send_to(advertise, &asker);
	}
}

void advertise_end(struct advertise *advertise)
{
	if (advertise->ended)
		return;
	advertise->ended = true;
	send_to_all(advertise, advertise->last);
}

const struct advertise_counters *advertise_counters(const struct advertise *advertise)
{
	return &advertise->counters;
}

/* An answer to all nodes: soon, but not sooner after the last than RFC 4861, 6.2.6 allows. */
static void multicast_soon(struct advertise *advertise, uint64_t now)
{
	uint64_t at = now;

	if (advertise->sent && at < advertise->last + MIN_DELAY)
		at = advertise->last + MIN_DELAY;
	at += jitter_between(&advertise->jitter, 0, MAX_DELAY);
	if (at < advertise->next)
		advertise->next = at;
}

static uint32_t interval_max(const struct advertise *advertise)
{
	uint32_t seconds = advertise->settings.config->interval;

	return seconds < INTERVAL_MIN	? INTERVAL_MIN
	       : seconds > INTERVAL_MAX ? INTERVAL_MAX
					: seconds;
}

static void send_to_all(struct advertise *advertise, uint64_t now)
{
	static const struct mac all_nodes_mac = { { 0x33, 0x33, 0, 0, 0, 1 } };
	static const struct ip all_nodes = { { 0xff, 0x02, [15] = 1 } };
	uint64_t max = interval_max(advertise) * 1000ull;
	uint64_t wait =
	    jitter_between(&advertise->jitter, max >= 9000 ? max / 3 : max * 3 / 4, max);

	send_message(advertise, &all_nodes, &all_nodes_mac);
	advertise->counters.multicasts++;
	if (advertise->initial > 0) {
		advertise->initial--;
		if (wait > INITIAL_INTERVAL)
			wait = INITIAL_INTERVAL;
	}
	advertise->sent = true;
	advertise->last = now;
	advertise->next = now + wait;
}

static void send_to(struct advertise *advertise, const struct asker *asker)
{
	send_message(advertise, &asker->ip, &asker->mac);
	advertise->counters.unicasts++;
}

/* Room for one more option, zeroed and with its type and length; NULL when there is none. */
static uint8_t *add_option(struct message *message, enum nd_option_type type, size_t length)
{
	uint8_t *p = message->bytes + message->length;

	if (length > LENGTH_MAX - message->length)
		return NULL;
	memset(p, 0, length);
	p[0] = (uint8_t)type;
	p[1] = (uint8_t)(length / 8);
	message->length += length;
	return p;
}

/* RFC 4861, 4.6.2. Only a /64 is autonomous: interface identifiers are 64 bits (RFC 4291). */
static void add_prefix(struct message *message, const struct advertise *advertise,
		       const struct ip_prefix *prefix)
{
	const struct advertise_config *config = advertise->settings.config;
	struct ip_prefix network = ip_prefix_network(prefix);
	uint8_t *p = add_option(message, ND_OPTION_PREFIX, ND_PREFIX_LENGTH);

	if (p == NULL)
		return;
	p[2] = prefix->length;
	p[3] = FLAG_ON_LINK;
	if (prefix->length == 64 && advertise->settings.dhcp6 != DHCP6_STATEFUL)
		p[3] |= FLAG_AUTONOMOUS;
	write_be32(p + 4, config->valid_lifetime);
	write_be32(p + 8, config->preferred_lifetime < config->valid_lifetime
			      ? config->preferred_lifetime
			      : config->valid_lifetime);
	memcpy(p + 16, network.ip.bytes, 16);
}

/* RFC 8106, 5.1. */
static void add_resolvers(struct message *message, const struct advertise *advertise,
			  uint32_t lifetime)
{
	const struct ip_list *list = &advertise->settings.config->dns;
	struct ip ips[DHCP_LIST_MAX];
	uint32_t count = 0;
	uint8_t *p;

	for (uint32_t i = 0; i < list->count; i++) {
		if (!ip_is_v4(&list->ips[i]))
			ips[count++] = list->ips[i];
	}
	if (list->count == 0 && advertise->settings.serves_dns)
		ips[count++] =
		    advertise->prefix_count > 0 ? advertise->prefixes[0].ip : advertise->source;
	if (count == 0)
		return;
	p = add_option(message, ND_OPTION_RDNSS, 8 + 16 * (size_t)count);
	if (p == NULL)
		return;
	write_be32(p + 4, lifetime);
	for (uint32_t i = 0; i < count; i++)
		memcpy(p + 8 + 16 * (size_t)i, ips[i].bytes, 16);
}

/* RFC 8106, 5.2: names one after the other, zeros up to a multiple of eight. */
static void add_search(struct message *message, const struct advertise_config *config,
		       uint32_t lifetime)
{
	uint8_t names[LENGTH_MAX];
	size_t room = LENGTH_MAX - message->length, length = 0;
	uint8_t *p;

	if (room < 16)
		return;
	room = (room & ~(size_t)7) - 8;
	for (uint32_t i = 0; i < config->search_count; i++)
		length += dhcp_name_encode(config->search[i], names + length, room - length);
	if (length == 0)
		return;
	p = add_option(message, ND_OPTION_DNSSL, (8 + length + 7) & ~(size_t)7);
	if (p == NULL)
		return;
	write_be32(p + 4, lifetime);
	memcpy(p + 8, names, length);
}

/* RFC 4861, 4.2. What ends with us (routes and names through us) has lifetime 0 after the end; the
 * prefixes remain what they are. */
static void write_message(const struct advertise *advertise, struct message *message)
{
	const struct advertise_settings *settings = &advertise->settings;
	const struct advertise_config *config = settings->config;
	uint32_t router = config->router_lifetime <= 65535 ? config->router_lifetime : 65535;
	uint32_t mtu = config->mtu != 0 ? config->mtu : settings->mtu;
	uint32_t names = advertise->ended ? 0 : 3 * interval_max(advertise);
	uint8_t *p = message->bytes;

	memset(p, 0, ND_ADVERTISEMENT_LENGTH);
	p[0] = ND_ROUTER_ADVERTISEMENT;
	p[4] = HOP_LIMIT;
	p[5] = settings->dhcp6 == DHCP6_STATEFUL    ? FLAG_MANAGED | FLAG_OTHER
	       : settings->dhcp6 == DHCP6_STATELESS ? FLAG_OTHER
						    : 0;
	write_be16(p + 6, (uint16_t)(advertise->ended ? 0 : router));
	message->length = ND_ADVERTISEMENT_LENGTH;
	p = add_option(message, ND_OPTION_SOURCE_LINK, ND_LINK_LENGTH);
	memcpy(p + 2, settings->mac.bytes, MAC_LENGTH);
	if (mtu != 0) {
		p = add_option(message, ND_OPTION_MTU, ND_MTU_LENGTH);
		write_be32(p + 4, mtu);
	}
	for (uint32_t i = 0; i < advertise->prefix_count; i++)
		add_prefix(message, advertise, &advertise->prefixes[i]);
	add_resolvers(message, advertise, names);
	add_search(message, config, names);
}

static void send_message(const struct advertise *advertise, const struct ip *to,
			 const struct mac *mac)
{
	struct packet_header header = {
		.from = advertise->settings.mac,
		.to = *mac,
		.source = advertise->source,
		.destination = *to,
		.protocol = IPPROTO_ICMPV6,
		.hop_limit = ND_HOP_LIMIT,
	};
	uint8_t frame[PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH + LENGTH_MAX];
	struct message message;
	size_t length;

	write_message(advertise, &message);
	length = packet_write_ip(&header, message.bytes, message.length, frame, sizeof(frame));
	route_send(&advertise->output, frame, length);
}
