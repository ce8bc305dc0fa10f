/* The virtio-net header to and from a frame's offload state (vnet_header.h). Worker thread; ports
 * that speak it call this for each frame, and what passes here is what checksum.c and segment.c
 * rely on. */
#include "base/vnet_header.h"

#include "base/parse.h"
#include "base/segment.h"

#include <netinet/in.h>
#include <string.h>

#define TCP_CHECKSUM_OFFSET 16u
#define UDP_CHECKSUM_OFFSET 6u

_Static_assert(sizeof(struct vnet_header) == VNET_HEADER_SIZE, "the header of the specification");
_Static_assert((int)FRAME_GSO_TCP4 == VNET_GSO_TCPV4 &&
		   (int)FRAME_GSO_UDP4_FRAGMENT == VNET_GSO_UDP &&
		   (int)FRAME_GSO_TCP6 == VNET_GSO_TCPV6 && (int)FRAME_GSO_UDP == VNET_GSO_UDP_L4,
	       "frames name GSO types as the header does");

/* What each GSO type needs of the sender, by IP version (0: that version cannot have it), and of
 * the frame. */
static const struct {
	uint32_t ipv4;
	uint32_t ipv6;
	uint8_t protocol;
	uint8_t csum_offset;
} gso_types[] = {
	[VNET_GSO_TCPV4] = { OFFLOAD_TSO4, 0, IPPROTO_TCP, TCP_CHECKSUM_OFFSET },
	[VNET_GSO_UDP] = { OFFLOAD_UFO, OFFLOAD_UFO, IPPROTO_UDP, UDP_CHECKSUM_OFFSET },
	[VNET_GSO_TCPV6] = { 0, OFFLOAD_TSO6, IPPROTO_TCP, TCP_CHECKSUM_OFFSET },
	[VNET_GSO_UDP_L4] = { OFFLOAD_USO4, OFFLOAD_USO6, IPPROTO_UDP, UDP_CHECKSUM_OFFSET },
};

static bool check_csum(const struct vnet_header *header, const struct frame *frame,
		       uint32_t allowed, enum drop_reason *reason);
static bool check_gso(const struct vnet_header *header, struct frame *frame, uint32_t allowed,
		      enum drop_reason *reason);

bool vnet_header_to_frame(const struct vnet_header *header, struct frame *frame, uint32_t allowed,
			  enum drop_reason *reason)
{
	frame->flags = 0;
	frame->gso = FRAME_GSO_NONE;
	frame->gso_size = 0;
	frame->csum_start = 0;
	frame->csum_offset = 0;
	frame->l3_offset = 0;
	frame->l4_offset = 0;
	frame->payload_offset = 0;
	frame->ip_version = 0;
	frame->l4_protocol = 0;
	/* Flags that are not ours to know are ignored (5.1.6.2.2). */
	if ((header->flags & (VNET_FLAG_NEEDS_CSUM | VNET_FLAG_DATA_VALID)) == 0 &&
	    header->gso_type == VNET_GSO_NONE)
		return true;
	if (header->flags & VNET_FLAG_NEEDS_CSUM) {
		if (!check_csum(header, frame, allowed, reason))
			return false;
		frame->flags = FRAME_NEEDS_CSUM;
		frame->csum_start = header->csum_start;
		frame->csum_offset = header->csum_offset;
	} else if (header->flags & VNET_FLAG_DATA_VALID && allowed & OFFLOAD_CSUM) {
		frame->flags = FRAME_CSUM_VALID;
	}
	return header->gso_type == VNET_GSO_NONE || check_gso(header, frame, allowed, reason);
}

