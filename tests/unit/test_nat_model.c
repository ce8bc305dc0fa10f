/* The translator against models simple enough to be right: the table of sessions, the pool of
 * ports, the hash table under them; and checksums of random packets, worked out anew. Seeds are
 * fixed. */
#include "nat/ports.h"
#include "tests/unit/nat_rig.h"

#include <stdio.h>

static uint64_t seed_state;

static uint32_t pick(uint32_t below)
{
	seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed_state >> 33) % below);
}

static bool is_to(const struct wire *wire, const struct ip *ip)
{
	struct ends ends = ends_of(wire);

	return ip_equal(&ends.to, ip);
}

/* ---- sessions ---- */

#define GUESTS	3u
#define REMOTES 3u
#define MODEL	200u

struct model_session {
	bool live, half_open;
	uint32_t guest, remote;
	uint16_t inside_port, outside_port, remote_port;
	uint32_t last;
	bool sent_out, sent_in;
	uint64_t touched; /* order in the guest's list of half-open ones */
};

struct model {
	struct rig rig;
	struct model_session sessions[MODEL];
	uint64_t clock;
};

static const uint16_t inside_ports[] = { 5000, 5032, 5001, 700, 732, 6002 };
static const uint16_t remote_ports[] = { 53, 54, 80 };

static struct ip guest_ip(uint32_t guest)
{
	return ip_from_v4(0x0a000002 + guest);
}

static struct ip remote_ip(uint32_t remote)
{
	return ip_from_v4(0xc6336401 + remote);
}

static uint32_t model_count(const struct model *model, uint32_t guest)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < MODEL; i++)
		count += model->sessions[i].live &&
			 (guest == GUESTS || model->sessions[i].guest == guest);
	return count;
}

static struct model_session *model_find(struct model *model, uint32_t guest, uint16_t port,
					uint32_t remote, uint16_t remote_port)
{
	for (uint32_t i = 0; i < MODEL; i++) {
		struct model_session *s = &model->sessions[i];

		if (s->live && s->guest == guest && s->inside_port == port && s->remote == remote &&
		    s->remote_port == remote_port)
			return s;
	}
	return NULL;
}

/* Any session of an outside port, or of an inside one when outside is 0. */
static struct model_session *model_mapping(struct model *model, uint32_t guest, uint16_t port,
					   uint16_t outside)
{
	for (uint32_t i = 0; i < MODEL; i++) {
		struct model_session *s = &model->sessions[i];

		if (s->live && (outside != 0 ? s->outside_port == outside
					     : s->guest == guest && s->inside_port == port))
			return s;
	}
	return NULL;
}

/* Makes room as the translator does; true when a new session is allowed. */
static bool model_admit(struct model *model, uint32_t guest)
{
	for (int evicted = 0;; evicted++) {
		uint32_t has = model_count(model, guest), all = model_count(model, GUESTS);
		struct model_session *victim = NULL;

		if (has < model->rig.config.guest_session_limit &&
		    all < model->rig.config.session_limit &&
		    has < model->rig.config.session_limit - all)
			return true;
		for (uint32_t i = 0; i < MODEL; i++) {
			struct model_session *s = &model->sessions[i];

			if (s->live && s->guest == guest && s->half_open &&
			    (victim == NULL || s->touched < victim->touched))
				victim = s;
		}
		if (victim == NULL || evicted == 2)
			return false;
		victim->live = false;
	}
}

static struct model_session *model_add(struct model *model, uint32_t guest, uint16_t port,
				       uint32_t remote, uint16_t remote_port, uint16_t outside)
{
	for (uint32_t i = 0;; i++) {
		struct model_session *s = &model->sessions[i];

		assert_true(i < MODEL);
		if (s->live)
			continue;
		*s = (struct model_session){ .live = true,
					     .half_open = true,
					     .guest = guest,
					     .remote = remote,
					     .inside_port = port,
					     .outside_port = outside,
					     .remote_port = remote_port,
					     .last = model->rig.now,
					     .touched = ++model->clock };
		return s;
	}
}

