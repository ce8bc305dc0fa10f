/* Fuzzes the translator with frames from both sides, answers to what it let through, and ICMP
 * errors about that.
 *
 * Input: filtering (1 byte), then steps: what (1 byte, see enum step), length (2 bytes, little
 * endian), that many bytes of a frame where the step takes one. Whatever comes out is looked at: a
 * checksum that was right is right again, worked out from all bytes; no length has changed; no byte
 * that is not an address, port, identifier or checksum has. */
#include "base/parse.h"
#include "nat/nat.h"
#include "tests/unit/frame_check.h"

#define STEPS_MAX 64
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

enum step {
	STEP_OUT,
	STEP_IN,
	STEP_HAIRPIN,
	STEP_ANSWER, /* the last translated frame with its ends swapped, from outside */
	STEP_ERROR,  /* an ICMP error about it, from outside */
	STEP_REFUSE, /* the same from inside, about what came in */
	STEP_WAIT,   /* `length` seconds */
	STEP_CHANGE, /* forwards and filtering */
	STEP_COUNT
};

#define STEP_PARTIAL 0x40 /* the frame's checksum is left to others */
#define STEP_REPAIR  0x80 /* the frame's checksums are made right first */

/* A frame in memory of its own, so that each byte beyond is seen. */
struct bench {
	uint8_t *slot;
	uint8_t *bytes; /* of all of it, as it was */
	struct frame_segment segment;
	struct frame frame;
};

