/* DNS over TCP for guests. Called by the owner of the gateway's leg with frames, and by the event
 * loop with its one timer; on the control thread.
 *
 * A flow is one connection of a guest. It has a private port of its own, never used for another
 * soon, under which libslirp knows it. libslirp is old and trusts its peer with memory, so a
 * segment gets to it only when its turn in the sequence has come: then nothing is ever kept for
 * reassembly. What that turn is, it says itself, in each segment that it sends. A flow that is
 * forgotten is reset there, so that it never has more connections than there are flows. */
#include "route/dns_tcp.h"
#include "route/dns_flow.h"
#include "route/dns_slirp.h"
#include "route/dns_stream.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/random.h>

#define DNS_PORT     53
#define HANDSHAKE_MS 5000u
#define LINGER_MS    5000u /* for the ends of both directions, and what is still under way */
#define ROUNDS_MAX   16u   /* of moving bytes before others have their turn */
#define IPV6_MORE    20u   /* its header is that much longer */
#define MTU_LEAST    (576u + IPV6_MORE)

struct dns_tcp {
	struct dns_server *server;
	struct route_output output;
	struct dns_tcp_counters counters;
	struct dns_clock clock;
	struct event *timer;
	struct dns_slirp *slirp;
	uint32_t connections_max, client_max, idle_ms;
	struct dns_flows flows;
	uint8_t frame[PACKET_LENGTH_MAX];
};

static uint64_t now_ms(const struct dns_tcp *tcp)
{
	return tcp->clock.now(tcp->clock.context);
}

static void timer_fired(evutil_socket_t fd, short what, void *context)
{
	dns_tcp_tick(context);
}

/* An answer has come from afar. */
static void wake(void *context)
{
	struct dns_tcp *tcp = context;
	static const struct timeval at_once;

	evtimer_add(tcp->timer, &at_once);
}

static void send_frame(struct dns_tcp *tcp, const struct packet_header *header,
		       const struct dns_segment *segment)
{
	size_t length = dns_segment_write(header, segment, tcp->frame, sizeof(tcp->frame));

	if (length > 0)
		route_send(&tcp->output, tcp->frame, length);
}

/* From libslirp: the segment goes to the guest under its own addresses. */
static void send_segment(void *context, const struct dns_segment *segment)
{
	struct dns_tcp *tcp = context;
	struct dns_segment outer = *segment;
	struct dns_flow *flow = dns_flow_find_private(&tcp->flows, segment->to_port);

	if (flow == NULL || flow->reset)
		return;
	flow->heard = true;
	if (segment->flags & TCP_ACK)
		flow->next = segment->acknowledged;
	flow->reset = (segment->flags & TCP_RST) != 0;
	outer.to_port = flow->port;
	outer.sequence += flow->shift;
	if (segment->flags & TCP_SYN) {
		flow->hello = outer;
		flow->hello.data = NULL;
		flow->hello.length = 0;
	}
	send_frame(tcp, &flow->header, &outer);
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
	return value != 0 ? value : standard;
}

int dns_tcp_create(struct dns_server *server, struct event_base *base,
		   const struct route_output *output, const struct dns_tcp_options *options,
		   struct dns_tcp **tcp)
{
	static const struct dns_tcp_options standard;
	struct dns_slirp_setup setup = { .send = send_segment };
	struct dns_tcp *made = calloc(1, sizeof(*made));
	int error = -ENOMEM;
	uint32_t mtu;

