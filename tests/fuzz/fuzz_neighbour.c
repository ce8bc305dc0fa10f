/* Fuzzes the neighbour table: messages of anybody, frames that wait, time, and changes of legs.
 *
 * Input: steps of one byte that says what, and what that needs. All that leaves must be sound, the
 * table within its bounds, and what it holds no other than what RFC 826 and 4861 allow. */
#include "base/packet.h"
#include "base/parse.h"
#include "route/neighbour.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>

#define LEGS  2u
#define LIMIT 6u
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

struct fuzz {
	const uint8_t *data;
	size_t left;
	struct neighbour_table *table;
	struct route_leg legs[LEGS];
	bool set[LEGS];
	uint64_t now;
	uint32_t count[LEGS];
	uint32_t waiting; /* frames given to wait that have not come back */
};

static struct fuzz *fuzz_now; /* for the outputs */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t take(struct fuzz *fuzz)
{
	if (fuzz->left == 0)
		return 0;
	fuzz->left--;
	return *fuzz->data++;
}

/* One of a few addresses on the links, beside them, and our own. */
static struct ip take_ip(struct fuzz *fuzz)
{
	uint8_t choice = take(fuzz);
	struct ip ip;

	if (choice & 0x80)
		return ip_from_v4(0x0a000000u + (choice & 0x3f) + ((choice & 0x40u) << 2));
	CHECK(ip_from_text(choice & 0x40 ? "fe80::" : "fd00::", &ip) == 0);
	ip.bytes[15] = choice & 0x1f;
	ip.bytes[0] = choice & 0x20 ? 0xff : ip.bytes[0];
	return ip;
}

static struct mac take_mac(struct fuzz *fuzz)
{
	struct mac mac = { { 2, 0, 0, 0, 0, take(fuzz) } };

	mac.bytes[0] = mac.bytes[5] & 0x80 ? 3 : 2;
	return mac;
}

static void send_check(void *context, const uint8_t *frame, size_t length)
{
	const struct route_leg *leg = context;
	struct packet packet;

	CHECK(packet_parse(frame, length, &packet));
	CHECK(memcmp(&packet.from, &leg->mac, 6) == 0);
	if (packet.ethertype == 0xfefe) { /* one that waited */
		CHECK(!mac_is_multicast(packet.to.bytes));
		fuzz_now->waiting--;
		return;
	}
	if (packet.ethertype == ETHERTYPE_ARP) {
		struct ip sender = ip_from_v4_bytes(packet.network + 14);
		struct ip target = ip_from_v4_bytes(packet.network + 24);

		/* A probe comes from nowhere, and asks for one of ours (RFC 5227, 2.1.1). */
		CHECK(length == 60 &&
		      route_leg_owns(leg, ip_is_unspecified(&sender) ? &target : &sender));
		CHECK(memcmp(packet.network + 8, &leg->mac, 6) == 0);
		return;
	}
	CHECK(packet.protocol == IPPROTO_ICMPV6 && packet.hop_limit == 255);
	CHECK(packet_checksum_ok(&packet));
	if (ip_is_unspecified(&packet.source)) {
		struct ip target = ip_from_v6_bytes(packet.payload + 8);

		/* The same without an option (RFC 4861, 4.3). */
		CHECK(packet.payload[0] == ND_NEIGHBOR_SOLICIT && packet.payload_length == 24);
		CHECK(route_leg_owns(leg, &target));
		return;
	}
	CHECK(packet.payload_length == 32 && route_leg_owns(leg, &packet.source));
	CHECK(packet.payload[0] == ND_NEIGHBOR_SOLICIT || packet.payload[0] == ND_NEIGHBOR_ADVERT);
}

static void unreachable_check(void *context, const struct route_leg *leg, const uint8_t *frame,
			      size_t length)
{
	CHECK(length >= 14 && frame[12] == 0xfe && frame[13] == 0xfe);
	fuzz_now->waiting--;
}

