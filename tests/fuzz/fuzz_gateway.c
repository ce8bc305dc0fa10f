/* Fuzzes gateways as a whole: frames from guests and from outside through the guard, the bridge,
 * the gateway's stage, its rings, control and back, step by step in one thread. There is no worker
 * thread: this file runs the worker's functions on a context of its own.
 *
 * Input: steps, one behind the other. A step: one byte (bits 0-1 which port, REPAIR, HEADER,
 * GATEWAY), two bytes of length (little-endian), with HEADER ten bytes of a virtio-net header, and
 * the frame. Up to four steps make one burst. Ports: a guest and the uplink of a network that
 * translates, a guest of an isolated one whose addresses are guarded, a guest of a routed one.
 * What leaves a gateway is checked: the header's sum, and that it fits the link. */
#include "base/clock.h"
#include "base/log.h"
#include "base/vnet_header.h"
#include "nat/nat.h"
#include "route/neighbour.h"
#include "route/reassembly.h"
#include "vswitch/gateway_internal.h"
#include "vswitch/pipeline.h"
#include "vswitch/switch.h"
#include "vswitch/worker.h"

#include <event2/event.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* Its builder has a struct of the name of base/packet.h's. */
#define packet built_packet
#include "tests/unit/frame_check.h"
#undef packet

#define REPAIR	0x80u
#define HEADER	0x40u
#define GATEWAY 0x20u
#define PORTS	4u
#define BURST	4u
#define ROUNDS	8u
#define MTU	1500u

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static const char yaml[] =
    "networks:\n"
    "  nat: { mode: nat, macs: { limit: 64 }, ipv4: 10.1.0.1/24, ipv6: fd00:1::1/64, mac: "
    "\"02:00:00:00:01:01\", dns: "
    "{ forward: false, hosts: { web: 10.1.0.9 } }, antispoof: false, nat: { sessions: 256, "
    "guest-sessions: 64 }, forward: [ {proto: both, listen: 80-90, to: \"10.1.0.11:80\"} ], "
    "uplink: { null: {}, address: [192.0.2.2/24, fd00:f::2/64], gateway: [192.0.2.1, "
    "fd00:f::1], mac: \"02:00:00:00:01:02\" } }\n"
    "  isolated: { mode: isolated, macs: { limit: 64 }, ipv4: 10.2.0.1/24, ipv6: fd00:2::1/64, "
    "mac: "
    "\"02:00:00:00:02:01\", dhcp6: stateful }\n"
    "  routed: { mode: routed, macs: { limit: 64 }, ipv4: 10.3.0.1/24, ipv6: fd00:3::1/64, mac: "
    "\"02:00:00:00:03:01\", antispoof: false, mss-clamp: true, routes: [ {to: 172.16.0.0/12, via: "
    "10.3.0.7} ] }\n"
    "ports:\n"
    "  a: { network: nat, null: {} }\n"
    "  b: { network: isolated, null: {} }\n"
    "  c: { network: routed, null: {} }\n";

static const char *const names[PORTS] = { "a", "nat.uplink", "b", "c" };
static const uint8_t macs[PORTS][6] = {
	{ 2, 0, 0, 0, 1, 1 }, { 2, 0, 0, 0, 1, 2 }, { 2, 0, 0, 0, 2, 1 }, { 2, 0, 0, 0, 3, 1 }
};

static struct vswitch *vswitch;
static struct port_type sink; /* port_null, but for what it does with frames */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__asan_default_options(void);

