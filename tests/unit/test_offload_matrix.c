/* Every kind of frame, from a guest with all offloads to guests with each set of them, through the
 * whole switch: the receiver checks each byte, each checksum, and that nothing came that it did not
 * negotiate. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/switch_fixture.h"
#include "tests/unit/frame_check.h"

#define MODERN                                                                                     \
	(FAKE_BIT(FAKE_F_VERSION_1) | FAKE_BIT(FAKE_F_MRG_RXBUF) |                                 \
	 FAKE_BIT(FAKE_F_INDIRECT_DESC) | FAKE_BIT(FAKE_F_EVENT_IDX) |                             \
	 FAKE_BIT(FAKE_F_PROTOCOL_FEATURES))
#define HOST_ALL                                                                                   \
	(FAKE_BIT(FAKE_F_CSUM) | FAKE_BIT(FAKE_F_HOST_TSO4) | FAKE_BIT(FAKE_F_HOST_TSO6) |         \
	 FAKE_BIT(FAKE_F_HOST_ECN) | FAKE_BIT(FAKE_F_HOST_UFO) | FAKE_BIT(FAKE_F_HOST_USO))

static const struct {
	const char *name;
	uint64_t features;    /* GUEST_* */
	uint64_t taken_away;  /* of MODERN */
	uint32_t buffer_size; /* receive buffers */
	struct fake_layout layout;
} receivers[] = {
	{ "nothing", 0, 0, 2048, { 0 } },
	{ "checksums", FAKE_BIT(FAKE_F_GUEST_CSUM), 0, 2048, { .first = 12 } },
	{ "TSO4",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_TSO4),
	  0,
	  4096,
	  { .piece = 700 } },
	{ "TSO6",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_TSO6),
	  0,
	  2048,
	  { .table = FAKE_INDIRECT } },
	{ "TSO and ECN",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_TSO4) | FAKE_BIT(FAKE_F_GUEST_TSO6) |
	      FAKE_BIT(FAKE_F_GUEST_ECN),
	  0,
	  1500,
	  { 0 } },
	{ "UFO",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_UFO),
	  0,
	  2048,
	  { .first = 5, .piece = 999 } },
	{ "USO",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_USO4) | FAKE_BIT(FAKE_F_GUEST_USO6),
	  0,
	  2048,
	  { 0 } },
	{ "all, big buffers, not mergeable",
	  FAKE_BIT(FAKE_F_GUEST_CSUM) | FAKE_BIT(FAKE_F_GUEST_TSO4) | FAKE_BIT(FAKE_F_GUEST_TSO6) |
	      FAKE_BIT(FAKE_F_GUEST_ECN) | FAKE_BIT(FAKE_F_GUEST_UFO) |
	      FAKE_BIT(FAKE_F_GUEST_USO4) | FAKE_BIT(FAKE_F_GUEST_USO6),
	  FAKE_BIT(FAKE_F_MRG_RXBUF),
	  66000,
	  { .piece = 4096 } },
	{ "legacy, nothing",
	  0,
	  FAKE_BIT(FAKE_F_MRG_RXBUF) | FAKE_BIT(FAKE_F_VERSION_1),
	  2048,
	  { 0 } },
};

static const uint32_t payloads[] = { 1, 2, 1447, 1448, 1449, 9000, 65000 };

/* What one receiver has got of one packet. */
struct collection {
	const struct packet *packet;
	const struct packet_plan *plan;
	uint64_t features;
	uint8_t *payload; /* from the L4 payload on (UFO fragments: from the L4 header on) */
	uint32_t length;
	uint32_t frames;
	bool whole;
};

static bool has(const struct collection *c, unsigned feature)
{
	return (c->features & FAKE_BIT(feature)) != 0;
}

static void check_header_allowed(const struct collection *c, const struct fake_header *header)
{
	static const struct {
		uint8_t type;
		unsigned feature4, feature6;
	} types[] = {
		{ VNET_GSO_TCPV4, FAKE_F_GUEST_TSO4, FAKE_F_GUEST_TSO4 },
		{ VNET_GSO_TCPV6, FAKE_F_GUEST_TSO6, FAKE_F_GUEST_TSO6 },
		{ VNET_GSO_UDP, FAKE_F_GUEST_UFO, FAKE_F_GUEST_UFO },
		{ VNET_GSO_UDP_L4, FAKE_F_GUEST_USO4, FAKE_F_GUEST_USO6 },
	};
	uint8_t type = header->gso_type & (uint8_t)~VNET_GSO_ECN;

	if (!has(c, FAKE_F_GUEST_CSUM))
		assert_int_equal(header->flags, 0);
	if (header->gso_type & VNET_GSO_ECN)
		assert_true(has(c, FAKE_F_GUEST_ECN));
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (type == types[i].type)
			assert_true(
			    has(c, c->plan->version == 4 ? types[i].feature4 : types[i].feature6));
	}
}

