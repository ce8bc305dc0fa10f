/* Who a DHCP client is: identifiers, machines that move, reservations, names. */
#include "tests/unit/dhcp_rig.h"

#define OPTION(writer, code, text) dhcp_write_option(writer, code, text, sizeof(text) - 1)

static const char *host_of(const struct rig *rig, struct ip ip)
{
	const struct lease *lease = lease_find_ip(rig->leases, &ip);

	assert_non_null(lease);
	assert_int_equal(lease->state, LEASE_BOUND);
	return lease->host;
}

/* A DISCOVER with option 61; returns the address offered. */
static struct ip discover_as(struct rig *rig, unsigned n, uint16_t port, const void *id,
			     size_t length)
{
	struct dhcp_message message;
	const uint8_t *echo;
	size_t echoed;

	rig_begin(rig, n);
	rig->port = port;
	rig_write(rig, DHCP_DISCOVER);
	assert_true(dhcp_write_option(&rig->writer, DHCP_OPTION_CLIENT_ID, id, length));
	rig_expect(rig, DHCP_OFFER, &message);
	/* RFC 6842: it comes back as it was. */
	echo = dhcp_message_option(&message, DHCP_OPTION_CLIENT_ID, &echoed);
	assert_non_null(echo);
	assert_int_equal(echoed, length);
	assert_memory_equal(echo, id, length);
	return message.header.yiaddr;
}

/* RFC 2131, 2 and 4.2: the identifier, if there is one, else the hardware address. */
static void test_client_identifier(void **state)
{
	struct rig *rig = rig_new();
	uint8_t long_id[200];
	struct ip a, b, c;

	rig_start(rig, NULL);
	a = discover_as(rig, 1, 1, "\0one", 4);
	b = discover_as(rig, 1, 1, "\0two", 4);
	assert_false(ip_equal(&a, &b));
	c = discover_as(rig, 2, 1, "\0one", 4); /* another card */
	assert_true(ip_equal(&a, &c));
	c = rig_discover(rig, 1);
	assert_false(ip_equal(&a, &c));
	assert_false(ip_equal(&b, &c));
	/* The card's address as identifier is the same as none. */
	a = discover_as(rig, 1, 1, "\1\x52\x54\0\0\0\1", 7);
	assert_true(ip_equal(&a, &c));
	/* One too short or long counts as none. */
	a = discover_as(rig, 1, 1, "x", 1);
	assert_true(ip_equal(&a, &c));
	memset(long_id, 7, sizeof(long_id));
	a = discover_as(rig, 1, 1, long_id, sizeof(long_id));
	assert_true(ip_equal(&a, &c));
	a = discover_as(rig, 1, 1, long_id, DHCP_CLIENT_MAX);
	assert_false(ip_equal(&a, &c));
	rig_free(rig);
}

/* RFC 6842 in ACK and NAK too. */
static void test_identifier_is_echoed(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip;

	rig_start(rig, NULL);
	ip = discover_as(rig, 1, 1, "\0one", 4);
	rig_select(rig, 1, ip);
	OPTION(&rig->writer, DHCP_OPTION_CLIENT_ID, "\0one");
	rig_expect(rig, DHCP_ACK, &message);
	assert_true(message.present[DHCP_OPTION_CLIENT_ID]);
	rig_select(rig, 2, ip);
	OPTION(&rig->writer, DHCP_OPTION_CLIENT_ID, "\0two");
	rig_expect(rig, DHCP_NAK, &message);
	assert_true(message.present[DHCP_OPTION_CLIENT_ID]);
	rig_free(rig);
}

/* A guest that calls itself by another's identifier gets an address of its own, and can neither
 * take, decline nor release the other's. */
