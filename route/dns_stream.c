/* A client's connection, as a stream of bytes. Called by dns_tcp.c, and by the DNS server with
 * answers, on the control thread.
 *
 * A client that asks faster than it reads is not read from until it has: at most IN_FLIGHT queries
 * are with the server and OUT_MOST bytes wait, but for the answers to those. */
#include "route/dns_stream.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFIX	  2u
#define IN_FLIGHT 8u
#define OUT_MOST  65536u
/* A query has one question and perhaps options: far more than any needs. */
#define QUERY_MOST 4096u

struct slot {
	struct dns_stream *stream;
	struct dns_query *query;
	bool used;
};

struct dns_stream {
	int fd;
	struct dns_stream_setup setup;
	bool ended;   /* the client sends no more */
	bool running; /* in dns_stream_run() */
	uint64_t active;
	struct slot slots[IN_FLIGHT];
	uint32_t in_flight;
	struct evbuffer *out;
	uint32_t in_length;
	uint8_t in[PREFIX + QUERY_MOST];
};

struct dns_stream *dns_stream_create(int fd, const struct dns_stream_setup *setup, uint64_t now)
{
	struct dns_stream *stream = calloc(1, sizeof(*stream));
	struct evbuffer *out = evbuffer_new();

	if (stream == NULL || out == NULL) {
		close(fd);
		free(stream);
		if (out != NULL)
			evbuffer_free(out);
		return NULL;
	}
	stream->fd = fd;
	stream->setup = *setup;
	stream->active = now;
	stream->out = out;
	for (uint32_t i = 0; i < IN_FLIGHT; i++)
		stream->slots[i].stream = stream;
	return stream;
}

void dns_stream_destroy(struct dns_stream *stream)
{
	if (stream == NULL)
		return;
	for (uint32_t i = 0; i < IN_FLIGHT; i++) {
		if (stream->slots[i].used)
			dns_query_cancel(stream->slots[i].query);
	}
	evbuffer_free(stream->out);
	close(stream->fd);
	free(stream);
}

static void answered(void *context, const uint8_t *message, size_t length)
{
	struct slot *slot = context;
	struct dns_stream *stream = slot->stream;
	uint8_t prefix[PREFIX] = { (uint8_t)(length >> 8), (uint8_t)length };

	slot->used = false;
	stream->in_flight--;
	/* Both or none: what cannot be kept whole is not sent. */
	if (message != NULL && evbuffer_expand(stream->out, PREFIX + length) == 0) {
		evbuffer_add(stream->out, prefix, PREFIX);
		evbuffer_add(stream->out, message, length);
	}
	if (!stream->running)
		stream->setup.wake(stream->setup.context);
}

static void ask(struct dns_stream *stream, const uint8_t *message, uint32_t length)
{
	struct dns_client client = { .transport = DNS_TCP,
				     .ip = stream->setup.client,
				     .answer = answered };
	struct slot *slot = stream->slots;
	struct dns_query *query;

	while (slot->used)
		slot++;
	slot->used = true;
	client.context = slot;
	stream->in_flight++;
	++*stream->setup.queries;
	query = dns_server_query(stream->setup.server, message, length, &client);
	if (slot->used)
		slot->query = query;
}

static bool may_ask(const struct dns_stream *stream)
{
	return stream->in_flight < IN_FLIGHT && evbuffer_get_length(stream->out) < OUT_MOST;
}

/* Asks what has come whole. False when the client sends what cannot be a query. */
static bool take_queries(struct dns_stream *stream, uint64_t now)
{
	while (stream->in_length >= PREFIX && may_ask(stream)) {
		uint32_t length = (uint32_t)stream->in[0] << 8 | stream->in[1];

		if (length == 0 || length > QUERY_MOST)
			return false;
		if (stream->in_length < PREFIX + length)
			break;
		stream->active = now;
		ask(stream, stream->in + PREFIX, length);
		stream->in_length -= PREFIX + length;
		memmove(stream->in, stream->in + PREFIX + length, stream->in_length);
	}
	return true;
}

/* One read; -errno when the connection has broken. *moved is set when bytes, or the end, came. */
static int read_some(struct dns_stream *stream, bool *moved)
{
	ssize_t got;

	if (stream->ended || stream->in_length == sizeof(stream->in))
		return 0;
	got = recv(stream->fd, stream->in + stream->in_length,
		   sizeof(stream->in) - stream->in_length, 0);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	stream->ended = got == 0;
	stream->in_length += (uint32_t)got;
	*moved = true;
	return 0;
}

static int write_some(struct dns_stream *stream, uint64_t now, bool *moved)
{
	struct evbuffer_iovec piece;
	ssize_t sent;

	if (evbuffer_peek(stream->out, -1, NULL, &piece, 1) < 1)
		return 0;
	sent = send(stream->fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	evbuffer_drain(stream->out, (size_t)sent);
	stream->active = now;
	*moved = true;
	return 0;
}

enum dns_stream_state dns_stream_run(struct dns_stream *stream, uint64_t now)
{
	bool moved = false, sound;

	stream->running = true;
	sound = read_some(stream, &moved) == 0 && take_queries(stream, now) &&
		write_some(stream, now, &moved) == 0;
	stream->running = false;
	/* Half a query after which the client ended is never going to be whole. */
	if (!sound || (stream->ended && stream->in_flight == 0 &&
		       evbuffer_get_length(stream->out) == 0 && !moved))
		return DNS_STREAM_OVER;
	return moved ? DNS_STREAM_MOVED : DNS_STREAM_QUIET;
}

uint64_t dns_stream_quiet_since(const struct dns_stream *stream)
{
	return stream->in_flight > 0 ? UINT64_MAX : stream->active;
}
