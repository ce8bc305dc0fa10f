/* ARP (route/neighbour_arp.c) by RFC 826 and RFC 5227. */
#include "tests/unit/neighbour_rig.h"

#define GATEWAY "192.168.122.1"
#define GUEST	"192.168.122.10"

static const struct neighbour_counters *counters(const struct rig *rig)
{
	return neighbour_counters(rig->table);
}

/* RFC 826: who is asked for answers, and remembers who asked. */
static void test_rfc826_request_for_us(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GUEST, GATEWAY);
	assert_int_equal(rig->sent_count, 1);
	rig_check_arp(rig, 0, 0, 2, &rig_guest, GATEWAY, GUEST);
	assert_memory_equal(rig->sent[0].bytes + 32, &rig_guest, 6);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	assert_false(rig_knows(rig, 1, GUEST, &rig_guest));
	assert_int_equal(counters(rig)->answered, 1);
	assert_int_equal(counters(rig)->learned, 1);
	rig_destroy(rig);
}

/* RFC 826: others' requests are not ours to answer, nor to learn strangers from. */
static void test_rfc826_request_for_others(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GUEST, "192.168.122.20");
	rig_arp(rig, 0, 2, &rig->legs[0].mac, &rig_guest, GUEST, GATEWAY);
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GUEST, GUEST);
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig_count(rig), 0);
	assert_int_equal(counters(rig)->unknown, 1);
	rig_destroy(rig);
}

/* RFC 826: but what is known is brought up to date by all of them. */
static void test_rfc826_known_sender_is_updated(void **state)
{
	static const struct {
		uint16_t operation;
		const char *target;
	} rows[] = { { 1, "192.168.122.20" }, { 1, GUEST }, { 2, GUEST }, { 2, GATEWAY } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *rig = rig_create(RIG_LIMIT);

		rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GUEST, GATEWAY);
		rig_arp(rig, 0, rows[i].operation, &rig_broadcast, &rig_other, GUEST,
			rows[i].target);
		assert_true(rig_knows(rig, 0, GUEST, &rig_other));
		assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
		assert_int_equal(counters(rig)->moved, 1);
		assert_int_equal(rig_count(rig), 1);
		rig_destroy(rig);
	}
}

/* RFC 1122, 2.3.2: the answer to our question, and only to that, proves somebody is there. */
static void test_rfc1122_answer_to_a_question(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	assert_int_equal(rig_resolve(rig, 0, GUEST, 0xaa, 100), NEIGHBOUR_WAITING);
	assert_int_equal(rig->sent_count, 1);
	rig_check_arp(rig, 0, 0, 1, &rig_broadcast, GATEWAY, GUEST);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_INCOMPLETE);
	rig_clear(rig);
	rig_arp(rig, 0, 2, &rig->legs[0].mac, &rig_guest, GUEST, GATEWAY);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	/* The frame went out, to it. */
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig->sent[0].length, 100);
	assert_memory_equal(rig->sent[0].bytes, &rig_guest, 6);
	assert_memory_equal(rig->sent[0].bytes + 6, &rig->legs[0].mac, 6);
	assert_int_equal(rig->sent[0].bytes[12], 0xaa);
	/* An answer that nobody asked for changes the MAC, and proves nothing. */
	rig_arp(rig, 0, 2, &rig->legs[0].mac, &rig_other, GUEST, GATEWAY);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	rig_destroy(rig);
}

/* A broadcast answers no question of ours, though it tells a MAC. */
static void test_broadcast_is_no_proof(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	assert_int_equal(rig_resolve(rig, 0, GUEST, 0xaa, 100), NEIGHBOUR_WAITING);
	rig_clear(rig);
	rig_arp(rig, 0, 2, &rig_broadcast, &rig_guest, GUEST, GUEST);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_STALE);
	assert_int_equal(rig->sent_count, 1);
	rig_destroy(rig);
}

