/* A hash of a frame's flow, by which it takes one of several queues: of addresses, protocol and
 * ports (of the MACs for what is not IP), equal for all frames of one flow in one direction;
 * fragments hash without ports. flow_hash_plain() is asked first, whether the frame was parsed or
 * not; flow_hash_parsed() is for those it does not take. Worker thread. */
#ifndef WEFT_BASE_FLOW_HASH_H
#define WEFT_BASE_FLOW_HASH_H

#include "base/parse.h"

#include <netinet/in.h>
#include <stdbool.h>

#define FLOW_HASH_ODD 0x9e3779b97f4a7c15u

__extension__ typedef unsigned __int128 flow_hash_product;

/* Folds the product of two words, so that each bit hangs on all of theirs. */
static inline uint64_t flow_hash_mix(uint64_t a, uint64_t b)
{
	flow_hash_product product =
	    (flow_hash_product)(a ^ FLOW_HASH_ODD) * (b ^ 0xd6e8feb86659fd93u);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Upper bits choose the queue. Flows that differ little, as in their ports alone, would not spread
 * evenly by the product's: multiplied once more they do. */
static inline uint32_t flow_hash_end(uint64_t mixed)
{
	return (uint32_t)(mixed * FLOW_HASH_ODD >> 32);
}

/* Of IP: `addresses` are both of them, or what was made of them; `protocol` is the highest byte;
 * `ports` as they stand there, 0 when there are none. */
static inline uint32_t flow_hash_ip(uint64_t addresses, uint32_t protocol, uint32_t ports)
{
	return flow_hash_end(flow_hash_mix(addresses, (uint64_t)protocol << 32 | ports));
}

#define FLOW_HASH_TCP ((uint32_t)IPPROTO_TCP << 24)
#define FLOW_HASH_UDP ((uint32_t)IPPROTO_UDP << 24)

/* The hash of what nearly all frames are: TCP or UDP in an IPv4 packet without tag or options, and
 * no fragment. False for others. One that lies about its length is not told from sound ones, so its
 * flow stays together. */
static inline bool flow_hash_plain(const struct frame *frame, uint32_t *hash)
{
	const uint8_t *ip = frame->head + FRAME_LENGTH_MIN;
	uint32_t start, middle;

	if (frame->head_length < FRAME_LENGTH_MIN + PARSE_IPV4_LENGTH + PARSE_UDP_LENGTH)
		return false;
	/* Ethernet's type, version and header's length; fragment flag and offset, protocol. */
	start = read_u32(ip - 2) & 0x00ffffffu;
	middle = read_u32(ip + 6) & 0xff00ff3fu;
	if (start != 0x450008u || (middle != FLOW_HASH_TCP && middle != FLOW_HASH_UDP))
		return false;
	*hash = flow_hash_ip(read_u64(ip + 12), middle, read_u32(ip + PARSE_IPV4_LENGTH));
	return true;
}

/* The hash of any frame, the same for those that flow_hash_plain() takes if they are sound. Calls
 * parse_frame() when that was not done. */
uint32_t flow_hash_parsed(struct frame *frame);

#endif
