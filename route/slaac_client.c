/* The host side of IPv6 on an uplink (slaac_client.h): solicits routers, makes addresses and proves
 * them, and tells what changed. What routers said is kept in slaac_client_tables.c. Control thread;
 * called by the glue of an uplink with packets and when the deadline has come. */
#include "route/slaac_client.h"

#include "base/parse.h"
#include "base/siphash.h"
#include "route/jitter.h"
#include "route/nd_option.h"
#include "route/slaac_client_tables.h"

#include <stdlib.h>

/* Milliseconds. */
#define SOLICIT_FIRST	  4000u /* RFC 7559, 2 */
#define SOLICIT_MAX	  3600000u
#define SOLICIT_DELAY_MAX 1000u /* RFC 4861, 10 */
#define PROBE_DELAY_MAX	  1000u /* RFC 4862, 5.4.2 */
#define PROBE_TIME	  1000u /* RFC 4861, 10: RETRANS_TIMER */
#define PROOF_AGAIN	  60000u
#define TELL_INTERVAL	  1000u
#define IDENTIFIERS_TRIED 4u /* RFC 7217, 6: IDGEN_RETRIES, and the first */

struct slaac_client {
	struct slaac_client_settings settings;
	struct route_output output;
	struct slaac_client_events events;
	struct jitter jitter;
	struct slaac_proof link_local;
	struct slaac_tables tables;
	uint64_t solicit_at; /* UINT64_MAX: there is a router */
	uint64_t solicit_wait;
	struct slaac_state state, told;
	uint64_t tell_at; /* not before */
	bool untold;	  /* state is not what was told last */
	struct slaac_client_counters counters;
};

static void take_advertisement(struct slaac_client *client, const struct packet *packet,
			       uint64_t now);
static void take_neighbour(struct slaac_client *client, const struct packet *packet, uint64_t now);
static void start_proofs(struct slaac_client *client, uint64_t now);
static void advance_proofs(struct slaac_client *client, uint64_t now);
static void fail_proof(struct slaac_client *client, uint32_t i, uint64_t now);
static void choose_address(const struct slaac_client *client, struct slaac_entry *entry);
static void plan_solicitation(struct slaac_client *client, uint64_t now);
static void solicit(struct slaac_client *client, uint64_t now);
static void settle(struct slaac_client *client, uint64_t now);

/* The proof of the i-th entry, or of the link-local address at the end. */
static struct slaac_proof *proof_at(struct slaac_client *client, uint32_t i)
{
	return i < client->tables.entry_count ? &client->tables.entries[i].proof
					      : &client->link_local;
}

struct slaac_client *slaac_client_create(const struct slaac_client_settings *settings,
					 const struct route_output *output,
					 const struct slaac_client_events *events, uint64_t now)
{
	struct slaac_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->settings = *settings;
	client->output = *output;
	client->events = *events;
	client->jitter.state = settings->seed;
	client->link_local.ip = ip_link_local_of(settings->mac.bytes);
	slaac_client_restart(client, now);
	return client;
}

void slaac_client_destroy(struct slaac_client *client)
{
	free(client);
}

void slaac_client_input(struct slaac_client *client, const struct packet *packet, uint64_t now)
{
	if (nd_is(packet, ND_ROUTER_ADVERTISEMENT))
		take_advertisement(client, packet, now);
	else if (nd_is(packet, ND_NEIGHBOUR_SOLICITATION) ||
		 nd_is(packet, ND_NEIGHBOUR_ADVERTISEMENT))
		take_neighbour(client, packet, now);
}

uint64_t slaac_client_deadline(const struct slaac_client *client)
{
	uint64_t deadline = slaac_tables_deadline(&client->tables);

	if (client->solicit_at < deadline)
		deadline = client->solicit_at;
	for (uint32_t i = 0; i <= client->tables.entry_count; i++) {
		const struct slaac_proof *proof = i < client->tables.entry_count
						      ? &client->tables.entries[i].proof
						      : &client->link_local;

		if (proof->phase != SLAAC_PROOF_NONE && proof->at < deadline)
			deadline = proof->at;
	}
	return client->untold && client->tell_at < deadline ? client->tell_at : deadline;
}

