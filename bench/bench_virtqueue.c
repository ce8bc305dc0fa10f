/* What the two copies cost: frames from the ring of guest A to the ring of guest B, in one thread,
 * with no switch between; over split rings, packed ones, and packed ones with IN_ORDER. Prints
 * cycles (time stamp counter) for each frame: from_guest, to_guest, the return of A's chains, their
 * sum, and apart from that what the two drivers' sides cost (offering chains and taking used
 * entries), which is not weft's.
 *
 *   bench_virtqueue [ROUNDS]     bursts for each line; default 20000 */
#include "vhost-user/packed_journal.h"
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

enum format { SPLIT, PACKED, PACKED_IN_ORDER, FORMAT_COUNT };
static const char *const format_names[] = { "split", "packed", "in order" };

enum layout { ONE_BUFFER, HEADER_APART, INDIRECT, LAYOUT_COUNT };
static const char *const layout_names[] = { "one buffer", "header apart", "indirect" };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/* The same 16 bytes in a packed ring. */
struct packed_slot {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

struct side {
	struct virtqueue vq;
	enum format format;
	uint32_t chain; /* descriptors of a chain */
	struct guest_memory *memory;
	uint8_t *host;
	struct descriptor *table;
	uint16_t *available;
	uint16_t *used;
	uint16_t next_available; /* packed: slots, as many rounds as there are */
	uint16_t next_used;
	struct descriptor *templates; /* packed: what stands in each slot when it is available */
};

static void side_create(struct side *side, uint16_t index, enum format format)
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
				       .ops = virtqueue_ops_best(VIRTQUEUE_SPLIT),
				       .memory = side->memory,
				       .descriptors = side->table,
				       .available = side->available,
				       .used = side->used,
				       .call_fd = -1 };
	side->format = format;
	side->chain = 1;
	if (format == SPLIT) {
		if (virtqueue_prepare(&side->vq) < 0)
			exit(1);
		virtqueue_split_resume(&side->vq);
		return;
	}
	side->available[0] = 0;
	side->available[1] = 1;
	side->vq.ops = virtqueue_ops_best(VIRTQUEUE_PACKED);
	side->vq.in_order = format == PACKED_IN_ORDER;
	side->vq.journal = calloc(1, packed_journal_bytes(RING_SIZE));
	side->templates = calloc(RING_SIZE, sizeof(*side->templates));
	if (side->vq.journal == NULL || side->templates == NULL || virtqueue_prepare(&side->vq) < 0)
		exit(1);
	virtqueue_packed_resume(&side->vq, 1, VIRTQUEUE_PACKED_START);
}

static void side_destroy(struct side *side)
{
	virtqueue_release(&side->vq);
	munmap(side->host, MEMORY);
	free(side->templates);
	free(side->vq.journal);
	free(side->memory);
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

/* Takes the split ring's table as the packed ring's templates, and clears the ring. */
static void side_fill_packed(struct side *side, enum layout layout)
{
	side->chain = layout == HEADER_APART ? 2 : 1;
	memcpy(side->templates, side->table, RING_SIZE * sizeof(*side->table));
	memset(side->table, 0, RING_SIZE * sizeof(*side->table));
}

/* The flags of the first slot last; DPDK's and Linux' drivers do as much. */
static void side_offer_packed(struct side *side, uint32_t count)
{
	struct packed_slot *ring = (struct packed_slot *)(void *)side->table;
	uint16_t *first = &ring[side->next_available % RING_SIZE].flags, first_flags = 0;

	for (uint32_t i = 0; i < count * side->chain; i++, side->next_available++) {
		uint32_t place = side->next_available % RING_SIZE;
		const struct descriptor *from = &side->templates[place];
		uint16_t flags =
		    from->flags | (side->next_available / RING_SIZE % 2 == 0 ? 0x80 : 0x8000);

		ring[place].address = from->address;
		ring[place].length = from->length;
		ring[place].id = (uint16_t)place;
		if (i == 0)
			first_flags = flags;
		else
			ring[place].flags = flags;
	}
	__atomic_store_n(first, first_flags, __ATOMIC_RELEASE);
}

static void side_take_packed(struct side *side, uint32_t count)
{
	const struct packed_slot *ring = (const struct packed_slot *)(void *)side->table;
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct packed_slot *slot = &ring[side->next_used % RING_SIZE];
		uint16_t used = side->next_used / RING_SIZE % 2 == 0 ? 0x8080 : 0;

		if ((__atomic_load_n(&slot->flags, __ATOMIC_ACQUIRE) & 0x8080) != used)
			exit(1);
		sum += slot->id + slot->length;
		/* One for all. */
		if (side->format == PACKED_IN_ORDER && side->vq.index == 1)
			i = count;
		side->next_used = (uint16_t)(side->next_used + side->chain);
	}
	if (side->format == PACKED_IN_ORDER && side->vq.index == 1)
		side->next_used = side->next_available;
	__asm__ volatile("" ::"r"(sum));
}

static void side_offer(struct side *side, uint32_t count, uint32_t step)
{
	if (side->format != SPLIT) {
		side_offer_packed(side, count);
		return;
	}
	for (uint32_t i = 0; i < count; i++, side->next_available++)
		side->available[2 + side->next_available % RING_SIZE] =
		    (uint16_t)(side->next_available * step % RING_SIZE);
	__atomic_store_n(&side->available[1], side->next_available, __ATOMIC_RELEASE);
}

static void side_take(struct side *side)
{
	uint16_t index = __atomic_load_n(&side->used[1], __ATOMIC_ACQUIRE);
	uint32_t sum = 0;

	if (side->format != SPLIT) {
		side_take_packed(side, BURST);
		return;
	}
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

/* Cycles for each frame, the mean of the bursts between the quartiles: the counter may tick in
 * steps of dozens of cycles. */
static double middle(uint64_t *cycles, uint32_t rounds)
{
	uint32_t first = rounds / 4, end = rounds - first;
	uint64_t sum = 0;

	qsort(cycles, rounds, sizeof(*cycles), compare);
	for (uint32_t i = first; i < end; i++)
		sum += cycles[i];
	return (double)sum / (end - first) / BURST;
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

static void measure(enum format format, enum layout layout, uint32_t length, uint32_t rounds)
{
	static struct side a, b;
	struct burst *burst = burst_create();
	struct port_counters *counters = aligned_alloc(64, sizeof(*counters));
	uint64_t *cycles[PHASES];
	double result[PHASES];

	if (burst == NULL || counters == NULL)
		exit(1);
	memset(counters, 0, sizeof(*counters));
	side_create(&a, 1, format);
	side_create(&b, 0, format);
	side_fill(&a, layout, HEADER + length, 0);
	side_fill(&b, ONE_BUFFER, BUFFER, 2);
	if (format != SPLIT) {
		side_fill_packed(&a, layout);
		side_fill_packed(&b, ONE_BUFFER);
	}
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
		result[phase] = middle(cycles[phase], rounds);
		free(cycles[phase]);
	}
	printf(
	    "%-8s %-12s %5u bytes: %6.1f from_guest + %6.1f to_guest + %5.1f done = %6.1f cycles; "
	    "drivers %5.1f\n",
	    format_names[format], layout_names[layout], length, result[FROM_GUEST],
	    result[TO_GUEST], result[DONE], result[FROM_GUEST] + result[TO_GUEST] + result[DONE],
	    result[DRIVERS]);
	side_destroy(&a);
	side_destroy(&b);
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
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			for (int format = 0; format < FORMAT_COUNT; format++)
				measure((enum format)format, (enum layout)layout, lengths[i],
					rounds);
		}
	}
	return 0;
}
