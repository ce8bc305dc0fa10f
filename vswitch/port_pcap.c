/* The pcap port: replays a capture file into the network, at full speed or with the pauses of the
 * recording, and records what the network sends it to a pcapng file. Files are opened by control
 * and read and written by a worker: unlike other ports this one may wait for a disk.
 *
 * A replay starts with the first receive(), that is, when the port is attached. At recorded speed
 * the next frame waits in libpcap's buffer until it is due; while the queue sleeps, a timer is
 * armed for it. At full speed the queue never sleeps before the end of the file. What the capture
 * cut off of a frame (snap length) is missing in the replay too. */
#include "vswitch/port.h"

#include "base/log.h"
#include "vswitch/options.h"
#include "vswitch/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND	   1000000000LL
#define LAST_PAUSE (366 * 86400LL) /* seconds; a longer way between two stamps is taken as this */

enum replay_state { REPLAY_RUNNING, REPLAY_ENDED, REPLAY_BROKEN };

static const char *const state_names[] = {
	[REPLAY_RUNNING] = "running",
	[REPLAY_ENDED] = "ended",
	[REPLAY_BROKEN] = "broken file",
};

struct replay {
	int file;  /* of our own, for the next loop; -1: no replay */
	int timer; /* wakes the queue */
	/* The worker's. */
	pcap_t *pcap;
	const uint8_t *bytes; /* next frame, in libpcap's memory; NULL: not read yet */
	struct pcap_pkthdr *header;
	struct timespec first; /* stamp of the file's first frame */
	int64_t start;	       /* when that frame was due, CLOCK_MONOTONIC; 0: not started */
	int64_t due;	       /* of the next frame, or of the last one of the loop */
	bool any;	       /* this loop had a frame */
	/* The worker writes, show() reads (relaxed). */
	_Atomic uint32_t state; /* enum replay_state */
	_Atomic uint32_t loops; /* ended */
};

struct pcap_port {
	struct replay replay;
	struct pcapng *record; /* NULL: none */
};

static int open_replay(struct replay *replay, const char *path, struct error *error);
static void close_replay(struct replay *replay);
static bool load_frame(struct replay *replay, const struct pcap_options *options);
static void take_frame(struct replay *replay, struct burst *burst, struct port_counters *counters);

