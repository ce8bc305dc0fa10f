/* Whole packets (base/packet.c): written, and taken apart again, in allocations of their own size,
 * so that a sanitizer sees what is read or written beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/packet.h"
#include "base/parse.h"

#include <netinet/in.h>
#include <stdlib.h>

static const struct mac from_mac = { { 2, 0, 0, 0, 0, 1 } }, to_mac = { { 2, 0, 0, 0, 0, 2 } };

static struct packet_header header_of(int version, uint8_t protocol)
{
	struct packet_header header = { .from = from_mac,
					.to = to_mac,
					.protocol = protocol,
					.tos = 0xa5,
					.source_port = 1234,
					.destination_port = 53 };

	ip_from_text(version == 4 ? "10.1.2.3" : "fd00::1", &header.source);
	ip_from_text(version == 4 ? "10.1.2.4" : "2001:db8::2", &header.destination);
	return header;
}

/* Writes a packet of `length` bytes of L4; the caller frees it. */
static uint8_t *write_packet(const struct packet_header *header, size_t length, size_t *size)
{
	uint8_t *body = malloc(length + 1), *out;

	assert_non_null(body);
	for (size_t i = 0; i < length; i++)
		body[i] = (uint8_t)(i * 37 + 1);
	*size = 14 + (ip_is_v4(&header->source) ? 20 : 40) + length;
	out = malloc(*size);
	assert_non_null(out);
	assert_int_equal(packet_write_ip(header, body, length, out, *size - 1), 0);
	assert_int_equal(packet_write_ip(header, body, length, out, *size), *size);
	free(body);
	return out;
}

static void fix_sum(uint8_t *ip)
{
	uint16_t sum = 0;

	memcpy(ip + 10, &sum, 2);
	sum = checksum_finish(checksum_add(0, ip, (ip[0] & 15u) * 4u));
	memcpy(ip + 10, &sum, 2);
}

/* Whether `length` bytes are taken for a packet, in an allocation of that size. */
static bool parses(const uint8_t *bytes, size_t length)
{
	uint8_t *exact = malloc(length != 0 ? length : 1);
	struct packet packet;
	bool result;

	assert_non_null(exact);
	memcpy(exact, bytes, length);
	result = packet_parse(exact, length, &packet);
	free(exact);
	return result;
}

/* The checksums of all protocols that have one, of all lengths: odd ones, too. */
static void test_written_packets_are_right(void **state)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP, IPPROTO_ICMPV6,
					     132 };

	for (uint32_t i = 0; i < 2 * sizeof(protocols); i++) {
		struct packet_header header = header_of(i % 2 ? 6 : 4, protocols[i / 2]);

		for (size_t length = 20; length < 200; length++) {
			struct packet packet;
			size_t size;
			uint8_t *out = write_packet(&header, length, &size);

			if (header.protocol == IPPROTO_UDP) {
				/* Its own length, which the body has not. */
				free(out);
				out = malloc(size);
				assert_non_null(out);
				uint8_t *body = calloc(1, length - 8);

				assert_non_null(body);
				assert_int_equal(
				    packet_write_udp(&header, body, length - 8, out, size), size);
				free(body);
			}
			assert_true(packet_parse(out, size, &packet));
			assert_true(packet_checksum_ok(&packet));
			assert_int_equal(packet.length, size);
			assert_int_equal(packet.protocol, header.protocol);
			assert_int_equal(packet.payload_length, length);
			assert_int_equal(packet.hop_limit, 64);
			assert_true(ip_equal(&packet.source, &header.source));
			assert_true(ip_equal(&packet.destination, &header.destination));
			assert_memory_equal(&packet.from, &from_mac, 6);
			assert_memory_equal(&packet.to, &to_mac, 6);
			assert_false(packet.fragment);
			/* One bit elsewhere, and it is not. */
			if (header.protocol != 132 &&
			    !(header.protocol == IPPROTO_ICMPV6 && i % 2 == 0)) {
				out[size - 1 - length % 3] ^= 0x10;
				assert_false(packet_checksum_ok(&packet));
			}
			free(out);
		}
	}
}

