/* The tap port against the kernel, in a network namespace of its own: frames both ways byte for
 * byte through a packet socket on the interface's other side, offloads, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/namespace.h"
#include "tests/unit/port_fixture.h"
#include "tests/unit/wire_peer.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Whether this thread may use its capabilities. */
static void set_capabilities(uint32_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	data[0].effective = data[0].permitted & effective;
	data[1].effective = data[1].permitted & effective;
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

/* For good. */
static void deny(uint32_t system_call)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static int set_up(void **state)
{
	int rc = fixture_set_up(state, &port_tap);
	struct fixture *f = *state;

	strcpy(f->port.config.options.tap.name, "weft0");
	bytes_fill("\xff\xff\xff\xff\xff\xff", "\x52\x54\0\0\0\1");
	return rc;
}

/* Receives until a frame of `type` has come: the kernel has something to say of its own. */
static struct frame *receive_frame(struct fixture *f, uint16_t type)
{
	for (;;) {
		uint32_t n = fixture_receive(f);

		for (uint32_t i = 0; i < f->burst->count; i++) {
			if (read_be16(f->burst->frames[i].head + 12) == type)
				return &f->burst->frames[i];
		}
		if (n == 0 && port_tap.arm(&f->port.receive_queues[0]))
			wait_for(f->port.receive_queues[0].wake_fd);
	}
}

static int change_flags(const char *name, unsigned set, unsigned clear)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	if (set | clear) {
		request.ifr_flags = (short)(((unsigned)request.ifr_flags | set) & ~clear);
		assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	}
	close(fd);
	return request.ifr_flags;
}

static void set_mtu(const char *name, int mtu)
{
	struct ifreq request = { .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCSIFMTU, &request), 0);
	close(fd);
}

static int open_tun(const char *name, unsigned flags)
{
	struct ifreq request = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	if (name) {
		strcpy(request.ifr_name, name);
		assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	}
	return fd;
}

/* Whether the kernel has it for taps, and for us. */
static bool has_io_uring(void)
{
	struct io_uring_params params = { 0 };
	uint8_t byte;
	struct iovec part = { &byte, 1 };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	int tap = open_tun("weft9", IFF_TAP | IFF_NO_PI);
	bool has =
	    ring >= 0 && (preadv2(tap, &part, 1, -1, RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP);

	close(tap);
	if (ring >= 0)
		close(ring);
	return has;
}

static bool shows_io_uring(struct fixture *f)
{
	json_t *object = json_object();
	bool is;

	port_tap.show(&f->port, object);
	is = json_is_true(json_object_get(object, "io_uring"));
	json_decref(object);
	return is;
}

static void test_opens_and_shows(void **state)
{
	struct fixture *f = *state;
	json_t *object = json_object(), *offload;
	size_t i;
	bool csum = false;

	assert_int_equal(fixture_open(f), 0);
	assert_true(atomic_load(&f->port.link));
	assert_true(change_flags("weft0", 0, 0) & IFF_UP);
	port_tap.show(&f->port, object);
	assert_string_equal(json_string_value(json_object_get(object, "interface")), "weft0");
	assert_int_equal(json_integer_value(json_object_get(object, "ifindex")),
			 if_nametoindex("weft0"));
	assert_int_equal(json_integer_value(json_object_get(object, "mtu")), 1500);
	json_array_foreach(json_object_get(object, "offloads"), i, offload)
		csum = csum || strcmp(json_string_value(offload), "csum") == 0;
	assert_true(csum);
	json_decref(object);
	assert_int_equal(shows_io_uring(f), has_io_uring());
	assert_true(port_tap.offloads(&f->port.send_queues[0]) & OFFLOAD_TSO4);
	fixture_close(f);
	assert_int_equal(if_nametoindex("weft0"), 0);
}

static void test_receives(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 191, 192, 193, 1514, 9014, 65535 };
	static const struct vnet_header none;
	struct fixture *f = *state;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	set_mtu("weft0", 65521);
	peer = open_peer("weft0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		peer_send(peer, &none, bytes, lengths[i]);
		assert_frame(receive_frame(f, ETHERTYPE_TEST), bytes, lengths[i]);
	}
	/* Longer than a burst: what has no room stays in the tap. */
	for (unsigned i = 0; i < 40; i++)
		peer_send(peer, &none, bytes, 65535);
	for (unsigned i = 0; i < 40;) {
		fixture_receive(f);
		for (uint32_t j = 0; j < f->burst->count; j++) {
			if (read_be16(f->burst->frames[j].head + 12) != ETHERTYPE_TEST)
				continue;
			assert_frame(&f->burst->frames[j], bytes, 65535);
			i++;
		}
	}
	burst_reset(f->burst);
	f->burst->limit = 2;
	for (unsigned i = 0; i < 3; i++)
		peer_send(peer, &none, bytes, 60);
	port_tap.receive(&f->port.receive_queues[0], f->burst, &f->counters);
	assert_int_equal(f->burst->count, 2);
	assert_false(port_tap.arm(&f->port.receive_queues[0]));
	close(peer);
	fixture_close(f);
}

