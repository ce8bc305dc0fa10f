/* Positions and notifications of the packed ring: who is called and when, arming, the dirty log;
 * and where a ring goes on, whenever its last life ended and whatever its driver did since. */
#include "packed_rig.h"

#include "vhost-user/dirty_log.h"

#include <stdlib.h>

#define EVENT_ALWAYS  0
#define EVENT_NEVER   1
#define EVENT_REACHED 2

static uint16_t send_one(struct prig *prig)
{
	struct rig_buffer buffer = { RIG_DATA, 72 };

	return prig_chain(prig, &buffer, 1, 0, false);
}

/* Sends `count` chains and lets them come back; the number of calls. */
static uint64_t pass(struct prig *prig, uint32_t count)
{
	uint16_t ids[64];

	for (uint32_t i = 0; i < count; i++)
		ids[i] = send_one(prig);
	assert_int_equal(rig_from_guest(prig->rig), count);
	assert_int_equal(rig_calls(prig->rig), 0);
	virtqueue_from_guest_done(prig->vq);
	for (uint32_t i = 0; i < count; i++)
		prig_expect_used(prig, ids[i], 0);
	return rig_calls(prig->rig);
}

static void calls_unless_told_not_to(void **state)
{
	struct prig *prig = prig_create(1, 5);

	for (int i = 0; i < 20; i++) {
		prig->driver_event[1] = EVENT_ALWAYS;
		assert_int_equal(pass(prig, 2), 1);
		prig->driver_event[1] = EVENT_NEVER;
		assert_int_equal(pass(prig, 2), 0);
		/* Not negotiated, so it does not mean what it says. */
		prig->driver_event[1] = EVENT_REACHED;
		prig->driver_event[0] = 4;
		assert_int_equal(pass(prig, 2), 1);
	}
	prig_destroy(prig);
}

/* 2.8.10: called when the slot of the event, in its round, is among those that became used. */
static void calls_when_the_event_is_reached(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 7, 16, 33 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct prig *prig = prig_create(1, sizes[s]);

		prig->vq->event_idx = true;
		prig->driver_event[1] = EVENT_REACHED;
		/* The first decision cannot know what came before. */
		prig->driver_event[0] = 0x7000;
		assert_int_equal(pass(prig, 1), 1);
		for (uint32_t i = 0; i < 3000; i++) {
			uint32_t count = 1 + i * 7 % sizes[s], ahead = i % (2u * sizes[s]);
			uint16_t slot = prig->used;
			bool wrap = prig->used_wrap;

			prig_step(prig, &slot, &wrap, ahead);
			prig->driver_event[0] = prig_position(slot, wrap);
			assert_int_equal(pass(prig, count), ahead < count ? 1 : 0);
		}
		/* What no driver writes calls once or not at all. */
		for (uint32_t event = 0; event < 65536; event += 257) {
			prig->driver_event[0] = (uint16_t)event;
			assert_true(pass(prig, 1) <= 1);
		}
		prig_destroy(prig);
	}
}

static void arms_and_looks_again(void **state)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		struct prig *prig = prig_create(1, 3);

		prig->vq->event_idx = event_idx != 0;
		assert_int_equal(prig->device_event[1], EVENT_NEVER);
		for (int i = 0; i < 10; i++) {
			assert_true(virtqueue_arm(prig->vq));
			assert_int_equal(prig->device_event[1],
					 event_idx ? EVENT_REACHED : EVENT_ALWAYS);
			if (event_idx)
				assert_int_equal(prig->device_event[0],
						 prig_position(prig->next, prig->next_wrap));
			virtqueue_disarm(prig->vq);
			assert_int_equal(prig->device_event[1], EVENT_NEVER);
			send_one(prig);
			assert_false(virtqueue_arm(prig->vq));
			assert_int_equal(prig->device_event[1], EVENT_NEVER);
			assert_int_equal(rig_from_guest(prig->rig), 1);
			virtqueue_from_guest_done(prig->vq);
			prig_step(prig, &prig->used, &prig->used_wrap, 1);
		}
		prig_destroy(prig);
	}
}

static void flush_returns_all_and_calls_once(void **state)
{
	struct prig *prig = prig_create(1, 8);
	uint16_t id = send_one(prig);

	prig->driver_event[1] = EVENT_NEVER;
	assert_int_equal(rig_from_guest(prig->rig), 1);
	virtqueue_flush(prig->vq);
	prig_expect_used(prig, id, 0);
	assert_int_equal(rig_calls(prig->rig), 1);
	virtqueue_flush(prig->vq);
	assert_int_equal(rig_calls(prig->rig), 1);
	prig_destroy(prig);
}