void vnet_header_from_frame(const struct frame *frame, struct vnet_header *header)
{
	memset(header, 0, sizeof(*header));
	header->num_buffers = 1;
	if (frame->flags & FRAME_NEEDS_CSUM) {
		header->flags = VNET_FLAG_NEEDS_CSUM;
		header->csum_start = frame->csum_start;
		header->csum_offset = frame->csum_offset;
	} else if (frame->flags & FRAME_CSUM_VALID) {
		header->flags = VNET_FLAG_DATA_VALID;
	}
	if (frame->gso != FRAME_GSO_NONE) {
		header->gso_type = frame->gso;
		if (frame->flags & FRAME_GSO_ECN)
			header->gso_type |= VNET_GSO_ECN;
		header->gso_size = frame->gso_size;
		header->hdr_len = frame->payload_offset;
	}
}

static bool refuse(enum drop_reason *reason, enum drop_reason why)
{
	*reason = why;
	return false;
}

static bool check_csum(const struct vnet_header *header, const struct frame *frame,
		       uint32_t allowed, enum drop_reason *reason)
{
	uint16_t ethertype;
	uint32_t l3 = parse_network_offset(frame, &ethertype);

	if (!(allowed & OFFLOAD_CSUM))
		return refuse(reason, DROP_OFFLOAD_NOT_NEGOTIATED);
	/* Not within the tags either: completing the checksum would rewrite a tag after the bridge
	 * has checked it, and so carry the frame into a VLAN that is not its sender's. */
	if (l3 == 0 || header->csum_start < l3 ||
	    (uint32_t)header->csum_start + header->csum_offset + 2 > frame->head_length)
		return refuse(reason, DROP_CSUM_RANGE);
	return true;
}

/* Where IP says that its datagram ends. */
static uint32_t ip_end(const struct frame *frame)
{
	const uint8_t *ip = frame->head + frame->l3_offset;

	if (frame->ip_version == 4)
		return frame->l3_offset + (uint32_t)read_be16(ip + 2);
	return frame->l3_offset + PARSE_IPV6_LENGTH + read_be16(ip + 4);
}

/* The frame's flags and checksum fields are set; sets its parse state and gso fields. */
static bool check_gso(const struct vnet_header *header, struct frame *frame, uint32_t allowed,
		      enum drop_reason *reason)
{
	uint8_t type = header->gso_type & (uint8_t)~VNET_GSO_ECN;
	uint32_t needed, segments;

	if (type >= sizeof(gso_types) / sizeof(gso_types[0]) || gso_types[type].protocol == 0)
		return refuse(reason, DROP_GSO_TYPE);
	if (!(allowed & (gso_types[type].ipv4 | gso_types[type].ipv6)))
		return refuse(reason, DROP_OFFLOAD_NOT_NEGOTIATED);
	if (header->gso_type & VNET_GSO_ECN) {
		if (gso_types[type].protocol != IPPROTO_TCP)
			return refuse(reason, DROP_GSO_TYPE);
		if (!(allowed & OFFLOAD_TSO_ECN))
			return refuse(reason, DROP_OFFLOAD_NOT_NEGOTIATED);
		frame->flags |= FRAME_GSO_ECN;
	}
	parse_frame(frame);
	if (!(frame->flags & FRAME_NEEDS_CSUM) || frame->payload_offset == 0 ||
	    frame->l4_protocol != gso_types[type].protocol ||
	    frame->csum_start != frame->l4_offset ||
	    frame->csum_offset != gso_types[type].csum_offset || ip_end(frame) != frame->length)
		return refuse(reason, DROP_GSO_TYPE);
	needed = frame->ip_version == 4 ? gso_types[type].ipv4 : gso_types[type].ipv6;
	if (needed == 0)
		return refuse(reason, DROP_GSO_TYPE);
	if (!(allowed & needed))
		return refuse(reason, DROP_OFFLOAD_NOT_NEGOTIATED);
	frame->gso = type;
	frame->gso_size = header->gso_size;
	segments = segment_count(frame);
	if (segments == 0 || segments > FRAME_SEGMENTS_MAX)
		return refuse(reason, DROP_GSO_SIZE);
	return true;
}
