/* The accounts of a user port's sockets (user_flows.h): by descriptor who opened it, by guest how
 * many, and a table of the ends of UDP flows. Thread of user_stack.c, with its lock held. */
#include "vswitch/user_flows.h"

#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>

#define GUESTS	(USER_FLOWS_HOST + 1u)
#define BUCKETS 4096u
#define NO_FD	-1

struct user_flow {
	bool open;
	uint16_t guest;
	struct user_end end;
	int next; /* in its bucket */
};

struct user_flows {
	uint32_t limit, count;
	uint32_t of_guest[GUESTS];
	uint16_t opener;
	struct user_end end;	 /* of the opener; port 0: none */
	struct user_flow *by_fd; /* grows */
	uint32_t room;
	uint64_t key[2];
	int buckets[BUCKETS];
};

struct user_flows *user_flows_create(uint32_t limit)
{
	struct user_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	siphash_key(flows->key);
	flows->limit = limit;
	flows->opener = USER_FLOWS_HOST;
	memset(flows->buckets, 0xff, sizeof(flows->buckets)); /* NO_FD */
	return flows;
}

void user_flows_destroy(struct user_flows *flows)
{
	if (!flows)
		return;
	free(flows->by_fd);
	free(flows);
}

static uint32_t bucket_of(const struct user_flows *flows, const struct user_end *end)
{
	uint8_t bytes[sizeof(end->ip.bytes) + sizeof(end->port)];

	memcpy(bytes, end->ip.bytes, sizeof(end->ip.bytes));
	memcpy(bytes + sizeof(end->ip.bytes), &end->port, sizeof(end->port));
	return (uint32_t)(siphash(flows->key, bytes, sizeof(bytes)) % BUCKETS);
}

void user_flows_set_opener(struct user_flows *flows, uint16_t guest, const struct user_end *end)
{
	static const struct user_end none;

	flows->opener = guest;
	flows->end = end ? *end : none;
}

static bool make_room(struct user_flows *flows, uint32_t fd)
{
	uint32_t room = (fd + 1) * 2;
	struct user_flow *more;

	if (fd < flows->room)
		return true;
	more = realloc(flows->by_fd, room * sizeof(*more));
	if (!more)
		return false;
	memset(more + flows->room, 0, (room - flows->room) * sizeof(*more));
	flows->by_fd = more;
	flows->room = room;
	return true;
}

void user_flows_opened(struct user_flows *flows, int fd)
{
	struct user_flow *flow;

	if (fd < 0 || !make_room(flows, (uint32_t)fd) || flows->by_fd[fd].open)
		return;
	flow = &flows->by_fd[fd];
	*flow = (struct user_flow){ .open = true, .guest = flows->opener, .end = flows->end };
	if (flow->end.port != 0) {
		int *bucket = &flows->buckets[bucket_of(flows, &flow->end)];

		flow->next = *bucket;
		*bucket = fd;
	}
	flows->of_guest[flow->guest]++;
	flows->count++;
}

void user_flows_closed(struct user_flows *flows, int fd)
{
	struct user_flow *flow;

	if (fd < 0 || (uint32_t)fd >= flows->room || !flows->by_fd[fd].open)
		return;
	flow = &flows->by_fd[fd];
	if (flow->end.port != 0) {
		int *at = &flows->buckets[bucket_of(flows, &flow->end)];

		while (*at != fd)
			at = &flows->by_fd[*at].next;
		*at = flow->next;
	}
	flow->open = false;
	flows->of_guest[flow->guest]--;
	flows->count--;
}

bool user_flows_has_room(const struct user_flows *flows, uint16_t guest)
{
	return flows->count < flows->limit && flows->of_guest[guest] < flows->limit - flows->count;
}

bool user_flows_knows(const struct user_flows *flows, const struct user_end *end)
{
	if (end->port == 0)
		return false;
	for (int fd = flows->buckets[bucket_of(flows, end)]; fd != NO_FD;
	     fd = flows->by_fd[fd].next) {
		if (flows->by_fd[fd].end.port == end->port &&
		    ip_equal(&flows->by_fd[fd].end.ip, &end->ip))
			return true;
	}
	return false;
}

uint32_t user_flows_count(const struct user_flows *flows)
{
	return flows->count;
}