/* The process is gone, another one finds the ring and the journal. Returns where it goes on. */
static uint16_t revive(struct prig *prig, uint16_t base)
{
	struct virtqueue *vq = prig->vq;

	vq->last_available = vq->last_used = 0x1234;
	vq->pending = 77;
	atomic_store(&vq->fault, VIRTQUEUE_FAULT_CHAIN);
	return virtqueue_packed_resume(vq, 1, base);
}

/* A batch of three chains of 1, `middle` and 2 descriptors that is on its way back. */
static void begin_batch(struct prig *prig, uint16_t middle, uint16_t ids[3])
{
	static struct rig_buffer buffers[16];

	for (int i = 0; i < 16; i++)
		buffers[i] = (struct rig_buffer){ RIG_DATA + (uint64_t)i * 100, 100 };
	ids[0] = prig_chain(prig, buffers, 1, 0, false);
	ids[1] = prig_chain(prig, buffers, middle, 0, false);
	ids[2] = prig_chain(prig, buffers, 2, 0, false);
	assert_int_equal(rig_from_guest(prig->rig), 3);
}

static void expect_batch(struct prig *prig, const uint16_t ids[3])
{
	for (int i = 0; i < 3; i++)
		prig_expect_used(prig, ids[i], 0);
}

/* Killed after each single store with which a batch is returned, at each place of the ring. */
static void survives_a_kill_at_any_store(void **state)
{
	const uint16_t size = 11;

	for (int start = 0; start < 40; start++) {
		for (int killed = 0; killed <= 4; killed++) {
			struct prig *prig = prig_create(1, size);
			struct prig_slot before[11], after[11];
			uint16_t ids[3], slot, first, second, third, end;

			pass(prig, 1);
			for (int i = 0; i < start; i++)
				pass(prig, 1);
			slot = first = prig->used;
			begin_batch(prig, 3, ids);
			second = (uint16_t)((slot + 1) % size);
			third = (uint16_t)((slot + 4) % size);
			memcpy(before, prig->ring, sizeof(before));
			virtqueue_from_guest_done(prig->vq);
			end = prig->vq->last_used;
			memcpy(after, prig->ring, sizeof(after));
			/* What was stored when: the journal, the later slots, the tag, the first.
			 */
			memcpy(prig->ring, before, sizeof(before));
			if (killed >= 1)
				prig->ring[second] = after[second];
			if (killed >= 2)
				prig->ring[third] = after[third];
			if (killed >= 3)
				prig->ring[first].address = after[first].address;
			if (killed >= 4)
				prig->ring[first] = after[first];
			assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START), end);
			expect_batch(prig, ids);
			rig_calls(prig->rig);
			assert_int_equal(pass(prig, 5), 1);
			/* And when nobody was killed. */
			assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START),
					 prig_position(prig->used, prig->used_wrap));
			prig_destroy(prig);
		}
	}
}

/* The same before the journal knows of the batch: it is still the guest's to send. */
static void survives_a_kill_before_the_return(void **state)
{
	struct prig *prig = prig_create(1, 11);

	for (int i = 0; i < 50; i++) {
		uint16_t ids[3];

		pass(prig, 1);
		begin_batch(prig, 3, ids);
		assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START),
				 prig_position(prig->used, prig->used_wrap));
		prig_expect_no_used(prig);
		assert_int_equal(rig_from_guest(prig->rig), 3);
		virtqueue_from_guest_done(prig->vq);
		expect_batch(prig, ids);
		rig_calls(prig->rig);
	}
	prig_destroy(prig);
}

/* The driver goes on while we are away: it fills all slots it has, or some. */
static void finds_the_place_in_a_ring_filled_again(void **state)
{
	for (uint16_t size = 1; size < 20; size++) {
		struct prig *prig = prig_create(1, size);
		uint32_t waiting = 0;

		for (uint32_t i = 0; i < 200; i++) {
			uint16_t place;

			for (uint32_t n = i * 5 % (size + 1u); waiting < size && n > 0; n--) {
				send_one(prig);
				waiting++;
			}
			place = prig->vq->last_used;
			if (i == 0)
				continue;
			assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START), place);
			burst_reset(prig->rig->burst);
			prig->rig->burst->limit = 1 + i % 3;
			waiting -=
			    virtqueue_from_guest(prig->vq, prig->rig->burst, &prig->rig->counters);
			virtqueue_from_guest_done(prig->vq);
		}
		prig_destroy(prig);
	}
}

