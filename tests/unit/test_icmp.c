/* ICMP of the gateway (route/icmp.c), by RFC 1122, 1812 and 4443. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/parse.h"
#include "route/icmp.h"

#include <netinet/in.h>
#include <stdlib.h>

#define US4    "192.168.122.1"
#define US6    "fd00:122::1"
#define GUEST4 "192.168.122.10"
#define GUEST6 "fd00:122::10"

static const struct mac guest_mac = { { 0x52, 0x54, 0, 0, 0, 0x11 } };
static const struct mac our_mac = { { 2, 0, 0, 0, 0, 1 } };

struct rig {
	struct icmp *icmp;
	struct route_leg leg;
	uint32_t sent;
	size_t length;
	uint8_t frame[PACKET_LENGTH_MAX];
	struct packet packet; /* of the last frame sent */
};

static void rig_send(void *context, const uint8_t *frame, size_t length)
{
	struct rig *rig = context;

	rig->sent++;
	rig->length = length;
	memcpy(rig->frame, frame, length);
	assert_true(packet_parse(rig->frame, length, &rig->packet));
	assert_true(packet_checksum_ok(&rig->packet));
	assert_memory_equal(&rig->packet.to, &guest_mac, 6);
	assert_memory_equal(&rig->packet.from, &our_mac, 6);
	assert_int_equal(rig->packet.hop_limit, 64);
}

static struct rig *rig_create(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->icmp = icmp_create(1);
	assert_non_null(rig->icmp);
	rig->leg.mac = our_mac;
	rig->leg.mtu = 1500;
	rig->leg.output = (struct route_output){ rig_send, rig };
	rig->leg.address_count = 2;
	assert_int_equal(ip_prefix_from_text(US4 "/24", &rig->leg.addresses[0]), 0);
	assert_int_equal(ip_prefix_from_text(US6 "/64", &rig->leg.addresses[1]), 0);
	return rig;
}

static void rig_destroy(struct rig *rig)
{
	icmp_destroy(rig->icmp);
	free(rig);
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

/* A packet in an allocation of its own size: the caller frees packet->bytes. */
static struct packet make(const char *source, const char *destination, uint8_t protocol,
			  const void *body, size_t length)
{
	struct packet_header header = { .from = guest_mac,
					.to = our_mac,
					.source = ip_of(source),
					.destination = ip_of(destination),
					.protocol = protocol,
					.tos = 0x28,
					.hop_limit = 7 };
	size_t size = PACKET_ETHERNET_LENGTH + 40 + length;
	uint8_t *frame = malloc(size), *exact;
	struct packet packet;

	assert_non_null(frame);
	size = packet_write_ip(&header, body, length, frame, size);
	assert_true(size != 0);
	exact = malloc(size);
	assert_non_null(exact);
	memcpy(exact, frame, size);
	free(frame);
	assert_true(packet_parse(exact, size, &packet));
	return packet;
}

static void drop(const struct packet *packet)
{
	free((void *)(uintptr_t)packet->bytes);
}

/* Feeds an echo request of `length` bytes of data; whether it was answered. */
static bool ping(struct rig *rig, const char *source, const char *destination, size_t length)
{
	bool v4 = strchr(source, ':') == NULL;
	uint8_t *body = calloc(1, 8 + length);
	struct packet packet;
	uint32_t before = rig->sent;

	assert_non_null(body);
	body[0] = v4 ? 8 : 128;
	body[4] = 0x12;
	body[7] = 0x34;
	for (size_t i = 0; i < length; i++)
		body[8 + i] = (uint8_t)(i * 7);
	packet = make(source, destination, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, body, 8 + length);
	assert_true(icmp_input(rig->icmp, &rig->leg, &packet, 0));
	if (rig->sent != before) {
		assert_int_equal(rig->packet.payload_length, 8 + length);
		assert_int_equal(rig->packet.payload[0], v4 ? 0 : 129);
		assert_int_equal(rig->packet.payload[1], 0);
		assert_memory_equal(rig->packet.payload + 4, body + 4, 4 + length);
		assert_true(ip_equal(&rig->packet.destination, &packet.source));
	}
	drop(&packet);
	free(body);
	return rig->sent != before;
}

/* RFC 1122, 3.2.2.6; RFC 4443, 4.2: whatever its size. */
static void test_rfc1122_echo(void **state)
{
	static const size_t lengths[] = { 0, 1, 56, 1472, 1473, 8000, 65487 };
	struct rig *rig = rig_create();
	struct ip us4 = ip_of(US4), us6 = ip_of(US6);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_true(ping(rig, GUEST4, US4, lengths[i]));
		assert_true(ip_equal(&rig->packet.source, &us4));
		assert_int_equal(rig->packet.network[1], 0x28);
		assert_true(ping(rig, GUEST6, US6, lengths[i]));
		assert_true(ip_equal(&rig->packet.source, &us6));
		assert_int_equal(read_be16(rig->packet.network) & 0xff0, 0x280);
	}
	/* The longest packet that a frame carries is of 65,535 bytes, in both families. */
	assert_true(ping(rig, GUEST4, US4, 65507));
	assert_int_equal(icmp_counters(rig->icmp)->echo_answered, 15);
	rig_destroy(rig);
}

