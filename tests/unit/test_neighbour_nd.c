/* Neighbour discovery (route/neighbour_nd.c) by RFC 4861. */
#include "tests/unit/neighbour_rig.h"

#define GATEWAY	   "fd00:122::1"
#define GUEST	   "fd00:122::10"
#define GUEST_LINK "fe80::5054:ff:fe00:11"
#define OUR_LINK   "fe80::ff:fe00:0"
#define GROUP	   "ff02::1:ff00:1" /* solicited-node of GATEWAY */
#define ALL_NODES  "ff02::1"
#define SOLICIT	   ND_NEIGHBOR_SOLICIT
#define ADVERT	   ND_NEIGHBOR_ADVERT
#define R	   0x80
#define S	   0x40
#define O	   0x20

static const struct mac all_nodes_mac = { { 0x33, 0x33, 0, 0, 0, 1 } };

static const struct neighbour_counters *counters(const struct rig *rig)
{
	return neighbour_counters(rig->table);
}

/* RFC 4861, 7.2.3 and 7.2.4: answered, and the asker is learned as stale. */
static void test_7_2_4_solicited_advertisement(void **state)
{
	static const struct {
		const char *source, *destination, *target;
	} rows[] = {
		{ GUEST, GROUP, GATEWAY },	{ GUEST, GATEWAY, GATEWAY },
		{ GUEST_LINK, GROUP, GATEWAY }, { GUEST_LINK, OUR_LINK, OUR_LINK },
		{ GUEST, OUR_LINK, OUR_LINK },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *rig = rig_create(RIG_LIMIT);

		rig_nd(rig, 0,
		       &(struct rig_nd){ .type = SOLICIT,
					 .source = rows[i].source,
					 .destination = rows[i].destination,
					 .target = rows[i].target,
					 .mac = &rig_other });
		assert_int_equal(rig->sent_count, 1);
		rig_check_nd(rig, 0, ADVERT, R | S | O, &rig_other, rows[i].target, rows[i].source,
			     rows[i].target);
		assert_int_equal(rig_state(rig, 0, rows[i].source), NEIGHBOUR_STALE);
		assert_true(rig_knows(rig, 0, rows[i].source, &rig_other));
		rig_destroy(rig);
	}
}

/* Without the option nothing is learned; the answer goes to who is known, else where it came from.
 */
static void test_7_2_4_no_option(void **state)
{
	struct rig_nd ask = {
		.type = SOLICIT, .source = GUEST, .destination = GATEWAY, .target = GATEWAY
	};
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_nd(rig, 0, &ask);
	rig_check_nd(rig, 0, ADVERT, R | S | O, &rig_guest, GATEWAY, GUEST, GATEWAY);
	assert_int_equal(rig_count(rig), 0);
	ask.mac = &rig_other;
	rig_nd(rig, 0, &ask);
	ask.mac = NULL;
	rig_nd(rig, 0, &ask);
	assert_int_equal(rig->sent_count, 3);
	rig_check_nd(rig, 2, ADVERT, R | S | O, &rig_other, GATEWAY, GUEST, GATEWAY);
	rig_destroy(rig);
}

/* RFC 4862, 5.4: who tests our address is told, with all others. */
static void test_rfc4862_duplicate_address_detection(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct rig_nd ask = {
		.type = SOLICIT, .source = "::", .destination = GROUP, .target = GATEWAY
	};

	rig_nd(rig, 0, &ask);
	assert_int_equal(rig->sent_count, 1);
	rig_check_nd(rig, 0, ADVERT, R | O, &all_nodes_mac, GATEWAY, ALL_NODES, GATEWAY);
	assert_int_equal(rig_count(rig), 0);
	ask.target = GUEST;
	ask.destination = "ff02::1:ff00:10";
	rig_nd(rig, 0, &ask);
	assert_int_equal(rig->sent_count, 1);
	rig_destroy(rig);
}

