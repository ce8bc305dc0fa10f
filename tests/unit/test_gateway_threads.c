/* Four workers and control at once in one gateway: guests and the router send what is routed,
 * translated, asked about and refused, while control applies changes, publishes routes, hands out
 * leases and binds guards. For the thread sanitizer; what packets become is checked elsewhere. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "nat/nat.h"
#include "route/lease.h"
#include "tests/lib/gateway_lab.h"
#include "vswitch/gateway_internal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define WAIT_SECONDS 10u
#define FRAMES	     64u
#define STEPS	     40u
#define SENT	     100u /* frames of each, between two changes */

#define LAB(keys)                                                                                  \
	"workers: { count: 4 }\n"                                                                  \
	"networks:\n"                                                                              \
	"  lab: { mode: nat, ipv4: " LAB_GATEWAY4 "/24, ipv6: " LAB_GATEWAY6                       \
	"/64, mac: \"02:00:00:00:01:01\", dns: false, dhcp: { range: 10.1.0.100-10.1.0.120, "      \
	"hosts: { a: { mac: \"52:00:00:00:00:a1\", ip: " LAB_A4                                    \
	" }, b: { mac: \"52:00:00:00:00:b1\", ip: " LAB_B4                                         \
	" } } }, uplink: { vhost-user: @/up, address: [" LAB_OUTER4 "/24, " LAB_OUTER6             \
	"/64], gateway: [" LAB_ROUTER4 ", " LAB_ROUTER6 "], mac: \"02:00:00:00:01:02\" }" keys     \
	" }\n"
#define PEERS                                                                                      \
	"  one: { mode: routed, ipv4: 10.2.0.1/24 }\n"                                             \
	"  two: { mode: routed, ipv4: 10.3.0.1/24, peers: [one] }\n"
#define EXTRA "  e: { network: lab, vhost-user: @/e }\n"

static const char *const configs[] = {
	LAB("") LAB_GUESTS,
	LAB(", forward: [ {proto: udp, listen: 99, to: \"10.1.0.11:9\"} ]") LAB_GUESTS,
	LAB(", nat: { pool: 192.0.2.9-192.0.2.12, guest-sessions: 100 }") LAB_GUESTS EXTRA,
	LAB(", routes: [ {to: 172.16.0.0/12, via: 10.1.0.11} ]") PEERS LAB_GUESTS,
	LAB(", antispoof: false, mtu: 1400") PEERS LAB_GUESTS EXTRA,
	LAB(", forward: [ {proto: both, listen: 50-90, to: \"10.1.0.11:50\"} ], mss-clamp: true")
	    LAB_GUESTS,
};

/* A guest in a thread of its own: sends what was prepared, over and over, and takes what comes. In
 * it no assertion may fail. */
struct talker {
	struct host *host;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic uint64_t sent, received;
	uint32_t count;
	uint32_t lengths[FRAMES];
	struct fake_header headers[FRAMES];
	uint8_t frames[FRAMES][1600];
	uint8_t ip[4]; /* answers for it */
	const char *failure;
};

static void prepare(struct talker *talker, const struct datagram *datagram)
{
	uint32_t i = talker->count++;

	assert_true(i < FRAMES && datagram->payload < 1500);
	talker->lengths[i] =
	    host_build(talker->host, datagram, talker->frames[i], &talker->headers[i]);
}

static void answer_arp(struct talker *talker, const uint8_t *frame)
{
	struct fake_header header = { 0 };
	uint8_t answer[60] = { 0 };

	if (frame[12] != 8 || frame[13] != 6 || frame[21] != 1 ||
	    memcmp(frame + 38, talker->ip, 4) != 0)
		return;
	memcpy(answer, frame + 6, 6);
	memcpy(answer + 12, frame + 12, 10);
	for (int i = 0; i < 6; i++)
		answer[6 + i] = answer[22 + i] = (uint8_t)(talker->host->mac >> (40 - 8 * i));
	answer[21] = 2;
	memcpy(answer + 28, talker->ip, 4);
	memcpy(answer + 32, frame + 22, 10);
	(void)fake_guest_send(talker->host->guest, 0, &header, answer, sizeof(answer));
}

static bool take(struct talker *talker)
{
	struct fake_guest *guest = talker->host->guest;
	struct fake_header header;
	uint8_t bytes[2048];
	int length = fake_guest_receive(guest, 0, &header, bytes, sizeof(bytes));

	if (length == -EAGAIN)
		return false;
	if (length < 42) {
		talker->failure = length < 0 ? "the switch broke a rule" : "a frame was cut short";
		return false;
	}
	(void)fake_guest_post(guest, 0, header.num_buffers, guest->options.buffer_size);
	answer_arp(talker, bytes);
	atomic_fetch_add(&talker->received, 1);
	return true;
}

static void *talk(void *argument)
{
	struct talker *talker = argument;
	uint32_t next = 0;

	while (talker->failure == NULL && !atomic_load(&talker->stop)) {
		uint32_t i = next % talker->count;
		int result = fake_guest_send(talker->host->guest, 0, &talker->headers[i],
					     talker->frames[i], talker->lengths[i]);

		if (result == 0) {
			next++;
			atomic_fetch_add(&talker->sent, 1);
		} else if (result != -ENOSPC) {
			talker->failure = "a frame could not be sent";
		}
		if (!take(talker) && result != 0)
			sched_yield();
	}
	return NULL;
}

