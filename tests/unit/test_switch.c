/* The whole switch with guests on it: who gets which frame, what is learned and forgotten, and what
 * the announcement of a guest that has moved does. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/switch_traffic.h"

#include <string.h>

#define A     TRAFFIC_MAC(1)
#define B     TRAFFIC_MAC(2)
#define C     TRAFFIC_MAC(3)
#define EXTRA TRAFFIC_MAC(77)

#define THREE_PORTS                                                                                \
	"networks: { lab: { mode: isolated } }\n"                                                  \
	"ports:\n"                                                                                 \
	"  a: { network: lab, vhost-user: @/a }\n"                                                 \
	"  b: { network: lab, vhost-user: @/b }\n"                                                 \
	"  c: { network: lab, vhost-user: @/c }\n"

static const char *const three_names[] = { "a", "b", "c" };

/* A switch with three guests. */
struct three {
	struct switch_fixture fixture;
	struct fake_guest *guests[3];
};

static void three_open(struct three *three, const char *yaml)
{
	switch_fixture_open(&three->fixture, yaml);
	for (int i = 0; i < 3; i++)
		three->guests[i] = switch_fixture_guest(&three->fixture, three_names[i], NULL, 128);
}

static void three_close(struct three *three)
{
	for (int i = 0; i < 3; i++)
		fake_guest_destroy(three->guests[i]);
	switch_fixture_close(&three->fixture);
}

/* Guest `from` sends; of `to`, a string of port names, each gets it, and nobody else. */
static void pass(struct three *three, char from, uint64_t destination, uint64_t source,
		 const char *to)
{
	static uint32_t number;
	struct traffic_frame frame =
	    traffic_build(destination, source, TRAFFIC_NO_TAG, number, 60 + number * 37 % 1400);
	bool wanted[3];

	number++;
	for (int i = 0; i < 3; i++)
		wanted[i] = strchr(to, 'a' + i) != NULL;
	traffic_pass(three->guests[from - 'a'], &frame, three->guests, wanted, 3);
}

/* The port's name behind which an address was learned, "" when it is not known. */
static const char *learned(struct three *three, uint64_t address)
{
	struct network *network = vswitch_find_network(three->fixture.vswitch, "lab");
	uint16_t port = mac_table_lookup(network->macs, address, 0);

	return port == MAC_TABLE_NO_PORT ? "" : three->fixture.vswitch->ports[port]->name;
}

static void run_exchange(const char *yaml)
{
	struct three three;

	three_open(&three, yaml);
	/* Nobody is known: everybody gets it. */
	pass(&three, 'a', B, A, "bc");
	assert_string_equal(learned(&three, A), "a");
	pass(&three, 'b', A, B, "a");
	pass(&three, 'a', B, A, "b");
	pass(&three, 'c', A, C, "a");
	for (int i = 0; i < 100; i++) {
		pass(&three, 'a', B, A, "b");
		pass(&three, 'b', A, B, "a");
	}
	pass(&three, 'a', TRAFFIC_BROADCAST, A, "bc");
	pass(&three, 'b', UINT64_C(0x01005e000001), B, "ac"); /* multicast */
	pass(&three, 'c', EXTRA, C, "ab");		      /* unknown */
	assert_int_equal(switch_fixture_totals(&three.fixture, "c").receive_packets, 2);
	assert_int_equal(switch_fixture_totals(&three.fixture, "c").transmit_packets, 3);
	three_close(&three);
}

static void test_exchange(void **state)
{
	static const char *const workers[] = {
		"",
		"workers: { count: 2 }\n",
		"workers: { count: 4 }\n",
		"workers: { count: 1, poll: busy }\n",
		"workers: { count: 3, poll: busy }\n",
	};

	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		char yaml[512];

		snprintf(yaml, sizeof(yaml), "%s%s", workers[i], THREE_PORTS);
		run_exchange(yaml);
	}
}

static void test_no_hairpin(void **state)
{
	struct three three;

	three_open(&three, THREE_PORTS);
	pass(&three, 'a', TRAFFIC_BROADCAST, A, "bc");
	pass(&three, 'a', TRAFFIC_BROADCAST, EXTRA, "bc");
	/* Both are behind port a, which hears its own frames no more than anybody else's. */
	pass(&three, 'a', EXTRA, A, "");
	pass(&three, 'a', A, EXTRA, "");
	assert_int_equal(switch_fixture_totals(&three.fixture, "a").drops[DROP_HAIRPIN], 2);
	three_close(&three);
}

static void test_moves(void **state)
{
	struct three three;

	three_open(&three, THREE_PORTS);
	pass(&three, 'b', TRAFFIC_BROADCAST, EXTRA, "ac");
	pass(&three, 'a', EXTRA, A, "b");
	pass(&three, 'c', TRAFFIC_BROADCAST, EXTRA, "ab");
	pass(&three, 'a', EXTRA, A, "c");
	pass(&three, 'b', EXTRA, B, "c");
	assert_string_equal(learned(&three, EXTRA), "c");
	three_close(&three);
}

