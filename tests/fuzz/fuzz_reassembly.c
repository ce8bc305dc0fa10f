/* Fuzzes reassembly: fragments that fit together more or less, and bytes as they are.
 *
 * Input: steps of one byte that says what, and what that needs. Each byte of a fragment's payload
 * tells where in the packet it stands, in one of two ways: so whatever is put together can be seen
 * to be in order, and pieces that overlap can be the same or not. */
#include "base/checksum.h"
#include "base/packet.h"
#include "base/parse.h"
#include "route/reassembly.h"

#include <netinet/in.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static const struct reassembly_limits limits = { .bytes = 200000,
						 .owner_bytes = 150000,
						 .source_bytes = 140000,
						 .datagrams = 12,
						 .owner_datagrams = 8,
						 .source_datagrams = 4 };

struct fuzz {
	const uint8_t *data;
	size_t left;
	struct reassembly *r;
	uint64_t now;
	bool foreign; /* some packet's were the input's */
	uint32_t pointer;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t take(struct fuzz *fuzz)
{
	if (fuzz->left == 0)
		return 0;
	fuzz->left--;
	return *fuzz->data++;
}

static uint8_t byte_at(uint32_t offset, uint8_t way)
{
	/* Nothing that says "extension header" at the beginning, whose place matters. */
	return (uint8_t)((offset * 7 + (offset >> 8)) << 1 | way);
}

static void complete_check(void *context, uint32_t owner, const uint8_t *frame, size_t length,
			   uint16_t mtu)
{
	struct fuzz *fuzz = context;
	uint8_t *exact = malloc(length);
	struct packet packet;
	bool sound;

	CHECK(exact != NULL && owner < 4 && length <= PACKET_LENGTH_MAX + 4);
	memcpy(exact, frame, length);
	sound = packet_parse(exact, length, &packet);
	/* Extension headers of the payload's are as foreign as can be. */
	CHECK(sound || fuzz->foreign || exact[12] == 0x86);
	if (sound && !fuzz->foreign) {
		CHECK(packet.length == length && !packet.fragment);
		for (uint32_t i = 0; i < packet.payload_length; i++)
			CHECK(packet.payload[i] >> 1 == byte_at(i, 0) >> 1);
	}
	free(exact);
}

static void expired_check(void *context, uint32_t owner, const uint8_t *frame, size_t length)
{
	struct packet packet;

	CHECK(owner < 4 && packet_parse(frame, length, &packet) && packet.fragment);
}

static void input(struct fuzz *fuzz, uint32_t owner, const uint8_t *bytes, size_t length)
{
	uint8_t *exact = malloc(length != 0 ? length : 1);
	uint32_t datagrams, kept;
	struct packet packet;

	CHECK(exact != NULL);
	memcpy(exact, bytes, length);
	if (packet_parse(exact, length, &packet) && packet.fragment)
		reassembly_input(fuzz->r, owner, &packet, fuzz->now, &fuzz->pointer);
	free(exact);
	reassembly_usage(fuzz->r, &datagrams, &kept);
	CHECK(datagrams <= limits.datagrams && kept <= limits.bytes);
}

static void step_frame(struct fuzz *fuzz, uint32_t owner)
{
	size_t length = take(fuzz);

	if (length > fuzz->left)
		length = fuzz->left;
	fuzz->foreign = true;
	input(fuzz, owner, fuzz->data, length);
	fuzz->data += length;
	fuzz->left -= length;
}

/* A fragment of one of a few packets. */
static void step_fragment(struct fuzz *fuzz, uint32_t owner)
{
	static uint8_t frame[14 + 60 + 8 + 65535];
	uint8_t shape = take(fuzz), which = take(fuzz), options = shape >> 3 & 3;
	uint32_t offset = (uint32_t)take(fuzz) * (shape & 0x20 ? 256 : 8);
	uint32_t length = (uint32_t)take(fuzz) * (shape & 0x40 ? 64 : 8) + (shape & 0x80 ? 3 : 0);
	bool v6 = (shape & 1) != 0;
	uint32_t header = v6 ? 40u : 20u + options * 4u;
	uint8_t *ip = frame + 14, *payload = ip + header + (v6 ? 8 : 0);
	uint16_t sum;

	if (length > 60000)
		length = 60000;
	memset(frame, 0, 14 + 60 + 8);
	write_be16(frame + 12, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	if (v6) {
		ip[0] = 0x60;
		write_be16(ip + 4, (uint16_t)(length + 8));
		ip[6] = IPPROTO_FRAGMENT;
		ip[7] = 9;
		ip[8] = ip[24] = 0xfd;
		ip[23] = which & 3;
		ip[40] = 99;
		write_be16(ip + 42, (uint16_t)(offset | (shape >> 1 & 1)));
		ip[47] = which >> 2 & 3;
	} else {
		ip[0] = (uint8_t)(0x40 | header / 4);
		write_be16(ip + 2, (uint16_t)(header + length));
		ip[5] = which >> 2 & 3;
		write_be16(ip + 6, (uint16_t)(offset / 8 | (shape & 2 ? 0x2000 : 0)));
		ip[8] = 9;
		ip[9] = which & 0x10 ? IPPROTO_TCP : 99;
		ip[12] = ip[16] = 10;
		ip[15] = which & 3;
		memset(ip + 20, 1, options * 4u);
		sum = checksum_finish(checksum_add(0, ip, header));
		memcpy(ip + 10, &sum, 2);
	}
	for (uint32_t i = 0; i < length; i++)
		payload[i] = byte_at(offset + i, shape >> 2 & 1);
	input(fuzz, owner, frame, (size_t)(payload - frame) + length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { .data = data, .left = size, .now = 1000 };
	struct reassembly_events events = { complete_check, expired_check, &fuzz };
	uint32_t datagrams, bytes;

	fuzz.r = reassembly_create(&limits, events);
	CHECK(fuzz.r != NULL);
	while (fuzz.left > 0) {
		uint8_t step = take(&fuzz);

		if (step < 0x10) {
			step_frame(&fuzz, step & 3);
		} else if (step < 0x20) {
			fuzz.now += (uint64_t)take(&fuzz) * 256;
			reassembly_tick(fuzz.r, fuzz.now);
			CHECK(reassembly_deadline(fuzz.r) > fuzz.now);
		} else if (step < 0x24) {
			reassembly_forget(fuzz.r, step & 3);
		} else {
			step_fragment(&fuzz, step & 3);
		}
	}
	for (uint32_t owner = 0; owner < 4; owner++)
		reassembly_forget(fuzz.r, owner);
	reassembly_usage(fuzz.r, &datagrams, &bytes);
	CHECK(datagrams == 0 && bytes == 0);
	reassembly_destroy(fuzz.r);
	return 0;
}