void slaac_client_tick(struct slaac_client *client, uint64_t now)
{
	slaac_tables_expire(&client->tables, now);
	advance_proofs(client, now);
	plan_solicitation(client, now);
	if (client->solicit_at <= now)
		solicit(client, now);
	settle(client, now);
}

void slaac_client_restart(struct slaac_client *client, uint64_t now)
{
	for (uint32_t i = 0; i <= client->tables.entry_count; i++) {
		struct slaac_proof *proof = proof_at(client, i);

		if (proof != &client->link_local && !client->tables.entries[i].autonomous)
			continue;
		proof->phase = SLAAC_PROOF_WAITING;
		proof->at = now;
	}
	client->solicit_at = now;
	client->solicit_wait = 0;
}

const struct slaac_state *slaac_client_state(const struct slaac_client *client)
{
	return &client->state;
}

const struct slaac_client_counters *slaac_client_counters(const struct slaac_client *client)
{
	return &client->counters;
}

/* RFC 4861, 6.1.2. */
static void take_advertisement(struct slaac_client *client, const struct packet *packet,
			       uint64_t now)
{
	if (!nd_valid(packet, ND_ADVERTISEMENT_LENGTH) || !ip_is_link_local(&packet->source) ||
	    mac_is_multicast(packet->from.bytes)) {
		client->counters.malformed++;
		return;
	}
	/* Without a link-local address there is no IPv6 here (RFC 4862, 5.4.5). */
	if (client->link_local.phase == SLAAC_PROOF_FAILED)
		return;
	client->counters.advertised++;
	slaac_tables_learn(&client->tables, packet, client->settings.mtu, now, &client->counters);
	start_proofs(client, now);
	/* RFC 7559, 2.1: enough asked when there is a router. */
	if (client->tables.router_count > 0)
		client->solicit_at = UINT64_MAX;
	plan_solicitation(client, now);
	settle(client, now);
}

/* Whether a message speaks against an address that is being proven: somebody else proves it too,
 * or has it (RFC 4862, 5.4.3, 5.4.4). A probe that comes back to us has our nonce (RFC 7527). */
static bool contradicts(const struct packet *packet, const struct slaac_proof *proof)
{
	const uint8_t *p = packet->payload, *nonce;
	struct ip target = ip_from_v6_bytes(p + 8);

	if ((proof->phase != SLAAC_PROOF_WAITING && proof->phase != SLAAC_PROOF_PROBING) ||
	    !ip_equal(&target, &proof->ip))
		return false;
	if (p[0] == ND_NEIGHBOUR_ADVERTISEMENT)
		return true;
	nonce = nd_option_find(p + ND_NEIGHBOUR_LENGTH,
			       packet->payload_length - ND_NEIGHBOUR_LENGTH, ND_OPTION_NONCE);
	return ip_is_unspecified(&packet->source) &&
	       (proof->phase == SLAAC_PROOF_WAITING || nonce == NULL || nonce[1] != 1 ||
		memcmp(nonce + 2, proof->nonce, sizeof(proof->nonce)) != 0);
}

/* RFC 4861, 7.1. */
static void take_neighbour(struct slaac_client *client, const struct packet *packet, uint64_t now)
{
	struct ip target;

	if (!nd_valid(packet, ND_NEIGHBOUR_LENGTH)) {
		client->counters.malformed++;
		return;
	}
	target = ip_from_v6_bytes(packet->payload + 8);
	if (ip_is_multicast(&target)) {
		client->counters.malformed++;
		return;
	}
	for (uint32_t i = 0; i <= client->tables.entry_count; i++) {
		if (contradicts(packet, proof_at(client, i))) {
			fail_proof(client, i, now);
			settle(client, now);
			return;
		}
	}
}

/* For new prefixes, after a while, as an advertisement may have come to many at once. */
static void start_proofs(struct slaac_client *client, uint64_t now)
{
	for (uint32_t i = 0; i < client->tables.entry_count; i++) {
		struct slaac_entry *entry = &client->tables.entries[i];

		if (!entry->autonomous || entry->proof.done ||
		    entry->proof.phase != SLAAC_PROOF_NONE)
			continue;
		choose_address(client, entry);
		entry->proof.phase = SLAAC_PROOF_WAITING;
		entry->proof.at = now + jitter_between(&client->jitter, 0, PROBE_DELAY_MAX);
	}
}

