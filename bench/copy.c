/* How fast memcpy moves large frames between the cores: one core touches of each buffer what the
 * generator touches of a frame, the other copies it whole. Two pools of buffers, as two guests have
 * them; no rings, no checks. bench.py holds frames of 64 KiB against it. */
#include "bench/cycles.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUFFERS 256u
#define STRIDE	65792u /* as the generator lays out its largest frames */
#define BATCH	32u    /* buffers handed over at once */
#define TOUCHED 128u   /* bytes that the guests write and read of a frame */

static struct {
	uint8_t *source, *target;
	uint32_t length;
	_Alignas(64) _Atomic uint64_t given; /* buffers that the guests' core has touched */
	_Alignas(64) _Atomic uint64_t taken; /* buffers that are copied */
	_Alignas(64) _Atomic bool stop;
} shared;

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		perror("copy: sched_setaffinity");
		exit(1);
	}
}

/* The guests: a buffer that was copied is looked at and written again. */
static void *guests(void *core)
{
	uint8_t seen[TOUCHED];

	pin(*(int *)core);
	for (uint64_t i = 0; !atomic_load_explicit(&shared.stop, memory_order_relaxed);) {
		/* Acquire: the copies are there. */
		if (i - atomic_load_explicit(&shared.taken, memory_order_acquire) > BUFFERS - BATCH)
			continue;
		for (uint32_t n = 0; n < BATCH; n++, i++) {
			size_t at = i % BUFFERS * (size_t)STRIDE;

			memcpy(seen, shared.target + at, sizeof(seen));
			memset(shared.source + at, seen[0] + 1, TOUCHED);
		}
		/* Release: what is in the buffers. */
		atomic_store_explicit(&shared.given, i, memory_order_release);
	}
	return NULL;
}

static uint64_t copy_batch(uint64_t done)
{
	while (atomic_load_explicit(&shared.given, memory_order_acquire) < done + BATCH)
		;
	for (uint32_t n = 0; n < BATCH; n++, done++) {
		size_t at = done % BUFFERS * (size_t)STRIDE;

		memcpy(shared.target + at, shared.source + at, shared.length);
	}
	atomic_store_explicit(&shared.taken, done, memory_order_release);
	return done;
}

static uint8_t *pool(void)
{
	uint8_t *memory = mmap(NULL, (size_t)BUFFERS * STRIDE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED) {
		perror("copy: mmap");
		exit(1);
	}
	return memory;
}

int main(int argc, char **argv)
{
	uint64_t done = 0, first, start, now;
	pthread_t thread;
	double seconds;
	int core;

	if (argc != 5 || atoi(argv[3]) < (int)TOUCHED || atoi(argv[3]) > (int)STRIDE) {
		fprintf(stderr, "Usage: copy GUESTS' CORE, COPYING CORE, BYTES, SECONDS\n");
		return 2;
	}
	core = atoi(argv[1]);
	shared.length = (uint32_t)atoi(argv[3]);
	seconds = atof(argv[4]);
	shared.source = pool();
	shared.target = pool();
	pin(atoi(argv[2]));
	if (pthread_create(&thread, NULL, guests, &core) != 0)
		return 1;
	while (done < 4 * BUFFERS)
		done = copy_batch(done);
	first = done;
	for (start = now = clock_ns(); (double)(now - start) < seconds * 1e9; now = clock_ns())
		done = copy_batch(done);
	atomic_store_explicit(&shared.stop, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	printf("{\"gbps\": %.3f, \"seconds\": %.4f}\n",
	       (double)(done - first) * shared.length * 8 / (double)(now - start),
	       (double)(now - start) / 1e9);
	return 0;
}