static void visit_check(void *context, const struct neighbour *neighbour)
{
	struct fuzz *fuzz = context;
	const struct route_leg *leg = &fuzz->legs[neighbour->leg];
	bool known = neighbour->state != NEIGHBOUR_INCOMPLETE;
	struct mac mac;

	CHECK(fuzz->set[neighbour->leg]);
	CHECK(++fuzz->count[neighbour->leg] <= LIMIT);
	CHECK(route_leg_reaches(leg, &neighbour->ip) && !route_leg_owns(leg, &neighbour->ip));
	CHECK(neighbour_lookup(fuzz->table, neighbour->leg, &neighbour->ip, &mac) == known);
	if (!known)
		return;
	CHECK(memcmp(&mac, &neighbour->mac, 6) == 0 && !mac_is_multicast(mac.bytes));
	CHECK(memcmp(&mac, &leg->mac, 6) != 0 && !mac_is_zero(mac.bytes));
}

static void input(struct fuzz *fuzz, uint16_t leg, const uint8_t *bytes, size_t length)
{
	uint8_t *exact = malloc(length != 0 ? length : 1);
	struct packet packet;

	CHECK(exact != NULL);
	memcpy(exact, bytes, length);
	if (packet_parse(exact, length, &packet))
		neighbour_input(fuzz->table, leg, &packet, fuzz->now);
	free(exact);
}

/* Bytes as they are. */
static void step_frame(struct fuzz *fuzz, uint16_t leg)
{
	size_t length = take(fuzz);

	if (length > fuzz->left)
		length = fuzz->left;
	input(fuzz, leg, fuzz->data, length);
	fuzz->data += length;
	fuzz->left -= length;
}

static void step_arp(struct fuzz *fuzz, uint16_t leg)
{
	uint8_t frame[42] = { 2,    0,	  0,	0,    0,    leg,  2, 0, 0, 0, 0,
			      0x99, 0x08, 0x06, 0x00, 0x01, 0x08, 0, 6, 4, 0, take(fuzz) & 3 };
	struct mac mac = take_mac(fuzz);
	struct ip sender = take_ip(fuzz), target = take_ip(fuzz);

	memcpy(frame + 22, &mac, 6);
	memcpy(frame + 28, ip_v4_bytes(&sender), 4);
	memcpy(frame + 38, ip_v4_bytes(&target), 4);
	input(fuzz, leg, frame, sizeof(frame));
}

/* A message of neighbour discovery whose checksum is right. */
static void step_nd(struct fuzz *fuzz, uint16_t leg)
{
	uint8_t shape = take(fuzz), body[24 + 64], frame[256];
	struct packet_header header = { .protocol = IPPROTO_ICMPV6,
					.hop_limit = shape & 0x40 ? 254 : 255,
					.to = fuzz->legs[leg].mac };
	size_t length = 24;
	struct ip target;

	header.from = take_mac(fuzz);
	header.source = take_ip(fuzz);
	header.destination = take_ip(fuzz);
	target = take_ip(fuzz);
	memset(body, 0, sizeof(body));
	body[0] = shape & 1 ? ND_NEIGHBOR_SOLICIT : ND_NEIGHBOR_ADVERT;
	body[4] = take(fuzz);
	memcpy(body + 8, target.bytes, 16);
	if (shape & 2) {
		struct mac mac = take_mac(fuzz);

		body[24] = shape & 1 ? 1 : 2;
		body[25] = 1;
		memcpy(body + 26, &mac, 6);
		length += 8;
	}
	for (uint8_t more = shape >> 2 & 7; more > 0; more--)
		body[length++] = take(fuzz);
	if (shape & 0x80)
		header.destination = ip_solicited_node(&target);
	if (ip_is_v4(&header.source) || ip_is_v4(&header.destination))
		return;
	length = packet_write_ip(&header, body, length, frame, sizeof(frame));
	input(fuzz, leg, frame, length);
}

