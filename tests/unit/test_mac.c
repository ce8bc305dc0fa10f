/* MAC addresses as text and number (base/mac.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mac.h"

#include <errno.h>

static void test_text_is_read(void **state)
{
	static const char *const texts[] = { "52:54:00:aB:Cd:0f", "52-54-00-AB-cd-0F" };
	struct mac mac;
	char text[MAC_TEXT_LENGTH];

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(mac_from_text(texts[i], &mac), 0);
		assert_memory_equal(mac.bytes, "\x52\x54\x00\xab\xcd\x0f", 6);
		assert_ptr_equal(mac_to_text(mac, text), text);
		assert_string_equal(text, "52:54:00:ab:cd:0f");
	}
}

static void test_bad_text_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"52",
		"52:54:00:00:00",
		"52:54:00:00:00:1",
		"52:54:00:00:00:01:",
		"52:54:00:00:00:011",
		" 52:54:00:00:00:01",
		"52:54:00:00:00:01 ",
		"52:54:00:00:00:0g",
		"52:54:00:00:00:-1",
		"52:54:00-00:00:01",
		"52.54.00.00.00.01",
		"5:254:00:00:00:01",
		"52:54:00:00:00001",
		"0x:54:00:00:00:01",
		"52540000000100000",
	};
	struct mac mac = { { 1, 2, 3, 4, 5, 6 } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (mac_from_text(texts[i], &mac) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
	}
	/* What the caller had is left alone. */
	assert_memory_equal(mac.bytes, "\x01\x02\x03\x04\x05\x06", 6);
}

static void test_numbers_keep_wire_order(void **state)
{
	static const uint8_t bytes[MAC_LENGTH] = { 0x02, 0x54, 0x00, 0x00, 0x10, 0xff };
	struct mac mac = mac_from_u64(0x0254000010ff);

	assert_true(mac_to_u64(bytes) == 0x0254000010ffu);
	assert_memory_equal(mac.bytes, bytes, MAC_LENGTH);
}

static void test_kinds(void **state)
{
	assert_true(mac_is_multicast((const uint8_t *)"\xff\xff\xff\xff\xff\xff"));
	assert_true(mac_is_multicast((const uint8_t *)"\x01\x00\x5e\x00\x00\x01"));
	assert_false(mac_is_multicast((const uint8_t *)"\x02\xff\xff\xff\xff\xff"));
	assert_true(mac_is_zero((const uint8_t *)"\0\0\0\0\0\0"));
	assert_false(mac_is_zero((const uint8_t *)"\0\0\0\0\0\x01"));
	assert_false(mac_is_zero((const uint8_t *)"\x80\0\0\0\0\0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_read),
		cmocka_unit_test(test_bad_text_is_refused),
		cmocka_unit_test(test_numbers_keep_wire_order),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
