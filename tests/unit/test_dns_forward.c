/* What the DNS server asks of others: resolvers on loopback that answer, lie, fail or say nothing;
 * the cache, the limits, and loops. */
#include "tests/unit/dns_rig.h"

#include <sys/resource.h>

#define A LDNS_RR_TYPE_A

static int setup(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_open(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

static uint32_t asked(const struct rig *rig)
{
	return rig->resolvers[0].asked_udp + rig->resolvers[1].asked_udp;
}

static void test_shared(void **state)
{
	struct rig *rig = *state;
	struct rig_query one = { 0 }, two = { 0 }, other = { 0 };

	rig_start(rig);
	rig_start_ask(rig, &one, "example.com", A);
	rig_send_packet(rig, &two, rig_packet("EXAMPLE.com", A), DNS_UDP, "10.9.0.51");
	rig_start_ask(rig, &other, "example.com", LDNS_RR_TYPE_AAAA);
	rig_wait(rig, &one);
	rig_wait(rig, &two);
	rig_wait(rig, &other);
	assert_string_equal(rig_data(&two, A), "192.0.2.1 ");
	assert_int_equal(rig_counters(rig)->shared, 1);
	assert_int_equal(asked(rig), 2);
	rig_query_free(&one);
	rig_query_free(&two);
	rig_query_free(&other);
}

static void test_dnssec_is_passed(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	ldns_pkt *packet = rig_packet("example.com", A);

	rig->resolvers[0].script.answer[1] =
	    "@ 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 example.com. AAAA";
	rig_start(rig);
	ldns_pkt_set_edns_do(packet, true);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	rig_wait(rig, &query);
	assert_true(rig->resolvers[0].saw_dnssec_ok);
	assert_true(ldns_pkt_edns_do(query.packet));
	assert_int_equal(ldns_pkt_ancount(query.packet), 2);
	/* Another client that does not want them gets no signatures, and another question. */
	rig_ask(rig, &query, "example.com", A);
	assert_false(rig->resolvers[0].saw_dnssec_ok);
	assert_int_equal(ldns_pkt_ancount(query.packet), 1);
	assert_int_equal(asked(rig), 2);
	/* Without EDNS there is none in the answer. */
	packet = rig_packet("example.com", A);
	ldns_pkt_set_edns_udp_size(packet, 0);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(query.calls, 1);
	assert_false(ldns_pkt_edns(query.packet));
	rig_query_free(&query);
}

static void test_resolver_without_edns(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->resolvers[0].script.no_edns = true;
	rig_start(rig);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), 0);
	assert_false(rig->resolvers[0].saw_edns);
	assert_int_equal(rig->resolvers[0].asked_udp, 2);
	assert_int_equal(rig->resolvers[1].asked_udp, 0);
	rig_query_free(&query);
}

static void test_timeout_goes_to_the_next(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->resolvers[0].script.mode = RIG_SILENT;
	rig_start(rig);
	rig_start_ask(rig, &query, "example.com", A);
	rig_wait_asked(rig, &rig->resolvers[0].asked_udp, 1);
	rig->now += 1499;
	dns_server_tick(rig->server);
	assert_int_equal(rig_counters(rig)->upstream_timeouts, 0);
	rig->now += 1;
	dns_server_tick(rig->server);
	assert_int_equal(rig_counters(rig)->upstream_timeouts, 1);
	rig_wait(rig, &query);
	assert_int_equal(rig_rcode(&query), 0);
	assert_int_equal(rig->resolvers[1].asked_udp, 1);
	/* The one that answered is asked first from now on. */
	rig_ask(rig, &query, "example.org", A);
	assert_int_equal(rig->resolvers[0].asked_udp, 1);
	assert_int_equal(rig->resolvers[1].asked_udp, 2);
	rig_query_free(&query);
}

static void test_nobody_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_query one = { 0 }, two = { 0 };

	rig->resolvers[0].script.mode = rig->resolvers[1].script.mode = RIG_SILENT;
	rig_start(rig);
	rig_start_ask(rig, &one, "example.com", A);
	rig_start_ask(rig, &two, "example.com", A);
	for (uint32_t i = 0; i < 3; i++) {
		rig_wait_asked(rig, &rig->resolvers[i % 2].asked_udp, i / 2 + 1);
		assert_int_equal(one.calls, 0);
		rig->now += 1500;
		dns_server_tick(rig->server);
	}
	assert_int_equal(one.calls, 1);
	assert_int_equal(two.calls, 1);
	assert_int_equal(rig_rcode(&one), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->failed, 2);
	assert_int_equal(rig_counters(rig)->upstream_timeouts, 3);
	rig_query_free(&one);
	rig_query_free(&two);
}

