/* The user port: host sockets behind a small network of its own, through libslirp (user_stack.c),
 * so that guests get out without root and without a change to the host. Made to be the uplink of a
 * gateway, which is the network's one host; as a port of a bridge it serves the guests there
 * itself, with DHCP and advertisements of libslirp's.
 *
 * Workers copy frames into one ring (user_queue.c) and take them from another; libslirp's thread is
 * at the other ends. It is given IPv4's TCP segments of any size whole, so only their checksum is
 * completed here. What it sends has the MTU. */
#include "vswitch/port_user.h"

#include "base/checksum.h"
#include "vswitch/options.h"
#include "vswitch/port.h"
#include "vswitch/user_stack.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define RING_FROM_GUEST (2u << 20) /* a guest that is alone has half of it */
#define RING_TO_GUEST	(4u << 20) /* libslirp sends on for a whole window, whoever listens */

#define HOST_GATEWAY 2u
#define HOST_DNS     3u
#define HOST_GUEST   15u

struct user_port {
	struct user_queue *from_guest;
	struct frame_ring *to_guest;
	struct user_stack *stack;
	uint32_t lent; /* worker: entries of to_guest that the burst points into */
};

static struct ip host_of(const struct ip_prefix *subnet, uint8_t number)
{
	struct ip ip = subnet->ip;

	ip.bytes[15] = (uint8_t)(ip.bytes[15] + number);
	return ip;
}

void port_user_addresses(const struct port_config *config, struct port_user_addresses *addresses)
{
	const struct ip_prefix *v4 = &config->options.user.subnet;
	const struct ip_prefix *v6 = &config->options.user.subnet6;

	*addresses = (struct port_user_addresses){
		.guest = { host_of(v4, HOST_GUEST), v4->length },
		.guest6 = { host_of(v6, HOST_GUEST), v6->length },
		.gateway = host_of(v4, HOST_GATEWAY),
		.gateway6 = host_of(v6, HOST_GATEWAY),
		.dns = host_of(v4, HOST_DNS),
		.dns6 = host_of(v6, HOST_DNS),
		.mtu = config->options.user.mtu,
	};
}

static void user_free(struct user_port *user)
{
	user_stack_stop(user->stack);
	user_queue_destroy(user->from_guest);
	frame_ring_destroy(user->to_guest);
	free(user);
}

static void user_close(struct port *port)
{
	struct user_port *user = port->private;

	if (!user)
		return;
	port_stop_queues(port);
	port_set_link(port, false);
	user_free(user);
	port->private = NULL;
}

static int user_open(struct port *port, struct event_base *loop, struct error *error)
{
	const struct user_options *options = &port->config.options.user;
	struct user_port *user = calloc(1, sizeof(*user));
	struct port_user_addresses addresses;
	int rc;

	if (!user)
		return error_set(error, ENOMEM, "out of memory");
	port_user_addresses(&port->config, &addresses);
	user->from_guest = user_queue_create(RING_FROM_GUEST);
	user->to_guest = frame_ring_create(RING_TO_GUEST);
	if (!user->from_guest || !user->to_guest) {
		rc = error_set(error, ENOMEM, "out of memory or descriptors");
		goto fail;
	}
	rc = user_stack_start(&addresses, options->host_loopback, user->from_guest, user->to_guest,
			      &user->stack, error);
	if (rc != 0)
		goto fail;
	rc = port_set_queues(port, 1, 1);
	if (rc != 0) {
		error_set(error, -rc, "out of memory");
		goto fail;
	}
	port->private = user;
	port_set_link(port, true);
	port_queue_start(&port->send_queues[0], -1);
	port_queue_start(&port->receive_queues[0], frame_ring_fd(user->to_guest));
	return 0;
fail:
	user_free(user);
	return rc;
}

static uint32_t user_receive(struct port_queue *queue, struct burst *burst,
			     struct port_counters *counters)
{
	struct user_port *user = queue->port->private;
	const struct frame_ring_entry *entry = frame_ring_peek(user->to_guest);
	uint64_t bytes = 0;
	uint32_t before = burst->count, taken = 0;

	/* Frames that are dropped fill no burst, so both are counted. */
	for (; entry && taken < BURST_FRAMES && burst->count < burst->limit &&
	       burst->segment_count < BURST_SEGMENTS;
	     entry = frame_ring_next(user->to_guest, entry)) {
		taken++;
		if (entry->length < FRAME_LENGTH_MIN) {
			counter_drop(counters, DROP_FRAME_SHORT, 1);
			continue;
		}
		/* It stays where it is until user_receive_done(). */
		burst_lend(burst, entry->bytes, entry->length);
		bytes += entry->length;
	}
	user->lent = taken;
	counter_add(&counters->receive_packets, burst->count - before);
	counter_add(&counters->receive_bytes, bytes);
	return taken;
}

static void user_receive_done(struct port_queue *queue)
{
	struct user_port *user = queue->port->private;

	frame_ring_pop(user->to_guest, user->lent);
	user->lent = 0;
}

static bool user_arm(struct port_queue *queue)
{
	return frame_ring_arm(((struct user_port *)queue->port->private)->to_guest);
}

static void user_disarm(struct port_queue *queue)
{
	frame_ring_disarm(((struct user_port *)queue->port->private)->to_guest);
}

/* The frame's head may be on its way to other ports too: the checksum goes into a copy of it. What
 * stands in the field of a segment to be cut is not always the sum for its whole length. */
