/* The forwarding table (fib.h): prefixes flattened into ascending ranges. Built on control, read by
 * workers. */
#include "route/fib.h"

#include <stdlib.h>

/* From `first` up to the next range's first address `next` holds. */
struct fib_range {
	struct ip first;
	struct fib_next next;
};

struct fib {
	uint32_t count; /* >= 1; the first range begins at :: */
	struct fib_range ranges[];
};

struct fib_draft_route {
	struct ip_prefix prefix; /* no host bits */
	struct fib_next next;
	uint32_t order; /* in the caller's list */
};

struct fib_draft {
	struct fib_draft_route *routes; /* sorted by first address, shorter prefixes first */
	uint32_t route_count;
	uint32_t *open; /* routes that hold the current address, the longest last */
	uint32_t open_count;
	struct fib *fib;
};

static int compare_routes(const void *a, const void *b)
{
	const struct fib_draft_route *x = a, *y = b;
	int order = ip_compare(&x->prefix.ip, &y->prefix.ip);

	if (order == 0)
		order = (int)x->prefix.length - (int)y->prefix.length;
	return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* Begins a range; one that was begun at the same address is replaced. */
static void begin_range(struct fib *fib, const struct ip *first, const struct fib_next *next)
{
	struct fib_range *last = fib->count > 0 ? &fib->ranges[fib->count - 1] : NULL;

	if (last != NULL && ip_equal(&last->first, first))
		last->next = *next;
	else
		fib->ranges[fib->count++] = (struct fib_range){ *first, *next };
}

/* The address after `ip`; false when there is none. */
static bool next_address(struct ip *ip)
{
	for (unsigned i = 16; i-- > 0;) {
		if (++ip->bytes[i] != 0)
			return true;
	}
	return false;
}

/* Ends the prefixes that do not reach `to` (NULL: all); behind each, the one around it goes on. */
static void end_routes(struct fib_draft *draft, const struct ip *to)
{
	static const struct fib_next none = { .action = FIB_NONE };

	while (draft->open_count > 0) {
		const struct fib_draft_route *route =
		    &draft->routes[draft->open[draft->open_count - 1]];
		struct ip after = ip_prefix_last(&route->prefix);

		if (to != NULL && ip_compare(to, &after) <= 0)
			return;
		draft->open_count--;
		if (!next_address(&after))
			continue;
		begin_range(draft->fib, &after,
			    draft->open_count > 0
				? &draft->routes[draft->open[draft->open_count - 1]].next
				: &none);
	}
}

static void build(struct fib_draft *draft)
{
	static const struct fib_next none = { .action = FIB_NONE };
	static const struct ip zero;

	begin_range(draft->fib, &zero, &none);
	for (uint32_t i = 0; i < draft->route_count; i++) {
		const struct fib_draft_route *route = &draft->routes[i];

		end_routes(draft, &route->prefix.ip);
		begin_range(draft->fib, &route->prefix.ip, &route->next);
		draft->open[draft->open_count++] = i;
	}
	end_routes(draft, NULL);
}

/* Copies routes with their host bits cleared, sorts them, and leaves out those whose prefix came
 * before. As IPv4 lies within ::/0 here, it has a last route of its own: to nowhere. */
static void take_routes(struct fib_draft *draft, const struct fib_route *from, uint32_t count)
{
	struct ip_prefix all_ipv4 = { ip_from_v4(0), IP_V4_LENGTH };
	struct fib_draft_route *to = draft->routes;
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		to[i] =
		    (struct fib_draft_route){ ip_prefix_network(&from[i].prefix), from[i].next, i };
	to[count] = (struct fib_draft_route){ all_ipv4, { .action = FIB_NONE }, count };
	qsort(to, (size_t)count + 1, sizeof(*to), compare_routes);
	for (uint32_t i = 0; i <= count; i++) {
		if (n == 0 || !ip_prefix_equal(&to[n - 1].prefix, &to[i].prefix))
			to[n++] = to[i];
	}
	draft->route_count = n;
}

struct fib *fib_create(const struct fib_route *routes, uint32_t count)
{
	struct fib_draft draft = { 0 };
	size_t rows = (size_t)count + 1;

	draft.routes = calloc(rows, sizeof(*draft.routes));
	draft.open = calloc(rows, sizeof(*draft.open));
	/* A route begins one range and ends with another. */
	draft.fib = calloc(1, sizeof(*draft.fib) + (2 * rows + 1) * sizeof(draft.fib->ranges[0]));
	if (draft.routes != NULL && draft.open != NULL && draft.fib != NULL) {
		take_routes(&draft, routes, count);
		build(&draft);
	} else {
		free(draft.fib);
		draft.fib = NULL;
	}
	free(draft.routes);
	free(draft.open);
	return draft.fib;
}

void fib_destroy(struct fib *fib)
{
	free(fib);
}

const struct fib_next *fib_lookup(const struct fib *fib, const struct ip *destination)
{
	uint32_t low = 0, high = fib->count;

	/* ranges[low].first <= destination < ranges[high].first */
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (ip_compare(&fib->ranges[middle].first, destination) <= 0)
			low = middle;
		else
			high = middle;
	}
	return &fib->ranges[low].next;
}
