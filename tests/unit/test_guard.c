/* The guard of a port (route/guard.h): what a guest may send, and what not. Each row is a frame
 * and its verdict, for a guest with a MAC, an IPv4 and an IPv6 address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/packet.h"
#include "base/parse.h"
#include "route/guard.h"

#include <netinet/in.h>

static const struct mac guest_mac = { { 0x52, 0x54, 0, 0, 0, 1 } };
static const struct mac other_mac = { { 0x52, 0x54, 0, 0, 0, 2 } };

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static struct guard make_guard(void)
{
	struct guard guard = { .has_mac = true, .settled = true, .mac = guest_mac };

	guard.ips[guard.count++] = ip_of("10.0.0.10");
	guard.ips[guard.count++] = ip_of("fd00::10");
	guard.gateway[guard.gateway_count++] = ip_of("10.0.0.1");
	guard.gateway[guard.gateway_count++] = ip_of("fd00::1");
	guard.gateway[guard.gateway_count++] = ip_of("fe80::1");
	guard.ips[guard.count++] = ip_of("fe80::77");
	assert_int_equal(ip_prefix_from_text("fd00::/64", &guard.prefixes[guard.prefix_count++]),
			 0);
	assert_int_equal(ip_prefix_from_text("fe80::/64", &guard.prefixes[guard.prefix_count++]),
			 0);
	return guard;
}

struct check {
	enum guard_verdict verdict;
	enum drop_reason reason;
};

static struct check check_bytes(const struct guard *guard, const uint8_t *bytes, size_t length)
{
	uint8_t head[FRAME_SLOT];
	struct frame frame = { .head = head + FRAME_HEADROOM, .length = (uint32_t)length };
	struct check check = { .reason = DROP_COUNT };

	frame.head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	memcpy(frame.head, bytes, frame.head_length);
	check.verdict = guard_check(guard, &frame, &check.reason);
	return check;
}

static struct check check_ip(struct mac from, const char *source, const char *destination,
			     uint8_t protocol, const void *payload, size_t length)
{
	struct guard guard = make_guard();
	struct packet_header header = { .from = from,
					.to = other_mac,
					.source = ip_of(source),
					.destination = ip_of(destination),
					.protocol = protocol };
	uint8_t bytes[1500];
	size_t size = packet_write_ip(&header, payload, length, bytes, sizeof(bytes));

	assert_true(size > 0);
	return check_bytes(&guard, bytes, size);
}

static struct check check_udp(const char *source, const char *destination, uint16_t from,
			      uint16_t to)
{
	uint8_t udp[16] = { 0 };

	write_be16(udp, from);
	write_be16(udp + 2, to);
	write_be16(udp + 4, sizeof(udp));
	return check_ip(guest_mac, source, destination, IPPROTO_UDP, udp, sizeof(udp));
}

/* An ICMPv6 message of a type about a target. */
static struct check check_nd(const char *source, const char *destination, uint8_t type,
			     const char *target)
{
	uint8_t message[24] = { type };
	struct ip ip = ip_of(target);

	memcpy(message + 8, ip.bytes, sizeof(ip.bytes));
	return check_ip(guest_mac, source, destination, IPPROTO_ICMPV6, message, sizeof(message));
}

#define assert_pass(check) assert_int_equal((check).verdict, GUARD_PASS)
#define assert_ask(check)  assert_int_equal((check).verdict, GUARD_ASK)
#define assert_drop(done, why)                                                                     \
	do {                                                                                       \
		struct check result = (done);                                                      \
                                                                                                   \
		assert_int_equal(result.verdict, GUARD_DROP);                                      \
		assert_int_equal(result.reason, why);                                              \
	} while (0)

