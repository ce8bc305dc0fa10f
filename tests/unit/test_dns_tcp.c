/* DNS over TCP with segments made by hand: both families, several queries at once, limits, time,
 * and everything that a guest should not send. test_dns_tcp_client.c has a real client. */
#include "tests/unit/dns_rig.h"

#include "route/dns_segment.h"
#include "route/dns_tcp.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>

#define PEERS 16

/* A client's end of one connection. */
struct peer {
	struct packet_header header;
	uint16_t port;
	uint32_t sequence, acknowledged;
	uint32_t segments; /* that came */
	bool finished, reset;
	uint16_t mss;
	size_t length; /* of data, in order */
	uint8_t data[65536];
};

struct bench {
	struct rig rig;
	struct dns_tcp *tcp;
	struct dns_tcp_options options;
	uint32_t sent; /* frames */
	struct peer peers[PEERS];
};

static struct bench bench;

/* A frame from the gateway: goes to the peer whose addresses and port it has. */
static void output(void *context, const uint8_t *frame, size_t length)
{
	struct dns_segment segment;
	struct packet packet;

	bench.sent++;
	assert_true(packet_parse(frame, length, &packet));
	assert_true(packet_checksum_ok(&packet));
	assert_true(dns_segment_parse(&packet, &segment));
	assert_true(length <= 14 + 1500);
	assert_int_equal(segment.from_port, 53);
	for (struct peer *peer = bench.peers; peer < bench.peers + PEERS; peer++) {
		if (peer->port != segment.to_port ||
		    !ip_equal(&peer->header.source, &packet.destination))
			continue;
		assert_true(ip_equal(&peer->header.destination, &packet.source));
		assert_memory_equal(&peer->header.from, &packet.to, sizeof(packet.to));
		peer->segments++;
		peer->reset |= (segment.flags & TCP_RST) != 0;
		if (segment.flags & TCP_SYN) {
			peer->acknowledged = segment.sequence + 1;
			peer->mss = segment.mss;
		} else if (segment.sequence == peer->acknowledged && !peer->reset) {
			memcpy(peer->data + peer->length, segment.data, segment.length);
			peer->length += segment.length;
			peer->acknowledged += segment.length + (segment.flags & TCP_FIN);
			peer->finished |= (segment.flags & TCP_FIN) != 0;
		}
		return;
	}
}

static const struct route_output to_bench = { output, NULL };

static void start(void)
{
	rig_start(&bench.rig);
	bench.options.clock = bench.rig.options.clock;
	assert_int_equal(
	    dns_tcp_create(bench.rig.server, bench.rig.base, &to_bench, &bench.options, &bench.tcp),
	    0);
}

static int setup(void **state)
{
	memset(&bench, 0, sizeof(bench));
	rig_open(&bench.rig);
	return 0;
}

static int teardown(void **state)
{
	dns_tcp_destroy(bench.tcp);
	rig_close(&bench.rig);
	return 0;
}

static const struct dns_tcp_counters *counters(void)
{
	return dns_tcp_counters(bench.tcp);
}

static struct peer *peer_make(uint32_t index, const char *client, uint16_t port)
{
	struct peer *peer = &bench.peers[index];

	memset(peer, 0, sizeof(*peer));
	peer->header.from = (struct mac){ { 0x52, 0x54, 0, 0, 1, (uint8_t)index } };
	peer->header.to = (struct mac){ { 0x52, 0x54, 0, 0, 0, 1 } };
	peer->header.source = rig_ip(client);
	peer->header.destination = rig_ip(strchr(client, ':') != NULL ? "fd00:9::1" : "10.9.0.1");
	peer->port = port;
	peer->sequence = 0xfffffff0; /* soon over */
	return peer;
}

static void peer_send_at(struct peer *peer, uint32_t sequence, uint8_t flags, const void *data,
			 size_t length)
{
	struct dns_segment segment = { .from_port = peer->port,
				       .to_port = 53,
				       .sequence = sequence,
				       .acknowledged = flags & TCP_ACK ? peer->acknowledged : 0,
				       .flags = flags,
				       .window = 65535,
				       .mss = 1400,
				       .data = data,
				       .length = (uint32_t)length };
	uint8_t frame[4096];
	size_t size = dns_segment_write(&peer->header, &segment, frame, sizeof(frame));

	assert_true(size > 0);
	dns_tcp_input(bench.tcp, frame, size);
}

static void peer_send(struct peer *peer, uint8_t flags, const void *data, size_t length)
{
	uint32_t sequence = peer->sequence;

	peer->sequence += (uint32_t)length + ((flags & TCP_SYN) != 0) + ((flags & TCP_FIN) != 0);
	peer_send_at(peer, sequence, flags, data, length);
}

static void peer_open(struct peer *peer)
{
	peer_send(peer, TCP_SYN, NULL, 0);
	assert_int_equal(peer->segments, 1);
	assert_false(peer->reset);
	peer_send(peer, TCP_ACK, NULL, 0);
}

/* A query as it stands in the stream; returns its length. */
static size_t make_query(uint8_t *out, const char *name)
{
	ldns_pkt *packet = rig_packet(name, LDNS_RR_TYPE_A);
	uint8_t *wire;
	size_t length;

	assert_int_equal(ldns_pkt2wire(&wire, packet, &length), LDNS_STATUS_OK);
	out[0] = (uint8_t)(length >> 8);
	out[1] = (uint8_t)length;
	memcpy(out + 2, wire, length);
	free(wire);
	ldns_pkt_free(packet);
	return length + 2;
}

static void peer_ask(struct peer *peer, const char *name)
{
	uint8_t query[300];

	peer_send(peer, TCP_ACK, query, make_query(query, name));
}

/* Takes the next whole answer out of what came and returns how many answers it has; -1: none. */
static int peer_take(struct peer *peer)
{
	size_t length = (size_t)peer->data[0] << 8 | peer->data[1];
	ldns_pkt *packet;
	int count;

	if (peer->length < 2 || peer->length < length + 2)
		return -1;
	assert_int_equal(ldns_wire2pkt(&packet, peer->data + 2, length), LDNS_STATUS_OK);
	assert_true(ldns_pkt_qr(packet));
	count = ldns_pkt_ancount(packet);
	ldns_pkt_free(packet);
	peer->length -= length + 2;
	memmove(peer->data, peer->data + length + 2, peer->length);
	return count;
}

static uint32_t open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

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
		TEST(test_syn_flood),
		TEST(test_many_in_a_row),
		TEST(test_unknown),
		TEST(test_out_of_order),
		TEST(test_handshake_again),
		TEST(test_answer_again),
		TEST(test_wrong_acknowledgement),
		TEST(test_reset_and_port_again),
		TEST(test_no_query),
		TEST(test_bad_frames),
		TEST(test_destroy_with_queries),
		TEST(test_no_directory),
	};

	signal(SIGPIPE, SIG_IGN); /* as the process does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
