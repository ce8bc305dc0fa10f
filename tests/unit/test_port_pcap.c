/* The pcap port: replay of files good and bad, the clock of a recording, and recording. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/port_fixture.h"

#include <pcap/pcap.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define HOUR 3600

static uint8_t bytes[70000];

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_pcap);
	struct fixture *f = *state;
	struct pcap_options *options = &f->port.config.options.pcap;

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 11 + i / 256);
	snprintf(options->replay, sizeof(options->replay), "%s/in.pcap", f->directory);
	return rc;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->port.config.options.pcap.replay);
	if (f->port.config.options.pcap.record[0] != '\0')
		unlink(f->port.config.options.pcap.record);
	return fixture_tear_down(state);
}

struct packet {
	uint32_t length;
	int32_t seconds;
	int32_t microseconds;
};

/* Writes the file to replay: each packet is the first bytes of `bytes`, its number in the last. */
static void write_file(const struct fixture *f, int link, const struct packet *packets,
		       uint32_t count)
{
	pcap_t *pcap = pcap_open_dead(link, 262144);
	pcap_dumper_t *out = pcap_dump_open(pcap, f->port.config.options.pcap.replay);

	assert_non_null(out);
	for (uint32_t i = 0; i < count; i++) {
		struct pcap_pkthdr header = {
			.ts = { packets[i].seconds, packets[i].microseconds },
			.caplen = packets[i].length,
			.len = packets[i].length,
		};

		pcap_dump((u_char *)out, &header, bytes);
	}
	pcap_dump_close(out);
	pcap_close(pcap);
}

static void assert_frame(const struct frame *frame, uint32_t length)
{
	static uint8_t copy[FRAME_LENGTH_MAX];

	assert_int_equal(frame->length, length);
	frame_copy_out(frame, 0, length, copy);
	assert_memory_equal(copy, bytes, length);
	assert_int_equal(frame->gso, FRAME_GSO_NONE);
	assert_int_equal(frame->flags, 0);
}

static void assert_state(struct fixture *f, const char *wanted, uint32_t loops)
{
	json_t *object = json_object();
	const char *state;

	port_pcap.show(&f->port, object);
	state = json_string_value(json_object_get(object, "replay_state"));
	assert_string_equal(state, wanted);
	assert_int_equal(json_integer_value(json_object_get(object, "replay_loops")), loops);
	json_decref(object);
}

static bool arm(struct fixture *f)
{
	return port_pcap.arm(&f->port.receive_queues[0]);
}

static const struct packet three[] = { { 14, 0, 0 }, { 1514, HOUR, 0 }, { 65553, 0, 1 } };

static void test_full_speed(void **state)
{
	struct fixture *f = *state;

	write_file(f, DLT_EN10MB, three, 3);
	f->port.config.options.pcap.loops = 2;
	assert_int_equal(fixture_open(f), 0);
	assert_true(atomic_load(&f->port.link));
	assert_true(atomic_load(&f->port.receive_queues[0].running));
	for (unsigned loop = 0; loop < 2; loop++) {
		assert_false(arm(f));
		assert_int_equal(fixture_receive(f), 3);
		assert_int_equal(f->burst->count, 3);
		for (unsigned i = 0; i < 3; i++)
			assert_frame(&f->burst->frames[i], three[i].length);
	}
	assert_int_equal(fixture_receive(f), 0);
	assert_true(arm(f));
	assert_state(f, "ended", 2);
	assert_int_equal(atomic_load(&f->counters.receive_packets), 6);
	assert_int_equal(atomic_load(&f->counters.receive_bytes), 2 * (14 + 1514 + 65553));
	fixture_close(f);
}

static void test_for_ever_within_a_burst(void **state)
{
	struct fixture *f = *state;
	struct packet packets[BURST_FRAMES + 36];

	for (unsigned i = 0; i < BURST_FRAMES + 36; i++)
		packets[i] = (struct packet){ 60, 0, 0 };
	write_file(f, DLT_EN10MB, packets, BURST_FRAMES + 36);
	f->port.config.options.pcap.loops = 0;
	assert_int_equal(fixture_open(f), 0);
	for (unsigned loop = 0; loop < 5; loop++) {
		assert_int_equal(fixture_receive(f), BURST_FRAMES);
		assert_int_equal(fixture_receive(f), 36);
		assert_false(arm(f));
	}
	burst_reset(f->burst);
	f->burst->limit = 7;
	assert_int_equal(port_pcap.receive(&f->port.receive_queues[0], f->burst, &f->counters), 7);
	assert_state(f, "running", 5);
	fixture_close(f);
}

static void test_recorded_speed(void **state)
{
	static const struct packet packets[] = {
		{ 60, 1000, 0 },	/* at once */
		{ 61, 1000, 500 },	/* soon after */
		{ 62, 999, 0 },		/* a clock that was set back: not earlier than the first */
		{ 63, 1000 + HOUR, 0 }, /* not in this test */
	};
	struct fixture *f = *state;
	struct itimerspec left;
	uint32_t taken = 0;
	int fd;

	write_file(f, DLT_EN10MB, packets, 4);
	f->port.config.options.pcap.speed = PCAP_SPEED_RECORDED;
	assert_int_equal(fixture_open(f), 0);
	fd = f->port.receive_queues[0].wake_fd;
	assert_true(fd >= 0);
	while (taken < 3) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		uint32_t n = fixture_receive(f);

		for (uint32_t i = 0; i < n; i++)
			assert_frame(&f->burst->frames[i], packets[taken + i].length);
		taken += n;
		if (n == 0 && arm(f))
			assert_int_equal(poll(&wait, 1, 60000), 1);
	}
	assert_int_equal(taken, 3);
	assert_int_equal(fixture_receive(f), 0);
	assert_true(arm(f));
	assert_int_equal(timerfd_gettime(fd, &left), 0);
	assert_in_range(left.it_value.tv_sec, HOUR / 2, HOUR);
	assert_state(f, "running", 0);
	fixture_close(f);
}