static void model_packet(struct model *model, struct model_session *s, bool out)
{
	bool renewed;

	if (out)
		s->sent_out = true;
	else
		s->sent_in = true;
	renewed = s->last != model->rig.now && (out || s->sent_out);
	if (s->half_open && s->sent_in && s->sent_out) {
		s->half_open = false;
		renewed = true;
	}
	if (renewed) {
		s->last = model->rig.now;
		s->touched = ++model->clock;
	}
}

static void model_out(struct model *model)
{
	uint32_t guest = pick(GUESTS), remote = pick(REMOTES);
	uint16_t port = inside_ports[pick(6)], remote_port = remote_ports[pick(3)], outside;
	struct ip from = guest_ip(guest), to = remote_ip(remote);
	struct model_session *s = model_find(model, guest, port, remote, remote_port), *mapping;
	enum nat_result result;
	struct wire wire;

	wire_udp_ip(&wire, &from, port, &to, remote_port);
	result = rig_out(&model->rig, &wire);
	outside = ends_of(&wire).from_port;
	if (s == NULL) {
		if (!model_admit(model, guest)) {
			assert_int_equal(result, NAT_DROP);
			assert_true(model->rig.reason == DROP_NAT_GUEST_LIMIT ||
				    model->rig.reason == DROP_NAT_SESSION_LIMIT);
			return;
		}
		assert_int_equal(result, NAT_TRANSLATED);
		mapping = model_mapping(model, guest, port, 0);
		if (mapping != NULL) {
			assert_int_equal(outside, mapping->outside_port);
		} else {
			/* Nobody's, and as like the inside port as it can be. */
			assert_null(model_mapping(model, 0, 0, outside));
			if (model_mapping(model, 0, 0, port) == NULL)
				assert_int_equal(outside, port);
			assert_int_equal(outside % 2, port % 2);
			assert_int_equal(outside < 1024, port < 1024);
		}
		s = model_add(model, guest, port, remote, remote_port, outside);
	}
	assert_int_equal(result, NAT_TRANSLATED);
	assert_int_equal(outside, s->outside_port);
	model_packet(model, s, true);
}

/* Whether a mapping lets a remote in that it has no session with. */
static bool model_permits(struct model *model, const struct model_session *mapping, uint32_t remote)
{
	if (model->rig.config.filtering == NAT_FILTER_ENDPOINT_INDEPENDENT)
		return true;
	if (model->rig.config.filtering == NAT_FILTER_ADDRESS_AND_PORT)
		return false;
	for (uint32_t i = 0; i < MODEL; i++) {
		const struct model_session *s = &model->sessions[i];

		if (s->live && s->outside_port == mapping->outside_port && s->remote == remote)
			return true;
	}
	return false;
}

static void model_in(struct model *model)
{
	uint32_t remote = pick(REMOTES);
	uint16_t remote_port = remote_ports[pick(3)];
	const struct model_session *any = &model->sessions[pick(MODEL)];
	uint16_t outside = any->live ? any->outside_port : inside_ports[pick(6)];
	struct model_session *mapping = model_mapping(model, 0, 0, outside), *s = NULL;
	struct ip from = remote_ip(remote), to = ip_of(OUTSIDE), inside;
	enum nat_result result;
	struct wire wire;

	wire_udp_ip(&wire, &from, remote_port, &to, outside);
	result = rig_in(&model->rig, &wire);
	if (mapping == NULL) {
		assert_int_equal(result, NAT_LOCAL);
		return;
	}
	s = model_find(model, mapping->guest, mapping->inside_port, remote, remote_port);
	if (s == NULL) {
		uint32_t guest = mapping->guest;
		uint16_t port = mapping->inside_port;

		if (!model_permits(model, mapping, remote)) {
			assert_dropped(&model->rig, result, DROP_NAT_FILTERED);
			return;
		}
		if (!model_admit(model, guest) || model_mapping(model, guest, port, 0) == NULL) {
			/* The room may have been made by the mapping's own last session. */
			assert_int_equal(result, NAT_DROP);
			return;
		}
		s = model_add(model, guest, port, remote, remote_port, outside);
	}
	assert_int_equal(result, NAT_TRANSLATED);
	inside = guest_ip(s->guest);
	assert_true(is_to(&wire, &inside));
	assert_int_equal(ends_of(&wire).to_port, s->inside_port);
	model_packet(model, s, false);
}

