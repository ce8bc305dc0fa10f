/* The chance that protocols ask for (delays, transaction numbers) as a sequence made of a seed: the
 * same seed gives the same run, so tests repeat, and real seeds come from getrandom(). The mixing
 * is splitmix64's. Not for secrets. Control thread; a plain value of its owner. */
#ifndef WEFT_ROUTE_JITTER_H
#define WEFT_ROUTE_JITTER_H

#include <stdint.h>

struct jitter {
	uint64_t state;
};

static inline uint64_t jitter_next(struct jitter *jitter)
{
	uint64_t x = jitter->state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* A number in [low, high]. */
static inline uint64_t jitter_between(struct jitter *jitter, uint64_t low, uint64_t high)
{
	return low + jitter_next(jitter) % (high - low + 1);
}

#endif
