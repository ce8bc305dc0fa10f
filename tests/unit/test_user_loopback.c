/* Clients of UDP forwards on the host's loopback (vswitch/user_loopback.c), frame by frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/user_loopback.h"

#include "base/packet.h"
#include "base/parse.h"

#include <netinet/in.h>
#include <string.h>

#define GUEST_PORT 53
#define CLIENT	   5000

struct family {
	const char *guest, *gateway, *client;
};

static const struct family families[] = {
	{ "10.0.2.15", "10.0.2.2", "127.0.0.1" },
	{ "10.0.2.15", "10.0.2.2", "127.9.9.9" },
	{ "fd00:10:0:2::f", "fd00:10:0:2::2", "::1" },
};

static uint8_t frame[2000];
static uint32_t frame_length;

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_from_text(text, &ip), 0);
	return ip;
}

static struct user_forward forward_of(const struct family *family)
{
	return (struct user_forward){ .protocol = IPPROTO_UDP,
				      .guest = ip_of(family->guest),
				      .guest_port = GUEST_PORT };
}

static struct user_loopback *create(const struct family *family, bool open)
{
	struct port_user_addresses addresses = { .gateway = ip_of("10.0.2.2"),
						 .gateway6 = ip_of("fd00:10:0:2::2") };
	struct user_loopback *loopback = user_loopback_create(&addresses, open);
	struct user_forward forward = forward_of(family);

	assert_non_null(loopback);
	user_loopback_set_forwards(loopback, &forward, 1);
	return loopback;
}

static void write_udp(const char *from, uint16_t from_port, const char *to, uint16_t to_port)
{
	struct packet_header header = { .source = ip_of(from),
					.destination = ip_of(to),
					.protocol = IPPROTO_UDP,
					.source_port = from_port,
					.destination_port = to_port };

	frame_length = (uint32_t)packet_write_udp(&header, "text", 4, frame, sizeof(frame));
}

static void come(struct user_loopback *loopback, const struct family *family, uint16_t port,
		 int64_t now)
{
	struct ip gateway = ip_of(family->gateway);
	struct packet packet;
	const uint8_t *out;

	write_udp(family->client, port, family->guest, GUEST_PORT);
	out = user_loopback_to_guest(loopback, frame, frame_length, now);
	assert_non_null(out);
	assert_true(packet_parse(out, frame_length, &packet));
	assert_true(ip_equal(&packet.source, &gateway));
	assert_int_equal(packet.source_port, port);
	assert_true(packet_checksum_ok(&packet));
}

/* Whether the answer goes to the client. */
static bool answer(struct user_loopback *loopback, const struct family *family, uint16_t from_port,
		   uint16_t port, int64_t now)
{
	struct ip client = ip_of(family->client);
	struct packet packet;
	const uint8_t *out;

	write_udp(family->guest, from_port, family->gateway, port);
	out = user_loopback_from_guest(loopback, frame, frame_length, now);
	if (!out || out == frame)
		return false;
	assert_true(packet_parse(out, frame_length, &packet));
	assert_true(ip_equal(&packet.destination, &client));
	assert_true(packet_checksum_ok(&packet));
	return true;
}

#define EACH(family) for (const struct family *family = families; family < families + 3; family++)

static void test_answers(void **state)
{
	EACH(family)
	{
		struct user_loopback *loopback = create(family, false);

		assert_false(answer(loopback, family, GUEST_PORT, CLIENT, 1));
		come(loopback, family, CLIENT, 1);
		assert_true(answer(loopback, family, GUEST_PORT, CLIENT, 1));
		assert_true(answer(loopback, family, GUEST_PORT, CLIENT, USER_LOOPBACK_AGE));
		assert_false(answer(loopback, family, GUEST_PORT, CLIENT + 1, 1));
		assert_null(user_loopback_from_guest(loopback, frame, frame_length, 1));
		assert_false(answer(loopback, family, GUEST_PORT + 1, CLIENT, 1));
		/* Answers keep nothing, the client's datagrams do. */
		assert_false(answer(loopback, family, GUEST_PORT, CLIENT, USER_LOOPBACK_AGE + 1));
		come(loopback, family, CLIENT, USER_LOOPBACK_AGE + 1);
		assert_true(answer(loopback, family, GUEST_PORT, CLIENT, USER_LOOPBACK_AGE + 2));
		user_loopback_set_forwards(loopback, NULL, 0);
		assert_false(answer(loopback, family, GUEST_PORT, CLIENT, USER_LOOPBACK_AGE + 2));
		/* libslirp says no to it. */
		assert_ptr_equal(user_loopback_from_guest(loopback, frame, frame_length, 1), frame);
		user_loopback_destroy(loopback);
	}
	user_loopback_destroy(NULL);
}

