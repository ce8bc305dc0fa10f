/* VLANs through the whole switch: from each kind of port with each kind of tag, which ports get the
 * frame, and each byte of what they get. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/parse.h"
#include "tests/lib/switch_traffic.h"

#include <netinet/in.h>
#include <string.h>

#define PORTS	  6
#define NONE	  TRAFFIC_NO_TAG
#define NOT	  (UINT32_MAX - 1) /* does not get it */
#define MAC_OF(p) TRAFFIC_MAC(1 + (p))

enum { PLAIN, PLAIN2, TEN, TWENTY, TRUNK, NATIVE };

static const char *const names[PORTS] = { "plain", "plain2", "ten", "twenty", "trunk", "native" };

static const char yaml[] =
    "networks: { lab: { mode: isolated } }\n"
    "ports:\n"
    "  plain:  { network: lab, vhost-user: @/plain }\n"
    "  plain2: { network: lab, vhost-user: @/plain2 }\n"
    "  ten:    { network: lab, vhost-user: @/ten, vlan: 10 }\n"
    "  twenty: { network: lab, vhost-user: @/twenty, vlan: 20 }\n"
    "  trunk:  { network: lab, vhost-user: @/trunk, vlans: [10, 20] }\n"
    "  native: { network: lab, vhost-user: @/native, vlans: [10], native: 20 }\n";

/* TCIs: priority in the upper four bits, VLAN in the lower twelve. */
static const struct {
	int from;
	uint32_t sent;
	uint32_t got[PORTS]; /* by port; the sender's own is NOT */
	int drop;	     /* reason at the sender's port, -1: none */
} rows[] = {
	{ PLAIN, NONE, { NOT, NONE, NOT, NOT, NOT, NOT }, -1 },
	{ PLAIN, 0x6000, { NOT, 0x6000, NOT, NOT, NOT, NOT }, -1 },
	{ PLAIN, 10, { NOT, 10, NONE, NOT, 10, 10 }, -1 },
	{ PLAIN, 0xa014, { NOT, 0xa014, NOT, NONE, 0xa014, NONE }, -1 },
	{ PLAIN, 30, { NOT, 30, NOT, NOT, NOT, NOT }, -1 },
	{ PLAIN, 4094, { NOT, 4094, NOT, NOT, NOT, NOT }, -1 },
	{ PLAIN, 4095, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_NOT_ALLOWED },
	{ TEN, NONE, { 10, 10, NOT, NOT, 10, 10 }, -1 },
	{ TEN, 10, { 10, 10, NOT, NOT, 10, 10 }, -1 },
	{ TEN, 0x6000, { 0x600a, 0x600a, NOT, NOT, 0x600a, 0x600a }, -1 },
	{ TEN, 20, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_NOT_ALLOWED },
	{ TWENTY, NONE, { 20, 20, NOT, NOT, 20, NONE }, -1 },
	{ TWENTY, 0xf014, { 0xf014, 0xf014, NOT, NOT, 0xf014, NONE }, -1 },
	{ TRUNK, NONE, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_UNTAGGED },
	{ TRUNK, 0x2000, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_UNTAGGED },
	{ TRUNK, 10, { 10, 10, NONE, NOT, NOT, 10 }, -1 },
	{ TRUNK, 0x4014, { 0x4014, 0x4014, NOT, NONE, NOT, NONE }, -1 },
	{ TRUNK, 30, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_NOT_ALLOWED },
	{ NATIVE, NONE, { 20, 20, NOT, NONE, 20, NOT }, -1 },
	{ NATIVE, 0x8000, { 0x8014, 0x8014, NOT, NONE, 0x8014, NOT }, -1 },
	{ NATIVE, 20, { 20, 20, NOT, NONE, 20, NOT }, -1 },
	{ NATIVE, 10, { 10, 10, NONE, NOT, 10, NOT }, -1 },
	{ NATIVE, 30, { NOT, NOT, NOT, NOT, NOT, NOT }, DROP_VLAN_NOT_ALLOWED },
};

struct rig {
	struct switch_fixture fixture;
	struct fake_guest *guests[PORTS];
};

static void rig_open(struct rig *rig)
{
	switch_fixture_open(&rig->fixture, yaml);
	for (int i = 0; i < PORTS; i++)
		rig->guests[i] = switch_fixture_guest(&rig->fixture, names[i], NULL, 64);
}

static void rig_close(struct rig *rig)
{
	for (int i = 0; i < PORTS; i++)
		fake_guest_destroy(rig->guests[i]);
	switch_fixture_close(&rig->fixture);
}

static struct traffic_frame build(uint64_t destination, uint64_t source, uint32_t tci,
				  uint32_t number, uint32_t untagged_length)
{
	return traffic_build(destination, source, tci, number,
			     untagged_length + (tci == NONE ? 0 : 4));
}

