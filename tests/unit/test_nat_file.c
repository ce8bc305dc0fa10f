/* Sessions over a restart: taken over whole; whatever stands in the file otherwise is refused; and
 * a process that dies between any two stores leaves each session whole or not at all. */
#include "tests/unit/nat_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define A "10.0.0.2"
#define B "10.0.0.3"
#define X "198.51.100.1"

static char path[] = "/tmp/weft-test-nat-XXXXXX";
static char copy_path[64], bad_path[64];

static int setup(void **state)
{
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unlink(path), 0);
	snprintf(copy_path, sizeof(copy_path), "%s.copy", path);
	snprintf(bad_path, sizeof(bad_path), "%s.bad", path);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	unlink(copy_path);
	unlink(bad_path);
	return 0;
}

static void rig_reopen(struct rig *rig)
{
	rig_close(rig);
	rig_open_file(rig, path);
}

static void test_sessions_survive(void **state)
{
	struct nat_forward forward = { .protocol = NAT_FORWARD_TCP,
				       .listen_first = 80,
				       .listen_last = 80,
				       .to = ip_of(A),
				       .to_first = 8080 };
	struct nat_stats stats;
	struct wire wire;
	struct rig rig;
	uint16_t port;

	rig_init(&rig);
	rig.config.forwards = &forward;
	rig.config.forward_count = 1;
	rig_open_file(&rig, path);
	rig_udp_out(&rig, B, 5000, X, 53);
	port = rig_udp_out(&rig, A, 5000, X, 53);
	rig_udp_out(&rig, A, 5000, X, 54);
	assert_translated(rig_tcp_out(&rig, A, 6000, X, 80, SYN));
	assert_translated(rig_tcp_in(&rig, X, 80, 6000, SYN | ACK));
	assert_translated(rig_tcp_out(&rig, A, 6000, X, 80, ACK));
	assert_translated(rig_tcp_in(&rig, X, 1234, 80, SYN));
	wire_icmp(&wire, "fd00::2", "2001:db8:1::1", 128, 9);
	assert_translated(rig_out(&rig, &wire));
	wire_other(&wire, A, X, 47);
	assert_translated(rig_out(&rig, &wire));
	rig.now += 10;
	rig_reopen(&rig);
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.restored, 7);
	assert_int_equal(stats.sessions, 7);
	assert_int_equal(rig_session(&rig, 6000).state, NAT_TCP_ESTABLISHED);
	assert_int_equal(rig_session(&rig, 6000).left, NAT_TIMEOUT_TCP - 10);
	assert_int_equal(rig_session(&rig, 6000).age, 10);
	/* They go on as they were, both ways. */
	assert_translated(rig_tcp_in(&rig, X, 80, 6000, ACK));
	assert_translated(rig_tcp_out(&rig, A, 8080, X, 1234, SYN | ACK));
	wire_udp(&wire, X, 54, OUTSIDE, port);
	assert_translated(rig_in(&rig, &wire));
	assert_to(&wire, A, 5000);
	wire_icmp(&wire, "2001:db8:1::1", OUTSIDE6, 129, 9);
	assert_translated(rig_in(&rig, &wire));
	wire_other(&wire, X, OUTSIDE, 47);
	assert_translated(rig_in(&rig, &wire));
	/* Mappings too: the same port to new remotes, and nobody else gets it. */
	assert_int_equal(rig_udp_out(&rig, A, 5000, X, 55), port);
	assert_int_equal(rig_udp_out(&rig, B, 5000, X, 55), 5000);
	assert_int_not_equal(rig_udp_out(&rig, "10.0.0.4", 5000, X, 55), port);
	nat_get_stats(rig.nat, &stats);
	assert_int_equal(stats.created, 3);
	rig_close(&rig);
}

