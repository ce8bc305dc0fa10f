/* DNS over TCP under test, and clients that make their segments by hand. */
#ifndef WEFT_TESTS_DNS_TCP_RIG_H
#define WEFT_TESTS_DNS_TCP_RIG_H

#include "tests/unit/dns_rig.h"

#include "route/dns_segment.h"
#include "route/dns_tcp.h"

#include <dirent.h>
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
static inline void output(void *context, const uint8_t *frame, size_t length)
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

static inline void start(void)
{
	rig_start(&bench.rig);
	bench.options.clock = bench.rig.options.clock;
	assert_int_equal(
	    dns_tcp_create(bench.rig.server, bench.rig.base, &to_bench, &bench.options, &bench.tcp),
	    0);
}

static inline int setup(void **state)
{
	memset(&bench, 0, sizeof(bench));
	rig_open(&bench.rig);
	return 0;
}

static inline int teardown(void **state)
{
	dns_tcp_destroy(bench.tcp);
	rig_close(&bench.rig);
	return 0;
}

static inline const struct dns_tcp_counters *counters(void)
{
	return dns_tcp_counters(bench.tcp);
}

static inline struct peer *peer_make(uint32_t index, const char *client, uint16_t port)
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

static inline void peer_send_at(struct peer *peer, uint32_t sequence, uint8_t flags,
				const void *data, size_t length)
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

static inline void peer_send(struct peer *peer, uint8_t flags, const void *data, size_t length)
{
	uint32_t sequence = peer->sequence;

	peer->sequence += (uint32_t)length + ((flags & TCP_SYN) != 0) + ((flags & TCP_FIN) != 0);
	peer_send_at(peer, sequence, flags, data, length);
}

static inline void peer_open(struct peer *peer)
{
	peer_send(peer, TCP_SYN, NULL, 0);
	assert_int_equal(peer->segments, 1);
	assert_false(peer->reset);
	peer_send(peer, TCP_ACK, NULL, 0);
}

/* A query as it stands in the stream; returns its length. */
static inline size_t make_query(uint8_t *out, const char *name)
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

static inline void peer_ask(struct peer *peer, const char *name)
{
	uint8_t query[300];

	peer_send(peer, TCP_ACK, query, make_query(query, name));
}

/* Takes the next whole answer out of what came and returns how many answers it has; -1: none. */
static inline int peer_take(struct peer *peer)
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

static inline uint32_t open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

#endif
