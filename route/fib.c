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

struct fib_draft {
	struct fib_route *routes; /* sorted by first address, shorter prefixes first */
	uint32_t route_count;
	uint32_t *open; /* routes that hold the current address, the longest last */
	uint32_t open_count;
	struct fib *fib;
};

static int compare_routes(const void *a, const void *b)
{
	const struct fib_route *x = a, *y = b;
	int order = ip_compare(&x->prefix.ip, &y->prefix.ip);

	return order != 0 ? order : (int)x->prefix.length - (int)y->prefix.length;
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
		const struct fib_route *route = &draft->routes[draft->open[draft->open_count - 1]];
		struct ip after = ip_prefix_last(&route->prefix);

		if (to != NULL && ip_prefix_contains(&route->prefix, to))
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
		const struct fib_route *route = &draft->routes[i];

		end_routes(draft, &route->prefix.ip);
		begin_range(draft->fib, &route->prefix.ip, &route->next);
		draft->open[draft->open_count++] = i;
	}
	end_routes(draft, NULL);
}

/* Copies routes with their host bits cleared, leaving out those whose prefix was there before. */
static uint32_t copy_routes(struct fib_route *to, const struct fib_route *from, uint32_t count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct ip_prefix network = ip_prefix_network(&from[i].prefix);
		uint32_t same = 0;

		while (same < n && !ip_prefix_equal(&to[same].prefix, &network))
			same++;
		if (same == n)
			to[n++] = (struct fib_route){ network, from[i].next };
	}
	return n;
}

struct fib *fib_create(const struct fib_route *routes, uint32_t count)
{
	struct fib_draft draft = { 0 };

	draft.routes = calloc(count + 1u, sizeof(*draft.routes));
	draft.open = calloc(count + 1u, sizeof(*draft.open));
	/* A route begins one range and ends with another. */
	draft.fib =
	    calloc(1, sizeof(*draft.fib) + (2u * count + 1u) * sizeof(draft.fib->ranges[0]));
	if (draft.routes != NULL && draft.open != NULL && draft.fib != NULL) {
		draft.route_count = copy_routes(draft.routes, routes, count);
		qsort(draft.routes, draft.route_count, sizeof(*draft.routes), compare_routes);
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
