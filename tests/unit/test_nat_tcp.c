/* TCP through the translator: connections, simultaneous open, timers, unsolicited SYNs (RFC 5382),
 * resets (RFC 7857). */
#include "tests/unit/nat_rig.h"

#define A "10.0.0.2"
#define B "10.0.0.3"
#define X "198.51.100.1"
#define Y "198.51.100.2"

/* A connection that the inside began, with its handshake. */
static void rig_connect(struct rig *rig, const char *from, uint16_t port, const char *to)
{
	assert_translated(rig_tcp_out(rig, from, port, to, 80, SYN));
	assert_translated(rig_tcp_in(rig, to, 80, port, SYN | ACK));
	assert_translated(rig_tcp_out(rig, from, port, to, 80, ACK));
}

static void assert_state(struct rig *rig, enum nat_state state, uint32_t left)
{
	struct nat_session session = rig_session(rig, -1);

	assert_int_equal(session.state, state);
	assert_int_equal(session.left, left);
}

static void test_mapping_is_endpoint_independent(void **state)
{
	struct rig rig;
	struct wire wire;
	uint16_t port;

	rig_init(&rig);
	rig_open(&rig);
	assert_translated(rig_tcp_out(&rig, B, 5000, X, 80, SYN));
	wire_tcp(&wire, A, 5000, X, 80, SYN);
	assert_translated(rig_out(&rig, &wire));
	port = ends_of(&wire).from_port;
	assert_int_not_equal(port, 5000);
	wire_tcp(&wire, A, 5000, Y, 443, SYN);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, OUTSIDE, port);
	rig_close(&rig);
}

static void test_connection(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, SYN));
	assert_state(&rig, NAT_TCP_SYN, NAT_TIMEOUT_TCP_TRANSITORY);
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, SYN | ACK));
	assert_state(&rig, NAT_TCP_SYN_BOTH, NAT_TIMEOUT_TCP_TRANSITORY);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, ACK));
	assert_state(&rig, NAT_TCP_ESTABLISHED, NAT_TIMEOUT_TCP);
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, FIN | ACK));
	assert_state(&rig, NAT_TCP_FIN, NAT_TIMEOUT_TCP_TRANSITORY);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, FIN | ACK));
	assert_state(&rig, NAT_TCP_CLOSED, NAT_TIMEOUT_TCP_TRANSITORY);
	/* The last acknowledgement still passes, and the port may be used for the next one. */
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, ACK));
	/* So does the reset that answers a late segment, and it stays closed. */
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, RST));
	assert_state(&rig, NAT_TCP_CLOSED, NAT_TIMEOUT_TCP_TRANSITORY);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, SYN));
	assert_state(&rig, NAT_TCP_SYN, NAT_TIMEOUT_TCP_TRANSITORY);
	rig_close(&rig);
}

static void test_simultaneous_open(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, SYN));
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, SYN));
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, SYN | ACK));
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, SYN | ACK));
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, ACK));
	assert_state(&rig, NAT_TCP_ESTABLISHED, NAT_TIMEOUT_TCP);
	rig_close(&rig);
}

static void test_filtering(void **state)
{
	static const struct {
		enum nat_filtering filtering;
		bool other_port, other_address;
	} rows[] = {
		{ NAT_FILTER_ADDRESS_AND_PORT, false, false },
		{ NAT_FILTER_ADDRESS, true, false },
		{ NAT_FILTER_ENDPOINT_INDEPENDENT, true, true },
	};

	for (int i = 0; i < 3; i++) {
		struct rig rig;

		rig_init(&rig);
		rig.config.filtering = rows[i].filtering;
		rig_open(&rig);
		rig_connect(&rig, A, 5000, X);
		assert_int_equal(rig_tcp_in(&rig, X, 81, 5000, SYN) == NAT_TRANSLATED,
				 rows[i].other_port);
		assert_int_equal(rig_tcp_in(&rig, Y, 81, 5000, SYN) == NAT_TRANSLATED,
				 rows[i].other_address);
		/* Only a SYN begins anything. */
		assert_int_equal(rig_tcp_in(&rig, X, 82, 5000, ACK), NAT_DROP);
		rig_close(&rig);
	}
}

/* It is dropped and never answered, so an outbound SYN within six seconds, or later, goes out as if
 * it had not been. */
static void test_unsolicited_syn(void **state)
{
	struct rig rig;
	struct wire wire;

	rig_init(&rig);
	rig_open(&rig);
	assert_dropped(&rig, rig_tcp_in(&rig, X, 80, 5000, SYN), DROP_NAT_FILTERED);
	assert_int_equal(rig_sessions(&rig), 0);
	rig.now += 3;
	wire_tcp(&wire, A, 5000, X, 80, SYN);
	assert_translated(rig_out(&rig, &wire));
	assert_from(&wire, OUTSIDE, 5000);
	assert_dropped(&rig, rig_tcp_in(&rig, Y, 80, 5000, SYN), DROP_NAT_FILTERED);
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, SYN));
	rig_close(&rig);
}