static void prepare_guest(struct talker *talker, const char *ip4, unsigned number)
{
	static const char *const far[] = { LAB_FAR4,	"198.51.100.9", LAB_OUTER4,   "10.1.0.11",
					   "10.1.0.77", LAB_GATEWAY4,	"172.16.1.1", "127.0.0.1" };
	char sources[16][32];

	for (uint16_t i = 0; i < 32; i++) {
		struct datagram sent = { .from = i == 31 ? "10.1.0.99" : ip4,
					 .to = far[i % 8],
					 .protocol = i % 3 == 0 ? IPPROTO_TCP : IPPROTO_UDP,
					 .from_port = (uint16_t)(3000 + i),
					 .to_port = i % 5 == 0 ? 99 : 53,
					 .flags = 2,
					 .hops = i % 11 == 0 ? 1 : 64,
					 .payload = i * 45u };

		prepare(talker, &sent);
	}
	/* Addresses of its own making, new ones over and over. */
	for (unsigned i = 0; i < 16; i++) {
		struct datagram sent = { .to = i % 2 == 0 ? LAB_FAR6 : LAB_GATEWAY6,
					 .protocol = IPPROTO_UDP,
					 .from_port = 1,
					 .to_port = 2 };

		snprintf(sources[i], sizeof(sources[i]), "fd00:1::%x:%x", number, i);
		sent.from = sources[i];
		for (unsigned n = 0; n < 2; n++)
			prepare(talker, &sent);
	}
}

static void prepare_router(struct talker *talker)
{
	for (uint16_t i = 0; i < 48; i++) {
		struct datagram sent = { .from = i % 3 == 0 ? "198.51.100.9" : LAB_FAR4,
					 .to = i % 7 == 0   ? LAB_A4
					       : i % 5 == 0 ? "192.0.2.9"
							    : LAB_OUTER4,
					 .protocol = i % 3 == 0 ? IPPROTO_TCP : IPPROTO_UDP,
					 .from_port = 53,
					 .to_port = i % 4 == 0 ? 99 : (uint16_t)(3000 + i),
					 .flags = 0x12,
					 .payload = i * 10u };

		prepare(talker, &sent);
	}
}

static void start(struct talker *talker)
{
	assert_int_equal(pthread_create(&talker->thread, NULL, talk, talker), 0);
}

static void stop(struct talker *talker)
{
	atomic_store(&talker->stop, true);
	pthread_join(talker->thread, NULL);
}

/* Runs control until each has sent some more. */
static const char *go_on(struct lab *lab, struct talker *talkers, unsigned count)
{
	uint32_t begin = clock_seconds();

	for (unsigned i = 0; i < count; i++) {
		uint64_t target = atomic_load(&talkers[i].sent) + SENT;

		while (atomic_load(&talkers[i].sent) < target) {
			if (talkers[i].failure != NULL)
				return talkers[i].failure;
			if (clock_seconds() - begin > WAIT_SECONDS)
				return "nothing moves";
			switch_fixture_pump(&lab->fixture);
			sched_yield();
		}
	}
	return NULL;
}

/* What happens to leases while guards are made of them. */
static void change_leases(struct lab *lab, unsigned step)
{
	struct gateway *gateway = vswitch_find_network(lab->fixture.vswitch, "lab")->gateway;
	struct lease lease = { .mac = { { 0x52, 0, 0, 0, 0, 0xa1 } },
			       .client_length = 1,
			       .expires = LEASE_FOREVER,
			       .state = LEASE_BOUND,
			       .port = LEASE_PORT_NONE };

	lease.ip = ip_from_v4(0x0a010063); /* 10.1.0.99 */
	if (step % 2 == 0)
		(void)lease_put(gateway->leases, &lease);
	else
		(void)lease_remove(gateway->leases, &lease.ip);
	gateway_finish(gateway);
	if (step % 5 == 0 && gateway->nat != NULL)
		nat_flush(gateway->nat, NULL);
}

static const char *change(struct lab *lab, struct talker *talkers, unsigned count)
{
	const char *failure = NULL;
	struct error error;

	for (unsigned step = 0; step < STEPS && failure == NULL; step++) {
		const char *yaml = configs[step % (sizeof(configs) / sizeof(configs[0]))];

		if (switch_fixture_apply(&lab->fixture, yaml, &error) != 0)
			return "a configuration is refused";
		change_leases(lab, step);
		json_decref(switch_fixture_diff(&lab->fixture, yaml));
		failure = go_on(lab, talkers, count);
	}
	return failure;
}

static void test_all_at_once(void **state)
{
	static struct talker talkers[3];
	const char *failure;
	struct lab lab;

	memset(talkers, 0, sizeof(talkers));
	lab_open(&lab, configs[0]);
	talkers[0].host = lab.a;
	talkers[1].host = lab.b;
	talkers[2].host = lab.router;
	memcpy(talkers[0].ip, "\x0a\x01\x00\x0a", 4);
	memcpy(talkers[1].ip, "\x0a\x01\x00\x0b", 4);
	memcpy(talkers[2].ip, "\xc0\x00\x02\x01", 4);
	prepare_guest(&talkers[0], LAB_A4, 1);
	prepare_guest(&talkers[1], LAB_B4, 2);
	prepare_router(&talkers[2]);
	for (unsigned i = 0; i < 3; i++)
		start(&talkers[i]);
	failure = change(&lab, talkers, 3);
	for (unsigned i = 0; i < 3; i++)
		stop(&talkers[i]);
	if (failure != NULL)
		fail_msg("%s", failure);
	for (unsigned i = 0; i < 3; i++)
		assert_int_not_equal(atomic_load(&talkers[i].received), 0);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
