/* The verdict: one bridge with every kind of member, each rule with the frames that meet it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"
#include "bridge/bridge.h"
#include "bridge/memo.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES	  64u
#define PORT_ROOM 12u
#define QUOTA	  900u

/* Port indices, with holes: members are not ports. */
enum { PLAIN_A = 1, PLAIN_B = 2, ISOLATED_A = 4, ISOLATED_B = 5, ACCESS = 7, TRUNK = 8, LEFT = 10 };

static const struct bridge_member members[] = {
	{ .port = PLAIN_A },
	{ .port = PLAIN_B },
	{ .port = ISOLATED_A, .isolated = true },
	{ .port = ISOLATED_B, .isolated = true },
	{ .port = ACCESS, .vlan = { .mode = VLAN_MODE_ACCESS, .access = 10 } },
	{ .port = TRUNK,
	  .vlan = { .mode = VLAN_MODE_TRUNK,
		    .native = 10,
		    .allowed = { 1ULL << 10 | 1ULL << 20 } } },
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

struct fixture {
	struct bridge *bridge;
	struct bridge_memo *memo;
	uint32_t now;
	const struct bridge_member *by_port[PORT_ROOM];
	uint8_t bytes[FRAMES][64];
	struct frame frames[FRAMES];
	struct bridge_verdict verdicts[FRAMES];
	uint32_t count;
};

/* Of the memo, which is tested with all this processor can run. */
static unsigned variant;

static struct bridge_memo *memo_create(void)
{
	struct bridge_memo *memo = bridge_memo_create();

	assert_non_null(memo);
	memo->run = memo_run_variant(variant);
	return memo;
}

static int set_up(void **state)
{
	struct mac_table_config config = {
		.limit = 1000, .port_quota = QUOTA, .port_count = PORT_ROOM, .seed = 42
	};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->bridge = calloc(1, sizeof(*f->bridge) + sizeof(members));
	assert_non_null(f->bridge);
	f->bridge->macs = mac_table_create(&config);
	assert_non_null(f->bridge->macs);
	memcpy(f->bridge->members, members, sizeof(members));
	f->bridge->member_count = MEMBERS;
	f->bridge->gateway_mac = BRIDGE_NO_GATEWAY;
	f->bridge->gateway_port = MAC_TABLE_NO_PORT;
	for (unsigned i = 0; i < MEMBERS; i++)
		f->by_port[members[i].port] = &f->bridge->members[i];
	f->bridge->by_port = f->by_port;
	f->bridge->port_limit = PORT_ROOM;
	f->memo = memo_create();
	f->now = 1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mac_table_destroy(f->bridge->macs);
	bridge_memo_destroy(f->memo);
	free(f->bridge);
	free(f);
	return 0;
}

static uint64_t guest(uint16_t port)
{
	return 0x525400000000ULL + port;
}

#define BROADCAST 0xffffffffffffULL
#define UNKNOWN	  0x52540000ffffULL
#define STP	  0x0180c2000000ULL
#define LLDP	  0x0180c200000eULL

/* Adds a frame; vlan -1: without a tag. */
static struct frame *add(struct fixture *f, uint64_t destination, uint64_t source, int vlan)
{
	uint32_t i = f->count++;
	struct mac to = mac_from_u64(destination);
	struct mac from = mac_from_u64(source);

	assert_true(i < FRAMES);
	memcpy(f->bytes[i], to.bytes, 6);
	memcpy(f->bytes[i] + 6, from.bytes, 6);
	write_be16(f->bytes[i] + 12, vlan < 0 ? ETHERTYPE_IPV4 : ETHERTYPE_VLAN);
	write_be16(f->bytes[i] + 14, vlan < 0 ? 0 : (uint16_t)vlan);
	f->frames[i] = (struct frame){ .head = f->bytes[i], .head_length = 60, .length = 60 };
	return &f->frames[i];
}

static void decide(struct fixture *f, uint16_t port)
{
	struct bridge_verdict verdicts[FRAMES];
	uint32_t made, done = 0;

	memset(f->verdicts, 0xee, sizeof(f->verdicts));
	made = bridge_decide(f->bridge, f->memo, f->by_port[port], f->frames, f->count, f->now,
			     verdicts);
	assert_true(made <= f->count);
	/* One for each frame. */
	for (uint32_t i = 0; i < made; i++) {
		assert_in_range(verdicts[i].count, 1, f->count - done);
		for (uint32_t j = 0; j < verdicts[i].count; j++)
			f->verdicts[done++] = verdicts[i];
	}
	assert_int_equal(done, f->count);
	f->count = 0;
}

static struct bridge_verdict one(struct fixture *f, uint16_t port, uint64_t destination,
				 uint64_t source, int vlan)
{
	f->count = 0;
	add(f, destination, source, vlan);
	decide(f, port);
	return f->verdicts[0];
}

#define assert_drop(verdict, why)                                                                  \
	do {                                                                                       \
		struct bridge_verdict v = verdict;                                                 \
		assert_int_equal(v.action, BRIDGE_DROP);                                           \
		assert_int_equal(v.reason, why);                                                   \
	} while (0)

#define assert_flood(verdict) assert_int_equal((verdict).action, BRIDGE_FLOOD)

#define assert_unicast(verdict, to)                                                                \
	do {                                                                                       \
		struct bridge_verdict v = verdict;                                                 \
		assert_int_equal(v.action, BRIDGE_UNICAST);                                        \
		assert_int_equal(v.port, to);                                                      \
	} while (0)

static uint32_t entries(const struct fixture *f)
{
	struct mac_table_stats stats;

	mac_table_get_stats(f->bridge->macs, &stats);
	return stats.entries;
}

static void test_learns_and_forwards(void **state)
{
	struct fixture *f = *state;

	assert_flood(one(f, PLAIN_A, guest(PLAIN_B), guest(PLAIN_A), -1));
	assert_unicast(one(f, PLAIN_B, guest(PLAIN_A), guest(PLAIN_B), -1), PLAIN_A);
	assert_unicast(one(f, PLAIN_A, guest(PLAIN_B), guest(PLAIN_A), -1), PLAIN_B);
	assert_drop(one(f, PLAIN_A, guest(PLAIN_A), guest(PLAIN_A), -1), DROP_HAIRPIN);
	assert_flood(one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), -1));
	assert_flood(one(f, PLAIN_A, 0x333300000001ULL, guest(PLAIN_A), -1));
	assert_flood(one(f, PLAIN_A, UNKNOWN, guest(PLAIN_A), -1));
	/* A guest that has moved is followed. */
	one(f, ISOLATED_A, BROADCAST, guest(PLAIN_B), -1);
	assert_unicast(one(f, PLAIN_A, guest(PLAIN_B), guest(PLAIN_A), -1), ISOLATED_A);
}

