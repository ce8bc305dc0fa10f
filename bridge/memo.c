/* The memo of verdicts (memo.h): what happens once in a while. Its worker; created and destroyed by
 * control. */
#include "bridge/memo.h"

#include "base/siphash.h"

#include <string.h>
#include <sys/mman.h>

memo_run_fn *memo_run_variant(unsigned variant)
{
	if (variant == 0)
		return memo_run_sse2;
	return variant == 1 && __builtin_cpu_supports("avx2") ? memo_run_avx2 : NULL;
}

struct bridge_memo *bridge_memo_create(void)
{
	/* mmap: what is never used never becomes resident, and all is 0. */
	struct bridge_memo *memo =
	    mmap(NULL, sizeof(*memo), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memo == MAP_FAILED)
		return NULL;
	for (unsigned i = 0; memo_run_variant(i) != NULL; i++)
		memo->run = memo_run_variant(i);
	siphash_key(memo->secrets);
	memo->secrets[0] |= 1;
	memo->secrets[1] |= 1;
	return memo;
}

void bridge_memo_destroy(struct bridge_memo *memo)
{
	if (memo != NULL)
		munmap(memo, sizeof(*memo));
}

uint32_t memo_begin(struct bridge_memo *memo, uint16_t port, const struct memo_port *state)
{
	if (memo->last_epoch == MEMO_EPOCHS - 1) {
		/* All numbers were used: they begin anew, and so does everything. */
		memset(memo->ports, 0, sizeof(memo->ports));
		memset(memo->sets, 0, sizeof(memo->sets));
		memo->last_epoch = 0;
	}
	memo->ports[port] = *state;
	memo->ports[port].epoch = ++memo->last_epoch;
	return memo->last_epoch;
}

/* The oldest entry makes room, but none of this epoch, which is as good as the new one: where there
 * are more pairs than room, some are found each time instead of none. */
void memo_put(struct bridge_memo *memo, const uint8_t *addresses, uint32_t epoch, uint16_t to)
{
	const struct memo_finder finder = memo_finder_of(memo);
	struct memo_set *set = &memo->sets[memo_set_of(&finder, addresses) - memo->sets];
	unsigned oldest = 0;

	for (unsigned i = 1; i < MEMO_WAYS; i++) {
		if (set->second[i] >> MEMO_EPOCH_SHIFT < set->second[oldest] >> MEMO_EPOCH_SHIFT)
			oldest = i;
	}
	if (set->second[oldest] >> MEMO_EPOCH_SHIFT == epoch)
		return;
	set->first[oldest] = read_u64(addresses);
	set->second[oldest] = read_u32(addresses + 8) | (uint64_t)to << MEMO_PORT_SHIFT |
			      (uint64_t)epoch << MEMO_EPOCH_SHIFT;
}