	*tcp = NULL;
	if (made == NULL)
		return error;
	if (options == NULL)
		options = &standard;
	mtu = or_default(options->mtu, 1500);
	made->server = server;
	made->output = *output;
	made->clock = dns_clock_or_default(&options->clock);
	made->connections_max = or_default(options->connections_max, 64);
	made->client_max = or_default(options->client_max, 8);
	made->idle_ms = or_default(options->idle_ms, 10000);
	made->flows.count = 2 * made->connections_max;
	/* As many again may be closing. */
	made->flows.rows = calloc(made->flows.count, sizeof(*made->flows.rows));
	made->timer = evtimer_new(base, timer_fired, made);
	if (made->flows.rows == NULL || made->timer == NULL)
		goto fail;
	setup.mru = (uint16_t)(mtu < MTU_LEAST ? MTU_LEAST : mtu > 65521 ? 65521 : mtu);
	setup.mtu = (uint16_t)(setup.mru - IPV6_MORE);
	setup.directory = options->directory != NULL ? options->directory : "/tmp";
	setup.sockets_max = made->flows.count;
	setup.clock = made->clock;
	setup.context = made;
	error = dns_slirp_create(&setup, &made->slirp);
	if (error < 0)
		goto fail;
	*tcp = made;
	return 0;
fail:
	dns_tcp_destroy(made);
	return error;
}

void dns_tcp_destroy(struct dns_tcp *tcp)
{
	if (tcp == NULL)
		return;
	for (uint32_t i = 0; tcp->flows.rows != NULL && i < tcp->flows.count; i++) {
		dns_stream_destroy(tcp->flows.rows[i].stream);
		tcp->flows.rows[i].state = DNS_FLOW_FREE;
	}
	dns_slirp_destroy(tcp->slirp);
	if (tcp->timer != NULL)
		event_free(tcp->timer);
	free(tcp->flows.rows);
	free(tcp);
}

/* Forgets a flow, here and in libslirp. */
static void flow_drop(struct dns_tcp *tcp, struct dns_flow *flow)
{
	struct dns_segment reset = { .from_port = flow->private_port,
				     .sequence = flow->next,
				     .flags = TCP_RST };
	bool known = !flow->reset;

	dns_stream_destroy(flow->stream);
	memset(flow, 0, sizeof(*flow));
	if (known)
		dns_slirp_input(tcp->slirp, &reset);
}

/* Our side ends; the guest gets what libslirp still has for it. */
static void flow_close(struct dns_tcp *tcp, struct dns_flow *flow)
{
	dns_stream_destroy(flow->stream);
	flow->stream = NULL;
	flow->state = DNS_FLOW_CLOSING;
	flow->ends = now_ms(tcp) + LINGER_MS;
}

/* What the clock ends. */
static void expire(struct dns_tcp *tcp)
{
	uint64_t now = now_ms(tcp);

	for (uint32_t i = 0; i < tcp->flows.count; i++) {
		struct dns_flow *flow = &tcp->flows.rows[i];
		uint64_t quiet;

		if (flow->state == DNS_FLOW_OPEN) {
			quiet = dns_stream_quiet_since(flow->stream);
			if (quiet > now || now - quiet < tcp->idle_ms)
				continue;
			tcp->counters.idle++;
			flow_close(tcp, flow);
		} else if (flow->state != DNS_FLOW_FREE && now >= flow->ends) {
			tcp->counters.handshakes += flow->state == DNS_FLOW_HANDSHAKE;
			flow_drop(tcp, flow);
		}
	}
}

/* Lets each connection read, ask and answer. True when bytes were moved. */
static bool run_streams(struct dns_tcp *tcp)
{
	uint64_t now = now_ms(tcp);
	bool moved = false;

	for (uint32_t i = 0; i < tcp->flows.count; i++) {
		struct dns_flow *flow = &tcp->flows.rows[i];

		if (flow->reset)
			flow_drop(tcp, flow);
		if (flow->state != DNS_FLOW_OPEN)
			continue;
		switch (dns_stream_run(flow->stream, now)) {
		case DNS_STREAM_QUIET:
			break;
		case DNS_STREAM_OVER:
			flow_close(tcp, flow);
			/* fall through */
		case DNS_STREAM_MOVED:
			moved = true;
		}
	}
	return moved;
}

