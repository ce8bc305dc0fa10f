/* The life of neighbours (route/neighbour.c) and the table they live in (route/neighbour_table.c,
 * route/neighbour_pending.c), with workers that look up meanwhile. */
#include "tests/unit/neighbour_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define GATEWAY "192.168.122.1"
#define GUEST	"192.168.122.10"
#define OTHER	"192.168.122.20"

static const struct neighbour_counters *counters(const struct rig *rig)
{
	return neighbour_counters(rig->table);
}

/* A neighbour that asked us, and so is known. */
static void learn(struct rig *rig, const char *ip, const struct mac *mac)
{
	rig_arp(rig, 0, 1, &rig_broadcast, mac, ip, GATEWAY);
	rig_clear(rig);
}

static void answer(struct rig *rig, const char *ip, const struct mac *mac)
{
	rig_arp(rig, 0, 2, &rig->legs[0].mac, mac, ip, GATEWAY);
}

static char *guest_text(char text[IP_TEXT_LENGTH], uint32_t i)
{
	snprintf(text, IP_TEXT_LENGTH, "192.168.122.%u", i);
	return text;
}

/* RFC 4861, 7.2.2; RFC 1122, 2.3.2: three questions, a second apart, then unreachable. */
static void test_unanswered(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	assert_int_equal(rig_resolve(rig, 0, GUEST, 0x11, 100), NEIGHBOUR_WAITING);
	assert_int_equal(rig_resolve(rig, 0, GUEST, 0x22, 200), NEIGHBOUR_WAITING);
	assert_int_equal(rig->sent_count, 1);
	rig_wait(rig, 1999);
	assert_int_equal(rig->sent_count, 2);
	rig_wait(rig, 1000);
	assert_int_equal(rig->sent_count, 3);
	assert_int_equal(rig->unreachable_count, 0);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_INCOMPLETE);
	rig_wait(rig, 1);
	assert_int_equal(rig->unreachable_count, 2);
	assert_int_equal(rig->unreachable.length, 200);
	assert_int_equal(rig->unreachable.bytes[0], 0x22); /* as it was given */
	assert_int_equal(rig->unreachable.leg, 0);
	assert_int_equal(counters(rig)->unreachable, 1);
	assert_int_equal(rig_count(rig), 0);
	rig_wait(rig, 100000);
	assert_int_equal(rig->sent_count, 3);
	assert_int_equal(neighbour_deadline(rig->table), UINT64_MAX);
	rig_destroy(rig);
}

static void test_resolve_refused(void **state)
{
	static const char *const bad[] = { "192.168.123.1",   "192.168.122.255", "192.168.122.0",
					   "255.255.255.255", "224.0.0.1",	 "0.0.0.0",
					   GATEWAY,	      "fd00:123::1",	 "ff02::1" };
	struct rig *rig = rig_create(RIG_LIMIT);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rig_resolve(rig, 0, bad[i], 1, 100), NEIGHBOUR_REFUSED);
	assert_int_equal(rig_resolve(rig, 2, GUEST, 1, 100), NEIGHBOUR_REFUSED);
	assert_int_equal(rig_resolve(rig, 0, GUEST, 1, 13), NEIGHBOUR_REFUSED);
	assert_int_equal(rig_resolve(rig, 0, GUEST, 1, NEIGHBOUR_FRAME_MAX + 1), NEIGHBOUR_REFUSED);
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* So many frames wait, the newest; they leave in order. */
static void test_pending_of_one(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	for (uint8_t i = 0; i < NEIGHBOUR_PENDING + 2; i++)
		assert_int_equal(rig_resolve(rig, 0, GUEST, i, 100), NEIGHBOUR_WAITING);
	assert_int_equal(counters(rig)->pending_dropped, 2);
	rig_clear(rig);
	answer(rig, GUEST, &rig_guest);
	assert_int_equal(rig->sent_count, NEIGHBOUR_PENDING);
	for (uint8_t i = 0; i < NEIGHBOUR_PENDING; i++)
		assert_int_equal(rig->sent[i].bytes[12], i + 2);
	/* Known now. */
	assert_int_equal(rig_resolve(rig, 0, GUEST, 9, 100), NEIGHBOUR_READY);
	assert_int_equal(rig->sent_count, NEIGHBOUR_PENDING + 1);
	rig_destroy(rig);
}