static void test_source_address(void **state)
{
	assert_pass(check_udp("10.0.0.10", "10.0.0.99", 1000, 2000));
	assert_drop(check_udp("10.0.0.11", "10.0.0.99", 1000, 2000), DROP_SPOOFED_ADDRESS);
	assert_drop(check_udp("10.0.0.1", "10.0.0.99", 1000, 2000), DROP_SPOOFED_SERVER);
	assert_drop(check_udp("8.8.8.8", "10.0.0.99", 1000, 2000), DROP_SPOOFED_ADDRESS);
	assert_pass(check_udp("fd00::10", "fd00::1", 1000, 2000));
	assert_drop(check_udp("fd00::1", "fd00::99", 1000, 2000), DROP_SPOOFED_SERVER);
	assert_drop(check_udp("2001:db8::1", "fd00::1", 1000, 2000), DROP_SPOOFED_ADDRESS);
	/* In a prefix where guests make their own addresses, control decides. */
	assert_ask(check_udp("fd00::77", "fd00::1", 1000, 2000));
	assert_ask(check_udp("fe80::78", "fe80::1", 1000, 2000));
	assert_drop(check_udp("fe80:1::77", "fe80::1", 1000, 2000), DROP_SPOOFED_ADDRESS);
	assert_pass(check_udp("fe80::77", "fe80::1", 1000, 2000));
	assert_drop(check_udp("fe80::1", "fe80::2", 1000, 2000), DROP_SPOOFED_SERVER);
}

/* In an IPv6 header an IPv4 address means nothing, and certainly not the guest's own. */
static void test_mapped_source(void **state)
{
	struct guard guard = make_guard();
	struct packet_header header = { .from = guest_mac,
					.to = other_mac,
					.source = ip_of("fd00::10"),
					.destination = ip_of("fd00::1"),
					.protocol = 59 };
	struct ip mapped = ip_of("10.0.0.10");
	uint8_t bytes[100];
	size_t size = packet_write_ip(&header, "", 0, bytes, sizeof(bytes));

	assert_pass(check_bytes(&guard, bytes, size));
	memcpy(bytes + 14 + 8, mapped.bytes, sizeof(mapped.bytes));
	assert_drop(check_bytes(&guard, bytes, size), DROP_SPOOFED_ADDRESS);
}