static void model_wait(struct model *model)
{
	model->rig.now += pick(60);
	while (nat_tick(model->rig.nat, model->rig.now))
		;
	for (uint32_t i = 0; i < MODEL; i++) {
		struct model_session *s = &model->sessions[i];
		uint32_t timeout = s->half_open ? NAT_TIMEOUT_UDP_ONE_WAY : NAT_TIMEOUT_UDP;

		if (s->live && model->rig.now - s->last >= timeout)
			s->live = false;
	}
}

static void model_flush(struct model *model)
{
	uint32_t guest = pick(GUESTS);
	struct ip ip = guest_ip(guest);

	assert_int_equal(nat_flush(model->rig.nat, &ip), model_count(model, guest));
	for (uint32_t i = 0; i < MODEL; i++) {
		if (model->sessions[i].guest == guest)
			model->sessions[i].live = false;
	}
}

static bool model_compare(void *context, const struct nat_session *session)
{
	struct model *model = context;
	struct model_session *s = NULL;

	for (uint32_t i = 0; i < MODEL && s == NULL; i++) {
		struct model_session *candidate = &model->sessions[i];
		struct ip inside = guest_ip(candidate->guest),
			  remote = remote_ip(candidate->remote);

		if (candidate->live && ip_equal(&inside, &session->inside) &&
		    ip_equal(&remote, &session->remote) &&
		    candidate->inside_port == session->inside_port &&
		    candidate->remote_port == session->remote_port)
			s = candidate;
	}
	assert_non_null(s);
	assert_int_equal(session->outside_port, s->outside_port);
	assert_int_equal(session->state, s->half_open ? NAT_ONE_WAY : NAT_TWO_WAY);
	assert_int_equal(session->left, (s->half_open ? NAT_TIMEOUT_UDP_ONE_WAY : NAT_TIMEOUT_UDP) -
					    (model->rig.now - s->last));
	return true;
}

static void test_sessions_against_a_model(void **state)
{
	static const enum nat_filtering filterings[] = { NAT_FILTER_ADDRESS_AND_PORT,
							 NAT_FILTER_ADDRESS,
							 NAT_FILTER_ENDPOINT_INDEPENDENT };

	for (uint32_t round = 0; round < 60; round++) {
		struct model *model = calloc(1, sizeof(*model));

		assert_non_null(model);
		seed_state = round;
		rig_init(&model->rig);
		model->rig.config.filtering = filterings[round % 3];
		model->rig.config.guest_session_limit = 5 + pick(20);
		model->rig.config.session_limit = 20 + pick(80);
		rig_open(&model->rig);
		for (uint32_t step = 0; step < 2000; step++) {
			switch (pick(20)) {
			case 0:
				model_wait(model);
				break;
			case 1:
				if (pick(10) == 0)
					model_flush(model);
				break;
			case 2:
			case 3:
			case 4:
			case 5:
			case 6:
			case 7:
				model_in(model);
				break;
			default:
				model_out(model);
			}
			assert_int_equal(rig_sessions(&model->rig), model_count(model, GUESTS));
			if (step % 50 == 0)
				nat_visit(model->rig.nat, model->rig.now, model_compare, model);
		}
		rig_close(&model->rig);
		free(model);
	}
}

/* ---- ports ---- */

static bool model_free(const bool *used, const struct nat_rules *rules, uint16_t like, bool parity,
		       bool low)
{
	for (uint32_t port = 0; port < 65536; port++) {
		if (nat_port_shard((uint16_t)port) == nat_port_shard(like) &&
		    (port < 1024) == low && ((port ^ like) & 1) == !parity && !used[port] &&
		    !nat_port_set_has(&rules->reserved[NAT_SPACE_UDP], (uint16_t)port))
			return true;
	}
	return false;
}

