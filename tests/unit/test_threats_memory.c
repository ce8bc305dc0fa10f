/* What a hostile frontend can do with file descriptors and memory: too many, too few, the wrong
 * kind, regions and logs that overlap, overflow or are larger than their files.
 * docs/threat-model.md names each test here; other messages are in test_threats.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"
#include "tests/lib/repeat.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static struct fixture fixture;

/* After an attack a frontend that behaves is served. */
static void close_alive(void)
{
	assert_int_equal(fake_guest_reconnect(fixture.guest, FAKE_ORDER_QEMU), 0);
	fixture_post_and_echo(&fixture, 0, 60, 4, 2048);
	fixture_close(&fixture);
}

static void test_cve_2020_10722_log_size_overflows(void **state)
{
	static const uint64_t areas[][2] = {
		{ UINT64_MAX - 4095, 8192 }, { 4096, UINT64_MAX - 4095 },
		{ UINT64_MAX, UINT64_MAX },  { 0, 0 },
		{ 1ull << 63, 1ull << 63 },  { 8192, 0 }, /* more than the file has */
	};
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct repeat repeat = repeat_begin();

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		fixture_expect_refused(&fixture, FAKE_SET_LOG_BASE, areas[repeat.done % 6], 16, &fd,
				       1);
		assert_false(harness_status(&fixture.harness).logging);
	}
	close(fd);
	close_alive();
}

static void test_cve_2022_0669_fds_nobody_asked_for(void **state)
{
	struct repeat repeat = repeat_begin();
	int fds[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint8_t payload[8] = { 0 };

		switch (repeat.done % 4) {
		case 0:
			fixture_expect_refused(&fixture, FAKE_SET_INFLIGHT_FD, payload, 8, fds, 8);
			break;
		case 1:
			fixture_expect_refused(&fixture, FAKE_SET_OWNER, payload, 0, fds, 3);
			break;
		case 2:
			fixture_expect_refused(&fixture, FAKE_SET_VRING_KICK, payload, 8, fds, 2);
			break;
		default:
			fixture_expect_refused(&fixture, FAKE_GET_FEATURES, payload, 0, fds, 8);
			break;
		}
	}
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	close_alive();
}

/* More descriptors than fit the room for control data: the kernel cuts them, those that came
 * through are ours to close. */
static void test_truncated_control_data(void **state)
{
	struct repeat repeat = repeat_begin();
	int fds[FAKE_FDS_MAX];

	(void)state;
	for (uint32_t i = 0; i < FAKE_FDS_MAX; i++)
		fds[i] = memfd_create("many", MFD_CLOEXEC);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		uint64_t errors = harness_status(&fixture.harness).message_errors;
		uint32_t count = 9 + repeat.done % (FAKE_FDS_MAX - 9);

		assert_int_equal(fake_guest_send_message(fixture.guest, FAKE_SET_MEM_TABLE,
							 FAKE_VERSION, 8, "\0\0\0\0\0\0\0", 8, fds,
							 count),
				 0);
		assert_int_equal(fake_guest_wait_hangup(fixture.guest), 0);
		assert_int_equal(harness_status(&fixture.harness).message_errors, errors + 1);
		fixture_connect_anew(&fixture);
	}
	for (uint32_t i = 0; i < FAKE_FDS_MAX; i++)
		close(fds[i]);
	close_alive();
}

/* The same over several reads: no single one has too many, and each byte of a message may bring
 * some. */
static void test_fds_with_every_byte(void **state)
{
	struct repeat repeat = repeat_begin();
	static const uint8_t bytes[12] = { FAKE_SET_MEM_TABLE };
	int fds[5];

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		fds[i] = memfd_create("many", MFD_CLOEXEC);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		for (uint32_t i = 0; i < 2; i++)
			assert_int_equal(fake_guest_send_bytes(fixture.guest, &bytes[i], 1, fds, 5),
					 0);
		assert_int_equal(fake_guest_wait_hangup(fixture.guest), 0);
		fixture_connect_anew(&fixture);
	}
	for (uint32_t i = 0; i < 5; i++)
		close(fds[i]);
	close_alive();
}

/* Whatever takes the place of an earlier one lets go of it. */
static void test_everything_set_again_and_again(void **state)
{
	struct repeat repeat = repeat_begin();
	struct fake_guest *guest;
	struct fake_message reply;
	uint64_t log[2] = { 4096, 0 };
	int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	guest = fixture.guest;
	while (repeat_next(&repeat)) {
		assert_int_equal(fake_guest_send_message(guest, FAKE_SET_LOG_BASE, FAKE_VERSION, 16,
							 log, 16, &fd, 1),
				 0);
		assert_int_equal(fake_guest_receive_message(guest, &reply), 0);
		assert_int_equal(fake_guest_send_memory(guest), 0);
		assert_int_equal(fake_guest_set_backend_fd(guest), 0);
		assert_int_equal(fake_guest_request(guest, FAKE_SET_LOG_FD, NULL, 0,
						    &guest->queues[0].call_fd, 1),
				 0);
		for (uint32_t request = FAKE_SET_VRING_KICK; request <= FAKE_SET_VRING_ERR;
		     request++)
			assert_int_equal(
			    fake_guest_set_fd(guest, request, 1, guest->queues[1].kick_fd), 0);
	}
	close(fd);
	close_alive();
}

