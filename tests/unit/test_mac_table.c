/* The MAC table against a model that is too simple to be wrong, at its limits, under a flood, and
 * with readers, learners and ageing at once (the build with the thread sanitizer runs this too). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/mac_table.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PORTS 8u

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static struct mac_table *create(uint32_t limit, uint32_t quota, uint64_t seed)
{
	struct mac_table_config config = {
		.limit = limit, .port_quota = quota, .port_count = PORTS, .seed = seed
	};
	struct mac_table *table = mac_table_create(&config);

	assert_non_null(table);
	return table;
}

static struct mac_table_stats stats_of(const struct mac_table *table)
{
	struct mac_table_stats stats;

	mac_table_get_stats(table, &stats);
	return stats;
}

/* The model: a row for each address there is, in use or not. */

#define MODEL_ADDRESSES 120u
#define MODEL_VLANS	3u
#define MODEL_ROWS	(MODEL_ADDRESSES * MODEL_VLANS)
#define MODEL_LIMIT	150u
#define MODEL_QUOTA	40u

struct row {
	bool used;
	uint16_t port;
	uint32_t seen;
};

struct model {
	struct row rows[MODEL_ROWS];
	uint32_t entries;
	uint32_t port_entries[PORTS];
	uint64_t learned, moved, aged, refused_limit, refused_quota;
};

/* Neighbours in the address, as guests of one host are. */
static uint64_t row_mac(uint32_t row)
{
	return 0x525400000000ULL + row / MODEL_VLANS;
}

static uint16_t row_vlan(uint32_t row)
{
	static const uint16_t vlans[MODEL_VLANS] = { 0, 10, 4094 };

	return vlans[row % MODEL_VLANS];
}

static void model_learn(struct model *model, uint32_t at, uint16_t port, uint32_t now)
{
	struct row *row = &model->rows[at];

	if (row->used && row->port == port) {
		if (now > row->seen)
			row->seen = now;
		return;
	}
	if (model->port_entries[port] == MODEL_QUOTA) {
		model->refused_quota++;
		return;
	}
	if (row->used) {
		model->port_entries[row->port]--;
		model->moved++;
	} else {
		if (model->entries == MODEL_LIMIT) {
			model->refused_limit++;
			return;
		}
		model->entries++;
		model->learned++;
	}
	model->port_entries[port]++;
	*row = (struct row){ .used = true, .port = port, .seen = now };
}

static void model_remove(struct model *model, struct row *row)
{
	row->used = false;
	model->entries--;
	model->port_entries[row->port]--;
}

struct visit {
	const struct model *model;
	uint32_t count;
};

static void check_visited(void *context, const struct mac_table_entry *entry)
{
	struct visit *visit = context;
	uint32_t at = (uint32_t)(mac_to_u64(entry->mac.bytes) - 0x525400000000ULL) * MODEL_VLANS;

	while (row_vlan(at) != entry->vlan)
		at++;
	assert_true(at < MODEL_ROWS);
	assert_true(visit->model->rows[at].used);
	assert_int_equal(visit->model->rows[at].port, entry->port);
	assert_int_equal(visit->model->rows[at].seen, entry->last_seen);
	visit->count++;
}

static void compare(const struct mac_table *table, const struct model *model)
{
	struct mac_table_stats stats = stats_of(table);
	struct visit visit = { .model = model };

	for (uint32_t i = 0; i < MODEL_ROWS; i++) {
		const struct row *row = &model->rows[i];
		uint16_t port = mac_table_lookup(table, row_mac(i), row_vlan(i));

		assert_int_equal(port, row->used ? row->port : MAC_TABLE_NO_PORT);
	}
	mac_table_visit(table, check_visited, &visit);
	assert_int_equal(visit.count, model->entries);
	assert_int_equal(stats.entries, model->entries);
	assert_int_equal(stats.limit, MODEL_LIMIT);
	assert_int_equal(stats.learned, model->learned);
	assert_int_equal(stats.moved, model->moved);
	assert_int_equal(stats.aged, model->aged);
	assert_int_equal(stats.refused_limit, model->refused_limit);
	assert_int_equal(stats.refused_quota, model->refused_quota);
}