/* RFC 4861, 7.1.1: what a solicitation must not be, and where that is counted. */
static void test_7_1_1_invalid_solicitations(void **state)
{
	static const uint8_t zero_option[8] = { 1, 0 }, long_option[8] = { 1, 2 },
			     two_eights[16] = { 1, 2 }, unknown_option[8] = { 200, 1 };
	const struct rig_nd good = { .type = SOLICIT,
				     .source = GUEST,
				     .destination = GROUP,
				     .target = GATEWAY,
				     .mac = &rig_guest };
	static const struct mac group = { { 1, 2, 3, 4, 5, 6 } };
	struct rig *rig = rig_create(RIG_LIMIT);
	const struct neighbour_counters *n = counters(rig);
	struct {
		struct rig_nd message;
		const uint64_t *counter;
	} rows[16];
	size_t count = 0;

#define ROW(field, ...)                                                                            \
	do {                                                                                       \
		struct rig_nd edit = good;                                                         \
		__VA_ARGS__;                                                                       \
		rows[count].message = edit;                                                        \
		rows[count++].counter = &n->field;                                                 \
	} while (0)
	ROW(nd_hop_limit, edit.hop_limit = 254);
	ROW(nd_checksum, edit.bad_checksum = true);
	ROW(nd_code, edit.code = 1);
	ROW(nd_length, edit.mac = NULL; edit.cut = 1);
	ROW(nd_length, edit.mac = NULL; edit.cut = 20);
	ROW(nd_option, edit.cut = 1);
	ROW(nd_option, edit.more = zero_option; edit.more_length = 8);
	ROW(nd_option, edit.more = long_option; edit.more_length = 8);
	ROW(nd_option, edit.mac = NULL; edit.more = two_eights; edit.more_length = 16);
	ROW(nd_target, edit.target = "ff02::1");
	ROW(nd_target, edit.target = "::");
	ROW(nd_source, edit.source = "::");
	ROW(nd_source, edit.source = "::"; edit.mac = NULL; edit.destination = GATEWAY);
	ROW(mac_invalid, edit.mac = &group);
	ROW(mac_invalid, edit.mac = &rig->legs[0].mac);
	ROW(address_foreign, edit.source = "fd00:123::10");
#undef ROW
	for (size_t i = 0; i < count; i++) {
		uint64_t before = *rows[i].counter;

		rig_nd(rig, 0, &rows[i].message);
		if (*rows[i].counter != before + 1 || rig->sent_count != 0 || rig_count(rig) != 0)
			fail_msg("row %zu", i);
	}
	/* Options that nobody knows are no fault (4.6). */
	{
		struct rig_nd edit = good;

		edit.more = unknown_option;
		edit.more_length = 8;
		rig_nd(rig, 0, &edit);
		assert_int_equal(rig->sent_count, 1);
	}
	rig_destroy(rig);
}

/* RFC 4861, 7.1.2: the same for advertisements. */
static void test_7_1_2_invalid_advertisements(void **state)
{
	const struct rig_nd good = { .type = ADVERT,
				     .flags = S | O,
				     .source = GUEST,
				     .destination = GATEWAY,
				     .target = GUEST,
				     .mac = &rig_guest };
	struct rig *rig = rig_create(RIG_LIMIT);
	struct rig_nd edit = good;

	assert_int_equal(rig_resolve(rig, 0, GUEST, 1, 100), NEIGHBOUR_WAITING);
	edit.hop_limit = 1;
	rig_nd(rig, 0, &edit);
	edit = good;
	edit.bad_checksum = true;
	rig_nd(rig, 0, &edit);
	edit = good;
	edit.code = 9;
	rig_nd(rig, 0, &edit);
	edit = good;
	edit.destination = ALL_NODES; /* solicited, by all */
	rig_nd(rig, 0, &edit);
	edit = good;
	edit.mac = &all_nodes_mac;
	rig_nd(rig, 0, &edit);
	edit = good;
	edit.target = "fd00:122::99";
	rig_nd(rig, 0, &edit);
	assert_int_equal(counters(rig)->nd_hop_limit, 1);
	assert_int_equal(counters(rig)->nd_checksum, 1);
	assert_int_equal(counters(rig)->nd_code, 1);
	assert_int_equal(counters(rig)->nd_solicited, 1);
	assert_int_equal(counters(rig)->mac_invalid, 1);
	assert_int_equal(counters(rig)->unknown, 1);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_INCOMPLETE);
	assert_int_equal(rig_count(rig), 1);
	rig_nd(rig, 0, &good);
	assert_int_equal(rig_state(rig, 0, GUEST), NEIGHBOUR_REACHABLE);
	rig_destroy(rig);
}