static void test_sends(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 192, 193, 1514, 9014, 51000, 65553 };
	struct fixture *f = *state;
	static struct frame_segment segments[2000];
	static uint8_t copy[FRAME_LENGTH_MAX];
	struct vnet_header header;
	uint64_t total = 0;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("weft0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct frame frame = make_frame(lengths[i], segments);

		assert_int_equal(fixture_send(f, &frame), 1);
		assert_int_equal(peer_receive(peer, &header, copy, NULL), lengths[i]);
		assert_memory_equal(copy, bytes, lengths[i]);
		total += lengths[i];
	}
	assert_int_equal(atomic_load(&f->counters.transmit_bytes), total);
	assert_int_equal(atomic_load(&f->counters.transmit_packets), 8);
	/* The longest with a tag more, in too many pieces; the peer has room for the longest. */
	{
		struct frame frame = make_frame(FRAME_LENGTH_MAX + 4, segments);

		assert_int_equal(fixture_send(f, &frame), 1);
		assert_int_equal(peer_receive(peer, &header, copy, NULL), FRAME_LENGTH_MAX);
		assert_memory_equal(copy, bytes, FRAME_LENGTH_MAX);
	}
	close(peer);
	fixture_close(f);
}

/* Of a round: while batches grow they take less than a burst, and a whole one is left. Less than a
 * tap keeps. */
#define ROUND (8u * 75u)

/* Numbered frames of all lengths, until the batches are as long as they get: none is lost, none
 * overtakes another. */
static void test_receives_bursts(void **state)
{
	static const struct vnet_header none;
	static const uint32_t lengths[] = { 60, 1514, 64, 9014, 200, 60, 60, 40000 };
	struct fixture *f = *state;
	uint32_t next = 0, most = 0, n;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	set_mtu("weft0", 65521);
	peer = open_peer("weft0", ETHERTYPE_TEST);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < ROUND; i++) {
			write_be16(bytes + 14, (uint16_t)(round * ROUND + i));
			peer_send(peer, &none, bytes, round % 2 ? 60 : lengths[i % 8]);
		}
		while (next < (round + 1) * ROUND) {
			n = fixture_receive(f);
			if (n == 0 && port_tap.arm(&f->port.receive_queues[0]))
				wait_for(f->port.receive_queues[0].wake_fd);
			most = n > most ? n : most;
			for (uint32_t i = 0; i < f->burst->count; i++) {
				struct frame *frame = &f->burst->frames[i];

				if (read_be16(frame->head + 12) != ETHERTYPE_TEST)
					continue;
				write_be16(bytes + 14, (uint16_t)next);
				assert_frame(frame, bytes, round % 2 ? 60 : lengths[next % 8]);
				next++;
			}
		}
	}
	/* So many short ones wait at a time that they fill a burst. */
	assert_int_equal(most, BURST_FRAMES);
	close(peer);
	fixture_close(f);
}

/* More frames than a batch holds, some in more pieces than a system call takes, and some that the
 * kernel refuses: these are counted, all others arrive in their order. */
static void send_bursts(struct fixture *f)
{
	static struct frame_segment segments[BURST_FRAMES][2000];
	static uint8_t heads[BURST_FRAMES][FRAME_HEAD_MAX], copy[FRAME_LENGTH_MAX];
	static struct frame all[BURST_FRAMES];
	struct frame *frames[BURST_FRAMES];
	struct vnet_header header;
	uint32_t refused = 0;
	uint64_t total = 0;
	int peer;

	peer = open_peer("weft0", ETHERTYPE_TEST);
	for (uint32_t i = 0; i < BURST_FRAMES; i++) {
		uint32_t length = i % 50 < 2 ? 60000 : i % 5 == 0 ? 9014 : 60 + i;

		all[i] = make_frame(length, segments[i]);
		memcpy(heads[i], bytes, FRAME_HEAD_MAX);
		write_be16(heads[i] + 14, (uint16_t)i);
		all[i].head = heads[i];
		if (i % 100 == 99)
			all[i].gso = FRAME_GSO_TCP4; /* which makes no sense of it */
		else
			total += length;
		refused += i % 100 == 99;
		frames[i] = &all[i];
	}
	assert_int_equal(port_tap.send(&f->port.send_queues[0], frames, BURST_FRAMES, &f->counters),
			 BURST_FRAMES - refused);
	assert_int_equal(fixture_drops(f, DROP_WRITE_FAILED), refused);
	assert_int_equal(atomic_load(&f->counters.transmit_packets), BURST_FRAMES - refused);
	assert_int_equal(atomic_load(&f->counters.transmit_bytes), total);
	for (uint32_t i = 0; i < BURST_FRAMES; i++) {
		if (i % 100 == 99)
			continue;
		assert_int_equal(peer_receive(peer, &header, copy, NULL), all[i].length);
		write_be16(bytes + 14, (uint16_t)i);
		assert_memory_equal(copy, bytes, all[i].length);
	}
	close(peer);
}

