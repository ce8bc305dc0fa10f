/* A lease as bytes in the store. For lease.c; no state. */
#ifndef WEFT_ROUTE_LEASE_STORED_H
#define WEFT_ROUTE_LEASE_STORED_H

#include "route/lease.h"

#define LEASE_STORED_FIXED (1u + 1u + 8u + MAC_LENGTH + 4u)
#define LEASE_STORED_MAX   (LEASE_STORED_FIXED + 1u + DHCP_CLIENT_MAX + 1u + DHCP_NAME_MAX)

/* Returns how many bytes of `value` are used. The key is the lease's address. */
size_t lease_stored_write(const struct lease *lease, uint8_t value[LEASE_STORED_MAX]);

/* Makes a bound lease of a record; false when it is none that we wrote. */
bool lease_stored_read(const uint8_t *key, size_t key_length, const uint8_t *value,
		       size_t value_length, struct lease *lease);

#endif
