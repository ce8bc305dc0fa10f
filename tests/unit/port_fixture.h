/* The switch's part of the port contract, played by a test: port types are driven through their
 * functions alone, with no workers and no network. Include it in one file of a program; it defines
 * what vswitch/port.c would. */
#ifndef WEFT_TESTS_PORT_FIXTURE_H
#define WEFT_TESTS_PORT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/port.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
	struct event_base *loop;
	struct burst *burst;
	struct port port;
	struct port_counters counters;
	struct error error;
	unsigned files; /* open at the start */
	char directory[64];
};

int port_set_queues(struct port *port, uint16_t receive_count, uint16_t send_count)
{
	port->receive_queues = calloc(receive_count + 1u, sizeof(struct port_queue));
	port->send_queues = calloc(send_count + 1u, sizeof(struct port_queue));
	assert_non_null(port->receive_queues);
	assert_non_null(port->send_queues);
	for (uint16_t i = 0; i < receive_count; i++)
		port->receive_queues[i] =
		    (struct port_queue){ .port = port, .index = i, .fd = -1, .wake_fd = -1 };
	for (uint16_t i = 0; i < send_count; i++)
		port->send_queues[i] =
		    (struct port_queue){ .port = port, .index = i, .fd = -1, .wake_fd = -1 };
	port->receive_count = receive_count;
	port->send_count = send_count;
	return 0;
}

void port_queue_start(struct port_queue *queue, int wake_fd)
{
	queue->wake_fd = wake_fd;
	atomic_store(&queue->running, true);
}

void port_queue_halt(struct port_queue *queue)
{
	queue->wake_fd = -1;
	atomic_store(&queue->running, false);
}

void port_grace_period(struct port *port)
{
}

void port_stop_queues(struct port *port)
{
	for (uint16_t i = 0; i < port->receive_count; i++)
		port_queue_halt(&port->receive_queues[i]);
	for (uint16_t i = 0; i < port->send_count; i++)
		port_queue_halt(&port->send_queues[i]);
}

void port_set_link(struct port *port, bool up)
{
	atomic_store(&port->link, up);
}

static unsigned count_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static int fixture_set_up(void **state, const struct port_type *type)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->loop = event_base_new();
	f->burst = burst_create();
	assert_non_null(f->loop);
	assert_non_null(f->burst);
	strcpy(f->port.name, "p1");
	f->port.type = type;
	if (type->defaults)
		type->defaults(&f->port.config);
	strcpy(f->directory, "/tmp/weft-port-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	f->files = count_files();
	*state = f;
	return 0;
}

static void fixture_free_queues(struct fixture *f)
{
	free(f->port.receive_queues);
	free(f->port.send_queues);
	f->port.receive_queues = f->port.send_queues = NULL;
	f->port.receive_count = f->port.send_count = 0;
}

static int fixture_open(struct fixture *f)
{
	f->error.text[0] = '\0';
	return f->port.type->open(&f->port, f->loop, &f->error);
}

/* Closes the port; whatever it opened must be closed too. */
static void fixture_close(struct fixture *f)
{
	f->port.type->close(&f->port);
	assert_false(atomic_load(&f->port.link));
	for (uint16_t i = 0; i < f->port.receive_count; i++)
		assert_false(atomic_load(&f->port.receive_queues[i].running));
	for (uint16_t i = 0; i < f->port.send_count; i++)
		assert_false(atomic_load(&f->port.send_queues[i].running));
	fixture_free_queues(f);
	assert_int_equal(count_files(), f->files);
}

static int fixture_tear_down(void **state)
{
	struct fixture *f = *state;

	rmdir(f->directory);
	burst_destroy(f->burst);
	event_base_free(f->loop);
	free(f);
	return 0;
}

/* open() must fail, say `text`, and leave nothing behind. */
static inline void fixture_refused(struct fixture *f, int code, const char *text)
{
	assert_int_equal(fixture_open(f), -code);
	if (!strstr(f->error.text, text))
		fail_msg("\"%s\" does not say \"%s\"", f->error.text, text);
	fixture_free_queues(f);
	assert_int_equal(count_files(), f->files);
}

static inline uint32_t fixture_receive(struct fixture *f)
{
	burst_reset(f->burst);
	return f->port.type->receive(&f->port.receive_queues[0], f->burst, &f->counters);
}

static inline uint32_t fixture_send(struct fixture *f, struct frame *frame)
{
	return f->port.type->send(&f->port.send_queues[0], &frame, 1, &f->counters);
}

static inline uint64_t fixture_drops(struct fixture *f, enum drop_reason reason)
{
	return atomic_load(&f->counters.drops[reason]);
}

#endif
