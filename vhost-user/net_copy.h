/* Copies of frames, inline: whole cache lines in vectors as wide as this file is compiled for, and
 * the last line over the one before it, so there is no loop of bytes and no call for what is on its
 * way. Never reads or writes outside [0, length). Worker thread, pure. */
#ifndef WEFT_VHOST_USER_NET_COPY_H
#define WEFT_VHOST_USER_NET_COPY_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define NET_COPY_INLINE 2048u /* beyond it a call costs less than the copy */

static inline void net_copy_half(uint8_t *to, const uint8_t *from)
{
#ifdef __AVX__
	_mm256_storeu_si256((__m256i *)(void *)to,
			    _mm256_loadu_si256((const __m256i *)(const void *)from));
#else
	const __m128i *source = (const void *)from;
	__m128i first = _mm_loadu_si128(source), second = _mm_loadu_si128(source + 1);

	_mm_storeu_si128((__m128i *)(void *)to, first);
	_mm_storeu_si128((__m128i *)(void *)to + 1, second);
#endif
}

static inline void net_copy_line(uint8_t *to, const uint8_t *from)
{
#ifdef __AVX512F__
	_mm512_storeu_si512(to, _mm512_loadu_si512(from));
#else
	net_copy_half(to, from);
	net_copy_half(to + 32, from + 32);
#endif
}

/* At least a line. */
static inline void net_copy_lines(uint8_t *to, const uint8_t *from, uint32_t length)
{
	uint32_t last = length - 64;

	for (uint32_t i = 0; i < last; i += 64)
		net_copy_line(to + i, from + i);
	net_copy_line(to + last, from + last);
}

/* Less than a line. */
static inline void net_copy_part(uint8_t *to, const uint8_t *from, uint32_t length)
{
	if (length >= 32) {
		net_copy_half(to, from);
		net_copy_half(to + length - 32, from + length - 32);
	} else if (length >= 16) {
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

/* At most NET_COPY_INLINE bytes. */
static inline void net_copy_short(uint8_t *to, const uint8_t *from, uint32_t length)
{
	if (length >= 64)
		net_copy_lines(to, from, length);
	else
		net_copy_part(to, from, length);
}

static inline void net_copy(uint8_t *to, const uint8_t *from, uint32_t length)
{
	if (length > NET_COPY_INLINE)
		memcpy(to, from, length);
	else
		net_copy_short(to, from, length);
}

#endif