/* Who has the gateway's address outside, or comes by no forward, is no client. */
static void test_no_clients(void **state)
{
	EACH(family)
	{
		struct user_loopback *loopback = create(family, false);

		write_udp(family->gateway, CLIENT, family->guest, GUEST_PORT);
		assert_ptr_equal(user_loopback_to_guest(loopback, frame, frame_length, 1), frame);
		assert_false(answer(loopback, family, GUEST_PORT, CLIENT, 1));
		write_udp(family->client, CLIENT, family->guest, GUEST_PORT + 1);
		assert_non_null(user_loopback_to_guest(loopback, frame, frame_length, 1));
		assert_false(answer(loopback, family, GUEST_PORT + 1, CLIENT, 1));
		for (uint32_t length = 0; length < frame_length; length++) {
			user_loopback_to_guest(loopback, frame, length, 1);
			user_loopback_from_guest(loopback, frame, length, 1);
		}
		user_loopback_destroy(loopback);
	}
}

static void test_open(void **state)
{
	EACH(family)
	{
		struct user_loopback *loopback = create(family, true);

		write_udp(family->guest, GUEST_PORT, family->gateway, CLIENT);
		assert_ptr_equal(user_loopback_from_guest(loopback, frame, frame_length, 1), frame);
		come(loopback, family, CLIENT, 1);
		assert_true(answer(loopback, family, GUEST_PORT, CLIENT, 1));
		user_loopback_destroy(loopback);
	}
}

/* However many come, the newest are answered. */
static void test_bounded(void **state)
{
	struct user_loopback *loopback = create(families, false);
	unsigned known = 0;

	for (uint32_t port = 1; port <= UINT16_MAX; port++) {
		come(loopback, families, (uint16_t)port, port);
		assert_true(answer(loopback, families, GUEST_PORT, (uint16_t)port, port));
	}
	for (uint32_t port = 1; port <= UINT16_MAX; port++)
		known += answer(loopback, families, GUEST_PORT, (uint16_t)port, UINT16_MAX);
	assert_int_equal(known, 4096);
	user_loopback_destroy(loopback);
}

static void set_fragment(uint16_t id, uint16_t fragment)
{
	write_be16(frame + 18, id);
	write_be16(frame + 20, fragment);
}

/* Later fragments follow a first that was let through, and no other. */
static void test_fragments(void **state)
{
	static const uint8_t client[4] = { 127, 0, 0, 1 };
	struct user_loopback *loopback = create(families, false);
	const uint8_t *out;

	come(loopback, families, CLIENT, 1);
	write_udp("10.0.2.15", GUEST_PORT, "10.0.2.2", CLIENT);
	set_fragment(7, 0x0001);
	assert_ptr_equal(user_loopback_from_guest(loopback, frame, frame_length, 1), frame);
	set_fragment(7, 0x2000);
	assert_null(user_loopback_from_guest(loopback, frame, 14 + 20 + 7, 1));
	out = user_loopback_from_guest(loopback, frame, frame_length, 1);
	assert_memory_equal(out + 30, client, 4);
	set_fragment(7, 0x0001);
	out = user_loopback_from_guest(loopback, frame, frame_length, 1);
	assert_memory_equal(out + 30, client, 4);
	assert_memory_equal(out + 34, frame + 34, frame_length - 34);
	set_fragment(8, 0x0001);
	assert_ptr_equal(user_loopback_from_guest(loopback, frame, frame_length, 1), frame);
	write_udp("10.0.2.15", GUEST_PORT, "10.0.2.2", CLIENT + 1);
	set_fragment(9, 0x2000);
	assert_null(user_loopback_from_guest(loopback, frame, frame_length, 1));
	user_loopback_destroy(loopback);
}

/* The frame that ends in libslirp, and what libslirp says of it. */
static void test_opening(void **state)
{
	EACH(family)
	{
		struct user_loopback *loopback = create(family, false);
		struct user_forward forward = forward_of(family);
		uint8_t opening[128], error[300] = { 0 };
		struct packet_header header = { .source = ip_of(family->gateway),
						.destination = ip_of(family->guest) };
		size_t length = user_loopback_opening(&forward, opening, sizeof(opening));
		struct packet packet;

		assert_true(packet_parse(opening, length, &packet));
		assert_true(ip_is_loopback(&packet.destination));
		assert_int_equal(packet.hop_limit, 1);
		assert_int_equal(packet.source_port, GUEST_PORT);
		header.protocol = packet.ip_version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		error[0] = packet.ip_version == 4 ? 11 : 3;
		memcpy(error + 8, opening + 14, length - 14);
		frame_length = (uint32_t)packet_write_ip(&header, error, 8 + length - 14, frame,
							 sizeof(frame));
		assert_null(user_loopback_to_guest(loopback, frame, frame_length, 1));
		user_loopback_destroy(loopback);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	  cmocka_unit_test(test_no_clients),
		cmocka_unit_test(test_open),	  cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_fragments), cmocka_unit_test(test_opening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