/* RFC 4443, 4.2: a group is answered from an address of ours; RFC 1122, 3.2.2.6: over IPv4 never.
 */
static void test_echo_to_groups(void **state)
{
	struct rig *rig = rig_create();
	struct ip us6 = ip_of(US6), link = ip_link_local_of(our_mac.bytes);

	assert_true(ping(rig, GUEST6, "ff02::1", 10));
	assert_true(ip_equal(&rig->packet.source, &us6));
	assert_true(ping(rig, "fe80::1", "ff02::2", 10));
	assert_true(ip_equal(&rig->packet.source, &link));
	assert_false(ping(rig, GUEST4, "224.0.0.1", 10));
	assert_false(ping(rig, GUEST4, "255.255.255.255", 10));
	assert_false(ping(rig, GUEST4, "192.168.122.255", 10));
	/* And nobody but one host is answered. */
	assert_false(ping(rig, "0.0.0.0", US4, 10));
	assert_false(ping(rig, "255.255.255.255", US4, 10));
	assert_false(ping(rig, "192.168.122.255", US4, 10));
	assert_false(ping(rig, US4, US4, 10));
	assert_false(ping(rig, "::", US6, 10));
	assert_false(ping(rig, "ff02::1", US6, 10));
	assert_false(ping(rig, "::1", US6, 10));
	rig_destroy(rig);
}

static void test_input_refused(void **state)
{
	struct rig *rig = rig_create();
	uint8_t body[16] = { 8 };
	struct packet packet = make(GUEST4, US4, IPPROTO_ICMP, body, 16);

	((uint8_t *)(uintptr_t)packet.payload)[9] ^= 1;
	assert_true(icmp_input(rig->icmp, &rig->leg, &packet, 0));
	assert_int_equal(icmp_counters(rig->icmp)->checksum, 1);
	drop(&packet);
	for (size_t length = 0; length < 8; length++) {
		packet = make(GUEST4, US4, IPPROTO_ICMP, body, length);
		assert_true(icmp_input(rig->icmp, &rig->leg, &packet, 0));
		drop(&packet);
	}
	assert_int_equal(icmp_counters(rig->icmp)->short_packet, 8);
	body[0] = 13; /* timestamp */
	packet = make(GUEST4, US4, IPPROTO_ICMP, body, 16);
	assert_true(icmp_input(rig->icmp, &rig->leg, &packet, 0));
	drop(&packet);
	assert_int_equal(icmp_counters(rig->icmp)->ignored, 1);
	packet = make(GUEST4, US4, IPPROTO_UDP, body, 16);
	assert_false(icmp_input(rig->icmp, &rig->leg, &packet, 0));
	drop(&packet);
	/* The other family's. */
	packet = make(GUEST4, US4, IPPROTO_ICMPV6, body, 16);
	assert_false(icmp_input(rig->icmp, &rig->leg, &packet, 0));
	drop(&packet);
	assert_int_equal(rig->sent, 0);
	rig_destroy(rig);
}

