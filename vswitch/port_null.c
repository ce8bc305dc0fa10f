/* The null port: takes every frame, counts it and lets it go; says nothing itself. For measuring,
 * and for what is to be thrown away in a known place. send() runs on a worker, the rest on
 * control. */
#include "vswitch/port.h"

#include <string.h>

static int null_open(struct port *port, struct event_base *loop, struct error *error)
{
	int rc = port_set_queues(port, 0, 1);

	if (rc != 0)
		return error_set(error, -rc, "out of memory");
	port_queue_start(&port->send_queues[0], -1);
	port_set_link(port, true);
	return 0;
}

static void null_close(struct port *port)
{
	port_stop_queues(port);
	port_set_link(port, false);
}

static uint32_t null_receive(struct port_queue *queue, struct burst *burst,
			     struct port_counters *counters)
{
	return 0;
}

static uint32_t null_send(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			  struct port_counters *counters)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += frames[i]->length;
	counter_add(&counters->transmit_packets, count);
	counter_add(&counters->transmit_bytes, bytes);
	return count;
}

static uint32_t null_offloads(const struct port_queue *queue)
{
	return OFFLOAD_ALL;
}

/* `null: {}`, `null: true`, or nothing behind it. */
static int read_null(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	if (value->kind == CONFIG_SCALAR &&
	    (value->scalar[0] == '\0' || strcmp(value->scalar, "true") == 0))
		return 0;
	if (value->kind == CONFIG_MAPPING && value->count == 0)
		return 0;
	return config_error(file, value, error, "has no options; allowed: {} or true");
}

static const struct config_key keys[] = {
	{ .name = "null", .read = read_null, .required = true, .help = "{}: it has no options" },
	{ 0 },
};

const struct port_type port_null = {
	.name = "null",
	.keys = keys,
	.open = null_open,
	.close = null_close,
	.receive = null_receive,
	.send = null_send,
	.offloads = null_offloads,
};