/* The L4 checksum: whole, or the pseudo-header's where the header says that it is to be completed.
 */
static void check_l4(const struct collection *c, const struct fake_header *header,
		     const uint8_t *ip, uint8_t *l4, uint32_t length)
{
	uint32_t field = c->plan->protocol == IPPROTO_TCP ? 16 : 6;

	if (header->flags & VNET_FLAG_NEEDS_CSUM) {
		assert_int_equal(header->csum_offset, field);
		assert_int_equal(check_be16(l4 + field),
				 check_pseudo(ip, c->plan->protocol, length));
		return;
	}
	assert_true(check_l4_sum(ip, c->plan->protocol, l4, length));
	if (c->plan->protocol == IPPROTO_UDP)
		assert_int_not_equal(check_be16(l4 + field), 0);
}

static void add_payload(struct collection *c, const uint8_t *bytes, uint32_t length)
{
	assert_true(c->length + length <= PACKET_MAX);
	memcpy(c->payload + c->length, bytes, length);
	c->length += length;
}

/* One IP fragment of a UFO frame; in order, as the switch makes them. */
static void take_fragment(struct collection *c, const uint8_t *ip, uint32_t length)
{
	uint32_t header = c->plan->version == 4 ? (ip[0] & 15u) * 4u : 48u;
	uint32_t word = check_be16(c->plan->version == 4 ? ip + 6 : ip + 42);
	uint32_t offset = c->plan->version == 4 ? (word & 0x1fff) * 8 : word & 0xfff8;
	bool more = c->plan->version == 4 ? (word & 0x2000) != 0 : (word & 1) != 0;

	assert_int_equal(offset, c->length);
	add_payload(c, ip + header, length - header);
	assert_int_equal(more, c->length < c->plan->payload + 8);
}

static bool is_fragment(const struct packet_plan *plan, const uint8_t *ip)
{
	return plan->version == 4 ? (check_be16(ip + 6) & 0x3fff) != 0 : ip[6] == IPPROTO_FRAGMENT;
}

static void take_frame(struct collection *c, const struct fake_header *header, uint8_t *frame,
		       uint32_t length)
{
	const struct packet *packet = c->packet;
	uint8_t *ip = frame + packet->l3;
	uint32_t ip_length, l4;

	c->frames++;
	check_header_allowed(c, header);
	assert_memory_equal(frame, packet->bytes, packet->l3);
	ip_length = c->plan->version == 4 ? check_be16(ip + 2) : check_be16(ip + 4) + 40;
	assert_int_equal(packet->l3 + ip_length, length);
	if (c->plan->version == 4)
		assert_true(check_ipv4_sum(ip));
	if ((header->gso_type & ~VNET_GSO_ECN) == (c->plan->gso_type & ~VNET_GSO_ECN) &&
	    header->gso_type != 0) {
		/* Handed over whole: the very bytes, the very request. */
		assert_int_equal(header->gso_type, c->plan->gso_type);
		assert_int_equal(header->gso_size, c->plan->gso_size);
		assert_int_equal(header->csum_start, packet->header.csum_start);
		assert_int_equal(length, packet->length);
		assert_memory_equal(frame, packet->bytes, length);
		c->whole = true;
		return;
	}
	assert_int_equal(header->gso_type, 0);
	if (is_fragment(c->plan, ip)) {
		take_fragment(c, ip, ip_length);
		return;
	}
	l4 = packet->l4 - packet->l3;
	check_l4(c, header, ip, ip + l4, ip_length - l4);
	if (c->plan->protocol == IPPROTO_TCP)
		assert_int_equal(check_be32(ip + l4 + 4),
				 check_be32(packet->bytes + packet->l4 + 4) + c->length);
	add_payload(c, frame + packet->data, length - packet->data);
}

