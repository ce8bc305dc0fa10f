/* clock.h over DPDK's rte_rdtsc(), which is a header and needs no EAL. */
#include "base/clock.h"

#include <rte_cycles.h>
#include <time.h>

#define CALIBRATION_NS 1000000u

static uint64_t hz = 1000000000; /* written once by clock_init(), before any worker */

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void clock_init(void)
{
	uint64_t ns = monotonic_ns(), cycles = rte_rdtsc(), ns_now;

	do {
		ns_now = monotonic_ns();
	} while (ns_now - ns < CALIBRATION_NS);
	hz = (uint64_t)((double)(rte_rdtsc() - cycles) * 1e9 / (double)(ns_now - ns));
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