static void step_resolve(struct fuzz *fuzz, uint16_t leg)
{
	size_t length = 14 + (size_t)take(fuzz) * 257;
	uint8_t *frame = calloc(1, length);
	struct ip ip = take_ip(fuzz);

	CHECK(frame != NULL);
	frame[12] = frame[13] = 0xfe;
	fuzz->waiting++;
	if (neighbour_resolve(fuzz->table, leg, &ip, frame, length, fuzz->now) == NEIGHBOUR_REFUSED)
		fuzz->waiting--;
	free(frame);
}

static void step_time(struct fuzz *fuzz)
{
	uint64_t end = fuzz->now + (uint64_t)take(fuzz) * take(fuzz) * 16;

	while (neighbour_deadline(fuzz->table) <= end) {
		CHECK(neighbour_deadline(fuzz->table) > fuzz->now);
		fuzz->now = neighbour_deadline(fuzz->table);
		neighbour_tick(fuzz->table, fuzz->now);
	}
	fuzz->now = end;
}

static void step_manage(struct fuzz *fuzz, uint16_t leg)
{
	uint8_t what = take(fuzz);
	struct ip ip = take_ip(fuzz);
	struct mac mac = take_mac(fuzz);

	switch (what % 6) {
	case 0:
		neighbour_add_static(fuzz->table, leg, &ip, &mac, fuzz->now);
		break;
	case 1:
		neighbour_load(fuzz->table, leg, &ip, &mac, fuzz->now);
		break;
	case 2:
		neighbour_remove(fuzz->table, leg, &ip);
		break;
	case 3:
		fuzz->set[leg] = false;
		neighbour_clear_leg(fuzz->table, leg, fuzz->now);
		break;
	case 4:
		neighbour_announce(fuzz->table, leg);
		break;
	default:
		fuzz->legs[leg].address_count = what / 6 % 3;
		fuzz->legs[leg].addresses[0].length = (uint8_t)(IP_V4_LENGTH + 20 + what % 11);
		fuzz->set[leg] = true;
		neighbour_set_leg(fuzz->table, &fuzz->legs[leg], fuzz->now);
	}
}

static void fuzz_begin(struct fuzz *fuzz)
{
	fuzz->now = 1000;
	for (uint16_t i = 0; i < LEGS; i++) {
		struct route_leg *leg = &fuzz->legs[i];

		*leg = (struct route_leg){ .index = i,
					   .mac = { { 2, 0, 0, 0, 0, (uint8_t)i } },
					   .mtu = 1500,
					   .address_count = 2,
					   .output = { send_check, leg } };
		leg->addresses[0].ip = ip_from_v4(0x0a000001);
		leg->addresses[0].length = IP_V4_LENGTH + 24;
		CHECK(ip_prefix_from_text("fd00::1/64", &leg->addresses[1]) == 0);
		fuzz->set[i] = true;
		neighbour_set_leg(fuzz->table, leg, fuzz->now);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { .data = data, .left = size };
	struct neighbour_events events = { .unreachable = unreachable_check };

	fuzz_now = &fuzz;
	fuzz.table = neighbour_create(LEGS, LIMIT, events);
	CHECK(fuzz.table != NULL);
	fuzz_begin(&fuzz);
	while (fuzz.left > 0) {
		uint8_t step = take(&fuzz);
		uint16_t leg = step >> 7;

		switch (step % 6) {
		case 0:
			step_frame(&fuzz, leg);
			break;
		case 1:
			step_arp(&fuzz, leg);
			break;
		case 2:
			step_nd(&fuzz, leg);
			break;
		case 3:
			step_resolve(&fuzz, leg);
			break;
		case 4:
			step_time(&fuzz);
			break;
		default:
			step_manage(&fuzz, leg);
		}
		memset(fuzz.count, 0, sizeof(fuzz.count));
		neighbour_visit(fuzz.table, visit_check, &fuzz);
	}
	/* Every frame went out, was given back, or was pushed out. */
	neighbour_clear_leg(fuzz.table, 0, fuzz.now);
	neighbour_clear_leg(fuzz.table, 1, fuzz.now);
	CHECK(fuzz.waiting == neighbour_counters(fuzz.table)->pending_dropped);
	neighbour_destroy(fuzz.table);
	return 0;
}
