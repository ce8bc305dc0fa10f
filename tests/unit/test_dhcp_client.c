/* The DHCPv4 client's states (RFC 2131, figure 5): what it sends and when, and which answers it
 * takes. */
#include "tests/unit/dhcp_client_rig.h"

/* RFC 2131, 3.1 and 4.4.1. */
static void discover_to_bound(void **unused)
{
	uint8_t parameters[] = { 1, 121, 3, 6, 15, 26, 42, 51, 58, 59 };
	char name[64];
	const uint8_t *p;
	size_t length;
	uint32_t xid;

	make();
	assert_int_equal(dhcp_client_deadline(client), 5000);
	next_message(DHCP_DISCOVER);
	assert_true(sent_to_all());
	assert_ip(wire_last(&wire)->source, "0.0.0.0");
	assert_int_equal(sent.header.flags, DHCP_FLAG_BROADCAST);
	assert_ip(sent.header.ciaddr, "0.0.0.0");
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, NULL);
	assert_true(dhcp_message_text(&sent, DHCP_OPTION_HOST_NAME, name, sizeof(name)));
	assert_string_equal(name, "weft");
	p = dhcp_message_option(&sent, DHCP_OPTION_CLIENT_ID, &length);
	assert_int_equal(length, 7);
	assert_memory_equal(p + 1, own.bytes, 6);
	p = dhcp_message_option(&sent, DHCP_OPTION_PARAMETERS, &length);
	assert_int_equal(length, sizeof(parameters));
	assert_memory_equal(p, parameters, sizeof(parameters));
	xid = sent.header.xid;
	now += 1000;
	offer();
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REQUESTING);
	assert_int_equal(sent.type, DHCP_REQUEST);
	assert_true(sent_to_all());
	assert_int_equal(sent.header.xid, xid);
	assert_int_equal(sent.header.seconds, 1);
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, "192.0.2.77");
	assert_option_ip(DHCP_OPTION_SERVER_ID, "192.0.2.1");
	assert_ip(sent.header.ciaddr, "0.0.0.0");
	assert_null(dhcp_client_state(client));
	prepare(DHCP_ACK);
	now += 500;
	deliver();
	assert_int_equal(wire.count, 0);
	assert_int_equal(configured, 1);
	assert_ip(state.address.ip, "192.0.2.77");
	assert_int_equal(state.address.length, 96 + 24);
	assert_ip(state.server, "192.0.2.1");
	assert_int_equal(state.lease_time, 3600);
	/* From when it was asked for. */
	assert_int_equal(state.renew_at, 6000 + 1800 * 1000);
	assert_int_equal(state.rebind_at, 6000 + 3150 * 1000);
	assert_int_equal(state.expires_at, 6000 + 3600 * 1000);
	assert_int_equal(dhcp_client_deadline(client), state.renew_at);
	assert_non_null(dhcp_client_state(client));
	assert_int_equal(dhcp_client_counters(client)->received, 2);
	assert_int_equal(dhcp_client_counters(client)->sent, 2);
}

/* RFC 2131, 4.1: 4, 8, 16, 32, 64 seconds, each a second more or less. */
static void backoff(void **unused)
{
	static const uint64_t waits[] = { 4000, 8000, 16000, 32000, 64000, 64000, 64000 };
	uint32_t xid;

	make();
	next_message(DHCP_DISCOVER);
	xid = sent.header.xid;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		uint64_t before = now;

		next_message(DHCP_DISCOVER);
		assert_in_range(now - before, waits[i] - 1000, waits[i] + 1000);
		assert_int_equal(sent.header.xid, xid);
	}
}

/* A server that offers and then is silent: after four requests all over again. */
static void request_unanswered(void **unused)
{
	uint32_t xid;

	make();
	next_message(DHCP_DISCOVER);
	xid = sent.header.xid;
	offer();
	for (unsigned i = 0; i < 3; i++)
		next_message(DHCP_REQUEST);
	next_message(DHCP_DISCOVER);
	assert_int_not_equal(sent.header.xid, xid);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_SELECTING);
}

/* RFC 2131, 3.1, 5 and 4.4.1; waits grow with each refusal in a row. */
static void refused(void **unused)
{
	make();
	next_message(DHCP_DISCOVER);
	for (uint64_t wait = 1000; wait <= 64000; wait *= 2) {
		offer();
		prepare(DHCP_NAK);
		deliver();
		assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_INIT);
		assert_in_range(dhcp_client_deadline(client) - now, wait / 2, wait);
		next_message(DHCP_DISCOVER);
		assert_option_ip(DHCP_OPTION_REQUESTED_IP, NULL);
	}
	assert_int_equal(dhcp_client_counters(client)->refused, 7);
	assert_int_equal(configured + lost, 0);
}

