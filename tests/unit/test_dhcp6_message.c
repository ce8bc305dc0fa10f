/* DHCPv6 messages: what is read of good ones, that bad ones are refused, and that what is written
 * reads as it was meant (RFC 8415, 8 and 21). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/dhcp6_message.h"

#include <errno.h>
#include <string.h>

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

static struct dhcp6_message message;

static int parse(const uint8_t *bytes, size_t length)
{
	return dhcp6_message_parse(bytes, length, &message);
}

static void header(void **state)
{
	assert_int_equal(parse(BYTES(1, 0xab, 0xcd, 0xef)), 0);
	assert_int_equal(message.type, DHCP6_SOLICIT);
	assert_int_equal(message.transaction, 0xabcdef);
	assert_null(message.client);
	assert_int_equal(message.status, DHCP6_NO_STATUS);
	assert_int_equal(parse(BYTES(1, 0xab, 0xcd)), -EBADMSG);
	assert_int_equal(parse((const uint8_t *)"", 0), -EBADMSG);
	/* A relay's header is no list of options. */
	assert_int_equal(parse(BYTES(12, 0, 0, 0, 9)), 0);
	assert_int_equal(message.type, DHCP6_RELAY_FORW);
}

static void read_all(void **state)
{
	const uint8_t duid[] = { 0, 3, 0, 1, 1, 2, 3, 4, 5, 6 };
	const uint8_t codes[] = { 0, 23, 0, 24 }, name[] = { 1, 3, 'w', 'e', 'b' };
	struct dhcp6_ia ia = { .code = DHCP6_IA_NA,
			       .iaid = 7,
			       .t1 = 1,
			       .t2 = 2,
			       .status = DHCP6_NO_BINDING,
			       .address_count = 2,
			       .addresses = { { { { 0xfd, [15] = 1 } }, 3, 4 },
					      { { { 0xfd, [15] = 2 } }, 5, 6 } } };
	struct dhcp6_ia pd = { .code = DHCP6_IA_PD, .iaid = 7, .status = DHCP6_NO_PREFIX_AVAIL };
	struct dhcp6_ia ta = { .code = DHCP6_IA_TA, .iaid = 7, .status = DHCP6_NO_STATUS };
	uint8_t bytes[512];
	struct dhcp6_writer writer = { .bytes = bytes, .size = sizeof(bytes) };
	unsigned whole = 0;

	dhcp6_write_header(&writer, DHCP6_REPLY, 0x99123456);
	dhcp6_write_option(&writer, DHCP6_CLIENT_ID, duid, sizeof(duid));
	dhcp6_write_option(&writer, DHCP6_SERVER_ID, duid, sizeof(duid) - 1);
	dhcp6_write_option(&writer, DHCP6_OPTION_REQUEST, codes, sizeof(codes));
	dhcp6_write_option(&writer, DHCP6_CLIENT_FQDN, name, sizeof(name));
	dhcp6_write_option(&writer, DHCP6_RAPID_COMMIT, NULL, 0);
	dhcp6_write_option_u32(&writer, DHCP6_INFORMATION_REFRESH, 600);
	dhcp6_write_status(&writer, DHCP6_USE_MULTICAST, "no");
	dhcp6_write_ia(&writer, &ia);
	dhcp6_write_ia(&writer, &pd);
	dhcp6_write_ia(&writer, &ta);
	assert_false(writer.truncated);
	assert_int_equal(parse(bytes, writer.length), 0);
	assert_int_equal(message.type, DHCP6_REPLY);
	assert_int_equal(message.transaction, 0x123456);
	assert_int_equal(message.client_length, 10);
	assert_memory_equal(message.client, duid, 10);
	assert_int_equal(message.server_length, 9);
	assert_true(dhcp6_message_requests(&message, 23));
	assert_true(dhcp6_message_requests(&message, 24));
	assert_false(dhcp6_message_requests(&message, 25));
	assert_int_equal(message.name_flags, 1);
	assert_int_equal(message.name_length, 4);
	assert_memory_equal(message.name, name + 1, 4);
	assert_true(message.rapid_commit);
	assert_int_equal(message.status, DHCP6_USE_MULTICAST);
	assert_int_equal(message.ia_count, 3);
	assert_memory_equal(&message.ias[0], &ia, sizeof(ia));
	assert_memory_equal(&message.ias[1], &pd, sizeof(pd));
	assert_memory_equal(&message.ias[2], &ta, sizeof(ta));
	/* Each length short of the whole is refused, or ends between two options. */
	for (size_t length = 0; length < writer.length; length++)
		whole += parse(bytes, length) == 0;
	assert_int_equal(whole, 10);
}

