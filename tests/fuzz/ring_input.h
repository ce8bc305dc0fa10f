/* What the fuzzers of both ring formats have in common: an input that never ends, guest memory in
 * heap blocks of its own, and what must be true of frames out of it. Include it in one file of a
 * program. */
#ifndef WEFT_TESTS_RING_INPUT_H
#define WEFT_TESTS_RING_INPUT_H

#include "vhost-user/virtqueue.h"

#include <stdlib.h>
#include <string.h>

#define FILL 64u /* bytes at the end of the input that fill memory, again and again */

struct input {
	const uint8_t *bytes;
	size_t left;
};

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Missing bytes are 0. */
static uint8_t next_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->bytes++;
}

static uint16_t next_word(struct input *input)
{
	uint16_t low = next_byte(input);

	return (uint16_t)(low | next_byte(input) << 8);
}

static void fill(const struct input *input, void *to, size_t size)
{
	const size_t n = input->left < FILL ? input->left : FILL;

	memset(to, 0, size);
	for (size_t done = 0; n > 0 && done < size; done += n)
		memcpy((uint8_t *)to + done, input->bytes + input->left - n,
		       size - done < n ? size - done : n);
}

static struct guest_memory *memory_create(uint32_t regions)
{
	struct guest_memory *memory =
	    calloc(1, sizeof(*memory) + regions * sizeof(memory->regions[0]));

	require(memory != NULL);
	return memory;
}

static void memory_add(struct guest_memory *memory, const struct input *input, uint64_t address,
		       uint64_t size)
{
	struct guest_memory_region *region = &memory->regions[memory->region_count++];

	region->guest_address = address;
	region->size = size;
	region->host_address = malloc(size);
	require(region->host_address != NULL);
	fill(input, region->host_address, size);
}

static void memory_destroy(struct guest_memory *memory)
{
	for (uint32_t i = 0; i < memory->region_count; i++)
		free(memory->regions[i].host_address);
	free(memory);
}

static uint64_t dropped(const struct port_counters *counters)
{
	uint64_t sum = 0;

	for (int i = 0; i < DROP_COUNT; i++)
		sum += counters->drops[i];
	return sum;
}

/* Its payload lies in guest memory, and its lengths agree; so they do when it is pulled. */
static void check_frame(const struct guest_memory *memory, struct frame *frame)
{
	/* Of a shallow frame also what stands before it, which is copied with it. */
	const uint32_t before = frame->shallow ? 64 : 0;
	static uint8_t copy[FRAME_LENGTH_MAX];
	uint64_t sum = frame->head_length;

	require(frame->length >= FRAME_LENGTH_MIN && frame->length <= FRAME_LENGTH_MAX);
	for (uint32_t i = 0; i < frame->segment_count; i++) {
		const struct frame_segment *segment = &frame->segments[i];
		bool inside = false;

		for (uint32_t r = 0; r < memory->region_count; r++) {
			const struct guest_memory_region *region = &memory->regions[r];

			inside |=
			    segment->base >= region->host_address + before &&
			    segment->base + segment->length <= region->host_address + region->size;
		}
		require(inside && segment->length > 0);
		sum += segment->length;
	}
	require(sum == frame->length);
	frame_copy_out(frame, 0, frame->length, copy);
	if (!frame->shallow)
		return;
	require(frame->head_length == FRAME_HEAD_SHALLOW && frame->segment_count == 1);
	frame_pull(frame);
	require(frame->head_length ==
		(frame->length < FRAME_HEAD_MAX ? frame->length : FRAME_HEAD_MAX));
	check_frame(memory, frame);
}

/* Whether frames are shallow; the bit that frames_make() leaves. */
static bool are_shallow(uint16_t lengths)
{
	return lengths >> 15 != 0;
}

/* A burst of frames of all lengths, as the input says, for a guest. */
#define FRAMES_TO_GUEST 5u

struct frames_to_guest {
	struct frame store[FRAMES_TO_GUEST];
	struct frame *frames[FRAMES_TO_GUEST];
	struct frame_segment segments[FRAMES_TO_GUEST][2];
};

static void frames_make(struct frames_to_guest *made, uint16_t lengths)
{
	const bool shallow = are_shallow(lengths);
	static uint8_t payload[64 + FRAME_LENGTH_MAX];
	static uint8_t slot[FRAME_SLOT];
	static const uint32_t choices[] = { 14, 60, 192, 193, 700, 1514, 9000, FRAME_LENGTH_MAX };

	for (uint32_t i = 0; i < FRAMES_TO_GUEST; i++, lengths >>= 3) {
		struct frame *frame = made->frames[i] = &made->store[i];
		struct frame_segment *segments = made->segments[i];
		uint32_t length = choices[lengths % 8], rest;

		*frame = (struct frame){ .head = slot + FRAME_HEADROOM, .length = length };
		frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
		frame->segments = segments;
		if (shallow && length > FRAME_HEAD_SHALLOW) {
			frame->head_length = FRAME_HEAD_SHALLOW;
			frame->shallow = 1;
			frame->segment_count = 1;
			segments[0] =
			    (struct frame_segment){ payload + 64, length - FRAME_HEAD_SHALLOW };
			continue;
		}
		rest = length - frame->head_length;
		if (rest > 0)
			segments[frame->segment_count++] =
			    (struct frame_segment){ payload, (rest + 1) / 2 };
		if (rest > 1)
			segments[frame->segment_count++] =
			    (struct frame_segment){ payload + (rest + 1) / 2, rest / 2 };
	}
}

#endif