static void test_identifier_of_another_port(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip victim, thief;

	rig_start(rig, NULL);
	victim = rig_lease(rig, 1);
	thief = discover_as(rig, 2, 2, "\1\x52\x54\0\0\0\1", 7);
	assert_false(ip_equal(&victim, &thief));
	rig_renew(rig, 2, victim);
	OPTION(&rig->writer, DHCP_OPTION_CLIENT_ID, "\1\x52\x54\0\0\0\1");
	rig_expect(rig, DHCP_NAK, &message);
	rig_give_up(rig, 2, DHCP_RELEASE, victim);
	OPTION(&rig->writer, DHCP_OPTION_CLIENT_ID, "\1\x52\x54\0\0\0\1");
	rig_send(rig);
	rig_give_up(rig, 2, DHCP_DECLINE, victim);
	OPTION(&rig->writer, DHCP_OPTION_CLIENT_ID, "\1\x52\x54\0\0\0\1");
	rig_send(rig);
	host_of(rig, victim); /* bound still */
	assert_int_equal(lease_find_ip(rig->leases, &victim)->mac.bytes[5], 1);
	/* When the port is not known, as after a restart, nobody else may have it either. */
	lease_forget_port(rig->leases, 1);
	thief = discover_as(rig, 2, 2, "\1\x52\x54\0\0\0\1", 7);
	assert_false(ip_equal(&victim, &thief));
	host_of(rig, victim);
	rig_renew(rig, 1, victim);
	rig->port = 3;
	rig_expect(rig, DHCP_ACK, &message);
	assert_int_equal(lease_find_ip(rig->leases, &victim)->port, 3);
	rig_free(rig);
}

/* Who names a victim's identifier before the victim does keeps it from nothing. */
static void test_identifier_taken_before(void **state)
{
	struct rig *rig = rig_new();
	struct ip thief, victim;

	rig_start(rig, NULL);
	thief = discover_as(rig, 2, 2, "\1\x52\x54\0\0\0\1", 7);
	victim = rig_lease(rig, 1);
	assert_false(ip_equal(&victim, &thief));
	thief = discover_as(rig, 2, 2, "a name", 6);
	victim = discover_as(rig, 1, 1, "a name", 6);
	assert_false(ip_equal(&victim, &thief));
	rig_free(rig);
}

/* A machine that is plugged in elsewhere, by its hardware address, or with another card. */
static void test_machine_moves(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip first, again;

	rig->hosts[0] = (struct dhcp_host){ .name = "db",
					    .client_length = 2,
					    .client = "db",
					    .has_ip4 = true,
					    .ip4 = rig_ip("10.0.0.50") };
	rig->config.host_count = 1;
	rig_start(rig, NULL);
	first = rig_lease(rig, 1);
	again = discover_as(rig, 1, 2, "\1\x52\x54\0\0\0\1", 7);
	assert_true(ip_equal(&first, &again));
	rig_select(rig, 1, again);
	rig->port = 2;
	rig_expect(rig, DHCP_ACK, &message);
	assert_int_equal(lease_find_ip(rig->leases, &first)->port, 2);
	/* On the same port the identifier stands for the machine, and so it does for an address
	 * that is reserved for it when its port has gone. */
	first = discover_as(rig, 3, 3, "box", 3);
	again = discover_as(rig, 4, 3, "box", 3);
	assert_true(ip_equal(&first, &again));
	first = discover_as(rig, 5, 5, "db", 2);
	assert_ip(&first, "10.0.0.50");
	again = discover_as(rig, 6, 6, "db", 2);
	assert_false(ip_equal(&first, &again));
	lease_forget_port(rig->leases, 5);
	again = discover_as(rig, 7, 7, "db", 2);
	assert_true(ip_equal(&first, &again));
	rig_free(rig);
}

static void test_hardware_address_is_the_senders(void **state)
{
	struct rig *rig = rig_new();

	rig_start(rig, NULL);
	rig_begin(rig, 1);
	rig->from = rig_mac(2);
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_SPOOFED), 1);
	rig_begin(rig, 1);
	rig->header.chaddr.bytes[0] |= 1;
	rig->from = rig->header.chaddr;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_begin(rig, 1);
	memset(&rig->header.chaddr, 0, sizeof(rig->header.chaddr));
	rig->from = rig->header.chaddr;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 2);
	rig_silent(rig);
	rig_free(rig);
}

