/* The time stamp counter: the clock of the benchmark programs. It runs at one rate on all cores of
 * any machine that has vhost-user guests worth measuring. */
#ifndef WEFT_BENCH_CYCLES_H
#define WEFT_BENCH_CYCLES_H

#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

static inline uint64_t cycles_now(void)
{
	return __rdtsc();
}

static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Cycles per second, measured against the monotonic clock over 20 ms. */
static inline double cycles_per_second(void)
{
	uint64_t start_ns = clock_ns(), start = cycles_now(), end_ns;

	do
		end_ns = clock_ns();
	while (end_ns - start_ns < 20000000ull);
	return (double)(cycles_now() - start) * 1e9 / (double)(end_ns - start_ns);
}

#endif
