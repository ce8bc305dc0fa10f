/* A histogram of times whose buckets grow with the value: 32 to each power of two, so a percentile
 * is within about 3 % from a cycle to hours. One thread writes; no allocation. */
#ifndef WEFT_BENCH_HISTOGRAM_H
#define WEFT_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5u
#define HISTOGRAM_SUB	   (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS  ((64u - HISTOGRAM_SUB_BITS + 1u) * HISTOGRAM_SUB)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
	uint32_t exponent;

	if (value < HISTOGRAM_SUB)
		return (uint32_t)value;
	exponent = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return (exponent << HISTOGRAM_SUB_BITS) + (uint32_t)(value >> exponent);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[histogram_bucket(value)]++;
}

/* A value that stands for all of a bucket. */
uint64_t histogram_bucket_middle(uint32_t bucket);

/* The middle of the bucket under which `share` (0 to 1) of all values lie; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
