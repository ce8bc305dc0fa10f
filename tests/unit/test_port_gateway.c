/* The door between workers and control (port_gateway.c): one port's flood is bounded and counted,
 * and keeps nobody else from being heard. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/lib/gateway_lab.h"
#include "vswitch/gateway_internal.h"
#include "vswitch/port_gateway.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SHARE 64u  /* frames of one port that may wait for control */
#define FLOOD 120u /* requests are broadcast: the other guest has room for all of them */

#define YAML                                                                                       \
	"networks:\n"                                                                              \
	"  lab: { mode: isolated, ipv4: " LAB_GATEWAY4                                             \
	"/24, mac: \"02:00:00:00:01:01\", antispoof: false, dhcp: false, dns: false "              \
	"}\n" LAB_GUESTS

static void open_two(struct lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	switch_fixture_open(&lab->fixture, YAML);
	lab->a = lab_guest(lab, "a", LAB_GUEST_A, LAB_A4, NULL, NULL);
	lab->b = lab_guest(lab, "b", LAB_GUEST_B, LAB_B4, NULL, NULL);
	host_barrier(lab->a);
	host_barrier(lab->b);
}

static void yield_only(void *context)
{
	sched_yield();
}

/* Sends requests while control does not run. */
static void flood(struct host *host, uint32_t count)
{
	void (*pump)(void *context) = host->guest->options.pump;

	host->guest->options.pump = yield_only;
	for (uint32_t i = 0; i < count; i++)
		host_send_arp(host, 1, host->mac, host->ip4, LAB_GATEWAY4);
	host->guest->options.pump = pump;
}

static void test_share_of_a_port(void **state)
{
	struct port_totals before, after;
	const struct gateway *gateway;
	uint64_t taken;
	struct lab lab;

	open_two(&lab);
	gateway = vswitch_find_network(lab.fixture.vswitch, "lab")->gateway;
	taken = gateway->counters.taken;
	before = switch_fixture_totals(&lab.fixture, "lab.gw");
	flood(lab.a, FLOOD);
	flood(lab.b, 10);
	after = switch_fixture_totals(&lab.fixture, "lab.gw");
	assert_int_equal(after.transmit_packets - before.transmit_packets, SHARE + 10);
	assert_int_equal(after.drops[DROP_GATEWAY_SHARE], FLOOD - SHARE);
	while (gateway->counters.taken < taken + SHARE + 10)
		switch_fixture_pump(&lab.fixture);
	/* With its share free again the port is heard as before. */
	flood(lab.a, SHARE);
	after = switch_fixture_totals(&lab.fixture, "lab.gw");
	assert_int_equal(after.drops[DROP_GATEWAY_SHARE], FLOOD - SHARE);
	host_barrier(lab.b);
	lab_close(&lab);
}

/* What control writes is what arrives, of any length that a frame has. */
static void test_put_lengths(void **state)
{
	static uint8_t frame[70000];
	struct port *port;
	struct lab lab;

	open_two(&lab);
	port = vswitch_find_port(lab.fixture.vswitch, "lab.gw");
	assert_false(port_gateway_put(port, frame, FRAME_LENGTH_MIN - 1, 0));
	assert_false(port_gateway_put(port, frame, FRAME_LENGTH_MAX + 1, 0));
	memcpy(frame, "\x52\0\0\0\0\xa1\x02\0\0\0\x01\x01\x88\xb5", 14);
	for (uint32_t length = 14; length < 60000; length = length * 3 + 1) {
		struct arrival *arrival;

		for (uint32_t i = 14; i < length; i++)
			frame[i] = (uint8_t)(i * 3 + (i >> 8));
		assert_true(port_gateway_put(port, frame, length, 0));
		port_gateway_flush(port);
		arrival = host_receive(lab.a);
		assert_int_equal(arrival->length, length);
		assert_memory_equal(arrival->bytes, frame, length);
		free(arrival);
	}
	host_expect_nothing(lab.b);
	lab_close(&lab);
}

/* More than there is room for is lost, and said to be; what there was room for arrives. */
static void test_put_until_full(void **state)
{
	static uint8_t frame[4000] = "\x52\0\0\0\0\xa1\x02\0\0\0\x01\x01\x88\xb5";
	uint32_t put = 0, got = 0;
	struct port *port;
	struct lab lab;

	open_two(&lab);
	port = vswitch_find_port(lab.fixture.vswitch, "lab.gw");
	/* Nothing leaves before the flush. */
	while (port_gateway_put(port, frame, sizeof(frame), 0))
		put++;
	assert_in_range(put, 128, 300);
	port_gateway_flush(port);
	while (got == 0 || switch_fixture_totals(&lab.fixture, "a").transmit_packets +
				   switch_fixture_totals(&lab.fixture, "a").drops[DROP_NO_BUFFERS] <
			       put) {
		struct arrival *arrival;

		host_poll(lab.a);
		while (lab.a->first != NULL) {
			arrival = host_receive(lab.a);
			got += arrival->length == sizeof(frame);
			free(arrival);
		}
	}
	/* The worker gives the room back when it has sent. */
	while (!port_gateway_put(port, frame, sizeof(frame), 0))
		sched_yield();
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_share_of_a_port),
		cmocka_unit_test(test_put_lengths),
		cmocka_unit_test(test_put_until_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
