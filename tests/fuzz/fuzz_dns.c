/* Fuzzes DNS: what guests ask over UDP and TCP, and what resolvers answer.
 *
 * Input: which (1 byte), then for
 * QUERY: transport (1 byte), the query;
 * ANSWER: flags and type of the question (3 bytes), the answer from its flags on: id and question
 * are put before it, as else hardly any would be looked at;
 * TCP: steps of 5 bytes: what to do, offsets of sequence and acknowledgement, length of data, time;
 * the data is taken from the end of the input. */
#include "route/dns_answer.h"
#include "route/dns_cache.h"
#include "route/dns_segment.h"
#include "route/dns_tcp.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#define STEPS_MAX 32u
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

enum { QUERY, ANSWER, TCP, KINDS };

/* One client's view. */
struct told {
	uint32_t calls;
	size_t length;
	bool silent;
};

static uint64_t now = 1;
static struct event_base *base;
static struct dns_server *server;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t clock_now(void *context)
{
	return now;
}

static size_t lease_addresses(void *context, const char *host, struct ip *ips, size_t max)
{
	CHECK(strlen(host) > 0 && strlen(host) <= DHCP_NAME_MAX && max > 1);
	ips[0] = ip_from_v4(0x0a090002);
	ips[1] = (struct ip){ .bytes = { 0xfd } };
	return strcmp(host, "web") == 0 ? 2 : 0;
}

static bool lease_name(void *context, const struct ip *ip, char host[DHCP_NAME_MAX + 1])
{
	strcpy(host, "web");
	return ip->bytes[15] % 2 == 0;
}

/* What leaves is a whole message, and a response. */
static void answered(void *context, const uint8_t *message, size_t length)
{
	struct told *told = context;
	ldns_pkt *packet;

	told->calls++;
	told->length = length;
	told->silent = message == NULL;
	if (message == NULL)
		return;
	CHECK(length >= DNS_HEADER_LENGTH && (message[2] & 0x80) != 0);
	CHECK(ldns_wire2pkt(&packet, message, length) == LDNS_STATUS_OK);
	ldns_pkt_free(packet);
}

static void start(void)
{
	struct dns_names names = { lease_addresses, lease_name, NULL };
	struct dns_host hosts[] = { { "printer", { .bytes = { 0xfd } } },
				    { "db.example.org", { .bytes = { 0xfd } } } };
	struct ip_prefix networks[2];
	struct dns_config config = {
		.domain = "lab.internal", .host_count = 2, .hosts = hosts, .cache_size = 4
	};
	struct dns_options options = { .networks = networks,
				       .network_count = 2,
				       .resolv_conf = "/nonexistent",
				       .clock.now = clock_now };

	CHECK(ip_prefix_from_text("10.9.0.1/20", &networks[0]) == 0);
	CHECK(ip_prefix_from_text("fd00::1/64", &networks[1]) == 0);
	signal(SIGPIPE, SIG_IGN); /* as the process does */
	base = event_base_new();
	CHECK(base != NULL);
	server = dns_server_create(&config, base, &names, &options);
	CHECK(server != NULL);
}

/* Without resolvers each query is answered at once, and never with more than the client takes. */
static void fuzz_query(const uint8_t *data, size_t size)
{
	struct dns_client client = { .answer = answered };
	struct dns_question question;
	struct told told = { 0 };
	int verdict;

	if (size < 1)
		return;
	client.transport = data[0] % 2 == 0 ? DNS_UDP : DNS_TCP;
	client.context = &told;
	verdict = dns_question_parse(data + 1, size - 1, &question);
	CHECK(dns_server_query(server, data + 1, size - 1, &client) == NULL);
	CHECK(told.calls == 1);
	CHECK(told.silent == (verdict < 0));
	CHECK(client.transport == DNS_TCP || told.length <= question.udp_size);
	CHECK(told.length <= DNS_UDP_SIZE);
}