static void test_timers(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_true(NAT_TIMEOUT_TCP >= 7440 && NAT_TIMEOUT_TCP_TRANSITORY >= 240);
	rig_connect(&rig, A, 5000, X);
	rig.now += NAT_TIMEOUT_TCP - 1;
	nat_tick(rig.nat, rig.now);
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, ACK));
	rig.now += NAT_TIMEOUT_TCP - 1;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 1);
	rig.now += 1;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 0);
	assert_dropped(&rig, rig_tcp_out(&rig, A, 5000, X, 80, ACK), DROP_NAT_TCP_STATE);
	assert_translated(rig_tcp_out(&rig, A, 5001, X, 80, SYN));
	rig.now += NAT_TIMEOUT_TCP_TRANSITORY - 1;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 1);
	rig.now += 1;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

/* A reset is passed on and the session kept for four minutes; if nobody believed it, traffic brings
 * the session back. */
static void test_reset(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	rig_connect(&rig, A, 5000, X);
	rig.now += 1000;
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, RST));
	assert_state(&rig, NAT_TCP_RESET, NAT_TIMEOUT_TCP_TRANSITORY);
	rig.now += 100;
	/* Another one does not renew it, from either side. */
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, RST));
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, RST | ACK));
	assert_state(&rig, NAT_TCP_RESET, NAT_TIMEOUT_TCP_TRANSITORY - 100);
	assert_translated(rig_tcp_out(&rig, A, 5000, X, 80, ACK));
	assert_state(&rig, NAT_TCP_ESTABLISHED, NAT_TIMEOUT_TCP);
	assert_translated(rig_tcp_in(&rig, X, 80, 5000, RST | ACK));
	rig.now += NAT_TIMEOUT_TCP_TRANSITORY;
	nat_tick(rig.nat, rig.now);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

/* No sequence of packets from one side alone makes a session long-lived. */
static void test_one_side_cannot_establish(void **state)
{
	static const uint8_t flags[] = { SYN,	    SYN | ACK, ACK, RST, ACK,
					 FIN | ACK, RST | ACK, SYN, ACK, FIN,
					 ACK,	    SYN | ACK, RST, SYN, ACK };
	struct nat_forward forward = { .protocol = NAT_FORWARD_TCP,
				       .listen_first = 80,
				       .listen_last = 80,
				       .to = ip_of(A),
				       .to_first = 80 };
	struct rig rig;

	rig_init(&rig);
	rig.config.forwards = &forward;
	rig.config.forward_count = 1;
	rig_open(&rig);
	for (uint32_t i = 0; i < sizeof(flags); i++) {
		assert_translated(rig_tcp_in(&rig, X, 1234, 80, flags[i]));
		assert_true(rig_session(&rig, 80).left <= NAT_TIMEOUT_TCP_TRANSITORY);
		assert_translated(rig_tcp_out(&rig, B, 5000, X, 80, flags[i]));
		assert_true(rig_session(&rig, 5000).left <= NAT_TIMEOUT_TCP_TRANSITORY);
	}
	nat_flush(rig.nat, NULL);
	/* A SYN that the guest answers, and no more: still half-open. */
	assert_translated(rig_tcp_in(&rig, X, 1235, 80, SYN));
	assert_translated(rig_tcp_out(&rig, A, 80, X, 1235, SYN | ACK));
	assert_state(&rig, NAT_TCP_SYN_BOTH, NAT_TIMEOUT_TCP_TRANSITORY);
	assert_translated(rig_tcp_in(&rig, X, 1235, 80, ACK));
	assert_state(&rig, NAT_TCP_ESTABLISHED, NAT_TIMEOUT_TCP);
	rig_close(&rig);
}

static void test_only_syn_opens(void **state)
{
	static const uint8_t flags[] = { ACK, SYN | ACK, RST, FIN, SYN | RST, SYN | FIN, 0 };
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (uint32_t i = 0; i < sizeof(flags); i++)
		assert_dropped(&rig, rig_tcp_out(&rig, A, 5000, X, 80, flags[i]),
			       DROP_NAT_TCP_STATE);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mapping_is_endpoint_independent),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_simultaneous_open),
		cmocka_unit_test(test_filtering),
		cmocka_unit_test(test_unsolicited_syn),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_one_side_cannot_establish),
		cmocka_unit_test(test_only_syn_opens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
