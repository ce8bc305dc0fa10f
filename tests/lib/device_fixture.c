/* What tests of the device share (device_fixture.h). On the thread of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/device_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fixture_packed;

void fixture_open(struct fixture *fixture, enum harness_mode mode,
		  const struct vhost_device_config *config,
		  const struct fake_guest_options *options)
{
	struct fake_guest_options guest = { 0 };
	struct error error;

	memset(fixture, 0, sizeof(*fixture));
	if (options != NULL)
		guest = *options;
	if (config != NULL)
		fixture->config = *config;
	if (fixture->config.name == NULL)
		fixture->config.name = "test";
	if (fixture->config.queue_pairs == 0)
		fixture->config.queue_pairs = guest.queue_pairs > 1 ? guest.queue_pairs : 1;
	guest.packed |= fixture_packed;
	guest.pump = harness_pump;
	guest.pump_context = &fixture->harness;
	if (guest.role == FAKE_LISTENS) {
		strcpy(fixture->directory, "/tmp/weft-test-XXXXXX");
		assert_non_null(mkdtemp(fixture->directory));
		snprintf(fixture->path, sizeof(fixture->path), "%s/socket", fixture->directory);
		guest.path = fixture->path;
		fixture->config.path = fixture->path;
		fixture->config.role = VHOST_ROLE_CLIENT;
		assert_int_equal(fake_guest_create(&guest, &fixture->guest), 0);
	}
	assert_int_equal(harness_open(&fixture->harness, mode, &fixture->config, &error), 0);
	if (guest.role == FAKE_CONNECTS) {
		guest.path = fixture->harness.path;
		assert_int_equal(fake_guest_create(&guest, &fixture->guest), 0);
	}
}

void fixture_start(struct fixture *fixture, const struct vhost_device_config *config,
		   const struct fake_guest_options *options, enum fake_order order)
{
	fixture_open(fixture, HARNESS_SAME_THREAD, config, options);
	assert_int_equal(fake_guest_start(fixture->guest, order), 0);
	assert_int_equal(fake_guest_sync(fixture->guest), 0);
}

void fixture_close(struct fixture *fixture)
{
	harness_close(&fixture->harness);
	fake_guest_destroy(fixture->guest);
	if (fixture->directory[0] != '\0')
		rmdir(fixture->directory);
}

void fixture_fill(uint8_t *frame, uint32_t length, uint32_t seed)
{
	static const uint8_t addresses[14] = { 0x52, 0x54, 0, 0, 0, 2,	  0x52,
					       0x54, 0,	   0, 0, 1, 0x88, 0xb5 };

	for (uint32_t i = 0; i < length; i++) {
		seed = seed * 1664525u + 1013904223u;
		frame[i] = (uint8_t)(seed >> 24);
	}
	memcpy(frame, addresses, length < sizeof(addresses) ? length : sizeof(addresses));
}

void fixture_echo(struct fixture *fixture, uint32_t pair, uint32_t length)
{
	static uint32_t seed;
	struct fake_header header = { 0 };
	int rc;

	fixture_fill(fixture->sent, length, ++seed);
	rc = fake_guest_send(fixture->guest, pair, &header, fixture->sent, length);
	assert_int_equal(rc, 0);
	rc = fake_guest_wait_receive(fixture->guest, pair, &header, fixture->received,
				     sizeof(fixture->received));
	assert_int_equal(rc, length);
	assert_memory_equal(fixture->received, fixture->sent, length);
	assert_int_equal(header.flags & ~2, 0);
	assert_int_equal(header.gso_type, 0);
}

void fixture_post_and_echo(struct fixture *fixture, uint32_t pair, uint32_t length, uint32_t post,
			   uint32_t size)
{
	assert_int_equal(fake_guest_post(fixture->guest, pair, post, size), 0);
	fixture_echo(fixture, pair, length);
}

void fixture_pump_until(struct fixture *fixture, const unsigned *value, unsigned target)
{
	/* Bound on failure only: an idle pump costs about a microsecond. */
	for (uint32_t i = 0; i < 20000000 && *value < target; i++)
		harness_pump(&fixture->harness);
	assert_true(*value >= target);
}

void fixture_settle(struct fixture *fixture)
{
	/* Each round takes a message, a burst, or a hang-up; what a test leaves takes few. */
	for (uint32_t i = 0; i < 64; i++)
		harness_pump(&fixture->harness);
}

void fixture_expect_drop(struct fixture *fixture, uint32_t queue, enum drop_reason reason,
			 uint64_t *count)
{
	struct fake_ring *ring = &fixture->guest->queues[queue].ring;
	uint32_t cookie, length;

	for (uint32_t i = 0; i < 64 && fake_ring_used_count(ring) == 0; i++)
		harness_pump(&fixture->harness);
	assert_int_equal(harness_drops(&fixture->harness, reason), ++*count);
	assert_int_equal(fake_ring_take(ring, &cookie, &length), 1);
}

void fixture_connect_anew(struct fixture *fixture)
{
	assert_int_equal(fake_guest_connect(fixture->guest), 0);
	assert_int_equal(fake_guest_get_features(fixture->guest), 0);
	assert_int_equal(fake_guest_negotiate_protocol(fixture->guest, UINT64_MAX), 0);
}

void fixture_expect_refused(struct fixture *fixture, uint32_t request, const void *payload,
			    size_t size, const int *fds, uint32_t count)
{
	uint64_t errors = harness_status(&fixture->harness).message_errors;
	int rc = fake_guest_request(fixture->guest, request, payload, size, fds, count);

	assert_true(rc == -EREMOTEIO || rc == -ECONNRESET);
	fixture_settle(fixture);
	assert_int_equal(harness_status(&fixture->harness).message_errors, errors + 1);
	assert_string_not_equal(harness_status(&fixture->harness).last_error, "");
	if (rc == -ECONNRESET)
		fixture_connect_anew(fixture);
}

uint64_t fixture_scratch(const struct fixture *fixture, uint32_t offset)
{
	return fixture->guest->queues[1].slots + offset;
}

void *fixture_scratch_host(const struct fixture *fixture, uint32_t offset)
{
	return fake_memory_host(&fixture->guest->memory, fixture_scratch(fixture, offset));
}