static void test_failures_go_to_the_next(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->resolvers[0].script.rcode = LDNS_RCODE_SERVFAIL;
	rig_start(rig);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), 0);
	assert_int_equal(rig_counters(rig)->upstream_errors, 1);
	/* All refuse: said at once, and not kept. */
	rig->resolvers[1].script.rcode = LDNS_RCODE_REFUSED;
	rig_ask(rig, &query, "example.org", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->failed, 1);
	rig->resolvers[1].script.rcode = 0;
	rig_ask(rig, &query, "example.org", A);
	assert_int_equal(rig_rcode(&query), 0);
	rig_query_free(&query);
}

/* Nobody listens there: the host says so, and the next one is asked at once. */
static void test_unreachable_resolver(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->config.forwarders.ips[0] = rig_ip("127.0.0.77");
	rig_start(rig);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), 0);
	assert_int_equal(rig_counters(rig)->upstream_errors, 1);
	assert_int_equal(rig_counters(rig)->upstream_timeouts, 0);
	rig_query_free(&query);
}

static void test_forged_answers(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	uint64_t mismatched = 0;

	rig->config.forwarders.count = 1;
	rig_start(rig);
	for (enum rig_mode mode = RIG_WRONG_ID; mode <= RIG_WRONG_NAME; mode++) {
		rig->resolvers[0].script.mode = mode;
		rig_start_ask(rig, &query, "example.com", A);
		mismatched++;
		while (rig_counters(rig)->upstream_mismatched < mismatched)
			event_base_loop(rig->base, EVLOOP_ONCE);
		assert_int_equal(query.calls, 0);
		rig->now += 6000;
		dns_server_tick(rig->server);
		assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	}
	rig->resolvers[0].script.mode = RIG_GARBAGE;
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->upstream_malformed, 1);
	rig_query_free(&query);
}

static void test_sizes_over_udp(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	ldns_pkt *packet = rig_packet("example.com", A);

	rig->resolvers[0].script.many = 50; /* 50 * 16 and some: more than 512, less than 1232 */
	rig_start(rig);
	ldns_pkt_set_edns_udp_size(packet, 0);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	rig_wait(rig, &query);
	assert_true(ldns_pkt_tc(query.packet));
	assert_true(query.length <= 512);
	assert_int_equal(rig_counters(rig)->truncated, 1);
	rig_ask(rig, &query, "example.com", A);
	assert_false(ldns_pkt_tc(query.packet));
	assert_int_equal(ldns_pkt_ancount(query.packet), 51);
	/* A client that says it takes more gets no more than fits a packet. */
	rig->resolvers[0].script.many = 100;
	packet = rig_packet("example.org", A);
	ldns_pkt_set_edns_udp_size(packet, 65535);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	rig_wait(rig, &query);
	assert_true(ldns_pkt_tc(query.packet));
	/* Over TCP it does, out of the cache. */
	rig_send_packet(rig, &query, rig_packet("example.org", A), DNS_TCP, "10.9.0.50");
	assert_int_equal(query.calls, 1);
	assert_int_equal(ldns_pkt_ancount(query.packet), 101);
	assert_int_equal(asked(rig), 2);
	rig_query_free(&query);
}

static void test_truncated_is_asked_again_over_tcp(void **state)
{
	struct rig *rig = *state;
	struct rig_resolver *resolver = &rig->resolvers[0];
	struct rig_query query = { 0 }, udp = { 0 };

	resolver->script.truncated = true;
	resolver->script.many = 900;
	rig_start(rig);
	rig_ask(rig, &query, "example.com", A);
	assert_true(ldns_pkt_tc(query.packet));
	assert_int_equal(ldns_pkt_ancount(query.packet), 0);
	assert_int_equal(resolver->asked_tcp, 0);
	rig_send_packet(rig, &query, rig_packet("example.com", A), DNS_TCP, "10.9.0.50");
	rig_start_ask(rig, &udp, "example.com", A);
	rig_wait(rig, &query);
	rig_wait(rig, &udp);
	assert_false(ldns_pkt_tc(query.packet));
	assert_int_equal(ldns_pkt_ancount(query.packet), 901);
	assert_true(ldns_pkt_tc(udp.packet));
	assert_int_equal(resolver->asked_tcp, 1);
	assert_int_equal(resolver->asked_udp, 2);
	assert_int_equal(rig_counters(rig)->upstream_tcp, 1);
	rig_query_free(&query);
	rig_query_free(&udp);
}

