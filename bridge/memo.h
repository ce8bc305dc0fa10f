/* What was decided about pairs of addresses a moment ago: where frames of many addresses come
 * mixed, one look tells what would take two in the MAC table, and learning. One worker's own.
 *
 * It holds only verdicts that the MAC table would give again, with nothing to be learned: the
 * source is known behind the port the frame came from, and was noted in this second; the
 * destination is known, and may be reached. They are forgotten as a whole, port by port, as soon as
 * any of that may have changed: in the next second, with the next snapshot, when an address has
 * moved or is gone (mac_table_changes()). So each port has an epoch at a time, of a number never
 * used before, and an entry is of its epoch or void.
 *
 * Inline for bridge.c and memo_run.c, which alone see inside. */
#ifndef WEFT_BRIDGE_MEMO_H
#define WEFT_BRIDGE_MEMO_H

#include "base/parse.h"
#include "bridge/bridge.h"
#include "bridge/mac_find.h"

#include <immintrin.h>
#include <stddef.h>

#define MEMO_SETS	 32768u
#define MEMO_SET_BITS	 15u
#define MEMO_WAYS	 4u
#define MEMO_PORT_SHIFT	 32u
#define MEMO_EPOCH_SHIFT 44u
#define MEMO_PORT	 ((uint64_t)(BRIDGE_PORTS_MAX - 1) << MEMO_PORT_SHIFT)
#define MEMO_EPOCHS	 (1u << 20)

/* A cache line. The key of an entry is both addresses of a frame as they stand there, destination
 * first: of entry i the first eight bytes are first[i], and the others the lower half of second[i],
 * whose upper half is the port the frames go to, and from bit 44 the epoch; 0: none. */
struct memo_set {
	uint64_t first[MEMO_WAYS];
	uint64_t second[MEMO_WAYS];
} __attribute__((aligned(64)));

/* What the epoch of a port stands for. */
struct memo_port {
	uint64_t generation;
	uint32_t changes;
	uint32_t now;
	uint32_t epoch; /* 0: none yet */
};

/* How many of frames[0 .. count), none of which has a VLAN yet, go to the port that the memo knows
 * for the first, *to, which may be the next ones' too; gives them their VLAN. `epoch`: of the port
 * they come from. */
typedef uint32_t memo_run_fn(const struct bridge_memo *memo, uint32_t epoch, uint16_t vlan,
			     struct frame *frames, uint32_t count, uint16_t *to);
extern memo_run_fn memo_run_sse2, memo_run_avx2;

#ifndef MEMO_RUN
#define MEMO_RUN memo_run_sse2 /* what memo_run.c defines */
#endif

struct bridge_memo {
	memo_run_fn *run;    /* the widest this processor has */
	uint64_t secrets[2]; /* odd; so that no guest can aim at a set */
	uint32_t last_epoch; /* of any port */
	struct memo_port ports[BRIDGE_PORTS_MAX];
	struct memo_set sets[MEMO_SETS];
};

/* The variants of `run`, the widest last; NULL beyond it. */
memo_run_fn *memo_run_variant(unsigned variant);

/* A new epoch for the port, which stands for *state. */
uint32_t memo_begin(struct bridge_memo *memo, uint16_t port, const struct memo_port *state);

/* Notes that frames with these addresses go to port `to`. */
void memo_put(struct bridge_memo *memo, const uint8_t *addresses, uint32_t epoch, uint16_t to);

/* The epoch of the port that frames come from, at the beginning of a burst. */
static inline uint32_t memo_epoch(struct bridge_memo *memo, const struct bridge *bridge,
				  uint16_t port, uint32_t now)
{
	const struct memo_port *is = &memo->ports[port];
	struct memo_port state = { .generation = bridge->generation,
				   .changes = mac_table_changes(bridge->macs),
				   .now = now };

	if (is->generation == state.generation && is->changes == state.changes &&
	    is->now == state.now && is->epoch != 0)
		return is->epoch;
	return memo_begin(memo, port, &state);
}

/* Tagged frames are in no memo. */
static inline bool memo_tagged(const struct frame *frame)
{
	return read_be16(frame->head + 12) == ETHERTYPE_VLAN;
}