/* The bytes of a leg are bounded, and again the newest win, so a scan keeps nobody's frames out. */
static void test_pending_of_leg(void **state)
{
	struct rig *rig = rig_create(200);
	char text[IP_TEXT_LENGTH];

	for (uint32_t i = 2; i < 20; i++)
		rig_resolve(rig, 0, guest_text(text, i), (uint8_t)i, 65536);
	assert_int_equal(counters(rig)->pending_dropped, 18 - NEIGHBOUR_PENDING_BYTES / 65536);
	rig_clear(rig);
	answer(rig, guest_text(text, 19), &rig_guest);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig->sent[0].bytes[12], 19);
	answer(rig, guest_text(text, 2), &rig_guest);
	assert_int_equal(rig->sent_count, 1);
	/* Another leg has bytes of its own. */
	assert_int_equal(rig_resolve(rig, 1, "10.255.0.1", 1, 65536), NEIGHBOUR_WAITING);
	assert_int_equal(counters(rig)->pending_dropped, 18 - NEIGHBOUR_PENDING_BYTES / 65536);
	rig_destroy(rig);
}

/* RFC 4861, 7.3.3: reachable for 30 s, stale after, asked when used, and gone without an answer. */
static void test_states(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_resolve(rig, 0, GUEST, 1, 100);
	answer(rig, GUEST, &rig_guest);
	rig_wait(rig, 29999);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	rig_wait(rig, 1001);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	rig_clear(rig);
	rig_wait(rig, 60000);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	assert_int_equal(rig->sent_count, 0);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	/* Use is looked for every five seconds of the clock. */
	rig_wait(rig, NEIGHBOUR_DELAY_MS - rig->now % NEIGHBOUR_DELAY_MS);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_PROBE);
	assert_int_equal(rig->sent_count, 1);
	rig_wait(rig, 2000);
	assert_int_equal(rig->sent_count, 3);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest)); /* to the end */
	rig_wait(rig, 1000);
	assert_int_equal(rig->sent_count, 3);
	assert_false(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

static void test_unused_are_forgotten(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	learn(rig, GUEST, &rig_guest);
	rig_wait(rig, NEIGHBOUR_UNUSED_MS - 1);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	rig_wait(rig, 5001);
	assert_int_equal(rig_state(rig, 0, GUEST), -1);
	/* One that answers all the time stays. */
	learn(rig, GUEST, &rig_guest);
	for (int i = 0; i < 200; i++) {
		assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
		rig_wait(rig, 5000);
		if (rig_state(rig, 0, GUEST) == NEIGHBOUR_PROBE)
			answer(rig, GUEST, &rig_guest);
	}
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	rig_destroy(rig);
}

/* A scan fills a leg with questions: they push out one another, and nobody else. */
static void test_scan_evicts_its_own(void **state)
{
	struct rig *rig = rig_create(4);
	char text[IP_TEXT_LENGTH];

	assert_int_equal(rig_resolve(rig, 1, "10.255.0.1", 1, 100), NEIGHBOUR_WAITING);
	rig_resolve(rig, 0, GUEST, 1, 100);
	answer(rig, GUEST, &rig_guest);
	learn(rig, OTHER, &rig_other);
	for (uint32_t i = 100; i < 200; i++)
		assert_int_equal(rig_resolve(rig, 0, guest_text(text, i), 1, 100),
				 NEIGHBOUR_WAITING);
	assert_int_equal(counters(rig)->evicted, 98);
	assert_int_equal(rig->unreachable_count, 98);
	assert_int_equal(rig_count(rig), 5);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	assert_int_equal(rig_state(rig, 0, OTHER), NEIGHBOUR_STALE);
	assert_int_equal(rig_state(rig, 1, "10.255.0.1"), NEIGHBOUR_INCOMPLETE);
	assert_int_equal(rig_state(rig, 0, "192.168.122.199"), NEIGHBOUR_INCOMPLETE);
	rig_destroy(rig);
}

/* Many who say that they are there: stale ones go that nobody uses. Those in use are asked, and
 * reachable and configured ones stay, even if the leg is full of them. */
static void test_arp_flood_evicts_unused(void **state)
{
	struct rig *rig = rig_create(4);
	char text[IP_TEXT_LENGTH];
	struct ip fixed = rig_ip("192.168.122.30");

	rig_resolve(rig, 0, GUEST, 1, 100);
	answer(rig, GUEST, &rig_guest);
	assert_int_equal(neighbour_add_static(rig->table, 0, &fixed, &rig_other, rig->now), 0);
	learn(rig, OTHER, &rig_other);
	assert_true(rig_knows(rig, 0, OTHER, &rig_other)); /* used */
	for (uint32_t i = 100; i < 200; i++)
		learn(rig, guest_text(text, i), &rig_other);
	assert_int_equal(rig_count(rig), 4);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	assert_int_equal(rig_state(rig, 0, OTHER), NEIGHBOUR_PROBE);
	assert_int_equal(rig_state(rig, 0, "192.168.122.30"), NEIGHBOUR_STATIC);
	assert_int_equal(rig_state(rig, 0, "192.168.122.199"), NEIGHBOUR_STALE);
	assert_int_equal(counters(rig)->evicted, 99);
	rig_resolve(rig, 0, "192.168.122.99", 1, 100);
	answer(rig, "192.168.122.99", &rig_guest);
	answer(rig, OTHER, &rig_other);
	/* Nothing is left to push out. */
	assert_int_equal(rig_resolve(rig, 0, "192.168.122.98", 1, 100), NEIGHBOUR_REFUSED);
	assert_int_equal(counters(rig)->full, 1);
	/* The asker is answered all the same. */
	rig_clear(rig);
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, "192.168.122.97", GATEWAY);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(counters(rig)->full, 2);
	rig_destroy(rig);
}