/* What no client of this link sends. */
static void test_other_messages(void **state)
{
	static const enum dhcp_type types[] = { DHCP_OFFER, DHCP_ACK, DHCP_NAK };
	struct rig *rig = rig_new();
	uint8_t junk[300] = { 1 };

	rig_start(rig, NULL);
	for (unsigned i = 0; i < 3; i++) {
		rig_begin(rig, 1);
		rig_write(rig, types[i]);
		rig_send(rig);
	}
	rig_begin(rig, 1);
	rig->header.op = DHCP_BOOTREPLY;
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_FOREIGN), 4);
	rig_begin(rig, 1);
	rig->header.giaddr = rig_ip("10.9.0.1");
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_RELAYED), 1);
	rig_begin(rig, 1);
	rig_write(rig, DHCP_BOOTP);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_BOOTP), 1);
	rig_deliver(rig, junk, sizeof(junk));
	rig_deliver(rig, junk, 0);
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 2);
	/* To another server's address: not looked at. */
	rig_begin(rig, 1);
	rig->destination = rig_ip("10.0.0.2");
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	assert_int_equal(rig_count(rig, DHCP_COUNT_DISCOVER), 0);
	rig->destination = rig_ip("10.0.0.255");
	rig_deliver(rig, junk, sizeof(junk));
	assert_int_equal(rig_count(rig, DHCP_COUNT_MALFORMED), 3);
	rig_silent(rig);
	assert_int_equal(lease_table_count(rig->leases), 0);
	for (unsigned i = 0; i < DHCP_COUNTER_COUNT; i++)
		assert_non_null(dhcp_counter_table[i].name);
	rig_free(rig);
}

static void reserve(struct rig *rig)
{
	rig->hosts[0] = (struct dhcp_host){ .name = "Web",
					    .has_mac = true,
					    .mac = rig_mac(1),
					    .has_ip4 = true,
					    .ip4 = rig_ip("10.0.0.10") };
	rig->hosts[1] = (struct dhcp_host){ .name = "db",
					    .client_length = 4,
					    .client = "\0abc",
					    .has_ip4 = true,
					    .ip4 = rig_ip("10.0.0.101") };
	rig->hosts[2] =
	    (struct dhcp_host){ .name = "mail", .has_ip4 = true, .ip4 = rig_ip("10.0.0.12") };
	rig->hosts[3] = (struct dhcp_host){ .name = "named", .has_mac = true, .mac = rig_mac(4) };
	rig->config.host_count = 4;
}

static void test_reservations(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip ip;

	reserve(rig);
	rig_start(rig, NULL);
	ip = rig_lease(rig, 1);
	assert_ip(&ip, "10.0.0.10");
	assert_string_equal(host_of(rig, ip), "web");
	assert_true(lease_find_ip(rig->leases, &ip)->reserved);
	ip = discover_as(rig, 2, 2, "\0abc", 4);
	assert_ip(&ip, "10.0.0.101");
	/* RFC 4361: the same DUID in a node's identifier. */
	assert_int_equal(lease_remove(rig->leases, &ip), 0);
	ip = discover_as(rig, 2, 2, "\xff\1\2\3\4\0abc", 9);
	assert_ip(&ip, "10.0.0.101");
	rig_begin(rig, 3);
	rig_write(rig, DHCP_DISCOVER);
	OPTION(&rig->writer, DHCP_OPTION_HOST_NAME, "MAIL.example");
	rig_expect(rig, DHCP_OFFER, &message);
	assert_ip(&message.header.yiaddr, "10.0.0.12");
	/* A reservation of a name alone. */
	ip = rig_lease(rig, 4);
	assert_true(ip_to_v4(&ip) >= 0x0a000064);
	assert_string_equal(host_of(rig, ip), "named");
	assert_false(lease_find_ip(rig->leases, &ip)->reserved);
	/* Nobody else gets a reserved address, by whatever way. */
	for (unsigned n = 10; n < 18; n++) {
		rig_begin(rig, n);
		rig_write(rig, DHCP_DISCOVER);
		dhcp_write_ip(&rig->writer, DHCP_OPTION_REQUESTED_IP, &rig->hosts[1].ip4);
		rig_expect(rig, DHCP_OFFER, &message);
		assert_false(ip_equal(&message.header.yiaddr, &rig->hosts[1].ip4));
	}
	rig_begin(rig, 18); /* 9 of 10 are out, one is reserved */
	rig_write(rig, DHCP_DISCOVER);
	rig_send(rig);
	rig_silent(rig);
	rig_renew(rig, 19, rig->hosts[2].ip4);
	rig_expect(rig, DHCP_NAK, &message);
	rig_free(rig);
}

