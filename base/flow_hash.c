/* Flow hashes (flow_hash.h) of frames that are not of the usual kind. */
#include "base/flow_hash.h"

uint32_t flow_hash_parsed(struct frame *frame)
{
	const uint8_t *ip;
	uint32_t ports = 0;

	if (frame->head_length < FRAME_LENGTH_MIN)
		return 0;
	if (frame->ip_version == 0)
		parse_frame(frame);
	ip = frame->head + frame->l3_offset;
	if (frame->payload_offset != 0)
		ports = read_u32(frame->head + frame->l4_offset);
	if (frame->ip_version == 4)
		return flow_hash_ip(read_u64(ip + 12), (uint32_t)ip[9] << 24, ports);
	if (frame->ip_version == 6)
		return flow_hash_ip(flow_hash_mix(read_u64(ip + 8), read_u64(ip + 16)) +
					flow_hash_mix(read_u64(ip + 24), read_u64(ip + 32)),
				    (uint32_t)frame->l4_protocol << 24, ports);
	return flow_hash_end(flow_hash_mix(read_u64(frame->head), read_u32(frame->head + 8)));
}