static void test_odd_frames(void **state)
{
	static const struct packet packets[] = {
		{ 13, 0, 0 },	 { 60, 0, 0 },	       { 65554, 0, 0 },		  { 0, 0, 0 },
		{ 70000, 0, 0 }, { 60, INT32_MAX, 0 }, { 60, INT32_MIN, 999999 },
	};
	struct fixture *f = *state;

	write_file(f, DLT_EN10MB, packets, 7);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_receive(f), 7);
	assert_int_equal(f->burst->count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_frame(&f->burst->frames[i], 60);
	assert_int_equal(fixture_drops(f, DROP_FRAME_SHORT), 2);
	assert_int_equal(fixture_drops(f, DROP_FRAME_LONG), 2);
	fixture_close(f);
}

/* Nothing but frames too short, for ever: each call ends. */
static void test_only_bad_frames(void **state)
{
	static const struct packet packets[] = { { 5, 0, 0 } };
	struct fixture *f = *state;

	write_file(f, DLT_EN10MB, packets, 1);
	f->port.config.options.pcap.loops = 0;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_receive(f), 1);
	assert_int_equal(f->burst->count, 0);
	fixture_close(f);
	/* And no frames at all: no loop. */
	write_file(f, DLT_EN10MB, packets, 0);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_receive(f), 0);
	assert_true(arm(f));
	assert_state(f, "ended", 1);
	fixture_close(f);
}

static void test_broken_file(void **state)
{
	struct fixture *f = *state;

	write_file(f, DLT_EN10MB, three, 3);
	assert_int_equal(truncate(f->port.config.options.pcap.replay, 1000), 0);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_receive(f), 1);
	assert_frame(&f->burst->frames[0], 14);
	assert_int_equal(fixture_receive(f), 0);
	assert_true(arm(f));
	assert_state(f, "broken file", 0);
	fixture_close(f);
}

static void test_refused_files(void **state)
{
	struct fixture *f = *state;
	struct pcap_options *options = &f->port.config.options.pcap;
	struct stat status;
	FILE *out;

	fixture_refused(f, ENOENT, "/in.pcap: cannot be read: No such file");
	write_file(f, DLT_RAW, three, 3);
	fixture_refused(f, EINVAL, "link type RAW");
	out = fopen(options->replay, "w");
	assert_non_null(out);
	fputs("this is no capture file at all, but a letter", out);
	fclose(out);
	fixture_refused(f, EINVAL, "unknown file format");
	assert_int_equal(unlink(options->replay), 0);
	assert_int_equal(mkfifo(options->replay, 0600), 0);
	fixture_refused(f, EINVAL, "not a plain file");
	assert_int_equal(unlink(options->replay), 0);
	write_file(f, DLT_EN10MB, three, 3);
	strcpy(options->record, "/nonexistent/out.pcapng");
	fixture_refused(f, ENOENT, "/nonexistent/out.pcapng: cannot be written");
	/* The same file by another name: it would be emptied before it is replayed. */
	snprintf(options->record, sizeof(options->record), "%.500s.link", options->replay);
	assert_int_equal(link(options->replay, options->record), 0);
	fixture_refused(f, EINVAL, "allowed: another file to record to");
	assert_int_equal(stat(options->replay, &status), 0);
	assert_true(status.st_size > 0);
	assert_int_equal(unlink(options->record), 0);
}

/* What one port records another replays. */
static void test_records(void **state)
{
	struct fixture *f = *state;
	struct pcap_options *options = &f->port.config.options.pcap;
	struct frame_segment segment = { bytes + 192, 1000 };
	struct frame frame = { .head = bytes,
			       .head_length = 192,
			       .length = 1192,
			       .segments = &segment,
			       .segment_count = 1 };

	strcpy(options->record, options->replay);
	options->replay[0] = '\0';
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->port.receive_count, 0);
	assert_int_equal(port_pcap.offloads(&f->port.send_queues[0]), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(fixture_send(f, &frame), 1);
	assert_int_equal(atomic_load(&f->counters.transmit_packets), 5);
	assert_int_equal(atomic_load(&f->counters.transmit_bytes), 5 * 1192);
	/* The longest with a tag more: refused before it is looked at. */
	frame.length = FRAME_LENGTH_MAX + 4;
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_FRAME_TOO_LONG_FOR_PORT), 1);
	frame.length = 1192;
	/* The file can be read while it is written. */
	strcpy(options->replay, options->record);
	options->record[0] = '\0';
	{
		struct fixture *reader;

		assert_int_equal(fixture_set_up((void **)&reader, &port_pcap), 0);
		strcpy(reader->port.config.options.pcap.replay, options->replay);
		assert_int_equal(fixture_open(reader), 0);
		assert_int_equal(fixture_receive(reader), 5);
		for (unsigned i = 0; i < 5; i++)
			assert_frame(&reader->burst->frames[i], 1192);
		/* It records nothing: counted and let go. */
		assert_int_equal(port_pcap.offloads(&reader->port.send_queues[0]), OFFLOAD_ALL);
		assert_int_equal(fixture_send(reader, &frame), 1);
		fixture_close(reader);
		fixture_tear_down((void **)&reader);
	}
	fixture_close(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full_speed),	    TEST(test_for_ever_within_a_burst),
		TEST(test_recorded_speed),  TEST(test_odd_frames),
		TEST(test_only_bad_frames), TEST(test_broken_file),
		TEST(test_refused_files),   TEST(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