/* RFC 792, RFC 1812 4.3.3 and 5.2.7, RFC 1191 4, RFC 4443 3: type, code and the second word. */
static void test_rfc792_rfc4443_errors(void **state)
{
	static const struct {
		enum icmp_error error;
		uint32_t value;
		uint8_t type4, code4;
		uint32_t word4;
		uint8_t type6, code6;
		uint32_t word6;
	} rows[] = {
		{ ICMP_NET_UNREACHABLE, 9, 3, 0, 0, 1, 0, 0 },
		{ ICMP_HOST_UNREACHABLE, 9, 3, 1, 0, 1, 3, 0 },
		{ ICMP_PROTOCOL_UNREACHABLE, 6, 3, 2, 0, 4, 1, 6 },
		{ ICMP_PORT_UNREACHABLE, 9, 3, 3, 0, 1, 4, 0 },
		{ ICMP_TOO_BIG, 1400, 3, 4, 1400, 2, 0, 1400 },
		{ ICMP_PROHIBITED, 9, 3, 13, 0, 1, 1, 0 },
		{ ICMP_SOURCE_ROUTE_FAILED, 42, 3, 5, 0, 4, 0, 42 },
		{ ICMP_TTL_EXCEEDED, 9, 11, 0, 0, 3, 0, 0 },
		{ ICMP_REASSEMBLY_TIME, 9, 11, 1, 0, 3, 1, 0 },
		{ ICMP_PARAMETER_PROBLEM, 20, 12, 0, 20u << 24, 4, 0, 20 },
	};
	struct rig *rig = rig_create();
	struct ip us4 = ip_of(US4), us6 = ip_of(US6);
	uint8_t body[40] = { 1, 2, 3 };

	assert_int_equal(sizeof(rows) / sizeof(rows[0]), ICMP_ERRORS);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet about = make(GUEST4, "8.8.8.8", IPPROTO_UDP, body, sizeof(body));

		assert_true(
		    icmp_error(rig->icmp, &rig->leg, &about, rows[i].error, rows[i].value, 0));
		assert_int_equal(rig->packet.protocol, IPPROTO_ICMP);
		assert_int_equal(rig->packet.payload[0], rows[i].type4);
		assert_int_equal(rig->packet.payload[1], rows[i].code4);
		assert_int_equal(read_be32(rig->packet.payload + 4), rows[i].word4);
		assert_true(ip_equal(&rig->packet.source, &us4));
		assert_true(ip_equal(&rig->packet.destination, &about.source));
		assert_int_equal(rig->packet.network[1], 0xc0);
		assert_int_equal(rig->packet.payload_length, 8 + 60);
		assert_memory_equal(rig->packet.payload + 8, about.network, 60);
		drop(&about);
		about = make(GUEST6, "2001:db8::1", IPPROTO_UDP, body, sizeof(body));
		assert_true(
		    icmp_error(rig->icmp, &rig->leg, &about, rows[i].error, rows[i].value, 0));
		assert_int_equal(rig->packet.protocol, IPPROTO_ICMPV6);
		assert_int_equal(rig->packet.payload[0], rows[i].type6);
		assert_int_equal(rig->packet.payload[1], rows[i].code6);
		assert_int_equal(read_be32(rig->packet.payload + 4), rows[i].word6);
		assert_true(ip_equal(&rig->packet.source, &us6));
		assert_int_equal(rig->packet.payload_length, 8 + 80);
		assert_memory_equal(rig->packet.payload + 8, about.network, 80);
		drop(&about);
	}
	rig_destroy(rig);
}

/* RFC 1812, 4.3.2.3: up to 576 bytes; RFC 4443, 2.4 c: up to 1,280. */
static void test_as_much_of_the_original(void **state)
{
	struct rig *rig = rig_create();
	uint8_t *body = calloc(1, 60000), out[ICMP_ERROR_LENGTH_MAX];

	assert_non_null(body);
	for (size_t length = 500; length < 60000; length = length * 2 + 1) {
		struct packet about = make(GUEST4, "8.8.8.8", IPPROTO_UDP, body, length);
		size_t wanted = 20 + 8 + 20 + length;

		assert_true(icmp_error(rig->icmp, &rig->leg, &about, ICMP_TTL_EXCEEDED, 0, 0));
		assert_int_equal(rig->packet.network_length, wanted < 576 ? wanted : 576);
		assert_int_equal(
		    icmp_error_write(&rig->leg, &about, ICMP_TTL_EXCEEDED, 0, out, rig->length),
		    rig->length);
		assert_int_equal(
		    icmp_error_write(&rig->leg, &about, ICMP_TTL_EXCEEDED, 0, out, rig->length - 1),
		    0);
		drop(&about);
		about = make(GUEST6, "2001:db8::1", IPPROTO_UDP, body, length);
		wanted = 40 + 8 + 40 + length;
		assert_true(icmp_error(rig->icmp, &rig->leg, &about, ICMP_TTL_EXCEEDED, 0, 0));
		assert_int_equal(rig->packet.network_length, wanted < 1280 ? wanted : 1280);
		assert_int_equal(
		    icmp_error_write(&rig->leg, &about, ICMP_TTL_EXCEEDED, 0, out, sizeof(out)),
		    rig->length);
		drop(&about);
	}
	free(body);
	rig_destroy(rig);
}

/* Whether an error may be sent about a packet of these. */
static bool allowed(struct rig *rig, const char *source, const char *destination, uint8_t protocol,
		    const uint8_t *body, size_t length, enum icmp_error error)
{
	struct packet about = make(source, destination, protocol, body, length);
	uint8_t out[ICMP_ERROR_LENGTH_MAX];
	bool result = icmp_error_write(&rig->leg, &about, error, 1280, out, sizeof(out)) != 0;

	drop(&about);
	return result;
}

