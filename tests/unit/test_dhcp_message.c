/* DHCP messages taken apart and written: fields, long and overloaded options, lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/dhcp_message.h"

#include "base/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXED 240u

/* A request of 240 bytes and the options given; returns its length. */
static size_t make(uint8_t *bytes, const void *options, size_t length)
{
	static const uint8_t head[] = { 1,  1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0,	 7, 0x80, 0,
					10, 0, 0, 1, 10,   0,	 0,    2,    10, 0, 0,	  3,
					10, 0, 0, 4, 0x52, 0x54, 0,    0,    0,	 1 };

	memset(bytes, 0, FIXED);
	memcpy(bytes, head, sizeof(head));
	write_be32(bytes + 236, 0x63825363);
	memcpy(bytes + FIXED, options, length);
	return FIXED + length;
}

/* Parses out of an allocation of its own size, for the sanitizer to see each byte too many. */
static int parse(const uint8_t *bytes, size_t length, struct dhcp_message *message)
{
	uint8_t *copy = malloc(length == 0 ? 1 : length);
	int status;

	assert_non_null(copy);
	memcpy(copy, bytes, length);
	status = dhcp_message_parse(copy, length, message);
	free(copy);
	return status;
}

static int parse_options(const void *options, size_t length, struct dhcp_message *message)
{
	static uint8_t bytes[DHCP_MESSAGE_MAX + 1];

	return parse(bytes, make(bytes, options, length), message);
}

#define PARSE(options, message) parse_options(options, sizeof(options) - 1, message)

static void assert_ip(const struct ip *ip, const char *expected)
{
	char text[IP_TEXT_LENGTH];

	assert_string_equal(ip_to_text(ip, text), expected);
}

static void test_fixed_fields(void **state)
{
	struct dhcp_message message;
	uint8_t bytes[300];
	size_t length = make(bytes, "\x35\x01\x01\xff", 4);

	strcpy((char *)bytes + 44, "server");
	memset(bytes + 108, 'f', 128);
	assert_int_equal(parse(bytes, length, &message), 0);
	assert_int_equal(message.header.op, DHCP_BOOTREQUEST);
	assert_int_equal(message.header.xid, 0xdeadbeef);
	assert_int_equal(message.header.seconds, 7);
	assert_int_equal(message.header.flags, DHCP_FLAG_BROADCAST);
	assert_ip(&message.header.ciaddr, "10.0.0.1");
	assert_ip(&message.header.yiaddr, "10.0.0.2");
	assert_ip(&message.header.siaddr, "10.0.0.3");
	assert_ip(&message.header.giaddr, "10.0.0.4");
	assert_memory_equal(message.header.chaddr.bytes, "\x52\x54\0\0\0\x01", 6);
	assert_string_equal(message.header.sname, "server");
	assert_int_equal(strlen(message.header.file), DHCP_FILE_MAX);
	assert_int_equal(message.type, DHCP_DISCOVER);
}

static void test_options(void **state)
{
	struct dhcp_message message;
	struct ip_list list;
	struct ip ip;
	uint32_t number;
	uint16_t size;
	uint8_t small;
	char text[8];
	size_t length;

	assert_int_equal(
	    PARSE("\0\0\x35\x01\x03\x32\x04\x0a\0\0\x09\x33\x04\0\0\x0e\x10\x39\x02\x05\xdc"
		  "\x0c\x05"
		  "web\0\0"
		  "\x50\0\x06\x08\x01\x01\x01\x01\x02\x02\x02\x02\xff\x35",
		  &message),
	    0);
	assert_int_equal(message.type, DHCP_REQUEST);
	assert_true(dhcp_message_ip(&message, DHCP_OPTION_REQUESTED_IP, &ip));
	assert_ip(&ip, "10.0.0.9");
	assert_true(dhcp_message_u32(&message, DHCP_OPTION_LEASE_TIME, &number));
	assert_int_equal(number, 3600);
	assert_true(dhcp_message_u16(&message, DHCP_OPTION_MAX_SIZE, &size));
	assert_int_equal(size, 1500);
	assert_true(dhcp_message_text(&message, DHCP_OPTION_HOST_NAME, text, sizeof(text)));
	assert_string_equal(text, "web");
	assert_false(dhcp_message_text(&message, DHCP_OPTION_HOST_NAME, text, 3));
	assert_non_null(dhcp_message_option(&message, 0x50, &length));
	assert_int_equal(length, 0);
	assert_true(dhcp_message_ips(&message, DHCP_OPTION_DNS, &list));
	assert_int_equal(list.count, 2);
	assert_ip(&list.ips[1], "2.2.2.2");
	/* Of another size, or not there. */
	assert_false(dhcp_message_u8(&message, DHCP_OPTION_MAX_SIZE, &small));
	assert_false(dhcp_message_u16(&message, DHCP_OPTION_LEASE_TIME, &size));
	assert_false(dhcp_message_u32(&message, DHCP_OPTION_MAX_SIZE, &number));
	assert_false(dhcp_message_ip(&message, DHCP_OPTION_DNS, &ip));
	assert_false(dhcp_message_ips(&message, DHCP_OPTION_MAX_SIZE, &list));
	assert_false(dhcp_message_ips(&message, 0x50, &list));
	assert_null(dhcp_message_option(&message, DHCP_OPTION_ROUTER, &length));
	assert_null(dhcp_message_option(&message, DHCP_OPTION_END, &length));
}