static void test_a_burst_is_in_order(void **state)
{
	struct fixture *f = *state;

	/* The second frame is for an address that the first has just taught. */
	add(f, BROADCAST, guest(PLAIN_A), -1);
	add(f, guest(PLAIN_A), guest(PLAIN_B), -1);
	add(f, guest(PLAIN_B), 0, -1);
	add(f, STP, guest(PLAIN_B), -1);
	add(f, guest(TRUNK), guest(PLAIN_B), -1);
	decide(f, PLAIN_A);
	assert_flood(f->verdicts[0]);
	assert_drop(f->verdicts[1], DROP_HAIRPIN);
	assert_drop(f->verdicts[2], DROP_SOURCE_MULTICAST);
	assert_drop(f->verdicts[3], DROP_LINK_LOCAL);
	assert_flood(f->verdicts[4]);
	/* A full burst. */
	for (unsigned i = 0; i < FRAMES; i++)
		add(f, i % 2 ? guest(PLAIN_A) : UNKNOWN, 0x020000000000ULL + i, -1);
	decide(f, PLAIN_B);
	for (unsigned i = 0; i < FRAMES; i++)
		assert_int_equal(f->verdicts[i].action, i % 2 ? BRIDGE_UNICAST : BRIDGE_FLOOD);
	assert_int_equal(entries(f), 2 + FRAMES);
}