/* RFC 1122, 3.2.2; RFC 1812, 4.3.2.7; RFC 4443, 2.4 e 1 and 2: never about an error. */
static void test_never_about_errors(void **state)
{
	static const uint8_t errors4[] = { 3, 4, 5, 11, 12 }, others4[] = { 0, 8, 13, 17 };
	static const uint8_t errors6[] = { 1, 2, 3, 4, 100, 127, 137 }, others6[] = { 128, 129 };
	struct rig *rig = rig_create();
	uint8_t body[8] = { 0 };

	for (size_t i = 0; i < sizeof(errors4); i++) {
		body[0] = errors4[i];
		assert_false(
		    allowed(rig, GUEST4, "8.8.8.8", IPPROTO_ICMP, body, 8, ICMP_NET_UNREACHABLE));
	}
	for (size_t i = 0; i < sizeof(others4); i++) {
		body[0] = others4[i];
		assert_true(
		    allowed(rig, GUEST4, "8.8.8.8", IPPROTO_ICMP, body, 8, ICMP_NET_UNREACHABLE));
	}
	assert_false(allowed(rig, GUEST4, "8.8.8.8", IPPROTO_ICMP, body, 0, ICMP_NET_UNREACHABLE));
	for (size_t i = 0; i < sizeof(errors6); i++) {
		body[0] = errors6[i];
		assert_false(allowed(rig, GUEST6, "2001:db8::1", IPPROTO_ICMPV6, body, 8,
				     ICMP_NET_UNREACHABLE));
	}
	for (size_t i = 0; i < sizeof(others6); i++) {
		body[0] = others6[i];
		assert_true(allowed(rig, GUEST6, "2001:db8::1", IPPROTO_ICMPV6, body, 8,
				    ICMP_NET_UNREACHABLE));
	}
	assert_false(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_ICMPV6, body, 0, ICMP_NET_UNREACHABLE));
	rig_destroy(rig);
}

/* The same, hidden behind extension headers and in first fragments. */
static void test_never_about_hidden_errors(void **state)
{
	uint8_t body[24] = { IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0, 1 };
	struct rig *rig = rig_create();

	assert_false(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_HOPOPTS, body, 16, ICMP_TTL_EXCEEDED));
	body[8] = 128;
	assert_true(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_HOPOPTS, body, 16, ICMP_TTL_EXCEEDED));
	memset(body, 0, sizeof(body));
	body[0] = IPPROTO_ICMPV6;
	body[3] = 1;
	body[8] = 3;
	assert_false(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_FRAGMENT, body, 16, ICMP_TTL_EXCEEDED));
	body[0] = IPPROTO_UDP;
	assert_true(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_FRAGMENT, body, 16, ICMP_TTL_EXCEEDED));
	/* RFC 1122, 3.2.2: not about any but the first fragment. */
	body[3] = 9;
	assert_false(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_FRAGMENT, body, 16, ICMP_TTL_EXCEEDED));
	assert_false(
	    allowed(rig, GUEST6, "2001:db8::1", IPPROTO_FRAGMENT, body, 7, ICMP_TTL_EXCEEDED));
	rig_destroy(rig);
}

static void test_rfc1122_not_about_later_fragments(void **state)
{
	static const uint8_t body[64];
	struct rig *rig = rig_create();

	for (uint16_t offset = 0; offset < 2; offset++) {
		struct packet about = make(GUEST4, "8.8.8.8", IPPROTO_UDP, body, sizeof(body));
		uint8_t *ip = (uint8_t *)(uintptr_t)about.network, out[ICMP_ERROR_LENGTH_MAX];
		uint16_t sum = 0;

		write_be16(ip + 6, (uint16_t)(0x2000 | offset));
		memcpy(ip + 10, &sum, 2);
		sum = checksum_finish(checksum_add(0, ip, 20));
		memcpy(ip + 10, &sum, 2);
		assert_true(packet_parse(about.bytes, about.length, &about));
		assert_int_equal(icmp_error_write(&rig->leg, &about, ICMP_TTL_EXCEEDED, 0, out,
						  sizeof(out)) != 0,
				 offset == 0);
		drop(&about);
	}
	rig_destroy(rig);
}

