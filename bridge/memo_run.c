/* Finds how far the frames of a burst go one way by the memo (memo.h). Compiled for each width of
 * vectors that is worth it, see meson.build; memo.c picks. Worker thread. */
#include "bridge/memo.h"

/* Frames between the one whose entry of the memo is asked for and the one that is looked up. */
#define MEMO_AHEAD 12u

uint32_t MEMO_RUN(const struct bridge_memo *memo, uint32_t epoch, uint16_t vlan,
		  struct frame *frames, uint32_t count, uint16_t *to)
{
	/* The source's last bytes and the type, which is no tag's. */
	uint64_t first = read_u64(frames[0].head), end = read_u64(frames[0].head + 6);
	const struct memo_finder finder = memo_finder_of(memo);
	const uint16_t port =
	    memo_tagged(&frames[0]) ? MAC_TABLE_NO_PORT : memo_find(&finder, frames[0].head, epoch);
	uint32_t n;

	*to = port;
	if (port == MAC_TABLE_NO_PORT)
		return 0;
	for (n = 0; n < count; n++) {
		struct frame *frame = &frames[n];

		if (read_u64(frame->head) != first || read_u64(frame->head + 6) != end) {
			if (memo_tagged(frame))
				break;
			if (n + MEMO_AHEAD < count)
				memo_ask(&finder, frame[MEMO_AHEAD].head);
			if (!memo_has(&finder, frame->head, epoch, port))
				break;
			first = read_u64(frame->head);
			end = read_u64(frame->head + 6);
		}
		frame->vlan = vlan;
	}
	return n;
}
