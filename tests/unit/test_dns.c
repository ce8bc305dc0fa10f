/* What the DNS server answers by itself: names of the network, and what it refuses. */
#include "tests/unit/dns_rig.h"

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

/* Answered at once, with authority, and nobody else was asked. */
static void ask_own(struct rig *rig, struct rig_query *query, const char *name, ldns_rr_type type)
{
	rig_start_ask(rig, query, name, type);
	assert_int_equal(query->calls, 1);
	assert_non_null(query->packet);
	assert_true(ldns_pkt_aa(query->packet));
	assert_true(ldns_pkt_qr(query->packet));
	assert_int_equal(ldns_pkt_id(query->packet), 0x1234);
}

static void assert_nothing(const struct rig_query *query, int rcode, const char *zone)
{
	const ldns_rr_list *list = ldns_pkt_authority(query->packet);
	char *owner;

	assert_int_equal(rig_rcode(query), rcode);
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_answer(query->packet)), 0);
	assert_int_equal(ldns_rr_list_rr_count(list), 1);
	assert_int_equal(ldns_rr_get_type(ldns_rr_list_rr(list, 0)), LDNS_RR_TYPE_SOA);
	assert_int_equal(ldns_rr_rd_count(ldns_rr_list_rr(list, 0)), 7);
	owner = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(list, 0)));
	assert_string_equal(owner, zone);
	free(owner);
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		ldns_rr_type type;
		const char *data;
	} cases[] = {
		{ "web.lab.internal", LDNS_RR_TYPE_A, "10.9.0.20 " },
		{ "web.lab.internal", LDNS_RR_TYPE_AAAA, "fd00:9::20 " },
		{ "web", LDNS_RR_TYPE_A, "10.9.0.20 " },
		{ "printer.lab.internal", LDNS_RR_TYPE_A, "10.9.0.9 " },
		{ "printer.lab.internal", LDNS_RR_TYPE_AAAA, "fd00:9::9 " },
		{ "printer", LDNS_RR_TYPE_AAAA, "fd00:9::9 " },
		{ "db.example.org", LDNS_RR_TYPE_A, "10.9.0.10 " },
		{ "a.deep.lab.internal", LDNS_RR_TYPE_A, "10.9.0.11 " },
		/* A lease may not take the gateway's name. */
		{ "gateway.lab.internal", LDNS_RR_TYPE_A, "10.9.0.1 " },
		{ "gateway.lab.internal", LDNS_RR_TYPE_AAAA, "fd00:9::1 " },
		{ "localhost", LDNS_RR_TYPE_A, "127.0.0.1 " },
		{ "x.localhost", LDNS_RR_TYPE_AAAA, "::1 " },
		{ "20.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, "web.lab.internal. " },
		{ "9.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, "printer.lab.internal. " },
		{ "10.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, "db.example.org. " },
		{ "1.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, "gateway.lab.internal. " },
		{ "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa",
		  LDNS_RR_TYPE_PTR, "web.lab.internal. " },
		{ "lab.internal", LDNS_RR_TYPE_NS, "gateway.lab.internal. " },
		{ "lab.internal", LDNS_RR_TYPE_SOA, "gateway.lab.internal. " },
	};
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask_own(rig, &query, cases[i].name, cases[i].type);
		assert_int_equal(rig_rcode(&query), 0);
		assert_string_equal(rig_data(&query, cases[i].type), cases[i].data);
	}
	assert_int_equal(rig_counters(rig)->own, sizeof(cases) / sizeof(cases[0]));
	assert_int_equal(rig_counters(rig)->forwarded, 0);
	rig_query_free(&query);
}

static void test_nothing(void **state)
{
	static const struct {
		const char *name;
		ldns_rr_type type;
		int rcode;
		const char *zone;
	} cases[] = {
		{ "none.lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, "lab.internal." },
		{ "wpad.lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, "lab.internal." },
		{ "x.web.lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, "lab.internal." },
		{ "w\\.b.lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN, "lab.internal." },
		{ "deep.lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, "lab.internal." },
		{ "lab.internal", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR, "lab.internal." },
		{ "web.lab.internal", LDNS_RR_TYPE_MX, LDNS_RCODE_NOERROR, "lab.internal." },
		{ "mail.lab.internal", LDNS_RR_TYPE_AAAA, LDNS_RCODE_NOERROR, "lab.internal." },
		{ "mail", LDNS_RR_TYPE_AAAA, LDNS_RCODE_NOERROR, "mail." },
		{ "db.example.org", LDNS_RR_TYPE_TXT, LDNS_RCODE_NOERROR, "db.example.org." },
		{ "99.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, LDNS_RCODE_NXDOMAIN,
		  "0.9.10.in-addr.arpa." },
		{ "x.20.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, LDNS_RCODE_NXDOMAIN,
		  "0.9.10.in-addr.arpa." },
		{ "020.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, LDNS_RCODE_NXDOMAIN,
		  "0.9.10.in-addr.arpa." },
		{ "0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR, LDNS_RCODE_NOERROR,
		  "0.9.10.in-addr.arpa." },
		{ "20.0.9.10.in-addr.arpa", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR,
		  "0.9.10.in-addr.arpa." },
		{ "7.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa", LDNS_RR_TYPE_PTR,
		  LDNS_RCODE_NOERROR, "0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa." },
	};
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask_own(rig, &query, cases[i].name, cases[i].type);
		assert_nothing(&query, cases[i].rcode, cases[i].zone);
	}
	assert_int_equal(rig_counters(rig)->forwarded, 0);
	rig_query_free(&query);
}

/* A prefix between two labels: its own part is ours, its neighbours' are not. */
static void test_odd_prefix(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	assert_int_equal(ip_prefix_from_text("10.9.16.1/20", &rig->networks[0]), 0);
	rig_start(rig);
	ask_own(rig, &query, "7.31.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	assert_nothing(&query, LDNS_RCODE_NXDOMAIN, "31.9.10.in-addr.arpa.");
	ask_own(rig, &query, "1.16.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_PTR), "gateway.lab.internal. ");
	rig_ask(rig, &query, "7.32.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	rig_ask(rig, &query, "9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	assert_int_equal(rig_counters(rig)->forwarded, 2);
	rig_query_free(&query);
}

static void test_case_is_kept(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	char *name;

	rig_start(rig);
	ask_own(rig, &query, "WeB.lAB.internal", LDNS_RR_TYPE_A);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_A), "10.9.0.20 ");
	name = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(query.packet), 0)));
	assert_string_equal(name, "WeB.lAB.internal.");
	free(name);
	rig_query_free(&query);
}

static void test_no_domain(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->config.domain[0] = '\0';
	rig_start(rig);
	ask_own(rig, &query, "web", LDNS_RR_TYPE_A);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_A), "10.9.0.20 ");
	ask_own(rig, &query, "20.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_PTR), "web. ");
	ask_own(rig, &query, "9.0.9.10.in-addr.arpa", LDNS_RR_TYPE_PTR);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_PTR), "printer. ");
	rig_ask(rig, &query, "web.lab.internal", LDNS_RR_TYPE_A);
	assert_int_equal(rig_counters(rig)->forwarded, 1);
	rig_query_free(&query);
}

/* A host called like a top-level domain takes nothing of it but its own addresses. */
static void test_bare_name_is_only_addresses(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	rig_ask(rig, &query, "printer", LDNS_RR_TYPE_NS);
	rig_ask(rig, &query, "web", LDNS_RR_TYPE_DS);
	rig_ask(rig, &query, "wpad", LDNS_RR_TYPE_A);
	assert_int_equal(rig_counters(rig)->forwarded, 3);
	rig_query_free(&query);
}

static void test_no_forward(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig->config.no_forward = true;
	rig_start(rig);
	ask_own(rig, &query, "web.lab.internal", LDNS_RR_TYPE_A);
	assert_false(ldns_pkt_ra(query.packet));
	rig_start_ask(rig, &query, "example.com", LDNS_RR_TYPE_A);
	assert_int_equal(query.calls, 1);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_REFUSED);
	assert_int_equal(rig_counters(rig)->refused, 1);
	rig_query_free(&query);
}

