/* An interface port on weft0, one end of a veth pair in a namespace of the test's own; the test has
 * the other, peer0. Include it in one file of a program. */
#ifndef WEFT_TESTS_INTERFACE_RIG_H
#define WEFT_TESTS_INTERFACE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/namespace.h"
#include "tests/unit/port_fixture.h"
#include "tests/unit/wire_peer.h"

#include "vswitch/netlink.h"
#include "vswitch/port_interface.h"

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_interface);
	struct fixture *f = *state;

	strcpy(f->port.config.options.interface.name, "weft0");
	veth_add("weft0", "peer0");
	bytes_fill("\x52\x54\0\0\0\1", "\x52\x54\0\0\0\2");
	return rc;
}

static int tear_down(void **state)
{
	if (if_nametoindex("weft0") != 0)
		link_delete("weft0");
	return fixture_tear_down(state);
}

/* Whether the i-th frame of the burst is one of the tests' own. */
static bool is_ours(const struct fixture *f, uint32_t i)
{
	return memcmp(f->burst->frames[i].head, bytes, 12) == 0;
}

/* The next frame of the test's; those the kernel itself sends are passed over. */
static struct frame *receive_frame(struct fixture *f, uint16_t queue_index)
{
	struct port_queue *queue = &f->port.receive_queues[queue_index];

	for (;;) {
		uint32_t n;

		burst_reset(f->burst);
		n = port_interface.receive(queue, f->burst, &f->counters);
		for (uint32_t i = 0; i < f->burst->count; i++) {
			if (is_ours(f, i))
				return &f->burst->frames[i];
		}
		if (n == 0 && port_interface.arm(queue))
			wait_for(queue->wake_fd);
	}
}

/* Runs the loop until the kernel's news have made the link so. */
static void run_until_link(struct fixture *f, bool up)
{
	while (atomic_load(&f->port.link) != up)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
}

#endif