static void test_what_teaches_nothing(void **state)
{
	struct fixture *f = *state;

	assert_drop(one(f, PLAIN_A, BROADCAST, 0x010000000001ULL, -1), DROP_SOURCE_MULTICAST);
	assert_drop(one(f, PLAIN_A, BROADCAST, BROADCAST, -1), DROP_SOURCE_MULTICAST);
	assert_drop(one(f, PLAIN_A, guest(PLAIN_B), 0, -1), DROP_SOURCE_MULTICAST);
	assert_drop(one(f, PLAIN_A, STP, guest(PLAIN_A), -1), DROP_LINK_LOCAL);
	assert_drop(one(f, PLAIN_A, 0x0180c200000fULL, guest(PLAIN_A), -1), DROP_LINK_LOCAL);
	assert_drop(one(f, ACCESS, BROADCAST, guest(ACCESS), 11), DROP_VLAN_NOT_ALLOWED);
	assert_drop(one(f, TRUNK, BROADCAST, guest(TRUNK), 30), DROP_VLAN_NOT_ALLOWED);
	add(f, BROADCAST, guest(PLAIN_A), 10)->head_length = 16;
	decide(f, PLAIN_A);
	assert_drop(f->verdicts[0], DROP_FRAME_SHORT);
	assert_int_equal(entries(f), 0);
	/* The neighbours of the link-local range are multicast like any other. */
	assert_flood(one(f, PLAIN_A, 0x0180c2000010ULL, guest(PLAIN_A), -1));
	assert_int_equal(entries(f), 1);
}

static void test_transparent(void **state)
{
	struct fixture *f = *state;

	f->bridge->transparent = true;
	assert_flood(one(f, PLAIN_A, STP, guest(PLAIN_A), -1));
	assert_flood(one(f, PLAIN_A, LLDP, guest(PLAIN_A), -1));
}

static void test_isolated(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < MEMBERS; i++)
		one(f, members[i].port, BROADCAST, guest(members[i].port), -1);
	assert_drop(one(f, ISOLATED_A, guest(ISOLATED_B), guest(ISOLATED_A), -1), DROP_ISOLATED);
	assert_unicast(one(f, ISOLATED_A, guest(PLAIN_A), guest(ISOLATED_A), -1), PLAIN_A);
	assert_unicast(one(f, PLAIN_A, guest(ISOLATED_A), guest(PLAIN_A), -1), ISOLATED_A);
	assert_drop(one(f, ISOLATED_A, guest(ISOLATED_A), guest(ISOLATED_A), -1), DROP_HAIRPIN);
}

static void test_port_that_left(void **state)
{
	struct fixture *f = *state;

	mac_table_learn(f->bridge->macs, guest(LEFT), 0, LEFT, 1);
	assert_flood(one(f, PLAIN_A, guest(LEFT), guest(PLAIN_A), -1));
	/* A table that outlived a larger set of ports. */
	f->bridge->port_limit = LEFT;
	assert_flood(one(f, PLAIN_A, guest(LEFT), guest(PLAIN_A), -1));
}

