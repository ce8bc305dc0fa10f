/* Copies of the size of a small frame, inline: two overlapping moves of a fixed width instead of a
 * call. Never reads or writes outside [0, length). Worker thread, pure. */
#ifndef WEFT_VHOST_USER_NET_COPY_H
#define WEFT_VHOST_USER_NET_COPY_H

#include <stdint.h>
#include <string.h>

#define NET_COPY_INLINE 192u /* FRAME_HEAD_MAX: beyond it a call costs less than the copy */

static inline void net_copy(uint8_t *to, const uint8_t *from, uint32_t length)
{
	if (length > 64) {
		if (length > NET_COPY_INLINE) {
			memcpy(to, from, length);
			return;
		}
		memcpy(to, from, 64);
		if (length > 128)
			memcpy(to + 64, from + 64, 64);
		memcpy(to + length - 64, from + length - 64, 64);
	} else if (length > 32) {
		memcpy(to, from, 32);
		memcpy(to + length - 32, from + length - 32, 32);
	} else if (length > 16) {
		memcpy(to, from, 16);
		memcpy(to + length - 16, from + length - 16, 16);
	} else if (length >= 8) {
		memcpy(to, from, 8);
		memcpy(to + length - 8, from + length - 8, 8);
	} else {
		for (uint32_t i = 0; i < length; i++)
			to[i] = from[i];
	}
}

#endif