static void test_any_is_answered_with_little(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	rig_start_ask(rig, &query, "example.com", LDNS_RR_TYPE_ANY);
	assert_int_equal(query.calls, 1);
	assert_int_equal(rig_rcode(&query), 0);
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_answer(query.packet)), 1);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_HINFO), "\"RFC8482\" ");
	assert_int_equal(rig_counters(rig)->forwarded, 0);
	rig_query_free(&query);
}

static void test_refused(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	ldns_pkt *packet;

	rig_start(rig);
	packet = ldns_pkt_query_new(ldns_dname_new_frm_str("version.bind"), LDNS_RR_TYPE_TXT,
				    LDNS_RR_CLASS_CH, LDNS_RD);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_REFUSED);
	rig_start_ask(rig, &query, "lab.internal", LDNS_RR_TYPE_AXFR);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_REFUSED);
	packet = rig_packet("example.com", LDNS_RR_TYPE_A);
	ldns_pkt_set_rd(packet, false);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_REFUSED);
	assert_int_equal(rig_counters(rig)->refused, 3);
	rig_start_ask(rig, &query, "example.com", LDNS_RR_TYPE_TSIG);
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_NOTIMPL);
	packet = rig_packet("example.com", LDNS_RR_TYPE_A);
	ldns_pkt_set_opcode(packet, LDNS_PACKET_NOTIFY);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(rig_rcode(&query), LDNS_RCODE_NOTIMPL);
	assert_int_equal(ldns_pkt_get_opcode(query.packet), LDNS_PACKET_NOTIFY);
	packet = rig_packet("example.com", LDNS_RR_TYPE_A);
	ldns_pkt_set_edns_version(packet, 1);
	rig_send_packet(rig, &query, packet, DNS_UDP, "10.9.0.50");
	assert_int_equal(rig_rcode(&query), 0);
	assert_int_equal(ldns_pkt_edns_extended_rcode(query.packet), 1); /* BADVERS */
	assert_int_equal(rig_counters(rig)->unsupported, 3);
	assert_int_equal(rig_counters(rig)->forwarded, 0);
	rig_query_free(&query);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		int rcode; /* -1: ignored */
	} cases[] = {
		{ "", 0, -1 },
		{ "\x12\x34\1\0\0\1\0\0\0\0\0", 11, -1 },
		/* A response. */
		{ "\x12\x34\x81\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, -1 },
		/* No question; two; records in the answer section. */
		{ "\x12\x34\1\0\0\0\0\0\0\0\0\0", 12, LDNS_RCODE_FORMERR },
		{ "\x12\x34\1\0\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1", 22, LDNS_RCODE_FORMERR },
		{ "\x12\x34\1\0\0\1\0\1\0\0\0\0\0\0\1\0\1", 17, LDNS_RCODE_FORMERR },
		/* The question is cut off; its name leads to itself; its label has a wrong length.
		 */
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\3www", 16, LDNS_RCODE_FORMERR },
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, LDNS_RCODE_FORMERR },
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\0\x7f\0\0\1\0\1", 18, LDNS_RCODE_FORMERR },
		/* An OPT record that is not there. */
		{ "\x12\x34\1\0\0\1\0\0\0\0\0\1\0\0\1\0\1", 17, LDNS_RCODE_FORMERR },
	};
	struct rig *rig = *state;
	struct rig_query query = { 0 };
	uint64_t ignored = 0;

	rig_start(rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *copy = malloc(cases[i].length + 1);

		memcpy(copy, cases[i].bytes, cases[i].length);
		rig_send(rig, &query, copy, cases[i].length, DNS_UDP, "10.9.0.50");
		free(copy);
		assert_int_equal(query.calls, 1);
		if (cases[i].rcode < 0) {
			ignored++;
			assert_null(query.packet);
		} else {
			assert_int_equal(rig_rcode(&query), cases[i].rcode);
			assert_int_equal(ldns_pkt_id(query.packet), 0x1234);
			assert_int_equal(query.length, 12);
		}
		assert_int_equal(rig_counters(rig)->ignored, ignored);
		assert_int_equal(rig_counters(rig)->malformed, i + 1 - ignored);
	}
	rig_query_free(&query);
}

/* Names that guests choose are no way out of their label. */
static void test_reserved_lease_by_bare_name(void **state)
{
	struct rig *rig = *state;
	struct rig_query query = { 0 };

	rig_start(rig);
	ask_own(rig, &query, "gateway", LDNS_RR_TYPE_A);
	assert_string_equal(rig_data(&query, LDNS_RR_TYPE_A), "10.9.0.1 ");
	rig_query_free(&query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_case_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_domain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bare_name_is_only_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_forward, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_is_answered_with_little, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserved_lease_by_bare_name, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