/* RFC 1122, 3.2.2: not about groups, broadcasts, or packets of nobody; RFC 4443, 2.4 e 3 to 6. */
static void test_not_about_groups_or_from_nobody(void **state)
{
	static const struct {
		const char *source, *destination;
		bool allowed, too_big_allowed;
	} rows[] = {
		{ GUEST4, "8.8.8.8", true, true },
		{ GUEST4, "224.0.0.9", false, false },
		{ GUEST4, "255.255.255.255", false, false },
		{ GUEST4, "192.168.122.255", false, false },
		{ "0.0.0.0", "8.8.8.8", false, false },
		{ "127.0.0.1", "8.8.8.8", false, false },
		{ "224.0.0.1", "8.8.8.8", false, false },
		{ "240.0.0.1", "8.8.8.8", false, false },
		{ "192.168.122.255", "8.8.8.8", false, false },
		{ US4, "8.8.8.8", false, false },
		{ GUEST6, "2001:db8::1", true, true },
		{ GUEST6, "ff0e::1", false, true },
		{ "::", "2001:db8::1", false, false },
		{ "ff02::1", "2001:db8::1", false, false },
		{ US6, "2001:db8::1", false, false },
	};
	static const uint8_t body[8];
	struct rig *rig = rig_create();
	struct packet about;
	uint8_t out[ICMP_ERROR_LENGTH_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (allowed(rig, rows[i].source, rows[i].destination, IPPROTO_UDP, body, 8,
			    ICMP_NET_UNREACHABLE) != rows[i].allowed ||
		    allowed(rig, rows[i].source, rows[i].destination, IPPROTO_UDP, body, 8,
			    ICMP_TOO_BIG) != rows[i].too_big_allowed)
			fail_msg("%s to %s", rows[i].source, rows[i].destination);
	}
	about = make(GUEST4, "8.8.8.8", IPPROTO_UDP, body, 8);
	about.to = (struct mac){ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	assert_int_equal(
	    icmp_error_write(&rig->leg, &about, ICMP_NET_UNREACHABLE, 0, out, sizeof(out)), 0);
	/* A leg without an address of the family has nothing to say it from. */
	about.to = our_mac;
	rig->leg.address_count = 0;
	assert_int_equal(
	    icmp_error_write(&rig->leg, &about, ICMP_NET_UNREACHABLE, 0, out, sizeof(out)), 0);
	drop(&about);
	rig_destroy(rig);
}

/* RFC 1812, 4.3.2.8; RFC 4443, 2.4 f: so many at once, so many a second. */
static void test_rate_limit(void **state)
{
	struct rig *rig = rig_create();
	static const uint8_t body[8];
	struct packet about = make(GUEST4, "8.8.8.8", IPPROTO_UDP, body, 8);
	uint64_t now = 5000;

	for (uint32_t i = 0; i < 1000; i++)
		icmp_error(rig->icmp, &rig->leg, &about, ICMP_NET_UNREACHABLE, 0, now);
	assert_int_equal(rig->sent, ICMP_ERROR_BURST);
	assert_int_equal(icmp_counters(rig->icmp)->errors_limited, 1000 - ICMP_ERROR_BURST);
	/* Ten seconds of a flood. */
	for (uint32_t i = 0; i < 10000; i++)
		icmp_error(rig->icmp, &rig->leg, &about, ICMP_NET_UNREACHABLE, 0, ++now);
	assert_int_equal(rig->sent, ICMP_ERROR_BURST + 10 * ICMP_ERROR_RATE);
	now += 1000000;
	for (uint32_t i = 0; i < 1000; i++)
		icmp_error(rig->icmp, &rig->leg, &about, ICMP_NET_UNREACHABLE, 0, now);
	assert_int_equal(rig->sent, 2 * ICMP_ERROR_BURST + 10 * ICMP_ERROR_RATE);
	assert_int_equal(icmp_counters(rig->icmp)->errors_sent, rig->sent);
	drop(&about);
	/* What may not be sent costs nothing. */
	about = make(GUEST4, "224.0.0.9", IPPROTO_UDP, body, 8);
	assert_false(icmp_error(rig->icmp, &rig->leg, &about, ICMP_NET_UNREACHABLE, 0, now));
	assert_int_equal(icmp_counters(rig->icmp)->errors_forbidden, 1);
	drop(&about);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1122_echo),
		cmocka_unit_test(test_echo_to_groups),
		cmocka_unit_test(test_input_refused),
		cmocka_unit_test(test_rfc792_rfc4443_errors),
		cmocka_unit_test(test_as_much_of_the_original),
		cmocka_unit_test(test_never_about_errors),
		cmocka_unit_test(test_never_about_hidden_errors),
		cmocka_unit_test(test_rfc1122_not_about_later_fragments),
		cmocka_unit_test(test_not_about_groups_or_from_nobody),
		cmocka_unit_test(test_rate_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
