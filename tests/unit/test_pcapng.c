/* The pcapng writer, read back with libpcap; and what it leaves behind when the disk is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/pcapng.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	char directory[64];
	char path[96];
	uint8_t bytes[FRAME_LENGTH_MAX];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->directory, "/tmp/weft-pcapng-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/out.pcapng", f->directory);
	for (uint32_t i = 0; i < sizeof(f->bytes); i++)
		f->bytes[i] = (uint8_t)(i * 7 + i / 251);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	rmdir(f->directory);
	free(f);
	return 0;
}

/* A frame over the first `length` bytes, in a head and as many pieces as fit in `segments`. */
static struct frame make_frame(struct fixture *f, uint32_t length, struct frame_segment *segments,
			       uint16_t pieces)
{
	struct frame frame = { .head = f->bytes, .length = length, .segments = segments };
	uint32_t at = length < FRAME_HEAD_MAX ? length : FRAME_HEAD_MAX;

	frame.head_length = (uint16_t)at;
	for (uint16_t i = 0; at < length; i++) {
		uint32_t left = length - at;
		uint32_t n = i + 1 == pieces || left < 100 ? left : 100;

		segments[i] = (struct frame_segment){ f->bytes + at, n };
		at += n;
		frame.segment_count++;
	}
	return frame;
}

static pcap_t *open_back(const struct fixture *f)
{
	char text[PCAP_ERRBUF_SIZE];
	pcap_t *pcap =
	    pcap_open_offline_with_tstamp_precision(f->path, PCAP_TSTAMP_PRECISION_NANO, text);

	if (!pcap)
		fail_msg("%s", text);
	assert_int_equal(pcap_datalink(pcap), DLT_EN10MB);
	return pcap;
}

/* How many whole frames the file holds; it must end after the last of them. */
static uint32_t count_frames(const struct fixture *f)
{
	pcap_t *pcap = open_back(f);
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	uint32_t count = 0;
	int rc;

	while ((rc = pcap_next_ex(pcap, &header, &bytes)) == 1)
		count++;
	assert_int_equal(rc, PCAP_ERROR_BREAK);
	pcap_close(pcap);
	return count;
}

static void test_reads_back(void **state)
{
	static const uint32_t lengths[] = { 14, 15, 16, 17, 60, 192, 193, 1514, 9014, 65553 };
	struct fixture *f = *state;
	struct frame_segment segments[8];
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	struct pcapng *file;
	pcap_t *pcap;

	assert_int_equal(pcapng_create(f->path, "vm1", &file, NULL), 0);
	assert_int_equal(count_frames(f), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct frame frame = make_frame(f, lengths[i % 10], segments, 1 + i % 8);

		assert_int_equal(pcapng_write(file, &frame, PCAPNG_OUTBOUND,
					      1700000000123456789ULL + i * 1000000001ULL),
				 0);
	}
	assert_int_equal(pcapng_close(file), 0);
	pcap = open_back(f);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(pcap_next_ex(pcap, &header, &bytes), 1);
		assert_int_equal(header->len, lengths[i % 10]);
		assert_int_equal(header->caplen, lengths[i % 10]);
		assert_int_equal(header->ts.tv_sec, 1700000000 + i);
		assert_int_equal(header->ts.tv_usec, 123456789 + i);
		assert_memory_equal(bytes, f->bytes, header->len);
	}
	assert_int_equal(pcap_next_ex(pcap, &header, &bytes), PCAP_ERROR_BREAK);
	pcap_close(pcap);
}

/* What libpcap does not tell: the interface's name and the frame's direction. */
static void test_blocks(void **state)
{
	struct fixture *f = *state;
	struct frame frame = make_frame(f, 61, NULL, 0);
	uint32_t words[64] = { 0 };
	uint32_t at, total;
	struct pcapng *file;
	FILE *in;

	assert_int_equal(pcapng_create(f->path, "abc", &file, NULL), 0);
	assert_int_equal(pcapng_write(file, &frame, PCAPNG_INBOUND, 5), 0);
	assert_int_equal(pcapng_close(file), 0);
	in = fopen(f->path, "rb");
	assert_non_null(in);
	total = (uint32_t)fread(words, 4, 64, in);
	fclose(in);
	at = words[1] / 4; /* the interface, behind the section */
	assert_int_equal(words[at], 1);
	assert_int_equal(words[at + 4], 2 | 3 << 16);
	assert_string_equal((const char *)&words[at + 5], "abc");
	assert_int_equal(words[at + 6], 9 | 1 << 16);
	assert_int_equal(words[at + 7], 9);
	at += words[at + 1] / 4;
	assert_int_equal(words[at], 6);
	assert_int_equal(words[at + 7 + 16], 2 | 4 << 16);
	assert_int_equal(words[at + 7 + 17], 1);
	assert_int_equal(words[at + 7 + 18], 0);
	assert_int_equal(words[at + 7 + 19], words[at + 1]);
	assert_int_equal(at + words[at + 1] / 4, total);
}

static void limit_file_size(rlim_t size)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct frame_segment segment;
	struct frame frame = make_frame(f, 1000, &segment, 1);
	uint32_t accepted = 0, refused = 0, lost;
	struct pcapng *file;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(pcapng_create(f->path, "vm1", &file, NULL), 0);
	limit_file_size(100001);
	while (refused < 10) {
		int rc = pcapng_write(file, &frame, PCAPNG_OUTBOUND, accepted);

		if (rc == 0) {
			accepted++;
			continue;
		}
		assert_int_equal(rc, -EFBIG);
		refused++;
	}
	assert_int_equal(pcapng_flush(file), -EFBIG);
	/* The file is whole, and what it could not take is still there for later. */
	assert_in_range(count_frames(f), 90, 97);
	limit_file_size(200001);
	assert_int_equal(pcapng_flush(file), -EFBIG);
	assert_in_range(count_frames(f), 180, 194);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(pcapng_flush(file), 0);
	assert_int_equal(count_frames(f), accepted);
	/* Full to the end: what is lost is known. */
	limit_file_size(100001);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(pcapng_write(file, &frame, PCAPNG_OUTBOUND, 0), 0);
	lost = pcapng_close(file);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(lost, 5);
	assert_int_equal(count_frames(f), accepted);
}

static void test_refuses(void **state)
{
	struct fixture *f = *state;
	struct frame frame = { .head = f->bytes, .length = FRAME_LENGTH_MAX + 1 };
	struct pcapng *file;
	struct error error;

	assert_int_equal(pcapng_create("/nonexistent/x", "vm1", &file, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nonexistent/x: cannot be written"));
	assert_int_equal(pcapng_create(f->directory, "vm1", &file, &error), -EISDIR);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(pcapng_create(f->path, "vm1", &file, &error), -ENXIO);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(pcapng_create("/dev/null", "vm1", &file, &error), -EINVAL);
	assert_string_equal(error.text, "/dev/null: not a plain file");
	assert_int_equal(pcapng_create(f->path, "vm1", &file, &error), 0);
	assert_int_equal(pcapng_write(file, &frame, PCAPNG_OUTBOUND, 0), -EMSGSIZE);
	assert_int_equal(pcapng_close(file), 0);
	assert_int_equal(count_frames(f), 0);
	assert_int_equal(pcapng_close(NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reads_back),
		TEST(test_blocks),
		TEST(test_full_disk),
		TEST(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
