/* What all ring formats share: which code runs them, the call to the guest, and the memory a
 * running queue needs. virtqueue_call: the worker that uses the queue, or control; the rest:
 * control. */
#include "vhost-user/virtqueue.h"

#include "vhost-user/notifier.h"
#include "vhost-user/packed_chain.h"
#include "vhost-user/split_ahead.h"
#include "vhost-user/virtqueue_variant.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Wider ones later; what they need is what they are compiled for in meson.build. */
#define VARIANT_COUNT 3u
static const struct virtqueue_ops *const variants[VARIANT_COUNT][VIRTQUEUE_FORMAT_COUNT] = {
	{ [VIRTQUEUE_SPLIT] = &virtqueue_split_sse2, [VIRTQUEUE_PACKED] = &virtqueue_packed_sse2 },
	{ [VIRTQUEUE_SPLIT] = &virtqueue_split_avx2, [VIRTQUEUE_PACKED] = &virtqueue_packed_avx2 },
	{ [VIRTQUEUE_SPLIT] = &virtqueue_split_avx512,
	  [VIRTQUEUE_PACKED] = &virtqueue_packed_avx512 },
};

static bool variant_runs(unsigned variant)
{
	if (variant == 0)
		return true;
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
		return false;
	return variant == 1 ||
	       (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"));
}

const struct virtqueue_ops *virtqueue_ops_variant(enum virtqueue_format format, unsigned variant)
{
	return variant < VARIANT_COUNT && variant_runs(variant) ? variants[variant][format] : NULL;
}

const struct virtqueue_ops *virtqueue_ops_best(enum virtqueue_format format)
{
	const struct virtqueue_ops *ops = NULL;

	for (unsigned i = VARIANT_COUNT; ops == NULL; i--)
		ops = virtqueue_ops_variant(format, i - 1);
	return ops;
}

int virtqueue_prepare(struct virtqueue *vq)
{
	void *ahead;

	virtqueue_release(vq);
	if (vq->ops->format == VIRTQUEUE_PACKED) {
		vq->cursor = calloc(1, sizeof(*vq->cursor));
		return vq->cursor == NULL ? -ENOMEM : 0;
	}
	vq->pending_heads = calloc(vq->size, sizeof(*vq->pending_heads));
	/* mmap: of a queue that says nothing it never becomes resident. */
	ahead = mmap(NULL, sizeof(*vq->ahead), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	vq->ahead = ahead == MAP_FAILED ? NULL : ahead;
	return vq->pending_heads == NULL || vq->ahead == NULL ? -ENOMEM : 0;
}

void virtqueue_release(struct virtqueue *vq)
{
	free(vq->pending_heads);
	if (vq->ahead != NULL)
		munmap(vq->ahead, sizeof(*vq->ahead));
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