/* Until nothing moves any more, and then sets the timer for what comes by itself. */
static void run(struct dns_tcp *tcp)
{
	uint64_t now = now_ms(tcp), next = UINT64_MAX;
	uint32_t rounds = 0, wait;
	struct timeval time;
	bool moved;

	do {
		moved = run_streams(tcp);
		moved |= dns_slirp_run(tcp->slirp, &wait);
	} while (moved && ++rounds < ROUNDS_MAX);
	for (uint32_t i = 0; i < tcp->flows.count; i++) {
		const struct dns_flow *flow = &tcp->flows.rows[i];
		uint64_t quiet = UINT64_MAX;

		if (flow->state == DNS_FLOW_OPEN)
			quiet = dns_stream_quiet_since(flow->stream);
		else if (flow->state != DNS_FLOW_FREE && flow->ends < next)
			next = flow->ends;
		if (quiet != UINT64_MAX && quiet + tcp->idle_ms < next)
			next = quiet + tcp->idle_ms;
		/* libslirp has connections: its timers run. */
		if (flow->state != DNS_FLOW_FREE && now + wait < next)
			next = now + wait;
	}
	if (moved)
		next = now;
	if (next == UINT64_MAX) {
		evtimer_del(tcp->timer);
		return;
	}
	next = next > now ? next - now : 0;
	time = (struct timeval){ (time_t)(next / 1000), (suseconds_t)(next % 1000 * 1000) };
	evtimer_add(tcp->timer, &time);
}

void dns_tcp_tick(struct dns_tcp *tcp)
{
	expire(tcp);
	run(tcp);
}

uint32_t dns_tcp_connection_count(const struct dns_tcp *tcp)
{
	return dns_flow_count(&tcp->flows, NULL);
}

/* Whether one more connection is allowed. Handshakes give way to newer ones: who only ever begins
 * them keeps nobody out. */
static bool may_open(struct dns_tcp *tcp, const struct ip *client)
{
	struct dns_flow *oldest;

	if (dns_flow_count(&tcp->flows, client) >= tcp->client_max) {
		tcp->counters.limit_client++;
		return false;
	}
	if (dns_flow_count(&tcp->flows, NULL) < tcp->connections_max)
		return true;
	oldest = dns_flow_oldest(&tcp->flows, DNS_FLOW_HANDSHAKE);
	if (oldest == NULL) {
		tcp->counters.limit_total++;
		return false;
	}
	tcp->counters.handshakes++;
	flow_drop(tcp, oldest);
	return true;
}

/* A reply's headers are those of the packet, turned round. */
static struct packet_header header_back(const struct packet *packet)
{
	return (struct packet_header){ .from = packet->to,
				       .to = packet->from,
				       .source = packet->destination,
				       .destination = packet->source };
}

static struct dns_flow *flow_open(struct dns_tcp *tcp, const struct packet *packet,
				  const struct dns_segment *segment)
{
	struct dns_flow *flow;
	uint32_t shift;

	if (!may_open(tcp, &packet->source) ||
	    getrandom(&shift, sizeof(shift), GRND_NONBLOCK) != sizeof(shift))
		return NULL;
	flow = dns_flow_oldest(&tcp->flows, DNS_FLOW_FREE);
	if (flow == NULL) {
		flow = dns_flow_oldest(&tcp->flows, DNS_FLOW_CLOSING);
		flow_drop(tcp, flow);
	}
	*flow = (struct dns_flow){
		.state = DNS_FLOW_HANDSHAKE,
		.header = header_back(packet),
		.port = segment->from_port,
		.private_port = dns_flow_take_port(&tcp->flows),
		.next = segment->sequence + 1,
		.shift = shift,
		.ends = now_ms(tcp) + HANDSHAKE_MS,
	};
	return flow;
}

static void send_reset(struct dns_tcp *tcp, const struct packet *packet,
		       const struct dns_segment *segment)
{
	struct packet_header header = header_back(packet);
	struct dns_segment reset;

	if (segment->flags & TCP_RST)
		return;
	dns_segment_reset(segment, &reset);
	send_frame(tcp, &header, &reset);
}