/* Gateways keep things from one input to the next, for which libFuzzer would search all memory for
 * leaks after each; the unit tests look for those. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static bool is_gateways(const uint8_t *mac)
{
	for (unsigned i = 0; i < PORTS; i++) {
		if (memcmp(mac, macs[i], 6) == 0)
			return true;
	}
	return false;
}

static void check_out(const struct frame *frame)
{
	uint8_t *bytes = check_flatten(frame);

	if (frame->length >= 34 && is_gateways(bytes + 6) && check_be16(bytes + 12) == 0x0800) {
		CHECK(check_ipv4_sum(bytes + 14));
		CHECK(frame->gso != 0 || frame->length <= 14 + MTU);
	}
	free(bytes);
}

static uint32_t sink_send(struct port_queue *queue, struct frame *const *frames, uint32_t count,
			  struct port_counters *counters)
{
	for (uint32_t i = 0; i < count; i++)
		check_out(frames[i]);
	return count;
}

/* As vswitch_create(), but that nobody runs. */
static void make_switch(void)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	vswitch = calloc(1, sizeof(*vswitch));
	CHECK(vswitch != NULL && worker != NULL);
	vswitch->loop = event_base_new();
	vswitch->fault_fd = -1;
	config_init(&vswitch->config);
	vswitch->rcu = rcu_create(1);
	vswitch->workers = calloc(1, sizeof(struct worker *));
	CHECK(vswitch->loop != NULL && vswitch->rcu != NULL && vswitch->workers != NULL);
	vswitch->worker_count = 1;
	vswitch->workers[0] = worker;
	worker->vswitch = vswitch;
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->context = calloc(1, sizeof(*worker->context));
	CHECK(worker->context != NULL);
	worker->context->worker = worker;
	worker->context->in = burst_create();
	worker->context->edge = burst_create();
	worker->context->memo = bridge_memo_create();
	CHECK(vswitch_publish(vswitch) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct config config;
	struct error error;

	log_set_level(LOG_LEVEL_ERROR);
	clock_init();
	make_switch();
	if (config_parse("fuzz", yaml, sizeof(yaml) - 1, &config, &error) != 0 ||
	    vswitch_apply(vswitch, NULL, &config, &error) != 0) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
	config_clear(&config);
	sink = port_null;
	sink.send = sink_send;
	for (unsigned i = 0; i < PORTS; i++)
		vswitch_find_port(vswitch, names[i])->type = &sink;
	return 0;
}

static struct worker_context *context_take(void)
{
	struct worker_context *context = vswitch->workers[0]->context;

	context->snapshot = atomic_load(&vswitch->snapshot);
	context->generation = context->snapshot->generation;
	context->plan = &context->snapshot->plans[0];
	context->now = clock_seconds();
	context->boottime = gateway_boottime();
	context->unmeasured = 1;
	return context;
}

/* What control wrote into its legs. */
static uint32_t run_legs(void)
{
	struct worker_context *context = context_take();
	uint32_t taken = 0;

	for (uint16_t i = 0; i < vswitch->port_limit; i++) {
		struct port *port = vswitch->ports[i];

		if (port == NULL || !gateway_is_leg(&port->config))
			continue;
		burst_reset(context->in);
		taken +=
		    port->type->receive(&port->receive_queues[0], context->in, &port->counters[0]);
		pipeline_run(context, &context->snapshot->ports[i], context->in);
		port->type->receive_done(&port->receive_queues[0]);
	}
	return taken;
}

static void run_burst(unsigned port)
{
	struct worker_context *context = context_take();

	pipeline_run(context,
		     &context->snapshot->ports[vswitch_find_port(vswitch, names[port])->index],
		     context->in);
	for (unsigned i = 0; i < ROUNDS; i++) {
		event_base_loop(vswitch->loop, EVLOOP_NONBLOCK);
		if (run_legs() == 0)
			break;
	}
	burst_reset(context->in);
}

/* The sums of an IPv4 or IPv6 packet without extension headers, so that it comes further. */
static void repair(uint8_t *frame, uint32_t length)
{
	uint32_t type = length >= 34 ? check_be16(frame + 12) : 0, l4, rest, field, sum = 0;
	uint8_t *ip = frame + 14, protocol;

	if (type == 0x0800 && ip[0] >> 4 == 4) {
		l4 = 14 + (ip[0] & 15u) * 4u;
		if (l4 < 34 || l4 > length || check_be16(ip + 2) < l4 - 14)
			return;
		ip[10] = ip[11] = 0;
		sum = ~check_sum(0, ip, l4 - 14);
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
		protocol = ip[9];
		rest = check_be16(ip + 2) - (l4 - 14);
	} else if (type == 0x86dd && length >= 54 && ip[0] >> 4 == 6) {
		l4 = 54;
		protocol = ip[6];
		rest = check_be16(ip + 4);
	} else {
		return;
	}
	field = protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP &&
	     protocol != IPPROTO_ICMPV6) ||
	    l4 + rest > length || rest < field + 2)
		return;
	frame[l4 + field] = frame[l4 + field + 1] = 0;
	sum = protocol == IPPROTO_ICMP ? 0 : check_pseudo(ip, protocol, rest);
	sum = ~check_sum(sum, frame + l4, rest);
	frame[l4 + field] = (uint8_t)(sum >> 8);
	frame[l4 + field + 1] = (uint8_t)sum;
}