static void test_vlans(void **state)
{
	struct fixture *f = *state;

	one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), -1);
	one(f, PLAIN_B, BROADCAST, guest(PLAIN_B), 10);
	one(f, ACCESS, BROADCAST, guest(ACCESS), -1);
	one(f, TRUNK, BROADCAST, guest(TRUNK), 20);
	/* Same VLAN, whatever it looks like outside. */
	assert_unicast(one(f, ACCESS, guest(PLAIN_B), guest(ACCESS), -1), PLAIN_B);
	assert_unicast(one(f, PLAIN_B, guest(ACCESS), guest(PLAIN_B), 10), ACCESS);
	assert_unicast(one(f, TRUNK, guest(ACCESS), guest(TRUNK), -1), ACCESS);
	/* Each VLAN learns for itself. */
	assert_flood(one(f, PLAIN_B, guest(ACCESS), guest(PLAIN_B), 20));
	assert_flood(one(f, PLAIN_A, guest(ACCESS), guest(PLAIN_A), -1));
	/* The member has changed since its address was learned. */
	mac_table_learn(f->bridge->macs, guest(9999), 20, ACCESS, 1);
	assert_drop(one(f, PLAIN_A, guest(9999), guest(PLAIN_A), 20), DROP_VLAN_EGRESS);
	mac_table_learn(f->bridge->macs, guest(9999), 0, TRUNK, 1);
	assert_drop(one(f, PLAIN_A, guest(9999), guest(PLAIN_A), -1), DROP_VLAN_EGRESS);
}

static void test_priority_tag_gets_its_vlan(void **state)
{
	struct fixture *f = *state;

	assert_flood(one(f, ACCESS, BROADCAST, guest(ACCESS), 0xa000));
	assert_int_equal(f->frames[0].vlan, 10);
	assert_int_equal(f->frames[0].tagged, 1);
	assert_int_equal(read_be16(f->bytes[0] + 14), 0xa000 | 10);
	/* VLAN 0 has no number to give. */
	assert_flood(one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), 0xa000));
	assert_int_equal(read_be16(f->bytes[0] + 14), 0xa000);
}

static uint32_t flooded(const struct fixture *f, uint16_t from)
{
	uint32_t ports = 0;

	for (unsigned i = 0; i < MEMBERS; i++) {
		const struct bridge_member *to = &f->bridge->members[i];

		if (bridge_floods_to(f->bridge, f->by_port[from], to, &f->frames[0]))
			ports |= 1u << to->port;
	}
	return ports;
}

#define P(port) (1u << (port))

static void test_floods_to(void **state)
{
	struct fixture *f = *state;
	const uint32_t open = P(PLAIN_A) | P(PLAIN_B);
	const uint32_t isolated = P(ISOLATED_A) | P(ISOLATED_B);

	one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), -1);
	assert_int_equal(flooded(f, PLAIN_A), P(PLAIN_B) | isolated);
	one(f, ISOLATED_A, BROADCAST, guest(ISOLATED_A), -1);
	assert_int_equal(flooded(f, ISOLATED_A), open);
	one(f, ACCESS, BROADCAST, guest(ACCESS), -1);
	assert_int_equal(flooded(f, ACCESS), open | isolated | P(TRUNK));
	one(f, TRUNK, BROADCAST, guest(TRUNK), -1);
	assert_int_equal(flooded(f, TRUNK), open | isolated | P(ACCESS));
	one(f, TRUNK, BROADCAST, guest(TRUNK), 20);
	assert_int_equal(flooded(f, TRUNK), open | isolated);
	one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), 30);
	assert_int_equal(flooded(f, PLAIN_A), P(PLAIN_B) | isolated);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define GATEWAY 0x5254000000feULL

static void set_gateway(struct fixture *f)
{
	f->bridge->gateway_mac = GATEWAY;
	f->bridge->gateway_port = PLAIN_B;
}

static void test_gateway_address(void **state)
{
	struct fixture *f = *state;
	struct bridge_verdict verdict;

	set_gateway(f);
	verdict = one(f, PLAIN_A, GATEWAY, guest(PLAIN_A), -1);
	assert_int_equal(verdict.action, BRIDGE_UNICAST);
	assert_int_equal(verdict.port, PLAIN_B);
	/* From the gateway itself, too: a packet put together from fragments goes its way again. */
	verdict = one(f, PLAIN_B, GATEWAY, GATEWAY, -1);
	assert_int_equal(verdict.action, BRIDGE_UNICAST);
	assert_int_equal(verdict.port, PLAIN_B);
	/* It has no leg in a VLAN. */
	assert_drop(one(f, ACCESS, GATEWAY, guest(ACCESS), -1), DROP_VLAN_EGRESS);
}

