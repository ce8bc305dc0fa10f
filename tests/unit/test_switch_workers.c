/* Several workers, several queues, sleep and wake: frames of a flow stay in order, whole, and none
 * is lost, however many threads and queues take part. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/numa.h"
#include "tests/lib/switch_traffic.h"
#include "vswitch/balance.h"
#include "vswitch/worker.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define A TRAFFIC_MAC(1)
#define B TRAFFIC_MAC(2)

#define FRAMES 3000u

static const struct {
	const char *workers;
	uint16_t pairs_a, pairs_b;
	uint32_t flows;
} shapes[] = {
	{ "{ count: 1 }", 1, 1, 1 },   { "{ count: 1 }", 4, 2, 64 },
	{ "{ count: 2 }", 1, 1, 8 },   { "{ count: 2 }", 4, 4, 200 },
	{ "{ count: 2 }", 8, 3, 64 },  { "{ count: 4 }", 3, 8, 64 },
	{ "{ count: 4 }", 4, 1, 200 }, { "{ count: 2, poll: busy }", 2, 2, 64 },
};

static uint64_t sum_of_drops(const struct port_totals *totals)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < DROP_COUNT; i++)
		sum += totals->drops[i];
	return sum;
}

/* Nothing was dropped, and what b got is what a sent and the reverse. */
static void check_nothing_lost(struct switch_fixture *fixture)
{
	struct port_totals a = switch_fixture_totals(fixture, "a");
	struct port_totals b = switch_fixture_totals(fixture, "b");

	assert_int_equal(sum_of_drops(&a), 0);
	assert_int_equal(sum_of_drops(&b), 0);
	assert_int_equal(a.receive_packets, b.transmit_packets);
	assert_int_equal(a.receive_bytes, b.transmit_bytes);
	assert_int_equal(b.receive_packets, a.transmit_packets);
}

/* Addresses learned, so that the stream is no flood and may be followed by others. */
static void introduce(struct fake_guest *a, struct fake_guest *b)
{
	struct traffic_frame hello = traffic_build(TRAFFIC_BROADCAST, B, TRAFFIC_NO_TAG, 0, 60);

	traffic_send(b, &hello);
	traffic_settle(b);
	traffic_expect(a, &hello);
}

static void run_shape(size_t i)
{
	struct switch_fixture fixture;
	struct fake_guest_options options_a = { .queue_pairs = shapes[i].pairs_a };
	struct fake_guest_options options_b = { .queue_pairs = shapes[i].pairs_b };
	struct stream stream = { .from_mac = A, .to_mac = B, .flows = shapes[i].flows };
	uint32_t queues = 0;
	char yaml[512];

	snprintf(yaml, sizeof(yaml),
		 "workers: %s\n"
		 "networks: { lab: { mode: isolated } }\n"
		 "ports:\n"
		 "  a: { network: lab, vhost-user: @/a, queues: %u }\n"
		 "  b: { network: lab, vhost-user: @/b, queues: %u }\n",
		 shapes[i].workers, shapes[i].pairs_a, shapes[i].pairs_b);
	switch_fixture_open(&fixture, yaml);
	stream.from = switch_fixture_guest(&fixture, "a", &options_a, 128);
	stream.to = switch_fixture_guest(&fixture, "b", &options_b, 128);
	introduce(stream.from, stream.to);
	stream_start(&stream);
	stream_wait(&stream, &fixture, FRAMES);
	stream_finish(&stream);
	check_nothing_lost(&fixture);
	/* With many flows every queue of the receiver has had its share. */
	for (uint32_t flow = 0; flow < stream.flows; flow++)
		queues |= 1u << (stream.pairs[flow] - 1);
	if (stream.flows >= 64)
		assert_int_equal(queues, (1u << shapes[i].pairs_b) - 1);
	fake_guest_destroy(stream.from);
	fake_guest_destroy(stream.to);
	switch_fixture_close(&fixture);
}

static void test_flows_stay_in_order(void **state)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		run_shape(i);
}