static void test_source_mac(void **state)
{
	uint8_t udp[16] = { 0 };
	struct guard guard = make_guard();
	uint8_t bytes[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	assert_drop(check_ip(other_mac, "10.0.0.10", "10.0.0.1", IPPROTO_UDP, udp, sizeof(udp)),
		    DROP_SPOOFED_MAC);
	/* What is neither IP nor ARP is bound to the MAC alone. */
	memcpy(bytes + 6, guest_mac.bytes, 6);
	write_be16(bytes + 12, 0x88cc);
	assert_pass(check_bytes(&guard, bytes, sizeof(bytes)));
	bytes[11] = 9;
	assert_drop(check_bytes(&guard, bytes, sizeof(bytes)), DROP_SPOOFED_MAC);
	/* Before it has a lease it may come with another one. */
	guard.settled = false;
	assert_ask(check_bytes(&guard, bytes, sizeof(bytes)));
	guard.has_mac = false;
	assert_ask(check_bytes(&guard, bytes, sizeof(bytes)));
}

static void test_who_has_no_address_yet(void **state)
{
	assert_pass(check_udp("0.0.0.0", "255.255.255.255", 68, 67));
	assert_drop(check_udp("0.0.0.0", "255.255.255.255", 68, 69), DROP_SPOOFED_ADDRESS);
	assert_pass(check_nd("::", "ff02::1:ff00:77", 135, "fd00::77"));
	assert_drop(check_nd("::", "ff02::1:ff00:1", 135, "fd00::1"), DROP_SPOOFED_SERVER);
	assert_pass(check_nd("::", "ff02::2", 133, "::"));
	assert_drop(check_udp("::", "ff02::1", 546, 547), DROP_SPOOFED_ADDRESS);
}

static void test_servers(void **state)
{
	assert_drop(check_udp("10.0.0.10", "255.255.255.255", 67, 68), DROP_SPOOFED_SERVER);
	assert_drop(check_udp("fe80::77", "fe80::5", 547, 546), DROP_SPOOFED_SERVER);
	/* Clients do not look at the port it comes from. */
	assert_drop(check_udp("10.0.0.10", "10.0.0.20", 6767, 68), DROP_SPOOFED_SERVER);
	assert_drop(check_udp("fd00::10", "fe80::5", 1024, 546), DROP_SPOOFED_SERVER);
	assert_drop(check_nd("fe80::77", "ff02::1", 134, "::"), DROP_SPOOFED_SERVER);
	assert_drop(check_nd("fe80::77", "ff02::1", 137, "::"), DROP_SPOOFED_SERVER);
}

static void test_neighbour_discovery(void **state)
{
	assert_pass(check_nd("fd00::10", "fd00::1", 136, "fd00::10"));
	assert_pass(check_nd("fe80::77", "ff02::1", 136, "fe80::77"));
	assert_drop(check_nd("fd00::10", "ff02::1", 136, "fd00::1"), DROP_SPOOFED_SERVER);
	assert_drop(check_nd("fd00::10", "ff02::1", 136, "fe80::1"), DROP_SPOOFED_SERVER);
	assert_drop(check_nd("fd00::10", "ff02::1", 136, "fd00::11"), DROP_SPOOFED_ADDRESS);
	assert_drop(check_nd("fd00::10", "ff02::1", 136, "fe80::78"), DROP_SPOOFED_ADDRESS);
	/* The first use of an address may be the answer about it. */
	assert_ask(check_nd("fd00::78", "ff02::1", 136, "fd00::78"));
	assert_ask(check_nd("fe80::78", "ff02::1", 136, "fe80::78"));
	/* Everybody may ask for the gateway. */
	assert_pass(check_nd("fd00::10", "ff02::1:ff00:1", 135, "fd00::1"));
}

/* RFC 7113: an advertisement behind extension headers or in fragments is one all the same. */
static void test_hidden_advertisement(void **state)
{
	uint8_t hidden[32] = { IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0, 134 };
	uint8_t fragment[32] = { IPPROTO_ICMPV6, 0, 0, 1, 0, 0, 0, 1, 134 };
	uint8_t many[160];

	assert_drop(
	    check_ip(guest_mac, "fe80::77", "ff02::1", IPPROTO_DSTOPTS, hidden, sizeof(hidden)),
	    DROP_SPOOFED_SERVER);
	assert_drop(check_ip(guest_mac, "fe80::77", "ff02::1", IPPROTO_FRAGMENT, fragment,
			     sizeof(fragment)),
		    DROP_SPOOFED_SERVER);
	for (unsigned i = 0; i < sizeof(many); i += 8) {
		memset(many + i, 0, 8);
		many[i] = IPPROTO_DSTOPTS;
	}
	assert_drop(check_ip(guest_mac, "fe80::77", "ff02::1", IPPROTO_DSTOPTS, many, sizeof(many)),
		    DROP_SPOOFED_SERVER);
}

/* The same for an answer of DHCPv6. */
static void test_hidden_datagram(void **state)
{
	static uint8_t deep[FRAME_HEAD_MAX];
	uint8_t options[32] = { IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0, 2, 35, 2, 34 };
	uint8_t fragment[32] = { IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 1, 2, 35, 2, 34 };
	uint8_t both[32] = { IPPROTO_DSTOPTS, 0, 0, 1, 0,	 0,  0, 1,
			     IPPROTO_UDP,     0, 1, 4, [16] = 2, 35, 2, 34 };

	assert_drop(
	    check_ip(guest_mac, "fe80::77", "fe80::5", IPPROTO_DSTOPTS, options, sizeof(options)),
	    DROP_SPOOFED_SERVER);
	assert_drop(check_ip(guest_mac, "fe80::77", "fe80::5", IPPROTO_FRAGMENT, fragment,
			     sizeof(fragment)),
		    DROP_SPOOFED_SERVER);
	assert_drop(
	    check_ip(guest_mac, "fe80::77", "fe80::5", IPPROTO_FRAGMENT, both, sizeof(both)),
	    DROP_SPOOFED_SERVER);
	/* A later fragment has no ports; without the first it is nothing. */
	fragment[3] = 8;
	assert_pass(check_ip(guest_mac, "fe80::77", "fe80::5", IPPROTO_FRAGMENT, fragment,
			     sizeof(fragment)));
	/* Ports that begin where the copied head ends. */
	deep[0] = IPPROTO_UDP;
	for (unsigned length = 0; 8 * length + 12 <= sizeof(deep); length++) {
		deep[1] = (uint8_t)length;
		memset(deep + 2, 0, sizeof(deep) - 2);
		memcpy(deep + 8 * length + 8, options + 8, 4);
		assert_drop(
		    check_ip(guest_mac, "fe80::77", "fe80::5", IPPROTO_DSTOPTS, deep, sizeof(deep)),
		    DROP_SPOOFED_SERVER);
	}
}

static struct check check_arp(struct mac hardware, const char *sender, size_t length)
{
	struct guard guard = make_guard();
	uint8_t bytes[42] = { [12] = 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1 };
	struct ip ip = ip_of(sender);

	memset(bytes, 0xff, 6);
	memcpy(bytes + 6, guest_mac.bytes, 6);
	memcpy(bytes + 22, hardware.bytes, 6);
	memcpy(bytes + 28, ip_v4_bytes(&ip), 4);
	return check_bytes(&guard, bytes, length);
}

static void test_arp(void **state)
{
	assert_pass(check_arp(guest_mac, "10.0.0.10", 42));
	assert_pass(check_arp(guest_mac, "0.0.0.0", 42));
	assert_drop(check_arp(guest_mac, "10.0.0.1", 42), DROP_SPOOFED_SERVER);
	assert_drop(check_arp(guest_mac, "10.0.0.11", 42), DROP_SPOOFED_ADDRESS);
	assert_drop(check_arp(other_mac, "10.0.0.10", 42), DROP_SPOOFED_MAC);
	assert_drop(check_arp(guest_mac, "10.0.0.10", 41), DROP_SPOOFED_ADDRESS);
}

/* Where no server gives the IPv4 addresses, they are claimed like those of IPv6. */
static void test_chosen_ipv4(void **state)
{
	struct guard guard = make_guard();
	struct packet_header header = { .from = guest_mac,
					.to = other_mac,
					.source = ip_of("10.0.0.11"),
					.destination = ip_of("10.0.0.99"),
					.protocol = IPPROTO_UDP };
	uint8_t bytes[100], udp[8] = { 0 }, arp[42] = { [12] = 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1 };
	size_t size = packet_write_ip(&header, udp, sizeof(udp), bytes, sizeof(bytes));

	guard.prefixes[guard.prefix_count++] =
	    (struct ip_prefix){ ip_of("10.0.0.0"), IP_V4_LENGTH + 24 };
	memcpy(arp + 6, guest_mac.bytes, 6);
	memcpy(arp + 22, guest_mac.bytes, 6);
	memcpy(arp + 28, ip_v4_bytes(&header.source), 4);
	assert_ask(check_bytes(&guard, bytes, size));
	assert_ask(check_bytes(&guard, arp, sizeof(arp)));
	header.source = ip_of("10.0.0.1");
	size = packet_write_ip(&header, udp, sizeof(udp), bytes, sizeof(bytes));
	memcpy(arp + 28, ip_v4_bytes(&header.source), 4);
	assert_drop(check_bytes(&guard, bytes, size), DROP_SPOOFED_SERVER);
	assert_drop(check_bytes(&guard, arp, sizeof(arp)), DROP_SPOOFED_SERVER);
	header.source = ip_of("10.0.1.11");
	size = packet_write_ip(&header, udp, sizeof(udp), bytes, sizeof(bytes));
	assert_drop(check_bytes(&guard, bytes, size), DROP_SPOOFED_ADDRESS);
}

static void test_truncated(void **state)
{
	struct guard guard = make_guard();
	uint8_t bytes[60] = { 0 };

	memcpy(bytes + 6, guest_mac.bytes, 6);
	write_be16(bytes + 12, ETHERTYPE_IPV4);
	bytes[14] = 0x45;
	assert_drop(check_bytes(&guard, bytes, 14 + 19), DROP_SPOOFED_ADDRESS);
	bytes[14] = 0x44;
	assert_drop(check_bytes(&guard, bytes, 60), DROP_SPOOFED_ADDRESS);
	write_be16(bytes + 12, ETHERTYPE_IPV6);
	bytes[14] = 0x60;
	assert_drop(check_bytes(&guard, bytes, 14 + 39), DROP_SPOOFED_ADDRESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_address),
		cmocka_unit_test(test_mapped_source),
		cmocka_unit_test(test_source_mac),
		cmocka_unit_test(test_who_has_no_address_yet),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_neighbour_discovery),
		cmocka_unit_test(test_hidden_advertisement),
		cmocka_unit_test(test_hidden_datagram),
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_chosen_ipv4),
		cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