/* What finds a set, in variables: a loop that writes to frames would load them each time. */
struct memo_finder {
	uint64_t secrets[2];
	const struct memo_set *sets;
};

static inline struct memo_finder memo_finder_of(const struct bridge_memo *memo)
{
	return (struct memo_finder){ { memo->secrets[0], memo->secrets[1] }, memo->sets };
}

/* The set in which an entry for these addresses stands. */
static inline const struct memo_set *memo_set_of(const struct memo_finder *finder,
						 const uint8_t *addresses)
{
	uint64_t hash =
	    read_u64(addresses) * finder->secrets[0] + read_u32(addresses + 8) * finder->secrets[1];

	return &finder->sets[hash >> (64 - MEMO_SET_BITS)];
}

/* Asks for what memo_find() and memo_has() read. */
static inline void memo_ask(const struct memo_finder *finder, const uint8_t *addresses)
{
	__builtin_prefetch(memo_set_of(finder, addresses));
}

/* Which entries of the set are these: four bits an entry, of which the lowest tells; `cared` are
 * the bits of second[] that count. All four are compared at once, as in the MAC table. */
static inline unsigned memo_compare(const struct memo_set *set, uint64_t first, uint64_t second,
				    uint64_t cared)
{
	const __m128i *firsts = (const __m128i *)(const void *)set->first;
	const __m128i *seconds = (const __m128i *)(const void *)set->second;
	const __m128i mask = _mm_set1_epi64x((int64_t)cared);
	__m128i wanted = _mm_set1_epi64x((int64_t)first), rest = _mm_set1_epi64x((int64_t)second);
	__m128i low, high;
	unsigned same; /* two of the four for each half of both words */

	low = _mm_and_si128(_mm_cmpeq_epi32(firsts[0], wanted),
			    _mm_cmpeq_epi32(_mm_and_si128(seconds[0], mask), rest));
	high = _mm_and_si128(_mm_cmpeq_epi32(firsts[1], wanted),
			     _mm_cmpeq_epi32(_mm_and_si128(seconds[1], mask), rest));
	same = (unsigned)_mm_movemask_epi8(_mm_packs_epi32(low, high));
	return same & same >> 2 & 0x1111;
}

/* Where frames with these addresses go; or MAC_TABLE_NO_PORT: not known here. */
static inline uint16_t memo_find(const struct memo_finder *finder, const uint8_t *addresses,
				 uint32_t epoch)
{
	const struct memo_set *set = memo_set_of(finder, addresses);
	unsigned same =
	    memo_compare(set, read_u64(addresses),
			 read_u32(addresses + 8) | (uint64_t)epoch << MEMO_EPOCH_SHIFT, ~MEMO_PORT);

	if (same == 0)
		return MAC_TABLE_NO_PORT;
	return (uint16_t)(set->second[(unsigned)__builtin_ctz(same) / 4] >> MEMO_PORT_SHIFT &
			  (BRIDGE_PORTS_MAX - 1));
}

/* Whether it is known here that they go to port `to`: cheaper, for those that follow one that does.
 */
static inline bool memo_has(const struct memo_finder *finder, const uint8_t *addresses,
			    uint32_t epoch, uint16_t to)
{
	const struct memo_set *set = memo_set_of(finder, addresses);
	const uint64_t upper = (uint64_t)to << MEMO_PORT_SHIFT | (uint64_t)epoch
								     << MEMO_EPOCH_SHIFT;
#ifdef __AVX2__
	__m256i first = _mm256_set1_epi64x((int64_t)read_u64(addresses));
	__m256i second = _mm256_set1_epi32((int32_t)read_u32(addresses + 8));

	second = _mm256_blend_epi32(second, _mm256_set1_epi64x((int64_t)upper), 0xaa);
	first = _mm256_cmpeq_epi64(first, *(const __m256i *)(const void *)set->first);
	second = _mm256_cmpeq_epi64(second, *(const __m256i *)(const void *)set->second);
	return !_mm256_testz_si256(first, second);
#else
	return memo_compare(set, read_u64(addresses), read_u32(addresses + 8) | upper,
			    UINT64_MAX) != 0;
#endif
}

#endif
