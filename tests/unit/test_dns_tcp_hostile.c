/* DNS over TCP and guests that do not play by the rules: floods, segments out of turn or of no
 * connection, what is no query, frames that lie. */
#include "tests/unit/dns_tcp_rig.h"

/* Handshakes that are never completed, from everywhere: others get through, nothing grows. */
static void test_syn_flood(void **state)
{
	uint32_t before;
	struct peer *peer;
	char client[32];

	start();
	before = open_descriptors();
	for (uint32_t i = 0; i < 3000; i++) {
		snprintf(client, sizeof(client), "10.9.%u.%u", i / 200 + 1, i % 200 + 1);
		peer_send(peer_make(1, client, (uint16_t)(1024 + i)), TCP_SYN, NULL, 0);
	}
	assert_in_range(dns_tcp_connection_count(bench.tcp), 1, 64);
	assert_int_equal(counters()->handshakes, 3000 - 64);
	assert_int_equal(open_descriptors(), before);
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	peer_ask(peer, "web.lab.internal");
	assert_int_equal(peer_take(peer), 1);
	bench.rig.now += 5000;
	dns_tcp_tick(bench.tcp);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 1);
	assert_int_equal(counters()->handshakes, 3000);
}

/* A client that opens, asks and ends without pause, from ever new ports. */
static void test_many_in_a_row(void **state)
{
	uint32_t before;

	start();
	before = open_descriptors();
	for (uint32_t i = 0; i < 1000; i++) {
		struct peer *peer = peer_make(0, "10.9.0.50", (uint16_t)(2000 + i));

		peer_open(peer);
		peer_ask(peer, "web.lab.internal");
		assert_int_equal(peer_take(peer), 1);
		peer_send(peer, TCP_ACK | TCP_FIN, NULL, 0);
		assert_true(peer->finished);
		if (i % 2 != 0) /* not all are polite */
			peer_send(peer, TCP_ACK, NULL, 0);
	}
	assert_int_equal(counters()->connections, 1000);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
	assert_in_range(open_descriptors(), before, before + 128);
	bench.rig.now += 5000;
	dns_tcp_tick(bench.tcp);
	assert_int_equal(open_descriptors(), before);
}

static void test_unknown(void **state)
{
	struct peer *peer;

	start();
	peer = peer_make(0, "fd00:9::50", 40000);
	peer_send(peer, TCP_ACK, "x", 1);
	assert_true(peer->reset);
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_send(peer, TCP_SYN | TCP_ACK, NULL, 0);
	assert_true(peer->reset);
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_send(peer, TCP_RST, NULL, 0);
	assert_int_equal(peer->segments, 0);
	assert_int_equal(counters()->unknown, 3);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
}

static void test_out_of_order(void **state)
{
	struct peer *peer;
	uint8_t query[300];
	size_t length;

	start();
	length = make_query(query, "web.lab.internal");
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	for (uint32_t i = 1; i < length; i++)
		peer_send_at(peer, peer->sequence + i, TCP_ACK, query + i, 1);
	assert_int_equal(counters()->out_of_order, length - 1);
	/* In its turn it is taken. */
	peer_send(peer, TCP_ACK, query, length);
	assert_int_equal(peer_take(peer), 1);
	/* What has been there already is only acknowledged. */
	peer_send_at(peer, peer->sequence - (uint32_t)length, TCP_ACK, query, length);
	assert_int_equal(peer_take(peer), -1);
	assert_int_equal(counters()->queries, 1);
}

/* Data with what is no acknowledgement must not get anywhere either. */
static void test_wrong_acknowledgement(void **state)
{
	struct peer *peer;
	uint8_t query[300];
	size_t length;
	uint32_t real;

	start();
	length = make_query(query, "web.lab.internal");
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	real = peer->acknowledged;
	peer->acknowledged += 100000;
	peer_send_at(peer, peer->sequence, TCP_ACK, query, length);
	peer_send_at(peer, peer->sequence, 0, query, length);
	peer_send_at(peer, peer->sequence + (uint32_t)length, 0, query, length);
	assert_int_equal(counters()->queries, 0);
	peer->acknowledged = real;
	peer_send(peer, TCP_ACK, query, length);
	assert_int_equal(peer_take(peer), 1);
}

static void test_no_query(void **state)
{
	static const char *const streams[] = { "\0\0", "\xff\xff" };

	start();
	for (uint32_t i = 0; i < 2; i++) {
		struct peer *peer = peer_make(i, "10.9.0.50", (uint16_t)(40000 + i));

		peer_open(peer);
		peer_send(peer, TCP_ACK, streams[i], 2);
		assert_true(peer->finished || peer->reset);
		assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
	}
	assert_int_equal(counters()->queries, 0);
}

static void test_bad_frames(void **state)
{
	struct dns_segment segment = {
		.from_port = 40000, .to_port = 53, .flags = TCP_SYN, .mss = 1400
	};
	struct peer *peer;
	uint8_t frame[128], copy[128];
	size_t length;

	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	length = dns_segment_write(&peer->header, &segment, frame, sizeof(frame));
	for (size_t i = 0; i < length; i++) {
		uint8_t *part = malloc(i + 1);

		memcpy(part, frame, i);
		dns_tcp_input(bench.tcp, part, i);
		free(part);
	}
	assert_int_equal(counters()->malformed, length);
	segment.to_port = 54;
	length = dns_segment_write(&peer->header, &segment, copy, sizeof(copy));
	dns_tcp_input(bench.tcp, copy, length);
	segment.to_port = 53;
	peer->header.source = rig_ip("224.0.0.1");
	length = dns_segment_write(&peer->header, &segment, copy, sizeof(copy));
	dns_tcp_input(bench.tcp, copy, length);
	/* The data begins beyond the end, or within the header. */
	length = dns_segment_write(&bench.peers[0].header, &segment, copy, sizeof(copy));
	memcpy(copy, frame, length);
	copy[14 + 20 + 12] = 0x40;
	dns_tcp_input(bench.tcp, copy, length);
	copy[14 + 20 + 12] = 0xf0;
	dns_tcp_input(bench.tcp, copy, length);
	assert_int_equal(counters()->malformed, length + 4);
	assert_int_equal(bench.sent, 0);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_syn_flood),	 TEST(test_many_in_a_row),	   TEST(test_unknown),
		TEST(test_out_of_order), TEST(test_wrong_acknowledgement), TEST(test_no_query),
		TEST(test_bad_frames),
	};

	signal(SIGPIPE, SIG_IGN); /* as the process does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