/* The handshake's last segment may have completed a connection. */
static void flow_accept(struct dns_tcp *tcp, struct dns_flow *flow)
{
	struct dns_stream_setup setup = { .server = tcp->server,
					  .client = flow->header.destination,
					  .queries = &tcp->counters.queries,
					  .wake = wake,
					  .context = tcp };
	int fd = dns_slirp_accept(tcp->slirp);

	if (fd < 0)
		return;
	tcp->counters.connections++;
	flow->stream = dns_stream_create(fd, &setup, now_ms(tcp));
	flow->state = DNS_FLOW_OPEN;
	if (flow->stream == NULL)
		flow_close(tcp, flow);
}

/* A segment of a flow, its turn or before it, on to libslirp. */
static void flow_input(struct dns_tcp *tcp, struct dns_flow *flow,
		       const struct dns_segment *segment)
{
	struct dns_segment inner = *segment;

	inner.from_port = flow->private_port;
	inner.acknowledged -= flow->shift;
	if (flow->state == DNS_FLOW_HANDSHAKE && segment->flags & TCP_ACK &&
	    !dns_slirp_has_room(tcp->slirp)) {
		tcp->counters.limit_total++;
		flow_drop(tcp, flow);
		return;
	}
	flow->heard = false;
	dns_slirp_input(tcp->slirp, &inner);
	/* libslirp puts some acknowledgements off; one that repeats old bytes it answers at once.
	 */
	if (inner.length > 0 && !flow->heard) {
		inner.sequence = flow->next - 1;
		inner.flags = TCP_ACK;
		inner.length = 0;
		dns_slirp_input(tcp->slirp, &inner);
	}
	if (flow->state == DNS_FLOW_HANDSHAKE)
		flow_accept(tcp, flow);
}

/* A segment of a guest, whole and for us. */
static void segment_input(struct dns_tcp *tcp, const struct packet *packet,
			  struct dns_segment *segment)
{
	struct dns_flow *flow = dns_flow_find(&tcp->flows, packet, segment);
	bool opens = segment->flags == TCP_SYN;

	/* A client that begins anew with the same port has given the old connection up. */
	if (opens && flow != NULL &&
	    (flow->state == DNS_FLOW_CLOSING ||
	     (flow->state == DNS_FLOW_HANDSHAKE && segment->sequence + 1 != flow->next))) {
		flow_drop(tcp, flow);
		flow = NULL;
	}
	if (flow == NULL && opens) {
		flow = flow_open(tcp, packet, segment);
	} else if (flow == NULL) {
		tcp->counters.unknown++;
	} else if ((int32_t)(segment->sequence - flow->next) > 0 ||
		   (segment->flags & TCP_RST && segment->sequence != flow->next)) {
		/* For a reset only the exact number will do (RFC 5961, 3.2). */
		tcp->counters.out_of_order++;
		return;
	}
	if (flow == NULL) {
		send_reset(tcp, packet, segment);
		return;
	}
	if (segment->flags & TCP_SYN)
		segment->length = 0;
	if (segment->flags & TCP_RST)
		flow_drop(tcp, flow);
	else if (opens && flow->state == DNS_FLOW_HANDSHAKE && flow->hello.flags != 0)
		send_frame(tcp, &flow->header, &flow->hello); /* it was lost */
	else
		flow_input(tcp, flow, segment);
}

void dns_tcp_input(struct dns_tcp *tcp, const uint8_t *frame, size_t length)
{
	struct dns_segment segment;
	struct packet packet;

	tcp->counters.frames++;
	if (!packet_parse(frame, length, &packet) || packet.ip_version == 0 ||
	    !dns_segment_parse(&packet, &segment) || segment.to_port != DNS_PORT ||
	    segment.from_port == 0 || !ip_is_host(&packet.source) ||
	    !ip_is_host(&packet.destination) || mac_is_multicast(packet.from.bytes)) {
		tcp->counters.malformed++;
		return;
	}
	segment_input(tcp, &packet, &segment);
	run(tcp);
}

const struct dns_tcp_counters *dns_tcp_counters(const struct dns_tcp *tcp)
{
	return &tcp->counters;
}