static void test_gateway_address_is_nobody_elses(void **state)
{
	struct fixture *f = *state;

	set_gateway(f);
	assert_drop(one(f, PLAIN_A, BROADCAST, GATEWAY, -1), DROP_SPOOFED_MAC);
	assert_flood(one(f, PLAIN_B, BROADCAST, GATEWAY, -1));
}

static void test_gateway_floods(void **state)
{
	struct fixture *f = *state;

	set_gateway(f);
	assert_flood(one(f, PLAIN_A, UNKNOWN, guest(PLAIN_A), -1));
	assert_false(flooded(f, PLAIN_A) & 1u << PLAIN_B);
	assert_flood(one(f, PLAIN_A, BROADCAST, guest(PLAIN_A), -1));
	assert_true(flooded(f, PLAIN_A) & 1u << PLAIN_B);
}

/* What a burst was decided to be, and what the table says then. */
struct outcome {
	struct bridge_verdict verdicts[FRAMES];
	struct frame frames[FRAMES];
	struct mac_table_entry entries[1000];
	struct mac_table_stats stats;
	uint32_t count;
};

static void note_entry(void *context, const struct mac_table_entry *entry)
{
	struct outcome *outcome = context;

	outcome->entries[outcome->count++] = *entry;
}

static void assert_same_outcome(const struct fixture *f, const struct fixture *g, uint32_t frames)
{
	static struct outcome outcomes[2];
	const struct fixture *both[2] = { f, g };

	for (int i = 0; i < 2; i++) {
		struct outcome *outcome = &outcomes[i];

		memset(outcome, 0, sizeof(*outcome));
		for (uint32_t j = 0; j < frames; j++) {
			outcome->verdicts[j] = both[i]->verdicts[j];
			outcome->verdicts[j].count = 1;
			outcome->frames[j] = both[i]->frames[j];
			outcome->frames[j].head = NULL;
		}
		mac_table_visit(both[i]->bridge->macs, note_entry, outcome);
		mac_table_get_stats(both[i]->bridge->macs, &outcome->stats);
	}
	assert_memory_equal(&outcomes[0], &outcomes[1], sizeof(outcomes[0]));
}

static uint32_t below(uint32_t *random, size_t limit)
{
	*random = *random * 1664525 + 1013904223;
	return (*random >> 16) % (uint32_t)limit;
}

/* The memo changes nothing but the time it takes: two bridges live through the same, and one of
 * them has no memory. */