static void test_sends_bursts(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	send_bursts(f);
	fixture_close(f);
}

/* The kernel does no more for the ring, out of memory, say: the same frames go without it. */
static void test_io_uring_fails(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_open(f), 0);
	if (!shows_io_uring(f)) {
		fixture_close(f);
		skip();
	}
	deny(SYS_io_uring_enter);
	send_bursts(f);
	assert_false(shows_io_uring(f));
	fixture_close(f);
}

static void test_offloads_pass_both_ways(void **state)
{
	struct fixture *f = *state;
	struct vnet_header header = make_tcp();
	static struct frame_segment segments[2000];
	static uint8_t copy[FRAME_LENGTH_MAX];
	struct frame frame, *received;
	enum drop_reason reason;
	int peer;

	assert_int_equal(fixture_open(f), 0);
	peer = open_peer("weft0", ETHERTYPE_IPV4);
	peer_send(peer, &header, bytes, TCP_LENGTH);
	received = receive_frame(f, ETHERTYPE_IPV4);
	assert_frame(received, bytes, TCP_LENGTH);
	assert_int_equal(received->gso, FRAME_GSO_TCP4);
	assert_int_equal(received->gso_size, 1448);
	assert_true(received->flags & FRAME_NEEDS_CSUM);
	assert_int_equal(received->csum_start, 34);
	assert_int_equal(received->csum_offset, 16);

	frame = make_frame(TCP_LENGTH, segments);
	assert_true(vnet_header_to_frame(&header, &frame, OFFLOAD_ALL, &reason));
	assert_int_equal(fixture_send(f, &frame), 1);
	memset(&header, 0, sizeof(header));
	assert_int_equal(peer_receive(peer, &header, copy, NULL), TCP_LENGTH);
	assert_memory_equal(copy, bytes, TCP_LENGTH);
	assert_int_equal(header.gso_type, VNET_GSO_TCPV4);
	assert_int_equal(header.gso_size, 1448);
	assert_true(header.flags & VNET_FLAG_NEEDS_CSUM);
	close(peer);
	fixture_close(f);
}

static void test_interface_down(void **state)
{
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);

	assert_int_equal(fixture_open(f), 0);
	change_flags("weft0", 0, IFF_UP);
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_PORT_DOWN), 1);
	change_flags("weft0", IFF_UP, 0);
	assert_int_equal(fixture_send(f, &frame), 1);
	/* A GSO type that makes no sense of this frame: the kernel refuses it. */
	frame.gso = FRAME_GSO_TCP4;
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_WRITE_FAILED), 1);
	assert_null(f->port.fault);
	fixture_close(f);
}

static void run_gone(struct fixture *f)
{
	assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_non_null(f->port.fault);
	assert_string_equal(f->port.fault, "interface gone");
	assert_false(atomic_load(&f->port.link));
	assert_false(atomic_load(&f->port.receive_queues[0].running));
	assert_false(atomic_load(&f->port.send_queues[0].running));
	fixture_close(f);
}

static void test_interface_deleted(void **state)
{
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);

	assert_int_equal(fixture_open(f), 0);
	link_delete("weft0");
	/* Whatever was under way is still read; then it is found out, once, and all is quiet. */
	while (fixture_receive(f) > 0)
		;
	assert_int_equal(fixture_receive(f), 0);
	assert_true(port_tap.arm(&f->port.receive_queues[0]));
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_PORT_DOWN), 1);
	run_gone(f);

	/* A port that only sends finds out too. */
	assert_int_equal(fixture_open(f), 0);
	assert_null(f->port.fault);
	link_delete("weft0");
	assert_int_equal(fixture_send(f, &frame), 0);
	assert_int_equal(fixture_drops(f, DROP_PORT_DOWN), 2);
	run_gone(f);
}

