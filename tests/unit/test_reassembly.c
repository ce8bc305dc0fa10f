/* Putting fragments together (route/reassembly.c), by RFC 791, 815, 1858, 5722, 6946, 7112 and
 * 8200; and random fragments of random packets, in random order. */
#include "tests/unit/reassembly_rig.h"

/* RFC 791, 3.2; RFC 8200, 4.5: in any order, with tags, options and extension headers. */
static void test_rfc791_any_order(void **state)
{
	static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	for (uint32_t i = 0; i < 6 * 2 * 2 * 2; i++) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(i / 6 % 2 ? 6 : 4, 3001);

		whole.tag = i / 12 % 2;
		whole.before = i / 24 ? 16 : 0;
		whole.owner = i;
		for (uint32_t n = 0; n < 3; n++) {
			uint32_t part = orders[i % 6][n];

			assert_int_equal(
			    feed(rig, &whole, part * 1200, part == 2 ? 601 : 1200, part != 2),
			    n == 2 ? REASSEMBLY_COMPLETE : REASSEMBLY_WAITING);
		}
		assert_int_equal(rig->complete, 1);
		assert_in_range(rig->mtu, 1220, 1264);
		check_whole(rig, &whole);
		check_empty(rig);
		assert_int_equal(counters(rig)->fragments, 3);
		assert_int_equal(counters(rig)->complete, 1);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* RFC 791, 3.2: source, destination, protocol and identification tell packets apart; so do owners.
 * RFC 8200, 4.5: over IPv6 the protocol does not. */
static void test_rfc791_packets_apart(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct rig *rig = rig_create(NULL);
		struct whole a = whole_of(version, 1000), b;

		feed(rig, &a, 0, 504, true);
		b = a;
		b.id++;
		assert_int_equal(feed(rig, &b, 504, 496, false), REASSEMBLY_WAITING);
		b = a;
		b.source++;
		assert_int_equal(feed(rig, &b, 504, 496, false), REASSEMBLY_WAITING);
		b = a;
		b.owner++;
		assert_int_equal(feed(rig, &b, 504, 496, false), REASSEMBLY_WAITING);
		b = a;
		b.protocol = 99;
		assert_int_equal(feed(rig, &b, 504, 496, false),
				 version == 4 ? REASSEMBLY_WAITING : REASSEMBLY_COMPLETE);
		if (version == 4)
			assert_int_equal(feed(rig, &a, 504, 496, false), REASSEMBLY_COMPLETE);
		check_whole(rig, &a);
		reassembly_forget(rig->r, 1);
		reassembly_forget(rig->r, 0);
		check_empty(rig);
		free(a.payload);
		rig_destroy(rig);
	}
}

