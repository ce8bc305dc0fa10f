/* Writing frames to a pcapng file (draft-ietf-opsawg-pcapng): one section, one Ethernet interface,
 * nanosecond time stamps.
 *
 * Created and closed by control; written by one thread at a time. The file holds whole blocks only,
 * at every moment something was flushed: when the disk is full it ends with the last frame that
 * fitted, and goes on when there is room again. */
#ifndef WEFT_VSWITCH_PCAPNG_H
#define WEFT_VSWITCH_PCAPNG_H

#include "base/error.h"
#include "base/frame.h"

#include <stdint.h>

struct pcapng;

/* epb_flags, bits 0 and 1: as the interface sees it. */
enum pcapng_direction { PCAPNG_UNKNOWN = 0, PCAPNG_INBOUND = 1, PCAPNG_OUTBOUND = 2 };

/* Makes or empties the plain file `path`. `interface` names the interface in the file. 0 or -errno
 * with the error set. The caller frees with pcapng_close(). */
int pcapng_create(const char *path, const char *interface, struct pcapng **out,
		  struct error *error);

/* Appends a frame (all its bytes, no offload state) seen at `time` (nanoseconds since 1970).
 * Buffered; 0, or -errno when there is no room for it (the frame is not in the file). */
int pcapng_write(struct pcapng *file, const struct frame *frame, enum pcapng_direction direction,
		 uint64_t time);

/* Hands what is buffered to the system. 0 or -errno; then it stays buffered. */
int pcapng_flush(struct pcapng *file);

/* Flushes and closes; takes NULL. Returns the number of frames that were accepted but found no room
 * on the disk to the last. */
uint32_t pcapng_close(struct pcapng *file);

#endif