/* The least of what an answer's records may be kept, by another way than the filter's. */
static uint32_t least_ttl(const ldns_pkt *packet)
{
	const ldns_rr_list *lists[] = { ldns_pkt_answer(packet), ldns_pkt_authority(packet) };
	uint32_t least = UINT32_MAX;

	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < ldns_rr_list_rr_count(lists[k]); i++) {
			uint32_t ttl = ldns_rr_ttl(ldns_rr_list_rr(lists[k], i));

			if (ttl < least)
				least = ttl;
		}
	}
	return least;
}

static void check_filtered(const struct dns_question *question, ldns_pkt *packet, uint32_t ttl)
{
	struct dns_client client = { .transport = DNS_UDP, .answer = answered };
	uint64_t evicted = 0, truncated = 0;
	struct dns_replier replier = { true, DNS_UDP_SIZE, &truncated };
	struct dns_cache *cache = dns_cache_create(2, 16384, &evicted);
	struct told told = { 0 };
	struct dns_key key;
	ldns_pkt *kept;

	CHECK(cache != NULL);
	CHECK(ttl <= 86400 && (ttl == 0 || ttl <= least_ttl(packet)));
	CHECK(ldns_pkt_arcount(packet) == 0);
	dns_key_make(question, &key);
	dns_cache_put(cache, &key, packet, ttl, 1000);
	CHECK(dns_cache_bytes(cache) <= 16384);
	kept = dns_cache_get(cache, &key, 1999);
	if (kept != NULL) {
		CHECK(ttl > 0 && ldns_pkt_ancount(kept) == ldns_pkt_ancount(packet));
		CHECK(least_ttl(kept) == least_ttl(packet));
		ldns_pkt_free(kept);
	}
	CHECK(dns_cache_get(cache, &key, 1000 + ttl * UINT64_C(1000)) == NULL);
	dns_cache_destroy(cache);
	client.context = &told;
	dns_reply(&replier, question, &client, packet, 0);
	CHECK(told.calls == 1 && told.length <= question->udp_size);
}

static void fuzz_answer(const uint8_t *data, size_t size)
{
	static const uint8_t head[] = { 0x12, 0x34, 0x80, 0, 0, 1 };
	struct dns_question question = { .udp_size = 1232, .valid = true };
	uint8_t *message;
	size_t length;
	ldns_pkt *packet, *filtered;
	uint32_t ttl;

	if (size < 3 + 6 || size > 4096)
		return;
	question.dnssec_ok = data[0] & 1;
	question.edns = data[0] & 2;
	question.type = (uint16_t)(data[1] << 8 | data[2]);
	CHECK(dns_name_from_text("www.example.com", &question.name) == 0);
	question.lower = question.name;
	/* Header, question, and the rest: counts and records are the input's. */
	length = 12 + question.name.length + 4 + (size - 9);
	message = malloc(length);
	CHECK(message != NULL);
	memcpy(message, head, sizeof(head));
	message[2] |= data[0] & 6; /* AA, TC */
	message[3] = data[0] >> 4;
	memcpy(message + 6, data + 3, 6);
	memcpy(message + 12, question.name.bytes, question.name.length);
	message[12 + question.name.length] = data[1];
	message[12 + question.name.length + 1] = data[2];
	message[12 + question.name.length + 2] = 0;
	message[12 + question.name.length + 3] = 1;
	memcpy(message + 12 + question.name.length + 4, data + 9, size - 9);
	if (dns_answer_read(message, length, &question, 0x1234, &packet) == 0) {
		filtered = dns_answer_filter(packet, &question, &ttl);
		CHECK(filtered != NULL);
		check_filtered(&question, filtered, ttl);
		ldns_pkt_free(filtered);
		ldns_pkt_free(packet);
	}
	free(message);
}

/* Two clients' ends, as far as they know. */
struct end {
	uint32_t sequence, acknowledged;
};

static struct end ends[2];