static void send_message(struct slaac_client *client, const struct ip *source,
			 const struct ip *destination, const void *message, size_t length)
{
	struct packet_header header = {
		.from = client->settings.mac,
		.to = { { 0x33, 0x33, destination->bytes[12], destination->bytes[13],
			  destination->bytes[14], destination->bytes[15] } },
		.source = *source,
		.destination = *destination,
		.protocol = IPPROTO_ICMPV6,
		.hop_limit = ND_HOP_LIMIT,
	};
	uint8_t frame[PACKET_ETHERNET_LENGTH + PARSE_IPV6_LENGTH + ND_NEIGHBOUR_LENGTH + 8];

	length = packet_write_ip(&header, message, length, frame, sizeof(frame));
	route_send(&client->output, frame, length);
}

/* RFC 4862, 5.4.2: does anybody have this address? */
static void send_probe(struct slaac_client *client, struct slaac_proof *proof)
{
	static const struct ip unspecified;
	struct ip to = ip_solicited_node(&proof->ip);
	uint8_t message[ND_NEIGHBOUR_LENGTH + 8] = { ND_NEIGHBOUR_SOLICITATION };
	uint64_t nonce = jitter_next(&client->jitter);

	memcpy(proof->nonce, &nonce, sizeof(proof->nonce));
	memcpy(message + 8, proof->ip.bytes, 16);
	message[ND_NEIGHBOUR_LENGTH] = ND_OPTION_NONCE;
	message[ND_NEIGHBOUR_LENGTH + 1] = 1;
	memcpy(message + ND_NEIGHBOUR_LENGTH + 2, proof->nonce, sizeof(proof->nonce));
	client->counters.probes++;
	send_message(client, &unspecified, &to, message, sizeof(message));
}

static void advance_proofs(struct slaac_client *client, uint64_t now)
{
	for (uint32_t i = 0; i <= client->tables.entry_count; i++) {
		struct slaac_proof *proof = proof_at(client, i);

		if (proof->phase == SLAAC_PROOF_NONE || proof->at > now)
			continue;
		switch (proof->phase) {
		case SLAAC_PROOF_FAILED:
			proof->counter = 0;
			if (proof == &client->link_local)
				client->solicit_at = now;
			else
				choose_address(client, &client->tables.entries[i]);
			/* fall through */
		case SLAAC_PROOF_WAITING:
			send_probe(client, proof);
			proof->phase = SLAAC_PROOF_PROBING;
			proof->at = now + PROBE_TIME;
			break;
		case SLAAC_PROOF_PROBING:
			proof->phase = SLAAC_PROOF_NONE;
			proof->done = true;
			break;
		case SLAAC_PROOF_NONE:
			break;
		}
	}
}

/* Somebody has it. For a prefix the next identifier is tried; a MAC that is not ours alone leaves
 * no IPv6 at all (RFC 4862, 5.4.5). Either is tried again after a minute. */
static void fail_proof(struct slaac_client *client, uint32_t i, uint64_t now)
{
	struct slaac_proof *proof = proof_at(client, i);

	client->counters.duplicates++;
	proof->done = false;
	if (proof == &client->link_local) {
		client->tables = (struct slaac_tables){ 0 };
		client->solicit_at = UINT64_MAX;
		client->solicit_wait = 0;
	} else if (++proof->counter < IDENTIFIERS_TRIED) {
		choose_address(client, &client->tables.entries[i]);
		proof->phase = SLAAC_PROOF_WAITING;
		proof->at = now + jitter_between(&client->jitter, 0, PROBE_DELAY_MAX);
		return;
	}
	proof->phase = SLAAC_PROOF_FAILED;
	proof->at = now + PROOF_AGAIN;
}