/* RFC 2131, 4.4.5: to the server alone, and nothing is told when nothing changed. */
static void renewal(void **unused)
{
	uint32_t xid;

	make();
	bind();
	xid = sent.header.xid;
	next_message(DHCP_REQUEST);
	assert_int_equal(now, state.renew_at);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_RENEWING);
	assert_int_not_equal(sent.header.xid, xid);
	assert_int_equal(sent.header.flags, 0);
	assert_ip(wire_last(&wire)->destination, "192.0.2.1");
	assert_ip(wire_last(&wire)->source, "192.0.2.77");
	assert_memory_equal(wire_last(&wire)->to.bytes, server_mac.bytes, 6);
	assert_ip(sent.header.ciaddr, "192.0.2.77");
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, NULL);
	assert_option_ip(DHCP_OPTION_SERVER_ID, NULL);
	prepare(DHCP_ACK);
	deliver();
	assert_int_equal(configured, 1);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_BOUND);
	assert_int_equal(dhcp_client_state(client)->expires_at, now + 3600000);
	/* The next one has another mask. */
	next_message(DHCP_REQUEST);
	prepare(DHCP_ACK);
	answer.mask = 0xffff0000;
	deliver();
	assert_int_equal(configured, 2);
	assert_int_equal(state.address.length, 96 + 16);
	assert_int_equal(lost, 0);
}

/* RFC 2131, 4.4.5: half of what is left, never within a minute; then anybody; then it is over. */
static void rebinding_and_expiry(void **unused)
{
	uint64_t before;
	unsigned renews = 1, rebinds = 1;

	make();
	bind();
	next_message(DHCP_REQUEST);
	while (dhcp_client_deadline(client) < state.rebind_at) {
		before = now;
		next_message(DHCP_REQUEST);
		assert_true(now - before >= 60000);
		assert_in_range(now - before, 60000, (state.rebind_at - before) / 2 + 60000);
		renews++;
	}
	assert_in_range(renews, 3, 8);
	next_message(DHCP_REQUEST);
	assert_int_equal(now, state.rebind_at);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REBINDING);
	assert_true(sent_to_all());
	assert_ip(wire_last(&wire)->source, "192.0.2.77");
	assert_ip(sent.header.ciaddr, "192.0.2.77");
	while (dhcp_client_deadline(client) < state.expires_at) {
		next_message(DHCP_REQUEST);
		rebinds++;
	}
	assert_in_range(rebinds, 2, 8);
	assert_int_equal(lost, 0);
	next_message(DHCP_DISCOVER);
	assert_int_equal(now, state.expires_at);
	assert_int_equal(lost, 1);
	assert_null(dhcp_client_state(client));
	assert_int_equal(dhcp_client_counters(client)->lost, 1);
}

/* Another server takes us over, with another address refused first. */
static void rebound_elsewhere(void **unused)
{
	make();
	bind();
	now = state.rebind_at;
	dhcp_client_tick(client, now);
	read_sent();
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REBINDING);
	prepare(DHCP_ACK);
	answer.server = "192.0.2.2";
	answer.address = "192.0.2.78"; /* not what was asked for */
	deliver();
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REBINDING);
	assert_int_equal(dhcp_client_counters(client)->malformed, 1);
	answer.address = "192.0.2.77";
	deliver();
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_BOUND);
	assert_ip(dhcp_client_state(client)->server, "192.0.2.2");
}

/* A change of address: refused when it asks to go on, then another. */
static void address_changes(void **unused)
{
	make();
	bind();
	next_message(DHCP_REQUEST);
	prepare(DHCP_NAK);
	deliver();
	assert_int_equal(lost, 1);
	next_message(DHCP_DISCOVER);
	prepare(DHCP_OFFER);
	answer.address = "192.0.2.99";
	deliver();
	read_sent();
	prepare(DHCP_ACK);
	answer.address = "192.0.2.99";
	deliver();
	assert_int_equal(configured, 2);
	assert_ip(state.address.ip, "192.0.2.99");
}

/* RFC 2131, 3.2 and 4.4.2. */
static void reboot(void **unused)
{
	settings.remembered = wire_address("192.0.2.77");
	make();
	next_message(DHCP_REQUEST);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REBOOTING);
	assert_true(sent_to_all());
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, "192.0.2.77");
	assert_option_ip(DHCP_OPTION_SERVER_ID, NULL);
	assert_ip(sent.header.ciaddr, "0.0.0.0");
	prepare(DHCP_ACK);
	deliver();
	assert_int_equal(configured, 1);
	assert_ip(state.address.ip, "192.0.2.77");
}

static void reboot_refused_or_silent(void **unused)
{
	settings.remembered = wire_address("192.0.2.77");
	make();
	next_message(DHCP_REQUEST);
	prepare(DHCP_NAK);
	deliver();
	next_message(DHCP_DISCOVER);
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, NULL);
	dhcp_client_destroy(client);
	make();
	next_message(DHCP_REQUEST);
	next_message(DHCP_REQUEST);
	next_message(DHCP_DISCOVER);
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, "192.0.2.77");
	assert_int_equal(lost, 0);
}

/* The link comes back: the address stays unless somebody says no. */
static void link_returns(void **unused)
{
	make();
	bind();
	now += 10000;
	dhcp_client_restart(client, now);
	next_message(DHCP_REQUEST);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REBOOTING);
	next_message(DHCP_REQUEST);
	now = dhcp_client_deadline(client);
	dhcp_client_tick(client, now);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_BOUND);
	assert_int_equal(dhcp_client_deadline(client), state.renew_at);
	dhcp_client_restart(client, now);
	next_message(DHCP_REQUEST);
	prepare(DHCP_NAK);
	deliver();
	assert_int_equal(lost, 1);
}

