/* clock.h over DPDK's rte_rdtsc(), which is a header and needs no EAL. */
#include "base/clock.h"

#include <rte_cycles.h>
#include <time.h>

#define CALIBRATION_NS	  1000000u
#define CALIBRATION_TRIES 8

struct moment {
	uint64_t cycles, ns;
};

static uint64_t hz = 1000000000; /* written once by clock_init(), before any worker */

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Both clocks at one moment. If we were interrupted between the two, the moment is two: of a few
 * tries the shortest is taken. */
static struct moment look(void)
{
	struct moment best = { 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < CALIBRATION_TRIES; i++) {
		uint64_t before = rte_rdtsc(), ns = monotonic_ns(), after = rte_rdtsc();

		if (after - before < shortest) {
			shortest = after - before;
			best = (struct moment){ .cycles = before, .ns = ns };
		}
	}
	return best;
}

void clock_init(void)
{
	struct moment start = look(), end;

	do {
		end = look();
	} while (end.ns - start.ns < CALIBRATION_NS);
	hz = (uint64_t)((double)(end.cycles - start.cycles) * 1e9 / (double)(end.ns - start.ns));
}

uint64_t clock_cycles(void)
{
	return rte_rdtsc();
}

uint64_t clock_hz(void)
{
	return hz;
}

uint32_t clock_seconds(void)
{
	return (uint32_t)(rte_rdtsc() / hz);
}
