/* Log lines on standard error, one per event, never per packet.
 *
 * Control thread and start-up only: a worker reports through counters. Text that came from outside
 * must go through "%s"; unprintable bytes are escaped before writing, so that a frontend cannot
 * forge lines or terminal sequences. With JOURNAL_STREAM in the environment each line opens with
 * the sd-daemon(3) priority ("<4>"), else with the level's name. */
#ifndef WEFT_BASE_LOG_H
#define WEFT_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above `level` are left out from now on. Start: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/* Puts the level named by `name` (error, warning, info, debug) in *level; 0 or -EINVAL. */
int log_level_from_name(const char *name, enum log_level *level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