/* One family's address may come long before the other's: sessions of that wait. */
static void test_addresses_come_one_by_one(void **state)
{
	struct ip both[] = { ip_of(OUTSIDE), ip_of(OUTSIDE6) }, other = ip_of("2001:db8:f::9");
	struct rig rig;
	struct wire wire;

	for (int given = 0; given < 2; given++) {
		rig_init(&rig);
		rig_open_file(&rig, path);
		rig_udp_out(&rig, A, 5000, X, 53);
		wire_udp(&wire, "fd00::5", 5000, "2001:db8:1::1", 53);
		assert_translated(rig_out(&rig, &wire));
		rig_close(&rig);
		assert_int_equal(nat_create(&rig.config, path, rig.now, &rig.nat, NULL), 0);
		nat_await_addresses(rig.nat, NAT_IPV6);
		assert_int_equal(nat_set_addresses(rig.nat, both, 1), 0);
		nat_settle(rig.nat);
		assert_int_equal(rig_sessions(&rig), 2);
		/* The same one, or another. */
		if (given != 0)
			both[1] = other;
		nat_await_addresses(rig.nat, 0);
		assert_int_equal(nat_set_addresses(rig.nat, both, 2), 0);
		nat_settle(rig.nat);
		assert_int_equal(rig_sessions(&rig), given != 0 ? 1 : 2);
		rig_close(&rig);
	}
	/* None comes any more. */
	assert_int_equal(nat_create(&rig.config, path, rig.now, &rig.nat, NULL), 0);
	nat_await_addresses(rig.nat, NAT_IPV4);
	assert_int_equal(nat_set_addresses(rig.nat, &both[1], 1), 0);
	nat_settle(rig.nat);
	assert_int_equal(rig_sessions(&rig), 1);
	nat_await_addresses(rig.nat, 0);
	nat_settle(rig.nat);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
	struct nat_forward forward = { .protocol = NAT_FORWARD_TCP,
				       .listen_first = 80,
				       .listen_last = 80,
				       .to = ip_of(A),
				       .to_first = 8080 };
	struct ip other = ip_of("192.0.2.99");
	struct rig rig;

	rig_init(&rig);
	rig.config.forwards = &forward;
	rig.config.forward_count = 1;
	rig_open_file(&rig, path);
	assert_translated(rig_tcp_in(&rig, X, 1234, 80, SYN));
	for (uint16_t port = 5000; port < 5010; port++)
		assert_translated(rig_tcp_out(&rig, A, port, X, 80, SYN));
	rig.now += 100;
	rig_udp_out(&rig, B, 5000, X, 53);
	/* The forward is gone, and the limit lower. */
	rig.config.forward_count = 0;
	rig.config.guest_session_limit = 5;
	rig_reopen(&rig);
	assert_int_equal(rig_sessions(&rig), 6);
	/* Expired, all but one. */
	rig.now += NAT_TIMEOUT_UDP_ONE_WAY - 1;
	rig_udp_out(&rig, B, 5000, X, 53);
	rig.now += NAT_TIMEOUT_TCP_TRANSITORY - NAT_TIMEOUT_UDP_ONE_WAY;
	rig_udp_out(&rig, B, 5000, X, 53);
	rig.now += 1;
	rig_reopen(&rig);
	assert_int_equal(rig_sessions(&rig), 1);
	/* From the future. */
	rig.now -= 500;
	rig_reopen(&rig);
	assert_int_equal(rig_sessions(&rig), 0);
	/* The uplink has another address now. */
	rig_udp_out(&rig, B, 5000, X, 53);
	rig_close(&rig);
	assert_int_equal(nat_create(&rig.config, path, rig.now, &rig.nat, NULL), 0);
	assert_int_equal(rig_sessions(&rig), 1);
	nat_settle(rig.nat); /* not known yet: nothing ends */
	assert_int_equal(rig_sessions(&rig), 1);
	assert_int_equal(nat_set_addresses(rig.nat, &other, 1), 0);
	nat_settle(rig.nat);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_udp_out(&rig, B, 5000, X, 53);
	/* A pool is known at once. */
	rig.config.pool = &other;
	rig.config.pool_count = 1;
	rig_reopen(&rig);
	assert_int_equal(rig_sessions(&rig), 1);
	other = ip_of("192.0.2.98");
	rig_reopen(&rig);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
}

static void file_write(const char *name, const void *bytes, size_t length)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static uint8_t *file_read(const char *name, size_t *length)
{
	FILE *file = fopen(name, "r");
	struct stat status;
	uint8_t *bytes;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &status), 0);
	*length = (size_t)status.st_size;
	bytes = malloc(*length + 1);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *length, file), *length);
	fclose(file);
	return bytes;
}

static void test_foreign_files(void **state)
{
	struct rig rig;
	uint8_t *bytes;
	size_t length;

	rig_init(&rig);
	file_write(path, "somebody's precious text", 24);
	rig_open_file(&rig, path);
	rig_udp_out(&rig, A, 5000, X, 53);
	rig_close(&rig);
	bytes = file_read(bad_path, &length);
	assert_int_equal(length, 24);
	assert_memory_equal(bytes, "somebody's precious text", 24);
	free(bytes);
	/* Ours, cut off within the header and behind it. */
	bytes = file_read(path, &length);
	file_write(path, bytes, 1000);
	rig_open_file(&rig, path);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
	file_write(path, bytes, 20480 + 100);
	rig_open_file(&rig, path);
	assert_int_equal(rig_sessions(&rig), 0);
	rig_close(&rig);
	/* A directory, a symbolic link, no place at all: sessions work, and are not kept. */
	free(bytes);
	unlink(path);
	assert_int_equal(symlink(bad_path, path), 0);
	rig_open_file(&rig, path);
	rig_udp_out(&rig, A, 5000, X, 53);
	rig_close(&rig);
	rig_open_file(&rig, "/nonexistent/directory/file");
	rig_udp_out(&rig, A, 5000, X, 53);
	rig_close(&rig);
}

static void test_one_owner(void **state)
{
	struct error error;
	struct nat *second;
	struct rig rig;

	rig_init(&rig);
	rig_open_file(&rig, path);
	assert_int_equal(nat_create(&rig.config, path, rig.now, &second, &error), -EBUSY);
	assert_non_null(strstr(error.text, path));
	rig_close(&rig);
}

