/* SipHash-2-4 (Aumasson and Bernstein, 2012): a hash with a secret key, for tables whose keys come
 * from strangers. Without the key nobody can make many of them collide. Any thread, no state. */
#ifndef WEFT_BASE_SIPHASH_H
#define WEFT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *data, size_t length);

/* Fills a key with random bytes of the kernel. */
void siphash_key(uint64_t key[2]);

#endif
