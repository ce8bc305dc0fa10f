/* A hash of a frame's flow, by which it takes one of several queues. Worker thread. */
#ifndef WEFT_BASE_FLOW_HASH_H
#define WEFT_BASE_FLOW_HASH_H

#include "base/parse.h"

#include <netinet/in.h>
#include <stdbool.h>

/* Of any frame; flow_hash() is for those who have many. Calls parse_frame() when that was not done
 * and is needed. */
uint32_t flow_hash_parsed(struct frame *frame);

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

/* Of IP: `addresses` are both of them, or what was made of them; `ports` as they stand there, 0
 * when there are none. */
static inline uint32_t flow_hash_ip(uint64_t addresses, uint32_t protocol, uint32_t ports)
{
	return flow_hash_end(flow_hash_mix(addresses, (uint64_t)protocol << 32 | ports));
}

#define FLOW_HASH_TCP ((uint32_t)IPPROTO_TCP << 24)
#define FLOW_HASH_UDP ((uint32_t)IPPROTO_UDP << 24)

/* What nearly all frames are: TCP or UDP in an IPv4 packet without tag or options, and no fragment.
 * One that lies about its length is not told from others, so its flow stays together. */
static inline bool flow_hash_plain(const struct frame *frame, uint32_t *hash)
{
	const uint8_t *head = frame->head;
	uint32_t start, middle;

	if (frame->head_length < 14 + PARSE_IPV4_LENGTH + PARSE_UDP_LENGTH)
		return false;
	/* Type, version and header's length; fragment flag and offset, protocol. */
	start = read_u32(head + 12) & 0x00ffffffu;
	middle = read_u32(head + 20) & 0xff00ff3fu;
	if (start != 0x450008u || (middle != FLOW_HASH_TCP && middle != FLOW_HASH_UDP))
		return false;
	*hash = flow_hash_ip(read_u64(head + 26), middle, read_u32(head + 34));
	return true;
}

/* A hash of addresses, protocol and ports (of the MACs for what is not IP), equal for all frames of
 * one flow in one direction; fragments hash without ports. */
static inline uint32_t flow_hash(struct frame *frame)
{
	uint32_t hash;

	return flow_hash_plain(frame, &hash) ? hash : flow_hash_parsed(frame);
}

#endif