/* RFC 4861, 7.2.2: asked for by multicast, from an address of the same prefix. */
static void test_7_2_2_solicitation(void **state)
{
	struct mac group = { { 0x33, 0x33, 0xff, 0, 0, 0x10 } };
	struct rig *rig = rig_create(RIG_LIMIT);

	assert_int_equal(rig_resolve(rig, 0, GUEST, 1, 100), NEIGHBOUR_WAITING);
	rig_check_nd(rig, 0, SOLICIT, 0, &group, GATEWAY, "ff02::1:ff00:10", GUEST);
	group.bytes[5] = 0x11;
	assert_int_equal(rig_resolve(rig, 0, GUEST_LINK, 1, 100), NEIGHBOUR_WAITING);
	rig_check_nd(rig, 1, SOLICIT, 0, &group, OUR_LINK, "ff02::1:ff00:11", GUEST_LINK);
	/* A leg without IPv6 prefix has its link-local address. */
	assert_int_equal(rig_resolve(rig, 1, GUEST_LINK, 1, 100), NEIGHBOUR_WAITING);
	rig_check_nd(rig, 2, SOLICIT, 0, &group, "fe80::ff:fe00:1", "ff02::1:ff00:11", GUEST_LINK);
	assert_int_equal(rig_resolve(rig, 1, GUEST, 1, 100), NEIGHBOUR_REFUSED);
	rig_destroy(rig);
}

