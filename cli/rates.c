/* Counters to rates (rates.h), for `weft top`. Keys that are missing count as 0: what an answer
 * holds is weftd's business. */
#include "cli/rates.h"

#include <string.h>

static const char *const stages[] = { "receive", "bridge", "gateway", "transmit", "done", NULL };

static json_int_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* A counter that went back is one that began anew: the port or the worker was replaced. */
static double difference(const json_t *before, const json_t *now, const char *key)
{
	json_int_t x = number_at(before, key), y = number_at(now, key);

	return (double)(y >= x ? y - x : y);
}

static double divide(double dividend, double divisor)
{
	return divisor > 0 ? dividend / divisor : 0;
}

/* Null for anything divided by 0: there was nothing of which to take the mean. */
static json_t *mean(double dividend, double divisor)
{
	return divisor > 0 ? json_real(dividend / divisor) : json_null();
}

/* The object of `array` with the same `key`, a number; borrowed. */
static json_t *find_same(const json_t *array, const json_t *object, const char *key)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		json_t *other = json_array_get(array, i);

		if (number_at(other, key) == number_at(object, key))
			return other;
	}
	return NULL;
}

/* 0 where there is no telling. */
static double seconds_between(const json_t *before, const json_t *now)
{
	json_int_t elapsed = number_at(now, "clock") - number_at(before, "clock");

	return before != NULL && elapsed > 0
		   ? divide((double)elapsed, (double)number_at(now, "clock_hz"))
		   : 0;
}

static json_t *worker_rates(const json_t *before, const json_t *now)
{
	const json_t *cycles_before = json_object_get(before, "cycles");
	const json_t *cycles = json_object_get(now, "cycles");
	double seconds = seconds_between(before, now);
	double clock = seconds * (double)number_at(now, "clock_hz");
	double busy = divide(difference(before, now, "busy_cycles"), clock);
	double frames = difference(before, now, "frames");
	double measured = difference(cycles_before, cycles, "frames");
	json_t *per_frame = json_object();

	for (unsigned i = 0; stages[i] != NULL; i++)
		json_object_set_new(per_frame, stages[i],
				    mean(difference(cycles_before, cycles, stages[i]), measured));
	/* A round that was under way at the first answer counts for the second. */
	return json_pack("{s:I, s:O?, s:f, s:f, s:o, s:o, s:f, s:f}", "id", number_at(now, "id"),
			 "cpu", json_object_get(now, "cpu"), "busy", busy < 1 ? busy : 1,
			 "frames_per_second", divide(frames, seconds), "frames_per_burst",
			 mean(frames, difference(before, now, "bursts")), "cycles_per_frame",
			 per_frame, "sleeps_per_second",
			 divide(difference(before, now, "sleeps"), seconds), "wakes_per_second",
			 divide(difference(before, now, "wakes"), seconds));
}

static json_t *direction_rates(const json_t *before, const json_t *now, const char *direction,
			       double seconds)
{
	const json_t *x = json_object_get(before, direction), *y = json_object_get(now, direction);

	return json_pack("{s:f, s:f, s:f}", "packets_per_second",
			 divide(difference(x, y, "packets"), seconds), "bits_per_second",
			 divide(8 * difference(x, y, "bytes"), seconds), "drops_per_second",
			 divide(difference(x, y, "drops"), seconds));
}

static json_t *port_rates(const json_t *before, const json_t *now, double seconds)
{
	return json_pack("{s:O?, s:O?, s:O?, s:o, s:o}", "name", json_object_get(now, "name"),
			 "network", json_object_get(now, "network"), "link",
			 json_object_get(now, "link"), "receive",
			 direction_rates(before, now, "receive", seconds), "transmit",
			 direction_rates(before, now, "transmit", seconds));
}

/* Ports by name: there may be thousands. New reference. */
static json_t *index_by_name(const json_t *ports)
{
	json_t *index = json_object();

	for (size_t i = 0; i < json_array_size(ports); i++) {
		json_t *port = json_array_get(ports, i);
		const char *name = json_string_value(json_object_get(port, "name"));

		if (name != NULL)
			json_object_set(index, name, port);
	}
	return index;
}

json_t *rates_between(const struct sample *before, const struct sample *now)
{
	json_t *workers = json_array(), *ports = json_array();
	json_t *old_ports = index_by_name(before->ports);
	double seconds = 0;

	for (size_t i = 0; i < json_array_size(now->workers); i++) {
		const json_t *worker = json_array_get(now->workers, i);
		const json_t *old = find_same(before->workers, worker, "id");

		if (seconds == 0)
			seconds = seconds_between(old, worker);
		json_array_append_new(workers, worker_rates(old, worker));
	}
	for (size_t i = 0; i < json_array_size(now->ports); i++) {
		const json_t *port = json_array_get(now->ports, i);
		const char *name = json_string_value(json_object_get(port, "name"));
		const json_t *old = name != NULL ? json_object_get(old_ports, name) : NULL;

		json_array_append_new(ports, port_rates(old, port, seconds));
	}
	json_decref(old_ports);
	return json_pack("{s:f, s:o, s:o}", "seconds", seconds, "workers", workers, "ports", ports);
}
