/* How far two cores are from each other: the time a cache line takes to go there and back, median
 * of many, averaged over lines of several pages, since each line has its home in a part of the
 * shared cache that may be near or far itself. Virtual cores move on the host, and all figures of a
 * switch move with them; bench.py runs this before and after each measurement. */
#include "bench/cycles.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES	4096 /* 256 KiB */
#define STRIDE	67   /* lines between one measured and the next: another page, another home */
#define HOMES	48
#define SAMPLES 9  /* of each line */
#define ROUNDS	20 /* trips a sample */

static struct {
	_Alignas(64) _Atomic unsigned count;
} lines[LINES];

static _Atomic unsigned *line(int home)
{
	return &lines[home * STRIDE % LINES].count;
}

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

/* Odd numbers go one way, even ones back. */
static void *answer(void *core)
{
	pin(*(int *)core);
	for (int home = 0; home < HOMES; home++) {
		for (unsigned i = 1; i < 2 * SAMPLES * ROUNDS; i += 2) {
			while (atomic_load_explicit(line(home), memory_order_acquire) != i)
				;
			atomic_store_explicit(line(home), i + 1, memory_order_release);
		}
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Cycles of a round trip on one line. */
static double measure_line(int home)
{
	double samples[SAMPLES];
	unsigned i = 1;

	for (int sample = 0; sample < SAMPLES; sample++) {
		uint64_t start = cycles_now();

		for (int round = 0; round < ROUNDS; round++, i += 2) {
			atomic_store_explicit(line(home), i, memory_order_release);
			while (atomic_load_explicit(line(home), memory_order_acquire) != i + 1)
				;
		}
		samples[sample] = (double)(cycles_now() - start) / ROUNDS;
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare);
	return samples[SAMPLES / 2];
}

int main(int argc, char **argv)
{
	double ns, sum = 0;
	int cores[2];
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
	for (int home = 0; home < HOMES; home++)
		sum += measure_line(home);
	pthread_join(thread, NULL);
	printf("%.1f\n", sum / HOMES * ns);
	return 0;
}
