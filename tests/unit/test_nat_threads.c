/* Several workers on one translator, and control that changes, lists and ends things under them;
 * made for the thread sanitizer. */
#include "base/rcu.h"
#include "tests/unit/nat_rig.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORKERS 3u
#define ROUNDS	10000u
#define LIMIT	2000u
#define STEPS	6u /* what control does, in turn */

struct shared {
	struct rig rig;
	struct rcu *rcu;
	_Atomic uint32_t running;
	_Atomic uint32_t lost; /* answers that did not come back to who asked */
};

struct worker {
	struct shared *shared;
	uint32_t id;
	uint64_t seed;
	pthread_t thread;
};

static uint32_t pick(struct worker *worker, uint32_t below)
{
	worker->seed = worker->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((worker->seed >> 33) % below);
}

/* Asks and is answered at once; the address may change in between. */
static void ask(struct worker *worker, const struct ip *inside)
{
	struct shared *shared = worker->shared;
	uint16_t port = (uint16_t)(1024 + pick(worker, 200));
	struct ip remote = ip_from_v4(0xc6336401 + pick(worker, 5));
	enum drop_reason reason;
	struct wire wire;
	struct ends ends;

	wire_udp_ip(&wire, inside, port, &remote, 53);
	if (nat_outbound(shared->rig.nat, &wire.frame, 1000, &reason) != NAT_TRANSLATED)
		return;
	ends = ends_of(&wire);
	wire_udp_ip(&wire, &remote, 53, &ends.from, ends.from_port);
	if (nat_inbound(shared->rig.nat, &wire.frame, 1000, &reason) != NAT_TRANSLATED)
		return;
	ends = ends_of(&wire);
	if (!ip_equal(&ends.to, inside) || ends.to_port != port)
		atomic_fetch_add(&shared->lost, 1);
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct shared *shared = worker->shared;
	struct ip outside = ip_of(OUTSIDE);

	rcu_register(shared->rcu, worker->id);
	rcu_online(shared->rcu, worker->id);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		/* One guest that all workers serve, and their own. */
		struct ip inside =
		    ip_from_v4(0x0a000002 + (pick(worker, 3) == 0 ? 0 : worker->id + 1));
		struct ip remote = ip_from_v4(0xc6336401 + pick(worker, 5));
		enum drop_reason reason;
		struct wire wire;

		switch (pick(worker, 6)) {
		case 0:
			wire_tcp_ip(&wire, &inside, (uint16_t)(2000 + pick(worker, 3000)), &remote,
				    80, SYN);
			nat_outbound(shared->rig.nat, &wire.frame, 1000, &reason);
			break;
		case 1:
			wire_tcp_ip(&wire, &remote, (uint16_t)(1 + pick(worker, 3000)), &outside,
				    80, pick(worker, 2) ? SYN : ACK);
			nat_inbound(shared->rig.nat, &wire.frame, 1000, &reason);
			break;
		case 2:
			wire_udp_ip(&wire, &inside, 1024, &outside,
				    (uint16_t)(1024 + pick(worker, 200)));
			nat_hairpin(shared->rig.nat, &wire.frame, 1000, &reason);
			break;
		default:
			ask(worker, &inside);
		}
		rcu_quiescent(shared->rcu, worker->id);
	}
	rcu_offline(shared->rcu, worker->id);
	rcu_unregister(shared->rcu, worker->id);
	atomic_fetch_sub(&shared->running, 1);
	return NULL;
}

static bool count_session(void *context, const struct nat_session *session)
{
	(*(uint64_t *)context)++;
	return true;
}

static void control_step(struct shared *shared, uint32_t step)
{
	struct ip addresses[] = { ip_of(OUTSIDE), ip_of(step % 2 ? "192.0.2.2" : "192.0.2.3") };
	struct ip guest = ip_from_v4(0x0a000002 + step % 5);
	struct nat *nat = shared->rig.nat;
	struct nat_stats stats;
	uint64_t count = 0;

	switch (step % STEPS) {
	case 0:
		shared->rig.config.forward_count = step / STEPS % 2;
		shared->rig.config.filtering = step / STEPS % 3;
		assert_int_equal(nat_update(nat, &shared->rig.config, NULL), 0);
		rcu_wait(shared->rcu);
		nat_settle(nat);
		break;
	case 1:
		assert_int_equal(nat_set_addresses(nat, addresses, 2), 0);
		rcu_wait(shared->rcu);
		nat_settle(nat);
		break;
	case 2:
		nat_flush(nat, &guest);
		break;
	case 3:
		nat_visit(nat, 1000, count_session, &count);
		break;
	case 4:
		nat_tick(nat, 1000);
		break;
	default:
		nat_get_stats(nat, &stats);
		assert_true(stats.sessions <= stats.limit);
	}
}

/* Runs the workers; `first` and `last` are the steps that control goes through meanwhile. */
static void run_workers(struct shared *shared, uint32_t first, uint32_t last)
{
	struct worker workers[WORKERS];
	uint64_t count = 0;

	shared->rcu = rcu_create(WORKERS);
	assert_non_null(shared->rcu);
	atomic_store(&shared->running, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .shared = shared, .id = i, .seed = i + 1 };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint32_t step = 0; atomic_load(&shared->running) != 0; step++) {
		if (step % STEPS >= first && step % STEPS <= last)
			control_step(shared, step);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	/* Nothing is lost or counted twice. */
	nat_visit(shared->rig.nat, 1000, count_session, &count);
	assert_int_equal(rig_sessions(&shared->rig), count);
	assert_int_equal(nat_flush(shared->rig.nat, NULL), count);
	assert_int_equal(rig_sessions(&shared->rig), 0);
	rcu_destroy(shared->rcu);
}

/* While nothing ends, each answer comes back to who asked. */
static void test_workers(void **state)
{
	static struct shared shared;

	memset(&shared, 0, sizeof(shared));
	rig_init(&shared.rig);
	rig_open(&shared.rig);
	run_workers(&shared, 3, STEPS - 1);
	assert_int_equal(atomic_load(&shared.lost), 0);
	rig_close(&shared.rig);
}

/* Forwards, filtering and addresses come and go, and guests are at their limits. */
static void test_workers_and_control(void **state)
{
	struct nat_forward forward = { .protocol = NAT_FORWARD_TCP,
				       .listen_first = 80,
				       .listen_last = 90,
				       .to = ip_of("10.0.0.2"),
				       .to_first = 8080 };
	static struct shared shared;

	memset(&shared, 0, sizeof(shared));
	rig_init(&shared.rig);
	shared.rig.config.session_limit = LIMIT;
	shared.rig.config.guest_session_limit = 300;
	shared.rig.config.forwards = &forward;
	shared.rig.config.forward_count = 1;
	rig_open(&shared.rig);
	run_workers(&shared, 0, STEPS - 1);
	rig_close(&shared.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_workers_and_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