static void test_text_with_nul_inside_is_refused(void **state)
{
	struct dhcp_message message;
	char text[8];

	assert_int_equal(PARSE("\x0c\x04w\0eb\xff", &message), 0);
	assert_int_equal(message.type, DHCP_BOOTP);
	assert_false(dhcp_message_text(&message, DHCP_OPTION_HOST_NAME, text, sizeof(text)));
	assert_int_equal(PARSE("\x0c\x02\0\0\xff", &message), 0);
	assert_true(dhcp_message_text(&message, DHCP_OPTION_HOST_NAME, text, sizeof(text)));
	assert_string_equal(text, "");
}

static void test_lies_are_refused(void **state)
{
	static const struct {
		const char *options;
		size_t length;
	} wrong[] = {
		{ "\x35", 1 },			  /* no length */
		{ "\x35\x01", 2 },		  /* no value */
		{ "\x35\x01\x01\x0c\x05web", 8 }, /* beyond the end */
		{ "\x35\x01\x00\xff", 4 },	  /* types that do not exist */
		{ "\x35\x01\x09\xff", 4 },
		{ "\x35\x02\x01\x01\xff", 5 },
		{ "\x35\x00\xff", 3 },
		{ "\x35\x01\x01\x35\x01\x01\xff", 7 }, /* twice: two bytes long */
		{ "\x34\x01\x01\xff", 4 },	       /* `file` is full of an option too long */
		{ "\x34\x01\x02\xff", 4 },
	};
	struct dhcp_message message;
	uint8_t bytes[DHCP_MESSAGE_MAX + 1] = { 0 };
	size_t length = make(bytes, "\x35\x01\x01\xff", 4);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		size_t long_one = make(bytes, wrong[i].options, wrong[i].length);

		memset(bytes + 44, 0xfe, 192);
		assert_int_equal(parse(bytes, long_one, &message), -EINVAL);
	}
	make(bytes, "\x35\x01\x01\xff", 4);
	for (size_t i = 0; i < FIXED; i++)
		assert_int_equal(parse(bytes, i, &message), -EINVAL);
	assert_int_equal(parse(bytes, FIXED, &message), 0);
	assert_int_equal(message.type, DHCP_BOOTP);
	assert_int_equal(parse(bytes, DHCP_MESSAGE_MAX, &message), 0);
	assert_int_equal(parse(bytes, DHCP_MESSAGE_MAX + 1, &message), -EMSGSIZE);
	/* op, hardware type, its length, cookie */
	static const size_t bad_bytes[] = { 0, 1, 2, 236, 239 };
	for (size_t i = 0; i < sizeof(bad_bytes) / sizeof(bad_bytes[0]); i++) {
		bytes[bad_bytes[i]] ^= 0x40;
		assert_int_equal(parse(bytes, length, &message), -EINVAL);
		bytes[bad_bytes[i]] ^= 0x40;
	}
	assert_int_equal(parse(bytes, length, &message), 0);
}