static void test_static(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct ip ip = rig_ip(GUEST), foreign = rig_ip("192.168.123.1"), own = rig_ip(GATEWAY);

	assert_int_equal(rig_resolve(rig, 0, GUEST, 7, 100), NEIGHBOUR_WAITING);
	rig_clear(rig);
	assert_int_equal(neighbour_add_static(rig->table, 0, &ip, &rig_guest, rig->now), 0);
	assert_int_equal(rig->sent_count, 1); /* what waited */
	answer(rig, GUEST, &rig_other);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_int_equal(counters(rig)->refused_static, 1);
	rig_clear(rig);
	rig_wait(rig, 10000000);
	assert_int_equal(rig->sent_count, 0);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_int_equal(neighbour_add_static(rig->table, 0, &foreign, &rig_guest, rig->now),
			 -EINVAL);
	assert_int_equal(neighbour_add_static(rig->table, 0, &own, &rig_guest, rig->now), -EINVAL);
	assert_int_equal(neighbour_add_static(rig->table, 7, &ip, &rig_guest, rig->now), -EINVAL);
	assert_int_equal(neighbour_add_static(rig->table, 0, &ip, &rig_broadcast, rig->now),
			 -EINVAL);
	assert_int_equal(neighbour_remove(rig->table, 0, &ip), 0);
	assert_int_equal(neighbour_remove(rig->table, 0, &ip), -ENOENT);
	assert_int_equal(neighbour_remove(rig->table, 9, &ip), -ENOENT);
	assert_false(rig_knows(rig, 0, GUEST, &rig_guest));
	rig_destroy(rig);
}

/* Over a restart: what was visited is loaded, as stale; and what is known better stays. */
static void test_restored_as_stale(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct ip ip = rig_ip(GUEST), foreign = rig_ip("10.9.9.9");
	uint64_t changes = neighbour_changes(rig->table);

	assert_int_equal(neighbour_load(rig->table, 0, &ip, &rig_guest, rig->now), 0);
	assert_int_not_equal(neighbour_changes(rig->table), changes);
	changes = neighbour_changes(rig->table);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_int_equal(neighbour_load(rig->table, 0, &ip, &rig_other, rig->now), 0);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_int_equal(neighbour_load(rig->table, 0, &foreign, &rig_guest, rig->now), -EINVAL);
	rig_wait(rig, 5000); /* used: asked */
	answer(rig, GUEST, &rig_guest);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	assert_int_equal(neighbour_changes(rig->table), changes);
	assert_int_equal(neighbour_remove(rig->table, 0, &ip), 0);
	assert_int_not_equal(neighbour_changes(rig->table), changes);
	rig_destroy(rig);
}

/* Other addresses of a leg: neighbours that are not on it any more go, and so does all with it. */
static void test_leg_changes(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct route_leg leg = rig->legs[0];

	learn(rig, GUEST, &rig_guest);
	learn(rig, "192.168.122.200", &rig_other);
	rig_resolve(rig, 0, "192.168.122.201", 1, 100);
	leg.addresses[0] = rig_prefix("192.168.122.10/26"); /* .10 is ours now */
	neighbour_set_leg(rig->table, &leg, rig->now);
	assert_int_equal(rig_count(rig), 0);
	assert_int_equal(rig->unreachable_count, 1);
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_other, "192.168.122.20", GUEST);
	assert_true(rig_knows(rig, 0, "192.168.122.20", &rig_other));
	neighbour_clear_leg(rig->table, 0, rig->now);
	assert_int_equal(rig_count(rig), 0);
	rig_clear(rig);
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_other, "192.168.122.20", GUEST);
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig_resolve(rig, 0, "192.168.122.20", 1, 100), NEIGHBOUR_REFUSED);
	neighbour_clear_leg(rig->table, 0, rig->now);
	neighbour_clear_leg(rig->table, 9, rig->now);
	assert_int_equal(neighbour_deadline(rig->table), UINT64_MAX);
	rig_destroy(rig);
}

