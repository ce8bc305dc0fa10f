/* A whole switch (workers, ports, networks) in the test's process, and fake guests on its
 * vhost-user ports. The test's thread is control: every wait of a fake guest runs the event loop.
 * For cmocka tests: what fails, fails the test. */
#ifndef WEFT_TESTS_LIB_SWITCH_FIXTURE_H
#define WEFT_TESTS_LIB_SWITCH_FIXTURE_H

#include "tests/lib/fake_guest.h"
#include "vswitch/switch.h"

struct switch_fixture {
	char directory[32];
	struct event_base *loop;
	struct vswitch *vswitch;
};

/* Starts a switch from the text of a configuration; each '@' in it becomes the fixture's directory.
 */
void switch_fixture_open(struct switch_fixture *fixture, const char *yaml);
void switch_fixture_close(struct switch_fixture *fixture);

/* Ends the switch and starts it anew with the same configuration, as when weftd is restarted.
 * Guests stay, and have lost their connection. */
void switch_fixture_restart(struct switch_fixture *fixture, const char *yaml);

/* Applies another configuration to the running switch; the result of vswitch_apply(). */
int switch_fixture_apply(struct switch_fixture *fixture, const char *yaml, struct error *error);

/* What applying it would change: the array of vswitch_diff(), the caller's to drop. */
json_t *switch_fixture_diff(struct switch_fixture *fixture, const char *yaml);

/* A guest on the port whose socket is @/NAME, its rings running and up to `buffers` receive buffers
 * posted on each pair. options may be NULL; path and pump are filled in here. */
struct fake_guest *switch_fixture_guest(struct switch_fixture *fixture, const char *name,
					const struct fake_guest_options *options, uint32_t buffers);

/* The guest's frontend disconnects, and connects to the port @/NAME again: fake_guest_reconnect().
 */
void switch_fixture_reconnect(struct switch_fixture *fixture, const char *name,
			      struct fake_guest *guest, enum fake_order order);

/* Runs control once, without blocking. */
void switch_fixture_pump(void *fixture);

/* Totals of a port's counters. */
struct port_totals switch_fixture_totals(struct switch_fixture *fixture, const char *port);

/* Pumps until *counter (a value that `read` gives) is at least `target`, or fails after ten
 * seconds. */
void switch_fixture_wait(struct switch_fixture *fixture, uint64_t (*read)(struct switch_fixture *),
			 uint64_t target);

#endif
