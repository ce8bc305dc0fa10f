/* DNS over TCP with segments made by hand: both families, several queries at once, limits, time,
 * and everything that a guest should not send. test_dns_tcp_client.c has a real client. */
#include "tests/unit/dns_tcp_rig.h"

#include <errno.h>

static void test_query(void **state)
{
	static const char *const clients[] = { "10.9.0.50", "fd00:9::50", "fe80::50" };

	start();
	for (uint32_t i = 0; i < 3; i++) {
		struct peer *peer = peer_make(i, clients[i], 40000);

		peer_open(peer);
		assert_in_range(peer->mss, 1000, 1460);
		assert_int_equal(dns_tcp_connection_count(bench.tcp), 1);
		for (uint32_t k = 0; k < 3; k++) {
			peer_ask(peer, "web.lab.internal");
			assert_int_equal(peer_take(peer), 1);
			peer_send(peer, TCP_ACK, NULL, 0);
		}
		peer_send(peer, TCP_ACK | TCP_FIN, NULL, 0);
		assert_true(peer->finished);
		peer_send(peer, TCP_ACK, NULL, 0);
		assert_false(peer->reset);
		assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
	}
	assert_int_equal(counters()->connections, 3);
	assert_int_equal(counters()->queries, 9);
	assert_int_equal(counters()->out_of_order, 0);
	assert_int_equal(rig_counters(&bench.rig)->own, 9);
}

/* However queries are cut, and several at once. */
static void test_pieces(void **state)
{
	struct peer *peer;
	uint8_t stream[1024];
	size_t length = 0;

	start();
	for (int i = 0; i < 3; i++)
		length += make_query(stream + length, "web.lab.internal");
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	for (size_t i = 0; i < length; i++)
		peer_send(peer, TCP_ACK, stream + i, 1);
	peer_send(peer, TCP_ACK, stream, length);
	for (int i = 0; i < 6; i++)
		assert_int_equal(peer_take(peer), 1);
	assert_int_equal(peer_take(peer), -1);
	assert_int_equal(counters()->out_of_order, 0);
	assert_int_equal(counters()->queries, 6);
}

/* More than are worked on at once; the client ends before the answers are there. */
static void test_pipeline_of_forwarded(void **state)
{
	struct peer *peer;
	char name[32];

	bench.rig.resolvers[0].script.many = 60;
	start();
	peer = peer_make(0, "fd00:9::50", 40000);
	peer_open(peer);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		peer_ask(peer, name);
	}
	peer_send(peer, TCP_ACK | TCP_FIN, NULL, 0);
	assert_false(peer->finished);
	while (!peer->finished) {
		event_base_loop(bench.rig.base, EVLOOP_ONCE);
		peer_send(peer, TCP_ACK, NULL, 0);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(peer_take(peer), 61);
	assert_int_equal(peer->length, 0);
	assert_int_equal(counters()->queries, 20);
}

static void test_large_answer(void **state)
{
	struct peer *peer;

	bench.rig.resolvers[0].script.truncated = true;
	bench.rig.resolvers[0].script.many = 1000;
	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	peer_ask(peer, "example.com");
	while (peer_take(peer) != 1001) {
		event_base_loop(bench.rig.base, EVLOOP_ONCE);
		peer_send(peer, TCP_ACK, NULL, 0);
	}
	assert_int_equal(bench.rig.resolvers[0].asked_tcp, 1);
}

static void test_idle(void **state)
{
	uint32_t before = open_descriptors();
	struct peer *peer;

	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	peer_ask(peer, "web.lab.internal");
	bench.rig.now += 9000;
	/* Half a query does not count. */
	peer_send(peer, TCP_ACK, "\0", 1);
	bench.rig.now += 999;
	dns_tcp_tick(bench.tcp);
	assert_false(peer->finished);
	bench.rig.now += 1;
	dns_tcp_tick(bench.tcp);
	assert_true(peer->finished);
	assert_int_equal(counters()->idle, 1);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
	/* It is asked all the same. */
	peer_ask(peer, "web.lab.internal");
	assert_int_equal(peer_take(peer), 1); /* what was asked before */
	assert_int_equal(peer_take(peer), -1);
	/* The client says nothing more: it is forgotten. */
	bench.rig.now += 5000;
	dns_tcp_tick(bench.tcp);
	dns_tcp_destroy(bench.tcp);
	bench.tcp = NULL;
	assert_int_equal(open_descriptors(), before);
}

