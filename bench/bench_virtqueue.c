/* What the two copies cost: frames from the ring of guest A to the ring of guest B, in one thread,
 * with no switch between. Prints cycles (time stamp counter) for each frame: from_guest, to_guest,
 * the return of A's chains, their sum, and apart from that what the two drivers' sides cost
 * (offering chains and taking used entries), which is not weft's.
 *
 *   bench_virtqueue [ROUNDS]     bursts for each line; default 20000 */
#include "vhost-user/virtqueue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <x86intrin.h>

#define RING_SIZE 256u
#define BUFFER	  2048u
#define BURST	  32u
#define MEMORY	  (4u << 20)
#define BASE	  0x40000000u /* guest physical */
#define BUFFERS	  0x100000u   /* offset of the buffers */
#define HEADER	  12u

enum layout { ONE_BUFFER, HEADER_APART, INDIRECT, LAYOUT_COUNT };
static const char *const layout_names[] = { "one buffer", "header apart", "indirect" };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct side {
	struct virtqueue vq;
	struct guest_memory *memory;
	uint8_t *host;
	struct descriptor *table;
	uint16_t *available;
	uint16_t *used;
	uint16_t next_available;
	uint16_t next_used;
};

static void side_create(struct side *side, uint16_t index)
{
	struct guest_memory_region *region;

	memset(side, 0, sizeof(*side));
	side->host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	side->memory = calloc(1, sizeof(*side->memory) + sizeof(*region));
	if (side->host == MAP_FAILED || side->memory == NULL)
		exit(1);
	region = &side->memory->regions[0];
	side->memory->region_count = 1;
	region->guest_address = BASE;
	region->size = MEMORY;
	region->host_address = side->host;
	side->table = (struct descriptor *)(void *)side->host;
	side->available = (uint16_t *)(void *)(side->host + 0x4000);
	side->used = (uint16_t *)(void *)(side->host + 0x8000);
	side->available[0] = 1; /* both drivers poll */
	side->vq = (struct virtqueue){ .index = index,
				       .size = RING_SIZE,
				       .header_size = HEADER,
				       .indirect = true,
				       .ops = &virtqueue_split_ops,
				       .memory = side->memory,
				       .descriptors = side->table,
				       .available = side->available,
				       .used = side->used,
				       .call_fd = -1 };
	if (virtqueue_prepare(&side->vq) < 0)
		exit(1);
	virtqueue_split_resume(&side->vq);
}

/* Chain i of the ring: descriptors 2i and 2i + 1 cannot both be had in a table of RING_SIZE, so a
 * chain is offered for every second one where it takes two. */
static void side_fill(struct side *side, enum layout layout, uint32_t length, uint16_t flags)
{
	for (uint32_t i = 0; i < RING_SIZE; i++) {
		uint64_t buffer = BASE + BUFFERS + i * BUFFER;
		struct descriptor *d = &side->table[i];
		struct descriptor *pair =
		    layout == INDIRECT
			? (struct descriptor *)(void *)(side->host + 0x10000 + 32u * i)
			: d;

		*d = (struct descriptor){ buffer, length, flags, 0 };
		if (layout == HEADER_APART && i % 2 == 1)
			continue;
		if (layout == ONE_BUFFER)
			continue;
		pair[0] = (struct descriptor){ buffer, HEADER, (uint16_t)(flags | 1),
					       (uint16_t)(layout == INDIRECT ? 1 : i + 1) };
		pair[1] = (struct descriptor){ buffer + 64, length - HEADER, flags, 0 };
		if (layout == INDIRECT) {
			*d = (struct descriptor){ BASE + 0x10000 + 32u * i, 32, 4, 0 };
		} else {
			side->table[i + 1] = pair[1];
			i++;
		}
	}
}

static void side_offer(struct side *side, uint32_t count, uint32_t step)
{
	for (uint32_t i = 0; i < count; i++, side->next_available++)
		side->available[2 + side->next_available % RING_SIZE] =
		    (uint16_t)(side->next_available * step % RING_SIZE);
	__atomic_store_n(&side->available[1], side->next_available, __ATOMIC_RELEASE);
}