/* RFC 4861, 7.2.5, line by line; appendix C's table. `known` is the state before. */
static void test_7_2_5_advertisements(void **state)
{
	static const struct {
		enum neighbour_state known;
		uint8_t flags;
		const struct mac *mac; /* of rig_guest, who is known */
		enum neighbour_state then;
		const struct mac *then_mac;
	} rows[] = {
		{ NEIGHBOUR_INCOMPLETE, S | O, NULL, NEIGHBOUR_INCOMPLETE, NULL },
		{ NEIGHBOUR_INCOMPLETE, S, &rig_guest, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_INCOMPLETE, O, &rig_guest, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_INCOMPLETE, 0, &rig_guest, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_REACHABLE, 0, &rig_other, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_REACHABLE, S, &rig_other, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_REACHABLE, O, &rig_other, NEIGHBOUR_STALE, &rig_other },
		{ NEIGHBOUR_REACHABLE, O | S, &rig_other, NEIGHBOUR_REACHABLE, &rig_other },
		{ NEIGHBOUR_REACHABLE, 0, &rig_guest, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_REACHABLE, O, NULL, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_STALE, S, NULL, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_STALE, S, &rig_guest, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_STALE, S, &rig_other, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_STALE, 0, &rig_other, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_STALE, O, &rig_other, NEIGHBOUR_STALE, &rig_other },
		{ NEIGHBOUR_STALE, O, &rig_guest, NEIGHBOUR_STALE, &rig_guest },
		{ NEIGHBOUR_PROBE, S, NULL, NEIGHBOUR_REACHABLE, &rig_guest },
		{ NEIGHBOUR_PROBE, 0, &rig_other, NEIGHBOUR_PROBE, &rig_guest },
		{ NEIGHBOUR_PROBE, O, &rig_other, NEIGHBOUR_STALE, &rig_other },
		{ NEIGHBOUR_PROBE, O, &rig_guest, NEIGHBOUR_PROBE, &rig_guest },
		{ NEIGHBOUR_STATIC, O | S, &rig_other, NEIGHBOUR_STATIC, &rig_guest },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *rig = rig_create(RIG_LIMIT);
		struct ip guest = rig_ip(GUEST);
		struct rig_nd message = { .type = ADVERT,
					  .flags = S | O,
					  .source = GUEST,
					  .destination = GATEWAY,
					  .target = GUEST,
					  .mac = &rig_guest };

		if (rows[i].known == NEIGHBOUR_STATIC)
			assert_int_equal(
			    neighbour_add_static(rig->table, 0, &guest, &rig_guest, rig->now), 0);
		else
			assert_int_equal(rig_resolve(rig, 0, GUEST, 1, 100), NEIGHBOUR_WAITING);
		if (rows[i].known == NEIGHBOUR_REACHABLE)
			rig_nd(rig, 0, &message);
		message.flags = 0;
		if (rows[i].known == NEIGHBOUR_STALE || rows[i].known == NEIGHBOUR_PROBE)
			rig_nd(rig, 0, &message);
		if (rows[i].known == NEIGHBOUR_PROBE) /* the frame that waited was a use */
			rig_wait(rig, 5000);
		assert_int_equal(rig_state(rig, 0, GUEST), rows[i].known);
		message.flags = rows[i].flags;
		message.mac = rows[i].mac;
		rig_nd(rig, 0, &message);
		if (rig_state(rig, 0, GUEST) != (int)rows[i].then)
			fail_msg("row %zu: state %d", i, rig_state(rig, 0, GUEST));
		if (rows[i].then_mac != NULL)
			assert_true(rig_knows(rig, 0, GUEST, rows[i].then_mac));
		else
			assert_false(rig_knows(rig, 0, GUEST, &rig_guest));
		rig_destroy(rig);
	}
}

/* RFC 4861, 7.3.3: a probe is unicast. */
static void test_7_3_3_probe(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);

	rig_nd(rig, 0,
	       &(struct rig_nd){ .type = SOLICIT,
				 .source = GUEST,
				 .destination = GROUP,
				 .target = GATEWAY,
				 .mac = &rig_guest });
	rig_clear(rig);
	assert_true(rig_knows(rig, 0, GUEST, &rig_guest));
	rig_wait(rig, 5000);
	assert_int_equal(rig->sent_count, 1);
	rig_check_nd(rig, 0, SOLICIT, 0, &rig_guest, GATEWAY, GUEST, GUEST);
	rig_destroy(rig);
}

/* RFC 4862, 5.4.4; RFC 4861, 7.2.6: others with our addresses, and our announcements. */
static void test_conflict_and_announcements(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct rig_nd message = { .type = ADVERT,
				  .flags = O,
				  .source = GATEWAY,
				  .destination = ALL_NODES,
				  .target = GATEWAY,
				  .mac = &rig_guest };

	for (int i = 0; i < 10; i++)
		rig_nd(rig, 0, &message);
	assert_int_equal(rig->sent_count, 1);
	rig_check_nd(rig, 0, ADVERT, R | O, &all_nodes_mac, GATEWAY, ALL_NODES, GATEWAY);
	assert_int_equal(counters(rig)->conflict, 10);
	assert_int_equal(rig->conflict_count, 1);
	/* Each address is defended for itself. */
	message.target = OUR_LINK;
	rig_nd(rig, 0, &message);
	assert_int_equal(rig->sent_count, 2);
	/* Asking in our name is the same. */
	message = (struct rig_nd){ .type = SOLICIT,
				   .source = GATEWAY,
				   .destination = "ff02::1:ff00:10",
				   .target = GUEST,
				   .mac = &rig_guest };
	rig_nd(rig, 0, &message);
	assert_int_equal(counters(rig)->conflict, 12);
	assert_int_equal(rig_count(rig), 0);
	rig_clear(rig);
	neighbour_announce(rig->table, 0);
	assert_int_equal(rig->sent_count, 3);
	rig_check_nd(rig, 1, ADVERT, R | O, &all_nodes_mac, GATEWAY, ALL_NODES, GATEWAY);
	rig_check_nd(rig, 2, ADVERT, R | O, &all_nodes_mac, OUR_LINK, ALL_NODES, OUR_LINK);
	rig_destroy(rig);
}

