/* Percentiles of a histogram (histogram.h). Called by the generator once a run is over. */
#include "bench/histogram.h"

uint64_t histogram_bucket_middle(uint32_t bucket)
{
	uint32_t exponent;
	uint64_t low;

	if (bucket < 2 * HISTOGRAM_SUB)
		return bucket;
	exponent = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	low = (uint64_t)(bucket - (exponent << HISTOGRAM_SUB_BITS)) << exponent;
	return low + (1ull << exponent) / 2;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
	uint64_t rank = (uint64_t)((double)histogram->count * share);
	uint64_t seen = 0;

	if (histogram->count == 0)
		return 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > rank)
			return histogram_bucket_middle(i);
	}
	return histogram->max;
}