/* A reservation that is made while its client has another address, or others have it. */
static void test_reservation_made_later(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct ip mine, other, other_now;

	rig_start(rig, NULL);
	mine = rig_lease(rig, 1);
	other = rig_lease(rig, 2);
	reserve(rig);
	rig->hosts[0].ip4 = other;
	rig_start(rig, NULL);
	/* While another has it the client keeps what it has; the other is turned away. */
	rig_renew(rig, 1, mine);
	rig_expect(rig, DHCP_ACK, &message);
	rig_renew(rig, 2, other);
	rig_expect(rig, DHCP_NAK, &message);
	other_now = rig_lease(rig, 2);
	assert_false(ip_equal(&other_now, &other));
	rig_renew(rig, 1, mine);
	rig_expect(rig, DHCP_NAK, &message);
	mine = rig_lease(rig, 1);
	assert_true(ip_equal(&mine, &other));
	assert_int_equal(lease_table_count(rig->leases), 2);
	/* The machine's next system, with an identifier: the reserved address by its MAC. */
	mine = discover_as(rig, 1, 1, "\0new", 4);
	assert_true(ip_equal(&mine, &other));
	/* Wherever it is plugged in: whose MAC it is, the guard sees to. */
	mine = discover_as(rig, 1, 2, "\0new", 4);
	assert_true(ip_equal(&mine, &other));
	rig_free(rig);
}