/* More records than any answer needs are not worked through. */
static void test_too_many_records(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->config.forwarders.count = 1;
	rig->resolvers[0].script.truncated = true;
	rig->resolvers[0].script.many = 1100;
	rig_start(rig);
	rig_send_packet(rig, &query, rig_packet("example.com", A), DNS_TCP, "10.9.0.50");
	rig_wait(rig, &query);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->upstream_malformed, 1);
	rig_query_free(&query);
}

static void test_limits(void **state)
{
	struct rig *rig = *state;
	struct rig_query queries[6] = { 0 };
	char name[64];

	rig->resolvers[0].script.mode = RIG_SILENT;
	rig->options.client_max = 2;
	rig->options.queries_max = 4;
	rig->options.lookups_max = 3;
	rig_start(rig);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		rig_start_ask(rig, &queries[i], name, A);
	}
	assert_int_equal(queries[1].calls, 0);
	assert_int_equal(rig_rcode(&queries[2]), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->limit_client, 1);
	/* Others are served meanwhile, names of the network and the cache even that client. */
	rig_start_ask(rig, &queries[2], "web.lab.internal", A);
	assert_int_equal(rig_rcode(&queries[2]), 0);
	rig_send_packet(rig, &queries[2], rig_packet("n2.example", A), DNS_UDP, "10.9.0.51");
	assert_int_equal(queries[2].calls, 0);
	rig_send_packet(rig, &queries[3], rig_packet("n3.example", A), DNS_UDP, "10.9.0.52");
	assert_int_equal(rig_rcode(&queries[3]), LDNS_RCODE_SERVFAIL); /* lookups */
	rig_send_packet(rig, &queries[3], rig_packet("n2.example", A), DNS_UDP, "10.9.0.52");
	assert_int_equal(queries[3].calls, 0);
	rig_send_packet(rig, &queries[4], rig_packet("n2.example", A), DNS_UDP, "10.9.0.53");
	assert_int_equal(rig_rcode(&queries[4]), LDNS_RCODE_SERVFAIL); /* queries */
	assert_int_equal(rig_counters(rig)->limit_total, 2);
	/* What is cancelled makes room. */
	dns_query_cancel(queries[0].handle);
	rig_start_ask(rig, &queries[5], "n5.example", A);
	assert_int_equal(queries[5].calls, 0);
	for (int i = 0; i < 6; i++)
		rig_query_free(&queries[i]);
	dns_server_destroy(rig->server);
	rig->server = NULL;
	for (int i = 0; i < 6; i++)
		rig_query_free(&queries[i]);
}

static void test_cancel(void **state)
{
	struct rig *rig = *state;
	struct rig_query one = { 0 }, two = { 0 };

	rig_start(rig);
	rig_start_ask(rig, &one, "example.com", A);
	rig_start_ask(rig, &two, "example.com", A);
	dns_query_cancel(one.handle);
	rig_wait(rig, &two);
	assert_int_equal(one.calls, 0);
	rig_query_free(&two);
	rig_start_ask(rig, &one, "example.org", A);
	dns_query_cancel(one.handle);
	assert_int_equal(one.calls, 0);
	dns_query_cancel(NULL);
	rig_query_free(&one);
}

static void test_destroy_calls_back(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	rig_start_ask(rig, &query, "example.com", A);
	dns_server_destroy(rig->server);
	rig->server = NULL;
	assert_int_equal(query.calls, 1);
	assert_null(query.packet);
}

static void test_own_addresses_are_not_asked(void **state)
{
	struct rig *rig = *state;
	struct ip own[] = { ip_from_v4(INADDR_LOOPBACK), ip_from_v4(INADDR_LOOPBACK + 1) };
	struct rig_query query = { 0 };

	rig_start(rig);
	assert_int_equal(dns_server_set_own(rig->server, own, 1), 0);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig->resolvers[0].asked_udp, 0);
	assert_int_equal(rig->resolvers[1].asked_udp, 1);
	assert_int_equal(dns_server_set_own(rig->server, own, 2), 0);
	rig_start_ask(rig, &query, "example.org", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->no_resolver, 1);
	rig_query_free(&query);
}