static void test_limits(void **state)
{
	static const char *const clients[] = { "10.9.0.50", "10.9.0.51", "10.9.0.52" };
	struct peer *peer;

	bench.options.client_max = 2;
	bench.options.connections_max = 4;
	start();
	for (uint32_t i = 0; i < 3; i++)
		peer_open(peer_make(i, clients[i / 2], (uint16_t)(40000 + i)));
	peer = peer_make(5, clients[0], 40005);
	peer_send(peer, TCP_SYN, NULL, 0);
	assert_true(peer->reset);
	assert_int_equal(counters()->limit_client, 1);
	peer_open(peer_make(3, clients[1], 40003));
	peer = peer_make(6, clients[2], 40006);
	peer_send(peer, TCP_SYN, NULL, 0);
	assert_true(peer->reset);
	assert_int_equal(counters()->limit_total, 1);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 4);
	/* One that ends makes room at once, whatever it still has to say. */
	peer_send(&bench.peers[0], TCP_ACK | TCP_FIN, NULL, 0);
	peer_open(peer_make(6, clients[2], 40006));
	peer_ask(&bench.peers[6], "web.lab.internal");
	assert_int_equal(peer_take(&bench.peers[6]), 1);
	peer_ask(&bench.peers[1], "web.lab.internal");
	assert_int_equal(peer_take(&bench.peers[1]), 1);
}

/* The answer to a SYN is lost: it comes again, and is the same. */
static void test_handshake_again(void **state)
{
	struct peer *peer;
	uint32_t first;

	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_send(peer, TCP_SYN, NULL, 0);
	first = peer->acknowledged;
	peer->acknowledged = 0;
	peer_send_at(peer, peer->sequence - 1, TCP_SYN, NULL, 0);
	assert_int_equal(peer->segments, 2);
	assert_int_equal(peer->acknowledged, first);
	peer_send(peer, TCP_ACK, NULL, 0);
	peer_ask(peer, "web.lab.internal");
	assert_int_equal(peer_take(peer), 1);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 1);
}

/* An answer is lost: it comes again by itself. */
static void test_answer_again(void **state)
{
	struct peer *peer, *sender = malloc(sizeof(*sender));

	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	*sender = *peer;
	peer->port = 1; /* nobody has the right one: what is sent now gets lost */
	peer_ask(sender, "web.lab.internal");
	peer->sequence = sender->sequence;
	peer->port = sender->port;
	free(sender);
	assert_int_equal(peer->length, 0);
	for (int i = 0; i < 16 && peer->length == 0; i++) {
		bench.rig.now += 500;
		dns_tcp_tick(bench.tcp);
	}
	assert_int_equal(peer_take(peer), 1);
}

static void test_reset_and_port_again(void **state)
{
	struct peer *peer;

	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	/* Only with the exact number. */
	peer_send_at(peer, peer->sequence + 1, TCP_RST, NULL, 0);
	peer_send_at(peer, peer->sequence - 1, TCP_RST, NULL, 0);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 1);
	peer_send_at(peer, peer->sequence, TCP_RST, NULL, 0);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 0);
	peer = peer_make(0, "10.9.0.50", 40000);
	peer->sequence = 5;
	peer_open(peer);
	peer_ask(peer, "web.lab.internal");
	assert_int_equal(peer_take(peer), 1);
	peer_send(peer, TCP_ACK | TCP_FIN, NULL, 0);
	assert_true(peer->finished);
	/* The same port once more, although the old end was never acknowledged; and a handshake
	 * that is begun anew. */
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_send(peer, TCP_SYN, NULL, 0);
	peer = peer_make(0, "10.9.0.50", 40000);
	peer->sequence = 70000;
	peer_open(peer);
	peer_ask(peer, "web.lab.internal");
	assert_int_equal(peer_take(peer), 1);
	assert_int_equal(dns_tcp_connection_count(bench.tcp), 1);
}

static void test_destroy_with_queries(void **state)
{
	struct peer *peer;

	bench.rig.resolvers[0].script.mode = RIG_SILENT;
	start();
	peer = peer_make(0, "10.9.0.50", 40000);
	peer_open(peer);
	for (int i = 0; i < 10; i++)
		peer_ask(peer, "example.com");
	assert_int_equal(counters()->queries, 8);
	peer_send(peer_make(1, "10.9.0.50", 40001), TCP_SYN, NULL, 0);
}

static void test_no_directory(void **state)
{
	rig_start(&bench.rig);
	bench.options.directory = "/nonexistent";
	assert_int_equal(
	    dns_tcp_create(bench.rig.server, bench.rig.base, &to_bench, &bench.options, &bench.tcp),
	    -ENOENT);
	assert_null(bench.tcp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_query),
		TEST(test_pieces),
		TEST(test_pipeline_of_forwarded),
		TEST(test_large_answer),
		TEST(test_idle),
		TEST(test_limits),
		TEST(test_handshake_again),
		TEST(test_answer_again),
		TEST(test_reset_and_port_again),
		TEST(test_destroy_with_queries),
		TEST(test_no_directory),
	};

	signal(SIGPIPE, SIG_IGN); /* as the process does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