/* The name that a client gives itself; what it is registered as. */
static void test_host_names(void **state)
{
	static const struct {
		const char *sent, *registered;
	} cases[] = {
		{ "alpha", "alpha" },
		{ "Alpha-2", "alpha-2" },
		{ "a.b.c", "a" },
		{ "my_pc one", "my-pc-one" },
		{ "-a", "" },
		{ "a-", "" },
		{ "a/b", "" },
		{ "a\x01", "" },
		{ "\xc3\xa4", "" },
		{ ".", "" },
		{ "localhost", "" },
		{ "WPAD", "" },
		{ "x-------------------------------------------------------------x",
		  "x-------------------------------------------------------------x" },
		{ "x--------------------------------------------------------------x", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_new();
		struct dhcp_message message;
		struct ip ip;

		rig_start(rig, NULL);
		ip = rig_discover(rig, 1);
		rig_select(rig, 1, ip);
		dhcp_write_text(&rig->writer, DHCP_OPTION_HOST_NAME, cases[i].sent);
		rig_expect(rig, DHCP_ACK, &message);
		assert_string_equal(host_of(rig, ip), cases[i].registered);
		/* A renewal need not say it again. */
		rig_renew(rig, 1, ip);
		rig_expect(rig, DHCP_ACK, &message);
		assert_string_equal(host_of(rig, ip), cases[i].registered);
		rig_free(rig);
	}
}

static struct ip lease_named(struct rig *rig, unsigned n, const char *name)
{
	struct dhcp_message message;
	struct ip ip = rig_discover(rig, n);

	rig_select(rig, n, ip);
	dhcp_write_text(&rig->writer, DHCP_OPTION_HOST_NAME, name);
	rig_expect(rig, DHCP_ACK, &message);
	return ip;
}

static void test_names_are_unique(void **state)
{
	struct rig *rig = rig_new();
	struct dhcp_message message;
	struct lease six = { .ip = rig_ip("fd00::1"),
			     .mac = rig_mac(9),
			     .state = LEASE_BOUND,
			     .host = "nine",
			     .expires = LEASE_FOREVER };
	struct ip one, two;

	reserve(rig);
	rig_start(rig, NULL);
	assert_int_equal(lease_put(rig->leases, &six), 0);
	one = lease_named(rig, 5, "same");
	two = lease_named(rig, 6, "SAME");
	assert_string_equal(host_of(rig, one), "same");
	assert_string_equal(host_of(rig, two), "");
	assert_int_equal(rig_count(rig, DHCP_COUNT_NAME_CONFLICT), 1);
	assert_string_equal(host_of(rig, lease_named(rig, 7, "web")), ""); /* reserved */
	assert_string_equal(host_of(rig, lease_named(rig, 8, "nine")), "");
	assert_string_equal(host_of(rig, lease_named(rig, 9, "nine")), "nine"); /* its own */
	/* Free again when its owner leaves. */
	rig_give_up(rig, 5, DHCP_RELEASE, one);
	rig_send(rig);
	rig_renew(rig, 6, two);
	dhcp_write_text(&rig->writer, DHCP_OPTION_HOST_NAME, "same");
	rig_expect(rig, DHCP_ACK, &message);
	assert_string_equal(host_of(rig, two), "same");
	rig_free(rig);
}

/* RFC 4702: whatever the client wants to do itself, names are ours to register. */
static void test_fqdn(void **state)
{
	static const struct {
		const char *sent;
		size_t length;
		const char *answer;
		size_t answer_length;
		const char *registered;
	} cases[] = {
#define CASE(sent, answer, registered)                                                             \
	{ sent, sizeof(sent) - 1, answer, sizeof(answer) - 1, registered }
		CASE("\0\0\0pc.else.where", "\x03\xff\xffpc.lab.internal", "pc"),
		CASE("\1\0\0PC", "\x01\xff\xffpc.lab.internal", "pc"),
		CASE("\x05\0\0\2pc", "\x05\xff\xff\2pc\3lab\x08internal\0", "pc"),
		CASE("\x04\0\0\2pc\4else\0", "\x07\xff\xff\2pc\3lab\x08internal\0", "pc"),
		CASE("\x08\0\0pc", "\x08\xff\xff", ""),
		CASE("\x05\0\0\x3fpc", "\x05\xff\xff\6option\3lab\x08internal\0", "option"),
		CASE("\1\0\0", "\1\xff\xffoption.lab.internal", "option"),
		CASE("\1\0\0p!c", "\x08\xff\xff", ""),
#undef CASE
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_new();
		struct dhcp_message message;
		const uint8_t *answer;
		struct ip ip;
		size_t length;

		rig_start(rig, NULL);
		ip = rig_discover(rig, 1);
		rig_select(rig, 1, ip);
		OPTION(&rig->writer, DHCP_OPTION_HOST_NAME, "option");
		dhcp_write_option(&rig->writer, DHCP_OPTION_FQDN, cases[i].sent, cases[i].length);
		rig_expect(rig, DHCP_ACK, &message);
		assert_string_equal(host_of(rig, ip), cases[i].registered);
		answer = dhcp_message_option(&message, DHCP_OPTION_FQDN, &length);
		assert_non_null(answer);
		assert_int_equal(length, cases[i].answer_length);
		assert_memory_equal(answer, cases[i].answer, length);
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_identifier),
		cmocka_unit_test(test_identifier_is_echoed),
		cmocka_unit_test(test_identifier_of_another_port),
		cmocka_unit_test(test_identifier_taken_before),
		cmocka_unit_test(test_machine_moves),
		cmocka_unit_test(test_hardware_address_is_the_senders),
		cmocka_unit_test(test_other_messages),
		cmocka_unit_test(test_reservations),
		cmocka_unit_test(test_reservation_made_later),
		cmocka_unit_test(test_host_names),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_fqdn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
