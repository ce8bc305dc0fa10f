/* What one guest or its frontend does, and what a restart of the switch does, to frames on their
 * way: others lose nothing, and rings go on where they were. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/lib/switch_traffic.h"

#include <sched.h>
#include <string.h>

#define A TRAFFIC_MAC(1)
#define B TRAFFIC_MAC(2)
#define C TRAFFIC_MAC(3)

static const char yaml[] = "workers: { count: 2 }\n"
			   "networks: { lab: { mode: isolated } }\n"
			   "ports:\n"
			   "  a: { network: lab, vhost-user: @/a }\n"
			   "  b: { network: lab, vhost-user: @/b }\n"
			   "  c: { network: lab, vhost-user: @/c }\n";

/* Guests a and b have a stream; c is the one things happen to. */
struct rig {
	struct switch_fixture fixture;
	struct stream stream;
	struct fake_guest *c;
};

static void learn(struct fake_guest *guest, uint64_t address)
{
	/* To itself: learned, and dropped as a hairpin or where it came from; nobody gets it. */
	struct traffic_frame frame = traffic_build(address, address, TRAFFIC_NO_TAG, 0, 60);

	traffic_send(guest, &frame);
	traffic_settle(guest);
}

static void rig_open(struct rig *rig, const struct fake_guest_options *of_a,
		     const struct fake_guest_options *of_c)
{
	memset(rig, 0, sizeof(*rig));
	switch_fixture_open(&rig->fixture, yaml);
	rig->stream.from_mac = A;
	rig->stream.to_mac = B;
	rig->stream.flows = 8;
	rig->stream.from = switch_fixture_guest(&rig->fixture, "a", of_a, 128);
	rig->stream.to = switch_fixture_guest(&rig->fixture, "b", NULL, 128);
	rig->c = switch_fixture_guest(&rig->fixture, "c", of_c, 128);
	learn(rig->stream.from, A);
	learn(rig->stream.to, B);
	learn(rig->c, C);
}

static void rig_close(struct rig *rig)
{
	fake_guest_destroy(rig->stream.from);
	fake_guest_destroy(rig->stream.to);
	fake_guest_destroy(rig->c);
	switch_fixture_close(&rig->fixture);
}

/* The stream has lost nothing, nor has the switch dropped anything of it. */
static void finish_stream(struct rig *rig)
{
	struct port_totals a, b;

	stream_finish(&rig->stream);
	a = switch_fixture_totals(&rig->fixture, "a");
	b = switch_fixture_totals(&rig->fixture, "b");
	for (int i = 0; i < DROP_COUNT; i++) {
		assert_int_equal(a.drops[i], i == DROP_HAIRPIN ? 1 : 0); /* learn() */
		assert_int_equal(b.drops[i], i == DROP_HAIRPIN ? 1 : 0);
	}
	assert_int_equal(b.transmit_packets, rig->stream.sent);
}

static struct port *port_of(struct rig *rig, const char *name)
{
	return vswitch_find_port(rig->fixture.vswitch, name);
}

/* Runs control until the port says that it has a fault. */
static void wait_fault(struct rig *rig, const char *name, const char *text)
{
	uint32_t start = clock_seconds();

	while (port_of(rig, name)->fault == NULL) {
		if (clock_seconds() - start > 10)
			fail_msg("port %s has no fault", name);
		switch_fixture_pump(&rig->fixture);
		sched_yield();
	}
	if (strstr(port_of(rig, name)->fault, text) == NULL)
		fail_msg("port %s: %s", name, port_of(rig, name)->fault);
}

