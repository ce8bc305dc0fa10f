/* Frames that wait for a neighbour to answer (neighbour.h): a few for each neighbour and so many
 * bytes for each leg, the newest winning, so that nobody who asks for addresses without a host
 * keeps others' frames out. Control thread. */
#include "route/neighbour_internal.h"

#include <stdlib.h>

static void unlink_pending(struct neighbour_table *table, struct neighbour_pending *pending)
{
	struct neighbour_leg *leg = neighbour_leg_of(table, pending->entry);

	TAILQ_REMOVE(&leg->pending, pending, of_leg);
	TAILQ_REMOVE(&table->control[pending->entry].pending, pending, of_entry);
	table->entries[pending->entry].pending_count--;
	leg->pending_bytes -= pending->length;
}

static void push_out(struct neighbour_table *table, struct neighbour_pending *pending)
{
	unlink_pending(table, pending);
	free(pending);
	table->counters.pending_dropped++;
}

void neighbour_pend(struct neighbour_table *table, uint32_t index, const uint8_t *frame,
		    size_t length)
{
	struct neighbour_leg *leg = neighbour_leg_of(table, index);
	struct neighbour_control *control = &table->control[index];
	struct neighbour_pending *pending = malloc(sizeof(*pending) + length);

	if (pending == NULL) {
		table->counters.pending_dropped++;
		return;
	}
	if (table->entries[index].pending_count == NEIGHBOUR_PENDING)
		push_out(table, TAILQ_FIRST(&control->pending));
	while (leg->pending_bytes + length > NEIGHBOUR_PENDING_BYTES)
		push_out(table, TAILQ_FIRST(&leg->pending));
	pending->entry = index;
	pending->length = (uint32_t)length;
	memcpy(pending->bytes, frame, length);
	TAILQ_INSERT_TAIL(&leg->pending, pending, of_leg);
	TAILQ_INSERT_TAIL(&control->pending, pending, of_entry);
	table->entries[index].pending_count++;
	leg->pending_bytes += pending->length;
}

void neighbour_ready(struct neighbour_table *table, const struct neighbour_leg *leg,
		     const struct mac *to, const uint8_t *frame, size_t length)
{
	if (table->events.ready != NULL) {
		table->events.ready(table->events.context, &leg->leg, to, frame, length);
		return;
	}
	memcpy(table->frame, frame, length);
	memcpy(table->frame, to->bytes, MAC_LENGTH);
	memcpy(table->frame + MAC_LENGTH, leg->leg.mac.bytes, MAC_LENGTH);
	route_send(&leg->leg.output, table->frame, length);
}

void neighbour_release(struct neighbour_table *table, uint32_t index)
{
	struct neighbour_leg *leg = neighbour_leg_of(table, index);
	struct mac to = neighbour_mac(table, index);
	struct neighbour_pending *pending;

	while ((pending = TAILQ_FIRST(&table->control[index].pending)) != NULL) {
		unlink_pending(table, pending);
		neighbour_ready(table, leg, &to, pending->bytes, pending->length);
		free(pending);
		/* Probed soon, as whoever sent this goes on. */
		atomic_store_explicit(&table->entries[index].used, 1, memory_order_relaxed);
	}
}

void neighbour_abandon(struct neighbour_table *table, uint32_t index)
{
	struct neighbour_leg *leg = neighbour_leg_of(table, index);
	struct neighbour_pending *pending;

	while ((pending = TAILQ_FIRST(&table->control[index].pending)) != NULL) {
		unlink_pending(table, pending);
		if (table->events.unreachable != NULL)
			table->events.unreachable(table->events.context, &leg->leg, pending->bytes,
						  pending->length);
		free(pending);
	}
}