static void test_gateway_is_not_asked(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->config.forwarders.ips[0] = rig->networks[0].ip;
	rig_start(rig);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig->resolvers[1].asked_udp, 1);
	rig_query_free(&query);
}

/* The resolver that is asked asks us the same. */
static void test_loop_is_refused(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 }, back = { 0 };

	rig->resolvers[0].script.mode = RIG_SILENT;
	rig_start(rig);
	rig_start_ask(rig, &query, "example.com", A);
	rig_send_packet(rig, &back, rig_packet("example.com", A), DNS_UDP, "127.0.0.1");
	assert_int_equal(rig_rcode(&back), LDNS_RCODE_REFUSED);
	rig_send_packet(rig, &back, rig_packet("example.org", A), DNS_UDP, "127.0.0.1");
	assert_int_equal(rig_rcode(&back), LDNS_RCODE_REFUSED);
	assert_int_equal(rig_counters(rig)->looped, 2);
	/* Through somebody else it joins its own question: there is only ever one. */
	rig_send_packet(rig, &back, rig_packet("example.com", A), DNS_UDP, "10.9.0.99");
	assert_int_equal(back.calls, 0);
	rig_wait_asked(rig, &rig->resolvers[0].asked_udp, 1);
	rig->now += 6000;
	dns_server_tick(rig->server);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_rcode(&back), LDNS_RCODE_SERVFAIL);
	assert_int_equal(asked(rig), 1);
	rig_query_free(&query);
	rig_query_free(&back);
}

static void write_file(const char *path, const char *text)
{
	char temporary[256];
	FILE *file;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	file = fopen(temporary, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(rename(temporary, path), 0);
}

static void test_resolv_conf(void **state)
{
	char directory[] = "/tmp/weft-test-dns-XXXXXX", path[64];
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/resolv.conf", directory);
	rig->config.forwarders.count = 0;
	rig->options.resolv_conf = path;
	rig_start(rig);
	/* It is not there yet. */
	rig_start_ask(rig, &query, "a.example", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(rig_counters(rig)->no_resolver, 1);
	write_file(path, "# nameserver 127.0.0.9\nsearch x\nnameserver bad\nnameserver 0.0.0.0\n"
			 "nameserver 127.0.0.1 # comment\n");
	rig->now += 1000;
	rig_ask(rig, &query, "a.example", A);
	assert_int_equal(rig->resolvers[0].asked_udp, 1);
	write_file(path, "nameserver\t127.0.0.2\nnameserver fe80::1%lo\n");
	rig_ask(rig, &query, "b.example", A); /* not looked at more than once a second */
	assert_int_equal(rig->resolvers[0].asked_udp, 2);
	rig->now += 1000;
	rig_ask(rig, &query, "c.example", A);
	assert_int_equal(rig->resolvers[1].asked_udp, 1);
	unlink(path);
	rig->now += 1000;
	rig_start_ask(rig, &query, "d.example", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	rmdir(directory);
	rig_query_free(&query);
}

/* Descriptors run out: an answer all the same, and later everything goes on. */
static void test_no_descriptors(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	struct rlimit before, few;
	int fds[256], count = 0, fd;

	rig_start(rig);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 128, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < 256 && (fd = dup(rig->resolvers[0].udp)) >= 0)
		fds[count++] = fd;
	assert_in_range(count, 1, 255);
	rig_start_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_SERVFAIL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (count > 0)
		close(fds[--count]);
	rig_ask(rig, &query, "example.com", A);
	assert_int_equal(rig_rcode(&query), 0);
	rig_query_free(&query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_shared),
		TEST(test_dnssec_is_passed),
		TEST(test_resolver_without_edns),
		TEST(test_timeout_goes_to_the_next),
		TEST(test_nobody_answers),
		TEST(test_failures_go_to_the_next),
		TEST(test_unreachable_resolver),
		TEST(test_forged_answers),
		TEST(test_sizes_over_udp),
		TEST(test_truncated_is_asked_again_over_tcp),
		TEST(test_too_many_records),
		TEST(test_limits),
		TEST(test_cancel),
		TEST(test_destroy_calls_back),
		TEST(test_own_addresses_are_not_asked),
		TEST(test_gateway_is_not_asked),
		TEST(test_loop_is_refused),
		TEST(test_resolv_conf),
		TEST(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