static bool complete(struct collection *c)
{
	if (c->whole)
		return true;
	if (c->plan->gso_type == VNET_GSO_UDP && c->length == c->plan->payload + 8) {
		/* Reassembled: its UDP header and checksum are those of the whole. */
		const uint8_t *ip = c->packet->bytes + c->packet->l3;

		if (c->frames > 1) {
			assert_true(check_l4_sum(ip, IPPROTO_UDP, c->payload, c->length));
			assert_memory_equal(c->payload + 8, c->packet->bytes + c->packet->data,
					    c->plan->payload);
			return true;
		}
	}
	if (c->length < c->plan->payload)
		return false;
	assert_int_equal(c->length, c->plan->payload);
	assert_memory_equal(c->payload, c->packet->bytes + c->packet->data, c->plan->payload);
	return true;
}

static void post_again(struct fake_guest *guest)
{
	fake_guest_post(guest, 0, guest->options.ring_size, guest->options.buffer_size);
}

static void pass(struct fake_guest *from, struct fake_guest *to, uint64_t features,
		 const struct packet_plan *plan)
{
	static uint8_t frame[PACKET_MAX], payload[PACKET_MAX];
	struct packet packet;
	struct fake_header header = { 0 };
	struct collection c = { .plan = plan, .features = features, .payload = payload };

	packet_build(&packet, plan);
	c.packet = &packet;
	memcpy(&header, &packet.header, sizeof(header));
	assert_return_code(fake_guest_send(from, 0, &header, packet.bytes, packet.length), 0);
	do {
		struct fake_header got;
		int length = fake_guest_wait_receive(to, 0, &got, frame, sizeof(frame));

		assert_true(length > 0);
		take_frame(&c, &got, frame, (uint32_t)length);
		post_again(to);
	} while (!complete(&c));
	assert_return_code(fake_guest_wait_sent(from, 0), 0);
	packet_free(&packet);
}

/* All frame kinds of one IP version, protocol and number of tags. */
static void pass_kinds(struct fake_guest *from, struct fake_guest *to, uint64_t features,
		       struct packet_plan plan)
{
	static const uint8_t tcp_flags[] = { 0x18, 0x90, 0x11 };
	bool tcp = plan.protocol == IPPROTO_TCP;

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		plan.payload = payloads[i];
		plan.tcp_flags = tcp_flags[i % 3];
		plan.gso_type = 0;
		plan.gso_size = 0;
		if (plan.payload <= 1449)
			pass(from, to, features, &plan);
		plan.gso_size = 1448;
		plan.gso_type =
		    tcp ? (plan.version == 4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6) : VNET_GSO_UDP_L4;
		if (tcp && plan.tcp_flags & 0x80)
			plan.gso_type |= VNET_GSO_ECN;
		pass(from, to, features, &plan);
		if (tcp)
			continue;
		plan.gso_type = VNET_GSO_UDP;
		plan.gso_size = 1480;
		pass(from, to, features, &plan);
	}
}

/* Whether both guests have packed rings. */
static bool packed;

static void run_receiver(size_t r)
{
	struct switch_fixture fixture;
	struct fake_guest_options sends = { .packed = packed,
					    .features = MODERN | HOST_ALL,
					    .buffer_size = 68000,
					    .ring_size = 64,
					    .send = { .first = 12, .piece = 4096 } };
	uint64_t features = (MODERN | receivers[r].features) & ~receivers[r].taken_away;
	struct fake_guest_options takes = { .packed = packed,
					    .features = features,
					    .buffer_size = receivers[r].buffer_size,
					    .ring_size = 2048,
					    .indirect_entries = 256,
					    .receive = receivers[r].layout };
	struct fake_guest *from, *to;

	switch_fixture_open(&fixture, "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n"
				      "  b: { network: lab, vhost-user: @/b }\n");
	from = switch_fixture_guest(&fixture, "a", &sends, 0);
	to = switch_fixture_guest(&fixture, "b", &takes, 200);
	for (uint8_t tags = 0; tags <= 1; tags++) {
		for (int version = 4; version <= 6; version += 2) {
			struct packet_plan plan = { .version = version, .tags = tags };

			plan.protocol = IPPROTO_TCP;
			plan.options = 12;
			pass_kinds(from, to, features, plan);
			plan.options = 0;
			plan.protocol = IPPROTO_UDP;
			pass_kinds(from, to, features, plan);
		}
	}
	fake_guest_destroy(from);
	fake_guest_destroy(to);
	switch_fixture_close(&fixture);
}

static void test_receivers(void **state)
{
	for (size_t r = 0; r < sizeof(receivers) / sizeof(receivers[0]); r++) {
		print_message("receiver that takes: %s\n", receivers[r].name);
		run_receiver(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receivers),
	};

	int failed = cmocka_run_group_tests_name("split", tests, NULL, NULL);

	packed = true;
	return failed + cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