static void sent(void *context, const uint8_t *frame, size_t length)
{
	struct dns_segment segment;
	struct packet packet;

	CHECK(packet_parse(frame, length, &packet) && packet_checksum_ok(&packet));
	CHECK(dns_segment_parse(&packet, &segment));
	CHECK(segment.from_port == 53 && segment.to_port >= 1000 && segment.to_port <= 1001);
	if (segment.flags & (TCP_SYN | TCP_FIN) || segment.length > 0)
		ends[segment.to_port - 1000].acknowledged =
		    segment.sequence + segment.length +
		    ((segment.flags & (TCP_SYN | TCP_FIN)) != 0);
}

static void step(struct dns_tcp *tcp, const uint8_t step[5], const uint8_t *bytes, size_t size)
{
	static const uint8_t flags[] = { TCP_SYN,	    TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST,
					 TCP_ACK | TCP_RST, 0,	     TCP_SYN | TCP_ACK, TCP_FIN };
	struct end *end = &ends[step[0] & 1];
	struct packet_header header = { .from = { { 0x52, 0, 0, 0, 0, 2 } },
					.to = { { 0x52, 0, 0, 0, 0, 1 } },
					.source = ip_from_v4(0x0a090002),
					.destination = ip_from_v4(0x0a090001) };
	struct dns_segment segment = {
		.from_port = (uint16_t)(1000 + (step[0] & 1)),
		.to_port = 53,
		.flags = flags[step[0] >> 1 & 7],
		.sequence = end->sequence + (uint32_t)(int32_t)(int8_t)step[1],
		.acknowledged = end->acknowledged + (uint32_t)(int32_t)(int8_t)step[2],
		.window = step[0] & 64 ? (uint16_t)(step[2] * 16) : 65535,
		.mss = 1000,
		.data = bytes,
		.length = step[3] < size ? step[3] : (uint32_t)size,
	};
	uint8_t frame[512];
	size_t length;

	if (step[0] & 32) {
		header.source = (struct ip){ .bytes = { 0xfd, [15] = 2 } };
		header.destination = (struct ip){ .bytes = { 0xfd, [15] = 1 } };
	}
	length = dns_segment_write(&header, &segment, frame, sizeof(frame));
	CHECK(length > 0);
	if (step[1] == 0) /* all of it was new: the client goes on from there */
		end->sequence += segment.length + ((segment.flags & (TCP_SYN | TCP_FIN)) != 0);
	dns_tcp_input(tcp, frame, length);
	now += step[4] * UINT64_C(50);
	dns_tcp_tick(tcp);
	CHECK(dns_tcp_connection_count(tcp) <= 3);
}

static void fuzz_tcp(const uint8_t *data, size_t size)
{
	static const struct route_output output = { sent, NULL };
	struct dns_tcp_options options = { .connections_max = 3,
					   .client_max = 2,
					   .clock.now = clock_now };
	static struct dns_tcp *tcp;

	if (tcp == NULL)
		CHECK(dns_tcp_create(server, base, &output, &options, &tcp) == 0);
	memset(ends, 0, sizeof(ends));
	for (uint32_t i = 0; i < STEPS_MAX && size >= 5; i++) {
		size_t take = data[3] < size - 5 ? data[3] : size - 5;

		step(tcp, data, data + size - take, take);
		data += 5;
		size -= 5 + take;
	}
	/* Time ends whatever is left: first what is idle, then what is closing. */
	for (uint32_t i = 0; i < 2; i++) {
		now += 10000;
		dns_tcp_tick(tcp);
	}
	CHECK(dns_tcp_connection_count(tcp) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (server == NULL)
		start();
	if (size < 1)
		return 0;
	now += 2000;
	switch (data[0] % KINDS) {
	case QUERY:
		fuzz_query(data + 1, size - 1);
		break;
	case ANSWER:
		fuzz_answer(data + 1, size - 1);
		break;
	default:
		fuzz_tcp(data + 1, size - 1);
	}
	return 0;
}