static void test_truncated_memory(void **state)
{
	struct rig rig;

	for (int sends = 0; sends <= 1; sends++) {
		struct fake_guest *fresh;

		rig_open(&rig, NULL, NULL);
		stream_start(&rig.stream);
		stream_wait(&rig.stream, &rig.fixture, 100);
		assert_return_code(fake_guest_truncate(rig.c, 0, 0), 0);
		if (sends) {
			/* The worker comes upon it by a kick, ... */
			fake_guest_kick(rig.c, 1);
		} else {
			/* ... or by a frame for the guest. */
			struct traffic_frame frame =
			    traffic_build(C, TRAFFIC_MAC(9), TRAFFIC_NO_TAG, 1, 200);
			struct switch_fixture *fixture = &rig.fixture;

			stream_stop(&rig.stream);
			traffic_send(rig.stream.from, &frame);
			traffic_settle(rig.stream.from);
			stream_start(&rig.stream);
			stream_wait(&rig.stream, fixture, 1);
		}
		wait_fault(&rig, "c", "truncated");
		assert_false(atomic_load(&port_of(&rig, "c")->link));
		stream_wait(&rig.stream, &rig.fixture, 200);
		/* The port is as good as new for the next frontend. */
		fake_guest_disconnect(rig.c);
		fresh = switch_fixture_guest(&rig.fixture, "c", NULL, 16);
		assert_null(port_of(&rig, "c")->fault);
		fake_guest_destroy(rig.c);
		rig.c = fresh;
		stream_wait(&rig.stream, &rig.fixture, 200);
		stream_finish(&rig.stream);
		assert_int_equal(switch_fixture_totals(&rig.fixture, "b").transmit_packets,
				 rig.stream.sent);
		rig_close(&rig);
	}
}

static void test_wild_index(void **state)
{
	for (uint32_t queue = 0; queue <= 1; queue++) {
		struct rig rig;

		rig_open(&rig, NULL, NULL);
		stream_start(&rig.stream);
		stream_wait(&rig.stream, &rig.fixture, 100);
		atomic_store(&rig.c->queues[queue].ring.available->index,
			     (uint16_t)(rig.c->queues[queue].ring.published + 5000));
		fake_guest_kick(rig.c, queue);
		if (queue == 0) {
			struct traffic_frame frame = traffic_build(C, A, TRAFFIC_NO_TAG, 1, 200);

			stream_stop(&rig.stream);
			traffic_send(rig.stream.from, &frame);
			traffic_settle(rig.stream.from);
			assert_int_equal(
			    switch_fixture_totals(&rig.fixture, "c").drops[DROP_PORT_DOWN], 1);
			stream_start(&rig.stream);
		}
		wait_fault(&rig, "c", "broken");
		stream_wait(&rig.stream, &rig.fixture, 200);
		finish_stream(&rig);
		/* The guest's driver resets its device, and all is well. */
		atomic_store(&rig.c->queues[queue].ring.available->index,
			     rig.c->queues[queue].ring.published);
		switch_fixture_reconnect(&rig.fixture, "c", rig.c, FAKE_ORDER_QEMU);
		learn(rig.c, C);
		assert_null(port_of(&rig, "c")->fault);
		rig_close(&rig);
	}
}

/* All slots there are, while the guest that gets them sends and others send too. */
static void test_memory_hot_plug(void **state)
{
	struct fake_guest_options options = { .plug_room = 520 * FAKE_MEMORY_PAGE };
	struct rig rig;
	int region = 0;

	rig_open(&rig, &options, &options);
	stream_start(&rig.stream);
	/* a, in the middle of its stream, and c. */
	for (uint32_t i = 1; i < rig.c->max_slots; i++) {
		region = fake_guest_plug(rig.stream.from, FAKE_MEMORY_PAGE);
		assert_return_code(region, 0);
		assert_return_code(fake_guest_plug(rig.c, FAKE_MEMORY_PAGE), 0);
		if (i % 100 == 0)
			stream_wait(&rig.stream, &rig.fixture, 100);
	}
	assert_int_equal(region, 508);
	for (uint32_t i = 1; i < rig.c->max_slots; i++) {
		assert_return_code(fake_guest_unplug(rig.stream.from, i), 0);
		if (i % 100 == 0)
			stream_wait(&rig.stream, &rig.fixture, 100);
	}
	stream_wait(&rig.stream, &rig.fixture, 100);
	finish_stream(&rig);
	learn(rig.c, C);
	rig_close(&rig);
}