/* RFC 5453: identifiers that are everybody's. */
static bool is_reserved(const uint8_t identifier[8])
{
	static const uint8_t zero[8], anycast[7] = { 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
				      iana[5] = { 0x02, 0x00, 0x5e, 0xff, 0xfe };

	return memcmp(identifier, zero, 8) == 0 || memcmp(identifier, iana, 5) == 0 ||
	       (memcmp(identifier, anycast, 7) == 0 && identifier[7] >= 0x80);
}

/* RFC 7217, 5: the prefix, the interface (its MAC) and the counter, hashed with the secret. Without
 * one the first choice is EUI-64. */
static void choose_address(const struct slaac_client *client, struct slaac_entry *entry)
{
	struct slaac_proof *proof = &entry->proof;
	uint8_t input[8 + MAC_LENGTH + 1], *identifier = proof->ip.bytes + 8;
	uint64_t key[2], hash;

	proof->ip = entry->prefix.ip;
	if (!client->settings.has_secret && proof->counter == 0) {
		memcpy(identifier, client->link_local.ip.bytes + 8, 8);
		return;
	}
	memcpy(key, client->settings.secret, sizeof(key));
	memcpy(input, entry->prefix.ip.bytes, 8);
	memcpy(input + 8, client->settings.mac.bytes, MAC_LENGTH);
	do {
		input[8 + MAC_LENGTH] = proof->counter;
		hash = siphash(key, input, sizeof(input));
		write_be32(identifier, (uint32_t)(hash >> 32));
		write_be32(identifier + 4, (uint32_t)hash);
	} while (is_reserved(identifier) && proof->counter++ < UINT8_MAX);
}

/* The last router is gone: another is looked for. */
static void plan_solicitation(struct slaac_client *client, uint64_t now)
{
	if (client->tables.router_count > 0 || client->solicit_at != UINT64_MAX ||
	    client->link_local.phase == SLAAC_PROOF_FAILED)
		return;
	client->solicit_at = now + jitter_between(&client->jitter, 0, SOLICIT_DELAY_MAX);
	client->solicit_wait = 0;
}

/* RFC 4861, 6.3.7; RFC 7559, 2: until a router answers, at longer and longer intervals. */
static void solicit(struct slaac_client *client, uint64_t now)
{
	static const struct ip all_routers = { { 0xff, 0x02, [15] = 2 } };
	static const struct ip unspecified;
	bool ours = client->link_local.done;
	uint8_t message[ND_SOLICITATION_LENGTH + ND_LINK_LENGTH] = { ND_ROUTER_SOLICITATION };
	uint64_t wait = client->solicit_wait == 0 ? SOLICIT_FIRST : 2 * client->solicit_wait;

	message[ND_SOLICITATION_LENGTH] = ND_OPTION_SOURCE_LINK;
	message[ND_SOLICITATION_LENGTH + 1] = 1;
	memcpy(message + ND_SOLICITATION_LENGTH + 2, client->settings.mac.bytes, MAC_LENGTH);
	send_message(client, ours ? &client->link_local.ip : &unspecified, &all_routers, message,
		     ours ? sizeof(message) : ND_SOLICITATION_LENGTH);
	client->counters.solicitations++;
	if (wait > SOLICIT_MAX)
		wait = SOLICIT_MAX;
	client->solicit_wait = jitter_between(&client->jitter, wait - wait / 10, wait + wait / 10);
	client->solicit_at = now + client->solicit_wait;
}

static bool has_anything(const struct slaac_state *state)
{
	for (uint32_t i = 0; i < state->prefix_count; i++) {
		if (state->prefixes[i].has_address)
			return true;
	}
	return state->router_count > 0;
}

/* Tells what changed, but not again within a second. */
static void settle(struct slaac_client *client, uint64_t now)
{
	bool has, had = has_anything(&client->told);

	slaac_tables_state(&client->tables, client->link_local.done, &client->state);
	has = has_anything(&client->state);
	client->untold = !slaac_state_same(&client->state, &client->told) && (has || had);
	if (!client->untold || now < client->tell_at)
		return;
	client->untold = false;
	client->tell_at = now + TELL_INTERVAL;
	client->told = client->state;
	if (has)
		client->events.configured(client->events.context, &client->state);
	else
		client->events.lost(client->events.context);
}
