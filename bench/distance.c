/* How far two cores are from each other: the time a cache line takes to go there and back, median
 * of many. Virtual cores move on the host, and all figures of a switch move with them; bench.py
 * runs this before and after each measurement. */
#include "bench/cycles.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES	  200
#define ROUNDS	  200 /* trips a sample */
#define LAST_TRIP (SAMPLES * ROUNDS)

static struct {
	_Alignas(64) _Atomic unsigned ping;
	_Alignas(128) _Atomic unsigned pong;
} line;

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		perror("distance: sched_setaffinity");
		exit(1);
	}
}

static void *answer(void *core)
{
	pin(*(int *)core);
	for (unsigned i = 1; i <= LAST_TRIP; i++) {
		while (atomic_load_explicit(&line.ping, memory_order_acquire) != i)
			;
		atomic_store_explicit(&line.pong, i, memory_order_release);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static double samples[SAMPLES];
	double ns;
	int cores[2];
	unsigned trip = 0;
	pthread_t thread;

	if (argc != 3) {
		fprintf(stderr, "Usage: distance CORE CORE\n");
		return 2;
	}
	for (int i = 0; i < 2; i++)
		cores[i] = atoi(argv[i + 1]);
	ns = 1e9 / cycles_per_second();
	pin(cores[0]);
	if (pthread_create(&thread, NULL, answer, &cores[1]) != 0)
		return 1;
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t start = cycles_now();

		for (int j = 0; j < ROUNDS; j++) {
			atomic_store_explicit(&line.ping, ++trip, memory_order_release);
			while (atomic_load_explicit(&line.pong, memory_order_acquire) != trip)
				;
		}
		samples[i] = (double)(cycles_now() - start) * ns / ROUNDS;
	}
	pthread_join(thread, NULL);
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	printf("%.1f\n", samples[SAMPLES / 2]);
	return 0;
}