/* RFC 5722, 4 (and for IPv4 the same): an overlap ends the packet, and what still comes of it. */
static void test_rfc5722_overlap(void **state)
{
	static const struct {
		uint32_t offset, length;
		bool more;
	} rows[] = {
		{ 8, 800, true },			 /* into the first */
		{ 792, 16, true },			 /* over its end */
		{ 0, 808, true },			 /* around it */
		{ 0, 792, true },			 /* within it */
		{ 1600, 800, true },			 /* the last, but with more to come */
		{ 1592, 800, true },			 /* into the second */
		{ 1592, 16, true },   { 2400, 8, true }, /* behind the last */
		{ 2400, 8, false },			 /* another last */
		{ 2000, 400, false },			 /* it is, but overlaps */
		{ 1200, 8, false },			 /* an end before the end */
	};

	for (uint32_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(i % 2 ? 6 : 4, 2400);

		assert_int_equal(feed(rig, &whole, 0, 800, true), REASSEMBLY_WAITING);
		assert_int_equal(feed(rig, &whole, 1600, 800, false), REASSEMBLY_WAITING);
		if (feed(rig, &whole, rows[i / 2].offset, rows[i / 2].length, rows[i / 2].more) !=
		    REASSEMBLY_DROPPED)
			fail_msg("row %u", i / 2);
		assert_int_equal(counters(rig)->overlap, 1);
		assert_int_equal(feed(rig, &whole, 800, 800, true), REASSEMBLY_DROPPED);
		assert_int_equal(feed(rig, &whole, 0, 800, true), REASSEMBLY_DROPPED);
		assert_int_equal(counters(rig)->after_overlap, 2);
		assert_int_equal(rig->complete, 0);
		/* Until its time is over, and nobody hears of that. */
		rig->now += 60000;
		reassembly_tick(rig->r, rig->now);
		assert_int_equal(rig->expired, 0);
		assert_int_equal(counters(rig)->timeout, 0);
		check_empty(rig);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* RFC 8200, 4.5: a duplicate, byte for byte, is no overlap. */
static void test_rfc8200_duplicate(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(version, 2000);

		for (int i = 0; i < 3; i++) {
			assert_int_equal(feed(rig, &whole, 0, 800, true), REASSEMBLY_WAITING);
			assert_int_equal(feed(rig, &whole, 1600, 400, false), REASSEMBLY_WAITING);
		}
		assert_int_equal(counters(rig)->duplicate, 4);
		assert_int_equal(feed(rig, &whole, 800, 800, true), REASSEMBLY_COMPLETE);
		check_whole(rig, &whole);
		/* But with one bit changed. */
		feed(rig, &whole, 0, 800, true);
		whole.payload[799] ^= 1;
		assert_int_equal(feed(rig, &whole, 0, 800, true), REASSEMBLY_DROPPED);
		assert_int_equal(counters(rig)->overlap, 1);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* RFC 1858, 3 and RFC 7112: a first fragment has the whole L4 header, and all before it. */
static void test_rfc1858_rfc7112_tiny(void **state)
{
	static const struct {
		int version;
		uint8_t protocol;
		uint32_t offset, length;
		bool tiny;
	} rows[] = {
		{ 4, IPPROTO_TCP, 0, 8, true },	    { 4, IPPROTO_TCP, 0, 16, true },
		{ 4, IPPROTO_TCP, 0, 24, false },   { 4, IPPROTO_TCP, 8, 80, true },
		{ 4, IPPROTO_TCP, 16, 80, false },  { 4, IPPROTO_UDP, 0, 8, false },
		{ 4, IPPROTO_UDP, 8, 80, false },   { 4, IPPROTO_ICMP, 0, 8, false },
		{ 6, IPPROTO_TCP, 0, 16, true },    { 6, IPPROTO_TCP, 0, 24, false },
		{ 6, IPPROTO_UDP, 0, 8, false },    { 6, IPPROTO_FRAGMENT, 0, 80, true },
		{ 6, IPPROTO_DSTOPTS, 0, 8, true }, /* names no L4 within */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(rows[i].version, 2000);

		whole.protocol = rows[i].protocol;
		memset(whole.payload, 0, 8);
		whole.payload[0] = IPPROTO_TCP;
		if (feed(rig, &whole, rows[i].offset, rows[i].length, true) !=
		    (rows[i].tiny ? REASSEMBLY_DROPPED : REASSEMBLY_WAITING))
			fail_msg("row %zu", i);
		assert_int_equal(counters(rig)->tiny, rows[i].tiny);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* RFC 8200, 4.5: lengths that cannot be, and what ICMPv6 points at. */
static void test_rfc8200_lengths(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(version, 2000);
		enum reassembly_result refused =
		    version == 6 ? REASSEMBLY_PARAMETER : REASSEMBLY_DROPPED;
		uint32_t longest = version == 4 ? 65515 : 65495;

		assert_int_equal(feed(rig, &whole, 0, 801, true), refused);
		assert_int_equal(rig->pointer, 4);
		assert_int_equal(feed(rig, &whole, 800, 0, true), REASSEMBLY_DROPPED);
		assert_int_equal(feed(rig, &whole, 800, 0, false), REASSEMBLY_DROPPED);
		assert_int_equal(counters(rig)->length, 3);
		assert_int_equal(feed(rig, &whole, 65528, 800, true), refused);
		if (version == 6)
			assert_int_equal(rig->pointer, 42);
		assert_int_equal(feed(rig, &whole, 65480, longest + 1 - 65480, false), refused);
		assert_int_equal(counters(rig)->too_long, 2);
		check_empty(rig);
		assert_int_equal(feed(rig, &whole, 65480, longest - 65480, false),
				 REASSEMBLY_WAITING);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* The longest packet there is; and one whose first fragment's options make it longer yet. */
static void test_rfc791_longest(void **state)
{
	struct rig *rig = rig_create(NULL);
	struct whole whole = whole_of(4, 65515);

	for (uint32_t at = 0; at < 65515; at += 1480)
		feed(rig, &whole, at, at + 1480 < 65515 ? 1480 : 65515 - at, at + 1480 < 65515);
	assert_int_equal(rig->complete, 1);
	check_whole(rig, &whole);
	for (uint32_t at = 1480; at < 65515; at += 1480)
		feed(rig, &whole, at, at + 1480 < 65515 ? 1480 : 65515 - at, at + 1480 < 65515);
	whole.before = 40;
	assert_int_equal(feed(rig, &whole, 0, 1480, true), REASSEMBLY_DROPPED);
	assert_int_equal(counters(rig)->too_long, 1);
	check_empty(rig);
	free(whole.payload);
	rig_destroy(rig);
}

/* RFC 6946, 4: a packet of one fragment stands for itself, whatever else has its identification. */
static void test_rfc6946_atomic(void **state)
{
	struct rig *rig = rig_create(NULL);
	struct whole whole = whole_of(6, 1000), other = whole_of(6, 2000);

	other.payload[0] ^= 1;
	feed(rig, &other, 0, 1000, true);
	whole.before = 8;
	assert_int_equal(feed(rig, &whole, 0, 1000, false), REASSEMBLY_COMPLETE);
	check_whole(rig, &whole);
	assert_int_equal(counters(rig)->atomic, 1);
	assert_int_equal(feed(rig, &other, 1000, 1000, false), REASSEMBLY_COMPLETE);
	check_whole(rig, &other);
	free(whole.payload);
	free(other.payload);
	rig_destroy(rig);
}

/* RFC 1122, 3.3.2; RFC 8200, 4.5: 30 and 60 seconds; told about when the first fragment is there.
 */
static void test_rfc8200_timeout(void **state)
{
	struct rig *rig = rig_create(NULL);
	struct whole four = whole_of(4, 2000), six = whole_of(6, 2000);

	assert_int_equal(reassembly_deadline(rig->r), UINT64_MAX);
	feed(rig, &six, 0, 800, true);
	rig->now = 2000;
	feed(rig, &four, 800, 800, true);
	four.id++;
	feed(rig, &four, 0, 800, true);
	rig->now = 3000;
	feed(rig, &four, 800, 800, true); /* no new time */
	assert_int_equal(reassembly_deadline(rig->r), 32000);
	reassembly_tick(rig->r, 31999);
	assert_int_equal(counters(rig)->timeout, 0);
	reassembly_tick(rig->r, 32000);
	assert_int_equal(counters(rig)->timeout, 2);
	assert_int_equal(rig->expired, 1);
	assert_int_equal(rig->length, 14 + 20 + 800);
	assert_memory_equal(rig->frame + 34, four.payload, 800);
	assert_int_equal(reassembly_deadline(rig->r), 61000);
	reassembly_tick(rig->r, 61000);
	assert_int_equal(rig->expired, 2);
	assert_int_equal(rig->length, 14 + 40 + 8 + 800);
	assert_memory_equal(rig->frame + 62, six.payload, 800);
	check_empty(rig);
	free(four.payload);
	free(six.payload);
	rig_destroy(rig);
}

/* RFC 3168, 5.3: congestion that one fragment met is the packet's. */
static void test_rfc3168_congestion(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct rig *rig = rig_create(NULL);
		struct whole whole = whole_of(version, 2000);

		whole.traffic = 2;
		feed(rig, &whole, 0, 800, true);
		whole.traffic = 3;
		feed(rig, &whole, 800, 800, true);
		whole.traffic = 2;
		feed(rig, &whole, 1600, 400, false);
		whole.traffic = 3;
		check_whole(rig, &whole);
		free(whole.payload);
		rig_destroy(rig);
	}
}

/* Too many pieces of one packet. */
static void test_pieces(void **state)
{
	struct rig *rig = rig_create(NULL);
	struct whole whole = whole_of(4, 60000);

	for (uint32_t i = 0; i < REASSEMBLY_PIECES; i++)
		assert_int_equal(feed(rig, &whole, i * 16, 16, true), REASSEMBLY_WAITING);
	assert_int_equal(feed(rig, &whole, 30000, 16, true), REASSEMBLY_DROPPED);
	assert_int_equal(counters(rig)->pieces, 1);
	free(whole.payload);
	rig_destroy(rig);
}

/* A flood from one source pushes out its own packets; from many, those of its owner; and from many
 * owners, those of the one that holds most. */
static void test_bounds(void **state)
{
	static const struct reassembly_limits limits = { .bytes = 100000,
							 .owner_bytes = 40000,
							 .source_bytes = 20000,
							 .datagrams = 100,
							 .owner_datagrams = 40,
							 .source_datagrams = 10 };
	struct rig *rig = rig_create(&limits);
	struct whole good = whole_of(4, 2000), bad = whole_of(4, 2000);
	uint32_t datagrams, bytes;

	good.owner = 77;
	feed(rig, &good, 0, 800, true);
	bad.owner = 1;
	for (uint32_t i = 0; i < 1000; i++) {
		bad.id = i;
		feed(rig, &bad, 0, 8, true);
	}
	reassembly_usage(rig->r, &datagrams, &bytes);
	assert_int_equal(datagrams, 11);
	for (uint32_t i = 0; i < 1000; i++) {
		bad.id = i;
		bad.source = (uint8_t)i;
		feed(rig, &bad, 0, 1000, true);
		reassembly_usage(rig->r, &datagrams, &bytes);
		assert_in_range(datagrams, 1, 41);
		assert_in_range(bytes, 1, 42000);
	}
	for (uint32_t i = 0; i < 10000; i++) {
		bad.id = i;
		bad.owner = i % 7;
		bad.source = (uint8_t)(i / 7);
		feed(rig, &bad, 0, i % 1500 / 8 * 8 + 8, true);
		reassembly_usage(rig->r, &datagrams, &bytes);
		assert_in_range(datagrams, 1, 100);
		assert_in_range(bytes, 1, 100000);
	}
	/* Through all of that the other's packet waited. */
	feed(rig, &good, 800, 800, true);
	assert_int_equal(feed(rig, &good, 1600, 400, false), REASSEMBLY_COMPLETE);
	check_whole(rig, &good);
	/* What alone is more than may be. */
	bad.owner = 50;
	bad.length = 60000;
	free(bad.payload);
	bad = whole_of(4, 60000);
	for (uint32_t at = 0; at < 60000; at += 1480)
		assert_int_not_equal(feed(rig, &bad, at, 1480, true), REASSEMBLY_COMPLETE);
	reassembly_usage(rig->r, &datagrams, &bytes);
	assert_in_range(bytes, 1, 100000);
	free(good.payload);
	free(bad.payload);
	rig_destroy(rig);
}

static uint32_t random_below(uint64_t *seed, uint32_t limit)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % limit;
}

/* Random packets, cut at random places, in random order, with duplicates, many at a time: each
 * comes out once, whole. */
static void test_random_packets(void **state)
{
	struct rig *rig = rig_create(NULL);
	uint64_t seed = 7;

	for (uint32_t round = 0; round < 400; round++) {
		uint32_t cuts[64], order[64], count = 0, at = 0, done = 0;
		struct whole whole = whole_of(round % 2 ? 6 : 4,
					      100 + random_below(&seed, round % 10 ? 9000 : 65000));

		whole.id = round;
		whole.before = (uint8_t)(random_below(&seed, 3) * 8);
		whole.source = (uint8_t)random_below(&seed, 200);
		while (at < whole.length && count < 63) {
			cuts[count++] = at;
			at += 40 + random_below(&seed, whole.length / 20 + 1) / 8 * 8;
		}
		cuts[count] = whole.length;
		for (uint32_t i = 0; i < count; i++) {
			uint32_t j = random_below(&seed, i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		/* The last place is left when it would make a piece too long. */
		for (uint32_t i = 0; i < count; i++) {
			uint32_t piece = order[i], times = 1 + (random_below(&seed, 8) == 0);

			for (uint32_t n = 0; n < times && done == rig->complete; n++)
				feed(rig, &whole, cuts[piece], cuts[piece + 1] - cuts[piece],
				     piece + 1 < count);
		}
		assert_int_equal(rig->complete, done + 1);
		check_whole(rig, &whole);
		rig->complete = 0;
		free(whole.payload);
	}
	check_empty(rig);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc791_any_order),
		cmocka_unit_test(test_rfc791_packets_apart),
		cmocka_unit_test(test_rfc5722_overlap),
		cmocka_unit_test(test_rfc8200_duplicate),
		cmocka_unit_test(test_rfc1858_rfc7112_tiny),
		cmocka_unit_test(test_rfc8200_lengths),
		cmocka_unit_test(test_rfc791_longest),
		cmocka_unit_test(test_rfc6946_atomic),
		cmocka_unit_test(test_rfc8200_timeout),
		cmocka_unit_test(test_rfc3168_congestion),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_random_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