static void test_disconnect_forgets(void **state)
{
	struct three three;

	three_open(&three, THREE_PORTS);
	pass(&three, 'b', TRAFFIC_BROADCAST, B, "ac");
	pass(&three, 'c', TRAFFIC_BROADCAST, C, "ab");
	fake_guest_destroy(three.guests[1]);
	while (atomic_load(&vswitch_find_port(three.fixture.vswitch, "b")->link))
		switch_fixture_pump(&three.fixture);
	assert_string_equal(learned(&three, B), "");
	assert_string_equal(learned(&three, C), "c");
	three.guests[1] = switch_fixture_guest(&three.fixture, "b", NULL, 128);
	/* Flooded, so the address may be behind c as well as behind b. */
	pass(&three, 'a', B, A, "bc");
	pass(&three, 'c', TRAFFIC_BROADCAST, B, "ab");
	pass(&three, 'a', B, A, "c");
	three_close(&three);
}

/* What RFC 903 says a reverse request looks like, from the guest whose address it is. */
static struct traffic_frame rarp_request(uint64_t address)
{
	static const uint8_t body[] = { 0x80, 0x35, 0, 1, 0x08, 0x00, 6, 4, 0, 3 };
	struct traffic_frame frame = { .length = 60 };

	memset(frame.bytes, 0xff, 6);
	memcpy(frame.bytes + 12, body, sizeof(body));
	for (int i = 0; i < 6; i++)
		frame.bytes[6 + i] = frame.bytes[22 + i] = frame.bytes[32 + i] =
		    (uint8_t)(address >> (40 - 8 * i));
	return frame;
}

static uint64_t rarp_payload(uint64_t address)
{
	uint64_t payload = 0;

	for (int i = 0; i < 6; i++)
		payload |= (address >> (40 - 8 * i) & 0xff) << (8 * i);
	return payload;
}

static void test_announce(void **state)
{
	struct traffic_frame request = rarp_request(EXTRA);
	struct three three;

	three_open(&three, THREE_PORTS);
	pass(&three, 'b', TRAFFIC_BROADCAST, EXTRA, "ac");
	pass(&three, 'a', EXTRA, A, "b");
	/* The guest has moved to c. */
	assert_return_code(fake_guest_set_u64(three.guests[2], FAKE_SEND_RARP, rarp_payload(EXTRA)),
			   0);
	traffic_expect(three.guests[0], &request);
	traffic_expect(three.guests[1], &request);
	pass(&three, 'a', EXTRA, A, "c");
	assert_string_equal(learned(&three, EXTRA), "c");
	three_close(&three);
}

static void test_link_local(void **state)
{
	static const uint64_t groups[] = { UINT64_C(0x0180c2000000), UINT64_C(0x0180c2000003),
					   UINT64_C(0x0180c200000e) };
	struct three three;

	three_open(&three, THREE_PORTS);
	for (size_t i = 0; i < 3; i++)
		pass(&three, 'a', groups[i], A, "");
	assert_int_equal(switch_fixture_totals(&three.fixture, "a").drops[DROP_LINK_LOCAL], 3);
	pass(&three, 'a', UINT64_C(0x0180c2000010), A, "bc"); /* an address behind them */
	three_close(&three);
	three_open(&three, "networks: { lab: { mode: isolated, transparent: true } }\n"
			   "ports:\n"
			   "  a: { network: lab, vhost-user: @/a }\n"
			   "  b: { network: lab, vhost-user: @/b }\n"
			   "  c: { network: lab, vhost-user: @/c }\n");
	for (size_t i = 0; i < 3; i++)
		pass(&three, 'a', groups[i], A, "bc");
	three_close(&three);
}

static void test_isolated(void **state)
{
	struct three three;

	three_open(&three, "networks: { lab: { mode: isolated } }\n"
			   "ports:\n"
			   "  a: { network: lab, vhost-user: @/a, isolated: true }\n"
			   "  b: { network: lab, vhost-user: @/b, isolated: true }\n"
			   "  c: { network: lab, vhost-user: @/c }\n");
	pass(&three, 'a', TRAFFIC_BROADCAST, A, "c");
	pass(&three, 'b', TRAFFIC_BROADCAST, B, "c");
	pass(&three, 'c', TRAFFIC_BROADCAST, C, "ab");
	pass(&three, 'a', C, A, "c");
	pass(&three, 'c', A, C, "a");
	pass(&three, 'a', B, A, "");
	pass(&three, 'b', A, B, "");
	assert_int_equal(switch_fixture_totals(&three.fixture, "a").drops[DROP_ISOLATED], 1);
	assert_int_equal(switch_fixture_totals(&three.fixture, "b").drops[DROP_ISOLATED], 1);
	three_close(&three);
}

/* The same addresses in two networks have nothing to do with each other. */
static void test_networks_apart(void **state)
{
	struct three three;

	three_open(&three, "networks: { lab: { mode: isolated }, other: { mode: isolated } }\n"
			   "ports:\n"
			   "  a: { network: lab, vhost-user: @/a }\n"
			   "  b: { network: other, vhost-user: @/b }\n"
			   "  c: { network: lab, vhost-user: @/c }\n");
	pass(&three, 'a', TRAFFIC_BROADCAST, A, "c");
	pass(&three, 'b', TRAFFIC_BROADCAST, A, "");
	pass(&three, 'c', A, C, "a");
	pass(&three, 'b', C, B, "");
	three_close(&three);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange), cmocka_unit_test(test_no_hairpin),
		cmocka_unit_test(test_moves),	 cmocka_unit_test(test_disconnect_forgets),
		cmocka_unit_test(test_announce), cmocka_unit_test(test_link_local),
		cmocka_unit_test(test_isolated), cmocka_unit_test(test_networks_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
