/* Frames and streams for tests of the switch (switch_traffic.h). The test's thread, but for what
 * says otherwise. */
#include "tests/lib/switch_traffic.h"

#include "base/clock.h"
#include "base/parse.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* After setjmp.h and stdarg.h. */
#include <cmocka.h>

#define WAIT_SECONDS	 10u
#define EXPERIMENTAL	 0x88b5 /* IEEE 802: local experimental ethertype */
#define STREAM_HEADERS	 42u	/* Ethernet, IPv4, UDP */
#define STREAM_LENGTH	 60u
#define STREAM_ADDITION	 1400u
#define STREAM_FIRST_UDP 10000u

static void write_address(uint8_t *to, uint64_t address)
{
	for (int i = 0; i < 6; i++)
		to[i] = (uint8_t)(address >> (40 - 8 * i));
}

static void fill(uint8_t *bytes, uint32_t from, uint32_t to, uint32_t number)
{
	for (uint32_t i = from; i < to; i++)
		bytes[i] = (uint8_t)(i * 7 + number * 13 + (number >> 8));
}

struct traffic_frame traffic_build(uint64_t destination, uint64_t source, uint32_t tci,
				   uint32_t number, uint32_t length)
{
	struct traffic_frame frame = { .length = length };
	uint32_t at = 12;

	assert_in_range(length, 22, TRAFFIC_FRAME_MAX);
	write_address(frame.bytes, destination);
	write_address(frame.bytes + 6, source);
	if (tci != TRAFFIC_NO_TAG) {
		write_be16(frame.bytes + at, ETHERTYPE_VLAN);
		write_be16(frame.bytes + at + 2, (uint16_t)tci);
		at += 4;
	}
	write_be16(frame.bytes + at, EXPERIMENTAL);
	write_be32(frame.bytes + at + 2, number);
	/* The pattern counts from the type on, so that a tag more or less leaves it as it is. */
	fill(frame.bytes + at, 6, length - at, number);
	return frame;
}

void traffic_send(struct fake_guest *from, const struct traffic_frame *frame)
{
	struct fake_header header = { 0 };
	int result = fake_guest_send(from, 0, &header, frame->bytes, frame->length);

	if (result == -ENOSPC) {
		assert_return_code(fake_guest_wait_sent(from, 0), 0);
		result = fake_guest_send(from, 0, &header, frame->bytes, frame->length);
	}
	assert_int_equal(result, 0);
}

void traffic_settle(struct fake_guest *from)
{
	for (uint32_t pair = 0; pair < from->queue_count / 2; pair++)
		assert_int_equal(fake_guest_wait_sent(from, pair), 0);
}

/* Length of the next frame on any queue, its buffers posted again; -EAGAIN. */
static int receive_any(struct fake_guest *to, struct fake_header *header, uint8_t *bytes,
		       uint32_t room, uint32_t *pair)
{
	int result = -EAGAIN;

	for (uint32_t i = 0; i < to->queue_count / 2 && result == -EAGAIN; i++) {
		result = fake_guest_receive(to, i, header, bytes, room);
		*pair = i;
	}
	if (result >= 0)
		(void)fake_guest_post(to, *pair, header->num_buffers, to->options.buffer_size);
	return result;
}

void traffic_expect(struct fake_guest *to, const struct traffic_frame *frame)
{
	struct fake_header header, empty = { .num_buffers = 1 };
	uint8_t bytes[TRAFFIC_FRAME_MAX];
	uint32_t start = clock_seconds(), pair;
	int length;

	while ((length = receive_any(to, &header, bytes, sizeof(bytes), &pair)) == -EAGAIN) {
		if (clock_seconds() - start > WAIT_SECONDS)
			fail_msg("a frame of %u bytes never came", frame->length);
		to->options.pump(to->options.pump_context);
		sched_yield();
	}
	assert_int_equal(length, frame->length);
	assert_memory_equal(bytes, frame->bytes, frame->length);
	header.num_buffers = 1;
	assert_memory_equal(&header, &empty, sizeof(header));
}

void traffic_expect_nothing(struct fake_guest *to)
{
	struct fake_header header;
	uint8_t bytes[TRAFFIC_FRAME_MAX];
	uint32_t pair;

	assert_int_equal(receive_any(to, &header, bytes, sizeof(bytes), &pair), -EAGAIN);
}

void traffic_pass(struct fake_guest *from, const struct traffic_frame *frame,
		  struct fake_guest *const *guests, const bool *wanted, uint32_t count)
{
	traffic_send(from, frame);
	traffic_settle(from);
	for (uint32_t i = 0; i < count; i++) {
		if (wanted[i])
			traffic_expect(guests[i], frame);
		traffic_expect_nothing(guests[i]);
	}
}