/* RFC 2131, 3.1, 5: a conflict is told to the server, and tried again after ten seconds. */
static void conflict(void **unused)
{
	make();
	dhcp_client_conflict(client, now);
	assert_int_equal(wire.count, 0);
	bind();
	dhcp_client_conflict(client, now);
	read_sent();
	assert_int_equal(sent.type, DHCP_DECLINE);
	assert_true(sent_to_all());
	assert_ip(wire_last(&wire)->source, "0.0.0.0");
	assert_ip(sent.header.ciaddr, "0.0.0.0");
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, "192.0.2.77");
	assert_option_ip(DHCP_OPTION_SERVER_ID, "192.0.2.1");
	assert_int_equal(lost, 1);
	assert_int_equal(dhcp_client_deadline(client), now + 10000);
	next_message(DHCP_DISCOVER);
	assert_option_ip(DHCP_OPTION_REQUESTED_IP, NULL);
	assert_int_equal(dhcp_client_counters(client)->conflicts, 1);
}

/* RFC 2131, 4.4.6. */
static void release(void **unused)
{
	make();
	bind();
	dhcp_client_release(client, now);
	read_sent();
	assert_int_equal(sent.type, DHCP_RELEASE);
	assert_ip(wire_last(&wire)->destination, "192.0.2.1");
	assert_ip(sent.header.ciaddr, "192.0.2.77");
	assert_option_ip(DHCP_OPTION_SERVER_ID, "192.0.2.1");
	assert_int_equal(lost, 1);
	assert_true(dhcp_client_deadline(client) == UINT64_MAX);
	wire_clear(&wire);
	dhcp_client_tick(client, now + 1000000);
	assert_int_equal(wire.count, 0);
	dhcp_client_restart(client, now);
	next_message(DHCP_DISCOVER);
}

/* What is not an answer to what we asked changes nothing. */
static void not_ours(void **unused)
{
	const struct dhcp_client_counters *counters;
	struct dhcp_client_state before;

	make();
	counters = dhcp_client_counters(client);
	next_message(DHCP_DISCOVER);
	prepare(DHCP_OFFER);
	answer.xid ^= 1;
	deliver();
	prepare(DHCP_OFFER);
	answer.chaddr.bytes[5] ^= 1;
	deliver();
	prepare(DHCP_OFFER);
	answer.op = DHCP_BOOTREQUEST;
	deliver();
	prepare(DHCP_OFFER);
	answer.server = NULL;
	deliver();
	prepare(DHCP_ACK); /* nobody asked for it */
	deliver();
	prepare(DHCP_NAK);
	deliver();
	assert_int_equal(counters->ignored, 6);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_SELECTING);
	offer();
	prepare(DHCP_ACK);
	answer.server = "192.0.2.2";
	deliver();
	prepare(DHCP_NAK);
	answer.server = "192.0.2.2";
	deliver();
	prepare(DHCP_OFFER);
	deliver();
	assert_int_equal(counters->ignored, 9);
	assert_int_equal(dhcp_client_phase(client), DHCP_CLIENT_REQUESTING);
	prepare(DHCP_ACK);
	deliver();
	before = *dhcp_client_state(client);
	prepare(DHCP_NAK);
	deliver();
	deliver();
	assert_int_equal(counters->ignored, 11);
	assert_int_equal(lost, 0);
	assert_memory_equal(&before, dhcp_client_state(client), sizeof(before));
}

/* Bytes that are no message, and packets that are nothing of ours. */
static void garbage(void **unused)
{
	struct packet_header to = { .from = server_mac,
				    .to = own,
				    .source = wire_address("192.0.2.1"),
				    .destination = ip_from_v4(UINT32_MAX),
				    .source_port = 67,
				    .destination_port = 68 };
	uint8_t bytes[300] = { 2, 1, 6 };

	make();
	next_message(DHCP_DISCOVER);
	for (size_t length = 0; length < sizeof(bytes); length += 13)
		dhcp_client_input(client, wire_udp(&wire, &to, bytes, length), now);
	assert_int_equal(dhcp_client_counters(client)->malformed, 24);
	to.source_port = 69;
	dhcp_client_input(client, wire_udp(&wire, &to, bytes, 100), now);
	to.source_port = 67;
	to.destination_port = 69;
	dhcp_client_input(client, wire_udp(&wire, &to, bytes, 100), now);
	assert_int_equal(dhcp_client_counters(client)->malformed, 24);
	dhcp_client_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(discover_to_bound),
		TEST(backoff),
		TEST(request_unanswered),
		TEST(refused),
		TEST(renewal),
		TEST(rebinding_and_expiry),
		TEST(rebound_elsewhere),
		TEST(address_changes),
		TEST(reboot),
		TEST(reboot_refused_or_silent),
		TEST(link_returns),
		TEST(conflict),
		TEST(release),
		TEST(not_ours),
		TEST(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
