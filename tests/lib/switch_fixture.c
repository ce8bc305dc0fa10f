/* The switch and its guests for tests (switch_fixture.h). Control is the thread of the test. */
#include "tests/lib/switch_fixture.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After setjmp.h and stdarg.h. */
#include <cmocka.h>

#define WAIT_SECONDS 10u

static void fixture_parse(const struct switch_fixture *fixture, const char *yaml,
			  struct config *config)
{
	size_t used = 0, room = strlen(yaml) + 1;
	struct error error;
	char *text;

	for (const char *at = yaml; (at = strchr(at, '@')) != NULL; at++)
		room += strlen(fixture->directory);
	text = malloc(room);
	assert_non_null(text);
	for (; *yaml != '\0'; yaml++) {
		if (*yaml == '@') {
			strcpy(text + used, fixture->directory);
			used += strlen(fixture->directory);
		} else {
			text[used++] = *yaml;
		}
	}
	if (config_parse("test.yaml", text, used, config, &error) != 0)
		fail_msg("%s", error.text);
	free(text);
}

static void fixture_start(struct switch_fixture *fixture, const char *yaml)
{
	struct config config;
	struct error error;

	fixture_parse(fixture, yaml, &config);
	if (vswitch_create(fixture->loop, &config.workers, &fixture->vswitch, &error) != 0 ||
	    vswitch_apply(fixture->vswitch, "test.yaml", &config, &error) != 0)
		fail_msg("%s", error.text);
	config_clear(&config);
}

void switch_fixture_open(struct switch_fixture *fixture, const char *yaml)
{
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	clock_init();
	strcpy(fixture->directory, "/tmp/weft-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	fixture->loop = event_base_new();
	assert_non_null(fixture->loop);
	fixture_start(fixture, yaml);
}

void switch_fixture_restart(struct switch_fixture *fixture, const char *yaml)
{
	vswitch_destroy(fixture->vswitch);
	fixture_start(fixture, yaml);
}

void switch_fixture_close(struct switch_fixture *fixture)
{
	vswitch_destroy(fixture->vswitch);
	event_base_free(fixture->loop);
	assert_return_code(rmdir(fixture->directory), 0); /* no socket is left behind */
}

int switch_fixture_apply(struct switch_fixture *fixture, const char *yaml, struct error *error)
{
	struct config config;
	int result;

	fixture_parse(fixture, yaml, &config);
	result = vswitch_apply(fixture->vswitch, "test.yaml", &config, error);
	config_clear(&config);
	return result;
}

json_t *switch_fixture_diff(struct switch_fixture *fixture, const char *yaml)
{
	struct config config;
	json_t *diff;

	fixture_parse(fixture, yaml, &config);
	diff = vswitch_diff(fixture->vswitch, &config);
	config_clear(&config);
	return diff;
}

void switch_fixture_pump(void *argument)
{
	struct switch_fixture *fixture = argument;

	event_base_loop(fixture->loop, EVLOOP_NONBLOCK);
}

struct fake_guest *switch_fixture_guest(struct switch_fixture *fixture, const char *name,
					const struct fake_guest_options *options, uint32_t buffers)
{
	struct fake_guest_options wanted = { 0 };
	struct fake_guest *guest;
	char path[96];

	if (options != NULL)
		wanted = *options;
	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	wanted.path = path;
	wanted.pump = switch_fixture_pump;
	wanted.pump_context = fixture;
	assert_return_code(fake_guest_create(&wanted, &guest), 0);
	assert_return_code(fake_guest_start(guest, FAKE_ORDER_QEMU), 0);
	guest->options.path = NULL; /* it stood on our stack */
	for (uint32_t pair = 0; pair < guest->queue_count / 2; pair++) {
		int result = fake_guest_post(guest, pair, buffers, guest->options.buffer_size);

		/* With buffers in pieces the ring may be full before. */
		assert_true(result == 0 || result == -ENOSPC);
	}
	return guest;
}

void switch_fixture_reconnect(struct switch_fixture *fixture, const char *name,
			      struct fake_guest *guest, enum fake_order order)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	guest->options.path = path;
	assert_return_code(fake_guest_reconnect(guest, order), 0);
	guest->options.path = NULL;
}

struct port_totals switch_fixture_totals(struct switch_fixture *fixture, const char *name)
{
	struct port *port = vswitch_find_port(fixture->vswitch, name);
	struct port_totals totals;

	assert_non_null(port);
	port_get_totals(port, fixture->vswitch->worker_count, &totals);
	return totals;
}

void switch_fixture_wait(struct switch_fixture *fixture, uint64_t (*read)(struct switch_fixture *),
			 uint64_t target)
{
	uint32_t start = clock_seconds();

	while (read(fixture) < target) {
		if (clock_seconds() - start > WAIT_SECONDS)
			fail_msg("waited for %lu, got %lu", (unsigned long)target,
				 (unsigned long)read(fixture));
		switch_fixture_pump(fixture);
		sched_yield();
	}
}