/* The frame with this number in this flow. */
static uint32_t stream_build(const struct stream *stream, uint32_t flow, uint32_t number,
			     uint8_t *bytes)
{
	uint32_t length = STREAM_LENGTH + (number * 97 + flow * 31) % STREAM_ADDITION;
	uint8_t *ip = bytes + 14, *udp = bytes + 34;

	memset(bytes, 0, STREAM_HEADERS);
	write_address(bytes, stream->to_mac);
	write_address(bytes + 6, stream->from_mac);
	write_be16(bytes + 12, ETHERTYPE_IPV4);
	ip[0] = 0x45;
	write_be16(ip + 2, (uint16_t)(length - 14));
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	write_be32(ip + 12, 0x0a000001);
	write_be32(ip + 16, 0x0a000002);
	write_be16(udp, (uint16_t)(STREAM_FIRST_UDP + flow));
	write_be16(udp + 2, 9);
	write_be16(udp + 4, (uint16_t)(length - 34));
	write_be32(bytes + STREAM_HEADERS, flow);
	write_be32(bytes + STREAM_HEADERS + 4, number);
	fill(bytes, STREAM_HEADERS + 8, length, number);
	return length;
}

static bool stream_send(struct stream *stream)
{
	struct fake_header header = { 0 };
	uint8_t bytes[TRAFFIC_FRAME_MAX];
	uint32_t flow = stream->flow;
	uint32_t length = stream_build(stream, flow, stream->next_sent[flow], bytes);
	int result = fake_guest_send(stream->from, flow % (stream->from->queue_count / 2), &header,
				     bytes, length);

	if (result == -ENOSPC)
		return false;
	if (result != 0) {
		stream->failure = "a frame could not be sent";
		return false;
	}
	stream->next_sent[flow]++;
	stream->sent++;
	stream->flow = (flow + 1) % stream->flows;
	return true;
}

static const char *stream_check(struct stream *stream, const uint8_t *bytes, int length,
				uint32_t pair)
{
	uint8_t wanted[TRAFFIC_FRAME_MAX];
	uint32_t flow, number;

	if (length < (int)STREAM_LENGTH)
		return "a frame was cut short";
	flow = read_be32(bytes + STREAM_HEADERS);
	number = read_be32(bytes + STREAM_HEADERS + 4);
	if (flow >= stream->flows)
		return "a frame of no flow arrived";
	if (number != stream->next_received[flow])
		return number < stream->next_received[flow] ? "a frame came twice or too late"
							    : "a frame was lost, or overtaken";
	if (stream_build(stream, flow, number, wanted) != (uint32_t)length ||
	    memcmp(wanted, bytes, (size_t)length) != 0)
		return "a frame was changed";
	if (stream->pairs[flow] != 0 && stream->pairs[flow] != pair + 1)
		return "a flow has changed its queue";
	stream->pairs[flow] = pair + 1;
	stream->next_received[flow]++;
	return NULL;
}

static bool stream_receive(struct stream *stream)
{
	struct fake_header header;
	uint8_t bytes[TRAFFIC_FRAME_MAX];
	uint32_t pair;
	int length = receive_any(stream->to, &header, bytes, sizeof(bytes), &pair);

	if (length == -EAGAIN)
		return false;
	stream->failure =
	    length < 0 ? "the switch broke a rule" : stream_check(stream, bytes, length, pair);
	atomic_fetch_add(&stream->received, 1);
	return true;
}

static uint64_t stream_on_its_way(const struct stream *stream)
{
	return stream->sent - atomic_load_explicit(&stream->received, memory_order_relaxed);
}

/* The stream's thread; in it no assertion may fail. */
static void *stream_run(void *argument)
{
	struct stream *stream = argument;

	while (stream->failure == NULL && !atomic_load(&stream->stop)) {
		bool moved = false;

		while (stream_on_its_way(stream) < stream->window && stream_send(stream))
			moved = true;
		while (stream->failure == NULL && stream_receive(stream))
			moved = true;
		if (!moved)
			sched_yield();
	}
	return NULL;
}

void stream_start(struct stream *stream)
{
	if (stream->flows == 0)
		stream->flows = 1;
	if (stream->window == 0)
		stream->window = 64;
	atomic_store(&stream->stop, false);
	assert_int_equal(pthread_create(&stream->thread, NULL, stream_run, stream), 0);
}

void stream_wait(struct stream *stream, struct switch_fixture *fixture, uint64_t more)
{
	uint64_t target = atomic_load(&stream->received) + more, last = 0, now;
	uint32_t start = clock_seconds();

	while ((now = atomic_load(&stream->received)) < target) {
		if (now != last)
			start = clock_seconds();
		last = now;
		if (clock_seconds() - start > WAIT_SECONDS) {
			stream_stop(stream);
			fail_msg("the stream stands still: %s",
				 stream->failure != NULL ? stream->failure : "nothing arrives");
		}
		switch_fixture_pump(fixture);
		sched_yield();
	}
}

void stream_stop(struct stream *stream)
{
	atomic_store(&stream->stop, true);
	pthread_join(stream->thread, NULL);
}

void stream_finish(struct stream *stream)
{
	uint32_t start = clock_seconds();

	stream_stop(stream);
	while (stream->failure == NULL && stream_on_its_way(stream) > 0) {
		if (stream_receive(stream))
			start = clock_seconds();
		else if (clock_seconds() - start > WAIT_SECONDS)
			fail_msg("%lu frames never came", (unsigned long)stream_on_its_way(stream));
		else
			sched_yield();
	}
	if (stream->failure != NULL)
		fail_msg("%s", stream->failure);
}
