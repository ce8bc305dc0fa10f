/* Names for what a ring format's file defines, one for each variant it is compiled in
 * (meson.build): VIRTQUEUE_OPS(split) is virtqueue_split_avx2, say. Only for those files and
 * virtqueue.c. */
#ifndef WEFT_VHOST_USER_VIRTQUEUE_VARIANT_H
#define WEFT_VHOST_USER_VIRTQUEUE_VARIANT_H

#include "vhost-user/virtqueue.h"

#ifndef VIRTQUEUE_VARIANT
#define VIRTQUEUE_VARIANT sse2
#endif
#define VIRTQUEUE_PASTE(format, variant) virtqueue_##format##_##variant
#define VIRTQUEUE_NAME(format, variant)	 VIRTQUEUE_PASTE(format, variant)
#define VIRTQUEUE_OPS(format)		 VIRTQUEUE_NAME(format, VIRTQUEUE_VARIANT)

extern const struct virtqueue_ops virtqueue_split_sse2, virtqueue_packed_sse2;
extern const struct virtqueue_ops virtqueue_split_avx2, virtqueue_packed_avx2;
extern const struct virtqueue_ops virtqueue_split_avx512, virtqueue_packed_avx512;

#endif