static int64_t now_on(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

static void pcap_port_close(struct port *port)
{
	struct pcap_port *pcap = port->private;
	uint32_t lost;

	if (!pcap)
		return;
	port_stop_queues(port);
	port_set_link(port, false);
	close_replay(&pcap->replay);
	lost = pcapng_close(pcap->record);
	if (lost > 0)
		log_warning("port %s: %s: the disk is full, the last %u frames are missing",
			    port->name, port->config.options.pcap.record, lost);
	free(pcap);
	port->private = NULL;
}

/* To record empties the file, which must not be the one that is replayed, by whatever name. */
static int check_record(const struct replay *replay, const char *path, struct error *error)
{
	struct stat replayed, recorded;

	if (replay->file < 0 || fstat(replay->file, &replayed) != 0 || stat(path, &recorded) != 0 ||
	    replayed.st_dev != recorded.st_dev || replayed.st_ino != recorded.st_ino)
		return 0;
	return error_set(error, EINVAL,
			 "%s: to be replayed and recorded to; allowed: another file to record to",
			 path);
}

static int pcap_port_open(struct port *port, struct event_base *loop, struct error *error)
{
	const struct pcap_options *options = &port->config.options.pcap;
	bool replays = options->replay[0] != '\0';
	struct pcap_port *pcap = calloc(1, sizeof(*pcap));
	int rc;

	if (!pcap)
		return error_set(error, ENOMEM, "out of memory");
	pcap->replay.file = -1;
	pcap->replay.timer = -1;
	if (replays) {
		rc = open_replay(&pcap->replay, options->replay, error);
		if (rc != 0)
			goto fail;
	}
	if (options->record[0] != '\0') {
		rc = check_record(&pcap->replay, options->record, error);
		if (rc == 0)
			rc = pcapng_create(options->record, port->name, &pcap->record, error);
		if (rc != 0)
			goto fail;
	}
	rc = port_set_queues(port, replays ? 1 : 0, 1);
	if (rc != 0) {
		error_set(error, -rc, "out of memory");
		goto fail;
	}
	port->private = pcap;
	port_set_link(port, true);
	port_queue_start(&port->send_queues[0], -1);
	if (replays)
		port_queue_start(&port->receive_queues[0], pcap->replay.timer);
	return 0;
fail:
	pcapng_close(pcap->record);
	close_replay(&pcap->replay);
	free(pcap);
	return rc;
}

static uint32_t pcap_port_receive(struct port_queue *queue, struct burst *burst,
				  struct port_counters *counters)
{
	const struct pcap_options *options = &queue->port->config.options.pcap;
	struct replay *replay = &((struct pcap_port *)queue->port->private)->replay;
	int64_t now = options->speed == PCAP_SPEED_RECORDED ? now_on(CLOCK_MONOTONIC) : INT64_MAX;
	uint32_t taken = 0;

	/* Frames that are dropped fill no burst, so both are counted. */
	while (taken < BURST_FRAMES && burst->count < burst->limit &&
	       burst->segment_count < BURST_SEGMENTS &&
	       BURST_BULK - burst->bulk_used >= FRAME_LENGTH_MAX) {
		if (!load_frame(replay, options) || replay->due > now)
			break;
		take_frame(replay, burst, counters);
		taken++;
	}
	return taken;
}

static bool pcap_port_arm(struct port_queue *queue)
{
	const struct pcap_options *options = &queue->port->config.options.pcap;
	struct replay *replay = &((struct pcap_port *)queue->port->private)->replay;
	struct itimerspec when = { 0 };

	if (!load_frame(replay, options))
		return atomic_load_explicit(&replay->state, memory_order_relaxed) != REPLAY_RUNNING;
	if (options->speed == PCAP_SPEED_FULL || replay->due <= now_on(CLOCK_MONOTONIC))
		return false;
	when.it_value.tv_sec = replay->due / SECOND;
	when.it_value.tv_nsec = replay->due % SECOND;
	return timerfd_settime(replay->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0;
}

static uint32_t pcap_port_send(struct port_queue *queue, struct frame *const *frames,
			       uint32_t count, struct port_counters *counters)
{
	struct pcapng *record = ((struct pcap_port *)queue->port->private)->record;
	uint64_t time = record ? (uint64_t)now_on(CLOCK_REALTIME) : 0;
	uint64_t bytes = 0;
	uint32_t sent = 0;

	for (uint32_t i = 0; i < count; i++) {
		int rc = record ? pcapng_write(record, frames[i], PCAPNG_OUTBOUND, time) : 0;

		if (rc != 0) {
			counter_drop(
			    counters,
			    rc == -EMSGSIZE ? DROP_FRAME_TOO_LONG_FOR_PORT : DROP_WRITE_FAILED, 1);
			continue;
		}
		bytes += frames[i]->length;
		sent++;
	}
	/* At the end of every batch, so that the file is never behind a network gone quiet. What
	 * finds no room stays buffered and is counted when the buffer is full. */
	if (record)
		pcapng_flush(record);
	counter_add(&counters->transmit_packets, sent);
	counter_add(&counters->transmit_bytes, bytes);
	return sent;
}

/* In a file every frame must be whole; what is not recorded may come as it likes. */
static uint32_t pcap_port_offloads(const struct port_queue *queue)
{
	return ((struct pcap_port *)queue->port->private)->record ? 0 : OFFLOAD_ALL;
}

static void pcap_port_show(const struct port *port, json_t *object)
{
	const struct pcap_options *options = &port->config.options.pcap;
	struct pcap_port *pcap = port->private;
	struct replay *replay = &pcap->replay;
	uint32_t state;

	if (options->record[0] != '\0')
		json_object_set_new(object, "record", json_string(options->record));
	if (options->replay[0] == '\0')
		return;
	state = atomic_load_explicit(&replay->state, memory_order_relaxed);
	json_object_set_new(object, "replay", json_string(options->replay));
	json_object_set_new(object, "replay_state", json_string(state_names[state]));
	json_object_set_new(
	    object, "replay_loops",
	    json_integer(atomic_load_explicit(&replay->loops, memory_order_relaxed)));
}

/* Reads the file from its start again. -errno with the error set. */
static int rewind_file(struct replay *replay, const char *path, struct error *error)
{
	char text[PCAP_ERRBUF_SIZE];
	int fd = fcntl(replay->file, F_DUPFD_CLOEXEC, 0);
	FILE *stream;
	int link;

	if (fd < 0 || lseek(fd, 0, SEEK_SET) != 0 || !(stream = fdopen(fd, "rb"))) {
		int code = errno;

		if (fd >= 0)
			close(fd);
		return error_set(error, code, "%s: cannot be read: %s", path, strerror(code));
	}
	replay->pcap =
	    pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, text);
	if (!replay->pcap) {
		fclose(stream);
		return error_set(error, EINVAL, "%s: %s", path, text);
	}
	link = pcap_datalink(replay->pcap);
	if (link != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(link);

		pcap_close(replay->pcap);
		replay->pcap = NULL;
		return error_set(error, EINVAL,
				 "%s: holds frames of link type %s (%d); allowed: Ethernet "
				 "(EN10MB)",
				 path, name ? name : "unknown", link);
	}
	return 0;
}

static int open_replay(struct replay *replay, const char *path, struct error *error)
{
	struct stat status;

	/* A pipe would block the worker, and cannot be read twice. */
	replay->file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (replay->file < 0)
		return error_set(error, errno, "%s: cannot be read: %s", path, strerror(errno));
	if (fstat(replay->file, &status) != 0 || !S_ISREG(status.st_mode))
		return error_set(error, EINVAL, "%s: not a plain file", path);
	replay->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (replay->timer < 0)
		return error_set(error, errno, "no timer: %s", strerror(errno));
	return rewind_file(replay, path, error);
}

static void close_replay(struct replay *replay)
{
	if (replay->pcap)
		pcap_close(replay->pcap);
	if (replay->timer >= 0)
		close(replay->timer);
	if (replay->file >= 0)
		close(replay->file);
}

static void end_replay(struct replay *replay, enum replay_state state)
{
	atomic_store_explicit(&replay->state, state, memory_order_relaxed);
	if (replay->pcap)
		pcap_close(replay->pcap);
	replay->pcap = NULL;
}

/* When a frame with this stamp is due. Stamps may be anything: what lies before the first frame is
 * due with it, what lies years behind it within a bound. */
static int64_t due_time(const struct replay *replay, const struct pcap_pkthdr *header)
{
	int64_t seconds, nanoseconds;

	if (__builtin_sub_overflow((int64_t)header->ts.tv_sec, (int64_t)replay->first.tv_sec,
				   &seconds) ||
	    seconds > LAST_PAUSE)
		seconds = header->ts.tv_sec < replay->first.tv_sec ? -1 : LAST_PAUSE;
	if (seconds < 0)
		return replay->start;
	/* libpcap was asked for nanoseconds, and puts them where microseconds usually are. */
	nanoseconds = seconds * SECOND + (header->ts.tv_usec % SECOND - replay->first.tv_nsec);
	return nanoseconds < 0 ? replay->start : replay->start + nanoseconds;
}

/* The file has come to its end: the next loop starts when the last frame of this one was due (at
 * full speed that time means nothing, and may lie far ahead). */
static void next_loop(struct replay *replay, const struct pcap_options *options)
{
	int64_t now = now_on(CLOCK_MONOTONIC);
	uint32_t loops = atomic_load_explicit(&replay->loops, memory_order_relaxed) + 1;
	struct error ignored;

	atomic_store_explicit(&replay->loops, loops, memory_order_relaxed);
	/* A file without frames would go round for ever within one call. */
	if (loops == options->loops || !replay->any) {
		end_replay(replay, REPLAY_ENDED);
		return;
	}
	pcap_close(replay->pcap);
	replay->pcap = NULL;
	replay->any = false;
	replay->start = replay->due < now ? replay->due : now;
	if (rewind_file(replay, options->replay, &ignored) != 0)
		end_replay(replay, REPLAY_BROKEN);
}

/* Makes the next frame known. False when there is none now: the replay is over, or (state still
 * running) a loop has just ended. */
static bool load_frame(struct replay *replay, const struct pcap_options *options)
{
	int rc;

	if (replay->bytes)
		return true;
	if (!replay->pcap)
		return false;
	if (replay->start == 0)
		replay->start = now_on(CLOCK_MONOTONIC);
	rc = pcap_next_ex(replay->pcap, &replay->header, &replay->bytes);
	if (rc == 1) {
		if (!replay->any)
			replay->first =
			    (struct timespec){ .tv_sec = replay->header->ts.tv_sec,
					       .tv_nsec = replay->header->ts.tv_usec % SECOND };
		replay->any = true;
		replay->due = due_time(replay, replay->header);
		return true;
	}
	replay->bytes = NULL;
	if (rc == PCAP_ERROR_BREAK)
		next_loop(replay, options);
	else
		end_replay(replay, REPLAY_BROKEN);
	return false;
}

/* Appends the frame that load_frame() has found to the burst. */
static void take_frame(struct replay *replay, struct burst *burst, struct port_counters *counters)
{
	uint32_t length = replay->header->caplen;
	uint8_t *copy = burst->bulk + burst->bulk_used;
	const uint8_t *bytes = replay->bytes;

	replay->bytes = NULL;
	if (length < FRAME_LENGTH_MIN || length > FRAME_LENGTH_MAX) {
		counter_drop(counters,
			     length < FRAME_LENGTH_MIN ? DROP_FRAME_SHORT : DROP_FRAME_LONG, 1);
		return;
	}
	/* The reader's buffer is the next frame's in a moment. */
	memcpy(copy, bytes, length);
	burst->bulk_used += length;
	burst_lend(burst, copy, length);
	counter_add(&counters->receive_packets, 1);
	counter_add(&counters->receive_bytes, length);
}

const struct port_type port_pcap = {
	.name = "pcap",
	.keys = port_pcap_keys,
	.defaults = port_pcap_defaults,
	.open = pcap_port_open,
	.close = pcap_port_close,
	.receive = pcap_port_receive,
	.send = pcap_port_send,
	.arm = pcap_port_arm,
	.offloads = pcap_port_offloads,
	.show = pcap_port_show,
};