static void test_long_option_is_put_together(void **state)
{
	struct dhcp_message message;
	uint8_t options[400] = { 0 };
	const uint8_t *bytes;
	size_t length;

	/* 200 + 100 bytes of option 43, another option between (RFC 3396). */
	options[0] = 43;
	options[1] = 200;
	memset(options + 2, 'a', 200);
	memcpy(options + 202, "\x35\x01\x08", 3);
	options[205] = 43;
	options[206] = 100;
	memset(options + 207, 'b', 100);
	options[307] = 255;
	assert_int_equal(parse_options(options, 308, &message), 0);
	assert_int_equal(message.type, DHCP_INFORM);
	bytes = dhcp_message_option(&message, 43, &length);
	assert_int_equal(length, 300);
	assert_int_equal(bytes[199], 'a');
	assert_int_equal(bytes[200], 'b');
	assert_int_equal(bytes[299], 'b');
}

static void test_overload(void **state)
{
	struct dhcp_message message;
	uint8_t bytes[400];
	const uint8_t *value;
	size_t length, end = make(bytes, "\x34\x01\x03\x35\x01\x01\x2b\x01m\xff", 10);

	/* In `file` 52 has no meaning; what follows its end is not looked at. */
	memcpy(bytes + 108, "\x34\x01\x00\x2b\x02yz\x0c\x01h\xff\x0c\xff", 13);
	memcpy(bytes + 44, "\x2b\x01s\xff", 4);
	assert_int_equal(parse(bytes, end, &message), 0);
	value = dhcp_message_option(&message, 43, &length);
	assert_int_equal(length, 4);
	assert_memory_equal(value, "myzs", 4); /* main field, file, sname */
	value = dhcp_message_option(&message, DHCP_OPTION_HOST_NAME, &length);
	assert_int_equal(length, 1);
	assert_string_equal(message.header.sname, "");
	assert_string_equal(message.header.file, "");
	/* `file` alone. */
	bytes[FIXED + 2] = 1;
	assert_int_equal(parse(bytes, end, &message), 0);
	value = dhcp_message_option(&message, 43, &length);
	assert_int_equal(length, 3);
	assert_int_equal(message.header.sname[0], 43);
}

static void test_routes(void **state)
{
	struct dhcp_message message;
	struct dhcp_route routes[3];
	char text[IP_PREFIX_TEXT_LENGTH];

	assert_int_equal(
	    PARSE("\x79\x13\0\x0a\0\0\x01\x19\x0a\x01\x02\x83\x0a\0\0\x02\x08\x0b\0\0\0\0\xff",
		  &message),
	    0);
	assert_int_equal(dhcp_message_routes(&message, routes, 3), 0); /* a byte short */
	assert_int_equal(
	    PARSE("\x79\x14\0\x0a\0\0\x01\x19\x0a\x01\x02\x83\x0a\0\0\x02\x08\x0b\0\0\0\0\xff",
		  &message),
	    0);
	assert_int_equal(dhcp_message_routes(&message, routes, 3), 3);
	assert_string_equal(ip_prefix_to_text(&routes[0].to, text), "0.0.0.0/0");
	assert_ip(&routes[0].via, "10.0.0.1");
	assert_string_equal(ip_prefix_to_text(&routes[1].to, text), "10.1.2.128/25");
	assert_ip(&routes[1].via, "10.0.0.2");
	assert_string_equal(ip_prefix_to_text(&routes[2].to, text), "11.0.0.0/8");
	assert_ip(&routes[2].via, "0.0.0.0");
	assert_int_equal(dhcp_message_routes(&message, routes, 1), 1);
	assert_int_equal(PARSE("\x79\x05\x21\x0a\0\0\x01\xff", &message), 0);
	assert_int_equal(dhcp_message_routes(&message, routes, 3), 0); /* a /33 */
	assert_int_equal(PARSE("\xff", &message), 0);
	assert_int_equal(dhcp_message_routes(&message, routes, 3), 0);
}

static struct dhcp_header header(void)
{
	struct dhcp_header h = {
		.op = DHCP_BOOTREPLY,
		.xid = 0x01020304,
		.flags = DHCP_FLAG_BROADCAST,
		.ciaddr = ip_from_v4(1),
		.yiaddr = ip_from_v4(2),
		.siaddr = ip_from_v4(3),
		.giaddr = ip_from_v4(4),
		.chaddr = { { 1, 2, 3, 4, 5, 6 } },
	};

	return h;
}