static bool put_completed(struct user_queue *queue, const struct frame *frame,
			  enum drop_reason *reason)
{
	uint8_t head[FRAME_SLOT];
	struct frame copy;

	frame_clone(&copy, head + FRAME_HEADROOM, frame);
	if (copy.gso != FRAME_GSO_NONE && copy.l4_offset != 0) {
		uint16_t sum = (uint16_t)~checksum_finish(
		    checksum_pseudo_header(&copy, copy.l4_protocol, copy.length - copy.l4_offset));

		memcpy(copy.head + copy.csum_start + copy.csum_offset, &sum, sizeof(sum));
	}
	checksum_complete(&copy);
	return user_queue_put(queue, &copy, reason);
}

static uint32_t user_send(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			  struct port_counters *counters)
{
	struct user_port *user = queue->port->private;
	uint64_t bytes = 0;
	uint32_t sent = 0;

	for (uint32_t i = 0; i < count; i++) {
		enum drop_reason reason;
		bool put = frames[i]->flags & FRAME_NEEDS_CSUM
			       ? put_completed(user->from_guest, frames[i], &reason)
			       : user_queue_put(user->from_guest, frames[i], &reason);

		if (!put) {
			counter_drop(counters, reason, 1);
			continue;
		}
		bytes += frames[i]->length;
		sent++;
	}
	frame_ring_flush(user->from_guest->ring);
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

static uint32_t user_offloads(const struct port_queue *queue)
{
	/* libslirp holds IPv6 packets, but not IPv4's, against its MTU. */
	return OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO_ECN;
}

static json_t *text_of_ip(const struct ip *ip)
{
	char text[IP_TEXT_LENGTH];

	return json_string(ip_to_text(ip, text));
}

static json_t *text_of_prefix(const struct ip_prefix *prefix)
{
	char text[IP_PREFIX_TEXT_LENGTH];

	return json_string(ip_prefix_to_text(prefix, text));
}

static json_t *show_forwards(const struct user_stack *stack)
{
	json_t *array = json_array();
	uint32_t count;
	const struct user_forward *forwards = user_stack_forwards(stack, &count);

	for (uint32_t i = 0; i < count; i++) {
		json_t *object = json_object();

		json_object_set_new(
		    object, "proto",
		    json_string(forwards[i].protocol == IPPROTO_TCP ? "tcp" : "udp"));
		json_object_set_new(object, "host", text_of_ip(&forwards[i].host));
		json_object_set_new(object, "host_port", json_integer(forwards[i].host_port));
		json_object_set_new(object, "guest", text_of_ip(&forwards[i].guest));
		json_object_set_new(object, "guest_port", json_integer(forwards[i].guest_port));
		json_array_append_new(array, object);
	}
	return array;
}

static void user_show(const struct port *port, json_t *object)
{
	const struct user_options *options = &port->config.options.user;
	const struct user_port *user = port->private;
	struct port_user_addresses addresses;
	struct user_status status;

	port_user_addresses(&port->config, &addresses);
	user_stack_get_status(user->stack, &status);
	json_object_set_new(object, "subnet", text_of_prefix(&options->subnet));
	json_object_set_new(object, "gateway", text_of_ip(&addresses.gateway));
	json_object_set_new(object, "dns", text_of_ip(&addresses.dns));
	json_object_set_new(object, "subnet6", text_of_prefix(&options->subnet6));
	json_object_set_new(object, "gateway6", text_of_ip(&addresses.gateway6));
	json_object_set_new(object, "dns6", text_of_ip(&addresses.dns6));
	json_object_set_new(object, "mtu", json_integer(addresses.mtu));
	json_object_set_new(object, "host_loopback", json_boolean(options->host_loopback));
	json_object_set_new(object, "sockets", json_integer(status.sockets));
#define NUMBER(name, member)                                                                       \
	json_object_set_new(object, name, json_integer((json_int_t)status.member))
	NUMBER("sockets_refused", refused);
	NUMBER("frames_filtered", filtered);
	NUMBER("frames_lost", lost);
	NUMBER("guest_errors", mistakes);
#undef NUMBER
	json_object_set_new(object, "forwards", show_forwards(user->stack));
}

int port_user_add_forward(struct port *port, uint8_t protocol, const struct ip *host,
			  uint16_t host_port, const struct ip *guest, uint16_t guest_port,
			  struct error *error)
{
	struct user_forward forward = { .protocol = protocol,
					.host = *host,
					.host_port = host_port,
					.guest = *guest,
					.guest_port = guest_port };

	return user_stack_add_forward(((struct user_port *)port->private)->stack, &forward, error);
}

int port_user_remove_forward(struct port *port, uint8_t protocol, const struct ip *host,
			     uint16_t host_port, struct error *error)
{
	struct user_forward forward = { .protocol = protocol,
					.host = *host,
					.host_port = host_port };

	return user_stack_remove_forward(((struct user_port *)port->private)->stack, &forward,
					 error);
}

const struct user_forward *port_user_forwards(const struct port *port, uint32_t *count)
{
	return user_stack_forwards(((const struct user_port *)port->private)->stack, count);
}

const struct port_type port_user = {
	.name = "user",
	.keys = port_user_keys,
	.defaults = port_user_defaults,
	.open = user_open,
	.close = user_close,
	.receive = user_receive,
	.receive_done = user_receive_done,
	.send = user_send,
	.arm = user_arm,
	.disarm = user_disarm,
	.offloads = user_offloads,
	.wants_arrival = true,
	.show = user_show,
};