static uint64_t counter_of_workers(struct switch_fixture *fixture, size_t offset)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < fixture->vswitch->worker_count; i++) {
		const char *counters = (const char *)&fixture->vswitch->workers[i]->counters;

		sum += atomic_load((const _Atomic uint64_t *)(const void *)(counters + offset));
	}
	return sum;
}

static uint64_t sleeps(struct switch_fixture *fixture)
{
	return counter_of_workers(fixture, offsetof(struct worker_counters, sleeps));
}

static uint64_t polls(struct switch_fixture *fixture)
{
	return counter_of_workers(fixture, offsetof(struct worker_counters, polls));
}

/* Each frame finds all workers asleep, and nothing but its kick wakes one. */
static void test_kick_wakes(void **state)
{
	struct switch_fixture fixture;
	struct fake_guest *a, *b;

	switch_fixture_open(&fixture, "workers: { count: 2 }\n"
				      "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n"
				      "  b: { network: lab, vhost-user: @/b }\n");
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	b = switch_fixture_guest(&fixture, "b", NULL, 64);
	introduce(a, b);
	for (uint32_t i = 0; i < 200; i++) {
		struct traffic_frame frame = traffic_build(B, A, TRAFFIC_NO_TAG, i, 100);
		uint64_t before = sleeps(&fixture);

		traffic_send(a, &frame);
		/* The test's thread does not run control here: fake guest and worker alone. */
		traffic_settle(a);
		traffic_expect(b, &frame);
		/* A sleep that began after the frame was sent. */
		switch_fixture_wait(&fixture, sleeps, before + 1);
	}
	check_nothing_lost(&fixture);
	fake_guest_destroy(a);
	fake_guest_destroy(b);
	switch_fixture_close(&fixture);
}

/* Without traffic an adaptive worker makes no rounds at all; a busy one makes rounds for ever. */
static void test_idle(void **state)
{
	struct switch_fixture fixture;
	struct fake_guest *a;
	uint64_t asleep;

	switch_fixture_open(&fixture, "workers: { count: 1, poll: busy }\n"
				      "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n");
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	switch_fixture_wait(&fixture, polls, polls(&fixture) + 1000);
	assert_int_equal(sleeps(&fixture), 0);
	fake_guest_destroy(a);
	switch_fixture_close(&fixture);
	switch_fixture_open(&fixture, "workers: { count: 1 }\n"
				      "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n");
	asleep = sleeps(&fixture);
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	switch_fixture_wait(&fixture, sleeps, asleep + 1);
	fake_guest_destroy(a);
	switch_fixture_close(&fixture);
}

/* Control's own wake-ups come while the worker goes to sleep and wakes: none may be lost, or a
 * queue that starts with frames waiting, and no kick to come, would wait for ever. */
static void test_start_wakes(void **state)
{
	struct switch_fixture fixture;
	struct fake_guest *a, *b;

	switch_fixture_open(&fixture, "workers: { count: 2 }\n"
				      "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n"
				      "  b: { network: lab, vhost-user: @/b }\n");
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	b = switch_fixture_guest(&fixture, "b", NULL, 64);
	introduce(a, b);
	for (uint32_t i = 0; i < 1000; i++) {
		struct traffic_frame frame = traffic_build(B, A, TRAFFIC_NO_TAG, i, 100);
		uint64_t count;

		assert_return_code(fake_guest_enable(a, 1, 0), 0);
		assert_return_code(fake_guest_sync(a), 0);
		traffic_send(a, &frame);
		/* Takes back the kick, if there was one. */
		while (read(a->queues[1].kick_fd, &count, sizeof(count)) > 0)
			;
		assert_return_code(fake_guest_enable(a, 1, 1), 0);
		traffic_settle(a);
		traffic_expect(b, &frame);
	}
	check_nothing_lost(&fixture);
	fake_guest_destroy(a);
	fake_guest_destroy(b);
	switch_fixture_close(&fixture);
}

/* Two of control's wake-ups in a row: the second comes while the worker, which was asleep, sees to
 * the first. */