static void step(struct mac_table *table, struct model *model, uint64_t dice, uint32_t now)
{
	uint32_t row = (uint32_t)(dice >> 32) % MODEL_ROWS;
	uint16_t port = (dice >> 16) % PORTS;
	uint32_t max_age = 200 + (dice >> 24) % 400;

	switch (dice % 2048) {
	case 0:
		mac_table_flush_port(table, port);
		for (uint32_t i = 0; i < MODEL_ROWS; i++) {
			if (model->rows[i].used && model->rows[i].port == port)
				model_remove(model, &model->rows[i]);
		}
		break;
	case 1:
		mac_table_flush(table);
		for (uint32_t i = 0; i < MODEL_ROWS; i++) {
			if (model->rows[i].used)
				model_remove(model, &model->rows[i]);
		}
		break;
	case 2:
	case 3:
		mac_table_age(table, now, max_age);
		for (uint32_t i = 0; i < MODEL_ROWS; i++) {
			if (!model->rows[i].used || now - model->rows[i].seen <= max_age)
				continue;
			model_remove(model, &model->rows[i]);
			model->aged++;
		}
		break;
	default:
		/* Ports 0 and 1 have most: quotas are met, and the limit. */
		port = dice & (1 << 12) ? port : port % 2;
		mac_table_learn(table, row_mac(row), row_vlan(row), port, now);
		model_learn(model, row, port, now);
	}
}

static void test_agrees_with_model(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct mac_table *table = create(MODEL_LIMIT, MODEL_QUOTA, seed);
		struct model *model = calloc(1, sizeof(*model));
		uint64_t dice = seed * 0x9e3779b97f4a7c15ULL;

		assert_non_null(model);
		for (uint32_t i = 0; i < 20000; i++) {
			step(table, model, random_next(&dice), i / 4);
			if (i % 64 == 0)
				compare(table, model);
		}
		compare(table, model);
		assert_true(model->aged > 0 && model->moved > 0);
		assert_true(model->refused_limit > 0 && model->refused_quota > 0);
		free(model);
		mac_table_destroy(table);
	}
}

static void test_holds_its_limit(void **state)
{
	static const uint32_t limits[] = { 1, 2, 31, 32, 1000, 64000, 1 << 20 };

	for (uint32_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint32_t limit = limits[i];
		struct mac_table *table = create(limit, limit, 77 + i);
		struct mac_table_stats stats;

		for (uint32_t n = 0; n < limit; n++)
			mac_table_learn(table, 0x020000000000ULL + n, 0, n % PORTS, 1);
		stats = stats_of(table);
		assert_int_equal(stats.entries, limit);
		assert_int_equal(stats.refused_limit, 0);
		if (limit >= 1000)
			assert_true(stats.bytes <= 32ULL * limit);
		mac_table_learn(table, 0x02ffffffffffULL, 0, 3, 1);
		assert_int_equal(mac_table_lookup(table, 0x02ffffffffffULL, 0), MAC_TABLE_NO_PORT);
		for (uint32_t n = 0; n < limit; n++) {
			uint16_t port = mac_table_lookup(table, 0x020000000000ULL + n, 0);

			if (port != n % PORTS)
				fail_msg("address %u is lost: port %u", n, port);
		}
		assert_int_equal(stats_of(table).refused_limit, 1);
		mac_table_flush(table);
		assert_int_equal(stats_of(table).entries, 0);
		mac_table_destroy(table);
	}
}

static void test_flood_stays_in_its_quota(void **state)
{
	struct mac_table *table = create(4096, 512, 5);
	uint64_t before = stats_of(table).bytes;
	uint64_t dice = 99;
	struct mac_table_stats stats;

	for (uint32_t i = 0; i < 500; i++)
		mac_table_learn(table, 0x525400000000ULL + i, 0, 1, 10);
	for (uint32_t i = 0; i < 1000000; i++)
		mac_table_learn(table, random_next(&dice) & 0xfeffffffffffULL,
				random_next(&dice) & 0xfff, 2, 10 + i / 1000);
	stats = stats_of(table);
	assert_int_equal(stats.entries, 500 + 512);
	assert_int_equal(stats.refused_quota, 1000000 - 512);
	assert_int_equal(stats.bytes, before);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(mac_table_lookup(table, 0x525400000000ULL + i, 0), 1);
	/* Nor can it take them over by their addresses once its quota is used up. */
	mac_table_learn(table, 0x525400000000ULL, 0, 2, 2000);
	assert_int_equal(mac_table_lookup(table, 0x525400000000ULL, 0), 1);
	/* Others still learn. */
	mac_table_learn(table, 0x525400009999ULL, 0, 3, 2000);
	assert_int_equal(mac_table_lookup(table, 0x525400009999ULL, 0), 3);
	mac_table_destroy(table);
}