/* RFC 4862, 5.4.2: what is to be ours is asked for, from nowhere, before it is announced. */
static void test_probes(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct route_leg leg = rig->legs[0];
	const uint8_t *frame = rig->sent[0].bytes;
	struct ip nobody = { { 0 } }, group = rig_ip("ff02::1:ff00:1"), target = rig_ip(GATEWAY);
	struct packet packet;

	leg.addresses[0] = rig_prefix(GATEWAY "/64");
	leg.address_count = 1;
	neighbour_set_leg(rig->table, &leg, rig->now);
	assert_int_equal(rig->sent_count, 4); /* the link-local address, too */
	assert_true(packet_parse(frame, rig->sent[0].length, &packet));
	assert_memory_equal(packet.to.bytes, "\x33\x33\xff\x00\x00\x01", 6);
	assert_true(packet_checksum_ok(&packet) && packet.hop_limit == 255);
	assert_true(ip_equal(&packet.source, &nobody) && ip_equal(&packet.destination, &group));
	assert_int_equal(packet.payload_length, 24); /* no option */
	assert_int_equal(packet.payload[0], SOLICIT);
	assert_memory_equal(packet.payload + 8, target.bytes, 16);
	rig_check_nd(rig, 2, ADVERT, R | O, &all_nodes_mac, GATEWAY, ALL_NODES, GATEWAY);
	rig_destroy(rig);
}

/* What is not for the table is left to others: RFC 6980's fragments, routers' messages, echo. */
static void test_not_ours(void **state)
{
	struct rig *rig = rig_create(RIG_LIMIT);
	struct packet_header header = { .from = rig_guest,
					.to = rig->legs[0].mac,
					.source = rig_ip(GUEST),
					.destination = rig_ip(GATEWAY),
					.protocol = IPPROTO_ICMPV6,
					.hop_limit = 255 };
	uint8_t frame[256], body[40] = { 0 };
	static const uint8_t types[] = { 128, 133, 134, 137 };

	for (size_t i = 0; i < sizeof(types); i++) {
		body[0] = types[i];
		assert_false(
		    rig_input(rig, 0, frame,
			      packet_write_ip(&header, body, sizeof(body), frame, sizeof(frame))));
	}
	assert_false(
	    rig_input(rig, 0, frame, packet_write_ip(&header, body, 0, frame, sizeof(frame))));
	header.protocol = IPPROTO_FRAGMENT;
	memset(body, 0, sizeof(body));
	body[0] = IPPROTO_ICMPV6;
	body[8] = ND_NEIGHBOR_SOLICIT;
	assert_false(rig_input(rig, 0, frame,
			       packet_write_ip(&header, body, sizeof(body), frame, sizeof(frame))));
	assert_int_equal(rig->sent_count, 0);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_7_2_4_solicited_advertisement),
		cmocka_unit_test(test_7_2_4_no_option),
		cmocka_unit_test(test_rfc4862_duplicate_address_detection),
		cmocka_unit_test(test_7_1_1_invalid_solicitations),
		cmocka_unit_test(test_7_1_2_invalid_advertisements),
		cmocka_unit_test(test_7_2_2_solicitation),
		cmocka_unit_test(test_7_2_5_advertisements),
		cmocka_unit_test(test_7_3_3_probe),
		cmocka_unit_test(test_conflict_and_announcements),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