static void test_announcements_wake(void **state)
{
	struct switch_fixture fixture;
	struct fake_guest *a, *b;

	switch_fixture_open(&fixture, "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n"
				      "  b: { network: lab, vhost-user: @/b }\n");
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	b = switch_fixture_guest(&fixture, "b", NULL, 64);
	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t address = 0x52 | i << 16 | UINT64_C(1) << 40;

		for (int n = 0; n < 2; n++) {
			assert_return_code(fake_guest_send_message(a, FAKE_SEND_RARP, FAKE_VERSION,
								   sizeof(address), &address,
								   sizeof(address), NULL, 0),
					   0);
		}
		for (int n = 0; n < 2; n++) {
			struct fake_header header;
			uint8_t bytes[128];

			assert_int_equal(
			    fake_guest_wait_receive(b, 0, &header, bytes, sizeof(bytes)), 60);
			assert_return_code(fake_guest_post(b, 0, 1, b->options.buffer_size), 0);
		}
	}
	fake_guest_destroy(a);
	fake_guest_destroy(b);
	switch_fixture_close(&fixture);
}

/* Queues of both ports wander over four workers while frames pass, busy and asleep: none is lost,
 * none overtakes another of its flow, and each queue is polled where it is said to be. */
static void test_queues_move(void **state)
{
	static const char *const polls_of[] = { "adaptive", "busy" };

	for (uint32_t mode = 0; mode < 2; mode++) {
		struct switch_fixture fixture;
		struct fake_guest_options options = { .queue_pairs = 4 };
		struct stream stream = { .from_mac = A, .to_mac = B, .flows = 64 };
		uint32_t random = 1;
		char yaml[512];

		snprintf(yaml, sizeof(yaml),
			 "workers: { count: 4, poll: %s }\n"
			 "networks: { lab: { mode: isolated } }\n"
			 "ports:\n"
			 "  a: { network: lab, vhost-user: @/a, queues: 4 }\n"
			 "  b: { network: lab, vhost-user: @/b, queues: 4 }\n",
			 polls_of[mode]);
		switch_fixture_open(&fixture, yaml);
		stream.from = switch_fixture_guest(&fixture, "a", &options, 128);
		stream.to = switch_fixture_guest(&fixture, "b", &options, 128);
		introduce(stream.from, stream.to);
		stream_start(&stream);
		for (uint32_t i = 0; i < 100; i++) {
			struct port *port =
			    vswitch_find_port(fixture.vswitch, i % 8 == 0 ? "b" : "a");
			struct port_queue *queue;
			uint16_t to;

			random = random * 1103515245 + 12345;
			queue = &port->receive_queues[random / 65536 % 4];
			to = (uint16_t)(random / 4096 % 4);
			assert_int_equal(vswitch_move_queue(fixture.vswitch, queue, to), 0);
			assert_int_equal(queue->worker, to);
			stream_wait(&stream, &fixture, 20);
		}
		stream_finish(&stream);
		check_nothing_lost(&fixture);
		fake_guest_destroy(stream.from);
		fake_guest_destroy(stream.to);
		switch_fixture_close(&fixture);
	}
}

/* A queue that is not running moves, too, and is polled by its new worker once it starts. */
static void test_stopped_queue_moves(void **state)
{
	struct switch_fixture fixture;
	struct traffic_frame frame = traffic_build(B, A, TRAFFIC_NO_TAG, 1, 100);
	struct fake_guest *a, *b;
	struct port_queue *queue;

	switch_fixture_open(&fixture, "workers: { count: 2 }\n"
				      "networks: { lab: { mode: isolated } }\n"
				      "ports:\n"
				      "  a: { network: lab, vhost-user: @/a }\n"
				      "  b: { network: lab, vhost-user: @/b }\n");
	queue = &vswitch_find_port(fixture.vswitch, "a")->receive_queues[0];
	assert_int_equal(vswitch_move_queue(fixture.vswitch, queue, queue->worker ^ 1), 0);
	assert_false(atomic_load(&queue->running));
	a = switch_fixture_guest(&fixture, "a", NULL, 64);
	b = switch_fixture_guest(&fixture, "b", NULL, 64);
	introduce(a, b);
	traffic_send(a, &frame);
	traffic_settle(a);
	traffic_expect(b, &frame);
	check_nothing_lost(&fixture);
	fake_guest_destroy(a);
	fake_guest_destroy(b);
	switch_fixture_close(&fixture);
}

