/* What all ring formats share: the call to the guest, and the memory a running queue needs.
 * virtqueue_call: the worker that uses the queue, or control; the rest: control. */
#include "vhost-user/virtqueue.h"

#include "vhost-user/notifier.h"
#include "vhost-user/packed_chain.h"
#include "vhost-user/split_ahead.h"

#include <errno.h>
#include <stdlib.h>

int virtqueue_prepare(struct virtqueue *vq)
{
	virtqueue_release(vq);
	if (vq->ops == &virtqueue_packed_ops) {
		vq->cursor = calloc(1, sizeof(*vq->cursor));
		return vq->cursor == NULL ? -ENOMEM : 0;
	}
	vq->pending_heads = calloc(vq->size, sizeof(*vq->pending_heads));
	vq->ahead = calloc(1, sizeof(*vq->ahead));
	return vq->pending_heads == NULL || vq->ahead == NULL ? -ENOMEM : 0;
}

void virtqueue_release(struct virtqueue *vq)
{
	free(vq->pending_heads);
	free(vq->ahead);
	free(vq->cursor);
	vq->pending_heads = NULL;
	vq->ahead = NULL;
	vq->cursor = NULL;
	vq->pending = 0;
}

void virtqueue_call(struct virtqueue *vq)
{
	/* Acquire: pairs with control's swap, which closes the old one after a grace period. */
	int fd = atomic_load_explicit(&vq->call_fd, memory_order_acquire);

	if (fd < 0)
		return;
	/* One thread at a time, so no locked instruction is needed. */
	counter_add(&vq->calls, 1);
	/* A full socket is no loss, the guest has a call waiting; a broken one is the frontend's
	 * affair. Both are counted and shown. */
	if (notifier_signal(fd) != 0)
		counter_add(&vq->call_failures, 1);
}