/* Thousands, as fast as few: all are found, and only they. */
static void test_many(void **state)
{
	struct rig *rig = rig_create(4096);
	struct route_leg leg = rig->legs[0];

	leg.addresses[0] = rig_prefix("10.0.0.1/16");
	neighbour_set_leg(rig->table, &leg, rig->now);
	for (uint32_t i = 2; i < 4098; i++) {
		struct mac mac = mac_from_u64(0x525400000000u + i);
		struct ip ip = ip_from_v4(0x0a000000u + i);

		assert_int_equal(neighbour_load(rig->table, 0, &ip, &mac, rig->now), 0);
	}
	for (uint32_t i = 2; i < 4098; i++) {
		struct ip ip = ip_from_v4(0x0a000000u + i);
		struct mac mac;

		assert_true(neighbour_lookup(rig->table, 0, &ip, &mac));
		assert_true(mac_to_u64(mac.bytes) == 0x525400000000u + i);
		assert_false(neighbour_lookup(rig->table, 1, &ip, &mac));
		assert_int_equal(neighbour_remove(rig->table, 0, &ip), 0);
		assert_false(neighbour_lookup(rig->table, 0, &ip, &mac));
	}
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* What a worker finds was true at some time: each address has MACs of its own kind only. */
struct reader {
	struct neighbour_table *table;
	atomic_bool stop;
	atomic_uint found;
	atomic_bool wrong;
};

static void *reader_run(void *context)
{
	struct reader *reader = context;
	uint32_t i = 0;

	while (!atomic_load(&reader->stop)) {
		struct ip ip = ip_from_v4(0xc0a87a02u + i++ % 250);
		struct mac mac;

		if (!neighbour_lookup(reader->table, 0, &ip, &mac))
			continue;
		atomic_fetch_add(&reader->found, 1);
		if (mac.bytes[5] != ip.bytes[15] || mac.bytes[0] != 0x52)
			atomic_store(&reader->wrong, true);
	}
	return NULL;
}

static void test_readers_and_writer(void **state)
{
	struct rig *rig = rig_create(16);
	struct reader reader = { .table = rig->table };
	pthread_t threads[2];
	uint32_t rounds = 0;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &reader), 0);
	/* Entries are made, changed and recycled all the time: 250 addresses have 16 places. */
	while (rounds < 200000 || atomic_load(&reader.found) < 1000) {
		struct mac mac = { { 0x52, 0x54, (uint8_t)(rounds >> 8), (uint8_t)rounds } };
		struct ip ip = ip_from_v4(0xc0a87a02u + rounds * 7 % 250);

		mac.bytes[5] = ip.bytes[15];
		assert_int_equal(neighbour_add_static(rig->table, 0, &ip, &mac, rig->now), 0);
		mac.bytes[4]++;
		assert_int_equal(neighbour_add_static(rig->table, 0, &ip, &mac, rig->now), 0);
		ip = ip_from_v4(0xc0a87a02u + (rounds * 7 + 250 * 7 - 15 * 7) % 250);
		neighbour_remove(rig->table, 0, &ip);
		rounds++;
	}
	atomic_store(&reader.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_false(atomic_load(&reader.wrong));
	rig_destroy(rig);
}

static void test_names(void **state)
{
	assert_string_equal(neighbour_state_name(NEIGHBOUR_INCOMPLETE), "incomplete");
	assert_string_equal(neighbour_state_name(NEIGHBOUR_STATIC), "static");
	neighbour_destroy(NULL);
	assert_null(neighbour_create(0, 1, (struct neighbour_events){ 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unanswered),
		cmocka_unit_test(test_resolve_refused),
		cmocka_unit_test(test_pending_of_one),
		cmocka_unit_test(test_pending_of_leg),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_unused_are_forgotten),
		cmocka_unit_test(test_scan_evicts_its_own),
		cmocka_unit_test(test_arp_flood_evicts_unused),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_restored_as_stale),
		cmocka_unit_test(test_leg_changes),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_readers_and_writer),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