/* While we were away the driver set its ring up anew, in the same place: cleared, and filled. */
static void begins_anew_in_a_new_ring(void **state)
{
	for (uint16_t size = 2; size < 20; size++) {
		for (uint32_t passed = 1; passed < 5u * size; passed++) {
			for (uint32_t filled = 0; filled <= size; filled++) {
				struct prig *prig = prig_create(1, size);

				for (uint32_t i = 0; i < passed; i++)
					pass(prig, 1);
				memset(prig->ring, 0, 16u * size + 8);
				prig->next = prig->used = 0;
				prig->next_wrap = prig->used_wrap = true;
				for (uint32_t i = 0; i < filled; i++)
					send_one(prig);
				assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START),
						 VIRTQUEUE_PACKED_START);
				assert_int_equal(rig_from_guest(prig->rig), filled);
				prig_destroy(prig);
			}
			passed += passed / 3;
		}
	}
}

/* A journal that tells of something else, or nonsense, is not followed. */
static void follows_no_strange_journal(void **state)
{
	for (int kind = 0; kind < 9; kind++) {
		struct prig *prig = prig_create(1, 8);
		struct packed_journal *journal = prig->vq->journal;
		uint64_t batch;

		pass(prig, 3);
		batch = atomic_load(&journal->batch);
		switch (kind) {
		case 0:
			journal->address = 2;
			break;
		case 1:
			journal->size = 7;
			break;
		case 2:
			journal->tag++;
			break;
		case 3:
			virtqueue_packed_forget(prig->vq);
			break;
		case 4: /* more entries than the ring has */
			batch |= 0xffffull << 32;
			break;
		case 5: /* begins outside */
			batch |= 0x7fff;
			break;
		case 6: /* ends outside */
			batch |= 0x7fff0000;
			break;
		case 7: /* ends elsewhere */
			batch ^= 0x10000;
			break;
		case 8:
			journal->entries[1].count = 0;
			break;
		}
		atomic_store(&journal->batch, batch);
		assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START | 5),
				 VIRTQUEUE_PACKED_START | 5);
		/* From here on it is our own again. */
		assert_int_equal(journal->address, 1);
		assert_int_equal(journal->size, 8);
		prig_destroy(prig);
	}
}

/* A frontend that stopped the ring in order knows the place better. */
static void begins_where_the_frontend_says(void **state)
{
	struct prig *prig = prig_create(1, 8);

	pass(prig, 3);
	virtqueue_packed_forget(prig->vq);
	assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START | 3), VIRTQUEUE_PACKED_START | 3);
	pass(prig, 7);
	/* The same word again, from one who does not know better: we do. */
	assert_int_equal(revive(prig, VIRTQUEUE_PACKED_START | 3), 2);
	prig_destroy(prig);
}

static void marks_written_pages(void **state)
{
	_Atomic uint8_t bits[0x100000 / 8] = { 0 };
	struct dirty_log log = { .bits = bits, .size = sizeof(bits) };
	struct prig *prig = prig_create(1, 1024); /* four pages of descriptors */
	uint64_t page = RIG_RINGS / DIRTY_LOG_PAGE;

	prig->vq->log = &log;
	pass(prig, 1);
	assert_int_equal(bits[page / 8], 0);
	prig->vq->log_used = true;
	prig->vq->log_used_address = RIG_LOG_USED;
	pass(prig, 60);
	assert_int_equal(bits[page / 8], 1u << page % 8);
	for (int i = 0; i < 30; i++)
		pass(prig, 60);
	assert_int_equal(bits[page / 8], 15u << page % 8);
	assert_int_equal(bits[RIG_LOG_USED / DIRTY_LOG_PAGE / 8], 0);
	virtqueue_arm(prig->vq);
	assert_int_equal(bits[RIG_LOG_USED / DIRTY_LOG_PAGE / 8],
			 1u << RIG_LOG_USED / DIRTY_LOG_PAGE % 8);
	prig_destroy(prig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_unless_told_not_to),
		cmocka_unit_test(calls_when_the_event_is_reached),
		cmocka_unit_test(arms_and_looks_again),
		cmocka_unit_test(flush_returns_all_and_calls_once),
		cmocka_unit_test(survives_a_kill_at_any_store),
		cmocka_unit_test(survives_a_kill_before_the_return),
		cmocka_unit_test(finds_the_place_in_a_ring_filled_again),
		cmocka_unit_test(begins_anew_in_a_new_ring),
		cmocka_unit_test(follows_no_strange_journal),
		cmocka_unit_test(begins_where_the_frontend_says),
		cmocka_unit_test(marks_written_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