struct table {
	uint32_t count, padding;
	struct {
		uint64_t guest_address, size, user_address, offset;
	} regions[8];
};

static void test_bad_memory_tables(void **state)
{
	static const struct table tables[] = {
		{ 2, 0, { { 0, 8192, 0, 0 }, { 4096, 4096, 1 << 20, 0 } } }, /* guest overlap */
		{ 2, 0, { { 0, 8192, 0, 0 }, { 8192, 4096, 4096, 0 } } },    /* user overlap */
		{ 2, 0, { { 0, 4096, 0, 0 }, { 0, 4096, 0, 0 } } },	     /* twice */
		{ 1, 0, { { 0, 0, 0, 0 } } },				     /* empty */
		{ 1, 0, { { 0, 16384, 0, 0 } } },			     /* beyond the file */
		{ 1, 0, { { 0, 8192, 0, 4096 } } },
		{ 1, 0, { { 0, 4096, 0, UINT64_MAX - 4095 } } },
		{ 1, 0, { { 0, UINT64_MAX, 0, 4096 } } },
		{ 1, 0, { { UINT64_MAX - 4095, 8192, 0, 0 } } }, /* wraps */
		{ 1, 0, { { 0, 8192, UINT64_MAX - 4095, 0 } } },
	};
	struct repeat repeat = repeat_begin();
	int fds[2] = { memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC) };

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(ftruncate(fds[i], 8192), 0);
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		const struct table *table = &tables[repeat.done % 10];
		uint64_t slot[5] = { 0 };

		fixture_expect_refused(&fixture, FAKE_SET_MEM_TABLE, table, 8 + 32 * table->count,
				       fds, table->count);
		if (table->count != 1)
			continue;
		memcpy(slot + 1, &table->regions[0], 32);
		fixture_expect_refused(&fixture, FAKE_ADD_MEM_REG, slot, sizeof(slot), fds, 1);
	}
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	close_alive();
}

/* The number of regions is not what size or descriptors say. */
static void test_memory_table_counts(void **state)
{
	static const uint32_t counts[][3] = { /* said, sent, descriptors */
					      { 2, 1, 2 }, { 3, 2, 3 },	       { 9, 8, 8 },
					      { 2, 2, 1 }, { 1, 1, 2 },	       { 0xffffffff, 8, 8 },
					      { 1, 1, 0 }, { 0x8000001, 1, 1 }
	};
	struct repeat repeat = repeat_begin();
	struct table table = { 0 };
	int fds[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		fds[i] = memfd_create("region", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fds[i], 4096), 0);
		table.regions[i].guest_address = table.regions[i].user_address = i * 4096;
		table.regions[i].size = 4096;
	}
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		const uint32_t *count = counts[repeat.done % 8];

		table.count = count[0];
		fixture_expect_refused(&fixture, FAKE_SET_MEM_TABLE, &table, 8 + 32 * count[1], fds,
				       count[2]);
	}
	for (uint32_t i = 0; i < 8; i++)
		close(fds[i]);
	close_alive();
}

/* Descriptors of the wrong kind: nothing to map, nothing to signal. */
static void test_fds_of_the_wrong_kind(void **state)
{
	struct repeat repeat = repeat_begin();
	struct table table = { .count = 1, .regions = { { .size = 4096 } } };
	int not_memory[3] = { eventfd(0, EFD_CLOEXEC), open("/dev/zero", O_RDWR | O_CLOEXEC),
			      open("/proc", O_RDONLY | O_CLOEXEC) };
	int not_notifier[2] = { memfd_create("file", MFD_CLOEXEC),
				open("/tmp", O_RDONLY | O_CLOEXEC) };
	static const uint8_t requests[] = { FAKE_SET_VRING_KICK, FAKE_SET_VRING_CALL,
					    FAKE_SET_VRING_ERR };
	uint64_t queue = 1;

	(void)state;
	fixture_start(&fixture, NULL, NULL, FAKE_ORDER_QEMU);
	while (repeat_next(&repeat)) {
		fixture_expect_refused(&fixture, FAKE_SET_MEM_TABLE, &table, 40,
				       &not_memory[repeat.done % 3], 1);
		fixture_expect_refused(&fixture, requests[repeat.done % 3], &queue, 8,
				       &not_notifier[repeat.done % 2], 1);
	}
	for (int i = 0; i < 3; i++)
		close(not_memory[i]);
	for (int i = 0; i < 2; i++)
		close(not_notifier[i]);
	close_alive();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cve_2020_10722_log_size_overflows),
		cmocka_unit_test(test_cve_2022_0669_fds_nobody_asked_for),
		cmocka_unit_test(test_truncated_control_data),
		cmocka_unit_test(test_fds_with_every_byte),
		cmocka_unit_test(test_everything_set_again_and_again),
		cmocka_unit_test(test_bad_memory_tables),
		cmocka_unit_test(test_memory_table_counts),
		cmocka_unit_test(test_fds_of_the_wrong_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
