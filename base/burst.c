/* Bursts and plain frame edits (frame.h). Worker thread, but for create and destroy (control). */
#include "base/frame.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#define ETHERNET_ADDRESSES 12u
#define TAG_LENGTH	   4u

struct burst *burst_create(void)
{
	size_t segments = BURST_SEGMENTS * sizeof(struct frame_segment);
	size_t size = sizeof(struct burst) + segments + BURST_BULK;
	/* mmap, so that what no burst ever uses never becomes resident. */
	struct burst *burst =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (burst == MAP_FAILED)
		return NULL;
	burst->segments = (struct frame_segment *)(burst + 1);
	burst->bulk = (uint8_t *)(burst + 1) + segments;
	burst_reset(burst);
	return burst;
}

void burst_destroy(struct burst *burst)
{
	if (burst != NULL)
		munmap(burst, sizeof(struct burst) + BURST_SEGMENTS * sizeof(struct frame_segment) +
				  BURST_BULK);
}

struct frame *burst_lend(struct burst *burst, const uint8_t *bytes, uint32_t length)
{
	uint32_t head = length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;
	struct frame *frame = &burst->frames[burst->count];
	struct frame_segment *segment = &burst->segments[burst->segment_count];

	*frame = (struct frame){
		.head = burst_head(burst, burst->count),
		.segments = segment,
		.length = length,
		.head_length = (uint16_t)head,
	};
	memcpy(frame->head, bytes, head);
	if (length > head) {
		*segment = (struct frame_segment){ bytes + head, length - head };
		frame->segment_count = 1;
		burst->segment_count++;
	}
	burst->count++;
	return frame;
}

void frame_pull(struct frame *frame)
{
	struct frame_segment *segment = frame->segments;
	uint32_t more = FRAME_HEAD_MAX - FRAME_HEAD_SHALLOW;

	if (!frame->shallow)
		return;
	if (more > segment->length)
		more = segment->length;
	memcpy(frame->head + FRAME_HEAD_SHALLOW, segment->base, more);
	segment->base += more;
	segment->length -= more;
	frame->head_length = (uint16_t)(FRAME_HEAD_SHALLOW + more);
	frame->segment_count = segment->length > 0;
	frame->shallow = 0;
}

void frame_copy_out(const struct frame *frame, uint32_t offset, uint32_t length, void *to)
{
	uint8_t *out = to;
	const struct frame_segment *segment = frame->segments;

	if (offset < frame->head_length) {
		uint32_t n = frame->head_length - offset;

		if (n > length)
			n = length;
		memcpy(out, frame->head + offset, n);
		out += n;
		length -= n;
		offset = 0;
	} else {
		offset -= frame->head_length;
	}
	for (; length > 0; segment++) {
		uint32_t n;

		if (offset >= segment->length) {
			offset -= segment->length;
			continue;
		}
		n = segment->length - offset;
		if (n > length)
			n = length;
		memcpy(out, segment->base + offset, n);
		out += n;
		length -= n;
		offset = 0;
	}
}

uint32_t frame_parts(const struct frame *frame, struct iovec *parts, uint32_t room)
{
	uint32_t count = 0;

	if (1u + frame->segment_count > room)
		return 0;
	parts[count++] = (struct iovec){ frame->head, frame->head_length };
	for (uint32_t i = 0; i < frame->segment_count; i++)
		parts[count++] = (struct iovec){ (void *)(uintptr_t)frame->segments[i].base,
						 frame->segments[i].length };
	return count;
}

void frame_clone(struct frame *to, uint8_t *head, const struct frame *from)
{
	/* Its segment would still change, under the clone's hands. */
	assert(!from->shallow);
	*to = *from;
	/* A tag that was pushed has made the head longer than FRAME_HEAD_MAX, at the cost of its
	 * headroom; so here, as what follows `head` may be the next frame's. */
	if (from->head_length > FRAME_HEAD_MAX)
		head -= from->head_length - FRAME_HEAD_MAX;
	to->head = head;
	memcpy(head, from->head, from->head_length);
}

static void frame_shift_offsets(struct frame *frame, int by)
{
	if (frame->l3_offset != 0)
		frame->l3_offset = (uint8_t)(frame->l3_offset + by);
	if (frame->l4_offset != 0)
		frame->l4_offset = (uint16_t)(frame->l4_offset + by);
	if (frame->payload_offset != 0)
		frame->payload_offset = (uint16_t)(frame->payload_offset + by);
	if (frame->flags & FRAME_NEEDS_CSUM)
		frame->csum_start = (uint16_t)(frame->csum_start + by);
	frame->length = (uint32_t)((int)frame->length + by);
	frame->head_length = (uint16_t)(frame->head_length + by);
}

void frame_push_tag(struct frame *frame, uint16_t tci)
{
	uint8_t *head = frame->head - TAG_LENGTH;

	memmove(head, frame->head, ETHERNET_ADDRESSES);
	head[12] = 0x81;
	head[13] = 0x00;
	head[14] = (uint8_t)(tci >> 8);
	head[15] = (uint8_t)tci;
	frame->head = head;
	frame->tagged = 1;
	frame_shift_offsets(frame, (int)TAG_LENGTH);
}

void frame_pop_tag(struct frame *frame)
{
	uint8_t *head = frame->head + TAG_LENGTH;

	memmove(head, frame->head, ETHERNET_ADDRESSES);
	frame->head = head;
	frame->tagged = 0;
	frame_shift_offsets(frame, -(int)TAG_LENGTH);
}