static void check_taken(const bool *used, const struct nat_rules *rules, uint16_t inside,
			uint16_t outside)
{
	bool low = outside < 1024, parity = ((inside ^ outside) & 1) == 0;

	assert_false(used[outside]);
	assert_false(nat_port_set_has(&rules->reserved[NAT_SPACE_UDP], outside));
	assert_int_equal(nat_port_shard(inside), nat_port_shard(outside));
	if (!used[inside] && !nat_port_set_has(&rules->reserved[NAT_SPACE_UDP], inside))
		assert_int_equal(inside, outside);
	if (inside >= 1024)
		assert_false(low);
	if (inside < 1024 && !low) {
		assert_false(model_free(used, rules, inside, true, true));
		assert_false(model_free(used, rules, inside, false, true));
	}
	if (!parity)
		assert_false(model_free(used, rules, inside, true, low));
}

static void test_ports_against_a_model(void **state)
{
	static bool used[65536];
	static uint16_t taken[65536];
	struct nat_forward forward = { .protocol = NAT_FORWARD_UDP,
				       .listen_first = 3000,
				       .listen_last = 9000,
				       .to = ip_of("10.0.0.2"),
				       .to_first = 3000 };
	struct nat_config config = { .forward_count = 1, .forwards = &forward };
	struct nat_guest *guests = calloc(64, sizeof(*guests));
	struct nat *nat = aligned_alloc(64, sizeof(*nat));
	struct nat_rules *rules;
	uint32_t count = 0;
	uint8_t *owner_of = calloc(65536, 1);

	assert_true(nat != NULL && guests != NULL && owner_of != NULL);
	memset(nat, 0, sizeof(*nat));
	memset(used, 0, sizeof(used));
	nat->addresses[0].ports = calloc(NAT_SPACES, sizeof(struct nat_ports));
	assert_non_null(nat->addresses[0].ports);
	assert_int_equal(nat_rules_create(&config, NULL, 0, &rules, NULL), 0);
	seed_state = 1;
	for (uint32_t i = 0; i < NAT_SHARDS; i++)
		nat->shards[i].random = i + 1;
	for (uint32_t step = 0; step < 60000; step++) {
		/* Two shards, so that they become full. */
		uint16_t inside = (uint16_t)((pick(2048) << 5) | pick(4)), outside;
		uint32_t shard = nat_port_shard(inside), guest = pick(64), has = 0, gone = 0;
		bool got;

		if (pick(10) == 0 && count > 0) {
			uint32_t which = pick(count);

			outside = taken[which];
			nat_ports_release(nat, 0, NAT_SPACE_UDP, &guests[owner_of[outside]],
					  outside);
			used[outside] = false;
			taken[which] = taken[--count];
			continue;
		}
		got = nat_ports_take(nat, &nat->shards[shard], rules, 0, NAT_SPACE_UDP,
				     &guests[guest], inside, &outside);
		if (!got) {
			for (uint32_t port = 1024; port < 65536; port++) {
				if (nat_port_shard((uint16_t)port) != shard)
					continue;
				gone +=
				    used[port] || nat_port_set_has(&rules->reserved[NAT_SPACE_UDP],
								   (uint16_t)port);
				has += used[port] && owner_of[port] == guest;
			}
			assert_true(has >= 4032 - gone);
			continue;
		}
		/* The slow checks now and then, all of them when it is tight. */
		if (step % 16 == 0 || outside == inside)
			check_taken(used, rules, inside, outside);
		assert_false(used[outside]);
		used[outside] = true;
		owner_of[outside] = (uint8_t)guest;
		taken[count++] = outside;
	}
	assert_true(count > 4000);
	nat_rules_destroy(rules);
	free(nat->addresses[0].ports);
	free(owner_of);
	free(guests);
	free(nat);
}

/* ---- the hash table ---- */

#define ITEMS 5000u

struct items {
	uint64_t hashes[ITEMS];
	uint32_t next[ITEMS];
	bool in[ITEMS];
};

static uint64_t item_hash(void *context, uint32_t item)
{
	return ((struct items *)context)->hashes[item];
}

static uint32_t *item_next(void *context, uint32_t item)
{
	return &((struct items *)context)->next[item];
}