static void test_moves_and_ages(void **state)
{
	struct mac_table *table = create(16, 16, 1);
	uint64_t mac = 0x525400000001ULL;

	mac_table_learn(table, mac, 10, 1, 100);
	assert_int_equal(mac_table_lookup(table, mac, 10), 1);
	assert_int_equal(mac_table_lookup(table, mac, 11), MAC_TABLE_NO_PORT);
	mac_table_learn(table, mac, 10, 2, 101);
	assert_int_equal(mac_table_lookup(table, mac, 10), 2);
	assert_int_equal(stats_of(table).moved, 1);
	assert_int_equal(stats_of(table).entries, 1);
	mac_table_age(table, 401, 300);
	assert_int_equal(mac_table_lookup(table, mac, 10), 2);
	mac_table_learn(table, mac, 10, 2, 150);
	mac_table_age(table, 450, 300);
	assert_int_equal(mac_table_lookup(table, mac, 10), 2);
	/* A worker's clock ahead of control's is no old age. */
	mac_table_age(table, 149, 0);
	assert_int_equal(mac_table_lookup(table, mac, 10), 2);
	mac_table_age(table, 451, 300);
	assert_int_equal(mac_table_lookup(table, mac, 10), MAC_TABLE_NO_PORT);
	assert_int_equal(stats_of(table).aged, 1);
	/* A port that is not in the table's range teaches nothing. */
	mac_table_learn(table, mac, 10, PORTS, 500);
	assert_int_equal(stats_of(table).entries, 0);
	mac_table_destroy(table);
	mac_table_destroy(NULL);
}

/* Threads: addresses that stay must be found behind their port at every moment, whatever is
 * learned, moved and aged around them in the same buckets. */

#define SHARED_LIMIT 2048u
#define STEADY	     1024u
#define CHURN	     2048u
#define ROUNDS	     60u

struct shared {
	struct mac_table *table;
	_Atomic bool done;
	_Atomic uint32_t wrong;
	_Atomic uint32_t rounds; /* of readers */
};

static uint64_t steady_mac(uint32_t i)
{
	return 0x525400000000ULL + i;
}

static uint64_t churn_mac(uint32_t i)
{
	return 0x020000000000ULL + i * 0x10001ULL;
}

static void *reader(void *context)
{
	struct shared *shared = context;

	do {
		for (uint32_t i = 0; i < STEADY; i++) {
			if (mac_table_lookup(shared->table, steady_mac(i), 7) != i % 4)
				atomic_fetch_add(&shared->wrong, 1);
		}
		for (uint32_t i = 0; i < CHURN; i++) {
			uint16_t port = mac_table_lookup(shared->table, churn_mac(i), 7);

			if (port != MAC_TABLE_NO_PORT && port != 4 + i % 2 && port != 6)
				atomic_fetch_add(&shared->wrong, 1);
		}
		atomic_fetch_add(&shared->rounds, 1);
	} while (!atomic_load(&shared->done));
	return NULL;
}

static void *learner(void *context)
{
	struct shared *shared = context;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < CHURN; i++) {
			mac_table_learn(shared->table, churn_mac(i), 7,
					(i + round) % 16 ? 4 + i % 2 : 6, round);
			mac_table_learn(shared->table, steady_mac(i % STEADY), 7, i % 4,
					1000 + round);
		}
	}
	return NULL;
}

static void *ager(void *context)
{
	struct shared *shared = context;

	do {
		mac_table_age(shared->table, 1000, 500); /* all that churns */
		mac_table_flush_port(shared->table, 6);
		/* The lock is not fair, and control in life comes once a second. */
		sched_yield();
	} while (!atomic_load(&shared->done));
	return NULL;
}

static void test_threads(void **state)
{
	struct shared shared = { .table = create(SHARED_LIMIT, SHARED_LIMIT, 3) };
	pthread_t learners[2], others[3];
	struct mac_table_stats stats;

	for (uint32_t i = 0; i < STEADY; i++)
		mac_table_learn(shared.table, steady_mac(i), 7, i % 4, 1000);
	assert_int_equal(pthread_create(&others[0], NULL, reader, &shared), 0);
	assert_int_equal(pthread_create(&others[1], NULL, reader, &shared), 0);
	assert_int_equal(pthread_create(&others[2], NULL, ager, &shared), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&learners[i], NULL, learner, &shared), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(learners[i], NULL);
	atomic_store(&shared.done, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(others[i], NULL);
	assert_true(atomic_load(&shared.rounds) > 0);
	assert_int_equal(atomic_load(&shared.wrong), 0);
	/* Nothing was counted twice or lost on the way. */
	mac_table_age(shared.table, 1000, 500);
	stats = stats_of(shared.table);
	assert_int_equal(stats.entries, STEADY);
	for (uint32_t i = 0; i < STEADY; i++)
		assert_int_equal(mac_table_lookup(shared.table, steady_mac(i), 7), i % 4);
	for (uint16_t port = 0; port < 4; port++)
		mac_table_flush_port(shared.table, port);
	assert_int_equal(stats_of(shared.table).entries, 0);
	mac_table_destroy(shared.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agrees_with_model),
		cmocka_unit_test(test_holds_its_limit),
		cmocka_unit_test(test_flood_stays_in_its_quota),
		cmocka_unit_test(test_moves_and_ages),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