/* The choice: `total` is 1,000 cycles. */
static void test_balance_choose(void **state)
{
	enum { NO = NUMA_NONE };
	static const struct {
		struct balance_load loads[4];
		int nodes[4];
		uint32_t workers;
		int chosen;
		uint16_t to;
	} rows[] = {
#define ONE_NODE { NO, NO, NO, NO }
		/* Nobody is busy. */
		{ { { 0, 200, NO }, { 0, 200, NO }, { 1, 0, NO }, { 1, 0, NO } }, ONE_NODE, 2, -1 },
		/* One is, with two queues: the one goes that leaves less to do on both. */
		{ { { 0, 300, NO }, { 0, 500, NO }, { 1, 0, NO }, { 1, 100, NO } },
		  ONE_NODE,
		  2,
		  0,
		  1 },
		/* To the one with least to do. */
		{ { { 0, 400, NO }, { 0, 400, NO }, { 1, 300, NO }, { 2, 100, NO } },
		  ONE_NODE,
		  3,
		  0,
		  2 },
		/* A single busy queue would only carry its load along. */
		{ { { 0, 900, NO }, { 1, 0, NO }, { 1, 0, NO }, { 1, 0, NO } }, ONE_NODE, 2, -1 },
		/* Too little to gain: 700 and 600 instead of 750 and 550. */
		{ { { 0, 700, NO }, { 0, 50, NO }, { 1, 550, NO }, { 1, 0, NO } },
		  ONE_NODE,
		  2,
		  -1 },
		/* All there is to do on one worker, and another that has nothing at all. */
		{ { { 3, 300, NO }, { 3, 250, NO }, { 3, 250, NO }, { 3, 200, NO } },
		  ONE_NODE,
		  4,
		  0,
		  0 },
#undef ONE_NODE
		/* Read from another node, and idle: stays. Busy: goes home, the busier one first.
		 */
		{ { { 0, 9, 1 }, { 1, 9, 0 }, { 0, 0, NO }, { 0, 0, NO } }, { 0, 1 }, 2, -1 },
		{ { { 0, 90, 1 }, { 1, 95, 0 }, { 0, 0, NO }, { 0, 0, NO } }, { 0, 1 }, 2, 1, 0 },
		/* To the worker there that has least to do. */
		{ { { 0, 90, 1 }, { 1, 60, 1 }, { 2, 50, 1 }, { 0, 0, NO } },
		  { 0, 1, 1 },
		  3,
		  0,
		  2 },
		/* No room at home, or nobody there. */
		{ { { 0, 300, 1 }, { 1, 250, 1 }, { 0, 0, NO }, { 0, 0, NO } }, { 0, 1 }, 2, -1 },
		{ { { 0, 300, 2 }, { 1, 250, 1 }, { 0, 0, NO }, { 0, 0, NO } }, { 0, 1 }, 2, -1 },
		/* By load to the same node, though another has less to do; elsewhere if it must be.
		 */
		{ { { 0, 400, 0 }, { 0, 400, 0 }, { 1, 100, 0 }, { 2, 0, 1 } },
		  { 0, 0, 1 },
		  3,
		  0,
		  1 },
		{ { { 0, 400, 0 }, { 0, 400, 0 }, { 1, 700, 0 }, { 2, 0, 1 } },
		  { 0, 0, 1 },
		  3,
		  0,
		  2 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct balance balance = {
			rows[i].loads, 4, rows[i].nodes, rows[i].workers, 1000,
		};
		uint16_t to = 0;

		assert_int_equal(balance_choose(&balance, &to), rows[i].chosen);
		if (rows[i].chosen >= 0)
			assert_int_equal(to, rows[i].to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flows_stay_in_order),
		cmocka_unit_test(test_kick_wakes),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_start_wakes),
		cmocka_unit_test(test_announcements_wake),
		cmocka_unit_test(test_queues_move),
		cmocka_unit_test(test_stopped_queue_moves),
		cmocka_unit_test(test_balance_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