/* The switch is gone, with frames left in the sender's ring, and a new one takes its place. */
static void test_restart(void **state)
{
	struct rig rig;

	rig_open(&rig, NULL, NULL);
	fake_guest_destroy(rig.c);
	rig.c = NULL;
	for (int i = 0; i < 20; i++) {
		stream_start(&rig.stream);
		stream_wait(&rig.stream, &rig.fixture, 100);
		stream_stop(&rig.stream);
		switch_fixture_restart(&rig.fixture, yaml);
		/* The receiver first: what comes for a port without a guest is dropped. */
		switch_fixture_reconnect(&rig.fixture, "b", rig.stream.to, FAKE_ORDER_QEMU);
		switch_fixture_reconnect(&rig.fixture, "a", rig.stream.from, FAKE_ORDER_QEMU);
	}
	stream_start(&rig.stream);
	stream_wait(&rig.stream, &rig.fixture, 100);
	stream_finish(&rig.stream);
	rig_close(&rig);
}

/* One guest leaves and comes back while the others talk. */
static void test_reconnect(void **state)
{
	struct rig rig;

	rig_open(&rig, NULL, NULL);
	stream_start(&rig.stream);
	for (int i = 0; i < 50; i++) {
		switch_fixture_reconnect(&rig.fixture, "c", rig.c,
					 i % 2 == 0 ? FAKE_ORDER_QEMU : FAKE_ORDER_UML);
		learn(rig.c, C);
	}
	stream_wait(&rig.stream, &rig.fixture, 100);
	finish_stream(&rig);
	rig_close(&rig);
}

/* What GET_VRING_BASE says of the sender's ring is the number of frames that have gone, to the last
 * one, and of the receiver's the number of buffers filled. */
static void test_get_base(void **state)
{
	struct rig rig;

	rig_open(&rig, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		struct port_totals totals;
		uint16_t base;

		stream_start(&rig.stream);
		stream_wait(&rig.stream, &rig.fixture, 50);
		assert_return_code(fake_guest_get_base(rig.stream.from, 1, &base), 0);
		stream_stop(&rig.stream);
		totals = switch_fixture_totals(&rig.fixture, "a");
		assert_int_equal(base, (uint16_t)totals.receive_packets);
		assert_int_equal(fake_ring_used_index(&rig.stream.from->queues[1].ring), base);
		assert_return_code(fake_guest_get_base(rig.stream.to, 0, &base), 0);
		totals = switch_fixture_totals(&rig.fixture, "b");
		assert_int_equal(base, (uint16_t)totals.transmit_packets);
		assert_int_equal(fake_ring_used_index(&rig.stream.to->queues[0].ring), base);
		/* The rings go on. */
		assert_return_code(fake_guest_setup_queue(rig.stream.to, 0, base), 0);
		assert_return_code(fake_guest_set_fd(rig.stream.to, FAKE_SET_VRING_KICK, 0,
						     rig.stream.to->queues[0].kick_fd),
				   0);
		assert_return_code(
		    fake_guest_setup_queue(rig.stream.from, 1,
					   fake_ring_used_index(&rig.stream.from->queues[1].ring)),
		    0);
		assert_return_code(fake_guest_set_fd(rig.stream.from, FAKE_SET_VRING_KICK, 1,
						     rig.stream.from->queues[1].kick_fd),
				   0);
	}
	finish_stream(&rig);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated_memory), cmocka_unit_test(test_wild_index),
		cmocka_unit_test(test_memory_hot_plug),	 cmocka_unit_test(test_restart),
		cmocka_unit_test(test_reconnect),	 cmocka_unit_test(test_get_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