static void test_written_is_read_back(void **state)
{
	struct dhcp_header h = header();
	struct dhcp_writer writer;
	struct dhcp_message message;
	struct ip_list list = { .count = 2, .ips = { ip_from_v4(5), ip_from_v4(6) } };
	char domains[2][DHCP_DOMAIN_MAX + 1] = { "lab.internal", "x." };
	struct dhcp_route routes[2], read[4];
	const uint8_t *bytes;
	size_t length;
	char text[300];

	strcpy(h.sname, "boot.example");
	strcpy(h.file, "pxelinux.0");
	assert_int_equal(ip_prefix_from_text("10.1.2.3/20", &routes[0].to), 0);
	routes[0].via = ip_from_v4(7);
	assert_int_equal(ip_prefix_from_text("0.0.0.0/0", &routes[1].to), 0);
	routes[1].via = ip_from_v4(8);
	dhcp_write_start(&writer, &h, DHCP_OFFER, 0);
	assert_true(dhcp_write_u16(&writer, DHCP_OPTION_MTU, 1400));
	assert_true(dhcp_write_text(&writer, DHCP_OPTION_DOMAIN, "lab.internal"));
	assert_true(dhcp_write_ips(&writer, DHCP_OPTION_DNS, &list));
	assert_true(dhcp_write_search(&writer, 2, domains));
	assert_true(dhcp_write_search(&writer, 0, NULL));
	assert_true(dhcp_write_routes(&writer, 1, routes, 1, routes + 1));
	list.count = 0;
	assert_true(dhcp_write_ips(&writer, DHCP_OPTION_NTP, &list));
	length = dhcp_write_finish(&writer);
	assert_int_equal(parse(writer.bytes, length, &message), 0);
	assert_int_equal(message.type, DHCP_OFFER);
	assert_int_equal(message.header.xid, 0x01020304);
	assert_int_equal(message.header.flags, DHCP_FLAG_BROADCAST);
	assert_ip(&message.header.ciaddr, "0.0.0.1");
	assert_ip(&message.header.yiaddr, "0.0.0.2");
	assert_ip(&message.header.siaddr, "0.0.0.3");
	assert_ip(&message.header.giaddr, "0.0.0.4");
	assert_memory_equal(&message.header.chaddr, &h.chaddr, 6);
	assert_string_equal(message.header.sname, "boot.example");
	assert_string_equal(message.header.file, "pxelinux.0");
	assert_true(dhcp_message_text(&message, DHCP_OPTION_DOMAIN, text, sizeof(text)));
	assert_string_equal(text, "lab.internal");
	bytes = dhcp_message_option(&message, DHCP_OPTION_SEARCH, &length);
	assert_int_equal(length, 17);
	assert_memory_equal(bytes, "\x03lab\x08internal\0\x01x\0", 17);
	assert_null(dhcp_message_option(&message, DHCP_OPTION_NTP, &length));
	assert_null(dhcp_message_option(&message, DHCP_OPTION_OVERLOAD, &length));
	assert_int_equal(dhcp_message_routes(&message, read, 4), 2);
	assert_string_equal(ip_prefix_to_text(&read[0].to, text), "10.1.0.0/20");
	assert_ip(&read[1].via, "0.0.0.8");
}

static void test_short_message_is_padded(void **state)
{
	struct dhcp_header h = header();
	struct dhcp_writer writer;
	struct dhcp_message message;

	dhcp_write_start(&writer, &h, DHCP_BOOTP, 0);
	assert_int_equal(dhcp_write_finish(&writer), DHCP_MESSAGE_PAD);
	/* And further, as far as the client takes it. */
	for (size_t length = DHCP_MESSAGE_PAD; length < writer.limit; length++) {
		assert_true(dhcp_write_pad(&writer));
		assert_int_equal(writer.used, length + 1);
		assert_int_equal(writer.bytes[length], DHCP_OPTION_PAD);
	}
	assert_false(dhcp_write_pad(&writer));
	assert_int_equal(writer.used, writer.limit);
	assert_int_equal(parse(writer.bytes, DHCP_MESSAGE_PAD, &message), 0);
	assert_int_equal(message.type, DHCP_BOOTP);
}