struct step {
	unsigned port;
	const uint8_t *header; /* NULL: none */
	uint8_t *bytes;	       /* a copy of its own size */
	uint32_t length;
};

static bool step_read(struct step *step, const uint8_t **data, size_t *size)
{
	const uint8_t *at = *data;
	uint32_t head = 3;

	if (*size < 3)
		return false;
	step->port = at[0] & (PORTS - 1);
	step->length = at[1] | (uint32_t)at[2] << 8;
	step->header = NULL;
	if (at[0] & HEADER) {
		step->header = at + 3;
		head += VNET_HEADER_LEGACY;
	}
	if (*size < head)
		return false;
	if (step->length > *size - head)
		step->length = (uint32_t)(*size - head);
	*data += head + step->length;
	*size -= head + step->length;
	if (step->length < FRAME_LENGTH_MIN)
		return false;
	step->bytes = malloc(step->length);
	CHECK(step->bytes != NULL);
	memcpy(step->bytes, at + head, step->length);
	if (at[0] & GATEWAY)
		memcpy(step->bytes, macs[step->port], 6);
	if (at[0] & REPAIR)
		repair(step->bytes, step->length);
	return true;
}

/* As a port brings it in; false: dropped there. */
static bool burst_append(struct burst *burst, const struct step *step)
{
	struct frame *frame = &burst->frames[burst->count];
	struct frame_segment *segment = &burst->segments[burst->segment_count];
	struct vnet_header header = { 0 };
	enum drop_reason reason;
	uint32_t head = step->length < FRAME_HEAD_MAX ? step->length : FRAME_HEAD_MAX;

	memset(frame, 0, sizeof(*frame));
	frame->head = burst_head(burst, burst->count);
	frame->segments = segment;
	frame->length = step->length;
	frame->head_length = (uint16_t)head;
	memcpy(frame->head, step->bytes, head);
	if (step->length > head) {
		*segment = (struct frame_segment){ step->bytes + head, step->length - head };
		frame->segment_count = 1;
	}
	if (step->header != NULL)
		memcpy(&header, step->header, VNET_HEADER_LEGACY);
	if (!vnet_header_to_frame(&header, frame, OFFLOAD_ALL, &reason))
		return false;
	burst->segment_count += frame->segment_count;
	burst->count++;
	return true;
}

/* What one input left is nothing to the next. */
static void forget(void)
{
	for (uint16_t i = 0; i < vswitch->network_limit; i++) {
		struct gateway *gateway =
		    vswitch->networks[i] != NULL ? vswitch->networks[i]->gateway : NULL;

		if (gateway == NULL)
			continue;
		if (gateway->nat != NULL)
			nat_flush(gateway->nat, NULL);
		for (uint16_t side = 0; side < GATEWAY_SIDES; side++) {
			if (gateway->legs[side].port == NULL)
				continue;
			neighbour_clear_leg(gateway->neighbours, side, gateway_now());
			neighbour_set_leg(gateway->neighbours, &gateway->legs[side].route,
					  gateway_now());
			for (uint32_t p = 0; p < vswitch->port_limit; p++)
				reassembly_forget(gateway->reassembly, (uint32_t)side << 16 | p);
		}
		gateway_guard_leave(gateway, vswitch_find_port(vswitch, "b"));
		gateway_finish(gateway);
		mac_table_flush(vswitch->networks[i]->macs);
	}
	while (run_legs() > 0)
		event_base_loop(vswitch->loop, EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct burst *burst = vswitch->workers[0]->context->in;
	uint8_t *copies[BURST];
	uint32_t count = 0;
	unsigned port = 0;
	struct step step;

	burst_reset(burst);
	while (step_read(&step, &data, &size)) {
		if (burst->count > 0 && (step.port != port || count == BURST)) {
			run_burst(port);
			while (count > 0)
				free(copies[--count]);
		}
		port = step.port;
		if (count < BURST && burst_append(burst, &step))
			copies[count++] = step.bytes;
		else
			free(step.bytes);
	}
	if (burst->count > 0)
		run_burst(port);
	while (count > 0)
		free(copies[--count]);
	forget();
	return 0;
}