static void test_udp(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_header header = header_of(version, 0);
		uint8_t out[200];
		struct packet packet;
		size_t size = packet_write_udp(&header, "hello", 5, out, sizeof(out));
		uint8_t *udp;

		header.hop_limit = 255;
		size = packet_write_udp(&header, "hello", 5, out, size);
		assert_int_equal(size, 14 + (version == 4 ? 20 : 40) + 13);
		assert_int_equal(packet_write_udp(&header, "hello", 5, out, size - 1), 0);
		assert_true(packet_parse(out, size, &packet));
		assert_int_equal(packet.source_port, 1234);
		assert_int_equal(packet.destination_port, 53);
		assert_int_equal(packet.data_length, 5);
		assert_memory_equal(packet.data, "hello", 5);
		assert_int_equal(packet.hop_limit, 255);
		udp = out + (packet.payload - out);
		/* RFC 768: none is right over IPv4; RFC 8200, 8.1: and wrong over IPv6. */
		udp[6] = udp[7] = 0;
		assert_int_equal(packet_checksum_ok(&packet), version == 4);
		/* A length that is not so. */
		for (uint16_t length = 0; length < 20; length++) {
			write_be16(udp + 4, length);
			assert_true(packet_parse(out, size, &packet));
			assert_int_equal(packet.data != NULL, length >= 8 && length <= 13);
			if (packet.data != NULL)
				assert_int_equal(packet.data_length, length - 8);
			else
				assert_false(packet_checksum_ok(&packet));
		}
	}
}

/* A UDP checksum that comes out as 0 is sent as 0xffff (RFC 768). */
static void test_rfc768_zero_sum(void **state)
{
	struct packet_header header = header_of(4, 0);
	uint32_t zeros = 0;
	uint8_t out[64];

	for (uint32_t i = 0; i < 65536; i++) {
		uint8_t data[2] = { (uint8_t)(i >> 8), (uint8_t)i };
		struct packet packet;

		assert_int_equal(packet_write_udp(&header, data, 2, out, sizeof(out)), 44);
		assert_true(packet_parse(out, 44, &packet));
		assert_true(packet_checksum_ok(&packet));
		assert_int_not_equal(read_be16(out + 40), 0);
		zeros += read_be16(out + 40) == 0xffff;
	}
	assert_int_equal(zeros, 1);
}

/* What is cut off anywhere is no packet; padding is no part of one. */
static void test_truncated_and_padded(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_header header = header_of(version, 99);
		struct packet packet;
		size_t size;
		uint8_t *out = write_packet(&header, 60, &size), *padded = calloc(1, size + 30);

		assert_non_null(padded);
		for (size_t length = 0; length < size; length++)
			assert_false(parses(out, length));
		memcpy(padded, out, size);
		assert_true(packet_parse(padded, size + 30, &packet));
		assert_int_equal(packet.length, size);
		assert_int_equal(packet.payload_length, 60);
		free(padded);
		free(out);
	}
}

static void test_lying_ipv4_headers(void **state)
{
	struct packet_header header = header_of(4, 99);
	struct packet packet;
	size_t size;
	uint8_t *out = write_packet(&header, 60, &size), *ip = out + 14;

	ip[10] ^= 1;
	assert_false(parses(out, size));
	ip[0] = 0x65;
	fix_sum(ip);
	assert_false(parses(out, size));
	ip[0] = 0x44;
	fix_sum(ip);
	assert_false(parses(out, size));
	ip[0] = 0x4f; /* options, which are payload's bytes */
	fix_sum(ip);
	assert_true(packet_parse(out, size, &packet));
	assert_int_equal(packet.payload_length, 20);
	ip[0] = 0x45;
	write_be16(ip + 2, 81);
	fix_sum(ip);
	assert_false(parses(out, size));
	write_be16(ip + 2, 19);
	fix_sum(ip);
	assert_false(parses(out, size));
	write_be16(ip + 2, 80);
	for (uint32_t flags = 0; flags < 65536; flags += 0x1001) {
		write_be16(ip + 6, (uint16_t)flags);
		fix_sum(ip);
		assert_true(packet_parse(out, size, &packet));
		assert_int_equal(packet.fragment, (flags & 0x3fff) != 0);
		assert_int_equal(packet.source_port, 0);
	}
	free(out);
}