static void test_full_message_overloads(void **state)
{
	uint8_t value[255] = { 'v' };
	struct dhcp_header h = header();
	struct dhcp_writer writer;
	struct dhcp_message message;
	size_t length;
	uint8_t overload;

	dhcp_write_start(&writer, &h, DHCP_ACK, 100); /* means DHCP_LIMIT_MIN */
	assert_true(dhcp_write_option(&writer, 43, value, 255));
	/* 308 bytes of options: 3 for the type, 257, 4 kept. */
	assert_true(dhcp_write_option(&writer, 44, value, 42));
	assert_true(dhcp_write_option(&writer, 45, value, 125));
	assert_false(dhcp_write_option(&writer, 46, value, 62));
	assert_true(dhcp_write_option(&writer, 47, value, 61));
	assert_false(dhcp_write_option(&writer, 48, value, 0));
	length = dhcp_write_finish(&writer);
	assert_int_equal(length, DHCP_LIMIT_MIN);
	assert_int_equal(parse(writer.bytes, length, &message), 0);
	assert_true(dhcp_message_u8(&message, DHCP_OPTION_OVERLOAD, &overload));
	assert_int_equal(overload, 3);
	for (uint8_t code = 43; code <= 48; code++)
		assert_int_equal(dhcp_message_option(&message, code, &length) != NULL,
				 code != 46 && code != 48);

	/* Fields in use are left alone. */
	strcpy(h.file, "f");
	strcpy(h.sname, "s");
	dhcp_write_start(&writer, &h, DHCP_ACK, 0);
	assert_true(dhcp_write_option(&writer, 43, value, 255));
	assert_false(dhcp_write_option(&writer, 45, value, 60));
	length = dhcp_write_finish(&writer);
	assert_int_equal(parse(writer.bytes, length, &message), 0);
	assert_string_equal(message.header.file, "f");
	assert_string_equal(message.header.sname, "s");
	assert_null(dhcp_message_option(&message, DHCP_OPTION_OVERLOAD, &length));
}

static void test_long_option_is_split(void **state)
{
	uint8_t value[1000];
	struct dhcp_header h = header();
	struct dhcp_writer writer;
	struct dhcp_message message;
	const uint8_t *bytes;
	size_t length;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7);
	dhcp_write_start(&writer, &h, DHCP_ACK, 1472);
	assert_false(dhcp_write_option(&writer, 43, value, DHCP_MESSAGE_MAX + 1));
	assert_true(dhcp_write_option(&writer, 43, value, sizeof(value)));
	assert_false(dhcp_write_option(&writer, 44, value, 255));
	length = dhcp_write_finish(&writer);
	assert_int_equal(writer.bytes[FIXED + 3], 43);
	assert_int_equal(writer.bytes[FIXED + 4], 255);
	assert_int_equal(writer.bytes[FIXED + 3 + 257], 43);
	assert_int_equal(parse(writer.bytes, length, &message), 0);
	bytes = dhcp_message_option(&message, 43, &length);
	assert_int_equal(length, sizeof(value));
	assert_memory_equal(bytes, value, sizeof(value));
}

static void test_names(void **state)
{
	char longest[300];
	uint8_t out[300];

	assert_int_equal(dhcp_name_encode("a.bc", out, sizeof(out)), 6);
	assert_memory_equal(out,
			    "\x01"
			    "a\x02"
			    "bc\0",
			    6);
	assert_int_equal(dhcp_name_encode("a.bc.", out, 6), 6);
	assert_int_equal(dhcp_name_encode("a.bc", out, 5), 0);
	assert_int_equal(dhcp_name_encode("", out, sizeof(out)), 0);
	assert_int_equal(dhcp_name_encode(".", out, sizeof(out)), 0);
	assert_int_equal(dhcp_name_encode("a..b", out, sizeof(out)), 0);
	memset(longest, 'x', sizeof(longest));
	longest[64] = '\0';
	assert_int_equal(dhcp_name_encode(longest, out, sizeof(out)), 0);
	longest[63] = '\0';
	assert_int_equal(dhcp_name_encode(longest, out, sizeof(out)), 65);
	memset(longest, 'x', sizeof(longest));
	for (size_t i = 63; i < sizeof(longest); i += 64)
		longest[i] = '.';
	longest[253] = '\0';
	assert_int_equal(dhcp_name_encode(longest, out, sizeof(out)), 255);
	longest[253] = 'x';
	longest[254] = '\0';
	assert_int_equal(dhcp_name_encode(longest, out, sizeof(out)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed_fields),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_text_with_nul_inside_is_refused),
		cmocka_unit_test(test_lies_are_refused),
		cmocka_unit_test(test_long_option_is_put_together),
		cmocka_unit_test(test_overload),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_written_is_read_back),
		cmocka_unit_test(test_short_message_is_padded),
		cmocka_unit_test(test_full_message_overloads),
		cmocka_unit_test(test_long_option_is_split),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