struct run {
	struct nat *nat;
	struct nat_config config;
	struct nat_forward forwards[2];
	uint32_t now;
	uint8_t last[4096]; /* a frame as it left the translator */
	uint32_t last_length;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void bench_make(struct bench *bench, const uint8_t *data, uint32_t length)
{
	struct frame *frame = &bench->frame;

	memset(bench, 0, sizeof(*bench));
	bench->bytes = malloc(length + 1);
	CHECK(bench->bytes != NULL);
	memcpy(bench->bytes, data, length);
	frame->length = length;
	frame->head_length = (uint16_t)(length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX);
	bench->slot = malloc(FRAME_HEADROOM + (size_t)frame->head_length);
	CHECK(bench->slot != NULL);
	frame->head = bench->slot + FRAME_HEADROOM;
	memcpy(frame->head, data, frame->head_length);
	bench->segment.base = bench->bytes + frame->head_length;
	bench->segment.length = length - frame->head_length;
	frame->segments = &bench->segment;
	frame->segment_count = bench->segment.length != 0;
	parse_frame(frame);
}

static void bench_free(struct bench *bench)
{
	free(bench->slot);
	free(bench->bytes);
}

/* What a frame's headers are, from its own offsets. */
struct view {
	uint8_t *ip, *l4;
	uint32_t length; /* of L4 */
	uint8_t protocol;
	uint32_t field; /* of the checksum, 0: none */
	bool pseudo;
};

static bool view_of(const struct frame *frame, uint8_t *bytes, struct view *view)
{
	uint32_t end;

	if (frame->ip_version == 0 || frame->l4_offset == 0)
		return false;
	view->ip = bytes + frame->l3_offset;
	view->l4 = bytes + frame->l4_offset;
	end = frame->l3_offset +
	      (frame->ip_version == 4 ? check_be16(view->ip + 2) : 40 + check_be16(view->ip + 4));
	view->length = end - frame->l4_offset;
	view->protocol = frame->l4_protocol;
	view->field = 0;
	view->pseudo = true;
	switch (view->protocol) {
	case IPPROTO_TCP:
		view->field = 16;
		break;
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
		view->field = 6;
		break;
	case IPPROTO_ICMPV6:
		view->field = 2;
		break;
	case IPPROTO_ICMP:
		view->field = 2;
		view->pseudo = false;
		break;
	default:
		break;
	}
	if (view->length < view->field + 2)
		view->field = 0;
	return true;
}

static uint32_t view_sum(const struct view *view)
{
	uint32_t sum = view->pseudo ? check_pseudo(view->ip, view->protocol, view->length) : 0;

	return check_sum(sum, view->l4, view->length);
}

/* Makes the checksums of a frame right, in all its bytes. */
static void repair(uint8_t *bytes, uint32_t length)
{
	struct bench bench;
	struct view view;

	bench_make(&bench, bytes, length);
	if (bench.frame.ip_version == 4) {
		uint8_t *ip = bytes + bench.frame.l3_offset;

		put16(ip + 10, 0);
		put16(ip + 10, ~check_sum(0, ip, (ip[0] & 15u) * 4) & 0xffff);
	}
	if (view_of(&bench.frame, bytes, &view) && view.field != 0) {
		uint32_t sum;

		put16(view.l4 + view.field, 0);
		sum = ~view_sum(&view) & 0xffff;
		put16(view.l4 + view.field,
		      sum == 0 && view.protocol == IPPROTO_UDP ? 0xffff : sum);
	}
	bench_free(&bench);
}

/* Which bytes the translator may change: marks them in `may`. */
static void mark_ip(uint8_t *may, const uint8_t *ip)
{
	if (ip[0] >> 4 == 4) {
		memset(may + 4, 1, 2);
		memset(may + 10, 1, 10);
	} else {
		memset(may + 8, 1, 32);
	}
}

static void mark_l4(uint8_t *may, uint8_t protocol, uint32_t room)
{
	static const struct {
		uint8_t protocol, from, length;
	} fields[] = {
		{ IPPROTO_TCP, 0, 4 },	{ IPPROTO_TCP, 16, 2 }, { IPPROTO_UDP, 0, 4 },
		{ IPPROTO_UDP, 6, 2 },	{ IPPROTO_ICMP, 2, 4 }, { IPPROTO_ICMPV6, 2, 4 },
		{ IPPROTO_DCCP, 6, 2 }, { 136, 6, 2 },
	};

	for (uint32_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (fields[i].protocol == protocol &&
		    fields[i].from + (uint32_t)fields[i].length <= room)
			memset(may + fields[i].from, 1, fields[i].length);
	}
}

static bool is_error(const struct view *view)
{
	uint8_t type = view->l4[0];

	return view->protocol == IPPROTO_ICMP ? type == 3 || type == 11 || type == 12
					      : view->protocol == IPPROTO_ICMPV6 && type <= 4;
}

static void mark_inner(uint8_t *may, const uint8_t *ip, uint32_t room)
{
	uint32_t offset = ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;
	uint8_t type = ip[0] >> 4 == 4 ? ip[9] : ip[6];

	CHECK(room >= offset);
	mark_ip(may, ip);
	while (ip[0] >> 4 == 6) {
		uint32_t length = parse_extension_length(type, ip + offset, room - offset);

		if (type == IPPROTO_FRAGMENT && room - offset >= 8)
			length = 8;
		if (length == 0)
			break;
		type = ip[offset];
		offset += length;
	}
	mark_l4(may + offset, type, room - offset);
}

static void check_bytes(const struct bench *bench, const struct view *old, const uint8_t *now)
{
	uint32_t length = bench->frame.length;
	uint8_t *may = calloc(1, length + 1);

	CHECK(may != NULL);
	mark_ip(may + bench->frame.l3_offset, old->ip);
	mark_l4(may + bench->frame.l4_offset, old->protocol, old->length);
	if (is_error(old)) {
		memset(may + bench->frame.l4_offset + 4, 0, 2);
		mark_inner(may + bench->frame.l4_offset + 8, old->l4 + 8, old->length - 8);
	}
	for (uint32_t i = 0; i < length; i++)
		CHECK(now[i] == bench->bytes[i] || may[i]);
	free(may);
}

static void check_translated(const struct bench *bench)
{
	const struct frame *frame = &bench->frame;
	uint8_t *now = check_flatten(frame);
	struct view old, new;
	uint32_t field;

	CHECK(view_of(frame, bench->bytes, &old) && view_of(frame, now, &new));
	CHECK(old.length == new.length &&old.protocol == new.protocol);
	check_bytes(bench, &old, now);
	if (frame->ip_version == 4 && check_ipv4_sum(old.ip))
		CHECK(check_ipv4_sum(new.ip));
	field = new.field;
	if (field != 0 && (frame->flags & FRAME_NEEDS_CSUM) &&
	    frame->csum_start == frame->l4_offset && frame->csum_offset == field) {
		uint32_t was = old.pseudo ? check_pseudo(old.ip, old.protocol, old.length) : 0;
		uint32_t is = new.pseudo ? check_pseudo(new.ip, new.protocol, new.length) : 0;

		if (check_be16(old.l4 + field) % 0xffff == was % 0xffff)
			CHECK(check_be16(new.l4 + field) % 0xffff == is % 0xffff);
	} else if (field != 0) {
		if (old.protocol == IPPROTO_UDP && check_be16(old.l4 + field) == 0)
			CHECK(check_be16(new.l4 + field) == 0);
		else if (view_sum(&old) == 0xffff)
			CHECK(view_sum(&new) == 0xffff);
	}
	free(now);
}

static void translate(struct run *run, uint8_t what, uint8_t *bytes, uint32_t length)
{
	enum drop_reason reason = DROP_COUNT;
	enum nat_result result;
	struct bench bench;
	struct view view;

	if (what & STEP_REPAIR)
		repair(bytes, length);
	bench_make(&bench, bytes, length);
	if ((what & STEP_PARTIAL) && view_of(&bench.frame, bench.bytes, &view) && view.field != 0 &&
	    bench.frame.l4_offset + view.field + 2 <= bench.frame.head_length) {
		bench.frame.flags = FRAME_NEEDS_CSUM;
		bench.frame.csum_start = bench.frame.l4_offset;
		bench.frame.csum_offset = (uint16_t)view.field;
		put16(view.l4 + view.field,
		      view.pseudo ? check_pseudo(view.ip, view.protocol, view.length) : 0);
		put16(bench.frame.head + bench.frame.l4_offset + view.field,
		      check_be16(view.l4 + view.field));
	}
	switch (what & 7) {
	case STEP_OUT:
	case STEP_REFUSE:
		result = nat_outbound(run->nat, &bench.frame, run->now, &reason);
		CHECK(result != NAT_LOCAL);
		break;
	case STEP_HAIRPIN:
		result = nat_hairpin(run->nat, &bench.frame, run->now, &reason);
		break;
	default:
		result = nat_inbound(run->nat, &bench.frame, run->now, &reason);
		break;
	}
	CHECK(bench.frame.length == length);
	CHECK(result != NAT_DROP || reason < DROP_COUNT);
	if (result != NAT_TRANSLATED)
		CHECK(memcmp(bench.frame.head, bench.bytes, bench.frame.head_length) == 0);
	if (result == NAT_TRANSLATED) {
		uint8_t *now = check_flatten(&bench.frame);

		check_translated(&bench);
		if (length <= sizeof(run->last) / 2) {
			memcpy(run->last, now, length);
			run->last_length = length;
		}
		free(now);
	}
	bench_free(&bench);
}

/* The last translated frame, with its ends swapped, and a TCP SYN acknowledged. */
static uint32_t make_answer(const struct run *run, uint8_t *bytes)
{
	struct bench bench;
	struct view view;

	memcpy(bytes, run->last, run->last_length);
	bench_make(&bench, bytes, run->last_length);
	if (view_of(&bench.frame, bytes, &view)) {
		uint32_t size = bench.frame.ip_version == 4 ? 4 : 16;
		uint8_t *from = view.ip + (size == 4 ? 12 : 8), keep[16];

		memcpy(keep, from, size);
		memcpy(from, from + size, size);
		memcpy(from + size, keep, size);
		if (view.protocol == IPPROTO_TCP || view.protocol == IPPROTO_UDP) {
			memcpy(keep, view.l4, 2);
			memcpy(view.l4, view.l4 + 2, 2);
			memcpy(view.l4 + 2, keep, 2);
		}
		if (view.protocol == IPPROTO_TCP)
			view.l4[13] |= 0x10;
		if (view.protocol == IPPROTO_ICMP && view.l4[0] == 8)
			view.l4[0] = 0;
		if (view.protocol == IPPROTO_ICMPV6 && view.l4[0] == 128)
			view.l4[0] = 129;
	}
	bench_free(&bench);
	return run->last_length;
}

/* An ICMP error to the source of the last translated frame, from its destination. */
static uint32_t make_error(const struct run *run, uint8_t *bytes)
{
	uint32_t length = 0;
	struct bench bench;

	memcpy(bytes, run->last, run->last_length);
	bench_make(&bench, bytes, run->last_length);
	if (bench.frame.ip_version != 0) {
		bool v4 = bench.frame.ip_version == 4;
		uint32_t header = v4 ? 20 : 40, size = v4 ? 4 : 16;
		uint32_t inner = run->last_length - bench.frame.l3_offset;
		const uint8_t *about = run->last + bench.frame.l3_offset;
		uint8_t *ip = bytes + 14;

		if (inner > 600)
			inner = 600;
		put16(bytes + 12, v4 ? 0x0800 : 0x86dd);
		memset(ip, 0, header + 8);
		ip[0] = v4 ? 0x45 : 0x60;
		put16(ip + (v4 ? 2 : 4), (v4 ? 20 : 0) + 8 + inner);
		ip[v4 ? 9 : 6] = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		memcpy(ip + (v4 ? 12 : 8), about + (v4 ? 16 : 24), size);
		memcpy(ip + (v4 ? 16 : 24), about + (v4 ? 12 : 8), size);
		ip[header] = v4 ? 3 : 1;
		memcpy(ip + header + 8, about, inner);
		length = 14 + header + 8 + inner;
		repair(bytes, length);
	}
	bench_free(&bench);
	return length;
}

static void step(struct run *run, uint8_t what, const uint8_t *data, uint32_t length)
{
	uint8_t bytes[8192];

	switch (what & 7) {
	case STEP_ANSWER:
	case STEP_ERROR:
	case STEP_REFUSE:
		if (run->last_length == 0)
			return;
		length =
		    (what & 7) == STEP_ANSWER ? make_answer(run, bytes) : make_error(run, bytes);
		translate(run, what, bytes, length);
		return;
	case STEP_WAIT:
		run->now += length;
		nat_tick(run->nat, run->now);
		return;
	case STEP_CHANGE:
		run->config.filtering = length % 3;
		run->config.forward_count = length / 3 % 3;
		CHECK(nat_update(run->nat, &run->config, NULL) == 0);
		nat_settle(run->nat);
		return;
	default:
		memcpy(bytes, data, length);
		translate(run, what, bytes, length);
	}
}

/* One translator for all runs, empty at the start of each: to make one takes longer than a run. */
static void run_init(struct run *run, uint8_t filtering)
{
	static struct nat *nat;
	struct ip addresses[2];

	memset(run, 0, sizeof(*run));
	CHECK(ip_from_text("192.0.2.1", &addresses[0]) == 0);
	CHECK(ip_from_text("2001:db8::1", &addresses[1]) == 0);
	run->forwards[0] = (struct nat_forward){ .protocol = NAT_FORWARD_BOTH,
						 .listen_first = 80,
						 .listen_last = 90,
						 .to_first = 8080 };
	run->forwards[1] = run->forwards[0];
	CHECK(ip_from_text("10.0.0.2", &run->forwards[0].to) == 0);
	CHECK(ip_from_text("fd00::2", &run->forwards[1].to) == 0);
	run->config = (struct nat_config){ .enabled = true,
					   .filtering = filtering % 3,
					   .session_limit = 40,
					   .guest_session_limit = 10,
					   .forward_count = 2,
					   .forwards = run->forwards };
	run->now = 1000;
	if (nat == NULL)
		CHECK(nat_create(&run->config, NULL, run->now, &nat, NULL) == 0);
	CHECK(nat_update(nat, &run->config, NULL) == 0);
	CHECK(nat_set_addresses(nat, addresses, 2) == 0);
	nat_settle(nat);
	run->nat = nat;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nat_stats stats;
	struct run run;
	size_t at = 1;

	if (size < 4)
		return 0;
	run_init(&run, data[0]);
	for (int steps = 0; steps < STEPS_MAX && at + 3 <= size; steps++) {
		uint8_t what = data[at];
		uint32_t length = data[at + 1] | (uint32_t)data[at + 2] << 8, kind = what & 7;

		at += 3;
		if (kind <= STEP_HAIRPIN) {
			if (length > size - at)
				length = (uint32_t)(size - at);
			if (length > 4096)
				length = 4096;
			step(&run, what, data + at, length);
			at += length;
		} else {
			step(&run, what, NULL, length);
		}
	}
	nat_get_stats(run.nat, &stats);
	CHECK(stats.sessions <= 40);
	CHECK(nat_flush(run.nat, NULL) == stats.sessions);
	return 0;
}