/* Somebody deletes the interface: it is made again. */
static void test_comes_back(void **state)
{
	static const struct vnet_header none;
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);
	int peer;

	assert_int_equal(fixture_open(f), 0);
	link_delete("weft0");
	assert_int_equal(fixture_send(f, &frame), 0);
	while (!f->port.fault)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_false(shows_io_uring(f));
	while (f->port.fault)
		assert_int_equal(event_base_loop(f->loop, EVLOOP_ONCE), 0);
	assert_true(atomic_load(&f->port.link));
	peer = open_peer("weft0", ETHERTYPE_TEST);
	assert_int_equal(fixture_send(f, &frame), 1);
	peer_send(peer, &none, bytes, 60);
	assert_frame(receive_frame(f, ETHERTYPE_TEST), bytes, 60);
	close(peer);
	fixture_close(f);
}

static void test_existing(void **state)
{
	struct fixture *f = *state;
	struct tap_options *options = &f->port.config.options.tap;
	unsigned files = f->files;
	int fd;

	options->existing = true;
	fixture_refused(f, ENODEV, "'weft0' is not there");
	strcpy(options->name, "lo");
	fixture_refused(f, EINVAL, "not a tap");
	strcpy(options->name, "weft0");
	fd = open_tun("weft0", IFF_TAP | IFF_NO_PI);
	f->files = files + 1;
	fixture_refused(f, EBUSY, "somebody else has it open");
	options->existing = false;
	fixture_refused(f, EEXIST, "exists already; say `tap: {name: ");
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	f->files = files;
	fixture_refused(f, EEXIST, "exists already; say `tap: {name: ");
	options->existing = true;
	assert_int_equal(fixture_open(f), 0);
	/* Whoever made it sets it up. */
	assert_false(change_flags("weft0", 0, 0) & IFF_UP);
	fixture_close(f);
	options->queues = 4;
	fixture_refused(f, EINVAL, "not made with multi_queue");
	link_delete("weft0");

	/* One queue of a tap of several. */
	options->queues = 1;
	fd = open_tun("weft0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR);
	f->files = files + 1;
	assert_int_equal(fixture_open(f), 0);
	fixture_close(f);
	close(fd);
}

static void test_without_privilege(void **state)
{
	struct fixture *f = *state;
	struct tap_options *options = &f->port.config.options.tap;
	int fd;

	set_capabilities(0);
	fixture_refused(f, EPERM, "making a tap needs CAP_NET_ADMIN");
	set_capabilities(UINT32_MAX);
	fd = open_tun("weft0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	assert_int_equal(ioctl(fd, TUNSETOWNER, geteuid()), 0);
	close(fd);
	options->existing = true;
	set_capabilities(0);
	assert_int_equal(fixture_open(f), 0);
	assert_true(port_tap.offloads(&f->port.send_queues[0]) & OFFLOAD_TSO4);
	fixture_close(f);
	set_capabilities(UINT32_MAX);
	link_delete("weft0");
}

static void test_queues(void **state)
{
	struct fixture *f = *state;
	struct frame frame = make_frame(60, NULL);
	struct frame *frames[] = { &frame };
	struct vnet_header header;
	static uint8_t copy[FRAME_LENGTH_MAX];
	int peer;

	f->port.config.options.tap.queues = 8;
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->port.receive_count, 8);
	assert_int_equal(f->port.send_count, 8);
	peer = open_peer("weft0", ETHERTYPE_TEST);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(f->port.receive_queues[i].wake_fd >= 0);
		assert_int_equal(port_tap.send(&f->port.send_queues[i], frames, 1, &f->counters),
				 1);
		assert_int_equal(peer_receive(peer, &header, copy, NULL), 60);
		assert_memory_equal(copy, bytes, 60);
	}
	close(peer);
	fixture_close(f);
}