static void side_take(struct side *side)
{
	uint16_t index = __atomic_load_n(&side->used[1], __ATOMIC_ACQUIRE);
	uint32_t sum = 0;

	for (; side->next_used != index; side->next_used++) {
		uint32_t entry[2];

		memcpy(entry, side->used + 2 + side->next_used % RING_SIZE * 4, sizeof(entry));
		sum += entry[0];
	}
	__asm__ volatile("" ::"r"(sum));
}

static uint64_t now(void)
{
	unsigned core;

	return __rdtscp(&core);
}

enum phase { FROM_GUEST, TO_GUEST, DONE, DRIVERS, PHASES };

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Cycles for each frame of the median burst. */
static double median(uint64_t *cycles, uint32_t rounds)
{
	qsort(cycles, rounds, sizeof(*cycles), compare);
	return (double)cycles[rounds / 2] / BURST;
}

/* One burst from a to b; false when not all of it arrived. */
static bool run_burst(struct side *a, struct side *b, uint32_t step, struct burst *burst,
		      struct port_counters *counters, uint64_t cycles[PHASES])
{
	struct frame *frames[BURST_FRAMES];
	uint64_t times[6];
	uint32_t sent;

	for (uint32_t i = 0; i < BURST_FRAMES; i++)
		frames[i] = &burst->frames[i];
	times[0] = now();
	side_offer(a, BURST, step);
	times[1] = now();
	burst_reset(burst);
	virtqueue_from_guest(&a->vq, burst, counters);
	times[2] = now();
	sent = virtqueue_to_guest(&b->vq, frames, burst->count, counters);
	times[3] = now();
	virtqueue_from_guest_done(&a->vq);
	times[4] = now();
	side_take(a);
	side_take(b);
	side_offer(b, burst->count, 1);
	times[5] = now();
	cycles[FROM_GUEST] = times[2] - times[1];
	cycles[TO_GUEST] = times[3] - times[2];
	cycles[DONE] = times[4] - times[3];
	cycles[DRIVERS] = times[1] - times[0] + times[5] - times[4];
	return sent == BURST;
}

static void measure(enum layout layout, uint32_t length, uint32_t rounds)
{
	static struct side a, b;
	struct burst *burst = burst_create();
	struct port_counters *counters = aligned_alloc(64, sizeof(*counters));
	uint64_t *cycles[PHASES];
	double result[PHASES];

	if (burst == NULL || counters == NULL)
		exit(1);
	memset(counters, 0, sizeof(*counters));
	side_create(&a, 1);
	side_create(&b, 0);
	side_fill(&a, layout, HEADER + length, 0);
	side_fill(&b, ONE_BUFFER, BUFFER, 2);
	side_offer(&b, RING_SIZE, 1);
	for (int phase = 0; phase < PHASES; phase++) {
		cycles[phase] = calloc(rounds, sizeof(*cycles[phase]));
		if (cycles[phase] == NULL)
			exit(1);
	}
	for (uint32_t round = 0; round < rounds; round++) {
		uint64_t each[PHASES];

		if (!run_burst(&a, &b, layout == HEADER_APART ? 2 : 1, burst, counters, each)) {
			fprintf(stderr, "bench_virtqueue: frames were lost\n");
			exit(1);
		}
		for (int phase = 0; phase < PHASES; phase++)
			cycles[phase][round] = each[phase];
	}
	for (int phase = 0; phase < PHASES; phase++) {
		result[phase] = median(cycles[phase], rounds);
		free(cycles[phase]);
	}
	printf("%-12s %5u bytes: %6.1f from_guest + %6.1f to_guest + %5.1f done = %6.1f cycles; "
	       "drivers %5.1f\n",
	       layout_names[layout], length, result[FROM_GUEST], result[TO_GUEST], result[DONE],
	       result[FROM_GUEST] + result[TO_GUEST] + result[DONE], result[DRIVERS]);
	virtqueue_release(&a.vq);
	virtqueue_release(&b.vq);
	munmap(a.host, MEMORY);
	munmap(b.host, MEMORY);
	free(a.memory);
	free(b.memory);
	free(counters);
	burst_destroy(burst);
}

int main(int argc, char **argv)
{
	static const uint32_t lengths[] = { 64, 512, 1518 };
	uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000;

	if (rounds < 10) {
		fprintf(stderr, "bench_virtqueue: ROUNDS must be 10 or more\n");
		return 2;
	}
	for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
			measure((enum layout)layout, lengths[i], rounds);
	}
	return 0;
}