static void run_row(struct rig *rig, size_t i, uint32_t length)
{
	uint32_t number = (uint32_t)i * 10000 + length;
	uint64_t source = MAC_OF(rows[i].from);
	struct fake_guest *from = rig->guests[rows[i].from];
	struct port_totals before = switch_fixture_totals(&rig->fixture, names[rows[i].from]);
	struct port_totals after;
	struct traffic_frame frame = build(TRAFFIC_BROADCAST, source, rows[i].sent, number, length);

	traffic_send(from, &frame);
	traffic_settle(from);
	for (int p = 0; p < PORTS; p++) {
		if (rows[i].got[p] != NOT) {
			frame = build(TRAFFIC_BROADCAST, source, rows[i].got[p], number, length);
			traffic_expect(rig->guests[p], &frame);
		}
		traffic_expect_nothing(rig->guests[p]);
	}
	after = switch_fixture_totals(&rig->fixture, names[rows[i].from]);
	for (int reason = 0; reason < DROP_COUNT; reason++)
		assert_int_equal(after.drops[reason] - before.drops[reason],
				 rows[i].drop == reason);
}

static void test_tags(void **state)
{
	static const uint32_t lengths[] = { 22, 60, 190, 192, 193, 1514 };
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
			run_row(&rig, i, lengths[l]);
	}
	rig_close(&rig);
}

/* Who else has got a flood is not every test's business. */
static void drain(struct rig *rig)
{
	for (int p = 0; p < PORTS; p++) {
		struct fake_header header;
		uint8_t bytes[TRAFFIC_FRAME_MAX];

		while (fake_guest_receive(rig->guests[p], 0, &header, bytes, sizeof(bytes)) > 0)
			;
	}
}

/* One address may be behind different ports in different VLANs. */
static void test_learning_by_vlan(void **state)
{
	const uint64_t address = TRAFFIC_MAC(50);
	struct traffic_frame frame;
	struct rig rig;

	rig_open(&rig);
	frame = build(MAC_OF(TEN), address, NONE, 1, 100);
	traffic_send(rig.guests[TEN], &frame);
	traffic_settle(rig.guests[TEN]);
	traffic_send(rig.guests[TWENTY], &frame);
	traffic_settle(rig.guests[TWENTY]);
	drain(&rig);
	for (uint32_t vlan = 10; vlan <= 20; vlan += 10) {
		int port = vlan == 10 ? TEN : TWENTY;
		struct traffic_frame untagged = build(address, MAC_OF(TRUNK), NONE, vlan, 100);

		frame = build(address, MAC_OF(TRUNK), vlan, vlan, 100);
		traffic_send(rig.guests[TRUNK], &frame);
		traffic_settle(rig.guests[TRUNK]);
		traffic_expect(rig.guests[port], &untagged);
		for (int p = 0; p < PORTS; p++)
			traffic_expect_nothing(rig.guests[p]);
	}
	rig_close(&rig);
}

/* A tag put on or taken off moves what the checksum request points to. */
static void test_tag_moves_checksum(void **state)
{
	static const struct {
		int from, to;
		uint32_t sent, got;
	} ways[] = {
		{ TEN, TRUNK, NONE, 10 },
		{ TRUNK, TEN, 10, NONE },
		{ TRUNK, NATIVE, 10, 10 },
		{ TWENTY, NATIVE, NONE, NONE },
	};
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		uint32_t shift = ways[i].sent == NONE ? 0 : 4;
		uint32_t shift_got = ways[i].got == NONE ? 0 : 4;
		uint64_t source = MAC_OF(ways[i].from);
		struct traffic_frame sent = build(TRAFFIC_BROADCAST, source, ways[i].sent, 7, 100);
		struct traffic_frame wanted = build(TRAFFIC_BROADCAST, source, ways[i].got, 7, 100);
		struct fake_header header = { .flags = 1,
					      .csum_start = (uint16_t)(34 + shift),
					      .csum_offset = 6 };
		struct fake_guest *to = rig.guests[ways[i].to];
		uint8_t bytes[TRAFFIC_FRAME_MAX];

		for (int frame = 0; frame < 2; frame++) {
			uint8_t *at = (frame == 0 ? sent : wanted).bytes + 12 +
				      (frame == 0 ? shift : shift_got);

			write_be16(at, ETHERTYPE_IPV4);
			memset(at + 2, 0, 20);
			at[2] = 0x45;
			at[11] = IPPROTO_UDP;
			write_be16(at + 4, 86);
			write_be16(at + 2 + 20 + 4, 66);
		}
		assert_return_code(
		    fake_guest_send(rig.guests[ways[i].from], 0, &header, sent.bytes, sent.length),
		    0);
		assert_int_equal(fake_guest_wait_receive(to, 0, &header, bytes, sizeof(bytes)),
				 wanted.length);
		assert_int_equal(header.flags, 1);
		assert_int_equal(header.csum_start, 34 + shift_got);
		assert_int_equal(header.csum_offset, 6);
		assert_memory_equal(bytes, wanted.bytes, wanted.length);
		traffic_settle(rig.guests[ways[i].from]);
		drain(&rig);
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_learning_by_vlan),
		cmocka_unit_test(test_tag_moves_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