static void test_memo_changes_nothing(void **state)
{
	static const int tags[] = { -1, -1, -1, -1, -1, -1, 10, 20, 0xa000 };
	struct fixture *both[2] = { *state };
	uint32_t random = 1, hits = 0;

	set_up((void **)&both[1]);
	set_gateway(both[0]);
	set_gateway(both[1]);
	for (uint64_t round = 1; round < 20000; round++) {
		uint32_t what = below(&random, 100), count = 1 + below(&random, FRAMES);
		const struct bridge_member *from = &members[below(&random, MEMBERS)];
		const struct bridge_member *other = &members[below(&random, MEMBERS)];
		uint64_t source = guest(what == 0 ? other->port : from->port);

		/* A guest moves with one frame. */
		if (what == 0)
			count = 1;
		for (uint32_t i = 0; i < count; i++) {
			uint64_t to = guest(members[below(&random, MEMBERS)].port) +
				      0x100 * below(&random, 2);
			int tag = tags[below(&random, sizeof(tags) / sizeof(tags[0]))];
			uint32_t repeat = below(&random, 3);

			if (below(&random, 30) == 0)
				to = below(&random, 2) ? BROADCAST : GATEWAY;
			for (uint32_t j = 0; j <= repeat && i + j < count; j++) {
				add(both[0], to, source, tag);
				add(both[1], to, source, tag);
			}
			i += repeat;
			if (what != 0)
				source = guest(from->port) + 0x100 * below(&random, 2);
		}
		for (int i = 0; i < 2; i++) {
			struct fixture *f = both[i];

			f->now = 1 + (uint32_t)(round / 50);
			if (what == 1)
				mac_table_flush_port(f->bridge->macs, other->port);
			if (what == 2)
				mac_table_age(f->bridge->macs, f->now, 1);
			if (what == 3) {
				/* Control has published another view. */
				f->bridge->members[0].isolated = !f->bridge->members[0].isolated;
				f->bridge->generation++;
			}
			if (i == 1) {
				bridge_memo_destroy(f->memo);
				f->memo = memo_create();
			}
			decide(f, from->port);
		}
		assert_same_outcome(both[0], both[1], count);
		for (uint32_t i = 0; i < count; i++)
			hits += both[0]->verdicts[i].action == BRIDGE_UNICAST;
	}
	assert_true(hits > 100000);
	tear_down((void **)&both[1]);
}

/* Each second is an epoch; none may be taken for one whose number was used before. */
static void test_memo_runs_out_of_epochs(void **state)
{
	struct fixture *f = *state;
	uint32_t epoch;

	for (unsigned i = 0; i < MEMBERS; i++)
		one(f, members[i].port, BROADCAST, guest(members[i].port), -1);
	for (int i = 0; i < 2; i++)
		assert_unicast(one(f, ISOLATED_A, guest(PLAIN_B), guest(ISOLATED_A), -1), PLAIN_B);
	epoch = f->memo->ports[ISOLATED_A].epoch;
	mac_table_learn(f->bridge->macs, guest(PLAIN_B), 0, PLAIN_A, f->now);
	do {
		f->now++;
		assert_unicast(one(f, PLAIN_A, guest(ISOLATED_A), guest(PLAIN_A), -1), ISOLATED_A);
	} while (f->memo->last_epoch != epoch - 1);
	assert_unicast(one(f, ISOLATED_A, guest(PLAIN_B), guest(ISOLATED_A), -1), PLAIN_A);
	assert_int_equal(f->memo->ports[ISOLATED_A].epoch, epoch);
}

/* A source for which its port has no entry left is nobody's to remember: it is refused each time.
 */
static void test_memo_keeps_nothing_unlearned(void **state)
{
	struct fixture *f = *state;
	struct mac_table_stats stats;

	for (uint16_t i = 0; i < QUOTA; i++)
		mac_table_learn(f->bridge->macs, guest(1000 + i), 0, PLAIN_A, f->now);
	one(f, PLAIN_B, BROADCAST, guest(PLAIN_B), -1);
	for (int i = 0; i < 3; i++)
		assert_unicast(one(f, PLAIN_A, guest(PLAIN_B), guest(PLAIN_A), -1), PLAIN_B);
	mac_table_get_stats(f->bridge->macs, &stats);
	assert_int_equal(stats.refused_quota, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_learns_and_forwards),
		TEST(test_a_burst_is_in_order),
		TEST(test_what_teaches_nothing),
		TEST(test_transparent),
		TEST(test_isolated),
		TEST(test_port_that_left),
		TEST(test_vlans),
		TEST(test_priority_tag_gets_its_vlan),
		TEST(test_floods_to),
		TEST(test_gateway_address),
		TEST(test_gateway_address_is_nobody_elses),
		TEST(test_gateway_floods),
		TEST(test_memo_changes_nothing),
		TEST(test_memo_runs_out_of_epochs),
		TEST(test_memo_keeps_nothing_unlearned),
	};

	int failed = 0;

	for (; memo_run_variant(variant) != NULL; variant++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