/* RFC 8200, 4: extension headers, whole or not; and a fragment's payload has no ports. */
static void test_rfc8200_extension_headers(void **state)
{
	static const uint8_t chain[] = { IPPROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0, /* hop-by-hop */
					 IPPROTO_DSTOPTS, 0, 9, 0, 0, 0, 0, 0, /* routing */
					 IPPROTO_UDP,	  1, 1, 12 };
	struct packet_header header = header_of(6, IPPROTO_HOPOPTS);
	uint8_t body[44] = { 0 }, out[128];
	struct packet packet;
	size_t size;

	memcpy(body, chain, sizeof(chain));
	write_be16(body + 36, 12);
	write_be16(body + 32, 7777);
	size = packet_write_ip(&header, body, sizeof(body), out, sizeof(out));
	assert_true(packet_parse(out, size, &packet));
	assert_int_equal(packet.protocol, IPPROTO_UDP);
	assert_int_equal(packet.payload_length, 12);
	assert_int_equal(packet.source_port, 7777);
	assert_int_equal(packet.data_length, 4);
	/* Cut off within the chain, with a length that says so. */
	for (size_t length = 0; length < 32; length++) {
		size = packet_write_ip(&header, body, length, out, sizeof(out));
		assert_false(parses(out, size));
	}
	body[8] = IPPROTO_FRAGMENT;
	size = packet_write_ip(&header, body, sizeof(body), out, sizeof(out));
	assert_true(packet_parse(out, size, &packet));
	assert_true(packet.fragment);
	assert_int_equal(packet.payload_length, 28);
	assert_int_equal(packet.source_port, 0);
	assert_null(packet.data);
}

/* RFC 4291, 2.5.5.2: no packet has mapped IPv4 addresses, which we would take for IPv4. */
static void test_rfc4291_mapped(void **state)
{
	struct packet_header header = header_of(6, 99);
	size_t size;
	uint8_t *out = write_packet(&header, 60, &size);

	for (size_t at = 14 + 8; at <= 14 + 24; at += 16) {
		uint8_t kept[16];

		assert_true(parses(out, size));
		memcpy(kept, out + at, 16);
		memset(out + at, 0, 10);
		out[at + 10] = out[at + 11] = 0xff;
		assert_false(parses(out, size));
		memcpy(out + at, kept, 16);
	}
	free(out);
}

static void test_ethernet(void **state)
{
	uint8_t frame[64] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x06, 0xaa };
	struct packet packet;

	assert_false(parses(frame, 13));
	assert_true(packet_parse(frame, 14, &packet));
	assert_int_equal(packet.network_length, 0);
	assert_true(packet_parse(frame, 60, &packet));
	assert_int_equal(packet.ethertype, 0x0806);
	assert_int_equal(packet.ip_version, 0);
	assert_int_equal(packet.network[0], 0xaa);
	assert_int_equal(packet.network_length, 46);
	assert_true(packet_checksum_ok(&packet));
	memcpy(frame + 12, "\x81\x00\x00\x05\x12\x34\xbb", 7);
	assert_true(packet_parse(frame, 60, &packet));
	assert_int_equal(packet.ethertype, 0x1234);
	assert_int_equal(packet.network[0], 0xbb);
	assert_false(parses(frame, 17));
	assert_true(parses(frame, 18));
}

/* The longest of all, and a byte more. */
static void test_longest(void **state)
{
	for (int version = 4; version <= 6; version += 2) {
		struct packet_header header = header_of(version, IPPROTO_UDP);
		size_t longest = version == 4 ? 65535 - 28 : 65535 - 48;
		uint8_t *data = calloc(1, 65536), *out = malloc(PACKET_LENGTH_MAX);
		struct packet packet;

		assert_non_null(data);
		assert_non_null(out);
		assert_int_equal(packet_write_udp(&header, data, longest, out, PACKET_LENGTH_MAX),
				 PACKET_LENGTH_MAX);
		assert_true(packet_parse(out, PACKET_LENGTH_MAX, &packet));
		assert_true(packet_checksum_ok(&packet));
		assert_int_equal(
		    packet_write_udp(&header, data, longest + 1, out, PACKET_LENGTH_MAX), 0);
		assert_int_equal(packet_write_udp(&header, data, 65536, out, SIZE_MAX), 0);
		assert_int_equal(packet_write_ip(&header, data, 65536, out, SIZE_MAX), 0);
		free(data);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_packets_are_right),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_rfc768_zero_sum),
		cmocka_unit_test(test_truncated_and_padded),
		cmocka_unit_test(test_lying_ipv4_headers),
		cmocka_unit_test(test_rfc8200_extension_headers),
		cmocka_unit_test(test_rfc4291_mapped),
		cmocka_unit_test(test_ethernet),
		cmocka_unit_test(test_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
