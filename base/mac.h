/* 48-bit MAC addresses (IEEE 802). Any thread; plain values. */
#ifndef WEFT_BASE_MAC_H
#define WEFT_BASE_MAC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAC_LENGTH	6
#define MAC_TEXT_LENGTH 18 /* "52:54:00:00:00:01" and the NUL */

struct mac {
	uint8_t bytes[MAC_LENGTH];
};

/* Reads "52:54:00:00:00:01" or "52-54-00-00-00-01", nothing before or after it; 0 or -EINVAL. */
int mac_from_text(const char *text, struct mac *mac);

/* Writes the colon form, lower case, NUL-terminated, and returns text. */
char *mac_to_text(struct mac mac, char text[MAC_TEXT_LENGTH]);

/* The address as a number, first byte on the wire highest; the upper 16 bits are 0. */
static inline uint64_t mac_to_u64(const uint8_t bytes[MAC_LENGTH])
{
	uint32_t high;
	uint16_t low;

	/* Two loads: bytes put together in memory would be loaded before they are stored. */
	memcpy(&high, bytes, sizeof(high));
	memcpy(&low, bytes + sizeof(high), sizeof(low));
	return (uint64_t)__builtin_bswap32(high) << 16 | __builtin_bswap16(low);
}

static inline struct mac mac_from_u64(uint64_t n)
{
	struct mac mac;

	n = __builtin_bswap64(n);
	memcpy(mac.bytes, (uint8_t *)&n + 2, MAC_LENGTH);
	return mac;
}

/* Broadcast counts as multicast. */
static inline bool mac_is_multicast(const uint8_t bytes[MAC_LENGTH])
{
	return (bytes[0] & 1) != 0;
}

static inline bool mac_is_zero(const uint8_t bytes[MAC_LENGTH])
{
	return mac_to_u64(bytes) == 0;
}

#endif