static void test_rfc826_malformed(void **state)
{
	static const struct {
		uint8_t at, value;
	} rows[] = { { 15, 2 }, { 16, 0x86 }, { 18, 7 }, { 19, 16 }, { 14, 1 }, { 17, 1 } };
	struct rig *rig = rig_create(RIG_LIMIT);
	uint8_t frame[42];

	rig_arp_frame(frame, 1, &rig_broadcast, &rig_guest, GUEST, GATEWAY);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t was = frame[rows[i].at];

		frame[rows[i].at] = rows[i].value;
		assert_true(rig_input(rig, 0, frame, sizeof(frame)));
		frame[rows[i].at] = was;
		assert_int_equal(counters(rig)->arp_malformed, i + 1);
	}
	for (size_t length = 14; length < 42; length++)
		assert_true(rig_input(rig, 0, frame, length));
	assert_int_equal(counters(rig)->arp_malformed, 6 + 28);
	frame[21] = 3; /* reverse ARP */
	assert_true(rig_input(rig, 0, frame, sizeof(frame)));
	frame[20] = 1;
	frame[21] = 1;
	assert_true(rig_input(rig, 0, frame, sizeof(frame)));
	assert_int_equal(counters(rig)->arp_operation, 2);
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* Senders that cannot be on the link, and MACs that no host has. */
static void test_senders_refused(void **state)
{
	static const char *const foreign[] = { "192.168.123.10", "10.255.0.1",	    "224.0.0.1",
					       "127.0.0.1",	 "255.255.255.255", "192.168.122.0",
					       "192.168.122.255" };
	static const struct mac macs[] = { { { 0 } },
					   { { 1, 0, 0x5e, 0, 0, 1 } },
					   { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
					   { { 2, 0, 0, 0, 0, 0 } } /* the leg's own */ };
	struct rig *rig = rig_create(RIG_LIMIT);

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, foreign[i], GATEWAY);
		assert_int_equal(counters(rig)->address_foreign, i + 1);
	}
	for (size_t i = 0; i < sizeof(macs) / sizeof(macs[0]); i++) {
		rig_arp(rig, 0, 1, &rig_broadcast, &macs[i], GUEST, GATEWAY);
		assert_int_equal(counters(rig)->mac_invalid, i + 1);
	}
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* RFC 5227, 2.1.1: a probe for our address is answered; it teaches nothing. */
static void test_rfc5227_probe(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, "0.0.0.0", GATEWAY);
	assert_int_equal(rig->sent_count, 1);
	rig_check_arp(rig, 0, 0, 2, &rig_guest, GATEWAY, "0.0.0.0");
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, "0.0.0.0", GUEST);
	assert_int_equal(rig->sent_count, 1);
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* RFC 5227, 2.4: another with our address is told otherwise, once in ten seconds. */
static void test_rfc5227_defence(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	for (uint32_t i = 0; i < 100; i++)
		rig_arp(rig, 0, 1 + i % 2, &rig_broadcast, &rig_guest, GATEWAY, GATEWAY);
	assert_int_equal(rig->sent_count, 1);
	rig_check_arp(rig, 0, 0, 1, &rig_broadcast, GATEWAY, GATEWAY);
	assert_int_equal(counters(rig)->conflict, 100);
	assert_int_equal(counters(rig)->defended, 1);
	assert_int_equal(rig->conflict_count, 1);
	/* Not for an address of another leg, which is no conflict there. */
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, "10.255.0.2", GATEWAY);
	assert_int_equal(counters(rig)->address_foreign, 1);
	rig->now += 9999;
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GATEWAY, GATEWAY);
	assert_int_equal(rig->sent_count, 1);
	rig->now += 1;
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GATEWAY, GATEWAY);
	assert_int_equal(rig->sent_count, 2);
	/* Told again only after a minute of peace. */
	assert_int_equal(rig->conflict_count, 1);
	rig->now += 60000;
	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GATEWAY, GATEWAY);
	assert_int_equal(rig->conflict_count, 2);
	assert_int_equal(rig_count(rig), 0);
	rig_destroy(rig);
}

/* RFC 5227, 2.1.1 and 2.3: what is ours is probed and announced, twice, two seconds apart. */
static void test_rfc5227_announcements(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct route_leg leg = rig->legs[1];

	leg.address_count = 2;
	leg.addresses[1] = rig_prefix("10.9.0.1/24");
	neighbour_set_leg(rig->table, &leg, rig->now);
	assert_int_equal(rig->sent_count, 4);
	rig_check_arp(rig, 0, 1, 1, &rig_broadcast, "0.0.0.0", "10.255.0.2");
	rig_check_arp(rig, 1, 1, 1, &rig_broadcast, "0.0.0.0", "10.9.0.1");
	rig_check_arp(rig, 2, 1, 1, &rig_broadcast, "10.255.0.2", "10.255.0.2");
	rig_check_arp(rig, 3, 1, 1, &rig_broadcast, "10.9.0.1", "10.9.0.1");
	rig_wait(rig, 1999);
	assert_int_equal(rig->sent_count, 4);
	rig_wait(rig, 1);
	assert_int_equal(rig->sent_count, 8);
	rig_wait(rig, 100000);
	assert_int_equal(rig->sent_count, 8);
	/* The same again is nothing new. */
	neighbour_set_leg(rig->table, &leg, rig->now);
	assert_int_equal(rig->sent_count, 8);
	neighbour_announce(rig->table, 1);
	assert_int_equal(rig->sent_count, 10);
	/* Who has one of them answers the probe. */
	rig_arp(rig, 1, 2, &leg.mac, &rig_guest, "10.9.0.1", "0.0.0.0");
	assert_int_equal(rig->conflict_count, 1);
	assert_int_equal(rig->sent_count, 11);
	rig_check_arp(rig, 10, 1, 1, &rig_broadcast, "10.9.0.1", "10.9.0.1");
	rig_destroy(rig);
}

/* RFC 1122, 2.3.2.1: a stale neighbour in use is asked alone, and its silence ends it. */
static void test_rfc1122_unicast_poll(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_arp(rig, 0, 1, &rig_broadcast, &rig_guest, GUEST, GATEWAY);
	rig_clear(rig);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest)); /* a worker uses it */
	rig_wait(rig, 5000);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_PROBE);
	assert_int_equal(rig->sent_count, 1);
	rig_check_arp(rig, 0, 0, 1, &rig_guest, GATEWAY, GUEST);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	rig_arp(rig, 0, 2, &rig->legs[0].mac, &rig_guest, GUEST, GATEWAY);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc826_request_for_us),
		cmocka_unit_test(test_rfc826_request_for_others),
		cmocka_unit_test(test_rfc826_known_sender_is_updated),
		cmocka_unit_test(test_rfc826_malformed),
		cmocka_unit_test(test_rfc1122_answer_to_a_question),
		cmocka_unit_test(test_rfc1122_unicast_poll),
		cmocka_unit_test(test_broadcast_is_no_proof),
		cmocka_unit_test(test_senders_refused),
		cmocka_unit_test(test_rfc5227_probe),
		cmocka_unit_test(test_rfc5227_defence),
		cmocka_unit_test(test_rfc5227_announcements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