static void test_table_against_a_model(void **state)
{
	static const struct nat_table_items ops = { item_hash, item_next };
	struct items *items = calloc(1, sizeof(*items));
	uint32_t *buckets = calloc(ITEMS, sizeof(*buckets));
	struct nat_table table;
	uint32_t count = 0;

	assert_true(items != NULL && buckets != NULL);
	nat_table_init(&table, &ops, items, buckets, ITEMS, 1);
	seed_state = 2;
	for (uint32_t i = 1; i < ITEMS; i++)
		items->hashes[i] = (uint64_t)pick(1u << 30) << 30 ^ pick(1u << 30);
	for (uint32_t step = 0; step < 60000; step++) {
		uint32_t item = 1 + pick(ITEMS - 1), found, length = 0;

		if (!items->in[item] && (step < 20000 || pick(2) == 0)) {
			nat_table_insert(&table, items->hashes[item], item);
			items->in[item] = true;
			count++;
		} else if (items->in[item] && step > 20000) {
			nat_table_remove(&table, items->hashes[item], item);
			items->in[item] = false;
			count--;
		}
		assert_int_equal(table.count, count);
		item = 1 + pick(ITEMS - 1);
		for (found = nat_table_first(&table, items->hashes[item]);
		     found != 0 && found != item; found = items->next[found])
			length++;
		assert_int_equal(found == item, items->in[item]);
		assert_true(length < 16);
		assert_true(table.size >= count || table.size + 1 >= count);
	}
	free(buckets);
	free(items);
}

/* ---- checksums ---- */

static void test_checksums_of_random_packets(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig.config.filtering = NAT_FILTER_ENDPOINT_INDEPENDENT;
	rig_open(&rig);
	seed_state = 3;
	for (uint32_t i = 0; i < 20000; i++) {
		bool v6 = pick(2), tcp = pick(2);
		struct ip inside = ip_from_v4(0x0a000000 + 1 + pick(250)), outside = ip_of(OUTSIDE);
		struct ip remote = ip_from_v4(0xc6330000 + 1 + pick(65000));
		uint32_t length = (tcp ? 20 : 8) + pick(1400);
		uint16_t port = (uint16_t)(1 + pick(65535)),
			 remote_port = (uint16_t)(1 + pick(65535));
		struct wire wire;
		uint8_t *l4;

		if (v6) {
			inside = ip_of("fd00::1");
			remote = ip_of("2001:db8:1::1");
			outside = ip_of(OUTSIDE6);
			inside.bytes[15] = (uint8_t)pick(256);
			remote.bytes[9] = (uint8_t)pick(256);
			remote.bytes[14] = (uint8_t)pick(256);
		}
		for (int direction = 0; direction < 2; direction++) {
			uint8_t protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP;

			l4 = wire_begin(&wire, direction == 0 ? &inside : &remote,
					direction == 0 ? &remote : &outside, protocol, length);
			for (uint32_t j = 0; j < length; j++)
				l4[j] = pick(8) == 0 ? 0xff : (uint8_t)pick(256);
			put16(l4, direction == 0 ? port : remote_port);
			put16(l4 + 2, direction == 0 ? remote_port : port);
			if (tcp) {
				l4[12] = 5 << 4;
				l4[13] = direction == 0 ? SYN : SYN | ACK;
				put_sum(wire.bytes + 14, protocol, l4, length, 16);
			} else {
				put16(l4 + 4, length);
				put_sum(wire.bytes + 14, protocol, l4, length, 6);
			}
			wire_end(&wire, l4, length);
			assert_true(wire_sums_ok(&wire));
			if (direction == 0) {
				assert_translated(rig_out(&rig, &wire));
				port = ends_of(&wire).from_port;
			} else {
				assert_translated(rig_in(&rig, &wire));
				assert_true(is_to(&wire, &inside));
			}
		}
	}
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_against_a_model),
		cmocka_unit_test(test_ports_against_a_model),
		cmocka_unit_test(test_sessions_against_a_model),
		cmocka_unit_test(test_checksums_of_random_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