/* Whatever bytes change, what is taken over works, and nothing is that was not there. */
static void test_damage(void **state)
{
	uint8_t *bytes;
	size_t length;
	struct rig rig;

	rig_init(&rig);
	rig.config.filtering = NAT_FILTER_ADDRESS;
	rig_open_file(&rig, path);
	for (uint16_t port = 5000; port < 5050; port++) {
		rig_udp_out(&rig, A, port, X, 53);
		rig_udp_out(&rig, B, port, X, 53);
		rig_udp_out(&rig, B, 4000, X, port);
	}
	rig_close(&rig);
	bytes = file_read(path, &length);
	assert_true(length > 20480 + 200 * 64);
	for (uint32_t round = 0; round < 200; round++) {
		uint8_t *damaged = malloc(length);

		assert_non_null(damaged);
		memcpy(damaged, bytes, length);
		srand(round);
		for (int i = 0; i < 40; i++) {
			/* Addresses and slots; the header has a test of its own. */
			size_t at = 80 + (size_t)rand() % (20480 - 80 + 160 * 64);

			if (i % 4 != 0)
				at = 20480 + (size_t)rand() % (160 * 64);
			damaged[at] = (uint8_t)rand();
		}
		/* Sessions in the place of others, and twice. */
		for (int i = 0; i < 10; i++)
			memcpy(damaged + 20480 + (size_t)(rand() % 160) * 64,
			       damaged + 20480 + (size_t)(rand() % 160) * 64, 64);
		file_write(path, damaged, length);
		free(damaged);
		rig_open_file(&rig, path);
		assert_true(rig_sessions(&rig) <= 150);
		for (uint16_t port = 5000; port < 5050; port++) {
			rig_udp_out(&rig, A, port, X, 53);
			rig_udp_out(&rig, "10.0.0.7", port, X, 53);
		}
		nat_tick(rig.nat, rig.now + NAT_TIMEOUT_TCP);
		assert_int_equal(rig_sessions(&rig), 0);
		rig_close(&rig);
	}
	free(bytes);
}

/* A child makes and ends sessions as fast as it can and is killed at some moment. What it says it
 * had made for good before is there afterwards. */
static void test_kill(void **state)
{
	volatile uint32_t *made =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(made != MAP_FAILED);
	for (uint32_t round = 0; round < 40; round++) {
		struct nat_stats stats;
		struct rig rig;
		pid_t child;
		int status;

		unlink(path);
		*made = 0;
		rig_init(&rig);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			struct ip a = ip_of(A), b = ip_of(B), x = ip_of(X);

			rig_open_file(&rig, path);
			for (uint32_t i = 0;; i++) {
				struct wire wire;

				/* B's come and go. */
				wire_udp_ip(&wire, &b, (uint16_t)(1024 + i % 50), &x, 53);
				nat_outbound(rig.nat, &wire.frame, rig.now, &rig.reason);
				if (i % 50 == 49)
					nat_flush(rig.nat, &b);
				if (i % 10 != 0 || *made == 20000)
					continue;
				wire_udp_ip(&wire, &a, (uint16_t)(20000 + *made), &x, 53);
				nat_outbound(rig.nat, &wire.frame, rig.now, &rig.reason);
				*made = *made + 1;
			}
		}
		/* Not a time: so many sessions, and then wherever it is. */
		while (*made < 10 + round * 37) {
			assert_int_equal(waitpid(child, &status, WNOHANG), 0);
			sched_yield();
		}
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		rig_open_file(&rig, path);
		nat_get_stats(rig.nat, &stats);
		assert_true(stats.restored >= *made);
		assert_true(stats.restored <= *made + 51);
		for (uint32_t i = 0; i < *made; i++) {
			uint16_t port = (uint16_t)(20000 + i);

			assert_translated(rig_udp_in(&rig, X, 53, port));
		}
		rig_close(&rig);
	}
	munmap((void *)made, 4096);
}

/* Every state that the file passes through while sessions begin and end, copied and opened. */
static void test_copies_in_between(void **state)
{
	struct rig rig, second;

	rig_init(&rig);
	rig_open_file(&rig, path);
	for (uint32_t i = 0; i < 300; i++) {
		uint64_t sessions;
		uint8_t *bytes;
		size_t length;

		if (i % 3 == 2) {
			struct ip guest = ip_from_v4(0x0a000002 + i % 7);

			nat_flush(rig.nat, &guest);
		} else {
			struct ip from = ip_from_v4(0x0a000002 + i % 5), x = ip_of(X);
			struct wire wire;

			wire_tcp_ip(&wire, &from, (uint16_t)(1024 + i), &x, 80, SYN);
			assert_translated(rig_out(&rig, &wire));
		}
		sessions = rig_sessions(&rig);
		bytes = file_read(path, &length);
		file_write(copy_path, bytes, length);
		free(bytes);
		rig_init(&second);
		rig_open_file(&second, copy_path);
		assert_int_equal(rig_sessions(&second), sessions);
		rig_close(&second);
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sessions_survive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_come_one_by_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_left_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_foreign_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copies_in_between, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
