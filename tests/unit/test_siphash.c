/* SipHash against the vectors of its authors' paper and reference implementation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/siphash.h"

static void test_vectors(void **state)
{
	const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t data[15];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	assert_int_equal(siphash(key, data, 0), 0x726fdb47dd0e0e31);
	assert_int_equal(siphash(key, data, 8), 0x93f5f5799a932462);
	assert_int_equal(siphash(key, data, 15), 0xa129ca6149be45e5);
}

static void test_keys_differ(void **state)
{
	uint64_t a[2], b[2];

	siphash_key(a);
	siphash_key(b);
	assert_true(a[0] != b[0] || a[1] != b[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_keys_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
