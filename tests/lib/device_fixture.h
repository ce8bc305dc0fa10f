/* One device and one fake guest on it, and the few things that most tests of the device do. For
 * cmocka tests only: what fails, fails the test. */
#ifndef WEFT_TESTS_LIB_DEVICE_FIXTURE_H
#define WEFT_TESTS_LIB_DEVICE_FIXTURE_H

#include "tests/lib/device_harness.h"
#include "tests/lib/fake_guest.h"

struct fixture {
	struct harness harness;
	struct fake_guest *guest;
	struct vhost_device_config config;
	char directory[64]; /* of the socket, when the guest listens */
	char path[96];
	uint8_t sent[70000], received[70000];
};

/* Whether guests have packed rings where their options say nothing. For tests that run twice. */
extern bool fixture_packed;

/* Opens both, not connected. NULL for defaults; path, pump and (for config) the role are filled in
 * here. */
void fixture_open(struct fixture *fixture, enum harness_mode mode,
		  const struct vhost_device_config *config,
		  const struct fake_guest_options *options);
/* Opens both and shakes hands. */
void fixture_start(struct fixture *fixture, const struct vhost_device_config *config,
		   const struct fake_guest_options *options, enum fake_order order);
void fixture_close(struct fixture *fixture);

/* A frame of `length` bytes of a local experimental Ethertype, different for each seed. */
void fixture_fill(uint8_t *frame, uint32_t length, uint32_t seed);

/* Sends one frame and waits until it has come back, byte for byte the same. post: first gives the
 * guest's receive queue that many buffers of `size` bytes. */
void fixture_echo(struct fixture *fixture, uint32_t pair, uint32_t length);
void fixture_post_and_echo(struct fixture *fixture, uint32_t pair, uint32_t length, uint32_t post,
			   uint32_t size);

/* Pumps until *value is at least `target`. */
void fixture_pump_until(struct fixture *fixture, const unsigned *value, unsigned target);

/* Lets the device take the chain that was just posted on `queue`, takes it back, and expects that
 * it was counted once more under `reason` than *count, which grows by one. */
void fixture_expect_drop(struct fixture *fixture, uint32_t queue, enum drop_reason reason,
			 uint64_t *count);

/* A new connection that has negotiated REPLY_ACK and all the rest. */
void fixture_connect_anew(struct fixture *fixture);

/* Sends a message and expects it refused and noted: by a reply that is not 0, or by the end of the
 * connection, which is then made anew. */
void fixture_expect_refused(struct fixture *fixture, uint32_t request, const void *payload,
			    size_t size, const int *fds, uint32_t count);

/* Guest memory to build things in, and its host address: the slots of the first queue from the
 * guest, which must not send by itself meanwhile. */
uint64_t fixture_scratch(const struct fixture *fixture, uint32_t offset);
void *fixture_scratch_host(const struct fixture *fixture, uint32_t offset);

/* Lets the device work until it has nothing left to do. */
void fixture_settle(struct fixture *fixture);

#endif
