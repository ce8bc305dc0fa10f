/* Offers that wait for the conflict check (RFC 2131, 4.4.1): the client's message is kept, and
 * answered when nobody was found to use the address. For the DHCPv4 server, control thread.
 *
 * All wait equally long, so the list is in the order of their ends. */
#include "route/dhcp_server_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dhcp_pending {
	TAILQ_ENTRY(dhcp_pending) link;
	struct ip ip;
	uint64_t deadline;
	unsigned tries;
	struct dhcp_request
	    request; /* server, port and times of it are good; the rest is made anew */
	struct dhcp_message message;
};

static struct dhcp_pending *find(struct dhcp_server *server, const struct ip *ip);
static void remove_pending(struct dhcp_server *server, struct dhcp_pending *pending);
static void answer(struct dhcp_pending *pending, uint64_t now, uint64_t wall);
static void pass_over(struct dhcp_pending *pending, uint64_t now, uint64_t wall);

int dhcp_probe_start(const struct dhcp_request *request, const struct ip *ip, unsigned tries)
{
	struct dhcp_server *server = request->server;
	struct dhcp_pending *pending;

	if (server->pending_count >= DHCP_PROBE_MAX)
		return -ENOBUFS;
	pending = malloc(sizeof(*pending));
	if (pending == NULL)
		return -ENOMEM;
	pending->ip = *ip;
	pending->deadline = request->now + DHCP_PROBE_WAIT;
	pending->tries = tries;
	pending->request = *request;
	pending->message = *request->message;
	TAILQ_INSERT_TAIL(&server->pending, pending, link);
	server->pending_count++;
	/* The last thing, for it may answer at once. */
	server->probe.ask(server->probe.context, ip);
	return 0;
}

bool dhcp_probe_waits(struct dhcp_server *server, const struct ip *ip,
		      const struct dhcp_request *request)
{
	struct dhcp_pending *pending = find(server, ip);

	if (pending != NULL && request != NULL) {
		pending->request = *request;
		pending->message = *request->message;
	}
	return pending != NULL;
}

void dhcp_probe_cancel(struct dhcp_server *server, const struct ip *ip)
{
	struct dhcp_pending *pending = find(server, ip);

	if (pending != NULL)
		remove_pending(server, pending);
	free(pending);
}

void dhcp_probe_clear(struct dhcp_server *server)
{
	struct dhcp_pending *pending;

	while ((pending = TAILQ_FIRST(&server->pending)) != NULL) {
		remove_pending(server, pending);
		free(pending);
	}
}

uint64_t dhcp_probe_deadline(const struct dhcp_server *server)
{
	const struct dhcp_pending *first = TAILQ_FIRST(&server->pending);

	return first == NULL ? UINT64_MAX : first->deadline;
}

void dhcp_probe_tick(struct dhcp_server *server, uint64_t now, uint64_t wall)
{
	struct dhcp_pending *pending;

	while ((pending = TAILQ_FIRST(&server->pending)) != NULL && pending->deadline <= now) {
		remove_pending(server, pending);
		answer(pending, now, wall);
		free(pending);
	}
}

void dhcp_server_probe_result(struct dhcp_server *server, const struct ip *ip,
			      const struct mac *holder, uint64_t now, uint64_t wall)
{
	struct dhcp_pending *pending = find(server, ip);

	if (pending == NULL)
		return;
	remove_pending(server, pending);
	/* A client that is already on the address may well have it. */
	if (holder == NULL || memcmp(holder, &pending->message.header.chaddr, sizeof(*holder)) == 0)
		answer(pending, now, wall);
	else
		pass_over(pending, now, wall);
	free(pending);
}

static struct dhcp_pending *find(struct dhcp_server *server, const struct ip *ip)
{
	struct dhcp_pending *pending;

	TAILQ_FOREACH(pending, &server->pending, link)
	if (ip_equal(&pending->ip, ip))
		return pending;
	return NULL;
}

static void remove_pending(struct dhcp_server *server, struct dhcp_pending *pending)
{
	TAILQ_REMOVE(&server->pending, pending, link);
	server->pending_count--;
}

/* Who the client is may have changed since. */
static void identify_again(struct dhcp_pending *pending, uint64_t now, uint64_t wall)
{
	pending->request.message = &pending->message;
	pending->request.now = now;
	pending->request.wall = wall;
	dhcp_client_identify(&pending->request);
}

static void answer(struct dhcp_pending *pending, uint64_t now, uint64_t wall)
{
	const struct dhcp_request *request = &pending->request;

	identify_again(pending, now, wall);
	if (request->lease != NULL && ip_equal(&request->lease->ip, &pending->ip))
		dhcp_server_offer(&pending->request, &pending->ip);
}

/* Somebody uses the address: the client gets another one. */
static void pass_over(struct dhcp_pending *pending, uint64_t now, uint64_t wall)
{
	struct dhcp_server *server = pending->request.server;

	dhcp_count(server, DHCP_COUNT_CONFLICT);
	dhcp_address_set_aside(server, &pending->ip, LEASE_PORT_NONE, now, wall);
	if (pending->tries + 1 >= DHCP_PROBE_TRIES)
		return;
	identify_again(pending, now, wall);
	dhcp_server_discover(&pending->request, pending->tries + 1);
}