/* RFC 8415, 16: what makes a message one to discard. */
static void refused(void **state)
{
	/* An option that claims more than there is, and half a header. */
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 1, 0, 5, 0, 3, 0, 1)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 99, 0)), -EBADMSG);
	/* DUIDs: too short, too long. */
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 1, 0, 2, 0, 3)), -EBADMSG);
	{
		uint8_t bytes[4 + 4 + 131] = { 1, 0, 0, 0, 0, 1, 0, 131 };

		assert_int_equal(parse(bytes, sizeof(bytes)), -EBADMSG);
		bytes[7] = 130;
		assert_int_equal(parse(bytes, sizeof(bytes) - 1), 0);
		assert_int_equal(message.client_length, 130);
	}
	/* Twice. */
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 1, 0, 3, 0, 3, 1, 0, 1, 0, 3, 0, 3, 1)),
			 -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 14, 0, 0, 0, 14, 0, 0)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 6, 0, 0, 0, 6, 0, 0)), -EBADMSG);
	/* Codes of a byte and a half, a commit with something in it, no status. */
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 6, 0, 3, 0, 23, 0)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 14, 0, 1, 0)), -EBADMSG);
	assert_int_equal(parse(BYTES(7, 0, 0, 0, 0, 13, 0, 1, 0)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 39, 0, 0)), -EBADMSG);
	/* An association too short for itself, or whose option leads out of it. */
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 1)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 4, 0, 8, 0, 0, 0, 1, 0, 5, 0, 24)), -EBADMSG);
	assert_int_equal(parse(BYTES(1, 0, 0, 0, 0, 4, 0, 10, 0, 0, 0, 1, 0, 5, 0, 2, 0, 0)),
			 -EBADMSG);
	assert_int_equal(parse(BYTES(7, 0, 0, 0, 0, 4, 0, 9, 0, 0, 0, 1, 0, 13, 0, 1, 0)),
			 -EBADMSG);
}

/* More than we look at, or the same one twice. */
static void many_associations(void **state)
{
	uint8_t bytes[1024];
	struct dhcp6_writer writer = { .bytes = bytes, .size = sizeof(bytes) };
	struct dhcp6_ia ia = { .code = DHCP6_IA_NA, .status = DHCP6_NO_STATUS };

	dhcp6_write_header(&writer, DHCP6_SOLICIT, 1);
	for (ia.iaid = 0; ia.iaid < DHCP6_IAS_MAX; ia.iaid++) {
		dhcp6_write_ia(&writer, &ia);
		assert_int_equal(parse(bytes, writer.length), 0);
		assert_int_equal(message.ia_count, ia.iaid + 1);
	}
	dhcp6_write_ia(&writer, &ia);
	assert_int_equal(parse(bytes, writer.length), -EBADMSG);
	writer.length = DHCP6_HEADER_LENGTH;
	dhcp6_write_ia(&writer, &ia);
	dhcp6_write_ia(&writer, &ia);
	assert_int_equal(parse(bytes, writer.length), -EBADMSG);
}

/* Addresses beyond those we look at are passed over, but read. */
static void many_addresses(void **state)
{
	uint8_t bytes[4 + 4 + 12 + 6 * 28] = { 3, 0, 0, 1, 0, 3, 0, 12 + 6 * 28 };

	for (unsigned i = 0; i < 6; i++) {
		uint8_t *p = bytes + 20 + 28 * i;

		p[1] = DHCP6_IA_ADDRESS;
		p[3] = 24;
		p[19] = (uint8_t)i;
	}
	assert_int_equal(parse(bytes, sizeof(bytes)), 0);
	assert_int_equal(message.ias[0].address_count, DHCP6_ADDRESSES_MAX);
	assert_int_equal(message.ias[0].addresses[3].ip.bytes[15], 3);
	bytes[20 + 28 * 5 + 3] = 23;
	assert_int_equal(parse(bytes, sizeof(bytes)), -EBADMSG);
}

static void writer_without_room(void **state)
{
	uint8_t bytes[24];
	struct dhcp6_ia ia = { .code = DHCP6_IA_NA, .status = DHCP6_SUCCESS };

	for (size_t size = 0; size < 4 + 12 + 6; size++) {
		struct dhcp6_writer writer = { .bytes = bytes, .size = size };

		memset(bytes, 0xee, sizeof(bytes));
		dhcp6_write_header(&writer, DHCP6_REPLY, 1);
		dhcp6_write_ia(&writer, &ia);
		assert_true(writer.truncated);
		dhcp6_write_option_u32(&writer, 1, 1);
		dhcp6_write_option(&writer, 1, bytes, 18);
		dhcp6_write_status(&writer, DHCP6_SUCCESS, "a text too long for it");
		assert_true(writer.length <= size);
		for (size_t i = size; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0xee);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header),	  cmocka_unit_test(read_all),
		cmocka_unit_test(refused),	  cmocka_unit_test(many_associations),
		cmocka_unit_test(many_addresses), cmocka_unit_test(writer_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
