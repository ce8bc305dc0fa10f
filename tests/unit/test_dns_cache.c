/* What the DNS server keeps of answers: how long, how much, and nothing that was not asked. */
#include "tests/unit/dns_rig.h"

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

static void test_forward_and_cache(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	ldns_pkt *packet;
	char *name;

	rig_start(rig);
	rig_ask(rig, &query, "Www.Example.com", A);
	assert_int_equal(rig_rcode(&query), 0);
	assert_string_equal(rig_data(&query, A), "192.0.2.1 ");
	assert_int_equal(rig_ttl(&query), 60);
	assert_int_equal(ldns_pkt_id(query.packet), 0x1234);
	assert_true(ldns_pkt_ra(query.packet));
	assert_false(ldns_pkt_aa(query.packet));
	name = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(query.packet), 0)));
	assert_string_equal(name, "Www.Example.com.");
	free(name);
	assert_string_equal(rig->resolvers[0].last_name, "www.example.com.");
	/* Again, in another case: counted down, and nobody is asked. */
	rig->now += 25000;
	rig_start_ask(rig, &query, "WWW.example.com", A);
	assert_int_equal(query.calls, 1);
	assert_int_equal(rig_ttl(&query), 35);
	assert_int_equal(rig_counters(rig)->cached, 1);
	/* To one without RD as well. */
	rig->now += 34999;
	packet = rig_packet("www.example.com", A);
	ldns_pkt_set_rd(packet, false);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(query.calls, 1);
	assert_int_equal(rig_ttl(&query), 1);
	rig->now += 1;
	rig_ask(rig, &query, "www.example.com", A);
	assert_int_equal(rig_ttl(&query), 60);
	assert_int_equal(rig_counters(rig)->forwarded, 2);
	assert_int_equal(asked(rig), 2);
	rig_query_free(&query);
}

static void test_negative_answers_are_cached(void **state)
{
	struct rig *rig = *state;
	struct rig_script *script = &rig->resolvers[0].script;
	struct rig_query query = { 0 };

	rig_start(rig);
	*script = (struct rig_script){
		.rcode = LDNS_RCODE_NXDOMAIN,
		.authority = { "example.com. 900 IN SOA a.example.com. b.example.com. 1 2 3 4 50" },
	};
	rig_ask(rig, &query, "none.example.com", A);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_NXDOMAIN);
	assert_int_equal(ldns_pkt_nscount(query.packet), 1);
	rig->now += 49000;
	rig_start_ask(rig, &query, "none.example.com", A);
	assert_int_equal(query.calls, 1);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_NXDOMAIN);
	rig->now += 1000;
	rig_ask(rig, &query, "none.example.com", A);
	assert_int_equal(asked(rig), 2);
	/* No data is no different; without an SOA there is no saying for how long. */
	script->rcode = 0;
	rig_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_MX);
	rig_start_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_MX);
	assert_int_equal(query.calls, 1);
	assert_int_equal(asked(rig), 3);
	script->authority[0] = NULL;
	rig_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_TXT);
	rig_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_TXT);
	assert_int_equal(asked(rig), 5);
	/* An SOA of another zone proves nothing either, and is not passed on. */
	script->authority[0] = "evil.org. 900 IN SOA a.evil.org. b.evil.org. 1 2 3 4 50";
	rig_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_TXT);
	assert_int_equal(ldns_pkt_nscount(query.packet), 0);
	rig_ask(rig, &query, "none.example.com", LDNS_RR_TYPE_TXT);
	assert_int_equal(asked(rig), 7);
	rig_query_free(&query);
}

/* Only the chain from the question is passed on. */
static void test_only_what_was_asked(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->resolvers[0].script = (struct rig_script){
		.answer = { "evil.example. 60 IN A 192.0.2.66", "@ 300 IN CNAME Two.example.org.",
			    "two.example.org. 100 IN CNAME three.example.net.",
			    "three.example.net. 200 IN A 192.0.2.3",
			    "three.example.net. 200 IN TXT \"x\"" },
		.authority = { "example.net. 60 IN NS ns.evil.example." },
		.additional = { "ns.evil.example. 60 IN A 192.0.2.67" },
	};
	rig_start(rig);
	for (int i = 0; i < 2; i++) { /* from the resolver, then from the cache */
		rig_ask(rig, &query, "one.example.com", A);
		assert_int_equal(ldns_pkt_ancount(query.packet), 3);
		assert_string_equal(rig_data(&query, A), "192.0.2.3 ");
		assert_int_equal(ldns_pkt_nscount(query.packet), 0);
		assert_int_equal(ldns_pkt_arcount(query.packet), 0);
	}
	assert_int_equal(asked(rig), 1);
	/* The least TTL of the chain is that of the answer. */
	rig->now += 100000;
	rig_ask(rig, &query, "one.example.com", A);
	assert_int_equal(asked(rig), 2);
	/* A chain that closes ends. */
	rig->resolvers[0].script = (struct rig_script){
		.answer = { "@ 60 IN CNAME b.example.org.", "b.example.org. 60 IN CNAME @",
			    "b.example.org. 60 IN CNAME b.example.org." },
	};
	rig->resolvers[0].script.answer[1] = "b.example.org. 60 IN CNAME loop.example.com.";
	rig_ask(rig, &query, "loop.example.com", A);
	assert_in_range(ldns_pkt_ancount(query.packet), 2, 3);
	rig_query_free(&query);
}

static void test_ttl_bounds(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	rig->resolvers[0].script.answer[0] = "@ 2000000 IN A 192.0.2.1";
	rig_ask(rig, &query, "long.example", A);
	assert_int_equal(rig_ttl(&query), 86400);
	rig->resolvers[0].script.answer[0] = "@ 4000000000 IN A 192.0.2.1";
	rig_ask(rig, &query, "huge.example", A);
	assert_int_equal(rig_ttl(&query), 0);
	rig_ask(rig, &query, "huge.example", A);
	assert_int_equal(asked(rig), 3);
	rig_query_free(&query);
}

static void test_cache_is_bounded(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	char name[64];

	rig->config.cache_size = 3;
	rig->options.cache_bytes = 1 << 20;
	rig_start(rig);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		rig_ask(rig, &query, name, A);
	}
	rig_ask(rig, &query, "n0.example", A); /* used: n1 goes first now */
	rig_ask(rig, &query, "n3.example", A);
	assert_int_equal(rig_counters(rig)->cache_evicted, 1);
	assert_int_equal(asked(rig), 4);
	rig_ask(rig, &query, "n0.example", A);
	rig_ask(rig, &query, "n2.example", A);
	rig_ask(rig, &query, "n3.example", A);
	assert_int_equal(asked(rig), 4);
	rig_ask(rig, &query, "n1.example", A);
	assert_int_equal(asked(rig), 5);
	rig_query_free(&query);
}

static void test_cache_is_bounded_in_bytes(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->options.cache_bytes = 2048;
	rig->resolvers[0].script.many = 30; /* some 500 bytes: with overhead two do not fit */
	rig_start(rig);
	for (int i = 0; i < 3; i++) {
		rig_ask(rig, &query, "one.example", A);
		rig_ask(rig, &query, "two.example", A);
		rig_ask(rig, &query, "three.example", A);
	}
	assert_true(rig_counters(rig)->cache_evicted > 0);
	assert_int_equal(rig_rcode(&query), 0);
	rig_query_free(&query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_forward_and_cache),	TEST(test_negative_answers_are_cached),
		TEST(test_only_what_was_asked), TEST(test_ttl_bounds),
		TEST(test_cache_is_bounded),	TEST(test_cache_is_bounded_in_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
