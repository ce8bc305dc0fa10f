/* One question on its way to one resolver. Called by the forwarder and by the event loop, on the
 * control thread. Over TCP a message stands after its length (RFC 1035, 4.2.2). */
#include "route/dns_exchange.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP_MOST 4096u /* we ask for 1232 at most */
#define PREFIX	 2u

struct dns_exchange {
	int fd;
	enum dns_transport transport;
	struct event *event;
	struct dns_exchange_events events;
	uint8_t *in; /* TCP: the message with its prefix, once that is known */
	size_t in_size, in_length;
	uint8_t prefix[PREFIX];
	size_t out_size, out_done;
	uint8_t out[]; /* with its prefix */
};

static socklen_t resolver_address(const struct dns_resolver *resolver,
				  struct sockaddr_storage *storage)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;

	memset(storage, 0, sizeof(*storage));
	if (ip_is_v4(&resolver->ip)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(resolver->port);
		memcpy(&v4->sin_addr, ip_v4_bytes(&resolver->ip), sizeof(v4->sin_addr));
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(resolver->port);
	v6->sin6_scope_id = resolver->scope;
	memcpy(&v6->sin6_addr, resolver->ip.bytes, sizeof(v6->sin6_addr));
	return sizeof(*v6);
}

/* All is done in one go, as nothing must be touched after a callback. */
static void udp_ready(evutil_socket_t fd, short what, void *context)
{
	struct dns_exchange *exchange = context;
	uint8_t message[UDP_MOST];
	ssize_t got = recv(fd, message, sizeof(message), MSG_TRUNC);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0)
		exchange->events.failed(exchange->events.context, -errno);
	else if ((size_t)got <= sizeof(message))
		exchange->events.received(exchange->events.context, message, (size_t)got);
}

/* Reads what is there of the prefix and the message. 1 when it is whole, 0 later, or -errno. */
static int tcp_read(struct dns_exchange *exchange)
{
	for (;;) {
		uint8_t *to = exchange->in == NULL ? exchange->prefix : exchange->in;
		size_t size = exchange->in == NULL ? PREFIX : exchange->in_size;
		ssize_t got =
		    recv(exchange->fd, to + exchange->in_length, size - exchange->in_length, 0);

		if (got == 0)
			return -ECONNRESET;
		if (got < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		exchange->in_length += (size_t)got;
		if (exchange->in_length < size)
			continue;
		if (exchange->in != NULL)
			return 1;
		exchange->in_size = (size_t)exchange->prefix[0] << 8 | exchange->prefix[1];
		exchange->in_length = 0;
		if (exchange->in_size == 0)
			return -EBADMSG;
		exchange->in = malloc(exchange->in_size);
		if (exchange->in == NULL)
			return -ENOMEM;
	}
}

/* 0 or -errno. */
static int tcp_write(struct dns_exchange *exchange)
{
	ssize_t sent = send(exchange->fd, exchange->out + exchange->out_done,
			    exchange->out_size - exchange->out_done, MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	exchange->out_done += (size_t)sent;
	return 0;
}

static int watch(struct dns_exchange *exchange, struct event_base *base, short what,
		 event_callback_fn callback)
{
	if (exchange->event != NULL)
		event_free(exchange->event);
	exchange->event = event_new(base, exchange->fd, what | EV_PERSIST, callback, exchange);
	return exchange->event == NULL || event_add(exchange->event, NULL) < 0 ? -ENOMEM : 0;
}

static void tcp_ready(evutil_socket_t fd, short what, void *context)
{
	struct dns_exchange *exchange = context;
	int done = 0;

	if ((what & EV_WRITE) != 0) {
		done = tcp_write(exchange);
		if (done == 0 && exchange->out_done == exchange->out_size)
			done = watch(exchange, event_get_base(exchange->event), EV_READ, tcp_ready);
	} else {
		done = tcp_read(exchange);
	}
	if (done < 0)
		exchange->events.failed(exchange->events.context, done);
	else if (done > 0)
		exchange->events.received(exchange->events.context, exchange->in,
					  exchange->in_size);
}

static int open_socket(struct dns_exchange *exchange, const struct dns_resolver *resolver)
{
	int type = exchange->transport == DNS_UDP ? SOCK_DGRAM : SOCK_STREAM;
	struct sockaddr_storage address;
	socklen_t length = resolver_address(resolver, &address);

	exchange->fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (exchange->fd < 0)
		return -errno;
	if (connect(exchange->fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

int dns_exchange_start(struct event_base *base, const struct dns_resolver *resolver,
		       enum dns_transport transport, const uint8_t *query, size_t length,
		       const struct dns_exchange_events *events, struct dns_exchange **exchange)
{
	struct dns_exchange *made = calloc(1, sizeof(*made) + PREFIX + length);
	int error;

	*exchange = NULL;
	if (made == NULL)
		return -ENOMEM;
	made->transport = transport;
	made->events = *events;
	made->out[0] = (uint8_t)(length >> 8);
	made->out[1] = (uint8_t)length;
	memcpy(made->out + PREFIX, query, length);
	made->out_size = PREFIX + length;
	error = open_socket(made, resolver);
	if (error == 0 && transport == DNS_UDP &&
	    send(made->fd, query, length, MSG_NOSIGNAL) != (ssize_t)length)
		error = -errno;
	if (error == 0)
		error = transport == DNS_UDP ? watch(made, base, EV_READ, udp_ready)
					     : watch(made, base, EV_WRITE, tcp_ready);
	if (error < 0) {
		dns_exchange_destroy(made);
		return error;
	}
	*exchange = made;
	return 0;
}

void dns_exchange_destroy(struct dns_exchange *exchange)
{
	if (exchange == NULL)
		return;
	if (exchange->event != NULL)
		event_free(exchange->event);
	if (exchange->fd >= 0)
		close(exchange->fd);
	free(exchange->in);
	free(exchange);
}