static void test_given(void **state)
{
	struct fixture *f = *state;
	struct tap_options *options = &f->port.config.options.tap;
	struct frame frame = make_frame(60, NULL);
	int fds[] = { open_tun("weft1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR),
		      open_tun("weft2", IFF_TAP | IFF_NO_PI),
		      open_tun("weft3", IFF_TAP | IFF_VNET_HDR),
		      open_tun("weft4", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR),
		      open_tun(NULL, 0),
		      open("/dev/null", O_RDWR | O_CLOEXEC) };

	options->name[0] = '\0';
	f->files += 6;
	change_flags("weft1", IFF_UP, 0);
	options->fd_count = 1;
	options->fds[0] = fds[0];
	options->queues = 2;
	fixture_refused(f, EINVAL, "each file given is one; allowed: 1");
	options->queues = 1;
	assert_int_equal(fixture_open(f), 0);
	assert_int_not_equal(f->port.receive_queues[0].wake_fd, fds[0]);
	assert_int_equal(fixture_send(f, &frame), 1);
	fixture_close(f);
	options->fds[0] = fds[1];
	fixture_refused(f, EINVAL, "'weft2' was attached as a tap without IFF_VNET_HDR");
	options->fds[0] = fds[2];
	for (unsigned i = 0; i < 2; i++)
		fixture_refused(f, EINVAL, "'weft3' was attached as a tap without IFF_NO_PI");
	options->fds[0] = fds[3];
	fixture_refused(f, EINVAL, "'weft4' was attached as a tun");
	options->fds[0] = fds[4];
	fixture_refused(f, EINVAL, "not an open file of a tap");
	options->fds[0] = fds[5];
	fixture_refused(f, EINVAL, "not an open file of a tap");
	options->fds[0] = 1000000;
	fixture_refused(f, EBADF, "fd 1000000");
	for (unsigned i = 0; i < 6; i++)
		close(fds[i]);
}

/* Several files of one tap, each a queue. */
static void test_given_queues(void **state)
{
	const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct fixture *f = *state;
	struct tap_options *options = &f->port.config.options.tap;
	struct frame frame = make_frame(60, NULL);
	struct vnet_header header;
	static uint8_t copy[FRAME_LENGTH_MAX];
	int fds[] = { open_tun("weft1", flags | IFF_MULTI_QUEUE),
		      open_tun("weft1", flags | IFF_MULTI_QUEUE), open_tun("weft2", flags) };
	int peer;

	options->name[0] = '\0';
	f->files += 4;
	change_flags("weft1", IFF_UP, 0);
	peer = open_peer("weft1", ETHERTYPE_TEST);
	options->fd_count = 3;
	memcpy(options->fds, fds, sizeof(fds));
	fixture_refused(f, EINVAL, "is of 'weft2', those before it of 'weft1'");
	assert_int_equal(strncmp(f->error.text, "fd ", 3), 0);
	options->passed = true;
	fixture_refused(f, EINVAL, "descriptor 3 of those passed (--tap-fd): is of 'weft2'");
	options->passed = false;
	/* Two of the one queue that it has. */
	options->fds[0] = fds[2];
	options->fds[1] = dup(fds[2]);
	options->fd_count = 2;
	f->files++;
	fixture_refused(f, EINVAL, "'weft2' was attached without IFF_MULTI_QUEUE; allowed: one");
	close(options->fds[1]);
	f->files--;
	memcpy(options->fds, fds, sizeof(fds));
	options->queues = 3;
	fixture_refused(f, EINVAL, "allowed: 2");
	for (options->queues = 1; options->queues <= 2; options->queues++) {
		assert_int_equal(fixture_open(f), 0);
		assert_int_equal(f->port.receive_count, 2);
		assert_int_equal(f->port.send_count, 2);
		for (unsigned i = 0; i < 2; i++) {
			struct frame *one = &frame;

			assert_int_equal(
			    port_tap.send(&f->port.send_queues[i], &one, 1, &f->counters), 1);
			assert_int_equal(peer_receive(peer, &header, copy, NULL), 60);
		}
		fixture_close(f);
	}
	close(peer);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opens_and_shows), TEST(test_receives),
		TEST(test_sends),	    TEST(test_offloads_pass_both_ways),
		TEST(test_receives_bursts), TEST(test_sends_bursts),
		TEST(test_interface_down),  TEST(test_interface_deleted),
		TEST(test_existing),	    TEST(test_without_privilege),
		TEST(test_queues),	    TEST(test_given),
		TEST(test_given_queues),    TEST(test_comes_back),
	};
	const struct CMUnitTest failing[] = { TEST(test_io_uring_fails) };
	int rc = namespace_enter(), failed;

	if (rc != 0 || access("/dev/net/tun", R_OK | W_OK) != 0) {
		printf("skipped: no network namespace (%s) or no /dev/net/tun for this user\n",
		       strerror(-rc));
		return 77; /* meson: skipped */
	}
	failed = cmocka_run_group_tests_name("as the kernel is", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("io_uring fails", failing, NULL, NULL);
	/* As most containers do. */
	deny(SYS_io_uring_setup);
	return failed + cmocka_run_group_tests_name("without io_uring", tests, NULL, NULL);
}
